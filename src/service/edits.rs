//! Edits by authors: the new text is judged like a new comment, before the transaction that writes it.

use std::net::IpAddr;
use std::sync::Arc;

use ipnet::IpNet;

use super::own::{Change, Patch, Right};
use super::{Actor, Service};
use crate::domain::comment::{Action, HoldReason, Status};
use crate::domain::ids::CommentId;
use crate::domain::policy::{Facts, Verdict};
use crate::domain::render::{RENDERER, render};
use crate::domain::rules::judge::{Decided, RULE};
use crate::domain::rules::subject::Subject;
use crate::domain::text::double_form;
use crate::domain::time::Timestamp;
use crate::error::Error;
use crate::storage::articles::{self, Article};
use crate::storage::authors::Author;
use crate::storage::comments::{self, Comment, StateChange, Text};
use crate::storage::{Conn, Tx, authors};

/// Who changes their own comment, and from where.
#[derive(Debug, Clone)]
pub struct Editor {
    /// Why they may.
    pub right: Right,
    /// Rules look at it, and it goes no further.
    pub client: IpAddr,
}

/// How a change by the author ended.
pub enum Edited {
    /// The new text is in place.
    Applied(Comment),
    /// The approved text stays public while the new one waits.
    Waits(Comment),
}

/// A comment that its author wants to change, and what was known of it then.
struct Seen {
    comment: Comment,
    author: Option<Author>,
    article: Option<Article>,
}

/// A new text with what is to be done with it, if the comment is still what was seen.
#[derive(Clone)]
struct Judged {
    version: i64,
    text: Text,
    verdict: Verdict,
    now: Timestamp,
}

/// So often a comment that changes under the author's hands is looked at anew.
const ROUNDS: usize = 5;

impl Service {
    /// Changes the author's own comment, with a new look at the new text. [`Error::Closed`] when visitors may change nothing
    /// on its article.
    pub async fn edit_own(self: &Arc<Self>, id: CommentId, editor: Editor, patch: Patch) -> Result<Edited, Error> {
        let now = self.clock.now();
        for _ in 0..ROUNDS {
            let right = editor.right.clone();
            let seen = self.db.read(move |conn| seen(conn, id, &right)).await?;
            if matches!(editor.right, Right::Token(_)) {
                self.check_edit_window(&seen.comment, now)?;
            }
            if seen.article.as_ref().is_some_and(|article| self.is_read_only(article)) {
                return Err(Error::Closed);
            }
            let base = seen.comment.waiting_edit().unwrap_or_else(|| seen.comment.text());
            let text = self.patched(&base, &patch, now);
            if text.name == base.name && text.website == base.website && text.body == base.body {
                let waits = seen.comment.waiting_edit.is_some() && seen.comment.status == Status::Approved;
                return Ok(if waits { Edited::Waits(seen.comment) } else { Edited::Applied(seen.comment) });
            }
            // Rules may take milliseconds: not while others wait for the writer.
            let verdict = self.verdict_on_edit(&seen, &text, (editor.client, now))?;
            let judged = Judged { version: seen.comment.version, text, verdict, now };
            let (service, right) = (self.clone(), editor.right.clone());
            let edited = self.db.write(move |tx| {
                let comment = right.find_to_change(tx, id)?;
                if comment.version == judged.version {
                    service.write_edit(tx, &comment, judged.clone()).map(Some)
                } else {
                    Ok(None)
                }
            });
            if let Some(edited) = edited.await? {
                return Ok(edited);
            }
        }
        Err(Error::Busy)
    }

    fn write_edit(&self, tx: &mut Tx<'_>, comment: &Comment, judged: Judged) -> Result<Edited, Error> {
        let Judged { text, verdict, now, .. } = judged;
        let waits = comment.status == Status::Approved && verdict.status != Status::Approved;
        let tells = waits && verdict.status == Status::Pending;
        let (change, ruled) = outcome(comment, text, verdict);
        let after = comments::change(tx, comment, &change)?;
        self.record(tx, comment, self.event(comment, Actor::author(now), Action::Edited));
        if let Some(decided) = ruled {
            self.record(tx, comment, self.ruled(comment, &decided, now));
        }
        // A mail that has left shows the old text, and its links decide on nothing else.
        // One that was held without a mail, because its sender floods, stays without one.
        let flooded = after.hold_reasons().iter().any(|reason| reason.code == "email_rate");
        if tells || (after.status == Status::Pending && !flooded) {
            tx.enqueue(self.tell_moderators(comment, now).about_an_edit());
        }
        Ok(if waits { Edited::Waits(after) } else { Edited::Applied(after) })
    }

    fn verdict_on_edit(&self, seen: &Seen, text: &Text, (client, at): (IpAddr, Timestamp)) -> Result<Verdict, Error> {
        let Seen { comment, author, .. } = seen;
        let site = self.sites.by_id(comment.site_id)?;
        let (email, _) = self.opened(&comment.sealed());
        let subject = Subject {
            name: &text.name,
            email: email.as_deref(),
            email_is_hidden: email.is_none() && comment.email_sealed.is_some(),
            website: text.website.as_deref(),
            body: &text.body,
            body_html: &text.body_html,
            author: author.map(|author| author.history()).unwrap_or_default(),
            address: Some(IpNet::from(client)),
            at,
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
}

fn seen(conn: &mut Conn, id: CommentId, right: &Right) -> Result<Seen, Error> {
    let comment = comments::find(conn, id)?.filter(|comment| right.covers(comment)).ok_or(Error::NotFound)?;
    let author = authors::find(conn, comment.site_id, comment.author_id)?;
    let article = articles::by_ids(conn, &[comment.article_id])?.remove(&comment.article_id);
    Ok(Seen { comment, author, article })
}

/// What an edit does to a comment. The public text stays while one that speaks against itself waits, whatever rules call it.
/// One that is not public gets its new text; rules may still put it away, but none makes it public: somebody else is asked.
fn outcome(comment: &Comment, text: Text, verdict: Verdict) -> (StateChange, Option<Decided>) {
    let Verdict { status, reasons, score, ruled } = verdict;
    let spam_score = Some(score);
    if comment.status == Status::Approved {
        let waits = status != Status::Approved;
        // Also when nothing speaks against it any more: what spoke against the old text is history.
        let hold_reasons = Some(reasons);
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
