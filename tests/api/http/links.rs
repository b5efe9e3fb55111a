//! Links in mails: looking changes nothing, one press of a button decides once, what came too late changes nothing, and
//! whoever lost the right has lost the link.

use std::time::Duration;

use afterword::domain::email::Email;
use afterword::storage::accounts::Role;
use afterword::storage::conn::Conn;
use diesel::connection::SimpleConnection;
use reqwest::Method;
use serde_json::{Value, json};

use crate::support::app::{Answer, Moderator, TestApp, comment};
use crate::support::database::{Backend, on_both_databases};
use crate::support::mails::Read;

on_both_databases!(
    a_link_decides_once_and_says_so,
    a_decision_is_taken_back_and_made_again,
    what_came_too_late_changes_nothing,
    an_edit_kills_the_links_and_brings_new_ones,
    the_thread_stands_around_it,
    whoever_lost_the_right_has_lost_the_link,
    links_end_after_seven_days,
    links_live_as_long_as_their_key,
    wrong_links_are_counted,
    one_click_turns_mail_off,
);

/// The paths behind approve, reject and spam.
type Links = [String; 3];

fn links(mail: &Read) -> Links {
    mail.links("/m/").try_into().unwrap()
}

/// A comment that waits, and the mail about it.
async fn mailed(app: &TestApp, text: &str) -> (String, Links) {
    let id = app.comment(text).await["comment"]["id"].as_str().unwrap().to_owned();
    let mails = app.run_jobs().await;
    assert_eq!(mails.len(), 1, "{mails:?}");
    (id, links(&Read::of(&mails[0])))
}

async fn press(app: &TestApp, path: &str) -> Answer {
    app.send(app.request(Method::POST, path).header("content-type", "application/x-www-form-urlencoded")).await
}

async fn undo(app: &TestApp, path: &str) -> Answer {
    app.send(app.request(Method::POST, path).form(&[("undo", "1")])).await
}

/// The heading of a page, after checking what every page of a link has.
fn heading(answer: &Answer, status: u16) -> String {
    assert_eq!(answer.status.as_u16(), status, "{}", answer.text());
    for (name, value) in [
        ("cache-control", "no-store"),
        ("referrer-policy", "no-referrer"),
        ("x-robots-tag", "noindex"),
        ("x-frame-options", "DENY"),
        ("access-control-allow-origin", ""),
        ("content-type", "text/html; charset=utf-8"),
        (
            "content-security-policy",
            "default-src 'none'; style-src 'self'; base-uri 'none'; frame-ancestors 'none'; form-action 'self'",
        ),
    ] {
        assert_eq!(answer.header(name), value, "{name}");
    }
    let text = answer.text();
    assert!(!text.contains("<script") && !text.contains("ada@example.org"), "{text}");
    text.split("<h1>").nth(1).unwrap().split("</h1>").next().unwrap().to_owned()
}

async fn seen(moderator: &Moderator<'_>, id: &str) -> Value {
    moderator.get(&format!("/comments/{id}")).await.expect(200)
}

fn actions(comment: &Value) -> Vec<String> {
    let events = comment["events"].as_array().unwrap();
    events
        .iter()
        .map(|event| format!("{} {}", event["action"].as_str().unwrap(), event["via"].as_str().unwrap()))
        .collect()
}

async fn a_link_decides_once_and_says_so(backend: Backend) {
    let app = TestApp::new(backend).await;
    let moderator = app.default_moderator().await;
    for (n, (decision, asked, done)) in [
        ("approved", "Approve this comment?", "The comment is approved"),
        ("rejected", "Reject this comment?", "The comment is rejected"),
        ("spam", "Is this comment spam?", "The comment is marked as spam"),
    ]
    .into_iter()
    .enumerate()
    {
        let (id, links) = mailed(&app, &format!("*number* {n}")).await;
        let link = &links[n];
        for _ in 0..3 {
            let page = app.get(link).await;
            assert_eq!(heading(&page, 200), asked);
            let text = page.text();
            assert!(text.contains(&format!("<p><em>number</em> {n}</p>")), "{text}");
            assert!(text.contains("<form method=\"post\"><button type=\"submit\">"), "{text}");
            assert!(text.contains("Why it was held"), "{text}");
        }
        assert_eq!(seen(&moderator, &id).await["status"], "pending");
        let page = press(&app, link).await;
        assert_eq!(heading(&page, 200), done);
        assert!(page.text().contains("You ") && page.text().contains("1 January 2026, 00:00 UTC"), "{}", page.text());
        for again in [app.get(link).await, press(&app, link).await, app.get(link).await] {
            assert_eq!(again.text(), page.text(), "a repeat shows the same page");
        }
        let comment = seen(&moderator, &id).await;
        assert_eq!(comment["status"], decision);
        assert_eq!(actions(&comment).len(), 2, "one decision, one event");
        assert!(actions(&comment)[1].ends_with("mail_link"), "{:?}", actions(&comment));
        assert_eq!(comment["events"][1]["actor"], "mod");
    }
}

async fn a_decision_is_taken_back_and_made_again(backend: Backend) {
    let app = TestApp::new(backend).await;
    let moderator = app.default_moderator().await;
    let (id, links) = mailed(&app, "back and forth").await;
    assert_eq!(heading(&undo(&app, &links[0]).await, 200), "Approve this comment?", "there is nothing to take back");
    assert_eq!(actions(&seen(&moderator, &id).await).len(), 1);
    let done = press(&app, &links[0]).await;
    assert!(done.text().contains("name=\"undo\""), "{}", done.text());
    assert_eq!(heading(&undo(&app, &links[0]).await, 200), "Approve this comment?");
    assert_eq!(heading(&undo(&app, &links[0]).await, 200), "Approve this comment?", "again changes nothing");
    assert_eq!(seen(&moderator, &id).await["status"], "pending");
    // All three links of the mail work as before.
    assert_eq!(heading(&press(&app, &links[2]).await, 200), "The comment is marked as spam");
    assert_eq!(
        actions(&seen(&moderator, &id).await),
        ["submitted author", "approved mail_link", "undone mail_link", "marked_spam mail_link"]
    );
    // What somebody else has confirmed since is theirs.
    moderator.decide(&id, "hold").await.expect(200);
    let boss = app.moderator("boss@example.org", Role::Admin, &[]).await;
    boss.decide(&id, "spam").await.expect(200);
    let page = app.get(&links[2]).await;
    assert_eq!(heading(&page, 200), "The comment is marked as spam");
    assert!(page.text().contains("boss marked it as spam") && !page.text().contains("undo"), "{}", page.text());
    heading(&undo(&app, &links[2]).await, 409);
    assert_eq!(seen(&moderator, &id).await["status"], "spam");
}

async fn what_came_too_late_changes_nothing(backend: Backend) {
    let app = TestApp::new(backend).await;
    let moderator = app.default_moderator().await;
    let boss = app.moderator("boss@example.org", Role::Admin, &[]).await;
    let (id, links) = mailed(&app, "decided by another").await;
    boss.decide(&id, "reject").await.expect(200);
    let before = seen(&moderator, &id).await;
    for answer in [app.get(&links[0]).await, press(&app, &links[0]).await, undo(&app, &links[0]).await] {
        assert_eq!(heading(&answer, 409), "This link came too late");
        assert!(answer.text().contains("boss rejected it on 1 January 2026, 00:00 UTC."), "{}", answer.text());
        assert!(!answer.text().contains("<form"), "{}", answer.text());
    }
    assert_eq!(seen(&moderator, &id).await, before);
    assert_eq!(heading(&app.get(&links[1]).await, 200), "The comment is rejected", "that decision stands");
    // Gone for good.
    let (id, links) = mailed(&app, "removed by another").await;
    app.send(boss.request(Method::DELETE, &format!("/comments/{id}"))).await.expect(204);
    let page = press(&app, &links[0]).await;
    assert_eq!(heading(&page, 409), "This link came too late");
    assert!(
        page.text().contains("boss deleted it on") && !page.text().contains("removed by another"),
        "{}",
        page.text()
    );
}

async fn an_edit_kills_the_links_and_brings_new_ones(backend: Backend) {
    let app = TestApp::new(backend).await;
    let moderator = app.default_moderator().await;
    let sent = app.comment("first text").await;
    let (id, token) = (sent["comment"]["id"].as_str().unwrap(), sent["author_token"].as_str().unwrap());
    let first = links(&Read::of(&app.run_jobs().await[0]));
    let edit = async |text: &str, status| {
        let request = app.request(Method::PATCH, &format!("/api/v1/comments/{id}")).bearer_auth(token);
        app.send(request.json(&json!({"body": text}))).await.expect(status);
    };
    edit("second text", 200).await;
    edit("third text", 200).await;
    for link in &first {
        let answer = press(&app, link).await;
        assert_eq!(heading(&answer, 409), "This link came too late");
        assert!(answer.text().contains("Its author changed it on"), "{}", answer.text());
    }
    assert_eq!(seen(&moderator, id).await["status"], "pending");
    let mails = app.run_jobs().await;
    assert_eq!(mails.len(), 1, "one mail for both edits");
    let mail = Read::of(&mails[0]);
    assert!(mail.text.contains("> third text") && mail.text.contains("has changed it since"), "{}", mail.text);
    assert_eq!(heading(&press(&app, &links(&mail)[0]).await, 200), "The comment is approved");
    // The edit of a public comment waits; the links are about the new text.
    edit("fourth text", 202).await;
    assert_eq!(heading(&app.get(&links(&mail)[0]).await, 409), "This link came too late");
    let edited = links(&Read::of(&app.run_jobs().await[0]));
    let page = app.get(&edited[0]).await;
    assert_eq!(heading(&page, 200), "Publish the new text?");
    assert!(page.text().contains("<p>fourth text</p>") && page.text().contains("<p>third text</p>"), "{}", page.text());
    assert!(app.get(&edited[1]).await.text().contains("This takes the whole comment away"));
    heading(&press(&app, &edited[0]).await, 200);
    assert_eq!(app.list("").await["comments"][0]["body_html"], "<p>fourth text</p>");
    heading(&undo(&app, &edited[0]).await, 200);
    assert_eq!(app.list("").await["comments"][0]["body_html"], "<p>third text</p>");
    assert_eq!(heading(&app.get(&edited[0]).await, 200), "Publish the new text?", "the edit waits again");
}

async fn the_thread_stands_around_it(backend: Backend) {
    let app = TestApp::new(backend).await;
    let root = app.published("the root", None).await;
    let _other = app.published("another root", None).await;
    let reply = app.published("a reply", Some(&root)).await;
    for n in 0..5 {
        app.published(&format!("sibling {n}"), Some(&reply)).await;
    }
    let _moderator = app.default_moderator().await;
    app.run_jobs().await;
    let mut asked = comment("the one asked about");
    asked["parent_id"] = json!(reply);
    app.submit(&asked).await.expect(202);
    let page = app.get(&links(&Read::of(&app.run_jobs().await[0]))[0]).await;
    let text = page.text();
    let shown: Vec<&str> =
        ["the root", "a reply", "sibling 2", "sibling 3", "sibling 4", "the one asked about"].to_vec();
    let places: Vec<usize> =
        shown.iter().map(|words| text.find(words).unwrap_or_else(|| panic!("{words}: {text}"))).collect();
    assert!(places.is_sorted(), "{text}");
    assert!(!text.contains("another root") && !text.contains("sibling 1"), "{text}");
}

async fn account(app: &TestApp, email: &str) -> afterword::domain::ids::AccountId {
    app.service.account_by_email(&Email::parse(email, "email").unwrap()).await.unwrap().id
}

/// What the command line and the administrators' pages do elsewhere.
async fn sql(app: &TestApp, statement: &'static str) {
    let done = app.service.db.write(move |tx| {
        match tx.conn() {
            Conn::Sqlite(c) => c.batch_execute(statement)?,
            Conn::Postgres(c) => c.batch_execute(statement)?,
        }
        Ok(())
    });
    done.await.unwrap();
}

async fn whoever_lost_the_right_has_lost_the_link(backend: Backend) {
    let app = TestApp::new(backend).await;
    let moderator = app.default_moderator().await;
    let boss = app.moderator("boss@example.org", Role::Admin, &[]).await;
    let id = account(&app, "mod@example.org").await;
    let (comment, links) = mailed(&app, "nobody's").await;
    sql(&app, "UPDATE accounts SET disabled_at = 1 WHERE role = 0").await;
    let unsubscribe = format!("/u/{}", app.service.unsubscribe_token(id));
    for path in [&links[0], &unsubscribe] {
        assert_eq!(heading(&app.get(path).await, 404), "This link does not work");
        assert_eq!(heading(&press(&app, path).await, 404), "This link does not work");
    }
    sql(&app, "UPDATE accounts SET disabled_at = NULL").await;
    assert_eq!(heading(&app.get(&links[0]).await, 200), "Approve this comment?");
    sql(&app, "DELETE FROM account_sites").await;
    assert_eq!(heading(&press(&app, &links[0]).await, 404), "This link does not work");
    assert_eq!(moderator.get(&format!("/comments/{comment}")).await.status, 404);
    assert_eq!(seen(&boss, &comment).await["status"], "pending");
}

async fn links_end_after_seven_days(backend: Backend) {
    let app = TestApp::new(backend).await;
    let moderator = app.default_moderator().await;
    let (id, links) = mailed(&app, "slow").await;
    app.clock.advance(Duration::from_secs(7 * 86_400 - 1));
    assert_eq!(heading(&app.get(&links[0]).await, 200), "Approve this comment?");
    app.clock.advance(Duration::from_secs(1));
    for answer in [app.get(&links[0]).await, press(&app, &links[0]).await, undo(&app, &links[0]).await] {
        assert_eq!(heading(&answer, 410), "This link is over");
    }
    assert_eq!(seen(&moderator, &id).await["status"], "pending");
}

async fn links_live_as_long_as_their_key(backend: Backend) {
    let app = TestApp::new(backend).await;
    let _moderator = app.default_moderator().await;
    let (_, links) = mailed(&app, "keys come and go").await;
    let command = super::rotation::command(&app).await;
    super::rotation::begin(&app, &command).await;
    super::rotation::go_to_the_end(&command).await;
    app.service.refresh_keys().await.unwrap();
    assert_eq!(heading(&app.get(&links[0]).await, 200), "Approve this comment?", "the older key still opens");
    let (_, newer) = mailed(&app, "under the new key").await;
    let mut held = command.keys.hold_file().unwrap();
    command.keys.forget_others(&mut held).unwrap();
    app.service.refresh_keys().await.unwrap();
    assert_eq!(heading(&app.get(&links[0]).await, 404), "This link does not work");
    assert_eq!(heading(&app.get(&newer[0]).await, 200), "Approve this comment?");
}

async fn wrong_links_are_counted(backend: Backend) {
    let app = TestApp::build(backend).start().await;
    let _moderator = app.default_moderator().await;
    let (_, links) = mailed(&app, "guessed at").await;
    let wrong = format!("{}x", links[0]);
    let mut answers = Vec::new();
    for n in 0..12 {
        let answer = if n % 2 == 0 { app.get(&wrong).await } else { press(&app, "/u/nonsense").await };
        answers.push(answer.status.as_u16());
        if answer.status == 429 {
            assert!(answer.header("retry-after").parse::<u64>().unwrap() > 0);
            heading(&answer, 429);
        }
    }
    assert_eq!(answers.iter().filter(|status| **status == 404).count(), 10, "{answers:?}");
    assert_eq!(answers.iter().filter(|status| **status == 429).count(), 2, "{answers:?}");
    assert_eq!(heading(&app.get(&links[0]).await, 200), "Approve this comment?", "a good one works all the same");
}

async fn one_click_turns_mail_off(backend: Backend) {
    let app = TestApp::new(backend).await;
    let _moderator = app.default_moderator().await;
    app.comment("to be unsubscribed from").await;
    let mail = Read::of(&app.run_jobs().await[0]);
    assert_eq!(mail.header("List-Unsubscribe-Post"), "List-Unsubscribe=One-Click");
    let address = mail.header("List-Unsubscribe");
    let path = address.trim_matches(['<', '>']).strip_prefix(&app.url).unwrap().to_owned();
    assert_eq!(mail.links("/u/"), std::slice::from_ref(&path), "the same in the text");
    for method in [Method::GET, Method::HEAD, Method::OPTIONS] {
        app.send(app.request(method, &path)).await;
    }
    assert_eq!(heading(&app.get(&path).await, 200), "No more mail?");
    app.comment("still told").await;
    assert_eq!(app.run_jobs().await.len(), 1);
    app.comment("queued before").await;
    // As mail programs send it (RFC 8058 §3.2).
    let click = app.request(Method::POST, &path).form(&[("List-Unsubscribe", "One-Click")]);
    assert_eq!(heading(&app.send(click).await, 200), "No more mail");
    assert!(app.run_jobs().await.is_empty());
    app.comment("not told").await;
    assert!(app.run_jobs().await.is_empty());
    assert_eq!(heading(&app.get(&path).await, 200), "No more mail");
    assert_eq!(heading(&press(&app, &path).await, 200), "No more mail");
    assert_eq!(
        heading(&app.get(&format!("/m/{}", &path[3..])).await, 404),
        "This link does not work",
        "not of that kind"
    );
}

/// Mail scanners open every link, some of them often and by several methods.
#[tokio::test(flavor = "multi_thread")]
async fn ten_thousand_looks_change_nothing() {
    let app = TestApp::new(Backend::Sqlite).await;
    let moderator = app.default_moderator().await;
    let mut paths = Vec::new();
    for n in 0..10 {
        app.comment(&format!("looked at {n}")).await;
        let mail = Read::of(&app.run_jobs().await[0]);
        paths.extend(mail.links("/m/").into_iter().chain(mail.links("/u/")));
    }
    let before = moderator.get("/comments").await.json();
    let looks = |method: Method| {
        let (app, paths) = (&app, &paths);
        async move {
            let mut count = 0;
            for path in paths.iter().cycle().take(3_400) {
                let answer = app.send(app.request(method.clone(), path)).await;
                assert!(matches!(answer.status.as_u16(), 200 | 204 | 405), "{method} {}", answer.status);
                assert!(method != Method::HEAD || answer.body.is_empty());
                count += 1;
            }
            count
        }
    };
    let counts = tokio::join!(looks(Method::GET), looks(Method::HEAD), looks(Method::OPTIONS));
    assert!(counts.0 + counts.1 + counts.2 > 10_000);
    assert_eq!(moderator.get("/comments").await.json(), before);
    let events = moderator.get("/events?limit=200").await.json();
    assert_eq!(events["events"].as_array().unwrap().len(), 10, "submitted, and nothing else");
    app.comment("mail is still on").await;
    assert_eq!(app.run_jobs().await.len(), 1);
}

/// Over HTTP what `keys/links.rs` tries in bulk.
#[tokio::test(flavor = "multi_thread")]
async fn forged_links_are_no_links() {
    let app = TestApp::new(Backend::Sqlite).await;
    let moderator = app.default_moderator().await;
    let (id, links) = mailed(&app, "forged").await;
    let other = TestApp::new(Backend::Sqlite).await;
    let _other_moderator = other.default_moderator().await;
    let (_, foreign) = mailed(&other, "of another installation").await;
    let token = links[0].strip_prefix("/m/").unwrap();
    let mut forged: Vec<String> = (0..token.len()).map(|at| token[..at].to_owned()).collect();
    for at in 0..token.len() {
        for letter in ["A", "z", "-", "%41", "=", "."] {
            let changed = format!("{}{letter}{}", &token[..at], &token[at + 1..]);
            if changed != token && changed.replace("%41", "A") != token {
                forged.push(changed);
            }
        }
    }
    forged.extend(foreign.iter().map(|path| path.strip_prefix("/m/").unwrap().to_owned()));
    forged.extend(["..", "%2e%2e", "null", "%00", "a/b", "<script>"].map(str::to_owned));
    for token in forged {
        let answer = press(&app, &format!("/m/{token}")).await;
        assert!(matches!(answer.status.as_u16(), 404 | 405), "{token}: {}", answer.status);
        assert!(!answer.text().contains(&token) || token.len() < 5, "it is not repeated");
    }
    assert_eq!(seen(&moderator, &id).await["status"], "pending");
}
