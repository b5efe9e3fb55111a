//! The only place that knows Diesel and the database. [`Db`] runs plain blocking closures on threads that own their
//! connections: [`Db::read`] for reading, [`Db::write`] for a transaction of its own inside a group commit. Storage
//! functions take a [`Conn`] or a [`Tx`], never begin a transaction and never await. No other module sees a query.

pub mod accounts;
pub mod articles;
pub mod authors;
pub mod backup;
pub mod comments;
pub mod conn;
pub mod copy;
pub mod events;
pub mod export;
mod fragments;
pub mod idempotency;
#[cfg(feature = "postgres")]
mod listener;
pub mod listing;
pub mod meta;
pub mod migrations;
pub mod neighbours;
pub mod outbox;
#[cfg(feature = "postgres")]
mod postgres;
pub mod queue;
pub mod schema;
pub mod sites;
mod sqlite;
mod threads;
mod tx;
pub mod types;
pub mod waiting;
pub mod words;
mod writers;

use std::path::PathBuf;
#[cfg(feature = "postgres")]
use std::sync::atomic::Ordering;
use std::sync::{Arc, OnceLock};
use std::thread::JoinHandle;

use diesel::result::DatabaseErrorKind;
use tokio::sync::Notify;

pub use self::conn::Conn;
pub use self::fragments::{ArticleBump, AuthorBump, SiteBump};
use self::threads::{Connect, Readers};
use self::tx::News;
pub use self::tx::Tx;
pub use self::writers::Written;
use self::writers::{WriterSettings, Writers};
use crate::domain::listing::Source;
use crate::error::Error;

/// Where the data lies and how many connections may be open.
#[derive(Debug, Clone)]
pub struct DatabaseSettings {
    /// `sqlite:<path>` or `postgres://…`.
    pub url: String,
    /// Reading connections to PostgreSQL. SQLite takes as many readers as there are cores: more starve the writer.
    pub pool_size: usize,
    /// Writing connections to PostgreSQL; two are best on one machine. SQLite has one.
    pub write_connections: usize,
}

/// The database. Cheap to clone; the threads end when the last clone is dropped.
#[derive(Clone)]
pub struct Db {
    inner: Arc<Inner>,
}

struct Inner {
    readers: Option<Readers>,
    writers: Option<Writers>,
    #[cfg(feature = "postgres")]
    listening: Option<listener::Listening>,
    threads: Vec<JoinHandle<()>>,
    outbox_has_work: Arc<Notify>,
    listener: Arc<OnceLock<Listener>>,
    migrated: Vec<String>,
}

/// Learns what readers see otherwise.
type Listener = Box<dyn Fn(&[Source]) + Send + Sync>;

/// Which database a URL names.
enum Backend {
    Sqlite(PathBuf),
    #[cfg(feature = "postgres")]
    Postgres(String),
}

impl Backend {
    fn of(url: &str) -> Result<Self, Error> {
        if let Some(path) = url.strip_prefix("sqlite:") {
            let path = path.strip_prefix("//").unwrap_or(path);
            if path.is_empty() || path.starts_with(":memory:") {
                return Err(Error::internal(
                    "database.url: sqlite: needs the path of a file, as in sqlite:data/afterword.db",
                ));
            }
            return Ok(Self::Sqlite(PathBuf::from(path)));
        }
        #[cfg(feature = "postgres")]
        if url.starts_with("postgres://") || url.starts_with("postgresql://") {
            return Ok(Self::Postgres(url.to_owned()));
        }
        Err(Error::internal("database.url starts with sqlite: or postgres://"))
    }

    /// An error of opening that says which file is meant.
    fn named(&self, error: Error) -> Error {
        match (self, error) {
            (Self::Sqlite(path), Error::Internal(cause)) => sqlite::named(path, cause),
            (_, error) => error,
        }
    }

    /// Whether there are tables of ours, which this binary may use.
    fn has_tables(&self, connect: &Connect) -> Result<bool, Error> {
        let looked = connect().and_then(|mut conn| {
            let is_there = migrations::is_there(&mut conn)?;
            if is_there { migrations::refuse_if_too_old(&mut conn).map(|()| true) } else { Ok(false) }
        });
        looked.map_err(|error| self.named(error))
    }

    fn connect_writer(&self) -> Connect {
        match self {
            Self::Sqlite(path) => {
                let path = path.clone();
                Arc::new(move || sqlite::open_writer(&path))
            }
            #[cfg(feature = "postgres")]
            Self::Postgres(url) => {
                let url = url.clone();
                Arc::new(move || postgres::open(&url))
            }
        }
    }

    fn connect_reader(&self) -> Connect {
        match self {
            Self::Sqlite(path) => {
                let path = path.clone();
                Arc::new(move || sqlite::open_reader(&path))
            }
            #[cfg(feature = "postgres")]
            Self::Postgres(url) => {
                let url = url.clone();
                Arc::new(move || postgres::open(&url))
            }
        }
    }
}

/// Whether a URL is one that [`Db::open`] can use; nothing is opened.
pub fn check_url(url: &str) -> Result<(), Error> {
    match Backend::of(url)? {
        Backend::Sqlite(_) => Ok(()),
        #[cfg(feature = "postgres")]
        Backend::Postgres(url) => postgres::parse(&url).map(|_| ()),
    }
}

/// The file in which the database of a URL lies; none for one on a server.
pub fn file_of(url: &str) -> Result<Option<PathBuf>, Error> {
    match Backend::of(url)? {
        Backend::Sqlite(path) => Ok(Some(path)),
        #[cfg(feature = "postgres")]
        Backend::Postgres(_) => Ok(None),
    }
}

impl Db {
    /// Opens the database, brings its schema up to date and starts the threads. Blocks; call it off the async runtime.
    pub fn open(settings: &DatabaseSettings) -> Result<Self, Error> {
        let backend = Backend::of(&settings.url)?;
        let opened = (backend.connect_writer())().and_then(|mut conn| migrations::migrate(&mut conn));
        let migrated = opened.map_err(|error| backend.named(error))?;
        Self::start(&backend, settings, migrated)
    }

    /// Opens a database that is there, as it is: nothing is made and no migration runs. None when there is none. Blocks.
    pub fn open_existing(settings: &DatabaseSettings) -> Result<Option<Self>, Error> {
        let backend = Backend::of(&settings.url)?;
        if matches!(&backend, Backend::Sqlite(path) if !path.exists()) {
            return Ok(None);
        }
        let is_there = backend.has_tables(&backend.connect_writer())?;
        if is_there { Self::start(&backend, settings, Vec::new()).map(Some) } else { Ok(None) }
    }

    /// Opens a database that is there to read it and nothing else; its file stays what it is. None when there is none.
    /// Every [`Db::write`] is [`Error::Busy`]. Blocks.
    pub fn open_to_read(url: &str) -> Result<Option<Self>, Error> {
        let backend = Backend::of(url)?;
        if matches!(&backend, Backend::Sqlite(path) if !path.exists()) {
            return Ok(None);
        }
        if !backend.has_tables(&backend.connect_reader())? {
            return Ok(None);
        }
        let (readers, threads) = Readers::start(1, &backend.connect_reader())?;
        let inner = Inner {
            readers: Some(readers),
            writers: None,
            #[cfg(feature = "postgres")]
            listening: None,
            threads,
            outbox_has_work: Arc::new(Notify::new()),
            listener: Arc::new(OnceLock::new()),
            migrated: Vec::new(),
        };
        Ok(Some(Self { inner: Arc::new(inner) }))
    }

    #[cfg_attr(not(feature = "postgres"), expect(unused_variables, reason = "SQLite's numbers are its own"))]
    fn start(backend: &Backend, settings: &DatabaseSettings, migrated: Vec<String>) -> Result<Self, Error> {
        let cores = std::thread::available_parallelism().map_or(2, usize::from);
        // The group's cap: SQLite fills about half the waiting clients into one commit, so 256 is never met by chance; on
        // PostgreSQL larger groups only hold row locks longer.
        let (readers, writers, group) = match backend {
            Backend::Sqlite(_) => (cores, 1, 256),
            #[cfg(feature = "postgres")]
            Backend::Postgres(_) => (settings.pool_size, settings.write_connections, 32),
        };
        let (outbox_has_work, listener) = (Arc::new(Notify::new()), Arc::new(OnceLock::<Listener>::new()));
        let (work, lists) = (outbox_has_work.clone(), listener.clone());
        let told = move |changed: &[Source]| {
            if let (Some(listener), false) = (lists.get(), changed.is_empty()) {
                listener(changed);
            }
        };
        let told_too = told.clone();
        let after_commit = Arc::new(move |news: &News| {
            if news.has_work {
                work.notify_one();
            }
            told(&news.changed);
        });
        let writer_settings = WriterSettings { threads: writers, group, after_commit };
        let (writers, mut threads) = Writers::start(&writer_settings, &backend.connect_writer())?;
        let (readers, more) = Readers::start(readers, &backend.connect_reader())?;
        threads.extend(more);
        #[cfg(feature = "postgres")]
        let listening = match backend {
            Backend::Sqlite(_) => None,
            Backend::Postgres(url) => {
                let (listening, thread) = listener::Listening::start(url, Arc::new(told_too))?;
                threads.push(thread);
                Some(listening)
            }
        };
        #[cfg(not(feature = "postgres"))]
        drop(told_too);
        let inner = Inner {
            readers: Some(readers),
            writers: Some(writers),
            #[cfg(feature = "postgres")]
            listening,
            threads,
            outbox_has_work,
            listener,
            migrated,
        };
        Ok(Self { inner: Arc::new(inner) })
    }

    /// The migrations that [`Db::open`] ran.
    pub fn migrated(&self) -> &[String] {
        &self.inner.migrated
    }

    /// Whoever is named here learns what readers see otherwise, after each commit and before anybody is answered. The first
    /// one stays.
    pub fn on_change(&self, listener: impl Fn(&[Source]) + Send + Sync + 'static) {
        let _ = self.inner.listener.set(Box::new(listener));
    }

    /// Whether other instances say what they change, and are heard; if not, anything may have changed at any time.
    pub fn hears_others(&self) -> bool {
        #[cfg(feature = "postgres")]
        return self.inner.listening.as_ref().is_some_and(|listening| listening.hears.load(Ordering::Relaxed));
        #[cfg(not(feature = "postgres"))]
        false
    }

    /// Tells everybody that anything may have changed: another process wrote.
    pub fn everything_changed(&self) {
        if let Some(listener) = self.inner.listener.get() {
            listener(&[Source::Everything]);
        }
    }

    /// How many writes were asked for since the start: when few are added, it is the moment for work that can wait.
    pub fn writes(&self) -> u64 {
        self.inner.writers.as_ref().map_or(0, Writers::count)
    }

    /// How much this process has written since the start, and in how many groups.
    pub fn written(&self) -> Written {
        self.inner.writers.as_ref().map_or(Written { groups: 0, jobs: 0 }, Writers::written)
    }

    /// Wakes when a commit left work in the outbox.
    pub fn outbox_has_work(&self) -> &Notify {
        &self.inner.outbox_has_work
    }

    /// Runs `work` on a reading connection; perhaps twice, when the connection breaks. Errors: [`Error::Busy`] when the queue is full or the database away.
    pub async fn read<T, F>(&self, work: F) -> Result<T, Error>
    where
        T: Send + 'static,
        F: FnMut(&mut Conn) -> Result<T, Error> + Send + 'static,
    {
        match &self.inner.readers {
            Some(readers) => readers.run(work).await,
            None => Err(Error::Busy),
        }
    }

    /// Runs `work` as a transaction: all of it is durable when this returns `Ok`, none of it when it returns `Err`. It may
    /// be run again after it was taken back (another job of its group failed, another connection was in the way), so it
    /// changes nothing outside the transaction. Errors as [`Db::read`].
    pub async fn write<T, F>(&self, work: F) -> Result<T, Error>
    where
        T: Send + 'static,
        F: FnMut(&mut Tx<'_>) -> Result<T, Error> + Send + 'static,
    {
        match &self.inner.writers {
            Some(writers) => writers.run(work).await,
            None => Err(Error::Busy),
        }
    }
}

impl Drop for Inner {
    fn drop(&mut self) {
        self.readers = None;
        self.writers = None;
        #[cfg(feature = "postgres")]
        if let Some(listening) = &self.listening {
            listening.stop.cancel();
        }
        for thread in self.threads.drain(..) {
            // A thread that panicked has said so.
            let _ = thread.join();
        }
    }
}

/// Database errors carry no values of ours: only the server's own message goes to the log.
impl From<diesel::result::Error> for Error {
    fn from(error: diesel::result::Error) -> Self {
        use diesel::result::Error as Diesel;
        match &error {
            Diesel::DatabaseError(kind, info) if is_passing(*kind, info.message()) => {
                tracing::warn!(cause = info.message(), "the database cannot work now");
                Self::Busy
            }
            Diesel::DatabaseError(kind, info) => Self::internal(format!("{kind:?}: {}", info.message())),
            Diesel::BrokenTransactionManager | Diesel::AlreadyInTransaction => {
                tracing::warn!(cause = %error, "a database connection broke");
                Self::Busy
            }
            _ => Self::internal(error.to_string()),
        }
    }
}

/// Whether the same statement may succeed a moment later.
fn is_passing(kind: DatabaseErrorKind, message: &str) -> bool {
    const PASSING: &[&str] = &[
        "database is locked",
        "database is busy",
        "database or disk is full",
        "disk I/O error",
        "deadlock detected",
        "connection closed",
        "canceling statement",
        "terminating connection",
        "the database system is",
    ];
    matches!(
        kind,
        DatabaseErrorKind::ClosedConnection
            | DatabaseErrorKind::UnableToSendCommand
            | DatabaseErrorKind::SerializationFailure
            | DatabaseErrorKind::ReadOnlyTransaction
    ) || PASSING.iter().any(|passing| message.contains(passing))
}
