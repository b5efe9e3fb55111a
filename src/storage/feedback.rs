//! Votes, reactions and flags: one row for each visitor, and the counts that they make. A visitor is known by two hashes, of
//! this month and of the one before; a row that lies under the older one is theirs as well. All of it happens in the turn of
//! the article, so that counts are exact whoever else writes; the primary keys say the same.

use std::collections::BTreeMap;

use diesel::prelude::*;

use super::articles::{self, Article, NewArticle};
use super::comments::{self, Comment};
use super::conn::{Conn, on};
use super::fragments::ArticleBump;
use super::neighbours::Turn;
use super::schema::{comments as comment_rows, flags, reaction_counts, reactions, votes};
use super::tx::Tx;
use crate::domain::feedback::{FlagReason, Vote};
use crate::domain::ids::{ArticleId, CommentId, SiteId};
use crate::domain::listing::Source;
use crate::domain::time::Timestamp;
use crate::error::Error;

/// Who speaks: keyed hashes, the one of this month first.
#[derive(Debug, Clone)]
pub struct Visitor(pub [Vec<u8>; 2]);

impl Visitor {
    fn now(&self) -> &Vec<u8> {
        let [now, _] = &self.0;
        now
    }
}

/// Writes a visitor's vote on a public comment (none: takes it back). Returns the comment's votes afterwards, up and down.
pub fn vote(
    tx: &mut Tx<'_>,
    comment: &Comment,
    (visitor, value): (&Visitor, Option<Vote>),
    at: Timestamp,
) -> Result<(i32, i32), Error> {
    let theirs = || votes::table.filter(votes::comment_id.eq(comment.id)).filter(votes::visitor.eq_any(&visitor.0));
    let before: Vec<i16> = on!(tx.conn(), |c| theirs().select(votes::value).load(c))?;
    let after = value.map(Vote::value);
    if before.first().copied() != after || before.len() > 1 {
        let rows = votes::table.filter(votes::comment_id.eq(comment.id)).filter(votes::visitor.eq_any(&visitor.0));
        on!(tx.conn(), |c| diesel::delete(rows).execute(c))?;
        if let Some(value) = after {
            let row = (
                votes::comment_id.eq(comment.id),
                votes::visitor.eq(visitor.now()),
                votes::value.eq(value),
                votes::at.eq(at),
            );
            on!(tx.conn(), |c| diesel::insert_into(votes::table).values(row).execute(c))?;
        }
    }
    let change = |wanted: i16| {
        let count = |there: i16| i32::from(there == wanted);
        after.map_or(0, count) - before.iter().copied().map(count).sum::<i32>()
    };
    let (up, down) = (change(1), change(-1));
    if (up, down) != (0, 0) {
        let set = (
            comment_rows::votes_up.eq(comment_rows::votes_up + up),
            comment_rows::votes_down.eq(comment_rows::votes_down + down),
            comment_rows::score.eq(comment_rows::score + up - down),
        );
        on!(tx.conn(), |c| diesel::update(comment_rows::table.find(comment.id)).set(set).execute(c))?;
    }
    Ok((comment.votes_up + up, comment.votes_down + down))
}

/// Readers see the votes of an article's comments from now on.
pub fn show_votes(tx: &mut Tx<'_>, article: ArticleId, site: SiteId) {
    tx.bump_article(article, ArticleBump { comment_count: 0, version: 1 });
    tx.changed(Source::Article(article));
    tx.changed(Source::Site(site));
}

/// The article that gets a reaction, made if it is not there: nobody else changes its reactions until the end of the
/// transaction.
pub fn article_to_react(tx: &mut Tx<'_>, new: &NewArticle<'_>) -> Result<Article, Error> {
    let (mut article, _) = articles::find_or_make(tx, new)?;
    loop {
        tx.take_turn(Turn::Article(article.id))?;
        // It may have become an alias before this had its turn.
        let now = articles::find(tx.conn(), new.site_id, new.key.as_str())?.ok_or(Error::Busy)?;
        if now.id == article.id {
            return Ok(now);
        }
        article = now;
    }
}

/// Writes a visitor's reaction (none: takes it back).
pub fn react(
    tx: &mut Tx<'_>,
    article: ArticleId,
    (visitor, reaction): (&Visitor, Option<&str>),
    at: Timestamp,
) -> Result<(), Error> {
    let before = yours(tx.conn(), article, visitor)?;
    if before.as_deref() == reaction {
        return Ok(());
    }
    let rows = reactions::table.filter(reactions::article_id.eq(article)).filter(reactions::visitor.eq_any(&visitor.0));
    on!(tx.conn(), |c| diesel::delete(rows).execute(c))?;
    if let Some(reaction) = reaction {
        let row = (
            reactions::article_id.eq(article),
            reactions::visitor.eq(visitor.now()),
            reactions::reaction.eq(reaction),
            reactions::at.eq(at),
        );
        on!(tx.conn(), |c| diesel::insert_into(reactions::table).values(row).execute(c))?;
        count(tx, article, (reaction, 1))?;
    }
    match before {
        Some(before) => count(tx, article, (&before, -1)),
        None => Ok(()),
    }
}

fn count(tx: &mut Tx<'_>, article: ArticleId, (reaction, by): (&str, i64)) -> Result<(), Error> {
    let there = reaction_counts::table.find((article, reaction));
    let set = reaction_counts::count.eq(reaction_counts::count + by);
    if on!(tx.conn(), |c| diesel::update(there).set(set).execute(c))? == 0 {
        let row = (
            reaction_counts::article_id.eq(article),
            reaction_counts::reaction.eq(reaction),
            reaction_counts::count.eq(by),
        );
        on!(tx.conn(), |c| diesel::insert_into(reaction_counts::table).values(row).execute(c))?;
    }
    Ok(())
}

/// Adds the reactions to an article to those of the one that it becomes. Who they came from is told by nothing but a hash
/// that holds for one article, so it is forgotten with the article.
pub(super) fn carry_reactions(tx: &mut Tx<'_>, from: ArticleId, into: ArticleId) -> Result<(), Error> {
    let of = reaction_counts::table.filter(reaction_counts::article_id.eq(from));
    let counts: Vec<(String, i64)> =
        on!(tx.conn(), |c| of.select((reaction_counts::reaction, reaction_counts::count)).load(c))?;
    if counts.is_empty() {
        return Ok(());
    }
    tx.take_turn(Turn::Article(into))?;
    for (reaction, by) in &counts {
        count(tx, into, (reaction, *by))?;
    }
    on!(tx.conn(), |c| diesel::delete(of).execute(c))?;
    let rows = reactions::table.filter(reactions::article_id.eq(from));
    on!(tx.conn(), |c| diesel::delete(rows).execute(c))?;
    Ok(())
}

/// A visitor's reaction to an article.
pub fn yours(conn: &mut Conn, article: ArticleId, visitor: &Visitor) -> Result<Option<String>, Error> {
    Ok(on!(conn, |c| reactions::table
        .filter(reactions::article_id.eq(article))
        .filter(reactions::visitor.eq_any(&visitor.0))
        .select(reactions::reaction)
        .limit(1)
        .get_result(c)
        .optional())?)
}

/// How many have reacted to articles, and how.
pub fn reaction_counts_of(
    conn: &mut Conn,
    articles: &[ArticleId],
) -> Result<BTreeMap<ArticleId, BTreeMap<String, i64>>, Error> {
    let rows: Vec<(ArticleId, String, i64)> = on!(conn, |c| reaction_counts::table
        .filter(reaction_counts::article_id.eq_any(articles))
        .filter(reaction_counts::count.gt(0))
        .load(c))?;
    let mut all: BTreeMap<ArticleId, BTreeMap<String, i64>> = BTreeMap::new();
    for (article, reaction, count) in rows {
        all.entry(article).or_default().insert(reaction, count);
    }
    Ok(all)
}

/// What a visitor said against a comment.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Flag {
    /// Why.
    pub reason: FlagReason,
    /// In their words; for moderators alone.
    pub note: Option<String>,
    /// When.
    pub at: Timestamp,
}

/// Keeps a flag, unless this visitor has flagged the comment before. Returns whether it is new.
pub fn flag(tx: &mut Tx<'_>, comment: CommentId, visitor: &Visitor, flag: &Flag) -> Result<bool, Error> {
    let theirs = flags::table.filter(flags::comment_id.eq(comment)).filter(flags::visitor.eq_any(&visitor.0));
    if on!(tx.conn(), |c| theirs.count().get_result::<i64>(c))? > 0 {
        return Ok(false);
    }
    let row = (
        flags::comment_id.eq(comment),
        flags::visitor.eq(visitor.now()),
        flags::reason.eq(flag.reason),
        flags::note.eq(&flag.note),
        flags::at.eq(flag.at),
    );
    on!(tx.conn(), |c| diesel::insert_into(flags::table).values(row).execute(c))?;
    Ok(true)
}

/// The flags of a comment, oldest first.
pub fn flags_of(conn: &mut Conn, comment: CommentId) -> Result<Vec<Flag>, Error> {
    Ok(flags_of_all(conn, &[comment])?.remove(&comment).unwrap_or_default())
}

/// The flags of several comments, the oldest of each first.
pub fn flags_of_all(conn: &mut Conn, comments: &[CommentId]) -> Result<BTreeMap<CommentId, Vec<Flag>>, Error> {
    let rows: Vec<(CommentId, FlagReason, Option<String>, Timestamp)> = on!(conn, |c| flags::table
        .filter(flags::comment_id.eq_any(comments))
        .select((flags::comment_id, flags::reason, flags::note, flags::at))
        .order((flags::comment_id, flags::at, flags::visitor))
        .load(c))?;
    let mut all: BTreeMap<CommentId, Vec<Flag>> = BTreeMap::new();
    for (comment, reason, note, at) in rows {
        all.entry(comment).or_default().push(Flag { reason, note, at });
    }
    Ok(all)
}

/// Forgets who voted on a comment that was removed, and who said what against it.
pub(super) fn forget(tx: &mut Tx<'_>, comment: CommentId) -> Result<(), Error> {
    on!(tx.conn(), |c| diesel::delete(votes::table.filter(votes::comment_id.eq(comment))).execute(c))?;
    on!(tx.conn(), |c| diesel::delete(flags::table.filter(flags::comment_id.eq(comment))).execute(c))?;
    Ok(())
}

/// Forgets who said what before a moment, at most `limit` rows of each table; what it counted stays. Returns how many.
pub fn sweep(tx: &mut Tx<'_>, before: Timestamp, limit: i64) -> Result<usize, Error> {
    macro_rules! sweep {
        ($table:ident, $of:ident, $id:ty) => {{
            let old = $table::table.filter($table::at.le(before)).order($table::at).limit(limit);
            let keys: Vec<($id, Vec<u8>)> = on!(tx.conn(), |c| old.select(($table::$of, $table::visitor)).load(c))?;
            for key in &keys {
                on!(tx.conn(), |c| diesel::delete($table::table.find((key.0, &key.1))).execute(c))?;
            }
            keys.len()
        }};
    }
    let votes = sweep!(votes, comment_id, CommentId);
    let reactions = sweep!(reactions, article_id, ArticleId);
    Ok(votes + reactions + sweep!(flags, comment_id, CommentId))
}

/// The comment that a reader speaks of, if it is public: nobody changes it until the end of the transaction.
pub fn public_to_change(tx: &mut Tx<'_>, id: CommentId) -> Result<Comment, Error> {
    use crate::domain::comment::Status;
    let found = comments::find_to_change(tx, id)?;
    found.filter(|comment| comment.status == Status::Approved).ok_or(Error::NotFound)
}
