//! Taking a comment that is right: it is judged, sealed, and written with its event, its work and the answer to be repeated,
//! in one transaction.

use std::sync::Arc;

use ipnet::IpNet;

use super::private_fields::{Private, Sender};
use super::submission::{Draft, Envelope, IdempotencyRequest, Receipt, find_parent, replay};
use super::{Actor, Service, outside_status};
use crate::domain::comment::{Action, Status};
use crate::domain::email::Email;
use crate::domain::ids::{ArticleId, AuthorId, CommentId};
use crate::domain::listing::ReadingPath;
use crate::domain::policy::{Facts, FormSign};
use crate::domain::render::{RENDERER, render};
use crate::domain::rules::judge::Decided;
use crate::domain::rules::subject::Subject;
use crate::domain::site_settings::FormTokens;
use crate::domain::submission::unknown_parent;
use crate::domain::time::Timestamp;
use crate::domain::web::WebAddress;
use crate::error::Error;
use crate::keys::{Keys, Sealer};
use crate::storage::arrivals::Arrival;
use crate::storage::articles::{Article, NewArticle};
use crate::storage::comments::{self, Comment, reasons_json};
use crate::storage::idempotency::{self, Remembered};
use crate::storage::{Tx, articles, authors};

impl Receipt {
    fn of(comment: &Comment) -> Self {
        Self {
            id: comment.id,
            site_id: comment.site_id,
            author_id: comment.author_id,
            parent_id: comment.parent_id,
            depth: comment.depth,
            name: comment.name.clone(),
            website: comment.website.clone(),
            body_html: comment.body_html.clone(),
            created_at: comment.created_at.0,
            status: outside_status(comment.status),
        }
    }
}

impl Draft {
    fn facts(&self, calm: bool, form: FormSign) -> Facts {
        let trusted = self.author.is_some_and(|author| author.approved > 0);
        Facts { trusted, honeypot: self.submission.honeypot, flooded: !calm, form, edit: false }
    }

    /// What rules look at. Whoever comes without a valid author token has no history.
    fn subject<'a>(&'a self, body_html: &'a str, at: Timestamp) -> Subject<'a> {
        Subject {
            name: self.submission.name.as_str(),
            email: self.submission.email.as_ref().map(Email::as_str),
            email_is_hidden: false,
            website: self.submission.website.as_ref().map(WebAddress::as_str),
            body: self.submission.body.as_str(),
            body_html,
            author: self.author.map(|author| author.history()).unwrap_or_default(),
            address: self.envelope.client.map(IpNet::from),
            at,
        }
    }
}

impl Service {
    /// Writes a comment. `calm` says whether its e-mail address is below its ceiling; above it the comment is held without
    /// a mail, and its sender cannot tell.
    pub async fn store(self: &Arc<Self>, draft: Draft, calm: bool) -> Result<Receipt, Error> {
        let now = self.clock.now();
        let sealer = self.keys.sealer()?;
        let body_html = render(&draft.submission.body);
        let verdict =
            self.verdict(&draft.site, draft.facts(calm, self.form_sign(&draft, now)), &draft.subject(&body_html, now));
        let mut comment = self.new_comment(&draft, body_html, now);
        (comment.status, comment.visible) = (verdict.status, verdict.status == Status::Approved);
        (comment.hold_reasons, comment.spam_score) = (reasons_json(&verdict.reasons)?, verdict.score);
        let Envelope { address, user_agent, .. } = draft.envelope;
        let email = draft.submission.email.as_ref().map(|email| email.as_str().to_owned());
        let private = Private { email, sender: Sender { address, user_agent } };
        private.seal_into(&mut comment, &sealer)?;
        let mut new = NewComment {
            article_key: draft.submission.article,
            is_new_author: draft.author.is_none(),
            idempotency: draft.idempotency,
            tells: comment.status == Status::Pending && calm,
            ruled: verdict.ruled,
            text_hashes: draft.text_hashes,
            comment,
            private,
            sealer,
        };
        let arrival = Arrival {
            site: new.comment.site_id,
            article: new.article_key.as_str().to_owned(),
            text_hashes: new.text_hashes.clone(),
            at: now,
        };
        let (service, turn) = (self.clone(), draft.turn);
        let stored = self.db.write_arrival(Some(arrival), move |tx| service.store_in(tx, &mut new, now)).await;
        drop(turn);
        stored
    }

    /// What the token of the form says. A form that was open for days is nothing to wonder at: people leave their tabs open.
    fn form_sign(&self, draft: &Draft, now: Timestamp) -> FormSign {
        let site = &draft.site;
        match draft.submission.form_token.as_deref() {
            None if site.settings.form_token == FormTokens::Required => FormSign::Missing,
            None => FormSign::Fine,
            Some(token) => match self.keys.read_form_token(site.id, token) {
                None => FormSign::Forged,
                Some(at) if now.since(at) < self.rules.too_fast => FormSign::TooFast,
                Some(_) => FormSign::Fine,
            },
        }
    }

    /// The row of a comment that waits, but for what needs the database or a key.
    fn new_comment(&self, draft: &Draft, body_html: String, now: Timestamp) -> Comment {
        let submission = &draft.submission;
        let id = CommentId(self.ids.next());
        let path = ReadingPath::below(draft.parent.as_ref().map(|parent| parent.path.as_slice()), id);
        let author_id = draft.author.map_or_else(|| AuthorId(self.ids.next()), |author| author.id);
        Comment {
            id,
            site_id: draft.site.id,
            article_id: ArticleId(self.ids.next()),
            parent_id: submission.parent_id,
            root_id: path.root().unwrap_or(id),
            depth: draft.parent.as_ref().map_or(0, |parent| parent.depth + 1),
            path: path.0,
            status: Status::Pending,
            visible: false,
            author_id,
            name: submission.name.as_str().to_owned(),
            website: submission.website.as_ref().map(|website| website.as_str().to_owned()),
            body: submission.body.as_str().to_owned(),
            body_html,
            renderer: RENDERER,
            email_sealed: None,
            email_hash: None,
            sender_sealed: None,
            article_title: submission.article_title.as_ref().map(|title| title.as_str().to_owned()),
            article_url: submission.article_url.as_ref().map(|url| url.as_str().to_owned()),
            waiting_edit: None,
            replaced_text: None,
            hold_reasons: "[]".to_owned(),
            spam_score: None,
            notify: submission.notify,
            badge: None,
            pinned: false,
            votes_up: 0,
            votes_down: 0,
            score: 0,
            reply_count: 0,
            visible_children: 0,
            version: 1,
            text_hash: draft.text_hashes.first().cloned().unwrap_or_default(),
            created_at: now,
            edited_at: None,
        }
    }

    fn store_in(&self, tx: &mut Tx<'_>, new: &mut NewComment, now: Timestamp) -> Result<Receipt, Error> {
        let comment = &mut new.comment;
        let receipt = Receipt::of(comment);
        if let Some(request) = &new.idempotency {
            let answer = Remembered {
                site_id: comment.site_id,
                key_hash: request.key_hashes.first().cloned().unwrap_or_default(),
                request_hash: request.request_hashes.first().cloned().unwrap_or_default(),
                comment_id: comment.id,
                author_id: comment.author_id,
                status: comment.status.number(),
                answer: serde_json::to_string(&receipt).map_err(Error::internal)?,
                created_at: now,
            };
            if !idempotency::remember(tx, &answer, &request.key_hashes)? {
                let first = idempotency::find(tx.conn(), comment.site_id, &request.key_hashes, now)?;
                return replay(&first.ok_or(Error::Busy)?, request);
            }
        }
        let (id, site_id) = (comment.article_id, comment.site_id);
        let article = NewArticle { id, site_id, key: &new.article_key, created_at: now };
        let (article, used) = articles::find_or_make(tx, &article)?;
        new.seal_for(used, &self.keys)?;
        let comment = &mut new.comment;
        comment.article_id = article.id;
        if self.is_closed(&article, now) {
            return Err(Error::Closed);
        }
        self.find_place(tx, comment, (&article, &new.text_hashes, now))?;
        if new.is_new_author {
            let (approved, rejected, spam) = (0, 0, 0);
            let (id, site_id) = (comment.author_id, comment.site_id);
            tx.add_author(authors::Author { id, site_id, approved, rejected, spam, created_at: now });
        }
        comments::insert(tx, comment)?;
        self.log_arrival(tx, comment, (new.ruled.as_ref(), now));
        if new.tells {
            tx.enqueue(self.tell_moderators(comment, now));
        }
        Ok(receipt)
    }

    /// Where on its article a comment goes: beside what it answers. [`Error::DuplicateComment`] when it is there already.
    fn find_place(
        &self,
        tx: &mut Tx<'_>,
        comment: &mut Comment,
        (article, text_hashes, now): (&Article, &[Vec<u8>], Timestamp),
    ) -> Result<(), Error> {
        let places = articles::places(tx.conn(), article)?;
        if comment.parent_id.is_some() {
            // It was there a moment ago; a moderator may have been quicker.
            let parent = find_parent(tx.conn(), comment.parent_id, &places)?;
            let Some(parent) = parent.filter(|parent| self.takes_replies(parent)) else {
                return Err(Error::Invalid(vec![unknown_parent()]));
            };
            // A parent that is on its way to another article takes its replies along.
            comment.article_id = parent.article_id;
        }
        for place in places {
            if comments::is_double(tx, place, text_hashes, now)? {
                return Err(Error::DuplicateComment);
            }
        }
        Ok(())
    }

    /// Its coming, and what rules decided about it then.
    fn log_arrival(&self, tx: &mut Tx<'_>, comment: &Comment, (ruled, now): (Option<&Decided>, Timestamp)) {
        let mut event = self.event(comment, Actor::author(now), Action::Submitted);
        event.from_status = None;
        event.to_status = Some(if ruled.is_some() { Status::Pending } else { comment.status });
        self.record(tx, comment, event);
        if let Some(decided) = ruled {
            let mut event = self.ruled(comment, decided, now);
            event.from_status = Some(Status::Pending);
            self.record(tx, comment, event);
        }
    }
}

/// A comment that only lacks its article.
struct NewComment {
    comment: Comment,
    article_key: crate::domain::submission::ArticleKey,
    is_new_author: bool,
    idempotency: Option<IdempotencyRequest>,
    tells: bool,
    ruled: Option<Decided>,
    text_hashes: Vec<Vec<u8>>,
    private: Private,
    /// What the private fields in `comment` were sealed with.
    sealer: Sealer,
}

impl NewComment {
    /// Seals it anew when another key is used now than a moment ago: a rotation was quicker. From here on none can be, it
    /// waits for the end of the transaction that has read which key is used.
    fn seal_for(&mut self, used: Option<String>, keys: &Keys) -> Result<(), Error> {
        if let Some(used) = used.filter(|used| used != self.sealer.check_value()) {
            self.sealer = keys.sealer_of(&used)?;
            self.private.seal_into(&mut self.comment, &self.sealer)?;
        }
        Ok(())
    }
}
