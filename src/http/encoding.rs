//! Sends answers that caches keep: each form of the bytes (plain, gzip, brotli) has a strong `ETag` of its own; a client
//! that has it gets 304.

use actix_web::http::StatusCode;
use actix_web::http::header::{self, HeaderMap, HeaderName, HeaderValue};
use actix_web::{HttpRequest, HttpResponse};

use super::State;
use super::error::ApiError;
use crate::cache::{Encoding, Ready};
use crate::error::Error;

/// CDNs may keep an answer for seconds (contract §1).
const CDN_CACHE_CONTROL: HeaderName = HeaderName::from_static("cdn-cache-control");

impl State {
    /// The answer to this request if it is ready; nothing else is looked at.
    pub(super) fn ready(&self, path_and_query: &str, headers: &HeaderMap) -> Option<HttpResponse> {
        self.cache.get(path_and_query).map(|ready| send(headers, &ready))
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
}

/// A public answer for everybody that is not worth keeping.
pub fn public_answer(request: &HttpRequest, content_type: &'static str, body: Vec<u8>) -> HttpResponse {
    send(request.headers(), &Ready::unkept(content_type, body))
}

/// An answer that is kept elsewhere.
pub fn kept_answer(request: &HttpRequest, ready: &Ready) -> HttpResponse {
    send(request.headers(), ready)
}

/// JSON that is the same for everybody.
pub fn json<T: serde::Serialize>(answer: &T) -> Result<Vec<u8>, ApiError> {
    Ok(serde_json::to_vec(answer).map_err(Error::internal)?)
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
    let lines = headers.get_all(header::IF_NONE_MATCH).filter_map(|value| value.to_str().ok());
    lines
        .flat_map(|line| line.split(','))
        .map(str::trim)
        .any(|known| known == "*" || known.trim_start_matches("W/").as_bytes() == tag)
}

/// The best encoding that the client takes. RFC 9110 §12.5.3: `q=0` refuses, `*` speaks for what is not named.
fn preferred(headers: &HeaderMap) -> Encoding {
    let lines: Vec<&str> =
        headers.get_all(header::ACCEPT_ENCODING).map(HeaderValue::to_str).filter_map(Result::ok).collect();
    let quality = |name: &str| {
        let named = |wanted: &str| {
            lines.iter().flat_map(|line| line.split(',')).find_map(|item| {
                let mut parts = item.split(';').map(str::trim);
                parts.next().filter(|coding| coding.eq_ignore_ascii_case(wanted))?;
                let q =
                    parts.find_map(|parameter| parameter.strip_prefix("q=").map(|q| q.parse::<f32>().unwrap_or(0.0)));
                Some(q.unwrap_or(1.0))
            })
        };
        named(name).or_else(|| named("*")).unwrap_or(0.0)
    };
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
    fn tags_compare_weakly() {
        let mut headers = HeaderMap::new();
        headers.append(header::IF_NONE_MATCH, HeaderValue::from_static("\"a\", W/\"b\""));
        assert!(
            matches_etag(&headers, b"\"a\"") && matches_etag(&headers, b"\"b\"") && !matches_etag(&headers, b"\"c\"")
        );
    }
}
