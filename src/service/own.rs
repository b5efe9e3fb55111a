//! What authors may do with their own comments, by their author token: look, change for a while, delete.

use std::net::IpAddr;
use std::sync::Arc;

use ipnet::IpNet;

use super::{Actor, Service};
use crate::domain::comment::{Action, HoldReason, Status};
use crate::domain::fault::Fault;
use crate::domain::ids::{AuthorId, CommentId};
use crate::domain::policy::{Facts, Verdict};
use crate::domain::render::{RENDERER, render};
use crate::domain::rules::judge::{Decided, RULE};
use crate::domain::rules::subject::Subject;
use crate::domain::site_settings::FormRules;
use crate::domain::text::{Body, Name, double_form, tidy};
use crate::domain::time::Timestamp;
use crate::domain::web::WebAddress;
use crate::error::Error;
use crate::keys::Keys;
use crate::storage::comments::{self, Comment, StateChange, Text};
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
    name: Option<Name>,
    website: Change<WebAddress>,
    pub(super) body: Option<Body>,
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

/// The author's own comment; somebody else's is not found, like one that is not there.
fn own(tx: &mut Tx<'_>, id: CommentId, author: AuthorId) -> Result<Comment, Error> {
    let comment = comments::find_to_change(tx, id)?.filter(|comment| comment.author_id == author);
    comment.ok_or(Error::NotFound)
}

/// Who changes their own comment, and from where.
#[derive(Debug, Clone, Copy)]
pub struct Editor {
    /// By their author token.
    pub author: AuthorId,
    /// Rules look at it, and it goes no further.
    pub client: IpAddr,
}

/// A patch, and when and from where it came.
pub(super) struct Edit<'a> {
    pub patch: &'a Patch,
    pub client: IpAddr,
    pub now: Timestamp,
}

/// How a change by the author ended.
pub enum Edited {
    /// The new text is in place.
    Applied(Comment),
    /// The approved text stays public while the new one waits.
    Waits(Comment),
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

    /// Changes the author's own comment, with a new look at the new text.
    pub async fn edit_own(self: &Arc<Self>, id: CommentId, editor: Editor, patch: Patch) -> Result<Edited, Error> {
        let (service, now) = (self.clone(), self.clock.now());
        self.db
            .write(move |tx| {
                let comment = own(tx, id, editor.author)?;
                service.check_edit_window(&comment, now)?;
                service.edit_own_in(tx, comment, &Edit { patch: &patch, client: editor.client, now })
            })
            .await
    }

    /// Whoever calls this has found out that it is the author, and in time.
    pub(super) fn edit_own_in(&self, tx: &mut Tx<'_>, comment: Comment, edit: &Edit<'_>) -> Result<Edited, Error> {
        let Edit { patch, now, .. } = *edit;
        let base = comment.waiting_edit().unwrap_or_else(|| comment.text());
        let text = self.patched(&base, patch, now);
        if text.name == base.name && text.website == base.website && text.body == base.body {
            let waits = comment.waiting_edit.is_some() && comment.status == Status::Approved;
            return Ok(if waits { Edited::Waits(comment) } else { Edited::Applied(comment) });
        }
        let verdict = self.verdict_on_edit(tx, (&comment, &text), edit)?;
        let waits = comment.status == Status::Approved && verdict.status != Status::Approved;
        let tells = waits && verdict.status == Status::Pending;
        let (change, ruled) = outcome(&comment, text, verdict);
        let after = comments::change(tx, &comment, &change)?;
        self.record(tx, &comment, self.event(&comment, Actor::author(now), Action::Edited));
        if let Some(decided) = ruled {
            self.record(tx, &comment, self.ruled(&comment, &decided, now));
        }
        // A mail that has left shows the old text, and its links decide on nothing else.
        // One that was held without a mail, because its sender floods, stays without one.
        let flooded = after.hold_reasons().iter().any(|reason| reason.code == "email_rate");
        if tells || (after.status == Status::Pending && !flooded) {
            tx.enqueue(self.tell_moderators(&comment, now).about_an_edit());
        }
        Ok(if waits { Edited::Waits(after) } else { Edited::Applied(after) })
    }

    fn verdict_on_edit(
        &self,
        tx: &mut Tx<'_>,
        (comment, text): (&Comment, &Text),
        edit: &Edit<'_>,
    ) -> Result<Verdict, Error> {
        let site = self.sites.by_id(comment.site_id)?;
        let author = authors::find(tx.conn(), comment.site_id, comment.author_id)?;
        let (email, _) = self.opened(&comment.sealed());
        let subject = Subject {
            name: &text.name,
            email: email.as_deref(),
            email_is_hidden: email.is_none() && comment.email_sealed.is_some(),
            website: text.website.as_deref(),
            body: &text.body,
            body_html: &text.body_html,
            author: author.map(|author| author.history()).unwrap_or_default(),
            address: Some(IpNet::from(edit.client)),
            at: edit.now,
        };
        let trusted = author.is_some_and(|author| author.approved > 0);
        Ok(self.verdict(&site, Facts { trusted, edit: true, ..Facts::default() }, &subject))
    }

    /// The text after a patch, rendered.
    pub(super) fn patched(&self, base: &Text, patch: &Patch, now: Timestamp) -> Text {
        let mut text = base.clone();
        if let Some(name) = &patch.name {
            name.as_str().clone_into(&mut text.name);
        }
        match &patch.website {
            Change::Set(website) => text.website = Some(website.as_str().to_owned()),
            Change::Clear => text.website = None,
            Change::Keep => {}
        }
        if let Some(body) = &patch.body {
            body.as_str().clone_into(&mut text.body);
            text.body_html = render(body);
            text.renderer = RENDERER;
        }
        text.edited_at = Some(now.0);
        text.text_hash = self.keys.text_hash(&double_form(&text.name, &text.body));
        text
    }

    /// Deletes the author's own comment for good.
    pub async fn remove_own(self: &Arc<Self>, id: CommentId, author: AuthorId) -> Result<(), Error> {
        let (service, now) = (self.clone(), self.clock.now());
        self.db
            .write(move |tx| {
                let comment = own(tx, id, author)?;
                service.erase_in(tx, &[comment], Actor::author(now))
            })
            .await
    }
}

/// What an edit does to a comment. The public text stays while one that speaks against itself waits, whatever rules call it.
/// One that is not public gets its new text; rules may still put it away, but none makes it public: somebody else is asked.
fn outcome(comment: &Comment, text: Text, verdict: Verdict) -> (StateChange, Option<Decided>) {
    let Verdict { status, reasons, score, ruled } = verdict;
    let spam_score = score;
    if comment.status == Status::Approved {
        let waits = status != Status::Approved;
        let hold_reasons = (waits || !reasons.is_empty()).then_some(reasons);
        let (text, waiting_edit) = if waits { (None, Some(Some(text))) } else { (Some(text), Some(None)) };
        return (StateChange { text, waiting_edit, hold_reasons, spam_score, ..StateChange::default() }, None);
    }
    let by_rules = |reason: &HoldReason| reason.code == RULE;
    let mut told = comment.hold_reasons();
    told.retain(|reason| !by_rules(reason));
    told.splice(..0, reasons.into_iter().filter(by_rules));
    let ruled = ruled.filter(|_| comment.status == Status::Pending && status != Status::Approved);
    let change = StateChange {
        to: ruled.as_ref().map(|_| status),
        text: Some(text),
        waiting_edit: Some(None),
        hold_reasons: Some(told),
        spam_score,
        ..StateChange::default()
    };
    (change, ruled)
}
