//! Who may see and decide what. A moderator learns nothing of other sites, not even that a comment exists: what they may
//! not see is [`Error::NotFound`] for them.

use crate::domain::comment::Via;
use crate::domain::ids::{AccountId, SiteId};
use crate::domain::time::Timestamp;
use crate::error::Error;
use crate::storage::accounts::{Role, Scope};

/// The rights of a signed-in account.
#[derive(Debug, Clone)]
pub struct Access {
    /// Whose.
    pub account: AccountId,
    /// Their name, as it stands beside decisions.
    pub name: String,
    /// What they may do.
    pub role: Role,
    /// The sites they look after; for administrators all, whatever stands here.
    pub sites: Vec<SiteId>,
}

/// What a token or a session stands for: the rights of its account, as far as its scope goes.
#[derive(Debug, Clone)]
pub struct Credentials {
    /// The rights of its account.
    pub access: Access,
    /// How far it goes.
    pub scope: Scope,
    /// When it ends.
    pub ends_at: Timestamp,
    /// By which way it comes: a token by the API, a session by the desk.
    pub via: Via,
}

/// What a request shows to prove whose it is.
#[derive(Clone)]
pub enum Pass {
    /// An access token.
    Token(String),
    /// The secret of a session.
    Session(String),
}

impl Access {
    /// Whether they may see and decide on a site's comments.
    pub fn covers(&self, site: SiteId) -> bool {
        self.role == Role::Admin || self.sites.contains(&site)
    }

    /// [`Error::NotFound`] unless they may.
    pub fn require(&self, site: SiteId) -> Result<(), Error> {
        if self.covers(site) { Ok(()) } else { Err(Error::NotFound) }
    }

    /// The sites to which lists are narrowed; none means all.
    pub fn site_filter(&self) -> Option<Vec<SiteId>> {
        match self.role {
            Role::Admin => None,
            Role::Moderator => Some(self.sites.clone()),
        }
    }
}
