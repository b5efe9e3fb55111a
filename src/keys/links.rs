//! Tokens of links in mails. One token, one errand of one account: what it is for stands in it, readable and without a word
//! about anybody, and a keyed hash (HMAC-SHA-256) makes it ours. Nothing is stored, so a mail can be made again.

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use uuid::Uuid;

use crate::domain::comment::Decision;
use crate::domain::ids::{AccountId, CommentId, OutboxId, SubscriberId};
use crate::domain::time::Timestamp;

/// What a link is for. Each has a key of its own, so that no token can be taken for one of the other kind.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Errand {
    /// Decide on a comment.
    Decide,
    /// Turn mail off.
    Unsubscribe,
    /// Say that replies may be told.
    Confirm,
    /// Say that they may not (any more).
    Silence,
    /// See and change what one wrote.
    Person,
    /// No link: tell how old a form is.
    Form,
}

/// What a link in a mail lets somebody decide.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct DecisionLink {
    /// On which comment,
    pub comment: CommentId,
    /// in the version that the mail showed,
    pub version: i64,
    /// this,
    pub decision: Decision,
    /// in the name of this account,
    pub account: AccountId,
    /// until then.
    pub ends_at: Timestamp,
}

/// Comment, account, version, end, decision.
const CLAIMS: usize = 16 + 16 + 8 + 8 + 2;

impl DecisionLink {
    pub(super) fn claims(&self) -> Vec<u8> {
        let numbers = [self.version.to_be_bytes(), self.ends_at.0.to_be_bytes()].concat();
        let decision = self.decision.number().to_be_bytes();
        [self.comment.as_bytes().as_slice(), self.account.as_bytes(), &numbers, &decision].concat()
    }

    pub(super) fn of_claims(claims: &[u8]) -> Option<Self> {
        let (comment, rest) = claims.split_first_chunk::<16>().filter(|_| claims.len() == CLAIMS)?;
        let (account, rest) = rest.split_first_chunk::<16>()?;
        let (version, rest) = rest.split_first_chunk::<8>()?;
        let (ends_at, decision) = rest.split_first_chunk::<8>()?;
        Some(Self {
            comment: CommentId(Uuid::from_bytes(*comment)),
            account: AccountId(Uuid::from_bytes(*account)),
            version: i64::from_be_bytes(*version),
            ends_at: Timestamp(i64::from_be_bytes(*ends_at)),
            decision: Decision::from_number(i16::from_be_bytes(decision.try_into().ok()?))?,
        })
    }
}

/// How far somebody who wrote comments wants no mails.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Silence {
    /// From this site.
    Site,
    /// From this service, ever.
    Everywhere,
}

/// A row's id and one number.
pub(super) fn row_claims(row: &[u8; 16], number: i64) -> Vec<u8> {
    [row.as_slice(), &number.to_be_bytes()].concat()
}

pub(super) fn of_row_claims(claims: &[u8]) -> Option<(Uuid, i64)> {
    let (row, number) = claims.split_first_chunk::<16>()?;
    Some((Uuid::from_bytes(*row), i64::from_be_bytes(number.try_into().ok()?)))
}

impl super::Keys {
    /// The token of a link that says yes to mails about replies, until then.
    pub fn confirm_token(&self, subscriber: SubscriberId, ends_at: Timestamp) -> String {
        self.link_token(Errand::Confirm, &row_claims(subscriber.as_bytes(), ends_at.0))
    }

    /// Whose yes such a token is, and when it ends; none for a text that is no token of ours.
    pub fn read_confirm_token(&self, token: &str) -> Option<(SubscriberId, Timestamp)> {
        let (row, ends_at) = of_row_claims(&self.link_claims(Errand::Confirm, token)?)?;
        Some((SubscriberId(row), Timestamp(ends_at)))
    }

    /// The token of a link that says no to mails. It has no end.
    pub fn silence_token(&self, subscriber: SubscriberId, how_far: Silence) -> String {
        let number = i64::from(how_far == Silence::Everywhere);
        self.link_token(Errand::Silence, &row_claims(subscriber.as_bytes(), number))
    }

    /// Whose no such a token is, and how far it goes.
    pub fn read_silence_token(&self, token: &str) -> Option<(SubscriberId, Silence)> {
        let (row, number) = of_row_claims(&self.link_claims(Errand::Silence, token)?)?;
        Some((SubscriberId(row), if number == 1 { Silence::Everywhere } else { Silence::Site }))
    }

    /// The token of a link to one's own data, until then. It names the request, which knows address and site.
    pub fn person_token(&self, request: OutboxId, ends_at: Timestamp) -> String {
        self.link_token(Errand::Person, &row_claims(request.as_bytes(), ends_at.0))
    }

    /// Which request such a token answers, and when it ends.
    pub fn read_person_token(&self, token: &str) -> Option<(OutboxId, Timestamp)> {
        let (row, ends_at) = of_row_claims(&self.link_claims(Errand::Person, token)?)?;
        Some((OutboxId(row), Timestamp(ends_at)))
    }
}

pub(super) fn token(signed: &[u8], mac: &[u8; 32]) -> String {
    URL_SAFE_NO_PAD.encode([signed, mac].concat())
}

/// What is signed, and the hash over it; none for a text that cannot be a token. There is one spelling of each.
pub(super) fn parts(token: &str) -> Option<(Vec<u8>, [u8; 32])> {
    let mut bytes = URL_SAFE_NO_PAD.decode(token).ok()?;
    let mac = *bytes.last_chunk::<32>()?;
    bytes.truncate(bytes.len() - mac.len());
    Some((bytes, mac))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::hex::hex;
    use crate::keys::Keys;
    use std::path::PathBuf;

    fn file_of(folder: &tempfile::TempDir, keys: &[u8]) -> PathBuf {
        let path = folder.path().join("secret.key");
        let lines: String = keys.iter().map(|key| hex(&[*key; 32]) + "\n").collect();
        std::fs::write(&path, lines).unwrap();
        path
    }

    fn keys(numbers: &[u8]) -> Keys {
        let folder = tempfile::tempdir().unwrap();
        Keys::load(&file_of(&folder, numbers)).unwrap().unwrap()
    }

    fn link(n: u128) -> DecisionLink {
        DecisionLink {
            comment: CommentId(Uuid::from_u128(n)),
            version: i64::try_from(n).unwrap(),
            decision: Decision::ALL[usize::try_from(n % 3).unwrap()],
            account: AccountId(Uuid::from_u128(n + 1)),
            ends_at: Timestamp(i64::try_from(n * 7).unwrap()),
        }
    }

    #[test]
    fn a_token_says_what_it_was_made_for() {
        let keys = keys(&[1]);
        for n in 1..100 {
            assert_eq!(keys.read_decision_token(&keys.decision_token(&link(n))), Some(link(n)));
        }
        let account = AccountId(Uuid::from_u128(5));
        let stop = keys.unsubscribe_token(account, Timestamp(7));
        assert_eq!(keys.read_unsubscribe_token(&stop), Some((account, Timestamp(7))));
    }

    #[test]
    fn it_lives_as_long_as_its_key() {
        let (old, both, new) = (keys(&[1]), keys(&[2, 1]), keys(&[2]));
        let (decide, stop) =
            (old.decision_token(&link(9)), old.unsubscribe_token(AccountId(Uuid::from_u128(5)), Timestamp(7)));
        assert!(both.read_decision_token(&decide).is_some() && both.read_unsubscribe_token(&stop).is_some());
        assert!(new.read_decision_token(&decide).is_none() && new.read_unsubscribe_token(&stop).is_none());
    }

    #[test]
    fn nothing_else_is_taken_for_one() {
        let (keys, other) = (keys(&[1]), keys(&[2]));
        let mut tried = 0;
        let mut refused = |token: &str| {
            tried += 1;
            assert_eq!(keys.read_decision_token(token), None, "{token}");
            assert_eq!(keys.read_unsubscribe_token(token), None, "{token}");
        };
        for n in 1..=90_u128 {
            let token = keys.decision_token(&link(n));
            let bytes = URL_SAFE_NO_PAD.decode(&token).unwrap();
            for bit in 0..bytes.len() * 8 {
                let mut flipped = bytes.clone();
                flipped[bit / 8] ^= 1 << (bit % 8);
                refused(&URL_SAFE_NO_PAD.encode(&flipped));
            }
            for at in 0..token.len() {
                refused(&token[..at]);
                refused(&token[at + 1..]);
                refused(&format!("{token}{}", &token[..=at]));
                // Another letter in its place: no second spelling leads to the same token.
                let letter = if token.as_bytes()[at] == b'A' { 'B' } else { 'A' };
                refused(&format!("{}{letter}{}", &token[..at], &token[at + 1..]));
            }
            // The parts of two tokens, put together.
            let next = URL_SAFE_NO_PAD.decode(keys.decision_token(&link(n + 1))).unwrap();
            for at in 0..bytes.len() {
                let mixed = [&bytes[..at], &next[at..]].concat();
                if mixed != bytes && mixed != next {
                    refused(&URL_SAFE_NO_PAD.encode(mixed));
                }
            }
            refused(&other.decision_token(&link(n)));
            refused(&format!("{token}="));
            refused(&format!(" {token}"));
        }
        assert!(tried > 100_000, "{tried}");
        let (decide, stop) =
            (keys.decision_token(&link(1)), keys.unsubscribe_token(AccountId(Uuid::from_u128(1)), Timestamp(7)));
        assert_eq!(keys.read_unsubscribe_token(&decide), None, "each kind has a key of its own");
        assert_eq!(keys.read_decision_token(&stop), None);
    }

    #[test]
    fn each_kind_for_those_who_write_has_a_key_of_its_own() {
        let keys = keys(&[1]);
        let stop = keys.unsubscribe_token(AccountId(Uuid::from_u128(1)), Timestamp(7));
        let (row, end) = (Uuid::from_u128(7), Timestamp(9));
        let yes = keys.confirm_token(SubscriberId(row), end);
        let no = keys.silence_token(SubscriberId(row), Silence::Site);
        let own = keys.person_token(OutboxId(row), end);
        assert_eq!(keys.read_confirm_token(&yes), Some((SubscriberId(row), end)));
        assert_eq!(keys.read_silence_token(&no), Some((SubscriberId(row), Silence::Site)));
        assert_eq!(keys.read_person_token(&own), Some((OutboxId(row), end)));
        for foreign in [&stop, &no, &own] {
            assert_eq!(keys.read_confirm_token(foreign), None);
        }
        for foreign in [&stop, &yes, &own] {
            assert_eq!(keys.read_silence_token(foreign), None);
        }
        for foreign in [&stop, &yes, &no] {
            assert_eq!(keys.read_person_token(foreign), None);
        }
    }
}
