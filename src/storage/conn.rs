//! One connection to either database, and the macro that writes a query once for both. `on!` compiles the query text for
//! each database, so upserts, `RETURNING`, batch inserts and the statement cache stay each one's own
//! (docs/decisions/001-storage.md). Transactions are begun through it, by the writers and the
//! migrations and nobody else.

use diesel::connection::{AnsiTransactionManager, Connection, TransactionManager};
use diesel::result::QueryResult;
use diesel::sqlite::SqliteConnection;

#[cfg(feature = "postgres")]
use super::postgres::PgConn;
use crate::error::Error;

/// A connection to the database that the settings name.
#[expect(clippy::large_enum_variant, reason = "there are a handful of them, each on the stack of its thread")]
pub enum Conn {
    /// The embedded database.
    Sqlite(SqliteConnection),
    /// A PostgreSQL server, through a driver in pure Rust.
    #[cfg(feature = "postgres")]
    Postgres(PgConn),
}

/// Runs one expression on whichever connection it is: `on!(conn, |c| query.execute(c))`. With `|c: Db|` the backend's type
/// has a name, for boxed queries whose type is written out.
macro_rules! on {
    ($conn:expr, |$c:ident| $e:expr) => {
        match $conn {
            $crate::storage::conn::Conn::Sqlite($c) => $e,
            #[cfg(feature = "postgres")]
            $crate::storage::conn::Conn::Postgres($c) => $e,
        }
    };
    ($conn:expr, |$c:ident: $db:ident| $e:expr) => {
        match $conn {
            $crate::storage::conn::Conn::Sqlite($c) => {
                type $db = diesel::sqlite::Sqlite;
                $e
            }
            #[cfg(feature = "postgres")]
            $crate::storage::conn::Conn::Postgres($c) => {
                type $db = diesel::pg::Pg;
                $e
            }
        }
    };
}
pub(crate) use on;

/// Runs an insert for many rows with few statements, each prepared once, where one of every length would be prepared anew each
/// time. PostgreSQL takes them in chunks of 16, of 4, and what is left by itself: a statement is a way to the server and back.
/// SQLite takes each by itself: of a statement with several rows it keeps a journal, to take back the first ones when a later
/// one fails, and writes what is over 64 KiB of that into a temporary file (<https://sqlite.org/tempfiles.html>, 2.5).
macro_rules! in_chunks {
    ($conn:expr, $rows:expr, |$chunk:ident, $c:ident| $insert:expr) => {
        match $conn {
            $crate::storage::conn::Conn::Sqlite($c) => {
                for $chunk in $rows {
                    $insert?;
                }
            }
            #[cfg(feature = "postgres")]
            $crate::storage::conn::Conn::Postgres($c) => {
                let (sixteens, rest) = $rows.as_chunks::<16>();
                for $chunk in sixteens {
                    $insert?;
                }
                let (fours, rest) = rest.as_chunks::<4>();
                for $chunk in fours {
                    $insert?;
                }
                for $chunk in rest {
                    $insert?;
                }
            }
        }
    };
}
pub(super) use in_chunks;

/// The transaction manager of a connection, so that `begin` and friends work on the enum.
trait Nesting: Connection + Sized {
    fn open(&mut self) -> QueryResult<()> {
        <Self::TransactionManager as TransactionManager<Self>>::begin_transaction(self)
    }
    fn keep(&mut self) -> QueryResult<()> {
        <Self::TransactionManager as TransactionManager<Self>>::commit_transaction(self)
    }
    fn undo(&mut self) -> QueryResult<()> {
        <Self::TransactionManager as TransactionManager<Self>>::rollback_transaction(self)
    }
    fn broken(&mut self) -> bool {
        <Self::TransactionManager as TransactionManager<Self>>::is_broken_transaction_manager(self)
    }
}
impl<C: Connection> Nesting for C {}

impl Conn {
    /// Begins a write transaction. On SQLite it takes the write lock at once (`BEGIN IMMEDIATE`): a lock taken later, by
    /// the first write, fails with `SQLITE_BUSY` whatever the time-out.
    pub(super) fn begin(&mut self) -> QueryResult<()> {
        match self {
            Self::Sqlite(c) => AnsiTransactionManager::begin_transaction_sql(c, "BEGIN IMMEDIATE"),
            #[cfg(feature = "postgres")]
            Self::Postgres(c) => super::postgres::begin(c),
        }
    }

    /// Runs `work` in a transaction where a statement outside of one has no session to rely on: behind a pooler.
    pub(super) fn unit<T>(&mut self, work: &mut impl FnMut(&mut Self) -> Result<T, Error>) -> Result<T, Error> {
        if !self.is_pooled() {
            return work(self);
        }
        self.begin()?;
        let result = work(self);
        // After an error there is nothing to keep, and a rollback that fails shows as a broken connection.
        let ended = if result.is_ok() { self.commit() } else { self.rollback() };
        let value = result?;
        ended?;
        Ok(value)
    }

    /// Begins a savepoint inside the transaction.
    pub(super) fn nest(&mut self) -> QueryResult<()> {
        on!(self, |c| c.open())
    }

    /// Commits the transaction or releases the savepoint.
    pub(super) fn commit(&mut self) -> QueryResult<()> {
        self.leave_nothing_behind();
        on!(self, |c| c.keep())
    }

    /// Takes back the transaction or the savepoint.
    pub(super) fn rollback(&mut self) -> QueryResult<()> {
        self.leave_nothing_behind();
        on!(self, |c| c.undo())
    }

    /// Whether it is of no use any more: dead, or in a transaction that nobody ended.
    pub(super) fn is_broken(&mut self) -> bool {
        match self {
            Self::Sqlite(c) => c.broken(),
            #[cfg(feature = "postgres")]
            Self::Postgres(c) => c.broken() || super::postgres::has_ended(),
        }
    }

    fn is_pooled(&self) -> bool {
        match self {
            Self::Sqlite(_) => false,
            #[cfg(feature = "postgres")]
            Self::Postgres(_) => super::postgres::is_pooled(),
        }
    }

    /// Before a transaction ends: behind a pooler the next one may be on another session, which knows no prepared statement
    /// of ours, and somebody else gets this one.
    fn leave_nothing_behind(&mut self) {
        #[cfg(feature = "postgres")]
        if let Self::Postgres(c) = self {
            super::postgres::forget_statements(c);
        }
    }

    /// Whether other connections write to this database at the same time. SQLite's writer is alone in its process, and
    /// waits for those of other processes before it begins.
    pub(super) fn is_shared(&self) -> bool {
        !matches!(self, Self::Sqlite(_))
    }
}
