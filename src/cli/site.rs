//! `site add`, `site list`, `site set`.

use clap::{Args, Subcommand};

use super::{Failure, open, open_existing, say};
use crate::config::Config;
use crate::domain::site::{ArticlePolicy, Policy, Site, SiteKey};
use crate::domain::web::{Origin, absolute_http};
use crate::service::sites::NewSite;

#[derive(Subcommand)]
pub enum Command {
    /// Add a site
    #[command(
        after_help = "Example:\n  afterword site add blog --name \"My blog\" --url https://blog.example \\\n    \
        --origin https://www.blog.example"
    )]
    Add(Add),
    /// List all sites: key, name, address, what waits for a moderator, further origins
    #[command(after_help = "Example, the keys alone:\n  afterword site list | cut -f1")]
    List,
    /// Change a site; what is not named stays
    #[command(after_help = "Example, to publish at once what known authors write:\n  \
        afterword site set blog --moderation new_authors")]
    Set(Set),
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
}

pub async fn run(config: &Config, command: Command) -> Result<(), Failure> {
    match command {
        Command::Add(add) => {
            let new = NewSite {
                key: SiteKey::parse(&add.key).map_err(|fault| Failure::Usage(fault.message.into_owned()))?,
                name: checked_name(&add.name)?,
                url: add.url.as_deref().map(checked_url).transpose()?,
                origins: checked_origins(&add.origins)?,
            };
            let site = open(config).await?.add_site(new).await?;
            say(&format!("added {}", site.key.as_str()))
        }
        Command::List => open_existing(config).await?.sites.all().iter().try_for_each(|site| say(&line(site))),
        Command::Set(set) => {
            let service = open_existing(config).await?;
            let unknown = |_| Failure::Failed(format!("there is no site {}; see: afterword site list", set.key));
            let mut site = Site::clone(&*service.sites.by_key(&set.key).map_err(unknown)?);
            change(&mut site, &set)?;
            let site = service.update_site(site).await?;
            say(&line(&site))
        }
    }
}

fn change(site: &mut Site, set: &Set) -> Result<(), Failure> {
    if let Some(name) = &set.name {
        site.name = checked_name(name)?;
    }
    if let Some(url) = &set.url {
        site.url = Some(checked_url(url)?);
    }
    if !set.origins.is_empty() {
        site.origins = checked_origins(&set.origins)?;
    }
    if let Some(name) = &set.moderation {
        site.policy = Policy::from_name(name).ok_or_else(|| usage("--moderation is `all`, `new_authors` or `none`"))?;
    }
    if let Some(name) = &set.articles {
        site.articles = ArticlePolicy::from_name(name).ok_or_else(|| usage("--articles is any or known"))?;
    }
    Ok(())
}

fn usage(text: &str) -> Failure {
    Failure::Usage(text.to_owned())
}

fn checked_name(name: &str) -> Result<String, Failure> {
    let name = name.split_whitespace().collect::<Vec<_>>().join(" ");
    let fits = (1..=100).contains(&name.chars().count()) && !name.chars().any(char::is_control);
    if fits { Ok(name) } else { Err(usage("--name is 1 to 100 characters on one line")) }
}

fn checked_url(url: &str) -> Result<String, Failure> {
    absolute_http(url).map(|_| url.to_owned()).ok_or_else(|| usage("--url must start with https:// or http://"))
}

fn checked_origins(origins: &[String]) -> Result<Vec<Origin>, Failure> {
    let parse = |text: &String| {
        Origin::parse(text)
            .ok_or_else(|| usage("--origin is a scheme and a host, like https://www.blog.example, without a path"))
    };
    origins.iter().map(parse).collect()
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
