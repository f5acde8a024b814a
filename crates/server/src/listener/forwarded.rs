//! The address of a client behind a proxy: `X-Forwarded-For`, or `Forwarded` (RFC 7239).
//!
//! Believed only from proxies that the operator named, and only for the client's address. Scheme and host of
//! a request never come from such headers: URLs are built from configuration.

use http::HeaderMap;
use http::header::{FORWARDED, HeaderName};
use ipnet::IpNet;
use std::net::{IpAddr, SocketAddr};

/// The proxies that are believed, and how they speak.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct TrustedProxies {
    networks: Vec<IpNet>,
    header: ForwardedHeader,
}

/// Which header the proxies set. Only one is ever read: a proxy that keeps one in order passes the other on
/// as the client wrote it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum ForwardedHeader {
    /// `X-Forwarded-For`: what nearly all proxies set.
    #[default]
    XForwardedFor,
    /// `Forwarded`, RFC 7239.
    Forwarded,
}

impl TrustedProxies {
    /// Proxies in these networks, which set `X-Forwarded-For`.
    pub const fn new(networks: Vec<IpNet>) -> Self {
        Self {
            networks,
            header: ForwardedHeader::XForwardedFor,
        }
    }

    /// The same proxies, which set another header.
    #[must_use]
    pub fn with_header(self, header: ForwardedHeader) -> Self {
        Self { header, ..self }
    }

    /// Whether no proxy is trusted.
    pub const fn is_empty(&self) -> bool {
        self.networks.is_empty()
    }

    /// The client's address: the peer's, unless the peer is a trusted proxy; then the rightmost hop that is
    /// not one. What stands left of that hop was written by it, and proves nothing. A hop that is not an
    /// address ends the search at the proxy that reported it.
    pub fn client_address(&self, peer: IpAddr, headers: &HeaderMap) -> IpAddr {
        let mut client = peer.to_canonical();
        if !self.trusts(client) {
            return client;
        }
        for hop in self.hops(headers).into_iter().rev().take(MAX_HOPS) {
            let Some(address) = hop else { break };
            client = address;
            if !self.trusts(client) {
                break;
            }
        }
        client
    }

    /// Whether this is the address of a trusted proxy.
    pub(super) fn trusts(&self, address: IpAddr) -> bool {
        self.networks.iter().any(|network| network.contains(&address))
    }

    /// All hops from the client to the nearest proxy; absent where one is not an address.
    fn hops(&self, headers: &HeaderMap) -> Vec<Option<IpAddr>> {
        let (name, read): (_, fn(&str) -> Option<IpAddr>) = match self.header {
            ForwardedHeader::XForwardedFor => (X_FORWARDED_FOR, node),
            ForwardedHeader::Forwarded => (FORWARDED, forwarded_for),
        };
        let mut hops = Vec::new();
        for value in headers.get_all(name) {
            match value.to_str() {
                Ok(text) => hops.extend(text.split(',').map(read)),
                Err(_) => hops.push(None),
            }
        }
        hops
    }
}

/// The `for` parameter of one element (RFC 7239 §4); none when it is absent, repeated, or not an address.
fn forwarded_for(element: &str) -> Option<IpAddr> {
    let mut found = element.split(';').filter_map(|pair| {
        let (name, value) = pair.split_once('=')?;
        name.trim().eq_ignore_ascii_case("for").then_some(value)
    });
    match (found.next(), found.next()) {
        (Some(value), None) => node(unquote(value.trim())?),
        _ => None,
    }
}

/// A token as it is, or the inside of a quoted string; an address needs no escapes, so none are read.
fn unquote(text: &str) -> Option<&str> {
    match text.strip_prefix('"') {
        Some(rest) => rest.strip_suffix('"'),
        None => Some(text),
    }
}

/// An address with or without a port, IPv6 with or without brackets.
fn node(text: &str) -> Option<IpAddr> {
    let text = text.trim();
    let bracketed = || text.strip_prefix('[')?.strip_suffix(']')?.parse().ok();
    let address = text
        .parse::<IpAddr>()
        .ok()
        .or_else(|| text.parse::<SocketAddr>().ok().map(|address| address.ip()))
        .or_else(|| bracketed().map(IpAddr::V6))?;
    Some(address.to_canonical())
}

const X_FORWARDED_FOR: HeaderName = HeaderName::from_static("x-forwarded-for");
const MAX_HOPS: usize = 32;

#[cfg(test)]
mod tests {
    use super::*;

    fn proxies() -> TrustedProxies {
        TrustedProxies::new(vec![
            "10.0.0.0/8".parse().expect("a network"),
            "fd00::/8".parse().expect("a network"),
        ])
    }

    fn client(proxies: &TrustedProxies, peer: &str, headers: &[(&'static str, &str)]) -> String {
        let mut map = HeaderMap::new();
        for (name, value) in headers {
            map.append(*name, value.parse().expect("a header value"));
        }
        let peer = peer.parse().expect("an address");
        proxies.client_address(peer, &map).to_string()
    }

    #[test]
    fn a_peer_that_is_no_trusted_proxy_is_the_client_whatever_it_claims() {
        let claims = [
            ("x-forwarded-for", "198.51.100.7"),
            ("forwarded", "for=198.51.100.7"),
        ];
        assert_eq!(client(&proxies(), "192.0.2.1", &claims), "192.0.2.1");
        assert_eq!(
            client(&TrustedProxies::default(), "127.0.0.1", &claims),
            "127.0.0.1"
        );
    }

    #[test]
    fn the_rightmost_untrusted_hop_is_the_client() {
        for (value, expected) in [
            ("198.51.100.7", "198.51.100.7"),
            ("1.1.1.1, 198.51.100.7", "198.51.100.7"),
            ("1.1.1.1, 198.51.100.7, 10.0.0.9", "198.51.100.7"),
            ("198.51.100.7:4711", "198.51.100.7"),
            ("2001:db8::1", "2001:db8::1"),
            ("[2001:db8::1]:4711", "2001:db8::1"),
            ("[2001:db8::1]", "2001:db8::1"),
            ("::ffff:198.51.100.7", "198.51.100.7"),
            ("10.0.0.9, 10.0.0.8", "10.0.0.9"),
            ("unknown", "10.0.0.1"),
            ("198.51.100.7, unknown, 10.0.0.9", "10.0.0.9"),
            ("198.51.100.7,", "10.0.0.1"),
            ("", "10.0.0.1"),
        ] {
            let headers = [("x-forwarded-for", value)];
            assert_eq!(client(&proxies(), "10.0.0.1", &headers), expected, "{value}");
        }
    }

    #[test]
    fn several_header_lines_are_one_list_and_a_mapped_peer_is_its_ipv4_address() {
        let headers = [
            ("x-forwarded-for", "1.1.1.1"),
            ("x-forwarded-for", "198.51.100.7, 10.0.0.9"),
        ];
        assert_eq!(client(&proxies(), "10.0.0.1", &headers), "198.51.100.7");
        assert_eq!(client(&proxies(), "::ffff:10.0.0.1", &headers), "198.51.100.7");
    }

    #[test]
    fn only_the_header_that_the_proxies_set_is_read() {
        let headers = [("forwarded", "for=1.1.1.1"), ("x-forwarded-for", "198.51.100.7")];
        assert_eq!(client(&proxies(), "10.0.0.1", &headers), "198.51.100.7");
        let rfc7239 = proxies().with_header(ForwardedHeader::Forwarded);
        assert_eq!(client(&rfc7239, "10.0.0.1", &headers), "1.1.1.1");
    }

    #[test]
    fn forwarded_is_read_as_rfc_7239_writes_it() {
        let proxies = proxies().with_header(ForwardedHeader::Forwarded);
        for (value, expected) in [
            ("for=192.0.2.60;proto=http;by=203.0.113.43", "192.0.2.60"),
            ("For=\"[2001:db8:cafe::17]:4711\"", "2001:db8:cafe::17"),
            ("for=1.1.1.1, for=198.51.100.17, for=10.0.0.9", "198.51.100.17"),
            ("for=_hidden", "10.0.0.1"),
            ("for=unknown", "10.0.0.1"),
            ("proto=https", "10.0.0.1"),
            ("for=1.1.1.1;for=2.2.2.2", "10.0.0.1"),
            ("for=\"1.1.1.1", "10.0.0.1"),
        ] {
            assert_eq!(
                client(&proxies, "10.0.0.1", &[("forwarded", value)]),
                expected,
                "{value}"
            );
        }
    }
}
