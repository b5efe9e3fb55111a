//! Pages of other origins: whatever a browser sends for them, with or without the cookie, has no effect and tells them
//! nothing; and the public API does not know that there are cookies.

use afterword::storage::accounts::Role;
use reqwest::{Method, RequestBuilder};
use serde_json::{Value, json};

use crate::support::app::{TestApp, comment};
use crate::support::database::{Backend, on_both_databases};
use crate::support::desk::{Desk, PASSWORD};

on_both_databases!(no_other_origin_has_an_effect, a_session_proves_each_change, the_public_api_knows_no_cookie);

/// Who may try: neighbours, look-alikes, and what browsers send for pages without an origin.
fn origins(own: &str) -> [String; 12] {
    let port = own.rsplit(':').next().unwrap();
    [
        "https://evil.example".to_owned(),
        "null".to_owned(),
        own.replace("http://", "https://"),
        format!("http://localhost:{port}"),
        format!("{own}.evil.example"),
        format!("http://evil.example#{own}"),
        format!("http://127.0.0.1.evil.example:{port}"),
        format!("http://{}@evil.example", own.trim_start_matches("http://")),
        "http://127.0.0.1:1".to_owned(),
        format!("{own}/"), // No browser writes it so; it is our own address all the same.
        "https://blog.example".to_owned(),
        "file://".to_owned(),
    ]
}

/// Every operation of the document that is not a read, with ids filled in.
async fn operations(app: &TestApp) -> Vec<(Method, String, bool)> {
    let document = app.get("/openapi.json").await.expect(200);
    let mut all = Vec::new();
    for (path, operations) in document["paths"].as_object().unwrap() {
        for (method, operation) in operations.as_object().unwrap() {
            let secured = operation["security"].as_array().into_iter().flatten();
            let by_session = secured.into_iter().any(|one| one.get("account").or(one.get("session")).is_some());
            let path = path.replace("{site}", "default").replace("{key}", "default");
            let path = path.replace("{id}", "0190a000-0000-7000-8000-000000000001").replace("{delivery}", "1");
            let path = path.replace("{token}", "x").replace("{code}", "busy").replace("{comment}", "1");
            assert!(!path.contains('{'), "{path}");
            all.push((method.to_uppercase().parse().unwrap(), path, by_session));
        }
    }
    assert!(all.len() > 60, "{}", all.len());
    all
}

/// All that somebody could have changed.
async fn everything(app: &TestApp) -> Vec<(String, String)> {
    let mut export = app.service.export();
    let mut all = Vec::new();
    while let Some(part) = export.next_part().await.unwrap() {
        all.extend(part.lines);
    }
    let rows = app.service.db.read(|conn| {
        let accounts = afterword::storage::accounts::all(conn)?;
        let tokens = afterword::storage::accounts::tokens_page(conn, None, None, 1000)?;
        let alive = afterword::storage::sessions::Alive {
            now: afterword::domain::time::Timestamp(0),
            idle_since: afterword::domain::time::Timestamp(0),
        };
        let mut sessions = Vec::new();
        for account in &accounts {
            sessions.extend(afterword::storage::sessions::page(conn, (account.id, alive), None, 1000)?);
        }
        Ok(format!("{accounts:?} {tokens:?} {sessions:?}"))
    });
    let lines = String::from_utf8(all).unwrap();
    let lines = lines.lines().filter(|line| !line.contains("\"kind\":\"export\"")).collect::<Vec<_>>().join("\n");
    vec![("export".to_owned(), lines), ("accounts".to_owned(), rows.await.unwrap())]
}

async fn no_other_origin_has_an_effect(backend: Backend) {
    let app = TestApp::new(backend).await;
    let desk = app.desk("ann@blog.example", Role::Admin).await;
    app.comment("Hello").await;
    let before = everything(&app).await;
    let mut tried = 0;
    for (method, path, by_session) in operations(&app).await {
        let reads = matches!(method, Method::GET);
        // A list that goes on for ever, and what a stranger may do without any right.
        if path.ends_with("/stream") || (!by_session && !path.starts_with("/api/v1/session")) {
            continue;
        }
        for origin in origins(&app.url) {
            let is_own = origin.trim_end_matches('/') == app.url;
            for with_cookie in [true, false] {
                let mut request = app.request(method.clone(), &path).header("origin", &origin);
                if with_cookie {
                    request = request.header("cookie", format!("{}; {}", desk.cookie, desk.device));
                }
                if !reads {
                    request = request.json(&json!({"email": "eve@evil.example", "password": PASSWORD, "token": "x"}));
                }
                let answer = app.send(request).await;
                let status = answer.status.as_u16();
                let what = format!("{method} {path} from {origin}, cookie: {with_cookie}: {status}");
                assert_eq!(answer.header("access-control-allow-credentials"), "", "{what}");
                let allowed = answer.header("access-control-allow-origin");
                assert!(is_own || allowed.is_empty(), "{what}: {allowed}");
                if !reads {
                    assert!((400..500).contains(&status), "{what}");
                    assert!(is_own || [400, 401, 403, 404, 415, 422, 429].contains(&status), "{what}");
                }
                assert!(answer.headers.get("set-cookie").is_none(), "{what}");
                let preflight = app.request(Method::OPTIONS, &path).header("origin", &origin);
                if with_cookie && !is_own {
                    let answer = app.send(preflight.header("access-control-request-method", method.as_str())).await;
                    assert_eq!(answer.header("access-control-allow-origin"), "", "{what}");
                }
                tried += 1;
            }
        }
    }
    assert!(tried > 1000, "{tried}");
    assert_eq!(everything(&app).await, before);
    assert!(desk.is_in().await);
}

/// What a page of ours sends is enough, and each part of it is needed.
async fn a_session_proves_each_change(backend: Backend) {
    let app = TestApp::new(backend).await;
    let desk = app.desk("ann@blog.example", Role::Admin).await;
    let other = app.desk("ben@blog.example", Role::Admin).await;
    let bare = || app.request(Method::PATCH, "/api/v1/account").json(&json!({"name": "Eve"}));
    let refused = async |what: &str, request: RequestBuilder| {
        assert_eq!(app.send(request.header("cookie", &desk.cookie)).await.problem(403), "forbidden", "{what}");
    };
    let own = &app.url;
    refused("nothing", bare()).await;
    refused("the token alone", bare().header("x-csrf-token", &desk.csrf)).await;
    refused("the origin alone", bare().header("origin", own)).await;
    refused("another session's token", bare().header("origin", own).header("x-csrf-token", &other.csrf)).await;
    let whole = || bare().header("x-csrf-token", &desk.csrf);
    refused("a foreign origin", whole().header("origin", "https://evil.example")).await;
    for site in ["cross-site", "same-site", "none", "Same-Origin"] {
        refused(site, whole().header("sec-fetch-site", site)).await;
        refused(site, whole().header("sec-fetch-site", site).header("origin", own)).await;
    }
    refused("two voices", whole().header("sec-fetch-site", "same-origin").header("origin", "null")).await;
    assert_eq!(desk.get("/api/v1/session").await.expect(200)["account"]["name"], "ann");
    for fine in [whole().header("origin", own), whole().header("sec-fetch-site", "same-origin")] {
        app.send(fine.header("cookie", &desk.cookie)).await.expect(200);
    }
    // Whoever is not signed in yet cannot be signed in from elsewhere.
    for (name, value) in [("origin", "https://evil.example"), ("sec-fetch-site", "cross-site"), ("origin", "null")] {
        let request = app.request(Method::POST, "/api/v1/session").header(name, value);
        let answer = app.send(request.json(&json!({"email": "ann@blog.example", "password": PASSWORD}))).await;
        assert!(answer.headers.get("set-cookie").is_none());
        assert_eq!(answer.problem(403), "forbidden");
    }
}

/// Byte by byte the same with a cookie, but for what no two answers share.
async fn the_public_api_knows_no_cookie(backend: Backend) {
    let app = TestApp::new(backend).await;
    let desk = app.desk("ann@blog.example", Role::Admin).await;
    let approved = app.published("Hello", None).await;
    let pending = app.comment("Wait").await["comment"]["id"].as_str().unwrap().to_owned();
    let key = "x".repeat(8);
    let submit = || app.request(Method::POST, "/api/v1/sites/default/comments").header("idempotency-key", &key);
    let first = app.send(submit().json(&comment("Once"))).await;
    assert_eq!(first.status, 202);
    let get = |path: String| app.request(Method::GET, &path);
    let requests: Vec<Box<dyn Fn() -> RequestBuilder + '_>> = vec![
        Box::new(|| get("/api/v1/sites/default/comments?article=/a".into())),
        Box::new(|| get("/api/v1/sites/default/counts?article=/a".into())),
        Box::new(|| get("/api/v1/sites/default/recent".into())),
        Box::new(|| get("/api/v1/sites/default/form".into())),
        Box::new(|| get(format!("/api/v1/comments/{approved}"))),
        Box::new(|| get(format!("/api/v1/comments/{pending}"))),
        Box::new(|| app.request(Method::DELETE, &format!("/api/v1/comments/{pending}"))),
        Box::new(|| submit().json(&comment("Once"))),
        Box::new(|| app.request(Method::POST, "/api/v1/sites/default/preview").json(&json!({"body": "*x*"}))),
        Box::new(|| app.request(Method::POST, "/api/v1/sites/default/counts").json(&json!({"articles": ["/a"]}))),
    ];
    for request in &requests {
        let without = shown(&app, request()).await;
        let with = |desk: &Desk<'_>| request().header("cookie", &desk.cookie).header("x-csrf-token", &desk.csrf);
        assert_eq!(shown(&app, with(&desk)).await, without);
        assert!(!without.1.iter().any(|line| line.to_lowercase().contains("cookie")), "{without:?}");
    }
}

async fn shown(app: &TestApp, request: RequestBuilder) -> (u16, Vec<String>, Value) {
    let answer = app.send(request).await;
    let changing = ["date", "x-request-id"];
    let lines = answer.headers.iter().filter(|(name, _)| !changing.contains(&name.as_str()));
    let mut lines: Vec<String> = lines.map(|(name, value)| format!("{name}: {}", value.to_str().unwrap())).collect();
    lines.sort();
    let mut body = serde_json::from_slice(&answer.body).unwrap_or(Value::Null);
    if let Some(id) = body.get_mut("request_id") {
        *id = Value::Null;
    }
    (answer.status.as_u16(), lines, body)
}
