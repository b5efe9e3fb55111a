//! Signed-in browsers. What the browser holds is not stored: a hash of it finds the session, and a session that is over is
//! not found.

use diesel::prelude::*;

use super::accounts::Account;
use super::conn::{Conn, on};
use super::schema::{accounts, sessions};
use super::tx::Tx;
use crate::domain::ids::{AccountId, SessionId};
use crate::domain::time::Timestamp;
use crate::error::Error;

/// A signed-in browser.
#[derive(Debug, Clone, Queryable, Selectable, Insertable)]
#[diesel(table_name = sessions, treat_none_as_default_value = false)]
#[diesel(check_for_backend(diesel::sqlite::Sqlite))]
#[cfg_attr(feature = "postgres", diesel(check_for_backend(diesel::pg::Pg)))]
pub struct Session {
    /// Its id, by which its owner ends it; no way in.
    pub id: SessionId,
    /// Whose it is.
    pub account_id: AccountId,
    /// SHA-256 of its 256 random bits.
    pub token_hash: Vec<u8>,
    /// The browser's name.
    pub user_agent: Option<String>,
    /// When its owner signed in.
    pub created_at: Timestamp,
    /// When it was last seen, to the minute.
    pub seen_at: Timestamp,
    /// When it ends, however much it is used.
    pub expires_at: Timestamp,
}

/// The sessions that are not over.
#[derive(Debug, Clone, Copy)]
pub struct Alive {
    /// They end later than this,
    pub now: Timestamp,
    /// and were seen after this.
    pub idle_since: Timestamp,
}

/// Adds a session.
pub fn insert(tx: &mut Tx<'_>, session: &Session) -> Result<(), Error> {
    on!(tx.conn(), |c| diesel::insert_into(sessions::table).values(session).execute(c))?;
    Ok(())
}

/// The account behind a session that is not over.
pub fn find(conn: &mut Conn, token_hash: &[u8], alive: Alive) -> Result<Option<(Account, Session)>, Error> {
    Ok(on!(conn, |c| sessions::table
        .inner_join(accounts::table)
        .filter(sessions::token_hash.eq(token_hash))
        .filter(sessions::expires_at.gt(alive.now))
        .filter(sessions::seen_at.gt(alive.idle_since))
        .filter(accounts::disabled_at.is_null())
        .select((Account::as_select(), Session::as_select()))
        .get_result(c)
        .optional())?)
}

/// Notes that a session was used.
pub fn touch(tx: &mut Tx<'_>, id: SessionId, now: Timestamp) -> Result<(), Error> {
    on!(tx.conn(), |c| diesel::update(sessions::table.find(id)).set(sessions::seen_at.eq(now)).execute(c))?;
    Ok(())
}

/// A page of the sessions of an account that are not over, the newest first: those before `before`, at most `limit`.
pub fn page(
    conn: &mut Conn,
    (account, alive): (AccountId, Alive),
    before: Option<SessionId>,
    limit: i64,
) -> Result<Vec<Session>, Error> {
    Ok(on!(conn, |c| {
        let mut query = sessions::table
            .filter(sessions::account_id.eq(account))
            .filter(sessions::expires_at.gt(alive.now))
            .filter(sessions::seen_at.gt(alive.idle_since))
            .order(sessions::id.desc())
            .limit(limit)
            .select(Session::as_select())
            .into_boxed();
        if let Some(before) = before {
            query = query.filter(sessions::id.lt(before));
        }
        query.load(c)
    })?)
}

/// Ends all sessions of an account but its newest.
pub fn keep_newest(tx: &mut Tx<'_>, account: AccountId, kept: i64) -> Result<(), Error> {
    let own = sessions::table.filter(sessions::account_id.eq(account));
    let first_too_many: Option<SessionId> = on!(tx.conn(), |c| own
        .select(sessions::id)
        .order(sessions::id.desc())
        .limit(1)
        .offset(kept)
        .get_result(c)
        .optional())?;
    if let Some(last) = first_too_many {
        on!(tx.conn(), |c| diesel::delete(own.filter(sessions::id.le(last))).execute(c))?;
    }
    Ok(())
}

/// Ends a session of an account; `false` when there is none.
pub fn end(tx: &mut Tx<'_>, account: AccountId, id: SessionId) -> Result<bool, Error> {
    let own = sessions::table.find(id).filter(sessions::account_id.eq(account));
    Ok(on!(tx.conn(), |c| diesel::delete(own).execute(c))? == 1)
}

/// Ends all sessions of an account but one.
pub fn end_others(tx: &mut Tx<'_>, account: AccountId, kept: SessionId) -> Result<(), Error> {
    let others = sessions::table.filter(sessions::account_id.eq(account)).filter(sessions::id.ne(kept));
    on!(tx.conn(), |c| diesel::delete(others).execute(c))?;
    Ok(())
}

/// Ends the session that this hash finds, if there is one.
pub fn end_by_hash(tx: &mut Tx<'_>, token_hash: &[u8]) -> Result<(), Error> {
    let known = sessions::table.filter(sessions::token_hash.eq(token_hash));
    on!(tx.conn(), |c| diesel::delete(known).execute(c))?;
    Ok(())
}

/// Deletes sessions that are over.
pub fn sweep(tx: &mut Tx<'_>, alive: Alive) -> Result<(), Error> {
    let over = sessions::expires_at.le(alive.now).or(sessions::seen_at.le(alive.idle_since));
    on!(tx.conn(), |c| diesel::delete(sessions::table.filter(over)).execute(c))?;
    Ok(())
}
