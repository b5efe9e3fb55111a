//! The task that follows the event log: woken by each commit of this process, by what other instances tell, and twice a
//! second by itself. It ends when nobody listens any more.

use std::sync::Arc;
use std::time::Duration;

use super::{Frame, Live, queue, readers};
use crate::storage::{follow, seen};

/// What nobody told of is found after this time at the latest: another instance's comments that wait, mostly.
const LOOK: Duration = Duration::from_millis(500);

/// Commits that follow each other closely are read together.
const GATHER: Duration = Duration::from_millis(20);

pub(super) async fn follow(live: Arc<Live>) {
    let (mut failing, mut is_behind) = (false, false);
    loop {
        tokio::select! {
            () = live.stop.cancelled() => {}
            () = std::future::ready(()), if is_behind => {}
            () = live.db.log_has_grown().notified() => {}
            () = tokio::time::sleep(LOOK) => {}
        }
        let mut position = live.position.lock().await;
        let Some(from) = position.clone().filter(|_| !live.stop.is_cancelled() && !live.is_left()) else {
            *position = None;
            return;
        };
        let has_readers = live.has_readers();
        let read = live.db.read(move |conn| {
            let (end, ids) = follow::next(conn, &from)?;
            let entries = follow::entries(conn, &ids)?;
            let events = entries.iter().map(|entry| &entry.event).filter(|_| has_readers);
            let changes = seen::changes(conn, events)?;
            Ok((end, ids.len() >= follow::AT_ONCE, entries, changes))
        });
        match read.await {
            Ok((end, more, entries, changes)) => {
                (failing, is_behind) = (false, more);
                *position = Some(end);
                for (number, entry) in entries.iter().enumerate() {
                    live.tell(&queue::topics(entry), &Arc::new(queue::frame(entry)));
                    breathe(number).await;
                }
                for (number, change) in changes.into_iter().enumerate() {
                    live.tell(&readers::topics(&change), &Arc::new(Frame::of_change(change)));
                    breathe(number).await;
                }
            }
            // It goes on where it was.
            Err(error) if !failing => {
                tracing::warn!(%error, cause = error.inside(), "the event log cannot be followed; it is tried again");
                (failing, is_behind) = (true, false);
            }
            Err(_) => {}
        }
        drop(position);
        tokio::time::sleep(GATHER).await;
    }
}

/// Whoever listens on this thread gets on with it, too.
async fn breathe(number: usize) {
    if number % 64 == 63 {
        tokio::task::yield_now().await;
    }
}
