//! What handlers work with, made once for all workers: the use cases, the limits, the ready answers, the pages.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, OnceLock};

use actix_web::HttpRequest;
use actix_web::http::header;

use super::assets::Assets;
use super::error::ApiError;
use super::pages::Pages;
use super::request;
use crate::cache::{Cache, Ready};
use crate::domain::site::Site;
use crate::domain::web::Origin;
use crate::error::Error;
use crate::limits::address::TrustedProxies;
use crate::limits::rings::Rings;
use crate::live::Live;
use crate::metrics::Metrics;
use crate::service::Service;

/// What handlers work with. One for all workers.
pub struct State {
    /// The use cases.
    pub service: Arc<Service>,
    /// The rate limits.
    pub rings: Rings,
    /// Answers that are ready.
    pub cache: Cache,
    /// Whoever listens.
    pub live: Arc<Live>,
    /// The proxies in front.
    pub proxies: TrustedProxies,
    /// How people reach us, without a slash at the end.
    pub public_url: String,
    /// What is counted and measured.
    pub metrics: Arc<Metrics>,
    pub(super) metrics_apart: bool,
    pub(super) shows_demo: bool,
    pub(super) pages: Pages,
    pub(super) assets: Assets,
    /// Made when somebody asks for it: few do, and the code that makes it is large.
    pub(super) openapi: OnceLock<Ready>,
    draining: AtomicBool,
}

/// What a [`State`] is made from; its fields say what each is.
#[expect(missing_docs, reason = "documented on State")]
pub struct StateParts {
    pub service: Arc<Service>,
    pub rings: Rings,
    pub cache: Cache,
    pub live: Arc<Live>,
    pub proxies: TrustedProxies,
    pub public_url: String,
    pub metrics: Arc<Metrics>,
    /// Whether the metrics have a socket of their own.
    pub metrics_apart: bool,
    /// Whether there is a demo.
    pub shows_demo: bool,
}

impl State {
    /// Puts the state together.
    pub fn new(parts: StateParts) -> Result<Self, Error> {
        let StateParts { service, rings, cache, live, proxies, public_url, metrics, metrics_apart, shows_demo } = parts;
        let changes = cache.changes.clone();
        service.db.on_change(move |sources| sources.iter().for_each(|source| changes.changed(*source)));
        Ok(Self {
            service,
            rings,
            cache,
            live,
            proxies,
            pages: Pages::new(&public_url)?,
            assets: Assets::new(),
            openapi: OnceLock::new(),
            public_url,
            metrics,
            metrics_apart,
            shows_demo,
            draining: AtomicBool::new(false),
        })
    }

    /// From now on the service says that it is not ready, and nobody listens any more: whoever did finds another instance.
    pub fn drain(&self) {
        self.draining.store(true, Ordering::Relaxed);
        self.live.stop.cancel();
    }

    pub(super) fn is_draining(&self) -> bool {
        self.draining.load(Ordering::Relaxed)
    }

    /// The site that the address names.
    pub(super) fn site(&self, request: &HttpRequest) -> Result<Arc<Site>, Error> {
        self.service.sites.by_key(request.match_info().get("site").unwrap_or_default())
    }

    /// Where people ask for what they wrote on a site.
    pub(super) fn own_data(&self, site: &Site) -> String {
        format!("{}/me/{}", self.public_url, site.key.as_str())
    }

    /// [`Error::Forbidden`] when a page of a foreign origin sends this. No `Origin` is fine; `null` only for plain forms.
    pub(super) fn check_origin(&self, request: &HttpRequest, site: &Site, plain_form: bool) -> Result<(), Error> {
        let Some(value) = request.headers().get(header::ORIGIN) else { return Ok(()) };
        if plain_form && value == "null" {
            return Ok(());
        }
        match value.to_str().ok().and_then(Origin::parse) {
            Some(origin) if site.owns(&origin) || self.is_own_origin(&origin) => Ok(()),
            _ => Err(Error::Forbidden("Pages of this origin may not write here. Add the origin to the site.".into())),
        }
    }

    /// Whether a page of this origin is one of ours.
    pub(super) fn is_own_origin(&self, origin: &Origin) -> bool {
        self.service.rules.own_origin.as_ref() == Some(origin)
    }

    /// Counts a request that was refused for what it holds; 429 once its sender's bucket for that is spent.
    pub(super) fn count_refusal(&self, request: &HttpRequest, error: &ApiError) -> Result<(), ApiError> {
        let ApiError::Core(Error::Invalid(_) | Error::IdempotencyKeyReused) = error else { return Ok(()) };
        Ok(self.rings.invalid(request::client(request, self)).map_err(Error::RateLimited)?)
    }

    /// 401 for a wrong token, or 429 when there were too many of them.
    pub(super) async fn wrong_token(&self, request: &HttpRequest, text: &'static str) -> ApiError {
        match self.rings.wrong_credentials(request::client(request, self)).await {
            Ok(()) => Error::Unauthenticated(text).into(),
            Err(wait) => Error::RateLimited(wait).into(),
        }
    }
}
