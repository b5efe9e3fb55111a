//! Links that let somebody choose a password: the first administrator, invitations, resets. Each works once.

use std::time::Duration;

use afterword::storage::accounts::Role;
use afterword::storage::sign_in::Purpose;
use reqwest::Method;
use serde_json::{Value, json};

use crate::support::app::{Answer, TestApp, work_left};
use crate::support::database::{Backend, on_both_databases};
use crate::support::desk::{Desk, PASSWORD, code, cookies};
use crate::support::mails::Read;

on_both_databases!(
    the_first_administrator_comes_by_a_link,
    of_two_at_once_one_wins,
    instances_start_at_once,
    an_invitation_sets_the_first_password,
    links_do_not_kill_each_other,
    a_reset_ends_what_was_open,
    a_reset_takes_tokens_back,
    a_reset_does_not_pass_the_second_factor,
    nobody_learns_who_has_an_account,
    links_die_with_the_account
);

const NEW: &str = "another good one";

async fn ask(app: &TestApp, path: &str, body: &Value) -> Answer {
    app.send(app.request(Method::POST, path).header("origin", &app.url).json(body)).await
}

async fn look(app: &TestApp, token: &str) -> Answer {
    ask(app, "/api/v1/session/link/look", &json!({"token": token})).await
}

async fn follow(app: &TestApp, token: &str, more: Value) -> Answer {
    let mut body = json!({"token": token, "password": NEW});
    body.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
    ask(app, "/api/v1/session/link", &body).await
}

/// The token of the link in the only mail that left.
async fn mailed(app: &TestApp) -> String {
    let mails = app.run_jobs().await;
    assert_eq!(mails.len(), 1);
    let mail = Read::of(&mails[0]);
    let links = mail.links("/admin/#/link/");
    assert_eq!(links.len(), 1, "{}", mail.text);
    assert!(mail.html.replace("&#x2f;", "/").contains(&links[0]) && mail.header("List-Unsubscribe").is_empty());
    links[0].strip_prefix("/admin/#/link/").unwrap().to_owned()
}

async fn the_first_administrator_comes_by_a_link(backend: Backend) {
    let app = TestApp::new(backend).await;
    let former = app.service.setup_link().await.unwrap().unwrap();
    let token = app.service.setup_link().await.unwrap().unwrap();
    assert_eq!(look(&app, &former).await.problem(404), "not_found", "the last one counts");
    let seen = look(&app, &token).await;
    assert_eq!(seen.header("cache-control"), "no-store");
    assert_eq!(seen.expect(200), json!({"purpose": "setup", "name": "", "needs_email": true}));
    assert_eq!(follow(&app, &token, json!({})).await.faults(), ["email required"]);
    let wrong = json!({"email": "ann@blog.example", "name": "", "password": "password123", "admin": true});
    let mut faults = follow(&app, &token, wrong).await.faults();
    faults.sort();
    assert_eq!(faults, ["admin unknown_field", "name required", "password too_common"]);
    let answer = follow(&app, &token, json!({"email": "ann@blog.example", "name": "Ann"})).await;
    assert_eq!(cookies(&answer).len(), 2);
    let desk = Desk::of(&app, answer);
    assert_eq!((&desk.told["account"]["role"], &desk.told["account"]["name"]), (&json!("admin"), &json!("Ann")));
    desk.get("/api/v1/accounts").await.expect(200);
    assert_eq!(follow(&app, &token, json!({"email": "eve@blog.example"})).await.problem(404), "not_found");
    assert!(app.service.setup_link().await.unwrap().is_none(), "nobody becomes the second first administrator");
    app.try_sign_in(&json!({"email": "ann@blog.example", "password": NEW})).await.expect(201);

    let late = TestApp::new(backend).await;
    let token = late.service.setup_link().await.unwrap().unwrap();
    late.clock.advance(Duration::from_hours(24));
    assert_eq!(look(&late, &token).await.problem(410), "link_expired");
    let email = json!({"email": "ann@blog.example"});
    assert_eq!(follow(&late, &token, email.clone()).await.problem(410), "link_expired");
    // Whoever is made administrator by the command line takes the link with them.
    let token = late.service.setup_link().await.unwrap().unwrap();
    late.account("ben@blog.example", Role::Admin).await;
    assert_eq!(follow(&late, &token, email).await.problem(404), "not_found");
}

async fn of_two_at_once_one_wins(backend: Backend) {
    let app = TestApp::new(backend).await;
    let other = app.another().set("limits__enabled", "false").start().await;
    let token = app.service.setup_link().await.unwrap().unwrap();
    let (one, two) = tokio::join!(
        follow(&app, &token, json!({"email": "ann@blog.example"})),
        follow(&other, &token, json!({"email": "eve@blog.example"}))
    );
    let mut answers = [one.status.as_u16(), two.status.as_u16()];
    answers.sort_unstable();
    assert_eq!(answers, [201, 404]);
}

async fn instances_start_at_once(backend: Backend) {
    let app = TestApp::new(backend).await;
    let mut instances = Vec::new();
    for _ in 0..4 {
        instances.push(app.another().start().await);
    }
    for _ in 0..10 {
        let links = instances.iter().map(|instance| instance.service.setup_link());
        let mut works = 0;
        for link in futures_util::future::join_all(links).await {
            works += u32::from(look(&app, &link.unwrap().unwrap()).await.status == 200);
        }
        assert_eq!(works, 1, "the link that was written last");
    }
}

async fn links_do_not_kill_each_other(backend: Backend) {
    let app = TestApp::new(backend).await;
    let admin = app.desk("ann@blog.example", Role::Admin).await;
    let body = json!({"email": "ben@blog.example", "role": "moderator", "sites": ["default"], "invite": true});
    let id = admin.post("/api/v1/accounts", &body).await.expect(201)["id"].as_str().unwrap().parse().unwrap();
    let invited = mailed(&app).await;
    // Anybody may ask for a reset, also of somebody who has been invited; and a mail may be sent twice.
    ask(&app, "/api/v1/session/reset", &json!({"email": "ben@blog.example"})).await.expect(202);
    let reset = mailed(&app).await;
    let mut resets = vec![reset];
    for _ in 0..11 {
        resets.push(app.service.make_link(id, Purpose::Reset).await.unwrap().unwrap());
    }
    for dead in &resets[..2] {
        assert_eq!(look(&app, dead).await.problem(404), "not_found", "ten for one purpose, the last ones");
    }
    look(&app, &resets[2]).await.expect(200);
    look(&app, &invited).await.expect(200);
    let desk = Desk::of(&app, follow(&app, &resets[2], json!({})).await);
    for spent in [&resets[2], &resets[11], &invited] {
        assert_eq!(follow(&app, spent, json!({})).await.problem(404), "not_found", "whoever is in needs no other one");
    }
    assert!(desk.is_in().await);
}

async fn an_invitation_sets_the_first_password(backend: Backend) {
    let app = TestApp::new(backend).await;
    let admin = app.desk("ann@blog.example", Role::Admin).await;
    let body = json!({"email": "ben@blog.example", "role": "moderator", "sites": ["default"], "invite": true});
    let made = admin.post("/api/v1/accounts", &body).await.expect(201);
    let id = made["id"].as_str().unwrap().to_owned();
    let token = mailed(&app).await;
    assert_eq!(
        look(&app, &token).await.expect(200),
        json!({"purpose": "invitation", "name": "ben", "needs_email": false})
    );
    let invite = format!("/api/v1/accounts/{id}/invite");
    assert_eq!(admin.post(&invite, &json!({})).await.expect(202), json!({}));
    let second = mailed(&app).await;
    look(&app, &token).await.expect(200);
    app.clock.advance(Duration::from_hours(7 * 24) - Duration::from_secs(1));
    let desk = Desk::of(&app, follow(&app, &second, json!({"name": "Ben"})).await);
    assert_eq!((&desk.told["account"]["id"], &desk.told["account"]["name"]), (&json!(id), &json!("Ben")));
    assert_eq!(look(&app, &second).await.problem(404), "not_found");
    let admin = app.signed_in("ann@blog.example").await;
    assert_eq!(admin.post(&invite, &json!({})).await.problem(409), "conflict", "there is a password now");
    assert_eq!(desk.post(&invite, &json!({})).await.problem(403), "forbidden");
    assert_eq!(app.run_jobs().await.len(), 0);
}

async fn a_reset_ends_what_was_open(backend: Backend) {
    let app = TestApp::new(backend).await;
    let (desk, other) =
        (app.desk("ann@blog.example", Role::Admin).await, app.desk("ben@blog.example", Role::Admin).await);
    ask(&app, "/api/v1/session/reset", &json!({"email": "ANN@blog.example"})).await.expect(202);
    let token = mailed(&app).await;
    assert_eq!(look(&app, &token).await.expect(200)["purpose"], "reset");
    assert!(desk.is_in().await, "asking alone changes nothing");
    assert_eq!(follow(&app, &token, json!({"password": "short"})).await.faults(), ["password too_short"]);
    let new = Desk::of(&app, follow(&app, &token, json!({})).await);
    assert!(new.is_in().await && !desk.is_in().await && other.is_in().await);
    assert_eq!(follow(&app, &token, json!({})).await.problem(404), "not_found");
    let old = json!({"email": "ann@blog.example", "password": PASSWORD});
    assert_eq!(app.try_sign_in(&old).await.problem(401), "unauthenticated");

    ask(&app, "/api/v1/session/reset", &json!({"email": "ann@blog.example"})).await.expect(202);
    let token = mailed(&app).await;
    app.clock.advance(Duration::from_hours(1));
    assert_eq!(follow(&app, &token, json!({})).await.problem(410), "link_expired");
}

/// A token that somebody made in a session which was not theirs must not outlive the reset that ends it.
async fn a_reset_takes_tokens_back(backend: Backend) {
    let app = TestApp::new(backend).await;
    let desk = app.desk("ann@blog.example", Role::Admin).await;
    let made = desk.post("/api/v1/tokens", &json!({"name": "x", "scope": "admin"})).await.expect(201);
    let ben = app.moderator("ben@blog.example", Role::Admin, &[]).await;
    let works = async |token: &str| {
        let request = app.request(Method::GET, "/api/v1/moderation/summary").bearer_auth(token);
        app.send(request).await.status.as_u16()
    };
    let token = made["token"].as_str().unwrap();
    assert_eq!(works(token).await, 200);
    let id = desk.told["account"]["id"].as_str().unwrap().parse().unwrap();
    let link = app.service.make_link(id, Purpose::Reset).await.unwrap().unwrap();
    assert_eq!(works(token).await, 200, "the link alone takes nothing");
    let new = Desk::of(&app, follow(&app, &link, json!({})).await);
    assert_eq!((works(token).await, works(&ben.token).await), (401, 200));
    new.post("/api/v1/tokens", &json!({"name": "y"})).await.expect(201);
    // Whoever chooses a first password keeps what their programs use.
    let email = afterword::domain::email::Email::parse("ben@blog.example", "email").unwrap();
    let id = app.service.account_by_email(&email).await.unwrap().id;
    let first = app.service.make_link(id, Purpose::Reset).await.unwrap().unwrap();
    follow(&app, &first, json!({})).await.expect(201);
    assert_eq!(works(&ben.token).await, 200);
    let second = app.service.make_link(id, Purpose::Reset).await.unwrap().unwrap();
    follow(&app, &second, json!({})).await.expect(201);
    assert_eq!(works(&ben.token).await, 401);
}

async fn a_reset_does_not_pass_the_second_factor(backend: Backend) {
    let app = TestApp::new(backend).await;
    let desk = app.desk("ann@blog.example", Role::Admin).await;
    let (secret, _) = desk.second_factor().await;
    let id = desk.told["account"]["id"].as_str().unwrap().parse().unwrap();
    let token = app.service.make_link(id, Purpose::Reset).await.unwrap().unwrap();
    for wrong in [json!({}), json!({"code": "000000"}), json!({"code": code(&app, &secret)})] {
        assert_eq!(follow(&app, &token, wrong).await.problem(401), "second_factor_required");
    }
    assert!(desk.is_in().await, "nothing has happened");
    app.clock.advance(Duration::from_secs(30));
    let new = Desk::of(&app, follow(&app, &token, json!({"code": code(&app, &secret)})).await);
    assert_eq!(new.told["account"]["totp"], json!(true));
}

async fn nobody_learns_who_has_an_account(backend: Backend) {
    let app = TestApp::new(backend).await;
    app.account("ann@blog.example", Role::Admin).await;
    let mut answers = Vec::new();
    for email in ["ann@blog.example", "nobody@blog.example", "no address"] {
        let answer = ask(&app, "/api/v1/session/reset", &json!({"email": email})).await;
        assert_eq!(
            work_left(&app).await,
            i64::try_from(answers.len()).unwrap() + 1,
            "as much is written for everybody"
        );
        let names: Vec<_> = answer.headers.keys().map(|name| name.as_str().to_owned()).collect();
        answers.push((answer.status, names, answer.body));
    }
    assert!(answers.iter().all(|answer| *answer == answers[0]), "{answers:?}");
    assert_eq!(answers[0].2, b"{}");
    assert_eq!(app.run_jobs().await.len(), 1);
    assert_eq!(work_left(&app).await, 0);
    for _ in 0..5 {
        ask(&app, "/api/v1/session/reset", &json!({"email": "Ann@blog.example"})).await.expect(202);
        app.clock.advance(Duration::from_mins(11));
    }
    assert_eq!(app.run_jobs().await.len(), 2, "three an hour");
}

async fn links_die_with_the_account(backend: Backend) {
    let app = TestApp::new(backend).await;
    let admin = app.desk("ann@blog.example", Role::Admin).await;
    let id = app.account("ben@blog.example", Role::Moderator).await;
    let link = async || app.service.make_link(id, Purpose::Reset).await.unwrap();
    let change =
        async |body: Value| admin.send(Method::PATCH, &format!("/api/v1/accounts/{id}"), &body).await.expect(200);
    let token = link().await.unwrap();
    change(json!({"email": "benjamin@blog.example"})).await;
    assert_eq!(look(&app, &token).await.problem(404), "not_found", "it went to the old address");
    let token = link().await.unwrap();
    change(json!({"disabled": true})).await;
    assert_eq!(look(&app, &token).await.problem(404), "not_found");
    assert!(link().await.is_none());
    change(json!({"disabled": false})).await;
    assert_eq!(follow(&app, &token, json!({})).await.problem(404), "not_found");
}
