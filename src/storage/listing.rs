//! What readers get: an article's comments in reading order, page by page; the newest of a site. Reads only rows that stand
//! in the public list, through an index of their order; no query sorts an article.

use diesel::prelude::*;

use super::articles::Article;
use super::comments::Comment;
use super::conn::{Conn, on};
use super::pins;
use super::schema::{articles, comments};
use crate::domain::comment::{Badge, Status};
use crate::domain::ids::{ArticleId, CommentId, SiteId};
use crate::domain::listing::{Place, ReadingPath, Sort};
use crate::domain::time::Timestamp;
use crate::error::Error;

/// A row of the public list.
#[derive(Debug, Clone, Queryable, Selectable)]
#[diesel(table_name = comments)]
#[diesel(check_for_backend(diesel::sqlite::Sqlite))]
#[cfg_attr(feature = "postgres", diesel(check_for_backend(diesel::pg::Pg)))]
#[expect(missing_docs, reason = "the columns are documented in migrations/")]
pub struct PublicComment {
    pub id: CommentId,
    pub parent_id: Option<CommentId>,
    pub root_id: CommentId,
    pub depth: i16,
    pub path: Vec<u8>,
    pub status: Status,
    pub name: String,
    pub website: Option<String>,
    pub body_html: String,
    pub badge: Option<Badge>,
    pub pinned: bool,
    pub votes_up: i32,
    pub votes_down: i32,
    pub score: i32,
    pub reply_count: i32,
    pub visible_children: i32,
    pub created_at: Timestamp,
    pub edited_at: Option<Timestamp>,
}

/// A page: its rows, and the place after which the next one begins, if there is one.
#[derive(Debug, Clone)]
pub struct Page {
    /// At most as many as were asked for.
    pub comments: Vec<PublicComment>,
    /// None on the last page.
    pub next: Option<Place>,
}

/// Which list, and how it is cut into pages.
#[derive(Debug, Clone, Copy)]
pub struct List {
    /// Of this article.
    pub article: ArticleId,
    /// In this order.
    pub sort: Sort,
    /// Rows of a page.
    pub limit: i64,
}

/// The page after a place (none: the first page).
pub fn page(conn: &mut Conn, list: List, after: Option<&Place>) -> Result<Page, Error> {
    let List { article, sort, limit } = list;
    let pins = pins::of(conn, article)?;
    let mut rows = Rows { conn, article, pins: &pins, wanted: limit + 1, found: Vec::new() };
    rows.pinned(after)?;
    if rows.missing() > 0 {
        let after = after.filter(|place| !place.pinned);
        match sort {
            Sort::Oldest => rows.oldest(after)?,
            Sort::Newest => rows.newest(after)?,
            Sort::Top => rows.top(after)?,
        }
    }
    let found = rows.found;
    cut(conn, (found, &pins), sort, limit)
}

/// Takes off the row that only told that there are more.
pub(super) fn cut(
    conn: &mut Conn,
    (mut found, pins): (Vec<PublicComment>, &[CommentId]),
    sort: Sort,
    limit: i64,
) -> Result<Page, Error> {
    let limit = usize::try_from(limit).unwrap_or(0);
    let more = found.len() > limit;
    found.truncate(limit);
    let next = match found.last() {
        Some(last) if more => Some(place(conn, last, sort, pins)?),
        _ => None,
    };
    Ok(Page { comments: found, next })
}

fn place(conn: &mut Conn, row: &PublicComment, sort: Sort, pins: &[CommentId]) -> Result<Place, Error> {
    let score = match sort {
        Sort::Top if row.root_id == row.id => row.score,
        Sort::Top => on!(conn, |c| comments::table.find(row.root_id).select(comments::score).get_result(c))?,
        Sort::Oldest | Sort::Newest => 0,
    };
    Ok(Place { sort, score, pinned: pins.contains(&row.root_id), path: ReadingPath(row.path.clone()) })
}

/// Collects rows strand by strand until enough are found. A strand is a range of one index, so each reads what it returns.
struct Rows<'a> {
    conn: &'a mut Conn,
    article: ArticleId,
    /// Roots whose threads come first, and not again.
    pins: &'a [CommentId],
    wanted: i64,
    found: Vec<PublicComment>,
}

/// The visible comments of an article; a macro, because the type of the query has no name worth writing.
macro_rules! listed {
    ($article:expr) => {
        comments::table
            .filter(comments::article_id.eq($article))
            .filter(comments::visible)
            .select(PublicComment::as_select())
    };
}
pub(super) use listed;

/// The same without the threads that come first. Few articles have some, and the statement for all others stays prepared.
macro_rules! load_rest {
    ($c:expr, $pins:expr, $query:expr) => {
        if $pins.is_empty() { $query.load($c) } else { $query.filter(comments::root_id.ne_all($pins)).load($c) }
    };
}

impl Rows<'_> {
    /// The threads that come first, oldest first in every order.
    fn pinned(&mut self, after: Option<&Place>) -> Result<(), Error> {
        let Some(place) = after.filter(|place| place.pinned) else {
            return if after.is_some() { Ok(()) } else { self.threads(self.pins) };
        };
        let Some(root) = place.path.root() else { return Ok(()) };
        self.rest_of_thread(root, &place.path.0)?;
        let below = self.pins.partition_point(|pin| *pin <= root);
        self.threads(self.pins.get(below..).unwrap_or_default())
    }

    fn threads(&mut self, roots: &[CommentId]) -> Result<(), Error> {
        for root in roots {
            if self.missing() > 0 {
                self.rest_of_thread(*root, &[])?;
            }
        }
        Ok(())
    }

    fn missing(&self) -> i64 {
        self.wanted - i64::try_from(self.found.len()).unwrap_or(i64::MAX)
    }

    fn oldest(&mut self, after: Option<&Place>) -> Result<(), Error> {
        let (article, limit) = (self.article, self.missing());
        let path = after.map(|place| place.path.0.as_slice()).unwrap_or_default();
        let pins = self.pins;
        let rows: Vec<PublicComment> = on!(&mut *self.conn, |c| load_rest!(
            c,
            pins,
            listed!(article).filter(comments::path.gt(path)).order(comments::path).limit(limit)
        ))?;
        self.found.extend(rows);
        Ok(())
    }

    fn newest(&mut self, after: Option<&Place>) -> Result<(), Error> {
        let root = after.and_then(|place| place.path.root());
        if let (Some(place), Some(root)) = (after, root) {
            self.rest_of_thread(root, &place.path.0)?;
        }
        let (article, limit) = (self.article, self.missing());
        if limit <= 0 {
            return Ok(());
        }
        let (before, pins) = (root.unwrap_or(CommentId(uuid::Uuid::max())), self.pins);
        let rows: Vec<PublicComment> = on!(&mut *self.conn, |c| load_rest!(
            c,
            pins,
            listed!(article)
                .filter(comments::root_id.lt(before))
                .order((comments::root_id.desc(), comments::path))
                .limit(limit)
        ))?;
        self.found.extend(rows);
        Ok(())
    }

    fn rest_of_thread(&mut self, root: CommentId, after: &[u8]) -> Result<(), Error> {
        let (article, limit) = (self.article, self.missing());
        let rows: Vec<PublicComment> = on!(&mut *self.conn, |c| listed!(article)
            .filter(comments::root_id.eq(root))
            .filter(comments::path.gt(after))
            .order(comments::path)
            .limit(limit)
            .load(c))?;
        self.found.extend(rows);
        Ok(())
    }

    fn top(&mut self, after: Option<&Place>) -> Result<(), Error> {
        let root = after.and_then(|place| place.path.root());
        let mut roots = Vec::new();
        if let (Some(place), Some(root)) = (after, root) {
            self.rest_of_thread(root, &place.path.0)?;
            roots = self.roots_of_score(place.score, root)?;
        }
        let score = after.map_or(i32::MAX, |place| place.score);
        let first_page = after.is_none();
        let missing = self.missing() - i64::try_from(roots.len()).unwrap_or(0);
        if missing > 0 {
            roots.extend(self.roots_below(score, first_page, missing)?);
        }
        for root in roots {
            if self.missing() <= 0 {
                break;
            }
            let (id, path, has_replies) = (root.id, root.path.clone(), root.visible_children > 0);
            self.found.push(root);
            if has_replies && self.missing() > 0 {
                self.rest_of_thread(id, &path)?;
            }
        }
        Ok(())
    }

    fn roots_of_score(&mut self, score: i32, after: CommentId) -> Result<Vec<PublicComment>, Error> {
        let (article, limit, pins) = (self.article, self.missing().max(0), self.pins);
        Ok(on!(&mut *self.conn, |c| load_rest!(
            c,
            pins,
            listed!(article)
                .filter(comments::parent_id.is_null())
                .filter(comments::score.eq(score))
                .filter(comments::id.gt(after))
                .order(comments::id)
                .limit(limit)
        ))?)
    }

    fn roots_below(&mut self, score: i32, included: bool, limit: i64) -> Result<Vec<PublicComment>, Error> {
        let (article, pins) = (self.article, self.pins);
        let below = i64::from(score) + i64::from(included);
        let below = i32::try_from(below).unwrap_or(i32::MAX);
        Ok(on!(&mut *self.conn, |c| load_rest!(
            c,
            pins,
            listed!(article)
                .filter(comments::parent_id.is_null())
                .filter(comments::score.lt(below))
                .order((comments::score.desc(), comments::id))
                .limit(limit)
        ))?)
    }
}

/// What readers see around a comment, or would if it were public.
#[derive(Debug, Clone)]
pub struct Around {
    /// What it answers, the root first.
    pub above: Vec<PublicComment>,
    /// The last answers before it to the same comment.
    pub beside: Vec<PublicComment>,
}

/// So many answers to the same comment are shown, found among so many rows before it.
const BESIDE: usize = 3;
const ROWS_BEFORE: i64 = 20;

/// The thread around a comment: a few rows, whatever its size.
pub fn around(conn: &mut Conn, comment: &Comment) -> Result<Around, Error> {
    let Some(parent) = comment.parent_id else { return Ok(Around { above: Vec::new(), beside: Vec::new() }) };
    let ids: Vec<CommentId> = ReadingPath(comment.path.clone()).above();
    let mut above: Vec<PublicComment> = on!(&mut *conn, |c| comments::table
        .filter(comments::id.eq_any(&ids))
        .select(PublicComment::as_select())
        .load(c))?;
    above.sort_by_key(|row| row.depth);
    let start = above.last().map(|row| row.path.as_slice()).unwrap_or_default();
    let before: Vec<PublicComment> = on!(conn, |c| listed!(comment.article_id)
        .filter(comments::path.gt(start))
        .filter(comments::path.lt(&comment.path))
        .order(comments::path.desc())
        .limit(ROWS_BEFORE)
        .load(c))?;
    let answers = before.into_iter().filter(|row| row.parent_id == Some(parent) && row.status == Status::Approved);
    let mut beside: Vec<PublicComment> = answers.take(BESIDE).collect();
    beside.reverse();
    Ok(Around { above, beside })
}

/// The newest approved comments of an article, each with it.
pub fn newest_of(conn: &mut Conn, article: &Article, limit: i64) -> Result<Vec<(PublicComment, Article)>, Error> {
    let rows: Vec<PublicComment> = on!(conn, |c| comments::table
        .filter(comments::article_id.eq(article.id))
        .filter(comments::status.eq(Status::Approved))
        .order(comments::id.desc())
        .limit(limit)
        .select(PublicComment::as_select())
        .load(c))?;
    Ok(rows.into_iter().map(|row| (row, article.clone())).collect())
}

/// The newest approved comments of a site, each with its article.
pub fn recent(conn: &mut Conn, site: SiteId, limit: i64) -> Result<Vec<(PublicComment, Article)>, Error> {
    let mut rows: Vec<(PublicComment, Article)> = on!(&mut *conn, |c| comments::table
        .inner_join(articles::table)
        .filter(comments::site_id.eq(site))
        .filter(comments::visible)
        .filter(comments::status.eq(Status::Approved))
        .order(comments::id.desc())
        .limit(limit)
        .select((PublicComment::as_select(), Article::as_select()))
        .load(c))?;
    // Those that are on their way belong to where they go.
    for (_, article) in rows.iter_mut().filter(|(_, article)| article.alias_of.is_some()) {
        if let Some(led_to) = super::articles::by_ids(conn, &[article.id])?.remove(&article.id) {
            *article = led_to;
        }
    }
    Ok(rows)
}
