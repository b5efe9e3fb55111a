//! The rules with which a site begins, after WordPress's defaults (<https://wordpress.org/documentation/article/settings-discussion-screen/>,
//! "Comment Moderation" and "Disallowed Comment Keys"). Only the first changes what happens to ordinary comments.

use super::draft::{Combined, Condition, Draft, Effect, Is, On, Value};
use crate::domain::comment::Decision;

/// The name of the rule whose list is ready to be filled.
pub const DISALLOWED: &str = "Disallowed words";

/// The rules of a new site, in order.
pub fn rules() -> Vec<Draft> {
    let on_its_own = |on, is, values, list| Condition { on, is, values, list, not: false, zone: None };
    let rule = |name: &str, condition, decision, enabled| Draft {
        name: name.to_owned(),
        enabled,
        combined: Combined::All,
        conditions: vec![condition],
        effect: Effect::Decide(decision),
        reason: String::new(),
    };
    vec![
        // WordPress throws these away; here a person can still look at them.
        rule(DISALLOWED, on_its_own(On::Anywhere, Is::ContainsWord, Vec::new(), true), Decision::Spam, false),
        rule(
            "More than 2 links",
            on_its_own(On::Links, Is::MoreThan, vec![Value::Number(2)], false),
            Decision::Hold,
            true,
        ),
        // The policy `new_authors` says the same for a whole site.
        rule("New authors", on_its_own(On::Author, Is::New, Vec::new(), false), Decision::Hold, false),
    ]
}
