//! A set of rules over one comment: asked in their order, the first that decides ends it, the others add up. Pure: the same
//! set says the same of the same comment, now and in a replay.

use std::sync::Arc;

use super::compiled::Rule;
use super::draft::{Effect, Score};
use super::subject::{Subject, View};
use crate::domain::comment::{Decision, HoldReason};

/// The code of a reason that a rule gives.
pub const RULE: &str = "rule";

/// From which scores on a comment is held, and called spam.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Thresholds {
    /// Held from here on.
    pub hold: Score,
    /// Spam from here on.
    pub spam: Score,
}

/// Rules in the order in which they are asked.
#[derive(Clone)]
pub struct RuleSet {
    /// The rules, those for all sites first.
    pub rules: Vec<Arc<Rule>>,
    /// What the score decides.
    pub thresholds: Thresholds,
}

/// What a set of rules says of a comment.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Ruling {
    /// Each rule that matched, in order, as moderators read it.
    pub matched: Vec<HoldReason>,
    /// The sum; none if no rule added to it.
    pub score: Option<Score>,
    /// What was decided and why, if anything was.
    pub decided: Option<Decided>,
    /// A rule would have needed the address, and it is not known well enough.
    pub lacks_address: bool,
}

/// A decision by rules.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Decided {
    /// What is to happen.
    pub decision: Decision,
    /// Why, for the event log: words of the rule's author, none of the visitor's.
    pub reason: String,
}

impl RuleSet {
    /// Asks all rules, with the operator's own thresholds.
    pub fn judge(&self, subject: &Subject<'_>) -> Ruling {
        self.judge_by(subject, self.thresholds)
    }

    /// Asks all rules, also those whose answer no longer counts: how long it takes must not tell a visitor what was decided.
    pub fn judge_by(&self, subject: &Subject<'_>, thresholds: Thresholds) -> Ruling {
        let view = View::of(subject);
        let mut ruling = Ruling::default();
        for rule in self.rules.iter().filter(|rule| rule.enabled) {
            let answer = rule.ask(&view);
            if ruling.decided.is_some() {
                continue;
            }
            ruling.lacks_address |= answer.lacks_address;
            let Some(detail) = answer.matched else { continue };
            ruling.matched.push(told(rule, &detail));
            match rule.effect {
                Effect::Score(score) => {
                    let sum = ruling.score.unwrap_or_default().0.saturating_add(score.0);
                    ruling.score = Some(Score(sum));
                }
                Effect::Decide(decision) => {
                    let reason = if rule.reason.is_empty() { &rule.name } else { &rule.reason };
                    ruling.decided = Some(Decided { decision, reason: reason.clone() });
                }
            }
        }
        ruling.decided = ruling.decided.or_else(|| ruling.score.and_then(|score| thresholds.decide(score)));
        ruling
    }
}

impl Thresholds {
    fn decide(self, score: Score) -> Option<Decided> {
        let Self { hold, spam } = self;
        let reached = |decision, called: &str, from: Score| {
            let reason = format!("Score {}: {called} from {} on", score.points(), from.points());
            Some(Decided { decision, reason })
        };
        if score >= spam {
            reached(Decision::Spam, "spam", spam)
        } else if score >= hold {
            reached(Decision::Hold, "held", hold)
        } else {
            None
        }
    }
}

/// A match as moderators read it.
fn told(rule: &Rule, detail: &str) -> HoldReason {
    let points = match rule.effect {
        Effect::Score(score) => format!(" ({:+})", score.points()),
        Effect::Decide(_) => String::new(),
    };
    let why = if rule.reason.is_empty() { String::new() } else { format!(". {}", rule.reason) };
    HoldReason { code: RULE.to_owned(), detail: format!("Rule “{}”{points}: {detail}{why}", rule.name) }
}

#[cfg(test)]
mod tests {
    use super::super::draft::Draft;
    use super::super::subject::{History, network};
    use super::super::words::read_list;
    use super::*;
    use crate::domain::comment::Status;
    use crate::domain::policy::{Facts, judge};
    use crate::domain::render::render;
    use crate::domain::site::Policy;
    use crate::domain::text::Body;
    use crate::domain::time::Timestamp;
    use proptest::prelude::*;
    use serde_json::{Value, json};

    const THRESHOLDS: Thresholds = Thresholds { hold: Score(500), spam: Score(1000) };

    fn condition() -> impl Strategy<Value = Value> {
        let word = prop::sample::select(vec!["casino", "a", "Ünï", "http", "赌", "ada"]);
        let is = prop::sample::select(vec!["contains_word", "contains", "equals"]);
        let on = prop::sample::select(vec!["body", "name", "anywhere"]);
        let words = (on, is, word, any::<bool>())
            .prop_map(|(on, is, word, not)| json!({"on": on, "is": is, "values": [word], "not": not}));
        let measured = prop::sample::select(vec!["links", "images", "length", "author_approved", "author_spam"]);
        let numbers = (measured, prop::sample::select(vec!["more_than", "less_than"]), 0_u64..20)
            .prop_map(|(on, is, number)| json!({"on": on, "is": is, "values": [number]}));
        prop_oneof![words, numbers]
    }

    fn effect() -> impl Strategy<Value = Value> {
        let decisions = prop::sample::select(vec!["approve", "hold", "spam", "reject"]);
        let points = prop::sample::select(vec![-600, -50, 125, 500, 700]);
        prop_oneof![
            decisions.prop_map(|decision| json!({"decide": decision})),
            points.prop_map(|points| json!({"score": f64::from(points) / 100.0})),
        ]
    }

    fn drafts() -> impl Strategy<Value = Vec<Draft>> {
        let shape = (prop::collection::vec(condition(), 1..4), effect(), any::<bool>(), any::<bool>());
        let draft = shape.prop_map(|(conditions, effect, all, enabled)| {
            let combined = if all { "all" } else { "any" };
            let rule = json!({
                "name": "r", "match": combined, "conditions": conditions, "effect": effect, "enabled": enabled
            });
            Draft::read(rule, "", &mut Vec::new()).unwrap()
        });
        prop::collection::vec(draft, 0..6)
    }

    fn texts() -> impl Strategy<Value = String> {
        let pieces = prop::sample::select(vec![
            "casino ",
            "саsino ",
            "http://a.example ",
            "![x](http://b.example) ",
            "a",
            "Ünï ",
            "赌场",
            "\n\n",
            "<b> ",
            "words ",
        ]);
        prop_oneof![prop::collection::vec(pieces, 1..12).prop_map(|pieces| pieces.concat()), "\\PC{1,200}"]
    }

    fn set(drafts: &[Draft]) -> RuleSet {
        let rules = drafts.iter().map(|draft| Arc::new(Rule::compile(draft, &[], "").unwrap())).collect();
        RuleSet { rules, thresholds: THRESHOLDS }
    }

    fn ruling(drafts: &[Draft], body: &str, approved: i64) -> Ruling {
        let html = Body::parse(body.trim(), "body").map(|body| render(&body)).unwrap_or_default();
        set(drafts).judge(&Subject {
            name: "Ada",
            email: Some("ada@example.org"),
            email_is_hidden: false,
            website: None,
            body,
            body_html: &html,
            author: History { approved, ..History::default() },
            address: network("192.0.2.7"),
            at: Timestamp(0),
        })
    }

    proptest! {
        #[test]
        fn order_decides_and_points_add_up(drafts in drafts(), body in texts(), approved in 0_i64..5) {
            let told = ruling(&drafts, &body, approved);
            prop_assert_eq!(&told, &ruling(&drafts, &body, approved), "the same of the same");
            let on: Vec<Draft> = drafts.iter().filter(|draft| draft.enabled).cloned().collect();
            prop_assert_eq!(&told, &ruling(&on, &body, approved), "what is off does nothing");
            // Said again, one rule at a time.
            let (mut sum, mut decided, mut matched) = (None, None, 0);
            for draft in &on {
                let alone = ruling(std::slice::from_ref(draft), &body, approved);
                if alone.matched.is_empty() {
                    continue;
                }
                matched += 1;
                match draft.effect {
                    Effect::Score(score) => sum = Some(sum.unwrap_or(0) + score.0),
                    Effect::Decide(decision) => {
                        decided = Some(decision);
                        break;
                    }
                }
            }
            let by_score = match sum {
                Some(sum) if sum >= 1000 => Some(Decision::Spam),
                Some(sum) if sum >= 500 => Some(Decision::Hold),
                _ => None,
            };
            prop_assert_eq!(told.score, sum.map(Score));
            prop_assert_eq!(told.matched.len(), matched);
            prop_assert_eq!(told.decided.map(|decided| decided.decision), decided.or(by_score));
        }

        #[test]
        fn the_opposite_of_a_condition_is_its_opposite(condition in condition(), body in texts()) {
            let holds = |not: bool| {
                let mut condition = condition.clone();
                condition["not"] = json!(not);
                let rule = json!({"name": "r", "conditions": [condition], "effect": {"score": 1}});
                !ruling(&[Draft::read(rule, "", &mut Vec::new()).unwrap()], &body, 1).matched.is_empty()
            };
            prop_assert_ne!(holds(true), holds(false));
        }

        #[test]
        fn what_the_honeypot_calls_spam_stays_spam(drafts in drafts(), body in texts(), flooded in any::<bool>()) {
            let facts = Facts { honeypot: true, flooded, trusted: true, ..Facts::default() };
            let verdict = judge(Policy::None, facts, ruling(&drafts, &body, 3));
            prop_assert_eq!(verdict.status, Status::Spam);
            let facts = Facts { honeypot: false, flooded: true, ..facts };
            prop_assert_ne!(judge(Policy::None, facts, ruling(&drafts, &body, 3)).status, Status::Approved);
        }

        #[test]
        fn any_pattern_and_any_text_do_no_harm(pattern in "\\PC{0,40}", text in "\\PC{0,300}", list in "\\PC{0,80}") {
            for is in ["matches", "contains", "contains_word", "equals"] {
                let condition = json!({"on": "anywhere", "is": is, "values": [pattern]});
                let rule = json!({"name": "r", "conditions": [condition], "effect": {"decide": "hold"}});
                if let Some(draft) = Draft::read(rule, "", &mut Vec::new())
                    && Rule::compile(&draft, &[], "").is_ok()
                {
                    ruling(&[draft], &text, 0);
                }
            }
            let _ = read_list(&list);
        }

        /// A rule is stored as it is answered, and read again as what it was.
        #[test]
        fn what_is_written_is_what_is_read(drafts in drafts()) {
            for draft in drafts {
                let written = serde_json::to_value(&draft).unwrap();
                prop_assert_eq!(Draft::read(written, "", &mut Vec::new()), Some(draft));
            }
        }

        #[test]
        fn anything_may_be_sent_as_a_rule(text in "\\PC{0,30}", number in any::<f64>(), flag in any::<bool>()) {
            let values = [json!(text), json!(number), json!(flag), json!([text]), json!({"on": text}), Value::Null];
            for one in &values {
                for other in &values {
                    let rule = json!({"name": one, "conditions": [other, {"on": "body", "is": one, "values": other}],
                        "effect": {"score": one}, "match": other, "reason": one});
                    let mut faults = Vec::new();
                    prop_assert_eq!(Draft::read(rule, "x", &mut faults).is_none(), !faults.is_empty());
                }
            }
        }
    }

    #[test]
    fn the_ready_made_rules_can_be_read() {
        for draft in super::super::ready_made::rules() {
            let written = serde_json::to_value(&draft).unwrap();
            let mut faults = Vec::new();
            assert_eq!(Draft::read(written, "", &mut faults).as_ref(), Some(&draft), "{faults:?}");
            assert!(Rule::compile(&draft, &[], "").is_ok());
        }
    }
}
