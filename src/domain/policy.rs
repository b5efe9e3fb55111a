//! What happens to a new text before a person sees it: the rules, the quiet defences and the site's policy, judged in one
//! place for submissions, edits and replays alike.

use super::comment::{Decision, HoldReason, Status};
use super::rules::draft::Score;
use super::rules::judge::{Decided, Ruling};
use super::site::Policy;

/// What the token of the form says of how a comment came.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum FormSign {
    /// Nothing worth a word.
    #[default]
    Fine,
    /// It was sent sooner than a person can write.
    TooFast,
    /// The token is none of ours, or of another site.
    Forged,
    /// There is none, and the site wants one.
    Missing,
}

impl FormSign {
    /// The code of the reason, if it is one to hold a comment.
    pub fn code(self) -> Option<&'static str> {
        match self {
            Self::Fine => None,
            Self::TooFast => Some("too_fast"),
            Self::Forged => Some("bad_form_token"),
            Self::Missing => Some("no_form_token"),
        }
    }

    /// The sign with this code.
    pub fn from_code(code: &str) -> Option<Self> {
        [Self::TooFast, Self::Forged, Self::Missing].into_iter().find(|sign| sign.code() == Some(code))
    }

    fn reason(self) -> Option<HoldReason> {
        let detail = match self {
            Self::Fine => return None,
            Self::TooFast => "It was sent within moments of opening the form, sooner than people write.",
            Self::Forged => "It did not come from this site's form: the form's token is not one of ours.",
            Self::Missing => "It did not come from this site's form: the form's token is missing.",
        };
        self.code().map(|code| HoldReason::new(code, detail))
    }
}

/// What is known about a text and who sent it.
#[derive(Debug, Clone, Copy, Default)]
pub struct Facts {
    /// The author token belongs to someone with an approved comment on this site.
    pub trusted: bool,
    /// The field that people never see was filled in.
    pub honeypot: bool,
    /// More comments carry this e-mail address than one person writes in an hour.
    pub flooded: bool,
    /// What the token of the form says.
    pub form: FormSign,
    /// It is a new text for a comment that was there before.
    pub edit: bool,
}

/// Where a text goes, and why.
#[derive(Debug, Clone, PartialEq)]
pub struct Verdict {
    /// Pending, approved, rejected or spam.
    pub status: Status,
    /// What speaks against it and which rules matched; for moderators only.
    pub reasons: Vec<HoldReason>,
    /// The sum of the rules' points, if any gave some.
    pub score: Option<f64>,
    /// The rules' decision, when it is they who moved it from the waiting ones.
    pub ruled: Option<Decided>,
}

/// Judges a text: the rules first, then the quiet defences, then the site's policy. Spam outweighs everything; no rule makes
/// public what the quiet defences stop.
pub fn judge(policy: Policy, facts: Facts, ruling: Ruling) -> Verdict {
    let decision = ruling.decided.as_ref().map(|decided| decided.decision);
    let held = by_policy(policy, facts).filter(|_| decision != Some(Decision::Approve));
    let waits = facts.flooded || facts.form != FormSign::Fine || held.is_some();
    let mut reasons = ruling.matched;
    reasons.extend(held);
    if facts.flooded {
        reasons.push(HoldReason::new(
            "email_rate",
            "More than twenty comments within an hour carry this e-mail address. No mail was sent about this one.",
        ));
    }
    reasons.extend(facts.form.reason());
    if facts.honeypot {
        reasons.push(HoldReason::new("honeypot", "A field was filled in that people never see; programs fill it."));
    }
    let status = match decision {
        _ if facts.honeypot => Status::Spam,
        Some(Decision::Approve) | None if waits => Status::Pending,
        None => Status::Approved,
        Some(decision) => decision.target(),
    };
    let ruled = ruling.decided.filter(|decided| decided.decision.target() == status && status != Status::Pending);
    Verdict { status, reasons, score: ruling.score.map(Score::points), ruled }
}

/// Why the site's policy holds it.
fn by_policy(policy: Policy, facts: Facts) -> Option<HoldReason> {
    match policy {
        Policy::All if facts.edit => Some(HoldReason::new("edit", "The author changed the text.")),
        Policy::All => Some(HoldReason::new("policy", "This site looks at every comment before it is public.")),
        Policy::NewAuthors if !facts.trusted => {
            Some(HoldReason::new("new_author", "No comment of this author has been approved yet."))
        }
        Policy::NewAuthors | Policy::None => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_table_of_policies() {
        let trusted = Facts { trusted: true, ..Facts::default() };
        let stranger = Facts::default();
        let bot = Facts { honeypot: true, trusted: true, ..Facts::default() };
        let flood = Facts { flooded: true, trusted: true, ..Facts::default() };
        let hasty = Facts { form: FormSign::TooFast, trusted: true, ..Facts::default() };
        let cases = [
            (Policy::All, trusted, Status::Pending, vec!["policy"]),
            (Policy::All, Facts { edit: true, ..trusted }, Status::Pending, vec!["edit"]),
            (Policy::NewAuthors, stranger, Status::Pending, vec!["new_author"]),
            (Policy::NewAuthors, trusted, Status::Approved, vec![]),
            (Policy::None, stranger, Status::Approved, vec![]),
            (Policy::None, bot, Status::Spam, vec!["honeypot"]),
            (Policy::None, flood, Status::Pending, vec!["email_rate"]),
            (Policy::None, hasty, Status::Pending, vec!["too_fast"]),
            (Policy::None, Facts { honeypot: true, ..hasty }, Status::Spam, vec!["too_fast", "honeypot"]),
            (
                Policy::All,
                Facts { honeypot: true, flooded: true, ..stranger },
                Status::Spam,
                vec!["policy", "email_rate", "honeypot"],
            ),
        ];
        for (policy, facts, status, codes) in cases {
            let verdict = judge(policy, facts, Ruling::default());
            let reasons: Vec<_> = verdict.reasons.iter().map(|reason| reason.code.as_str()).collect();
            assert_eq!((verdict.status, reasons), (status, codes), "{policy:?} {facts:?}");
        }
    }
}
