//! What people who wrote comments are promised about mails holds on every site: never is never, nothing is lost, nothing is
//! told twice, and nobody is locked out of their own data.

use std::collections::BTreeMap;
use std::sync::mpsc::channel;
use std::time::Duration;

use afterword::domain::email::Email;
use afterword::domain::ids::{AccountId, CommentId, OutboxId};
use afterword::service::site_changes::{RawSite, SiteOrder};
use afterword::storage::mails::MAILS;
use afterword::storage::outbox::{self, Claim, Kind, OutboxRow};
use afterword::storage::{comments, people};
use reqwest::Method;
use serde_json::json;

use crate::support::app::{TestApp, comment, work_left};
use crate::support::database::{Backend, on_both_databases};
use crate::support::mails::Read;
use crate::support::postgres;

on_both_databases!(
    never_holds_on_every_site,
    one_link_a_day_for_whoever_said_never,
    no_gathered_notice_is_lost,
    a_no_to_what_is_forgotten_says_so,
    nothing_is_told_by_two_mails,
    asking_for_others_locks_nobody_out,
);

const READER: &str = "reader@example.net";
const DAY: Duration = Duration::from_hours(24);

/// Sends a comment of the reader that asks for mails; returns its id.
async fn asks(app: &TestApp, site: &str, text: &str) -> String {
    app.clock.advance(Duration::from_secs(1));
    let mut body = comment(text);
    (body["email"], body["notify"]) = (json!(READER), json!(true));
    let answer = app.post(&format!("/api/v1/sites/{site}/comments"), &body).await.expect(202);
    answer["comment"]["id"].as_str().unwrap().to_owned()
}

/// The mails to the reader that leave now.
async fn mails(app: &TestApp) -> Vec<Read> {
    let all = app.run_jobs().await;
    all.iter().map(|mail| Read::of(mail)).filter(|mail| mail.header("To").contains(READER)).collect()
}

async fn press(app: &TestApp, path: &str) -> String {
    let answer = app.send(app.request(Method::POST, path)).await;
    assert_eq!(answer.status, 200, "{}", answer.text());
    answer.text()
}

/// A public comment of a reader who has said yes.
async fn confirmed(app: &TestApp) -> String {
    let id = asks(app, "default", "tell me").await;
    let question = mails(app).await.remove(0);
    press(app, &question.links("/c/")[0]).await;
    app.default_moderator().await.decide(&id, "approve").await.expect(200);
    assert_eq!(mails(app).await.len(), 1, "the approval");
    id
}

/// An approved reply of somebody else.
async fn reply(app: &TestApp, parent: &str, text: &str) -> String {
    app.clock.advance(Duration::from_secs(1));
    app.published(text, Some(parent)).await
}

async fn another_site(app: &TestApp) {
    let raw = RawSite { name: Some("Other".into()), ..Default::default() };
    app.service.make_site("other", SiteOrder { raw, faults: Vec::new() }).await.unwrap();
}

async fn ask_for_link(app: &TestApp, site: &str) -> usize {
    let answer = app.send(app.request(Method::POST, &format!("/me/{site}")).form(&[("email", READER)])).await;
    assert_eq!(answer.status, 200);
    app.run_jobs().await.len()
}

/// A reader who hears of replies on one site, and says never in the question of another one.
async fn says_never(app: &TestApp) -> String {
    another_site(app).await;
    let id = confirmed(app).await;
    app.clock.advance(DAY);
    asks(app, "other", "here as well").await;
    let never = mails(app).await.remove(0).links("/n/").remove(0);
    assert!(app.get(&never).await.text().contains("link to your own data"), "it says what may still come");
    assert!(press(app, &never).await.contains("link to your own data"));
    id
}

async fn never_holds_on_every_site(backend: Backend) {
    let app = TestApp::new(backend).await;
    let id = says_never(&app).await;
    reply(&app, &id, "an answer").await;
    let mine = asks(&app, "default", "another one").await;
    app.default_moderator().await.decide(&mine, "approve").await.expect(200);
    app.clock.advance(DAY * 2);
    asks(&app, "default", "once more").await;
    assert!(mails(&app).await.is_empty());
}

async fn one_link_a_day_for_whoever_said_never(backend: Backend) {
    let app = TestApp::new(backend).await;
    says_never(&app).await;
    let mut left = 0;
    for site in ["default", "other", "default", "other"] {
        left += ask_for_link(&app, site).await;
        app.clock.advance(Duration::from_hours(2));
    }
    assert_eq!(left, 1);
    app.clock.advance(DAY);
    assert_eq!(ask_for_link(&app, "default").await, 1, "it is the only way to their data");
}

async fn no_gathered_notice_is_lost(backend: Backend) {
    let app = TestApp::new(backend).await;
    let mine = confirmed(&app).await;
    app.clock.advance(Duration::from_hours(2));
    let moderator = app.default_moderator().await;
    let mut ids = Vec::new();
    for n in 0..130 {
        app.clock.advance(Duration::from_millis(1));
        let mut body = comment(&format!("reply number {n} ends"));
        body["parent_id"] = json!(mine);
        ids.push(app.submit(&body).await.expect(202)["comment"]["id"].as_str().unwrap().to_owned());
    }
    moderator.post("/decisions", &json!({"decision": "approve", "ids": ids})).await.expect(200);
    let mut all = mails(&app).await;
    assert_eq!(all.len(), 5);
    // What is dead by then is older than most of what lives.
    moderator.post("/decisions", &json!({"decision": "reject", "ids": &ids[10..75]})).await.expect(200);
    for _ in 0..6 {
        app.clock.advance(Duration::from_mins(20));
        all.extend(mails(&app).await);
    }
    let mut told: BTreeMap<usize, usize> = BTreeMap::new();
    for n in 0..130 {
        let words = format!("reply number {n} ends");
        told.insert(n, all.iter().filter(|mail| mail.text.contains(&words)).count());
    }
    let lost: Vec<_> = told.iter().filter(|(n, times)| **times != usize::from(!(10..75).contains(*n))).collect();
    assert!(lost.is_empty(), "not told once: {lost:?}");
    assert_eq!(all.len(), 7, "fifty in one mail, and the rest in the next");
    assert_eq!(work_left(&app).await, 0);
}

async fn a_no_to_what_is_forgotten_says_so(backend: Backend) {
    let app = TestApp::new(backend).await;
    asks(&app, "default", "tell me").await;
    let never = mails(&app).await.remove(0).links("/n/").remove(0);
    app.clock.advance(DAY * 31);
    afterword::jobs::housekeeping::sweep(&app.service).await.unwrap();
    for page in [app.get(&never).await.text(), press(&app, &never).await] {
        assert!(page.contains("not known here any more") && page.contains("may be asked again"), "{page}");
        assert!(!page.contains("No mail comes to you"), "{page}");
    }
    asks(&app, "default", "again").await;
    let never = mails(&app).await.remove(0).links("/n/").remove(0);
    assert!(press(&app, &never).await.contains("No mail comes to you"));
}

/// Finds out whom the comments of now concern, and does no more.
async fn spread(app: &TestApp) {
    let (service, now) = (app.service.clone(), app.service.clock.now());
    let spread = app.service.db.write(move |tx| {
        let work = outbox::take(tx, &[Kind::TellPeople], now, 10)?;
        service.spread_news(tx, &work, now)
    });
    spread.await.unwrap();
}

/// Claims what is due, as a worker does before it sends.
async fn claimed(app: &TestApp) -> Vec<OutboxRow> {
    let now = app.service.clock.now();
    let until = now.plus(Duration::from_mins(1));
    let claim = Claim { id: OutboxId(app.service.ids.next()), kinds: MAILS, now, until, limit: 10 };
    app.service.db.write(move |tx| outbox::claim(tx, &claim)).await.unwrap()
}

async fn queue(app: &TestApp, kind: Kind, comment: Option<&str>) {
    let (now, id) = (app.service.clock.now(), OutboxId(app.service.ids.next()));
    let hashes = app.service.keys.email_hashes(&Email::parse(READER, "email").unwrap());
    let comment: Option<CommentId> = comment.map(|id| id.parse().unwrap());
    let queued = app.service.db.write(move |tx| {
        let reader = people::subscribers_of(tx.conn(), &hashes)?.remove(0);
        let mut row = OutboxRow::new(id, kind, reader.site_id, now);
        row.account_id = comment.is_none().then_some(AccountId(reader.id.0));
        row.comment_id = comment;
        tx.enqueue(row);
        Ok(())
    });
    queued.await.unwrap();
}

async fn nothing_is_told_by_two_mails(backend: Backend) {
    let app = TestApp::new(backend).await;
    let mine = confirmed(&app).await;
    app.clock.advance(Duration::from_hours(2));
    let told = async |rows: &[OutboxRow], kinds: [Kind; 2]| {
        let mut told = Vec::new();
        for kind in kinds {
            let row = rows.iter().find(|row| row.kind == kind).unwrap();
            told.push(app.service.news_for(row).await.unwrap().map_or(0, |news| news.told.len()));
        }
        told
    };
    // A mail of its own that is on its way, and one that gathers: in both orders the first has it.
    for order in [[Kind::MailReply, Kind::MailGathered], [Kind::MailGathered, Kind::MailReply]] {
        let id = reply(&app, &mine, &format!("an answer {order:?}")).await;
        spread(&app).await;
        queue(&app, Kind::MailGathered, None).await;
        let both = claimed(&app).await;
        assert_eq!(told(&both, order).await.iter().sum::<usize>(), 1, "{order:?}");
        // Where the single one is gone, the gathered one has it; and a late single one looks first.
        let now = app.service.clock.now();
        let ids: Vec<OutboxId> = both.iter().map(|row| row.id).collect();
        app.service
            .db
            .write(move |tx| {
                for row in &both {
                    outbox::settle(tx, row, now, &outbox::Outcome::Needless)?;
                }
                Ok(())
            })
            .await
            .unwrap();
        assert_eq!(ids.len(), 2);
        queue(&app, Kind::MailGathered, None).await;
        let gathered = claimed(&app).await;
        assert_eq!(app.service.news_for(&gathered[0]).await.unwrap().unwrap().told.len(), 1);
        queue(&app, Kind::MailReply, Some(&id)).await;
        let late = claimed(&app).await;
        assert!(app.service.news_for(&late[0]).await.unwrap().is_none(), "another mail has it");
        let (reader, mail) = (people_of(&app).await, gathered[0].id);
        app.service.news_left(reader, mail).await.unwrap();
        app.clock.advance(Duration::from_hours(2));
        app.run_jobs().await;
    }
}

async fn people_of(app: &TestApp) -> afterword::domain::ids::SubscriberId {
    let hashes = app.service.keys.email_hashes(&Email::parse(READER, "email").unwrap());
    app.service.db.read(move |conn| people::subscribers_of(conn, &hashes)).await.unwrap()[0].id
}

async fn asking_for_others_locks_nobody_out(backend: Backend) {
    let app = TestApp::new(backend).await;
    another_site(&app).await;
    for site in ["default", "other"] {
        asks(&app, site, "mine").await;
    }
    app.run_jobs().await;
    let mut left = 0;
    for _ in 0..8 {
        left += ask_for_link(&app, "default").await;
    }
    assert_eq!(left, 3);
    assert_eq!(ask_for_link(&app, "other").await, 1, "each site counts for itself");
    app.clock.advance(Duration::from_mins(59));
    assert_eq!(ask_for_link(&app, "default").await, 0, "a link still works");
    app.clock.advance(Duration::from_mins(2));
    assert_eq!(ask_for_link(&app, "default").await, 1, "none does any more");
    assert_eq!(ask_for_link(&app, "default").await, 0);
}

/// Waits until the work is over, or another connection waits for its turn.
pub async fn over_or_waiting<T>(app: &TestApp, work: &tokio::task::JoinHandle<T>) {
    let waiting = "SELECT count(*) FROM pg_locks WHERE locktype = 'advisory' AND NOT granted AND database = \
                   (SELECT oid FROM pg_database WHERE datname = current_database())";
    while !work.is_finished() && postgres::run(app.database_url(), waiting) == "0" {
        tokio::task::yield_now().await;
    }
}

/// An erasure that goes on while somebody finds out whom a comment concerns.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_being_erased_asks_nobody() {
    let app = TestApp::new(Backend::Postgres).await;
    let id: CommentId = asks(&app, "default", "tell me").await.parse().unwrap();
    let ((taken, is_taken), (go, wait)) = (channel(), channel());
    let db = app.service.db.clone();
    let erasing = tokio::spawn(async move {
        db.write(move |tx| {
            let found = comments::find_to_change(tx, id)?.unwrap();
            taken.send(()).unwrap();
            wait.recv().unwrap();
            comments::remove(tx, &found)
        })
        .await
        .unwrap();
    });
    tokio::task::block_in_place(|| is_taken.recv().unwrap());
    let (service, now) = (app.service.clone(), app.service.clock.now());
    let spreading = tokio::spawn(async move {
        let db = service.db.clone();
        let spread = db.write(move |tx| {
            let work = outbox::take(tx, &[Kind::TellPeople], now, 10)?;
            service.spread_news(tx, &work, now)
        });
        spread.await.unwrap()
    });
    over_or_waiting(&app, &spreading).await;
    go.send(()).unwrap();
    erasing.await.unwrap();
    spreading.await.unwrap();
    let hashes = app.service.keys.email_hashes(&Email::parse(READER, "email").unwrap());
    let kept = app.service.db.read(move |conn| people::subscribers_of(conn, &hashes)).await.unwrap();
    assert!(kept.is_empty(), "no address stays: {kept:?}");
}
