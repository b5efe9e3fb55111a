//! Opens the embedded database the one way that is safe: bundled SQLite of a known version, WAL, `synchronous=FULL`.

use std::fs::OpenOptions;
use std::io::ErrorKind;
use std::path::Path;
use std::time::Duration;

use diesel::connection::SimpleConnection;
use diesel::prelude::*;
use diesel::sql_types::Text;
use diesel::sqlite::SqliteConnection;

use super::conn::Conn;
use crate::disk::{folder_of, make_folder};
use crate::error::{Cause, Error};

/// SQLite 3.7.0 to 3.51.2 can corrupt a WAL database when two connections write and checkpoint at once
/// (<https://sqlite.org/wal.html>, "WAL-reset bug"); the bundled one is newer.
const OLDEST_SAFE_VERSION: (u32, u32, u32) = (3, 51, 3);

/// Pragmas of every connection, the time-out first, so that the rest may wait.
/// `FULL` makes a commit durable before it returns; 64 MiB is what an idle WAL file may keep;
/// 16 MiB of changes are gathered before they are copied into the database file, since hot pages change again and again.
const PRAGMAS: &[&str] = &[
    "PRAGMA busy_timeout = 5000",
    "PRAGMA synchronous = FULL",
    "PRAGMA foreign_keys = ON",
    "PRAGMA trusted_schema = OFF",
    "PRAGMA journal_size_limit = 67108864",
    "PRAGMA wal_autocheckpoint = 4000",
];

/// What the one writer keeps of the file in memory, at most: 16 MiB. Each comment touches some leaf of the indexes that are not in
/// the order of time; with SQLite's own 2 MiB they were read again and again.
const WRITERS_CACHE: &str = "PRAGMA cache_size = -16384";

/// Opens the file for writing, making it (mode 0600) and its folder when they are missing.
pub(super) fn open_writer(path: &Path) -> Result<Conn, Error> {
    make_file(path)?;
    let mut conn = connect(path)?;
    set_up(&mut conn, &["PRAGMA journal_mode = WAL", WRITERS_CACHE])?;
    refuse_unsafe_version(&mut conn)?;
    Ok(Conn::Sqlite(conn))
}

/// Opens the file for reading only; the writer has made it before.
pub(super) fn open_reader(path: &Path) -> Result<Conn, Error> {
    let mut conn = connect(path)?;
    set_up(&mut conn, &["PRAGMA query_only = ON"])?;
    Ok(Conn::Sqlite(conn))
}

/// Opens a file as it is, for a copy of it or a look at one: its journal stays what it was, nothing is made.
pub(super) fn open_as_it_is(path: &Path) -> Result<Conn, Error> {
    let mut conn = connect(path)?;
    set_up(&mut conn, &["PRAGMA query_only = OFF"])?;
    refuse_unsafe_version(&mut conn)?;
    Ok(Conn::Sqlite(conn))
}

/// Runs the pragmas and some more. While another process switches a new file to WAL, SQLite answers `SQLITE_BUSY` at once,
/// whatever the time-out: a few milliseconds, after which the same pragmas work.
fn set_up(conn: &mut SqliteConnection, more: &[&str]) -> Result<(), Error> {
    let mut tries = 500;
    loop {
        let mut pragmas = PRAGMAS.iter().chain(more);
        match pragmas.try_for_each(|pragma| conn.batch_execute(pragma)).map_err(Error::from) {
            Err(Error::Busy) if tries > 0 => std::thread::park_timeout(Duration::from_millis(10)),
            done => return done,
        }
        tries -= 1;
    }
}

fn connect(path: &Path) -> Result<SqliteConnection, Error> {
    let name = path.to_str().ok_or_else(|| Error::internal("the path of the database file is not UTF-8"))?;
    SqliteConnection::establish(name)
        .map_err(|cause| Error::internal(format!("cannot open the database file {name}: {cause}")))
}

/// E-mail addresses lie in this file, if encrypted: it belongs to its owner alone from its first byte on.
fn make_file(path: &Path) -> Result<(), Error> {
    let told = |cause: std::io::Error| Error::internal(format!("cannot make {}: {cause}", path.display()));
    make_folder(folder_of(path)).map_err(told)?;
    let mut options = OpenOptions::new();
    options.write(true).create_new(true);
    #[cfg(unix)]
    std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
    match options.open(path) {
        Err(cause) if cause.kind() != ErrorKind::AlreadyExists => Err(told(cause)),
        _ => Ok(()),
    }
}

/// SQLite's own words name no file.
pub(super) fn named(path: &Path, cause: Cause) -> Error {
    let text = cause.to_string();
    let shown = path.display();
    if text.contains("readonly database") || text.contains("unable to open database file") {
        return Error::internal(format!(
            "cannot write to the database {shown}: the file and the folder it lies in must belong to the user that runs afterword"
        ));
    }
    if text.contains(&*path.to_string_lossy()) {
        Error::Internal(cause)
    } else {
        Error::internal(format!("{shown}: {text}"))
    }
}

#[derive(QueryableByName)]
struct Version {
    #[diesel(sql_type = Text)]
    version: String,
}

fn refuse_unsafe_version(conn: &mut SqliteConnection) -> Result<(), Error> {
    let Version { version } = diesel::sql_query("SELECT sqlite_version() AS version").get_result(conn)?;
    let mut numbers = version.split('.').map(|part| part.parse().unwrap_or(0));
    let mut next = || numbers.next().unwrap_or(0);
    if (next(), next(), next()) < OLDEST_SAFE_VERSION {
        return Err(Error::internal(format!("SQLite {version} can corrupt a WAL database; at least 3.51.3 is needed")));
    }
    Ok(())
}
