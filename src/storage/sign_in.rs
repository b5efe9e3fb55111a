//! What somebody signs in with: the password, the second factor, and the links that let one set a password. Each thing that
//! is good for one time is used up by one statement that says whether it was this one that used it: of two at once, on one
//! instance or on two, one wins.

use diesel::prelude::*;

use super::accounts::Role;
use super::conn::{Conn, on};
use super::schema::{accounts, one_time_links, passkeys, recovery_codes};
use super::tx::Tx;
use crate::domain::comment::named_enum;
use crate::domain::ids::{AccountId, LinkId};
use crate::domain::time::Timestamp;
use crate::error::Error;

named_enum! {
    /// What a one-time link is for.
    Purpose {
        /// Making the first administrator.
        Setup = 0 => "setup",
        /// Choosing the first password of an account that an administrator made.
        Invitation = 1 => "invitation",
        /// Choosing another password.
        Reset = 2 => "reset",
    }
}

/// A one-time link; its token is not stored.
#[derive(Debug, Clone, Queryable, Selectable, Insertable)]
#[diesel(table_name = one_time_links, treat_none_as_default_value = false)]
#[diesel(check_for_backend(diesel::sqlite::Sqlite))]
#[cfg_attr(feature = "postgres", diesel(check_for_backend(diesel::pg::Pg)))]
pub struct Link {
    /// Its id.
    pub id: LinkId,
    /// What it is for.
    pub purpose: Purpose,
    /// Whose password it sets; none for the first administrator's.
    pub account_id: Option<AccountId>,
    /// SHA-256 of its 256 random bits.
    pub token_hash: Vec<u8>,
    /// When it was made.
    pub created_at: Timestamp,
    /// When it ends.
    pub expires_at: Timestamp,
}

/// Links of an account for one purpose that work at once; the ceiling of mails lets fewer leave within the life of a reset.
const MOST_LINKS: i64 = 10;

/// Adds a link for an account. Those before go on: anybody may ask for a reset, and must not end an invitation, nor the
/// link that somebody is about to open. Above [`MOST_LINKS`] for one purpose the oldest goes.
pub fn add_link(tx: &mut Tx<'_>, link: &Link) -> Result<(), Error> {
    on!(tx.conn(), |c| diesel::insert_into(one_time_links::table).values(link).execute(c))?;
    let alike = one_time_links::account_id.eq(link.account_id).and(one_time_links::purpose.eq(link.purpose));
    let first_too_many: Option<LinkId> = on!(tx.conn(), |c| one_time_links::table
        .filter(alike)
        .select(one_time_links::id)
        .order(one_time_links::id.desc())
        .limit(1)
        .offset(MOST_LINKS)
        .get_result(c)
        .optional())?;
    if let Some(last) = first_too_many {
        let old = one_time_links::table.filter(alike).filter(one_time_links::id.le(last));
        on!(tx.conn(), |c| diesel::delete(old).execute(c))?;
    }
    Ok(())
}

/// Makes the link to the first administrator, in place of the one before. It has one id for all instances, so there is one
/// of it: of two that start together the last one counts.
pub fn put_setup_link(tx: &mut Tx<'_>, link: &Link) -> Result<(), Error> {
    let set = (
        one_time_links::token_hash.eq(&link.token_hash),
        one_time_links::created_at.eq(link.created_at),
        one_time_links::expires_at.eq(link.expires_at),
    );
    on!(tx.conn(), |c| diesel::insert_into(one_time_links::table)
        .values(link)
        .on_conflict(one_time_links::id)
        .do_update()
        .set(set)
        .execute(c))?;
    Ok(())
}

/// Deletes the links of an account.
pub fn remove_links(tx: &mut Tx<'_>, account: AccountId) -> Result<(), Error> {
    let known = one_time_links::table.filter(one_time_links::account_id.eq(account));
    on!(tx.conn(), |c| diesel::delete(known).execute(c))?;
    Ok(())
}

/// The link that this hash finds, over or not.
pub fn find_link(conn: &mut Conn, token_hash: &[u8]) -> Result<Option<Link>, Error> {
    Ok(on!(conn, |c| one_time_links::table
        .filter(one_time_links::token_hash.eq(token_hash))
        .select(Link::as_select())
        .get_result(c)
        .optional())?)
}

/// Uses a link up; `false` when somebody was quicker.
pub fn use_link(tx: &mut Tx<'_>, link: &Link) -> Result<bool, Error> {
    let known = one_time_links::table.find(link.id).filter(one_time_links::token_hash.eq(&link.token_hash));
    Ok(on!(tx.conn(), |c| diesel::delete(known).execute(c))? == 1)
}

/// Deletes links that ended before this.
pub fn sweep(tx: &mut Tx<'_>, before: Timestamp) -> Result<(), Error> {
    let old = one_time_links::table.filter(one_time_links::expires_at.lt(before));
    on!(tx.conn(), |c| diesel::delete(old).execute(c))?;
    Ok(())
}

/// Takes back every passkey of an account, whether this program was built with them or not, and forgets which challenge was
/// answered last: that one cannot be answered again, and a clock that was ahead shuts nobody out.
pub fn remove_passkeys(tx: &mut Tx<'_>, account: AccountId) -> Result<(), Error> {
    let known = passkeys::table.filter(passkeys::account_id.eq(account));
    on!(tx.conn(), |c| diesel::delete(known).execute(c))?;
    let no_time = accounts::passkey_challenge_at.eq(None::<i64>);
    on!(tx.conn(), |c| diesel::update(accounts::table.find(account)).set(no_time).execute(c))?;
    Ok(())
}

/// Whether the first administrator is still to be made: there is none, and nobody else has a password.
pub fn wants_setup(conn: &mut Conn) -> Result<bool, Error> {
    let known: Option<AccountId> = on!(conn, |c| accounts::table
        .filter(accounts::role.eq(Role::Admin).or(accounts::password_hash.is_not_null()))
        .select(accounts::id)
        .limit(1)
        .get_result(c)
        .optional())?;
    Ok(known.is_none())
}

/// Gives an account another password; `false` when it has lost its rights.
pub fn set_password(tx: &mut Tx<'_>, id: AccountId, password_hash: &str) -> Result<bool, Error> {
    let row = accounts::table.find(id).filter(accounts::disabled_at.is_null());
    Ok(on!(tx.conn(), |c| diesel::update(row).set(accounts::password_hash.eq(password_hash)).execute(c))? == 1)
}

/// Gives an account another password in place of this one; `false` when it has another one already, or has lost its rights.
pub fn replace_password(tx: &mut Tx<'_>, id: AccountId, [before, after]: [&str; 2]) -> Result<bool, Error> {
    let row =
        accounts::table.find(id).filter(accounts::disabled_at.is_null()).filter(accounts::password_hash.eq(before));
    Ok(on!(tx.conn(), |c| diesel::update(row).set(accounts::password_hash.eq(after)).execute(c))? == 1)
}

/// Holds an account until the end of this transaction, if this is still its password and nobody has disabled it: what is
/// written for it meanwhile, like a session, is there when somebody changes the password next, and ends with it.
pub fn hold(tx: &mut Tx<'_>, id: AccountId, password_hash: &str) -> Result<bool, Error> {
    replace_password(tx, id, [password_hash, password_hash])
}

/// Takes the code of a step of time; `false` when that one or a later one was taken before.
pub fn take_step(tx: &mut Tx<'_>, id: AccountId, step: i64) -> Result<bool, Error> {
    let unused = accounts::totp_step.is_null().or(accounts::totp_step.lt(step));
    let row = accounts::table.find(id).filter(unused);
    Ok(on!(tx.conn(), |c| diesel::update(row).set(accounts::totp_step.eq(step)).execute(c))? == 1)
}

/// Takes a recovery code; `false` when there is none like it (any more).
pub fn take_recovery_code(tx: &mut Tx<'_>, id: AccountId, code_hash: &[u8]) -> Result<bool, Error> {
    let code = recovery_codes::table.find((id, code_hash));
    Ok(on!(tx.conn(), |c| diesel::delete(code).execute(c))? == 1)
}

/// Keeps a secret until its owner shows with a code that their telephone has it.
pub fn propose_totp(tx: &mut Tx<'_>, id: AccountId, sealed: &[u8]) -> Result<(), Error> {
    let row = accounts::table.find(id);
    on!(tx.conn(), |c| diesel::update(row).set(accounts::totp_pending.eq(sealed)).execute(c))?;
    Ok(())
}

/// A second factor that is switched on.
#[derive(Debug, Clone)]
pub struct NewTotp {
    /// What was proposed, as it lies there.
    pub pending: Vec<u8>,
    /// The same, sealed for its place.
    pub sealed: Vec<u8>,
    /// The step of the code that showed it.
    pub step: i64,
    /// Hashes of the recovery codes.
    pub recovery: Vec<Vec<u8>>,
}

/// Switches a second factor on; `false` when another one was proposed meanwhile, or this one was switched on already.
pub fn switch_totp_on(tx: &mut Tx<'_>, id: AccountId, new: &NewTotp) -> Result<bool, Error> {
    let row = accounts::table.find(id).filter(accounts::totp_pending.eq(&new.pending));
    let set = (
        accounts::totp_sealed.eq(&new.sealed),
        accounts::totp_pending.eq(None::<Vec<u8>>),
        accounts::totp_step.eq(new.step),
    );
    if on!(tx.conn(), |c| diesel::update(row).set(set).execute(c))? == 0 {
        return Ok(false);
    }
    remove_recovery_codes(tx, id)?;
    for hash in &new.recovery {
        let row = (recovery_codes::account_id.eq(id), recovery_codes::code_hash.eq(hash));
        on!(tx.conn(), |c| diesel::insert_into(recovery_codes::table).values(row).execute(c))?;
    }
    Ok(true)
}

/// Switches the second factor off, with its recovery codes.
pub fn switch_totp_off(tx: &mut Tx<'_>, id: AccountId) -> Result<(), Error> {
    let set = (
        accounts::totp_sealed.eq(None::<Vec<u8>>),
        accounts::totp_pending.eq(None::<Vec<u8>>),
        accounts::totp_step.eq(None::<i64>),
    );
    on!(tx.conn(), |c| diesel::update(accounts::table.find(id)).set(set).execute(c))?;
    remove_recovery_codes(tx, id)
}

fn remove_recovery_codes(tx: &mut Tx<'_>, id: AccountId) -> Result<(), Error> {
    let known = recovery_codes::table.filter(recovery_codes::account_id.eq(id));
    on!(tx.conn(), |c| diesel::delete(known).execute(c))?;
    Ok(())
}
