//! What became of mails, for administrators: what waits, what left, what was given up and is to be sent again. It names
//! accounts by their ids; no address stands here.

use actix_web::http::StatusCode;
use actix_web::{HttpRequest, HttpResponse, web};
use serde::Serialize;
use utoipa::{IntoParams, ToSchema};

use super::State;
use super::error::{ApiError, Problem};
use super::json::Fields;
use super::moderator::{Admin, Input, RequiredObject};
use super::queue::private;
use super::request::{Pairs, bad_cursor, cursor_text, faultless};
use crate::domain::fault::Fault;
use crate::domain::ids::OutboxId;
use crate::error::Error;
use crate::storage::mails::{self, MailFilter, MailState};
use crate::storage::outbox::{Kind, OutboxRow};

/// Which mails to list.
#[derive(IntoParams)]
#[into_params(parameter_in = Query)]
#[expect(dead_code, reason = "describes the query for the API document")]
pub struct OutboxParams {
    /// `waiting`, `failed` or `sent`; without it: all. What was sent stays for a week.
    state: Option<String>,
    /// 1 to 200; 50 when missing.
    limit: Option<u8>,
    /// The `next_cursor` of the page before.
    cursor: Option<String>,
}

/// A mail.
#[derive(Serialize, ToSchema)]
pub struct MailShape {
    /// The same over all attempts; its `Message-ID` begins with it.
    id: String,
    /// To moderators `mail_moderator` (about one comment) or `mail_digest`; to administrators `mail_webhook_off`; to owners of
    /// accounts `mail_invitation` or `mail_reset`; to people who wrote comments `mail_confirm`, `mail_approval`, `mail_reply`,
    /// `mail_gathered` or `mail_person_link`.
    kind: &'static str,
    /// The site's key.
    site: Option<String>,
    /// The comment's id.
    comment: Option<String>,
    /// The account's id.
    account: Option<String>,
    /// `waiting`, `failed` or `sent`.
    state: &'static str,
    /// Attempts that began.
    attempts: i32,
    /// When the next attempt is due.
    #[schema(format = DateTime)]
    due_at: Option<String>,
    /// When it was queued, or told to be sent again.
    #[schema(format = DateTime)]
    created_at: String,
    /// What the mail server said to the last attempt, without addresses.
    last_error: Option<String>,
}

/// Mails, the newest first.
#[derive(Serialize, ToSchema)]
pub struct OutboxAnswer {
    mails: Vec<MailShape>,
    /// None on the last page.
    next_cursor: Option<String>,
}

/// [`OutboxParams`] as they came, with what is wrong with them.
pub struct OutboxQuery {
    filter: MailFilter,
    faults: Vec<Fault>,
}

const STATES: &[(&str, MailState)] =
    &[("waiting", MailState::Waiting), ("failed", MailState::Failed), ("sent", MailState::Sent)];

impl Input for OutboxQuery {
    async fn read(request: &HttpRequest, _: web::Payload) -> Result<Self, ApiError> {
        let pairs = Pairs::of(request)?;
        let mut faults = Vec::new();
        let before = match pairs.cursor(&mut faults)? {
            Some(bytes) => Some(OutboxId(uuid::Uuid::from_slice(&bytes).map_err(|_| bad_cursor())?)),
            None => None,
        };
        let filter =
            MailFilter { state: pairs.choice("state", &mut faults, STATES), before, limit: pairs.limit(&mut faults) };
        Ok(Self { filter, faults })
    }
}

/// What waits, what failed, what was sent.
#[utoipa::path(
    get, path = "/api/v1/mail/outbox", tag = "Administrators", params(OutboxParams), security(("account" = [])),
    responses(
        (status = 200, body = OutboxAnswer),
        (status = "4XX", description = "A problem", body = Problem, content_type = "application/problem+json"),
    ),
)]
pub async fn list(
    state: web::Data<State>,
    Admin { input: query, .. }: Admin<OutboxQuery>,
) -> Result<HttpResponse, ApiError> {
    faultless(query.faults)?;
    let filter = MailFilter { limit: query.filter.limit + 1, ..query.filter };
    let mut rows = state.service.db.read(move |conn| mails::page(conn, filter)).await?;
    let shown = usize::try_from(query.filter.limit).unwrap_or(0);
    let more = rows.len() > shown;
    rows.truncate(shown);
    let next_cursor = rows.last().filter(|_| more).map(|row| cursor_text(row.id.as_bytes()));
    let mails = rows.into_iter().map(|row| shape(&state, row)).collect();
    Ok(private(StatusCode::OK).json(OutboxAnswer { mails, next_cursor }))
}

fn shape(state: &State, row: OutboxRow) -> MailShape {
    MailShape {
        id: row.id.to_string(),
        kind: row.kind.as_str(),
        site: state.service.sites.by_id(row.site_id).ok().map(|site| site.key.as_str().to_owned()),
        comment: row.comment_id.map(|id| id.to_string()),
        account: row.account_id.filter(|_| row.kind != Kind::MailGathered).map(|id| id.to_string()),
        state: row.mail_state().as_str(),
        attempts: row.attempts,
        due_at: row.due_at.map(|at| at.to_string()),
        created_at: row.created_at.to_string(),
        last_error: row.last_error,
    }
}

/// What is to be sent again: one of the two.
#[derive(ToSchema)]
#[expect(dead_code, reason = "describes the body for the API document; it is read field by field")]
pub struct SendAgainRequest {
    /// 1 to 500 ids of mails; those that were not given up are passed over.
    ids: Option<Vec<String>>,
    /// `true`: all that were given up.
    all_failed: Option<bool>,
}

/// How many are sent again.
#[derive(Serialize, ToSchema)]
pub struct SentAgainAnswer {
    sent_again: usize,
}

/// Sends mails again that were given up.
#[utoipa::path(
    post, path = "/api/v1/mail/outbox", tag = "Administrators", request_body = SendAgainRequest, security(("account" = [])),
    responses(
        (status = 200, body = SentAgainAnswer),
        (status = "4XX", description = "A problem", body = Problem, content_type = "application/problem+json"),
    ),
)]
pub async fn send_again(
    state: web::Data<State>,
    Admin { input: RequiredObject(fields), .. }: Admin<RequiredObject>,
) -> Result<HttpResponse, ApiError> {
    let ids = which(fields)?;
    Ok(private(StatusCode::OK).json(SentAgainAnswer { sent_again: state.service.send_again(ids).await? }))
}

/// The mails that are meant; none for all that failed.
fn which(mut fields: Fields) -> Result<Option<Vec<OutboxId>>, Error> {
    let (ids, all) = (fields.texts("ids"), fields.flag("all_failed"));
    match (&ids, all) {
        (Some(ids), None) if !(1..=500).contains(&ids.len()) => {
            fields.faults.push(Fault::new("ids", "out_of_range", "It must be a list of 1 to 500 ids."));
        }
        (Some(_), None) | (None, Some(true)) => {}
        _ if !fields.faults.is_empty() => {}
        (None, None) => fields.faults.push(Fault::required("ids")),
        _ => fields.faults.push(Fault::new("all_failed", "unknown_value", "Send either ids or \"all_failed\": true.")),
    }
    fields.check()?;
    // What is no id of ours names no mail.
    Ok(ids.map(|ids| ids.iter().filter_map(|id| id.parse().ok()).collect()))
}
