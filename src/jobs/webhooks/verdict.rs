//! What an attempt to deliver came to: done, again after a pause, or given up; and what that says of the receiver.

use std::time::Duration;

use super::AttemptError;
use crate::domain::time::Timestamp;
use crate::domain::webhook::Delivered;
use crate::error::Error;
use crate::jobs::retry::{GIVE_UP_AFTER, pause};
use crate::outbound::Answer;
use crate::storage::webhook_queue::QueuedEvent;
use crate::storage::webhooks::Webhook;

/// What a receiver asks for by `Retry-After` is granted up to this.
const LONGEST_ASKED: Duration = Duration::from_hours(1);

/// After failures a webhook as a whole rests for at most this, so that it hears of its recovery soon.
const LONGEST_REST: Duration = Duration::from_mins(1);

/// A webhook is switched off when it has taken nothing for this long,
const SWITCH_OFF_AFTER: Duration = Duration::from_hours(5 * 24);

/// in at least so many attempts: an event a week must not look like a week of failures.
const SWITCH_OFF_ATTEMPTS: i32 = 10;

/// 410 Gone: the receiver wants no more, ever.
const GONE: i32 = 410;

/// How an attempt ended.
#[derive(Debug)]
pub(super) struct Verdict {
    pub result: Delivered,
    /// None without an answer.
    pub status_code: Option<i32>,
    /// In our words.
    pub error: Option<String>,
    pub at: Timestamp,
    /// When the event is sent again, if it is.
    pub again: Option<Timestamp>,
    /// Before this nothing else is sent to the webhook, if it failed.
    pub resume_at: Timestamp,
}

impl Verdict {
    /// `share` is between 0 and 1: how much of the pause's random part is left out.
    pub fn of(
        event: &QueuedEvent,
        webhook: &Webhook,
        (answer, at, share): (Result<Answer, AttemptError>, Timestamp, f64),
    ) -> Self {
        let status_code = answer.as_ref().ok().map(|answer| i32::from(answer.status));
        let (error, asked) = match answer {
            Ok(answer) if (200..300).contains(&answer.status) => {
                let result = Delivered::Done;
                return Self { result, status_code, error: None, at, again: None, resume_at: at };
            }
            Ok(answer) => {
                let asked = answer.retry_after.as_deref().and_then(|text| asked_pause(text, at));
                (refusal(answer.status), asked.unwrap_or_default().min(LONGEST_ASKED))
            }
            Err(AttemptError::Unanswered(error)) => (error.to_string(), Duration::ZERO),
            Err(AttemptError::Core(error @ (Error::Internal(_) | Error::KeyMissing(_)))) => {
                tracing::error!(event = %event.event_id, cause = error.inside(), "an event could not be put together");
                ("It could not be put together; the log says why.".to_owned(), Duration::ZERO)
            }
            Err(AttemptError::Core(error)) => (error.to_string(), Duration::ZERO),
        };
        let again = at.plus(pause(event.attempts, share).max(asked));
        let is_over = event.by_hand || status_code == Some(GONE) || again.since(event.created_at) >= GIVE_UP_AFTER;
        let rest = pause(webhook.failures.saturating_add(1), share).min(LONGEST_REST).max(asked);
        Self {
            result: if is_over { Delivered::GivenUp } else { Delivered::Later },
            status_code,
            error: Some(error),
            at,
            again: (!is_over).then_some(again),
            resume_at: at.plus(rest),
        }
    }

    /// Why the webhook, as it is after this, is to be switched off; none: it is not.
    pub fn reason_to_switch_off(&self, webhook: &Webhook) -> Option<String> {
        if self.status_code == Some(GONE) {
            return Some("The receiver answered 410 Gone: it wants no more events.".to_owned());
        }
        let since = webhook.failing_since.filter(|since| self.at.since(*since) >= SWITCH_OFF_AFTER)?;
        let last = self.error.as_deref().unwrap_or_default();
        (webhook.failures >= SWITCH_OFF_ATTEMPTS).then(|| {
            format!("Nothing could be delivered since {since}, in {} attempts. The last: {last}", webhook.failures)
        })
    }
}

fn refusal(status: u16) -> String {
    match status {
        300..=399 => format!("The receiver answered {status}. Redirects are not followed: give the address itself."),
        _ => format!("The receiver answered {status}."),
    }
}

/// The pause that `Retry-After` asks for: seconds (some chats send fractions) or a date.
fn asked_pause(text: &str, now: Timestamp) -> Option<Duration> {
    let text = text.trim();
    if let Ok(seconds) = text.parse::<f64>() {
        return Duration::try_from_secs_f64(seconds).ok();
    }
    let date = jiff::fmt::rfc2822::parse(text).ok()?;
    Some(Timestamp(date.timestamp().as_microsecond()).since(now))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::ids::{DeliveryId, EventId, WebhookId};
    use crate::domain::webhook::{EventType, Format};
    use crate::outbound::Unanswered;
    use uuid::Uuid;

    const START: Timestamp = Timestamp(1_767_225_600_000_000);

    fn event() -> QueuedEvent {
        QueuedEvent {
            id: DeliveryId(Uuid::nil()),
            webhook_id: WebhookId(Uuid::nil()),
            event_id: EventId(Uuid::nil()),
            event: EventType::Held,
            event_at: START,
            site_id: None,
            article_id: None,
            comment_id: None,
            comment_status: None,
            comment_version: 1,
            by_hand: false,
            due_at: START,
            claim: None,
            attempts: 1,
            created_at: START,
        }
    }

    fn webhook() -> Webhook {
        Webhook {
            id: WebhookId(Uuid::nil()),
            site_id: None,
            format: Format::Standard,
            events: "[]".into(),
            include_email: false,
            private_sealed: Vec::new(),
            former_until: None,
            enabled: true,
            disabled_reason: None,
            failures: 0,
            failing_since: None,
            resume_at: None,
            created_at: START,
        }
    }

    fn answered(status: u16, retry_after: Option<&str>) -> Answer {
        Answer { status, retry_after: retry_after.map(str::to_owned) }
    }

    #[test]
    fn answers_and_what_they_come_to() {
        for (status, expected) in [
            (200, Delivered::Done),
            (204, Delivered::Done),
            (299, Delivered::Done),
            (302, Delivered::Later),
            (400, Delivered::Later),
            (410, Delivered::GivenUp),
            (500, Delivered::Later),
        ] {
            let verdict = Verdict::of(&event(), &webhook(), (Ok(answered(status, None)), START, 0.0));
            assert_eq!((verdict.result, verdict.again.is_some()), (expected, expected == Delivered::Later), "{status}");
            assert_eq!(verdict.reason_to_switch_off(&webhook()).is_some(), status == 410);
        }
        let by_hand = QueuedEvent { by_hand: true, ..event() };
        assert_eq!(Verdict::of(&by_hand, &webhook(), (Ok(answered(500, None)), START, 0.0)).result, Delivered::GivenUp);
    }

    #[test]
    fn what_a_receiver_asks_for_is_granted_within_bounds() {
        let pause = |text| {
            let verdict = Verdict::of(&event(), &webhook(), (Ok(answered(429, Some(text))), START, 0.0));
            assert_eq!(verdict.again, Some(verdict.resume_at), "{text}: the whole webhook waits");
            verdict.again.unwrap().since(START).as_secs()
        };
        assert_eq!(pause("120"), 120);
        assert_eq!(pause("120.5"), 120);
        assert_eq!(pause("Thu, 01 Jan 2026 00:10:00 GMT"), 600);
        assert_eq!(pause("Wed, 01 Jan 2025 00:10:00 GMT"), 9, "it is past");
        assert_eq!(pause("999999999999"), 3600);
        for nonsense in ["", "-5", "soon", "NaN", "inf", "1e400"] {
            assert_eq!(pause(nonsense), 9, "{nonsense}");
        }
    }

    #[test]
    fn an_event_is_given_up_after_three_days_and_a_webhook_after_five() {
        let (mut event, mut webhook, mut now) = (event(), webhook(), START);
        let failed = || Err(AttemptError::Unanswered(Unanswered::TimedOut));
        while let Some(again) = Verdict::of(&event, &webhook, (failed(), now, 0.5)).again {
            now = again;
            event.attempts += 1;
        }
        let after = now.since(START);
        assert!(after > Duration::from_hours(70) && after < GIVE_UP_AFTER && event.attempts > 50, "{after:?}");
        webhook.failing_since = Some(START);
        for (hours, failures, expected) in [(119, 99, false), (121, 9, false), (121, 10, true)] {
            webhook.failures = failures;
            let at = START.plus(Duration::from_hours(hours));
            let verdict = Verdict::of(&event, &webhook, (failed(), at, 0.5));
            assert_eq!(
                verdict.reason_to_switch_off(&webhook).is_some(),
                expected,
                "{hours} hours, {failures} attempts"
            );
            assert!(verdict.resume_at.since(at) <= LONGEST_REST);
        }
    }
}
