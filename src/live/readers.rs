//! What readers' streams are about: one article each.

use sha2::{Digest, Sha256};

use super::Topic;
use crate::domain::ids::SiteId;

/// The topic of an article, whether or not it is there yet.
pub fn topic(site: SiteId, article: &str) -> Topic {
    let digest = Sha256::digest(article.as_bytes());
    Topic::Article(site, *digest.first_chunk().unwrap_or(&[0; 16]))
}
