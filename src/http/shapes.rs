//! The shapes in which comments leave: the public one, the author's own, the moderators'. What is not named here cannot
//! leave; an e-mail address stands in the moderators' shape alone.

use std::collections::HashMap;

use serde::Serialize;
use utoipa::ToSchema;

use super::State;
use super::surroundings::{AboveShape, AuthorShape, FlagShape, Surroundings};
use crate::domain::comment::{Badge, HoldReason, Status};
use crate::domain::ids::{AccountId, SiteId};
use crate::domain::site::{ArticlePolicy, Site};
use crate::domain::site_settings::Avatars;
use crate::domain::text::look;
use crate::domain::time::Timestamp;
use crate::error::Error;
use crate::service::outside_status;
use crate::service::private_fields::Sender;
use crate::service::submission::Receipt;
use crate::storage::articles::Article;
use crate::storage::comments::{Comment, Text};
use crate::storage::events::Event;
use crate::storage::listing::PublicComment;

/// Votes on a comment.
#[derive(Debug, Serialize, ToSchema)]
pub struct Votes {
    /// For it.
    pub up: i32,
    /// Against it.
    pub down: i32,
}

/// A comment as everybody sees it.
#[derive(Debug, Serialize, ToSchema)]
pub struct PublicShape {
    /// Opaque.
    pub(super) id: String,
    /// The comment that this one answers.
    parent_id: Option<String>,
    /// 0 for a root.
    pub(super) depth: i16,
    pub(super) name: String,
    website: Option<String>,
    /// An image of the site's own making; derived from a site key and the name. None: the site shows no images.
    avatar: Option<String>,
    /// `staff` for the site's own people.
    badge: Option<&'static str>,
    /// Safe HTML.
    pub(super) body_html: String,
    #[schema(format = DateTime)]
    pub(super) created_at: String,
    #[schema(format = DateTime)]
    pub(super) edited_at: Option<String>,
    pinned: bool,
    votes: Votes,
    /// Direct replies that are approved.
    reply_count: i32,
}

/// A comment that is no longer public but has public replies.
#[derive(Debug, Serialize, ToSchema)]
pub struct RemovedShape {
    pub(super) id: String,
    parent_id: Option<String>,
    pub(super) depth: i16,
    /// Always true.
    removed: bool,
}

/// An entry of a public list.
#[derive(Debug, Serialize, ToSchema)]
#[serde(untagged)]
pub enum ListedShape {
    /// A comment.
    Comment(Box<PublicShape>),
    /// What is left of one.
    Removed(RemovedShape),
}

/// An article.
#[derive(Debug, Serialize, ToSchema)]
pub struct ArticleShape {
    /// The key that the blog chose.
    pub(super) key: String,
    pub(super) title: Option<String>,
    pub(super) url: Option<String>,
    /// Approved comments.
    pub(super) comment_count: i64,
    /// Whether it takes no more comments.
    pub(super) closed: bool,
}

impl ArticleShape {
    /// What the visitor says of it stands where nothing is known yet: for moderators.
    fn with_hints(mut self, comment: &Comment) -> Self {
        self.title = self.title.or_else(|| comment.article_title.clone());
        self.url = self.url.or_else(|| comment.article_url.clone());
        self
    }

    /// An article that nobody has commented on. Whether it takes comments, its site says.
    pub fn unknown(key: &str, site: &Site) -> Self {
        let closed = site.settings.read_only || site.articles == ArticlePolicy::Known;
        Self { key: key.to_owned(), title: None, url: None, comment_count: 0, closed }
    }
}

/// One of the newest comments of a site.
#[derive(Debug, Serialize, ToSchema)]
pub struct RecentShape {
    #[serde(flatten)]
    pub(super) comment: PublicShape,
    pub(super) article: ArticleShape,
}

impl RecentShape {
    /// When it was last changed.
    pub fn updated(&self) -> &str {
        self.comment.edited_at.as_deref().unwrap_or(&self.comment.created_at)
    }
}

/// The new text of a public comment that waits for a moderator.
#[derive(Debug, Serialize, ToSchema)]
pub struct EditShape {
    name: String,
    website: Option<String>,
    /// As typed.
    body: String,
    body_html: String,
}

impl From<Text> for EditShape {
    fn from(text: Text) -> Self {
        Self { name: text.name, website: text.website, body: text.body, body_html: text.body_html }
    }
}

/// A comment as its author sees it.
#[derive(Debug, Serialize, ToSchema)]
pub struct OwnShape {
    #[serde(flatten)]
    comment: PublicShape,
    /// `approved` or `pending`; more is not told.
    status: &'static str,
    /// As typed.
    body: String,
    #[schema(format = DateTime)]
    editable_until: String,
    /// The author's new text that waits while the approved one stays public.
    pending_edit: Option<EditShape>,
}

/// Why a comment was held.
#[derive(Debug, Serialize, ToSchema)]
pub struct HoldReasonShape {
    code: String,
    detail: String,
}

impl From<HoldReason> for HoldReasonShape {
    fn from(reason: HoldReason) -> Self {
        Self { code: reason.code, detail: reason.detail }
    }
}

/// An entry of the event log.
#[derive(Debug, Serialize, ToSchema)]
pub struct EventShape {
    id: String,
    #[schema(format = DateTime)]
    at: String,
    /// Which comment.
    comment: String,
    /// An account's name, `author`, `rule` or `policy`.
    actor: String,
    action: &'static str,
    from: Option<&'static str>,
    to: Option<&'static str>,
    reason: Option<String>,
    /// `api`, `desk`, `mail_link`, `rule`, `author` or `cli`.
    via: &'static str,
}

/// A comment as moderators see it.
#[derive(Debug, Serialize, ToSchema)]
pub struct ModeratorShape {
    #[serde(flatten)]
    comment: PublicShape,
    /// The site's key.
    site: String,
    /// Before a comment there is approved, title and address may be what this visitor says.
    article: ArticleShape,
    status: &'static str,
    /// Private: for moderators alone.
    email: Option<String>,
    /// As typed.
    body: String,
    pending_edit: Option<EditShape>,
    hold_reasons: Vec<HoldReasonShape>,
    spam_score: Option<f64>,
    /// As much as the operator keeps.
    address: Option<String>,
    user_agent: Option<String>,
    /// For `If-Match` and `versions`.
    version: i64,
    /// On a single comment: what happened to it, oldest first.
    #[serde(skip_serializing_if = "Option::is_none")]
    events: Option<Vec<EventShape>>,
    /// On a single comment: how its author's comments on the site fared.
    #[serde(skip_serializing_if = "Option::is_none")]
    author: Option<AuthorShape>,
    /// On a single comment: what it answers, the root first.
    #[serde(skip_serializing_if = "Option::is_none")]
    thread: Option<Vec<AboveShape>>,
    /// On a single comment: what readers said against it, oldest first.
    #[serde(skip_serializing_if = "Option::is_none")]
    flags: Option<Vec<FlagShape>>,
}

/// Where a comment stood before a decision.
#[derive(Debug, Serialize, ToSchema)]
pub struct PreviousShape {
    /// Its state.
    pub status: &'static str,
    /// Who had decided; none if nobody had.
    pub by: Option<String>,
    /// Since when.
    #[schema(format = DateTime)]
    pub at: String,
}

/// A comment after a decision.
#[derive(Debug, Serialize, ToSchema)]
pub struct DecidedShape {
    /// As it is now.
    #[serde(flatten)]
    pub comment: ModeratorShape,
    /// As it was.
    pub previous: PreviousShape,
}

impl State {
    /// The address of the picture beside a name, where the site shows one.
    fn avatar(&self, site: SiteId, name: &str) -> Option<String> {
        let shown = self.service.sites.by_id(site).is_ok_and(|site| site.settings.avatars == Avatars::Generated);
        let token = || self.service.keys.avatar(site, &look(name));
        shown.then(|| [self.public_url.as_str(), "/avatars/", &token(), ".svg"].concat())
    }

    /// An article at this moment.
    pub fn article(&self, article: &Article, now: Timestamp) -> ArticleShape {
        ArticleShape {
            key: article.key.clone(),
            title: article.title.clone(),
            url: article.url.clone(),
            comment_count: article.comment_count,
            closed: self.service.is_closed(article, now),
        }
    }

    /// An entry of a public list.
    pub fn listed(&self, site: SiteId, row: PublicComment) -> ListedShape {
        if row.status == Status::Approved {
            return ListedShape::Comment(Box::new(self.public(site, row)));
        }
        ListedShape::Removed(RemovedShape {
            id: row.id.to_string(),
            parent_id: row.parent_id.map(|id| id.to_string()),
            depth: row.depth,
            removed: true,
        })
    }

    /// A public comment.
    pub fn public(&self, site: SiteId, row: PublicComment) -> PublicShape {
        PublicShape {
            id: row.id.to_string(),
            parent_id: row.parent_id.map(|id| id.to_string()),
            depth: row.depth,
            avatar: self.avatar(site, &row.name),
            name: row.name,
            website: row.website,
            badge: row.badge.map(Badge::as_str),
            body_html: row.body_html,
            created_at: row.created_at.to_string(),
            edited_at: row.edited_at.map(|at| at.to_string()),
            pinned: row.pinned,
            votes: Votes { up: row.votes_up, down: row.votes_down },
            reply_count: row.reply_count,
        }
    }

    /// One of the newest.
    pub fn recent(&self, site: SiteId, (row, article): (PublicComment, &Article), now: Timestamp) -> RecentShape {
        RecentShape { comment: self.public(site, row), article: self.article(article, now) }
    }

    /// A comment that has just come.
    pub fn received(&self, receipt: &Receipt) -> PublicShape {
        PublicShape {
            id: receipt.id.to_string(),
            parent_id: receipt.parent_id.map(|id| id.to_string()),
            depth: receipt.depth,
            name: receipt.name.clone(),
            website: receipt.website.clone(),
            avatar: self.avatar(receipt.site_id, &receipt.name),
            badge: None,
            body_html: receipt.body_html.clone(),
            created_at: Timestamp(receipt.created_at).to_string(),
            edited_at: None,
            pinned: false,
            votes: Votes { up: 0, down: 0 },
            reply_count: 0,
        }
    }

    fn of_comment(&self, comment: &Comment) -> PublicShape {
        PublicShape {
            id: comment.id.to_string(),
            parent_id: comment.parent_id.map(|id| id.to_string()),
            depth: comment.depth,
            name: comment.name.clone(),
            website: comment.website.clone(),
            avatar: self.avatar(comment.site_id, &comment.name),
            badge: comment.badge.map(Badge::as_str),
            body_html: comment.body_html.clone(),
            created_at: comment.created_at.to_string(),
            edited_at: comment.edited_at.map(|at| at.to_string()),
            pinned: comment.pinned,
            votes: Votes { up: comment.votes_up, down: comment.votes_down },
            reply_count: comment.reply_count,
        }
    }

    /// A comment for its author.
    pub fn own(&self, comment: &Comment) -> OwnShape {
        OwnShape {
            comment: self.of_comment(comment),
            status: outside_status(comment.status).as_str(),
            body: comment.body.clone(),
            editable_until: self.service.editable_until(comment.created_at).to_string(),
            pending_edit: comment.waiting_edit().map(EditShape::from),
        }
    }

    /// A comment for moderators.
    pub fn moderated(&self, comment: &Comment, article: &Article) -> Result<ModeratorShape, Error> {
        let (email, Sender { address, user_agent }) = self.service.opened(&comment.sealed());
        Ok(ModeratorShape {
            comment: self.of_comment(comment),
            site: self.service.sites.by_id(comment.site_id)?.key.as_str().to_owned(),
            article: self.article(article, self.service.clock.now()).with_hints(comment),
            status: comment.status.as_str(),
            email,
            body: comment.body.clone(),
            pending_edit: comment.waiting_edit().map(EditShape::from),
            hold_reasons: comment.hold_reasons().into_iter().map(HoldReasonShape::from).collect(),
            spam_score: comment.spam_score,
            address,
            user_agent,
            version: comment.version,
            events: None,
            author: None,
            thread: None,
            flags: None,
        })
    }
}

impl ModeratorShape {
    /// With what stands around it.
    pub fn among(mut self, surroundings: Surroundings) -> Self {
        let Surroundings { events, flags, author, thread } = surroundings;
        (self.events, self.flags) = (Some(events), Some(flags));
        (self.author, self.thread) = (Some(author), Some(thread));
        self
    }
}

impl EventShape {
    /// An entry of the log, with the names of accounts.
    pub fn new(event: &Event, names: &HashMap<AccountId, String>) -> Self {
        let actor = match event.account_id {
            Some(account) => names.get(&account).cloned().unwrap_or_else(|| "a former account".to_owned()),
            None => event.via.nobodys_name().to_owned(),
        };
        Self {
            id: event.id.to_string(),
            at: event.at.to_string(),
            comment: event.comment_id.to_string(),
            actor,
            action: event.action.as_str(),
            from: event.from_status.map(Status::as_str),
            to: event.to_status.map(Status::as_str),
            reason: event.reason.clone(),
            via: event.via.as_str(),
        }
    }
}
