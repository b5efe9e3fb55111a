//! How the domain's types stand in the database: ids as [`Uid`] (PostgreSQL's `uuid`, SQLite's 16-byte `BLOB`), times as
//! `BigInt`, enums as `SmallInt`. Nothing here knows a table.

use std::io::Write;

use diesel::backend::Backend;
use diesel::deserialize::{self, FromSql, Queryable};
use diesel::expression::AsExpression;
use diesel::internal::derives::as_expression::Bound;
use diesel::serialize::{self, IsNull, Output, ToSql};
use diesel::sql_types::{BigInt, Nullable, SmallInt, SqlType};
use diesel::sqlite::{Sqlite, SqliteValue};
use serde::{Deserialize, Serialize};
use uuid::Uuid;

use super::accounts::Role;
use super::outbox::Kind;
use super::sign_in::Purpose;
use crate::domain::comment::{Action, Badge, Status, Via};
use crate::domain::feedback::FlagReason;
use crate::domain::ids::{
    AccountId, ArticleId, AuthorId, CommentId, DeliveryId, EventId, LinkId, OutboxId, PasskeyId, RuleId, SessionId,
    SiteId, SubscriberId, TokenId, WebhookId,
};
use crate::domain::people::{Consent, NoticeKind};
use crate::domain::site::{ArticlePolicy, Policy};
use crate::domain::time::Timestamp;
use crate::domain::webhook::{Delivered, EventType, Format};

/// The SQL type of an id on both databases.
#[derive(SqlType, diesel::query_builder::QueryId, Debug, Clone, Copy)]
#[diesel(sqlite_type(name = "Binary"))]
#[cfg_attr(feature = "postgres", diesel(postgres_type(oid = 2950, array_oid = 2951)))]
pub struct Uid;

/// An id of whatever noun, where rows are only carried from one database to another.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub(super) struct AnyId(pub Uuid);

impl AnyId {
    pub fn as_bytes(&self) -> &[u8; 16] {
        self.0.as_bytes()
    }
}

/// Lets a domain type stand in queries as one SQL type.
macro_rules! stands_as {
    ($sql:ty: $($name:ty),+ $(,)?) => {$(
        impl AsExpression<$sql> for $name {
            type Expression = Bound<$sql, Self>;
            fn as_expression(self) -> Self::Expression { Bound::new(self) }
        }
        impl<'a> AsExpression<$sql> for &'a $name {
            type Expression = Bound<$sql, Self>;
            fn as_expression(self) -> Self::Expression { Bound::new(self) }
        }
        impl AsExpression<Nullable<$sql>> for $name {
            type Expression = Bound<Nullable<$sql>, Self>;
            fn as_expression(self) -> Self::Expression { Bound::new(self) }
        }
        impl<'a> AsExpression<Nullable<$sql>> for &'a $name {
            type Expression = Bound<Nullable<$sql>, Self>;
            fn as_expression(self) -> Self::Expression { Bound::new(self) }
        }
        impl<DB: Backend> ToSql<Nullable<$sql>, DB> for $name where $name: ToSql<$sql, DB> {
            fn to_sql<'b>(&'b self, out: &mut Output<'b, '_, DB>) -> serialize::Result {
                <Self as ToSql<$sql, DB>>::to_sql(self, out)
            }
        }
        impl<DB: Backend> Queryable<$sql, DB> for $name where $name: FromSql<$sql, DB> {
            type Row = Self;
            fn build(row: Self) -> deserialize::Result<Self> { Ok(row) }
        }
    )+};
}

/// An id as `Uid`.
macro_rules! ids_as_uid {
    ($($name:ident),+ $(,)?) => {
        stands_as!(Uid: $($name),+);
        $(
            impl ToSql<Uid, Sqlite> for $name {
                fn to_sql<'b>(&'b self, out: &mut Output<'b, '_, Sqlite>) -> serialize::Result {
                    out.set_value(self.as_bytes().as_slice());
                    Ok(IsNull::No)
                }
            }
            impl FromSql<Uid, Sqlite> for $name {
                fn from_sql(mut value: SqliteValue<'_, '_, '_>) -> deserialize::Result<Self> {
                    Ok(Self(Uuid::from_slice(value.read_blob())?))
                }
            }
            #[cfg(feature = "postgres")]
            impl ToSql<Uid, diesel::pg::Pg> for $name {
                fn to_sql<'b>(&'b self, out: &mut Output<'b, '_, diesel::pg::Pg>) -> serialize::Result {
                    out.write_all(self.as_bytes())?;
                    Ok(IsNull::No)
                }
            }
            #[cfg(feature = "postgres")]
            impl FromSql<Uid, diesel::pg::Pg> for $name {
                fn from_sql(value: diesel::pg::PgValue<'_>) -> deserialize::Result<Self> {
                    Ok(Self(Uuid::from_slice(value.as_bytes())?))
                }
            }
        )+
    };
}

/// A newtype or enum through the number that it holds.
macro_rules! through_number {
    ($sql:ty, $number:ident: $($name:ident, |$value:ident| $to:expr, |$from:ident| $back:expr);+ $(;)?) => {
        stands_as!($sql: $($name),+);
        $(
            impl ToSql<$sql, Sqlite> for $name {
                fn to_sql<'b>(&'b self, out: &mut Output<'b, '_, Sqlite>) -> serialize::Result {
                    let $value = self;
                    // SQLite binds 32- and 64-bit integers; a SMALLINT is a small 32-bit one.
                    out.set_value(through_number!(@sqlite $number, $to));
                    Ok(IsNull::No)
                }
            }
            #[cfg(feature = "postgres")]
            impl ToSql<$sql, diesel::pg::Pg> for $name {
                fn to_sql<'b>(&'b self, out: &mut Output<'b, '_, diesel::pg::Pg>) -> serialize::Result {
                    let $value = self;
                    out.write_all(&($to).to_be_bytes())?;
                    Ok(IsNull::No)
                }
            }
            impl<DB: Backend> FromSql<$sql, DB> for $name where $number: FromSql<$sql, DB> {
                fn from_sql(value: DB::RawValue<'_>) -> deserialize::Result<Self> {
                    let $from = <$number as FromSql<$sql, DB>>::from_sql(value)?;
                    $back
                }
            }
        )+
    };
    (@sqlite i16, $to:expr) => { i32::from($to) };
    (@sqlite i64, $to:expr) => { $to };
}

ids_as_uid!(
    SiteId,
    ArticleId,
    CommentId,
    AuthorId,
    AccountId,
    TokenId,
    SessionId,
    EventId,
    OutboxId,
    RuleId,
    AnyId,
    WebhookId,
    DeliveryId,
    PasskeyId,
    LinkId,
    SubscriberId
);

through_number!(BigInt, i64: Timestamp, |time| time.0, |micros| Ok(Timestamp(micros)));

/// A number that this binary has no name for: a newer binary wrote it.
fn unknown(kind: &str, number: i16) -> Box<dyn std::error::Error + Send + Sync> {
    format!("{kind} {number} is unknown to this version").into()
}

through_number!(SmallInt, i16:
    Status, |status| status.number(), |n| Status::from_number(n).ok_or_else(|| unknown("status", n));
    Action, |action| action.number(), |n| Action::from_number(n).ok_or_else(|| unknown("action", n));
    Via, |via| via.number(), |n| Via::from_number(n).ok_or_else(|| unknown("via", n));
    Badge, |badge| badge.number(), |n| Badge::from_number(n).ok_or_else(|| unknown("badge", n));
    Policy, |policy| policy.number(), |n| Policy::from_number(n).ok_or_else(|| unknown("policy", n));
    ArticlePolicy, |policy| policy.number(), |n| ArticlePolicy::from_number(n).ok_or_else(|| unknown("article policy", n));
    Purpose, |purpose| purpose.number(), |n| Purpose::from_number(n).ok_or_else(|| unknown("purpose of a link", n));
    Role, |role| role.number(), |n| Role::from_number(n).ok_or_else(|| unknown("role", n));
    Kind, |kind| kind.number(), |n| Kind::from_number(n).ok_or_else(|| unknown("outbox kind", n));
    EventType, |event| event.number(), |n| EventType::from_number(n).ok_or_else(|| unknown("webhook event", n));
    Format, |format| format.number(), |n| Format::from_number(n).ok_or_else(|| unknown("webhook format", n));
    Consent, |consent| consent.number(), |n| Consent::from_number(n).ok_or_else(|| unknown("consent", n));
    NoticeKind, |kind| kind.number(), |n| NoticeKind::from_number(n).ok_or_else(|| unknown("notice", n));
    FlagReason, |reason| reason.number(), |n| FlagReason::from_number(n).ok_or_else(|| unknown("flag", n));
    Delivered, |end| end.number(), |n| Delivered::from_number(n).ok_or_else(|| unknown("delivery", n));
);
