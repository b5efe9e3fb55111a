//! Reads whole tables in bounded pages, in the order of their ids: a page begins after the last id of the one before, so
//! that the memory it takes does not grow with the table, and what comes meanwhile moves no row to another page.

use diesel::prelude::*;

use super::accounts::{self, Account};
use super::articles::Article;
use super::authors::Author;
use super::comments::Comment;
use super::conn::{Conn, on};
use super::events::Event;
use super::rules::{self, StoredRule, WithWords};
use super::schema;
use crate::domain::ids::{AccountId, ArticleId, AuthorId, CommentId, EventId, RuleId, SiteId};
use crate::domain::site::{ArticlePolicy, Policy};
use crate::domain::time::Timestamp;
use crate::error::Error;

/// Rows of a page; one with fewer is the last.
pub const PAGE: usize = 500;

/// The same number as SQL takes it.
const PAGE_ROWS: i64 = 500;

/// A site as it is stored, with its times, which nobody else asks for.
#[derive(Debug, Clone, Queryable, Selectable)]
#[diesel(table_name = schema::sites)]
#[diesel(check_for_backend(diesel::sqlite::Sqlite))]
#[cfg_attr(feature = "postgres", diesel(check_for_backend(diesel::pg::Pg)))]
#[expect(missing_docs, reason = "the columns are documented in migrations/")]
pub struct StoredSite {
    pub id: SiteId,
    pub key: String,
    pub name: String,
    pub url: Option<String>,
    pub origins: String,
    pub moderation: Policy,
    pub articles: ArticlePolicy,
    pub language: String,
    pub settings: String,
    pub created_at: Timestamp,
    pub updated_at: Timestamp,
}

/// One function per table: the page of rows after an id.
macro_rules! pages {
    ($($(#[$doc:meta])* $name:ident: $table:ident, $id:ty, $row:ty);+ $(;)?) => {$(
        $(#[$doc])*
        pub fn $name(conn: &mut Conn, after: $id) -> Result<Vec<$row>, Error> {
            use schema::$table::{id, table};
            Ok(on!(conn, |c| table
                .filter(id.gt(after))
                .order(id)
                .limit(PAGE_ROWS)
                .select(<$row>::as_select())
                .load(c))?)
        }
    )+};
}

pages! {
    /// Sites after this one.
    sites: sites, SiteId, StoredSite;
    /// Articles after this one.
    articles: articles, ArticleId, Article;
    /// Authors after this one.
    authors: authors, AuthorId, Author;
    /// Comments after this one, whatever their state.
    comments: comments, CommentId, Comment;
    /// Entries of the log after this one.
    events: events, EventId, Event;
    /// Rules after this one, without their lists.
    lone_rules: rules, RuleId, StoredRule;
    /// Accounts after this one, without their sites.
    lone_accounts: accounts, AccountId, Account;
}

/// Rules after this one, each with its list as it was packed.
pub fn rules(conn: &mut Conn, after: RuleId) -> Result<Vec<WithWords>, Error> {
    let found = lone_rules(conn, after)?;
    let with_list = |rule: StoredRule| rules::words(conn, rule.id).map(|words| (rule, words));
    found.into_iter().map(with_list).collect()
}

/// Accounts after this one, each with the sites that it looks after.
pub fn accounts(conn: &mut Conn, after: AccountId) -> Result<Vec<(Account, Vec<SiteId>)>, Error> {
    let found = lone_accounts(conn, after)?;
    let with_sites = |account: Account| accounts::sites_of(conn, account.id).map(|sites| (account, sites));
    found.into_iter().map(with_sites).collect()
}
