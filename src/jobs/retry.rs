//! How a row ends after an attempt: done, again later with growing pauses, or given up visibly. What is worth another try
//! depends on whose words the refusal speaks of: a recipient that does not exist never will; everything else may be a bad
//! minute of the mail server or a setting that somebody is about to mend.

use std::time::Duration;

use crate::domain::time::Timestamp;
use crate::error::Error;
use crate::mail::SendError;
use crate::storage::outbox::{OutboxRow, Outcome};

/// The first retry comes within ten seconds; pauses double up to an hour.
const FIRST_PAUSE: Duration = Duration::from_secs(9);
const LONGEST_PAUSE: Duration = Duration::from_hours(1);

/// After this a mail, or an event for a webhook, is given up. A mail stays listed as failed.
pub(super) const GIVE_UP_AFTER: Duration = Duration::from_hours(3 * 24);

/// So long a mail is tried again that the server refuses for good (5xx).
const REFUSED_FOR: Duration = Duration::from_hours(4);

/// Begins what is kept of such a refusal, so that the next attempt knows of it.
const REFUSED: &str = "refused: ";

/// What an attempt came to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Sent {
    /// A mail left.
    Left,
    /// There was nothing to tell (any more).
    Nothing,
}

/// Why a job did not succeed.
#[derive(Debug, thiserror::Error)]
pub(super) enum JobError {
    #[error(transparent)]
    Mail(#[from] SendError),
    #[error(transparent)]
    Core(#[from] Error),
}

/// How a row ends after an attempt. `share` is between 0 and 1: how much of the pause's random part is left out.
pub(super) fn outcome(row: &OutboxRow, sent: Result<Sent, JobError>, now: Timestamp, share: f64) -> Outcome {
    let at = now.plus(pause(row.attempts, share));
    let words = match sent {
        Ok(Sent::Left) => return Outcome::Done,
        Ok(Sent::Nothing) => return Outcome::Needless,
        Err(JobError::Mail(SendError::NoRecipient(words))) => return Outcome::GivenUp(words),
        Err(JobError::Mail(SendError::Refused(words))) => {
            // A mail that waited for a server that was away must not go at that server's first bad minute.
            let again = row.last_error.as_deref().is_some_and(|last| last.starts_with(REFUSED));
            let words = format!("{REFUSED}{words}");
            if again && now.since(row.created_at) >= REFUSED_FOR {
                return Outcome::GivenUp(words);
            }
            words
        }
        Err(JobError::Mail(SendError::Later(words))) => words,
        Err(JobError::Core(error @ (Error::Internal(_) | Error::KeyMissing(_)))) => error.inside(),
        Err(JobError::Core(error)) => error.to_string(),
    };
    if at.since(row.created_at) >= GIVE_UP_AFTER { Outcome::GivenUp(words) } else { Outcome::Again(at, words) }
}

/// The pause after the n-th attempt: doubling from nine seconds to an hour, less up to a third, so that mails that failed
/// together do not come back together.
pub(super) fn pause(attempts: i32, share: f64) -> Duration {
    let doublings = u32::try_from(attempts.saturating_sub(1)).unwrap_or(0).min(16);
    let whole = FIRST_PAUSE.saturating_mul(1 << doublings).min(LONGEST_PAUSE);
    whole.mul_f64(1.0 - share.clamp(0.0, 1.0) / 3.0)
}

/// A random number between 0 and 1.
pub(super) fn random_share() -> f64 {
    let mut bytes = [0_u8; 4];
    // Without randomness the pause is whole, which is fine too.
    let _ = getrandom::fill(&mut bytes);
    f64::from(u32::from_le_bytes(bytes)) / f64::from(u32::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::ids::{OutboxId, SiteId};
    use crate::storage::outbox::Kind;
    use uuid::Uuid;

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

    /// Tries a row again and again with one answer; returns after how long and how many attempts it is given up.
    fn given_up_after(answer: fn() -> SendError) -> (Duration, i32) {
        let start = Timestamp(1_767_225_600_000_000);
        let mut row = OutboxRow::new(OutboxId(Uuid::nil()), Kind::MailModerator, SiteId(Uuid::nil()), start);
        let mut now = start;
        loop {
            row.attempts += 1;
            match outcome(&row, Err(answer().into()), now, 0.5) {
                Outcome::Again(at, words) => (now, row.last_error) = (at, Some(words)),
                Outcome::GivenUp(_) => return (now.since(start), row.attempts),
                other => panic!("{other:?}"),
            }
        }
    }

    #[test]
    fn what_is_refused_for_good_is_tried_for_hours_unless_the_recipient_is_wrong() {
        assert_eq!(given_up_after(|| SendError::NoRecipient("550 5.1.1".into())), (Duration::ZERO, 1));
        let (refused, attempts) = given_up_after(|| SendError::Refused("554 no".into()));
        assert!((REFUSED_FOR..REFUSED_FOR + LONGEST_PAUSE).contains(&refused) && attempts > 8, "{refused:?}");
        let (later, _) = given_up_after(|| SendError::Later("451 later".into()));
        assert!((GIVE_UP_AFTER.saturating_sub(LONGEST_PAUSE)..GIVE_UP_AFTER).contains(&later), "{later:?}");
    }

    #[test]
    fn one_bad_minute_after_a_long_outage_gives_nothing_up() {
        let start = Timestamp(1_767_225_600_000_000);
        let mut row = OutboxRow::new(OutboxId(Uuid::nil()), Kind::MailModerator, SiteId(Uuid::nil()), start);
        (row.attempts, row.last_error) = (12, Some("network error: Connection refused".into()));
        let now = start.plus(Duration::from_hours(10));
        let refused = || Err(JobError::Mail(SendError::Refused("554 no".into())));
        let Outcome::Again(at, words) = outcome(&row, refused(), now, 0.0) else { panic!("given up") };
        row.last_error = Some(words);
        assert!(matches!(outcome(&row, refused(), at, 0.0), Outcome::GivenUp(_)), "the second time, an hour later");
    }
}
