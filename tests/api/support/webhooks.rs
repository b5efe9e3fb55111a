//! Webhooks in tests: a service that may send to this machine, and an administrator who looks after its webhooks.

use afterword::storage::accounts::Role;
use reqwest::Method;
use serde_json::Value;

use super::app::{Answer, TestApp};
use super::database::Backend;
use super::receiver::Received;

pub async fn service(backend: Backend) -> TestApp {
    TestApp::build(backend).set("limits__enabled", "false").set("webhooks__allowed_networks", "127.0.0.1").start().await
}

/// An administrator who looks after webhooks.
pub struct Admin<'a> {
    pub app: &'a TestApp,
    pub token: String,
}

impl Admin<'_> {
    pub async fn of(app: &TestApp) -> Admin<'_> {
        Admin { app, token: app.moderator("admin@example.org", Role::Admin, &[]).await.token }
    }

    pub async fn ask(&self, method: Method, path: &str, body: Option<Value>) -> Answer {
        let mut request = self.app.request(method, &format!("/api/v1/webhooks{path}")).bearer_auth(&self.token);
        if let Some(body) = body {
            request = request.json(&body);
        }
        self.app.send(request).await
    }

    pub async fn add(&self, body: Value) -> Value {
        self.ask(Method::POST, "", Some(body)).await.expect(201)
    }

    /// The log of a webhook, the latest first: result, status code, attempt.
    pub async fn log(&self, hook: &Value) -> Vec<Value> {
        let path = format!("/{}/deliveries", hook["id"].as_str().unwrap());
        self.ask(Method::GET, &path, None).await.expect(200)["deliveries"].as_array().unwrap().clone()
    }
}

pub fn id(value: &Value) -> String {
    value["id"].as_str().unwrap().to_owned()
}

pub fn kinds(received: &[Received]) -> Vec<String> {
    received.iter().map(Received::kind).collect()
}
