//! Events on their way to webhooks, and what became of each attempt. Events of one comment go to a webhook one after the
//! other; a claim works as in the outbox. This file branches on the database, because claiming does.

use std::time::Duration;

use diesel::dsl::{exists, not};
use diesel::prelude::*;

use super::conn::{Conn, in_chunks, on};
use super::schema::{webhook_deliveries, webhook_queue, webhooks};
use super::tx::Tx;
use super::webhooks::Webhook;
use crate::domain::comment::Status;
use crate::domain::ids::{ArticleId, CommentId, DeliveryId, EventId, SiteId, WebhookId};
use crate::domain::time::Timestamp;
use crate::domain::webhook::{Delivered, EventType};
use crate::error::Error;

/// An event that waits for a webhook.
#[derive(Debug, Clone, Insertable, Queryable, Selectable)]
#[diesel(table_name = webhook_queue, treat_none_as_default_value = false)]
#[diesel(check_for_backend(diesel::sqlite::Sqlite))]
#[cfg_attr(feature = "postgres", diesel(check_for_backend(diesel::pg::Pg)))]
#[expect(missing_docs, reason = "the columns are documented in migrations/")]
pub struct QueuedEvent {
    pub id: DeliveryId,
    pub webhook_id: WebhookId,
    pub event_id: EventId,
    pub event: EventType,
    pub event_at: Timestamp,
    pub site_id: Option<SiteId>,
    pub article_id: Option<ArticleId>,
    pub comment_id: Option<CommentId>,
    pub comment_status: Option<Status>,
    pub comment_version: i64,
    pub by_hand: bool,
    pub due_at: Timestamp,
    pub claim: Option<DeliveryId>,
    pub attempts: i32,
    pub created_at: Timestamp,
}

/// What became of an attempt.
#[derive(Debug, Clone, Insertable, Queryable, Selectable)]
#[diesel(table_name = webhook_deliveries, treat_none_as_default_value = false)]
#[diesel(check_for_backend(diesel::sqlite::Sqlite))]
#[cfg_attr(feature = "postgres", diesel(check_for_backend(diesel::pg::Pg)))]
#[expect(missing_docs, reason = "the columns are documented in migrations/")]
pub struct Delivery {
    pub id: DeliveryId,
    pub webhook_id: WebhookId,
    pub event_id: EventId,
    pub event: EventType,
    pub event_at: Timestamp,
    pub site_id: Option<SiteId>,
    pub article_id: Option<ArticleId>,
    pub comment_id: Option<CommentId>,
    pub comment_status: Option<Status>,
    pub attempt: i32,
    pub result: Delivered,
    pub status_code: Option<i32>,
    pub error: Option<String>,
    pub duration_ms: i64,
    pub at: Timestamp,
}

/// When pings and replays are due: before everything else, also while a webhook pauses.
pub const BY_HAND_DUE: Timestamp = Timestamp(0);

/// No pause is longer than an hour; what is due later was written by a clock that was ahead, and is due now.
const LONGEST_WAIT: Duration = Duration::from_mins(61);

/// After this every instance knows of a new webhook, or that one is off.
const SETTLED: Duration = Duration::from_mins(1);

/// Writes new events, with as few statements as the database likes.
pub(super) fn insert_all(conn: &mut Conn, rows: &[QueuedEvent]) -> Result<(), Error> {
    in_chunks!(conn, rows, |chunk, c| diesel::insert_into(webhook_queue::table).values(chunk).execute(c));
    Ok(())
}

/// A worker's claim on what is due.
#[derive(Debug, Clone)]
pub struct Claim {
    /// Names the claim.
    pub id: DeliveryId,
    /// The time now.
    pub now: Timestamp,
    /// When the claim ends.
    pub until: Timestamp,
    /// At most so many events.
    pub limit: usize,
    /// At most so many of webhooks that are failing.
    pub failing: usize,
}

/// Events on their way to one webhook at a time, while it is well and while it fails.
const AT_ONCE: usize = 2;
const AT_ONCE_FAILING: usize = 1;

/// Claims what is due, with the webhooks that it is for. What goes to a webhook that another instance is claiming for right
/// now is passed over.
pub fn claim(tx: &mut Tx<'_>, claim: &Claim) -> Result<Vec<(QueuedEvent, Webhook)>, Error> {
    let mut claimed = Vec::new();
    let mut failing = claim.failing;
    for webhook in in_turn(tx)? {
        let fails = webhook.failures > 0;
        let most = if fails { AT_ONCE_FAILING.min(failing) } else { AT_ONCE };
        let room = most.min(claim.limit.saturating_sub(claimed.len()));
        let events = claim_for(tx, claim, (&webhook, room))?;
        if fails {
            failing = failing.saturating_sub(events.len());
        }
        claimed.extend(events.into_iter().map(|event| (event, webhook.clone())));
    }
    Ok(claimed)
}

/// The webhooks, locked; those that are well come first. They are few: looking for what is due to each costs less than asking
/// a long queue for whom it is.
fn in_turn(tx: &mut Tx<'_>) -> Result<Vec<Webhook>, Error> {
    let found = webhooks::table.order((webhooks::failures, webhooks::id));
    Ok(match tx.conn() {
        Conn::Sqlite(c) => found.select(Webhook::as_select()).load(c)?,
        #[cfg(feature = "postgres")]
        Conn::Postgres(c) => found.select(Webhook::as_select()).for_update().skip_locked().load(c)?,
    })
}

fn claim_for(tx: &mut Tx<'_>, claim: &Claim, (webhook, most): (&Webhook, usize)) -> Result<Vec<QueuedEvent>, Error> {
    let in_flight: i64 = on!(tx.conn(), |c| webhook_queue::table
        .filter(webhook_queue::webhook_id.eq(webhook.id))
        .filter(webhook_queue::claim.is_not_null())
        .filter(webhook_queue::due_at.gt(claim.now))
        .count()
        .get_result(c))?;
    let room = most.saturating_sub(usize::try_from(in_flight).unwrap_or(usize::MAX));
    if room == 0 {
        return Ok(Vec::new());
    }
    // A pause that ends later than any of ours was written by a clock that was ahead.
    let pauses = webhook.resume_at.is_some_and(|at| at > claim.now && at <= claim.now.plus(LONGEST_WAIT));
    let ids =
        due_for(tx.conn(), claim.now, &Wanted { webhook: webhook.id, room, by_hand: pauses || !webhook.enabled })?;
    if ids.is_empty() {
        return Ok(Vec::new());
    }
    let change = (
        webhook_queue::due_at.eq(claim.until),
        webhook_queue::claim.eq(claim.id),
        webhook_queue::attempts.eq(webhook_queue::attempts + 1),
    );
    let mut events: Vec<QueuedEvent> = on!(tx.conn(), |c| {
        diesel::update(webhook_queue::table.filter(webhook_queue::id.eq_any(&ids)))
            .set(change)
            .returning(QueuedEvent::as_returning())
            .get_results(c)
    })?;
    events.sort_unstable_by_key(|event| event.id);
    Ok(events)
}

/// What is looked for of one webhook.
struct Wanted {
    webhook: WebhookId,
    room: usize,
    /// Only pings and replays.
    by_hand: bool,
}

diesel::alias!(
    const EARLIER: Alias<Earlier> = webhook_queue as earlier;
);

/// What is due to a webhook, the longest due first.
fn due_for(conn: &mut Conn, now: Timestamp, wanted: &Wanted) -> Result<Vec<DeliveryId>, Error> {
    if wanted.by_hand {
        return due_by_hand(conn, now, wanted);
    }
    let due = due_between(conn, wanted, (BY_HAND_DUE, now))?;
    // Two questions, so that each is a walk along the index.
    if due.is_empty() { due_between(conn, wanted, (now.plus(LONGEST_WAIT), Timestamp(i64::MAX))) } else { Ok(due) }
}

/// Pings and replays that are due, also those whose claim has ended because a worker died. They have an index of their own,
/// so that it does not matter how much else waits.
fn due_by_hand(conn: &mut Conn, now: Timestamp, wanted: &Wanted) -> Result<Vec<DeliveryId>, Error> {
    let room = i64::try_from(wanted.room).unwrap_or(i64::MAX);
    Ok(on!(conn, |c| webhook_queue::table
        .filter(webhook_queue::webhook_id.eq(wanted.webhook))
        .filter(webhook_queue::by_hand)
        .filter(webhook_queue::due_at.le(now).or(webhook_queue::due_at.gt(now.plus(LONGEST_WAIT))))
        .order((webhook_queue::due_at, webhook_queue::id))
        .limit(room)
        .select(webhook_queue::id)
        .load(c))?)
}

/// Events that are due in this time and whose comment has no earlier one on its way to the same webhook.
fn due_between(conn: &mut Conn, wanted: &Wanted, (from, to): (Timestamp, Timestamp)) -> Result<Vec<DeliveryId>, Error> {
    let earlier = EARLIER;
    let before = earlier.field(webhook_queue::comment_version).lt(webhook_queue::comment_version).or(earlier
        .field(webhook_queue::comment_version)
        .eq(webhook_queue::comment_version)
        .and(earlier.field(webhook_queue::id).lt(webhook_queue::id)));
    let waits_for = earlier
        .filter(earlier.field(webhook_queue::webhook_id).eq(webhook_queue::webhook_id))
        .filter(earlier.field(webhook_queue::comment_id).eq(webhook_queue::comment_id))
        .filter(earlier.field(webhook_queue::by_hand).eq(false))
        .filter(before);
    let room = i64::try_from(wanted.room).unwrap_or(i64::MAX);
    Ok(on!(conn, |c| webhook_queue::table
        .filter(webhook_queue::webhook_id.eq(wanted.webhook))
        .filter(webhook_queue::due_at.between(from, to))
        .filter(webhook_queue::by_hand.or(not(exists(waits_for))))
        .order((webhook_queue::due_at, webhook_queue::id))
        .limit(room)
        .select(webhook_queue::id)
        .load(c))?)
}

/// Records an attempt and what comes after it: again at `again`, or never. Does nothing when the claim has passed to
/// another worker; returns whether it was ours.
pub fn settle(
    tx: &mut Tx<'_>,
    event: &QueuedEvent,
    (attempt, again): (&Delivery, Option<Timestamp>),
) -> Result<bool, Error> {
    let ours = webhook_queue::table.find(event.id).filter(webhook_queue::claim.eq(event.claim));
    let found = match again {
        Some(at) => {
            let change = (webhook_queue::due_at.eq(at), webhook_queue::claim.eq(None::<DeliveryId>));
            on!(tx.conn(), |c| diesel::update(ours).set(change).execute(c))?
        }
        None => on!(tx.conn(), |c| diesel::delete(ours).execute(c))?,
    };
    if found == 1 {
        on!(tx.conn(), |c| diesel::insert_into(webhook_deliveries::table).values(attempt).execute(c))?;
    }
    Ok(found == 1)
}

/// Attempts to deliver to one webhook, the latest first, from before `before`.
pub fn log(
    conn: &mut Conn,
    webhook: WebhookId,
    (before, limit): (Option<DeliveryId>, i64),
) -> Result<Vec<Delivery>, Error> {
    let before = before.unwrap_or(DeliveryId(uuid::Uuid::max()));
    Ok(on!(conn, |c| webhook_deliveries::table
        .filter(webhook_deliveries::webhook_id.eq(webhook))
        .filter(webhook_deliveries::id.lt(before))
        .order(webhook_deliveries::id.desc())
        .limit(limit)
        .select(Delivery::as_select())
        .load(c))?)
}

/// One attempt of one webhook.
pub fn find_delivery(conn: &mut Conn, webhook: WebhookId, id: DeliveryId) -> Result<Option<Delivery>, Error> {
    Ok(on!(conn, |c| webhook_deliveries::table
        .find(id)
        .filter(webhook_deliveries::webhook_id.eq(webhook))
        .select(Delivery::as_select())
        .get_result(c)
        .optional())?)
}

/// How many events wait, and since when the oldest.
pub fn waiting(conn: &mut Conn) -> Result<(i64, Option<Timestamp>), Error> {
    Ok(on!(conn, |c| webhook_queue::table
        .select((diesel::dsl::count_star(), diesel::dsl::min(webhook_queue::created_at)))
        .get_result(c))?)
}

/// Deletes attempts from before `before`, and all but the latest `keep` of each webhook; and events for webhooks
/// that are gone or switched off, which an instance wrote before it knew.
pub fn sweep(tx: &mut Tx<'_>, (now, before): (Timestamp, Timestamp), keep: i64) -> Result<(), Error> {
    let old = webhook_deliveries::table.filter(webhook_deliveries::at.lt(before));
    on!(tx.conn(), |c| diesel::delete(old).execute(c))?;
    let ids: Vec<WebhookId> =
        on!(tx.conn(), |c| webhook_deliveries::table.select(webhook_deliveries::webhook_id).distinct().load(c))?;
    for id in ids {
        let of_this = webhook_deliveries::webhook_id.eq(id);
        let last: Option<DeliveryId> = on!(tx.conn(), |c| webhook_deliveries::table
            .filter(of_this)
            .order(webhook_deliveries::id.desc())
            .offset(keep)
            .limit(1)
            .select(webhook_deliveries::id)
            .get_result(c)
            .optional())?;
        if let Some(last) = last {
            let surplus = webhook_deliveries::table.filter(of_this).filter(webhook_deliveries::id.le(last));
            on!(tx.conn(), |c| diesel::delete(surplus).execute(c))?;
        }
    }
    let wanting: Vec<WebhookId> =
        on!(tx.conn(), |c| webhooks::table.filter(webhooks::enabled).select(webhooks::id).load(c))?;
    let stray = webhook_queue::table
        .filter(webhook_queue::webhook_id.ne_all(&wanting))
        .filter(webhook_queue::by_hand.eq(false))
        .filter(webhook_queue::created_at.lt(now.minus(SETTLED)));
    on!(tx.conn(), |c| diesel::delete(stray).execute(c))?;
    Ok(())
}
