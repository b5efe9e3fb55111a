//! Mail: what it says ([`templates`]), how it is put together ([`message`]) and how it leaves ([`Mailer`]). It knows no
//! database and no HTTP. What visitors wrote stands in the body alone, quoted; it makes no header, no link, no image. The links are ours.

pub mod message;
pub mod templates;

use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use arc_swap::ArcSwap;
use lettre::transport::smtp::PoolConfig;
use lettre::{AsyncSmtpTransport, AsyncTransport, Tokio1Executor};
use secrecy::ExposeSecret;

use self::message::Mail;
use crate::config;
use crate::disk::{make_folder, sync_folder};
use crate::error::Error;

/// The way by which mails leave.
#[derive(Clone)]
pub enum Mailer {
    /// By SMTP, over a pool of connections.
    Smtp(Arc<SmtpPool>),
    /// As `.eml` files in a folder.
    File(PathBuf),
    /// Into memory, for tests.
    Memory(Arc<Mutex<Vec<Mail>>>),
}

/// Why a mail did not leave.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum SendError {
    /// It may later: the server is away, slow, or says so (4xx).
    #[error("{0}")]
    Later(String),
    /// The server refuses it for good (5xx), and does not say that it is the recipient's fault: it may be the server's own
    /// bad minute, or a setting (RFC 5321 §4.2.1 leaves trying again to us).
    #[error("{0}")]
    Refused(String),
    /// It never will: the server says that there is no such recipient.
    #[error("{0}")]
    NoRecipient(String),
}

/// Connections to one mail server.
pub struct SmtpPool {
    settings: config::Mail,
    transport: ArcSwap<AsyncSmtpTransport<Tokio1Executor>>,
}

impl SmtpPool {
    fn new(settings: &config::Mail) -> Result<Self, Error> {
        let transport = ArcSwap::from_pointee(connect(settings)?);
        Ok(Self { settings: settings.clone(), transport })
    }

    /// lettre bounds only the time to connect, and a connection on which a command hangs goes back to its pool, where the
    /// next mail meets it (lettre 0.11.23): so a whole delivery is bounded here, and one that hung takes its pool with it.
    async fn send(&self, mail: &Mail) -> Result<(), SendError> {
        let transport = self.transport.load_full();
        let limit = Duration::from_secs(self.settings.timeout_seconds);
        match tokio::time::timeout(limit, transport.send(mail.message.clone())).await {
            Ok(Ok(_)) => Ok(()),
            Ok(Err(error)) => Err(smtp_failure(&error)),
            Err(_) => {
                if let Ok(fresh) = connect(&self.settings) {
                    self.transport.store(Arc::new(fresh));
                }
                Err(SendError::Later("the mail server did not answer in time".to_owned()))
            }
        }
    }
}

fn connect(settings: &config::Mail) -> Result<AsyncSmtpTransport<Tokio1Executor>, Error> {
    let told = |cause: lettre::transport::smtp::Error| {
        Error::internal(format!("mail.smtp_url is not like smtp://…, smtp://…?tls=required or smtps://…: {cause}"))
    };
    let builder = AsyncSmtpTransport::<Tokio1Executor>::from_url(settings.smtp_url.expose_secret()).map_err(told)?;
    // Servers close idle connections, and a pooled one that was closed fails the mail that meets it.
    let pool = PoolConfig::new().max_size(4).idle_timeout(Duration::from_secs(20));
    Ok(builder.timeout(Some(Duration::from_secs(settings.timeout_seconds))).pool_config(pool).build())
}

impl Mailer {
    /// The mailer of the settings.
    pub fn new(settings: &config::Mail) -> Result<Self, Error> {
        match settings.transport {
            config::Transport::File => Ok(Self::File(settings.dir.clone())),
            config::Transport::Smtp => Ok(Self::Smtp(Arc::new(SmtpPool::new(settings)?))),
        }
    }

    /// Sends a mail, or says in the other side's words why not. E-mail addresses are cut out of these words.
    pub async fn send(&self, mail: &Mail) -> Result<(), SendError> {
        match self {
            Self::Smtp(pool) => pool.send(mail).await,
            Self::File(folder) => {
                let (shown, folder, mail) = (folder.display(), folder.clone(), mail.clone());
                let written = tokio::task::spawn_blocking(move || write_file(&folder, &mail)).await;
                written
                    .map_err(|_| SendError::Later("writing the mail panicked".to_owned()))?
                    .map_err(|cause| SendError::Later(format!("mail.dir {shown}: {cause}")))
            }
            Self::Memory(sent) => {
                sent.lock().unwrap_or_else(PoisonError::into_inner).push(mail.clone());
                Ok(())
            }
        }
    }
}

/// What a failure means. A refusal that is about the operator's settings (authentication, TLS) passes once they are mended,
/// whatever its number.
fn smtp_failure(error: &lettre::transport::smtp::Error) -> SendError {
    let mut words = error.to_string();
    // It prints its first cause itself.
    let cause = std::error::Error::source(error);
    let mut deeper = cause.and_then(std::error::Error::source);
    while let Some(cause) = deeper {
        words = format!("{words}: {cause}");
        deeper = cause.source();
    }
    let words = without_addresses(&words);
    match error.status().map(u16::from) {
        Some(530 | 534 | 535 | 538) => SendError::Later(words),
        Some(code) if error.is_permanent() => {
            let said = cause.map(ToString::to_string).unwrap_or_default();
            if speaks_of_recipient(code, &said) { SendError::NoRecipient(words) } else { SendError::Refused(words) }
        }
        _ => SendError::Later(words),
    }
}

/// Whether a refusal is about the recipient. An enhanced status code (RFC 3463) tells: 5.1.x is about addresses, of which
/// 5.1.7 and 5.1.8 are about the sender's. Without one 551 and 553 do (RFC 5321 §4.2.3); 550 alone may mean anything.
fn speaks_of_recipient(code: u16, said: &str) -> bool {
    let first = said.split_whitespace().next().unwrap_or_default();
    let numbers: Option<Vec<u16>> = first.split('.').map(|number| number.parse().ok()).collect();
    match numbers.as_deref() {
        Some([5, 1, detail]) => !matches!(detail, 7 | 8),
        Some([5, _, _]) => false,
        _ => matches!(code, 551 | 553),
    }
}

/// Mail servers like to repeat addresses in what they say, and filters the links that they dislike, whose tokens decide:
/// neither may reach a log.
fn without_addresses(words: &str) -> String {
    let shown = |word: &str| match word {
        word if word.contains('@') => "<address>".to_owned(),
        word if ["/m/", "/u/", "/c/", "/n/", "/me/"].iter().any(|page| word.contains(page)) => "<link>".to_owned(),
        word => word.to_owned(),
    };
    let mut text = words.split_whitespace().map(shown).collect::<Vec<_>>().join(" ");
    if let Some((at, _)) = text.char_indices().nth(500) {
        text.truncate(at);
    }
    text
}

/// Writes the whole file beside its place, then moves it there: nobody ever reads half a mail. A mail that is sent again has
/// the same name.
fn write_file(folder: &Path, mail: &Mail) -> std::io::Result<()> {
    use std::io::Write;
    make_folder(folder)?;
    let draft = folder.join(format!(".{}.part", mail.id));
    let mut options = std::fs::OpenOptions::new();
    options.write(true).create(true).truncate(true);
    #[cfg(unix)]
    std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
    let mut file = options.open(&draft)?;
    file.write_all(&mail.message.formatted())?;
    file.sync_all()?;
    std::fs::rename(&draft, folder.join(format!("{}.eml", mail.id)))?;
    // The row that asked for this mail is finished next, and stays finished.
    sync_folder(folder)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_is_about_the_recipient_ends_at_once() {
        for (code, said, expected) in [
            (550, "5.1.1 <a@example.org>: no such user", true),
            (550, "5.1.10 null MX", true),
            (551, "user not local", true),
            (553, "mailbox name not allowed", true),
            (553, "5.7.1 sender address rejected: not owned by user", false),
            (550, "5.7.1 relaying denied", false),
            (550, "5.1.8 sender domain does not exist", false),
            (550, "no such user here, or we do not like you", false),
            (552, "5.2.2 mailbox full", false),
            (554, "", false),
            (554, "5.1 is not a code, nor is 5.1.1.1", false),
        ] {
            assert_eq!(speaks_of_recipient(code, said), expected, "{code} {said}");
        }
    }

    #[test]
    fn addresses_are_cut_out_of_what_servers_say() {
        assert_eq!(without_addresses("550 5.1.1 <ada@example.org>: no such user"), "550 5.1.1 <address> no such user");
        assert_eq!(without_addresses("421 try\r\nlater"), "421 try later");
        assert_eq!(without_addresses("554 rejected https://c.example/m/rco8 here"), "554 rejected <link> here");
        assert_eq!(without_addresses(&"x".repeat(900)).len(), 500);
    }
}
