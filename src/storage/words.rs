//! The full-text index over names and texts; never over e-mail addresses. Words are cut by `domain::search`, so both
//! databases find the same. This file branches on the database: SQLite has FTS5, PostgreSQL `tsvector`.

use diesel::prelude::*;
use diesel::query_builder::{AstPass, QueryFragment, QueryId};
use diesel::sql_types::{Bool, Text};
use diesel::sqlite::Sqlite;

use super::conn::Conn;
use super::schema::comments;
use super::tx::Tx;
use super::types::Uid;
use crate::domain::ids::CommentId;
use crate::domain::search;
use crate::error::Error;

/// Adds the words of a comment.
pub(super) fn index(tx: &mut Tx<'_>, id: CommentId, name: &str, body: &str) -> Result<(), Error> {
    let mut words = search::words(name);
    words.extend(search::words(body));
    match tx.conn() {
        Conn::Sqlite(c) => AddWords { id, words: words.join(" ") }.execute(c)?,
        #[cfg(feature = "postgres")]
        Conn::Postgres(c) => diesel::sql_query(
            "INSERT INTO comment_words (comment_id, words) VALUES ($1, array_to_tsvector($2)) \
             ON CONFLICT (comment_id) DO UPDATE SET words = excluded.words",
        )
        .bind::<Uid, _>(id)
        .bind::<diesel::sql_types::Array<Text>, _>(distinct(words))
        .execute(c)?,
    };
    Ok(())
}

#[cfg(feature = "postgres")]
fn distinct(mut words: Vec<String>) -> Vec<String> {
    words.sort_unstable();
    words.dedup();
    words
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

/// Runs with every submission, so it is prepared once (Diesel prepares `sql_query` anew each time).
#[derive(QueryId)]
struct AddWords {
    id: CommentId,
    words: String,
}

impl QueryFragment<Sqlite> for AddWords {
    fn walk_ast<'b>(&'b self, mut out: AstPass<'_, 'b, Sqlite>) -> QueryResult<()> {
        out.push_sql("INSERT INTO comment_words (rowid, words) SELECT seq, ");
        out.push_bind_param::<Text, _>(&self.words)?;
        out.push_sql(" FROM comments WHERE id = ");
        out.push_bind_param::<Uid, _>(&self.id)
    }
}

impl<C> RunQueryDsl<C> for AddWords {}

/// A condition on `comments`: its words have every word of the question, each as the beginning of a word.
#[derive(QueryId, Clone)]
pub(super) struct Matches {
    question: String,
}

impl Matches {
    /// The condition for SQLite: each word quoted, so that nothing in it is an operator.
    pub fn fts5(words: &[String]) -> Self {
        let quoted: Vec<String> = words.iter().map(|word| format!("\"{}\"{}", word.replace('"', ""), star(word))).collect();
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
