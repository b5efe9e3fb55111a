//! The webhooks: where events go, and how their receivers are doing. What is sealed in them is not known here.

use diesel::prelude::*;

use super::conn::{Conn, on};
use super::meta;
use super::schema::{accounts, webhook_deliveries, webhook_queue, webhooks};
use super::tx::Tx;
use crate::domain::ids::{AccountId, SiteId, WebhookId};
use crate::domain::time::Timestamp;
use crate::domain::webhook::{EventType, Format};
use crate::error::Error;
use crate::storage::accounts::Role;

/// A webhook.
#[derive(Debug, Clone, Queryable, Selectable, Insertable, AsChangeset)]
#[diesel(table_name = webhooks, treat_none_as_default_value = false, treat_none_as_null = true)]
#[diesel(check_for_backend(diesel::sqlite::Sqlite))]
#[cfg_attr(feature = "postgres", diesel(check_for_backend(diesel::pg::Pg)))]
#[expect(missing_docs, reason = "the columns are documented in migrations/")]
pub struct Webhook {
    pub id: WebhookId,
    pub site_id: Option<SiteId>,
    pub format: Format,
    pub events: String,
    pub include_email: bool,
    pub private_sealed: Vec<u8>,
    pub former_until: Option<Timestamp>,
    pub enabled: bool,
    pub disabled_reason: Option<String>,
    pub failures: i32,
    pub failing_since: Option<Timestamp>,
    pub resume_at: Option<Timestamp>,
    pub created_at: Timestamp,
}

impl Webhook {
    /// The events that it asks for.
    pub fn events(&self) -> Vec<EventType> {
        let names: Vec<String> = serde_json::from_str(&self.events).unwrap_or_default();
        names.iter().filter_map(|name| EventType::from_name(name)).collect()
    }
}

/// Events as they are stored.
pub fn events_json(events: &[EventType]) -> Result<String, Error> {
    let names: Vec<&str> = events.iter().map(|event| event.as_str()).collect();
    serde_json::to_string(&names).map_err(Error::internal)
}

/// Adds a webhook; [`Error::Conflict`] when there are `most` already.
pub fn insert(tx: &mut Tx<'_>, webhook: &Webhook, most: i64) -> Result<(), Error> {
    if on!(tx.conn(), |c| webhooks::table.count().get_result::<i64>(c))? >= most {
        return Err(Error::conflict("There are as many webhooks as there may be. Delete one first."));
    }
    on!(tx.conn(), |c| diesel::insert_into(webhooks::table).values(webhook).execute(c))?;
    meta::touch_settings(tx)
}

/// Every webhook, the oldest first.
pub fn all(conn: &mut Conn) -> Result<Vec<Webhook>, Error> {
    Ok(on!(conn, |c| webhooks::table.select(Webhook::as_select()).order(webhooks::id).load(c))?)
}

/// A page of webhooks, the oldest first: those after `after`, at most `limit`.
pub fn page(conn: &mut Conn, after: Option<WebhookId>, limit: i64) -> Result<Vec<Webhook>, Error> {
    Ok(on!(conn, |c| {
        let mut query = webhooks::table.select(Webhook::as_select()).order(webhooks::id).limit(limit).into_boxed();
        if let Some(after) = after {
            query = query.filter(webhooks::id.gt(after));
        }
        query.load(c)
    })?)
}

/// The webhook with this id.
pub fn find(conn: &mut Conn, id: WebhookId) -> Result<Option<Webhook>, Error> {
    Ok(on!(conn, |c| webhooks::table.find(id).select(Webhook::as_select()).get_result(c).optional())?)
}

/// Writes a webhook that is there. What waits for one that is switched off goes.
pub fn update(tx: &mut Tx<'_>, webhook: &Webhook) -> Result<(), Error> {
    on!(tx.conn(), |c| diesel::update(webhooks::table.find(webhook.id)).set(webhook).execute(c))?;
    if !webhook.enabled {
        let waiting = webhook_queue::table
            .filter(webhook_queue::webhook_id.eq(webhook.id))
            .filter(webhook_queue::by_hand.eq(false));
        on!(tx.conn(), |c| diesel::delete(waiting).execute(c))?;
    }
    meta::touch_settings(tx)
}

/// Removes a webhook with everything that waits for it and its log. [`Error::NotFound`] when it is not there.
pub fn remove(tx: &mut Tx<'_>, id: WebhookId) -> Result<(), Error> {
    if on!(tx.conn(), |c| diesel::delete(webhooks::table.find(id)).execute(c))? == 0 {
        return Err(Error::NotFound);
    }
    let (waiting, log) = (webhook_queue::webhook_id.eq(id), webhook_deliveries::webhook_id.eq(id));
    on!(tx.conn(), |c| diesel::delete(webhook_queue::table.filter(waiting)).execute(c))?;
    on!(tx.conn(), |c| diesel::delete(webhook_deliveries::table.filter(log)).execute(c))?;
    meta::touch_settings(tx)
}

/// Notes that a delivery succeeded after others had failed.
pub fn recovered(tx: &mut Tx<'_>, id: WebhookId) -> Result<(), Error> {
    let well = (
        webhooks::failures.eq(0),
        webhooks::failing_since.eq(None::<Timestamp>),
        webhooks::resume_at.eq(None::<Timestamp>),
    );
    let failing = webhooks::table.find(id).filter(webhooks::failures.gt(0));
    on!(tx.conn(), |c| diesel::update(failing).set(well).execute(c))?;
    Ok(())
}

/// Notes that a delivery failed, and that nothing is sent before `resume_at`. Returns the webhook as it is now.
pub fn failed(
    tx: &mut Tx<'_>,
    id: WebhookId,
    (now, resume_at): (Timestamp, Timestamp),
) -> Result<Option<Webhook>, Error> {
    let first = webhooks::table.find(id).filter(webhooks::failing_since.is_null());
    on!(tx.conn(), |c| diesel::update(first).set(webhooks::failing_since.eq(now)).execute(c))?;
    let change = (webhooks::failures.eq(webhooks::failures + 1), webhooks::resume_at.eq(resume_at));
    on!(tx.conn(), |c| diesel::update(webhooks::table.find(id)).set(change).execute(c))?;
    find(tx.conn(), id)
}

/// Writes what is sealed anew where it is still what was read. Returns whether it was.
pub fn reseal(tx: &mut Tx<'_>, id: WebhookId, before: &[u8], after: &[u8]) -> Result<bool, Error> {
    let row = webhooks::table.find(id).filter(webhooks::private_sealed.eq(before));
    Ok(on!(tx.conn(), |c| diesel::update(row).set(webhooks::private_sealed.eq(after)).execute(c))? == 1)
}

/// The accounts that are told when a webhook is switched off: every administrator.
pub fn caretakers(conn: &mut Conn) -> Result<Vec<AccountId>, Error> {
    Ok(on!(conn, |c| accounts::table
        .filter(accounts::role.eq(Role::Admin))
        .filter(accounts::disabled_at.is_null())
        .select(accounts::id)
        .order(accounts::id)
        .load(c))?)
}
