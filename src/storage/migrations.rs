//! Brings the schema up to date, under a lock of our own: Diesel takes none, and two processes may start at once. All
//! pending migrations run in one transaction, so a crash leaves the old schema, never a half one. A binary that is older
//! than the schema allows is refused.

use diesel::backend::Backend;
use diesel::migration::MigrationSource;
use diesel::prelude::*;
use diesel::sql_types::Text;
use diesel_migrations::{EmbeddedMigrations, MigrationHarness, embed_migrations};

use super::conn::{Conn, on};
use super::meta;
use crate::error::Error;

const SQLITE: EmbeddedMigrations = embed_migrations!("migrations/sqlite");
#[cfg(feature = "postgres")]
const POSTGRES: EmbeddedMigrations = embed_migrations!("migrations/postgres");

/// The generation of this binary. A migration that older binaries cannot live with writes a higher number into
/// `meta.oldest_binary`; see migrations/README.md.
pub const BINARY_GENERATION: i64 = 2;

/// An arbitrary number that names our migration lock in PostgreSQL ("afterwor" in ASCII).
#[cfg(feature = "postgres")]
const MIGRATION_LOCK: i64 = 0x6166_7465_7277_6f72;

/// Runs what is pending. Returns the names of the migrations that ran.
pub(super) fn migrate(conn: &mut Conn) -> Result<Vec<String>, Error> {
    conn.begin()?;
    match locked_migrate(conn) {
        Ok(ran) => {
            conn.commit()?;
            Ok(ran)
        }
        Err(error) => {
            // The first error tells more than a failed rollback; closing the connection rolls back as well.
            let _ = conn.rollback();
            Err(error)
        }
    }
}

fn locked_migrate(conn: &mut Conn) -> Result<Vec<String>, Error> {
    let ran = match conn {
        // BEGIN IMMEDIATE is the lock.
        Conn::Sqlite(c) => names(c.run_pending_migrations(SQLITE))?,
        #[cfg(feature = "postgres")]
        Conn::Postgres(c) => {
            diesel::sql_query("SET LOCAL lock_timeout = 0").execute(c)?;
            diesel::sql_query("SET LOCAL statement_timeout = 0").execute(c)?;
            diesel::sql_query("SELECT pg_advisory_xact_lock($1)")
                .bind::<diesel::sql_types::BigInt, _>(MIGRATION_LOCK)
                .execute(c)?;
            names(c.run_pending_migrations(POSTGRES))?
        }
    };
    refuse_if_too_old(conn)?;
    Ok(ran)
}

type Ran<'a> = diesel::migration::Result<Vec<diesel::migration::MigrationVersion<'a>>>;

fn names(ran: Ran<'_>) -> Result<Vec<String>, Error> {
    ran.map(|versions| versions.iter().map(ToString::to_string).collect()).map_err(Error::internal)
}

/// Whether the database has tables of ours, of whatever age.
pub(super) fn is_there(conn: &mut Conn) -> Result<bool, Error> {
    has_table(conn, "meta")
}

/// Asks the catalogue: asking for a table that is not there is an error, and behind a pooler the end of its transaction.
fn has_table(conn: &mut Conn, name: &str) -> Result<bool, Error> {
    let found: Count = match conn {
        Conn::Sqlite(c) => diesel::sql_query("SELECT count(*) AS count FROM sqlite_master WHERE name = ?")
            .bind::<Text, _>(name)
            .get_result(c)?,
        #[cfg(feature = "postgres")]
        Conn::Postgres(c) => diesel::sql_query(
            "SELECT count(*) AS count FROM pg_tables WHERE tablename = $1 AND schemaname = ANY (current_schemas(false))",
        )
        .bind::<Text, _>(name)
        .get_result(c)?,
    };
    Ok(found.count > 0)
}

#[derive(QueryableByName)]
struct Count {
    #[diesel(sql_type = diesel::sql_types::BigInt)]
    count: i64,
}

pub(super) fn refuse_if_too_old(conn: &mut Conn) -> Result<(), Error> {
    let oldest = meta::get(conn, "oldest_binary")?.and_then(|text| text.parse().ok()).unwrap_or(0);
    if BINARY_GENERATION < oldest {
        return Err(Error::internal(format!(
            "this database was upgraded by a newer afterword (it needs generation {oldest}, this one is \
             {BINARY_GENERATION}): install the newer version again"
        )));
    }
    Ok(())
}

/// Diesel's own list of what has run.
const LIST: &str = "__diesel_schema_migrations";

#[derive(QueryableByName)]
struct Done {
    #[diesel(sql_type = Text)]
    version: String,
}

/// Whether the schema is one that this binary can serve. Only reads: Diesel's own answer makes the list where it is missing,
/// and even the try fails where nobody may write.
pub fn is_current(conn: &mut Conn) -> Result<bool, Error> {
    if !has_table(conn, LIST)? {
        return Ok(false);
    }
    let done: Vec<Done> = on!(conn, |c| diesel::sql_query("SELECT version FROM __diesel_schema_migrations").load(c))?;
    let known = match conn {
        Conn::Sqlite(_) => versions::<diesel::sqlite::Sqlite>(&SQLITE),
        #[cfg(feature = "postgres")]
        Conn::Postgres(_) => versions::<diesel::pg::Pg>(&POSTGRES),
    };
    Ok(known?.iter().all(|version| done.iter().any(|done| done.version == *version)))
}

/// The versions of the migrations in this binary.
fn versions<B: Backend>(source: &impl MigrationSource<B>) -> Result<Vec<String>, Error> {
    let migrations = source.migrations().map_err(Error::internal)?;
    Ok(migrations.iter().map(|migration| migration.name().version().to_string()).collect())
}

/// One statement that proves the connection works.
pub fn ping(conn: &mut Conn) -> Result<(), Error> {
    on!(conn, |c| diesel::sql_query("SELECT 1").execute(c))?;
    Ok(())
}

#[derive(QueryableByName)]
struct Check {
    #[diesel(sql_type = Text)]
    quick_check: String,
}

/// What is wrong with the database file; none when it is whole. PostgreSQL looks after itself.
pub fn integrity(conn: &mut Conn) -> Result<Option<String>, Error> {
    match conn {
        Conn::Sqlite(c) => {
            let found: Vec<Check> = diesel::sql_query("PRAGMA quick_check(5)").load(c)?;
            let trouble: Vec<String> =
                found.into_iter().map(|row| row.quick_check).filter(|text| text != "ok").collect();
            Ok((!trouble.is_empty()).then(|| trouble.join("; ")))
        }
        #[cfg(feature = "postgres")]
        Conn::Postgres(_) => Ok(None),
    }
}
