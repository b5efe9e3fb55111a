//! What administrators do with mails: send again what was given up.

use super::Service;
use crate::domain::ids::OutboxId;
use crate::error::Error;
use crate::storage::mails;

impl Service {
    /// Sends mails again that were given up: these, or (none) all of them. Returns how many; ids of others are passed over.
    pub async fn send_again(&self, ids: Option<Vec<OutboxId>>) -> Result<usize, Error> {
        let now = self.clock.now();
        self.db.write(move |tx| mails::send_again(tx, ids.as_deref(), now)).await
    }
}
