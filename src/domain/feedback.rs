//! What readers say of comments and articles without writing: votes, reactions, flags. It knows what is legal and who counts
//! as one visitor; who keeps it, and for how long, is for the storage and the keys to say.

use std::time::Duration;

use super::comment::named_enum;
use super::fault::Fault;
use super::text::{Body, tidy};
use super::time::Timestamp;

named_enum! {
    /// Why a reader wants a moderator to look again.
    FlagReason {
        /// Unwanted advertising.
        Spam = 0 => "spam",
        /// It hurts somebody.
        Abuse = 1 => "abuse",
        /// Something else.
        Other = 2 => "other",
    }
}

/// A vote on a comment; none is a vote taken back.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Vote {
    /// For it.
    Up,
    /// Against it.
    Down,
}

impl Vote {
    /// 1 or -1.
    pub fn value(self) -> i16 {
        match self {
            Self::Up => 1,
            Self::Down => -1,
        }
    }

    /// The vote behind 1, -1 or 0.
    pub fn parse(value: i64) -> Result<Option<Self>, Fault> {
        match value {
            1 => Ok(Some(Self::Up)),
            -1 => Ok(Some(Self::Down)),
            0 => Ok(None),
            _ => Err(Fault::new("value", "unknown_value", "It must be 1, -1 or 0.")),
        }
    }
}

/// The longest note beside a flag, in characters.
pub const NOTE_MAX: usize = 500;

/// What a visitor writes beside a flag; none when there is nothing in it.
pub fn note(text: &str) -> Result<Option<String>, Fault> {
    let text = tidy(text);
    if text.chars().count() > NOTE_MAX {
        return Err(Fault::too_long("note", NOTE_MAX, "characters"));
    }
    if text.is_empty() {
        return Ok(None);
    }
    Body::parse(&text, "note").map(|note| Some(note.into_string()))
}

/// Reactions of a site, at most.
pub const MOST_REACTIONS: usize = 8;

/// The longest name of a reaction, in characters.
const REACTION_MAX: usize = 20;

/// Whether a text can name a reaction: 1 to 20 of a-z, 0-9, - and _. The blog chooses the picture.
pub fn is_reaction(name: &str) -> bool {
    let legal = |b: u8| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-' || b == b'_';
    (1..=REACTION_MAX).contains(&name.len()) && name.bytes().all(legal)
}

/// A visitor is another one after a time between one and two of these: whoever voted is found by the month of the vote and
/// by the one before. Long enough that nobody votes twice while an article is talked about, and short enough that what is
/// kept of them is soon worth nothing, also to somebody who has the secret key.
pub const MONTH: Duration = Duration::from_hours(30 * 24);

/// What is kept of a visitor goes after this time, when nobody looks for it any more.
pub const KEPT_FOR: Duration = Duration::from_hours(60 * 24);

/// The number of the month in which a moment lies.
pub fn month(at: Timestamp) -> i64 {
    at.0.div_euclid(i64::try_from(MONTH.as_micros()).unwrap_or(i64::MAX))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_visitor_stays_one_for_a_month_at_least() {
        let begun = Timestamp(1_767_225_600_000_000);
        for days in 0..30 {
            let voted = begun.plus(Duration::from_hours(24 * days));
            let later = voted.plus(MONTH);
            assert!(month(later) - month(voted) <= 1, "{days}");
            assert!(month(voted.plus(KEPT_FOR)) - month(voted) >= 2, "nothing is looked for that is swept");
        }
    }

    #[test]
    fn names_of_reactions() {
        assert!(["like", "thumbs-up", "a_1"].iter().all(|name| is_reaction(name)));
        assert!(["", "Like", "a b", "❤", "abcdefghijklmnopqrstu"].iter().all(|name| !is_reaction(name)));
    }

    #[test]
    fn notes_are_short_and_clean() {
        assert_eq!(note("  "), Ok(None));
        assert_eq!(note(" see\nabove ").unwrap().as_deref(), Some("see\nabove"));
        assert_eq!(note(&"x".repeat(501)).unwrap_err().code, "too_long");
        assert_eq!(note("\u{202e}x").unwrap_err().field, "note");
        assert_eq!(Vote::parse(2).unwrap_err().code, "unknown_value");
    }
}
