//! The tables that a copy takes, each with all of its columns as they are stored: sealed values stay sealed, and a number is
//! taken whether this version knows what it means or not. A column of `schema.rs` that is missing here does not compile.
//! This file branches on the database: PostgreSQL empties a table without looking at its rows.

use std::collections::HashSet;

use diesel::prelude::*;
use sha2::Sha256;

use super::super::conn::{Conn, on};
use super::super::words::Words;
use super::super::{schema, words};
use super::accounts::{AccessToken, Account, AccountSite, Passkey, RecoveryCode};
use super::facts::Fact;
use super::people::{Notice, PersonRequest, Subscriber};
use super::{AnyId, COUNTED_ROWS, Canonical, INSERT_ROWS, PAGE_ROWS, Row, Table, Tx, unfit};
use crate::domain::ids::CommentId;
use crate::error::Error;

/// All tables but those that a database derives, and what is worth nothing elsewhere: whoever is signed in signs in again,
/// and whoever has a link asks for another. What others refer to comes first.
pub static TABLES: &[Table] = &[
    Table::of::<Fact>(),
    Table::of::<Site>(),
    Table::of::<SiteCounts>(),
    Table::of::<Account>(),
    Table::of::<AccountSite>(),
    Table::of::<RecoveryCode>(),
    Table::of::<Passkey>(),
    Table::of::<AccessToken>(),
    Table::of::<Article>(),
    Table::of::<Author>(),
    Table::of::<Comment>(),
    Table::of::<Event>(),
    Table::of::<OutboxRow>(),
    Table::of::<IdempotencyKey>(),
    Table::of::<Rule>(),
    Table::of::<Webhook>(),
    Table::of::<WebhookWork>(),
    Table::of::<WebhookDelivery>(),
    Table::of::<Subscriber>(),
    Table::of::<Notice>(),
    Table::of::<PersonRequest>(),
    Table::of::<Vote>(),
    Table::of::<VisitorsReaction>(),
    Table::of::<ReactionCount>(),
    Table::of::<Flag>(),
];

/// Rows after a key of one or two columns.
macro_rules! beyond {
    ($key:expr, $a:ident) => {
        $a.gt(&$key.0)
    };
    ($key:expr, $a:ident, $b:ident) => {
        $a.ge(&$key.0).and($a.gt(&$key.0).or($b.gt(&$key.1)))
    };
}

/// The rows of tables, by their primary keys. One that is not simply inserted says so in a block of its own.
macro_rules! rows {
    ($($table:ident: $row:ident by ($($key:ident: $key_type:ty),+) {
        $($column:ident: $type:ty),+ $(,)?
    } $(, with { $($own:tt)+ })?)+) => {$(
        #[derive(Queryable, Insertable)]
        #[diesel(table_name = schema::$table, treat_none_as_default_value = false)]
        pub(super) struct $row {
            $($column: $type),+
        }

        const _: ($(schema::$table::$column,)+) = schema::$table::all_columns;

        impl $row {
            fn insert(conn: &mut Conn, rows: &[&Self]) -> Result<(), Error> {
                for part in rows.chunks(INSERT_ROWS) {
                    on!(conn, |c| diesel::insert_into(schema::$table::table).values(part.to_vec()).execute(c)).map_err(unfit)?;
                }
                Ok(())
            }
        }

        impl Row for $row {
            const TABLE: &'static str = stringify!($table);
            type Key = ($($key_type,)+);

            fn clear(tx: &mut Tx<'_>) -> Result<(), Error> {
                match tx.conn() {
                    Conn::Sqlite(c) => diesel::delete(schema::$table::table).execute(c)?,
                    #[cfg(feature = "postgres")]
                    Conn::Postgres(c) => {
                        diesel::sql_query(concat!("TRUNCATE ", stringify!($table), " CASCADE")).execute(c)?
                    }
                };
                Ok(())
            }

            fn key(&self) -> Self::Key {
                ($(self.$key.clone(),)+)
            }

            fn after(conn: &mut Conn, key: &Self::Key) -> Result<Vec<Self>, Error> {
                use schema::$table::{$($key,)+ table};
                Ok(on!(conn, |c| table.filter(beyond!(key, $($key),+)).order(($($key,)+)).limit(PAGE_ROWS).load(c))?)
            }

            fn keys_after(conn: &mut Conn, key: &Self::Key) -> Result<Vec<Self::Key>, Error> {
                use schema::$table::{$($key,)+ table};
                let keys = table.order(($($key,)+)).limit(COUNTED_ROWS).select(($($key,)+));
                Ok(on!(conn, |c| keys.filter(beyond!(key, $($key),+)).load(c))?)
            }

            fn add_to(&self, hash: &mut Sha256) {
                $(self.$column.add_to(hash);)+
            }

            rows!(@write $($($own)+)?);
        }
    )+};
    (@write) => {
        fn write(tx: &mut Tx<'_>, rows: &[Self]) -> Result<(), Error> {
            Self::insert(tx.conn(), &rows.iter().collect::<Vec<_>>())
        }
    };
    (@write $($own:tt)+) => { $($own)+ };
}

pub(super) use {beyond, rows};

rows! {
    sites: Site by (id: AnyId) {
        id: AnyId,
        key: String,
        name: String,
        url: Option<String>,
        origins: String,
        moderation: i16,
        articles: i16,
        language: String,
        settings: String,
        created_at: i64,
        updated_at: i64,
    }

    site_counts: SiteCounts by (site_id: AnyId, slot: i16) {
        site_id: AnyId,
        pending: i64,
        approved: i64,
        rejected: i64,
        spam: i64,
        slot: i16,
    }

    articles: Article by (id: AnyId) {
        id: AnyId,
        site_id: AnyId,
        key: String,
        title: Option<String>,
        url: Option<String>,
        closed: bool,
        comment_count: i64,
        version: i64,
        created_at: i64,
        kept_open: bool,
        alias_of: Option<AnyId>,
        alias_since: Option<i64>,
        merging: bool,
        moved: i64,
        read_only: bool,
    }

    authors: Author by (id: AnyId) {
        id: AnyId,
        site_id: AnyId,
        approved: i64,
        rejected: i64,
        spam: i64,
        created_at: i64,
    }

    comments: Comment by (id: AnyId) {
        id: AnyId,
        site_id: AnyId,
        article_id: AnyId,
        parent_id: Option<AnyId>,
        root_id: AnyId,
        depth: i16,
        path: Vec<u8>,
        status: i16,
        visible: bool,
        author_id: AnyId,
        name: String,
        website: Option<String>,
        body: String,
        body_html: String,
        renderer: i16,
        email_sealed: Option<Vec<u8>>,
        email_hash: Option<Vec<u8>>,
        sender_sealed: Option<Vec<u8>>,
        article_title: Option<String>,
        article_url: Option<String>,
        waiting_edit: Option<String>,
        replaced_text: Option<String>,
        hold_reasons: String,
        spam_score: Option<f64>,
        notify: bool,
        badge: Option<i16>,
        pinned: bool,
        votes_up: i32,
        votes_down: i32,
        score: i32,
        reply_count: i32,
        visible_children: i32,
        version: i64,
        text_hash: Vec<u8>,
        created_at: i64,
        edited_at: Option<i64>,
    }, with {
        /// A parent may have a greater id than its reply (imported comments), but always a smaller depth.
        fn complete(source: &mut Conn, rows: &mut Vec<Self>) -> Result<(), Error> {
            use schema::comments::{id, table};
            let Some(last) = rows.last().map(|row| row.id) else { return Ok(()) };
            let mut known = HashSet::new();
            let mut from = 0;
            while from < rows.len() {
                let parents = rows.iter().skip(from).filter_map(|row| row.parent_id);
                let later: Vec<AnyId> = parents.filter(|parent| *parent > last && known.insert(*parent)).collect();
                from = rows.len();
                rows.extend(on!(source, |c| table.filter(id.eq_any(later)).load::<Self>(c))?);
            }
            rows.sort_by_key(|row| row.depth);
            Ok(())
        }

        fn write(tx: &mut Tx<'_>, rows: &[Self]) -> Result<(), Error> {
            use schema::comments::{id, table};
            let ids: Vec<AnyId> = rows.iter().map(|row| row.id).collect();
            let known: Vec<AnyId> = on!(tx.conn(), |c| table.filter(id.eq_any(ids)).select(id).load(c))?;
            let known: HashSet<AnyId> = known.into_iter().collect();
            let new: Vec<&Self> = rows.iter().filter(|row| !known.contains(&row.id)).collect();
            Self::insert(tx.conn(), &new)?;
            if words::written_at_once(tx.conn()) {
                let words = new.iter().map(|row| Words::of(CommentId(row.id.0), &row.name, &row.body));
                words::add_new(tx.conn(), &words.collect::<Vec<_>>())?;
            }
            Ok(())
        }
    }

    events: Event by (id: AnyId) {
        id: AnyId,
        site_id: AnyId,
        comment_id: AnyId,
        at: i64,
        account_id: Option<AnyId>,
        action: i16,
        from_status: Option<i16>,
        to_status: Option<i16>,
        via: i16,
        reason: Option<String>,
        article_id: Option<AnyId>,
    }

    outbox: OutboxRow by (id: AnyId) {
        id: AnyId,
        kind: i16,
        site_id: AnyId,
        comment_id: Option<AnyId>,
        account_id: Option<AnyId>,
        due_at: Option<i64>,
        claim: Option<AnyId>,
        attempts: i32,
        dedupe_key: Option<String>,
        last_error: Option<String>,
        created_at: i64,
        finished_at: Option<i64>,
        failed_at: Option<i64>,
    }

    idempotency_keys: IdempotencyKey by (site_id: AnyId, key_hash: Vec<u8>) {
        site_id: AnyId,
        key_hash: Vec<u8>,
        request_hash: Vec<u8>,
        comment_id: AnyId,
        author_id: AnyId,
        status: i16,
        answer: String,
        created_at: i64,
    }

    votes: Vote by (comment_id: AnyId, visitor: Vec<u8>) {
        comment_id: AnyId,
        visitor: Vec<u8>,
        value: i16,
        at: i64,
    }

    reactions: VisitorsReaction by (article_id: AnyId, visitor: Vec<u8>) {
        article_id: AnyId,
        visitor: Vec<u8>,
        reaction: String,
        at: i64,
    }

    reaction_counts: ReactionCount by (article_id: AnyId, reaction: String) {
        article_id: AnyId,
        reaction: String,
        count: i64,
    }

    flags: Flag by (comment_id: AnyId, visitor: Vec<u8>) {
        comment_id: AnyId,
        visitor: Vec<u8>,
        reason: i16,
        note: Option<String>,
        at: i64,
    }

    webhooks: Webhook by (id: AnyId) {
        id: AnyId,
        site_id: Option<AnyId>,
        format: i16,
        events: String,
        include_email: bool,
        private_sealed: Vec<u8>,
        former_until: Option<i64>,
        enabled: bool,
        disabled_reason: Option<String>,
        failures: i32,
        failing_since: Option<i64>,
        resume_at: Option<i64>,
        created_at: i64,
    }

    webhook_queue: WebhookWork by (id: AnyId) {
        id: AnyId,
        webhook_id: AnyId,
        event_id: AnyId,
        event: i16,
        event_at: i64,
        site_id: Option<AnyId>,
        article_id: Option<AnyId>,
        comment_id: Option<AnyId>,
        comment_status: Option<i16>,
        comment_version: i64,
        by_hand: bool,
        due_at: i64,
        claim: Option<AnyId>,
        attempts: i32,
        created_at: i64,
    }

    webhook_deliveries: WebhookDelivery by (id: AnyId) {
        id: AnyId,
        webhook_id: AnyId,
        event_id: AnyId,
        event: i16,
        event_at: i64,
        site_id: Option<AnyId>,
        article_id: Option<AnyId>,
        comment_id: Option<AnyId>,
        comment_status: Option<i16>,
        attempt: i32,
        result: i16,
        status_code: Option<i32>,
        error: Option<String>,
        duration_ms: i64,
        at: i64,
    }
}

rows! {
    rules: Rule by (id: AnyId) {
        id: AnyId,
        site_id: Option<AnyId>,
        position: i32,
        definition: String,
        word_count: i32,
        version: i64,
        created_at: i64,
        updated_at: i64,
        words: Option<Vec<u8>>,
    }
}
