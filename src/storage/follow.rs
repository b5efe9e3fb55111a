//! Following the event log as it grows, without losing an entry: transactions end in another order than that in which their
//! ids were made, and instances have clocks of their own. PostgreSQL therefore numbers entries by their transactions: what
//! is not older than the oldest open transaction is read again, and told once. An SQLite file has one writer at a time,
//! which makes ids inside its transaction: they are in the order of the commits.

use std::collections::{BTreeSet, HashMap};
use std::time::Duration;

use diesel::prelude::*;
use uuid::Uuid;

use super::conn::{Conn, on};
use super::events::Event;
use super::schema::{accounts, comments, events, sites};
use crate::domain::ids::EventId;
use crate::error::Error;

/// Two processes that write to one SQLite file have one clock, which may go back a little.
const ONE_CLOCK: Duration = Duration::from_secs(1);

/// Whoever comes back gets again what was written so long before the last entry that they have: on PostgreSQL it may have
/// been committed after it.
const STRAGGLERS: Duration = Duration::from_secs(10);

/// How far the log was followed.
#[derive(Debug, Clone)]
pub struct Position {
    from: From,
    /// What lies after `from` and was told.
    told: BTreeSet<EventId>,
}

#[derive(Debug, Clone, Copy)]
enum From {
    /// Entries whose ids are not smaller.
    Id(EventId),
    /// Entries of this transaction and later ones.
    #[cfg(feature = "postgres")]
    Transaction(i64),
}

/// An entry with what stands around it now.
#[derive(Debug, Clone)]
pub struct Happened {
    /// The entry.
    pub event: Event,
    /// The key of its site.
    pub site: String,
    /// The comment's version, which may be that of a later entry; none when the comment is gone.
    pub version: Option<i64>,
    /// The name of the account that acted.
    pub account: Option<String>,
}

/// The end of the log: what is there now counts as told.
pub fn end(conn: &mut Conn) -> Result<Position, Error> {
    let start = match conn {
        Conn::Sqlite(_) => {
            let newest: Option<EventId> = on!(&mut *conn, |c| events::table
                .select(events::id)
                .order(events::id.desc())
                .limit(1)
                .get_result(c)
                .optional())?;
            From::Id(before(newest.unwrap_or(EventId(Uuid::nil())), ONE_CLOCK))
        }
        #[cfg(feature = "postgres")]
        Conn::Postgres(c) => From::Transaction(postgres::horizon(c)?),
    };
    Ok(next(conn, &Position { from: start, told: BTreeSet::new() })?.0)
}

/// The entries that came since, in the order of their commits as far as it is known, and where the log ends now.
pub fn next(conn: &mut Conn, position: &Position) -> Result<(Position, Vec<EventId>), Error> {
    let (rows, from) = match (conn, position.from) {
        #[cfg(feature = "postgres")]
        (Conn::Postgres(c), From::Transaction(from)) => {
            // Asked first: whoever is older has ended, and the rows are there when they are looked for.
            let horizon = postgres::horizon(c)?;
            let rows = postgres::since(c, from)?;
            let told = rows.iter().filter(|row| row.tx >= horizon).map(|row| row.id).collect();
            let ids: Vec<EventId> = rows.iter().map(|row| row.id).collect();
            (ids, Position { from: From::Transaction(horizon), told })
        }
        (conn, From::Id(from)) => {
            let ids: Vec<EventId> =
                on!(conn, |c| events::table.filter(events::id.ge(from)).select(events::id).order(events::id).load(c))?;
            let from = ids.last().map_or(from, |newest| before(*newest, ONE_CLOCK).max(from));
            let told = ids.iter().copied().filter(|id| *id >= from).collect();
            (ids, Position { from: From::Id(from), told })
        }
        #[cfg(feature = "postgres")]
        (Conn::Sqlite(_), From::Transaction(_)) => return Err(Error::internal("a position of another database")),
    };
    Ok((from, rows.into_iter().filter(|id| !position.told.contains(id)).collect()))
}

/// What was written after an entry, in order: at most `limit` entries, `None` when there are more or the entry is not there.
/// On PostgreSQL some of it may have been told before.
pub fn missed(conn: &mut Conn, last: EventId, limit: i64) -> Result<Option<Vec<EventId>>, Error> {
    let there: Option<EventId> =
        on!(&mut *conn, |c| events::table.find(last).select(events::id).get_result(c).optional())?;
    if there.is_none() {
        return Ok(None);
    }
    let ids: Vec<EventId> = match conn {
        Conn::Sqlite(c) => {
            events::table.filter(events::id.gt(last)).select(events::id).order(events::id).limit(limit + 1).load(c)?
        }
        #[cfg(feature = "postgres")]
        Conn::Postgres(c) => postgres::missed(c, last, limit + 1)?,
    };
    Ok(Some(ids).filter(|ids| i64::try_from(ids.len()).is_ok_and(|count| count <= limit)))
}

/// The entries with these ids, in their order; those of deleted sites are left out.
pub fn entries(conn: &mut Conn, ids: &[EventId]) -> Result<Vec<Happened>, Error> {
    let mut found: HashMap<EventId, Happened> = HashMap::with_capacity(ids.len());
    for ids in ids.chunks(500) {
        let rows: Vec<(Event, String, Option<i64>, Option<String>)> = on!(&mut *conn, |c| events::table
            .inner_join(sites::table.on(sites::id.eq(events::site_id)))
            .left_join(comments::table.on(comments::id.eq(events::comment_id)))
            .left_join(accounts::table.on(accounts::id.nullable().eq(events::account_id)))
            .filter(events::id.eq_any(ids))
            .select((Event::as_select(), sites::key, comments::version.nullable(), accounts::name.nullable()))
            .load(c))?;
        let entry =
            |(event, site, version, account): (Event, _, _, _)| (event.id, Happened { event, site, version, account });
        found.extend(rows.into_iter().map(entry));
    }
    Ok(ids.iter().filter_map(|id| found.remove(id)).collect())
}

/// The smallest id that could have been made so long before another one.
fn before(id: EventId, time: Duration) -> EventId {
    // The first 48 bits of a UUIDv7 are milliseconds (RFC 9562 §5.7).
    EventId(Uuid::from_u128((id.0.as_u128() >> 80).saturating_sub(time.as_millis()) << 80))
}

#[cfg(feature = "postgres")]
mod postgres {
    use diesel::prelude::*;
    use diesel::sql_types::BigInt;

    use super::{STRAGGLERS, before};
    use crate::domain::ids::EventId;
    use crate::error::Error;
    use crate::storage::postgres::PgConn;
    use crate::storage::types::Uid;

    #[derive(QueryableByName)]
    struct Horizon {
        #[diesel(sql_type = BigInt)]
        horizon: i64,
    }

    #[derive(QueryableByName)]
    pub struct Row {
        #[diesel(sql_type = Uid)]
        pub id: EventId,
        #[diesel(sql_type = BigInt)]
        pub tx: i64,
    }

    /// The oldest transaction that is open; all before it have ended.
    pub fn horizon(c: &mut PgConn) -> Result<i64, Error> {
        let query = diesel::sql_query("SELECT pg_snapshot_xmin(pg_current_snapshot())::text::bigint AS horizon");
        let Horizon { horizon } = query.get_result(c)?;
        Ok(horizon)
    }

    /// The rows of a transaction and of later ones. A database that was restored from a dump has numbers of another server,
    /// which may lie ahead: they are not of this one until it gets there.
    pub fn since(c: &mut PgConn, from: i64) -> Result<Vec<Row>, Error> {
        let query = diesel::sql_query(
            "SELECT id, tx FROM events WHERE tx >= $1 \
             AND tx < pg_snapshot_xmax(pg_current_snapshot())::text::bigint ORDER BY tx, id",
        );
        Ok(query.bind::<BigInt, _>(from).load(c)?)
    }

    /// What later transactions wrote, and what was written shortly before and may have been committed after it.
    pub fn missed(c: &mut PgConn, last: EventId, limit: i64) -> Result<Vec<EventId>, Error> {
        let query = diesel::sql_query(
            "SELECT id, coalesce(tx, 0) AS tx FROM events WHERE id <> $1 \
             AND (tx >= (SELECT tx FROM events WHERE id = $1) OR id >= $2) \
             AND coalesce(tx, 0) < pg_snapshot_xmax(pg_current_snapshot())::text::bigint ORDER BY 2, 1 LIMIT $3",
        );
        let floor = before(last, STRAGGLERS);
        let rows: Vec<Row> = query.bind::<Uid, _>(last).bind::<Uid, _>(floor).bind::<BigInt, _>(limit).load(c)?;
        Ok(rows.into_iter().map(|row| row.id).collect())
    }
}
