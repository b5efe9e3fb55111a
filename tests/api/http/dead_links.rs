//! Links in mails that have left die with the mailbox and the rights of whoever got them, and do not come back to life.

use std::time::Duration;

use afterword::domain::email::Email;
use afterword::storage::accounts::Role;
use serde_json::{Value, json};

use super::administration::call;
use crate::support::app::TestApp;
use crate::support::database::{Backend, on_both_databases};
use crate::support::mails::Read;

on_both_databases!(links_do_not_outlive_a_change_of_address, links_stay_dead_when_an_account_is_enabled_again);

/// The links of a mail about a new comment: one that approves it, and the one that turns mail off.
async fn mailed(app: &TestApp, text: &str) -> [String; 2] {
    app.clock.advance(Duration::from_secs(1));
    app.comment(text).await;
    let mails = app.run_jobs().await;
    assert_eq!(mails.len(), 1, "{mails:?}");
    let mail = Read::of(&mails[0]);
    [mail.links("/m/")[0].clone(), mail.links("/u/")[0].clone()]
}

async fn statuses(app: &TestApp, links: &[String; 2]) -> [u16; 2] {
    [app.get(&links[0]).await.status.as_u16(), app.get(&links[1]).await.status.as_u16()]
}

/// What an administrator changes of the moderator.
struct Office<'a> {
    app: &'a TestApp,
    path: String,
    token: String,
}

impl<'a> Office<'a> {
    async fn of(app: &'a TestApp) -> Self {
        app.default_moderator().await;
        let admin = app.moderator("admin@example.org", Role::Admin, &[]).await;
        let email = Email::parse("mod@example.org", "email").unwrap();
        let account = app.service.account_by_email(&email).await.unwrap();
        Self { app, path: format!("/api/v1/accounts/{}", account.id), token: admin.token }
    }

    async fn change(&self, patch: Value) {
        self.app.clock.advance(Duration::from_secs(1));
        call(self.app, &self.token, "PATCH", &self.path, patch).await.expect(200);
    }
}

async fn links_do_not_outlive_a_change_of_address(backend: Backend) {
    let app = TestApp::new(backend).await;
    let office = Office::of(&app).await;
    let links = mailed(&app, "to the old address").await;
    office.change(json!({"name": "Another name", "email": "mod@example.org"})).await;
    assert_eq!(statuses(&app, &links).await, [200, 200], "the same address");
    office.change(json!({"email": "new@example.org"})).await;
    assert_eq!(statuses(&app, &links).await, [404, 404]);
    assert_eq!(app.send(app.request(reqwest::Method::POST, &links[0])).await.status, 404);
    assert_eq!(app.send(app.request(reqwest::Method::POST, &links[1])).await.status, 404);
    let new = mailed(&app, "to the new address").await;
    assert_eq!(statuses(&app, &new).await, [200, 200]);
    office.change(json!({"email": "mod@example.org"})).await;
    assert_eq!(statuses(&app, &links).await, [404, 404], "also when the old address comes back");
}

async fn links_stay_dead_when_an_account_is_enabled_again(backend: Backend) {
    let app = TestApp::new(backend).await;
    let office = Office::of(&app).await;
    let links = mailed(&app, "before").await;
    office.change(json!({"disabled": true})).await;
    assert_eq!(statuses(&app, &links).await, [404, 404]);
    office.change(json!({"disabled": false})).await;
    assert_eq!(statuses(&app, &links).await, [404, 404]);
    let new = mailed(&app, "after").await;
    assert_eq!(statuses(&app, &new).await, [200, 200]);
}
