//! The threads that own the connections. Readers take one closure at a time. The writer commits in groups: it takes what is
//! queued now and never waits for more, runs each job in a savepoint, writes the buffered rows and counters once, commits
//! once, and only then answers: an answer means that the comment is on disk. Queues are bounded; full is [`Error::Busy`].

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::thread::JoinHandle;

use crossbeam_channel::{Receiver, Sender, TrySendError};
use tokio::sync::oneshot;

use super::conn::Conn;
use super::tx::{Buffers, Tx};
use crate::error::Error;

/// Makes a new connection, at the start and after one broke.
pub(super) type Connect = Arc<dyn Fn() -> Result<Conn, Error> + Send + Sync>;

/// Told after each commit that left work for the outbox.
pub(super) type AfterWork = Arc<dyn Fn() + Send + Sync>;

/// Read jobs that may wait; more is [`Error::Busy`]. At 100 microseconds each, the last one waits a quarter of a second.
const READ_QUEUE: usize = 2048;

/// Write jobs that may wait: about half a second of work at the measured 10,000 jobs a second.
const WRITE_QUEUE: usize = 4096;

type ReadJob = Box<dyn FnOnce(Result<&mut Conn, Error>) + Send>;

/// The reading threads.
pub(super) struct Readers {
    queue: Sender<ReadJob>,
}

impl Readers {
    /// Starts `count` threads, each with a connection of its own. The first connections are made here, so that a wrong
    /// setting shows at the start.
    pub fn start(count: usize, connect: &Connect) -> Result<(Self, Vec<JoinHandle<()>>), Error> {
        let (queue, jobs) = crossbeam_channel::bounded::<ReadJob>(READ_QUEUE);
        let threads = (0..count.max(1))
            .map(|number| {
                let jobs = jobs.clone();
                spawn(format!("reader-{number}"), connect, move |conn, connect| read_loop(&jobs, conn, connect))
            })
            .collect::<Result<_, _>>()?;
        Ok((Self { queue }, threads))
    }

    /// Runs `work` on a reader's connection.
    pub async fn run<T, F>(&self, work: F) -> Result<T, Error>
    where
        T: Send + 'static,
        F: FnOnce(&mut Conn) -> Result<T, Error> + Send + 'static,
    {
        let (reply, answer) = oneshot::channel();
        let job: ReadJob = Box::new(move |conn| {
            let _ = reply.send(conn.and_then(work)); // The asker may have gone.
        });
        self.queue.try_send(job).map_err(|full| queue_full(&full))?;
        answer.await.map_err(|_| Error::internal("a read panicked"))?
    }
}

fn queue_full<T>(error: &TrySendError<T>) -> Error {
    match error {
        TrySendError::Full(_) => tracing::warn!("the storage queue is full"),
        TrySendError::Disconnected(_) => tracing::error!("the storage threads have ended"),
    }
    Error::Busy
}

/// Starts a thread that makes its own connection (a PostgreSQL one lives on the thread that opened it) and waits until it
/// has one.
fn spawn(
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

fn read_loop(jobs: &Receiver<ReadJob>, conn: Conn, connect: &Connect) {
    let mut held = Held { conn: Some(conn), connect };
    while let Ok(job) = jobs.recv() {
        let outcome = catch_unwind(AssertUnwindSafe(|| job(held.get())));
        if outcome.is_err() {
            tracing::error!("a read panicked");
        }
        held.drop_if_broken();
    }
}

/// A connection that is made anew when it broke.
struct Held<'a> {
    conn: Option<Conn>,
    connect: &'a Connect,
}

impl Held<'_> {
    fn get(&mut self) -> Result<&mut Conn, Error> {
        if self.conn.is_none() {
            self.conn = Some((self.connect)()?);
        }
        self.conn.as_mut().ok_or(Error::Busy)
    }

    /// A connection that is dead, or inside a transaction that nobody ended, is of no use any more.
    fn drop_if_broken(&mut self) {
        if self.conn.as_mut().is_some_and(Conn::is_broken) {
            self.conn = None;
        }
    }
}

/// A unit of work for the writer: run inside the group's transaction, answered after its end.
trait Job: Send {
    /// Whether it succeeded; if not, its savepoint is taken back.
    fn run(&mut self, tx: &mut Tx<'_>) -> bool;
    /// Tells the asker; `failure` when the group as a whole failed.
    fn answer(self: Box<Self>, failure: Option<Error>);
}

struct Write<F, T> {
    work: Option<F>,
    result: Option<Result<T, Error>>,
    reply: oneshot::Sender<Result<T, Error>>,
}

impl<T, F> Job for Write<F, T>
where
    T: Send,
    F: FnOnce(&mut Tx<'_>) -> Result<T, Error> + Send,
{
    fn run(&mut self, tx: &mut Tx<'_>) -> bool {
        let Some(work) = self.work.take() else { return false };
        let result = work(tx);
        let done = result.is_ok();
        self.result = Some(result);
        done
    }

    fn answer(self: Box<Self>, failure: Option<Error>) {
        let result = match (self.result, failure) {
            (Some(Err(own)), _) => Err(own),
            (_, Some(failure)) => Err(failure),
            (Some(done), None) => done,
            (None, None) => Err(Error::internal("a write panicked")),
        };
        let _ = self.reply.send(result); // The asker may have gone; what is committed stays.
    }
}

/// The writing threads: one for SQLite, which has one writer anyway.
pub(super) struct Writers {
    queue: Sender<Box<dyn Job>>,
}

/// How a writing thread works.
pub(super) struct WriterSettings {
    /// Threads with a connection each.
    pub threads: usize,
    /// Jobs per commit at most.
    pub group: usize,
    /// Called after a commit that left work for the outbox.
    pub after_work: AfterWork,
}

impl Writers {
    /// Starts the threads; the first connections are made here.
    pub fn start(settings: &WriterSettings, connect: &Connect) -> Result<(Self, Vec<JoinHandle<()>>), Error> {
        let (queue, jobs) = crossbeam_channel::bounded::<Box<dyn Job>>(WRITE_QUEUE);
        let threads = (0..settings.threads.max(1))
            .map(|number| {
                let (jobs, after_work, group) = (jobs.clone(), settings.after_work.clone(), settings.group.max(1));
                spawn(format!("writer-{number}"), connect, move |conn, connect| {
                    let held = Held { conn: Some(conn), connect };
                    Writer { jobs, held, group, buffers: Buffers::default(), after_work }.run();
                })
            })
            .collect::<Result<_, _>>()?;
        Ok((Self { queue }, threads))
    }

    /// Whether no job waits.
    pub fn is_idle(&self) -> bool {
        self.queue.is_empty()
    }

    /// Runs `work` in a transaction and waits until it is durable.
    pub async fn run<T, F>(&self, work: F) -> Result<T, Error>
    where
        T: Send + 'static,
        F: FnOnce(&mut Tx<'_>) -> Result<T, Error> + Send + 'static,
    {
        let (reply, answer) = oneshot::channel();
        let job = Box::new(Write { work: Some(work), result: None, reply });
        self.queue.try_send(job).map_err(|full| queue_full(&full))?;
        answer.await.map_err(|_| Error::internal("the writer ended"))?
    }
}

struct Writer<'a> {
    jobs: Receiver<Box<dyn Job>>,
    held: Held<'a>,
    group: usize,
    buffers: Buffers,
    after_work: AfterWork,
}

impl Writer<'_> {
    fn run(&mut self) {
        let mut group: Vec<Box<dyn Job>> = Vec::with_capacity(self.group);
        while let Ok(first) = self.jobs.recv() {
            group.push(first);
            group.extend(self.jobs.try_iter().take(self.group - 1));
            let outcome = self.commit(&mut group);
            let left_work = outcome.as_ref().is_ok_and(|left_work| *left_work);
            let failed = outcome.err();
            for job in group.drain(..) {
                job.answer(failed.as_ref().map(same_failure));
            }
            if left_work {
                (self.after_work)();
            }
        }
    }

    /// Runs the group in one transaction. Returns whether it left work for the outbox.
    fn commit(&mut self, group: &mut [Box<dyn Job>]) -> Result<bool, Error> {
        let outcome = self.held.get().and_then(|conn| run_group(conn, &mut self.buffers, group));
        if outcome.is_err() {
            self.buffers = Buffers::default();
        }
        self.held.drop_if_broken();
        outcome
    }
}

/// The group failed for one reason; each asker gets it. An inside cause is logged once, here.
fn same_failure(error: &Error) -> Error {
    match error {
        Error::Internal(cause) => Error::internal(cause.to_string()),
        _ => Error::Busy,
    }
}

fn run_group(conn: &mut Conn, buffers: &mut Buffers, group: &mut [Box<dyn Job>]) -> Result<bool, Error> {
    conn.begin()?;
    let outcome = run_jobs(conn, buffers, group).and_then(|()| {
        let left_work = buffers.has_work();
        buffers.flush(conn)?;
        conn.commit()?;
        Ok(left_work)
    });
    if outcome.is_err() {
        // A failed commit has rolled back already; a second rollback only says so.
        let _ = conn.rollback();
    }
    outcome
}

fn run_jobs(conn: &mut Conn, buffers: &mut Buffers, group: &mut [Box<dyn Job>]) -> Result<(), Error> {
    for job in group {
        let mark = buffers.mark();
        conn.nest()?;
        let done = catch_unwind(AssertUnwindSafe(|| job.run(&mut Tx::new(conn, buffers)))).unwrap_or_else(|_| {
            tracing::error!("a write panicked");
            false
        });
        if done {
            conn.commit()?;
        } else {
            buffers.cut_back(mark);
            conn.rollback()?;
        }
    }
    Ok(())
}
