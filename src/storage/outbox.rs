//! Work to be done after a commit, kept in the database so that no crash loses it. A row is due when `due_at` is past; a
//! claim moves `due_at` to the claim's end, so a dead worker's row becomes due again by itself. This file branches on the
//! database, because claiming does.

use diesel::prelude::*;

use super::conn::{Conn, on};
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
    }
}

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
    /// At most one row per key.
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
}

/// Writes rows, sixteen per statement; one whose dedupe key is there already is left out.
pub(super) fn insert_all(conn: &mut Conn, rows: &[NewOutbox]) -> Result<(), Error> {
    let (groups, rest) = rows.as_chunks::<16>();
    for group in groups {
        on!(&mut *conn, |c| diesel::insert_into(outbox::table).values(group).on_conflict_do_nothing().execute(c))?;
    }
    for row in rest {
        on!(&mut *conn, |c| diesel::insert_into(outbox::table).values(row).on_conflict_do_nothing().execute(c))?;
    }
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
    let due = outbox::table
        .filter(outbox::due_at.le(claim.now))
        .filter(outbox::kind.eq_any(claim.kinds))
        .order(outbox::due_at)
        .limit(claim.limit)
        .select(outbox::id);
    let ids: Vec<OutboxId> = match tx.conn() {
        Conn::Sqlite(c) => due.load(c)?,
        #[cfg(feature = "postgres")]
        Conn::Postgres(c) => due.for_update().skip_locked().load(c)?,
    };
    if ids.is_empty() {
        return Ok(Vec::new());
    }
    let change =
        (outbox::due_at.eq(claim.until), outbox::claim.eq(claim.id), outbox::attempts.eq(outbox::attempts + 1));
    let mut rows: Vec<OutboxRow> = on!(tx.conn(), |c| {
        diesel::update(outbox::table.filter(outbox::id.eq_any(&ids)))
            .set(change)
            .returning(OutboxRow::as_returning())
            .get_results(c)
    })?;
    rows.sort_unstable_by_key(|row| row.id);
    Ok(rows)
}

/// How a claimed piece of work ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Outcome {
    /// Done.
    Done,
    /// Not now: again at this time, for this reason.
    Again(Timestamp, String),
    /// Given up, for this reason.
    GivenUp(String),
}

/// Records how a claimed row ended; its dedupe key is free again. Does nothing when the claim has passed to another worker; returns whether it was ours.
pub fn settle(tx: &mut Tx<'_>, row: &OutboxRow, now: Timestamp, outcome: &Outcome) -> Result<bool, Error> {
    let (due_at, finished_at, failed_at, error) = match outcome {
        Outcome::Done => (None, Some(now), None, None),
        Outcome::Again(at, why) => (Some(*at), None, None, Some(why.as_str())),
        Outcome::GivenUp(why) => (None, None, Some(now), Some(why.as_str())),
    };
    let change = (
        outbox::due_at.eq(due_at),
        outbox::claim.eq(None::<OutboxId>),
        outbox::finished_at.eq(finished_at),
        outbox::failed_at.eq(failed_at),
        outbox::last_error.eq(error),
        outbox::dedupe_key.eq(if due_at.is_some() { row.dedupe_key.as_deref() } else { None }),
    );
    let changed = on!(tx.conn(), |c| diesel::update(outbox::table.find(row.id).filter(outbox::claim.eq(row.claim)))
        .set(change)
        .execute(c))?;
    Ok(changed == 1)
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

/// Rows that were given up, the latest first.
pub fn failed(conn: &mut Conn, limit: i64) -> Result<Vec<OutboxRow>, Error> {
    Ok(on!(conn, |c| outbox::table
        .filter(outbox::failed_at.is_not_null())
        .order(outbox::failed_at.desc())
        .limit(limit)
        .select(OutboxRow::as_select())
        .load(c))?)
}

/// When mails of `kind` to an account were queued, newest first, from `since` on: for the hourly ceiling.
pub fn queued_for(conn: &mut Conn, account: AccountId, kind: Kind, since: Timestamp) -> Result<Vec<Timestamp>, Error> {
    Ok(on!(conn, |c| outbox::table
        .filter(outbox::account_id.eq(account))
        .filter(outbox::kind.eq(kind))
        .filter(outbox::created_at.gt(since))
        .order(outbox::created_at.desc())
        .select(outbox::created_at)
        .load(c))?)
}
