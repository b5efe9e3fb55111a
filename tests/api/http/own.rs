//! An author's own comment: seen, changed for a while, deleted, by the author token alone.

use std::time::Duration;

use afterword::domain::site::{Policy, Site};
use reqwest::Method;
use serde_json::{Value, json};

use crate::support::app::{Answer, TestApp, comment};
use crate::support::database::{Backend, on_both_databases};

on_both_databases!(
    authors_see_their_own_and_nobody_elses,
    a_held_comment_is_changed_at_once,
    an_approved_text_stays_while_the_edit_waits,
    trusted_authors_and_open_sites_change_at_once,
    the_window_closes_for_edits_alone,
    deleting_leaves_a_mark_only_under_replies,
);

struct Own<'a> {
    app: &'a TestApp,
    id: String,
    token: String,
}

async fn own<'a>(app: &'a TestApp, text: &str) -> Own<'a> {
    let answer = app.submit(&comment(text)).await.json();
    let text = |value: &Value| value.as_str().unwrap().to_owned();
    Own { app, id: text(&answer["comment"]["id"]), token: text(&answer["author_token"]) }
}

impl Own<'_> {
    async fn send(&self, method: Method, body: Option<&Value>) -> Answer {
        let mut request = self.app.request(method, &format!("/api/v1/comments/{}", self.id)).bearer_auth(&self.token);
        if let Some(body) = body {
            request = request.header("content-type", "application/merge-patch+json").body(body.to_string());
        }
        self.app.send(request).await
    }

    async fn edit(&self, body: &Value) -> Answer {
        self.send(Method::PATCH, Some(body)).await
    }
}

async fn authors_see_their_own_and_nobody_elses(backend: Backend) {
    let app = TestApp::new(backend).await;
    let (ada, bob) = (own(&app, "by Ada").await, own(&app, "by Bob").await);
    let seen = ada.send(Method::GET, None).await.expect(200);
    assert_eq!((seen["status"].as_str(), seen["body"].as_str()), (Some("pending"), Some("by Ada")));
    assert_eq!(seen["editable_until"], "2026-01-01T00:15:00.000000Z");
    assert!(seen.get("email").is_none());
    let path = format!("/api/v1/comments/{}", ada.id);
    assert_eq!(app.get(&path).await.problem(401), "unauthenticated");
    let by_bob = app.request(Method::GET, &path).bearer_auth(&bob.token);
    assert_eq!(app.send(by_bob).await.problem(404), "not_found");
    let unknown = app.request(Method::GET, "/api/v1/comments/0190a000-0000-7000-8000-000000000001");
    assert_eq!(app.send(unknown.bearer_auth(&bob.token)).await.problem(404), "not_found");
    for token in ["nonsense", "awa_AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA"] {
        assert_eq!(app.send(app.request(Method::GET, &path).bearer_auth(token)).await.problem(401), "unauthenticated");
    }
    // Whatever a moderator decided, the author learns `pending`.
    let moderator = app.default_moderator().await;
    for decision in ["spam", "reject"] {
        moderator.decide(&ada.id, decision).await.expect(200);
        assert_eq!(ada.send(Method::GET, None).await.expect(200)["status"], "pending");
    }
}

async fn a_held_comment_is_changed_at_once(backend: Backend) {
    let app = TestApp::new(backend).await;
    let ada = own(&app, "frist").await;
    let edited = ada.edit(&json!({"body": "first *now*", "website": "https://ada.example"})).await.expect(200);
    assert_eq!(
        (edited["body_html"].as_str(), edited["website"].as_str()),
        (Some("<p>first <em>now</em></p>"), Some("https://ada.example"))
    );
    assert_eq!(edited["name"], "Ada", "what is missing stays");
    assert!(edited["edited_at"].is_string());
    assert_eq!(ada.edit(&json!({"website": null})).await.expect(200)["website"], Value::Null);
    assert_eq!(
        ada.edit(&json!({"name": null, "body": " ", "website": "x", "email": "e@example.org"})).await.faults(),
        ["name required", "body required", "website invalid_url", "email unknown_field"]
    );
    assert_eq!(ada.edit(&json!({"body": "x\u{202E}y"})).await.faults(), ["body illegal_character"]);
    let moderator = app.default_moderator().await;
    let seen = moderator.get(&format!("/comments/{}", ada.id)).await.expect(200);
    assert_eq!((seen["status"].as_str(), seen["body"].as_str()), (Some("pending"), Some("first *now*")));
    let actions: Vec<_> =
        seen["events"].as_array().unwrap().iter().map(|event| event["action"].as_str().unwrap().to_owned()).collect();
    assert_eq!(actions, ["submitted", "edited", "edited"]);
    // An edited spam comment stays spam.
    moderator.decide(&ada.id, "spam").await.expect(200);
    ada.edit(&json!({"body": "let me in"})).await.expect(200);
    assert_eq!(moderator.get(&format!("/comments/{}", ada.id)).await.expect(200)["status"], "spam");
}

async fn an_approved_text_stays_while_the_edit_waits(backend: Backend) {
    let app = TestApp::new(backend).await;
    let moderator = app.default_moderator().await;
    let ada = own(&app, "good text").await;
    moderator.decide(&ada.id, "approve").await.expect(200);
    app.run_jobs().await;
    let edited = ada.edit(&json!({"body": "BUY https://pills.example"})).await.expect(202);
    assert_eq!((edited["status"].as_str(), edited["body"].as_str()), (Some("approved"), Some("good text")));
    assert_eq!(edited["pending_edit"]["body"], "BUY https://pills.example");
    let again = ada.edit(&json!({"body": "BUY https://pills.example"})).await.expect(202);
    assert_eq!(again["pending_edit"], edited["pending_edit"], "nothing new, and it still waits");
    let public = app.list("").await["comments"][0]["body_html"].clone();
    assert_eq!(public, "<p>good text</p>");
    assert_eq!(moderator.queue("").await, std::slice::from_ref(&ada.id), "the edit waits in the queue");
    moderator.decide(&ada.id, "reject").await.expect(200);
    assert!(moderator.queue("").await.is_empty(), "one that was put away is decided, with its new text");
    assert!(moderator.queue("?article=/a").await.is_empty());
    moderator.post(&format!("/comments/{}/undo", ada.id), &json!({})).await.expect(200);
    assert_eq!(moderator.queue("?site=default").await, std::slice::from_ref(&ada.id));
    let mails = app.run_jobs().await;
    assert!(mails[0].contains("was changed by its author") && mails[0].contains("pills.example"), "{mails:?}");
    ada.edit(&json!({"body": "BUY MORE"})).await.expect(202);
    let mails = app.run_jobs().await;
    assert!(mails.len() == 1 && mails[0].contains("BUY MORE"), "links decide on the text that their mail shows");
    // Dropped: nothing changes. Again, and approved: it is public, and can be taken back.
    let dropped = moderator.post(&format!("/comments/{}/discard-edit", ada.id), &json!({})).await.expect(200);
    assert_eq!((dropped["status"].as_str(), &dropped["pending_edit"]), (Some("approved"), &Value::Null));
    assert_eq!(
        moderator.post(&format!("/comments/{}/discard-edit", ada.id), &json!({})).await.problem(409),
        "conflict"
    );
    ada.edit(&json!({"body": "better text"})).await.expect(202);
    assert_eq!(app.run_jobs().await.len(), 1, "the one before was decided");
    let approved = moderator.decide(&ada.id, "approve").await.expect(200);
    assert_eq!(
        (approved["body"].as_str(), approved["previous"]["status"].as_str()),
        (Some("better text"), Some("approved"))
    );
    assert_eq!(app.list("").await["comments"][0]["body_html"], "<p>better text</p>");
    let undone = moderator.decide(&ada.id, "undo").await.expect(200);
    assert_eq!(
        (undone["body"].as_str(), undone["pending_edit"]["body"].as_str()),
        (Some("good text"), Some("better text"))
    );
    assert_eq!(app.list("").await["comments"][0]["body_html"], "<p>good text</p>");
    // Rejected with the edit waiting: gone; approved from there: with the edit, as the moderator saw it.
    moderator.decide(&ada.id, "reject").await.expect(200);
    assert!(app.listed("").await.is_empty());
    assert_eq!(moderator.decide(&ada.id, "approve").await.expect(200)["body"], "better text");
}

async fn trusted_authors_and_open_sites_change_at_once(backend: Backend) {
    let app = TestApp::new(backend).await;
    let mut site = Site::clone(&*app.service.sites.by_key("default").unwrap());
    site.policy = Policy::NewAuthors;
    app.service.update_site(site.clone()).await.unwrap();
    let ada = own(&app, "one").await;
    app.default_moderator().await.decide(&ada.id, "approve").await.expect(200);
    assert_eq!(ada.edit(&json!({"body": "two"})).await.expect(200)["status"], "approved");
    assert_eq!(app.list("").await["comments"][0]["body_html"], "<p>two</p>");
    site.policy = Policy::None;
    app.service.update_site(site).await.unwrap();
    let bob = own(&app, "three").await;
    assert_eq!(bob.edit(&json!({"body": "four"})).await.expect(200)["body"], "four");
}

async fn the_window_closes_for_edits_alone(backend: Backend) {
    let app = TestApp::new(backend).await;
    let ada = own(&app, "text").await;
    app.clock.advance(Duration::from_secs(15 * 60 - 1));
    ada.edit(&json!({"body": "in time"})).await.expect(200);
    app.clock.advance(Duration::from_secs(1));
    assert_eq!(ada.edit(&json!({"body": "too late"})).await.problem(403), "edit_window_closed");
    assert_eq!(ada.send(Method::GET, None).await.expect(200)["body"], "in time");
    ada.send(Method::DELETE, None).await.expect(204);
    assert_eq!(ada.send(Method::GET, None).await.problem(404), "not_found");
    assert_eq!(ada.send(Method::DELETE, None).await.problem(404), "not_found");
}

async fn deleting_leaves_a_mark_only_under_replies(backend: Backend) {
    let app = TestApp::new(backend).await;
    let moderator = app.default_moderator().await;
    let ada = own(&app, "root").await;
    moderator.decide(&ada.id, "approve").await.expect(200);
    let reply = app.published("reply", Some(&ada.id)).await;
    ada.send(Method::DELETE, None).await.expect(204);
    let list = app.list("").await;
    assert_eq!(list["comments"][0], json!({"id": ada.id, "parent_id": null, "depth": 0, "removed": true}));
    assert_eq!(
        (list["comments"][1]["id"].as_str(), list["article"]["comment_count"].as_i64()),
        (Some(reply.as_str()), Some(1))
    );
    assert_eq!(moderator.get(&format!("/comments/{}", ada.id)).await.problem(404), "not_found");
    assert!(!moderator.queue("?status=all").await.contains(&ada.id));
    moderator.decide(&reply, "reject").await.expect(200);
    assert!(app.listed("").await.is_empty(), "without public replies the mark goes too");
}
