//! A rule as it is written, in requests and in the database: the same reader for both, which tells all faults at once, each
//! with its path.

use serde::{Deserialize, Deserializer, Serialize, Serializer};
use serde_json::Value as Json;

use super::fields::Object;
use crate::domain::comment::Decision;
use crate::domain::fault::Fault;

/// Conditions of one rule, at most.
pub const CONDITIONS_MAX: usize = 20;

/// Values that stand in one condition, at most; longer lists are the rule's own.
pub const VALUES_MAX: usize = 1000;

/// Patterns in one condition, at most.
pub const PATTERNS_MAX: usize = 20;

/// Characters of a name, and of a reason, at most.
const NAME_MAX: usize = 100;
const REASON_MAX: usize = 300;

/// A rule as it is written.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Draft {
    /// What moderators call it.
    pub name: String,
    /// Whether it does anything.
    pub enabled: bool,
    /// How its conditions belong together.
    #[serde(rename = "match")]
    pub combined: Combined,
    /// 1 to 20.
    pub conditions: Vec<Condition>,
    /// What it does when it matches.
    pub effect: Effect,
    /// What moderators read beside a comment that it matched; may be empty.
    pub reason: String,
}

/// How conditions belong together.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Combined {
    /// Every one must hold.
    All,
    /// One is enough.
    Any,
}

/// What a rule does when it matches.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Effect {
    /// It decides, and no rule after it is asked.
    Decide(Decision),
    /// It adds to the score.
    Score(Score),
}

/// Points, in hundredths, so that sums are exact.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Default)]
pub struct Score(pub i32);

impl Score {
    /// The largest that one rule may add or take away, in points.
    pub const MOST: f64 = 100.0;

    /// A score from points with at most two decimals; none for anything else.
    pub fn of_points(points: f64) -> Option<Self> {
        let hundredths = points * 100.0;
        let whole = hundredths.round();
        let exact = points.abs() <= Self::MOST && (hundredths - whole).abs() < 1e-6;
        #[expect(clippy::cast_possible_truncation, reason = "at most 10,000, and whole")]
        exact.then_some(Self(whole as i32))
    }

    /// As points.
    pub fn points(self) -> f64 {
        f64::from(self.0) / 100.0
    }
}

impl<'de> Deserialize<'de> for Score {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let points = f64::deserialize(deserializer)?;
        Self::of_points(points).ok_or_else(|| serde::de::Error::custom("no points"))
    }
}

impl Serialize for Score {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_f64(self.points())
    }
}

/// One condition as it is written.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Condition {
    /// What is looked at.
    pub on: On,
    /// What it is compared by.
    pub is: Is,
    /// What it is compared with.
    pub values: Vec<Value>,
    /// Whether the rule's own list stands for the values.
    #[serde(skip_serializing_if = "is_false")]
    pub list: bool,
    /// Whether it holds when this is not so.
    pub not: bool,
    /// The time zone of a time of day.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub zone: Option<String>,
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde calls it so")]
fn is_false(flag: &bool) -> bool {
    !flag
}

/// A value of a condition.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(untagged)]
pub enum Value {
    /// A whole number.
    Number(u64),
    /// A word, a pattern, a domain, a network, a language, a time.
    Text(String),
}

/// What a condition looks at.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[expect(missing_docs, reason = "docs/rules.md has the table")]
pub enum On {
    Body,
    Name,
    Email,
    Website,
    Anywhere,
    EmailDomain,
    WebsiteDomain,
    Links,
    Images,
    Length,
    Language,
    Author,
    AuthorApproved,
    AuthorRejected,
    AuthorSpam,
    Address,
    Time,
}

/// How a condition compares.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[expect(missing_docs, reason = "docs/rules.md has the table")]
pub enum Is {
    ContainsWord,
    Contains,
    Equals,
    Matches,
    Within,
    MoreThan,
    LessThan,
    OneOf,
    New,
    Between,
}

const ALL_ON: &str = "body, name, email, website, anywhere, email_domain, website_domain, links, images, length, language, \
                      author, author_approved, author_rejected, author_spam, address, time";
const ALL_IS: &str = "contains_word, contains, equals, matches, within, more_than, less_than, one_of, new, between";

impl On {
    /// The comparisons that make sense here, and their names.
    fn takes(self) -> (&'static [Is], &'static str) {
        match self {
            Self::Body | Self::Name | Self::Email | Self::Website | Self::Anywhere => {
                (&[Is::ContainsWord, Is::Contains, Is::Equals, Is::Matches], "contains_word, contains, equals, matches")
            }
            Self::EmailDomain | Self::WebsiteDomain | Self::Address => (&[Is::Within], "within"),
            Self::Links
            | Self::Images
            | Self::Length
            | Self::AuthorApproved
            | Self::AuthorRejected
            | Self::AuthorSpam => (&[Is::MoreThan, Is::LessThan], "more_than, less_than"),
            Self::Language => (&[Is::OneOf], "one_of"),
            Self::Author => (&[Is::New], "new"),
            Self::Time => (&[Is::Between], "between"),
        }
    }
}

impl Condition {
    /// Whether the rule's own list may stand for its values.
    fn may_list(&self) -> bool {
        matches!(self.is, Is::ContainsWord | Is::Contains | Is::Equals)
            || matches!(self.on, On::EmailDomain | On::WebsiteDomain)
    }

    /// How many values there must be.
    fn counts(&self) -> std::ops::RangeInclusive<usize> {
        match self.is {
            Is::New => 0..=0,
            Is::MoreThan | Is::LessThan => 1..=1,
            Is::Between => 2..=2,
            Is::Matches => 1..=PATTERNS_MAX,
            _ => 1..=VALUES_MAX,
        }
    }

    fn read(value: Json, at: &str, faults: &mut Vec<Fault>) -> Option<Self> {
        let known = faults.len();
        let mut object = Object::read(value, at, faults)?;
        let on: Option<On> = object.required("on", |object, name| object.choice(name, ALL_ON));
        let is: Option<Is> = object.required("is", |object, name| object.choice(name, ALL_IS));
        let list = object.flag("list").unwrap_or(false);
        let not = object.flag("not").unwrap_or(false);
        let zone = object.text("zone");
        let items = object.list("values").unwrap_or_default();
        let fits = match (on, is) {
            (Some(on), Some(is)) if !on.takes().0.contains(&is) => {
                object.fault("is", "unknown_value", format!("With this `on` it must be one of: {}.", on.takes().1));
                false
            }
            (Some(_), Some(_)) => true,
            _ => false,
        };
        let sent = items.len();
        let numbers = matches!(is, Some(Is::MoreThan | Is::LessThan));
        let values = values(items, numbers && fits, &mut object);
        let condition = on.zip(is).filter(|_| fits).map(|(on, is)| Self { on, is, values, list, not, zone });
        if let Some(condition) = &condition {
            condition.check(sent, &mut object);
        }
        object.finish();
        condition.filter(|_| faults.len() == known)
    }

    fn check(&self, sent: usize, object: &mut Object<'_>) {
        let counts = self.counts();
        if self.list && !self.may_list() {
            object.fault("list", "unknown_value", "The rule's own list is for words and domains alone.");
        } else if self.list && sent > 0 {
            object.fault("values", "out_of_range", "With `list` the values are those of the rule's own list.");
        } else if !self.list && !counts.contains(&sent) {
            let (least, most) = (counts.start(), counts.end());
            let message = if least == most {
                format!("It must be a list of exactly {least}.")
            } else {
                format!("It must be a list of {least} to {most}. A longer one can be the rule's own list.")
            };
            object.fault("values", "out_of_range", message);
        }
        if self.zone.is_some() && self.on != On::Time {
            object.fault("zone", "unknown_value", "Only a time of day has a zone.");
        }
    }
}

fn values(items: Vec<Json>, numbers: bool, object: &mut Object<'_>) -> Vec<Value> {
    let mut values = Vec::with_capacity(items.len());
    for (number, item) in items.into_iter().enumerate() {
        match item {
            Json::String(text) if !numbers => values.push(Value::Text(text)),
            Json::Number(found) if numbers && found.as_u64().is_some_and(|n| n <= 1_000_000) => {
                values.push(Value::Number(found.as_u64().unwrap_or_default()));
            }
            _ => {
                let path = object.path(&format!("values[{number}]"));
                let expected = if numbers { "a whole number from 0 to 1,000,000" } else { "a string" };
                object.faults.push(Fault::wrong_type(path, expected));
            }
        }
    }
    values
}

impl Draft {
    /// Reads a rule that stands at a path (empty: it is the request itself). None if there is any fault.
    pub fn read(value: Json, at: &str, faults: &mut Vec<Fault>) -> Option<Self> {
        let known = faults.len();
        let mut object = Object::read(value, at, faults)?;
        let name = object.required("name", |object, name| object.line(name, NAME_MAX));
        let enabled = object.flag("enabled").unwrap_or(true);
        let combined = object.choice("match", "all, any");
        let items = object.required("conditions", Object::list);
        let effect = object.required("effect", read_effect);
        let reason = object.line("reason", REASON_MAX).unwrap_or_default();
        let conditions = items.map(|items| read_conditions(items, &mut object)).unwrap_or_default();
        object.finish();
        let (name, effect) = (name?, effect?);
        let combined = combined.unwrap_or(Combined::All);
        let draft = Self { name, enabled, combined, conditions, effect, reason };
        (faults.len() == known).then_some(draft)
    }

    /// Whether one of its conditions looks at the rule's own list.
    pub fn has_list(&self) -> bool {
        self.conditions.iter().any(|condition| condition.list)
    }

    /// How many patterns it has; they cost more than anything else.
    pub fn patterns(&self) -> usize {
        self.conditions.iter().filter(|condition| condition.is == Is::Matches).map(|one| one.values.len()).sum()
    }
}

fn read_conditions(items: Vec<Json>, object: &mut Object<'_>) -> Vec<Condition> {
    if !(1..=CONDITIONS_MAX).contains(&items.len()) {
        object.fault("conditions", "out_of_range", "It must be a list of 1 to 20 conditions.");
    }
    let at = object.path("conditions");
    let numbered = items.into_iter().take(CONDITIONS_MAX).enumerate();
    let read: Vec<Condition> = numbered
        .filter_map(|(number, item)| Condition::read(item, &format!("{at}[{number}]"), object.faults))
        .collect();
    // Each would be an automaton of its own over the whole list.
    if read.iter().filter(|condition| condition.list).count() > 1 {
        object.fault("conditions", "too_many", "One condition at most may take the rule's own list.");
    }
    read
}

fn read_effect(object: &mut Object<'_>, name: &str) -> Option<Effect> {
    let value = object.any(name)?;
    let at = object.path(name);
    let mut effect = Object::read(value, &at, object.faults)?;
    let decision = effect.choice::<Decision>("decide", "approve, hold, spam, reject");
    let points = effect.number("score");
    let read = match (decision, points) {
        (Some(decision), None) => Some(Effect::Decide(decision)),
        (None, Some(points)) => {
            let score = Score::of_points(points).filter(|score| *score != Score(0));
            if score.is_none() {
                effect.fault(
                    "score",
                    "out_of_range",
                    "It must be between -100 and 100, not 0, with two decimals at most.",
                );
            }
            score.map(Effect::Score)
        }
        (Some(_), Some(_)) => {
            effect.fault("score", "given_twice", "A rule decides or adds to the score, not both.");
            None
        }
        (None, None) => None,
    };
    effect.finish();
    read
}
