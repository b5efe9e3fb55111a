//! `keys`: a new secret key while the service runs, and an end for the older ones.

use std::io::{IsTerminal, Write};
use std::time::Duration;

use clap::Subcommand;

use super::{Failure, open_existing, remark, say};
use crate::config::Config;
use crate::error::Error;
use crate::service::Service;
use crate::service::rotation::{Batch, KeyStatus};

/// Instances look at the key file and the database every half second; this is four looks.
const MOMENT: Duration = Duration::from_secs(2);

/// So often an instance without the new key is waited for: ten minutes, and a mounted secret needs one or two.
const WAITS: usize = 300;

/// The service's writer gets this long between two transactions.
const PAUSE: Duration = Duration::from_millis(50);

/// A database that is busy is asked again this often, a second apart.
const TRIES: usize = 30;

/// All rows are gone through this often at most; rows that others were working on are met by the next pass.
const PASSES: usize = 10;

#[derive(Subcommand)]
pub enum Command {
    /// Make a new key, and seal everything private with it, while the service runs
    #[command(after_help = "Example:\n  afterword keys rotate\n\nThe new key becomes the first line of the key file. \
        All instances must have it before it is used:\nthose on this file notice by themselves; for others, copy the \
        file. The command waits until no\nrunning instance lacks it. It may be stopped at any time; run again, it goes \
        on. Older keys stay\nin the file for author tokens and backups: afterword keys forget --help")]
    Rotate,
    /// Take all keys but the current one out of the key file
    #[command(
        after_help = "Example, after a key was seen by somebody who should not have:\n  afterword keys rotate\n  \
        afterword keys forget\n\nIt ends what older keys still do. Author tokens from before the rotation stop working, \
        so their\nholders cannot edit or delete those comments. Requests from before it are not known again by their\n\
        Idempotency-Key, nor doubles by their text. The pictures beside names change. A backup from before\nthe rotation \
        needs a copy of the key file from before."
    )]
    Forget,
}

pub async fn run(config: &Config, command: Command) -> Result<(), Failure> {
    let service = open_existing(config).await?;
    let mut held = service.keys.hold_file()?;
    // Whoever held the file before may have moved on.
    service.follow_used_key().await?;
    let file = config.secrets.key_file.display().to_string();
    match command {
        Command::Forget => {
            refuse_while_needed(&service.key_status().await?)?;
            service.keys.forget_others(&mut held)?;
            say(&format!("{file} holds the current key alone"))
        }
        Command::Rotate => {
            let status = service.key_status().await?;
            let has_begun = service.is_resealing().await?;
            if has_begun || (status.left > 0 && !status.first_is_unused) {
                remark("Going on with the rotation that has begun.");
                if reseal(&service, &file).await? > 0 || has_begun {
                    return Ok(());
                }
            }
            if !status.first_is_unused {
                service.keys.add_first(&mut held)?;
            }
            wait_for_instances(&service, &file).await?;
            service.use_announced_key().await?;
            remark("Everything new is sealed with the new key.");
            reseal(&service, &file).await.map(|_| ())
        }
    }
}

fn refuse_while_needed(status: &KeyStatus) -> Result<(), Failure> {
    match status {
        KeyStatus { is_rotating: true, .. } | KeyStatus { first_is_unused: true, .. } => {
            Err(Failure::Failed("a rotation has begun and not ended: afterword keys rotate".to_owned()))
        }
        KeyStatus { left, .. } if *left > 0 => {
            Err(Failure::Failed(format!("{left} values still need an older key: afterword keys rotate")))
        }
        KeyStatus { others: 0, .. } => Err(Failure::Failed("there is no older key in the file".to_owned())),
        _ => Ok(()),
    }
}

/// Announces the new key until nobody has said that it is missing.
async fn wait_for_instances(service: &Service, file: &str) -> Result<(), Failure> {
    for round in 0..WAITS {
        service.announce_key().await?;
        tokio::time::sleep(MOMENT).await;
        if !service.somebody_lacks_the_key().await? {
            return Ok(());
        }
        if round == 0 {
            remark(&format!(
                "An instance of the service does not have the new key, or may not read it: copy {file} to its machine. \
                 This waits for it; the old key is used until then."
            ));
        }
    }
    Err(Failure::Failed(format!(
        "an instance of the service still lacks the first line of {file}: give it the file and run the command again. \
         The old key is still used"
    )))
}

/// Seals everything with the current key, and ends the rotation. Returns the number of values.
async fn reseal(service: &Service, file: &str) -> Result<i64, Failure> {
    // Until they look again, instances seal with the key from before.
    tokio::time::sleep(MOMENT).await;
    let mut progress = Progress { done: 0, left: service.key_status().await?.left };
    for _ in 0..PASSES {
        let broken = pass(service, &mut progress).await?;
        let status = service.key_status().await?;
        if status.left <= broken {
            service.end_rotation().await?;
            report(&progress, &status, file)?;
            return Ok(progress.done);
        }
        tokio::time::sleep(MOMENT).await;
    }
    let left = service.key_status().await?.left;
    Err(Failure::Failed(format!("{left} values are still under an older key: run afterword keys rotate again")))
}

/// Goes through all rows that are left of a pass. Returns how many values do not open.
async fn pass(service: &Service, progress: &mut Progress) -> Result<i64, Failure> {
    let mut broken = 0;
    loop {
        let batch = patiently(service).await?;
        broken += batch.broken;
        progress.add(batch.done);
        if batch.is_last {
            Progress::end();
            return Ok(broken);
        }
        tokio::time::sleep(PAUSE).await;
    }
}

async fn patiently(service: &Service) -> Result<Batch, Error> {
    for _ in 0..TRIES {
        match service.reseal_some().await {
            Err(Error::Busy) => tokio::time::sleep(Duration::from_secs(1)).await,
            done => return done,
        }
    }
    service.reseal_some().await
}

/// Told while somebody watches.
struct Progress {
    done: i64,
    left: i64,
}

impl Progress {
    fn add(&mut self, values: i64) {
        self.done += values;
        if std::io::stderr().is_terminal() {
            let left = (self.left - self.done).max(0);
            let _ = write!(std::io::stderr(), "\r{} values done, {left} left   ", self.done);
        }
    }

    fn end() {
        if std::io::stderr().is_terminal() {
            let _ = writeln!(std::io::stderr());
        }
    }
}

fn report(progress: &Progress, status: &KeyStatus, file: &str) -> Result<(), Failure> {
    let undone = match (status.left, status.lost) {
        (0, 0) => "all lie under the current key".to_owned(),
        (broken, lost) => format!("left as they are: {broken} that do not open, {lost} whose key is not in {file}"),
    };
    say(&format!("{} values were sealed anew; {undone}", progress.done))?;
    remark(&format!(
        "Copy {file} to where you keep it apart from the backups. Its older keys stay for author tokens and older backups; \
         to end them, because somebody may know them: afterword keys forget --help"
    ));
    Ok(())
}
