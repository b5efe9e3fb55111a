//! Rules as their authors see them: listed, written, ordered, taken away. A moderator has those of their sites; those for
//! all sites are the administrators'. What somebody may not see is [`Error::NotFound`] for them.

use serde_json::{Map, Value};

use super::Service;
use super::access::Access;
use super::rulebook::{packed, read_draft, unpacked};
use crate::domain::fault::Fault;
use crate::domain::ids::{RuleId, SiteId};
use crate::domain::rules::compiled::Rule;
use crate::domain::rules::draft::Draft;
use crate::domain::rules::ready_made;
use crate::domain::rules::words::read_list;
use crate::domain::time::Timestamp;
use crate::error::Error;
use crate::storage::accounts::Role;
use crate::storage::rules::{self, StoredRule};
use crate::storage::{Conn, Tx};

/// Rules of one site, at most; likewise of those for all sites.
const RULES_MAX: usize = 200;

/// Patterns of all of them together, at most.
pub(super) const PATTERNS_MAX: usize = 100;

/// Entries of all their lists together, at most.
const WORDS_MAX: i64 = 200_000;

/// A rule with what it says.
#[derive(Debug, Clone)]
pub struct RuleRow {
    /// As it is stored.
    pub stored: StoredRule,
    /// As it is written.
    pub draft: Draft,
}

impl RuleRow {
    fn of(stored: StoredRule) -> Result<Self, Error> {
        let draft = read_draft(&stored)?;
        Ok(Self { stored, draft })
    }
}

/// A rule as somebody saw it.
#[derive(Debug, Clone)]
pub struct RuleTarget {
    /// Which.
    pub id: RuleId,
    /// Only if it still has one of these versions; none: whatever it has.
    pub versions: Option<Vec<i64>>,
}

impl Access {
    /// [`Error::NotFound`] unless they may see and change the rules of a site (none: those for all sites).
    pub(super) fn require_rules_of(&self, site: Option<SiteId>) -> Result<(), Error> {
        match site {
            Some(site) => self.require(site),
            None if self.role == Role::Admin => Ok(()),
            None => Err(Error::NotFound),
        }
    }
}

/// The rule, if this account may change it and it still has the version that the caller saw.
fn visible_to(conn: &mut Conn, access: &Access, target: &RuleTarget) -> Result<StoredRule, Error> {
    let rule = rules::find(conn, target.id)?.ok_or(Error::NotFound)?;
    access.require_rules_of(rule.site_id)?;
    match &target.versions {
        Some(versions) if !versions.contains(&rule.version) => Err(Error::PreconditionFailed),
        _ => Ok(rule),
    }
}

impl Service {
    /// The rules that an account may see, in the order in which they are asked: of one site, or of all it has.
    pub async fn rules_for(&self, access: &Access, site: Option<SiteId>) -> Result<Vec<RuleRow>, Error> {
        let access = access.clone();
        let stored = self.db.read(move |conn| if site.is_some() { rules::of(conn, site) } else { rules::all(conn) });
        let seen = stored.await?.into_iter().filter(|rule| access.require_rules_of(rule.site_id).is_ok());
        seen.map(RuleRow::of).collect()
    }

    /// One rule.
    pub async fn rule_for(&self, access: &Access, id: RuleId) -> Result<RuleRow, Error> {
        let (access, target) = (access.clone(), RuleTarget { id, versions: None });
        RuleRow::of(self.db.read(move |conn| visible_to(conn, &access, &target)).await?)
    }

    /// Adds a rule behind those of its site.
    pub async fn add_rule(&self, access: &Access, site: Option<SiteId>, draft: Draft) -> Result<RuleRow, Error> {
        access.require_rules_of(site)?;
        let draft = checked(draft).await?;
        let (id, now) = (RuleId(self.ids.next()), self.clock.now());
        let new = stored(id, site, &draft, now)?;
        let row = self
            .db
            .write(move |tx| {
                rules::begin_change(tx)?;
                let others = rules::of(tx.conn(), site)?;
                has_room(&others, &new)?;
                let last = others.last().map_or(0, |rule| rule.position);
                let new = StoredRule { position: last + 1, ..new.clone() };
                rules::insert(tx, &new)?;
                Ok(new)
            })
            .await?;
        self.refresh_rules().await?;
        Ok(RuleRow { stored: row, draft })
    }

    /// Changes a rule: each field that the patch names is replaced as a whole.
    pub async fn change_rule(
        &self,
        access: &Access,
        target: RuleTarget,
        patch: Map<String, Value>,
    ) -> Result<RuleRow, Error> {
        let seen = {
            let access = access.clone();
            self.db.read(move |conn| visible_to(conn, &access, &target)).await?
        };
        let Value::Object(mut fields) = serde_json::from_str(&seen.definition).map_err(Error::internal)? else {
            return Err(Error::internal("a stored rule is no object"));
        };
        fields.extend(patch);
        let mut faults = Vec::new();
        let draft = Draft::read(Value::Object(fields), "", &mut faults).ok_or(Error::Invalid(faults))?;
        let draft = checked(draft).await?;
        let definition = serde_json::to_string(&draft).map_err(Error::internal)?;
        let now = self.clock.now();
        let change = move |rule: &mut StoredRule| rule.definition.clone_from(&definition);
        let row = self.rewrite(seen, now, change).await?;
        Ok(RuleRow { stored: row, draft })
    }

    /// Writes a rule anew, if it still is what was seen.
    async fn rewrite(
        &self,
        seen: StoredRule,
        now: Timestamp,
        change: impl Fn(&mut StoredRule) + Send + 'static,
    ) -> Result<StoredRule, Error> {
        let row = self
            .db
            .write(move |tx| {
                rules::begin_change(tx)?;
                let mut rule = unchanged(tx, &seen)?;
                change(&mut rule);
                (rule.version, rule.updated_at) = (rule.version + 1, now);
                let others = rules::of(tx.conn(), rule.site_id)?;
                has_room(&others, &rule)?;
                rules::update(tx, &rule)?;
                Ok(rule)
            })
            .await?;
        self.refresh_rules().await?;
        Ok(row)
    }

    /// Takes a rule away.
    pub async fn remove_rule(&self, access: &Access, target: RuleTarget) -> Result<(), Error> {
        let access = access.clone();
        self.db
            .write(move |tx| {
                rules::begin_change(tx)?;
                let rule = visible_to(tx.conn(), &access, &target)?;
                rules::remove(tx, rule.id)
            })
            .await?;
        self.refresh_rules().await
    }

    /// Puts the rules of a site (none: those for all sites) into an order, which names each of them once.
    pub async fn order_rules(
        &self,
        access: &Access,
        site: Option<SiteId>,
        ids: Vec<RuleId>,
    ) -> Result<Vec<RuleRow>, Error> {
        access.require_rules_of(site)?;
        let now = self.clock.now();
        let ordered = self
            .db
            .write(move |tx| {
                rules::begin_change(tx)?;
                let mut left = rules::of(tx.conn(), site)?;
                let mut ordered = Vec::with_capacity(left.len());
                for (position, id) in (1..).zip(&ids) {
                    let at = left.iter().position(|rule| rule.id == *id).ok_or_else(not_this_order)?;
                    let mut rule = left.swap_remove(at);
                    if rule.position != position {
                        (rule.position, rule.version, rule.updated_at) = (position, rule.version + 1, now);
                        rules::update(tx, &rule)?;
                    }
                    ordered.push(rule);
                }
                if left.is_empty() { Ok(ordered) } else { Err(not_this_order()) }
            })
            .await?;
        self.refresh_rules().await?;
        ordered.into_iter().map(RuleRow::of).collect()
    }

    /// A rule's own list, one entry per line.
    pub async fn rule_words(&self, access: &Access, id: RuleId) -> Result<(StoredRule, String), Error> {
        let (access, target) = (access.clone(), RuleTarget { id, versions: None });
        let (rule, packed) = self
            .db
            .read(move |conn| {
                let rule = visible_to(conn, &access, &target)?;
                let packed = rules::words(conn, rule.id)?;
                Ok((rule, packed))
            })
            .await?;
        Ok((rule, packed.as_deref().map(unpacked).transpose()?.unwrap_or_default()))
    }

    /// Replaces a rule's own list.
    pub async fn write_rule_words(&self, access: &Access, target: RuleTarget, text: String) -> Result<RuleRow, Error> {
        let read = tokio::task::spawn_blocking(move || {
            let list = read_list(&text).map_err(Error::Invalid)?;
            Ok::<_, Error>((i32::try_from(list.len()).unwrap_or(i32::MAX), packed(&list)?))
        });
        let (count, packed) = read.await.map_err(Error::internal)??;
        let (access, now) = (access.clone(), self.clock.now());
        let row = self
            .db
            .write(move |tx| {
                rules::begin_change(tx)?;
                let mut rule = visible_to(tx.conn(), &access, &target)?;
                (rule.word_count, rule.version, rule.updated_at) = (count, rule.version + 1, now);
                let others = rules::of(tx.conn(), rule.site_id)?;
                has_room(&others, &rule)?;
                rules::update(tx, &rule)?;
                rules::write_words(tx, rule.id, packed.as_deref())?;
                Ok(rule)
            })
            .await?;
        self.refresh_rules().await?;
        RuleRow::of(row)
    }

    /// The rules with which a site begins, for the transaction that makes the site.
    pub(super) fn first_rules(&self, site: SiteId, now: Timestamp) -> Result<Vec<StoredRule>, Error> {
        let numbered = (1..).zip(ready_made::rules());
        let rule = |(position, draft): (i32, Draft)| {
            let id = RuleId(self.ids.next());
            Ok(StoredRule { position, ..stored(id, Some(site), &draft, now)? })
        };
        numbered.map(rule).collect()
    }

    /// Whoever uses the command line may change all rules.
    pub fn operator_of_rules() -> Access {
        let account = crate::domain::ids::AccountId(uuid::Uuid::nil());
        Access { account, name: "command line".to_owned(), role: Role::Admin, sites: Vec::new() }
    }
}

fn not_this_order() -> Error {
    Error::invalid("ids", "not_this_order", "It must name each rule of this site once, and no other.")
}

/// The rule, if nobody has changed it since.
fn unchanged(tx: &mut Tx<'_>, seen: &StoredRule) -> Result<StoredRule, Error> {
    let rule = rules::find(tx.conn(), seen.id)?.ok_or(Error::NotFound)?;
    if rule.version == seen.version {
        return Ok(rule);
    }
    Err(Error::conflict("Somebody else has changed this rule at the same moment. Load it again."))
}

fn stored(id: RuleId, site_id: Option<SiteId>, draft: &Draft, now: Timestamp) -> Result<StoredRule, Error> {
    Ok(StoredRule {
        id,
        site_id,
        position: 0,
        definition: serde_json::to_string(draft).map_err(Error::internal)?,
        word_count: 0,
        version: 1,
        created_at: now,
        updated_at: now,
    })
}

/// The draft, if all of it can be compiled. Not on the thread that answers: a pattern may take milliseconds.
async fn checked(draft: Draft) -> Result<Draft, Error> {
    // Before it is compiled: what is too much must not cost us anything first.
    if draft.patterns() > PATTERNS_MAX {
        let message = format!("All rules of a site together have {PATTERNS_MAX} patterns at most.");
        return Err(Error::invalid("conditions", "too_many", message));
    }
    let compiled = tokio::task::spawn_blocking(move || match Rule::compile(&draft, &[], "") {
        Ok(_) => Ok(draft),
        Err(faults) => Err(Error::Invalid(faults)),
    });
    compiled.await.map_err(Error::internal)?
}

/// Faults unless the rules of a site stay within bounds with this one, which may replace one of them.
fn has_room(others: &[StoredRule], new: &StoredRule) -> Result<(), Error> {
    let others: Vec<&StoredRule> = others.iter().filter(|rule| rule.id != new.id).collect();
    let patterns = |rule: &StoredRule| read_draft(rule).map_or(0, |draft| draft.patterns());
    let words: i64 = others.iter().map(|rule| i64::from(rule.word_count)).sum();
    let mut faults = Vec::new();
    if others.len() >= RULES_MAX {
        faults.push(Fault::new("site", "too_many", format!("A site has {RULES_MAX} rules at most.")));
    }
    let mine = patterns(new);
    if mine > 0 && others.iter().map(|rule| patterns(rule)).sum::<usize>() + mine > PATTERNS_MAX {
        let message = format!("All rules of a site together have {PATTERNS_MAX} patterns at most.");
        faults.push(Fault::new("conditions", "too_many", message));
    }
    if new.word_count > 0 && words + i64::from(new.word_count) > WORDS_MAX {
        let message = format!("The lists of all rules of a site together have {WORDS_MAX} entries at most.");
        faults.push(Fault::new("words", "too_many", message));
    }
    if faults.is_empty() { Ok(()) } else { Err(Error::Invalid(faults)) }
}
