//! The command line: one file per group of commands. Results go to standard output, everything else to standard error.
//! Exit codes: 0 done, 1 failed, 2 wrong usage.

mod account;
mod config;
mod copy;
mod doctor;
mod export;
mod health;
mod keep;
mod keys;
mod mail;
mod mail_choice;
mod people;
mod rules;
mod serve;
mod site;

use std::io::Write;
use std::path::PathBuf;
use std::process::ExitCode;
use std::sync::Arc;
use std::time::Duration;

use clap::{Parser, Subcommand};

use crate::app::{self, Installed, install_tls, open_service};
use crate::clock::SystemClock;
use crate::config::{Config, ConfigError, redacted, variables};
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
Examples, from an empty folder to a blog with a moderator:
  afterword                     serve on http://127.0.0.1:8080, with all data in data/
  afterword site add blog --name \"My blog\" --url https://blog.example
  afterword account add --email ann@blog.example --role moderator --site blog
  afterword token create --account ann@blog.example --name laptop
  afterword doctor              what is still missing or wrong

Settings are in a file (--config FILE) or in variables; `afterword config show` prints all of them:
  AFTERWORD__SERVER__LISTEN=0.0.0.0:80 AFTERWORD__SERVER__PUBLIC_URL=https://c.blog.example \\
  afterword serve

Exit codes: 0 done, 1 failed, 2 wrong usage. Each command has a --help of its own.";

#[derive(Subcommand)]
enum Command {
    /// Answer requests and send mail until stopped; the default. Brings the database up to date first
    #[command(after_help = "Example:\n  afterword serve --config /etc/afterword.toml\n\nIt stops on SIGTERM \
        or Ctrl-C within ten seconds; answers that have begun are finished.")]
    Serve,
    /// Bring the database up to date, and nothing else
    #[command(after_help = "Example, before the new version of the service starts:\n  afterword migrate")]
    Migrate,
    /// Ask a running service on this machine whether it is alive; for containers
    #[command(after_help = "Example, in a Dockerfile:\n  HEALTHCHECK CMD [\"afterword\", \"health\"]\n\nBy hand:\n  \
        afterword health && echo alive")]
    Health,
    /// Look at the settings
    #[command(subcommand, after_help = "Example:\n  afterword config check --config afterword.toml")]
    Config(config::Command),
    /// Sites: the blogs that this service takes comments for
    #[command(
        subcommand,
        after_help = "Example:\n  afterword site add blog --name \"My blog\" --url https://blog.example"
    )]
    Site(site::Command),
    /// Accounts of moderators and administrators
    #[command(subcommand, after_help = "Example:\n  afterword account add --email ann@blog.example --role moderator")]
    Account(account::AccountCommand),
    /// Access tokens, for programs that moderate
    #[command(subcommand, after_help = "Example:\n  afterword token create --account ann@blog.example --name laptop")]
    Token(account::TokenCommand),
    /// Mail
    #[command(subcommand, after_help = "Example:\n  afterword mail test you@example.org")]
    Mail(mail::Command),
    /// Rules that judge comments before a person does
    #[command(subcommand, after_help = "Example:\n  afterword rules import blocklist.txt --site blog")]
    Rules(rules::Command),
    /// Write everything to take along as JSON lines: sites, rules, accounts, articles, authors, comments, the event log
    #[command(after_help = "Example, on either database, while the service runs or not:\n  \
        afterword export comments.jsonl\n\nPublished texts alone, with jq:\n  \
        afterword export - | jq -r 'select(.kind == \"comment\" and .status == \"approved\") | .text.body'\n\n\
        E-mail addresses are readable in it. Passwords, tokens and keys are not in it.")]
    Export {
        /// Where to; `-` is standard output. A file that is there is replaced when the new one is whole
        file: PathBuf,
    },
    /// Copy an SQLite database into one file while the service runs, and check the copy
    #[command(
        after_help = "Example:\n  afterword backup /backups/afterword-$(date +%F).db\n\nA file that is there is \
        never written over. The key file is not in it: keep it in another place."
    )]
    Backup {
        /// Where to
        file: PathBuf,
    },
    /// Put a backup where no database is, after checking it and the key file
    #[command(after_help = "Example, with the service stopped and the key file in its place:\n  \
        afterword restore /backups/afterword-2026-11-22.db")]
    Restore {
        /// The backup
        file: PathBuf,
    },
    /// The secret key: a new one, and an end for older ones
    #[command(subcommand, after_help = "Example, while the service runs:\n  afterword keys rotate")]
    Keys(keys::Command),
    /// What is stored of a person, by their e-mail address: take it out, or erase it
    #[command(subcommand, after_help = "Example:\n  afterword people erase --email ann@example.org")]
    People(people::Command),
    /// Write an SQLite database anew, so that nothing of what was erased is left in the file
    #[command(
        after_help = "Example, while the service runs or not:\n  afterword vacuum\n\nWriters wait meanwhile; it \
        takes as much free space as the database has. Search is slower for some seconds afterwards."
    )]
    Vacuum,
    /// Copy everything into another database, SQLite or PostgreSQL, and check that both are equal
    #[command(after_help = "Example, with the service stopped:\n  \
        afterword copy --from sqlite:data/afterword.db \\\n    --to postgres://afterword:password@db.example/afterword\n\n\
        The same command again goes on where one was cut short. Until a copy is checked, nothing serves it. The \
        variables keep a password from those who may see this machine's command lines.")]
    Copy(copy::Way),
    /// Look for what is wrong with this installation, and say what to do
    #[command(
        after_help = "Example:\n  afterword doctor\n\nEach line begins with `ok` or `look`; with any `look` the \
        exit code is 1. Nothing is changed."
    )]
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
            Error::KeyMissing(what) => Self::Failed(what),
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
    let file = arguments.config;
    let command = arguments.command.unwrap_or(Command::Serve);
    run_to_end(async {
        match command {
            Command::Serve => serve::run(&config, file.as_deref()).await,
            Command::Migrate => serve::migrate(&config).await,
            Command::Health => health::run(&config).await,
            Command::Site(command) => site::run(&config, command).await,
            Command::Account(command) => account::run_account(&config, command).await,
            Command::Token(command) => account::run_token(&config, command).await,
            Command::Mail(command) => mail::run(&config, command).await,
            Command::Rules(command) => rules::run(&config, command).await,
            Command::Export { file } => export::run(&config, &file).await,
            Command::Backup { file } => keep::backup(&config, &file),
            Command::Restore { file } => keep::restore(&config, &file),
            Command::Keys(command) => keys::run(&config, command).await,
            Command::People(command) => people::run(&config, command).await,
            Command::Vacuum => people::run_vacuum(&config),
            Command::Copy(way) => copy::run(&config, way).await,
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

/// The use cases over the database of the settings; what is missing is made. For the commands that may come first.
async fn open(config: &Config) -> Result<Arc<Service>, Failure> {
    Ok(open_service(config, Arc::new(SystemClock::default())).await?)
}

/// The use cases over a database that is there and up to date. In the wrong folder a command must not make a second
/// installation, whose token the service would not know.
async fn open_existing(config: &Config) -> Result<Arc<Service>, Failure> {
    match app::open_existing(config, Arc::new(SystemClock::default())).await? {
        Installed::Ready(service) => Ok(service),
        Installed::Outdated => Err(Failure::Failed(OUTDATED.to_owned())),
        Installed::Nothing => Err(nothing_there(config)),
    }
}

const OUTDATED: &str = "The database is not up to date: afterword migrate";

fn nothing_there(config: &Config) -> Failure {
    let url = redacted(&config.database.url);
    let place = url.strip_prefix("sqlite:").map(|path| std::path::absolute(path.strip_prefix("//").unwrap_or(path)));
    Failure::Failed(match place {
        Some(path) => format!(
            "there is no database at {}: go to the folder of your installation or name its settings with --config FILE; \
             afterword serve makes a new one",
            path.map_or(url, |path| path.display().to_string())
        ),
        None => format!("the database {url} has no tables of afterword: afterword migrate makes them"),
    })
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
