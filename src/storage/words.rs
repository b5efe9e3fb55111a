//! The full-text index over names and texts; never over e-mail addresses. Words are cut by `domain::search`, so both
//! databases find the same. This file branches on the database: PostgreSQL has `tsvector`, filled in the comment's own
//! transaction. SQLite has FTS5, whose inserts would cost a third of all submissions: it is filled behind them, by
//! [`catch_up`], and what it does not have yet (the *tail*: rows after `meta.words_until`) is searched row by row.

use diesel::prelude::*;
use diesel::query_builder::{AstPass, QueryFragment, QueryId};
use diesel::sql_types::{BigInt, Bool, Text};
use diesel::sqlite::Sqlite;

use super::conn::Conn;
use super::meta;
use super::schema::comments;
use super::tx::Tx;
use super::types::Uid;
use crate::domain::ids::CommentId;
use crate::domain::search;
use crate::error::Error;

/// The words of one comment, as the index takes them.
pub(super) struct Words {
    pub id: CommentId,
    /// Each once, in the order of the alphabet, separated by spaces.
    pub words: String,
}

impl Words {
    pub fn of(id: CommentId, name: &str, body: &str) -> Self {
        let (name, body) = (search::fold(name), search::fold(body));
        let mut words = search::words(&name);
        words.extend(search::words(&body));
        words.sort_unstable();
        words.dedup();
        Self { id, words: words.join(" ") }
    }
}

/// Adds the words of new comments at the end of a group: one statement for all of them, or none where they follow later.
pub(super) fn add_new(conn: &mut Conn, new: &[Words]) -> Result<(), Error> {
    match conn {
        Conn::Sqlite(_) => Ok(()),
        #[cfg(feature = "postgres")]
        Conn::Postgres(c) if !new.is_empty() => {
            let (ids, words) = new.iter().map(|new| (new.id, new.words.clone())).unzip();
            AddWords { ids, words }.execute(c)?;
            Ok(())
        }
        #[cfg(feature = "postgres")]
        Conn::Postgres(_) => Ok(()),
    }
}

/// Prepared once per connection, as `fragments.rs` says.
#[cfg(feature = "postgres")]
#[derive(Debug, QueryId)]
struct AddWords {
    ids: Vec<CommentId>,
    words: Vec<String>,
}

#[cfg(feature = "postgres")]
impl QueryFragment<diesel::pg::Pg> for AddWords {
    fn walk_ast<'b>(&'b self, mut out: AstPass<'_, 'b, diesel::pg::Pg>) -> QueryResult<()> {
        use diesel::sql_types::Array;
        out.push_sql(
            "INSERT INTO comment_words (comment_id, words) \
             SELECT id, array_to_tsvector(string_to_array(words, ' ')) FROM unnest(",
        );
        out.push_bind_param::<Array<Uid>, _>(&self.ids)?;
        out.push_sql("::uuid[], ");
        out.push_bind_param::<Array<Text>, _>(&self.words)?;
        out.push_sql("::text[]) AS new (id, words)");
        Ok(())
    }
}

#[cfg(feature = "postgres")]
impl RunQueryDsl<super::postgres::PgConn> for AddWords {}

/// Whether new comments' words are written with them.
pub(super) fn written_at_once(conn: &Conn) -> bool {
    !matches!(conn, Conn::Sqlite(_))
}

/// Writes the words of a comment whose text changed.
pub(super) fn replace(tx: &mut Tx<'_>, id: CommentId, name: &str, body: &str) -> Result<(), Error> {
    forget(tx, id)?;
    let words = Words::of(id, name, body);
    match tx.conn() {
        Conn::Sqlite(c) => {
            diesel::sql_query(
                "INSERT INTO comment_words (rowid, words) SELECT seq, ? FROM comments WHERE id = ? AND seq <= \
                 (SELECT CAST(value AS INTEGER) FROM meta WHERE key = 'words_until')",
            )
            .bind::<Text, _>(words.words)
            .bind::<Uid, _>(id)
            .execute(c)?;
            Ok(())
        }
        #[cfg(feature = "postgres")]
        Conn::Postgres(_) => add_new(tx.conn(), &[words]),
    }
}

/// Takes the words of a comment out of the index.
pub(super) fn forget(tx: &mut Tx<'_>, id: CommentId) -> Result<(), Error> {
    let sql = match tx.conn() {
        Conn::Sqlite(_) => "DELETE FROM comment_words WHERE rowid = (SELECT seq FROM comments WHERE id = ?)",
        #[cfg(feature = "postgres")]
        Conn::Postgres(_) => "DELETE FROM comment_words WHERE comment_id = $1",
    };
    super::conn::on!(tx.conn(), |c| diesel::sql_query(sql).bind::<Uid, _>(id).execute(c))?;
    Ok(())
}

/// Takes all words out of the index. On PostgreSQL they go with their comments.
pub(super) fn forget_all(tx: &mut Tx<'_>) -> Result<(), Error> {
    let Conn::Sqlite(c) = tx.conn() else { return Ok(()) };
    diesel::sql_query("INSERT INTO comment_words (comment_words) VALUES ('delete-all')").execute(c)?;
    Ok(())
}

/// SQLite gives the number of a deleted last row to the next one, so the index must not think that it has that one.
pub(super) fn numbers_may_return(tx: &mut Tx<'_>) -> Result<(), Error> {
    let Conn::Sqlite(c) = tx.conn() else { return Ok(()) };
    diesel::sql_query(
        "UPDATE meta SET value = (SELECT coalesce(max(seq), 0) FROM comments) WHERE key = 'words_until' \
         AND CAST(value AS INTEGER) > (SELECT coalesce(max(seq), 0) FROM comments)",
    )
    .execute(c)?;
    Ok(())
}

#[derive(QueryableByName)]
struct TailRow {
    #[diesel(sql_type = BigInt)]
    seq: i64,
    #[diesel(sql_type = Uid)]
    id: CommentId,
    #[diesel(sql_type = Text)]
    name: String,
    #[diesel(sql_type = Text)]
    body: String,
}

fn words_until(conn: &mut Conn) -> Result<i64, Error> {
    Ok(meta::get(conn, "words_until")?.and_then(|text| text.parse().ok()).unwrap_or(0))
}

fn tail(conn: &mut SqliteConnection, until: i64, limit: i64) -> QueryResult<Vec<TailRow>> {
    diesel::sql_query("SELECT seq, id, name, body FROM comments WHERE seq > ? ORDER BY seq LIMIT ?")
        .bind::<BigInt, _>(until)
        .bind::<BigInt, _>(limit)
        .load(conn)
}

/// Whether the index has every comment: then there is no need to disturb the writer.
pub fn is_complete(conn: &mut Conn) -> Result<bool, Error> {
    let until = words_until(conn)?;
    let Conn::Sqlite(c) = conn else { return Ok(true) };
    Ok(tail(c, until, 1)?.is_empty())
}

/// Prepared once per connection, as `fragments.rs` says.
#[derive(Debug, QueryId)]
struct AddToIndex {
    seq: i64,
    words: String,
}

impl QueryFragment<Sqlite> for AddToIndex {
    fn walk_ast<'b>(&'b self, mut out: AstPass<'_, 'b, Sqlite>) -> QueryResult<()> {
        out.push_sql("INSERT INTO comment_words (rowid, words) VALUES (");
        out.push_bind_param::<BigInt, _>(&self.seq)?;
        out.push_sql(", ");
        out.push_bind_param::<Text, _>(&self.words)?;
        out.push_sql(")");
        Ok(())
    }
}

impl RunQueryDsl<SqliteConnection> for AddToIndex {}

/// Indexes up to `limit` comments of the tail. Returns how many it took; fewer than `limit` means that it is at the end.
pub fn catch_up(tx: &mut Tx<'_>, limit: i64) -> Result<usize, Error> {
    let until = words_until(tx.conn())?;
    let Conn::Sqlite(c) = tx.conn() else { return Ok(0) };
    let rows = tail(c, until, limit)?;
    for row in &rows {
        AddToIndex { seq: row.seq, words: Words::of(row.id, &row.name, &row.body).words }.execute(c)?;
    }
    if let Some(last) = rows.last() {
        meta::put(tx, "words_until", &last.seq.to_string())?;
    }
    Ok(rows.len())
}

/// Comments of the tail that a question matches are found by reading it, in pieces. At most this many rows are read; a tail
/// that long means that the index is about to catch up.
const LONGEST_TAIL: usize = 50_000;
const PIECE: i64 = 500;

/// The ids of comments that match and are not in the index yet.
pub(super) fn find_in_tail(conn: &mut Conn, question: &[String]) -> Result<Vec<CommentId>, Error> {
    let mut until = words_until(conn)?;
    let Conn::Sqlite(c) = conn else { return Ok(Vec::new()) };
    let matches = |row: &TailRow| {
        let words = Words::of(row.id, &row.name, &row.body).words;
        let has = |asked: &String| {
            words
                .split(' ')
                .any(|word| if is_beginning(asked) { word.starts_with(asked.as_str()) } else { word == asked })
        };
        question.iter().all(has)
    };
    let (mut found, mut read) = (Vec::new(), 0);
    while read < LONGEST_TAIL {
        let rows = tail(c, until, PIECE)?;
        let Some(last) = rows.last() else { break };
        until = last.seq;
        read += rows.len();
        found.extend(rows.iter().filter(|row| matches(row)).map(|row| row.id));
    }
    Ok(found)
}

/// A condition on `comments`: its words have every word of the question, each as the beginning of a word.
#[derive(QueryId, Clone)]
pub(super) struct Matches {
    question: String,
}

impl Matches {
    /// The condition for SQLite: each word quoted, so that nothing in it is an operator.
    pub fn fts5(words: &[String]) -> Self {
        let quoted: Vec<String> =
            words.iter().map(|word| format!("\"{}\"{}", word.replace('"', ""), star(word))).collect();
        Self { question: quoted.join(" ") }
    }

    /// The condition for PostgreSQL.
    #[cfg(feature = "postgres")]
    pub fn tsquery(words: &[String]) -> Self {
        let quoted: Vec<String> =
            words.iter().map(|word| format!("'{}'{}", word.replace(['\'', '\\'], ""), colon_star(word))).collect();
        Self { question: quoted.join(" & ") }
    }
}

/// Words of spaced scripts match as beginnings; pairs of ideographs are whole as they are.
fn is_beginning(word: &str) -> bool {
    !word.chars().any(search::is_unspaced)
}

fn star(word: &str) -> &'static str {
    if is_beginning(word) { "*" } else { "" }
}

#[cfg(feature = "postgres")]
fn colon_star(word: &str) -> &'static str {
    if is_beginning(word) { ":*" } else { "" }
}

impl Expression for Matches {
    type SqlType = Bool;
}
impl<QS> diesel::expression::SelectableExpression<QS> for Matches {}
impl<QS> diesel::expression::AppearsOnTable<QS> for Matches {}
impl<GB> diesel::expression::ValidGrouping<GB> for Matches {
    type IsAggregate = diesel::expression::is_aggregate::Never;
}

impl QueryFragment<Sqlite> for Matches {
    fn walk_ast<'b>(&'b self, mut out: AstPass<'_, 'b, Sqlite>) -> QueryResult<()> {
        out.push_sql("comments.seq IN (SELECT rowid FROM comment_words WHERE comment_words MATCH ");
        out.push_bind_param::<Text, _>(&self.question)?;
        out.push_sql(")");
        Ok(())
    }
}

#[cfg(feature = "postgres")]
impl QueryFragment<diesel::pg::Pg> for Matches {
    fn walk_ast<'b>(&'b self, mut out: AstPass<'_, 'b, diesel::pg::Pg>) -> QueryResult<()> {
        out.push_sql("comments.id IN (SELECT comment_id FROM comment_words WHERE words @@ to_tsquery('simple', ");
        out.push_bind_param::<Text, _>(&self.question)?;
        out.push_sql("))");
        Ok(())
    }
}

/// Keeps the import honest: the condition speaks of this table.
const _: comments::table = comments::table;
