//! `keys rotate` and `keys forget` beside a service that runs.

use std::os::unix::fs::PermissionsExt;
use std::process::{Command, Stdio};

use reqwest::blocking::Client;
use serde_json::{Value, json};

use crate::support::postgres;
use crate::support::program::{Installation, wait_until};

fn told(output: &std::process::Output) -> String {
    String::from_utf8_lossy(&output.stdout).into_owned() + &String::from_utf8_lossy(&output.stderr)
}

fn keys_in(installation: &Installation) -> Vec<String> {
    let text = std::fs::read_to_string(installation.path("data/secret.key")).unwrap();
    text.lines().map(str::to_owned).collect()
}

/// The e-mail addresses that a moderator sees.
fn addresses(url: &str, token: &str) -> Vec<String> {
    let queue = Client::new().get(format!("{url}/api/v1/moderation/comments")).bearer_auth(token).send().unwrap();
    let queue: Value = queue.error_for_status().unwrap().json().unwrap();
    queue["comments"].as_array().unwrap().iter().map(|row| row["email"].as_str().unwrap().to_owned()).collect()
}

fn a_rotation_from_beginning_to_end(installation: &Installation) {
    assert_eq!(installation.run(&["keys", "rotate"]).status.code(), Some(1), "there is nothing yet");
    let running = installation.start();
    let token = installation.token("moderator");
    let send = |text: &str| {
        let comment = json!({"article": "/hello", "name": "Ada", "email": "ada@example.org", "body": text});
        let sent = Client::new().post(format!("{}/api/v1/sites/default/comments", running.url)).json(&comment).send();
        assert_eq!(sent.unwrap().status(), 202);
    };
    send("before");
    let refused = installation.run(&["keys", "forget"]);
    assert!(refused.status.code() == Some(1) && told(&refused).contains("no older key"), "{}", told(&refused));
    let old = keys_in(installation);

    // Halted as soon as it has begun, so that it does not end before the second one starts, and killed.
    let mut cut_short =
        installation.command(&["keys", "rotate"]).stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap();
    wait_until("the file has a new key", || keys_in(installation).len() == 2);
    assert!(Command::new("kill").args(["-STOP", &cut_short.id().to_string()]).status().unwrap().success());
    let second = installation.run(&["keys", "rotate"]);
    cut_short.kill().unwrap();
    cut_short.wait().unwrap();
    assert!(second.status.code() == Some(1) && told(&second).contains("let that one end"), "{}", told(&second));
    let both = keys_in(installation);
    assert!(both[1] == old[0] && both[0] != old[0]);
    send("in between");
    let doctor = told(&installation.run(&["doctor"]));
    assert!(doctor.contains("look A rotation of the key has not ended"), "{doctor}");
    let refused = installation.run(&["keys", "forget"]);
    assert!(refused.status.code() == Some(1) && told(&refused).contains("keys rotate"), "{}", told(&refused));

    let done = installation.run(&["keys", "rotate"]);
    assert!(done.status.success(), "{}", told(&done));
    assert!(told(&done).contains("all lie under the current key"), "{}", told(&done));
    assert_eq!(keys_in(installation), both, "it went on with the key that was there");
    send("after");
    assert!(installation.log().contains("the key file has changed"), "{}", installation.log());
    let doctor = told(&installation.run(&["doctor"]));
    assert!(doctor.contains("ok   No private value needs the older keys"), "{doctor}");

    installation.done(&["keys", "forget"]);
    assert_eq!(keys_in(installation), both[..1]);
    let mode = std::fs::metadata(installation.path("data/secret.key")).unwrap().permissions().mode() & 0o777;
    assert_eq!(mode, 0o600);
    assert_eq!(addresses(&running.url, &token), ["ada@example.org"; 3]);
    assert!(running.stop().success());
    let running = installation.start();
    assert_eq!(addresses(&running.url, &token), ["ada@example.org"; 3]);
    assert!(installation.done(&["account", "list"]).contains("moderator@example.org"));
    let doctor = told(&installation.run(&["doctor"]));
    assert!(doctor.contains("ok   Everything private lies under the current key"), "{doctor}");
    let log = installation.log();
    assert!(!log.contains("housekeeping failed") && !log.contains("a request failed"), "{log}");
}

#[test]
fn beside_a_service_on_sqlite() {
    a_rotation_from_beginning_to_end(&Installation::new().set("limits__enabled", "false"));
}

#[test]
fn beside_a_service_on_postgres() {
    let installation = Installation::new().set("limits__enabled", "false");
    a_rotation_from_beginning_to_end(&installation.set("database__url", &postgres::new_database()));
}

#[test]
fn a_backup_from_before_needs_the_key_from_before() {
    let installation = Installation::new();
    installation.done(&["account", "add", "--email", "ann@example.org", "--role", "moderator"]);
    installation.done(&["backup", "old.db"]);
    let old = keys_in(&installation);
    installation.done(&["keys", "rotate"]);
    std::fs::create_dir(installation.path("moved")).unwrap();
    for file in ["afterword.db", "afterword.db-wal", "afterword.db-shm"] {
        let _ = std::fs::rename(installation.path("data").join(file), installation.path("moved").join(file));
    }
    let both = keys_in(&installation);
    std::fs::write(installation.path("data/secret.key"), format!("{}\n", both[0])).unwrap();
    let refused = installation.run(&["restore", "old.db"]);
    assert!(refused.status.code() == Some(1) && told(&refused).contains("another key"), "{}", told(&refused));
    std::fs::write(installation.path("data/secret.key"), format!("{}\n{}\n", both[0], old[0])).unwrap();
    installation.done(&["restore", "old.db"]);
    assert!(installation.done(&["account", "list"]).contains("ann@example.org"));
    let doctor = told(&installation.run(&["doctor"]));
    assert!(doctor.contains("look A rotation of the key has not ended"), "{doctor}");
    installation.done(&["keys", "rotate"]);
    assert_eq!(keys_in(&installation), [both[0].clone(), old[0].clone()], "no third key");
    installation.done(&["keys", "forget"]);
    assert!(installation.done(&["account", "list"]).contains("ann@example.org"));
}
