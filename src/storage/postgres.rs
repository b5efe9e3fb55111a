//! Opens a connection to PostgreSQL: tokio-postgres under Diesel's synchronous interface, each connection on the thread
//! that owns it, TLS by rustls. No libpq, so a fresh machine needs a C compiler and nothing else
//! (docs/decisions/001-storage.md).

use std::cell::{Cell, OnceCell, RefCell};
use std::future::Future;
use std::sync::{Arc, Once};
use std::time::Duration;

use diesel::connection::CacheSize;
use diesel::result::QueryResult;
use diesel_async::async_connection_wrapper::{AsyncConnectionWrapper, BlockOn};
use diesel_async::{
    AnsiTransactionManager, AsyncConnection, AsyncPgConnection, SimpleAsyncConnection, TransactionManager,
};
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::pki_types::{CertificateDer, ServerName, UnixTime};
use rustls::{ClientConfig, DigitallySignedStruct, SignatureScheme};
use rustls_platform_verifier::ConfigVerifierExt;
use tokio::task::AbortHandle;
use tokio_postgres::config::SslMode;
use tokio_postgres::tls::MakeTlsConnect;
use tokio_postgres::{Client, Connection, SimpleQueryMessage, Socket};
use tokio_postgres_rustls::MakeRustlsConnect;

use super::conn::Conn;
use crate::error::Error;

/// Diesel's synchronous interface over the asynchronous driver.
pub type PgConn = AsyncConnectionWrapper<AsyncPgConnection, ThreadRuntime>;

thread_local! {
    /// One small runtime per thread that owns a connection. With timers, which the wrapper's own runtime lacks.
    static RUNTIME: OnceCell<tokio::runtime::Runtime> = const { OnceCell::new() };
    /// The task that drives this thread's one connection; it ends when the connection does.
    static DRIVER: RefCell<Option<AbortHandle>> = const { RefCell::new(None) };
    /// Whether this thread's one connection leads to a pooler.
    static POOLED: Cell<bool> = const { Cell::new(false) };
    /// How long an answer on this thread's one connection may take.
    static ANSWER: Cell<Duration> = const { Cell::new(ANSWER_LIMIT) };
}

/// Runs the driver's futures on the thread's own runtime. Never used from inside an async task, where it would panic.
pub struct ThreadRuntime;

impl BlockOn for ThreadRuntime {
    /// Waits for an answer, but not for ever: `statement_timeout` binds a server that lives, this binds one that is frozen
    /// or cut off. Without its driver the connection is dead, and the future that waited for it fails.
    fn block_on<F: Future>(&self, future: F) -> F::Output {
        with_runtime(|runtime| {
            runtime.block_on(async {
                let mut future = std::pin::pin!(future);
                if let Ok(output) = tokio::time::timeout(ANSWER.get(), &mut future).await {
                    return output;
                }
                tracing::warn!("PostgreSQL does not answer; the connection is given up");
                DRIVER.with_borrow(|driver| driver.as_ref().map(AbortHandle::abort));
                future.await
            })
        })
    }

    fn get_runtime() -> Self {
        Self
    }
}

/// Whether this thread's connection has ended. Lets the driver look at its socket first, so that a server that went away
/// meanwhile is noticed before a statement is risked.
pub(super) fn has_ended() -> bool {
    with_runtime(|runtime| runtime.block_on(tokio::task::yield_now()));
    DRIVER.with_borrow(|driver| driver.as_ref().is_none_or(AbortHandle::is_finished))
}

#[expect(clippy::expect_used, reason = "a process that cannot make a timer and a socket cannot serve at all")]
pub(super) fn with_runtime<T>(run: impl FnOnce(&tokio::runtime::Runtime) -> T) -> T {
    RUNTIME.with(|cell| {
        run(cell.get_or_init(|| {
            tokio::runtime::Builder::new_current_thread().enable_all().build().expect("the system gives a runtime")
        }))
    })
}

/// How long opening a connection may take in all: a server that accepts and stays mute is given up too.
pub(super) const CONNECT_LIMIT: Duration = Duration::from_secs(5);

/// How long an answer may take: above `statement_timeout`, so that a server that lives is the first to give up.
const ANSWER_LIMIT: Duration = Duration::from_secs(12);

/// The same for a server whose place another one takes at once.
const IMPATIENT_CONNECT_LIMIT: Duration = Duration::from_secs(2);
const IMPATIENT_ANSWER_LIMIT: Duration = Duration::from_secs(3);

/// What holds for every statement. The time-outs are far above what a statement of ours takes.
const SETTINGS: [&str; 4] = [
    "synchronous_commit = on",
    "statement_timeout = '10s'",
    "lock_timeout = '5s'",
    "idle_in_transaction_session_timeout = '60s'",
];

fn set(scope: &str) -> String {
    SETTINGS.map(|setting| format!("SET {scope} {setting};")).concat()
}

/// A way to a server.
#[derive(Clone)]
pub(super) struct Route {
    /// The setting that names it.
    setting: &'static str,
    config: tokio_postgres::Config,
    verified: bool,
    /// Whether it leads to a pooler that gives each transaction another session.
    pooled: bool,
    connect_limit: Duration,
    answer_limit: Duration,
}

impl Route {
    /// Reads a URL; nothing is opened. An error names the setting.
    pub fn new(setting: &'static str, url: &str, pooled: bool) -> Result<Self, Error> {
        let (config, verified) = parse(url).map_err(|cause| Error::internal(format!("{setting}: {cause}")))?;
        Ok(Self { setting, config, verified, pooled, connect_limit: CONNECT_LIMIT, answer_limit: ANSWER_LIMIT })
    }

    /// The same way to a server whose place another one takes at once.
    pub fn impatient(self) -> Self {
        Self { connect_limit: IMPATIENT_CONNECT_LIMIT, answer_limit: IMPATIENT_ANSWER_LIMIT, ..self }
    }

    /// What an operator should know of it.
    pub fn warn(&self) {
        if !self.verified {
            tracing::warn!("{}: its sslmode does not verify who the server is; verify-full does", self.setting);
        }
    }
}

/// Opens this thread's connection; blocks for at most five seconds, to a replica two. An error tells the operator what the server, or the
/// way to it, said.
pub(super) fn open(route: &Route) -> Result<Conn, Error> {
    let limit = route.connect_limit;
    let opened = with_runtime(|runtime| runtime.block_on(async { tokio::time::timeout(limit, connect(route)).await }));
    let away = |cause: &str| Error::internal(format!("{}: cannot reach PostgreSQL: {cause}", route.setting));
    let conn = opened
        .map_err(|_| away(&format!("no answer within {} seconds", limit.as_secs())))?
        .map_err(|cause| away(&causes(cause.as_ref())))?;
    POOLED.set(route.pooled);
    ANSWER.set(route.answer_limit);
    let mut conn: PgConn = conn.into();
    if !route.pooled {
        diesel::connection::SimpleConnection::batch_execute(&mut conn, &set("SESSION"))?;
    }
    Ok(Conn::Postgres(conn))
}

/// Whether this thread's connection leads to a pooler.
pub(super) fn is_pooled() -> bool {
    POOLED.get()
}

/// Begins a transaction. Behind a pooler it says what otherwise the session knows.
pub(super) fn begin(conn: &mut PgConn) -> QueryResult<()> {
    if is_pooled() {
        let begin = format!("BEGIN;{}", set("LOCAL"));
        return ThreadRuntime.block_on(AnsiTransactionManager::begin_transaction_sql(&mut **conn, &begin));
    }
    ThreadRuntime.block_on(AnsiTransactionManager::begin_transaction(&mut **conn))
}

/// Closes all prepared statements when the transaction that is about to end is the last on this session: the driver sends a
/// Close for each that it drops, before whatever is sent next.
pub(super) fn forget_statements(conn: &mut PgConn) {
    let conn: &mut AsyncPgConnection = conn;
    let status = AnsiTransactionManager::transaction_manager_status_mut(conn);
    let is_outermost = status.transaction_depth().is_ok_and(|depth| depth.is_some_and(|depth| depth.get() == 1));
    if is_pooled() && is_outermost {
        conn.set_prepared_statement_cache_size(CacheSize::Disabled);
        conn.set_prepared_statement_cache_size(CacheSize::Unbounded);
    }
}

/// An error with everything below it: the driver's own sentence is often just "db error".
fn causes(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut below = error.source();
    while let Some(cause) = below {
        text = format!("{text}: {cause}");
        below = cause.source();
    }
    text
}

type Dialled = (Client, Connection<Socket, <MakeRustlsConnect as MakeTlsConnect<Socket>>::Stream>);

/// A connection as the driver knows it, without a task that drives it.
pub(super) async fn dial(route: &Route) -> Result<Dialled, Box<dyn std::error::Error + Send + Sync>> {
    let tls = MakeRustlsConnect::new(if route.verified { verifying_tls()? } else { trusting_tls() });
    Ok(route.config.connect(tls).await?)
}

async fn connect(route: &Route) -> Result<AsyncPgConnection, Box<dyn std::error::Error + Send + Sync>> {
    let (client, connection) = dial(route).await?;
    let driver = tokio::spawn(async move {
        if let Err(cause) = connection.await {
            tracing::debug!(%cause, "a connection to PostgreSQL ended");
        }
    });
    DRIVER.set(Some(driver.abort_handle()));
    ask_for_english(&client, route).await?;
    if !route.pooled {
        return Ok(AsyncPgConnection::try_from(client).await?);
    }
    // What it sets up takes two statements, which a pooler must not part.
    client.batch_execute("BEGIN").await?;
    let mut conn = AsyncPgConnection::try_from(client).await?;
    conn.batch_execute("COMMIT").await?;
    Ok(conn)
}

/// What a server says is told apart by its words (`mod.rs`), so they must be English. A role may not choose the language
/// unless it was allowed to; then the operator learns what to do.
async fn ask_for_english(client: &Client, route: &Route) -> Result<(), tokio_postgres::Error> {
    static TOLD: Once = Once::new();
    let said = client.simple_query("SHOW lc_messages").await?;
    let language = said.iter().find_map(|message| match message {
        SimpleQueryMessage::Row(row) => row.get(0),
        _ => None,
    });
    let language = language.unwrap_or_default();
    if is_english(language) || (!route.pooled && client.batch_execute("SET lc_messages = 'C'").await.is_ok()) {
        return Ok(());
    }
    TOLD.call_once(|| {
        tracing::warn!(
            setting = route.setting,
            language,
            "PostgreSQL may not speak English, so a failure that passes may be taken for one that stays; as its \
             administrator run: ALTER DATABASE … SET lc_messages = 'C'"
        );
    });
    Ok(())
}

/// Whether messages in this locale are English; an empty one is that of the server's environment, which nobody knows.
fn is_english(locale: &str) -> bool {
    let language = locale.split(['_', '.', '-', '@']).next().unwrap_or_default();
    ["C", "POSIX", "en", "English"].contains(&language)
}

/// Reads the URL. Says whether the server's certificate must be verified: over TCP it must, unless the URL asks for less.
/// The driver knows `disable`, `prefer` and `require` only, so `verify-full` is taken out of the URL before.
fn parse(url: &str) -> Result<(tokio_postgres::Config, bool), Box<dyn std::error::Error + Send + Sync>> {
    let parsed = url::Url::parse(url)?;
    let asked = parsed.query_pairs().find(|(key, _)| key == "sslmode").map(|(_, mode)| mode.into_owned());
    let (base, query) = url.split_once('?').unwrap_or((url, ""));
    let rest: Vec<&str> = query.split('&').filter(|pair| !pair.is_empty() && !pair.starts_with("sslmode=")).collect();
    let mut config: tokio_postgres::Config = format!("{base}?{}", rest.join("&")).trim_end_matches('?').parse()?;
    let (mode, verified) = match asked.as_deref() {
        Some("disable") => (SslMode::Disable, true),
        Some("prefer") => (SslMode::Prefer, false),
        Some("require") => (SslMode::Require, false),
        None | Some("verify-full") => (SslMode::Require, true),
        Some(_) => return Err("sslmode is disable, prefer, require or verify-full".into()),
    };
    let local = config.get_hosts().iter().all(|host| !matches!(host, tokio_postgres::config::Host::Tcp(_)));
    config.ssl_mode(if local && asked.is_none() { SslMode::Disable } else { mode });
    config.connect_timeout(CONNECT_LIMIT).keepalives_idle(Duration::from_secs(30)).application_name("afterword");
    Ok((config, verified || local))
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn locales_that_speak_english_are_known() {
        for english in ["C", "POSIX", "C.UTF-8", "en_US.utf8", "en", "English_United States.1252"] {
            assert!(is_english(english), "{english}");
        }
        for other in ["", "de_DE.UTF-8", "cs_CZ", "German_Germany.1252", "Chinese"] {
            assert!(!is_english(other), "{other}");
        }
    }
}
