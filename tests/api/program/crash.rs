//! kill -9 under write load: every acknowledged comment is there once, and the file is whole. The short form runs here;
//! `AFTERWORD_KILL_ROUNDS=200 cargo test --test api crash` is the long one.

use std::collections::{HashMap, HashSet};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};

use diesel::prelude::*;
use reqwest::blocking::Client;
use serde_json::{Value, json};

use crate::support::program::{Installation, Running, wait_until};

/// What clients know: each text they sent, and the id that they got for it, if they got one.
type Ledger = Arc<Mutex<HashMap<String, Option<String>>>>;

const CLIENTS: usize = 8;

#[test]
fn acknowledged_comments_survive_kill_9() {
    let rounds: usize = std::env::var("AFTERWORD_KILL_ROUNDS").map_or(10, |rounds| rounds.parse().unwrap());
    let installation = Installation::new().set("limits__enabled", "false").set("log__level", "warn");
    let ledger: Ledger = Arc::default();
    for round in 0..rounds {
        let running = installation.start();
        repeat_what_was_cut(&running, &ledger);
        write_until_killed(running, &ledger, 100 + round * 53 % 400, round);
    }
    let running = installation.start();
    repeat_what_was_cut(&running, &ledger);
    assert!(running.stop().success());
    compare(&installation, &ledger.lock().unwrap());
}

fn send(client: &Client, url: &str, text: &str) -> Option<String> {
    let comment =
        json!({"article": format!("/{}", text.len() % 7), "name": "Ada", "email": "ada@example.org", "body": text});
    let request =
        client.post(format!("{url}/api/v1/sites/default/comments")).json(&comment).header("Idempotency-Key", text);
    let answer: Value = request.send().ok()?.json().ok()?;
    Some(answer["comment"]["id"].as_str().unwrap_or_else(|| panic!("{answer}")).to_owned())
}

fn write_until_killed(running: Running, ledger: &Ledger, enough: usize, round: usize) {
    let (url, stop) = (running.url.clone(), Arc::new(AtomicBool::new(false)));
    let before = acknowledged(ledger);
    let clients: Vec<_> = (0..CLIENTS)
        .map(|number| {
            let (url, stop, ledger) = (url.clone(), stop.clone(), ledger.clone());
            std::thread::spawn(move || {
                let client = Client::new();
                for n in 0.. {
                    if stop.load(Ordering::Relaxed) {
                        return;
                    }
                    let text = format!("round-{round}-client-{number}-comment-{n}{}", "x".repeat(n % 7));
                    ledger.lock().unwrap().insert(text.clone(), None);
                    match send(&client, &url, &text) {
                        Some(id) => _ = ledger.lock().unwrap().insert(text, Some(id)),
                        None => return,
                    }
                }
            })
        })
        .collect();
    wait_until("enough comments are acknowledged", || acknowledged(ledger) - before >= enough);
    running.kill();
    stop.store(true, Ordering::Relaxed);
    for client in clients {
        client.join().unwrap();
    }
}

fn acknowledged(ledger: &Ledger) -> usize {
    ledger.lock().unwrap().values().filter(|id| id.is_some()).count()
}

/// What a client does after a cut connection: the same request with the same key. It must not be stored twice.
fn repeat_what_was_cut(running: &Running, ledger: &Ledger) {
    let client = Client::new();
    let cut: Vec<String> =
        ledger.lock().unwrap().iter().filter(|(_, id)| id.is_none()).map(|(text, _)| text.clone()).collect();
    for text in cut {
        let id = send(&client, &running.url, &text).expect("the service answers again");
        ledger.lock().unwrap().insert(text, Some(id));
    }
}

#[derive(QueryableByName)]
struct Check {
    #[diesel(sql_type = diesel::sql_types::Text)]
    integrity_check: String,
}

fn compare(installation: &Installation, ledger: &HashMap<String, Option<String>>) {
    use afterword::storage::schema::{comments, events, outbox, site_counts};
    let mut conn = SqliteConnection::establish(installation.path("data/afterword.db").to_str().unwrap()).unwrap();
    let check: Check = diesel::sql_query("PRAGMA integrity_check").get_result(&mut conn).unwrap();
    assert_eq!(check.integrity_check, "ok");
    let rows: Vec<(afterword::domain::ids::CommentId, String)> =
        comments::table.select((comments::id, comments::body)).load(&mut conn).unwrap();
    let stored: HashMap<String, String> = rows.iter().map(|(id, body)| (body.clone(), id.to_string())).collect();
    assert_eq!(stored.len(), rows.len(), "nothing is stored twice");
    assert_eq!(rows.len(), ledger.len(), "every comment that was sent is there");
    for (text, id) in ledger {
        assert_eq!(stored.get(text), id.as_ref(), "{text}");
    }
    let count = i64::try_from(rows.len()).unwrap();
    assert_eq!(events::table.count().get_result::<i64>(&mut conn).unwrap(), count);
    // Nobody moderates here: work that was done leaves no row, and what is left is there once.
    let work: Vec<Option<afterword::domain::ids::CommentId>> =
        outbox::table.select(outbox::comment_id).load(&mut conn).unwrap();
    let distinct: HashSet<_> = work.iter().map(|id| id.unwrap()).collect();
    assert_eq!(distinct.len(), work.len());
    assert!(distinct.is_subset(&rows.iter().map(|(id, _)| *id).collect()));
    assert_eq!(site_counts::table.select(site_counts::pending).get_result::<i64>(&mut conn).unwrap(), count);
    eprintln!("{count} comments, all of them acknowledged in the end, none lost, none doubled");
}
