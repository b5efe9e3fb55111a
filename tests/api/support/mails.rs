//! Reads mails as a mail program does: headers, and the two parts decoded.

use base64::Engine;

/// A mail.
#[derive(Debug)]
pub struct Read {
    /// Names and values, in order; folded lines put together.
    pub headers: Vec<(String, String)>,
    pub text: String,
    pub html: String,
}

impl Read {
    pub fn of(mail: &str) -> Self {
        let (headers, body) = split(mail);
        let kind = value(&headers, "Content-Type");
        let boundary = kind.split("boundary=\"").nth(1).unwrap().split('"').next().unwrap().to_owned();
        let between = format!("--{boundary}");
        let mut parts = body.split(&between).skip(1).filter(|part| !part.starts_with("--"));
        let mut part = |kind: &str| {
            let (headers, body) = split(parts.next().unwrap().trim_start_matches("\r\n"));
            assert!(value(&headers, "Content-Type").starts_with(kind), "{headers:?}");
            decoded(&value(&headers, "Content-Transfer-Encoding"), body)
        };
        let (text, html) = (part("text/plain"), part("text/html"));
        Self { headers, text, html }
    }

    pub fn header(&self, name: &str) -> String {
        value(&self.headers, name)
    }

    /// The paths of our links in the text part that begin so, like `/m/`.
    pub fn links(&self, begin: &str) -> Vec<String> {
        let lines = self.text.lines().filter_map(|line| line.split("http://").nth(1));
        let paths = lines.filter_map(|rest| rest.find('/').map(|at| rest[at..].trim().to_owned()));
        paths.filter(|path| path.starts_with(begin)).collect()
    }
}

fn split(text: &str) -> (Vec<(String, String)>, &str) {
    let (head, body) = text.split_once("\r\n\r\n").unwrap();
    let unfolded = head.replace("\r\n ", " ").replace("\r\n\t", " ");
    let pair =
        |line: &str| line.split_once(':').map(|(name, value)| (name.to_owned(), value.trim().to_owned())).unwrap();
    (unfolded.split("\r\n").map(pair).collect(), body)
}

fn value(headers: &[(String, String)], name: &str) -> String {
    headers.iter().find(|(known, _)| known == name).map_or_else(String::new, |(_, value)| value.clone())
}

fn decoded(encoding: &str, body: &str) -> String {
    match encoding {
        "quoted-printable" => {
            let joined = body.replace("=\r\n", "");
            let mut bytes = Vec::new();
            let mut rest = joined.as_bytes();
            while let Some((byte, after)) = rest.split_first() {
                match (byte, after.get(..2)) {
                    (b'=', Some(code)) => {
                        bytes.push(u8::from_str_radix(std::str::from_utf8(code).unwrap(), 16).unwrap());
                        rest = &after[2..];
                    }
                    _ => {
                        bytes.push(*byte);
                        rest = after;
                    }
                }
            }
            String::from_utf8(bytes).unwrap()
        }
        "base64" => {
            let joined: String = body.split_whitespace().collect();
            String::from_utf8(base64::engine::general_purpose::STANDARD.decode(joined).unwrap()).unwrap()
        }
        _ => body.to_owned(),
    }
}
