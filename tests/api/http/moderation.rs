//! What moderators see and decide, and what they never learn.

use afterword::domain::site::SiteKey;
use afterword::service::sites::NewSite;
use afterword::storage::accounts::Role;
use reqwest::Method;
use serde_json::{Value, json};

use crate::support::app::{TestApp, comment};
use crate::support::database::{Backend, on_both_databases};

on_both_databases!(
    every_decision_is_an_event_and_the_same_one_again_is_none,
    undo_takes_back_the_last_decision,
    what_visitors_say_of_an_article_is_seen_before_approval,
    versions_are_honoured,
    the_fate_of_replies,
    many_decisions_at_once,
    moderators_learn_nothing_of_other_sites,
    the_queue_is_filtered_and_paged,
    correcting_and_removing,
    the_log_and_the_summary,
    tokens_end,
);

async fn held(app: &TestApp, text: &str) -> String {
    app.comment(text).await["comment"]["id"].as_str().unwrap().to_owned()
}

async fn every_decision_is_an_event_and_the_same_one_again_is_none(backend: Backend) {
    let app = TestApp::new(backend).await;
    let moderator = app.default_moderator().await;
    let id = held(&app, "text").await;
    let approved = moderator.post(&format!("/comments/{id}/approve"), &json!({"reason": "Nice"})).await;
    assert_eq!(approved.header("etag"), "\"2\"");
    let approved = approved.expect(200);
    assert_eq!(approved["previous"], json!({"status": "pending", "by": null, "at": "2026-01-01T00:00:00.000000Z"}));
    app.clock.advance(std::time::Duration::from_mins(1));
    let again = moderator.decide(&id, "approve").await.expect(200);
    assert_eq!(again["previous"], json!({"status": "approved", "by": "mod", "at": "2026-01-01T00:00:00.000000Z"}));
    assert_eq!(again["version"], 2);
    for (decision, status) in [("reject", "rejected"), ("spam", "spam"), ("hold", "pending"), ("approve", "approved")] {
        assert_eq!(moderator.decide(&id, decision).await.expect(200)["status"], status);
    }
    let one = moderator.get(&format!("/comments/{id}")).await.expect(200);
    let log: Vec<String> = one["events"]
        .as_array()
        .unwrap()
        .iter()
        .map(|e| {
            format!(
                "{} {} {}->{} {}",
                e["actor"].as_str().unwrap(),
                e["action"].as_str().unwrap(),
                e["from"].as_str().unwrap_or("-"),
                e["to"].as_str().unwrap_or("-"),
                e["via"].as_str().unwrap()
            )
        })
        .collect();
    assert_eq!(
        log,
        [
            "author submitted -->pending author",
            "mod approved pending->approved api",
            "mod rejected approved->rejected api",
            "mod marked_spam rejected->spam api",
            "mod held spam->pending api",
            "mod approved pending->approved api",
        ]
    );
    assert_eq!(one["events"][1]["reason"], "Nice");
    assert_eq!(
        moderator.post(&format!("/comments/{id}/reject"), &json!({"reson": "x"})).await.faults(),
        ["reson unknown_field"]
    );
    assert_eq!(
        moderator.post(&format!("/comments/{id}/reject"), &json!({"reason": "x".repeat(1001)})).await.faults(),
        ["reason too_long"]
    );
    assert_eq!(moderator.decide("0190a000-0000-7000-8000-000000000001", "approve").await.problem(404), "not_found");
    assert_eq!(moderator.decide("nonsense", "approve").await.problem(404), "not_found");
}

async fn undo_takes_back_the_last_decision(backend: Backend) {
    let app = TestApp::new(backend).await;
    let (ann, bob) = (app.default_moderator().await, app.moderator("bob@example.org", Role::Admin, &[]).await);
    let id = held(&app, "text").await;
    assert_eq!(ann.decide(&id, "undo").await.problem(409), "conflict");
    ann.decide(&id, "approve").await.expect(200);
    ann.decide(&id, "reject").await.expect(200);
    assert_eq!(ann.decide(&id, "undo").await.expect(200)["status"], "approved");
    assert_eq!(ann.decide(&id, "undo").await.problem(409), "conflict", "one step back, not two");
    bob.decide(&id, "spam").await.expect(200);
    assert_eq!(ann.decide(&id, "undo").await.problem(409), "conflict", "superseded");
    assert_eq!(bob.decide(&id, "undo").await.expect(200)["status"], "approved");
    assert_eq!(app.listed("").await, std::slice::from_ref(&id));
    assert_eq!(bob.decide(&id, "undo").await.problem(409), "conflict", "the last event is no decision");
    // Somebody who has not decided here takes back what another did; whoever was overruled does not.
    bob.decide(&id, "reject").await.expect(200);
    assert_eq!(ann.decide(&id, "undo").await.problem(409), "conflict");
    let eve = app.moderator("eve@example.org", Role::Admin, &[]).await;
    assert_eq!(eve.decide(&id, "undo").await.expect(200)["status"], "approved");
    let log = eve.get(&format!("/comments/{id}")).await.expect(200)["events"].as_array().unwrap().clone();
    assert_eq!(
        (log.last().unwrap()["actor"].as_str(), log.last().unwrap()["action"].as_str()),
        (Some("eve"), Some("undone"))
    );
    // A correction since is no decision and stands in the way.
    let other = held(&app, "other").await;
    bob.decide(&other, "approve").await.expect(200);
    let patch = ann.request(Method::PATCH, &format!("/comments/{other}")).json(&json!({"body": "corrected"}));
    app.send(patch).await.expect(200);
    assert_eq!(bob.decide(&other, "undo").await.problem(409), "conflict");
}

async fn what_visitors_say_of_an_article_is_seen_before_approval(backend: Backend) {
    let app = TestApp::new(backend).await;
    let moderator = app.default_moderator().await;
    let hinted = async |text: &str, title: &str| {
        let mut body = comment(text);
        body["article_title"] = json!(title);
        body["article_url"] = json!(format!("{}/{title}", app.url));
        app.submit(&body).await.expect(202)["comment"]["id"].as_str().unwrap().to_owned()
    };
    let (one, two) = (hinted("one", "First").await, hinted("two", "Second").await);
    let seen = async |id: &str| {
        let article = moderator.get(&format!("/comments/{id}")).await.expect(200)["article"].clone();
        (article["title"].as_str().map(str::to_owned), article["url"].as_str().map(str::to_owned))
    };
    let named = |title: &str| (Some(title.to_owned()), Some(format!("{}/{title}", app.url)));
    assert_eq!((seen(&one).await, seen(&two).await), (named("First"), named("Second")), "each as its visitor says");
    let queue = moderator.get("/comments").await.expect(200);
    assert_eq!(queue["comments"][0]["article"]["title"], "First");
    assert_eq!(app.list("").await["article"]["title"], Value::Null, "not in public");
    moderator.decide(&one, "approve").await.expect(200);
    assert_eq!(seen(&two).await, named("First"), "what is stored counts");
}

async fn versions_are_honoured(backend: Backend) {
    let app = TestApp::new(backend).await;
    let moderator = app.default_moderator().await;
    let id = held(&app, "text").await;
    let tag = moderator.get(&format!("/comments/{id}")).await.header("etag").to_owned();
    assert_eq!(tag, "\"1\"");
    let with = |decision: &str, tag: &str| {
        moderator.request(Method::POST, &format!("/comments/{id}/{decision}")).header("if-match", tag.to_owned())
    };
    app.send(with("approve", &tag)).await.expect(200);
    assert_eq!(app.send(with("reject", &tag)).await.problem(412), "precondition_failed");
    assert_eq!(app.send(with("reject", "W/\"2\"")).await.problem(412), "precondition_failed");
    app.send(with("reject", "\"7\", \"2\"")).await.expect(200);
    app.send(with("hold", "*")).await.expect(200);
    let remove = moderator.request(Method::DELETE, &format!("/comments/{id}")).header("if-match", "\"1\"");
    assert_eq!(app.send(remove).await.problem(412), "precondition_failed");
}

async fn the_fate_of_replies(backend: Backend) {
    let app = TestApp::new(backend).await;
    let moderator = app.default_moderator().await;
    let root = app.published("root", None).await;
    let reply = app.published("reply", Some(&root)).await;
    let deep = app.published("deep", Some(&reply)).await;
    for decision in ["reject", "hold", "spam"] {
        moderator.decide(&root, decision).await.expect(200);
        assert_eq!(app.listed("").await, [format!("-{root}"), reply.clone(), deep.clone()], "{decision}");
        assert_eq!(app.list("").await["article"]["comment_count"], 2);
    }
    moderator.decide(&reply, "reject").await.expect(200);
    assert_eq!(app.listed("").await, [format!("-{root}"), format!("-{reply}"), deep.clone()]);
    moderator.decide(&deep, "spam").await.expect(200);
    assert!(app.listed("").await.is_empty());
    moderator.decide(&deep, "undo").await.expect(200);
    moderator.decide(&root, "approve").await.expect(200);
    assert_eq!(
        app.listed("").await,
        [root.clone(), format!("-{reply}"), deep.clone()],
        "it comes back when approved again"
    );
    assert_eq!(app.list("").await["comments"][0]["reply_count"], 0);
    moderator.decide(&reply, "approve").await.expect(200);
    assert_eq!(app.list("").await["comments"][0]["reply_count"], 1);
    // A reply that waits while its parent goes: approved later, it brings the mark back.
    let mut late = comment("late");
    late["parent_id"] = json!(deep);
    let late = app.submit(&late).await.expect(202)["comment"]["id"].as_str().unwrap().to_owned();
    app.send(moderator.request(Method::DELETE, &format!("/comments/{deep}"))).await.expect(204);
    assert_eq!(app.listed("").await, [root.clone(), reply.clone()]);
    moderator.decide(&late, "approve").await.expect(200);
    assert_eq!(app.listed("").await, [root, reply, format!("-{deep}"), late]);
}

async fn many_decisions_at_once(backend: Backend) {
    let app = TestApp::new(backend).await;
    let moderator = app.default_moderator().await;
    let mut ids = Vec::new();
    for n in 0..20 {
        ids.push(held(&app, &format!("text {n}")).await);
    }
    let mut asked = ids.clone();
    asked.push("nonsense".into());
    asked.push("0190a000-0000-7000-8000-000000000001".into());
    let body = json!({"decision": "approve", "ids": asked, "versions": {ids[3].clone(): 9, ids[4].clone(): 1}, "reason": "batch"});
    let answer = moderator.post("/decisions", &body).await;
    let named = answer.header("x-request-id").to_owned();
    let answer = answer.expect(200);
    let results = answer["results"].as_array().unwrap();
    assert_eq!(results.len(), 22);
    let request_id = results[3]["problem"]["request_id"].as_str().unwrap();
    assert_eq!((request_id.len(), request_id), (36, named.as_str()), "the one under which the log has it");
    for (n, (result, id)) in results.iter().zip(&asked).enumerate() {
        assert!(result["problem"].is_null() || result["problem"]["request_id"] == request_id, "{result}");
        assert_eq!(result["id"], json!(id), "in the order of the ids");
        match n {
            3 => assert_eq!(
                (result["status"].as_i64(), result["problem"]["code"].as_str()),
                (Some(412), Some("precondition_failed"))
            ),
            20 | 21 => assert_eq!(
                (result["status"].as_i64(), result["problem"]["code"].as_str()),
                (Some(404), Some("not_found"))
            ),
            _ => assert_eq!(
                (result["status"].as_i64(), result["comment"]["status"].as_str()),
                (Some(200), Some("approved"))
            ),
        }
    }
    assert_eq!(app.listed("&limit=200").await.len(), 19);
    assert_eq!(
        moderator.post("/decisions", &json!({"decision": "delete", "ids": []})).await.faults(),
        ["decision unknown_value", "ids out_of_range"]
    );
    let many: Vec<String> = (0..501).map(|_| ids[0].clone()).collect();
    assert_eq!(
        moderator.post("/decisions", &json!({"decision": "hold", "ids": many})).await.faults(),
        ["ids out_of_range"]
    );
    // The same id twice: the second finds the work done.
    let twice = moderator.post("/decisions", &json!({"decision": "spam", "ids": [ids[0], ids[0]]})).await.expect(200);
    assert_eq!(twice["results"][1]["comment"]["previous"]["status"], "spam");
    assert_eq!(twice["results"][1]["comment"]["version"], twice["results"][0]["comment"]["version"]);
}

async fn moderators_learn_nothing_of_other_sites(backend: Backend) {
    let app = TestApp::new(backend).await;
    let new = NewSite { key: SiteKey::parse("other").unwrap(), name: "Other".into(), url: None, origins: Vec::new() };
    let other = app.service.add_site(new).await.unwrap();
    let (own, foreign) =
        (app.default_moderator().await, app.moderator("other@example.org", Role::Moderator, &[&other]).await);
    let admin = app.moderator("admin@example.org", Role::Admin, &[]).await;
    let id = held(&app, "on default").await;
    assert_eq!(own.queue("?status=all").await, std::slice::from_ref(&id));
    assert_eq!(admin.queue("?status=all").await, std::slice::from_ref(&id));
    assert!(foreign.queue("?status=all").await.is_empty());
    assert!(foreign.queue("?status=all&q=default").await.is_empty());
    assert!(foreign.queue("?status=all&article=/a").await.is_empty());
    // To someone of another site an existing comment looks like one that is not there.
    let missing = "0190a000-0000-7000-8000-000000000001";
    for (method, path) in [
        (Method::GET, ""),
        (Method::POST, "/approve"),
        (Method::POST, "/undo"),
        (Method::POST, "/discard-edit"),
        (Method::DELETE, ""),
    ] {
        let real = app.send(foreign.request(method.clone(), &format!("/comments/{id}{path}"))).await;
        let none = app.send(foreign.request(method.clone(), &format!("/comments/{missing}{path}"))).await;
        let (mut real, mut none) = (real.expect(404), none.expect(404));
        for problem in [&mut real, &mut none] {
            problem["request_id"] = Value::Null;
        }
        assert_eq!(real, none, "{method} {path}");
    }
    let patch = foreign.request(Method::PATCH, &format!("/comments/{id}")).json(&json!({"body": "x"}));
    assert_eq!(app.send(patch).await.problem(404), "not_found");
    let bulk = foreign.post("/decisions", &json!({"decision": "approve", "ids": [id, missing]})).await.expect(200);
    assert_eq!((bulk["results"][0]["status"].as_i64(), bulk["results"][1]["status"].as_i64()), (Some(404), Some(404)));
    assert_eq!(foreign.get("/comments?site=default").await.problem(404), "not_found");
    assert_eq!(foreign.get("/comments?site=nowhere").await.problem(404), "not_found");
    assert_eq!(foreign.get(&format!("/events?comment={id}")).await.problem(404), "not_found");
    assert!(foreign.get("/events").await.expect(200)["events"].as_array().unwrap().is_empty());
    let summary = foreign.get("/summary").await.expect(200);
    assert_eq!(summary["counts"]["pending"], 0);
    assert_eq!(summary["sites"].as_object().unwrap().keys().collect::<Vec<_>>(), ["other"]);
    assert_eq!(own.get("/summary").await.expect(200)["counts"]["pending"], 1);
}

async fn the_queue_is_filtered_and_paged(backend: Backend) {
    let app = TestApp::new(backend).await;
    let moderator = app.default_moderator().await;
    let mut ids = Vec::new();
    for n in 0..12 {
        app.clock.advance(std::time::Duration::from_secs(1));
        ids.push(held(&app, &format!("text {n} {}", if n % 3 == 0 { "lemon" } else { "cherry" })).await);
    }
    assert_eq!(moderator.queue("").await, ids);
    let reversed: Vec<String> = ids.iter().rev().cloned().collect();
    for (sort, expected) in [("oldest", &ids), ("newest", &reversed)] {
        let (mut paged, mut cursor) = (Vec::new(), String::new());
        loop {
            let page = moderator.get(&format!("/comments?sort={sort}&limit=5&cursor={cursor}")).await.expect(200);
            paged.extend(page["comments"].as_array().unwrap().iter().map(|row| row["id"].as_str().unwrap().to_owned()));
            match page["next_cursor"].as_str() {
                Some(next) => next.clone_into(&mut cursor),
                None => break,
            }
        }
        assert_eq!(&paged, expected);
    }
    assert_eq!(moderator.queue("?q=lemon").await.len(), 4);
    assert_eq!(moderator.queue("?q=lem%20text").await.len(), 4);
    assert_eq!(moderator.queue("?q=nothing").await.len(), 0);
    moderator.decide(&ids[0], "approve").await.expect(200);
    assert_eq!(moderator.queue("?status=approved").await, [ids[0].clone()]);
    assert_eq!(moderator.queue("?status=all&article=/a&site=default").await.len(), 12);
    assert_eq!(moderator.queue("?article=/b").await.len(), 0);
    let faults = moderator.get("/comments?status=removed&sort=up&limit=0&q=a&q=b").await.faults();
    assert_eq!(faults, ["sort unknown_value", "status unknown_value", "limit out_of_range", "q given_twice"]);
    assert_eq!(moderator.get("/comments?cursor=!!").await.problem(400), "malformed_request");
    let first = moderator.get("/comments?limit=1").await.expect(200)["next_cursor"].as_str().unwrap().to_owned();
    assert_eq!(moderator.get(&format!("/comments?sort=newest&cursor={first}")).await.problem(400), "malformed_request");
}

async fn correcting_and_removing(backend: Backend) {
    let app = TestApp::new(backend).await;
    let moderator = app.default_moderator().await;
    let id = app.published("tpyo", None).await;
    let patch = |body: Value| app.send(moderator.request(Method::PATCH, &format!("/comments/{id}")).json(&body));
    let corrected = patch(json!({"body": "typo", "website": "https://x.example"})).await.expect(200);
    assert_eq!((corrected["body"].as_str(), corrected["email"].as_str()), (Some("typo"), Some("ada@example.org")));
    let public = app.list("").await["comments"][0].clone();
    assert_eq!((public["body_html"].as_str(), public["edited_at"].is_string()), (Some("<p>typo</p>"), true));
    assert_eq!(
        patch(json!({"body": "<script>alert(1)</script> [x](javascript:alert(1))"})).await.expect(200)["body_html"],
        "<p>&lt;script&gt;alert(1)&lt;/script&gt; [x](javascript:alert(1))</p>"
    );
    assert_eq!(patch(json!({"status": "approved"})).await.faults(), ["status unknown_field"]);
    app.send(moderator.request(Method::DELETE, &format!("/comments/{id}"))).await.expect(204);
    assert_eq!(moderator.get(&format!("/comments/{id}")).await.problem(404), "not_found");
    assert!(app.listed("").await.is_empty());
    let log = moderator.get(&format!("/events?comment={id}")).await.expect(200);
    assert_eq!(log["events"][0]["action"], "removed");
}

async fn the_log_and_the_summary(backend: Backend) {
    let app = TestApp::new(backend).await;
    let moderator = app.default_moderator().await;
    let first = held(&app, "one").await;
    app.clock.advance(std::time::Duration::from_secs(90));
    let second = held(&app, "two").await;
    let summary = moderator.get("/summary").await.expect(200);
    assert_eq!(summary["counts"], json!({"pending": 2, "approved": 0, "rejected": 0, "spam": 0}));
    assert_eq!(
        (summary["oldest_pending_at"].as_str(), summary["oldest_pending_age"].as_i64()),
        (Some("2026-01-01T00:00:00.000000Z"), Some(90))
    );
    moderator.decide(&first, "approve").await.expect(200);
    moderator.decide(&second, "spam").await.expect(200);
    let summary = moderator.get("/summary").await.expect(200);
    assert_eq!(summary["sites"]["default"], json!({"pending": 0, "approved": 1, "rejected": 0, "spam": 1}));
    assert_eq!(summary["oldest_pending_at"], Value::Null);
    let page = moderator.get("/events?limit=3").await.expect(200);
    assert_eq!(page["events"][0]["action"], "marked_spam");
    let cursor = page["next_cursor"].as_str().unwrap();
    let rest = moderator.get(&format!("/events?limit=3&cursor={cursor}")).await.expect(200);
    assert_eq!((rest["events"].as_array().unwrap().len(), &rest["next_cursor"]), (1, &Value::Null));
}

async fn tokens_end(backend: Backend) {
    let app = TestApp::new(backend).await;
    let moderator = app.default_moderator().await;
    assert_eq!(app.get("/api/v1/moderation/comments").await.problem(401), "unauthenticated");
    moderator.get("/comments").await.expect(200);
    app.clock.advance(std::time::Duration::from_hours(8760));
    let over = moderator.get("/comments").await;
    assert_eq!(over.header("www-authenticate"), "Bearer");
    assert_eq!(over.problem(401), "unauthenticated");
}
