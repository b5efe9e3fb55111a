//! The comments table: the one place that writes a comment, changes its state or its text, and carries the change to
//! everything that counts or shows it (the parent's replies, the article, the site, the author, the search index).

use std::time::Duration;

use diesel::prelude::*;
use serde::{Deserialize, Serialize};

use super::conn::{Conn, in_chunks, on};
use super::fragments::{ArticleBump, AuthorBump, SetState};
use super::neighbours::{Turn, in_one_order};
use super::schema::comments;
use super::site_counts::SiteBump;
use super::tx::Tx;
use super::{feedback, idempotency, words};
use crate::domain::comment::{Badge, HoldReason, Status};
use crate::domain::ids::{ArticleId, AuthorId, CommentId, SiteId};
use crate::domain::listing::Source;
use crate::domain::time::Timestamp;
use crate::error::Error;

/// A comment, whole.
#[derive(Debug, Clone, Queryable, Selectable, Insertable)]
#[diesel(table_name = comments, treat_none_as_default_value = false)]
#[diesel(check_for_backend(diesel::sqlite::Sqlite))]
#[cfg_attr(feature = "postgres", diesel(check_for_backend(diesel::pg::Pg)))]
#[expect(missing_docs, reason = "the columns are documented in migrations/")]
pub struct Comment {
    pub id: CommentId,
    pub site_id: SiteId,
    pub article_id: ArticleId,
    pub parent_id: Option<CommentId>,
    pub root_id: CommentId,
    pub depth: i16,
    pub path: Vec<u8>,
    pub status: Status,
    pub visible: bool,
    pub author_id: AuthorId,
    pub name: String,
    pub website: Option<String>,
    pub body: String,
    pub body_html: String,
    pub renderer: i16,
    pub email_sealed: Option<Vec<u8>>,
    pub email_hash: Option<Vec<u8>>,
    pub sender_sealed: Option<Vec<u8>>,
    pub article_title: Option<String>,
    pub article_url: Option<String>,
    pub waiting_edit: Option<String>,
    pub replaced_text: Option<String>,
    pub hold_reasons: String,
    pub spam_score: Option<f64>,
    pub notify: bool,
    pub badge: Option<Badge>,
    pub pinned: bool,
    pub votes_up: i32,
    pub votes_down: i32,
    pub score: i32,
    pub reply_count: i32,
    pub visible_children: i32,
    pub version: i64,
    pub text_hash: Vec<u8>,
    pub created_at: Timestamp,
    pub edited_at: Option<Timestamp>,
}

/// One version of what an author wrote.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Text {
    /// The name.
    pub name: String,
    /// The website.
    pub website: Option<String>,
    /// The text as typed.
    pub body: String,
    /// The text as rendered.
    pub body_html: String,
    /// The renderer's version.
    pub renderer: i16,
    /// When the author wrote it; none for the first version.
    pub edited_at: Option<i64>,
    /// Keyed hash that finds a double.
    pub text_hash: Vec<u8>,
}

impl Comment {
    /// What is public, or would be.
    pub fn text(&self) -> Text {
        Text {
            name: self.name.clone(),
            website: self.website.clone(),
            body: self.body.clone(),
            body_html: self.body_html.clone(),
            renderer: self.renderer,
            edited_at: self.edited_at.map(|at| at.0),
            text_hash: self.text_hash.clone(),
        }
    }

    /// The author's new text that waits while the approved one stays public.
    pub fn waiting_edit(&self) -> Option<Text> {
        self.waiting_edit.as_deref().and_then(|json| serde_json::from_str(json).ok())
    }

    /// The text before the last published edit.
    pub fn replaced_text(&self) -> Option<Text> {
        self.replaced_text.as_deref().and_then(|json| serde_json::from_str(json).ok())
    }

    /// Why it was held.
    pub fn hold_reasons(&self) -> Vec<HoldReason> {
        serde_json::from_str(&self.hold_reasons).unwrap_or_default()
    }
}

fn to_json<T: Serialize>(value: &T) -> Result<String, Error> {
    serde_json::to_string(value).map_err(Error::internal)
}

/// Hold reasons as they are stored.
pub fn reasons_json(reasons: &[HoldReason]) -> Result<String, Error> {
    to_json(&reasons)
}

/// Writes new comments that are not public, with as few statements as the database likes.
pub(super) fn insert_all(conn: &mut Conn, rows: &[Comment]) -> Result<(), Error> {
    in_chunks!(conn, rows, |chunk, c| diesel::insert_into(comments::table).values(chunk).execute(c));
    Ok(())
}

/// Adds a comment and carries its arrival to everything that counts or shows it.
pub fn insert(tx: &mut Tx<'_>, comment: &Comment) -> Result<(), Error> {
    if comment.status == Status::Approved && comment.parent_id.is_some() {
        // It changes its parent.
        tx.take_turn(Turn::Article(comment.article_id))?;
    }
    if tx.arrives && comment.status != Status::Approved && comment.parent_id.is_none() {
        // Nobody can ask for it before the group is written. One that is refused takes the same way as one that waits.
        tx.add_comment(comment.clone());
    } else {
        on!(tx.conn(), |c| diesel::insert_into(comments::table).values(comment).execute(c))?;
    }
    tx.index(comment.id, &comment.name, &comment.body);
    carry(tx, comment, None, comment.status)
}

/// The comment with this id, unless it was removed.
pub fn find(conn: &mut Conn, id: CommentId) -> Result<Option<Comment>, Error> {
    let comment: Option<Comment> =
        on!(conn, |c| comments::table.find(id).select(Comment::as_select()).get_result(c).optional())?;
    Ok(comment.filter(|comment| comment.status != Status::Removed))
}

/// The comment with this id, to be changed in this transaction: nobody else changes it, its thread or its article's list
/// until the end of it.
pub fn find_to_change(tx: &mut Tx<'_>, id: CommentId) -> Result<Option<Comment>, Error> {
    if !tx.conn().is_shared() {
        return find(tx.conn(), id);
    }
    let mut place = on!(tx.conn(), |c| comments::table
        .find(id)
        .select(comments::article_id)
        .get_result::<ArticleId>(c)
        .optional())?;
    while let Some(article) = place {
        tx.take_turn(Turn::Article(article))?;
        let found = find(tx.conn(), id)?;
        // It may have moved to another article before this had its turn.
        place = found.as_ref().map(|comment| comment.article_id).filter(|now| *now != article);
        if place.is_none() {
            return Ok(found);
        }
    }
    Ok(None)
}

/// What a reply needs to know of the comment that it answers.
#[derive(Debug, Clone, Queryable, Selectable)]
#[diesel(table_name = comments)]
#[diesel(check_for_backend(diesel::sqlite::Sqlite))]
#[cfg_attr(feature = "postgres", diesel(check_for_backend(diesel::pg::Pg)))]
pub struct Parent {
    /// Its article.
    pub article_id: ArticleId,
    /// Its state.
    pub status: Status,
    /// Its depth.
    pub depth: i16,
    /// Its place in reading order.
    pub path: Vec<u8>,
    /// Its thread.
    pub root_id: CommentId,
}

/// The comment that a reply names.
pub fn find_parent(conn: &mut Conn, id: CommentId) -> Result<Option<Parent>, Error> {
    Ok(on!(conn, |c| comments::table.find(id).select(Parent::as_select()).get_result(c).optional())?)
}

/// How long the same name and text on the same article count as a double (contract §1).
pub(super) const DOUBLE_WITHIN: Duration = Duration::from_hours(24);

/// Whether the same name and text (their hashes, one for each secret key) came to this article within a day; a comment that
/// was removed does not count. Until the transaction ends nobody else gets an answer about the same text.
pub fn is_double(tx: &mut Tx<'_>, article: ArticleId, text_hashes: &[Vec<u8>], now: Timestamp) -> Result<bool, Error> {
    for text_hash in in_one_order(text_hashes) {
        if tx.is_coming(article, text_hash) {
            return Ok(true);
        }
        if tx.known().is_free(article, text_hash) {
            continue;
        }
        tx.take_turn(Turn::Text(article, text_hash))?;
        let same: Option<CommentId> = on!(tx.conn(), |c| comments::table
            .filter(comments::article_id.eq(article))
            .filter(comments::text_hash.eq(text_hash))
            .filter(comments::created_at.gt(now.minus(DOUBLE_WITHIN)))
            .filter(comments::status.ne(Status::Removed))
            .select(comments::id)
            .limit(1)
            .get_result(c)
            .optional())?;
        if same.is_some() {
            return Ok(true);
        }
    }
    Ok(false)
}

/// What a change of state writes beside the state.
#[derive(Debug, Clone, Default)]
pub struct StateChange {
    /// The new state.
    pub to: Option<Status>,
    /// A new public text.
    pub text: Option<Text>,
    /// The waiting edit afterwards; `None` leaves it as it is.
    pub waiting_edit: Option<Option<Text>>,
    /// The replaced text afterwards.
    pub replaced_text: Option<Text>,
    /// New reasons; `None` leaves them.
    pub hold_reasons: Option<Vec<HoldReason>>,
    /// The score afterwards; `None` leaves the one that is there.
    pub spam_score: Option<Option<f64>>,
}

/// Changes a comment and raises its version. Returns it as it is afterwards (its counters as they were).
pub fn change(tx: &mut Tx<'_>, before: &Comment, change: &StateChange) -> Result<Comment, Error> {
    let mut after = before.clone();
    after.version += 1;
    after.status = change.to.unwrap_or(before.status);
    after.replaced_text = change.replaced_text.as_ref().map(to_json).transpose()?;
    if let Some(edit) = &change.waiting_edit {
        after.waiting_edit = edit.as_ref().map(to_json).transpose()?;
    }
    if let Some(reasons) = &change.hold_reasons {
        after.hold_reasons = reasons_json(reasons)?;
    }
    after.spam_score = change.spam_score.unwrap_or(before.spam_score);
    after.visible = stands(after.status, before.visible_children);
    on!(tx.conn(), |c| SetState::of(&after).execute(c))?;
    if let Some(text) = &change.text {
        write_text(tx, &mut after, text)?;
    }
    carry(tx, before, Some(before.status), after.status)?;
    if change.text.is_some() && before.visible && after.visible {
        lists_change(tx, before, 0);
    }
    Ok(after)
}

fn write_text(tx: &mut Tx<'_>, comment: &mut Comment, text: &Text) -> Result<(), Error> {
    comment.name.clone_from(&text.name);
    comment.website.clone_from(&text.website);
    comment.body.clone_from(&text.body);
    comment.body_html.clone_from(&text.body_html);
    comment.renderer = text.renderer;
    comment.edited_at = text.edited_at.map(Timestamp);
    comment.text_hash.clone_from(&text.text_hash);
    let set = (
        comments::name.eq(&text.name),
        comments::website.eq(&text.website),
        comments::body.eq(&text.body),
        comments::body_html.eq(&text.body_html),
        comments::renderer.eq(text.renderer),
        comments::edited_at.eq(comment.edited_at),
        comments::text_hash.eq(&text.text_hash),
    );
    on!(tx.conn(), |c| diesel::update(comments::table.find(comment.id)).set(set).execute(c))?;
    words::replace(tx, comment.id, &text.name, &text.body)
}

/// Removes a comment for good. With replies below it a row without any text stays, as long as they do.
pub fn remove(tx: &mut Tx<'_>, comment: &Comment) -> Result<(), Error> {
    carry(tx, comment, Some(comment.status), Status::Removed)?;
    words::forget(tx, comment.id)?;
    idempotency::forget(tx, comment)?;
    feedback::forget(tx, comment.id)?;
    if has_children(tx.conn(), comment.id)? {
        return wipe(tx, comment);
    }
    let mut id = Some(comment.id);
    let mut parent = comment.parent_id;
    while let Some(gone) = id {
        on!(tx.conn(), |c| diesel::delete(comments::table.find(gone)).execute(c))?;
        // A wiped comment was kept for this reply alone.
        id = match parent {
            Some(above) => wiped_without_children(tx.conn(), above)?.then_some(above),
            None => None,
        };
        parent = match id {
            Some(id) => on!(tx.conn(), |c| comments::table.find(id).select(comments::parent_id).get_result(c))?,
            None => None,
        };
    }
    words::numbers_may_return(tx)
}

fn has_children(conn: &mut Conn, id: CommentId) -> Result<bool, Error> {
    let child: Option<CommentId> = on!(conn, |c| comments::table
        .filter(comments::parent_id.eq(id))
        .select(comments::id)
        .limit(1)
        .get_result(c)
        .optional())?;
    Ok(child.is_some())
}

fn wiped_without_children(conn: &mut Conn, id: CommentId) -> Result<bool, Error> {
    let status: Status = on!(&mut *conn, |c| comments::table.find(id).select(comments::status).get_result(c))?;
    Ok(status == Status::Removed && !has_children(conn, id)?)
}

fn wipe(tx: &mut Tx<'_>, comment: &Comment) -> Result<(), Error> {
    let nothing = (
        (comments::status.eq(Status::Removed), comments::version.eq(comment.version + 1)),
        comments::visible.eq(stands(Status::Removed, comment.visible_children)),
        (comments::name.eq(""), comments::website.eq(None::<String>)),
        (comments::body.eq(""), comments::body_html.eq("")),
        (comments::email_sealed.eq(None::<Vec<u8>>), comments::email_hash.eq(None::<Vec<u8>>)),
        (comments::sender_sealed.eq(None::<Vec<u8>>), comments::text_hash.eq(Vec::new())),
        (comments::article_title.eq(None::<String>), comments::article_url.eq(None::<String>)),
        (comments::waiting_edit.eq(None::<String>), comments::replaced_text.eq(None::<String>)),
        (comments::hold_reasons.eq("[]"), comments::notify.eq(false), comments::pinned.eq(false)),
    );
    on!(tx.conn(), |c| diesel::update(comments::table.find(comment.id)).set(nothing).execute(c))?;
    Ok(())
}

/// Whether a comment stands in the public list: in full, or as `removed` while something below it does.
fn stands(status: Status, visible_children: i32) -> bool {
    status == Status::Approved || visible_children > 0
}

/// Carries a comment's way from one state (none: it is new) to another to the counters, the parent and the public list.
fn carry(tx: &mut Tx<'_>, comment: &Comment, from: Option<Status>, to: Status) -> Result<(), Error> {
    if from != Some(to) {
        let moved = SiteBump::of_move(from, to);
        tx.bump_site(comment.site_id, moved);
        let author = AuthorBump::from(moved);
        if author != AuthorBump::default() {
            tx.bump_author(comment.author_id, author);
        }
    }
    let public = i64::from(to == Status::Approved) - i64::from(from == Some(Status::Approved));
    let was_visible = from.is_some() && comment.visible;
    let visible = i32::from(stands(to, comment.visible_children)) - i32::from(was_visible);
    if public > 0 {
        tx.adopt_hints(comment.article_id, comment.article_title.as_deref(), comment.article_url.as_deref());
    }
    if let Some(parent) = comment.parent_id {
        tell_parents(tx, parent, i32::try_from(public).unwrap_or(0), visible)?;
    }
    if public != 0 || visible != 0 {
        lists_change(tx, comment, public);
    }
    Ok(())
}

/// Readers see the lists with this comment otherwise from now on.
pub(super) fn lists_change(tx: &mut Tx<'_>, comment: &Comment, comment_count: i64) {
    tx.bump_article(comment.article_id, ArticleBump { comment_count, version: 1 });
    tx.changed(Source::Article(comment.article_id));
    tx.changed(Source::Site(comment.site_id));
}

/// Tells the parent of a reply that became public or stopped being so. A removed parent stands in the list as long as a
/// reply below it does, so its own parent may have to be told as well; threads are at most as deep as the settings allow.
fn tell_parents(tx: &mut Tx<'_>, parent: CommentId, public: i32, visible: i32) -> Result<(), Error> {
    let mut next = (public != 0 || visible != 0).then_some(parent);
    let (mut replies, mut children) = (public, visible);
    while let Some(id) = next {
        let is_visible = comments::status.eq(Status::Approved).or((comments::visible_children + children).gt(0));
        let set = (
            comments::reply_count.eq(comments::reply_count + replies),
            comments::visible_children.eq(comments::visible_children + children),
            comments::visible.eq(is_visible),
        );
        let (status, now, above): (Status, i32, Option<CommentId>) =
            on!(tx.conn(), |c| diesel::update(comments::table.find(id))
                .set(set)
                .returning((comments::status, comments::visible_children, comments::parent_id))
                .get_result(c))?;
        let stood = stands(status, now - children);
        children = i32::from(stands(status, now)) - i32::from(stood);
        replies = 0;
        next = if children == 0 { None } else { above };
    }
    Ok(())
}
