//! What stands around one comment when a moderator looks at it: what happened to it, who wrote it, what it answers.

use serde::Serialize;
use utoipa::ToSchema;

use super::shapes::EventShape;
use crate::domain::comment::{Badge, Status};
use crate::domain::rules::subject::History;
use crate::storage::feedback::Flag;
use crate::storage::listing::PublicComment;

/// How the comments of one author on one site fared, the one that is looked at included.
#[derive(Debug, Default, Serialize, ToSchema)]
pub struct AuthorShape {
    /// Comments of theirs that are public now.
    approved: i64,
    /// Refused ones.
    rejected: i64,
    /// Spam.
    spam: i64,
}

impl From<History> for AuthorShape {
    fn from(History { approved, rejected, spam }: History) -> Self {
        Self { approved, rejected, spam }
    }
}

/// A comment that the one that is looked at answers.
#[derive(Debug, Serialize, ToSchema)]
pub struct AboveShape {
    id: String,
    depth: i16,
    /// None when its author or a moderator removed it for good; so are name and text.
    status: Option<&'static str>,
    name: Option<String>,
    /// `staff` for the site's own people.
    badge: Option<&'static str>,
    /// Safe HTML.
    body_html: Option<String>,
    #[schema(format = DateTime)]
    created_at: String,
}

impl From<PublicComment> for AboveShape {
    fn from(row: PublicComment) -> Self {
        let there = row.status != Status::Removed;
        Self {
            id: row.id.to_string(),
            depth: row.depth,
            status: there.then(|| row.status.as_str()),
            name: there.then_some(row.name),
            badge: row.badge.map(Badge::as_str),
            body_html: there.then_some(row.body_html),
            created_at: row.created_at.to_string(),
        }
    }
}

/// What a reader said against a comment.
#[derive(Debug, Serialize, ToSchema)]
pub struct FlagShape {
    /// `spam`, `abuse` or `other`.
    reason: &'static str,
    /// In their words.
    note: Option<String>,
    #[schema(format = DateTime)]
    at: String,
}

impl From<Flag> for FlagShape {
    fn from(flag: Flag) -> Self {
        Self { reason: flag.reason.as_str(), note: flag.note, at: flag.at.to_string() }
    }
}

/// All of it.
pub struct Surroundings {
    /// The oldest first.
    pub events: Vec<EventShape>,
    /// The oldest first.
    pub flags: Vec<FlagShape>,
    /// All zero for an author whom nobody knows any more.
    pub author: AuthorShape,
    /// The root first.
    pub thread: Vec<AboveShape>,
}
