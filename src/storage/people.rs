//! The people who wrote comments, found by the keyed hashes of their addresses: what they have said about mails, what they
//! were told, who asked for a link to their own data. A hash may lie under any secret key, so each look-up takes all of them.

use diesel::prelude::*;

use super::comments::Comment;
use super::conn::{Conn, on};
use super::neighbours::Turn;
use super::outbox::Kind;
use super::schema::{comments, notices, outbox, person_requests, subscribers};
use super::tx::Tx;
use crate::domain::comment::Status;
use crate::domain::ids::{AccountId, CommentId, OutboxId, SiteId, SubscriberId};
use crate::domain::people::{Consent, NoticeKind};
use crate::domain::time::Timestamp;
use crate::error::Error;

/// An address on a site that was asked whether replies may be told.
#[derive(Debug, Clone, PartialEq, Eq, Queryable, Selectable, Insertable)]
#[diesel(table_name = subscribers, treat_none_as_default_value = false)]
#[diesel(check_for_backend(diesel::sqlite::Sqlite))]
#[cfg_attr(feature = "postgres", diesel(check_for_backend(diesel::pg::Pg)))]
#[expect(missing_docs, reason = "the columns are documented in migrations/")]
pub struct Subscriber {
    pub id: SubscriberId,
    pub site_id: SiteId,
    pub email_hash: Vec<u8>,
    pub email_sealed: Vec<u8>,
    pub consent: Consent,
    pub asked_at: Option<Timestamp>,
    pub changed_at: Timestamp,
}

/// What a subscriber is to be told.
#[derive(Debug, Clone, PartialEq, Eq, Queryable, Selectable, Insertable)]
#[diesel(table_name = notices, treat_none_as_default_value = false)]
#[diesel(check_for_backend(diesel::sqlite::Sqlite))]
#[cfg_attr(feature = "postgres", diesel(check_for_backend(diesel::pg::Pg)))]
#[expect(missing_docs, reason = "the columns are documented in migrations/")]
pub struct Notice {
    pub comment_id: CommentId,
    pub kind: NoticeKind,
    pub subscriber_id: SubscriberId,
    pub mail: Option<OutboxId>,
    pub left_at: Option<Timestamp>,
    pub told: bool,
}

/// Somebody's wish for a link to their own data.
#[derive(Debug, Clone, Queryable, Selectable, Insertable)]
#[diesel(table_name = person_requests, treat_none_as_default_value = false)]
#[diesel(check_for_backend(diesel::sqlite::Sqlite))]
#[cfg_attr(feature = "postgres", diesel(check_for_backend(diesel::pg::Pg)))]
#[expect(missing_docs, reason = "the columns are documented in migrations/")]
pub struct PersonRequest {
    pub id: OutboxId,
    pub site_id: SiteId,
    pub email_hash: Vec<u8>,
    pub email_sealed: Vec<u8>,
    pub created_at: Timestamp,
    pub mailed_at: Option<Timestamp>,
}

/// Whose rows are meant: those with one of these hashes, on one site or (none) on all.
#[derive(Debug, Clone)]
pub struct Whose {
    /// Under every secret key.
    pub hashes: Vec<Vec<u8>>,
    /// On which site.
    pub site: Option<SiteId>,
}

/// What an address has said on all sites.
pub fn subscribers_of(conn: &mut Conn, hashes: &[Vec<u8>]) -> Result<Vec<Subscriber>, Error> {
    Ok(on!(conn, |c| subscribers::table
        .filter(subscribers::email_hash.eq_any(hashes))
        .select(Subscriber::as_select())
        .order(subscribers::id)
        .load(c))?)
}

/// One of them.
pub fn subscriber(conn: &mut Conn, id: SubscriberId) -> Result<Option<Subscriber>, Error> {
    Ok(on!(conn, |c| subscribers::table.find(id).select(Subscriber::as_select()).get_result(c).optional())?)
}

/// Nobody else counts mails to addresses that somebody typed, until the end of the transaction.
pub fn count_alone(tx: &mut Tx<'_>) -> Result<(), Error> {
    tx.take_turn(Turn::Strangers)
}

/// Whether another mail than this was made since then that asks one of these.
pub fn was_asked(
    conn: &mut Conn,
    subscribers: &[SubscriberId],
    (since, but): (Timestamp, OutboxId),
) -> Result<bool, Error> {
    let asked: Option<CommentId> = on!(conn, |c| notices::table
        .filter(notices::subscriber_id.eq_any(subscribers))
        .filter(notices::left_at.gt(since))
        .filter(notices::kind.eq(NoticeKind::Question))
        .filter(notices::mail.ne(but))
        .select(notices::comment_id)
        .limit(1)
        .get_result(c)
        .optional())?;
    Ok(asked.is_some())
}

/// One of them; nobody else changes it, or takes it so, until the end of the transaction.
pub fn subscriber_to_change(tx: &mut Tx<'_>, id: SubscriberId) -> Result<Option<Subscriber>, Error> {
    let same = subscribers::changed_at.eq(subscribers::changed_at);
    Ok(on!(tx.conn(), |c| diesel::update(subscribers::table.find(id))
        .set(same)
        .returning(Subscriber::as_returning())
        .get_result(c)
        .optional())?)
}

/// How many addresses were asked since then, counted up to `limit`.
pub fn asked_since(conn: &mut Conn, since: Timestamp, limit: usize) -> Result<usize, Error> {
    let asked = subscribers::table
        .filter(subscribers::asked_at.gt(since))
        .select(subscribers::id)
        .limit(i64::try_from(limit).unwrap_or(i64::MAX));
    let ids: Vec<SubscriberId> = on!(conn, |c| asked.load(c))?;
    Ok(ids.len())
}

/// Adds one; `false` when another connection was quicker.
pub fn add_subscriber(tx: &mut Tx<'_>, new: &Subscriber) -> Result<bool, Error> {
    let added =
        on!(tx.conn(), |c| diesel::insert_into(subscribers::table).values(new).on_conflict_do_nothing().execute(c))?;
    Ok(added == 1)
}

/// What an address says now; `asked_at` stays unless it is named.
pub fn set_consent(
    tx: &mut Tx<'_>,
    id: SubscriberId,
    (consent, now): (Consent, Timestamp),
    asked_at: Option<Timestamp>,
) -> Result<(), Error> {
    let row = subscribers::table.find(id);
    let set = (subscribers::consent.eq(consent), subscribers::changed_at.eq(now));
    on!(tx.conn(), |c| diesel::update(row).set(set).execute(c))?;
    if let Some(at) = asked_at {
        on!(tx.conn(), |c| diesel::update(row).set(subscribers::asked_at.eq(at)).execute(c))?;
    }
    Ok(())
}

/// The rows after this one, in the order of ids.
pub fn subscribers_after(conn: &mut Conn, after: SubscriberId, limit: i64) -> Result<Vec<Subscriber>, Error> {
    Ok(on!(conn, |c| subscribers::table
        .filter(subscribers::id.gt(after))
        .order(subscribers::id)
        .limit(limit)
        .select(Subscriber::as_select())
        .load(c))?)
}

/// Adds a notice, unless it is there; returns whether it was told already.
pub fn note(tx: &mut Tx<'_>, new: &Notice) -> Result<bool, Error> {
    let row = diesel::insert_into(notices::table).values(new).on_conflict_do_nothing();
    on!(tx.conn(), |c| row.execute(c))?;
    Ok(notice(tx.conn(), new.comment_id, new.kind)?.is_some_and(|notice| notice.told))
}

/// The notice of this kind about a comment.
pub fn notice(conn: &mut Conn, comment: CommentId, kind: NoticeKind) -> Result<Option<Notice>, Error> {
    Ok(on!(conn, |c| notices::table.find((comment, kind)).select(Notice::as_select()).get_result(c).optional())?)
}

/// What a subscriber has not been told yet, the oldest comment first: so many, after those that were `passed` over.
pub fn untold(
    conn: &mut Conn,
    subscriber: SubscriberId,
    (passed, limit): (usize, usize),
) -> Result<Vec<Notice>, Error> {
    let [passed, limit] = [passed, limit].map(|count| i64::try_from(count).unwrap_or(i64::MAX));
    Ok(on!(conn, |c| notices::table
        .filter(notices::subscriber_id.eq(subscriber))
        .filter(notices::told.eq(false))
        .filter(notices::kind.ne(NoticeKind::Question))
        .order((notices::comment_id, notices::kind))
        .limit(limit)
        .offset(passed)
        .select(Notice::as_select())
        .load(c))?)
}

/// A mail with news that waits or is on its way.
#[derive(Debug, Clone, Queryable)]
pub struct LiveMail {
    /// Its row in the outbox.
    pub id: OutboxId,
    /// Whether it tells one thing, and which.
    pub kind: Kind,
    /// What it tells, if it is one thing.
    pub comment_id: Option<CommentId>,
}

/// The mails but this one that wait or are on their way and may tell some of these.
pub fn live_mails(conn: &mut Conn, notices: &[Notice], but: OutboxId) -> Result<Vec<LiveMail>, Error> {
    let taken: Vec<OutboxId> = notices.iter().filter_map(|notice| notice.mail).collect();
    let about: Vec<CommentId> = notices.iter().map(|notice| notice.comment_id).collect();
    Ok(on!(conn, |c| outbox::table
        .filter(outbox::due_at.is_not_null())
        .filter(outbox::kind.eq_any([Kind::MailApproval, Kind::MailReply, Kind::MailGathered]))
        .filter(outbox::id.ne(but))
        .filter(outbox::id.eq_any(&taken).or(outbox::comment_id.eq_any(&about)))
        .select((outbox::id, outbox::kind, outbox::comment_id))
        .load(c))?)
}

/// When mails with news left for a subscriber since then, the newest first, but for this one.
pub fn left_since(
    conn: &mut Conn,
    subscriber: SubscriberId,
    (since, but): (Timestamp, OutboxId),
) -> Result<Vec<Timestamp>, Error> {
    let rows: Vec<(Option<OutboxId>, Option<Timestamp>)> = on!(conn, |c| notices::table
        .filter(notices::subscriber_id.eq(subscriber))
        .filter(notices::left_at.gt(since))
        .filter(notices::kind.ne(NoticeKind::Question))
        .filter(notices::mail.ne(but))
        .order((notices::left_at.desc(), notices::mail))
        .select((notices::mail, notices::left_at))
        .limit(100)
        .load(c))?;
    let mut mails: Vec<_> = rows;
    mails.dedup_by_key(|(mail, _)| *mail);
    Ok(mails.into_iter().filter_map(|(_, at)| at).collect())
}

/// Forgets what is not to be told (any more).
pub fn forget_notice(tx: &mut Tx<'_>, notice: &Notice) -> Result<(), Error> {
    let row = notices::table.find((notice.comment_id, notice.kind));
    on!(tx.conn(), |c| diesel::delete(row).execute(c))?;
    Ok(())
}

/// This mail is about to tell it.
pub fn leaves(tx: &mut Tx<'_>, notice: &Notice, mail: OutboxId, now: Timestamp) -> Result<(), Error> {
    let set = (notices::mail.eq(mail), notices::left_at.eq(now));
    let row = notices::table.find((notice.comment_id, notice.kind));
    on!(tx.conn(), |c| diesel::update(row).set(set).execute(c))?;
    Ok(())
}

/// A mail has left: what it told is told.
pub fn told(tx: &mut Tx<'_>, subscriber: SubscriberId, mail: OutboxId) -> Result<(), Error> {
    let rows = notices::table.filter(notices::subscriber_id.eq(subscriber)).filter(notices::mail.eq(mail));
    on!(tx.conn(), |c| diesel::update(rows).set(notices::told.eq(true)).execute(c))?;
    Ok(())
}

/// Comments of a person after this one, the oldest first; what was removed has no address any more.
pub fn comments_of(conn: &mut Conn, whose: &Whose, after: CommentId, limit: i64) -> Result<Vec<Comment>, Error> {
    Ok(on!(conn, |c| {
        let mut query = comments::table
            .filter(comments::email_hash.eq_any(&whose.hashes))
            .filter(comments::id.gt(after))
            .filter(comments::status.ne(Status::Removed))
            .order(comments::id)
            .limit(limit)
            .select(Comment::as_select())
            .into_boxed();
        if let Some(site) = whose.site {
            query = query.filter(comments::site_id.eq(site));
        }
        query.load(c)
    })?)
}

/// Writes a request down.
pub fn add_request(tx: &mut Tx<'_>, new: &PersonRequest) -> Result<(), Error> {
    on!(tx.conn(), |c| diesel::insert_into(person_requests::table).values(new).execute(c))?;
    Ok(())
}

/// A request.
pub fn request(conn: &mut Conn, id: OutboxId) -> Result<Option<PersonRequest>, Error> {
    Ok(on!(conn, |c| person_requests::table.find(id).select(PersonRequest::as_select()).get_result(c).optional())?)
}

/// The requests of an address since then: on which site, and when they brought a mail. Of many, some.
pub fn requests_of(
    conn: &mut Conn,
    hashes: &[Vec<u8>],
    since: Timestamp,
) -> Result<Vec<(SiteId, Option<Timestamp>)>, Error> {
    Ok(on!(conn, |c| person_requests::table
        .filter(person_requests::email_hash.eq_any(hashes))
        .filter(person_requests::created_at.gt(since))
        .select((person_requests::site_id, person_requests::mailed_at))
        .order(person_requests::created_at.desc())
        .limit(1000)
        .load(c))?)
}

/// How many requests came since then, counted up to `limit`.
pub fn requests_since(conn: &mut Conn, since: Timestamp, limit: i64) -> Result<i64, Error> {
    let rows = person_requests::table.filter(person_requests::created_at.gt(since)).select(person_requests::id);
    let ids: Vec<OutboxId> = on!(conn, |c| rows.limit(limit).load(c))?;
    Ok(i64::try_from(ids.len()).unwrap_or(limit))
}

/// The link of a request leaves now.
pub fn request_leaves(tx: &mut Tx<'_>, id: OutboxId, now: Timestamp) -> Result<(), Error> {
    let row = person_requests::table.find(id);
    on!(tx.conn(), |c| diesel::update(row).set(person_requests::mailed_at.eq(now)).execute(c))?;
    Ok(())
}

/// Forgets what waits or was done about comments that are gone: work and notices.
pub fn forget_comments(tx: &mut Tx<'_>, ids: &[CommentId]) -> Result<(), Error> {
    on!(tx.conn(), |c| diesel::delete(outbox::table.filter(outbox::comment_id.eq_any(ids))).execute(c))?;
    on!(tx.conn(), |c| diesel::delete(notices::table.filter(notices::comment_id.eq_any(ids))).execute(c))?;
    Ok(())
}

/// Forgets what a person has said about mails, and their requests with the work about them.
pub fn forget_person(tx: &mut Tx<'_>, whose: &Whose) -> Result<usize, Error> {
    let said = subscribers_of(tx.conn(), &whose.hashes)?;
    let is_meant = |site: SiteId| whose.site.is_none_or(|meant| meant == site);
    let ids: Vec<SubscriberId> = said.iter().filter(|row| is_meant(row.site_id)).map(|row| row.id).collect();
    let asked: Vec<(OutboxId, SiteId)> = on!(tx.conn(), |c| person_requests::table
        .filter(person_requests::email_hash.eq_any(&whose.hashes))
        .select((person_requests::id, person_requests::site_id))
        .load(c))?;
    let requests: Vec<OutboxId> = asked.into_iter().filter(|(_, site)| is_meant(*site)).map(|(id, _)| id).collect();
    let gathered: Vec<AccountId> = ids.iter().map(|id| AccountId(id.0)).collect();
    on!(tx.conn(), |c| diesel::delete(outbox::table.filter(outbox::account_id.eq_any(&gathered))).execute(c))?;
    on!(tx.conn(), |c| diesel::delete(notices::table.filter(notices::subscriber_id.eq_any(&ids))).execute(c))?;
    on!(tx.conn(), |c| diesel::delete(subscribers::table.filter(subscribers::id.eq_any(&ids))).execute(c))?;
    on!(tx.conn(), |c| diesel::delete(person_requests::table.filter(person_requests::id.eq_any(&requests)))
        .execute(c))?;
    on!(tx.conn(), |c| diesel::delete(outbox::table.filter(outbox::id.eq_any(&requests))).execute(c))?;
    Ok(ids.len())
}

/// Forgets requests from before `requests`, and addresses that have not said yes since `idle`; at most `limit` of each.
pub fn sweep(tx: &mut Tx<'_>, (requests, idle): (Timestamp, Timestamp), limit: i64) -> Result<usize, Error> {
    let old = person_requests::table.filter(person_requests::created_at.lt(requests)).select(person_requests::id);
    let ids: Vec<OutboxId> = on!(tx.conn(), |c| old.limit(limit).load(c))?;
    let mut gone =
        on!(tx.conn(), |c| diesel::delete(person_requests::table.filter(person_requests::id.eq_any(&ids))).execute(c))?;
    let silent = subscribers::table
        .filter(subscribers::consent.eq_any([Consent::Asked, Consent::Ended]))
        .filter(subscribers::changed_at.lt(idle))
        .select(subscribers::id);
    let ids: Vec<SubscriberId> = on!(tx.conn(), |c| silent.limit(limit).load(c))?;
    gone += on!(tx.conn(), |c| diesel::delete(subscribers::table.filter(subscribers::id.eq_any(&ids))).execute(c))?;
    Ok(gone)
}

/// Puts a subscriber's address under another key, where it is still what was read. One that is there twice, under both
/// keys, is left with the newer row.
pub fn reseal_subscriber(tx: &mut Tx<'_>, before: &Subscriber, after: &Subscriber) -> Result<bool, Error> {
    let twin: Option<SubscriberId> = on!(tx.conn(), |c| subscribers::table
        .filter(subscribers::site_id.eq(before.site_id))
        .filter(subscribers::email_hash.eq(&after.email_hash))
        .filter(subscribers::id.ne(before.id))
        .select(subscribers::id)
        .get_result(c)
        .optional())?;
    let row = subscribers::table.find(before.id).filter(subscribers::email_sealed.eq(&before.email_sealed));
    if twin.is_some() {
        return Ok(on!(tx.conn(), |c| diesel::delete(row).execute(c))? == 1);
    }
    let set = (subscribers::email_sealed.eq(&after.email_sealed), subscribers::email_hash.eq(&after.email_hash));
    Ok(on!(tx.conn(), |c| diesel::update(row).set(set).execute(c))? == 1)
}

/// The mail that tells a notice of this kind.
pub fn mail_of(kind: NoticeKind) -> Kind {
    match kind {
        NoticeKind::Question => Kind::MailConfirm,
        NoticeKind::Approval => Kind::MailApproval,
        NoticeKind::Reply => Kind::MailReply,
    }
}
