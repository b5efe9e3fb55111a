//! What readers get: order, pages, counts, caching, other origins.

use afterword::domain::site::Site;
use reqwest::Method;
use serde_json::{Value, json};

use crate::support::app::{TestApp, comment};
use crate::support::database::{Backend, on_both_databases};

on_both_databases!(
    orders_pages_and_permalinks,
    counts_and_the_newest,
    caches_are_told_what_changed,
    other_origins_may_read_and_not_write,
    the_form_and_a_preview,
    head_wherever_get,
);

async fn orders_pages_and_permalinks(backend: Backend) {
    let app = TestApp::new(backend).await;
    let (one, two, three) =
        (app.published("1", None).await, app.published("2", None).await, app.published("3", None).await);
    let (one_a, one_b) = (app.published("1a", Some(&one)).await, app.published("1b", Some(&one)).await);
    let one_a_x = app.published("1ax", Some(&one_a)).await;
    let oldest = [&one, &one_a, &one_a_x, &one_b, &two, &three].map(Clone::clone);
    let newest = [&three, &two, &one, &one_a, &one_a_x, &one_b].map(Clone::clone);
    assert_eq!(app.listed("").await, oldest);
    assert_eq!(app.listed("&sort=oldest").await, oldest);
    assert_eq!(app.listed("&sort=newest").await, newest);
    assert_eq!(app.listed("&sort=top").await, oldest, "without votes the oldest comes first");
    for (sort, expected) in [("oldest", &oldest), ("newest", &newest), ("top", &oldest)] {
        let (mut paged, mut cursor) = (Vec::new(), String::new());
        loop {
            let page = app.list(&format!("&sort={sort}&limit=2&cursor={cursor}")).await;
            let ids: Vec<String> =
                page["comments"].as_array().unwrap().iter().map(|row| row["id"].as_str().unwrap().to_owned()).collect();
            for id in &ids {
                assert_eq!(app.listed(&format!("&sort={sort}&limit=2&around={id}")).await, ids);
            }
            paged.extend(ids);
            match page["next_cursor"].as_str() {
                Some(next) => next.clone_into(&mut cursor),
                None => break,
            }
        }
        assert_eq!(&paged, expected, "{sort}");
    }
    let held = app.comment("held").await["comment"]["id"].as_str().unwrap().to_owned();
    let path = "/api/v1/sites/default/comments?article=/a";
    assert_eq!(app.get(&format!("{path}&around={held}")).await.problem(404), "not_found");
    assert_eq!(app.get(&format!("{path}&around=x")).await.problem(404), "not_found");
    assert_eq!(
        app.get(&format!("{path}&sort=best&limit=201")).await.faults(),
        ["sort unknown_value", "limit out_of_range"]
    );
    assert_eq!(app.get(&format!("{path}&article=/b")).await.faults(), ["article given_twice"]);
    assert_eq!(app.get("/api/v1/sites/default/comments").await.faults(), ["article required"]);
    for bad in ["x", "AAAA", "!!!!"] {
        assert_eq!(app.get(&format!("{path}&cursor={bad}")).await.problem(400), "malformed_request", "{bad}");
    }
    let next = app.list("&limit=1").await["next_cursor"].as_str().unwrap().to_owned();
    assert_eq!(app.get(&format!("{path}&sort=newest&cursor={next}")).await.problem(400), "malformed_request");
    app.get(&format!("{path}&utm_source=x")).await.expect(200);
    assert_eq!(app.get("/api/v1/sites/default/comments?article=%ff").await.problem(400), "malformed_request");
    let empty = app.get("/api/v1/sites/default/comments?article=/nobody").await.expect(200);
    assert_eq!(
        empty,
        json!({"article": {"key": "/nobody", "title": null, "url": null, "comment_count": 0, "closed": false}, "comments": [], "next_cursor": null})
    );
}

async fn counts_and_the_newest(backend: Backend) {
    let app = TestApp::new(backend).await;
    app.published("one", None).await;
    let second = app.published("two", None).await;
    app.comment("held").await;
    let key = "ü & x=1#?/";
    let mut elsewhere = comment("three");
    elsewhere["article"] = json!(key);
    let third = app.submit(&elsewhere).await.expect(202)["comment"]["id"].as_str().unwrap().to_owned();
    app.default_moderator().await.decide(&third, "approve").await.expect(200);
    let counts = app
        .get("/api/v1/sites/default/counts?article=/a&article=/nobody&article=%C3%BC%20%26%20x%3D1%23%3F/")
        .await
        .expect(200);
    assert_eq!(counts, json!({"counts": {"/a": 2, "/nobody": 0, key: 1}}));
    let posted = app.post("/api/v1/sites/default/counts", &json!({"articles": ["/a", key]})).await.expect(200);
    assert_eq!(posted, json!({"counts": {"/a": 2, key: 1}}));
    assert_eq!(app.get("/api/v1/sites/default/counts").await.faults(), ["article required"]);
    let many: Vec<String> = (0..101).map(|n| n.to_string()).collect();
    assert_eq!(
        app.post("/api/v1/sites/default/counts", &json!({"articles": many})).await.faults(),
        ["articles too_many"]
    );
    assert_eq!(
        app.post("/api/v1/sites/default/counts", &json!({"articles": "x", "y": 1})).await.faults(),
        ["articles wrong_type", "y unknown_field"]
    );
    let recent = app.get("/api/v1/sites/default/recent?limit=2").await.expect(200);
    let ids: Vec<_> = recent["comments"].as_array().unwrap().iter().map(|row| row["id"].clone()).collect();
    assert_eq!(ids, [json!(third), json!(second)]);
    assert_eq!(recent["comments"][0]["article"]["key"], key);
    assert_eq!(app.get("/api/v1/sites/nowhere/recent").await.problem(404), "not_found");
}

async fn caches_are_told_what_changed(backend: Backend) {
    let app = TestApp::new(backend).await;
    for n in 0..10 {
        app.published(&format!("a text that is long enough to be worth compressing, number {n}"), None).await;
    }
    let path = "/api/v1/sites/default/comments?article=/a";
    let with = |name: &'static str, value: String| app.request(Method::GET, path).header(name, value);
    let plain = app.get(path).await;
    let tag = plain.header("etag").to_owned();
    assert!(tag.starts_with('"'), "strong");
    assert_eq!(plain.header("cache-control"), "no-cache");
    assert_eq!(plain.header("cdn-cache-control"), "max-age=5, stale-while-revalidate=30");
    assert_eq!(plain.header("vary"), "Accept, Accept-Encoding");
    let mut tags = vec![tag.clone()];
    for encoding in ["gzip", "br"] {
        let packed = app.send(with("accept-encoding", encoding.to_owned())).await;
        assert_eq!(packed.header("content-encoding"), encoding);
        assert!(packed.body.len() < plain.body.len() / 2);
        tags.push(packed.header("etag").to_owned());
        let known =
            app.send(with("accept-encoding", encoding.to_owned()).header("if-none-match", packed.header("etag"))).await;
        assert_eq!(known.status, 304);
    }
    tags.sort();
    tags.dedup();
    assert_eq!(tags.len(), 3, "one tag per encoding");
    let known = app.send(with("if-none-match", tag.clone())).await;
    assert_eq!((known.status.as_u16(), known.body.len(), known.header("etag")), (304, 0, tag.as_str()));
    assert_eq!(known.header("vary"), "Accept, Accept-Encoding");
    app.comment("held: nothing that readers see changes").await;
    assert_eq!(app.send(with("if-none-match", tag.clone())).await.status, 304);
    app.published("eleventh", None).await;
    assert_eq!(app.send(with("if-none-match", tag)).await.status, 200);
}

async fn other_origins_may_read_and_not_write(backend: Backend) {
    let app = TestApp::new(backend).await;
    let from = |method: Method, path: &str| app.request(method, path).header("origin", "https://anybody.example");
    for path in ["comments?article=/a", "counts?article=/a", "recent", "form", "comments"] {
        let answer = app.send(from(Method::GET, &format!("/api/v1/sites/default/{path}"))).await;
        assert_eq!(answer.header("access-control-allow-origin"), "*", "{path}: also on errors");
        assert_eq!(answer.header("access-control-allow-credentials"), "");
        // Without an origin likewise: what a cache keeps is right for everybody.
        let plain = app.get(&format!("/api/v1/sites/default/{path}")).await;
        assert_eq!(plain.header("access-control-allow-origin"), "*", "{path}");
        assert!(plain.header("access-control-expose-headers").contains("ETag"), "{path}");
        assert!(!plain.header("vary").contains("Origin") && !answer.header("vary").contains("Origin"), "{path}");
    }
    let preflight = |path: &str, origin: &str, method: &str| {
        app.request(Method::OPTIONS, path)
            .header("origin", origin.to_owned())
            .header("access-control-request-method", method.to_owned())
    };
    let post = "/api/v1/sites/default/comments";
    let refused = app.send(preflight(post, "https://anybody.example", "POST")).await;
    assert_eq!((refused.status.as_u16(), refused.header("access-control-allow-origin")), (204, ""));
    let allowed = app.send(preflight(post, &app.url, "POST")).await;
    assert_eq!((allowed.status.as_u16(), allowed.header("access-control-allow-origin")), (204, app.url.as_str()));
    assert_eq!(allowed.header("access-control-max-age"), "7200");
    assert_eq!(
        allowed.header("access-control-allow-headers"),
        "Content-Type, Authorization, Idempotency-Key, If-Match"
    );
    // What is no preflight asks for the methods.
    let methods = app.send(app.request(Method::OPTIONS, post)).await;
    assert_eq!((methods.status.as_u16(), methods.header("allow")), (204, "GET, HEAD, POST, OPTIONS"));
    let long = format!("{post}?article={}", "x".repeat(9000));
    assert_eq!(app.send(preflight(&long, &app.url, "POST")).await.problem(414), "uri_too_long");
    let reads = app.send(preflight(post, "https://anybody.example", "GET")).await;
    assert_eq!(reads.header("access-control-allow-origin"), "*");
    let moderates = app.send(preflight("/api/v1/moderation/comments", "https://anybody.example", "GET")).await;
    assert_eq!(moderates.header("access-control-allow-origin"), "");
    let mut site = Site::clone(&*app.service.sites.by_key("default").unwrap());
    site.url = Some("https://blog.example".into());
    app.service.update_site(site).await.unwrap();
    let moderator = app.default_moderator().await;
    let decides = |origin: &str| {
        let decision = json!({"decision": "hold", "ids": ["x"]});
        moderator.request(Method::POST, "/decisions").header("origin", origin.to_owned()).json(&decision)
    };
    // A blog's pages may send comments and must not decide on them.
    for foreign in ["https://anybody.example", "https://blog.example", "null"] {
        let refused = app.send(decides(foreign)).await;
        assert_eq!(refused.header("access-control-allow-origin"), "", "{foreign}");
        assert_eq!(refused.problem(403), "forbidden", "{foreign}");
    }
    let own = app.send(decides(&app.url)).await;
    assert_eq!((own.status.as_u16(), own.header("access-control-allow-origin")), (200, app.url.as_str()));
}

async fn the_form_and_a_preview(backend: Backend) {
    let app = TestApp::new(backend).await;
    let form = app.get("/api/v1/sites/default/form").await.expect(200);
    assert_eq!(form["policy"], "all");
    assert_eq!(form["fields"][1], json!({"name": "name", "required": true, "max_length": 100}));
    assert!(form["texts"]["privacy"].as_str().unwrap().contains("will not be published"));
    let preview = async |body: Value| app.post("/api/v1/sites/default/preview", &body).await;
    assert_eq!(
        preview(json!({"body": "*a* <b>"})).await.expect(200),
        json!({"body_html": "<p><em>a</em> &lt;b&gt;</p>"})
    );
    assert_eq!(preview(json!({})).await.faults(), ["body required"]);
    assert_eq!(preview(json!({"body": 1, "x": 2})).await.faults(), ["body wrong_type", "x unknown_field"]);
    assert_eq!(preview(json!({"body": "x".repeat(10_001)})).await.faults(), ["body too_long"]);
}

async fn head_wherever_get(backend: Backend) {
    let app = TestApp::new(backend).await;
    app.published("one", None).await;
    for path in [
        "/api/v1/sites/default/comments?article=/a",
        "/healthz",
        "/readyz",
        "/openapi.json",
        "/errors/closed",
        "/assets/page.css",
    ] {
        let (get, head) = (app.get(path).await, app.send(app.request(Method::HEAD, path)).await);
        assert_eq!(get.status, 200, "{path}");
        assert_eq!(
            (head.status, head.header("content-length"), head.header("etag")),
            (get.status, get.header("content-length"), get.header("etag")),
            "{path}"
        );
        assert!(head.body.is_empty());
    }
}
