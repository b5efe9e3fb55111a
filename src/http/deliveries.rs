//! What became of events for webhooks, and sending one by hand, for administrators.

use actix_web::http::StatusCode;
use actix_web::{HttpRequest, HttpResponse, web};
use serde::Serialize;
use utoipa::{IntoParams, ToSchema};

use super::State;
use super::error::{ApiError, Problem};
use super::moderator::{Admin, Input, OptionalObject};
use super::queue::private;
use super::request::{Pairs, bad_cursor, cursor_text, faultless};
use super::webhooks::webhook_id;
use crate::domain::fault::Fault;
use crate::domain::ids::{DeliveryId, EventId};
use crate::error::Error;
use crate::storage::webhook_queue::Delivery;

/// An attempt to deliver.
#[derive(Serialize, ToSchema)]
pub struct DeliveryShape {
    id: String,
    /// What stood in `webhook-id`.
    event: String,
    r#type: &'static str,
    /// 1 for the first.
    attempt: i32,
    /// `delivered`, `later` (it is tried again) or `given_up`.
    result: &'static str,
    /// What the receiver answered; null without an answer.
    status_code: Option<i32>,
    error: Option<String>,
    duration_ms: i64,
    #[schema(format = DateTime)]
    at: String,
}

/// Part of the log.
#[derive(Serialize, ToSchema)]
pub struct DeliveriesAnswer {
    /// The latest first.
    deliveries: Vec<DeliveryShape>,
    next_cursor: Option<String>,
}

/// What is on its way now; its end stands in the log.
#[derive(Serialize, ToSchema)]
pub struct SentAnswer {
    /// What stands in `webhook-id`.
    event: String,
}

impl From<Delivery> for DeliveryShape {
    fn from(delivery: Delivery) -> Self {
        Self {
            id: delivery.id.to_string(),
            event: delivery.event_id.to_string(),
            r#type: delivery.event.as_str(),
            attempt: delivery.attempt,
            result: delivery.result.as_str(),
            status_code: delivery.status_code,
            error: delivery.error,
            duration_ms: delivery.duration_ms,
            at: delivery.at.to_string(),
        }
    }
}

/// Sends a `ping`, once, also to a webhook that is switched off. How it ended stands in the log.
#[utoipa::path(
    post, path = "/api/v1/webhooks/{id}/test", tag = "Administrators", security(("account" = [])), params(("id" = String, Path)),
    responses(
        (status = 202, body = SentAnswer),
        (status = "4XX", description = "A problem", body = Problem, content_type = "application/problem+json"),
    ),
)]
pub async fn test(
    request: HttpRequest,
    state: web::Data<State>,
    admin: Admin<OptionalObject>,
) -> Result<HttpResponse, ApiError> {
    state.service.webhook(webhook_id(&request)?).await?;
    admin.input.0.check()?;
    Ok(sent(state.service.ping_webhook(webhook_id(&request)?).await?))
}

/// Sends an event again, once, under the id that it had.
#[utoipa::path(
    post, path = "/api/v1/webhooks/{id}/deliveries/{delivery}/replay", tag = "Administrators", security(("account" = [])),
    params(("id" = String, Path), ("delivery" = String, Path)),
    responses(
        (status = 202, body = SentAnswer),
        (status = "4XX", description = "A problem", body = Problem, content_type = "application/problem+json"),
    ),
)]
pub async fn replay(
    request: HttpRequest,
    state: web::Data<State>,
    admin: Admin<OptionalObject>,
) -> Result<HttpResponse, ApiError> {
    state.service.webhook(webhook_id(&request)?).await?;
    admin.input.0.check()?;
    let delivery = request.match_info().get("delivery").and_then(|id| id.parse().ok()).ok_or(Error::NotFound)?;
    Ok(sent(state.service.replay_delivery(webhook_id(&request)?, delivery).await?))
}

fn sent(event: EventId) -> HttpResponse {
    private(StatusCode::ACCEPTED).json(SentAnswer { event: event.to_string() })
}

/// What part of the log to read.
#[derive(IntoParams)]
#[into_params(parameter_in = Query)]
#[expect(dead_code, reason = "describes the query for the API document; it is read field by field")]
pub struct DeliveriesParams {
    /// 1 to 200; 50 when it is missing.
    limit: Option<i64>,
    /// From `next_cursor`.
    cursor: Option<String>,
}

/// The same as it was asked for.
pub struct DeliveriesQuery {
    before: Option<DeliveryId>,
    limit: i64,
    faults: Vec<Fault>,
}

impl Input for DeliveriesQuery {
    async fn read(request: &HttpRequest, _: web::Payload) -> Result<Self, ApiError> {
        let pairs = Pairs::of(request)?;
        let mut faults = Vec::new();
        let before = match pairs.cursor(&mut faults)? {
            Some(bytes) => Some(DeliveryId(uuid::Uuid::from_slice(&bytes).map_err(|_| bad_cursor())?)),
            None => None,
        };
        let limit = pairs.limit(&mut faults);
        Ok(Self { before, limit, faults })
    }
}

/// Attempts to deliver: the last hundred, for thirty days.
#[utoipa::path(
    get, path = "/api/v1/webhooks/{id}/deliveries", tag = "Administrators", security(("account" = [])),
    params(("id" = String, Path), DeliveriesParams),
    responses(
        (status = 200, body = DeliveriesAnswer),
        (status = "4XX", description = "A problem", body = Problem, content_type = "application/problem+json"),
    ),
)]
pub async fn deliveries(
    request: HttpRequest,
    state: web::Data<State>,
    admin: Admin<DeliveriesQuery>,
) -> Result<HttpResponse, ApiError> {
    let id = webhook_id(&request)?;
    let DeliveriesQuery { before, limit, faults } = admin.input;
    state.service.webhook(id).await?;
    faultless(faults)?;
    let mut found = state.service.deliveries(id, (before, limit + 1)).await?;
    let shown = usize::try_from(limit).unwrap_or(0);
    let more = found.len() > shown;
    found.truncate(shown);
    let next_cursor = found.last().filter(|_| more).map(|last| cursor_text(last.id.as_bytes()));
    let deliveries = found.into_iter().map(DeliveryShape::from).collect();
    Ok(private(StatusCode::OK).json(DeliveriesAnswer { deliveries, next_cursor }))
}
