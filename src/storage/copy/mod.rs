//! Every row of every table as it is stored, for a copy into another database: pages in the order of primary keys, the same
//! rows written again, and a checksum that tells two tables apart. What a database derives from its rows (words, SQLite's
//! row numbers) it derives anew. The order of work is `service/copy.rs`'s.

mod accounts;
mod facts;
mod mark;
mod people;
mod tables;

use serde::Serialize;
use serde::de::DeserializeOwned;
use sha2::{Digest, Sha256};

pub use self::mark::{Mark, State, begin, mark, move_on, refuse_half_a_copy, refuse_other_data};
pub use self::tables::TABLES;
use super::conn::Conn;
use super::tx::Tx;
use super::types::AnyId;
use super::words;
use crate::domain::hex::hex;
use crate::error::Error;

/// Rows of a page: each is a transaction of its own.
const PAGE_ROWS: i64 = 1_000;

/// Keys that are counted in one statement.
const COUNTED_ROWS: i64 = 10_000;

/// Rows of one INSERT. A comment has 36 columns, so these are 18,000 values; SQLite takes 32,766 in a statement
/// (<https://sqlite.org/limits.html>, section 9), PostgreSQL 65,535.
const INSERT_ROWS: usize = 500;

/// What there is to do with one table. [`TABLES`] has all of them, those that others refer to first.
pub struct Table {
    /// Its name in the database.
    pub name: &'static str,
    /// Its rows, counted page by page: on PostgreSQL a statement that takes long is ended.
    pub count: fn(&mut Conn) -> Result<u64, Error>,
    /// The page after the key with which another one ended; after an empty text, the first. A page without rows is the end.
    pub read: fn(&mut Conn, &str) -> Result<Page, Error>,
    clear: fn(&mut Tx<'_>) -> Result<(), Error>,
}

impl Table {
    const fn of<R: Row>() -> Self {
        Self { name: R::TABLE, count: count::<R>, read: read::<R>, clear: R::clear }
    }
}

/// Rows of one table, in the order of their keys.
pub struct Page {
    rows: Box<dyn Rows>,
    /// How many they are.
    pub len: u64,
    /// The key of the last one, as [`Table::read`] takes it.
    pub last: String,
}

impl Page {
    /// Adds the rows without which these cannot be written and that come in a later page.
    pub fn complete(&mut self, source: &mut Conn) -> Result<(), Error> {
        self.rows.complete(source)
    }

    /// Writes the rows, but for those that an earlier page brought along.
    pub fn write(&self, tx: &mut Tx<'_>) -> Result<(), Error> {
        self.rows.write(tx)
    }
}

/// Takes away all rows, and what was derived from them.
pub fn clear(tx: &mut Tx<'_>) -> Result<(), Error> {
    words::forget_all(tx)?;
    TABLES.iter().rev().try_for_each(|table| (table.clear)(tx))?;
    words::numbers_may_return(tx)
}

/// The number of rows of a table and the SHA-256 of all their values in the order of keys: the same for equal rows,
/// whichever database they lie in.
#[derive(Clone, Default)]
pub struct Sum {
    /// Rows so far.
    pub rows: u64,
    hash: Sha256,
}

impl Sum {
    /// Adds the next page.
    pub fn add(&mut self, page: &Page) {
        self.rows += page.len;
        page.rows.add_to(&mut self.hash);
    }

    /// The checksum as hex digits.
    pub fn hex(self) -> String {
        hex(&self.hash.finalize())
    }
}

/// A row of one table: all of its columns.
trait Row: Sized + Send + Sync + 'static {
    const TABLE: &'static str;
    /// The primary key; its default sorts before all keys that there are.
    type Key: Default + Serialize + DeserializeOwned;
    fn clear(tx: &mut Tx<'_>) -> Result<(), Error>;
    fn key(&self) -> Self::Key;
    fn after(conn: &mut Conn, key: &Self::Key) -> Result<Vec<Self>, Error>;
    fn keys_after(conn: &mut Conn, key: &Self::Key) -> Result<Vec<Self::Key>, Error>;
    fn complete(_source: &mut Conn, _rows: &mut Vec<Self>) -> Result<(), Error> {
        Ok(())
    }
    fn write(tx: &mut Tx<'_>, rows: &[Self]) -> Result<(), Error>;
    fn add_to(&self, hash: &mut Sha256);
}

/// Rows of a table that is not named here.
trait Rows: Send + Sync {
    fn complete(&mut self, source: &mut Conn) -> Result<(), Error>;
    fn write(&self, tx: &mut Tx<'_>) -> Result<(), Error>;
    fn add_to(&self, hash: &mut Sha256);
}

impl<R: Row> Rows for Vec<R> {
    fn complete(&mut self, source: &mut Conn) -> Result<(), Error> {
        R::complete(source, self)
    }

    fn write(&self, tx: &mut Tx<'_>) -> Result<(), Error> {
        R::write(tx, self)
    }

    fn add_to(&self, hash: &mut Sha256) {
        for row in self {
            row.add_to(hash);
        }
    }
}

fn count<R: Row>(conn: &mut Conn) -> Result<u64, Error> {
    let (mut rows, mut from) = (0, R::Key::default());
    loop {
        let keys = R::keys_after(conn, &from)?;
        rows += keys.len() as u64;
        match keys.into_iter().next_back() {
            Some(last) => from = last,
            None => return Ok(rows),
        }
    }
}

fn read<R: Row>(conn: &mut Conn, after: &str) -> Result<Page, Error> {
    let key =
        if after.is_empty() { R::Key::default() } else { serde_json::from_str(after).map_err(Error::internal)? };
    let rows = R::after(conn, &key)?;
    let last = rows.last().map(|row| serde_json::to_string(&row.key())).transpose().map_err(Error::internal)?;
    Ok(Page { len: rows.len() as u64, last: last.unwrap_or_default(), rows: Box::new(rows) })
}

/// An [`Error::Conflict`] for rows that need others, or exclude others, of an earlier page.
fn unfit(error: diesel::result::Error) -> Error {
    use diesel::result::{DatabaseErrorKind, Error as Diesel};
    match &error {
        Diesel::DatabaseError(DatabaseErrorKind::ForeignKeyViolation | DatabaseErrorKind::UniqueViolation, _) => {
            Error::conflict("rows of the source do not fit to those that were copied before")
        }
        _ => error.into(),
    }
}

/// A value as bytes that no other value of its column has: texts say how long they are, and nothing differs from empty.
trait Canonical {
    fn add_to(&self, hash: &mut Sha256);
}

macro_rules! canonical_numbers {
    ($($number:ty),+) => {$(
        impl Canonical for $number {
            fn add_to(&self, hash: &mut Sha256) {
                hash.update(self.to_be_bytes());
            }
        }
    )+};
}
canonical_numbers!(i16, i32, i64, f64);

impl Canonical for bool {
    fn add_to(&self, hash: &mut Sha256) {
        hash.update([u8::from(*self)]);
    }
}

impl Canonical for AnyId {
    fn add_to(&self, hash: &mut Sha256) {
        hash.update(self.as_bytes());
    }
}

impl Canonical for Vec<u8> {
    fn add_to(&self, hash: &mut Sha256) {
        hash.update((self.len() as u64).to_be_bytes());
        hash.update(self);
    }
}

impl Canonical for String {
    fn add_to(&self, hash: &mut Sha256) {
        hash.update((self.len() as u64).to_be_bytes());
        hash.update(self);
    }
}

impl<T: Canonical> Canonical for Option<T> {
    fn add_to(&self, hash: &mut Sha256) {
        self.is_some().add_to(hash);
        if let Some(value) = self {
            value.add_to(hash);
        }
    }
}
