//! The append-only log of what happened to comments: who, what, by which way. No text that a visitor wrote is in it.

use diesel::prelude::*;

use super::conn::{Conn, in_chunks, on};
use super::schema::events;
use crate::domain::comment::{Action, Status, Via};
use crate::domain::ids::{AccountId, ArticleId, CommentId, EventId, SiteId};
use crate::domain::time::Timestamp;
use crate::error::Error;

/// An entry of the log.
#[derive(Debug, Clone, Insertable, Queryable, Selectable)]
#[diesel(table_name = events, treat_none_as_default_value = false)]
#[diesel(check_for_backend(diesel::sqlite::Sqlite))]
#[cfg_attr(feature = "postgres", diesel(check_for_backend(diesel::pg::Pg)))]
pub struct Event {
    /// Sorts by time.
    pub id: EventId,
    /// The site of the comment.
    pub site_id: SiteId,
    /// The comment; it may be gone.
    pub comment_id: CommentId,
    /// When.
    pub at: Timestamp,
    /// The account that acted; none for an author, a rule or the policy.
    pub account_id: Option<AccountId>,
    /// What was done.
    pub action: Action,
    /// The state before; none for a new comment.
    pub from_status: Option<Status>,
    /// The state after; none when it is gone.
    pub to_status: Option<Status>,
    /// By which way.
    pub via: Via,
    /// What the moderator gave as reason.
    pub reason: Option<String>,
    /// Where the comment stood; none in entries of older programs.
    pub article_id: Option<ArticleId>,
}

/// A new entry is written as it is read.
pub type NewEvent = Event;

/// Writes entries, with as few statements as the database likes.
pub(super) fn insert_all(conn: &mut Conn, rows: &[NewEvent]) -> Result<(), Error> {
    in_chunks!(conn, rows, |chunk, c| diesel::insert_into(events::table).values(chunk).execute(c));
    Ok(())
}

/// The entries of one comment, oldest first.
pub fn of_comment(conn: &mut Conn, comment: CommentId) -> Result<Vec<Event>, Error> {
    Ok(on!(conn, |c| events::table
        .filter(events::comment_id.eq(comment))
        .order(events::id)
        .select(Event::as_select())
        .load(c))?)
}

/// What part of the log to read.
#[derive(Debug, Clone, Default)]
pub struct EventFilter {
    /// Only this comment.
    pub comment: Option<CommentId>,
    /// Only these sites; none means all.
    pub sites: Option<Vec<SiteId>>,
    /// Only entries before this one.
    pub before: Option<EventId>,
    /// At most so many.
    pub limit: i64,
}

/// A part of the log, newest first.
pub fn page(conn: &mut Conn, filter: &EventFilter) -> Result<Vec<Event>, Error> {
    Ok(on!(conn, |c| {
        let mut query =
            events::table.select(Event::as_select()).order(events::id.desc()).limit(filter.limit).into_boxed();
        if let Some(comment) = filter.comment {
            query = query.filter(events::comment_id.eq(comment));
        }
        if let Some(sites) = &filter.sites {
            query = query.filter(events::site_id.eq_any(sites));
        }
        if let Some(before) = filter.before {
            query = query.filter(events::id.lt(before));
        }
        query.load(c)
    })?)
}
