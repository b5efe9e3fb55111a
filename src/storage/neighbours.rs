//! Others that write to the same database: whose turn it is among connections, and whether another process wrote. SQLite has
//! one writer per process, which takes one job at a time; PostgreSQL has several, here and in other instances.

use diesel::prelude::*;
#[cfg(feature = "postgres")]
use diesel::query_builder::{AstPass, QueryFragment};

use super::conn::Conn;
#[cfg(feature = "postgres")]
use super::postgres::PgConn;
use super::tx::{News, Tx};
use crate::domain::ids::{ArticleId, CommentId, SiteId};
use crate::error::Error;

/// What only one transaction at a time may work on. SQLite has one writer; on PostgreSQL it is an advisory lock that the
/// end of the transaction releases.
#[derive(Debug, Clone, Copy)]
pub(super) enum Turn<'a> {
    /// Everything that exists below an article: decisions, edits, replies.
    Article(ArticleId),
    /// An article that is made.
    NewArticle(SiteId, &'a str),
    /// A text on an article, so that of two doubles one finds the other.
    Text(ArticleId, &'a [u8]),
    /// A request that may come twice.
    Request(SiteId, &'a [u8]),
    /// Which keys of a site lead where.
    Aliases(SiteId),
    /// Counting mails to addresses that somebody typed, on all sites. Taken after the turns of articles.
    Strangers,
}

#[cfg(feature = "postgres")]
impl Turn<'_> {
    /// The lock's number: the same in every process and version, so that a rolling upgrade keeps its promises.
    pub fn number(self) -> i64 {
        use sha2::{Digest, Sha256};
        let parts: (u8, [&[u8]; 2]) = match &self {
            Self::Article(id) => (1, [id.as_bytes(), &[]]),
            Self::NewArticle(site, key) => (2, [site.as_bytes(), key.as_bytes()]),
            Self::Text(article, hash) => (3, [article.as_bytes(), hash]),
            Self::Request(site, hash) => (4, [site.as_bytes(), hash]),
            Self::Aliases(site) => (5, [site.as_bytes(), &[]]),
            Self::Strangers => (6, [&[], &[]]),
        };
        let digest = Sha256::new().chain_update([parts.0]).chain_update(parts.1[0]).chain_update(parts.1[1]).finalize();
        digest.first_chunk().map_or(0, |bytes| i64::from_be_bytes(*bytes))
    }
}

/// Tries to take several turns at once; says of each whether it was taken. Nobody waits.
#[cfg(feature = "postgres")]
pub(super) fn try_turns(c: &mut PgConn, numbers: Vec<i64>) -> Result<Vec<bool>, Error> {
    Ok(TryTurns { numbers }.load(c)?)
}

/// Prepared once per connection, as `fragments.rs` says.
#[cfg(feature = "postgres")]
#[derive(Debug, diesel::query_builder::QueryId)]
struct TryTurns {
    numbers: Vec<i64>,
}

#[cfg(feature = "postgres")]
impl QueryFragment<diesel::pg::Pg> for TryTurns {
    fn walk_ast<'b>(&'b self, mut out: AstPass<'_, 'b, diesel::pg::Pg>) -> QueryResult<()> {
        out.push_sql("SELECT pg_try_advisory_xact_lock(number) FROM unnest(");
        out.push_bind_param::<diesel::sql_types::Array<diesel::sql_types::BigInt>, _>(&self.numbers)?;
        out.push_sql("::bigint[]) AS number");
        Ok(())
    }
}

#[cfg(feature = "postgres")]
impl diesel::query_builder::Query for TryTurns {
    type SqlType = diesel::sql_types::Bool;
}

#[cfg(feature = "postgres")]
impl RunQueryDsl<PgConn> for TryTurns {}

/// Takes a turn, held until the transaction ends. Nobody waits for it who is not `alone` in a transaction: [`Error::Busy`]
/// then.
pub(super) fn take_turn(conn: &mut Conn, turn: Turn<'_>, alone: bool) -> Result<(), Error> {
    match conn {
        Conn::Sqlite(_) => {
            let _ = turn; // Its one writer takes one job at a time.
            Ok(())
        }
        #[cfg(feature = "postgres")]
        Conn::Postgres(c) => {
            if alone {
                let sql = diesel::sql_query("SELECT pg_advisory_xact_lock($1)");
                sql.bind::<diesel::sql_types::BigInt, _>(turn.number()).execute(c)?;
                return Ok(());
            }
            if try_turns(c, vec![turn.number()])? == [true] { Ok(()) } else { Err(Error::Busy) }
        }
    }
}

/// Tells other instances what this transaction changes for readers. SQLite has none; who shares its file all the same finds
/// out by [`foreign_writes`].
pub(super) fn tell(conn: &mut Conn, news: &News) -> Result<(), Error> {
    #[cfg(feature = "postgres")]
    super::listener::tell(conn, &news.changed)?;
    #[cfg(not(feature = "postgres"))]
    let _ = (conn, news);
    Ok(())
}

/// Waits until no other transaction is open that has read a fact of `meta`, and keeps others from reading one until the end
/// of this: PostgreSQL keeps a lock for each table that a transaction has looked at, so this costs those that read nothing.
/// It waits for half a second at most, because whoever comes to read waits behind it; [`Error::Busy`] then.
pub fn wait_for_readers_of_facts(tx: &mut Tx<'_>) -> Result<(), Error> {
    match tx.conn() {
        Conn::Sqlite(_) => Ok(()), // Nobody else is inside a transaction that writes.
        #[cfg(feature = "postgres")]
        Conn::Postgres(c) => {
            diesel::sql_query("SET LOCAL lock_timeout = '500ms'").execute(c)?;
            diesel::sql_query("LOCK TABLE meta IN ACCESS EXCLUSIVE MODE").execute(c)?;
            Ok(())
        }
    }
}

/// Turns of one kind are taken in the same order by everybody, so that nobody waits in a ring.
pub(super) fn in_one_order(hashes: &[Vec<u8>]) -> Vec<&Vec<u8>> {
    let mut sorted: Vec<&Vec<u8>> = hashes.iter().collect();
    sorted.sort_unstable();
    sorted
}

/// Of these comments those that no other connection is changing now; nobody does until the transaction ends. Nobody waits
/// for a row here: a decision that holds one and waits for another of ours would wait in a ring.
pub(super) fn free_comments(tx: &mut Tx<'_>, ids: &[CommentId]) -> Result<Vec<CommentId>, Error> {
    use super::schema::comments;
    match tx.conn() {
        Conn::Sqlite(_) => Ok(ids.to_vec()),
        #[cfg(feature = "postgres")]
        Conn::Postgres(c) => {
            let rows = comments::table.filter(comments::id.eq_any(ids)).select(comments::id);
            Ok(rows.for_no_key_update().skip_locked().load(c)?)
        }
    }
}

#[derive(QueryableByName)]
struct DataVersion {
    #[diesel(sql_type = diesel::sql_types::BigInt)]
    data_version: i64,
}

/// A number that changes when another process wrote to the same SQLite file; asked on the one connection that writes here.
/// None on PostgreSQL, which does not tell.
pub fn foreign_writes(tx: &mut Tx<'_>) -> Result<Option<i64>, Error> {
    match tx.conn() {
        Conn::Sqlite(c) => {
            let DataVersion { data_version } = diesel::sql_query("PRAGMA data_version").get_result(c)?;
            Ok(Some(data_version))
        }
        #[cfg(feature = "postgres")]
        Conn::Postgres(_) => Ok(None),
    }
}
