//! Where the event log stands, as a stream tells whoever listens: sealed, and in other letters each time. The log is one for
//! all sites, and the id of its newest entry would say when somebody decided on what is not public.

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use uuid::Uuid;

use super::Service;
use crate::domain::ids::EventId;
use crate::error::Error;
use crate::keys::Place;
use crate::storage::follow;

const PLACE: Place<'static> = Place { column: "events.position", row: &[0; 16] };

impl Service {
    /// What a listener sends back to hear what came after this moment.
    pub async fn position(&self) -> Result<String, Error> {
        let newest = self.db.read(follow::newest).await?;
        let sealed = self.keys.sealer()?.seal(PLACE, newest.as_bytes())?;
        Ok(URL_SAFE_NO_PAD.encode(sealed))
    }

    /// The entry that a listener means: by its id, or by a position; none for any other text.
    pub fn entry_named(&self, last: &str) -> Option<EventId> {
        last.parse().ok().or_else(|| {
            let sealed = URL_SAFE_NO_PAD.decode(last).ok()?;
            let id = self.keys.open(PLACE, &sealed).ok()?;
            Uuid::from_slice(&id).ok().map(EventId)
        })
    }
}
