//! Rings that instances share: from all of them or from none, whoever asks at the same time and in whatever order.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use afterword::error::Error;
use afterword::storage::shared_limits::{SharedLimits, Toll};

use crate::support::database::{Backend, TestDatabase};
use crate::support::postgres;

const SECOND: i64 = 1_000_000;

fn open(database: &TestDatabase) -> SharedLimits {
    std::thread::scope(|scope| scope.spawn(|| SharedLimits::open(&database.settings).unwrap().unwrap()).join().unwrap())
}

/// A ring for one key: `burst` at once, then one each second.
fn toll(key: u8, burst: i64) -> Toll {
    Toll { key: [key; 16], period: SECOND, span: burst * SECOND }
}

async fn ask(limits: &SharedLimits, tolls: &[Toll], moment: i64) -> Vec<i64> {
    limits.pass(tolls.to_vec(), moment, || true).await.unwrap()
}

#[test]
fn sqlite_has_nothing_to_share() {
    assert!(SharedLimits::open(&TestDatabase::new(Backend::Sqlite).settings).unwrap().is_none());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn all_rings_or_none() {
    let database = TestDatabase::new(Backend::Postgres);
    let limits = open(&database);
    let now = limits.clock().await.unwrap();
    // Asked in any order, told in the same.
    let both = [toll(9, 2), toll(1, 5)];
    assert_eq!(ask(&limits, &both, now).await, [now, now]);
    assert_eq!(ask(&limits, &both, now).await, [now + SECOND, now + SECOND]);
    for _ in 0..3 {
        assert_eq!(ask(&limits, &both, now).await, [now + 2 * SECOND, now + 2 * SECOND], "the first is spent");
    }
    assert_eq!(ask(&limits, &both[1..], now).await, [now + 2 * SECOND], "nothing was taken from the second");
    assert_eq!(ask(&limits, &both, now + SECOND).await, [now + 2 * SECOND, now + 3 * SECOND]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_clock_far_ahead_locks_nobody_out() {
    let database = TestDatabase::new(Backend::Postgres);
    let limits = open(&database);
    let now = limits.clock().await.unwrap();
    let ring = [toll(1, 3)];
    assert_eq!(ask(&limits, &ring, now + 3_600 * SECOND).await, [now + 3_600 * SECOND]);
    assert_eq!(ask(&limits, &ring, now).await, [now + 3 * SECOND], "as if it were spent, and no more");
    assert_eq!(ask(&limits, &ring, now + SECOND).await, [now + 3 * SECOND], "after one period one passes");
    assert_eq!(ask(&limits, &ring, now + SECOND).await, [now + 4 * SECOND], "and no more");
    postgres::run(&database.settings.url, &format!("UPDATE rate_limits SET arrival = {}", i64::MAX / 2));
    assert_eq!(ask(&limits, &ring, now).await, [now + 3 * SECOND]);
    let widest = [Toll { key: [2; 16], period: 1 << 60, span: 1 << 60 }];
    assert_eq!(ask(&limits, &widest, now).await, [now]);
    assert_eq!(ask(&limits, &widest, now).await, [now + (1 << 60)], "the widest ring is no sum too large");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn askers_in_all_orders_do_not_lock_each_other_out() {
    let database = TestDatabase::new(Backend::Postgres);
    let instances: Vec<SharedLimits> = (0..6).map(|_| open(&database)).collect();
    let now = instances[0].clock().await.unwrap();
    let asks = (0..1200_usize).map(|n| {
        let mut tolls: Vec<Toll> = (1..=6).map(|key| toll(key, 700)).collect();
        tolls.rotate_left(n / 6 % 6);
        if n % 2 == 0 {
            tolls.reverse();
        }
        let limits = &instances[n % instances.len()];
        async move { limits.pass(tolls, now, || true).await }
    });
    let answers = futures_util::future::join_all(asks).await;
    let passed = answers.into_iter().filter(|before| before.as_ref().unwrap()[0] < now + 700 * SECOND).count();
    assert_eq!(passed, 700, "neither one too many nor one too few");
    drop(instances);
    assert_eq!(postgres::deadlocks(&database.settings.url), "0");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_past_is_swept_and_nobody_waits_for_it() {
    let database = TestDatabase::new(Backend::Postgres);
    let (limits, other) = (open(&database), open(&database));
    let now = limits.clock().await.unwrap();
    for key in 0..20 {
        ask(&limits, &[toll(key, 3)], now - 60 * SECOND).await;
    }
    ask(&limits, &[toll(50, 3)], now + 3_600 * SECOND).await;
    assert_eq!(limits.sweep(15).await.unwrap(), 15);
    // Sweepers and askers at the same time.
    let asks = (0..200).map(|n| {
        let (other, tolls) = (&other, [toll(20 - n % 21, 300), toll(n % 20 + 100, 300)]);
        async move { ask(other, &tolls, now - 600 * SECOND).await }
    });
    let sweeps = async {
        for _ in 0..50 {
            limits.sweep(7).await.unwrap();
        }
    };
    tokio::join!(futures_util::future::join_all(asks), sweeps);
    while limits.sweep(500).await.unwrap() > 0 {}
    assert_eq!(postgres::run(&database.settings.url, "SELECT count(*) FROM rate_limits"), "1", "what lies ahead stays");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn whoever_has_gone_takes_nothing() {
    let database = TestDatabase::new(Backend::Postgres);
    let limits = open(&database);
    let now = limits.clock().await.unwrap();
    assert!(matches!(limits.pass(vec![toll(1, 1)], now, || false).await, Err(Error::Busy)));
    assert_eq!(ask(&limits, &[toll(1, 1)], now).await, [now]);
}

/// The session ends between the asking and the answer: whether something was taken, nobody knows, so nobody asks again.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nothing_is_taken_twice_when_a_connection_breaks() {
    let database = TestDatabase::new(Backend::Postgres);
    let limits = open(&database);
    let now = limits.clock().await.unwrap();
    let (url, asked) = (database.settings.url.clone(), Arc::new(AtomicUsize::new(0)));
    let count = asked.clone();
    let cut = move || {
        count.fetch_add(1, Ordering::Relaxed);
        postgres::run(
            &url,
            "SELECT pg_terminate_backend(pid, 60000) FROM pg_stat_activity \
             WHERE datname = current_database() AND pid <> pg_backend_pid()",
        );
        true
    };
    assert!(matches!(limits.pass(vec![toll(1, 1)], now, cut).await, Err(Error::Busy)));
    assert_eq!(asked.load(Ordering::Relaxed), 1);
    assert_eq!(ask(&limits, &[toll(1, 1)], now).await, [now], "the next one has a connection again");
}

/// The table is read and written without the log, and no address stands in it.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_table_is_not_logged() {
    let database = TestDatabase::new(Backend::Postgres);
    drop(database.open());
    let kind = "SELECT relpersistence FROM pg_class WHERE relname = 'rate_limits'";
    assert_eq!(postgres::run(&database.settings.url, kind), "u");
}
