//! Clients that send comments until each is acknowledged, whatever goes away meanwhile: what they see, how long they wait,
//! and in the end whether the database and the mails agree with what they know.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::fmt::Write as _;
use std::io::Write as _;
use std::net::TcpStream;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use reqwest::blocking::Client;
use serde_json::{Value, json};

use crate::support::program::Installation;
use crate::support::proxy::Proxy;
use crate::support::server::Server;

const CLIENTS: usize = 8;
/// Each with a moderator, who gets every mail.
pub const SITES: usize = 4;

/// So that the mails, each of which is synced to disk, can follow.
const BETWEEN_COMMENTS: Duration = Duration::from_millis(40);
/// Shorter than `Retry-After`, so that the service is pressed harder than it asks for.
const BETWEEN_TRIES: Duration = Duration::from_millis(100);
/// Every so manieth comment is sent once without waiting for the answer.
const HANGS_UP: usize = 15;

/// "Normal again" (printed, and judged by nobody but the reader).
const BAR: Duration = Duration::from_secs(5);

/// What goes away.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Fault {
    Kill,
    FastRestart,
    CutSessions,
    Stop,
    ImmediateRestart,
}

/// Faults come at their times.
pub fn pause_until(moment: Instant) {
    std::thread::sleep(moment.saturating_duration_since(Instant::now()));
}

/// What clients see of one request.
enum Seen {
    Taken(String),
    Busy,
    Cut,
}

/// What clients know, and where they send.
pub struct Load {
    url: String,
    address: String,
    ledger: Mutex<Ledger>,
}

#[derive(Default)]
struct Ledger {
    /// Each text that was acknowledged, with its id.
    taken: Vec<(String, String)>,
    seen: BTreeMap<&'static str, usize>,
    waits: Vec<Duration>,
    recoveries: Vec<(Fault, Duration)>,
}

impl Load {
    pub fn new(proxy: &Proxy) -> Self {
        let address = proxy.url.trim_start_matches("http://").to_owned();
        Self { url: proxy.url.clone(), address, ledger: Mutex::default() }
    }

    fn count(&self, what: &'static str) {
        *self.ledger.lock().unwrap().seen.entry(what).or_default() += 1;
    }

    fn send(&self, client: &Client, text: &str) -> Seen {
        let (path, comment) = request(text);
        let request = client.post(self.url.clone() + &path).json(&comment).header("Idempotency-Key", text);
        let answer = match request.send() {
            Ok(answer) => answer,
            Err(error) => {
                assert!(!error.is_timeout(), "no answer to {text}: {error:?}");
                return Seen::Cut;
            }
        };
        match answer.status().as_u16() {
            202 => answer.json().map_or(Seen::Cut, |answer: Value| {
                Seen::Taken(answer["comment"]["id"].as_str().unwrap_or_else(|| panic!("{answer}")).to_owned())
            }),
            503 => {
                let wait = answer.headers().get("retry-after").unwrap_or_else(|| panic!("no Retry-After: {answer:?}"));
                assert!(wait.to_str().unwrap().parse::<u64>().unwrap() > 0);
                self.count(if answer.headers().contains_key("x-request-id") {
                    "503 of a service"
                } else {
                    "503 of haproxy"
                });
                Seen::Busy
            }
            status => panic!("{text}: {status} {:?}", answer.text()),
        }
    }

    /// Sends the same comment with the same key until it is acknowledged.
    fn until_taken(&self, client: &Client, text: &str) {
        let begun = Instant::now();
        let id = loop {
            match self.send(client, text) {
                Seen::Taken(id) => break id,
                Seen::Busy => {}
                Seen::Cut => self.count("connections cut"),
            }
            assert!(begun.elapsed() < Duration::from_mins(1), "the service never recovers");
            pause_until(Instant::now() + BETWEEN_TRIES);
        };
        let mut ledger = self.ledger.lock().unwrap();
        ledger.waits.push(begun.elapsed());
        ledger.taken.push((text.to_owned(), id));
    }

    /// Sends a comment and goes away before the answer.
    fn hang_up(&self, text: &str) {
        let (path, comment) = request(text);
        let body = comment.to_string();
        if let Ok(mut stream) = TcpStream::connect(&self.address) {
            let head =
                format!("POST {path} HTTP/1.1\r\nHost: a\r\nContent-Type: application/json\r\nIdempotency-Key: {text}");
            // Cut or not, it is sent again.
            let _ = stream.write_all(format!("{head}\r\nContent-Length: {}\r\n\r\n{body}", body.len()).as_bytes());
            self.count("hung up");
        }
    }

    /// How long after a fault (PostgreSQL is there again) a comment is taken.
    pub fn recover(&self, fault: Fault) {
        let begun = Instant::now();
        let number = self.ledger.lock().unwrap().recoveries.len();
        self.until_taken(&Client::new(), &format!("after-fault-{number}"));
        self.ledger.lock().unwrap().recoveries.push((fault, begun.elapsed()));
    }

    pub fn compare(&self, server: &Server) {
        let ledger = self.ledger.lock().unwrap();
        let rows = server.ask("SELECT body || ' ' || id FROM comments");
        let stored: HashMap<&str, &str> = rows.lines().map(|line| line.split_once(' ').unwrap()).collect();
        assert_eq!(stored.len(), rows.lines().count(), "nothing is stored twice");
        for (text, id) in &ledger.taken {
            assert_eq!(stored.get(text.as_str()), Some(&id.as_str()), "{text} was acknowledged");
        }
        assert_eq!(stored.len(), ledger.taken.len(), "every comment was acknowledged in the end");
        let count = stored.len().to_string();
        assert_eq!(server.ask("SELECT count(*) FROM events"), count);
        assert_eq!(server.ask("SELECT sum(pending) FROM site_counts"), count);
    }

    /// Every comment is named by a mail, and by one only, which may have been sent twice: then both have one `Message-ID`,
    /// which is the file's name here. Returns how many were; an instance that sent one twice itself wrote one file.
    pub fn compare_mails(&self, installations: &[Installation]) -> usize {
        let mut mails: HashMap<String, BTreeSet<String>> = HashMap::new();
        let mut files = 0;
        for installation in installations {
            let Ok(folder) = std::fs::read_dir(installation.path("data/mail")) else { continue };
            for file in folder.map(Result::unwrap) {
                let name = file.file_name().into_string().unwrap();
                if !name.starts_with('.') {
                    files += 1;
                    // Quoted-printable cuts long lines so.
                    let text = std::fs::read_to_string(file.path()).unwrap().replace("=\r\n", "");
                    // Every comment has a text of its own, which its mail quotes.
                    let quoted = text.lines().find_map(|line| line.strip_prefix("> "));
                    let quoted = quoted.unwrap_or_else(|| panic!("{text}"));
                    mails.entry(quoted.to_owned()).or_default().insert(name);
                }
            }
        }
        let ledger = self.ledger.lock().unwrap();
        for (text, _) in &ledger.taken {
            assert_eq!(mails.get(text).map_or(0, BTreeSet::len), 1, "mails about {text}");
        }
        assert_eq!(mails.len(), ledger.taken.len());
        files - mails.len()
    }

    pub fn report(&self, took: Duration, twice: usize) -> String {
        let ledger = self.ledger.lock().unwrap();
        let mut text = format!(
            "{} comments acknowledged in {} s, 0 lost, 0 doubled; 0 mails lost, {twice} sent twice with one Message-ID\n",
            ledger.taken.len(),
            took.as_secs()
        );
        let _ = writeln!(text, "seen by clients: {:?}", ledger.seen);
        let mut waits = ledger.waits.clone();
        waits.sort_unstable();
        let at = |percent: usize| waits[(waits.len() - 1) * percent / 100];
        let _ = writeln!(
            text,
            "from the first try to the answer: {:.2?} (median), {:.2?} (99 %), {:.2?} (most)",
            at(50),
            at(99),
            at(100)
        );
        let mut faults: BTreeMap<Fault, Vec<Duration>> = BTreeMap::new();
        for (fault, wait) in &ledger.recoveries {
            faults.entry(*fault).or_default().push(*wait);
        }
        for (fault, mut waits) in faults {
            waits.sort_unstable();
            let (middle, most) = (waits[waits.len() / 2], waits[waits.len() - 1]);
            let missed = if most > BAR { "  MISSED: more than 5 s" } else { "" };
            let _ = writeln!(
                text,
                "{fault:?} x {}: taken again after {middle:.2?} (median), {most:.2?} (most){missed}",
                waits.len()
            );
        }
        text
    }
}

/// Where a comment goes, and what it is.
fn request(text: &str) -> (String, Value) {
    let comment =
        json!({"article": format!("/{}", text.len() % 5), "name": "Ada", "email": "ada@example.org", "body": text});
    let site = text.bytes().map(usize::from).sum::<usize>() % SITES;
    (format!("/api/v1/sites/site-{site}/comments"), comment)
}

/// Those who send; they end when they are told to, with an acknowledged comment.
pub struct Clients {
    stop: Arc<AtomicBool>,
    threads: Vec<JoinHandle<()>>,
}

impl Clients {
    pub fn start(load: &Arc<Load>) -> Self {
        let stop = Arc::new(AtomicBool::new(false));
        let threads = (0..CLIENTS).map(|number| {
            let (load, stop) = (load.clone(), stop.clone());
            std::thread::spawn(move || {
                let client = Client::new();
                for n in 0.. {
                    if stop.load(Ordering::Relaxed) {
                        return;
                    }
                    let text = format!("client-{number}-comment-{n}");
                    if n % HANGS_UP == 0 {
                        load.hang_up(&text);
                    }
                    load.until_taken(&client, &text);
                    pause_until(Instant::now() + BETWEEN_COMMENTS);
                }
            })
        });
        Self { threads: threads.collect(), stop }
    }

    pub fn assert_well(&self) {
        assert!(!self.threads.iter().any(JoinHandle::is_finished), "a client saw what it must not see");
    }

    pub fn stop(mut self) {
        self.stop.store(true, Ordering::Relaxed);
        for thread in std::mem::take(&mut self.threads) {
            thread.join().unwrap();
        }
    }
}

impl Drop for Clients {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Relaxed);
    }
}
