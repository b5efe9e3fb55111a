//! A moderator's answer to a comment: public at once, as staff.

use actix_web::http::{StatusCode, header};
use actix_web::{HttpRequest, HttpResponse, web};
use utoipa::ToSchema;

use super::State;
use super::decisions::{sound, target};
use super::error::{ApiError, Problem};
use super::moderator::{Moderator, RequiredObject};
use super::queue::{shaped, with_version};
use super::request;
use super::shapes::ModeratorShape;
use crate::service::moderation::Authority;
use crate::service::own::RawPatch;
use crate::service::reply::Reply;
use crate::service::submission::Repeatable;

/// An answer.
#[derive(ToSchema)]
#[expect(dead_code, reason = "describes the body for the API document; it is read field by field")]
pub struct ReplyRequest {
    /// Markdown.
    body: String,
}

/// Answers a comment as staff; one that waits is approved with it.
#[utoipa::path(
    post, path = "/api/v1/moderation/comments/{id}/reply", tag = "Moderators", security(("account" = [])),
    params(
        ("id" = String, Path), ("If-Match" = Option<String>, Header, description = "The version that was looked at"),
        ("Idempotency-Key" = Option<String>, Header, description = "1 to 128 visible ASCII characters; sent again within 24 hours it makes no second answer"),
    ),
    request_body = ReplyRequest,
    responses(
        (status = 201, body = ModeratorShape),
        (status = "4XX", description = "A problem", body = Problem, content_type = "application/problem+json"),
    ),
)]
pub async fn reply(
    request: HttpRequest,
    state: web::Data<State>,
    moderator: Moderator<RequiredObject>,
) -> Result<HttpResponse, ApiError> {
    let target = target(&request)?;
    let mut fields = moderator.input.0;
    let canonical = fields.canonical();
    let raw = RawPatch { body: fields.required_text("body"), ..RawPatch::default() };
    let key = request::idempotency_key(request.headers()).map_err(|fault| fields.faults.push(fault)).ok().flatten();
    let patch = raw.parse(&state.service.rules.fields.into(), fields.finish());
    let patch = sound(&state, &moderator.access, target.id, patch).await?;
    let repeatable = key.map(|key| Repeatable { key, request: canonical });
    let comment = state
        .service
        .reply(Authority { access: moderator.access, via: moderator.via }, Reply { target, patch, repeatable })
        .await?;
    let place = format!("{}/api/v1/moderation/comments/{}", state.public_url, comment.id);
    let mut response = with_version(StatusCode::CREATED, comment.version);
    Ok(response.insert_header((header::LOCATION, place)).json(shaped(&state, &comment).await?))
}
