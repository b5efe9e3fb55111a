//! Typed ids. Every id is a `UUIDv7` made by [`crate::clock::Ids`], so ids sort by the time they were made; in public they
//! are opaque strings. A type of its own for each noun keeps an article's id out of a comment's place.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};
use uuid::Uuid;

use super::time::Timestamp;

/// A text that is not an id as we give them out.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("not an id")]
pub struct NotAnId;

macro_rules! id_types {
    ($($(#[$doc:meta])* $name:ident),+ $(,)?) => {$(
        $(#[$doc])*
        #[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
        #[serde(transparent)]
        pub struct $name(pub Uuid);

        impl $name {
            /// The 16 bytes, big-endian, as they stand in paths, keys and the database.
            pub fn as_bytes(&self) -> &[u8; 16] {
                self.0.as_bytes()
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                self.0.as_hyphenated().fmt(f)
            }
        }

        impl FromStr for $name {
            type Err = NotAnId;

            /// Reads the one form in which ids are given out: 36 characters, hyphens, lower case. Other spellings of a
            /// UUID are no ids, so that one object has one name.
            fn from_str(text: &str) -> Result<Self, NotAnId> {
                let id = Uuid::try_parse(text).map_err(|_| NotAnId)?;
                let canonical = text.len() == 36 && !text.bytes().any(|b| b.is_ascii_uppercase());
                if canonical { Ok(Self(id)) } else { Err(NotAnId) }
            }
        }
    )+};
}

id_types! {
    /// A site: one blog with its own settings and moderators.
    SiteId,
    /// An article of a site, named in public by the key that the blog chose.
    ArticleId,
    /// A comment.
    CommentId,
    /// A person on one site, as far as an author token tells.
    AuthorId,
    /// A moderator or administrator.
    AccountId,
    /// An access token of an account.
    TokenId,
    /// A signed-in browser of an account.
    SessionId,
    /// A passkey of an account.
    PasskeyId,
    /// A link that lets somebody set a password.
    LinkId,
    /// An entry of the append-only event log.
    EventId,
    /// A piece of work in the outbox; also the stable part of a mail's `Message-ID`.
    OutboxId,
    /// A rule that judges comments.
    RuleId,
    /// A webhook.
    WebhookId,
    /// A message that waits for a webhook, an attempt to deliver one, or a worker's claim.
    DeliveryId,
    /// An e-mail address on one site that was asked whether replies may be told.
    SubscriberId,
}

impl CommentId {
    /// The lowest id that a comment of this moment can have, to the millisecond: the border of a range in time.
    pub fn first_at(moment: Timestamp) -> Self {
        let millis = u128::try_from(moment.0.div_euclid(1000)).unwrap_or(0);
        Self(Uuid::from_u128(millis << 80))
    }
}
