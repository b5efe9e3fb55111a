//! Real hostile data through the API: no 5xx, no hang, a round trip that is exact or a documented 4xx, nothing executable in
//! `body_html`.

use afterword::domain::text::tidy;
use reqwest::Method;
use serde_json::{Value, json};

use crate::support::app::TestApp;
use crate::support::database::{Backend, on_both_databases};
use crate::support::testdata;

on_both_databases!(naughty_strings_come_back_unchanged_or_are_refused);

const SUBMIT: &str = "/api/v1/sites/default/comments";

/// Documented codes of refused texts.
const TEXT_FAULTS: [&str; 5] = ["required", "illegal_character", "too_many_marks", "too_long", "invalid_url"];

async fn naughty_strings_come_back_unchanged_or_are_refused(backend: Backend) {
    let Some(strings) = testdata::strings("naughty/blns.json", None) else { return };
    let app = TestApp::new(backend).await;
    let moderator = app.default_moderator().await;
    let mut taken = 0;
    for (n, text) in strings.iter().enumerate() {
        for field in ["name", "body", "website", "article_title", "article"] {
            let mut body = json!({"article": format!("/{n}"), "name": "Ada", "email": "ada@example.org", "body": format!("{n} {field}")});
            body[field] = json!(text);
            let answer = app.submit(&body).await;
            if answer.status == 422 {
                for fault in answer.faults() {
                    let (at, code) = fault.split_once(' ').unwrap();
                    assert!(at == field && TEXT_FAULTS.contains(&code), "{field} {text:?}: {fault}");
                }
                continue;
            }
            let sent = answer.expect(202);
            taken += 1;
            let id = sent["comment"]["id"].as_str().unwrap();
            let seen = moderator.get(&format!("/comments/{id}")).await.expect(200);
            match field {
                "name" | "body" => assert_eq!(seen[field], json!(tidy(text)), "{text:?}"),
                "website" if tidy(text).is_empty() => assert_eq!(seen["website"], Value::Null),
                "website" => assert_eq!(seen["website"], json!(tidy(text))),
                "article" => assert_eq!(seen["article"]["key"], json!(text)),
                _ => {}
            }
            if field == "article" {
                let listed =
                    app.client.get(format!("{}{SUBMIT}", app.url)).query(&[("article", text)]).send().await.unwrap();
                assert_eq!(listed.status(), 200);
                assert_eq!(listed.json::<Value>().await.unwrap()["article"]["key"], json!(text));
            }
        }
        let found = moderator.request(Method::GET, "/comments").query(&[("q", text)]);
        assert!(matches!(app.send(found).await.status.as_u16(), 200 | 422), "searching for {text:?}");
    }
    assert!(taken > strings.len() * 2, "most are ordinary text: {taken}");
    let mails = app.run_jobs().await;
    assert!(mails.len() <= 21);
}

#[tokio::test]
async fn json_files_never_break_a_parser() {
    let Some(files) = testdata::files("json") else { return };
    let app = TestApp::new(Backend::Sqlite).await;
    let moderator = app.default_moderator().await;
    for (name, bytes) in files {
        let requests = [
            app.request(Method::POST, SUBMIT),
            app.request(Method::POST, "/api/v1/sites/default/preview"),
            app.request(Method::POST, "/api/v1/sites/default/counts"),
            moderator.request(Method::POST, "/decisions"),
            moderator.request(Method::PATCH, "/comments/0190a000-0000-7000-8000-000000000001"),
        ];
        for request in requests {
            let answer = app.send(request.header("content-type", "application/json").body(bytes.clone())).await;
            assert!(answer.status.is_client_error(), "{name}: {}", answer.status);
            let is_object = matches!(serde_json::from_slice(&bytes), Ok(Value::Object(_)));
            let expected = if is_object && name != "y_object_duplicated_key.json" { [404, 422] } else { [400, 400] };
            assert!(name.starts_with("i_") || expected.contains(&answer.status.as_u16()), "{name}: {}", answer.status);
        }
    }
    app.get("/readyz").await.expect(200);
}

#[tokio::test]
async fn email_addresses_as_their_collectors_judge_them() {
    let app = TestApp::new(Backend::Sqlite).await;
    let submit = async |address: &str, n: usize| {
        let body = json!({"article": "/a", "name": "Ada", "email": address, "body": format!("number {n}")});
        app.submit(&body).await
    };
    let Some(isemail) = testdata::read("email/isemail.json") else { return };
    let entries: Vec<Value> = serde_json::from_str(&isemail).unwrap();
    for (n, entry) in entries.iter().enumerate() {
        let raw = entry["address"].as_str().unwrap();
        let shown = |c: char| {
            if ('\u{2400}'..='\u{241F}').contains(&c) { char::from_u32(u32::from(c) - 0x2400).unwrap() } else { c }
        };
        let address: String = raw.chars().map(shown).collect();
        let (category, diagnosis) = (entry["category"].as_str().unwrap(), entry["diagnosis"].as_str().unwrap());
        let answer = submit(&address, n).await;
        if category == "ISEMAIL_ERR" {
            // Spaces at the ends are trimmed before the address is looked at.
            let trimmed = address.trim_matches(' ') != address;
            assert!(answer.status == 422 || trimmed, "{address:?} ({diagnosis}) was taken");
        }
        if diagnosis == "ISEMAIL_VALID"
            && !address.contains(['"', '[', '('])
            && address.split('@').nth(1).unwrap().contains('.')
        {
            assert_eq!(answer.status, 202, "{address:?} was refused");
        }
        assert!(matches!(answer.status.as_u16(), 202 | 422), "{address:?}: {}", answer.status);
    }
    let Some(validator) = testdata::read("email/python-email-validator.json") else { return };
    let entries: Vec<Value> = serde_json::from_str(&validator.replace("\\udcdc", "?").replace("\\ud8ff", "?")).unwrap();
    for (n, entry) in entries.iter().enumerate() {
        let (address, group) = (entry["address"].as_str().unwrap(), entry["group"].as_str().unwrap());
        let answer = submit(address, 10_000 + n).await;
        assert!(matches!(answer.status.as_u16(), 202 | 422), "{address:?}: {}", answer.status);
        let quoted_or_literal = address.contains(['"', '[', '<']);
        if group.starts_with("test_email_valid") && !quoted_or_literal {
            assert_eq!(answer.status, 202, "{address:?} ({group}) was refused");
        }
        if group.contains("invalid")
            && !group.contains("reserved")
            && !group.contains("smtputf8")
            && !group.contains("character")
        {
            assert_eq!(answer.status, 422, "{address:?} ({group}) was taken");
        }
    }
    // Whatever was taken can be mailed: every mail of the queue is put together without an error.
    app.run_jobs().await;
}

/// Tags that may come out, and attributes that may stand in them.
fn check_html(html: &str, from: &str) {
    let mut rest = html;
    while let Some(at) = rest.find('<') {
        rest = &rest[at + 1..];
        let end = rest.find('>').unwrap_or_else(|| panic!("an open tag in {html}"));
        let tag = &rest[..end];
        rest = &rest[end + 1..];
        let name: String = tag.trim_start_matches('/').chars().take_while(char::is_ascii_alphanumeric).collect();
        let attributes = tag.trim_start_matches('/')[name.len()..].trim();
        let allowed = match name.as_str() {
            "a" => {
                let href = attributes.split("href=\"").nth(1).map(|rest| rest.split('"').next().unwrap());
                attributes.is_empty()
                    || href.is_some_and(|href| {
                        let lower = href.to_lowercase();
                        (lower.starts_with("http://") || lower.starts_with("https://"))
                            && attributes == format!("href=\"{href}\" rel=\"nofollow ugc noopener noreferrer\"")
                    })
            }
            "ol" => {
                attributes.is_empty()
                    || attributes
                        .strip_prefix("start=\"")
                        .is_some_and(|n| n.trim_end_matches('"').parse::<u64>().is_ok())
            }
            "code" => attributes.is_empty() || attributes.starts_with("class=\"language-"),
            "p" | "br" | "em" | "strong" | "del" | "pre" | "blockquote" | "ul" | "li" | "hr" => attributes.is_empty(),
            _ => false,
        };
        assert!(allowed, "<{tag}> in {html}\nfrom {from}");
    }
}

#[tokio::test]
async fn payloads_become_text() {
    let Some(mut payloads) = testdata::strings("xss/payloads.json", Some("payload")) else { return };
    payloads.extend(testdata::strings("xss/dompurify_expect.json", Some("payload")).unwrap_or_default());
    let app = TestApp::new(Backend::Sqlite).await;
    let mut names = 0;
    for (n, payload) in payloads.iter().enumerate() {
        let preview = app.post("/api/v1/sites/default/preview", &json!({"body": payload})).await;
        match preview.status.as_u16() {
            200 => check_html(preview.json()["body_html"].as_str().unwrap(), payload),
            422 => {}
            status => panic!("{status} for {payload}"),
        }
        // Each tenth also as name, website and title; a website that is taken is plain http(s).
        if n % 10 == 0 {
            let body = json!({"article": format!("/{n}"), "name": payload, "email": "ada@example.org", "body": format!("{n}"), "article_title": payload});
            names += usize::from(app.submit(&body).await.status == 202);
            let website = json!({"article": "/w", "name": "Ada", "email": "ada@example.org", "body": format!("w{n}"), "website": payload});
            let answer = app.submit(&website).await;
            if answer.status == 202 {
                let website = answer.json()["comment"]["website"].as_str().unwrap_or("https://").to_lowercase();
                assert!(website.starts_with("http://") || website.starts_with("https://"), "{payload}");
                assert!(!website.contains(['"', '<', '>', ' ', '\'']) || website.contains('\''), "{payload}");
            }
        }
    }
    assert!(names > 50, "{names}");
    for mail in app.run_jobs().await {
        assert!(!mail.contains("<script") && !mail.contains("<img"), "{mail}");
    }
}

#[tokio::test]
async fn every_commonmark_example_renders_safely() {
    let Some(spec) = testdata::read("commonmark/spec.txt") else { return };
    let app = TestApp::new(Backend::Sqlite).await;
    let fence = "`".repeat(32);
    let mut examples = 0;
    for block in spec.split(&format!("{fence} example\n")).skip(1) {
        let markdown = block.split("\n.\n").next().unwrap().replace('→', "\t");
        let answer = app.post("/api/v1/sites/default/preview", &json!({"body": markdown})).await;
        match answer.status.as_u16() {
            200 => check_html(answer.json()["body_html"].as_str().unwrap(), &markdown),
            422 => assert!(answer.faults().iter().all(|fault| fault.starts_with("body ")), "{markdown}"),
            status => panic!("{status} for {markdown}"),
        }
        examples += 1;
    }
    assert!(examples > 600, "{examples}");
}
