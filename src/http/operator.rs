//! For operators: alive, ready, the API document, what error codes mean, the pictures beside names.

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
    if let Some(ready) = state.openapi.get() {
        return Ok(kept_answer(&request, ready));
    }
    let document = document(&state.public_url).map_err(Error::internal)?;
    Ok(kept_answer(&request, state.openapi.get_or_init(|| Ready::unkept("application/json", document))))
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

/// The picture beside a name: five by five squares, mirrored, in a colour, all taken from the address itself.
#[utoipa::path(
    get, path = "/avatars/{token}.svg", tag = "Readers and writers", params(("token" = String, Path, description = "16 hex digits")),
    responses((status = 200, description = "A picture that never changes", content_type = "image/svg+xml"), (status = 404, body = Problem, content_type = "application/problem+json")),
)]
pub async fn avatar(request: HttpRequest) -> Result<HttpResponse, ApiError> {
    let token = request.match_info().get("token").unwrap_or_default();
    let bits = u64::from_str_radix(token, 16).ok().filter(|_| token.len() == 16).ok_or(Error::NotFound)?;
    Ok(HttpResponse::Ok()
        .content_type("image/svg+xml")
        .insert_header((header::CACHE_CONTROL, "public, max-age=31536000, immutable"))
        .insert_header((header::CONTENT_SECURITY_POLICY, "default-src 'none'"))
        .body(picture(bits)))
}

fn picture(bits: u64) -> String {
    let hue = bits >> 55;
    let places = (0..3).flat_map(|column| (0..5).map(move |row| (column, row))).enumerate();
    let filled = places.filter(|(place, _)| bits >> place & 1 == 1).map(|(_, square)| square);
    let mirrored = filled.flat_map(|(column, row)| [(column, row), (4 - column, row)]);
    let squares: Vec<String> = mirrored.map(|(column, row)| format!("M{column} {row}h1v1h-1z")).collect();
    let squares = squares.concat();
    format!(
        "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"-1 -1 7 7\" width=\"36\" height=\"36\">\
         <path fill=\"hsl({hue} 45% 92%)\" d=\"M-1-1h7v7h-7z\"/><path fill=\"hsl({hue} 50% 42%)\" d=\"{squares}\"/></svg>"
    )
}
