//! `people`: a person's data by their e-mail address, and `vacuum`, after which nothing of what was erased is left in the
//! file.

use std::io::Write;

use clap::{Args, Subcommand};

use super::{Failure, nothing_there, open_existing, remark, say};
use crate::app::database_settings;
use crate::config::Config;
use crate::domain::comment::Via;
use crate::domain::email::Email;
use crate::domain::ids::SiteId;
use crate::domain::text::tidy;
use crate::service::Service;
use crate::service::erasure::Eraser;
use crate::storage::vacuum;

#[derive(Args)]
pub struct Person {
    /// Their e-mail address; upper and lower case are the same
    #[arg(long)]
    email: String,
    /// On this site alone; without it on all
    #[arg(long, value_name = "KEY")]
    site: Option<String>,
}

#[derive(Subcommand)]
pub enum Command {
    /// Write everything that is stored of a person to standard output, as JSON
    #[command(after_help = "Example:\n  afterword people export --email ann@example.org > ann.json")]
    Export(Person),
    /// Erase everything that is known of a person; comments with replies stay as empty places
    #[command(after_help = "Example:\n  afterword people erase --email ann@example.org\n  afterword vacuum")]
    Erase(Person),
}

pub async fn run(config: &Config, command: Command) -> Result<(), Failure> {
    let service = open_existing(config).await?;
    match command {
        Command::Export(person) => {
            let (email, site) = person.read(&service)?;
            let bytes = service.export_of_address(&email, site).await?;
            let mut out = std::io::stdout().lock();
            out.write_all(&bytes)?;
            Ok(writeln!(out)?)
        }
        Command::Erase(person) => {
            let (email, site) = person.read(&service)?;
            let whose = service.whose(&email, site);
            let erased = service.erase_person(whose, Eraser { account: None, via: Via::Cli }).await?;
            say(&format!("{erased} comments are erased"))?;
            remark(
                "Until afterword vacuum has run, remains may lie in free pages of the database; backups have them, too.",
            );
            Ok(())
        }
    }
}

impl Person {
    fn read(self, service: &Service) -> Result<(Email, Option<SiteId>), Failure> {
        let email = Email::parse(&tidy(&self.email), "--email");
        let email = email.map_err(|fault| Failure::Usage(format!("--email: {}", fault.message)))?;
        let unknown = |key: &String| Failure::Failed(format!("there is no site {key}; see: afterword site list"));
        let site = self.site.as_ref().map(|key| service.sites.by_key(key).map_err(|_| unknown(key))).transpose()?;
        Ok((email, site.map(|site| site.id)))
    }
}

/// Writes the database anew without what was deleted.
pub fn run_vacuum(config: &Config) -> Result<(), Failure> {
    let file = database_settings(config).file()?.ok_or_else(|| {
        Failure::Failed(
            "the database is PostgreSQL: docs/operations.md (Erasing a person) has the statements".to_owned(),
        )
    })?;
    if !file.exists() {
        return Err(nothing_there(config));
    }
    vacuum::vacuum(&file)?;
    say("the database is written anew; nothing of what was deleted is left in it")
}
