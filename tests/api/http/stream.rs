//! The queue's stream: what it tells, to whom; that nothing is missed; when it ends.

use std::collections::BTreeSet;
use std::time::Duration;

use afterword::domain::site::SiteKey;
use afterword::service::sites::NewSite;
use afterword::storage::accounts::Role;
use reqwest::{Method, Response};
use serde_json::{Value, json};

use super::administration::call;
use crate::support::app::{Moderator, TestApp, comment};
use crate::support::database::{Backend, on_both_databases};

on_both_databases!(
    it_tells_what_happens_in_order,
    each_sees_their_own_sites,
    nothing_is_missed_over_reconnections,
    whoever_heard_nothing_misses_nothing,
    what_another_instance_does_is_told,
    a_stop_ends_it,
    it_ends_with_the_rights_of_its_token,
    places_are_counted
);

/// Whoever waits longer than this for what must come has lost.
pub const HANGS: Duration = Duration::from_mins(1);

/// An open stream.
pub struct Stream {
    pub response: Response,
    text: String,
}

/// One event of it.
#[derive(Debug, Clone, PartialEq)]
pub struct Told {
    pub id: String,
    pub event: String,
    pub data: Value,
}

impl Stream {
    async fn open(by: &Moderator<'_>, last: Option<&str>) -> Self {
        let mut request = by.request(Method::GET, "/stream");
        if let Some(last) = last {
            request = request.header("last-event-id", last);
        }
        let response = request.send().await.unwrap();
        Self::of(response)
    }

    /// The stream of an answer.
    pub fn of(response: Response) -> Self {
        assert_eq!(response.status(), 200);
        Self { response, text: String::new() }
    }

    /// The next block of lines; none at the end.
    pub async fn block(&mut self) -> Option<String> {
        loop {
            if let Some((block, rest)) = self.text.split_once("\n\n") {
                let (block, rest) = (block.to_owned(), rest.to_owned());
                self.text = rest;
                return Some(block);
            }
            let chunk = tokio::time::timeout(HANGS, self.response.chunk()).await.expect("it comes");
            self.text.push_str(std::str::from_utf8(&chunk.ok()??).unwrap());
        }
    }

    /// The next event; none at the end.
    pub async fn next(&mut self) -> Option<Told> {
        loop {
            let block = self.block().await?;
            let field = |name: &str| block.lines().find_map(|line| line.strip_prefix(name)).map(str::to_owned);
            if let Some(event) = field("event: ") {
                let data = serde_json::from_str(&field("data: ").unwrap()).unwrap();
                return Some(Told { id: field("id: ").unwrap_or_default(), event, data });
            }
        }
    }

    /// Where the stream stands before anything was told.
    pub async fn stands_at(&mut self) -> String {
        loop {
            let block = self.block().await.unwrap();
            if let Some(id) = block.lines().find_map(|line| line.strip_prefix("id: ")) {
                return id.to_owned();
            }
        }
    }

    /// The next events: what, which comment, by whom.
    async fn events(&mut self, count: usize) -> Vec<(String, String, String)> {
        let mut events = Vec::new();
        for _ in 0..count {
            let told = self.next().await.unwrap();
            let text = |name: &str| told.data[name].as_str().unwrap_or_default().to_owned();
            events.push((told.event.clone(), text("id"), text("by")));
        }
        events
    }
}

fn id_of(answer: &Value) -> String {
    answer["comment"]["id"].as_str().unwrap().to_owned()
}

async fn it_tells_what_happens_in_order(backend: Backend) {
    let app = TestApp::new(backend).await;
    app.comment("before anybody listened").await;
    let moderator = app.default_moderator().await;
    let head = app.send(moderator.request(Method::HEAD, "/stream")).await;
    assert_eq!((head.status.as_u16(), head.header("content-type")), (200, "text/event-stream"));
    let mut stream = Stream::open(&moderator, None).await;
    let headers = stream.response.headers().clone();
    for (name, value) in [("cache-control", "no-store"), ("x-accel-buffering", "no"), ("content-encoding", "identity")]
    {
        assert_eq!(headers[name], value);
    }
    assert_eq!(stream.block().await.unwrap(), "retry: 2000");
    let sent = app.comment("a question").await;
    let id = id_of(&sent);
    moderator.decide(&id, "approve").await.expect(200);
    let edit = app.request(Method::PATCH, &format!("/api/v1/comments/{id}"));
    let edit = edit.bearer_auth(sent["author_token"].as_str().unwrap()).json(&json!({"body": "another question"}));
    app.send(edit).await.expect(202);
    moderator.decide(&id, "approve").await.expect(200);
    moderator.decide(&id, "spam").await.expect(200);
    app.send(moderator.request(Method::POST, &format!("/comments/{id}/undo"))).await.expect(200);
    moderator.decide(&id, "hold").await.expect(200);
    moderator.post(&format!("/comments/{id}/reply"), &json!({"body": "An answer"})).await.expect(201);
    app.send(moderator.request(Method::DELETE, &format!("/comments/{id}"))).await.expect(204);
    let events = stream.events(10).await;
    let of_it: Vec<_> =
        events.iter().filter(|(_, of, _)| *of == id).map(|(event, _, by)| (event.as_str(), by.as_str())).collect();
    let expected = [
        ("held", "author"),
        ("decided", "mod"),
        ("edited", "author"),
        ("decided", "mod"),
        ("decided", "mod"),
        ("decided", "mod"),
        ("held", "mod"),
        ("decided", "mod"),
        ("removed", "mod"),
    ];
    assert_eq!(of_it, expected);
    assert_eq!(events.iter().filter(|(_, of, _)| *of != id).count(), 1, "and the answer");
    // Its data are few, and its id is that of the log.
    let id = id_of(&app.comment("the last").await);
    let told = stream.next().await.unwrap();
    assert_eq!(told.data, json!({"id": id, "site": "default", "status": "pending", "version": 1, "by": "author"}));
    let log = moderator.get(&format!("/events?comment={id}")).await.expect(200);
    assert_eq!(log["events"][0]["id"], told.id);
}

async fn each_sees_their_own_sites(backend: Backend) {
    let app = TestApp::new(backend).await;
    let new = NewSite { key: SiteKey::parse("other").unwrap(), name: "Other".into(), url: None, origins: Vec::new() };
    let other = app.service.add_site(new).await.unwrap();
    let (ann, root) = (app.default_moderator().await, app.moderator("root@example.org", Role::Admin, &[]).await);
    let bob = app.moderator("bob@example.org", Role::Moderator, &[&other]).await;
    let (mut of_ann, mut of_bob, mut of_root) =
        (Stream::open(&ann, None).await, Stream::open(&bob, None).await, Stream::open(&root, None).await);
    let first = app.post("/api/v1/sites/other/comments", &comment("there")).await.expect(202);
    let second = app.comment("here").await;
    let held = |answer: &Value| ("held".to_owned(), id_of(answer), "author".to_owned());
    assert_eq!(of_ann.events(1).await, [held(&second)]);
    assert_eq!(of_bob.events(1).await, [held(&first)]);
    assert_eq!(of_root.events(2).await, [held(&first), held(&second)]);
    // Neither is the past of other sites told.
    let last = of_root.text.is_empty();
    assert!(last, "nothing more came");
    let log = root.get("/events").await.expect(200);
    let first_id = log["events"][1]["id"].as_str().unwrap();
    let mut again = Stream::open(&ann, Some(first_id)).await;
    assert_eq!(again.events(1).await, [held(&second)]);
}

/// Comments come all the time while a listener is cut off again and again, and each is told.
async fn nothing_is_missed_over_reconnections(backend: Backend) {
    let app = TestApp::new(backend).await;
    let moderator = app.default_moderator().await;
    let mut stream = Stream::open(&moderator, None).await;
    let expected = async {
        let batches = (0..12).map(|batch| {
            let app = &app;
            async move {
                let mut ids = Vec::new();
                for n in 0..10 {
                    ids.push(id_of(&app.comment(&format!("text {batch} {n}")).await));
                }
                ids
            }
        });
        futures_util::future::join_all(batches).await.concat().into_iter().collect::<BTreeSet<String>>()
    };
    let listening = async {
        let (mut seen, mut cuts) = (BTreeSet::new(), 0);
        while seen.len() < 120 {
            let told = stream.next().await.expect("it goes on");
            assert_ne!(told.event, "reset");
            seen.insert(told.data["id"].as_str().unwrap().to_owned());
            if seen.len() % 15 == 0 && cuts < 10 {
                cuts += 1;
                stream = Stream::open(&moderator, Some(&told.id)).await;
            }
        }
        seen
    };
    let (expected, seen) = tokio::join!(expected, listening);
    assert_eq!(seen, expected);
    // Whoever names what is not known, or has missed too much, is told so. What was just given from the log may come again.
    for unknown in ["0190a000-0000-7000-8000-000000000001", "nonsense"] {
        let mut stream = Stream::open(&moderator, Some(unknown)).await;
        assert_eq!(stream.next().await.unwrap().event, "reset");
        let id = id_of(&app.comment(&format!("after {unknown}")).await);
        while stream.next().await.expect("it goes on").data["id"] != id {}
    }
}

async fn whoever_heard_nothing_misses_nothing(backend: Backend) {
    let app = TestApp::new(backend).await;
    let moderator = app.default_moderator().await;
    app.comment("before").await;
    let here = Stream::open(&moderator, None).await.stands_at().await;
    let missed = id_of(&app.comment("missed").await);
    let mut again = Stream::open(&moderator, Some(&here)).await;
    while again.next().await.unwrap().data["id"] != missed {}
    let reset = Stream::open(&moderator, Some("nonsense")).await.next().await.unwrap();
    let missed = id_of(&app.comment("after the reset").await);
    let mut again = Stream::open(&moderator, Some(&reset.id)).await;
    while again.next().await.unwrap().data["id"] != missed {}
}

async fn what_another_instance_does_is_told(backend: Backend) {
    let app = TestApp::new(backend).await;
    let other = app.another().set("limits__enabled", "false").start().await;
    if backend == Backend::Postgres {
        // Instances need no common clock.
        other.clock.advance(Duration::from_hours(5));
    }
    let moderator = app.default_moderator().await;
    let there = Moderator::at(&other, moderator.token.clone());
    let (mut here, mut elsewhere) = (Stream::open(&moderator, None).await, Stream::open(&there, None).await);
    for n in 0..3 {
        let id = id_of(&other.comment(&format!("there {n}")).await);
        for stream in [&mut here, &mut elsewhere] {
            assert_eq!(stream.events(1).await, [("held".to_owned(), id.clone(), "author".to_owned())]);
        }
        let id = id_of(&app.comment(&format!("here {n}")).await);
        for stream in [&mut here, &mut elsewhere] {
            assert_eq!(stream.events(1).await, [("held".to_owned(), id.clone(), "author".to_owned())]);
        }
    }
    // A reconnection may lead to the other one.
    let log = moderator.get("/events").await.expect(200);
    let known = log["events"].as_array().unwrap().iter().last().unwrap()["id"].as_str().unwrap().to_owned();
    let mut again = Stream::open(&there, Some(&known)).await;
    assert_eq!(again.events(5).await.len(), 5);
}

async fn a_stop_ends_it(backend: Backend) {
    let mut app = TestApp::new(backend).await;
    let token = app.default_moderator().await.token;
    let mut stream = Stream::open(&Moderator::at(&app, token.clone()), None).await;
    // Far sooner than requests that have begun are given up: those get seven seconds.
    let begun = tokio::time::Instant::now();
    let ((), rest) = tokio::join!(app.drain(), async {
        while stream.block().await.is_some() {}
        begun.elapsed()
    });
    assert!(rest < Duration::from_secs(5), "{rest:?}");
}

async fn it_ends_with_the_rights_of_its_token(backend: Backend) {
    let app =
        TestApp::build(backend).set("limits__enabled", "false").heartbeat(Duration::from_millis(50)).start().await;
    let root = app.moderator("root@example.org", Role::Admin, &[]).await.token;
    let ann = app.default_moderator().await;
    let mut stream = Stream::open(&ann, None).await;
    stream.stands_at().await;
    assert_eq!(stream.block().await.unwrap(), ":", "a sign of life");
    // Other sites than before: it is opened anew with these.
    let all = call(&app, &root, "GET", "/api/v1/accounts", Value::Null).await.expect(200);
    let path = format!("/api/v1/accounts/{}", all["accounts"][1]["id"].as_str().unwrap());
    call(&app, &root, "PATCH", &path, json!({"sites": []})).await.expect(200);
    while stream.block().await.is_some() {}
    call(&app, &root, "PATCH", &path, json!({"sites": ["default"]})).await.expect(200);
    let mut stream = Stream::open(&ann, None).await;
    call(&app, &root, "DELETE", &path, Value::Null).await.expect(204);
    while stream.block().await.is_some() {}
    assert_eq!(ann.get("/stream").await.status, 401);
}

async fn places_are_counted(backend: Backend) {
    let set = |app: crate::support::app::Builder| {
        app.set("limits__enabled", "false").set("limits__streams", "3").set("limits__streams_per_account", "2")
    };
    let app = set(TestApp::build(backend)).heartbeat(Duration::from_millis(50)).start().await;
    let (ann, root) = (app.default_moderator().await, app.moderator("root@example.org", Role::Admin, &[]).await);
    let (first, _second) = (Stream::open(&ann, None).await, Stream::open(&ann, None).await);
    let refused = ann.get("/stream").await;
    assert_eq!(refused.header("retry-after"), "15");
    assert_eq!(refused.problem(429), "rate_limited");
    let _third = Stream::open(&root, None).await;
    assert_eq!(root.get("/stream").await.problem(503), "busy");
    // A place is free again once its listener has gone.
    drop(first);
    let until = tokio::time::Instant::now() + HANGS;
    while ann.request(Method::GET, "/stream").send().await.unwrap().status() != 200 {
        assert!(tokio::time::Instant::now() < until, "the place is never free again");
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
}
