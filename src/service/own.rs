//! What authors may do with their own comments: look, change (`edits.rs`), delete. They show an author token, or a link that
//! was mailed to the comment's address (`people.rs`).

use std::sync::Arc;

use super::people::Person;
use super::{Actor, Service};
use crate::domain::fault::Fault;
use crate::domain::ids::{AuthorId, CommentId};
use crate::domain::site_settings::FormRules;
use crate::domain::text::{Body, Name, tidy};
use crate::domain::time::Timestamp;
use crate::domain::web::WebAddress;
use crate::error::Error;
use crate::keys::Keys;
use crate::storage::comments::{self, Comment};
use crate::storage::{Tx, authors};

/// What a merge patch does to a field that may be empty.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub enum Change<T> {
    /// It is not named: it stays.
    #[default]
    Keep,
    /// It is null or empty: it goes.
    Clear,
    /// It gets this value.
    Set(T),
}

/// A merge patch of name, website and text, as it came.
#[derive(Debug, Clone, Default)]
pub struct RawPatch {
    /// A new name.
    pub name: Option<String>,
    /// A new website.
    pub website: Change<String>,
    /// A new text.
    pub body: Option<String>,
}

/// A legal patch.
#[derive(Debug, Clone, Default)]
pub struct Patch {
    pub(super) name: Option<Name>,
    pub(super) website: Change<WebAddress>,
    pub(super) body: Option<Body>,
}

impl Patch {
    /// Whether it changes nothing.
    pub(super) fn is_empty(&self) -> bool {
        self.name.is_none() && self.website == Change::Keep && self.body.is_none()
    }
}

impl RawPatch {
    /// Parses the patch; all faults at once.
    pub fn parse(self, rules: &FormRules, mut faults: Vec<Fault>) -> Result<Patch, Error> {
        let mut patch = Patch::default();
        let mut note = |fault| faults.push(fault);
        if let Some(text) = &self.name {
            patch.name = required(text, "name", rules, Name::parse).map_err(&mut note).ok();
        }
        if let Some(text) = &self.body {
            patch.body = required(text, "body", rules, Body::parse).map_err(&mut note).ok();
        }
        let cleared = match &self.website {
            Change::Set(text) => tidy(text).is_empty(),
            change => *change == Change::Clear,
        };
        if cleared && rules.needs_website {
            note(Fault::required("website"));
        }
        patch.website = match self.website {
            Change::Set(_) if cleared => Change::Clear,
            Change::Set(text) => {
                let parsed = required(&text, "website", rules, WebAddress::parse);
                parsed.map_or_else(
                    |fault| {
                        note(fault);
                        Change::Keep
                    },
                    Change::Set,
                )
            }
            Change::Clear => Change::Clear,
            Change::Keep => Change::Keep,
        };
        if faults.is_empty() { Ok(patch) } else { Err(Error::Invalid(crate::domain::submission::in_order(faults))) }
    }
}

fn required<T>(
    text: &str,
    field: &'static str,
    rules: &FormRules,
    parse: impl FnOnce(&str, &'static str) -> Result<T, Fault>,
) -> Result<T, Fault> {
    let text = tidy(text);
    if text.is_empty() {
        return Err(Fault::required(field));
    }
    let most = match field {
        "name" => rules.fields.name_max,
        "body" => rules.fields.body_max,
        _ => rules.fields.website_max,
    };
    if text.chars().count() > most {
        return Err(Fault::too_long(field, most, "characters"));
    }
    if let Some(fault) = rules.too_short(field, &text) {
        return Err(fault);
    }
    parse(&text, field)
}

/// Why somebody may act on a comment as its author.
#[derive(Debug, Clone)]
pub enum Right {
    /// They have its author token. It lets them change the comment for a while only.
    Token(AuthorId),
    /// They read the mail of its address.
    Mail(Person),
}

impl Right {
    /// Whether the comment is theirs.
    pub(super) fn covers(&self, comment: &Comment) -> bool {
        match self {
            Self::Token(author) => comment.author_id == *author,
            Self::Mail(person) => person.wrote(comment),
        }
    }

    /// Their own comment; somebody else's is not found, like one that is not there.
    pub(super) fn find_to_change(&self, tx: &mut Tx<'_>, id: CommentId) -> Result<Comment, Error> {
        comments::find_to_change(tx, id)?.filter(|comment| self.covers(comment)).ok_or(Error::NotFound)
    }
}

impl Service {
    /// The author behind a token, whichever site it was made for, and the comment if it is theirs. No author: the token is
    /// not one of ours.
    pub async fn author_and_comment(
        &self,
        token: &str,
        id: Option<CommentId>,
    ) -> Result<Option<(AuthorId, Option<Comment>)>, Error> {
        let Some(claimed) = Keys::claimed_author(token) else { return Ok(None) };
        let (author, comment) = self
            .db
            .read(move |conn| {
                let comment = id.map(|id| comments::find(conn, id)).transpose()?.flatten();
                Ok((authors::find_anywhere(conn, claimed)?, comment))
            })
            .await?;
        let verified = author.filter(|author| self.keys.read_author_token(author.site_id, token) == Some(author.id));
        let own = |author: authors::Author| (author.id, comment.filter(|comment| comment.author_id == author.id));
        Ok(verified.map(own))
    }

    /// When the author's time for changes is over.
    pub fn editable_until(&self, created_at: Timestamp) -> Timestamp {
        created_at.plus(self.rules.edit_window)
    }

    /// [`Error::EditWindowClosed`] when that time is over.
    pub fn check_edit_window(&self, comment: &Comment, now: Timestamp) -> Result<(), Error> {
        if now < self.editable_until(comment.created_at) { Ok(()) } else { Err(Error::EditWindowClosed) }
    }

    /// Deletes the author's own comment for good.
    pub async fn remove_own(self: &Arc<Self>, id: CommentId, right: Right) -> Result<(), Error> {
        let (service, now) = (self.clone(), self.clock.now());
        self.db
            .write(move |tx| {
                let comment = right.find_to_change(tx, id)?;
                service.erase_in(tx, &[comment], Actor::author(now))
            })
            .await
    }
}
