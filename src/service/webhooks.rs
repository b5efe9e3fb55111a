//! Webhooks: made, changed, removed, and told of what happens. The address and the secrets of one lie sealed together: the
//! address of a chat is a secret, too. Which of them want an event is known in memory, so that a comment costs nothing
//! when nobody listens.

use std::sync::Arc;
use std::time::Duration;

use arc_swap::ArcSwap;
use serde::{Deserialize, Serialize};

use super::Service;
use crate::domain::comment::{Action, Status, Via};
use crate::domain::ids::{DeliveryId, EventId, SiteId, WebhookId};
use crate::domain::time::Timestamp;
use crate::domain::webhook::{EventType, Format};
use crate::error::Error;
use crate::keys::{Keys, Place, Sealer, new_webhook_secret};
use crate::storage::comments::Comment;
use crate::storage::events::NewEvent;
use crate::storage::webhook_queue::{self, BY_HAND_DUE, Delivery, QueuedEvent};
use crate::storage::webhooks::{self, Webhook, events_json};
use crate::storage::{Tx, meta};

/// How long the former secret signs beside the new one.
const FORMER_SIGNS: Duration = Duration::from_hours(24);

/// Each event is written once for each webhook that wants it, so there is an end to them.
const MOST: i64 = 50;

/// Who wants which events.
#[derive(Debug, Clone)]
struct Subscriber {
    webhook: WebhookId,
    site: Option<SiteId>,
    events: Vec<EventType>,
}

/// A picture of the webhooks at one moment.
#[derive(Default)]
struct Snapshot {
    /// There is one, on or off.
    any: bool,
    subscribers: Vec<Subscriber>,
}

/// The webhooks that are switched on, in memory. Reading takes no lock.
#[derive(Default)]
pub struct WebhookDirectory(ArcSwap<Snapshot>);

impl WebhookDirectory {
    /// From now on these.
    pub(super) fn set(&self, webhooks: &[Webhook]) {
        let enabled = webhooks.iter().filter(|webhook| webhook.enabled);
        let subscriber =
            |webhook: &Webhook| Subscriber { webhook: webhook.id, site: webhook.site_id, events: webhook.events() };
        let snapshot = Snapshot { any: !webhooks.is_empty(), subscribers: enabled.map(subscriber).collect() };
        self.0.store(Arc::new(snapshot));
    }

    /// Whether there is no webhook at all, and so nothing to do for any.
    pub fn is_empty(&self) -> bool {
        !self.0.load().any
    }
}

/// What lies sealed.
#[derive(Clone, Serialize, Deserialize)]
pub struct Private {
    /// The receiver's address.
    pub url: String,
    /// What messages are signed with.
    pub secret: String,
    /// What they were signed with before the last rotation.
    pub former: Option<String>,
}

/// A webhook, and its address if it can be read.
pub struct Opened {
    /// As it is stored.
    pub webhook: Webhook,
    /// None when it does not open: see `afterword doctor`.
    pub private: Option<Private>,
}

/// A webhook to be made.
#[derive(Debug, Clone)]
pub struct NewWebhook {
    /// Only events of this site; none: of all.
    pub site: Option<SiteId>,
    /// The receiver's address, already looked at.
    pub url: String,
    /// Which events.
    pub events: Vec<EventType>,
    /// The JSON that the receiver reads.
    pub format: Format,
    /// Whether addresses of authors are told.
    pub include_email: bool,
}

/// What is to be changed of a webhook; none leaves it.
#[derive(Debug, Clone, Default)]
#[expect(missing_docs, reason = "as in NewWebhook")]
pub struct WebhookPatch {
    pub url: Option<String>,
    pub events: Option<Vec<EventType>>,
    pub format: Option<Format>,
    pub include_email: Option<bool>,
    /// Switching it on forgets how it was doing.
    pub enabled: Option<bool>,
}

/// Where the private part of a webhook lies.
pub fn webhook_place(id: &WebhookId) -> Place<'_> {
    Place { column: "webhooks.private", row: id.as_bytes() }
}

impl Private {
    fn seal(&self, id: WebhookId, sealer: &Sealer) -> Result<Vec<u8>, Error> {
        sealer.seal(webhook_place(&id), &serde_json::to_vec(self).map_err(Error::internal)?)
    }
}

/// What seals now; inside the transaction, for whose end a rotation waits.
fn sealer(tx: &mut Tx<'_>, keys: &Keys) -> Result<Sealer, Error> {
    match meta::get(tx.conn(), meta::KEY_CHECK)? {
        Some(used) => keys.sealer_of(&used),
        None => keys.sealer(),
    }
}

impl Service {
    /// Writes an entry of the event log, and for each webhook that wants it a message: the one way in which anything is
    /// logged about a comment, as it was before.
    pub(super) fn record(&self, tx: &mut Tx<'_>, comment: &Comment, event: NewEvent) {
        let known = self.webhooks.0.load();
        // An arrival on which a rule decided at once is told by that decision alone.
        let decides = event.action != Action::Submitted || event.to_status == Some(comment.status);
        if let Some(kind) = EventType::of(event.action, event.to_status).filter(|_| decides) {
            let wanting = known.subscribers.iter().filter(|subscriber| {
                subscriber.events.contains(&kind) && subscriber.site.is_none_or(|site| site == event.site_id)
            });
            for subscriber in wanting {
                tx.enqueue_for_webhook(self.queued(subscriber.webhook, comment, (kind, &event)));
            }
        }
        self.news_of(tx, comment, &event);
        tx.log(event);
    }

    fn queued(&self, webhook: WebhookId, comment: &Comment, (kind, event): (EventType, &NewEvent)) -> QueuedEvent {
        // Also when a rule decided on it at once: then it is stored as decided, in its first version.
        let ruled = event.via == Via::Rule
            && event.from_status == Some(Status::Pending)
            && event.to_status == Some(comment.status);
        let arrives = event.action == Action::Submitted || (ruled && comment.version == 1);
        QueuedEvent {
            id: DeliveryId(self.ids.next()),
            webhook_id: webhook,
            event_id: event.id,
            event: kind,
            event_at: event.at,
            site_id: Some(comment.site_id),
            article_id: Some(comment.article_id),
            comment_id: Some(comment.id),
            comment_status: event.to_status.filter(|status| *status != Status::Removed),
            // Every change raises the version, so this is the order of events whatever the clocks of instances say.
            comment_version: comment.version + i64::from(!arrives),
            by_hand: false,
            due_at: event.at,
            claim: None,
            attempts: 0,
            created_at: event.at,
        }
    }

    /// The private part of a webhook.
    pub fn webhook_private(&self, webhook: &Webhook) -> Result<Private, Error> {
        let plain = self.keys.open(webhook_place(&webhook.id), &webhook.private_sealed)?;
        serde_json::from_slice(&plain).map_err(Error::internal)
    }

    fn open_webhook(&self, webhook: Webhook) -> Opened {
        let private = self.webhook_private(&webhook).inspect_err(|error| {
            tracing::warn!(webhook = %webhook.id, cause = error.inside(), "a webhook cannot be read: see afterword doctor");
        });
        Opened { private: private.ok(), webhook }
    }

    /// A page of webhooks, the oldest first: those after `after`, at most `rows`.
    pub async fn webhooks_after(&self, after: Option<WebhookId>, rows: i64) -> Result<Vec<Opened>, Error> {
        let page = self.db.read(move |conn| webhooks::page(conn, after, rows)).await?;
        Ok(page.into_iter().map(|webhook| self.open_webhook(webhook)).collect())
    }

    /// One webhook.
    pub async fn webhook(&self, id: WebhookId) -> Result<Opened, Error> {
        let found = self.db.read(move |conn| webhooks::find(conn, id)).await?;
        found.map(|webhook| self.open_webhook(webhook)).ok_or(Error::NotFound)
    }

    /// Makes a webhook. [`Error::Conflict`] when there are too many.
    pub async fn add_webhook(&self, new: NewWebhook) -> Result<Opened, Error> {
        let mut webhook = Webhook {
            id: WebhookId(self.ids.next()),
            site_id: new.site,
            format: new.format,
            events: events_json(&new.events)?,
            include_email: new.include_email,
            private_sealed: Vec::new(),
            former_until: None,
            enabled: true,
            disabled_reason: None,
            failures: 0,
            failing_since: None,
            resume_at: None,
            created_at: self.clock.now(),
        };
        let (keys, id) = (self.keys.clone(), webhook.id);
        let private = Private { url: new.url, secret: new_webhook_secret()?, former: None };
        self.db
            .write(move |tx| {
                webhook.private_sealed = private.seal(id, &sealer(tx, &keys)?)?;
                webhooks::insert(tx, &webhook, MOST)
            })
            .await?;
        self.refresh_sites().await?;
        self.webhook(id).await
    }

    /// Changes a webhook in a transaction. [`Error::KeyMissing`] and the like when its private part does not open.
    async fn change_webhook(
        &self,
        id: WebhookId,
        change: impl Fn(&mut Webhook, &mut Private) -> Result<(), Error> + Send + 'static,
    ) -> Result<Opened, Error> {
        let keys = self.keys.clone();
        self.db
            .write(move |tx| {
                let sealer = sealer(tx, &keys)?;
                // One change of settings at a time: what is read here is what is written below.
                meta::touch_settings(tx)?;
                let mut webhook = webhooks::find(tx.conn(), id)?.ok_or(Error::NotFound)?;
                let plain = keys.open(webhook_place(&id), &webhook.private_sealed)?;
                let mut private: Private = serde_json::from_slice(&plain).map_err(Error::internal)?;
                change(&mut webhook, &mut private)?;
                webhook.private_sealed = private.seal(id, &sealer)?;
                webhooks::update(tx, &webhook)
            })
            .await?;
        self.refresh_sites().await?;
        self.webhook(id).await
    }

    /// Changes what a webhook is told, and where.
    pub async fn patch_webhook(&self, id: WebhookId, patch: WebhookPatch) -> Result<Opened, Error> {
        self.change_webhook(id, move |webhook, private| {
            if let Some(url) = &patch.url {
                private.url.clone_from(url);
            }
            if let Some(events) = &patch.events {
                webhook.events = events_json(events)?;
            }
            webhook.format = patch.format.unwrap_or(webhook.format);
            webhook.include_email = patch.include_email.unwrap_or(webhook.include_email);
            if let Some(enabled) = patch.enabled {
                webhook.enabled = enabled;
                (webhook.disabled_reason, webhook.failures) = (None, 0);
                (webhook.failing_since, webhook.resume_at) = (None, None);
            }
            Ok(())
        })
        .await
    }

    /// Gives a webhook a new secret. The former one signs as well for a day.
    pub async fn rotate_webhook_secret(&self, id: WebhookId) -> Result<Opened, Error> {
        let (secret, until) = (new_webhook_secret()?, self.clock.now().plus(FORMER_SIGNS));
        self.change_webhook(id, move |webhook, private| {
            // Nothing outside the transaction changes: it may be run again.
            private.former = Some(std::mem::replace(&mut private.secret, secret.clone()));
            webhook.former_until = Some(until);
            Ok(())
        })
        .await
    }

    /// Removes a webhook, what waits for it, and its log.
    pub async fn remove_webhook(&self, id: WebhookId) -> Result<(), Error> {
        self.db.write(move |tx| webhooks::remove(tx, id)).await?;
        self.refresh_sites().await
    }

    /// Attempts to deliver, the latest first.
    pub async fn deliveries(
        &self,
        id: WebhookId,
        (before, limit): (Option<DeliveryId>, i64),
    ) -> Result<Vec<Delivery>, Error> {
        self.db
            .read(move |conn| {
                webhooks::find(conn, id)?.ok_or(Error::NotFound)?;
                webhook_queue::log(conn, id, (before, limit))
            })
            .await
    }

    /// Sends a ping, once; also to a webhook that is switched off. Returns the id that it carries.
    pub async fn ping_webhook(&self, id: WebhookId) -> Result<EventId, Error> {
        let (event, now) = (EventId(self.ids.next()), self.clock.now());
        let ping = QueuedEvent {
            id: DeliveryId(self.ids.next()),
            webhook_id: id,
            event_id: event,
            event: EventType::Ping,
            event_at: now,
            site_id: None,
            article_id: None,
            comment_id: None,
            comment_status: None,
            comment_version: 0,
            by_hand: true,
            due_at: BY_HAND_DUE,
            claim: None,
            attempts: 0,
            created_at: now,
        };
        self.queue_by_hand(ping).await?;
        Ok(event)
    }

    /// Sends an event again, once, under the id that it had. Returns that id.
    pub async fn replay_delivery(&self, id: WebhookId, delivery: DeliveryId) -> Result<EventId, Error> {
        let found = self.db.read(move |conn| webhook_queue::find_delivery(conn, id, delivery)).await?;
        let (delivery, now) = (found.ok_or(Error::NotFound)?, self.clock.now());
        let again = QueuedEvent {
            id: DeliveryId(self.ids.next()),
            webhook_id: id,
            event_id: delivery.event_id,
            event: delivery.event,
            event_at: delivery.event_at,
            site_id: delivery.site_id,
            article_id: delivery.article_id,
            comment_id: delivery.comment_id,
            comment_status: delivery.comment_status,
            comment_version: 0,
            by_hand: true,
            due_at: BY_HAND_DUE,
            claim: None,
            attempts: 0,
            created_at: now,
        };
        self.queue_by_hand(again).await?;
        Ok(delivery.event_id)
    }

    async fn queue_by_hand(&self, event: QueuedEvent) -> Result<(), Error> {
        self.db
            .write(move |tx| {
                webhooks::find(tx.conn(), event.webhook_id)?.ok_or(Error::NotFound)?;
                tx.enqueue_for_webhook(event.clone());
                Ok(())
            })
            .await
    }

    /// The secrets that sign at a moment, the current one first.
    pub fn signing_secrets<'a>(webhook: &Webhook, private: &'a Private, now: Timestamp) -> Vec<&'a str> {
        let former = private.former.as_deref().filter(|_| webhook.former_until.is_some_and(|until| now < until));
        std::iter::once(private.secret.as_str()).chain(former).collect()
    }
}
