//! Passkeys: added and removed behind the password, and signing in with one in place of password and code. No challenge is
//! stored: it goes out sealed with the state that belongs to it, so visitors fill nothing however many they ask for, and it is
//! used up by the time at which it was made (`storage/passkeys.rs`).

use std::time::Duration;

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use webauthn_rs::prelude::{
    DiscoverableAuthentication, Passkey, PasskeyRegistration, PublicKeyCredential, RegisterPublicKeyCredential, Url,
    Webauthn, WebauthnBuilder, WebauthnError,
};

use super::Service;
use super::account_changes::name;
use super::sessions::{Browser, OpenSession, SignedIn, begin};
use crate::domain::email::Email;
use crate::domain::fault::Fault;
use crate::domain::ids::{AccountId, PasskeyId};
use crate::domain::passkeys::obstacle;
use crate::domain::time::Timestamp;
use crate::error::Error;
use crate::keys::Place;
use crate::storage::passkeys::{self, StoredPasskey};
use crate::storage::sign_in;

/// How long a challenge may be answered: the default that the standard recommends for it (`WebAuthn` level 3, `timeout`).
const CHALLENGE_LIFE: Duration = Duration::from_mins(5);

/// Passkeys of one account.
const MOST_PASSKEYS: usize = 20;

/// What somebody is told whom no passkey lets in: the same for every reason.
const WRONG: &str =
    "This passkey opens no account here, or it took too long. Try again, or sign in with your password.";

/// A question to a browser.
pub struct Asked {
    /// What comes back with the answer; nobody but us can read it.
    pub challenge: String,
    /// `publicKey` of `navigator.credentials`, as JSON.
    pub options: Value,
}

/// An answer of a browser.
pub struct Answered {
    /// As it was asked.
    pub challenge: String,
    /// The credential, as its `toJSON()` writes it.
    pub credential: Value,
}

/// What goes out sealed.
#[derive(Serialize, Deserialize)]
struct Sealed<S> {
    made_at: i64,
    state: S,
}

/// A challenge to add a passkey is bound to the session that asked for it.
fn enrolment(open: &OpenSession) -> Place<'_> {
    Place { column: "passkeys.enrolment", row: open.session.id.as_bytes() }
}

const SIGN_IN: Place<'static> = Place { column: "passkeys.sign_in", row: &[0; 16] };

fn unfit(field: &'static str, text: &'static str) -> Error {
    Error::Invalid(vec![Fault::new(field, "wrong_passkey", text)])
}

fn refused(_: impl std::fmt::Debug) -> Error {
    Error::Unauthenticated(WRONG)
}

impl Service {
    /// Who asks, as authenticators know it. [`Error::Conflict`] where none can be used.
    fn relying_party(&self) -> Result<Webauthn, Error> {
        let origin = self.rules.own_origin.as_ref();
        if let Some(why) = obstacle(origin) {
            return Err(Error::conflict(why));
        }
        let url = origin.and_then(|origin| Url::parse(origin.as_str()).ok());
        let url = url.ok_or_else(|| Error::internal("no origin"))?;
        let party = WebauthnBuilder::new(url.domain().unwrap_or_default(), &url);
        party.and_then(|party| party.rp_name("Afterword").timeout(CHALLENGE_LIFE).build()).map_err(Error::internal)
    }

    fn passkey_question(&self, place: Place<'_>, state: impl Serialize, options: Value) -> Result<Asked, Error> {
        let sealed = Sealed { made_at: self.clock.now().0, state };
        let plain = serde_json::to_vec(&sealed).map_err(Error::internal)?;
        let challenge = URL_SAFE_NO_PAD.encode(self.keys.sealer()?.seal(place, &plain)?);
        Ok(Asked { challenge, options })
    }

    /// When a challenge of ours was made, and its state; none when it is over, or of another place.
    fn passkey_state<S: DeserializeOwned>(&self, place: Place<'_>, challenge: &str) -> Option<(Timestamp, S)> {
        let sealed = URL_SAFE_NO_PAD.decode(challenge).ok()?;
        let plain = self.keys.open(place, &sealed).ok()?;
        let Sealed { made_at, state } = serde_json::from_slice(&plain).ok()?;
        let made_at = Timestamp(made_at);
        (self.clock.now().since(made_at) < CHALLENGE_LIFE).then_some((made_at, state))
    }

    /// The passkeys of an account, the oldest first; at most twenty.
    pub async fn passkeys_of(&self, account: AccountId) -> Result<Vec<StoredPasskey>, Error> {
        self.db.read(move |conn| passkeys::of_account(conn, account)).await
    }

    /// Asks a browser for a new passkey. [`Error::Invalid`] when the password is wrong, [`Error::Conflict`] when there are
    /// twenty, or none can be used at this address.
    pub async fn begin_passkey(&self, open: &OpenSession, password: &str) -> Result<Asked, Error> {
        let party = self.relying_party()?;
        self.confirm(&open.account, password, "password").await?;
        let known = self.passkeys_of(open.account.id).await?;
        if known.len() >= MOST_PASSKEYS {
            return Err(too_many());
        }
        let known = known.into_iter().map(|passkey| passkey.credential_id).collect();
        let (email, id) = (self.account_email(&open.account)?, open.account.id.0);
        let (asked, state) =
            party.start_passkey_registration(id, &email, &open.account.name, Some(known)).map_err(Error::internal)?;
        let mut options = serde_json::to_value(asked.public_key).map_err(Error::internal)?;
        // Signing in names no account: the authenticator must keep the credential with its owner's id, and find it alone.
        if let Some(selection) = options.pointer_mut("/authenticatorSelection").and_then(Value::as_object_mut) {
            selection.insert("residentKey".into(), json!("required"));
            selection.insert("requireResidentKey".into(), json!(true));
        }
        self.passkey_question(enrolment(open), state, options)
    }

    /// Adds the passkey that a browser made. [`Error::Invalid`] when it does not answer our challenge, or its name is none;
    /// [`Error::Conflict`] when it is known already, or there are twenty.
    pub async fn add_passkey(&self, open: &OpenSession, answer: Answered, typed: &str) -> Result<StoredPasskey, Error> {
        let name = name(typed).map_err(|fault| Error::Invalid(vec![fault]))?;
        let over = || unfit("challenge", "This took too long, or was done already. Begin again.");
        let (made_at, state) =
            self.passkey_state::<PasskeyRegistration>(enrolment(open), &answer.challenge).ok_or_else(over)?;
        let unfit = |_| unfit("credential", "This is no passkey that can be used here. Begin again.");
        let credential: RegisterPublicKeyCredential =
            serde_json::from_value(answer.credential).map_err(|cause| unfit(cause.to_string()))?;
        let made = self.relying_party()?.finish_passkey_registration(&credential, &state);
        let passkey = made.map_err(|cause| unfit(cause.to_string()))?;
        let new = StoredPasskey {
            id: PasskeyId(self.ids.next()),
            account_id: open.account.id,
            credential_id: passkey.cred_id().clone(),
            credential: serde_json::to_string(&passkey).map_err(Error::internal)?,
            name,
            created_at: self.clock.now(),
            last_used_at: None,
        };
        // The password that was typed for it: a reset meanwhile ends what it began.
        let hash = open.account.password_hash.clone().unwrap_or_default();
        self.db
            .write(move |tx| {
                let is_theirs = sign_in::hold(tx, new.account_id, &hash)?;
                if !is_theirs || !passkeys::take_challenge(tx, new.account_id, made_at)? {
                    return Err(over());
                }
                if passkeys::of_account(tx.conn(), new.account_id)?.len() >= MOST_PASSKEYS {
                    return Err(too_many());
                }
                let is_new = passkeys::insert(tx, &new)?;
                if is_new { Ok(new.clone()) } else { Err(Error::conflict("This passkey is here already.")) }
            })
            .await
    }

    /// Gives a passkey another name. [`Error::Invalid`] when it is none, [`Error::NotFound`].
    pub async fn rename_passkey(&self, account: AccountId, id: PasskeyId, typed: &str) -> Result<(), Error> {
        let name = name(typed).map_err(|fault| Error::Invalid(vec![fault]))?;
        let renamed = self.db.write(move |tx| passkeys::rename(tx, account, id, &name)).await?;
        if renamed { Ok(()) } else { Err(Error::NotFound) }
    }

    /// Removes a passkey; sessions that began with it go on. [`Error::Invalid`] when the password is wrong,
    /// [`Error::NotFound`].
    pub async fn remove_passkey(&self, open: &OpenSession, id: PasskeyId, password: &str) -> Result<(), Error> {
        self.confirm(&open.account, password, "password").await?;
        let account = open.account.id;
        let removed = self.db.write(move |tx| passkeys::remove(tx, account, id)).await?;
        if removed { Ok(()) } else { Err(Error::NotFound) }
    }

    /// Asks a browser for any passkey of this service: the question names no account, and is the same for everybody.
    /// [`Error::Conflict`] when none can be used at this address.
    pub fn begin_passkey_sign_in(&self) -> Result<Asked, Error> {
        let (asked, state) = self.relying_party()?.start_discoverable_authentication().map_err(Error::internal)?;
        let options = serde_json::to_value(asked.public_key).map_err(Error::internal)?;
        self.passkey_question(SIGN_IN, state, options)
    }

    /// Signs somebody in. [`Error::Unauthenticated`] for whatever is wrong.
    pub async fn sign_in_with_passkey(&self, answer: Answered, browser: Browser) -> Result<SignedIn, Error> {
        let party = self.relying_party()?;
        let asked = self.passkey_state::<DiscoverableAuthentication>(SIGN_IN, &answer.challenge);
        let (made_at, state) = asked.ok_or(Error::Unauthenticated(WRONG))?;
        let credential: PublicKeyCredential = serde_json::from_value(answer.credential).map_err(refused)?;
        let (owner, id) = party.identify_discoverable_authentication(&credential).map_err(refused)?;
        let (owner, id) = (AccountId(owner), id.to_vec());
        let found = self.db.read(move |conn| passkeys::by_credential(conn, &id)).await?;
        let found = found.filter(|(account, _)| account.id == owner);
        let (account, before) = found.ok_or(Error::Unauthenticated(WRONG))?;
        let mut passkey: Passkey = serde_json::from_str(&before.credential).map_err(Error::internal)?;
        let checked = party.finish_discoverable_authentication_v2(&credential, state, &passkey);
        let checked = checked.map_err(|cause| {
            if matches!(cause, WebauthnError::CredentialPossibleCompromise) {
                tracing::warn!(passkey = %before.id, "the counter of a passkey went back: there may be a copy of it");
            }
            refused(cause)
        })?;
        passkey.update_credential(&checked);
        let after = serde_json::to_string(&passkey).map_err(Error::internal)?;
        let email = Email::parse(&self.account_email(&account)?, "email").map_err(|_| Error::internal("an address"))?;
        let (signed_in, former) = self.new_session(&account, &email, browser)?;
        let session = signed_in.session.clone();
        self.db
            .write(move |tx| {
                let is_good = passkeys::take_challenge(tx, session.account_id, made_at)?
                    && passkeys::note_use(tx, &before, &after, session.created_at)?;
                if is_good { begin(tx, &session, former.as_deref()) } else { Err(Error::Unauthenticated(WRONG)) }
            })
            .await?;
        Ok(signed_in)
    }
}

fn too_many() -> Error {
    Error::conflict("An account has twenty passkeys at most. Remove one first.")
}
