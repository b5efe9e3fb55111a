//! The rings that a comment passes: its address, the wider network, its article, its site, everything together. A comment
//! passes all of them or consumes none. Requests with faults, wrong credentials and e-mail addresses have rings of their
//! own.

use std::num::NonZeroU32;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use governor::clock::Clock as _;
use governor::middleware::NoOpMiddleware;
use governor::nanos::Nanos;
use governor::{Quota, RateLimiter};

use super::address::ClientAddress;
use super::table::{LimiterClock, Store, Table};
use crate::clock::Clock;
use crate::config::{Limits, Ring as RingSettings};
use crate::domain::ids::SiteId;

type Limiter = RateLimiter<u64, Store, LimiterClock, NoOpMiddleware<Nanos>>;

/// One limit for many keys.
struct Ring {
    table: Arc<Table>,
    quota: Quota,
    clock: LimiterClock,
    /// Looks whether one more is allowed, and remembers nothing.
    looks: Limiter,
    /// Takes one.
    takes: Limiter,
    /// How often it said no.
    refused: AtomicU64,
}

/// What is left of a ring for a key.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Allowance {
    /// Requests that may come at once.
    pub burst: u32,
    /// The time in which a whole burst comes back.
    pub window: Duration,
    /// What is left now.
    pub remaining: u32,
    /// The time until one more comes back; zero when all are there.
    pub next: Duration,
}

impl Ring {
    fn new(settings: RingSettings, places: usize, clock: &LimiterClock) -> Self {
        let table = Arc::new(Table::new(places, clock.clone()));
        let period = Duration::from_secs_f64(settings.seconds).max(Duration::from_nanos(1));
        let burst = NonZeroU32::new(settings.burst).unwrap_or(NonZeroU32::MIN);
        // None only for a period of zero.
        let quota = Quota::with_period(period).unwrap_or(Quota::per_second(burst)).allow_burst(burst);
        let limiter = |remembers| RateLimiter::new(quota, Store { table: table.clone(), remembers }, clock.clone());
        let (looks, takes, refused) = (limiter(false), limiter(true), AtomicU64::new(0));
        Self { looks, takes, quota, clock: clock.clone(), table, refused }
    }

    fn key(&self, value: impl std::hash::Hash) -> u64 {
        self.table.key(value)
    }

    fn look(&self, key: u64) -> Result<(), Duration> {
        self.looks.check_key(&key).map_err(|until| until.wait_time_from(self.clock.now()))
    }

    fn take(&self, key: u64) -> Result<(), Duration> {
        let taken = self.takes.check_key(&key).map_err(|until| until.wait_time_from(self.clock.now()));
        if taken.is_err() {
            self.refuse();
        }
        taken
    }

    fn refuse(&self) {
        self.refused.fetch_add(1, Ordering::Relaxed);
    }

    fn allowance(&self, key: u64) -> Allowance {
        let period = self.quota.replenish_interval();
        let burst = self.quota.burst_size().get();
        let now = Duration::from(self.clock.now());
        let ahead =
            self.table.arrival(key).map_or(Duration::ZERO, |arrival| Duration::from(arrival).saturating_sub(now));
        let taken = u32::try_from(ahead.as_nanos().div_ceil(period.as_nanos().max(1))).unwrap_or(u32::MAX);
        Allowance {
            burst,
            window: period * burst,
            remaining: burst.saturating_sub(taken),
            next: ahead.saturating_sub(period * taken.saturating_sub(1)),
        }
    }
}

/// Who sends what where.
#[derive(Debug, Clone, Copy)]
pub struct Posting<'a> {
    /// From here.
    pub from: ClientAddress,
    /// To this site.
    pub site: SiteId,
    /// To this article.
    pub article: &'a str,
}

/// All rings of this process.
pub struct Rings {
    enabled: bool,
    address: Ring,
    network: Ring,
    article: Ring,
    site: Ring,
    all: Ring,
    email: Ring,
    invalid: Ring,
    credentials: Ring,
}

impl Rings {
    /// The rings of the settings. At 16 bytes a place the tables take at most 32 MiB, and what is not used costs nothing.
    pub fn new(limits: &Limits, clock: Arc<dyn Clock>) -> Self {
        let clock = LimiterClock::new(clock);
        let ring = |settings, places| Ring::new(settings, places, &clock);
        Self {
            enabled: limits.enabled,
            address: ring(limits.address, 1 << 20),
            network: ring(limits.network, 1 << 18),
            article: ring(limits.article, 1 << 16),
            site: ring(limits.site, 1 << 16),
            all: ring(limits.all, 1),
            email: ring(limits.email, 1 << 18),
            invalid: ring(limits.invalid, 1 << 18),
            credentials: ring(limits.credentials, 1 << 17),
        }
    }

    /// Lets a legal comment pass, or tells how long to wait until all rings would let it. A comment that does not pass
    /// consumes nothing.
    pub fn admit(&self, posting: Posting<'_>) -> Result<(), Duration> {
        if !self.enabled {
            return Ok(());
        }
        let rings = [
            (&self.address, self.address.key(posting.from.host())),
            (&self.network, self.network.key(posting.from.network())),
            (&self.article, self.article.key((posting.site, posting.article))),
            (&self.site, self.site.key(posting.site)),
            (&self.all, self.all.key(())),
        ];
        let waits = rings.iter().filter_map(|(ring, key)| Some((ring, ring.look(*key).err()?)));
        match waits.max_by_key(|(_, wait)| *wait) {
            Some((ring, wait)) => {
                ring.refuse();
                Err(wait)
            }
            // Another request may have taken the last one since: then it is this one that waits.
            None => rings.iter().try_for_each(|(ring, key)| ring.take(*key)),
        }
    }

    /// Whether an e-mail address (by its keyed hash) is still below its ceiling; takes one.
    pub fn email_is_calm(&self, email_hash: &[u8]) -> bool {
        !self.enabled || self.email.take(self.email.key(email_hash)).is_ok()
    }

    /// Counts a request with faults.
    pub fn invalid(&self, from: ClientAddress) -> Result<(), Duration> {
        if self.enabled { self.invalid.take(self.invalid.key(from.host())) } else { Ok(()) }
    }

    /// Counts a wrong token.
    pub fn wrong_credentials(&self, from: ClientAddress) -> Result<(), Duration> {
        if self.enabled { self.credentials.take(self.credentials.key(from.host())) } else { Ok(()) }
    }

    /// What is left of the address ring; none when limits are off.
    pub fn allowance(&self, from: ClientAddress) -> Option<Allowance> {
        self.enabled.then(|| self.address.allowance(self.address.key(from.host())))
    }

    /// How often a table was too full to remember a newcomer.
    pub fn overflows(&self) -> u64 {
        self.named().iter().map(|(_, ring)| ring.table.overflows()).sum()
    }

    /// How often each ring refused something since the start. A comment counts once, for the ring that lets it wait longest;
    /// `email` counts the comments that are held for it.
    pub fn refused(&self) -> [(&'static str, u64); 8] {
        self.named().map(|(name, ring)| (name, ring.refused.load(Ordering::Relaxed)))
    }

    fn named(&self) -> [(&'static str, &Ring); 8] {
        [
            ("address", &self.address),
            ("network", &self.network),
            ("article", &self.article),
            ("site", &self.site),
            ("all", &self.all),
            ("email", &self.email),
            ("invalid", &self.invalid),
            ("credentials", &self.credentials),
        ]
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::Config;
    use crate::domain::time::Timestamp;
    use uuid::Uuid;

    #[derive(Default)]
    struct Hand(AtomicU64);

    impl Clock for Hand {
        fn now(&self) -> Timestamp {
            Timestamp(0)
        }
        fn monotonic(&self) -> Duration {
            Duration::from_millis(self.0.load(Ordering::Relaxed))
        }
    }

    impl Hand {
        fn advance(&self, seconds: f64) {
            self.0.fetch_add(u64::try_from(Duration::from_secs_f64(seconds).as_millis()).unwrap(), Ordering::Relaxed);
        }
    }

    fn rings() -> (Arc<Hand>, Rings) {
        let clock = Arc::new(Hand::default());
        clock.advance(1000.0);
        let rings = Rings::new(&Config::load(None, Vec::new()).unwrap().limits, clock.clone());
        (clock, rings)
    }

    fn from(address: &str) -> ClientAddress {
        ClientAddress::new(address.parse().unwrap())
    }

    fn post(rings: &Rings, address: &str) -> Result<(), Duration> {
        rings.admit(Posting { from: from(address), site: SiteId(Uuid::nil()), article: "a" })
    }

    #[test]
    fn three_at_once_then_one_every_fifteen_seconds() {
        let (clock, rings) = rings();
        for _ in 0..3 {
            post(&rings, "203.0.113.9").unwrap();
        }
        assert_eq!(post(&rings, "203.0.113.9"), Err(Duration::from_secs(15)));
        post(&rings, "203.0.113.10").unwrap();
        clock.advance(14.0);
        assert_eq!(post(&rings, "203.0.113.9"), Err(Duration::from_secs(1)), "the true wait");
        clock.advance(1.0);
        post(&rings, "203.0.113.9").unwrap();
        assert!(post(&rings, "203.0.113.9").is_err());
    }

    #[test]
    fn twenty_comments_twenty_seconds_apart_all_pass() {
        let (clock, rings) = rings();
        for _ in 0..20 {
            post(&rings, "2001:db8::1").unwrap();
            clock.advance(20.0);
        }
    }

    #[test]
    fn one_slash_64_is_one_sender_and_one_slash_48_is_bounded() {
        let (_clock, rings) = rings();
        let passed = (0..100).filter(|n| post(&rings, &format!("2001:db8::{n:x}")).is_ok()).count();
        assert_eq!(passed, 3);
        let passed = (1..1000).filter(|n| post(&rings, &format!("2001:db8:0:{n:x}::1")).is_ok()).count();
        assert_eq!(3 + passed, 30);
    }

    #[test]
    fn what_does_not_pass_consumes_nothing() {
        let (clock, rings) = rings();
        for n in 0..30 {
            post(&rings, &format!("203.0.113.{n}")).unwrap();
        }
        // The network is spent: this address stays whole, however often it tries.
        for _ in 0..10 {
            assert_eq!(post(&rings, "203.0.113.200"), Err(Duration::from_millis(1500)));
        }
        let refused: Vec<_> = rings.refused().into_iter().filter(|(_, count)| *count > 0).collect();
        assert_eq!(refused, [("network", 10)], "each counts once, for the ring that says no");
        assert_eq!(rings.allowance(from("203.0.113.200")).unwrap().remaining, 3);
        clock.advance(4.5);
        for _ in 0..3 {
            post(&rings, "203.0.113.200").unwrap();
        }
    }

    #[test]
    fn the_allowance_tells_what_is_left() {
        let (clock, rings) = rings();
        let left = || rings.allowance(from("203.0.113.9")).unwrap();
        let whole = Allowance { burst: 3, window: Duration::from_secs(45), remaining: 3, next: Duration::ZERO };
        assert_eq!(left(), whole);
        post(&rings, "203.0.113.9").unwrap();
        assert_eq!(left(), Allowance { remaining: 2, next: Duration::from_secs(15), ..whole });
        clock.advance(5.0);
        post(&rings, "203.0.113.9").unwrap();
        post(&rings, "203.0.113.9").unwrap();
        assert_eq!(left(), Allowance { remaining: 0, next: Duration::from_secs(10), ..whole });
        assert_eq!(post(&rings, "203.0.113.9"), Err(Duration::from_secs(10)));
    }

    #[test]
    fn threads_cannot_pass_together() {
        let (_clock, rings) = rings();
        let passed: usize = std::thread::scope(|scope| {
            let threads: Vec<_> = (0..8)
                .map(|_| scope.spawn(|| (0..50).filter(|_| post(&rings, "203.0.113.9").is_ok()).count()))
                .collect();
            threads.into_iter().map(|thread| thread.join().unwrap()).sum()
        });
        assert_eq!(passed, 3);
    }

    #[test]
    fn a_full_table_degrades_to_the_wider_ring() {
        let (clock, rings) = rings();
        let known = from("198.51.100.7");
        for _ in 0..3 {
            rings.address.take(rings.address.key(known.host())).unwrap();
        }
        for n in 0..3_000_000_u32 {
            let key = rings.address.key(std::net::IpAddr::V4(n.into()));
            rings.address.take(key).unwrap();
        }
        assert!(rings.overflows() > 1_000_000, "more addresses than places");
        assert!(rings.address.take(rings.address.key(known.host())).is_err(), "a known visitor is judged rightly");
        // An address that found no place passes this ring again and again: the wider ring stops it.
        let passed = (0..100).filter(|_| post(&rings, "255.255.255.1").is_ok()).count();
        assert!((3..=30).contains(&passed), "{passed}");
        clock.advance(60.0);
        let before = rings.overflows();
        for n in 0..20_000_u32 {
            rings.address.take(rings.address.key(std::net::IpAddr::V4((n + 7_000_000).into()))).unwrap();
        }
        assert_eq!(rings.overflows(), before, "places whose time is past are free again");
    }

    #[test]
    fn rings_of_their_own() {
        let (_clock, rings) = rings();
        let here = from("203.0.113.9");
        assert_eq!((0..40).filter(|_| rings.invalid(here).is_ok()).count(), 30);
        post(&rings, "203.0.113.9").unwrap();
        assert_eq!((0..40).filter(|_| rings.wrong_credentials(here).is_ok()).count(), 10);
        assert_eq!((0..40).filter(|_| rings.email_is_calm(b"hash")).count(), 20);
    }

    #[test]
    fn switched_off_they_let_everything_pass() {
        let mut limits = Config::load(None, Vec::new()).unwrap().limits;
        limits.enabled = false;
        let rings = Rings::new(&limits, Arc::new(Hand::default()));
        for _ in 0..100 {
            post(&rings, "203.0.113.9").unwrap();
            assert!(rings.email_is_calm(b"hash"));
        }
        assert_eq!(rings.allowance(from("203.0.113.9")), None);
    }
}
