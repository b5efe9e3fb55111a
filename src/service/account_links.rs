//! Links that let somebody choose a password: the first administrator, whoever is invited, whoever has forgotten theirs. A
//! link works once; whoever comes in by one ends every other session and link of the account, and its access tokens and
//! passkeys if it had a password. It replaces the password and nothing else: an account with a second factor asks for it all the same.

use std::time::Duration;

use super::Service;
use super::account_changes::name;
use super::accounts::{Details, NewAccount, Unsealed};
use super::sessions::{Browser, Factor, SignedIn, begin};
use crate::domain::email::Email;
use crate::domain::fault::Fault;
use crate::domain::ids::{AccountId, LinkId, OutboxId};
use crate::domain::password::Password;
use crate::domain::text::tidy;
use crate::error::Error;
use crate::keys::{new_secret, secret_hash};
use crate::storage::Tx;
use crate::storage::accounts::{self, Account, Role};
use crate::storage::outbox::{Kind, OutboxRow};
use crate::storage::sessions::{self, Session};
use crate::storage::sign_in::{self, Link, Purpose};

/// How long a link works.
fn life(purpose: Purpose) -> Duration {
    match purpose {
        Purpose::Setup => Duration::from_hours(24),
        Purpose::Invitation => Duration::from_hours(7 * 24),
        Purpose::Reset => Duration::from_hours(1),
    }
}

/// What a link is for, before it is used.
#[derive(Debug, Clone)]
pub struct LinkLook {
    /// What it does.
    pub purpose: Purpose,
    /// Whom it is for; empty for the first administrator.
    pub name: String,
    /// The account, if it has a second factor, which this link asks for.
    pub guarded: Option<AccountId>,
}

/// What somebody sends who has a link.
pub struct LinkUse {
    /// The link's token.
    pub token: String,
    /// The password that they choose.
    pub password: Option<String>,
    /// Their address: of the first administrator, whom nobody knows yet.
    pub email: Option<String>,
    /// What stands beside their decisions.
    pub name: Option<String>,
    /// The second factor, if the account has one.
    pub code: Option<String>,
    /// From where.
    pub browser: Browser,
}

/// Whom a link lets in.
enum Whom {
    /// The first administrator, who is made.
    First(Box<Unsealed>),
    /// An account that is there: its new password and what else it needs.
    Known { name: Option<String>, password_hash: String, factor: Factor, replaces: bool },
}

impl Service {
    /// The token of the link that makes the first administrator; none when there is one, or somebody else can sign in. It
    /// takes the place of the one before.
    pub async fn setup_link(&self) -> Result<Option<String>, Error> {
        let (token, mut link) = self.new_link(Purpose::Setup, None)?;
        link.id = LinkId(uuid::Uuid::nil());
        let is_made = self.db.write(move |tx| {
            let is_wanted = sign_in::wants_setup(tx.conn())?;
            if is_wanted {
                sign_in::put_setup_link(tx, &link)?;
            }
            Ok(is_wanted)
        });
        Ok(is_made.await?.then_some(token))
    }

    /// The token of a new link for an account; none when it is gone or disabled. Those before go on: each works until one of
    /// them is used.
    pub async fn make_link(&self, account: AccountId, purpose: Purpose) -> Result<Option<String>, Error> {
        let (token, link) = self.new_link(purpose, Some(account))?;
        let is_made = self.db.write(move |tx| {
            let found = accounts::find(tx.conn(), account)?.filter(|account| account.disabled_at.is_none());
            if found.is_some() {
                sign_in::add_link(tx, &link)?;
            }
            Ok(found.is_some())
        });
        Ok(is_made.await?.then_some(token))
    }

    fn new_link(&self, purpose: Purpose, account_id: Option<AccountId>) -> Result<(String, Link), Error> {
        let ((token, token_hash), now) = (new_secret()?, self.clock.now());
        let (id, expires_at) = (LinkId(self.ids.next()), now.plus(life(purpose)));
        Ok((token, Link { id, purpose, account_id, token_hash, created_at: now, expires_at }))
    }

    /// What a link is for. [`Error::NotFound`] for one that is not ours or was used, [`Error::LinkExpired`].
    pub async fn look_at_link(&self, token: &str) -> Result<LinkLook, Error> {
        let (link, account) = self.open_one_time_link(token).await?;
        let guarded = account.as_ref().filter(|account| account.totp_sealed.is_some()).map(|account| account.id);
        let name = account.map(|account| account.name).unwrap_or_default();
        Ok(LinkLook { purpose: link.purpose, name, guarded })
    }

    async fn open_one_time_link(&self, token: &str) -> Result<(Link, Option<Account>), Error> {
        let (hash, now) = (secret_hash(token), self.clock.now());
        let found = self.db.read(move |conn| {
            let link = sign_in::find_link(conn, &hash)?.ok_or(Error::NotFound)?;
            let account = match link.account_id {
                Some(id) => {
                    let account = accounts::find(conn, id)?.filter(|account| account.disabled_at.is_none());
                    Some(account.ok_or(Error::NotFound)?)
                }
                None if sign_in::wants_setup(conn)? => None,
                None => return Err(Error::NotFound),
            };
            Ok((link, account))
        });
        let (link, account) = found.await?;
        if link.expires_at <= now { Err(Error::LinkExpired) } else { Ok((link, account)) }
    }

    /// Uses a link up: the password is set, and whoever has the link is signed in. Errors: as [`Service::look_at_link`],
    /// [`Error::Invalid`] with every fault, [`Error::SecondFactorRequired`], [`Error::Conflict`] when the address of the first
    /// administrator has an account already. The link is whole after each of them.
    pub async fn use_link(&self, with: LinkUse, mut faults: Vec<Fault>) -> Result<SignedIn, Error> {
        let (link, account) = self.open_one_time_link(&with.token).await?;
        let name = with.name.as_deref().map(name).transpose().map_err(|fault| faults.push(fault)).ok().flatten();
        let email = match (&account, with.email.as_deref()) {
            (Some(account), _) => Email::parse(&self.account_email(account)?, "email"),
            (None, Some(typed)) => Email::parse(&tidy(typed), "email"),
            (None, None) => Err(Fault::required("email")),
        };
        let email = email.map_err(|fault| faults.push(fault)).ok();
        let password = match (with.password.as_deref(), &email) {
            (Some(typed), Some(email)) => Password::choose(typed, email).map_err(|fault| faults.push(fault)).ok(),
            _ => None,
        };
        let (Some(email), Some(password), true) = (email, password, faults.is_empty()) else {
            return Err(Error::Invalid(faults));
        };
        let (account, whom) = match account {
            Some(account) => {
                let factor = self.second_factor(&account, with.code.as_deref())?;
                let replaces = account.password_hash.is_some();
                let password_hash = self.passwords.hash(password).await?;
                (account, Whom::Known { name, password_hash, factor, replaces })
            }
            None => {
                let new =
                    NewAccount { email: email.clone(), role: Role::Admin, sites: Vec::new(), password: Some(password) };
                let new = self.unsealed(new, Details { name, ..Details::default() }).await?;
                (new.account.clone(), Whom::First(Box::new(new)))
            }
        };
        let (signed_in, former) = self.new_session(&account, &email, with.browser)?;
        let (session, keys) = (signed_in.session.clone(), self.keys.clone());
        self.db
            .write(move |tx| {
                if !sign_in::use_link(tx, &link)? {
                    return Err(Error::NotFound);
                }
                match &whom {
                    Whom::First(new) if sign_in::wants_setup(tx.conn())? => new.insert(tx, &keys)?,
                    Whom::First(_) => return Err(Error::NotFound),
                    Whom::Known { .. } => admit(tx, &session, &whom)?,
                }
                begin(tx, &session, former.as_deref())
            })
            .await?;
        Ok(signed_in)
    }

    /// Sends somebody a link by mail, if the address that they typed has an account. Nobody can tell from outside: the same
    /// row is written in any case, and whoever sends mails finds out what it is worth.
    pub async fn request_reset(&self, email: &str) -> Result<(), Error> {
        let email = Email::parse(&tidy(email), "email");
        let hashes = email.map_or_else(|_| Vec::new(), |email| self.keys.email_hashes(&email));
        let Some(mail) = self.account_mail(Kind::MailReset) else { return Ok(()) };
        self.db
            .write(move |tx| {
                let account = accounts::find_by_email(tx.conn(), &hashes)?;
                tx.enqueue(OutboxRow { account_id: account.map(|account| account.id), ..mail.clone() });
                Ok(())
            })
            .await
    }

    /// Sends an account an invitation. [`Error::NotFound`], or [`Error::Conflict`] when it has a password or is disabled.
    pub async fn invite(&self, id: AccountId) -> Result<(), Error> {
        let mail = self.invitation();
        self.db
            .write(move |tx| {
                let account = accounts::find(tx.conn(), id)?.ok_or(Error::NotFound)?;
                if account.disabled_at.is_some() {
                    return Err(Error::conflict("This account is disabled. Give it its rights back first."));
                }
                if account.password_hash.is_some() {
                    return Err(Error::conflict("This account has a password. Its owner can have it reset by mail."));
                }
                if let Some(mail) = &mail {
                    tx.enqueue(OutboxRow { account_id: Some(id), ..mail.clone() });
                }
                Ok(())
            })
            .await
    }

    /// An invitation, for nobody yet.
    pub(super) fn invitation(&self) -> Option<OutboxRow> {
        self.account_mail(Kind::MailInvitation)
    }

    /// A mail is queued for a site; one about none of them for the first.
    fn account_mail(&self, kind: Kind) -> Option<OutboxRow> {
        let site = self.sites.all().first().map(|site| site.id)?;
        Some(OutboxRow::new(OutboxId(self.ids.next()), kind, site, self.clock.now()))
    }
}

/// Lets an account in with its new password, and all its other sessions and links end. Where there was a password somebody else
/// may have been in, and made tokens or passkeys: they are taken back as well. Before the first one nobody was.
fn admit(tx: &mut Tx<'_>, session: &Session, whom: &Whom) -> Result<(), Error> {
    let Whom::Known { name, password_hash, factor, replaces } = whom else { return Ok(()) };
    let id = session.account_id;
    if let Some(name) = name {
        let before = accounts::find_to_change(tx, id)?.ok_or(Error::NotFound)?;
        accounts::update(tx, &before, &Account { name: name.clone(), ..before.clone() })?;
    }
    if !sign_in::set_password(tx, id, password_hash)? {
        return Err(Error::NotFound);
    }
    factor.take(tx, id)?;
    if *replaces {
        accounts::revoke_tokens(tx, id, session.created_at)?;
        sign_in::remove_passkeys(tx, id)?;
    }
    sessions::end_others(tx, id, session.id)?;
    sign_in::remove_links(tx, id)
}
