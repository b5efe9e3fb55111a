//! The fields of a comment that lie encrypted: what is in them, and the place that each is bound to, so that a value copied
//! into another row or column does not open.

use serde::{Deserialize, Serialize};

use crate::domain::ids::CommentId;
use crate::keys::Place;

/// What is kept of a sender, encrypted.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Sender {
    /// As much of the address as the settings allow.
    pub address: Option<String>,
    /// The browser's name.
    pub user_agent: Option<String>,
}

/// Where a comment's sealed e-mail address lies.
pub fn comment_email_place(id: &CommentId) -> Place<'_> {
    Place { column: "comments.email", row: id.as_bytes() }
}

/// Where a comment's sealed sender lies.
pub fn comment_sender_place(id: &CommentId) -> Place<'_> {
    Place { column: "comments.sender", row: id.as_bytes() }
}
