//! The headers of every page that a browser shows, graded as Mozilla's Observatory does (mdn/mdn-http-observatory,
//! `src/grader/charts.js` as of 2025: a page begins with 100 points, loses some for what is missing, and gets extra ones
//! above 90): A+ is 100 and more.

use std::collections::BTreeSet;

use afterword::storage::accounts::Role;
use reqwest::Method;
use serde_json::json;

use crate::support::app::{Answer, TestApp};
use crate::support::database::{Backend, on_both_databases};
use crate::support::desk::{PASSWORD, cookies};
use crate::support::mails::Read;

on_both_databases!(every_page_is_graded_a_plus);

fn directives(policy: &str) -> Vec<(String, BTreeSet<String>)> {
    let directive = |text: &str| {
        let mut words = text.split_whitespace().map(str::to_lowercase);
        Some((words.next()?, words.collect()))
    };
    policy.split(';').filter_map(directive).collect()
}

/// What the policy earns: 10 with `default-src 'none'` and nothing unsafe, a loss for anything that lets scripts in.
fn policy_score(policy: &str) -> i32 {
    let all = directives(policy);
    let is_unsafe = |word: &String| {
        word.contains("unsafe") || word == "*" || word == "http:" || word == "https:" || word == "data:"
    };
    let get = |name: &str| all.iter().find(|(known, _)| known == name).map(|(_, words)| words);
    let none = |name: &str| get(name).is_some_and(|words| words.len() == 1 && words.contains("'none'"));
    let runs = ["script-src", "object-src", "default-src"].iter().filter_map(|name| get(name));
    if runs.flatten().any(is_unsafe) {
        return -20;
    }
    if get("style-src").is_some_and(|words| words.iter().any(is_unsafe)) {
        return 0;
    }
    if none("default-src") { 10 } else { 5 }
}

/// Points of a page, with the reasons for what it lost.
fn grade(answer: &Answer, secure: bool) -> (i32, Vec<&'static str>) {
    let (mut losses, mut extra, mut why) = (0, 0, Vec::new());
    let mut lose = |points: i32, reason| {
        losses += points;
        why.push(reason);
    };
    let policy = answer.header("content-security-policy");
    match policy_score(policy) {
        _ if policy.is_empty() => lose(25, "no policy"),
        points if points < 0 => lose(-points, "an unsafe policy"),
        points => extra += points,
    }
    let no_frames =
        directives(policy).iter().any(|(name, words)| name == "frame-ancestors" && words.contains("'none'"));
    if no_frames {
        extra += 5;
    } else {
        lose(20, "may be framed");
    }
    if answer.header("x-content-type-options") != "nosniff" {
        lose(5, "may be sniffed");
    }
    if ["no-referrer", "same-origin", "strict-origin"].contains(&answer.header("referrer-policy")) {
        extra += 5;
    } else {
        lose(5, "tells where readers come from");
    }
    let age = answer
        .header("strict-transport-security")
        .strip_prefix("max-age=")
        .and_then(|age| age.split(';').next()?.parse::<u64>().ok());
    // Half a year at least.
    if secure && age.is_none_or(|age| age < 15_768_000) {
        lose(20, "http is allowed");
    }
    if answer.header("cross-origin-resource-policy") == "same-origin" {
        extra += 10;
    } else {
        lose(0, "may be embedded");
    }
    if answer.header("cross-origin-opener-policy") != "same-origin" {
        lose(5, "keeps its opener");
    }
    if !answer.header("access-control-allow-credentials").is_empty() {
        lose(50, "shares what it shows to whoever is signed in");
    }
    for cookie in cookies(answer) {
        let has = |what: &str| cookie.split("; ").any(|part| part == what);
        if !has("HttpOnly") || !has("SameSite=Strict") || (secure && !has("Secure")) {
            lose(40, "a cookie is open");
        }
    }
    let score = 100 - losses;
    (if score >= 90 { score + extra } else { score }, why)
}

async fn every_page_is_graded_a_plus(backend: Backend) {
    let first = TestApp::build(backend)
        .set("server__public_url", "https://c.example")
        .set("limits__enabled", "false")
        .set("demo__enabled", "true");
    let app = first.start().await;
    app.account("ann@blog.example", Role::Admin).await;
    app.default_moderator().await;
    app.comment("Hello").await;
    let mail = app.run_jobs().await.pop().expect("a mail about the comment");
    let text = Read::of(&mail).text;
    let token = |kind: &str| text.split(kind).nth(1).map(|rest| rest.split_whitespace().next().unwrap().to_owned());
    let (decide, stop) = (token("https://c.example/m/").unwrap(), token("https://c.example/u/").unwrap());
    let form = |path: &str| app.request(Method::POST, path).header("content-type", "application/x-www-form-urlencoded");
    let faulty = "article=/a&name=&email=x&body=&return_to=https://c.example/";
    let pages = vec![
        app.request(Method::GET, &format!("/m/{decide}")),
        app.request(Method::GET, "/m/forged"),
        app.request(Method::GET, &format!("/u/{stop}")),
        app.request(Method::GET, "/u/forged"),
        app.request(Method::GET, "/errors/busy"),
        app.request(Method::GET, "/errors/second_factor_required"),
        form("/api/v1/sites/default/comments").body(faulty),
        form(&format!("/m/{decide}")).body(""),
    ];
    let mut graded = 0;
    for page in pages {
        let answer = app.send(page).await;
        let kind = answer.header("content-type");
        assert!(kind.starts_with("text/html"), "{kind}: {}", answer.text());
        let (points, why) = grade(&answer, true);
        assert!(points >= 100 && why.is_empty(), "{points} {why:?}: {:?}", answer.headers);
        graded += 1;
    }
    assert_eq!(graded, 8);
    for path in ["/admin/", "/demo/"] {
        let answer = app.get(path).await;
        assert_eq!(answer.status, 200, "{path}");
        let (points, why) = grade(&answer, true);
        assert!(points >= 100 && why.is_empty(), "{path}: {points} {why:?}: {:?}", answer.headers);
    }
    let request = app.request(Method::POST, "/api/v1/session").header("origin", "https://c.example");
    let answer = app.send(request.json(&json!({"email": "ann@blog.example", "password": PASSWORD}))).await;
    assert_eq!(cookies(&answer).len(), 2);
    assert!(!grade(&answer, true).1.contains(&"a cookie is open"));
    // The scale itself: a page without headers fails, one unsafe word costs the plus.
    let plain = app.get("/healthz").await;
    assert!(grade(&plain, true).0 < 50);
    assert!(policy_score("default-src 'none'; script-src 'self' 'unsafe-inline'") < 0);
}
