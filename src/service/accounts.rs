//! Accounts and their access tokens: made, found by token, taken back. Addresses are encrypted; of tokens only a hash is
//! kept.

use std::time::Duration;

use argon2::{Argon2, PasswordHasher};

use super::Service;
use super::access::Access;
use crate::domain::email::Email;
use crate::domain::ids::{AccountId, SiteId, TokenId};
use crate::domain::mail_choice::{MailChoice, MailMode};
use crate::error::Error;
use crate::keys::{Place, access_token_hash, new_access_token};
use crate::storage::accounts::{self, Account, Role, Token};
use crate::storage::meta;

/// How long a token is good for unless its maker says otherwise.
pub const TOKEN_LIFE: Duration = Duration::from_hours(365 * 24);

/// `tokens.last_used_at` is written at most this often.
const TOUCH_EVERY: Duration = Duration::from_hours(1);

/// An account to be made.
#[derive(Debug)]
pub struct NewAccount {
    /// Where mail reaches them.
    pub email: Email,
    /// What they may do.
    pub role: Role,
    /// The sites they look after.
    pub sites: Vec<SiteId>,
    /// For signing in on the page; none: tokens only.
    pub password: Option<String>,
}

/// Where an account's sealed address lies.
pub fn email_place(id: &AccountId) -> Place<'_> {
    Place { column: "accounts.email", row: id.as_bytes() }
}

impl Service {
    /// Makes an account. A moderator is told of waiting comments from the start; an administrator only on demand.
    /// [`Error::Conflict`] when the address has one already.
    pub async fn add_account(&self, new: NewAccount) -> Result<AccountId, Error> {
        let id = AccountId(self.ids.next());
        let mode = if new.role == Role::Moderator { MailMode::Each } else { MailMode::None };
        let hashes = self.keys.email_hashes(&new.email);
        let mut account = Account {
            id,
            email_sealed: Vec::new(),
            email_hash: Vec::new(),
            name: new.email.as_str().split('@').next().unwrap_or_default().to_owned(),
            role: new.role,
            password_hash: new.password.as_deref().map(hash_password).transpose()?,
            mail: (&MailChoice { mode, quiet: None }).into(),
            created_at: self.clock.now(),
            disabled_at: None,
        };
        let keys = self.keys.clone();
        self.db
            .write(move |tx| {
                // Inside the transaction, for whose end a rotation waits.
                let sealer = match meta::get(tx.conn(), meta::KEY_CHECK)? {
                    Some(used) => keys.sealer_of(&used)?,
                    None => keys.sealer()?,
                };
                (account.email_sealed, account.email_hash) = sealer.seal_email(email_place(&id), new.email.as_str())?;
                // The database tells equal hashes; that two hashes under two keys are one address, it cannot know.
                if accounts::find_by_email(tx.conn(), &hashes)?.is_some() {
                    return Err(accounts::address_is_taken());
                }
                accounts::insert(tx, &account, &new.sites)
            })
            .await?;
        Ok(id)
    }

    /// The account with this address.
    pub async fn account_by_email(&self, email: &Email) -> Result<Account, Error> {
        let hashes = self.keys.email_hashes(email);
        self.db.read(move |conn| accounts::find_by_email(conn, &hashes)).await?.ok_or(Error::NotFound)
    }

    /// From now on an account wants mail so. [`Error::NotFound`] when there is no such account.
    pub async fn set_mail_choice(&self, account: AccountId, choice: MailChoice) -> Result<(), Error> {
        let is_there = self.db.write(move |tx| accounts::set_mail_choice(tx, account, &choice)).await?;
        if is_there { Ok(()) } else { Err(Error::NotFound) }
    }

    /// The address of an account.
    pub fn account_email(&self, account: &Account) -> Result<String, Error> {
        let plain = self.keys.open(email_place(&account.id), &account.email_sealed)?;
        String::from_utf8(plain).map_err(Error::internal)
    }

    /// Makes a token and returns it: the only time that anybody sees it.
    pub async fn create_token(&self, account: AccountId, name: String, life: Duration) -> Result<String, Error> {
        let (secret, token_hash) = new_access_token()?;
        let now = self.clock.now();
        let token = Token {
            id: TokenId(self.ids.next()),
            account_id: account,
            name,
            token_hash,
            scope: "all".to_owned(),
            created_at: now,
            expires_at: now.plus(life),
            last_used_at: None,
            revoked_at: None,
        };
        self.db.write(move |tx| accounts::insert_token(tx, &token)).await?;
        Ok(secret)
    }

    /// The rights behind a token; none for one that is unknown, over or taken back.
    pub async fn access_by_token(&self, token: &str) -> Result<Option<Access>, Error> {
        let (hash, now) = (access_token_hash(token), self.clock.now());
        let found = self
            .db
            .read(move |conn| match accounts::find_by_token(conn, &hash, now)? {
                Some((account, token)) => {
                    let sites = accounts::sites_of(conn, account.id)?;
                    Ok(Some((account, token, sites)))
                }
                None => Ok(None),
            })
            .await?;
        let Some((account, token, sites)) = found else { return Ok(None) };
        if token.last_used_at.is_none_or(|at| now.since(at) >= TOUCH_EVERY) {
            self.db.write(move |tx| accounts::touch_token(tx, token.id, now)).await?;
        }
        Ok(Some(Access { account: account.id, name: account.name, role: account.role, sites }))
    }
}

/// Argon2id with its default cost (19 MiB, two passes: OWASP's first choice), as a PHC string.
fn hash_password(password: &str) -> Result<String, Error> {
    let hash =
        Argon2::default().hash_password(password.as_bytes()).map_err(|cause| Error::internal(cause.to_string()))?;
    Ok(hash.to_string())
}
