//! Tokens as text: those of authors, which are derived, and those of accounts, which are drawn.

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use sha2::{Digest, Sha256};
use zeroize::Zeroizing;

use crate::domain::ids::AuthorId;
use crate::error::Error;

/// Begins every author token, so that people and scanners know one when they see it.
const AUTHOR_TOKEN_PREFIX: &str = "awa_";
/// Begins every access token of an account.
const ACCESS_TOKEN_PREFIX: &str = "awt_";

pub(super) fn author_token(key_id: [u8; 4], author: AuthorId, mac: &[u8; 16]) -> String {
    let bytes = [key_id.as_slice(), author.as_bytes(), mac].concat();
    format!("{AUTHOR_TOKEN_PREFIX}{}", URL_SAFE_NO_PAD.encode(bytes))
}

/// Key id, author and MAC of an author token.
pub(super) fn author_token_parts(token: &str) -> Option<([u8; 4], AuthorId, [u8; 16])> {
    let bytes = URL_SAFE_NO_PAD.decode(token.strip_prefix(AUTHOR_TOKEN_PREFIX)?).ok()?;
    let bytes: [u8; 36] = bytes.try_into().ok()?;
    let (key_id, rest) = bytes.split_first_chunk::<4>()?;
    let (author, mac) = rest.split_first_chunk::<16>()?;
    Some((*key_id, AuthorId(uuid::Uuid::from_bytes(*author)), mac.try_into().ok()?))
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
