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
    /// Asks all rules that there is to ask.
    pub fn judge(&self, subject: &Subject<'_>) -> Ruling {
        let view = View::of(subject);
        let mut ruling = Ruling::default();
        for rule in self.rules.iter().filter(|rule| rule.enabled) {
            let answer = rule.ask(&view);
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
                    return ruling;
                }
            }
        }
        ruling.decided = ruling.score.and_then(|score| self.by_score(score));
        ruling
    }

    fn by_score(&self, score: Score) -> Option<Decided> {
        let Thresholds { hold, spam } = self.thresholds;
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
