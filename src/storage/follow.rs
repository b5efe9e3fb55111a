//! Following the event log as it grows, without losing an entry: transactions end in another order than that in which their
//! ids were made, and instances have clocks of their own. PostgreSQL therefore numbers entries by their transactions, and
//! the position is a snapshot: which of them had ended. What had not is looked for by its number, so that a transaction which
//! stays open for hours costs one look at an index, and nothing is read twice. An SQLite file has one writer at a time, which
//! makes ids inside its transaction: they are in the order of the commits.

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

/// Entries of one round on PostgreSQL, about: a transaction is read whole. What is left comes with the next round. An estimate:
/// so many are some megabytes with what stands around them.
pub const AT_ONCE: usize = 5000;

/// How far the log was followed.
#[derive(Debug, Clone)]
pub struct Position(Reached);

#[derive(Debug, Clone)]
enum Reached {
    Ids {
        /// Entries whose ids are not smaller.
        from: EventId,
        /// What lies after `from` and was told.
        told: BTreeSet<EventId>,
    },
    /// Entries of transactions that had not ended then.
    #[cfg(feature = "postgres")]
    Snapshot(postgres::Snapshot),
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

/// The newest entry of the log, whichever site it is of; before the first one an id that no entry has.
pub fn newest(conn: &mut Conn) -> Result<EventId, Error> {
    let newest = events::table.select(events::id).order(events::id.desc()).limit(1);
    let newest: Option<EventId> = on!(conn, |c| newest.get_result(c).optional())?;
    Ok(newest.unwrap_or(EventId(Uuid::nil())))
}

/// The end of the log: what is there now counts as told.
pub fn end(conn: &mut Conn) -> Result<Position, Error> {
    match conn {
        Conn::Sqlite(_) => {
            let from = before(newest(conn)?, ONE_CLOCK);
            Ok(next(conn, &Position(Reached::Ids { from, told: BTreeSet::new() }))?.0)
        }
        #[cfg(feature = "postgres")]
        Conn::Postgres(c) => Ok(Position(Reached::Snapshot(postgres::now(c)?))),
    }
}

/// The entries that came since, in the order of their commits as far as it is known, and how far the log is told with them.
/// There may be more.
pub fn next(conn: &mut Conn, position: &Position) -> Result<(Position, Vec<EventId>), Error> {
    match (conn, &position.0) {
        #[cfg(feature = "postgres")]
        (Conn::Postgres(c), Reached::Snapshot(seen)) => {
            let (seen, ids) = postgres::since(c, seen)?;
            Ok((Position(Reached::Snapshot(seen)), ids))
        }
        (conn, Reached::Ids { from, told }) => {
            let ids: Vec<EventId> =
                on!(conn, |c| events::table.filter(events::id.ge(from)).select(events::id).order(events::id).load(c))?;
            let from = ids.last().map_or(*from, |newest| before(*newest, ONE_CLOCK).max(*from));
            let now_told = ids.iter().copied().filter(|id| *id >= from).collect();
            let new = ids.into_iter().filter(|id| !told.contains(id)).collect();
            Ok((Position(Reached::Ids { from, told: now_told }), new))
        }
        #[cfg(feature = "postgres")]
        (Conn::Sqlite(_), Reached::Snapshot(_)) => Err(Error::internal("a position of another database")),
    }
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
    use diesel::sql_types::{Array, BigInt, Nullable, Text};

    use super::{AT_ONCE, STRAGGLERS, before};
    use crate::domain::ids::EventId;
    use crate::error::Error;
    use crate::storage::postgres::PgConn;
    use crate::storage::types::Uid;

    /// Which transactions had ended: those before `end` that are not `open`.
    #[derive(Debug, Clone, PartialEq, Eq)]
    pub struct Snapshot {
        end: i64,
        open: Vec<i64>,
    }

    impl Snapshot {
        /// As PostgreSQL writes it: the oldest that is open, the end, those that are open.
        fn parse(text: &str) -> Option<Self> {
            let mut parts = text.split(':').skip(1);
            let end = parts.next()?.parse().ok()?;
            let open = parts.next()?.split(',').filter(|number| !number.is_empty());
            Some(Self { end, open: open.map(|number| number.parse().ok()).collect::<Option<_>>()? })
        }

        /// What of it is known when no transaction after `last` was read.
        fn up_to(mut self, last: i64) -> Self {
            self.end = self.end.min(last + 1);
            self.open.retain(|tx| *tx < self.end);
            self
        }
    }

    #[derive(QueryableByName)]
    struct Found {
        #[diesel(sql_type = Text)]
        now: String,
        #[diesel(sql_type = Nullable<Uid>)]
        id: Option<EventId>,
        #[diesel(sql_type = Nullable<BigInt>)]
        tx: Option<i64>,
    }

    #[derive(QueryableByName)]
    pub struct Row {
        #[diesel(sql_type = Uid)]
        pub id: EventId,
    }

    fn parsed(text: &str) -> Result<Snapshot, Error> {
        Snapshot::parse(text).ok_or_else(|| Error::internal("a snapshot of an unknown form"))
    }

    /// Which transactions have ended now.
    pub fn now(c: &mut PgConn) -> Result<Snapshot, Error> {
        let query = "SELECT pg_current_snapshot()::text AS now, NULL::uuid AS id, NULL::bigint AS tx";
        let found: Found = diesel::sql_query(query).get_result(c)?;
        parsed(&found.now)
    }

    /// The rows of transactions that had not ended then and have now: of those that were open all, of later ones about
    /// [`AT_ONCE`], whole transactions. A database that was restored from a dump has numbers of another server: those that lie
    /// ahead, or are open here, are not of this one until it gets there.
    pub fn since(c: &mut PgConn, seen: &Snapshot) -> Result<(Snapshot, Vec<EventId>), Error> {
        let limit = i64::try_from(AT_ONCE).unwrap_or(i64::MAX);
        // One statement, so that its rows and its snapshot are of one moment.
        let query = diesel::sql_query(
            "SELECT s.now::text AS now, e.id, e.tx FROM (SELECT pg_current_snapshot() AS now) s LEFT JOIN LATERAL (\
             (SELECT id, tx FROM events WHERE tx = ANY($2) AND pg_visible_in_snapshot(tx::text::xid8, s.now)) UNION ALL \
             (SELECT id, tx FROM events WHERE tx >= $1 AND tx < pg_snapshot_xmax(s.now)::text::bigint \
             AND pg_visible_in_snapshot(tx::text::xid8, s.now) ORDER BY tx FETCH FIRST ($3) ROWS WITH TIES)\
             ) e ON true ORDER BY e.tx, e.id",
        );
        let query = query.bind::<BigInt, _>(seen.end).bind::<Array<BigInt>, _>(&seen.open).bind::<BigInt, _>(limit);
        let found: Vec<Found> = query.load(c)?;
        let now = parsed(&found.first().ok_or_else(|| Error::internal("a snapshot is always there"))?.now)?;
        let later = found.iter().filter(|row| row.tx >= Some(seen.end)).count();
        let last = found.last().and_then(|row| row.tx);
        let reached = if let (true, Some(last)) = (later >= AT_ONCE, last) { now.up_to(last) } else { now };
        Ok((reached, found.into_iter().filter_map(|row| row.id).collect()))
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
