//! Copies of an SQLite database: made while others write, and looked at before anybody trusts them. Both work on files by
//! connections of their own, beside [`Db`](super::Db). PostgreSQL has its own tools for this.

use std::path::Path;

use diesel::prelude::*;
use diesel::sql_types::Text;

use super::conn::{Conn, on};
use super::schema::comments;
use super::{meta, migrations, sqlite};
use crate::error::Error;

/// What a whole copy holds.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Found {
    /// Comments, in whatever state.
    pub comments: i64,
    /// Tells the key that belongs to it; none before the first start.
    pub key_check: Option<String>,
}

/// Copies the database in `from` into the empty file `into`, as it is at one moment, and looks at the copy. Writers go on
/// meanwhile: `VACUUM INTO` reads one snapshot of the WAL. Both files are only named, so both must be there. None when
/// `from` has no table of ours.
pub fn copy(from: &Path, into: &Path) -> Result<Option<Found>, Error> {
    let mut conn = sqlite::open_as_it_is(from)?;
    if !migrations::is_there(&mut conn)? {
        return Ok(None);
    }
    let name = into.to_str().ok_or_else(|| Error::internal("the path of the copy is not UTF-8"))?;
    let before = count(&mut conn)?;
    // Not by way of `Error::from`: a full disk is no passing trouble here.
    on!(&mut conn, |c| diesel::sql_query("VACUUM INTO $1").bind::<Text, _>(name).execute(c))
        .map_err(|cause| Error::internal(format!("cannot write {name}: {cause}")))?;
    let after = count(&mut conn)?;
    let found = look_at(into)?;
    // A comment may be deleted for good while the copy is made; then it is missing afterwards, too.
    let least = before.min(after);
    if found.comments < least {
        return Err(Error::internal(format!(
            "the copy has {} comments, the database {least}: it is not kept",
            found.comments
        )));
    }
    Ok(Some(found))
}

/// Looks at every page and every index of a copy, and whether this program may use it.
pub fn look_at(path: &Path) -> Result<Found, Error> {
    let mut conn = sqlite::open_as_it_is(path)?;
    if let Some(trouble) = damage(&mut conn)? {
        return Err(Error::internal(format!("the file is damaged ({trouble})")));
    }
    if !migrations::is_there(&mut conn)? {
        return Err(Error::internal("the file is no database of afterword"));
    }
    migrations::refuse_if_too_old(&mut conn)?;
    Ok(Found { comments: count(&mut conn)?, key_check: meta::get(&mut conn, meta::KEY_CHECK)? })
}

fn count(conn: &mut Conn) -> Result<i64, Error> {
    Ok(on!(conn, |c| comments::table.count().get_result(c))?)
}

#[derive(QueryableByName)]
struct Check {
    #[diesel(sql_type = Text)]
    integrity_check: String,
}

/// What `PRAGMA integrity_check` finds: unlike the doctor's quick one it also compares each index with its table.
fn damage(conn: &mut Conn) -> Result<Option<String>, Error> {
    let rows: Vec<Check> = on!(conn, |c| diesel::sql_query("PRAGMA integrity_check(5)").load(c))?;
    let findings = rows.iter().map(|row| row.integrity_check.as_str()).filter(|text| *text != "ok");
    // A finding may have several lines; an error has one.
    let trouble: Vec<&str> = findings.flat_map(str::lines).collect();
    Ok((!trouble.is_empty()).then(|| trouble.join("; ")))
}
