//! The facts of `meta`, as a copy takes them: all but those about one database and no other.

use diesel::prelude::*;
use sha2::Sha256;

use super::super::conn::{Conn, on};
use super::super::{meta, schema};
use super::mark::KEY;
use super::{Canonical, Row, Tx};
use crate::error::Error;

/// A fact of `meta`. There are a handful, so one page has them all.
pub(super) struct Fact {
    key: String,
    value: String,
}

/// How far the search index is, and the mark of a copy: facts about one database and no other.
const OWN_FACTS: [&str; 2] = ["words_until", KEY];

impl Row for Fact {
    const TABLE: &'static str = "meta";
    type Key = (String,);

    fn clear(tx: &mut Tx<'_>) -> Result<(), Error> {
        let others = schema::meta::table.filter(schema::meta::key.ne_all(OWN_FACTS));
        on!(tx.conn(), |c| diesel::delete(others).execute(c))?;
        Ok(())
    }

    fn key(&self) -> Self::Key {
        (self.key.clone(),)
    }

    fn after(conn: &mut Conn, (after,): &Self::Key) -> Result<Vec<Self>, Error> {
        let facts: Vec<(String, String)> = on!(conn, |c| schema::meta::table.load(c))?;
        let mut facts: Vec<Self> = facts.into_iter().map(|(key, value)| Self { key, value }).collect();
        facts.retain(|fact| fact.key > *after && !OWN_FACTS.contains(&fact.key.as_str()));
        // Here and not there: how PostgreSQL sorts texts depends on where it was installed.
        facts.sort_by(|one, other| one.key.cmp(&other.key));
        Ok(facts)
    }

    fn keys_after(conn: &mut Conn, after: &Self::Key) -> Result<Vec<Self::Key>, Error> {
        Ok(Self::after(conn, after)?.iter().map(Self::key).collect())
    }

    fn write(tx: &mut Tx<'_>, rows: &[Self]) -> Result<(), Error> {
        rows.iter().try_for_each(|fact| meta::put(tx, &fact.key, &fact.value))
    }

    fn add_to(&self, hash: &mut Sha256) {
        self.key.add_to(hash);
        self.value.add_to(hash);
    }
}
