//! What happens after a commit: the outbox worker claims rows, does the work, and settles them: done, again later with
//! growing pauses, or given up visibly. One file per kind of job. A crash loses nothing: a claim that is not settled runs
//! out and the row is due again.

pub mod housekeeping;
mod moderator_mail;
mod tell_moderators;

use std::sync::Arc;
use std::time::Duration;

use lettre::message::Mailbox;
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

use crate::config::Config;
use crate::domain::ids::OutboxId;
use crate::domain::time::Timestamp;
use crate::error::Error;
use crate::mail::templates::Templates;
use crate::mail::{Mailer, SendError};
use crate::service::Service;
use crate::storage::outbox::{self, Claim, Kind, OutboxRow, Outcome};

/// How long a claim lasts (contract §5); sending a mail is given up before.
const CLAIM: Duration = Duration::from_mins(1);

/// The outbox is looked at this often even when nobody told of new work (another process may have left some).
const TICK: Duration = Duration::from_secs(1);

/// Mails on their way at once: one slow recipient must not hold up the others.
const MAILS_AT_ONCE: usize = 8;

/// The first retry comes within ten seconds; pauses double up to an hour.
const FIRST_PAUSE: Duration = Duration::from_secs(9);
const LONGEST_PAUSE: Duration = Duration::from_hours(1);

/// After this a mail is given up, and stays listed as failed.
const GIVE_UP_AFTER: Duration = Duration::from_hours(3 * 24);

/// Everything that jobs work with.
pub struct Worker {
    service: Arc<Service>,
    mailer: Mailer,
    templates: Templates,
    from: Mailbox,
    public_url: String,
    hourly_ceiling: usize,
}

impl Worker {
    /// A worker with the settings' mailer.
    pub fn new(service: Arc<Service>, mailer: Mailer, config: &Config) -> Result<Self, Error> {
        Ok(Self {
            service,
            mailer,
            templates: Templates::new(&config.mail.templates)?,
            from: config.mail.from.parse().map_err(Error::internal)?,
            public_url: config.server.public_url.clone(),
            hourly_ceiling: config.mail.hourly_ceiling,
        })
    }

    /// Works until it is told to stop, then finishes what it has begun.
    pub async fn run(self: Arc<Self>, stop: CancellationToken) {
        let mut on_their_way = JoinSet::new();
        while !stop.is_cancelled() {
            if let Err(error) = self.spread().await {
                tracing::warn!(%error, "the outbox could not be read");
            }
            let room = MAILS_AT_ONCE - on_their_way.len();
            match self.claim(&[Kind::MailModerator, Kind::MailDigest], room).await {
                Ok(rows) => {
                    for row in rows {
                        let worker = self.clone();
                        on_their_way.spawn(async move { worker.send_and_settle(row).await });
                    }
                }
                Err(error) => tracing::warn!(%error, "the outbox could not be claimed"),
            }
            let is_full = on_their_way.len() >= MAILS_AT_ONCE;
            tokio::select! {
                () = stop.cancelled() => {}
                Some(_) = on_their_way.join_next(), if !on_their_way.is_empty() => {}
                () = self.service.db.outbox_has_work().notified(), if !is_full => {}
                () = tokio::time::sleep(TICK), if !is_full => {}
            }
        }
        while on_their_way.join_next().await.is_some() {}
    }

    /// Does everything that is due now, one after the other; for tests and for the command line.
    pub async fn run_once(&self) -> Result<usize, Error> {
        let mut done = 0;
        loop {
            let spread = self.spread().await?;
            let rows = self.claim(&[Kind::MailModerator, Kind::MailDigest], MAILS_AT_ONCE).await?;
            if spread == 0 && rows.is_empty() {
                return Ok(done);
            }
            done += rows.len();
            for row in rows {
                self.send_and_settle(row).await;
            }
        }
    }

    async fn claim(&self, kinds: &'static [Kind], limit: usize) -> Result<Vec<OutboxRow>, Error> {
        if limit == 0 {
            return Ok(Vec::new());
        }
        let now = self.service.clock.now();
        let limit = i64::try_from(limit).unwrap_or(i64::MAX);
        let claim = Claim { id: OutboxId(self.service.ids.next()), kinds, now, until: now.plus(CLAIM), limit };
        self.service.db.write(move |tx| outbox::claim(tx, &claim)).await
    }

    /// Sends the mail of one row and records how that ended.
    async fn send_and_settle(&self, row: OutboxRow) {
        let id = row.id;
        let sent = match row.kind {
            Kind::MailModerator => self.mail_moderator(&row).await,
            Kind::MailDigest => self.mail_digest(&row).await,
            Kind::TellModerators => Ok(()),
        };
        let now = self.service.clock.now();
        let outcome = outcome(&row, sent, now);
        match &outcome {
            Outcome::Done => tracing::debug!(outbox = %id, "a mail is sent"),
            Outcome::Again(_, why) => {
                tracing::warn!(outbox = %id, attempts = row.attempts, why, "a mail is sent again later");
            }
            Outcome::GivenUp(why) => tracing::error!(outbox = %id, attempts = row.attempts, why, "a mail is given up"),
        }
        let settled = self.service.db.write(move |tx| outbox::settle(tx, &row, now, &outcome)).await;
        if let Err(error) = settled {
            // The claim runs out and the mail is sent again, with the same Message-ID.
            tracing::warn!(outbox = %id, %error, "a sent mail could not be marked");
        }
    }
}

/// How a row ends after an attempt.
fn outcome(row: &OutboxRow, sent: Result<(), JobError>, now: Timestamp) -> Outcome {
    match sent {
        Ok(()) => Outcome::Done,
        Err(JobError::Mail(SendError::Never(words))) => Outcome::GivenUp(words),
        Err(JobError::Mail(SendError::Later(words))) => again_or_never(row, words, now),
        Err(JobError::Core(Error::Internal(cause))) => again_or_never(row, cause.to_string(), now),
        Err(JobError::Core(error)) => again_or_never(row, error.to_string(), now),
    }
}

/// Why a job did not succeed.
#[derive(Debug, thiserror::Error)]
enum JobError {
    #[error(transparent)]
    Mail(#[from] SendError),
    #[error(transparent)]
    Core(#[from] Error),
}

fn again_or_never(row: &OutboxRow, words: String, now: Timestamp) -> Outcome {
    let pause = pause(row.attempts, random_share());
    if now.plus(pause).since(row.created_at) >= GIVE_UP_AFTER {
        return Outcome::GivenUp(words);
    }
    Outcome::Again(now.plus(pause), words)
}

/// The pause after the n-th attempt: doubling from nine seconds to an hour, less up to a third, so that mails that failed
/// together do not come back together. `share` is between 0 and 1.
fn pause(attempts: i32, share: f64) -> Duration {
    let doublings = u32::try_from(attempts.saturating_sub(1)).unwrap_or(0).min(16);
    let whole = FIRST_PAUSE.saturating_mul(1 << doublings).min(LONGEST_PAUSE);
    whole.mul_f64(1.0 - share.clamp(0.0, 1.0) / 3.0)
}

fn random_share() -> f64 {
    let mut bytes = [0_u8; 4];
    // Without randomness the pause is whole, which is fine too.
    let _ = getrandom::fill(&mut bytes);
    f64::from(u32::from_le_bytes(bytes)) / f64::from(u32::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pauses_grow_from_ten_seconds_to_an_hour() {
        assert!(pause(1, 0.0) < Duration::from_secs(10) && pause(1, 1.0) >= Duration::from_secs(6));
        for attempts in 1..100 {
            assert!(pause(attempts, 0.0) <= LONGEST_PAUSE);
            assert!(pause(attempts + 1, 0.0) >= pause(attempts, 0.0));
        }
        assert_eq!(pause(50, 0.0), LONGEST_PAUSE);
        assert_eq!(pause(i32::MIN, 0.0), FIRST_PAUSE);
        assert!((0.0..=1.0).contains(&random_share()));
    }
}
