//! What a site decides for itself: required fields, lengths, closing by age and by hand, known articles.

use std::time::Duration;

use afterword::storage::accounts::Role;
use reqwest::Method;
use serde_json::{Value, json};

use super::administration::call;
use crate::support::app::{TestApp, comment};
use crate::support::database::{Backend, on_both_databases};

on_both_databases!(
    submissions_and_edits_obey_the_site,
    articles_close_by_their_age_also_in_answers_that_lie_ready,
    articles_are_closed_and_opened_by_hand,
    known_articles,
    a_read_only_site_is_closed_also_where_nobody_wrote,
    settings_reach_another_instance
);

const DAY: Duration = Duration::from_hours(24);

async fn set(app: &TestApp, patch: Value) -> String {
    let admin = app.moderator("admin@example.org", Role::Admin, &[]).await;
    call(app, &admin.token, "PATCH", "/api/v1/sites/default", patch).await.expect(200);
    admin.token
}

async fn submissions_and_edits_obey_the_site(backend: Backend) {
    let app = TestApp::new(backend).await;
    set(
        &app,
        json!({
            "required_fields": ["name", "website"], "lengths": {"body_min": 5, "body_max": 20, "name_max": 8},
            "privacy_text": "We keep nothing.", "languages": ["de"], "close_after_days": 9,
        }),
    )
    .await;
    let form = app.get("/api/v1/sites/default/form").await.expect(200);
    assert_eq!(form["texts"]["privacy"], "We keep nothing.");
    assert_eq!((&form["languages"], &form["close_after_days"]), (&json!(["de"]), &json!(9)));
    let field =
        |name: &str| form["fields"].as_array().unwrap().iter().find(|field| field["name"] == name).unwrap().clone();
    assert_eq!(field("body"), json!({"name": "body", "required": true, "min_length": 5, "max_length": 20}));
    assert_eq!((&field("email")["required"], &field("website")["required"]), (&json!(false), &json!(true)));
    let wrong = json!({"article": "/a", "name": "A long name", "body": "Hey"});
    assert_eq!(app.submit(&wrong).await.faults(), ["name too_long", "body too_short", "website required"]);
    assert_eq!(app.post("/api/v1/sites/default/preview", &json!({"body": "x".repeat(21)})).await.status, 422);
    let right = json!({"article": "/a", "name": "Ada", "website": "https://ada.example", "body": "Hello"});
    let taken = app.submit(&right).await.expect(202);
    let path = format!("/api/v1/comments/{}", taken["comment"]["id"].as_str().unwrap());
    let edit = |body: Value| {
        let (app, path, token) = (&app, path.clone(), taken["author_token"].as_str().unwrap().to_owned());
        async move { call(app, &token, "PATCH", &path, body).await }
    };
    assert_eq!(edit(json!({"body": "Hey", "website": null})).await.faults(), ["body too_short", "website required"]);
    edit(json!({"body": "Hello!"})).await.expect(200);
    // Without an address there is nothing private to keep, and a moderator sees none.
    let moderator = app.default_moderator().await;
    let queue = moderator.get("/comments").await.expect(200);
    assert_eq!(queue["comments"][0]["email"], Value::Null);
    assert_eq!(app.run_jobs().await.len(), 1, "and is told of it once, in its newest text");
    let page = app.client.post(format!("{}/api/v1/sites/default/comments", app.url)).form(&[
        ("article", "/a"),
        ("name", "Ada"),
        ("website", "https://ada.example"),
        ("body", "By a form"),
    ]);
    assert_eq!(app.send(page).await.status, 202);
}

async fn articles_close_by_their_age_also_in_answers_that_lie_ready(backend: Backend) {
    let app = TestApp::new(backend).await;
    let id = app.published("first", None).await;
    let open = app.list("").await;
    assert_eq!(open["article"]["closed"], false);
    let token = set(&app, json!({"close_after_days": 30})).await;
    let article = call(&app, &token, "GET", "/api/v1/sites/default/articles", Value::Null).await.expect(200);
    assert_eq!(article["articles"][0]["closes_at"], "2026-01-31T00:00:00.000000Z");
    app.clock.advance((DAY * 30).checked_sub(Duration::from_micros(1)).unwrap());
    let made = app.get("/api/v1/sites/default/comments?article=/a").await;
    assert_eq!(made.json()["article"]["closed"], false);
    assert_eq!(app.get("/api/v1/sites/default/recent").await.json()["comments"][0]["article"]["closed"], false);
    app.comment("in time").await;
    // Nothing is written when the moment comes, and nobody may be told the old answer after it.
    app.clock.advance(Duration::from_micros(1));
    let after = app.get("/api/v1/sites/default/comments?article=/a").await;
    assert_eq!(after.json()["article"]["closed"], true);
    assert_ne!(after.header("etag"), made.header("etag"));
    assert_eq!(app.get("/api/v1/sites/default/recent").await.json()["comments"][0]["article"]["closed"], true);
    assert_eq!(app.submit(&comment("too late")).await.problem(409), "closed");
    let mut elsewhere = comment("a new article");
    elsewhere["article"] = json!("/new");
    app.submit(&elsewhere).await.expect(202);
    // The rule goes, and with it what it closed.
    set(&app, json!({"close_after_days": 0})).await;
    assert_eq!(app.list("").await["article"]["closed"], false);
    assert_eq!(app.listed("").await, [id]);
}

async fn articles_are_closed_and_opened_by_hand(backend: Backend) {
    let app = TestApp::new(backend).await;
    app.published("first", None).await;
    let token = app.default_moderator().await.token;
    let patch = |body: Value| {
        let (app, token) = (&app, token.clone());
        async move { call(app, &token, "PATCH", "/api/v1/sites/default/articles?article=/a", body).await }
    };
    assert_eq!(app.list("").await["article"]["title"], Value::Null);
    let closed = patch(json!({"closed": true, "title": "A  title"})).await.expect(200);
    assert_eq!((&closed["closed"], &closed["title"]), (&json!(true), &json!("A title")));
    let list = app.list("").await;
    assert_eq!((&list["article"]["closed"], &list["article"]["title"]), (&json!(true), &json!("A title")));
    assert_eq!(app.submit(&comment("late")).await.problem(409), "closed");
    // Opened by hand it stays open, however old it is; null goes by its age again.
    set(&app, json!({"close_after_days": 1})).await;
    app.clock.advance(DAY * 2);
    patch(json!({"closed": false})).await.expect(200);
    assert_eq!(app.list("").await["article"]["closed"], false);
    app.comment("again").await;
    assert_eq!(patch(json!({"closed": null})).await.expect(200)["closed"], true);
    assert_eq!(app.list("").await["article"]["closed"], true);
    let mut faults = patch(json!({"closed": "yes", "url": "https://evil.example/", "key": "b"})).await.faults();
    faults.sort();
    assert_eq!(faults, ["closed wrong_type", "key unknown_field", "url foreign_url"]);
}

async fn known_articles(backend: Backend) {
    let app = TestApp::new(backend).await;
    set(&app, json!({"articles": "known"})).await;
    assert_eq!(app.submit(&comment("unknown")).await.faults(), ["article unknown_article"]);
    let token = app.default_moderator().await.token;
    let articles = "/api/v1/sites/default/articles";
    let strange = json!({"key": "ä b/c?", "title": "Strange"});
    let made = call(&app, &token, "POST", articles, strange.clone()).await.expect(201);
    assert_eq!((&made["key"], &made["comment_count"]), (&json!("ä b/c?"), &json!(0)));
    call(&app, &token, "POST", articles, strange).await.expect(200);
    // A list of the article that was empty a moment ago is not found ready.
    let unknown = app.list("").await;
    assert_eq!((&unknown["article"]["title"], &unknown["article"]["closed"]), (&Value::Null, &json!(true)));
    call(&app, &token, "POST", articles, json!({"key": "/a", "title": "Known"})).await.expect(201);
    let known = app.list("").await;
    assert_eq!((&known["article"]["title"], &known["article"]["closed"]), (&json!("Known"), &json!(false)));
    app.comment("known").await;
    assert_eq!(call(&app, &token, "POST", articles, json!({"key": "", "title": 1})).await.faults().len(), 2);
    let page = call(&app, &token, "GET", &format!("{articles}?limit=1"), Value::Null).await.expect(200);
    let cursor = page["next_cursor"].as_str().unwrap();
    let rest = call(&app, &token, "GET", &format!("{articles}?limit=1&cursor={cursor}"), Value::Null).await.expect(200);
    assert_eq!(rest["next_cursor"], Value::Null);
    let mut keys = [page["articles"][0]["key"].clone(), rest["articles"][0]["key"].clone()];
    keys.sort_by_key(|key| key.as_str().unwrap().to_owned());
    assert_eq!(keys, ["/a", "ä b/c?"]);
}

async fn a_read_only_site_is_closed_also_where_nobody_wrote(backend: Backend) {
    let app = TestApp::new(backend).await;
    let closed = async || app.list("").await["article"]["closed"].clone();
    assert_eq!(closed().await, json!(false));
    set(&app, json!({"read_only": true})).await;
    assert_eq!(closed().await, json!(true));
    assert_eq!(app.submit(&comment("no")).await.problem(409), "closed");
    let page = app.request(Method::GET, "/api/v1/sites/default/comments?article=/a").header("accept", "text/html");
    let page = app.send(page).await.text();
    assert!(page.contains("Comments are closed.") && !page.contains("Start the conversation"), "{page}");
    assert!(!page.contains("<form"), "{page}");
}

async fn settings_reach_another_instance(backend: Backend) {
    let app = TestApp::new(backend).await;
    let other = app.another().set("limits__enabled", "false").start().await;
    app.published("first", None).await;
    other.clock.advance(DAY * 2);
    other.service.db.everything_changed();
    assert_eq!(other.list("").await["article"]["closed"], false);
    set(&app, json!({"close_after_days": 1})).await;
    // What its housekeeping does twice a second.
    other.service.refresh_sites().await.unwrap();
    assert_eq!(other.list("").await["article"]["closed"], true, "what lay ready is worth nothing");
    assert_eq!(other.submit(&comment("late")).await.problem(409), "closed");
}
