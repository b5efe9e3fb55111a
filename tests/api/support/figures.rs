//! Reads what `/metrics` tells, as strictly as Prometheus: a line is a comment, empty, or a name, labels and a number.

use std::collections::{BTreeMap, BTreeSet};

/// All figures of a text.
pub struct Figures(Vec<Figure>);

/// One line.
#[derive(Debug, Clone, PartialEq)]
pub struct Figure {
    pub name: String,
    pub labels: BTreeMap<String, String>,
    pub value: f64,
}

fn is_name(text: &str) -> bool {
    let rest = text.chars().all(|c| c.is_ascii_alphanumeric() || c == '_');
    rest && text.starts_with(|c: char| c.is_ascii_lowercase())
}

fn parse(line: &str) -> Figure {
    let (head, value) = line.rsplit_once(' ').unwrap_or_else(|| panic!("no number: {line}"));
    let (name, inside) = match head.split_once('{') {
        Some((name, rest)) => (name, rest.strip_suffix('}').unwrap_or_else(|| panic!("no end: {line}"))),
        None => (head, ""),
    };
    let mut labels = BTreeMap::new();
    for pair in inside.split("\",").filter(|pair| !pair.is_empty()) {
        let (key, value) = pair.split_once("=\"").unwrap_or_else(|| panic!("no label: {line}"));
        let value = value.trim_end_matches('"');
        assert!(is_name(key) && !value.contains(['"', '\\', '\n']), "{line}");
        assert!(labels.insert(key.to_owned(), value.to_owned()).is_none(), "twice: {line}");
    }
    assert!(is_name(name) && name.starts_with("afterword_"), "{line}");
    Figure { name: name.to_owned(), labels, value: value.parse().unwrap_or_else(|_| panic!("no number: {line}")) }
}

impl Figures {
    /// Reads a text; each figure has a type and a meaning, and stands there once.
    pub fn of(text: &str) -> Self {
        let (mut types, mut meanings, mut figures) = (BTreeMap::new(), BTreeSet::new(), Vec::new());
        for line in text.lines().filter(|line| !line.is_empty()) {
            if let Some(rest) = line.strip_prefix("# TYPE ") {
                let (name, kind) = rest.split_once(' ').unwrap();
                assert!(["counter", "gauge", "histogram"].contains(&kind), "{line}");
                assert!(types.insert(name, kind).is_none(), "twice: {line}");
            } else if let Some(rest) = line.strip_prefix("# HELP ") {
                assert!(meanings.insert(rest.split_once(' ').unwrap().0), "twice: {line}");
            } else {
                figures.push(parse(line));
            }
        }
        assert!(text.ends_with('\n'));
        for Figure { name, labels, .. } in &figures {
            let parts = ["_bucket", "_sum", "_count"];
            let whole = parts.iter().find_map(|part| name.strip_suffix(part).filter(|name| types.contains_key(name)));
            let whole = whole.unwrap_or(name);
            let kind = types.get(whole).unwrap_or_else(|| panic!("{name} has no type"));
            assert!(meanings.contains(whole), "{name} has no meaning");
            assert_eq!(*kind == "counter", whole.ends_with("_total"), "{name}");
            let same = |other: &&Figure| other.name == *name && other.labels == *labels;
            assert_eq!(figures.iter().filter(same).count(), 1, "{name} {labels:?}");
        }
        Self(figures)
    }

    /// All figures of a name.
    pub fn named<'a>(&'a self, name: &'a str) -> impl Iterator<Item = &'a Figure> {
        self.0.iter().filter(move |figure| figure.name == format!("afterword_{name}"))
    }

    /// The sum of the figures of a name that have these labels.
    pub fn get(&self, name: &str, labels: &[(&str, &str)]) -> f64 {
        let fits = |figure: &&Figure| {
            labels.iter().all(|(key, value)| figure.labels.get(*key).is_some_and(|found| found == value))
        };
        let found: Vec<f64> = self.named(name).filter(fits).map(|figure| figure.value).collect();
        assert!(!found.is_empty(), "{name} {labels:?} is not told");
        found.iter().sum()
    }
}
