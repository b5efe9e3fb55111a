//! What browsers load: the widget and its parts, for every origin and in few bytes; the demo, where it is shown.

use std::collections::BTreeSet;

use reqwest::{Method, StatusCode};

use crate::support::app::{Answer, TestApp};
use crate::support::database::{Backend, on_both_databases};

on_both_databases!(every_origin_loads_the_widget, the_list_comes_in_few_bytes, the_demo_is_shown_where_it_should_be);

/// Compressed bytes of everything that is loaded before the list is seen: what issue 8 allows `/embed.js` alone.
const FIRST_VIEW: usize = 10_000;

async fn packed(app: &TestApp, path: &str) -> Answer {
    app.send(app.request(Method::GET, path).header("accept-encoding", "br")).await
}

async fn every_origin_loads_the_widget(backend: Backend) {
    let app = TestApp::new(backend).await;
    for path in ["/embed.js", "/embed/kit.js", "/embed/language/ar.js"] {
        let answer = app.send(app.request(Method::GET, path).header("origin", "https://elsewhere.example")).await;
        assert_eq!(answer.status, 200, "{path}");
        assert_eq!(answer.header("content-type"), "text/javascript; charset=utf-8");
        assert_eq!(answer.header("access-control-allow-origin"), "*");
        assert_eq!(answer.header("cross-origin-resource-policy"), "cross-origin");
        assert_eq!(answer.header("cache-control"), "no-cache");
        let again = app.request(Method::GET, path).header("if-none-match", answer.header("etag"));
        assert_eq!(app.send(again).await.status, StatusCode::NOT_MODIFIED);
    }
    for path in [
        "/embed/",
        "/embed/none.js",
        "/embed/../pages/page.css",
        "/embed/%2e%2e/pages/shell.html",
        "/demo/../Cargo.toml",
    ] {
        assert_eq!(app.get(path).await.status, 404, "{path}");
    }
}

/// The files that one names in its `import … from`, by their addresses.
fn imports(path: &str, text: &str) -> Vec<String> {
    let folder = path.rsplit_once('/').map_or("", |(folder, _)| folder);
    let statics = text.lines().filter(|line| line.starts_with("import "));
    let named = statics.filter_map(|line| line.split("from './").nth(1)?.split('\'').next());
    named.map(|name| format!("{folder}/{name}")).collect()
}

async fn the_list_comes_in_few_bytes(backend: Backend) {
    let app = TestApp::new(backend).await;
    let (mut loaded, mut bytes) = (BTreeSet::new(), 0);
    let mut waiting = vec!["/embed.js".to_owned(), "/embed/thread.js".to_owned()];
    while let Some(path) = waiting.pop() {
        if loaded.insert(path.clone()) {
            bytes += packed(&app, &path).await.body.len();
            waiting.extend(imports(&path, &app.get(&path).await.text()));
        }
    }
    assert!(loaded.contains("/embed/language/en.js") && loaded.len() > 4, "{loaded:?}");
    assert!(bytes <= FIRST_VIEW, "{bytes} bytes in {loaded:?}");
    assert!(!loaded.contains("/embed/form.js"), "the form comes when it is near");
}

async fn the_demo_is_shown_where_it_should_be(backend: Backend) {
    let app = TestApp::new(backend).await;
    for path in ["/demo/", "/demo/demo.css", "/demo/icon.svg"] {
        assert_eq!(app.get(path).await.status, 200, "{path}");
    }
    let page = app.get("/demo/").await;
    assert_eq!(page.header("content-type"), "text/html; charset=utf-8");
    let policy = page.header("content-security-policy");
    assert!(policy.contains("default-src 'none'") && policy.contains("require-trusted-types-for 'script'"), "{policy}");
    let named = app.request(Method::GET, "/demo/").header("host", "localhost:8080");
    let moved = app.send(named).await;
    assert!(moved.status == 302 && moved.header("location") == format!("{}/demo/", app.url), "{:?}", moved.status);
    for (setting, value) in [("demo__enabled", "false"), ("server__public_url", "https://comments.example.org")] {
        let app = TestApp::build(backend).set(setting, value).start().await;
        assert_eq!(app.get("/demo/").await.status, 404, "{setting}");
    }
    let shown = TestApp::build(backend).set("server__public_url", "https://comments.example.org");
    assert_eq!(shown.set("demo__enabled", "true").start().await.get("/demo/").await.status, 200);
}
