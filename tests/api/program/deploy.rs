//! The files of `deploy/`, tried: haproxy and nginx in front of real services and of made-up ones, the unit file by
//! systemd's own judgement, YAML by a parser.

use std::io::{Read, Write};
use std::net::{IpAddr, Ipv4Addr, TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use reqwest::StatusCode;
use reqwest::blocking::{Client, Response};
use serde_json::{Value, json};

use crate::support::postgres;
use crate::support::program::{Installation, wait_until};
use crate::support::proxy::Kind;

/// Makes two tests of one body.
macro_rules! behind_both {
    ($($name:ident),+ $(,)?) => {$(
        mod $name {
            #[test]
            fn haproxy() {
                super::$name(super::Kind::Haproxy);
            }

            #[test]
            fn nginx() {
                super::$name(super::Kind::Nginx);
            }
        }
    )+};
}

behind_both!(
    visitors_are_known_by_their_own_address,
    a_service_that_stops_is_not_missed,
    only_what_is_safe_is_sent_twice,
    a_long_list_of_words_passes,
    events_are_passed_on_as_they_come,
);

/// Two services on one database with one key and one folder of mails, behind a proxy on this machine.
fn two_services() -> [Installation; 2] {
    let database = postgres::empty_database();
    let first = Installation::new();
    let key = first.path("data/secret.key").display().to_string();
    // Either of them may be the one that writes the mails.
    let mails = first.path("data/mail").display().to_string();
    [first, Installation::new()].map(|installation| {
        installation
            .set("database__url", &database)
            .set("database__pool_size", "2")
            .set("secrets__key_file", &key)
            .set("mail__dir", &mails)
            .set("server__trusted_proxies", "127.0.0.1")
            .set("privacy__address", "full")
            .set("limits__enabled", "false")
    })
}

fn comment(text: &str) -> Value {
    json!({"article": "/a", "name": "Ada", "email": "ada@example.org", "body": text})
}

/// The 503 of a proxy is one of ours: a problem document, and when to come again.
fn is_busy(answer: Response) -> bool {
    if answer.status() != StatusCode::SERVICE_UNAVAILABLE {
        return false;
    }
    assert_eq!(answer.headers()["retry-after"], "2");
    assert_eq!(answer.headers()["content-type"], "application/problem+json");
    assert_eq!(answer.json::<Value>().unwrap()["code"], "busy");
    true
}

fn visitors_are_known_by_their_own_address(kind: Kind) {
    let [one, other] = two_services();
    let services = [one.start(), other.start()];
    let token = one.token("moderator");
    let proxy = kind.start(&[one.port, other.port]);
    let visitor = Ipv4Addr::new(127, 0, 0, 77);
    let client = Client::builder().local_address(IpAddr::from(visitor)).build().unwrap();
    let url = format!("{}/api/v1/sites/default/comments", proxy.url);
    let post = |text: &str| {
        let invented = [("x-forwarded-for", "203.0.113.9"), ("forwarded", "for=203.0.113.9")];
        let request = client.post(&url).json(&comment(text));
        invented.iter().fold(request, |request, (name, value)| request.header(*name, *value)).send().unwrap()
    };
    wait_until("the proxy has found a service", || post("first").status() != 503);
    let queue = client.get(format!("{}/api/v1/moderation/comments", proxy.url)).bearer_auth(&token).send().unwrap();
    let queue: Value = queue.json().unwrap();
    assert_eq!(queue["comments"][0]["address"], visitor.to_string());
    // The service's own answer is seen, not the proxy's.
    let refused = post(&"x".repeat(300 * 1024));
    assert_eq!(refused.status(), 413);
    assert_eq!(refused.json::<Value>().unwrap()["code"], "body_too_large");
    for service in services {
        assert!(service.stop().success());
    }
    // With key and mails elsewhere and the database on a server nothing is written: it may run on a read-only disk.
    assert!(!other.path("data").exists());
}

/// A rule's list may have 2 MiB, which is more than anything else may.
fn a_long_list_of_words_passes(kind: Kind) {
    let [one, _] = two_services();
    let service = one.start();
    let token = one.token("admin");
    let proxy = kind.start(&[one.port]);
    let client = Client::new();
    let rules = format!("{}/api/v1/moderation/rules", proxy.url);
    let rule = json!({"name": "words", "site": "default", "effect": {"decide": "hold"},
        "conditions": [{"on": "anywhere", "is": "contains_word", "list": true}]});
    let made = || client.post(&rules).bearer_auth(&token).json(&rule).send().unwrap();
    let mut answer = None;
    wait_until("the proxy has found a service", || {
        let made = made();
        let found = made.status() != 503;
        answer = Some(made);
        found
    });
    let made = answer.unwrap();
    assert_eq!(made.status(), 201, "{}", made.text().unwrap());
    let id = made.json::<Value>().unwrap()["id"].as_str().unwrap().to_owned();
    let write = |bytes: usize| {
        let list = (0..bytes / 32).map(|n| format!("{n:031}")).collect::<Vec<_>>().join("\n");
        let request = client.put(format!("{rules}/{id}/words")).bearer_auth(&token);
        request.header("content-type", "text/plain").body(list).send().unwrap()
    };
    let longest = write(2 * 1024 * 1024);
    assert_eq!(longest.status(), 200, "{}", longest.text().unwrap());
    let refused = write(2 * 1024 * 1024 + 32);
    assert_eq!(refused.status(), 413);
    assert_eq!(refused.json::<Value>().unwrap()["code"], "body_too_large", "the service's own answer");
    assert!(service.stop().success());
}

fn a_service_that_stops_is_not_missed(kind: Kind) {
    let [one, other] = two_services();
    let (first, second) = (one.start(), other.start());
    let proxy = kind.start(&[one.port, other.port]);
    let (client, url) = (Client::new(), format!("{}/api/v1/sites/default/comments", proxy.url));
    let post = |key: &str| client.post(&url).json(&comment(key)).header("idempotency-key", key).send().unwrap();
    wait_until("the proxy has found a service", || !is_busy(post("first")));
    std::thread::scope(|scope| {
        let stopping = scope.spawn(|| first.stop());
        for n in 0.. {
            // What met the service in its last moment may be told to come again.
            let text = format!("meanwhile-{n}");
            wait_until("it is taken", || {
                let answer = post(&text);
                let status = answer.status();
                let is_taken = status == 202;
                assert!(is_taken || status == 503, "neither taken nor busy: {status} {:?}", answer.text());
                assert!(is_taken || is_busy(answer));
                is_taken
            });
            if stopping.is_finished() && n > 20 {
                break;
            }
        }
        assert!(stopping.join().unwrap().success());
    });
    assert!(second.stop().success());
    wait_until("nobody is there", || is_busy(post("nobody")));
    let again = one.start();
    wait_until("somebody is there again", || post("again").status() == 202);
    drop(again);
}

/// A service that is none: it says what it is told to say, and remembers the first line of what it was asked.
struct Dummy {
    port: u16,
    asked: Arc<Mutex<Vec<String>>>,
}

impl Dummy {
    fn answering(say: impl Fn(&mut TcpStream) + Send + Sync + 'static) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let dummy = Self { port: listener.local_addr().unwrap().port(), asked: Arc::default() };
        let (asked, say) = (dummy.asked.clone(), Arc::new(say));
        // It ends with the test program.
        std::thread::spawn(move || {
            for mut stream in listener.incoming().flatten() {
                let (asked, say) = (asked.clone(), say.clone());
                std::thread::spawn(move || {
                    let mut bytes = [0; 4096];
                    let read = stream.read(&mut bytes).unwrap_or(0);
                    let line = String::from_utf8_lossy(&bytes[..read]).lines().next().unwrap_or_default().to_owned();
                    if line.starts_with("GET /readyz") {
                        return drop(stream.write_all(ANSWER));
                    }
                    asked.lock().unwrap().push(line);
                    say(&mut stream);
                });
            }
        });
        dummy
    }

    fn asked(&self) -> usize {
        self.asked.lock().unwrap().len()
    }
}

const ANSWER: &[u8] = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\nConnection: close\r\n\r\nok";

fn only_what_is_safe_is_sent_twice(kind: Kind) {
    // Both go away when they have read the request.
    let dying = [Dummy::answering(|_| {}), Dummy::answering(|_| {})];
    let asked = || dying.iter().map(Dummy::asked).sum::<usize>();
    let proxy = kind.start(&[dying[0].port, dying[1].port]);
    // A connection for each request: on one that is used again haproxy hangs up instead, so that clients repeat it.
    let client = Client::builder().pool_max_idle_per_host(0).build().unwrap();
    let url = format!("{}/x", proxy.url);
    wait_until("the proxy has found them", || is_busy(client.get(&url).send().unwrap()) && asked() > 0);
    let times = |request: reqwest::blocking::RequestBuilder| {
        let before = asked();
        assert!(is_busy(request.send().unwrap()));
        asked() - before
    };
    // nginx leaves those out for a second that have just failed.
    let more =
        |request: &dyn Fn() -> reqwest::blocking::RequestBuilder| wait_until("it is repeated", || times(request()) > 1);
    more(&|| client.get(&url));
    if kind == Kind::Haproxy {
        more(&|| client.post(&url).body("{}").header("idempotency-key", "k"));
    }
    wait_until("a comment without a key is sent once", || match times(client.post(&url).body("{}")) {
        0 => false,
        1 => true,
        many => panic!("it was sent {many} times"),
    });
}

fn events_are_passed_on_as_they_come(kind: Kind) {
    let dummy = Dummy::answering(|stream| {
        let head = b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nTransfer-Encoding: chunked\r\n\r\n";
        let _ = stream.write_all(head);
        for _ in 0..3 {
            std::thread::sleep(Duration::from_millis(100));
            let _ = stream.write_all(b"9\r\ndata: 1\n\n\r\n");
        }
        // The next one never comes; the client goes first.
        let _ = stream.read(&mut [0; 1]);
    });
    let proxy = kind.start(&[dummy.port]);
    let client = Client::builder().timeout(Duration::from_mins(1)).build().unwrap();
    let ask = || client.get(format!("{}/api/v1/sites/default/stream", proxy.url)).send().unwrap();
    wait_until("the proxy has found it", || ask().status() == 200);
    let mut three = [0; 27];
    ask().read_exact(&mut three).unwrap();
    assert_eq!(three, *b"data: 1\n\ndata: 1\n\ndata: 1\n\n");
}

fn deploy(file: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("deploy").join(file)
}

#[test]
fn yaml_can_be_read() {
    let python = Path::new(env!("CARGO_MANIFEST_DIR")).join("target/peers/bin/python");
    assert!(python.exists(), "{} is missing: scripts/test installs it", python.display());
    let read = Command::new(python)
        .args([
            "-c",
            "import json, sys, yaml; print(json.dumps([list(yaml.safe_load_all(open(f))) for f in sys.argv[1:]]))",
        ])
        .args(["compose.yaml", "kubernetes/afterword.yaml", "kubernetes/secrets.example.yaml"].map(deploy))
        .output()
        .unwrap();
    assert!(read.status.success(), "{}", String::from_utf8_lossy(&read.stderr));
    let files: Value = serde_json::from_slice(&read.stdout).unwrap();
    let services = files[0][0]["services"].as_object().unwrap();
    for instance in ["afterword-1", "afterword-2"] {
        assert_eq!(services[instance]["depends_on"]["first-start"]["condition"], "service_completed_successfully");
    }
    let kinds: Vec<&str> = files[1].as_array().unwrap().iter().map(|one| one["kind"].as_str().unwrap()).collect();
    assert_eq!(kinds, ["Deployment", "Service", "PodDisruptionBudget", "Ingress"]);
    let ingress = &files[1][3]["metadata"]["annotations"];
    assert_eq!(ingress["nginx.ingress.kubernetes.io/proxy-body-size"], "3m", "word lists may have 2 MiB");
    let pod = &files[1][0]["spec"]["template"]["spec"];
    let secrets: Vec<&str> =
        files[2].as_array().unwrap().iter().map(|one| one["metadata"]["name"].as_str().unwrap()).collect();
    for volume in pod["volumes"].as_array().unwrap() {
        assert!(secrets.contains(&volume["secret"]["secretName"].as_str().unwrap()), "{volume} has an example");
    }
    let container = &pod["containers"][0];
    assert_eq!(container["readinessProbe"]["httpGet"]["path"], "/readyz");
    assert_eq!(container["securityContext"]["readOnlyRootFilesystem"], true);
}

/// The settings that the examples give are ones that the program takes.
#[test]
fn settings_in_the_examples_are_settings() {
    for (file, key) in [
        ("compose.yaml", "AFTERWORD__"),
        ("kubernetes/afterword.yaml", "AFTERWORD__"),
        ("systemd/afterword.service", "AFTERWORD__"),
    ] {
        let text = std::fs::read_to_string(deploy(file)).unwrap();
        let names = text.split(|c: char| !c.is_ascii_uppercase() && c != '_').filter(|word| word.starts_with(key));
        let names: Vec<&str> = names.collect();
        assert!(!names.is_empty(), "{file}");
        for name in names {
            // A value that fits no setting: what is wrong must be the value, not the name.
            let refused = Installation::new().command(&["config", "check"]).env(name, "@").output().unwrap();
            let said = String::from_utf8_lossy(&refused.stderr).into_owned();
            assert!(!said.contains("unknown field"), "{file}: {name}: {said}");
        }
    }
}

#[test]
fn systemd_finds_nothing_wrong_with_the_unit() {
    if Command::new("systemd-analyze").arg("--version").output().is_err() {
        return eprintln!("NOT CHECKED: there is no systemd-analyze here");
    }
    let text = std::fs::read_to_string(deploy("systemd/afterword.service")).unwrap();
    assert!(text.contains("ExecStart=/usr/local/bin/afterword serve"));
    let folder = tempfile::tempdir().unwrap();
    let unit = folder.path().join("afterword.service");
    std::fs::write(&unit, text.replace("/usr/local/bin/afterword", env!("CARGO_BIN_EXE_afterword"))).unwrap();
    let verified = Command::new("systemd-analyze").arg("verify").arg(&unit).output().unwrap();
    let said = String::from_utf8_lossy(&verified.stderr).into_owned();
    assert!(verified.status.success() && !said.contains("afterword.service:"), "{said}");
    let judged = Command::new("systemd-analyze")
        .args(["security", "--offline=yes", "--threshold=20", "--no-pager"])
        .arg(&unit)
        .output()
        .unwrap();
    assert!(judged.status.success(), "{}", String::from_utf8_lossy(&judged.stdout));
}
