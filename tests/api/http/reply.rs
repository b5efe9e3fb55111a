//! Staff replies: public at once, with the badge, and the comment that waited with them.

use afterword::domain::site::SiteKey;
use afterword::service::sites::NewSite;
use afterword::storage::accounts::Role;
use reqwest::Method;
use serde_json::{Value, json};

use crate::support::app::{Answer, Moderator, TestApp, comment};
use crate::support::database::{Backend, on_both_databases};

on_both_databases!(
    a_reply_is_public_at_once_and_approves_what_waits,
    what_cannot_be_answered,
    a_key_makes_one_reply,
    a_reply_is_counted_and_can_be_taken_back
);

async fn reply(by: &Moderator<'_>, id: &str, body: &str) -> Answer {
    by.post(&format!("/comments/{id}/reply"), &json!({"body": body})).await
}

fn id_of(answer: &Value) -> String {
    answer["comment"]["id"].as_str().unwrap().to_owned()
}

async fn a_reply_is_public_at_once_and_approves_what_waits(backend: Backend) {
    let app = TestApp::new(backend).await;
    let id = id_of(&app.comment("a question").await);
    assert!(app.listed("").await.is_empty());
    let moderator = app.default_moderator().await;
    let made = reply(&moderator, &id, "An *answer*").await;
    assert!(made.header("location").contains("/api/v1/moderation/comments/"));
    let made = made.expect(201);
    assert_eq!((&made["status"], &made["badge"], &made["name"]), (&json!("approved"), &json!("staff"), &json!("mod")));
    assert_eq!(
        (&made["parent_id"], &made["email"]),
        (&json!(id), &Value::Null),
        "an account's address is for administrators"
    );
    let list = app.get("/api/v1/sites/default/comments?article=/a").await;
    assert!(!list.text().contains("mod@example.org"), "their address is nobody's business");
    let list = list.json();
    assert_eq!(list["article"]["comment_count"], 2);
    assert_eq!(list["comments"][0]["reply_count"], 1);
    assert_eq!(list["comments"][1]["badge"], "staff");
    assert_eq!(list["comments"][1]["body_html"], "<p>An <em>answer</em></p>");
    assert_eq!(list["comments"][0]["badge"], Value::Null);
    let recent = app.get("/api/v1/sites/default/recent").await.json();
    assert_eq!(recent["comments"][0]["badge"], "staff");
    // The log names both: the approval and the answer, in one moment, by the same hand.
    let log = moderator.get("/events").await.expect(200);
    let actions: Vec<_> =
        log["events"].as_array().unwrap().iter().map(|e| (e["action"].clone(), e["actor"].clone())).collect();
    assert_eq!(
        actions,
        [("submitted", "mod"), ("approved", "mod"), ("submitted", "author")].map(|(a, b)| (json!(a), json!(b)))
    );
    // A public comment is answered without a decision.
    reply(&moderator, &id, "And more").await.expect(201);
    let log = moderator.get(&format!("/comments/{id}")).await.expect(200);
    assert_eq!(log["events"].as_array().unwrap().len(), 2);
    assert_eq!(app.list("").await["comments"][0]["reply_count"], 2);
}

async fn what_cannot_be_answered(backend: Backend) {
    let app = TestApp::build(backend).set("limits__enabled", "false").set("limits__max_depth", "2").start().await;
    let moderator = app.default_moderator().await;
    let id = id_of(&app.comment("spam").await);
    for decision in ["spam", "reject"] {
        moderator.decide(&id, decision).await.expect(200);
        assert_eq!(reply(&moderator, &id, "No").await.problem(409), "conflict");
    }
    assert!(app.listed("").await.is_empty(), "nothing of it is left");
    let root = app.published("root", None).await;
    let deep = reply(&moderator, &root, "level two").await.expect(201)["id"].as_str().unwrap().to_owned();
    assert_eq!(reply(&moderator, &deep, "level three").await.faults(), ["parent_id too_deep"]);
    assert_eq!(reply(&moderator, &root, " ").await.faults(), ["body required"]);
    let empty = moderator.post(&format!("/comments/{root}/reply"), &json!({"name": "x"})).await;
    assert_eq!(empty.faults(), ["body required", "name unknown_field"]);
    let old = moderator.request(Method::POST, &format!("/comments/{root}/reply")).header("if-match", "\"7\"");
    assert_eq!(app.send(old.json(&json!({"body": "x"}))).await.problem(412), "precondition_failed");
    let new = NewSite { key: SiteKey::parse("other").unwrap(), name: "Other".into(), url: None, origins: Vec::new() };
    let other = app.service.add_site(new).await.unwrap();
    let stranger = app.moderator("other@example.org", Role::Moderator, &[&other]).await;
    assert_eq!(reply(&stranger, &root, "x").await.problem(404), "not_found");
    moderator.request(Method::DELETE, &format!("/comments/{root}")).send().await.unwrap();
    assert_eq!(reply(&moderator, &root, "x").await.problem(404), "not_found");
}

async fn a_key_makes_one_reply(backend: Backend) {
    let app = TestApp::new(backend).await;
    let moderator = app.default_moderator().await;
    let id = id_of(&app.comment("a question").await);
    let send = |key: &str, body: &str| {
        let request = moderator.request(Method::POST, &format!("/comments/{id}/reply"));
        app.send(request.header("idempotency-key", key).json(&json!({"body": body})))
    };
    let twins = futures_util::future::join_all((0..5).map(|_| send("one", "Thanks"))).await;
    for twin in &twins {
        assert_eq!((twin.status.as_u16(), twin.json()["id"].clone()), (201, twins[0].json()["id"].clone()));
    }
    assert_eq!(send("one", "Other").await.problem(422), "idempotency_key_reused");
    send("two", "Thanks").await.expect(201);
    assert_eq!(app.list("").await["comments"][0]["reply_count"], 2);
    // A visitor's key of the same name is another one.
    let visitor = app.request(Method::POST, "/api/v1/sites/default/comments").header("idempotency-key", "one");
    app.send(visitor.json(&comment("a visitor's"))).await.expect(202);
}

async fn a_reply_is_counted_and_can_be_taken_back(backend: Backend) {
    let app = TestApp::new(backend).await;
    let moderator = app.default_moderator().await;
    let root = app.published("root", None).await;
    let id = reply(&moderator, &root, "hasty").await.expect(201)["id"].as_str().unwrap().to_owned();
    let summary = moderator.get("/summary").await.expect(200);
    assert_eq!(summary["counts"]["approved"], 2);
    assert_eq!(app.listed("").await, [root.clone(), id.clone()]);
    app.send(moderator.request(Method::DELETE, &format!("/comments/{id}"))).await.expect(204);
    assert_eq!(app.listed("").await, [root]);
    assert_eq!(app.list("").await["article"]["comment_count"], 1);
}
