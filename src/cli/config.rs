//! `config check`, `config show`.

use clap::Subcommand;

use super::{Failure, remark, say};
use crate::app::database_settings;
use crate::config::{Config, show};
use crate::mail::Mailer;
use crate::mail::templates::Templates;

#[derive(Subcommand)]
pub enum Command {
    /// Say whether the settings are right; if not, which one is wrong
    #[command(after_help = "Example, before a restart:\n  afterword config check --config afterword.toml")]
    Check,
    /// Print the settings in force, without passwords
    #[command(after_help = "Example, one of them:\n  afterword config show | grep public_url")]
    Show,
}

pub fn run(config: &Config, command: &Command) -> Result<(), Failure> {
    match command {
        Command::Check => check(config),
        Command::Show => say(show(config)?.trim_end()),
    }
}

/// Reads what the settings leave to the parsers of others: addresses and templates. Nothing is opened, made or sent.
pub fn read_all(config: &Config) -> Result<(), Failure> {
    database_settings(config).check()?;
    Mailer::new(&config.mail)?;
    Templates::new(&config.mail.templates)?;
    Ok(())
}

fn check(config: &Config) -> Result<(), Failure> {
    read_all(config)?;
    if let Some(doubt) = config.mail.doubtful_sender() {
        remark(&doubt);
    }
    say("The settings are right.")
}
