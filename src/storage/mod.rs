//! The only place that knows Diesel and the database. [`Db`] runs plain blocking closures on threads that own their
//! connections: [`Db::read`] for reading, [`Db::write`] for a transaction of its own inside a group commit. Storage
//! functions take a [`Conn`] or a [`Tx`], never begin a transaction and never await. No other module sees a query.

#![cfg_attr(
    not(feature = "postgres"),
    allow(unused, irrefutable_let_patterns, reason = "what tells two databases apart has nothing to tell")
)]

pub mod accounts;
pub mod aliases;
pub mod arrivals;
pub mod articles;
pub mod authors;
mod backend;
pub mod backup;
pub mod comments;
pub mod conn;
pub mod copy;
pub mod days;
pub mod events;
pub mod export;
pub mod feedback;
pub mod follow;
mod fragments;
pub mod idempotency;
#[cfg(feature = "postgres")]
mod listener;
pub mod listing;
pub mod mails;
pub mod meta;
pub mod migrations;
pub mod neighbours;
pub mod outbox;
#[cfg(feature = "passkeys")]
pub mod passkeys;
pub mod people;
pub mod permalink;
pub mod pins;
#[cfg(feature = "postgres")]
mod postgres;
pub mod queue;
mod replica;
pub mod reseal;
pub mod retention;
pub mod rules;
pub mod schema;
pub mod seen;
pub mod sessions;
pub mod shared_limits;
pub mod sign_in;
pub mod site_counts;
pub mod sites;
mod sqlite;
mod threads;
mod tx;
pub mod types;
pub mod vacuum;
pub mod waiting;
pub mod webhook_queue;
pub mod webhooks;
pub mod words;
mod writers;

#[cfg(feature = "postgres")]
use std::sync::atomic::Ordering;
use std::sync::{Arc, OnceLock};
use std::thread::JoinHandle;

use diesel::result::DatabaseErrorKind;
use tokio::sync::Notify;

use self::arrivals::Arrival;
use self::backend::Backend;
pub use self::conn::Conn;
pub use self::fragments::{ArticleBump, AuthorBump};
#[cfg(feature = "postgres")]
use self::listener::Hearer;
use self::replica::{Replica, ReplicaReaders};
pub use self::site_counts::SiteBump;
use self::threads::Readers;
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
    /// The same PostgreSQL database past a pooler.
    pub direct_url: Option<String>,
    /// A replica of the PostgreSQL database, for [`Db::read_for_everybody`].
    pub read_url: Option<String>,
    /// Whether `url` and `read_url` lead to a pooler that gives each transaction another session.
    pub pooler: bool,
    /// Reading connections to PostgreSQL. SQLite takes as many readers as there are cores: more starve the writer.
    pub pool_size: usize,
    /// Writing connections to PostgreSQL; two are best on one machine. SQLite has one.
    pub write_connections: usize,
}

impl DatabaseSettings {
    /// A URL and nothing else, with a connection for each purpose.
    pub fn of(url: impl Into<String>) -> Self {
        Self { url: url.into(), direct_url: None, read_url: None, pooler: false, pool_size: 1, write_connections: 1 }
    }
}

/// The database. Cheap to clone; the threads end when the last clone is dropped.
#[derive(Clone)]
pub struct Db {
    inner: Arc<Inner>,
}

/// Fields are dropped, and threads end, by [`Drop`].
#[derive(Default)]
struct Inner {
    readers: Option<Arc<Readers>>,
    /// Those that ask a replica first, if there is one.
    replica: Option<ReplicaReaders>,
    writers: Option<Writers>,
    #[cfg(feature = "postgres")]
    listening: Option<listener::Listening>,
    #[cfg(feature = "postgres")]
    horizon: Option<Arc<replica::Horizon>>,
    threads: Vec<JoinHandle<()>>,
    outbox_has_work: Arc<Notify>,
    log_has_grown: Arc<Notify>,
    listener: Arc<OnceLock<Listener>>,
    migrated: Vec<String>,
}

/// Learns what readers see otherwise.
type Listener = Box<dyn Fn(&[Source]) + Send + Sync>;

impl Db {
    /// Opens the database, brings its schema up to date and starts the threads. Blocks; call it off the async runtime.
    pub fn open(settings: &DatabaseSettings) -> Result<Self, Error> {
        let backend = Backend::of(settings)?;
        let opened = (backend.migrating())().and_then(|mut conn| migrations::migrate(&mut conn));
        let migrated = opened.map_err(|error| backend.named(error))?;
        Self::start(&backend, settings, migrated)
    }

    /// Opens a database that is there, as it is: nothing is made and no migration runs. None when there is none. Blocks.
    pub fn open_existing(settings: &DatabaseSettings) -> Result<Option<Self>, Error> {
        let backend = Backend::of(settings)?;
        if matches!(&backend, Backend::Sqlite(path) if !path.exists()) {
            return Ok(None);
        }
        let is_there = backend.has_tables(&backend.migrating())?;
        if is_there { Self::start(&backend, settings, Vec::new()).map(Some) } else { Ok(None) }
    }

    /// Opens a database that is there to read it and nothing else; its file stays what it is. None when there is none.
    /// Every [`Db::write`] is [`Error::Busy`]. Blocks.
    pub fn open_to_read(settings: &DatabaseSettings) -> Result<Option<Self>, Error> {
        let backend = Backend::of(settings)?;
        if matches!(&backend, Backend::Sqlite(path) if !path.exists()) || !backend.has_tables(&backend.reading())? {
            return Ok(None);
        }
        let mut inner = Inner::default();
        let (readers, threads) = Readers::start(1, &backend.reading())?;
        inner.readers = Some(Arc::new(readers));
        inner.threads = threads;
        Ok(Some(Self { inner: Arc::new(inner) }))
    }

    fn start(backend: &Backend, settings: &DatabaseSettings, migrated: Vec<String>) -> Result<Self, Error> {
        let mut inner = Inner::default();
        inner.migrated = migrated;
        #[cfg(feature = "postgres")]
        inner.listen(backend)?;
        inner.start_writers(backend, settings)?;
        inner.start_readers(backend, settings)?;
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

    /// Wakes when a commit of this process left entries in the event log, or another instance told of one.
    pub fn log_has_grown(&self) -> &Notify {
        &self.inner.log_has_grown
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

    /// As [`Db::read`], for what everybody gets alike: a replica may answer. It has what this instance wrote or was told of;
    /// what another one wrote without telling ([`Tx::changed`]) it may lack for half a second.
    pub async fn read_for_everybody<T, F>(&self, work: F) -> Result<T, Error>
    where
        T: Send + 'static,
        F: FnMut(&mut Conn) -> Result<T, Error> + Send + 'static,
    {
        match &self.inner.replica {
            Some(replica) => replica.run(work).await,
            None => self.read(work).await,
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
        self.write_arrival(None, work).await
    }

    /// [`Db::write`] for a new comment, which says beforehand what it will ask.
    pub async fn write_arrival<T, F>(&self, arrival: Option<Arrival>, work: F) -> Result<T, Error>
    where
        T: Send + 'static,
        F: FnMut(&mut Tx<'_>) -> Result<T, Error> + Send + 'static,
    {
        match &self.inner.writers {
            Some(writers) => writers.run(arrival, work).await,
            None => Err(Error::Busy),
        }
    }
}

impl Inner {
    /// Tells whoever wants to know what readers see otherwise.
    fn teller(&self) -> impl Fn(&[Source]) + Send + Sync + use<> {
        let (listener, log) = (self.listener.clone(), self.log_has_grown.clone());
        move |changed| {
            if changed.is_empty() {
                return;
            }
            log.notify_one();
            if let Some(listener) = listener.get() {
                listener(changed);
            }
        }
    }

    #[cfg(feature = "postgres")]
    fn listen(&mut self, backend: &Backend) -> Result<(), Error> {
        let Backend::Postgres(routes) = backend else { return Ok(()) };
        routes.warn();
        self.horizon = routes.replica.is_some().then(Arc::default);
        let hearer = Hearer { told: Arc::new(self.teller()), horizon: self.horizon.clone() };
        let (listening, thread) = listener::Listening::start(routes.direct.clone(), hearer)?;
        self.listening = Some(listening);
        self.threads.push(thread);
        Ok(())
    }

    fn start_writers(&mut self, backend: &Backend, settings: &DatabaseSettings) -> Result<(), Error> {
        // The group's cap: SQLite fills about half the waiting clients into one commit, so 256 is never met by chance; on
        // PostgreSQL larger groups only hold row locks longer.
        let (threads, group) = match backend {
            Backend::Sqlite(_) => (1, 256),
            #[cfg(feature = "postgres")]
            Backend::Postgres(_) => (settings.write_connections, 32),
        };
        let (work, log, tell) = (self.outbox_has_work.clone(), self.log_has_grown.clone(), self.teller());
        #[cfg(feature = "postgres")]
        let horizon = self.horizon.clone();
        let after_commit = Arc::new(move |conn: &mut Conn, news: &News| {
            #[cfg(feature = "postgres")]
            if let Some(horizon) = &horizon {
                horizon.learn(|| conn.unit(&mut replica::written));
            }
            if news.has_work {
                work.notify_one();
            }
            if news.has_events {
                log.notify_one();
            }
            tell(&news.changed);
        });
        let (writers, threads) = Writers::start(&WriterSettings { threads, group, after_commit }, &backend.writing())?;
        self.writers = Some(writers);
        self.threads.extend(threads);
        Ok(())
    }

    fn start_readers(&mut self, backend: &Backend, settings: &DatabaseSettings) -> Result<(), Error> {
        let count = match backend {
            Backend::Sqlite(_) => std::thread::available_parallelism().map_or(2, usize::from),
            #[cfg(feature = "postgres")]
            Backend::Postgres(_) => settings.pool_size,
        };
        let (readers, threads) = Readers::start(count, &backend.reading())?;
        let readers = Arc::new(readers);
        self.threads.extend(threads);
        #[cfg(feature = "postgres")]
        if let (Backend::Postgres(routes), Some(horizon)) = (backend, &self.horizon)
            && let Some(route) = &routes.replica
        {
            let replica = Replica::new(horizon.clone(), readers.clone(), settings.pooler);
            let (replica, threads) = ReplicaReaders::start(count, &backend::connect(route), replica)?;
            self.replica = Some(replica);
            self.threads.extend(threads);
        }
        self.readers = Some(readers);
        Ok(())
    }
}

impl Drop for Inner {
    fn drop(&mut self) {
        self.replica = None;
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

/// Whether the same statement may succeed a moment later. The driver keeps PostgreSQL's codes to itself, so most of it is
/// told by words; `postgres.rs` sees to it that they are English.
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
