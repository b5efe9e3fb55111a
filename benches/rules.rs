//! What rules cost: how long a list of 65,000 words takes to be read and compiled, and what it costs each comment, beside the
//! ready-made rules and a hostile pattern. `cargo bench --bench rules -- LIST COMMENTS`, with a word list and a CSV or plain
//! file of texts, one per line; both lie in the shared test data.
#![expect(clippy::unwrap_used, clippy::disallowed_methods, clippy::cast_precision_loss, reason = "a bench")]

use std::sync::Arc;
use std::time::Instant;

use afterword::domain::rules::compiled::Rule;
use afterword::domain::rules::draft::{Draft, Score};
use afterword::domain::rules::judge::{RuleSet, Thresholds};
use afterword::domain::rules::ready_made;
use afterword::domain::rules::subject::{History, Subject, network};
use afterword::domain::rules::words::read_list;
use afterword::domain::time::Timestamp;
use serde_json::json;

fn main() {
    let given: Vec<String> = std::env::args().skip(1).filter(|argument| !argument.starts_with("--")).collect();
    let [list, texts] = given.as_slice() else {
        println!("cargo bench --bench rules -- LIST COMMENTS");
        return;
    };
    let (list, texts) = (std::fs::read_to_string(list).unwrap(), std::fs::read(texts).unwrap());
    let texts = String::from_utf8_lossy(&texts).into_owned();
    let texts: Vec<&str> = texts.lines().filter(|line| !line.is_empty()).collect();
    for is in ["contains_word", "contains"] {
        let begun = Instant::now();
        let words = read_list(&list).unwrap();
        let read = begun.elapsed();
        let rule = compiled(is, &words);
        println!("{is}: {} entries read in {read:?}, all in {:?}", words.len(), begun.elapsed());
        each(&format!("{is}, {} entries", words.len()), vec![rule], &texts);
    }
    let ready = ready_made::rules().iter().map(|draft| Rule::compile(draft, &[], "").unwrap()).collect();
    each("the ready-made rules", ready, &texts);
    let hostile = "a".repeat(10_000);
    each("(a+)+$ on 10,000 letters", vec![matches("(a+)+$")], &[hostile.as_str()]);
    each("(.*)*c on 10,000 letters", vec![matches("(.*)*c")], &[hostile.as_str()]);
}

fn draft(condition: &serde_json::Value) -> Draft {
    let rule = json!({"name": "bench", "conditions": [condition], "effect": {"score": 1}});
    Draft::read(rule, "", &mut Vec::new()).unwrap()
}

fn compiled(is: &str, words: &[String]) -> Rule {
    Rule::compile(&draft(&json!({"on": "anywhere", "is": is, "list": true})), words, "").unwrap()
}

fn matches(pattern: &str) -> Rule {
    Rule::compile(&draft(&json!({"on": "body", "is": "matches", "values": [pattern]})), &[], "").unwrap()
}

/// Judges every text ten times, and says what one cost and how many matched.
fn each(what: &str, rules: Vec<Rule>, texts: &[&str]) {
    let thresholds = Thresholds { hold: Score(500), spam: Score(1000) };
    let set = RuleSet { rules: rules.into_iter().map(Arc::new).collect(), thresholds };
    let mut matched = 0;
    let begun = Instant::now();
    for _ in 0..10 {
        for body in texts {
            let subject = Subject {
                name: "Ada",
                email: Some("ada@example.org"),
                email_is_hidden: false,
                website: None,
                body,
                body_html: body,
                author: History::default(),
                address: network("192.0.2.7"),
                at: Timestamp(0),
            };
            matched += set.judge(&subject).matched.len();
        }
    }
    let one = begun.elapsed().as_secs_f64() / (10.0 * texts.len() as f64);
    println!("{what}: {:.1} µs for each of {} texts, {} match", one * 1e6, texts.len(), matched / 10);
}
