//! Reads requests: who sends it, its body, its query, its credentials. What comes out is text and bytes that the services
//! parse; what cannot be read at all is refused here, in the contract's order (413, 415, 400, …).

use std::borrow::Cow;
use std::fmt;
use std::time::Duration;

use actix_web::http::header::{self, HeaderMap};
use actix_web::{HttpMessage, HttpRequest, web};
use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use futures_util::StreamExt;

use super::State;
use super::error::ApiError;
use super::json::Fields;
use crate::domain::fault::Fault;
use crate::error::Error;
use crate::limits::address::ClientAddress;

/// The largest body of JSON or a form (contract §1).
pub const MAX_BODY: usize = 256 * 1024;

/// A body that takes longer is given up, however slowly it drips.
const BODY_LIMIT: Duration = Duration::from_secs(15);

/// Finds a request in the log; made before anything else looks at it.
#[derive(Debug, Clone, Copy)]
pub struct RequestId(pub uuid::Uuid);

impl RequestId {
    /// The id that the front gave to a request.
    pub fn of(request: &HttpRequest) -> Self {
        request.extensions().get().copied().unwrap_or(Self(uuid::Uuid::nil()))
    }
}

impl fmt::Display for RequestId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// Where a request comes from.
pub fn client(request: &HttpRequest, state: &State) -> ClientAddress {
    // A line that is no text keeps its place: without it an older line, which anybody may have written, would count.
    let lines = |name: &str| -> Vec<Cow<'_, str>> {
        request.headers().get_all(name).map(|value| String::from_utf8_lossy(value.as_bytes())).collect()
    };
    let (listed, described) = (lines("x-forwarded-for"), lines("forwarded"));
    match request.peer_addr() {
        Some(peer) => {
            state.proxies.client(peer.ip(), listed.iter().map(AsRef::as_ref), described.iter().map(AsRef::as_ref))
        }
        // Only a request that a test made by hand has no peer.
        None => ClientAddress::new(std::net::IpAddr::V4(std::net::Ipv4Addr::UNSPECIFIED)),
    }
}

/// The types of body that an address reads.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum BodyType {
    /// `application/json`.
    Json,
    /// `application/x-www-form-urlencoded`.
    Form,
}

/// Reads the whole body: [`ApiError::BodyTooLarge`] above 256 KiB, as soon as that is known.
pub async fn read_body(request: &HttpRequest, payload: web::Payload) -> Result<Vec<u8>, ApiError> {
    read_body_up_to(request, payload, MAX_BODY).await
}

/// Likewise, above so many bytes.
pub async fn read_body_up_to(
    request: &HttpRequest,
    mut payload: web::Payload,
    most: usize,
) -> Result<Vec<u8>, ApiError> {
    let declared =
        request.headers().get(header::CONTENT_LENGTH).and_then(|value| value.to_str().ok()?.parse::<u64>().ok());
    if declared.is_some_and(|length| length > most as u64) {
        return Err(ApiError::BodyTooLarge);
    }
    let read = async {
        let mut body = Vec::new();
        while let Some(chunk) = payload.next().await {
            let chunk = chunk.map_err(|_| Error::Malformed("The body ended before its announced end.".into()))?;
            if body.len() + chunk.len() > most {
                return Err(ApiError::BodyTooLarge);
            }
            body.extend_from_slice(&chunk);
        }
        Ok(body)
    };
    match tokio::time::timeout(BODY_LIMIT, read).await {
        Ok(body) => body,
        Err(_) => Err(Error::Malformed("The body did not arrive within 15 seconds.".into()).into()),
    }
}

/// The type of the body, if it is one of `accepted`. Compressed bodies are refused: a small one may hold a huge text.
pub fn body_type(headers: &HeaderMap, accepted: &[BodyType]) -> Result<BodyType, ApiError> {
    let refused = || {
        Err(ApiError::UnsupportedMediaType(if accepted.contains(&BodyType::Form) {
            "Send application/json or application/x-www-form-urlencoded in UTF-8, not compressed."
        } else {
            "Send application/json in UTF-8, not compressed."
        }))
    };
    let encoding = headers.get(header::CONTENT_ENCODING).map(header::HeaderValue::as_bytes);
    if encoding.is_some_and(|value| !value.eq_ignore_ascii_case(b"identity")) {
        return refused();
    }
    let text = headers.get(header::CONTENT_TYPE).and_then(|value| value.to_str().ok()).unwrap_or_default();
    let mut parts = text.split(';').map(str::trim);
    let essence = parts.next().unwrap_or_default().to_ascii_lowercase();
    let is_utf8 = parts.all(|parameter| match parameter.split_once('=') {
        Some((name, value)) if name.trim().eq_ignore_ascii_case("charset") => {
            value.trim().trim_matches('"').eq_ignore_ascii_case("utf-8")
        }
        _ => true,
    });
    let found = match essence.as_str() {
        "application/json" | "application/merge-patch+json" => BodyType::Json,
        "application/x-www-form-urlencoded" => BodyType::Form,
        _ => return refused(),
    };
    if is_utf8 && accepted.contains(&found) { Ok(found) } else { refused() }
}

/// [`ApiError::UnsupportedMediaType`] unless the body is plain text in UTF-8 and not compressed.
pub fn check_plain_text(headers: &HeaderMap) -> Result<(), ApiError> {
    let of = |name| headers.get(name).map(header::HeaderValue::as_bytes).unwrap_or_default();
    let kind = String::from_utf8_lossy(of(header::CONTENT_TYPE)).to_ascii_lowercase().replace([' ', '"'], "");
    let plain = matches!(kind.as_str(), "text/plain" | "text/plain;charset=utf-8");
    let packed = !matches!(of(header::CONTENT_ENCODING), b"" | b"identity");
    if plain && !packed {
        return Ok(());
    }
    Err(ApiError::UnsupportedMediaType("Send text/plain in UTF-8, not compressed."))
}

/// Reads a JSON object.
pub async fn read_json(request: &HttpRequest, payload: web::Payload) -> Result<Fields, ApiError> {
    let body = read_body(request, payload).await?;
    body_type(request.headers(), &[BodyType::Json])?;
    Ok(Fields::parse(&body)?)
}

/// Reads a JSON object where no body at all is fine too, and then no type is needed.
pub async fn read_optional_json(request: &HttpRequest, payload: web::Payload) -> Result<Fields, ApiError> {
    let body = read_body(request, payload).await?;
    if body.is_empty() {
        return Ok(Fields::default());
    }
    if request.headers().contains_key(header::CONTENT_TYPE) {
        body_type(request.headers(), &[BodyType::Json])?;
    }
    Ok(Fields::parse(&body)?)
}

/// [`Error::Invalid`] with all of them, if there are any.
pub fn faultless(faults: Vec<Fault>) -> Result<(), Error> {
    if faults.is_empty() { Ok(()) } else { Err(Error::Invalid(faults)) }
}

/// The pairs of a query or a form, decoded. [`Error::Malformed`] for what is not UTF-8.
#[derive(Debug, Default)]
pub struct Pairs(Vec<(String, String)>);

impl Pairs {
    /// Reads `a=b&c=d`.
    pub fn parse(text: &[u8]) -> Result<Self, Error> {
        let pieces = text.split(|byte| *byte == b'&').filter(|piece| !piece.is_empty());
        let pairs = pieces.map(|piece| {
            let at = piece.iter().position(|byte| *byte == b'=').unwrap_or(piece.len());
            let (key, value) = (piece.get(..at).unwrap_or_default(), piece.get(at + 1..).unwrap_or_default());
            Ok((decoded(key)?, decoded(value)?))
        });
        pairs.collect::<Result<_, _>>().map(Self)
    }

    /// The query of a request.
    pub fn of(request: &HttpRequest) -> Result<Self, Error> {
        Self::parse(request.query_string().as_bytes())
    }

    /// All pairs, known or not, in one spelling: equal for equal forms.
    pub fn canonical(&self) -> Vec<u8> {
        serde_json::to_vec(&self.0).unwrap_or_default()
    }

    /// The value of a key. Two of them are a fault: nobody can tell which one counts.
    pub fn one(&self, key: &'static str, faults: &mut Vec<Fault>) -> Option<&str> {
        let mut found = self.0.iter().filter(|(name, _)| name == key).map(|(_, value)| value.as_str());
        let first = found.next();
        if found.next().is_some() {
            faults.push(Fault::new(key, "given_twice", "It is given more than once. Give it once."));
        }
        first
    }

    /// All values of a key.
    pub fn all(&self, key: &str) -> Vec<String> {
        self.0.iter().filter(|(name, _)| name == key).map(|(_, value)| value.clone()).collect()
    }

    /// `limit`, between 1 and 200; 50 when it is missing.
    pub fn limit(&self, faults: &mut Vec<Fault>) -> i64 {
        match self.one("limit", faults).map(str::parse::<i64>) {
            None => 50,
            Some(Ok(limit @ 1..=200)) => limit,
            Some(_) => {
                faults.push(Fault::new("limit", "out_of_range", "It must be a whole number from 1 to 200."));
                50
            }
        }
    }

    /// One of a few values by its name.
    pub fn choice<T: Copy>(&self, key: &'static str, faults: &mut Vec<Fault>, values: &[(&str, T)]) -> Option<T> {
        let text = self.one(key, faults)?;
        let choice = values.iter().find(|(name, _)| *name == text).map(|(_, value)| *value);
        if choice.is_none() {
            let names: Vec<&str> = values.iter().map(|(name, _)| *name).collect();
            faults.push(Fault::new(key, "unknown_value", format!("It must be one of: {}.", names.join(", "))));
        }
        choice
    }

    /// The bytes of `cursor`. [`Error::Malformed`] for one that we did not make.
    pub fn cursor(&self, faults: &mut Vec<Fault>) -> Result<Option<Vec<u8>>, Error> {
        match self.one("cursor", faults) {
            None | Some("") => Ok(None),
            Some(text) => URL_SAFE_NO_PAD.decode(text).map(Some).map_err(|_| bad_cursor()),
        }
    }
}

/// The cursor is not one of ours, or belongs to another list.
pub fn bad_cursor() -> Error {
    Error::Malformed("The cursor is not one of this list. Start again without it.".into())
}

/// A cursor from bytes.
pub fn cursor_text(bytes: &[u8]) -> String {
    URL_SAFE_NO_PAD.encode(bytes)
}

/// Percent-decoding with `+` for a space, as forms do it.
fn decoded(text: &[u8]) -> Result<String, Error> {
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text.iter().copied();
    while let Some(byte) = rest.next() {
        let hex = |byte: Option<u8>| byte.and_then(|byte| char::from(byte).to_digit(16));
        let mut ahead = rest.clone();
        match (byte, hex(ahead.next()), hex(ahead.next())) {
            (b'+', _, _) => bytes.push(b' '),
            (b'%', Some(high), Some(low)) => {
                bytes.push(u8::try_from(high * 16 + low).unwrap_or(0));
                rest = ahead;
            }
            _ => bytes.push(byte),
        }
    }
    String::from_utf8(bytes).map_err(|_| Error::Malformed("The address or the form is not UTF-8.".into()))
}

/// The bearer token of a request. Another scheme or a token that is no text is [`Error::Unauthenticated`].
pub fn bearer(headers: &HeaderMap) -> Result<Option<&str>, Error> {
    let Some(value) = headers.get(header::AUTHORIZATION) else { return Ok(None) };
    let token = value.to_str().ok().and_then(|text| {
        let (scheme, token) = text.split_once(' ')?;
        scheme.eq_ignore_ascii_case("bearer").then_some(token.trim())
    });
    match token {
        Some(token) if !token.is_empty() => Ok(Some(token)),
        _ => Err(Error::Unauthenticated("The Authorization header must be: Bearer, a space, and the token.")),
    }
}

/// The versions that `If-Match` asks for: none for `*` and when the header is missing. An entity tag that is none of ours
/// matches nothing, so that the list may be empty: whether the thing is there at all is the first question.
pub fn if_match(headers: &HeaderMap) -> Option<Vec<i64>> {
    let lines: Vec<&str> = headers.get_all(header::IF_MATCH).map(|value| value.to_str().unwrap_or_default()).collect();
    let tags: Vec<&str> = lines.iter().flat_map(|line| line.split(',')).map(str::trim).collect();
    if tags.is_empty() || tags.contains(&"*") {
        return None;
    }
    let version = |tag: &&str| tag.strip_prefix('"')?.strip_suffix('"')?.parse::<i64>().ok();
    Some(tags.iter().filter_map(version).collect())
}

/// The `Idempotency-Key` of a request, bare or quoted: 1 to 128 visible ASCII characters.
pub fn idempotency_key(headers: &HeaderMap) -> Result<Option<String>, Fault> {
    let Some(value) = headers.get("idempotency-key") else { return Ok(None) };
    let text = value.to_str().unwrap_or_default().trim();
    let bare = text.strip_prefix('"').and_then(|rest| rest.strip_suffix('"')).unwrap_or(text);
    check_idempotency_key(bare).map(|()| Some(bare.to_owned()))
}

/// A fault unless the key is 1 to 128 visible ASCII characters.
pub fn check_idempotency_key(key: &str) -> Result<(), Fault> {
    if (1..=128).contains(&key.len()) && key.bytes().all(|byte| byte.is_ascii_graphic()) {
        return Ok(());
    }
    Err(Fault::new("idempotency_key", "invalid_key", "The Idempotency-Key must be 1 to 128 visible ASCII characters."))
}

#[cfg(test)]
mod tests {
    use super::*;
    use actix_web::http::header::{HeaderName, HeaderValue};

    fn headers(pairs: &[(&'static str, &str)]) -> HeaderMap {
        let mut map = HeaderMap::new();
        for (name, value) in pairs {
            map.append(HeaderName::from_static(name), HeaderValue::from_str(value).unwrap());
        }
        map
    }

    #[test]
    fn types_of_bodies() {
        let both = [BodyType::Json, BodyType::Form];
        let of = |value: &str| body_type(&headers(&[("content-type", value)]), &both).ok();
        for json in ["application/json", "Application/JSON; charset=UTF-8", "application/json;charset=\"utf-8\"; x=y"] {
            assert_eq!(of(json), Some(BodyType::Json), "{json}");
        }
        assert_eq!(of("application/x-www-form-urlencoded"), Some(BodyType::Form));
        for other in [
            "text/plain",
            "application/json; charset=latin1",
            "multipart/form-data; boundary=x",
            "",
            "application/jsonp",
        ] {
            assert_eq!(of(other), None, "{other}");
        }
        let packed = headers(&[("content-type", "application/json"), ("content-encoding", "gzip")]);
        assert!(body_type(&packed, &both).is_err());
    }

    #[test]
    fn pairs_are_decoded_strictly() {
        let pairs = Pairs::parse(b"a=1+2&b=%C3%A4%&a=3&flag&=x&c=%zz").unwrap();
        let mut faults = Vec::new();
        assert_eq!(pairs.all("a"), ["1 2", "3"]);
        assert_eq!(pairs.one("b", &mut faults), Some("ä%"));
        assert_eq!(pairs.one("c", &mut faults), Some("%zz"));
        assert_eq!(pairs.one("flag", &mut faults), Some(""));
        assert!(faults.is_empty());
        pairs.one("a", &mut faults);
        assert_eq!(faults[0].code, "given_twice");
        assert!(Pairs::parse(b"a=%ff").is_err());
    }

    #[test]
    fn conditions_and_keys() {
        assert_eq!(if_match(&headers(&[])), None);
        assert_eq!(if_match(&headers(&[("if-match", "*")])), None);
        assert_eq!(if_match(&headers(&[("if-match", "\"3\", \"4\"")])), Some(vec![3, 4]));
        assert_eq!(if_match(&headers(&[("if-match", "W/\"3\"")])), Some(vec![]));
        assert_eq!(if_match(&headers(&[("if-match", "\"x\"")])), Some(vec![]));
        let key = |value: &str| idempotency_key(&headers(&[("idempotency-key", value)]));
        assert_eq!(key("\"a-b\"").unwrap().as_deref(), Some("a-b"));
        assert_eq!(key("a-b").unwrap().as_deref(), Some("a-b"));
        assert!(key("").is_err() && key("a b").is_err() && key(&"k".repeat(129)).is_err());
        assert_eq!(bearer(&headers(&[("authorization", "bearer x")])).unwrap(), Some("x"));
        assert!(bearer(&headers(&[("authorization", "Basic eA==")])).is_err());
        assert_eq!(bearer(&headers(&[])).unwrap(), None);
    }
}
