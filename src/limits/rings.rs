//! The rings that a comment passes: its address, the wider network, its article, its site, everything together. A comment
//! passes all of them or consumes none. Requests with faults, wrong credentials and e-mail addresses have rings of their
//! own.

use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use tokio_util::sync::CancellationToken;

use super::address::ClientAddress;
pub use super::ring::Allowance;
use super::ring::Ring;
pub use super::shared::Common;
use super::shared::Shared;
use super::table::LimiterClock;
use crate::clock::Clock;
use crate::config::Limits;
use crate::domain::ids::SiteId;
use crate::storage::shared_limits::Toll;

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

/// Who tries a password.
#[derive(Debug, Clone, Copy)]
pub enum Guess<'a> {
    /// Somebody of whom nothing is known but the account that they name.
    Stranger(&'a [u8]),
    /// A browser that has signed in to this account before, or somebody who is signed in, or has a link of this account.
    Known(&'a [u8; 16]),
}

/// The rings of this process, and what it shares with other instances.
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
    password: Ring,
    password_known: Ring,
    password_address: Ring,
    password_all: Ring,
    reset: Ring,
    feedback: Ring,
    feedback_network: Ring,
    shared: Option<Shared>,
}

/// A ring, and whom it counts.
struct Ask<'a> {
    ring: &'a Ring,
    key: u64,
    /// The same for all instances, if there may be others.
    toll: Option<Toll>,
}

/// The numbers of the rings that are shared: the same in all instances and versions, and for one kind of request the higher, the more pass it.
mod number {
    pub const CREDENTIALS: u8 = 1;
    pub const EMAIL: u8 = 2;
    pub const ADDRESS: u8 = 3;
    pub const NETWORK: u8 = 4;
    pub const ARTICLE: u8 = 5;
    pub const SITE: u8 = 6;
    pub const ALL: u8 = 7;
    pub const PASSWORD: u8 = 8;
    pub const PASSWORD_KNOWN: u8 = 9;
    pub const RESET: u8 = 10;
    pub const PASSWORD_ADDRESS: u8 = 11;
    pub const PASSWORD_ALL: u8 = 12;
    pub const FEEDBACK: u8 = 13;
    pub const FEEDBACK_NETWORK: u8 = 14;
}

impl Rings {
    /// The rings of the settings. At 16 bytes a place the tables take at most 38 MiB, and what is not used costs nothing.
    /// `common` is what all instances go by; without it each of them lets as much pass as one.
    pub fn new(limits: &Limits, clock: Arc<dyn Clock>, common: Option<Common>) -> Self {
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
            password: ring(limits.password, 1 << 16),
            password_known: ring(limits.password, 1 << 12),
            password_address: ring(limits.password_address, 1 << 17),
            password_all: ring(limits.password_all, 1),
            reset: ring(limits.reset, 1 << 16),
            feedback: ring(limits.feedback, 1 << 18),
            feedback_network: ring(limits.feedback_network, 1 << 16),
            shared: common.map(|common| Shared::new(common, clock.clone())),
        }
    }

    /// Lets a legal comment pass, or tells how long to wait until all rings would let it. A comment that does not pass
    /// consumes nothing.
    pub async fn admit(&self, posting: Posting<'_>) -> Result<(), Duration> {
        if !self.enabled {
            return Ok(());
        }
        let (host, network, site) = (octets(posting.from.host()), octets(posting.from.network()), posting.site);
        self.pass(&[
            self.ask(&self.address, number::ADDRESS, &[&host]),
            self.ask(&self.network, number::NETWORK, &[&network]),
            self.ask(&self.article, number::ARTICLE, &[site.as_bytes(), posting.article.as_bytes()]),
            self.ask(&self.site, number::SITE, &[site.as_bytes()]),
            self.ask(&self.all, number::ALL, &[]),
        ])
        .await
    }

    /// Whether an e-mail address (by its keyed hash) is still below its ceiling; takes one.
    pub async fn email_is_calm(&self, email_hash: &[u8]) -> bool {
        !self.enabled || self.pass(&[self.ask(&self.email, number::EMAIL, &[email_hash])]).await.is_ok()
    }

    /// Counts a request with faults. What it protects is this process, so this ring is not shared.
    pub fn invalid(&self, from: ClientAddress) -> Result<(), Duration> {
        if self.enabled { self.invalid.take(self.invalid.table.key(&[&octets(from.host())])) } else { Ok(()) }
    }

    /// Counts a wrong token.
    pub async fn wrong_credentials(&self, from: ClientAddress) -> Result<(), Duration> {
        if !self.enabled {
            return Ok(());
        }
        self.pass(&[self.ask(&self.credentials, number::CREDENTIALS, &[&octets(from.host())])]).await
    }

    /// Lets somebody try a password or a code. Strangers share the rings of the account that they name and of everybody;
    /// whoever is known waits for nobody at another address.
    pub async fn password(&self, from: ClientAddress, guess: Guess<'_>) -> Result<(), Duration> {
        if !self.enabled {
            return Ok(());
        }
        let address = self.password_from(&octets(from.host()));
        match guess {
            Guess::Known(id) => {
                self.pass(&[self.ask(&self.password_known, number::PASSWORD_KNOWN, &[id]), address]).await
            }
            Guess::Stranger(account) => {
                let account = self.ask(&self.password, number::PASSWORD, &[account]);
                self.pass(&[account, address, self.ask(&self.password_all, number::PASSWORD_ALL, &[])]).await
            }
        }
    }

    /// Lets somebody come with a link or ask for one. Nobody guesses 256 bits, so strangers at other addresses do not count:
    /// they would close the way back in to the owner.
    pub async fn link(&self, from: ClientAddress) -> Result<(), Duration> {
        if self.enabled { self.pass(&[self.password_from(&octets(from.host()))]).await } else { Ok(()) }
    }

    fn password_from(&self, host: &[u8; 16]) -> Ask<'_> {
        self.ask(&self.password_address, number::PASSWORD_ADDRESS, &[host])
    }

    /// Lets a vote, a reaction or a flag pass, or tells how long to wait.
    pub async fn feedback(&self, from: ClientAddress) -> Result<(), Duration> {
        if !self.enabled {
            return Ok(());
        }
        let (host, network) = (octets(from.host()), octets(from.network()));
        self.pass(&[
            self.ask(&self.feedback, number::FEEDBACK, &[&host]),
            self.ask(&self.feedback_network, number::FEEDBACK_NETWORK, &[&network]),
        ])
        .await
    }

    /// Whether one more mail may go to an e-mail address that somebody typed, also when limits are off: what it protects is
    /// a mailbox. Takes one.
    pub async fn reset_is_calm(&self, account: &[u8]) -> bool {
        self.pass(&[self.ask(&self.reset, number::RESET, &[account])]).await.is_ok()
    }

    /// Looks after what is shared until it is told to stop.
    pub async fn keep_house(&self, stop: CancellationToken) {
        if let Some(shared) = &self.shared {
            shared.keep_house(stop).await;
        }
    }

    fn ask<'a>(&self, ring: &'a Ring, number: u8, whom: &[&[u8]]) -> Ask<'a> {
        let toll = self.shared.as_ref().map(|shared| ring.toll(shared.key(number, whom)));
        Ask { ring, key: ring.table.key(whom), toll }
    }

    /// Takes one from each ring, or from none. What this process knows to be spent is refused at once; else the rings of
    /// all instances decide; and when they do not answer, those of this process do.
    async fn pass(&self, asks: &[Ask<'_>]) -> Result<(), Duration> {
        longest(asks.iter().map(|ask| (ask.ring, ask.ring.look(ask.key).unwrap_or_default())))?;
        let tolls: Option<Vec<Toll>> = asks.iter().map(|ask| ask.toll.clone()).collect();
        let answer = match (&self.shared, tolls) {
            (Some(shared), Some(tolls)) => shared.ask(tolls).await,
            _ => None,
        };
        let Some(answer) = answer else {
            // Another request may have taken the last one since: then it is this one that waits.
            return asks.iter().try_for_each(|ask| ask.ring.take(ask.key));
        };
        for (ask, told) in asks.iter().zip(&answer) {
            ask.ring.table.raise(ask.key, told.arrival);
        }
        longest(asks.iter().zip(&answer).map(|(ask, told)| (ask.ring, told.wait)))
    }

    /// What is left of the address ring; none when limits are off.
    pub fn allowance(&self, from: ClientAddress) -> Option<Allowance> {
        self.enabled.then(|| self.address.allowance(self.address.table.key(&[&octets(from.host())])))
    }

    /// How often a table was too full to remember a newcomer.
    pub fn overflows(&self) -> u64 {
        self.named().iter().map(|(_, ring)| ring.table.overflows()).sum()
    }

    /// How often this process had to go by its own rings, because those of all instances did not answer.
    pub fn shared_failures(&self) -> u64 {
        self.shared.as_ref().map_or(0, Shared::failures)
    }

    /// How often each ring refused something since the start. A comment counts once, for the ring that lets it wait longest;
    /// `email` counts the comments that are held for it.
    pub fn refused(&self) -> [(&'static str, u64); 15] {
        self.named().map(|(name, ring)| (name, ring.refused()))
    }

    fn named(&self) -> [(&'static str, &Ring); 15] {
        [
            ("address", &self.address),
            ("network", &self.network),
            ("article", &self.article),
            ("site", &self.site),
            ("all", &self.all),
            ("email", &self.email),
            ("invalid", &self.invalid),
            ("credentials", &self.credentials),
            ("password", &self.password),
            ("password_known", &self.password_known),
            ("password_address", &self.password_address),
            ("password_all", &self.password_all),
            ("reset", &self.reset),
            ("feedback", &self.feedback),
            ("feedback_network", &self.feedback_network),
        ]
    }
}

/// Refuses for the longest of the waits, if there is one, and counts it for its ring.
fn longest<'a>(waits: impl Iterator<Item = (&'a Ring, Duration)>) -> Result<(), Duration> {
    match waits.filter(|(_, wait)| !wait.is_zero()).max_by_key(|(_, wait)| *wait) {
        Some((ring, wait)) => {
            ring.refuse();
            Err(wait)
        }
        None => Ok(()),
    }
}

/// IPv4 as IPv6 writes it, so that no two blocks look alike.
fn octets(address: IpAddr) -> [u8; 16] {
    match address {
        IpAddr::V4(address) => address.to_ipv6_mapped(),
        IpAddr::V6(address) => address,
    }
    .octets()
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicU64, Ordering};

    use futures_util::FutureExt;

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
        let rings = Rings::new(&Config::load(None, Vec::new()).unwrap().limits, clock.clone(), None);
        (clock, rings)
    }

    fn from(address: &str) -> ClientAddress {
        ClientAddress::new(address.parse().unwrap())
    }

    fn post(rings: &Rings, address: &str) -> Result<(), Duration> {
        // Nothing is shared here, so nothing waits.
        rings
            .admit(Posting { from: from(address), site: SiteId(Uuid::nil()), article: "a" })
            .now_or_never()
            .expect("at once")
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
            rings.address.take(rings.address.table.key(&[&octets(known.host())])).unwrap();
        }
        for n in 0..3_000_000_u32 {
            let key = rings.address.table.key(&[&n.to_be_bytes()]);
            rings.address.take(key).unwrap();
        }
        assert!(rings.overflows() > 1_000_000, "more addresses than places");
        assert!(
            rings.address.take(rings.address.table.key(&[&octets(known.host())])).is_err(),
            "a known visitor is judged rightly"
        );
        // An address that found no place passes this ring again and again: the wider ring stops it.
        let passed = (0..100).filter(|_| post(&rings, "255.255.255.1").is_ok()).count();
        assert!((3..=30).contains(&passed), "{passed}");
        clock.advance(60.0);
        let before = rings.overflows();
        for n in 0..20_000_u32 {
            rings.address.take(rings.address.table.key(&[&(n + 7_000_000).to_be_bytes()])).unwrap();
        }
        assert_eq!(rings.overflows(), before, "places whose time is past are free again");
    }

    #[test]
    fn rings_of_their_own() {
        let (_clock, rings) = rings();
        let here = from("203.0.113.9");
        assert_eq!((0..40).filter(|_| rings.invalid(here).is_ok()).count(), 30);
        post(&rings, "203.0.113.9").unwrap();
        assert_eq!((0..40).filter(|_| rings.wrong_credentials(here).now_or_never().unwrap().is_ok()).count(), 10);
        assert_eq!((0..40).filter(|_| rings.email_is_calm(b"hash").now_or_never().unwrap()).count(), 20);
    }

    #[test]
    fn who_is_known_shares_the_ring_of_the_address() {
        let (_clock, rings) = rings();
        let guess = |address: &str, id: u8| {
            rings.password(from(address), Guess::Known(&[id; 16])).now_or_never().unwrap().is_ok()
        };
        assert_eq!((0..100).filter(|n| guess("203.0.113.9", *n)).count(), 20, "however many marks somebody has");
        assert_eq!((0..100).filter(|n| guess(&format!("203.0.113.{n}"), 200)).count(), 10);
    }

    #[test]
    fn switched_off_they_let_everything_pass() {
        let mut limits = Config::load(None, Vec::new()).unwrap().limits;
        limits.enabled = false;
        let rings = Rings::new(&limits, Arc::new(Hand::default()), None);
        for _ in 0..100 {
            post(&rings, "203.0.113.9").unwrap();
            assert!(rings.email_is_calm(b"hash").now_or_never().unwrap());
        }
        assert_eq!(rings.allowance(from("203.0.113.9")), None);
        for _ in 0..100 {
            rings.password(from("203.0.113.9"), Guess::Stranger(b"ann")).now_or_never().unwrap().unwrap();
            rings.password(from("203.0.113.9"), Guess::Known(&[1; 16])).now_or_never().unwrap().unwrap();
            rings.link(from("203.0.113.9")).now_or_never().unwrap().unwrap();
        }
        let passed = (0..10).filter(|_| rings.reset_is_calm(b"ann").now_or_never().unwrap()).count();
        assert_eq!(passed, 3, "a ceiling of mails stays");
    }
}
