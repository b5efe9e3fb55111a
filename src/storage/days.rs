//! How many comments came in a stretch of time, by where they stand now: counted in ranges of the queue's own indexes,
//! because ids sort by time. Nothing is stored for it, so nothing can disagree with the comments.

use diesel::prelude::*;

use super::conn::{Conn, on};
use super::schema::comments;
use crate::domain::comment::Status;
use crate::domain::ids::{CommentId, SiteId};
use crate::domain::time::Timestamp;
use crate::error::Error;

/// Comments that came in one stretch of time and are still there.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
pub struct Came {
    /// Those that wait.
    pub pending: i64,
    /// Public ones.
    pub approved: i64,
    /// Refused ones.
    pub rejected: i64,
    /// Spam.
    pub spam: i64,
}

/// What came to these sites (none: to all) from one moment up to another.
pub fn came(conn: &mut Conn, sites: Option<&[SiteId]>, from: Timestamp, to: Timestamp) -> Result<Came, Error> {
    let mut count = |status: Status| -> Result<i64, Error> {
        Ok(on!(&mut *conn, |c| {
            let mut query = comments::table
                .filter(comments::status.eq(status))
                .filter(comments::id.ge(CommentId::first_at(from)))
                .filter(comments::id.lt(CommentId::first_at(to)))
                .count()
                .into_boxed();
            if let Some(sites) = sites {
                query = query.filter(comments::site_id.eq_any(sites));
            }
            query.get_result(c)
        })?)
    };
    Ok(Came {
        pending: count(Status::Pending)?,
        approved: count(Status::Approved)?,
        rejected: count(Status::Rejected)?,
        spam: count(Status::Spam)?,
    })
}
