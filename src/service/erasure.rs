//! How comments go for good: one at a time by their author or a moderator, all of a person's at once, and those that were
//! refused long ago. There is one way for all of them. What hangs below a comment stays, under a row without any text.

use std::sync::Arc;

use uuid::Uuid;

use super::{Actor, Service};
use crate::domain::comment::{Action, Status, Via};
use crate::domain::ids::{AccountId, CommentId};
use crate::domain::time::Timestamp;
use crate::error::Error;
use crate::storage::Tx;
use crate::storage::comments::{self, Comment};
use crate::storage::people::{self, Whose};

/// Comments that go in one transaction, so that others wait for some milliseconds at most.
const BATCH: i64 = 100;

/// Who erases: for the log.
#[derive(Debug, Clone, Copy)]
pub struct Eraser {
    /// The administrator, if it is one.
    pub account: Option<AccountId>,
    /// By which way.
    pub via: Via,
}

impl Service {
    /// Removes comments, with the work and the notices about them, and says so in the log.
    pub(super) fn erase_in(&self, tx: &mut Tx<'_>, gone: &[Comment], actor: Actor) -> Result<(), Error> {
        let ids: Vec<CommentId> = gone.iter().map(|comment| comment.id).collect();
        people::forget_comments(tx, &ids)?;
        for comment in gone {
            comments::remove(tx, comment)?;
            let mut event = self.event(comment, actor, Action::Removed);
            event.to_status = None;
            self.record(tx, comment, event);
        }
        Ok(())
    }

    /// Removes all that a person wrote and all that is known of them; returns how many comments. Done again it finds
    /// nothing. What they send meanwhile may stay.
    pub async fn erase_person(self: &Arc<Self>, whose: Whose, eraser: Eraser) -> Result<usize, Error> {
        let mut erased = 0;
        loop {
            let (service, whose, now) = (self.clone(), whose.clone(), self.clock.now());
            let actor = Actor { account: eraser.account, via: eraser.via, at: now };
            let found = self.db.write(move |tx| service.erase_some_in(tx, &whose, actor)).await?;
            erased += found;
            if found == 0 {
                return Ok(erased);
            }
        }
    }

    fn erase_some_in(&self, tx: &mut Tx<'_>, whose: &Whose, actor: Actor) -> Result<usize, Error> {
        let found = people::comments_of(tx.conn(), whose, CommentId(Uuid::nil()), BATCH)?;
        let erased = self.erase_again_in(tx, found.iter().map(|comment| comment.id), actor)?;
        if erased == 0 {
            people::forget_person(tx, whose)?;
        }
        Ok(erased)
    }

    /// Takes each comment's turn and looks at it once more, then removes it. One goes after the other: an erased reply may
    /// take an emptied comment above it along.
    pub(super) fn erase_again_in(
        &self,
        tx: &mut Tx<'_>,
        ids: impl Iterator<Item = CommentId>,
        actor: Actor,
    ) -> Result<usize, Error> {
        let mut gone = Vec::new();
        for id in ids {
            gone.extend(comments::find_to_change(tx, id)?);
        }
        // The lowest first: a comment with replies of the same person need not stay as an empty row. What stays visible is
        // counted anew with each, so each is read again.
        gone.sort_by_key(|comment| std::cmp::Reverse(comment.depth));
        for comment in &gone {
            if let Some(now) = comments::find(tx.conn(), comment.id)? {
                self.erase_in(tx, &[now], actor)?;
            }
        }
        Ok(gone.len())
    }

    /// Removes those of the comments that are refused and on which nothing happened since then; see the retention settings.
    pub(super) fn erase_refused_in(
        &self,
        tx: &mut Tx<'_>,
        candidates: &[Comment],
        (before, now): (Timestamp, Timestamp),
    ) -> Result<usize, Error> {
        let mut old = Vec::new();
        for comment in candidates {
            let Some(comment) = comments::find_to_change(tx, comment.id)? else { continue };
            let is_refused = matches!(comment.status, Status::Rejected | Status::Spam);
            if is_refused && tx.log_of(comment.id)?.last().is_none_or(|event| event.at < before) {
                old.push(comment.id);
            }
        }
        self.erase_again_in(tx, old.into_iter(), Actor { account: None, via: Via::Rule, at: now })
    }
}
