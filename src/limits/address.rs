//! The one place that knows the client's address. The peer's own address counts, unless the peer is a proxy that the
//! settings trust: then its `X-Forwarded-For` or `Forwarded` is read from the right, past further trusted proxies, to the
//! first address that is not one. What anybody else sends in these headers is ignored.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use ipnet::IpNet;

use crate::domain::privacy::AddressPrivacy;

/// Where a request comes from.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct ClientAddress(IpAddr);

/// The proxies in front of us.
#[derive(Debug, Clone, Default)]
pub struct TrustedProxies(pub Vec<IpNet>);

impl ClientAddress {
    /// The address of a client without a proxy.
    pub fn new(address: IpAddr) -> Self {
        Self(address.to_canonical())
    }

    /// The whole address.
    pub fn address(&self) -> IpAddr {
        self.0
    }

    /// The block that one household or host usually has: IPv4 /32, IPv6 /64.
    pub fn host(&self) -> IpAddr {
        self.masked(32, 64)
    }

    /// The wider block: IPv4 /24, IPv6 /48.
    pub fn network(&self) -> IpAddr {
        self.masked(24, 48)
    }

    fn masked(self, v4: u32, v6: u32) -> IpAddr {
        match self.0 {
            IpAddr::V4(address) => Ipv4Addr::from_bits(address.to_bits() & (u32::MAX << (32 - v4))).into(),
            IpAddr::V6(address) => Ipv6Addr::from_bits(address.to_bits() & (u128::MAX << (128 - v6))).into(),
        }
    }

    /// What may be kept of it.
    pub fn kept(&self, privacy: AddressPrivacy) -> Option<String> {
        match (privacy, self.0) {
            (AddressPrivacy::None, _) => None,
            (AddressPrivacy::Full, address) => Some(address.to_string()),
            (AddressPrivacy::Network, IpAddr::V4(_)) => Some(format!("{}/24", self.network())),
            (AddressPrivacy::Network, IpAddr::V6(_)) => Some(format!("{}/48", self.network())),
        }
    }
}

impl TrustedProxies {
    fn contain(&self, address: IpAddr) -> bool {
        self.0.iter().any(|network| network.contains(&address))
    }

    /// The client behind `peer`. `forwarded_for` and `forwarded` are the lines of the two headers in their order.
    ///
    /// When both headers are there and name different clients, one of them was not written by the proxy, and nobody can
    /// tell which: then the proxy's own address counts, so that inventing a header gains nothing.
    pub fn client<'a>(
        &self,
        peer: IpAddr,
        forwarded_for: impl DoubleEndedIterator<Item = &'a str>,
        forwarded: impl DoubleEndedIterator<Item = &'a str>,
    ) -> ClientAddress {
        let peer = peer.to_canonical();
        if !self.contain(peer) {
            return ClientAddress(peer);
        }
        let listed = self.walk(peer, forwarded_for.rev().flat_map(|line| line.rsplit(',')).map(parse_address));
        let described = self.walk(peer, forwarded.rev().flat_map(reversed_elements).map(parse_forwarded));
        ClientAddress(match (listed, described) {
            (Some(one), Some(other)) if one != other => peer,
            (Some(one), _) | (None, Some(one)) => one,
            (None, None) => peer,
        })
    }

    /// Follows the hops from the nearest to the farthest: past trusted proxies, to the first other address. A hop that
    /// cannot be read ends the walk at the proxy that wrote it. None when there are no hops at all.
    fn walk(&self, peer: IpAddr, hops: impl Iterator<Item = Option<IpAddr>>) -> Option<IpAddr> {
        let mut client = None;
        for hop in hops {
            let Some(address) = hop else { return Some(client.unwrap_or(peer)) };
            client = Some(address);
            if !self.contain(address) {
                break;
            }
        }
        client
    }
}

/// An address with or without port, brackets and zone: `192.0.2.1`, `192.0.2.1:80`, `2001:db8::1`, `[2001:db8::1]:80`.
fn parse_address(text: &str) -> Option<IpAddr> {
    let text = text.trim();
    let bare = if let Some(rest) = text.strip_prefix('[') {
        let (inside, after) = rest.split_once(']')?;
        (after.is_empty() || is_port(after)).then_some(inside)?
    } else if text.matches(':').count() == 1 {
        let at = text.find(':')?;
        let (address, port) = text.split_at(at);
        is_port(port).then_some(address)?
    } else {
        text
    };
    let without_zone = bare.split_once('%').map_or(bare, |(address, _)| address);
    without_zone.parse::<IpAddr>().ok().map(|address| address.to_canonical())
}

fn is_port(text: &str) -> bool {
    text.strip_prefix(':').is_some_and(|port| port.parse::<u16>().is_ok())
}

/// The elements of a `Forwarded` line (RFC 7239), the last first. Commas inside quotes do not separate.
fn reversed_elements(line: &str) -> impl Iterator<Item = &str> {
    let mut elements = Vec::new();
    let (mut quoted, mut escaped, mut start) = (false, false, 0);
    for (at, c) in line.char_indices() {
        match c {
            _ if escaped => escaped = false,
            '\\' if quoted => escaped = true,
            '"' => quoted = !quoted,
            ',' if !quoted => {
                elements.extend(line.get(start..at));
                start = at + 1;
            }
            _ => {}
        }
    }
    elements.extend(line.get(start..));
    elements.into_iter().rev()
}

/// The `for` of one element; none for `unknown`, `_hidden` and whatever cannot be read.
fn parse_forwarded(element: &str) -> Option<IpAddr> {
    let value = element.split(';').find_map(|pair| {
        let (key, value) = pair.split_once('=')?;
        key.trim().eq_ignore_ascii_case("for").then_some(value.trim())
    })?;
    let unquoted = value.strip_prefix('"').and_then(|rest| rest.strip_suffix('"')).unwrap_or(value);
    parse_address(unquoted)
}

#[cfg(test)]
mod tests {
    use super::*;

    const PROXY: &str = "10.0.0.1";

    fn client(peer: &str, forwarded_for: &[&str], forwarded: &[&str]) -> String {
        let proxies = TrustedProxies(vec!["10.0.0.0/8".parse().unwrap(), "2001:db8:ffff::/48".parse().unwrap()]);
        let found = proxies.client(peer.parse().unwrap(), forwarded_for.iter().copied(), forwarded.iter().copied());
        found.0.to_string()
    }

    #[test]
    fn from_strangers_the_headers_are_ignored() {
        assert_eq!(client("203.0.113.9", &["198.51.100.1"], &["for=198.51.100.1"]), "203.0.113.9");
        assert_eq!(client("::ffff:203.0.113.9", &["198.51.100.1"], &[]), "203.0.113.9");
    }

    #[test]
    fn from_a_proxy_they_are_read_from_the_right() {
        for (lines, expected) in [
            (&["198.51.100.1"][..], "198.51.100.1"),
            (&["6.6.6.6, 198.51.100.1"], "198.51.100.1"),
            (&["6.6.6.6, 198.51.100.1, 10.1.2.3"], "198.51.100.1"),
            (&["6.6.6.6", "198.51.100.1, 10.1.2.3"], "198.51.100.1"),
            (&["198.51.100.1:4711"], "198.51.100.1"),
            (&["[2001:db8::1]:4711"], "2001:db8::1"),
            (&["2001:db8::1%eth0"], "2001:db8::1"),
            (&["::ffff:198.51.100.1"], "198.51.100.1"),
            (&["10.1.2.3"], "10.1.2.3"),
            (&["198.51.100.1, unknown"], PROXY),
            (&["198.51.100.1, unknown, 10.1.2.3"], "10.1.2.3"),
            (&["198.51.100.1, "], PROXY),
            (&[""], PROXY),
            (&["198.51.100.1:99999"], PROXY),
            (&["1.2.3.4.5"], PROXY),
            (&[], PROXY),
        ] {
            assert_eq!(client(PROXY, lines, &[]), expected, "{lines:?}");
        }
    }

    #[test]
    fn forwarded_is_understood_too() {
        for (lines, expected) in [
            (&["for=198.51.100.1"][..], "198.51.100.1"),
            (&["for=6.6.6.6, For=\"198.51.100.1:80\";proto=https;by=10.0.0.1"], "198.51.100.1"),
            (&["for=\"[2001:db8::1]:80\""], "2001:db8::1"),
            (&["for=198.51.100.1, for=\"[2001:db8:ffff::5]\""], "198.51.100.1"),
            (&["for=\"a, for=198.51.100.1\""], PROXY),
            (&["for=unknown"], PROXY),
            (&["for=_hidden, for=10.9.9.9"], "10.9.9.9"),
            (&["proto=https"], PROXY),
        ] {
            assert_eq!(client(PROXY, &[], lines), expected, "{lines:?}");
        }
    }

    #[test]
    fn two_headers_that_disagree_gain_nothing() {
        assert_eq!(client(PROXY, &["198.51.100.1"], &["for=198.51.100.1"]), "198.51.100.1");
        assert_eq!(client(PROXY, &["198.51.100.1"], &["for=6.6.6.6"]), PROXY);
        assert_eq!(client(PROXY, &["6.6.6.6"], &["for=_x"]), PROXY);
    }

    #[test]
    fn blocks_and_what_is_kept() {
        let v6 = ClientAddress::new("2001:db8:1:2:3:4:5:6".parse().unwrap());
        assert_eq!((v6.host().to_string(), v6.network().to_string()), ("2001:db8:1:2::".into(), "2001:db8:1::".into()));
        let v4 = ClientAddress::new("203.0.113.77".parse().unwrap());
        assert_eq!(v4.kept(AddressPrivacy::Network).unwrap(), "203.0.113.0/24");
        assert_eq!(v6.kept(AddressPrivacy::Network).unwrap(), "2001:db8:1::/48");
        assert_eq!(v4.kept(AddressPrivacy::Full).unwrap(), "203.0.113.77");
        assert_eq!(v4.kept(AddressPrivacy::None), None);
    }
}
