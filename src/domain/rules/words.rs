//! Word lists: folded once, looked for all at once. A text and a list are folded in the same way (NFKC, lower case, one space
//! between words), and a letter of another script that looks like a Latin one counts as that one inside a word that has
//! Latin letters as well: nobody writes such a word but to hide it.

use std::borrow::Cow;
use std::collections::HashMap;

use aho_corasick::{AhoCorasick, AhoCorasickBuilder, MatchKind};

use crate::domain::fault::Fault;
use crate::domain::search::is_unspaced;
use crate::domain::text::folded;

/// Entries of a rule's own list, at most. The largest public list for comments has 65,000.
pub const LIST_MAX: usize = 100_000;

/// Bytes of such a list as it is sent, at most.
pub const LIST_BYTES: usize = 2 * 1024 * 1024;

/// Characters of one entry, at most.
pub const ENTRY_MAX: usize = 200;

/// Faults of a list that are told at once; whoever has more has sent the wrong file.
const TOLD: usize = 100;

/// How words are looked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Mode {
    /// Not inside of longer words.
    Word,
    /// Anywhere.
    Part,
    /// The whole field and nothing else.
    Whole,
}

/// A list of words in the form in which they are looked for.
pub struct WordSet {
    mode: Mode,
    /// As they were written, for people.
    shown: Vec<Box<str>>,
    automaton: Option<AhoCorasick>,
    whole: HashMap<String, usize>,
}

/// Text in the form in which words are looked for.
pub fn fold(text: &str) -> String {
    let folded = folded(text);
    if folded.is_ascii() {
        return folded;
    }
    let words: Vec<Cow<'_, str>> = folded.split(' ').map(undisguised).collect();
    words.join(" ")
}

/// A word with its look-alikes replaced, if it mixes scripts.
fn undisguised(word: &str) -> Cow<'_, str> {
    let mixed = word.bytes().any(|b| b.is_ascii_alphabetic()) && word.chars().any(|c| looks_like(c).is_some());
    if mixed { word.chars().map(|c| looks_like(c).unwrap_or(c)).collect::<String>().into() } else { word.into() }
}

/// The small Latin letter that a small Cyrillic or Greek one looks like. Source: Unicode `confusables.txt` (UTS #39), the
/// letters of these scripts whose prototype is one Latin letter, after folding to lower case.
fn looks_like(c: char) -> Option<char> {
    Some(match c {
        'а' | 'α' => 'a',
        'с' | 'ϲ' => 'c',
        'ԁ' => 'd',
        'е' | 'ҽ' => 'e',
        'ԍ' => 'g',
        'һ' => 'h',
        'і' | 'ι' => 'i',
        'ј' | 'ϳ' => 'j',
        'к' | 'κ' => 'k',
        'ӏ' => 'l',
        'м' => 'm',
        'п' => 'n',
        'о' | 'ο' | 'σ' => 'o',
        'р' | 'ρ' => 'p',
        'ԛ' => 'q',
        'г' => 'r',
        'ѕ' => 's',
        'т' | 'τ' => 't',
        'υ' => 'u',
        'ν' | 'ѵ' => 'v',
        'ԝ' | 'ω' => 'w',
        'х' | 'χ' => 'x',
        'у' | 'γ' => 'y',
        _ => return None,
    })
}

/// The entries of a list that is sent as lines; empty lines and entries that are there already are left out.
pub fn read_list(text: &str) -> Result<Vec<String>, Vec<Fault>> {
    let mut faults = Vec::new();
    let mut known = std::collections::HashSet::new();
    let mut entries = Vec::new();
    for (number, line) in text.lines().enumerate() {
        let line = line.trim().trim_start_matches('\u{FEFF}');
        if line.is_empty() {
            continue;
        }
        if let Some(fault) = entry_fault(line, || format!("line {}", number + 1)) {
            faults.push(fault);
        } else if known.insert(line) {
            entries.push(line.to_owned());
        }
        if faults.len() == TOLD {
            break;
        }
    }
    if entries.len() > LIST_MAX {
        faults.push(Fault::too_long("words", LIST_MAX, "entries"));
    }
    if faults.is_empty() { Ok(entries) } else { Err(faults) }
}

/// What is wrong with an entry.
pub fn entry_fault(entry: &str, path: impl Fn() -> String) -> Option<Fault> {
    if entry.chars().count() > ENTRY_MAX {
        return Some(Fault::too_long(path(), ENTRY_MAX, "characters"));
    }
    if entry.chars().any(char::is_control) {
        return Some(Fault::new(path(), "illegal_character", "It must not contain control characters."));
    }
    folded(entry).is_empty().then(|| Fault::required(path()))
}

impl WordSet {
    /// A set; none if it is too large to be looked for at once.
    pub fn new<'a>(words: impl Iterator<Item = &'a str>, mode: Mode) -> Option<Self> {
        let (mut shown, mut forms) = (Vec::new(), Vec::new());
        for word in words {
            let form = fold(word);
            if !form.is_empty() {
                shown.push(word.into());
                forms.push(form);
            }
        }
        if mode == Mode::Whole {
            let whole = forms.into_iter().enumerate().map(|(number, form)| (form, number)).collect();
            return Some(Self { mode, shown, automaton: None, whole });
        }
        // All matches are needed: a shorter word that ends inside another one must not hide the one that stands alone.
        let automaton = if forms.is_empty() {
            None
        } else {
            Some(AhoCorasickBuilder::new().match_kind(MatchKind::Standard).build(&forms).ok()?)
        };
        Some(Self { mode, shown, automaton, whole: HashMap::new() })
    }

    /// How many there are.
    pub fn len(&self) -> usize {
        self.shown.len()
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.shown.is_empty()
    }

    /// The word that is found first in a text that was [`fold`]ed, as it was written.
    pub fn find(&self, text: &str) -> Option<&str> {
        let number = match (&self.automaton, self.mode) {
            (_, Mode::Whole) => self.whole.get(text).copied(),
            (None, _) => None,
            (Some(automaton), Mode::Part) => automaton.find(text).map(|found| found.pattern().as_usize()),
            (Some(automaton), Mode::Word) => automaton
                .find_overlapping_iter(text)
                .find(|found| stands_alone(text, found.start(), found.end()))
                .map(|found| found.pattern().as_usize()),
        };
        self.shown.get(number?).map(AsRef::as_ref)
    }
}

/// Whether what lies there is no part of a longer word. Scripts without spaces have no words that one could see.
fn stands_alone(text: &str, start: usize, end: usize) -> bool {
    let is_letter = |c: char| c.is_alphanumeric() && !is_unspaced(c);
    let (before, word, after) = (text.get(..start), text.get(start..end), text.get(end..));
    let last = |text: Option<&str>| text.and_then(|text| text.chars().next_back()).is_some_and(is_letter);
    let first = |text: Option<&str>| text.and_then(|text| text.chars().next()).is_some_and(is_letter);
    let goes_on = last(before) && first(word) || last(word) && first(after);
    !goes_on
}

#[cfg(test)]
mod tests {
    use super::*;

    fn found(words: &[&str], mode: Mode, text: &str) -> Option<String> {
        WordSet::new(words.iter().copied(), mode).unwrap().find(&fold(text)).map(str::to_owned)
    }

    #[test]
    fn words_parts_and_whole_fields() {
        assert_eq!(found(&["press"], Mode::Word, "WordPress"), None);
        assert_eq!(found(&["press"], Mode::Part, "WordPress").as_deref(), Some("press"));
        assert_eq!(found(&["Press"], Mode::Word, "the free PRESS, again").as_deref(), Some("Press"));
        assert_eq!(found(&["ab", "abc", "c d"], Mode::Word, "xab abcx c  D").as_deref(), Some("c d"));
        assert_eq!(found(&["ada"], Mode::Whole, " ADA ").as_deref(), Some("ada"));
        assert_eq!(found(&["ada"], Mode::Whole, "Ada L").as_deref(), None);
        assert_eq!(found(&["e/", ".cn/"], Mode::Word, "http://x.cn/e/").as_deref(), Some(".cn/"));
        assert_eq!(found(&["赌场"], Mode::Word, "最好的赌场在这里").as_deref(), Some("赌场"));
        assert_eq!(found(&[], Mode::Word, "anything"), None);
    }

    #[test]
    fn disguises_do_not_help() {
        for text in ["ｃａｓｉｎｏ", "саsino", "𝐜𝐚𝐬𝐢𝐧𝐨", "CASIΝO"] {
            // A capital Greek nu folds to a small one, which looks like another letter.
            let expected = if text.contains('Ν') { None } else { Some("casino") };
            assert_eq!(found(&["casino"], Mode::Word, text).as_deref(), expected, "{text}");
        }
        assert_eq!(found(&["cop"], Mode::Word, "сор"), None, "a Russian word is no Latin one");
        assert_eq!(found(&["сор"], Mode::Word, "СОР").as_deref(), Some("сор"));
    }

    #[test]
    fn lists_are_lines() {
        assert_eq!(read_list("\u{FEFF}one\r\n\n two words \none\n").unwrap(), ["one", "two words"]);
        let long = "x".repeat(201);
        let faults = read_list(&format!("fine\n{long}\na\tb\n\u{2800}")).unwrap_err();
        let told: Vec<_> = faults.iter().map(|fault| (fault.field.as_ref(), fault.code)).collect();
        assert_eq!(told, [("line 2", "too_long"), ("line 3", "illegal_character")]);
        assert_eq!(read_list(&"\u{1}\n".repeat(1000)).unwrap_err().len(), TOLD);
        let many: Vec<String> = (0..=LIST_MAX).map(|n| n.to_string()).collect();
        assert_eq!(read_list(&many.join("\n")).unwrap_err()[0].code, "too_long");
    }
}
