//! The first answer to a request that carried an `Idempotency-Key`, for 24 hours.

use std::time::Duration;

use diesel::prelude::*;

use super::comments::Comment;
use super::conn::{Conn, on};
use super::neighbours::{Turn, in_one_order};
use super::schema::idempotency_keys;
use super::tx::Tx;
use crate::domain::ids::{AuthorId, CommentId, SiteId};
use crate::domain::time::Timestamp;
use crate::error::Error;

/// How long a key is remembered (contract §2).
pub const KEPT_FOR: Duration = Duration::from_hours(24);

/// A remembered answer.
#[derive(Debug, Clone, Queryable, Selectable, Insertable)]
#[diesel(table_name = idempotency_keys)]
#[diesel(check_for_backend(diesel::sqlite::Sqlite))]
#[cfg_attr(feature = "postgres", diesel(check_for_backend(diesel::pg::Pg)))]
pub struct Remembered {
    /// The site in whose scope the key is.
    pub site_id: SiteId,
    /// Hash of the key.
    pub key_hash: Vec<u8>,
    /// Hash of the request: another one under the same key is refused.
    pub request_hash: Vec<u8>,
    /// The comment that was made.
    pub comment_id: CommentId,
    /// Whose token the answer carries.
    pub author_id: AuthorId,
    /// The answer's HTTP status.
    pub status: i16,
    /// The answer's body, without the author token.
    pub answer: String,
    /// When.
    pub created_at: Timestamp,
}

/// What is remembered under a key, unless it is too old. The key has a hash under each secret key; nearly always there is
/// one, and a plain comparison is a statement that stays prepared.
pub fn find(
    conn: &mut Conn,
    site: SiteId,
    key_hashes: &[Vec<u8>],
    now: Timestamp,
) -> Result<Option<Remembered>, Error> {
    for key_hash in key_hashes {
        let found = on!(&mut *conn, |c| idempotency_keys::table
            .find((site, key_hash))
            .filter(idempotency_keys::created_at.gt(now.minus(KEPT_FOR)))
            .select(Remembered::as_select())
            .get_result(c)
            .optional())?;
        if found.is_some() {
            return Ok(found);
        }
    }
    Ok(None)
}

/// Remembers an answer (a twin on another connection waits for it); `false` when the key is taken, under whichever of its
/// hashes. An answer that is too old gives way.
pub fn remember(tx: &mut Tx<'_>, answer: &Remembered, key_hashes: &[Vec<u8>]) -> Result<bool, Error> {
    for key_hash in in_one_order(key_hashes) {
        tx.take_turn(Turn::Request(answer.site_id, key_hash))?;
    }
    if key_hashes.len() > 1 && find(tx.conn(), answer.site_id, key_hashes, answer.created_at)?.is_some() {
        return Ok(false);
    }
    let stale = idempotency_keys::table
        .find((answer.site_id, &answer.key_hash))
        .filter(idempotency_keys::created_at.le(answer.created_at.minus(KEPT_FOR)));
    on!(tx.conn(), |c| diesel::delete(stale).execute(c))?;
    let added = on!(tx.conn(), |c| diesel::insert_into(idempotency_keys::table)
        .values(answer)
        .on_conflict_do_nothing()
        .execute(c))?;
    Ok(added == 1)
}

/// Forgets the answer about a comment that was removed for good: it repeats the comment's text.
pub(super) fn forget(tx: &mut Tx<'_>, comment: &Comment) -> Result<(), Error> {
    let about = idempotency_keys::table
        .filter(idempotency_keys::created_at.ge(comment.created_at.minus(Duration::from_secs(1))))
        .filter(idempotency_keys::created_at.le(comment.created_at.plus(Duration::from_secs(1))))
        .filter(idempotency_keys::comment_id.eq(comment.id));
    on!(tx.conn(), |c| diesel::delete(about).execute(c))?;
    Ok(())
}

/// Forgets what is older than 24 hours, at most `limit` answers. Returns how many.
pub fn sweep(tx: &mut Tx<'_>, now: Timestamp, limit: i64) -> Result<usize, Error> {
    let old = idempotency_keys::table
        .filter(idempotency_keys::created_at.le(now.minus(KEPT_FOR)))
        .order(idempotency_keys::created_at)
        .limit(limit)
        .select((idempotency_keys::site_id, idempotency_keys::key_hash));
    let keys: Vec<(SiteId, Vec<u8>)> = on!(tx.conn(), |c| old.load(c))?;
    for (site, hash) in &keys {
        on!(tx.conn(), |c| diesel::delete(idempotency_keys::table.find((site, hash))).execute(c))?;
    }
    Ok(keys.len())
}
