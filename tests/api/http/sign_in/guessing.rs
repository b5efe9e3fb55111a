//! Guessing passwords: few guesses get through, and the owner is not kept out by those of others.

use std::time::Duration;

use afterword::storage::accounts::Role;
use afterword::storage::sign_in::Purpose;
use reqwest::Method;
use serde_json::{Value, json};

use crate::support::app::{Answer, TestApp};
use crate::support::database::{Backend, on_both_databases};
use crate::support::desk::{Desk, PASSWORD, code};

on_both_databases!(
    a_thousand_addresses_guess_for_an_hour,
    a_link_does_not_let_codes_be_guessed,
    strangers_do_not_close_links,
    a_browser_is_known_as_the_same_one,
    limits_that_are_off_stop_nobody
);

/// Somebody at one of our pages, from a network of their own; the app trusts its proxy.
async fn ask(app: &TestApp, path: &str, (n, body): (u32, &Value)) -> Answer {
    let request = app.request(Method::POST, path).header("origin", &app.url).json(body);
    app.send(request.header("x-forwarded-for", format!("203.0.{n}.1"))).await
}

/// threats.md, attack 28: 1,000 addresses, one account, one hour; at most 100 guesses may be compared.
async fn a_thousand_addresses_guess_for_an_hour(backend: Backend) {
    let app = TestApp::build(backend).set("server__trusted_proxies", "127.0.0.1").start().await;
    let owner = app.desk("ann@blog.example", Role::Admin).await;
    let from = |address: String, password: &str| {
        let request = app.request(Method::POST, "/api/v1/session").header("origin", &app.url);
        let request = request.header("x-forwarded-for", address);
        request.json(&json!({"email": "Ann@blog.example", "password": password}))
    };
    let before = app.service.passwords.hashes();
    for minute in 0..60_u32 {
        for n in 0..17_u32 {
            let guesser = (minute * 17 + n) % 1000;
            let answer =
                app.send(from(format!("198.18.{}.{}", guesser / 250, guesser % 250), "password number 1")).await;
            match answer.status.as_u16() {
                401 => {}
                429 => assert!(answer.header("retry-after").parse::<u64>().unwrap() <= 60),
                other => panic!("{other}"),
            }
        }
        app.clock.advance(Duration::from_mins(1));
    }
    let through = app.service.passwords.hashes() - before;
    assert!((50..=100).contains(&through), "{through} guesses got through");

    // Spent to the last one, right now.
    for n in 0..12_u32 {
        app.send(from(format!("198.19.0.{n}"), "password number 2")).await;
    }
    let stranger = app.send(from("203.0.113.7".into(), PASSWORD)).await;
    assert_eq!(stranger.problem(429), "rate_limited", "the ring of the account is spent");
    assert!(owner.is_in().await, "the owner's session goes on");
    let known = || from("203.0.113.7".into(), PASSWORD).header("cookie", &owner.device);
    let again = Desk::of(&app, app.send(known()).await);
    assert!(again.is_in().await, "and the browser that is known lets the owner in");
    // The mark helps for this address alone, and has an end of its own.
    let other = app.request(Method::POST, "/api/v1/session").header("origin", &app.url).header("cookie", &owner.device);
    let other = other.header("x-forwarded-for", "198.19.0.200");
    let before = app.service.passwords.hashes();
    app.send(other.json(&json!({"email": "ben@blog.example", "password": PASSWORD}))).await.problem(401);
    for _ in 0..30 {
        app.send(from("203.0.113.8".into(), "password number 3").header("cookie", &owner.device)).await;
    }
    assert!(app.service.passwords.hashes() - before <= 12);
    assert!(again.is_in().await);
}

async fn a_link_does_not_let_codes_be_guessed(backend: Backend) {
    let app = TestApp::build(backend).set("server__trusted_proxies", "127.0.0.1").start().await;
    let desk = app.desk("ann@blog.example", Role::Admin).await;
    let (secret, _) = desk.second_factor().await;
    let id = desk.told["account"]["id"].as_str().unwrap().parse().unwrap();
    let link = async || app.service.make_link(id, Purpose::Reset).await.unwrap().unwrap();
    let follow = async |n: u32, token: &str, code: &str| {
        let body = json!({"token": token, "password": "another good one", "code": code});
        ask(&app, "/api/v1/session/link", (n, &body)).await
    };
    let token = link().await;
    let mut through = 0;
    for n in 0..30 {
        // Another link is no new chance.
        let token = if n % 10 == 9 { link().await } else { token.clone() };
        let answer = follow(n, &token, "000000").await;
        match answer.status.as_u16() {
            401 => through += 1,
            429 => assert!(answer.header("retry-after").parse::<u64>().unwrap() <= 60),
            other => panic!("{other}"),
        }
    }
    assert!((1..=10).contains(&through), "{through} codes were compared, wherever they came from");
    // Without a code nothing is guessed.
    let none = json!({"token": token, "password": "another good one"});
    assert_eq!(ask(&app, "/api/v1/session/link", (40, &none)).await.problem(401), "second_factor_required");
    app.clock.advance(Duration::from_mins(1));
    follow(41, &token, &code(&app, &secret)).await.expect(201);
}

async fn strangers_do_not_close_links(backend: Backend) {
    let app = TestApp::build(backend).set("server__trusted_proxies", "127.0.0.1");
    let app = app.set("limits__password_all__burst", "2").set("limits__password_all__seconds", "600").start().await;
    let id = app.account("ann@blog.example", Role::Admin).await;
    for (n, status) in [401, 401, 429].into_iter().enumerate() {
        let body = json!({"email": format!("{n}@blog.example"), "password": "password number 1"});
        let n = u32::try_from(n).unwrap();
        assert_eq!(ask(&app, "/api/v1/session", (n, &body)).await.status.as_u16(), status);
    }
    ask(&app, "/api/v1/session/reset", (50, &json!({"email": "nobody@blog.example"}))).await.expect(202);
    let token = app.service.make_link(id, Purpose::Reset).await.unwrap().unwrap();
    ask(&app, "/api/v1/session/link/look", (51, &json!({"token": token}))).await.expect(200);
    for _ in 0..20 {
        ask(&app, "/api/v1/session/link/look", (52, &json!({"token": "guess"}))).await.problem(404);
    }
    assert_eq!(
        ask(&app, "/api/v1/session/link/look", (52, &json!({"token": "guess"}))).await.problem(429),
        "rate_limited"
    );
    ask(&app, "/api/v1/session/link", (53, &json!({"token": token, "password": "another good one"}))).await.expect(201);
    app.run_jobs().await;
}

/// Whoever signs in again and again brings the mark of the last time: it must not be a new chance each time.
async fn a_browser_is_known_as_the_same_one(backend: Backend) {
    let app = TestApp::build(backend).set("server__trusted_proxies", "127.0.0.1").start().await;
    let mut mark = app.desk("ann@blog.example", Role::Moderator).await.device;
    let mut through = 0;
    for n in 0..15 {
        let request = app.request(Method::POST, "/api/v1/session").header("origin", &app.url).header("cookie", &mark);
        let request = request.header("x-forwarded-for", format!("203.0.{n}.1"));
        let answer = app.send(request.json(&json!({"email": "Ann@blog.example", "password": PASSWORD}))).await;
        if answer.status == 429 {
            continue;
        }
        through += 1;
        mark = Desk::of(&app, answer).device;
    }
    assert_eq!(through, 10);
}

/// What protects the machine stays (`service/passwords.rs`), and so does the ceiling of mails (`ways_in.rs`).
async fn limits_that_are_off_stop_nobody(backend: Backend) {
    let app = TestApp::new(backend).await;
    let owner = app.desk("ann@blog.example", Role::Admin).await;
    let before = app.service.passwords.hashes();
    for _ in 0..12 {
        let wrong = json!({"email": "ann@blog.example", "password": "password number 1"});
        assert_eq!(app.try_sign_in(&wrong).await.problem(401), "unauthenticated");
    }
    assert_eq!(app.service.passwords.hashes() - before, 12);
    let body = json!({"current_password": "password number 1", "password": "another good one"});
    for _ in 0..12 {
        owner.post("/api/v1/account/password", &body).await.faults();
    }
    for _ in 0..25 {
        let look = app.request(Method::POST, "/api/v1/session/link/look").json(&json!({"token": "guess"}));
        assert_eq!(app.send(look).await.problem(404), "not_found");
    }
}
