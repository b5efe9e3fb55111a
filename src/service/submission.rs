//! What is sent: [`Service::prepare`] looks at everything that can be wrong with it. Then the caller asks the rate limits, and
//! [`Service::store`] (`filing.rs`) writes it.

use std::net::IpAddr;
use std::sync::Arc;

use serde::{Deserialize, Serialize};

use super::Service;
use super::in_flight::Turn;
use crate::domain::comment::Status;
use crate::domain::fault::Fault;
use crate::domain::ids::{ArticleId, AuthorId, CommentId, SiteId};
use crate::domain::site::{ArticlePolicy, Site};
use crate::domain::submission::{RawSubmission, Submission, in_order, unknown_parent};
use crate::domain::text::double_form;
use crate::domain::time::Timestamp;
use crate::domain::web::Origin;
use crate::error::Error;
use crate::storage::comments::{self, Parent};
use crate::storage::idempotency::{self, Remembered};
use crate::storage::{Conn, articles, authors};

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

/// A legal comment that is not stored yet.
pub struct Draft {
    pub(super) site: Arc<Site>,
    pub(super) submission: Submission,
    pub(super) envelope: Envelope,
    pub(super) author: Option<authors::Author>,
    pub(super) parent: Option<Parent>,
    pub(super) idempotency: Option<IdempotencyRequest>,
    /// Keyed hash of the e-mail address, if there is one, for its ring.
    pub email_hash: Option<[u8; 16]>,
    pub(super) text_hashes: Vec<Vec<u8>>,
    pub(super) turn: Option<Turn>,
}

/// What a repeated request is known by.
#[derive(Clone)]
pub(super) struct IdempotencyRequest {
    /// Under every secret key, the current one's first; so are the request's.
    pub key_hashes: Vec<Vec<u8>>,
    /// Of all that it holds.
    pub request_hashes: Vec<Vec<u8>>,
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

    pub(super) fn takes_replies(&self, parent: &Parent) -> bool {
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
            Some(key) => articles::find(conn, wanted.site, key)?,
            None => None,
        };
        around.article_is_known = article.is_some();
        if let Some(article) = article {
            let places = articles::places(conn, &article)?;
            around.parent = find_parent(conn, wanted.parent, &places)?;
        }
    }
    Ok(around)
}

/// The parent, if it is a comment of this article, wherever its comments lie.
pub(super) fn find_parent(
    conn: &mut Conn,
    parent: Option<CommentId>,
    places: &[ArticleId],
) -> Result<Option<Parent>, Error> {
    let Some(parent) = parent else { return Ok(None) };
    Ok(comments::find_parent(conn, parent)?.filter(|found| places.contains(&found.article_id)))
}

pub(super) fn replay(remembered: &Remembered, request: &IdempotencyRequest) -> Result<Receipt, Error> {
    if !request.request_hashes.contains(&remembered.request_hash) {
        return Err(Error::IdempotencyKeyReused);
    }
    serde_json::from_str(&remembered.answer).map_err(Error::internal)
}
