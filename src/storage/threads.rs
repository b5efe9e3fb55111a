//! The threads that own the connections, and how a connection is made anew after it broke. Readers take one closure at a
//! time; the writers are in `writers.rs`. Queues are bounded; full is [`Error::Busy`].

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use crossbeam_channel::{Receiver, Sender, TrySendError};
use tokio::sync::oneshot;

use super::conn::Conn;
use super::replica::{self, Horizon};
use crate::error::Error;

/// Makes a new connection, at the start and after one broke.
pub(super) type Connect = Arc<dyn Fn() -> Result<Conn, Error> + Send + Sync>;

/// Read jobs that may wait; more is [`Error::Busy`]. At 100 microseconds each, the last one waits a quarter of a second.
const READ_QUEUE: usize = 2048;

/// A piece of reading that waits for a connection.
trait ReadJob: Send {
    /// Reads and answers. Returns false when the connection broke and `another` may try.
    fn run(&mut self, held: &mut Held<'_>, another: bool) -> bool;
    /// Tells the asker that nobody reads.
    fn refuse(self: Box<Self>);
}

struct Read<F, T> {
    work: F,
    /// Whether it may be run again.
    repeats: bool,
    reply: Option<oneshot::Sender<Result<T, Error>>>,
}

impl<F, T> Read<F, T> {
    fn answer(&mut self, result: Result<T, Error>) {
        if let Some(reply) = self.reply.take() {
            let _ = reply.send(result); // The asker may have gone.
        }
    }
}

impl<T, F> ReadJob for Read<F, T>
where
    T: Send,
    F: FnMut(&mut Conn) -> Result<T, Error> + Send,
{
    /// Reads once more on a new connection when the first broke meanwhile: reading twice harms nobody.
    fn run(&mut self, held: &mut Held<'_>, another: bool) -> bool {
        let mut result = held.get().and_then(|conn| conn.unit(&mut self.work));
        if self.repeats && matches!(result, Err(Error::Busy)) && held.is_lost() {
            if another {
                return false;
            }
            result = held.get().and_then(|conn| conn.unit(&mut self.work));
        }
        self.answer(result);
        true
    }

    fn refuse(mut self: Box<Self>) {
        self.answer(Err(Error::Busy));
    }
}

/// The reading threads.
pub(super) struct Readers {
    queue: Sender<Box<dyn ReadJob>>,
}

/// What reads from a replica: when it may, and who reads otherwise.
pub(super) struct Replica {
    pub horizon: Arc<Horizon>,
    pub primary: Arc<Readers>,
}

impl Readers {
    /// Starts `count` threads, each with a connection of its own. The first connections are made here, so that a wrong
    /// setting shows at the start.
    pub fn start(count: usize, connect: &Connect) -> Result<(Self, Vec<JoinHandle<()>>), Error> {
        let (queue, jobs) = crossbeam_channel::bounded(READ_QUEUE);
        let threads = (0..count.max(1))
            .map(|number| {
                let jobs = jobs.clone();
                spawn(format!("reader-{number}"), connect, move |conn, connect| {
                    read_loop(&jobs, Held::new(conn, connect));
                })
            })
            .collect::<Result<_, _>>()?;
        Ok((Self { queue }, threads))
    }

    /// Starts `count` threads that read from a replica, which may be away.
    pub fn start_on_replica(
        count: usize,
        connect: &Connect,
        replica: &Arc<Replica>,
    ) -> Result<(Self, Vec<JoinHandle<()>>), Error> {
        let (queue, jobs) = crossbeam_channel::bounded(READ_QUEUE);
        let threads = (0..count.max(1))
            .map(|number| {
                let (jobs, connect, replica) = (jobs.clone(), connect.clone(), replica.clone());
                let run = move || replica_loop(&jobs, Held::without(&connect), &replica);
                std::thread::Builder::new().name(format!("replica-{number}")).spawn(run).map_err(Error::internal)
            })
            .collect::<Result<_, _>>()?;
        Ok((Self { queue }, threads))
    }

    /// Runs `work` on a reader's connection, perhaps twice.
    pub async fn run<T, F>(&self, work: F) -> Result<T, Error>
    where
        T: Send + 'static,
        F: FnMut(&mut Conn) -> Result<T, Error> + Send + 'static,
    {
        self.ask(work, true).await
    }

    async fn ask<T, F>(&self, work: F, repeats: bool) -> Result<T, Error>
    where
        T: Send + 'static,
        F: FnMut(&mut Conn) -> Result<T, Error> + Send + 'static,
    {
        let (reply, answer) = oneshot::channel();
        let job: Box<dyn ReadJob> = Box::new(Read { work, repeats, reply: Some(reply) });
        self.queue.try_send(job).map_err(|full| queue_full(&full))?;
        answer.await.map_err(|_| Error::internal("a read panicked"))?
    }

    fn take_over(&self, job: Box<dyn ReadJob>) {
        if let Err(full) = self.queue.try_send(job) {
            let _ = queue_full(&full);
            full.into_inner().refuse();
        }
    }
}

pub(super) fn queue_full<T>(error: &TrySendError<T>) -> Error {
    match error {
        TrySendError::Full(_) => tracing::warn!("the storage queue is full"),
        TrySendError::Disconnected(_) => tracing::error!("the storage threads have ended"),
    }
    Error::Busy
}

/// Starts a thread that makes its own connection (a PostgreSQL one lives on the thread that opened it) and waits until it
/// has one.
pub(super) fn spawn(
    name: String,
    connect: &Connect,
    run: impl FnOnce(Conn, &Connect) + Send + 'static,
) -> Result<JoinHandle<()>, Error> {
    let (tell, told) = std::sync::mpsc::channel();
    let connect = connect.clone();
    let thread = std::thread::Builder::new().name(name).spawn(move || match connect() {
        Ok(conn) => {
            let _ = tell.send(Ok(())); // The starter waits for it.
            run(conn, &connect);
        }
        Err(error) => {
            let _ = tell.send(Err(error));
        }
    });
    let thread = thread.map_err(Error::internal)?;
    told.recv().map_err(|_| Error::internal("a storage thread did not start"))??;
    Ok(thread)
}

fn read_loop(jobs: &Receiver<Box<dyn ReadJob>>, mut held: Held<'_>) {
    while let Ok(mut job) = jobs.recv() {
        run_job(&mut *job, &mut held, false);
    }
}

/// Whether the job is done with; a panic answers by silence.
fn run_job(job: &mut dyn ReadJob, held: &mut Held<'_>, another: bool) -> bool {
    catch_unwind(AssertUnwindSafe(|| job.run(held, another))).unwrap_or_else(|_| {
        tracing::error!("a read panicked");
        true
    })
}

fn replica_loop(jobs: &Receiver<Box<dyn ReadJob>>, mut held: Held<'_>, replica: &Replica) {
    let mut replayed = 0;
    while let Ok(mut job) = jobs.recv() {
        let may_answer = has_caught_up(&mut held, &replica.horizon, &mut replayed);
        if !(may_answer && run_job(&mut *job, &mut held, true)) {
            replica.primary.take_over(job);
        }
    }
}

/// Whether the replica has what this process has written and heard of; asks it only when that is not known.
fn has_caught_up(held: &mut Held<'_>, horizon: &Horizon, replayed: &mut replica::Position) -> bool {
    let Some(needed) = horizon.get() else { return false };
    if *replayed < needed || held.is_lost() {
        // A new connection may lead to another replica.
        *replayed = held.get().and_then(|conn| conn.unit(&mut replica::replayed)).unwrap_or(0);
    }
    *replayed >= needed && !held.is_lost()
}

/// A connection that is made anew when it broke.
pub(super) struct Held<'a> {
    conn: Option<Conn>,
    connect: &'a Connect,
    pub(super) is_shared: bool,
    /// No connection is tried before this.
    not_before: Option<Instant>,
}

/// After a connection could not be made, everybody is told so at once for this long, so that the queue does not wait for
/// one time-out after the other.
const PAUSE: Duration = Duration::from_millis(250);

impl<'a> Held<'a> {
    pub(super) fn new(conn: Conn, connect: &'a Connect) -> Self {
        Self { is_shared: conn.is_shared(), conn: Some(conn), connect, not_before: None }
    }

    /// One that is made when it is needed.
    fn without(connect: &'a Connect) -> Self {
        Self { is_shared: true, conn: None, connect, not_before: None }
    }

    /// Whether the connection broke, or was never made.
    fn is_lost(&mut self) -> bool {
        self.conn.as_mut().is_none_or(Conn::is_broken)
    }

    /// The connection; one that is dead, or inside a transaction that nobody ended, is replaced.
    #[expect(clippy::disallowed_methods, reason = "a pause between tries, told to nobody")]
    pub(super) fn get(&mut self) -> Result<&mut Conn, Error> {
        if self.is_lost() {
            self.conn = None;
        }
        if self.conn.is_none() {
            if self.not_before.is_some_and(|at| Instant::now() < at) {
                return Err(Error::Busy);
            }
            self.conn = Some((self.connect)().map_err(|error| {
                tracing::warn!(%error, cause = error.inside(), "the database is away");
                self.not_before = Some(Instant::now() + jittered(PAUSE));
                Error::Busy
            })?);
            self.not_before = None;
        }
        self.conn.as_mut().ok_or(Error::Busy)
    }
}

/// A pause between one and two times as long, so that instances that lost the same server do not come back together.
pub(super) fn jittered(pause: Duration) -> Duration {
    let mut byte = [0_u8];
    // Without randomness the pause is the shortest, which is fine too.
    let _ = getrandom::fill(&mut byte);
    pause.mul_f64(1.0 + f64::from(byte[0]) / 255.0)
}
