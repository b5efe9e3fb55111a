//! What happens, told while it happens: to listeners in this process, whichever instance it happened on. One task follows
//! the event log while anybody listens, and nobody reads it while nobody does. It knows topics and frames, neither HTTP nor
//! who may listen to what. A frame is made once for all its listeners; a listener that does not keep up is let go, and
//! finds what it missed in the log.

mod following;
pub mod queue;
pub mod readers;

use std::collections::hash_map::Entry;
use std::collections::{HashMap, HashSet};
use std::net::IpAddr;
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};
use std::time::Duration;

use bytes::Bytes;
use tokio::runtime::Handle;
use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;

use crate::domain::ids::{AccountId, EventId, SiteId};
use crate::error::Error;
use crate::storage::Db;
use crate::storage::follow::{self, Position};
use crate::storage::seen::Change;

/// What can be listened to.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Topic {
    /// The queue of one site.
    Queue(SiteId),
    /// The queues of all sites.
    AllQueues,
    /// What readers see of one article, by the digest of its key: it may not be there yet.
    Article(SiteId, [u8; 16]),
}

/// A piece of an event stream, ready to be sent.
#[derive(Debug)]
pub struct Frame {
    /// The entry of the log that it tells of.
    pub id: EventId,
    /// What readers see otherwise, for whoever writes it down first; none when that is done.
    change: Option<Change>,
    bytes: OnceLock<Bytes>,
}

impl Frame {
    /// A frame that is written.
    fn written(id: EventId, bytes: Bytes) -> Self {
        Self { id, change: None, bytes: OnceLock::from(bytes) }
    }

    /// A frame that its first listener writes, because only those who answer know the shapes of comments.
    pub fn of_change(change: Change) -> Self {
        Self { id: change.id, change: Some(change), bytes: OnceLock::new() }
    }

    /// As it stands in the stream: written once, and shared by all.
    pub fn bytes(&self, write: impl FnOnce(&Change) -> Bytes) -> Bytes {
        self.bytes.get_or_init(|| self.change.as_ref().map(write).unwrap_or_default()).clone()
    }
}

/// Who listens, for the count of places.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Who {
    /// Somebody with an account.
    Account(AccountId),
    /// A reader: the address block of one household.
    Reader(IpAddr),
}

/// How many may listen at once.
#[derive(Debug, Clone, Copy)]
pub struct Seats {
    /// In all.
    pub all: usize,
    /// For one account, or one reader.
    pub each: usize,
}

/// How many moderators and how many readers: neither take the others' places.
#[derive(Debug, Clone, Copy)]
pub struct Hall {
    /// With an account.
    pub moderators: Seats,
    /// Without.
    pub readers: Seats,
}

impl Hall {
    fn seats(&self, who: Who) -> Seats {
        match who {
            Who::Account(_) => self.moderators,
            Who::Reader(_) => self.readers,
        }
    }
}

/// Frames that wait for one listener, at most; whoever has more waiting is let go. Twice as many as one request decides on.
const BACKLOG: usize = 1024;

/// Whoever finds no seat may ask again after this time.
const SEAT_WAIT: Duration = Duration::from_secs(15);

/// Everybody who listens. One for the process.
pub struct Live {
    db: Db,
    runtime: Handle,
    hall: Hall,
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
    by_topic: HashMap<Topic, HashSet<u64>>,
    taken: HashMap<Who, usize>,
    readers: usize,
    is_followed: bool,
}

struct Listener {
    who: Who,
    topics: Vec<Topic>,
    frames: mpsc::Sender<Arc<Frame>>,
}

impl Room {
    fn remove(&mut self, number: u64) {
        let Some(gone) = self.listeners.remove(&number) else { return };
        for topic in gone.topics {
            if let Some(numbers) = self.by_topic.get_mut(&topic) {
                numbers.remove(&number);
                if numbers.is_empty() {
                    self.by_topic.remove(&topic);
                }
            }
        }
        self.readers -= usize::from(matches!(gone.who, Who::Reader(_)));
        if let Entry::Occupied(mut taken) = self.taken.entry(gone.who) {
            *taken.get_mut() -= 1;
            if *taken.get() == 0 {
                taken.remove();
            }
        }
    }

    /// Listeners of the same kind.
    fn beside(&self, who: Who) -> usize {
        match who {
            Who::Account(_) => self.listeners.len() - self.readers,
            Who::Reader(_) => self.readers,
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
    pub fn new(db: Db, hall: Hall, heartbeat: Duration) -> Arc<Self> {
        Arc::new(Self {
            db,
            runtime: Handle::current(),
            hall,
            stop: CancellationToken::new(),
            heartbeat,
            room: Mutex::default(),
            position: tokio::sync::Mutex::default(),
        })
    }

    fn room(&self) -> MutexGuard<'_, Room> {
        self.room.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// How many listen now: moderators, and readers.
    pub fn listeners(&self) -> (usize, usize) {
        let room = self.room();
        (room.listeners.len() - room.readers, room.readers)
    }

    /// Listens to topics, none of which contains another. What is committed after this returns is told, and nothing twice.
    /// [`Error::RateLimited`] when the account or the reader has all their seats taken, [`Error::Busy`] when all are, or the service stops.
    pub async fn listen(self: &Arc<Self>, who: Who, topics: Vec<Topic>) -> Result<Subscription, Error> {
        let subscription = self.take_seat(who, topics)?;
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

    fn take_seat(self: &Arc<Self>, who: Who, topics: Vec<Topic>) -> Result<Subscription, Error> {
        let mut room = self.room();
        let seats = self.hall.seats(who);
        if self.stop.is_cancelled() || room.beside(who) >= seats.all {
            return Err(Error::Busy);
        }
        if room.taken.get(&who).copied().unwrap_or(0) >= seats.each {
            return Err(Error::RateLimited(SEAT_WAIT));
        }
        room.next += 1;
        let number = room.next;
        for topic in &topics {
            room.by_topic.entry(*topic).or_default().insert(number);
        }
        let (sender, frames) = mpsc::channel(BACKLOG);
        *room.taken.entry(who).or_default() += 1;
        room.readers += usize::from(matches!(who, Who::Reader(_)));
        room.listeners.insert(number, Listener { who, topics, frames: sender });
        Ok(Subscription { live: self.clone(), number, frames })
    }

    /// Whether any reader listens.
    fn has_readers(&self) -> bool {
        self.room().readers > 0
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
