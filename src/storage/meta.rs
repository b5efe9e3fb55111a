//! Facts about the database itself: the check value of the secret key, the revision of the settings, the oldest binary.

use diesel::prelude::*;

use super::conn::{Conn, on};
use super::schema::meta;
use super::tx::Tx;
use crate::error::Error;

/// The fact that holds the check value of the secret key that is used. It changes while nobody else is inside a transaction
/// that has read it ([`super::neighbours::wait_for_readers_of_facts`]): until a transaction ends, what it has read is true.
pub const KEY_CHECK: &str = "key_check";

/// The value of a fact.
pub fn get(conn: &mut Conn, key: &str) -> Result<Option<String>, Error> {
    Ok(on!(conn, |c| meta::table.find(key).select(meta::value).get_result::<String>(c).optional())?)
}

/// Writes a fact unless it is there; returns the one that is there afterwards.
pub fn get_or_put(tx: &mut Tx<'_>, key: &str, value: &str) -> Result<String, Error> {
    let row = (meta::key.eq(key), meta::value.eq(value));
    on!(tx.conn(), |c| diesel::insert_into(meta::table).values(row).on_conflict_do_nothing().execute(c))?;
    get(tx.conn(), key)?.ok_or_else(|| Error::internal("a fact vanished"))
}

/// Writes a fact, whatever was there.
pub fn put(tx: &mut Tx<'_>, key: &str, value: &str) -> Result<(), Error> {
    let row = (meta::key.eq(key), meta::value.eq(value));
    on!(tx.conn(), |c| diesel::insert_into(meta::table)
        .values(row)
        .on_conflict(meta::key)
        .do_update()
        .set(meta::value.eq(value))
        .execute(c))?;
    Ok(())
}

/// Writes a fact in place of the value that the caller saw; `false` when another one is there.
pub fn replace(tx: &mut Tx<'_>, key: &str, seen: &str, value: &str) -> Result<bool, Error> {
    let row = meta::table.find(key).filter(meta::value.eq(seen));
    Ok(on!(tx.conn(), |c| diesel::update(row).set(meta::value.eq(value)).execute(c))? == 1)
}

/// Takes a fact away, if it is there.
pub fn remove(tx: &mut Tx<'_>, key: &str) -> Result<(), Error> {
    on!(tx.conn(), |c| diesel::delete(meta::table.find(key)).execute(c))?;
    Ok(())
}

/// Raises the revision of the settings, so that every running instance loads sites and accounts anew.
pub fn touch_settings(tx: &mut Tx<'_>) -> Result<(), Error> {
    on!(tx.conn(), |c| diesel::sql_query(
        "UPDATE meta SET value = CAST(CAST(value AS BIGINT) + 1 AS TEXT) WHERE key = 'settings_revision'"
    )
    .execute(c))?;
    Ok(())
}

/// The revision of the settings.
pub fn settings_revision(conn: &mut Conn) -> Result<i64, Error> {
    let text = get(conn, "settings_revision")?.unwrap_or_default();
    text.parse().map_err(|_| Error::internal("the settings revision is no number"))
}
