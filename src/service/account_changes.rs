//! Making, changing and disabling accounts by an administrator. An account is never deleted: the log names it. There is
//! always one administrator left.

use super::Service;
use super::accounts::{Details, NewAccount, email_place, sealer_in};
use super::own::Change;
use crate::domain::email::Email;
use crate::domain::fault::Fault;
use crate::domain::ids::{AccountId, SiteId};
use crate::domain::mail_choice::{DIGEST_DEFAULT, MailChoice, MailMode, QuietHours};
use crate::domain::site_settings::is_language;
use crate::domain::text::{Name, tidy, tidy_line};
use crate::error::Error;
use crate::storage::accounts::{self, Account, Role};
use crate::storage::{Tx, sign_in};

/// What is sent to make or change an account, as it came; what is missing stays.
#[derive(Debug, Clone, Default)]
#[expect(missing_docs, reason = "the fields of an account, as the API names them")]
pub struct RawAccount {
    pub email: Option<String>,
    pub name: Option<String>,
    pub role: Option<String>,
    /// Keys.
    pub sites: Option<Vec<String>>,
    pub mail: RawMail,
    pub disabled: Option<bool>,
    /// None: that of the browser.
    pub language: Change<String>,
    /// Whether a mail invites a new account to choose a password.
    pub invite: Option<bool>,
}

/// How somebody wants mail, as it came; what is missing stays.
#[derive(Debug, Clone, Default)]
#[expect(missing_docs, reason = "the fields of an account, as the API names them")]
pub struct RawMail {
    pub mail: Option<String>,
    pub digest_minutes: Option<i64>,
    pub quiet_from: Option<i64>,
    pub quiet_to: Option<i64>,
    /// None takes the quiet hours away.
    pub time_zone: Change<String>,
}

impl RawMail {
    /// The choice after this change; none if nothing of it is named.
    fn applied(&self, before: &MailChoice) -> Result<Option<MailChoice>, Fault> {
        let named = self.mail.is_some() || self.digest_minutes.is_some() || self.quiet_from.is_some();
        if !named && self.quiet_to.is_none() && self.time_zone == Change::Keep {
            return Ok(None);
        }
        let digest = self.digest_minutes.map(MailMode::digest).transpose()?;
        let mode = match (self.mail.as_deref(), digest, before.mode) {
            (Some("each"), ..) => MailMode::Each,
            (Some("none"), ..) => MailMode::None,
            (Some("digest"), Some(digest), _) => digest,
            (Some("digest"), None, before @ MailMode::Digest(_)) | (None, None, before) => before,
            (Some("digest"), None, _) => MailMode::Digest(DIGEST_DEFAULT),
            (Some(_), ..) => {
                return Err(Fault::new("mail", "unknown_value", "It must be one of: each, digest, none."));
            }
            (None, Some(_), MailMode::None) => {
                return Err(Fault::new("mail", "required", "No mail is sent so far: say that it is to be a digest."));
            }
            (None, Some(digest), _) => digest,
        };
        Ok(Some(MailChoice { mode, quiet: self.quiet(before.quiet.as_ref())? }))
    }

    fn quiet(&self, before: Option<&QuietHours>) -> Result<Option<QuietHours>, Fault> {
        let zone = match (&self.time_zone, before) {
            (Change::Clear, _) => return Ok(None),
            (Change::Set(zone), _) => zone.as_str(),
            (Change::Keep, Some(before)) => before.parts().2,
            (Change::Keep, None) => "UTC",
        };
        let from = self.quiet_from.or_else(|| before.map(|before| before.parts().0.into()));
        let to = self.quiet_to.or_else(|| before.map(|before| before.parts().1.into()));
        match (from, to) {
            (Some(from), Some(to)) => QuietHours::new(from, to, zone).map(Some),
            (None, None) if self.time_zone == Change::Keep => Ok(None),
            (None, _) => Err(Fault::required("quiet_from")),
            (Some(_), None) => Err(Fault::required("quiet_to")),
        }
    }
}

/// A legal change of an account.
#[derive(Debug, Clone)]
struct AccountChange {
    email: Option<Email>,
    name: Option<String>,
    role: Option<Role>,
    sites: Option<Vec<SiteId>>,
    mail: Option<MailChoice>,
    disabled: Option<bool>,
    language: Change<String>,
}

/// Characters of an account's name, at most.
const NAME_MAX: usize = 100;

impl RawAccount {
    fn parse(self, service: &Service, before: &MailChoice, faults: &mut Vec<Fault>) -> AccountChange {
        let mut note = |fault| faults.push(fault);
        let email = self.email.map(|text| Email::parse(&tidy(&text), "email"));
        let email = email.transpose().map_err(&mut note).ok().flatten();
        let name = self.name.map(|text| name(&text)).transpose().map_err(&mut note).ok().flatten();
        let known = || Fault::new("role", "unknown_value", "It must be one of: moderator, admin.");
        let role = self.role.map(|name| Role::from_name(&name).ok_or_else(known));
        let role = role.transpose().map_err(&mut note).ok().flatten();
        let site = |key: &String| service.sites.by_key(key).map(|site| site.id);
        let unknown = |_| Fault::new("sites", "unknown_site", "It must be a list of keys of sites that are there.");
        let sites = self.sites.map(|keys| keys.iter().map(site).collect::<Result<Vec<_>, _>>().map_err(unknown));
        let sites = sites.transpose().map_err(&mut note).ok().flatten();
        let mail = self.mail.applied(before).map_err(&mut note).ok().flatten();
        if matches!(&self.language, Change::Set(tag) if !is_language(tag)) {
            faults.push(Fault::new("language", "invalid_language", "It must be a language tag, like en or de-AT."));
        }
        AccountChange { email, name, role, sites, mail, disabled: self.disabled, language: self.language }
    }
}

/// An account's name as somebody typed it.
pub(super) fn name(text: &str) -> Result<String, Fault> {
    let text = tidy_line(text);
    if text.is_empty() {
        return Err(Fault::required("name"));
    }
    if text.chars().count() > NAME_MAX {
        return Err(Fault::too_long("name", NAME_MAX, "characters"));
    }
    Name::parse(&text, "name").map(Name::into_string)
}

impl Service {
    /// Makes an account. [`Error::Invalid`] with every fault, [`Error::Conflict`] when the address has one already.
    pub async fn make_account(&self, raw: RawAccount, mut faults: Vec<Fault>) -> Result<AccountId, Error> {
        let asked = [("email", raw.email.is_some()), ("role", raw.role.is_some())];
        let moderates = raw.role.as_deref() == Some(Role::Moderator.as_str());
        let asked = asked.into_iter().chain(moderates.then_some(("sites", raw.sites.is_some())));
        for (field, there) in asked {
            if !there && faults.iter().all(|fault| fault.field != field) {
                faults.push(Fault::required(field));
            }
        }
        let mode = if moderates { MailMode::Each } else { MailMode::None };
        let is_invited = raw.invite == Some(true);
        let change = raw.parse(self, &MailChoice { mode, quiet: None }, &mut faults);
        let (Some(email), Some(role), true) = (change.email, change.role, faults.is_empty()) else {
            return Err(Error::Invalid(faults));
        };
        let new = NewAccount { email, role, sites: change.sites.unwrap_or_default(), password: None };
        self.insert_account(new, Details { name: change.name, mail: change.mail, is_invited }).await
    }

    /// Changes an account: what is not named stays. Whoever is disabled loses every right and every token at once.
    /// Errors: [`Error::NotFound`], [`Error::Invalid`], [`Error::Conflict`] when nobody would be administrator any more, or
    /// the new address has an account.
    pub async fn change_account(&self, id: AccountId, raw: RawAccount, mut faults: Vec<Fault>) -> Result<(), Error> {
        let known = self.db.read(move |conn| accounts::find(conn, id)).await?.ok_or(Error::NotFound)?;
        let mail = raw.mail.clone();
        let change = raw.parse(self, &known.mail.choice(), &mut faults);
        if !faults.is_empty() {
            return Err(Error::Invalid(faults));
        }
        let (keys, now) = (self.keys.clone(), self.clock.now());
        let hashes = change.email.as_ref().map(|email| self.keys.email_hashes(email));
        self.db
            .write(move |tx| {
                let before = accounts::find_to_change(tx, id)?.ok_or(Error::NotFound)?;
                let mut after = before.clone();
                if let (Some(email), Some(hashes)) = (&change.email, &hashes) {
                    refuse_taken(tx, id, hashes)?;
                    let sealed = sealer_in(tx, &keys)?.seal_email(email_place(&id), email.as_str())?;
                    (after.email_sealed, after.email_hash) = sealed;
                    // Not when it is the same address under another key.
                    after.links_from = if hashes.contains(&before.email_hash) { before.links_from } else { Some(now) };
                }
                if let Some(name) = &change.name {
                    after.name.clone_from(name);
                }
                after.role = change.role.unwrap_or(before.role);
                // Onto what is stored now: its owner may have turned it off since.
                let mail = mail.applied(&before.mail.choice()).map_err(|fault| Error::Invalid(vec![fault]))?;
                if let Some(mail) = &mail {
                    after.mail = mail.into();
                }
                match &change.language {
                    Change::Keep => {}
                    Change::Clear => after.language = None,
                    Change::Set(tag) => after.language = Some(tag.clone()),
                }
                match change.disabled {
                    Some(true) => (after.disabled_at, after.links_from) = (before.disabled_at.or(Some(now)), Some(now)),
                    Some(false) => after.disabled_at = None,
                    None => {}
                }
                keep_an_admin(tx, &before, &after)?;
                accounts::update(tx, &before, &after)?;
                // Afterwards: whoever signs in meanwhile waits for the row, and finds it disabled.
                if after.disabled_at.is_some() {
                    accounts::take_back_everything(tx, id, now)?;
                }
                if after.links_from != before.links_from {
                    sign_in::remove_links(tx, id)?;
                }
                change.sites.as_ref().map_or(Ok(()), |sites| accounts::replace_sites(tx, id, sites))
            })
            .await
    }
}

/// The database tells equal hashes; that two hashes under two keys are one address, it cannot know.
fn refuse_taken(tx: &mut Tx<'_>, id: AccountId, hashes: &[Vec<u8>]) -> Result<(), Error> {
    match accounts::find_by_email(tx.conn(), hashes)? {
        Some(other) if other.id != id => Err(accounts::address_is_taken()),
        _ => Ok(()),
    }
}

fn keep_an_admin(tx: &mut Tx<'_>, before: &Account, after: &Account) -> Result<(), Error> {
    let rules = |account: &Account| account.role == Role::Admin && account.disabled_at.is_none();
    if rules(before) && !rules(after) && !accounts::has_other_admin(tx.conn(), before.id)? {
        return Err(Error::conflict("This is the last administrator. Make another one first."));
    }
    Ok(())
}
