//! A rule in the form in which it is asked: patterns compiled, words in one automaton, networks parsed. What cannot be
//! compiled is a fault with its path; nothing that compiles can fail, or take more than linear time, afterwards.

use std::collections::HashSet;

use ipnet::IpNet;
use jiff::tz::TimeZone;
use regex::{Regex, RegexBuilder};
use whatlang::Lang;

use super::draft::{Combined, Condition, Draft, Effect, Is, On, Value};
use super::language;
use super::subject::{Field, View, ascii_domain, network};
use super::words::{Mode, WordSet, entry_fault};
use crate::domain::fault::Fault;
use crate::domain::time::Timestamp;

/// Bytes of one compiled pattern, and of what it keeps while it searches. One `\w` takes about 45 KB, as it knows all of
/// Unicode's letters.
const PATTERN_BYTES: usize = 1 << 20;

/// Characters of one pattern, at most.
const PATTERN_MAX: usize = 1000;

/// Groups inside each other, at most.
const PATTERN_DEPTH: u32 = 50;

/// Characters of what is said about one match, at most.
const DETAIL_MAX: usize = 300;

/// A rule, ready to be asked.
pub struct Rule {
    /// What moderators call it.
    pub name: String,
    /// What they read beside a comment that it matched.
    pub reason: String,
    /// What it does.
    pub effect: Effect,
    /// Whether it does anything.
    pub enabled: bool,
    combined: Combined,
    checks: Vec<Check>,
}

/// One condition, compiled.
struct Check {
    not: bool,
    /// What it says when its opposite holds.
    label: String,
    test: Test,
}

enum Test {
    Words { on: On, words: WordSet },
    Patterns { on: On, patterns: Vec<Regex> },
    Domains { on: On, domains: HashSet<String> },
    Number { on: On, more: bool, than: u64 },
    Language(Vec<Lang>),
    NewAuthor,
    Networks(Vec<IpNet>),
    TimeOfDay { from: i16, to: i16, zone: TimeZone },
}

/// What a condition says of a comment.
pub(super) enum Found {
    /// It is so, and this is how.
    Yes(String),
    No,
    /// Nobody can tell: neither the condition nor its opposite holds.
    Unknown,
}

/// What a rule says of a comment.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Answer {
    /// How it matches, in plain words; none if it does not.
    pub matched: Option<String>,
    /// The address would have been needed and is not known well enough.
    pub lacks_address: bool,
}

impl Rule {
    /// Compiles a rule with its own list. All faults at once, each with its path below `at`.
    pub fn compile(draft: &Draft, list: &[String], at: &str) -> Result<Self, Vec<Fault>> {
        let mut faults = Vec::new();
        let dot = if at.is_empty() { "" } else { "." };
        let numbered = draft.conditions.iter().enumerate();
        let checks = numbered
            .filter_map(|(number, condition)| {
                let mut site = Site { at: format!("{at}{dot}conditions[{number}]"), list, faults: &mut faults };
                Check::compile(condition, &mut site)
            })
            .collect();
        if !faults.is_empty() {
            return Err(faults);
        }
        Ok(Self {
            name: draft.name.clone(),
            reason: draft.reason.clone(),
            effect: draft.effect,
            enabled: draft.enabled,
            combined: draft.combined,
            checks,
        })
    }

    /// Asks the rule about a comment.
    pub(super) fn ask(&self, view: &View<'_>) -> Answer {
        let mut answer = Answer::default();
        let mut details = Vec::new();
        for check in &self.checks {
            let found = check.ask(view);
            answer.lacks_address |= matches!((&found, &check.test), (Found::Unknown, Test::Networks(_)));
            match (found, self.combined) {
                (Found::Yes(detail), Combined::Any) => {
                    return Answer { matched: Some(shortened(detail)), lacks_address: false };
                }
                (Found::Yes(detail), Combined::All) => details.push(detail),
                (_, Combined::All) => return answer,
                (_, Combined::Any) => {}
            }
        }
        if self.combined == Combined::All && !details.is_empty() {
            answer.matched = Some(shortened(details.join("; ")));
        }
        answer
    }
}

fn shortened(text: String) -> String {
    match text.char_indices().nth(DETAIL_MAX) {
        Some((end, _)) => format!("{}…", text.get(..end).unwrap_or_default()),
        None => text,
    }
}

/// Where a condition stands, and what it may need.
struct Site<'a> {
    at: String,
    list: &'a [String],
    faults: &'a mut Vec<Fault>,
}

impl Site<'_> {
    /// Reads each value; a fault for each that is illegal.
    fn each<T>(&mut self, condition: &Condition, read: impl Fn(&str) -> Result<T, (&'static str, String)>) -> Vec<T> {
        let mut all = Vec::new();
        for (number, value) in condition.values.iter().enumerate() {
            let Value::Text(text) = value else { continue };
            match read(text) {
                Ok(read) => all.push(read),
                Err((code, message)) => {
                    self.faults.push(Fault::new(format!("{}.values[{number}]", self.at), code, message));
                }
            }
        }
        all
    }

    fn words(&mut self, condition: &Condition, mode: Mode) -> Option<WordSet> {
        for (number, value) in condition.values.iter().enumerate() {
            if let Value::Text(text) = value {
                self.faults.extend(entry_fault(text, || format!("{}.values[{number}]", self.at)));
            }
        }
        let values = condition.values.iter().filter_map(|value| match value {
            Value::Text(text) => Some(text.as_str()),
            Value::Number(_) => None,
        });
        let set = if condition.list {
            WordSet::new(self.list.iter().map(String::as_str), mode)
        } else {
            WordSet::new(values, mode)
        };
        if set.is_none() {
            self.faults.push(Fault::new(format!("{}.values", self.at), "too_large", "These are too many words."));
        }
        set
    }
}

impl Check {
    fn compile(condition: &Condition, site: &mut Site<'_>) -> Option<Self> {
        let on = condition.on;
        let known = site.faults.len();
        let test = match condition.is {
            Is::ContainsWord => Test::Words { on, words: site.words(condition, Mode::Word)? },
            Is::Contains => Test::Words { on, words: site.words(condition, Mode::Part)? },
            Is::Equals => Test::Words { on, words: site.words(condition, Mode::Whole)? },
            Is::Matches => Test::Patterns { on, patterns: site.each(condition, pattern) },
            Is::Within if on == On::Address => Test::Networks(site.each(condition, read_network)),
            Is::Within if condition.list => {
                Test::Domains { on, domains: site.list.iter().filter_map(|entry| ascii_domain(entry)).collect() }
            }
            Is::Within => Test::Domains { on, domains: site.each(condition, domain).into_iter().collect() },
            Is::MoreThan | Is::LessThan => {
                let than = condition.values.iter().find_map(|value| match value {
                    Value::Number(number) => Some(*number),
                    Value::Text(_) => None,
                });
                Test::Number { on, more: condition.is == Is::MoreThan, than: than? }
            }
            Is::OneOf => Test::Language(site.each(condition, read_language)),
            Is::New => Test::NewAuthor,
            Is::Between => time_of_day(condition, site)?,
        };
        let check = Self { not: condition.not, label: label(condition), test };
        (site.faults.len() == known).then_some(check)
    }

    fn ask(&self, view: &View<'_>) -> Found {
        match (self.test.ask(view), self.not) {
            (found, false) => found,
            (Found::Yes(_), true) => Found::No,
            (Found::No, true) => Found::Yes(self.label.clone()),
            (Found::Unknown, true) => Found::Unknown,
        }
    }
}

/// What is said of a condition whose opposite holds.
fn label(condition: &Condition) -> String {
    let many = condition.values.len();
    let number = condition.values.first().map(|value| match value {
        Value::Number(number) => number.to_string(),
        Value::Text(text) => text.clone(),
    });
    let first = number.unwrap_or_default();
    match (condition.on, condition.is) {
        (On::Author, _) => "the author is not new".to_owned(),
        (On::Email, _) => "the e-mail address is none of those named".to_owned(),
        (On::Address, _) => "the address lies in none of the networks".to_owned(),
        (On::Language, _) => "written in another language".to_owned(),
        (On::Time, _) => "sent at another time of day".to_owned(),
        (On::EmailDomain, _) => "the e-mail address has another domain".to_owned(),
        (On::WebsiteDomain, _) => "the website has another domain".to_owned(),
        (on, Is::MoreThan) => format!("not more than {first} {}", unit(on)),
        (on, Is::LessThan) => format!("not fewer than {first} {}", unit(on)),
        (on, Is::Matches) => format!("no pattern of {many} matches {}", place(on)),
        (on, _) if condition.list => format!("nothing of the list in {}", place(on)),
        (on, _) if many == 1 && !first.contains('@') => format!("no “{first}” in {}", place(on)),
        (on, _) => format!("none of {many} words in {}", place(on)),
    }
}

fn place(on: On) -> &'static str {
    match Field::of(on) {
        [one] => one.called(),
        _ => "any field",
    }
}

fn unit(on: On) -> &'static str {
    match on {
        On::Links => "links",
        On::Images => "images",
        On::AuthorApproved => "comments of the author approved",
        On::AuthorRejected => "comments of the author rejected",
        On::AuthorSpam => "comments of the author called spam",
        _ => "characters",
    }
}

impl Test {
    fn ask(&self, view: &View<'_>) -> Found {
        match self {
            Self::Words { on, words } => look(view, *on, |field| {
                let word = words.find(view.folded(field)?)?;
                // What is said is stored in plain and leaves with webhooks: an address must not be in it.
                Some(match field {
                    Field::Email => "the e-mail address is one of those named".to_owned(),
                    field => format!("“{word}” in {}", field.called()),
                })
            }),
            Self::Patterns { on, patterns } => look(view, *on, |field| {
                let text = view.text(field)?;
                let number = patterns.iter().position(|pattern| pattern.is_match(text))?;
                Some(format!("pattern {} matches {}", number + 1, field.called()))
            }),
            Self::Domains { on, domains } => match view.domain(*on) {
                None if *on == On::EmailDomain && view.subject.email_is_hidden => Found::Unknown,
                None => Found::No,
                Some(domain) => match listed(&domain, domains) {
                    Found::Yes(_) if *on == On::EmailDomain => {
                        Found::Yes("the domain of the e-mail address is one of those named".to_owned())
                    }
                    found => found,
                },
            },
            Self::Number { on, more, than } => {
                let (number, than) = (measure(view, *on), i64::try_from(*than).unwrap_or(i64::MAX));
                let holds = if *more { number > than } else { number < than };
                if holds { Found::Yes(format!("{number} {}", unit(*on))) } else { Found::No }
            }
            Self::Language(languages) => match view.language() {
                None => Found::Unknown,
                Some(found) if languages.contains(&found) => Found::Yes(format!("written in {}", found.eng_name())),
                Some(_) => Found::No,
            },
            Self::NewAuthor if view.subject.author == super::subject::History::default() => {
                Found::Yes("nothing of this author has been decided on yet".to_owned())
            }
            Self::NewAuthor => Found::No,
            Self::Networks(networks) => lies_in(view.subject.address, networks),
            Self::TimeOfDay { from, to, zone } => at_time(view.subject.at, (*from, *to), zone),
        }
    }
}

/// Looks into the fields of a condition, one after the other. A single field that is not known says nothing.
fn look(view: &View<'_>, on: On, find: impl Fn(Field) -> Option<String>) -> Found {
    let fields = Field::of(on);
    if fields == [Field::Email] && view.subject.email_is_hidden {
        return Found::Unknown;
    }
    fields.iter().copied().find_map(find).map_or(Found::No, Found::Yes)
}

/// Whether a domain, or one above it, is in the set.
fn listed(domain: &str, domains: &HashSet<String>) -> Found {
    let mut rest = domain;
    loop {
        if let Some(found) = domains.get(rest) {
            return Found::Yes(format!("the domain is {found}, or below it"));
        }
        match rest.split_once('.') {
            Some((_, above)) => rest = above,
            None => return Found::No,
        }
    }
}

fn measure(view: &View<'_>, on: On) -> i64 {
    let author = view.subject.author;
    let counted = match on {
        On::Links => view.links(),
        On::Images => view.images(),
        On::AuthorApproved => return author.approved,
        On::AuthorRejected => return author.rejected,
        On::AuthorSpam => return author.spam,
        _ => view.length(),
    };
    i64::try_from(counted).unwrap_or(i64::MAX)
}

/// Whether an address, or all that is kept of it, lies in one of these networks.
fn lies_in(address: Option<IpNet>, networks: &[IpNet]) -> Found {
    let Some(address) = address else { return Found::Unknown };
    match networks.iter().find(|network| network.contains(&address)) {
        // Not which: what is said is stored in plain, and the address is kept only as far as the settings say.
        Some(_) => Found::Yes("the address lies in one of the networks".to_owned()),
        // What is kept is wider than a network of the rule: the address may have been inside or not.
        None if networks.iter().any(|network| address.contains(network)) => Found::Unknown,
        None => Found::No,
    }
}

fn at_time(at: Timestamp, (from, to): (i16, i16), zone: &TimeZone) -> Found {
    let Ok(moment) = jiff::Timestamp::from_microsecond(at.0) else { return Found::Unknown };
    let local = moment.to_zoned(zone.clone());
    let minute = i16::from(local.hour()) * 60 + i16::from(local.minute());
    let inside = if from <= to { (from..to).contains(&minute) } else { minute >= from || minute < to };
    if inside { Found::Yes(format!("sent at {:02}:{:02}", local.hour(), local.minute())) } else { Found::No }
}

fn time_of_day(condition: &Condition, site: &mut Site<'_>) -> Option<Test> {
    let times = site.each(condition, minutes);
    let name = condition.zone.as_deref().unwrap_or("UTC");
    let zone = if name.len() <= 64 { TimeZone::get(name).ok() } else { None };
    if zone.is_none() {
        let message = "It must be a time zone like Europe/Berlin, or UTC.";
        site.faults.push(Fault::new(format!("{}.zone", site.at), "unknown_value", message));
    }
    match (times.as_slice(), zone) {
        ([from, to], Some(zone)) => Some(Test::TimeOfDay { from: *from, to: *to, zone }),
        _ => None,
    }
}

/// Minutes since midnight of `23:59`.
fn minutes(text: &str) -> Result<i16, (&'static str, String)> {
    let read = || {
        let (hours, minutes) = text.split_once(':')?;
        let two = |text: &str| {
            text.parse::<i16>().ok().filter(|_| text.len() == 2 && text.bytes().all(|b| b.is_ascii_digit()))
        };
        let (hours, minutes) = (two(hours)?, two(minutes)?);
        (hours < 24 && minutes < 60).then_some(hours * 60 + minutes)
    };
    read().ok_or_else(|| ("invalid_time", "It must be a time of day like 07:30 or 23:00.".to_owned()))
}

fn pattern(text: &str) -> Result<Regex, (&'static str, String)> {
    if text.is_empty() {
        return Err(("required", "Please fill it in.".to_owned()));
    }
    if text.chars().count() > PATTERN_MAX {
        return Err(("too_long", format!("It is longer than {PATTERN_MAX} characters. Please shorten it.")));
    }
    let built = RegexBuilder::new(text)
        .size_limit(PATTERN_BYTES)
        .dfa_size_limit(PATTERN_BYTES)
        .nest_limit(PATTERN_DEPTH)
        .build();
    built.map_err(|error| match error {
        regex::Error::CompiledTooBig(_) => {
            ("too_large", "It takes more than 1 MiB when compiled. Use fewer or smaller repetitions.".to_owned())
        }
        // The parser's text shows the pattern; its last line says what is wrong, in words of its own.
        error => {
            let text = error.to_string();
            let why = text.rsplit_once("error: ").map_or("it cannot be read", |(_, why)| why.trim());
            ("invalid_pattern", format!("It is not a regular expression: {why}."))
        }
    })
}

fn read_network(text: &str) -> Result<IpNet, (&'static str, String)> {
    let wrong = "It must be an address or a network, like 192.0.2.7, 192.0.2.0/24 or 2001:db8::/32.";
    network(text.trim()).ok_or_else(|| ("invalid_network", wrong.to_owned()))
}

fn domain(text: &str) -> Result<String, (&'static str, String)> {
    ascii_domain(text).ok_or_else(|| ("invalid_domain", "It must be a domain like example.org.".to_owned()))
}

fn read_language(text: &str) -> Result<Lang, (&'static str, String)> {
    let wrong = "It must be a language code like en or de; docs/rules.md has the list.";
    language::by_code(text).ok_or_else(|| ("unknown_value", wrong.to_owned()))
}

#[cfg(test)]
mod tests {
    use super::super::subject::{History, Subject};
    use super::*;
    use serde_json::json;

    const NOON: Timestamp = Timestamp(1_767_268_800_000_000);

    fn subject(body: &str) -> Subject<'_> {
        Subject {
            name: "Ada",
            email: Some("ada@mail.example.org"),
            email_is_hidden: false,
            website: Some("https://blog.example.com/x"),
            body,
            body_html: "<p><a href=\"https://a/\" rel=\"x\">a</a> <a href=\"https://b/\" rel=\"x\">b</a></p>",
            author: History { approved: 3, rejected: 1, spam: 0 },
            address: network("192.0.2.7"),
            at: NOON,
        }
    }

    fn compiled(conditions: &serde_json::Value) -> Rule {
        let mut faults = Vec::new();
        let rule = json!({"name": "n", "conditions": conditions, "effect": {"score": 1}});
        let draft = Draft::read(rule, "", &mut faults).unwrap_or_else(|| panic!("{faults:?}"));
        Rule::compile(&draft, &[], "").unwrap_or_else(|faults| panic!("{faults:?}"))
    }

    fn says(condition: &serde_json::Value, subject: &Subject<'_>) -> Option<String> {
        compiled(&json!([condition])).ask(&View::of(subject)).matched
    }

    #[test]
    fn each_condition_and_its_opposite() {
        let german = "Das ist ein ziemlich langer deutscher Satz, in dem nichts steht, was nicht deutsch wäre. ![a](b)";
        for (mut condition, holds) in [
            (json!({"on": "body", "is": "contains_word", "values": ["satz"]}), true),
            (json!({"on": "body", "is": "contains_word", "values": ["sat"]}), false),
            (json!({"on": "body", "is": "contains", "values": ["nope", "SAT"]}), true),
            (json!({"on": "name", "is": "equals", "values": ["ADA"]}), true),
            (json!({"on": "name", "is": "equals", "values": ["Ad"]}), false),
            (json!({"on": "email", "is": "matches", "values": ["x", "@mail\\."]}), true),
            (json!({"on": "anywhere", "is": "contains", "values": ["blog.example.com/x"]}), true),
            (json!({"on": "email_domain", "is": "within", "values": ["Example.ORG"]}), true),
            (json!({"on": "email_domain", "is": "within", "values": ["ample.org"]}), false),
            (json!({"on": "website_domain", "is": "within", "values": ["*.example.com"]}), true),
            (json!({"on": "links", "is": "more_than", "values": [1]}), true),
            (json!({"on": "links", "is": "more_than", "values": [2]}), false),
            (json!({"on": "images", "is": "less_than", "values": [2]}), true),
            (json!({"on": "length", "is": "more_than", "values": [1000]}), false),
            (json!({"on": "language", "is": "one_of", "values": ["en", "de"]}), true),
            (json!({"on": "language", "is": "one_of", "values": ["fr"]}), false),
            (json!({"on": "author", "is": "new", "values": []}), false),
            (json!({"on": "author_approved", "is": "more_than", "values": [2]}), true),
            (json!({"on": "author_spam", "is": "less_than", "values": [1]}), true),
            (json!({"on": "author_rejected", "is": "more_than", "values": [1]}), false),
            (json!({"on": "address", "is": "within", "values": ["192.0.2.0/24"]}), true),
            (json!({"on": "address", "is": "within", "values": ["::ffff:192.0.2.7", "2001:db8::/32"]}), true),
            (json!({"on": "address", "is": "within", "values": ["198.51.100.0/24"]}), false),
            (json!({"on": "time", "is": "between", "values": ["12:00", "12:01"]}), true),
            (json!({"on": "time", "is": "between", "values": ["12:01", "12:00"]}), false),
            (json!({"on": "time", "is": "between", "values": ["13:00", "02:00"], "zone": "Europe/Berlin"}), true),
        ] {
            let subject = subject(german);
            assert_eq!(says(&condition, &subject).is_some(), holds, "{condition}");
            condition["not"] = json!(true);
            assert_eq!(says(&condition, &subject).is_some(), !holds, "not: {condition}");
        }
    }

    #[test]
    fn what_nobody_can_tell_holds_neither_way() {
        let blind =
            Subject { email: None, email_is_hidden: true, address: network("192.0.2.0/24"), ..subject("short") };
        for mut condition in [
            json!({"on": "language", "is": "one_of", "values": ["en"]}),
            json!({"on": "email_domain", "is": "within", "values": ["org"]}),
            json!({"on": "email", "is": "contains", "values": ["a"]}),
            json!({"on": "address", "is": "within", "values": ["192.0.2.7"]}),
        ] {
            assert_eq!(says(&condition, &blind), None, "{condition}");
            condition["not"] = json!(true);
            assert_eq!(says(&condition, &blind), None, "{condition}");
        }
        let rule = compiled(&json!([{"on": "address", "is": "within", "values": ["192.0.2.7"]}]));
        assert!(rule.ask(&View::of(&blind)).lacks_address);
        assert!(says(&json!({"on": "address", "is": "within", "values": ["192.0.0.0/16"]}), &blind).is_some());
    }

    /// A visitor who gives no address has none that a rule asks for: that is known.
    #[test]
    fn no_address_is_an_answer() {
        let nameless = Subject { email: None, ..subject("short") };
        let condition = json!({"on": "email_domain", "is": "within", "values": ["company.example"], "not": true});
        assert!(says(&condition, &nameless).is_some());
        let condition = json!({"on": "email", "is": "contains", "values": ["@"]});
        assert_eq!(says(&condition, &nameless), None);
    }

    #[test]
    fn what_is_said_names_no_address() {
        let subject = subject("short");
        for condition in [
            json!({"on": "email", "is": "contains", "values": ["ada@mail.example.org"]}),
            json!({"on": "anywhere", "is": "contains_word", "values": ["ada@mail.example.org"]}),
            json!({"on": "email_domain", "is": "within", "values": ["mail.example.org"]}),
            json!({"on": "address", "is": "within", "values": ["192.0.2.7"]}),
            json!({"on": "anywhere", "is": "contains", "values": ["x@y.example"], "not": true}),
        ] {
            let said = says(&condition, &subject).unwrap_or_else(|| panic!("{condition}"));
            assert!(!said.contains('@') && !said.contains("192") && !said.contains("mail.example"), "{said}");
        }
    }

    #[test]
    fn a_match_says_how() {
        let subject = subject("Buy a CASINO now");
        let rule = compiled(&json!([
            {"on": "links", "is": "more_than", "values": [1]},
            {"on": "body", "is": "contains_word", "values": ["shop", "casino"]},
            {"on": "body", "is": "contains", "values": ["free"], "not": true},
        ]));
        let told = rule.ask(&View::of(&subject)).matched.unwrap();
        assert_eq!(told, "2 links; “casino” in the text; no “free” in the text");
    }

    /// A backtracking engine would take longer than the age of the universe.
    #[test]
    fn hostile_patterns_end() {
        let text = "a".repeat(10_000) + "b";
        for hostile in ["(a+)+$", "(a|a)*$", "(a|aa)+$", "^(([a-z])+.)+[A-Z]([a-z])+$", "(.*)*c", "(a?){50}a{50}$"] {
            let condition = json!({"on": "body", "is": "matches", "values": [hostile]});
            says(&condition, &subject(&text));
        }
        let ends = json!({"on": "body", "is": "matches", "values": ["(a+)+b$"]});
        assert!(says(&ends, &subject(&text)).is_some());
    }

    #[test]
    fn patterns_that_are_too_large_are_refused() {
        let deep = "(".repeat(60) + &")".repeat(60);
        let long = "a".repeat(1001);
        let cases = [("", "required"), (deep.as_str(), "invalid_pattern"), (long.as_str(), "too_long")];
        for (bad, code) in cases.into_iter().chain([
            ("a{1000}{1000}", "too_large"),
            ("\\w{500}", "too_large"),
            ("(?=x)", "invalid_pattern"),
            ("(a)\\1", "invalid_pattern"),
        ]) {
            assert_eq!(pattern(bad).map(|_| ()).unwrap_err().0, code, "{bad}");
        }
    }
}
