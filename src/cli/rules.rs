//! `rules list`, `rules import`.

use std::path::PathBuf;

use clap::{Args, Subcommand, ValueEnum};
use serde_json::{Map, Value, json};

use super::{Failure, open_existing, say};
use crate::config::Config;
use crate::domain::ids::SiteId;
use crate::domain::rules::draft::{Draft, Effect};
use crate::domain::rules::ready_made::DISALLOWED;
use crate::error::Error;
use crate::service::Service;
use crate::service::access::Access;
use crate::service::rules::{RuleRow, RuleTarget};

#[derive(Subcommand)]
pub enum Command {
    /// List all rules in the order in which they are asked: site, place, on or off, what it does, entries of its list, name
    #[command(after_help = "Example:\n  afterword rules list")]
    List,
    /// Put a word list in place of the one that a rule has, and switch the rule on
    #[command(after_help = "Example, a list with one entry per line, as WordPress's are:\n  \
        afterword rules import blocklist.txt --site blog --mode part\n\nTry it first: docs/rules.md says how.")]
    Import(Import),
}

#[derive(Args)]
pub struct Import {
    /// The list: one entry per line, UTF-8, 2 MiB and 100,000 entries at most
    file: PathBuf,
    /// Which site
    #[arg(long)]
    site: String,
    /// Which of its rules, by name; one that is not there is made, and calls spam what has an entry of the list
    #[arg(long, default_value = DISALLOWED)]
    rule: String,
    /// How entries are found; if not given, as the rule has it
    #[arg(long)]
    mode: Option<Mode>,
}

#[derive(Clone, Copy, ValueEnum)]
enum Mode {
    /// Not inside of longer words
    Word,
    /// Anywhere
    Part,
}

pub async fn run(config: &Config, command: Command) -> Result<(), Failure> {
    let service = open_existing(config).await?;
    let access = Service::operator_of_rules();
    match command {
        Command::List => {
            let rules = service.rules_for(&access, None).await?;
            rules.iter().try_for_each(|rule| say(&line(&service, rule)))
        }
        Command::Import(import) => import.run(&service, &access).await,
    }
}

fn line(service: &Service, row: &RuleRow) -> String {
    let site = row.stored.site_id.and_then(|id| service.sites.by_id(id).ok());
    let effect = match row.draft.effect {
        Effect::Decide(decision) => decision.as_str().to_owned(),
        Effect::Score(score) => format!("{:+}", score.points()),
    };
    format!(
        "{}\t{}\t{}\t{effect}\t{}\t{}",
        site.as_ref().map_or("*", |site| site.key.as_str()),
        row.stored.position,
        if row.draft.enabled { "on" } else { "off" },
        row.stored.word_count,
        row.draft.name,
    )
}

impl Import {
    async fn run(&self, service: &Service, access: &Access) -> Result<(), Failure> {
        let told = |cause: std::io::Error| Failure::Failed(format!("cannot read {}: {cause}", self.file.display()));
        let text = std::fs::read_to_string(&self.file).map_err(told)?;
        let unknown = |_| Failure::Failed(format!("there is no site {}; see: afterword site list", self.site));
        let site = service.sites.by_key(&self.site).map_err(unknown)?.id;
        let rule = self.rule(service, access, site).await?;
        let (patch, target) = (self.patch(&rule.draft)?, RuleTarget { id: rule.stored.id, versions: None });
        let mut row = service.write_rule_words(access, target.clone(), text).await?;
        if !patch.is_empty() {
            row = service.change_rule(access, target, patch).await?;
        }
        say(&format!("{} entries in the rule “{}”, which is on", row.stored.word_count, row.draft.name))
    }

    /// The rule that is meant; made if it is not there.
    async fn rule(&self, service: &Service, access: &Access, site: SiteId) -> Result<RuleRow, Failure> {
        let rules = service.rules_for(access, Some(site)).await?;
        if let Some(rule) = rules.into_iter().find(|rule| rule.draft.name == self.rule) {
            return Ok(rule);
        }
        let new = json!({
            "name": self.rule, "enabled": false, "conditions": [self.condition()], "effect": {"decide": "spam"},
        });
        let mut faults = Vec::new();
        let draft = Draft::read(new, "", &mut faults).ok_or(Error::Invalid(faults))?;
        Ok(service.add_rule(access, Some(site), draft).await?)
    }

    fn condition(&self) -> Value {
        let is = if matches!(self.mode, Some(Mode::Part)) { "contains" } else { "contains_word" };
        json!({"on": "anywhere", "is": is, "list": true})
    }

    /// What is left to change once the list is there.
    fn patch(&self, draft: &Draft) -> Result<Map<String, Value>, Failure> {
        let mut patch = Map::new();
        if !draft.enabled {
            patch.insert("enabled".to_owned(), json!(true));
        }
        if self.mode.is_some() {
            patch.insert("conditions".to_owned(), json!([self.condition()]));
        } else if !draft.has_list() {
            let name = &draft.name;
            return Err(Failure::Failed(format!(
                "the rule “{name}” has no condition that looks at its own list; --mode gives it one in place of those it has"
            )));
        }
        Ok(patch)
    }
}
