//! Links with which somebody chooses a password: looked at, used, asked for, and sent by an administrator. The token stands
//! in the body: the page has it in the fragment of its address, which no log and no other site sees.

use actix_web::http::StatusCode;
use actix_web::{HttpRequest, HttpResponse, web};
use serde::Serialize;
use utoipa::ToSchema;

use super::State;
use super::accounts::id;
use super::error::{ApiError, Problem};
use super::moderator::{Admin, NoBody, RequiredObject};
use super::queue::private;
use super::request::{self, faultless};
use super::session::{SessionAnswer, begun};
use super::signed_in::{Visitor, browser};
use crate::domain::fault::Fault;
use crate::error::Error;
use crate::limits::rings::Guess;
use crate::service::account_links::LinkUse;
use crate::service::sessions::typed_address;
use crate::storage::sign_in::Purpose;

/// The token of a link.
#[derive(ToSchema)]
#[expect(dead_code, reason = "describes the body for the API document; it is read field by field")]
pub struct LinkRequest {
    token: String,
}

/// What a link is for.
#[derive(Serialize, ToSchema)]
pub struct LinkAnswer {
    /// `setup` makes the first administrator, `invitation` sets the first password, `reset` another one.
    purpose: &'static str,
    /// Whose account it is; empty for the first administrator.
    name: String,
    /// Whether an e-mail address must be given: nobody knows that of the first administrator.
    needs_email: bool,
}

/// What somebody chooses who has a link.
#[derive(ToSchema)]
#[expect(dead_code, reason = "describes the body for the API document; it is read field by field")]
pub struct LinkUseRequest {
    token: String,
    /// 10 to 256 characters.
    password: String,
    /// For the first administrator alone, who must have one.
    #[schema(format = Email)]
    email: Option<String>,
    name: Option<String>,
    /// Six digits, or a recovery code: for an account with a second factor.
    code: Option<String>,
}

/// Whose password is to be replaced.
#[derive(ToSchema)]
#[expect(dead_code, reason = "describes the body for the API document; it is read field by field")]
pub struct ResetRequest {
    #[schema(format = Email)]
    email: String,
}

/// Says nothing, whatever happens.
#[derive(Serialize, ToSchema)]
pub struct NothingToTell {}

/// Tells what a link is for and changes nothing.
#[utoipa::path(
    post, path = "/api/v1/session/link/look", tag = "Desk", request_body = LinkRequest,
    responses(
        (status = 200, body = LinkAnswer),
        (status = "4XX", description = "A problem", body = Problem, content_type = "application/problem+json"),
    ),
)]
pub async fn look(
    request: HttpRequest,
    state: web::Data<State>,
    who: Visitor<RequiredObject>,
) -> Result<HttpResponse, ApiError> {
    let mut fields = who.input.0;
    let token = fields.required_text("token");
    fields.check()?;
    state.rings.link(request::client(&request, &state)).await.map_err(Error::RateLimited)?;
    let link = state.service.look_at_link(&token.unwrap_or_default()).await?;
    let (purpose, needs_email) = (link.purpose.as_str(), link.purpose == Purpose::Setup);
    Ok(private(StatusCode::OK).json(LinkAnswer { purpose, name: link.name, needs_email }))
}

/// Uses a link up: the password is set, whoever has the link is signed in, and all other sessions of the account end.
#[utoipa::path(
    post, path = "/api/v1/session/link", tag = "Desk", request_body = LinkUseRequest,
    responses(
        (status = 201, body = SessionAnswer, headers(("Set-Cookie" = String, description = "The session"))),
        (status = "4XX", description = "A problem", body = Problem, content_type = "application/problem+json"),
    ),
)]
pub async fn follow(
    request: HttpRequest,
    state: web::Data<State>,
    who: Visitor<RequiredObject>,
) -> Result<HttpResponse, ApiError> {
    let mut fields = who.input.0;
    let token = fields.required_text("token").unwrap_or_default();
    let password = fields.required_text("password");
    let (email, name, code) = (fields.text("email"), fields.text("name"), fields.text("code"));
    let faults = fields.finish();
    if token.is_empty() {
        faultless(faults)?;
        return Err(Error::Invalid(vec![Fault::required("token")]).into());
    }
    let client = request::client(&request, &state);
    state.rings.link(client).await.map_err(Error::RateLimited)?;
    // Whoever has the link of somebody else tries codes no faster than anybody who knows their password.
    let guarded = state.service.look_at_link(&token).await?.guarded.filter(|_| code.is_some());
    if let Some(account) = guarded {
        let guess = Guess::Known(account.as_bytes());
        state.rings.password(client, guess).await.map_err(Error::RateLimited)?;
    }
    let browser = browser(&request, &state);
    let opened = state.service.use_link(LinkUse { token, password, email, name, code, browser }, faults).await?;
    begun(&state, opened).await
}

/// Sends a link by mail, with which somebody chooses another password, if the address has an account. The answer is the
/// same if it has none.
#[utoipa::path(
    post, path = "/api/v1/session/reset", tag = "Desk", request_body = ResetRequest,
    responses(
        (status = 202, body = NothingToTell),
        (status = "4XX", description = "A problem", body = Problem, content_type = "application/problem+json"),
    ),
)]
pub async fn reset(
    request: HttpRequest,
    state: web::Data<State>,
    who: Visitor<RequiredObject>,
) -> Result<HttpResponse, ApiError> {
    let mut fields = who.input.0;
    let email = fields.required_text("email");
    fields.check()?;
    let email = email.unwrap_or_default();
    state.rings.link(request::client(&request, &state)).await.map_err(Error::RateLimited)?;
    // Above the ceiling nothing is sent, and nobody learns whether anything would be.
    if state.rings.reset_is_calm(typed_address(&email).as_bytes()).await {
        state.service.request_reset(&email).await?;
    }
    Ok(private(StatusCode::ACCEPTED).json(NothingToTell {}))
}

/// Sends an account without a password a link by mail, with which its owner chooses one within seven days.
#[utoipa::path(
    post, path = "/api/v1/accounts/{id}/invite", tag = "Administrators", params(("id" = String, Path)), security(("account" = [])),
    responses(
        (status = 202, body = NothingToTell),
        (status = "4XX", description = "A problem", body = Problem, content_type = "application/problem+json"),
    ),
)]
pub async fn invite(
    request: HttpRequest,
    state: web::Data<State>,
    _admin: Admin<NoBody>,
) -> Result<HttpResponse, ApiError> {
    state.service.invite(id(&request)?).await?;
    Ok(private(StatusCode::ACCEPTED).json(NothingToTell {}))
}
