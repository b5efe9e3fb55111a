//! The built program as its users run it: a folder of its own, a port of its own, settings by the environment.

use std::net::TcpListener;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Output, Stdio};
use std::time::{Duration, Instant};

use serde_json::Value;

/// A folder in which the program is run.
pub struct Installation {
    pub folder: tempfile::TempDir,
    pub port: u16,
    settings: Vec<(String, String)>,
}

/// A service that runs; killed when dropped.
pub struct Running {
    pub child: Child,
    pub url: String,
}

impl Installation {
    pub fn new() -> Self {
        // The port is free now; nobody else takes it in the moment until the program does.
        let port = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
        Self { folder: tempfile::tempdir().unwrap(), port, settings: Vec::new() }
            .set("server__listen", &format!("127.0.0.1:{port}"))
    }

    pub fn set(mut self, key: &str, value: &str) -> Self {
        self.settings.push((format!("AFTERWORD__{}", key.to_uppercase()), value.to_owned()));
        self
    }

    pub fn path(&self, file: &str) -> PathBuf {
        self.folder.path().join(file)
    }

    pub fn command(&self, arguments: &[&str]) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_afterword"));
        command.current_dir(self.folder.path()).args(arguments).env_clear().envs(self.settings.iter().cloned());
        command
    }

    /// Runs a command to its end.
    pub fn run(&self, arguments: &[&str]) -> Output {
        self.command(arguments).output().unwrap()
    }

    /// Runs a command that must succeed; returns what it printed.
    pub fn done(&self, arguments: &[&str]) -> String {
        let output = self.run(arguments);
        assert!(output.status.success(), "{arguments:?}: {}", String::from_utf8_lossy(&output.stderr));
        String::from_utf8(output.stdout).unwrap().trim_end().to_owned()
    }

    /// Starts the service and waits until it answers.
    pub fn start(&self) -> Running {
        let log = std::fs::File::options().create(true).append(true).open(self.path("log")).unwrap();
        let child = self.command(&["serve"]).stdout(Stdio::null()).stderr(log).spawn().unwrap();
        let mut running = Running { child, url: format!("http://127.0.0.1:{}", self.port) };
        wait_until("the service answers", || {
            assert!(running.child.try_wait().unwrap().is_none(), "it ended: {}", self.log());
            self.run(&["health"]).status.success()
        });
        running
    }

    pub fn log(&self) -> String {
        std::fs::read_to_string(self.path("log")).unwrap_or_default()
    }

    /// An access token of a new account.
    pub fn token(&self, role: &str) -> String {
        let email = format!("{role}@example.org");
        self.done(&["account", "add", "--email", &email, "--role", role, "--site", "default"]);
        self.done(&["token", "create", "--account", &email, "--name", "test"])
    }
}

impl Running {
    pub fn kill(mut self) {
        self.child.kill().unwrap();
        self.child.wait().unwrap();
    }

    /// Asks it to stop, and waits.
    pub fn stop(mut self) -> ExitStatus {
        let asked = Command::new("kill").arg("-TERM").arg(self.child.id().to_string()).status().unwrap();
        assert!(asked.success());
        let mut status = None;
        wait_until("the service stops", || {
            status = self.child.try_wait().unwrap();
            status.is_some()
        });
        status.unwrap()
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        // It may have ended already.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Waits for a condition, and fails after a minute. The pause between two looks decides nothing.
pub fn wait_until(what: &str, mut condition: impl FnMut() -> bool) {
    let begun = Instant::now();
    while !condition() {
        assert!(begun.elapsed() < Duration::from_mins(1), "waited in vain: {what}");
        std::thread::park_timeout(Duration::from_millis(20));
    }
}

/// The independent SMTP server; ended when dropped.
pub struct SmtpPeer {
    child: Child,
    pub port: u16,
    lines: std::sync::mpsc::Receiver<Value>,
    waiting: Vec<Value>,
}

impl SmtpPeer {
    pub fn start() -> Self {
        Self::start_at(0)
    }

    pub fn start_at(port: u16) -> Self {
        let python = Path::new(env!("CARGO_MANIFEST_DIR")).join("target/peers/bin/python");
        assert!(python.exists(), "{} is missing: scripts/test installs it", python.display());
        let mut child = Command::new(python)
            .arg(Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/peers/smtp_server.py"))
            .arg(port.to_string())
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let out = std::io::BufReader::new(child.stdout.take().unwrap());
        let (tell, lines) = std::sync::mpsc::channel();
        std::thread::spawn(move || {
            for line in std::io::BufRead::lines(out).map_while(Result::ok) {
                let _ = tell.send(serde_json::from_str(&line).unwrap());
            }
        });
        let mut peer = Self { child, port: 0, lines, waiting: Vec::new() };
        peer.port = u16::try_from(peer.next("port").as_u64().unwrap()).unwrap();
        peer
    }

    /// The next line that has this key.
    fn next(&mut self, key: &str) -> Value {
        if let Some(at) = self.waiting.iter().position(|line| line.get(key).is_some()) {
            return self.waiting.remove(at)[key].clone();
        }
        loop {
            let line = self
                .lines
                .recv_timeout(Duration::from_mins(1))
                .unwrap_or_else(|_| panic!("no {key} from the SMTP peer"));
            if let Some(value) = line.get(key) {
                return value.clone();
            }
            self.waiting.push(line);
        }
    }

    /// How it behaves from now on.
    pub fn mode(&mut self, mode: &str) {
        use std::io::Write;
        writeln!(self.child.stdin.as_mut().unwrap(), "{mode}").unwrap();
        assert_eq!(self.next("done"), mode);
    }

    /// The next mail that it took.
    pub fn mail(&mut self) -> Value {
        self.next("mail")
    }

    /// Mails that it took and nobody has asked for.
    pub fn mails_left(&mut self) -> usize {
        // What it said before is on its way to us still.
        self.mode("sync");
        self.waiting.iter().filter(|line| line.get("mail").is_some()).count()
    }
}

impl Drop for SmtpPeer {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Runs a program of `tests/peers`, which must succeed; scripts/install-test-tools puts there what it needs.
pub fn peer(script: &str, arguments: &[&Path]) {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let mut command = Command::new(root.join("target/peers/bin/python"));
    let output = command.arg(root.join("tests/peers").join(script)).args(arguments).output();
    let output = output.expect("run scripts/install-test-tools");
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
}
