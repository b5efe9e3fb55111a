//! Comments as a piece of a page and as a feed: what they say, who gets which, that they are cached like lists, and that
//! nothing hostile lives in them.

use std::collections::{BTreeMap, BTreeSet};

use afterword::storage::accounts::Role;
use quick_xml::Reader;
use quick_xml::events::Event;
use reqwest::Method;
use serde_json::{Value, json};

use super::administration::call;
use super::hostile::tags;
use crate::support::app::{Answer, TestApp, comment};
use crate::support::database::{Backend, on_both_databases};
use crate::support::{program, testdata};

on_both_databases!(
    a_piece_of_a_page_says_what_the_list_says,
    each_gets_the_representation_they_ask_for,
    a_feed_has_the_newest
);

const LIST: &str = "/api/v1/sites/default/comments?article=/a";
const FEED: &str = "/api/v1/sites/default/feed.atom";

async fn html(app: &TestApp, path: &str) -> Answer {
    app.send(app.request(Method::GET, path).header("accept", "text/html")).await
}

async fn set(app: &TestApp, changes: Value) {
    let token = app.moderator("root@example.org", Role::Admin, &[]).await.token;
    call(app, &token, "PATCH", "/api/v1/sites/default", changes).await.expect(200);
}

async fn a_piece_of_a_page_says_what_the_list_says(backend: Backend) {
    let app = TestApp::new(backend).await;
    let empty = html(&app, LIST).await;
    assert_eq!(empty.header("content-type"), "text/html; charset=utf-8");
    assert!(empty.header("content-security-policy").starts_with("default-src 'none'"));
    assert_eq!((empty.header("x-content-type-options"), empty.header("vary")), ("nosniff", "Accept, Accept-Encoding"));
    let text = empty.text();
    assert!(text.contains(">0 comments</h2>\n<p>No comments yet. Start the conversation.</p>"), "{text}");
    assert!(text.contains("<h3>Submit a comment</h3>") && !text.contains("<html"), "{text}");
    let order = ["name=\"name\"", "name=\"email\"", "Required fields", "name=\"body\"", "name=\"website\"", "<button"];
    assert!(order.map(|part| text.find(part).unwrap()).is_sorted(), "{text}");
    let own_data = format!("{}/me/default", app.url);
    assert!(tags(&text).iter().any(|(tag, of)| tag == "a" && of["href"] == own_data), "{text}");
    set(&app, json!({"url": "https://blog.example"})).await;
    let mut first = comment("the *first*");
    (first["article_url"], first["article_title"]) = (json!("https://blog.example/a?x=1&y=2"), json!("On <A>"));
    first["website"] = json!("https://ada.example/");
    let root = app.submit(&first).await.expect(202)["comment"]["id"].as_str().unwrap().to_owned();
    let moderator = app.default_moderator().await;
    moderator.decide(&root, "approve").await.expect(200);
    let reply = app.published("a reply", Some(&root)).await;
    let below = app.published("below it", Some(&reply)).await;
    let last = app.published("the last", None).await;
    app.send(moderator.request(Method::DELETE, &format!("/comments/{reply}"))).await.expect(204);
    let text = html(&app, LIST).await.text();
    assert!(text.contains("3 comments") && text.contains("the <em>first</em>"), "{text}");
    assert!(text.contains("This comment was removed."));
    let found = tags(&text);
    let ids: Vec<&str> = found.iter().filter(|(tag, _)| tag == "article").map(|(_, of)| of["id"].as_str()).collect();
    assert_eq!(ids, [&root, &reply, &below, &last].map(|id| format!("afterword-{id}")));
    assert_eq!(found.iter().filter(|(tag, _)| tag == "ol").count(), 3, "one for each level");
    let of = |tag: &str| found.iter().find(|(name, _)| name == tag).unwrap().1.clone();
    assert_eq!(of("time")["datetime"], app.list("").await["comments"][0]["created_at"].as_str().unwrap());
    assert_eq!(of("form")["action"], format!("{}/api/v1/sites/default/comments", app.url));
    let hidden: BTreeMap<_, _> = found
        .iter()
        .filter(|(tag, of)| tag == "input" && of.get("type").is_some_and(|kind| kind == "hidden"))
        .map(|(_, of)| (of["name"].as_str(), of["value"].as_str()))
        .collect();
    assert_eq!(hidden, BTreeMap::from([("article", "/a"), ("return_to", "https://blog.example/a?x=1&y=2")]));
    assert!(text.contains("Your email address will not be published. Required fields are marked *"));
    // The form works as it stands.
    let form = [("article", "/a"), ("name", "Eve"), ("email", "eve@example.org"), ("body", "By form"), ("company", "")];
    let form = form.into_iter().chain([("return_to", hidden["return_to"])]).collect::<Vec<_>>();
    let sent = app.send(app.request(Method::POST, "/api/v1/sites/default/comments").form(&form)).await;
    assert_eq!(
        (sent.status.as_u16(), sent.header("location")),
        (303, "https://blog.example/a?x=1&y=2#afterword-pending")
    );
    // Page by page, in the site's language.
    set(&app, json!({"language": "de-AT"})).await;
    let (mut path, mut seen) = (format!("{LIST}&limit=1"), Vec::new());
    loop {
        let page = html(&app, &path).await.text();
        assert!(page.contains("3 Kommentare"), "{page}");
        seen.extend(tags(&page).into_iter().filter(|(tag, _)| tag == "article").map(|(_, of)| of["id"].clone()));
        let next = tags(&page).into_iter().find(|(_, of)| of.get("rel").is_some_and(|rel| rel.starts_with("next")));
        let Some((_, next)) = next else { break };
        path = next["href"].strip_prefix(&app.url).unwrap().to_owned();
    }
    assert_eq!(seen, ids);
    set(&app, json!({"privacy_text": "We keep <nothing>."})).await;
    assert!(html(&app, LIST).await.text().contains("We keep &lt;nothing&gt;."));
    assert_eq!(html(&app, &format!("{LIST}&sort=x")).await.problem(422), "validation_failed");
}

async fn each_gets_the_representation_they_ask_for(backend: Backend) {
    let app = TestApp::new(backend).await;
    app.published("one", None).await;
    // Odd spellings of the address are no way past it.
    for path in [LIST, "/api/v1/sites/default/%63omments?article=/a"] {
        for _ in 0..3 {
            for (accept, kind) in [
                ("text/html", "text/html; charset=utf-8"),
                ("*/*", "application/json"),
                ("text/html,application/xhtml+xml,*/*;q=0.8", "text/html; charset=utf-8"),
                ("application/json", "application/json"),
                ("text/html;q=0.4, application/json;q=0.5", "application/json"),
            ] {
                let answer = app.send(app.request(Method::GET, path).header("accept", accept)).await;
                assert_eq!((answer.status.as_u16(), answer.header("content-type")), (200, kind), "{accept} {path}");
            }
            assert_eq!(app.get(path).await.header("content-type"), "application/json");
        }
    }
    for path in ["counts?article=/a", "recent"] {
        let answer = html(&app, &format!("/api/v1/sites/default/{path}")).await;
        assert_eq!(answer.header("content-type"), "application/json", "{path} has no page");
    }
    // Each has a tag of its own, and a commit makes both worthless.
    let (page, list) = (html(&app, LIST).await, app.get(LIST).await);
    assert_ne!(page.header("etag"), list.header("etag"));
    let known = |tag: &str| {
        app.request(Method::GET, LIST).header("accept", "text/html").header("if-none-match", tag.to_owned())
    };
    assert_eq!(app.send(known(page.header("etag"))).await.status, 304);
    assert_eq!(app.send(known(list.header("etag"))).await.status, 200);
    app.published("two", None).await;
    assert_eq!(app.send(known(page.header("etag"))).await.status, 200);
    let head = app.send(app.request(Method::HEAD, LIST).header("accept", "text/html")).await;
    assert_eq!(head.header("content-length"), html(&app, LIST).await.body.len().to_string());
}

/// The texts of an element in a feed, as a parser of XML reads them.
fn elements(xml: &str, wanted: &str) -> Vec<String> {
    let mut reader = Reader::from_str(xml);
    reader.config_mut().check_end_names = true;
    let (mut found, mut inside): (Vec<String>, bool) = (Vec::new(), false);
    loop {
        match reader.read_event().unwrap() {
            Event::Start(start) if start.name().as_ref() == wanted => {
                inside = true;
                found.push(String::new());
            }
            Event::End(end) if end.name().as_ref() == wanted => inside = false,
            Event::Text(text) if inside => found.last_mut().unwrap().push_str(&text),
            Event::GeneralRef(name) if inside => {
                let text = match name.as_ref() {
                    "lt" => "<".to_owned(),
                    "gt" => ">".to_owned(),
                    "amp" => "&".to_owned(),
                    "quot" => "\"".to_owned(),
                    "apos" => "'".to_owned(),
                    _ => name.resolve_char_ref().unwrap().unwrap().to_string(),
                };
                found.last_mut().unwrap().push_str(&text);
            }
            Event::Eof => return found,
            _ => {}
        }
    }
}

async fn a_feed_has_the_newest(backend: Backend) {
    let app = TestApp::new(backend).await;
    let empty = app.get(FEED).await;
    assert_eq!(empty.header("content-type"), "application/atom+xml; charset=utf-8");
    assert_eq!(empty.header("access-control-allow-origin"), "*");
    assert_eq!(elements(&empty.text(), "entry").len(), 0);
    let unknown = app.get(&format!("{FEED}?article=/a")).await.text();
    set(&app, json!({"url": "https://blog.example"})).await;
    let mut ids = Vec::new();
    for n in 0..52 {
        let mut new = comment(&format!("*number* {n} & <b>"));
        new["article"] = json!(if n % 2 == 0 { "/a" } else { "/b" });
        new["article_url"] = json!("https://blog.example/a#old");
        let id = app.submit(&new).await.expect(202)["comment"]["id"].as_str().unwrap().to_owned();
        app.default_moderator().await.decide(&id, "approve").await.expect(200);
        ids.push(id);
    }
    app.comment("held").await;
    let feed = app.get(FEED).await;
    let text = feed.text();
    let told = elements(&text, "id");
    assert_eq!(told.len(), 51);
    let newest: Vec<String> = ids.iter().rev().take(50).map(|id| format!("urn:uuid:{id}")).collect();
    assert_eq!(told[1..], newest);
    assert_eq!(elements(&text, "content")[0], "<p><em>number</em> 51 &amp; &lt;b&gt;</p>");
    assert_eq!(elements(&text, "name")[0], "Ada");
    assert!(text.contains(&format!("https://blog.example/a#afterword-{}", ids[51])), "{text}");
    assert!(!text.contains("held") && !text.contains("ada@example.org"));
    let of_one = app.get(&format!("{FEED}?article=/a")).await.text();
    assert_eq!(elements(&of_one, "id").len(), 27);
    assert_eq!(elements(&of_one, "id")[0], elements(&unknown, "id")[0], "the feed stays what it was");
    let known = app.request(Method::GET, FEED).header("if-none-match", feed.header("etag").to_owned());
    assert_eq!(app.send(known).await.status, 304);
    app.default_moderator().await.decide(&ids[51], "reject").await.expect(200);
    assert_eq!(elements(&app.get(FEED).await.text(), "id")[1], newest[1]);
    assert_eq!(app.get(&format!("{FEED}?article=")).await.problem(422), "validation_failed");
    assert_eq!(app.get("/api/v1/sites/nowhere/feed.atom").await.problem(404), "not_found");
}

/// Hostile names, texts, titles and addresses, as an independent parser of feeds and a browser's parser read them.
#[tokio::test(flavor = "multi_thread")]
async fn nothing_hostile_lives_in_pieces_and_feeds() {
    let Some(mut payloads) = testdata::strings("xss/payloads.json", Some("payload")) else { return };
    payloads.extend(testdata::strings("xss/dompurify_expect.json", Some("payload")).unwrap());
    payloads.extend(testdata::strings("naughty/blns.json", None).unwrap());
    let app = TestApp::new(Backend::Sqlite).await;
    let allowed: BTreeSet<&str> =
        "section h2 h3 ol ul li article footer a b em strong del code pre p br blockquote hr div \
                                   span time form input label textarea button"
            .split_whitespace()
            .collect();
    let folder = tempfile::tempdir().unwrap();
    for (number, part) in payloads.chunks(50).enumerate() {
        let key = format!("/{number}");
        super::hostile::publish(&app, part, (&key, 10 + 1000 * number as u64)).await;
        let query = format!("article={key}");
        let page = html(&app, &format!("/api/v1/sites/default/comments?{query}&limit=200")).await.text();
        for (tag, attributes) in tags(&page) {
            assert!(allowed.contains(tag.as_str()), "<{tag}> in\n{page}");
            for (name, value) in &attributes {
                assert!(!name.starts_with("on") && name != "style" && name != "src", "{name} in\n{page}");
                let lower = value.to_lowercase();
                let leads = lower.starts_with("http://") || lower.starts_with("https://") || lower.starts_with('#');
                assert!(name != "href" || leads, "{value} in\n{page}");
            }
        }
        let feed = app.get(&format!("{FEED}?{query}")).await.text();
        assert_eq!(elements(&feed, "name"), part.iter().rev().map(|text| visible(text)).collect::<Vec<_>>());
        std::fs::write(folder.path().join(format!("{number}.atom")), &feed).unwrap();
    }
    std::fs::write(folder.path().join("all.atom"), app.get(FEED).await.body).unwrap();
    program::peer("feeds.py", &[folder.path()]);
}

/// What XML can say of a text, and what a parser makes of line ends.
fn visible(text: &str) -> String {
    let legal = |c: &char| *c >= ' ' || matches!(c, '\t' | '\n' | '\r');
    text.chars().filter(legal).filter(|c| !matches!(c, '\u{fffe}' | '\u{ffff}')).collect()
}
