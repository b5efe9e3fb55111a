//! `doctor`: looks at an installation from all sides and says what to do about what it finds.

use std::path::Path;
use std::sync::Arc;

use secrecy::ExposeSecret;

use super::{Failure, OUTDATED, nothing_there, say};
use crate::app::{self, Installed};
use crate::clock::SystemClock;
use crate::config::{Config, Transport};
use crate::domain::comment::Status;
use crate::error::Error;
use crate::mail::templates::Templates;
use crate::service::Service;
use crate::storage::{accounts, migrations, outbox, queue, site_counts};

/// One finding.
struct Finding {
    fine: bool,
    text: String,
}

pub async fn run(config: &Config) -> Result<(), Failure> {
    let mut findings = vec![fine("The settings are right."), key_file(&config.secrets.key_file)];
    match app::open_existing(config, Arc::new(SystemClock::default())).await? {
        Installed::Nothing => return Err(nothing_there(config)),
        // What else there is to see in it, a doctor of its own age would have to say.
        Installed::Outdated => findings.push(look(OUTDATED.to_owned())),
        Installed::Ready(service) => {
            findings.push(fine("The database is up to date."));
            findings.push(whole(&service).await?);
            findings.push(counters(&service).await?);
            findings.push(keys(&service).await?);
            findings.push(people(&service).await?);
            findings.push(outbox(&service).await?);
        }
    }
    findings.extend(mail(config));
    findings.extend(exposure(config));
    for finding in &findings {
        say(&format!("{} {}", if finding.fine { "ok  " } else { "look" }, finding.text))?;
    }
    match findings.iter().filter(|finding| !finding.fine).count() {
        0 => Ok(()),
        count => Err(Failure::Failed(format!("{count} of {} things need a look", findings.len()))),
    }
}

fn fine(text: &str) -> Finding {
    Finding { fine: true, text: text.to_owned() }
}

fn look(text: String) -> Finding {
    Finding { fine: false, text }
}

#[cfg(unix)]
fn key_file(path: &Path) -> Finding {
    use std::os::unix::fs::PermissionsExt;
    match std::fs::metadata(path) {
        Ok(meta) if matches!(meta.permissions().mode() & 0o077, 0) => {
            fine("The secret key is readable by its owner alone.")
        }
        Ok(_) => look(format!("Others can read the secret key: chmod 600 {}", path.display())),
        Err(cause) => look(format!("The secret key {} cannot be looked at: {cause}", path.display())),
    }
}

/// Which keys the sealed values need.
async fn keys(service: &Service) -> Result<Finding, Error> {
    let status = service.key_status().await?;
    Ok(if status.lost > 0 {
        look(format!(
            "{} private values cannot be read: their key is not in the key file. Put the line with it back, below the others.",
            status.lost
        ))
    } else if status.is_rotating || status.first_is_unused || status.left > 0 {
        look(format!(
            "A rotation of the key has not ended; {} private values lie under an older key: afterword keys rotate",
            status.left
        ))
    } else if status.others > 0 {
        fine("No private value needs the older keys in the key file; author tokens may: afterword keys forget --help")
    } else {
        fine("Everything private lies under the current key.")
    })
}

async fn whole(service: &Service) -> Result<Finding, Error> {
    Ok(match service.db.read(migrations::integrity).await? {
        None => fine("The database is whole."),
        Some(what) => look(format!("The database is damaged ({what}): restore it from a backup.")),
    })
}

/// The stored counters against the rows themselves.
async fn counters(service: &Service) -> Result<Finding, Error> {
    let wrong = service
        .db
        .read(|conn| {
            let mut wrong = 0;
            for counts in site_counts::of(conn, None)? {
                let stored = [
                    (Status::Pending, counts.pending),
                    (Status::Approved, counts.approved),
                    (Status::Rejected, counts.rejected),
                    (Status::Spam, counts.spam),
                ];
                for (status, stored) in stored {
                    wrong += usize::from(queue::count(conn, counts.site_id, status)? != stored);
                }
            }
            Ok(wrong)
        })
        .await?;
    Ok(match wrong {
        0 => fine("The counters agree with the comments."),
        _ => look(format!("{wrong} counters disagree with the comments. Please report this as a bug.")),
    })
}

async fn people(service: &Service) -> Result<Finding, Error> {
    let mut without = Vec::new();
    for site in service.sites.all() {
        let id = site.id;
        if service.db.read(move |conn| accounts::mail_recipients(conn, id)).await?.is_empty() {
            without.push(site.key.as_str().to_owned());
        }
    }
    Ok(if without.is_empty() {
        fine("Every site has someone who is told of new comments.")
    } else {
        look(format!(
            "Nobody is told of new comments on: {}. Add a moderator: afterword account add --email … --role moderator --site …",
            without.join(", ")
        ))
    })
}

fn mail(config: &Config) -> Vec<Finding> {
    let mut findings = vec![match config.mail.transport {
        Transport::Smtp => fine("Mail goes out by SMTP. Try it: afterword mail test ADDRESS"),
        Transport::File => look(format!(
            "Mail is written to {} and goes nowhere else: set mail.transport and mail.smtp_url to send it.",
            config.mail.dir.display()
        )),
    }];
    findings.extend(config.mail.doubtful_sender().map(look));
    findings.push(match Templates::new(&config.mail.templates) {
        Ok(_) => fine("The mail templates are right."),
        Err(Error::Internal(cause)) => look(cause.to_string()),
        Err(error) => look(error.to_string()),
    });
    findings
}

async fn outbox(service: &Service) -> Result<Finding, Error> {
    let depth = service.db.read(outbox::depth).await?;
    let failed = service.db.read(|conn| outbox::failed(conn, 1)).await?;
    Ok(match failed.first() {
        None => Finding { fine: true, text: format!("No mail has failed; {} wait.", depth.waiting) },
        Some(last) => look(format!(
            "{} mails were given up; the last one: {}",
            depth.failed,
            last.last_error.as_deref().unwrap_or("no reason was recorded")
        )),
    })
}

fn exposure(config: &Config) -> Vec<Finding> {
    let mut findings = Vec::new();
    if !config.is_local() && config.server.public_url.starts_with("http://") {
        findings.push(look("server.public_url is http://: what visitors type travels in plain text.".to_owned()));
    }
    if !config.is_local() && config.server.listen.ip().is_loopback() && config.server.trusted_proxies.is_empty() {
        findings.push(look(
            "A proxy is in front, and server.trusted_proxies is empty: all visitors count as one address.".to_owned(),
        ));
    }
    let database = &config.database;
    for (setting, url) in
        [("url", &database.url), ("direct_url", &database.direct_url), ("read_url", &database.read_url)]
    {
        let url = url.expose_secret();
        if url.contains("sslmode=disable") {
            findings.push(look(format!("database.{setting} says sslmode=disable: all data travels in plain text.")));
        }
        if url.contains("sslmode=require") || url.contains("sslmode=prefer") {
            findings.push(look(format!(
                "database.{setting} does not verify who the server is: say sslmode=verify-full, or nothing."
            )));
        }
    }
    findings
}
