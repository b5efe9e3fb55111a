//! Answers that are ready to be sent, kept in memory up to a number of bytes: the bytes, their compressed forms, an `ETag`
//! for each. An answer knows what it was made from; a commit that changes one of these makes it worthless at that moment,
//! so nothing stale is ever found, and nothing is looked up to know that. What changes by the clock alone (an article that
//! closes by its age) knows its end.

use std::hash::{BuildHasher, RandomState};
use std::io::Write;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, OnceLock};

use bytes::Bytes;
use sha2::{Digest, Sha256};

use crate::clock::Clock;
use crate::domain::hex::hex;
use crate::domain::listing::Source;
use crate::domain::time::Timestamp;

/// Below this compression saves less than its headers cost.
const WORTH_COMPRESSING: usize = 512;

/// Longer addresses are answered, not remembered.
const LONGEST_KEY: usize = 1024;

/// So often somebody waits for what another is making before they make it for themselves.
const ROUNDS: usize = 3;

/// A form in which bytes are sent.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Encoding {
    /// As they are.
    Identity,
    /// gzip.
    Gzip,
    /// Brotli.
    Brotli,
}

/// Bytes in one form.
#[derive(Debug)]
pub struct Form {
    /// Strong, of these very bytes; with its quotes.
    pub etag: Bytes,
    /// The bytes.
    pub bytes: Bytes,
}

/// An answer that is the same for everybody.
#[derive(Debug)]
pub struct Ready {
    /// Its type.
    pub content_type: &'static str,
    plain: Form,
    gzip: OnceLock<Form>,
    brotli: OnceLock<Form>,
    effort: Effort,
    made_at: Moment,
    sources: Vec<Source>,
    /// When it is true no longer, whatever is committed; none: never.
    ends_at: Option<Timestamp>,
}

/// How hard the compressors try.
#[derive(Debug, Clone, Copy)]
struct Effort {
    gzip: u32,
    brotli: u32,
}

/// For what changes with the next comment.
const PASSING: Effort = Effort { gzip: 6, brotli: 5 };

/// For what is packed once and sent as long as the program runs.
const LASTING: Effort = Effort { gzip: 9, brotli: 11 };

/// A moment in the order of changes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Moment(u64);

impl Ready {
    /// An answer made from `sources`, which were read after `made_at`.
    pub fn new(content_type: &'static str, body: impl Into<Vec<u8>>, made_at: Moment, sources: Vec<Source>) -> Self {
        Self::from_bytes(content_type, without_spare_room(body.into()), made_at, sources)
    }

    fn from_bytes(content_type: &'static str, body: Bytes, made_at: Moment, sources: Vec<Source>) -> Self {
        let digest = hex(Sha256::digest(&body).first_chunk::<12>().unwrap_or(&[0; 12]));
        Self {
            content_type,
            plain: Form { etag: tag(&digest, ""), bytes: body },
            gzip: OnceLock::new(),
            brotli: OnceLock::new(),
            effort: PASSING,
            made_at,
            sources,
            ends_at: None,
        }
    }

    /// The same, true until then.
    #[must_use]
    pub fn until(mut self, ends_at: Option<Timestamp>) -> Self {
        self.ends_at = ends_at;
        self
    }

    /// An answer that will not be kept.
    pub fn unkept(content_type: &'static str, body: impl Into<Bytes>) -> Self {
        Self::from_bytes(content_type, body.into(), Moment(0), Vec::new())
    }

    /// An answer that stays as it is as long as the program runs, and is worth packing as tightly as can be.
    pub fn lasting(content_type: &'static str, body: impl Into<Bytes>) -> Self {
        Self { effort: LASTING, ..Self::unkept(content_type, body) }
    }

    /// The bytes in the best form that the client takes; small ones as they are. Compressed once, when first asked for.
    pub fn form(&self, wanted: Encoding) -> (Encoding, &Form) {
        if self.plain.bytes.len() < WORTH_COMPRESSING {
            return (Encoding::Identity, &self.plain);
        }
        let form = match wanted {
            Encoding::Identity => &self.plain,
            Encoding::Gzip => self.gzip.get_or_init(|| self.packed("-gzip", gzip(&self.plain.bytes, self.effort.gzip))),
            Encoding::Brotli => {
                self.brotli.get_or_init(|| self.packed("-br", brotli(&self.plain.bytes, self.effort.brotli)))
            }
        };
        (wanted, form)
    }

    fn packed(&self, suffix: &str, bytes: Vec<u8>) -> Form {
        let digest = String::from_utf8_lossy(&self.plain.etag);
        Form { etag: tag(digest.trim_matches('"'), suffix), bytes: without_spare_room(bytes) }
    }

    /// Bytes that it may come to take, with both compressed forms.
    fn weight(&self) -> u64 {
        self.plain.bytes.len() as u64 * 3 / 2 + self.sources.len() as u64 * 24 + 512
    }
}

/// What has grown while it was written takes up to twice its length, which nobody would count.
fn without_spare_room(mut bytes: Vec<u8>) -> Bytes {
    bytes.shrink_to_fit();
    bytes.into()
}

fn tag(digest: &str, suffix: &str) -> Bytes {
    format!("\"{digest}{suffix}\"").into()
}

fn gzip(body: &[u8], level: u32) -> Vec<u8> {
    let mut packer = flate2::write::GzEncoder::new(Vec::with_capacity(body.len() / 3), flate2::Compression::new(level));
    // Writing into memory does not fail.
    let _ = packer.write_all(body);
    packer.finish().unwrap_or_default()
}

fn brotli(body: &[u8], quality: u32) -> Vec<u8> {
    let mut packed = Vec::with_capacity(body.len() / 3);
    let mut packer = brotli::CompressorWriter::new(&mut packed, 4096, quality, 20);
    let _ = packer.write_all(body);
    drop(packer);
    packed
}

/// Places in the table of changes. Two sources that share one cost each other a computation now and then, no more.
const PLACES: usize = 1 << 14;

/// When what was last changed. Readers take no lock.
pub struct Changes {
    now: AtomicU64,
    everything: AtomicU64,
    places: Box<[AtomicU64]>,
    hasher: RandomState,
}

impl Default for Changes {
    fn default() -> Self {
        Self {
            now: AtomicU64::new(0),
            everything: AtomicU64::new(0),
            places: (0..PLACES).map(|_| AtomicU64::new(0)).collect(),
            hasher: RandomState::new(),
        }
    }
}

impl Changes {
    /// This moment: to be taken before anything is read.
    pub fn now(&self) -> Moment {
        Moment(self.now.load(Ordering::SeqCst))
    }

    /// What was made from this before now is worth nothing any more.
    pub fn changed(&self, source: Source) {
        if source == Source::Everything {
            return self.all_changed();
        }
        if let Some(place) = self.place(source) {
            place.fetch_max(self.now.fetch_add(1, Ordering::SeqCst) + 1, Ordering::SeqCst);
        }
    }

    /// Whatever was made before now is worth nothing any more.
    fn all_changed(&self) {
        self.everything.fetch_max(self.now.fetch_add(1, Ordering::SeqCst) + 1, Ordering::SeqCst);
    }

    fn place(&self, source: Source) -> Option<&AtomicU64> {
        let hash = usize::try_from(self.hasher.hash_one(source) & 0xFFFF_FFFF).unwrap_or(0);
        self.places.get(hash % PLACES)
    }

    fn is_fresh(&self, ready: &Ready) -> bool {
        let Moment(made_at) = ready.made_at;
        let unchanged = |source: &Source| self.place(*source).is_some_and(|at| at.load(Ordering::SeqCst) <= made_at);
        self.everything.load(Ordering::SeqCst) <= made_at && ready.sources.iter().all(unchanged)
    }
}

#[derive(Clone)]
struct ByBytes;

impl quick_cache::Weighter<String, Arc<Ready>> for ByBytes {
    fn weight(&self, key: &String, ready: &Arc<Ready>) -> u64 {
        key.len() as u64 + ready.weight()
    }
}

/// Answers by the address that was asked for.
pub struct Cache {
    /// What has changed, told by whoever commits.
    pub changes: Arc<Changes>,
    clock: Arc<dyn Clock>,
    answers: quick_cache::sync::Cache<String, Arc<Ready>, ByBytes>,
    made: AtomicU64,
}

impl Cache {
    /// A cache of at most so many bytes.
    pub fn new(bytes: u64, clock: Arc<dyn Clock>) -> Self {
        let answers = usize::try_from(bytes / 16_384).unwrap_or(usize::MAX).max(16);
        let answers = quick_cache::sync::Cache::with_weighter(answers, bytes, ByBytes);
        Self { changes: Arc::default(), clock, answers, made: AtomicU64::new(0) }
    }

    /// The answer for an address, if there is one and nothing has changed since.
    pub fn get(&self, address: &str) -> Option<Arc<Ready>> {
        self.answers.get(address).filter(|ready| self.is_true(ready))
    }

    fn is_true(&self, ready: &Ready) -> bool {
        self.changes.is_fresh(ready) && ready.ends_at.is_none_or(|end| self.clock.now() < end)
    }

    /// The answer for an address, made by `make` if there is none: once, however many wait for it. Nobody gets what was true
    /// before a change that came before they asked.
    pub async fn get_or_make<E, F>(&self, address: &str, make: F) -> Result<Arc<Ready>, E>
    where
        F: Future<Output = Result<Ready, E>>,
    {
        let make = async {
            self.made.fetch_add(1, Ordering::Relaxed);
            make.await.map(Arc::new)
        };
        if address.len() > LONGEST_KEY || self.answers.capacity() == 0 {
            return make.await;
        }
        let asked = self.changes.now();
        for _ in 0..ROUNDS {
            let _ = self.answers.remove_if(address, |ready| !self.is_true(ready));
            match self.answers.get_value_or_guard_async(address).await {
                Ok(ready) if ready.made_at >= asked || self.is_true(&ready) => return Ok(ready),
                // Whoever made it had begun before.
                Ok(_) => {}
                Err(place) => {
                    let ready = make.await?;
                    let _ = place.insert(ready.clone()); // It may have been taken out meanwhile.
                    return Ok(ready);
                }
            }
        }
        make.await
    }

    /// How many answers were made since the start, because none lay ready.
    pub fn made(&self) -> u64 {
        self.made.load(Ordering::Relaxed)
    }

    /// Bytes that are held now.
    pub fn bytes(&self) -> u64 {
        self.answers.weight()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::clock::SystemClock;
    use crate::domain::ids::{ArticleId, SiteId};
    use uuid::Uuid;

    const BLOG: Source = Source::Site(SiteId(Uuid::nil()));

    fn article(n: u128) -> Source {
        Source::Article(ArticleId(Uuid::from_u128(n)))
    }

    async fn fill(cache: &Cache, address: &str, body: &str, source: Source) {
        let made_at = cache.changes.now();
        let ready = Ready::new("text/plain", body.to_owned(), made_at, vec![source]);
        cache.get_or_make(address, async { Ok::<_, ()>(ready) }).await.unwrap();
    }

    #[test]
    fn what_is_kept_has_no_spare_room() {
        let mut grown = Vec::with_capacity(1000);
        grown.extend_from_slice(b"abc");
        assert_eq!(without_spare_room(grown).try_into_mut().unwrap().capacity(), 3);
    }

    #[tokio::test]
    async fn a_change_makes_what_was_made_from_it_worthless_and_nothing_else() {
        let cache = Cache::new(1 << 20, Arc::new(SystemClock::default()));
        fill(&cache, "/a", "a", article(1)).await;
        fill(&cache, "/b", "b", article(2)).await;
        cache.changes.changed(article(1));
        assert!(cache.get("/a").is_none() && cache.get("/b").is_some());
        fill(&cache, "/a", "a2", article(1)).await;
        assert_eq!(&cache.get("/a").unwrap().form(Encoding::Identity).1.bytes[..], b"a2");
        cache.changes.changed(Source::Everything);
        assert!(cache.get("/a").is_none() && cache.get("/b").is_none());
    }

    #[tokio::test]
    async fn what_was_read_before_a_change_is_not_kept_after_it() {
        let cache = Cache::new(1 << 20, Arc::new(SystemClock::default()));
        let made_at = cache.changes.now();
        cache.changes.changed(BLOG);
        let late = Ready::new("text/plain", b"old".to_vec(), made_at, vec![BLOG]);
        cache.get_or_make("/a", async { Ok::<_, ()>(late) }).await.unwrap();
        assert!(cache.get("/a").is_none());
    }

    #[tokio::test]
    async fn one_makes_it_while_the_others_wait() {
        let cache = Cache::new(1 << 20, Arc::new(SystemClock::default()));
        let made = AtomicU64::new(0);
        let ask = || {
            cache.get_or_make("/a", async {
                made.fetch_add(1, Ordering::Relaxed);
                tokio::task::yield_now().await;
                Ok::<_, ()>(Ready::new("text/plain", b"a".to_vec(), cache.changes.now(), vec![BLOG]))
            })
        };
        futures_util::future::join_all((0..50).map(|_| ask())).await;
        assert_eq!((made.load(Ordering::Relaxed), cache.made()), (1, 1));
    }

    #[tokio::test]
    async fn who_joins_a_maker_does_not_get_what_was_true_before_they_asked() {
        let cache = Cache::new(1 << 20, Arc::new(SystemClock::default()));
        let (begun, go_on) = (tokio::sync::Notify::new(), tokio::sync::Notify::new());
        let first = cache.get_or_make("/a", async {
            let made_at = cache.changes.now();
            begun.notify_one();
            go_on.notified().await;
            Ok::<_, ()>(Ready::new("text/plain", b"old".to_vec(), made_at, vec![BLOG]))
        });
        let second = async {
            begun.notified().await;
            cache.changes.changed(BLOG);
            let joined = cache.get_or_make("/a", async {
                Ok::<_, ()>(Ready::new("text/plain", b"new".to_vec(), cache.changes.now(), vec![BLOG]))
            });
            let let_go = async {
                tokio::task::yield_now().await;
                go_on.notify_one();
            };
            tokio::join!(joined, let_go).0
        };
        let (first, second) = tokio::join!(first, second);
        let body = |ready: Result<Arc<Ready>, ()>| ready.unwrap().form(Encoding::Identity).1.bytes.clone();
        assert_eq!((&body(first)[..], &body(second)[..]), (&b"old"[..], &b"new"[..]));
        assert!(cache.get("/a").is_some(), "what was made last is kept");
    }

    #[tokio::test]
    async fn it_never_holds_more_than_it_may() {
        let cache = Cache::new(1 << 20, Arc::new(SystemClock::default()));
        for n in 0..1000 {
            fill(&cache, &format!("/{n}"), &"x".repeat(10_000), article(n)).await;
        }
        assert!(cache.bytes() <= 1 << 20, "{}", cache.bytes());
        assert!(cache.bytes() > 1 << 19);
    }

    struct Moving(AtomicU64);

    impl Clock for Moving {
        fn now(&self) -> Timestamp {
            Timestamp(i64::try_from(self.0.load(Ordering::SeqCst)).unwrap())
        }

        fn monotonic(&self) -> std::time::Duration {
            std::time::Duration::ZERO
        }
    }

    #[tokio::test]
    async fn what_ends_by_the_clock_is_not_found_after_its_end() {
        let clock = Arc::new(Moving(AtomicU64::new(5)));
        let cache = Cache::new(1 << 20, clock.clone());
        let make = |body: &str, end| {
            Ready::new("text/plain", body.to_owned(), cache.changes.now(), vec![BLOG]).until(Some(Timestamp(end)))
        };
        cache.get_or_make("/a", async { Ok::<_, ()>(make("open", 7)) }).await.unwrap();
        clock.0.store(6, Ordering::SeqCst);
        assert!(cache.get("/a").is_some());
        clock.0.store(7, Ordering::SeqCst);
        assert!(cache.get("/a").is_none());
        let made = cache.get_or_make("/a", async { Ok::<_, ()>(make("closed", 9)) }).await.unwrap();
        assert_eq!(&made.form(Encoding::Identity).1.bytes[..], b"closed");
    }
}
