//! The command line: one file per group of commands. Results go to standard output, everything else to standard error.
//! Exit codes: 0 done, 1 failed, 2 wrong usage.

mod account;
mod config;
mod doctor;
mod health;
mod mail;
mod serve;
mod site;

use std::io::Write;
use std::path::PathBuf;
use std::process::ExitCode;
use std::sync::Arc;
use std::time::Duration;

use clap::{Parser, Subcommand};

use crate::app::{install_tls, open_service};
use crate::clock::SystemClock;
use crate::config::{Config, ConfigError, variables};
use crate::error::Error;
use crate::service::Service;

/// Takes comments for articles, holds them for moderation, tells the moderators by mail, and serves what they approve.
#[derive(Parser)]
#[command(name = "afterword", version, max_term_width = 100, after_help = EXAMPLES)]
pub struct Arguments {
    /// A settings file; it names only what differs from the defaults (see `afterword config show`)
    #[arg(long, global = true, value_name = "FILE", env = "AFTERWORD_CONFIG")]
    config: Option<PathBuf>,
    #[command(subcommand)]
    command: Option<Command>,
}

const EXAMPLES: &str = "\
Examples:
  afterword                                      serve on 127.0.0.1:8080 with data/afterword.db
  afterword site add blog --name \"My blog\" --url https://blog.example
  afterword account add --email ann@blog.example --role moderator --site blog
  afterword token create --account ann@blog.example --name laptop
  AFTERWORD__MAIL__TRANSPORT=smtp AFTERWORD__MAIL__SMTP_URL=smtps://user:password@mail.example afterword serve";

#[derive(Subcommand)]
enum Command {
    /// Answer requests and send mail until stopped; the default. Brings the database up to date first
    Serve,
    /// Bring the database up to date, and nothing else
    Migrate,
    /// Ask a running service on this machine whether it is alive; for containers
    Health,
    /// Look at the settings
    #[command(subcommand)]
    Config(config::Command),
    /// Sites: the blogs that this service takes comments for
    #[command(subcommand)]
    Site(site::Command),
    /// Accounts of moderators and administrators
    #[command(subcommand)]
    Account(account::AccountCommand),
    /// Access tokens, for programs that moderate
    #[command(subcommand)]
    Token(account::TokenCommand),
    /// Mail
    #[command(subcommand)]
    Mail(mail::Command),
    /// Look for what is wrong with this installation, and say what to do
    Doctor,
}

/// Why a command did not do what it should.
#[derive(Debug, thiserror::Error)]
pub enum Failure {
    /// It failed; exit code 1.
    #[error("{0}")]
    Failed(String),
    /// It was called wrongly; exit code 2.
    #[error("{0}")]
    Usage(String),
}

impl From<ConfigError> for Failure {
    fn from(error: ConfigError) -> Self {
        Self::Failed(error.0)
    }
}

impl From<std::io::Error> for Failure {
    fn from(error: std::io::Error) -> Self {
        Self::Failed(error.to_string())
    }
}

impl From<Error> for Failure {
    fn from(error: Error) -> Self {
        match error {
            // The operator is the one who may see the cause.
            Error::Internal(cause) => Self::Failed(cause.to_string()),
            Error::Busy => Self::Failed("the database is busy or away; try again in a moment".to_owned()),
            Error::Invalid(faults) => {
                let told: Vec<_> = faults.iter().map(|fault| format!("{}: {}", fault.field, fault.message)).collect();
                Self::Usage(told.join("; "))
            }
            other => Self::Failed(other.to_string()),
        }
    }
}

/// Runs the command of the process's arguments.
pub fn run() -> ExitCode {
    let arguments = Arguments::parse();
    match dispatch(arguments) {
        Ok(()) => ExitCode::SUCCESS,
        Err(failure) => {
            // Nobody reads a closed standard error.
            let _ = writeln!(std::io::stderr(), "afterword: {failure}");
            ExitCode::from(match failure {
                Failure::Failed(_) => 1,
                Failure::Usage(_) => 2,
            })
        }
    }
}

fn dispatch(arguments: Arguments) -> Result<(), Failure> {
    install_tls();
    let config = Config::load(arguments.config.as_deref(), variables(std::env::vars_os())?)?;
    let command = arguments.command.unwrap_or(Command::Serve);
    run_to_end(async {
        match command {
            Command::Serve => serve::run(&config).await,
            Command::Migrate => serve::migrate(&config).await,
            Command::Health => health::run(&config).await,
            Command::Site(command) => site::run(&config, command).await,
            Command::Account(command) => account::run_account(&config, command).await,
            Command::Token(command) => account::run_token(&config, command).await,
            Command::Mail(command) => mail::run(&config, command).await,
            Command::Doctor => doctor::run(&config).await,
            Command::Config(command) => config::run(&config, &command),
        }
    })
}

/// What still blocks a thread when a command has ended gets this long: a name look-up that nobody answers takes half a
/// minute, and a runtime that is dropped waits for it. A stop of the service takes ten seconds at most with it.
const LEAVE_BEHIND: Duration = Duration::from_millis(500);

/// Runs a command on a runtime of its own.
fn run_to_end(command: impl Future<Output = Result<(), Failure>>) -> Result<(), Failure> {
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build()?;
    let ended = runtime.block_on(command);
    runtime.shutdown_timeout(LEAVE_BEHIND);
    ended
}

/// The use cases over the database of the settings.
async fn open(config: &Config) -> Result<Arc<Service>, Failure> {
    Ok(open_service(config, Arc::new(SystemClock::default())).await?)
}

/// Writes a result line. A reader that has gone is no error.
fn say(line: &str) -> Result<(), Failure> {
    match writeln!(std::io::stdout(), "{line}") {
        Err(error) if error.kind() == std::io::ErrorKind::BrokenPipe => Ok(()),
        done => Ok(done?),
    }
}

/// Writes a remark that is no result.
fn remark(line: &str) {
    let _ = writeln!(std::io::stderr(), "{line}");
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_look_up_that_hangs_does_not_hold_up_the_end() {
        let (end, ended) = std::sync::mpsc::channel::<()>();
        let (tell, told) = std::sync::mpsc::channel();
        std::thread::spawn(move || {
            let done = run_to_end(async {
                tokio::task::spawn_blocking(move || ended.recv());
                tokio::task::yield_now().await;
                Ok(())
            });
            tell.send(done.is_ok()).unwrap();
        });
        assert!(told.recv_timeout(Duration::from_secs(30)).expect("it ends while the look-up still hangs"));
        drop(end);
    }
}
