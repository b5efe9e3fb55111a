//! The language of a text, as far as its letters tell: a signal, and silent about what is short or doubtful.

use whatlang::Lang;

/// Fewer letters than these tell nothing.
const LETTERS: usize = 20;

/// So many characters are enough to tell.
const CHARACTERS: usize = 2000;

/// The language of a text; none if it is too short or could be several.
pub fn of(text: &str) -> Option<Lang> {
    let end = text.char_indices().nth(CHARACTERS).map_or(text.len(), |(at, _)| at);
    let text = text.get(..end)?;
    if text.chars().filter(|c| c.is_alphabetic()).take(LETTERS).count() < LETTERS {
        return None;
    }
    whatlang::detect(text).filter(whatlang::Info::is_reliable).map(|info| info.lang())
}

/// The language behind an ISO 639 code of two or three letters; none for one that cannot be told.
pub fn by_code(code: &str) -> Option<Lang> {
    let code = code.to_ascii_lowercase();
    let long = SHORT_CODES.iter().find(|(short, _)| *short == code).map(|(_, long)| *long);
    Lang::from_code(long.unwrap_or(&code))
}

/// Two letters (ISO 639-1) for the three (ISO 639-3) of the languages that whatlang tells apart.
const SHORT_CODES: &[(&str, &str)] = &[
    ("af", "afr"),
    ("ak", "aka"),
    ("am", "amh"),
    ("ar", "ara"),
    ("az", "aze"),
    ("be", "bel"),
    ("bg", "bul"),
    ("bn", "ben"),
    ("ca", "cat"),
    ("cs", "ces"),
    ("da", "dan"),
    ("de", "deu"),
    ("el", "ell"),
    ("en", "eng"),
    ("eo", "epo"),
    ("es", "spa"),
    ("et", "est"),
    ("fa", "pes"),
    ("fi", "fin"),
    ("fr", "fra"),
    ("gu", "guj"),
    ("he", "heb"),
    ("hi", "hin"),
    ("hr", "hrv"),
    ("hu", "hun"),
    ("hy", "hye"),
    ("id", "ind"),
    ("it", "ita"),
    ("ja", "jpn"),
    ("jv", "jav"),
    ("ka", "kat"),
    ("km", "khm"),
    ("kn", "kan"),
    ("ko", "kor"),
    ("la", "lat"),
    ("lt", "lit"),
    ("lv", "lav"),
    ("mk", "mkd"),
    ("ml", "mal"),
    ("mr", "mar"),
    ("my", "mya"),
    ("nb", "nob"),
    ("ne", "nep"),
    ("nl", "nld"),
    ("no", "nob"),
    ("or", "ori"),
    ("pa", "pan"),
    ("pl", "pol"),
    ("pt", "por"),
    ("ro", "ron"),
    ("ru", "rus"),
    ("si", "sin"),
    ("sk", "slk"),
    ("sl", "slv"),
    ("sn", "sna"),
    ("sr", "srp"),
    ("sv", "swe"),
    ("ta", "tam"),
    ("te", "tel"),
    ("th", "tha"),
    ("tk", "tuk"),
    ("tl", "tgl"),
    ("tr", "tur"),
    ("uk", "ukr"),
    ("ur", "urd"),
    ("uz", "uzb"),
    ("vi", "vie"),
    ("yi", "yid"),
    ("zh", "cmn"),
    ("zu", "zul"),
];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn codes_lead_to_languages() {
        for (short, _) in SHORT_CODES {
            assert!(by_code(short).is_some(), "{short}");
        }
        assert_eq!(by_code("DEU"), Some(Lang::Deu));
        assert_eq!(by_code("xx"), None);
        assert_eq!(by_code("latin"), None);
    }

    #[test]
    fn short_texts_tell_nothing() {
        assert_eq!(of("Das ist gut."), None);
        let german = "Das ist ein ziemlich langer deutscher Satz, in dem nichts steht, was nicht deutsch wäre.";
        assert_eq!(of(german), Some(Lang::Deu));
        assert_eq!(of(&german.repeat(200)), Some(Lang::Deu));
        assert_eq!(of("👍👍👍 12345678901234567890"), None);
    }
}
