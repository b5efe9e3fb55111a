//! Events leave for webhooks: claimed, put into words, signed, sent, settled. A claim that is not settled runs out and the
//! event is sent again under the same id. The events of one comment go one after the other, a webhook gets two at a time,
//! and one that fails gets one, after a pause.

mod chat;
mod message;
mod switched_off;
mod verdict;

use std::sync::Arc;
use std::time::Duration;

use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

use self::verdict::Verdict;
use super::retry::random_share;
use super::{TICK, Worker};
use crate::domain::ids::DeliveryId;
use crate::domain::webhook::{Delivered, Format};
use crate::error::Error;
use crate::keys::{Signed, webhook_signatures};
use crate::outbound::{Answer, Post, Unanswered};
use crate::service::Service;
use crate::storage::webhook_queue::{self, Claim, Delivery, QueuedEvent};
use crate::storage::webhooks::{self, Webhook};

/// How long a claim lasts: three times what an attempt may take. What a process that died was sending is due again then.
const CLAIM: Duration = Duration::from_secs(30);

/// Events on their way at once.
pub(super) const AT_ONCE: usize = 8;

/// Of these, events for webhooks that are failing: they must not keep those that are well waiting.
const AT_ONCE_FAILING: usize = 4;

/// Why an attempt brought no answer.
#[derive(Debug, thiserror::Error)]
pub(super) enum AttemptError {
    #[error(transparent)]
    Unanswered(#[from] Unanswered),
    #[error(transparent)]
    Core(#[from] Error),
}

impl Worker {
    /// Delivers events until it is told to stop, then ends what it has begun.
    pub(super) async fn keep_delivering(self: &Arc<Self>, stop: &CancellationToken) {
        let mut on_their_way = JoinSet::new();
        while !stop.is_cancelled() {
            while on_their_way.try_join_next().is_some() {}
            let room = AT_ONCE.saturating_sub(on_their_way.len());
            let events = self.claim_events(room).await.unwrap_or_else(|error| {
                tracing::warn!(%error, "events for webhooks could not be claimed");
                Vec::new()
            });
            for (event, webhook) in events {
                let worker = self.clone();
                on_their_way.spawn(async move { worker.deliver_and_settle(event, webhook).await });
            }
            // The end of one lets the next of its webhook or its comment go.
            tokio::select! {
                () = stop.cancelled() => {}
                _ = on_their_way.join_next(), if !on_their_way.is_empty() => {}
                () = self.events_are_due.notified(), if on_their_way.len() < AT_ONCE => {}
                () = tokio::time::sleep(TICK), if on_their_way.len() < AT_ONCE => {}
            }
        }
        while on_their_way.join_next().await.is_some() {}
    }

    /// Claims events that are due, at most `room`.
    pub(super) async fn claim_events(&self, room: usize) -> Result<Vec<(QueuedEvent, Webhook)>, Error> {
        if room == 0 || self.service.webhooks.is_empty() {
            return Ok(Vec::new());
        }
        let now = self.service.clock.now();
        let claim = Claim {
            id: DeliveryId(self.service.ids.next()),
            now,
            until: now.plus(CLAIM),
            limit: room,
            failing: room.saturating_sub(AT_ONCE - AT_ONCE_FAILING),
        };
        self.service.db.write(move |tx| webhook_queue::claim(tx, &claim)).await
    }

    /// Sends one event to one webhook and records how that ended.
    pub(super) async fn deliver_and_settle(&self, event: QueuedEvent, webhook: Webhook) {
        let begun = self.service.clock.monotonic();
        let answer = self.attempt(&event, &webhook).await;
        let took = self.service.clock.monotonic().saturating_sub(begun);
        let verdict = Verdict::of(&event, &webhook, (answer, self.service.clock.now(), random_share()));
        self.metrics.webhook(verdict.result);
        let (id, hook, attempts, why) = (event.event_id, webhook.id, event.attempts, verdict.error.clone());
        match verdict.result {
            Delivered::Done => tracing::debug!(event = %id, webhook = %hook, "an event is delivered"),
            Delivered::Later => {
                tracing::info!(event = %id, webhook = %hook, attempts, why, "an event is sent again later");
            }
            Delivered::GivenUp => tracing::warn!(event = %id, webhook = %hook, attempts, why, "an event is given up"),
        }
        if let Err(error) = self.settle_event(event, verdict, took).await {
            // The claim runs out and the event is sent again, under the same id.
            tracing::warn!(event = %id, webhook = %hook, %error, "a sent event could not be marked");
        }
    }

    async fn attempt(&self, event: &QueuedEvent, webhook: &Webhook) -> Result<Answer, AttemptError> {
        let private = self.service.webhook_private(webhook)?;
        let body = self.body(event, webhook).await?;
        let (id, now) = (event.event_id.to_string(), self.service.clock.now());
        let timestamp = now.0.div_euclid(1_000_000);
        let secrets = Service::signing_secrets(webhook, &private, now);
        let signature = webhook_signatures(&secrets, Signed { id: &id, timestamp, body: &body })?;
        let headers =
            vec![("webhook-id", id), ("webhook-timestamp", timestamp.to_string()), ("webhook-signature", signature)];
        // Nobody checks a signature in a chat, and its operator need not learn ours.
        let headers = if webhook.format == Format::Standard { headers } else { Vec::new() };
        Ok(self.outbound.post(Post { url: private.url, headers, body }).await?)
    }

    async fn settle_event(&self, event: QueuedEvent, verdict: Verdict, took: Duration) -> Result<(), Error> {
        let service = self.service.clone();
        let attempt = Delivery {
            id: DeliveryId(service.ids.next()),
            webhook_id: event.webhook_id,
            event_id: event.event_id,
            event: event.event,
            event_at: event.event_at,
            site_id: event.site_id,
            article_id: event.article_id,
            comment_id: event.comment_id,
            comment_status: event.comment_status,
            attempt: event.attempts,
            result: verdict.result,
            status_code: verdict.status_code,
            error: verdict.error.clone(),
            duration_ms: i64::try_from(took.as_millis()).unwrap_or(i64::MAX),
            at: verdict.at,
        };
        let was_switched_off = self
            .service
            .db
            .write(move |tx| {
                if !webhook_queue::settle(tx, &event, (&attempt, verdict.again))? {
                    return Ok(false);
                }
                if verdict.result == Delivered::Done {
                    webhooks::recovered(tx, event.webhook_id)?;
                    return Ok(false);
                }
                if event.by_hand {
                    // Somebody tries something out; how the webhook is doing is another matter.
                    return Ok(false);
                }
                let failing = webhooks::failed(tx, event.webhook_id, (verdict.at, verdict.resume_at))?;
                let reason = failing.as_ref().and_then(|webhook| verdict.reason_to_switch_off(webhook));
                match (failing.filter(|webhook| webhook.enabled), reason) {
                    (Some(webhook), Some(reason)) => {
                        switched_off::switch_off(tx, &service, (webhook, reason, verdict.at)).map(|()| true)
                    }
                    _ => Ok(false),
                }
            })
            .await?;
        if was_switched_off { self.service.refresh_sites().await } else { Ok(()) }
    }
}
