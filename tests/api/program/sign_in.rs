//! The first administrator and the way back, with the built program: what a person sees in the terminal leads to a session.

use std::io::Write;
use std::process::Stdio;

use reqwest::blocking::{Client, Response};
use serde_json::{Value, json};

use crate::support::program::{Installation, Running};

const PASSWORD: &str = "a few words in a row";

fn send(running: &Running, path: &str, body: &Value) -> Response {
    let request = Client::new().post(format!("{}/api/v1{path}", running.url));
    request.header("origin", &running.url).json(body).send().unwrap()
}

/// The tokens of the links in a text, the last one last.
fn tokens(text: &str) -> Vec<String> {
    let links = text.split("/admin/#/link/").skip(1);
    links.map(|rest| rest.split_whitespace().next().unwrap().to_owned()).collect()
}

#[test]
fn the_terminal_shows_the_way_in() {
    // In whatever form the log is, the link is a line for people.
    let installation = Installation::new().set("log__format", "json");
    let running = installation.start();
    assert_eq!(tokens(&installation.log()).len(), 1, "{}", installation.log());
    running.stop();
    let running = installation.start();
    let printed = tokens(&installation.log());
    let [former, token] = printed.as_slice() else { panic!("one for each start: {}", installation.log()) };
    let own = json!({"token": former, "password": PASSWORD, "email": "ann@blog.example"});
    assert_eq!(send(&running, "/session/link", &own).status(), 404);
    let own = json!({"token": token, "password": PASSWORD, "email": "ann@blog.example"});
    assert_eq!(send(&running, "/session/link", &own).status(), 201);
    running.stop();
    let running = installation.start();
    assert_eq!(tokens(&installation.log()).len(), 2, "there is an administrator now");
    assert!(!installation.log().contains("not https"), "nobody listens in on this machine");

    // Locked out, with the second factor gone as well.
    let printed = installation.done(&["account", "link", "--email", "ann@blog.example", "--forget-second-factor"]);
    let reset = json!({"token": tokens(&printed)[0], "password": "another good one"});
    assert!(
        printed.starts_with(&format!("{}/admin/#/link/", running.url)) && printed.lines().count() == 1,
        "{printed}"
    );
    assert_eq!(send(&running, "/session/link", &reset).status(), 201);
    let unknown = installation.run(&["account", "link", "--email", "eve@blog.example"]);
    assert_eq!(unknown.status.code(), Some(1));
}

#[test]
fn a_password_of_the_command_line_signs_in() {
    let installation = Installation::new().set("server__public_url", "http://c.example");
    let add = |password: &str| {
        let arguments = ["account", "add", "--email", "ann@blog.example", "--role", "admin", "--password-stdin"];
        let mut child = installation
            .command(&arguments)
            .stdin(Stdio::piped())
            .stderr(Stdio::piped())
            .stdout(Stdio::null())
            .spawn()
            .unwrap();
        child.stdin.take().unwrap().write_all(format!("{password}\n").as_bytes()).unwrap();
        child.wait_with_output().unwrap()
    };
    let weak = add("password123");
    assert_eq!(weak.status.code(), Some(2));
    assert!(String::from_utf8_lossy(&weak.stderr).contains("password: "), "{weak:?}");
    assert!(add(PASSWORD).status.success());
    let running = installation.start();
    assert!(tokens(&installation.log()).is_empty(), "there is an administrator");
    assert!(installation.log().contains("not https"), "{}", installation.log());
    let request = Client::new().post(format!("{}/api/v1/session", running.url)).header("origin", "http://c.example");
    let answer = request.json(&json!({"email": "ann@blog.example", "password": PASSWORD})).send().unwrap();
    assert_eq!(answer.status(), 201);
}
