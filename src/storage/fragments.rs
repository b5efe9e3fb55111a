//! The few hot statements that Diesel would build and prepare anew each time (it caches no `UPDATE`): written by hand on
//! its public API, prepared once per connection. 6.4 -> 1.3 microseconds per statement (docs/decisions/001-storage.md).

use diesel::backend::Backend;
use diesel::query_builder::{AstPass, QueryFragment, QueryId};
use diesel::result::QueryResult;
use diesel::serialize::ToSql;
use diesel::sql_types::{BigInt, Bool, Double, HasSqlType, Nullable, SmallInt, Text};

use super::comments::Comment;
use super::site_counts::SiteBump;
use super::types::Uid;
use crate::domain::comment::Status;
use crate::domain::ids::{ArticleId, AuthorId, CommentId};

/// How an article's counters change.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
pub struct ArticleBump {
    /// Change of the number of approved comments.
    pub comment_count: i64,
    /// One for each change that a reader can see.
    pub version: i64,
}

/// How an author's counters change.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
pub struct AuthorBump {
    /// Change of the number of approved comments.
    pub approved: i64,
    /// Of rejected ones.
    pub rejected: i64,
    /// Of spam.
    pub spam: i64,
}

impl ArticleBump {
    pub(super) fn add(&mut self, by: Self) {
        self.comment_count += by.comment_count;
        self.version += by.version;
    }
}

impl AuthorBump {
    pub(super) fn add(&mut self, by: Self) {
        self.approved += by.approved;
        self.rejected += by.rejected;
        self.spam += by.spam;
    }
}

impl From<SiteBump> for AuthorBump {
    fn from(bump: SiteBump) -> Self {
        Self { approved: bump.approved, rejected: bump.rejected, spam: bump.spam }
    }
}

/// Declares `UPDATE table SET column = column + $n, … WHERE key = $m` with cached preparation.
macro_rules! bump_statement {
    ($(#[$doc:meta])* $name:ident { $id:ty, $by:ty }: $table:literal . $key:literal { $first:ident $(, $rest:ident)* }) => {
        $(#[$doc])*
        #[derive(Debug, QueryId)]
        pub(super) struct $name { pub id: $id, pub by: $by }

        impl<DB> QueryFragment<DB> for $name
        where
            DB: Backend + HasSqlType<Uid> + HasSqlType<BigInt>,
            $id: ToSql<Uid, DB>,
            i64: ToSql<BigInt, DB>,
        {
            fn walk_ast<'b>(&'b self, mut out: AstPass<'_, 'b, DB>) -> QueryResult<()> {
                out.push_sql(concat!(
                    "UPDATE ", $table, " SET ", stringify!($first), " = ", stringify!($first), " + "
                ));
                out.push_bind_param::<BigInt, _>(&self.by.$first)?;
                $(
                    out.push_sql(concat!(", ", stringify!($rest), " = ", stringify!($rest), " + "));
                    out.push_bind_param::<BigInt, _>(&self.by.$rest)?;
                )*
                out.push_sql(concat!(" WHERE ", $key, " = "));
                out.push_bind_param::<Uid, _>(&self.id)
            }
        }

        impl<C> diesel::query_dsl::RunQueryDsl<C> for $name {}
    };
}

bump_statement! {
    /// Changes the counters of an article.
    BumpArticle { ArticleId, ArticleBump }: "articles"."id" { comment_count, version }
}
bump_statement! {
    /// Changes the counters of an author.
    BumpAuthor { AuthorId, AuthorBump }: "authors"."id" { approved, rejected, spam }
}

impl QueryId for ArticleBump {
    type QueryId = Self;
    const HAS_STATIC_QUERY_ID: bool = true;
}
impl QueryId for AuthorBump {
    type QueryId = Self;
    const HAS_STATIC_QUERY_ID: bool = true;
}

/// Writes a comment's state and what goes with it. Preparing it costs more than running it: it touches a dozen indexes.
#[derive(Debug)]
pub(super) struct SetState<'a>(&'a Comment);

impl<'a> SetState<'a> {
    /// The state that the comment has, beside its id.
    pub fn of(comment: &'a Comment) -> Self {
        Self(comment)
    }
}

impl QueryId for SetState<'_> {
    type QueryId = SetState<'static>;
    const HAS_STATIC_QUERY_ID: bool = true;
}

impl<DB> QueryFragment<DB> for SetState<'_>
where
    DB: Backend + HasSqlType<Uid> + HasSqlType<Bool>,
    CommentId: ToSql<Uid, DB>,
    Status: ToSql<SmallInt, DB>,
    i64: ToSql<BigInt, DB>,
    bool: ToSql<Bool, DB>,
    Option<f64>: ToSql<Nullable<Double>, DB>,
    Option<String>: ToSql<Nullable<Text>, DB>,
    String: ToSql<Text, DB>,
{
    fn walk_ast<'b>(&'b self, mut out: AstPass<'_, 'b, DB>) -> QueryResult<()> {
        out.push_sql("UPDATE comments SET version = ");
        out.push_bind_param::<BigInt, _>(&self.0.version)?;
        out.push_sql(", status = ");
        out.push_bind_param::<SmallInt, _>(&self.0.status)?;
        out.push_sql(", visible = ");
        out.push_bind_param::<Bool, _>(&self.0.visible)?;
        out.push_sql(", spam_score = ");
        out.push_bind_param::<Nullable<Double>, _>(&self.0.spam_score)?;
        out.push_sql(", replaced_text = ");
        out.push_bind_param::<Nullable<Text>, _>(&self.0.replaced_text)?;
        out.push_sql(", waiting_edit = ");
        out.push_bind_param::<Nullable<Text>, _>(&self.0.waiting_edit)?;
        out.push_sql(", hold_reasons = ");
        out.push_bind_param::<Text, _>(&self.0.hold_reasons)?;
        out.push_sql(" WHERE id = ");
        out.push_bind_param::<Uid, _>(&self.0.id)
    }
}

impl<C> diesel::query_dsl::RunQueryDsl<C> for SetState<'_> {}
