//! Aliases: keys that lead to another article, and how the comments of an article go where its key leads now. The row of the
//! alias says how far that is, so whoever finds it goes on, also after the one who began was killed.

use std::time::Duration;

use diesel::prelude::*;

use super::articles::{self, Article, NewArticle};
use super::conn::{Conn, on};
use super::feedback;
use super::fragments::ArticleBump;
use super::neighbours::Turn;
use super::pins::{self, MOST_PINNED};
use super::schema::{articles as rows, comments};
use super::tx::Tx;
use crate::domain::comment::Status;
use crate::domain::ids::{ArticleId, CommentId, SiteId};
use crate::domain::listing::Source;
use crate::domain::submission::ArticleKey;
use crate::domain::time::Timestamp;
use crate::error::Error;

/// Comments that are moved in one transaction; it takes some milliseconds, in which others wait.
const PIECE: i64 = 250;

/// A comment that found its article before this became an alias is written at most this much later: a transaction does not
/// live longer. Until then the alias is looked through again.
pub const LATECOMERS: Duration = Duration::from_mins(1);

/// A key that is to lead to an article.
pub struct NewAlias<'a> {
    /// Its site.
    pub site: SiteId,
    /// The key.
    pub alias: &'a ArticleKey,
    /// The id of its row, if nothing is known by this key yet.
    pub id: ArticleId,
    /// Where it leads; made if it is not there.
    pub article: &'a NewArticle<'a>,
}

/// Lets a key lead to an article, from this moment on. Returns the alias's row, the article, and whether it is new.
/// [`Error::Conflict`] when the key leads elsewhere already, or the article is an alias of this key.
pub fn add(tx: &mut Tx<'_>, new: &NewAlias<'_>, now: Timestamp) -> Result<(Article, Article, bool), Error> {
    tx.take_turn(Turn::Aliases(new.site))?;
    let (into, _) = articles::find_or_make(tx, new.article)?;
    let unseen = NewArticle { id: new.id, site_id: new.site, key: new.alias, created_at: now };
    let (led_to, _) = articles::find_or_make(tx, &unseen)?;
    let from = articles::row(tx.conn(), new.site, new.alias.as_str())?.ok_or(Error::NotFound)?;
    if from.id == into.id {
        return Err(Error::conflict("The article is an alias of this key already. Remove that alias first."));
    }
    match from.alias_of {
        Some(_) if led_to.id == into.id => return Ok((from, into, false)),
        Some(_) => return Err(Error::conflict("This key leads to another article already. Remove that alias first.")),
        None => {}
    }
    // Aliases of what becomes one lead on with it, so that a key is at most one step from its article.
    let aliases = of(tx.conn(), from.id)?;
    for id in aliases.iter().copied().chain([from.id]) {
        tx.take_turn(Turn::Article(id))?;
    }
    let may_have_comments = from.id != new.id;
    for alias in &aliases {
        let row = rows::table.find(*alias);
        on!(tx.conn(), |c| diesel::update(row).set(rows::alias_of.eq(into.id)).execute(c))?;
        tx.changed(Source::Article(*alias));
    }
    let set = (
        rows::alias_of.eq(Some(into.id)),
        rows::alias_since.eq(Some(now)),
        rows::merging.eq(may_have_comments),
        rows::moved.eq(0),
    );
    let row = rows::table.find(from.id);
    let from = on!(tx.conn(), |c| diesel::update(row).set(set).returning(Article::as_returning()).get_result(c))?;
    if may_have_comments {
        set_merging(tx, into.id, true)?;
        feedback::carry_reactions(tx, from.id, into.id)?;
        tx.adopt_hints(into.id, from.title.as_deref(), from.url.as_deref());
    }
    tx.bump_article(into.id, ArticleBump { comment_count: 0, version: 1 });
    for source in [Source::Article(from.id), Source::Article(into.id), Source::Site(new.site)] {
        tx.changed(source);
    }
    Ok((from, into, true))
}

fn set_merging(tx: &mut Tx<'_>, id: ArticleId, merging: bool) -> Result<(), Error> {
    let row = rows::table.find(id);
    on!(tx.conn(), |c| diesel::update(row).set(rows::merging.eq(merging)).execute(c))?;
    Ok(())
}

/// The aliases of an article, by id.
fn of(conn: &mut Conn, article: ArticleId) -> Result<Vec<ArticleId>, Error> {
    let aliases = rows::table.filter(rows::alias_of.eq(article)).order(rows::id);
    Ok(on!(conn, |c| aliases.select(rows::id).load(c))?)
}

/// How far a merge is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Progress {
    /// Comments that this step has moved.
    pub now: i64,
    /// Comments that were moved since the alias was made.
    pub in_all: i64,
}

impl Progress {
    /// Whether nothing is left to be moved for now.
    pub fn is_over(self) -> bool {
        self.now < PIECE
    }
}

/// Moves some comments of an alias to its article. Each keeps its id, its place in its thread and its version.
pub fn move_some(tx: &mut Tx<'_>, alias: ArticleId, now: Timestamp) -> Result<Progress, Error> {
    tx.take_turn(Turn::Article(alias))?;
    let row = articles::rows(tx.conn(), &[alias])?.remove(&alias).filter(|row| row.merging);
    let Some((row, into)) = row.and_then(|row| row.alias_of.map(|into| (row, into))) else {
        return Ok(Progress { now: 0, in_all: 0 });
    };
    // Whoever changes a comment takes the turn of where it lay first, and then that of where it went: nobody waits in a ring.
    tx.take_turn(Turn::Article(into))?;
    let found: Vec<(CommentId, Status, bool)> = on!(tx.conn(), |c| comments::table
        .filter(comments::article_id.eq(alias))
        .order((comments::status, comments::id))
        .limit(PIECE)
        .select((comments::id, comments::status, comments::pinned))
        .load(c))?;
    let number = i64::try_from(found.len()).unwrap_or(0);
    if number == 0 {
        finish(tx, &row, (into, now))?;
        return Ok(Progress { now: 0, in_all: row.moved });
    }
    let pinned: Vec<CommentId> = found.iter().filter(|(.., pinned)| *pinned).map(|(id, ..)| *id).collect();
    make_room(tx, into, &pinned)?;
    let ids: Vec<CommentId> = found.iter().map(|(id, ..)| *id).collect();
    let moved = comments::table.filter(comments::id.eq_any(&ids));
    on!(tx.conn(), |c| diesel::update(moved).set(comments::article_id.eq(into)).execute(c))?;
    let counted = rows::table.find(alias);
    on!(tx.conn(), |c| diesel::update(counted).set(rows::moved.eq(rows::moved + number)).execute(c))?;
    let public = found.iter().filter(|(_, status, _)| *status == Status::Approved).count();
    let comment_count = i64::try_from(public).unwrap_or(0);
    tx.bump_article(alias, ArticleBump { comment_count: -comment_count, version: 1 });
    tx.bump_article(into, ArticleBump { comment_count, version: 1 });
    tx.changed(Source::Article(into));
    tx.changed(Source::Site(row.site_id));
    Ok(Progress { now: number, in_all: row.moved + number })
}

/// The pinned comments of the article stay; those that come are pinned as long as there is room.
fn make_room(tx: &mut Tx<'_>, into: ArticleId, coming: &[CommentId]) -> Result<(), Error> {
    if coming.is_empty() {
        return Ok(());
    }
    let room = MOST_PINNED.saturating_sub(pins::of(tx.conn(), into)?.len());
    let surplus = comments::table.filter(comments::id.eq_any(coming.get(room..).unwrap_or_default()));
    on!(tx.conn(), |c| diesel::update(surplus).set(comments::pinned.eq(false)).execute(c))?;
    Ok(())
}

/// Once nobody can bring another comment, neither of them says any more that some are on their way.
fn finish(tx: &mut Tx<'_>, alias: &Article, (into, now): (ArticleId, Timestamp)) -> Result<(), Error> {
    if alias.alias_since.is_some_and(|since| now.minus(LATECOMERS) < since) {
        return Ok(());
    }
    set_merging(tx, alias.id, false)?;
    if articles::merging_into(tx.conn(), &[into])?.is_empty() {
        set_merging(tx, into, false)?;
    }
    Ok(())
}

/// The aliases whose comments are on their way, on all sites.
pub fn merging(conn: &mut Conn) -> Result<Vec<ArticleId>, Error> {
    let aliases = rows::table.filter(rows::merging).filter(rows::alias_of.is_not_null());
    Ok(on!(conn, |c| aliases.order(rows::id).select(rows::id).load(c))?)
}

/// Takes an alias away: nothing is known by its key any more, and what was moved stays where it is. [`Error::NotFound`] when
/// there is none, [`Error::Conflict`] while comments are on their way.
pub fn remove(tx: &mut Tx<'_>, site: SiteId, alias: &str) -> Result<(), Error> {
    tx.take_turn(Turn::Aliases(site))?;
    let row = articles::row(tx.conn(), site, alias)?.filter(|row| row.alias_of.is_some()).ok_or(Error::NotFound)?;
    if row.merging {
        return Err(Error::conflict("Comments of this article are still being moved. Try again in a minute or two."));
    }
    on!(tx.conn(), |c| diesel::delete(rows::table.find(row.id)).execute(c))?;
    tx.changed(Source::Article(row.id));
    tx.changed(Source::NewArticles(site));
    Ok(())
}

/// A page of a site's aliases, by key, each with the article that it leads to.
pub fn page(conn: &mut Conn, (site, limit): (SiteId, i64), after: &str) -> Result<Vec<(Article, Article)>, Error> {
    let aliases: Vec<Article> = on!(&mut *conn, |c| rows::table
        .filter(rows::site_id.eq(site))
        .filter(rows::alias_of.is_not_null())
        .filter(rows::key.gt(after))
        .order(rows::key)
        .limit(limit)
        .select(Article::as_select())
        .load(c))?;
    let of: Vec<ArticleId> = aliases.iter().filter_map(|alias| alias.alias_of).collect();
    let led_to = articles::rows(conn, &of)?;
    let both =
        |alias: Article| Some((led_to.get(&alias.alias_of?)?.clone(), alias)).map(|(article, alias)| (alias, article));
    Ok(aliases.into_iter().filter_map(both).collect())
}
