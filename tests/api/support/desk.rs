//! A browser at the desk: it keeps its cookies, and sends what a page of ours sends.

use std::fmt::Write;

use afterword::domain::email::Email;
use afterword::domain::ids::AccountId;
use afterword::domain::password::Password;
use afterword::service::accounts::NewAccount;
use afterword::storage::accounts::Role;
use reqwest::{Method, RequestBuilder};
use serde_json::{Value, json};

use super::app::{Answer, TestApp};

/// What everybody has here.
pub const PASSWORD: &str = "a few words in a row";

/// A browser that is signed in.
#[derive(Clone)]
pub struct Desk<'a> {
    pub app: &'a TestApp,
    /// `name=value` of the session.
    pub cookie: String,
    /// The same of the mark of this browser.
    pub device: String,
    pub csrf: String,
    /// What signing in answered.
    pub told: Value,
}

/// The `Set-Cookie` lines of an answer.
pub fn cookies(answer: &Answer) -> Vec<String> {
    answer.headers.get_all("set-cookie").iter().map(|value| value.to_str().unwrap().to_owned()).collect()
}

impl<'a> Desk<'a> {
    /// The browser after this answer to signing in.
    pub fn of(app: &'a TestApp, answer: Answer) -> Self {
        let pairs: Vec<String> =
            cookies(&answer).iter().map(|line| line.split(';').next().unwrap().to_owned()).collect();
        let told = answer.expect(201);
        let csrf = told["csrf_token"].as_str().unwrap().to_owned();
        let [cookie, device] = pairs.try_into().expect("two cookies");
        Self { app, cookie, device, csrf, told }
    }

    /// As a page of the desk sends it.
    pub fn request(&self, method: Method, path: &str) -> RequestBuilder {
        let request = self.app.request(method, path).header("cookie", &self.cookie);
        request.header("origin", &self.app.url).header("x-csrf-token", &self.csrf)
    }

    pub async fn get(&self, path: &str) -> Answer {
        self.app.send(self.request(Method::GET, path)).await
    }

    pub async fn delete(&self, path: &str) -> Answer {
        self.app.send(self.request(Method::DELETE, path)).await
    }

    pub async fn send(&self, method: Method, path: &str, body: &Value) -> Answer {
        self.app.send(self.request(method, path).json(body)).await
    }

    pub async fn post(&self, path: &str, body: &Value) -> Answer {
        self.send(Method::POST, path, body).await
    }

    /// Whether the session is worth anything.
    pub async fn is_in(&self) -> bool {
        let answer = self.get("/api/v1/session").await;
        let is_in = answer.status.as_u16() == 200;
        assert!(is_in || answer.problem(401) == "unauthenticated");
        is_in
    }

    /// Switches a second factor on; returns its secret and the recovery codes.
    pub async fn second_factor(&self) -> (Vec<u8>, Vec<String>) {
        let proposed = self.post("/api/v1/account/totp", &json!({"password": PASSWORD})).await.expect(200);
        let secret = totp_rs::Secret::try_from_base32(proposed["secret"].as_str().unwrap()).unwrap();
        let secret = secret.as_bytes().to_vec();
        let code = code(self.app, &secret);
        let confirmed = self.send(Method::PUT, "/api/v1/account/totp", &json!({"code": code})).await.expect(200);
        let codes = confirmed["recovery_codes"].as_array().unwrap();
        (secret, codes.iter().map(|code| code.as_str().unwrap().to_owned()).collect())
    }
}

/// The code of a secret at this moment of the service's clock.
pub fn code(app: &TestApp, secret: &[u8]) -> String {
    let totp = totp_rs::Builder::new().with_secret(totp_rs::Secret::new(secret.into())).build_noncompliant();
    let seconds = u64::try_from(app.service.clock.now().0 / 1_000_000).unwrap();
    let mut text = String::new();
    write!(text, "{}", totp.generate(seconds)).unwrap();
    text
}

impl TestApp {
    /// An account with [`PASSWORD`]; a moderator has the site `default`.
    pub async fn account(&self, email: &str, role: Role) -> AccountId {
        let site = self.service.sites.by_key("default").unwrap().id;
        let sites = if role == Role::Moderator { vec![site] } else { Vec::new() };
        let email = Email::parse(email, "email").unwrap();
        let password = Some(Password::choose(PASSWORD, &email).unwrap());
        self.service.add_account(NewAccount { email, role, sites, password }).await.unwrap()
    }

    /// Tries to sign in.
    pub async fn try_sign_in(&self, body: &Value) -> Answer {
        self.send(self.request(Method::POST, "/api/v1/session").header("origin", &self.url).json(body)).await
    }

    /// Signs in with [`PASSWORD`].
    pub async fn signed_in(&self, email: &str) -> Desk<'_> {
        Desk::of(self, self.try_sign_in(&json!({"email": email, "password": PASSWORD})).await)
    }

    /// An account that has just signed in.
    pub async fn desk(&self, email: &str, role: Role) -> Desk<'_> {
        self.account(email, role).await;
        self.signed_in(email).await
    }
}
