//! The outbox: claimed by one worker at a time, due again when a claim runs out, settled only by the claim's owner.

use std::collections::HashSet;
use std::time::Duration;

use afterword::domain::ids::OutboxId;
use afterword::storage::Db;
use afterword::storage::outbox::{self, Claim, Kind, OutboxRow, Outcome};

use crate::support::database::{Backend, TestDatabase, on_both_databases};
use crate::support::rows::{self, NOW, uuid};

on_both_databases!(
    two_workers_never_share_a_row,
    a_dead_workers_row_becomes_due_again,
    one_row_per_dedupe_key,
    given_up_rows_stay_and_finished_ones_go,
);

const LEASE: Duration = Duration::from_mins(1);

async fn queue(db: &Db, count: u64) {
    let site = rows::site(1, "blog");
    db.write(move |tx| {
        rows::site_and_article(tx, &site, 2, "a")?;
        for n in 0..count {
            tx.enqueue(OutboxRow::new(OutboxId(uuid(100 + n)), Kind::TellModerators, site.id, NOW));
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

async fn one_row_per_dedupe_key(backend: Backend) {
    let database = TestDatabase::new(backend);
    let db = database.open();
    queue(&db, 0).await;
    let site = rows::site(1, "blog").id;
    for n in 0..3 {
        db.write(move |tx| {
            for twin in 0..20 {
                let mut row = OutboxRow::new(OutboxId(uuid(100 * (n + 1) + twin)), Kind::MailDigest, site, NOW);
                row.dedupe_key = Some("digest".into());
                tx.enqueue(row);
            }
            Ok(())
        })
        .await
        .unwrap();
    }
    assert_eq!(db.read(outbox::depth).await.unwrap().waiting, 1);
    // Once it is done, the key is free again.
    let row = claim(&db, 1000, 1, Duration::ZERO).await.remove(0);
    db.write(move |tx| outbox::settle(tx, &row, NOW, &Outcome::Done)).await.unwrap();
    db.write(move |tx| {
        let mut row = OutboxRow::new(OutboxId(uuid(2000)), Kind::MailDigest, site, NOW);
        row.dedupe_key = Some("digest".into());
        tx.enqueue(row);
        Ok(())
    })
    .await
    .unwrap();
    assert_eq!(db.read(outbox::depth).await.unwrap().waiting, 1);
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
