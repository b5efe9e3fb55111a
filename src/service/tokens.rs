//! Access tokens: made, listed, taken back. Of a token only a hash is kept. Each has an end and a scope; nobody makes one
//! that goes further than the one they use.

use std::time::Duration;

use super::Service;
use super::access::Credentials;
use crate::domain::ids::{AccountId, TokenId};
use crate::domain::time::Timestamp;
use crate::error::Error;
use crate::keys::new_access_token;
use crate::storage::accounts::{self, Role, Scope, Token};

/// How long a token is good for unless its maker says otherwise.
pub const TOKEN_LIFE: Duration = Duration::from_hours(365 * 24);

/// The longest life of a token, in days: ten years.
pub const MOST_DAYS: u64 = 3650;

/// A token to be made.
#[derive(Debug, Clone)]
pub struct NewToken {
    /// Whose.
    pub account: AccountId,
    /// What its owner calls it.
    pub name: String,
    /// How far it goes.
    pub scope: Scope,
    /// How long it is good for.
    pub life: Duration,
}

impl NewToken {
    /// It outlives the token that makes it only where that manages all tokens: whoever takes that one back is rid of both
    /// soon.
    #[must_use]
    pub fn within(self, by: &Credentials, now: Timestamp) -> Self {
        let most = if by.manages_all_tokens() { self.life } else { by.ends_at.since(now) };
        Self { life: self.life.min(most), ..self }
    }
}

impl Service {
    /// Makes a token that may do whatever its account may, and returns it: the only time that anybody sees it.
    pub async fn create_token(&self, account: AccountId, name: String, life: Duration) -> Result<String, Error> {
        self.make_token(NewToken { account, name, scope: Scope::Admin, life }).await.map(|(secret, _)| secret)
    }

    /// Makes a token; the secret is shown this one time. [`Error::NotFound`] when there is no such account, or it has lost
    /// its rights.
    pub async fn make_token(&self, new: NewToken) -> Result<(String, Token), Error> {
        let (secret, token_hash) = new_access_token()?;
        let now = self.clock.now();
        let token = Token {
            id: TokenId(self.ids.next()),
            account_id: new.account,
            name: new.name,
            token_hash,
            scope: new.scope.as_str().to_owned(),
            created_at: now,
            expires_at: now.plus(new.life),
            last_used_at: None,
            revoked_at: None,
        };
        let stored = token.clone();
        self.db
            .write(move |tx| {
                let account = accounts::find(tx.conn(), stored.account_id)?.ok_or(Error::NotFound)?;
                if account.disabled_at.is_some() {
                    return Err(Error::NotFound);
                }
                accounts::insert_token(tx, &stored)
            })
            .await?;
        Ok((secret, token))
    }

    /// Takes a token back; once more is as good. One that is not theirs is [`Error::NotFound`] for all but administrators.
    pub async fn take_token_back(&self, by: &Credentials, id: TokenId) -> Result<(), Error> {
        let (account, any, now) = (by.access.account, by.manages_all_tokens(), self.clock.now());
        let scope = by.scope;
        self.db
            .write(move |tx| {
                let token = accounts::find_token(tx.conn(), id)?.ok_or(Error::NotFound)?;
                if !any && token.account_id != account {
                    return Err(Error::NotFound);
                }
                if !scope.covers(Scope::stored(&token.scope)) {
                    return Err(Error::Forbidden("A token cannot take back one of a wider scope than its own.".into()));
                }
                accounts::revoke_token(tx, id, now).map(drop)
            })
            .await
    }
}

impl Credentials {
    /// Whether they manage the tokens of every account; everybody else manages their own.
    pub fn manages_all_tokens(&self) -> bool {
        self.access.role == Role::Admin && self.scope == Scope::Admin
    }
}
