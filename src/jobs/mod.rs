//! What happens after a commit. Three loops share the work: one finds out who must be told of new comments, another claims
//! mails that are due, sends them, and settles them: done, again later with growing pauses, or given up visibly. The third
//! does the same with events for webhooks. One file per kind of job. A crash loses nothing: a claim that is not settled runs out and the row is due again.

mod account_links;
mod ceiling;
pub mod housekeeping;
mod moderator_mail;
mod person_mail;
mod retry;
mod tell_moderators;
mod tell_people;
mod webhooks;

use std::sync::Arc;
use std::time::Duration;

use lettre::message::Mailbox;
use tokio::sync::Notify;
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

use self::ceiling::Ceiling;
use self::retry::{Sent, outcome, random_share};
use crate::config::Config;
use crate::domain::ids::OutboxId;
use crate::error::Error;
use crate::mail::Mailer;
use crate::mail::templates::Templates;
use crate::metrics::{MailResult, Metrics};
use crate::outbound::Outbound;
use crate::service::Service;
use crate::storage::mails::{MAILS, TO_STRANGERS};
use crate::storage::outbox::{self, Claim, Kind, OutboxRow, Outcome};
use crate::storage::sign_in::Purpose;

/// How long a claim lasts (contract §5); sending a mail is given up before.
const CLAIM: Duration = Duration::from_mins(1);

/// The outbox is looked at this often even when nobody told of new work (another process may have left some).
const TICK: Duration = Duration::from_secs(1);

/// New work waits this long for more of its kind (the contract leaves two seconds until the first attempt), so that comments
/// that come one at a time do not bring a transaction of ours each, which would stand in the way of the next submission.
const GATHER: Duration = Duration::from_millis(100);

/// Mails on their way at once: one slow recipient must not hold up the others.
const MAILS_AT_ONCE: usize = 8;

/// Everything that jobs work with.
pub struct Worker {
    service: Arc<Service>,
    mailer: Mailer,
    templates: Templates,
    metrics: Arc<Metrics>,
    from: Mailbox,
    public_url: String,
    hourly_ceiling: usize,
    mails_are_due: Notify,
    outbound: Outbound,
    events_are_due: Notify,
}

impl Worker {
    /// A worker with the settings' mailer.
    pub fn new(service: Arc<Service>, mailer: Mailer, metrics: Arc<Metrics>, config: &Config) -> Result<Self, Error> {
        let outbound = Outbound::new(service.rules.reach.clone());
        Ok(Self {
            service,
            mailer,
            metrics,
            templates: Templates::new(&config.mail.templates)?,
            from: config.mail.from.parse().map_err(Error::internal)?,
            public_url: config.server.public_url.clone(),
            hourly_ceiling: config.mail.hourly_ceiling,
            mails_are_due: Notify::new(),
            outbound,
            events_are_due: Notify::new(),
        })
    }

    /// Works until it is told to stop, then finishes what it has begun.
    pub async fn run(self: Arc<Self>, stop: CancellationToken) {
        tokio::join!(self.keep_spreading(&stop), self.keep_sending(&stop), self.keep_delivering(&stop));
    }

    /// Does everything that is due now, one after the other; for tests and for the command line.
    pub async fn run_once(&self) -> Result<usize, Error> {
        let mut done = 0;
        loop {
            let spread = self.spread().await? + self.spread_news().await?;
            let (claimed, rows) = self.claim(MAILS_AT_ONCE).await?;
            let events = self.claim_events(webhooks::AT_ONCE).await?;
            if spread == 0 && claimed == 0 && events.is_empty() {
                return Ok(done);
            }
            done += rows.len() + events.len();
            for row in rows {
                self.send_and_settle(row).await;
            }
            for (event, webhook) in events {
                self.deliver_and_settle(event, webhook).await;
            }
        }
    }

    async fn keep_spreading(&self, stop: &CancellationToken) {
        while !stop.is_cancelled() {
            let taken = self.spread().await.unwrap_or_else(|error| {
                tracing::warn!(%error, "the outbox could not be read");
                0
            });
            let news = self.spread_news().await.unwrap_or_else(|error| {
                tracing::warn!(%error, "the outbox could not be read");
                0
            });
            if taken + news > 0 {
                self.mails_are_due.notify_one();
            }
            if taken == tell_moderators::AT_ONCE || news == tell_people::AT_ONCE {
                continue;
            }
            tokio::select! {
                () = stop.cancelled() => {}
                () = tokio::time::sleep(TICK) => {}
                () = async {
                    self.service.db.outbox_has_work().notified().await;
                    self.events_are_due.notify_one();
                    tokio::time::sleep(GATHER).await;
                } => {}
            }
        }
    }

    async fn keep_sending(self: &Arc<Self>, stop: &CancellationToken) {
        let mut on_their_way = JoinSet::new();
        while !stop.is_cancelled() {
            while on_their_way.try_join_next().is_some() {}
            let room = MAILS_AT_ONCE.saturating_sub(on_their_way.len());
            let (claimed, rows) = self.claim(room).await.unwrap_or_else(|error| {
                tracing::warn!(%error, "the outbox could not be claimed");
                (0, Vec::new())
            });
            for row in rows {
                let worker = self.clone();
                on_their_way.spawn(async move { worker.send_and_settle(row).await });
            }
            let is_full = on_their_way.len() >= MAILS_AT_ONCE;
            if claimed == room && !is_full {
                // Some were folded into summaries; more may be due.
                continue;
            }
            tokio::select! {
                () = stop.cancelled() => {}
                _ = on_their_way.join_next(), if is_full => {}
                () = self.mails_are_due.notified(), if !is_full => {}
                () = tokio::time::sleep(TICK), if !is_full => {}
            }
        }
        while on_their_way.join_next().await.is_some() {}
    }

    /// Claims mails that are due. Returns how many, and those of them that may leave within the hourly ceiling.
    async fn claim(&self, limit: usize) -> Result<(usize, Vec<OutboxRow>), Error> {
        let (service, ceiling, now) = (self.service.clone(), self.hourly_ceiling, self.service.clock.now());
        let claim = Claim {
            id: OutboxId(self.service.ids.next()),
            kinds: MAILS,
            now,
            until: now.plus(CLAIM),
            limit: i64::try_from(limit).unwrap_or(i64::MAX),
        };
        self.service
            .db
            .write(move |tx| {
                let rows = outbox::claim(tx, &claim)?;
                let claimed = rows.len();
                Ok((claimed, Ceiling::new(&service, ceiling, now).lets_leave(tx, &claim, rows)?))
            })
            .await
    }

    /// Sends the mail of one row and records how that ended.
    async fn send_and_settle(&self, row: OutboxRow) {
        let id = row.id;
        let sent = match row.kind {
            Kind::MailModerator => self.mail_moderator(&row).await,
            Kind::MailDigest => self.mail_digest(&row).await,
            Kind::MailWebhookOff => self.mail_webhook_off(&row).await,
            Kind::MailInvitation => self.mail_link(&row, Purpose::Invitation).await,
            Kind::MailReset => self.mail_link(&row, Purpose::Reset).await,
            Kind::MailConfirm | Kind::MailApproval | Kind::MailReply | Kind::MailGathered => self.mail_news(&row).await,
            Kind::MailPersonLink => self.mail_person_link(&row).await,
            Kind::TellModerators | Kind::TellPeople => Ok(Sent::Nothing),
        };
        let now = self.service.clock.now();
        let outcome = outcome(&row, sent, now, random_share());
        if let Some(result) = mail_result(&outcome) {
            self.metrics.mail(result);
        }
        match &outcome {
            Outcome::Done => tracing::debug!(outbox = %id, "a mail is sent"),
            Outcome::Needless => tracing::debug!(outbox = %id, "a mail is not needed any more"),
            Outcome::Again(_, why) => {
                tracing::warn!(outbox = %id, attempts = row.attempts, why, "a mail is sent again later");
            }
            Outcome::GivenUp(why) => tracing::error!(outbox = %id, attempts = row.attempts, why, "a mail is given up"),
        }
        // Whoever typed an address waits no more, and sent again at one click such mails would pass their ceilings.
        let is_lost = matches!(outcome, Outcome::GivenUp(_)) && TO_STRANGERS.contains(&row.kind);
        let outcome = if is_lost { Outcome::Needless } else { outcome };
        let settled = self.service.db.write(move |tx| outbox::settle(tx, &row, now, &outcome)).await;
        if let Err(error) = settled {
            // The claim runs out and the mail is sent again, with the same Message-ID.
            tracing::warn!(outbox = %id, %error, "a sent mail could not be marked");
        }
    }
}

/// What is counted of an outcome; a mail that was not needed was no attempt.
fn mail_result(outcome: &Outcome) -> Option<MailResult> {
    match outcome {
        Outcome::Done => Some(MailResult::Sent),
        Outcome::Again(..) => Some(MailResult::Later),
        Outcome::GivenUp(_) => Some(MailResult::GivenUp),
        Outcome::Needless => None,
    }
}
