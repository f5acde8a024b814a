//! The fence: which URLs may be called at all, and by which of a lane's clients.
//!
//! A URL is checked after parsing, so that every spelling of an address (`0x7f.1`, `2130706433`) is seen as
//! the address it is. Names are checked again when they are resolved, in `resolver`: what is checked there
//! is what is dialled.

use super::address::{self, Reach};
use super::allow::AllowedTarget;
use super::error::EgressError;
use ipnet::IpNet;
use std::net::IpAddr;
use url::{Host, Url};

/// The rules of one lane.
#[derive(Debug)]
pub(super) struct Fence {
    hosts: Vec<(Host<String>, Option<u16>)>,
    networks: Vec<IpNet>,
    refuses_literals: bool,
}

/// Which of a lane's clients carries a call. They differ in the addresses to which a name may resolve.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Route {
    /// Public addresses, and networks that the operator allowed.
    Public,
    /// Also private addresses: the operator allowed this very host.
    Allowed,
    /// Loopback addresses and nothing else: the only route on which http is spoken.
    Loopback,
}

impl Fence {
    pub(super) fn new<'a>(
        targets: impl IntoIterator<Item = &'a AllowedTarget>,
        refuses_literals: bool,
    ) -> Self {
        let (mut hosts, mut networks) = (Vec::new(), Vec::new());
        for target in targets {
            match target {
                AllowedTarget::Host { host, port } => hosts.push((host.clone(), *port)),
                AllowedTarget::Network(network) => networks.push(*network),
            }
        }
        Self {
            hosts,
            networks,
            refuses_literals,
        }
    }

    /// Reads a URL and says by which route it may be called.
    pub(super) fn admit(&self, text: &str) -> Result<(Url, Route), EgressError> {
        let url = parse(text)?;
        let route = match (url.scheme(), url.host().ok_or(EgressError::MalformedUrl)?) {
            ("https", _) if self.names(&url) => Route::Allowed,
            ("https", Host::Domain(_)) => Route::Public,
            ("https", Host::Ipv4(v4)) => self.admit_literal(IpAddr::V4(v4))?,
            ("https", Host::Ipv6(v6)) => self.admit_literal(IpAddr::V6(v6))?,
            ("http", Host::Domain(_)) if self.names(&url) && chancery_core::uri::is_loopback(&url) => {
                Route::Loopback
            }
            ("http", Host::Ipv4(v4)) if self.admits_plain(&url, IpAddr::V4(v4)) => Route::Loopback,
            ("http", Host::Ipv6(v6)) if self.admits_plain(&url, IpAddr::V6(v6)) => Route::Loopback,
            _ => return Err(EgressError::NotHttps),
        };
        Ok((url, route))
    }

    /// Whether a name called by this route may resolve to this address.
    pub(super) fn permits(&self, route: Route, address: IpAddr) -> bool {
        let listed = || address::is_within(&self.networks, address);
        match route {
            Route::Public => address::reach(address) == Reach::Global || listed(),
            Route::Allowed => address::reach(address) != Reach::Reserved || listed(),
            Route::Loopback => address::is_loopback(address),
        }
    }

    fn admit_literal(&self, address: IpAddr) -> Result<Route, EgressError> {
        if address::is_within(&self.networks, address) {
            return Ok(Route::Public);
        }
        if address::reach(address) != Reach::Global {
            return Err(EgressError::AddressNotAllowed { address });
        }
        if self.refuses_literals {
            return Err(EgressError::AddressLiteral);
        }
        Ok(Route::Public)
    }

    fn admits_plain(&self, url: &Url, address: IpAddr) -> bool {
        address::is_loopback(address) && (self.names(url) || address::is_within(&self.networks, address))
    }

    /// Whether the operator allowed this host on this port.
    fn names(&self, url: &Url) -> bool {
        let (Some(host), Some(port)) = (url.host(), url.port_or_known_default()) else {
            return false;
        };
        self.hosts.iter().any(|(allowed, allowed_port)| {
            allowed_port.is_none_or(|allowed_port| allowed_port == port) && *allowed == host.to_owned()
        })
    }
}

fn parse(text: &str) -> Result<Url, EgressError> {
    let is_plain = |byte: u8| byte > 0x20 && byte != 0x7f && byte != b'\\';
    if text.len() > MAX_URL_BYTES || !text.bytes().all(is_plain) {
        return Err(EgressError::MalformedUrl);
    }
    let url = Url::parse(text).map_err(|_| EgressError::MalformedUrl)?;
    if !url.username().is_empty() || url.password().is_some() {
        return Err(EgressError::UserInfo);
    }
    if url.fragment().is_some() {
        return Err(EgressError::Fragment);
    }
    // A trailing dot would be a second spelling of every name, past every list of names.
    if url.port() == Some(0) || url.host_str().is_none_or(|host| host.ends_with('.')) {
        return Err(EgressError::MalformedUrl);
    }
    Ok(url)
}

const MAX_URL_BYTES: usize = 2048;

#[cfg(test)]
mod tests {
    use super::*;

    fn fence(targets: &[&str]) -> Fence {
        let targets: Vec<AllowedTarget> = targets
            .iter()
            .map(|text| text.parse().expect("a target"))
            .collect();
        Fence::new(&targets, false)
    }

    fn refusal(fence: &Fence, url: &str) -> EgressError {
        fence
            .admit(url)
            .err()
            .unwrap_or_else(|| panic!("`{url}` was admitted"))
    }

    #[test]
    fn only_https_without_user_fragment_or_trailing_dot_is_admitted() {
        let fence = fence(&[]);
        assert_eq!(
            fence.admit("https://idp.example/keys?v=1").expect("admitted").1,
            Route::Public
        );
        for (url, expected) in [
            ("http://idp.example/", EgressError::NotHttps),
            ("ftp://idp.example/", EgressError::NotHttps),
            ("file:///etc/passwd", EgressError::MalformedUrl),
            ("gopher://idp.example/", EgressError::NotHttps),
            ("https://user@idp.example/", EgressError::UserInfo),
            ("https://idp.example@10.0.0.1/", EgressError::UserInfo),
            ("https://:secret@idp.example/", EgressError::UserInfo),
            ("https://idp.example/#a", EgressError::Fragment),
            ("https://idp.example/#", EgressError::Fragment),
            ("https://localhost./", EgressError::MalformedUrl),
            ("https://idp.example./", EgressError::MalformedUrl),
            ("https://idp.example:0/", EgressError::MalformedUrl),
            ("https:\\\\idp.example", EgressError::MalformedUrl),
            ("https://idp.exa\tmple/", EgressError::MalformedUrl),
            ("/keys", EgressError::MalformedUrl),
            ("", EgressError::MalformedUrl),
        ] {
            assert_eq!(refusal(&fence, url), expected, "{url}");
        }
    }

    #[test]
    fn every_spelling_of_a_special_address_is_refused() {
        let fence = fence(&[]);
        for url in [
            "https://127.0.0.1/",
            "https://0x7f.1/",
            "https://2130706433/",
            "https://0177.0.0.1/",
            "https://127.1/",
            "https://127.0.0.1./",
            "https://0/",
            "https://[::1]/",
            "https://[::]/",
            "https://[::ffff:127.0.0.1]/",
            "https://[::ffff:7f00:1]/",
            "https://[64:ff9b::7f00:1]/",
            "https://[2002:7f00:1::]/",
            "https://169.254.169.254/latest/meta-data/",
            "https://0xa9fea9fe/",
            "https://[fd00:ec2::254]/",
            "https://[fe80::1]/",
            "https://10.0.0.1/",
            "https://%31%32%37.0.0.1/",
            "https://\u{ff11}27.0.0.1/",
            "https://127\u{3002}0.0.1/",
        ] {
            let refused = refusal(&fence, url);
            assert!(
                matches!(
                    refused,
                    EgressError::AddressNotAllowed { .. } | EgressError::MalformedUrl
                ),
                "{url}: {refused}"
            );
        }
    }

    #[test]
    fn a_public_literal_is_for_operators_only() {
        assert!(fence(&[]).admit("https://8.8.8.8/").is_ok());
        let strict = Fence::new(&[], true);
        assert_eq!(refusal(&strict, "https://8.8.8.8/"), EgressError::AddressLiteral);
        assert_eq!(
            refusal(&strict, "https://[2606:4700::1111]/"),
            EgressError::AddressLiteral
        );
    }

    #[test]
    fn http_is_for_allowed_loopback_hosts_only() {
        let fence = fence(&["127.0.0.1:8080", "localhost", "idp.internal", "10.0.0.0/8"]);
        for url in ["http://127.0.0.1:8080/", "http://localhost:9/"] {
            assert_eq!(fence.admit(url).expect(url).1, Route::Loopback);
        }
        for url in [
            "http://127.0.0.1:8081/",
            "http://[::1]:8080/",
            "http://idp.internal/",
            "http://10.0.0.1/",
            "http://127.0.0.2:8080/",
        ] {
            assert_eq!(refusal(&fence, url), EgressError::NotHttps, "{url}");
        }
    }

    #[test]
    fn an_allowed_port_does_not_open_other_ports() {
        let fence = fence(&["idp.internal:8443", "10.1.1.1:8443"]);
        assert_eq!(
            fence.admit("https://idp.internal:8443/").expect("admitted").1,
            Route::Allowed
        );
        assert_eq!(
            fence.admit("https://idp.internal/").expect("admitted").1,
            Route::Public
        );
        assert!(fence.admit("https://10.1.1.1:8443/").is_ok());
        assert!(fence.admit("https://10.1.1.1/").is_err());
    }

    #[test]
    fn routes_differ_in_the_addresses_they_permit() {
        let fence = fence(&["10.0.0.0/8"]);
        let permits = |route, address: &str| fence.permits(route, address.parse().expect("an address"));
        for (address, public, allowed, loopback) in [
            ("8.8.8.8", true, true, false),
            ("10.0.0.1", true, true, false),
            ("192.168.0.1", false, true, false),
            ("127.0.0.1", false, true, true),
            ("::ffff:127.0.0.1", false, true, true),
            ("169.254.169.254", false, false, false),
            ("0.0.0.0", false, false, false),
        ] {
            assert_eq!(permits(Route::Public, address), public, "{address}");
            assert_eq!(permits(Route::Allowed, address), allowed, "{address}");
            assert_eq!(permits(Route::Loopback, address), loopback, "{address}");
        }
    }
}
