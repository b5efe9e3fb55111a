//! When one moderator may be told, and how: one mail about each comment up to the hourly ceiling, above it one summary an
//! hour; for whoever wants digests a summary at their pace; in somebody's quiet hours nothing, and a summary afterwards. It is
//! asked twice: when mails are queued, where those that wait count as well, and again when they leave, because only then is it
//! known how many left within the hour and what the moderator wants by now: two processes may have queued at once, and a mail
//! server may have been away for half a day. Of mails that leave because somebody typed an address, what is above their
//! ceiling when they leave is dropped.

use std::collections::hash_map::Entry;
use std::collections::{BTreeMap, HashMap};
use std::time::Duration;

use crate::domain::ids::{AccountId, OutboxId, SiteId};
use crate::domain::mail_choice::{MailChoice, MailMode};
use crate::domain::time::Timestamp;
use crate::error::Error;
use crate::service::Service;
use crate::storage::outbox::{self, Claim, Kind, OutboxRow, Outcome, Window};
use crate::storage::{Tx, accounts, mails, people};

const HOUR: Duration = Duration::from_hours(1);

/// What the accounts met in one transaction may still get.
pub(super) struct Ceiling<'a> {
    service: &'a Service,
    singles: usize,
    now: Timestamp,
    desks: HashMap<AccountId, Desk>,
    /// Questions, and links, that may still leave to whatever address somebody typed; none: not counted yet.
    questions: Option<usize>,
    links: Option<usize>,
}

struct Desk {
    choice: MailChoice,
    /// Single mails that it may still get; none: not counted yet.
    room: Option<usize>,
    /// Whether this transaction has queued its summary.
    has_summary: bool,
}

/// What becomes of a claimed row.
enum Fate {
    Leaves,
    /// A summary takes its place.
    Folded,
    /// Nothing does.
    Dropped,
}

impl<'a> Ceiling<'a> {
    /// With `singles` single mails an hour.
    pub fn new(service: &'a Service, singles: usize, now: Timestamp) -> Self {
        Self { service, singles, now, desks: HashMap::new(), questions: None, links: None }
    }

    /// Whether an account may be queued one more single mail.
    pub fn lets_wait(&mut self, tx: &mut Tx<'_>, account: AccountId) -> Result<bool, Error> {
        let (window, limit) = (self.window(account), self.limit());
        self.has_room(tx, account, |tx| outbox::left_or_waiting(tx.conn(), window, limit))
    }

    /// Of rows that were claimed just now, those that may leave. An account that has had its share, or wants none now, gets a
    /// summary instead, of these and of all others that wait for it: one by one they would become a summary each.
    pub fn lets_leave(
        &mut self,
        tx: &mut Tx<'_>,
        claim: &Claim,
        rows: Vec<OutboxRow>,
    ) -> Result<Vec<OutboxRow>, Error> {
        let (mut leaving, mut folded) = (Vec::with_capacity(rows.len()), BTreeMap::new());
        for row in rows {
            match (row.account_id, self.fate(tx, claim, &row)?) {
                (_, Fate::Dropped) => {
                    tracing::warn!(outbox = %row.id, kind = row.kind.as_str(), "above its hourly ceiling: a mail is dropped");
                    outbox::settle(tx, &row, claim.now, &Outcome::Needless)?;
                }
                (Some(account), Fate::Folded) => drop(folded.insert(account, row.site_id)),
                _ => leaving.push(row),
            }
        }
        let keep: Vec<OutboxId> = leaving.iter().map(|row| row.id).collect();
        for (account, site) in folded {
            outbox::remove_singles(tx, self.window(account), claim.id, &keep)?;
            self.queue_summary(tx, account, site)?;
        }
        Ok(leaving)
    }

    fn fate(&mut self, tx: &mut Tx<'_>, claim: &Claim, row: &OutboxRow) -> Result<Fate, Error> {
        if mails::TO_STRANGERS.contains(&row.kind) {
            return Ok(if self.lets_ask(tx, claim, row.kind)? { Fate::Leaves } else { Fate::Dropped });
        }
        let Some(account) = row.account_id else { return Ok(Fate::Leaves) };
        match row.kind {
            Kind::MailModerator => {
                let (window, limit) = (self.window(account), self.limit());
                let count = |tx: &mut Tx<'_>| outbox::left_or_leaving(tx.conn(), window, claim.id, limit);
                Ok(if self.has_room(tx, account, count)? { Fate::Leaves } else { Fate::Folded })
            }
            Kind::MailDigest if self.desk(tx, account)?.choice.quiet_until(claim.now).is_some() => {
                // It would come in quiet hours: another one afterwards.
                outbox::settle(tx, row, claim.now, &Outcome::Needless)?;
                Ok(Fate::Folded)
            }
            // Of the others some have ceilings of their own (service/notifications.rs), and whoever waits for the rest has
            // asked for them.
            _ => Ok(Fate::Leaves),
        }
    }

    /// Takes a place for a mail to whatever address somebody typed, if one is left.
    fn lets_ask(&mut self, tx: &mut Tx<'_>, claim: &Claim, kind: Kind) -> Result<bool, Error> {
        let ceilings = self.service.rules.people;
        let (ceiling, room) = match kind {
            Kind::MailConfirm => (ceilings.confirmations, &mut self.questions),
            _ => (ceilings.links, &mut self.links),
        };
        let left = match *room {
            Some(left) => left,
            None => {
                people::count_alone(tx)?;
                let window = (claim, self.now.minus(HOUR));
                ceiling.saturating_sub(mails::left_or_leaving(tx.conn(), kind, window, ceiling)?)
            }
        };
        *room = Some(left.saturating_sub(1));
        Ok(left > 0)
    }

    /// Queues the summary of an account: at its pace, or an hour after its last one, and in no quiet hour. One that waits
    /// already is enough.
    pub fn queue_summary(&mut self, tx: &mut Tx<'_>, account: AccountId, site: SiteId) -> Result<(), Error> {
        let now = self.now;
        let desk = self.desk(tx, account)?;
        if desk.has_summary {
            return Ok(());
        }
        desk.has_summary = true;
        let choice = desk.choice.clone();
        let due = if let Some(end) = choice.quiet_until(now) {
            end
        } else if let Some(pace) = choice.gathers() {
            choice.next_after(now.plus(pace))
        } else {
            let last = outbox::last_digest(tx.conn(), account)?;
            // A moment that is still to come belongs to a summary on its way, or to a clock that was ahead.
            choice.next_after(last.map_or(now, |last| last.min(now).plus(HOUR).max(now)))
        };
        let id = OutboxId(self.service.ids.next());
        tx.enqueue(OutboxRow::digest(id, site, account, now).due(due));
        Ok(())
    }

    /// Takes a place for a single mail, if the account wants such mails now and has one left.
    fn has_room(
        &mut self,
        tx: &mut Tx<'_>,
        account: AccountId,
        taken: impl FnOnce(&mut Tx<'_>) -> Result<usize, Error>,
    ) -> Result<bool, Error> {
        let (now, singles) = (self.now, self.singles);
        let desk = self.desk(tx, account)?;
        match desk.choice.mode {
            MailMode::Digest(_) => return Ok(false),
            // Whoever wants none gets none; the row says so itself when its turn comes.
            MailMode::None => return Ok(true),
            MailMode::Each if desk.choice.quiet_until(now).is_some() => return Ok(false),
            MailMode::Each => {}
        }
        let room = match desk.room {
            Some(room) => room,
            None => singles.saturating_sub(taken(tx)?),
        };
        desk.room = Some(room.saturating_sub(1));
        Ok(room > 0)
    }

    fn desk(&mut self, tx: &mut Tx<'_>, account: AccountId) -> Result<&mut Desk, Error> {
        Ok(match self.desks.entry(account) {
            Entry::Occupied(known) => known.into_mut(),
            Entry::Vacant(new) => {
                let choice = accounts::find(tx.conn(), account)?.map(|account| account.mail_choice());
                let choice = choice.unwrap_or(MailChoice { mode: MailMode::None, quiet: None });
                new.insert(Desk { choice, room: None, has_summary: false })
            }
        })
    }

    fn window(&self, account: AccountId) -> Window {
        Window { account, since: self.now.minus(HOUR), now: self.now }
    }

    fn limit(&self) -> i64 {
        i64::try_from(self.singles).unwrap_or(i64::MAX)
    }
}
