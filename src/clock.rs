//! The only place that reads the system's time for anything that is stored or shown, and the one that makes ids. Everything else is told what time it is, so that tests can
//! let an hour pass in no time.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use uuid::{ContextV7, Uuid};

use crate::domain::time::Timestamp;

/// Tells the time. Two implementations: the system's, and the one that tests move by hand.
pub trait Clock: Send + Sync {
    /// The time of day. It may jump when somebody sets the clock.
    fn now(&self) -> Timestamp;

    /// Time since an arbitrary start; never goes back. For limits and waits.
    fn monotonic(&self) -> Duration;
}

/// The machine's own clocks.
pub struct SystemClock {
    start: Instant,
}

impl Default for SystemClock {
    #[expect(clippy::disallowed_methods, reason = "this is the clock")]
    fn default() -> Self {
        Self { start: Instant::now() }
    }
}

impl Clock for SystemClock {
    #[expect(clippy::disallowed_methods, reason = "this is the clock")]
    fn now(&self) -> Timestamp {
        let since_epoch = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        Timestamp(i64::try_from(since_epoch.as_micros()).unwrap_or(i64::MAX))
    }

    #[expect(clippy::disallowed_methods, reason = "this is the clock")]
    fn monotonic(&self) -> Duration {
        Instant::now().duration_since(self.start)
    }
}

/// Makes ids that sort by time, also within one millisecond of one process.
pub struct Ids {
    clock: Arc<dyn Clock>,
    sequence: Mutex<ContextV7>,
}

impl Ids {
    /// Ids whose time part comes from `clock`.
    pub fn new(clock: Arc<dyn Clock>) -> Self {
        Self { clock, sequence: Mutex::new(ContextV7::new()) }
    }

    /// A new `UUIDv7`. Its random part comes from a generator in the process that the kernel seeds: asking the kernel for
    /// each id showed in the profile of a submission (three ids a comment).
    pub fn next(&self) -> Uuid {
        let micros = u64::try_from(self.clock.now().0).unwrap_or(0);
        let nanos = u32::try_from(micros % 1_000_000).unwrap_or(0).saturating_mul(1000);
        let sequence = self.sequence.lock().unwrap_or_else(PoisonError::into_inner);
        Uuid::new_v7(uuid::Timestamp::from_unix(&*sequence, micros / 1_000_000, nanos))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ids_of_one_process_sort_as_they_were_made() {
        let ids = Ids::new(Arc::new(SystemClock::default()));
        let made: Vec<_> = (0..10_000).map(|_| ids.next()).collect();
        assert!(made.windows(2).all(|pair| pair[0] < pair[1]));
    }
}
