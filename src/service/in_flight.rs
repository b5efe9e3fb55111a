//! Twins with one idempotency key, in this process: one is worked on while the others wait. Between processes the database
//! keeps them apart (`storage/neighbours.rs`).

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};

use tokio::sync::OwnedMutexGuard;

/// One lock for each key that is being worked on.
type Turns = Arc<Mutex<HashMap<Vec<u8>, Arc<tokio::sync::Mutex<()>>>>>;

/// Twins with one idempotency key wait for each other here, so that the later ones find the answer of the first.
#[derive(Default)]
pub struct InFlight {
    turns: Turns,
}

/// The right to work on one idempotency key; given back when dropped.
pub struct Turn {
    key: Vec<u8>,
    turns: Turns,
    guard: Option<OwnedMutexGuard<()>>,
}

impl InFlight {
    /// Waits until nobody else works on this key.
    pub async fn turn(&self, key: &[u8]) -> Turn {
        let lock = self.turns.lock().unwrap_or_else(PoisonError::into_inner).entry(key.to_vec()).or_default().clone();
        let mut turn = Turn { key: key.to_vec(), turns: self.turns.clone(), guard: None };
        turn.guard = Some(lock.lock_owned().await);
        turn
    }
}

impl Drop for Turn {
    fn drop(&mut self) {
        self.guard = None;
        let mut turns = self.turns.lock().unwrap_or_else(PoisonError::into_inner);
        if turns.get(&self.key).is_some_and(|lock| Arc::strong_count(lock) == 1) {
            turns.remove(&self.key);
        }
    }
}
