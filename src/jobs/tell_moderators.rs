//! Finds out which moderators want a mail about new comments, and queues one for each; above the hourly ceiling one summary
//! instead. All rows of one claim are spread in one transaction, so a flood costs no more than its commits.

use std::collections::HashMap;
use std::collections::hash_map::Entry;
use std::time::Duration;

use super::Worker;
use crate::domain::ids::{AccountId, OutboxId, SiteId};
use crate::domain::time::Timestamp;
use crate::error::Error;
use crate::storage::accounts;
use crate::storage::outbox::{self, Kind, OutboxRow, Outcome};

/// Comments whose moderators are found in one transaction.
const AT_ONCE: usize = 256;

const HOUR: Duration = Duration::from_hours(1);

/// What a moderator got within the hour.
struct Desk {
    singles: usize,
    /// When a summary may be sent: one an hour.
    digest_due: Timestamp,
}

impl Worker {
    /// Queues the mails for comments that came. Returns how many comments it took.
    pub(super) async fn spread(&self) -> Result<usize, Error> {
        let rows = self.claim(&[Kind::TellModerators], AT_ONCE).await?;
        if rows.is_empty() {
            return Ok(0);
        }
        let (service, ceiling, now) = (self.service.clone(), self.hourly_ceiling, self.service.clock.now());
        let count = rows.len();
        self.service
            .db
            .write(move |tx| {
                let mut recipients: HashMap<SiteId, Vec<AccountId>> = HashMap::new();
                let mut desks: HashMap<AccountId, Desk> = HashMap::new();
                for row in &rows {
                    if !outbox::settle(tx, row, now, &Outcome::Done)? {
                        continue;
                    }
                    let told = match recipients.entry(row.site_id) {
                        Entry::Occupied(known) => known.into_mut(),
                        Entry::Vacant(new) => new.insert(accounts::mail_recipients(tx.conn(), row.site_id)?),
                    };
                    for account in told.iter() {
                        let desk = match desks.entry(*account) {
                            Entry::Occupied(known) => known.into_mut(),
                            Entry::Vacant(new) => new.insert(desk(tx.conn(), *account, now)?),
                        };
                        let mut mail =
                            OutboxRow::new(OutboxId(service.ids.next()), Kind::MailModerator, row.site_id, now);
                        mail.account_id = Some(*account);
                        if desk.singles < ceiling {
                            desk.singles += 1;
                            mail.comment_id = row.comment_id;
                        } else {
                            mail.kind = Kind::MailDigest;
                            mail.due_at = Some(desk.digest_due);
                            mail.dedupe_key = Some(format!("digest:{account}"));
                        }
                        tx.enqueue(mail);
                    }
                }
                Ok(())
            })
            .await?;
        Ok(count)
    }
}

fn desk(conn: &mut crate::storage::Conn, account: AccountId, now: Timestamp) -> Result<Desk, Error> {
    let since = now.minus(HOUR);
    let singles = outbox::queued_for(conn, account, Kind::MailModerator, since)?.len();
    let digests = outbox::queued_for(conn, account, Kind::MailDigest, since)?;
    let digest_due = digests.first().map_or(now, |last| last.plus(HOUR).max(now));
    Ok(Desk { singles, digest_due })
}
