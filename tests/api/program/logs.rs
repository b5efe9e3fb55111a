//! Logs are free of people, whatever level the operator asks for: libraries that print whole mails, texts and the values of
//! statements at `debug` are not heard.

use afterword::domain::comment::Decision;
use afterword::domain::ids::{AccountId, CommentId};
use afterword::domain::time::Timestamp;
use afterword::keys::{DecisionLink, Keys};
use reqwest::blocking::Client;
use serde_json::{Value, json};

use crate::support::postgres;
use crate::support::program::{Installation, SmtpPeer, wait_until};
use crate::support::rows::uuid;

/// Everything that must not be heard; each stands somewhere in the requests below.
const CANARIES: [&str; 7] = [
    "canary.bird@coal-mine.example",
    "canary.bird",
    "Tweety",
    "sang",
    "nightingale",
    "203.0.113.77",
    "moderator@example.org",
];

/// Writes, edits, reads and approves a comment, and waits for the mail about it.
fn sing(installation: &Installation, mail_came: impl FnMut() -> bool) -> Vec<String> {
    let running = installation.start();
    let token = installation.token("moderator");
    let client = Client::new();
    let sent: Value = client
        .post(format!("{}/api/v1/sites/default/comments", running.url))
        .header("X-Forwarded-For", "203.0.113.77")
        .json(&json!({
            "article": "/coal-mine", "name": "Tweety", "email": "canary.bird@coal-mine.example",
            "body": "It *sang* <b>of</b> [coal](https://nightingale.example)"
        }))
        .send()
        .unwrap()
        .json()
        .unwrap();
    let (id, author) = (sent["comment"]["id"].as_str().unwrap(), sent["author_token"].as_str().unwrap());
    wait_until("a mail came", mail_came);
    let edit = client.patch(format!("{}/api/v1/comments/{id}", running.url)).bearer_auth(author);
    let edit = edit.header("content-type", "application/merge-patch+json").body(r#"{"body": "It sang <i>again"}"#);
    assert_eq!(edit.send().unwrap().status(), 200);
    let wrong = client.get(format!("{}/api/v1/moderation/comments", running.url)).bearer_auth("awt_nightingale");
    assert_eq!(wrong.send().unwrap().status(), 401);
    let links = [links_of(installation), vec!["/m/nightingale".to_owned(), "/u/nightingale".to_owned()]].concat();
    for link in &links {
        for request in [client.get(format!("{}{link}", running.url)), client.post(format!("{}{link}", running.url))] {
            assert!(request.send().unwrap().status().as_u16() < 500);
        }
    }
    let approve = format!("{}/api/v1/moderation/comments/{id}/approve", running.url);
    assert_eq!(client.post(approve).bearer_auth(&token).send().unwrap().status(), 200);
    let list = format!("{}/api/v1/sites/default/comments?article=/coal-mine", running.url);
    assert!(client.get(list).send().unwrap().text().unwrap().contains("sang"));
    assert!(running.stop().success());
    let tokens = links.iter().map(|link| link[3..].to_owned());
    tokens.chain([token, author.to_owned()]).collect()
}

/// Links as mails of this installation have them.
fn links_of(installation: &Installation) -> Vec<String> {
    let keys = Keys::load(&installation.path("data/secret.key")).unwrap().unwrap();
    let (comment, account) = (CommentId(uuid(1)), AccountId(uuid(2)));
    let ends_at = Timestamp(i64::MAX / 2);
    let decide = DecisionLink { comment, version: 1, decision: Decision::Approve, account, ends_at };
    let stop = keys.unsubscribe_token(account, Timestamp(i64::MAX / 2));
    vec![format!("/m/{}", keys.decision_token(&decide)), format!("/u/{stop}")]
}

fn listen(installation: &Installation, secrets: &[String]) {
    let log = installation.log();
    for canary in CANARIES.iter().copied().chain(secrets.iter().map(String::as_str)) {
        let line = log.lines().find(|line| line.to_lowercase().contains(&canary.to_lowercase()));
        assert!(line.is_none(), "{canary} is in the log: {}", line.unwrap());
    }
    let is_deep = |line: &&str| line.contains("\"level\":\"DEBUG\"") || line.contains("\"level\":\"TRACE\"");
    let foreign = log.lines().filter(is_deep).find(|line| !line.contains("\"target\":\"afterword"));
    assert!(foreign.is_none(), "a library is heard: {}", foreign.unwrap());
    assert!(log.contains("a mail is sent"), "our own debug lines are there: {log}");
}

fn at(level: &str) -> Installation {
    Installation::new()
        .set("log__level", level)
        .set("log__format", "json")
        .set("server__trusted_proxies", "127.0.0.1")
        .set("mail__from", "comments@afterword.example")
}

#[test]
fn a_canary_is_not_heard_at_any_level() {
    let asked_for_by_name =
        "trace,lettre=trace,html5ever::tree_builder=trace,log=trace,[{name}]=trace,hyper=debug,actix_http=trace";
    for level in ["trace", "debug", asked_for_by_name] {
        let mut peer = SmtpPeer::start();
        let installation =
            at(level).set("mail__transport", "smtp").set("mail__smtp_url", &format!("smtp://127.0.0.1:{}", peer.port));
        let secrets = sing(&installation, || peer.mails_left() == 1);
        assert!(peer.mail()["text"].as_str().unwrap().contains("sang"));
        listen(&installation, &secrets);
    }
}

#[test]
fn a_canary_in_files_and_postgres_is_not_heard_either() {
    let installation = at("trace").set("database__url", &postgres::empty_database());
    let folder = installation.path("data/mail");
    let came = || {
        std::fs::read_dir(&folder)
            .is_ok_and(|folder| folder.flatten().any(|f| f.path().extension().is_some_and(|e| e == "eml")))
    };
    let secrets = sing(&installation, came);
    listen(&installation, &secrets);
}
