//! What a message to a webhook says. Type, time and state are those of the event; the text is what it is when the message
//! leaves, and a comment that is gone by then is told by its id alone: what somebody deleted does not leave afterwards.
//! What is not named here does not leave.

use serde::Serialize;

use super::chat;
use crate::domain::comment::{Badge, HoldReason, Status};
use crate::domain::ids::CommentId;
use crate::domain::webhook::Format;
use crate::error::Error;
use crate::jobs::Worker;
use crate::storage::articles::{self, Article};
use crate::storage::comments::{self, Comment, Text};
use crate::storage::webhook_queue::QueuedEvent;
use crate::storage::webhooks::Webhook;

/// A message in our own format.
#[derive(Serialize)]
pub(super) struct Message {
    #[serde(rename = "type")]
    pub kind: &'static str,
    /// When it happened.
    timestamp: String,
    pub data: Data,
}

/// What it is about; of a ping the site alone.
#[derive(Serialize)]
pub(super) struct Data {
    site: Option<String>,
    #[serde(skip)]
    pub site_name: Option<String>,
    pub article: Option<ArticleData>,
    pub comment: Option<CommentData>,
    pub moderation_url: Option<String>,
}

#[derive(Serialize)]
pub(super) struct ArticleData {
    pub key: String,
    pub title: Option<String>,
    url: Option<String>,
}

/// A comment as it stood after the event, with the text that it has now.
#[derive(Serialize)]
pub(super) struct CommentData {
    id: String,
    /// None when the event is that it was removed.
    pub status: Option<&'static str>,
    /// It is gone by now; nothing else is told.
    removed: bool,
    #[serde(flatten)]
    pub text: Option<TextData>,
}

#[derive(Serialize)]
pub(super) struct TextData {
    parent_id: Option<String>,
    depth: i16,
    pub name: String,
    website: Option<String>,
    badge: Option<&'static str>,
    pub body: String,
    body_html: String,
    created_at: String,
    edited_at: Option<String>,
    pending_edit: Option<EditData>,
    hold_reasons: Vec<HoldReason>,
    spam_score: Option<f64>,
    version: i64,
    /// Only for a webhook that was made to get it.
    #[serde(skip_serializing_if = "Option::is_none")]
    email: Option<String>,
}

/// The new text of a public comment that waits for a moderator.
#[derive(Serialize)]
struct EditData {
    name: String,
    website: Option<String>,
    body: String,
    body_html: String,
}

impl From<Text> for EditData {
    fn from(text: Text) -> Self {
        Self { name: text.name, website: text.website, body: text.body, body_html: text.body_html }
    }
}

impl Worker {
    /// The body of a message, in the form that the receiver reads.
    pub(super) async fn body(&self, event: &QueuedEvent, webhook: &Webhook) -> Result<Vec<u8>, Error> {
        let message = self.message(event, webhook).await?;
        match webhook.format {
            Format::Standard => serde_json::to_vec(&message),
            format => serde_json::to_vec(&chat::note(&message, &self.public_url).in_words_of(format)),
        }
        .map_err(Error::internal)
    }

    async fn message(&self, event: &QueuedEvent, webhook: &Webhook) -> Result<Message, Error> {
        let (article, comment) = (event.article_id, event.comment_id);
        let (article, found) = self
            .service
            .db
            .read(move |conn| {
                let article = match article {
                    Some(id) => articles::by_ids(conn, &[id])?.remove(&id),
                    None => None,
                };
                Ok((article, comment.map(|id| comments::find(conn, id)).transpose()?.flatten()))
            })
            .await?;
        let site = event.site_id.and_then(|site| self.service.sites.by_id(site).ok());
        let email = |comment: &Comment| {
            let asked = webhook.include_email && webhook.format == Format::Standard;
            asked.then(|| self.service.opened(&comment.sealed()).0).flatten()
        };
        let text = found.as_ref().map(|comment| TextData::of(comment, email(comment)));
        let moderation_url = found.as_ref().map(|comment| self.moderation_url(comment.id));
        let comment = event.comment_id.map(|id| CommentData {
            id: id.to_string(),
            status: event.comment_status.map(Status::as_str),
            removed: found.is_none(),
            text,
        });
        Ok(Message {
            kind: event.event.as_str(),
            timestamp: event.event_at.to_string(),
            data: Data {
                site: site.as_ref().map(|site| site.key.as_str().to_owned()),
                site_name: site.map(|site| site.name.clone()),
                article: article.map(|article| ArticleData::of(article, found.as_ref())),
                comment,
                moderation_url,
            },
        })
    }

    /// Where a comment is moderated.
    fn moderation_url(&self, id: CommentId) -> String {
        format!("{}/api/v1/moderation/comments/{id}", self.public_url)
    }
}

impl ArticleData {
    /// What a visitor says of an article stands where nothing is known yet, as moderators see it.
    fn of(article: Article, comment: Option<&Comment>) -> Self {
        let title = article.title.or_else(|| comment.and_then(|comment| comment.article_title.clone()));
        let url = article.url.or_else(|| comment.and_then(|comment| comment.article_url.clone()));
        Self { key: article.key, title, url }
    }
}

impl TextData {
    fn of(comment: &Comment, email: Option<String>) -> Self {
        let pending_edit = comment.waiting_edit().map(EditData::from);
        Self {
            parent_id: comment.parent_id.map(|id| id.to_string()),
            depth: comment.depth,
            name: comment.name.clone(),
            website: comment.website.clone(),
            badge: comment.badge.map(Badge::as_str),
            body: comment.body.clone(),
            body_html: comment.body_html.clone(),
            created_at: comment.created_at.to_string(),
            edited_at: comment.edited_at.map(|at| at.to_string()),
            pending_edit,
            hold_reasons: comment.hold_reasons(),
            spam_score: comment.spam_score,
            version: comment.version,
            email,
        }
    }

    /// What there is to look at: the new text, if one waits.
    pub fn shown(&self) -> (&str, &str) {
        self.pending_edit.as_ref().map_or((&self.name, &self.body), |edit| (&edit.name, &edit.body))
    }
}
