//! What can go wrong, free of HTTP: each error says what happened, has a sentence for the outside that tells what to do
//! next, and keeps the inside cause for the log. `http/error.rs` is the one place that turns it into a status.

use std::borrow::Cow;
use std::time::Duration;

use crate::domain::fault::Fault;

/// The cause of an error that is our own fault; for the log only.
pub type Cause = Box<dyn std::error::Error + Send + Sync>;

/// Everything that can go wrong below the HTTP layer. The sentences are safe to show to anyone.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The request cannot be read at all.
    #[error("{0}")]
    Malformed(Cow<'static, str>),
    /// It does not exist, or the caller may not know of it.
    #[error("There is nothing here. Check the address, the site and the id.")]
    NotFound,
    /// No credentials, or none that are valid.
    #[error("{0}")]
    Unauthenticated(&'static str),
    /// The password is right, and a code is missing, wrong or used.
    #[error("This account asks for a code as well: six digits from the app, or a recovery code.")]
    SecondFactorRequired,
    /// Known, and not allowed.
    #[error("{0}")]
    Forbidden(Cow<'static, str>),
    /// The author's time for changes is over.
    #[error("The time for editing this comment is over. It can still be deleted.")]
    EditWindowClosed,
    /// The same name and text on the same article within a day.
    #[error("This comment is already here. There is no need to send it again.")]
    DuplicateComment,
    /// The article takes no comments (any more).
    #[error("Comments on this article are closed.")]
    Closed,
    /// The thing is no longer in the state that the request assumes.
    #[error("{0}")]
    Conflict(Cow<'static, str>),
    /// The link in a mail is over.
    #[error("This link is over. Links work for a while only.")]
    LinkExpired,
    /// `If-Match` named another version.
    #[error("It has changed since you looked. Load it again and decide anew.")]
    PreconditionFailed,
    /// Faults of fields, all of them.
    #[error("Some fields need another look; each is named below.")]
    Invalid(Vec<Fault>),
    /// The same idempotency key with another request.
    #[error("This Idempotency-Key was used for another request. Use a new key for a new comment.")]
    IdempotencyKeyReused,
    /// Too much from this place; the time to wait.
    #[error("Too many requests. Wait for the time that Retry-After names, then send it again.")]
    RateLimited(Duration),
    /// Not now: the queue is full, the database is away, or the service is stopping.
    #[error(
        "The service is busy. Send the same request again in a moment; with the same Idempotency-Key nothing is doubled."
    )]
    Busy,
    /// As [`Error::Busy`], and for the log why: the key file lacks a key. It may come with the next look at the file.
    #[error(
        "The service is busy. Send the same request again in a moment; with the same Idempotency-Key nothing is doubled."
    )]
    KeyMissing(String),
    /// Our own fault. The cause goes to the log.
    #[error("Something went wrong on our side. The request id helps the operator to find out what.")]
    Internal(#[source] Cause),
}

impl Error {
    /// Our own fault, with its cause.
    pub fn internal(cause: impl Into<Cause>) -> Self {
        Self::Internal(cause.into())
    }

    /// What only the log may know; empty for everything that is not our own fault.
    pub fn inside(&self) -> String {
        match self {
            Self::Internal(cause) => cause.to_string(),
            Self::KeyMissing(what) => what.clone(),
            _ => String::new(),
        }
    }

    /// A single fault of a single field.
    pub fn invalid(field: &'static str, code: &'static str, message: impl Into<Cow<'static, str>>) -> Self {
        Self::Invalid(vec![Fault::new(field, code, message)])
    }

    /// A state that the request did not expect.
    pub fn conflict(detail: impl Into<Cow<'static, str>>) -> Self {
        Self::Conflict(detail.into())
    }
}
