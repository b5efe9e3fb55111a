//! Work to be done after a commit, kept in the database so that no crash loses it. A row is due when `due_at` is past; a
//! claim moves `due_at` to the claim's end, so a dead worker's row becomes due again by itself. Work inside the database is
//! not claimed but taken: its rows go in the transaction that does it. A finished row is a mail that left; what turned out to
//! be needless leaves none. This file branches on the database, because claiming does.

use std::time::Duration;

use diesel::prelude::*;

use super::conn::{Conn, in_chunks, on};
use super::schema::outbox;
use super::tx::Tx;
use crate::domain::comment::named_enum;
use crate::domain::ids::{AccountId, CommentId, OutboxId, SiteId};
use crate::domain::time::Timestamp;
use crate::error::Error;

named_enum! {
    /// What is to be done.
    Kind {
        /// Find out which moderators want a mail about a comment, and queue one for each.
        TellModerators = 1 => "tell_moderators",
        /// Send one moderator a mail about one comment.
        MailModerator = 2 => "mail_moderator",
        /// Send one moderator a summary of what waits, above the hourly ceiling of single mails.
        MailDigest = 3 => "mail_digest",
        /// Tell one administrator which webhooks were switched off.
        MailWebhookOff = 20 => "mail_webhook_off",
        /// Invite somebody to choose the first password of their account.
        MailInvitation = 30 => "mail_invitation",
        /// Send somebody a link with which they choose another password; nobody, when the address has no account.
        MailReset = 31 => "mail_reset",
        /// Find out whom of those who wrote comments the state of one concerns.
        TellPeople = 40 => "tell_people",
        /// Ask an author whether replies may be told.
        MailConfirm = 41 => "mail_confirm",
        /// Tell an author that their comment was approved.
        MailApproval = 42 => "mail_approval",
        /// Tell an author of one reply.
        MailReply = 43 => "mail_reply",
        /// Tell an author of all that gathered above their hourly ceiling.
        MailGathered = 44 => "mail_gathered",
        /// Send a person the link to what they wrote; the row has the id of their request.
        MailPersonLink = 45 => "mail_person_link",
    }
}

/// No work of ours but a summary waits longer: pauses are an hour at most, and a claim a minute. What is due later was
/// written by a clock that was ahead, and is due now.
const LONGEST_WAIT: Duration = Duration::from_mins(61);

/// The same for a summary: a day of gathering, and then somebody's quiet hours, which on one night of the year are a day and
/// an hour.
const LONGEST_WAIT_OF_DIGESTS: Duration = Duration::from_hours(49);

/// A row as it is queued and claimed.
#[derive(Debug, Clone, Insertable, Queryable, Selectable)]
#[diesel(table_name = outbox, treat_none_as_default_value = false)]
#[diesel(check_for_backend(diesel::sqlite::Sqlite))]
#[cfg_attr(feature = "postgres", diesel(check_for_backend(diesel::pg::Pg)))]
pub struct OutboxRow {
    /// Stable over retries; the mail's `Message-ID` carries it.
    pub id: OutboxId,
    /// What is to be done.
    pub kind: Kind,
    /// For which site.
    pub site_id: SiteId,
    /// About which comment.
    pub comment_id: Option<CommentId>,
    /// For whom.
    pub account_id: Option<AccountId>,
    /// When; none when it is finished or given up.
    pub due_at: Option<Timestamp>,
    /// The claim of the worker that has it now.
    pub claim: Option<OutboxId>,
    /// Attempts that began.
    pub attempts: i32,
    /// At most one row per key. A claimed row has none: what comes from then on needs a row of its own.
    pub dedupe_key: Option<String>,
    /// What the last attempt met.
    pub last_error: Option<String>,
    /// When it was queued.
    pub created_at: Timestamp,
    /// When it was done.
    pub finished_at: Option<Timestamp>,
    /// When it was given up.
    pub failed_at: Option<Timestamp>,
}

/// A new row is written as it is read.
pub type NewOutbox = OutboxRow;

impl OutboxRow {
    /// Work that is due at once.
    pub fn new(id: OutboxId, kind: Kind, site_id: SiteId, now: Timestamp) -> Self {
        Self {
            id,
            kind,
            site_id,
            comment_id: None,
            account_id: None,
            due_at: Some(now),
            claim: None,
            attempts: 0,
            dedupe_key: None,
            last_error: None,
            created_at: now,
            finished_at: None,
            failed_at: None,
        }
    }

    /// A summary for an account. At most one waits per account.
    pub fn digest(id: OutboxId, site_id: SiteId, account: AccountId, now: Timestamp) -> Self {
        let mut row = Self::new(id, Kind::MailDigest, site_id, now);
        row.account_id = Some(account);
        row.dedupe_key = row.key();
        row
    }

    /// The same work, not due before `at`.
    #[must_use]
    pub fn due(self, at: Timestamp) -> Self {
        Self { due_at: Some(at), ..self }
    }

    /// The same work about an edit of the comment. One that waits is enough.
    #[must_use]
    pub fn about_an_edit(self) -> Self {
        let key = self.comment_id.map(|comment| format!("edit:{comment}"));
        Self { dedupe_key: key, ..self }
    }

    /// Whether it was made by [`OutboxRow::about_an_edit`].
    pub fn is_about_an_edit(&self) -> bool {
        self.dedupe_key.as_ref().is_some_and(|key| key.starts_with("edit:"))
    }

    /// The key under which it waits.
    fn key(&self) -> Option<String> {
        self.account_id.filter(|_| self.kind == Kind::MailDigest).map(|account| format!("digest:{account}"))
    }
}

/// Writes rows, with as few statements as the database likes; one whose dedupe key is there already is left out.
pub(super) fn insert_all(conn: &mut Conn, rows: &[NewOutbox]) -> Result<(), Error> {
    in_chunks!(conn, rows, |chunk, c| diesel::insert_into(outbox::table)
        .values(chunk)
        .on_conflict_do_nothing()
        .execute(c));
    Ok(())
}

/// A worker's claim on what is due.
#[derive(Debug, Clone)]
pub struct Claim {
    /// Names the claim.
    pub id: OutboxId,
    /// What the worker can do.
    pub kinds: &'static [Kind],
    /// The time now.
    pub now: Timestamp,
    /// When the claim ends; after that another worker may take the rows.
    pub until: Timestamp,
    /// At most so many rows.
    pub limit: i64,
}

/// Claims rows that are due, the longest due first. On PostgreSQL rows that another worker is claiming right now are passed
/// over.
pub fn claim(tx: &mut Tx<'_>, claim: &Claim) -> Result<Vec<OutboxRow>, Error> {
    let ids = due(tx, claim.kinds, claim.now, claim.limit)?;
    if ids.is_empty() {
        return Ok(Vec::new());
    }
    let change = (
        outbox::due_at.eq(claim.until),
        outbox::claim.eq(claim.id),
        outbox::attempts.eq(outbox::attempts + 1),
        outbox::dedupe_key.eq(None::<String>),
    );
    let mut rows: Vec<OutboxRow> = on!(tx.conn(), |c| {
        diesel::update(outbox::table.filter(outbox::id.eq_any(&ids)))
            .set(change)
            .returning(OutboxRow::as_returning())
            .get_results(c)
    })?;
    rows.sort_unstable_by_key(|row| row.id);
    Ok(rows)
}

/// Takes rows that are due out of the outbox, the longest due first, for work that this transaction does to its end.
pub fn take(tx: &mut Tx<'_>, kinds: &[Kind], now: Timestamp, limit: i64) -> Result<Vec<OutboxRow>, Error> {
    let ids = due(tx, kinds, now, limit)?;
    if ids.is_empty() {
        return Ok(Vec::new());
    }
    let mut rows: Vec<OutboxRow> = on!(tx.conn(), |c| {
        diesel::delete(outbox::table.filter(outbox::id.eq_any(&ids)))
            .returning(OutboxRow::as_returning())
            .get_results(c)
    })?;
    rows.sort_unstable_by_key(|row| row.id);
    Ok(rows)
}

/// What is due, locked: first what is due by now, then what can only have been written by a clock that was ahead. Two reads,
/// so that each is a range of the index.
fn due(tx: &mut Tx<'_>, kinds: &[Kind], now: Timestamp, limit: i64) -> Result<Vec<OutboxId>, Error> {
    let mut found = due_between(tx, kinds, (Timestamp(i64::MIN), now), limit)?;
    let room = limit - i64::try_from(found.len()).unwrap_or(limit);
    if room > 0 {
        let others: Vec<Kind> = kinds.iter().copied().filter(|kind| *kind != Kind::MailDigest).collect();
        found.extend(due_between(tx, &others, (now.plus(LONGEST_WAIT), Timestamp(i64::MAX)), room)?);
    }
    let room = limit - i64::try_from(found.len()).unwrap_or(limit);
    if room > 0 && kinds.contains(&Kind::MailDigest) {
        let astray = (now.plus(LONGEST_WAIT_OF_DIGESTS), Timestamp(i64::MAX));
        found.extend(due_between(tx, &[Kind::MailDigest], astray, room)?);
    }
    Ok(found)
}

fn due_between(
    tx: &mut Tx<'_>,
    kinds: &[Kind],
    (from, to): (Timestamp, Timestamp),
    limit: i64,
) -> Result<Vec<OutboxId>, Error> {
    let due = outbox::table
        .filter(outbox::due_at.gt(from))
        .filter(outbox::due_at.le(to))
        .filter(outbox::kind.eq_any(kinds))
        .order(outbox::due_at)
        .limit(limit)
        .select(outbox::id);
    Ok(match tx.conn() {
        Conn::Sqlite(c) => due.load(c)?,
        #[cfg(feature = "postgres")]
        Conn::Postgres(c) => due.for_update().skip_locked().load(c)?,
    })
}

/// How a claimed piece of work ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Outcome {
    /// Done.
    Done,
    /// There was nothing to do (any more). Nothing of the row stays.
    Needless,
    /// Not now: again at this time, for this reason.
    Again(Timestamp, String),
    /// Given up, for this reason.
    GivenUp(String),
}

/// Records how a claimed row ended. One that is to be tried again waits under its key again; if another took the key
/// meanwhile, that one will do the work, and this row goes. Does nothing when the claim has passed to another worker; returns
/// whether it was ours.
pub fn settle(tx: &mut Tx<'_>, row: &OutboxRow, now: Timestamp, outcome: &Outcome) -> Result<bool, Error> {
    let mut key = None;
    let (due_at, finished_at, failed_at, error) = match outcome {
        Outcome::Done => (None, Some(now), None, None),
        Outcome::GivenUp(why) => (None, None, Some(now), Some(why.as_str())),
        Outcome::Needless => return remove(tx, row),
        Outcome::Again(at, why) => {
            key = row.key();
            if key.as_deref().map(|key| is_taken(tx.conn(), key)).transpose()? == Some(true) {
                return remove(tx, row);
            }
            (Some(*at), None, None, Some(why.as_str()))
        }
    };
    let change = (
        outbox::due_at.eq(due_at),
        outbox::claim.eq(None::<OutboxId>),
        outbox::finished_at.eq(finished_at),
        outbox::failed_at.eq(failed_at),
        outbox::last_error.eq(error),
        outbox::dedupe_key.eq(key),
    );
    let ours = outbox::table.find(row.id).filter(outbox::claim.eq(row.claim));
    Ok(on!(tx.conn(), |c| diesel::update(ours).set(change).execute(c))? == 1)
}

fn remove(tx: &mut Tx<'_>, row: &OutboxRow) -> Result<bool, Error> {
    let ours = outbox::table.find(row.id).filter(outbox::claim.eq(row.claim));
    Ok(on!(tx.conn(), |c| diesel::delete(ours).execute(c))? == 1)
}

/// A key that another transaction takes at this moment is not seen; then the update fails as a whole, and the row is due
/// again when its claim runs out.
fn is_taken(conn: &mut Conn, key: &str) -> Result<bool, Error> {
    let holder = outbox::table.filter(outbox::dedupe_key.eq(key)).select(outbox::id);
    Ok(on!(conn, |c| holder.get_result::<OutboxId>(c).optional())?.is_some())
}

/// Deletes rows that were finished before `before`, at most `limit`. Rows that were given up stay until someone looks.
pub fn sweep(tx: &mut Tx<'_>, before: Timestamp, limit: i64) -> Result<usize, Error> {
    let old = outbox::table.filter(outbox::finished_at.lt(before)).select(outbox::id).limit(limit);
    let ids: Vec<OutboxId> = on!(tx.conn(), |c| old.load(c))?;
    Ok(on!(tx.conn(), |c| diesel::delete(outbox::table.filter(outbox::id.eq_any(&ids))).execute(c))?)
}

/// How much waits and how much failed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Depth {
    /// Rows that are due now or later.
    pub waiting: i64,
    /// Rows that were given up.
    pub failed: i64,
}

/// The depth of the outbox.
pub fn depth(conn: &mut Conn) -> Result<Depth, Error> {
    let waiting = on!(&mut *conn, |c| outbox::table.filter(outbox::due_at.is_not_null()).count().get_result(c))?;
    let failed = on!(conn, |c| outbox::table.filter(outbox::failed_at.is_not_null()).count().get_result(c))?;
    Ok(Depth { waiting, failed })
}

/// When the oldest row was queued that waits.
pub fn oldest_waiting(conn: &mut Conn) -> Result<Option<Timestamp>, Error> {
    let waiting = outbox::table.filter(outbox::due_at.is_not_null());
    Ok(on!(conn, |c| waiting.select(diesel::dsl::min(outbox::created_at)).get_result(c))?)
}

/// Rows that were given up, the latest first.
pub fn failed(conn: &mut Conn, limit: i64) -> Result<Vec<OutboxRow>, Error> {
    Ok(on!(conn, |c| outbox::table
        .filter(outbox::failed_at.is_not_null())
        .order(outbox::failed_at.desc())
        .limit(limit)
        .select(OutboxRow::as_select())
        .load(c))?)
}

/// A time in which an account's mails are counted.
#[derive(Debug, Clone, Copy)]
pub struct Window {
    /// Whose.
    pub account: AccountId,
    /// Mails that left after this count,
    pub since: Timestamp,
    /// unless they left later than now: that was a clock that was ahead.
    pub now: Timestamp,
}

/// Mails about single comments that left for an account within a time, or wait to; counted up to `limit`.
pub fn left_or_waiting(conn: &mut Conn, window: Window, limit: i64) -> Result<usize, Error> {
    let counted =
        outbox::due_at.is_not_null().or(outbox::finished_at.gt(window.since).and(outbox::finished_at.le(window.now)));
    let ids: Vec<OutboxId> = on!(conn, |c| outbox::table
        .filter(outbox::account_id.eq(window.account))
        .filter(outbox::kind.eq(Kind::MailModerator))
        .filter(counted)
        // The newest first: where there are many, the limit is reached soon.
        .order(outbox::created_at.desc())
        .limit(limit)
        .select(outbox::id)
        .load(c))?;
    Ok(ids.len())
}

/// Mails about single comments that left for an account within a time, or are on their way under another claim than this;
/// counted up to `limit`.
pub fn left_or_leaving(conn: &mut Conn, window: Window, but: OutboxId, limit: i64) -> Result<usize, Error> {
    let leaving = outbox::claim.is_not_null().and(outbox::claim.ne(but)).and(outbox::due_at.gt(window.now));
    let counted = leaving.or(outbox::finished_at.gt(window.since).and(outbox::finished_at.le(window.now)));
    let ids: Vec<OutboxId> = on!(conn, |c| outbox::table
        .filter(outbox::account_id.eq(window.account))
        .filter(outbox::kind.eq(Kind::MailModerator))
        .filter(counted)
        .order(outbox::created_at.desc())
        .limit(limit)
        .select(outbox::id)
        .load(c))?;
    Ok(ids.len())
}

/// Deletes an account's mails about single comments that wait or are held by this claim, but for those in `keep`; what is on
/// its way under another claim stays.
pub fn remove_singles(tx: &mut Tx<'_>, window: Window, claim: OutboxId, keep: &[OutboxId]) -> Result<(), Error> {
    let is_free = outbox::claim.is_null().or(outbox::claim.eq(claim)).or(outbox::due_at.le(window.now));
    let waiting = outbox::table
        .filter(outbox::account_id.eq(window.account))
        .filter(outbox::kind.eq(Kind::MailModerator))
        .filter(outbox::due_at.is_not_null())
        .filter(is_free)
        .filter(outbox::id.ne_all(keep))
        .select(outbox::id);
    // Locked first, as for a claim: two workers that fold one account's mails must not wait for each other.
    let ids: Vec<OutboxId> = match tx.conn() {
        Conn::Sqlite(c) => waiting.load(c)?,
        #[cfg(feature = "postgres")]
        Conn::Postgres(c) => waiting.for_update().skip_locked().load(c)?,
    };
    for ids in ids.chunks(256) {
        on!(tx.conn(), |c| diesel::delete(outbox::table.filter(outbox::id.eq_any(ids))).execute(c))?;
    }
    Ok(())
}

/// The last moment at which an account's newest summary was queued, due or sent; none without a summary, and none for one
/// that was given up.
pub fn last_digest(conn: &mut Conn, account: AccountId) -> Result<Option<Timestamp>, Error> {
    let newest: Option<OutboxRow> = on!(conn, |c| outbox::table
        .filter(outbox::account_id.eq(account))
        .filter(outbox::kind.eq(Kind::MailDigest))
        .filter(outbox::failed_at.is_null())
        .order(outbox::created_at.desc())
        .limit(1)
        .select(OutboxRow::as_select())
        .get_result(c)
        .optional())?;
    Ok(newest.and_then(|row| [Some(row.created_at), row.due_at, row.finished_at].into_iter().flatten().max()))
}
