//! `copy`: a whole database into another one, on either side SQLite or PostgreSQL, and a check that they are equal.

use std::io::{IsTerminal, Write};
use std::time::Duration;

use secrecy::{ExposeSecret, SecretString};

use super::keep::nobody_serves;
use super::{Failure, remark, say};
use crate::clock::{Clock, SystemClock};
use crate::config::{Config, redacted};
use crate::error::Error;
use crate::service::copy::{Compared, Copy, Found, open_source, open_target};
use crate::storage::DatabaseSettings;

/// From where and where to.
#[derive(clap::Args)]
pub struct Way {
    /// The database to copy: sqlite:PATH or postgres://…; it is only read
    #[arg(long, value_name = "URL", env = "AFTERWORD_COPY_FROM", hide_env_values = true)]
    from: SecretString,
    /// Where to: a database without data. An SQLite file is made, and so are the tables
    #[arg(long, value_name = "URL", env = "AFTERWORD_COPY_TO", hide_env_values = true)]
    to: SecretString,
}

pub async fn run(config: &Config, way: Way) -> Result<(), Failure> {
    for (flag, url) in [("--from", &way.from), ("--to", &way.to)] {
        let settings = DatabaseSettings::of(url.expose_secret());
        settings.check().map_err(|error| Failure::Usage(said_of(flag, &error)))?;
    }
    let (from, to) = (name(&way.from)?, name(&way.to)?);
    if from == to {
        return Err(Failure::Usage(format!("--from and --to both name {to}: a copy needs another database")));
    }
    // Where the service of these settings runs, what it takes meanwhile would be missing in the copy.
    let _address = if name(&config.database.url)? == from { nobody_serves(config)? } else { None };
    let told = |flag: &'static str, name: &str| {
        let place = format!("{flag} {name}");
        move |error| failed(&place, error)
    };
    let source = open_source(way.from.expose_secret().to_owned()).await.map_err(told("--from", &from))?;
    let opened = open_target(source, from.clone(), way.to.expose_secret().to_owned()).await;
    let mut copy = match opened.map_err(told("--to", &to))? {
        Found::Copy(copy) => copy,
        Found::Finished => {
            return Err(Failure::Failed(format!(
                "--to {to} holds a finished copy of {from} already: serve it, or name an empty database"
            )));
        }
    };
    copy_rows(&mut copy).await.map_err(told("--to", &to))?;
    let compared = check(&mut copy).await.map_err(told("--to", &to))?;
    tell(&compared)?;
    let rows: u64 = compared.iter().map(|table| table.source.0).sum();
    say(&format!("{rows} rows are in {to}, checked"))?;
    remark(&format!(
        "The key file {} belongs to the copy, too, and is not in it. To serve the copy, let database.url name it.",
        config.secrets.key_file.display()
    ));
    Ok(())
}

async fn copy_rows(copy: &mut Copy) -> Result<(), Error> {
    if copy.begin_anew().await? {
        remark("The last check found differences: the copy begins anew.");
    }
    let (total, there) = copy.rows().await?;
    if copy.goes_on {
        remark(&format!("A copy was begun, and goes on: {there} of {total} rows are there."));
    }
    let mut progress = Progress::begin("copying", total, there);
    while let Some(rows) = copy.copy_page().await? {
        progress.add(rows);
    }
    progress.end();
    let mut progress = Progress::begin("search index", copy.comments().await?, 0);
    loop {
        match copy.index_piece().await? {
            0 => break,
            comments => progress.add(comments as u64),
        }
    }
    progress.end();
    Ok(())
}

async fn check(copy: &mut Copy) -> Result<Vec<Compared>, Error> {
    let (total, _) = copy.rows().await?;
    let mut progress = Progress::begin("checking", total, 0);
    let compared = copy.check(&mut |rows| progress.add(rows)).await?;
    progress.end();
    Ok(compared)
}

/// The tables with rows and checksums. Fails when one is not the same on both sides.
fn tell(compared: &[Compared]) -> Result<(), Failure> {
    let line = |name: &str, (rows, sum): &(u64, String)| say(&format!("{name:<18}{rows:>10}  {sum}"));
    say(&format!("{:<18}{:>10}  SHA-256", "table", "rows"))?;
    for table in compared {
        line(table.table, &table.source)?;
        if !table.is_equal() {
            line("  in the copy", &table.target)?;
        }
    }
    match compared.iter().filter(|table| !table.is_equal()).count() {
        0 => Ok(()),
        different => Err(Failure::Failed(format!(
            "{different} of {} tables differ: something wrote meanwhile. Stop whatever uses the databases and run the same \
             command again: it begins anew",
            compared.len()
        ))),
    }
}

/// What a database is called here: an absolute path, or an address without its password.
fn name(url: &SecretString) -> Result<String, Failure> {
    let Some(path) = DatabaseSettings::of(url.expose_secret()).file()? else { return Ok(redacted(url)) };
    let path = path.canonicalize().or_else(|_| std::path::absolute(path))?;
    Ok(format!("sqlite:{}", path.display()))
}

/// Errors of opening speak of the setting that names a database; here it is an argument.
fn said_of(place: &str, error: &Error) -> String {
    match error {
        Error::Internal(cause) => match cause.to_string().strip_prefix("database.url") {
            Some(rest) => format!("{place}{rest}"),
            None => format!("{place}: {cause}"),
        },
        other => other.to_string(),
    }
}

fn failed(place: &str, error: Error) -> Failure {
    match error {
        Error::Internal(_) => Failure::Failed(said_of(place, &error)),
        Error::Busy => Failure::Failed(
            "a database is busy, full or away: run the same command again, and the copy goes on where it stopped"
                .into(),
        ),
        other => other.into(),
    }
}

/// Tells on standard error how far something is: in one line that is drawn again on a terminal, else now and then in a new
/// one.
struct Progress {
    what: &'static str,
    total: u64,
    before: u64,
    done: u64,
    clock: SystemClock,
    told: Duration,
    is_terminal: bool,
}

impl Progress {
    /// Something of which `before` was done earlier.
    fn begin(what: &'static str, total: u64, before: u64) -> Self {
        let is_terminal = std::io::stderr().is_terminal();
        Self { what, total, before, done: before, clock: SystemClock::default(), told: Duration::ZERO, is_terminal }
    }

    fn add(&mut self, rows: u64) {
        self.done += rows;
        let now = self.clock.monotonic();
        let pause = if self.is_terminal { Duration::from_millis(100) } else { Duration::from_secs(5) };
        if now.saturating_sub(self.told) >= pause {
            self.told = now;
            self.draw(&self.line(now));
        }
    }

    /// Leaves what was drawn, if it was.
    fn end(self) {
        if self.is_terminal && self.told > Duration::ZERO {
            self.draw(&self.line(self.clock.monotonic()));
            let _ = writeln!(std::io::stderr());
        }
    }

    fn draw(&self, line: &str) {
        // Nobody reads a closed standard error.
        let _ = if self.is_terminal {
            write!(std::io::stderr(), "\r{line:<60}")
        } else {
            writeln!(std::io::stderr(), "{line}")
        };
    }

    fn line(&self, now: Duration) -> String {
        let done = self.done.min(self.total);
        let millis = u64::try_from(now.as_millis()).unwrap_or(u64::MAX).max(1);
        let rate = (self.done - self.before).saturating_mul(1_000) / millis;
        let seconds = (self.total - done) / rate.max(1);
        let percent = done.saturating_mul(100) / self.total.max(1);
        format!("{}: {percent} %, {rate} rows/s, {}:{:02} left", self.what, seconds / 60, seconds % 60)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn progress_says_how_far_how_fast_and_how_long() {
        let mut progress = Progress::begin("copying", 10_000, 2_000);
        progress.done = 4_000;
        assert_eq!(progress.line(Duration::from_secs(20)), "copying: 40 %, 100 rows/s, 1:00 left");
        // A source that grew meanwhile.
        progress.done = 11_000;
        assert_eq!(progress.line(Duration::from_secs(90)), "copying: 100 %, 100 rows/s, 0:00 left");
        assert_eq!(Progress::begin("checking", 0, 0).line(Duration::ZERO), "checking: 0 %, 0 rows/s, 0:00 left");
    }
}
