//! An authenticator in memory, with the browser around it (`WebAuthn` level 3): one ES256 key, attestation `none`. What it says
//! about itself can be told to be wrong.

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use ring::rand::SystemRandom;
use ring::signature::{ECDSA_P256_SHA256_ASN1_SIGNING, EcdsaKeyPair, KeyPair};
use serde_json::{Value, json};
use sha2::{Digest, Sha256};

const USER_PRESENT: u8 = 0x01;
const USER_VERIFIED: u8 = 0x04;
const CREDENTIAL_DATA: u8 = 0x40;

/// A key that somebody carries, and the page that they are on.
pub struct Authenticator {
    /// Of the page.
    pub origin: String,
    /// Of which the authenticator believes that it asks.
    pub party: String,
    /// Whether it looks at a finger before it signs.
    pub verifies: bool,
    /// How often it has signed; 0 for ever, as synchronised passkeys have it.
    pub counter: u32,
    key: EcdsaKeyPair,
    id: Vec<u8>,
    user: String,
}

impl Authenticator {
    /// At a page of this origin.
    pub fn at(origin: &str) -> Self {
        let random = SystemRandom::new();
        let algorithm = &ECDSA_P256_SHA256_ASN1_SIGNING;
        let made = EcdsaKeyPair::generate_pkcs8(algorithm, &random).unwrap();
        let key = EcdsaKeyPair::from_pkcs8(algorithm, made.as_ref(), &random).unwrap();
        let id = Sha256::digest(key.public_key().as_ref()).to_vec();
        let party = origin.split("://").nth(1).unwrap().split(':').next().unwrap().to_owned();
        Self { origin: origin.to_owned(), party, verifies: true, counter: 0, key, id, user: String::new() }
    }

    /// Makes its credential, as `navigator.credentials.create` answers.
    pub fn create(&mut self, options: &Value) -> Value {
        options["user"]["id"].as_str().unwrap().clone_into(&mut self.user);
        let point = self.key.public_key().as_ref();
        // COSE (RFC 9053): kty EC2, alg ES256, crv P-256, x, y.
        let cose = [&[0xa5, 1, 2, 3, 0x26, 0x20, 1, 0x21, 0x58, 32], &point[1..33], &[0x22, 0x58, 32], &point[33..]];
        let mut data = self.data(CREDENTIAL_DATA);
        data.extend([0; 16]);
        data.extend(u16::try_from(self.id.len()).unwrap().to_be_bytes());
        data.extend(&self.id);
        data.extend(cose.concat());
        // CBOR: {"fmt": "none", "attStmt": {}, "authData": …}
        let mut object = b"\xa3\x63fmt\x64none\x67attStmt\xa0\x68authData\x59".to_vec();
        object.extend(u16::try_from(data.len()).unwrap().to_be_bytes());
        object.extend(data);
        let client = self.client_data("webauthn.create", options);
        self.credential(&json!({
            "clientDataJSON": encode(&client),
            "attestationObject": encode(&object),
            "transports": ["internal"],
        }))
    }

    /// Signs, as `navigator.credentials.get` answers.
    pub fn get(&self, options: &Value) -> Value {
        let (data, client) = (self.data(0), self.client_data("webauthn.get", options));
        let signed = [data.as_slice(), &Sha256::digest(&client)].concat();
        let signature = self.key.sign(&SystemRandom::new(), &signed).unwrap();
        self.credential(&json!({
            "clientDataJSON": encode(&client),
            "authenticatorData": encode(&data),
            "signature": encode(signature.as_ref()),
            "userHandle": self.user,
        }))
    }

    fn credential(&self, response: &Value) -> Value {
        let (id, kind) = (encode(&self.id), "public-key");
        json!({"id": id, "rawId": id, "type": kind, "response": response, "clientExtensionResults": {}})
    }

    fn data(&self, more: u8) -> Vec<u8> {
        let flags = USER_PRESENT | if self.verifies { USER_VERIFIED } else { 0 } | more;
        let party = Sha256::digest(self.party.as_bytes());
        [party.as_slice(), &[flags], &self.counter.to_be_bytes()].concat()
    }

    fn client_data(&self, kind: &str, options: &Value) -> Vec<u8> {
        let data = json!({
            "type": kind, "challenge": options["challenge"], "origin": self.origin, "crossOrigin": false,
        });
        data.to_string().into_bytes()
    }
}

fn encode(bytes: &[u8]) -> String {
    URL_SAFE_NO_PAD.encode(bytes)
}
