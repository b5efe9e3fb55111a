//! What is derived from one line of the key file, and the form of a sealed value: a version byte, the key's id, the nonce,
//! the ciphertext.

use std::sync::Arc;

use chacha20poly1305::aead::{Aead, Payload};
use chacha20poly1305::{KeyInit, XChaCha20Poly1305, XNonce};
use hkdf::Hkdf;
use hmac::{Hmac, Mac};
use sha2::Sha256;
use zeroize::Zeroizing;

use super::Place;
use super::links::Errand;
use crate::domain::email::fold;
use crate::domain::hex::hex;
use crate::domain::ids::{AuthorId, SiteId};
use crate::error::Error;

/// First byte of a sealed value: XChaCha20-Poly1305.
const SEALED_V1: u8 = 1;

/// The keys of one line.
pub(super) struct KeySet {
    /// Tells which key a value was sealed with; not secret.
    pub id: [u8; 4],
    seal: XChaCha20Poly1305,
    lookup: HashKey,
    author: HashKey,
    decide: HashKey,
    unsubscribe: HashKey,
    confirm: HashKey,
    silence: HashKey,
    person: HashKey,
    form: HashKey,
    check: String,
}

/// What seals with one key, whatever happens meanwhile, so that all private values of a row lie under the same.
#[derive(Clone)]
pub struct Sealer(pub(super) Arc<KeySet>);

impl Sealer {
    /// The check value of its key.
    pub fn check_value(&self) -> &str {
        &self.0.check
    }

    /// Encrypts a private value for its place.
    pub fn seal(&self, place: Place<'_>, plain: &[u8]) -> Result<Vec<u8>, Error> {
        self.0.seal(place, plain)
    }

    /// Encrypts an e-mail address for its place, with the hash that finds it.
    pub fn seal_email(&self, place: Place<'_>, address: &str) -> Result<(Vec<u8>, Vec<u8>), Error> {
        Ok((self.0.seal(place, address.as_bytes())?, self.0.email_hash(&fold(address))))
    }
}

/// The id of the key that sealed a value; none for what is no sealed value.
pub fn key_id(value: &[u8]) -> Option<&[u8; 4]> {
    parts(value).map(|(id, _, _)| id)
}

fn parts(value: &[u8]) -> Option<(&[u8; 4], XNonce, &[u8])> {
    let (version, rest) = value.split_first()?;
    let (id, rest) = rest.split_first_chunk::<4>()?;
    let (nonce, sealed) = rest.split_first_chunk::<24>()?;
    (*version == SEALED_V1).then_some((id, XNonce::from(*nonce), sealed))
}

impl KeySet {
    pub(super) fn derive(master: &[u8; 32]) -> Result<Self, Error> {
        let hkdf = Hkdf::<Sha256>::new(Some(b"afterword v1"), master);
        let expand = |purpose: &str, out: &mut [u8]| {
            hkdf.expand(purpose.as_bytes(), out).map_err(|_| Error::internal("a key could not be derived"))
        };
        let secret = |purpose: &str| {
            let mut key = Zeroizing::new([0; 32]);
            expand(purpose, key.as_mut_slice()).map(|()| key)
        };
        let hash_key = |purpose: &str| secret(purpose).map(|key| HashKey::new(&key));
        let (mut id, mut check) = ([0; 4], [0; 16]);
        expand("key id", &mut id)?;
        expand("check value", &mut check)?;
        let seal = XChaCha20Poly1305::new_from_slice(secret("seal private fields")?.as_slice())
            .map_err(|_| Error::internal("a key has 32 bytes"))?;
        Ok(Self {
            id,
            seal,
            lookup: hash_key("look up")?,
            author: hash_key("author token")?,
            decide: hash_key("mail link: decide")?,
            unsubscribe: hash_key("mail link: unsubscribe")?,
            confirm: hash_key("mail link: confirm")?,
            silence: hash_key("mail link: silence")?,
            person: hash_key("mail link: person")?,
            form: hash_key("form token")?,
            check: hex(&check),
        })
    }

    pub(super) fn check_value(&self) -> &str {
        &self.check
    }

    pub(super) fn seal(&self, place: Place<'_>, plain: &[u8]) -> Result<Vec<u8>, Error> {
        let mut nonce = [0_u8; 24];
        getrandom::fill(&mut nonce).map_err(Error::internal)?;
        let payload = Payload { msg: plain, aad: &authenticated(place) };
        let sealed = self.seal.encrypt(&XNonce::from(nonce), payload);
        let sealed = sealed.map_err(|_| Error::internal("a private value could not be encrypted"))?;
        Ok([&[SEALED_V1], self.id.as_slice(), &nonce, &sealed].concat())
    }

    /// None for what this key has not sealed for this place.
    pub(super) fn open(&self, place: Place<'_>, value: &[u8]) -> Option<Vec<u8>> {
        let (id, nonce, sealed) = parts(value)?;
        let payload = Payload { msg: sealed, aad: &authenticated(place) };
        if *id == self.id { self.seal.decrypt(&nonce, payload).ok() } else { None }
    }

    pub(super) fn email_hash(&self, folded: &str) -> Vec<u8> {
        self.lookup("email", &[folded.as_bytes()]).to_vec()
    }

    pub(super) fn text_hash(&self, normalised: &str) -> Vec<u8> {
        let hash = self.lookup("text", &[normalised.as_bytes()]);
        hash.first_chunk::<16>().map_or_else(Vec::new, |hash| hash.to_vec())
    }

    /// HMAC-SHA-256 over the purpose and the parts, each preceded by its length.
    pub(super) fn lookup(&self, purpose: &str, parts: &[&[u8]]) -> [u8; 32] {
        self.lookup.hash(std::iter::once(purpose.as_bytes()).chain(parts.iter().copied()))
    }

    pub(super) fn author_mac(&self, site: SiteId, author: AuthorId) -> [u8; 16] {
        let parts = [site.as_bytes().as_slice(), author.as_bytes()];
        let mac = self.author.hash(parts.into_iter());
        *mac.first_chunk::<16>().unwrap_or(&[0; 16])
    }

    pub(super) fn link_mac(&self, errand: Errand, claims: &[u8]) -> [u8; 32] {
        let key = match errand {
            Errand::Decide => &self.decide,
            Errand::Unsubscribe => &self.unsubscribe,
            Errand::Confirm => &self.confirm,
            Errand::Silence => &self.silence,
            Errand::Person => &self.person,
            Errand::Form => &self.form,
        };
        key.hash(std::iter::once(claims))
    }
}

/// A key of HMAC-SHA-256, which has hashed itself already: that is half of the work of a short hash, and 25 avatars are in a list.
/// Forgets itself when it is dropped.
#[derive(Clone)]
pub(super) struct HashKey(Hmac<Sha256>);

impl HashKey {
    #[expect(clippy::expect_used, reason = "HMAC takes a key of any length")]
    pub fn new(key: &[u8; 32]) -> Self {
        Self(<Hmac<Sha256> as KeyInit>::new_from_slice(key).expect("HMAC takes a key of any length"))
    }

    /// Over the parts, each preceded by its length.
    pub fn hash<'a>(&self, parts: impl Iterator<Item = &'a [u8]>) -> [u8; 32] {
        let mut mac = self.0.clone();
        for part in parts {
            mac.update(&(part.len() as u64).to_be_bytes());
            mac.update(part);
        }
        mac.finalize().into_bytes().into()
    }
}

fn authenticated(place: Place<'_>) -> Vec<u8> {
    [place.column.as_bytes(), b"|", place.row].concat()
}
