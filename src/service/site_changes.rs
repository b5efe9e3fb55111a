//! Making, changing and deleting a site: one path for the command line and the API. Every fault comes back at once, and a
//! change is written only onto the version that its sender saw.

use std::sync::Arc;

use super::Service;
use super::own::Change;
use super::sites::NewSite;
use crate::domain::fault::Fault;
use crate::domain::ids::SiteId;
use crate::domain::site::{ArticlePolicy, Policy, Site, SiteKey};
use crate::domain::site_settings::{RawSettings, SiteSettings, is_language};
use crate::domain::submission::FieldRules;
use crate::domain::text::{Name, tidy_line};
use crate::domain::time::Timestamp;
use crate::domain::web::{Origin, absolute_http};
use crate::error::Error;
use crate::storage::sites;

/// What is sent to make or change a site, as it came; what is missing stays.
#[derive(Debug, Clone, Default)]
#[expect(missing_docs, reason = "the fields of a site, as the API names them")]
pub struct RawSite {
    pub name: Option<String>,
    pub url: Change<String>,
    pub origins: Option<Vec<String>>,
    pub moderation: Option<String>,
    pub articles: Option<String>,
    pub language: Option<String>,
    pub settings: RawSettings,
}

/// Characters of a site's name, at most; it stands in the subject of mails.
const NAME_MAX: usize = 100;

/// Origins of a site, at most.
const MOST_ORIGINS: usize = 50;

impl RawSite {
    /// [`Error::Invalid`] with every fault that it has on any site.
    pub fn check(&self, operator: &FieldRules) -> Result<(), Error> {
        let mut faults = Vec::new();
        self.clone().apply(&mut example()?, operator, &mut faults);
        if faults.is_empty() { Ok(()) } else { Err(Error::Invalid(faults)) }
    }

    /// Writes what is legal into `site` and notes a fault for each field that is not.
    fn apply(self, site: &mut Site, operator: &FieldRules, faults: &mut Vec<Fault>) {
        let mut note = |fault| faults.push(fault);
        if let Some(text) = &self.name {
            let _ = name(text).map(|name| site.name = name).map_err(&mut note);
        }
        match self.url {
            Change::Set(text) if absolute_http(&text).is_some() && text.chars().count() <= 2048 => {
                site.url = Some(text);
            }
            Change::Set(_) => {
                note(Fault::new(
                    "url",
                    "invalid_url",
                    "It must be a web address that starts with https:// or http://.",
                ));
            }
            Change::Clear => site.url = None,
            Change::Keep => {}
        }
        if let Some(texts) = &self.origins {
            let parsed: Option<Vec<Origin>> = texts.iter().map(|text| Origin::parse(text)).collect();
            match parsed.filter(|origins| origins.len() <= MOST_ORIGINS) {
                Some(origins) => site.origins = origins,
                None => note(Fault::new(
                    "origins",
                    "invalid_origin",
                    format!(
                        "Each of at most {MOST_ORIGINS} is a scheme and a host, like https://www.blog.example, without a path."
                    ),
                )),
            }
        }
        if let Some(name) = &self.moderation {
            let known = || Fault::new("moderation", "unknown_value", "It must be one of: all, new_authors, none.");
            let _ = Policy::from_name(name).ok_or_else(known).map(|policy| site.policy = policy).map_err(&mut note);
        }
        if let Some(name) = &self.articles {
            let known = || Fault::new("articles", "unknown_value", "It must be one of: any, known.");
            let _ = ArticlePolicy::from_name(name).ok_or_else(known).map(|new| site.articles = new).map_err(&mut note);
        }
        match self.language {
            Some(tag) if is_language(&tag) => site.language = tag,
            Some(_) => note(Fault::new("language", "invalid_language", "It must be a language tag like en or de-AT.")),
            None => {}
        }
        self.settings.apply(&mut site.settings, operator, faults);
    }
}

fn plain(id: SiteId, new: NewSite, now: Timestamp) -> Site {
    Site {
        id,
        key: new.key,
        name: new.name,
        url: new.url,
        origins: new.origins,
        policy: Policy::All,
        articles: ArticlePolicy::Any,
        language: "en".to_owned(),
        settings: SiteSettings::default(),
        updated_at: now,
    }
}

/// A site without a name of its own yet, onto which an order is written.
fn example() -> Result<Site, Error> {
    let key = SiteKey::parse("example").map_err(|fault| Error::Invalid(vec![fault]))?;
    let new = NewSite { key, name: String::new(), url: None, origins: Vec::new() };
    Ok(plain(SiteId(uuid::Uuid::nil()), new, Timestamp(0)))
}

fn name(text: &str) -> Result<String, Fault> {
    let text = tidy_line(text);
    if text.is_empty() {
        return Err(Fault::required("name"));
    }
    if text.chars().count() > NAME_MAX {
        return Err(Fault::too_long("name", NAME_MAX, "characters"));
    }
    Name::parse(&text, "name").map(|name| name.as_str().to_owned())
}

/// A site as somebody wants it.
#[derive(Debug, Clone)]
pub struct SiteOrder {
    /// Its fields.
    pub raw: RawSite,
    /// What the reader of the request found wrong already.
    pub faults: Vec<Fault>,
}

impl Service {
    /// A new site with the defaults of all.
    pub(super) fn plain_site(&self, new: NewSite) -> Site {
        plain(SiteId(self.ids.next()), new, self.clock.now())
    }

    /// Makes a site. [`Error::Invalid`] with every fault, [`Error::Conflict`] when the key is taken.
    pub async fn make_site(&self, key: &str, order: SiteOrder) -> Result<Arc<Site>, Error> {
        let SiteOrder { raw, mut faults } = order;
        let wrong = |field: &str, faults: &[Fault]| faults.iter().any(|fault| fault.field == field);
        if raw.name.is_none() && !wrong("name", &faults) {
            faults.insert(0, Fault::required("name"));
        }
        let key = match SiteKey::parse(key) {
            Ok(key) => Some(key),
            Err(fault) => {
                if !wrong("key", &faults) {
                    faults.insert(0, fault);
                }
                None
            }
        };
        let mut site = example()?;
        raw.apply(&mut site, &self.rules.fields, &mut faults);
        let Some(key) = key.filter(|_| faults.is_empty()) else { return Err(Error::Invalid(faults)) };
        self.insert_site(Site { id: SiteId(self.ids.next()), key, ..site }).await
    }

    /// Changes a site: what is not named stays. `versions`: only if it still has one of these; none: whatever it has.
    /// Errors: [`Error::NotFound`], [`Error::Invalid`], [`Error::PreconditionFailed`].
    pub async fn change_site(
        &self,
        key: &SiteKey,
        order: SiteOrder,
        versions: Option<Vec<i64>>,
    ) -> Result<Arc<Site>, Error> {
        let SiteOrder { raw, faults } = order;
        let (key, rules, now) = (key.clone(), self.rules.fields, self.clock.now());
        let id = self
            .db
            .write(move |tx| {
                let mut site = sites::find_to_change(tx, &key)?.ok_or(Error::NotFound)?;
                // Here and not before: lengths are right or wrong together with those that are stored.
                let (seen, mut faults) = (site.updated_at, faults.clone());
                raw.clone().apply(&mut site, &rules, &mut faults);
                if !faults.is_empty() {
                    return Err(Error::Invalid(faults));
                }
                if versions.as_ref().is_some_and(|versions| !versions.contains(&seen.0)) {
                    return Err(Error::PreconditionFailed);
                }
                let later = Timestamp(seen.0 + 1).max(now);
                sites::update(tx, &site, later)?;
                Ok(site.id)
            })
            .await?;
        self.refresh_sites().await?;
        self.sites.by_id(id)
    }

    /// Deletes a site that nothing is on. [`Error::Conflict`] says what stands in the way; the site `default` always stays.
    pub async fn delete_site(&self, key: &SiteKey) -> Result<(), Error> {
        if key.as_str() == "default" {
            return Err(Error::conflict("The site default always exists."));
        }
        let key = key.clone();
        self.db
            .write(move |tx| {
                let site = sites::find_to_change(tx, &key)?.ok_or(Error::NotFound)?;
                let (comments, articles) = sites::contents(tx.conn(), site.id)?;
                if comments + articles > 0 {
                    let there = format!("Only an empty site can be deleted; on this one are {comments} comments and {articles} articles.");
                    return Err(Error::conflict(there));
                }
                sites::delete(tx, site.id)
            })
            .await?;
        self.refresh_sites().await
    }
}
