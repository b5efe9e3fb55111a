//! The second factor: codes count once, recovery codes stand in for them once, and a new secret key changes nothing.

use std::time::Duration;

use afterword::storage::accounts::Role;
use reqwest::Method;
use serde_json::{Value, json};

use crate::http::rotation;
use crate::support::app::TestApp;
use crate::support::database::{Backend, on_both_databases};
use crate::support::desk::{Desk, PASSWORD, code, cookies};

on_both_databases!(
    a_second_factor_is_asked_for,
    a_code_counts_once,
    recovery_codes_stand_in_once,
    a_new_key_keeps_the_second_factor
);

const STEP: Duration = Duration::from_secs(30);

fn with(code: &str) -> Value {
    json!({"email": "ann@blog.example", "password": PASSWORD, "code": code})
}

async fn a_second_factor_is_asked_for(backend: Backend) {
    let app = TestApp::new(backend).await;
    let desk = app.desk("ann@blog.example", Role::Admin).await;
    let totp = "/api/v1/account/totp";
    assert_eq!(desk.send(Method::PUT, totp, &json!({"code": "000000"})).await.problem(409), "conflict");
    let wrong = desk.post(totp, &json!({"password": "a wrong password"})).await;
    assert_eq!(wrong.faults(), ["password wrong_password"]);
    // What is proposed does not count yet.
    let proposed = desk.post(totp, &json!({"password": PASSWORD})).await.expect(200);
    let url = proposed["otpauth_url"].as_str().unwrap();
    assert!(url.starts_with("otpauth://totp/Afterword:ann%40blog.example?secret="), "{url}");
    assert!(url.contains(proposed["secret"].as_str().unwrap()) && url.contains("issuer=Afterword"), "{url}");
    app.signed_in("ann@blog.example").await;
    assert_eq!(desk.send(Method::PUT, totp, &json!({"code": "12345"})).await.faults(), ["code wrong_code"]);

    let (secret, recovery) = desk.second_factor().await;
    assert_eq!(recovery.len(), 10);
    assert_eq!(desk.get("/api/v1/session").await.expect(200)["account"]["totp"], json!(true));
    assert_eq!(desk.post(totp, &json!({"password": PASSWORD})).await.problem(409), "conflict");
    app.clock.advance(STEP);
    let missing = app.try_sign_in(&json!({"email": "ann@blog.example", "password": PASSWORD})).await;
    assert!(cookies(&missing).is_empty());
    assert_eq!(missing.header("www-authenticate"), "Bearer");
    assert_eq!(missing.problem(401), "second_factor_required");
    for wrong in ["", "000000", "0000 0000", "ffff-ffff-ffff-ffff"] {
        assert_eq!(app.try_sign_in(&with(wrong)).await.problem(401), "second_factor_required", "{wrong}");
    }
    let wrong = json!({"email": "ann@blog.example", "password": "a wrong password", "code": code(&app, &secret)});
    assert_eq!(app.try_sign_in(&wrong).await.problem(401), "unauthenticated", "of a code nothing is told");
    let typed = code(&app, &secret);
    app.try_sign_in(&with(&format!("{} {}", &typed[..3], &typed[3..]))).await.expect(201);

    let off = async |password: &str| desk.send(Method::DELETE, totp, &json!({"password": password})).await;
    assert_eq!(off("a wrong password").await.faults(), ["password wrong_password"]);
    off(PASSWORD).await.expect(204);
    app.signed_in("ann@blog.example").await;
}

async fn a_code_counts_once(backend: Backend) {
    let app = TestApp::new(backend).await;
    let (secret, _) = app.desk("ann@blog.example", Role::Admin).await.second_factor().await;
    let confirming = code(&app, &secret);
    assert_eq!(app.try_sign_in(&with(&confirming)).await.problem(401), "second_factor_required", "it was used");
    app.clock.advance(STEP);
    // Two at once, at two instances.
    let other = app.another().start().await;
    other.clock.advance(STEP);
    let now = with(&code(&app, &secret));
    let (one, two) = tokio::join!(app.try_sign_in(&now), other.try_sign_in(&now));
    let mut answers = [one.status.as_u16(), two.status.as_u16()];
    answers.sort_unstable();
    assert_eq!(answers, [201, 401]);
    assert_eq!(app.try_sign_in(&now).await.problem(401), "second_factor_required");
    app.clock.advance(STEP);
    assert_eq!(app.try_sign_in(&now).await.problem(401), "second_factor_required", "nor within the next step");
    app.try_sign_in(&with(&code(&app, &secret))).await.expect(201);
}

async fn recovery_codes_stand_in_once(backend: Backend) {
    let app = TestApp::new(backend).await;
    let desk = app.desk("ann@blog.example", Role::Admin).await;
    let (_, codes) = desk.second_factor().await;
    let shouted = codes[0].to_uppercase().replace('-', " ");
    app.try_sign_in(&with(&shouted)).await.expect(201);
    assert_eq!(app.try_sign_in(&with(&codes[0])).await.problem(401), "second_factor_required");
    let used = with(&codes[1]);
    let (one, two) = tokio::join!(app.try_sign_in(&used), app.try_sign_in(&used));
    assert_eq!(one.status.as_u16() + two.status.as_u16(), 201 + 401);
    // Of another account they are worth nothing.
    let ben = app.desk("ben@blog.example", Role::Moderator).await;
    ben.second_factor().await;
    let his = json!({"email": "ben@blog.example", "password": PASSWORD, "code": codes[2]});
    assert_eq!(app.try_sign_in(&his).await.problem(401), "second_factor_required");
    // New ones take the place of the old ones.
    desk.send(Method::DELETE, "/api/v1/account/totp", &json!({"password": PASSWORD})).await.expect(204);
    let (_, new) = desk.second_factor().await;
    assert_eq!(app.try_sign_in(&with(&codes[3])).await.problem(401), "second_factor_required");
    app.try_sign_in(&with(&new[3])).await.expect(201);
}

async fn a_new_key_keeps_the_second_factor(backend: Backend) {
    let app = TestApp::new(backend).await;
    let desk = app.desk("ann@blog.example", Role::Admin).await;
    let (secret, codes) = desk.second_factor().await;
    let ben = app.desk("ben@blog.example", Role::Moderator).await;
    let waiting = ben.post("/api/v1/account/totp", &json!({"password": PASSWORD})).await.expect(200);
    let command = rotation::command(&app).await;
    rotation::begin(&app, &command).await;
    app.service.refresh_keys().await.unwrap();
    rotation::go_to_the_end(&command).await;
    command.end_rotation().await.unwrap();
    command.keys.forget_others(&mut command.keys.hold_file().unwrap()).unwrap();
    app.service.refresh_keys().await.unwrap();
    assert_eq!(app.service.keys.count(), 1);
    assert!(desk.is_in().await);
    let status = app.service.key_status().await.unwrap();
    assert_eq!((status.left, status.lost), (0, 0));
    app.clock.advance(STEP);
    app.try_sign_in(&with(&code(&app, &secret))).await.expect(201);
    app.try_sign_in(&with(&codes[0])).await.expect(201);
    let his = totp_rs::Secret::try_from_base32(waiting["secret"].as_str().unwrap()).unwrap();
    let confirm = json!({"code": code(&app, his.as_bytes())});
    let fresh =
        Desk { csrf: ben.get("/api/v1/session").await.expect(200)["csrf_token"].as_str().unwrap().into(), ..ben };
    fresh.send(Method::PUT, "/api/v1/account/totp", &confirm).await.expect(200);
}
