//! Answers that caches keep: each form of the bytes (plain, gzip, brotli) has a strong `ETag` of its own, made from the
//! bytes; a client that has it gets 304.

use std::io::Write;

use actix_web::http::StatusCode;
use actix_web::http::header::{self, HeaderMap, HeaderValue};
use actix_web::{HttpRequest, HttpResponse};
use sha2::{Digest, Sha256};

use crate::keys::hex;

/// Below this compression saves less than its headers cost.
const WORTH_COMPRESSING: usize = 512;

/// A form in which bytes are sent.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Encoding {
    Identity,
    Gzip,
    Brotli,
}

impl Encoding {
    fn name(self) -> Option<&'static str> {
        match self {
            Self::Identity => None,
            Self::Gzip => Some("gzip"),
            Self::Brotli => Some("br"),
        }
    }
}

/// A public answer for everybody: cached by browsers only to be asked again, by CDNs for seconds (contract §1).
pub fn public_answer(request: &HttpRequest, content_type: &'static str, body: Vec<u8>) -> HttpResponse {
    let encoding = if body.len() < WORTH_COMPRESSING { Encoding::Identity } else { preferred(request.headers()) };
    let digest = hex(Sha256::digest(&body).first_chunk::<12>().unwrap_or(&[0; 12]));
    let tag = match encoding.name() {
        None => format!("\"{digest}\""),
        Some(name) => format!("\"{digest}-{name}\""),
    };
    let known = matches_etag(request.headers(), &tag);
    let mut response = HttpResponse::build(if known { StatusCode::NOT_MODIFIED } else { StatusCode::OK });
    response
        .insert_header((header::ETAG, tag))
        .insert_header((header::CACHE_CONTROL, "no-cache"))
        .insert_header(("cdn-cache-control", "max-age=5, stale-while-revalidate=30"))
        .insert_header((header::VARY, "Accept, Accept-Encoding"));
    if known {
        return response.finish();
    }
    if let Some(name) = encoding.name() {
        response.insert_header((header::CONTENT_ENCODING, name));
    }
    response.content_type(content_type).body(encoded(encoding, body))
}

/// Whether `If-None-Match` names this tag. Weak comparison, as RFC 9110 §13.1.2 says.
fn matches_etag(headers: &HeaderMap, tag: &str) -> bool {
    let lines = headers.get_all(header::IF_NONE_MATCH).filter_map(|value| value.to_str().ok());
    lines
        .flat_map(|line| line.split(','))
        .map(str::trim)
        .any(|known| known == "*" || known.trim_start_matches("W/") == tag)
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

fn encoded(encoding: Encoding, body: Vec<u8>) -> Vec<u8> {
    match encoding {
        Encoding::Identity => body,
        Encoding::Gzip => {
            let mut packer =
                flate2::write::GzEncoder::new(Vec::with_capacity(body.len() / 3), flate2::Compression::new(6));
            // Writing into memory does not fail.
            let _ = packer.write_all(&body);
            packer.finish().unwrap_or_default()
        }
        Encoding::Brotli => {
            let mut packed = Vec::with_capacity(body.len() / 3);
            let mut packer = brotli::CompressorWriter::new(&mut packed, 4096, 5, 20);
            let _ = packer.write_all(&body);
            drop(packer);
            packed
        }
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
        assert!(matches_etag(&headers, "\"a\"") && matches_etag(&headers, "\"b\"") && !matches_etag(&headers, "\"c\""));
    }
}
