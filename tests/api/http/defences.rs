//! The quiet defences: the token of the form, and the field that people never see. Whoever sends learns nothing of them.

use std::time::Duration;

use afterword::storage::accounts::Role;
use reqwest::Method;
use serde_json::{Value, json};

use super::administration::call;
use crate::support::app::{Answer, TestApp, comment};
use crate::support::database::{Backend, on_both_databases};

on_both_databases!(
    the_token_of_the_form_tells_its_age,
    a_site_may_want_the_token,
    the_honeypot_is_quiet,
    our_own_form_carries_a_token,
    no_pictures_where_a_site_wants_none,
    scores_of_one_site,
);

/// Changes the default site's settings; returns an administrator's token.
pub async fn set(app: &TestApp, patch: Value) -> String {
    let token = app.moderator("admin@example.org", Role::Admin, &[]).await.token;
    call(app, &token, "PATCH", "/api/v1/sites/default", patch).await.expect(200);
    token
}

async fn form_token(app: &TestApp, site: &str) -> String {
    let form = app.get(&format!("/api/v1/sites/{site}/form")).await.expect(200);
    form["form_token"].as_str().unwrap().to_owned()
}

async fn send(app: &TestApp, text: &str, token: Option<&str>) -> Answer {
    let mut body = comment(text);
    if let Some(token) = token {
        body["form_token"] = json!(token);
    }
    app.submit(&body).await
}

/// The codes of the reasons of a comment, as moderators see them.
async fn reasons(app: &TestApp, token: &str, answer: Value) -> Vec<String> {
    let path = format!("/api/v1/moderation/comments/{}", answer["comment"]["id"].as_str().unwrap());
    let comment = call(app, token, "GET", &path, Value::Null).await.expect(200);
    let reasons = comment["hold_reasons"].as_array().unwrap();
    assert!(reasons.iter().all(|reason| !reason["detail"].as_str().unwrap().is_empty()));
    reasons.iter().map(|reason| reason["code"].as_str().unwrap().to_owned()).collect()
}

async fn the_token_of_the_form_tells_its_age(backend: Backend) {
    let app = TestApp::new(backend).await;
    let admin = set(&app, json!({"moderation": "none"})).await;
    let early = form_token(&app, "default").await;
    assert_eq!(early, form_token(&app, "default").await, "nothing of the visitor's is in it");
    let hasty = send(&app, "at once", Some(&early)).await.expect(202);
    assert_eq!(reasons(&app, &admin, hasty).await, ["too_fast"]);
    app.clock.advance(Duration::from_secs(3));
    send(&app, "after a while", Some(&early)).await.expect(201);
    app.clock.advance(Duration::from_hours(24 * 30));
    send(&app, "after a month in a tab", Some(&early)).await.expect(201);
    send(&app, "without any", None).await.expect(201);
    call(&app, &admin, "POST", "/api/v1/sites", json!({"key": "other", "name": "Other"})).await.expect(201);
    let foreign = form_token(&app, "other").await;
    let mut forged = form_token(&app, "default").await;
    let last = forged.pop().unwrap();
    forged.push(if last == 'A' { 'Q' } else { 'A' });
    app.clock.advance(Duration::from_mins(1));
    for (n, token) in [foreign.as_str(), &forged, "y", "\u{1F980}"].into_iter().enumerate() {
        let answer = send(&app, &format!("forged {n}"), Some(token)).await.expect(202);
        assert_eq!(reasons(&app, &admin, answer).await, ["bad_form_token"], "{token}");
    }
    let app = TestApp::build(backend).set("limits__enabled", "false").set("defences__min_seconds", "0").start().await;
    set(&app, json!({"moderation": "none"})).await;
    let token = form_token(&app, "default").await;
    send(&app, "nobody is too fast", Some(&token)).await.expect(201);
}

async fn a_site_may_want_the_token(backend: Backend) {
    let app = TestApp::new(backend).await;
    let admin = set(&app, json!({"moderation": "none", "form_token": "required"})).await;
    let without = send(&app, "without", None).await.expect(202);
    assert_eq!(reasons(&app, &admin, without).await, ["no_form_token"]);
    let form = app.get("/api/v1/sites/default/form").await.expect(200);
    assert_eq!(form["form_token_policy"], "required");
    app.clock.advance(Duration::from_secs(5));
    send(&app, "with", form["form_token"].as_str()).await.expect(201);
    // What a rule approves is held all the same.
    let rule = json!({"name": "friends", "effect": {"decide": "approve"},
        "conditions": [{"on": "name", "is": "equals", "values": ["Ada"]}]});
    call(&app, &admin, "POST", "/api/v1/moderation/rules", rule).await.expect(201);
    let without = send(&app, "without, by a friend", None).await.expect(202);
    assert!(reasons(&app, &admin, without).await.contains(&"no_form_token".to_owned()));
    let wrong = json!({"form_token": "maybe", "avatars": null});
    let faults = call(&app, &admin, "PATCH", "/api/v1/sites/default", wrong).await.faults();
    assert_eq!(faults, ["avatars required", "form_token unknown_value"]);
}

/// How many mails leave now.
async fn mails(app: &TestApp) -> usize {
    let mut left = 0;
    for _ in 0..3 {
        left += app.run_jobs().await.len();
        app.clock.advance(Duration::from_secs(1));
    }
    left
}

async fn the_honeypot_is_quiet(backend: Backend) {
    let app = TestApp::new(backend).await;
    let admin = app.moderator("admin@example.org", Role::Admin, &[]).await.token;
    app.default_moderator().await;
    let person = send(&app, "By a person", None).await;
    assert_eq!(mails(&app).await, 1);
    let mut body = comment("By a robots");
    body["company"] = json!("ACME");
    let robot = app.submit(&body).await;
    assert_eq!(mails(&app).await, 0, "nobody is told of spam");
    assert_eq!(robot.status, person.status);
    let names = |answer: &Answer| answer.headers.keys().map(ToString::to_string).collect::<Vec<_>>();
    assert_eq!(names(&robot), names(&person));
    assert_eq!(robot.body.len(), person.body.len());
    let (mut robot, mut person) = (robot.json(), person.json());
    let id = robot["comment"]["id"].as_str().unwrap().to_owned();
    for answer in [&mut robot, &mut person] {
        for changing in ["id", "body_html", "created_at"] {
            answer["comment"][changing] = Value::Null;
        }
        answer["author_token"] = Value::Null;
        answer["editable_until"] = Value::Null;
    }
    assert_eq!(robot, person);
    let seen = call(&app, &admin, "GET", &format!("/api/v1/moderation/comments/{id}"), Value::Null).await.expect(200);
    assert_eq!((&seen["status"], &seen["hold_reasons"][1]["code"]), (&json!("spam"), &json!("honeypot")));
}

async fn our_own_form_carries_a_token(backend: Backend) {
    let app = TestApp::new(backend).await;
    set(&app, json!({"moderation": "none", "form_token": "required"})).await;
    let post = |fields: Vec<(String, String)>| {
        app.send(app.request(Method::POST, "/api/v1/sites/default/comments").form(&fields))
    };
    let field = |name: &str, value: &str| (name.to_owned(), value.to_owned());
    let mut fields = vec![field("article", "/a"), field("name", "Ada"), field("body", "Some words.")];
    let page = post(fields.clone()).await;
    assert_eq!(page.status, 422);
    let html = page.text();
    let (_, rest) = html.split_once("name=\"form_token\" value=\"").expect("the page has a token of its own");
    fields.push(field("form_token", rest.split('"').next().unwrap()));
    fields.push(field("email", "ada@example.org"));
    let taken = post(fields).await;
    assert_eq!(taken.status, 201, "whoever mends a slip may be quick: {}", taken.text());
}

async fn no_pictures_where_a_site_wants_none(backend: Backend) {
    let app = TestApp::new(backend).await;
    app.published("one", None).await;
    let first = app.list("").await["comments"][0]["avatar"].as_str().unwrap().to_owned();
    let picture = app.send(app.client.get(&first)).await;
    assert_eq!(picture.header("cache-control"), "public, max-age=31536000, immutable");
    assert_eq!(picture.header("content-type"), "image/svg+xml");
    assert_eq!(picture.header("content-security-policy"), "default-src 'none'");
    assert_eq!(picture.header("cross-origin-resource-policy"), "cross-origin", "for pages that isolate themselves");
    // Names that cannot be told apart have one picture; the address has no part in it.
    let avatar = async |name: &str, email: &str| {
        let mut body = comment(&format!("By {name} {email}"));
        body["name"] = json!(name);
        body["email"] = json!(email);
        app.submit(&body).await.expect(202)["comment"]["avatar"].as_str().unwrap().to_owned()
    };
    assert_eq!(avatar("ada", "other@example.org").await, first);
    assert_eq!(avatar("\u{410}d\u{430}", "third@example.org").await, first, "two of its letters are Cyrillic");
    assert_ne!(avatar("Bob", "ada@example.org").await, first);
    set(&app, json!({"avatars": "none"})).await;
    assert_eq!(app.list("").await["comments"][0]["avatar"], Value::Null);
    let held = send(&app, "three", None).await.expect(202);
    assert_eq!(held["comment"]["avatar"], Value::Null);
}

async fn scores_of_one_site(backend: Backend) {
    let app = TestApp::new(backend).await;
    let admin = set(&app, json!({"moderation": "none"})).await;
    let rule = json!({"name": "offers", "effect": {"score": 2},
        "conditions": [{"on": "body", "is": "contains", "values": ["offer"]}]});
    call(&app, &admin, "POST", "/api/v1/moderation/rules", rule).await.expect(201);
    send(&app, "An offer.", None).await.expect(201);
    let told = set(&app, json!({"hold_score": 1.5})).await;
    let site = call(&app, &told, "GET", "/api/v1/sites/default", Value::Null).await.expect(200);
    assert_eq!((&site["hold_score"], &site["spam_score"]), (&json!(1.5), &Value::Null));
    let held = send(&app, "Another offer.", None).await.expect(202);
    let id = held["comment"]["id"].as_str().unwrap();
    let path = format!("/api/v1/moderation/comments/{id}");
    assert_eq!(call(&app, &admin, "GET", &path, Value::Null).await.expect(200)["status"], "pending");
    set(&app, json!({"spam_score": 1.75})).await;
    let spam = send(&app, "A third offer.", None).await.expect(202);
    let path = format!("/api/v1/moderation/comments/{}", spam["comment"]["id"].as_str().unwrap());
    assert_eq!(call(&app, &admin, "GET", &path, Value::Null).await.expect(200)["status"], "spam");
    set(&app, json!({"hold_score": null, "spam_score": null})).await;
    send(&app, "A fourth offer.", None).await.expect(201);
}
