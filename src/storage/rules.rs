//! Rules: their definitions as JSON, which the domain reads, and their long word lists as they were packed. Whoever changes
//! one raises the settings' revision first, so that changes come one after the other and every instance sees them.

use diesel::prelude::*;

use super::conn::{Conn, on};
use super::meta;
use super::schema::rules;
use super::tx::Tx;
use crate::domain::ids::{RuleId, SiteId};
use crate::domain::time::Timestamp;
use crate::error::Error;

/// A rule without its long list.
#[derive(Debug, Clone, PartialEq, Eq, Queryable, Selectable, Insertable)]
#[diesel(table_name = rules, treat_none_as_default_value = false)]
#[diesel(check_for_backend(diesel::sqlite::Sqlite))]
#[cfg_attr(feature = "postgres", diesel(check_for_backend(diesel::pg::Pg)))]
pub struct StoredRule {
    /// Its id.
    pub id: RuleId,
    /// The site it is for; none: all.
    pub site_id: Option<SiteId>,
    /// Its place among the rules of the same site, from 1.
    pub position: i32,
    /// What it says, as JSON.
    pub definition: String,
    /// Entries of its long list.
    pub word_count: i32,
    /// Raised by every change.
    pub version: i64,
    /// When it was made.
    pub created_at: Timestamp,
    /// When it was changed last.
    pub updated_at: Timestamp,
}

/// A rule and its long list as it was packed.
pub type WithWords = (StoredRule, Option<Vec<u8>>);

/// Rules of all sites, in the order in which they are asked: those for all sites first.
pub fn all(conn: &mut Conn) -> Result<Vec<StoredRule>, Error> {
    let mut all: Vec<StoredRule> = on!(conn, |c| rules::table.select(StoredRule::as_select()).load(c))?;
    // Where an empty site sorts differs between the databases.
    all.sort_unstable_by_key(|rule| (rule.site_id, rule.position, rule.id));
    Ok(all)
}

/// The rules of a site, or those for all sites, in order.
pub fn of(conn: &mut Conn, site: Option<SiteId>) -> Result<Vec<StoredRule>, Error> {
    let order = (rules::position, rules::id);
    let found = match site {
        Some(site) => on!(conn, |c| rules::table
            .filter(rules::site_id.eq(site))
            .order(order)
            .select(StoredRule::as_select())
            .load(c))?,
        None => on!(conn, |c| rules::table
            .filter(rules::site_id.is_null())
            .order(order)
            .select(StoredRule::as_select())
            .load(c))?,
    };
    Ok(found)
}

/// The rule with this id.
pub fn find(conn: &mut Conn, id: RuleId) -> Result<Option<StoredRule>, Error> {
    Ok(on!(conn, |c| rules::table.find(id).select(StoredRule::as_select()).get_result(c).optional())?)
}

/// A rule's long list as it was packed; none if it has none.
pub fn words(conn: &mut Conn, id: RuleId) -> Result<Option<Vec<u8>>, Error> {
    let found: Option<Option<Vec<u8>>> =
        on!(conn, |c| rules::table.find(id).select(rules::words).get_result(c).optional())?;
    Ok(found.flatten())
}

/// Begins a change: all changes of rules wait for each other.
pub fn begin_change(tx: &mut Tx<'_>) -> Result<(), Error> {
    meta::touch_settings(tx)
}

/// Adds a rule.
pub fn insert(tx: &mut Tx<'_>, rule: &StoredRule) -> Result<(), Error> {
    on!(tx.conn(), |c| diesel::insert_into(rules::table).values(rule).execute(c))?;
    Ok(())
}

/// Writes a rule anew, but for its long list.
pub fn update(tx: &mut Tx<'_>, rule: &StoredRule) -> Result<(), Error> {
    let set = (
        rules::position.eq(rule.position),
        rules::definition.eq(&rule.definition),
        rules::word_count.eq(rule.word_count),
        rules::version.eq(rule.version),
        rules::updated_at.eq(rule.updated_at),
    );
    on!(tx.conn(), |c| diesel::update(rules::table.find(rule.id)).set(set).execute(c))?;
    Ok(())
}

/// Writes a rule's long list; none takes it away.
pub fn write_words(tx: &mut Tx<'_>, id: RuleId, packed: Option<&[u8]>) -> Result<(), Error> {
    on!(tx.conn(), |c| diesel::update(rules::table.find(id)).set(rules::words.eq(packed)).execute(c))?;
    Ok(())
}

/// Takes a rule away.
pub fn remove(tx: &mut Tx<'_>, id: RuleId) -> Result<(), Error> {
    on!(tx.conn(), |c| diesel::delete(rules::table.find(id)).execute(c))?;
    Ok(())
}
