//! What readers' streams are about: one article each, by the key that the page names. Which keys lead to an article is asked
//! when something happens there, so that a stream which is open hears of an article that becomes an alias.

use sha2::{Digest, Sha256};

use super::Topic;
use crate::domain::ids::SiteId;
use crate::storage::seen::Change;

/// The topics of a change: one for each key that leads to its article.
pub fn topics(change: &Change) -> Vec<Topic> {
    change.keys.iter().map(|key| topic(change.site, key)).collect()
}

/// The topic of an article, whether or not it is there yet.
pub fn topic(site: SiteId, article: &str) -> Topic {
    let digest = Sha256::digest(article.as_bytes());
    Topic::Article(site, *digest.first_chunk().unwrap_or(&[0; 16]))
}
