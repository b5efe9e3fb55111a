//! What every request passes that no ready answer meets (`shortcut.rs`): the length of its address, preflights, the headers that allow other origins, the bucket of
//! refused requests, problem documents, rate-limit headers, one line in the log, and the counters. A panic below becomes a plain 500 and the
//! worker lives.

use std::panic::AssertUnwindSafe;
use std::time::Duration;

use actix_web::body::{BoxBody, MessageBody};
use actix_web::dev::{ServiceRequest, ServiceResponse};
use actix_web::error::InternalError;
use actix_web::http::header::{self, HeaderMap, HeaderName, HeaderValue};
use actix_web::http::{ConnectionType, Method, StatusCode};
use actix_web::middleware::Next;
use actix_web::{HttpMessage, HttpResponse, web};
use futures_util::FutureExt;

use super::State;
use super::error::ApiError;
use super::request::{self, RequestId};
use crate::domain::web::Origin;
use crate::error::Error;
use crate::metrics::Answered;

/// Longer addresses are 414 (contract §1). One above 65,534 bytes never comes here: the crate `http` holds no such address, so
/// actix answers a bare 400 while it reads the head (431 once the head is above 128 KiB) and closes the connection.
const MAX_URI: usize = 8 * 1024;

/// Who may read an answer from a page of another origin.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Sharing {
    /// Everybody: public data without credentials.
    Everyone,
    /// Pages of this site (none: of any site), and ours.
    Site,
    /// Nobody but our own pages.
    Own,
}

fn sharing(path: &str, method: &Method) -> Sharing {
    let reads = matches!(*method, Method::GET | Method::HEAD);
    if let Some(rest) = path.strip_prefix("/api/v1/sites/") {
        // The site itself, and the articles that it knows, are for those who look after it.
        if rest.split_once('/').is_none_or(|(_, what)| what == "articles" || what.starts_with("articles/")) {
            return Sharing::Own;
        }
        let changes_nothing = rest.ends_with("/counts") || rest.ends_with("/preview");
        return if reads || changes_nothing { Sharing::Everyone } else { Sharing::Site };
    }
    if path.starts_with("/api/v1/comments/") {
        return Sharing::Site;
    }
    let is_ours = ["/m/", "/u/", "/c/", "/n/", "/me/", "/admin/"].iter().any(|page| path.starts_with(page));
    if is_ours || path.starts_with("/api/") || path == "/metrics" || !reads { Sharing::Own } else { Sharing::Everyone }
}

/// The value of `Access-Control-Allow-Origin` for a request; none when its origin may not read the answer. Public answers
/// have it whether or not the request names an origin: a cache gives the same bytes to everybody.
pub(super) fn allowed_origin(state: &State, headers: &HeaderMap, path: &str, method: &Method) -> Option<HeaderValue> {
    let sharing = sharing(path, method);
    if sharing == Sharing::Everyone {
        return Some(HeaderValue::from_static("*"));
    }
    let sent = headers.get(header::ORIGIN)?;
    let origin = Origin::parse(sent.to_str().ok()?)?;
    if state.is_own_origin(&origin) {
        return Some(sent.clone());
    }
    let site = path.strip_prefix("/api/v1/sites/").and_then(|rest| rest.split('/').next());
    let owned = match (sharing, site) {
        (Sharing::Site, Some(key)) => state.service.sites.by_key(key).is_ok_and(|site| site.owns(&origin)),
        (Sharing::Site, None) => state.service.sites.any_owns(&origin),
        _ => false,
    };
    owned.then(|| sent.clone())
}

/// The method that a preflight asks about; none when the request is no preflight.
fn preflighted(request: &ServiceRequest) -> Option<Method> {
    let headers = request.headers();
    if request.method() != Method::OPTIONS || !headers.contains_key(header::ORIGIN) {
        return None;
    }
    headers.get(header::ACCESS_CONTROL_REQUEST_METHOD)?.to_str().ok()?.parse().ok()
}

/// The answer to a preflight: what this origin may do at this address.
fn preflight(state: &State, headers: &HeaderMap, path: &str, wanted: &Method) -> HttpResponse {
    let mut response = HttpResponse::NoContent();
    response.insert_header((header::VARY, "Origin, Access-Control-Request-Method"));
    if let Some(origin) = allowed_origin(state, headers, path, wanted) {
        response
            .insert_header((header::ACCESS_CONTROL_ALLOW_ORIGIN, origin))
            .insert_header((header::ACCESS_CONTROL_ALLOW_METHODS, "GET, HEAD, POST, PUT, PATCH, DELETE"))
            .insert_header((
                header::ACCESS_CONTROL_ALLOW_HEADERS,
                "Content-Type, Authorization, Idempotency-Key, If-Match",
            ))
            .insert_header((header::ACCESS_CONTROL_MAX_AGE, "7200"));
    }
    response.finish()
}

/// Runs the handler; none when it panicked. The request is gone with it.
async fn handle(
    request: ServiceRequest,
    next: Next<impl MessageBody + 'static>,
) -> Option<Result<ServiceResponse, actix_web::Error>> {
    let answer = AssertUnwindSafe(next.call(request)).catch_unwind().await.ok()?;
    Some(answer.map(ServiceResponse::map_into_boxed_body))
}

/// The answer after a panic, as an error that brings it along: without the request no other way leads out of here.
fn after_a_panic(state: &State, id: RequestId, origin: Option<HeaderValue>) -> actix_web::Error {
    tracing::error!(request_id = %id, "a handler panicked");
    let mut response = ApiError::Panicked.answer(&state.public_url, &id.to_string());
    common_headers(response.headers_mut(), origin);
    if let Ok(value) = HeaderValue::from_str(&id.to_string()) {
        response.headers_mut().insert(HeaderName::from_static("x-request-id"), value);
    }
    InternalError::from_response(ApiError::Panicked, response).into()
}

/// What goes around every handler.
pub async fn front(
    request: ServiceRequest,
    next: Next<impl MessageBody + 'static>,
) -> Result<ServiceResponse<BoxBody>, actix_web::Error> {
    let Some(state) = request.app_data::<web::Data<State>>().cloned() else {
        return Err(actix_web::error::ErrorInternalServerError("no state"));
    };
    let method = request.method().clone();
    let started = state.service.clock.monotonic();
    let id = RequestId(state.service.ids.next());
    request.extensions_mut().insert(id);
    let too_long = request.uri().path_and_query().is_some_and(|text| text.as_str().len() > MAX_URI);
    if let Some(wanted) = preflighted(&request).filter(|_| !too_long) {
        let response = preflight(&state, request.headers(), request.path(), &wanted);
        let response = request.into_response(response);
        count(&response, &state, started);
        return Ok(response);
    }
    let origin = allowed_origin(&state, request.headers(), request.path(), &method);
    let handled = if too_long {
        Ok(request.error_response(ApiError::UriTooLong))
    } else {
        handle(request, next).await.unwrap_or_else(|| Err(after_a_panic(&state, id, origin.clone())))
    };
    let mut response = handled.inspect_err(|error| {
        let status = error.as_response_error().status_code().as_u16();
        let lost = Answered { method: method.as_str(), route: NO_ROUTE, status };
        state.metrics.answered(lost, state.service.clock.monotonic().saturating_sub(started));
    })?;
    let failed = response.response().error().is_some();
    if failed {
        response = with_problem(response, &state, id);
    }
    if method == Method::CONNECT {
        // What follows would be the tunnel's bytes; they must not be read as another request.
        response.response_mut().head_mut().set_connection_type(ConnectionType::Close);
    }
    finish(&mut response, &state, origin, &method);
    let (pattern, took) = count(&response, &state, started);
    if failed || !matches!(method, Method::GET | Method::HEAD) {
        if let Ok(value) = HeaderValue::from_str(&id.to_string()) {
            response.headers_mut().insert(HeaderName::from_static("x-request-id"), value);
        }
        log(&response, id, &pattern, took);
    }
    Ok(response)
}

/// Writes the document of an error that a handler returned. What everybody may read costs nothing, also when it is asked
/// for wrongly; any other refused request is counted.
fn with_problem(response: ServiceResponse, state: &State, id: RequestId) -> ServiceResponse {
    let id = id.to_string();
    let request = response.request();
    let answer = match response.response().error().and_then(actix_web::Error::as_error::<ApiError>) {
        Some(error) => {
            let counts = sharing(request.path(), request.method()) != Sharing::Everyone;
            let limited = if counts { state.count_refusal(request, error).err() } else { None };
            error.log(&id);
            limited.as_ref().unwrap_or(error).answer(&state.public_url, &id)
        }
        // Not one of ours: actix could not read the request.
        None if response.status().is_server_error() => {
            ApiError::from(Error::internal("actix refused a request")).answer(&state.public_url, &id)
        }
        None => ApiError::from(Error::Malformed("The request cannot be read.".into())).answer(&state.public_url, &id),
    };
    let (request, _) = response.into_parts();
    ServiceResponse::new(request, answer)
}

/// The headers that every answer has.
fn finish(response: &mut ServiceResponse, state: &State, origin: Option<HeaderValue>, method: &Method) {
    let allowance =
        (*method == Method::POST).then(|| state.rings.allowance(request::client(response.request(), state))).flatten();
    let headers = response.headers_mut();
    common_headers(headers, origin);
    if let Some(allowance) = allowance {
        let policy = format!("\"address\";q={};w={}", allowance.burst, allowance.window.as_secs());
        let left =
            format!("\"address\";r={};t={}", allowance.remaining, allowance.next.as_nanos().div_ceil(1_000_000_000));
        for (name, text) in [("ratelimit-policy", policy), ("ratelimit", left)] {
            if let Ok(value) = HeaderValue::from_str(&text) {
                headers.insert(HeaderName::from_static(name), value);
            }
        }
    }
}

pub(super) fn common_headers(headers: &mut HeaderMap, origin: Option<HeaderValue>) {
    headers.insert(header::X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
    if let Some(origin) = origin {
        if origin != "*" {
            headers.append(header::VARY, HeaderValue::from_static("Origin"));
        }
        headers.insert(header::ACCESS_CONTROL_ALLOW_ORIGIN, origin);
        headers.insert(
            header::ACCESS_CONTROL_EXPOSE_HEADERS,
            HeaderValue::from_static("ETag, Retry-After, RateLimit, RateLimit-Policy, Location"),
        );
    }
}

/// What stands for the pattern of an address that is none of ours.
const NO_ROUTE: &str = "-";

/// Counts an answer; returns the pattern of its address and the time that it took.
fn count(response: &ServiceResponse, state: &State, started: Duration) -> (String, Duration) {
    let took = state.service.clock.monotonic().saturating_sub(started);
    let request = response.request();
    let pattern = request.match_pattern().unwrap_or_else(|| NO_ROUTE.to_owned());
    let answered = Answered { method: request.method().as_str(), route: &pattern, status: response.status().as_u16() };
    state.metrics.answered(answered, took);
    (pattern, took)
}

/// One line without a name, an address, a text or a token: the pattern of the path, never the path.
fn log(response: &ServiceResponse, id: RequestId, pattern: &str, took: Duration) {
    let request = response.request();
    let (status, millis) = (response.status(), took.as_millis());
    if status == StatusCode::NOT_FOUND {
        tracing::debug!(request_id = %id, method = %request.method(), path = pattern, status = status.as_u16(), millis, "request");
    } else {
        tracing::info!(request_id = %id, method = %request.method(), path = pattern, status = status.as_u16(), millis, "request");
    }
}
