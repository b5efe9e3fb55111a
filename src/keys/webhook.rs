//! Secrets of webhooks, and signatures with them as Standard Webhooks has them.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use chacha20poly1305::KeyInit;
use hmac::{Hmac, Mac};
use sha2::Sha256;
use zeroize::Zeroizing;

use crate::error::Error;

/// Begins every secret of a webhook (Standard Webhooks, "Secret serialization").
const PREFIX: &str = "whsec_";

/// A new secret: 32 random bytes, as text.
pub fn new_webhook_secret() -> Result<String, Error> {
    let mut secret = Zeroizing::new([0_u8; 32]);
    getrandom::fill(secret.as_mut_slice()).map_err(Error::internal)?;
    Ok(format!("{PREFIX}{}", STANDARD.encode(secret.as_slice())))
}

/// A message that is signed.
#[derive(Debug, Clone, Copy)]
pub struct Signed<'a> {
    /// The same on every attempt.
    pub id: &'a str,
    /// Seconds since 1970, of this attempt.
    pub timestamp: i64,
    /// The body as it is sent.
    pub body: &'a [u8],
}

/// The value of `webhook-signature`: one signature for each secret, the first secret's first.
pub fn webhook_signatures(secrets: &[&str], message: Signed<'_>) -> Result<String, Error> {
    let signatures: Result<Vec<_>, Error> = secrets.iter().map(|secret| signature(secret, message)).collect();
    Ok(signatures?.join(" "))
}

fn signature(secret: &str, message: Signed<'_>) -> Result<String, Error> {
    let key = secret.strip_prefix(PREFIX).and_then(|text| STANDARD.decode(text).ok()).map(Zeroizing::new);
    let key = key.ok_or_else(|| Error::internal("a webhook's secret is not one"))?;
    let mut mac = <Hmac<Sha256> as KeyInit>::new_from_slice(&key).map_err(Error::internal)?;
    mac.update(format!("{}.{}.", message.id, message.timestamp).as_bytes());
    mac.update(message.body);
    Ok(format!("v1,{}", STANDARD.encode(mac.finalize().into_bytes())))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The test vector of the specification's own libraries (standard-webhooks, `libraries/*/test`).
    #[test]
    fn the_signature_is_that_of_standard_webhooks() {
        let message =
            Signed { id: "msg_p5jXN8AQM9LWM0D4loKWxJek", timestamp: 1_614_265_330, body: br#"{"test": 2432232314}"# };
        let secret = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw";
        let signature = "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE=";
        assert_eq!(webhook_signatures(&[secret], message).unwrap(), signature);
        let both = webhook_signatures(&[&new_webhook_secret().unwrap(), secret], message).unwrap();
        let both: Vec<_> = both.split(' ').collect();
        assert!(both.len() == 2 && both[1] == signature && both[0] != signature);
        assert!(webhook_signatures(&["whsec_not base64"], message).is_err());
        assert!(webhook_signatures(&["MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"], message).is_err());
    }
}
