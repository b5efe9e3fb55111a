//! What administrators do by the API: sites, accounts, tokens; and who may do what.

use std::time::Duration;

use afterword::service::tokens::NewToken;
use afterword::storage::accounts::{Role, Scope};
use reqwest::Method;
use serde_json::{Value, json};

use crate::support::app::{Answer, TestApp, comment};
use crate::support::database::{Backend, on_both_databases};

on_both_databases!(
    sites_are_made_changed_and_deleted,
    every_fault_of_a_site_at_once,
    accounts_are_made_changed_and_disabled,
    there_is_always_an_administrator,
    tokens_have_an_end_and_a_scope,
    tokens_are_narrowed,
    who_may_do_what
);

/// Sends a request with this token.
#[expect(clippy::too_many_arguments, reason = "what a request is, in the order in which one says it")]
pub async fn call(app: &TestApp, token: &str, method: &str, path: &str, body: Value) -> Answer {
    let request = app.request(method.parse::<Method>().unwrap(), path).bearer_auth(token);
    app.send(if body.is_null() { request } else { request.json(&body) }).await
}

async fn admin(app: &TestApp) -> String {
    app.moderator("admin@example.org", Role::Admin, &[]).await.token
}

async fn sites_are_made_changed_and_deleted(backend: Backend) {
    let app = TestApp::new(backend).await;
    let token = admin(&app).await;
    let new = json!({"key": "blog", "name": " My  blog ", "url": "https://blog.example/x", "origins": ["https://www.blog.example"]});
    let made = call(&app, &token, "POST", "/api/v1/sites", new.clone()).await;
    assert_eq!(made.header("location"), format!("{}/api/v1/sites/blog", app.url));
    let version = made.header("etag").to_owned();
    let made = made.expect(201);
    assert_eq!(made["name"], "My blog");
    assert_eq!((made["moderation"].as_str(), made["articles"].as_str()), (Some("all"), Some("any")));
    assert_eq!(made["required_fields"], json!(["name", "email"]));
    assert_eq!(call(&app, &token, "POST", "/api/v1/sites", new).await.problem(409), "conflict");
    let patch = |body: Value, version: String| {
        let request = app.request(Method::PATCH, "/api/v1/sites/blog").bearer_auth(&token).json(&body);
        app.send(request.header("if-match", version))
    };
    let changed = patch(json!({"moderation": "none", "url": null}), version.clone()).await;
    assert_ne!(changed.header("etag"), version, "also while the clock stands still");
    let changed = changed.expect(200);
    assert_eq!((&changed["moderation"], &changed["url"]), (&json!("none"), &Value::Null));
    assert_eq!(changed["origins"], made["origins"], "what is not named stays");
    assert_eq!(patch(json!({"name": "late"}), version).await.problem(412), "precondition_failed");
    // It counts at once.
    let submit = |text: &str| {
        let body = comment(text);
        let app = &app;
        async move { app.post("/api/v1/sites/blog/comments", &body).await }
    };
    let id = submit("at once").await.expect(201)["comment"]["id"].as_str().unwrap().to_owned();
    let refused = call(&app, &token, "DELETE", "/api/v1/sites/blog", Value::Null).await;
    assert!(refused.text().contains("1 comments and 1 articles"), "{}", refused.text());
    assert_eq!(refused.problem(409), "conflict");
    assert_eq!(call(&app, &token, "DELETE", "/api/v1/sites/default", Value::Null).await.problem(409), "conflict");
    call(&app, &token, "DELETE", &format!("/api/v1/moderation/comments/{id}"), Value::Null).await.expect(204);
    call(&app, &token, "POST", "/api/v1/sites", json!({"key": "empty", "name": "x"})).await.expect(201);
    let listed = call(&app, &token, "GET", "/api/v1/sites?limit=2", Value::Null).await.expect(200);
    assert_eq!(listed["sites"].as_array().unwrap().len(), 2);
    let cursor = listed["next_cursor"].as_str().unwrap();
    let rest =
        call(&app, &token, "GET", &format!("/api/v1/sites?limit=2&cursor={cursor}"), Value::Null).await.expect(200);
    assert_eq!((&rest["sites"][0]["key"], &rest["next_cursor"]), (&json!("empty"), &Value::Null));
    call(&app, &token, "DELETE", "/api/v1/sites/empty", Value::Null).await.expect(204);
    assert_eq!(call(&app, &token, "GET", "/api/v1/sites/empty", Value::Null).await.status, 404);
    assert_eq!(app.get("/api/v1/sites/empty/form").await.status, 404);
}

async fn every_fault_of_a_site_at_once(backend: Backend) {
    let app = TestApp::new(backend).await;
    let token = admin(&app).await;
    let wrong = json!({
        "key": "Bad Key", "name": "", "url": "ftp://x", "origins": ["https://x.example/path"], "moderation": "some",
        "articles": 7, "language": "english", "required_fields": ["email"], "lengths": {"body_max": 99_999_999},
        "close_after_days": -1, "languages": ["e"], "colour": "red",
    });
    let mut faults = call(&app, &token, "POST", "/api/v1/sites", wrong).await.faults();
    faults.sort();
    let expected = [
        "articles wrong_type",
        "close_after_days out_of_range",
        "colour unknown_field",
        "key invalid_key",
        "language invalid_language",
        "languages invalid_language",
        "lengths out_of_range",
        "moderation unknown_value",
        "name required",
        "origins invalid_origin",
        "required_fields required",
        "url invalid_url",
    ];
    assert_eq!(faults, expected);
    assert_eq!(call(&app, &token, "POST", "/api/v1/sites", json!({})).await.faults().len(), 2);
    let faults = call(&app, &token, "PATCH", "/api/v1/sites/default", json!({"key": "other"})).await.faults();
    assert_eq!(faults, ["key unknown_field"], "a key never changes");
}

async fn accounts_are_made_changed_and_disabled(backend: Backend) {
    let app = TestApp::new(backend).await;
    let token = admin(&app).await;
    call(&app, &token, "POST", "/api/v1/sites", json!({"key": "blog", "name": "Blog"})).await.expect(201);
    let wrong = json!({"email": "nobody", "role": "king", "sites": ["nowhere"], "x": 1});
    let mut faults = call(&app, &token, "POST", "/api/v1/accounts", wrong).await.faults();
    faults.sort();
    assert_eq!(faults, ["email invalid_email", "role unknown_value", "sites unknown_site", "x unknown_field"]);
    let faults = call(&app, &token, "POST", "/api/v1/accounts", json!({"role": "moderator"})).await.faults();
    assert_eq!(faults, ["email required", "sites required"]);
    let new = json!({"email": "ann@example.org", "name": "Ann", "role": "moderator", "sites": ["default"]});
    let made = call(&app, &token, "POST", "/api/v1/accounts", new.clone()).await.expect(201);
    let id = made["id"].as_str().unwrap().to_owned();
    let path = format!("/api/v1/accounts/{id}");
    assert_eq!(
        (&made["email"], &made["name"], &made["mail"]),
        (&json!("ann@example.org"), &json!("Ann"), &json!("each"))
    );
    assert_eq!(call(&app, &token, "POST", "/api/v1/accounts", new).await.problem(409), "conflict");
    let ann = call(&app, &token, "POST", "/api/v1/tokens", json!({"name": "laptop", "account": id})).await.expect(201);
    let ann = ann["token"].as_str().unwrap().to_owned();
    let sees = |site: &str| {
        let path = format!("/api/v1/moderation/comments?site={site}");
        let (app, ann) = (&app, ann.clone());
        async move { call(app, &ann, "GET", &path, Value::Null).await.status.as_u16() }
    };
    assert_eq!((sees("default").await, sees("blog").await), (200, 404));
    let patch = json!({"sites": ["blog"], "name": "Ann B", "mail": "digest", "quiet_from": 1320, "quiet_to": 420, "time_zone": "Europe/Berlin", "email": "ann.b@example.org"});
    let changed = call(&app, &token, "PATCH", &path, patch).await.expect(200);
    assert_eq!((&changed["sites"], &changed["email"]), (&json!(["blog"]), &json!("ann.b@example.org")));
    let mail = |shape: &Value| json!([shape["mail"], shape["digest_minutes"], shape["quiet_from"], shape["time_zone"]]);
    assert_eq!(mail(&changed), json!(["digest", 60, 1320, "Europe/Berlin"]));
    for (wrong, fault) in [
        (json!({"mail": "often"}), "mail unknown_value"),
        (json!({"digest_minutes": 3}), "digest_minutes out_of_range"),
        (json!({"quiet_to": 1320}), "quiet_to out_of_range"),
        (json!({"time_zone": "Europe/Nowhere"}), "time_zone unknown_value"),
    ] {
        assert_eq!(call(&app, &token, "PATCH", &path, wrong).await.faults(), [fault]);
    }
    let changed = call(&app, &token, "PATCH", &path, json!({"mail": "none", "time_zone": null})).await.expect(200);
    assert_eq!(mail(&changed), json!(["none", null, null, null]));
    assert_eq!((sees("default").await, sees("blog").await), (404, 200));
    let site = call(&app, &token, "GET", "/api/v1/sites/blog", Value::Null).await.expect(200);
    assert_eq!(site["moderators"], json!([{"id": id, "name": "Ann B"}]));
    let taken = call(&app, &token, "PATCH", &path, json!({"email": "admin@example.org"})).await;
    assert_eq!(taken.problem(409), "conflict");
    // Disabled: every right and every token at once.
    call(&app, &token, "DELETE", &path, Value::Null).await.expect(204);
    assert_eq!(sees("blog").await, 401);
    let gone = call(&app, &token, "GET", &path, Value::Null).await.expect(200);
    assert!(gone["disabled_at"].is_string());
    let body = json!({"name": "x", "account": id});
    assert_eq!(call(&app, &token, "POST", "/api/v1/tokens", body).await.status, 404);
    let site = call(&app, &token, "GET", "/api/v1/sites/blog", Value::Null).await.expect(200);
    assert_eq!(site["moderators"], json!([]));
    call(&app, &token, "PATCH", &path, json!({"disabled": false})).await.expect(200);
    assert_eq!(sees("blog").await, 401, "the tokens stay taken back");
    let all = call(&app, &token, "GET", "/api/v1/accounts", Value::Null).await.expect(200);
    assert_eq!(all["accounts"].as_array().unwrap().len(), 2);
}

async fn there_is_always_an_administrator(backend: Backend) {
    let app = TestApp::new(backend).await;
    let token = admin(&app).await;
    let all = call(&app, &token, "GET", "/api/v1/accounts", Value::Null).await.expect(200);
    let first = format!("/api/v1/accounts/{}", all["accounts"][0]["id"].as_str().unwrap());
    for (method, body) in
        [("DELETE", Value::Null), ("PATCH", json!({"role": "moderator"})), ("PATCH", json!({"disabled": true}))]
    {
        assert_eq!(call(&app, &token, method, &first, body).await.problem(409), "conflict");
    }
    let new = json!({"email": "two@example.org", "role": "admin"});
    let two = call(&app, &token, "POST", "/api/v1/accounts", new).await.expect(201);
    let second = format!("/api/v1/accounts/{}", two["id"].as_str().unwrap());
    // Both demote each other at once: one stays.
    let demote = |path: String| {
        let (app, token) = (&app, token.clone());
        async move { call(app, &token, "PATCH", &path, json!({"role": "moderator"})).await.status.as_u16() }
    };
    let (one, other) = tokio::join!(demote(first), demote(second));
    let answers = [one, other];
    assert!(answers.contains(&200) && answers.iter().any(|status| [409, 403].contains(status)), "{answers:?}");
}

async fn tokens_have_an_end_and_a_scope(backend: Backend) {
    let app = TestApp::new(backend).await;
    let (root, ann) = (admin(&app).await, app.default_moderator().await.token);
    let id = app.comment("held").await["comment"]["id"].as_str().unwrap().to_owned();
    let make = |by: &str, body: Value| {
        let (app, by) = (&app, by.to_owned());
        async move { call(app, &by, "POST", "/api/v1/tokens", body).await }
    };
    let mut faults = make(&ann, json!({"scope": "all", "days": 3651, "y": 1})).await.faults();
    faults.sort();
    assert_eq!(faults, ["days out_of_range", "name required", "scope unknown_value", "y unknown_field"]);
    let read = make(&ann, json!({"name": "watch", "scope": "read", "days": 2})).await.expect(201);
    assert_eq!(read["expires_at"], "2026-01-03T00:00:00.000000Z");
    let reads = read["token"].as_str().unwrap().to_owned();
    assert_eq!(call(&app, &reads, "GET", "/api/v1/moderation/comments", Value::Null).await.status, 200);
    let approve = format!("/api/v1/moderation/comments/{id}/approve");
    assert_eq!(call(&app, &reads, "POST", &approve, Value::Null).await.problem(403), "forbidden");
    assert_eq!(make(&reads, json!({"name": "x", "scope": "read"})).await.problem(403), "forbidden");
    let decides = make(&ann, json!({"name": "desk"})).await.expect(201);
    assert_eq!(decides["scope"], "moderate");
    let decides = decides["token"].as_str().unwrap().to_owned();
    call(&app, &decides, "POST", &approve, Value::Null).await.expect(200);
    assert_eq!(make(&decides, json!({"name": "x", "scope": "admin"})).await.problem(403), "forbidden");
    // A moderator manages their own, an administrator those of all.
    let own = call(&app, &ann, "GET", "/api/v1/tokens", Value::Null).await.expect(200);
    assert_eq!(own["tokens"].as_array().unwrap().len(), 3);
    assert!(!own.to_string().contains("awt_"), "no secret is told twice");
    let all = call(&app, &root, "GET", "/api/v1/tokens", Value::Null).await.expect(200);
    assert_eq!(all["tokens"].as_array().unwrap().len(), 4);
    let roots = all["tokens"].as_array().unwrap().iter().find(|token| token["account"] != read["account"]).unwrap();
    let path = |token: &Value| format!("/api/v1/tokens/{}", token["id"].as_str().unwrap());
    assert_eq!(call(&app, &ann, "DELETE", &path(roots), Value::Null).await.status, 404);
    let account = roots["account"].as_str().unwrap();
    let foreign = call(&app, &ann, "GET", &format!("/api/v1/tokens?account={account}"), Value::Null).await;
    assert_eq!(foreign.status, 404);
    assert_eq!(make(&ann, json!({"name": "x", "account": account})).await.status, 404);
    call(&app, &ann, "DELETE", &path(&read), Value::Null).await.expect(204);
    call(&app, &ann, "DELETE", &path(&read), Value::Null).await.expect(204);
    assert_eq!(call(&app, &reads, "GET", "/api/v1/moderation/comments", Value::Null).await.status, 401);
    // What a token makes ends with it at the latest, and goes no further: neither does what it takes back.
    let short = make(&ann, json!({"name": "short", "days": 1})).await.expect(201)["token"].as_str().unwrap().to_owned();
    let long = make(&short, json!({"name": "long", "days": 3650})).await.expect(201);
    assert_eq!(long["expires_at"], "2026-01-02T00:00:00.000000Z");
    let wide = own["tokens"].as_array().unwrap().iter().find(|token| token["scope"] == "admin").unwrap();
    assert_eq!(call(&app, &short, "DELETE", &path(wide), Value::Null).await.problem(403), "forbidden");
    call(&app, &short, "DELETE", &path(&long), Value::Null).await.expect(204);
    app.clock.advance(Duration::from_hours(365 * 24));
    assert_eq!(call(&app, &decides, "GET", "/api/v1/moderation/comments", Value::Null).await.status, 401, "over");
}

async fn tokens_are_narrowed(backend: Backend) {
    let app = TestApp::new(backend).await;
    let (root, ann) = (admin(&app).await, app.default_moderator().await.token);
    let body = json!({"name": "laptop", "scope": "moderate", "days": 10});
    let made = call(&app, &ann, "POST", "/api/v1/tokens", body).await.expect(201);
    let (path, token) = (format!("/api/v1/tokens/{}", made["id"].as_str().unwrap()), made["token"].as_str().unwrap());
    let patch = async |by: &str, body: Value| call(&app, by, "PATCH", &path, body).await;
    let mut known = made.clone();
    known.as_object_mut().unwrap().remove("token");
    assert_eq!(call(&app, &ann, "GET", &path, Value::Null).await.expect(200), known, "without its secret");
    assert_eq!(patch(&ann, json!({})).await.expect(200), known);
    known["name"] = json!("old laptop");
    assert_eq!(patch(&ann, json!({"name": " old  laptop "})).await.expect(200), known, "what is not named stays");
    known["expires_at"] = json!("2026-01-05T00:00:00.000000Z");
    assert_eq!(patch(&root, json!({"expires_at": "2026-01-05T01:00:00+01:00"})).await.expect(200), known);
    for (wrong, fault) in [
        (json!({"expires_at": "2026-01-05T00:00:01Z"}), "expires_at out_of_range"),
        (json!({"expires_at": "tomorrow"}), "expires_at invalid_time"),
        (json!({"expires_at": null}), "expires_at required"),
        (json!({"scope": "admin"}), "scope out_of_range"),
        (json!({"scope": "all"}), "scope unknown_value"),
        (json!({"scope": null}), "scope required"),
        (json!({"name": ""}), "name required"),
        (json!({"name": null}), "name required"),
        (json!({"name": "x".repeat(101)}), "name too_long"),
        (json!({"days": 3}), "days unknown_field"),
    ] {
        assert_eq!(patch(&ann, wrong.clone()).await.faults(), [fault], "{wrong}");
    }
    known["scope"] = json!("read");
    assert_eq!(patch(&ann, json!({"scope": "read"})).await.expect(200), known);
    let narrow = async |body: Value| call(&app, token, "PATCH", &path, body).await;
    assert_eq!(narrow(json!({"name": "x"})).await.problem(403), "forbidden", "it reads from now on");
    // Whoever goes less far changes nothing of it, and others do not know of it.
    let own = call(&app, &ann, "GET", "/api/v1/tokens", Value::Null).await.expect(200);
    let wide = format!("/api/v1/tokens/{}", own["tokens"][0]["id"].as_str().unwrap());
    let less = call(&app, &ann, "POST", "/api/v1/tokens", json!({"name": "less"})).await.expect(201);
    let less = less["token"].as_str().unwrap();
    assert_eq!(call(&app, less, "PATCH", &wide, json!({"name": "x"})).await.problem(403), "forbidden");
    let all = call(&app, &root, "GET", "/api/v1/tokens", Value::Null).await.expect(200);
    let roots = all["tokens"].as_array().unwrap().iter().find(|token| token["account"] != made["account"]).unwrap();
    let roots = format!("/api/v1/tokens/{}", roots["id"].as_str().unwrap());
    for method in ["GET", "PATCH"] {
        let body = if method == "GET" { Value::Null } else { json!({"name": "x"}) };
        assert_eq!(call(&app, &ann, method, &roots, body).await.problem(404), "not_found");
    }
    patch(&ann, json!({"expires_at": "2026-01-01T00:00:00Z"})).await.expect(200);
    assert_eq!(call(&app, token, "GET", "/api/v1/moderation/comments", Value::Null).await.status, 401, "over");
}

/// Every address of administration, and what each kind of caller gets there: nobody, a moderator, an administrator with a
/// token that only moderates, an administrator.
async fn who_may_do_what(backend: Backend) {
    let app = TestApp::new(backend).await;
    let (root, ann) = (admin(&app).await, app.default_moderator().await.token);
    call(&app, &root, "POST", "/api/v1/sites", json!({"key": "other", "name": "Other"})).await.expect(201);
    let all = call(&app, &root, "GET", "/api/v1/accounts", Value::Null).await.expect(200);
    let id = all["accounts"][1]["id"].as_str().unwrap();
    let account = all["accounts"][0]["id"].as_str().unwrap().parse().unwrap();
    let narrow = NewToken { account, name: "n".into(), scope: Scope::Moderate, life: Duration::from_hours(1) };
    let narrow = app.service.make_token(narrow).await.unwrap().0;
    let (account, token) = (format!("/api/v1/accounts/{id}"), "/api/v1/tokens/0190a000-0000-7000-8000-000000000001");
    let empty = || json!({});
    let table: [(&str, &str, Value, [u16; 4]); 20] = [
        ("POST", "/api/v1/moderation/rules", empty(), [401, 403, 403, 422]),
        ("GET", "/api/v1/sites", Value::Null, [401, 200, 200, 200]),
        ("POST", "/api/v1/sites", empty(), [401, 403, 403, 422]),
        ("GET", "/api/v1/sites/default", Value::Null, [401, 200, 200, 200]),
        ("GET", "/api/v1/sites/other", Value::Null, [401, 404, 200, 200]),
        ("PATCH", "/api/v1/sites/default", empty(), [401, 403, 403, 200]),
        ("DELETE", "/api/v1/sites/default", Value::Null, [401, 403, 403, 409]),
        ("GET", "/api/v1/sites/default/articles", Value::Null, [401, 200, 200, 200]),
        ("GET", "/api/v1/sites/other/articles", Value::Null, [401, 404, 200, 200]),
        ("POST", "/api/v1/sites/other/articles", empty(), [401, 404, 422, 422]),
        ("PATCH", "/api/v1/sites/other/articles?article=x", empty(), [401, 404, 404, 404]),
        ("GET", "/api/v1/accounts", Value::Null, [401, 403, 403, 200]),
        ("POST", "/api/v1/accounts", empty(), [401, 403, 403, 422]),
        ("GET", &account, Value::Null, [401, 403, 403, 200]),
        ("PATCH", &account, empty(), [401, 403, 403, 200]),
        ("GET", "/api/v1/tokens", Value::Null, [401, 200, 200, 200]),
        ("POST", "/api/v1/tokens", empty(), [401, 422, 422, 422]),
        ("GET", token, Value::Null, [401, 404, 404, 404]),
        ("PATCH", token, empty(), [401, 404, 404, 404]),
        ("DELETE", token, Value::Null, [401, 404, 404, 404]),
    ];
    for (method, path, body, expected) in table {
        let mut statuses = Vec::new();
        for token in ["awt_guess", &ann, &narrow, &root] {
            let answer = call(&app, token, method, path, body.clone()).await;
            assert_eq!(answer.header("access-control-allow-origin"), "", "{method} {path}");
            statuses.push(answer.status.as_u16());
        }
        assert_eq!(statuses, expected, "{method} {path}");
    }
    let listed = call(&app, &ann, "GET", "/api/v1/sites", Value::Null).await.expect(200);
    assert_eq!(listed["sites"].as_array().unwrap().len(), 1, "of others they learn nothing");
    let foreign = app.request(Method::POST, "/api/v1/sites").bearer_auth(&root).json(&json!({}));
    assert_eq!(app.send(foreign.header("origin", "https://evil.example")).await.status, 403);
}
