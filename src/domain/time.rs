//! A moment, as the database and the API know it: whole microseconds since 1970-01-01T00:00:00Z.

use std::fmt;
use std::time::Duration;

use serde::{Serialize, Serializer};

/// A moment in UTC. Unit: microseconds since the Unix epoch.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Timestamp(pub i64);

/// Microseconds in a duration, cut at what an `i64` holds (292,000 years).
fn micros(duration: Duration) -> i64 {
    i64::try_from(duration.as_micros()).unwrap_or(i64::MAX)
}

impl Timestamp {
    /// The moment `duration` later.
    #[must_use]
    pub fn plus(self, duration: Duration) -> Self {
        Self(self.0.saturating_add(micros(duration)))
    }

    /// The moment `duration` earlier.
    #[must_use]
    pub fn minus(self, duration: Duration) -> Self {
        Self(self.0.saturating_sub(micros(duration)))
    }

    /// The time from `earlier` to `self`; zero when `earlier` is later (a clock that was set back).
    pub fn since(self, earlier: Self) -> Duration {
        Duration::from_micros(u64::try_from(self.0.saturating_sub(earlier.0)).unwrap_or(0))
    }
}

impl Timestamp {
    /// Reads RFC 3339, with any offset; what is finer than a microsecond is cut.
    pub fn parse(text: &str) -> Option<Self> {
        text.parse::<jiff::Timestamp>().ok().map(|moment| Self(moment.as_microsecond()))
    }

    /// For people, to the minute: `22 November 2025, 20:34 UTC`.
    pub fn in_words(self) -> String {
        jiff::Timestamp::from_microsecond(self.0)
            .map_or_else(|_| String::new(), |moment| moment.strftime("%-d %B %Y, %H:%M UTC").to_string())
    }
}

/// RFC 3339 in UTC with six decimals and `Z`: always 27 characters for the years 0 to 9999, so that no answer's length
/// depends on the time.
impl fmt::Display for Timestamp {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let moment = jiff::Timestamp::from_microsecond(self.0).map_err(|_| fmt::Error)?;
        write!(f, "{moment:.6}")
    }
}

impl Serialize for Timestamp {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn prints_rfc_3339_of_fixed_length() {
        assert_eq!(Timestamp(0).to_string(), "1970-01-01T00:00:00.000000Z");
        assert_eq!(Timestamp(1_763_843_696_000_001).to_string(), "2025-11-22T20:34:56.000001Z");
        assert_eq!(Timestamp(1_763_843_696_000_001).in_words(), "22 November 2025, 20:34 UTC");
    }

    #[test]
    fn reads_what_it_prints() {
        let moment = Timestamp(1_763_843_696_000_001);
        for text in ["2025-11-22T20:34:56.000001Z", "2025-11-22T21:34:56.000001+01:00"] {
            assert_eq!(Timestamp::parse(text), Some(moment), "{text}");
        }
        for text in ["", "tomorrow", "2025-11-22", "2025-11-22T20:34:56", "1763843696"] {
            assert_eq!(Timestamp::parse(text), None, "{text}");
        }
    }

    #[test]
    fn a_clock_set_back_gives_no_negative_time() {
        assert_eq!(Timestamp(5).since(Timestamp(9)), Duration::ZERO);
        assert_eq!(Timestamp(9).since(Timestamp(5)), Duration::from_micros(4));
    }
}
