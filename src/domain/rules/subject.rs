//! What rules look at: a text, who sent it, from where and when. What must be measured is measured once, when the first
//! rule asks.

use std::cell::OnceCell;
use std::net::IpAddr;

use ipnet::IpNet;
use whatlang::Lang;

use super::draft::On;
use super::language;
use super::words::fold;
use crate::domain::render::images;
use crate::domain::time::Timestamp;
use crate::domain::web::absolute_http;

/// How an author's comments fared so far; all zero without a valid author token.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct History {
    /// Comments that are approved now.
    pub approved: i64,
    /// Rejected ones.
    pub rejected: i64,
    /// Spam.
    pub spam: i64,
}

/// A comment, as far as rules are concerned.
#[derive(Debug, Clone)]
pub struct Subject<'a> {
    /// The name.
    pub name: &'a str,
    /// The e-mail address; none when it is not kept any more.
    pub email: Option<&'a str>,
    /// There is one that cannot be read here: nobody can tell what it is.
    pub email_is_hidden: bool,
    /// The website.
    pub website: Option<&'a str>,
    /// The text as typed.
    pub body: &'a str,
    /// The text as rendered.
    pub body_html: &'a str,
    /// How the author's other comments fared.
    pub author: History,
    /// The address, or as much of it as is kept.
    pub address: Option<IpNet>,
    /// When it was written.
    pub at: Timestamp,
}

/// The network that an address or network is, as it is written.
pub fn network(text: &str) -> Option<IpNet> {
    let net = text.parse().ok().or_else(|| text.parse::<IpAddr>().ok().map(IpNet::from))?;
    // An IPv4 address in IPv6 clothes is an IPv4 address, as everywhere here.
    match net {
        IpNet::V6(six) if six.prefix_len() >= 96 => match six.addr().to_ipv4_mapped() {
            Some(four) => IpNet::new(four.into(), six.prefix_len() - 96).ok().map(|net| net.trunc()),
            None => Some(net.trunc()),
        },
        other => Some(other.trunc()),
    }
}

/// One of the texts of a comment.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Field {
    Body,
    Name,
    Email,
    Website,
}

impl Field {
    /// The texts that a condition looks at.
    pub fn of(on: On) -> &'static [Self] {
        match on {
            On::Name => &[Self::Name],
            On::Email | On::EmailDomain => &[Self::Email],
            On::Website | On::WebsiteDomain => &[Self::Website],
            On::Anywhere => &[Self::Body, Self::Name, Self::Email, Self::Website],
            _ => &[Self::Body],
        }
    }

    /// What people call it.
    pub fn called(self) -> &'static str {
        match self {
            Self::Body => "the text",
            Self::Name => "the name",
            Self::Email => "the e-mail address",
            Self::Website => "the website",
        }
    }
}

/// A subject with what was measured of it.
pub(super) struct View<'a> {
    pub subject: &'a Subject<'a>,
    folded: [OnceCell<String>; 4],
    language: OnceCell<Option<Lang>>,
}

impl<'a> View<'a> {
    pub fn of(subject: &'a Subject<'a>) -> Self {
        Self { subject, folded: Default::default(), language: OnceCell::new() }
    }

    /// A text as it was typed.
    pub fn text(&self, field: Field) -> Option<&'a str> {
        match field {
            Field::Body => Some(self.subject.body),
            Field::Name => Some(self.subject.name),
            Field::Email => self.subject.email,
            Field::Website => self.subject.website,
        }
    }

    /// A text in the form in which words are looked for.
    pub fn folded(&self, field: Field) -> Option<&str> {
        let text = self.text(field)?;
        let cell = match field {
            Field::Body => self.folded.first(),
            Field::Name => self.folded.get(1),
            Field::Email => self.folded.get(2),
            Field::Website => self.folded.get(3),
        };
        cell.map(|cell| cell.get_or_init(|| fold(text)).as_str())
    }

    /// Links, as they stand in what is shown.
    pub fn links(&self) -> usize {
        // Text cannot hold a bare `<`, so these are the renderer's own.
        self.subject.body_html.matches("<a href=").count()
    }

    pub fn images(&self) -> usize {
        images(self.subject.body)
    }

    pub fn length(&self) -> usize {
        self.subject.body.chars().count()
    }

    pub fn language(&self) -> Option<Lang> {
        *self.language.get_or_init(|| language::of(self.subject.body))
    }

    /// The domain of the e-mail address or the website, in ASCII and lower case.
    pub fn domain(&self, on: On) -> Option<String> {
        match on {
            On::EmailDomain => self.subject.email.and_then(|email| ascii_domain(email.rsplit_once('@')?.1)),
            _ => self.subject.website.and_then(|site| ascii_domain(absolute_http(site)?.host_str()?)),
        }
    }
}

/// A domain as it stands on the wire, without a dot at either end.
pub(super) fn ascii_domain(text: &str) -> Option<String> {
    let bare = text.trim().trim_start_matches("*.").trim_matches('.');
    let ascii = idna::domain_to_ascii(bare).ok()?;
    let legal = !ascii.is_empty() && !ascii.contains(|c: char| c.is_whitespace() || "/@:[]".contains(c));
    legal.then_some(ascii)
}
