//! Mails to addresses that somebody typed: the ceilings hold with two instances and after an outage, and what is given up is
//! not kept.

use std::sync::mpsc::channel;
use std::time::Duration;

use afterword::domain::ids::OutboxId;
use afterword::storage::outbox::{self, Kind, OutboxRow};
use reqwest::Method;
use serde_json::json;

use super::promises::over_or_waiting;
use crate::support::app::{Builder, TestApp, comment, work_left};
use crate::support::database::Backend;
use crate::support::program::SmtpPeer;

/// Two instances that count at the same moment.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn two_instances_share_the_ceiling() {
    let ceiling = |builder: Builder| builder.set("limits__enabled", "false").set("people__hourly_confirmations", "1");
    let app = ceiling(TestApp::build(Backend::Postgres)).start().await;
    let other = ceiling(app.another()).start().await;
    for n in 0..2 {
        let mut body = comment(&format!("text {n}"));
        (body["email"], body["article"]) = (json!(format!("stranger{n}@example.net")), json!(format!("/{n}")));
        body["notify"] = json!(true);
        app.submit(&body).await.expect(202);
    }
    let ((counted, has_counted), (go, wait)) = (channel(), channel());
    let (service, now) = (app.service.clone(), app.service.clock.now());
    let first = tokio::spawn(async move {
        let db = service.db.clone();
        db.write(move |tx| {
            let work = outbox::take(tx, &[Kind::TellPeople], now, 1)?;
            service.spread_news(tx, &work, now)?;
            counted.send(()).unwrap();
            wait.recv().unwrap();
            Ok(())
        })
        .await
        .unwrap();
    });
    tokio::task::block_in_place(|| has_counted.recv().unwrap());
    let service = other.service.clone();
    let second = tokio::spawn(async move {
        let db = service.db.clone();
        let spread = db.write(move |tx| {
            let work = outbox::take(tx, &[Kind::TellPeople], now, 1)?;
            assert_eq!(work.len(), 1);
            service.spread_news(tx, &work, now)
        });
        spread.await.unwrap()
    });
    over_or_waiting(&app, &second).await;
    go.send(()).unwrap();
    first.await.unwrap();
    assert_eq!(second.await.unwrap(), 1, "one question is left out");
}

async fn with_smtp(peer: &SmtpPeer) -> TestApp {
    TestApp::build(Backend::Sqlite)
        .set("limits__enabled", "false")
        .set("mail__transport", "smtp")
        .set("mail__smtp_url", &format!("smtp://127.0.0.1:{}", peer.port))
        .set("people__hourly_confirmations", "2")
        .set("people__hourly_links", "2")
        .real_mail()
        .start()
        .await
}

async fn stranger(app: &TestApp, name: &str, text: &str) {
    let mut body = comment(text);
    (body["email"], body["notify"]) = (json!(format!("{name}@example.net")), json!(true));
    app.submit(&body).await.expect(202);
}

/// Hours without a mail server: what waited leaves as one hour's share.
#[tokio::test(flavor = "multi_thread")]
async fn an_outage_lets_no_ceiling_be_passed() {
    let mut peer = SmtpPeer::start();
    let app = with_smtp(&peer).await;
    peer.mode("refuse 451 MAIL");
    for hour in 0..5 {
        for n in 0..2 {
            stranger(&app, &format!("s{hour}{n}"), &format!("hour {hour}, number {n}")).await;
            let email = format!("s{hour}{n}@example.net");
            app.send(app.request(Method::POST, "/me/default").form(&[("email", email)])).await;
            app.run_jobs().await;
        }
        app.clock.advance(Duration::from_mins(61));
    }
    peer.mode("ok");
    app.run_jobs().await;
    app.clock.advance(Duration::from_mins(30));
    app.run_jobs().await;
    let count = peer.mails_left();
    let texts: Vec<String> = (0..count).map(|_| peer.mail()["text"].as_str().unwrap().to_owned()).collect();
    assert_eq!(texts.iter().filter(|text| text.contains("say yes there")).count(), 2, "{texts:#?}");
    assert_eq!(texts.iter().filter(|text| text.contains("/me/open/")).count(), 2, "{texts:#?}");
    assert_eq!((count, work_left(&app).await), (4, 0));
}

/// Asked on two days on which no mail left, an address gets one question.
#[tokio::test(flavor = "multi_thread")]
async fn an_outage_asks_nobody_twice() {
    let mut peer = SmtpPeer::start();
    let app = with_smtp(&peer).await;
    peer.mode("refuse 451 MAIL");
    for text in ["one", "two"] {
        stranger(&app, "s", text).await;
        app.run_jobs().await;
        app.clock.advance(Duration::from_hours(25));
    }
    peer.mode("ok");
    for _ in 0..3 {
        app.run_jobs().await;
        app.clock.advance(Duration::from_mins(50));
    }
    assert_eq!((peer.mails_left(), work_left(&app).await), (1, 0));
}

/// What no mail server takes is not kept for a flood at one click.
#[tokio::test(flavor = "multi_thread")]
async fn what_is_given_up_to_strangers_is_gone() {
    let mut peer = SmtpPeer::start();
    let app = with_smtp(&peer).await;
    peer.mode("refuse 550_5.1.1 RCPT");
    stranger(&app, "s", "one").await;
    app.send(app.request(Method::POST, "/me/default").form(&[("email", "s@example.net")])).await;
    app.run_jobs().await;
    let depth = app.service.db.read(outbox::depth).await.unwrap();
    assert_eq!((depth.waiting, depth.failed), (0, 0));
    let (site, id) = (app.service.sites.by_key("default").unwrap().id, OutboxId(app.service.ids.next()));
    let now = app.service.clock.now();
    let failed = app.service.db.write(move |tx| {
        let mut row = OutboxRow::new(id, Kind::MailConfirm, site, now);
        (row.due_at, row.failed_at) = (None, Some(now));
        tx.enqueue(row);
        Ok(())
    });
    failed.await.unwrap();
    assert_eq!(app.service.send_again(None).await.unwrap(), 0, "an older program left one");
}
