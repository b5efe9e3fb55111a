//! Pinned comments: first in every order, whatever the page, and no more than three.

use afterword::storage::accounts::Role;
use reqwest::Method;
use serde_json::{Value, json};

use super::administration::call;
use crate::support::app::{Answer, TestApp};
use crate::support::database::{Backend, on_both_databases};

on_both_databases!(pinned_comments_come_first_in_every_order, few_roots_are_pinned, pins_survive_a_merge);

async fn pin(app: &TestApp, token: &str, (id, pinned): (&str, bool)) -> Answer {
    call(app, token, "PATCH", &format!("/api/v1/moderation/comments/{id}"), json!({"pinned": pinned})).await
}

async fn admin(app: &TestApp) -> String {
    app.moderator("admin@example.org", Role::Admin, &[]).await.token
}

/// All pages of a list, one after the other.
async fn paged(app: &TestApp, (sort, limit): (&str, usize)) -> Vec<String> {
    let (mut ids, mut cursor) = (Vec::new(), String::new());
    loop {
        let page = app.list(&format!("&sort={sort}&limit={limit}{cursor}")).await;
        let rows = page["comments"].as_array().unwrap();
        assert!(rows.len() <= limit);
        ids.extend(rows.iter().map(|row| row["id"].as_str().unwrap().to_owned()));
        match page["next_cursor"].as_str() {
            Some(next) => cursor = format!("&cursor={next}"),
            None => return ids,
        }
    }
}

async fn pinned_comments_come_first_in_every_order(backend: Backend) {
    let app = TestApp::new(backend).await;
    let token = admin(&app).await;
    let mut roots = Vec::new();
    for n in 0..6 {
        roots.push(app.published(&format!("root {n}"), None).await);
    }
    let under_4 = app.published("under 4", Some(&roots[4])).await;
    let under_1 = app.published("under 1", Some(&roots[1])).await;
    assert_eq!(app.list("").await["comments"][0]["pinned"], false);
    let version = |answer: Value| answer["version"].as_i64().unwrap();
    let first = pin(&app, &token, (&roots[4], true)).await.expect(200);
    assert_eq!(first["pinned"], true);
    assert_eq!(version(pin(&app, &token, (&roots[4], true)).await.expect(200)), version(first), "nothing new");
    pin(&app, &token, (&roots[2], true)).await.expect(200);
    let [r0, r1, r2, r3, r4, r5] = [0, 1, 2, 3, 4, 5].map(|n: usize| roots[n].as_str());
    let (under_1, under_4) = (under_1.as_str(), under_4.as_str());
    let orders = [
        ("oldest", [r2, r4, under_4, r0, r1, under_1, r3, r5]),
        ("newest", [r2, r4, under_4, r5, r3, r1, under_1, r0]),
        ("top", [r2, r4, under_4, r0, r1, under_1, r3, r5]),
    ];
    for (sort, expected) in orders {
        for limit in [1, 2, 3, 4, 7, 200] {
            assert_eq!(paged(&app, (sort, limit)).await, expected, "{sort} {limit}");
        }
        for (place, id) in expected.iter().enumerate() {
            let limit = 3;
            let page = app.listed(&format!("&sort={sort}&limit={limit}&around={id}")).await;
            let start = place - place % limit;
            assert_eq!(page, expected[start..(start + limit).min(expected.len())], "{sort} {id}");
        }
    }
    // A cursor stays right when the pin under it goes.
    let page = app.list("&limit=1").await;
    pin(&app, &token, (r2, false)).await.expect(200);
    let rest = app.listed(&format!("&cursor={}", page["next_cursor"].as_str().unwrap())).await;
    assert_eq!(rest, [r4, under_4, r0, r1, under_1, r2, r3, r5]);
    let log = call(&app, &token, "GET", &format!("/api/v1/moderation/comments/{r2}"), Value::Null).await.expect(200);
    let actions: Vec<_> = log["events"].as_array().unwrap().iter().map(|event| event["action"].clone()).collect();
    assert_eq!(actions, ["submitted", "approved", "pinned", "unpinned"]);
    // One that is no longer public is nowhere, and comes back in its place.
    let moderator = app.moderator("admin@example.org", Role::Admin, &[]).await;
    moderator.decide(r4, "reject").await.expect(200);
    assert_eq!(app.listed("").await, [format!("-{r4}").as_str(), under_4, r0, r1, under_1, r2, r3, r5]);
}

async fn few_roots_are_pinned(backend: Backend) {
    let app = TestApp::new(backend).await;
    let token = admin(&app).await;
    let mut roots = Vec::new();
    for n in 0..4 {
        roots.push(app.published(&format!("root {n}"), None).await);
    }
    let reply = app.published("reply", Some(&roots[0])).await;
    assert_eq!(pin(&app, &token, (&reply, true)).await.faults(), ["pinned not_a_root"]);
    for root in &roots[..3] {
        pin(&app, &token, (root, true)).await.expect(200);
    }
    assert_eq!(pin(&app, &token, (&roots[3], true)).await.problem(409), "conflict");
    pin(&app, &token, (&roots[0], false)).await.expect(200);
    pin(&app, &token, (&roots[3], true)).await.expect(200);
    let path = format!("/api/v1/moderation/comments/{}", roots[1]);
    let both = call(&app, &token, "PATCH", &path, json!({"pinned": false, "body": "Other words."})).await.expect(200);
    assert_eq!((&both["pinned"], &both["body"]), (&json!(false), &json!("Other words.")));
    assert_eq!(call(&app, &token, "PATCH", &path, json!({"pinned": null})).await.faults(), ["pinned required"]);
    let stale = app.request(Method::PATCH, &path).bearer_auth(&token).header("if-match", "\"1\"");
    assert_eq!(app.send(stale.json(&json!({"pinned": true}))).await.problem(412), "precondition_failed");
    assert_eq!(
        app.send(app.request(Method::PATCH, &path).json(&json!({"pinned": true}))).await.problem(401),
        "unauthenticated"
    );
}

async fn pins_survive_a_merge(backend: Backend) {
    let app = TestApp::new(backend).await;
    let token = admin(&app).await;
    let mut ids = Vec::new();
    for n in 0..4 {
        let mut body = crate::support::app::comment(&format!("root {n}"));
        body["article"] = json!(if n < 2 { "/a" } else { "/b" });
        let id = app.submit(&body).await.expect(202)["comment"]["id"].as_str().unwrap().to_owned();
        call(&app, &token, "POST", &format!("/api/v1/moderation/comments/{id}/approve"), json!({})).await.expect(200);
        pin(&app, &token, (&id, true)).await.expect(200);
        ids.push(id);
    }
    let merge = json!({"from": "/b", "into": "/a"});
    call(&app, &token, "POST", "/api/v1/sites/default/articles/merge", merge).await.expect(200);
    let list = app.list("").await;
    let pinned: Vec<_> = list["comments"].as_array().unwrap().iter().map(|row| row["pinned"].clone()).collect();
    assert_eq!(pinned, [true, true, true, false], "no more than three");
    assert_eq!(app.listed("").await, ids);
}
