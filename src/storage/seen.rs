//! What entries of the event log changed for readers: a comment came, was changed, went. What was never public is told to
//! nobody, and what is told of a comment is what it is now, if that is public.

use std::collections::HashMap;

use diesel::prelude::*;

use super::conn::{Conn, on};
use super::events::Event;
use super::listing::PublicComment;
use super::schema::{articles, comments};
use crate::domain::comment::{Action, Status};
use crate::domain::ids::{ArticleId, CommentId, EventId, SiteId};
use crate::error::Error;

/// A change that readers of an article see.
#[derive(Debug, Clone)]
pub struct Change {
    /// The entry of the log.
    pub id: EventId,
    /// The site.
    pub site: SiteId,
    /// The article's key.
    pub article: String,
    /// The comment.
    pub comment: CommentId,
    /// What they see now.
    pub seen: Seen,
}

/// What readers see.
#[derive(Debug, Clone)]
pub enum Seen {
    /// A comment that was not there.
    Published(Box<PublicComment>),
    /// One that was there, otherwise.
    Changed(Box<PublicComment>),
    /// It is there no more, or as a place that replies hang on.
    Removed,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Kind {
    Published,
    Changed,
    Removed,
}

/// What an entry may have changed; none: nothing that was public.
fn kind(event: &Event) -> Option<Kind> {
    let (was, is) = (event.from_status == Some(Status::Approved), event.to_status == Some(Status::Approved));
    match (was, is) {
        (false, true) => Some(Kind::Published),
        (true, false) => Some(Kind::Removed),
        // The waiting edit that was dropped was never public.
        (true, true) => (event.action != Action::EditDiscarded).then_some(Kind::Changed),
        (false, false) => None,
    }
}

/// What these entries changed, in their order.
pub fn changes<'a>(conn: &mut Conn, entries: impl Iterator<Item = &'a Event>) -> Result<Vec<Change>, Error> {
    let told: Vec<(&Event, Kind)> = entries.filter_map(|event| Some((event, kind(event)?))).collect();
    if told.is_empty() {
        return Ok(Vec::new());
    }
    let ids: Vec<CommentId> = told.iter().map(|(event, _)| event.comment_id).collect();
    let mut rows: HashMap<CommentId, (ArticleId, PublicComment)> = HashMap::new();
    for ids in ids.chunks(500) {
        let found: Vec<(ArticleId, PublicComment)> = on!(&mut *conn, |c| comments::table
            .filter(comments::id.eq_any(ids))
            .select((comments::article_id, PublicComment::as_select()))
            .load(c))?;
        rows.extend(found.into_iter().map(|(article, row)| (row.id, (article, row))));
    }
    // A comment that is gone stood where its entry says.
    let article_of = |event: &Event| rows.get(&event.comment_id).map(|(article, _)| *article).or(event.article_id);
    let mut articles: Vec<ArticleId> = told.iter().filter_map(|(event, _)| article_of(event)).collect();
    articles.sort_unstable();
    articles.dedup();
    let keys = keys_of(conn, &articles)?;
    let change = |(event, kind): &(&Event, Kind)| {
        let article = keys.get(&article_of(event)?)?.clone();
        let row = rows.get(&event.comment_id).map(|(_, row)| row).filter(|row| row.status == Status::Approved);
        let seen = match kind {
            Kind::Removed => Seen::Removed,
            Kind::Published => Seen::Published(Box::new(row?.clone())),
            Kind::Changed => Seen::Changed(Box::new(row.filter(|row| is_shown(event, row))?.clone())),
        };
        Some(Change { id: event.id, site: event.site_id, article, comment: event.comment_id, seen })
    };
    Ok(told.iter().filter_map(change).collect())
}

/// Whether an edit is in the text that is public: one that waits, or was dropped since, is the moderators' business.
fn is_shown(event: &Event, row: &PublicComment) -> bool {
    event.action != Action::Edited || row.edited_at.is_some_and(|at| at >= event.at)
}

fn keys_of(conn: &mut Conn, ids: &[ArticleId]) -> Result<HashMap<ArticleId, String>, Error> {
    let mut keys = HashMap::with_capacity(ids.len());
    for ids in ids.chunks(500) {
        let found: Vec<(ArticleId, String)> = on!(&mut *conn, |c| articles::table
            .filter(articles::id.eq_any(ids))
            .select((articles::id, articles::key))
            .load(c))?;
        keys.extend(found);
    }
    Ok(keys)
}
