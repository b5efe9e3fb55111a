//! What readers say without writing: votes on comments, reactions to articles, flags. One of each for a visitor, who is
//! known by a keyed hash of their address block, another one for each comment or article and after each month; no address is
//! kept. A comment may move to another article, so what is said of it goes by its own id.

use std::collections::{BTreeMap, HashMap};
use std::net::IpAddr;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use uuid::Uuid;

use super::{Actor, Service};
use crate::domain::comment::{Action, HoldReason, Status, Via};
use crate::domain::feedback::{FlagReason, Vote, month};
use crate::domain::ids::{ArticleId, CommentId, SiteId};
use crate::domain::site::{ArticlePolicy, Site};
use crate::domain::submission::ArticleKey;
use crate::domain::time::Timestamp;
use crate::error::Error;
use crate::storage::articles::{self, Article, NewArticle};
use crate::storage::comments::{self, Comment, StateChange};
use crate::storage::feedback::{self, Flag, Visitor};
use crate::storage::{Conn, Tx};

/// Votes on an article's comments are shown at once, and then after this time again: a list under many votes is made anew
/// every few seconds, not for each of them. As long as CDNs keep a list anyway (contract §1).
const SHOWN_EVERY: Duration = Duration::from_secs(5);

/// The code of the reason to hold a comment that readers flagged.
const FLAGGED: &str = "flagged";

/// Articles whose votes were shown a moment ago.
#[derive(Default)]
pub(super) struct VotesShown(Mutex<HashMap<ArticleId, Shown>>);

struct Shown {
    site: SiteId,
    /// On the clock that nobody sets.
    at: Duration,
    /// There was another vote since.
    waits: bool,
}

impl VotesShown {
    /// Whether a vote that comes now is to be shown with its commit; if not, it is noted for [`VotesShown::due`].
    fn at_once(&self, article: ArticleId, site: SiteId, now: Duration) -> bool {
        let mut shown = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(known) = shown.get_mut(&article) {
            known.waits = true;
            return false;
        }
        shown.insert(article, Shown { site, at: now, waits: false });
        true
    }

    /// The articles with votes that have waited long enough.
    fn due(&self, now: Duration) -> Vec<(ArticleId, SiteId)> {
        let mut shown = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let mut due = Vec::new();
        shown.retain(|article, known| {
            if now.saturating_sub(known.at) < SHOWN_EVERY {
                return true;
            }
            // Whoever votes on goes on waiting; where nobody does, the next vote is shown at once.
            let waited = std::mem::replace(&mut known.waits, false);
            if waited {
                due.push((*article, known.site));
                known.at = now;
            }
            waited
        });
        due
    }
}

/// A comment as a reader sees it who speaks of it.
#[derive(Debug, Clone, Copy)]
pub struct Spoken {
    /// Which.
    pub comment: CommentId,
    /// On this site.
    pub site: SiteId,
}

/// Votes on a comment.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Tally {
    /// For it.
    pub up: i32,
    /// Against it.
    pub down: i32,
}

/// Reactions to an article.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Reactions {
    /// By name; every one that the site has.
    pub counts: BTreeMap<String, i64>,
    /// The visitor's own.
    pub yours: Option<String>,
}

/// A flag as it came.
#[derive(Debug, Clone)]
pub struct Complaint {
    /// Why.
    pub reason: FlagReason,
    /// In the visitor's words.
    pub note: Option<String>,
}

impl Service {
    /// [`Error::Closed`] where visitors change nothing. They may still flag: what is wrong there is wrong.
    fn refuse_read_only(&self, article: Option<&Article>) -> Result<(), Error> {
        if article.is_some_and(|article| self.is_read_only(article)) { Err(Error::Closed) } else { Ok(()) }
    }

    fn visitor(&self, kind: &str, about: Uuid, (host, at): (IpAddr, Timestamp)) -> Visitor {
        let month = month(at);
        Visitor([month, month - 1].map(|month| self.keys.visitor(kind, about, (host, month)).to_vec()))
    }

    /// The comment with this id, if it is public.
    pub async fn spoken_of(&self, id: CommentId) -> Result<Spoken, Error> {
        let found = self.db.read(move |conn| comments::find(conn, id)).await?;
        let public = found.filter(|comment| comment.status == Status::Approved).ok_or(Error::NotFound)?;
        Ok(Spoken { comment: id, site: public.site_id })
    }

    /// Writes a visitor's vote (none: takes it back). [`Error::NotFound`] when the comment is public no more.
    pub async fn vote(self: &Arc<Self>, id: CommentId, from: IpAddr, vote: Option<Vote>) -> Result<Tally, Error> {
        let (service, now) = (self.clone(), self.clock.now());
        let (tally, article, site) = self
            .db
            .write(move |tx| {
                let comment = feedback::public_to_change(tx, id)?;
                let article = articles::by_ids(tx.conn(), &[comment.article_id])?.remove(&comment.article_id);
                service.refuse_read_only(article.as_ref())?;
                let visitor = service.visitor("vote", id.0, (from, now));
                let (up, down) = feedback::vote(tx, &comment, (&visitor, vote), now)?;
                let (article, site) = (comment.article_id, comment.site_id);
                Ok(((Tally { up, down }, (up, down) != (comment.votes_up, comment.votes_down)), article, site))
            })
            .await?;
        let (tally, has_changed) = tally;
        if has_changed && self.votes_shown.at_once(article, site, self.clock.monotonic()) {
            self.show_votes_of(vec![(article, site)]).await?;
        }
        Ok(tally)
    }

    /// Shows the votes that have waited. A process that is killed before leaves other instances with the old numbers until
    /// the next change of the article.
    pub async fn show_votes(&self) -> Result<(), Error> {
        match self.votes_shown.due(self.clock.monotonic()) {
            due if due.is_empty() => Ok(()),
            due => self.show_votes_of(due).await,
        }
    }

    async fn show_votes_of(&self, articles: Vec<(ArticleId, SiteId)>) -> Result<(), Error> {
        self.db
            .write(move |tx| {
                for (article, site) in &articles {
                    feedback::show_votes(tx, *article, *site);
                }
                Ok(())
            })
            .await
    }

    /// How many have reacted to an article, and what this visitor said.
    pub async fn reactions(
        self: &Arc<Self>,
        site: &Arc<Site>,
        key: ArticleKey,
        from: IpAddr,
    ) -> Result<Reactions, Error> {
        let (service, site_id, now) = (self.clone(), site.id, self.clock.now());
        let read = self.db.read(move |conn| {
            let Some(article) = articles::find(conn, site_id, key.as_str())? else {
                return Ok((BTreeMap::new(), None));
            };
            reactions_of(conn, article.id, &service.visitor("reaction", article.id.0, (from, now)))
        });
        let (counts, yours) = read.await?;
        Ok(told(site, counts, yours))
    }

    /// [`Error::Invalid`] for an article that is not the site's own, where it takes reactions to those alone. To be asked
    /// before the rings: an illegal request costs none of them.
    pub async fn check_reacted(&self, site: &Site, key: &ArticleKey) -> Result<(), Error> {
        let (id, key, policy) = (site.id, key.clone(), site.articles);
        if policy != ArticlePolicy::Known {
            return Ok(());
        }
        let found = self.db.read(move |conn| articles::find(conn, id, key.as_str())).await?;
        refuse_unknown(policy, found.as_ref())
    }

    /// Writes a visitor's reaction, one of the site's (none: takes it back). An article that nobody has commented on is
    /// made, if there is something to keep. Errors as [`Service::check_reacted`].
    pub async fn react(
        self: &Arc<Self>,
        site: Arc<Site>,
        key: ArticleKey,
        (from, reaction): (IpAddr, Option<String>),
    ) -> Result<Reactions, Error> {
        let (service, now, id) = (self.clone(), self.clock.now(), ArticleId(self.ids.next()));
        let of = site.clone();
        let (counts, yours) = self
            .db
            .write(move |tx| {
                let new = NewArticle { id, site_id: of.id, key: &key, created_at: now };
                let there = articles::find(tx.conn(), of.id, key.as_str())?;
                refuse_unknown(of.articles, there.as_ref())?;
                if there.is_none() && reaction.is_none() {
                    return Ok((BTreeMap::new(), None));
                }
                let article = feedback::article_to_react(tx, &new)?;
                service.refuse_read_only(Some(&article))?;
                let visitor = service.visitor("reaction", article.id.0, (from, now));
                feedback::react(tx, article.id, (&visitor, reaction.as_deref()), now)?;
                reactions_of(tx.conn(), article.id, &visitor)
            })
            .await?;
        Ok(told(&site, counts, yours))
    }

    /// Keeps a visitor's flag; the comment is held for another look when it is the last one that the site asks for. Whether
    /// it counted is not told. [`Error::NotFound`] when the comment is public no more.
    pub async fn flag(self: &Arc<Self>, id: CommentId, from: IpAddr, complaint: Complaint) -> Result<(), Error> {
        let (service, now) = (self.clone(), self.clock.now());
        self.db
            .write(move |tx| {
                let comment = feedback::public_to_change(tx, id)?;
                let visitor = service.visitor("flag", id.0, (from, now));
                let Complaint { reason, note } = complaint.clone();
                if feedback::flag(tx, id, &visitor, &Flag { reason, note, at: now })? {
                    service.hold_flagged(tx, &comment, now)?;
                }
                Ok(())
            })
            .await
    }

    /// Holds a comment that enough visitors flagged, once: what a moderator decides after that stands.
    fn hold_flagged(&self, tx: &mut Tx<'_>, comment: &Comment, now: Timestamp) -> Result<(), Error> {
        let wanted = self.sites.by_id(comment.site_id)?.settings.flags_to_hold;
        let flags = feedback::flags_of(tx.conn(), comment.id)?;
        if wanted == 0 || flags.len() < usize::try_from(wanted).unwrap_or(usize::MAX) {
            return Ok(());
        }
        let by_flags = |reason: &Option<String>| reason.as_deref().is_some_and(|reason| reason.starts_with(FLAGGED));
        if tx.log_of(comment.id)?.iter().any(|event| event.via == Via::Rule && by_flags(&event.reason)) {
            return Ok(());
        }
        let said = in_words(&flags);
        let mut reasons = comment.hold_reasons();
        reasons.push(HoldReason::new(FLAGGED, &format!("Readers ask for another look: {said}.")));
        let change = StateChange { to: Some(Status::Pending), hold_reasons: Some(reasons), ..StateChange::default() };
        comments::change(tx, comment, &change)?;
        let mut event = self.event(comment, Actor { account: None, via: Via::Rule, at: now }, Action::Held);
        event.to_status = Some(Status::Pending);
        event.reason = Some(format!("{FLAGGED}: {said}"));
        self.record(tx, comment, event);
        tx.enqueue(self.tell_moderators(comment, now));
        Ok(())
    }
}

/// `2 spam, 1 abuse`.
fn in_words(flags: &[Flag]) -> String {
    let counted =
        FlagReason::ALL.iter().map(|reason| (reason, flags.iter().filter(|flag| flag.reason == *reason).count()));
    let named = counted.filter(|(_, count)| *count > 0).map(|(reason, count)| format!("{count} {}", reason.as_str()));
    named.collect::<Vec<_>>().join(", ")
}

fn reactions_of(
    conn: &mut Conn,
    article: ArticleId,
    visitor: &Visitor,
) -> Result<(BTreeMap<String, i64>, Option<String>), Error> {
    let counts = feedback::reaction_counts_of(conn, &[article])?.remove(&article).unwrap_or_default();
    Ok((counts, feedback::yours(conn, article, visitor)?))
}

/// What the site has reactions for; what it had before is kept and not shown.
fn told(site: &Site, mut counted: BTreeMap<String, i64>, yours: Option<String>) -> Reactions {
    let names = &site.settings.reactions;
    let counts = names.iter().map(|name| (name.clone(), counted.remove(name).unwrap_or(0))).collect();
    Reactions { counts, yours: yours.filter(|name| names.contains(name)) }
}

fn refuse_unknown(policy: ArticlePolicy, found: Option<&Article>) -> Result<(), Error> {
    if found.is_none() && policy == ArticlePolicy::Known {
        let text = "This site takes reactions to its own articles only.";
        return Err(Error::invalid("article", "unknown_article", text));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn many_votes_are_shown_every_few_seconds() {
        let (shown, article, site) = (VotesShown::default(), ArticleId(Uuid::nil()), SiteId(Uuid::nil()));
        let at = Duration::from_secs;
        assert!(shown.at_once(article, site, at(1)));
        assert!(!shown.at_once(article, site, at(2)) && !shown.at_once(article, site, at(3)));
        assert_eq!(shown.due(at(5)), []);
        assert_eq!(shown.due(at(6)), [(article, site)]);
        assert!(!shown.at_once(article, site, at(7)), "the next ones wait again");
        assert_eq!((shown.due(at(8)), shown.due(at(11))), (vec![], vec![(article, site)]));
        assert_eq!(shown.due(at(16)), [], "nobody voted");
        assert!(shown.at_once(article, site, at(17)), "nothing is kept of a quiet article");
    }
}
