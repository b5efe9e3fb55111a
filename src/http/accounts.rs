//! The accounts of moderators and administrators: for administrators alone, who see their e-mail addresses.

use std::collections::HashMap;

use actix_web::http::{StatusCode, header};
use actix_web::{HttpRequest, HttpResponse, web};
use serde::Serialize;
use utoipa::ToSchema;

use super::State;
use super::error::{ApiError, Problem};
use super::json::Fields;
use super::moderator::{Admin, NoBody, RequiredObject};
use super::paging::PageQuery;
use super::queue::private;
use super::request::faultless;
use crate::domain::fault::Fault;
use crate::domain::ids::AccountId;
use crate::domain::mail_choice::{MailChoice, MailMode, QuietHours};
use crate::error::Error;
use crate::service::account_changes::{RawAccount, RawMail};
use crate::storage::accounts::{self, Account};

/// An account, as it is made and changed; on a change what is missing stays.
#[derive(ToSchema)]
#[expect(dead_code, reason = "describes the body for the API document; it is read field by field")]
pub struct AccountRequest {
    #[schema(format = Email)]
    email: Option<String>,
    /// Beside decisions and replies; what stands before the @ when it is missing.
    name: Option<String>,
    /// `moderator` or `admin`.
    role: Option<String>,
    /// Keys of the sites that a moderator looks after.
    sites: Option<Vec<String>>,
    /// How to be told of waiting comments: `each`, `digest` or `none`.
    mail: Option<String>,
    /// 15 to 1440: minutes between the first comment of a digest and the digest. It makes `each` a `digest`; where mail is
    /// `none`, `mail` must be named too.
    digest_minutes: Option<i64>,
    /// No mail from this minute of the day (0 to 1439) …
    quiet_from: Option<i64>,
    /// … to this one; afterwards one digest.
    quiet_to: Option<i64>,
    /// By this clock: an IANA name; `UTC` when missing. Null takes the quiet hours away.
    time_zone: Option<String>,
    /// True takes every right and every token away; false gives the rights back, not the tokens.
    disabled: Option<bool>,
    /// For a new account: true sends a mail with a link, by which its owner chooses a password within seven days.
    invite: Option<bool>,
}

/// An account.
#[derive(Serialize, ToSchema)]
pub struct AccountShape {
    id: String,
    email: String,
    name: String,
    /// `moderator` or `admin`.
    role: &'static str,
    /// Keys; an administrator looks after all, whatever stands here.
    sites: Vec<String>,
    #[serde(flatten)]
    mail: MailShape,
    #[schema(format = DateTime)]
    created_at: String,
    /// When it lost every right.
    #[schema(format = DateTime)]
    disabled_at: Option<String>,
}

/// How somebody wants mail.
#[derive(Serialize, ToSchema)]
pub struct MailShape {
    /// How they are told of waiting comments: `each`, `digest` or `none`.
    mail: &'static str,
    /// None unless it is a digest.
    digest_minutes: Option<u16>,
    /// No mail from this minute of the day …
    quiet_from: Option<u16>,
    /// … to this one.
    quiet_to: Option<u16>,
    /// By this clock.
    time_zone: Option<String>,
}

impl MailShape {
    /// What an account has chosen.
    pub fn of(account: &Account) -> Self {
        let MailChoice { mode, quiet } = account.mail.choice();
        let (mail, digest_minutes) = match mode {
            MailMode::Each => ("each", None),
            MailMode::Digest(minutes) => ("digest", Some(minutes)),
            MailMode::None => ("none", None),
        };
        let quiet = quiet.as_ref().map(QuietHours::parts);
        Self {
            mail,
            digest_minutes,
            quiet_from: quiet.map(|(from, ..)| from),
            quiet_to: quiet.map(|(_, to, _)| to),
            time_zone: quiet.map(|(.., zone)| zone.to_owned()),
        }
    }
}

/// A page of accounts.
#[derive(Serialize, ToSchema)]
pub struct AccountsAnswer {
    accounts: Vec<AccountShape>,
    /// None on the last page.
    next_cursor: Option<String>,
}

async fn shapes(state: &State, rows: &[Account]) -> Result<Vec<AccountShape>, Error> {
    let ids: Vec<AccountId> = rows.iter().map(|account| account.id).collect();
    let mut keys: HashMap<AccountId, Vec<String>> = HashMap::new();
    for (account, site) in state.service.db.read(move |conn| accounts::sites_of_all(conn, &ids)).await? {
        if let Ok(site) = state.service.sites.by_id(site) {
            keys.entry(account).or_default().push(site.key.as_str().to_owned());
        }
    }
    let shape = |account: &Account| {
        let mut sites = keys.remove(&account.id).unwrap_or_default();
        sites.sort_unstable();
        Ok(AccountShape {
            id: account.id.to_string(),
            email: state.service.account_email(account)?,
            name: account.name.clone(),
            role: account.role.as_str(),
            sites,
            mail: MailShape::of(account),
            created_at: account.created_at.to_string(),
            disabled_at: account.disabled_at.map(|at| at.to_string()),
        })
    };
    rows.iter().map(shape).collect()
}

async fn answer(state: &State, status: StatusCode, id: AccountId) -> Result<HttpResponse, ApiError> {
    let account = state.service.db.read(move |conn| accounts::find(conn, id)).await?.ok_or(Error::NotFound)?;
    let mut response = private(status);
    if status == StatusCode::CREATED {
        response.insert_header((header::LOCATION, format!("{}/api/v1/accounts/{id}", state.public_url)));
    }
    Ok(response.json(shapes(state, &[account]).await?.pop()))
}

/// The account that the address names.
pub(super) fn id(request: &HttpRequest) -> Result<AccountId, Error> {
    request.match_info().get("id").and_then(|id| id.parse().ok()).ok_or(Error::NotFound)
}

/// How somebody wants mail, as it is sent.
pub(super) fn read_mail(fields: &mut Fields) -> RawMail {
    RawMail {
        mail: fields.text_or_fault("mail"),
        digest_minutes: fields.number_or_fault("digest_minutes"),
        quiet_from: fields.number_or_fault("quiet_from"),
        quiet_to: fields.number_or_fault("quiet_to"),
        time_zone: fields.changed_text("time_zone"),
    }
}

fn read(mut fields: Fields) -> (RawAccount, Vec<Fault>) {
    let raw = RawAccount {
        email: fields.text_or_fault("email"),
        name: fields.text_or_fault("name"),
        role: fields.text_or_fault("role"),
        sites: fields.texts_or_fault("sites"),
        mail: read_mail(&mut fields),
        disabled: fields.flag_or_fault("disabled"),
        ..RawAccount::default()
    };
    (raw, fields.finish())
}

/// The accounts, the oldest first.
#[utoipa::path(
    get, path = "/api/v1/accounts", tag = "Administrators", security(("account" = [])),
    params(("cursor" = Option<String>, Query), ("limit" = Option<u8>, Query, description = "1 to 200; 50 when missing")),
    responses(
        (status = 200, body = AccountsAnswer),
        (status = "4XX", description = "A problem", body = Problem, content_type = "application/problem+json"),
    ),
)]
pub async fn list(state: web::Data<State>, admin: Admin<PageQuery>) -> Result<HttpResponse, ApiError> {
    let mut page = admin.input;
    let (after, rows) = (page.after_id()?.map(AccountId), page.rows());
    faultless(std::mem::take(&mut page.faults))?;
    let rows = state.service.db.read(move |conn| accounts::page(conn, after, rows)).await?;
    let (rows, next_cursor) = page.cut(rows, |account| account.id.as_bytes().to_vec());
    Ok(private(StatusCode::OK).json(AccountsAnswer { accounts: shapes(&state, &rows).await?, next_cursor }))
}

/// One account.
#[utoipa::path(
    get, path = "/api/v1/accounts/{id}", tag = "Administrators", params(("id" = String, Path)), security(("account" = [])),
    responses(
        (status = 200, body = AccountShape),
        (status = "4XX", description = "A problem", body = Problem, content_type = "application/problem+json"),
    ),
)]
pub async fn get(
    request: HttpRequest,
    state: web::Data<State>,
    _admin: Admin<NoBody>,
) -> Result<HttpResponse, ApiError> {
    answer(&state, StatusCode::OK, id(&request)?).await
}

/// Makes an account. It has no password: invite its owner to choose one, or make a token for it.
#[utoipa::path(
    post, path = "/api/v1/accounts", tag = "Administrators", request_body = AccountRequest, security(("account" = [])),
    responses(
        (status = 201, body = AccountShape),
        (status = "4XX", description = "A problem", body = Problem, content_type = "application/problem+json"),
    ),
)]
pub async fn create(state: web::Data<State>, admin: Admin<RequiredObject>) -> Result<HttpResponse, ApiError> {
    let mut fields = admin.input.0;
    let invite = fields.flag_or_fault("invite");
    let (mut raw, faults) = read(fields);
    raw.invite = invite;
    let disabled = raw.disabled.take() == Some(true);
    let id = state.service.make_account(raw, faults).await?;
    if disabled {
        let raw = RawAccount { disabled: Some(true), ..RawAccount::default() };
        state.service.change_account(id, raw, Vec::new()).await?;
    }
    answer(&state, StatusCode::CREATED, id).await
}

/// Changes an account.
#[utoipa::path(
    patch, path = "/api/v1/accounts/{id}", tag = "Administrators", params(("id" = String, Path)), security(("account" = [])),
    request_body(content((AccountRequest = "application/merge-patch+json"), (AccountRequest = "application/json"))),
    responses(
        (status = 200, body = AccountShape),
        (status = "4XX", description = "A problem", body = Problem, content_type = "application/problem+json"),
    ),
)]
pub async fn change(
    request: HttpRequest,
    state: web::Data<State>,
    admin: Admin<RequiredObject>,
) -> Result<HttpResponse, ApiError> {
    let id = id(&request)?;
    let (raw, faults) = read(admin.input.0);
    state.service.change_account(id, raw, faults).await?;
    answer(&state, StatusCode::OK, id).await
}

/// Disables an account: it loses every right and every token at once. Its name stays in the log.
#[utoipa::path(
    delete, path = "/api/v1/accounts/{id}", tag = "Administrators", params(("id" = String, Path)), security(("account" = [])),
    responses(
        (status = 204, description = "It is disabled"),
        (status = "4XX", description = "A problem", body = Problem, content_type = "application/problem+json"),
    ),
)]
pub async fn delete(
    request: HttpRequest,
    state: web::Data<State>,
    _admin: Admin<NoBody>,
) -> Result<HttpResponse, ApiError> {
    let raw = RawAccount { disabled: Some(true), ..RawAccount::default() };
    state.service.change_account(id(&request)?, raw, Vec::new()).await?;
    Ok(private(StatusCode::NO_CONTENT).finish())
}
