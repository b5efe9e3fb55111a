//! `config check`, `config show`.

use clap::Subcommand;

use super::{Failure, say};
use crate::config::{Config, ConfigError, show};

#[derive(Subcommand)]
pub enum Command {
    /// Say whether the settings are right; if not, which one is wrong
    Check,
    /// Print the settings in force, without passwords
    Show,
}

pub fn run(command: &Command, loaded: Result<Config, ConfigError>) -> Result<(), Failure> {
    let config = loaded?;
    match command {
        Command::Check => say("The settings are right."),
        Command::Show => say(show(&config)?.trim_end()),
    }
}
