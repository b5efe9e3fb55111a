//! Signing in and out. A session is a secret that a browser keeps and whose hash is stored; its rights are those that its
//! account has at each request. Whoever signs in gets a new one, whatever their browser had before.

use std::time::Duration;

use super::Service;
use super::access::{Access, Credentials, Pass};
use crate::domain::comment::Via;
use crate::domain::email::{Email, fold};
use crate::domain::ids::{AccountId, SessionId};
use crate::domain::password::Password;
use crate::domain::text::tidy;
use crate::error::Error;
use crate::keys::{Place, new_secret, recovery_code_hash, secret_hash, totp_step};
use crate::storage::accounts::{self, Account, Scope};
use crate::storage::sessions::{self, Alive, Session};
use crate::storage::{Tx, sign_in};

/// `sessions.seen_at` is written at most this often.
const TOUCH_EVERY: Duration = Duration::from_mins(1);

/// Characters of a browser's name that are kept.
const USER_AGENT_MAX: usize = 300;

/// Sessions of one account that are open at once; whoever signs in once more ends the oldest.
const MOST_SESSIONS: i64 = 50;

/// What somebody is told who may not come in: the same for every reason.
const WRONG: &str = "The e-mail address or the password is wrong.";

/// The browser from which somebody signs in.
#[derive(Debug, Clone, Default)]
pub struct Browser {
    /// Its name.
    pub user_agent: Option<String>,
    /// The secret of the session that it had so far, which ends.
    pub former: Option<String>,
    /// The mark by which it may be known.
    pub mark: Option<String>,
}

/// What somebody types to sign in.
pub struct SignIn {
    /// As typed; what is no address is one that nobody has.
    pub email: String,
    /// As typed.
    pub password: String,
    /// Six digits, or a recovery code.
    pub code: Option<String>,
    /// From where.
    pub browser: Browser,
}

/// Somebody who has just signed in.
pub struct SignedIn {
    /// What the browser keeps; the only time that anybody sees it.
    pub secret: String,
    /// The session.
    pub session: Session,
    /// What the browser keeps to be known again.
    pub device_mark: String,
}

/// A session that is open, and whose.
pub struct OpenSession {
    /// The session.
    pub session: Session,
    /// Its account.
    pub account: Account,
    /// Its rights now.
    pub credentials: Credentials,
}

/// What goes with the password, checked, and used up with the session that it opens.
pub(super) enum Factor {
    /// The account has none.
    Password,
    /// The code of this step of time.
    Step(i64),
    /// A recovery code, by its hash.
    Recovery(Vec<u8>),
}

impl Factor {
    /// Uses it up. [`Error::SecondFactorRequired`] when somebody has used it before.
    pub fn take(&self, tx: &mut Tx<'_>, account: AccountId) -> Result<(), Error> {
        let is_taken = match self {
            Self::Password => true,
            Self::Step(step) => sign_in::take_step(tx, account, *step)?,
            Self::Recovery(hash) => sign_in::take_recovery_code(tx, account, hash)?,
        };
        if is_taken { Ok(()) } else { Err(Error::SecondFactorRequired) }
    }
}

/// Where an account's sealed secret of one-time codes lies.
pub(super) fn totp_place(id: &AccountId) -> Place<'_> {
    Place { column: "accounts.totp", row: id.as_bytes() }
}

/// The form of an address that somebody typed in which it is counted.
pub fn typed_address(email: &str) -> String {
    fold(&tidy(email))
}

impl Service {
    /// Signs somebody in. [`Error::Unauthenticated`] unless address and password are right, after the same work whether the
    /// account exists or not; [`Error::SecondFactorRequired`] when they are and the code is not; [`Error::Busy`] when too
    /// many try.
    pub async fn sign_in(&self, who: SignIn) -> Result<SignedIn, Error> {
        let email = Email::parse(&tidy(&who.email), "email").ok();
        let hashes = email.as_ref().map_or_else(Vec::new, |email| self.keys.email_hashes(email));
        let found = self.db.read(move |conn| accounts::find_by_email(conn, &hashes)).await?;
        let account = found.filter(|account| account.disabled_at.is_none());
        let hash = account.as_ref().and_then(|account| account.password_hash.clone());
        let is_right = self.passwords.is_right(Password::typed(&who.password), hash.clone()).await?;
        let (Some(account), Some(email), Some(hash), true) = (account, email, hash, is_right) else {
            return Err(Error::Unauthenticated(WRONG));
        };
        let factor = self.second_factor(&account, who.code.as_deref())?;
        let (signed_in, former) = self.new_session(&account, &email, who.browser)?;
        let session = signed_in.session.clone();
        self.db
            .write(move |tx| {
                if !sign_in::hold(tx, session.account_id, &hash)? {
                    return Err(Error::Unauthenticated(WRONG));
                }
                factor.take(tx, session.account_id)?;
                begin(tx, &session, former.as_deref())
            })
            .await?;
        Ok(signed_in)
    }

    /// Checks what goes with the password. [`Error::SecondFactorRequired`] when something must, and does not.
    pub(super) fn second_factor(&self, account: &Account, code: Option<&str>) -> Result<Factor, Error> {
        let Some(sealed) = &account.totp_sealed else { return Ok(Factor::Password) };
        let code: String = code.unwrap_or_default().split_whitespace().collect();
        if code.is_empty() {
            return Err(Error::SecondFactorRequired);
        }
        if !(code.len() == 6 && code.bytes().all(|byte| byte.is_ascii_digit())) {
            return Ok(Factor::Recovery(recovery_code_hash(account.id, &code)));
        }
        let secret = zeroize::Zeroizing::new(self.keys.open(totp_place(&account.id), sealed)?);
        totp_step(&secret, &code, self.clock.now()).map(Factor::Step).ok_or(Error::SecondFactorRequired)
    }

    /// A session that is not stored yet, and the hash of the one that ends with it.
    pub(super) fn new_session(
        &self,
        account: &Account,
        email: &Email,
        browser: Browser,
    ) -> Result<(SignedIn, Option<Vec<u8>>), Error> {
        let (secret, token_hash) = new_secret()?;
        let now = self.clock.now();
        let session = Session {
            id: SessionId(self.ids.next()),
            account_id: account.id,
            token_hash,
            user_agent: browser.user_agent.map(|name| name.chars().take(USER_AGENT_MAX).collect()),
            created_at: now,
            seen_at: now,
            expires_at: now.plus(self.rules.session_life),
        };
        let address = email.folded();
        let known = browser.mark.and_then(|mark| self.keys.read_device_mark(&mark, &address, now));
        let device_mark = self.keys.device_mark(&address, known, now)?;
        Ok((SignedIn { secret, session, device_mark }, browser.former.map(|secret| secret_hash(&secret))))
    }

    /// Whether a browser has signed in with this address before: what it is known by.
    pub fn known_device(&self, mark: &str, email: &str) -> Option<[u8; 16]> {
        self.keys.read_device_mark(mark, &typed_address(email), self.clock.now())
    }

    /// The session with this secret; none when it is over, was ended, or its account is disabled.
    pub async fn open_session(&self, secret: &str) -> Result<Option<OpenSession>, Error> {
        let (hash, alive) = (secret_hash(secret), self.alive());
        let found = self.db.read(move |conn| match sessions::find(conn, &hash, alive)? {
            Some((account, session)) => {
                let sites = accounts::sites_of(conn, account.id)?;
                Ok(Some((account, session, sites)))
            }
            None => Ok(None),
        });
        let Some((account, session, sites)) = found.await? else { return Ok(None) };
        let access = Access { account: account.id, name: account.name.clone(), role: account.role, sites };
        let credentials = Credentials { access, scope: Scope::Admin, ends_at: session.expires_at, via: Via::Desk };
        Ok(Some(OpenSession { session, account, credentials }))
    }

    /// Notes that a session was used, at most once a minute.
    pub async fn touch_session(&self, session: &Session) -> Result<(), Error> {
        let (id, now) = (session.id, self.clock.now());
        if now.since(session.seen_at) < TOUCH_EVERY {
            return Ok(());
        }
        self.db.write(move |tx| sessions::touch(tx, id, now)).await
    }

    /// The rights behind whatever a request shows; none when it is worth nothing (any more).
    pub async fn credentials(&self, pass: &Pass) -> Result<Option<Credentials>, Error> {
        match pass {
            Pass::Token(token) => self.credentials_by_token(token).await,
            Pass::Session(secret) => Ok(self.open_session(secret).await?.map(|open| open.credentials)),
        }
    }

    /// What requests of this session that change something carry.
    pub fn csrf_token(&self, secret: &str) -> String {
        crate::keys::csrf_token(secret)
    }

    /// Whether that is what they carry.
    pub fn is_csrf_token(&self, secret: &str, token: &[u8]) -> bool {
        crate::keys::is_csrf_token(secret, token)
    }

    /// A page of the open sessions of an account, the newest first: those before `before`, at most `rows`.
    pub async fn sessions_of(
        &self,
        account: AccountId,
        before: Option<SessionId>,
        rows: i64,
    ) -> Result<Vec<Session>, Error> {
        let alive = self.alive();
        self.db.read(move |conn| sessions::page(conn, (account, alive), before, rows)).await
    }

    /// Ends a session. [`Error::NotFound`] when it is not one of this account.
    pub async fn end_session(&self, account: AccountId, id: SessionId) -> Result<(), Error> {
        let ended = self.db.write(move |tx| sessions::end(tx, account, id)).await?;
        if ended { Ok(()) } else { Err(Error::NotFound) }
    }

    /// Ends all sessions of an account but this one.
    pub async fn end_other_sessions(&self, account: AccountId, kept: SessionId) -> Result<(), Error> {
        self.db.write(move |tx| sessions::end_others(tx, account, kept)).await
    }

    /// Deletes sessions and links that are over. A link that is over is known for a month, so that whoever comes with it is
    /// told so.
    pub async fn sweep_sessions(&self) -> Result<(), Error> {
        let (alive, old) = (self.alive(), self.clock.now().minus(Duration::from_hours(30 * 24)));
        self.db
            .write(move |tx| {
                sessions::sweep(tx, alive)?;
                sign_in::sweep(tx, old)
            })
            .await
    }

    fn alive(&self) -> Alive {
        let now = self.clock.now();
        Alive { now, idle_since: now.minus(self.rules.session_idle) }
    }
}

/// Opens a session in place of the one that the browser had.
pub(super) fn begin(tx: &mut Tx<'_>, session: &Session, former: Option<&[u8]>) -> Result<(), Error> {
    if let Some(former) = former {
        sessions::end_by_hash(tx, former)?;
    }
    sessions::insert(tx, session)?;
    sessions::keep_newest(tx, session.account_id, MOST_SESSIONS)
}
