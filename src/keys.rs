//! The secret file and everything that is derived from it: encryption of private fields, keyed look-up hashes, author
//! tokens, avatars. One path for each use, and no way to the raw key. Each line of the file is a key. The database says which
//! of them is used; all of them open what they sealed. A first line that is not used yet is the key of the next rotation.

mod file;
mod links;
mod set;
mod sign_in;
mod tokens;
mod webhook;

use std::fmt;
use std::net::IpAddr;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};

use arc_swap::ArcSwap;
use subtle::ConstantTimeEq;
use uuid::Uuid;
use zeroize::Zeroizing;

pub use self::file::HeldFile;
use self::file::trouble;
use self::links::Errand;
pub use self::links::{DecisionLink, Silence};
use self::set::KeySet;
pub use self::set::{Sealer, key_id};
pub use self::sign_in::{
    csrf_token, is_csrf_token, new_recovery_codes, new_secret, new_totp_secret, recovery_code_hash, secret_hash,
    totp_in_words, totp_step,
};
pub use self::tokens::{access_token_hash, new_access_token};
pub use self::webhook::{Signed, new_webhook_secret, webhook_signatures};
use crate::domain::email::Email;
use crate::domain::hex::hex;
use crate::domain::ids::{AccountId, AuthorId, SiteId};
use crate::domain::time::Timestamp;
use crate::error::Error;

/// Where a sealed value lies. It is part of what is authenticated, so that a value cannot be moved to another row.
#[derive(Debug, Clone, Copy)]
pub struct Place<'a> {
    /// `table.column`.
    pub column: &'static str,
    /// The row's id.
    pub row: &'a [u8; 16],
}

/// The keys of this installation: those in the file, and which of them the database uses. They change while the service
/// runs, when the file does or the database moves on to another of them.
pub struct Keys {
    path: PathBuf,
    known: ArcSwap<Known>,
    changing: Mutex<()>,
}

/// What is known at one moment.
#[derive(Clone)]
struct Known {
    text: Zeroizing<String>,
    /// In the order of the file.
    sets: Vec<Arc<KeySet>>,
    /// What is sealed and hashed with.
    current: Arc<KeySet>,
    /// The check value of the key that the database uses; while it is none of these, nothing may be sealed.
    wanted: String,
}

impl fmt::Debug for Keys {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Keys(…)")
    }
}

impl Known {
    /// The keys of a file's text; the first one is used until the database names another.
    fn of(path: &Path, text: Zeroizing<String>) -> Result<Self, Error> {
        let masters = file::parse(path, &text)?;
        let sets = masters.iter().map(|key| KeySet::derive(key).map(Arc::new)).collect::<Result<Vec<_>, _>>()?;
        let current = sets.first().cloned().ok_or_else(|| trouble(path, "it is empty; restore it from a backup"))?;
        let wanted = current.check_value().to_owned();
        Ok(Self { text, sets, current, wanted })
    }

    fn with_check(&self, check: &str) -> Option<&Arc<KeySet>> {
        self.sets.iter().find(|set| set.check_value() == check)
    }

    fn with_id(&self, id: &[u8]) -> Option<&Arc<KeySet>> {
        self.sets.iter().find(|set| set.id == id)
    }

    /// The one on the last line, which stays when a new key comes first.
    fn oldest(&self) -> &KeySet {
        self.sets.last().unwrap_or(&self.current)
    }

    /// Whether this is the check value of the key that the database uses, and of ours.
    fn follows(&self, check: &str) -> bool {
        self.wanted == check && self.current.check_value() == check
    }

    /// All of them, the current one first.
    fn all(&self) -> impl Iterator<Item = &KeySet> {
        let others = self.sets.iter().filter(|set| set.id != self.current.id);
        std::iter::once(&self.current).chain(others).map(Arc::as_ref)
    }
}

impl Keys {
    /// Reads the file, making it with a new key when it is missing: exclusively, mode 0600, whole or not at all.
    pub fn load_or_make(path: &Path) -> Result<Self, Error> {
        match Self::load(path)? {
            Some(keys) => Ok(keys),
            None => {
                file::make(path)?;
                Self::load(path)?.ok_or_else(|| trouble(path, "it vanished"))
            }
        }
    }

    /// Reads the file; none when it is missing.
    pub fn load(path: &Path) -> Result<Option<Self>, Error> {
        let Some(text) = file::read(path)? else { return Ok(None) };
        let known = ArcSwap::from_pointee(Known::of(path, text)?);
        Ok(Some(Self { path: path.to_owned(), known, changing: Mutex::new(()) }))
    }

    /// Reads the file again; `true` when it holds other keys than before. A file that cannot be read, or lacks the key that
    /// the database uses, changes nothing: an error says so.
    pub fn reload(&self) -> Result<bool, Error> {
        let _turn = self.changing.lock().unwrap_or_else(PoisonError::into_inner);
        let kept = |error: Error| Error::internal(format!("{}; the keys from before are still used", error.inside()));
        let lacks = |what| kept(trouble(&self.path, what));
        let text = file::read(&self.path).map_err(kept)?.ok_or_else(|| lacks("it is missing"))?;
        let known = self.known.load_full();
        if *text == *known.text {
            return Ok(false);
        }
        let mut new = Known::of(&self.path, text).map_err(kept)?;
        let used = new.with_check(&known.wanted).cloned();
        new.current = used.ok_or_else(|| lacks("it lacks the key that the database uses"))?;
        new.wanted.clone_from(&known.wanted);
        self.known.store(Arc::new(new));
        Ok(true)
    }

    /// From now on the key with this check value is the current one, as the database says. `false` when it is not in the
    /// file, which was read again to see: until it comes, nothing is sealed.
    pub fn follow(&self, check: &str) -> bool {
        if self.known.load().follows(check) {
            return true;
        }
        // What is wrong with the file is told by whoever looks at it regularly.
        let _ = self.reload();
        let _turn = self.changing.lock().unwrap_or_else(PoisonError::into_inner);
        let known = self.known.load_full();
        let found = known.with_check(check).cloned();
        let is_there = found.is_some();
        let current = found.unwrap_or_else(|| known.current.clone());
        self.known.store(Arc::new(Known { current, wanted: check.to_owned(), ..Known::clone(&known) }));
        is_there
    }

    /// Tells the current key from any other without telling it; the database keeps this value.
    pub fn check_value(&self) -> String {
        self.known.load().current.check_value().to_owned()
    }

    /// The same of the file's first line: the key that is to be used.
    pub fn first_check_value(&self) -> String {
        self.known.load().sets.first().map_or_else(String::new, |set| set.check_value().to_owned())
    }

    /// Whether a check value is that of one of these keys.
    pub fn knows(&self, check: &str) -> bool {
        self.known.load().with_check(check).is_some()
    }

    /// How many keys there are.
    pub fn count(&self) -> usize {
        self.known.load().sets.len()
    }

    /// Whether a sealed value's key id is the current key's; none for a key that is not here.
    pub fn is_current(&self, key_id: &[u8]) -> Option<bool> {
        let known = self.known.load();
        known.with_id(key_id).map(|set| set.id == known.current.id)
    }

    /// The right to change the file, for one process at a time.
    pub fn hold_file(&self) -> Result<HeldFile, Error> {
        HeldFile::take(&self.path)
    }

    /// Puts a new key on the file's first line; the others stay below it.
    pub fn add_first(&self, held: &mut HeldFile) -> Result<(), Error> {
        held.add_first()?;
        self.reload().map(|_| ())
    }

    /// Leaves the current key alone in the file.
    pub fn forget_others(&self, held: &mut HeldFile) -> Result<(), Error> {
        let current = self.check_value();
        held.keep_lines(|key| Ok(KeySet::derive(key)?.check_value() == current))?;
        self.reload().map(|_| ())
    }

    /// What seals with the current key. [`Error::KeyMissing`] while the database uses one that is not in the file.
    pub fn sealer(&self) -> Result<Sealer, Error> {
        let known = self.known.load();
        if known.follows(&known.wanted) { Ok(Sealer(known.current.clone())) } else { Err(self.lacks_the_key()) }
    }

    /// What seals with the key of this check value, which the database uses, as a transaction has just read: that is the
    /// current key from now on.
    pub fn sealer_of(&self, check: &str) -> Result<Sealer, Error> {
        self.follow(check);
        self.known.load().with_check(check).cloned().map(Sealer).ok_or_else(|| self.lacks_the_key())
    }

    fn lacks_the_key(&self) -> Error {
        let file = self.path.display();
        Error::KeyMissing(format!("secrets.key_file {file} lacks the key that the database uses"))
    }

    /// Decrypts a value from its place. [`Error::KeyMissing`] when its key is not in the file, which was read again to see.
    pub fn open(&self, place: Place<'_>, value: &[u8]) -> Result<Vec<u8>, Error> {
        let broken = || Error::internal(format!("a value in {} does not open with its key", place.column));
        let id = key_id(value).ok_or_else(broken)?;
        let find = || self.known.load().with_id(id).cloned();
        let set = find().or_else(|| self.reload().ok().and_then(|_| find()));
        let set = set.ok_or_else(|| {
            Error::KeyMissing(format!(
                "a value in {} was sealed with a key that is not in secrets.key_file {}",
                place.column,
                self.path.display()
            ))
        })?;
        set.open(place, value).ok_or_else(broken)
    }

    /// Finds a person's rows without storing the address: equal for two spellings of one mailbox. Under every key, the
    /// current one's first: under which of them a row lies, nobody knows.
    pub fn email_hashes(&self, email: &Email) -> Vec<Vec<u8>> {
        self.known.load().all().map(|set| set.email_hash(&email.folded())).collect()
    }

    /// Finds a double: equal for equal normalised names and texts.
    pub fn text_hash(&self, normalised: &str) -> Vec<u8> {
        self.known.load().current.text_hash(normalised)
    }

    /// The same under every key, the current one's first.
    pub fn text_hashes(&self, normalised: &str) -> Vec<Vec<u8>> {
        self.known.load().all().map(|set| set.text_hash(normalised)).collect()
    }

    /// Keyed hashes of an idempotency key or a request, for look-up: under every key, the current one's first.
    pub fn request_hashes(&self, parts: &[&[u8]]) -> Vec<Vec<u8>> {
        self.known.load().all().map(|set| set.lookup("request", parts).to_vec()).collect()
    }

    /// The picture beside a name on a site: equal for equal names, and no way back to anything. It comes from the last line
    /// of the file, so that pictures stay as they are when a new key comes first.
    pub fn avatar(&self, site: SiteId, name: &str) -> String {
        let hash = self.known.load().oldest().lookup("avatar", &[site.as_bytes(), name.as_bytes()]);
        hex(hash.first_chunk::<8>().unwrap_or(&[0; 8]))
    }

    /// A keyed hash of whom a rate limit counts, for limits that instances share. It comes from the last line of the file,
    /// so that a rotation changes nobody's count, and instances agree while it goes on.
    pub fn limit_hash(&self, parts: &[&[u8]]) -> [u8; 16] {
        *self.known.load().oldest().lookup("rate limit", parts).first_chunk().unwrap_or(&[0; 16])
    }

    /// A keyed hash of a visitor who votes on or flags a comment, or reacts to an article (`kind`, `about`), in a month: equal
    /// for one address block, and for nothing else that is equal about them. From the last line of the file, so that a rotation lets nobody vote
    /// again.
    pub fn visitor(&self, kind: &str, about: Uuid, (host, month): (IpAddr, i64)) -> [u8; 16] {
        let host = match host {
            IpAddr::V4(address) => address.to_ipv6_mapped(),
            IpAddr::V6(address) => address,
        };
        let parts = [kind.as_bytes(), about.as_bytes(), &month.to_be_bytes(), &host.octets()];
        *self.known.load().oldest().lookup("visitor", &parts).first_chunk().unwrap_or(&[0; 16])
    }

    /// The secret that stands for an author on a site. Derived, so that a repeated answer can repeat it.
    pub fn author_token(&self, site: SiteId, author: AuthorId) -> String {
        let set = &self.known.load().current;
        tokens::author_token(set.id, author, &set.author_mac(site, author))
    }

    /// The author that a token names, true or not; to find out for which site it must be checked.
    pub fn claimed_author(token: &str) -> Option<AuthorId> {
        tokens::author_token_parts(token).map(|(_, author, _)| author)
    }

    /// The author behind a token; none for one that we did not make for this site.
    pub fn read_author_token(&self, site: SiteId, token: &str) -> Option<AuthorId> {
        let (key_id, author, mac) = tokens::author_token_parts(token)?;
        let expected = self.known.load().with_id(&key_id)?.author_mac(site, author);
        bool::from(expected.ct_eq(&mac)).then_some(author)
    }

    /// The token of a link in a mail to a moderator that decides on a comment.
    pub fn decision_token(&self, link: &DecisionLink) -> String {
        self.link_token(Errand::Decide, &link.claims())
    }

    /// What a token of ours was made for; none for any other text. A key that was forgotten takes its tokens with it.
    pub fn read_decision_token(&self, token: &str) -> Option<DecisionLink> {
        DecisionLink::of_claims(&self.link_claims(Errand::Decide, token)?)
    }

    /// The token of a link in a mail that turns an account's mail off, made at that time. It has no end of its own.
    pub fn unsubscribe_token(&self, account: AccountId, made_at: Timestamp) -> String {
        let claims = [account.as_bytes().as_slice(), &made_at.0.to_be_bytes()].concat();
        self.link_token(Errand::Unsubscribe, &claims)
    }

    /// Whose mail such a token turns off, and when it was made; none for a text that is no token of ours.
    pub fn read_unsubscribe_token(&self, token: &str) -> Option<(AccountId, Timestamp)> {
        let claims = self.link_claims(Errand::Unsubscribe, token)?;
        let (account, made_at) = claims.split_first_chunk::<16>()?;
        let made_at = i64::from_be_bytes(made_at.try_into().ok()?);
        Some((AccountId(Uuid::from_bytes(*account)), Timestamp(made_at)))
    }

    /// The token of a form of this site that is given out at that time: the same for all who ask within a second, with
    /// nothing of theirs in it.
    pub fn form_token(&self, site: SiteId, at: Timestamp) -> String {
        let second = at.0.div_euclid(1_000_000);
        self.link_token(Errand::Form, &[site.as_bytes().as_slice(), &second.to_be_bytes()].concat())
    }

    /// When a form of this site was given out, to the second; none for a text that is no token of ours for it.
    pub fn read_form_token(&self, site: SiteId, token: &str) -> Option<Timestamp> {
        let claims = self.link_claims(Errand::Form, token)?;
        let second = claims.strip_prefix(site.as_bytes().as_slice())?;
        Some(Timestamp(i64::from_be_bytes(second.try_into().ok()?).checked_mul(1_000_000)?))
    }

    fn link_token(&self, errand: Errand, claims: &[u8]) -> String {
        let set = &self.known.load().current;
        let signed = [set.id.as_slice(), claims].concat();
        links::token(&signed, &set.link_mac(errand, &signed))
    }

    fn link_claims(&self, errand: Errand, token: &str) -> Option<Vec<u8>> {
        let (signed, mac) = links::parts(token)?;
        let (key_id, claims) = signed.split_first_chunk::<4>()?;
        let expected = self.known.load().with_id(key_id)?.link_mac(errand, &signed);
        bool::from(expected.ct_eq(&mac)).then(|| claims.to_vec())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs;

    fn keys() -> (tempfile::TempDir, Keys) {
        let folder = tempfile::tempdir().unwrap();
        let keys = Keys::load_or_make(&folder.path().join("data/secret.key")).unwrap();
        (folder, keys)
    }

    #[test]
    fn sealed_values_open_in_their_place_alone() {
        let (_folder, keys) = keys();
        let (row, other) = ([1; 16], [2; 16]);
        let place = Place { column: "comments.email", row: &row };
        let sealed = keys.sealer().unwrap().seal(place, b"ada@example.org").unwrap();
        assert!(!sealed.windows(3).any(|bytes| bytes == b"ada"));
        assert_eq!(keys.open(place, &sealed).unwrap(), b"ada@example.org");
        assert_ne!(
            keys.sealer().unwrap().seal(place, b"ada@example.org").unwrap(),
            sealed,
            "every value has its own nonce"
        );
        assert!(keys.open(Place { column: "comments.email", row: &other }, &sealed).is_err());
        assert!(keys.open(Place { column: "accounts.email", row: &row }, &sealed).is_err());
        for at in 0..sealed.len() {
            let mut broken = sealed.clone();
            broken[at] ^= 1;
            assert!(keys.open(place, &broken).is_err(), "byte {at}");
            assert!(keys.open(place, &sealed[..at]).is_err(), "cut at {at}");
        }
    }

    /// A file with these keys, the first one on top.
    fn file_of(folder: &tempfile::TempDir, keys: &[u8]) -> PathBuf {
        let path = folder.path().join("secret.key");
        let lines: String = keys.iter().map(|key| hex(&[*key; 32]) + "\n").collect();
        fs::write(&path, lines).unwrap();
        path
    }

    const PLACE: Place<'_> = Place { column: "c", row: &[0; 16] };

    #[test]
    fn older_keys_still_open() {
        let folder = tempfile::tempdir().unwrap();
        let old = Keys::load(&file_of(&folder, &[1])).unwrap().unwrap();
        let (site, author) = (SiteId(Uuid::from_u128(1)), AuthorId(Uuid::from_u128(2)));
        let (sealed, token) = (old.sealer().unwrap().seal(PLACE, b"x").unwrap(), old.author_token(site, author));
        let new = Keys::load(&file_of(&folder, &[2, 1])).unwrap().unwrap();
        assert_ne!(new.check_value(), old.check_value());
        assert_eq!(new.open(PLACE, &sealed).unwrap(), b"x");
        assert_eq!(new.read_author_token(site, &token), Some(author));
        let email = Email::parse("ada@example.org", "email").unwrap();
        assert_eq!(new.email_hashes(&email)[1..], old.email_hashes(&email));
        assert!(new.text_hashes("x").contains(&old.text_hash("x")));
        assert!(new.request_hashes(&[b"x"]).contains(&old.request_hashes(&[b"x"])[0]));
        assert_eq!(new.avatar(site, "Ada"), old.avatar(site, "Ada"), "pictures stay");
        assert_eq!(new.limit_hash(&[b"x"]), old.limit_hash(&[b"x"]), "limits go on counting");
    }

    #[test]
    fn a_changed_file_is_read_again_and_the_database_says_what_is_used() {
        let folder = tempfile::tempdir().unwrap();
        let path = file_of(&folder, &[1]);
        let keys = Keys::load(&path).unwrap().unwrap();
        let used = keys.check_value();
        assert!(!keys.reload().unwrap(), "nothing has changed");
        file_of(&folder, &[2, 1]);
        let new = Keys::load(&path).unwrap().unwrap();
        let sealed = new.sealer().unwrap().seal(PLACE, b"x").unwrap();
        // On demand, without anybody having looked at the file.
        assert_eq!(keys.open(PLACE, &sealed).unwrap(), b"x");
        assert_eq!((keys.check_value(), keys.first_check_value()), (used.clone(), new.check_value()));
        assert!(keys.follow(&new.check_value()));
        assert_eq!(key_id(&keys.sealer().unwrap().seal(PLACE, b"y").unwrap()), key_id(&sealed));
        assert_eq!(keys.is_current(key_id(&sealed).unwrap()), Some(true));
        for broken in ["", "12", &(hex(&[1; 32]) + "\n")] {
            fs::write(&path, broken).unwrap();
            assert!(keys.reload().is_err(), "{broken}");
            assert!(keys.knows(&used) && keys.check_value() == new.check_value(), "the keys from before stay");
        }
        fs::remove_file(&path).unwrap();
        assert!(keys.reload().unwrap_err().inside().contains("still used"));
        assert_eq!(keys.open(PLACE, &sealed).unwrap(), b"x");
    }

    #[test]
    fn nothing_is_sealed_while_the_key_that_is_used_is_missing() {
        let folder = tempfile::tempdir().unwrap();
        let path = file_of(&folder, &[1]);
        let keys = Keys::load(&path).unwrap().unwrap();
        let foreign = Keys::load(&file_of(&folder, &[2])).unwrap().unwrap();
        file_of(&folder, &[1]);
        assert!(!keys.follow(&foreign.check_value()));
        assert!(matches!(keys.sealer(), Err(Error::KeyMissing(_))));
        assert!(matches!(
            keys.open(PLACE, &foreign.sealer().unwrap().seal(PLACE, b"x").unwrap()),
            Err(Error::KeyMissing(_))
        ));
        file_of(&folder, &[2, 1]);
        assert!(keys.reload().unwrap());
        assert_eq!(
            key_id(&keys.sealer().unwrap().seal(PLACE, b"x").unwrap()),
            key_id(&foreign.sealer().unwrap().seal(PLACE, b"x").unwrap())
        );
    }

    /// The database was restored from a backup, or a replica told an old fact after a new one.
    #[test]
    fn the_database_may_go_back_to_the_key_from_before() {
        let folder = tempfile::tempdir().unwrap();
        let keys = Keys::load(&file_of(&folder, &[1])).unwrap().unwrap();
        let used = keys.check_value();
        assert!(!keys.follow("of a key that is not here"));
        assert!(keys.follow(&used));
        keys.sealer().unwrap().seal(PLACE, b"x").unwrap();
    }

    #[test]
    fn author_tokens_cannot_be_made_up() {
        let (_folder, keys) = keys();
        let (site, author) = (SiteId(Uuid::from_u128(1)), AuthorId(Uuid::from_u128(2)));
        let token = keys.author_token(site, author);
        assert_eq!(keys.author_token(site, author), token);
        assert_eq!(keys.read_author_token(site, &token), Some(author));
        assert_eq!(keys.read_author_token(SiteId(Uuid::from_u128(3)), &token), None);
        for at in 0..token.len() {
            let mut broken = token.clone().into_bytes();
            broken[at] = if broken[at] == b'A' { b'B' } else { b'A' };
            assert_eq!(keys.read_author_token(site, std::str::from_utf8(&broken).unwrap()), None, "byte {at}");
        }
        assert_eq!(keys.read_author_token(site, ""), None);
    }

    #[test]
    fn look_ups_are_keyed_and_fold_spellings() {
        let ((_a, first), (_b, second)) = (keys(), keys());
        let email = |text| Email::parse(text, "email").unwrap();
        assert_eq!(first.email_hashes(&email("Ada@Example.org")), first.email_hashes(&email("ada@example.org")));
        assert_ne!(first.email_hashes(&email("ada@example.org")), second.email_hashes(&email("ada@example.org")));
        let site = SiteId(Uuid::from_u128(1));
        assert_eq!(first.avatar(site, "Ada").len(), 16);
        assert_ne!(first.avatar(site, "Ada"), first.avatar(SiteId(Uuid::from_u128(2)), "Ada"));
    }
}
