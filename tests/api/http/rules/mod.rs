//! Rules: what they do to comments and what they say (`effects`), who writes them (`written`), and that a replay tells the
//! truth (`replay`).

mod effects;
mod replay;
mod written;

use afterword::domain::site::{Policy, Site};
use afterword::storage::accounts::Role;
use reqwest::Method;
use serde_json::{Value, json};

use crate::support::app::{Answer, Moderator, TestApp};
use crate::support::database::Backend;

/// A service whose site `default` publishes at once, without the ready-made rules.
pub async fn open_house(backend: Backend) -> TestApp {
    let app = TestApp::new(backend).await;
    let mut site = Site::clone(&*app.service.sites.by_key("default").unwrap());
    site.policy = Policy::None;
    app.service.update_site(site).await.unwrap();
    let admin = app.moderator("admin@example.org", Role::Admin, &[]).await;
    for rule in admin.get("/rules").await.expect(200)["rules"].as_array().unwrap() {
        let id = rule["id"].as_str().unwrap();
        assert_eq!(app.send(admin.request(Method::DELETE, &format!("/rules/{id}"))).await.status, 204);
    }
    app
}

pub fn rule(name: &str, condition: &Value, effect: &Value) -> Value {
    json!({"site": "default", "name": name, "conditions": [condition], "effect": effect})
}

pub fn says(word: &str) -> Value {
    json!({"on": "body", "is": "contains_word", "values": [word]})
}

pub async fn put(moderator: &Moderator<'_>, app: &TestApp, path: &str, body: &Value) -> Answer {
    app.send(moderator.request(Method::PUT, path).json(body)).await
}

pub async fn patch(moderator: &Moderator<'_>, app: &TestApp, id: &str, body: &Value) -> Answer {
    app.send(moderator.request(Method::PATCH, &format!("/rules/{id}")).json(body)).await
}

pub fn id(rule: &Value) -> String {
    rule["id"].as_str().unwrap().to_owned()
}

/// The whole of a comment as moderators see it.
pub async fn seen(moderator: &Moderator<'_>, answer: &Value) -> Value {
    moderator.get(&format!("/comments/{}", answer["comment"]["id"].as_str().unwrap())).await.expect(200)
}
