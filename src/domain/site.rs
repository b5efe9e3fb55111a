//! A site: one blog with its own policy, origins and moderators.

use serde::{Deserialize, Serialize};

use super::comment::named_enum;
use super::fault::Fault;
use super::ids::SiteId;
use super::site_settings::SiteSettings;
use super::time::Timestamp;
use super::web::Origin;

named_enum! {
    /// What happens to a new comment before a person sees it.
    Policy {
        /// Every comment waits for a moderator.
        All = 0 => "all",
        /// Comments wait unless their author token belongs to someone with an approved comment.
        NewAuthors = 1 => "new_authors",
        /// Comments are public at once.
        None = 2 => "none",
    }
}

named_enum! {
    /// Which article keys take comments.
    ArticlePolicy {
        /// Any key; the first comment makes the article.
        Any = 0 => "any",
        /// Only articles that were made before.
        Known = 1 => "known",
    }
}

/// The name of a site in addresses: `[a-z0-9-]{1,64}`.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(transparent)]
pub struct SiteKey(String);

impl SiteKey {
    /// Reads a key.
    pub fn parse(text: &str) -> Result<Self, Fault> {
        let legal = |b: u8| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-';
        if (1..=64).contains(&text.len()) && text.bytes().all(legal) {
            return Ok(Self(text.to_owned()));
        }
        Err(Fault::new("key", "invalid_key", "A site's key is 1 to 64 of the characters a-z, 0-9 and -."))
    }

    /// The key as text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

/// A site as every instance keeps it in memory.
#[derive(Debug, Clone)]
pub struct Site {
    /// Its id.
    pub id: SiteId,
    /// Its name in addresses.
    pub key: SiteKey,
    /// Its name for people.
    pub name: String,
    /// Where the blog is.
    pub url: Option<String>,
    /// Further origins whose pages may write.
    pub origins: Vec<Origin>,
    /// What happens to new comments.
    pub policy: Policy,
    /// Which articles take comments.
    pub articles: ArticlePolicy,
    /// BCP 47 tag of the language in which the site speaks to its visitors.
    pub language: String,
    /// What it decides for itself beyond that.
    pub settings: SiteSettings,
    /// When it was last changed; names its version.
    pub updated_at: Timestamp,
}

impl Site {
    /// Whether pages of this origin are the site's own.
    pub fn owns(&self, origin: &Origin) -> bool {
        self.origins.contains(origin) || self.url.as_deref().and_then(Origin::of).as_ref() == Some(origin)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys() {
        assert!(SiteKey::parse("my-blog-2").is_ok() && SiteKey::parse(&"a".repeat(64)).is_ok());
        for bad in ["", "My-Blog", "a_b", "a/b", "ä", &"a".repeat(65)] {
            assert!(SiteKey::parse(bad).is_err(), "{bad}");
        }
    }
}
