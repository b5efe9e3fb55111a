//! Articles by hand: made before their first comment, named, closed and opened. And the one place that knows whether an
//! article takes comments.

use std::sync::Arc;

use super::Service;
use super::own::Change;
use crate::domain::fault::Fault;
use crate::domain::ids::ArticleId;
use crate::domain::site::Site;
use crate::domain::submission::ArticleKey;
use crate::domain::text::{Title, tidy, tidy_line};
use crate::domain::time::Timestamp;
use crate::domain::web::{Origin, WebAddress};
use crate::error::Error;
use crate::storage::articles::{self, Article, ArticleChange, NewArticle};

/// What is sent to make or change an article, as it came.
#[derive(Debug, Clone, Default)]
pub struct RawArticle {
    /// Its title; null or empty takes it away.
    pub title: Change<String>,
    /// Its address on the site, likewise.
    pub url: Change<String>,
    /// Closed or opened by hand; null: by its age again.
    pub closed: Change<bool>,
    /// Whether visitors may change nothing on it.
    pub read_only: Option<bool>,
}

impl RawArticle {
    /// Parses it; all faults at once. `site` owns its addresses.
    fn parse(self, service: &Service, site: &Site, mut faults: Vec<Fault>) -> Result<ArticleChange, Error> {
        let rules = &service.rules.fields;
        let mut change = ArticleChange { read_only: self.read_only, ..ArticleChange::default() };
        let long = |text: &str, field: &'static str, most: usize| {
            (text.chars().count() > most).then(|| Fault::too_long(field, most, "characters"))
        };
        let title = texts(self.title, tidy_line).map(|text| match text {
            None => Ok(None),
            Some(text) => match long(&text, "title", rules.article_title_max) {
                Some(fault) => Err(fault),
                None => Title::parse(&text, "title").map(|title| Some(title.as_str().to_owned())),
            },
        });
        change.title = title.transpose().map_err(|fault| faults.push(fault)).ok().flatten();
        let owns = |origin: &Origin| site.owns(origin) || service.rules.own_origin.as_ref() == Some(origin);
        let url = texts(self.url, |text| tidy(text).into_owned()).map(|text| match text {
            None => Ok(None),
            Some(text) => match long(&text, "url", rules.article_url_max) {
                Some(fault) => Err(fault),
                None => WebAddress::parse(&text, "url").and_then(|address| {
                    let foreign = Fault::new("url", "foreign_url", "It must be an address on this site.");
                    if owns(&address.origin()) { Ok(Some(text)) } else { Err(foreign) }
                }),
            },
        });
        change.url = url.transpose().map_err(|fault| faults.push(fault)).ok().flatten();
        change.closed = match self.closed {
            Change::Keep => None,
            Change::Clear => Some((false, false)),
            Change::Set(closed) => Some((closed, !closed)),
        };
        if faults.is_empty() { Ok(change) } else { Err(Error::Invalid(faults)) }
    }
}

/// A change of a text: nothing, none (it goes), or a new one.
#[expect(clippy::option_option, reason = "the three things that a merge patch can say of a field")]
fn texts(change: Change<String>, tidied: impl FnOnce(&str) -> String) -> Option<Option<String>> {
    match change {
        Change::Keep => None,
        Change::Clear => Some(None),
        Change::Set(text) => Some(Some(tidied(&text)).filter(|text| !text.is_empty())),
    }
}

/// An article as somebody wants it.
pub struct ArticleOrder {
    /// Its key.
    pub key: ArticleKey,
    /// The rest.
    pub raw: RawArticle,
    /// What the reader of the request found wrong already.
    pub faults: Vec<Fault>,
}

impl Service {
    /// When an article that is open closes by its age; none: never.
    pub fn closes_at(&self, article: &Article) -> Option<Timestamp> {
        if article.closed || article.kept_open {
            return None;
        }
        self.sites.by_id(article.site_id).ok()?.settings.closes_at(article.created_at)
    }

    /// Whether visitors may change nothing on an article: no comments, no edits, no votes. Their right to delete what they
    /// wrote stays.
    pub fn is_read_only(&self, article: &Article) -> bool {
        article.read_only || self.sites.by_id(article.site_id).is_ok_and(|site| site.settings.read_only)
    }

    /// Whether an article takes no comments (any more).
    pub fn is_closed(&self, article: &Article, now: Timestamp) -> bool {
        article.closed || self.is_read_only(article) || self.closes_at(article).is_some_and(|at| at <= now)
    }

    /// Makes an article known, or changes the one that is there; says whether it was made.
    pub async fn make_article(&self, site: &Arc<Site>, order: ArticleOrder) -> Result<(Article, bool), Error> {
        let ArticleOrder { key, raw, faults } = order;
        let change = raw.parse(self, site, faults)?;
        let (id, site_id, created_at) = (ArticleId(self.ids.next()), site.id, self.clock.now());
        self.db
            .write(move |tx| {
                let new = NewArticle { id, site_id, key: &key, created_at };
                let (article, _) = articles::find_or_make(tx, &new)?;
                let made = article.id == id;
                Ok((articles::change(tx, &article, &change)?, made))
            })
            .await
    }

    /// Changes an article. [`Error::NotFound`] when nobody has made it.
    pub async fn change_article(&self, site: &Arc<Site>, order: ArticleOrder) -> Result<Article, Error> {
        let ArticleOrder { key, raw, faults } = order;
        let site_id = site.id;
        let there = key.clone();
        let found = self.db.read(move |conn| articles::find(conn, site_id, there.as_str())).await?;
        found.ok_or(Error::NotFound)?;
        let change = raw.parse(self, site, faults)?;
        self.db
            .write(move |tx| {
                let article = articles::find(tx.conn(), site_id, key.as_str())?.ok_or(Error::NotFound)?;
                articles::change(tx, &article, &change)
            })
            .await
    }
}
