//! What a webhook can be told, and how it wants to hear it. Which entry of the event log is which event stands here once.

use super::comment::{Action, Status, named_enum};

named_enum! {
    /// What happened, as receivers are told.
    EventType {
        /// Somebody tries whether the address works.
        Ping = 0 => "ping",
        /// A comment waits for a moderator, as a new one or again.
        Held = 1 => "comment.held",
        /// A comment, or the edit of one, became public.
        Approved = 2 => "comment.approved",
        /// A comment was refused.
        Rejected = 3 => "comment.rejected",
        /// A comment was called spam.
        Spam = 4 => "comment.spam",
        /// Its author or a moderator changed the text.
        Edited = 5 => "comment.edited",
        /// A comment was deleted for good.
        Removed = 6 => "comment.removed",
    }
}

impl EventType {
    /// The events that a webhook may ask for; a ping comes to whoever is pinged.
    pub fn subscribable() -> impl Iterator<Item = Self> {
        Self::ALL.iter().copied().filter(|event| *event != Self::Ping)
    }

    /// What an entry of the event log is to receivers; none for what changes nothing that they know of.
    pub fn of(action: Action, to: Option<Status>) -> Option<Self> {
        match action {
            Action::Edited | Action::Corrected => Some(Self::Edited),
            Action::EditDiscarded | Action::Pinned | Action::Unpinned => None,
            Action::Removed => Some(Self::Removed),
            // Wherever it came from: a decision, a policy, a decision taken back.
            Action::Submitted
            | Action::Approved
            | Action::Rejected
            | Action::MarkedSpam
            | Action::Held
            | Action::Undone => to.map(Self::of_status),
        }
    }

    fn of_status(status: Status) -> Self {
        match status {
            Status::Pending => Self::Held,
            Status::Approved => Self::Approved,
            Status::Rejected => Self::Rejected,
            Status::Spam => Self::Spam,
            Status::Removed => Self::Removed,
        }
    }
}

named_enum! {
    /// The JSON that a receiver reads.
    Format {
        /// Ours, signed (Standard Webhooks).
        Standard = 0 => "standard",
        /// An incoming webhook of Slack, or of what speaks like it (Mattermost, Rocket.Chat).
        Slack = 1 => "slack",
        /// A webhook of a Discord channel.
        Discord = 2 => "discord",
        /// A generic webhook of matrix-hookshot.
        Matrix = 3 => "matrix",
        /// `sendMessage` of a Telegram bot.
        Telegram = 4 => "telegram",
    }
}

named_enum! {
    /// How an attempt to deliver ended.
    Delivered {
        /// The receiver took it (2xx).
        Done = 0 => "delivered",
        /// It is tried again.
        Later = 1 => "later",
        /// It is not.
        GivenUp = 2 => "given_up",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn entries_of_the_log_as_receivers_are_told() {
        let of = |action, to| EventType::of(action, to).map(EventType::as_str);
        assert_eq!(of(Action::Submitted, Some(Status::Pending)), Some("comment.held"));
        assert_eq!(of(Action::Submitted, Some(Status::Spam)), Some("comment.spam"));
        assert_eq!(of(Action::Undone, Some(Status::Approved)), Some("comment.approved"));
        assert_eq!(of(Action::Corrected, Some(Status::Approved)), Some("comment.edited"));
        assert_eq!(of(Action::EditDiscarded, Some(Status::Approved)), None);
        assert_eq!(of(Action::Removed, None), Some("comment.removed"));
        assert!(EventType::subscribable().all(|event| event.as_str().starts_with("comment.")));
    }
}
