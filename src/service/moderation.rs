//! What moderators decide: approve, reject, spam, hold; take the last decision back; correct; remove. Each decision is an
//! event with actor and way; the same decision again changes nothing and leaves no event.

use std::collections::HashMap;
use std::sync::Arc;

use super::access::Access;
use super::own::Patch;
use super::{Actor, Service};
use crate::domain::comment::{Action, Decision, Status, Transition, Via, transition};
use crate::domain::fault::Fault;
use crate::domain::ids::{AccountId, CommentId};
use crate::domain::time::Timestamp;
use crate::error::Error;
use crate::storage::comments::{self, Comment, StateChange};
use crate::storage::events::Event;
use crate::storage::{Tx, pins};

/// Who moderates, and by which way.
#[derive(Debug, Clone)]
pub struct Authority {
    /// What they may see and decide.
    pub access: Access,
    /// By which way they came.
    pub via: Via,
}

impl Authority {
    fn actor(&self, at: Timestamp) -> Actor {
        Actor { account: Some(self.access.account), via: self.via, at }
    }
}

/// A comment as somebody saw it.
#[derive(Debug, Clone)]
pub struct Target {
    /// Which comment.
    pub id: CommentId,
    /// Only if it still has one of these versions; none: whatever it has.
    pub versions: Option<Vec<i64>>,
}

/// A decision on one comment.
#[derive(Debug, Clone)]
pub struct Order {
    /// On which.
    pub target: Target,
    /// What to do.
    pub decision: Decision,
    /// For the event log.
    pub reason: Option<String>,
}

/// What a moderator changes of a comment beside its state.
#[derive(Debug, Clone, Default)]
pub struct Correction {
    /// Its text.
    pub patch: Patch,
    /// Whether it comes before all others of its article.
    pub pinned: Option<bool>,
}

/// An order, who gave it, and when.
pub(super) struct Ruling<'a> {
    pub order: &'a Order,
    pub authority: &'a Authority,
    pub now: Timestamp,
}

/// Where a comment stood before, who had put it there, and when.
#[derive(Debug, Clone, Copy)]
pub struct Previous {
    /// Its state.
    pub status: Status,
    /// The account, if one had decided.
    pub by: Option<AccountId>,
    /// When.
    pub at: Timestamp,
}

/// A comment after a decision.
#[derive(Debug, Clone)]
pub struct Decided {
    /// As it is now.
    pub comment: Comment,
    /// As it was.
    pub previous: Previous,
}

/// The events that are decisions, and so can be taken back.
pub(super) fn is_decision(action: Action) -> bool {
    matches!(action, Action::Approved | Action::Rejected | Action::MarkedSpam | Action::Held)
}

impl Service {
    /// Carries out decisions, each on its own: the result of each in the order in which they were given. All that succeed
    /// are durable together.
    pub async fn decide(
        self: &Arc<Self>,
        authority: Authority,
        orders: Vec<Order>,
    ) -> Result<Vec<Result<Decided, Error>>, Error> {
        let (service, now) = (self.clone(), self.clock.now());
        self.db
            .write(move |tx| {
                let mut results = Vec::with_capacity(orders.len());
                for order in &orders {
                    results.push(match service.decide_in(tx, &Ruling { order, authority: &authority, now }) {
                        // What is wrong with one comment concerns the others not; a failing database concerns them all.
                        Err(error @ (Error::Busy | Error::Internal(_))) => return Err(error),
                        result => result,
                    });
                }
                Ok(results)
            })
            .await
    }

    pub(super) fn decide_in(&self, tx: &mut Tx<'_>, ruling: &Ruling<'_>) -> Result<Decided, Error> {
        let Ruling { order, authority, now } = ruling;
        let comment = visible_to(tx, &authority.access, &order.target)?;
        let previous = previous(tx, &comment)?;
        let edit = comment.waiting_edit();
        let change = match transition(comment.status, edit.is_some(), order.decision).ok_or(Error::NotFound)? {
            Transition::Same => return Ok(Decided { comment, previous }),
            Transition::To(Status::Approved) | Transition::PublishEdit => StateChange {
                to: Some(Status::Approved),
                replaced_text: edit.is_some().then(|| comment.text()),
                waiting_edit: edit.is_some().then_some(None),
                text: edit,
                ..StateChange::default()
            },
            Transition::To(status) => StateChange { to: Some(status), ..StateChange::default() },
        };
        let after = comments::change(tx, &comment, &change)?;
        let mut event = self.event(&comment, authority.actor(*now), order.decision.action());
        event.to_status = Some(after.status);
        event.reason.clone_from(&order.reason);
        self.record(tx, &comment, event);
        Ok(Decided { comment: after, previous })
    }

    /// The comment, if this account may see it.
    pub async fn comment_for(&self, access: &Access, id: CommentId) -> Result<Comment, Error> {
        let comment = self.db.read(move |conn| comments::find(conn, id)).await?.ok_or(Error::NotFound)?;
        access.require(comment.site_id)?;
        Ok(comment)
    }

    /// Takes back the last decision. [`Error::Conflict`] when nothing was decided, something happened since, or this
    /// account had decided and somebody else has decided after it.
    pub async fn undo(self: &Arc<Self>, authority: Authority, target: Target) -> Result<Decided, Error> {
        let (service, now) = (self.clone(), self.clock.now());
        self.db.write(move |tx| service.undo_in(tx, &authority, (&target, now))).await
    }

    pub(super) fn undo_in(
        &self,
        tx: &mut Tx<'_>,
        authority: &Authority,
        (target, now): (&Target, Timestamp),
    ) -> Result<Decided, Error> {
        let comment = visible_to(tx, &authority.access, target)?;
        let last = undoable(&tx.log_of(target.id)?, authority.access.account)?;
        let replaced = comment.replaced_text();
        let change = StateChange {
            to: Some(last),
            waiting_edit: replaced.is_some().then(|| Some(comment.text())),
            text: replaced,
            ..StateChange::default()
        };
        let previous = previous(tx, &comment)?;
        let after = comments::change(tx, &comment, &change)?;
        let mut event = self.event(&comment, authority.actor(now), Action::Undone);
        event.to_status = Some(after.status);
        self.record(tx, &comment, event);
        Ok(Decided { comment: after, previous })
    }

    /// Drops the waiting edit of a public comment; the approved text stands. [`Error::Conflict`] when none waits.
    pub async fn discard_edit(self: &Arc<Self>, authority: Authority, target: Target) -> Result<Comment, Error> {
        let (service, now) = (self.clone(), self.clock.now());
        self.db
            .write(move |tx| {
                let comment = visible_to(tx, &authority.access, &target)?;
                if comment.waiting_edit.is_none() {
                    return Err(Error::conflict("No edit of this comment waits."));
                }
                let change = StateChange { waiting_edit: Some(None), ..StateChange::default() };
                let after = comments::change(tx, &comment, &change)?;
                service.record(tx, &comment, service.event(&comment, authority.actor(now), Action::EditDiscarded));
                Ok(after)
            })
            .await
    }

    /// Corrects a comment's text, pins it or takes the pin away. [`Error::Invalid`] for a pin on a reply,
    /// [`Error::Conflict`] when as many are pinned as can be.
    pub async fn correct(
        self: &Arc<Self>,
        authority: Authority,
        target: Target,
        correction: Correction,
    ) -> Result<Comment, Error> {
        let (service, now) = (self.clone(), self.clock.now());
        self.db
            .write(move |tx| {
                let mut comment = visible_to(tx, &authority.access, &target)?;
                if correction.pinned.is_none() || !correction.patch.is_empty() {
                    let text = service.patched(&comment.text(), &correction.patch, now);
                    let change = StateChange { text: Some(text), ..StateChange::default() };
                    let after = comments::change(tx, &comment, &change)?;
                    service.record(tx, &comment, service.event(&comment, authority.actor(now), Action::Corrected));
                    comment = after;
                }
                match correction.pinned.filter(|pinned| *pinned != comment.pinned) {
                    Some(pinned) => service.pin(tx, &comment, (pinned, authority.actor(now))),
                    None => Ok(comment),
                }
            })
            .await
    }

    fn pin(&self, tx: &mut Tx<'_>, comment: &Comment, (pinned, actor): (bool, Actor)) -> Result<Comment, Error> {
        if pinned && comment.parent_id.is_some() {
            let root = "Only a comment that answers no other can be pinned.";
            return Err(Error::Invalid(vec![Fault::new("pinned", "not_a_root", root)]));
        }
        if pinned && pins::of(tx.conn(), comment.article_id)?.len() >= pins::MOST_PINNED {
            return Err(Error::conflict("Three comments of this article are pinned already. Take one pin away first."));
        }
        let after = pins::set(tx, comment, pinned)?;
        let action = if pinned { Action::Pinned } else { Action::Unpinned };
        self.record(tx, &after, self.event(&after, actor, action));
        Ok(after)
    }

    /// Removes a comment for good.
    pub async fn remove(self: &Arc<Self>, authority: Authority, target: Target) -> Result<(), Error> {
        let (service, now) = (self.clone(), self.clock.now());
        self.db
            .write(move |tx| {
                let comment = visible_to(tx, &authority.access, &target)?;
                service.erase_in(tx, &[comment], authority.actor(now))
            })
            .await
    }

    /// The names of the accounts behind decisions.
    pub async fn account_names(&self, mut ids: Vec<AccountId>) -> Result<HashMap<AccountId, String>, Error> {
        ids.sort_unstable();
        ids.dedup();
        if ids.is_empty() {
            return Ok(HashMap::new());
        }
        let names = self.db.read(move |conn| crate::storage::accounts::names(conn, &ids)).await?;
        Ok(names.into_iter().collect())
    }
}

/// The comment, if this account may see it and it still has the version that the caller saw.
pub(super) fn visible_to(tx: &mut Tx<'_>, access: &Access, target: &Target) -> Result<Comment, Error> {
    let comment = comments::find_to_change(tx, target.id)?.ok_or(Error::NotFound)?;
    access.require(comment.site_id)?;
    refuse_other_version(target, &comment)?;
    Ok(comment)
}

/// [`Error::PreconditionFailed`] when the caller saw another version.
pub(super) fn refuse_other_version(target: &Target, comment: &Comment) -> Result<(), Error> {
    match &target.versions {
        Some(versions) if !versions.contains(&comment.version) => Err(Error::PreconditionFailed),
        _ => Ok(()),
    }
}

/// The state before the last decision, if this account may take it back: its own, or that of somebody else when it has
/// made no decision on the comment itself. Whoever had decided and was overruled must not overrule in turn by the way.
pub(super) fn undoable(log: &[Event], account: AccountId) -> Result<Status, Error> {
    let made_by_them = |event: &Event| is_decision(event.action) && event.account_id == Some(account);
    match log.last().filter(|event| is_decision(event.action)) {
        Some(last) if made_by_them(last) || !log.iter().any(made_by_them) => {
            Ok(last.from_status.unwrap_or(Status::Pending))
        }
        _ => Err(Error::conflict(
            "There is no decision to take back: none was made, something happened since, or somebody decided after you.",
        )),
    }
}

/// Where the comment stands before a decision: since when, and by whom.
fn previous(tx: &mut Tx<'_>, comment: &Comment) -> Result<Previous, Error> {
    let log = tx.log_of(comment.id)?;
    let moved = log.iter().rev().find(|event| event.from_status != event.to_status || is_decision(event.action));
    Ok(Previous {
        status: comment.status,
        by: moved.and_then(|event| event.account_id),
        at: moved.map_or(comment.created_at, |event| event.at),
    })
}
