//! Cuts text into the words of the full-text index, the same for both databases and for texts and questions alike: folded
//! to lower case without accents; scripts that write without spaces are cut into pairs of characters.

use unicode_normalization::UnicodeNormalization;

/// The words of a text, each once or more often, in their order.
pub fn words(text: &str) -> Vec<String> {
    let mut words = Vec::new();
    if text.is_ascii() {
        // The same outcome with a tenth of the work: nothing of it has a second form.
        let folded = text.to_ascii_lowercase();
        let runs = folded.split(|c: char| !c.is_ascii_alphanumeric()).filter(|run| !run.is_empty());
        words.extend(runs.map(|run| run.get(..LONGEST_WORD).unwrap_or(run).to_owned()));
        return words;
    }
    for run in fold(text).split(|c: char| !is_word_character(c)) {
        cut(run, &mut words);
    }
    words
}

fn fold(text: &str) -> String {
    text.nfkd().filter(|c| !is_latin_accent(*c)).flat_map(char::to_lowercase).collect()
}

/// What one question asks for: every one of these must be there; a word stands for all words that begin with it.
pub fn question(text: &str) -> Vec<String> {
    let mut asked = words(text);
    asked.sort_unstable();
    asked.dedup();
    asked.truncate(MOST_WORDS_ASKED);
    asked
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

fn cut(run: &str, words: &mut Vec<String>) {
    let mut rest = run;
    while let Some(first) = rest.chars().next() {
        let unspaced = is_unspaced(first);
        let end = rest.find(|c| is_unspaced(c) != unspaced).unwrap_or(rest.len());
        let (piece, after) = rest.split_at(end);
        if unspaced {
            pairs(piece, words);
        } else {
            words.push(piece.chars().take(LONGEST_WORD).collect());
        }
        rest = after;
    }
}

fn pairs(piece: &str, words: &mut Vec<String>) {
    let letters: Vec<char> = piece.chars().collect();
    if letters.len() == 1 {
        words.push(piece.to_owned());
    }
    words.extend(letters.windows(2).map(|pair| pair.iter().collect::<String>()));
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_of_many_scripts() {
        assert_eq!(words("Crème-brûlée, ＦＵＬＬ width!"), ["creme", "brulee", "full", "width"]);
        assert_eq!(words("東京都 x"), ["東京", "京都", "x"]);
        assert_eq!(words("日"), ["日"]);
        assert_eq!(words("abc漢字def"), ["abc", "漢字", "def"]);
        assert_eq!(words("नमस्ते दुनिया"), ["नमस्ते", "दुनिया"]);
        assert_eq!(words("\" OR 1=1 -- %_*"), ["or", "1", "1"]);
        assert!(words("  …!?").is_empty());
    }

    #[test]
    fn plain_text_is_cut_as_any_other() {
        let long = "x".repeat(2 * LONGEST_WORD);
        for text in ["The 2nd_half -- \"quoted\"; MiXeD, a.b:c/d", "", " \n\t", long.as_str()] {
            let mut expected = Vec::new();
            fold(text).split(|c: char| !is_word_character(c)).for_each(|run| cut(run, &mut expected));
            assert_eq!(words(text), expected);
        }
    }

    #[test]
    fn a_question_is_bounded() {
        assert_eq!(question("b a b"), ["a", "b"]);
        assert_eq!(question(&"x1 x2 x3 x4 x5 x6 x7 x8 x9 y1 y2 y3 y4 y5 y6 y7 y8 y9".repeat(9)).len(), 16);
    }
}
