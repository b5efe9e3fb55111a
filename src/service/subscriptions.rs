//! What the links in mails to people who wrote comments do: say yes to mails about replies, say no. The token is the only
//! credential. Looking changes nothing.

use std::sync::Arc;

use super::Service;
use crate::domain::ids::SiteId;
use crate::domain::people::{CONFIRM_WITHIN, Consent};
use crate::domain::time::Timestamp;
use crate::error::Error;
pub use crate::keys::Silence;
use crate::storage::people::{self, Subscriber};

/// What a link shows.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Said {
    /// On which site; none: the address is not known (any more).
    pub site: Option<SiteId>,
    /// What the address says now.
    pub consent: Consent,
    /// How far a no of this link goes.
    pub silence: Silence,
}

impl Service {
    /// The token that says yes, made now.
    pub fn confirm_token(&self, subscriber: &Subscriber) -> String {
        self.keys.confirm_token(subscriber.id, self.clock.now().plus(CONFIRM_WITHIN))
    }

    /// The token that says no.
    pub fn silence_token(&self, subscriber: &Subscriber, how_far: Silence) -> String {
        self.keys.silence_token(subscriber.id, how_far)
    }

    /// What a link that says yes is about. [`Error::NotFound`] for a token that is not ours, [`Error::LinkExpired`] for one
    /// that is over, or whose address has said no since.
    pub async fn look_at_yes(&self, token: &str) -> Result<Said, Error> {
        let (id, ends_at) = self.keys.read_confirm_token(token).ok_or(Error::NotFound)?;
        let now = self.clock.now();
        let found = self.db.read(move |conn| people::subscriber(conn, id)).await?;
        open_for_yes(found, (ends_at, now)).map(|row| said(&row, Silence::Site))
    }

    /// Says yes; again changes nothing. Errors as [`Service::look_at_yes`].
    pub async fn say_yes(&self, token: &str) -> Result<Said, Error> {
        let (id, ends_at) = self.keys.read_confirm_token(token).ok_or(Error::NotFound)?;
        let now = self.clock.now();
        self.db
            .write(move |tx| {
                let row = open_for_yes(people::subscriber(tx.conn(), id)?, (ends_at, now))?;
                if row.consent != Consent::Confirmed {
                    people::set_consent(tx, id, (Consent::Confirmed, now), None)?;
                }
                Ok(Said { consent: Consent::Confirmed, ..said(&row, Silence::Site) })
            })
            .await
    }

    /// What a link that says no is about. [`Error::NotFound`] for a token that is not ours. An address that was forgotten
    /// gets no mail either.
    pub async fn look_at_no(&self, token: &str) -> Result<Said, Error> {
        let (id, silence) = self.keys.read_silence_token(token).ok_or(Error::NotFound)?;
        let found = self.db.read(move |conn| people::subscriber(conn, id)).await?;
        Ok(found.map_or(forgotten(silence), |row| said(&row, silence)))
    }

    /// Says no, on one site or for good on all of them; again changes nothing. Errors as [`Service::look_at_no`].
    pub async fn say_no(self: &Arc<Self>, token: &str) -> Result<Said, Error> {
        let (id, silence) = self.keys.read_silence_token(token).ok_or(Error::NotFound)?;
        let (service, now) = (self.clone(), self.clock.now());
        self.db
            .write(move |tx| {
                let Some(row) = people::subscriber(tx.conn(), id)? else { return Ok(forgotten(silence)) };
                let (consent, rows) = match silence {
                    Silence::Everywhere => (Consent::Refused, service.said_by(tx.conn(), &row)?),
                    Silence::Site if row.consent == Consent::Refused => (Consent::Refused, Vec::new()),
                    Silence::Site => (Consent::Ended, vec![row.clone()]),
                };
                for row in rows.iter().filter(|row| row.consent != consent) {
                    people::set_consent(tx, row.id, (consent, now), None)?;
                }
                Ok(Said { consent, ..said(&row, silence) })
            })
            .await
    }
}

fn said(row: &Subscriber, silence: Silence) -> Said {
    Said { site: Some(row.site_id), consent: row.consent, silence }
}

fn forgotten(silence: Silence) -> Said {
    Said { site: None, consent: Consent::Ended, silence }
}

fn open_for_yes(found: Option<Subscriber>, (ends_at, now): (Timestamp, Timestamp)) -> Result<Subscriber, Error> {
    let is_open = |row: &Subscriber| matches!(row.consent, Consent::Asked | Consent::Confirmed) && now < ends_at;
    found.filter(is_open).ok_or(Error::LinkExpired)
}
