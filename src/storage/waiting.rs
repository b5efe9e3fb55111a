//! How much waits for a decision: pending comments, which are counted as they come, and public comments whose new text
//! waits, which are few and counted by their own index.

use std::collections::BTreeMap;

use diesel::prelude::*;

use super::conn::{Conn, on};
use super::schema::comments;
use super::site_counts;
use crate::domain::comment::Status;
use crate::domain::ids::SiteId;
use crate::error::Error;

/// How many comments wait for a decision on each of the given sites (none: on each site there is); sites where nothing waits
/// are left out.
pub fn counts(conn: &mut Conn, wanted: Option<&[SiteId]>) -> Result<BTreeMap<SiteId, i64>, Error> {
    let mut waiting: BTreeMap<SiteId, i64> =
        site_counts::of(conn, wanted)?.into_iter().map(|counts| (counts.site_id, counts.pending)).collect();
    for (site, status) in edits(conn, wanted)? {
        // A pending comment with a new text is counted already; a rejected one is decided.
        if status == Status::Approved {
            *waiting.entry(site).or_default() += 1;
        }
    }
    waiting.retain(|_, count| *count > 0);
    Ok(waiting)
}

/// Site and state of each waiting text. They are few. Asked for a state, or to count by it, SQLite would read the index of the
/// queue instead: every comment there is.
fn edits(conn: &mut Conn, wanted: Option<&[SiteId]>) -> Result<Vec<(SiteId, Status)>, Error> {
    Ok(on!(conn, |c: Db| {
        let mut query = comments::table
            .filter(comments::waiting_edit.is_not_null())
            .select((comments::site_id, comments::status))
            .into_boxed::<Db>();
        if let Some(wanted) = wanted {
            query = query.filter(comments::site_id.eq_any(wanted));
        }
        query.load(c)
    })?)
}
