//! Mail reaches an independent server over a real socket, is well formed there, and survives what mail servers do.

use std::time::Duration;

use afterword::storage::outbox;
use serde_json::{Value, json};

use crate::support::app::{TestApp, comment, work_left};
use crate::support::database::Backend;
use crate::support::program::{Installation, SmtpPeer, wait_until};

async fn app_for(port: u16) -> TestApp {
    TestApp::build(Backend::Sqlite)
        .set("limits__enabled", "false")
        .set("mail__transport", "smtp")
        .set("mail__smtp_url", &format!("smtp://127.0.0.1:{port}"))
        .set("mail__from", "Comments <comments@example.org>")
        .set("mail__timeout_seconds", "1")
        .real_mail()
        .start()
        .await
}

fn header<'a>(mail: &'a Value, name: &str) -> &'a str {
    let headers = mail["headers"].as_array().unwrap();
    let found: Vec<_> =
        headers.iter().filter(|header| header[0].as_str().unwrap().eq_ignore_ascii_case(name)).collect();
    assert_eq!(found.len(), 1, "{name}");
    found[0][1].as_str().unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn mails_are_well_formed_whatever_visitors_write() {
    let mut peer = SmtpPeer::start();
    let app = app_for(peer.port).await;
    let _moderator = app.default_moderator().await;
    let body = json!({
        "article": "/a\u{e9}", "name": "Jürgen \"<b>\" O'Brien", "email": "visitor@example.net", "website": "https://evil.example/?<x>".replace(['<', '>'], ""),
        "body": format!("Line\n.\n..dots\nFrom here\n\n{}\n<img src=x> https://evil.example 漢字 \u{1F600}", "long ".repeat(400)),
        "article_title": "A title, Bcc: evil@example.net =?utf-8?q?x?="
    });
    app.submit(&body).await.expect(202);
    app.run_jobs().await;
    let mail = peer.mail();
    assert_eq!(mail["to"], json!(["mod@example.org"]));
    assert_eq!(mail["from"], "comments@example.org");
    assert_eq!(mail["defects"], json!([]));
    assert_eq!(mail["types"], json!(["multipart/alternative", "text/plain", "text/html"]));
    assert!(mail["longest_line"].as_u64().unwrap() <= 998);
    assert_eq!(mail["bare_line_breaks"], 0);
    assert_eq!(
        header(&mail, "subject"),
        "[My site] Please moderate: \"A title, Bcc: evil@example.net = ?utf-8?q?x?=\""
    );
    assert_eq!(header(&mail, "auto-submitted"), "auto-generated");
    assert_eq!(header(&mail, "to"), "mod@example.org");
    assert!(header(&mail, "message-id").ends_with("@example.org>"));
    let text = mail["text"].as_str().unwrap().replace("\r\n", "\n");
    let (text, html) = (text.as_str(), mail["html"].as_str().unwrap());
    for part in [text, html] {
        for shown in ["visitor@example.net", "漢字", "127.0.0.0", "1 comment is waiting"] {
            assert!(part.contains(shown), "{shown} is missing: {part}");
        }
    }
    assert!(text.contains("\n> .\n> ..dots\n> From here\n>\n"), "{text}");
    assert!(!html.contains("<img") && html.matches("<a ").count() == 4 && html.contains("&lt;img src=x&gt;"));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_server_that_is_down_or_busy_only_delays() {
    let mut peer = SmtpPeer::start();
    let port = peer.port;
    let app = app_for(port).await;
    let _moderator = app.default_moderator().await;
    drop(peer);
    app.comment("while it is down").await;
    app.run_jobs().await;
    assert_eq!(work_left(&app).await, 1);
    peer = SmtpPeer::start_at(port);
    app.run_jobs().await;
    assert_eq!(peer.mails_left(), 0, "not before its time");
    app.clock.advance(Duration::from_secs(10));
    app.run_jobs().await;
    let mail = peer.mail();
    assert!(mail["text"].as_str().unwrap().contains("while it is down"));
    // Greylisting: the first attempt is refused for now, at one verb after the other.
    for verb in ["MAIL", "RCPT", "DATA", "BODY"] {
        peer.mode(&format!("fail 451 {verb}"));
        app.comment(&format!("greylisted at {verb}")).await;
        app.run_jobs().await;
        assert_eq!(work_left(&app).await, 1, "{verb}");
        let id = if verb == "BODY" { header(&peer.mail(), "message-id").to_owned() } else { String::new() };
        app.clock.advance(Duration::from_secs(10));
        app.run_jobs().await;
        let mail = peer.mail();
        assert!(mail["text"].as_str().unwrap().contains(verb));
        assert!(id.is_empty() || id == header(&mail, "message-id"), "the same Message-ID");
    }
    assert_eq!((work_left(&app).await, peer.mails_left()), (0, 0));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_recipient_that_does_not_exist_is_listed_and_holds_up_nobody() {
    let mut peer = SmtpPeer::start();
    let app = app_for(peer.port).await;
    let _moderator = app.default_moderator().await;
    peer.mode("refuse 550_5.1.1 RCPT");
    app.comment("refused").await;
    app.run_jobs().await;
    let failed = app.service.db.read(|conn| outbox::failed(conn, 10)).await.unwrap();
    assert_eq!((failed.len(), failed[0].attempts), (1, 1));
    let words = failed[0].last_error.clone().unwrap();
    assert!(words.contains("550") && words.contains("not now"), "the server's own words: {words}");
    assert_eq!(words.matches("not now").count(), 1, "said once: {words}");
    assert!(!words.contains('@'), "without an address: {words}");
    peer.mode("ok");
    app.comment("taken").await;
    app.run_jobs().await;
    assert!(peer.mail()["text"].as_str().unwrap().contains("taken"));
}

/// 554 instead of a greeting, 550 to the sender: the server's bad minute, or a setting of ours. Nothing is lost by it.
#[tokio::test(flavor = "multi_thread")]
async fn one_bad_minute_of_the_mail_server_loses_nothing() {
    for refusal in ["refuse 554 CONNECT", "refuse 550 MAIL", "refuse 550_5.7.1 RCPT", "refuse 552_5.3.4 DATA"] {
        let mut peer = SmtpPeer::start();
        let app = app_for(peer.port).await;
        let _moderator = app.default_moderator().await;
        peer.mode(refusal);
        app.comment("in a bad minute").await;
        app.run_jobs().await;
        assert_eq!(work_left(&app).await, 1, "{refusal}");
        peer.mode("ok");
        app.clock.advance(Duration::from_secs(10));
        app.run_jobs().await;
        assert!(peer.mail()["text"].as_str().unwrap().contains("in a bad minute"), "{refusal}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_server_that_refuses_for_hours_is_believed_visibly() {
    let mut peer = SmtpPeer::start();
    let app = app_for(peer.port).await;
    let _moderator = app.default_moderator().await;
    peer.mode("refuse 550 MAIL");
    app.comment("for hours").await;
    app.run_jobs().await;
    while work_left(&app).await > 0 {
        app.clock.advance(Duration::from_mins(1));
        app.run_jobs().await;
    }
    let failed = app.service.db.read(|conn| outbox::failed(conn, 10)).await.unwrap();
    let age = failed[0].failed_at.unwrap().since(failed[0].created_at);
    assert!((Duration::from_hours(4)..Duration::from_hours(5)).contains(&age), "{age:?}");
    assert!(failed[0].attempts > 8, "{} attempts", failed[0].attempts);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_wrong_password_is_a_matter_of_settings() {
    let mut peer = SmtpPeer::start();
    let app = app_for(peer.port).await;
    let _moderator = app.default_moderator().await;
    peer.mode("refuse 535 MAIL");
    app.comment("unauthenticated").await;
    app.run_jobs().await;
    for _ in 0..70 {
        app.clock.advance(Duration::from_hours(1));
        app.run_jobs().await;
    }
    assert_eq!(work_left(&app).await, 1, "tried for three days");
    for _ in 0..3 {
        app.clock.advance(Duration::from_hours(1));
        app.run_jobs().await;
    }
    assert_eq!(work_left(&app).await, 0);
    assert_eq!(app.service.db.read(outbox::depth).await.unwrap().failed, 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_server_that_hangs_at_any_verb_is_given_up_for_now() {
    for verb in ["CONNECT", "EHLO", "MAIL", "RCPT", "DATA", "BODY"] {
        // A new app each time: a pooled connection has its EHLO behind it.
        let mut peer = SmtpPeer::start();
        let app = app_for(peer.port).await;
        let _moderator = app.default_moderator().await;
        peer.mode(&format!("hang {verb}"));
        app.comment(&format!("hangs at {verb}")).await;
        app.run_jobs().await;
        assert_eq!(work_left(&app).await, 1, "{verb}");
        if verb == "BODY" {
            peer.mail();
        }
        peer.mode("ok");
        app.clock.advance(Duration::from_secs(10));
        app.run_jobs().await;
        assert_eq!(work_left(&app).await, 0, "{verb}");
        assert!(peer.mail()["text"].as_str().unwrap().contains(verb));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_flood_brings_twenty_mails_and_a_digest() {
    let mut peer = SmtpPeer::start();
    let app = app_for(peer.port).await;
    let _moderator = app.default_moderator().await;
    for n in 0..60 {
        app.comment(&format!("flood {n}")).await;
        if n % 10 == 0 {
            app.run_jobs().await;
        }
    }
    app.run_jobs().await;
    let subjects: Vec<String> = (0..21).map(|_| header(&peer.mail(), "subject").to_owned()).collect();
    assert_eq!(subjects.iter().filter(|subject| subject.contains("Please moderate")).count(), 20);
    assert_eq!(subjects.iter().filter(|subject| subject.contains("waiting for moderation")).count(), 1);
    assert_eq!(peer.mails_left(), 0);
    // What came after the digest is in the next one, an hour later.
    app.clock.advance(Duration::from_mins(30));
    app.comment("half an hour later").await;
    app.run_jobs().await;
    assert_eq!(peer.mails_left(), 0);
    app.clock.advance(Duration::from_mins(30));
    app.run_jobs().await;
    let digest = peer.mail();
    assert_eq!(header(&digest, "subject"), "61 comments are waiting for moderation");
    assert!(digest["text"].as_str().unwrap().contains("half an hour later"));
    app.comment("a new hour").await;
    app.run_jobs().await;
    assert!(header(&peer.mail(), "subject").contains("Please moderate"));
    assert_eq!((peer.mails_left(), work_left(&app).await), (0, 0));
}

#[tokio::test(flavor = "multi_thread")]
async fn what_was_decided_meanwhile_brings_no_mail() {
    let mut peer = SmtpPeer::start();
    let app = app_for(peer.port).await;
    let moderator = app.default_moderator().await;
    let id = app.comment("decided at once").await["comment"]["id"].as_str().unwrap().to_owned();
    moderator.decide(&id, "approve").await.expect(200);
    let mut spam = comment("spam");
    spam["company"] = json!("x");
    app.submit(&spam).await.expect(202);
    app.run_jobs().await;
    assert_eq!((peer.mails_left(), work_left(&app).await), (0, 0));
}

/// kill -9 after the server has the mail and before we know: sent again, once, with the same Message-ID.
#[test]
fn a_crash_between_sending_and_marking_doubles_at_most_once() {
    let mut peer = SmtpPeer::start();
    let installation = Installation::new()
        .set("mail__transport", "smtp")
        .set("mail__smtp_url", &format!("smtp://127.0.0.1:{}", peer.port))
        .set("mail__from", "comments@example.org")
        .set("limits__enabled", "false");
    let running = installation.start();
    installation.token("moderator");
    peer.mode("hang BODY");
    let client = reqwest::blocking::Client::new();
    let url = format!("{}/api/v1/sites/default/comments", running.url);
    assert_eq!(client.post(&url).json(&comment("crash")).send().unwrap().status(), 202);
    let first = peer.mail();
    running.kill();
    peer.mode("ok");
    // The dead worker's claim lasts a minute; let it run out now.
    end_claims(&installation);
    let running = installation.start();
    let second = peer.mail();
    assert_eq!(header(&first, "message-id"), header(&second, "message-id"));
    wait_until("the mail is marked as sent", || waiting_rows(&installation) == 0);
    drop(running);
    let running = installation.start();
    assert_eq!(client.post(&url).json(&comment("after")).send().unwrap().status(), 202);
    assert!(peer.mail()["text"].as_str().unwrap().contains("after"), "nothing else came in between");
    drop(running);
}

fn connection(installation: &Installation) -> diesel::SqliteConnection {
    use diesel::Connection;
    use diesel::connection::SimpleConnection;
    let mut conn =
        diesel::SqliteConnection::establish(installation.path("data/afterword.db").to_str().unwrap()).unwrap();
    conn.batch_execute("PRAGMA busy_timeout = 5000").unwrap();
    conn
}

fn end_claims(installation: &Installation) {
    use afterword::storage::schema::outbox::dsl;
    use diesel::prelude::*;
    let waiting = dsl::outbox.filter(dsl::due_at.is_not_null());
    diesel::update(waiting).set(dsl::due_at.eq(0_i64)).execute(&mut connection(installation)).unwrap();
}

fn waiting_rows(installation: &Installation) -> i64 {
    use afterword::storage::schema::outbox::dsl;
    use diesel::prelude::*;
    dsl::outbox.filter(dsl::due_at.is_not_null()).count().get_result(&mut connection(installation)).unwrap()
}

#[test]
fn mail_test_tells_what_the_server_says() {
    let mut peer = SmtpPeer::start();
    let installation = Installation::new()
        .set("mail__transport", "smtp")
        .set("mail__smtp_url", &format!("smtp://127.0.0.1:{}", peer.port));
    assert_eq!(installation.done(&["mail", "test", "you@example.org"]), "The mail server has taken the mail.");
    assert_eq!(header(&peer.mail(), "subject"), "Afterword can send mail");
    peer.mode("refuse 550 RCPT");
    let refused = installation.run(&["mail", "test", "you@example.org"]);
    let words = String::from_utf8(refused.stderr).unwrap();
    assert!(refused.status.code() == Some(1) && words.contains("550"), "{words}");
    let files = Installation::new();
    let told = files.done(&["mail", "test", "you@example.org"]);
    assert!(told.contains("went nowhere else"), "{told}");
    assert_eq!(std::fs::read_dir(files.path("data/mail")).unwrap().count(), 1);
}
