//! A replay says what then happens.

use serde_json::{Value, json};

use super::{open_house, rule, says, seen};
use crate::support::app::{Moderator, comment};
use crate::support::database::{Backend, on_both_databases};

on_both_databases!(a_replay_says_what_then_happens, a_replay_says_how_many_lack_an_address);

/// Texts with something for every kind of condition.
const TEXTS: [&str; 12] = [
    "Thank you, this helped me a lot.",
    "see http://a.example, http://b.example and http://c.example",
    "The best casino in town",
    "саsino with a disguise",
    "![one](http://a.example/1.png) ![two](http://a.example/2.png)",
    "Das ist ein ziemlich langer deutscher Satz, in dem nichts steht, was nicht deutsch wäre.",
    "call 555-1234 now",
    "short",
    "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa",
    "one two three",
    "casino casino http://a.example",
    "wait, what?",
];

fn drafts() -> Value {
    let rule = |name: &str, conditions: Value, effect: Value| json!({"name": name, "conditions": conditions, "effect": effect});
    let mut any = rule(
        "Either",
        json!([{"on": "language", "is": "one_of", "values": ["de"]}, {"on": "images", "is": "more_than", "values": [1]}]),
        json!({"score": 5}),
    );
    any["match"] = json!("any");
    json!([
        rule(
            "Numbers",
            json!([{"on": "body", "is": "matches", "values": ["\\d{3}-\\d{4}"]}]),
            json!({"decide": "reject"})
        ),
        rule("Words", json!([{"on": "anywhere", "is": "contains_word", "values": ["casino"]}]), json!({"score": 7.5})),
        any,
        rule("Links", json!([{"on": "links", "is": "more_than", "values": [0]}]), json!({"score": 2.5})),
        rule(
            "Short",
            json!([{"on": "length", "is": "less_than", "values": [6]}, {"on": "author", "is": "new"}]),
            json!({"decide": "approve"})
        ),
        rule(
            "Night",
            json!([{"on": "time", "is": "between", "values": ["23:00", "02:00"], "zone": "Europe/Berlin"},
                             {"on": "email_domain", "is": "within", "values": ["org"]},
                             {"on": "body", "is": "contains", "values": ["wait"], "not": true}]),
            json!({"score": 0.5})
        ),
        rule("Waits", json!([{"on": "body", "is": "contains_word", "values": ["wait"]}]), json!({"decide": "hold"})),
    ])
}

async fn a_replay_says_what_then_happens(backend: Backend) {
    let app = open_house(backend).await;
    let moderator = app.default_moderator().await;
    for text in TEXTS {
        app.submit(&comment(text)).await.expect(201);
    }
    let order = json!({"site": "default", "rules": drafts()});
    let said = moderator.post("/rules/simulate", &order).await.expect(200);
    assert_eq!((&said["judged"], &said["without_address"]), (&json!(TEXTS.len()), &json!(0)));
    for rule in drafts().as_array_mut().unwrap() {
        rule["site"] = json!("default");
        moderator.post("/rules", rule).await.expect(201);
    }
    let mut counted = std::collections::BTreeMap::new();
    for text in TEXTS {
        let mut again = comment(text);
        again["article"] = json!("/b");
        let answer = app.submit(&again).await.json();
        let real = seen(&moderator, &answer).await;
        *counted.entry(real["status"].as_str().unwrap().to_owned()).or_insert(0) += 1;
        let sample = said["samples"].as_array().unwrap().iter().find(|sample| sample["excerpt"] == text);
        match sample {
            None => assert_eq!(real["status"], "approved", "{text}"),
            Some(sample) => {
                for (told, is) in [("after", "status"), ("hold_reasons", "hold_reasons"), ("spam_score", "spam_score")]
                {
                    assert_eq!(sample[told], real[is], "{text}: {told}");
                }
            }
        }
    }
    let told: std::collections::BTreeMap<String, i64> = said["outcomes"]
        .as_array()
        .unwrap()
        .iter()
        .map(|course| (course["after"].as_str().unwrap().to_owned(), course["count"].as_i64().unwrap()))
        .collect();
    assert_eq!(told, counted);
    assert!(counted.len() == 4, "every outcome is there: {counted:?}");
    the_same_again_changes_nothing(&moderator, &order).await;
}

/// The draft is the rules now.
async fn the_same_again_changes_nothing(moderator: &Moderator<'_>, order: &Value) {
    let again = moderator.post("/rules/simulate", order).await.expect(200);
    assert_eq!((&again["changed"], &again["judged"]), (&json!(0), &json!(2 * TEXTS.len())));
    // One rule in the place of another.
    let rules = moderator.get("/rules").await.expect(200)["rules"].clone();
    let one = json!({"id": rules[1]["id"], "name": "Words", "conditions": [says("nothing")], "effect": {"score": 1}});
    let without =
        moderator.post("/rules/simulate", &json!({"site": "default", "rule": one, "limit": 12})).await.expect(200);
    assert_eq!((&without["judged"], &without["changed"]), (&json!(12), &json!(3)));
}

async fn a_replay_says_how_many_lack_an_address(backend: Backend) {
    let app = open_house(backend).await;
    let moderator = app.default_moderator().await;
    app.submit(&comment("here")).await.expect(201);
    let within = |network: &str| json!({"on": "address", "is": "within", "values": [network]});
    let tried = async |network: &str| {
        let draft = json!({"name": "x", "conditions": [within(network)], "effect": {"decide": "hold"}});
        let said = moderator.post("/rules/simulate", &json!({"site": "default", "rule": draft})).await.expect(200);
        (said["without_address"].as_i64().unwrap(), said["changed"].as_i64().unwrap())
    };
    // The /24 is what is kept.
    assert_eq!(tried("127.0.0.0/8").await, (0, 1));
    assert_eq!(tried("127.0.0.1").await, (1, 0));
    assert_eq!(tried("10.0.0.0/8").await, (0, 0));
    // A real comment is judged by its whole address.
    moderator.post("/rules", &rule("Here", &within("127.0.0.1"), &json!({"decide": "hold"}))).await.expect(201);
    app.submit(&comment("here again")).await.expect(202);
}
