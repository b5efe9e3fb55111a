//! The states of a comment and the one table of what may follow what. It also names what the event log can say. It does
//! not know how a state is stored; the numbers behind the enums are for the database and never change their meaning.

use serde::{Deserialize, Serialize};

/// Numbers an enum for the database and names it for the API; both are forever.
macro_rules! named_enum {
    ($(#[$doc:meta])* $name:ident { $($(#[$vdoc:meta])* $variant:ident = $number:literal => $text:literal),+ $(,)? }) => {
        $(#[$doc])*
        #[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, serde::Serialize, serde::Deserialize)]
        pub enum $name { $($(#[$vdoc])* #[serde(rename = $text)] $variant),+ }

        impl $name {
            /// Every value, in the order of their numbers.
            pub const ALL: &'static [Self] = &[$(Self::$variant),+];

            /// The number in the database.
            pub fn number(self) -> i16 {
                match self { $(Self::$variant => $number),+ }
            }

            /// The value behind a number; `None` for one that this binary does not know.
            pub fn from_number(number: i16) -> Option<Self> {
                match number { $($number => Some(Self::$variant),)+ _ => None }
            }

            /// The name in the API.
            pub fn as_str(self) -> &'static str {
                match self { $(Self::$variant => $text),+ }
            }

            /// The value behind a name.
            pub fn from_name(name: &str) -> Option<Self> {
                match name { $($text => Some(Self::$variant),)+ _ => None }
            }
        }
    };
}
pub(crate) use named_enum;

named_enum! {
    /// Where a comment stands.
    Status {
        /// Waits for a moderator.
        Pending = 0 => "pending",
        /// Public.
        Approved = 1 => "approved",
        /// Refused by a moderator or a rule.
        Rejected = 2 => "rejected",
        /// Unwanted advertising or worse; nobody is told of it.
        Spam = 3 => "spam",
        /// Deleted for good, its text gone; the row stays only as long as replies hang below it. No answer names this state.
        Removed = 4 => "removed",
    }
}

named_enum! {
    /// What a moderator can decide.
    Decision {
        /// Make it public.
        Approve = 0 => "approve",
        /// Refuse it.
        Reject = 1 => "reject",
        /// Call it spam.
        Spam = 2 => "spam",
        /// Put it back to the waiting ones.
        Hold = 3 => "hold",
    }
}

named_enum! {
    /// What the event log says happened.
    Action {
        /// A visitor sent it.
        Submitted = 0 => "submitted",
        /// A moderator or the site's policy made it public, or made a waiting edit public.
        Approved = 1 => "approved",
        /// Refused.
        Rejected = 2 => "rejected",
        /// Called spam.
        MarkedSpam = 3 => "marked_spam",
        /// Put (back) to the waiting ones.
        Held = 4 => "held",
        /// The last decision was taken back.
        Undone = 5 => "undone",
        /// Its author changed it.
        Edited = 6 => "edited",
        /// A moderator dropped the waiting edit; the public text stands.
        EditDiscarded = 7 => "edit_discarded",
        /// A moderator changed the text.
        Corrected = 8 => "corrected",
        /// Deleted for good.
        Removed = 9 => "removed",
        /// A moderator put it before all others of its article.
        Pinned = 20 => "pinned",
        /// A moderator took that back.
        Unpinned = 21 => "unpinned",
    }
}

named_enum! {
    /// The way by which an action came.
    Via {
        /// The JSON API with an access token.
        Api = 0 => "api",
        /// The moderators' page.
        Desk = 1 => "desk",
        /// A link in a mail.
        MailLink = 2 => "mail_link",
        /// A rule or the site's policy.
        Rule = 3 => "rule",
        /// The comment's author.
        Author = 4 => "author",
        /// The command line.
        Cli = 5 => "cli",
    }
}

impl Via {
    /// Who acts by this way, where no account does.
    pub fn nobodys_name(self) -> &'static str {
        match self {
            Self::Author => "author",
            Self::Rule => "rule",
            Self::Cli => "operator",
            Self::Api | Self::Desk | Self::MailLink => "policy",
        }
    }
}

named_enum! {
    /// A mark beside a name that the site vouches for.
    Badge {
        /// Written by the site's own people.
        Staff = 1 => "staff",
    }
}

/// Why a comment was held: a stable code, and what a moderator reads beside it. Never shown to anyone else.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct HoldReason {
    /// Stable: `rule`, `policy`, `new_author`, `honeypot`, `email_rate`, `edit`, `flagged`,
    /// `too_fast`, `bad_form_token`, `no_form_token`.
    pub code: String,
    /// One plain sentence.
    pub detail: String,
}

impl HoldReason {
    /// A reason from its code and sentence.
    pub fn new(code: &str, detail: &str) -> Self {
        Self { code: code.to_owned(), detail: detail.to_owned() }
    }
}

/// What a decision does to a comment.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Transition {
    /// It stands so already: no new event.
    Same,
    /// It moves to this state.
    To(Status),
    /// It stays public, with the waiting edit in place of the old text.
    PublishEdit,
}

impl Decision {
    /// The state that the decision wants.
    pub fn target(self) -> Status {
        match self {
            Self::Approve => Status::Approved,
            Self::Reject => Status::Rejected,
            Self::Spam => Status::Spam,
            Self::Hold => Status::Pending,
        }
    }

    /// What the event log calls it.
    pub fn action(self) -> Action {
        match self {
            Self::Approve => Action::Approved,
            Self::Reject => Action::Rejected,
            Self::Spam => Action::MarkedSpam,
            Self::Hold => Action::Held,
        }
    }
}

/// The one table of legal transitions: any decision may follow any state but [`Status::Removed`], from which nothing
/// leads back (`None`). Approving a public comment whose edit waits publishes the edit.
pub fn transition(from: Status, edit_waits: bool, decision: Decision) -> Option<Transition> {
    match (from, decision.target()) {
        (Status::Removed, _) => None,
        (Status::Approved, Status::Approved) if edit_waits => Some(Transition::PublishEdit),
        (from, target) if from == target => Some(Transition::Same),
        (_, target) => Some(Transition::To(target)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_table_of_transitions() {
        let mut table = String::new();
        for from in Status::ALL {
            for decision in Decision::ALL {
                for edit_waits in [false, true] {
                    let outcome = match transition(*from, edit_waits, *decision) {
                        None => "refused".to_owned(),
                        Some(Transition::Same) => "same".to_owned(),
                        Some(Transition::PublishEdit) => "publish edit".to_owned(),
                        Some(Transition::To(to)) => format!("-> {}", to.as_str()),
                    };
                    let edit = if edit_waits { " + edit" } else { "" };
                    table.push_str(&[from.as_str(), edit, ", ", decision.as_str(), ": ", &outcome, "\n"].concat());
                }
            }
        }
        insta::assert_snapshot!(table);
    }

    #[test]
    fn numbers_and_names_lead_back() {
        for status in Status::ALL {
            assert_eq!(Status::from_number(status.number()), Some(*status));
            assert_eq!(Status::from_name(status.as_str()), Some(*status));
        }
        assert_eq!(Status::from_number(99), None);
        assert_eq!(Via::from_name("telepathy"), None);
    }
}
