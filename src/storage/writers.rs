//! Group commit: a writing thread takes what is queued now and never waits for more, runs all jobs in one transaction,
//! writes the buffered rows and counters once, commits once, and only then answers: an answer means that the comment is on
//! disk. When one job fails, the group is taken back and run again with a savepoint per job: failures are rare, and
//! savepoints are a tenth of the work. A job that meets another connection is run again alone.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::thread::JoinHandle;

use crossbeam_channel::{Receiver, Sender};
use tokio::sync::oneshot;

use super::arrivals::{self, Arrival};
use super::conn::Conn;
use super::threads::{Connect, Held, connected, queue_full, spawn};
use super::tx::{Buffers, News, Tx};
use crate::error::Error;

/// Told after each commit, before anybody is answered; with the connection, outside of a transaction.
pub(super) type AfterCommit = Arc<dyn Fn(&mut Conn, &News) + Send + Sync>;

/// Write jobs that may wait: about half a second of work at the measured 10,000 jobs a second.
const WRITE_QUEUE: usize = 4096;

/// A unit of work for the writer: run inside a transaction, perhaps more than once, answered after its end.
trait Job: Send {
    /// Runs it; what an earlier run left behind has been taken back.
    fn run(&mut self, tx: &mut Tx<'_>) -> Ran;
    /// What it will ask the database, if it can say so.
    fn arrival(&self) -> Option<&Arrival>;
    /// Tells the asker; `failure` when the transaction as a whole failed.
    fn answer(self: Box<Self>, failure: Option<Error>);
}

/// How a job's run ended.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Ran {
    /// It is to be committed.
    Done,
    /// It is to be taken back; its asker learns why.
    Failed,
    /// Another connection is in its way: it is to be taken back and run again alone.
    Contended,
}

struct Write<F, T> {
    arrival: Option<Arrival>,
    work: F,
    result: Option<Result<T, Error>>,
    reply: oneshot::Sender<Result<T, Error>>,
}

impl<T, F> Job for Write<F, T>
where
    T: Send,
    F: FnMut(&mut Tx<'_>) -> Result<T, Error> + Send,
{
    fn run(&mut self, tx: &mut Tx<'_>) -> Ran {
        self.result = None;
        let result = (self.work)(tx);
        let ran = match &result {
            Ok(_) => Ran::Done,
            Err(error) if tx.may_pass_alone(error) => Ran::Contended,
            Err(_) => Ran::Failed,
        };
        self.result = Some(result);
        ran
    }

    fn arrival(&self) -> Option<&Arrival> {
        self.arrival.as_ref()
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
    count: AtomicU64,
    settled: Arc<Settled>,
}

/// What the threads have settled since the start, committed or not.
#[derive(Default)]
struct Settled {
    groups: AtomicU64,
    jobs: AtomicU64,
}

/// How much was written since the start.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Written {
    /// Groups of jobs that shared a commit.
    pub groups: u64,
    /// The jobs in them.
    pub jobs: u64,
}

/// How a writing thread works.
pub(super) struct WriterSettings {
    /// Threads with a connection each.
    pub threads: usize,
    /// Jobs per commit at most.
    pub group: usize,
    /// Told after each commit.
    pub after_commit: AfterCommit,
}

impl Writers {
    /// Starts the threads; the first connections are made here.
    pub fn start(settings: &WriterSettings, connect: &Connect) -> Result<(Self, Vec<JoinHandle<()>>), Error> {
        let (queue, jobs) = crossbeam_channel::bounded::<Box<dyn Job>>(WRITE_QUEUE);
        let settled = Arc::new(Settled::default());
        let threads = (0..settings.threads.max(1))
            .map(|number| {
                let (jobs, after_commit, group) = (jobs.clone(), settings.after_commit.clone(), settings.group.max(1));
                let settled = settled.clone();
                spawn(format!("writer-{number}"), connect, move |conn, connect| {
                    let held = Held::new(conn, connect);
                    Writer { jobs, held, group, buffers: Buffers::default(), after_commit, settled }.run();
                })
            })
            .collect::<Result<_, _>>()?;
        Ok((Self { queue, count: AtomicU64::new(0), settled }, connected(threads)?))
    }

    /// Jobs that were asked for since the start.
    pub fn count(&self) -> u64 {
        self.count.load(Ordering::Relaxed)
    }

    /// How much was written since the start.
    pub fn written(&self) -> Written {
        let Settled { groups, jobs } = &*self.settled;
        Written { groups: groups.load(Ordering::Relaxed), jobs: jobs.load(Ordering::Relaxed) }
    }

    /// Runs `work` in a transaction and waits until it is durable.
    pub async fn run<T, F>(&self, arrival: Option<Arrival>, work: F) -> Result<T, Error>
    where
        T: Send + 'static,
        F: FnMut(&mut Tx<'_>) -> Result<T, Error> + Send + 'static,
    {
        self.count.fetch_add(1, Ordering::Relaxed);
        let (reply, answer) = oneshot::channel();
        let job = Box::new(Write { arrival, work, result: None, reply });
        self.queue.try_send(job).map_err(|full| queue_full(&full))?;
        answer.await.map_err(|_| Error::internal("the writer ended"))?
    }
}

struct Writer<'a> {
    jobs: Receiver<Box<dyn Job>>,
    held: Held<'a>,
    group: usize,
    buffers: Buffers,
    after_commit: AfterCommit,
    settled: Arc<Settled>,
}

/// How the jobs of a transaction are kept apart.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Pass {
    /// Not at all: the first that fails ends the pass.
    Together,
    /// A savepoint for each.
    Apart,
    /// There is only one, which may wait for other connections.
    Alone,
}

/// Why a transaction came to nothing.
enum Undone {
    /// A job failed that shares its transaction with others.
    ByAJob,
    /// The database failed before it was asked to commit: nothing of it is there.
    BeforeCommit(Error),
    /// The database failed while it committed: all or nothing of it may be there.
    AtCommit(Error),
}

/// How often a job is run alone until other connections let it pass.
const TRIES_ALONE: usize = 3;

impl Writer<'_> {
    fn run(&mut self) {
        let mut group: Vec<Box<dyn Job>> = Vec::with_capacity(self.group);
        while let Ok(first) = self.jobs.recv() {
            group.push(first);
            group.extend(self.jobs.try_iter().take(self.group - 1));
            // Before the answers, so that nobody who has got one finds it uncounted.
            self.settled.groups.fetch_add(1, Ordering::Relaxed);
            self.settled.jobs.fetch_add(group.len() as u64, Ordering::Relaxed);
            self.settle(&mut group);
        }
    }

    /// Carries out a group and answers each asker.
    fn settle(&mut self, group: &mut Vec<Box<dyn Job>>) {
        let mut contended = vec![false; group.len()];
        let outcome = match self.transact(group, Pass::Together, &mut contended) {
            Err(Undone::ByAJob) => self.transact(group, Pass::Apart, &mut contended),
            outcome => outcome,
        };
        let failure = match outcome {
            Ok(()) => None,
            // Whoever stood in the way may have gone.
            Err(Undone::BeforeCommit(Error::Busy)) if self.held.is_shared => {
                contended.fill(true);
                None
            }
            Err(Undone::BeforeCommit(error) | Undone::AtCommit(error)) => Some(error),
            Err(Undone::ByAJob) => Some(Error::Busy),
        };
        for (mut job, contended) in group.drain(..).zip(contended) {
            if contended {
                let alone = self.settle_alone(&mut job);
                job.answer(alone.err());
            } else {
                job.answer(failure.as_ref().map(same_failure));
            }
        }
    }

    /// Runs one job in a transaction of its own, waiting for other connections.
    fn settle_alone(&mut self, job: &mut Box<dyn Job>) -> Result<(), Error> {
        for _ in 0..TRIES_ALONE {
            match self.transact(std::slice::from_mut(job), Pass::Alone, &mut [false]) {
                Ok(()) => return Ok(()),
                // Its own result tells why.
                Err(Undone::ByAJob) => return Err(Error::Busy),
                Err(Undone::BeforeCommit(Error::Busy)) => {}
                Err(Undone::BeforeCommit(error) | Undone::AtCommit(error)) => return Err(error),
            }
        }
        Err(Error::Busy)
    }

    /// Runs jobs in one transaction, and tells what it changed.
    fn transact(&mut self, jobs: &mut [Box<dyn Job>], pass: Pass, contended: &mut [bool]) -> Result<(), Undone> {
        let buffers = &mut self.buffers;
        let conn = self.held.get().map_err(Undone::BeforeCommit)?;
        let outcome = run_jobs(conn, buffers, Group { jobs, pass, contended }).and_then(|()| {
            let news = buffers.news();
            buffers.flush(conn, &news).map_err(Undone::BeforeCommit)?;
            conn.commit().map_err(|error| Undone::AtCommit(error.into()))?;
            Ok(news)
        });
        if let Ok(news) = &outcome {
            (self.after_commit)(conn, news);
        } else {
            *buffers = Buffers::default();
            // A failed commit has rolled back already; a second rollback only says so.
            let _ = conn.rollback();
        }
        outcome.map(drop)
    }
}

/// The group failed for one reason; each asker gets it, and logs an inside cause with its own request id.
fn same_failure(error: &Error) -> Error {
    match error {
        Error::Internal(cause) => Error::internal(cause.to_string()),
        _ => Error::Busy,
    }
}

/// Jobs of one transaction.
struct Group<'a> {
    jobs: &'a mut [Box<dyn Job>],
    pass: Pass,
    /// For each job: whether it met another connection.
    contended: &'a mut [bool],
}

/// Begins a transaction and runs the jobs in it.
fn run_jobs(conn: &mut Conn, buffers: &mut Buffers, group: Group<'_>) -> Result<(), Undone> {
    let Group { jobs, pass, contended } = group;
    let before_commit = |error: diesel::result::Error| Undone::BeforeCommit(error.into());
    conn.begin().map_err(before_commit)?;
    let arrivals: Vec<&Arrival> = jobs.iter().filter_map(|job| job.arrival()).collect();
    buffers.known = arrivals::look_ahead(conn, &arrivals).map_err(Undone::BeforeCommit)?;
    for (job, contended) in jobs.iter_mut().zip(contended) {
        let mark = buffers.mark();
        if pass == Pass::Apart {
            conn.nest().map_err(before_commit)?;
        }
        let mut tx = Tx::new(conn, buffers, pass == Pass::Alone, job.arrival().is_some());
        let ran = catch_unwind(AssertUnwindSafe(|| job.run(&mut tx))).unwrap_or_else(|_| {
            tracing::error!("a write panicked");
            Ran::Failed
        });
        match (ran, pass) {
            (Ran::Done, Pass::Apart) => conn.commit().map_err(before_commit)?,
            (Ran::Done, _) => {}
            (_, Pass::Apart) => {
                *contended = ran == Ran::Contended;
                buffers.cut_back(mark);
                conn.rollback().map_err(before_commit)?;
            }
            (_, Pass::Together | Pass::Alone) => return Err(Undone::ByAJob),
        }
    }
    Ok(())
}
