//! What moderators read: the queue, filtered and searched, page by page. A filter is taken apart into strands (one state on
//! one site), each a range of one index, and the strands are merged by id: a queue of a million rows costs what one page
//! costs.

use diesel::prelude::*;

use super::comments::Comment;
use super::conn::{Conn, on};
use super::schema::comments;
use super::words::{self, Matches};
use crate::domain::comment::Status;
use crate::domain::ids::{ArticleId, CommentId, SiteId};
use crate::domain::search;
use crate::error::Error;

/// What part of the queue to read.
#[derive(Debug, Clone)]
pub struct QueueFilter {
    /// One state; none means all of them.
    pub status: Option<Status>,
    /// These sites; none means all of them.
    pub sites: Option<Vec<SiteId>>,
    /// These articles; none means all of them. Whoever asks has checked that the caller may see their sites.
    pub articles: Option<Vec<ArticleId>>,
    /// Words that must be in the name or the text.
    pub text: Option<String>,
    /// The order of time: newest first, or oldest first.
    pub newest_first: bool,
    /// The last row that was given.
    pub after: Option<CommentId>,
    /// At most so many.
    pub limit: i64,
}

/// The states that moderators see.
const SEEN: [Status; 4] = [Status::Pending, Status::Approved, Status::Rejected, Status::Spam];

/// Where one range of one index lies.
#[derive(Clone, Copy)]
enum Strand {
    Article(ArticleId, Status),
    Site(SiteId, Status),
    Everywhere(Status),
    /// Public comments whose new text waits, in each of the three ways.
    ArticleEdits(ArticleId),
    SiteEdits(SiteId),
    AllEdits,
}

/// A page of the queue. The filter asks for one row more than is shown, to tell whether there are more.
pub fn page(conn: &mut Conn, filter: &QueueFilter) -> Result<Vec<Comment>, Error> {
    let words = filter.text.as_deref().map(search::question);
    if words.as_ref().is_some_and(Vec::is_empty) {
        return Ok(Vec::new());
    }
    let mut rows = Vec::new();
    let narrowing =
        words.map(|words| Ok::<_, Error>(Question { tail: words::find_in_tail(conn, &words)?, words })).transpose()?;
    for strand in strands(filter) {
        rows.extend(read(conn, strand, filter, narrowing.as_ref())?);
    }
    rows.sort_unstable_by_key(|row: &Comment| row.id);
    rows.dedup_by_key(|row| row.id);
    if filter.newest_first {
        rows.reverse();
    }
    rows.truncate(usize::try_from(filter.limit).unwrap_or(0));
    Ok(rows)
}

/// What a search asks for, and the comments that match it although the index does not have them yet.
struct Question {
    words: Vec<String>,
    tail: Vec<CommentId>,
}

fn strands(filter: &QueueFilter) -> Vec<Strand> {
    let states = filter.status.as_ref().map_or(&SEEN[..], std::slice::from_ref);
    let mut strands = Vec::new();
    for status in states {
        match (&filter.articles, &filter.sites) {
            (Some(articles), _) => strands.extend(articles.iter().map(|article| Strand::Article(*article, *status))),
            (None, Some(sites)) => strands.extend(sites.iter().map(|site| Strand::Site(*site, *status))),
            (None, None) => strands.push(Strand::Everywhere(*status)),
        }
    }
    // A public comment whose new text waits needs a decision as well. With all states asked for it is there already.
    if filter.status == Some(Status::Pending) {
        match (&filter.articles, &filter.sites) {
            (Some(articles), _) => strands.extend(articles.iter().copied().map(Strand::ArticleEdits)),
            (None, Some(sites)) => strands.extend(sites.iter().copied().map(Strand::SiteEdits)),
            (None, None) => strands.push(Strand::AllEdits),
        }
    }
    strands
}

/// A new text waits, and its comment was not put away meanwhile: then it is decided with it. Said so that the states are not
/// looked for: for one state SQLite would read all comments of it instead of the few with a new text.
macro_rules! edit_waits {
    () => {
        comments::waiting_edit
            .is_not_null()
            .and(comments::status.ne(Status::Rejected))
            .and(comments::status.ne(Status::Spam))
    };
}

fn read(
    conn: &mut Conn,
    strand: Strand,
    filter: &QueueFilter,
    question: Option<&Question>,
) -> Result<Vec<Comment>, Error> {
    macro_rules! narrowed {
        ($matches:expr) => {{
            let mut query = comments::table.select(Comment::as_select()).limit(filter.limit).into_boxed();
            query = match strand {
                Strand::Article(article, status) => {
                    query.filter(comments::article_id.eq(article)).filter(comments::status.eq(status))
                }
                Strand::Site(site, status) => {
                    query.filter(comments::site_id.eq(site)).filter(comments::status.eq(status))
                }
                Strand::Everywhere(status) => query.filter(comments::status.eq(status)),
                Strand::ArticleEdits(article) => query.filter(comments::article_id.eq(article)).filter(edit_waits!()),
                Strand::SiteEdits(site) => query.filter(comments::site_id.eq(site)).filter(edit_waits!()),
                Strand::AllEdits => query.filter(edit_waits!()),
            };
            if let Some(question) = question {
                query = query.filter($matches(&question.words).or(comments::id.eq_any(&question.tail)));
            }
            if filter.newest_first {
                let query = query.order(comments::id.desc());
                if let Some(after) = filter.after { query.filter(comments::id.lt(after)) } else { query }
            } else {
                let query = query.order(comments::id.asc());
                if let Some(after) = filter.after { query.filter(comments::id.gt(after)) } else { query }
            }
        }};
    }
    Ok(match conn {
        Conn::Sqlite(c) => narrowed!(Matches::fts5).load(c)?,
        #[cfg(feature = "postgres")]
        Conn::Postgres(c) => narrowed!(Matches::tsquery).load(c)?,
    })
}

/// The oldest comment that waits on these sites (none: on all).
pub fn oldest_pending(conn: &mut Conn, sites: Option<&[SiteId]>) -> Result<Option<Comment>, Error> {
    let filter = QueueFilter {
        status: Some(Status::Pending),
        sites: sites.map(<[SiteId]>::to_vec),
        articles: None,
        text: None,
        newest_first: false,
        after: None,
        limit: 1,
    };
    Ok(page(conn, &filter)?.into_iter().next())
}

/// How many comments stand in a state, counted in the table itself; for `doctor`, which checks the stored counters.
/// Page by page, because on PostgreSQL a statement that takes long is ended.
pub fn count(conn: &mut Conn, site: SiteId, status: Status) -> Result<i64, Error> {
    let (mut number, mut from) = (0, CommentId(uuid::Uuid::nil()));
    loop {
        let ids: Vec<CommentId> = on!(conn, |c| comments::table
            .filter(comments::site_id.eq(site))
            .filter(comments::status.eq(status))
            .filter(comments::id.gt(from))
            .order(comments::id)
            .limit(COUNTED)
            .select(comments::id)
            .load(c))?;
        number += i64::try_from(ids.len()).unwrap_or(0);
        match ids.last() {
            Some(last) => from = *last,
            None => return Ok(number),
        }
    }
}

/// Comments that are counted in one statement.
const COUNTED: i64 = 10_000;
