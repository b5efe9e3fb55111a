//! Articles: made by their first comment, named by the key that the blog chose.

use std::collections::HashMap;

use diesel::prelude::*;

use super::conn::{Conn, on};
use super::meta::KEY_CHECK;
use super::neighbours::Turn;
use super::schema::{articles, meta};
use super::tx::{Hints, Tx};
use crate::domain::ids::{ArticleId, SiteId};
use crate::domain::listing::Source;
use crate::domain::submission::ArticleKey;
use crate::domain::time::Timestamp;
use crate::error::Error;

/// An article.
#[derive(Debug, Clone, PartialEq, Eq, Queryable, Selectable, Insertable)]
#[diesel(table_name = articles, treat_none_as_default_value = false)]
#[diesel(check_for_backend(diesel::sqlite::Sqlite))]
#[cfg_attr(feature = "postgres", diesel(check_for_backend(diesel::pg::Pg)))]
pub struct Article {
    /// Its id.
    pub id: ArticleId,
    /// Its site.
    pub site_id: SiteId,
    /// Its key.
    pub key: String,
    /// Its title, from the first approved comment that named one.
    pub title: Option<String>,
    /// Its address, likewise.
    pub url: Option<String>,
    /// Whether it takes no more comments.
    pub closed: bool,
    /// Approved comments.
    pub comment_count: i64,
    /// Raised by every change that a reader can see.
    pub version: i64,
    /// When it was made, by its first comment or by hand.
    pub created_at: Timestamp,
    /// Whether it was opened by hand: then it does not close by its age.
    pub kept_open: bool,
}

/// The article with this key.
pub fn find(conn: &mut Conn, site: SiteId, key: &str) -> Result<Option<Article>, Error> {
    Ok(on!(conn, |c| articles::table
        .filter(articles::site_id.eq(site))
        .filter(articles::key.eq(key))
        .select(Article::as_select())
        .get_result(c)
        .optional())?)
}

/// An article as its first comment names it.
#[derive(Debug, Clone, Copy)]
pub struct NewArticle<'a> {
    /// Its id, if it is made.
    pub id: ArticleId,
    /// Its site.
    pub site_id: SiteId,
    /// Its key.
    pub key: &'a ArticleKey,
    /// When the comment came.
    pub created_at: Timestamp,
}

/// The article with this key, made if it is not there; and, read by the same statement, the check value of the secret key
/// that is used, so that whoever adds a comment can tell whether it was sealed with that one.
pub fn find_or_make(tx: &mut Tx<'_>, new: &NewArticle<'_>) -> Result<(Article, Option<String>), Error> {
    let (site, key) = (new.site_id, new.key);
    if let Some(known) = tx.known().article(site, key.as_str()) {
        return Ok(known.clone());
    }
    let found = on!(tx.conn(), |c| articles::table
        .filter(articles::site_id.eq(site))
        .filter(articles::key.eq(key.as_str()))
        .select((Article::as_select(), meta::table.find(KEY_CHECK).select(meta::value).single_value()))
        .get_result(c)
        .optional())?;
    if let Some(found) = found {
        return Ok(found);
    }
    Ok((make(tx, new)?, super::meta::get(tx.conn(), KEY_CHECK)?))
}

fn make(tx: &mut Tx<'_>, new: &NewArticle<'_>) -> Result<Article, Error> {
    let (site, key) = (new.site_id, new.key);
    tx.take_turn(Turn::NewArticle(site, key.as_str()))?;
    let article = Article {
        id: new.id,
        site_id: site,
        key: key.as_str().to_owned(),
        title: None,
        url: None,
        closed: false,
        comment_count: 0,
        version: 0,
        created_at: new.created_at,
        kept_open: false,
    };
    let made =
        on!(tx.conn(), |c| diesel::insert_into(articles::table).values(&article).on_conflict_do_nothing().execute(c))?;
    if made == 1 {
        tx.changed(Source::NewArticles(site));
        return Ok(article);
    }
    // Another connection made it a moment ago.
    find(tx.conn(), site, key.as_str())?.ok_or_else(|| Error::internal("an article vanished"))
}

/// The articles with these ids.
pub fn by_ids(conn: &mut Conn, ids: &[ArticleId]) -> Result<HashMap<ArticleId, Article>, Error> {
    let rows: Vec<Article> =
        on!(conn, |c| articles::table.filter(articles::id.eq_any(ids)).select(Article::as_select()).load(c))?;
    Ok(rows.into_iter().map(|article| (article.id, article)).collect())
}

/// Fills in title and address where none is stored yet; what is stored is never overwritten.
pub(super) fn adopt_hints(conn: &mut Conn, id: ArticleId, hints: &Hints) -> Result<(), Error> {
    if let Some(title) = &hints.title {
        let untitled = articles::table.find(id).filter(articles::title.is_null());
        on!(&mut *conn, |c| diesel::update(untitled).set(articles::title.eq(title)).execute(c))?;
    }
    if let Some(url) = &hints.url {
        let unplaced = articles::table.find(id).filter(articles::url.is_null());
        on!(&mut *conn, |c| diesel::update(unplaced).set(articles::url.eq(url)).execute(c))?;
    }
    Ok(())
}

/// The articles with this key on several sites (none: on all).
pub fn by_key(conn: &mut Conn, sites: Option<&[SiteId]>, key: &str) -> Result<Vec<ArticleId>, Error> {
    Ok(on!(conn, |c| {
        let mut query = articles::table.filter(articles::key.eq(key)).select(articles::id).limit(1000).into_boxed();
        if let Some(sites) = sites {
            query = query.filter(articles::site_id.eq_any(sites));
        }
        query.load(c)
    })?)
}

/// How many approved comments the articles with these keys have; keys that nobody has commented on are not in the answer.
pub fn counts(conn: &mut Conn, site: SiteId, keys: &[String]) -> Result<Vec<(ArticleId, String, i64)>, Error> {
    Ok(on!(conn, |c| articles::table
        .filter(articles::site_id.eq(site))
        .filter(articles::key.eq_any(keys))
        .select((articles::id, articles::key, articles::comment_count))
        .load(c))?)
}

/// What is changed of an article; what is none stays.
#[derive(Debug, Clone, Default)]
pub struct ArticleChange {
    /// A new title, or none any more.
    pub title: Option<Option<String>>,
    /// A new address, likewise.
    pub url: Option<Option<String>>,
    /// Whether it is closed, and whether it is kept open.
    pub closed: Option<(bool, bool)>,
}

/// Changes an article by hand; what is stored is overwritten. Readers see it at once.
pub fn change(tx: &mut Tx<'_>, article: &Article, change: &ArticleChange) -> Result<Article, Error> {
    let mut after = article.clone();
    if let Some(title) = &change.title {
        after.title.clone_from(title);
    }
    if let Some(url) = &change.url {
        after.url.clone_from(url);
    }
    if let Some((closed, kept_open)) = change.closed {
        (after.closed, after.kept_open) = (closed, kept_open);
    }
    if after == *article {
        return Ok(after);
    }
    // What is not named may have been changed by another connection since `article` was read.
    let set = (
        change.title.as_ref().map(|title| articles::title.eq(title)),
        change.url.as_ref().map(|url| articles::url.eq(url)),
        change.closed.map(|(closed, kept_open)| (articles::closed.eq(closed), articles::kept_open.eq(kept_open))),
        articles::version.eq(articles::version + 1),
    );
    let row = articles::table.find(article.id);
    let after = on!(tx.conn(), |c| diesel::update(row).set(set).returning(Article::as_returning()).get_result(c))?;
    tx.changed(Source::Article(after.id));
    tx.changed(Source::Site(after.site_id));
    Ok(after)
}

/// A page of a site's articles, by key: those after `after`, at most `limit`.
pub fn page(conn: &mut Conn, site: SiteId, after: Option<&str>, limit: i64) -> Result<Vec<Article>, Error> {
    Ok(on!(conn, |c| {
        let mut query = articles::table
            .filter(articles::site_id.eq(site))
            .select(Article::as_select())
            .order(articles::key)
            .limit(limit)
            .into_boxed();
        if let Some(after) = after {
            query = query.filter(articles::key.gt(after));
        }
        query.load(c)
    })?)
}
