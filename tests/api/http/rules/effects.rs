//! What rules do to comments, and what stands beside those.

use reqwest::Method;
use serde_json::{Value, json};

use super::{id, open_house, patch, rule, says, seen};
use crate::support::app::{TestApp, comment};
use crate::support::database::{Backend, on_both_databases};

on_both_databases!(
    a_new_site_has_the_ready_made_rules,
    a_rule_decides_and_says_so,
    points_add_up_until_somebody_decides,
    the_honeypot_outweighs_every_rule,
    outside_nobody_can_tell_what_rules_decided,
    edits_are_judged,
    other_instances_follow,
    what_decides_may_be_undone
);

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
    // What spoke against a text goes with it.
    moderator.post("/rules", &rule("Odd", &says("odd"), &json!({"score": 1}))).await.expect(201);
    let odd = app.submit(&comment("an odd text")).await.expect(201);
    let marks = |seen: &Value| (seen["spam_score"].clone(), seen["hold_reasons"].as_array().unwrap().len());
    assert_eq!(marks(&seen(&moderator, &odd).await), (json!(1.0), 1));
    edit(&odd, "another text").await.expect(200);
    assert_eq!(marks(&seen(&moderator, &odd).await), (Value::Null, 0));
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

async fn what_decides_may_be_undone(backend: Backend) {
    let app = open_house(backend).await;
    let moderator = app.default_moderator().await;
    moderator.post("/rules", &rule("x", &says("casino"), &json!({"decide": "spam"}))).await.expect(201);
    let spam = app.submit(&comment("casino")).await.expect(202);
    let id = spam["comment"]["id"].as_str().unwrap();
    assert_eq!(moderator.decide(id, "undo").await.expect(200)["status"], "pending");
    assert_eq!(moderator.decide(id, "approve").await.expect(200)["status"], "approved");
}
