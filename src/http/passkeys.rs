//! Passkeys: one's own, listed, added, named and removed; and signing in with one. What a browser is asked and answers is
//! JSON of its own (`parseCreationOptionsFromJSON`, `parseRequestOptionsFromJSON`, `toJSON`), passed on as it is.

use actix_web::http::StatusCode;
use actix_web::{HttpRequest, HttpResponse, web};
use serde::Serialize;
use serde_json::Value;
use utoipa::{OpenApi, ToSchema};

use super::State;
use super::error::{ApiError, Problem};
use super::json::Fields;
use super::moderator::{NoBody, RequiredObject};
use super::own_account::{PasswordAgain, password_again};
use super::queue::private;
use super::request;
use super::session::{SessionAnswer, begun};
use super::signed_in::{SignedIn, Visitor, browser};
use crate::domain::ids::PasskeyId;
use crate::error::Error;
use crate::service::passkeys::{Answered, Asked};
use crate::storage::passkeys::StoredPasskey;

/// What the API document says of them; the program may be built without.
#[derive(OpenApi)]
#[openapi(paths(begin_sign_in, sign_in, list, begin, add, rename, remove))]
pub struct Document;

/// A question to an authenticator, good for five minutes and one answer.
#[derive(Serialize, ToSchema)]
pub struct PasskeyQuestion {
    /// Comes back with the answer.
    challenge: String,
    /// For `PublicKeyCredential.parseCreationOptionsFromJSON` or `parseRequestOptionsFromJSON`.
    #[schema(value_type = Object)]
    options: Value,
}

/// What a browser answers to sign in.
#[derive(ToSchema)]
#[expect(dead_code, reason = "describes the body for the API document; it is read field by field")]
pub struct PasskeySignIn {
    challenge: String,
    /// `toJSON()` of the credential.
    #[schema(value_type = Object)]
    credential: Value,
}

/// A passkey that a browser has made.
#[derive(ToSchema)]
#[expect(dead_code, reason = "describes the body for the API document; it is read field by field")]
pub struct NewPasskey {
    /// What its owner calls it; at most 100 characters.
    name: String,
    challenge: String,
    /// `toJSON()` of the credential.
    #[schema(value_type = Object)]
    credential: Value,
}

/// Another name.
#[derive(ToSchema)]
#[expect(dead_code, reason = "describes the body for the API document; it is read field by field")]
pub struct PasskeyPatch {
    name: String,
}

/// A passkey of one's own.
#[derive(Serialize, ToSchema)]
pub struct PasskeyShape {
    id: String,
    name: String,
    #[schema(format = DateTime)]
    created_at: String,
    /// None: never.
    #[schema(format = DateTime)]
    last_used_at: Option<String>,
}

/// One's own passkeys, the oldest first; at most twenty.
#[derive(Serialize, ToSchema)]
pub struct PasskeysAnswer {
    passkeys: Vec<PasskeyShape>,
}

impl From<StoredPasskey> for PasskeyShape {
    fn from(passkey: StoredPasskey) -> Self {
        let StoredPasskey { id, name, created_at, last_used_at, .. } = passkey;
        let last_used_at = last_used_at.map(|at| at.to_string());
        Self { id: id.to_string(), name, created_at: created_at.to_string(), last_used_at }
    }
}

fn question(Asked { challenge, options }: Asked) -> HttpResponse {
    private(StatusCode::OK).json(PasskeyQuestion { challenge, options })
}

/// What a browser answers; faults are collected in `fields`.
fn answer(fields: &mut Fields) -> Answered {
    let challenge = fields.required_text("challenge").unwrap_or_default();
    Answered { challenge, credential: fields.required_object("credential").unwrap_or_default() }
}

fn id(request: &HttpRequest) -> Result<PasskeyId, Error> {
    request.match_info().get("id").and_then(|id| id.parse().ok()).ok_or(Error::NotFound)
}

/// Asks for a passkey, whosever: names no account.
#[utoipa::path(
    post, path = "/api/v1/session/passkey", tag = "Desk",
    responses(
        (status = 200, body = PasskeyQuestion),
        (status = "4XX", description = "A problem", body = Problem, content_type = "application/problem+json"),
    ),
)]
pub async fn begin_sign_in(state: web::Data<State>, _who: Visitor<NoBody>) -> Result<HttpResponse, ApiError> {
    Ok(question(state.service.begin_passkey_sign_in()?))
}

/// Signs somebody in with a passkey, in place of password and code. Whatever is wrong is answered alike.
#[utoipa::path(
    put, path = "/api/v1/session/passkey", tag = "Desk", request_body = PasskeySignIn,
    responses(
        (status = 201, body = SessionAnswer, headers(("Set-Cookie" = String, description = "The session"))),
        (status = "4XX", description = "A problem", body = Problem, content_type = "application/problem+json"),
    ),
)]
pub async fn sign_in(
    request: HttpRequest,
    state: web::Data<State>,
    who: Visitor<RequiredObject>,
) -> Result<HttpResponse, ApiError> {
    let mut fields = who.input.0;
    let answer = answer(&mut fields);
    fields.check()?;
    // As with links: nobody guesses a signature, so strangers at other addresses close the way in to nobody.
    state.rings.link(request::client(&request, &state)).await.map_err(Error::RateLimited)?;
    begun(&state, state.service.sign_in_with_passkey(answer, browser(&request, &state)).await?).await
}

/// One's own passkeys.
#[utoipa::path(
    get, path = "/api/v1/account/passkeys", tag = "Desk", security(("session" = [])),
    responses(
        (status = 200, body = PasskeysAnswer),
        (status = "4XX", description = "A problem", body = Problem, content_type = "application/problem+json"),
    ),
)]
pub async fn list(state: web::Data<State>, who: SignedIn<NoBody>) -> Result<HttpResponse, ApiError> {
    let passkeys = state.service.passkeys_of(who.open.account.id).await?;
    let passkeys = passkeys.into_iter().map(PasskeyShape::from).collect();
    Ok(private(StatusCode::OK).json(PasskeysAnswer { passkeys }))
}

/// Asks for a new passkey.
#[utoipa::path(
    post, path = "/api/v1/account/passkeys", tag = "Desk", request_body = PasswordAgain, security(("session" = [])),
    responses(
        (status = 200, body = PasskeyQuestion),
        (status = "4XX", description = "A problem", body = Problem, content_type = "application/problem+json"),
    ),
)]
pub async fn begin(
    request: HttpRequest,
    state: web::Data<State>,
    who: SignedIn<RequiredObject>,
) -> Result<HttpResponse, ApiError> {
    let (open, password) = password_again(&request, &state, who).await?;
    Ok(question(state.service.begin_passkey(&open, &password).await?))
}

/// Adds the passkey that was asked for.
#[utoipa::path(
    put, path = "/api/v1/account/passkeys", tag = "Desk", request_body = NewPasskey, security(("session" = [])),
    responses(
        (status = 201, body = PasskeyShape),
        (status = "4XX", description = "A problem", body = Problem, content_type = "application/problem+json"),
    ),
)]
pub async fn add(state: web::Data<State>, who: SignedIn<RequiredObject>) -> Result<HttpResponse, ApiError> {
    let mut fields = who.input.0;
    let (name, answer) = (fields.required_text("name"), answer(&mut fields));
    fields.check()?;
    let passkey = state.service.add_passkey(&who.open, answer, &name.unwrap_or_default()).await?;
    Ok(private(StatusCode::CREATED).json(PasskeyShape::from(passkey)))
}

/// Gives a passkey another name.
#[utoipa::path(
    patch, path = "/api/v1/account/passkeys/{id}", tag = "Desk", params(("id" = String, Path)), security(("session" = [])),
    request_body(content((PasskeyPatch = "application/merge-patch+json"), (PasskeyPatch = "application/json"))),
    responses(
        (status = 204, description = "It has the new name"),
        (status = "4XX", description = "A problem", body = Problem, content_type = "application/problem+json"),
    ),
)]
pub async fn rename(
    request: HttpRequest,
    state: web::Data<State>,
    who: SignedIn<RequiredObject>,
) -> Result<HttpResponse, ApiError> {
    let (id, mut fields) = (id(&request)?, who.input.0);
    let name = fields.required_text("name");
    fields.check()?;
    state.service.rename_passkey(who.open.account.id, id, &name.unwrap_or_default()).await?;
    Ok(private(StatusCode::NO_CONTENT).finish())
}

/// Removes a passkey.
#[utoipa::path(
    delete, path = "/api/v1/account/passkeys/{id}", tag = "Desk", params(("id" = String, Path)),
    request_body = PasswordAgain, security(("session" = [])),
    responses(
        (status = 204, description = "It opens nothing any more"),
        (status = "4XX", description = "A problem", body = Problem, content_type = "application/problem+json"),
    ),
)]
pub async fn remove(
    request: HttpRequest,
    state: web::Data<State>,
    who: SignedIn<RequiredObject>,
) -> Result<HttpResponse, ApiError> {
    let id = id(&request)?;
    let (open, password) = password_again(&request, &state, who).await?;
    state.service.remove_passkey(&open, id, &password).await?;
    Ok(private(StatusCode::NO_CONTENT).finish())
}
