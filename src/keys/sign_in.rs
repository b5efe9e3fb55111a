//! What people sign in with, drawn and checked: the secrets of sessions and links, the token that goes with a session's
//! requests, one-time codes and what stands in for them, and the mark of a browser that has signed in before.

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use sha2::{Digest, Sha256};
use subtle::ConstantTimeEq;
use totp_rs::{Builder, Secret};
use zeroize::Zeroizing;

use super::set::HashKey;
use super::{Keys, access_token_hash};
use crate::domain::ids::AccountId;
use crate::domain::time::Timestamp;
use crate::error::Error;

/// A new secret of 256 random bits as text, and the hash under which it is stored: so many bits need no salt.
pub fn new_secret() -> Result<(String, Vec<u8>), Error> {
    let text = URL_SAFE_NO_PAD.encode(random::<32>()?.as_slice());
    let hash = secret_hash(&text);
    Ok((text, hash))
}

/// The hash under which a secret is stored.
pub fn secret_hash(secret: &str) -> Vec<u8> {
    access_token_hash(secret)
}

fn random<const N: usize>() -> Result<Zeroizing<[u8; N]>, Error> {
    let mut bytes = Zeroizing::new([0; N]);
    getrandom::fill(bytes.as_mut_slice()).map_err(Error::internal)?;
    Ok(bytes)
}

/// What requests of a session that change something carry beside the cookie. It is derived from the session's secret, so it
/// is stored nowhere, another session has another, and no new key changes it.
pub fn csrf_token(session_secret: &str) -> String {
    let key: [u8; 32] = Sha256::digest(session_secret.as_bytes()).into();
    // The hash alone is stored; this one is keyed with it and something else, so a look at the table does not tell it.
    let parts = [b"csrf token".as_slice(), session_secret.as_bytes()];
    URL_SAFE_NO_PAD.encode(HashKey::new(&key).hash(parts.into_iter()))
}

/// Whether this is the token of that session; in the same time, right or wrong.
pub fn is_csrf_token(session_secret: &str, token: &[u8]) -> bool {
    bool::from(csrf_token(session_secret).as_bytes().ct_eq(token))
}

/// Bytes of the secret of one-time codes: RFC 4226 §4 recommends 160 bits.
const TOTP_SECRET: usize = 20;

/// A new secret of one-time codes.
pub fn new_totp_secret() -> Result<Zeroizing<Vec<u8>>, Error> {
    Ok(Zeroizing::new(random::<TOTP_SECRET>()?.to_vec()))
}

/// The secret as people type it and as telephones read it from a picture: base32, and an `otpauth:` address.
pub fn totp_in_words(secret: &[u8], email: &str) -> Result<(String, String), Error> {
    let builder = Builder::new().with_secret(Secret::new(secret.into()));
    let totp = builder.with_issuer(Some("Afterword")).with_account_name(email).build().map_err(totp_trouble)?;
    Ok((totp.secret().to_base32(), totp.to_url().map_err(totp_trouble)?))
}

fn totp_trouble(cause: impl std::fmt::Display) -> Error {
    Error::internal(format!("one-time codes: {cause}"))
}

/// The step of time (30 seconds, RFC 6238 with six digits) that a code belongs to, if it is that of now or of the step
/// before or after it.
pub fn totp_step(secret: &[u8], code: &str, now: Timestamp) -> Option<i64> {
    let totp = Builder::new().with_secret(Secret::new(secret.into())).build_noncompliant();
    let is_code = code.len() == 6 && code.bytes().all(|byte| byte.is_ascii_digit());
    let seconds = u64::try_from(now.0 / 1_000_000).ok()?;
    totp.check(code, seconds).filter(|_| is_code).and_then(|step| i64::try_from(step).ok())
}

/// Recovery codes of one account.
const RECOVERY_CODES: usize = 10;

/// Letters and digits that nobody takes for each other (Crockford's base32, in lower case).
const LETTERS: &[u8; 32] = b"0123456789abcdefghjkmnpqrstvwxyz";

/// New recovery codes: 16 letters each, which are 80 bits, so that their hashes tell nothing.
pub fn new_recovery_codes() -> Result<Vec<String>, Error> {
    let mut codes = Vec::new();
    for _ in 0..RECOVERY_CODES {
        let letter = |byte: &u8| LETTERS.get(usize::from(byte % 32)).map_or('0', |letter| char::from(*letter));
        let letters: Vec<char> = random::<16>()?.iter().map(letter).collect();
        codes.push(letters.chunks(4).map(String::from_iter).collect::<Vec<_>>().join("-"));
    }
    Ok(codes)
}

/// The hash under which an account's recovery code is stored; hyphens, spaces and capital letters make no difference.
pub fn recovery_code_hash(account: AccountId, code: &str) -> Vec<u8> {
    let plain: String = code.chars().filter(char::is_ascii_alphanumeric).collect();
    let mut hash = Sha256::new();
    hash.update(account.as_bytes());
    hash.update(plain.to_ascii_lowercase().as_bytes());
    hash.finalize().to_vec()
}

/// How long a browser is remembered, in microseconds: a year.
const REMEMBERED: i64 = 365 * 86_400 * 1_000_000;

impl Keys {
    /// The mark of a browser in which somebody has signed in with this address (folded); of a new one unless it is known
    /// already. It opens nothing.
    pub fn device_mark(&self, address: &str, known: Option<[u8; 16]>, now: Timestamp) -> Result<String, Error> {
        let device = known.map_or_else(random::<16>, |device| Ok(Zeroizing::new(device)))?;
        let set = &self.known.load().current;
        let signed = [set.id.as_slice(), device.as_slice(), &now.0.to_be_bytes()].concat();
        let mac = set.lookup("device", &[&signed, address.as_bytes()]);
        Ok(URL_SAFE_NO_PAD.encode([signed.as_slice(), &mac].concat()))
    }

    /// The browser that a mark stands for, if it is one of ours for this address and no older than a year.
    pub fn read_device_mark(&self, mark: &str, address: &str, now: Timestamp) -> Option<[u8; 16]> {
        let bytes = URL_SAFE_NO_PAD.decode(mark).ok()?;
        let (signed, mac) = bytes.split_last_chunk::<32>()?;
        let (key_id, rest) = signed.split_first_chunk::<4>()?;
        let (device, made_at) = rest.split_first_chunk::<16>()?;
        let made_at = i64::from_be_bytes(made_at.try_into().ok()?);
        let expected = self.known.load().with_id(key_id)?.lookup("device", &[signed, address.as_bytes()]);
        let is_ours = bool::from(expected.ct_eq(mac));
        (is_ours && now.0.saturating_sub(made_at) < REMEMBERED).then_some(*device)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// RFC 6238, appendix B, the SHA-1 column cut to six digits.
    #[test]
    fn codes_are_those_of_the_standard() {
        let secret = b"12345678901234567890";
        let at = |seconds: i64| Timestamp(seconds * 1_000_000);
        assert_eq!(totp_step(secret, "287082", at(59)), Some(1));
        assert_eq!(totp_step(secret, "081804", at(1_111_111_109)), Some(37_037_036));
        assert_eq!(totp_step(secret, "287082", at(89)), Some(1), "the step before");
        assert_eq!(totp_step(secret, "287082", at(90)), None);
        for wrong in ["", "28708", "2870820", "28708a", " 287082", "٢٨٧٠٨٢"] {
            assert_eq!(totp_step(secret, wrong, at(59)), None, "{wrong}");
        }
        let (words, url) = totp_in_words(secret, "ann@blog.example").unwrap();
        assert_eq!(words, "GEZDGNBVGY3TQOJQGEZDGNBVGY3TQOJQ");
        assert!(url.starts_with("otpauth://totp/Afterword:ann%40blog.example?secret=GEZDG"), "{url}");
    }

    #[test]
    fn recovery_codes_are_read_as_people_type_them() {
        let account = AccountId(uuid::Uuid::nil());
        let codes = new_recovery_codes().unwrap();
        let typed = codes[0].to_uppercase().replace('-', " ");
        assert_eq!(recovery_code_hash(account, &typed), recovery_code_hash(account, &codes[0]));
        assert_ne!(recovery_code_hash(account, &codes[1]), recovery_code_hash(account, &codes[0]));
        assert_eq!((codes.len(), codes[0].len()), (10, 19));
    }

    #[test]
    fn a_mark_is_for_one_address_and_a_year() {
        let folder = tempfile::tempdir().unwrap();
        let keys = Keys::load_or_make(&folder.path().join("secret.key")).unwrap();
        let mark = keys.device_mark("ann@blog.example", None, Timestamp(0)).unwrap();
        let read = |mark: &str, address: &str, now| keys.read_device_mark(mark, address, Timestamp(now)).is_some();
        let device = keys.read_device_mark(&mark, "ann@blog.example", Timestamp(1));
        let again = keys.device_mark("ann@blog.example", device, Timestamp(2)).unwrap();
        assert_eq!(
            keys.read_device_mark(&again, "ann@blog.example", Timestamp(REMEMBERED + 1)),
            device,
            "a year from then"
        );
        assert!(read(&mark, "ann@blog.example", REMEMBERED - 1));
        assert!(!read(&mark, "ann@blog.example", REMEMBERED));
        assert!(!read(&mark, "ben@blog.example", 0));
        assert!(!read("", "ann@blog.example", 0) && !read(&mark[1..], "ann@blog.example", 0));
    }

    #[test]
    fn each_session_has_a_token_of_its_own() {
        let ((one, _), (other, _)) = (new_secret().unwrap(), new_secret().unwrap());
        assert!(is_csrf_token(&one, csrf_token(&one).as_bytes()));
        assert!(!is_csrf_token(&one, csrf_token(&other).as_bytes()) && !is_csrf_token(&one, b""));
        assert!(!csrf_token(&one).contains(&one));
    }
}
