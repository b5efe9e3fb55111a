//! The sites, kept in memory: every request needs its site, and sites hardly ever change. A change made anywhere raises a
//! revision in the database; every process looks for it each half second.

use std::collections::HashMap;
use std::sync::Arc;

use arc_swap::ArcSwap;

use super::Service;
use crate::domain::ids::SiteId;
use crate::domain::site::{Site, SiteKey};
use crate::domain::web::Origin;
use crate::error::Error;
use crate::storage::{meta, rules, sites, webhooks};

/// A picture of all sites at one revision.
#[derive(Default)]
struct Snapshot {
    revision: i64,
    by_key: HashMap<String, Arc<Site>>,
    by_id: HashMap<SiteId, Arc<Site>>,
}

/// The sites in memory. Reading takes no lock.
#[derive(Default)]
pub struct SiteDirectory {
    snapshot: ArcSwap<Snapshot>,
}

impl SiteDirectory {
    /// The site with this key.
    pub fn by_key(&self, key: &str) -> Result<Arc<Site>, Error> {
        self.snapshot.load().by_key.get(key).cloned().ok_or(Error::NotFound)
    }

    /// The site with this id.
    pub fn by_id(&self, id: SiteId) -> Result<Arc<Site>, Error> {
        self.snapshot.load().by_id.get(&id).cloned().ok_or(Error::NotFound)
    }

    /// Every site, by key.
    pub fn all(&self) -> Vec<Arc<Site>> {
        let mut all: Vec<_> = self.snapshot.load().by_id.values().cloned().collect();
        all.sort_unstable_by(|one, other| one.key.cmp(&other.key));
        all
    }

    /// Whether any site's pages have this origin.
    pub fn any_owns(&self, origin: &Origin) -> bool {
        self.snapshot.load().by_id.values().any(|site| site.owns(origin))
    }
}

/// A site to be made.
#[derive(Debug, Clone)]
pub struct NewSite {
    /// Its name in addresses.
    pub key: SiteKey,
    /// Its name for people.
    pub name: String,
    /// Where the blog is.
    pub url: Option<String>,
    /// Further origins whose pages may write.
    pub origins: Vec<Origin>,
}

impl Service {
    /// Loads the sites and the webhooks if they changed since the last time.
    pub async fn refresh_sites(&self) -> Result<(), Error> {
        let known = self.sites.snapshot.load().revision;
        let changed = self
            .db
            .read(move |conn| {
                let revision = meta::settings_revision(conn)?;
                if revision == known { Ok(None) } else { Ok(Some((revision, sites::all(conn)?, webhooks::all(conn)?))) }
            })
            .await?;
        if let Some((revision, sites, webhooks)) = changed {
            self.webhooks.set(&webhooks);
            let sites: Vec<Arc<Site>> = sites.into_iter().map(Arc::new).collect();
            self.sites.snapshot.store(Arc::new(Snapshot {
                revision,
                by_key: sites.iter().map(|site| (site.key.as_str().to_owned(), site.clone())).collect(),
                by_id: sites.into_iter().map(|site| (site.id, site)).collect(),
            }));
            // What was made by the old settings (whether an article is closed) is worth nothing any more.
            self.db.everything_changed();
        }
        Ok(())
    }

    /// Adds a site, with the rules that are ready-made. [`Error::Conflict`] when the key is taken.
    pub async fn add_site(&self, new: NewSite) -> Result<Arc<Site>, Error> {
        self.insert_site(self.plain_site(new)).await
    }

    pub(super) async fn insert_site(&self, site: Site) -> Result<Arc<Site>, Error> {
        let (id, now) = (site.id, self.clock.now());
        let first_rules = self.first_rules(id, now)?;
        self.db
            .write(move |tx| {
                sites::insert(tx, &site, now)?;
                first_rules.iter().try_for_each(|rule| rules::insert(tx, rule))
            })
            .await?;
        self.refresh_sites().await?;
        self.refresh_rules().await?;
        self.sites.by_id(id)
    }

    /// Writes a site as it is given.
    pub async fn update_site(&self, site: Site) -> Result<Arc<Site>, Error> {
        let (id, now) = (site.id, self.clock.now());
        self.db.write(move |tx| sites::update(tx, &site, now)).await?;
        self.refresh_sites().await?;
        self.sites.by_id(id)
    }

    /// Makes the site `default`, which exists from the start.
    pub async fn ensure_default_site(&self) -> Result<(), Error> {
        self.refresh_sites().await?;
        if self.sites.by_key("default").is_ok() {
            return Ok(());
        }
        let key = SiteKey::parse("default").map_err(|fault| Error::Invalid(vec![fault]))?;
        let new = NewSite { key, name: "My site".to_owned(), url: None, origins: Vec::new() };
        match self.add_site(new).await {
            // Another process was quicker.
            Ok(_) | Err(Error::Conflict(_)) => self.refresh_sites().await,
            Err(error) => Err(error),
        }
    }
}
