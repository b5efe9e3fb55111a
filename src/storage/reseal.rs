//! Private fields on their way under another key: read page by page, written back only where they are still what was read.
//! What they mean is not known here, and nothing that a reader sees changes.

use std::collections::HashSet;

use diesel::prelude::*;

use super::conn::{Conn, on};
use super::neighbours::free_comments;
use super::schema::{accounts, comments};
use super::tx::Tx;
use crate::domain::ids::{AccountId, CommentId};
use crate::error::Error;

/// Rows of a page, and so of a transaction: about ten milliseconds of the one writer that SQLite has.
pub const PAGE: usize = 500;

/// The same number as SQL takes it.
pub const PAGE_ROWS: i64 = 500;

/// What lies encrypted in a comment, and the keyed hash that belongs to it.
#[derive(Debug, Clone, PartialEq, Eq, Queryable, Selectable)]
#[diesel(table_name = comments)]
#[diesel(check_for_backend(diesel::sqlite::Sqlite))]
#[cfg_attr(feature = "postgres", diesel(check_for_backend(diesel::pg::Pg)))]
#[expect(missing_docs, reason = "the columns are documented in migrations/")]
pub struct PrivateFields {
    pub id: CommentId,
    pub email_sealed: Option<Vec<u8>>,
    pub email_hash: Option<Vec<u8>>,
    pub sender_sealed: Option<Vec<u8>>,
}

/// The private fields of the comments after this one, in the order of ids; a page that is not full is the last.
pub fn page(conn: &mut Conn, after: CommentId) -> Result<Vec<PrivateFields>, Error> {
    Ok(on!(conn, |c| comments::table
        .filter(comments::id.gt(after))
        .order(comments::id)
        .limit(PAGE_ROWS)
        .select(PrivateFields::as_select())
        .load(c))?)
}

/// Writes private fields (before, after) where nobody was quicker: a comment that is gone, or that another connection is
/// working on, is passed over. Every sealed value has a random nonce, so an equal one was not written in between. Returns how
/// many it wrote.
pub fn replace(tx: &mut Tx<'_>, changes: &[(PrivateFields, PrivateFields)]) -> Result<usize, Error> {
    let mut written = 0;
    let ids: Vec<CommentId> = changes.iter().map(|(before, _)| before.id).collect();
    let free: HashSet<CommentId> = free_comments(tx, &ids)?.into_iter().collect();
    for (before, after) in changes.iter().filter(|(before, _)| free.contains(&before.id)) {
        let row = comments::table.find(before.id);
        let set = (
            comments::email_sealed.eq(&after.email_sealed),
            comments::email_hash.eq(&after.email_hash),
            comments::sender_sealed.eq(&after.sender_sealed),
        );
        // Retention may have taken the sender since; what is gone must not come back.
        match (&before.email_sealed, &before.sender_sealed) {
            (Some(email), Some(sender)) => {
                let row = row.filter(comments::email_sealed.eq(email)).filter(comments::sender_sealed.eq(sender));
                written += on!(tx.conn(), |c| diesel::update(row).set(set).execute(c))?;
            }
            (Some(email), None) => {
                let row = row.filter(comments::email_sealed.eq(email));
                written += on!(tx.conn(), |c| diesel::update(row).set(set).execute(c))?;
            }
            (None, Some(sender)) => {
                let row = row.filter(comments::sender_sealed.eq(sender));
                written += on!(tx.conn(), |c| diesel::update(row).set(set).execute(c))?;
            }
            (None, None) => {}
        }
    }
    Ok(written)
}

/// What lies encrypted in an account, under another key.
#[derive(Debug, Clone)]
pub struct AccountFields {
    /// Which account.
    pub id: AccountId,
    /// The sealed address that was read.
    pub before: Vec<u8>,
    /// The same address, sealed anew.
    pub email_sealed: Vec<u8>,
    /// Its hash by the same key.
    pub email_hash: Vec<u8>,
}

/// A secret of one-time codes under another key.
#[derive(Debug, Clone)]
pub struct TotpSecret {
    /// Whose.
    pub id: AccountId,
    /// Whether it waits to be confirmed.
    pub is_pending: bool,
    /// What was read.
    pub before: Vec<u8>,
    /// The same secret, sealed anew.
    pub sealed: Vec<u8>,
}

/// Writes addresses and secrets of accounts where they are still what was read. Returns how many it wrote.
pub fn replace_accounts(tx: &mut Tx<'_>, changes: &[AccountFields], secrets: &[TotpSecret]) -> Result<usize, Error> {
    let mut written = replace_secrets(tx, secrets)?;
    for change in changes {
        let row = accounts::table.find(change.id).filter(accounts::email_sealed.eq(&change.before));
        let set = (accounts::email_sealed.eq(&change.email_sealed), accounts::email_hash.eq(&change.email_hash));
        written += on!(tx.conn(), |c| diesel::update(row).set(set).execute(c))?;
    }
    Ok(written)
}

fn replace_secrets(tx: &mut Tx<'_>, changes: &[TotpSecret]) -> Result<usize, Error> {
    let mut written = 0;
    for change in changes {
        let row = accounts::table.find(change.id);
        written += if change.is_pending {
            let row = row.filter(accounts::totp_pending.eq(&change.before));
            on!(tx.conn(), |c| diesel::update(row).set(accounts::totp_pending.eq(&change.sealed)).execute(c))?
        } else {
            let row = row.filter(accounts::totp_sealed.eq(&change.before));
            on!(tx.conn(), |c| diesel::update(row).set(accounts::totp_sealed.eq(&change.sealed)).execute(c))?
        };
    }
    Ok(written)
}
