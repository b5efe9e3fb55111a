//! Two at once: whoever decides, edits, replies or repeats, the counters agree with the rows and nobody is overwritten
//! unseen. On PostgreSQL two connections write at the same time.

use std::time::Duration;

use afterword::domain::site::Policy;
use reqwest::{Method, StatusCode};
use serde_json::{Value, json};

use crate::support::app::{Answer, Moderator, TestApp, comment};
use crate::support::database::{Backend, on_both_databases};

on_both_databases!(
    opposite_decisions_on_one_version,
    an_approval_never_publishes_an_unseen_edit,
    of_two_doubles_one_is_taken,
    replies_and_decisions_in_all_orders_do_not_fail,
);

async fn ids(app: &TestApp, count: usize, article: &str) -> Vec<(String, String)> {
    let mut ids = Vec::new();
    for number in 0..count {
        let mut body = comment(&format!("text {number}"));
        body["article"] = json!(article);
        let answer = app.submit(&body).await.expect(202);
        let token = answer["author_token"].as_str().unwrap().to_owned();
        ids.push((answer["comment"]["id"].as_str().unwrap().to_owned(), token));
    }
    ids
}

async fn decide(moderator: &Moderator<'_>, app: &TestApp, id: &str, decision: &str) -> Answer {
    let path = format!("/comments/{id}/{decision}");
    app.send(moderator.request(Method::POST, &path).header("If-Match", "\"1\"")).await
}

/// What the counters say must be what the rows say.
async fn counters_agree(app: &TestApp, moderator: &Moderator<'_>) {
    let all = moderator.get("/comments?status=all&limit=200").await.expect(200);
    let count = |status: &str| all["comments"].as_array().unwrap().iter().filter(|row| row["status"] == status).count();
    let summary = moderator.get("/summary").await.expect(200);
    for status in ["pending", "approved", "rejected"] {
        assert_eq!(summary["counts"][status], count(status), "{summary}");
    }
    let listed = app.list("&limit=200").await;
    assert_eq!(listed["article"]["comment_count"], count("approved"));
}

async fn opposite_decisions_on_one_version(backend: Backend) {
    let app = TestApp::new(backend).await;
    let moderator = app.default_moderator().await;
    for (id, _) in ids(&app, 60, "/a").await {
        let (one, other) =
            tokio::join!(decide(&moderator, &app, &id, "approve"), decide(&moderator, &app, &id, "reject"));
        let mut answers = [one.status.as_u16(), other.status.as_u16()];
        answers.sort_unstable();
        assert_eq!(answers, [200, 412], "one of two decisions on the same version counts");
    }
    counters_agree(&app, &moderator).await;
}

async fn an_approval_never_publishes_an_unseen_edit(backend: Backend) {
    let app = TestApp::new(backend).await;
    let moderator = app.default_moderator().await;
    for (id, token) in ids(&app, 40, "/a").await {
        let edit = app
            .request(Method::PATCH, &format!("/api/v1/comments/{id}"))
            .bearer_auth(token)
            .json(&json!({"body": "unseen"}));
        let (approved, edited) = tokio::join!(decide(&moderator, &app, &id, "approve"), app.send(edit));
        let now = moderator.get(&format!("/comments/{id}")).await.expect(200);
        match (approved.status, edited.status) {
            (StatusCode::OK, StatusCode::ACCEPTED) => {
                assert_ne!(now["body"], "unseen");
                assert_eq!(now["pending_edit"]["body"], "unseen");
            }
            (StatusCode::PRECONDITION_FAILED, StatusCode::OK) => assert_eq!(now["status"], "pending"),
            other => panic!("{other:?}"),
        }
    }
}

async fn of_two_doubles_one_is_taken(backend: Backend) {
    let app = TestApp::new(backend).await;
    for number in 0..40 {
        let body = comment(&format!("the same {number}"));
        let (one, other) = tokio::join!(app.submit(&body), app.submit(&body));
        let mut answers = [one.status.as_u16(), other.status.as_u16()];
        answers.sort_unstable();
        assert_eq!(answers, [202, 409]);
    }
}

/// Replies that are public at once change their parents; two groups that took them in opposite orders once locked each
/// other out.
async fn replies_and_decisions_in_all_orders_do_not_fail(backend: Backend) {
    let app = TestApp::new(backend).await;
    let parents = [app.published("one", None).await, app.published("two", None).await];
    let mut open = (*app.service.sites.by_key("default").unwrap()).clone();
    open.policy = Policy::None;
    app.service.update_site(open).await.unwrap();
    let moderator = app.default_moderator().await;
    let waiting = (0..160_usize).map(|number| {
        let (app, parents, moderator) = (&app, &parents, &moderator);
        async move {
            if number % 8 == 0 {
                let decision = if number % 16 == 0 { "hold" } else { "approve" };
                return moderator.decide(&parents[number / 8 % 2], decision).await.status;
            }
            let mut body = comment(&format!("reply {number}"));
            body["parent_id"] = json!(parents[number % 2]);
            app.submit(&body).await.status
        }
    });
    let statuses = futures_util::future::join_all(waiting).await;
    // A parent that is held at that moment takes no reply.
    let allowed = [StatusCode::OK, StatusCode::CREATED, StatusCode::UNPROCESSABLE_ENTITY];
    assert!(statuses.iter().all(|status| allowed.contains(status)), "{statuses:?}");
    tokio::time::timeout(Duration::from_secs(10), counters_agree(&app, &moderator)).await.unwrap();
    let listed: Value = app.list("&limit=200").await;
    for parent in listed["comments"].as_array().unwrap().iter().filter(|row| row["depth"] == 0) {
        let replies = listed["comments"].as_array().unwrap().iter().filter(|row| row["parent_id"] == parent["id"]);
        if parent["removed"] != json!(true) {
            assert_eq!(parent["reply_count"], replies.count());
        }
    }
}
