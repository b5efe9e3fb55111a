//! A whole service in this process: real HTTP on a port of its own, a real database, a clock that tests move, mails into
//! memory. Jobs run when a test says so; when the app goes, no job may be left over that the test did not expect.

use std::collections::HashMap;
use std::path::PathBuf;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use afterword::app::{App, Parts};
use afterword::config::Config;
use afterword::domain::email::Email;
use afterword::domain::site::Site;
use afterword::mail::Mailer;
use afterword::mail::message::Mail;
use afterword::service::Service;
use afterword::service::accounts::NewAccount;
use afterword::storage::accounts::Role;
use afterword::storage::outbox;
use reqwest::{Client, Method, RequestBuilder, Response, StatusCode};
use serde_json::{Value, json};
use tokio_util::sync::CancellationToken;

use super::clock::FakeClock;
use super::database::{Backend, TestDatabase};

/// What a test asks for before the service starts.
pub struct Builder {
    database: TestDatabase,
    settings: HashMap<String, String>,
    real_mail: bool,
    /// Another instance's; none: one of its own.
    key: Option<PathBuf>,
    patience: Duration,
    heartbeat: Duration,
    by_name: bool,
}

/// A running service.
pub struct TestApp {
    pub url: String,
    pub clock: Arc<FakeClock>,
    pub service: Arc<Service>,
    pub client: Client,
    pub config: Config,
    app: Arc<App>,
    mails: Arc<Mutex<Vec<Mail>>>,
    stop: CancellationToken,
    serving: Option<tokio::task::JoinHandle<()>>,
    database: TestDatabase,
    folder: tempfile::TempDir,
}

/// An answer, read whole.
#[derive(Debug)]
pub struct Answer {
    pub status: StatusCode,
    pub headers: reqwest::header::HeaderMap,
    pub body: Vec<u8>,
}

impl Answer {
    pub async fn of(response: Response) -> Self {
        let (status, headers) = (response.status(), response.headers().clone());
        Self { status, headers, body: response.bytes().await.unwrap().to_vec() }
    }

    pub fn json(&self) -> Value {
        serde_json::from_slice(&self.body).unwrap_or_else(|_| panic!("{} {}", self.status, self.text()))
    }

    pub fn text(&self) -> String {
        String::from_utf8_lossy(&self.body).into_owned()
    }

    pub fn header(&self, name: &str) -> &str {
        self.headers.get(name).map_or("", |value| value.to_str().unwrap())
    }

    /// The body, after checking the status.
    pub fn expect(self, status: u16) -> Value {
        assert_eq!(self.status.as_u16(), status, "{}", self.text());
        if self.body.is_empty() { Value::Null } else { self.json() }
    }

    /// The code of a problem, after checking the status.
    pub fn problem(self, status: u16) -> String {
        assert_eq!(self.header("content-type"), "application/problem+json", "{}", self.text());
        self.expect(status)["code"].as_str().unwrap().to_owned()
    }

    /// `field code` of each fault, in order.
    pub fn faults(self) -> Vec<String> {
        let problem = self.expect(422);
        let faults = problem["errors"].as_array().cloned().unwrap_or_default();
        faults.iter().map(|f| format!("{} {}", f["field"].as_str().unwrap(), f["code"].as_str().unwrap())).collect()
    }
}

impl Builder {
    /// A setting, as the environment would give it: `limits__enabled`.
    pub fn set(mut self, key: &str, value: &str) -> Self {
        self.settings.insert(format!("AFTERWORD__{}", key.to_uppercase()), value.to_owned());
        self
    }

    /// Mail leaves as the settings say, not into memory.
    pub fn real_mail(mut self) -> Self {
        self.real_mail = true;
        self
    }

    /// How long it waits for the rate limits that instances share.
    pub fn patience(mut self, patience: Duration) -> Self {
        self.patience = patience;
        self
    }

    /// How often streams show a sign of life.
    pub fn heartbeat(mut self, heartbeat: Duration) -> Self {
        self.heartbeat = heartbeat;
        self
    }

    /// Its address has a host name, `localhost`, and not a number.
    #[cfg(feature = "passkeys")]
    pub fn by_name(mut self) -> Self {
        self.by_name = true;
        self
    }

    pub async fn start(mut self) -> TestApp {
        let folder = tempfile::tempdir().unwrap();
        let key = self.key.take().unwrap_or_else(|| folder.path().join("secret.key"));
        let listener = App::listen("127.0.0.1:0".parse().unwrap()).unwrap();
        let address = listener.local_addr().unwrap();
        let host = if self.by_name { "localhost" } else { "127.0.0.1" };
        let url = format!("http://{host}:{}", address.port());
        self = self.set("server__listen", &address.to_string());
        if self.by_name {
            self = self.set("server__public_url", &url);
        }
        self = self.set("server__workers", "2");
        for (setting, value) in self.database.variables() {
            self = self.set(setting, &value);
        }
        self = self.set("database__pool_size", "2");
        self = self.set("secrets__key_file", key.to_str().unwrap());
        let config = Config::load(None, self.settings.clone().into_iter().collect()).unwrap();
        let (clock, mails) = (Arc::new(FakeClock::default()), Arc::new(Mutex::new(Vec::new())));
        let mailer = (!self.real_mail).then(|| Mailer::Memory(mails.clone()));
        let parts = Parts { clock: clock.clone(), mailer, patience: self.patience, heartbeat: self.heartbeat };
        let app = Arc::new(App::build(&config, parts).await.unwrap());
        let stop = CancellationToken::new();
        let (serving, token) = (app.clone(), stop.clone());
        let serving = tokio::spawn(async move { serving.serve(listener, token).await.unwrap() });
        TestApp {
            url,
            clock,
            service: app.service.clone(),
            client: Client::builder().redirect(reqwest::redirect::Policy::none()).build().unwrap(),
            config,
            app,
            mails,
            stop,
            serving: Some(serving),
            database: self.database,
            folder,
        }
    }
}

impl TestApp {
    /// What its handlers work with.
    pub fn state(&self) -> actix_web::web::Data<afterword::http::State> {
        self.app.state.clone()
    }

    /// A service without rate limits; most tests are about something else.
    pub async fn new(backend: Backend) -> Self {
        Self::build(backend).set("limits__enabled", "false").start().await
    }

    /// A service with settings of the test's own; its rate limits are the defaults.
    pub fn build(backend: Backend) -> Builder {
        Self::on(TestDatabase::new(backend))
    }

    /// A service on a database of one's own choice.
    pub fn on(database: TestDatabase) -> Builder {
        // Nobody's patience decides a test, unless it says so.
        Builder {
            database,
            settings: HashMap::new(),
            real_mail: false,
            key: None,
            patience: Duration::from_mins(1),
            heartbeat: Duration::from_mins(1),
            by_name: false,
        }
    }

    /// Another instance on the same database and key, with a clock of its own; the first one must outlive it.
    pub fn another(&self) -> Builder {
        Builder { key: Some(self.folder.path().join("secret.key")), ..Self::on(self.database.beside()) }
    }

    /// The URL of the database.
    pub fn database_url(&self) -> &str {
        &self.database.settings.url
    }

    pub fn request(&self, method: Method, path: &str) -> RequestBuilder {
        self.client.request(method, format!("{}{path}", self.url))
    }

    pub async fn send(&self, request: RequestBuilder) -> Answer {
        Answer::of(request.send().await.unwrap()).await
    }

    pub async fn get(&self, path: &str) -> Answer {
        self.send(self.request(Method::GET, path)).await
    }

    pub async fn post(&self, path: &str, body: &Value) -> Answer {
        self.send(self.request(Method::POST, path).json(body)).await
    }

    /// The `SQLite` file.
    pub fn database_file(&self) -> &str {
        self.database.settings.url.strip_prefix("sqlite:").unwrap()
    }

    /// Sends a comment to the site `default`.
    pub async fn submit(&self, body: &Value) -> Answer {
        self.post("/api/v1/sites/default/comments", body).await
    }

    /// Sends a legal comment with this text to `/a`, which must be held or published; returns the answer.
    pub async fn comment(&self, text: &str) -> Value {
        self.submit(&comment(text)).await.expect(202)
    }

    /// Sends a legal comment and approves it; returns its id.
    pub async fn published(&self, text: &str, parent: Option<&str>) -> String {
        let mut body = comment(text);
        if let Some(parent) = parent {
            body["parent_id"] = json!(parent);
        }
        let id = self.submit(&body).await.expect(202)["comment"]["id"].as_str().unwrap().to_owned();
        let moderator = self.moderator("approver@example.org", Role::Admin, &[]).await;
        moderator.decide(&id, "approve").await.expect(200);
        id
    }

    /// An account with a token; made on the first call.
    pub async fn moderator(&self, email: &str, role: Role, sites: &[&Site]) -> Moderator<'_> {
        let email = Email::parse(email, "email").unwrap();
        let new = NewAccount {
            email: email.clone(),
            role,
            sites: sites.iter().map(|site| site.id).collect(),
            password: None,
        };
        // The second call finds it there.
        let _ = self.service.add_account(new).await;
        let account = self.service.account_by_email(&email).await.unwrap();
        let token = self.service.create_token(account.id, "test".into(), Duration::from_hours(8760)).await.unwrap();
        Moderator { app: self, token }
    }

    /// A moderator of the site `default`.
    pub async fn default_moderator(&self) -> Moderator<'_> {
        let site = self.service.sites.by_key("default").unwrap();
        self.moderator("mod@example.org", Role::Moderator, &[&site]).await
    }

    /// Does all jobs that are due; returns the mails that left since the last call.
    pub async fn run_jobs(&self) -> Vec<String> {
        self.app.worker.run_once().await.unwrap();
        let mails: Vec<Mail> = std::mem::take(&mut self.mails.lock().unwrap());
        mails.iter().map(|mail| String::from_utf8(mail.message.formatted()).unwrap()).collect()
    }

    /// Lets the jobs run as they do in service, until the token is cancelled.
    pub fn keep_working(&self) -> CancellationToken {
        let stop = self.stop.child_token();
        tokio::spawn(self.app.worker.clone().run(stop.clone()));
        stop
    }

    /// Stops it as a signal does, and waits until it has stopped.
    pub async fn drain(&mut self) {
        self.stop.cancel();
        if let Some(serving) = self.serving.take() {
            serving.await.unwrap();
        }
    }

    /// The mails that left since they were last asked for.
    pub fn mails_left(&self) -> usize {
        self.mails.lock().unwrap().len()
    }

    /// The list of `/a`.
    pub async fn list(&self, query: &str) -> Value {
        self.get(&format!("/api/v1/sites/default/comments?article=/a{query}")).await.expect(200)
    }

    /// The ids of the list of `/a`; `-` marks one that was removed.
    pub async fn listed(&self, query: &str) -> Vec<String> {
        let list = self.list(query).await;
        let mark = |row: &Value| {
            let id = row["id"].as_str().unwrap();
            if row["removed"] == json!(true) { format!("-{id}") } else { id.to_owned() }
        };
        list["comments"].as_array().unwrap().iter().map(mark).collect()
    }
}

impl Drop for TestApp {
    fn drop(&mut self) {
        self.stop.cancel();
        if let Some(serving) = self.serving.take() {
            serving.abort();
        }
    }
}

/// A legal comment on `/a`.
pub fn comment(text: &str) -> Value {
    json!({"article": "/a", "name": "Ada", "email": "ada@example.org", "body": text})
}

/// Someone with an access token.
pub struct Moderator<'a> {
    app: &'a TestApp,
    pub token: String,
}

impl<'a> Moderator<'a> {
    /// The same token at another instance.
    pub fn at(app: &'a TestApp, token: String) -> Self {
        Self { app, token }
    }

    pub fn request(&self, method: Method, path: &str) -> RequestBuilder {
        self.app.request(method, &format!("/api/v1/moderation{path}")).bearer_auth(&self.token)
    }

    pub async fn get(&self, path: &str) -> Answer {
        self.app.send(self.request(Method::GET, path)).await
    }

    pub async fn post(&self, path: &str, body: &Value) -> Answer {
        self.app.send(self.request(Method::POST, path).json(body)).await
    }

    pub async fn decide(&self, id: &str, decision: &str) -> Answer {
        self.app.send(self.request(Method::POST, &format!("/comments/{id}/{decision}"))).await
    }

    /// The ids of the queue.
    pub async fn queue(&self, query: &str) -> Vec<String> {
        let queue = self.get(&format!("/comments{query}")).await.expect(200);
        queue["comments"].as_array().unwrap().iter().map(|row| row["id"].as_str().unwrap().to_owned()).collect()
    }
}

/// How much work is left in the outbox.
pub async fn work_left(app: &TestApp) -> i64 {
    app.service.db.read(outbox::depth).await.unwrap().waiting
}
