//! GCRA over rows: all rows of a group of askers are locked, in the order of their keys, so that two groups never wait for
//! each other; each asker is judged after the other; what changed is written.

use std::collections::BTreeMap;

use super::{Ask, Toll};
use crate::error::Error;
use crate::storage::conn::Conn;

/// Theoretical arrival times by key.
type Arrivals = BTreeMap<[u8; 16], i64>;

/// For each asker each ring's arrival before.
pub(super) fn pass(conn: &mut Conn, asks: &[Ask]) -> Result<Vec<Vec<i64>>, Error> {
    match conn {
        Conn::Sqlite(_) => {
            let _ = (asks, judge);
            Err(Error::internal("SQLite shares no limits"))
        }
        #[cfg(feature = "postgres")]
        Conn::Postgres(c) => {
            let mut arrivals: Arrivals = asks.iter().flat_map(|ask| &ask.tolls).map(|toll| (toll.key, 0)).collect();
            postgres::lock(c, &mut arrivals)?;
            let before = arrivals.clone();
            let answers = asks.iter().map(|ask| judge(&mut arrivals, &ask.tolls, ask.moment)).collect();
            arrivals.retain(|key, arrival| before.get(key) != Some(arrival));
            postgres::write(c, &arrivals)?;
            Ok(answers)
        }
    }
}

/// Takes one from each ring, or from none. An arrival further ahead than a ring allows was written by a clock that was
/// wrong, and counts as a ring that is spent from this moment, so that it lets somebody pass after one period.
fn judge(arrivals: &mut Arrivals, tolls: &[Toll], moment: i64) -> Vec<i64> {
    let before: Vec<i64> = tolls
        .iter()
        .map(|toll| {
            let spent = moment.saturating_add(toll.span);
            let arrival = arrivals.entry(toll.key).or_default();
            *arrival = (*arrival).min(spent);
            (*arrival).max(moment)
        })
        .collect();
    let passes =
        |(toll, before): (&Toll, &i64)| *before <= moment.saturating_add(toll.span).saturating_sub(toll.period);
    if tolls.iter().zip(&before).all(passes) {
        for (toll, before) in tolls.iter().zip(&before) {
            arrivals.insert(toll.key, before.saturating_add(toll.period));
        }
    }
    before
}

#[cfg(feature = "postgres")]
mod postgres {
    use diesel::pg::Pg;
    use diesel::prelude::*;
    use diesel::query_builder::{AstPass, Query, QueryFragment, QueryId};
    use diesel::sql_types::{Array, BigInt, Binary};

    use super::Arrivals;
    use crate::error::Error;
    use crate::storage::postgres::PgConn;

    /// Locks the rows in the order of their keys, making those that are missing, and reads them.
    pub fn lock(c: &mut PgConn, arrivals: &mut Arrivals) -> Result<(), Error> {
        let keys = arrivals.keys().map(|key| key.to_vec()).collect();
        let rows: Vec<(Vec<u8>, i64)> = Lock { keys }.load(c)?;
        for (key, arrival) in rows {
            let key = <[u8; 16]>::try_from(key).map_err(|_| Error::internal("a ring's key has 16 bytes"))?;
            arrivals.insert(key, arrival);
        }
        Ok(())
    }

    pub fn write(c: &mut PgConn, arrivals: &Arrivals) -> Result<(), Error> {
        if !arrivals.is_empty() {
            let (keys, arrivals) = arrivals.iter().map(|(key, arrival)| (key.to_vec(), *arrival)).unzip();
            Raise { keys, arrivals }.execute(c)?;
        }
        Ok(())
    }

    /// Prepared once per connection, as `fragments.rs` says.
    #[derive(Debug, QueryId)]
    struct Lock {
        keys: Vec<Vec<u8>>,
    }

    impl QueryFragment<Pg> for Lock {
        fn walk_ast<'b>(&'b self, mut out: AstPass<'_, 'b, Pg>) -> QueryResult<()> {
            out.push_sql("INSERT INTO rate_limits AS known (key, arrival) SELECT asked, 0 FROM unnest(");
            out.push_bind_param::<Array<Binary>, _>(&self.keys)?;
            out.push_sql(
                "::bytea[]) AS asked ORDER BY asked ON CONFLICT (key) DO UPDATE SET arrival = known.arrival RETURNING key, arrival",
            );
            Ok(())
        }
    }

    impl Query for Lock {
        type SqlType = (Binary, BigInt);
    }

    impl RunQueryDsl<PgConn> for Lock {}

    /// The rows are locked already, so their order does not matter. An upsert, because it finds each row by the index: an
    /// `UPDATE … FROM` of a table that was never analysed reads all of it (measured: two thirds of a submission's work).
    #[derive(Debug, QueryId)]
    struct Raise {
        keys: Vec<Vec<u8>>,
        arrivals: Vec<i64>,
    }

    impl QueryFragment<Pg> for Raise {
        fn walk_ast<'b>(&'b self, mut out: AstPass<'_, 'b, Pg>) -> QueryResult<()> {
            out.push_sql("INSERT INTO rate_limits (key, arrival) SELECT * FROM unnest(");
            out.push_bind_param::<Array<Binary>, _>(&self.keys)?;
            out.push_sql("::bytea[], ");
            out.push_bind_param::<Array<BigInt>, _>(&self.arrivals)?;
            out.push_sql("::bigint[]) ON CONFLICT (key) DO UPDATE SET arrival = excluded.arrival");
            Ok(())
        }
    }

    impl RunQueryDsl<PgConn> for Raise {}
}
