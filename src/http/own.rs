//! An author's own comment, by the author token: look, change for a while, delete.

use actix_web::http::StatusCode;
use actix_web::http::header;
use actix_web::{HttpRequest, HttpResponse, web};
use utoipa::ToSchema;

use super::State;
use super::error::{ApiError, Problem};
use super::request;
use super::shapes::OwnShape;
use crate::domain::ids::{AuthorId, CommentId};
use crate::error::Error;
use crate::limits::rings::Posting;
use crate::service::edits::{Edited, Editor};
use crate::service::own::{RawPatch, Right};
use crate::storage::articles;
use crate::storage::comments::Comment;

/// A merge patch; what is missing stays.
#[derive(ToSchema)]
#[expect(dead_code, reason = "describes the body for the API document; it is read field by field")]
pub struct PatchRequest {
    name: Option<String>,
    /// Null takes it away.
    website: Option<String>,
    /// Markdown.
    body: Option<String>,
}

/// The author's comment, or why not: no token is 401, and so is one that we did not make for the comment's site; somebody
/// else's comment is 404, like one that is not there.
async fn own(request: &HttpRequest, state: &State) -> Result<(Comment, AuthorId), ApiError> {
    let missing = Error::Unauthenticated("Send the author token that came with the comment.");
    let token = request::bearer(request.headers())?.ok_or(missing)?.to_owned();
    let id: Option<CommentId> = request.match_info().get("id").and_then(|id| id.parse().ok());
    let Some((author, comment)) = state.service.author_and_comment(&token, id).await? else {
        return Err(state.wrong_token(request, "This author token is not valid here.").await);
    };
    Ok((comment.ok_or(Error::NotFound)?, author))
}

/// The author's own comment.
#[utoipa::path(
    get, path = "/api/v1/comments/{id}", tag = "Readers and writers", params(("id" = String, Path)), security(("author" = [])),
    responses(
        (status = 200, body = OwnShape),
        (status = "4XX", description = "A problem", body = Problem, content_type = "application/problem+json"),
    ),
)]
pub async fn get(request: HttpRequest, state: web::Data<State>) -> Result<HttpResponse, ApiError> {
    let (comment, _) = own(&request, &state).await?;
    Ok(answer(&state, StatusCode::OK, &comment))
}

/// Changes the author's own comment within the time for it.
#[utoipa::path(
    patch, path = "/api/v1/comments/{id}", tag = "Readers and writers", params(("id" = String, Path)), security(("author" = [])),
    request_body(content((PatchRequest = "application/merge-patch+json"), (PatchRequest = "application/json"))),
    responses(
        (status = 200, description = "The new text is in place", body = OwnShape),
        (status = 202, description = "The approved text stays public while the new one waits", body = OwnShape),
        (status = "4XX", description = "A problem", body = Problem, content_type = "application/problem+json"),
    ),
)]
pub async fn patch(
    request: HttpRequest,
    state: web::Data<State>,
    payload: web::Payload,
) -> Result<HttpResponse, ApiError> {
    let mut fields = request::read_json(&request, payload).await?;
    let (comment, author) = own(&request, &state).await?;
    let site = state.service.sites.by_id(comment.site_id)?;
    state.check_origin(&request, &site, false)?;
    state.service.check_edit_window(&comment, state.service.clock.now())?;
    let raw = RawPatch {
        name: fields.text_or_fault("name"),
        website: fields.changed_text("website"),
        body: fields.text_or_fault("body"),
    };
    let patch = raw.parse(&site.settings.form_rules(&state.service.rules.fields), fields.finish())?;
    admit(&request, &state, &comment).await?;
    let editor = Editor { right: Right::Token(author), client: request::client(&request, &state).address() };
    Ok(match state.service.edit_own(comment.id, editor, patch).await? {
        Edited::Applied(comment) => answer(&state, StatusCode::OK, &comment),
        Edited::Waits(comment) => answer(&state, StatusCode::ACCEPTED, &comment),
    })
}

/// A new text costs its readers and moderators what a new comment costs them, so it passes the same rings.
async fn admit(request: &HttpRequest, state: &State, comment: &Comment) -> Result<(), Error> {
    let id = comment.article_id;
    let article = state.service.db.read(move |conn| articles::by_ids(conn, &[id])).await?.remove(&id);
    let key = article.ok_or(Error::NotFound)?.key;
    let posting = Posting { from: request::client(request, state), site: comment.site_id, article: &key };
    state.rings.admit(posting).await.map_err(Error::RateLimited)
}

/// Deletes the author's own comment for good.
#[utoipa::path(
    delete, path = "/api/v1/comments/{id}", tag = "Readers and writers", params(("id" = String, Path)), security(("author" = [])),
    responses(
        (status = 204, description = "It is gone"),
        (status = "4XX", description = "A problem", body = Problem, content_type = "application/problem+json"),
    ),
)]
pub async fn delete(request: HttpRequest, state: web::Data<State>) -> Result<HttpResponse, ApiError> {
    let (comment, author) = own(&request, &state).await?;
    state.check_origin(&request, state.service.sites.by_id(comment.site_id)?.as_ref(), false)?;
    state.service.remove_own(comment.id, Right::Token(author)).await?;
    Ok(HttpResponse::NoContent().insert_header((header::CACHE_CONTROL, "no-store")).finish())
}

fn answer(state: &State, status: StatusCode, comment: &Comment) -> HttpResponse {
    HttpResponse::build(status).insert_header((header::CACHE_CONTROL, "no-store")).json(state.own(comment))
}
