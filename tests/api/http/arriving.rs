//! The readers' stream: what becomes public is told once to everybody in order, what is not public to nobody; nothing is
//! missed over reconnections, instances and lost connections.

use std::time::Duration;

use afterword::storage::Conn;
use afterword::storage::accounts::Role;
use diesel::connection::SimpleConnection;
use futures_util::future::join_all;
use reqwest::Method;
use serde_json::{Value, json};

use super::administration::call;
use super::stream::{HANGS, Stream};
use crate::support::app::{Moderator, TestApp, comment};
use crate::support::database::{Backend, on_both_databases};
use crate::support::postgres;

on_both_databases!(
    it_tells_what_becomes_public_and_nothing_else,
    many_hear_everything_once_and_in_order,
    nothing_is_missed_by_whoever_comes_back,
    other_articles_are_not_told,
    an_alias_is_told_as_well,
    whoever_heard_nothing_misses_nothing,
    what_stands_elsewhere_is_not_read,
    a_stop_ends_it,
    places_are_counted_by_address
);

const STREAM: &str = "/api/v1/sites/default/stream?article=/a";

async fn open(app: &TestApp, last: Option<&str>) -> Stream {
    let mut request = app.request(Method::GET, STREAM);
    if let Some(last) = last {
        request = request.header("last-event-id", last);
    }
    Stream::of(request.send().await.unwrap())
}

/// The next event: which, and of which comment.
async fn told(stream: &mut Stream) -> (String, String) {
    let told = stream.next().await.expect("it goes on");
    assert_eq!(told.data["article"], "/a");
    (told.event, told.data["id"].as_str().unwrap().to_owned())
}

fn event(name: &str, id: &str) -> (String, String) {
    (name.to_owned(), id.to_owned())
}

async fn it_tells_what_becomes_public_and_nothing_else(backend: Backend) {
    let app = TestApp::new(backend).await;
    let moderator = app.default_moderator().await;
    // The article is not there yet.
    let mut stream = open(&app, None).await;
    let headers = stream.response.headers().clone();
    for (name, value) in [
        ("content-type", "text/event-stream"),
        ("cache-control", "no-store"),
        ("content-encoding", "identity"),
        ("access-control-allow-origin", "*"),
    ] {
        assert_eq!(headers[name], value);
    }
    let retry = stream.block().await.unwrap();
    let retry: u64 = retry.strip_prefix("retry: ").unwrap().parse().unwrap();
    assert!((2_000..10_000).contains(&retry), "{retry}");
    let sent = app.comment("a question").await;
    let id = sent["comment"]["id"].as_str().unwrap().to_owned();
    let edit = async |body: &str| {
        let edit = app.request(Method::PATCH, &format!("/api/v1/comments/{id}"));
        app.send(edit.bearer_auth(sent["author_token"].as_str().unwrap()).json(&json!({"body": body}))).await
    };
    edit("a better question").await.expect(200);
    moderator.decide(&id, "spam").await.expect(200);
    moderator.decide(&id, "approve").await.expect(200);
    let first = stream.next().await.unwrap();
    assert_eq!((first.event.as_str(), &first.data["id"]), ("published", &json!(id)), "nothing before it was told");
    // Its data are what the list says, and its id is that of the log.
    let mut listed = app.list("").await["comments"][0].clone();
    listed["article"] = json!("/a");
    assert_eq!(first.data, listed);
    let log = moderator.get(&format!("/events?comment={id}")).await.expect(200);
    assert_eq!(log["events"][0]["id"], first.id);
    // An edit that waits, and one that is dropped, are nobody's business; one that is published is told.
    app.clock.advance(Duration::from_secs(1));
    edit("a question about **money**").await.expect(202);
    let drop_edit = moderator.request(Method::POST, &format!("/comments/{id}/discard-edit"));
    app.send(drop_edit).await.expect(200);
    edit("a question about time").await.expect(202);
    moderator.decide(&id, "approve").await.expect(200);
    let mut changed = stream.next().await.unwrap();
    assert_eq!(changed.data["body_html"], "<p>a question about time</p>");
    assert_eq!(changed.event, "changed");
    let correct = moderator.request(Method::PATCH, &format!("/comments/{id}")).json(&json!({"name": "Eve"}));
    app.send(correct).await.expect(200);
    loop {
        changed = stream.next().await.unwrap();
        assert_eq!(changed.event, "changed");
        if changed.data["name"] == "Eve" {
            break;
        }
    }
    moderator.decide(&id, "hold").await.expect(200);
    // Entries that are read together tell of the comment as it is by then: "Eve" may be told twice.
    let mut next = told(&mut stream).await;
    while next == event("changed", &id) {
        next = told(&mut stream).await;
    }
    assert_eq!(next, event("removed", &id));
    moderator.decide(&id, "approve").await.expect(200);
    assert_eq!(told(&mut stream).await, event("published", &id));
    let reply = app.published("an answer", Some(&id)).await;
    assert_eq!(told(&mut stream).await, event("published", &reply));
    // One that leaves its place to replies, and one that leaves nothing.
    app.send(moderator.request(Method::DELETE, &format!("/comments/{id}"))).await.expect(204);
    let gone = stream.next().await.unwrap();
    assert_eq!((gone.event.as_str(), gone.data), ("removed", json!({"id": id, "article": "/a"})));
    app.send(moderator.request(Method::DELETE, &format!("/comments/{reply}"))).await.expect(204);
    assert_eq!(told(&mut stream).await, event("removed", &reply), "also when its row is gone");
    let put = app.request(Method::PUT, &format!("/api/v1/comments/{reply}/vote")).json(&json!({"value": 1}));
    app.send(put).await.problem(404);
    for (path, status) in [("/api/v1/sites/default/stream", 422), ("/api/v1/sites/nowhere/stream?article=/a", 404)] {
        assert_eq!(app.get(path).await.status, status);
    }
    let head = app.send(app.request(Method::HEAD, STREAM)).await;
    assert_eq!((head.status.as_u16(), head.header("content-type")), (200, "text/event-stream"));
}

async fn many_hear_everything_once_and_in_order(backend: Backend) {
    let app = TestApp::build(backend)
        .set("limits__enabled", "false")
        .set("limits__reader_streams_per_address", "100")
        .start()
        .await;
    let moderator = app.default_moderator().await;
    let mut streams = join_all((0..40).map(|_| open(&app, None))).await;
    let mut expected = Vec::new();
    for n in 0..10 {
        let id = app.comment(&format!("number {n}")).await["comment"]["id"].as_str().unwrap().to_owned();
        for decision in ["approve", "hold", "approve"] {
            moderator.decide(&id, decision).await.expect(200);
            expected.push((if decision == "hold" { "removed" } else { "published" }, id.clone()));
        }
    }
    let last = app.published("the last", None).await;
    let listening = streams.iter_mut().map(async |stream| {
        let mut heard = Vec::new();
        loop {
            let one = told(stream).await;
            if one.1 == last {
                return heard;
            }
            heard.push(one);
        }
    });
    for heard in join_all(listening).await {
        // A comment that was held again before anybody looked was never seen: its first arrival is not told then.
        let removed: Vec<_> = heard.iter().filter(|(event, _)| event == "removed").map(|(_, id)| id.clone()).collect();
        let all: Vec<_> = expected.iter().filter(|(event, _)| *event == "removed").map(|(_, id)| id.clone()).collect();
        assert_eq!(removed, all, "once each, in order");
        let mut at = 0;
        for (event, id) in &heard {
            at += expected[at..].iter().position(|(wanted, of)| wanted == event && of == id).expect("in order") + 1;
        }
        for id in all {
            assert_eq!(heard.iter().rev().find(|(_, of)| *of == id).unwrap().0, "published", "as it is in the end");
        }
    }
}

async fn nothing_is_missed_by_whoever_comes_back(backend: Backend) {
    let app = TestApp::new(backend).await;
    let other = app.another().set("limits__enabled", "false").start().await;
    let moderator = app.default_moderator().await;
    let publish = async |n: usize| {
        let id = app.comment(&format!("number {n}")).await["comment"]["id"].as_str().unwrap().to_owned();
        moderator.decide(&id, "approve").await.expect(200);
        id
    };
    let mut stream = open(&app, None).await;
    let first = publish(0).await;
    let known = stream.next().await.unwrap();
    assert_eq!(known.data["id"], first);
    drop(stream);
    let mut missed = vec![publish(1).await, publish(2).await];
    let gone = publish(3).await;
    app.send(moderator.request(Method::DELETE, &format!("/comments/{gone}"))).await.expect(204);
    // Here and at another instance, while more comes.
    for app in [&app, &other] {
        let mut stream = open(app, Some(&known.id)).await;
        missed.push(publish(missed.len() + 10).await);
        let mut heard = Vec::new();
        while heard.last() != missed.last() {
            let (event, id) = told(&mut stream).await;
            assert_eq!(event == "removed", id == gone);
            if event == "published" && !heard.contains(&id) && id != first {
                heard.push(id);
            }
        }
        assert_eq!(heard, missed);
    }
    for unknown in ["0190a000-0000-7000-8000-000000000001", "nonsense"] {
        let mut stream = open(&app, Some(unknown)).await;
        assert_eq!(stream.next().await.unwrap().event, "reset");
    }
}

async fn other_articles_are_not_told(backend: Backend) {
    let app = TestApp::new(backend).await;
    let root = app.moderator("root@example.org", Role::Admin, &[]).await;
    let mut stream = open(&app, None).await;
    let mut elsewhere = comment("elsewhere");
    elsewhere["article"] = json!("/b");
    let id = app.submit(&elsewhere).await.expect(202)["comment"]["id"].as_str().unwrap().to_owned();
    root.decide(&id, "approve").await.expect(200);
    let here = app.published("here", None).await;
    let first = stream.next().await.unwrap();
    assert_eq!(first.data["id"], here);
    let other = app.request(Method::GET, "/api/v1/sites/default/stream?article=/b").header("last-event-id", first.id);
    let mut other = Stream::of(other.send().await.unwrap());
    root.decide(&id, "hold").await.expect(200);
    let mut told = other.next().await.unwrap();
    if told.event == "published" {
        // PostgreSQL gives again what was written shortly before.
        told = other.next().await.unwrap();
    }
    assert_eq!((told.event.as_str(), told.data), ("removed", json!({"id": id, "article": "/b"})));
}

/// Streams by both keys, opened before and after one became an alias of the other.
async fn an_alias_is_told_as_well(backend: Backend) {
    let app = TestApp::new(backend).await;
    let token = app.moderator("root@example.org", Role::Admin, &[]).await.token;
    let open = async |key: &str| {
        let path = format!("/api/v1/sites/default/stream?article={key}");
        Stream::of(app.request(Method::GET, &path).send().await.unwrap())
    };
    let mut old = comment("written there");
    old["article"] = json!("/old");
    let old = app.submit(&old).await.expect(202)["comment"]["id"].as_str().unwrap().to_owned();
    let mut streams = vec![open("/old").await, open("/a").await];
    let merge = json!({"from": "/old", "into": "/a"});
    call(&app, &token, "POST", "/api/v1/sites/default/articles/merge", merge).await.expect(200);
    streams.extend([open("/old").await, open("/a").await]);
    let new = app.published("here", None).await;
    app.default_moderator().await.decide(&old, "approve").await.expect(200);
    for stream in &mut streams {
        assert_eq!(told(stream).await, event("published", &new));
        assert_eq!(told(stream).await, event("published", &old));
    }
    // By its old key, what came before the merge is found again.
    let first = app.default_moderator().await.get(&format!("/events?comment={old}")).await.expect(200);
    let first = first["events"].as_array().unwrap().last().unwrap()["id"].as_str().unwrap().to_owned();
    for key in ["/old", "/a"] {
        let path = format!("/api/v1/sites/default/stream?article={key}");
        let again = app.request(Method::GET, &path).header("last-event-id", &first);
        let mut again = Stream::of(again.send().await.unwrap());
        assert_eq!(told(&mut again).await, event("published", &new));
        assert_eq!(told(&mut again).await, event("published", &old));
    }
}

async fn whoever_heard_nothing_misses_nothing(backend: Backend) {
    let app = TestApp::new(backend).await;
    // Nothing has ever happened: there is an id all the same, and whoever comes back with it loads the list.
    let nothing = open(&app, None).await.stands_at().await;
    let before = app.published("before", None).await;
    assert_eq!(open(&app, Some(&nothing)).await.next().await.unwrap().event, "reset");
    let here = open(&app, None).await.stands_at().await;
    assert_ne!(here, open(&app, None).await.stands_at().await, "it does not tell whether anything happened");
    let missed = app.published("missed", None).await;
    let mut again = open(&app, Some(&here)).await;
    let mut heard = told(&mut again).await;
    if heard.1 == before {
        // PostgreSQL gives again what was written shortly before.
        heard = told(&mut again).await;
    }
    assert_eq!(heard, event("published", &missed));
    let reset = open(&app, Some("nonsense")).await.next().await.unwrap();
    assert_eq!(reset.event, "reset");
    let after = app.published("after the reset", None).await;
    let mut again = open(&app, Some(&reset.id)).await;
    while told(&mut again).await != event("published", &after) {}
}

/// What was missed of an article is found without a look at comments elsewhere: one of those cannot even be read.
async fn what_stands_elsewhere_is_not_read(backend: Backend) {
    let app = TestApp::new(backend).await;
    let known = open(&app, None).await;
    let first = app.published("first", None).await;
    let mut known = known;
    let last = known.next().await.unwrap().id;
    let mut elsewhere = comment("elsewhere");
    elsewhere["article"] = json!("/b");
    let id = app.submit(&elsewhere).await.expect(202)["comment"]["id"].as_str().unwrap().to_owned();
    app.default_moderator().await.decide(&id, "approve").await.expect(200);
    let here = app.published("here", None).await;
    for id in [&here] {
        while told(&mut known).await.1 != *id {}
    }
    drop(known);
    let broken = "UPDATE comments SET status = 77 WHERE body = 'elsewhere'";
    let breaking = app.service.db.write(move |tx| {
        match tx.conn() {
            Conn::Sqlite(c) => c.batch_execute(broken)?,
            Conn::Postgres(c) => c.batch_execute(broken)?,
        }
        Ok(())
    });
    breaking.await.unwrap();
    let mut again = open(&app, Some(&last)).await;
    let mut heard = told(&mut again).await;
    if heard.1 == first {
        heard = told(&mut again).await;
    }
    assert_eq!(heard, event("published", &here));
}

async fn a_stop_ends_it(backend: Backend) {
    let mut app = TestApp::new(backend).await;
    let mut stream = open(&app, None).await;
    let begun = tokio::time::Instant::now();
    let ((), rest) = tokio::join!(app.drain(), async {
        while stream.block().await.is_some() {}
        begun.elapsed()
    });
    // Far sooner than requests that have begun are given up: those get seven seconds.
    assert!(rest < Duration::from_secs(5), "{rest:?}");
}

async fn places_are_counted_by_address(backend: Backend) {
    let app = TestApp::build(backend)
        .set("limits__enabled", "false")
        .set("limits__reader_streams", "3")
        .set("limits__reader_streams_per_address", "2")
        .set("server__trusted_proxies", "127.0.0.1")
        .heartbeat(Duration::from_millis(50))
        .start()
        .await;
    let from = |address: &str| app.request(Method::GET, STREAM).header("x-forwarded-for", address.to_owned());
    let mut first = Stream::of(from("2001:db8::1").send().await.unwrap());
    let _second = Stream::of(from("2001:db8::2").send().await.unwrap());
    let refused = app.send(from("2001:db8::3")).await;
    assert_eq!(refused.header("retry-after"), "15");
    assert_eq!(refused.problem(429), "rate_limited");
    let _third = Stream::of(from("203.0.113.1").send().await.unwrap());
    let full = app.send(from("203.0.113.2")).await;
    assert!(!full.header("retry-after").is_empty());
    assert_eq!(full.problem(503), "busy");
    // Readers take no moderator's place.
    let moderator = app.default_moderator().await;
    assert_eq!(moderator.request(Method::GET, "/stream").send().await.unwrap().status(), 200);
    first.stands_at().await;
    assert_eq!(first.block().await.unwrap(), ":", "a sign of life");
    // A place is free again once its listener has gone.
    drop(first);
    let until = tokio::time::Instant::now() + HANGS;
    while from("2001:db8::3").send().await.unwrap().status() != 200 {
        assert!(tokio::time::Instant::now() < until, "the place is never free again");
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
}

/// Two instances whose connections that listen are ended again and again: what happens on one is told by the other.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_lost_connection_loses_nothing() {
    let app = TestApp::new(Backend::Postgres).await;
    let other = app.another().set("limits__enabled", "false").start().await;
    let token = app.default_moderator().await.token;
    let mut streams = [open(&app, None).await, open(&other, None).await];
    for n in 0..6 {
        if n % 2 == 1 {
            let kill = "SELECT count(pg_terminate_backend(pid)) FROM pg_stat_activity \
                        WHERE datname = current_database() AND query IN ('SELECT 1', 'LISTEN afterword')";
            // On a slow machine those that were ended before have not come back yet.
            let until = tokio::time::Instant::now() + HANGS;
            while postgres::run(app.database_url(), kill) == "0" {
                assert!(tokio::time::Instant::now() < until, "there are connections that listen");
                tokio::time::sleep(Duration::from_millis(50)).await;
            }
        }
        let at = [&app, &other][n % 2];
        let id = at.comment(&format!("number {n}")).await["comment"]["id"].as_str().unwrap().to_owned();
        Moderator::at([&other, &app][n % 2], token.clone()).decide(&id, "approve").await.expect(200);
        for stream in &mut streams {
            assert_eq!(told(stream).await, event("published", &id), "{n}");
        }
    }
    let _: Value = app.list("").await;
}
