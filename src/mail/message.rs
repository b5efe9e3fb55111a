//! Puts a mail together: typed headers only, a text part and an HTML part that say the same.

use lettre::message::header::{ContentType, Header, HeaderName, HeaderValue};
use lettre::message::{Mailbox, MultiPart, SinglePart};
use lettre::{Address, Message};

use crate::domain::characters::made_visible;
use crate::error::Error;

/// A mail that is ready to leave.
#[derive(Debug, Clone)]
pub struct Mail {
    /// Stable over retries; stands in the `Message-ID` and in the name of a file.
    pub id: String,
    /// The whole message.
    pub message: Message,
}

/// What a mail says.
#[derive(Debug, Clone)]
pub struct Letter {
    /// The subject, before it is cleaned.
    pub subject: String,
    /// The text part.
    pub text: String,
    /// The HTML part.
    pub html: String,
    /// An address that turns such mails off when somebody sends `POST` to it (RFC 8058); none: nothing to turn off.
    pub unsubscribe: Option<String>,
}

/// A header of one of ours with a fixed name.
macro_rules! header {
    ($(#[$doc:meta])* $type:ident, $name:literal) => {
        $(#[$doc])*
        #[derive(Debug, Clone)]
        struct $type(String);

        impl Header for $type {
            fn name() -> HeaderName {
                HeaderName::new_from_ascii_str($name)
            }

            fn parse(text: &str) -> Result<Self, Box<dyn std::error::Error + Send + Sync>> {
                Ok(Self(text.to_owned()))
            }

            fn display(&self) -> HeaderValue {
                HeaderValue::new(Self::name(), self.0.clone())
            }
        }
    };
}

header! {
    /// RFC 3834 §5: no vacation notice answers this.
    AutoSubmitted, "Auto-Submitted"
}
header! {
    /// RFC 2369 §3.2.
    ListUnsubscribe, "List-Unsubscribe"
}
header! {
    /// RFC 8058 §3.1: mail programs may send it without asking once more.
    ListUnsubscribePost, "List-Unsubscribe-Post"
}

/// Subjects longer than this are cut; mail programs show half of it.
const SUBJECT_MAX: usize = 180;

impl Mail {
    /// A mail of ours to one address.
    pub fn new(id: String, from: &Mailbox, to: &str, letter: Letter) -> Result<Self, Error> {
        let address: Address = to.parse().map_err(|_| Error::internal("a stored address is not one for mail"))?;
        let message_id = format!("<{id}@{}>", from.email.domain());
        let mut builder = Message::builder()
            .from(from.clone())
            .to(Mailbox::new(None, address))
            .subject(one_line(&letter.subject))
            .message_id(Some(message_id))
            .header(AutoSubmitted("auto-generated".to_owned()));
        if let Some(address) = letter.unsubscribe {
            builder = builder
                .header(ListUnsubscribe(format!("<{address}>")))
                .header(ListUnsubscribePost("List-Unsubscribe=One-Click".to_owned()));
        }
        let message = builder
            .multipart(
                MultiPart::alternative()
                    .singlepart(SinglePart::builder().header(ContentType::TEXT_PLAIN).body(letter.text))
                    .singlepart(SinglePart::builder().header(ContentType::TEXT_HTML).body(letter.html)),
            )
            .map_err(Error::internal)?;
        Ok(Self { id, message })
    }
}

/// A header's text: one line, nothing invisible, not too long, and nothing that a mail program would take for an encoded
/// word (RFC 2047) and decode into something else.
fn one_line(text: &str) -> String {
    let folded = text.split_whitespace().collect::<Vec<_>>().join(" ").replace("=?", "= ?");
    let shown = made_visible(&folded);
    match shown.char_indices().nth(SUBJECT_MAX) {
        Some((at, _)) => format!("{}…", shown.get(..at).unwrap_or_default()),
        None => shown.into_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn formatted(subject: &str) -> String {
        let letter = Letter {
            subject: subject.to_owned(),
            text: "Text".into(),
            html: "<p>Text</p>".into(),
            unsubscribe: Some(format!("https://c.example/u/{}", "t".repeat(96))),
        };
        let from: Mailbox = "Comments <comments@example.org>".parse().unwrap();
        let mail = Mail::new("0190".into(), &from, "mod@example.net", letter).unwrap();
        String::from_utf8(mail.message.formatted()).unwrap()
    }

    #[test]
    fn headers_are_ours() {
        let text = formatted("Hello");
        assert!(text.contains("Message-ID: <0190@example.org>\r\n"), "{text}");
        assert!(text.contains("Auto-Submitted: auto-generated\r\n"), "{text}");
        // Longer than a line should be: it must not be broken all the same (RFC 2369 §2).
        assert!(text.contains(&format!("List-Unsubscribe: <https://c.example/u/{}>\r\n", "t".repeat(96))), "{text}");
        assert!(text.contains("List-Unsubscribe-Post: List-Unsubscribe=One-Click\r\n"), "{text}");
        assert!(text.contains("Subject: Hello\r\n") && text.contains("To: mod@example.net\r\n"), "{text}");
    }

    #[test]
    fn no_subject_makes_a_header() {
        for hostile in
            ["a\r\nBcc: evil@example.org", "a\nX: y", "a\u{2028}Bcc: x", "a\0b", "a\u{202E}b", &"x".repeat(5000)]
        {
            let text = formatted(hostile);
            let headers = text.split("\r\n\r\n").next().unwrap();
            let names: Vec<_> = headers
                .split("\r\n")
                .filter(|line| !line.starts_with([' ', '\t']))
                .map(|line| line.split(':').next().unwrap())
                .collect();
            assert_eq!(
                names,
                [
                    "From",
                    "To",
                    "Subject",
                    "Message-ID",
                    "Auto-Submitted",
                    "List-Unsubscribe",
                    "List-Unsubscribe-Post",
                    "MIME-Version",
                    "Date",
                    "Content-Type"
                ],
                "{headers}"
            );
            assert!(text.lines().all(|line| line.len() <= 998));
        }
    }
}
