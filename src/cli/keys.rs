//! `keys`: a new secret key while the service runs, and an end for the older ones.

use std::future::Future;
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
            patiently(|| service.use_announced_key()).await?;
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
    let mut done = 0;
    for _ in 0..PASSES {
        let pass = pass(service, &mut done).await?;
        // Since the move nothing comes under an older key, so what a whole pass has not found is not there.
        if pass.is_first && pass.passed_over == 0 {
            service.end_rotation().await?;
            report(done, pass, file)?;
            return Ok(done);
        }
        tokio::time::sleep(MOMENT).await;
    }
    Err(Failure::Failed("values are still under an older key: run afterword keys rotate again".to_owned()))
}

/// Goes through all rows that are left of a pass; `is_first` says whether those are all.
async fn pass(service: &Service, done: &mut i64) -> Result<Batch, Failure> {
    let mut pass: Option<Batch> = None;
    loop {
        let batch = patiently(|| service.reseal_some()).await?;
        *done += batch.done;
        tell(*done, batch.is_last);
        let so_far = pass.map_or(batch, |before| before.and(batch));
        if batch.is_last {
            return Ok(so_far);
        }
        pass = Some(so_far);
        tokio::time::sleep(PAUSE).await;
    }
}

/// Tries again while the database is busy.
async fn patiently<T, F: Future<Output = Result<T, Error>>>(work: impl Fn() -> F) -> Result<T, Error> {
    for _ in 0..TRIES {
        match work().await {
            Err(Error::Busy) => tokio::time::sleep(Duration::from_secs(1)).await,
            done => return done,
        }
    }
    work().await
}

/// Says how far it is while somebody watches.
fn tell(done: i64, is_last: bool) {
    let mut errors = std::io::stderr();
    if errors.is_terminal() {
        // Nobody reads a closed standard error.
        let _ = write!(errors, "\r{done} values done   {}", if is_last { "\n" } else { "" });
    }
}

fn report(done: i64, pass: Batch, file: &str) -> Result<(), Failure> {
    let undone = match (pass.broken, pass.lost) {
        (0, 0) => "all lie under the current key".to_owned(),
        (broken, lost) => format!("left as they are: {broken} that do not open, {lost} whose key is not in {file}"),
    };
    say(&format!("{done} values were sealed anew; {undone}"))?;
    remark(&format!(
        "Copy {file} to where you keep it apart from the backups. Its older keys stay for author tokens and older backups; \
         to end them, because somebody may know them: afterword keys forget --help"
    ));
    Ok(())
}
