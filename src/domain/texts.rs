//! What the service itself says to people who read and write comments: in pieces of pages, on the pages about their own data
//! and in mails. The language is the site's; a field without a translation does not compile. Moderators and operators read
//! English, or what the desk says.

mod de;
mod en;
mod es;
mod fr;

use serde::Serialize;

use super::time::Timestamp;

/// Everything in one language. `{name}` in a text is a gap that [`fill`] fills.
#[derive(Debug, Serialize)]
#[expect(missing_docs, reason = "the English says what each is")]
pub struct Texts {
    pub language: &'static str,
    /// How a moment is written, and its months.
    pub moment: &'static str,
    pub months: [&'static str; 12],
    pub comments: Comments,
    pub sending: Sending,
    pub links: Links,
    pub own: Own,
    pub replies: Replies,
    pub mails: Mails,
}

/// An article's comments as a piece of a page.
#[derive(Debug, Serialize)]
#[expect(missing_docs, reason = "the English says what each is")]
pub struct Comments {
    pub zero: &'static str,
    pub one: &'static str,
    pub many: &'static str,
    pub none: &'static str,
    pub removed: &'static str,
    pub edited: &'static str,
    pub staff: &'static str,
    pub permalink: &'static str,
    pub next: &'static str,
    pub closed: &'static str,
    pub submit_a_comment: &'static str,
    pub name: &'static str,
    pub email: &'static str,
    pub website: &'static str,
    pub comment: &'static str,
    pub submit: &'static str,
    pub privacy: &'static str,
    pub own_data: &'static str,
}

/// The pages that answer a plain form.
#[derive(Debug, Serialize)]
#[expect(missing_docs, reason = "the English says what each is")]
pub struct Sending {
    pub thanks: &'static str,
    pub published: &'static str,
    pub pending: &'static str,
    pub check_title: &'static str,
    pub check: &'static str,
    pub not_taken_title: &'static str,
    pub duplicate: &'static str,
    pub failed: &'static str,
    pub again: &'static str,
    pub wait: &'static str,
    /// None in English, which the faults speak themselves: they say how many and where.
    pub faults: Option<Faults>,
}

/// What is wrong with a field of the form.
#[derive(Debug, Serialize)]
#[expect(missing_docs, reason = "each is the code of a fault")]
pub struct Faults {
    pub required: &'static str,
    pub too_long: &'static str,
    pub too_short: &'static str,
    pub invalid_email: &'static str,
    pub invalid_url: &'static str,
    pub illegal_character: &'static str,
}

impl Sending {
    /// What is wrong with a field, for whom the fault's own English is foreign; none as well for a code that people at a form do
    /// not meet.
    pub fn fault(&self, code: &str) -> Option<&'static str> {
        let faults = self.faults.as_ref()?;
        Some(match code {
            "required" => faults.required,
            "too_long" => faults.too_long,
            "too_short" => faults.too_short,
            "invalid_email" => faults.invalid_email,
            "invalid_url" => faults.invalid_url,
            "illegal_character" => faults.illegal_character,
            _ => return None,
        })
    }
}

/// The pages that say why a link in a mail does nothing. Whose it was is not known then.
#[derive(Debug, Serialize)]
#[expect(missing_docs, reason = "the English says what each is")]
pub struct Links {
    pub over_title: &'static str,
    pub over_own: &'static str,
    pub over_replies: &'static str,
    pub broken_title: &'static str,
    pub broken: &'static str,
}

/// The pages about one's own data.
#[derive(Debug, Serialize)]
#[expect(missing_docs, reason = "the English says what each is")]
pub struct Own {
    pub title: &'static str,
    pub which_site: &'static str,
    pub ask: &'static str,
    pub bad_email: &'static str,
    pub send: &'static str,
    pub same_answer: &'static str,
    pub mailed_title: &'static str,
    pub mailed: &'static str,
    pub wait_title: &'static str,
    pub wait: &'static str,
    pub yours: &'static str,
    pub take_along: &'static str,
    pub nothing: &'static str,
    pub these_were_all: &'static str,
    pub to_first: &'static str,
    pub your_comments: &'static str,
    pub on: &'static str,
    pub not_public: &'static str,
    pub new_text_waits: &'static str,
    pub correct_or_erase: &'static str,
    pub more: &'static str,
    pub mails: &'static str,
    pub hears: &'static str,
    pub no_more_mails: &'static str,
    pub erase_all: &'static str,
    pub erase_all_means: &'static str,
    pub sure: &'static str,
    pub erased_title: &'static str,
    pub erased_one: &'static str,
    pub erased: &'static str,
    pub your_comment: &'static str,
    pub correct: &'static str,
    pub may_wait: &'static str,
    pub erase_heading: &'static str,
    pub erase_means: &'static str,
    pub erase: &'static str,
    pub back: &'static str,
    pub thanks: &'static str,
    pub edit_waits: &'static str,
    pub edit_public: &'static str,
    pub edit_stored: &'static str,
    pub closed_title: &'static str,
    pub closed: &'static str,
}

/// The pages that ask whether replies are told by mail.
#[derive(Debug, Serialize)]
#[expect(missing_docs, reason = "the English says what each is")]
pub struct Replies {
    pub yes_title: &'static str,
    pub yes_text: &'static str,
    pub yes: &'static str,
    pub told_title: &'static str,
    pub told: &'static str,
    pub no_title: &'static str,
    pub no_text: &'static str,
    pub no: &'static str,
    pub never_text: &'static str,
    pub never: &'static str,
    pub ended_title: &'static str,
    pub ended: &'static str,
    pub ended_everywhere: &'static str,
    pub forgotten_title: &'static str,
    pub forgotten: &'static str,
}

/// The mails to people who wrote comments.
#[derive(Debug, Serialize)]
#[expect(missing_docs, reason = "the English says what each is")]
pub struct Mails {
    pub confirm_title: &'static str,
    pub confirm: &'static str,
    pub confirm_on: &'static str,
    pub confirm_here: &'static str,
    pub confirm_button: &'static str,
    pub confirm_ends: &'static str,
    pub not_you: &'static str,
    pub never: &'static str,
    pub news: &'static str,
    pub reply: &'static str,
    pub reply_subject: &'static str,
    pub public: &'static str,
    pub see: &'static str,
    pub because: &'static str,
    pub stop: &'static str,
    pub own_data: &'static str,
    pub person_subject: &'static str,
    pub person_title: &'static str,
    pub person: &'static str,
    pub person_button: &'static str,
    pub person_ends: &'static str,
}

/// The first is spoken where a site has another language.
static LANGUAGES: [&Texts; 4] = [&en::TEXTS, &es::TEXTS, &de::TEXTS, &fr::TEXTS];

impl Texts {
    /// The texts of a BCP 47 tag; `de-AT` reads German.
    pub fn of(tag: &str) -> &'static Self {
        let [english, ..] = LANGUAGES;
        let language = tag.split('-').next().unwrap_or_default();
        LANGUAGES.into_iter().find(|texts| texts.language.eq_ignore_ascii_case(language)).unwrap_or(english)
    }

    /// The texts for somebody whose site is not known: what their browser asks for first, of what there is (RFC 9110 §12.5.4;
    /// browsers name the languages in the order in which their people want them).
    pub fn asked_for(accept_language: &str) -> &'static Self {
        let [english, ..] = LANGUAGES;
        let mut tags = accept_language.split(',').map(|item| item.split([';', '-']).next().unwrap_or_default().trim());
        let known = |tag: &str| LANGUAGES.into_iter().find(|texts| texts.language.eq_ignore_ascii_case(tag));
        tags.find_map(known).unwrap_or(english)
    }

    /// A moment to the minute, in UTC.
    pub fn moment(&self, at: Timestamp) -> String {
        let Ok(moment) = jiff::Timestamp::from_microsecond(at.0) else { return String::new() };
        let moment = moment.to_zoned(jiff::tz::TimeZone::UTC);
        let month = usize::try_from(moment.month() - 1).ok().and_then(|month| self.months.get(month));
        let (day, year) = (moment.day().to_string(), moment.year().to_string());
        let time = moment.strftime("%H:%M UTC").to_string();
        fill(self.moment, &[("day", &day), ("month", month.unwrap_or(&"")), ("year", &year), ("time", &time)])
    }
}

/// Fills the gaps of a text; what is put in is not looked at again, so that braces in it stay braces.
pub fn fill(text: &str, gaps: &[(&str, &str)]) -> String {
    let mut pieces = text.split('{');
    let mut filled = pieces.next().unwrap_or_default().to_owned();
    for piece in pieces {
        let gap = piece
            .split_once('}')
            .and_then(|(name, rest)| gaps.iter().find(|(known, _)| *known == name).map(|(_, value)| (*value, rest)));
        match gap {
            Some((value, rest)) => filled.extend([value, rest]),
            None => filled.extend(["{", piece]),
        }
    }
    filled
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::Value;

    #[test]
    fn languages_by_their_tags() {
        assert_eq!(
            ["de-AT", "FR", "es", "en-GB", "ja"].map(|tag| Texts::of(tag).language),
            ["de", "fr", "es", "en", "en"]
        );
    }

    #[test]
    fn languages_as_browsers_ask_for_them() {
        for (asked, language) in [
            ("de-AT,de;q=0.9,en;q=0.8", "de"),
            ("ja, fr-CA;q=0.7, en;q=0.3", "fr"),
            ("ES", "es"),
            ("ja", "en"),
            ("*", "en"),
            ("", "en"),
        ] {
            assert_eq!(Texts::asked_for(asked).language, language, "{asked}");
        }
    }

    /// Every text by its path, with its gaps in the order of the alphabet.
    fn gaps(value: &Value, path: &str, found: &mut Vec<(String, Vec<String>)>) {
        match value {
            Value::Object(fields) => {
                fields.iter().for_each(|(name, value)| gaps(value, &format!("{path}.{name}"), found));
            }
            Value::String(text) => {
                assert!(!text.trim().is_empty(), "{path} is empty");
                let mut names: Vec<String> =
                    text.split('{').skip(1).map(|rest| rest.split('}').next().unwrap().to_owned()).collect();
                names.sort_unstable();
                found.push((path.to_owned(), names));
            }
            _ => {}
        }
    }

    #[test]
    fn every_language_has_the_gaps_of_english() {
        let all = LANGUAGES.map(|texts| {
            let mut found = Vec::new();
            gaps(&serde_json::to_value(texts).unwrap(), "", &mut found);
            found
        });
        assert!(all[0].len() > 80);
        // English leaves to the faults themselves what the others say of them.
        let (faults, in_spanish): (Vec<_>, Vec<_>) =
            all[1].iter().cloned().partition(|(path, _)| path.starts_with(".sending.faults."));
        assert_eq!((faults.len(), &in_spanish), (6, &all[0]));
        for (texts, found) in LANGUAGES.iter().zip(&all).skip(2) {
            assert_eq!(found, &all[1], "{}", texts.language);
        }
    }

    #[test]
    fn gaps_are_filled_once() {
        let of = |text| fill(text, &[("site", "{name} & co"), ("name", "Ada")]);
        assert_eq!(of("{name} on {site}: {other} {"), "Ada on {name} & co: {other} {");
    }

    #[test]
    fn moments_in_each_language() {
        let at = Timestamp(1_763_843_696_000_001);
        let told = ["en", "es", "de", "fr"].map(|tag| Texts::of(tag).moment(at));
        let months = ["22 November 2025", "22 de noviembre de 2025", "22. November 2025", "22 novembre 2025"];
        assert_eq!(told, months.map(|day| format!("{day}, 20:34 UTC")));
    }
}
