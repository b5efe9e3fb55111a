//! The contract's table of errors: each row, whole, in one snapshot; the order in which faults are looked for; the pages
//! behind the codes; the API document.

use std::time::Duration;

use afterword::http::operator::error_text;
use reqwest::{Method, RequestBuilder};
use serde_json::{Value, json};

use crate::support::app::{TestApp, comment};
use crate::support::database::{Backend, on_both_databases};

on_both_databases!(the_table_of_errors, faults_are_looked_for_in_order);

async fn row(app: &TestApp, table: &mut String, what: &str, request: RequestBuilder) {
    let answer = app.send(request).await;
    assert_eq!(answer.header("content-type"), "application/problem+json", "{what}: {}", answer.text());
    assert_eq!(answer.header("cache-control"), "no-store", "{what}");
    let headers: Vec<String> = ["allow", "www-authenticate", "retry-after"]
        .iter()
        .filter(|name| !answer.header(name).is_empty())
        .map(|name| format!(" [{name}: {}]", answer.header(name)))
        .collect();
    let status = answer.status.as_u16();
    let mut problem = answer.json();
    assert_eq!(problem["status"].as_u64(), Some(u64::from(status)));
    assert_eq!(problem["type"], json!(format!("{}/errors/{}", app.url, problem["code"].as_str().unwrap())));
    assert_eq!(problem["request_id"].as_str().unwrap().len(), 36);
    for hidden in ["type", "status", "request_id"] {
        problem.as_object_mut().unwrap().remove(hidden);
    }
    table.push_str(&format!(
        "{what}\n  {status}{}\n  {}\n",
        headers.concat(),
        serde_json::to_string(&sorted(&problem)).unwrap()
    ));
}

/// Keys in one order, so that the snapshot does not depend on a feature of `serde_json`.
fn sorted(value: &Value) -> Value {
    match value {
        Value::Object(map) => {
            let mut pairs: Vec<_> = map.iter().collect();
            pairs.sort_by_key(|(key, _)| key.as_str());
            Value::Object(pairs.into_iter().map(|(key, value)| (key.clone(), sorted(value))).collect())
        }
        Value::Array(items) => Value::Array(items.iter().map(sorted).collect()),
        other => other.clone(),
    }
}

async fn the_table_of_errors(backend: Backend) {
    let app = TestApp::build(backend).set("limits__address__burst", "4").start().await;
    let submit = || app.request(Method::POST, "/api/v1/sites/default/comments");
    let json = |body: &str| submit().header("content-type", "application/json").body(body.to_owned());
    let mut table = String::new();
    let t = &mut table;
    row(&app, t, "not JSON", json("{")).await;
    row(&app, t, "not an object", json("[]")).await;
    row(&app, t, "a key twice", json(r#"{"body": 1, "body": 2}"#)).await;
    row(&app, t, "too deep", json(&format!("{{\"a\":{}}}", "[".repeat(40)))).await;
    row(&app, t, "bad cursor", app.request(Method::GET, "/api/v1/sites/default/comments?article=x&cursor=*")).await;
    row(&app, t, "no credentials", app.request(Method::GET, "/api/v1/moderation/comments")).await;
    row(&app, t, "bad credentials", app.request(Method::GET, "/api/v1/moderation/comments").bearer_auth("x")).await;
    row(
        &app,
        t,
        "not a bearer token",
        app.request(Method::GET, "/api/v1/moderation/comments").basic_auth("x", Some("y")),
    )
    .await;
    row(&app, t, "foreign origin", submit().json(&comment("x")).header("origin", "https://evil.example")).await;
    row(&app, t, "unknown site", app.request(Method::GET, "/api/v1/sites/nowhere/form")).await;
    row(&app, t, "unknown address", app.request(Method::GET, "/api/v2")).await;
    row(&app, t, "wrong method", app.request(Method::PUT, "/api/v1/sites/default/comments")).await;
    row(
        &app,
        t,
        "long address",
        app.request(Method::GET, &format!("/api/v1/sites/default/comments?article={}", "x".repeat(9000))),
    )
    .await;
    row(&app, t, "large body", json(&format!("{{\"body\":\"{}\"}}", "x".repeat(300 * 1024)))).await;
    row(&app, t, "no type", submit().body("{}")).await;
    row(&app, t, "wrong type", submit().header("content-type", "text/plain").body("{}")).await;
    row(&app, t, "compressed", json("{}").header("content-encoding", "gzip")).await;
    row(&app, t, "faults", json(r#"{"name": 1, "email": "x", "extra": 1}"#)).await;
    let first = app.submit(&comment("one")).await.expect(202);
    row(&app, t, "a double", submit().json(&comment("one"))).await;
    let id = first["comment"]["id"].as_str().unwrap().to_owned();
    let own = app
        .request(Method::PATCH, &format!("/api/v1/comments/{id}"))
        .bearer_auth(first["author_token"].as_str().unwrap());
    app.clock.advance(Duration::from_mins(15));
    row(&app, t, "too late", own.json(&json!({"body": "x"}))).await;
    let moderator = app.default_moderator().await;
    row(&app, t, "nothing to undo", moderator.request(Method::POST, &format!("/comments/{id}/undo"))).await;
    row(
        &app,
        t,
        "another version",
        moderator.request(Method::POST, &format!("/comments/{id}/approve")).header("if-match", "\"7\""),
    )
    .await;
    let keyed = |text: &str| submit().json(&comment(text)).header("idempotency-key", "k");
    app.send(keyed("two")).await.expect(202);
    row(&app, t, "a key again", keyed("three")).await;
    for n in 0..3 {
        app.submit(&comment(&format!("more {n}"))).await.expect(202);
    }
    row(&app, t, "too many", submit().json(&comment("four"))).await;
    insta::allow_duplicates! {
        insta::assert_snapshot!("the_table_of_errors", table);
    }
    for code in table.split("\"code\":\"").skip(1).map(|rest| rest.split('"').next().unwrap()) {
        let documented =
            error_text(code).is_some() || include_str!("../../../docs/errors.md").contains(&format!("`{code}`"));
        assert!(documented, "docs/errors.md does not know {code}");
    }
}

/// 413, 415, 400, 404, 401, 403, then 422: of two faults the earlier one is told.
async fn faults_are_looked_for_in_order(backend: Backend) {
    let app = TestApp::new(backend).await;
    let large = "x".repeat(300 * 1024);
    let steps: [(u16, fn(RequestBuilder, &str) -> RequestBuilder); 4] = [
        (413, |request, large| request.body(large.to_owned())),
        (415, |request, _| request.header("content-type", "text/plain").body("{")),
        (400, |request, _| request.header("content-type", "application/json").body("{")),
        (404, |request, _| request.header("content-type", "application/json").body("{}")),
    ];
    for (status, fault) in steps {
        let request = app
            .request(Method::POST, "/api/v1/sites/nowhere/comments")
            .bearer_auth("x")
            .header("origin", "https://evil.example");
        assert_eq!(app.send(fault(request, &large)).await.status.as_u16(), status);
    }
    let here = || {
        app.request(Method::POST, "/api/v1/sites/default/comments")
            .header("origin", "https://evil.example")
            .json(&json!({}))
    };
    assert_eq!(app.send(here().bearer_auth("x")).await.status, 401);
    assert_eq!(app.send(here()).await.status, 403);
    let id = "0190a000-0000-7000-8000-000000000001";
    let moderation = app
        .request(Method::POST, &format!("/api/v1/moderation/comments/{id}/approve"))
        .header("content-type", "application/json");
    assert_eq!(app.send(moderation.body("{")).await.status, 400, "before 401");
    assert_eq!(app.send(app.request(Method::PATCH, &format!("/api/v1/comments/{id}")).body("x")).await.status, 415);
}

#[tokio::test]
async fn every_code_has_a_page() {
    let app = TestApp::new(Backend::Sqlite).await;
    let codes: Vec<&str> =
        include_str!("../../../docs/errors.md").lines().filter_map(|line| line.strip_prefix("## ")).collect();
    assert_eq!(codes.len(), 20);
    for code in codes {
        let page = app.get(&format!("/errors/{code}")).await;
        assert_eq!(page.status, 200, "{code}");
        assert!(page.header("content-security-policy").starts_with("default-src 'none'"));
        assert!(page.text().contains(&format!("<h1>{code}</h1>")));
    }
    assert_eq!(app.get("/errors/nonsense").await.problem(404), "not_found");
}

/// A bug of ours is told like any other error, also to pages of other origins.
#[actix_web::test]
async fn a_panic_is_told_like_any_other_error() {
    use actix_web::{App, middleware::from_fn, test, web};
    async fn panics() -> &'static str {
        panic!("on purpose")
    }
    let path = "/api/v1/sites/default/recent";
    let app = TestApp::new(Backend::Sqlite).await;
    let broken = App::new().app_data(app.state()).wrap(from_fn(afterword::http::front));
    let broken = test::init_service(broken.route(path, web::get().to(panics))).await;
    let error = test::try_call_service(&broken, test::TestRequest::get().uri(path).to_request()).await.err().unwrap();
    let answer = error.as_response_error().error_response();
    assert_eq!(answer.status(), 500);
    let header = |name: &str| answer.headers().get(name).map_or("", |value| value.to_str().unwrap()).to_owned();
    assert_eq!(header("content-type"), "application/problem+json");
    assert_eq!(header("access-control-allow-origin"), "*");
    let id = header("x-request-id");
    let problem = actix_web::body::to_bytes(answer.into_body()).await.unwrap_or_default();
    let problem: Value = serde_json::from_slice(&problem).unwrap();
    assert_eq!(problem["type"], json!(format!("{}/errors/internal_error", app.url)));
    assert_eq!(problem["request_id"], json!(id));
    assert!(!problem.to_string().contains("on purpose"));
}

/// `UPDATE=1 scripts/test the_document_is_what_the_handlers_say` writes it anew. It is that of a program with all features.
#[cfg(feature = "passkeys")]
#[test]
fn the_document_is_what_the_handlers_say() {
    let file = concat!(env!("CARGO_MANIFEST_DIR"), "/docs/openapi.json");
    let described = afterword::http::openapi::described_by_handlers().unwrap();
    if std::env::var_os("UPDATE").is_some() {
        std::fs::write(file, &described).unwrap();
    }
    let kept = std::fs::read_to_string(file).unwrap();
    assert!(kept == described, "docs/openapi.json is old; UPDATE=1 scripts/test the_document_is_what_the_handlers_say");
}

/// Every route of the route table stands in the document, and every path of the document is a route.
#[tokio::test]
async fn the_document_knows_every_route() {
    let app = TestApp::new(Backend::Sqlite).await;
    let document = app.get("/openapi.json").await.expect(200);
    assert_eq!(document["openapi"], "3.1.0");
    let source = include_str!("../../../src/http/mod.rs");
    let mut routes = Vec::new();
    for block in source.split("at(\"").skip(1) {
        let path = block.split('"').next().unwrap();
        let block = block.split("at(\"").next().unwrap();
        for (mark, method) in [
            ("get()", "get"),
            ("web::post()", "post"),
            ("web::patch()", "patch"),
            ("web::delete()", "delete"),
            ("web::put()", "put"),
        ] {
            if block.contains(&format!(".route({mark}")) {
                routes.push((path.to_owned(), method));
            }
        }
    }
    assert!(routes.len() > 25, "{routes:?}");
    for (path, method) in &routes {
        // Files for browsers; they have documents of their own (docs/embed/, docs/administration.md).
        let hidden = ["/assets/", "/admin", "/embed", "/demo/"].iter().any(|files| path.starts_with(files));
        assert!(hidden || document["paths"][path][method].is_object(), "{method} {path} is not documented");
    }
    for (path, operations) in document["paths"].as_object().unwrap() {
        for method in operations.as_object().unwrap().keys() {
            assert!(routes.iter().any(|(route, verb)| route == path && verb == method), "{method} {path} is no route");
        }
    }
}
