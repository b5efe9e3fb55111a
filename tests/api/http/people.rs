//! A person's data in the hands of administrators, and what retention lets go: whole when it is taken out, and no byte of it
//! left when it is erased.

use std::path::Path;
use std::time::Duration;

use afterword::jobs::housekeeping;
use afterword::storage::accounts::Role;
use afterword::storage::{Conn, vacuum};
use diesel::prelude::*;
use reqwest::Method;
use serde_json::{Value, json};

use super::administration::call;
use crate::support::app::{Answer, TestApp, comment, work_left};
use crate::support::database::{Backend, on_both_databases};

on_both_databases!(
    an_export_has_everything,
    administrators_alone_may,
    after_an_erasure_no_byte_is_left,
    the_log_says_who_erased_and_how,
    many_comments_go_in_batches,
    senders_go_after_their_days,
    refused_comments_go_after_their_days,
    a_site_decides_for_itself
);

const EMAIL: &str = "Canary.Bird+x@coal-mine.example";
const DAY: Duration = Duration::from_hours(24);

async fn people(app: &TestApp, token: &str, what: &str, body: Value) -> Answer {
    app.clock.advance(Duration::from_secs(1));
    call(app, token, "POST", &format!("/api/v1/people/{what}"), body).await
}

async fn admin(app: &TestApp) -> String {
    app.moderator("boss@example.org", Role::Admin, &[]).await.token
}

fn canary(text: &str) -> Value {
    let mut body = comment(text);
    (body["name"], body["email"]) = (json!("Zebulon Quagmire"), json!(EMAIL));
    (body["website"], body["notify"]) = (json!("https://quagmire.example/"), json!(true));
    body
}

async fn sent(app: &TestApp, body: &Value) -> String {
    app.clock.advance(Duration::from_secs(1));
    let request = app.request(Method::POST, "/api/v1/sites/default/comments").json(body);
    let request = request.header("x-forwarded-for", "203.0.113.77").header("user-agent", "Nightingale/7");
    let request = request.header("idempotency-key", format!("key-{}", body["body"].as_str().unwrap().len()));
    app.send(request).await.expect(202)["comment"]["id"].as_str().unwrap().to_owned()
}

async fn started(backend: Backend) -> TestApp {
    TestApp::build(backend)
        .set("server__trusted_proxies", "127.0.0.1")
        .set("privacy__address", "full")
        .set("limits__enabled", "false")
        .start()
        .await
}

async fn an_export_has_everything(backend: Backend) {
    let app = started(backend).await;
    let token = admin(&app).await;
    let id = sent(&app, &canary("all of it")).await;
    app.run_jobs().await;
    app.comment("somebody else's").await;
    let exported = people(&app, &token, "export", json!({"email": EMAIL.to_uppercase()})).await.expect(200);
    let comments = exported["comments"].as_array().unwrap();
    assert_eq!(comments.len(), 1);
    assert_eq!(comments[0]["id"], id);
    assert_eq!((&comments[0]["email"], &comments[0]["address"]), (&json!(EMAIL), &json!("203.0.113.77")));
    assert_eq!(comments[0]["text"]["body"], "all of it");
    assert_eq!(exported["mails"][0]["consent"], "asked");
    let elsewhere = json!({"email": EMAIL, "site": "default"});
    assert_eq!(people(&app, &token, "export", elsewhere).await.expect(200)["comments"].as_array().unwrap().len(), 1);
    let nobody = people(&app, &token, "export", json!({"email": "nobody@example.net"})).await.expect(200);
    assert_eq!(nobody["comments"], json!([]));
}

async fn administrators_alone_may(backend: Backend) {
    let app = started(backend).await;
    let token = admin(&app).await;
    let id = sent(&app, &canary("stays")).await;
    let moderator = app.default_moderator().await;
    for what in ["export", "erase"] {
        let body = json!({"email": EMAIL});
        assert_eq!(people(&app, &moderator.token, what, body.clone()).await.problem(403), "forbidden");
        assert_eq!(app.post(&format!("/api/v1/people/{what}"), &body).await.problem(401), "unauthenticated");
        assert_eq!(people(&app, &token, what, json!({})).await.faults(), ["email required"]);
        assert_eq!(people(&app, &token, what, json!({"email": "x"})).await.faults(), ["email invalid_email"]);
        let unknown = json!({"email": EMAIL, "site": "nowhere"});
        assert_eq!(people(&app, &token, what, unknown).await.faults(), ["site unknown_site"]);
    }
    assert_eq!(moderator.queue("").await, [id]);
}

async fn after_an_erasure_no_byte_is_left(backend: Backend) {
    let app = started(backend).await;
    let token = admin(&app).await;
    let moderator = app.default_moderator().await;
    let root = sent(&app, &canary("melancholy")).await;
    moderator.decide(&root, "approve").await.expect(200);
    let answer = app.published("an answer", Some(&root)).await;
    let mut own = canary("cryptozoology!");
    own["parent_id"] = json!(answer);
    sent(&app, &own).await;
    let spam = sent(&app, &canary("perspicacious!!")).await;
    moderator.decide(&spam, "spam").await.expect(200);
    app.send(app.request(Method::POST, "/me/default").form(&[("email", EMAIL)])).await;
    let email = afterword::domain::email::Email::parse(EMAIL, "email").unwrap();
    let hashes = app.service.keys.email_hashes(&email);
    app.run_jobs().await;
    app.send(app.request(Method::POST, "/me/default").form(&[("email", EMAIL)])).await;
    assert!(left_of_it(&app, &hashes).await, "the canaries are there before");
    let erased = people(&app, &token, "erase", json!({"email": EMAIL})).await.expect(200);
    assert_eq!(erased, json!({"erased": 3}));
    assert_eq!(people(&app, &token, "erase", json!({"email": EMAIL})).await.expect(200), json!({"erased": 0}));
    assert_eq!(app.listed("").await, [format!("-{root}"), answer]);
    assert_eq!(app.list("").await["article"]["comment_count"], 1);
    let summary = moderator.get("/summary").await.expect(200);
    assert!(summary.to_string().contains("\"spam\":0"), "{summary}");
    assert_eq!(work_left(&app).await, 0, "nothing about them waits");
    if backend == Backend::Sqlite {
        let file = app.database_file().to_owned();
        tokio::task::spawn_blocking(move || vacuum::vacuum(Path::new(&file)).unwrap()).await.unwrap();
    }
    assert!(!left_of_it(&app, &hashes).await);
    assert!(moderator.queue("?q=answer&status=all").await.len() == 1, "search still finds the others");
    assert!(moderator.queue("?q=melancholy&status=all").await.is_empty());
}

async fn the_log_says_who_erased_and_how(backend: Backend) {
    let app = started(backend).await;
    let desk = app.desk("ann@blog.example", Role::Admin).await;
    let token = admin(&app).await;
    let last = async |id: &str| {
        let log = desk.get(&format!("/api/v1/moderation/events?comment={id}")).await.expect(200);
        let last = &log["events"][0];
        [last["action"].clone(), last["actor"].clone(), last["via"].clone()]
            .map(|word| word.as_str().unwrap().to_owned())
    };
    let by_token = sent(&app, &canary("by a token")).await;
    people(&app, &token, "erase", json!({"email": EMAIL})).await.expect(200);
    assert_eq!(last(&by_token).await, ["removed", "boss", "api"]);
    let by_desk = sent(&app, &canary("at the desk")).await;
    desk.post("/api/v1/people/erase", &json!({"email": EMAIL})).await.expect(200);
    assert_eq!(last(&by_desk).await, ["removed", "ann", "desk"]);
    let by_hand = sent(&app, &canary("by the command line")).await;
    let email = afterword::domain::email::Email::parse(EMAIL, "email").unwrap();
    let eraser = afterword::service::erasure::Eraser { account: None, via: afterword::domain::comment::Via::Cli };
    assert_eq!(app.service.erase_person(app.service.whose(&email, None), eraser).await.unwrap(), 1);
    assert_eq!(last(&by_hand).await, ["removed", "operator", "cli"]);
}

/// Whether anything of the canary lies in the files (`SQLite`) or in any row (`PostgreSQL`).
async fn left_of_it(app: &TestApp, hashes: &[Vec<u8>]) -> bool {
    let rows = app
        .service
        .db
        .write(|tx| match tx.conn() {
            Conn::Sqlite(_) => Ok(None),
            Conn::Postgres(c) => Ok(Some(dump(c))),
        })
        .await
        .unwrap();
    let mut songs: Vec<Vec<u8>> = [
        "zebulon",
        "quagmire",
        "coal-mine",
        "203.0.113.77",
        "nightingale",
        "melancholy",
        "cryptozoology",
        "perspicacious",
    ]
    .iter()
    .map(|song| song.as_bytes().to_vec())
    .collect();
    let bytes = if let Some(rows) = rows {
        songs.extend(hashes.iter().map(|hash| afterword::domain::hex::hex(hash).into_bytes()));
        rows.into_bytes()
    } else {
        songs.extend(hashes.iter().cloned());
        let file = app.database_file();
        ["", "-wal"].iter().flat_map(|end| std::fs::read(format!("{file}{end}")).unwrap_or_default()).collect()
    };
    let found = |song: &Vec<u8>| bytes.windows(song.len()).any(|window| window.eq_ignore_ascii_case(song));
    let there: Vec<_> = songs.iter().filter(|song| found(song)).map(|song| String::from_utf8_lossy(song)).collect();
    eprintln!("left: {there:?}");
    !there.is_empty()
}

fn dump(conn: &mut impl diesel::connection::LoadConnection<Backend = diesel::pg::Pg>) -> String {
    #[derive(QueryableByName)]
    struct Text {
        #[diesel(sql_type = diesel::sql_types::Text)]
        text: String,
    }
    let names: Vec<Text> = diesel::sql_query(
        "SELECT CAST(table_name AS TEXT) AS text FROM information_schema.tables \
         WHERE table_schema = 'public' AND table_type = 'BASE TABLE'",
    )
    .load(conn)
    .unwrap();
    assert!(names.len() > 15);
    let mut all = String::new();
    for Text { text: table } in names {
        let rows: Vec<Text> =
            diesel::sql_query(format!("SELECT CAST({table} AS TEXT) AS text FROM {table}")).load(conn).unwrap();
        all.extend(rows.into_iter().map(|row| row.text));
    }
    all
}

async fn many_comments_go_in_batches(backend: Backend) {
    let app = started(backend).await;
    let token = admin(&app).await;
    for n in 0..250 {
        let mut body = canary(&format!("number {n}"));
        (body["notify"], body["article"]) = (json!(false), json!(format!("/{}", n % 3)));
        app.submit(&body).await.expect(202);
    }
    let other = app.comment("stays").await["comment"]["id"].as_str().unwrap().to_owned();
    assert_eq!(people(&app, &token, "erase", json!({"email": EMAIL})).await.expect(200)["erased"], 250);
    assert_eq!(app.default_moderator().await.queue("").await, [other]);
}

async fn seen(app: &TestApp, id: &str) -> Value {
    app.default_moderator().await.get(&format!("/comments/{id}")).await.expect(200)
}

async fn senders_go_after_their_days(backend: Backend) {
    let app = TestApp::build(backend)
        .set("limits__enabled", "false")
        .set("privacy__address", "full")
        .set("retention__sender_days", "30")
        .start()
        .await;
    let old = app.comment("old").await["comment"]["id"].as_str().unwrap().to_owned();
    app.default_moderator().await.decide(&old, "approve").await.expect(200);
    let waits = app.comment("old and waiting").await["comment"]["id"].as_str().unwrap().to_owned();
    app.clock.advance(DAY * 29);
    let new = app.comment("new").await["comment"]["id"].as_str().unwrap().to_owned();
    housekeeping::sweep(&app.service).await.unwrap();
    assert_eq!(seen(&app, &old).await["address"], "127.0.0.1");
    app.clock.advance(DAY * 2);
    housekeeping::sweep(&app.service).await.unwrap();
    for id in [&old, &waits] {
        let comment = seen(&app, id).await;
        assert_eq!((&comment["address"], &comment["user_agent"]), (&Value::Null, &Value::Null));
        assert_eq!(comment["email"], "ada@example.org");
    }
    assert_eq!(seen(&app, &new).await["address"], "127.0.0.1");
    app.clock.advance(DAY * 29);
    housekeeping::sweep(&app.service).await.unwrap();
    assert_eq!(seen(&app, &new).await["address"], Value::Null, "the next sweep goes on where the last ended");
}

async fn refused_comments_go_after_their_days(backend: Backend) {
    let app =
        TestApp::build(backend).set("limits__enabled", "false").set("retention__refused_days", "30").start().await;
    let moderator = app.default_moderator().await;
    let mut ids = Vec::new();
    for text in ["spam", "rejected", "pending", "public", "late"] {
        ids.push(app.comment(text).await["comment"]["id"].as_str().unwrap().to_owned());
    }
    for (id, decision) in [(&ids[0], "spam"), (&ids[1], "approve"), (&ids[3], "approve")] {
        moderator.decide(id, decision).await.expect(200);
    }
    app.clock.advance(Duration::from_secs(1));
    let answer = app.published("an answer", Some(&ids[1])).await;
    moderator.decide(&ids[1], "reject").await.expect(200);
    app.clock.advance(DAY * 20);
    moderator.decide(&ids[4], "reject").await.expect(200);
    housekeeping::sweep(&app.service).await.unwrap();
    assert_eq!(moderator.queue("?status=all").await.len(), 6, "not yet");
    app.clock.advance(DAY * 11);
    let gone = app.service.keep_no_longer().await.unwrap();
    assert_eq!((gone.senders, gone.refused), (0, 2));
    let mut left = moderator.queue("?status=all").await;
    left.sort();
    let mut expected = vec![ids[2].clone(), ids[3].clone(), ids[4].clone(), answer.clone()];
    expected.sort();
    assert_eq!(left, expected, "what waits stays, and what was decided lately");
    assert!(app.listed("").await.contains(&format!("-{}", ids[1])), "an empty place stays above the answer");
}

async fn a_site_decides_for_itself(backend: Backend) {
    let app = TestApp::new(backend).await;
    let token = admin(&app).await;
    let site = "/api/v1/sites/default";
    let set = |retention: Value| call(&app, &token, "PATCH", site, json!({"retention": retention}));
    assert_eq!(set(json!({"sender_days": -1})).await.faults(), ["retention out_of_range"]);
    assert_eq!(set(json!({"nonsense": 1})).await.faults(), ["retention unknown_field"]);
    let after = set(json!({"sender_days": 7})).await.expect(200);
    assert_eq!(after["retention"], json!({"sender_days": 7, "refused_days": null}));
    let after = set(json!({"refused_days": 3, "sender_days": null})).await.expect(200);
    assert_eq!(after["retention"], json!({"sender_days": null, "refused_days": 3}));
    let id = app.comment("x").await["comment"]["id"].as_str().unwrap().to_owned();
    app.default_moderator().await.decide(&id, "spam").await.expect(200);
    app.clock.advance(DAY * 4);
    assert_eq!(app.service.keep_no_longer().await.unwrap().refused, 1);
}
