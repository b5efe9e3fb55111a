//! Lets go what has been kept long enough: senders of comments, comments that were refused, requests for links, addresses
//! that never said yes. In small transactions, so that nobody waits. What waits for a decision stays.

use std::sync::Arc;
use std::time::Duration;

use super::Service;
use crate::domain::comment::Status;
use crate::domain::ids::{CommentId, SiteId};
use crate::domain::time::Timestamp;
use crate::error::Error;
use crate::storage::retention::{self, Strand, first_id_of};
use crate::storage::{meta, people};

/// Rows that are looked at in one transaction.
const LOOKED_AT: i64 = 500;
const ERASED: i64 = 100;

/// A request for a link counts for a day, and goes then.
const REQUESTS: Duration = Duration::from_hours(24);

/// An address that was asked and has not said yes goes after this time, and so does one that has said no to a site; what was
/// said to the whole service stays.
const SILENCE: Duration = Duration::from_hours(30 * 24);

/// Comments from before the last sweep are looked at once more, this far back: one may have changed its state in between.
const OVERLAP: Duration = Duration::from_hours(24);

/// What went.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Gone {
    /// Comments that lost their sender.
    pub senders: usize,
    /// Comments that were spam or rejected.
    pub refused: usize,
    /// Requests and addresses without a yes.
    pub requests: usize,
}

impl Service {
    /// Lets go what is due now, on every site.
    pub async fn keep_no_longer(self: &Arc<Self>) -> Result<Gone, Error> {
        let now = self.clock.now();
        let mut gone = Gone::default();
        for site in self.sites.all() {
            let periods = site.settings.retention.or(self.rules.retention);
            if let Some(before) = periods.senders_before(now) {
                gone.senders += self.strip_senders(site.id, before).await?;
            }
            if let Some(before) = periods.refused_before(now) {
                gone.refused += self.erase_refused(site.id, (before, now)).await?;
            }
        }
        let old = (now.minus(REQUESTS), now.minus(SILENCE));
        loop {
            let swept = self.db.write(move |tx| people::sweep(tx, old, LOOKED_AT)).await?;
            gone.requests += swept;
            if swept == 0 {
                break;
            }
        }
        if gone != Gone::default() {
            let Gone { senders, refused, requests } = gone;
            tracing::info!(senders, refused, requests, "what was kept long enough is gone");
        }
        Ok(gone)
    }

    async fn strip_senders(&self, site: SiteId, before: Timestamp) -> Result<usize, Error> {
        let fact = format!("senders_until:{site}");
        let name = fact.clone();
        let until = self.db.read(move |conn| meta::get(conn, &name)).await?.and_then(|text| text.parse().ok());
        let from = until.map_or(Timestamp(0), |until| Timestamp(until).minus(OVERLAP));
        let mut stripped = 0;
        for status in [Status::Pending, Status::Approved, Status::Rejected, Status::Spam] {
            let mut strand = Strand { site, status, after: first_id_of(from), before: first_id_of(before) };
            loop {
                let (count, next) = self.db.write(move |tx| retention::strip_senders(tx, strand, LOOKED_AT)).await?;
                stripped += count;
                match next {
                    Some(next) => strand.after = next,
                    None => break,
                }
            }
        }
        if until.is_none_or(|until| before.0 > until) {
            self.db.write(move |tx| meta::put(tx, &fact, &before.0.to_string())).await?;
        }
        Ok(stripped)
    }

    async fn erase_refused(
        self: &Arc<Self>,
        site: SiteId,
        (before, now): (Timestamp, Timestamp),
    ) -> Result<usize, Error> {
        let mut erased = 0;
        for status in [Status::Rejected, Status::Spam] {
            let mut after = CommentId(uuid::Uuid::nil());
            loop {
                let strand = Strand { site, status, after, before: first_id_of(before) };
                let service = self.clone();
                let (count, last) = self
                    .db
                    .write(move |tx| {
                        let page = retention::page(tx.conn(), strand, ERASED)?;
                        let count = service.erase_refused_in(tx, &page, (before, now))?;
                        Ok((count, page.last().map(|comment| comment.id)))
                    })
                    .await?;
                erased += count;
                match last {
                    Some(last) => after = last,
                    None => break,
                }
            }
        }
        Ok(erased)
    }
}
