//! The outbox: claimed by one worker at a time, due again when a claim runs out, settled only by the claim's owner.

use std::collections::HashSet;
use std::time::Duration;

use afterword::domain::ids::{AccountId, OutboxId};
use afterword::storage::Db;
use afterword::storage::outbox::{self, Claim, Kind, OutboxRow, Outcome};

use crate::support::database::{Backend, TestDatabase, on_both_databases};
use crate::support::rows::{self, NOW, uuid};

on_both_databases!(
    two_workers_never_share_a_row,
    a_dead_workers_row_becomes_due_again,
    taken_rows_are_gone_and_nobody_shares_them,
    what_a_clock_ahead_put_off_is_due_now,
    one_summary_waits_per_account,
    a_summary_to_be_sent_again_waits_for_its_account_unless_another_does,
    given_up_rows_stay_and_finished_ones_go,
);

const LEASE: Duration = Duration::from_mins(1);

async fn queue(db: &Db, count: u64) {
    let site = rows::site(1, "blog");
    db.write(move |tx| {
        rows::site_and_article(tx, &site, 2, "a")?;
        Ok(())
    })
    .await
    .unwrap();
    queue_more(db, count).await;
}

async fn queue_more(db: &Db, count: u64) {
    let site = rows::site(1, "blog").id;
    db.write(move |tx| {
        for n in 0..count {
            tx.enqueue(OutboxRow::new(OutboxId(uuid(100 + n)), Kind::TellModerators, site, NOW));
        }
        Ok(())
    })
    .await
    .unwrap();
}

async fn claim(db: &Db, claim: u64, limit: i64, at: Duration) -> Vec<OutboxRow> {
    let now = NOW.plus(at);
    let claim = Claim { id: OutboxId(uuid(claim)), kinds: Kind::ALL, now, until: now.plus(LEASE), limit };
    db.write(move |tx| outbox::claim(tx, &claim)).await.unwrap()
}

async fn two_workers_never_share_a_row(backend: Backend) {
    let database = TestDatabase::new(backend);
    let db = database.open();
    queue(&db, 100).await;
    let claims = (0..40).map(|n| claim(&db, 1000 + n, 5, Duration::ZERO));
    let taken: Vec<OutboxId> =
        futures_util::future::join_all(claims).await.into_iter().flatten().map(|row| row.id).collect();
    let distinct: HashSet<_> = taken.iter().collect();
    assert_eq!(distinct.len(), taken.len(), "no row was claimed twice");
    assert_eq!(distinct.len(), 100, "every row was claimed");
    assert!(claim(&db, 2000, 100, LEASE.checked_sub(Duration::from_secs(1)).unwrap()).await.is_empty());
}

async fn a_dead_workers_row_becomes_due_again(backend: Backend) {
    let database = TestDatabase::new(backend);
    let db = database.open();
    queue(&db, 1).await;
    let dead = claim(&db, 1000, 1, Duration::ZERO).await.remove(0);
    let second = claim(&db, 1001, 1, LEASE).await.remove(0);
    assert_eq!((second.id, second.attempts), (dead.id, 2));
    let late = dead.clone();
    let settled = db.write(move |tx| outbox::settle(tx, &late, NOW, &Outcome::Done)).await.unwrap();
    assert!(!settled, "the claim has passed to another worker");
    let again = Outcome::Again(NOW.plus(LEASE * 3), "421 later".into());
    assert!(db.write(move |tx| outbox::settle(tx, &second, NOW, &again)).await.unwrap());
    assert!(claim(&db, 1002, 1, (LEASE * 3).checked_sub(Duration::from_secs(1)).unwrap()).await.is_empty());
    let third = claim(&db, 1003, 1, LEASE * 3).await.remove(0);
    assert_eq!((third.attempts, third.last_error.as_deref()), (3, Some("421 later")));
}

async fn digest(db: &Db, n: u64) {
    let (site, account) = (rows::site(1, "blog").id, AccountId(uuid(9)));
    db.write(move |tx| {
        for twin in 0..20 {
            tx.enqueue(OutboxRow::digest(OutboxId(uuid(100 * n + twin)), site, account, NOW));
        }
        Ok(())
    })
    .await
    .unwrap();
}

async fn waiting(db: &Db) -> i64 {
    db.read(outbox::depth).await.unwrap().waiting
}

async fn one_summary_waits_per_account(backend: Backend) {
    let database = TestDatabase::new(backend);
    let db = database.open();
    queue(&db, 0).await;
    for n in 1..4 {
        digest(&db, n).await;
    }
    assert_eq!(waiting(&db).await, 1);
    // One that is on its way has been written: what comes now needs another.
    let row = claim(&db, 1000, 1, Duration::ZERO).await.remove(0);
    digest(&db, 4).await;
    assert_eq!(waiting(&db).await, 2);
    db.write(move |tx| outbox::settle(tx, &row, NOW, &Outcome::Done)).await.unwrap();
    assert_eq!(waiting(&db).await, 1);
}

async fn a_summary_to_be_sent_again_waits_for_its_account_unless_another_does(backend: Backend) {
    let database = TestDatabase::new(backend);
    let db = database.open();
    queue(&db, 0).await;
    digest(&db, 1).await;
    let again = || Outcome::Again(NOW, "451 later".into());
    let row = claim(&db, 1000, 1, Duration::ZERO).await.remove(0);
    let alone = row.clone();
    assert!(db.write(move |tx| outbox::settle(tx, &alone, NOW, &again())).await.unwrap());
    digest(&db, 2).await;
    assert_eq!(waiting(&db).await, 1, "the old one has its key back");
    let second = claim(&db, 1001, 1, Duration::ZERO).await.remove(0);
    assert_eq!((second.id, second.attempts), (row.id, 2));
    digest(&db, 3).await;
    assert!(db.write(move |tx| outbox::settle(tx, &second, NOW, &again())).await.unwrap());
    let left = claim(&db, 1002, 10, Duration::ZERO).await;
    assert_eq!(left.iter().map(|row| row.id).collect::<Vec<_>>(), [OutboxId(uuid(300))], "the newer one tells");
}

async fn taken_rows_are_gone_and_nobody_shares_them(backend: Backend) {
    let database = TestDatabase::new(backend);
    let db = database.open();
    queue(&db, 100).await;
    let take = || db.write(move |tx| outbox::take(tx, &[Kind::TellModerators], NOW, 5));
    let rounds = futures_util::future::join_all((0..40).map(|_| take())).await;
    let taken: Vec<OutboxId> = rounds.into_iter().flat_map(|rows| rows.unwrap()).map(|row| row.id).collect();
    assert_eq!((taken.len(), taken.iter().collect::<HashSet<_>>().len(), waiting(&db).await), (100, 100, 0));
    // A transaction that fails gives back what it took.
    queue_more(&db, 3).await;
    let failed = db.write(|tx| {
        assert_eq!(outbox::take(tx, &[Kind::TellModerators], NOW, 5)?.len(), 3);
        Err::<(), _>(afterword::error::Error::NotFound)
    });
    assert!(failed.await.is_err());
    assert_eq!(waiting(&db).await, 3);
}

async fn what_a_clock_ahead_put_off_is_due_now(backend: Backend) {
    let database = TestDatabase::new(backend);
    let db = database.open();
    queue(&db, 3).await;
    let ahead = Duration::from_hours(48);
    // A worker whose clock is two days ahead claims one, and dies; another it puts off.
    let mut rows = claim(&db, 1000, 2, ahead).await;
    let put_off = rows.remove(1);
    let again = Outcome::Again(NOW.plus(ahead), "451 later".into());
    db.write(move |tx| outbox::settle(tx, &put_off, NOW, &again)).await.unwrap();
    assert_eq!(claim(&db, 1001, 10, Duration::ZERO).await.len(), 3);
    let within = claim(&db, 1002, 10, Duration::from_mins(1)).await;
    assert_eq!(within.len(), 3, "a claim that ran out");
    for row in within {
        let hour = Outcome::Again(NOW.plus(Duration::from_mins(61)), "451 later".into());
        db.write(move |tx| outbox::settle(tx, &row, NOW, &hour)).await.unwrap();
    }
    assert!(claim(&db, 1003, 10, Duration::ZERO).await.is_empty(), "a legitimate wait");
}

async fn given_up_rows_stay_and_finished_ones_go(backend: Backend) {
    let database = TestDatabase::new(backend);
    let db = database.open();
    queue(&db, 2).await;
    let rows = claim(&db, 1000, 2, Duration::ZERO).await;
    let (done, lost) = (rows[0].clone(), rows[1].clone());
    db.write(move |tx| {
        outbox::settle(tx, &done, NOW, &Outcome::Done)?;
        outbox::settle(tx, &lost, NOW, &Outcome::GivenUp("550 no such user".into()))
    })
    .await
    .unwrap();
    assert_eq!(db.read(outbox::depth).await.unwrap(), outbox::Depth { waiting: 0, failed: 1 });
    let swept = db.write(|tx| outbox::sweep(tx, NOW.plus(LEASE), 10)).await.unwrap();
    assert_eq!(swept, 1);
    assert_eq!(db.read(outbox::depth).await.unwrap(), outbox::Depth { waiting: 0, failed: 1 });
}
