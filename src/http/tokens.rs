//! Access tokens: everybody with an account manages their own, administrators those of all. The secret is in one answer,
//! that of the request which makes it.

use std::time::Duration;

use actix_web::http::StatusCode;
use actix_web::{HttpRequest, HttpResponse, web};
use serde::Serialize;
use utoipa::ToSchema;

use super::State;
use super::error::{ApiError, Problem};
use super::json::Fields;
use super::moderator::{Input, Moderator, NoBody, RequiredObject};
use super::paging::PageQuery;
use super::queue::private;
use super::request::faultless;
use crate::domain::fault::Fault;
use crate::domain::ids::{AccountId, TokenId};
use crate::domain::text::{Name, tidy_line};
use crate::domain::time::Timestamp;
use crate::error::Error;
use crate::service::access::Credentials;
use crate::service::tokens::{MOST_DAYS, NewToken, TOKEN_LIFE, TokenPatch};
use crate::storage::accounts::{self, Scope, Token};

/// A token to be made.
#[derive(ToSchema)]
#[expect(dead_code, reason = "describes the body for the API document; it is read field by field")]
pub struct TokenRequest {
    /// What it is for, like "laptop"; at most 100 characters.
    name: String,
    /// `read` looks, `moderate` decides as well, `admin` does all that the account may. Never wider than the token that
    /// makes it; `moderate` when it is missing.
    scope: Option<String>,
    /// 1 to 3650; 365 when it is missing. Unless an administrator's token of the scope `admin` makes it, it ends with the
    /// token that makes it at the latest.
    days: Option<u32>,
    /// The id of another account, for administrators.
    account: Option<String>,
}

/// What is to change of a token; what is missing stays.
#[derive(ToSchema)]
#[expect(dead_code, reason = "describes the body for the API document; it is read field by field")]
pub struct TokenPatchRequest {
    name: Option<String>,
    /// As far as now or less: `read`, `moderate`, `admin`.
    scope: Option<String>,
    /// No later than now; a moment that is past ends it at once.
    #[schema(format = DateTime)]
    expires_at: Option<String>,
}

/// A token, without its secret.
#[derive(Serialize, ToSchema)]
pub struct TokenShape {
    id: String,
    /// Whose it is.
    account: String,
    name: String,
    /// `read`, `moderate` or `admin`.
    scope: &'static str,
    #[schema(format = DateTime)]
    created_at: String,
    #[schema(format = DateTime)]
    expires_at: String,
    /// To the hour.
    #[schema(format = DateTime)]
    last_used_at: Option<String>,
    #[schema(format = DateTime)]
    revoked_at: Option<String>,
}

/// A token that was made, with its secret.
#[derive(Serialize, ToSchema)]
pub struct NewTokenShape {
    /// The secret; it is shown this one time.
    token: String,
    #[serde(flatten)]
    shape: TokenShape,
}

/// A page of tokens.
#[derive(Serialize, ToSchema)]
pub struct TokensAnswer {
    tokens: Vec<TokenShape>,
    /// None on the last page.
    next_cursor: Option<String>,
}

fn shape(token: &Token) -> TokenShape {
    TokenShape {
        id: token.id.to_string(),
        account: token.account_id.to_string(),
        name: token.name.clone(),
        scope: Scope::stored(&token.scope).as_str(),
        created_at: token.created_at.to_string(),
        expires_at: token.expires_at.to_string(),
        last_used_at: token.last_used_at.map(|at| at.to_string()),
        revoked_at: token.revoked_at.map(|at| at.to_string()),
    }
}

fn credentials<I: Input>(moderator: Moderator<I>) -> (Credentials, I) {
    let Moderator { access, scope, ends_at, via, input } = moderator;
    (Credentials { access, scope, ends_at, via }, input)
}

/// One's own tokens; all, or those of one account, for administrators. The oldest first.
#[utoipa::path(
    get, path = "/api/v1/tokens", tag = "Administrators", security(("account" = [])),
    params(
        ("account" = Option<String>, Query, description = "The id of an account, for administrators"),
        ("cursor" = Option<String>, Query), ("limit" = Option<u8>, Query, description = "1 to 200; 50 when missing"),
    ),
    responses(
        (status = 200, body = TokensAnswer),
        (status = "4XX", description = "A problem", body = Problem, content_type = "application/problem+json"),
    ),
)]
pub async fn list(state: web::Data<State>, moderator: Moderator<PageQuery>) -> Result<HttpResponse, ApiError> {
    let (by, mut page) = credentials(moderator);
    let mut faults = std::mem::take(&mut page.faults);
    let asked = page.pairs.one("account", &mut faults).map(str::parse::<AccountId>);
    let asked = asked.transpose().map_err(|_| Error::NotFound)?;
    let account = match asked {
        Some(account) if account != by.access.account && !by.manages_all_tokens() => return Err(Error::NotFound.into()),
        None if !by.manages_all_tokens() => Some(by.access.account),
        asked => asked,
    };
    let (after, rows) = (page.after_id()?.map(TokenId), page.rows());
    faultless(faults)?;
    let rows = state.service.db.read(move |conn| accounts::tokens_page(conn, account, after, rows)).await?;
    let (rows, next_cursor) = page.cut(rows, |token| token.id.as_bytes().to_vec());
    Ok(private(StatusCode::OK).json(TokensAnswer { tokens: rows.iter().map(shape).collect(), next_cursor }))
}

/// Makes a token.
#[utoipa::path(
    post, path = "/api/v1/tokens", tag = "Administrators", request_body = TokenRequest, security(("account" = [])),
    responses(
        (status = 201, body = NewTokenShape),
        (status = "4XX", description = "A problem", body = Problem, content_type = "application/problem+json"),
    ),
)]
pub async fn create(state: web::Data<State>, moderator: Moderator<RequiredObject>) -> Result<HttpResponse, ApiError> {
    let (by, RequiredObject(mut fields)) = credentials(moderator);
    let account = match fields.text_or_fault("account") {
        Some(text) => text.parse().map_err(|_| Error::NotFound)?,
        None => by.access.account,
    };
    if account != by.access.account && !by.manages_all_tokens() {
        return Err(Error::NotFound.into());
    }
    let new = read(fields, &by, account)?.within(&by, state.service.clock.now());
    let (token, row) = state.service.make_token(new).await?;
    Ok(private(StatusCode::CREATED).json(NewTokenShape { token, shape: shape(&row) }))
}

fn read(mut fields: Fields, by: &Credentials, account: AccountId) -> Result<NewToken, Error> {
    let typed = fields.required_text("name");
    let name = name(&mut fields, typed);
    let scope = scope(&mut fields).unwrap_or(Scope::Moderate);
    let days = fields
        .number_or_fault("days")
        .map(|days| u64::try_from(days).ok().filter(|days| (1..=MOST_DAYS).contains(days)));
    let life = match days {
        None => TOKEN_LIFE,
        Some(Some(days)) => Duration::from_secs(days * 86_400),
        Some(None) => {
            let range = format!("It must be a whole number from 1 to {MOST_DAYS}.");
            fields.faults.push(Fault::new("days", "out_of_range", range));
            TOKEN_LIFE
        }
    };
    // What may not be is told before what is wrong with the rest.
    if !by.scope.covers(scope) {
        return Err(Error::Forbidden("A token cannot make one of a wider scope than its own.".into()));
    }
    fields.check()?;
    let name = name.ok_or_else(|| Error::internal("a name is missing that has no fault"))?;
    Ok(NewToken { account, name, scope, life })
}

fn name(fields: &mut Fields, typed: Option<String>) -> Option<String> {
    let text = tidy_line(&typed?);
    let name = match text.chars().count() {
        0 => Err(Fault::required("name")),
        1..=100 => Name::parse(&text, "name"),
        _ => Err(Fault::too_long("name", 100, "characters")),
    };
    name.map_err(|fault| fields.faults.push(fault)).ok().map(Name::into_string)
}

fn scope(fields: &mut Fields) -> Option<Scope> {
    let scope = Scope::from_name(&fields.text_or_fault("scope")?);
    if scope.is_none() {
        fields.faults.push(Fault::new("scope", "unknown_value", "It must be one of: read, moderate, admin."));
    }
    scope
}

fn moment(fields: &mut Fields, field: &'static str) -> Option<Timestamp> {
    let moment = Timestamp::parse(&fields.text_or_fault(field)?);
    if moment.is_none() {
        fields.faults.push(Fault::new(field, "invalid_time", "It must be a time like 2026-01-31T12:00:00Z."));
    }
    moment
}

fn token_id(request: &HttpRequest) -> Result<TokenId, Error> {
    request.match_info().get("id").and_then(|id| id.parse().ok()).ok_or(Error::NotFound)
}

/// One token, without its secret.
#[utoipa::path(
    get, path = "/api/v1/tokens/{id}", tag = "Administrators", params(("id" = String, Path)), security(("account" = [])),
    responses(
        (status = 200, body = TokenShape),
        (status = "4XX", description = "A problem", body = Problem, content_type = "application/problem+json"),
    ),
)]
pub async fn get(
    request: HttpRequest,
    state: web::Data<State>,
    moderator: Moderator<NoBody>,
) -> Result<HttpResponse, ApiError> {
    let token = state.service.token(&credentials(moderator).0, token_id(&request)?).await?;
    Ok(private(StatusCode::OK).json(shape(&token)))
}

/// Changes a token: another name, a narrower scope, an earlier end.
#[utoipa::path(
    patch, path = "/api/v1/tokens/{id}", tag = "Administrators", params(("id" = String, Path)), security(("account" = [])),
    request_body(content((TokenPatchRequest = "application/merge-patch+json"), (TokenPatchRequest = "application/json"))),
    responses(
        (status = 200, body = TokenShape),
        (status = "4XX", description = "A problem", body = Problem, content_type = "application/problem+json"),
    ),
)]
pub async fn change(
    request: HttpRequest,
    state: web::Data<State>,
    moderator: Moderator<RequiredObject>,
) -> Result<HttpResponse, ApiError> {
    let id = token_id(&request)?;
    let (by, RequiredObject(mut fields)) = credentials(moderator);
    let typed = fields.text_or_fault("name");
    let name = name(&mut fields, typed);
    let patch = TokenPatch { name, scope: scope(&mut fields), expires_at: moment(&mut fields, "expires_at") };
    let token = state.service.change_token(&by, id, (patch, fields.finish())).await?;
    Ok(private(StatusCode::OK).json(shape(&token)))
}

/// Takes a token back at once.
#[utoipa::path(
    delete, path = "/api/v1/tokens/{id}", tag = "Administrators", params(("id" = String, Path)), security(("account" = [])),
    responses(
        (status = 204, description = "It is worth nothing any more"),
        (status = "4XX", description = "A problem", body = Problem, content_type = "application/problem+json"),
    ),
)]
pub async fn delete(
    request: HttpRequest,
    state: web::Data<State>,
    moderator: Moderator<NoBody>,
) -> Result<HttpResponse, ApiError> {
    state.service.take_token_back(&credentials(moderator).0, token_id(&request)?).await?;
    Ok(private(StatusCode::NO_CONTENT).finish())
}
