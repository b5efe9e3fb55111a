//! The bounded memory of a ring: a table of fixed size that maps a keyed hash to the theoretical arrival time of GCRA.
//! governor's own map grows with every address that was ever seen (boinkor-net/governor#171). Here an entry whose time is
//! past is the same as none and gives its place away; when all eight places of a bucket are in use, the newcomer is not
//! remembered, and the wider ring is the one that stops it.

use std::hash::{BuildHasher, RandomState};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use governor::clock::Clock as GovernorClock;
use governor::nanos::Nanos;
use governor::state::StateStore;

use crate::clock::Clock;

/// Places that one key may take.
const WAYS: usize = 8;
/// Locks, so that threads hardly ever wait for each other.
const SHARDS: usize = 64;

/// Our clock as governor sees it: time since the limiter was made.
#[derive(Clone)]
pub(super) struct LimiterClock {
    clock: Arc<dyn Clock>,
    made: std::time::Duration,
}

impl LimiterClock {
    pub fn new(clock: Arc<dyn Clock>) -> Self {
        let made = clock.monotonic();
        Self { clock, made }
    }
}

impl GovernorClock for LimiterClock {
    type Instant = Nanos;

    fn now(&self) -> Nanos {
        Nanos::from(self.clock.monotonic().saturating_sub(self.made))
    }
}

/// A table of arrival times.
pub(super) struct Table {
    /// Each shard: pairs of (key hash, arrival time), zero for an empty place; made when it is first written to, so that
    /// a service at rest pays nothing.
    shards: Vec<Mutex<Vec<u64>>>,
    buckets: usize,
    hasher: RandomState,
    clock: LimiterClock,
    overflows: AtomicU64,
}

impl Table {
    /// A table of at least `places` places, 16 bytes each.
    pub fn new(places: usize, clock: LimiterClock) -> Self {
        let buckets = places.div_ceil(WAYS * SHARDS).max(1);
        Self {
            shards: (0..SHARDS).map(|_| Mutex::default()).collect(),
            buckets,
            hasher: RandomState::new(),
            clock,
            overflows: AtomicU64::new(0),
        }
    }

    /// The key of whom a ring counts, hashed with a secret of this process, so that nobody can aim at a bucket.
    pub fn key(&self, parts: &[&[u8]]) -> u64 {
        self.hasher.hash_one(parts).max(1)
    }

    /// How often a newcomer found no place.
    pub fn overflows(&self) -> u64 {
        self.overflows.load(Ordering::Relaxed)
    }

    /// The arrival time of a key, if it lies ahead.
    pub fn arrival(&self, key: u64) -> Option<Nanos> {
        self.look(key, false, |bucket, now| {
            bucket.iter().find(|place| place[0] == key && place[1] > now).map(|place| Nanos::from(place[1]))
        })
    }

    /// Sets the arrival time of a key to `arrival`, unless it is later already.
    pub fn raise(&self, key: u64, arrival: Nanos) {
        self.look(key, true, |bucket, now| {
            let known = bucket.iter().find(|place| place[0] == key).map_or(0, |place| place[1]);
            if arrival.as_u64() > known.max(now) {
                self.keep(bucket, key, [now, arrival.as_u64()]);
            }
        });
    }

    /// Writes the arrival time of a key into its bucket; it is not remembered where all places are in use.
    fn keep(&self, bucket: &mut [[u64; 2]], key: u64, [now, arrival]: [u64; 2]) {
        let known = bucket.iter().position(|place| place[0] == key);
        match known.or_else(|| bucket.iter().position(|place| place[1] <= now)).and_then(|at| bucket.get_mut(at)) {
            Some(place) => *place = [key, arrival],
            None => _ = self.overflows.fetch_add(1, Ordering::Relaxed),
        }
    }

    /// Runs `work` on the bucket of a key (an empty one where nothing was ever written), with the time in nanoseconds.
    fn look<T>(&self, key: u64, to_write: bool, work: impl FnOnce(&mut [[u64; 2]], u64) -> T) -> T {
        let now = self.clock.now().as_u64();
        // The high bits choose the shard, the low ones the bucket.
        let shard = usize::try_from(key >> 58).unwrap_or(0) % SHARDS;
        let bucket = usize::try_from(key & 0xFFFF_FFFF).unwrap_or(0) % self.buckets;
        let Some(shard) = self.shards.get(shard) else { return work(&mut [], now) };
        let mut places = shard.lock().unwrap_or_else(PoisonError::into_inner);
        if to_write && places.is_empty() {
            places.resize(self.buckets * WAYS * 2, 0);
        }
        let (pairs, _) = places.as_chunks_mut::<2>();
        work(pairs.get_mut(bucket * WAYS..(bucket + 1) * WAYS).unwrap_or_default(), now)
    }
}

/// A table as governor uses it: one that remembers what it decides, or one that only looks.
#[derive(Clone)]
pub(super) struct Store {
    pub table: Arc<Table>,
    pub remembers: bool,
}

impl StateStore for Store {
    type Key = u64;

    fn measure_and_replace<T, F, E>(&self, key: &u64, decide: F) -> Result<T, E>
    where
        F: Fn(Option<Nanos>) -> Result<(T, Nanos), E>,
    {
        self.table.look(*key, self.remembers, |bucket, now| {
            let arrival = bucket.iter().find(|place| place[0] == *key).map(|place| place[1]);
            let (outcome, next) = decide(arrival.filter(|arrival| *arrival > now).map(Nanos::from))?;
            if self.remembers {
                self.table.keep(bucket, *key, [now, next.as_u64()]);
            }
            Ok(outcome)
        })
    }
}
