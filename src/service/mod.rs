//! What can be done, one file per noun: load, decide (the domain does), store, enqueue. It knows neither HTTP nor mail: a
//! mail is a row in the outbox, written in the transaction that causes it. Everything that a use case needs is in
//! [`Service`].

pub mod access;
pub mod account_changes;
pub mod account_links;
pub mod accounts;
pub mod aliases;
pub mod articles;
pub mod copy;
pub mod edits;
pub mod erasure;
pub mod export;
pub mod feedback;
mod filing;
mod in_flight;
pub mod mail_links;
pub mod mails;
pub mod moderation;
pub mod notifications;
pub mod own;
pub mod own_account;
#[cfg(feature = "passkeys")]
pub mod passkeys;
pub mod passwords;
pub mod people;
mod positions;
pub mod private_fields;
pub mod replay;
pub mod reply;
pub mod retention;
pub mod rotation;
pub mod rulebook;
pub mod rules;
pub mod sessions;
pub mod site_changes;
pub mod sites;
pub mod submission;
pub mod subscriptions;
pub mod tokens;
pub mod webhooks;

use std::sync::Arc;
use std::time::Duration;

use crate::clock::{Clock, Ids};
use crate::domain::comment::{Action, Status, Via};
use crate::domain::ids::{AccountId, EventId, OutboxId};
use crate::domain::privacy::AddressPrivacy;
use crate::domain::reach::Reach;
use crate::domain::retention::Retention;
use crate::domain::rules::judge::{Decided, Thresholds};
use crate::domain::submission::FieldRules;
use crate::domain::time::Timestamp;
use crate::domain::web::Origin;
use crate::keys::Keys;
use crate::service::rulebook::RuleBook;
use crate::service::sites::SiteDirectory;
use crate::service::webhooks::WebhookDirectory;
use crate::storage::Db;
use crate::storage::comments::Comment;
use crate::storage::events::NewEvent;
use crate::storage::outbox::{Kind, NewOutbox, OutboxRow};

/// Mails that leave within an hour because somebody typed an address, all sites together.
#[derive(Debug, Clone, Copy)]
pub struct PeopleCeilings {
    /// Questions whether replies may be told.
    pub confirmations: usize,
    /// Links to one's own data.
    pub links: usize,
}

/// The settings that use cases need.
#[derive(Debug, Clone)]
pub struct Rules {
    /// How long authors may change what they wrote.
    pub edit_window: Duration,
    /// Levels of a thread.
    pub max_depth: i16,
    /// How long fields may be.
    pub fields: FieldRules,
    /// What is kept of a visitor's address.
    pub address: AddressPrivacy,
    /// Whether the browser's name is kept.
    pub user_agent: bool,
    /// Our own origin.
    pub own_origin: Option<Origin>,
    /// From which scores on a comment is held, and called spam.
    pub thresholds: Thresholds,
    /// Mails to people who wrote comments that leave within an hour, in all.
    pub people: PeopleCeilings,
    /// How long what is personal stays, where a site says nothing else.
    pub retention: Retention,
    /// A comment that comes sooner after its form was opened was not written by a person.
    pub too_fast: Duration,
    /// Where webhooks may lead.
    pub reach: Arc<Reach>,
    /// A session ends when nobody has used it for so long,
    pub session_idle: Duration,
    /// and after so long in any case.
    pub session_life: Duration,
}

impl Rules {
    /// Whether the browser's name is kept: never where nothing is to be kept of who sent a comment.
    pub fn keeps_user_agents(&self) -> bool {
        self.user_agent && self.address != AddressPrivacy::None
    }
}

/// Everything that use cases work with. One for the whole process.
pub struct Service {
    /// The database.
    pub db: Db,
    /// The secret key.
    pub keys: Arc<Keys>,
    /// The time.
    pub clock: Arc<dyn Clock>,
    /// New ids.
    pub ids: Ids,
    /// The sites.
    pub sites: SiteDirectory,
    /// What operators say about comments, compiled.
    pub rulebook: RuleBook,
    /// The webhooks.
    pub webhooks: WebhookDirectory,
    /// Settings.
    pub rules: Rules,
    /// What hashes passwords.
    pub passwords: passwords::Passwords,
    /// Articles whose votes were shown a moment ago.
    votes_shown: feedback::VotesShown,
    /// Requests with an idempotency key that are being worked on.
    in_flight: in_flight::InFlight,
}

/// Who acts, by which way, and when.
#[derive(Debug, Clone, Copy)]
pub struct Actor {
    /// None for authors, rules and the command line.
    pub account: Option<AccountId>,
    /// By which way.
    pub via: Via,
    /// When.
    pub at: Timestamp,
}

impl Actor {
    /// The author of a comment, by their author token.
    fn author(at: Timestamp) -> Self {
        Self { account: None, via: Via::Author, at }
    }
}

impl Service {
    /// A service over an open database.
    pub fn new(db: Db, keys: Arc<Keys>, clock: Arc<dyn Clock>, rules: Rules) -> Self {
        let ids = Ids::new(clock.clone());
        let (sites, rulebook) = (SiteDirectory::default(), RuleBook::new(rules.thresholds));
        let (webhooks, in_flight) = (WebhookDirectory::default(), in_flight::InFlight::default());
        let (passwords, votes_shown) = (passwords::Passwords::default(), feedback::VotesShown::default());
        Self { db, keys, clock, ids, sites, rulebook, webhooks, rules, passwords, votes_shown, in_flight }
    }

    /// An entry of the event log about a comment.
    fn event(&self, comment: &Comment, actor: Actor, action: Action) -> NewEvent {
        NewEvent {
            id: EventId(self.ids.next()),
            site_id: comment.site_id,
            comment_id: comment.id,
            at: actor.at,
            account_id: actor.account,
            action,
            from_status: Some(comment.status),
            to_status: Some(comment.status),
            via: actor.via,
            reason: None,
            article_id: Some(comment.article_id),
        }
    }

    /// An entry that says what rules decided about a comment that stood in this state.
    fn ruled(&self, comment: &Comment, decided: &Decided, at: Timestamp) -> NewEvent {
        let mut event = self.event(comment, Actor { account: None, via: Via::Rule, at }, decided.decision.action());
        event.to_status = Some(decided.decision.target());
        event.reason = Some(decided.reason.clone());
        event
    }

    /// The work of telling the moderators of a comment that waits.
    fn tell_moderators(&self, comment: &Comment, now: Timestamp) -> NewOutbox {
        let mut work = OutboxRow::new(OutboxId(self.ids.next()), Kind::TellModerators, comment.site_id, now);
        work.comment_id = Some(comment.id);
        work
    }
}

/// All that anyone outside ever learns of where a comment stands: approved or pending.
pub fn outside_status(status: Status) -> Status {
    if status == Status::Approved { Status::Approved } else { Status::Pending }
}
