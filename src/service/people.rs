//! One's own data: whoever reads the mail of an address sees, takes along, corrects and erases what was written with it on a
//! site; an administrator exports and erases by address. Asking for the link costs the same whether the address is known or
//! not, because nobody looks before the mail is made.

use std::sync::Arc;
use std::time::Duration;

use serde::Serialize;
use uuid::Uuid;

use super::accounts::sealer_in;
use super::erasure::Eraser;
use super::notifications::has_refused;
use super::{Service, outside_status};
use crate::domain::comment::Via;
use crate::domain::email::Email;
use crate::domain::ids::{ArticleId, CommentId, OutboxId, SiteId};
use crate::domain::people::{Consent, PERSON_LINK_LIFE, PERSON_LINKS_A_DAY, PERSON_LINKS_WHEN_REFUSED};
use crate::domain::time::Timestamp;
use crate::error::Error;
use crate::keys::Place;
use crate::storage::articles::{self, Article};
use crate::storage::comments::{self, Comment};
use crate::storage::outbox::{Kind, OutboxRow};
use crate::storage::people::{self, PersonRequest, Subscriber, Whose};
use crate::storage::{Conn, Tx, feedback};

const DAY: Duration = Duration::from_hours(24);

/// Requests that are written down within an hour, known or unknown addresses alike; what comes above leaves nothing.
const REQUESTS_AN_HOUR: i64 = 5000;

/// Rows read at a time for an export.
const PAGE: i64 = 500;

/// Somebody who reads the mail of an address, on one site.
#[derive(Debug, Clone)]
pub struct Person {
    /// Which request opened this.
    pub request: OutboxId,
    /// On which site.
    pub site: SiteId,
    /// The address.
    pub email: Email,
    whose: Whose,
}

impl Person {
    /// Whether a comment is theirs.
    pub(super) fn wrote(&self, comment: &Comment) -> bool {
        let hash = comment.email_hash.as_ref();
        comment.site_id == self.site && hash.is_some_and(|hash| self.whose.hashes.contains(hash))
    }
}

/// A page of what a person wrote.
#[derive(Debug, Clone, Default)]
pub struct PersonPage {
    /// The oldest first, each with its article.
    pub comments: Vec<(Comment, Article)>,
    /// Where the next page begins.
    pub next: Option<CommentId>,
    /// What they have said about mails on this site.
    pub consent: Option<Consent>,
}

/// A comment as its author takes it along. What moderators and rules thought of it is not theirs, and neither is who sent
/// it: the address was typed, so it may have been somebody else.
#[derive(Serialize)]
struct OwnRecord {
    id: CommentId,
    article: String,
    article_title: Option<String>,
    article_url: Option<String>,
    parent_id: Option<CommentId>,
    status: &'static str,
    name: String,
    email: Option<String>,
    website: Option<String>,
    body: String,
    waiting_body: Option<String>,
    notify: bool,
    created_at: Timestamp,
    edited_at: Option<Timestamp>,
}

fn request_place(id: &OutboxId) -> Place<'_> {
    Place { column: "person_requests.email", row: id.as_bytes() }
}

impl Service {
    /// Writes down that somebody wants the link of this address. The same work for every address.
    pub async fn ask_for_link(&self, site: SiteId, email: Email) -> Result<(), Error> {
        let (keys, now, id) = (self.keys.clone(), self.clock.now(), OutboxId(self.ids.next()));
        let hashes = self.keys.email_hashes(&email);
        self.db
            .write(move |tx| {
                let lately = people::requests_since(tx.conn(), now.minus(Duration::from_hours(1)), REQUESTS_AN_HOUR)?;
                let asked = people::requests_of(tx.conn(), &hashes, now.minus(DAY))?;
                let here = here(&asked, site);
                // More than leaves is remembered only so far that a mail that was lost can be asked for.
                if lately >= REQUESTS_AN_HOUR || (here.len() >= 2 * PERSON_LINKS_A_DAY && one_works(&here, now)) {
                    return Ok(());
                }
                let sealer = sealer_in(tx, &keys)?;
                let (email_sealed, email_hash) = sealer.seal_email(request_place(&id), email.as_str())?;
                let new =
                    PersonRequest { id, site_id: site, email_hash, email_sealed, created_at: now, mailed_at: None };
                people::add_request(tx, &new)?;
                tx.enqueue(OutboxRow::new(id, Kind::MailPersonLink, site, now));
                Ok(())
            })
            .await
    }

    /// Where to send the link of a request, and the link's token; none when there is nothing of theirs, or too many links
    /// left to them. How many leave in all is for `jobs/ceiling.rs` to say.
    pub async fn link_for(self: &Arc<Self>, request: OutboxId) -> Result<Option<(Person, String)>, Error> {
        let (service, now) = (self.clone(), self.clock.now());
        self.db.write(move |tx| service.link_in(tx, request, now)).await
    }

    fn link_in(&self, tx: &mut Tx<'_>, id: OutboxId, now: Timestamp) -> Result<Option<(Person, String)>, Error> {
        people::count_alone(tx)?;
        let Some(request) = people::request(tx.conn(), id)? else { return Ok(None) };
        let person = self.person(&request)?;
        let wrote = !people::comments_of(tx.conn(), &person.whose, CommentId(Uuid::nil()), 1)?.is_empty();
        let said = people::subscribers_of(tx.conn(), &person.whose.hashes)?;
        let is_known = wrote || said.iter().any(|row| row.site_id == person.site);
        let asked = people::requests_of(tx.conn(), &person.whose.hashes, now.minus(DAY))?;
        let left = |asked: &[Option<Timestamp>]| asked.iter().flatten().count();
        // The link is the only way to their data, also for whoever wants no other mail.
        let enough = if has_refused(&said) {
            let everywhere: Vec<_> = asked.iter().map(|(_, mailed_at)| *mailed_at).collect();
            left(&everywhere) >= PERSON_LINKS_WHEN_REFUSED
        } else {
            let here = here(&asked, person.site);
            left(&here) >= PERSON_LINKS_A_DAY && one_works(&here, now)
        };
        if !is_known || (enough && request.mailed_at.is_none()) {
            return Ok(None);
        }
        people::request_leaves(tx, id, now)?;
        Ok(Some((person, self.keys.person_token(id, now.plus(PERSON_LINK_LIFE)))))
    }

    fn person(&self, request: &PersonRequest) -> Result<Person, Error> {
        let address = self.keys.open(request_place(&request.id), &request.email_sealed)?;
        let address = String::from_utf8(address).map_err(Error::internal)?;
        let email = Email::parse(&address, "email").map_err(|_| Error::internal("a stored address is none"))?;
        let whose = Whose { hashes: self.keys.email_hashes(&email), site: Some(request.site_id) };
        Ok(Person { request: request.id, site: request.site_id, email, whose })
    }

    /// Who holds this token. [`Error::NotFound`] for one that is not ours, [`Error::LinkExpired`] for one that is over.
    pub async fn person_behind(&self, token: &str) -> Result<Person, Error> {
        let (id, ends_at) = self.keys.read_person_token(token).ok_or(Error::NotFound)?;
        if self.clock.now() >= ends_at {
            return Err(Error::LinkExpired);
        }
        let request = self.db.read(move |conn| people::request(conn, id)).await?.ok_or(Error::LinkExpired)?;
        self.person(&request)
    }

    /// What they wrote, from there on.
    pub async fn page_of_person(&self, person: &Person, after: CommentId, limit: i64) -> Result<PersonPage, Error> {
        let person = person.clone();
        self.db
            .read(move |conn| {
                let mut found = people::comments_of(conn, &person.whose, after, limit + 1)?;
                let shown = usize::try_from(limit).unwrap_or(0);
                let more = found.len() > shown;
                found.truncate(shown);
                let next = found.last().filter(|_| more).map(|comment| comment.id);
                let comments = with_articles(conn, found)?;
                let consent = subscription(conn, &person)?.map(|row| row.consent);
                Ok(PersonPage { comments, next, consent })
            })
            .await
    }

    /// One of their comments; somebody else's is [`Error::NotFound`].
    pub async fn comment_of_person(&self, person: &Person, id: CommentId) -> Result<(Comment, Article), Error> {
        let person = person.clone();
        self.db
            .read(move |conn| {
                let comment = comments::find(conn, id)?.filter(|comment| person.wrote(comment));
                let found = with_articles(conn, comment.into_iter().collect())?;
                found.into_iter().next().ok_or(Error::NotFound)
            })
            .await
    }

    /// Erases all that they wrote on the site, and the link that did it.
    pub async fn erase_all_of_person(self: &Arc<Self>, person: &Person) -> Result<usize, Error> {
        self.erase_person(person.whose.clone(), Eraser { account: None, via: Via::Author }).await
    }

    /// Ends the mails of the site to them.
    pub async fn end_mails_of_person(&self, person: &Person) -> Result<(), Error> {
        let (person, now) = (person.clone(), self.clock.now());
        self.db
            .write(move |tx| match subscription(tx.conn(), &person)? {
                Some(row) if row.consent != Consent::Refused => {
                    people::set_consent(tx, row.id, (Consent::Ended, now), None)
                }
                _ => Ok(()),
            })
            .await
    }

    /// All that they wrote on the site, as JSON for themselves.
    pub async fn export_of_person(&self, person: &Person) -> Result<Vec<u8>, Error> {
        let record = |comment: &Comment, article: &Article| self.own_record(comment, article);
        let site = self.sites.by_id(person.site)?;
        let consent = self.page_of_person(person, CommentId(Uuid::nil()), 1).await?.consent;
        let mut out = JsonList::new(&serde_json::json!({
            "email": person.email.as_str(),
            "site": site.key.as_str(),
            "mails": consent.map(Consent::as_str),
        }))?;
        let mut after = CommentId(Uuid::nil());
        loop {
            let page = self.page_of_person(person, after, PAGE).await?;
            for (comment, article) in &page.comments {
                out.add(&record(comment, article))?;
            }
            match page.next {
                Some(next) => after = next,
                None => return Ok(out.done()),
            }
        }
    }

    fn own_record(&self, comment: &Comment, article: &Article) -> OwnRecord {
        let (email, _) = self.opened(&comment.sealed());
        OwnRecord {
            id: comment.id,
            article: article.key.clone(),
            article_title: article.title.clone().or_else(|| comment.article_title.clone()),
            article_url: article.url.clone().or_else(|| comment.article_url.clone()),
            parent_id: comment.parent_id,
            status: outside_status(comment.status).as_str(),
            name: comment.name.clone(),
            email,
            website: comment.website.clone(),
            body: comment.body.clone(),
            waiting_body: comment.waiting_edit().map(|edit| edit.body),
            notify: comment.notify,
            created_at: comment.created_at,
            edited_at: comment.edited_at,
        }
    }

    /// Whose comments an administrator means.
    pub fn whose(&self, email: &Email, site: Option<SiteId>) -> Whose {
        Whose { hashes: self.keys.email_hashes(email), site }
    }

    /// All comments of an address with everything that is stored, as JSON for administrators.
    pub async fn export_of_address(&self, email: &Email, site: Option<SiteId>) -> Result<Vec<u8>, Error> {
        let whose = self.whose(email, site);
        let hashes = whose.hashes.clone();
        let said = self.db.read(move |conn| people::subscribers_of(conn, &hashes)).await?;
        let said = said.iter().filter(|row| site.is_none_or(|site| site == row.site_id));
        let mails: Vec<_> = said
            .map(|row| serde_json::json!({"site_id": row.site_id, "consent": row.consent, "asked_at": row.asked_at}))
            .collect();
        let mut out = JsonList::new(&serde_json::json!({"email": email.as_str(), "mails": mails}))?;
        let mut after = CommentId(Uuid::nil());
        loop {
            let (whose, from) = (whose.clone(), after);
            let read = self.db.read(move |conn| {
                let page = people::comments_of(conn, &whose, from, PAGE)?;
                let ids: Vec<CommentId> = page.iter().map(|comment| comment.id).collect();
                Ok((page, feedback::flags_of_all(conn, &ids)?))
            });
            let (page, flags) = read.await?;
            for comment in &page {
                let flags = flags.get(&comment.id).map_or(&[][..], Vec::as_slice);
                out.add(&self.exported_comment(comment, flags)?)?;
            }
            match page.last().filter(|_| i64::try_from(page.len()).is_ok_and(|len| len == PAGE)) {
                Some(last) => after = last.id,
                None => return Ok(out.done()),
            }
        }
    }
}

/// An object with a list `comments`, written row by row.
struct JsonList {
    bytes: Vec<u8>,
    is_empty: bool,
}

impl JsonList {
    fn new(head: &serde_json::Value) -> Result<Self, Error> {
        let mut bytes = serde_json::to_vec(head).map_err(Error::internal)?;
        bytes.pop();
        bytes.extend_from_slice(b",\"comments\":[");
        Ok(Self { bytes, is_empty: true })
    }

    fn add(&mut self, row: &impl Serialize) -> Result<(), Error> {
        if !std::mem::replace(&mut self.is_empty, false) {
            self.bytes.push(b',');
        }
        serde_json::to_writer(&mut self.bytes, row).map_err(Error::internal)
    }

    fn done(mut self) -> Vec<u8> {
        self.bytes.extend_from_slice(b"]}");
        self.bytes
    }
}

/// When the requests on one site brought a mail.
fn here(asked: &[(SiteId, Option<Timestamp>)], site: SiteId) -> Vec<Option<Timestamp>> {
    asked.iter().filter(|(of, _)| *of == site).map(|(_, mailed_at)| *mailed_at).collect()
}

/// Whether a link that was mailed still works. While none does, nobody's asking keeps the owner of the address from theirs.
fn one_works(mailed: &[Option<Timestamp>], now: Timestamp) -> bool {
    mailed.iter().flatten().any(|at| *at > now.minus(PERSON_LINK_LIFE))
}

fn subscription(conn: &mut Conn, person: &Person) -> Result<Option<Subscriber>, Error> {
    let said = people::subscribers_of(conn, &person.whose.hashes)?;
    Ok(said.into_iter().find(|row| row.site_id == person.site))
}

fn with_articles(conn: &mut Conn, comments: Vec<Comment>) -> Result<Vec<(Comment, Article)>, Error> {
    let ids: Vec<ArticleId> = comments.iter().map(|comment| comment.article_id).collect();
    let articles = articles::by_ids(conn, &ids)?;
    let article = |comment: &Comment| articles.get(&comment.article_id).cloned();
    Ok(comments.into_iter().filter_map(|comment| article(&comment).map(|article| (comment, article))).collect())
}
