//! Webhooks as administrators look after them: made, changed, given new secrets, looked up, and refused where they would lead
//! to what is not public.

use std::collections::BTreeSet;
use std::time::Duration;

use reqwest::Method;
use serde_json::json;

use crate::support::app::TestApp;
use crate::support::database::{Backend, on_both_databases};
use crate::support::receiver::Receiver;
use crate::support::webhooks::{Admin, id, kinds, service};

on_both_databases!(
    a_new_secret_and_the_former_one,
    a_new_secret_key,
    they_come_in_pages,
    what_an_administrator_can_do,
    what_nobody_may_ask_for,
    the_log_has_an_end,
);

async fn a_new_secret_and_the_former_one(backend: Backend) {
    let (app, receiver) = (service(backend).await, Receiver::start());
    let admin = Admin::of(&app).await;
    let hook = admin.add(json!({"url": receiver.url()})).await;
    let (path, old) = (format!("/{}", id(&hook)), hook["secret"].as_str().unwrap());
    let rotated = admin.ask(Method::POST, &format!("{path}/rotate-secret"), None).await.expect(200);
    let new = rotated["secret"].as_str().unwrap();
    assert!(new != old && new.starts_with("whsec_"));
    assert!(admin.ask(Method::GET, &path, None).await.expect(200).get("secret").is_none());
    for (hours, old_signs) in [(23, true), (2, false)] {
        app.clock.advance(Duration::from_hours(hours));
        app.comment(&format!("after {hours}")).await;
        app.run_jobs().await;
        let message = receiver.take().remove(0);
        assert_eq!((message.is_signed_by(new), message.is_signed_by(old)), (true, old_signs));
    }
}

/// `keys rotate` seals it anew, and nothing is left under the older key.
async fn a_new_secret_key(backend: Backend) {
    let (app, receiver) = (service(backend).await, Receiver::start());
    let admin = Admin::of(&app).await;
    let hook = admin.add(json!({"url": receiver.url()})).await;
    let service = &app.service;
    service.keys.add_first(&mut service.keys.hold_file().unwrap()).unwrap();
    service.announce_key().await.unwrap();
    service.use_announced_key().await.unwrap();
    assert!(service.key_status().await.unwrap().left >= 2, "the account and the webhook");
    while !service.reseal_some().await.unwrap().is_last {}
    service.end_rotation().await.unwrap();
    assert_eq!(service.key_status().await.unwrap().left, 0);
    service.keys.forget_others(&mut service.keys.hold_file().unwrap()).unwrap();
    app.comment("after the rotation").await;
    app.run_jobs().await;
    assert!(receiver.take().remove(0).is_signed_by(hook["secret"].as_str().unwrap()));
}

async fn they_come_in_pages(backend: Backend) {
    let (app, receiver) = (service(backend).await, Receiver::start());
    let admin = Admin::of(&app).await;
    let mut made = Vec::new();
    for _ in 0..5 {
        made.push(id(&admin.add(json!({"url": receiver.url()})).await));
    }
    let page = async |query: &str| {
        let answer = admin.ask(Method::GET, query, None).await.expect(200);
        let ids: Vec<_> = answer["webhooks"].as_array().unwrap().iter().map(id).collect();
        (ids, answer["next_cursor"].as_str().map(str::to_owned))
    };
    let (mut seen, mut next) = page("?limit=2").await;
    while let Some(cursor) = next {
        let (rows, more) = page(&format!("?limit=2&cursor={cursor}")).await;
        assert!(rows.len() <= 2);
        seen.extend(rows);
        next = more;
    }
    assert_eq!(seen, made, "the oldest first");
    assert_eq!(page("?limit=5").await, (made, None));
    assert_eq!(admin.ask(Method::GET, "?limit=0", None).await.faults(), ["limit out_of_range"]);
    assert_eq!(admin.ask(Method::GET, "?cursor=x", None).await.problem(400), "malformed_request");
}

async fn what_an_administrator_can_do(backend: Backend) {
    let (app, receiver) = (service(backend).await, Receiver::start());
    let admin = Admin::of(&app).await;
    let moderator = app.default_moderator().await;
    let path = "/api/v1/webhooks";
    assert_eq!(app.get(path).await.problem(401), "unauthenticated");
    assert_eq!(app.send(app.request(Method::GET, path).bearer_auth(&moderator.token)).await.problem(403), "forbidden");
    let by_moderator = app.request(Method::POST, path).bearer_auth(&moderator.token);
    assert_eq!(app.send(by_moderator.json(&json!({"url": receiver.url()}))).await.problem(403), "forbidden");
    let elsewhere = app.request(Method::POST, path).bearer_auth(&admin.token).header("origin", "https://evil.example");
    assert_eq!(app.send(elsewhere.json(&json!({"url": receiver.url()}))).await.problem(403), "forbidden");
    let made = admin.add(json!({"url": receiver.url(), "site": "default", "events": ["comment.spam"]})).await;
    assert_eq!(
        (&made["site"], &made["events"], &made["format"]),
        (&json!("default"), &json!(["comment.spam"]), &json!("standard"))
    );
    assert_eq!(
        (&made["include_email"], &made["enabled"], &made["disabled_reason"]),
        (&json!(false), &json!(true), &json!(null))
    );
    let list = admin.ask(Method::GET, "", None).await.expect(200);
    assert_eq!((list["webhooks"][0]["id"].clone(), list["next_cursor"].is_null()), (made["id"].clone(), true));
    assert!(list["webhooks"][0].get("secret").is_none());
    let one = format!("/{}", id(&made));
    let change = json!({"events": ["comment.held", "comment.held"], "include_email": true});
    let changed = admin.ask(Method::PATCH, &one, Some(change)).await.expect(200);
    assert_eq!((&changed["events"], &changed["include_email"]), (&json!(["comment.held"]), &json!(true)));
    app.comment("held").await;
    app.run_jobs().await;
    assert_eq!(kinds(&receiver.take()), ["held"]);
    // Another site's events are not for this one.
    let elsewhere = admin.add(json!({"url": receiver.url(), "site": "default"})).await;
    admin.ask(Method::DELETE, &format!("/{}", id(&elsewhere)), None).await.expect(204);
    app.comment("held again").await;
    admin.ask(Method::DELETE, &one, None).await.expect(204);
    assert_eq!(admin.ask(Method::GET, &one, None).await.problem(404), "not_found");
    for (method, path) in [
        (Method::DELETE, one.clone()),
        (Method::GET, format!("{one}/deliveries")),
        (Method::POST, format!("{one}/test")),
        (Method::POST, format!("{one}/rotate-secret")),
        (Method::POST, format!("{one}/deliveries/{}/replay", id(&made))),
        (Method::GET, "/nonsense".to_owned()),
    ] {
        assert_eq!(admin.ask(method, &path, None).await.problem(404), "not_found", "{path}");
    }
    app.run_jobs().await;
    assert!(receiver.take().is_empty(), "what waited went with it");
}

async fn what_nobody_may_ask_for(backend: Backend) {
    let app = TestApp::new(backend).await;
    let receiver = Receiver::start();
    let admin = Admin::of(&app).await;
    for url in [
        receiver.url(),
        format!("https://127.0.0.1:{}/", receiver.port),
        format!("https://2130706433:{}/", receiver.port),
        "https://0x7f.1/".into(),
        "https://0177.0.0.1/".into(),
        "https://[::ffff:127.0.0.1]/".into(),
        "https://[64:ff9b::7f00:1]/".into(),
        "https://[2002:7f00:1::]/".into(),
        "https://[2001:0:7f00:1::]/".into(),
        "https://169.254.169.254/latest/meta-data/".into(),
        "https://u:p@example.org/".into(),
        "https://example.org:22/".into(),
        "http://example.org/".into(),
        "file:///etc/passwd".into(),
        "gopher://example.org/".into(),
    ] {
        let refused = admin.ask(Method::POST, "", Some(json!({"url": url}))).await;
        assert_eq!(refused.faults(), ["url invalid_url"], "{url}");
    }
    let wrong =
        json!({"site": "nowhere", "events": ["comment.sung"], "format": "smoke", "include_email": 1, "secret": "x"});
    let faults: BTreeSet<_> = admin.ask(Method::POST, "", Some(wrong)).await.faults().into_iter().collect();
    let expected = [
        "events unknown_value",
        "format unknown_value",
        "include_email wrong_type",
        "secret unknown_field",
        "site unknown_site",
        "url required",
    ];
    assert_eq!(faults.iter().map(String::as_str).collect::<Vec<_>>(), expected);
    let none = json!({"url": "https://example.org/", "events": []});
    assert_eq!(admin.ask(Method::POST, "", Some(none)).await.faults(), ["events required"]);
    // A name that leads here is found out when it is dialled.
    let hook = admin.add(json!({"url": format!("https://localhost:{}/", receiver.port)})).await;
    let nothing = json!({"url": null, "events": null, "format": null, "include_email": null, "enabled": null});
    let told = admin.ask(Method::PATCH, &format!("/{}", id(&hook)), Some(nothing)).await.faults();
    assert_eq!(told, ["url", "events", "format", "include_email", "enabled"].map(|name| format!("{name} required")));
    admin.ask(Method::POST, &format!("/{}/test", id(&hook)), None).await.expect(202);
    app.run_jobs().await;
    let last = admin.log(&hook).await.remove(0);
    assert!(last["error"].as_str().unwrap().contains("not public"), "{last}");
    assert!(receiver.take().is_empty());
}

async fn the_log_has_an_end(backend: Backend) {
    let (app, receiver) = (service(backend).await, Receiver::start());
    let admin = Admin::of(&app).await;
    let hook = admin.add(json!({"url": receiver.url()})).await;
    for n in 0..7 {
        app.comment(&format!("number {n}")).await;
    }
    app.run_jobs().await;
    let sweep = |keep: i64| {
        use afterword::clock::Clock;
        let now = app.clock.now();
        let old = now.minus(Duration::from_hours(30 * 24));
        app.service.db.write(move |tx| afterword::storage::webhook_queue::sweep(tx, (now, old), keep))
    };
    let log = format!("/{}/deliveries", id(&hook));
    let first = admin.ask(Method::GET, &format!("{log}?limit=5"), None).await.expect(200);
    let next = first["next_cursor"].as_str().unwrap();
    let rest = admin.ask(Method::GET, &format!("{log}?limit=5&cursor={next}"), None).await.expect(200);
    assert_eq!((rest["deliveries"].as_array().unwrap().len(), rest["next_cursor"].is_null()), (2, true));
    assert_eq!(admin.ask(Method::GET, &format!("{log}?limit=0"), None).await.faults(), ["limit out_of_range"]);
    assert_eq!(admin.ask(Method::GET, &format!("{log}?cursor=x"), None).await.problem(400), "malformed_request");
    sweep(3).await.unwrap();
    assert_eq!(admin.log(&hook).await.len(), 3);
    app.clock.advance(Duration::from_hours(31 * 24));
    sweep(3).await.unwrap();
    assert!(admin.log(&hook).await.is_empty());
}
