//! A patch changes what it names: the rest stays, also when somebody else writes it at the same moment, and null is told
//! where it means nothing.

use afterword::domain::ids::AccountId;
use afterword::domain::mail_choice::{MailChoice, MailMode};
use afterword::storage::accounts::{self, Role};
use afterword::storage::articles::{self, ArticleChange};
use afterword::storage::reseal::{self, AccountFields};
use serde_json::{Value, json};

use super::administration::call;
use crate::support::app::TestApp;
use crate::support::database::{Backend, on_both_databases};

on_both_databases!(
    null_is_told_where_it_means_nothing,
    lengths_are_merged,
    minutes_of_a_digest_turn_no_mail_on,
    an_account_that_was_read_before_overwrites_nothing,
    an_article_that_was_read_before_overwrites_nothing,
    a_patch_of_mail_and_its_end_both_count
);

async fn admin(app: &TestApp) -> String {
    app.moderator("admin@example.org", Role::Admin, &[]).await.token
}

/// Another account, which wants `mail`.
async fn ann(app: &TestApp, token: &str, mail: &str) -> AccountId {
    let new = json!({"email": "ann@example.org", "role": "moderator", "sites": ["default"], "mail": mail});
    let made = call(app, token, "POST", "/api/v1/accounts", new).await.expect(201);
    made["id"].as_str().unwrap().parse().unwrap()
}

async fn null_is_told_where_it_means_nothing(backend: Backend) {
    let app = TestApp::new(backend).await;
    let token = admin(&app).await;
    let account = format!("/api/v1/accounts/{}", ann(&app, &token, "each").await);
    for (method, path, body) in [
        (
            "PATCH",
            account.as_str(),
            json!({"email": null, "name": null, "role": null, "sites": null, "mail": null, "digest_minutes": null,
                "quiet_from": null, "quiet_to": null, "disabled": null}),
        ),
        (
            "PATCH",
            "/api/v1/sites/default",
            json!({"name": null, "origins": null, "moderation": null, "articles": null, "language": null,
                "required_fields": null, "lengths": null, "close_after_days": null, "languages": null}),
        ),
        ("POST", "/api/v1/tokens", json!({"name": null, "scope": null, "days": null, "account": null})),
    ] {
        let mut expected: Vec<_> = body.as_object().unwrap().keys().map(|field| format!("{field} required")).collect();
        let mut faults = call(&app, &token, method, path, body).await.faults();
        expected.sort();
        faults.sort();
        assert_eq!(faults, expected, "{path}");
    }
    // Where it means something it is taken.
    call(&app, &token, "PATCH", &account, json!({"time_zone": null})).await.expect(200);
    let nothing = json!({"url": null, "privacy_text": null, "lengths": {"body_max": null}});
    call(&app, &token, "PATCH", "/api/v1/sites/default", nothing).await.expect(200);
}

async fn lengths_are_merged(backend: Backend) {
    let app = TestApp::new(backend).await;
    let token = admin(&app).await;
    let patch = |lengths: Value| {
        let (app, token) = (&app, &token);
        async move { call(app, token, "PATCH", "/api/v1/sites/default", json!({"lengths": lengths})).await }
    };
    patch(json!({"name_max": 50, "body_min": 10})).await.expect(200);
    let all = json!({"name_min": null, "name_max": 50, "body_min": 10, "body_max": 500});
    assert_eq!(patch(json!({"body_max": 500})).await.expect(200)["lengths"], all);
    let got = call(&app, &token, "GET", "/api/v1/sites/default", Value::Null).await.expect(200);
    assert_eq!(got["lengths"], all);
    assert_eq!(patch(got["lengths"].clone()).await.expect(200)["lengths"], all, "what was got can be sent back");
    assert_eq!(patch(json!({"body_max": 9})).await.faults(), ["lengths contradiction"]);
    let fewer = json!({"name_min": null, "name_max": null, "body_min": null, "body_max": 500});
    assert_eq!(patch(json!({"name_max": null, "body_min": null})).await.expect(200)["lengths"], fewer);
}

async fn minutes_of_a_digest_turn_no_mail_on(backend: Backend) {
    let app = TestApp::new(backend).await;
    let token = admin(&app).await;
    let path = format!("/api/v1/accounts/{}", ann(&app, &token, "none").await);
    for (body, fault) in [
        (json!({"digest_minutes": 60}), "mail required"),
        (json!({"digest_minutes": 3}), "digest_minutes out_of_range"),
        (json!({"mail": "each", "digest_minutes": 3}), "digest_minutes out_of_range"),
        (json!({"mail": "none", "digest_minutes": 1441}), "digest_minutes out_of_range"),
    ] {
        assert_eq!(call(&app, &token, "PATCH", &path, body).await.faults(), [fault]);
    }
    let mail = |body: Value| {
        let (app, token, path) = (&app, &token, &path);
        async move {
            let changed = call(app, token, "PATCH", path, body).await.expect(200);
            json!([changed["mail"], changed["digest_minutes"]])
        }
    };
    assert_eq!(mail(json!({"name": "Ann"})).await, json!(["none", null]));
    assert_eq!(mail(json!({"mail": "digest", "digest_minutes": 30})).await, json!(["digest", 30]));
    assert_eq!(mail(json!({"mail": "digest"})).await, json!(["digest", 30]));
    assert_eq!(mail(json!({"digest_minutes": 45})).await, json!(["digest", 45]));
    assert_eq!(mail(json!({"mail": "each"})).await, json!(["each", null]));
}

async fn an_account_that_was_read_before_overwrites_nothing(backend: Backend) {
    let app = TestApp::new(backend).await;
    let id = ann(&app, &admin(&app).await, "each").await;
    let now = app.service.db.write(move |tx| {
        let before = accounts::find_to_change(tx, id)?.unwrap();
        // Others, in between: mail is turned off, and a change of keys seals the address anew.
        accounts::set_mail_choice(tx, id, &MailChoice { mode: MailMode::None, quiet: None })?;
        let resealed =
            AccountFields { id, before: before.email_sealed.clone(), email_sealed: vec![1], email_hash: vec![2] };
        assert_eq!(reseal::replace_accounts(tx, &[resealed], &[])?, 1);
        let mut after = before.clone();
        "Other".clone_into(&mut after.name);
        accounts::update(tx, &before, &after)?;
        Ok(accounts::find(tx.conn(), id)?.unwrap())
    });
    let now = now.await.unwrap();
    assert_eq!((now.name.as_str(), now.mail_choice().mode), ("Other", MailMode::None));
    assert_eq!((now.email_sealed, now.email_hash), (vec![1], vec![2]));
}

async fn an_article_that_was_read_before_overwrites_nothing(backend: Backend) {
    let app = TestApp::new(backend).await;
    app.comment("first").await;
    let site = app.service.sites.by_key("default").unwrap().id;
    let after = app.service.db.write(move |tx| {
        let before = articles::find(tx.conn(), site, "/a")?.unwrap();
        let close = ArticleChange { closed: Some((true, false)), ..ArticleChange::default() };
        articles::change(tx, &before, &close)?;
        // Somebody else read it before that.
        let name = ArticleChange { title: Some(Some("Title".to_owned())), ..ArticleChange::default() };
        let told = articles::change(tx, &before, &name)?;
        assert_eq!(articles::find(tx.conn(), site, "/a")?.as_ref(), Some(&told));
        Ok((told, before.version))
    });
    let (after, version) = after.await.unwrap();
    assert_eq!((after.title.as_deref(), after.closed, after.version), (Some("Title"), true, version + 2));
}

/// An administrator sets quiet hours while the owner turns mail off by the link in a mail.
async fn a_patch_of_mail_and_its_end_both_count(backend: Backend) {
    let app = TestApp::new(backend).await;
    let token = admin(&app).await;
    let id = ann(&app, &token, "each").await;
    let (path, link) = (format!("/api/v1/accounts/{id}"), app.service.unsubscribe_token(id));
    for _ in 0..30 {
        call(&app, &token, "PATCH", &path, json!({"mail": "each", "time_zone": null})).await.expect(200);
        let quiet = json!({"quiet_from": 60, "quiet_to": 120});
        let (patched, ended) = tokio::join!(call(&app, &token, "PATCH", &path, quiet), app.service.unsubscribe(&link));
        patched.expect(200);
        ended.unwrap();
        let now = call(&app, &token, "GET", &path, Value::Null).await.expect(200);
        assert_eq!(json!([now["mail"], now["quiet_from"]]), json!(["none", 60]));
    }
}
