//! Signing in and out, and the sessions of one's own.

use std::time::Duration;

use actix_web::http::StatusCode;
use actix_web::{HttpRequest, HttpResponse, web};
use serde::Serialize;
use utoipa::ToSchema;

use super::State;
use super::accounts::MailShape;
use super::cookies::Jar;
use super::error::{ApiError, Problem};
use super::moderator::{NoBody, RequiredObject};
use super::paging::PageQuery;
use super::queue::private;
use super::request::{self, faultless};
use super::signed_in::{SignedIn, Visitor, browser};
use crate::domain::ids::{AccountId, SessionId};
use crate::domain::passkeys::obstacle;
use crate::error::Error;
use crate::limits::rings::Guess;
use crate::service::sessions::{SignIn, SignedIn as Opened, typed_address};
use crate::storage::accounts::{self, Account};
use crate::storage::sessions::Session;

/// A browser is known again for a year after somebody has signed in.
const REMEMBERED: Duration = Duration::from_hours(365 * 24);

/// What somebody types to sign in.
#[derive(ToSchema)]
#[expect(dead_code, reason = "describes the body for the API document; it is read field by field")]
pub struct SignInRequest {
    #[schema(format = Email)]
    email: String,
    password: String,
    /// Six digits, or a recovery code: for an account with a second factor.
    code: Option<String>,
}

/// One's own account.
#[derive(Serialize, ToSchema)]
pub struct OwnAccountShape {
    id: String,
    name: String,
    email: String,
    /// `moderator` or `admin`.
    role: &'static str,
    /// Keys; an administrator looks after all, whatever stands here.
    sites: Vec<String>,
    /// A BCP 47 tag; none: that of the browser.
    language: Option<String>,
    /// Whether there is a second factor.
    totp: bool,
    #[serde(flatten)]
    mail: MailShape,
}

/// Who is signed in, and for how long.
#[derive(Serialize, ToSchema)]
pub struct SessionAnswer {
    account: OwnAccountShape,
    /// Goes into the header `X-CSRF-Token` of each request that changes something.
    csrf_token: String,
    /// At the latest; sooner when nobody uses it.
    #[schema(format = DateTime)]
    expires_at: String,
}

/// A session of one's own.
#[derive(Serialize, ToSchema)]
pub struct SessionShape {
    id: String,
    #[schema(format = DateTime)]
    created_at: String,
    /// To the minute.
    #[schema(format = DateTime)]
    last_used_at: String,
    #[schema(format = DateTime)]
    expires_at: String,
    /// The browser's name.
    user_agent: Option<String>,
    /// Whether it is this one.
    current: bool,
}

/// One's own sessions, the newest first.
#[derive(Serialize, ToSchema)]
pub struct SessionsAnswer {
    sessions: Vec<SessionShape>,
    /// None on the last page.
    next_cursor: Option<String>,
}

/// Whether one can sign in with a passkey here. Where one cannot, no other address signs anybody in by one or adds one.
#[derive(Serialize, ToSchema)]
pub struct PasskeyOffer {
    offered: bool,
    /// In words for whoever runs the service: how it was built, or its public address.
    why_not: Option<&'static str>,
}

/// An account as its owner sees it.
pub async fn own_account(state: &State, account: &Account) -> Result<OwnAccountShape, Error> {
    let id = account.id;
    let sites = state.service.db.read(move |conn| accounts::sites_of(conn, id)).await?;
    let known = sites.iter().filter_map(|site| state.service.sites.by_id(*site).ok());
    let mut sites: Vec<String> = known.map(|site| site.key.as_str().to_owned()).collect();
    sites.sort_unstable();
    Ok(OwnAccountShape {
        id: id.to_string(),
        name: account.name.clone(),
        email: state.service.account_email(account)?,
        role: account.role.as_str(),
        sites,
        language: account.language.clone(),
        totp: account.totp_sealed.is_some(),
        mail: MailShape::of(account),
    })
}

/// An account as it is now.
pub async fn own_account_by_id(state: &State, id: AccountId) -> Result<OwnAccountShape, Error> {
    let account = state.service.db.read(move |conn| accounts::find(conn, id)).await?.ok_or(Error::NotFound)?;
    own_account(state, &account).await
}

async fn described(state: &State, secret: &str, session: &Session) -> Result<SessionAnswer, Error> {
    Ok(SessionAnswer {
        account: own_account_by_id(state, session.account_id).await?,
        csrf_token: state.service.csrf_token(secret),
        expires_at: session.expires_at.to_string(),
    })
}

/// What somebody gets who has just signed in: the session as a cookie, and a mark by which the browser is known again.
pub async fn begun(state: &State, opened: Opened) -> Result<HttpResponse, ApiError> {
    let answer = described(state, &opened.secret, &opened.session).await?;
    let (url, life) = (&state.public_url, state.service.rules.session_life);
    Ok(private(StatusCode::CREATED)
        .cookie(Jar::Session.cookie(url, opened.secret, life))
        .cookie(Jar::Device.cookie(url, opened.device_mark, REMEMBERED))
        .json(answer))
}

/// Who is signed in.
#[utoipa::path(
    get, path = "/api/v1/session", tag = "Desk", security(("session" = [])),
    responses(
        (status = 200, body = SessionAnswer),
        (status = "4XX", description = "A problem", body = Problem, content_type = "application/problem+json"),
    ),
)]
pub async fn get(state: web::Data<State>, who: SignedIn<NoBody>) -> Result<HttpResponse, ApiError> {
    Ok(private(StatusCode::OK).json(described(&state, &who.secret, &who.open.session).await?))
}

/// Whether one can sign in with a passkey here.
#[utoipa::path(
    get, path = "/api/v1/session/passkey", tag = "Desk", responses((status = 200, body = PasskeyOffer)),
)]
pub async fn passkeys(state: web::Data<State>) -> HttpResponse {
    let why_not = obstacle(state.service.rules.own_origin.as_ref());
    private(StatusCode::OK).json(PasskeyOffer { offered: why_not.is_none(), why_not })
}

/// Signs somebody in. Whether the address or the password is wrong is not told; `second_factor_required` says that both are
/// right and a code is missing or wrong.
#[utoipa::path(
    post, path = "/api/v1/session", tag = "Desk", request_body = SignInRequest,
    responses(
        (status = 201, body = SessionAnswer, headers(("Set-Cookie" = String, description = "The session"))),
        (status = "4XX", description = "A problem", body = Problem, content_type = "application/problem+json"),
        (status = 503, description = "Too many sign in at once", body = Problem, content_type = "application/problem+json"),
    ),
)]
pub async fn sign_in(
    request: HttpRequest,
    state: web::Data<State>,
    who: Visitor<RequiredObject>,
) -> Result<HttpResponse, ApiError> {
    let mut fields = who.input.0;
    let (email, password) = (fields.required_text("email"), fields.required_text("password"));
    let code = fields.text("code");
    fields.check()?;
    let (email, password) = (email.unwrap_or_default(), password.unwrap_or_default());
    let browser = browser(&request, &state);
    let device = browser.mark.as_ref().and_then(|mark| state.service.known_device(mark, &email));
    let address = typed_address(&email);
    let guess = device.as_ref().map_or(Guess::Stranger(address.as_bytes()), Guess::Known);
    state.rings.password(request::client(&request, &state), guess).await.map_err(Error::RateLimited)?;
    begun(&state, state.service.sign_in(SignIn { email, password, code, browser }).await?).await
}

/// Signs out: the session is worth nothing any more.
#[utoipa::path(
    delete, path = "/api/v1/session", tag = "Desk", security(("session" = [])),
    responses(
        (status = 204, description = "The session is over"),
        (status = "4XX", description = "A problem", body = Problem, content_type = "application/problem+json"),
    ),
)]
pub async fn sign_out(state: web::Data<State>, who: SignedIn<NoBody>) -> Result<HttpResponse, ApiError> {
    let session = who.open.session;
    // Somebody may have ended it meanwhile, which is as good.
    match state.service.end_session(session.account_id, session.id).await {
        Ok(()) | Err(Error::NotFound) => {}
        Err(error) => return Err(error.into()),
    }
    let gone = Jar::Session.cookie(&state.public_url, String::new(), Duration::ZERO);
    Ok(private(StatusCode::NO_CONTENT).cookie(gone).finish())
}

/// One's own open sessions, the newest first.
#[utoipa::path(
    get, path = "/api/v1/sessions", tag = "Desk", security(("session" = [])),
    params(("cursor" = Option<String>, Query), ("limit" = Option<u8>, Query, description = "1 to 200; 50 when missing")),
    responses(
        (status = 200, body = SessionsAnswer),
        (status = "4XX", description = "A problem", body = Problem, content_type = "application/problem+json"),
    ),
)]
pub async fn list(state: web::Data<State>, who: SignedIn<PageQuery>) -> Result<HttpResponse, ApiError> {
    let (this, mut page) = (who.open.session.id, who.input);
    let before = page.after_id()?.map(SessionId);
    faultless(std::mem::take(&mut page.faults))?;
    let shape = |session: Session| SessionShape {
        id: session.id.to_string(),
        created_at: session.created_at.to_string(),
        last_used_at: session.seen_at.to_string(),
        expires_at: session.expires_at.to_string(),
        user_agent: session.user_agent,
        current: session.id == this,
    };
    let rows = state.service.sessions_of(who.open.account.id, before, page.rows()).await?;
    let (rows, next_cursor) = page.cut(rows, |session| session.id.as_bytes().to_vec());
    let sessions = rows.into_iter().map(shape).collect();
    Ok(private(StatusCode::OK).json(SessionsAnswer { sessions, next_cursor }))
}

/// Ends one of one's own sessions.
#[utoipa::path(
    delete, path = "/api/v1/sessions/{id}", tag = "Desk", params(("id" = String, Path)), security(("session" = [])),
    responses(
        (status = 204, description = "It is over"),
        (status = "4XX", description = "A problem", body = Problem, content_type = "application/problem+json"),
    ),
)]
pub async fn end(
    request: HttpRequest,
    state: web::Data<State>,
    who: SignedIn<NoBody>,
) -> Result<HttpResponse, ApiError> {
    let id = request.match_info().get("id").and_then(|id| id.parse().ok()).ok_or(Error::NotFound)?;
    state.service.end_session(who.open.account.id, id).await?;
    Ok(private(StatusCode::NO_CONTENT).finish())
}

/// Ends all of one's own sessions but this one.
#[utoipa::path(
    delete, path = "/api/v1/sessions", tag = "Desk", security(("session" = [])),
    responses(
        (status = 204, description = "All others are over"),
        (status = "4XX", description = "A problem", body = Problem, content_type = "application/problem+json"),
    ),
)]
pub async fn end_others(state: web::Data<State>, who: SignedIn<NoBody>) -> Result<HttpResponse, ApiError> {
    state.service.end_other_sessions(who.open.account.id, who.open.session.id).await?;
    Ok(private(StatusCode::NO_CONTENT).finish())
}
