//! Where the service may dial out to: public addresses on the ports of the web, and the networks that the operator names.
//! Whoever may write an address into a form must not reach what only this machine can.

use std::net::IpAddr;

use ipnet::IpNet;
use url::{Host, Url};

use super::web::absolute_http;

/// Why an address is not dialled. The sentences are safe to show.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Refusal {
    /// No address of the web.
    #[error("It must be a web address that starts with https:// or http://.")]
    NotWeb,
    /// Too long.
    #[error("It must not be longer than 2,048 characters.")]
    TooLong,
    /// A user name or a password in it.
    #[error("It must not contain a user name or a password.")]
    Credentials,
    /// A port of something else.
    #[error("It must have port 443, 80, or one from 1024 on that no other protocol is known for.")]
    Port,
    /// Not public.
    #[error("It leads to an address that is not public, in a network that webhooks.allowed_networks does not name.")]
    NotPublic,
    /// Readable on the way.
    #[error("It must start with https://: http:// is for networks that webhooks.allowed_networks names.")]
    Plain,
}

/// Ports above 1023 that browsers do not dial either: other protocols answer there (Fetch standard §2.9, "bad port").
const OTHER_PROTOCOLS: [u16; 16] =
    [1719, 1720, 1723, 2049, 3659, 4045, 4190, 5060, 5061, 6000, 6566, 6667, 6668, 6679, 6697, 10080];

/// Longer addresses are no receiver's.
const URL_MAX: usize = 2048;

/// IPv4 that is not public: the IANA IPv4 Special-Purpose Address Registry (RFC 6890), with multicast and the former class E.
const NOT_PUBLIC: [([u8; 4], u8); 16] = [
    ([0, 0, 0, 0], 8),
    ([10, 0, 0, 0], 8),
    ([100, 64, 0, 0], 10),
    ([127, 0, 0, 0], 8),
    ([169, 254, 0, 0], 16),
    ([172, 16, 0, 0], 12),
    ([192, 0, 0, 0], 24),
    ([192, 0, 2, 0], 24),
    ([192, 88, 99, 0], 24),
    ([192, 168, 0, 0], 16),
    ([198, 18, 0, 0], 15),
    ([198, 51, 100, 0], 24),
    ([203, 0, 113, 0], 24),
    ([224, 0, 0, 0], 4),
    ([240, 0, 0, 0], 4),
    ([168, 63, 129, 16], 32), // Azure's own service for virtual machines; public in form only.
];

/// Parts of IPv6's global unicast that are not public or lead elsewhere: IETF assignments with Teredo, benchmarking and
/// ORCHID; documentation, twice; 6to4, which carries an IPv4 address. Everything outside `2000::/3` (mapped IPv4, NAT64 with
/// `64:ff9b:1::/48`, unique-local, link-local, site-local, multicast) is not public in the first place.
const NOT_PUBLIC_V6: [([u16; 8], u8); 4] = [
    ([0x2001, 0, 0, 0, 0, 0, 0, 0], 23),
    ([0x2001, 0xdb8, 0, 0, 0, 0, 0, 0], 32),
    ([0x2002, 0, 0, 0, 0, 0, 0, 0], 16),
    ([0x3fff, 0, 0, 0, 0, 0, 0, 0], 20),
];

/// What the service may dial.
#[derive(Debug, Clone, Default)]
pub struct Reach {
    allowed: Vec<IpNet>,
}

impl Reach {
    /// Public addresses, and these networks.
    pub fn new(allowed: Vec<IpNet>) -> Self {
        Self { allowed }
    }

    /// Whether this address may be dialled, with or without TLS.
    pub fn check(&self, address: IpAddr, is_secure: bool) -> Result<(), Refusal> {
        if self.allowed.iter().any(|network| network.contains(&address)) {
            return Ok(());
        }
        match (is_public(address), is_secure) {
            (false, _) => Err(Refusal::NotPublic),
            (true, false) => Err(Refusal::Plain),
            (true, true) => Ok(()),
        }
    }

    /// Reads an address as far as that goes without asking anybody for the host's address.
    pub fn target(&self, text: &str) -> Result<Url, Refusal> {
        if text.chars().count() > URL_MAX {
            return Err(Refusal::TooLong);
        }
        let url = absolute_http(text).ok_or(Refusal::NotWeb)?;
        if !url.username().is_empty() || url.password().is_some() {
            return Err(Refusal::Credentials);
        }
        let port = url.port_or_known_default().unwrap_or(0);
        if !(port == 80 || port == 443 || (port >= 1024 && !OTHER_PROTOCOLS.contains(&port))) {
            return Err(Refusal::Port);
        }
        let is_secure = url.scheme() == "https";
        match url.host() {
            Some(Host::Ipv4(address)) => self.check(address.into(), is_secure)?,
            Some(Host::Ipv6(address)) => self.check(address.into(), is_secure)?,
            Some(Host::Domain(_)) if !is_secure && self.allowed.is_empty() => return Err(Refusal::Plain),
            Some(Host::Domain(_)) => {}
            None => return Err(Refusal::NotWeb),
        }
        Ok(url)
    }
}

fn is_public(address: IpAddr) -> bool {
    let bits = |length: u8, whole: u32| u32::from(length).min(whole);
    match address {
        IpAddr::V4(address) => {
            let number = address.to_bits();
            !NOT_PUBLIC.iter().any(|(network, length)| {
                let shift = 32 - bits(*length, 32);
                number >> shift == u32::from_be_bytes(*network) >> shift
            })
        }
        IpAddr::V6(address) => {
            let number = address.to_bits();
            let same = |network: [u16; 8], length: u8| {
                let shift = 128 - bits(length, 128);
                number >> shift == std::net::Ipv6Addr::from(network).to_bits() >> shift
            };
            same([0x2000, 0, 0, 0, 0, 0, 0, 0], 3)
                && !NOT_PUBLIC_V6.iter().any(|(network, length)| same(*network, *length))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_public_addresses_are_dialled() {
        for good in ["1.1.1.1", "8.8.8.8", "172.32.0.1", "100.128.0.1", "2606:4700::1111", "2a00:1450::1", "2003::1"] {
            assert_eq!(Reach::default().check(good.parse().unwrap(), true), Ok(()), "{good}");
            assert_eq!(Reach::default().check(good.parse().unwrap(), false), Err(Refusal::Plain), "{good}");
        }
        let bad = "0.0.0.0 0.1.2.3 10.0.0.1 100.64.0.1 127.0.0.1 127.255.255.254 169.254.169.254 172.16.0.1 172.31.255.255 \
            192.0.0.8 192.0.2.1 192.88.99.1 192.168.1.1 198.18.0.1 198.19.255.255 198.51.100.1 203.0.113.1 224.0.0.1 \
            239.255.255.255 240.0.0.1 255.255.255.255 :: ::1 ::127.0.0.1 ::ffff:127.0.0.1 ::ffff:8.8.8.8 64:ff9b::7f00:1 \
            64:ff9b::808:808 64:ff9b:1::1 100::1 2001::1 2001:0:7f00:1:: 2001:2::1 2001:20::1 2001:db8::1 2002:7f00:1::1 \
            3fff::1 fc00::1 fd12:3456::1 fe80::1 fec0::1 ff02::1 5f00::1";
        for bad in bad.split_whitespace() {
            assert_eq!(Reach::default().check(bad.parse().unwrap(), true), Err(Refusal::NotPublic), "{bad}");
        }
    }

    #[test]
    fn an_allowed_network_is_that_network_and_no_other() {
        let reach = Reach::new(vec!["10.0.0.0/8".parse().unwrap(), "fd00::/8".parse().unwrap()]);
        for (address, is_secure, expected) in [
            ("10.1.2.3", false, Ok(())),
            ("fd00::1", false, Ok(())),
            ("127.0.0.1", false, Err(Refusal::NotPublic)),
            ("::ffff:10.1.2.3", true, Err(Refusal::NotPublic)),
            ("8.8.8.8", false, Err(Refusal::Plain)),
        ] {
            assert_eq!(reach.check(address.parse().unwrap(), is_secure), expected, "{address}");
        }
    }

    #[test]
    fn targets() {
        let reach = Reach::default();
        for good in
            ["https://example.org/x?y=1", "https://example.org:8443", "https://8.8.8.8/", "HTTPS://Example.org."]
        {
            assert!(reach.target(good).is_ok(), "{good}");
        }
        for (bad, why) in [
            ("ftp://example.org", Refusal::NotWeb),
            ("https://", Refusal::NotWeb),
            ("https://exa mple.org", Refusal::NotWeb),
            ("https://a\\b", Refusal::NotWeb),
            ("https://u:p@example.org", Refusal::Credentials),
            ("https://example.org:22", Refusal::Port),
            ("https://example.org:25", Refusal::Port),
            ("https://example.org:6667", Refusal::Port),
            ("https://example.org:0", Refusal::Port),
            ("http://example.org", Refusal::Plain),
            // One address in many spellings.
            ("https://2130706433/", Refusal::NotPublic),
            ("https://0177.0.0.1/", Refusal::NotPublic),
            ("https://0x7f.1/", Refusal::NotPublic),
            ("https://0x7f000001/", Refusal::NotPublic),
            ("https://127.1/", Refusal::NotPublic),
            ("https://127.0.0.1./", Refusal::NotPublic),
            ("https://%31%32%37.0.0.1/", Refusal::NotPublic),
            ("https://１２７.0.0.1/", Refusal::NotPublic),
            ("https://[::1]/", Refusal::NotPublic),
            ("https://[::ffff:127.0.0.1]/", Refusal::NotPublic),
            ("https://[::ffff:7f00:1]/", Refusal::NotPublic),
            ("https://[64:ff9b::127.0.0.1]/", Refusal::NotPublic),
            ("https://[2002:7f00:1::]/", Refusal::NotPublic),
            ("https://[2001:0:7f00:1::]/", Refusal::NotPublic),
            ("https://169.254.169.254/latest/meta-data", Refusal::NotPublic),
        ] {
            assert_eq!(reach.target(bad), Err(why), "{bad}");
        }
        assert_eq!(reach.target(&format!("https://e.example/{}", "x".repeat(2048))), Err(Refusal::TooLong));
    }
}
