//! What the desk needs: what stands around a comment, how the last days went, and the page itself with its headers.

use std::time::Duration;

use reqwest::Method;
use serde_json::{Value, json};

use crate::support::app::{TestApp, comment};
use crate::support::database::{Backend, on_both_databases};

on_both_databases!(a_comment_comes_with_its_thread_and_its_author, the_last_days_are_counted, the_page_is_locked_in);

const SITE: &str = "/api/v1/sites/default/comments";

/// A comment by whoever the token stands for; its answer.
async fn written(app: &TestApp, token: Option<&str>, parent: Option<&str>, text: &str) -> Value {
    let mut body = comment(text);
    body["parent_id"] = json!(parent);
    let request = app.request(Method::POST, SITE).json(&body);
    let request = if let Some(token) = token { request.bearer_auth(token) } else { request };
    app.send(request).await.expect(202)
}

async fn a_comment_comes_with_its_thread_and_its_author(backend: Backend) {
    let app = TestApp::new(backend).await;
    let moderator = app.default_moderator().await;
    let root = written(&app, None, None, "the root").await;
    let (root_id, token) = (root["comment"]["id"].as_str().unwrap(), root["author_token"].as_str());
    moderator.decide(root_id, "approve").await.expect(200);
    for (text, decision) in [("no", "reject"), ("buy", "spam"), ("buy more", "spam")] {
        let made = written(&app, token, None, text).await;
        moderator.decide(made["comment"]["id"].as_str().unwrap(), decision).await.expect(200);
    }
    let child = written(&app, token, Some(root_id), "the *child*").await["comment"]["id"].as_str().unwrap().to_owned();
    let one = moderator.get(&format!("/comments/{child}")).await.expect(200);
    assert_eq!(one["author"], json!({"approved": 1, "rejected": 1, "spam": 2}));
    let above = json!({
        "id": root_id, "depth": 0, "status": "approved", "name": "Ada", "badge": null,
        "body_html": "<p>the root</p>", "created_at": "2026-01-01T00:00:00.000000Z",
    });
    assert_eq!(one["thread"], json!([above]));
    let listed = moderator.get("/comments").await.expect(200)["comments"][0].clone();
    assert_eq!((&listed["author"], &listed["thread"], &listed["events"]), (&Value::Null, &Value::Null, &Value::Null));

    // What was removed for good says nothing any more, here as elsewhere.
    moderator.decide(&child, "approve").await.expect(200);
    app.send(moderator.request(Method::DELETE, &format!("/comments/{root_id}"))).await.expect(204);
    let above = moderator.get(&format!("/comments/{child}")).await.expect(200)["thread"][0].clone();
    assert_eq!((&above["status"], &above["name"], &above["body_html"]), (&Value::Null, &Value::Null, &Value::Null));
}

async fn the_last_days_are_counted(backend: Backend) {
    let app = TestApp::new(backend).await;
    let moderator = app.default_moderator().await;
    let foreign = app.moderator("nobody@example.org", afterword::storage::accounts::Role::Moderator, &[]).await;
    let mut ids = Vec::new();
    for day in 0..3 {
        for n in 0..=day {
            let made = written(&app, None, None, &format!("{day} {n}")).await;
            ids.push(made["comment"]["id"].as_str().unwrap().to_owned());
        }
        app.clock.advance(Duration::from_hours(24));
    }
    for (id, decision) in [(&ids[1], "approve"), (&ids[3], "spam"), (&ids[4], "reject")] {
        moderator.decide(id, decision).await.expect(200);
    }
    let days = moderator.get("/summary?days=4").await.expect(200)["days"].clone();
    let day = |date: &str, counts: [i64; 4]| {
        let [received, approved, rejected, spam] = counts;
        json!({"date": date, "received": received, "approved": approved, "rejected": rejected, "spam": spam})
    };
    let expected = json!([
        day("2026-01-01", [1, 0, 0, 0]),
        day("2026-01-02", [2, 1, 0, 0]),
        day("2026-01-03", [3, 0, 1, 1]),
        day("2026-01-04", [0, 0, 0, 0]),
    ]);
    assert_eq!(days, expected);
    assert_eq!(moderator.get("/summary").await.expect(200)["days"], Value::Null);
    let others = foreign.get("/summary?days=4").await.expect(200)["days"].clone();
    assert!(others.as_array().unwrap().iter().all(|day| day["received"] == 0), "{others}");
    for wrong in ["0", "93", "x", ""] {
        assert_eq!(moderator.get(&format!("/summary?days={wrong}")).await.faults(), ["days out_of_range"], "{wrong}");
    }
}

async fn the_page_is_locked_in(backend: Backend) {
    let app = TestApp::new(backend).await;
    let moved = app.get("/admin").await;
    assert_eq!((moved.status.as_u16(), moved.header("location")), (308, "/admin/"));
    for (path, kind) in [
        ("/admin/", "text/html; charset=utf-8"),
        ("/admin/main.js", "text/javascript; charset=utf-8"),
        ("/admin/desk.css", "text/css; charset=utf-8"),
        ("/admin/language/de.json", "application/json"),
        ("/admin/vendor/preact-htm.js", "text/javascript; charset=utf-8"),
    ] {
        let answer = app.get(path).await;
        assert_eq!((answer.status.as_u16(), answer.header("content-type")), (200, kind), "{path}");
        let policy = answer.header("content-security-policy").to_owned();
        for part in
            ["default-src 'none'", "script-src 'self'", "require-trusted-types-for 'script'", "frame-ancestors 'none'"]
        {
            assert!(policy.contains(part), "{path}: {part} is not in {policy}");
        }
        assert!(!policy.contains("unsafe"), "{policy}");
        for (name, value) in [
            ("x-content-type-options", "nosniff"),
            ("referrer-policy", "no-referrer"),
            ("x-frame-options", "DENY"),
            ("cross-origin-opener-policy", "same-origin"),
            ("cross-origin-resource-policy", "same-origin"),
        ] {
            assert_eq!(answer.header(name), value, "{path}: {name}");
        }
    }
    for path in [
        "/admin/../Cargo.toml",
        "/admin/..%2f..%2fCargo.toml",
        "/admin/types.d.ts",
        "/admin/pages/page.css",
        "/admin/x",
    ] {
        assert_eq!(app.get(path).await.status, 404, "{path}");
    }
}
