//! Three instances behind haproxy under load, while instances are killed and stopped, PostgreSQL is restarted and
//! connections are cut: every acknowledged comment is there once and named by a mail, and clients see nothing but answers,
//! 503 with `Retry-After`, and cut connections. The short form runs here; `scripts/chaos` runs it for three minutes. It
//! prints how long clients waited after each fault, and fails only when that never ends.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::fmt::Write as _;
use std::io::Write as _;
use std::net::TcpStream;
use std::process::{Command, Stdio};
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::sync::{Arc, Mutex};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use reqwest::blocking::Client;
use serde_json::{Value, json};

use crate::support::program::{Installation, wait_until};
use crate::support::proxy::{Kind, Proxy};
use crate::support::server::Server;

const INSTANCES: usize = 3;
const CLIENTS: usize = 8;
/// Each with a moderator, who gets every mail.
const SITES: usize = 4;

/// So that the mails, each of which is synced to disk, can follow.
const BETWEEN_COMMENTS: Duration = Duration::from_millis(40);
/// Shorter than `Retry-After`, so that the service is pressed harder than it asks for.
const BETWEEN_TRIES: Duration = Duration::from_millis(100);
/// Every so manieth comment is sent once without waiting for the answer.
const HANGS_UP: usize = 15;

/// "Normal again" (printed, and judged by nobody but the reader).
const BAR: Duration = Duration::from_secs(5);

/// What happens halfway through a round; at its beginning an instance is killed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Fault {
    Kill,
    FastRestart,
    CutSessions,
    Stop,
    ImmediateRestart,
}

const HALFWAY: [Fault; 4] = [Fault::FastRestart, Fault::CutSessions, Fault::Stop, Fault::ImmediateRestart];

#[test]
fn nothing_is_lost_whatever_goes_away() {
    let seconds: u64 = std::env::var("AFTERWORD_CHAOS_SECONDS").map_or(12, |seconds| seconds.parse().unwrap());
    let is_short = seconds < 60;
    let round = Duration::from_secs(if is_short { 3 } else { 10 });
    let server = Server::start();
    let fleet = Fleet::start(&server);
    let proxy = Kind::Haproxy.start(&fleet.ports());
    fleet.add_sites();
    let load = Arc::new(Load::new(&proxy));
    let clients = Clients::start(&load);
    let begun = Instant::now();
    let mut number: usize = 0;
    while begun.elapsed() < Duration::from_secs(seconds) {
        let start = Instant::now();
        clients.assert_well();
        fleet.signal(number % INSTANCES, "KILL");
        load.recover(Fault::Kill);
        pause_until(start + round / 2);
        let fault = HALFWAY[number % HALFWAY.len()];
        match fault {
            Fault::FastRestart => server.restart("fast"),
            Fault::ImmediateRestart => server.restart("immediate"),
            Fault::CutSessions => server.end_sessions(),
            Fault::Stop | Fault::Kill => fleet.signal((number + 1) % INSTANCES, "TERM"),
        }
        load.recover(fault);
        pause_until(start + round);
        number += 1;
    }
    clients.stop();
    let installations = fleet.finish(&server, is_short);
    load.compare(&server);
    let doctor = String::from_utf8(installations[0].run(&["doctor"]).stdout).unwrap();
    assert!(doctor.contains("ok   The counters agree"), "{doctor}");
    let twice = load.compare_mails(&installations);
    eprintln!("{}", load.report(begun.elapsed(), twice));
}

#[expect(clippy::disallowed_methods, reason = "faults come at their times")]
fn pause_until(moment: Instant) {
    std::thread::sleep(moment.saturating_duration_since(Instant::now()));
}

/// The instances, each started again a second after it ended, as `deploy/systemd/afterword.service` does.
struct Fleet {
    installations: Vec<Installation>,
    pids: Vec<Arc<AtomicU32>>,
    supervisors: Vec<JoinHandle<()>>,
    stop: Arc<AtomicBool>,
}

impl Fleet {
    /// All at once, on an empty database and without a key: one of them makes what they share.
    fn start(server: &Server) -> Self {
        let first = Installation::new();
        let key = first.path("secret.key").display().to_string();
        let installations: Vec<Installation> = std::iter::once(first)
            .chain(std::iter::repeat_with(Installation::new))
            .take(INSTANCES)
            .map(|one| {
                one.set("database__url", &server.url())
                    .set("database__pool_size", "4")
                    .set("secrets__key_file", &key)
                    .set("mail__hourly_ceiling", "1000000")
                    .set("limits__enabled", "false")
                    .set("log__level", "warn")
            })
            .collect();
        let mut fleet = Self { installations, pids: Vec::new(), supervisors: Vec::new(), stop: Arc::default() };
        fleet.supervise();
        for number in 0..INSTANCES {
            wait_until("all are ready", || fleet.answers(number, "/readyz"));
        }
        fleet
    }

    fn supervise(&mut self) {
        self.stop = Arc::default();
        self.pids = (0..INSTANCES).map(|_| Arc::default()).collect();
        for (installation, pid) in self.installations.iter().zip(&self.pids) {
            let log = std::fs::File::options().create(true).append(true).open(installation.path("log")).unwrap();
            let mut command = installation.command(&["serve"]);
            command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(log);
            let (pid, stop) = (pid.clone(), self.stop.clone());
            self.supervisors.push(std::thread::spawn(move || {
                while !stop.load(Ordering::SeqCst) {
                    let mut child = command.spawn().unwrap();
                    pid.store(child.id(), Ordering::SeqCst);
                    child.wait().unwrap();
                    pid.store(0, Ordering::SeqCst);
                    pause_until(Instant::now() + Duration::from_secs(1));
                }
            }));
        }
    }

    fn ports(&self) -> Vec<u16> {
        self.installations.iter().map(|installation| installation.port).collect()
    }

    fn answers(&self, number: usize, path: &str) -> bool {
        let url = format!("http://127.0.0.1:{}{path}", self.installations[number].port);
        reqwest::blocking::get(url).is_ok_and(|answer| answer.status() == 200)
    }

    fn add_sites(&self) {
        for site in 0..SITES {
            let (key, email) = (format!("site-{site}"), format!("moderator-{site}@example.org"));
            self.installations[0].done(&["site", "add", &key, "--name", &key]);
            self.installations[0].done(&["account", "add", "--email", &email, "--role", "moderator", "--site", &key]);
        }
        let last = format!("/api/v1/sites/site-{}/recent", SITES - 1);
        for number in 0..INSTANCES {
            wait_until("all know the sites", || self.answers(number, &last));
        }
    }

    /// Sends a signal to an instance, if it runs.
    fn signal(&self, number: usize, signal: &str) {
        let pid = self.pids[number].load(Ordering::SeqCst);
        if pid != 0 {
            let _ = Command::new("kill").arg(format!("-{signal}")).arg(pid.to_string()).status();
        }
    }

    fn end(&mut self, signal: &str) {
        self.stop.store(true, Ordering::SeqCst);
        for supervisor in std::mem::take(&mut self.supervisors) {
            while !supervisor.is_finished() {
                // Again and again, because one may just be starting.
                for number in 0..self.pids.len() {
                    self.signal(number, signal);
                }
                pause_until(Instant::now() + Duration::from_millis(200));
            }
            let _ = supervisor.join();
        }
    }

    /// Waits until all mails are out, then stops all.
    fn finish(mut self, server: &Server, at_once: bool) -> Vec<Installation> {
        if at_once {
            // The claims of those that were killed last a minute; they are let run out now.
            self.end("TERM");
            server.ask("UPDATE outbox SET due_at = 0 WHERE due_at IS NOT NULL");
            self.supervise();
        }
        let begun = Instant::now();
        while server.ask("SELECT count(*) FROM outbox WHERE due_at IS NOT NULL") != "0" {
            assert!(begun.elapsed() < Duration::from_mins(5), "mails never leave");
            pause_until(Instant::now() + BETWEEN_TRIES);
        }
        assert_eq!(server.ask("SELECT count(*) FROM outbox WHERE failed_at IS NOT NULL"), "0");
        self.end("TERM");
        std::mem::take(&mut self.installations)
    }
}

impl Drop for Fleet {
    fn drop(&mut self) {
        self.end("KILL");
    }
}

/// What clients see of one request.
enum Seen {
    Taken(String),
    Busy,
    Cut,
}

/// What clients know, and where they send.
struct Load {
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
    fn new(proxy: &Proxy) -> Self {
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
    fn recover(&self, fault: Fault) {
        let begun = Instant::now();
        let number = self.ledger.lock().unwrap().recoveries.len();
        self.until_taken(&Client::new(), &format!("after-fault-{number}"));
        self.ledger.lock().unwrap().recoveries.push((fault, begun.elapsed()));
    }

    fn compare(&self, server: &Server) {
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
    fn compare_mails(&self, installations: &[Installation]) -> usize {
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
                    let (_, after) = text.split_once("/moderation/comments/").unwrap_or_else(|| panic!("{text}"));
                    mails.entry(after[..36].to_owned()).or_default().insert(name);
                }
            }
        }
        let ledger = self.ledger.lock().unwrap();
        for (text, id) in &ledger.taken {
            assert_eq!(mails.get(id).map_or(0, BTreeSet::len), 1, "mails about {text}");
        }
        assert_eq!(mails.len(), ledger.taken.len());
        files - mails.len()
    }

    fn report(&self, took: Duration, twice: usize) -> String {
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
struct Clients {
    stop: Arc<AtomicBool>,
    threads: Vec<JoinHandle<()>>,
}

impl Clients {
    fn start(load: &Arc<Load>) -> Self {
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

    fn assert_well(&self) {
        assert!(!self.threads.iter().any(JoinHandle::is_finished), "a client saw what it must not see");
    }

    fn stop(mut self) {
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
