//! A write closure is a transaction inside a group: all of it or none of it, and nobody else suffers.

use afterword::domain::comment::Status;
use afterword::domain::ids::{ArticleId, AuthorId, SiteId};
use afterword::error::Error;
use afterword::storage::{
    ArticleBump, AuthorBump, Db, SiteBump, articles, authors, comments, events, outbox, site_counts,
};

use crate::support::database::{Backend, TestDatabase, on_both_databases};
use crate::support::postgres;
use crate::support::rows::{self, NOW, uuid};

on_both_databases!(
    a_failed_job_leaves_nothing,
    a_panic_leaves_nothing_and_the_writer_lives,
    many_at_once_are_all_there,
    a_full_queue_is_busy,
    hot_articles_in_opposite_orders_do_not_deadlock,
);

/// A server that restarts, fails over or is cut off takes its connections with it; the next statement opens new ones.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn lost_connections_are_made_anew() {
    let database = TestDatabase::new(Backend::Postgres);
    let db = database.open();
    let (site, article) = blog(&db).await;
    for round in 20..24 {
        postgres::end_sessions(&database.settings.url);
        let row = rows::comment(round, site, article, None, Status::Approved);
        let id = row.id;
        db.write(move |tx| rows::submit(tx, &row, 100 + round)).await.unwrap();
        let found = db.read(move |conn| comments::find(conn, id)).await.unwrap();
        assert!(found.is_some());
    }
}

/// Two instances, two writers each, and jobs that change the same counters in opposite orders. A deadlock would not fail
/// them, because they are run again; but the server counts it, and everybody would have waited a second for it.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn groups_of_counters_on_two_instances_never_deadlock() {
    let database = TestDatabase::new(Backend::Postgres);
    let instances = [database.open(), database.open()];
    let mut rows = Vec::new();
    for n in 0..4_u64 {
        let site = rows::site(1 + n, &format!("blog{n}"));
        let (id, author) = (site.id, AuthorId(uuid(50 + n)));
        let new = authors::Author { id: author, site_id: id, approved: 0, rejected: 0, spam: 0, created_at: NOW };
        let article = instances[0].write(move |tx| {
            let article = rows::site_and_article(tx, &site, 20 + n, "a")?;
            {
                tx.add_author(new);
                Ok(article)
            }
        });
        rows.push((id, author, article.await.unwrap()));
    }
    // One kind after the other: who shares rows of one kind in order never meets at the next.
    for kind in 0..3 {
        let writes = (0..1000_usize).map(|n| {
            let mut rows = rows.clone();
            rows.rotate_left(n / 2 % 4);
            if n % 2 == 0 {
                rows.reverse();
            }
            instances[n / 64 % 2].write(move |tx| {
                for (site, author, article) in &rows {
                    match kind {
                        0 => tx.bump_article(*article, ArticleBump { comment_count: 1, version: 1 }),
                        1 => tx.bump_site(*site, SiteBump { approved: 1, ..SiteBump::default() }),
                        _ => tx.bump_author(*author, AuthorBump { approved: 1, ..AuthorBump::default() }),
                    }
                }
                Ok(())
            })
        });
        for result in futures_util::future::join_all(writes).await {
            result.unwrap();
        }
    }
    for (site, ..) in rows {
        assert_eq!(article_version(&instances[0], site).await, 1000);
    }
    drop(instances);
    assert_eq!(postgres::deadlocks(&database.settings.url), "0");
}

async fn blog(db: &Db) -> (SiteId, ArticleId) {
    let site = rows::site(1, "blog");
    let id = site.id;
    let article = db.write(move |tx| rows::site_and_article(tx, &site, 2, "a")).await.unwrap();
    (id, article)
}

async fn article_version(db: &Db, site: SiteId) -> i64 {
    db.read(move |conn| Ok(articles::find(conn, site, "a")?.unwrap().version)).await.unwrap()
}

async fn a_failed_job_leaves_nothing(backend: Backend) {
    let database = TestDatabase::new(backend);
    let db = database.open();
    let (site, article) = blog(&db).await;
    let good = rows::comment(10, site, article, None, Status::Approved);
    let bad = rows::comment(11, site, article, None, Status::Approved);
    let (bad_id, good_id) = (bad.id, good.id);
    let failed = db.write(move |tx| {
        rows::submit(tx, &bad, 11)?;
        tx.bump_article(article, ArticleBump { comment_count: 5, version: 5 });
        Err::<(), _>(Error::Closed)
    });
    let done = db.write(move |tx| rows::submit(tx, &good, 10));
    let (failed, done) = tokio::join!(failed, done);
    assert!(matches!(failed, Err(Error::Closed)), "the job's own error comes back");
    done.unwrap();
    db.read(move |conn| {
        assert!(comments::find(conn, bad_id)?.is_none());
        assert!(events::of_comment(conn, bad_id)?.is_empty());
        assert!(comments::find(conn, good_id)?.is_some());
        assert_eq!(events::of_comment(conn, good_id)?.len(), 1);
        assert_eq!(outbox::depth(conn)?.waiting, 1);
        let article = articles::find(conn, site, "a")?.unwrap();
        assert_eq!((article.comment_count, article.version), (1, 1));
        assert_eq!(site_counts::of(conn, None)?[0].approved, 1);
        Ok(())
    })
    .await
    .unwrap();
}

async fn a_panic_leaves_nothing_and_the_writer_lives(backend: Backend) {
    let database = TestDatabase::new(backend);
    let db = database.open();
    let (site, article) = blog(&db).await;
    let lost = rows::comment(10, site, article, None, Status::Approved);
    let lost_id = lost.id;
    let panicked = db
        .write(move |tx| -> Result<(), Error> {
            rows::submit(tx, &lost, 10)?;
            panic!("a test panics here");
        })
        .await;
    assert!(matches!(panicked, Err(Error::Internal(_))));
    assert!(matches!(db.read(|_| -> Result<(), Error> { panic!("and here") }).await, Err(Error::Internal(_))));
    let kept = rows::comment(11, site, article, None, Status::Approved);
    db.write(move |tx| rows::submit(tx, &kept, 11)).await.unwrap();
    assert!(db.read(move |conn| comments::find(conn, lost_id)).await.unwrap().is_none());
    assert_eq!(article_version(&db, site).await, 1);
}

async fn many_at_once_are_all_there(backend: Backend) {
    let database = TestDatabase::new(backend);
    let db = database.open();
    let (site, article) = blog(&db).await;
    let writes = (0..500_u64).map(|n| {
        let comment = rows::comment(1000 + n, site, article, None, Status::Approved);
        db.write(move |tx| {
            rows::submit(tx, &comment, 1000 + n)?;
            // Every tenth fails after its writes.
            if n % 10 == 0 { Err(Error::Closed) } else { Ok(()) }
        })
    });
    let results = futures_util::future::join_all(writes).await;
    assert_eq!(results.iter().filter(|result| result.is_ok()).count(), 450);
    db.read(move |conn| {
        let article = articles::find(conn, site, "a")?.unwrap();
        assert_eq!((article.comment_count, article.version), (450, 450));
        assert_eq!(site_counts::of(conn, None)?[0].approved, 450);
        assert_eq!(outbox::depth(conn)?.waiting, 450);
        let filter = events::EventFilter { limit: 1000, ..events::EventFilter::default() };
        assert_eq!(events::page(conn, &filter)?.len(), 450);
        Ok(())
    })
    .await
    .unwrap();
}

async fn a_full_queue_is_busy(backend: Backend) {
    let database = TestDatabase::new(backend);
    let db = database.open();
    // Hold every writer inside a job, then send more than the queue takes.
    let (entered_tx, entered) = std::sync::mpsc::channel();
    let gate = std::sync::Arc::new(std::sync::Barrier::new(3));
    let writers = if backend == Backend::Sqlite { 1 } else { 2 };
    let mut held = Vec::new();
    for _ in 0..writers {
        let (gate, entered_tx, db) = (gate.clone(), entered_tx.clone(), db.clone());
        held.push(tokio::spawn(async move {
            db.write(move |_| {
                entered_tx.send(()).unwrap();
                gate.wait();
                Ok(())
            })
            .await
        }));
        // One at a time, so that each writer takes one.
        entered.recv().unwrap();
    }
    let waiting = futures_util::future::join_all((0..5000).map(|_| db.write(|_| Ok(()))));
    let release = async {
        tokio::task::spawn_blocking(move || {
            for _ in writers..3 {
                let gate = gate.clone();
                std::thread::spawn(move || gate.wait());
            }
        })
        .await
        .unwrap();
    };
    let (results, ()) = tokio::join!(waiting, release);
    let busy = results.iter().filter(|result| matches!(result, Err(Error::Busy))).count();
    assert_eq!(results.len() - busy, 4096, "the queue holds 4,096 and no more");
    for job in held {
        job.await.unwrap().unwrap();
    }
}

async fn hot_articles_in_opposite_orders_do_not_deadlock(backend: Backend) {
    let database = TestDatabase::new(backend);
    let db = database.open();
    let (site, first) = blog(&db).await;
    let second = {
        let site = rows::site(1, "blog");
        db.write(move |tx| rows::site_and_article(tx, &site, 3, "b")).await.unwrap()
    };
    let bump = ArticleBump { comment_count: 1, version: 1 };
    let writes = (0..2000_u64).map(|n| {
        let (one, other) = if n % 2 == 0 { (first, second) } else { (second, first) };
        db.write(move |tx| {
            tx.bump_article(one, bump);
            tx.bump_article(other, bump);
            Ok(())
        })
    });
    for result in futures_util::future::join_all(writes).await {
        result.unwrap();
    }
    assert_eq!(article_version(&db, site).await, 2000);
}
