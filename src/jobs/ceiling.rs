//! How many mails one moderator gets: single ones up to the hourly ceiling, above it one summary an hour. It is asked twice:
//! when mails are queued, where those that wait count as well, and again when they leave, because only then is it known how
//! many left within the hour: two processes may have queued at once, and a mail server may have been away for half a day.

use std::collections::hash_map::Entry;
use std::collections::{BTreeMap, HashMap};
use std::time::Duration;

use crate::domain::ids::{AccountId, OutboxId, SiteId};
use crate::domain::time::Timestamp;
use crate::error::Error;
use crate::service::Service;
use crate::storage::Tx;
use crate::storage::outbox::{self, Claim, Kind, OutboxRow, Window};

const HOUR: Duration = Duration::from_hours(1);

/// What the accounts met in one transaction may still get.
pub(super) struct Ceiling<'a> {
    service: &'a Service,
    singles: usize,
    now: Timestamp,
    desks: HashMap<AccountId, Desk>,
}

struct Desk {
    /// Single mails that it may still get.
    room: usize,
    /// Whether this transaction has queued its summary.
    has_summary: bool,
}

impl<'a> Ceiling<'a> {
    /// With `singles` single mails an hour.
    pub fn new(service: &'a Service, singles: usize, now: Timestamp) -> Self {
        Self { service, singles, now, desks: HashMap::new() }
    }

    /// Whether an account may be queued one more single mail.
    pub fn lets_wait(&mut self, tx: &mut Tx<'_>, account: AccountId) -> Result<bool, Error> {
        let (window, limit) = (self.window(account), self.limit());
        self.has_room(account, || outbox::left_or_waiting(tx.conn(), window, limit))
    }

    /// Of rows that were claimed just now, those that may leave. An account that has had its share gets a summary instead, of
    /// these and of all others that wait for it: one by one they would become a summary each.
    pub fn lets_leave(
        &mut self,
        tx: &mut Tx<'_>,
        claim: &Claim,
        rows: Vec<OutboxRow>,
    ) -> Result<Vec<OutboxRow>, Error> {
        let (mut leaving, mut full) = (Vec::with_capacity(rows.len()), BTreeMap::new());
        for row in rows {
            let Some(account) = row.account_id.filter(|_| row.kind == Kind::MailModerator) else {
                leaving.push(row);
                continue;
            };
            let (window, limit) = (self.window(account), self.limit());
            if self.has_room(account, || outbox::left_or_leaving(tx.conn(), window, claim.id, limit))? {
                leaving.push(row);
            } else {
                full.insert(account, row.site_id);
            }
        }
        let keep: Vec<OutboxId> = leaving.iter().map(|row| row.id).collect();
        for (account, site) in full {
            outbox::remove_singles(tx, self.window(account), claim.id, &keep)?;
            self.queue_summary(tx, account, site)?;
        }
        Ok(leaving)
    }

    /// Queues the summary of an account, an hour after its last one; one that waits already is enough.
    pub fn queue_summary(&mut self, tx: &mut Tx<'_>, account: AccountId, site: SiteId) -> Result<(), Error> {
        let Some(desk) = self.desks.get_mut(&account).filter(|desk| !desk.has_summary) else { return Ok(()) };
        desk.has_summary = true;
        let last = outbox::last_digest(tx.conn(), account)?;
        // A moment that is still to come belongs to a summary on its way, or to a clock that was ahead.
        let due = last.map_or(self.now, |last| last.min(self.now).plus(HOUR).max(self.now));
        let id = OutboxId(self.service.ids.next());
        tx.enqueue(OutboxRow::digest(id, site, account, self.now).due(due));
        Ok(())
    }

    fn has_room(&mut self, account: AccountId, taken: impl FnOnce() -> Result<usize, Error>) -> Result<bool, Error> {
        let desk = match self.desks.entry(account) {
            Entry::Occupied(known) => known.into_mut(),
            Entry::Vacant(new) => new.insert(Desk { room: self.singles.saturating_sub(taken()?), has_summary: false }),
        };
        let has_room = desk.room > 0;
        desk.room = desk.room.saturating_sub(1);
        Ok(has_room)
    }

    fn window(&self, account: AccountId) -> Window {
        Window { account, since: self.now.minus(HOUR), now: self.now }
    }

    fn limit(&self) -> i64 {
        i64::try_from(self.singles).unwrap_or(i64::MAX)
    }
}
