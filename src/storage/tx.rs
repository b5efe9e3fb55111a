//! What a write closure gets: the connection inside an open transaction, and buffers for what is written once per group of
//! jobs (events, outbox rows, counter changes). A closure never begins a transaction and never awaits. Of the buffered rows
//! it reads only events back ([`Tx::log_of`]); that is the price of writing them together.

use std::collections::BTreeMap;

use diesel::prelude::*;

use super::arrivals::Known;
use super::authors::{self, Author};
use super::comments::{self, Comment};
use super::conn::{Conn, on};
use super::events::{self, Event, NewEvent};
use super::fragments::{ArticleBump, AuthorBump, BumpArticle, BumpAuthor};
use super::neighbours::{self, Turn};
use super::outbox::{self, NewOutbox};
use super::site_counts::{self, SiteBump};
use super::webhook_queue::{self, QueuedEvent};
use super::words::{self, Words};
use crate::domain::ids::{ArticleId, AuthorId, CommentId, SiteId};
use crate::domain::listing::Source;
use crate::error::Error;

/// An open transaction.
pub struct Tx<'a> {
    conn: &'a mut Conn,
    buffers: &'a mut Buffers,
    /// Nothing else is in the transaction, so waiting for other connections harms nobody.
    alone: bool,
    /// The job brings one new comment and asks for nothing after it.
    pub(super) arrives: bool,
}

/// Rows and counter changes that the group's last step writes.
#[derive(Default)]
pub(super) struct Buffers {
    authors: Vec<Author>,
    comments: Vec<Comment>,
    events: Vec<NewEvent>,
    outbox: Vec<NewOutbox>,
    webhooks: Vec<QueuedEvent>,
    bumps: Vec<Bump>,
    words: Vec<Words>,
    changed: Vec<Source>,
    /// What the group's new comments would ask.
    pub(super) known: Known,
}

enum Bump {
    Article(ArticleId, ArticleBump),
    Hints(ArticleId, Hints),
    Site(SiteId, SiteBump),
    Author(AuthorId, AuthorBump),
}

/// What a visitor said of an article.
#[derive(Debug, Default)]
pub(super) struct Hints {
    pub title: Option<String>,
    pub url: Option<String>,
}

impl Hints {
    fn add(&mut self, later: Self) {
        self.title = self.title.take().or(later.title);
        self.url = self.url.take().or(later.url);
    }
}

/// What a commit leaves for others to know.
#[derive(Debug, Default)]
pub struct News {
    /// There is work in the outbox, or for webhooks.
    pub has_work: bool,
    /// The event log has grown.
    pub has_events: bool,
    /// Readers see these otherwise than before.
    pub changed: Vec<Source>,
}

/// How full the buffers were before a job, so that a failed one leaves nothing.
#[derive(Clone, Copy)]
pub(super) struct Mark {
    authors: usize,
    comments: usize,
    events: usize,
    outbox: usize,
    webhooks: usize,
    bumps: usize,
    words: usize,
    changed: usize,
}

impl<'a> Tx<'a> {
    pub(super) fn new(conn: &'a mut Conn, buffers: &'a mut Buffers, alone: bool, arrives: bool) -> Self {
        Self { conn, buffers, alone, arrives }
    }

    /// Takes a turn, held until the transaction ends. Inside a group nobody waits: two groups that each held what the
    /// other wants would lock each other out, so [`Error::Busy`] sends the job to a transaction of its own, where it
    /// waits.
    pub(super) fn take_turn(&mut self, turn: Turn<'_>) -> Result<(), Error> {
        neighbours::take_turn(self.conn, turn, self.alone)
    }

    /// Whether a job that failed so may succeed in a transaction of its own: it met another connection.
    pub(super) fn may_pass_alone(&self, error: &Error) -> bool {
        !self.alone && matches!(error, Error::Busy) && self.conn.is_shared()
    }

    /// The connection, for statements that run now.
    pub fn conn(&mut self) -> &mut Conn {
        self.conn
    }

    /// What the group has asked beforehand.
    pub(super) fn known(&self) -> &Known {
        &self.buffers.known
    }

    /// Whether a new comment of this group has this text on this article.
    pub(super) fn is_coming(&self, article: ArticleId, text_hash: &[u8]) -> bool {
        self.buffers.comments.iter().any(|new| new.article_id == article && new.text_hash == text_hash)
    }

    /// Adds an author.
    pub fn add_author(&mut self, author: Author) {
        self.buffers.authors.push(author);
    }

    /// Adds a comment that nobody can ask for before the group is written.
    pub(super) fn add_comment(&mut self, comment: Comment) {
        self.buffers.comments.push(comment);
    }

    /// Adds an entry to the event log.
    pub fn log(&mut self, event: NewEvent) {
        self.buffers.events.push(event);
    }

    /// The log of a comment so far, oldest first: what is stored, and what this group of jobs has added.
    pub fn log_of(&mut self, comment: CommentId) -> Result<Vec<Event>, Error> {
        let mut log = events::of_comment(self.conn, comment)?;
        log.extend(self.buffers.events.iter().filter(|event| event.comment_id == comment).cloned());
        Ok(log)
    }

    /// Adds a piece of work; one with a dedupe key that is there already is left out.
    pub fn enqueue(&mut self, work: NewOutbox) {
        self.buffers.outbox.push(work);
    }

    /// Adds an event that a webhook is to be told.
    pub fn enqueue_for_webhook(&mut self, event: QueuedEvent) {
        self.buffers.webhooks.push(event);
    }

    /// Adds a new comment to the search index.
    pub(super) fn index(&mut self, id: CommentId, name: &str, body: &str) {
        if words::written_at_once(self.conn) {
            self.buffers.words.push(Words::of(id, name, body));
        }
    }

    /// Says what readers will see otherwise once this is committed.
    pub fn changed(&mut self, source: Source) {
        self.buffers.changed.push(source);
    }

    /// Changes an article's counters.
    pub fn bump_article(&mut self, id: ArticleId, by: ArticleBump) {
        self.buffers.bumps.push(Bump::Article(id, by));
    }

    /// Gives an article a title and an address where it has none; what is stored is never overwritten.
    pub fn adopt_hints(&mut self, id: ArticleId, title: Option<&str>, url: Option<&str>) {
        if title.is_some() || url.is_some() {
            let hints = Hints { title: title.map(str::to_owned), url: url.map(str::to_owned) };
            self.buffers.bumps.push(Bump::Hints(id, hints));
        }
    }

    /// Changes a site's counters.
    pub fn bump_site(&mut self, id: SiteId, by: SiteBump) {
        self.buffers.bumps.push(Bump::Site(id, by));
    }

    /// Changes an author's counters.
    pub fn bump_author(&mut self, id: AuthorId, by: AuthorBump) {
        self.buffers.bumps.push(Bump::Author(id, by));
    }
}

impl Buffers {
    /// What must be told once this is committed. To be called before [`Buffers::flush`].
    pub(super) fn news(&mut self) -> News {
        News {
            has_work: !self.outbox.is_empty() || !self.webhooks.is_empty(),
            has_events: !self.events.is_empty(),
            changed: std::mem::take(&mut self.changed),
        }
    }

    pub(super) fn mark(&self) -> Mark {
        Mark {
            authors: self.authors.len(),
            comments: self.comments.len(),
            events: self.events.len(),
            outbox: self.outbox.len(),
            webhooks: self.webhooks.len(),
            bumps: self.bumps.len(),
            words: self.words.len(),
            changed: self.changed.len(),
        }
    }

    pub(super) fn cut_back(&mut self, mark: Mark) {
        self.authors.truncate(mark.authors);
        self.comments.truncate(mark.comments);
        self.events.truncate(mark.events);
        self.outbox.truncate(mark.outbox);
        self.webhooks.truncate(mark.webhooks);
        self.bumps.truncate(mark.bumps);
        self.words.truncate(mark.words);
        self.changed.truncate(mark.changed);
    }

    /// Writes everything and empties the buffers. Counters come last and sorted by id, so that two groups on two
    /// PostgreSQL connections take the rows' locks in one order and hold them only over the commit.
    pub(super) fn flush(&mut self, conn: &mut Conn, news: &News) -> Result<(), Error> {
        authors::insert_all(conn, &self.authors)?;
        comments::insert_all(conn, &self.comments)?;
        events::insert_all(conn, &self.events)?;
        outbox::insert_all(conn, &self.outbox)?;
        webhook_queue::insert_all(conn, &self.webhooks)?;
        words::add_new(conn, &self.words)?;
        self.authors.clear();
        self.comments.clear();
        self.events.clear();
        self.outbox.clear();
        self.webhooks.clear();
        self.words.clear();
        self.write_counters(conn)?;
        neighbours::tell(conn, news)
    }

    fn write_counters(&mut self, conn: &mut Conn) -> Result<(), Error> {
        let mut articles: BTreeMap<ArticleId, ArticleBump> = BTreeMap::new();
        let mut hints: BTreeMap<ArticleId, Hints> = BTreeMap::new();
        let mut sites: BTreeMap<SiteId, SiteBump> = BTreeMap::new();
        let mut authors: BTreeMap<AuthorId, AuthorBump> = BTreeMap::new();
        for bump in self.bumps.drain(..) {
            match bump {
                Bump::Article(id, by) => articles.entry(id).or_default().add(by),
                Bump::Hints(id, new) => hints.entry(id).or_default().add(new),
                Bump::Site(id, by) => sites.entry(id).or_default().add(by),
                Bump::Author(id, by) => authors.entry(id).or_default().add(by),
            }
        }
        for (id, by) in authors {
            on!(&mut *conn, |c| BumpAuthor { id, by }.execute(c))?;
        }
        for (id, by) in articles {
            on!(&mut *conn, |c| BumpArticle { id, by }.execute(c))?;
            // The first approved comment on an article is rare enough for a statement of its own.
            if let Some(hints) = hints.remove(&id) {
                super::articles::adopt_hints(conn, id, &hints)?;
            }
        }
        for (id, by) in sites {
            site_counts::bump(conn, id, by)?;
        }
        Ok(())
    }
}
