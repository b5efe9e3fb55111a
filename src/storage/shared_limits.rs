//! Rate limits that all instances on one PostgreSQL database share: the function `pass_rings` takes one from each of some
//! rings, or from none. On a connection of its own and not in the group commit, so that the rows that everybody changes
//! are never locked while a group is written. The table is unlogged, so nothing here waits for the disk. SQLite has one
//! instance and nothing to share.

use std::thread::JoinHandle;

use diesel::prelude::*;
use diesel::sql_types::BigInt;

use super::DatabaseSettings;
use super::backend::Backend;
use super::conn::Conn;
use super::threads::Readers;
use crate::error::Error;

/// What one ring is asked for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Toll {
    /// The ring's number, then a keyed hash of whom it counts; of one comment all are different.
    pub key: [u8; 16],
    /// The time in which one comes back, in microseconds.
    pub period: i64,
    /// The time in which a whole burst comes back, in microseconds.
    pub span: i64,
}

/// The rings that instances share.
pub struct SharedLimits {
    readers: Option<Readers>,
    thread: Vec<JoinHandle<()>>,
}

/// Statements are short, and of two connections one would wait for the other's rows.
const CONNECTIONS: usize = 1;

impl SharedLimits {
    /// Opens the connection; none on SQLite. Blocks. The migrations have run.
    pub fn open(settings: &DatabaseSettings) -> Result<Option<Self>, Error> {
        let backend = Backend::of(settings)?;
        if matches!(backend, Backend::Sqlite(_)) {
            return Ok(None);
        }
        let (readers, thread) = Readers::start(CONNECTIONS, &backend.writing())?;
        Ok(Some(Self { readers: Some(readers), thread }))
    }

    /// Takes one from each ring, or from none of them when one has nothing left at `moment` (microseconds of the
    /// database's clock). Returns each ring's theoretical arrival time before, never earlier than `moment`. `is_wanted` is
    /// asked when the connection is free: whoever has stopped waiting takes nothing any more. Errors: [`Error::Busy`] when
    /// the database is away.
    pub async fn pass(
        &self,
        tolls: Vec<Toll>,
        moment: i64,
        is_wanted: impl Fn() -> bool + Send + 'static,
    ) -> Result<Vec<i64>, Error> {
        let keys: Vec<Vec<u8>> = tolls.iter().map(|toll| toll.key.to_vec()).collect();
        let periods: Vec<i64> = tolls.iter().map(|toll| toll.period).collect();
        let spans: Vec<i64> = tolls.iter().map(|toll| toll.span).collect();
        let before = self
            .run(move |conn| if is_wanted() { pass(conn, (&keys, &periods, &spans), moment) } else { Err(Error::Busy) })
            .await?;
        if before.len() == tolls.len() { Ok(before) } else { Err(Error::internal("pass_rings told of other rings")) }
    }

    /// The database's clock, in microseconds since 1970: the one that all instances go by.
    pub async fn clock(&self) -> Result<i64, Error> {
        self.run(clock).await
    }

    /// Deletes rows whose time is past, at most so many; returns how many went.
    pub async fn sweep(&self, most: i64) -> Result<usize, Error> {
        self.run(move |conn| sweep(conn, most)).await
    }

    async fn run<T: Send + 'static>(
        &self,
        work: impl FnMut(&mut Conn) -> Result<T, Error> + Send + 'static,
    ) -> Result<T, Error> {
        match &self.readers {
            Some(readers) => readers.run_once(work).await,
            None => Err(Error::Busy),
        }
    }
}

impl Drop for SharedLimits {
    fn drop(&mut self) {
        self.readers = None;
        for thread in self.thread.drain(..) {
            // A thread that panicked has said so.
            let _ = thread.join();
        }
    }
}

/// Keys, periods and spans.
type Asked<'a> = (&'a [Vec<u8>], &'a [i64], &'a [i64]);

#[cfg(feature = "postgres")]
mod sql {
    use diesel::sql_types::{Array, BigInt, Binary};

    diesel::define_sql_function! {
        /// See the migration `shared_limits`.
        fn pass_rings(keys: Array<Binary>, periods: Array<BigInt>, spans: Array<BigInt>, moment: BigInt) -> Array<BigInt>;
    }
}

fn pass(conn: &mut Conn, (keys, periods, spans): Asked<'_>, moment: i64) -> Result<Vec<i64>, Error> {
    match conn {
        Conn::Sqlite(_) => {
            let _ = (keys, periods, spans, moment);
            Err(Error::internal("SQLite shares no limits"))
        }
        #[cfg(feature = "postgres")]
        Conn::Postgres(c) => Ok(diesel::select(sql::pass_rings(keys, periods, spans, moment)).get_result(c)?),
    }
}

#[derive(QueryableByName)]
struct Micros {
    #[diesel(sql_type = BigInt)]
    micros: i64,
}

fn clock(conn: &mut Conn) -> Result<i64, Error> {
    let sql = "SELECT (extract(epoch FROM clock_timestamp()) * 1000000)::bigint AS micros";
    let Micros { micros } = super::conn::on!(conn, |c| diesel::sql_query(sql).get_result(c))?;
    Ok(micros)
}

/// Rows that somebody uses now are left alone, so that it never waits inside while others wait for it.
fn sweep(conn: &mut Conn, most: i64) -> Result<usize, Error> {
    let sql = "DELETE FROM rate_limits WHERE key IN (\
                 SELECT key FROM rate_limits \
                 WHERE arrival < (extract(epoch FROM clock_timestamp()) * 1000000)::bigint \
                 LIMIT $1 FOR UPDATE SKIP LOCKED)";
    Ok(super::conn::on!(conn, |c| diesel::sql_query(sql).bind::<BigInt, _>(most).execute(c))?)
}
