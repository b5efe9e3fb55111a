//! What browsers load from us: the files of `web/` as they lie there, each with its type, a strong `ETag` and compressed
//! forms that are made once, when first asked for. A debug build reads them from the disk at each request, so that a change
//! is seen without a compiler.

use std::collections::HashMap;
use std::sync::Arc;

use actix_web::{HttpRequest, HttpResponse, web};
use rust_embed::Embed;

use super::State;
use super::encoding::kept_answer;
use super::error::ApiError;
use crate::cache::Ready;
use crate::error::Error;

/// The files that are in the program.
#[derive(Embed)]
#[folder = "web/"]
#[include = "pages/*.css"]
#[include = "desk/*"]
#[include = "demo/*"]
#[include = "embed/*"]
#[include = "vendor/*"]
#[exclude = "*.md"]
struct Files;

/// The files, ready to be sent.
pub struct Assets {
    ready: HashMap<String, Arc<Ready>>,
}

impl Assets {
    /// Reads them.
    pub fn new() -> Self {
        let named = |name: String| read(&name).map(|ready| (name, ready));
        Self { ready: Files::iter().map(String::from).filter_map(named).collect() }
    }

    /// The file of that name below `web/`.
    pub fn answer(&self, request: &HttpRequest, name: &str) -> Result<HttpResponse, Error> {
        let found = if cfg!(debug_assertions) { read(name) } else { self.ready.get(name).cloned() };
        let ready = found.ok_or(Error::NotFound)?;
        Ok(kept_answer(request, &ready))
    }
}

fn read(name: &str) -> Option<Arc<Ready>> {
    let file = Files::get(name)?;
    Some(Arc::new(Ready::lasting(content_type(name), file.data.into_owned())))
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
