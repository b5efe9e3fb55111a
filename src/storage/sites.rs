//! Sites and their counters.

use diesel::prelude::*;

use super::conn::{Conn, on};
use super::meta;
use super::schema::{account_sites, accounts, articles, comments, site_counts, sites};
use super::tx::Tx;
use crate::domain::ids::{AccountId, SiteId};
use crate::domain::site::{ArticlePolicy, Policy, Site, SiteKey};
use crate::domain::time::Timestamp;
use crate::domain::web::Origin;
use crate::error::Error;

#[derive(Queryable, Selectable, Insertable)]
#[diesel(table_name = sites, treat_none_as_default_value = false)]
#[diesel(check_for_backend(diesel::sqlite::Sqlite))]
#[cfg_attr(feature = "postgres", diesel(check_for_backend(diesel::pg::Pg)))]
struct SiteRow {
    id: SiteId,
    key: String,
    name: String,
    url: Option<String>,
    origins: String,
    moderation: Policy,
    articles: ArticlePolicy,
    language: String,
    settings: String,
    created_at: Timestamp,
    updated_at: Timestamp,
}

impl SiteRow {
    fn of(site: &Site, now: Timestamp) -> Result<Self, Error> {
        let origins: Vec<&str> = site.origins.iter().map(Origin::as_str).collect();
        Ok(Self {
            id: site.id,
            key: site.key.as_str().to_owned(),
            name: site.name.clone(),
            url: site.url.clone(),
            origins: serde_json::to_string(&origins).map_err(Error::internal)?,
            moderation: site.policy,
            articles: site.articles,
            language: site.language.clone(),
            settings: serde_json::to_string(&site.settings).map_err(Error::internal)?,
            created_at: now,
            updated_at: now,
        })
    }

    fn into_site(self) -> Result<Site, Error> {
        let origins: Vec<String> = serde_json::from_str(&self.origins).map_err(Error::internal)?;
        Ok(Site {
            id: self.id,
            key: SiteKey::parse(&self.key).map_err(|_| Error::internal("a stored site key is illegal"))?,
            name: self.name,
            url: self.url,
            origins: origins.iter().filter_map(|origin| Origin::parse(origin)).collect(),
            policy: self.moderation,
            articles: self.articles,
            language: self.language,
            settings: serde_json::from_str(&self.settings).map_err(Error::internal)?,
            updated_at: self.updated_at,
        })
    }
}

/// Adds a site. An [`Error::Conflict`] when the key is taken.
pub fn insert(tx: &mut Tx<'_>, site: &Site, now: Timestamp) -> Result<(), Error> {
    let row = SiteRow::of(site, now)?;
    let added = on!(tx.conn(), |c| diesel::insert_into(sites::table).values(&row).on_conflict_do_nothing().execute(c))?;
    if added == 0 {
        return Err(Error::conflict("There is a site with this key already."));
    }
    let counts = (
        site_counts::site_id.eq(site.id),
        site_counts::pending.eq(0_i64),
        site_counts::approved.eq(0_i64),
        site_counts::rejected.eq(0_i64),
        site_counts::spam.eq(0_i64),
    );
    on!(tx.conn(), |c| diesel::insert_into(site_counts::table).values(counts).execute(c))?;
    meta::touch_settings(tx)
}

/// Writes the settings of a site that is there.
pub fn update(tx: &mut Tx<'_>, site: &Site, now: Timestamp) -> Result<(), Error> {
    let row = SiteRow::of(site, now)?;
    let change = (
        sites::name.eq(row.name),
        sites::url.eq(row.url),
        sites::origins.eq(row.origins),
        sites::moderation.eq(row.moderation),
        sites::articles.eq(row.articles),
        sites::language.eq(row.language),
        sites::settings.eq(row.settings),
        sites::updated_at.eq(now),
    );
    let changed = on!(tx.conn(), |c| diesel::update(sites::table.find(row.id)).set(change).execute(c))?;
    if changed == 0 {
        return Err(Error::NotFound);
    }
    meta::touch_settings(tx)
}

/// Every site, by key.
pub fn all(conn: &mut Conn) -> Result<Vec<Site>, Error> {
    let rows = on!(conn, |c| sites::table.select(SiteRow::as_select()).order(sites::key).load(c))?;
    rows.into_iter().map(SiteRow::into_site).collect()
}

/// The site with this key, to be changed in this transaction: nobody else changes it until the end of it.
pub fn find_to_change(tx: &mut Tx<'_>, key: &SiteKey) -> Result<Option<Site>, Error> {
    // All changes of settings wait for each other at the revision that each of them raises.
    meta::touch_settings(tx)?;
    let row: Option<SiteRow> = on!(tx.conn(), |c| sites::table
        .filter(sites::key.eq(key.as_str()))
        .select(SiteRow::as_select())
        .get_result(c)
        .optional())?;
    row.map(SiteRow::into_site).transpose()
}

/// What is on a site: how many comments, and how many articles.
pub fn contents(conn: &mut Conn, id: SiteId) -> Result<(i64, i64), Error> {
    let counted = comments::table.filter(comments::site_id.eq(id)).count();
    let comments = on!(&mut *conn, |c| counted.get_result(c))?;
    let counted = articles::table.filter(articles::site_id.eq(id)).count();
    Ok((comments, on!(conn, |c| counted.get_result(c))?))
}

/// Deletes a site that nothing is on, with its counters and the rights to it.
pub fn delete(tx: &mut Tx<'_>, id: SiteId) -> Result<(), Error> {
    on!(tx.conn(), |c| diesel::delete(sites::table.find(id)).execute(c))?;
    meta::touch_settings(tx)
}

/// Who looks after the given sites: site, account and name, the oldest account first.
pub fn moderators(conn: &mut Conn, wanted: &[SiteId]) -> Result<Vec<(SiteId, AccountId, String)>, Error> {
    Ok(on!(conn, |c| account_sites::table
        .inner_join(accounts::table)
        .filter(account_sites::site_id.eq_any(wanted))
        .filter(accounts::disabled_at.is_null())
        .select((account_sites::site_id, accounts::id, accounts::name))
        .order(accounts::id)
        .load(c))?)
}
