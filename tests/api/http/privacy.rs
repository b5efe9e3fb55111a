//! A canary e-mail address and network address, plain or hashed, stand in no public byte, header or `ETag`, and not in plain
//! in the database file.

use std::path::Path;

use afterword::storage::Conn;
use diesel::connection::SimpleConnection;
use reqwest::Method;
use serde_json::{Value, json};
use sha2::{Digest, Sha256};

use super::stream::Stream;
use crate::support::app::{Answer, TestApp};
use crate::support::database::{Backend, on_both_databases};

on_both_databases!(
    canaries_stay_inside,
    an_unreadable_field_takes_nothing_along,
    nothing_is_kept_of_a_sender_where_nothing_may_be,
);

async fn nothing_is_kept_of_a_sender_where_nothing_may_be(backend: Backend) {
    for (address, agent) in [("none", Value::Null), ("network", json!("Nightingale/7"))] {
        let app = TestApp::build(backend).set("privacy__address", address).start().await;
        let body = json!({"article": "/a", "name": "Bird", "email": EMAIL, "body": "tweet"});
        let post = app.request(Method::POST, "/api/v1/sites/default/comments").json(&body);
        let sent = app.send(post.header("user-agent", "Nightingale/7")).await.expect(202);
        let id = sent["comment"]["id"].as_str().unwrap().to_owned();
        let seen = app.default_moderator().await.get(&format!("/comments/{id}")).await.expect(200);
        assert_eq!(seen["user_agent"], agent, "{address}");
    }
}

/// After an erasure all tables in which a person's rows lay are written anew.
#[test]
fn the_tables_to_be_vacuumed_are_all_there() {
    let page = |name: &str| std::fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join(name)).unwrap();
    let (privacy, operations) = (page("docs/privacy.md"), page("docs/operations.md"));
    let full = operations.lines().find(|line| line.starts_with("VACUUM FULL")).unwrap();
    let named: Vec<&str> = full.trim_start_matches("VACUUM FULL").split([',', ';']).map(str::trim).collect();
    let rows = privacy.lines().filter_map(|line| line.strip_prefix("| `"));
    let tables: std::collections::BTreeSet<&str> = rows.filter_map(|row| row.split('.').next()).collect();
    // Accounts are no people who wrote comments, the log has no text of theirs, and nothing leads to who reacted.
    let others = ["accounts", "passkeys", "sessions", "events", "reactions"];
    for table in tables.iter().filter(|table| !others.contains(table)) {
        assert!(named.contains(table), "{table} is not in {full}");
    }
}

const EMAIL: &str = "Canary.Bird+x@coal-mine.example";
const ADDRESS: &str = "203.0.113.77";

/// Every form in which a canary could sing.
fn songs() -> Vec<Vec<u8>> {
    let mut songs = Vec::new();
    for text in
        [EMAIL.to_owned(), EMAIL.to_lowercase(), EMAIL.split('@').next().unwrap().to_owned(), ADDRESS.to_owned()]
    {
        let bytes = text.as_bytes();
        songs.push(bytes.to_vec());
        songs.push(text.replace('@', "%40").replace('+', "%2B").into_bytes());
        let digests = [Sha256::digest(bytes).to_vec(), sha1(bytes), md5(bytes)];
        for raw in digests.iter().map(Vec::as_slice).chain([bytes]) {
            songs.push(afterword::domain::hex::hex(raw).into_bytes());
            songs.push(base64(raw).trim_end_matches('=').as_bytes().to_vec());
        }
    }
    songs
}

/// The old digests that avatars are made from elsewhere; written here because nothing of ours may use them.
fn command(program: &str, bytes: &[u8]) -> Vec<u8> {
    use std::io::Write;
    let mut child = std::process::Command::new(program)
        .stdin(std::process::Stdio::piped())
        .stdout(std::process::Stdio::piped())
        .spawn()
        .unwrap();
    child.stdin.take().unwrap().write_all(bytes).unwrap();
    let output = String::from_utf8(child.wait_with_output().unwrap().stdout).unwrap();
    let digits = output.split_whitespace().next().unwrap().to_owned();
    digits
        .as_bytes()
        .chunks(2)
        .map(|pair| u8::from_str_radix(std::str::from_utf8(pair).unwrap(), 16).unwrap())
        .collect()
}

fn md5(bytes: &[u8]) -> Vec<u8> {
    command("md5sum", bytes)
}

fn sha1(bytes: &[u8]) -> Vec<u8> {
    command("sha1sum", bytes)
}

fn base64(bytes: &[u8]) -> String {
    const DIGITS: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    let mut text = String::new();
    for chunk in bytes.chunks(3) {
        let group = chunk.iter().fold(0_u32, |group, byte| group << 8 | u32::from(*byte)) << (8 * (3 - chunk.len()));
        for place in 0..=chunk.len() {
            text.push(char::from(DIGITS[(group >> (18 - 6 * place) & 63) as usize]));
        }
    }
    text
}

fn listen(what: &str, heard: &[u8], songs: &[Vec<u8>]) {
    for song in songs {
        let found = heard.windows(song.len()).any(|bytes| bytes.eq_ignore_ascii_case(song));
        assert!(!found, "{what}: {} in {}", String::from_utf8_lossy(song), String::from_utf8_lossy(heard));
    }
}

fn listen_to(what: &str, answer: &Answer, songs: &[Vec<u8>]) {
    let mut heard = answer.body.clone();
    for (name, value) in &answer.headers {
        heard.extend_from_slice(name.as_str().as_bytes());
        heard.extend_from_slice(value.as_bytes());
    }
    listen(what, &heard, songs);
}

async fn canaries_stay_inside(backend: Backend) {
    let app = TestApp::build(backend)
        .set("server__trusted_proxies", "127.0.0.1")
        .set("privacy__address", "full")
        .set("limits__enabled", "false")
        .start()
        .await;
    let songs = songs();
    let body = json!({"article": "/a", "name": "Bird", "email": EMAIL, "body": "tweet"});
    let send = |request: reqwest::RequestBuilder| app.send(request.header("x-forwarded-for", ADDRESS));
    let post = |body: &Value| app.request(Method::POST, "/api/v1/sites/default/comments").json(body);
    let first = send(post(&body)).await;
    listen_to("the answer", &first, &songs);
    let (id, token) = (
        first.json()["comment"]["id"].as_str().unwrap().to_owned(),
        first.json()["author_token"].as_str().unwrap().to_owned(),
    );
    listen_to("a double", &send(post(&body)).await, &songs);
    for bad in [
        json!({"email": EMAIL}),
        json!({"name": EMAIL, "email": [EMAIL]}),
        json!({"article": "/a", "name": "x", "email": format!("{EMAIL} x"), "body": "b", EMAIL: 1}),
    ] {
        listen_to("faults", &send(post(&bad)).await, &songs);
    }
    listen_to(
        "not JSON",
        &send(
            app.request(Method::POST, "/api/v1/sites/default/comments")
                .header("content-type", "application/json")
                .body(format!("{{\"email\": {EMAIL}")),
        )
        .await,
        &songs,
    );
    let moderator = app.default_moderator().await;
    let seen = moderator.get(&format!("/comments/{id}")).await.expect(200);
    assert_eq!(
        (seen["email"].as_str(), seen["address"].as_str()),
        (Some(EMAIL), Some(ADDRESS)),
        "moderators do see them"
    );
    moderator.decide(&id, "approve").await.expect(200);
    listen_to("events", &moderator.get("/events").await, &songs);
    listen_to("summary", &moderator.get("/summary").await, &songs);
    assert!(moderator.queue("?q=canary").await.is_empty(), "addresses are not searched");
    // What its author, from the same address, says of it and of the article.
    for (method, path, body) in [
        (Method::PUT, format!("/api/v1/comments/{id}/vote"), json!({"value": 1})),
        (Method::PUT, "/api/v1/sites/default/reactions?article=/a".to_owned(), json!({"reaction": "like"})),
        (Method::GET, "/api/v1/sites/default/reactions?article=/a".to_owned(), json!({})),
        (Method::POST, format!("/api/v1/comments/{id}/flags"), json!({"reason": "other"})),
    ] {
        let answer = send(app.request(method, &path).json(&body)).await;
        assert!(answer.status.is_success(), "{}", answer.text());
        listen_to(&path, &answer, &songs);
    }
    let page = app.request(Method::GET, "/api/v1/sites/default/comments?article=/a").header("accept", "text/html");
    listen_to("the piece of a page", &send(page).await, &songs);
    listen_to_the_stream(&app, &id, &songs).await;
    for path in ["comments?article=/a", "recent", "counts?article=/a", "form", "feed.atom", "feed.atom?article=/a"] {
        for encoding in ["identity", "gzip", "br"] {
            let request =
                app.request(Method::GET, &format!("/api/v1/sites/default/{path}")).header("accept-encoding", encoding);
            listen_to(path, &send(request).await, &songs);
        }
    }
    let own = app.request(Method::GET, &format!("/api/v1/comments/{id}")).bearer_auth(&token);
    listen_to("own", &send(own).await, &songs);
    let avatar = seen["avatar"].as_str().unwrap().strip_prefix(&app.url).unwrap().to_owned();
    listen_to("avatar", &app.get(&avatar).await, &songs);
    let mails = app.run_jobs().await;
    assert!(mails.is_empty(), "it was decided before the mail left");
    look_into_the_file(&app, &songs).await;
}

/// What readers are told of a comment that is held and approved again.
async fn listen_to_the_stream(app: &TestApp, id: &str, songs: &[Vec<u8>]) {
    let opened = app.request(Method::GET, "/api/v1/sites/default/stream?article=/a").send().await.unwrap();
    listen("the head of a stream", format!("{:?}", opened.headers()).as_bytes(), songs);
    let mut stream = Stream::of(opened);
    let moderator = app.default_moderator().await;
    for decision in ["hold", "approve"] {
        moderator.decide(id, decision).await.expect(200);
        listen("a stream", format!("{:?}", stream.next().await.unwrap()).as_bytes(), songs);
    }
}

/// All bytes of the database files (`SQLite`), or of every row (`PostgreSQL`).
async fn look_into_the_file(app: &TestApp, songs: &[Vec<u8>]) {
    let rows = app
        .service
        .db
        .write(|tx| match tx.conn() {
            Conn::Sqlite(c) => {
                c.batch_execute("PRAGMA incremental_vacuum")?;
                Ok(None)
            }
            Conn::Postgres(c) => Ok(Some(dump(c))),
        })
        .await
        .unwrap();
    if let Some(rows) = rows {
        listen("the rows", rows.as_bytes(), songs);
    } else {
        let file = app.database_file();
        for suffix in ["", "-wal"] {
            let path = format!("{file}{suffix}");
            if Path::new(&path).exists() {
                listen(&path, &std::fs::read(&path).unwrap(), songs);
            }
        }
    }
}

fn dump(conn: &mut impl diesel::connection::LoadConnection<Backend = diesel::pg::Pg>) -> String {
    use diesel::prelude::*;
    #[derive(QueryableByName)]
    struct Row {
        #[diesel(sql_type = diesel::sql_types::Text)]
        row: String,
    }
    let mut text = String::new();
    for table in [
        "comments",
        "events",
        "outbox",
        "idempotency_keys",
        "authors",
        "articles",
        "comment_words",
        "accounts",
        "votes",
        "reactions",
        "flags",
    ] {
        let sql = format!("SELECT CAST({table} AS TEXT) AS row FROM {table}");
        let rows: Vec<Row> = diesel::sql_query(sql).load(conn).unwrap();
        text.extend(rows.into_iter().map(|row| row.row));
    }
    text
}

/// One value that no key opens, and one whose key is gone.
async fn an_unreadable_field_takes_nothing_along(backend: Backend) {
    let app = TestApp::new(backend).await;
    let moderator = app.default_moderator().await;
    for text in ["one", "two", "three"] {
        app.comment(text).await;
    }
    let page = app
        .service
        .db
        .read(|conn| afterword::storage::reseal::page(conn, afterword::domain::ids::CommentId(uuid::Uuid::nil())))
        .await
        .unwrap();
    let change = |n: usize, at: usize| {
        let mut after = page[n].clone();
        after.email_sealed.as_mut().unwrap()[at] ^= 1;
        after.sender_sealed.as_mut().unwrap()[at] ^= 1;
        (page[n].clone(), after)
    };
    let changes = [change(0, 40), change(1, 2)];
    app.service.db.write(move |tx| afterword::storage::reseal::replace(tx, &changes)).await.unwrap();
    let queue = moderator.get("/comments").await.expect(200);
    let emails: Vec<&serde_json::Value> =
        queue["comments"].as_array().unwrap().iter().map(|row| &row["email"]).collect();
    assert_eq!(
        emails,
        [&serde_json::Value::Null, &serde_json::Value::Null, &serde_json::Value::from("ada@example.org")]
    );
    let id = page[0].id.to_string();
    assert_eq!(moderator.get(&format!("/comments/{id}")).await.expect(200)["address"], serde_json::Value::Null);
    let exported = super::rotation::exported(&app.service).await;
    assert_eq!(exported.lines().filter(|line| line.contains(r#""kind":"comment""#)).count(), 3);
    assert_eq!(exported.matches("ada@example.org").count(), 1);
}
