//! The ways to a PostgreSQL database: through a pooler that gives each transaction another session, to a replica that is
//! behind, to a server that has frozen.

use std::path::Path;
use std::time::Duration;

use afterword::error::Error;
use afterword::storage::{Conn, DatabaseSettings, Db, migrations, sites};
use diesel::prelude::*;
use diesel::sql_types::{Bool, Integer};
use serde_json::json;

use crate::support::app::TestApp;
use crate::support::database::{Backend, TestDatabase};
use crate::support::{pooler, postgres, rows};

#[derive(QueryableByName)]
struct Answer {
    #[diesel(sql_type = Bool)]
    answer: bool,
}

/// What the server says to a question.
fn ask(sql: &'static str) -> impl FnMut(&mut Conn) -> Result<bool, Error> + Send + 'static {
    move |conn| {
        let Conn::Postgres(c) = conn else { panic!("a PostgreSQL connection") };
        Ok(diesel::sql_query(sql).get_result::<Answer>(c)?.answer)
    }
}

/// Whether a replica answers what is read for everybody now.
async fn replica_reads(db: &Db) -> bool {
    db.read_for_everybody(ask("SELECT pg_is_in_recovery() AS answer")).await.unwrap()
}

/// How many sites a public list would be made from.
async fn sites_seen(db: &Db) -> usize {
    db.read_for_everybody(sites::all).await.unwrap().len()
}

async fn insert_site(db: &Db, number: u64) {
    let site = rows::site(number, &format!("site-{number}"));
    db.write(move |tx| sites::insert(tx, &site, rows::NOW)).await.unwrap();
}

/// The database of a URL on a server with a socket of its own.
fn on_socket(url: &str, folder: &Path, port: u16) -> String {
    format!("postgres:///{}?host={}&port={port}&user=afterword", postgres::name_of(url), folder.display())
}

/// Runs a statement where a URL leads to.
async fn run(url: &str, sql: &'static str) {
    let url = url.to_owned();
    tokio::task::spawn_blocking(move || postgres::run(&url, sql)).await.unwrap();
}

/// Waits until something holds; how long is not what a test judges. (A replica was away for more than a minute on a machine that
/// two release builds and its host kept busy.)
async fn until<F: Future<Output = bool>>(what: &str, mut holds: impl FnMut() -> F) {
    let end = tokio::time::Instant::now() + Duration::from_mins(5);
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
    let folder = tokio::task::spawn_blocking(postgres::start_replica).await.unwrap();
    let Some(folder) = folder else { return };
    let replica = on_socket(&database.settings.url, &folder, 5432);
    database.settings.read_url = Some(replica.clone());
    let db = database.open();
    until("the replica answers", || replica_reads(&db)).await;

    // It stays behind: public lists come from the primary.
    run(&replica, "SELECT pg_wal_replay_pause()").await;
    insert_site(&db, 1).await;
    for _ in 0..20 {
        assert_eq!(sites_seen(&db).await, 1);
    }
    assert!(!replica_reads(&db).await, "the primary answered");
    run(&replica, "SELECT pg_wal_replay_resume()").await;
    until("the replica answers again", || replica_reads(&db)).await;
    assert_eq!(sites_seen(&db).await, 1, "and has the write");

    // What another instance wrote without a word is known of soon in public lists, and at once by everybody else: an
    // author comes back to another instance than the one that took the comment.
    let other = database.open();
    run(&replica, "SELECT pg_wal_replay_pause()").await;
    insert_site(&other, 2).await;
    assert_eq!(db.read(sites::all).await.unwrap().len(), 2);
    until("the other's write is seen", || async { sites_seen(&db).await == 2 }).await;
    run(&replica, "SELECT pg_wal_replay_resume()").await;

    // A replica whose sessions end is left out until it is back; nobody sees an error.
    until("the replica answers again", || replica_reads(&db)).await;
    assert!(!db.read(ask("SELECT pg_is_in_recovery() AS answer")).await.unwrap(), "it is for public lists alone");
    let end = "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE application_name = 'afterword'";
    run(&replica, end).await;
    for _ in 0..20 {
        assert_eq!(sites_seen(&db).await, 2);
    }
    until("the replica is back", || replica_reads(&db)).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_a_replica_cannot_answer_the_primary_does() {
    let mut database = TestDatabase::new(Backend::Postgres);
    let folder = tokio::task::spawn_blocking(postgres::start_replica).await.unwrap();
    let Some(folder) = folder else { return };
    let replica = on_socket(&database.settings.url, &folder, 5432);
    database.settings.read_url = Some(replica.clone());
    let db = database.open();
    until("the replica answers", || replica_reads(&db)).await;

    // A replica cancels what is in the way of its replaying; the connection lives on.
    let cancelled = "SELECT CASE WHEN pg_is_in_recovery() \
                     THEN pg_cancel_backend(pg_backend_pid()) AND pg_sleep(60) IS NULL ELSE true END AS answer";
    assert!(db.read_for_everybody(ask(cancelled)).await.expect("the primary answers"));
    assert!(replica_reads(&db).await, "it is still there");

    // Made a server of its own, it has what it had and no more.
    run(&replica, "SELECT pg_promote(true, 60)").await;
    run(&database.settings.url, "SELECT pg_switch_wal()").await;
    insert_site(&db, 1).await;
    for _ in 0..20 {
        assert_eq!(sites_seen(&db).await, 1, "from the primary");
    }

    // Frozen in the middle of an answer, it is given up.
    let sessions = "SELECT string_agg(pid::text, ' ') FROM pg_stat_activity WHERE application_name = 'afterword'";
    let sessions = tokio::task::block_in_place(|| postgres::run(&replica, sessions));
    assert_ne!(sessions, "");
    let signal = |name: &str| {
        let done = std::process::Command::new("kill").arg(name).args(sessions.split(' ')).status().unwrap();
        assert!(done.success());
    };
    signal("-STOP");
    let read = tokio::time::timeout(Duration::from_mins(1), sites_seen(&db)).await;
    signal("-CONT");
    assert_eq!(read.expect("it must not hang"), 1);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn behind_a_pooler_each_read_may_reach_another_replica() {
    let Some(mut database) = TestDatabase::new(Backend::Postgres).through_pooler() else { return };
    let folder = tokio::task::spawn_blocking(postgres::start_replica).await.unwrap().unwrap();
    let replica = on_socket(&database.settings.url, &folder, 5432);
    let pooler = tokio::task::spawn_blocking(|| pooler::Movable::start(postgres::socket().unwrap())).await.unwrap();
    database.settings.read_url = Some(on_socket(&database.settings.url, &pooler.folder, 6432));
    let db = database.open();
    // The pooler leads to a server that has everything, then to one that has stopped to follow.
    insert_site(&db, 1).await;
    until("it is read there", || async { sites_seen(&db).await == 1 && pooler.has_clients() }).await;
    run(&replica, "SELECT pg_wal_replay_pause()").await;
    insert_site(&db, 2).await;
    for _ in 0..20 {
        assert_eq!(sites_seen(&db).await, 2);
    }
    tokio::task::block_in_place(|| pooler.lead_to(&folder));
    for _ in 0..20 {
        assert_eq!(sites_seen(&db).await, 2, "the replica has no second site");
    }
    run(&replica, "SELECT pg_wal_replay_resume()").await;
    until("the replica answers through the pooler", || replica_reads(&db)).await;
}

/// A server that takes connections and says nothing is no server.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_silent_replica_keeps_nobody_waiting() {
    let silent = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let mut database = TestDatabase::new(Backend::Postgres);
    let address = silent.local_addr().unwrap();
    database.settings.read_url = Some(format!("postgres://afterword@{address}/afterword?sslmode=disable"));
    let db = database.open();
    let reads = async {
        for _ in 0..200 {
            assert_eq!(sites_seen(&db).await, 0);
        }
    };
    tokio::time::timeout(Duration::from_secs(5), reads).await.expect("all of them within the time of one connection");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn whether_the_schema_is_current_is_asked_without_writing() {
    let database = TestDatabase::new(Backend::Postgres);
    let url = database.settings.direct_url.clone().unwrap_or_else(|| database.settings.url.clone());
    let alter = format!("ALTER DATABASE {} SET default_transaction_read_only = on", postgres::name_of(&url));
    postgres::run(&url, &alter);
    let settings = DatabaseSettings::of(url.clone());
    let open = || tokio::task::block_in_place(|| Db::open_to_read(&settings).unwrap().unwrap());
    let db = open();
    assert!(db.read(migrations::is_current).await.unwrap());
    let forget = |sql: &str| postgres::run(&url, &format!("SET TRANSACTION READ WRITE; {sql}"));
    forget(
        "DELETE FROM __diesel_schema_migrations WHERE version = (SELECT max(version) FROM __diesel_schema_migrations)",
    );
    assert!(!db.read(migrations::is_current).await.unwrap());
    forget("DROP TABLE __diesel_schema_migrations");
    assert!(!db.read(migrations::is_current).await.unwrap());
    assert!(!postgres::tables(&url).contains(&"__diesel_schema_migrations".to_owned()));
}

/// What the server says is told apart by its words, so it is asked to speak English; a role that may not ask still works.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_server_that_speaks_german_is_asked_to_speak_english() {
    if postgres::socket().is_none() {
        return; // A role is made, and enters without a password.
    }
    let database = TestDatabase::new(Backend::Postgres);
    let url = database.settings.direct_url.clone().unwrap_or_else(|| database.settings.url.clone());
    let name = postgres::name_of(&url);
    let german = format!("ALTER DATABASE {name} SET lc_messages = 'de_DE.UTF-8'");
    if !postgres::psql(&url, &german).status.success() {
        eprintln!("This machine has no German locale: nothing was tried.");
        return;
    }
    let (role, grant) = (format!("CREATE ROLE reader_{name} LOGIN"), "GRANT SELECT ON ALL TABLES IN SCHEMA public");
    postgres::run(&url, &format!("{role}; {grant} TO reader_{name}"));
    let weak = url.replace("user=afterword", &format!("user=reader_{name}"));
    assert_ne!(weak, url);
    let open =
        |url: String| tokio::task::block_in_place(|| Db::open_to_read(&DatabaseSettings::of(url)).unwrap().unwrap());
    let cancelled = "SELECT pg_cancel_backend(pg_backend_pid()) AND pg_sleep(60) IS NULL AS answer";
    let refused = open(url).read(ask(cancelled)).await;
    assert!(matches!(refused, Err(Error::Busy)), "{refused:?}");
    let weak = open(weak);
    assert!(weak.read(ask("SELECT current_setting('lc_messages') = 'de_DE.UTF-8' AS answer")).await.unwrap());
    let refused = weak.read(ask(cancelled)).await;
    assert!(matches!(refused, Err(Error::Internal(_))), "what the operator is warned of: {refused:?}");
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
