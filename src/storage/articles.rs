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
    /// The article that its key leads to, if it is an alias; nothing else of it is seen then.
    pub alias_of: Option<ArticleId>,
    /// Since when.
    pub alias_since: Option<Timestamp>,
    /// Of an alias: its comments may still be on their way. Of an article: those of an alias may be on their way here.
    pub merging: bool,
    /// Of an alias: comments that were moved.
    pub moved: i64,
    /// Whether visitors may change nothing on it.
    pub read_only: bool,
}

/// An article, and the alias by which it was found.
#[derive(Debug, Clone)]
pub struct Named {
    /// The article itself.
    pub article: Article,
    /// None: it was found by its own key.
    pub alias: Option<ArticleId>,
}

impl Named {
    /// What an answer about it is made from.
    pub fn sources(&self) -> Vec<Source> {
        std::iter::once(self.article.id).chain(self.alias).map(Source::Article).collect()
    }
}

/// The article with this key, or that an alias of this key leads to.
pub fn find(conn: &mut Conn, site: SiteId, key: &str) -> Result<Option<Article>, Error> {
    Ok(find_named(conn, site, key)?.map(|named| named.article))
}

/// The same, and by which way.
pub fn find_named(conn: &mut Conn, site: SiteId, key: &str) -> Result<Option<Named>, Error> {
    let Some(row) = row(conn, site, key)? else { return Ok(None) };
    let Some(of) = row.alias_of else { return Ok(Some(Named { article: row, alias: None })) };
    Ok(by_ids(conn, &[of])?.remove(&of).map(|article| Named { article, alias: Some(row.id) }))
}

/// The row with this key, be it an article or an alias.
pub(super) fn row(conn: &mut Conn, site: SiteId, key: &str) -> Result<Option<Article>, Error> {
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
    if let Some((found, used)) = found {
        let Some(of) = found.alias_of else { return Ok((found, used)) };
        let article = by_ids(tx.conn(), &[of])?.remove(&of);
        return Ok((article.ok_or_else(|| Error::internal("an alias leads nowhere"))?, used));
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
        alias_of: None,
        alias_since: None,
        merging: false,
        moved: 0,
        read_only: false,
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

/// The articles with these ids; for an alias, whose comments may still be on their way, the one that it leads to.
pub fn by_ids(conn: &mut Conn, ids: &[ArticleId]) -> Result<HashMap<ArticleId, Article>, Error> {
    let mut found = rows(conn, ids)?;
    let of: Vec<ArticleId> = found.values().filter_map(|row| row.alias_of).collect();
    let led_to = rows(conn, &of)?;
    for row in found.values_mut() {
        if let Some(article) = row.alias_of.and_then(|of| led_to.get(&of)) {
            row.clone_from(article);
        }
    }
    Ok(found)
}

/// The rows with these ids.
pub(super) fn rows(conn: &mut Conn, ids: &[ArticleId]) -> Result<HashMap<ArticleId, Article>, Error> {
    if ids.is_empty() {
        return Ok(HashMap::new());
    }
    let rows: Vec<Article> =
        on!(conn, |c| articles::table.filter(articles::id.eq_any(ids)).select(Article::as_select()).load(c))?;
    Ok(rows.into_iter().map(|article| (article.id, article)).collect())
}

/// Where comments of this article lie: on itself, and on aliases of it whose comments are still on their way.
pub fn places(conn: &mut Conn, article: &Article) -> Result<Vec<ArticleId>, Error> {
    let mut places = vec![article.id];
    if article.merging {
        places.extend(merging_into(conn, &[article.id])?);
    }
    Ok(places)
}

/// The aliases of these articles whose comments are on their way.
pub(super) fn merging_into(conn: &mut Conn, ids: &[ArticleId]) -> Result<Vec<ArticleId>, Error> {
    let aliases = articles::table.filter(articles::alias_of.eq_any(ids)).filter(articles::merging);
    Ok(on!(conn, |c| aliases.order(articles::id).select(articles::id).load(c))?)
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

/// Where the comments of the articles with this key lie, on several sites (none: on all).
pub fn by_key(conn: &mut Conn, sites: Option<&[SiteId]>, key: &str) -> Result<Vec<ArticleId>, Error> {
    let found: Vec<(ArticleId, Option<ArticleId>)> = on!(&mut *conn, |c| {
        let mut query = articles::table
            .filter(articles::key.eq(key))
            .select((articles::id, articles::alias_of))
            .limit(1000)
            .into_boxed();
        if let Some(sites) = sites {
            query = query.filter(articles::site_id.eq_any(sites));
        }
        query.load(c)
    })?;
    let mut ids: Vec<ArticleId> = found.into_iter().map(|(id, alias_of)| alias_of.unwrap_or(id)).collect();
    ids.extend(merging_into(conn, &ids)?);
    Ok(ids)
}

/// How many approved comments an article has, by a key of it.
#[derive(Debug, Clone)]
pub struct Counted {
    /// The key that was asked for.
    pub key: String,
    /// Approved comments.
    pub count: i64,
    /// What the number is made from.
    pub sources: Vec<Source>,
}

/// How many approved comments the articles with these keys have; keys that nobody has commented on are not in the answer.
pub fn counts(conn: &mut Conn, site: SiteId, keys: &[String]) -> Result<Vec<Counted>, Error> {
    let found: Vec<(ArticleId, Option<ArticleId>, String, i64)> = on!(&mut *conn, |c| articles::table
        .filter(articles::site_id.eq(site))
        .filter(articles::key.eq_any(keys))
        .select((articles::id, articles::alias_of, articles::key, articles::comment_count))
        .load(c))?;
    let of: Vec<ArticleId> = found.iter().filter_map(|(_, of, ..)| *of).collect();
    let led_to = rows(conn, &of)?;
    let counted = |(id, of, key, count): (ArticleId, Option<ArticleId>, String, i64)| Counted {
        key,
        count: of.and_then(|of| led_to.get(&of)).map_or(count, |article| article.comment_count),
        sources: std::iter::once(id).chain(of).map(Source::Article).collect(),
    };
    Ok(found.into_iter().map(counted).collect())
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
    /// Whether visitors may change nothing.
    pub read_only: Option<bool>,
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
    after.read_only = change.read_only.unwrap_or(article.read_only);
    if after == *article {
        return Ok(after);
    }
    // What is not named may have been changed by another connection since `article` was read.
    let set = (
        change.title.as_ref().map(|title| articles::title.eq(title)),
        change.url.as_ref().map(|url| articles::url.eq(url)),
        change.closed.map(|(closed, kept_open)| (articles::closed.eq(closed), articles::kept_open.eq(kept_open))),
        change.read_only.map(|read_only| articles::read_only.eq(read_only)),
        articles::version.eq(articles::version + 1),
    );
    let row = articles::table.find(article.id);
    let after = on!(tx.conn(), |c| diesel::update(row).set(set).returning(Article::as_returning()).get_result(c))?;
    tx.changed(Source::Article(after.id));
    tx.changed(Source::Site(after.site_id));
    Ok(after)
}

/// A page of a site's articles without their aliases, by key: those after `after`, at most `limit`.
pub fn page(conn: &mut Conn, site: SiteId, after: Option<&str>, limit: i64) -> Result<Vec<Article>, Error> {
    Ok(on!(conn, |c| {
        let mut query = articles::table
            .filter(articles::site_id.eq(site))
            .filter(articles::alias_of.is_null())
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
