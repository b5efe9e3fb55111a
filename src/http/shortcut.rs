//! The way that nearly all requests take: an answer that lies ready is given before actix-web makes anything of the request
//! (no routing, no middleware, no future in a box). Everything else goes on to the application.

use actix_http::Request;
use actix_service::{IntoServiceFactory, Service, ServiceFactory, forward_ready};
use actix_web::body::BoxBody;
use actix_web::dev::{AppConfig, Response, ServiceResponse};
use actix_web::http::{Method, StatusCode};
use actix_web::{HttpMessage, HttpResponse, web};
use futures_util::TryFutureExt;
use futures_util::future::{Either, LocalBoxFuture, MapOk, Ready, ready};

use super::State;
use super::front::{allowed_origin, common_headers};

/// An application with the short way in front of it.
pub struct Shortcut<F> {
    application: F,
    state: web::Data<State>,
}

impl<F> Shortcut<F> {
    /// Puts the short way in front of an application that answers by the same state.
    pub fn new(state: web::Data<State>, application: impl IntoServiceFactory<F, Request>) -> Self
    where
        F: ServiceFactory<Request>,
    {
        Self { application: application.into_factory(), state }
    }
}

impl<F> ServiceFactory<Request> for Shortcut<F>
where
    F: ServiceFactory<Request, Config = AppConfig, Response = ServiceResponse>,
    F::Future: 'static,
{
    type Response = Response<BoxBody>;
    type Error = F::Error;
    type Config = AppConfig;
    type Service = Forked<F::Service>;
    type InitError = F::InitError;
    type Future = LocalBoxFuture<'static, Result<Self::Service, Self::InitError>>;

    fn new_service(&self, config: AppConfig) -> Self::Future {
        let state = self.state.clone();
        Box::pin(self.application.new_service(config).map_ok(|application| Forked { application, state }))
    }
}

/// Where the two ways part.
pub struct Forked<S> {
    application: S,
    state: web::Data<State>,
}

type Answer<E> = Ready<Result<Response<BoxBody>, E>>;

impl<S: Service<Request, Response = ServiceResponse>> Service<Request> for Forked<S> {
    type Response = Response<BoxBody>;
    type Error = S::Error;
    type Future = Either<Answer<S::Error>, MapOk<S::Future, fn(ServiceResponse) -> Response<BoxBody>>>;

    forward_ready!(application);

    fn call(&self, request: Request) -> Self::Future {
        match ready_answer(&self.state, &request) {
            Some(response) => Either::Left(ready(Ok(response.into()))),
            None => Either::Right(self.application.call(request).map_ok(Response::from)),
        }
    }
}

/// The answer to a reader, if it lies ready.
fn ready_answer(state: &State, request: &Request) -> Option<HttpResponse> {
    let (method, path) = (request.method(), request.path());
    let reads = matches!(*method, Method::GET | Method::HEAD) && path.starts_with("/api/v1/sites/");
    let address = request.uri().path_and_query().filter(|_| reads)?;
    let mut response = state.ready(address.as_str(), request.headers())?;
    common_headers(response.headers_mut(), allowed_origin(state, request.headers(), path, method));
    let is_known = response.status() == StatusCode::NOT_MODIFIED;
    state.metrics.answered_from_cache(path, *method == Method::HEAD, is_known);
    Some(response)
}
