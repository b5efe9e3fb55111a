//! What a site may decide for itself beyond its policy: which fields a visitor must fill in, how long texts may be, when
//! articles close by age, what the form says. Stored as JSON in `sites.settings`; a key that this version does not know
//! stays where it is.

use std::time::Duration;

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use super::comment::named_enum;
use super::fault::Fault;
use super::feedback::{MOST_REACTIONS, is_reaction};
use super::retention::Retention;
use super::rules::draft::Score;
use super::rules::judge::Thresholds;
use super::submission::FieldRules;
use super::text::{Body, tidy};
use super::time::Timestamp;

named_enum! {
    /// A field that visitors may have to fill in. Article and text always must be there.
    RequiredField {
        /// The name; no site can do without.
        Name = 0 => "name",
        /// The e-mail address.
        Email = 1 => "email",
        /// The website.
        Website = 2 => "website",
    }
}

named_enum! {
    /// Whether a comment must carry the token of the form.
    FormTokens {
        /// One without is taken like any other.
        Optional = 0 => "optional",
        /// One without is held.
        Required = 1 => "required",
    }
}

named_enum! {
    /// The pictures beside names.
    Avatars {
        /// Made from the name by a key of the site's own.
        Generated = 0 => "generated",
        /// There are none.
        None = 1 => "none",
    }
}

/// The shortest and longest texts, in characters; none: as the operator's settings say. Never wider than those.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
#[expect(missing_docs, reason = "named as in the API")]
pub struct Lengths {
    pub name_min: Option<usize>,
    pub name_max: Option<usize>,
    pub body_min: Option<usize>,
    pub body_max: Option<usize>,
}

/// A site's own settings.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct SiteSettings {
    /// What must be filled in.
    pub required_fields: Vec<RequiredField>,
    /// How long texts may be.
    pub lengths: Lengths,
    /// Articles close so many days after they were made; 0: never.
    pub close_after_days: u32,
    /// BCP 47 tags of the languages in which comments are expected; for the form, nothing is refused by them.
    pub languages: Vec<String>,
    /// How long what is personal stays.
    pub retention: Retention,
    /// The privacy line of the form; none: the service's own.
    pub privacy_text: Option<String>,
    /// Whether readers vote on comments.
    pub votes: bool,
    /// The reactions to articles, by name, in the order in which they are shown; none: no reactions.
    pub reactions: Vec<String>,
    /// So many visitors who flag a comment hold it for another look; 0: none do.
    pub flags_to_hold: u32,
    /// Whether visitors may change nothing on any article: no comments, no edits, no votes.
    pub read_only: bool,
    /// Whether a comment must carry the token of the form.
    pub form_token: FormTokens,
    /// The pictures beside names.
    pub avatars: Avatars,
    /// From which score of the rules on a comment is held; none: as the operator's settings say.
    pub hold_score: Option<Score>,
    /// From which on it is called spam, likewise.
    pub spam_score: Option<Score>,
    /// What another version has written.
    #[serde(flatten)]
    pub unknown: Map<String, Value>,
}

impl Default for SiteSettings {
    fn default() -> Self {
        Self {
            required_fields: vec![RequiredField::Name, RequiredField::Email],
            lengths: Lengths::default(),
            close_after_days: 0,
            languages: Vec::new(),
            retention: Retention::default(),
            privacy_text: None,
            votes: true,
            reactions: vec!["like".to_owned()],
            flags_to_hold: 3,
            read_only: false,
            form_token: FormTokens::Optional,
            avatars: Avatars::Generated,
            hold_score: None,
            spam_score: None,
            unknown: Map::new(),
        }
    }
}

/// What a submission to one site must obey.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
pub struct FormRules {
    /// The longest texts.
    pub fields: FieldRules,
    /// The shortest name, in characters.
    pub name_min: usize,
    /// The shortest text.
    pub body_min: usize,
    /// Whether there must be an e-mail address.
    pub needs_email: bool,
    /// Whether there must be a website.
    pub needs_website: bool,
}

impl From<FieldRules> for FormRules {
    /// The contract's rules with the operator's lengths.
    fn from(fields: FieldRules) -> Self {
        Self { fields, name_min: 1, body_min: 1, needs_email: true, needs_website: false }
    }
}

impl FormRules {
    /// Faults of a name and a text that are there: too short, in characters.
    pub fn too_short(&self, field: &'static str, text: &str) -> Option<Fault> {
        let least = match field {
            "name" => self.name_min,
            "body" => self.body_min,
            _ => 0,
        };
        let short = text.chars().take(least).count() < least;
        short.then(|| Fault::new(field, "too_short", format!("It is shorter than {least} characters.")))
    }
}

impl SiteSettings {
    /// What submissions must obey, within what the operator allows.
    pub fn form_rules(&self, operator: &FieldRules) -> FormRules {
        let Lengths { name_min, name_max, body_min, body_max } = self.lengths;
        let mut fields = *operator;
        fields.name_max = fields.name_max.min(name_max.unwrap_or(usize::MAX));
        fields.body_max = fields.body_max.min(body_max.unwrap_or(usize::MAX));
        FormRules {
            fields,
            // The operator may have lowered the longest since.
            name_min: name_min.unwrap_or(1).min(fields.name_max),
            body_min: body_min.unwrap_or(1).min(fields.body_max),
            needs_email: self.required_fields.contains(&RequiredField::Email),
            needs_website: self.required_fields.contains(&RequiredField::Website),
        }
    }

    /// From which scores on a comment is held and called spam. What is called spam is never less than what is held.
    pub fn thresholds(&self, operator: Thresholds) -> Thresholds {
        let hold = self.hold_score.unwrap_or(operator.hold);
        Thresholds { hold, spam: self.spam_score.unwrap_or(operator.spam).max(hold) }
    }

    /// The privacy line of the form.
    pub fn privacy_line(&self) -> &str {
        self.privacy_text.as_deref().unwrap_or("Your email address will not be published. Required fields are marked *")
    }

    /// When an article that was made then closes by its age; none: never.
    pub fn closes_at(&self, made_at: Timestamp) -> Option<Timestamp> {
        let days = u64::from(self.close_after_days);
        (days > 0).then(|| made_at.plus(Duration::from_secs(days * 86_400)))
    }
}

/// Longer than a human life; a mistyped number is told.
pub const MOST_DAYS: i64 = 36_500;

/// The longest privacy line, in characters.
const PRIVACY_MAX: usize = 1000;

/// What is sent to change the settings, as it came; what is missing stays.
#[derive(Debug, Clone, Default)]
#[expect(missing_docs, reason = "the fields of SiteSettings")]
pub struct RawSettings {
    pub required_fields: Option<Vec<String>>,
    /// What is missing in it stays; none takes a length away.
    pub lengths: Option<Vec<(String, Option<i64>)>>,
    pub close_after_days: Option<i64>,
    pub languages: Option<Vec<String>>,
    /// What is missing in it stays; none: as the operator's settings say.
    pub retention: Option<Vec<(String, Option<i64>)>>,
    /// An empty one brings the service's own back.
    pub privacy_text: Option<String>,
    pub feedback: RawFeedback,
    pub read_only: Option<bool>,
    pub form_token: Option<String>,
    pub avatars: Option<String>,
    /// In points; none brings the operator's back.
    pub hold_score: Option<Option<f64>>,
    pub spam_score: Option<Option<f64>>,
}

/// What readers may say without writing, as it came; what is missing stays.
#[derive(Debug, Clone, Default)]
#[expect(missing_docs, reason = "the fields of SiteSettings")]
pub struct RawFeedback {
    pub votes: Option<bool>,
    pub reactions: Option<Vec<String>>,
    pub flags_to_hold: Option<i64>,
}

impl RawFeedback {
    fn apply(self, settings: &mut SiteSettings, faults: &mut Vec<Fault>) {
        settings.votes = self.votes.unwrap_or(settings.votes);
        if let Some(names) = self.reactions {
            let once = names.iter().collect::<std::collections::BTreeSet<_>>().len() == names.len();
            if once && names.len() <= MOST_REACTIONS && names.iter().all(|name| is_reaction(name)) {
                settings.reactions = names;
            } else {
                let known = "It must be a list of at most 8 names, each once: 1 to 20 of a-z, 0-9, - and _.";
                faults.push(Fault::new("reactions", "invalid_reaction", known));
            }
        }
        match self.flags_to_hold.map(u32::try_from) {
            Some(Ok(flags)) if flags <= MOST_FLAGS => settings.flags_to_hold = flags,
            Some(_) => {
                let range = format!("It must be a whole number from 0 (never) to {MOST_FLAGS}.");
                faults.push(Fault::new("flags_to_hold", "out_of_range", range));
            }
            None => {}
        }
    }
}

/// More visitors than this hardly agree; a mistyped number is told.
const MOST_FLAGS: u32 = 1000;

impl RawSettings {
    /// Writes what is legal into `settings` and notes a fault for each field that is not.
    pub fn apply(self, settings: &mut SiteSettings, operator: &FieldRules, faults: &mut Vec<Fault>) {
        let mut note = |fault| faults.push(fault);
        if let Some(names) = self.required_fields {
            let _ = required_fields(&names).map(|fields| settings.required_fields = fields).map_err(&mut note);
        }
        if let Some(lengths) = self.lengths {
            let changed = changed_lengths(settings.lengths, &lengths, operator);
            let _ = changed.map(|lengths| settings.lengths = lengths).map_err(&mut note);
        }
        if let Some(days) = self.close_after_days {
            let _ = close_after_days(days).map(|days| settings.close_after_days = days).map_err(&mut note);
        }
        if let Some(tags) = self.languages {
            if tags.len() > 20 || !tags.iter().all(|tag| is_language(tag)) {
                note(Fault::new(
                    "languages",
                    "invalid_language",
                    "It must be a list of at most 20 tags like en or de-AT.",
                ));
            } else {
                settings.languages = tags;
            }
        }
        if let Some(given) = self.retention {
            let changed = changed_retention(settings.retention, &given);
            let _ = changed.map(|retention| settings.retention = retention).map_err(&mut note);
        }
        settings.read_only = self.read_only.unwrap_or(settings.read_only);
        if let Some(name) = self.form_token {
            let known = || Fault::new("form_token", "unknown_value", "It must be one of: optional, required.");
            let _ =
                FormTokens::from_name(&name).ok_or_else(known).map(|new| settings.form_token = new).map_err(&mut note);
        }
        if let Some(name) = self.avatars {
            let known = || Fault::new("avatars", "unknown_value", "It must be one of: generated, none.");
            let _ = Avatars::from_name(&name).ok_or_else(known).map(|new| settings.avatars = new).map_err(&mut note);
        }
        if let Some(points) = self.hold_score {
            let _ = score("hold_score", points).map(|score| settings.hold_score = score).map_err(&mut note);
        }
        if let Some(points) = self.spam_score {
            let _ = score("spam_score", points).map(|score| settings.spam_score = score).map_err(&mut note);
        }
        if settings.hold_score.zip(settings.spam_score).is_some_and(|(hold, spam)| spam < hold) {
            note(Fault::new("spam_score", "contradiction", "It must not be below hold_score."));
        }
        if let Some(text) = self.privacy_text {
            let _ = privacy_text(&text).map(|text| settings.privacy_text = text).map_err(&mut note);
        }
        self.feedback.apply(settings, faults);
    }
}

fn close_after_days(days: i64) -> Result<u32, Fault> {
    let range = || format!("It must be a whole number of days from 0 (never) to {MOST_DAYS}.");
    let legal = u32::try_from(days).ok().filter(|_| days <= MOST_DAYS);
    legal.ok_or_else(|| Fault::new("close_after_days", "out_of_range", range()))
}

fn changed_retention(mut retention: Retention, given: &[(String, Option<i64>)]) -> Result<Retention, Fault> {
    for (name, value) in given {
        let place = match name.as_str() {
            "sender_days" => &mut retention.sender_days,
            "refused_days" => &mut retention.refused_days,
            _ => {
                let known = "It may contain sender_days and refused_days.";
                return Err(Fault::new("retention", "unknown_field", known));
            }
        };
        let range = || format!("Each is a whole number of days from 0 (for ever) to {MOST_DAYS}.");
        *place = match value {
            None => None,
            Some(days @ 0..=MOST_DAYS) => u32::try_from(*days).ok(),
            Some(_) => return Err(Fault::new("retention", "out_of_range", range())),
        };
    }
    Ok(retention)
}

fn score(field: &'static str, points: Option<f64>) -> Result<Option<Score>, Fault> {
    let Some(points) = points else { return Ok(None) };
    let range = || Fault::new(field, "out_of_range", "It must be between 0.01 and 100, with two decimals at most.");
    Score::of_points(points).filter(|score| score.0 > 0).map(Some).ok_or_else(range)
}

fn required_fields(names: &[String]) -> Result<Vec<RequiredField>, Fault> {
    let fields: Option<Vec<_>> = names.iter().map(|name| RequiredField::from_name(name)).collect();
    let known = || Fault::new("required_fields", "unknown_value", "It must be a list of: name, email, website.");
    let mut fields = fields.ok_or_else(known)?;
    fields.sort_by_key(|field| field.number());
    fields.dedup();
    if fields.contains(&RequiredField::Name) {
        return Ok(fields);
    }
    Err(Fault::new("required_fields", "required", "A comment always has a name: the list must contain it."))
}

fn changed_lengths(
    mut lengths: Lengths,
    given: &[(String, Option<i64>)],
    operator: &FieldRules,
) -> Result<Lengths, Fault> {
    for (name, value) in given {
        let (place, most) = match name.as_str() {
            "name_min" => (&mut lengths.name_min, operator.name_max),
            "name_max" => (&mut lengths.name_max, operator.name_max),
            "body_min" => (&mut lengths.body_min, operator.body_max),
            "body_max" => (&mut lengths.body_max, operator.body_max),
            _ => {
                let known = "It may contain name_min, name_max, body_min and body_max.";
                return Err(Fault::new("lengths", "unknown_field", known));
            }
        };
        let length = value.map(|value| usize::try_from(value).unwrap_or(0));
        // What is stored may be sent back, also when the operator has lowered the longest since.
        if length != *place && length.is_some_and(|length| !(1..=most).contains(&length)) {
            return Err(Fault::new(
                "lengths",
                "out_of_range",
                format!("Each is from 1 to what the operator set ({most})."),
            ));
        }
        *place = length;
    }
    let crossed = |least: Option<usize>, most: Option<usize>| least.zip(most).is_some_and(|(least, most)| least > most);
    if crossed(lengths.name_min, lengths.name_max) || crossed(lengths.body_min, lengths.body_max) {
        return Err(Fault::new("lengths", "contradiction", "A shortest length is greater than the longest."));
    }
    Ok(lengths)
}

fn privacy_text(text: &str) -> Result<Option<String>, Fault> {
    let text = tidy(text);
    if text.chars().count() > PRIVACY_MAX {
        return Err(Fault::too_long("privacy_text", PRIVACY_MAX, "characters"));
    }
    if text.is_empty() {
        return Ok(None);
    }
    Body::parse(&text, "privacy_text").map(|body| Some(body.into_string()))
}

/// Whether a text has the shape of a BCP 47 tag: parts of 1 to 8 letters and digits with hyphens between, the first of 2 or
/// 3 letters, at most 35 characters (RFC 5646 §4.4.1).
pub fn is_language(tag: &str) -> bool {
    let first = tag.split('-').next().unwrap_or_default();
    let part = |part: &str| (1..=8).contains(&part.len()) && part.bytes().all(|b| b.is_ascii_alphanumeric());
    tag.len() <= 35
        && (2..=3).contains(&first.len())
        && first.bytes().all(|b| b.is_ascii_alphabetic())
        && tag.split('-').all(part)
}

#[cfg(test)]
mod tests {
    use super::*;

    const OPERATOR: FieldRules = FieldRules {
        name_max: 100,
        website_max: 200,
        body_max: 10_000,
        article_title_max: 300,
        article_url_max: 2048,
        challenge_max: 4096,
    };

    fn changed(raw: RawSettings) -> Result<SiteSettings, Vec<&'static str>> {
        changed_from(SiteSettings::default(), raw)
    }

    fn changed_from(mut settings: SiteSettings, raw: RawSettings) -> Result<SiteSettings, Vec<&'static str>> {
        let mut faults = Vec::new();
        raw.apply(&mut settings, &OPERATOR, &mut faults);
        if faults.is_empty() { Ok(settings) } else { Err(faults.iter().map(|fault| fault.code).collect()) }
    }

    fn raw_lengths(given: &[(&str, Option<i64>)]) -> RawSettings {
        let lengths = given.iter().map(|(name, value)| ((*name).to_owned(), *value)).collect();
        RawSettings { lengths: Some(lengths), ..RawSettings::default() }
    }

    fn lengths(given: &[(&str, i64)]) -> Result<SiteSettings, Vec<&'static str>> {
        let given: Vec<_> = given.iter().map(|(name, value)| (*name, Some(*value))).collect();
        changed(raw_lengths(&given))
    }

    #[test]
    fn the_defaults_are_the_contracts() {
        assert_eq!(SiteSettings::default().form_rules(&OPERATOR), FormRules::from(OPERATOR));
        assert_eq!(serde_json::from_str::<SiteSettings>("{}").unwrap(), SiteSettings::default());
        assert_eq!(SiteSettings::default().closes_at(Timestamp(5)), None);
    }

    #[test]
    fn what_another_version_wrote_stays() {
        let settings: SiteSettings = serde_json::from_str(r#"{"close_after_days": 3, "tides": {"on": true}}"#).unwrap();
        assert_eq!(settings.closes_at(Timestamp(7)), Some(Timestamp(7 + 3 * 86_400_000_000)));
        let again: serde_json::Value = serde_json::to_value(&settings).unwrap();
        assert_eq!(again["tides"]["on"], true);
    }

    #[test]
    fn all_faults_at_once() {
        let raw = RawSettings {
            required_fields: Some(vec!["email".into()]),
            lengths: Some(vec![("name_max".into(), Some(101))]),
            close_after_days: Some(-1),
            languages: Some(vec!["e".into()]),
            retention: None,
            privacy_text: Some("x".repeat(1001)),
            feedback: RawFeedback {
                votes: None,
                reactions: Some(vec!["like".into(), "like".into()]),
                flags_to_hold: Some(-1),
            },
            ..RawSettings::default()
        };
        let expected = [
            "required",
            "out_of_range",
            "out_of_range",
            "invalid_language",
            "too_long",
            "invalid_reaction",
            "out_of_range",
        ];
        assert_eq!(changed(raw).unwrap_err(), expected);
        assert_eq!(lengths(&[("body_min", 5), ("body_max", 4)]).unwrap_err(), ["contradiction"]);
        assert_eq!(lengths(&[("size", 5)]).unwrap_err(), ["unknown_field"]);
    }

    #[test]
    fn lengths_stay_within_the_operators() {
        let settings = lengths(&[("body_min", 10), ("body_max", 500)]).unwrap();
        let rules = settings.form_rules(&OPERATOR);
        assert_eq!((rules.body_min, rules.fields.body_max), (10, 500));
        assert!(rules.too_short("body", "123456789").is_some() && rules.too_short("body", "1234567890").is_none());
        let lowered = settings.form_rules(&FieldRules { body_max: 5, ..OPERATOR });
        assert_eq!((lowered.body_min, lowered.fields.body_max), (5, 5));
    }

    #[test]
    fn lengths_that_are_not_named_stay() {
        let given = |settings: &SiteSettings, given: &[_]| changed_from(settings.clone(), raw_lengths(given));
        let first = lengths(&[("name_max", 50), ("body_min", 10)]).unwrap();
        let second = given(&first, &[("body_max", Some(500))]).unwrap();
        let all = Lengths { name_min: None, name_max: Some(50), body_min: Some(10), body_max: Some(500) };
        assert_eq!(second.lengths, all);
        let third = given(&second, &[("name_max", None), ("name_min", None)]).unwrap();
        assert_eq!(third.lengths, Lengths { name_max: None, ..all });
        assert_eq!(given(&second, &[("body_max", Some(9))]).unwrap_err(), ["contradiction"]);
        assert_eq!(given(&second, &[("body_max", Some(-1))]).unwrap_err(), ["out_of_range"]);
        // The operator has lowered the longest since.
        let mut high = second;
        high.lengths.body_max = Some(20_000);
        assert_eq!(given(&high, &[("body_max", Some(20_000))]), Ok(high.clone()));
        assert_eq!(given(&high, &[("body_max", Some(20_001))]).unwrap_err(), ["out_of_range"]);
    }

    #[test]
    fn scores_of_a_site() {
        let operator = Thresholds { hold: Score(500), spam: Score(1000) };
        let raw = |hold: Option<f64>, spam: Option<f64>| {
            changed(RawSettings { hold_score: Some(hold), spam_score: Some(spam), ..RawSettings::default() })
        };
        let thresholds = |settings: SiteSettings| {
            let read: SiteSettings = serde_json::from_str(&serde_json::to_string(&settings).unwrap()).unwrap();
            assert_eq!(read, settings);
            let Thresholds { hold, spam } = read.thresholds(operator);
            (hold.0, spam.0)
        };
        assert_eq!(thresholds(raw(None, None).unwrap()), (500, 1000));
        assert_eq!(thresholds(raw(Some(2.5), None).unwrap()), (250, 1000));
        assert_eq!(thresholds(raw(Some(20.0), None).unwrap()), (2000, 2000), "never spam before it is held");
        assert_eq!(raw(Some(2.0), Some(1.99)).unwrap_err(), ["contradiction"]);
        assert_eq!(raw(Some(0.0), Some(100.001)).unwrap_err(), ["out_of_range", "out_of_range"]);
    }

    #[test]
    fn tags_of_languages() {
        assert!(["en", "de-AT", "zh-Hant-TW", "gsw"].iter().all(|tag| is_language(tag)));
        assert!(["", "e", "en_US", "english-", "en--US", "x y"].iter().all(|tag| !is_language(tag)));
    }
}
