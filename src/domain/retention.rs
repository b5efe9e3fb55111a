//! How long a site keeps what is personal and no longer needed. A number of days; 0 keeps it for ever.

use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::time::Timestamp;

/// What goes after some days; none: as the operator's settings say.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Retention {
    /// Network addresses and browsers' names of all comments, counted from their arrival.
    pub sender_days: Option<u32>,
    /// Whole comments that are spam or rejected, counted from the last thing that happened to them.
    pub refused_days: Option<u32>,
}

impl Retention {
    /// This, and where it says nothing that.
    #[must_use]
    pub fn or(self, operator: Self) -> Self {
        Self {
            sender_days: self.sender_days.or(operator.sender_days),
            refused_days: self.refused_days.or(operator.refused_days),
        }
    }

    /// Senders of comments from before then go.
    pub fn senders_before(self, now: Timestamp) -> Option<Timestamp> {
        before(self.sender_days, now)
    }

    /// Refused comments on which nothing happened since then go.
    pub fn refused_before(self, now: Timestamp) -> Option<Timestamp> {
        before(self.refused_days, now)
    }
}

fn before(days: Option<u32>, now: Timestamp) -> Option<Timestamp> {
    let days = u64::from(days.unwrap_or(0));
    (days > 0).then(|| now.minus(Duration::from_secs(days * 86_400)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_site_overrides_the_operator_and_zero_keeps() {
        let operator = Retention { sender_days: Some(30), refused_days: Some(0) };
        let now = Timestamp(100 * 86_400_000_000);
        assert_eq!(Retention::default().or(operator).senders_before(now), Some(Timestamp(70 * 86_400_000_000)));
        assert_eq!(Retention::default().or(operator).refused_before(now), None);
        let site = Retention { sender_days: Some(0), refused_days: Some(1) };
        assert_eq!(site.or(operator).senders_before(now), None);
        assert_eq!(site.or(operator).refused_before(now), Some(Timestamp(99 * 86_400_000_000)));
    }
}
