//! What happens to a new text before a person sees it: the site's policy and the quiet defences, judged in one place for
//! submissions and edits alike.

use super::comment::{HoldReason, Status};
use super::site::Policy;

/// What is known about a text and who sent it.
#[derive(Debug, Clone, Copy, Default)]
pub struct Facts {
    /// The author token belongs to someone with an approved comment on this site.
    pub trusted: bool,
    /// The field that people never see was filled in.
    pub honeypot: bool,
    /// More comments carry this e-mail address than one person writes in an hour.
    pub flooded: bool,
    /// It is a new text for a comment that was there before.
    pub edit: bool,
}

/// Where a text goes, and why.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Verdict {
    /// Pending, approved or spam.
    pub status: Status,
    /// Why it is not public at once; for moderators only.
    pub reasons: Vec<HoldReason>,
}

/// Judges a text. Spam outweighs everything; anything else that speaks against it holds it.
pub fn judge(policy: Policy, facts: Facts) -> Verdict {
    let mut reasons = Vec::new();
    match policy {
        Policy::All if facts.edit => reasons.push(HoldReason::new("edit", "The author changed the text.")),
        Policy::All => reasons.push(HoldReason::new("policy", "This site looks at every comment before it is public.")),
        Policy::NewAuthors if !facts.trusted => {
            reasons.push(HoldReason::new("new_author", "No comment of this author has been approved yet."));
        }
        Policy::NewAuthors | Policy::None => {}
    }
    if facts.flooded {
        reasons.push(HoldReason::new(
            "email_rate",
            "More than twenty comments within an hour carry this e-mail address. No mail was sent about this one.",
        ));
    }
    if facts.honeypot {
        reasons.push(HoldReason::new("honeypot", "A field was filled in that people never see; programs fill it."));
    }
    let status = match (facts.honeypot, reasons.is_empty()) {
        (true, _) => Status::Spam,
        (false, true) => Status::Approved,
        (false, false) => Status::Pending,
    };
    Verdict { status, reasons }
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
        let cases = [
            (Policy::All, trusted, Status::Pending, vec!["policy"]),
            (Policy::All, Facts { edit: true, ..trusted }, Status::Pending, vec!["edit"]),
            (Policy::NewAuthors, stranger, Status::Pending, vec!["new_author"]),
            (Policy::NewAuthors, trusted, Status::Approved, vec![]),
            (Policy::None, stranger, Status::Approved, vec![]),
            (Policy::None, bot, Status::Spam, vec!["honeypot"]),
            (Policy::None, flood, Status::Pending, vec!["email_rate"]),
            (
                Policy::All,
                Facts { honeypot: true, flooded: true, ..stranger },
                Status::Spam,
                vec!["policy", "email_rate", "honeypot"],
            ),
        ];
        for (policy, facts, status, codes) in cases {
            let verdict = judge(policy, facts);
            let reasons: Vec<_> = verdict.reasons.iter().map(|reason| reason.code.as_str()).collect();
            assert_eq!((verdict.status, reasons), (status, codes), "{policy:?} {facts:?}");
        }
    }
}
