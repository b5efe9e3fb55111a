//! Several instances on one PostgreSQL behave as one: limits, repeated requests, decisions, work that somebody left.

use std::sync::mpsc;
use std::time::Duration;

use afterword::domain::ids::OutboxId;
use afterword::storage::outbox::{self, Claim, Kind};
use afterword::storage::{Conn, Db};
use diesel::connection::SimpleConnection;
use futures_util::future::join_all;
use reqwest::Method;
use serde_json::{Value, json};

use super::metrics::figures;
use crate::support::app::{Answer, Builder, TestApp, comment, work_left};
use crate::support::database::Backend;
use crate::support::{postgres, rows};

/// Three instances whose clocks are minutes and hours apart.
async fn three(set: impl Fn(Builder) -> Builder) -> [TestApp; 3] {
    let set = |app: Builder| set(app).set("server__public_url", "http://comments.example.org");
    let first = set(TestApp::build(Backend::Postgres)).start().await;
    let (second, third) = (set(first.another()).start().await, set(first.another()).start().await);
    second.clock.advance(Duration::from_mins(7));
    third.clock.advance(Duration::from_hours(5));
    [first, second, third]
}

fn unique(n: usize) -> Value {
    comment(&format!("unique {n}"))
}

/// The wait that an answer tells, in seconds.
fn wait(answer: &Answer) -> u64 {
    answer.header("retry-after").parse().unwrap()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_limit_holds_over_three_instances() {
    let apps = three(|app| app.set("limits__address__burst", "20")).await;
    // Their clocks stand still, at the moments of the database's clock in which each first asks.
    for app in &apps {
        let guess = app.request(Method::GET, "/api/v1/moderation/summary").bearer_auth("awt_guess");
        assert_eq!(app.send(guess).await.status, 401);
    }
    let answers = join_all((0..90).map(|n| {
        let app = &apps[n % 3];
        async move { app.submit(&unique(n)).await }
    }))
    .await;
    let passed = answers.iter().filter(|answer| answer.status == 202).count();
    assert!((19..=21).contains(&passed), "{passed} of 90 passed a limit of 20");
    for refused in answers.iter().filter(|answer| answer.status != 202) {
        assert_eq!(refused.status, 429, "{}", refused.text());
    }
    let failures = join_all(apps.iter().map(figures)).await;
    let failures = failures.iter().map(|told| told.get("shared_limit_failures_total", &[]));
    assert_eq!(failures.sum::<f64>(), 0.0);
    // Whoever waits for as long as they were told passes, once; a second before, they do not. Asked of the instance whose
    // clock stands still at the latest moment: to it nobody's arrival lies too far ahead.
    let latest = &apps[2];
    let told = wait(&latest.submit(&unique(100)).await);
    assert!((1..=15).contains(&told), "{told}");
    latest.clock.advance(Duration::from_secs(told - 1));
    assert_eq!(wait(&latest.submit(&unique(101)).await), 1);
    latest.clock.advance(Duration::from_secs(1));
    latest.submit(&unique(102)).await.expect(202);
    for app in &apps {
        assert_eq!(app.submit(&unique(103)).await.status, 429);
    }
    let keys = postgres::run(apps[0].database_url(), "SELECT count(*) FROM rate_limits WHERE length(key) = 16");
    assert_eq!(keys, "7", "one row for each ring: address, network, article, site, all, e-mail address, wrong tokens");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_left_is_what_all_have_left() {
    let apps = three(|app| app).await;
    for (left, app) in [2, 1, 0].into_iter().zip(&apps) {
        let answer = app.submit(&unique(left)).await;
        assert_eq!(answer.status, 202);
        assert!(answer.header("ratelimit").starts_with(&format!("\"address\";r={left};")), "{:?}", answer.headers);
    }
    for (n, app) in apps.iter().enumerate() {
        for again in 0..2 {
            let refused = app.submit(&unique(10 + 2 * n + again)).await;
            assert_eq!((refused.status.as_u16(), refused.header("ratelimit").contains("r=0;")), (429, true));
        }
    }
    // Who is known to have nothing left is refused without a question.
    let first = &apps[0];
    let before = postgres::run(first.database_url(), "SELECT sum(arrival) FROM rate_limits");
    postgres::run(first.database_url(), "ALTER TABLE rate_limits RENAME TO away");
    assert_eq!(first.submit(&unique(30)).await.status, 429);
    assert_eq!(figures(first).await.get("shared_limit_failures_total", &[]), 0.0);
    assert_eq!(postgres::run(first.database_url(), "SELECT sum(arrival) FROM away"), before);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn guesses_are_counted_together() {
    let apps = three(|app| app).await;
    let mut statuses = Vec::new();
    for n in 0..15 {
        let guess = apps[n % 3].request(Method::GET, "/api/v1/moderation/summary").bearer_auth(format!("awt_{n}"));
        statuses.push(apps[n % 3].send(guess).await.status.as_u16());
    }
    assert_eq!(statuses[..10], [401; 10]);
    assert_eq!(statuses[10..], [429; 5]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn without_the_database_each_goes_by_its_own_limit() {
    let apps = three(|app| app).await;
    let url = apps[0].database_url();
    postgres::run(url, "ALTER TABLE rate_limits RENAME TO away");
    for (number, app) in apps.iter().enumerate().take(2) {
        let mut statuses = Vec::new();
        for n in 0..4 {
            statuses.push(app.submit(&unique(10 * number + n)).await.status.as_u16());
        }
        assert_eq!(statuses, [202, 202, 202, 429], "the local limit stands");
        assert_eq!(
            figures(app).await.get("shared_limit_failures_total", &[]),
            6.0,
            "three comments, two questions each"
        );
    }
    postgres::run(url, "ALTER TABLE away RENAME TO rate_limits");
    // While it rests nobody asks, also when all is well again.
    apps[1].clock.advance(Duration::from_millis(4_900));
    let guess = apps[1].request(Method::GET, "/api/v1/moderation/summary").bearer_auth("awt_guess");
    assert_eq!(apps[1].send(guess).await.status, 401);
    assert_eq!(figures(&apps[1]).await.get("shared_limit_failures_total", &[]), 7.0);
    for app in &apps {
        app.clock.advance(Duration::from_mins(1));
    }
    for (n, app) in apps.iter().enumerate() {
        app.submit(&unique(50 + n)).await.expect(202);
        assert_eq!(figures(app).await.get("shared_limit_failures_total", &[]), [6.0, 7.0, 0.0][n]);
    }
    for (n, app) in apps.iter().enumerate() {
        assert_eq!(app.submit(&unique(60 + n)).await.status, 429, "together again");
    }
}

/// Holds the table of the rings until the sender goes.
fn hold_rings(db: &Db) -> mpsc::Sender<()> {
    let (held, is_held) = mpsc::channel();
    let (release, released) = mpsc::channel();
    let db = db.clone();
    tokio::spawn(async move {
        db.write(move |tx| {
            if let Conn::Postgres(c) = tx.conn() {
                c.batch_execute("LOCK TABLE rate_limits IN ACCESS EXCLUSIVE MODE")?;
            }
            held.send(()).unwrap();
            let _ = released.recv(); // It ends when the sender goes.
            Ok(())
        })
        .await
    });
    is_held.recv().unwrap();
    release
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_database_that_hangs_costs_one_visitor_a_short_wait() {
    let app = TestApp::build(Backend::Postgres).patience(Duration::from_millis(100)).start().await;
    let other = app.another().start().await;
    let hold = hold_rings(&other.service.db);
    for n in 0..3 {
        app.submit(&unique(n)).await.expect(202);
    }
    assert_eq!(app.submit(&unique(4)).await.status, 429);
    let failures = figures(&app).await.get("shared_limit_failures_total", &[]);
    assert_eq!(failures, 6.0);
    drop(hold);
    // It comes back by itself. A slow machine may not answer in time at once.
    for n in 10.. {
        app.clock.advance(Duration::from_mins(1));
        let before = figures(&app).await.get("shared_limit_failures_total", &[]);
        app.submit(&unique(n)).await.expect(202);
        if figures(&app).await.get("shared_limit_failures_total", &[]) == before {
            break;
        }
        assert!(n < 1000);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn fifty_twins_are_one_comment_and_one_answer() {
    let apps = three(|app| app.set("limits__address__burst", "10")).await;
    let answers = join_all((0..50).map(|n| {
        let app = &apps[n % 3];
        let request = app.request(Method::POST, "/api/v1/sites/default/comments").json(&unique(1));
        app.send(request.header("idempotency-key", "one"))
    }))
    .await;
    for answer in &answers {
        assert_eq!((answer.status.as_u16(), answer.text()), (202, answers[0].text()));
    }
    assert_eq!(postgres::run(apps[0].database_url(), "SELECT count(*) FROM comments"), "1");
    assert_eq!(work_left(&apps[1]).await, 1, "and the moderators are told once");
}

/// Nothing but the news of the commit brings it to the other instance: housekeeping does not run here.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_decision_is_seen_on_the_other_instances() {
    let apps = three(|app| app.set("limits__enabled", "false")).await;
    let id = apps[0].comment("seen").await["comment"]["id"].as_str().unwrap().to_owned();
    let until = tokio::time::Instant::now() + Duration::from_mins(1);
    let moderator = apps[0].default_moderator().await;
    for (decision, expected) in [("approve", vec![id.clone()]), ("reject", Vec::new()), ("approve", vec![id.clone()])] {
        for app in &apps {
            app.listed("").await;
        }
        moderator.decide(&id, decision).await.expect(200);
        for app in &apps {
            while app.listed("").await != expected {
                assert!(tokio::time::Instant::now() < until, "it was never seen");
                tokio::time::sleep(Duration::from_millis(5)).await;
            }
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_a_dead_instance_had_begun_another_one_sends() {
    let dead = TestApp::new(Backend::Postgres).await;
    let other = dead.another().set("limits__enabled", "false").start().await;
    let _moderator = dead.default_moderator().await;
    dead.comment("told").await;
    let now = dead.service.clock.now();
    let claim = Claim {
        id: OutboxId(rows::uuid(1)),
        kinds: Kind::ALL,
        now,
        until: now.plus(Duration::from_mins(1)),
        limit: 10,
    };
    let claimed = dead.service.db.write(move |tx| outbox::claim(tx, &claim)).await.unwrap();
    assert_eq!(claimed.len(), 1);
    assert!(other.run_jobs().await.is_empty(), "it is in work");
    other.clock.advance(Duration::from_mins(1));
    let mails = other.run_jobs().await;
    assert_eq!(mails.len(), 1);
    assert!(mails[0].contains("told"), "{}", mails[0]);
    assert_eq!(work_left(&dead).await, 0);
    assert_eq!(json!(dead.run_jobs().await), json!([]), "and nobody twice");
}

/// A transaction that has seen the old key ends before the database moves to the new one.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn on_postgres_the_move_waits_for_transactions_on_their_way() {
    let app = crate::support::app::TestApp::new(crate::support::database::Backend::Postgres).await;
    let command = super::rotation::command(&app).await;
    command.keys.add_first(&mut command.keys.hold_file().unwrap()).unwrap();
    command.announce_key().await.unwrap();
    let site = app.service.sites.by_key("default").unwrap().id;
    let (inside, is_inside) = std::sync::mpsc::channel();
    let (go, gone) = std::sync::mpsc::channel::<()>();
    let writer = app.service.clone();
    let seen = tokio::spawn(async move {
        let key = afterword::domain::submission::ArticleKey::parse("/a", "article").unwrap();
        writer
            .db
            .write(move |tx| {
                let new = afterword::storage::articles::NewArticle {
                    id: afterword::domain::ids::ArticleId(uuid::Uuid::now_v7()),
                    site_id: site,
                    key: &key,
                    created_at: crate::support::rows::NOW,
                };
                let (_, used) = afterword::storage::articles::find_or_make(tx, &new)?;
                let _ = inside.send(());
                let _ = gone.recv();
                Ok(used)
            })
            .await
    });
    tokio::task::spawn_blocking(move || is_inside.recv().unwrap()).await.unwrap();
    assert!(
        matches!(command.use_announced_key().await, Err(afterword::error::Error::Busy)),
        "it does not move past that one"
    );
    drop(go);
    assert_eq!(seen.await.unwrap().unwrap(), Some(app.service.keys.check_value()));
    command.use_announced_key().await.unwrap();
    assert_ne!(command.keys.check_value(), app.service.keys.check_value());
}
