//! Sending a comment: what is taken, what is refused and how, policies, idempotency.

use afterword::domain::site::{ArticlePolicy, Policy, Site};
use afterword::storage::articles;
use reqwest::Method;
use serde_json::{Value, json};

use crate::support::app::{Answer, TestApp, comment};
use crate::support::database::{Backend, on_both_databases};

on_both_databases!(
    a_comment_is_taken_and_held,
    all_faults_at_once_in_the_contracts_order,
    parents_must_be_public_and_of_the_same_article,
    policies_decide_what_waits,
    a_filled_honeypot_is_spam_that_looks_like_any_other,
    doubles_and_closed_articles,
    a_key_repeats_the_first_answer,
    fifty_twins_make_one_comment,
    articles_take_titles_from_what_is_approved,
    origins_are_checked,
    author_tokens_are_checked,
);

async fn set_policy(app: &TestApp, change: impl FnOnce(&mut Site)) {
    let mut site = Site::clone(&*app.service.sites.by_key("default").unwrap());
    change(&mut site);
    app.service.update_site(site).await.unwrap();
}

async fn a_comment_is_taken_and_held(backend: Backend) {
    let app = TestApp::new(backend).await;
    let body = json!({
        "article": "/a", "name": " Ada ", "email": "ada@example.org", "body": "Hello *world*", "website": "https://ada.example",
        "parent_id": null, "notify": true, "article_title": "A\u{2028}title", "challenge": "x", "form_token": "y", "company": ""
    });
    let answer = app.submit(&body).await;
    assert_eq!(answer.header("cache-control"), "no-store");
    assert_eq!(answer.header("location"), "");
    let answer = answer.expect(202);
    let comment = &answer["comment"];
    assert_eq!(answer["status"], "pending");
    assert_eq!(comment["name"], "Ada");
    assert_eq!(comment["website"], "https://ada.example");
    assert_eq!(comment["body_html"], "<p>Hello <em>world</em></p>");
    assert_eq!((comment["depth"].as_i64(), comment["reply_count"].as_i64()), (Some(0), Some(0)));
    assert_eq!(comment["votes"], json!({"up": 0, "down": 0}));
    assert_eq!(comment["created_at"], "2026-01-01T00:00:00.000000Z");
    assert_eq!(answer["editable_until"], "2026-01-01T00:15:00.000000Z");
    let keys: Vec<_> = comment.as_object().unwrap().keys().map(String::as_str).collect();
    let expected = [
        "id",
        "parent_id",
        "depth",
        "name",
        "website",
        "avatar",
        "badge",
        "body_html",
        "created_at",
        "edited_at",
        "pinned",
        "votes",
        "reply_count",
    ];
    assert_eq!(keys.len(), expected.len());
    assert!(expected.iter().all(|key| keys.contains(key)), "{keys:?}");
    assert!(app.listed("").await.is_empty(), "nothing is public before someone approved it");
    let avatar = comment["avatar"].as_str().unwrap().strip_prefix(&app.url).unwrap().to_owned();
    let picture = app.get(&avatar).await;
    assert_eq!(picture.header("content-type"), "image/svg+xml");
    assert!(picture.text().starts_with("<svg"));
}

async fn all_faults_at_once_in_the_contracts_order(backend: Backend) {
    let app = TestApp::new(backend).await;
    assert_eq!(
        app.submit(&json!({})).await.faults(),
        ["article required", "name required", "email required", "body required"]
    );
    let body = json!({
        "article": 7, "name": null, "email": "nobody", "body": "x".repeat(10_001), "website": "ftp://x.example",
        "parent_id": "0190a000-0000-7000-8000-000000000001", "notify": "yes", "article_title": "t".repeat(301),
        "article_url": "https://elsewhere.example/", "nme": "x"
    });
    assert_eq!(
        app.submit(&body).await.faults(),
        [
            "article wrong_type",
            "name required",
            "email invalid_email",
            "body too_long",
            "website invalid_url",
            "parent_id unknown_parent",
            "notify wrong_type",
            "article_title too_long",
            "article_url foreign_url",
            "nme unknown_field",
        ]
    );
    let mut own_page = comment("own page");
    own_page["article_url"] = json!(format!("{}/demo/", app.url));
    app.submit(&own_page).await.expect(202);
    for hidden in ["Ada\u{FE0F}", "Ada\u{2800}L", "Ada\u{1F3F4}\u{E0067}\u{E0062}"] {
        let mut hiding = comment("hidden");
        hiding["name"] = json!(hidden);
        assert_eq!(app.submit(&hiding).await.faults(), ["name illegal_character"], "{}", hidden.escape_unicode());
    }
    let mut with_key = app.request(Method::POST, "/api/v1/sites/default/comments").json(&json!({}));
    with_key = with_key.header("idempotency-key", "a b");
    assert!(app.send(with_key).await.faults().contains(&"idempotency_key invalid_key".to_owned()));
}

async fn parents_must_be_public_and_of_the_same_article(backend: Backend) {
    let app = TestApp::new(backend).await;
    let reply = |parent: &str, article: &str| json!({"article": article, "name": "Bob", "email": "bob@example.org", "body": format!("re {parent} {article}"), "parent_id": parent});
    let held = app.comment("held").await["comment"]["id"].as_str().unwrap().to_owned();
    assert_eq!(app.submit(&reply(&held, "/a")).await.faults(), ["parent_id unknown_parent"]);
    assert_eq!(app.submit(&reply("nonsense", "/a")).await.faults(), ["parent_id unknown_parent"]);
    let mut parent = app.published("root", None).await;
    assert_eq!(app.submit(&reply(&parent, "/b")).await.faults(), ["parent_id unknown_parent"]);
    // Five levels: roots have depth 0, so a reply to depth 4 is one too many.
    for depth in 1..5 {
        parent = app.published(&format!("depth {depth}"), Some(&parent)).await;
    }
    assert_eq!(app.submit(&reply(&parent, "/a")).await.faults(), ["parent_id unknown_parent"]);
    let depths: Vec<_> =
        app.list("").await["comments"].as_array().unwrap().iter().map(|row| row["depth"].as_i64().unwrap()).collect();
    assert_eq!(depths, [0, 1, 2, 3, 4]);
}

async fn policies_decide_what_waits(backend: Backend) {
    let app = TestApp::new(backend).await;
    set_policy(&app, |site| site.policy = Policy::NewAuthors).await;
    let first = app.comment("first").await;
    let token = first["author_token"].as_str().unwrap().to_owned();
    let with_token = |text: &str| {
        app.request(Method::POST, "/api/v1/sites/default/comments").json(&comment(text)).bearer_auth(&token)
    };
    app.send(with_token("second, before anything is approved")).await.expect(202);
    let moderator = app.default_moderator().await;
    moderator.decide(first["comment"]["id"].as_str().unwrap(), "approve").await.expect(200);
    // The same name and e-mail prove nothing; the token does.
    app.submit(&comment("an impostor")).await.expect(202);
    let published = app.send(with_token("third")).await;
    let id = published.json()["comment"]["id"].as_str().unwrap().to_owned();
    assert_eq!(published.header("location"), format!("{}/api/v1/comments/{id}", app.url));
    let published = published.expect(201);
    assert_eq!(
        (published["status"].as_str(), published["author_token"].as_str()),
        (Some("approved"), Some(token.as_str()))
    );
    set_policy(&app, |site| site.policy = Policy::None).await;
    app.submit(&comment("anybody")).await.expect(201);
    assert_eq!(app.listed("").await.len(), 3);
    set_policy(&app, |site| site.articles = ArticlePolicy::Known).await;
    app.submit(&comment("a known article")).await.expect(201);
    let mut unknown = comment("an unknown one");
    unknown["article"] = json!("/unknown");
    assert_eq!(app.submit(&unknown).await.faults(), ["article unknown_article"]);
}

fn without_ids(answer: &Answer) -> (Value, Vec<String>) {
    let mut body = answer.json();
    for path in ["/comment/id", "/comment/body_html", "/author_token"] {
        let length = body.pointer(path).unwrap().as_str().unwrap().len();
        *body.pointer_mut(path).unwrap() = json!(length);
    }
    let mut headers: Vec<_> = answer.headers.keys().map(ToString::to_string).collect();
    headers.sort();
    (body, headers)
}

async fn a_filled_honeypot_is_spam_that_looks_like_any_other(backend: Backend) {
    let app = TestApp::new(backend).await;
    let honest = app.submit(&comment("text one")).await;
    let mut trapped = comment("text two");
    trapped["company"] = json!("ACME");
    let trapped = app.submit(&trapped).await;
    assert_eq!(honest.status, trapped.status);
    assert_eq!(honest.body.len(), trapped.body.len());
    assert_eq!(without_ids(&honest), without_ids(&trapped));
    let moderator = app.default_moderator().await;
    let spam = moderator.get("/comments?status=spam").await.expect(200);
    assert_eq!(spam["comments"][0]["id"], trapped.json()["comment"]["id"]);
    assert_eq!(spam["comments"][0]["hold_reasons"][1]["code"], "honeypot");
    assert_eq!(moderator.queue("").await.len(), 1);
}

async fn doubles_and_closed_articles(backend: Backend) {
    let app = TestApp::new(backend).await;
    app.comment("Hello World").await;
    let mut double = comment("  hello   ＷＯＲＬＤ ");
    double["email"] = json!("other@example.org");
    double["name"] = json!("ADA");
    assert_eq!(app.submit(&double).await.problem(409), "duplicate_comment");
    let mut elsewhere = comment("Hello World");
    elsewhere["article"] = json!("/b");
    app.submit(&elsewhere).await.expect(202);
    app.clock.advance(std::time::Duration::from_secs(24 * 60 * 60 + 1));
    app.submit(&double).await.expect(202);
    let site = app.service.sites.by_key("default").unwrap().id;
    let close = app.service.db.write(move |tx| {
        let article = articles::find(tx.conn(), site, "/a")?.unwrap();
        let closed = articles::ArticleChange { closed: Some((true, false)), ..Default::default() };
        articles::change(tx, &article, &closed)
    });
    close.await.unwrap();
    assert_eq!(app.submit(&comment("too late")).await.problem(409), "closed");
    assert_eq!(app.list("").await["article"]["closed"], true);
}

fn keyed(app: &TestApp, key: &str, body: &Value) -> reqwest::RequestBuilder {
    app.request(Method::POST, "/api/v1/sites/default/comments").json(body).header("Idempotency-Key", key)
}

async fn a_key_repeats_the_first_answer(backend: Backend) {
    let app = TestApp::new(backend).await;
    let first = app.send(keyed(&app, "\"k1\"", &comment("once"))).await;
    let moderator = app.default_moderator().await;
    let id = first.json()["comment"]["id"].as_str().unwrap().to_owned();
    moderator.decide(&id, "approve").await.expect(200);
    app.clock.advance(std::time::Duration::from_hours(1));
    let again = app.send(keyed(&app, "k1", &comment("once"))).await;
    assert_eq!((first.status, &first.body), (again.status, &again.body), "the first answer, byte for byte");
    assert_eq!(app.send(keyed(&app, "k1", &comment("other"))).await.problem(422), "idempotency_key_reused");
    // Whatever differs makes another request, also what no comment has.
    for (name, value) in
        [("nme", json!("x")), ("website", json!(7)), ("notify", json!("yes")), ("parent_id", json!([1]))]
    {
        let mut other = comment("once");
        other[name] = value;
        assert_eq!(app.send(keyed(&app, "k1", &other)).await.problem(422), "idempotency_key_reused", "{name}");
    }
    let respelled = r#"{ "name": "Ada", "body": "once", "email": "ada\u0040example.org", "article": "/a" }"#;
    let same = app
        .request(Method::POST, "/api/v1/sites/default/comments")
        .header("content-type", "application/json")
        .header("idempotency-key", "k1");
    assert_eq!(app.send(same.body(respelled)).await.body, first.body, "the spelling of JSON does not count");
    // A refused request leaves the key free.
    assert_eq!(app.send(keyed(&app, "k2", &json!({}))).await.status, 422);
    app.send(keyed(&app, "k2", &comment("second try"))).await.expect(202);
    // After a day the key is forgotten, and the text is no double any more.
    app.clock.advance(std::time::Duration::from_hours(24));
    let fresh = app.send(keyed(&app, "k1", &comment("once"))).await.expect(202);
    assert_ne!(fresh["comment"]["id"], json!(id));
}

async fn fifty_twins_make_one_comment(backend: Backend) {
    // With rate limits: twins that wait for the first consume nothing.
    let app = TestApp::build(backend).start().await;
    let twins = (0..50).map(|_| app.send(keyed(&app, "twins", &comment("one of fifty"))));
    let answers = futures_util::future::join_all(twins).await;
    for answer in &answers {
        assert_eq!(answer.status, 202, "{}", answer.text());
        assert_eq!(answer.body, answers[0].body);
    }
    assert_eq!(app.default_moderator().await.queue("").await.len(), 1);
    assert_eq!(answers.iter().filter(|answer| answer.header("ratelimit").starts_with("\"address\";r=2;")).count(), 50);
}

async fn articles_take_titles_from_what_is_approved(backend: Backend) {
    let app = TestApp::new(backend).await;
    set_policy(&app, |site| site.url = Some("https://blog.example/".into())).await;
    let titled = |text: &str, title: &str| {
        let mut body = comment(text);
        body["article_title"] = json!(title);
        body["article_url"] = json!("https://blog.example/a?x=1");
        body
    };
    let spam = app.submit(&titled("buy", "Cheap pills")).await.expect(202);
    let good = app.submit(&titled("nice", "The  real\ttitle")).await.expect(202);
    assert_eq!(app.list("").await["article"]["title"], Value::Null);
    let moderator = app.default_moderator().await;
    moderator.decide(spam["comment"]["id"].as_str().unwrap(), "spam").await.expect(200);
    assert_eq!(app.list("").await["article"]["title"], Value::Null);
    moderator.decide(good["comment"]["id"].as_str().unwrap(), "approve").await.expect(200);
    let article = app.list("").await["article"].clone();
    assert_eq!(
        article,
        json!({"key": "/a", "title": "The real title", "url": "https://blog.example/a?x=1", "comment_count": 1, "closed": false})
    );
    moderator.decide(spam["comment"]["id"].as_str().unwrap(), "approve").await.expect(200);
    assert_eq!(app.list("").await["article"]["title"], "The real title", "what is stored is never overwritten");
}

async fn origins_are_checked(backend: Backend) {
    let app = TestApp::new(backend).await;
    set_policy(&app, |site| site.url = Some("https://blog.example/x".into())).await;
    let from = |origin: &str, text: &str| {
        app.request(Method::POST, "/api/v1/sites/default/comments")
            .json(&comment(text))
            .header("origin", origin.to_owned())
    };
    let taken = app.send(from("https://blog.example", "one")).await;
    assert_eq!(taken.header("access-control-allow-origin"), "https://blog.example");
    assert!(taken.header("access-control-expose-headers").contains("RateLimit-Policy"));
    taken.expect(202);
    app.send(from(&app.url, "two")).await.expect(202);
    for foreign in [
        "https://evil.example",
        "null",
        "https://blog.example.evil.example",
        "http://blog.example",
        "https://blog.example:444",
    ] {
        let refused = app.send(from(foreign, "three")).await;
        assert_eq!(refused.header("access-control-allow-origin"), "", "{foreign}");
        assert_eq!(refused.problem(403), "forbidden", "{foreign}");
    }
}

async fn author_tokens_are_checked(backend: Backend) {
    let app = TestApp::new(backend).await;
    let with = |token: &str| {
        app.request(Method::POST, "/api/v1/sites/default/comments").json(&comment("x")).bearer_auth(token)
    };
    let refused = app.send(with("awa_nonsense")).await;
    assert_eq!(refused.header("www-authenticate"), "Bearer");
    assert_eq!(refused.problem(401), "unauthenticated");
    let moderator = app.default_moderator().await;
    assert_eq!(app.send(with(&moderator.token)).await.problem(401), "unauthenticated");
    // 401 comes before 422, and after 404.
    let both = app.request(Method::POST, "/api/v1/sites/default/comments").json(&json!({})).bearer_auth("x");
    assert_eq!(app.send(both).await.problem(401), "unauthenticated");
    let nowhere = app.request(Method::POST, "/api/v1/sites/nowhere/comments").json(&json!({})).bearer_auth("x");
    assert_eq!(app.send(nowhere).await.problem(404), "not_found");
}
