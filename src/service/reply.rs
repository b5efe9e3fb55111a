//! Staff replies: what a moderator answers is public at once, under the account's name and with the badge of the site's own
//! people. A comment that waits is approved with its answer, in one transaction.

use std::sync::Arc;

use super::moderation::{Authority, Order, Ruling, Target, refuse_other_version, visible_to};
use super::own::Patch;
use super::submission::Repeatable;
use super::{Actor, Service};
use crate::domain::comment::{Action, Badge, Decision, Status};
use crate::domain::fault::Fault;
use crate::domain::ids::{AuthorId, CommentId};
use crate::domain::listing::ReadingPath;
use crate::domain::render::{RENDERER, render};
use crate::domain::text::{Body, double_form};
use crate::domain::time::Timestamp;
use crate::error::Error;
use crate::storage::comments::{self, Comment};
use crate::storage::idempotency::{self, Remembered};
use crate::storage::{Tx, accounts, authors};

/// An answer to a comment.
#[derive(Debug, Clone)]
pub struct Reply {
    /// To which.
    pub target: Target,
    /// Its text.
    pub patch: Patch,
    /// What makes the request repeatable, if it carried an `Idempotency-Key`.
    pub repeatable: Option<Repeatable>,
}

/// A legal answer, who gives it, and when.
struct Answer<'a> {
    reply: &'a Reply,
    body: &'a Body,
    authority: &'a Authority,
    now: Timestamp,
}

impl Service {
    /// Publishes an answer. [`Error::Conflict`] when the comment is rejected or spam, [`Error::Invalid`] when replies end
    /// above it. Closing keeps visitors out, not the site's own people.
    pub async fn reply(self: &Arc<Self>, authority: Authority, reply: Reply) -> Result<Comment, Error> {
        let body = reply.patch.body.clone().ok_or_else(|| Error::Invalid(vec![Fault::required("body")]))?;
        let (service, now) = (self.clone(), self.clock.now());
        self.db
            .write(move |tx| service.reply_in(tx, &Answer { reply: &reply, body: &body, authority: &authority, now }))
            .await
    }

    fn reply_in(&self, tx: &mut Tx<'_>, answer: &Answer<'_>) -> Result<Comment, Error> {
        let Answer { reply, authority, now, .. } = *answer;
        let anyway = Target { id: reply.target.id, versions: None };
        let parent = visible_to(tx, &authority.access, &anyway)?;
        let comment = self.new_reply(&parent, answer);
        if let Some(first) = self.first_reply(tx, answer, &comment)? {
            return Ok(first);
        }
        refuse_other_version(&reply.target, &parent)?;
        if !matches!(parent.status, Status::Pending | Status::Approved) {
            return Err(Error::conflict("Only a public or a waiting comment can be answered. Approve it first."));
        }
        if comment.depth >= self.rules.max_depth {
            let ends = "Replies end at this level. Answer the comment above it.";
            return Err(Error::Invalid(vec![Fault::new("parent_id", "too_deep", ends)]));
        }
        if parent.status == Status::Pending {
            let order = Order { target: anyway, decision: Decision::Approve, reason: None };
            self.decide_in(tx, &Ruling { order: &order, authority, now })?;
        }
        let account = accounts::find(tx.conn(), authority.access.account)?.ok_or(Error::NotFound)?;
        let (id, site_id) = (comment.author_id, comment.site_id);
        tx.add_author(authors::Author { id, site_id, approved: 0, rejected: 0, spam: 0, created_at: now });
        comments::insert(tx, &comment)?;
        let actor = Actor { account: Some(account.id), via: authority.via, at: now };
        let mut event = self.event(&comment, actor, Action::Submitted);
        event.from_status = None;
        self.record(tx, &comment, event);
        Ok(comment)
    }

    /// The answer that the same request got before. A key is remembered beside those of the site's visitors, in a scope of
    /// the account's own.
    fn first_reply(&self, tx: &mut Tx<'_>, answer: &Answer<'_>, comment: &Comment) -> Result<Option<Comment>, Error> {
        let Some(Repeatable { key, request }) = &answer.reply.repeatable else { return Ok(None) };
        let (site, account) = (comment.site_id, answer.authority.access.account);
        let scope: [&[u8]; 4] = [site.as_bytes(), b"reply", account.as_bytes(), key.as_bytes()];
        let key_hashes = self.keys.request_hashes(&scope);
        let request_hashes = self.keys.request_hashes(&[answer.reply.target.id.as_bytes(), request]);
        let remembered = Remembered {
            site_id: site,
            key_hash: key_hashes.first().cloned().unwrap_or_default(),
            request_hash: request_hashes.first().cloned().unwrap_or_default(),
            comment_id: comment.id,
            author_id: comment.author_id,
            status: Status::Approved.number(),
            answer: String::new(),
            created_at: answer.now,
        };
        if idempotency::remember(tx, &remembered, &key_hashes)? {
            return Ok(None);
        }
        let first = idempotency::find(tx.conn(), site, &key_hashes, answer.now)?.ok_or(Error::Busy)?;
        if !request_hashes.contains(&first.request_hash) {
            return Err(Error::IdempotencyKeyReused);
        }
        comments::find(tx.conn(), first.comment_id)?.ok_or(Error::NotFound).map(Some)
    }

    fn new_reply(&self, parent: &Comment, answer: &Answer<'_>) -> Comment {
        let id = CommentId(self.ids.next());
        let (name, body) = (answer.authority.access.name.clone(), answer.body);
        Comment {
            id,
            site_id: parent.site_id,
            article_id: parent.article_id,
            parent_id: Some(parent.id),
            root_id: parent.root_id,
            depth: parent.depth + 1,
            path: ReadingPath::below(Some(&parent.path), id).0,
            status: Status::Approved,
            visible: true,
            author_id: AuthorId(self.ids.next()),
            text_hash: self.keys.text_hash(&double_form(&name, body.as_str())),
            name,
            website: None,
            body: body.as_str().to_owned(),
            body_html: render(body),
            renderer: RENDERER,
            email_sealed: None,
            email_hash: None,
            sender_sealed: None,
            article_title: None,
            article_url: None,
            waiting_edit: None,
            replaced_text: None,
            hold_reasons: "[]".to_owned(),
            spam_score: None,
            notify: false,
            badge: Some(Badge::Staff),
            pinned: false,
            votes_up: 0,
            votes_down: 0,
            score: 0,
            reply_count: 0,
            visible_children: 0,
            version: 1,
            created_at: answer.now,
            edited_at: None,
        }
    }
}
