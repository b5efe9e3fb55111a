//! Taking a comment: first [`Service::prepare`] looks at everything that can be wrong with it, then the caller asks the
//! rate limits, then [`Service::store`] writes it with its event, its work and the answer to be repeated, in one
//! transaction.

use std::net::IpAddr;
use std::sync::Arc;

use ipnet::IpNet;
use serde::{Deserialize, Serialize};

use super::in_flight::Turn;
use super::private_fields::{Private, Sender};
use super::{Actor, Service, outside_status};
use crate::domain::comment::{Action, Status};
use crate::domain::email::Email;
use crate::domain::fault::Fault;
use crate::domain::ids::{ArticleId, AuthorId, CommentId, SiteId};
use crate::domain::listing::ReadingPath;
use crate::domain::policy::Facts;
use crate::domain::render::{RENDERER, render};
use crate::domain::rules::judge::Decided;
use crate::domain::rules::subject::Subject;
use crate::domain::site::{ArticlePolicy, Site};
use crate::domain::submission::{RawSubmission, Submission, in_order, unknown_parent};
use crate::domain::text::double_form;
use crate::domain::time::Timestamp;
use crate::domain::web::{Origin, WebAddress};
use crate::error::Error;
use crate::keys::{Keys, Sealer};
use crate::storage::arrivals::Arrival;
use crate::storage::articles::NewArticle;
use crate::storage::comments::{self, Comment, Parent, reasons_json};
use crate::storage::idempotency::{self, Remembered};
use crate::storage::{Conn, Tx, articles, authors};

/// What comes with the form's fields.
#[derive(Debug, Clone, Default)]
pub struct Envelope {
    /// The author that the request's token names.
    pub author: Option<AuthorId>,
    /// What makes the request repeatable, if it carried an `Idempotency-Key`.
    pub repeatable: Option<Repeatable>,
    /// Where it comes from; rules look at it, and it goes no further.
    pub client: Option<IpAddr>,
    /// What may be kept of the sender's address.
    pub address: Option<String>,
    /// The browser's name.
    pub user_agent: Option<String>,
}

/// A request that gets the same answer however often it is sent.
#[derive(Debug, Clone)]
pub struct Repeatable {
    /// Its `Idempotency-Key`.
    pub key: String,
    /// All that it holds, also what nobody asked for, in one spelling: another request may not use the key.
    pub request: Vec<u8>,
}

/// A submission as it came.
#[derive(Clone, Default)]
pub struct Sent {
    /// Its fields.
    pub raw: RawSubmission,
    /// What the reader of the request found wrong already.
    pub faults: Vec<Fault>,
    /// What came with them.
    pub envelope: Envelope,
}

/// What the sender gets back, now and when the request is repeated: what the comment was when it came.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[expect(missing_docs, reason = "the fields of the public shape that a new comment fills")]
pub struct Receipt {
    pub id: CommentId,
    pub site_id: SiteId,
    pub author_id: AuthorId,
    pub parent_id: Option<CommentId>,
    pub depth: i16,
    pub name: String,
    pub website: Option<String>,
    pub body_html: String,
    pub created_at: i64,
    /// As the outside sees it: approved or pending.
    pub status: Status,
}

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

/// A legal comment that is not stored yet.
pub struct Draft {
    site: Arc<Site>,
    submission: Submission,
    envelope: Envelope,
    author: Option<authors::Author>,
    parent: Option<Parent>,
    idempotency: Option<IdempotencyRequest>,
    /// Keyed hash of the e-mail address, if there is one, for its ring.
    pub email_hash: Option<[u8; 16]>,
    text_hashes: Vec<Vec<u8>>,
    turn: Option<Turn>,
}

impl Draft {
    fn facts(&self, calm: bool) -> Facts {
        let trusted = self.author.is_some_and(|author| author.approved > 0);
        Facts { trusted, honeypot: self.submission.honeypot, flooded: !calm, edit: false }
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

#[derive(Clone)]
struct IdempotencyRequest {
    /// Under every secret key, the current one's first; so are the request's.
    key_hashes: Vec<Vec<u8>>,
    request_hashes: Vec<Vec<u8>>,
}

/// What [`Service::prepare`] found.
pub enum Prepared {
    /// The request was answered before: this is the answer.
    Replay(Receipt),
    /// A new comment.
    New(Box<Draft>),
}

/// What a submission needs to know of the database.
struct Wanted {
    site: SiteId,
    idempotency: Option<IdempotencyRequest>,
    author: Option<AuthorId>,
    needs_article: bool,
    article: Option<String>,
    parent: Option<CommentId>,
}

/// What the database knows of a submission's surroundings.
#[derive(Default)]
struct Surroundings {
    replay: Option<Remembered>,
    author: Option<authors::Author>,
    parent: Option<Parent>,
    article_is_known: bool,
}

impl Service {
    /// Reads and checks a submission.
    pub async fn prepare(&self, site: Arc<Site>, sent: Sent) -> Result<Prepared, Error> {
        let Sent { raw, faults, envelope } = sent;
        let idempotency = envelope.repeatable.as_ref().map(|repeatable| self.idempotency_request(site.id, repeatable));
        let turn = match &envelope.repeatable {
            Some(repeatable) => {
                Some(self.in_flight.turn(&[site.id.as_bytes(), repeatable.key.as_bytes()].concat()).await)
            }
            None => None,
        };
        let owns = |origin: &Origin| site.owns(origin) || self.rules.own_origin.as_ref() == Some(origin);
        let (article_key, parent_id) = (raw.article.clone(), raw.parent_id.as_deref().and_then(|id| id.parse().ok()));
        let parsed = raw.parse(&site.settings.form_rules(&self.rules.fields), &owns, faults);
        let around = self
            .look_around(Wanted {
                site: site.id,
                idempotency: idempotency.clone(),
                author: envelope.author,
                needs_article: site.articles == ArticlePolicy::Known || parent_id.is_some(),
                article: article_key,
                parent: parent_id,
            })
            .await?;
        if let (Some(remembered), Some(request)) = (around.replay, &idempotency) {
            return replay(&remembered, request).map(Prepared::Replay);
        }
        if envelope.author.is_some() && around.author.is_none() {
            return Err(Error::Unauthenticated("This author token is not valid here. Send the comment without it."));
        }
        let mut faults = match &parsed {
            Ok(_) => Vec::new(),
            Err(faults) => faults.clone(),
        };
        if parent_id.is_some() && !around.parent.as_ref().is_some_and(|parent| self.takes_replies(parent)) {
            faults.push(unknown_parent());
        }
        if site.articles == ArticlePolicy::Known && !around.article_is_known {
            faults.push(Fault::new("article", "unknown_article", "This site takes comments on its own articles only."));
        }
        let submission = match parsed {
            Ok(submission) if faults.is_empty() => submission,
            _ => return Err(Error::Invalid(in_order(faults))),
        };
        let email_hash = submission.email.as_ref().map(|email| self.keys.limit_hash(&[email.folded().as_bytes()]));
        let text_hashes = self.keys.text_hashes(&double_form(submission.name.as_str(), submission.body.as_str()));
        let (author, parent) = (around.author, around.parent);
        let draft = Draft { site, submission, envelope, author, parent, idempotency, email_hash, text_hashes, turn };
        Ok(Prepared::New(Box::new(draft)))
    }

    fn idempotency_request(&self, site: SiteId, repeatable: &Repeatable) -> IdempotencyRequest {
        IdempotencyRequest {
            key_hashes: self.keys.request_hashes(&[site.as_bytes(), repeatable.key.as_bytes()]),
            request_hashes: self.keys.request_hashes(&[&repeatable.request]),
        }
    }

    fn takes_replies(&self, parent: &Parent) -> bool {
        parent.status == Status::Approved && parent.depth + 1 < self.rules.max_depth
    }

    /// Reads what must be known before the comment is written; most comments need nothing of it, and no read at all.
    async fn look_around(&self, wanted: Wanted) -> Result<Surroundings, Error> {
        if wanted.idempotency.is_none() && wanted.author.is_none() && !wanted.needs_article {
            return Ok(Surroundings::default());
        }
        let now = self.clock.now();
        self.db.read(move |conn| surroundings(conn, &wanted, now)).await
    }

    /// Writes a comment. `calm` says whether its e-mail address is below its ceiling; above it the comment is held without
    /// a mail, and its sender cannot tell.
    pub async fn store(self: &Arc<Self>, draft: Draft, calm: bool) -> Result<Receipt, Error> {
        let now = self.clock.now();
        let sealer = self.keys.sealer()?;
        let body_html = render(&draft.submission.body);
        let verdict = self.verdict(&draft.site, draft.facts(calm), &draft.subject(&body_html, now));
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
        if comment.parent_id.is_some() {
            // It was there a moment ago; a moderator may have been quicker.
            let parent = find_parent(tx.conn(), comment.parent_id, Some(article.id))?;
            if !parent.is_some_and(|parent| self.takes_replies(&parent)) {
                return Err(Error::Invalid(vec![unknown_parent()]));
            }
        }
        if comments::is_double(tx, article.id, &new.text_hashes, now)? {
            return Err(Error::DuplicateComment);
        }
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

fn surroundings(conn: &mut Conn, wanted: &Wanted, now: Timestamp) -> Result<Surroundings, Error> {
    let mut around = Surroundings::default();
    if let Some(request) = &wanted.idempotency {
        around.replay = idempotency::find(conn, wanted.site, &request.key_hashes, now)?;
    }
    if let Some(author) = wanted.author {
        around.author = authors::find(conn, wanted.site, author)?;
    }
    if wanted.needs_article {
        let article = match &wanted.article {
            Some(key) => articles::find(conn, wanted.site, key)?.map(|article| article.id),
            None => None,
        };
        around.article_is_known = article.is_some();
        around.parent = find_parent(conn, wanted.parent, article)?;
    }
    Ok(around)
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

/// The parent, if it is a comment of this article.
fn find_parent(
    conn: &mut Conn,
    parent: Option<CommentId>,
    article: Option<ArticleId>,
) -> Result<Option<Parent>, Error> {
    let (Some(parent), Some(article)) = (parent, article) else { return Ok(None) };
    Ok(comments::find_parent(conn, parent)?.filter(|found| found.article_id == article))
}

fn replay(remembered: &Remembered, request: &IdempotencyRequest) -> Result<Receipt, Error> {
    if !request.request_hashes.contains(&remembered.request_hash) {
        return Err(Error::IdempotencyKeyReused);
    }
    serde_json::from_str(&remembered.answer).map_err(Error::internal)
}
