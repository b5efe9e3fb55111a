//! `account mail`: how an account wants to be told of what waits.

use clap::Args;

use super::account::find;
use super::{Failure, open_existing, say};
use crate::config::Config;
use crate::domain::fault::Fault;
use crate::domain::mail_choice::{DIGEST_DEFAULT, MailChoice, MailMode, QuietHours};

#[derive(Args)]
pub struct Wanted {
    /// The account's e-mail address
    #[arg(long)]
    email: String,
    /// One mail about each comment, up to the hourly ceiling of the settings
    #[arg(long, group = "mode")]
    each: bool,
    /// One mail about all that came, this many minutes after the first of them (15 to 1440)
    #[arg(long, group = "mode", value_name = "MINUTES", num_args = 0..=1, default_missing_value = DEFAULT)]
    digest: Option<i64>,
    /// No mail
    #[arg(long, group = "mode")]
    none: bool,
    /// Hours without mail, like 22:00-07:00, or `off`; afterwards one mail about all that came
    #[arg(long, value_name = "FROM-TO")]
    quiet: Option<String>,
    /// By which clock: an IANA name, like Europe/Berlin
    #[arg(long, value_name = "ZONE", requires = "quiet", default_value = "UTC")]
    zone: String,
}

const DEFAULT: &str = "60";
const _: () = assert!(DIGEST_DEFAULT == 60);

/// Changes what is named and says how it stands then.
pub async fn run(config: &Config, wanted: Wanted) -> Result<(), Failure> {
    let service = open_existing(config).await?;
    let account = find(&service, &wanted.email, "--email").await?;
    let before = account.mail.choice();
    let after =
        wanted.changed(&before).map_err(|fault| Failure::Usage(format!("{}: {}", fault.field, fault.message)))?;
    if after != before {
        service.set_mail_choice(account.id, after.clone()).await?;
    }
    say(&described(&after))
}

impl Wanted {
    fn changed(&self, before: &MailChoice) -> Result<MailChoice, Fault> {
        let mode = match self.digest {
            Some(minutes) => MailMode::digest(minutes)?,
            None if self.each => MailMode::Each,
            None if self.none => MailMode::None,
            None => before.mode,
        };
        let quiet = match self.quiet.as_deref() {
            None => before.quiet.clone(),
            Some("off") => None,
            Some(text) => {
                let unreadable = || Fault::new("--quiet", "malformed", "It must be like 22:00-07:00, or off.");
                let (from, to) = text.split_once('-').ok_or_else(unreadable)?;
                let (from, to) = (minutes(from).ok_or_else(unreadable)?, minutes(to).ok_or_else(unreadable)?);
                Some(QuietHours::new(from, to, &self.zone)?)
            }
        };
        Ok(MailChoice { mode, quiet })
    }
}

/// `22:00` as minutes of the day.
fn minutes(text: &str) -> Option<i64> {
    let (hour, minute) = text.split_once(':')?;
    let number = |text: &str, below: i64| text.parse().ok().filter(|number| (0..below).contains(number));
    Some(number(hour, 24)? * 60 + number(minute, 60)?)
}

/// A choice in words.
pub(super) fn described(choice: &MailChoice) -> String {
    let mode = match choice.mode {
        MailMode::Each => "one mail about each comment".to_owned(),
        MailMode::Digest(minutes) => format!("one mail about all that came, after {minutes} minutes"),
        MailMode::None => "no mail".to_owned(),
    };
    match choice.quiet.as_ref().map(QuietHours::parts) {
        Some((from, to, zone)) => {
            let clock = |minute: u16| format!("{:02}:{:02}", minute / 60, minute % 60);
            format!("{mode}; none from {} to {} ({zone})", clock(from), clock(to))
        }
        None => mode,
    }
}
