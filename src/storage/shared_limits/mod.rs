//! Rate limits that all instances on one PostgreSQL database share. Whoever asks takes one from each of some rings, or from
//! none. A thread with a connection of its own takes all who wait and asks for them in one short transaction, so that the
//! rows that everybody changes are changed once for many; it is not that of the group commit, so that they are never locked
//! while a group is written. The table is unlogged, so nothing here waits for the disk. SQLite has one instance and nothing
//! to share.

mod rows;

use std::thread::JoinHandle;

use crossbeam_channel::Sender;
use diesel::prelude::*;
use diesel::sql_types::BigInt;
use tokio::sync::oneshot;

use super::DatabaseSettings;
use super::backend::Backend;
use super::conn::{Conn, on};
use super::threads::{Held, queue_full, spawn};
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

/// Somebody who waits to pass.
struct Ask {
    tolls: Vec<Toll>,
    moment: i64,
    is_wanted: Box<dyn Fn() -> bool + Send>,
    reply: oneshot::Sender<Result<Vec<i64>, Error>>,
}

/// What waits for the connection.
enum Job {
    Pass(Ask),
    Other(Box<dyn FnOnce(&mut Held<'_>) + Send>),
}

/// The rings that instances share.
pub struct SharedLimits {
    queue: Option<Sender<Job>>,
    thread: Option<JoinHandle<()>>,
}

/// Jobs that may wait; an asker is patient for a quarter of a second.
const QUEUE: usize = 4096;

/// Askers of one transaction at most: the rows that everybody changes are locked no longer than it lasts.
const TOGETHER: usize = 64;

impl SharedLimits {
    /// Opens the connection; none on SQLite. Blocks. The migrations have run.
    pub fn open(settings: &DatabaseSettings) -> Result<Option<Self>, Error> {
        let backend = Backend::of(settings)?;
        if matches!(backend, Backend::Sqlite(_)) {
            return Ok(None);
        }
        let (queue, jobs) = crossbeam_channel::bounded::<Job>(QUEUE);
        let thread = spawn("limits".to_owned(), &backend.writing(), move |conn, connect| {
            let mut held = Held::new(conn, connect);
            while let Ok(first) = jobs.recv() {
                let mut asks = Vec::new();
                for job in std::iter::once(first).chain(jobs.try_iter().take(TOGETHER - 1)) {
                    match job {
                        Job::Pass(ask) => asks.push(ask),
                        Job::Other(work) => work(&mut held),
                    }
                }
                settle(&mut held, asks);
            }
        })?
        .connected()?;
        Ok(Some(Self { queue: Some(queue), thread: Some(thread) }))
    }

    /// Takes one from each ring, or from none of them when one has nothing left at `moment` (microseconds of the
    /// database's clock). Returns each ring's theoretical arrival time before, never earlier than `moment`. `is_wanted` is
    /// asked when the connection is free: whoever has stopped waiting takes nothing any more. Errors: [`Error::Busy`] when
    /// the database is away; whether something was taken, nobody knows then.
    pub async fn pass(
        &self,
        tolls: Vec<Toll>,
        moment: i64,
        is_wanted: impl Fn() -> bool + Send + 'static,
    ) -> Result<Vec<i64>, Error> {
        let (reply, answer) = oneshot::channel();
        self.send(Job::Pass(Ask { tolls, moment, is_wanted: Box::new(is_wanted), reply }))?;
        answer.await.map_err(|_| Error::Busy)?
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
        mut work: impl FnMut(&mut Conn) -> Result<T, Error> + Send + 'static,
    ) -> Result<T, Error> {
        let (reply, answer) = oneshot::channel();
        self.send(Job::Other(Box::new(move |held| {
            let _ = reply.send(held.get().and_then(|conn| conn.unit(&mut work))); // The asker may have gone.
        })))?;
        answer.await.map_err(|_| Error::Busy)?
    }

    fn send(&self, job: Job) -> Result<(), Error> {
        let queue = self.queue.as_ref().ok_or(Error::Busy)?;
        queue.try_send(job).map_err(|full| queue_full(&full))
    }
}

impl Drop for SharedLimits {
    fn drop(&mut self) {
        self.queue = None;
        if let Some(thread) = self.thread.take() {
            // A thread that panicked has said so.
            let _ = thread.join();
        }
    }
}

/// Answers all who still wait; those who get no answer know by that.
fn settle(held: &mut Held<'_>, asks: Vec<Ask>) {
    let Ok(conn) = held.get() else { return };
    let asks: Vec<Ask> = asks.into_iter().filter(|ask| (ask.is_wanted)()).collect();
    if asks.is_empty() {
        return;
    }
    if let Ok(answers) = together(conn, &asks) {
        for (ask, before) in asks.into_iter().zip(answers) {
            let _ = ask.reply.send(Ok(before)); // The asker may have gone.
        }
    }
}

fn together(conn: &mut Conn, asks: &[Ask]) -> Result<Vec<Vec<i64>>, Error> {
    conn.begin()?;
    let answers = rows::pass(conn, asks);
    // After an error there is nothing to keep, and a rollback that fails shows as a broken connection.
    let ended = if answers.is_ok() { conn.commit() } else { conn.rollback() };
    let answers = answers?;
    ended?;
    Ok(answers)
}

#[derive(QueryableByName)]
struct Micros {
    #[diesel(sql_type = BigInt)]
    micros: i64,
}

fn clock(conn: &mut Conn) -> Result<i64, Error> {
    let sql = "SELECT (extract(epoch FROM clock_timestamp()) * 1000000)::bigint AS micros";
    let Micros { micros } = on!(conn, |c| diesel::sql_query(sql).get_result(c))?;
    Ok(micros)
}

/// Rows that somebody uses now are left alone, so that it never waits inside while others wait for it.
fn sweep(conn: &mut Conn, most: i64) -> Result<usize, Error> {
    let sql = "DELETE FROM rate_limits WHERE key IN (\
                 SELECT key FROM rate_limits \
                 WHERE arrival < (extract(epoch FROM clock_timestamp()) * 1000000)::bigint \
                 LIMIT $1 FOR UPDATE SKIP LOCKED)";
    Ok(on!(conn, |c| diesel::sql_query(sql).bind::<BigInt, _>(most).execute(c))?)
}
