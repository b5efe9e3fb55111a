//! How many comments of a site stand in each state. Whoever writes them keeps a row locked until its commit is on disk, so on
//! PostgreSQL, which has many writers, a site has several rows (*slots*), which are summed when they are read; one of them
//! alone may be below zero.

use diesel::prelude::*;
use diesel::query_builder::{AstPass, QueryFragment, QueryId};
use diesel::sql_types::BigInt;
use diesel::sqlite::Sqlite;

use super::conn::{Conn, on};
use super::schema::site_counts;
use super::types::Uid;
use crate::domain::comment::Status;
use crate::domain::ids::SiteId;
use crate::error::Error;

/// How a site's counters change.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
pub struct SiteBump {
    /// Change of the number of waiting comments.
    pub pending: i64,
    /// Of approved ones.
    pub approved: i64,
    /// Of rejected ones.
    pub rejected: i64,
    /// Of spam.
    pub spam: i64,
}

impl SiteBump {
    pub(super) fn add(&mut self, by: Self) {
        self.pending += by.pending;
        self.approved += by.approved;
        self.rejected += by.rejected;
        self.spam += by.spam;
    }

    /// The change of one comment leaving `from` (none: it is new) and entering `to`.
    pub fn of_move(from: Option<Status>, to: Status) -> Self {
        let mut bump = Self::default();
        if let Some(place) = from.and_then(|from| bump.place(from)) {
            *place -= 1;
        }
        if let Some(place) = bump.place(to) {
            *place += 1;
        }
        bump
    }

    fn place(&mut self, status: Status) -> Option<&mut i64> {
        match status {
            Status::Pending => Some(&mut self.pending),
            Status::Approved => Some(&mut self.approved),
            Status::Rejected => Some(&mut self.rejected),
            Status::Spam => Some(&mut self.spam),
            Status::Removed => None,
        }
    }
}

/// How many comments of a site stand in each state.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Queryable, Selectable)]
#[diesel(table_name = site_counts)]
#[diesel(check_for_backend(diesel::sqlite::Sqlite))]
#[cfg_attr(feature = "postgres", diesel(check_for_backend(diesel::pg::Pg)))]
pub struct SiteCounts {
    /// The site.
    pub site_id: SiteId,
    /// Waiting comments.
    pub pending: i64,
    /// Public ones.
    pub approved: i64,
    /// Refused ones.
    pub rejected: i64,
    /// Spam.
    pub spam: i64,
}

impl SiteCounts {
    fn add(&mut self, other: &Self) {
        self.pending += other.pending;
        self.approved += other.approved;
        self.rejected += other.rejected;
        self.spam += other.spam;
    }
}

/// The counters of the given sites (none means all), by site.
pub fn of(conn: &mut Conn, wanted: Option<&[SiteId]>) -> Result<Vec<SiteCounts>, Error> {
    let slots: Vec<SiteCounts> = on!(conn, |c| {
        let mut query = site_counts::table.select(SiteCounts::as_select()).order(site_counts::site_id).into_boxed();
        if let Some(wanted) = wanted {
            query = query.filter(site_counts::site_id.eq_any(wanted));
        }
        query.load(c)
    })?;
    let mut sums: Vec<SiteCounts> = Vec::new();
    for slot in slots {
        match sums.last_mut().filter(|sum| sum.site_id == slot.site_id) {
            Some(sum) => sum.add(&slot),
            None => sums.push(slot),
        }
    }
    Ok(sums)
}

/// Changes the counters of a site, in the slot of this connection.
pub(super) fn bump(conn: &mut Conn, id: SiteId, by: SiteBump) -> QueryResult<usize> {
    on!(conn, |c| BumpSite { id, by }.execute(c))
}

/// Prepared once per connection, as `fragments.rs` says.
#[derive(Debug, QueryId)]
struct BumpSite {
    id: SiteId,
    by: SiteBump,
}

impl QueryId for SiteBump {
    type QueryId = Self;
    const HAS_STATIC_QUERY_ID: bool = true;
}

impl RunQueryDsl<SqliteConnection> for BumpSite {}

impl QueryFragment<Sqlite> for BumpSite {
    fn walk_ast<'b>(&'b self, mut out: AstPass<'_, 'b, Sqlite>) -> QueryResult<()> {
        out.push_sql("UPDATE site_counts SET pending = pending + ");
        out.push_bind_param::<BigInt, _>(&self.by.pending)?;
        out.push_sql(", approved = approved + ");
        out.push_bind_param::<BigInt, _>(&self.by.approved)?;
        out.push_sql(", rejected = rejected + ");
        out.push_bind_param::<BigInt, _>(&self.by.rejected)?;
        out.push_sql(", spam = spam + ");
        out.push_bind_param::<BigInt, _>(&self.by.spam)?;
        out.push_sql(" WHERE slot = 0 AND site_id = ");
        out.push_bind_param::<Uid, _>(&self.id)
    }
}

#[cfg(feature = "postgres")]
impl RunQueryDsl<super::postgres::PgConn> for BumpSite {}

/// Two connections of one slot only wait for each other; sixteen are more writers than one machine makes use of.
#[cfg(feature = "postgres")]
impl QueryFragment<diesel::pg::Pg> for BumpSite {
    fn walk_ast<'b>(&'b self, mut out: AstPass<'_, 'b, diesel::pg::Pg>) -> QueryResult<()> {
        out.push_sql("INSERT INTO site_counts AS known (slot, site_id, pending, approved, rejected, spam) VALUES (pg_backend_pid() % 16, ");
        out.push_bind_param::<Uid, _>(&self.id)?;
        for count in [&self.by.pending, &self.by.approved, &self.by.rejected, &self.by.spam] {
            out.push_sql(", ");
            out.push_bind_param::<BigInt, _>(count)?;
        }
        out.push_sql(
            ") ON CONFLICT (site_id, slot) DO UPDATE SET pending = known.pending + excluded.pending, \
             approved = known.approved + excluded.approved, rejected = known.rejected + excluded.rejected, \
             spam = known.spam + excluded.spam",
        );
        Ok(())
    }
}
