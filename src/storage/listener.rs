//! What instances on one PostgreSQL server tell each other after a commit (`NOTIFY` inside the transaction, `LISTEN` on a
//! connection of its own): which public lists changed. A lost connection only delays: until it is made anew, everything
//! counts as changed every half second (`jobs/housekeeping.rs`).

use std::pin::pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::JoinHandle;
use std::time::Duration;

use diesel::prelude::*;
use diesel::sql_types::Text;
use futures_util::{StreamExt, stream};
use tokio::sync::mpsc::{UnboundedReceiver, unbounded_channel};
use tokio_postgres::AsyncMessage;
use tokio_util::sync::CancellationToken;

use super::conn::Conn;
use super::postgres::{self, Route};
use super::replica::{self, Horizon};
use super::threads::jittered;
use crate::domain::listing::Source;
use crate::error::Error;

/// PostgreSQL takes payloads of less than 8,000 bytes; a longer list of changes becomes "everything".
const LONGEST_PAYLOAD: usize = 7_900;

/// A connection on which nothing was heard for this long is asked whether it lives. What others write without telling is
/// known of after that time.
const SILENCE: Duration = Duration::from_millis(500);

/// An answer is late after this; then everything counts as changed. With the silence before, that is less than the second
/// in which a decision is seen everywhere.
const LATE: Duration = Duration::from_millis(400);

/// A connection that has not answered for this long is given up.
const ANSWER_LIMIT: Duration = Duration::from_secs(5);

/// Time until a lost connection is tried again, at least.
const PAUSE: Duration = Duration::from_millis(250);

type Failure = Box<dyn std::error::Error + Send + Sync>;

/// Told what others changed.
type Told = Arc<dyn Fn(&[Source]) + Send + Sync>;

/// Who is told what others do.
pub(super) struct Hearer {
    /// Told what others changed.
    pub told: Told,
    /// How far a replica must be before it may answer.
    pub horizon: Option<Arc<Horizon>>,
}

/// Tells the other instances what this transaction changes, once it is committed.
pub(super) fn tell(conn: &mut Conn, changed: &[Source]) -> Result<(), Error> {
    let Conn::Postgres(c) = conn else { return Ok(()) };
    if !changed.is_empty() {
        diesel::sql_query("SELECT pg_notify('afterword', $1)").bind::<Text, _>(to_text(changed)).execute(c)?;
    }
    Ok(())
}

fn to_text(sources: &[Source]) -> String {
    let mut words: Vec<String> = sources
        .iter()
        .map(|source| match source {
            Source::Article(id) => format!("a{id}"),
            Source::Site(id) => format!("s{id}"),
            Source::NewArticles(id) => format!("n{id}"),
            Source::Everything => "*".to_owned(),
        })
        .collect();
    words.sort_unstable();
    words.dedup();
    let text = words.join(" ");
    if text.len() > LONGEST_PAYLOAD { "*".to_owned() } else { text }
}

/// What a newer instance says in words of its own is taken as "everything".
fn from_text(text: &str) -> Vec<Source> {
    let read = |word: &str| {
        let (kind, id) = word.split_at_checked(1)?;
        match kind {
            "a" => id.parse().ok().map(Source::Article),
            "s" => id.parse().ok().map(Source::Site),
            "n" => id.parse().ok().map(Source::NewArticles),
            _ => None,
        }
    };
    text.split(' ').map(|word| read(word).unwrap_or(Source::Everything)).collect()
}

/// Listens until it is told to stop.
pub(super) struct Listening {
    /// Whether the connection stands: then what is not heard did not happen.
    pub hears: Arc<AtomicBool>,
    /// Ends it.
    pub stop: CancellationToken,
}

impl Listening {
    /// Starts the thread.
    pub fn start(route: Route, hearer: Hearer) -> Result<(Self, JoinHandle<()>), Error> {
        let listening = Self { hears: Arc::default(), stop: CancellationToken::new() };
        let (hears, stop) = (listening.hears.clone(), listening.stop.clone());
        let run = move || {
            postgres::with_runtime(|runtime| {
                runtime.block_on(async {
                    tokio::select! {
                        () = stop.cancelled() => {}
                        () = listen(&route, &hearer, &hears) => {}
                    }
                });
            });
        };
        let thread = std::thread::Builder::new().name("listener".into()).spawn(run).map_err(Error::internal)?;
        Ok((listening, thread))
    }
}

async fn listen(route: &Route, hearer: &Hearer, hears: &AtomicBool) {
    loop {
        let ended = session(route, hearer, hears).await;
        hearer.misses(hears, &ended.err().map(|cause| cause.to_string()).unwrap_or_default());
        tokio::time::sleep(jittered(PAUSE)).await;
    }
}

/// One connection, until it ends.
async fn session(route: &Route, hearer: &Hearer, hears: &AtomicBool) -> Result<(), Failure> {
    let (client, mut connection) = tokio::time::timeout(postgres::CONNECT_LIMIT, postgres::dial(route)).await??;
    let (tell, mut heard) = unbounded_channel();
    let driver = tokio::spawn(async move {
        let mut messages = stream::poll_fn(move |context| connection.poll_message(context));
        while let Some(Ok(message)) = messages.next().await {
            if let AsyncMessage::Notification(news) = message {
                let _ = tell.send(news.payload().to_owned()); // The hearer may have gone.
            }
        }
    });
    let outcome = hear(&client, &mut heard, hearer, hears).await;
    driver.abort();
    outcome
}

async fn hear(
    client: &tokio_postgres::Client,
    heard: &mut UnboundedReceiver<String>,
    hearer: &Hearer,
    hears: &AtomicBool,
) -> Result<(), Failure> {
    tokio::time::timeout(ANSWER_LIMIT, client.batch_execute("LISTEN afterword")).await??;
    hears.store(true, Ordering::Relaxed);
    // Whatever happened before was not heard.
    let mut news = vec![Source::Everything];
    loop {
        if news.is_empty() || hearer.horizon.is_some() {
            hearer.look_in_time(client, hears).await?;
        }
        if !news.is_empty() {
            (hearer.told)(&news);
        }
        news = match tokio::time::timeout(SILENCE, heard.recv()).await {
            Ok(Some(text)) => from_text(&text),
            Ok(None) => return Err("the connection ended".into()),
            Err(_) => Vec::new(),
        };
    }
}

impl Hearer {
    /// Something may have happened unheard.
    fn misses(&self, hears: &AtomicBool, cause: &str) {
        if let Some(horizon) = &self.horizon {
            horizon.lose();
        }
        if hears.swap(false, Ordering::Relaxed) {
            tracing::warn!(cause, "other instances are not heard for the moment; everything counts as changed");
            (self.told)(&[Source::Everything]);
        }
    }

    /// Looks, and believes nothing while the answer is late. When it comes, nothing was missed: news waits behind it.
    async fn look_in_time(&self, client: &tokio_postgres::Client, hears: &AtomicBool) -> Result<(), Failure> {
        let mut look = pin!(self.look(client));
        if let Ok(looked) = tokio::time::timeout(LATE, &mut look).await {
            return looked;
        }
        self.misses(hears, "the server does not answer");
        tokio::time::timeout(ANSWER_LIMIT, look).await??;
        hears.store(true, Ordering::Relaxed);
        Ok(())
    }

    /// Asks the server whether it lives, and how far its log goes: what is told next happened before that.
    async fn look(&self, client: &tokio_postgres::Client) -> Result<(), Failure> {
        let Some(horizon) = &self.horizon else { return Ok(client.batch_execute("SELECT 1").await?) };
        let losses = horizon.losses();
        let row = client.query_one(replica::WRITTEN, &[]).await?;
        horizon.reached(row.try_get(0)?, losses);
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::ids::{ArticleId, SiteId};
    use uuid::Uuid;

    #[test]
    fn what_is_told_is_what_is_heard() {
        let one = Source::Article(ArticleId(Uuid::from_u128(7)));
        let other = Source::NewArticles(SiteId(Uuid::from_u128(8)));
        assert_eq!(from_text(&to_text(&[one, other, one])), [one, other]);
        assert_eq!(from_text(&to_text(&[Source::Site(SiteId(Uuid::nil()))])), [Source::Site(SiteId(Uuid::nil()))]);
        let many: Vec<Source> = (0..1000).map(|n| Source::Article(ArticleId(Uuid::from_u128(n)))).collect();
        assert_eq!(from_text(&to_text(&many)), [Source::Everything]);
        assert_eq!(from_text("z1 nonsense"), [Source::Everything, Source::Everything]);
    }
}
