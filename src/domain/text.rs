//! The texts of a comment, parsed: a [`Name`], [`Body`] or [`Title`] that exists is NFC, trimmed and free of characters
//! that nobody can see. Lengths are checked beside the other fields of a request (`submission.rs`), because operators set
//! them.

use std::borrow::Cow;
use std::sync::LazyLock;

use unicode_normalization::{IsNormalized, UnicodeNormalization, is_nfc_quick};

use super::characters::{Blemish, Kind, find_blemish, has_ink, is_blank};
use crate::domain::fault::Fault;

/// Normalised to NFC and trimmed of white space (and what looks like it) at both ends, without a copy when it is so already.
pub fn tidy(text: &str) -> Cow<'_, str> {
    let text = text.trim_matches(is_blank);
    if text.is_ascii() || is_nfc_quick(text.chars()) == IsNormalized::Yes {
        return Cow::Borrowed(text);
    }
    Cow::Owned(text.nfc().collect())
}

/// Like [`tidy`], with every run of white space and line separators folded into one space.
pub fn tidy_line(text: &str) -> String {
    tidy(text).split(is_blank).filter(|word| !word.is_empty()).collect::<Vec<_>>().join(" ")
}

/// Name and text in the form in which two comments count as the same: compatibility forms, case and white space folded.
pub fn double_form(name: &str, body: &str) -> String {
    let mut form = String::with_capacity(name.len() + body.len() + 1);
    fold(name, &mut form);
    form.push('\n');
    fold(body, &mut form);
    form
}

/// One text in the same form.
pub fn folded(text: &str) -> String {
    let mut form = String::with_capacity(text.len());
    fold(text, &mut form);
    form
}

/// How a name looks: names that people cannot tell apart have the same form (UTS #39 §4, skeletons), and so have those that
/// differ in case alone, but for letters that look like others in one case only, as `I` like `l` and `m` like `rn`.
pub fn look(name: &str) -> String {
    if name.is_ascii() {
        // Its characters do not change each other, and a list has the look of each name in it.
        let looks = name.bytes().filter_map(|byte| ASCII_LOOKS.get(usize::from(byte)));
        return folded(&looks.map(String::as_str).collect::<String>());
    }
    look_by_tables(name)
}

fn look_by_tables(name: &str) -> String {
    folded(&unicode_security::skeleton(name).collect::<String>())
}

/// How each ASCII character looks; space is left to the whole.
static ASCII_LOOKS: LazyLock<[String; 128]> = LazyLock::new(|| {
    std::array::from_fn(|number| match u8::try_from(number).map_or(' ', char::from) {
        space if space.is_whitespace() => space.to_string(),
        other => look_by_tables(&other.to_string()),
    })
});

fn fold(text: &str, form: &mut String) {
    // Most texts, and most words of the others, need no Unicode tables.
    let folded: std::borrow::Cow<'_, str> =
        if text.is_ascii() { text.into() } else { text.nfkc().flat_map(char::to_lowercase).collect::<String>().into() };
    for (number, word) in folded.split_whitespace().enumerate() {
        if number > 0 {
            form.push(' ');
        }
        form.push_str(word);
    }
    form.make_ascii_lowercase();
}

macro_rules! text_type {
    ($(#[$doc:meta])* $name:ident) => {
        $(#[$doc])*
        #[derive(Debug, Clone, PartialEq, Eq)]
        pub struct $name(String);

        impl $name {
            /// The text.
            pub fn as_str(&self) -> &str {
                &self.0
            }

            /// The text, given away.
            pub fn into_string(self) -> String {
                self.0
            }
        }
    };
}

text_type! {
    /// A person's name as it will be shown.
    Name
}
text_type! {
    /// The text of a comment as it was typed.
    Body
}
text_type! {
    /// The title of an article.
    Title
}

impl Name {
    /// Reads a tidied name; `field` is what a fault calls it.
    pub fn parse(text: &str, field: &'static str) -> Result<Self, Fault> {
        check(text, Kind::Line, field)?;
        Ok(Self(text.to_owned()))
    }
}

impl Body {
    /// Reads a tidied body.
    pub fn parse(text: &str, field: &'static str) -> Result<Self, Fault> {
        check(text, Kind::Block, field)?;
        Ok(Self(text.to_owned()))
    }
}

impl Title {
    /// Reads a title that [`tidy_line`] has folded.
    pub fn parse(text: &str, field: &'static str) -> Result<Self, Fault> {
        check(text, Kind::Line, field)?;
        Ok(Self(text.to_owned()))
    }
}

fn check(text: &str, kind: Kind, field: &'static str) -> Result<(), Fault> {
    match find_blemish(text, kind) {
        Some(Blemish::Illegal { position }) => Err(Fault::new(
            field,
            "illegal_character",
            format!("Character {position} cannot be shown: a control, invisible or direction-changing one. Remove it."),
        )),
        Some(Blemish::TooManyMarks { position }) => Err(Fault::new(
            field,
            "too_many_marks",
            format!("Character {position} is one accent too many on the same letter. Remove some."),
        )),
        None if !has_ink(text) => {
            Err(Fault::new(field, "required", "There is nothing to see in it. Please fill it in."))
        }
        None => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tidy_composes_and_trims() {
        assert_eq!(tidy("  Jose\u{301}\u{3000}"), "José");
        assert!(matches!(tidy(" plain "), Cow::Borrowed("plain")));
        assert_eq!(tidy("\u{2800} x\u{2800}y \u{2800}\n"), "x\u{2800}y");
        assert_eq!(tidy_line("A\u{2028}B\r\n\tBcc:\u{85} x\u{2800}y "), "A B Bcc: x y");
    }

    #[test]
    fn doubles_differ_in_no_more_than_case_width_and_space() {
        assert_eq!(double_form("Ada", "Hello  World\n"), double_form("ADA", " ｈello world"));
        assert_ne!(double_form("Ada", "Hello World"), double_form("Ada Hello", "World"));
    }

    #[test]
    fn names_that_look_the_same_have_one_look() {
        assert_eq!(look("Ida 10"), look("ldа lО"), "a Cyrillic а and О");
        assert_eq!(look("marie"), look("rnarie"));
        assert_eq!(look("ADA  ÉVA"), look("ada éva"));
        assert_ne!(look("Ada"), look("Ade"));
        // The short way of ASCII and the tables agree, whatever stands beside what.
        for (one, other) in (0..128_u8).flat_map(|one| (0..128_u8).map(move |other| (one, other))) {
            let name = String::from_utf8(vec![b'x', one, other]).unwrap();
            assert_eq!(look(&name), look_by_tables(&name), "{name:?}");
        }
    }

    #[test]
    fn a_name_of_nothing_visible_is_none() {
        assert_eq!(Name::parse("\u{301}", "name").unwrap_err().code, "required");
        assert_eq!(tidy(" \u{2800}"), "");
        assert_eq!(Name::parse("a\u{202E}b", "name").unwrap_err().code, "illegal_character");
        assert!(Body::parse("two\nlines", "body").is_ok());
    }
}
