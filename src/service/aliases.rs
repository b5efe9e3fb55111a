//! Two keys for one article, and the merging of two articles into one: the comments follow their key, some at a time.

use std::sync::Arc;

use super::Service;
use crate::domain::fault::Fault;
use crate::domain::ids::ArticleId;
use crate::domain::site::Site;
use crate::domain::submission::ArticleKey;
use crate::error::Error;
use crate::storage::aliases::{self, NewAlias};
use crate::storage::articles::{Article, NewArticle};

/// A key that leads to an article.
pub struct Alias {
    /// Its row.
    pub row: Article,
    /// Where it leads.
    pub article: Article,
    /// Comments that went with it.
    pub moved: i64,
    /// Whether it was made now.
    pub is_new: bool,
}

/// The two keys of an alias; `names` are those of the fields, for faults.
pub fn differ(alias: &ArticleKey, article: &ArticleKey, names: (&'static str, &'static str)) -> Result<(), Error> {
    if alias.as_str() != article.as_str() {
        return Ok(());
    }
    let same = Fault::new(names.0, "contradiction", format!("It must be another key than `{}`.", names.1));
    Err(Error::Invalid(vec![same]))
}

impl Service {
    /// Lets a key lead to an article, and moves the comments that came by it. Whoever writes by the key writes there from
    /// the first moment on. When this is cut short, housekeeping goes on with it, here or after a restart.
    pub async fn make_alias(&self, site: &Arc<Site>, alias: ArticleKey, article: ArticleKey) -> Result<Alias, Error> {
        let (site, now) = (site.id, self.clock.now());
        let (id, article_id) = (ArticleId(self.ids.next()), ArticleId(self.ids.next()));
        let (row, article, is_new) = self
            .db
            .write(move |tx| {
                let article = NewArticle { id: article_id, site_id: site, key: &article, created_at: now };
                aliases::add(tx, &NewAlias { site, alias: &alias, id, article: &article }, now)
            })
            .await?;
        let moved = if row.merging { self.move_comments(row.id).await? } else { row.moved };
        if is_new {
            tracing::info!(alias = %row.id, article = %article.id, moved, "one article goes by another key");
        }
        Ok(Alias { row, article, moved, is_new })
    }

    /// Moves what is left, in short transactions, so that others write in between. How many comments were moved in all.
    async fn move_comments(&self, alias: ArticleId) -> Result<i64, Error> {
        loop {
            let now = self.clock.now();
            let progress = self.db.write(move |tx| aliases::move_some(tx, alias, now)).await?;
            if progress.is_over() {
                return Ok(progress.in_all);
            }
        }
    }

    /// Goes on with what was begun by somebody who is gone, and fetches latecomers.
    pub async fn go_on_merging(&self) -> Result<(), Error> {
        for alias in self.db.read(aliases::merging).await? {
            self.move_comments(alias).await?;
        }
        Ok(())
    }

    /// Takes an alias away. [`Error::NotFound`], or [`Error::Conflict`] while comments are on their way.
    pub async fn remove_alias(&self, site: &Arc<Site>, alias: ArticleKey) -> Result<(), Error> {
        let site = site.id;
        self.db.write(move |tx| aliases::remove(tx, site, alias.as_str())).await
    }
}
