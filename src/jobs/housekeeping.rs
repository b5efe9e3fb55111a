//! What must happen now and then: the sites' settings, the rules and the keys are looked at, the search index catches up, old rows go.

use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};
use std::time::Duration;

use tokio_util::sync::CancellationToken;

use crate::domain::feedback::KEPT_FOR;
use crate::error::Error;
use crate::service::Service;
use crate::storage::{feedback, idempotency, neighbours, outbox, webhook_queue, words};

/// A change made by another process (the command line) is seen after this at the latest; the contract says a second.
const LOOK_FOR_CHANGES: Duration = Duration::from_millis(500);

/// Whether the search index can follow is looked at this often.
const CATCH_UP: Duration = Duration::from_millis(250);

/// It follows while no more than this many writes come in that time, in pieces of this many comments.
const QUIET: u64 = 10;
const CATCH_UP_PIECE: i64 = 64;

/// After this long the index follows whether the writer is busy or not.
const PATIENCE: Duration = Duration::from_secs(10);

/// So many pieces at most at a time, so that a busy writer is not kept from the rest for more than a second or two.
const PIECES: usize = 400;

/// Votes that wait to be shown are looked for this often.
const SHOW_VOTES: Duration = Duration::from_secs(1);
/// Whether comments of an alias are still on their way is looked at this often.
const MERGING: Duration = Duration::from_secs(5);

/// Old rows are looked for this often.
const SWEEP: Duration = Duration::from_mins(10);

/// Finished outbox rows stay this long, so that a moderator's question what was sent can be answered.
const KEEP_FINISHED: Duration = Duration::from_hours(7 * 24);

/// What became of events for webhooks can be looked up for this long, and for so many attempts of each.
const KEEP_DELIVERIES: Duration = Duration::from_hours(30 * 24);
const KEEP_ATTEMPTS: i64 = 100;

/// Keeps house until it is told to stop.
pub async fn run(service: Arc<Service>, stop: CancellationToken) {
    tokio::join!(
        every(LOOK_FOR_CHANGES, &stop, || async { service.refresh_sites().await }),
        every(LOOK_FOR_CHANGES, &stop, || async { service.refresh_rules().await }),
        every(LOOK_FOR_CHANGES, &stop, || async { service.refresh_keys().await }),
        look_for_foreign_writes(&service, &stop),
        every(SHOW_VOTES, &stop, || async { service.show_votes().await }),
        every(MERGING, &stop, || async { service.go_on_merging().await }),
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
                tracing::warn!(%error, cause = error.inside(), "housekeeping failed; it is tried again");
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

/// Lets old rows go; what a site or the operator wants to be forgotten with them.
pub async fn sweep(service: &Arc<Service>) -> Result<(), Error> {
    let now = service.clock.now();
    while service.db.write(move |tx| idempotency::sweep(tx, now, 500)).await? == 500 {}
    while service.db.write(move |tx| outbox::sweep(tx, now.minus(KEEP_FINISHED), 500)).await? == 500 {}
    service.keep_no_longer().await?;
    service.sweep_sessions().await?;
    while service.db.write(move |tx| feedback::sweep(tx, now.minus(KEPT_FOR), 500)).await? >= 500 {}
    let old = now.minus(KEEP_DELIVERIES);
    service.db.write(move |tx| webhook_queue::sweep(tx, (now, old), KEEP_ATTEMPTS)).await
}

/// Another process on the same database may change what readers see; what was made ready here is then worth nothing.
async fn look_for_foreign_writes(service: &Service, stop: &CancellationToken) {
    let known = AtomicI64::new(0);
    every(LOOK_FOR_CHANGES, stop, || async {
        let version = service.db.write(neighbours::foreign_writes).await?;
        let unheard = || !service.db.hears_others();
        if version.map_or_else(unheard, |version| known.swap(version, Ordering::Relaxed) != version) {
            service.db.everything_changed();
        }
        Ok(())
    })
    .await;
}

/// Lets the search index follow the comments, behind everything else that is written.
async fn catch_up(service: &Service, stop: &CancellationToken) {
    let (mut waited, mut seen) = (Duration::ZERO, service.db.writes());
    while !stop.is_cancelled() {
        tokio::select! {
            () = stop.cancelled() => return,
            () = tokio::time::sleep(CATCH_UP) => waited += CATCH_UP,
        }
        let came = service.db.writes().saturating_sub(seen);
        if came <= QUIET || waited >= PATIENCE {
            if let Err(error) = follow(service).await {
                tracing::warn!(%error, "the search index could not follow");
            }
            waited = Duration::ZERO;
        }
        seen = service.db.writes();
    }
}

async fn follow(service: &Service) -> Result<(), Error> {
    let piece = usize::try_from(CATCH_UP_PIECE).unwrap_or(usize::MAX);
    for _ in 0..PIECES {
        if service.db.read(words::is_complete).await? {
            break;
        }
        if service.db.write(|tx| words::catch_up(tx, CATCH_UP_PIECE)).await? < piece {
            break;
        }
    }
    Ok(())
}
