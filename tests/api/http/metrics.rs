//! `/metrics`: who may read it, what moves it, and that it names nobody.

use std::time::Duration;

use afterword::storage::accounts::Role;
use reqwest::Method;
use serde_json::json;

use crate::support::app::{TestApp, comment};
use crate::support::database::{Backend, on_both_databases};
use crate::support::figures::Figures;

on_both_databases!(
    only_administrators_read_them,
    they_move_with_what_happens,
    mails_are_counted_by_their_end,
    they_name_nobody,
    on_a_socket_of_their_own_they_are_not_here,
);

/// What `/metrics` tells.
pub async fn figures(app: &TestApp) -> Figures {
    let admin = app.moderator("admin@example.org", Role::Admin, &[]).await;
    let answer = app.send(app.request(Method::GET, "/metrics").bearer_auth(&admin.token)).await;
    assert_eq!(answer.status, 200, "{}", answer.text());
    Figures::of(&answer.text())
}

async fn only_administrators_read_them(backend: Backend) {
    let app = TestApp::new(backend).await;
    assert_eq!(app.get("/metrics").await.problem(401), "unauthenticated");
    let with = |method: Method, token: &str| app.request(method, "/metrics").bearer_auth(token);
    assert_eq!(app.send(with(Method::GET, "awt_wrong")).await.problem(401), "unauthenticated");
    let moderator = app.default_moderator().await.token;
    assert_eq!(app.send(with(Method::GET, &moderator)).await.problem(403), "forbidden");
    let admin = app.moderator("admin@example.org", Role::Admin, &[]).await.token;
    let told = app.send(with(Method::GET, &admin).header("Origin", "https://elsewhere.example")).await;
    assert_eq!(told.status, 200);
    assert_eq!(told.header("content-type"), "text/plain; version=0.0.4; charset=utf-8");
    assert_eq!((told.header("cache-control"), told.header("access-control-allow-origin")), ("no-store", ""));
    assert_eq!(app.send(with(Method::HEAD, &admin)).await.status, 200);
    assert_eq!(app.send(with(Method::POST, &admin)).await.problem(405), "method_not_allowed");
}

async fn they_move_with_what_happens(backend: Backend) {
    let app = TestApp::build(backend).start().await;
    let before = figures(&app).await;
    assert_eq!(before.get("comments_submitted_total", &[]), 0.0);
    assert_eq!(before.get("queue_pending", &[]) + before.get("queue_oldest_pending_seconds", &[]), 0.0);
    assert_eq!((before.get("limited_total", &[]), before.get("outbox_waiting", &[])), (0.0, 0.0));

    for text in ["one", "two", "three"] {
        app.comment(text).await;
    }
    app.submit(&comment("four")).await.problem(429);
    app.submit(&json!({"article": "/a"})).await.expect(422);
    for _ in 0..3 {
        app.list("").await;
    }
    app.clock.advance(Duration::from_secs(20));

    let after = figures(&app).await;
    assert_eq!(after.get("comments_submitted_total", &[("outcome", "held")]), 3.0);
    assert_eq!(after.get("comments_submitted_total", &[("outcome", "published")]), 0.0);
    assert_eq!((after.get("queue_pending", &[]), after.get("queue_oldest_pending_seconds", &[])), (3.0, 20.0));
    assert_eq!((after.get("outbox_waiting", &[]), after.get("outbox_oldest_seconds", &[])), (3.0, 20.0));
    assert_eq!((after.get("limited_total", &[("ring", "address")]), after.get("limited_total", &[])), (1.0, 1.0));
    let route = ("route", "/api/v1/sites/{site}/comments");
    assert_eq!(after.get("requests_total", &[route, ("method", "POST"), ("status", "2xx")]), 3.0);
    assert_eq!(after.get("requests_total", &[route, ("method", "POST"), ("status", "4xx")]), 2.0);
    assert_eq!(after.get("requests_total", &[route, ("method", "GET"), ("status", "2xx")]), 3.0);
    assert_eq!(after.get("request_seconds_count", &[route, ("method", "POST")]), 5.0);
    assert_eq!((after.get("cache_hits_total", &[]), after.get("cache_misses_total", &[])), (2.0, 1.0));
    assert!(after.get("cache_bytes", &[]) > 0.0);
    let written = |name| after.get(name, &[]) - before.get(name, &[]);
    assert!(written("writer_groups_total") >= 1.0 && written("writer_jobs_total") >= 3.0);
    assert!(after.get("writer_groups_total", &[]) <= after.get("writer_jobs_total", &[]));
    assert_eq!(after.get("database_up", &[]), 1.0);
    assert_eq!(after.get("build_info", &[("version", env!("CARGO_PKG_VERSION"))]), 1.0);
    assert!(after.get("process_resident_bytes", &[]) > 1e6);
}

async fn mails_are_counted_by_their_end(backend: Backend) {
    let app = TestApp::new(backend).await;
    app.default_moderator().await;
    app.comment("one").await;
    assert_eq!(app.run_jobs().await.len(), 1);
    let after = figures(&app).await;
    assert_eq!(after.get("mails_total", &[("result", "sent")]), 1.0);
    assert_eq!((after.get("mails_total", &[]), after.get("outbox_waiting", &[])), (1.0, 0.0));
    assert_eq!(after.get("outbox_failed", &[]), 0.0);
}

async fn they_name_nobody(backend: Backend) {
    let app = TestApp::new(backend).await;
    let id = app.published("one", None).await;
    app.get("/api/v1/sites/canary/comments?article=/canary").await.problem(404);
    app.get("/canary/canary@example.org").await.problem(404);
    app.get(&format!("/api/v1/sites/default/comments?article=/a&around={id}")).await.expect(200);
    app.get(&format!("/api/v1/comments/{id}")).await.problem(401);
    app.send(app.request(Method::from_bytes(b"CANARY").unwrap(), "/healthz")).await.problem(405);
    let document = app.get("/openapi.json").await.expect(200);
    let admin = app.moderator("admin@example.org", Role::Admin, &[]).await;
    let text = app.send(app.request(Method::GET, "/metrics").bearer_auth(&admin.token)).await.text();
    assert!(!text.to_lowercase().contains("canary") && !text.contains(&id), "{text}");
    let figures = Figures::of(&text);
    for figure in figures.named("requests_total") {
        let route = &figure.labels["route"];
        assert!(route == "-" || document["paths"][route].is_object(), "{route}");
    }
    assert_eq!(figures.get("requests_total", &[("method", "other"), ("status", "4xx")]), 1.0);
}

async fn on_a_socket_of_their_own_they_are_not_here(backend: Backend) {
    let app = TestApp::build(backend).set("metrics__listen", "127.0.0.1:9090").start().await;
    let admin = app.moderator("admin@example.org", Role::Admin, &[]).await;
    assert_eq!(app.get("/metrics").await.problem(404), "not_found");
    assert_eq!(
        app.send(app.request(Method::GET, "/metrics").bearer_auth(&admin.token)).await.problem(404),
        "not_found"
    );
}
