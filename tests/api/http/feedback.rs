//! Votes, reactions, flags: one of each for a visitor, exact counts whoever else writes, a second look that flags bring and
//! a decision that stands.

use std::time::Duration;

use afterword::storage::accounts::Role;
use futures_util::future::join_all;
use reqwest::Method;
use serde_json::{Value, json};

use super::administration::call;
use super::promises::over_or_waiting;
use crate::support::app::{Answer, Builder, TestApp, comment};
use crate::support::database::{Backend, on_both_databases};

on_both_databases!(
    a_vote_is_one_for_each_visitor,
    many_vote_and_react_at_once,
    votes_come_to_the_lists,
    reactions_are_those_of_the_site,
    three_flags_hold_a_comment_once,
    what_is_not_public_takes_nothing,
    feedback_is_limited,
    a_merge_makes_nobody_two,
    taking_nothing_back_makes_no_article,
    an_unknown_article_costs_no_turn,
    what_visitors_said_goes_with_time_and_with_the_comment
);

fn behind_a_proxy(backend: Backend) -> Builder {
    TestApp::build(backend).set("server__trusted_proxies", "127.0.0.1").set("limits__enabled", "false")
}

async fn send(app: &TestApp, from: &str, (method, path): (Method, &str), body: Value) -> Answer {
    app.send(app.request(method, path).header("x-forwarded-for", from.to_owned()).json(&body)).await
}

async fn vote(app: &TestApp, from: &str, id: &str, value: i64) -> Value {
    let path = format!("/api/v1/comments/{id}/vote");
    send(app, from, (Method::PUT, &path), json!({"value": value})).await.expect(200)
}

async fn react(app: &TestApp, from: &str, article: &str, reaction: Value) -> Answer {
    let path = format!("/api/v1/sites/default/reactions?article={article}");
    send(app, from, (Method::PUT, &path), json!({"reaction": reaction})).await
}

async fn flag(app: &TestApp, from: &str, id: &str, body: Value) -> Answer {
    send(app, from, (Method::POST, &format!("/api/v1/comments/{id}/flags")), body).await
}

async fn set(app: &TestApp, changes: Value) {
    let token = app.moderator("root@example.org", Role::Admin, &[]).await.token;
    call(app, &token, "PATCH", "/api/v1/sites/default", changes).await.expect(200);
}

async fn a_vote_is_one_for_each_visitor(backend: Backend) {
    let app = behind_a_proxy(backend).start().await;
    let id = app.published("vote on me", None).await;
    let votes = |up: i64, down: i64, yours: i64| json!({"votes": {"up": up, "down": down}, "yours": yours});
    assert_eq!(vote(&app, "203.0.113.1", &id, 1).await, votes(1, 0, 1));
    assert_eq!(vote(&app, "203.0.113.1", &id, 1).await, votes(1, 0, 1), "again");
    assert_eq!(vote(&app, "203.0.113.1", &id, -1).await, votes(0, 1, -1), "otherwise");
    assert_eq!(vote(&app, "203.0.113.2", &id, -1).await, votes(0, 2, -1), "somebody else");
    assert_eq!(vote(&app, "203.0.113.1", &id, 0).await, votes(0, 1, 0), "taken back");
    assert_eq!(vote(&app, "203.0.113.1", &id, 0).await, votes(0, 1, 0));
    // One household, whichever of its addresses it takes.
    for n in 0..20 {
        assert_eq!(vote(&app, &format!("2001:db8::{n:x}:1"), &id, 1).await, votes(1, 1, 1), "{n}");
    }
    assert_eq!(vote(&app, "2001:db8:0:1::1", &id, 1).await, votes(2, 1, 1), "the next one");
    // A month later it is still the same visitor, also on the border between two months.
    for _ in 0..3 {
        app.clock.advance(Duration::from_hours(29 * 24));
        assert_eq!(vote(&app, "2001:db8::5", &id, 1).await, votes(2, 1, 1));
        assert_eq!(vote(&app, "2001:db8::5", &id, -1).await, votes(1, 2, -1));
        assert_eq!(vote(&app, "2001:db8::5", &id, 1).await, votes(2, 1, 1));
    }
    let path = format!("/api/v1/comments/{id}/vote");
    let put = async |body: Value| send(&app, "203.0.113.9", (Method::PUT, &path), body).await;
    assert_eq!(put(json!({"value": 2})).await.faults(), ["value unknown_value"]);
    assert_eq!(put(json!({"value": "1", "x": 1})).await.faults(), ["value wrong_type", "x unknown_field"]);
    assert_eq!(put(json!({})).await.faults(), ["value required"]);
    assert_eq!(put(json!({"value": null})).await.faults(), ["value required"]);
    let foreign = app.request(Method::PUT, &path).header("origin", "https://evil.example").json(&json!({"value": 1}));
    assert_eq!(app.send(foreign).await.problem(403), "forbidden");
    let preflight = app
        .request(Method::OPTIONS, &path)
        .header("origin", app.url.clone())
        .header("access-control-request-method", "PUT");
    let preflight = app.send(preflight).await;
    assert_eq!(preflight.header("access-control-allow-origin"), app.url);
    assert!(preflight.header("access-control-allow-methods").contains("PUT"));
    set(&app, json!({"votes": false})).await;
    assert_eq!(put(json!({"value": 1})).await.problem(403), "forbidden");
    assert_eq!(app.get("/api/v1/sites/default/form").await.expect(200)["votes"], false);
}

/// Sixty-four visitors, each of whom changes their mind; on `PostgreSQL` at two instances.
async fn many_vote_and_react_at_once(backend: Backend) {
    let first = behind_a_proxy(backend).start().await;
    let second = match backend {
        Backend::Postgres => Some(
            first.another().set("server__trusted_proxies", "127.0.0.1").set("limits__enabled", "false").start().await,
        ),
        Backend::Sqlite => None,
    };
    set(&first, json!({"reactions": ["like", "love"]})).await;
    if let Some(second) = &second {
        second.service.refresh_sites().await.unwrap();
    }
    let ids = [first.published("one", None).await, first.published("two", None).await];
    let apps = [&first, second.as_ref().unwrap_or(&first)];
    let moderator = first.default_moderator().await;
    let visitors = (0..64_usize).map(|n| {
        let (app, other, ids) = (apps[n % 2], apps[(n + 1) % 2], &ids);
        async move {
            let from = format!("203.0.113.{n}");
            for id in ids {
                vote(app, &from, id, if n % 3 == 0 { 1 } else { -1 }).await;
                vote(other, &from, id, if n % 4 == 0 { 1 } else { -1 }).await;
                vote(app, &from, id, if n % 2 == 0 { 1 } else { -1 }).await;
            }
            react(app, &from, "/new", json!("like")).await.expect(200);
            react(other, &from, "/new", json!(if n < 10 { "love" } else { "like" })).await.expect(200);
            if n % 8 == 7 {
                react(app, &from, "/new", Value::Null).await.expect(200);
            }
        }
    });
    // Decisions go on meanwhile.
    let decisions = async {
        for _ in 0..6 {
            let sent = first.comment("between").await;
            let id = sent["comment"]["id"].as_str().unwrap().to_owned();
            moderator.decide(&id, "approve").await.expect(200);
            let delete = moderator.request(Method::DELETE, &format!("/comments/{id}"));
            first.send(delete).await.expect(204);
        }
    };
    tokio::join!(join_all(visitors), decisions);
    for id in &ids {
        let seen = moderator.get(&format!("/comments/{id}")).await.expect(200);
        assert_eq!(seen["votes"], json!({"up": 32, "down": 32}));
    }
    let told = first.get("/api/v1/sites/default/reactions?article=/new").await.expect(200);
    assert_eq!(told, json!({"reactions": {"like": 47, "love": 9}, "yours": null}));
    // The same visitor twice in the same moment.
    join_all((0..16).map(|n| vote(apps[n % 2], "198.51.100.7", &ids[0], 1))).await;
    join_all((0..16).map(|n| react(apps[n % 2], "198.51.100.7", "/new", json!("like")))).await;
    assert_eq!(vote(&first, "198.51.100.7", &ids[0], 1).await["votes"], json!({"up": 33, "down": 32}));
    let told = react(&first, "198.51.100.7", "/new", json!("like")).await.expect(200);
    assert_eq!(told, json!({"reactions": {"like": 48, "love": 9}, "yours": "like"}));
}

async fn votes_come_to_the_lists(backend: Backend) {
    let app = behind_a_proxy(backend).start().await;
    let ids = [app.published("one", None).await, app.published("two", None).await];
    let first = app.list("&sort=top").await;
    assert_eq!(first["comments"][0]["id"], ids[0], "equal scores: the older one");
    vote(&app, "203.0.113.1", &ids[1], 1).await;
    let top = app.list("&sort=top").await;
    assert_eq!((&top["comments"][0]["id"], &top["comments"][0]["votes"]["up"]), (&json!(ids[1]), &json!(1)));
    // The next ones are gathered: the list lies ready until the time is over.
    for n in 2..6 {
        vote(&app, &format!("203.0.113.{n}"), &ids[1], 1).await;
    }
    app.service.show_votes().await.unwrap();
    // On PostgreSQL the word of an earlier change may still be on its way, and has the list made anew.
    if matches!(backend, Backend::Sqlite) {
        assert_eq!(app.list("&sort=top").await["comments"][0]["votes"]["up"], 1);
    }
    app.clock.advance(Duration::from_secs(5));
    app.service.show_votes().await.unwrap();
    assert_eq!(app.list("&sort=top").await["comments"][0]["votes"]["up"], 5);
}

async fn reactions_are_those_of_the_site(backend: Backend) {
    let app = behind_a_proxy(backend).start().await;
    let path = "/api/v1/sites/default/reactions?article=/fresh";
    let told = app.get(path).await;
    assert_eq!((told.header("cache-control"), told.header("access-control-allow-origin")), ("no-store", "*"));
    assert_eq!(told.expect(200), json!({"reactions": {"like": 0}, "yours": null}));
    let liked = json!({"reactions": {"like": 1}, "yours": "like"});
    assert_eq!(react(&app, "203.0.113.1", "/fresh", json!("like")).await.expect(200), liked);
    assert_eq!(react(&app, "203.0.113.1", "/fresh", json!("like")).await.expect(200), liked);
    let request = app.request(Method::GET, path).header("x-forwarded-for", "203.0.113.1");
    assert_eq!(app.send(request).await.expect(200), liked);
    assert_eq!(app.get(path).await.expect(200)["yours"], Value::Null, "somebody else's");
    assert_eq!(react(&app, "203.0.113.1", "/fresh", json!("hate")).await.faults(), ["reaction unknown_value"]);
    let put = async |path: &str, body: Value| send(&app, "203.0.113.1", (Method::PUT, path), body).await;
    assert_eq!(put(path, json!({})).await.faults(), ["reaction required"]);
    let bare = "/api/v1/sites/default/reactions";
    assert_eq!(
        put(bare, json!({"reaction": 1, "x": 1})).await.faults(),
        ["article required", "reaction wrong_type", "x unknown_field"]
    );
    assert_eq!(
        put("/api/v1/sites/nowhere/reactions?article=/a", json!({"reaction": null})).await.problem(404),
        "not_found"
    );
    assert_eq!(app.get(bare).await.faults(), ["article required"]);
    // Another set: what was counted before is kept, and shown when it is back.
    set(&app, json!({"reactions": ["love", "sad"]})).await;
    assert_eq!(app.get(path).await.expect(200)["reactions"], json!({"love": 0, "sad": 0}));
    set(&app, json!({"reactions": ["love", "like"], "articles": "known"})).await;
    let loved = json!({"reactions": {"love": 1, "like": 0}, "yours": "love"});
    assert_eq!(react(&app, "203.0.113.1", "/fresh", json!("love")).await.expect(200), loved);
    assert_eq!(react(&app, "203.0.113.1", "/unknown", json!("love")).await.faults(), ["article unknown_article"]);
    set(&app, json!({"reactions": []})).await;
    assert_eq!(app.get(path).await.expect(200)["reactions"], json!({}));
    let token = app.moderator("root@example.org", Role::Admin, &[]).await.token;
    for bad in [json!(["a", "a"]), json!(["Like"]), json!(vec!["a"; 9])] {
        let answer = call(&app, &token, "PATCH", "/api/v1/sites/default", json!({"reactions": bad})).await;
        assert_eq!(answer.faults(), ["reactions invalid_reaction"]);
    }
}

async fn three_flags_hold_a_comment_once(backend: Backend) {
    let app = behind_a_proxy(backend).start().await;
    let id = app.published("flag me", None).await;
    let moderator = app.default_moderator().await;
    app.run_jobs().await;
    let spam = json!({"reason": "spam"});
    for _ in 0..3 {
        assert_eq!(
            flag(&app, "203.0.113.1", &id, spam.clone()).await.expect(202),
            json!({}),
            "again: it looks the same"
        );
    }
    app.clock.advance(Duration::from_secs(1));
    flag(&app, "203.0.113.2", &id, json!({"reason": "abuse", "note": " A private <b>note</b> "})).await.expect(202);
    assert_eq!(app.listed("").await, std::slice::from_ref(&id));
    app.clock.advance(Duration::from_secs(1));
    assert_eq!(flag(&app, "203.0.113.3", &id, spam.clone()).await.expect(202), json!({}));
    assert_eq!(app.listed("").await, Vec::<String>::new(), "held");
    let held = moderator.get(&format!("/comments/{id}")).await.expect(200);
    assert_eq!(held["status"], "pending");
    let reason = held["hold_reasons"].as_array().unwrap().last().unwrap().clone();
    assert_eq!(reason, json!({"code": "flagged", "detail": "Readers ask for another look: 2 spam, 1 abuse."}));
    let event = held["events"].as_array().unwrap().last().unwrap().clone();
    assert_eq!(
        [&event["action"], &event["from"], &event["to"], &event["via"], &event["reason"]],
        ["held", "approved", "pending", "rule", "flagged: 2 spam, 1 abuse"]
    );
    assert_eq!(held["flags"][1]["note"], "A private <b>note</b>");
    assert_eq!(app.run_jobs().await.len(), 1, "moderators are told");
    assert_eq!(flag(&app, "203.0.113.4", &id, spam.clone()).await.problem(404), "not_found");
    // What a moderator decides stands.
    moderator.decide(&id, "approve").await.expect(200);
    for n in 4..10 {
        flag(&app, &format!("203.0.113.{n}"), &id, spam.clone()).await.expect(202);
    }
    assert_eq!(app.listed("").await, std::slice::from_ref(&id));
    let seen = app.list("").await.to_string();
    assert!(!seen.contains("private") && !seen.contains("flag\""), "{seen}");
    // Faults, and a site that goes by no flags.
    let fault = async |body: Value| flag(&app, "203.0.113.1", &id, body).await.faults();
    assert_eq!(fault(json!({"reason": "boring", "note": 1})).await, ["reason unknown_value", "note wrong_type"]);
    assert_eq!(
        fault(json!({"note": "x".repeat(501), "x": 1})).await,
        ["reason required", "note too_long", "x unknown_field"]
    );
    set(&app, json!({"flags_to_hold": 0})).await;
    let other = app.published("flag me, too", None).await;
    for n in 0..10 {
        flag(&app, &format!("198.51.100.{n}"), &other, spam.clone()).await.expect(202);
    }
    assert_eq!(app.listed("").await.len(), 2);
}

async fn what_is_not_public_takes_nothing(backend: Backend) {
    let app = TestApp::new(backend).await;
    let held = app.comment("held").await["comment"]["id"].as_str().unwrap().to_owned();
    for id in [held.as_str(), "0190a000-0000-7000-8000-000000000001", "nonsense"] {
        let put = app.request(Method::PUT, &format!("/api/v1/comments/{id}/vote")).json(&json!({"value": 1}));
        assert_eq!(app.send(put).await.problem(404), "not_found", "{id}");
        let flagged = app.post(&format!("/api/v1/comments/{id}/flags"), &json!({"reason": "spam"})).await;
        assert_eq!(flagged.problem(404), "not_found", "{id}");
    }
}

async fn feedback_is_limited(backend: Backend) {
    let app = TestApp::build(backend).set("limits__feedback__burst", "4").start().await;
    let sent = app.submit(&comment("one")).await.expect(202);
    let id = sent["comment"]["id"].as_str().unwrap().to_owned();
    app.default_moderator().await.decide(&id, "approve").await.expect(200);
    let put = async || {
        app.send(app.request(Method::PUT, &format!("/api/v1/comments/{id}/vote")).json(&json!({"value": 1}))).await
    };
    for _ in 0..2 {
        put().await.expect(200);
    }
    let react = app.request(Method::PUT, "/api/v1/sites/default/reactions?article=/a").json(&json!({"reaction": null}));
    app.send(react).await.expect(200);
    app.post(&format!("/api/v1/comments/{id}/flags"), &json!({"reason": "other"})).await.expect(202);
    let limited = put().await;
    assert_eq!(limited.header("retry-after"), "2");
    assert_eq!(limited.problem(429), "rate_limited");
    // It takes nothing from the rings of comments.
    app.submit(&comment("two")).await.expect(202);
}

async fn a_merge_makes_nobody_two(backend: Backend) {
    let app = behind_a_proxy(backend).start().await;
    let id = app.published("vote on me", None).await;
    let spam = json!({"reason": "spam"});
    vote(&app, "203.0.113.1", &id, 1).await;
    for from in ["203.0.113.1", "203.0.113.2"] {
        flag(&app, from, &id, spam.clone()).await.expect(202);
    }
    let token = app.moderator("root@example.org", Role::Admin, &[]).await.token;
    let merge = json!({"from": "/a", "into": "/b"});
    call(&app, &token, "POST", "/api/v1/sites/default/articles/merge", merge).await.expect(200);
    assert_eq!(vote(&app, "203.0.113.1", &id, 1).await, json!({"votes": {"up": 1, "down": 0}, "yours": 1}));
    for from in ["203.0.113.1", "203.0.113.2"] {
        flag(&app, from, &id, spam.clone()).await.expect(202);
    }
    assert_eq!(app.listed("").await, [id], "two have flagged it, not four");
}

async fn taking_nothing_back_makes_no_article(backend: Backend) {
    let app = behind_a_proxy(backend).start().await;
    let token = app.moderator("root@example.org", Role::Admin, &[]).await.token;
    let told = react(&app, "203.0.113.1", "/unheard-of", Value::Null).await.expect(200);
    assert_eq!(told, json!({"reactions": {"like": 0}, "yours": null}));
    let known = call(&app, &token, "GET", "/api/v1/sites/default/articles", Value::Null).await.expect(200);
    assert_eq!(known["articles"], json!([]));
    react(&app, "203.0.113.1", "/heard-of", json!("like")).await.expect(200);
    let told = react(&app, "203.0.113.1", "/heard-of", Value::Null).await.expect(200);
    assert_eq!(told, json!({"reactions": {"like": 0}, "yours": null}));
}

async fn an_unknown_article_costs_no_turn(backend: Backend) {
    let app = TestApp::build(backend).set("limits__feedback__burst", "2").start().await;
    app.submit(&comment("one")).await.expect(202);
    set(&app, json!({"articles": "known"})).await;
    let put = async |article: &str| {
        let path = format!("/api/v1/sites/default/reactions?article={article}");
        app.send(app.request(Method::PUT, &path).json(&json!({"reaction": "like"}))).await
    };
    for _ in 0..5 {
        assert_eq!(put("/unknown").await.faults(), ["article unknown_article"]);
    }
    put("/a").await.expect(200);
}

/// An article that becomes an alias while somebody reacts to it.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_reaction_follows_its_article() {
    use afterword::domain::ids::ArticleId;
    use afterword::domain::submission::ArticleKey;
    use afterword::storage::aliases::{self, NewAlias};
    use afterword::storage::articles::NewArticle;
    let app = behind_a_proxy(Backend::Postgres).start().await;
    app.published("here", None).await;
    let key = |text: &str| ArticleKey::parse(text, "article").unwrap();
    let (site, from, into) = (app.service.sites.by_key("default").unwrap().id, key("/a"), key("/b"));
    let now = app.service.clock.now();
    let ids = [ArticleId(app.service.ids.next()), ArticleId(app.service.ids.next())];
    let ((made, is_made), (go, wait)) = (std::sync::mpsc::channel(), std::sync::mpsc::channel());
    let db = app.service.db.clone();
    let merging = tokio::spawn(async move {
        db.write(move |tx| {
            let article = NewArticle { id: ids[0], site_id: site, key: &into, created_at: now };
            aliases::add(tx, &NewAlias { site, alias: &from, id: ids[1], article: &article }, now)?;
            made.send(()).unwrap();
            wait.recv().unwrap();
            Ok(())
        })
        .await
        .unwrap();
    });
    tokio::task::block_in_place(|| is_made.recv().unwrap());
    let put = app.request(Method::PUT, "/api/v1/sites/default/reactions?article=/a").json(&json!({"reaction": "like"}));
    let reacting = tokio::spawn(put.send());
    over_or_waiting(&app, &reacting).await;
    go.send(()).unwrap();
    merging.await.unwrap();
    assert_eq!(reacting.await.unwrap().unwrap().status(), 200);
    let told = app.get("/api/v1/sites/default/reactions?article=/b").await.expect(200);
    assert_eq!(told["reactions"], json!({"like": 1}));
}

async fn what_visitors_said_goes_with_time_and_with_the_comment(backend: Backend) {
    use afterword::domain::feedback::KEPT_FOR;
    use afterword::storage::feedback::{flags_of, sweep};
    let app = behind_a_proxy(backend).start().await;
    let id = app.published("one", None).await;
    app.published("a reply that keeps it", Some(&id)).await;
    vote(&app, "203.0.113.1", &id, 1).await;
    react(&app, "203.0.113.1", "/a", json!("like")).await.expect(200);
    flag(&app, "203.0.113.1", &id, json!({"reason": "spam", "note": "look"})).await.expect(202);
    let sweep_at = async |app: &TestApp| {
        let before = app.service.clock.now().minus(KEPT_FOR);
        app.service.db.write(move |tx| sweep(tx, before, 10)).await.unwrap()
    };
    app.clock.advance(KEPT_FOR.saturating_sub(Duration::from_hours(1)));
    assert_eq!(sweep_at(&app).await, 0);
    app.clock.advance(Duration::from_hours(1));
    assert_eq!(sweep_at(&app).await, 3);
    assert_eq!(vote(&app, "203.0.113.2", &id, 1).await["votes"], json!({"up": 2, "down": 0}), "what it counted stays");
    flag(&app, "203.0.113.1", &id, json!({"reason": "spam", "note": "again"})).await.expect(202);
    let moderator = app.default_moderator().await;
    app.send(moderator.request(Method::DELETE, &format!("/comments/{id}"))).await.expect(204);
    let comment = id.parse().unwrap();
    assert_eq!(app.service.db.read(move |conn| flags_of(conn, comment)).await.unwrap(), []);
    assert_eq!(sweep_at(&app).await, 0);
}
