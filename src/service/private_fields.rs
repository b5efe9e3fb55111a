//! The fields of a comment that lie encrypted: what is in them, and the place that each is bound to, so that a value copied
//! into another row or column does not open.

use serde::{Deserialize, Serialize};

use super::Service;
use crate::domain::ids::CommentId;
use crate::error::Error;
use crate::keys::{Place, Sealer};
use crate::storage::comments::Comment;

/// What is kept of a sender, encrypted.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
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

/// What a comment keeps of the person who sent it, in plain: it is sealed anew when the key has changed before the
/// transaction that stores it.
pub struct Private {
    /// The e-mail address, if there is one.
    pub email: Option<String>,
    /// The network address and the browser.
    pub sender: Sender,
}

impl Private {
    /// Seals it for a comment, all with one key.
    pub fn seal_into(&self, comment: &mut Comment, sealer: &Sealer) -> Result<(), Error> {
        let id = comment.id;
        if let Some(email) = &self.email {
            let (sealed, hash) = sealer.seal_email(comment_email_place(&id), email)?;
            (comment.email_sealed, comment.email_hash) = (Some(sealed), Some(hash));
        }
        if self.sender.address.is_some() || self.sender.user_agent.is_some() {
            let plain = serde_json::to_vec(&self.sender).map_err(Error::internal)?;
            comment.sender_sealed = Some(sealer.seal(comment_sender_place(&id), &plain)?);
        }
        Ok(())
    }
}

/// The fields of a stored comment as they lie there.
pub struct Sealed<'a> {
    /// Whose.
    pub id: CommentId,
    /// The e-mail address.
    pub email: Option<&'a [u8]>,
    /// The sender.
    pub sender: Option<&'a [u8]>,
}

impl Comment {
    /// Its sealed fields.
    pub fn sealed(&self) -> Sealed<'_> {
        Sealed { id: self.id, email: self.email_sealed.as_deref(), sender: self.sender_sealed.as_deref() }
    }
}

impl Service {
    /// The private fields of a comment, in plain. One that does not open is left out, and a log line says which: it must
    /// not take what stands beside it along.
    pub fn opened(&self, sealed: &Sealed<'_>) -> (Option<String>, Sender) {
        let read = |place: Place<'_>, value: Option<&[u8]>| {
            let opened = self.keys.open(place, value?);
            opened.map_err(|error| left_out(&sealed.id, &error.inside())).ok()
        };
        let email = read(comment_email_place(&sealed.id), sealed.email);
        let sender = read(comment_sender_place(&sealed.id), sealed.sender);
        let email = email.and_then(|email| String::from_utf8(email).map_err(|_| left_out(&sealed.id, "no text")).ok());
        let sender = sender
            .and_then(|sender| serde_json::from_slice(&sender).map_err(|_| left_out(&sealed.id, "no sender")).ok());
        (email, sender.unwrap_or_default())
    }
}

fn left_out(comment: &CommentId, cause: &str) {
    tracing::warn!(%comment, cause, "a private field of a comment cannot be read and is left out: see afterword doctor");
}
