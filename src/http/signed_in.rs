//! [`SignedIn`]: somebody with a session, in a handler's signature. [`Visitor`]: somebody who comes to get one. Whatever
//! changes something by a session must come from a page of ours and say so twice: by the headers that browsers set, and by
//! a token that no page of another origin can read.

use actix_web::dev::Payload;
use actix_web::http::{Method, header};
use actix_web::{FromRequest, HttpRequest, web};
use futures_util::future::LocalBoxFuture;

use super::State;
use super::cookies::Jar;
use super::error::ApiError;
use super::moderator::Input;
use super::request;
use crate::domain::web::Origin;
use crate::error::Error;
use crate::service::access::Pass;
use crate::service::sessions::{Browser, OpenSession};

/// Somebody who is signed in, and what they sent.
pub struct SignedIn<I> {
    /// The session.
    pub open: OpenSession,
    /// Its secret.
    pub secret: String,
    /// What they sent.
    pub input: I,
}

/// Somebody at one of our own pages, or a program that is no page; and what they sent.
pub struct Visitor<I> {
    /// What they sent.
    pub input: I,
}

impl<I: Input + 'static> FromRequest for SignedIn<I> {
    type Error = ApiError;
    type Future = LocalBoxFuture<'static, Result<Self, ApiError>>;

    fn from_request(request: &HttpRequest, payload: &mut Payload) -> Self::Future {
        let (request, payload) = (request.clone(), web::Payload::from_request(request, payload));
        Box::pin(async move {
            let (state, input) = read(&request, payload).await?;
            if request::bearer(request.headers())?.is_some() {
                return Err(Error::Unauthenticated("An access token is no session: sign in at the desk.").into());
            }
            let (secret, open) = open(&request, &state).await?;
            Ok(Self { open, secret, input })
        })
    }
}

impl<I: Input + 'static> FromRequest for Visitor<I> {
    type Error = ApiError;
    type Future = LocalBoxFuture<'static, Result<Self, ApiError>>;

    fn from_request(request: &HttpRequest, payload: &mut Payload) -> Self::Future {
        let (request, payload) = (request.clone(), web::Payload::from_request(request, payload));
        Box::pin(async move {
            let (state, input) = read(&request, payload).await?;
            names_own_page(&request, &state)?;
            Ok(Self { input })
        })
    }
}

async fn read<I: Input>(
    request: &HttpRequest,
    payload: impl Future<Output = Result<web::Payload, actix_web::Error>>,
) -> Result<(web::Data<State>, I), ApiError> {
    let payload = payload.await.map_err(|_| Error::Malformed("The body cannot be read.".into()))?;
    let input = I::read(request, payload).await?;
    let state = request.app_data::<web::Data<State>>().ok_or_else(|| Error::internal("no state"))?.clone();
    Ok((state, input))
}

/// The session that a request comes with, which may do what the request wants as far as pages of other origins are
/// concerned. 401 without one, 403 when it may not.
pub async fn open(request: &HttpRequest, state: &State) -> Result<(String, OpenSession), ApiError> {
    let missing = "Sign in at the desk, or send an access token: Authorization: Bearer, a space, and the token.";
    let secret = Jar::Session.read(request, &state.public_url).ok_or(Error::Unauthenticated(missing))?;
    let open = state.service.open_session(&secret).await?;
    let open = open.ok_or(Error::Unauthenticated("This session is over. Sign in again."))?;
    if !matches!(*request.method(), Method::GET | Method::HEAD) {
        let token = request.headers().get("x-csrf-token").map(header::HeaderValue::as_bytes).unwrap_or_default();
        if !names_own_page(request, state)? || !state.service.is_csrf_token(&secret, token) {
            return Err(Error::Forbidden(
                "Requests of a session carry its X-CSRF-Token and come from its page.".into(),
            )
            .into());
        }
    }
    state.service.touch_session(&open.session).await?;
    Ok((secret, open))
}

/// Whether the browser says that a page of ours sends this; `false` when it says nothing. [`Error::Forbidden`] when it names
/// another page.
fn names_own_page(request: &HttpRequest, state: &State) -> Result<bool, Error> {
    let (origin, site) = (request.headers().get(header::ORIGIN), request.headers().get("sec-fetch-site"));
    let own = |value: &header::HeaderValue| {
        value.to_str().ok().and_then(Origin::parse).is_some_and(|origin| state.is_own_origin(&origin))
    };
    if origin.is_some_and(|value| !own(value)) || site.is_some_and(|value| value != "same-origin") {
        let text = format!("Only the service's own pages may do this: {}/admin/", state.public_url);
        return Err(Error::Forbidden(text.into()));
    }
    Ok(origin.is_some() || site.is_some())
}

/// What a request shows to prove whose it is, right or wrong. A token counts before a session.
pub fn pass(request: &HttpRequest, state: &State) -> Result<Option<Pass>, Error> {
    if let Some(token) = request::bearer(request.headers())? {
        return Ok(Some(Pass::Token(token.to_owned())));
    }
    Ok(Jar::Session.read(request, &state.public_url).map(Pass::Session))
}

/// The browser that sends this.
pub fn browser(request: &HttpRequest, state: &State) -> Browser {
    let name = request.headers().get(header::USER_AGENT).and_then(|value| value.to_str().ok());
    let cookie = |jar: Jar| jar.read(request, &state.public_url);
    Browser { user_agent: name.map(str::to_owned), former: cookie(Jar::Session), mark: cookie(Jar::Device) }
}
