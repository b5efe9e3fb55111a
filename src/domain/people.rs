//! What somebody who wrote a comment has said about mails, and what such mails may tell. The numbers are for the database
//! and never change their meaning.

use std::time::Duration;

use super::comment::{HoldReason, Status, named_enum};
use super::time::Timestamp;

named_enum! {
    /// Whether an address wants mails of a site.
    Consent {
        /// It was asked and has not answered.
        Asked = 0 => "asked",
        /// It does.
        Confirmed = 1 => "confirmed",
        /// It did, and does not any more. It may be asked again.
        Ended = 2 => "ended",
        /// It never wants to hear of this service again, whatever the site. One such row speaks for the address on all of them.
        Refused = 3 => "refused",
    }
}

named_enum! {
    /// What a mail tells about a comment. Each is told at most once.
    NoticeKind {
        /// It asks whether replies may be told.
        Question = 0 => "question",
        /// The comment, which was held, is public.
        Approval = 1 => "approval",
        /// The comment, which is a reply, is public.
        Reply = 2 => "reply",
    }
}

/// An address is asked at most once in this time, whatever the site.
pub const ASKED_ONCE_IN: Duration = Duration::from_hours(24);

/// How long a link that confirms works.
pub const CONFIRM_WITHIN: Duration = Duration::from_hours(7 * 24);

/// Mails about single replies that an address gets within an hour; what comes above that is gathered into one.
pub const SINGLE_MAILS_AN_HOUR: usize = 5;

/// How long a link to one's own data works.
pub const PERSON_LINK_LIFE: Duration = Duration::from_hours(1);

/// Links to what was written on one site that an address gets within a day; above that only when none of them works any more.
pub const PERSON_LINKS_A_DAY: usize = 3;

/// The same for an address that never wants to hear of this service again, over all sites.
pub const PERSON_LINKS_WHEN_REFUSED: usize = 1;

/// Whether a comment may bring its author's address the question: it is public, or waits for nothing but the look that the
/// site takes at every comment. Whatever else speaks against it may be a stranger's address in a program's hands.
pub fn may_ask(status: Status, reasons: &[HoldReason]) -> bool {
    let usual = |reason: &HoldReason| matches!(reason.code.as_ref(), "policy" | "new_author");
    match status {
        Status::Approved => true,
        Status::Pending => reasons.iter().all(usual),
        Status::Rejected | Status::Spam | Status::Removed => false,
    }
}

/// When the next mail may leave for somebody whose latest left then: at once, or an hour after the oldest of the last few.
/// `left`: the newest first, of this hour.
pub fn next_single(left: &[Timestamp]) -> Option<Timestamp> {
    let oldest = left.get(SINGLE_MAILS_AN_HOUR - 1)?;
    Some(oldest.plus(Duration::from_hours(1)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_nothing_speaks_against_asks() {
        let reason = |code| HoldReason::new(code, "x");
        assert!(may_ask(Status::Pending, &[reason("policy")]) && may_ask(Status::Approved, &[reason("rule")]));
        for code in ["rule", "honeypot", "email_rate", "edit", "flags"] {
            assert!(!may_ask(Status::Pending, &[reason("policy"), reason(code)]), "{code}");
        }
        assert!(!may_ask(Status::Spam, &[]) && !may_ask(Status::Rejected, &[]) && !may_ask(Status::Removed, &[]));
    }

    #[test]
    fn five_mails_then_a_pause() {
        let left: Vec<Timestamp> = (0..5).map(|n| Timestamp(100 - n)).collect();
        assert_eq!(next_single(&left[..4]), None);
        assert_eq!(next_single(&left), Some(Timestamp(96).plus(Duration::from_hours(1))));
    }
}
