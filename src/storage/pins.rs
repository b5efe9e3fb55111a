//! Pinned comments: the few roots of an article that come first in every order.

use diesel::prelude::*;

use super::comments::{self as stored, Comment};
use super::conn::{Conn, on};
use super::schema::comments;
use super::tx::Tx;
use crate::domain::ids::{ArticleId, CommentId};
use crate::error::Error;

/// Pinned comments of an article, at most.
pub const MOST_PINNED: usize = 3;

/// The pinned comments of an article, oldest first, public or not.
pub fn of(conn: &mut Conn, article: ArticleId) -> Result<Vec<CommentId>, Error> {
    Ok(on!(conn, |c| comments::table
        .filter(comments::article_id.eq(article))
        .filter(comments::pinned)
        .order(comments::id)
        .select(comments::id)
        .load(c))?)
}

/// Pins a comment or takes the pin away, and raises its version. To be called with the comment of
/// [`find_to_change`](stored::find_to_change), so that nobody else pins one there meanwhile.
pub fn set(tx: &mut Tx<'_>, before: &Comment, pinned: bool) -> Result<Comment, Error> {
    let after = Comment { pinned, version: before.version + 1, ..before.clone() };
    let set = (comments::pinned.eq(pinned), comments::version.eq(after.version));
    on!(tx.conn(), |c| diesel::update(comments::table.find(before.id)).set(set).execute(c))?;
    if before.visible {
        stored::lists_change(tx, before, 0);
    }
    Ok(after)
}
