//! Mails to people who wrote comments: nothing but one question before they have said yes, approved replies and approvals
//! after it, and an end by one click.

use std::time::Duration;

use reqwest::Method;
use serde_json::json;

use super::defences::set;
use crate::support::app::{TestApp, comment};
use crate::support::database::{Backend, on_both_databases};
use crate::support::mails::Read;
use crate::support::testdata;

on_both_databases!(
    a_question_first_and_nothing_else,
    replies_are_told_once,
    an_approval_is_told_once,
    what_is_not_public_any_more_tells_nobody,
    one_click_ends_it,
    never_means_never_on_any_site,
    what_speaks_against_itself_asks_nobody,
    ten_thousand_strangers_get_no_more_than_the_ceiling,
    many_replies_are_gathered,
    strangers_words_stay_dead,
    a_rotation_takes_them_along
);

const READER: &str = "reader@example.net";
const DAY: Duration = Duration::from_hours(24);

/// Sends a comment of the reader that asks for mails; returns its id.
async fn asks(app: &TestApp, text: &str) -> String {
    app.clock.advance(Duration::from_secs(1));
    let mut body = comment(text);
    (body["email"], body["name"], body["notify"]) = (json!(READER), json!("Rita Reader"), json!(true));
    let answer = app.submit(&body).await;
    assert!(answer.status.is_success(), "{}", answer.text());
    answer.json()["comment"]["id"].as_str().unwrap().to_owned()
}

/// Sends a reply of somebody else; returns its id.
async fn reply(app: &TestApp, parent: &str, text: &str) -> String {
    app.clock.advance(Duration::from_secs(1));
    let mut body = comment(text);
    body["parent_id"] = json!(parent);
    app.submit(&body).await.expect(202)["comment"]["id"].as_str().unwrap().to_owned()
}

/// The mails to the reader that leave now.
async fn mails(app: &TestApp) -> Vec<Read> {
    let all = app.run_jobs().await;
    let mails = all.iter().map(|mail| Read::of(mail));
    mails.filter(|mail| mail.header("To").contains(READER)).collect()
}

async fn decide(app: &TestApp, id: &str, decision: &str) {
    app.clock.advance(Duration::from_secs(1));
    app.default_moderator().await.decide(id, decision).await.expect(200);
}

async fn press(app: &TestApp, path: &str) -> u16 {
    app.send(app.request(Method::POST, path)).await.status.as_u16()
}

/// A public comment of a reader who has said yes.
async fn confirmed(app: &TestApp) -> String {
    let id = asks(app, "tell me").await;
    let question = mails(app).await.remove(0);
    assert_eq!(press(app, &question.links("/c/")[0]).await, 200);
    decide(app, &id, "approve").await;
    assert_eq!(mails(app).await.len(), 1, "the approval");
    id
}

async fn a_question_first_and_nothing_else(backend: Backend) {
    let app = TestApp::new(backend).await;
    let mut body = comment("secret words");
    (body["email"], body["name"], body["notify"]) = (json!(READER), json!("Mallory"), json!(true));
    body["article_title"] = json!("Buy pills");
    let id = app.submit(&body).await.expect(202)["comment"]["id"].as_str().unwrap().to_owned();
    let all = mails(&app).await;
    assert_eq!(all.len(), 1);
    let question = &all[0];
    assert!(question.header("Subject").contains("May we tell you of replies"), "{:?}", question.headers);
    for words in ["secret", "Mallory", "pills"] {
        assert!(!question.text.contains(words) && !question.html.contains(words), "{words}: {}", question.text);
    }
    assert!(question.text.contains("“/a”"), "{}", question.text);
    let (yes, never) = (question.links("/c/").remove(0), question.links("/n/").remove(0));
    assert!(question.header("List-Unsubscribe").contains(&never));
    assert_eq!(question.header("List-Unsubscribe-Post"), "List-Unsubscribe=One-Click");
    // A day without an answer: no second question, and nothing of what happens.
    asks(&app, "another one").await;
    decide(&app, &id, "approve").await;
    let answer = reply(&app, &id, "an answer").await;
    decide(&app, &answer, "approve").await;
    assert!(mails(&app).await.is_empty());
    // Looking changes nothing, as often as it may be.
    for _ in 0..3 {
        let page = app.get(&yes).await;
        assert!(page.status == 200 && page.text().contains("<form method=\"post\">"), "{}", page.text());
        assert_eq!(page.header("cache-control"), "no-store");
        assert_eq!(page.header("referrer-policy"), "no-referrer");
        assert_eq!(page.header("x-robots-tag"), "noindex");
    }
    let second = reply(&app, &id, "a second answer").await;
    decide(&app, &second, "approve").await;
    assert!(mails(&app).await.is_empty(), "still no yes");
    app.clock.advance(DAY);
    asks(&app, "the next day").await;
    assert_eq!(mails(&app).await.len(), 1, "it may be asked again");
    assert_eq!(press(&app, &yes).await, 200);
    assert_eq!(press(&app, &yes).await, 200, "again is the same");
    asks(&app, "after the yes").await;
    assert!(mails(&app).await.is_empty(), "no new question");
    app.clock.advance(DAY * 8);
    let over = app.get(&yes).await;
    assert!(over.status == 410 && over.text().contains("until the address says no"), "{}", over.text());
    assert_eq!(app.get(&format!("{yes}x")).await.status, 404);
    assert_eq!(app.get(&never.replace("/n/", "/c/")).await.status, 404, "each kind has a key of its own");
}

async fn replies_are_told_once(backend: Backend) {
    let app = TestApp::new(backend).await;
    let mine = confirmed(&app).await;
    let held = reply(&app, &mine, "an answer").await;
    assert!(mails(&app).await.is_empty(), "a held reply tells nobody");
    let spam = reply(&app, &mine, "buy now").await;
    decide(&app, &spam, "spam").await;
    assert!(mails(&app).await.is_empty());
    decide(&app, &held, "approve").await;
    let told = mails(&app).await;
    assert_eq!(told.len(), 1);
    assert!(told[0].text.contains("> an answer") && told[0].text.contains("Ada replied"), "{}", told[0].text);
    assert!(!told[0].text.contains("ada@example.org") && !told[0].html.contains("ada@example.org"));
    assert!(told[0].header("List-Unsubscribe").contains("/n/"));
    for decision in ["reject", "approve", "hold", "approve"] {
        decide(&app, &held, decision).await;
    }
    assert!(mails(&app).await.is_empty(), "back and forth tells once");
    // One's own reply tells nobody; a staff reply does.
    app.clock.advance(Duration::from_secs(1));
    let mut own = comment("my own answer");
    (own["email"], own["parent_id"]) = (json!("READER@example.net"), json!(mine));
    let own = app.submit(&own).await.expect(202)["comment"]["id"].as_str().unwrap().to_owned();
    decide(&app, &own, "approve").await;
    assert!(mails(&app).await.is_empty());
    let moderator = app.default_moderator().await;
    app.clock.advance(Duration::from_secs(1));
    moderator.post(&format!("/comments/{mine}/reply"), &json!({"body": "from the staff"})).await.expect(201);
    let told = mails(&app).await;
    assert!(told.len() == 1 && told[0].text.contains("> from the staff"), "{told:?}");
}

async fn an_approval_is_told_once(backend: Backend) {
    let app = TestApp::new(backend).await;
    confirmed(&app).await;
    let id = asks(&app, "the second").await;
    decide(&app, &id, "approve").await;
    let told = mails(&app).await;
    assert_eq!(told.len(), 1);
    assert!(told[0].text.contains("is public now") && !told[0].text.contains("the second"), "{}", told[0].text);
    decide(&app, &id, "reject").await;
    decide(&app, &id, "approve").await;
    assert!(mails(&app).await.is_empty());
    let app = TestApp::new(backend).await;
    set(&app, json!({"moderation": "none"})).await;
    asks(&app, "public at once").await;
    let question = mails(&app).await.remove(0);
    press(&app, &question.links("/c/")[0]).await;
    asks(&app, "public at once, too").await;
    assert!(mails(&app).await.is_empty(), "it was never held");
}

async fn what_is_not_public_any_more_tells_nobody(backend: Backend) {
    let app = TestApp::new(backend).await;
    let mine = confirmed(&app).await;
    let moderator = app.default_moderator().await;
    let undone = reply(&app, &mine, "undone").await;
    decide(&app, &undone, "approve").await;
    moderator.post(&format!("/comments/{undone}/undo"), &json!({})).await.expect(200);
    assert!(mails(&app).await.is_empty(), "an undo before the mail left cancels it");
    decide(&app, &undone, "approve").await;
    assert_eq!(mails(&app).await.len(), 1, "now it is true");
    let removed = reply(&app, &mine, "removed").await;
    decide(&app, &removed, "approve").await;
    app.send(moderator.request(Method::DELETE, &format!("/comments/{removed}"))).await.expect(204);
    let other = reply(&app, &mine, "the parent goes").await;
    decide(&app, &other, "approve").await;
    decide(&app, &mine, "reject").await;
    assert!(mails(&app).await.is_empty());
}

async fn one_click_ends_it(backend: Backend) {
    let app = TestApp::new(backend).await;
    let mine = confirmed(&app).await;
    let first = reply(&app, &mine, "one").await;
    decide(&app, &first, "approve").await;
    let stop = mails(&app).await[0].links("/n/").remove(0);
    for _ in 0..3 {
        assert!(app.get(&stop).await.text().contains("<form method=\"post\">"));
    }
    let click = app.request(Method::POST, &stop).header("content-type", "application/x-www-form-urlencoded");
    assert_eq!(app.send(click.body("List-Unsubscribe=One-Click")).await.status, 200);
    let second = reply(&app, &mine, "two").await;
    decide(&app, &second, "approve").await;
    assert!(mails(&app).await.is_empty());
    assert!(!app.get(&stop).await.text().contains("<form"), "it has ended");
    app.clock.advance(DAY);
    asks(&app, "I want it again").await;
    assert!(mails(&app).await[0].header("Subject").contains("May we"), "it is asked anew");
}

async fn never_means_never_on_any_site(backend: Backend) {
    let app = TestApp::new(backend).await;
    app.service
        .make_site(
            "other",
            afterword::service::site_changes::SiteOrder {
                raw: afterword::service::site_changes::RawSite { name: Some("Other".into()), ..Default::default() },
                faults: Vec::new(),
            },
        )
        .await
        .unwrap();
    let id = asks(&app, "one").await;
    let question = mails(&app).await.remove(0);
    assert_eq!(press(&app, &question.links("/n/")[0]).await, 200);
    assert_eq!(press(&app, &question.links("/c/")[0]).await, 410, "the no stands");
    app.clock.advance(DAY * 40);
    afterword::jobs::housekeeping::sweep(&app.service).await.unwrap();
    decide(&app, &id, "approve").await;
    asks(&app, "two").await;
    let mut body = comment("elsewhere");
    (body["email"], body["notify"]) = (json!(READER), json!(true));
    app.post("/api/v1/sites/other/comments", &body).await.expect(202);
    assert!(mails(&app).await.is_empty());
}

async fn what_speaks_against_itself_asks_nobody(backend: Backend) {
    let app = TestApp::new(backend).await;
    let send = async |change: serde_json::Value, n: u32| {
        app.clock.advance(Duration::from_secs(1));
        let mut body = comment(&format!("text {n}"));
        (body["email"], body["notify"]) = (json!(READER), json!(true));
        for (key, value) in change.as_object().unwrap() {
            body[key] = value.clone();
        }
        app.submit(&body).await.expect(202)["comment"]["id"].as_str().unwrap().to_owned()
    };
    let honeypot = send(json!({"company": "x"}), 1).await;
    let links = send(json!({"body": "http://a.example http://b.example http://c.example http://d.example"}), 2).await;
    assert!(mails(&app).await.is_empty());
    decide(&app, &links, "reject").await;
    assert!(mails(&app).await.is_empty());
    decide(&app, &honeypot, "approve").await;
    assert_eq!(mails(&app).await.len(), 1, "a person has looked at it");
    let refused = reply(&app, &honeypot, "spam soon").await;
    decide(&app, &refused, "spam").await;
    assert!(mails(&app).await.is_empty());
}

async fn ten_thousand_strangers_get_no_more_than_the_ceiling(backend: Backend) {
    let app = TestApp::new(backend).await;
    set(&app, json!({"moderation": "none"})).await;
    let (mut left, total) = (0, 10_000);
    for batch in 0..100 {
        let posts = (0..100).map(|n| {
            let mut body = comment(&format!("text {batch} {n}"));
            let stranger = format!("stranger{batch}-{n}@example.net");
            (body["email"], body["notify"], body["article"]) = (json!(stranger), json!(true), json!(format!("/{n}")));
            let request = app.request(Method::POST, "/api/v1/sites/default/comments").json(&body);
            async move { request.send().await.unwrap().status().as_u16() }
        });
        let sent = futures_util::future::join_all(posts).await;
        assert!(sent.iter().all(|status| *status == 201), "{sent:?}");
        app.clock.advance(Duration::from_secs(30));
        left += app.run_jobs().await.len();
    }
    assert_eq!(total, 10_000);
    assert_eq!(left, 200, "100 batches took less than an hour");
    app.clock.advance(Duration::from_hours(2));
    assert!(app.run_jobs().await.is_empty(), "what came above was dropped, not put off");
    asks(&app, "an honest one").await;
    assert_eq!(app.run_jobs().await.len(), 1);
}

async fn many_replies_are_gathered(backend: Backend) {
    let app = TestApp::new(backend).await;
    let mine = confirmed(&app).await;
    app.clock.advance(Duration::from_hours(2));
    let moderator = app.default_moderator().await;
    let mut ids = Vec::new();
    for n in 0..12 {
        ids.push(reply(&app, &mine, &format!("reply number {n}.")).await);
    }
    moderator.post("/decisions", &json!({"decision": "approve", "ids": ids})).await.expect(200);
    let told = mails(&app).await;
    assert_eq!(told.len(), 5, "one mail each up to the ceiling");
    app.clock.advance(Duration::from_mins(30));
    assert!(mails(&app).await.is_empty());
    decide(&app, ids.last().unwrap(), "reject").await;
    app.clock.advance(Duration::from_mins(40));
    let gathered = mails(&app).await;
    assert_eq!(gathered.len(), 1);
    assert_eq!(gathered[0].text.matches("replied to your comment").count(), 6, "seven less one: {}", gathered[0].text);
    app.clock.advance(Duration::from_hours(2));
    assert!(mails(&app).await.is_empty());
}

async fn strangers_words_stay_dead(backend: Backend) {
    let app = TestApp::new(backend).await;
    let mine = confirmed(&app).await;
    let mut hostile: Vec<String> = vec![
        "see https://evil.example/x and www.evil.example and a@evil.example <a href=\"https://evil.example\">x</a>"
            .into(),
        "<img src=x onerror=alert(1)> [click](https://evil.example) ![i](https://evil.example/i.png)".into(),
    ];
    hostile.extend(testdata::strings("naughty/blns.json", None).unwrap_or_default().into_iter().step_by(12));
    let moderator = app.default_moderator().await;
    let mut sent = 0;
    for (n, text) in hostile.iter().enumerate() {
        app.clock.advance(Duration::from_hours(2));
        let mut body = comment(&format!("{text} {n}"));
        (body["parent_id"], body["name"]) = (json!(mine), json!(format!("Bcc: x@evil.example {n}")));
        let answer = app.submit(&body).await;
        if answer.status != 202 {
            continue;
        }
        let id = answer.json()["comment"]["id"].as_str().unwrap().to_owned();
        moderator.decide(&id, "approve").await.expect(200);
        let told = mails(&app).await;
        assert_eq!(told.len(), 1, "{text}");
        sent += 1;
        is_dead(&app, &told[0]);
    }
    assert!(sent >= 2);
}

/// The headers are ours, each once; all links lead to us; nothing else looks like an address.
fn is_dead(app: &TestApp, mail: &Read) {
    let mut names: Vec<&str> = mail.headers.iter().map(|(name, _)| name.as_str()).collect();
    names.sort_unstable();
    let ours = [
        "Auto-Submitted",
        "Content-Type",
        "Date",
        "From",
        "List-Unsubscribe",
        "List-Unsubscribe-Post",
        "MIME-Version",
        "Message-ID",
        "Subject",
        "To",
    ];
    assert_eq!(names, ours);
    let html = mail.html.replace("&#x2f;", "/").replace("&amp;", "&");
    for link in html.split("<a ").skip(1) {
        let target = link.split("href=\"").nth(1).unwrap();
        assert!(target.starts_with(&app.url), "{target}");
    }
    let body = html.split("<div class=\"letter\">").nth(1).unwrap();
    let tags: std::collections::BTreeSet<&str> =
        body.split('<').skip(1).map(|tag| tag.split([' ', '>']).next().unwrap()).collect();
    let allowed = ["h1", "/h1", "div", "/div", "br", "p", "/p", "a", "/a", "/body", "/html"];
    assert!(tags.iter().all(|tag| allowed.contains(tag)), "{tags:?}");
    let quoted = mail.text.lines().filter(|line| line.starts_with('>') || line.contains("replied to"));
    for line in quoted {
        for alive in ["://", "evil.example", "@evil", "www."] {
            assert!(!line.contains(alive), "{alive} in {line}");
        }
    }
}

async fn a_rotation_takes_them_along(backend: Backend) {
    let app = TestApp::new(backend).await;
    let mine = confirmed(&app).await;
    let command = super::rotation::command(&app).await;
    super::rotation::begin(&app, &command).await;
    super::rotation::go_to_the_end(&command).await;
    command.end_rotation().await.unwrap();
    app.service.refresh_keys().await.unwrap();
    command.keys.forget_others(&mut command.keys.hold_file().unwrap()).unwrap();
    app.service.refresh_keys().await.unwrap();
    let answer = reply(&app, &mine, "after the rotation").await;
    decide(&app, &answer, "approve").await;
    let told = mails(&app).await;
    assert!(told.len() == 1 && told[0].text.contains("> after the rotation"), "{told:?}");
    asks(&app, "known under the new key").await;
    assert!(mails(&app).await.is_empty(), "no new question");
}
