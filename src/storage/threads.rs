//! The threads that own the connections, and how a connection is made anew after it broke. Readers take one closure at a
//! time; the writers are in `writers.rs`. Queues are bounded; full is [`Error::Busy`].

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use crossbeam_channel::{Receiver, Sender, TrySendError};
use tokio::sync::oneshot;

use super::conn::Conn;
use crate::error::Error;

/// Makes a new connection, at the start and after one broke.
pub(super) type Connect = Arc<dyn Fn() -> Result<Conn, Error> + Send + Sync>;

/// Read jobs that may wait; more is [`Error::Busy`]. At 100 microseconds each, the last one waits a quarter of a second.
const READ_QUEUE: usize = 2048;

/// A piece of reading that waits for a connection.
pub(super) trait ReadJob: Send {
    /// Reads and answers.
    fn run(&mut self, held: &mut Held<'_>);
    /// Reads and answers if this connection may, and can. Returns false when somebody else is to read.
    fn run_if(&mut self, conn: &mut Conn, may: May<'_>) -> bool;
    /// Tells the asker that nobody reads.
    fn refuse(self: Box<Self>);
}

/// Asked before a reading, in its transaction; [`Error::Busy`] is no.
pub(super) type May<'a> = &'a mut dyn FnMut(&mut Conn) -> Result<(), Error>;

pub(super) type Job = Box<dyn ReadJob>;

/// The answer to a job.
pub(super) struct Answer<T>(oneshot::Receiver<Result<T, Error>>);

impl<T> Answer<T> {
    /// Waits for it.
    pub async fn wait(self) -> Result<T, Error> {
        self.0.await.map_err(|_| Error::internal("a read panicked"))?
    }
}

/// A job and its answer.
pub(super) fn job<T, F>(work: F) -> (Job, Answer<T>)
where
    T: Send + 'static,
    F: FnMut(&mut Conn) -> Result<T, Error> + Send + 'static,
{
    let (reply, answer) = oneshot::channel();
    (Box::new(Read { work, reply: Some(reply) }), Answer(answer))
}

struct Read<F, T> {
    work: F,
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
    fn run(&mut self, held: &mut Held<'_>) {
        let mut result = held.get().and_then(|conn| conn.unit(&mut self.work));
        if matches!(result, Err(Error::Busy)) && held.is_lost() {
            result = held.get().and_then(|conn| conn.unit(&mut self.work));
        }
        self.answer(result);
    }

    fn run_if(&mut self, conn: &mut Conn, may: May<'_>) -> bool {
        let work = &mut self.work;
        let result = conn.unit(&mut |conn: &mut Conn| may(conn).and_then(|()| work(conn)));
        if matches!(result, Err(Error::Busy)) {
            return false;
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
    queue: Sender<Job>,
}

impl Readers {
    /// Starts `count` threads, each with a connection of its own. The first connections are made here, so that a wrong
    /// setting shows at the start.
    pub fn start(count: usize, connect: &Connect) -> Result<(Self, Vec<JoinHandle<()>>), Error> {
        let (queue, jobs) = queue();
        let threads = (0..count.max(1))
            .map(|number| {
                let jobs = jobs.clone();
                spawn(format!("reader-{number}"), connect, move |conn, connect| {
                    read_loop(&jobs, Held::new(conn, connect));
                })
            })
            .collect::<Result<_, _>>()?;
        Ok((Self { queue }, connected(threads)?))
    }

    /// Runs `work` on a reader's connection, perhaps twice.
    pub async fn run<T, F>(&self, work: F) -> Result<T, Error>
    where
        T: Send + 'static,
        F: FnMut(&mut Conn) -> Result<T, Error> + Send + 'static,
    {
        let (job, answer) = job(work);
        self.take(job);
        answer.wait().await
    }

    /// Sees to it that the job is answered.
    pub fn take(&self, job: Job) {
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

/// A thread that is making its own connection (a PostgreSQL one lives on the thread that opened it).
pub(super) struct Starting {
    thread: JoinHandle<()>,
    told: std::sync::mpsc::Receiver<Result<(), Error>>,
}

/// Starts a thread that connects and then runs.
pub(super) fn spawn(
    name: String,
    connect: &Connect,
    run: impl FnOnce(Conn, &Connect) + Send + 'static,
) -> Result<Starting, Error> {
    let (tell, told) = std::sync::mpsc::channel();
    let connect = connect.clone();
    let thread = std::thread::Builder::new().name(name).spawn(move || match connect() {
        Ok(conn) => {
            let _ = tell.send(Ok(())); // Another one may have failed, and then nobody waits.
            run(conn, &connect);
        }
        Err(error) => {
            let _ = tell.send(Err(error));
        }
    });
    Ok(Starting { thread: thread.map_err(Error::internal)?, told })
}

impl Starting {
    /// Waits until it has its connection. Several make theirs at the same time when all are started first.
    pub fn connected(self) -> Result<JoinHandle<()>, Error> {
        self.told.recv().map_err(|_| Error::internal("a storage thread did not start"))??;
        Ok(self.thread)
    }
}

/// Waits for all of them.
pub(super) fn connected(starting: Vec<Starting>) -> Result<Vec<JoinHandle<()>>, Error> {
    starting.into_iter().map(Starting::connected).collect()
}

fn read_loop(jobs: &Receiver<Job>, mut held: Held<'_>) {
    while let Ok(mut job) = jobs.recv() {
        let _ = guarded(|| job.run(&mut held));
    }
}

/// What `run` returns; none after a panic, which answers by silence.
pub(super) fn guarded<T>(run: impl FnOnce() -> T) -> Option<T> {
    catch_unwind(AssertUnwindSafe(run)).map_err(|_| tracing::error!("a read panicked")).ok()
}

/// A queue of reading.
pub(super) fn queue() -> (Sender<Job>, Receiver<Job>) {
    crossbeam_channel::bounded(READ_QUEUE)
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

    /// Whether the connection broke.
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
