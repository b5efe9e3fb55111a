//! `site add`, `site list`, `site set`.

use clap::{Args, Subcommand};

use super::{Failure, open, open_existing, say};
use crate::config::Config;
use crate::domain::site::{Site, SiteKey};
use crate::domain::site_settings::{RawFeedback, RawSettings};
use crate::domain::web::Origin;
use crate::error::Error;
use crate::service::own::Change;
use crate::service::site_changes::{RawSite, SiteOrder};

#[derive(Subcommand)]
pub enum Command {
    /// Add a site
    #[command(
        after_help = "Example:\n  afterword site add blog --name \"My blog\" --url https://blog.example \\\n    \
        --origin https://www.blog.example"
    )]
    Add(Add),
    /// List all sites: key, name, address, policy (whose comments wait for a moderator), further origins
    #[command(after_help = "Example, the keys alone:\n  afterword site list | cut -f1")]
    List,
    /// Change a site; what is not named stays
    #[command(after_help = "Example, to publish at once what known authors write:\n  \
        afterword site set blog --moderation new_authors\n\nTo close articles after a month, and do without e-mail addresses:\n  \
        afterword site set blog --close-after 30 --required name")]
    Set(Box<Set>),
}

#[derive(Args)]
pub struct Add {
    /// Its name in addresses: 1 to 64 of a-z, 0-9 and -
    key: String,
    /// Its name for people; stands in the subject of mails
    #[arg(long)]
    name: String,
    /// Where the blog is, like `https://blog.example`
    #[arg(long)]
    url: Option<String>,
    /// A further origin whose pages may write, like `https://www.blog.example`; may be given more than once
    #[arg(long = "origin", value_name = "ORIGIN")]
    origins: Vec<String>,
}

#[derive(Args)]
pub struct Set {
    /// Which site
    key: String,
    /// A new name for people
    #[arg(long)]
    name: Option<String>,
    /// A new address of the blog
    #[arg(long)]
    url: Option<String>,
    /// The further origins, in place of those before; may be given more than once
    #[arg(long = "origin", value_name = "ORIGIN")]
    origins: Vec<String>,
    /// What waits for a moderator: `all`, `new_authors` or `none`
    #[arg(long, value_name = "POLICY")]
    moderation: Option<String>,
    /// Which articles take comments: `any` or `known`
    #[arg(long, value_name = "POLICY")]
    articles: Option<String>,
    /// In which language the site speaks to its visitors, like `en` or `de-AT`
    #[arg(long, value_name = "TAG")]
    language: Option<String>,
    /// What visitors must fill in: `name`, and `email` and `website` if they must; may be given more than once
    #[arg(long = "required", value_name = "FIELD")]
    required: Vec<String>,
    /// A length in characters, like `body_min=20`: `name_min`, `name_max`, `body_min` or `body_max`; in place of those before
    #[arg(long = "length", value_name = "NAME=N")]
    lengths: Vec<String>,
    /// Articles close so many days after they were made; 0: never
    #[arg(long, value_name = "DAYS")]
    close_after: Option<i64>,
    /// Days after which something goes, like `sender_days=90` or `refused_days=30`; 0: never
    #[arg(long = "retention", value_name = "NAME=DAYS")]
    retention: Vec<String>,
    /// A language in which comments are expected, for the form; may be given more than once
    #[arg(long = "expect-language", value_name = "TAG")]
    languages: Vec<String>,
    /// The privacy line of the form; empty: the service's own
    #[arg(long, value_name = "TEXT")]
    privacy: Option<String>,
    /// Whether readers vote on comments
    #[arg(long, value_name = "true|false")]
    votes: Option<bool>,
    /// Reactions to articles, with commas between, like `like,love`; empty: none
    #[arg(long, value_name = "NAMES")]
    reactions: Option<String>,
    /// So many visitors who flag a comment hold it for another look; 0: none do
    #[arg(long, value_name = "N")]
    flags_to_hold: Option<i64>,
}

pub async fn run(config: &Config, command: Command) -> Result<(), Failure> {
    match command {
        Command::Add(add) => {
            // What is wrong in itself makes no database.
            SiteKey::parse(&add.key).map_err(|fault| Failure::Usage(fault.message.into_owned()))?;
            let raw = RawSite {
                name: Some(add.name),
                url: add.url.map_or(Change::Keep, Change::Set),
                origins: Some(add.origins),
                ..RawSite::default()
            };
            raw.check(&config.fields).map_err(usage)?;
            let site = open(config).await?.make_site(&add.key, order(raw)).await.map_err(usage)?;
            say(&format!("added {}", site.key.as_str()))
        }
        Command::List => open_existing(config).await?.sites.all().iter().try_for_each(|site| say(&line(site))),
        Command::Set(set) => {
            let service = open_existing(config).await?;
            let unknown = |_| Failure::Failed(format!("there is no site {}; see: afterword site list", set.key));
            let key = service.sites.by_key(&set.key).map_err(unknown)?.key.clone();
            let site = service.change_site(&key, order(set.raw()?), None).await.map_err(usage)?;
            say(&line(&site))
        }
    }
}

impl Set {
    fn raw(self) -> Result<RawSite, Failure> {
        let pair = |text: &String| {
            let (name, value) = text.split_once('=')?;
            Some((name.to_owned(), Some(value.parse().ok()?)))
        };
        let lengths: Option<Vec<_>> = self.lengths.iter().map(pair).collect();
        let lengths = lengths.ok_or_else(|| Failure::Usage("--length is like body_min=20".to_owned()))?;
        let retention: Option<Vec<_>> = self.retention.iter().map(pair).collect();
        let retention = retention.ok_or_else(|| Failure::Usage("--retention is like sender_days=90".to_owned()))?;
        // In place of those before: what is not given goes.
        let none = ["name_min", "name_max", "body_min", "body_max"].map(|name| (name.to_owned(), None));
        let lengths = given(lengths).map(|lengths| none.into_iter().chain(lengths).collect());
        Ok(RawSite {
            name: self.name,
            url: self.url.map_or(Change::Keep, Change::Set),
            origins: given(self.origins),
            moderation: self.moderation,
            articles: self.articles,
            language: self.language,
            settings: RawSettings {
                required_fields: given(self.required),
                lengths,
                close_after_days: self.close_after,
                languages: given(self.languages),
                retention: given(retention),
                privacy_text: self.privacy,
                feedback: RawFeedback {
                    votes: self.votes,
                    reactions: self.reactions.map(|names| words(&names)),
                    flags_to_hold: self.flags_to_hold,
                },
                ..RawSettings::default()
            },
        })
    }
}

/// Options that may be given more than once, if they were.
fn given<T>(list: Vec<T>) -> Option<Vec<T>> {
    Some(list).filter(|list| !list.is_empty())
}

/// Names between commas.
fn words(text: &str) -> Vec<String> {
    text.split(',').map(str::trim).filter(|name| !name.is_empty()).map(str::to_owned).collect()
}

fn order(raw: RawSite) -> SiteOrder {
    SiteOrder { raw, faults: Vec::new() }
}

/// The options by the fields that they fill.
const OPTIONS: &[(&str, &str)] = &[
    ("origins", "origin"),
    ("required_fields", "required"),
    ("lengths", "length"),
    ("close_after_days", "close-after"),
    ("languages", "expect-language"),
    ("retention", "retention"),
    ("privacy_text", "privacy"),
    ("flags_to_hold", "flags-to-hold"),
];

/// Faults of fields are wrong usage; the rest is what it is.
fn usage(error: Error) -> Failure {
    let Error::Invalid(faults) = error else { return error.into() };
    let told = faults.iter().map(|fault| {
        let named = OPTIONS.iter().find(|(field, _)| *field == fault.field).map(|(_, option)| *option);
        format!("--{}: {}", named.unwrap_or(&fault.field), fault.message)
    });
    Failure::Usage(told.collect::<Vec<_>>().join("\n"))
}

fn line(site: &Site) -> String {
    let origins: Vec<_> = site.origins.iter().map(Origin::as_str).collect();
    format!(
        "{}\t{}\t{}\t{}\t{}",
        site.key.as_str(),
        site.name,
        site.url.as_deref().unwrap_or("-"),
        site.policy.as_str(),
        if origins.is_empty() { "-".to_owned() } else { origins.join(" ") }
    )
}
