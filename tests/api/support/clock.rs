//! A clock that stands still until a test moves it.

use std::sync::Mutex;
use std::time::Duration;

use afterword::clock::Clock;
use afterword::domain::time::Timestamp;

/// Starts at 2026-01-01T00:00:00Z.
pub struct FakeClock {
    passed: Mutex<Duration>,
}

impl Default for FakeClock {
    fn default() -> Self {
        Self { passed: Mutex::new(Duration::ZERO) }
    }
}

impl FakeClock {
    pub const START: Timestamp = Timestamp(1_767_225_600_000_000);

    /// Lets time pass.
    pub fn advance(&self, by: Duration) {
        *self.passed.lock().unwrap() += by;
    }
}

impl Clock for FakeClock {
    fn now(&self) -> Timestamp {
        Self::START.plus(*self.passed.lock().unwrap())
    }

    fn monotonic(&self) -> Duration {
        *self.passed.lock().unwrap()
    }
}
