//! The plain form: the same rules without script.

use afterword::domain::site::{Policy, Site};
use reqwest::{Method, RequestBuilder};

use crate::support::app::TestApp;
use crate::support::database::{Backend, on_both_databases};

on_both_databases!(
    a_form_leads_back_to_the_page,
    faults_are_a_page_that_keeps_the_text,
    a_form_may_carry_its_key,
    limits_are_a_page_too,
);

async fn app_with_blog(backend: Backend) -> TestApp {
    let app = TestApp::new(backend).await;
    let mut site = Site::clone(&*app.service.sites.by_key("default").unwrap());
    site.url = Some("https://blog.example".into());
    app.service.update_site(site).await.unwrap();
    app
}

fn post(app: &TestApp, fields: &[(&str, &str)]) -> RequestBuilder {
    app.request(Method::POST, "/api/v1/sites/default/comments").form(fields)
}

const FIELDS: [(&str, &str); 4] =
    [("article", "/a"), ("name", "Ada"), ("email", "ada@example.org"), ("body", "Two\r\nlines")];

fn with<'a>(more: &[(&'a str, &'a str)]) -> Vec<(&'a str, &'a str)> {
    FIELDS.iter().filter(|(key, _)| !more.iter().any(|(other, _)| other == key)).chain(more).copied().collect()
}

async fn a_form_leads_back_to_the_page(backend: Backend) {
    let app = app_with_blog(backend).await;
    let fields = with(&[
        ("return_to", "https://blog.example/a?x=1#comments"),
        ("submit", "Send"),
        ("parent_id", ""),
        ("website", ""),
    ]);
    let done = app.send(post(&app, &fields).header("origin", "null")).await;
    assert_eq!((done.status.as_u16(), done.header("location")), (303, "https://blog.example/a?x=1#afterword-pending"));
    let moderator = app.default_moderator().await;
    assert_eq!(moderator.get("/comments").await.expect(200)["comments"][0]["body"], "Two\nlines");
    let mut site = Site::clone(&*app.service.sites.by_key("default").unwrap());
    site.policy = Policy::None;
    app.service.update_site(site).await.unwrap();
    let own = format!("{}/demo/", app.url);
    let done = app.send(post(&app, &with(&[("return_to", &own), ("body", "other")]))).await;
    assert_eq!((done.status.as_u16(), done.header("location")), (303, format!("{own}#afterword-approved").as_str()));
    let beyond_ascii = with(&[("return_to", "https://blog.example/ü?q=ä#ö"), ("body", "in ASCII")]);
    let location = app.send(post(&app, &beyond_ascii)).await.header("location").to_owned();
    assert_eq!(location, "https://blog.example/%C3%BC?q=%C3%A4#afterword-approved");
    let thanks = app.send(post(&app, &with(&[("body", "no way back")]))).await;
    assert_eq!((thanks.status.as_u16(), thanks.header("content-type")), (201, "text/html; charset=utf-8"));
    assert_eq!(app.send(post(&app, &FIELDS).header("origin", "https://evil.example")).await.problem(403), "forbidden");
}

async fn faults_are_a_page_that_keeps_the_text(backend: Backend) {
    let app = app_with_blog(backend).await;
    let fields = [
        ("article", "/a\""),
        ("name", "<b>\"Ada\"</b>"),
        ("email", "nobody"),
        ("body", "</textarea><script>alert(1)</script>"),
        ("return_to", "https://blog.example/a"),
        ("website", "javascript:alert(1)"),
    ];
    let page = app.send(post(&app, &fields)).await;
    assert_eq!(
        (page.status.as_u16(), page.header("content-type"), page.header("cache-control")),
        (422, "text/html; charset=utf-8", "no-store")
    );
    let csp = page.header("content-security-policy");
    assert!(csp.contains("default-src 'none'") && !csp.contains("unsafe"), "{csp}");
    // The redirect back to the blog is part of what `form-action` governs.
    assert!(csp.ends_with("form-action 'self' https://blog.example"), "{csp}");
    let html = page.text();
    assert!(
        !html.contains("<script") && !html.contains("<b>") && !html.contains("name=\"email\" value=\"nobody\"><"),
        "{html}"
    );
    for kept in [
        "&lt;b&gt;&quot;Ada&quot;",
        "nobody",
        "&lt;&#x2f;textarea&gt;&lt;script&gt;alert(1)",
        "It must be an address like name@example.org",
        "return_to",
    ] {
        assert!(html.contains(kept), "{kept}: {html}");
    }
    assert!(html.contains("id=\"email-fault\"") && html.contains("aria-describedby=\"email-fault\""));
    let foreign = app.send(post(&app, &with(&[("return_to", "https://evil.example/")]))).await;
    assert_eq!(foreign.status, 422);
    assert!(foreign.header("content-security-policy").ends_with("form-action 'self'"));
    assert!(foreign.text().contains("return_to: It must be an address on this site."));
    assert_eq!(app.send(post(&app, &FIELDS)).await.status, 202);
    assert_eq!(app.send(post(&app, &FIELDS)).await.status, 409, "a double is a page too");
    assert_eq!(app.send(post(&app, &with(&[("article", "/a"), ("article", "/b")]))).await.status, 422);
    let broken = app
        .request(Method::POST, "/api/v1/sites/default/comments")
        .header("content-type", "application/x-www-form-urlencoded");
    assert_eq!(app.send(broken.body("name=%ff")).await.problem(400), "malformed_request");
}

async fn a_form_may_carry_its_key(backend: Backend) {
    let app = app_with_blog(backend).await;
    let fields = with(&[("idempotency_key", "form-1"), ("return_to", "https://blog.example/")]);
    for _ in 0..3 {
        assert_eq!(app.send(post(&app, &fields)).await.status, 303);
    }
    assert_eq!(app.default_moderator().await.queue("").await.len(), 1);
    for difference in [("body", "other"), ("return_to", "https://blog.example/b"), ("unknown", "x")] {
        let mut other = fields.clone();
        other.retain(|(name, _)| *name != difference.0);
        other.push(difference);
        let reused = app.send(post(&app, &other)).await;
        assert_eq!(reused.status, 422, "{difference:?}");
        assert!(!reused.text().contains("form-1"), "with this key the next try would be refused as well");
    }
}

#[tokio::test]
async fn the_pages_speak_the_language_of_the_site() {
    let app = app_with_blog(Backend::Sqlite).await;
    let mut site = Site::clone(&*app.service.sites.by_key("default").unwrap());
    site.language = "de-AT".into();
    app.service.update_site(site).await.unwrap();
    let thanks = app.send(post(&app, &FIELDS)).await;
    assert!(thanks.text().contains("wartet auf Freigabe") && thanks.text().contains("<html lang=\"de\">"));
    let double = app.send(post(&app, &FIELDS)).await;
    assert!(double.status == 409 && double.text().contains("wurde schon gesendet"), "{}", double.text());
    let faulty = app.send(post(&app, &with(&[("email", "nobody"), ("name", "")]))).await.text();
    for words in [
        "noch einmal ansehen",
        "E-Mail-Adresse wie",
        "Bitte ausfüllen.",
        "Kommentar senden",
        "wird nicht veröffentlicht",
    ] {
        assert!(faulty.contains(words), "{words}: {faulty}");
    }
}

async fn limits_are_a_page_too(backend: Backend) {
    let app = TestApp::build(backend).start().await;
    for n in 0..3 {
        assert_eq!(app.send(post(&app, &with(&[("body", &n.to_string())]))).await.status, 202);
    }
    let limited = app.send(post(&app, &FIELDS)).await;
    assert_eq!(
        (limited.status.as_u16(), limited.header("retry-after"), limited.header("content-type")),
        (429, "15", "text/html; charset=utf-8")
    );
    assert!(limited.text().contains("wait 15 seconds") && limited.text().contains("Two"));
}
