//! Passkeys: added behind the password; signing in with one, once for each question, and in no other way than at our own
//! page, with the owner there.

use std::time::Duration;

use afterword::error::Error;
use afterword::service::passkeys::Answered;
use afterword::storage::accounts::Role;
use afterword::storage::sign_in::Purpose;
use reqwest::Method;
use serde_json::{Value, json};

use crate::support::app::{Answer, TestApp};
use crate::support::authenticator::Authenticator;
use crate::support::database::{Backend, on_both_databases};
use crate::support::desk::{Desk, PASSWORD};

on_both_databases!(
    a_passkey_stands_for_password_and_code,
    an_answer_counts_once,
    answers_from_elsewhere_are_refused,
    a_question_ends_after_five_minutes,
    a_counter_never_goes_back,
    who_lost_the_passkey_or_the_rights_stays_out,
    a_reset_takes_passkeys_back,
    whoever_was_reset_adds_none,
    adding_asks_for_the_password,
    ones_own_are_listed_named_and_removed
);

const OWN: &str = "/api/v1/account/passkeys";
const SIGN_IN: &str = "/api/v1/session/passkey";
const A_MOMENT: Duration = Duration::from_secs(1);

async fn service(backend: Backend) -> TestApp {
    TestApp::build(backend).by_name().set("limits__enabled", "false").start().await
}

/// What a page of ours sends without a session.
async fn send(app: &TestApp, method: Method, body: &Value) -> Answer {
    app.send(app.request(method, SIGN_IN).header("origin", &app.url).json(body)).await
}

/// A question of its own moment.
async fn asked(app: &TestApp) -> Value {
    app.clock.advance(A_MOMENT);
    send(app, Method::POST, &json!({})).await.expect(200)
}

fn answer(question: &Value, credential: &Value) -> Value {
    json!({"challenge": question["challenge"], "credential": credential})
}

async fn try_with(app: &TestApp, key: &Authenticator) -> Answer {
    let question = asked(app).await;
    send(app, Method::PUT, &answer(&question, &key.get(&question["options"]))).await
}

async fn begin(desk: &Desk<'_>) -> Value {
    desk.app.clock.advance(A_MOMENT);
    desk.post(OWN, &json!({"password": PASSWORD})).await.expect(200)
}

fn named(name: &str, mut answer: Value) -> Value {
    answer["name"] = json!(name);
    answer
}

/// A passkey that is added, and its id.
async fn added(desk: &Desk<'_>) -> (Authenticator, String) {
    let (mut key, question) = (Authenticator::at(&desk.app.url), begin(desk).await);
    let made = key.create(&question["options"]);
    let told = desk.send(Method::PUT, OWN, &named("Telephone", answer(&question, &made))).await.expect(201);
    (key, told["id"].as_str().unwrap().to_owned())
}

async fn a_passkey_stands_for_password_and_code(backend: Backend) {
    let app = service(backend).await;
    let offer = app.get(SIGN_IN).await.expect(200);
    assert_eq!(offer, json!({"offered": true, "why_not": null}));
    let desk = app.desk("ann@blog.example", Role::Admin).await;
    let question = begin(&desk).await;
    let options = &question["options"];
    assert_eq!((&options["rp"]["id"], &options["user"]["name"]), (&json!("localhost"), &json!("ann@blog.example")));
    assert_eq!(options["authenticatorSelection"]["residentKey"], json!("required"));
    assert_eq!(options["authenticatorSelection"]["userVerification"], json!("required"));
    let (key, _) = added(&desk).await;
    desk.second_factor().await;

    let question = asked(&app).await;
    let options = &question["options"];
    assert_eq!(options["userVerification"], json!("required"));
    assert_eq!(options["allowCredentials"].as_array().map_or(0, Vec::len), 0, "it names no account: {options}");
    let body = answer(&question, &key.get(options));
    let request = app.request(Method::PUT, SIGN_IN).header("origin", &app.url).header("cookie", &desk.cookie);
    let other = Desk::of(&app, app.send(request.json(&body)).await);
    assert_eq!(other.told["account"]["email"], json!("ann@blog.example"));
    assert_ne!(other.cookie, desk.cookie);
    assert!(other.is_in().await);
    assert!(!desk.is_in().await, "the session that this browser had is over");
    let own = other.get(OWN).await.expect(200);
    assert_eq!(own["passkeys"][0]["last_used_at"], json!(app.service.clock.now().to_string()));
}

async fn an_answer_counts_once(backend: Backend) {
    let app = service(backend).await;
    let (key, _) = added(&app.desk("ann@blog.example", Role::Admin).await).await;
    let (older, newer) = (asked(&app).await, asked(&app).await);
    let body = answer(&newer, &key.get(&newer["options"]));
    // Two at once, at two instances.
    let other = app.another().set("server__public_url", &app.url).start().await;
    other.clock.advance(A_MOMENT * 9);
    let (one, two) = tokio::join!(send(&app, Method::PUT, &body), async {
        other.send(other.request(Method::PUT, SIGN_IN).header("origin", &app.url).json(&body)).await
    });
    let mut answers = [one.status.as_u16(), two.status.as_u16()];
    answers.sort_unstable();
    assert_eq!(answers, [201, 401]);
    assert_eq!(send(&app, Method::PUT, &body).await.problem(401), "unauthenticated");
    let body = answer(&older, &key.get(&older["options"]));
    assert_eq!(send(&app, Method::PUT, &body).await.problem(401), "unauthenticated", "nor an older one");
    try_with(&app, &key).await.expect(201);
}

async fn answers_from_elsewhere_are_refused(backend: Backend) {
    let app = service(backend).await;
    let (mut key, _) = added(&app.desk("ann@blog.example", Role::Admin).await).await;
    try_with(&app, &key).await.expect(201);
    let refused = async |key: &Authenticator, what: &str| {
        let answer = try_with(&app, key).await;
        assert!(!answer.headers.contains_key("set-cookie"), "{what}");
        assert_eq!(answer.problem(401), "unauthenticated", "{what}");
    };
    let (origin, port) = (key.origin.clone(), app.url.rsplit(':').next().unwrap().to_owned());
    for foreign in
        ["https://localhost".to_owned(), format!("http://localhost.evil.example:{port}"), "http://localhost:1".into()]
    {
        key.origin = foreign;
        refused(&key, &key.origin).await;
    }
    (key.origin, key.party) = (origin, "evil.example".to_owned());
    refused(&key, "another relying party").await;
    (key.party, key.verifies) = ("localhost".to_owned(), false);
    refused(&key, "nobody looked at the finger").await;
    key.verifies = true;
    refused(&Authenticator::at(&app.url), "a key that nobody knows").await;

    // The answer to another question; a question that is not ours; no answer at all.
    let (one, two) = (asked(&app).await, asked(&app).await);
    let credential = key.get(&one["options"]);
    for body in [
        answer(&two, &credential),
        json!({"challenge": "AAAA", "credential": credential}),
        answer(&one, &json!({})),
        answer(&one, &json!({"id": "AAAA", "rawId": "AAAA", "type": "public-key", "response": {}})),
    ] {
        assert_eq!(send(&app, Method::PUT, &body).await.problem(401), "unauthenticated", "{body}");
    }
    let missing = send(&app, Method::PUT, &json!({"challenge": "x", "credential": "y", "more": 1})).await;
    assert_eq!(missing.faults(), ["credential wrong_type", "more unknown_field"]);
    // A page of another origin gets no question, and gives no answer.
    let foreign = |method| app.request(method, SIGN_IN).header("origin", "https://evil.example");
    assert_eq!(app.send(foreign(Method::POST)).await.problem(403), "forbidden");
    let body = answer(&one, &credential);
    assert_eq!(app.send(foreign(Method::PUT).json(&body)).await.problem(403), "forbidden");
    try_with(&app, &key).await.expect(201);
}

async fn a_question_ends_after_five_minutes(backend: Backend) {
    let app = service(backend).await;
    let desk = app.desk("ann@blog.example", Role::Admin).await;
    let (key, _) = added(&desk).await;
    let (early, late) = (asked(&app).await, asked(&app).await);
    app.clock.advance(Duration::from_secs(299));
    let body = answer(&early, &key.get(&early["options"]));
    assert_eq!(send(&app, Method::PUT, &body).await.problem(401), "unauthenticated");
    let body = answer(&late, &key.get(&late["options"]));
    send(&app, Method::PUT, &body).await.expect(201);
    let (mut other, question) = (Authenticator::at(&app.url), begin(&desk).await);
    let made = named("Late", answer(&question, &other.create(&question["options"])));
    app.clock.advance(Duration::from_mins(5));
    assert_eq!(desk.send(Method::PUT, OWN, &made).await.faults(), ["challenge wrong_passkey"]);
}

async fn a_counter_never_goes_back(backend: Backend) {
    let app = service(backend).await;
    let (mut key, _) = added(&app.desk("ann@blog.example", Role::Admin).await).await;
    key.counter = 7;
    try_with(&app, &key).await.expect(201);
    for behind in [7, 6, 0] {
        key.counter = behind;
        assert_eq!(try_with(&app, &key).await.problem(401), "unauthenticated", "{behind}");
    }
    key.counter = 8;
    try_with(&app, &key).await.expect(201);
}

async fn who_lost_the_passkey_or_the_rights_stays_out(backend: Backend) {
    let app = service(backend).await;
    let (admin, desk) =
        (app.desk("ann@blog.example", Role::Admin).await, app.desk("ben@blog.example", Role::Moderator).await);
    let ((key, _), (removed, id)) = (added(&desk).await, added(&desk).await);
    try_with(&app, &removed).await.expect(201);
    let remove =
        async |password: &str| desk.send(Method::DELETE, &format!("{OWN}/{id}"), &json!({"password": password})).await;
    assert_eq!(remove("a wrong password").await.faults(), ["password wrong_password"]);
    remove(PASSWORD).await.expect(204);
    assert_eq!(remove(PASSWORD).await.problem(404), "not_found");
    assert_eq!(try_with(&app, &removed).await.problem(401), "unauthenticated");

    let account = format!("/api/v1/accounts/{}", desk.told["account"]["id"].as_str().unwrap());
    let set = async |disabled: bool| {
        admin.send(Method::PATCH, &account, &json!({"disabled": disabled})).await.expect(200);
    };
    set(true).await;
    assert_eq!(try_with(&app, &key).await.problem(401), "unauthenticated");
    set(false).await;
    try_with(&app, &key).await.expect(201);
}

async fn a_reset_takes_passkeys_back(backend: Backend) {
    let app = service(backend).await;
    let desk = app.desk("ann@blog.example", Role::Admin).await;
    let (key, _) = added(&desk).await;
    let change = json!({"current_password": PASSWORD, "password": "another few words"});
    desk.post("/api/v1/account/password", &change).await.expect(204);
    try_with(&app, &key).await.expect(201);
    desk.delete("/api/v1/sessions").await.expect(204);
    try_with(&app, &key).await.expect(201);
    let desk = reset(&desk).await;
    assert_eq!(desk.get(OWN).await.expect(200), json!({"passkeys": []}));
    assert_eq!(try_with(&app, &key).await.problem(401), "unauthenticated");
}

/// A thief's request that had found its session open before the owner's reset ended it adds no passkey after that.
async fn whoever_was_reset_adds_none(backend: Backend) {
    let app = service(backend).await;
    let desk = app.desk("ann@blog.example", Role::Admin).await;
    let secret = desk.cookie.split_once('=').unwrap().1;
    let open = app.service.open_session(secret).await.unwrap().unwrap();
    let made = async || {
        app.clock.advance(A_MOMENT);
        let asked = app.service.begin_passkey(&open, PASSWORD).await.unwrap();
        let credential = Authenticator::at(&app.url).create(&asked.options);
        Answered { challenge: asked.challenge, credential }
    };
    let (before, after) = (made().await, made().await);
    app.service.add_passkey(&open, before, "Thief").await.expect("nothing else is wrong with it");
    let owner = reset(&desk).await;
    let refused = app.service.add_passkey(&open, after, "Thief").await;
    let is_over =
        matches!(&refused, Err(Error::Invalid(faults)) if faults.iter().all(|fault| fault.field == "challenge"));
    assert!(is_over, "{refused:?}");
    assert_eq!(owner.get(OWN).await.expect(200), json!({"passkeys": []}));
}

/// The owner's browser after a link from a mail and a new password.
async fn reset<'a>(desk: &Desk<'a>) -> Desk<'a> {
    let account = desk.told["account"]["id"].as_str().unwrap().parse().unwrap();
    let token = desk.app.service.make_link(account, Purpose::Reset).await.unwrap().unwrap();
    let link = json!({"token": token, "password": "a third few words"});
    let request = desk.app.request(Method::POST, "/api/v1/session/link").header("origin", &desk.app.url).json(&link);
    Desk::of(desk.app, desk.app.send(request).await)
}

async fn adding_asks_for_the_password(backend: Backend) {
    let app = service(backend).await;
    let desk = app.desk("ann@blog.example", Role::Admin).await;
    assert_eq!(desk.post(OWN, &json!({"password": "a wrong password"})).await.faults(), ["password wrong_password"]);
    assert_eq!(app.send(app.request(Method::POST, OWN).json(&json!({}))).await.problem(401), "unauthenticated");

    let (mut key, question) = (Authenticator::at(&app.url), begin(&desk).await);
    let made = answer(&question, &key.create(&question["options"]));
    let add = async |desk: &Desk<'_>, body: Value| desk.send(Method::PUT, OWN, &body).await;
    assert_eq!(add(&desk, named(" ", made.clone())).await.faults(), ["name required"]);
    assert_eq!(add(&desk, named(&"x".repeat(101), made.clone())).await.faults(), ["name too_long"]);
    let elsewhere = app.signed_in("ann@blog.example").await;
    let fault = ["challenge wrong_passkey"];
    assert_eq!(add(&elsewhere, named("A", made.clone())).await.faults(), fault, "another session asked");
    for wrong in ["origin", "party", "verifies"] {
        let mut key = Authenticator::at(&app.url);
        match wrong {
            "origin" => key.origin = "https://evil.example".into(),
            "party" => key.party = "evil.example".into(),
            _ => key.verifies = false,
        }
        let made = answer(&question, &key.create(&question["options"]));
        assert_eq!(add(&desk, named("A", made)).await.faults(), ["credential wrong_passkey"], "{wrong}");
    }
    let told = add(&desk, named("  My  key ", made.clone())).await.expect(201);
    assert_eq!((&told["name"], &told["last_used_at"]), (&json!("My key"), &Value::Null));
    assert_eq!(add(&desk, named("A", made)).await.faults(), fault, "it counts once");
    let question = begin(&desk).await;
    let known = &question["options"]["excludeCredentials"];
    assert_eq!(known.as_array().map_or(0, Vec::len), 1, "{known}");
    // The same credential for somebody else.
    let ben = app.desk("ben@blog.example", Role::Moderator).await;
    let question = begin(&ben).await;
    let made = answer(&question, &key.create(&question["options"]));
    assert_eq!(add(&ben, named("A", made)).await.problem(409), "conflict");
}

async fn ones_own_are_listed_named_and_removed(backend: Backend) {
    let app = service(backend).await;
    let desk = app.desk("ann@blog.example", Role::Admin).await;
    let ben = app.desk("ben@blog.example", Role::Moderator).await;
    let ((_, one), (_, two)) = (added(&desk).await, added(&desk).await);
    let path = format!("{OWN}/{one}");
    let name = json!({"name": "At the office"});
    assert_eq!(ben.send(Method::PATCH, &path, &name).await.problem(404), "not_found");
    let password = json!({"password": PASSWORD});
    assert_eq!(ben.send(Method::DELETE, &path, &password).await.problem(404), "not_found");
    desk.send(Method::PATCH, &path, &name).await.expect(204);
    assert_eq!(desk.send(Method::PATCH, &path, &json!({"name": ""})).await.faults(), ["name required"]);
    let own = desk.get(OWN).await.expect(200);
    let names: Vec<_> = own["passkeys"].as_array().unwrap().iter().map(|one| (&one["id"], &one["name"])).collect();
    assert_eq!(names, [(&json!(one), &name["name"]), (&json!(two), &json!("Telephone"))]);
    assert!(!own.to_string().contains("cred"), "{own}");
    for _ in 2..20 {
        added(&desk).await;
    }
    assert_eq!(desk.post(OWN, &password).await.problem(409), "conflict", "twenty are enough");
    desk.send(Method::DELETE, &path, &password).await.expect(204);
    added(&desk).await;
}

/// Without a host name there is nothing that a passkey could belong to.
#[tokio::test]
async fn an_address_without_a_name_offers_none() {
    let app = TestApp::new(Backend::Sqlite).await;
    let offer = app.get(SIGN_IN).await.expect(200);
    assert_eq!(offer["offered"], json!(false));
    assert!(offer["why_not"].as_str().unwrap().contains("server.public_url"), "{offer}");
    assert_eq!(send(&app, Method::POST, &json!({})).await.problem(409), "conflict");
    let desk = app.desk("ann@blog.example", Role::Admin).await;
    assert_eq!(desk.post(OWN, &json!({"password": PASSWORD})).await.problem(409), "conflict");
}

/// Answers are counted with passwords and links, for each network address.
#[tokio::test]
async fn answers_are_counted() {
    let app = TestApp::build(Backend::Sqlite).by_name().start().await;
    let question = asked(&app).await;
    let body = answer(&question, &Authenticator::at(&app.url).get(&question["options"]));
    let mut refused = 0;
    while send(&app, Method::PUT, &body).await.status.as_u16() == 401 {
        refused += 1;
        assert!(refused < 100, "nobody counts");
    }
    assert_eq!(send(&app, Method::PUT, &body).await.problem(429), "rate_limited");
    assert_eq!(send(&app, Method::POST, &json!({})).await.status.as_u16(), 200, "questions are not");
}
