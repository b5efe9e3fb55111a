//! Rate limits over HTTP: the true wait, what consumes what, and who is who behind a proxy.

use std::time::Duration;

use reqwest::header::HeaderValue;
use reqwest::{Method, RequestBuilder};
use serde_json::{Value, json};

use crate::support::app::{TestApp, comment, work_left};
use crate::support::database::{Backend, on_both_databases};

on_both_databases!(
    the_wait_is_true_and_told_in_headers,
    faults_and_replays_consume_nothing,
    addresses_behind_a_proxy,
    a_flood_with_one_address_is_held_without_mail,
    guessing_tokens_is_limited,
    a_new_text_passes_the_rings_of_a_new_comment,
    every_refused_request_is_counted,
);

fn unique(n: u64) -> Value {
    comment(&format!("unique {n}"))
}

async fn the_wait_is_true_and_told_in_headers(backend: Backend) {
    let app = TestApp::build(backend).start().await;
    for left in [2, 1, 0] {
        let answer = app.submit(&unique(left)).await;
        assert_eq!(answer.status, 202);
        assert_eq!(answer.header("ratelimit-policy"), "\"address\";q=3;w=45");
        assert_eq!(answer.header("ratelimit"), format!("\"address\";r={left};t=15"));
    }
    app.clock.advance(Duration::from_millis(3500));
    let limited = app.submit(&unique(9)).await;
    assert_eq!((limited.header("retry-after"), limited.header("ratelimit")), ("12", "\"address\";r=0;t=12"));
    assert_eq!(limited.problem(429), "rate_limited");
    app.clock.advance(Duration::from_secs(11));
    assert_eq!(app.submit(&unique(9)).await.header("retry-after"), "1");
    app.clock.advance(Duration::from_secs(1));
    app.submit(&unique(9)).await.expect(202);
    // Twenty comments, twenty seconds apart.
    app.clock.advance(Duration::from_mins(1));
    for n in 100..120 {
        app.submit(&unique(n)).await.expect(202);
        app.clock.advance(Duration::from_secs(20));
    }
}

async fn faults_and_replays_consume_nothing(backend: Backend) {
    let app = TestApp::build(backend).start().await;
    for _ in 0..30 {
        assert_eq!(app.submit(&json!({"article": "/a"})).await.status, 422);
    }
    let limited = app.submit(&json!({"article": "/a"})).await;
    assert_eq!(limited.header("retry-after"), "2");
    assert_eq!(limited.problem(429), "rate_limited");
    let keyed =
        || app.request(Method::POST, "/api/v1/sites/default/comments").json(&unique(1)).header("idempotency-key", "k");
    for _ in 0..10 {
        app.send(keyed()).await.expect(202);
    }
    app.submit(&unique(2)).await.expect(202);
    // Reads and previews are not limited.
    for _ in 0..50 {
        app.get("/api/v1/sites/default/comments?article=/a").await.expect(200);
        app.post("/api/v1/sites/default/preview", &json!({"body": "x"})).await.expect(200);
    }
    app.submit(&unique(3)).await.expect(202);
    assert_eq!(app.submit(&unique(4)).await.status, 429);
}

async fn addresses_behind_a_proxy(backend: Backend) {
    let untrusted = TestApp::build(backend).start().await;
    let from = |app: &TestApp, n: u64, header: &'static str, value: &str| -> RequestBuilder {
        app.request(Method::POST, "/api/v1/sites/default/comments").json(&unique(n)).header(header, value.to_owned())
    };
    let mut passed = 0;
    for n in 0..20 {
        passed += u64::from(
            untrusted.send(from(&untrusted, n, "x-forwarded-for", &format!("198.51.{n}.1"))).await.status == 202,
        );
    }
    assert_eq!(passed, 3, "what strangers say of themselves is ignored");
    let trusted = TestApp::build(backend).set("server__trusted_proxies", "127.0.0.1").start().await;
    for n in 0..10 {
        trusted.send(from(&trusted, n, "x-forwarded-for", &format!("6.6.6.6, 198.51.{n}.1"))).await.expect(202);
    }
    for n in 10..13 {
        trusted.send(from(&trusted, n, "forwarded", "for=\"[2001:db8::1]:80\"")).await.expect(202);
    }
    assert_eq!(trusted.send(from(&trusted, 13, "x-forwarded-for", "2001:db8::ffff")).await.status, 429, "the same /64");
    // A line that is no text stays a hop that nobody can read; what stands before it does not count.
    let unreadable = HeaderValue::from_bytes(b"\xff\xfe").unwrap();
    let mut passed = 0;
    for n in 20..30 {
        let older = from(&trusted, n, "x-forwarded-for", &format!("203.0.{n}.1"));
        passed += u64::from(trusted.send(older.header("x-forwarded-for", &unreadable)).await.status == 202);
    }
    assert_eq!(passed, 3, "the proxy's own address counts");
    let moderator = trusted.default_moderator().await;
    let queue = moderator.get("/comments?limit=1").await.expect(200);
    assert_eq!(queue["comments"][0]["address"], "198.51.0.0/24");
}

async fn a_flood_with_one_address_is_held_without_mail(backend: Backend) {
    let app = TestApp::build(backend).set("server__trusted_proxies", "127.0.0.1").start().await;
    let _moderator = app.default_moderator().await;
    let mut lengths = Vec::new();
    for n in 10..35_u64 {
        let request = app.request(Method::POST, "/api/v1/sites/default/comments").json(&unique(n));
        let answer = app.send(request.header("x-forwarded-for", format!("198.51.{n}.1"))).await;
        lengths.push((answer.status.as_u16(), answer.body.len(), answer.headers.len()));
    }
    assert!(lengths.iter().all(|answer| *answer == lengths[0]), "nobody can tell: {lengths:?}");
    assert_eq!(work_left(&app).await, 20);
    let queue = app.default_moderator().await.get("/comments?sort=newest").await.expect(200);
    let last = queue["comments"][0]["hold_reasons"].as_array().unwrap().last().unwrap().clone();
    assert_eq!(last["code"], "email_rate");
    app.run_jobs().await;
}

async fn guessing_tokens_is_limited(backend: Backend) {
    let app = TestApp::build(backend).start().await;
    let moderator = app.default_moderator().await;
    let guess = |n: u64| app.request(Method::GET, "/api/v1/moderation/summary").bearer_auth(format!("awt_{n}"));
    for n in 0..10 {
        assert_eq!(app.send(guess(n)).await.status, 401);
    }
    let limited = app.send(guess(11)).await;
    assert_eq!((limited.status.as_u16(), limited.header("retry-after")), (429, "6"));
    moderator.get("/summary").await.expect(200);
    let author = app.request(Method::POST, "/api/v1/sites/default/comments").json(&unique(1)).bearer_auth("awa_x");
    assert_eq!(app.send(author).await.status, 429, "one ring for all kinds of token");
}

async fn a_new_text_passes_the_rings_of_a_new_comment(backend: Backend) {
    let app = TestApp::build(backend).start().await;
    let moderator = app.default_moderator().await;
    let sent = app.submit(&unique(1)).await.expect(202);
    let id = sent["comment"]["id"].as_str().unwrap();
    moderator.decide(id, "approve").await.expect(200);
    app.run_jobs().await;
    let edit = |n: u64| {
        let request = app.request(Method::PATCH, &format!("/api/v1/comments/{id}"));
        request.bearer_auth(sent["author_token"].as_str().unwrap()).json(&json!({"body": format!("version {n}")}))
    };
    let mut statuses = Vec::new();
    for n in 0..5 {
        statuses.push(app.send(edit(n)).await.status.as_u16());
    }
    assert_eq!(statuses, [202, 202, 429, 429, 429], "three at once, the comment itself counted");
    let limited = app.send(edit(9)).await;
    assert_eq!((limited.header("retry-after"), limited.header("content-type")), ("15", "application/problem+json"));
    app.clock.advance(Duration::from_secs(15));
    app.send(edit(9)).await.expect(202);
    let mails = app.run_jobs().await;
    assert_eq!(mails.len(), 1, "one mail, however often the text changes before somebody looks");
    assert!(mails[0].contains("version 9"), "{}", mails[0]);
}

async fn every_refused_request_is_counted(backend: Backend) {
    let app = TestApp::build(backend).start().await;
    let keyed = |n: u64| {
        let request = app.request(Method::POST, "/api/v1/sites/default/comments");
        request.json(&unique(n)).header("idempotency-key", "k")
    };
    app.send(keyed(1)).await.expect(202);
    let moderator = app.default_moderator().await;
    for n in 0..10 {
        assert_eq!(app.send(keyed(2)).await.problem(422), "idempotency_key_reused");
        assert_eq!(moderator.get("/comments?limit=0").await.status, 422);
        // What everybody may read costs nothing, also when it is asked for wrongly.
        assert_eq!(app.get("/api/v1/sites/default/comments?limit=0").await.status, 422, "{n}");
        let form = [("article", "/a"), ("name", "Ada")];
        let form = app.request(Method::POST, "/api/v1/sites/default/comments").form(&form);
        assert_eq!(app.send(form).await.status, 422);
    }
    assert_eq!(app.send(keyed(2)).await.problem(429), "rate_limited");
    let limited = moderator.post("/decisions", &json!({})).await;
    assert_eq!((limited.status.as_u16(), limited.header("retry-after")), (429, "2"));
    assert_eq!(app.get("/api/v1/sites/default/comments?limit=0").await.status, 422);
    let form = app.request(Method::POST, "/api/v1/sites/default/comments").form(&[("article", "/a")]);
    let page = app.send(form).await;
    assert_eq!((page.status.as_u16(), page.header("content-type")), (429, "text/html; charset=utf-8"));
    // What is right passes all the same.
    moderator.get("/comments").await.expect(200);
    app.send(keyed(1)).await.expect(202);
    app.submit(&unique(3)).await.expect(202);
}
