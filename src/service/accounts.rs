//! Accounts: made, found by address or token. Addresses are encrypted.

use std::time::Duration;

use super::Service;
use super::access::{Access, Credentials};
use crate::domain::comment::Via;
use crate::domain::email::Email;
use crate::domain::ids::{AccountId, SiteId};
use crate::domain::mail_choice::{MailChoice, MailMode};
use crate::domain::password::Password;
use crate::error::Error;
use crate::keys::{Keys, Place, Sealer, access_token_hash};
use crate::storage::accounts::{self, Account, Role, Scope};
use crate::storage::{Tx, meta};

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
    pub password: Option<Password>,
}

/// What the maker of an account may say beyond that.
#[derive(Debug, Default)]
pub(super) struct Details {
    /// The name beside its decisions; none: what stands before the @ of the address.
    pub name: Option<String>,
    /// How it is told of waiting comments.
    pub mail: Option<MailChoice>,
    /// Whether a mail invites it to choose a password.
    pub is_invited: bool,
}

/// An account on its way into the database, with what is sealed there.
pub(super) struct Unsealed {
    pub account: Account,
    email: Email,
    hashes: Vec<Vec<u8>>,
    sites: Vec<SiteId>,
}

impl Unsealed {
    /// Seals the address and adds the account. [`Error::Conflict`] when the address has one already.
    pub fn insert(&self, tx: &mut Tx<'_>, keys: &Keys) -> Result<(), Error> {
        let mut account = self.account.clone();
        let sealer = sealer_in(tx, keys)?;
        (account.email_sealed, account.email_hash) =
            sealer.seal_email(email_place(&account.id), self.email.as_str())?;
        // The database tells equal hashes; that two hashes under two keys are one address, it cannot know.
        if accounts::find_by_email(tx.conn(), &self.hashes)?.is_some() {
            return Err(accounts::address_is_taken());
        }
        accounts::insert(tx, &account, &self.sites)
    }
}

/// What seals with the key that the database uses now. Asked inside the transaction that stores what is sealed: a rotation
/// waits for the end of it.
pub(super) fn sealer_in(tx: &mut Tx<'_>, keys: &Keys) -> Result<Sealer, Error> {
    match meta::get(tx.conn(), meta::KEY_CHECK)? {
        Some(used) => keys.sealer_of(&used),
        None => keys.sealer(),
    }
}

/// Where an account's sealed address lies.
pub fn email_place(id: &AccountId) -> Place<'_> {
    Place { column: "accounts.email", row: id.as_bytes() }
}

impl Service {
    /// Makes an account. A moderator is told of waiting comments from the start; an administrator only on demand.
    /// [`Error::Conflict`] when the address has one already.
    pub async fn add_account(&self, new: NewAccount) -> Result<AccountId, Error> {
        self.insert_account(new, Details::default()).await
    }

    pub(super) async fn insert_account(&self, new: NewAccount, details: Details) -> Result<AccountId, Error> {
        let invitation = if details.is_invited { self.invitation() } else { None };
        let new = self.unsealed(new, details).await?;
        let (id, keys) = (new.account.id, self.keys.clone());
        self.db
            .write(move |tx| {
                new.insert(tx, &keys)?;
                if let Some(mut mail) = invitation.clone() {
                    mail.account_id = Some(id);
                    tx.enqueue(mail);
                }
                Ok(id)
            })
            .await
    }

    pub(super) async fn unsealed(&self, new: NewAccount, details: Details) -> Result<Unsealed, Error> {
        let NewAccount { email, role, sites, password } = new;
        let mode = if role == Role::Moderator { MailMode::Each } else { MailMode::None };
        let password_hash = match password {
            Some(password) => Some(self.passwords.hash(password).await?),
            None => None,
        };
        let account = Account {
            id: AccountId(self.ids.next()),
            email_sealed: Vec::new(),
            email_hash: Vec::new(),
            name: details.name.unwrap_or_else(|| email.as_str().split('@').next().unwrap_or_default().to_owned()),
            role,
            password_hash,
            mail: (&details.mail.unwrap_or(MailChoice { mode, quiet: None })).into(),
            created_at: self.clock.now(),
            disabled_at: None,
            links_from: None,
            language: None,
            totp_sealed: None,
            totp_pending: None,
            totp_step: None,
        };
        Ok(Unsealed { account, hashes: self.keys.email_hashes(&email), email, sites })
    }

    /// The account with this address.
    pub async fn account_by_email(&self, email: &Email) -> Result<Account, Error> {
        let hashes = self.keys.email_hashes(email);
        self.db.read(move |conn| accounts::find_by_email(conn, &hashes)).await?.ok_or(Error::NotFound)
    }

    /// From now on an account wants mail so. [`Error::NotFound`] when there is no such account.
    pub async fn set_mail_choice(&self, account: AccountId, choice: MailChoice) -> Result<(), Error> {
        self.db
            .write(move |tx| {
                let found = accounts::find_to_change(tx, account)?.ok_or(Error::NotFound)?;
                accounts::set_mail_choice(tx, found.id, &choice)
            })
            .await
    }

    /// The address of an account.
    pub fn account_email(&self, account: &Account) -> Result<String, Error> {
        let plain = self.keys.open(email_place(&account.id), &account.email_sealed)?;
        String::from_utf8(plain).map_err(Error::internal)
    }

    /// The rights behind a token; none for one that is unknown, over or taken back.
    pub async fn credentials_by_token(&self, token: &str) -> Result<Option<Credentials>, Error> {
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
        let access = Access { account: account.id, name: account.name, role: account.role, sites };
        Ok(Some(Credentials { access, scope: Scope::stored(&token.scope), ends_at: token.expires_at, via: Via::Api }))
    }
}
