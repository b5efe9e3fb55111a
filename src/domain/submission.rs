//! What a visitor sends with the form, parsed into what a comment is made of. Presence and length are `validator`'s part
//! (operators set the lengths), the content is the parsed types' part, and all faults come out together, in the order in
//! which the contract names the fields.

use validator::{Validate, ValidateArgs, ValidationError};

use super::characters::is_blank;
use super::email::Email;
use super::fault::Fault;
use super::ids::CommentId;
use super::site_settings::FormRules;
use super::text::{Body, Name, Title, tidy, tidy_line};
use super::web::{Origin, WebAddress};

/// How long fields may be, in Unicode characters after NFC and trimming.
#[derive(Debug, Clone, Copy, PartialEq, Eq, serde::Deserialize, serde::Serialize)]
#[serde(deny_unknown_fields)]
pub struct FieldRules {
    /// The name.
    pub name_max: usize,
    /// The website.
    pub website_max: usize,
    /// The text.
    pub body_max: usize,
    /// The article's title.
    pub article_title_max: usize,
    /// The article's address.
    pub article_url_max: usize,
    /// The answer to a challenge, and the form's token.
    pub challenge_max: usize,
}

/// An article's key is the blog's own and never changed by us; the contract fixes its length.
pub const ARTICLE_KEY_MAX: usize = 512;

/// The fields as text, before any check. Which of them were missing or of the wrong type is told beside.
#[derive(Default, Clone, Validate)]
#[validate(context = FieldRules)]
pub struct RawSubmission {
    /// The article's key.
    #[validate(required(code = "required"), custom(function = "article_fits"))]
    pub article: Option<String>,
    /// The name.
    #[validate(required(code = "required"), custom(function = "name_fits", use_context))]
    pub name: Option<String>,
    /// The e-mail address; the site may do without.
    pub email: Option<String>,
    /// The text.
    #[validate(required(code = "required"), custom(function = "body_fits", use_context))]
    pub body: Option<String>,
    /// The website.
    #[validate(custom(function = "website_fits", use_context))]
    pub website: Option<String>,
    /// The comment that this one answers.
    pub parent_id: Option<String>,
    /// Whether to tell of replies.
    pub notify: Option<bool>,
    /// The article's title as the page shows it.
    #[validate(custom(function = "title_fits", use_context))]
    pub article_title: Option<String>,
    /// The article's address.
    #[validate(custom(function = "url_fits", use_context))]
    pub article_url: Option<String>,
    /// The answer to a challenge.
    #[validate(custom(function = "challenge_fits", use_context))]
    pub challenge: Option<String>,
    /// When the form was made.
    #[validate(custom(function = "challenge_fits", use_context))]
    pub form_token: Option<String>,
    /// The field that people never see.
    pub company: Option<String>,
}

/// The fields in the order of the contract; faults are told in this order.
pub const FIELDS: [&str; 12] = [
    "article",
    "name",
    "email",
    "body",
    "website",
    "parent_id",
    "notify",
    "article_title",
    "article_url",
    "challenge",
    "form_token",
    "company",
];

/// A legal submission.
#[derive(Debug, Clone)]
pub struct Submission {
    /// The article's key.
    pub article: ArticleKey,
    /// The name.
    pub name: Name,
    /// The e-mail address, where the site can do without.
    pub email: Option<Email>,
    /// The text.
    pub body: Body,
    /// The website.
    pub website: Option<WebAddress>,
    /// The comment that this one answers; whether it can be answered is for the storage to say.
    pub parent_id: Option<CommentId>,
    /// Whether to tell of replies.
    pub notify: bool,
    /// A hint for moderators.
    pub article_title: Option<Title>,
    /// A hint for moderators.
    pub article_url: Option<WebAddress>,
    /// The token of the form, as it came.
    pub form_token: Option<String>,
    /// Whether the field that people never see was filled in.
    pub honeypot: bool,
}

/// The key that a blog chose for an article: 1 to 512 characters, none of them a control character, kept as it is.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct ArticleKey(String);

impl ArticleKey {
    /// Reads a key; `field` is what a fault calls it.
    pub fn parse(text: &str, field: &'static str) -> Result<Self, Fault> {
        if text.is_empty() {
            return Err(Fault::required(field));
        }
        if text.chars().count() > ARTICLE_KEY_MAX {
            return Err(Fault::too_long(field, ARTICLE_KEY_MAX, "characters"));
        }
        if text.chars().any(char::is_control) {
            return Err(Fault::new(field, "illegal_character", "It must not contain control characters."));
        }
        Ok(Self(text.to_owned()))
    }

    /// The key as text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

/// Where an article's address may lead: the site's own pages, and ours.
pub type OwnsOrigin<'a> = &'a dyn Fn(&Origin) -> bool;

impl RawSubmission {
    /// Normalises each text and takes empty optional ones for missing.
    fn tidied(mut self) -> Self {
        for field in [&mut self.name, &mut self.body] {
            *field = field.take().map(|text| tidy(&text).into_owned()).filter(|text| !text.is_empty());
        }
        self.email = self.email.map(|text| tidy_email(&text)).filter(|text| !text.is_empty());
        for field in [&mut self.website, &mut self.article_url, &mut self.challenge, &mut self.form_token] {
            *field = field.take().map(|text| tidy(&text).into_owned()).filter(|text| !text.is_empty());
        }
        self.article = self.article.filter(|text| !text.is_empty());
        self.article_title = self.article_title.map(|text| tidy_line(&text)).filter(|text| !text.is_empty());
        self
    }

    /// What this site alone asks for.
    fn site_faults(&self, rules: &FormRules) -> Vec<Fault> {
        let needed = [("email", &self.email, rules.needs_email), ("website", &self.website, rules.needs_website)];
        let missing = needed.into_iter().filter(|(_, text, needs)| *needs && text.is_none());
        let short = [("name", &self.name), ("body", &self.body)];
        let short = short.into_iter().filter_map(|(field, text)| rules.too_short(field, text.as_deref()?));
        missing.map(|(field, ..)| Fault::required(field)).chain(short).collect()
    }

    /// Parses the fields. `faults` are those already found (wrong types); a field that has one is not blamed twice.
    pub fn parse(self, rules: &FormRules, owns: OwnsOrigin<'_>, faults: Vec<Fault>) -> Result<Submission, Vec<Fault>> {
        let raw = self.tidied();
        let mut notes = Notes { faults };
        if let Err(errors) = raw.validate_with_args(&rules.fields) {
            for fault in told(&errors, &rules.fields) {
                notes.add(fault);
            }
        }
        for fault in raw.site_faults(rules) {
            notes.add(fault);
        }
        let text = |field: &Option<String>| field.clone().unwrap_or_default();
        let article = notes.keep(|| ArticleKey::parse(&text(&raw.article), "article"), "article");
        let name = notes.keep(|| Name::parse(&text(&raw.name), "name"), "name");
        let email = notes.keep_some(raw.email.as_deref(), |text| Email::parse(text, "email"), "email");
        let body = notes.keep(|| Body::parse(&text(&raw.body), "body"), "body");
        let website = notes.keep_some(raw.website.as_deref(), |text| WebAddress::parse(text, "website"), "website");
        let parent_id = notes.keep_some(raw.parent_id.as_deref(), parse_parent, "parent_id");
        let title =
            notes.keep_some(raw.article_title.as_deref(), |text| Title::parse(text, "article_title"), "article_title");
        let url = notes.keep_some(raw.article_url.as_deref(), |text| parse_article_url(text, owns), "article_url");
        match (article, name, body) {
            (Some(article), Some(name), Some(body)) if notes.faults.is_empty() => Ok(Submission {
                article,
                name,
                email,
                body,
                website,
                parent_id,
                notify: raw.notify.unwrap_or(false),
                article_title: title,
                article_url: url,
                form_token: raw.form_token,
                honeypot: raw.company.is_some_and(|text| !text.trim().is_empty()),
            }),
            _ => Err(in_order(notes.faults)),
        }
    }
}

/// Spaces around an address are slips of the hand; a line break beside one is somebody trying to write a mail header. One
/// that is too long as it was typed is not made to fit by composing its letters.
fn tidy_email(text: &str) -> String {
    let trimmed = text.trim_matches(' ');
    let plain = trimmed.trim_matches(is_blank) == trimmed && trimmed.len() <= super::email::MAX_OCTETS;
    if plain { tidy(trimmed).into_owned() } else { trimmed.to_owned() }
}

/// The faults in the order in which the contract names the fields; unknown fields last.
pub fn in_order(mut faults: Vec<Fault>) -> Vec<Fault> {
    let place = |fault: &Fault| FIELDS.iter().position(|field| *field == fault.field).unwrap_or(FIELDS.len());
    faults.sort_by_key(|fault| (fault.code == "unknown_field", place(fault)));
    faults
}

/// Collects faults while fields are parsed.
struct Notes {
    faults: Vec<Fault>,
}

impl Notes {
    /// Notes a fault, unless the field has one already.
    fn add(&mut self, fault: Fault) {
        if self.faults.iter().all(|known| known.field != fault.field) {
            self.faults.push(fault);
        }
    }

    /// The parsed field, unless it has a fault already or gets one now.
    fn keep<T>(&mut self, parse: impl FnOnce() -> Result<T, Fault>, field: &str) -> Option<T> {
        if self.faults.iter().any(|fault| fault.field == field) {
            return None;
        }
        parse().map_err(|fault| self.faults.push(fault)).ok()
    }

    fn keep_some<T>(
        &mut self,
        text: Option<&str>,
        parse: impl FnOnce(&str) -> Result<T, Fault>,
        field: &str,
    ) -> Option<T> {
        text.and_then(|text| self.keep(|| parse(text), field))
    }
}

fn parse_parent(text: &str) -> Result<CommentId, Fault> {
    text.parse().map_err(|_| unknown_parent())
}

/// The parent is not one that can be answered; which of the reasons it is, nobody learns.
pub fn unknown_parent() -> Fault {
    Fault::new("parent_id", "unknown_parent", "The comment that this one answers is not here, or takes no replies.")
}

fn parse_article_url(text: &str, owns: OwnsOrigin<'_>) -> Result<WebAddress, Fault> {
    let address = WebAddress::parse(text, "article_url")?;
    if owns(&address.origin()) {
        return Ok(address);
    }
    Err(Fault::new("article_url", "foreign_url", "It must be an address on this site."))
}

fn fits(text: &str, most: usize) -> Result<(), ValidationError> {
    // A text of fewer bytes has fewer characters: no need to count.
    if text.len() > most && text.chars().count() > most { Err(ValidationError::new("too_long")) } else { Ok(()) }
}

fn article_fits(text: &str) -> Result<(), ValidationError> {
    fits(text, ARTICLE_KEY_MAX)
}

macro_rules! fits_rule {
    ($($function:ident: $rule:ident),+) => {$(
        fn $function(text: &str, rules: &FieldRules) -> Result<(), ValidationError> {
            fits(text, rules.$rule)
        }
    )+};
}
fits_rule! {
    name_fits: name_max, body_fits: body_max, website_fits: website_max, title_fits: article_title_max,
    url_fits: article_url_max, challenge_fits: challenge_max
}

/// validator's errors in our words. Only field and code are used: its parameters repeat what was typed.
fn told(errors: &validator::ValidationErrors, rules: &FieldRules) -> Vec<Fault> {
    let first = |(field, errors): (std::borrow::Cow<'static, str>, &Vec<ValidationError>)| {
        let most = most(&field, rules);
        let missing = errors.iter().any(|error| error.code == "required");
        if missing { Fault::required(field) } else { Fault::too_long(field, most, "characters") }
    };
    errors.field_errors().into_iter().map(first).collect()
}

fn most(field: &str, rules: &FieldRules) -> usize {
    match field {
        "article" => ARTICLE_KEY_MAX,
        "name" => rules.name_max,
        "body" => rules.body_max,
        "website" => rules.website_max,
        "article_title" => rules.article_title_max,
        "article_url" => rules.article_url_max,
        _ => rules.challenge_max,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    pub const RULES: FieldRules = FieldRules {
        name_max: 100,
        website_max: 200,
        body_max: 10_000,
        article_title_max: 300,
        article_url_max: 2048,
        challenge_max: 4096,
    };

    fn raw() -> RawSubmission {
        RawSubmission {
            article: Some("/a".into()),
            name: Some(" Ada ".into()),
            email: Some("ada@example.org".into()),
            body: Some("Hello".into()),
            ..RawSubmission::default()
        }
    }

    fn faults(raw: RawSubmission) -> Vec<(String, &'static str)> {
        let owns = |origin: &Origin| origin.as_str() == "https://blog.example";
        let faults = raw.parse(&RULES.into(), &owns, Vec::new()).err().unwrap_or_default();
        faults.into_iter().map(|fault| (fault.field.into_owned(), fault.code)).collect()
    }

    #[test]
    fn the_least_that_is_legal() {
        let submission = raw().parse(&RULES.into(), &|_| false, Vec::new()).unwrap();
        assert_eq!(submission.name.as_str(), "Ada");
        assert!(!submission.honeypot && !submission.notify && submission.website.is_none());
    }

    #[test]
    fn all_faults_at_once_in_the_contracts_order() {
        let bad = RawSubmission {
            website: Some("javascript:x".into()),
            article_title: Some("t".repeat(301)),
            article_url: Some("https://evil.example/".into()),
            parent_id: Some("7".into()),
            challenge: Some("c".repeat(4097)),
            ..RawSubmission::default()
        };
        assert_eq!(
            faults(bad),
            [
                ("article", "required"),
                ("name", "required"),
                ("email", "required"),
                ("body", "required"),
                ("website", "invalid_url"),
                ("parent_id", "unknown_parent"),
                ("article_title", "too_long"),
                ("article_url", "foreign_url"),
                ("challenge", "too_long"),
            ]
            .map(|(field, code)| (field.to_owned(), code))
        );
    }

    #[test]
    fn lengths_count_characters_after_nfc_and_trimming() {
        let name = |text: String| RawSubmission { name: Some(text), ..raw() };
        assert!(faults(name("é".repeat(100))).is_empty());
        assert!(faults(name(format!("  {}  ", "e\u{301}".repeat(100)))).is_empty());
        assert_eq!(faults(name("é".repeat(101))), [("name".to_owned(), "too_long")]);
        assert_eq!(faults(name(" \u{3000} ".into())), [("name".to_owned(), "required")]);
        let article = |text: &str| RawSubmission { article: Some(text.into()), ..raw() };
        assert!(faults(article(&"漢".repeat(512))).is_empty());
        assert_eq!(faults(article(&"漢".repeat(513))), [("article".to_owned(), "too_long")]);
        assert_eq!(faults(article("a\u{7f}b")), [("article".to_owned(), "illegal_character")]);
        assert!(faults(article(" \u{202E} spaces stay ")).is_empty(), "a key is the blog's own");
    }

    #[test]
    fn empty_options_are_missing_ones() {
        let empty = RawSubmission {
            website: Some(" ".into()),
            article_title: Some("\n".into()),
            company: Some(" ".into()),
            ..raw()
        };
        let submission = empty.parse(&RULES.into(), &|_| false, Vec::new()).unwrap();
        assert!(submission.website.is_none() && submission.article_title.is_none() && !submission.honeypot);
    }

    #[test]
    fn an_article_address_lies_on_the_site() {
        let url = |text: &str| RawSubmission { article_url: Some(text.into()), ..raw() };
        assert!(faults(url("https://blog.example/a?b#c")).is_empty());
        for foreign in ["https://blog.example.evil.example/", "http://blog.example/", "https://blog.example:444/"] {
            assert_eq!(faults(url(foreign)), [("article_url".to_owned(), "foreign_url")], "{foreign}");
        }
    }
}
