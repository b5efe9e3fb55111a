//! Webhooks, for administrators: made and changed. The secret stands in the answer that makes it and in no other.

use actix_web::http::StatusCode;
use actix_web::{HttpRequest, HttpResponse, web};
use serde::Serialize;
use utoipa::ToSchema;

use super::State;
use super::error::{ApiError, Problem};
use super::json::Fields;
use super::moderator::{Admin, NoBody, OptionalObject, RequiredObject};
use super::paging::PageQuery;
use super::queue::private;
use super::request::faultless;
use crate::domain::fault::Fault;
use crate::domain::ids::WebhookId;
use crate::domain::webhook::{EventType, Format};
use crate::error::Error;
use crate::service::webhooks::{NewWebhook, Opened, WebhookPatch};

/// A webhook.
#[derive(Serialize, ToSchema)]
pub struct WebhookShape {
    id: String,
    /// The key of a site; null: all sites.
    site: Option<String>,
    /// Null when it cannot be decrypted any more.
    url: Option<String>,
    /// `comment.held`, `comment.approved`, `comment.rejected`, `comment.spam`, `comment.edited`, `comment.removed`.
    events: Vec<&'static str>,
    /// `standard`, `slack`, `discord`, `matrix` or `telegram`.
    format: &'static str,
    /// Whether messages in the standard format name the author's e-mail address.
    include_email: bool,
    enabled: bool,
    /// Why the service switched it off; null when it did not.
    disabled_reason: Option<String>,
    #[schema(format = DateTime)]
    created_at: String,
    /// Only when it was made or rotated just now.
    #[serde(skip_serializing_if = "Option::is_none")]
    secret: Option<String>,
}

/// A page of them.
#[derive(Serialize, ToSchema)]
pub struct WebhooksAnswer {
    /// The oldest first.
    webhooks: Vec<WebhookShape>,
    /// None on the last page.
    next_cursor: Option<String>,
}

/// A new webhook.
#[derive(ToSchema)]
#[expect(dead_code, reason = "describes the body for the API document; it is read field by field")]
pub struct WebhookRequest {
    /// The key of a site; missing or null: all sites.
    site: Option<String>,
    /// Where to send: https, and a public address unless the operator allows another.
    url: String,
    /// Which events; missing: all.
    events: Option<Vec<String>>,
    /// `standard` (the default), `slack`, `discord`, `matrix` or `telegram`.
    format: Option<String>,
    /// False unless it is given.
    include_email: Option<bool>,
}

/// What is to change; what is missing stays.
#[derive(ToSchema)]
#[expect(dead_code, reason = "describes the body for the API document; it is read field by field")]
pub struct WebhookPatchRequest {
    url: Option<String>,
    events: Option<Vec<String>>,
    format: Option<String>,
    include_email: Option<bool>,
    /// Switching it off forgets what waits for it.
    enabled: Option<bool>,
}

impl WebhookShape {
    fn of(state: &State, opened: Opened) -> Self {
        let Opened { webhook, private } = opened;
        let site = webhook.site_id.and_then(|site| state.service.sites.by_id(site).ok());
        Self {
            id: webhook.id.to_string(),
            site: site.map(|site| site.key.as_str().to_owned()),
            url: private.map(|private| private.url),
            events: webhook.events().into_iter().map(EventType::as_str).collect(),
            format: webhook.format.as_str(),
            include_email: webhook.include_email,
            enabled: webhook.enabled,
            disabled_reason: webhook.disabled_reason,
            created_at: webhook.created_at.to_string(),
            secret: None,
        }
    }

    /// The answer that makes a secret known.
    fn with_secret(state: &State, opened: Opened) -> Self {
        let secret = opened.private.as_ref().map(|private| private.secret.clone());
        Self { secret, ..Self::of(state, opened) }
    }
}

/// The webhook that the address names.
pub(super) fn webhook_id(request: &HttpRequest) -> Result<WebhookId, Error> {
    request.match_info().get("id").and_then(|id| id.parse().ok()).ok_or(Error::NotFound)
}

fn url(fields: &mut Fields, state: &State, text: Option<String>) -> Option<String> {
    let text = text?.trim().to_owned();
    if let Err(refusal) = state.service.rules.reach.target(&text) {
        fields.faults.push(Fault::new("url", "invalid_url", refusal.to_string()));
    }
    Some(text)
}

fn events(fields: &mut Fields) -> Option<Vec<EventType>> {
    let names = fields.texts("events")?;
    let known = |name: &String| EventType::subscribable().find(|event| event.as_str() == name);
    let mut events: Vec<EventType> = Vec::new();
    for event in names.iter().map(known) {
        match event {
            Some(event) if !events.contains(&event) => events.push(event),
            Some(_) => {}
            None => {
                let all: Vec<_> = EventType::subscribable().map(EventType::as_str).collect();
                let message = format!("Each must be one of: {}.", all.join(", "));
                fields.faults.push(Fault::new("events", "unknown_value", message));
                return None;
            }
        }
    }
    if events.is_empty() {
        fields.faults.push(Fault::new("events", "required", "Name at least one event."));
    }
    Some(events)
}

fn format(fields: &mut Fields) -> Option<Format> {
    let name = fields.text("format")?;
    let format = Format::from_name(&name);
    if format.is_none() {
        let all: Vec<_> = Format::ALL.iter().map(|format| format.as_str()).collect();
        fields.faults.push(Fault::new("format", "unknown_value", format!("It must be one of: {}.", all.join(", "))));
    }
    format
}

/// The webhooks, the oldest first.
#[utoipa::path(
    get, path = "/api/v1/webhooks", tag = "Administrators", security(("account" = [])),
    params(("cursor" = Option<String>, Query), ("limit" = Option<u8>, Query, description = "1 to 200; 50 when missing")),
    responses(
        (status = 200, body = WebhooksAnswer),
        (status = "4XX", description = "A problem", body = Problem, content_type = "application/problem+json"),
    ),
)]
pub async fn list(state: web::Data<State>, admin: Admin<PageQuery>) -> Result<HttpResponse, ApiError> {
    let mut page = admin.input;
    let after = page.after_id()?.map(WebhookId);
    faultless(std::mem::take(&mut page.faults))?;
    let rows = state.service.webhooks_after(after, page.rows()).await?;
    let (rows, next_cursor) = page.cut(rows, |opened| opened.webhook.id.as_bytes().to_vec());
    let webhooks = rows.into_iter().map(|opened| WebhookShape::of(&state, opened)).collect();
    Ok(private(StatusCode::OK).json(WebhooksAnswer { webhooks, next_cursor }))
}

/// Makes a webhook. The answer holds its secret, for the only time.
#[utoipa::path(
    post, path = "/api/v1/webhooks", tag = "Administrators", security(("account" = [])), request_body = WebhookRequest,
    responses(
        (status = 201, body = WebhookShape),
        (status = "4XX", description = "A problem", body = Problem, content_type = "application/problem+json"),
    ),
)]
pub async fn add(state: web::Data<State>, admin: Admin<RequiredObject>) -> Result<HttpResponse, ApiError> {
    let mut fields = admin.input.0;
    let site = fields.text("site").map(|key| state.service.sites.by_key(&key).map(|site| site.id));
    if matches!(site, Some(Err(_))) {
        fields.faults.push(Fault::new("site", "unknown_site", "There is no site with this key."));
    }
    let typed = fields.required_text("url");
    let url = url(&mut fields, &state, typed);
    let events = events(&mut fields).unwrap_or_else(|| EventType::subscribable().collect());
    let format = format(&mut fields).unwrap_or(Format::Standard);
    let include_email = fields.flag("include_email").unwrap_or(false);
    fields.check()?;
    let url = url.ok_or_else(|| Error::internal("a field is missing that has no fault"))?;
    let new = NewWebhook { site: site.and_then(Result::ok), url, events, format, include_email };
    let made = state.service.add_webhook(new).await?;
    Ok(private(StatusCode::CREATED).json(WebhookShape::with_secret(&state, made)))
}

/// One webhook.
#[utoipa::path(
    get, path = "/api/v1/webhooks/{id}", tag = "Administrators", security(("account" = [])), params(("id" = String, Path)),
    responses(
        (status = 200, body = WebhookShape),
        (status = "4XX", description = "A problem", body = Problem, content_type = "application/problem+json"),
    ),
)]
pub async fn get(request: HttpRequest, state: web::Data<State>, _: Admin<NoBody>) -> Result<HttpResponse, ApiError> {
    let found = state.service.webhook(webhook_id(&request)?).await?;
    Ok(private(StatusCode::OK).json(WebhookShape::of(&state, found)))
}

/// Changes a webhook. Switching one on forgets how its receiver was doing.
#[utoipa::path(
    patch, path = "/api/v1/webhooks/{id}", tag = "Administrators", security(("account" = [])), params(("id" = String, Path)),
    request_body(content((WebhookPatchRequest = "application/merge-patch+json"), (WebhookPatchRequest = "application/json"))),
    responses(
        (status = 200, body = WebhookShape),
        (status = "4XX", description = "A problem", body = Problem, content_type = "application/problem+json"),
    ),
)]
pub async fn change(
    request: HttpRequest,
    state: web::Data<State>,
    admin: Admin<RequiredObject>,
) -> Result<HttpResponse, ApiError> {
    let id = webhook_id(&request)?;
    let mut fields = admin.input.0;
    fields.refuse_null(&["url", "events", "format", "include_email", "enabled"]);
    let typed = fields.text("url");
    let patch = WebhookPatch {
        url: url(&mut fields, &state, typed),
        events: events(&mut fields),
        format: format(&mut fields),
        include_email: fields.flag("include_email"),
        enabled: fields.flag("enabled"),
    };
    state.service.webhook(id).await?;
    fields.check()?;
    let changed = state.service.patch_webhook(id, patch).await?;
    Ok(private(StatusCode::OK).json(WebhookShape::of(&state, changed)))
}

/// Removes a webhook, what waits for it, and its log.
#[utoipa::path(
    delete, path = "/api/v1/webhooks/{id}", tag = "Administrators", security(("account" = [])), params(("id" = String, Path)),
    responses(
        (status = 204, description = "It is gone"),
        (status = "4XX", description = "A problem", body = Problem, content_type = "application/problem+json"),
    ),
)]
pub async fn remove(request: HttpRequest, state: web::Data<State>, _: Admin<NoBody>) -> Result<HttpResponse, ApiError> {
    state.service.remove_webhook(webhook_id(&request)?).await?;
    Ok(private(StatusCode::NO_CONTENT).finish())
}

/// A new secret. The former one signs beside it for 24 hours.
#[utoipa::path(
    post, path = "/api/v1/webhooks/{id}/rotate-secret", tag = "Administrators", security(("account" = [])),
    params(("id" = String, Path)),
    responses(
        (status = 200, body = WebhookShape),
        (status = "4XX", description = "A problem", body = Problem, content_type = "application/problem+json"),
    ),
)]
pub async fn rotate(
    request: HttpRequest,
    state: web::Data<State>,
    admin: Admin<OptionalObject>,
) -> Result<HttpResponse, ApiError> {
    state.service.webhook(webhook_id(&request)?).await?;
    admin.input.0.check()?;
    let rotated = state.service.rotate_webhook_secret(webhook_id(&request)?).await?;
    Ok(private(StatusCode::OK).json(WebhookShape::with_secret(&state, rotated)))
}
