//! What this process shares with other instances on one PostgreSQL: their rings, asked by one statement after the rings in
//! memory let a request pass. A visitor waits for the answer, so it must come soon; without it the rings in memory decide
//! alone, and for a while nobody asks again.
//!
//! All instances go by one clock, the database's. Each knows how far that is ahead of its own monotonic one, asks again
//! each minute because clocks drift, and never looks at its own time of day, which may be wrong by hours.

use std::sync::Arc;
use std::sync::atomic::{AtomicI64, AtomicU64, Ordering};
use std::time::Duration;

use governor::clock::Clock as _;
use governor::nanos::Nanos;
use tokio_util::sync::CancellationToken;

use super::table::LimiterClock;
use crate::error::Error;
use crate::storage::shared_limits::{SharedLimits, Toll};

/// After a failure nobody asks for this long, so that a database that is away costs one visitor a wait and not each.
const REST: Duration = Duration::from_secs(5);

/// The database's clock is asked for, and rows whose time is past are deleted, this often.
const HOUSEKEEPING: Duration = Duration::from_mins(1);

/// Rows that are deleted at a time, while nobody can ask.
const SWEEP: i64 = 500;

/// Whom a ring counts, as a keyed hash that all instances make alike, so that no address lies in the database.
pub type KeyedHash = Box<dyn Fn(&[&[u8]]) -> [u8; 16] + Send + Sync>;

/// What all instances go by.
pub struct Common {
    /// Their rings.
    pub limits: SharedLimits,
    /// How keys are made.
    pub hash: KeyedHash,
    /// How long a visitor waits for an answer.
    pub patience: Duration,
}

/// The common rings as this process asks them.
pub(super) struct Shared {
    common: Common,
    clock: LimiterClock,
    /// How many microseconds the database's clock is ahead of ours.
    lead: AtomicI64,
    /// Nobody asks before this, in nanoseconds of our clock; zero while all is well.
    rests_until: AtomicU64,
    failures: AtomicU64,
}

/// No lead is known.
const UNKNOWN: i64 = i64::MIN;

/// What a common ring says.
pub(super) struct Told {
    /// How long to wait until it would let this pass; zero: it may.
    pub wait: Duration,
    /// Its theoretical arrival time now, by our clock.
    pub arrival: Nanos,
}

impl Shared {
    pub fn new(common: Common, clock: LimiterClock) -> Self {
        let (lead, rests_until, failures) = (AtomicI64::new(UNKNOWN), AtomicU64::new(0), AtomicU64::new(0));
        Self { common, clock, lead, rests_until, failures }
    }

    /// The key of a ring, by its number, for somebody.
    pub fn key(&self, number: u8, whom: &[&[u8]]) -> [u8; 16] {
        let mut key = (self.common.hash)(&[&[[number].as_slice()], whom].concat());
        key[0] = number;
        key
    }

    /// How often there was no answer in time, or nobody asked because of that.
    pub fn failures(&self) -> u64 {
        self.failures.load(Ordering::Relaxed)
    }

    /// Takes one from each ring or from none; none: the rings in memory must decide alone.
    pub async fn ask(&self, tolls: Vec<Toll>) -> Option<Vec<Told>> {
        if self.may_ask() {
            let in_time = tokio::time::timeout(self.common.patience, self.pass(tolls)).await;
            match in_time.unwrap_or_else(|_| Err(Error::internal("no answer in time"))) {
                Ok(told) => {
                    self.works();
                    return Some(told);
                }
                Err(error) => self.fails(&error),
            }
        }
        self.failures.fetch_add(1, Ordering::Relaxed);
        None
    }

    async fn pass(&self, tolls: Vec<Toll>) -> Result<Vec<Told>, Error> {
        let known = self.lead.load(Ordering::Relaxed);
        let lead = if known == UNKNOWN { self.learn_lead().await? } else { known };
        let moment = self.now().saturating_add(lead);
        // Whoever gives up waiting lets go of this.
        let asker = Arc::new(());
        let waits = Arc::downgrade(&asker);
        let before = self.common.limits.pass(tolls.clone(), moment, move || waits.strong_count() > 0).await?;
        let ahead: Vec<i64> = before.iter().map(|before| before.saturating_sub(moment)).collect();
        let wait = |(toll, ahead): (&Toll, &i64)| ahead.saturating_add(toll.period).saturating_sub(toll.span).max(0);
        let waits: Vec<i64> = tolls.iter().zip(&ahead).map(wait).collect();
        let passed = waits.iter().all(|wait| *wait == 0);
        let told = tolls.iter().zip(ahead).zip(waits).map(|((toll, ahead), wait)| {
            let taken = if passed { toll.period } else { 0 };
            let arrival = micros(moment.saturating_sub(lead).saturating_add(ahead).saturating_add(taken));
            Told { wait: micros(wait), arrival: Nanos::from(arrival) }
        });
        Ok(told.collect())
    }

    /// Deletes what is past and follows the database's clock, until it is told to stop.
    pub async fn keep_house(&self, stop: CancellationToken) {
        while !stop.is_cancelled() {
            if let Err(error) = self.tidy().await {
                self.fails(&error);
            }
            tokio::select! {
                () = stop.cancelled() => {}
                () = tokio::time::sleep(HOUSEKEEPING) => {}
            }
        }
    }

    async fn tidy(&self) -> Result<(), Error> {
        self.learn_lead().await?;
        while i64::try_from(self.common.limits.sweep(SWEEP).await?) == Ok(SWEEP) {}
        Ok(())
    }

    async fn learn_lead(&self) -> Result<i64, Error> {
        let theirs = self.common.limits.clock().await?;
        let lead = theirs.saturating_sub(self.now());
        self.lead.store(lead, Ordering::Relaxed);
        Ok(lead)
    }

    /// The time by our clock, in microseconds.
    fn now(&self) -> i64 {
        i64::try_from(self.clock.now().as_u64() / 1000).unwrap_or(i64::MAX)
    }

    /// Whether it is worth asking; while it is resting, one asker at a time finds out.
    fn may_ask(&self) -> bool {
        let (until, next) = (self.rests_until.load(Ordering::Relaxed), self.rested());
        let is_over = until <= self.clock.now().as_u64();
        let is_first = || self.rests_until.compare_exchange(until, next, Ordering::Relaxed, Ordering::Relaxed).is_ok();
        until == 0 || (is_over && is_first())
    }

    fn rested(&self) -> u64 {
        (self.clock.now() + Nanos::from(REST)).as_u64()
    }

    fn works(&self) {
        if self.rests_until.swap(0, Ordering::Relaxed) != 0 {
            tracing::info!("the rate limits of all instances work again");
        }
    }

    fn fails(&self, error: &Error) {
        // It may be another server that answers next.
        self.lead.store(UNKNOWN, Ordering::Relaxed);
        if self.rests_until.swap(self.rested(), Ordering::Relaxed) == 0 {
            let cause = error.inside();
            tracing::warn!(%error, cause, "the rate limits of all instances do not answer; each goes by its own");
        }
    }
}

fn micros(count: i64) -> Duration {
    Duration::from_micros(count.unsigned_abs())
}
