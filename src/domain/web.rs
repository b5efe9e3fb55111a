//! Web addresses that visitors and operators type: a person's website, an article's URL, a site's origins. http and https
//! only, absolute, nothing in them that could break out of an attribute.

use url::Url;

use super::characters::{Kind, find_blemish};
use super::fault::Fault;

/// An absolute http(s) address: as typed, and as the parser understood it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct WebAddress {
    typed: String,
    parsed: Url,
}

impl WebAddress {
    /// Reads a tidied address; `field` is what a fault calls it.
    pub fn parse(text: &str, field: &'static str) -> Result<Self, Fault> {
        let illegal =
            || Fault::new(field, "invalid_url", "It must be a web address that starts with https:// or http://.");
        let parsed = absolute_http(text).ok_or_else(illegal)?;
        if !parsed.username().is_empty() || parsed.password().is_some() {
            return Err(Fault::new(field, "invalid_url", "It must not contain a user name or a password."));
        }
        Ok(Self { typed: text.to_owned(), parsed })
    }

    /// The address as typed.
    pub fn as_str(&self) -> &str {
        &self.typed
    }

    /// Scheme, host and port.
    pub fn origin(&self) -> Origin {
        Origin(self.parsed.origin().ascii_serialization())
    }

    /// The address in ASCII.
    pub fn address(&self) -> &str {
        self.parsed.as_str()
    }

    /// The address in ASCII, as a header can carry it, leading to the place `mark` on the page.
    pub fn at(&self, mark: &str) -> String {
        let mut url = self.parsed.clone();
        url.set_fragment(Some(mark));
        url.into()
    }
}

/// The parsed address if it is absolute, http or https, and written without characters that RFC 3986 does not know
/// (letters beyond ASCII are fine: browsers show them) or that nobody can see. The parser alone is too kind: it drops tabs
/// and line breaks.
pub fn absolute_http(text: &str) -> Option<Url> {
    let lower = text.get(..8).unwrap_or(text).to_ascii_lowercase();
    let has_scheme = lower.starts_with("http://") || lower.starts_with("https://");
    let is_clean = !text.contains(|c: char| c.is_control() || c.is_whitespace() || "\"<>\\^`{|}".contains(c));
    if !has_scheme || !is_clean || find_blemish(text, Kind::Line).is_some() {
        return None;
    }
    Url::parse(text).ok().filter(Url::has_host)
}

/// Scheme, host and port, as a browser's `Origin` header writes them: `https://example.org`, `http://127.0.0.1:8080`.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Origin(String);

impl Origin {
    /// The origin of an absolute http(s) address.
    pub fn of(address: &str) -> Option<Self> {
        absolute_http(address).map(|url| Self(url.origin().ascii_serialization()))
    }

    /// Reads an origin and nothing more than an origin: no path, no query, no credentials.
    pub fn parse(text: &str) -> Option<Self> {
        let url = absolute_http(text)?;
        let bare = url.path() == "/" && url.query().is_none() && url.fragment().is_none() && url.username().is_empty();
        bare.then(|| Self(url.origin().ascii_serialization()))
    }

    /// The text of the `Origin` header.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn websites() {
        for good in
            ["http://example.org", "https://bücher.example/ü?q=1#x", "HTTPS://EXAMPLE.ORG", "http://[::1]:8080/"]
        {
            assert!(WebAddress::parse(good, "website").is_ok(), "{good}");
        }
        for bad in [
            "",
            "example.org",
            "javascript:alert(1)",
            "java\tscript:alert(1)",
            "data:text/html,x",
            "http:evil.example",
            "//evil.example",
            "https://",
            "http://a b",
            "https://x/\"onmouseover=alert(1)",
            "https://x/<script>",
            "https://user:pw@example.org",
            "ftp://example.org",
            "https://exa\nmple.org",
            "http://\u{202E}x\\",
            "https://e.example/\u{202E}abc",
            "https://e.example/\u{200B}",
            "https://e.example/a\u{FE0F}",
            "https://e.example/\u{2800}",
        ] {
            assert!(WebAddress::parse(bad, "website").is_err(), "{bad:?}");
        }
    }

    #[test]
    fn a_way_back_is_ascii() {
        let address = WebAddress::parse("https://bücher.example/ü?q=ä#oben", "return_to").unwrap();
        assert_eq!(address.at("x"), "https://xn--bcher-kva.example/%C3%BC?q=%C3%A4#x");
        assert_eq!(address.origin().as_str(), "https://xn--bcher-kva.example");
        assert_eq!(address.as_str(), "https://bücher.example/ü?q=ä#oben");
    }

    #[test]
    fn origins() {
        assert_eq!(Origin::parse("https://Example.org:443/").unwrap().as_str(), "https://example.org");
        assert_eq!(Origin::parse("http://localhost:1313").unwrap().as_str(), "http://localhost:1313");
        assert_eq!(Origin::parse("https://example.org/blog"), None);
        assert_eq!(Origin::of("https://example.org/blog?x#y").unwrap().as_str(), "https://example.org");
    }
}
