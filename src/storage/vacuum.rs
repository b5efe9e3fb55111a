//! Writes an SQLite database anew, so that nothing of what was deleted is left in it: not in the words of the search index,
//! which only marks what is deleted, not in free pages, not in the WAL. On a connection of its own; writers wait meanwhile.
//! PostgreSQL has its own commands for this.

use std::path::Path;

use diesel::connection::SimpleConnection;
use diesel::prelude::*;
use diesel::sql_types::BigInt;

use super::conn::on;
use super::{migrations, sqlite};
use crate::error::Error;

const EMPTY_THE_INDEX: &str = "BEGIN IMMEDIATE; \
    INSERT INTO comment_words (comment_words) VALUES ('delete-all'); \
    UPDATE meta SET value = '0' WHERE key = 'words_until'; \
    COMMIT";

#[derive(QueryableByName)]
struct Checkpoint {
    #[diesel(sql_type = BigInt)]
    busy: i64,
}

/// Empties the search index, which fills itself again while the service runs, and writes the file anew. [`Error::Busy`] when
/// somebody reads or writes all the time; then again.
pub fn vacuum(file: &Path) -> Result<(), Error> {
    let mut conn = sqlite::open_as_it_is(file)?;
    if !migrations::is_there(&mut conn)? {
        return Err(Error::internal("the file is no database of afterword"));
    }
    // What the index lacks is searched row by row (words.rs), so nobody misses anything meanwhile.
    on!(&mut conn, |c| c.batch_execute(EMPTY_THE_INDEX))?;
    on!(&mut conn, |c| c.batch_execute("VACUUM"))?;
    let checkpoint = diesel::sql_query("PRAGMA wal_checkpoint(TRUNCATE)");
    let Checkpoint { busy } = on!(&mut conn, |c| checkpoint.get_result(c))?;
    if busy != 0 { Err(Error::Busy) } else { Ok(()) }
}
