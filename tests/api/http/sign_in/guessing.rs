//! Guessing passwords: few guesses get through, and the owner is not kept out by those of others.

use std::time::Duration;

use afterword::storage::accounts::Role;
use reqwest::Method;
use serde_json::json;

use crate::support::app::TestApp;
use crate::support::database::{Backend, on_both_databases};
use crate::support::desk::{Desk, PASSWORD};

on_both_databases!(a_thousand_addresses_guess_for_an_hour, limits_that_are_off_leave_passwords_alone);

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

async fn limits_that_are_off_leave_passwords_alone(backend: Backend) {
    let app = TestApp::new(backend).await;
    let owner = app.desk("ann@blog.example", Role::Admin).await;
    let before = app.service.passwords.hashes();
    for _ in 0..15 {
        app.try_sign_in(&json!({"email": "ann@blog.example", "password": "password number 1"})).await;
    }
    assert_eq!(app.service.passwords.hashes() - before, 9, "ten at once, one of them the owner's");
    // Whoever is signed in may not guess for ever either.
    let body = json!({"current_password": "password number 1", "password": "another good one"});
    for _ in 0..10 {
        owner.post("/api/v1/account/password", &body).await.faults();
    }
    assert_eq!(owner.post("/api/v1/account/password", &body).await.problem(429), "rate_limited");
}
