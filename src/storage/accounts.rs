//! Accounts of moderators and administrators, the sites they look after, and their access tokens.

use diesel::prelude::*;

use super::conn::{Conn, on};
use super::meta;
use super::schema::{account_sites, accounts, one_time_links, sessions, tokens};
use super::tx::Tx;
use crate::domain::comment::named_enum;
use crate::domain::ids::{AccountId, SiteId, TokenId};
use crate::domain::mail_choice::{MailChoice, MailMode, QuietHours};
use crate::domain::time::Timestamp;
use crate::error::Error;

named_enum! {
    /// What an account may do.
    Role {
        /// Decides on the sites given to it, and learns nothing of others.
        Moderator = 0 => "moderator",
        /// Everything, everywhere.
        Admin = 1 => "admin",
    }
}

named_enum! {
    /// What a token may be used for, at most; it never does more than its account may.
    Scope {
        /// Looking.
        Read = 0 => "read",
        /// Deciding on comments as well.
        Moderate = 1 => "moderate",
        /// Everything.
        Admin = 2 => "admin",
    }
}

impl Scope {
    /// The scope as tokens have it stored; the first ones said `all`.
    pub fn stored(text: &str) -> Self {
        // What a newer program wrote and this one does not know is taken for the narrowest.
        if text == "all" { Self::Admin } else { Self::from_name(text).unwrap_or(Self::Read) }
    }

    /// Whether whoever has this scope may do what `wanted` stands for.
    pub fn covers(self, wanted: Self) -> bool {
        self.number() >= wanted.number()
    }
}

/// An account.
#[derive(Debug, Clone, Queryable, Selectable, Insertable)]
#[diesel(table_name = accounts, treat_none_as_default_value = false)]
#[diesel(check_for_backend(diesel::sqlite::Sqlite))]
#[cfg_attr(feature = "postgres", diesel(check_for_backend(diesel::pg::Pg)))]
pub struct Account {
    /// Its id.
    pub id: AccountId,
    /// Its e-mail address, encrypted.
    pub email_sealed: Vec<u8>,
    /// Keyed hash of the folded address.
    pub email_hash: Vec<u8>,
    /// The name beside its decisions.
    pub name: String,
    /// What it may do.
    pub role: Role,
    /// Argon2id, if it has a password.
    pub password_hash: Option<String>,
    /// How it wants to be told by mail of comments that wait.
    #[diesel(embed)]
    pub mail: MailColumns,
    /// When it was made.
    pub created_at: Timestamp,
    /// When it lost every right.
    pub disabled_at: Option<Timestamp>,
    /// When it was last disabled or got another address: links in mails that were made until then are dead.
    pub links_from: Option<Timestamp>,
    /// The language in which the desk speaks to them; none: that of their browser.
    pub language: Option<String>,
    /// The secret of their one-time codes, encrypted.
    pub totp_sealed: Option<Vec<u8>>,
    /// A new one that they have not confirmed yet.
    pub totp_pending: Option<Vec<u8>>,
    /// The step of the last code that was taken.
    pub totp_step: Option<i64>,
}

impl Account {
    /// How it wants mail; an account that lost its rights wants none.
    pub fn mail_choice(&self) -> MailChoice {
        let mut choice = self.mail.choice();
        if self.disabled_at.is_some() {
            choice.mode = MailMode::None;
        }
        choice
    }
}

/// A [`MailChoice`] as it is stored.
#[derive(Debug, Clone, PartialEq, Eq, Queryable, Selectable, Insertable, AsChangeset)]
#[diesel(table_name = accounts, treat_none_as_default_value = false, treat_none_as_null = true)]
#[diesel(check_for_backend(diesel::sqlite::Sqlite))]
#[cfg_attr(feature = "postgres", diesel(check_for_backend(diesel::pg::Pg)))]
pub struct MailColumns {
    wants_mail: bool,
    digest_minutes: Option<i16>,
    quiet_from: Option<i16>,
    quiet_to: Option<i16>,
    time_zone: Option<String>,
}

impl MailColumns {
    /// The choice.
    pub fn choice(&self) -> MailChoice {
        let digest = self.digest_minutes.and_then(|minutes| MailMode::digest(minutes.into()).ok());
        let mode = if self.wants_mail { digest.unwrap_or(MailMode::Each) } else { MailMode::None };
        let quiet = match (self.quiet_from, self.quiet_to, &self.time_zone) {
            (Some(from), Some(to), Some(zone)) => QuietHours::new(from.into(), to.into(), zone).ok(),
            _ => None,
        };
        MailChoice { mode, quiet }
    }
}

impl From<&MailChoice> for MailColumns {
    fn from(choice: &MailChoice) -> Self {
        let quiet = choice.quiet.as_ref().map(QuietHours::parts);
        let small = |minute: u16| i16::try_from(minute).ok();
        let MailChoice { mode, .. } = choice;
        Self {
            wants_mail: *mode != MailMode::None,
            digest_minutes: if let MailMode::Digest(minutes) = mode { small(*minutes) } else { None },
            quiet_from: quiet.and_then(|(from, _, _)| small(from)),
            quiet_to: quiet.and_then(|(_, to, _)| small(to)),
            time_zone: quiet.map(|(_, _, zone)| zone.to_owned()),
        }
    }
}

/// Stores how an account wants mail that [`find_to_change`] has given.
pub fn set_mail_choice(tx: &mut Tx<'_>, id: AccountId, choice: &MailChoice) -> Result<(), Error> {
    let columns = MailColumns::from(choice);
    on!(tx.conn(), |c| diesel::update(accounts::table.find(id)).set(&columns).execute(c))?;
    Ok(())
}

/// An access token; the secret itself is not stored.
#[derive(Debug, Clone, Queryable, Selectable, Insertable)]
#[diesel(table_name = tokens, treat_none_as_default_value = false)]
#[diesel(check_for_backend(diesel::sqlite::Sqlite))]
#[cfg_attr(feature = "postgres", diesel(check_for_backend(diesel::pg::Pg)))]
pub struct Token {
    /// Its id.
    pub id: TokenId,
    /// Whose it is.
    pub account_id: AccountId,
    /// What its owner calls it.
    pub name: String,
    /// SHA-256 of its 256 random bits.
    pub token_hash: Vec<u8>,
    /// What it may be used for.
    pub scope: String,
    /// When it was made.
    pub created_at: Timestamp,
    /// When it ends.
    pub expires_at: Timestamp,
    /// When it was last seen, to the hour.
    pub last_used_at: Option<Timestamp>,
    /// When it was taken back.
    pub revoked_at: Option<Timestamp>,
}

/// Adds an account with its sites. An [`Error::Conflict`] when the address has one already.
pub fn insert(tx: &mut Tx<'_>, account: &Account, sites: &[SiteId]) -> Result<(), Error> {
    let added =
        on!(tx.conn(), |c| diesel::insert_into(accounts::table).values(account).on_conflict_do_nothing().execute(c))?;
    if added == 0 {
        return Err(address_is_taken());
    }
    give_sites(tx, account.id, sites)?;
    meta::touch_settings(tx)
}

fn give_sites(tx: &mut Tx<'_>, account: AccountId, sites: &[SiteId]) -> Result<(), Error> {
    for site in sites {
        let row = (account_sites::account_id.eq(account), account_sites::site_id.eq(site));
        on!(tx.conn(), |c| diesel::insert_into(account_sites::table).values(row).on_conflict_do_nothing().execute(c))?;
    }
    Ok(())
}

/// The account with this id, to be changed in this transaction: no account changes elsewhere until the end of it, so that
/// two administrators who demote each other are not both the last but one.
pub fn find_to_change(tx: &mut Tx<'_>, id: AccountId) -> Result<Option<Account>, Error> {
    meta::touch_settings(tx)?;
    find(tx.conn(), id)
}

/// Makes the account `before`, which [`find_to_change`] has given, the account `after`. The caller has looked whether the
/// address has another one.
pub fn update(tx: &mut Tx<'_>, before: &Account, after: &Account) -> Result<(), Error> {
    // A change of keys seals addresses anew without waiting for whoever changes accounts: one that stays is not written.
    let new_address = before.email_sealed != after.email_sealed;
    let set = (
        new_address
            .then(|| (accounts::email_sealed.eq(&after.email_sealed), accounts::email_hash.eq(&after.email_hash))),
        accounts::name.eq(&after.name),
        accounts::role.eq(after.role),
        accounts::disabled_at.eq(after.disabled_at),
        accounts::links_from.eq(after.links_from),
        (before.language != after.language).then_some(accounts::language.eq(&after.language)),
        (before.mail != after.mail).then_some(&after.mail),
    );
    on!(tx.conn(), |c| diesel::update(accounts::table.find(before.id)).set(set).execute(c))?;
    Ok(())
}

/// Gives an account other sites, in place of those before.
pub fn replace_sites(tx: &mut Tx<'_>, id: AccountId, sites: &[SiteId]) -> Result<(), Error> {
    let before = account_sites::table.filter(account_sites::account_id.eq(id));
    on!(tx.conn(), |c| diesel::delete(before).execute(c))?;
    give_sites(tx, id, sites)
}

/// Whether somebody else is an administrator with all rights.
pub fn has_other_admin(conn: &mut Conn, id: AccountId) -> Result<bool, Error> {
    let other: Option<AccountId> = on!(conn, |c| accounts::table
        .filter(accounts::role.eq(Role::Admin))
        .filter(accounts::disabled_at.is_null())
        .filter(accounts::id.ne(id))
        .select(accounts::id)
        .limit(1)
        .get_result(c)
        .optional())?;
    Ok(other.is_some())
}

/// Takes back every token and link of an account and ends its sessions.
pub fn take_back_everything(tx: &mut Tx<'_>, id: AccountId, now: Timestamp) -> Result<(), Error> {
    revoke_tokens(tx, id, now)?;
    on!(tx.conn(), |c| diesel::delete(sessions::table.filter(sessions::account_id.eq(id))).execute(c))?;
    on!(tx.conn(), |c| diesel::delete(one_time_links::table.filter(one_time_links::account_id.eq(id))).execute(c))?;
    Ok(())
}

/// Takes back every token of an account.
pub fn revoke_tokens(tx: &mut Tx<'_>, id: AccountId, now: Timestamp) -> Result<(), Error> {
    let valid = tokens::table.filter(tokens::account_id.eq(id)).filter(tokens::revoked_at.is_null());
    on!(tx.conn(), |c| diesel::update(valid).set(tokens::revoked_at.eq(now)).execute(c))?;
    Ok(())
}

/// A page of accounts, the oldest first: those after `after`, at most `limit`.
pub fn page(conn: &mut Conn, after: Option<AccountId>, limit: i64) -> Result<Vec<Account>, Error> {
    Ok(on!(conn, |c| {
        let mut query = accounts::table.select(Account::as_select()).order(accounts::id).limit(limit).into_boxed();
        if let Some(after) = after {
            query = query.filter(accounts::id.gt(after));
        }
        query.load(c)
    })?)
}

/// The sites of several accounts.
pub fn sites_of_all(conn: &mut Conn, ids: &[AccountId]) -> Result<Vec<(AccountId, SiteId)>, Error> {
    Ok(on!(conn, |c| account_sites::table
        .filter(account_sites::account_id.eq_any(ids))
        .select((account_sites::account_id, account_sites::site_id))
        .order((account_sites::account_id, account_sites::site_id))
        .load(c))?)
}

/// What whoever adds an account again is told.
pub fn address_is_taken() -> Error {
    Error::conflict("There is an account with this e-mail address already.")
}

/// The account with one of these keyed hashes of its address: one for each key that it may lie under.
pub fn find_by_email(conn: &mut Conn, email_hashes: &[Vec<u8>]) -> Result<Option<Account>, Error> {
    Ok(on!(conn, |c| accounts::table
        .filter(accounts::email_hash.eq_any(email_hashes))
        .select(Account::as_select())
        .get_result(c)
        .optional())?)
}

/// The account with this id.
pub fn find(conn: &mut Conn, id: AccountId) -> Result<Option<Account>, Error> {
    Ok(on!(conn, |c| accounts::table.find(id).select(Account::as_select()).get_result(c).optional())?)
}

/// Every account, the oldest first.
pub fn all(conn: &mut Conn) -> Result<Vec<Account>, Error> {
    Ok(on!(conn, |c| accounts::table.select(Account::as_select()).order(accounts::id).load(c))?)
}

/// The sites of an account.
pub fn sites_of(conn: &mut Conn, id: AccountId) -> Result<Vec<SiteId>, Error> {
    Ok(on!(conn, |c| account_sites::table
        .filter(account_sites::account_id.eq(id))
        .select(account_sites::site_id)
        .order(account_sites::site_id)
        .load(c))?)
}

/// Who is told by mail of what waits on a site: its moderators who want it, and administrators who asked for it.
pub fn mail_recipients(conn: &mut Conn, site: SiteId) -> Result<Vec<AccountId>, Error> {
    let looks_after = account_sites::table.filter(account_sites::site_id.eq(site)).select(account_sites::account_id);
    Ok(on!(conn, |c| accounts::table
        .filter(accounts::wants_mail)
        .filter(accounts::disabled_at.is_null())
        .filter(accounts::id.eq_any(looks_after).or(accounts::role.eq(Role::Admin)))
        .select(accounts::id)
        .order(accounts::id)
        .load(c))?)
}

/// The names of accounts, for the event log.
pub fn names(conn: &mut Conn, ids: &[AccountId]) -> Result<Vec<(AccountId, String)>, Error> {
    Ok(on!(conn, |c| accounts::table.filter(accounts::id.eq_any(ids)).select((accounts::id, accounts::name)).load(c))?)
}

/// Adds a token.
pub fn insert_token(tx: &mut Tx<'_>, token: &Token) -> Result<(), Error> {
    on!(tx.conn(), |c| diesel::insert_into(tokens::table).values(token).execute(c))?;
    Ok(())
}

/// The account behind a token that is valid now.
pub fn find_by_token(conn: &mut Conn, token_hash: &[u8], now: Timestamp) -> Result<Option<(Account, Token)>, Error> {
    Ok(on!(conn, |c| tokens::table
        .inner_join(accounts::table)
        .filter(tokens::token_hash.eq(token_hash))
        .filter(tokens::expires_at.gt(now))
        .filter(tokens::revoked_at.is_null())
        .filter(accounts::disabled_at.is_null())
        .select((Account::as_select(), Token::as_select()))
        .get_result(c)
        .optional())?)
}

/// Notes that a token was used.
pub fn touch_token(tx: &mut Tx<'_>, id: TokenId, now: Timestamp) -> Result<(), Error> {
    on!(tx.conn(), |c| diesel::update(tokens::table.find(id)).set(tokens::last_used_at.eq(now)).execute(c))?;
    Ok(())
}

/// The tokens of an account, the oldest first.
pub fn tokens_of(conn: &mut Conn, account: AccountId) -> Result<Vec<Token>, Error> {
    Ok(on!(conn, |c| tokens::table
        .filter(tokens::account_id.eq(account))
        .select(Token::as_select())
        .order(tokens::id)
        .load(c))?)
}

/// A page of tokens, the oldest first: of one account (none: of all), those after `after`, at most `limit`.
pub fn tokens_page(
    conn: &mut Conn,
    account: Option<AccountId>,
    after: Option<TokenId>,
    limit: i64,
) -> Result<Vec<Token>, Error> {
    Ok(on!(conn, |c| {
        let mut query = tokens::table.select(Token::as_select()).order(tokens::id).limit(limit).into_boxed();
        if let Some(account) = account {
            query = query.filter(tokens::account_id.eq(account));
        }
        if let Some(after) = after {
            query = query.filter(tokens::id.gt(after));
        }
        query.load(c)
    })?)
}

/// The token with this id.
pub fn find_token(conn: &mut Conn, id: TokenId) -> Result<Option<Token>, Error> {
    Ok(on!(conn, |c| tokens::table.find(id).select(Token::as_select()).get_result(c).optional())?)
}

/// Gives a token the name, the scope and the end of `after`; `false` when it has not those of `before` any more.
pub fn update_token(tx: &mut Tx<'_>, before: &Token, after: &Token) -> Result<bool, Error> {
    let same = tokens::table
        .find(before.id)
        .filter(tokens::scope.eq(&before.scope))
        .filter(tokens::expires_at.eq(before.expires_at));
    let set = (tokens::name.eq(&after.name), tokens::scope.eq(&after.scope), tokens::expires_at.eq(after.expires_at));
    Ok(on!(tx.conn(), |c| diesel::update(same).set(set).execute(c))? == 1)
}

/// Takes a token back; `false` when there is none to take back.
pub fn revoke_token(tx: &mut Tx<'_>, id: TokenId, now: Timestamp) -> Result<bool, Error> {
    let valid = tokens::table.find(id).filter(tokens::revoked_at.is_null());
    Ok(on!(tx.conn(), |c| diesel::update(valid).set(tokens::revoked_at.eq(now)).execute(c))? == 1)
}
