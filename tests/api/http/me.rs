//! One's own data: a link by mail for whoever reads the mail of an address, the same answer for everybody who asks, and
//! what the link opens.

use std::time::Duration;

use afterword::storage::accounts::Role;
use reqwest::Method;
use serde_json::{Value, json};

use super::administration::call;
use crate::support::app::{Answer, TestApp, comment};
use crate::support::database::{Backend, on_both_databases};
use crate::support::mails::Read;

on_both_databases!(
    known_and_unknown_look_the_same,
    the_way_there_is_found,
    people_read_the_language_of_the_site,
    a_link_opens_what_one_wrote,
    links_are_forged_in_vain_and_end,
    three_links_a_day,
    a_correction_waits_as_an_edit_does,
    one_erases_one_and_all,
    mails_are_ended_there,
    pages_of_fifty
);

const READER: &str = "reader@example.net";

async fn ask(app: &TestApp, email: &str) -> Answer {
    app.send(app.request(Method::POST, "/me/default").form(&[("email", email)])).await
}

async fn wrote(app: &TestApp, text: &str) -> String {
    app.clock.advance(Duration::from_secs(1));
    let mut body = comment(text);
    (body["email"], body["name"]) = (json!(READER), json!("Rita"));
    app.submit(&body).await.expect(202)["comment"]["id"].as_str().unwrap().to_owned()
}

/// The path behind the link that is mailed.
async fn link(app: &TestApp) -> String {
    app.run_jobs().await;
    assert_eq!(ask(app, "Reader@Example.NET").await.status, 200);
    let mails = app.run_jobs().await;
    assert_eq!(mails.len(), 1);
    let mail = Read::of(&mails[0]);
    // To whoever asked, in their own spelling.
    assert!(mail.header("To").to_lowercase().contains(READER));
    mail.links("/me/open/").remove(0)
}

async fn post(app: &TestApp, path: &str, form: &[(&str, &str)]) -> Answer {
    app.send(app.request(Method::POST, path).form(form)).await
}

fn is_private(answer: &Answer) {
    for (name, value) in [
        ("cache-control", "no-store"),
        ("referrer-policy", "no-referrer"),
        ("x-robots-tag", "noindex"),
        ("access-control-allow-origin", ""),
    ] {
        assert_eq!(answer.header(name), value, "{name}");
    }
}

async fn known_and_unknown_look_the_same(backend: Backend) {
    let app = TestApp::new(backend).await;
    wrote(&app, "known").await;
    app.run_jobs().await;
    let page = app.get("/me/default").await;
    assert_eq!(page.status, 200);
    is_private(&page);
    assert!(page.text().contains("name=\"email\"") && !page.text().contains("<script"), "{}", page.text());
    let (known, unknown) = (ask(&app, READER).await, ask(&app, "nobody@example.net").await);
    assert_eq!((known.status, &known.body), (unknown.status, &unknown.body));
    let headers = |answer: &Answer| {
        let names = answer.headers.iter().filter(|(name, _)| *name != "x-request-id" && *name != "date");
        names.map(|(name, value)| (name.to_string(), value.clone())).collect::<Vec<_>>()
    };
    assert_eq!(headers(&known), headers(&unknown));
    is_private(&known);
    assert_eq!(crate::support::app::work_left(&app).await, 2, "the same is left to be done for both");
    let mails = app.run_jobs().await;
    assert_eq!(mails.len(), 1, "and one of them finds nothing");
    assert_eq!(ask(&app, "no address").await.status, 422);
    assert_eq!(app.get("/me/nowhere").await.status, 404);
    if backend == Backend::Postgres {
        // There the rings go by the database's clock, which no test holds.
        return;
    }
    let app = TestApp::build(backend).start().await;
    let mut answers = Vec::new();
    for n in 0..5 {
        answers.push(ask(&app, &format!("nobody{n}@example.net")).await.status.as_u16());
    }
    assert_eq!(answers, [200, 200, 200, 429, 429], "the ring of the address");
}

async fn the_way_there_is_found(backend: Backend) {
    let app = TestApp::new(backend).await;
    let begin = app.get("/me/").await;
    let form = format!("{}/me/default", app.url);
    assert_eq!((begin.status.as_u16(), begin.header("location")), (303, form.as_str()));
    assert_eq!((begin.header("cache-control"), begin.header("referrer-policy")), ("no-store", "no-referrer"));
    let bare = app.get("/me").await;
    assert!(bare.status.is_redirection() && bare.header("location") == "/me/", "{:?}", bare.headers);
    let admin = app.moderator("admin@example.org", Role::Admin, &[]).await.token;
    let second = json!({"key": "other", "name": "Another <blog>", "url": "https://secret.example"});
    call(&app, &admin, "POST", "/api/v1/sites", second).await.expect(201);
    let page = app.get("/me/").await;
    is_private(&page);
    assert!(page.text().contains("Below the form at the end of each article"), "{}", page.text());
    for guest in ["Another", "My site", "other", "secret"] {
        assert!(!page.text().contains(guest), "who else is here: {}", page.text());
    }
}

async fn people_read_the_language_of_the_site(backend: Backend) {
    let app = TestApp::new(backend).await;
    let admin = app.moderator("admin@example.org", Role::Admin, &[]).await.token;
    let changes = json!({"language": "de-AT", "name": "Werkbank & Co"});
    call(&app, &admin, "PATCH", "/api/v1/sites/default", changes).await.expect(200);
    let mut body = comment("Hallo");
    (body["email"], body["notify"]) = (json!(READER), json!(true));
    let id = app.submit(&body).await.expect(202)["comment"]["id"].as_str().unwrap().to_owned();
    // Administrators get mails of their own.
    let told = async || {
        let mails: Vec<Read> = app.run_jobs().await.iter().map(|mail| Read::of(mail)).collect();
        mails.into_iter().find(|mail| mail.header("To").to_lowercase().contains(READER)).unwrap()
    };
    let question = told().await;
    assert!(question.text.contains("Jemand hat auf Werkbank & Co mit dieser E-Mail-Adresse"), "{}", question.text);
    assert!(question.html.contains("<html lang=\"de\">") && question.html.contains("Werkbank &amp; Co"));
    assert!(question.header("Subject").contains("Antworten melden?"), "{:?}", question.headers);
    let yes = question.links("/c/").remove(0);
    let page = app.get(&yes).await.text();
    assert!(page.contains("<html lang=\"de\">") && page.contains("Ja, Antworten melden"), "{page}");
    assert!(post(&app, &yes, &[]).await.text().contains("Sie erfahren von Antworten"));
    assert!(app.get(&question.links("/n/")[0]).await.text().contains("Schreiben Sie mir nie wieder"));
    app.default_moderator().await.decide(&id, "approve").await.expect(200);
    let news = told().await;
    assert!(news.text.contains("Ihr Kommentar zu „/a“ ist jetzt öffentlich."), "{}", news.text);
    let asked = app.get("/me/default").await.text();
    assert!(asked.contains("Was Sie geschrieben haben") && asked.contains("Werkbank &amp; Co"), "{asked}");
    let wrong = ask(&app, "keine Adresse").await;
    assert!(wrong.status == 422 && wrong.text().contains("Bitte geben Sie eine E-Mail-Adresse"), "{}", wrong.text());
    assert!(ask(&app, READER).await.text().contains("Sehen Sie in Ihre E-Mails"));
    let mail = told().await;
    assert!(mail.header("Subject").contains("Was Sie geschrieben haben"), "{:?}", mail.headers);
    let link = mail.links("/me/open/").remove(0);
    let all = app.get(&link).await.text();
    for words in ["Als JSON-Datei mitnehmen", "zu „&#x2f;a“", "Keine E-Mails mehr", "Alles löschen"] {
        assert!(all.contains(words), "{words}: {all}");
    }
    let place = format!("{link}/comments/{id}");
    assert!(app.get(&place).await.text().contains("Diesen Kommentar löschen"));
    let done = post(&app, &place, &[("do", "correct"), ("name", "Rita"), ("body", "Hallo!")]).await;
    assert!(done.text().contains("wartet auf Freigabe"), "{}", done.text());
    let gone = post(&app, &link, &[("do", "erase"), ("sure", "1")]).await;
    assert!(gone.text().contains("1 Kommentar ist gelöscht"), "{}", gone.text());
}

async fn a_link_opens_what_one_wrote(backend: Backend) {
    let app = TestApp::new(backend).await;
    let first = wrote(&app, "first *words*").await;
    wrote(&app, "second words").await;
    app.comment("somebody else's").await;
    let link = link(&app).await;
    for _ in 0..3 {
        let page = app.get(&link).await;
        is_private(&page);
        let text = page.text();
        assert!(text.contains("first <em>words</em>") && text.contains("second words"), "{text}");
        assert!(!text.contains("somebody else") && !text.contains("<script"), "{text}");
    }
    let file = app.get(&format!("{link}/export")).await;
    is_private(&file);
    let exported = file.json();
    assert_eq!((&exported["email"], &exported["site"]), (&json!("Reader@Example.NET"), &json!("default")));
    let comments = exported["comments"].as_array().unwrap();
    assert_eq!(comments.len(), 2);
    assert_eq!((&comments[0]["id"], &comments[0]["body"]), (&json!(first), &json!("first *words*")));
    assert_eq!((&comments[0]["status"], &comments[0]["email"]), (&json!("pending"), &json!(READER)));
    // The address was typed, and a typed address proves nothing: who sent it may be somebody else.
    for private in ["address", "user_agent", "hold_reasons"] {
        assert!(comments[0].get(private).is_none(), "{private}");
    }
    assert_eq!(app.get(&format!("{link}/comments/{first}")).await.status, 200);
    let other = app.comment("another one's").await["comment"]["id"].as_str().unwrap().to_owned();
    for id in [other.as_str(), "nonsense"] {
        assert_eq!(app.get(&format!("{link}/comments/{id}")).await.status, 404);
        assert_eq!(post(&app, &format!("{link}/comments/{id}"), &[("do", "erase")]).await.status, 404);
    }
    assert_eq!(crate::support::app::work_left(&app).await, 1, "what the last comment left");
}

async fn links_are_forged_in_vain_and_end(backend: Backend) {
    let app = TestApp::new(backend).await;
    let id = wrote(&app, "mine").await;
    let link = link(&app).await;
    let token = link.strip_prefix("/me/open/").unwrap();
    for n in (0..token.len()).step_by(7) {
        let letter = if token.as_bytes()[n] == b'A' { "B" } else { "A" };
        let forged = format!("/me/open/{}{letter}{}", &token[..n], &token[n + 1..]);
        for path in [forged.clone(), format!("{forged}/export"), format!("{forged}/comments/{id}")] {
            assert_eq!(app.get(&path).await.status, 404, "{path}");
        }
        assert_eq!(post(&app, &forged, &[("do", "erase"), ("sure", "1")]).await.status, 404);
    }
    for other in [format!("/c/{token}"), format!("/n/{token}"), format!("/m/{token}"), format!("/u/{token}")] {
        assert_eq!(app.get(&other).await.status, 404, "each kind has a key of its own");
    }
    app.clock.advance(Duration::from_mins(59));
    assert_eq!(app.get(&link).await.status, 200);
    app.clock.advance(Duration::from_mins(1));
    for path in [link.clone(), format!("{link}/export"), format!("{link}/comments/{id}")] {
        assert_eq!(app.get(&path).await.status, 410, "{path}");
    }
    // Whose it was is not known any more, so it is the reader's language that counts.
    let french = app.request(Method::GET, &link).header("accept-language", "fr-CH, fr;q=0.9, en;q=0.8");
    let french = app.send(french).await.text();
    assert!(french.contains("<html lang=\"fr\">") && french.contains("valables une heure"), "{french}");
    assert_eq!(post(&app, &link, &[("do", "erase"), ("sure", "1")]).await.status, 410);
    assert_eq!(app.default_moderator().await.queue("").await, [id]);
}

async fn three_links_a_day(backend: Backend) {
    let app = TestApp::new(backend).await;
    wrote(&app, "mine").await;
    app.run_jobs().await;
    let mut left = 0;
    for _ in 0..10 {
        assert_eq!(ask(&app, READER).await.status, 200);
        left += app.run_jobs().await.len();
    }
    assert_eq!(left, 3);
    app.clock.advance(Duration::from_hours(25));
    ask(&app, READER).await;
    assert_eq!(app.run_jobs().await.len(), 1);
    let app = TestApp::build(backend).set("limits__enabled", "false").set("people__hourly_links", "2").start().await;
    for n in 0..4 {
        let mut body = comment(&format!("text {n}"));
        body["email"] = json!(format!("reader{n}@example.net"));
        app.submit(&body).await.expect(202);
        ask(&app, &format!("reader{n}@example.net")).await;
    }
    assert_eq!(app.run_jobs().await.len(), 2, "the ceiling in all");
}

async fn shown(app: &TestApp) -> Value {
    app.list("").await["comments"].clone()
}

async fn a_correction_waits_as_an_edit_does(backend: Backend) {
    let app = TestApp::new(backend).await;
    let moderator = app.default_moderator().await;
    let id = wrote(&app, "a tpyo").await;
    moderator.decide(&id, "approve").await.expect(200);
    app.clock.advance(Duration::from_hours(24 * 30));
    let link = link(&app).await;
    let place = format!("{link}/comments/{id}");
    assert!(app.get(&place).await.text().contains("a tpyo"));
    let bad = post(&app, &place, &[("do", "correct"), ("name", ""), ("body", "kept")]).await;
    assert!(bad.status == 422 && bad.text().contains("kept"), "{}", bad.text());
    let done = post(&app, &place, &[("do", "correct"), ("name", "Rita"), ("body", "a typo")]).await;
    assert!(done.status == 200 && done.text().contains("waits for approval"), "{}", done.text());
    assert_eq!(shown(&app).await[0]["body_html"], "<p>a tpyo</p>", "the approved text stays");
    moderator.decide(&id, "approve").await.expect(200);
    assert_eq!(shown(&app).await[0]["body_html"], "<p>a typo</p>");
}

async fn one_erases_one_and_all(backend: Backend) {
    let app = TestApp::new(backend).await;
    let moderator = app.default_moderator().await;
    let (root, lone) = (wrote(&app, "with an answer").await, wrote(&app, "alone").await);
    for id in [&root, &lone] {
        moderator.decide(id, "approve").await.expect(200);
    }
    app.clock.advance(Duration::from_secs(1));
    let answer = app.published("the answer", Some(&root)).await;
    let link = link(&app).await;
    let erased = post(&app, &format!("{link}/comments/{lone}"), &[("do", "erase")]).await;
    assert_eq!((erased.status.as_u16(), erased.header("location")), (303, format!("{}{link}", app.url).as_str()));
    assert_eq!(app.listed("").await, [root.clone(), answer.clone()]);
    assert_eq!(post(&app, &link, &[("do", "erase")]).await.status, 303, "not without the tick");
    assert_eq!(app.listed("").await, [root.clone(), answer.clone()]);
    let done = post(&app, &link, &[("do", "erase"), ("sure", "1")]).await;
    assert!(done.status == 200 && done.text().contains("1 comment is gone"), "{}", done.text());
    assert_eq!(app.listed("").await, [format!("-{root}"), answer]);
    assert_eq!(app.list("").await["article"]["comment_count"], 1);
    assert_eq!(app.get(&link).await.status, 410, "the link goes with it");
    ask(&app, READER).await;
    assert!(app.run_jobs().await.is_empty(), "nobody knows the address any more");
}

async fn mails_are_ended_there(backend: Backend) {
    let app = TestApp::new(backend).await;
    let mut body = comment("tell me");
    (body["email"], body["notify"]) = (json!(READER), json!(true));
    let id = app.submit(&body).await.expect(202)["comment"]["id"].as_str().unwrap().to_owned();
    let question = Read::of(&app.run_jobs().await[0]);
    assert_eq!(post(&app, &question.links("/c/")[0], &[]).await.status, 200);
    let link = link(&app).await;
    assert!(app.get(&link).await.text().contains("No more mails"));
    assert_eq!(post(&app, &link, &[("do", "end")]).await.status, 303);
    assert!(!app.get(&link).await.text().contains("No more mails"));
    app.clock.advance(Duration::from_secs(1));
    app.default_moderator().await.decide(&id, "approve").await.expect(200);
    assert!(app.run_jobs().await.is_empty());
}

async fn pages_of_fifty(backend: Backend) {
    let app = TestApp::new(backend).await;
    for n in 0..52 {
        wrote(&app, &format!("number {n}.")).await;
    }
    let link = link(&app).await;
    let page = app.get(&link).await.text();
    assert_eq!(page.matches("<article").count(), 50);
    let next = page.split("?after=").nth(1).unwrap().split('"').next().unwrap();
    let second = app.get(&format!("{link}?after={next}")).await.text();
    assert!(second.matches("<article").count() == 2 && second.contains("number 51."), "{second}");
    let exported = app.get(&format!("{link}/export")).await.json();
    assert_eq!(exported["comments"].as_array().unwrap().len(), 52);
}
