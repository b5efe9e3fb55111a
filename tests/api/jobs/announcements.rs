//! Everything that waits is announced: comments that come while a summary is on its way, and edits of public comments.

use std::time::{Duration, Instant};

use afterword::storage::outbox;
use serde_json::json;

use crate::support::app::{Answer, TestApp, comment, work_left};
use crate::support::database::{Backend, on_both_databases};
use crate::support::program::SmtpPeer;

on_both_databases!(
    edits_above_the_ceiling_are_announced,
    comments_are_spread_without_a_trace,
    the_first_attempt_comes_within_two_seconds,
);

/// A mail's text part is quoted-printable where it has to be; these words never need it.
fn said(mails: &[String], words: &str) -> usize {
    mails.iter().filter(|mail| mail.contains(words)).count()
}

async fn edit(app: &TestApp, published: &Answer, text: &str) {
    let sent = published.json();
    let (id, token) = (sent["comment"]["id"].as_str().unwrap(), sent["author_token"].as_str().unwrap());
    let request = app.request(reqwest::Method::PATCH, &format!("/api/v1/comments/{id}")).bearer_auth(token);
    let request = request.header("content-type", "application/merge-patch+json");
    app.send(request.body(json!({"body": text}).to_string())).await.expect(202);
}

async fn edits_above_the_ceiling_are_announced(backend: Backend) {
    let app = TestApp::build(backend).set("limits__enabled", "false").set("mail__hourly_ceiling", "1").start().await;
    let moderator = app.default_moderator().await;
    let mut published = Vec::new();
    for text in ["one", "two"] {
        let sent = app.submit(&comment(text)).await;
        moderator.decide(sent.json()["comment"]["id"].as_str().unwrap(), "approve").await.expect(200);
        published.push(sent);
    }
    assert!(app.run_jobs().await.is_empty(), "nothing waits");
    edit(&app, &published[0], "one, edited").await;
    let mails = app.run_jobs().await;
    assert_eq!((mails.len(), said(&mails, "1 comment is waiting on My site")), (1, 1), "{mails:?}");
    edit(&app, &published[1], "two, edited").await;
    let mails = app.run_jobs().await;
    assert_eq!((mails.len(), said(&mails, "Subject: 2 comments are waiting")), (1, 1), "{mails:?}");
    assert_eq!((said(&mails, "My site: 2 waiting"), said(&mails, "two, edited")), (1, 1), "{mails:?}");
    assert_eq!(work_left(&app).await, 0);
}

/// Telling the moderators has no side effect outside the database: its rows go in the transaction that queues the mails.
async fn comments_are_spread_without_a_trace(backend: Backend) {
    let app = TestApp::new(backend).await;
    for n in 0..300 {
        app.comment(&format!("nobody moderates {n}")).await;
    }
    assert_eq!(work_left(&app).await, 300);
    assert!(app.run_jobs().await.is_empty());
    assert_eq!(work_left(&app).await, 0);
    let swept = app.service.db.write(|tx| outbox::sweep(tx, afterword::domain::time::Timestamp(i64::MAX), 1000)).await;
    assert_eq!(swept.unwrap(), 0, "no finished row is left");
}

/// Contract §5, for the first comment, for one that comes while mails are sent, and for what another process left.
async fn the_first_attempt_comes_within_two_seconds(backend: Backend) {
    let app = TestApp::new(backend).await;
    let _moderator = app.default_moderator().await;
    app.comment("before the worker started").await;
    let stop = app.keep_working();
    let mut waits = Vec::new();
    for expected in 1..=12 {
        let begun = Instant::now();
        while app.mails_left() < expected {
            assert!(begun.elapsed() < Duration::from_mins(1), "mail {expected}");
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
        waits.push(begun.elapsed());
        app.comment(&format!("number {expected}")).await;
    }
    // Of all of them on a machine that has time; on a busy one of most.
    waits.sort_unstable();
    assert!(waits[6] < Duration::from_secs(2), "{waits:?}");
    stop.cancel();
}

async fn app_for(port: u16) -> TestApp {
    TestApp::build(Backend::Sqlite)
        .set("limits__enabled", "false")
        .set("mail__transport", "smtp")
        .set("mail__smtp_url", &format!("smtp://127.0.0.1:{port}"))
        .set("mail__timeout_seconds", "2")
        .set("mail__hourly_ceiling", "1")
        .real_mail()
        .start()
        .await
}

/// Lets a comment come while a summary is on its way, which then ends as `ended` says: well (`ok`) or by its time (`hang`).
async fn a_comment_while_a_summary_is_on_its_way(app: &TestApp, peer: &mut SmtpPeer, ended: &str) {
    let _moderator = app.default_moderator().await;
    app.comment("a single mail").await;
    app.run_jobs().await;
    assert!(peer.mail()["text"].as_str().unwrap().contains("a single mail"));
    peer.mode("hold BODY");
    app.comment("in the summary").await;
    let meanwhile = async {
        while peer.mails_left() == 0 {
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
        app.comment("came meanwhile").await;
        app.run_jobs().await;
        if ended == "ok" {
            peer.mode("ok");
        }
    };
    tokio::join!(app.run_jobs(), meanwhile);
    peer.mode("ok");
    let text = peer.mail()["text"].as_str().unwrap().to_owned();
    assert!(text.contains("in the summary") && !text.contains("came meanwhile"), "{text}");
    assert_eq!(work_left(app).await, 1, "one summary follows");
    app.clock.advance(Duration::from_mins(59));
    app.run_jobs().await;
    assert_eq!(peer.mails_left(), 0, "not before the hour is over");
    app.clock.advance(Duration::from_mins(1));
    app.run_jobs().await;
    assert!(peer.mail()["text"].as_str().unwrap().contains("came meanwhile"));
    assert_eq!((peer.mails_left(), work_left(app).await), (0, 0));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_comment_that_comes_while_a_summary_is_on_its_way_is_announced() {
    let mut peer = SmtpPeer::start();
    let app = app_for(peer.port).await;
    a_comment_while_a_summary_is_on_its_way(&app, &mut peer, "ok").await;
}

/// The newer summary tells what the older one would have told again.
#[tokio::test(flavor = "multi_thread")]
async fn a_summary_that_failed_gives_way_to_a_newer_one() {
    let mut peer = SmtpPeer::start();
    let app = app_for(peer.port).await;
    a_comment_while_a_summary_is_on_its_way(&app, &mut peer, "hang").await;
}
