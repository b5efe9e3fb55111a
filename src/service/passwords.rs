//! Hashing passwords: slow on purpose, 19 MiB of memory each time, so two at once at most and never on a thread that answers
//! requests. Others wait; where too many wait, the next is told to come back.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use argon2::{Argon2, PasswordHash, PasswordHasher, PasswordVerifier};
use tokio::sync::Semaphore;

use crate::domain::password::Password;
use crate::error::Error;

/// Hashes that are computed at once.
const AT_ONCE: usize = 2;

/// Those that may wait for it; at 30 ms each the last one waits for a second.
const MAY_WAIT: usize = 64;

/// Of no password that anybody has, and as costly as a real one: who asks for an account that is not there waits as long as
/// anybody else.
const NOBODYS: &str =
    "$argon2id$v=19$m=19456,t=2,p=1$bm9ib2R5c3Bhc3N3b3JkIQ$AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA";

/// What hashes and compares passwords.
pub struct Passwords {
    computing: Arc<Semaphore>,
    here: Arc<Semaphore>,
    hashes: AtomicU64,
}

impl Default for Passwords {
    fn default() -> Self {
        let places = |count| Arc::new(Semaphore::new(count));
        Self { computing: places(AT_ONCE), here: places(AT_ONCE + MAY_WAIT), hashes: AtomicU64::new(0) }
    }
}

impl Passwords {
    /// How many hashes were computed since the start.
    pub fn hashes(&self) -> u64 {
        self.hashes.load(Ordering::Relaxed)
    }

    /// Argon2id with its default cost (19 MiB, two passes: OWASP's first choice), as a PHC string. [`Error::Busy`] when too
    /// many wait.
    pub async fn hash(&self, password: Password) -> Result<String, Error> {
        let hash =
            self.compute(move || Argon2::default().hash_password(password.as_bytes()).map(|hash| hash.to_string()));
        hash.await?.map_err(|cause| Error::internal(cause.to_string()))
    }

    /// Whether this is the password of that hash; without a hash it never is, after the same work. [`Error::Busy`] when too
    /// many wait.
    pub async fn is_right(&self, password: Password, hash: Option<String>) -> Result<bool, Error> {
        let is_known = hash.is_some();
        let right = self.compute(move || {
            let hash = hash.as_deref().unwrap_or(NOBODYS);
            let hash = PasswordHash::new(hash)?;
            Argon2::default().verify_password(password.as_bytes(), &hash)
        });
        match right.await? {
            Ok(()) => Ok(is_known),
            Err(argon2::password_hash::Error::PasswordInvalid) => Ok(false),
            Err(cause) => Err(Error::internal(cause.to_string())),
        }
    }

    /// Does the work when it is its turn. Work that has begun cannot be stopped: it keeps its place until it is done, also when
    /// nobody waits for it any more.
    async fn compute<T: Send + 'static>(&self, work: impl FnOnce() -> T + Send + 'static) -> Result<T, Error> {
        let here = self.here.clone().try_acquire_owned().map_err(|_| Error::Busy)?;
        let turn = self.computing.clone().acquire_owned().await.map_err(Error::internal)?;
        self.hashes.fetch_add(1, Ordering::Relaxed);
        let computed = tokio::task::spawn_blocking(move || {
            let _place = (here, turn);
            work()
        });
        computed.await.map_err(Error::internal)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn typed(text: &str) -> Password {
        Password::typed(text)
    }

    #[tokio::test]
    async fn unknown_and_known_cost_the_same() {
        let passwords = Passwords::default();
        let hash = passwords.hash(typed("a good password")).await.unwrap();
        assert!(passwords.is_right(typed("a good password"), Some(hash.clone())).await.unwrap());
        assert!(!passwords.is_right(typed("another password"), Some(hash.clone())).await.unwrap());
        assert!(!passwords.is_right(typed("a good password"), None).await.unwrap());
        assert_eq!(passwords.hashes(), 4, "one for each question, known or not");
        let cost = |hash: &str| hash.rsplitn(3, '$').last().unwrap().to_owned();
        assert_eq!(cost(NOBODYS), cost(&hash));
        assert_eq!(NOBODYS.len(), hash.len());
    }

    #[tokio::test]
    async fn who_hangs_up_frees_no_place() {
        let passwords = Passwords::default();
        let (go, wait) = std::sync::mpsc::channel::<()>();
        let mut work = Box::pin(passwords.compute(move || wait.recv()));
        assert!(futures_util::poll!(&mut work).is_pending());
        drop(work);
        assert_eq!(passwords.computing.available_permits(), AT_ONCE - 1, "it is still being computed");
        assert_eq!(passwords.here.available_permits(), AT_ONCE + MAY_WAIT - 1);
        go.send(()).unwrap();
        let _all = passwords.computing.acquire_many(2).await.unwrap();
    }

    #[tokio::test]
    async fn where_too_many_wait_the_next_comes_back() {
        let passwords = Passwords::default();
        let _all = passwords.computing.acquire_many(2).await.unwrap();
        let mut waiting: Vec<_> = (0..AT_ONCE + MAY_WAIT).map(|_| Box::pin(passwords.hash(typed("x")))).collect();
        for one in &mut waiting {
            assert!(futures_util::poll!(one).is_pending());
        }
        assert!(matches!(passwords.hash(typed("x")).await, Err(Error::Busy)));
        drop(waiting.pop());
        assert!(futures_util::poll!(Box::pin(passwords.hash(typed("x")))).is_pending(), "who left makes room");
        assert_eq!(passwords.hashes(), 0);
    }
}
