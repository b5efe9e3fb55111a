//! One's own account: the name, the language, the mail, the password and the second factor. For whoever is signed in; an
//! access token is not enough.

use actix_web::http::StatusCode;
use actix_web::{HttpRequest, HttpResponse, web};
use serde::Serialize;
use utoipa::ToSchema;

use super::State;
use super::accounts::read_mail;
use super::error::{ApiError, Problem};
use super::moderator::RequiredObject;
use super::queue::private;
use super::request;
use super::session::{OwnAccountShape, own_account_by_id};
use super::signed_in::SignedIn;
use crate::error::Error;
use crate::limits::rings::Guess;
use crate::service::account_changes::RawAccount;
use crate::service::sessions::OpenSession;

/// What is missing stays.
#[derive(ToSchema)]
#[expect(dead_code, reason = "describes the body for the API document; it is read field by field")]
pub struct OwnAccountRequest {
    name: Option<String>,
    /// A BCP 47 tag; null: that of the browser.
    language: Option<String>,
    /// How to be told of waiting comments: `each`, `digest` or `none`.
    mail: Option<String>,
    /// 15 to 1440.
    digest_minutes: Option<i64>,
    /// No mail from this minute of the day (0 to 1439) …
    quiet_from: Option<i64>,
    /// … to this one.
    quiet_to: Option<i64>,
    /// By this clock; null takes the quiet hours away.
    time_zone: Option<String>,
}

/// One password in place of another.
#[derive(ToSchema)]
#[expect(dead_code, reason = "describes the body for the API document; it is read field by field")]
pub struct PasswordChange {
    current_password: String,
    /// 10 to 256 characters.
    password: String,
}

/// The password, once more.
#[derive(ToSchema)]
#[expect(dead_code, reason = "describes the body for the API document; it is read field by field")]
pub struct PasswordAgain {
    password: String,
}

/// A code from the app.
#[derive(ToSchema)]
#[expect(dead_code, reason = "describes the body for the API document; it is read field by field")]
pub struct CodeRequest {
    /// Six digits.
    code: String,
}

/// A secret for an app, shown this one time; it counts when a code confirms it.
#[derive(Serialize, ToSchema)]
pub struct ProposedFactor {
    /// To be typed: base32.
    secret: String,
    /// To be shown as a picture.
    otpauth_url: String,
}

/// What stands in for a code, each once; shown this one time.
#[derive(Serialize, ToSchema)]
pub struct RecoveryCodes {
    recovery_codes: Vec<String>,
}

/// Changes one's own account.
#[utoipa::path(
    patch, path = "/api/v1/account", tag = "Desk", security(("session" = [])),
    request_body(content((OwnAccountRequest = "application/merge-patch+json"), (OwnAccountRequest = "application/json"))),
    responses(
        (status = 200, body = OwnAccountShape),
        (status = "4XX", description = "A problem", body = Problem, content_type = "application/problem+json"),
    ),
)]
pub async fn change(state: web::Data<State>, who: SignedIn<RequiredObject>) -> Result<HttpResponse, ApiError> {
    let (id, mut fields) = (who.open.account.id, who.input.0);
    let raw = RawAccount {
        name: fields.text_or_fault("name"),
        language: fields.changed_text("language"),
        mail: read_mail(&mut fields),
        ..RawAccount::default()
    };
    state.service.change_account(id, raw, fields.finish()).await?;
    Ok(private(StatusCode::OK).json(own_account_by_id(&state, id).await?))
}

/// Whoever is signed in may try a password as often as a browser that is known.
async fn may_try(request: &HttpRequest, state: &State, open: &OpenSession) -> Result<(), Error> {
    let guess = Guess::Known(open.account.id.as_bytes());
    state.rings.password(request::client(request, state), guess).await.map_err(Error::RateLimited)
}

/// The password that is to be given once more, by whom; tried only as often as allowed.
pub(super) async fn password_again(
    request: &HttpRequest,
    state: &State,
    who: SignedIn<RequiredObject>,
) -> Result<(OpenSession, String), Error> {
    let mut fields = who.input.0;
    let password = fields.required_text("password");
    fields.check()?;
    may_try(request, state, &who.open).await?;
    Ok((who.open, password.unwrap_or_default()))
}

/// Another password; all other sessions end.
#[utoipa::path(
    post, path = "/api/v1/account/password", tag = "Desk", request_body = PasswordChange, security(("session" = [])),
    responses(
        (status = 204, description = "It counts from now on"),
        (status = "4XX", description = "A problem", body = Problem, content_type = "application/problem+json"),
    ),
)]
pub async fn password(
    request: HttpRequest,
    state: web::Data<State>,
    who: SignedIn<RequiredObject>,
) -> Result<HttpResponse, ApiError> {
    let mut fields = who.input.0;
    let (current, new) = (fields.required_text("current_password"), fields.required_text("password"));
    fields.check()?;
    may_try(&request, &state, &who.open).await?;
    let (current, new) = (current.unwrap_or_default(), new.unwrap_or_default());
    state.service.change_password(&who.open, [&current, &new]).await?;
    Ok(private(StatusCode::NO_CONTENT).finish())
}

/// Draws the secret of a second factor.
#[utoipa::path(
    post, path = "/api/v1/account/totp", tag = "Desk", request_body = PasswordAgain, security(("session" = [])),
    responses(
        (status = 200, body = ProposedFactor),
        (status = "4XX", description = "A problem", body = Problem, content_type = "application/problem+json"),
    ),
)]
pub async fn propose(
    request: HttpRequest,
    state: web::Data<State>,
    who: SignedIn<RequiredObject>,
) -> Result<HttpResponse, ApiError> {
    let (open, password) = password_again(&request, &state, who).await?;
    let (secret, otpauth_url) = state.service.propose_totp(&open, &password).await?;
    Ok(private(StatusCode::OK).json(ProposedFactor { secret, otpauth_url }))
}

/// Switches the second factor on.
#[utoipa::path(
    put, path = "/api/v1/account/totp", tag = "Desk", request_body = CodeRequest, security(("session" = [])),
    responses(
        (status = 200, body = RecoveryCodes),
        (status = "4XX", description = "A problem", body = Problem, content_type = "application/problem+json"),
    ),
)]
pub async fn confirm(
    request: HttpRequest,
    state: web::Data<State>,
    who: SignedIn<RequiredObject>,
) -> Result<HttpResponse, ApiError> {
    let mut fields = who.input.0;
    let code = fields.required_text("code");
    fields.check()?;
    may_try(&request, &state, &who.open).await?;
    let recovery_codes = state.service.confirm_totp(&who.open.account, &code.unwrap_or_default()).await?;
    Ok(private(StatusCode::OK).json(RecoveryCodes { recovery_codes }))
}

/// Switches the second factor off.
#[utoipa::path(
    delete, path = "/api/v1/account/totp", tag = "Desk", request_body = PasswordAgain, security(("session" = [])),
    responses(
        (status = 204, description = "The password alone is enough"),
        (status = "4XX", description = "A problem", body = Problem, content_type = "application/problem+json"),
    ),
)]
pub async fn drop_factor(
    request: HttpRequest,
    state: web::Data<State>,
    who: SignedIn<RequiredObject>,
) -> Result<HttpResponse, ApiError> {
    let (open, password) = password_again(&request, &state, who).await?;
    state.service.drop_totp(&open, &password).await?;
    Ok(private(StatusCode::NO_CONTENT).finish())
}
