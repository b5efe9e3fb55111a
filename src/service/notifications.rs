//! Whom of those who wrote comments a comment concerns, and what a mail may tell them: the question whether replies may be
//! told, that their held comment is public, that somebody replied. What is told is decided twice: when something happened,
//! and again when the mail leaves, because an undo, a no or a removal may have come between. An address that has not said
//! yes gets the question and nothing else.

use std::sync::Arc;
use std::time::Duration;

use super::Service;
use super::accounts::sealer_in;
use crate::domain::comment::{Action, Status, Via};
use crate::domain::email::Email;
use crate::domain::ids::{AccountId, OutboxId, SubscriberId};
use crate::domain::people::{ASKED_ONCE_IN, Consent, NoticeKind, may_ask, next_single};
use crate::domain::time::Timestamp;
use crate::error::Error;
use crate::keys::Place;
use crate::storage::articles::{self, Article};
use crate::storage::comments::{self, Comment};
use crate::storage::events::NewEvent;
use crate::storage::outbox::{Kind, OutboxRow};
use crate::storage::people::{self, LiveMail, Notice, Subscriber};
use crate::storage::{Conn, Tx};

const HOUR: Duration = Duration::from_hours(1);

/// A gathered mail tells so many things at most; the rest comes with the next one.
const GATHERED: usize = 50;

/// What a mail tells of one comment.
#[derive(Debug, Clone)]
pub struct Told {
    /// Which kind of thing.
    pub kind: NoticeKind,
    /// The reply, or the subscriber's own comment.
    pub comment: Comment,
    /// Where it stands.
    pub article: Article,
}

/// A mail that may leave now.
#[derive(Debug, Clone)]
pub struct News {
    /// Whom it is for.
    pub subscriber: Subscriber,
    /// Where to.
    pub address: String,
    /// What it tells; never empty.
    pub told: Vec<Told>,
}

/// Where a subscriber's sealed address lies.
pub fn subscriber_place(id: &SubscriberId) -> Place<'_> {
    Place { column: "subscribers.email", row: id.as_bytes() }
}

impl Service {
    /// Leaves work when an entry of the log may concern people who wrote comments.
    pub(super) fn news_of(&self, tx: &mut Tx<'_>, comment: &Comment, event: &NewEvent) {
        let public = Some(Status::Approved);
        let is_asked = comment.notify && comment.email_hash.is_some();
        let becomes_public = event.to_status == public && event.from_status != public;
        let waits = event.action == Action::Submitted && comment.status == Status::Pending;
        if (becomes_public && (is_asked || comment.parent_id.is_some())) || (waits && is_asked) {
            let id = OutboxId(self.ids.next());
            let mut work = OutboxRow::new(id, Kind::TellPeople, comment.site_id, event.at);
            work.comment_id = Some(comment.id);
            tx.enqueue(work);
        }
    }

    /// Queues the mails that such work leads to. Returns how many questions had to be left out, above their ceiling.
    pub fn spread_news(&self, tx: &mut Tx<'_>, work: &[OutboxRow], now: Timestamp) -> Result<usize, Error> {
        let mut left_out = 0;
        for comment in in_their_turns(tx, work)? {
            left_out += usize::from(!self.ask(tx, &comment, now)?);
            if comment.status == Status::Approved {
                self.note_approval(tx, &comment, now)?;
                self.note_reply(tx, &comment, now)?;
            }
        }
        Ok(left_out)
    }

    /// The address of a comment whose author wants to hear of replies.
    fn notified(&self, comment: &Comment) -> Option<Email> {
        let (email, _) = self.opened(&comment.sealed());
        email.filter(|_| comment.notify).and_then(|email| Email::parse(&email, "email").ok())
    }

    /// What the author of a comment has said on its site.
    fn subscriber_of(&self, conn: &mut Conn, comment: &Comment) -> Result<Option<Subscriber>, Error> {
        let Some(email) = self.notified(comment) else { return Ok(None) };
        let said = people::subscribers_of(conn, &self.keys.email_hashes(&email))?;
        Ok(said.into_iter().find(|row| row.site_id == comment.site_id))
    }

    /// A subscriber's address, in plain.
    fn address_of(&self, subscriber: &Subscriber) -> Result<Email, Error> {
        let address = self.keys.open(subscriber_place(&subscriber.id), &subscriber.email_sealed)?;
        let address = String::from_utf8(address).map_err(Error::internal)?;
        Email::parse(&address, "email").map_err(|_| Error::internal("a stored address is none"))
    }

    /// What the address of a subscriber has said, on all sites.
    pub(super) fn said_by(&self, conn: &mut Conn, subscriber: &Subscriber) -> Result<Vec<Subscriber>, Error> {
        people::subscribers_of(conn, &self.keys.email_hashes(&self.address_of(subscriber)?))
    }

    /// Asks a new address, once a day at most; `false` when too many others were asked within the hour. It is dropped then,
    /// not put off: the next comment asks again, and a flood of strangers' addresses leaves nothing behind.
    fn ask(&self, tx: &mut Tx<'_>, comment: &Comment, now: Timestamp) -> Result<bool, Error> {
        let Some(email) = self.notified(comment) else { return Ok(true) };
        if !may_ask(comment.status, &comment.hold_reasons()) {
            return Ok(true);
        }
        people::count_alone(tx)?;
        let said = people::subscribers_of(tx.conn(), &self.keys.email_hashes(&email))?;
        let here = said.iter().find(|row| row.site_id == comment.site_id);
        let lately = said.iter().filter_map(|row| row.asked_at).any(|at| at > now.minus(ASKED_ONCE_IN));
        if has_refused(&said) || lately || here.is_some_and(|row| row.consent == Consent::Confirmed) {
            return Ok(true);
        }
        let ceiling = self.rules.people.confirmations;
        if people::asked_since(tx.conn(), now.minus(HOUR), ceiling)? >= ceiling {
            return Ok(false);
        }
        let id = match here {
            Some(row) => {
                people::set_consent(tx, row.id, (Consent::Asked, now), Some(now))?;
                row.id
            }
            None => match self.add_subscriber(tx, comment, (&email, now))? {
                Some(id) => id,
                None => return Ok(true),
            },
        };
        self.tell(tx, comment, (NoticeKind::Question, id, now))?;
        Ok(true)
    }

    fn add_subscriber(
        &self,
        tx: &mut Tx<'_>,
        comment: &Comment,
        (email, now): (&Email, Timestamp),
    ) -> Result<Option<SubscriberId>, Error> {
        let id = SubscriberId(self.ids.next());
        let sealer = sealer_in(tx, &self.keys)?;
        let (email_sealed, email_hash) = sealer.seal_email(subscriber_place(&id), email.as_str())?;
        let new = Subscriber {
            id,
            site_id: comment.site_id,
            email_hash,
            email_sealed,
            consent: Consent::Asked,
            asked_at: Some(now),
            changed_at: now,
        };
        Ok(people::add_subscriber(tx, &new)?.then_some(id))
    }

    fn note_approval(&self, tx: &mut Tx<'_>, comment: &Comment, now: Timestamp) -> Result<(), Error> {
        let Some(author) = self.subscriber_of(tx.conn(), comment)?.filter(has_said_yes) else { return Ok(()) };
        let was_held = tx.log_of(comment.id)?.iter().any(|event| {
            let becomes_public = event.to_status == Some(Status::Approved) && event.from_status != event.to_status;
            becomes_public && event.action != Action::Submitted && event.via != Via::Rule
        });
        if was_held { self.tell(tx, comment, (NoticeKind::Approval, author.id, now)) } else { Ok(()) }
    }

    fn note_reply(&self, tx: &mut Tx<'_>, reply: &Comment, now: Timestamp) -> Result<(), Error> {
        match self.answered(tx.conn(), reply)? {
            Some(author) => self.tell(tx, reply, (NoticeKind::Reply, author.id, now)),
            None => Ok(()),
        }
    }

    /// Who is to be told of a reply: the author of the public comment that it answers, if they want to and did not write
    /// it themselves.
    fn answered(&self, conn: &mut Conn, reply: &Comment) -> Result<Option<Subscriber>, Error> {
        let Some(parent) = reply.parent_id else { return Ok(None) };
        let parent = comments::find(conn, parent)?.filter(|parent| parent.status == Status::Approved);
        let Some(parent) = parent.filter(|parent| parent.notify && parent.author_id != reply.author_id) else {
            return Ok(None);
        };
        let same_address = match (self.notified(&parent), self.opened(&reply.sealed()).0) {
            (Some(one), Some(other)) => one.folded() == crate::domain::email::fold(&other),
            _ => false,
        };
        Ok(self.subscriber_of(conn, &parent)?.filter(|author| !same_address && has_said_yes(author)))
    }

    /// Queues the mail about a comment, unless it was told before.
    fn tell(
        &self,
        tx: &mut Tx<'_>,
        comment: &Comment,
        (kind, subscriber_id, now): (NoticeKind, SubscriberId, Timestamp),
    ) -> Result<(), Error> {
        let new = Notice { comment_id: comment.id, kind, subscriber_id, mail: None, left_at: None, told: false };
        if !people::note(tx, &new)? {
            let id = OutboxId(self.ids.next());
            let mut mail = OutboxRow::new(id, people::mail_of(kind), comment.site_id, now);
            mail.comment_id = Some(comment.id);
            mail.dedupe_key = Some(format!("{}:{}", kind.as_str(), comment.id));
            tx.enqueue(mail);
        }
        Ok(())
    }

    /// What the mail of a row may tell now; none when there is nothing to tell (any more), or when it is gathered: above
    /// the ceiling of an address one mail takes the place of all that wait, an hour after the last few.
    pub async fn news_for(self: &Arc<Self>, row: &OutboxRow) -> Result<Option<News>, Error> {
        let (service, row, now) = (self.clone(), row.clone(), self.clock.now());
        self.db.write(move |tx| service.news_in(tx, &row, now)).await
    }

    fn news_in(&self, tx: &mut Tx<'_>, row: &OutboxRow, now: Timestamp) -> Result<Option<News>, Error> {
        let is_question = row.kind == Kind::MailConfirm;
        if is_question {
            people::count_alone(tx)?;
        }
        let Some(id) = for_whom(tx.conn(), row)? else { return Ok(None) };
        // One mail at a time: whoever makes another one for them waits, and reads after this what it tells.
        let Some(subscriber) = people::subscriber_to_change(tx, id)? else { return Ok(None) };
        let said = self.said_by(tx.conn(), &subscriber)?;
        if has_refused(&said) || (is_question && was_asked(tx.conn(), &said, (now, row.id))?) {
            return Ok(None);
        }
        let (told, is_full) = match row.kind {
            Kind::MailGathered => self.gathered(tx, row, &subscriber)?,
            _ => (self.single(tx.conn(), row, &subscriber)?, false),
        };
        if told.is_empty() || (!is_question && !self.may_leave(tx, row, (&subscriber, now))?) {
            return Ok(None);
        }
        for (notice, _) in &told {
            people::leaves(tx, notice, row.id, now)?;
        }
        if is_full {
            self.gather(tx, row, (id, now, now));
        }
        let told = told.into_iter().map(|(_, thing)| thing).collect();
        let address = self.address_of(&subscriber)?.as_str().to_owned();
        Ok(Some(News { subscriber, address, told }))
    }

    /// What a mail of its own tells.
    fn single(&self, conn: &mut Conn, row: &OutboxRow, subscriber: &Subscriber) -> Result<Vec<(Notice, Told)>, Error> {
        let notices = only_notice(conn, row)?.filter(|notice| !notice.told).into_iter().collect();
        let mut told = Vec::new();
        for notice in free_for(conn, row, notices)? {
            told.extend(self.still_true(conn, &notice, subscriber)?.map(|thing| (notice, thing)));
        }
        Ok(told)
    }

    /// What a mail that gathers tells, and whether it is full, so that there may be more. What is not true any more is
    /// forgotten; where it becomes true again, it is noted again.
    fn gathered(
        &self,
        tx: &mut Tx<'_>,
        row: &OutboxRow,
        subscriber: &Subscriber,
    ) -> Result<(Vec<(Notice, Told)>, bool), Error> {
        let (mut told, mut passed) = (Vec::new(), 0);
        loop {
            let page = people::untold(tx.conn(), subscriber.id, (passed, GATHERED))?;
            let (read, free) = (page.len(), free_for(tx.conn(), row, page)?);
            passed += read - free.len();
            for notice in free {
                if told.len() == GATHERED {
                    return Ok((told, true));
                }
                match self.still_true(tx.conn(), &notice, subscriber)? {
                    Some(thing) => {
                        told.push((notice, thing));
                        passed += 1;
                    }
                    None => people::forget_notice(tx, &notice)?,
                }
            }
            if read < GATHERED {
                return Ok((told, false));
            }
        }
    }

    /// Queues a mail that gathers; one that waits already is enough.
    fn gather(&self, tx: &mut Tx<'_>, row: &OutboxRow, (id, now, due): (SubscriberId, Timestamp, Timestamp)) {
        let mut mail = OutboxRow::new(OutboxId(self.ids.next()), Kind::MailGathered, row.site_id, now).due(due);
        // For whom it is; there is no account behind it.
        mail.account_id = Some(AccountId(id.0));
        mail.dedupe_key = Some(format!("gathered:{id}"));
        tx.enqueue(mail);
    }

    /// Whether one more mail may leave to this address now; otherwise one that gathers is queued.
    fn may_leave(
        &self,
        tx: &mut Tx<'_>,
        row: &OutboxRow,
        (subscriber, now): (&Subscriber, Timestamp),
    ) -> Result<bool, Error> {
        let left = people::left_since(tx.conn(), subscriber.id, (now.minus(HOUR), row.id))?;
        let Some(due) = next_single(&left) else { return Ok(true) };
        self.gather(tx, row, (subscriber.id, now, due));
        Ok(false)
    }

    /// The thing, if it still is to be told.
    fn still_true(&self, conn: &mut Conn, notice: &Notice, subscriber: &Subscriber) -> Result<Option<Told>, Error> {
        let Some(comment) = comments::find(conn, notice.comment_id)? else { return Ok(None) };
        let is_public = comment.status == Status::Approved;
        let holds = match notice.kind {
            NoticeKind::Question => {
                subscriber.consent == Consent::Asked && may_ask(comment.status, &comment.hold_reasons())
            }
            NoticeKind::Approval => is_public && has_said_yes(subscriber),
            NoticeKind::Reply => {
                let author = self.answered(conn, &comment)?;
                is_public && author.is_some_and(|author| author.id == subscriber.id)
            }
        };
        let article = articles::by_ids(conn, &[comment.article_id])?.remove(&comment.article_id);
        Ok(article.filter(|_| holds).map(|article| Told { kind: notice.kind, comment, article }))
    }

    /// A mail with news has left.
    pub async fn news_left(&self, subscriber: SubscriberId, mail: OutboxId) -> Result<(), Error> {
        self.db.write(move |tx| people::told(tx, subscriber, mail)).await
    }
}

/// The comments of such work, each in its turn: an erasure that has begun is over then, and no address is taken from what it
/// took away.
fn in_their_turns(tx: &mut Tx<'_>, work: &[OutboxRow]) -> Result<Vec<Comment>, Error> {
    let mut found = Vec::with_capacity(work.len());
    for id in work.iter().filter_map(|row| row.comment_id) {
        found.extend(comments::find(tx.conn(), id)?.map(|comment| (comment.article_id, comment.id)));
    }
    // All turns in one order, and before any other: whoever does the same elsewhere does not wait in a ring.
    found.sort_unstable();
    let mut comments = Vec::with_capacity(found.len());
    for (_, id) in found {
        comments.extend(comments::find_to_change(tx, id)?);
    }
    Ok(comments)
}

/// Whom a mail is for.
fn for_whom(conn: &mut Conn, row: &OutboxRow) -> Result<Option<SubscriberId>, Error> {
    match row.kind {
        Kind::MailGathered => Ok(row.account_id.map(|account| SubscriberId(account.0))),
        _ => Ok(only_notice(conn, row)?.map(|notice| notice.subscriber_id)),
    }
}

/// What a mail that gathers nothing tells.
fn only_notice(conn: &mut Conn, row: &OutboxRow) -> Result<Option<Notice>, Error> {
    let kind = match row.kind {
        Kind::MailConfirm => NoticeKind::Question,
        Kind::MailApproval => NoticeKind::Approval,
        _ => NoticeKind::Reply,
    };
    let Some(comment) = row.comment_id else { return Ok(None) };
    people::notice(conn, comment, kind)
}

/// Those of the notices that no other mail tells: what another mail has taken is told by that one, as long as it is tried,
/// and one that gathers leaves alone what still has a mail of its own.
fn free_for(conn: &mut Conn, row: &OutboxRow, mut notices: Vec<Notice>) -> Result<Vec<Notice>, Error> {
    let others = people::live_mails(conn, &notices, row.id)?;
    let is_told_by = |notice: &Notice, other: &LiveMail| {
        let is_its_own = other.comment_id == Some(notice.comment_id) && other.kind == people::mail_of(notice.kind);
        notice.mail == Some(other.id) || (is_its_own && row.kind == Kind::MailGathered)
    };
    notices.retain(|notice| notice.mail == Some(row.id) || !others.iter().any(|other| is_told_by(notice, other)));
    Ok(notices)
}

/// Whether another mail asks, or has asked, within a day: after an outage several may have waited.
fn was_asked(conn: &mut Conn, said: &[Subscriber], (now, mail): (Timestamp, OutboxId)) -> Result<bool, Error> {
    let ids: Vec<SubscriberId> = said.iter().map(|row| row.id).collect();
    people::was_asked(conn, &ids, (now.minus(ASKED_ONCE_IN), mail))
}

/// Whether an address wants no mail of any site; what it has said on all of them.
pub(super) fn has_refused(said: &[Subscriber]) -> bool {
    said.iter().any(|row| row.consent == Consent::Refused)
}

fn has_said_yes(subscriber: &Subscriber) -> bool {
    subscriber.consent == Consent::Confirmed
}
