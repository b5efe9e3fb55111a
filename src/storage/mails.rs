//! The mails of the outbox as administrators see them: what waits, what left, what was given up and is to be sent again.

use diesel::prelude::*;

use super::conn::{Conn, on};
use super::outbox::{Claim, Kind, OutboxRow};
use super::schema::outbox;
use super::tx::Tx;
use crate::domain::comment::named_enum;
use crate::domain::ids::{AccountId, CommentId, OutboxId};
use crate::domain::time::Timestamp;
use crate::error::Error;

/// The work that is a mail.
pub const MAILS: &[Kind] = &[
    Kind::MailModerator,
    Kind::MailDigest,
    Kind::MailWebhookOff,
    Kind::MailInvitation,
    Kind::MailReset,
    Kind::MailConfirm,
    Kind::MailApproval,
    Kind::MailReply,
    Kind::MailGathered,
    Kind::MailPersonLink,
];

/// Those of them that leave because somebody typed an address. Together they have ceilings, and nobody sends them again.
pub const TO_STRANGERS: &[Kind] = &[Kind::MailConfirm, Kind::MailPersonLink];

named_enum! {
    /// How far a mail is.
    MailState {
        /// It is due now or later, or on its way.
        Waiting = 0 => "waiting",
        /// It was given up.
        Failed = 1 => "failed",
        /// It left.
        Sent = 2 => "sent",
    }
}

impl OutboxRow {
    /// How far it is.
    pub fn mail_state(&self) -> MailState {
        match (self.failed_at, self.finished_at) {
            (Some(_), _) => MailState::Failed,
            (None, Some(_)) => MailState::Sent,
            (None, None) => MailState::Waiting,
        }
    }
}

/// Which mails to read.
#[derive(Debug, Clone, Copy)]
pub struct MailFilter {
    /// Only those that are so far; none means all.
    pub state: Option<MailState>,
    /// Only those that were queued before this one.
    pub before: Option<OutboxId>,
    /// At most so many.
    pub limit: i64,
}

/// Mails, the newest first.
pub fn page(conn: &mut Conn, filter: MailFilter) -> Result<Vec<OutboxRow>, Error> {
    Ok(on!(conn, |c| {
        let mut query = outbox::table
            .filter(outbox::kind.eq_any(MAILS))
            .order(outbox::id.desc())
            .limit(filter.limit)
            .select(OutboxRow::as_select())
            .into_boxed();
        query = match filter.state {
            None => query,
            Some(MailState::Waiting) => query.filter(outbox::due_at.is_not_null()),
            Some(MailState::Failed) => query.filter(outbox::failed_at.is_not_null()),
            Some(MailState::Sent) => query.filter(outbox::finished_at.is_not_null()),
        };
        if let Some(before) = filter.before {
            query = query.filter(outbox::id.lt(before));
        }
        query.load(c)
    })?)
}

/// Mails of a kind that left since then, or are on their way under another claim than this; counted up to `limit`.
pub fn left_or_leaving(
    conn: &mut Conn,
    kind: Kind,
    (claim, since): (&Claim, Timestamp),
    limit: usize,
) -> Result<usize, Error> {
    let leaving = outbox::claim.is_not_null().and(outbox::claim.ne(claim.id)).and(outbox::due_at.gt(claim.now));
    let counted = leaving.or(outbox::finished_at.gt(since).and(outbox::finished_at.le(claim.now)));
    let ids: Vec<OutboxId> = on!(conn, |c| outbox::table
        .filter(outbox::kind.eq(kind))
        .filter(counted)
        .limit(i64::try_from(limit).unwrap_or(i64::MAX))
        .select(outbox::id)
        .load(c))?;
    Ok(ids.len())
}

/// Makes mails that were given up due now, as if they had just been queued: these, or (none) all of them but those to
/// strangers. Returns how many.
pub fn send_again(tx: &mut Tx<'_>, ids: Option<&[OutboxId]>, now: Timestamp) -> Result<usize, Error> {
    let anew = (
        outbox::due_at.eq(Some(now)),
        outbox::attempts.eq(0),
        outbox::last_error.eq(None::<String>),
        // What is given up after days counts from here.
        outbox::created_at.eq(now),
        outbox::failed_at.eq(None::<Timestamp>),
    );
    let failed = outbox::table.filter(outbox::failed_at.is_not_null()).filter(outbox::kind.eq_any(MAILS));
    Ok(match ids {
        Some(ids) => on!(tx.conn(), |c| diesel::update(failed.filter(outbox::id.eq_any(ids))).set(anew).execute(c))?,
        None => {
            let ours = failed.filter(outbox::kind.ne_all(TO_STRANGERS));
            on!(tx.conn(), |c| diesel::update(ours).set(anew).execute(c))?
        }
    })
}

/// Whether a mail about this comment waits for an account and has not been taken up.
pub fn is_waiting(conn: &mut Conn, account: AccountId, comment: Option<CommentId>) -> Result<bool, Error> {
    let Some(comment) = comment else { return Ok(false) };
    let found: Option<OutboxId> = on!(conn, |c| outbox::table
        .filter(outbox::account_id.eq(account))
        .filter(outbox::comment_id.eq(comment))
        .filter(outbox::kind.eq(Kind::MailModerator))
        .filter(outbox::due_at.is_not_null())
        .filter(outbox::claim.is_null())
        .select(outbox::id)
        .limit(1)
        .get_result(c)
        .optional())?;
    Ok(found.is_some())
}
