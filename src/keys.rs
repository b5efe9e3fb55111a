//! The secret file and everything that is derived from it: encryption of private fields, keyed look-up hashes, author
//! tokens, avatars. One path for each use, and no way to the raw key. The file's first line is the current key; further
//! lines are older keys that still open what they sealed.

use std::fmt;
use std::fs::{self, OpenOptions};
use std::io::{ErrorKind, Write};
use std::path::Path;

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use chacha20poly1305::aead::{Aead, Payload};
use chacha20poly1305::{KeyInit, XChaCha20Poly1305, XNonce};
use hkdf::Hkdf;
use hmac::{Hmac, Mac};
use sha2::{Digest, Sha256};
use subtle::ConstantTimeEq;
use zeroize::Zeroizing;

use crate::disk::{folder_of, make_folder, sync_folder};
use crate::domain::email::Email;
use crate::domain::hex::hex;
use crate::domain::ids::{AuthorId, SiteId};
use crate::error::Error;

/// Begins every author token, so that people and scanners know one when they see it.
const AUTHOR_TOKEN_PREFIX: &str = "awa_";
/// Begins every access token of an account.
const ACCESS_TOKEN_PREFIX: &str = "awt_";
/// First byte of a sealed value: XChaCha20-Poly1305, key id, nonce, ciphertext.
const SEALED_V1: u8 = 1;

/// Where a sealed value lies. It is part of what is authenticated, so that a value cannot be moved to another row.
#[derive(Debug, Clone, Copy)]
pub struct Place<'a> {
    /// `table.column`.
    pub column: &'static str,
    /// The row's id.
    pub row: &'a [u8; 16],
}

/// The keys of this installation.
pub struct Keys {
    current: KeySet,
    older: Vec<KeySet>,
}

/// What is derived from one line of the file.
struct KeySet {
    id: [u8; 4],
    seal: XChaCha20Poly1305,
    lookup: Zeroizing<[u8; 32]>,
    author: Zeroizing<[u8; 32]>,
    check: [u8; 16],
}

impl fmt::Debug for Keys {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Keys(…)")
    }
}

impl Keys {
    /// Reads the file, making it with a new key when it is missing: exclusively, mode 0600, whole or not at all.
    pub fn load_or_make(path: &Path) -> Result<Self, Error> {
        match Self::load(path)? {
            Some(keys) => Ok(keys),
            None => {
                make_file(path)?;
                Self::load(path)?.ok_or_else(|| trouble(path, "it vanished"))
            }
        }
    }

    /// Reads the file; none when it is missing.
    pub fn load(path: &Path) -> Result<Option<Self>, Error> {
        let text = match fs::read_to_string(path) {
            Ok(text) => Zeroizing::new(text),
            Err(cause) if cause.kind() == ErrorKind::NotFound => return Ok(None),
            Err(cause) => return Err(trouble(path, &cause.to_string())),
        };
        let mut sets = Vec::new();
        for line in text.lines().filter(|line| !line.trim().is_empty()) {
            let master = from_hex(line.trim()).ok_or_else(|| trouble(path, "a key is 64 hex digits on a line"))?;
            sets.push(KeySet::derive(&master)?);
        }
        let mut sets = sets.into_iter();
        let current = sets.next().ok_or_else(|| trouble(path, "it is empty; restore it from a backup"))?;
        Ok(Some(Self { current, older: sets.collect() }))
    }

    /// Tells the current key from any other without telling it; the database keeps this value.
    pub fn check_value(&self) -> String {
        hex(&self.current.check)
    }

    /// Whether a check value is that of one of these keys.
    pub fn knows(&self, check: &str) -> bool {
        std::iter::once(&self.current).chain(&self.older).any(|set| hex(&set.check) == check)
    }

    /// Encrypts a private value for its place.
    pub fn seal(&self, place: Place<'_>, plain: &[u8]) -> Result<Vec<u8>, Error> {
        let mut nonce = [0_u8; 24];
        getrandom::fill(&mut nonce).map_err(Error::internal)?;
        let payload = Payload { msg: plain, aad: &authenticated(place) };
        let sealed = self.current.seal.encrypt(&XNonce::from(nonce), payload);
        let sealed = sealed.map_err(|_| Error::internal("a private value could not be encrypted"))?;
        let mut value = Vec::with_capacity(1 + 4 + 24 + sealed.len());
        value.push(SEALED_V1);
        value.extend_from_slice(&self.current.id);
        value.extend_from_slice(&nonce);
        value.extend_from_slice(&sealed);
        Ok(value)
    }

    /// Decrypts a value from its place.
    pub fn open(&self, place: Place<'_>, value: &[u8]) -> Result<Vec<u8>, Error> {
        let opened = value.split_first_chunk::<29>().and_then(|(head, sealed)| {
            let (version, rest) = head.split_first()?;
            let (id, nonce) = rest.split_first_chunk::<4>()?;
            let nonce = XNonce::try_from(nonce).ok()?;
            let set = self.set(*id).filter(|_| *version == SEALED_V1)?;
            set.seal.decrypt(&nonce, Payload { msg: sealed, aad: &authenticated(place) }).ok()
        });
        opened.ok_or_else(|| Error::internal(format!("a value in {} does not open with this key", place.column)))
    }

    fn set(&self, id: [u8; 4]) -> Option<&KeySet> {
        std::iter::once(&self.current).chain(&self.older).find(|set| set.id == id)
    }

    /// Finds a person's rows without storing the address: equal for two spellings of one mailbox.
    pub fn email_hash(&self, email: &Email) -> Vec<u8> {
        self.current.lookup("email", &[email.folded().as_bytes()]).to_vec()
    }

    /// Finds a double: equal for equal normalised names and texts.
    pub fn text_hash(&self, normalised: &str) -> Vec<u8> {
        self.current
            .lookup("text", &[normalised.as_bytes()])
            .first_chunk::<16>()
            .map_or_else(Vec::new, |hash| hash.to_vec())
    }

    /// The picture beside a name on a site: equal for equal names, and no way back to anything.
    pub fn avatar(&self, site: SiteId, name: &str) -> String {
        let hash = self.current.lookup("avatar", &[site.as_bytes(), name.as_bytes()]);
        hex(hash.first_chunk::<8>().unwrap_or(&[0; 8]))
    }

    /// A keyed hash of an idempotency key or a request, for look-up.
    pub fn request_hash(&self, parts: &[&[u8]]) -> Vec<u8> {
        self.current.lookup("request", parts).to_vec()
    }

    /// A keyed hash of whom a rate limit counts, for limits that instances share.
    pub fn limit_hash(&self, parts: &[&[u8]]) -> [u8; 16] {
        *self.current.lookup("rate limit", parts).first_chunk().unwrap_or(&[0; 16])
    }

    /// The secret that stands for an author on a site. Derived, so that a repeated answer can repeat it.
    pub fn author_token(&self, site: SiteId, author: AuthorId) -> String {
        let mut bytes = Vec::with_capacity(36);
        bytes.extend_from_slice(&self.current.id);
        bytes.extend_from_slice(author.as_bytes());
        bytes.extend_from_slice(&self.current.author_mac(site, author));
        format!("{AUTHOR_TOKEN_PREFIX}{}", URL_SAFE_NO_PAD.encode(bytes))
    }

    /// The author that a token names, true or not; to find out for which site it must be checked.
    pub fn claimed_author(token: &str) -> Option<AuthorId> {
        author_token_parts(token).map(|(_, author, _)| author)
    }

    /// The author behind a token; none for one that we did not make for this site.
    pub fn read_author_token(&self, site: SiteId, token: &str) -> Option<AuthorId> {
        let (key_id, author, mac) = author_token_parts(token)?;
        let expected = self.set(key_id)?.author_mac(site, author);
        bool::from(expected.ct_eq(&mac)).then_some(author)
    }
}

/// Key id, author and MAC of an author token.
fn author_token_parts(token: &str) -> Option<([u8; 4], AuthorId, [u8; 16])> {
    let bytes = URL_SAFE_NO_PAD.decode(token.strip_prefix(AUTHOR_TOKEN_PREFIX)?).ok()?;
    let bytes: [u8; 36] = bytes.try_into().ok()?;
    let (key_id, rest) = bytes.split_first_chunk::<4>()?;
    let (author, mac) = rest.split_first_chunk::<16>()?;
    Some((*key_id, AuthorId(uuid::Uuid::from_bytes(*author)), mac.try_into().ok()?))
}

impl KeySet {
    fn derive(master: &[u8; 32]) -> Result<Self, Error> {
        let hkdf = Hkdf::<Sha256>::new(Some(b"afterword v1"), master);
        let expand = |purpose: &str, out: &mut [u8]| {
            hkdf.expand(purpose.as_bytes(), out).map_err(|_| Error::internal("a key could not be derived"))
        };
        let (mut id, mut check) = ([0; 4], [0; 16]);
        let (mut seal, mut lookup, mut author) =
            (Zeroizing::new([0; 32]), Zeroizing::new([0; 32]), Zeroizing::new([0; 32]));
        expand("key id", &mut id)?;
        expand("check value", &mut check)?;
        expand("seal private fields", seal.as_mut_slice())?;
        expand("look up", lookup.as_mut_slice())?;
        expand("author token", author.as_mut_slice())?;
        let seal =
            XChaCha20Poly1305::new_from_slice(seal.as_slice()).map_err(|_| Error::internal("a key has 32 bytes"))?;
        Ok(Self { id, seal, lookup, author, check })
    }

    /// HMAC-SHA-256 over the purpose and the parts, each preceded by its length.
    fn lookup(&self, purpose: &str, parts: &[&[u8]]) -> [u8; 32] {
        keyed_hash(&self.lookup, std::iter::once(purpose.as_bytes()).chain(parts.iter().copied()))
    }

    fn author_mac(&self, site: SiteId, author: AuthorId) -> [u8; 16] {
        let parts = [site.as_bytes().as_slice(), author.as_bytes()];
        let mac = keyed_hash(&self.author, parts.into_iter());
        *mac.first_chunk::<16>().unwrap_or(&[0; 16])
    }
}

#[expect(clippy::expect_used, reason = "HMAC takes a key of any length")]
fn keyed_hash<'a>(key: &[u8; 32], parts: impl Iterator<Item = &'a [u8]>) -> [u8; 32] {
    let mut mac = <Hmac<Sha256> as KeyInit>::new_from_slice(key).expect("HMAC takes a key of any length");
    for part in parts {
        mac.update(&(part.len() as u64).to_be_bytes());
        mac.update(part);
    }
    mac.finalize().into_bytes().into()
}

fn authenticated(place: Place<'_>) -> Vec<u8> {
    [place.column.as_bytes(), b"|", place.row].concat()
}

/// A new access token and its hash. Only the hash is stored; 256 random bits need no salt and no slow hash.
pub fn new_access_token() -> Result<(String, Vec<u8>), Error> {
    let mut secret = Zeroizing::new([0_u8; 32]);
    getrandom::fill(secret.as_mut_slice()).map_err(Error::internal)?;
    let token = format!("{ACCESS_TOKEN_PREFIX}{}", URL_SAFE_NO_PAD.encode(secret.as_slice()));
    let hash = access_token_hash(&token);
    Ok((token, hash))
}

/// The hash under which an access token is stored.
pub fn access_token_hash(token: &str) -> Vec<u8> {
    Sha256::digest(token.as_bytes()).to_vec()
}

fn trouble(path: &Path, what: &str) -> Error {
    Error::internal(format!("secrets.key_file {}: {what}", path.display()))
}

/// Writes a new key beside the file and links it into place, so that of several processes that start at once exactly one
/// makes the key and nobody ever reads half a file.
fn make_file(path: &Path) -> Result<(), Error> {
    let told = |cause: std::io::Error| trouble(path, &cause.to_string());
    make_folder(folder_of(path)).map_err(told)?;
    let mut key = Zeroizing::new([0_u8; 32]);
    getrandom::fill(key.as_mut_slice()).map_err(Error::internal)?;
    let mut name = [0_u8; 8];
    getrandom::fill(&mut name).map_err(Error::internal)?;
    let draft = path.with_extension(format!("new-{}", hex(&name)));
    let mut options = OpenOptions::new();
    options.write(true).create_new(true);
    #[cfg(unix)]
    std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
    let mut file = options.open(&draft).map_err(told)?;
    let line = Zeroizing::new(hex(key.as_slice()) + "\n");
    let written = file.write_all(line.as_bytes()).and_then(|()| file.sync_all());
    let linked = written.and_then(|()| fs::hard_link(&draft, path));
    fs::remove_file(&draft).map_err(told)?;
    match linked {
        Err(cause) if cause.kind() != ErrorKind::AlreadyExists => Err(told(cause)),
        // Before anything is encrypted with it.
        _ => sync_folder(folder_of(path)).map_err(told),
    }
}

fn from_hex(text: &str) -> Option<Zeroizing<[u8; 32]>> {
    let mut bytes = Zeroizing::new([0; 32]);
    if text.len() != 64 || !text.is_ascii() {
        return None;
    }
    for (byte, pair) in bytes.iter_mut().zip(text.as_bytes().chunks_exact(2)) {
        *byte = u8::from_str_radix(std::str::from_utf8(pair).ok()?, 16).ok()?;
    }
    Some(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;
    use uuid::Uuid;

    fn keys() -> (tempfile::TempDir, Keys) {
        let folder = tempfile::tempdir().unwrap();
        let keys = Keys::load_or_make(&folder.path().join("data/secret.key")).unwrap();
        (folder, keys)
    }

    #[test]
    fn the_file_is_made_once_and_for_its_owner_alone() {
        use std::os::unix::fs::PermissionsExt;
        let (folder, keys) = keys();
        let path = folder.path().join("data/secret.key");
        assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
        assert_eq!(fs::read_to_string(&path).unwrap().trim().len(), 64);
        assert_eq!(fs::read_dir(folder.path().join("data")).unwrap().count(), 1, "no draft is left");
        assert_eq!(Keys::load_or_make(&path).unwrap().check_value(), keys.check_value());
    }

    #[test]
    fn twenty_starts_at_once_agree_on_one_key() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("secret.key");
        let checks: Vec<String> = std::thread::scope(|scope| {
            let make = || Keys::load_or_make(&path).unwrap().check_value();
            let threads: Vec<_> = (0..20).map(|_| scope.spawn(make)).collect();
            threads.into_iter().map(|thread| thread.join().unwrap()).collect()
        });
        assert!(checks.iter().all(|check| *check == checks[0]));
    }

    #[test]
    fn broken_files_are_named() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("secret.key");
        for broken in ["", "12", &"g".repeat(64), &"ä".repeat(32)] {
            fs::write(&path, broken).unwrap();
            let Err(Error::Internal(cause)) = Keys::load_or_make(&path) else { panic!("{broken}") };
            assert!(cause.to_string().contains("secret.key"), "{cause}");
        }
    }

    #[test]
    fn sealed_values_open_in_their_place_alone() {
        let (_folder, keys) = keys();
        let (row, other) = ([1; 16], [2; 16]);
        let place = Place { column: "comments.email", row: &row };
        let sealed = keys.seal(place, b"ada@example.org").unwrap();
        assert!(!sealed.windows(3).any(|bytes| bytes == b"ada"));
        assert_eq!(keys.open(place, &sealed).unwrap(), b"ada@example.org");
        assert_ne!(keys.seal(place, b"ada@example.org").unwrap(), sealed, "every value has its own nonce");
        assert!(keys.open(Place { column: "comments.email", row: &other }, &sealed).is_err());
        assert!(keys.open(Place { column: "accounts.email", row: &row }, &sealed).is_err());
        for at in 0..sealed.len() {
            let mut broken = sealed.clone();
            broken[at] ^= 1;
            assert!(keys.open(place, &broken).is_err(), "byte {at}");
            assert!(keys.open(place, &sealed[..at]).is_err(), "cut at {at}");
        }
    }

    #[test]
    fn older_keys_still_open() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("secret.key");
        fs::write(&path, "11".repeat(32)).unwrap();
        let old = Keys::load(&path).unwrap().unwrap();
        let place = Place { column: "c", row: &[0; 16] };
        let (site, author) = (SiteId(Uuid::from_u128(1)), AuthorId(Uuid::from_u128(2)));
        let (sealed, token) = (old.seal(place, b"x").unwrap(), old.author_token(site, author));
        fs::write(&path, format!("{}\n{}\n", "22".repeat(32), "11".repeat(32))).unwrap();
        let new = Keys::load(&path).unwrap().unwrap();
        assert_ne!(new.check_value(), old.check_value());
        assert_eq!(new.open(place, &sealed).unwrap(), b"x");
        assert_eq!(new.read_author_token(site, &token), Some(author));
        assert!(old.open(place, &new.seal(place, b"x").unwrap()).is_err());
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
        assert_eq!(first.email_hash(&email("Ada@Example.org")), first.email_hash(&email("ada@example.org")));
        assert_ne!(first.email_hash(&email("ada@example.org")), second.email_hash(&email("ada@example.org")));
        let site = SiteId(Uuid::from_u128(1));
        assert_eq!(first.avatar(site, "Ada").len(), 16);
        assert_ne!(first.avatar(site, "Ada"), first.avatar(SiteId(Uuid::from_u128(2)), "Ada"));
    }
}
