//! Rules: what an operator says about comments before a person sees them. A rule is written as a [`draft::Draft`], read once
//! into a [`compiled::Rule`], and a [`judge::RuleSet`] of them looks at each [`subject::Subject`]. The same function serves
//! real comments and the replay over stored ones.

pub mod compiled;
pub mod draft;
pub mod fields;
pub mod judge;
mod language;
pub mod ready_made;
pub mod subject;
pub mod words;
