//! The order in which faults are told: 413, 415, 400, 404, 401, 403, then 422 with all faults at once, each field's once.

use std::time::Duration;

use reqwest::{Method, RequestBuilder};
use serde_json::{Value, json};

use crate::support::app::{Answer, TestApp, comment};
use crate::support::database::{Backend, on_both_databases};

on_both_databases!(the_thing_comes_before_its_faults, the_window_comes_before_the_text, all_faults_are_told_at_once,);

/// No comment has this id.
const NOBODY: &str = "0190a000-0000-7000-8000-000000000001";

async fn the_thing_comes_before_its_faults(backend: Backend) {
    let app = TestApp::new(backend).await;
    let moderator = app.default_moderator().await;
    let id = app.comment("here").await["comment"]["id"].as_str().unwrap().to_owned();
    let bad = json!({"reason": 5, "nonsense": 1});
    for action in ["approve", "reject", "spam", "hold", "undo", "discard-edit"] {
        let at = |id: &str| format!("/comments/{id}/{action}");
        assert_eq!(moderator.post(&at(NOBODY), &bad).await.problem(404), "not_found", "{action}");
        assert_eq!(moderator.post(&at(&id), &bad).await.problem(422), "validation_failed", "{action}");
        let conditional = |id: &str| moderator.request(Method::POST, &at(id)).header("if-match", "\"x\"");
        assert_eq!(app.send(conditional(NOBODY)).await.problem(404), "not_found", "{action}");
        assert_eq!(app.send(conditional(&id)).await.problem(412), "precondition_failed", "{action}");
    }
    let patch = |id: &str| moderator.request(Method::PATCH, &format!("/comments/{id}")).json(&json!({"body": ""}));
    assert_eq!(app.send(patch(NOBODY)).await.problem(404), "not_found");
    assert_eq!(app.send(patch(&id)).await.faults(), ["body required"]);
    for (found, missing) in [
        ("/comments?limit=0", "/comments?site=nope&limit=0"),
        ("/events?limit=0", &format!("/events?comment={NOBODY}&limit=0")),
    ] {
        assert_eq!(moderator.get(found).await.faults(), ["limit out_of_range"]);
        assert_eq!(moderator.get(missing).await.problem(404), "not_found", "{missing}");
    }
    let list = "/api/v1/sites/default/comments?article=/a&limit=0";
    assert_eq!(app.get(&format!("{list}&around=zz")).await.problem(404), "not_found");
    assert_eq!(app.get(&format!("{list}&around={NOBODY}")).await.problem(404), "not_found");
    assert_eq!(app.get(list).await.faults(), ["limit out_of_range"]);
    let public = app.published("public", None).await;
    assert_eq!(app.get(&format!("{list}&around={public}")).await.faults(), ["limit out_of_range"]);
    // What cannot be read is refused before anybody asks who sent it.
    for query in ["comments?cursor=!!!", "comments?cursor=AAAA", "comments?q=%ff", "events?cursor=!!!"] {
        assert_eq!(app.get(&format!("/api/v1/moderation/{query}")).await.problem(400), "malformed_request", "{query}");
    }
    assert_eq!(app.get("/api/v1/moderation/comments?limit=0").await.problem(401), "unauthenticated");
}

async fn the_window_comes_before_the_text(backend: Backend) {
    let app = TestApp::new(backend).await;
    let sent = app.submit(&comment("mine")).await.json();
    let path = format!("/api/v1/comments/{}", sent["comment"]["id"].as_str().unwrap());
    let patch =
        |body: Value| app.request(Method::PATCH, &path).bearer_auth(sent["author_token"].as_str().unwrap()).json(&body);
    assert_eq!(app.send(patch(json!({"body": ""}))).await.faults(), ["body required"]);
    app.clock.advance(Duration::from_mins(15));
    assert_eq!(app.send(patch(json!({"body": ""}))).await.problem(403), "edit_window_closed");
}

async fn all_faults_are_told_at_once(backend: Backend) {
    let app = TestApp::new(backend).await;
    let counts = async |body: Value| app.post("/api/v1/sites/default/counts", &body).await;
    let answer = counts(json!({"articles": ["a\u{1}", "fine", "", "b".repeat(513)]})).await;
    // Not the whole answer: its request id may hold anything.
    let errors = answer.json()["errors"].to_string();
    assert!(!errors.contains("bbb") && !errors.contains("\\u0001"), "{errors}");
    let messages: Vec<String> = answer.json()["errors"]
        .as_array()
        .unwrap()
        .iter()
        .map(|fault| fault["message"].as_str().unwrap().split(':').next().unwrap().to_owned())
        .collect();
    assert_eq!(messages, ["Entry 1", "Entry 3", "Entry 4"]);
    assert_eq!(answer.faults(), ["articles illegal_character", "articles required", "articles too_long"]);
    assert_eq!(counts(json!({"articles": [], "x": 1})).await.faults(), ["articles required", "x unknown_field"]);
    assert_eq!(counts(json!({"x": 1})).await.faults(), ["articles required", "x unknown_field"]);
    let moderator = app.default_moderator().await;
    let decide = async |body: Value| -> Answer { moderator.post("/decisions", &body).await };
    assert_eq!(
        decide(json!({"decision": 5, "ids": "x"})).await.faults(),
        ["decision wrong_type", "ids wrong_type"],
        "one fault for each field"
    );
    assert_eq!(decide(json!({"reason": 1})).await.faults(), ["decision required", "ids required", "reason wrong_type"]);
    let request: RequestBuilder = moderator.request(Method::POST, "/decisions");
    assert_eq!(
        app.send(request.json(&json!({"decision": null, "ids": []}))).await.faults(),
        ["decision required", "ids out_of_range"]
    );
}
