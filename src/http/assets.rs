//! What browsers load from us: the files of `web/` as they lie there, each with its type, a strong `ETag` and compressed
//! forms. All that is made once, when first asked for. A debug build reads them from the disk at each request, so that a change
//! is seen without a compiler.

use std::borrow::Cow;
use std::collections::HashMap;
use std::sync::OnceLock;

use actix_web::http::header::{self, HeaderName, HeaderValue};
use actix_web::web::{self, Bytes};
use actix_web::{HttpRequest, HttpResponse};
use rust_embed::Embed;

use super::State;
use super::encoding::kept_answer;
use super::error::ApiError;
use super::pages::https_alone;
use crate::cache::Ready;
use crate::error::Error;

/// The files that are in the program.
#[derive(Embed)]
#[folder = "web/"]
#[include = "pages/*.css"]
#[include = "desk/*"]
#[include = "desk/language/*"]
#[include = "demo/*"]
#[include = "embed.js"]
#[include = "embed/*"]
#[include = "vendor/*"]
#[exclude = "*.md"]
#[exclude = "*.d.ts"]
struct Files;

/// The files, ready to be sent.
pub struct Assets {
    ready: HashMap<Cow<'static, str>, OnceLock<Ready>>,
}

impl Assets {
    /// Knows their names.
    pub fn new() -> Self {
        Self { ready: Files::iter().map(|name| (name, OnceLock::new())).collect() }
    }

    /// The file of that name below `web/`.
    pub fn answer(&self, request: &HttpRequest, name: &str) -> Result<HttpResponse, Error> {
        if cfg!(debug_assertions) {
            return Ok(kept_answer(request, &read(name)?));
        }
        let once = self.ready.get(name).ok_or(Error::NotFound)?;
        let ready = match once.get() {
            Some(ready) => ready,
            None => {
                let made = read(name)?;
                once.get_or_init(|| made)
            }
        };
        Ok(kept_answer(request, ready))
    }
}

fn read(name: &str) -> Result<Ready, Error> {
    let bytes = match Files::get(name).ok_or(Error::NotFound)?.data {
        Cow::Borrowed(in_the_program) => Bytes::from_static(in_the_program),
        Cow::Owned(read) => read.into(),
    };
    Ok(Ready::lasting(content_type(name), bytes))
}

fn content_type(name: &str) -> &'static str {
    match name.rsplit('.').next().unwrap_or_default() {
        "html" => "text/html; charset=utf-8",
        "css" => "text/css; charset=utf-8",
        "js" | "mjs" => "text/javascript; charset=utf-8",
        "json" => "application/json",
        "svg" => "image/svg+xml",
        _ => "text/plain; charset=utf-8",
    }
}

/// The style sheet of the service's own pages.
pub async fn page_style(request: HttpRequest, state: web::Data<State>) -> Result<HttpResponse, ApiError> {
    Ok(state.assets.answer(&request, "pages/page.css")?)
}

/// What the desk's page may do: run our scripts, look like our style sheet, talk to us. What others wrote becomes nodes in
/// one place alone (`web/desk/rich.js`), and only the policy named here may parse HTML.
const DESK_POLICY: &str = "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; \
     connect-src 'self'; font-src 'none'; base-uri 'none'; form-action 'self'; frame-ancestors 'none'; \
     require-trusted-types-for 'script'; trusted-types afterword-body";

/// The headers of every file of the desk.
const DESK_HEADERS: [(HeaderName, HeaderValue); 6] = [
    (header::CONTENT_SECURITY_POLICY, HeaderValue::from_static(DESK_POLICY)),
    (header::REFERRER_POLICY, HeaderValue::from_static("no-referrer")),
    (header::X_FRAME_OPTIONS, HeaderValue::from_static("DENY")),
    (header::CROSS_ORIGIN_OPENER_POLICY, HeaderValue::from_static("same-origin")),
    (header::CROSS_ORIGIN_RESOURCE_POLICY, HeaderValue::from_static("same-origin")),
    (HeaderName::from_static("x-robots-tag"), HeaderValue::from_static("noindex")),
];

/// A file of the moderators' desk; without a name its page. The libraries that it uses lie beside it.
pub async fn desk(request: HttpRequest, state: web::Data<State>) -> Result<HttpResponse, ApiError> {
    let name = match request.match_info().get("file").unwrap_or_default() {
        "" => "desk/index.html".to_owned(),
        file if file.starts_with("vendor/") => file.to_owned(),
        file => format!("desk/{file}"),
    };
    let mut response = state.assets.answer(&request, &name)?;
    for (header, value) in DESK_HEADERS.into_iter().chain(https_alone(&state.public_url)) {
        response.headers_mut().insert(header, value);
    }
    Ok(response)
}

/// The address of the desk is a folder's: what its page names lies below it.
pub async fn to_desk() -> HttpResponse {
    HttpResponse::PermanentRedirect().insert_header((header::LOCATION, "/admin/")).finish()
}

/// The widget.
pub async fn embed(request: HttpRequest, state: web::Data<State>) -> Result<HttpResponse, ApiError> {
    for_every_origin(&request, &state, "embed.js")
}

/// A part of the widget, or one of its languages.
pub async fn embed_part(request: HttpRequest, state: web::Data<State>) -> Result<HttpResponse, ApiError> {
    let name = format!("embed/{}", request.match_info().get("file").unwrap_or_default());
    for_every_origin(&request, &state, &name)
}

/// Pages of all origins may load it, also those that isolate themselves (`Cross-Origin-Embedder-Policy`).
fn for_every_origin(request: &HttpRequest, state: &State, name: &str) -> Result<HttpResponse, ApiError> {
    let mut response = state.assets.answer(request, name)?;
    response.headers_mut().insert(header::CROSS_ORIGIN_RESOURCE_POLICY, HeaderValue::from_static("cross-origin"));
    Ok(response)
}

/// What the demo may do: load from us, talk to us, and turn no text into HTML or script. A host can be as strict.
const DEMO_POLICY: &str = "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; connect-src 'self'; \
    base-uri 'none'; form-action 'self'; frame-ancestors 'none'; require-trusted-types-for 'script'; trusted-types 'none'";

/// An article with the widget, and the files that belong to it, where the operator shows it.
pub async fn demo(request: HttpRequest, state: web::Data<State>) -> Result<HttpResponse, ApiError> {
    if !state.shows_demo {
        return Err(Error::NotFound.into());
    }
    if let Some(elsewhere) = by_our_name(&request, &state.public_url) {
        return Ok(elsewhere);
    }
    let file = request.match_info().get("file").filter(|file| !file.is_empty()).unwrap_or("index.html");
    let mut response = state.assets.answer(&request, &format!("demo/{file}"))?;
    let headers = response.headers_mut();
    headers.insert(header::CONTENT_SECURITY_POLICY, HeaderValue::from_static(DEMO_POLICY));
    headers.insert(header::REFERRER_POLICY, HeaderValue::from_static("no-referrer"));
    headers.insert(header::CROSS_ORIGIN_OPENER_POLICY, HeaderValue::from_static("same-origin"));
    headers.insert(header::CROSS_ORIGIN_RESOURCE_POLICY, HeaderValue::from_static("same-origin"));
    if let Some((header, value)) = https_alone(&state.public_url) {
        headers.insert(header, value);
    }
    Ok(response)
}

/// Who came by `localhost` goes on by the address that we know ourselves by: pages of another origin may not write here.
fn by_our_name(request: &HttpRequest, public_url: &str) -> Option<HttpResponse> {
    let host = request.headers().get(header::HOST)?.to_str().ok()?;
    let other_name = host.split(':').next() == Some("localhost") && public_url.starts_with("http://127.0.0.1");
    other_name.then(|| HttpResponse::Found().insert_header((header::LOCATION, format!("{public_url}/demo/"))).finish())
}
