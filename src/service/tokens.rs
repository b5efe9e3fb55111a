//! Access tokens: made, listed, narrowed, taken back. Of a token only a hash is kept. Each has an end and a scope; nobody
//! makes one that goes further than the one they use.

use std::time::Duration;

use super::Service;
use super::access::Credentials;
use crate::domain::fault::Fault;
use crate::domain::ids::{AccountId, TokenId};
use crate::domain::time::Timestamp;
use crate::error::Error;
use crate::keys::new_access_token;
use crate::storage::Conn;
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

/// What is to change of a token; none leaves it. It never goes further than before, nor longer.
#[derive(Debug, Clone, Default)]
#[expect(missing_docs, reason = "as in NewToken")]
pub struct TokenPatch {
    pub name: Option<String>,
    pub scope: Option<Scope>,
    pub expires_at: Option<Timestamp>,
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

impl TokenPatch {
    fn of(self, mut token: Token, mut faults: Vec<Fault>) -> Result<Token, Error> {
        if self.scope.is_some_and(|scope| !Scope::stored(&token.scope).covers(scope)) {
            faults.push(Fault::new("scope", "out_of_range", "A token never goes further than before. Make a new one."));
        }
        if self.expires_at.is_some_and(|end| end > token.expires_at) {
            faults.push(Fault::new("expires_at", "out_of_range", "A token never lasts longer. Make a new one."));
        }
        if !faults.is_empty() {
            return Err(Error::Invalid(faults));
        }
        token.name = self.name.unwrap_or(token.name);
        token.scope = self.scope.map_or(token.scope, |scope| scope.as_str().to_owned());
        token.expires_at = self.expires_at.unwrap_or(token.expires_at);
        Ok(token)
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

    /// A token. One that is not theirs is [`Error::NotFound`] for all but administrators.
    pub async fn token(&self, by: &Credentials, id: TokenId) -> Result<Token, Error> {
        let by = by.clone();
        self.db.read(move |conn| by.find_token(conn, id)).await
    }

    /// Changes a token that they may take back. [`Error::NotFound`] and [`Error::Forbidden`] as there, then
    /// [`Error::Invalid`] with `faults` and with what would let it go further, [`Error::Conflict`] when somebody else changes
    /// it at once.
    pub async fn change_token(
        &self,
        by: &Credentials,
        id: TokenId,
        (patch, faults): (TokenPatch, Vec<Fault>),
    ) -> Result<Token, Error> {
        let by = by.clone();
        self.db
            .write(move |tx| {
                let before = by.find_token_to_change(tx.conn(), id)?;
                let after = patch.clone().of(before.clone(), faults.clone())?;
                if accounts::update_token(tx, &before, &after)? {
                    Ok(after)
                } else {
                    Err(Error::conflict("Somebody else has just changed this token. Look at it again."))
                }
            })
            .await
    }

    /// Takes a token back; once more is as good. One that is not theirs is [`Error::NotFound`] for all but administrators.
    /// [`Error::Forbidden`] when it goes further than the one that they use.
    pub async fn take_token_back(&self, by: &Credentials, id: TokenId) -> Result<(), Error> {
        let (by, now) = (by.clone(), self.clock.now());
        self.db
            .write(move |tx| {
                by.find_token_to_change(tx.conn(), id)?;
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

    fn find_token(&self, conn: &mut Conn, id: TokenId) -> Result<Token, Error> {
        let found = accounts::find_token(conn, id)?;
        found
            .filter(|token| self.manages_all_tokens() || token.account_id == self.access.account)
            .ok_or(Error::NotFound)
    }

    fn find_token_to_change(&self, conn: &mut Conn, id: TokenId) -> Result<Token, Error> {
        let token = self.find_token(conn, id)?;
        if self.scope.covers(Scope::stored(&token.scope)) {
            return Ok(token);
        }
        Err(Error::Forbidden("A token cannot change or take back one of a wider scope than its own.".into()))
    }
}
