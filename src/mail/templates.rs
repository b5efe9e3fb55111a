//! The words of mails: embedded templates, each of which the operator may replace by a file of the same name in a folder of
//! their own. HTML templates escape what is put into them; a template that is wrong is reported, never half filled in.

use std::path::{Path, PathBuf};

use minijinja::syntax::SyntaxConfig;
use minijinja::value::Serde;
use minijinja::{Environment, ErrorKind, UndefinedBehavior};
use serde::Serialize;

use super::message::Letter;
use crate::domain::texts::Mails;
use crate::error::Error;

const EMBEDDED: &[(&str, &str)] = &[
    ("moderate/subject.txt", include_str!("templates/moderate/subject.txt")),
    ("moderate/body.txt", include_str!("templates/moderate/body.txt")),
    ("moderate/body.html", include_str!("templates/moderate/body.html")),
    ("digest/subject.txt", include_str!("templates/digest/subject.txt")),
    ("digest/body.txt", include_str!("templates/digest/body.txt")),
    ("digest/body.html", include_str!("templates/digest/body.html")),
    ("test/subject.txt", include_str!("templates/test/subject.txt")),
    ("test/body.txt", include_str!("templates/test/body.txt")),
    ("test/body.html", include_str!("templates/test/body.html")),
    ("webhook_off/subject.txt", include_str!("templates/webhook_off/subject.txt")),
    ("webhook_off/body.txt", include_str!("templates/webhook_off/body.txt")),
    ("webhook_off/body.html", include_str!("templates/webhook_off/body.html")),
    ("invitation/subject.txt", include_str!("templates/invitation/subject.txt")),
    ("invitation/body.txt", include_str!("templates/invitation/body.txt")),
    ("invitation/body.html", include_str!("templates/invitation/body.html")),
    ("reset/subject.txt", include_str!("templates/reset/subject.txt")),
    ("reset/body.txt", include_str!("templates/reset/body.txt")),
    ("reset/body.html", include_str!("templates/reset/body.html")),
    ("confirm/subject.txt", include_str!("templates/confirm/subject.txt")),
    ("confirm/body.txt", include_str!("templates/confirm/body.txt")),
    ("confirm/body.html", include_str!("templates/confirm/body.html")),
    ("news/subject.txt", include_str!("templates/news/subject.txt")),
    ("news/body.txt", include_str!("templates/news/body.txt")),
    ("news/body.html", include_str!("templates/news/body.html")),
    ("person/subject.txt", include_str!("templates/person/subject.txt")),
    ("person/body.txt", include_str!("templates/person/body.txt")),
    ("person/body.html", include_str!("templates/person/body.html")),
    ("shell.html", include_str!("templates/shell.html")),
];

/// A template may do this much work; one that loops for ever is stopped.
const FUEL: u64 = 1_000_000;

/// The templates of all mails.
pub struct Templates {
    environment: Environment<'static>,
}

/// A comment as mails quote it.
#[derive(Debug, Clone, Serialize)]
#[expect(missing_docs, reason = "named as the templates name them")]
pub struct QuotedComment {
    pub id: String,
    pub author: String,
    pub email: String,
    pub website: Option<String>,
    pub address: Option<String>,
    /// The text as typed, line by line.
    pub lines: Vec<String>,
    pub reasons: Vec<String>,
    pub article_title: String,
    pub article_url: Option<String>,
    /// Whether it is the new text of a public comment.
    pub is_edit: bool,
    /// Whether its author has changed it since it came.
    pub is_changed: bool,
    /// Where the reader of this mail, and nobody else, decides on it.
    pub links: Links,
}

/// Addresses of pages that ask once more before they do something.
#[derive(Debug, Clone, Serialize)]
#[expect(missing_docs, reason = "named as the templates name them")]
pub struct Links {
    pub approve: String,
    pub reject: String,
    pub spam: String,
}

/// What the mail about one comment says.
#[derive(Debug, Clone, Serialize)]
#[expect(missing_docs, reason = "named as the templates name them")]
pub struct ModerateLetter {
    pub site: String,
    pub comment: QuotedComment,
    /// Comments that wait on the site, this one included.
    pub waiting: i64,
    /// Where the reader of this mail turns such mails off.
    pub unsubscribe: String,
    pub public_url: String,
}

/// What waits on one site.
#[derive(Debug, Clone, Serialize)]
#[expect(missing_docs, reason = "named as the templates name them")]
pub struct WaitingSite {
    pub name: String,
    pub waiting: i64,
}

/// What a summary says.
#[derive(Debug, Clone, Serialize)]
#[expect(missing_docs, reason = "named as the templates name them")]
pub struct DigestLetter {
    pub waiting: i64,
    pub sites: Vec<WaitingSite>,
    /// The newest of them.
    pub comments: Vec<QuotedComment>,
    /// Where the reader of this mail turns such mails off.
    pub unsubscribe: String,
    pub public_url: String,
}

/// A webhook that was switched off.
#[derive(Debug, Clone, Serialize)]
#[expect(missing_docs, reason = "named as the templates name them")]
pub struct WebhookOff {
    pub id: String,
    pub host: String,
    /// None: it is for all sites.
    pub site: Option<String>,
    pub reason: String,
}

/// What the mail about webhooks that were switched off says.
#[derive(Debug, Clone, Serialize)]
#[expect(missing_docs, reason = "named as the templates name them")]
pub struct WebhooksOffLetter {
    pub hooks: Vec<WebhookOff>,
    pub public_url: String,
}

/// What a mail says that lets somebody choose a password.
#[derive(Debug, Clone, Serialize)]
#[expect(missing_docs, reason = "named as the templates name them")]
pub struct LinkLetter {
    pub name: String,
    pub link: String,
    pub public_url: String,
}

/// What the question says whether replies may be told. Nothing in it comes from the comment.
#[derive(Debug, Clone, Serialize)]
#[expect(missing_docs, reason = "named as the templates name them")]
pub struct ConfirmLetter {
    /// The language of the site, and its words.
    pub language: &'static str,
    pub texts: &'static Mails,
    /// What this mail is about, in a sentence.
    pub asked: String,
    pub site: String,
    /// What the article is called, where that is no stranger's word.
    pub article: Option<String>,
    pub confirm: String,
    /// Where the reader of this mail makes sure that no other comes.
    pub never: String,
}

/// One thing that a mail to an author tells. What others wrote is made dead before it comes here (`domain/quote.rs`).
#[derive(Debug, Clone, Serialize)]
#[expect(missing_docs, reason = "named as the templates name them")]
pub struct NewsItem {
    /// What happened, in a line.
    pub title: String,
    /// Else it is the approval of their own comment.
    pub is_reply: bool,
    pub author: String,
    pub article: String,
    pub lines: Vec<String>,
    /// Where it stands, on the site.
    pub link: Option<String>,
}

/// What a mail to an author tells.
#[derive(Debug, Clone, Serialize)]
#[expect(missing_docs, reason = "named as the templates name them")]
pub struct NewsLetter {
    /// The language of the site, and its words.
    pub language: &'static str,
    pub texts: &'static Mails,
    /// What it is all about, in a line.
    pub subject: String,
    /// Why this mail comes.
    pub because: String,
    pub site: String,
    pub items: Vec<NewsItem>,
    /// Where they ask for what they wrote.
    pub own_data: String,
    /// Where the reader of this mail turns such mails off.
    pub unsubscribe: String,
}

/// What the mail with the link to one's own data says.
#[derive(Debug, Clone, Serialize)]
#[expect(missing_docs, reason = "named as the templates name them")]
pub struct PersonLetter {
    /// The language of the site, and its words.
    pub language: &'static str,
    pub texts: &'static Mails,
    pub title: String,
    /// What this mail is about, in a sentence.
    pub asked: String,
    pub site: String,
    pub link: String,
}

/// What a test mail says.
#[derive(Debug, Clone, Serialize)]
#[expect(missing_docs, reason = "named as the templates name them")]
pub struct TestLetter {
    pub public_url: String,
}

impl Templates {
    /// The embedded templates, or the operator's own where `folder` has them. An empty path: none of their own.
    pub fn new(folder: &Path) -> Result<Self, Error> {
        let mut environment = Environment::new();
        environment.set_undefined_behavior(UndefinedBehavior::Strict);
        let syntax = SyntaxConfig::builder().trim_blocks(true).lstrip_blocks(true).build().map_err(Error::internal)?;
        environment.set_syntax(syntax);
        environment.set_fuel(Some(FUEL));
        let folder: PathBuf = folder.to_owned();
        if !folder.as_os_str().is_empty() && !folder.is_dir() {
            return Err(Error::internal(format!("mail.templates: {} is not a folder", folder.display())));
        }
        environment.set_loader(move |name| {
            let own = folder.join(name);
            if !folder.as_os_str().is_empty() && own.is_file() {
                return std::fs::read_to_string(&own).map(Some).map_err(|cause| {
                    minijinja::Error::new(ErrorKind::InvalidOperation, format!("cannot read {}", own.display()))
                        .with_source(cause)
                });
            }
            Ok(EMBEDDED.iter().find(|(embedded, _)| *embedded == name).map(|(_, text)| (*text).to_owned()))
        });
        let templates = Self { environment };
        for (name, _) in EMBEDDED {
            templates
                .environment
                .get_template(name)
                .map_err(|cause| Error::internal(format!("mail.templates: {cause:#}")))?;
        }
        Ok(templates)
    }

    /// Fills in the three files of a mail.
    pub fn letter(&self, name: &str, values: &impl Serialize) -> Result<Letter, Error> {
        let fill = |file: &str| {
            let template = self.environment.get_template(&format!("{name}/{file}"));
            let text = template.and_then(|template| template.render(Serde(values)));
            text.map_err(|cause| Error::internal(format!("the mail template {name}/{file}: {cause:#}")))
        };
        Ok(Letter {
            subject: fill("subject.txt")?,
            text: fill("body.txt")?,
            html: fill("body.html")?,
            unsubscribe: None,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn letter() -> ModerateLetter {
        ModerateLetter {
            site: "My site".into(),
            waiting: 3,
            unsubscribe: "https://c.example/u/c".into(),
            public_url: "https://c.example".into(),
            comment: QuotedComment {
                id: "0190a000-0000-7000-8000-000000000001".into(),
                author: "<b>Ada</b>".into(),
                email: "ada@example.org".into(),
                website: Some("https://evil.example/\"x".into()),
                address: Some("203.0.113.0/24".into()),
                lines: vec!["<img src=x onerror=alert(1)>".into(), String::new(), "see https://evil.example".into()],
                reasons: vec!["This site looks at every comment before it is public.".into()],
                article_title: "On \"Engines\"".into(),
                article_url: None,
                is_edit: false,
                is_changed: false,
                links: Links {
                    approve: "https://c.example/m/a".into(),
                    reject: "https://c.example/m/r".into(),
                    spam: "https://c.example/m/s".into(),
                },
            },
        }
    }

    #[test]
    fn the_mail_about_one_comment() {
        let letter = Templates::new(Path::new("")).unwrap().letter("moderate", &letter()).unwrap();
        insta::assert_snapshot!(format!("{}\n=====\n{}\n=====\n{}", letter.subject, letter.text, letter.html));
        for forbidden in ["<img", "<b>Ada", "evil.example\""] {
            assert!(!letter.html.contains(forbidden), "{forbidden}");
        }
        let linked: Vec<&str> = letter.html.split("href=\"").skip(1).map(|rest| &rest[..36]).collect();
        assert_eq!(linked.len(), 4, "ours and no other: {linked:?}");
        assert!(linked.iter().all(|link| link.starts_with("https:&#x2f;&#x2f;c.example&#x2f;")), "{linked:?}");
    }

    #[test]
    fn the_digest_and_the_test() {
        let templates = Templates::new(Path::new("")).unwrap();
        let digest = DigestLetter {
            waiting: 41,
            sites: vec![WaitingSite { name: "My site".into(), waiting: 41 }],
            comments: vec![letter().comment],
            unsubscribe: "https://c.example/u/c".into(),
            public_url: "https://c.example".into(),
        };
        let digest = templates.letter("digest", &digest).unwrap();
        let test = templates.letter("test", &TestLetter { public_url: "https://c.example".into() }).unwrap();
        insta::assert_snapshot!(format!(
            "{}\n=====\n{}\n=====\n{}\n=====\n{}",
            digest.subject, digest.text, test.subject, test.text
        ));
    }

    #[test]
    fn operators_replace_what_they_like() {
        let folder = tempfile::tempdir().unwrap();
        std::fs::create_dir(folder.path().join("moderate")).unwrap();
        std::fs::write(folder.path().join("moderate/subject.txt"), "Schau: {{ comment.author }}").unwrap();
        let filled = Templates::new(folder.path()).unwrap().letter("moderate", &letter()).unwrap();
        assert_eq!(filled.subject, "Schau: <b>Ada</b>");
        assert!(filled.text.contains("ada@example.org"));
        std::fs::write(folder.path().join("moderate/subject.txt"), "{{ comment.nonsense }}").unwrap();
        assert!(Templates::new(folder.path()).unwrap().letter("moderate", &letter()).is_err());
        std::fs::write(folder.path().join("moderate/subject.txt"), "{% for x in %}").unwrap();
        assert!(Templates::new(folder.path()).is_err(), "a broken template stops the start");
        assert!(Templates::new(Path::new("/nowhere")).is_err());
    }
}
