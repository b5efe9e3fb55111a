//! For operators: alive, ready, the API document, what error codes mean.

use actix_web::http::StatusCode;
use actix_web::http::header;
use actix_web::{HttpRequest, HttpResponse, web};
use pulldown_cmark::{Options, Parser};
use serde::Serialize;
use utoipa::ToSchema;

use super::State;
use super::encoding::kept_answer;
use super::error::{ApiError, Problem};
use super::openapi::document;
use crate::cache::Ready;
use crate::error::Error;
use crate::storage::migrations;

/// Every error code with a paragraph, under headings that are the codes.
const ERRORS: &str = include_str!("../../docs/errors.md");

/// Whether the service is well.
#[derive(Serialize, ToSchema)]
pub struct HealthAnswer {
    /// `ok`, or what is wrong.
    status: &'static str,
}

/// Whether the process is alive.
#[utoipa::path(get, path = "/healthz", tag = "Operators", responses((status = 200, body = HealthAnswer)))]
pub async fn healthz() -> HttpResponse {
    HttpResponse::Ok().insert_header((header::CACHE_CONTROL, "no-store")).json(HealthAnswer { status: "ok" })
}

/// Whether the service can serve: the database answers and the service is not stopping.
#[utoipa::path(
    get, path = "/readyz", tag = "Operators",
    responses((status = 200, body = HealthAnswer), (status = 503, description = "Draining, or the database is away", body = Problem, content_type = "application/problem+json")),
)]
pub async fn readyz(state: web::Data<State>) -> Result<HttpResponse, ApiError> {
    if state.is_draining() {
        return Err(Error::Busy.into());
    }
    state.service.db.read(migrations::ping).await.map_err(|_| Error::Busy)?;
    Ok(HttpResponse::Ok().insert_header((header::CACHE_CONTROL, "no-store")).json(HealthAnswer { status: "ok" }))
}

/// The description of this API.
#[utoipa::path(get, path = "/openapi.json", tag = "Operators", responses((status = 200, description = "OpenAPI 3.1", content_type = "application/json")))]
pub async fn openapi(request: HttpRequest, state: web::Data<State>) -> Result<HttpResponse, ApiError> {
    let make = || Ready::unkept("application/json", document(&state.public_url));
    Ok(kept_answer(&request, state.openapi.get_or_init(make)))
}

/// What an error code means and what to do.
#[utoipa::path(
    get, path = "/errors/{code}", tag = "Operators", params(("code" = String, Path)),
    responses((status = 200, description = "A page", content_type = "text/html"), (status = 404, body = Problem, content_type = "application/problem+json")),
)]
pub async fn error_page(request: HttpRequest, state: web::Data<State>) -> Result<HttpResponse, ApiError> {
    let code = request.match_info().get("code").unwrap_or_default();
    let text = error_text(code).ok_or(Error::NotFound)?;
    let mut html = String::new();
    pulldown_cmark::html::push_html(&mut html, Parser::new_ext(text, Options::ENABLE_TABLES));
    Ok(state.pages.answer(StatusCode::OK, "document.html", minijinja::context! { title => code, html })?)
}

/// The paragraph of a code.
pub fn error_text(code: &str) -> Option<&'static str> {
    let sections = ERRORS.split("\n## ").skip(1);
    sections
        .filter_map(|section| section.split_once('\n'))
        .find(|(title, _)| title.trim() == code)
        .map(|(_, text)| text.trim())
}
