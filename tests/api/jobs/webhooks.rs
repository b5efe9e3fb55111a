//! Webhooks: what they are told, in which order, how often, and what becomes of it when a receiver is not well.

use std::collections::{BTreeSet, HashSet};
use std::time::Duration;

use afterword::domain::ids::DeliveryId;
use afterword::storage::webhook_queue::{self, Claim};
use reqwest::Method;
use serde_json::{Value, json};

use crate::support::app::{Answer, TestApp, comment};
use crate::support::database::{Backend, on_both_databases};
use crate::support::receiver::{Mode, Received, Receiver};
use crate::support::testdata;
use crate::support::webhooks::{Admin, id, kinds, service};

on_both_databases!(
    a_comment_from_the_first_event_to_the_last,
    no_address_leaves_unless_it_was_asked_for,
    events_of_a_comment_keep_their_order_and_their_ids,
    receivers_that_are_not_well,
    a_receiver_that_is_gone_is_left_alone,
    a_receiver_that_takes_nothing_for_days_is_left_alone,
    hostile_texts_are_nothing_but_texts,
    a_webhook_that_hangs_holds_up_no_other,
    a_ping_whose_worker_died_is_sent_by_another,
);

async fn edit(app: &TestApp, sent: &Value, text: &str) -> Answer {
    let path = format!("/api/v1/comments/{}", id(&sent["comment"]));
    let request = app.request(Method::PATCH, &path).bearer_auth(sent["author_token"].as_str().unwrap());
    app.send(request.json(&json!({"body": text}))).await
}

async fn a_comment_from_the_first_event_to_the_last(backend: Backend) {
    let (app, receiver) = (service(backend).await, Receiver::start());
    let (admin, moderator) = (Admin::of(&app).await, app.default_moderator().await);
    app.comment("before there was a webhook").await;
    let hook = admin.add(json!({"url": receiver.url()})).await;
    let secret = hook["secret"].as_str().unwrap();
    let sent = app.submit(&comment("*Hello*")).await.expect(202);
    let comment = id(&sent["comment"]);
    app.run_jobs().await;
    let held = receiver.take();
    assert_eq!(kinds(&held), ["held"]);
    let (first, body) = (&held[0], held[0].json());
    assert!(first.head.starts_with("POST /hook?key=x HTTP/1.1\r\n"), "{}", first.head);
    assert_eq!(first.headers["content-type"], "application/json");
    assert_eq!(first.headers["host"], format!("127.0.0.1:{}", receiver.port));
    assert_eq!(first.headers["webhook-timestamp"], "1767225600");
    assert_eq!(
        (body["type"].as_str(), body["timestamp"].as_str()),
        (Some("comment.held"), Some("2026-01-01T00:00:00.000000Z"))
    );
    assert_eq!((body["data"]["site"].as_str(), body["data"]["article"]["key"].as_str()), (Some("default"), Some("/a")));
    let told = &body["data"]["comment"];
    assert_eq!((told["id"].as_str(), told["status"].as_str()), (Some(comment.as_str()), Some("pending")));
    assert_eq!((told["name"].as_str(), told["body"].as_str()), (Some("Ada"), Some("*Hello*")));
    assert_eq!(told["body_html"], "<p><em>Hello</em></p>");
    assert_eq!(body["data"]["moderation_url"], format!("{}/api/v1/moderation/comments/{comment}", app.url));
    for decision in ["approve", "reject", "spam", "hold", "approve", "approve"] {
        moderator.decide(&comment, decision).await.expect(200);
    }
    moderator.post(&format!("/comments/{comment}/undo"), &json!({})).await.expect(200);
    edit(&app, &sent, "changed").await.expect(200);
    app.run_jobs().await;
    let decided = receiver.take();
    assert_eq!(kinds(&decided), ["approved", "rejected", "spam", "held", "approved", "held", "edited"]);
    let statuses: Vec<_> = decided.iter().map(|sent| sent.json()["data"]["comment"]["status"].clone()).collect();
    assert_eq!(statuses, ["approved", "rejected", "spam", "pending", "approved", "pending", "pending"], "as they were");
    moderator.decide(&comment, "approve").await.expect(200);
    app.send(moderator.request(Method::DELETE, &format!("/comments/{comment}"))).await.expect(204);
    app.run_jobs().await;
    let last = receiver.take();
    assert_eq!(kinds(&last), ["approved", "removed"]);
    for gone in last.iter().map(Received::json) {
        let told = gone["data"]["comment"].as_object().unwrap();
        assert!(told["removed"] == true && told.len() == 3 && told["id"] == *comment, "{told:?}");
        assert_eq!(gone["data"]["article"]["key"], "/a");
    }
    let all: Vec<_> = held.iter().chain(&decided).chain(&last).collect();
    assert!(all.iter().all(|message| message.is_signed_by(secret)));
    assert_eq!(all.iter().map(|message| message.id()).collect::<HashSet<_>>().len(), all.len());
    let log = moderator.get(&format!("/events?comment={comment}&limit=200")).await.expect(200);
    let logged: BTreeSet<_> = log["events"].as_array().unwrap().iter().map(id).collect();
    assert_eq!(all.iter().map(|message| message.id().to_owned()).collect::<BTreeSet<_>>(), logged, "one of each");
}

async fn no_address_leaves_unless_it_was_asked_for(backend: Backend) {
    let (app, plain, full, chat) = (service(backend).await, Receiver::start(), Receiver::start(), Receiver::start());
    let admin = Admin::of(&app).await;
    let quiet = admin.add(json!({"url": plain.url()})).await;
    admin.add(json!({"url": full.url(), "include_email": true})).await;
    for format in ["slack", "discord", "matrix", "telegram"] {
        admin.add(json!({"url": chat.url(), "format": format, "include_email": true})).await;
    }
    let mut sent = comment("no address in here");
    sent["email"] = json!("Canary.Ada@example.org");
    app.submit(&sent).await.expect(202);
    app.run_jobs().await;
    let (plain, full, chat) = (plain.take(), full.take(), chat.take());
    assert_eq!((plain.len(), full.len(), chat.len()), (1, 1, 4));
    assert_eq!(full[0].json()["data"]["comment"]["email"], "Canary.Ada@example.org");
    for message in plain.iter().chain(&chat) {
        let text = String::from_utf8_lossy(&message.body).to_lowercase() + &message.head.to_lowercase();
        assert!(!text.contains("canary") && !text.contains("127.0.0.0/24"), "{text}");
    }
    assert!(chat.iter().all(|message| !message.headers.contains_key("webhook-signature")));
    assert!(!format!("{:?}", admin.log(&quiet).await).to_lowercase().contains("canary"));
}

async fn events_of_a_comment_keep_their_order_and_their_ids(backend: Backend) {
    let (app, receiver) = (service(backend).await, Receiver::start());
    let (admin, moderator) = (Admin::of(&app).await, app.default_moderator().await);
    let hook = admin.add(json!({"url": receiver.url(), "events": ["comment.held", "comment.approved"]})).await;
    receiver.mode(Mode::Answer(500));
    let first = id(&app.comment("first").await["comment"]);
    app.run_jobs().await;
    let second = id(&app.comment("second").await["comment"]);
    moderator.decide(&first, "reject").await.expect(200);
    moderator.decide(&first, "approve").await.expect(200);
    app.run_jobs().await;
    let failed = receiver.take();
    assert_eq!(kinds(&failed), ["held"], "the webhook rests after a failure");
    app.clock.advance(Duration::from_secs(10));
    app.run_jobs().await;
    let failed_again = receiver.take();
    assert_eq!(
        (failed_again.len(), failed_again[0].comment()),
        (1, second.clone()),
        "one that is not well gets one at a time"
    );
    receiver.mode(Mode::Answer(204));
    app.clock.advance(Duration::from_mins(1));
    app.run_jobs().await;
    let came = receiver.take();
    assert_eq!(came.len(), 3);
    let of_first: Vec<_> = came.iter().filter(|message| message.comment() == first).collect();
    assert_eq!(of_first.iter().map(|message| message.kind()).collect::<Vec<_>>(), ["held", "approved"]);
    assert_eq!(of_first[0].id(), failed[0].id(), "the same event has the same id");
    assert_ne!(of_first[0].headers["webhook-timestamp"], failed[0].headers["webhook-timestamp"]);
    let log = admin.log(&hook).await;
    let ends: Vec<_> = log.iter().map(|line| line["result"].as_str().unwrap()).collect();
    assert_eq!(ends.iter().filter(|end| **end == "delivered").count(), 3, "{ends:?}");
    let failed_first = log.last().unwrap();
    assert_eq!((failed_first["result"].as_str(), failed_first["status_code"].as_i64()), (Some("later"), Some(500)));
    assert_eq!((failed_first["attempt"].as_i64(), failed_first["type"].as_str()), (Some(1), Some("comment.held")));
    // Once more, by hand, under the same id.
    let path = format!("/{}/deliveries/{}/replay", id(&hook), id(failed_first));
    let replayed = admin.ask(Method::POST, &path, None).await.expect(202);
    app.run_jobs().await;
    let again = receiver.take();
    assert_eq!((again.len(), again[0].id(), again[0].kind().as_str()), (1, failed[0].id(), "held"));
    assert_eq!(replayed["event"], again[0].id());
    assert_eq!(again[0].json()["data"]["comment"]["status"], "pending", "as it was then");
}

async fn receivers_that_are_not_well(backend: Backend) {
    let (app, receiver, elsewhere) = (service(backend).await, Receiver::start(), Receiver::start());
    let admin = Admin::of(&app).await;
    let hook = admin.add(json!({"url": receiver.url()})).await;
    let redirect: &'static str = format!("Location: {}", elsewhere.url()).leak();
    app.comment("tried again and again").await;
    for (mode, error) in [
        (Mode::With(302, redirect), "302"),
        (Mode::With(503, "Retry-After: 1800"), "503"),
        (Mode::Cut, ""),
        (Mode::Hang, "within 8 seconds"),
        (Mode::Answer(404), "404"),
    ] {
        receiver.mode(mode);
        app.run_jobs().await;
        assert_eq!(receiver.take().len(), 1, "{mode:?}");
        let last = admin.log(&hook).await.remove(0);
        assert!(last["result"] == "later" && last["error"].as_str().unwrap().contains(error), "{mode:?}: {last}");
        let pause = if error == "503" { Duration::from_mins(30) } else { Duration::from_mins(4) };
        app.clock.advance(pause.saturating_sub(Duration::from_mins(2)));
        app.run_jobs().await;
        let is_early = receiver.take().is_empty();
        assert!(is_early || error != "503", "it asked for half an hour");
        app.clock.advance(Duration::from_hours(1));
    }
    receiver.mode(Mode::Endless);
    app.run_jobs().await;
    assert_eq!(receiver.take().len(), 1);
    assert_eq!(admin.log(&hook).await[0]["result"], "delivered", "what it says after 200 is its own matter");
    assert!(elsewhere.take().is_empty(), "no redirect is followed");
    // Nobody listens there.
    let closed = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
    let change = json!({"url": format!("http://127.0.0.1:{closed}/secret-path")});
    admin.ask(Method::PATCH, &format!("/{}", id(&hook)), Some(change)).await.expect(200);
    admin.ask(Method::POST, &format!("/{}/test", id(&hook)), None).await.expect(202);
    app.run_jobs().await;
    let last = admin.log(&hook).await.remove(0);
    assert_eq!(
        (last["result"].as_str(), last["type"].as_str()),
        (Some("given_up"), Some("ping")),
        "a test is made once"
    );
    assert!(last["status_code"].is_null() && !last["error"].as_str().unwrap().contains("secret-path"), "{last}");
}

async fn a_receiver_that_is_gone_is_left_alone(backend: Backend) {
    let (app, receiver) = (service(backend).await, Receiver::start());
    let admin = Admin::of(&app).await;
    let hook = admin.add(json!({"url": receiver.url()})).await;
    receiver.mode(Mode::Answer(410));
    app.comment("the last one").await;
    let mails = app.run_jobs().await;
    let mail = mails.iter().find(|mail| mail.contains("Subject: A webhook was switched off")).expect("a mail");
    assert!(mail.contains("To: admin@example.org") && mail.contains("410 Gone"), "{mail}");
    assert!(mail.contains("127.0.0.1 (all sites)") && !mail.contains("key=x"), "{mail}");
    let path = format!("/{}", id(&hook));
    let off = admin.ask(Method::GET, &path, None).await.expect(200);
    assert!(off["enabled"] == false && off["disabled_reason"].as_str().unwrap().contains("410"), "{off}");
    receiver.take();
    app.comment("nobody is told").await;
    app.run_jobs().await;
    assert!(receiver.take().is_empty());
    // A test reaches it all the same; then it is switched on again.
    receiver.mode(Mode::Answer(200));
    admin.ask(Method::POST, &format!("{path}/test"), None).await.expect(202);
    app.run_jobs().await;
    let ping = receiver.take();
    assert!(ping.len() == 1 && ping[0].is_signed_by(hook["secret"].as_str().unwrap()));
    assert_eq!((ping[0].kind().as_str(), ping[0].json()["data"]["comment"].is_null()), ("ping", true));
    let on = admin.ask(Method::PATCH, &path, Some(json!({"enabled": true}))).await.expect(200);
    assert!(on["enabled"] == true && on["disabled_reason"].is_null(), "{on}");
    app.comment("told again").await;
    app.run_jobs().await;
    assert_eq!(kinds(&receiver.take()), ["held"]);
}

async fn a_receiver_that_takes_nothing_for_days_is_left_alone(backend: Backend) {
    let (app, receiver) = (service(backend).await, Receiver::start());
    let admin = Admin::of(&app).await;
    let hook = admin.add(json!({"url": receiver.url()})).await;
    receiver.mode(Mode::Answer(500));
    let mut mails = Vec::new();
    let mut off_after = 0;
    for hour in 0..24 * 6 {
        if hour % 24 == 0 {
            app.comment(&format!("day {}", hour / 24)).await;
        }
        mails.extend(app.run_jobs().await.into_iter().filter(|mail| mail.contains("switched off")));
        if off_after == 0 && !mails.is_empty() {
            off_after = hour;
        }
        app.clock.advance(Duration::from_hours(1));
    }
    assert!((119..=122).contains(&off_after), "{off_after} hours");
    assert_eq!(mails.len(), 1, "one mail to the one administrator");
    let given_up = admin.log(&hook).await.iter().filter(|line| line["result"] == "given_up").count();
    assert!(given_up >= 1, "after three days");
}

async fn hostile_texts_are_nothing_but_texts(backend: Backend) {
    let (app, receiver) = (service(backend).await, Receiver::start());
    let admin = Admin::of(&app).await;
    let formats = ["standard", "slack", "discord", "matrix", "telegram"];
    for format in formats {
        admin.add(json!({"url": receiver.url(), "format": format})).await;
    }
    let mut texts = vec![
        "<script>alert(1)</script>\r\nwebhook-id: evil\r\n\r\n{\"type\":\"comment.approved\"}".to_owned(),
        "@everyone ``` <!channel> [x](javascript:alert(1)) \u{1F600}\"}],".to_owned(),
    ];
    // The whole corpora go through the renderer elsewhere; here some of them go over the wire.
    texts.extend(testdata::strings("naughty/blns.json", None).unwrap_or_default().into_iter().step_by(11));
    let mut taken = Vec::new();
    for text in texts {
        let sent = app.submit(&comment(&text)).await;
        if sent.status == 202 {
            taken.push(sent.json()["comment"]["id"].as_str().unwrap().to_owned());
        }
    }
    assert!(taken.len() >= 2);
    app.run_jobs().await;
    let came = receiver.take();
    assert_eq!(came.len(), taken.len() * formats.len());
    let known = ["host", "user-agent", "content-type", "connection", "content-length"];
    let signed = ["webhook-id", "webhook-timestamp", "webhook-signature"];
    for message in &came {
        message.json();
        for name in message.headers.keys() {
            assert!(known.contains(&name.as_str()) || signed.contains(&name.as_str()), "{name}");
        }
    }
    let ids: BTreeSet<_> =
        came.iter().filter(|message| message.headers.contains_key("webhook-id")).map(Received::comment).collect();
    assert_eq!(ids, taken.into_iter().collect());
}

async fn a_webhook_that_hangs_holds_up_no_other(backend: Backend) {
    let (app, slow, well) = (service(backend).await, Receiver::start(), Receiver::start());
    let admin = Admin::of(&app).await;
    slow.mode(Mode::Hang);
    for _ in 0..2 {
        admin.add(json!({"url": slow.url()})).await;
    }
    admin.add(json!({"url": well.url()})).await;
    let stop = app.keep_working();
    for n in 0..20 {
        app.comment(&format!("number {n}")).await;
    }
    let came = well.wait_for(20);
    // The slow one has not answered a single time, and got no more at once than it may.
    assert_eq!(came.iter().map(Received::id).collect::<HashSet<_>>().len(), 20);
    assert!(slow.take().len() <= 4 + 2, "two at a time for each, then one after a pause");
    stop.cancel();
}

async fn a_ping_whose_worker_died_is_sent_by_another(backend: Backend) {
    use afterword::clock::Clock;
    let (app, receiver) = (service(backend).await, Receiver::start());
    let admin = Admin::of(&app).await;
    let hook = admin.add(json!({"url": receiver.url()})).await;
    let path = format!("/{}", id(&hook));
    app.comment("waits behind it").await;
    admin.ask(Method::PATCH, &path, Some(json!({"enabled": false}))).await.expect(200);
    admin.ask(Method::POST, &format!("{path}/test"), None).await.expect(202);
    let now = app.clock.now();
    let until = now.plus(Duration::from_mins(1));
    let claim = Claim { id: DeliveryId(app.service.ids.next()), now, until, limit: 8, failing: 8 };
    let claimed = app.service.db.write(move |tx| webhook_queue::claim(tx, &claim)).await.unwrap();
    assert_eq!(claimed.len(), 1);
    // Here it is killed.
    app.run_jobs().await;
    assert!(receiver.take().is_empty(), "somebody may still be sending it");
    app.clock.advance(Duration::from_secs(61));
    app.run_jobs().await;
    assert_eq!(kinds(&receiver.take()), ["ping"]);
}

/// Two processes on one database deliver each event once.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn two_instances_deliver_each_event_once() {
    let first = service(Backend::Postgres).await;
    let second = first.another().set("limits__enabled", "false").set("webhooks__allowed_networks", "127.0.0.1");
    let (second, receiver) = (second.start().await, Receiver::start());
    let admin = Admin::of(&first).await;
    let moderator = first.default_moderator().await;
    admin.add(json!({"url": receiver.url()})).await;
    second.service.refresh_sites().await.unwrap();
    let stops = [first.keep_working(), second.keep_working()];
    for n in 0..30 {
        let app = if n % 2 == 0 { &first } else { &second };
        let held = id(&app.comment(&format!("number {n}")).await["comment"]);
        moderator.decide(&held, "approve").await.expect(200);
    }
    let came = receiver.wait_for(60);
    stops.iter().for_each(tokio_util::sync::CancellationToken::cancel);
    assert_eq!(came.iter().map(Received::id).collect::<HashSet<_>>().len(), 60);
    for comment in came.iter().map(Received::comment).collect::<HashSet<_>>() {
        let of_one: Vec<_> = came.iter().filter(|message| message.comment() == comment).map(Received::kind).collect();
        assert_eq!(of_one, ["held", "approved"]);
    }
    assert!(receiver.take().is_empty(), "nothing came twice");
}
