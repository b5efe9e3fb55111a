//! Finds out which moderators want a mail about new comments, and queues one for each; above the hourly ceiling one summary
//! instead. It has no effect outside the database, so one transaction takes the rows, queues the mails and forgets the rows:
//! a flood costs no more than its commits, and a crash leaves all of it to be done or nothing.

use std::collections::hash_map::Entry;
use std::collections::{HashMap, HashSet};

use super::Worker;
use super::ceiling::Ceiling;
use crate::domain::ids::{AccountId, OutboxId, SiteId};
use crate::domain::time::Timestamp;
use crate::error::Error;
use crate::service::Service;
use crate::storage::outbox::{self, Kind, OutboxRow};
use crate::storage::{Tx, accounts, mails};

/// Comments whose moderators are found in one transaction.
pub(super) const AT_ONCE: usize = 256;

impl Worker {
    /// Queues the mails for comments that came. Returns how many comments it took.
    pub(super) async fn spread(&self) -> Result<usize, Error> {
        let (service, ceiling, now) = (self.service.clone(), self.hourly_ceiling, self.service.clock.now());
        self.service.db.write(move |tx| spread(tx, &service, ceiling, now)).await
    }
}

fn spread(tx: &mut Tx<'_>, service: &Service, ceiling: usize, now: Timestamp) -> Result<usize, Error> {
    let limit = i64::try_from(AT_ONCE).unwrap_or(i64::MAX);
    let rows = outbox::take(tx, &[Kind::TellModerators], now, limit)?;
    let mut recipients: HashMap<SiteId, Vec<AccountId>> = HashMap::new();
    // What this call queues is written at its end: the database does not know it yet.
    let mut queued = HashSet::new();
    let mut ceiling = Ceiling::new(service, ceiling, now);
    for row in &rows {
        let told = match recipients.entry(row.site_id) {
            Entry::Occupied(known) => known.into_mut(),
            Entry::Vacant(new) => new.insert(accounts::mail_recipients(tx.conn(), row.site_id)?),
        };
        for account in told.iter() {
            // A mail shows the text that waits when it leaves: one that has not left is enough for all versions.
            let pair = (*account, row.comment_id);
            if row.is_about_an_edit()
                && (queued.contains(&pair) || mails::is_waiting(tx.conn(), *account, row.comment_id)?)
            {
                continue;
            }
            if ceiling.lets_wait(tx, *account)? {
                let mut mail = OutboxRow::new(OutboxId(service.ids.next()), Kind::MailModerator, row.site_id, now);
                (mail.account_id, mail.comment_id) = (Some(*account), row.comment_id);
                tx.enqueue(mail);
                queued.insert(pair);
            } else {
                ceiling.queue_summary(tx, *account, row.site_id)?;
            }
        }
    }
    Ok(rows.len())
}
