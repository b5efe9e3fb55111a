//! Finds out whom of those who wrote comments the state of one concerns, and queues the mails: in one transaction with the
//! rows that asked for it, as `tell_moderators.rs` does.

use super::Worker;
use crate::error::Error;
use crate::storage::outbox::{self, Kind};

/// Comments that one transaction looks at.
pub(super) const AT_ONCE: usize = 128;

impl Worker {
    /// Queues the mails that comments lead to. Returns how many comments it took.
    pub(super) async fn spread_news(&self) -> Result<usize, Error> {
        let (service, now) = (self.service.clone(), self.service.clock.now());
        let limit = i64::try_from(AT_ONCE).unwrap_or(i64::MAX);
        let (taken, left_out) = self
            .service
            .db
            .write(move |tx| {
                let work = outbox::take(tx, &[Kind::TellPeople], now, limit)?;
                let left_out = service.spread_news(tx, &work, now)?;
                Ok((work.len(), left_out))
            })
            .await?;
        if left_out > 0 {
            tracing::warn!(
                left_out,
                "above people.hourly_confirmations: questions whether replies may be told are dropped"
            );
        }
        Ok(taken)
    }
}
