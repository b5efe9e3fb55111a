//! How moderators want mail: digests at their pace, quiet hours by their own clock, none; and a flood, in which every comment
//! is told or counted.

use std::collections::HashSet;
use std::ops::Range;
use std::time::Duration;

use afterword::domain::comment::Status;
use afterword::domain::email::Email;
use afterword::domain::mail_choice::{MailChoice, MailMode, QuietHours};
use serde_json::json;

use crate::support::app::{TestApp, comment, work_left};
use crate::support::database::{Backend, on_both_databases};
use crate::support::mails::Read;
use crate::support::rows;

on_both_databases!(
    a_digest_gathers_for_its_time,
    a_digest_has_links_for_edits,
    quiet_hours_end_with_one_digest,
    a_digest_that_is_due_in_quiet_hours_comes_afterwards,
    a_choice_counts_when_the_mail_leaves,
    spam_tells_nobody,
    a_flood_is_told_in_twenty_mails_and_digests,
);

async fn choose(app: &TestApp, mode: MailMode, quiet: Option<(i64, i64, &str)>) {
    let account = app.service.account_by_email(&Email::parse("mod@example.org", "email").unwrap()).await.unwrap();
    let quiet = quiet.map(|(from, to, zone)| QuietHours::new(from, to, zone).unwrap());
    let choice = MailChoice { mode, quiet };
    app.service.set_mail_choice(account.id, choice.clone()).await.unwrap();
    let stored = app.service.account_by_email(&Email::parse("mod@example.org", "email").unwrap()).await.unwrap();
    assert_eq!(stored.mail_choice(), choice);
}

/// The mails that leave by now.
async fn mails(app: &TestApp) -> Vec<Read> {
    app.run_jobs().await.iter().map(|mail| Read::of(mail)).collect()
}

async fn a_digest_gathers_for_its_time(backend: Backend) {
    let app = TestApp::new(backend).await;
    let _moderator = app.default_moderator().await;
    choose(&app, MailMode::Digest(90), None).await;
    for n in 0..25 {
        app.comment(&format!("gathered {n}.")).await;
        assert!(mails(&app).await.is_empty());
        app.clock.advance(Duration::from_mins(3));
    }
    app.clock.advance(Duration::from_mins(14));
    assert!(mails(&app).await.is_empty());
    app.clock.advance(Duration::from_mins(1));
    let left = mails(&app).await;
    assert_eq!(left.len(), 1);
    assert_eq!(left[0].header("Subject"), "25 comments are waiting for moderation");
    assert_eq!(left[0].links("/m/").len(), 60, "three links for each of twenty");
    assert!(left[0].text.contains("gathered 24.") && left[0].text.contains("And 5 more"), "{}", left[0].text);
    assert!(!left[0].text.contains("gathered 4."), "the newest");
    let page = app.get(&left[0].links("/m/")[0]).await;
    assert!(page.status == 200 && page.text().contains("gathered 24."), "{}", page.text());
    app.clock.advance(Duration::from_hours(3));
    assert!(mails(&app).await.is_empty(), "nothing came");
    assert_eq!(work_left(&app).await, 0);
    // A day is the longest wait, and no sign of a clock that was ahead.
    choose(&app, MailMode::Digest(1440), None).await;
    app.comment("once a day").await;
    app.clock.advance(Duration::from_mins(1));
    assert!(mails(&app).await.is_empty());
    app.clock.advance(Duration::from_hours(24));
    assert_eq!(mails(&app).await.len(), 1);
}

/// A public comment whose new text waits is among what a digest quotes, with the new text.
async fn a_digest_has_links_for_edits(backend: Backend) {
    let app = TestApp::new(backend).await;
    let moderator = app.default_moderator().await;
    choose(&app, MailMode::Digest(90), None).await;
    let sent = app.submit(&comment("first text.")).await;
    let id = sent.json()["comment"]["id"].as_str().unwrap().to_owned();
    moderator.decide(&id, "approve").await.expect(200);
    let request = app.request(reqwest::Method::PATCH, &format!("/api/v1/comments/{id}"));
    let request = request.bearer_auth(sent.json()["author_token"].as_str().unwrap());
    let request = request.header("content-type", "application/merge-patch+json");
    app.send(request.body(json!({"body": "second text."}).to_string())).await.expect(202);
    app.comment("a newer comment.").await;
    app.run_jobs().await;
    app.clock.advance(Duration::from_mins(91));
    let left = mails(&app).await;
    assert_eq!(left.len(), 1);
    assert_eq!(left[0].header("Subject"), "2 comments are waiting for moderation");
    assert_eq!(left[0].links("/m/").len(), 6, "three links for each");
    let at = |text: &str| left[0].text.find(text);
    assert!(at("a newer comment.").unwrap() < at("second text.").unwrap(), "{}", left[0].text);
    assert!(!left[0].text.contains("And "), "{}", left[0].text);
}

/// The clock of the tests starts at midnight UTC: nine in the morning in Tokyo, one in Berlin.
async fn quiet_hours_end_with_one_digest(backend: Backend) {
    let app = TestApp::new(backend).await;
    let _moderator = app.default_moderator().await;
    choose(&app, MailMode::Each, Some((22 * 60, 7 * 60, "Asia/Tokyo"))).await;
    app.comment("by day").await;
    assert!(mails(&app).await[0].header("Subject").contains("Please moderate"));
    choose(&app, MailMode::Each, Some((22 * 60, 7 * 60, "Europe/Berlin"))).await;
    for n in 0..3 {
        app.comment(&format!("by night {n}")).await;
        assert!(mails(&app).await.is_empty());
        app.clock.advance(Duration::from_hours(1));
    }
    app.clock.advance(Duration::from_mins(3 * 60 - 1));
    assert!(mails(&app).await.is_empty(), "a minute to seven");
    app.clock.advance(Duration::from_mins(1));
    let left = mails(&app).await;
    assert_eq!(left.len(), 1);
    assert_eq!(left[0].header("Subject"), "4 comments are waiting for moderation");
    app.comment("by day again").await;
    assert!(mails(&app).await[0].header("Subject").contains("Please moderate"));
}

async fn a_digest_that_is_due_in_quiet_hours_comes_afterwards(backend: Backend) {
    let app = TestApp::new(backend).await;
    let _moderator = app.default_moderator().await;
    // Due at one, in quiet hours; and one that is due when its quiet hours have been chosen meanwhile.
    choose(&app, MailMode::Digest(60), Some((30, 150, "UTC"))).await;
    app.comment("before").await;
    app.run_jobs().await;
    app.clock.advance(Duration::from_mins(149));
    assert!(mails(&app).await.is_empty());
    app.clock.advance(Duration::from_mins(1));
    assert_eq!(mails(&app).await.len(), 1);
    app.comment("later").await;
    app.run_jobs().await;
    choose(&app, MailMode::Digest(60), Some((180, 240, "UTC"))).await;
    app.clock.advance(Duration::from_mins(89));
    assert!(mails(&app).await.is_empty());
    app.clock.advance(Duration::from_mins(1));
    assert_eq!(mails(&app).await.len(), 1);
    assert_eq!(work_left(&app).await, 0);
}

async fn a_choice_counts_when_the_mail_leaves(backend: Backend) {
    let app = TestApp::new(backend).await;
    let _moderator = app.default_moderator().await;
    choose(&app, MailMode::Digest(15), None).await;
    app.comment("gathered").await;
    app.run_jobs().await;
    choose(&app, MailMode::None, None).await;
    app.clock.advance(Duration::from_mins(15));
    assert!(mails(&app).await.is_empty(), "none is none");
    app.comment("for nobody").await;
    assert!(mails(&app).await.is_empty());
    assert_eq!(work_left(&app).await, 0);
    choose(&app, MailMode::Each, None).await;
    app.comment("one each").await;
    assert_eq!(mails(&app).await.len(), 1);
}

async fn spam_tells_nobody(backend: Backend) {
    let app = TestApp::new(backend).await;
    let _moderator = app.default_moderator().await;
    let mut spam = comment("buy");
    spam["company"] = json!("Spam Ltd");
    app.submit(&spam).await.expect(202);
    assert_eq!(work_left(&app).await, 0);
    assert!(mails(&app).await.is_empty());
}

/// Comments as a submission leaves them.
async fn flood(app: &TestApp, numbers: Range<usize>) {
    let mut site = rows::site(1, "default");
    site.id = app.service.sites.by_key("default").unwrap().id;
    let written = app.service.db.write(move |tx| {
        let article = rows::site_and_article(tx, &site, 2, "/a")?;
        for n in numbers.clone() {
            let n = 10 + n as u64;
            let mut row = rows::comment(n, site.id, article, None, Status::Pending);
            row.body = format!("comment {n}.");
            rows::submit(tx, &row, 1_000_000 + n)?;
        }
        Ok(())
    });
    written.await.unwrap();
}

/// Ten thousand comments within an hour, for somebody who wants each and somebody who wants digests.
async fn a_flood_is_told_in_twenty_mails_and_digests(backend: Backend) {
    const COMMENTS: usize = 10_000;
    const STEPS: usize = 60;
    let app = TestApp::new(backend).await;
    let _moderator = app.default_moderator().await;
    let digest = Email::parse("digest@example.org", "email").unwrap();
    let site = app.service.sites.by_key("default").unwrap();
    app.moderator("digest@example.org", afterword::storage::accounts::Role::Moderator, &[&site]).await;
    let account = app.service.account_by_email(&digest).await.unwrap().id;
    let choice = MailChoice { mode: MailMode::Digest(30), quiet: None };
    app.service.set_mail_choice(account, choice).await.unwrap();
    let (mut left, mut minute) = (Vec::new(), 0_usize);
    for step in 0..STEPS {
        flood(&app, step * COMMENTS / STEPS..(step + 1) * COMMENTS / STEPS).await;
        left.extend(mails(&app).await.into_iter().map(|mail| (minute, mail)));
        app.clock.advance(Duration::from_mins(1));
        minute += 1;
    }
    for _ in 0..3 {
        left.extend(mails(&app).await.into_iter().map(|mail| (minute, mail)));
        app.clock.advance(Duration::from_mins(30));
        minute += 30;
    }
    assert_eq!(work_left(&app).await, 0);
    for (to, most) in [("mod@example.org", 21), ("digest@example.org", 2)] {
        let own: Vec<_> = left.iter().filter(|(_, mail)| mail.header("To") == to).collect();
        for (start, _) in &own {
            let within = own.iter().filter(|(at, _)| (*start..*start + 60).contains(at)).count();
            assert!(within <= most, "{to}: {within} mails from minute {start} on");
        }
        let mut told = HashSet::new();
        for (_, mail) in &own {
            let quoted = mail.text.lines().filter_map(|line| line.strip_prefix("> comment "));
            told.extend(quoted.map(|number| number.trim_end_matches('.').to_owned()));
        }
        let (_, last) = own.last().unwrap();
        assert_eq!(
            last.header("Subject"),
            format!("{COMMENTS} comments are waiting for moderation"),
            "all are counted"
        );
        assert!(told.len() >= 20, "{}", told.len());
    }
}
