//! Following the event log: each entry once, whatever the order of the commits.

use std::collections::HashSet;
use std::sync::mpsc;
use std::time::Duration;

use afterword::domain::ids::EventId;
use afterword::storage::{Conn, Db, follow};
use diesel::connection::SimpleConnection;

use crate::support::database::{Backend, TestDatabase, on_both_databases};
use crate::support::rows;

on_both_databases!(each_entry_is_told_once, what_was_missed);

async fn write(db: &Db, numbers: std::ops::Range<u64>) {
    db.write(move |tx| {
        let site = rows::site(1, "blog");
        let article = rows::site_and_article(tx, &site, 2, "/a")?;
        for n in numbers.clone() {
            rows::submit(
                tx,
                &rows::comment(n, site.id, article, None, afterword::domain::comment::Status::Pending),
                n,
            )?;
        }
        Ok(())
    })
    .await
    .unwrap();
}

async fn next(db: &Db, position: &mut follow::Position) -> Vec<EventId> {
    let from = position.clone();
    let (end, ids) = db.read(move |conn| follow::next(conn, &from)).await.unwrap();
    *position = end;
    ids
}

fn ids(numbers: std::ops::Range<u64>) -> Vec<EventId> {
    numbers.map(|n| EventId(rows::uuid(n))).collect()
}

async fn each_entry_is_told_once(backend: Backend) {
    let database = TestDatabase::new(backend);
    let db = database.open();
    write(&db, 10..20).await;
    let mut position = db.read(follow::end).await.unwrap();
    assert!(next(&db, &mut position).await.is_empty(), "what is there counts as told");
    write(&db, 20..30).await;
    assert_eq!(next(&db, &mut position).await, ids(20..30));
    assert!(next(&db, &mut position).await.is_empty());
    write(&db, 30..31).await;
    let told = next(&db, &mut position).await;
    let entries = db.read(move |conn| follow::entries(conn, &told)).await.unwrap();
    assert_eq!((entries.len(), entries[0].site.as_str(), entries[0].version), (1, "blog", Some(1)));
    assert_eq!(entries[0].event.comment_id, rows::comment_id(30));
}

async fn what_was_missed(backend: Backend) {
    let database = TestDatabase::new(backend);
    let db = database.open();
    write(&db, 10..15).await;
    write(&db, 15..20).await;
    let missed = |last: u64, limit: i64| {
        let db = db.clone();
        async move { db.read(move |conn| follow::missed(conn, EventId(rows::uuid(last)), limit)).await.unwrap() }
    };
    let all = missed(14, 100).await.unwrap();
    assert!(ids(15..20).iter().all(|id| all.contains(id)));
    assert!(!all.contains(&EventId(rows::uuid(14))));
    if backend == Backend::Sqlite {
        assert_eq!(all, ids(15..20), "and nothing else");
    }
    assert_eq!(missed(14, 4).await, None, "too much");
    assert_eq!(missed(99, 100).await, None, "not known");
    assert!(missed(19, 100).await.is_some());
}

/// An entry whose transaction began before another one and ended after it is told after it, and given again to whoever has
/// the later one.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn on_postgres_a_late_commit_is_not_lost() {
    let database = TestDatabase::new(Backend::Postgres);
    let db = database.open();
    write(&db, 10..11).await;
    let mut position = db.read(follow::end).await.unwrap();
    let (inside, is_inside) = mpsc::channel();
    let (go, gone) = mpsc::channel::<()>();
    let slow = db.clone();
    let slow = tokio::spawn(async move {
        slow.write(move |tx| {
            if let Conn::Postgres(c) = tx.conn() {
                let sql = format!(
                    "INSERT INTO events (id, site_id, comment_id, at, action, via) VALUES ('{}', '{}', '{}', 0, 0, 4)",
                    rows::uuid(20),
                    rows::uuid(1),
                    rows::uuid(10)
                );
                c.batch_execute(&sql)?;
            }
            let _ = inside.send(());
            let _ = gone.recv(); // It ends when the sender goes.
            Ok(())
        })
        .await
    });
    tokio::task::spawn_blocking(move || is_inside.recv().unwrap()).await.unwrap();
    for n in 30..33 {
        write(&db, n..n + 1).await;
        assert_eq!(next(&db, &mut position).await, ids(n..n + 1), "told though an older one is open");
    }
    drop(go);
    slow.await.unwrap().unwrap();
    assert_eq!(next(&db, &mut position).await, ids(20..21));
    assert!(next(&db, &mut position).await.is_empty());
    let missed = db.read(|conn| follow::missed(conn, EventId(rows::uuid(32)), 100)).await.unwrap().unwrap();
    assert!(missed.contains(&EventId(rows::uuid(20))), "it was written shortly before");
}

/// However long a transaction stays open, what came since is told once and not kept, in rounds that have an end.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn on_postgres_an_open_transaction_costs_nothing() {
    let database = TestDatabase::new(Backend::Postgres);
    let db = database.open();
    write(&db, 10..11).await;
    let (inside, is_inside) = mpsc::channel();
    let (go, gone) = mpsc::channel::<()>();
    let slow = db.clone();
    let slow = tokio::spawn(async move {
        slow.write(move |tx| {
            insert(
                tx.conn(),
                "SELECT '00000000-0000-7000-8000-000000000001'::uuid, pg_current_xact_id()::text::bigint",
            )?;
            let _ = inside.send(());
            let _ = gone.recv(); // It ends when the sender goes.
            Ok(())
        })
        .await
    });
    tokio::task::spawn_blocking(move || is_inside.recv().unwrap()).await.unwrap();
    let mut position = db.read(follow::end).await.unwrap();
    let size = format!("{position:?}").len();
    let count = follow::AT_ONCE + 1000;
    db.write(move |tx| {
        let Conn::Postgres(c) = tx.conn() else { panic!("it is PostgreSQL") };
        // Each block with a handler takes a number of its own: as many transactions as entries.
        c.batch_execute(&format!(
            "DO $$ BEGIN FOR n IN 1..{count} LOOP \
             BEGIN INSERT INTO meta (key, value) VALUES ('n' || n, ''); EXCEPTION WHEN OTHERS THEN RAISE; END; \
             END LOOP; DELETE FROM meta WHERE key LIKE 'n%' AND value = ''; END $$"
        ))?;
        let rows = format!(
            "SELECT gen_random_uuid(), pg_current_xact_id()::text::bigint + n FROM generate_series(1, {count}) n"
        );
        insert(tx.conn(), &rows)
    })
    .await
    .unwrap();
    let mut told: HashSet<EventId> = next(&db, &mut position).await.into_iter().collect();
    assert_eq!(told.len(), follow::AT_ONCE);
    // A number may be that of a transaction of another test on this server: its entry comes when that one ends.
    for _ in 0..1000 {
        for id in next(&db, &mut position).await {
            assert!(told.insert(id), "nothing twice");
        }
        if told.len() == count {
            break;
        }
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    assert_eq!(told.len(), count, "nothing is lost");
    assert!(format!("{position:?}").len() < size + 4000, "nothing is kept of what was told");
    drop(go);
    slow.await.unwrap().unwrap();
    assert_eq!(next(&db, &mut position).await.len(), 1, "the one that was open");
    assert!(next(&db, &mut position).await.is_empty());
}

fn insert(conn: &mut Conn, new: &str) -> Result<(), afterword::error::Error> {
    let Conn::Postgres(c) = conn else { panic!("it is PostgreSQL") };
    let (site, comment) = (rows::uuid(1), rows::uuid(10));
    let sql = format!(
        "INSERT INTO events (id, site_id, comment_id, at, action, via, tx) \
         SELECT new.id, '{site}', '{comment}', 0, 0, 4, new.tx FROM ({new}) AS new (id, tx)"
    );
    Ok(c.batch_execute(&sql)?)
}
