//! The rules, compiled and kept in memory: every comment needs those of its site, and they hardly ever change. As with the
//! sites, a change made anywhere raises a revision, and every process looks for it each half second. A rule that did not
//! change is not compiled again.

use std::collections::HashMap;
use std::io::{Read, Write};
use std::sync::Arc;

use arc_swap::ArcSwap;
use flate2::Compression;
use flate2::read::DeflateDecoder;
use flate2::write::DeflateEncoder;

use super::Service;
use crate::domain::ids::{RuleId, SiteId};
use crate::domain::policy::{Facts, Verdict, judge};
use crate::domain::rules::compiled::Rule;
use crate::domain::rules::draft::Draft;
use crate::domain::rules::judge::{RuleSet, Thresholds};
use crate::domain::rules::subject::Subject;
use crate::domain::site::Site;
use crate::error::Error;
use crate::storage::meta;
use crate::storage::rules::{self, StoredRule, WithWords};

/// A rule at one version.
type Versioned = (i64, Arc<Rule>);

/// The rules that comments meet, site by site.
#[derive(Clone)]
pub(super) struct Sets {
    everywhere: Arc<RuleSet>,
    by_site: HashMap<SiteId, Arc<RuleSet>>,
}

/// All rules at one revision.
pub(super) struct Snapshot {
    revision: i64,
    compiled: HashMap<RuleId, Versioned>,
    /// In the order in which they are asked.
    order: Vec<(Option<SiteId>, RuleId)>,
    pub(super) sets: Sets,
}

/// The rules in memory. Reading takes no lock.
pub struct RuleBook {
    snapshot: ArcSwap<Snapshot>,
    /// Who looks for changes does so alone: an older picture must not replace a newer one.
    refreshing: tokio::sync::Mutex<()>,
    /// One replay at a time: it reads thousands of comments.
    pub(super) replaying: tokio::sync::Mutex<()>,
}

impl RuleBook {
    /// An empty one.
    pub fn new(thresholds: Thresholds) -> Self {
        let sets = Sets::of_rules(Vec::new(), thresholds);
        Self {
            snapshot: ArcSwap::from_pointee(Snapshot {
                revision: 0,
                compiled: HashMap::new(),
                order: Vec::new(),
                sets,
            }),
            refreshing: tokio::sync::Mutex::default(),
            replaying: tokio::sync::Mutex::default(),
        }
    }

    /// The rules that comments on a site meet.
    pub fn of(&self, site: SiteId) -> Arc<RuleSet> {
        self.snapshot.load().sets.of(site)
    }

    /// All rules as they are now.
    pub(super) fn picture(&self) -> Arc<Snapshot> {
        self.snapshot.load_full()
    }
}

impl Sets {
    /// Puts the rules for all sites before those of each; they come in their order.
    fn of_rules(rules: Vec<(Option<SiteId>, Arc<Rule>)>, thresholds: Thresholds) -> Self {
        let (mut everywhere, mut by_site) = (Vec::new(), HashMap::<SiteId, Vec<Arc<Rule>>>::new());
        for (site, rule) in rules {
            match site {
                None => everywhere.push(rule),
                Some(site) => by_site.entry(site).or_default().push(rule),
            }
        }
        let whole = |own: Vec<Arc<Rule>>| {
            let rules = everywhere.iter().cloned().chain(own).collect();
            Arc::new(RuleSet { rules, thresholds })
        };
        let by_site = by_site.into_iter().map(|(site, own)| (site, whole(own))).collect();
        Self { everywhere: whole(Vec::new()), by_site }
    }

    /// The rules that comments on a site meet.
    pub fn of(&self, site: SiteId) -> Arc<RuleSet> {
        self.by_site.get(&site).unwrap_or(&self.everywhere).clone()
    }
}

impl Snapshot {
    /// The next picture. A rule that this program cannot read is left out, and the log says which: a newer one wrote it.
    fn next(&self, revision: i64, loaded: Vec<WithWords>) -> Self {
        let mut compiled = HashMap::with_capacity(loaded.len());
        let (mut order, mut rules) = (Vec::new(), Vec::new());
        for (stored, packed) in loaded {
            let known = self.compiled.get(&stored.id).filter(|(version, _)| *version == stored.version);
            let rule = match known {
                Some((_, rule)) => rule.clone(),
                None => match compile(&stored, packed.as_deref()) {
                    Ok(rule) => Arc::new(rule),
                    Err(error) => {
                        tracing::warn!(rule = %stored.id, cause = error.inside(), "a rule cannot be read and does nothing");
                        continue;
                    }
                },
            };
            compiled.insert(stored.id, (stored.version, rule.clone()));
            order.push((stored.site_id, stored.id));
            rules.push((stored.site_id, rule));
        }
        let sets = Sets::of_rules(rules, self.sets.everywhere.thresholds);
        Self { revision, compiled, order, sets }
    }

    /// The rules of a site, or those for all sites, in order.
    pub(super) fn rules_of(&self, site: Option<SiteId>) -> Vec<(RuleId, Arc<Rule>)> {
        let own = self.order.iter().filter(|(of, _)| *of == site);
        own.filter_map(|(_, id)| Some((*id, self.compiled.get(id)?.1.clone()))).collect()
    }

    /// What comments would meet with these rules in place of those of a site, or of those for all sites.
    pub(super) fn with(&self, site: Option<SiteId>, own: Vec<Arc<Rule>>) -> Sets {
        let others = self.order.iter().filter(|(of, _)| *of != site);
        let mut rules: Vec<_> = others.filter_map(|(of, id)| Some((*of, self.compiled.get(id)?.1.clone()))).collect();
        rules.extend(own.into_iter().map(|rule| (site, rule)));
        Sets::of_rules(rules, self.sets.everywhere.thresholds)
    }
}

fn compile(stored: &StoredRule, packed: Option<&[u8]>) -> Result<Rule, Error> {
    let draft = read_draft(stored)?;
    let list = packed.map(unpacked).transpose()?.unwrap_or_default();
    let list: Vec<String> = list.lines().map(str::to_owned).collect();
    Rule::compile(&draft, &list, "").map_err(|faults| unreadable(&faults))
}

fn unreadable(faults: &[crate::domain::fault::Fault]) -> Error {
    let told: Vec<_> = faults.iter().map(|fault| format!("{}: {}", fault.field, fault.code)).collect();
    Error::internal(format!("a stored rule has faults: {}", told.join(", ")))
}

/// What a stored rule says.
pub(super) fn read_draft(stored: &StoredRule) -> Result<Draft, Error> {
    let value = serde_json::from_str(&stored.definition).map_err(Error::internal)?;
    let mut faults = Vec::new();
    Draft::read(value, "", &mut faults).ok_or_else(|| unreadable(&faults))
}

/// A list as it is stored.
pub(super) fn packed(list: &[String]) -> Result<Option<Vec<u8>>, Error> {
    if list.is_empty() {
        return Ok(None);
    }
    let mut encoder = DeflateEncoder::new(Vec::new(), Compression::fast());
    encoder.write_all(list.join("\n").as_bytes()).map_err(Error::internal)?;
    encoder.finish().map(Some).map_err(Error::internal)
}

/// A stored list, one entry per line.
pub(super) fn unpacked(bytes: &[u8]) -> Result<String, Error> {
    let mut text = String::new();
    DeflateDecoder::new(bytes).read_to_string(&mut text).map_err(Error::internal)?;
    Ok(text)
}

impl Service {
    /// Loads the rules that changed since the last time.
    pub async fn refresh_rules(&self) -> Result<(), Error> {
        let _alone = self.rulebook.refreshing.lock().await;
        let known = self.rulebook.snapshot.load_full();
        let seen = known.clone();
        let changed = self.db.read(move |conn| changed_since(conn, &seen)).await?;
        if let Some((revision, loaded)) = changed {
            let next = tokio::task::spawn_blocking(move || known.next(revision, loaded)).await;
            self.rulebook.snapshot.store(Arc::new(next.map_err(Error::internal)?));
        }
        Ok(())
    }

    /// Where a text goes, and why: the one judgement over submissions and edits.
    pub(super) fn verdict(&self, site: &Site, facts: Facts, subject: &Subject<'_>) -> Verdict {
        let rules = self.rulebook.of(site.id);
        judge(site.policy, facts, rules.judge_by(subject, site.settings.thresholds(rules.thresholds)))
    }
}

/// The revision and all rules, with the lists of those that are new; none if nothing changed.
fn changed_since(conn: &mut crate::storage::Conn, seen: &Snapshot) -> Result<Option<(i64, Vec<WithWords>)>, Error> {
    let revision = meta::settings_revision(conn)?;
    if revision == seen.revision {
        return Ok(None);
    }
    let mut loaded = Vec::new();
    for stored in rules::all(conn)? {
        let is_new = seen.compiled.get(&stored.id).is_none_or(|(version, _)| *version != stored.version);
        let words = if is_new && stored.word_count > 0 { rules::words(conn, stored.id)? } else { None };
        loaded.push((stored, words));
    }
    Ok(Some((revision, loaded)))
}
