//! Two instances on one PostgreSQL database: each hears what the other changed, also after its connection was lost.

use std::time::Duration;

use afterword::domain::listing::Source;
use afterword::storage::ArticleBump;
use tokio::sync::mpsc;

use crate::support::database::{Backend, TestDatabase};
use crate::support::{postgres, rows};

/// Long enough for a slow machine; a test waits only as long as it must.
const PATIENCE: Duration = Duration::from_secs(30);

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_change_is_heard_on_another_instance() {
    let database = TestDatabase::new(Backend::Postgres);
    let (one, other) = (database.open(), database.open());
    let (tell, mut heard) = mpsc::unbounded_channel();
    other.on_change(move |sources| {
        for source in sources {
            let _ = tell.send(*source);
        }
    });
    let site = rows::site(1, "blog");
    let article = one.write(move |tx| rows::site_and_article(tx, &site, 2, "a")).await.unwrap();
    for round in 0..3 {
        let until = tokio::time::Instant::now() + PATIENCE;
        while !other.hears_others() {
            assert!(tokio::time::Instant::now() < until, "it never listened");
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
        one.write(move |tx| {
            tx.bump_article(article, ArticleBump { comment_count: 0, version: 1 });
            tx.changed(Source::Article(article));
            Ok(())
        })
        .await
        .unwrap();
        loop {
            let source = tokio::time::timeout(PATIENCE, heard.recv()).await.unwrap().unwrap();
            if source == Source::Article(article) {
                break;
            }
        }
        if round < 2 {
            postgres::end_sessions(&database.settings.url);
            // What happens while nobody hears counts as everything, told when it hears again.
            loop {
                if tokio::time::timeout(PATIENCE, heard.recv()).await.unwrap().unwrap() == Source::Everything {
                    break;
                }
            }
        }
    }
}

/// A connection that dies without a word hides what others decide, so it is asked often, and nothing that lies ready counts
/// while the answer is late.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_silent_connection_is_not_believed() {
    if postgres::socket().is_none() {
        return; // The processes of a server elsewhere cannot be stopped.
    }
    let database = TestDatabase::new(Backend::Postgres);
    let db = database.open();
    let (tell, mut heard) = mpsc::unbounded_channel();
    db.on_change(move |sources| {
        for source in sources {
            let _ = tell.send(*source);
        }
    });
    let until = |hears: bool| {
        let db = &db;
        async move {
            while db.hears_others() != hears {
                tokio::time::sleep(Duration::from_millis(5)).await;
            }
        }
    };
    tokio::time::timeout(PATIENCE, until(true)).await.expect("it listens");
    let url = database.settings.direct_url.as_ref().unwrap_or(&database.settings.url);
    let listening = "SELECT pid FROM pg_stat_activity WHERE datname = current_database() \
                     AND query IN ('LISTEN afterword', 'SELECT 1')";
    let pid = postgres::run(url, listening);
    let signal = |name: &str| std::process::Command::new("kill").args([name, &pid]).status().unwrap().success();
    assert!(signal("-STOP"));
    while heard.try_recv().is_ok() {}
    // The limits below are a tenth of this one; a connection that is asked every five seconds needs more.
    let noticed = tokio::time::timeout(Duration::from_secs(8), until(false)).await;
    let told = tokio::time::timeout(PATIENCE, heard.recv()).await;
    assert!(signal("-CONT"));
    assert!(noticed.is_ok(), "it is still believed");
    assert_eq!(told.unwrap().unwrap(), Source::Everything);
    tokio::time::timeout(PATIENCE, until(true)).await.expect("it listens again");
}
