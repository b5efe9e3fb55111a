//! Authors: a person on one site, as far as an author token tells. The token is derived by a keyed hash, so nothing secret
//! is stored; what is stored is how their comments fared.

use diesel::prelude::*;

use super::conn::{Conn, in_chunks, on};
use super::schema::authors;
use crate::domain::ids::{AuthorId, SiteId};
use crate::domain::rules::subject::History;
use crate::domain::time::Timestamp;
use crate::error::Error;

/// An author.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Queryable, Selectable, Insertable)]
#[diesel(table_name = authors, treat_none_as_default_value = false)]
#[diesel(check_for_backend(diesel::sqlite::Sqlite))]
#[cfg_attr(feature = "postgres", diesel(check_for_backend(diesel::pg::Pg)))]
pub struct Author {
    /// The id inside the token.
    pub id: AuthorId,
    /// The site on which the token counts.
    pub site_id: SiteId,
    /// Comments of theirs that are approved now.
    pub approved: i64,
    /// Rejected ones.
    pub rejected: i64,
    /// Spam.
    pub spam: i64,
    /// When their first comment came.
    pub created_at: Timestamp,
}

impl Author {
    /// How their comments fared.
    pub fn history(&self) -> History {
        History { approved: self.approved, rejected: self.rejected, spam: self.spam }
    }
}

/// Writes new authors, with as few statements as the database likes.
pub(super) fn insert_all(conn: &mut Conn, rows: &[Author]) -> Result<(), Error> {
    in_chunks!(conn, rows, |chunk, c| diesel::insert_into(authors::table).values(chunk).execute(c));
    Ok(())
}

/// The author with this id.
pub fn find_anywhere(conn: &mut Conn, id: AuthorId) -> Result<Option<Author>, Error> {
    Ok(on!(conn, |c| authors::table.find(id).select(Author::as_select()).get_result(c).optional())?)
}

/// The authors with these ids, as far as they are there.
pub fn by_ids(conn: &mut Conn, ids: &[AuthorId]) -> Result<Vec<Author>, Error> {
    Ok(on!(conn, |c| authors::table.filter(authors::id.eq_any(ids)).select(Author::as_select()).load(c))?)
}

/// The author with this id on this site.
pub fn find(conn: &mut Conn, site: SiteId, id: AuthorId) -> Result<Option<Author>, Error> {
    Ok(find_anywhere(conn, id)?.filter(|author| author.site_id == site))
}
