//! The command line and the first start.

use std::os::unix::fs::PermissionsExt;

use reqwest::blocking::Client;
use serde_json::{Value, json};

use crate::support::program::{Installation, wait_until};

#[test]
fn the_first_start_makes_what_is_needed_and_says_what_to_do() {
    let installation = Installation::new();
    let running = installation.start();
    for file in ["data/afterword.db", "data/secret.key"] {
        let mode = std::fs::metadata(installation.path(file)).unwrap().permissions().mode() & 0o777;
        assert_eq!(mode, 0o600, "{file}");
    }
    wait_until("the first steps are printed", || installation.log().contains("token create"));
    let log = installation.log();
    // Do what it says, word by word.
    let lines: Vec<&str> =
        log.lines().filter(|line| line.contains("account add") || line.contains("token create")).collect();
    let script = format!("{}\n{}\necho \"$TOKEN\"", lines[0], lines[1]);
    let told = std::process::Command::new("sh")
        .arg("-c")
        .arg(script)
        .current_dir(installation.folder.path())
        .output()
        .unwrap();
    assert!(told.status.success(), "{}", String::from_utf8_lossy(&told.stderr));
    let token = String::from_utf8(told.stdout).unwrap().lines().last().unwrap().to_owned();
    assert!(token.starts_with("awt_"), "{token}");
    let client = Client::new();
    let comment = json!({"article": "/hello", "name": "Grace", "email": "grace@example.org", "body": "Nanosecond!"});
    let sent: Value = client
        .post(format!("{}/api/v1/sites/default/comments", running.url))
        .json(&comment)
        .send()
        .unwrap()
        .json()
        .unwrap();
    let id = sent["comment"]["id"].as_str().unwrap();
    let approve = format!("{}/api/v1/moderation/comments/{id}/approve", running.url);
    assert_eq!(client.post(approve).bearer_auth(&token).send().unwrap().status(), 200);
    let list: Value = client
        .get(format!("{}/api/v1/sites/default/comments?article=/hello", running.url))
        .send()
        .unwrap()
        .json()
        .unwrap();
    assert_eq!(list["comments"][0]["body_html"], "<p>Nanosecond!</p>");
    assert!(running.stop().success());
    let second = installation.start();
    assert_eq!(installation.log().matches("Nobody moderates yet").count(), 1);
    drop(second);
    assert!(
        ["Grace", "grace@", "Nanosecond", &token].iter().all(|person| !installation.log().contains(person)),
        "logs are free of people"
    );
}

#[test]
fn what_the_command_line_changes_reaches_a_running_service() {
    let installation = Installation::new();
    let running = installation.start();
    let status = |site: &str| {
        Client::new().get(format!("{}/api/v1/sites/{site}/form", running.url)).send().unwrap().status().as_u16()
    };
    assert_eq!(status("blog"), 404);
    installation.done(&[
        "site",
        "add",
        "blog",
        "--name",
        "My blog",
        "--url",
        "https://blog.example",
        "--origin",
        "https://www.blog.example",
    ]);
    wait_until("the new site is known", || status("blog") == 200);
    let listed = installation.done(&["site", "list"]);
    assert_eq!(listed.lines().next().unwrap(), "blog\tMy blog\thttps://blog.example\tall\thttps://www.blog.example");
    installation.done(&["site", "set", "blog", "--moderation", "none"]);
    let policy = || {
        Client::new().get(format!("{}/api/v1/sites/blog/form", running.url)).send().unwrap().json::<Value>().unwrap()["policy"].clone()
    };
    wait_until("the new policy is known", || policy() == "none");
    installation.done(&["site", "set", "blog", "--close-after", "30", "--required", "name", "--length", "body_min=5"]);
    let form = || {
        let url = format!("{}/api/v1/sites/blog/form", running.url);
        Client::new().get(url).send().unwrap().json::<Value>().unwrap()
    };
    wait_until("the new settings are known", || form()["close_after_days"] == 30);
    let field = |name: &str| form()["fields"].as_array().unwrap().iter().find(|f| f["name"] == name).unwrap().clone();
    assert_eq!((&field("email")["required"], &field("body")["min_length"]), (&json!(false), &json!(5)));
    installation.done(&["site", "set", "blog", "--length", "body_max=400"]);
    wait_until("the new length is known", || field("body")["max_length"] == 400);
    assert_eq!(field("body")["min_length"], Value::Null, "in place of those before");
    let token = installation.token("admin");
    let summary = || {
        Client::new()
            .get(format!("{}/api/v1/moderation/summary", running.url))
            .bearer_auth(&token)
            .send()
            .unwrap()
            .status()
            .as_u16()
    };
    assert_eq!(summary(), 200);
    let id =
        installation.done(&["token", "list", "--account", "admin@example.org"]).split('\t').next().unwrap().to_owned();
    installation.done(&["token", "revoke", &id]);
    assert_eq!(summary(), 401);
}

#[test]
fn a_word_list_is_imported_while_the_service_runs() {
    let installation = Installation::new().set("limits__enabled", "false");
    let running = installation.start();
    let token = installation.token("admin");
    std::fs::write(installation.path("list.txt"), "casino\nünïcode\n\ncasino\n").unwrap();
    let said = installation.done(&["rules", "import", "list.txt", "--site", "default", "--mode", "part"]);
    assert_eq!(said.trim(), "2 entries in the rule “Disallowed words”, which is on");
    installation.done(&["rules", "import", "list.txt", "--site", "default", "--rule", "Mine"]);
    let listed = installation.done(&["rules", "list"]);
    assert_eq!(listed.lines().next(), Some("default\t1\ton\tspam\t2\tDisallowed words"));
    assert_eq!(listed.lines().last(), Some("default\t4\ton\tspam\t2\tMine"));
    let no_list =
        installation.run(&["rules", "import", "list.txt", "--site", "default", "--rule", "More than 2 links"]);
    assert_eq!(no_list.status.code(), Some(1));
    let mut number = 0;
    wait_until("the list is known", || {
        number += 1;
        let body = format!("the SUPERCASINOS of {number}");
        let comment = json!({"article": "/a", "name": "Ada", "email": "a@example.org", "body": body});
        let client = Client::new();
        client.post(format!("{}/api/v1/sites/default/comments", running.url)).json(&comment).send().unwrap();
        let spam = format!("{}/api/v1/moderation/comments?status=spam", running.url);
        let spam: Value = client.get(spam).bearer_auth(&token).send().unwrap().json().unwrap();
        !spam["comments"].as_array().unwrap().is_empty()
    });
}

#[test]
fn exit_codes_and_messages() {
    let installation = Installation::new();
    let code = |arguments: &[&str]| installation.run(arguments).status.code().unwrap();
    assert_eq!(code(&["--help"]), 0);
    assert_eq!(code(&["nonsense"]), 2);
    assert_eq!(code(&["health"]), 1);
    assert_eq!(code(&["config", "check"]), 0);
    assert_eq!(code(&["site", "add", "Bad Key", "--name", "x"]), 2);
    assert_eq!(code(&["site", "add", "ok", "--name", "x", "--origin", "https://x.example/path"]), 2);
    assert_eq!(code(&["site", "add", "default", "--name", "x"]), 1);
    assert_eq!(code(&["site", "set", "default", "--close-after=-1"]), 2);
    assert_eq!(code(&["site", "set", "default", "--length", "body_min"]), 2);
    assert_eq!(code(&["account", "add", "--email", "nobody", "--role", "admin"]), 2);
    assert_eq!(code(&["account", "add", "--email", "a@example.org", "--role", "owner"]), 2);
    assert_eq!(code(&["account", "add", "--email", "a@example.org", "--role", "moderator", "--site", "nowhere"]), 2);
    assert_eq!(code(&["account", "add", "--email", "a@example.org", "--role", "moderator"]), 0);
    assert_eq!(code(&["account", "add", "--email", "A@example.org", "--role", "admin"]), 1, "one account per address");
    assert_eq!(code(&["token", "create", "--account", "b@example.org", "--name", "x"]), 1);
    assert_eq!(code(&["migrate"]), 0);
    assert_eq!(code(&["doctor"]), 1, "mail goes into files only, and the doctor says so");
    let accounts = installation.done(&["account", "list"]);
    assert_eq!(accounts, "a@example.org\tmoderator\tdefault\tone mail about each comment");
    let mail =
        |arguments: &[&str]| installation.done(&[&["account", "mail", "--email", "a@example.org"], arguments].concat());
    assert_eq!(mail(&["--digest"]), "one mail about all that came, after 60 minutes");
    let night = ["--quiet", "22:00-07:30", "--zone", "Europe/Berlin"];
    let quiet = "one mail about all that came, after 60 minutes; none from 22:00 to 07:30 (Europe/Berlin)";
    assert_eq!(mail(&night), quiet);
    assert_eq!(mail(&[]), quiet, "without an option it tells how it is");
    assert_eq!(mail(&["--none", "--quiet", "off"]), "no mail");
    assert_eq!(mail(&["--digest", "1440"]), "one mail about all that came, after 1440 minutes");
    assert_eq!(mail(&["--each"]), "one mail about each comment");
    for wrong in [
        &["--digest", "5"][..],
        &["--each", "--none"],
        &["--quiet", "22-7"],
        &["--quiet", "24:00-07:00"],
        &["--quiet", "22:00-07:00", "--zone", "Nowhere/Town"],
        &["--zone", "Europe/Berlin"],
    ] {
        assert_eq!(code(&[&["account", "mail", "--email", "a@example.org"], wrong].concat()), 2, "{wrong:?}");
    }
    assert_eq!(code(&["account", "mail", "--email", "b@example.org"]), 1);
    let mut with_password =
        installation.command(&["account", "add", "--email", "c@example.org", "--role", "admin", "--password-stdin"]);
    let mut child = with_password.stdin(std::process::Stdio::piped()).spawn().unwrap();
    std::io::Write::write_all(child.stdin.as_mut().unwrap(), b"correct horse battery\n").unwrap();
    assert!(child.wait().unwrap().success());
    let file = std::fs::read(installation.path("data/afterword.db")).unwrap();
    for secret in ["correct horse", "c@example.org", "a@example.org"] {
        assert!(!file.windows(secret.len()).any(|bytes| bytes == secret.as_bytes()), "{secret} is in the file");
    }
}

#[test]
fn wrong_settings_stop_the_start_with_one_line() {
    for (key, value, named) in [
        ("server__listn", "x", "listn"),
        ("server__listen", "0.0.0.0:0", "server.public_url"),
        ("limits__address__burst", "0", "limits.address"),
        ("database__url", "mysql://x", "database.url"),
        ("mail__templates", "/nowhere", "mail.templates"),
        ("secrets__key_file", "/proc/nothing", "secrets.key_file"),
    ] {
        let installation = Installation::new().set(key, value);
        let output = installation.run(&["serve"]);
        assert_eq!(output.status.code(), Some(1), "{key}");
        let text = String::from_utf8(output.stderr).unwrap();
        let line = text.lines().find(|line| line.starts_with("afterword: ")).unwrap_or_else(|| panic!("{key}: {text}"));
        assert!(line.contains(named), "{key}: {line}");
    }
    let installation = Installation::new();
    std::fs::write(installation.path("own.toml"), "[limits]\nmax_dept = 3\n").unwrap();
    let output = installation.run(&["--config", "own.toml", "config", "check"]);
    assert!(String::from_utf8(output.stderr).unwrap().contains("max_dept"));
    assert_eq!(installation.run(&["--config", "missing.toml", "config", "show"]).status.code(), Some(1));
    std::fs::write(installation.path("own.toml"), "[limits]\nmax_depth = 3\n").unwrap();
    assert!(installation.done(&["--config", "own.toml", "config", "show"]).contains("max_depth = 3"));
}

#[test]
fn a_database_belongs_to_its_key() {
    let installation = Installation::new();
    installation.done(&["migrate"]);
    let key = installation.path("data/secret.key");
    let own = std::fs::read(&key).unwrap();
    std::fs::remove_file(&key).unwrap();
    let refused = String::from_utf8(installation.run(&["serve"]).stderr).unwrap();
    assert!(refused.contains("is missing") && refused.contains("backup"), "{refused}");
    assert!(!key.exists(), "no new key is made for an old database");
    std::fs::write(&key, "ab".repeat(32)).unwrap();
    let refused = String::from_utf8(installation.run(&["serve"]).stderr).unwrap();
    assert!(refused.contains("another key"), "{refused}");
    std::fs::write(&key, own).unwrap();
    installation.start();
}

#[test]
fn a_second_service_on_the_port_says_so_and_harms_nothing() {
    let installation = Installation::new();
    let running = installation.start();
    let second = installation.run(&["serve"]);
    assert_eq!(second.status.code(), Some(1));
    assert!(String::from_utf8(second.stderr).unwrap().contains("server.listen"));
    assert!(installation.run(&["health"]).status.success());
    drop(running);
}

#[test]
fn a_stop_lets_answers_finish() {
    let installation = Installation::new().set("limits__enabled", "false");
    let running = installation.start();
    let url = format!("{}/api/v1/sites/default/comments", running.url);
    let posting = std::thread::spawn(move || {
        let client = Client::new();
        let mut answers = 0;
        for n in 0.. {
            let comment =
                json!({"article": "/hello", "name": "Ada", "email": "ada@example.org", "body": format!("{n}")});
            match client.post(&url).json(&comment).send() {
                // An answer that was begun is whole.
                Ok(response) if response.status() == 202 => {
                    response.json::<Value>().unwrap();
                    answers += 1;
                }
                Ok(response) => assert_eq!(response.status(), 503),
                Err(error) => {
                    assert!(error.is_connect() || error.is_request(), "a cut answer: {error}");
                    break;
                }
            }
        }
        answers
    });
    wait_until("comments are coming", || {
        std::fs::metadata(installation.path("data/afterword.db-wal")).is_ok_and(|file| file.len() > 200_000)
    });
    assert!(running.stop().success(), "exit 0");
    let answers = posting.join().unwrap();
    let again = installation.start();
    let token = installation.token("admin");
    let summary: Value = Client::new()
        .get(format!("{}/api/v1/moderation/summary", again.url))
        .bearer_auth(token)
        .send()
        .unwrap()
        .json()
        .unwrap();
    let stored = summary["counts"]["pending"].as_u64().unwrap();
    assert!(stored == answers || stored == answers + 1, "{stored} stored, {answers} answered");
}
