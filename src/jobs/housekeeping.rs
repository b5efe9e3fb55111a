//! What must happen now and then: the sites' settings are looked at, the search index catches up, old rows go.

use std::sync::Arc;
use std::time::Duration;

use tokio_util::sync::CancellationToken;

use crate::error::Error;
use crate::service::Service;
use crate::storage::{idempotency, outbox, words};

/// A change made by another process (the command line) is seen after this at the latest; the contract says a second.
const LOOK_FOR_CHANGES: Duration = Duration::from_millis(500);

/// The search index follows this often while the writer has nothing better to do, and in pieces of this size.
const CATCH_UP: Duration = Duration::from_millis(250);
const CATCH_UP_PIECE: i64 = 64;

/// After this long the index follows whether the writer is busy or not.
const PATIENCE: Duration = Duration::from_secs(10);

/// Old rows are looked for this often.
const SWEEP: Duration = Duration::from_mins(10);

/// Finished outbox rows stay this long, so that a moderator's question what was sent can be answered.
const KEEP_FINISHED: Duration = Duration::from_hours(7 * 24);

/// Keeps house until it is told to stop.
pub async fn run(service: Arc<Service>, stop: CancellationToken) {
    tokio::join!(
        every(LOOK_FOR_CHANGES, &stop, || async { service.refresh_sites().await }),
        every(SWEEP, &stop, || sweep(&service)),
        catch_up(&service, &stop),
    );
}

/// Does something again and again; a failure is told and tried again the next time.
async fn every<F: Future<Output = Result<(), Error>>>(pause: Duration, stop: &CancellationToken, work: impl Fn() -> F) {
    let mut failing = false;
    loop {
        match work().await {
            Ok(()) => failing = false,
            Err(error) if !failing => {
                tracing::warn!(%error, "housekeeping failed; it is tried again");
                failing = true;
            }
            Err(_) => {}
        }
        tokio::select! {
            () = stop.cancelled() => return,
            () = tokio::time::sleep(pause) => {}
        }
    }
}

async fn sweep(service: &Service) -> Result<(), Error> {
    let now = service.clock.now();
    while service.db.write(move |tx| idempotency::sweep(tx, now, 500)).await? == 500 {}
    while service.db.write(move |tx| outbox::sweep(tx, now.minus(KEEP_FINISHED), 500)).await? == 500 {}
    Ok(())
}

/// Lets the search index follow the comments.
async fn catch_up(service: &Service, stop: &CancellationToken) {
    let mut waited = Duration::ZERO;
    while !stop.is_cancelled() {
        let piece = usize::try_from(CATCH_UP_PIECE).unwrap_or(usize::MAX);
        if service.db.writer_is_idle() || waited >= PATIENCE {
            match service.db.write(|tx| words::catch_up(tx, CATCH_UP_PIECE)).await {
                Ok(taken) if taken == piece => continue,
                Ok(_) => waited = Duration::ZERO,
                Err(error) => tracing::warn!(%error, "the search index could not follow"),
            }
        } else {
            waited += CATCH_UP;
        }
        tokio::select! {
            () = stop.cancelled() => return,
            () = tokio::time::sleep(CATCH_UP) => {}
        }
    }
}
