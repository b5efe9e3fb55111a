//! The ways to a PostgreSQL database: through a pooler that gives each transaction another session, to a replica that is
//! behind, to a server that has frozen.

use std::time::Duration;

use afterword::domain::ids::SiteId;
use afterword::error::Error;
use afterword::storage::{Conn, Db, sites};
use diesel::prelude::*;
use diesel::sql_types::{Bool, Integer};
use serde_json::json;

use crate::support::app::TestApp;
use crate::support::database::{Backend, TestDatabase};
use crate::support::{postgres, rows};

#[derive(QueryableByName)]
struct Answer {
    #[diesel(sql_type = Bool)]
    answer: bool,
}

/// Whether a replica answers what is read now.
async fn replica_reads(db: &Db) -> bool {
    db.read(|conn| {
        let Conn::Postgres(c) = conn else { panic!("a PostgreSQL connection") };
        Ok(diesel::sql_query("SELECT pg_is_in_recovery() AS answer").get_result::<Answer>(c)?.answer)
    })
    .await
    .unwrap()
}

/// Waits until something holds; how long is not what a test judges.
async fn until<F: Future<Output = bool>>(what: &str, mut holds: impl FnMut() -> F) {
    let end = tokio::time::Instant::now() + Duration::from_mins(1);
    while !holds().await {
        assert!(tokio::time::Instant::now() < end, "never: {what}");
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn through_a_pooler_a_day_goes_as_usual() {
    let Some(database) = TestDatabase::new(Backend::Postgres).through_pooler() else { return };
    let pooled = database.settings.url.clone();
    let app = TestApp::on(database).set("limits__enabled", "false").start().await;
    let moderator = app.default_moderator().await;
    let texts: Vec<_> = (0..60).map(|n| (format!("a{}", n % 3), format!("Number {n}"))).collect();
    let sent = texts.iter().map(|(article, body)| {
        let comment = json!({"article": article, "name": "Ann", "email": "ann@reader.example", "body": body});
        let app = &app;
        async move { app.submit(&comment).await.expect(202) }
    });
    futures_util::future::join_all(sent).await;
    let ids = moderator.queue("?limit=200").await;
    assert_eq!(ids.len(), 60);
    let decided = json!({"decision": "approve", "ids": ids});
    moderator.post("/decisions", &decided).await.expect(200);
    let counts = app.get("/api/v1/sites/default/counts?article=a0&article=a1&article=a2").await.expect(200);
    assert_eq!(counts["counts"], json!({"a0": 20, "a1": 20, "a2": 20}));
    assert_eq!(moderator.queue("?status=all&limit=200&q=number").await.len(), 60);
    // Two sessions behind the pooler, used in turns.
    for _ in 0..4 {
        let left = postgres::psql(&pooled, "SELECT name, statement FROM pg_prepared_statements");
        assert!(left.status.success());
        assert_eq!(String::from_utf8_lossy(&left.stdout), "", "nothing outlives its transaction");
    }
    app.run_jobs().await;
}

#[test]
fn a_pooler_needs_a_way_past_it() {
    let mut settings = afterword::storage::DatabaseSettings::of("postgres://pooler.example/afterword");
    settings.pooler = true;
    let Err(Error::Internal(cause)) = settings.check() else { panic!("it must be refused") };
    assert!(cause.to_string().contains("database.direct_url"), "{cause}");
    settings.direct_url = Some("postgres://server.example/afterword?sslmode=perhaps".into());
    let Err(Error::Internal(cause)) = settings.check() else { panic!("it must be refused") };
    assert!(cause.to_string().starts_with("database.direct_url: sslmode is"), "{cause}");
    settings.direct_url = Some("postgres://server.example/afterword".into());
    settings.read_url = Some("sqlite:x.db".into());
    let Err(Error::Internal(cause)) = settings.check() else { panic!("it must be refused") };
    assert!(cause.to_string().starts_with("database.read_url: "), "{cause}");
    let mut settings = afterword::storage::DatabaseSettings::of("sqlite:x.db");
    settings.read_url = Some("postgres://replica.example/afterword".into());
    let Err(Error::Internal(cause)) = settings.check() else { panic!("it must be refused") };
    assert!(cause.to_string().contains("PostgreSQL alone"), "{cause}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_replica_answers_once_it_has_what_was_written() {
    let mut database = TestDatabase::new(Backend::Postgres);
    let replica = tokio::task::spawn_blocking(postgres::start_replica).await.unwrap();
    let Some(replica) = replica else { return };
    let name = postgres::name_of(&database.settings.url).to_owned();
    let replica = format!("postgres:///{name}?host={}&user=afterword", replica.display());
    let on_replica = |sql: &'static str| {
        let replica = replica.clone();
        async move { tokio::task::spawn_blocking(move || postgres::psql(&replica, sql)).await.unwrap() }
    };
    database.settings.read_url = Some(replica.clone());
    let db = database.open();
    until("the replica answers", || replica_reads(&db)).await;

    // It stays behind: who wrote reads their own write all the same.
    assert!(on_replica("SELECT pg_wal_replay_pause()").await.status.success());
    let site = rows::site(1, "blog");
    db.write(move |tx| sites::insert(tx, &site, rows::NOW)).await.unwrap();
    for _ in 0..20 {
        let found = db.read(sites::all).await.unwrap();
        assert_eq!(found.iter().map(|site| site.id).collect::<Vec<_>>(), [SiteId(rows::uuid(1))]);
    }
    assert!(!replica_reads(&db).await, "the primary answered");
    assert!(on_replica("SELECT pg_wal_replay_resume()").await.status.success());
    until("the replica answers again", || replica_reads(&db)).await;
    assert_eq!(db.read(sites::all).await.unwrap().len(), 1, "and has the write");

    // What another instance wrote without a word is known of soon, too.
    let other = database.open();
    assert!(on_replica("SELECT pg_wal_replay_pause()").await.status.success());
    let second = rows::site(2, "magazine");
    other.write(move |tx| sites::insert(tx, &second, rows::NOW)).await.unwrap();
    until("the other's write is seen", || async { db.read(sites::all).await.unwrap().len() == 2 }).await;
    assert!(on_replica("SELECT pg_wal_replay_resume()").await.status.success());

    // A replica whose sessions end is left out until it is back; nobody sees an error.
    until("the replica answers again", || replica_reads(&db)).await;
    on_replica("SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE pid <> pg_backend_pid()").await;
    for _ in 0..20 {
        assert_eq!(db.read(sites::all).await.unwrap().len(), 2);
    }
    until("the replica is back", || replica_reads(&db)).await;
}

#[derive(QueryableByName)]
struct Session {
    #[diesel(sql_type = Integer)]
    pid: i32,
}

/// A server that is stopped in the middle takes no time-out of its own: the client gives up, and says busy.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_frozen_session_is_given_up() {
    if postgres::socket().is_none() {
        return; // The processes of a server elsewhere cannot be stopped.
    }
    let mut database = TestDatabase::new(Backend::Postgres);
    database.settings.pool_size = 1;
    let db = database.open();
    let session = db
        .read(|conn| {
            let Conn::Postgres(c) = conn else { panic!("a PostgreSQL connection") };
            Ok(diesel::sql_query("SELECT pg_backend_pid() AS pid").get_result::<Session>(c)?.pid)
        })
        .await
        .unwrap();
    let signal =
        |name: &str| std::process::Command::new("kill").args([name, &session.to_string()]).status().unwrap().success();
    assert!(signal("-STOP"));
    let read = tokio::time::timeout(Duration::from_mins(1), db.read(sites::all)).await;
    assert!(signal("-CONT"));
    assert!(read.expect("it must not hang").unwrap().is_empty(), "read again on a new connection");
}
