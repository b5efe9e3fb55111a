//! `mail test`.

use clap::Subcommand;

use super::{Failure, say};
use crate::config::{Config, Transport};
use crate::domain::email::Email;
use crate::domain::hex::hex;
use crate::domain::text::tidy;
use crate::error::Error;
use crate::mail::Mailer;
use crate::mail::message::Mail;
use crate::mail::templates::{Templates, TestLetter};

#[derive(Subcommand)]
pub enum Command {
    /// Send a test mail now, and tell what the mail server says
    #[command(after_help = "Example:\n  afterword mail test you@example.org")]
    Test {
        /// To whom
        address: String,
    },
}

pub async fn run(config: &Config, command: Command) -> Result<(), Failure> {
    let Command::Test { address } = command;
    let email = Email::parse(&tidy(&address), "ADDRESS").map_err(|fault| Failure::Usage(fault.message.into_owned()))?;
    let letter = Templates::new(&config.mail.templates)?
        .letter("test", &TestLetter { public_url: config.server.public_url.clone() })?;
    let from = config.mail.from.parse().map_err(Error::internal)?;
    let mut random = [0_u8; 8];
    getrandom::fill(&mut random).map_err(Error::internal)?;
    let mail = Mail::new(format!("test-{}", hex(&random)), &from, email.as_str(), letter)?;
    Mailer::new(&config.mail)?
        .send(&mail)
        .await
        .map_err(|error| Failure::Failed(format!("the mail was not sent: {error}")))?;
    match config.mail.transport {
        Transport::Smtp => say("The mail server has taken the mail."),
        Transport::File => say(&format!(
            "mail.transport is \"file\": the mail is in {}/{}.eml and went nowhere else",
            config.mail.dir.display(),
            mail.id
        )),
    }
}
