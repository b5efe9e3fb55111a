//! Rules: what they do to comments, what they say, who may write them, and that a replay tells the truth.

use afterword::domain::site::{Policy, Site, SiteKey};
use afterword::service::sites::NewSite;
use afterword::storage::accounts::Role;
use reqwest::Method;
use serde_json::{Value, json};

use crate::support::app::{Answer, Moderator, TestApp, comment};
use crate::support::database::{Backend, on_both_databases};
use crate::support::testdata;

on_both_databases!(
    a_new_site_has_the_ready_made_rules,
    a_rule_decides_and_says_so,
    points_add_up_until_somebody_decides,
    the_honeypot_outweighs_every_rule,
    outside_nobody_can_tell_what_rules_decided,
    edits_are_judged,
    faults_come_all_at_once_with_their_paths,
    moderators_have_the_rules_of_their_sites_alone,
    rules_have_an_order_and_versions,
    a_long_list_is_a_resource_of_its_own,
    a_replay_says_what_then_happens,
    a_replay_says_how_many_lack_an_address,
    other_instances_follow,
    the_patterns_of_a_site_are_bounded,
    what_decides_may_be_undone
);

/// A service whose site `default` publishes at once, without the ready-made rules.
async fn open_house(backend: Backend) -> TestApp {
    let app = TestApp::new(backend).await;
    let mut site = Site::clone(&*app.service.sites.by_key("default").unwrap());
    site.policy = Policy::None;
    app.service.update_site(site).await.unwrap();
    let admin = app.moderator("admin@example.org", Role::Admin, &[]).await;
    for rule in admin.get("/rules").await.expect(200)["rules"].as_array().unwrap() {
        let id = rule["id"].as_str().unwrap();
        assert_eq!(app.send(admin.request(Method::DELETE, &format!("/rules/{id}"))).await.status, 204);
    }
    app
}

fn rule(name: &str, condition: &Value, effect: &Value) -> Value {
    json!({"site": "default", "name": name, "conditions": [condition], "effect": effect})
}

fn says(word: &str) -> Value {
    json!({"on": "body", "is": "contains_word", "values": [word]})
}

async fn put(moderator: &Moderator<'_>, app: &TestApp, path: &str, body: &Value) -> Answer {
    app.send(moderator.request(Method::PUT, path).json(body)).await
}

async fn patch(moderator: &Moderator<'_>, app: &TestApp, id: &str, body: &Value) -> Answer {
    app.send(moderator.request(Method::PATCH, &format!("/rules/{id}")).json(body)).await
}

fn id(rule: &Value) -> String {
    rule["id"].as_str().unwrap().to_owned()
}

/// The whole of a comment as moderators see it.
async fn seen(moderator: &Moderator<'_>, answer: &Value) -> Value {
    moderator.get(&format!("/comments/{}", answer["comment"]["id"].as_str().unwrap())).await.expect(200)
}

async fn a_new_site_has_the_ready_made_rules(backend: Backend) {
    let app = TestApp::new(backend).await;
    let moderator = app.default_moderator().await;
    let rules = moderator.get("/rules").await.expect(200);
    let told: Vec<_> = rules["rules"]
        .as_array()
        .unwrap()
        .iter()
        .map(|r| {
            (
                r["site"].as_str().unwrap(),
                r["position"].as_i64().unwrap(),
                r["name"].as_str().unwrap(),
                r["enabled"].as_bool().unwrap(),
            )
        })
        .collect();
    assert_eq!(
        told,
        [
            ("default", 1, "Disallowed words", false),
            ("default", 2, "More than 2 links", true),
            ("default", 3, "New authors", false)
        ]
    );
    let held = app.comment("http://a.example http://b.example and http://c.example").await;
    let reasons = seen(&moderator, &held).await["hold_reasons"].clone();
    assert_eq!(reasons[0], json!({"code": "rule", "detail": "Rule “More than 2 links”: 3 links"}));
    assert_eq!(reasons[1]["code"], "policy");
    let two = seen(&moderator, &app.comment("http://a.example http://b.example").await).await;
    assert_eq!(two["hold_reasons"].as_array().unwrap().len(), 1);
}

async fn a_rule_decides_and_says_so(backend: Backend) {
    let app = open_house(backend).await;
    let moderator = app.default_moderator().await;
    let mut spam = rule("Casinos", &says("casino"), &json!({"decide": "spam"}));
    spam["reason"] = json!("<b>We</b> & they");
    moderator.post("/rules", &spam).await.expect(201);
    moderator.post("/rules", &rule("No", &says("no"), &json!({"decide": "reject"}))).await.expect(201);
    moderator.post("/rules", &rule("Wait", &says("wait"), &json!({"decide": "hold"}))).await.expect(201);
    app.submit(&comment("nothing")).await.expect(201);
    for (text, status, event) in [
        ("The best CASINO, no?", "spam", Some("marked_spam")),
        ("no", "rejected", Some("rejected")),
        ("wait", "pending", None),
    ] {
        let answer = app.submit(&comment(text)).await.expect(202);
        assert_eq!((&answer["status"], &answer["comment"]["id"].is_string()), (&json!("pending"), &true));
        let seen = seen(&moderator, &answer).await;
        assert_eq!(seen["status"], status, "{text}");
        assert_eq!(seen["hold_reasons"][0]["code"], "rule");
        let events = seen["events"].as_array().unwrap();
        assert_eq!(
            (&events[0]["action"], &events[0]["to"]),
            (&json!("submitted"), &json!(if event.is_some() { "pending" } else { status }))
        );
        assert_eq!(events.get(1).map(|e| e["action"].as_str().unwrap()), event);
        if status == "spam" {
            let detail = "Rule “Casinos”: “casino” in the text. <b>We</b> & they";
            assert_eq!(seen["hold_reasons"][0]["detail"], detail);
            let told =
                json!({"actor": "rule", "via": "rule", "from": "pending", "to": "spam", "reason": "<b>We</b> & they"});
            for key in ["actor", "via", "from", "to", "reason"] {
                assert_eq!(events[1][key], told[key], "{key}");
            }
        }
    }
    // Only the one that waits is told of.
    let mails = app.run_jobs().await;
    assert_eq!(mails.len(), 1);
    assert!(mails.iter().all(|mail| !mail.contains("CASINO") && !mail.contains("<b>We</b>")));
    let summary = moderator.get("/summary").await.expect(200);
    assert_eq!(summary["counts"], json!({"pending": 1, "approved": 1, "rejected": 1, "spam": 1}));
}

async fn points_add_up_until_somebody_decides(backend: Backend) {
    let app = open_house(backend).await;
    let moderator = app.default_moderator().await;
    for (word, points) in [("one", 4.5), ("two", 5.5), ("nice", -6.0)] {
        moderator.post("/rules", &rule(word, &says(word), &json!({"score": points}))).await.expect(201);
    }
    let stop = moderator.post("/rules", &rule("stop", &says("stop"), &json!({"decide": "approve"}))).await.expect(201);
    moderator.post("/rules", &rule("late", &says("late"), &json!({"score": 50}))).await.expect(201);
    for (text, status, score) in [
        ("zero", "approved", Value::Null),
        ("one", "approved", json!(4.5)),
        ("two", "pending", json!(5.5)),
        ("one two", "spam", json!(10.0)),
        ("one two nice", "approved", json!(4.0)),
        ("late", "spam", json!(50.0)),
        ("one two late stop", "approved", json!(10.0)),
    ] {
        let answer = app.submit(&comment(text)).await;
        assert_eq!(answer.status.as_u16(), if status == "approved" { 201 } else { 202 }, "{text}");
        let seen = seen(&moderator, &answer.json()).await;
        assert_eq!((&seen["status"], &seen["spam_score"]), (&json!(status), &score), "{text}");
    }
    // A rule that is switched off does nothing.
    patch(&moderator, &app, &id(&stop), &json!({"enabled": false})).await.expect(200);
    app.submit(&comment("late stop")).await.expect(202);
}

async fn the_honeypot_outweighs_every_rule(backend: Backend) {
    let app = open_house(backend).await;
    let moderator = app.default_moderator().await;
    moderator.post("/rules", &rule("Friends", &says("hello"), &json!({"decide": "approve"}))).await.expect(201);
    let mut trap = comment("hello");
    trap["company"] = json!("ACME");
    let answer = app.submit(&trap).await.expect(202);
    let seen = seen(&moderator, &answer).await;
    assert_eq!(seen["status"], "spam");
    let codes: Vec<_> = seen["hold_reasons"].as_array().unwrap().iter().map(|r| r["code"].as_str().unwrap()).collect();
    assert_eq!(codes, ["rule", "honeypot"]);
}

async fn outside_nobody_can_tell_what_rules_decided(backend: Backend) {
    let app = open_house(backend).await;
    let moderator = app.default_moderator().await;
    for decision in ["hold", "spam", "reject"] {
        moderator
            .post("/rules", &rule(decision, &says(&format!("x{decision}")), &json!({"decide": decision})))
            .await
            .expect(201);
    }
    let mut looks = Vec::new();
    for text in ["xhold", "xspam1", "xspam", "xrejec", "xreject"] {
        // Texts of one length.
        let answer = app.submit(&comment(&format!("{text:<9}."))).await;
        let mut headers: Vec<_> = answer.headers.keys().map(|name| name.as_str().to_owned()).collect();
        headers.sort();
        let own = answer.json();
        let token = own["author_token"].as_str().unwrap().to_owned();
        let path = format!("/api/v1/comments/{}", own["comment"]["id"].as_str().unwrap());
        let looked = app.send(app.request(Method::GET, &path).bearer_auth(token)).await;
        looks.push((answer.status.as_u16(), headers, answer.body.len(), looked.status.as_u16(), looked.body.len()));
    }
    let held: Vec<_> = looks.iter().filter(|look| look.0 == 202).collect();
    assert_eq!(held.len(), 3);
    assert!(held.iter().all(|look| *look == held[0]), "{held:#?}");
}

async fn edits_are_judged(backend: Backend) {
    let app = open_house(backend).await;
    let moderator = app.default_moderator().await;
    moderator.post("/rules", &rule("Casinos", &says("casino"), &json!({"decide": "spam"}))).await.expect(201);
    moderator.post("/rules", &rule("Wait", &says("wait"), &json!({"decide": "hold"}))).await.expect(201);
    moderator.post("/rules", &rule("Yes", &says("yes"), &json!({"decide": "approve"}))).await.expect(201);
    let edit = async |answer: &Value, text: &str| {
        let path = format!("/api/v1/comments/{}", answer["comment"]["id"].as_str().unwrap());
        let token = answer["author_token"].as_str().unwrap();
        app.send(app.request(Method::PATCH, &path).bearer_auth(token).json(&json!({"body": text}))).await
    };
    // A public text stays while the new one waits, whatever the rules call that; nobody gets mail about spam.
    let public = app.submit(&comment("fine")).await.expect(201);
    edit(&public, "finer").await.expect(200);
    assert_eq!(edit(&public, "casino").await.expect(202)["status"], "approved");
    assert_eq!(app.run_jobs().await.len(), 0);
    let waiting = seen(&moderator, &public).await;
    assert_eq!((&waiting["status"], &waiting["body"]), (&json!("approved"), &json!("finer")));
    assert_eq!(waiting["hold_reasons"][0]["detail"], "Rule “Casinos”: “casino” in the text");
    edit(&public, "finest yes").await.expect(200);
    // One that waits may be put away by a rule; nothing makes it public but a person.
    let held = app.submit(&comment("wait a bit")).await.expect(202);
    edit(&held, "yes").await.expect(200);
    assert_eq!(seen(&moderator, &held).await["status"], "pending");
    edit(&held, "yes, casino").await.expect(200);
    let away = seen(&moderator, &held).await;
    assert_eq!(away["status"], "spam");
    assert_eq!(away["events"].as_array().unwrap().last().unwrap()["via"], "rule");
    edit(&held, "yes again").await.expect(200);
    assert_eq!(seen(&moderator, &held).await["status"], "spam");
}

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
    let simulated =
        moderator.post("/rules/simulate", &json!({"site": "default", "rules": [{"name": "x"}, 7], "limit": 0})).await;
    assert_eq!(
        simulated.faults(),
        ["limit out_of_range", "rules[0].conditions required", "rules[0].effect required", "rules[1] wrong_type"]
    );
    assert_eq!(moderator.post("/rules", &json!({"site": "nowhere"})).await.problem(404), "not_found");
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
    let mut lines: String = (0..60_000).map(|n| format!("unheard-of-word-{n}\n")).collect();
    lines.push_str("Viagra\n");
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

/// Texts with something for every kind of condition.
const TEXTS: [&str; 12] = [
    "Thank you, this helped me a lot.",
    "see http://a.example, http://b.example and http://c.example",
    "The best casino in town",
    "саsino with a disguise",
    "![one](http://a.example/1.png) ![two](http://a.example/2.png)",
    "Das ist ein ziemlich langer deutscher Satz, in dem nichts steht, was nicht deutsch wäre.",
    "call 555-1234 now",
    "short",
    "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa",
    "one two three",
    "casino casino http://a.example",
    "wait, what?",
];

fn drafts() -> Value {
    let rule = |name: &str, conditions: Value, effect: Value| json!({"name": name, "conditions": conditions, "effect": effect});
    let mut any = rule(
        "Either",
        json!([{"on": "language", "is": "one_of", "values": ["de"]}, {"on": "images", "is": "more_than", "values": [1]}]),
        json!({"score": 5}),
    );
    any["match"] = json!("any");
    json!([
        rule(
            "Numbers",
            json!([{"on": "body", "is": "matches", "values": ["\\d{3}-\\d{4}"]}]),
            json!({"decide": "reject"})
        ),
        rule("Words", json!([{"on": "anywhere", "is": "contains_word", "values": ["casino"]}]), json!({"score": 7.5})),
        any,
        rule("Links", json!([{"on": "links", "is": "more_than", "values": [0]}]), json!({"score": 2.5})),
        rule(
            "Short",
            json!([{"on": "length", "is": "less_than", "values": [6]}, {"on": "author", "is": "new"}]),
            json!({"decide": "approve"})
        ),
        rule(
            "Night",
            json!([{"on": "time", "is": "between", "values": ["23:00", "02:00"], "zone": "Europe/Berlin"},
                             {"on": "email_domain", "is": "within", "values": ["org"]},
                             {"on": "body", "is": "contains", "values": ["wait"], "not": true}]),
            json!({"score": 0.5})
        ),
        rule("Waits", json!([{"on": "body", "is": "contains_word", "values": ["wait"]}]), json!({"decide": "hold"})),
    ])
}

async fn a_replay_says_what_then_happens(backend: Backend) {
    let app = open_house(backend).await;
    let moderator = app.default_moderator().await;
    for text in TEXTS {
        app.submit(&comment(text)).await.expect(201);
    }
    let order = json!({"site": "default", "rules": drafts()});
    let said = moderator.post("/rules/simulate", &order).await.expect(200);
    assert_eq!((&said["judged"], &said["without_address"]), (&json!(TEXTS.len()), &json!(0)));
    for rule in drafts().as_array_mut().unwrap() {
        rule["site"] = json!("default");
        moderator.post("/rules", rule).await.expect(201);
    }
    let mut counted = std::collections::BTreeMap::new();
    for text in TEXTS {
        let mut again = comment(text);
        again["article"] = json!("/b");
        let answer = app.submit(&again).await.json();
        let real = seen(&moderator, &answer).await;
        *counted.entry(real["status"].as_str().unwrap().to_owned()).or_insert(0) += 1;
        let sample = said["samples"].as_array().unwrap().iter().find(|sample| sample["excerpt"] == text);
        match sample {
            None => assert_eq!(real["status"], "approved", "{text}"),
            Some(sample) => {
                for (told, is) in [("after", "status"), ("hold_reasons", "hold_reasons"), ("spam_score", "spam_score")]
                {
                    assert_eq!(sample[told], real[is], "{text}: {told}");
                }
            }
        }
    }
    let told: std::collections::BTreeMap<String, i64> = said["outcomes"]
        .as_array()
        .unwrap()
        .iter()
        .map(|course| (course["after"].as_str().unwrap().to_owned(), course["count"].as_i64().unwrap()))
        .collect();
    assert_eq!(told, counted);
    assert!(counted.len() == 4, "every outcome is there: {counted:?}");
    // Now they are the rules, and the same draft changes nothing.
    let again = moderator.post("/rules/simulate", &order).await.expect(200);
    assert_eq!((&again["changed"], &again["judged"]), (&json!(0), &json!(2 * TEXTS.len())));
    // One rule in the place of another.
    let rules = moderator.get("/rules").await.expect(200)["rules"].clone();
    let one = json!({"id": rules[1]["id"], "name": "Words", "conditions": [says("nothing")], "effect": {"score": 1}});
    let without =
        moderator.post("/rules/simulate", &json!({"site": "default", "rule": one, "limit": 12})).await.expect(200);
    assert_eq!((&without["judged"], &without["changed"]), (&json!(12), &json!(3)));
}

async fn a_replay_says_how_many_lack_an_address(backend: Backend) {
    let app = open_house(backend).await;
    let moderator = app.default_moderator().await;
    app.submit(&comment("here")).await.expect(201);
    let within = |network: &str| json!({"on": "address", "is": "within", "values": [network]});
    let tried = async |network: &str| {
        let draft = json!({"name": "x", "conditions": [within(network)], "effect": {"decide": "hold"}});
        let said = moderator.post("/rules/simulate", &json!({"site": "default", "rule": draft})).await.expect(200);
        (said["without_address"].as_i64().unwrap(), said["changed"].as_i64().unwrap())
    };
    // The /24 is what is kept.
    assert_eq!(tried("127.0.0.0/8").await, (0, 1));
    assert_eq!(tried("127.0.0.1").await, (1, 0));
    assert_eq!(tried("10.0.0.0/8").await, (0, 0));
    // A real comment is judged by its whole address.
    moderator.post("/rules", &rule("Here", &within("127.0.0.1"), &json!({"decide": "hold"}))).await.expect(201);
    app.submit(&comment("here again")).await.expect(202);
}

async fn other_instances_follow(backend: Backend) {
    let app = open_house(backend).await;
    let other = app.another().set("limits__enabled", "false").start().await;
    let moderator = app.default_moderator().await;
    other.submit(&comment("casino")).await.expect(201);
    let rule = moderator.post("/rules", &rule("x", &says("casino"), &json!({"decide": "spam"}))).await.expect(201);
    other.service.refresh_rules().await.unwrap();
    other.submit(&comment("casino, again")).await.expect(202);
    app.send(moderator.request(Method::DELETE, &format!("/rules/{}", id(&rule)))).await.expect(204);
    other.service.refresh_rules().await.unwrap();
    other.submit(&comment("casino, at last")).await.expect(201);
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

async fn what_decides_may_be_undone(backend: Backend) {
    let app = open_house(backend).await;
    let moderator = app.default_moderator().await;
    moderator.post("/rules", &rule("x", &says("casino"), &json!({"decide": "spam"}))).await.expect(201);
    let spam = app.submit(&comment("casino")).await.expect(202);
    let id = spam["comment"]["id"].as_str().unwrap();
    assert_eq!(moderator.decide(id, "undo").await.expect(200)["status"], "pending");
    assert_eq!(moderator.decide(id, "approve").await.expect(200)["status"], "approved");
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
