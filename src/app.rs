//! Puts the program together and runs it: database, key, sites, limits, mailer, workers, HTTP. Used by `main` and by tests,
//! which pass a clock and a mailer of their own.

use std::net::{SocketAddr, TcpListener};
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use actix_web::dev::ServerHandle;
use actix_web::middleware::from_fn;
use actix_web::{App as HttpApp, HttpServer, web};
use secrecy::{ExposeSecret, SecretString};
use tokio_util::sync::CancellationToken;

use crate::cache::Cache;
use crate::clock::{Clock, SystemClock};
use crate::config::{Config, Limits};
use crate::domain::reach::Reach;
use crate::error::Error;
use crate::http::{self, State, StateParts};
use crate::jobs::{Worker, housekeeping};
use crate::keys::Keys;
use crate::limits::address::TrustedProxies;
use crate::limits::rings::{Common, Rings};
use crate::live::{Hall, Live, Seats};
use crate::mail::Mailer;
use crate::metrics::Metrics;
use crate::service::{PeopleCeilings, Rules, Service};
use crate::storage::shared_limits::SharedLimits;
use crate::storage::{DatabaseSettings, Db, copy, meta, migrations};

/// The places for listeners.
fn hall(limits: &Limits) -> Hall {
    let readers = Seats { all: limits.reader_streams, each: limits.reader_streams_per_address };
    Hall { moderators: Seats { all: limits.streams, each: limits.streams_per_account }, readers }
}

/// Requests that are being answered get this long when the service stops.
const STOP_LIMIT_SECONDS: u64 = 7;

/// A client must send its whole head within this time.
const HEAD_LIMIT: Duration = Duration::from_secs(10);

/// A connection without a request is closed after this time.
const KEEP_ALIVE: Duration = Duration::from_secs(30);

/// Connections that wait to be accepted.
const BACKLOG: u32 = 2048;

/// The program, ready to run.
pub struct App {
    /// The use cases.
    pub service: Arc<Service>,
    /// What HTTP handlers work with.
    pub state: web::Data<State>,
    /// The outbox worker.
    pub worker: Arc<Worker>,
    workers: usize,
}

/// Where the program answers.
pub struct Sockets {
    /// Requests.
    pub requests: TcpListener,
    /// Prometheus, if it has a socket of its own.
    pub metrics: Option<TcpListener>,
}

/// What tests replace.
pub struct Parts {
    /// The time.
    pub clock: Arc<dyn Clock>,
    /// How mail leaves; none: as the settings say.
    pub mailer: Option<Mailer>,
    /// How long a visitor waits for the rate limits that instances share.
    pub patience: Duration,
    /// How often a stream shows a sign of life, and the rights of its listener are looked at again.
    pub heartbeat: Duration,
}

impl Default for Parts {
    fn default() -> Self {
        Self {
            clock: Arc::new(SystemClock::default()),
            mailer: None,
            patience: Duration::from_millis(250),
            heartbeat: Duration::from_secs(15),
        }
    }
}

/// Installs the one TLS provider. Without it every TLS connection would panic.
pub fn install_tls() {
    // A second call finds it installed, which is as good.
    let _ = rustls::crypto::ring::default_provider().install_default();
}

/// Opens the database and the key that belongs to it, with use cases over both; what is missing is made. What the service
/// needs, and the commands that come first.
pub async fn open_service(config: &Config, clock: Arc<dyn Clock>) -> Result<Arc<Service>, Error> {
    let settings = database_settings(config);
    let opened = tokio::task::spawn_blocking(move || Db::open(&settings)).await;
    let db = opened.map_err(Error::internal)??;
    db.read(copy::refuse_half_a_copy).await?;
    let path = &config.secrets.key_file;
    let known = db.read(|conn| meta::get(conn, meta::KEY_CHECK)).await?;
    if known.is_some() && !path.exists() {
        return Err(missing_key(path));
    }
    let keys = Keys::load_or_make(path)?;
    let own = keys.check_value();
    let stored = db.write(move |tx| meta::get_or_put(tx, meta::KEY_CHECK, &own)).await?;
    check_key(&keys, &stored, path)?;
    let service = Arc::new(Service::new(db, Arc::new(keys), clock, rules(config)?));
    service.ensure_default_site().await?;
    Ok(service)
}

/// What is there of an installation.
pub enum Installed {
    /// No database, or one without a table of ours.
    Nothing,
    /// A database that waits for migrations.
    Outdated,
    /// All that it takes.
    Ready(Arc<Service>),
}

/// Opens what is there, as it is: the other commands must not make a second installation in the wrong folder, nor bring a
/// database up to date under a service that runs.
pub async fn open_existing(config: &Config, clock: Arc<dyn Clock>) -> Result<Installed, Error> {
    let settings = database_settings(config);
    let opened = tokio::task::spawn_blocking(move || Db::open_existing(&settings)).await;
    let Some(db) = opened.map_err(Error::internal)?? else { return Ok(Installed::Nothing) };
    if !db.read(migrations::is_current).await? {
        return Ok(Installed::Outdated);
    }
    db.read(copy::refuse_half_a_copy).await?;
    let path = &config.secrets.key_file;
    let keys = Keys::load(path)?.ok_or_else(|| missing_key(path))?;
    if let Some(stored) = db.read(|conn| meta::get(conn, meta::KEY_CHECK)).await? {
        check_key(&keys, &stored, path)?;
    }
    let service = Arc::new(Service::new(db, Arc::new(keys), clock, rules(config)?));
    service.refresh_sites().await?;
    Ok(Installed::Ready(service))
}

/// The settings that use cases need.
fn rules(config: &Config) -> Result<Rules, Error> {
    let networks = config.webhook_networks().map_err(Error::internal)?;
    Ok(Rules {
        edit_window: config.edit_window(),
        max_depth: i16::from(config.limits.max_depth),
        fields: config.fields,
        address: config.privacy.address,
        user_agent: config.privacy.user_agent,
        own_origin: config.own_origin(),
        thresholds: config.moderation.thresholds(),
        people: PeopleCeilings { confirmations: config.people.hourly_confirmations, links: config.people.hourly_links },
        retention: config.retention.periods(),
        too_fast: std::time::Duration::from_secs(config.defences.min_seconds.into()),
        reach: Arc::new(Reach::new(networks)),
        session_idle: config.session.idle(),
        session_life: config.session.life(),
    })
}

/// What the storage needs to know of the settings.
pub(crate) fn database_settings(config: &Config) -> DatabaseSettings {
    let given = |url: &SecretString| Some(url.expose_secret().to_owned()).filter(|url| !url.is_empty());
    DatabaseSettings {
        url: config.database.url.expose_secret().to_owned(),
        direct_url: given(&config.database.direct_url),
        read_url: given(&config.database.read_url),
        pooler: config.database.pooler,
        pool_size: config.database.pool_size,
        write_connections: config.database.write_connections,
    }
}

/// What instances on one PostgreSQL share of their rate limits; nothing on SQLite, or when there are none.
async fn open_limits(config: &Config, service: &Service, patience: Duration) -> Result<Option<Common>, Error> {
    if !config.limits.enabled {
        return Ok(None);
    }
    let settings = database_settings(config);
    let opened = tokio::task::spawn_blocking(move || SharedLimits::open(&settings)).await;
    let keys = service.keys.clone();
    let hash = Box::new(move |parts: &[&[u8]]| keys.limit_hash(parts));
    Ok(opened.map_err(Error::internal)??.map(|limits| Common { limits, hash, patience }))
}

/// What to say when there is no key for a database.
pub(crate) fn missing_key(path: &Path) -> Error {
    Error::internal(format!(
        "secrets.key_file {} is missing, and this database was made with a key: put the file back from your backup",
        path.display()
    ))
}

/// Refuses keys without the one that the database uses, and uses that one.
pub(crate) fn check_key(keys: &Keys, stored: &str, path: &Path) -> Result<(), Error> {
    if keys.follow(stored) {
        return Ok(());
    }
    Err(Error::internal(format!(
        "secrets.key_file {} holds another key than the one that this database uses: put back the file that belongs to it",
        path.display()
    )))
}

fn bind(setting: &str, address: SocketAddr) -> Result<TcpListener, Error> {
    TcpListener::bind(address).map_err(|cause| Error::internal(format!("{setting} {address}: {cause}")))
}

impl App {
    /// Builds everything; nothing listens yet.
    pub async fn build(config: &Config, parts: Parts) -> Result<Self, Error> {
        install_tls();
        let service = open_service(config, parts.clock.clone()).await?;
        service.refresh_rules().await?;
        let mailer = match parts.mailer {
            Some(mailer) => mailer,
            None => Mailer::new(&config.mail)?,
        };
        let metrics = Arc::new(Metrics::new()?);
        let worker = Arc::new(Worker::new(service.clone(), mailer, metrics.clone(), config)?);
        let common = open_limits(config, &service, parts.patience).await?;
        let rings = Rings::new(&config.limits, parts.clock.clone(), common);
        let live = Live::new(service.db.clone(), hall(&config.limits), parts.heartbeat);
        let proxies = TrustedProxies(config.trusted_networks().map_err(Error::internal)?);
        let cache = Cache::new(u64::from(config.cache.megabytes) << 20, parts.clock.clone());
        let public_url = config.server.public_url.clone();
        let metrics_apart = config.metrics.address().map_err(Error::internal)?.is_some();
        let shows_demo = config.demo.enabled.unwrap_or(false);
        let service_of_state = service.clone();
        let parts = StateParts {
            service: service_of_state,
            rings,
            cache,
            live,
            proxies,
            public_url,
            metrics,
            metrics_apart,
            shows_demo,
        };
        let state = State::new(parts)?;
        let workers = match config.server.workers {
            0 => std::thread::available_parallelism().map_or(2, usize::from),
            workers => workers,
        };
        Ok(Self { service, state: web::Data::new(state), worker, workers })
    }

    /// Takes the address. An error names it, because that is what is wrong then.
    pub fn listen(address: SocketAddr) -> Result<TcpListener, Error> {
        bind("server.listen", address)
    }

    /// Takes the address of the metrics, if they have one of their own.
    pub fn listen_for_metrics(config: &Config) -> Result<Option<TcpListener>, Error> {
        let address = config.metrics.address().map_err(Error::internal)?;
        address.map(|address| bind("metrics.listen", address)).transpose()
    }

    /// Serves until `stop` is cancelled, then finishes the requests and mails that have begun.
    pub async fn run(self, sockets: Sockets, stop: CancellationToken) -> Result<(), Error> {
        let quiet = CancellationToken::new();
        let metrics = sockets.metrics.map(|listener| self.serve_metrics(listener)).transpose()?;
        let figures = tokio::spawn(self.state.metrics.clone().keep_small(quiet.clone()));
        let jobs = tokio::spawn(self.worker.clone().run(quiet.clone()));
        let house = tokio::spawn(housekeeping::run(self.service.clone(), quiet.clone()));
        let (state, until) = (self.state.clone(), quiet.clone());
        let limits = tokio::spawn(async move { state.rings.keep_house(until).await });
        let served = self.serve(sockets.requests, stop).await;
        quiet.cancel();
        // Last, so that the figures can be read until the requests that have begun are finished.
        if let Some(metrics) = metrics {
            metrics.stop(false).await;
        }
        let ended =
            tokio::time::timeout(Duration::from_secs(2), async { tokio::join!(jobs, house, figures, limits) }).await;
        if ended.is_err() {
            tracing::info!("a mail was still on its way; it stays in the outbox");
        }
        served
    }

    /// Tells the figures to whoever reaches this socket, until it is stopped.
    fn serve_metrics(&self, listener: TcpListener) -> Result<ServerHandle, Error> {
        let state = self.state.clone();
        let server = HttpServer::new(move || HttpApp::new().app_data(state.clone()).configure(http::metrics_routes))
            .workers(1)
            .keep_alive(KEEP_ALIVE)
            .client_request_timeout(HEAD_LIMIT)
            .disable_signals()
            .listen(listener)
            .map_err(Error::internal)?
            .run();
        let handle = server.handle();
        tokio::spawn(server);
        Ok(handle)
    }

    /// Answers requests, and does nothing else, until `stop` is cancelled.
    pub async fn serve(&self, listener: TcpListener, stop: CancellationToken) -> Result<(), Error> {
        let state = self.state.clone();
        let server = HttpServer::new(move || {
            let app = HttpApp::new().app_data(state.clone()).wrap(from_fn(http::front)).configure(http::routes);
            http::Shortcut::new(state.clone(), app)
        })
        .workers(self.workers)
        .backlog(BACKLOG)
        .keep_alive(KEEP_ALIVE)
        .client_request_timeout(HEAD_LIMIT)
        .shutdown_timeout(STOP_LIMIT_SECONDS)
        .disable_signals()
        .listen(listener)
        .map_err(Error::internal)?
        .run();
        let handle = server.handle();
        let serving = tokio::spawn(server);
        stop.cancelled().await;
        self.state.drain();
        handle.stop(true).await;
        serving.await.map_err(Error::internal)?.map_err(Error::internal)
    }
}
