//! What is personal and has been kept long enough: found by the indexes of the queue, in the order of ids, which is that of
//! arrival, page by page.

use diesel::prelude::*;
use uuid::Uuid;

use super::comments::Comment;
use super::conn::{Conn, on};
use super::schema::comments;
use super::tx::Tx;
use crate::domain::comment::Status;
use crate::domain::ids::{CommentId, SiteId};
use crate::domain::time::Timestamp;
use crate::error::Error;

/// Comments of one state on one site between two ids.
#[derive(Debug, Clone, Copy)]
pub struct Strand {
    /// The site.
    pub site: SiteId,
    /// The state.
    pub status: Status,
    /// After this one,
    pub after: CommentId,
    /// and before this one.
    pub before: CommentId,
}

/// The first id of that moment: a `UUIDv7` begins with the milliseconds (RFC 9562 §5.7).
pub fn first_id_of(moment: Timestamp) -> CommentId {
    let millis = u128::from(u64::try_from(moment.0 / 1000).unwrap_or(0));
    CommentId(Uuid::from_u128(millis << 80))
}

/// Takes network address and browser's name from the next comments of a strand. Returns how many had them, and the last
/// comment that was looked at; none at the end.
pub fn strip_senders(tx: &mut Tx<'_>, strand: Strand, limit: i64) -> Result<(usize, Option<CommentId>), Error> {
    let rows: Vec<(CommentId, bool)> = on!(tx.conn(), |c| comments::table
        .filter(comments::site_id.eq(strand.site))
        .filter(comments::status.eq(strand.status))
        .filter(comments::id.gt(strand.after))
        .filter(comments::id.lt(strand.before))
        .order(comments::id)
        .limit(limit)
        .select((comments::id, comments::sender_sealed.is_not_null()))
        .load(c))?;
    let with: Vec<CommentId> = rows.iter().filter(|(_, has)| *has).map(|(id, _)| *id).collect();
    if !with.is_empty() {
        let set = comments::sender_sealed.eq(None::<Vec<u8>>);
        on!(tx.conn(), |c| diesel::update(comments::table.filter(comments::id.eq_any(&with))).set(set).execute(c))?;
    }
    let is_full = i64::try_from(rows.len()).is_ok_and(|len| len == limit);
    Ok((with.len(), rows.last().filter(|_| is_full).map(|(id, _)| *id)))
}

/// The next comments of a strand.
pub fn page(conn: &mut Conn, strand: Strand, limit: i64) -> Result<Vec<Comment>, Error> {
    Ok(on!(conn, |c| comments::table
        .filter(comments::site_id.eq(strand.site))
        .filter(comments::status.eq(strand.status))
        .filter(comments::id.gt(strand.after))
        .filter(comments::id.lt(strand.before))
        .order(comments::id)
        .limit(limit)
        .select(Comment::as_select())
        .load(c))?)
}
