//! Reading from a replica of the PostgreSQL server without reading the past: a replica answers only once it has replayed
//! what this process has written or heard of; until then, and whenever nobody can tell, the primary answers. So a list is
//! never made from what was true before a decision. What is not told between instances is never read here.

use std::sync::atomic::{AtomicI64, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use crossbeam_channel::{Receiver, RecvTimeoutError, Sender};
use diesel::prelude::*;
use diesel::sql_types::BigInt;

use super::conn::{Conn, on};
use super::threads::{Connect, Job, Readers, guarded, jittered, job, queue};
use crate::error::Error;

/// A position in the server's log of writes: bytes since its beginning.
pub(super) type Position = i64;

/// The position up to which a replica must have replayed before it may answer.
pub(super) struct Horizon {
    known: AtomicI64,
    /// How often a position could not be learnt.
    lost: AtomicU64,
    /// Up to which of these losses the primary was asked again since.
    found: AtomicU64,
}

impl Default for Horizon {
    /// Nothing is known before the primary is asked for the first time.
    fn default() -> Self {
        Self { known: AtomicI64::new(0), lost: AtomicU64::new(1), found: AtomicU64::new(0) }
    }
}

impl Horizon {
    /// What a replica must have; none when nobody can tell.
    pub fn get(&self) -> Option<Position> {
        let is_known = self.found.load(Ordering::Acquire) >= self.lost.load(Ordering::Acquire);
        is_known.then(|| self.known.load(Ordering::Acquire))
    }

    /// Something may have been written beyond what is known.
    pub fn lose(&self) {
        self.lost.fetch_add(1, Ordering::AcqRel);
    }

    /// How often it was lost so far; to be noted before the primary is asked.
    pub fn losses(&self) -> u64 {
        self.lost.load(Ordering::Acquire)
    }

    /// The primary is at `position`, and was asked after this many losses.
    pub fn reached(&self, position: Position, losses: u64) {
        self.known.fetch_max(position, Ordering::AcqRel);
        self.found.fetch_max(losses, Ordering::AcqRel);
    }

    /// Asks the primary by `ask`.
    pub fn learn(&self, ask: impl FnOnce() -> Result<Position, Error>) {
        let losses = self.losses();
        match ask() {
            Ok(position) => self.reached(position, losses),
            Err(_) => self.lose(),
        }
    }
}

/// Asks the primary how far its log goes; its own commits are below that.
pub(super) const WRITTEN: &str = "SELECT (pg_current_wal_lsn() - '0/0'::pg_lsn)::bigint AS position";

/// A server that is no replica (any more) has what it wrote itself.
const REPLAYED: &str = "SELECT (CASE WHEN pg_is_in_recovery() THEN coalesce(pg_last_wal_replay_lsn(), '0/0') \
                        ELSE pg_current_wal_lsn() END - '0/0'::pg_lsn)::bigint AS position";

#[derive(QueryableByName)]
struct At {
    #[diesel(sql_type = BigInt)]
    position: Position,
}

/// How far the primary's log goes now.
pub(super) fn written(conn: &mut Conn) -> Result<Position, Error> {
    ask(conn, WRITTEN)
}

/// How far a replica has come.
fn replayed(conn: &mut Conn) -> Result<Position, Error> {
    ask(conn, REPLAYED)
}

fn ask(conn: &mut Conn, sql: &'static str) -> Result<Position, Error> {
    let At { position } = on!(conn, |c| diesel::sql_query(sql).get_result(c))?;
    Ok(position)
}

/// After a connection broke or could not be made, the primary answers for this long, and for twice as long at most.
const PAUSE: Duration = Duration::from_secs(7);

/// A thread that waits for work looks this often whether it lacks a connection and may make one.
const LOOK: Duration = Duration::from_millis(500);

/// Reads from a replica while it can, and otherwise from the primary.
pub(super) struct ReplicaReaders {
    queue: Sender<Job>,
    replica: Arc<Replica>,
}

impl ReplicaReaders {
    /// Starts `count` threads. They connect by themselves: the replica may be away.
    pub fn start(count: usize, connect: &Connect, replica: Replica) -> Result<(Self, Vec<JoinHandle<()>>), Error> {
        let (queue, jobs) = queue();
        let replica = Arc::new(replica);
        let threads = (0..count.max(1))
            .map(|number| {
                let (jobs, connect, replica) = (jobs.clone(), connect.clone(), replica.clone());
                let run = move || replica.read(&jobs, &connect);
                std::thread::Builder::new().name(format!("replica-{number}")).spawn(run).map_err(Error::internal)
            })
            .collect::<Result<_, _>>()?;
        Ok((Self { queue, replica }, threads))
    }

    /// Runs `work` on a connection to the replica or to the primary, perhaps on one after the other.
    pub async fn run<T, F>(&self, work: F) -> Result<T, Error>
    where
        T: Send + 'static,
        F: FnMut(&mut Conn) -> Result<T, Error> + Send + 'static,
    {
        let (job, answer) = job(work);
        if self.replica.stands() {
            if let Err(full) = self.queue.try_send(job) {
                self.replica.primary.take(full.into_inner());
            }
        } else {
            self.replica.primary.take(job);
        }
        answer.wait().await
    }
}

/// A replica: when it may answer, and who does otherwise.
pub(super) struct Replica {
    horizon: Arc<Horizon>,
    primary: Arc<Readers>,
    /// Whether each transaction may reach another server.
    pooled: bool,
    state: Mutex<State>,
}

/// What is known of the replica.
#[derive(Clone, Copy, PartialEq, Eq)]
enum State {
    /// It answers.
    Stands,
    /// It does not, and nobody tries before this.
    Away(Instant),
    /// One thread tries whether it is back.
    Tried,
}

/// A connection to the replica.
struct Link {
    conn: Conn,
    /// How far the server has come at least.
    replayed: Position,
}

impl Replica {
    /// A replica that nobody has seen yet.
    pub fn new(horizon: Arc<Horizon>, primary: Arc<Readers>, pooled: bool) -> Self {
        Self { horizon, primary, pooled, state: Mutex::new(State::Away(now())) }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn stands(&self) -> bool {
        *self.state() == State::Stands
    }

    /// What a thread does until the queue is closed. It never connects with a job in its hands, which would wait for a
    /// server that says nothing.
    fn read(&self, jobs: &Receiver<Job>, connect: &Connect) {
        let mut link = None;
        loop {
            if !self.stands() {
                link = None;
            }
            if link.is_none() && self.may_connect() {
                link = self.connect(connect);
            }
            match jobs.recv_timeout(LOOK) {
                Ok(job) => self.answer(job, &mut link),
                Err(RecvTimeoutError::Timeout) => {}
                Err(RecvTimeoutError::Disconnected) => return,
            }
        }
    }

    /// While the replica is away, one thread tries.
    fn may_connect(&self) -> bool {
        let mut state = self.state();
        if matches!(*state, State::Away(until) if until <= now()) {
            *state = State::Tried;
            return true;
        }
        *state == State::Stands
    }

    fn connect(&self, connect: &Connect) -> Option<Link> {
        match connect() {
            Ok(conn) => {
                *self.state() = State::Stands;
                Some(Link { conn, replayed: 0 })
            }
            Err(error) => {
                tracing::warn!(%error, cause = error.inside(), "the replica is away; the primary answers");
                self.fails();
                None
            }
        }
    }

    fn fails(&self) {
        *self.state() = State::Away(now() + jittered(PAUSE));
    }

    fn answer(&self, mut job: Job, link: &mut Option<Link>) {
        let mut is_done = false;
        if let (Some(Link { conn, replayed }), Some(needed)) = (link.as_mut(), self.horizon.get()) {
            is_done = !conn.is_broken() && self.ask(&mut job, conn, (replayed, needed));
            if conn.is_broken() {
                tracing::warn!("a connection to the replica broke; the primary answers");
                self.fails();
                *link = None;
            }
        }
        if !is_done {
            self.primary.take(job);
        }
    }

    /// Whether the replica answered. It is asked for its position only when what is known of it is too little.
    fn ask(&self, job: &mut Job, conn: &mut Conn, (known, needed): (&mut Position, Position)) -> bool {
        if self.pooled {
            *known = 0;
        }
        let mut has_caught_up = |conn: &mut Conn| {
            if *known < needed {
                *known = replayed(conn)?;
            }
            if *known < needed { Err(Error::Busy) } else { Ok(()) }
        };
        guarded(|| job.run_if(conn, &mut has_caught_up)).unwrap_or(true)
    }
}

#[expect(clippy::disallowed_methods, reason = "a pause between tries, told to nobody")]
fn now() -> Instant {
    Instant::now()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_lost_stays_lost_until_the_primary_was_asked_after_it() {
        let horizon = Horizon::default();
        assert_eq!(horizon.get(), None);
        horizon.learn(|| Ok(7));
        horizon.learn(|| Ok(5));
        assert_eq!(horizon.get(), Some(7), "it never goes back");
        horizon.learn(|| Err(Error::Busy));
        assert_eq!(horizon.get(), None);
        horizon.learn(|| Ok(8));
        assert_eq!(horizon.get(), Some(8));
        let losses = horizon.losses();
        horizon.lose();
        horizon.reached(9, losses);
        assert_eq!(horizon.get(), None, "it was lost while the primary was asked");
    }
}
