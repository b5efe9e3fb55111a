//! Three instances behind haproxy under load, while instances are killed and stopped, PostgreSQL is restarted and
//! connections are cut: every acknowledged comment is there once and named by a mail, and clients see nothing but answers,
//! 503 with `Retry-After`, and cut connections. The short form runs here; `scripts/chaos` runs it for three minutes. It
//! prints how long clients waited after each fault, and fails only when that never ends.

use std::process::{Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use super::load::{Clients, Fault, Load, SITES, pause_until};
use crate::support::program::{Installation, wait_until};
use crate::support::proxy::Kind;
use crate::support::server::Server;

const INSTANCES: usize = 3;

/// What happens halfway through a round; at its beginning an instance is killed.
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
    let took = begun.elapsed();
    let installations = fleet.finish(&server, is_short);
    load.compare(&server);
    let doctor = String::from_utf8(installations[0].run(&["doctor"]).stdout).unwrap();
    assert!(doctor.contains("ok   The counters agree"), "{doctor}");
    let twice = load.compare_mails(&installations);
    eprintln!("{}", load.report(took, twice));
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
            let _ = Command::new("kill").arg(format!("-{signal}")).arg(pid.to_string()).stderr(Stdio::null()).status();
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
            pause_until(Instant::now() + Duration::from_millis(100));
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
