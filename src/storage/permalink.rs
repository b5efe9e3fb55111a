//! The page of a list that holds one comment, for links to it: the rows before it are counted, so it is the page that paging
//! from the start would give.

use diesel::prelude::*;

use super::conn::{Conn, on};
use super::listing::{List, Page, PublicComment, cut, listed};
use super::pins;
use super::schema::comments;
use crate::domain::ids::{ArticleId, CommentId};
use crate::domain::listing::Sort;
use crate::error::Error;

/// The rows that come first.
macro_rules! pinned {
    ($article:expr, $pins:expr) => {
        comments::table
            .filter(comments::article_id.eq($article))
            .filter(comments::visible)
            .filter(comments::root_id.eq_any($pins))
    };
}

/// The page that holds a comment, as paging from the start would give it; none when the comment is not in the list.
pub fn page_around(conn: &mut Conn, list: List, around: CommentId) -> Result<Option<Page>, Error> {
    let List { article, sort, limit } = list;
    let target: Option<PublicComment> =
        on!(&mut *conn, |c| listed!(article).filter(comments::id.eq(around)).get_result(c).optional())?;
    let Some(target) = target else { return Ok(None) };
    let pins = pins::of(conn, article)?;
    let first: i64 =
        if pins.is_empty() { 0 } else { on!(&mut *conn, |c| pinned!(article, &pins).count().get_result(c))? };
    let before = if pins.contains(&target.root_id) {
        // Ids are in the order of time, and so are the first bytes of paths.
        on!(&mut *conn, |c| pinned!(article, &pins).filter(comments::path.lt(&target.path)).count().get_result(c))?
    } else {
        first + rows_before(conn, (article, &pins), sort, &target)?
    };
    let start = before - before % limit;
    let mut found: Vec<PublicComment> = Vec::new();
    if start < first {
        found = on!(&mut *conn, |c| pinned!(article, &pins)
            .select(PublicComment::as_select())
            .order(comments::path)
            .limit(limit + 1)
            .offset(start)
            .load(c))?;
    }
    let missing = limit + 1 - i64::try_from(found.len()).unwrap_or(0);
    let skipped = (start - first).max(0);
    found.extend(rest(conn, (article, &pins), sort, (skipped, missing))?);
    cut(conn, (found, &pins), sort, limit).map(Some)
}
/// So many rows after those that come first, without the first `skipped`.
fn rest(
    conn: &mut Conn,
    (article, pins): (ArticleId, &[CommentId]),
    sort: Sort,
    (skipped, limit): (i64, i64),
) -> Result<Vec<PublicComment>, Error> {
    if limit <= 0 {
        return Ok(Vec::new());
    }
    if sort == Sort::Top {
        // The order of the roots' votes over whole threads: no index has it, so a permalink into `top` sorts the article.
        let roots = diesel::alias!(comments as roots);
        return Ok(on!(conn, |c| listed!(article)
            .inner_join(roots.on(roots.field(comments::id).eq(comments::root_id)))
            .filter(comments::root_id.ne_all(pins))
            .order((roots.field(comments::score).desc(), comments::root_id, comments::path))
            .limit(limit)
            .offset(skipped)
            .load(c))?);
    }
    Ok(on!(conn, |c| {
        let query = listed!(article).filter(comments::root_id.ne_all(pins)).limit(limit).offset(skipped).into_boxed();
        match sort {
            Sort::Newest => query.order((comments::root_id.desc(), comments::path)).load(c),
            _ => query.order(comments::path).load(c),
        }
    })?)
}

/// How many rows stand before this one, without those that come first.
fn rows_before(
    conn: &mut Conn,
    (article, pins): (ArticleId, &[CommentId]),
    sort: Sort,
    target: &PublicComment,
) -> Result<i64, Error> {
    let path = target.path.as_slice();
    let visible = || {
        let listed = comments::table.filter(comments::article_id.eq(article)).filter(comments::visible);
        listed.filter(comments::root_id.ne_all(pins))
    };
    let in_thread = || visible().filter(comments::root_id.eq(target.root_id)).filter(comments::path.lt(path)).count();
    Ok(match sort {
        Sort::Oldest => on!(conn, |c| visible().filter(comments::path.lt(path)).count().get_result(c))?,
        Sort::Newest => {
            let newer: i64 =
                on!(&mut *conn, |c| visible().filter(comments::root_id.gt(target.root_id)).count().get_result(c))?;
            let above: i64 = on!(conn, |c| in_thread().get_result(c))?;
            newer + above
        }
        Sort::Top => {
            let score: i32 =
                on!(&mut *conn, |c| comments::table.find(target.root_id).select(comments::score).get_result(c))?;
            let roots = diesel::alias!(comments as roots);
            let root_score = roots.field(comments::score);
            let better: i64 = on!(&mut *conn, |c| visible()
                .inner_join(roots.on(roots.field(comments::id).eq(comments::root_id)))
                .filter(root_score.gt(score).or(root_score.eq(score).and(comments::root_id.lt(target.root_id))))
                .count()
                .get_result(c))?;
            let above: i64 = on!(conn, |c| in_thread().get_result(c))?;
            better + above
        }
    })
}
