//! What lists of administrators have in common: `limit` and `cursor`, which names the last row that was given.

use actix_web::{HttpRequest, web};

use super::error::ApiError;
use super::moderator::Input;
use super::request::{Pairs, bad_cursor, cursor_text};
use crate::domain::fault::Fault;
use crate::error::Error;

/// What part of a list to read, as it was asked for.
pub struct PageQuery {
    /// Whatever else the query says.
    pub pairs: Pairs,
    /// What is wrong with it.
    pub faults: Vec<Fault>,
    after: Option<Vec<u8>>,
    limit: i64,
}

impl Input for PageQuery {
    async fn read(request: &HttpRequest, _: web::Payload) -> Result<Self, ApiError> {
        let pairs = Pairs::of(request)?;
        let mut faults = Vec::new();
        let after = pairs.cursor(&mut faults)?;
        let limit = pairs.limit(&mut faults);
        Ok(Self { pairs, faults, after, limit })
    }
}

impl PageQuery {
    /// The id of the last row that was given.
    pub fn after_id(&self) -> Result<Option<uuid::Uuid>, Error> {
        self.after.as_deref().map(|bytes| uuid::Uuid::from_slice(bytes).map_err(|_| bad_cursor())).transpose()
    }

    /// The key of the last row that was given.
    pub fn after_key(&self) -> Result<Option<String>, Error> {
        self.after.clone().map(|bytes| String::from_utf8(bytes).map_err(|_| bad_cursor())).transpose()
    }

    /// So many rows are read: one more than are shown, which tells whether there is another page.
    pub fn rows(&self) -> i64 {
        self.limit + 1
    }

    /// The rows that are shown, and the cursor of the page after them; `mark` names a row.
    pub fn cut<T>(&self, mut rows: Vec<T>, mark: impl Fn(&T) -> Vec<u8>) -> (Vec<T>, Option<String>) {
        let shown = usize::try_from(self.limit).unwrap_or(0);
        let more = rows.len() > shown;
        rows.truncate(shown);
        let next = rows.last().filter(|_| more).map(|row| cursor_text(&mark(row)));
        (rows, next)
    }
}
