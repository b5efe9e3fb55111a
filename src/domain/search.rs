//! Cuts text into the words of the full-text index, the same for both databases and for texts and questions alike: folded
//! to lower case without accents; scripts that write without spaces are cut into pairs of characters.

use unicode_normalization::UnicodeNormalization;

/// A text as its words are cut from it.
pub fn fold(text: &str) -> String {
    if text.is_ascii() {
        // The same outcome with a tenth of the work: nothing of it has a second form.
        return text.to_ascii_lowercase();
    }
    text.nfkd().filter(|c| !is_latin_accent(*c)).flat_map(char::to_lowercase).collect()
}

/// The words of a folded text, each once or more often, in their order.
pub fn words(folded: &str) -> Vec<&str> {
    let mut words = Vec::new();
    if folded.is_ascii() {
        let mut rest = folded;
        while let Some(begin) = rest.bytes().position(|byte| byte.is_ascii_alphanumeric()) {
            let run = &rest[begin..];
            let (run, after) = run.split_at(run.bytes().position(|b| !b.is_ascii_alphanumeric()).unwrap_or(run.len()));
            words.push(run.get(..LONGEST_WORD).unwrap_or(run));
            rest = after;
        }
        return words;
    }
    for run in folded.split(|c: char| !is_word_character(c)) {
        cut(run, &mut words);
    }
    words
}

/// What one question asks for: every one of these must be there; a word stands for all words that begin with it.
pub fn question(text: &str) -> Vec<String> {
    let folded = fold(text);
    let mut asked = words(&folded);
    asked.sort_unstable();
    asked.dedup();
    asked.truncate(MOST_WORDS_ASKED);
    asked.into_iter().map(str::to_owned).collect()
}

/// A question of more words is cut; each costs a look-up.
const MOST_WORDS_ASKED: usize = 16;

/// Longer "words" are noise (base64, URLs without a break); their beginning is enough to find them.
const LONGEST_WORD: usize = 40;

fn is_latin_accent(c: char) -> bool {
    ('\u{300}'..='\u{36F}').contains(&c)
}

fn is_word_character(c: char) -> bool {
    c.is_alphanumeric() || unicode_normalization::char::is_combining_mark(c)
}

/// Scripts without spaces between words: ideographs, kana, Thai, Lao, Khmer, Burmese.
pub fn is_unspaced(c: char) -> bool {
    matches!(c, '\u{0E00}'..='\u{0EFF}' | '\u{1000}'..='\u{109F}' | '\u{1780}'..='\u{17FF}' | '\u{3040}'..='\u{30FF}'
        | '\u{3400}'..='\u{9FFF}' | '\u{F900}'..='\u{FAFF}' | '\u{20000}'..='\u{323AF}')
}

fn cut<'a>(run: &'a str, words: &mut Vec<&'a str>) {
    let mut rest = run;
    while let Some(first) = rest.chars().next() {
        let unspaced = is_unspaced(first);
        let end = rest.find(|c| is_unspaced(c) != unspaced).unwrap_or(rest.len());
        let (piece, after) = rest.split_at(end);
        if unspaced {
            pairs(piece, words);
        } else {
            words.push(piece.char_indices().nth(LONGEST_WORD).map_or(piece, |(end, _)| &piece[..end]));
        }
        rest = after;
    }
}

fn pairs<'a>(piece: &'a str, words: &mut Vec<&'a str>) {
    let begins: Vec<usize> = piece.char_indices().map(|(at, _)| at).chain([piece.len()]).collect();
    if begins.len() == 2 {
        words.push(piece);
    }
    words.extend(begins.windows(3).filter_map(|three| Some(&piece[*three.first()?..*three.last()?])));
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_of_many_scripts() {
        for (text, expected) in [
            ("Crème-brûlée, ＦＵＬＬ width!", &["creme", "brulee", "full", "width"][..]),
            ("東京都 x", &["東京", "京都", "x"]),
            ("日", &["日"]),
            ("abc漢字def", &["abc", "漢字", "def"]),
            ("नमस्ते दुनिया", &["नमस्ते", "दुनिया"]),
            ("\" OR 1=1 -- %_*", &["or", "1", "1"]),
            ("  …!?", &[]),
        ] {
            assert_eq!(words(&fold(text)), expected, "{text}");
        }
        // As long as a word may be, in letters and not in bytes.
        let long = "ж".repeat(2 * LONGEST_WORD) + " ü";
        assert_eq!(words(&fold(&long)), ["ж".repeat(LONGEST_WORD).as_str(), "u"]);
    }

    #[test]
    fn plain_text_is_cut_as_any_other() {
        let long = "x".repeat(2 * LONGEST_WORD);
        for text in ["The 2nd_half -- \"quoted\"; MiXeD, a.b:c/d", "", " \n\t", long.as_str()] {
            let folded: String = text.nfkd().flat_map(char::to_lowercase).collect();
            assert_eq!(fold(text), folded);
            let mut expected = Vec::new();
            folded.split(|c: char| !is_word_character(c)).for_each(|run| cut(run, &mut expected));
            assert_eq!(words(&folded), expected);
        }
    }

    #[test]
    fn a_question_is_bounded() {
        assert_eq!(question("b a b"), ["a", "b"]);
        assert_eq!(question(&"x1 x2 x3 x4 x5 x6 x7 x8 x9 y1 y2 y3 y4 y5 y6 y7 y8 y9".repeat(9)).len(), 16);
    }
}
