//! An e-mail address as visitors type it: checked by its form alone, never by a DNS look-up. RFC 6531 local parts and IDN
//! domains are fine; quoted local parts, address literals and domains without a dot are refused. It never prints itself.

use std::fmt;

use super::characters::{Kind, find_blemish};
use super::fault::Fault;

/// RFC 5321 §4.5.3.1.3 less the angle brackets.
pub const MAX_OCTETS: usize = 254;
/// RFC 5321 §4.5.3.1.1.
const MAX_LOCAL_OCTETS: usize = 64;

/// An e-mail address of legal form. `Debug` and logs show nothing of it.
#[derive(Clone, PartialEq, Eq)]
pub struct Email(String);

impl fmt::Debug for Email {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Email(…)")
    }
}

impl Email {
    /// Reads a tidied address; `field` is what a fault calls it.
    pub fn parse(text: &str, field: &'static str) -> Result<Self, Fault> {
        let illegal = || Fault::new(field, "invalid_email", "It must be an address like name@example.org.");
        if text.len() > MAX_OCTETS {
            return Err(Fault::too_long(field, MAX_OCTETS, "bytes"));
        }
        let (local, domain) = text.rsplit_once('@').ok_or_else(illegal)?;
        let ascii = ascii_domain(domain).filter(|_| is_local_part(local)).ok_or_else(illegal)?;
        if local.len() + 1 + ascii.len() > MAX_OCTETS {
            return Err(Fault::too_long(field, MAX_OCTETS, "bytes"));
        }
        Ok(Self(text.to_owned()))
    }

    /// The address as typed.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// See [`fold`].
    pub fn folded(&self) -> String {
        fold(&self.0)
    }
}

/// The form in which two spellings of one mailbox are equal: lower case. Mail providers that tell `Ann@` from `ann@` exist on
/// paper only.
pub fn fold(address: &str) -> String {
    address.to_lowercase()
}

/// A dot-atom of RFC 5322 §3.2.3 with the letters of RFC 6531 §3.3: no quotes, no comments, no empty pieces.
fn is_local_part(local: &str) -> bool {
    let atoms = || local.split('.');
    (1..=MAX_LOCAL_OCTETS).contains(&local.len())
        && atoms().all(|atom| !atom.is_empty() && atom.chars().all(is_atext))
        && find_blemish(local, Kind::Line).is_none()
}

fn is_atext(c: char) -> bool {
    match c {
        'a'..='z' | 'A'..='Z' | '0'..='9' => true,
        _ if c.is_ascii() => "!#$%&'*+-/=?^_`{|}~".contains(c),
        _ => !c.is_whitespace(),
    }
}

/// The domain as the mail system sees it: at least two labels of letters, digits and inner hyphens (after IDNA mapping), the
/// last one not a number.
fn ascii_domain(domain: &str) -> Option<String> {
    let hides_a_boundary = |c: char| "[]:\\/%_\u{3002}\u{FF0E}\u{FF61}".contains(c) || c.is_whitespace();
    if domain.contains(hides_a_boundary) {
        return None;
    }
    let ascii = idna::domain_to_ascii_strict(domain).ok()?;
    let labels: Vec<&str> = ascii.split('.').collect();
    let last_is_number = labels.last().is_none_or(|label| label.bytes().all(|b| b.is_ascii_digit()));
    let fits = labels.len() >= 2 && ascii.len() <= 253 && labels.iter().all(|label| (1..=63).contains(&label.len()));
    (fits && !last_is_number).then_some(ascii)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn accepts(text: &str) -> bool {
        Email::parse(text, "email").is_ok()
    }

    #[test]
    fn ordinary_and_international_addresses() {
        for address in [
            "ada@example.org",
            "first.last+tag@sub.example.co.uk",
            "o'brien@example.com",
            "x@example.test",
            "юзер@екзампл.ком",
            "葉士豪@臺網中心.tw",
            "jeff@bücher.example",
            "A@xn--bcher-kva.example",
            "1@2.example",
        ] {
            assert!(accepts(address), "{address}");
        }
    }

    #[test]
    fn forms_that_are_refused() {
        for address in [
            "",
            "@",
            "ada",
            "ada@",
            "@example.org",
            "ada@localhost",
            "a@[127.0.0.1]",
            "a@127.0.0.1",
            "\"a b\"@example.org",
            "a..b@example.org",
            ".a@example.org",
            "a.@example.org",
            "a b@example.org",
            "a@exa mple.org",
            "a@-x.org",
            "a@x-.org",
            "a@b@example.org",
            "a@example..org",
            "a@example.org.",
            "a@exam_ple.org",
            "a(c)@example.org",
            "a@example。org",
            "Ada <ada@example.org>",
            "a@example.org\r\nBcc: b@example.org",
            "a\u{200B}@example.org",
        ] {
            assert!(!accepts(address), "{address:?}");
        }
    }

    #[test]
    fn lengths_in_octets() {
        let domain = format!("@{}.example", "d".repeat(63));
        assert!(accepts(&format!("{}{domain}", "l".repeat(64))));
        assert!(!accepts(&format!("{}{domain}", "l".repeat(65))));
        assert!(!accepts(&format!("{}{domain}", "ü".repeat(33))));
        let long = format!("a@{0}.{0}.{0}.{0}.example", "d".repeat(60));
        assert_eq!(long.len(), 253);
        assert!(accepts(&long));
        assert_eq!(Email::parse(&format!("bb{long}"), "email").unwrap_err().code, "too_long");
    }

    #[test]
    fn it_never_prints_itself() {
        assert_eq!(format!("{:?}", Email::parse("ada@example.org", "email").unwrap()), "Email(…)");
    }
}
