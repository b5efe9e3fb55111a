//! What somebody who is signed in changes about the way in: the password, and the second factor. Both ask for the password,
//! so that an open browser is not enough.

use zeroize::Zeroizing;

use super::Service;
use super::accounts::sealer_in;
use super::sessions::{OpenSession, totp_place};
use crate::domain::email::Email;
use crate::domain::fault::Fault;
use crate::domain::ids::AccountId;
use crate::domain::password::Password;
use crate::error::Error;
use crate::keys::{Place, new_recovery_codes, new_totp_secret, recovery_code_hash, totp_in_words, totp_step};
use crate::storage::accounts::Account;
use crate::storage::sessions;
use crate::storage::sign_in::{self, NewTotp};

/// Where a secret of one-time codes lies that is not confirmed yet.
pub(super) fn pending_place(id: &AccountId) -> Place<'_> {
    Place { column: "accounts.totp_pending", row: id.as_bytes() }
}

fn changed_meanwhile() -> Error {
    Error::conflict("Your account has changed meanwhile. Load the page again.")
}

impl Service {
    /// Another password in place of the current one; all other sessions end. [`Error::Invalid`] when the current one is
    /// wrong or the new one is none, [`Error::Conflict`] when somebody else was quicker.
    pub async fn change_password(&self, open: &OpenSession, [current, new]: [&str; 2]) -> Result<(), Error> {
        let before = self.confirm(&open.account, current, "current_password").await?;
        let email =
            Email::parse(&self.account_email(&open.account)?, "email").map_err(|fault| Error::Invalid(vec![fault]))?;
        let password = Password::choose(new, &email).map_err(|fault| Error::Invalid(vec![fault]))?;
        let after = self.passwords.hash(password).await?;
        let (account, kept) = (open.account.id, open.session.id);
        self.db
            .write(move |tx| {
                if !sign_in::replace_password(tx, account, [&before, &after])? {
                    return Err(changed_meanwhile());
                }
                sign_in::remove_links(tx, account)?;
                sessions::end_others(tx, account, kept)
            })
            .await
    }

    /// The stored hash, if this is the password; else a fault of `field`.
    pub(super) async fn confirm(&self, account: &Account, typed: &str, field: &'static str) -> Result<String, Error> {
        let hash = account.password_hash.clone();
        let is_right = self.passwords.is_right(Password::typed(typed), hash.clone()).await?;
        let wrong = || Error::invalid(field, "wrong_password", "This is not your password.");
        hash.filter(|_| is_right).ok_or_else(wrong)
    }

    /// Draws a secret of one-time codes, which counts when a code confirms it: base32, and an `otpauth:` address.
    /// [`Error::Invalid`] when the password is wrong, [`Error::Conflict`] while there is a second factor.
    pub async fn propose_totp(&self, open: &OpenSession, password: &str) -> Result<(String, String), Error> {
        self.confirm(&open.account, password, "password").await?;
        if open.account.totp_sealed.is_some() {
            return Err(Error::conflict("There is a second factor already. Switch it off first."));
        }
        let secret = new_totp_secret()?;
        let words = totp_in_words(&secret, &self.account_email(&open.account)?)?;
        let (id, keys) = (open.account.id, self.keys.clone());
        self.db
            .write(move |tx| {
                let sealed = sealer_in(tx, &keys)?.seal(pending_place(&id), &secret)?;
                sign_in::propose_totp(tx, id, &sealed)
            })
            .await?;
        Ok(words)
    }

    /// Switches the second factor on that was proposed last. Returns the recovery codes: the only time that anybody sees
    /// them. [`Error::Invalid`] when the code is wrong, [`Error::Conflict`] when nothing is proposed.
    pub async fn confirm_totp(&self, account: &Account, code: &str) -> Result<Vec<String>, Error> {
        let begin = || Error::conflict("No second factor waits to be confirmed. Begin again.");
        let pending = account.totp_pending.clone().ok_or_else(begin)?;
        let secret = Zeroizing::new(self.keys.open(pending_place(&account.id), &pending)?);
        let code: String = code.split_whitespace().collect();
        let step = totp_step(&secret, &code, self.clock.now()).ok_or_else(|| {
            let text = "This is not the code of this moment. Is the clock of your telephone right?";
            Error::Invalid(vec![Fault::new("code", "wrong_code", text)])
        })?;
        let codes = new_recovery_codes()?;
        let (id, keys) = (account.id, self.keys.clone());
        let recovery: Vec<Vec<u8>> = codes.iter().map(|code| recovery_code_hash(id, code)).collect();
        self.db
            .write(move |tx| {
                let sealed = sealer_in(tx, &keys)?.seal(totp_place(&id), &secret)?;
                let new = NewTotp { pending: pending.clone(), sealed, step, recovery: recovery.clone() };
                if sign_in::switch_totp_on(tx, id, &new)? { Ok(()) } else { Err(changed_meanwhile()) }
            })
            .await?;
        Ok(codes)
    }

    /// Switches the second factor off. [`Error::Invalid`] when the password is wrong.
    pub async fn drop_totp(&self, open: &OpenSession, password: &str) -> Result<(), Error> {
        self.confirm(&open.account, password, "password").await?;
        self.forget_totp(open.account.id).await
    }

    /// Switches the second factor of an account off: whoever may run commands on the server can, for somebody who has lost
    /// the telephone and the recovery codes.
    pub async fn forget_totp(&self, account: AccountId) -> Result<(), Error> {
        self.db.write(move |tx| sign_in::switch_totp_off(tx, account)).await
    }
}
