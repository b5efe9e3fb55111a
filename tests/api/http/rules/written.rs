//! How rules are written, ordered and taken away, and by whom.

use afterword::domain::site::SiteKey;
use afterword::service::sites::NewSite;
use afterword::storage::accounts::Role;
use reqwest::Method;
use serde_json::{Value, json};

use super::{id, open_house, patch, put, rule, says, seen};
use crate::support::app::{Moderator, TestApp, comment};
use crate::support::database::{Backend, on_both_databases};
use crate::support::testdata;

on_both_databases!(
    faults_come_all_at_once_with_their_paths,
    moderators_have_the_rules_of_their_sites_alone,
    rules_have_an_order_and_versions,
    a_long_list_is_a_resource_of_its_own,
    the_patterns_of_a_site_are_bounded
);

async fn faults_come_all_at_once_with_their_paths(backend: Backend) {
    let app = TestApp::new(backend).await;
    let moderator = app.default_moderator().await;
    let bad = json!({
        "site": "default", "name": " ", "match": "some", "colour": 1,
        "conditions": [
            {"on": "body", "is": "matches", "values": ["(a", "\\w{1000}", "fine"]},
            {"on": "links", "is": "contains", "values": ["x"]},
            {"on": "address", "is": "within", "values": ["192.0.2.0/24", "300.1.1.1"]},
            {"on": "length", "is": "more_than", "values": ["many"]},
            {"on": "moon", "is": "new", "valeus": []},
        ],
        "effect": {"decide": "approve", "score": 2}, "reason": "x".repeat(301),
    });
    let faults = moderator.post("/rules", &bad).await.faults();
    assert_eq!(
        faults,
        [
            "name required",
            "match unknown_value",
            "effect.score given_twice",
            "reason too_long",
            "conditions[1].is unknown_value",
            "conditions[3].values[0] wrong_type",
            "conditions[4].on unknown_value",
            "conditions[4].valeus unknown_field",
            "colour unknown_field",
        ]
    );
    what_cannot_be_compiled(&moderator, &bad).await;
    let simulated =
        moderator.post("/rules/simulate", &json!({"site": "default", "rules": [{"name": "x"}, 7], "limit": 0})).await;
    assert_eq!(
        simulated.faults(),
        ["limit out_of_range", "rules[0].conditions required", "rules[0].effect required", "rules[1] wrong_type"]
    );
    assert_eq!(moderator.post("/rules", &json!({"site": "nowhere"})).await.problem(404), "not_found");
}

/// Conditions of the right types with patterns and networks that are none.
async fn what_cannot_be_compiled(moderator: &Moderator<'_>, bad: &Value) {
    let mut typed = bad.clone();
    for (key, value) in
        [("name", json!("n")), ("match", json!("all")), ("reason", json!(null)), ("effect", json!({"score": 1}))]
    {
        typed[key] = value;
    }
    typed.as_object_mut().unwrap().remove("colour");
    typed["conditions"] = json!([bad["conditions"][0], bad["conditions"][2]]);
    let answer = moderator.post("/rules", &typed).await;
    let text = answer.text();
    assert!(text.contains("unclosed group") && !text.contains("(a"), "{text}");
    assert_eq!(
        answer.faults(),
        [
            "conditions[0].values[0] invalid_pattern",
            "conditions[0].values[1] too_large",
            "conditions[1].values[1] invalid_network"
        ]
    );
}

async fn moderators_have_the_rules_of_their_sites_alone(backend: Backend) {
    let app = TestApp::new(backend).await;
    let new = NewSite { key: SiteKey::parse("other").unwrap(), name: "Other".into(), url: None, origins: Vec::new() };
    let other = app.service.add_site(new).await.unwrap();
    let admin = app.moderator("admin@example.org", Role::Admin, &[]).await;
    let ann = app.default_moderator().await;
    let bob = app.moderator("bob@example.org", Role::Moderator, &[&other]).await;
    let own = ann.post("/rules", &rule("Ann's", &says("x"), &json!({"score": 1}))).await.expect(201);
    let mut general = rule("All", &says("y"), &json!({"score": 1}));
    general["site"] = Value::Null;
    assert_eq!(ann.post("/rules", &general).await.problem(403), "forbidden");
    let general = admin.post("/rules", &general).await.expect(201);
    assert_eq!(admin.get("/rules").await.expect(200)["rules"][0]["name"], "All", "those for all sites come first");
    assert_eq!(bob.post("/rules", &rule("x", &says("x"), &json!({"score": 1}))).await.problem(404), "not_found");
    for (who, rule) in [(&bob, &own), (&bob, &general), (&ann, &general)] {
        let path = format!("/rules/{}", id(rule));
        for method in [Method::GET, Method::PATCH, Method::DELETE] {
            let answer = app.send(who.request(method, &path).json(&json!({"name": "mine"}))).await;
            assert_eq!(answer.problem(404), "not_found");
        }
        assert_eq!(who.get(&format!("{path}/words")).await.problem(404), "not_found");
        let words = who.request(Method::PUT, &format!("{path}/words")).header("content-type", "text/plain").body("x");
        assert_eq!(app.send(words).await.problem(404), "not_found");
    }
    assert_eq!(bob.get("/rules?site=default").await.problem(404), "not_found");
    assert_eq!(put(&bob, &app, "/rules/order", &json!({"site": "default", "ids": []})).await.problem(404), "not_found");
    let tried = json!({"site": "default", "rule": {"name": "x", "conditions": [says("x")], "effect": {"score": 1}}});
    assert_eq!(bob.post("/rules/simulate", &tried).await.problem(404), "not_found");
    let mut theirs = tried.clone();
    theirs["site"] = json!("other");
    theirs["rule"]["id"] = own["id"].clone();
    assert_eq!(bob.post("/rules/simulate", &theirs).await.problem(404), "not_found", "a rule of another site");
    let names = |rules: Value| -> Vec<String> {
        rules["rules"].as_array().unwrap().iter().map(|r| format!("{} {}", r["site"], r["name"])).collect()
    };
    assert!(names(bob.get("/rules").await.expect(200)).iter().all(|name| name.starts_with("\"other\"")));
    assert_eq!(app.get("/api/v1/moderation/rules").await.problem(401), "unauthenticated");
}

async fn rules_have_an_order_and_versions(backend: Backend) {
    let app = open_house(backend).await;
    let moderator = app.default_moderator().await;
    let mut ids = Vec::new();
    for decision in ["approve", "spam", "hold"] {
        ids.push(id(&moderator
            .post("/rules", &rule(decision, &says("x"), &json!({"decide": decision})))
            .await
            .expect(201)));
    }
    app.submit(&comment("x 1")).await.expect(201);
    for wrong in [json!(ids[..2]), json!([ids[0], ids[0], ids[1]]), json!(["nonsense", ids[0], ids[1]])] {
        let answer = put(&moderator, &app, "/rules/order", &json!({"site": "default", "ids": wrong})).await;
        assert_eq!(answer.faults(), ["ids not_this_order"]);
    }
    let turned: Vec<_> = ids.iter().rev().collect();
    let rules = put(&moderator, &app, "/rules/order", &json!({"site": "default", "ids": turned})).await.expect(200);
    assert_eq!((&rules["rules"][0]["name"], &rules["rules"][0]["position"]), (&json!("hold"), &json!(1)));
    let held = app.submit(&comment("x 2")).await.expect(202);
    assert_eq!(seen(&moderator, &held).await["status"], "pending");
    // Versions.
    let path = format!("/rules/{}", ids[1]);
    let one = moderator.get(&path).await;
    assert_eq!(one.header("etag"), "\"1\"", "it kept its place");
    let change = |version: &str| {
        moderator.request(Method::PATCH, &path).header("if-match", version).json(&json!({"name": "New"}))
    };
    let changed = app.send(change("\"1\"")).await.expect(200);
    assert_eq!(
        (&changed["name"], &changed["version"], &changed["conditions"]),
        (&json!("New"), &json!(2), &one.json()["conditions"])
    );
    assert_eq!(app.send(change("\"1\"")).await.problem(412), "precondition_failed");
    assert_eq!(
        app.send(moderator.request(Method::DELETE, &path).header("if-match", "\"1\"")).await.problem(412),
        "precondition_failed"
    );
    assert_eq!(
        patch(&moderator, &app, &ids[1], &json!({"site": "other", "effect": {}})).await.faults(),
        ["effect required", "site unknown_field"]
    );
    // Page by page.
    let first = moderator.get("/rules?limit=2").await.expect(200);
    assert_eq!(first["rules"].as_array().unwrap().len(), 2);
    let rest =
        moderator.get(&format!("/rules?limit=2&cursor={}", first["next_cursor"].as_str().unwrap())).await.expect(200);
    assert_eq!((rest["rules"].as_array().unwrap().len(), &rest["next_cursor"]), (1, &Value::Null));
}

async fn a_long_list_is_a_resource_of_its_own(backend: Backend) {
    let app = open_house(backend).await;
    let moderator = app.default_moderator().await;
    let listed = json!({"on": "anywhere", "is": "contains_word", "list": true});
    let rule = moderator.post("/rules", &rule("List", &listed, &json!({"decide": "spam"}))).await.expect(201);
    app.submit(&comment("an empty list finds nothing")).await.expect(201);
    let send = |text: String| {
        let request = moderator.request(Method::PUT, &format!("/rules/{}/words", id(&rule)));
        app.send(request.header("content-type", "text/plain; charset=UTF-8").body(text))
    };
    let mut lines: Vec<String> = (0..60_000).map(|n| format!("unheard-of-word-{n}")).collect();
    lines.push("Viagra\n".to_owned());
    let lines = lines.join("\n");
    assert!(lines.len() > 1024 * 1024);
    let written = send(lines.clone()).await.expect(200);
    assert_eq!((&written["word_count"], &written["version"]), (&json!(60_001), &json!(2)));
    let spam = app.submit(&comment("VIAGRA!")).await.expect(202);
    assert_eq!(seen(&moderator, &spam).await["hold_reasons"][0]["detail"], "Rule “List”: “Viagra” in the text");
    app.submit(&comment("viagrande")).await.expect(201);
    let stored = moderator.get(&format!("/rules/{}/words", id(&rule))).await;
    assert_eq!((stored.text(), stored.header("etag")), (lines.trim_end().to_owned(), "\"2\""));
    // A change of the rule leaves the list alone.
    patch(&moderator, &app, &id(&rule), &json!({"effect": {"decide": "reject"}})).await.expect(200);
    let gone = app.submit(&comment("viagra, again")).await.expect(202);
    assert_eq!(seen(&moderator, &gone).await["status"], "rejected");
    assert_eq!(send(format!("fine\n{}", "x".repeat(201))).await.faults(), ["line 2 too_long"]);
    assert_eq!(send("x".repeat(2 * 1024 * 1024 + 1)).await.problem(413), "body_too_large");
    let path = format!("/rules/{}/words", id(&rule));
    assert_eq!(
        app.send(moderator.request(Method::PUT, &path).json(&json!([]))).await.problem(415),
        "unsupported_media_type"
    );
    let nobody = app.request(Method::PUT, &format!("/api/v1/moderation{path}")).header("content-type", "text/plain");
    assert_eq!(app.send(nobody.body("x".repeat(300 * 1024))).await.problem(413), "body_too_large");
    assert_eq!(send(String::new()).await.expect(200)["word_count"], 0);
    app.submit(&comment("viagra, at last")).await.expect(201);
}

async fn the_patterns_of_a_site_are_bounded(backend: Backend) {
    let app = open_house(backend).await;
    let moderator = app.default_moderator().await;
    let patterns = |many: usize| json!({"on": "body", "is": "matches", "values": vec!["x+y"; many]});
    let mut last = Value::Null;
    for _ in 0..5 {
        last = moderator.post("/rules", &rule("x", &patterns(20), &json!({"score": 1}))).await.expect(201);
    }
    let one = rule("x", &patterns(1), &json!({"score": 1}));
    assert_eq!(moderator.post("/rules", &one).await.faults(), ["conditions too_many"]);
    patch(&moderator, &app, &id(&last), &json!({"conditions": [patterns(19)]})).await.expect(200);
    moderator.post("/rules", &one).await.expect(201);
    let more = rule("x", &patterns(21), &json!({"score": 1}));
    assert_eq!(moderator.post("/rules", &more).await.faults(), ["conditions[0].values out_of_range"]);
}

/// The public list of WordPress users, as it is.
#[tokio::test]
async fn a_public_blocklist_is_taken() {
    let Some(text) = testdata::read("spam/comment_blocklist.txt") else { return };
    let app = open_house(Backend::Sqlite).await;
    let moderator = app.default_moderator().await;
    let listed = json!({"on": "anywhere", "is": "contains", "list": true});
    let rule = moderator.post("/rules", &rule("List", &listed, &json!({"decide": "spam"}))).await.expect(201);
    let request = moderator.request(Method::PUT, &format!("/rules/{}/words", id(&rule)));
    let written = app.send(request.header("content-type", "text/plain").body(text)).await.expect(200);
    assert!(written["word_count"].as_i64().unwrap() > 65_000);
    app.submit(&comment("cheap viagra online casino")).await.expect(202);
}
