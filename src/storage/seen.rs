//! What entries of the event log changed for readers: a comment came, was changed, went. What was never public is told to
//! nobody, and what is told of a comment is what it is now, if that is public.

use std::collections::HashMap;

use diesel::prelude::*;

use super::articles as named;
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
    /// All keys that lead to it, its own among them.
    pub keys: Vec<String>,
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
    resolved(conn, &told)
}

/// What of these entries changed on the article with this key. Texts of comments elsewhere are not read: anybody may ask.
pub fn changes_of(conn: &mut Conn, (site, key): (SiteId, &str), entries: &[Event]) -> Result<Vec<Change>, Error> {
    let mut told: Vec<(&Event, Kind)> =
        entries.iter().filter(|event| event.site_id == site).filter_map(|event| Some((event, kind(event)?))).collect();
    let Some(article) = named::find(conn, site, key)?.filter(|_| !told.is_empty()) else { return Ok(Vec::new()) };
    let here: Vec<ArticleId> = on!(&mut *conn, |c| articles::table
        .filter(articles::id.eq(article.id).or(articles::alias_of.eq(article.id)))
        .select(articles::id)
        .load(c))?;
    let ids: Vec<CommentId> = told.iter().map(|(event, _)| event.comment_id).collect();
    let mut places: HashMap<CommentId, ArticleId> = HashMap::with_capacity(ids.len());
    for ids in ids.chunks(500) {
        let found: Vec<(CommentId, ArticleId)> = on!(&mut *conn, |c| comments::table
            .filter(comments::id.eq_any(ids))
            .select((comments::id, comments::article_id))
            .load(c))?;
        places.extend(found);
    }
    // A comment may have moved since, and one that is gone stood where its entry says.
    let place = |event: &Event| places.get(&event.comment_id).copied().or(event.article_id);
    told.retain(|(event, _)| place(event).is_some_and(|place| here.contains(&place)));
    resolved(conn, &told)
}

fn resolved(conn: &mut Conn, told: &[(&Event, Kind)]) -> Result<Vec<Change>, Error> {
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
        let (article, keys) = keys.get(&article_of(event)?)?.clone();
        let row = rows.get(&event.comment_id).map(|(_, row)| row).filter(|row| row.status == Status::Approved);
        let seen = match kind {
            Kind::Removed => Seen::Removed,
            Kind::Published => Seen::Published(Box::new(row?.clone())),
            Kind::Changed => Seen::Changed(Box::new(row.filter(|row| is_shown(event, row))?.clone())),
        };
        Some(Change { id: event.id, site: event.site_id, article, keys, comment: event.comment_id, seen })
    };
    Ok(told.iter().filter_map(change).collect())
}

/// Whether an edit is in the text that is public: one that waits, or was dropped since, is the moderators' business.
fn is_shown(event: &Event, row: &PublicComment) -> bool {
    event.action != Action::Edited || row.edited_at.is_some_and(|at| at >= event.at)
}

/// The key of each article, and all that lead there; for an alias, whose comments may still be on their way, those of the
/// article that it leads to.
fn keys_of(conn: &mut Conn, ids: &[ArticleId]) -> Result<HashMap<ArticleId, (String, Vec<String>)>, Error> {
    let mut keys = HashMap::with_capacity(ids.len());
    for ids in ids.chunks(500) {
        let found = named::by_ids(conn, ids)?;
        let led_to: Vec<ArticleId> = found.values().map(|article| article.id).collect();
        let aliases: Vec<(Option<ArticleId>, String)> = on!(&mut *conn, |c| articles::table
            .filter(articles::alias_of.eq_any(&led_to))
            .select((articles::alias_of, articles::key))
            .load(c))?;
        for (id, article) in found {
            let others = aliases.iter().filter(|(of, _)| *of == Some(article.id)).map(|(_, key)| key.clone());
            keys.insert(id, (article.key.clone(), std::iter::once(article.key.clone()).chain(others).collect()));
        }
    }
    Ok(keys)
}
