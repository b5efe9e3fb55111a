//! Opens a connection to PostgreSQL: tokio-postgres under Diesel's synchronous interface, each connection on the thread
//! that owns it, TLS by rustls. No libpq, so a fresh machine needs a C compiler and nothing else
//! (docs/decisions/001-storage.md).

use std::cell::OnceCell;
use std::future::Future;
use std::sync::Arc;
use std::time::Duration;

use diesel::connection::SimpleConnection;
use diesel_async::AsyncPgConnection;
use diesel_async::async_connection_wrapper::{AsyncConnectionWrapper, BlockOn};
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::pki_types::{CertificateDer, ServerName, UnixTime};
use rustls::{ClientConfig, DigitallySignedStruct, SignatureScheme};
use rustls_platform_verifier::ConfigVerifierExt;
use tokio_postgres::config::SslMode;
use tokio_postgres_rustls::MakeRustlsConnect;

use super::conn::Conn;
use crate::error::Error;

/// Diesel's synchronous interface over the asynchronous driver.
pub type PgConn = AsyncConnectionWrapper<AsyncPgConnection, ThreadRuntime>;

thread_local! {
    /// One small runtime per thread that owns connections. With timers, which the wrapper's own runtime lacks.
    static RUNTIME: OnceCell<tokio::runtime::Runtime> = const { OnceCell::new() };
}

/// Runs the driver's futures on the thread's own runtime. Never used from inside an async task, where it would panic.
pub struct ThreadRuntime;

impl BlockOn for ThreadRuntime {
    fn block_on<F: Future>(&self, future: F) -> F::Output {
        with_runtime(|runtime| runtime.block_on(future))
    }

    fn get_runtime() -> Self {
        Self
    }
}

#[expect(clippy::expect_used, reason = "a process that cannot make a timer and a socket cannot serve at all")]
fn with_runtime<T>(run: impl FnOnce(&tokio::runtime::Runtime) -> T) -> T {
    RUNTIME.with(|cell| {
        run(cell.get_or_init(|| {
            tokio::runtime::Builder::new_current_thread().enable_all().build().expect("the system gives a runtime")
        }))
    })
}

/// How long opening a connection may take in all: a server that accepts and stays mute is given up too.
const CONNECT_LIMIT: Duration = Duration::from_secs(5);

/// What every session starts with. `statement_timeout` and `lock_timeout` are far above what a statement of ours takes.
const SESSION: &str = "SET synchronous_commit = on; SET statement_timeout = '10s'; SET lock_timeout = '5s'; \
                       SET idle_in_transaction_session_timeout = '60s'";

/// Opens a connection; blocks the calling thread for at most five seconds.
pub(super) fn open(url: &str) -> Result<Conn, Error> {
    let (config, verified) = parse(url)?;
    let opened = with_runtime(|runtime| {
        runtime.block_on(async { tokio::time::timeout(CONNECT_LIMIT, connect(&config, verified)).await })
    });
    let mut conn: PgConn =
        opened.map_err(|_| away("no answer within five seconds"))?.map_err(|cause| away(&cause.to_string()))?.into();
    conn.batch_execute(SESSION)?;
    Ok(Conn::Postgres(conn))
}

/// The database cannot be reached: worth another try, never the client's fault.
fn away(cause: &str) -> Error {
    tracing::warn!(cause, "cannot open a connection to PostgreSQL");
    Error::Busy
}

async fn connect(
    config: &tokio_postgres::Config,
    verified: bool,
) -> Result<AsyncPgConnection, Box<dyn std::error::Error + Send + Sync>> {
    let tls = MakeRustlsConnect::new(if verified { verifying_tls()? } else { trusting_tls() });
    let (client, connection) = config.connect(tls).await?;
    tokio::spawn(async move {
        if let Err(cause) = connection.await {
            tracing::debug!(%cause, "a connection to PostgreSQL ended");
        }
    });
    Ok(AsyncPgConnection::try_from(client).await?)
}

/// Reads the URL. Says whether the server's certificate must be verified: over TCP it must, unless the URL asks for less.
/// The driver knows `disable`, `prefer` and `require` only, so `verify-full` is taken out of the URL before.
pub(super) fn parse(url: &str) -> Result<(tokio_postgres::Config, bool), Error> {
    let mut url = url::Url::parse(url).map_err(|cause| Error::internal(format!("database.url: {cause}")))?;
    let asked = url.query_pairs().find(|(key, _)| key == "sslmode").map(|(_, mode)| mode.into_owned());
    let rest: Vec<(String, String)> =
        url.query_pairs().filter(|(key, _)| key != "sslmode").map(|(k, v)| (k.into_owned(), v.into_owned())).collect();
    url.set_query(None);
    if !rest.is_empty() {
        url.query_pairs_mut().extend_pairs(rest);
    }
    let mut config: tokio_postgres::Config =
        url.as_str().parse().map_err(|cause| Error::internal(format!("database.url: {cause}")))?;
    let (mode, verified) = match asked.as_deref() {
        Some("disable") => (SslMode::Disable, true),
        Some("prefer") => (SslMode::Prefer, false),
        Some("require") => (SslMode::Require, false),
        None | Some("verify-full") => (SslMode::Require, true),
        Some(_) => {
            return Err(Error::internal("database.url: sslmode is disable, prefer, require or verify-full"));
        }
    };
    let local = config.get_hosts().iter().all(|host| !matches!(host, tokio_postgres::config::Host::Tcp(_)));
    config.ssl_mode(if local && asked.is_none() { SslMode::Disable } else { mode });
    config.connect_timeout(CONNECT_LIMIT).keepalives_idle(Duration::from_secs(30)).application_name("afterword");
    Ok((config, verified))
}

fn verifying_tls() -> Result<ClientConfig, rustls::Error> {
    ClientConfig::with_platform_verifier()
}

/// Encrypts without knowing to whom, as libpq does for `prefer` and `require`.
fn trusting_tls() -> ClientConfig {
    ClientConfig::builder().dangerous().with_custom_certificate_verifier(Arc::new(AnyCertificate)).with_no_client_auth()
}

#[derive(Debug)]
struct AnyCertificate;

impl ServerCertVerifier for AnyCertificate {
    fn verify_server_cert(
        &self,
        _: &CertificateDer<'_>,
        _: &[CertificateDer<'_>],
        _: &ServerName<'_>,
        _: &[u8],
        _: UnixTime,
    ) -> Result<ServerCertVerified, rustls::Error> {
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        _: &[u8],
        _: &CertificateDer<'_>,
        _: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        Ok(HandshakeSignatureValid::assertion())
    }

    fn verify_tls13_signature(
        &self,
        _: &[u8],
        _: &CertificateDer<'_>,
        _: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        Ok(HandshakeSignatureValid::assertion())
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        rustls::crypto::ring::default_provider().signature_verification_algorithms.supported_schemes()
    }
}
