//! Which characters may stand in which kind of text. One rule for every field: what cannot be seen, or what turns the text
//! around it, is refused with its position; nothing is ever taken out silently. Joiners and selectors stay where a script
//! or an emoji needs them.
//!
//! Sources: Unicode 16 `DerivedCoreProperties.txt` (`Default_Ignorable_Code_Point`), `PropList.txt` (`Bidi_Control`),
//! UTS #51 (emoji sequences), `StandardizedVariants.txt` and `emoji-variation-sequences.txt` (variation selectors), UTS #39
//! §5.4 (at most four nonspacing marks in a row; higher stacks are Zalgo).

use std::borrow::Cow;

use unicode_properties::{GeneralCategory, GeneralCategoryGroup, UnicodeEmoji, UnicodeGeneralCategory};

/// What a text may contain beyond ordinary characters.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// One line: a name, a title.
    Line,
    /// Several lines: line breaks and tabs are fine.
    Block,
}

/// What is wrong at a position.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Blemish {
    /// A control character, a line separator in a line, or something that cannot be seen.
    Illegal {
        /// Which character of the text, counted from one.
        position: usize,
    },
    /// More marks on one letter than any script uses.
    TooManyMarks {
        /// Which character of the text, counted from one.
        position: usize,
    },
}

/// Nonspacing marks that may follow each other: UTS #39 §5.4 forbids more than four.
const MARKS_IN_A_ROW: usize = 4;

/// Finds the first thing that may not stand in a text of this kind.
pub fn find_blemish(text: &str, kind: Kind) -> Option<Blemish> {
    if text.bytes().all(|b| (b' '..0x7f).contains(&b)) {
        return None;
    }
    let mut scan = Scan::new(text, kind);
    std::iter::from_fn(|| scan.step()).find_map(|(_, blemish)| blemish)
}

/// Goes through a text once, knowing what stands before and after each character.
struct Scan<'a> {
    rest: std::str::Chars<'a>,
    kind: Kind,
    position: usize,
    before: Option<char>,
    marks: usize,
    /// Tag characters to come that belong to the flag before them.
    flag_tags: usize,
}

impl<'a> Scan<'a> {
    fn new(text: &'a str, kind: Kind) -> Self {
        Self { rest: text.chars(), kind, position: 0, before: None, marks: 0, flag_tags: 0 }
    }

    /// The next character and what is wrong with it.
    fn step(&mut self) -> Option<(char, Option<Blemish>)> {
        let c = self.rest.next()?;
        let position = self.position + 1;
        let after = self.rest.as_str().chars().next();
        let stands = self.flag_tags > 0 || may_stand(c, self.before, after, self.kind);
        self.flag_tags = match c {
            BLACK_FLAG => flag_tags(self.rest.as_str()),
            _ => self.flag_tags.saturating_sub(1),
        };
        self.marks = if is_mark(c) { self.marks + 1 } else { 0 };
        self.position = position;
        self.before = Some(c);
        let blemish = if !stands {
            Some(Blemish::Illegal { position })
        } else if self.marks > MARKS_IN_A_ROW {
            Some(Blemish::TooManyMarks { position })
        } else {
            None
        };
        Some((c, blemish))
    }
}

/// The text with every character that may not stand in a block replaced by U+FFFD: for text that an entity (`&#x202e;`)
/// smuggled past the check of what was typed.
pub fn made_visible(text: &str) -> Cow<'_, str> {
    if find_blemish(text, Kind::Block).is_none() {
        return Cow::Borrowed(text);
    }
    let mut scan = Scan::new(text, Kind::Block);
    let mut shown = String::with_capacity(text.len());
    while let Some((c, blemish)) = scan.step() {
        shown.push(if blemish.is_some() { '\u{FFFD}' } else { c });
    }
    Cow::Owned(shown)
}

/// Whether any character can be seen at all.
pub fn has_ink(text: &str) -> bool {
    text.chars().any(|c| !is_blank(c) && !is_ignorable(c) && !is_mark(c))
}

/// White space, and the one character that looks like a space and is none.
pub fn is_blank(c: char) -> bool {
    c.is_whitespace() || c == BRAILLE_BLANK
}

/// Pictures of dots need it between other dots; a line of text does not.
const BRAILLE_BLANK: char = '\u{2800}';

fn may_stand(c: char, before: Option<char>, after: Option<char>, kind: Kind) -> bool {
    match c {
        '\n' | '\r' | '\t' | '\u{2028}' | '\u{2029}' | BRAILLE_BLANK => kind == Kind::Block,
        '\u{200D}' => joins_emoji(before, after) || before.is_some_and(script_uses_joiners),
        '\u{200C}' => before.is_some_and(script_uses_joiners) && after.is_some_and(script_uses_joiners),
        '\u{FE0E}' | '\u{FE0F}' => before.is_some_and(|b| is_picture(b) || (is_key(b) && after == Some(KEYCAP))),
        '\u{FE00}'..='\u{FE0D}' => before.is_some_and(|b| has_variants(b) || (is_ideograph(b) && c <= '\u{FE02}')),
        '\u{E0100}'..='\u{E01EF}' => before.is_some_and(is_ideograph),
        '\u{180B}'..='\u{180D}' | '\u{180F}' => before.is_some_and(|b| ('\u{1800}'..='\u{18AF}').contains(&b)),
        _ => !c.is_control() && !is_ignorable(c) && !is_annotation_or_noncharacter(c),
    }
}

/// `Default_Ignorable_Code_Point`: shown as nothing. Contains every bidi control but the Arabic letter mark's kin, which
/// are in it as well.
fn is_ignorable(c: char) -> bool {
    matches!(c,
        '\u{AD}' | '\u{34F}' | '\u{61C}' | '\u{115F}'..='\u{1160}' | '\u{17B4}'..='\u{17B5}' | '\u{180B}'..='\u{180F}'
        | '\u{200B}'..='\u{200F}' | '\u{202A}'..='\u{202E}' | '\u{2060}'..='\u{206F}' | '\u{3164}'
        | '\u{FE00}'..='\u{FE0F}' | '\u{FEFF}' | '\u{FFA0}' | '\u{FFF0}'..='\u{FFF8}' | '\u{1BCA0}'..='\u{1BCA3}'
        | '\u{1D173}'..='\u{1D17A}' | '\u{E0000}'..='\u{E0FFF}')
}

/// Interlinear annotation, and code points that are no characters (XML, and so every feed, forbids some of them).
fn is_annotation_or_noncharacter(c: char) -> bool {
    let code = u32::from(c);
    (0xFFF9..=0xFFFB).contains(&code) || (0xFDD0..=0xFDEF).contains(&code) || code & 0xFFFE == 0xFFFE
}

/// Begins the flags of England, Scotland and Wales: tag characters spell what it flies for.
const BLACK_FLAG: char = '\u{1F3F4}';

/// How many characters of `rest` spell a flag: three to six tag letters or digits (a region's code with one of its parts)
/// and the end mark. Zero when it is not closed or of another length: a text could be hidden in it.
fn flag_tags(rest: &str) -> usize {
    let is_tag = |c: &char| matches!(c, '\u{E0030}'..='\u{E0039}' | '\u{E0061}'..='\u{E007A}');
    let letters = rest.chars().take_while(is_tag).take(7).count();
    let closed = rest.chars().nth(letters) == Some('\u{E007F}');
    if closed && (3..=6).contains(&letters) { letters + 1 } else { 0 }
}

/// Encloses a digit: with a selector between them it is the picture of a key.
const KEYCAP: char = '\u{20E3}';

fn is_key(c: char) -> bool {
    c.is_ascii_digit() || c == '#' || c == '*'
}

/// What can be shown as text and as a picture: emoji, and the symbols that fonts treat likewise.
fn is_picture(c: char) -> bool {
    !c.is_ascii() && (c.is_emoji_char() || c.general_category_group() == GeneralCategoryGroup::Symbol)
}

/// Symbols and punctuation of which some have standardised variants: mathematical operators, East Asian commas.
fn has_variants(c: char) -> bool {
    use GeneralCategoryGroup::{Punctuation, Symbol};
    !c.is_ascii() && matches!(c.general_category_group(), Punctuation | Symbol)
}

fn joins_emoji(before: Option<char>, after: Option<char>) -> bool {
    let pictures = |c: char| !c.is_ascii() && c.is_emoji_char();
    before.is_some_and(|b| pictures(b) || b == '\u{FE0F}') && after.is_some_and(pictures)
}

/// Scripts in which joiners change the shape of a word: Arabic and its kin, Mongolian, the Brahmic scripts.
fn script_uses_joiners(c: char) -> bool {
    matches!(c,
        '\u{0600}'..='\u{08FF}' | '\u{0900}'..='\u{0DFF}' | '\u{0E00}'..='\u{109F}' | '\u{1700}'..='\u{18AF}'
        | '\u{1900}'..='\u{1CFF}' | '\u{A800}'..='\u{ABFF}' | '\u{FB50}'..='\u{FDFF}' | '\u{FE70}'..='\u{FEFC}'
        | '\u{10A00}'..='\u{11FFF}' | '\u{1E900}'..='\u{1E95F}')
        && c.is_alphanumeric() | is_mark(c)
}

fn is_ideograph(c: char) -> bool {
    matches!(c, '\u{3400}'..='\u{9FFF}' | '\u{F900}'..='\u{FAFF}' | '\u{20000}'..='\u{323AF}')
}

fn is_mark(c: char) -> bool {
    !c.is_ascii() && matches!(c.general_category(), GeneralCategory::NonspacingMark | GeneralCategory::EnclosingMark)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn fine(text: &str) {
        assert_eq!(find_blemish(text, Kind::Line), None, "{}", text.escape_unicode());
    }

    fn refused(text: &str, position: usize) {
        assert_eq!(find_blemish(text, Kind::Line), Some(Blemish::Illegal { position }), "{}", text.escape_unicode());
    }

    #[test]
    fn names_of_the_world_pass() {
        for name in [
            "Ada Lovelace",
            "José-María O'Brien",
            "Nguyễn Văn Ánh",
            "Владимир",
            "李小龍",
            "りんご",
            "김철수",
            "محمد",
            "نمی\u{200C}خواهم",
            "क्\u{200D}ष",
            "ශ්\u{200D}රී",
            "Ⓐ⒝",
            "葛\u{E0100}飾",
            "Z͑ͫ̓ͪ̂ͫ̽͏̴̙̤̞͉͚̯̞̠͍A̴̵̜̰͔ͫ͗͢".get(..1).unwrap(),
        ] {
            fine(name);
        }
    }

    #[test]
    fn emoji_sequences_pass() {
        for emoji in [
            "👩‍❤️‍💋‍👩",
            "👨🏿‍🦰",
            "🇺🇳",
            "☀︎",
            "👨‍👩‍👧‍👦 and friends",
            "©️ ™️ ℹ️ 〰️ Ⓜ️ ㊗️ ★\u{FE0F}",
            "1\u{FE0F}\u{20E3} #\u{FE0F}\u{20E3} *\u{FE0F}\u{20E3} 2\u{20E3}",
        ] {
            fine(emoji);
        }
    }

    fn flag(letters: &str) -> String {
        let tags = letters.bytes().map(|b| char::from_u32(0xE0000 + u32::from(b)).unwrap());
        std::iter::once(BLACK_FLAG).chain(tags).collect()
    }

    #[test]
    fn flags_are_short_and_closed() {
        for region in ["gbeng", "gbsct", "gbwls", "usca", "xxyyyy"] {
            fine(&format!("a {}\u{E007F} b", flag(region)));
        }
        fine("\u{1F3F4}\u{200D}☠\u{FE0F} \u{1F3F4}");
        for hidden in ["gbeng", "gbengxx\u{7F}", "hiddentextthatgoeson\u{7F}", "\u{7F}", "gb\u{7F}", "gbeng\u{7F}x"] {
            let position = if hidden == "gbeng\u{7F}x" { 8 } else { 2 };
            refused(&flag(hidden), position);
        }
        refused("\u{1F3F4}x\u{E0067}\u{E0062}\u{E0065}\u{E007F}", 3);
    }

    #[test]
    fn selectors_stand_only_where_they_select() {
        for name in ["∩\u{FE00}", "、\u{FE00}", "羽\u{FE00}"] {
            fine(name);
        }
        for selector in '\u{FE00}'..='\u{FE0F}' {
            for before in ["a", "é", "e\u{301}", "д", "9", "!", " ", "👍\u{FE0F}"] {
                refused(&format!("{before}{selector}b"), before.chars().count() + 1);
            }
        }
        refused("1\u{FE0F}", 2);
        refused("羽\u{FE03}", 2);
    }

    #[test]
    fn a_blank_of_dots_stands_in_pictures_alone() {
        refused("Ada\u{2800}L", 4);
        assert_eq!(find_blemish("⠿\u{2800}⠿", Kind::Block), None);
        assert!(is_blank('\u{2800}') && is_blank('\u{3000}') && !is_blank('⠿'));
    }

    #[test]
    fn what_cannot_be_seen_is_refused_with_its_place() {
        for hidden in [
            '\0',
            '\u{7}',
            '\u{1B}',
            '\u{7F}',
            '\u{85}',
            '\u{AD}',
            '\u{61C}',
            '\u{200B}',
            '\u{200E}',
            '\u{200F}',
            '\u{2028}',
            '\u{2029}',
            '\u{202A}',
            '\u{202E}',
            '\u{2060}',
            '\u{2066}',
            '\u{2069}',
            '\u{3164}',
            '\u{FEFF}',
            '\u{FFF9}',
            '\u{FFFE}',
            '\u{E0041}',
            '\u{10FFFF}',
            '\n',
            '\t',
            '\r',
        ] {
            refused(&format!("Ada{hidden}L"), 4);
        }
    }

    #[test]
    fn joiners_between_latin_letters_are_refused() {
        refused("Ada\u{200D}", 4);
        refused("A\u{200C}da", 2);
        refused("\u{200D}", 1);
        refused("9\u{200D}9", 2);
    }

    #[test]
    fn blocks_have_lines_but_nothing_hidden() {
        assert_eq!(find_blemish("one\r\ntwo\tthree\u{2028}four", Kind::Block), None);
        assert_eq!(find_blemish("one\n\u{202E}two", Kind::Block), Some(Blemish::Illegal { position: 5 }));
        assert_eq!(find_blemish("\u{C}", Kind::Block), Some(Blemish::Illegal { position: 1 }));
    }

    #[test]
    fn stacks_of_marks_are_refused() {
        assert_eq!(find_blemish("e\u{301}\u{302}\u{303}\u{304}", Kind::Line), None);
        let zalgo = "e\u{301}\u{302}\u{303}\u{304}\u{305}";
        assert_eq!(find_blemish(zalgo, Kind::Line), Some(Blemish::TooManyMarks { position: 6 }));
    }

    #[test]
    fn ink_is_what_can_be_seen() {
        assert!(has_ink("a") && has_ink("👍") && has_ink("."));
        assert!(!has_ink(" \u{2800}\u{301}\u{FE0F}"));
    }
}
