//! kill -9 between sending to a webhook and marking it as sent: each event arrives at least once, under one id, and those of
//! a comment in their order.

use std::collections::HashMap;

use reqwest::blocking::Client;
use serde_json::{Value, json};

use crate::support::program::Installation;
use crate::support::receiver::{Mode, Received, Receiver};

#[test]
fn events_survive_kill_9() {
    let receiver = Receiver::start();
    let installation = Installation::new()
        .set("limits__enabled", "false")
        .set("log__level", "warn")
        .set("webhooks__allowed_networks", "127.0.0.1");
    let mut running = installation.start();
    let token = installation.token("admin");
    let client = Client::new();
    let post = |path: String, body: Value| -> Value {
        let sent = client.post(path).bearer_auth(&token).json(&body).send().unwrap();
        sent.error_for_status().unwrap().json().unwrap()
    };
    let hook = post(format!("{}/api/v1/webhooks", running.url), json!({"url": receiver.url()}));
    let secret = hook["secret"].as_str().unwrap().to_owned();
    let mut came: Vec<Received> = Vec::new();
    let mut comments = Vec::new();
    for round in 0..3 {
        // It has got an event, and the service waits for its answer, when the service dies.
        receiver.mode(Mode::Hang);
        for n in 0..5 {
            let comment =
                json!({"article": "/a", "name": "Ada", "email": "a@example.org", "body": format!("{round} {n}")});
            let sent = client.post(format!("{}/api/v1/sites/default/comments", running.url)).json(&comment).send();
            let sent: Value = sent.unwrap().json().unwrap();
            let id = sent["comment"]["id"].as_str().unwrap().to_owned();
            post(format!("{}/api/v1/moderation/comments/{id}/approve", running.url), json!({}));
            comments.push(id);
        }
        came.extend(receiver.wait_for(1));
        running.kill();
        receiver.mode(Mode::Answer(200));
        running = installation.start();
    }
    let expected = comments.len() * 2;
    // A claim of a process that died runs out within half a minute.
    let begun = std::time::Instant::now();
    loop {
        came.extend(receiver.take());
        let ids: std::collections::HashSet<&str> = came.iter().map(Received::id).collect();
        if ids.len() == expected {
            break;
        }
        assert!(begun.elapsed() < std::time::Duration::from_mins(4), "{} of {expected}", ids.len());
        std::thread::park_timeout(std::time::Duration::from_millis(50));
    }
    let mut order: HashMap<String, Vec<(String, String)>> = HashMap::new();
    for message in &came {
        assert!(message.is_signed_by(&secret));
        let of_one = order.entry(message.comment()).or_default();
        let event = (message.kind(), message.id().to_owned());
        // The same again is fine; what was before is not told after.
        if of_one.last() != Some(&event) {
            of_one.push(event);
        }
    }
    for id in comments {
        let kinds: Vec<_> = order[&id].iter().map(|(kind, _)| kind.as_str()).collect();
        assert_eq!(kinds, ["held", "approved"], "{id}");
    }
    assert!(running.stop().success());
}
