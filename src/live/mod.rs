//! What happens, told while it happens: to listeners in this process, whichever instance it happened on. One task follows
//! the event log while anybody listens, and nobody reads it while nobody does. It knows topics and frames, neither HTTP nor
//! who may listen to what. A frame is made once for all its listeners; a listener that does not keep up is let go, and
//! finds what it missed in the log.

mod following;
pub mod queue;

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use bytes::Bytes;
use tokio::runtime::Handle;
use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;

use crate::domain::ids::{AccountId, EventId, SiteId};
use crate::error::Error;
use crate::storage::Db;
use crate::storage::follow::{self, Position};

/// What can be listened to.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Topic {
    /// The queue of one site.
    Queue(SiteId),
    /// The queues of all sites.
    AllQueues,
}

/// A piece of an event stream, ready to be sent.
#[derive(Debug)]
pub struct Frame {
    /// The entry of the log that it tells of.
    pub id: EventId,
    /// As it stands in the stream.
    pub bytes: Bytes,
}

/// How many may listen at once.
#[derive(Debug, Clone, Copy)]
pub struct Seats {
    /// In all.
    pub all: usize,
    /// For one account.
    pub each: usize,
}

/// Frames that wait for one listener, at most; whoever has more waiting is let go. Twice as many as one request decides on.
const BACKLOG: usize = 1024;

/// Whoever finds no seat may ask again after this time.
const SEAT_WAIT: Duration = Duration::from_secs(15);

/// Everybody who listens. One for the process.
pub struct Live {
    db: Db,
    runtime: Handle,
    seats: Seats,
    /// Ends every stream.
    pub stop: CancellationToken,
    /// A sign of life goes out, and rights are looked at again, so often.
    pub heartbeat: Duration,
    room: Mutex<Room>,
    /// How far the log is followed; none while nobody listens.
    position: tokio::sync::Mutex<Option<Position>>,
}

#[derive(Default)]
struct Room {
    next: u64,
    listeners: HashMap<u64, Listener>,
    by_topic: HashMap<Topic, Vec<u64>>,
    is_followed: bool,
}

struct Listener {
    account: AccountId,
    topics: Vec<Topic>,
    frames: mpsc::Sender<Arc<Frame>>,
}

impl Room {
    fn remove(&mut self, number: u64) {
        let Some(gone) = self.listeners.remove(&number) else { return };
        for topic in gone.topics {
            if let Some(numbers) = self.by_topic.get_mut(&topic) {
                numbers.retain(|other| *other != number);
                if numbers.is_empty() {
                    self.by_topic.remove(&topic);
                }
            }
        }
    }
}

/// A place among the listeners; given back when dropped.
pub struct Subscription {
    live: Arc<Live>,
    number: u64,
    frames: mpsc::Receiver<Arc<Frame>>,
}

impl Subscription {
    /// The next frame; none when the listener was let go.
    pub async fn next(&mut self) -> Option<Arc<Frame>> {
        self.frames.recv().await
    }
}

impl Drop for Subscription {
    fn drop(&mut self) {
        self.live.room().remove(self.number);
    }
}

impl Live {
    /// Nobody listens yet. To be called on the runtime that outlives all listeners.
    pub fn new(db: Db, seats: Seats, heartbeat: Duration) -> Arc<Self> {
        Arc::new(Self {
            db,
            runtime: Handle::current(),
            seats,
            stop: CancellationToken::new(),
            heartbeat,
            room: Mutex::default(),
            position: tokio::sync::Mutex::default(),
        })
    }

    fn room(&self) -> MutexGuard<'_, Room> {
        self.room.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// How many listen now.
    pub fn listeners(&self) -> usize {
        self.room().listeners.len()
    }

    /// Listens to topics, none of which contains another. What is committed after this returns is told, and nothing twice.
    /// [`Error::RateLimited`] when the account has all its seats taken, [`Error::Busy`] when all are, or the service stops.
    pub async fn listen(self: &Arc<Self>, account: AccountId, topics: Vec<Topic>) -> Result<Subscription, Error> {
        let subscription = self.take_seat(account, topics)?;
        let mut position = self.position.lock().await;
        if position.is_none() {
            *position = Some(self.db.read(follow::end).await?);
        }
        let mut room = self.room();
        if !std::mem::replace(&mut room.is_followed, true) {
            self.runtime.spawn(following::follow(self.clone()));
        }
        drop(room);
        Ok(subscription)
    }

    fn take_seat(self: &Arc<Self>, account: AccountId, topics: Vec<Topic>) -> Result<Subscription, Error> {
        let mut room = self.room();
        if self.stop.is_cancelled() || room.listeners.len() >= self.seats.all {
            return Err(Error::Busy);
        }
        if room.listeners.values().filter(|other| other.account == account).count() >= self.seats.each {
            return Err(Error::RateLimited(SEAT_WAIT));
        }
        room.next += 1;
        let number = room.next;
        for topic in &topics {
            room.by_topic.entry(*topic).or_default().push(number);
        }
        let (sender, frames) = mpsc::channel(BACKLOG);
        room.listeners.insert(number, Listener { account, topics, frames: sender });
        Ok(Subscription { live: self.clone(), number, frames })
    }

    /// Gives a frame to whoever listens to one of these topics.
    fn tell(&self, topics: &[Topic], frame: &Arc<Frame>) {
        let mut room = self.room();
        let numbers = topics.iter().filter_map(|topic| room.by_topic.get(topic)).flatten();
        let slow = |number: &&u64| {
            let listener = room.listeners.get(number);
            listener.is_some_and(|listener| listener.frames.try_send(frame.clone()).is_err())
        };
        let slow: Vec<u64> = numbers.filter(slow).copied().collect();
        for number in slow {
            room.remove(number);
        }
    }

    /// Whether nobody listens any more: then the log is followed no longer.
    fn is_left(&self) -> bool {
        let mut room = self.room();
        if room.listeners.is_empty() {
            room.is_followed = false;
        }
        !room.is_followed
    }
}
