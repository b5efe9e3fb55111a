//! What administrators see of mails, and how they send again what was given up.

use std::time::Duration;

use afterword::storage::accounts::Role;
use reqwest::Method;
use serde_json::{Value, json};

use crate::support::app::{Answer, TestApp};
use crate::support::database::Backend;
use crate::support::program::SmtpPeer;

async fn app_for(peer: &SmtpPeer, backend: Backend) -> TestApp {
    TestApp::build(backend)
        .set("limits__enabled", "false")
        .set("mail__transport", "smtp")
        .set("mail__smtp_url", &format!("smtp://127.0.0.1:{}", peer.port))
        .real_mail()
        .start()
        .await
}

const PATH: &str = "/api/v1/mail/outbox";

async fn list(app: &TestApp, token: &str, query: &str) -> Answer {
    app.send(app.request(Method::GET, &format!("{PATH}{query}")).bearer_auth(token)).await
}

async fn again(app: &TestApp, token: &str, body: &Value) -> Answer {
    app.send(app.request(Method::POST, PATH).bearer_auth(token).json(body)).await
}

fn column(answer: &Value, name: &str) -> Vec<Value> {
    answer["mails"].as_array().unwrap().iter().map(|mail| mail[name].clone()).collect()
}

async fn what_failed_is_seen_and_sent_again(backend: Backend) {
    let mut peer = SmtpPeer::start();
    let app = app_for(&peer, backend).await;
    let boss = app.moderator("boss@example.org", Role::Admin, &[]).await.token;
    let _moderator = app.default_moderator().await;
    peer.mode("refuse 550_5.1.1_<mod@example.org>_nobody_here RCPT");
    let mut comments = Vec::new();
    for n in 0..3 {
        comments.push(app.comment(&format!("refused {n}")).await["comment"]["id"].clone());
        app.run_jobs().await;
        app.clock.advance(Duration::from_secs(1));
    }
    peer.mode("refuse 451_later RCPT");
    comments.push(app.comment("deferred").await["comment"]["id"].clone());
    app.run_jobs().await;
    let all = list(&app, &boss, "").await.expect(200);
    comments.reverse();
    assert_eq!(column(&all, "comment"), comments, "the newest first");
    assert_eq!(column(&all, "state"), ["waiting", "failed", "failed", "failed"]);
    assert_eq!(column(&all, "attempts"), [1, 1, 1, 1]);
    let failed = &all["mails"][1];
    assert_eq!((&failed["kind"], &failed["site"]), (&json!("mail_moderator"), &json!("default")));
    assert_eq!((&failed["due_at"], &failed["created_at"]), (&Value::Null, &json!("2026-01-01T00:00:02.000000Z")));
    let words = failed["last_error"].as_str().unwrap();
    assert!(words.contains("550") && words.contains("5.1.1 <address> nobody here"), "{words}");
    assert!(!all.to_string().contains("example.org"), "{all}");
    assert_eq!(column(&list(&app, &boss, "?state=waiting").await.expect(200), "state"), ["waiting"]);
    assert!(column(&list(&app, &boss, "?state=sent").await.expect(200), "state").is_empty());
    // Page by page.
    let first = list(&app, &boss, "?state=failed&limit=2").await.expect(200);
    let cursor = first["next_cursor"].as_str().unwrap();
    let second = list(&app, &boss, &format!("?state=failed&limit=2&cursor={cursor}")).await.expect(200);
    assert_eq!(second["next_cursor"], Value::Null);
    let ids = [column(&first, "id"), column(&second, "id")].concat();
    assert_eq!(ids, column(&all, "id")[1..]);
    // One of them, then all; what waits or was sent is left alone.
    peer.mode("ok");
    let some = json!({"ids": [ids[2], all["mails"][0]["id"], "nonsense", "0190a000-0000-7000-8000-000000000001"]});
    assert_eq!(again(&app, &boss, &some).await.expect(200), json!({"sent_again": 1}));
    app.run_jobs().await;
    assert!(peer.mail()["text"].as_str().unwrap().contains("refused 0"));
    assert_eq!(again(&app, &boss, &json!({"all_failed": true})).await.expect(200), json!({"sent_again": 2}));
    assert_eq!(again(&app, &boss, &json!({"all_failed": true})).await.expect(200), json!({"sent_again": 0}));
    app.run_jobs().await;
    assert_eq!(column(&list(&app, &boss, "").await.expect(200), "state"), ["waiting", "sent", "sent", "sent"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_failed_is_seen_and_sent_again_on_sqlite() {
    what_failed_is_seen_and_sent_again(Backend::Sqlite).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_failed_is_seen_and_sent_again_on_postgres() {
    what_failed_is_seen_and_sent_again(Backend::Postgres).await;
}

#[tokio::test]
async fn administrators_alone_see_it() {
    let app = TestApp::new(Backend::Sqlite).await;
    let moderator = app.default_moderator().await.token;
    let boss = app.moderator("boss@example.org", Role::Admin, &[]).await.token;
    assert_eq!(list(&app, "awt_x", "").await.problem(401), "unauthenticated");
    assert_eq!(list(&app, &moderator, "").await.problem(403), "forbidden");
    assert_eq!(again(&app, &moderator, &json!({"all_failed": true})).await.problem(403), "forbidden");
    assert_eq!(list(&app, &boss, "?state=lost&limit=0").await.faults(), ["state unknown_value", "limit out_of_range"]);
    assert_eq!(list(&app, &boss, "?cursor=x").await.problem(400), "malformed_request");
    for (body, fault) in [
        (json!({}), "ids required"),
        (json!({"ids": []}), "ids out_of_range"),
        (json!({"ids": 1}), "ids wrong_type"),
        (json!({"all_failed": false}), "all_failed unknown_value"),
        (json!({"ids": ["x"], "all_failed": true}), "all_failed unknown_value"),
        (json!({"all_failed": true, "to": "x"}), "to unknown_field"),
    ] {
        assert_eq!(again(&app, &boss, &body).await.faults(), [fault], "{body}");
    }
}
