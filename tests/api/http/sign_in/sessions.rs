//! Signing in, the session, and the end of it.

use std::time::Duration;

use afterword::domain::ids::SessionId;
use afterword::storage::accounts::Role;
use afterword::storage::sessions::{self, Session};
use reqwest::Method;
use serde_json::json;

use crate::support::app::TestApp;
use crate::support::database::{Backend, on_both_databases};
use crate::support::desk::{Desk, PASSWORD, cookies};

on_both_databases!(
    who_signs_in_gets_a_session,
    cookies_are_for_our_own_pages_alone,
    a_session_ends,
    a_session_is_new_each_time,
    cookies_count_by_their_exact_name,
    sessions_are_listed_and_ended,
    sessions_are_bounded_and_come_in_pages,
    rights_are_those_of_the_account_now,
    known_and_unknown_cost_the_same,
    a_token_counts_before_a_session,
    what_the_desk_decides_is_logged_as_such,
    the_own_account_is_changed,
    another_password_ends_other_sessions
);

const HOUR: Duration = Duration::from_hours(1);

async fn who_signs_in_gets_a_session(backend: Backend) {
    let app = TestApp::new(backend).await;
    let desk = app.desk("Ann@blog.example", Role::Moderator).await;
    let answer = desk.get("/api/v1/session").await;
    assert_eq!(answer.header("cache-control"), "no-store");
    let told = answer.expect(200);
    assert_eq!(told, desk.told, "the same after a reload");
    let account = &told["account"];
    assert_eq!(account["email"], "Ann@blog.example");
    assert_eq!((&account["role"], &account["sites"]), (&json!("moderator"), &json!(["default"])));
    assert_eq!((&account["totp"], &account["language"]), (&json!(false), &json!(null)));
    assert_eq!((&account["mail"], &account["quiet_from"]), (&json!("each"), &json!(null)));
    assert_eq!(told["expires_at"], "2026-01-15T00:00:00.000000Z", "14 days");
    assert_eq!(desk.get("/api/v1/moderation/comments").await.expect(200)["comments"], json!([]));
    assert_eq!(app.get("/api/v1/session").await.problem(401), "unauthenticated");

    for (email, password) in [
        ("ann@blog.example", "another password"),
        ("ben@blog.example", PASSWORD),
        ("no address", PASSWORD),
        ("ann@blog.example", ""),
    ] {
        let wrong = app.try_sign_in(&json!({"email": email, "password": password})).await;
        assert!(cookies(&wrong).is_empty());
        let problem = wrong.expect(401);
        assert_eq!(problem["detail"], "The e-mail address or the password is wrong.");
    }
    let odd = json!({"email": "ann@blog.example", "password": PASSWORD, "remember": true});
    assert_eq!(app.try_sign_in(&odd).await.faults(), ["remember unknown_field"]);
}

async fn cookies_are_for_our_own_pages_alone(backend: Backend) {
    let app = TestApp::new(backend).await;
    app.account("ann@blog.example", Role::Admin).await;
    let sign_in = json!({"email": "ann@blog.example", "password": PASSWORD});
    let plain = cookies(&app.try_sign_in(&sign_in).await);
    let rest = |line: &String| line.split_once("; ").unwrap().1.to_owned();
    assert!(plain[0].starts_with("afterword=") && plain[1].starts_with("afterword-device="), "{plain:?}");
    assert_eq!(rest(&plain[0]), "HttpOnly; SameSite=Strict; Path=/; Max-Age=1209600");
    assert_eq!(rest(&plain[1]), "HttpOnly; SameSite=Strict; Path=/; Max-Age=31536000");

    let app = app.another().set("server__public_url", "https://c.example").start().await;
    let request = app.request(Method::POST, "/api/v1/session").header("origin", "https://c.example");
    let secure = cookies(&app.send(request.json(&sign_in)).await);
    assert!(secure[0].starts_with("__Host-afterword=") && secure[1].starts_with("__Host-afterword-device="));
    assert_eq!(rest(&secure[0]), "HttpOnly; SameSite=Strict; Secure; Path=/; Max-Age=1209600");
    assert_eq!(rest(&secure[1]), "HttpOnly; SameSite=Strict; Secure; Path=/; Max-Age=31536000");
    // The plain name opens nothing where the other one is used.
    let value = secure[0].split_once('=').unwrap().1.split(';').next().unwrap();
    let request = app.request(Method::GET, "/api/v1/session").header("cookie", format!("afterword={value}"));
    assert_eq!(app.send(request).await.problem(401), "unauthenticated");
}

/// A neighbouring host may set any cookie but one of the exact name with `__Host-`.
async fn cookies_count_by_their_exact_name(backend: Backend) {
    let app = TestApp::build(backend).set("limits__enabled", "false");
    let app = app.set("server__public_url", "https://c.example").start().await;
    app.account("ann@blog.example", Role::Admin).await;
    let request = app.request(Method::POST, "/api/v1/session").header("origin", "https://c.example");
    let sign_in = json!({"email": "ann@blog.example", "password": PASSWORD});
    let [cookie, device]: [String; 2] = cookies(&app.send(request.json(&sign_in)).await).try_into().unwrap();
    let value = |line: &str| line.split(';').next().unwrap().split_once('=').unwrap().1.to_owned();
    let (secret, mark) = (value(&cookie), value(&device));
    let status = async |line: &[u8]| {
        let line = reqwest::header::HeaderValue::from_bytes(line).unwrap();
        app.send(app.request(Method::GET, "/api/v1/session").header("cookie", line)).await.status.as_u16()
    };
    let own = format!("__Host-afterword={secret}");
    for line in [
        own.clone(),
        format!("a=b;{own}"),
        format!("a; =; ;;\t {own} ; __Host-afterword-device={mark}"),
        format!("%5F%5FHost-afterword=planted; {own}; __HOST-afterword=planted; afterword=planted"),
    ] {
        assert_eq!(status(line.as_bytes()).await, 200, "{line}");
    }
    assert_eq!(
        status(&[b"other=\xff\xfe; ".as_slice(), own.as_bytes()].concat()).await,
        200,
        "others' bytes harm nothing"
    );
    for line in [
        format!("%5F%5FHost-afterword={secret}"),
        format!("__Host-%61fterword={secret}"),
        format!("__host-afterword={secret}"),
        format!("__Host-afterword ={secret}"),
        format!("{own}; __Host-afterword=planted"),
        format!("__Host-afterword=planted; {own}"),
        format!("{own}; {own}"),
        "__Host-afterword=".to_owned(),
        "__Host-afterword".to_owned(),
    ] {
        assert_eq!(status(line.as_bytes()).await, 401, "{line}");
    }
}

async fn a_session_ends(backend: Backend) {
    let app = TestApp::new(backend).await;
    let desk = app.desk("ann@blog.example", Role::Admin).await;
    let out = desk.delete("/api/v1/session").await;
    assert_eq!(cookies(&out), ["afterword=; HttpOnly; SameSite=Strict; Path=/; Max-Age=0"]);
    assert_eq!(out.status.as_u16(), 204);
    assert!(!desk.is_in().await, "a cookie that was kept is worth nothing");
    assert_eq!(desk.get("/api/v1/moderation/comments").await.problem(401), "unauthenticated");

    let idle = app.signed_in("ann@blog.example").await;
    app.clock.advance((HOUR * 12).saturating_sub(Duration::from_secs(1)));
    assert!(idle.is_in().await, "this was a use of it");
    app.clock.advance(HOUR * 12);
    assert!(!idle.is_in().await);

    let busy = app.signed_in("ann@blog.example").await;
    for _ in 0..33 {
        app.clock.advance(HOUR * 10);
        assert!(busy.is_in().await);
    }
    app.clock.advance(HOUR * 6);
    assert!(!busy.is_in().await, "two weeks are the end, however much it is used");
    app.service.sweep_sessions().await.unwrap();
    assert_eq!(
        app.signed_in("ann@blog.example").await.get("/api/v1/sessions").await.json()["sessions"]
            .as_array()
            .unwrap()
            .len(),
        1
    );
}

async fn a_session_is_new_each_time(backend: Backend) {
    let app = TestApp::new(backend).await;
    app.account("ann@blog.example", Role::Admin).await;
    // A cookie that somebody planted is not taken over.
    let planted = "afterword=AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA";
    let sign_in = |cookie: &str| {
        let request = app.request(Method::POST, "/api/v1/session").header("origin", &app.url);
        request.header("cookie", cookie).json(&json!({"email": "ann@blog.example", "password": PASSWORD}))
    };
    let first = Desk::of(&app, app.send(sign_in(planted)).await);
    assert_ne!(first.cookie, planted);
    assert!(!Desk { cookie: planted.to_owned(), ..first.clone() }.is_in().await);
    let second = Desk::of(&app, app.send(sign_in(&first.cookie)).await);
    assert!(second.cookie != first.cookie && second.csrf != first.csrf && second.device != first.device);
    assert!(second.is_in().await && !first.is_in().await, "the browser has one session, the new one");
}

async fn sessions_are_listed_and_ended(backend: Backend) {
    let app = TestApp::new(backend).await;
    let first = app.desk("ann@blog.example", Role::Admin).await;
    let (second, third) = (app.signed_in("ann@blog.example").await, app.signed_in("ann@blog.example").await);
    let other = app.desk("ben@blog.example", Role::Moderator).await;
    let listed =
        async |desk: &Desk<'_>| desk.get("/api/v1/sessions").await.expect(200)["sessions"].as_array().unwrap().clone();
    let rows = listed(&second).await;
    let current: Vec<_> = rows.iter().map(|row| row["current"].as_bool().unwrap()).collect();
    assert_eq!(current, [false, true, false], "the newest first");
    let keys: Vec<_> = rows[0].as_object().unwrap().keys().collect();
    assert_eq!(keys, ["created_at", "current", "expires_at", "id", "last_used_at", "user_agent"]);

    let id = rows[2]["id"].as_str().unwrap();
    assert_eq!(other.delete(&format!("/api/v1/sessions/{id}")).await.problem(404), "not_found");
    second.delete(&format!("/api/v1/sessions/{id}")).await.expect(204);
    assert_eq!(second.delete(&format!("/api/v1/sessions/{id}")).await.problem(404), "not_found");
    assert!(!first.is_in().await && third.is_in().await);
    second.delete("/api/v1/sessions").await.expect(204);
    assert!(second.is_in().await && !third.is_in().await && other.is_in().await);
    assert_eq!(listed(&second).await.len(), 1);
}

async fn sessions_are_bounded_and_come_in_pages(backend: Backend) {
    let app = TestApp::new(backend).await;
    let desk = app.desk("ann@blog.example", Role::Moderator).await;
    let (account, now) = (desk.told["account"]["id"].as_str().unwrap().parse().unwrap(), app.service.clock.now());
    let older = move |n: u8| Session {
        id: SessionId(uuid::Uuid::from_u128(n.into())),
        account_id: account,
        token_hash: vec![n; 32],
        user_agent: None,
        created_at: now,
        seen_at: now,
        expires_at: now.plus(HOUR),
    };
    let added = app.service.db.write(move |tx| (1..=60).try_for_each(|n| sessions::insert(tx, &older(n))));
    added.await.unwrap();
    let other = app.desk("ben@blog.example", Role::Moderator).await;
    let last = app.signed_in("ann@blog.example").await;
    let page = async |query: &str| {
        let answer = last.get(&format!("/api/v1/sessions{query}")).await.expect(200);
        let ids: Vec<_> =
            answer["sessions"].as_array().unwrap().iter().map(|row| row["id"].as_str().unwrap().to_owned()).collect();
        (ids, answer["next_cursor"].as_str().map(str::to_owned))
    };
    let (all, next) = page("?limit=200").await;
    assert_eq!((all.len(), next), (50, None), "the newest stay");
    assert!(desk.is_in().await && other.is_in().await);
    assert_eq!(all[2], uuid::Uuid::from_u128(60).to_string());
    let (mut seen, mut next) = page("?limit=20").await;
    while let Some(cursor) = next {
        let (rows, more) = page(&format!("?limit=20&cursor={cursor}")).await;
        seen.extend(rows);
        next = more;
    }
    assert_eq!(seen, all);
    for (query, fault) in [("?limit=0", "limit out_of_range"), ("?limit=201", "limit out_of_range")] {
        assert_eq!(last.get(&format!("/api/v1/sessions{query}")).await.faults(), [fault]);
    }
    assert_eq!(last.get("/api/v1/sessions?cursor=x").await.problem(400), "malformed_request");
}

async fn rights_are_those_of_the_account_now(backend: Backend) {
    let app = TestApp::new(backend).await;
    let admin = app.desk("ann@blog.example", Role::Admin).await;
    let desk = app.desk("ben@blog.example", Role::Moderator).await;
    let id = desk.told["account"]["id"].as_str().unwrap().to_owned();
    let comment = app.comment("Hello").await["comment"]["id"].as_str().unwrap().to_owned();
    let approve = format!("/api/v1/moderation/comments/{comment}/approve");
    let change = async |body: serde_json::Value| {
        admin.send(Method::PATCH, &format!("/api/v1/accounts/{id}"), &body).await.expect(200);
    };
    assert_eq!(desk.get("/api/v1/accounts").await.problem(403), "forbidden");
    change(json!({"sites": []})).await;
    assert_eq!(desk.post(&approve, &json!({})).await.problem(404), "not_found");
    assert_eq!(desk.get("/api/v1/session").await.expect(200)["account"]["sites"], json!([]));
    change(json!({"role": "admin"})).await;
    desk.get("/api/v1/accounts").await.expect(200);
    change(json!({"role": "moderator", "sites": ["default"]})).await;
    assert_eq!(desk.get("/api/v1/accounts").await.problem(403), "forbidden");
    let second = app.another().start().await;
    let there = Desk { app: &second, ..desk.clone() };
    there.get("/api/v1/moderation/comments").await.expect(200);
    change(json!({"disabled": true})).await;
    assert!(!desk.is_in().await);
    assert_eq!(there.get("/api/v1/moderation/comments").await.problem(401), "unauthenticated");
    let again = json!({"email": "ben@blog.example", "password": PASSWORD});
    assert_eq!(app.try_sign_in(&again).await.problem(401), "unauthenticated");
    change(json!({"disabled": false})).await;
    assert!(!desk.is_in().await, "the rights come back, the session does not");
    app.signed_in("ben@blog.example").await;
}

async fn known_and_unknown_cost_the_same(backend: Backend) {
    let app = TestApp::new(backend).await;
    app.account("ann@blog.example", Role::Admin).await;
    app.moderator("tokens@blog.example", Role::Admin, &[]).await;
    let mut answers = Vec::new();
    for email in ["ann@blog.example", "ben@blog.example", "tokens@blog.example", "not an address"] {
        let before = app.service.passwords.hashes();
        let answer = app.try_sign_in(&json!({"email": email, "password": "a wrong password"})).await;
        assert_eq!(app.service.passwords.hashes() - before, 1, "{email}");
        let mut problem = answer.expect(401);
        problem["request_id"] = json!(null);
        answers.push(problem);
    }
    assert!(answers.iter().all(|answer| *answer == answers[0]), "{answers:#?}");
}

async fn a_token_counts_before_a_session(backend: Backend) {
    let app = TestApp::new(backend).await;
    let desk = app.desk("ann@blog.example", Role::Admin).await;
    let moderator = app.default_moderator().await;
    let with = |token: &str| desk.request(Method::GET, "/api/v1/accounts").bearer_auth(token);
    assert_eq!(app.send(with("awt_wrong")).await.problem(401), "unauthenticated");
    assert_eq!(
        app.send(with(&moderator.token)).await.problem(403),
        "forbidden",
        "the token's rights, not the session's"
    );
    // What is one's own is a session's alone.
    let request = app.request(Method::GET, "/api/v1/session").bearer_auth(&moderator.token);
    assert_eq!(app.send(request).await.problem(401), "unauthenticated");
    // A token needs nothing else, as ever.
    let id = app.comment("Hello").await["comment"]["id"].as_str().unwrap().to_owned();
    moderator.decide(&id, "approve").await.expect(200);
}

async fn what_the_desk_decides_is_logged_as_such(backend: Backend) {
    let app = TestApp::new(backend).await;
    let desk = app.desk("ann@blog.example", Role::Moderator).await;
    let id = app.comment("Hello").await["comment"]["id"].as_str().unwrap().to_owned();
    desk.post(&format!("/api/v1/moderation/comments/{id}/approve"), &json!({})).await.expect(200);
    desk.post(&format!("/api/v1/moderation/comments/{id}/reply"), &json!({"body": "Thanks"})).await.expect(201);
    app.default_moderator().await.decide(&id, "spam").await.expect(200);
    let log = desk.get(&format!("/api/v1/moderation/comments/{id}")).await.expect(200)["events"].clone();
    let vias: Vec<_> = log
        .as_array()
        .unwrap()
        .iter()
        .map(|event| (event["action"].as_str().unwrap(), event["via"].as_str().unwrap()))
        .collect();
    assert!(vias.contains(&("approved", "desk")) && vias.contains(&("marked_spam", "api")), "{vias:?}");
}

async fn the_own_account_is_changed(backend: Backend) {
    let app = TestApp::new(backend).await;
    let desk = app.desk("ann@blog.example", Role::Moderator).await;
    let change = async |body: serde_json::Value| desk.send(Method::PATCH, "/api/v1/account", &body).await;
    let body = json!({"name": "Ann", "language": "de", "mail": "digest", "digest_minutes": 30, "quiet_from": 1320, "quiet_to": 420});
    let after = change(body).await.expect(200);
    assert_eq!((&after["name"], &after["language"], &after["mail"]), (&json!("Ann"), &json!("de"), &json!("digest")));
    assert_eq!((&after["digest_minutes"], &after["quiet_to"]), (&json!(30), &json!(420)));
    assert_eq!(desk.get("/api/v1/session").await.expect(200)["account"], after);
    assert_eq!(change(json!({"language": null})).await.expect(200)["language"], json!(null));
    let wrong = json!({"name": "", "language": "german!", "role": "admin", "email": "x@blog.example"});
    let mut faults = change(wrong).await.faults();
    faults.sort();
    assert_eq!(faults, ["email unknown_field", "language invalid_language", "name required", "role unknown_field"]);
}

async fn another_password_ends_other_sessions(backend: Backend) {
    let app = TestApp::new(backend).await;
    let (desk, other) = (app.desk("ann@blog.example", Role::Admin).await, app.signed_in("ann@blog.example").await);
    let change = async |current: &str, new: &str| {
        desk.post("/api/v1/account/password", &json!({"current_password": current, "password": new})).await
    };
    assert_eq!(change("a wrong password", "another good one").await.faults(), ["current_password wrong_password"]);
    assert_eq!(change(PASSWORD, "short").await.faults(), ["password too_short"]);
    assert_eq!(change(PASSWORD, "Ann@Blog.example").await.faults(), ["password too_common"]);
    assert!(other.is_in().await);
    change(PASSWORD, "another good one").await.expect(204);
    assert!(desk.is_in().await && !other.is_in().await);
    let old = json!({"email": "ann@blog.example", "password": PASSWORD});
    assert_eq!(app.try_sign_in(&old).await.problem(401), "unauthenticated");
    let new = json!({"email": "ann@blog.example", "password": "another good one"});
    app.try_sign_in(&new).await.expect(201);
}
