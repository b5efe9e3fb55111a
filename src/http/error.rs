//! The one place where an [`Error`] becomes a status and a problem document (RFC 9457). What clients get to read is the
//! error's outside sentence; the inside cause goes to the log.

use actix_web::http::StatusCode;
use actix_web::http::header::{self, HeaderValue};
use actix_web::{HttpResponse, ResponseError};
use serde::Serialize;
use utoipa::ToSchema;

use crate::domain::fault::Fault;
use crate::error::Error;

/// What can go wrong in HTTP itself, and everything below it.
#[derive(Debug, thiserror::Error)]
pub enum ApiError {
    /// From below.
    #[error(transparent)]
    Core(#[from] Error),
    /// The body is too large.
    #[error("The body is larger than 256 KiB, or a word list larger than 2 MiB.")]
    BodyTooLarge,
    /// The body has a type that nobody reads here.
    #[error("{0}")]
    UnsupportedMediaType(&'static str),
    /// The address is too long.
    #[error("The address of the request is longer than 8 KiB. Long texts belong into the body.")]
    UriTooLong,
    /// A bug of ours, caught.
    #[error("Something went wrong on our side. The request id helps the operator to find out what.")]
    Panicked,
    /// The address exists, but not with this method; the methods that it has.
    #[error("This address does not know this method. The Allow header lists those that it knows.")]
    MethodNotAllowed(&'static str),
}

/// A problem document.
#[derive(Debug, Serialize, ToSchema)]
pub struct Problem {
    /// An address under `/errors/` that explains the code.
    #[schema(format = "uri")]
    r#type: String,
    /// The same for every occurrence of the code.
    title: &'static str,
    /// The HTTP status.
    status: u16,
    /// What happened and what to do next.
    detail: String,
    /// Stable, for programs.
    code: &'static str,
    /// Finds the request in the operator's log.
    request_id: String,
    /// For `validation_failed`: every fault of every field.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    errors: Vec<ProblemField>,
}

/// One fault of one field.
#[derive(Debug, Serialize, ToSchema)]
pub struct ProblemField {
    /// The field as the request names it.
    field: String,
    /// Stable, for programs.
    code: &'static str,
    /// A sentence to show beside the field.
    message: String,
}

impl From<&Fault> for ProblemField {
    fn from(fault: &Fault) -> Self {
        Self { field: fault.field.to_string(), code: fault.code, message: fault.message.to_string() }
    }
}

/// Status, code and title of each kind of error: the contract's table.
fn kind(error: &ApiError) -> (StatusCode, &'static str, &'static str) {
    use StatusCode as S;
    match error {
        ApiError::BodyTooLarge => (S::PAYLOAD_TOO_LARGE, "body_too_large", "The body is too large"),
        ApiError::UnsupportedMediaType(_) => {
            (S::UNSUPPORTED_MEDIA_TYPE, "unsupported_media_type", "The body's type is not read here")
        }
        ApiError::UriTooLong => (S::URI_TOO_LONG, "uri_too_long", "The address is too long"),
        ApiError::MethodNotAllowed(_) => {
            (S::METHOD_NOT_ALLOWED, "method_not_allowed", "This address does not know this method")
        }
        ApiError::Panicked => (S::INTERNAL_SERVER_ERROR, "internal_error", "Something went wrong on our side"),
        ApiError::Core(error) => match error {
            Error::Malformed(_) => (S::BAD_REQUEST, "malformed_request", "The request cannot be read"),
            Error::NotFound => (S::NOT_FOUND, "not_found", "Not found"),
            Error::Unauthenticated(_) => (S::UNAUTHORIZED, "unauthenticated", "A valid token is needed"),
            Error::SecondFactorRequired => (S::UNAUTHORIZED, "second_factor_required", "A code is needed as well"),
            Error::Forbidden(_) => (S::FORBIDDEN, "forbidden", "Not allowed"),
            Error::EditWindowClosed => (S::FORBIDDEN, "edit_window_closed", "The time for editing is over"),
            Error::DuplicateComment => (S::CONFLICT, "duplicate_comment", "This comment is already here"),
            Error::Closed => (S::CONFLICT, "closed", "Comments are closed"),
            Error::Conflict(_) => (S::CONFLICT, "conflict", "The state has changed"),
            Error::LinkExpired => (S::GONE, "link_expired", "This link is over"),
            Error::PreconditionFailed => (S::PRECONDITION_FAILED, "precondition_failed", "It has changed"),
            Error::Invalid(_) => (S::UNPROCESSABLE_ENTITY, "validation_failed", "Some fields need another look"),
            Error::IdempotencyKeyReused => {
                (S::UNPROCESSABLE_ENTITY, "idempotency_key_reused", "This Idempotency-Key belongs to another request")
            }
            Error::RateLimited(_) => (S::TOO_MANY_REQUESTS, "rate_limited", "Too many requests"),
            Error::Busy | Error::KeyMissing(_) => (S::SERVICE_UNAVAILABLE, "busy", "The service is busy"),
            Error::Internal(_) => (S::INTERNAL_SERVER_ERROR, "internal_error", "Something went wrong on our side"),
        },
    }
}

/// Clients that meet a full queue or an absent database come back after this many seconds.
const BUSY_RETRY_SECONDS: u64 = 2;

impl ApiError {
    /// The stable code.
    pub fn code(&self) -> &'static str {
        kind(self).1
    }

    /// The title, the same for every occurrence of the code.
    pub fn title(&self) -> &'static str {
        kind(self).2
    }

    /// The faults of fields, if that is what it is about.
    pub fn faults(&self) -> &[Fault] {
        match self {
            Self::Core(Error::Invalid(faults)) => faults,
            _ => &[],
        }
    }

    /// Whole seconds until the same request may succeed.
    pub fn retry_after(&self) -> Option<u64> {
        match self {
            Self::Core(Error::RateLimited(wait)) => {
                Some(wait.as_nanos().div_ceil(1_000_000_000).try_into().unwrap_or(u64::MAX).max(1))
            }
            Self::Core(Error::Busy | Error::KeyMissing(_)) => Some(BUSY_RETRY_SECONDS),
            _ => None,
        }
    }

    /// The document for this error.
    pub fn problem(&self, public_url: &str, request_id: &str) -> Problem {
        let (status, code, title) = kind(self);
        Problem {
            r#type: format!("{public_url}/errors/{code}"),
            title,
            status: status.as_u16(),
            detail: self.to_string(),
            code,
            request_id: request_id.to_owned(),
            errors: self.faults().iter().map(ProblemField::from).collect(),
        }
    }

    /// Logs what is our own fault or the operator's.
    pub fn log(&self, request_id: &str) {
        if let Self::Core(error @ (Error::Internal(_) | Error::KeyMissing(_))) = self {
            tracing::error!(request_id, cause = error.inside(), "a request failed");
        }
    }

    /// The answer: a problem document with the headers that belong to its status.
    pub fn answer(&self, public_url: &str, request_id: &str) -> HttpResponse {
        let body = serde_json::to_vec(&self.problem(public_url, request_id)).unwrap_or_default();
        let mut response = HttpResponse::build(self.status_code());
        response.content_type("application/problem+json").insert_header((header::CACHE_CONTROL, "no-store"));
        if let Some(seconds) = self.retry_after() {
            response.insert_header((header::RETRY_AFTER, seconds));
        }
        if self.status_code() == StatusCode::UNAUTHORIZED {
            response.insert_header((header::WWW_AUTHENTICATE, "Bearer"));
        }
        if let Self::MethodNotAllowed(allow) = self {
            response.insert_header((header::ALLOW, HeaderValue::from_static(allow)));
        }
        response.body(body)
    }
}

/// actix asks for an answer without knowing our public URL or the request. The front (`front.rs`) finds the error inside
/// the response and writes the document.
impl ResponseError for ApiError {
    fn status_code(&self) -> StatusCode {
        kind(self).0
    }

    fn error_response(&self) -> HttpResponse {
        HttpResponse::new(self.status_code())
    }
}
