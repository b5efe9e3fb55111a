//! What a link in a mail can do: decide on one comment, once, in the name of one moderator, and take that back; turn that
//! account's mail off. The token is all that is needed and so is the only credential: it says what may be done, and what is
//! true now says whether it still may. Looking changes nothing.

use std::sync::Arc;
use std::time::Duration;

use super::Service;
use super::access::Access;
use super::moderation::{Authority, Order, Ruling, Target, is_decision, undoable};
use crate::domain::comment::{Action, Decision, Via};
use crate::domain::ids::AccountId;
use crate::domain::mail_choice::{MailChoice, MailMode};
use crate::domain::time::Timestamp;
use crate::error::Error;
use crate::keys::DecisionLink;
use crate::storage::accounts::{self, Account};
use crate::storage::comments::{self, Comment};
use crate::storage::events::{self, Event};
use crate::storage::{Conn, Tx};

/// How long a link in a mail lets somebody decide.
pub const LINK_LIFE: Duration = Duration::from_hours(7 * 24);

/// The tokens of one mail about one comment, one for each decision.
#[derive(Debug, Clone)]
pub struct DecisionTokens {
    /// Makes it public.
    pub approve: String,
    /// Refuses it.
    pub reject: String,
    /// Calls it spam.
    pub spam: String,
}

/// Where the comment stands, seen from the mail.
#[derive(Debug, Clone)]
pub enum Standing {
    /// As the mail showed it: the decision can be made.
    Waits,
    /// The decision stands; the event that made it.
    Stands(Event),
    /// Something else happened since: the last of it.
    Passed(Event),
}

/// What a link opens.
#[derive(Debug, Clone)]
pub struct Opened {
    /// What it is for.
    pub link: DecisionLink,
    /// Who holds it.
    pub access: Access,
    /// As it is now; none when it was removed.
    pub comment: Option<Comment>,
    /// Whether the decision can be made, stands, or came too late.
    pub standing: Standing,
    /// Whether the holder may take it back.
    pub can_undo: bool,
}

/// What to do with a link.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Errand {
    /// What it was made for.
    Decide,
    /// Take that back.
    Undo,
}

impl Service {
    /// The tokens for one moderator about a comment as it is now.
    pub fn decision_tokens(&self, comment: &Comment, account: AccountId) -> DecisionTokens {
        let ends_at = self.clock.now().plus(LINK_LIFE);
        let token = |decision| {
            let (comment, version) = (comment.id, comment.version);
            self.keys.decision_token(&DecisionLink { comment, version, decision, account, ends_at })
        };
        DecisionTokens {
            approve: token(Decision::Approve),
            reject: token(Decision::Reject),
            spam: token(Decision::Spam),
        }
    }

    /// What a link shows. [`Error::NotFound`] for a token that is not ours, or whose moderator has lost the site;
    /// [`Error::LinkExpired`] for one that is over.
    pub async fn open_link(&self, token: &str) -> Result<Opened, Error> {
        let link = self.keys.read_decision_token(token).ok_or(Error::NotFound)?;
        let now = self.clock.now();
        self.db
            .read(move |conn| {
                let log = events::of_comment(conn, link.comment)?;
                let access = holder(conn, &link, &log)?;
                in_time(&link, now)?;
                opened(link, access, comments::find(conn, link.comment)?, &log)
            })
            .await
    }

    /// Does what a link is for, or takes it back; what came too late or was done before changes nothing. Returns what the
    /// link shows afterwards. Errors as [`Service::open_link`].
    pub async fn follow_link(self: &Arc<Self>, token: &str, errand: Errand) -> Result<Opened, Error> {
        let link = self.keys.read_decision_token(token).ok_or(Error::NotFound)?;
        let (service, now) = (self.clone(), self.clock.now());
        self.db.write(move |tx| service.follow_in(tx, link, (errand, now))).await
    }

    fn follow_in(
        &self,
        tx: &mut Tx<'_>,
        link: DecisionLink,
        (errand, now): (Errand, Timestamp),
    ) -> Result<Opened, Error> {
        let comment = comments::find_to_change(tx, link.comment)?;
        let log = tx.log_of(link.comment)?;
        let access = holder(tx.conn(), &link, &log)?;
        in_time(&link, now)?;
        let before = opened(link, access, comment, &log)?;
        let authority = Authority { access: before.access.clone(), via: Via::MailLink };
        let target = Target { id: link.comment, versions: None };
        let comment = match (&before.standing, errand) {
            (Standing::Waits, Errand::Decide) => {
                let order = Order { target, decision: link.decision, reason: None };
                self.decide_in(tx, &Ruling { order: &order, authority: &authority, now })?.comment
            }
            (Standing::Stands(_), Errand::Undo) if before.can_undo => {
                self.undo_in(tx, &authority, (&target, now))?.comment
            }
            _ => return Ok(before),
        };
        let log = tx.log_of(link.comment)?;
        opened(link, before.access, Some(comment), &log)
    }

    /// The token that turns an account's mail off.
    pub fn unsubscribe_token(&self, account: AccountId) -> String {
        self.keys.unsubscribe_token(account, self.clock.now())
    }

    /// Whether the account behind such a token gets mail now. [`Error::NotFound`] for a token that is not ours or whose
    /// account has lost its rights.
    pub async fn gets_mail(&self, token: &str) -> Result<bool, Error> {
        let (id, made_at) = self.keys.read_unsubscribe_token(token).ok_or(Error::NotFound)?;
        self.db.read(move |conn| Ok(active_account(conn, id, made_at)?.mail_choice().wants_mail())).await
    }

    /// Turns that account's mail off; its quiet hours stay for when it is turned on again. Errors as [`Service::gets_mail`].
    pub async fn unsubscribe(&self, token: &str) -> Result<(), Error> {
        let (id, made_at) = self.keys.read_unsubscribe_token(token).ok_or(Error::NotFound)?;
        self.db
            .write(move |tx| {
                let choice = active(accounts::find_to_change(tx, id)?, made_at)?.mail_choice();
                if choice.wants_mail() {
                    accounts::set_mail_choice(tx, id, &MailChoice { mode: MailMode::None, ..choice })?;
                }
                Ok(())
            })
            .await
    }
}

/// The account behind a link made at that time. [`Error::NotFound`] when it is disabled, or was since, or has had another
/// address: then somebody else may have the mail.
fn active_account(conn: &mut Conn, id: AccountId, made_at: Timestamp) -> Result<Account, Error> {
    active(accounts::find(conn, id)?, made_at)
}

fn active(account: Option<Account>, made_at: Timestamp) -> Result<Account, Error> {
    let alive = |account: &Account| {
        account.disabled_at.is_none() && account.links_from.is_none_or(|links_from| made_at > links_from)
    };
    account.filter(alive).ok_or(Error::NotFound)
}

/// The moderator behind a link. [`Error::NotFound`] when they lost their rights or the site. The log tells the site even of
/// a comment that is gone.
fn holder(conn: &mut Conn, link: &DecisionLink, log: &[Event]) -> Result<Access, Error> {
    let site = log.last().ok_or(Error::NotFound)?.site_id;
    let account = active_account(conn, link.account, link.ends_at.minus(LINK_LIFE))?;
    let sites = accounts::sites_of(conn, account.id)?;
    let access = Access { account: account.id, name: account.name, role: account.role, sites };
    access.require(site)?;
    Ok(access)
}

fn in_time(link: &DecisionLink, now: Timestamp) -> Result<(), Error> {
    if now < link.ends_at { Ok(()) } else { Err(Error::LinkExpired) }
}

fn opened(link: DecisionLink, access: Access, comment: Option<Comment>, log: &[Event]) -> Result<Opened, Error> {
    let version = comment.as_ref().map(|comment| comment.version);
    let standing = standing(&link, version, log).ok_or(Error::NotFound)?;
    let can_undo = matches!(standing, Standing::Stands(_)) && undoable(log, access.account).is_ok();
    Ok(Opened { link, access, comment, standing, can_undo })
}

/// What happened since the mail. Each change raises the comment's version by one and leaves one event (beside which a rule
/// may note that it decided), so the last events are those since the version that the mail showed. A decision that was taken back has left everything as it was. None for
/// a comment without a log.
fn standing(link: &DecisionLink, version: Option<i64>, log: &[Event]) -> Option<Standing> {
    let log: Vec<&Event> = log.iter().filter(|event| event.via != Via::Rule).collect();
    let last = (*log.last()?).clone();
    let passed = version.and_then(|version| usize::try_from(version - link.version).ok()).filter(|n| *n <= log.len());
    let Some(passed) = passed else { return Some(Standing::Passed(last)) };
    let mut since: Vec<&Event> = Vec::new();
    for event in log.iter().copied().skip(log.len() - passed) {
        if event.action == Action::Undone && since.last().is_some_and(|event| is_decision(event.action)) {
            since.pop();
        } else {
            since.push(event);
        }
    }
    Some(match since.last() {
        None => Standing::Waits,
        Some(event)
            if event.action == link.decision.action() && since.iter().all(|event| is_decision(event.action)) =>
        {
            Standing::Stands((*event).clone())
        }
        Some(event) => Standing::Passed((*event).clone()),
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::comment::Status;
    use crate::domain::ids::{CommentId, EventId, SiteId};
    use uuid::Uuid;

    fn event(n: usize, action: Action) -> Event {
        Event {
            id: EventId(Uuid::from_u128(n as u128)),
            site_id: SiteId(Uuid::nil()),
            comment_id: CommentId(Uuid::nil()),
            at: Timestamp(0),
            account_id: None,
            action,
            from_status: Some(Status::Pending),
            to_status: Some(Status::Pending),
            via: Via::Api,
            reason: None,
            article_id: None,
        }
    }

    /// Where an approving link of version 1 leads after these events.
    fn after(actions: &[Action]) -> String {
        let all = std::iter::once(&Action::Submitted).chain(actions);
        let log: Vec<Event> = all.enumerate().map(|(n, action)| event(n, *action)).collect();
        let link = DecisionLink {
            comment: CommentId(Uuid::nil()),
            version: 1,
            decision: Decision::Approve,
            account: AccountId(Uuid::nil()),
            ends_at: Timestamp(1),
        };
        let removed = actions.last() == Some(&Action::Removed);
        let version = i64::try_from(log.len()).unwrap();
        match standing(&link, (!removed).then_some(version), &log).unwrap() {
            Standing::Waits => "waits".into(),
            Standing::Stands(event) => format!("stands {}", event.action.as_str()),
            Standing::Passed(event) => format!("passed {}", event.action.as_str()),
        }
    }

    #[test]
    fn what_happened_since_the_mail_decides() {
        use Action::{Approved, Corrected, EditDiscarded, Edited, Held, MarkedSpam, Rejected, Removed, Undone};
        for (actions, expected) in [
            (&[][..], "waits"),
            (&[Approved], "stands approved"),
            (&[Rejected], "passed rejected"),
            (&[Approved, Undone], "waits"),
            (&[Approved, Rejected, Undone], "stands approved"),
            (&[Approved, Undone, Rejected], "passed rejected"),
            (&[Approved, MarkedSpam], "passed marked_spam"),
            (&[Approved, Held, Approved], "stands approved"),
            (&[Edited], "passed edited"),
            (&[Edited, Approved], "passed approved"),
            (&[Approved, Edited], "passed edited"),
            (&[Corrected], "passed corrected"),
            (&[EditDiscarded, Approved], "passed approved"),
            (&[Edited, Undone], "passed undone"),
            (&[Removed], "passed removed"),
        ] {
            assert_eq!(after(actions), expected, "{actions:?}");
        }
    }

    /// A rule that approves an edit notes it beside the edit: that is no decision of the link's.
    #[test]
    fn what_a_rule_notes_beside_an_edit_is_no_decision() {
        let ruling = Event { via: Via::Rule, ..event(2, Action::Approved) };
        let log = [event(0, Action::Submitted), event(1, Action::Edited), ruling];
        let link = DecisionLink {
            comment: CommentId(Uuid::nil()),
            version: 1,
            decision: Decision::Approve,
            account: AccountId(Uuid::nil()),
            ends_at: Timestamp(1),
        };
        let Some(Standing::Passed(event)) = standing(&link, Some(2), &log) else { panic!("it was edited") };
        assert_eq!(event.action, Action::Edited);
    }

    #[test]
    fn a_version_that_the_log_does_not_explain_is_no_leave() {
        let link = |version| DecisionLink {
            comment: CommentId(Uuid::nil()),
            version,
            decision: Decision::Approve,
            account: AccountId(Uuid::nil()),
            ends_at: Timestamp(1),
        };
        let log = [event(0, Action::Submitted)];
        assert!(matches!(standing(&link(2), Some(1), &log), Some(Standing::Passed(_))), "from the future");
        assert!(matches!(standing(&link(1), Some(3), &log), Some(Standing::Passed(_))), "changes without an event");
        assert!(standing(&link(1), Some(1), &[]).is_none());
    }
}
