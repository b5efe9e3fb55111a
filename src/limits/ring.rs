//! One limit for many keys: at once so many, then one after each period (GCRA, by governor).

use std::num::NonZeroU32;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use governor::clock::Clock as _;
use governor::middleware::NoOpMiddleware;
use governor::nanos::Nanos;
use governor::{Quota, RateLimiter};

use super::table::{LimiterClock, Store, Table};
use crate::config::Ring as RingSettings;
use crate::storage::shared_limits::Toll;

type Limiter = RateLimiter<u64, Store, LimiterClock, NoOpMiddleware<Nanos>>;

/// One limit for many keys.
pub(super) struct Ring {
    /// What it remembers.
    pub table: Arc<Table>,
    quota: Quota,
    clock: LimiterClock,
    /// Looks whether one more is allowed, and remembers nothing.
    looks: Limiter,
    /// Takes one.
    takes: Limiter,
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
    /// A limit that can remember at least `places` keys.
    pub fn new(settings: RingSettings, places: usize, clock: &LimiterClock) -> Self {
        let table = Arc::new(Table::new(places, clock.clone()));
        let period = Duration::from_secs_f64(settings.seconds).max(Duration::from_nanos(1));
        let burst = NonZeroU32::new(settings.burst).unwrap_or(NonZeroU32::MIN);
        // None only for a period of zero.
        let quota = Quota::with_period(period).unwrap_or(Quota::per_second(burst)).allow_burst(burst);
        let limiter = |remembers| RateLimiter::new(quota, Store { table: table.clone(), remembers }, clock.clone());
        let (looks, takes, refused) = (limiter(false), limiter(true), AtomicU64::new(0));
        Self { looks, takes, quota, clock: clock.clone(), table, refused }
    }

    /// How long this key must wait; none: it may pass.
    pub fn look(&self, key: u64) -> Option<Duration> {
        self.looks.check_key(&key).err().map(|until| until.wait_time_from(self.clock.now()))
    }

    /// Takes one, or tells how long to wait.
    pub fn take(&self, key: u64) -> Result<(), Duration> {
        let taken = self.takes.check_key(&key).map_err(|until| until.wait_time_from(self.clock.now()));
        if taken.is_err() {
            self.refuse();
        }
        taken
    }

    /// Counts that it said no.
    pub fn refuse(&self) {
        self.refused.fetch_add(1, Ordering::Relaxed);
    }

    /// How often it said no.
    pub fn refused(&self) -> u64 {
        self.refused.load(Ordering::Relaxed)
    }

    /// What the ring of all instances is asked for.
    pub fn toll(&self, key: [u8; 16]) -> Toll {
        // Far above every setting that makes sense, and far below what the database's sums could not hold.
        const MOST: i64 = 1 << 60;
        let period = i64::try_from(self.quota.replenish_interval().as_micros()).unwrap_or(MOST).clamp(1, MOST);
        let span = period.saturating_mul(self.quota.burst_size().get().into()).min(MOST);
        Toll { key, period, span }
    }

    /// What is left for a key.
    pub fn allowance(&self, key: u64) -> Allowance {
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
