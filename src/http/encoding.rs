//! Sends answers that caches keep: each form of the bytes (plain, gzip, brotli) has a strong `ETag` of its own; a client
//! that has it gets 304.

use actix_web::http::StatusCode;
use actix_web::http::header::{self, HeaderMap, HeaderName, HeaderValue};
use actix_web::{HttpRequest, HttpResponse};

use super::State;
use super::error::ApiError;
use super::fragment;
use crate::cache::{Encoding, Ready};
use crate::error::Error;

/// CDNs may keep an answer for seconds (contract §1).
const CDN_CACHE_CONTROL: HeaderName = HeaderName::from_static("cdn-cache-control");

impl State {
    /// The answer to this request if it is ready; nothing else is looked at.
    pub(super) fn ready(&self, path_and_query: &str, headers: &HeaderMap) -> Option<HttpResponse> {
        let ready = if may_be_a_page(path_and_query) && wants_html(headers) {
            self.cache.get(&key_of_page(path_and_query))
        } else {
            self.cache.get(path_and_query)
        };
        ready.map(|ready| send(headers, &ready))
    }

    /// Answers with what `make` makes, or has made before.
    pub(super) async fn answer_from_cache<F>(&self, request: &HttpRequest, make: F) -> Result<HttpResponse, ApiError>
    where
        F: Future<Output = Result<Ready, ApiError>>,
    {
        let address = request.uri().path_and_query().map_or("", |text| text.as_str());
        let ready = self.cache.get_or_make(address, make).await?;
        Ok(send(request.headers(), &ready))
    }

    /// Likewise with the page of this address.
    pub(super) async fn page_from_cache<F>(&self, request: &HttpRequest, make: F) -> Result<HttpResponse, ApiError>
    where
        F: Future<Output = Result<Ready, ApiError>>,
    {
        let address = request.uri().path_and_query().map_or("", |text| text.as_str());
        let ready = self.cache.get_or_make(&key_of_page(address), make).await?;
        Ok(send(request.headers(), &ready))
    }
}

/// Whether an address may have a page beside its JSON. One that is spelled otherwise may, too: then the application decides.
fn may_be_a_page(path_and_query: &str) -> bool {
    let path = path_and_query.split('?').next().unwrap_or_default();
    path.ends_with("/comments") || path.contains('%')
}

/// Where the page of an address lies. No address contains a tab.
fn key_of_page(path_and_query: &str) -> String {
    format!("{path_and_query}\thtml")
}

/// Whether the client would rather have HTML than JSON. RFC 9110 §12.5.1: the most specific range decides, `q=0` refuses;
/// without a preference it is JSON.
pub fn wants_html(headers: &HeaderMap) -> bool {
    // Nearly all who want JSON name no HTML at all.
    let names_html = |value: &HeaderValue| value.as_bytes().windows(4).any(|four| four.eq_ignore_ascii_case(b"text"));
    if !headers.get_all(header::ACCEPT).any(names_html) {
        return false;
    }
    let quality =
        |ranges: [&str; 3]| ranges.iter().find_map(|range| quality(headers, header::ACCEPT, range)).unwrap_or(0.0);
    let html = quality(["text/html", "text/*", "*/*"]);
    html > 0.0 && html > quality(["application/json", "application/*", "*/*"])
}

/// The weight that a header of preferences gives to a name; none when it does not name it.
fn quality(headers: &HeaderMap, header: HeaderName, wanted: &str) -> Option<f32> {
    let lines = headers.get_all(header).filter_map(|value| value.to_str().ok());
    lines.flat_map(|line| line.split(',')).find_map(|item| {
        let mut parts = item.split(';').map(str::trim);
        parts.next().filter(|name| name.eq_ignore_ascii_case(wanted))?;
        let q = |parameter: &str| {
            let (name, value) = parameter.split_once('=')?;
            name.trim().eq_ignore_ascii_case("q").then(|| value.trim().parse().unwrap_or(0.0))
        };
        Some(parts.find_map(q).unwrap_or(1.0))
    })
}

/// A public answer for everybody that is not worth keeping.
pub fn public_answer(request: &HttpRequest, content_type: &'static str, body: Vec<u8>) -> HttpResponse {
    send(request.headers(), &Ready::unkept(content_type, body))
}

/// An answer that is kept elsewhere.
pub fn kept_answer(request: &HttpRequest, ready: &Ready) -> HttpResponse {
    send(request.headers(), ready)
}

/// Room for most answers, so that they are not copied while they grow; what is kept gives back what it did not need.
const MOST_ANSWERS: usize = 32 * 1024;

/// JSON that is the same for everybody.
pub fn json<T: serde::Serialize>(answer: &T) -> Result<Vec<u8>, ApiError> {
    let mut body = Vec::with_capacity(MOST_ANSWERS);
    serde_json::to_writer(&mut body, answer).map_err(Error::internal)?;
    Ok(body)
}

fn send(headers: &HeaderMap, ready: &Ready) -> HttpResponse {
    let (encoding, form) = ready.form(preferred(headers));
    let known = matches_etag(headers, &form.etag);
    let mut response = HttpResponse::new(if known { StatusCode::NOT_MODIFIED } else { StatusCode::OK });
    let sent = response.headers_mut();
    if let Ok(etag) = HeaderValue::from_maybe_shared(form.etag.clone()) {
        sent.insert(header::ETAG, etag);
    }
    sent.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-cache"));
    sent.insert(CDN_CACHE_CONTROL, HeaderValue::from_static("max-age=5, stale-while-revalidate=30"));
    sent.insert(header::VARY, HeaderValue::from_static("Accept, Accept-Encoding"));
    if known {
        return response;
    }
    sent.insert(header::CONTENT_TYPE, HeaderValue::from_static(ready.content_type));
    if ready.content_type == fragment::CONTENT_TYPE {
        sent.insert(header::CONTENT_SECURITY_POLICY, HeaderValue::from_static(fragment::POLICY));
        sent.insert(HeaderName::from_static("x-robots-tag"), HeaderValue::from_static("noindex"));
    }
    let name = match encoding {
        Encoding::Identity => None,
        Encoding::Gzip => Some("gzip"),
        Encoding::Brotli => Some("br"),
    };
    if let Some(name) = name {
        sent.insert(header::CONTENT_ENCODING, HeaderValue::from_static(name));
    }
    response.set_body(actix_web::body::BoxBody::new(form.bytes.clone()))
}

/// Whether `If-None-Match` names this tag. Weak comparison, as RFC 9110 §13.1.2 says.
fn matches_etag(headers: &HeaderMap, tag: &[u8]) -> bool {
    let names = |line: &str| {
        let mut known = line.split(',').map(str::trim);
        known.any(|known| known == "*" || known.strip_prefix("W/").unwrap_or(known).as_bytes() == tag)
    };
    // Nearly all who ask so have this one alone.
    let mut lines = headers.get_all(header::IF_NONE_MATCH);
    lines.any(|line| line.as_bytes() == tag || line.to_str().is_ok_and(names))
}

/// The best encoding that the client takes. RFC 9110 §12.5.3: `q=0` refuses, `*` speaks for what is not named.
fn preferred(headers: &HeaderMap) -> Encoding {
    if !headers.contains_key(header::ACCEPT_ENCODING) {
        return Encoding::Identity;
    }
    let named = |name: &str| quality(headers, header::ACCEPT_ENCODING, name);
    let quality = |name: &str| named(name).or_else(|| named("*")).unwrap_or(0.0);
    let (brotli, gzip) = (quality("br"), quality("gzip"));
    if brotli > 0.0 && brotli >= gzip {
        Encoding::Brotli
    } else if gzip > 0.0 {
        Encoding::Gzip
    } else {
        Encoding::Identity
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use actix_web::http::header::HeaderName;

    fn asked(value: &str) -> Encoding {
        let mut headers = HeaderMap::new();
        headers.insert(HeaderName::from_static("accept-encoding"), HeaderValue::from_str(value).unwrap());
        preferred(&headers)
    }

    #[test]
    fn the_client_chooses() {
        assert_eq!(asked("gzip, deflate, br, zstd"), Encoding::Brotli);
        assert_eq!(asked("gzip;q=1.0, br;q=0.5"), Encoding::Gzip);
        assert_eq!(asked("br;q=0, gzip;q=0, *"), Encoding::Identity);
        assert_eq!(asked("*"), Encoding::Brotli);
        assert_eq!(asked("identity"), Encoding::Identity);
        assert_eq!(asked(""), Encoding::Identity);
    }

    #[test]
    fn html_is_for_whoever_would_rather_have_it() {
        let wants = |value: &'static str| {
            let mut headers = HeaderMap::new();
            headers.insert(header::ACCEPT, HeaderValue::from_static(value));
            wants_html(&headers)
        };
        let browser = "text/html,application/xhtml+xml,application/xml;q=0.9,*/*;q=0.8";
        for html in ["text/html", "TEXT/HTML", browser, "text/*", "application/json;q=0.5, text/html;q=0.6"] {
            assert!(wants(html), "{html}");
        }
        for json in [
            "*/*",
            "application/json",
            "",
            "text/html;q=0",
            "text/html, application/json",
            "text/html;q=0.5, */*",
            "text/plain",
            "application/json, text/*;q=0.9",
            "image/*",
            "text/html;Q=0.1, application/*;q=0.2",
        ] {
            assert!(!wants(json), "{json}");
        }
        assert!(!wants_html(&HeaderMap::new()));
    }

    #[test]
    fn tags_compare_weakly() {
        let mut headers = HeaderMap::new();
        headers.append(header::IF_NONE_MATCH, HeaderValue::from_static("\"a\", W/\"b\""));
        assert!(
            matches_etag(&headers, b"\"a\"") && matches_etag(&headers, b"\"b\"") && !matches_etag(&headers, b"\"c\"")
        );
    }
}
