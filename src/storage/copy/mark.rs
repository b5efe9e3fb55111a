//! The mark in `meta` of a database that a copy was made into: from where, and how far it is. It moves on in the transaction
//! that writes a page, so it is never ahead of the rows nor behind them.

use diesel::prelude::*;
use serde::{Deserialize, Serialize};

use super::super::conn::{Conn, on};
use super::super::meta;
use super::super::schema::meta as facts;
use super::{TABLES, Tx};
use crate::error::Error;

/// The fact that holds the mark.
pub(super) const KEY: &str = "copy";

/// How far a copy is.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Mark {
    /// The database that is copied, as its operator names it, without a password.
    pub from: String,
    /// What is done.
    pub state: State,
}

/// What is done of a copy.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum State {
    /// All tables before this one are there, and of this one the rows up to a key.
    Copying {
        /// The table's name.
        table: String,
        /// The key, as [`Table::read`](super::Table::read) takes it.
        after: String,
    },
    /// All rows are there. They are not checked yet.
    Copied,
    /// The check found other rows than in the source.
    Differs,
    /// All rows are there and checked; it may be served.
    Finished,
}

/// The mark; none in a database that no copy was made into.
pub fn mark(conn: &mut Conn) -> Result<Option<Mark>, Error> {
    meta::get(conn, KEY)?.map(|text| serde_json::from_str(&text).map_err(Error::internal)).transpose()
}

/// Refuses what is only a part of another database.
pub fn refuse_half_a_copy(conn: &mut Conn) -> Result<(), Error> {
    match mark(conn)? {
        None | Some(Mark { state: State::Finished, .. }) => Ok(()),
        Some(Mark { from, .. }) => Err(Error::internal(format!(
            "this database is an unfinished copy of {from}: run the same afterword copy again until it says that all is \
             checked"
        ))),
    }
}

/// Refuses to copy into a database that somebody uses: nothing is written over.
pub fn refuse_other_data(conn: &mut Conn) -> Result<(), Error> {
    if mark(conn)?.is_some() {
        return Ok(());
    }
    // Facts are nobody's data: the migrations write some.
    for table in TABLES.iter().filter(|table| table.name != "meta") {
        let rows = (table.count)(conn)?;
        if rows > 0 {
            return Err(Error::internal(format!(
                "it holds data already ({rows} rows in {}), and nothing is written over: name an empty database",
                table.name
            )));
        }
    }
    Ok(())
}

/// Puts the first mark into a database without data.
pub fn begin(tx: &mut Tx<'_>, mark: &Mark) -> Result<(), Error> {
    refuse_other_data(tx.conn())?;
    let text = text(mark)?;
    if meta::get_or_put(tx, KEY, &text)? == text { Ok(()) } else { Err(somebody_else()) }
}

/// Puts the next mark in the place of the one that is there.
pub fn move_on(tx: &mut Tx<'_>, from: &Mark, to: &Mark) -> Result<(), Error> {
    let (from, to) = (text(from)?, text(to)?);
    let there = facts::table.filter(facts::key.eq(KEY).and(facts::value.eq(from)));
    let moved = on!(tx.conn(), |c| diesel::update(there).set(facts::value.eq(to)).execute(c))?;
    if moved == 1 { Ok(()) } else { Err(somebody_else()) }
}

fn text(mark: &Mark) -> Result<String, Error> {
    serde_json::to_string(mark).map_err(Error::internal)
}

fn somebody_else() -> Error {
    Error::internal("another afterword copies into this database: wait for its end")
}
