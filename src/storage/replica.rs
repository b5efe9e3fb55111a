//! Reading from a replica of the PostgreSQL server without reading the past: a replica answers only once it has replayed
//! what this process has written or heard of; until then, and whenever nobody can tell, the primary answers. So an author
//! reads their own write, and a list is never made from what was true before a decision.

use std::sync::atomic::{AtomicI64, AtomicU64, Ordering};

use diesel::prelude::*;
use diesel::sql_types::BigInt;

use super::conn::{Conn, on};
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

/// A server that is no replica (any more) has everything.
const REPLAYED: &str = "SELECT (CASE WHEN pg_is_in_recovery() THEN coalesce(pg_last_wal_replay_lsn(), '0/0') \
                        ELSE 'FFFFFFF/0'::pg_lsn END - '0/0'::pg_lsn)::bigint AS position";

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
pub(super) fn replayed(conn: &mut Conn) -> Result<Position, Error> {
    ask(conn, REPLAYED)
}

fn ask(conn: &mut Conn, sql: &'static str) -> Result<Position, Error> {
    let At { position } = on!(conn, |c| diesel::sql_query(sql).get_result(c))?;
    Ok(position)
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
