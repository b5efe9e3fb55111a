//! How many mails one moderator gets, whatever the mail server and the clock did: single ones up to the hourly ceiling, and
//! one summary an hour.

use std::time::Duration;

use afterword::domain::ids::{AccountId, CommentId, OutboxId, SiteId};
use afterword::storage::outbox::{Kind, OutboxRow};

use crate::support::app::{TestApp, work_left};
use crate::support::clock::FakeClock;
use crate::support::database::{Backend, on_both_databases};
use crate::support::program::SmtpPeer;

on_both_databases!(
    no_hour_has_more_than_its_share,
    what_is_above_the_ceiling_when_it_leaves_becomes_one_summary,
    a_clock_that_was_ahead_holds_up_nothing,
);

fn is_single(mail: &str) -> bool {
    mail.contains("Please moderate")
}

/// Six hours of a comment every three minutes: in any sixty minutes two single mails and one summary at most.
async fn no_hour_has_more_than_its_share(backend: Backend) {
    let app = TestApp::build(backend).set("limits__enabled", "false").set("mail__hourly_ceiling", "2").start().await;
    let _moderator = app.default_moderator().await;
    let (mut singles, mut summaries) = (Vec::new(), Vec::new());
    for minute in (0..360_usize).step_by(3) {
        app.comment(&format!("minute {minute}")).await;
        for mail in app.run_jobs().await {
            if is_single(&mail) { singles.push(minute) } else { summaries.push(minute) }
        }
        app.clock.advance(Duration::from_mins(3));
    }
    for minute in 0..360 {
        let within = |times: &[usize]| times.iter().filter(|time| (minute..minute + 60).contains(*time)).count();
        assert!(within(&singles) <= 2, "{singles:?}");
        assert!(within(&summaries) <= 1, "{summaries:?}");
    }
    assert!(singles.len() >= 10 && summaries.len() >= 5, "{singles:?} {summaries:?}");
    app.clock.advance(Duration::from_hours(1));
    app.run_jobs().await;
    assert_eq!(work_left(&app).await, 0);
}

async fn parts(app: &TestApp, text: &str) -> (SiteId, AccountId, CommentId) {
    let site = app.service.sites.by_key("default").unwrap().id;
    let email = afterword::domain::email::Email::parse("mod@example.org", "email").unwrap();
    let account = app.service.account_by_email(&email).await.unwrap().id;
    let id = app.comment(text).await["comment"]["id"].as_str().unwrap().parse().unwrap();
    (site, account, id)
}

/// Queues single mails about one comment, which has brought its own.
async fn queue(app: &TestApp, count: usize, due_in: Duration) {
    let (site, account, comment) = parts(app, &format!("due in {due_in:?}")).await;
    app.run_jobs().await;
    let (service, now) = (app.service.clone(), FakeClock::START);
    app.service
        .db
        .write(move |tx| {
            for _ in 0..count {
                let mut row = OutboxRow::new(OutboxId(service.ids.next()), Kind::MailModerator, site, now);
                (row.account_id, row.comment_id) = (Some(account), Some(comment));
                row.due_at = Some(now.plus(due_in));
                tx.enqueue(row);
            }
            Ok(())
        })
        .await
        .unwrap();
}

/// As after an outage, or when two processes found out at once whom to tell.
async fn what_is_above_the_ceiling_when_it_leaves_becomes_one_summary(backend: Backend) {
    let app = TestApp::new(backend).await;
    let _moderator = app.default_moderator().await;
    queue(&app, 30, Duration::ZERO).await;
    let mails = app.run_jobs().await;
    // One has left before.
    assert_eq!(mails.iter().filter(|mail| is_single(mail)).count(), 19);
    assert_eq!(mails.len(), 20, "and one summary");
    assert_eq!(work_left(&app).await, 0);
    app.clock.advance(Duration::from_hours(1));
    app.comment("the next hour").await;
    assert!(is_single(&app.run_jobs().await[0]), "what was folded has taken nobody's place");
}

async fn a_clock_that_was_ahead_holds_up_nothing(backend: Backend) {
    let app = TestApp::new(backend).await;
    let _moderator = app.default_moderator().await;
    queue(&app, 1, Duration::from_hours(1)).await;
    assert!(app.run_jobs().await.is_empty(), "a legitimate wait");
    queue(&app, 2, Duration::from_mins(62)).await;
    assert_eq!(app.run_jobs().await.len(), 2, "nothing waits as long as this");
    let (site, _, comment) = parts(&app, "from tomorrow").await;
    let id = OutboxId(app.service.ids.next());
    app.service
        .db
        .write(move |tx| {
            let mut row =
                OutboxRow::new(id, Kind::TellModerators, site, FakeClock::START.plus(Duration::from_hours(24)));
            row.comment_id = Some(comment);
            tx.enqueue(row);
            Ok(())
        })
        .await
        .unwrap();
    assert_eq!(app.run_jobs().await.len(), 2, "the comment, told twice because the test queued it twice");
    assert_eq!(work_left(&app).await, 1, "the legitimate wait");
    app.clock.advance(Duration::from_hours(1));
    assert_eq!(app.run_jobs().await.len(), 1);
}

/// Hours without a mail server: what waited leaves as one hour's share, not as all of theirs.
#[tokio::test(flavor = "multi_thread")]
async fn an_outage_is_no_flood_afterwards() {
    let mut peer = SmtpPeer::start();
    let app = TestApp::build(Backend::Sqlite)
        .set("limits__enabled", "false")
        .set("mail__transport", "smtp")
        .set("mail__smtp_url", &format!("smtp://127.0.0.1:{}", peer.port))
        .set("mail__hourly_ceiling", "3")
        .real_mail()
        .start()
        .await;
    let _moderator = app.default_moderator().await;
    peer.mode("refuse 451 MAIL");
    for hour in 0..5 {
        for n in 0..6 {
            app.comment(&format!("hour {hour}, number {n}")).await;
            app.run_jobs().await;
        }
        app.clock.advance(Duration::from_mins(61));
    }
    peer.mode("ok");
    app.run_jobs().await;
    app.clock.advance(Duration::from_mins(30));
    app.run_jobs().await;
    let count = peer.mails_left();
    let subjects: Vec<String> = (0..count).map(|_| peer.mail()["headers"].to_string()).collect();
    assert_eq!(subjects.iter().filter(|headers| is_single(headers)).count(), 3, "{subjects:#?}");
    assert_eq!(count, 4, "and one summary");
}
