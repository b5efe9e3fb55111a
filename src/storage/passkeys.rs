//! Passkeys of accounts. A challenge is no row here: the account keeps the time of the one that was answered last, and one
//! statement asks for it and moves it on, so of two answers at once, on one instance or on two, one wins.

use diesel::prelude::*;

use super::accounts::Account;
use super::conn::{Conn, on};
use super::schema::{accounts, passkeys};
use super::tx::Tx;
use crate::domain::ids::{AccountId, PasskeyId};
use crate::domain::time::Timestamp;
use crate::error::Error;

/// A passkey.
#[derive(Debug, Clone, Queryable, Selectable, Insertable)]
#[diesel(table_name = passkeys, treat_none_as_default_value = false)]
#[diesel(check_for_backend(diesel::sqlite::Sqlite))]
#[cfg_attr(feature = "postgres", diesel(check_for_backend(diesel::pg::Pg)))]
pub struct StoredPasskey {
    /// Its id here.
    pub id: PasskeyId,
    /// Whose it is.
    pub account_id: AccountId,
    /// What the authenticator calls it.
    pub credential_id: Vec<u8>,
    /// JSON of webauthn-rs: the public key and the counter.
    pub credential: String,
    /// What its owner calls it.
    pub name: String,
    /// When it was added.
    pub created_at: Timestamp,
    /// When somebody last signed in with it.
    pub last_used_at: Option<Timestamp>,
}

/// Adds a passkey; `false` when this credential is somebody's already.
pub fn insert(tx: &mut Tx<'_>, passkey: &StoredPasskey) -> Result<bool, Error> {
    let added = on!(tx.conn(), |c| diesel::insert_into(passkeys::table)
        .values(passkey)
        .on_conflict(passkeys::credential_id)
        .do_nothing()
        .execute(c))?;
    Ok(added == 1)
}

/// The passkeys of an account, the oldest first.
pub fn of_account(conn: &mut Conn, account: AccountId) -> Result<Vec<StoredPasskey>, Error> {
    Ok(on!(conn, |c| passkeys::table
        .filter(passkeys::account_id.eq(account))
        .order(passkeys::id)
        .select(StoredPasskey::as_select())
        .load(c))?)
}

/// The passkey that an authenticator calls so, and its account unless that is disabled.
pub fn by_credential(conn: &mut Conn, credential_id: &[u8]) -> Result<Option<(Account, StoredPasskey)>, Error> {
    Ok(on!(conn, |c| passkeys::table
        .inner_join(accounts::table)
        .filter(passkeys::credential_id.eq(credential_id))
        .filter(accounts::disabled_at.is_null())
        .select((Account::as_select(), StoredPasskey::as_select()))
        .get_result(c)
        .optional())?)
}

/// Uses up the challenge that was made at this time, with all older ones, and holds the account until the end of this
/// transaction; `false` when this one or a later one was answered before, or the account has lost its rights.
pub fn take_challenge(tx: &mut Tx<'_>, account: AccountId, made_at: Timestamp) -> Result<bool, Error> {
    let unused = accounts::passkey_challenge_at.is_null().or(accounts::passkey_challenge_at.lt(made_at));
    let row = accounts::table.find(account).filter(accounts::disabled_at.is_null()).filter(unused);
    Ok(on!(tx.conn(), |c| diesel::update(row).set(accounts::passkey_challenge_at.eq(made_at)).execute(c))? == 1)
}

/// Notes that a passkey was used, with its counter as it is now; `false` when it was removed or used meanwhile.
pub fn note_use(tx: &mut Tx<'_>, before: &StoredPasskey, credential: &str, now: Timestamp) -> Result<bool, Error> {
    let row = passkeys::table.find(before.id).filter(passkeys::credential.eq(&before.credential));
    let set = (passkeys::credential.eq(credential), passkeys::last_used_at.eq(now));
    Ok(on!(tx.conn(), |c| diesel::update(row).set(set).execute(c))? == 1)
}

/// Gives a passkey of an account another name; `false` when there is none.
pub fn rename(tx: &mut Tx<'_>, account: AccountId, id: PasskeyId, name: &str) -> Result<bool, Error> {
    let own = passkeys::table.find(id).filter(passkeys::account_id.eq(account));
    Ok(on!(tx.conn(), |c| diesel::update(own).set(passkeys::name.eq(name)).execute(c))? == 1)
}

/// Removes a passkey of an account; `false` when there is none.
pub fn remove(tx: &mut Tx<'_>, account: AccountId, id: PasskeyId) -> Result<bool, Error> {
    let own = passkeys::table.find(id).filter(passkeys::account_id.eq(account));
    Ok(on!(tx.conn(), |c| diesel::delete(own).execute(c))? == 1)
}
