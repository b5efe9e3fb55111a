//! Articles by more than one key: aliases, merges, and what visitors may change on one that is read-only.

use std::time::Duration;

use afterword::domain::ids::ArticleId;
use afterword::domain::submission::ArticleKey;
use afterword::storage::accounts::Role;
use afterword::storage::aliases::{self, LATECOMERS, NewAlias};
use afterword::storage::articles::NewArticle;
use serde_json::{Value, json};

use super::administration::call;
use crate::support::app::{Answer, TestApp, comment};
use crate::support::database::{Backend, on_both_databases};

on_both_databases!(
    two_keys_lead_to_one_article,
    a_merge_keeps_threads_counts_and_cursors,
    a_merge_that_was_cut_short_goes_on,
    what_comes_during_a_merge_arrives,
    keys_lead_nowhere_in_circles,
    nothing_changes_on_what_is_read_only,
);

const ARTICLES: &str = "/api/v1/sites/default/articles";

/// A service that publishes at once, and the token of its administrator.
async fn open(backend: Backend) -> (TestApp, String) {
    let app = TestApp::new(backend).await;
    let token = app.moderator("admin@example.org", Role::Admin, &[]).await.token;
    call(&app, &token, "PATCH", "/api/v1/sites/default", json!({"moderation": "none"})).await.expect(200);
    (app, token)
}

async fn send(app: &TestApp, article: &str, text: &str, parent: Option<&str>) -> Answer {
    let mut body = comment(text);
    body["article"] = json!(article);
    if let Some(parent) = parent {
        body["parent_id"] = json!(parent);
    }
    app.submit(&body).await
}

async fn sent(app: &TestApp, article: &str, text: &str, parent: Option<&str>) -> String {
    send(app, article, text, parent).await.expect(201)["comment"]["id"].as_str().unwrap().to_owned()
}

async fn list(app: &TestApp, article: &str, query: &str) -> Value {
    app.get(&format!("/api/v1/sites/default/comments?article={article}{query}")).await.expect(200)
}

fn ids(list: &Value) -> Vec<&str> {
    list["comments"].as_array().unwrap().iter().map(|row| row["id"].as_str().unwrap()).collect()
}

async fn merge(app: &TestApp, token: &str, (from, into): (&str, &str)) -> Answer {
    call(app, token, "POST", &format!("{ARTICLES}/merge"), json!({"from": from, "into": into})).await
}

async fn alias(app: &TestApp, token: &str, (alias, article): (&str, &str)) -> Answer {
    call(app, token, "POST", &format!("{ARTICLES}/aliases"), json!({"alias": alias, "article": article})).await
}

/// Only the first step of a merge, as it is there when the process is killed then.
async fn begin(app: &TestApp, from: &str, into: &str) {
    let key = |text: &str| ArticleKey::parse(text, "article").unwrap();
    let site = app.service.sites.by_key("default").unwrap().id;
    let (from, into, now) = (key(from), key(into), app.service.clock.now());
    let (id, other) = (ArticleId(app.service.ids.next()), ArticleId(app.service.ids.next()));
    let begun = app.service.db.write(move |tx| {
        let article = NewArticle { id, site_id: site, key: &into, created_at: now };
        aliases::add(tx, &NewAlias { site, alias: &from, id: other, article: &article }, now)
    });
    begun.await.unwrap();
}

async fn two_keys_lead_to_one_article(backend: Backend) {
    let (app, token) = open(backend).await;
    // Answers that lie ready know of it at once.
    assert_eq!(list(&app, "/new", "").await["article"]["key"], "/new");
    let made = alias(&app, &token, ("/new", "/a")).await.expect(201);
    assert_eq!((&made["alias"], &made["article"], &made["moved"]), (&json!("/new"), &json!("/a"), &json!(0)));
    alias(&app, &token, ("/new", "/a")).await.expect(200);
    let first = sent(&app, "/new", "By the other key.", None).await;
    let second = sent(&app, "/a", "By its own.", Some(&first)).await;
    for key in ["/a", "/new"] {
        let list = list(&app, key, "").await;
        assert_eq!(
            list["article"],
            json!({"key": "/a", "title": null, "url": null, "comment_count": 2, "closed": false})
        );
        assert_eq!(ids(&list), [&first, &second]);
    }
    assert_eq!(send(&app, "/a", "By the other key.", None).await.problem(409), "duplicate_comment");
    let counts = app.get("/api/v1/sites/default/counts?article=/a&article=/new&article=/x").await.expect(200);
    assert_eq!(counts["counts"], json!({"/a": 2, "/new": 2, "/x": 0}));
    sent(&app, "/new", "One more.", None).await;
    let again = app.get("/api/v1/sites/default/counts?article=/a&article=/new&article=/x").await.expect(200);
    assert_eq!(again["counts"], json!({"/a": 3, "/new": 3, "/x": 0}));
    let queue = call(&app, &token, "GET", "/api/v1/moderation/comments?status=all&article=/new", Value::Null).await;
    assert_eq!(queue.expect(200)["comments"].as_array().unwrap().len(), 3);
    // What is said of the one is said of the other.
    let patched = call(&app, &token, "PATCH", &format!("{ARTICLES}?article=/new"), json!({"title": "Both"})).await;
    assert_eq!(patched.expect(200)["key"], "/a");
    assert_eq!(list(&app, "/new", "").await["article"]["title"], "Both");
    let known = call(&app, &token, "GET", ARTICLES, Value::Null).await.expect(200);
    assert_eq!(known["articles"].as_array().unwrap().len(), 1, "an alias is no article");
    let listed = call(&app, &token, "GET", &format!("{ARTICLES}/aliases"), Value::Null).await.expect(200);
    assert_eq!((&listed["aliases"][0]["alias"], &listed["aliases"][0]["article"]), (&json!("/new"), &json!("/a")));
    // And back: the key is free again.
    let gone = format!("{ARTICLES}/aliases?alias=/new");
    call(&app, &token, "DELETE", &gone, Value::Null).await.expect(204);
    assert_eq!(call(&app, &token, "DELETE", &gone, Value::Null).await.problem(404), "not_found");
    assert_eq!(list(&app, "/new", "").await["article"]["comment_count"], 0);
    assert_eq!(list(&app, "/a", "").await["article"]["comment_count"], 3);
}

async fn a_merge_keeps_threads_counts_and_cursors(backend: Backend) {
    let (app, token) = open(backend).await;
    let old = sent(&app, "/old", "First of all.", None).await;
    let new = sent(&app, "/new", "On the new one.", None).await;
    let reply = sent(&app, "/old", "An answer.", Some(&old)).await;
    let keyed = app.request(reqwest::Method::POST, "/api/v1/sites/default/comments").header("idempotency-key", "once");
    let mut body = comment("With a key.");
    body["article"] = json!("/old");
    let keyed_id = app.send(keyed.json(&body)).await.expect(201)["comment"]["id"].as_str().unwrap().to_owned();
    let page = list(&app, "/old", "&limit=1").await;
    let cursor = page["next_cursor"].as_str().unwrap();
    let another = app.another().set("limits__enabled", "false").start().await;
    assert_eq!(ids(&list(&another, "/new", "").await), [&new]);

    assert_eq!(merge(&app, &token, ("/old", "/new")).await.expect(200), json!({"moved": 3}));
    assert_eq!(merge(&app, &token, ("/old", "/new")).await.expect(200), json!({"moved": 3}), "and again");
    for key in ["/old", "/new"] {
        let list = list(&app, key, "").await;
        assert_eq!(ids(&list), [&old, &reply, &new, &keyed_id]);
        assert_eq!((&list["article"]["key"], &list["article"]["comment_count"]), (&json!("/new"), &json!(4)));
        assert_eq!(list["comments"][0]["reply_count"], 1);
    }
    if matches!(backend, Backend::Postgres) {
        // Other instances are told; those on one SQLite file look.
        let same = || async { ids(&list(&another, "/new", "").await).len() == 4 };
        while !same().await {
            tokio::task::yield_now().await;
        }
    }
    let rest = list(&app, "/old", &format!("&limit=200&cursor={cursor}")).await;
    assert_eq!(ids(&rest), [&reply, &new, &keyed_id], "a cursor from before leads on");
    let recent = app.get("/api/v1/sites/default/recent").await.expect(200);
    assert!(recent["comments"].as_array().unwrap().iter().all(|row| row["article"]["key"] == "/new"));
    // What was sent before is known: as a double, and by its key.
    assert_eq!(send(&app, "/new", "First of all.", None).await.problem(409), "duplicate_comment");
    let keyed = app.request(reqwest::Method::POST, "/api/v1/sites/default/comments").header("idempotency-key", "once");
    assert_eq!(app.send(keyed.json(&body)).await.expect(201)["comment"]["id"], json!(keyed_id));
    // Decisions count where the comment is now.
    let moderator = app.moderator("admin@example.org", Role::Admin, &[]).await;
    moderator.decide(&reply, "reject").await.expect(200);
    assert_eq!(list(&app, "/old", "").await["article"]["comment_count"], 3);
    sent(&app, "/old", "An answer to what moved.", Some(&old)).await;
    assert_eq!(list(&app, "/new", "").await["article"]["comment_count"], 4);
}

async fn a_merge_that_was_cut_short_goes_on(backend: Backend) {
    let (app, token) = open(backend).await;
    let many = 600;
    let (site, clock) = (app.service.sites.by_key("default").unwrap().id, app.service.clock.now());
    sent(&app, "/new", "There before.", None).await;
    sent(&app, "/old", "The first.", None).await;
    app.service
        .db
        .write(move |tx| {
            let article = afterword::storage::articles::find(tx.conn(), site, "/old")?.unwrap().id;
            for n in 0..many {
                let status = afterword::domain::comment::Status::Approved;
                let row = crate::support::rows::comment(n, site, article, None, status);
                afterword::storage::comments::insert(tx, &row)?;
            }
            Ok(())
        })
        .await
        .unwrap();
    begin(&app, "/old", "/new").await;
    let ours = app.service.db.read(aliases::merging).await.unwrap();
    let first = app.service.db.write(move |tx| aliases::move_some(tx, ours[0], clock)).await.unwrap();
    assert!(first.now > 0 && !first.is_over(), "{first:?}");
    // Here it is killed. Readers see what has arrived, and the number fits.
    let half = list(&app, "/old", "&limit=1").await;
    assert_eq!(half["article"]["comment_count"], json!(first.now + 1));
    app.service.go_on_merging().await.unwrap();
    assert_eq!(list(&app, "/new", "&limit=1").await["article"]["comment_count"], json!(many + 2));
    let listed = call(&app, &token, "GET", &format!("{ARTICLES}/aliases"), Value::Null).await.expect(200);
    assert_eq!(listed["aliases"][0]["moved"], json!(many + 1));
    let gone = format!("{ARTICLES}/aliases?alias=/old");
    assert_eq!(call(&app, &token, "DELETE", &gone, Value::Null).await.problem(409), "conflict", "somebody may be late");
    app.clock.advance(LATECOMERS + Duration::from_secs(1));
    app.service.go_on_merging().await.unwrap();
    assert_eq!(app.service.db.read(aliases::merging).await.unwrap(), []);
    assert_eq!(merge(&app, &token, ("/old", "/new")).await.expect(200), json!({"moved": many + 1}));
    call(&app, &token, "DELETE", &gone, Value::Null).await.expect(204);
}

async fn what_comes_during_a_merge_arrives(backend: Backend) {
    let (app, token) = open(backend).await;
    let root = sent(&app, "/old", "A root.", None).await;
    begin(&app, "/old", "/new").await;
    assert_eq!(ids(&list(&app, "/old", "").await).len(), 0, "it is on its way");
    assert_eq!(send(&app, "/old", "A root.", None).await.problem(409), "duplicate_comment");
    assert_eq!(send(&app, "/new", "A root.", None).await.problem(409), "duplicate_comment");
    let reply = sent(&app, "/old", "An answer to what is on its way.", Some(&root)).await;
    let fresh = sent(&app, "/old", "A new one.", None).await;
    assert_eq!(ids(&list(&app, "/new", "").await), [&fresh]);
    let recent = app.get("/api/v1/sites/default/recent").await.expect(200);
    assert!(recent["comments"].as_array().unwrap().iter().all(|row| row["article"]["key"] == "/new"), "{recent}");
    let queue = call(&app, &token, "GET", "/api/v1/moderation/comments?status=all&article=/new", Value::Null).await;
    assert_eq!(queue.expect(200)["comments"].as_array().unwrap().len(), 3);
    let moderator = app.moderator("admin@example.org", Role::Admin, &[]).await;
    let decided = moderator.decide(&root, "reject").await.expect(200);
    assert_eq!(decided["article"]["key"], "/new");
    moderator.decide(&root, "approve").await.expect(200);
    app.service.go_on_merging().await.unwrap();
    let list = list(&app, "/new", "").await;
    assert_eq!(ids(&list), [&root, &reply, &fresh]);
    assert_eq!((&list["article"]["comment_count"], &list["comments"][0]["reply_count"]), (&json!(3), &json!(1)));
}

async fn keys_lead_nowhere_in_circles(backend: Backend) {
    let (app, token) = open(backend).await;
    let first = sent(&app, "/1", "One.", None).await;
    alias(&app, &token, ("/1", "/2")).await.expect(201);
    assert_eq!(alias(&app, &token, ("/2", "/1")).await.problem(409), "conflict");
    assert_eq!(alias(&app, &token, ("/1", "/3")).await.problem(409), "conflict");
    // Its aliases go with an article that becomes one.
    alias(&app, &token, ("/2", "/3")).await.expect(201);
    for key in ["/1", "/2", "/3"] {
        let list = list(&app, key, "").await;
        assert_eq!((ids(&list), &list["article"]["key"]), (vec![first.as_str()], &json!("/3")));
    }
    assert_eq!(alias(&app, &token, ("/3", "/1")).await.problem(409), "conflict");
    assert_eq!(merge(&app, &token, ("/x", "/x")).await.faults(), ["from contradiction"]);
    let nothing = call(&app, &token, "POST", &format!("{ARTICLES}/merge"), json!({"into": "", "x": 1})).await;
    assert_eq!(nothing.faults(), ["from required", "into required", "x unknown_field"]);
    // A stranger's site.
    call(&app, &token, "POST", "/api/v1/sites", json!({"key": "other", "name": "Other"})).await.expect(201);
    let moderator = app.default_moderator().await.token;
    let elsewhere = "/api/v1/sites/other/articles/merge";
    let both = json!({"from": "/1", "into": "/2"});
    assert_eq!(call(&app, &moderator, "POST", elsewhere, both.clone()).await.problem(404), "not_found");
    assert_eq!(app.post(elsewhere, &both).await.problem(401), "unauthenticated");
}

async fn nothing_changes_on_what_is_read_only(backend: Backend) {
    let (app, token) = open(backend).await;
    let answer = send(&app, "/a", "Before.", None).await.expect(201);
    let (id, author) = (answer["comment"]["id"].as_str().unwrap(), answer["author_token"].as_str().unwrap());
    let own = format!("/api/v1/comments/{id}");
    let edit = |text: &str| call(&app, author, "PATCH", &own, json!({"body": text}));
    edit("Changed while it was open.").await.expect(200);
    let article = format!("{ARTICLES}?article=/a");
    let set = |read_only: Value| call(&app, &token, "PATCH", &article, json!({"read_only": read_only}));
    let answer = set(json!(true)).await.expect(200);
    assert_eq!((&answer["read_only"], &answer["closed"]), (&json!(true), &json!(true)));
    assert_eq!(send(&app, "/a", "After.", None).await.problem(409), "closed");
    assert_eq!(edit("Changed after.").await.problem(409), "closed");
    assert_eq!(list(&app, "/a", "").await["article"]["closed"], true);
    assert_eq!(set(Value::Null).await.faults(), ["read_only required"]);
    assert_eq!(set(json!(false)).await.expect(200)["closed"], false);
    edit("Changed when it was open again.").await.expect(200);
    // The whole site.
    let site = |read_only: bool| call(&app, &token, "PATCH", "/api/v1/sites/default", json!({"read_only": read_only}));
    assert_eq!(site(true).await.expect(200)["read_only"], true);
    assert_eq!(send(&app, "/b", "After.", None).await.problem(409), "closed");
    assert_eq!(edit("Changed after.").await.problem(409), "closed");
    assert_eq!(list(&app, "/a", "").await["article"]["closed"], true);
    // What one wrote can always be taken back.
    call(&app, author, "DELETE", &own, Value::Null).await.expect(204);
}
