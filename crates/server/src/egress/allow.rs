//! What the operator allows beyond the public internet: hosts and networks of special use.

use chancery_core::name::Name;
use ipnet::IpNet;
use std::fmt;
use std::net::IpAddr;
use std::str::FromStr;

/// One exception to the fence, made by the operator and by nobody else.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AllowedHost {
    /// What may be reached.
    pub target: AllowedTarget,
    /// The only tenant for which it may be reached; absent for all.
    pub tenant: Option<Name>,
    /// Whether URLs that clients supply may reach it too. Almost never wanted: anyone who can register a
    /// client could then make this server call the host.
    pub for_client_urls: bool,
}

impl AllowedHost {
    /// An exception for every tenant, closed to URLs that clients supply.
    pub const fn new(target: AllowedTarget) -> Self {
        Self {
            target,
            tenant: None,
            for_client_urls: false,
        }
    }
}

/// A host, a host and port, or a network.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum AllowedTarget {
    /// This host, on every port or on one. A name may then resolve to a private address.
    Host {
        /// The host as it stands in URLs.
        host: url::Host<String>,
        /// The only port, if one is given.
        port: Option<u16>,
    },
    /// Every address of this network, under any name.
    Network(IpNet),
}

/// Why a text is not a target.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum AllowedTargetError {
    /// Neither a host, a host and port, nor a network.
    #[error("not a host, `host:port` or network such as `10.0.0.0/8`")]
    Malformed,
    /// A pattern; hosts are named one by one.
    #[error("patterns are not allowed: name each host, or give a network")]
    Pattern,
}

impl FromStr for AllowedTarget {
    type Err = AllowedTargetError;

    /// Reads `host`, `host:port`, `[::1]:port`, a bare address, or a network in CIDR form.
    fn from_str(text: &str) -> Result<Self, AllowedTargetError> {
        if text.contains('*') {
            return Err(AllowedTargetError::Pattern);
        }
        if let Ok(network) = text.parse::<IpNet>() {
            return Ok(Self::Network(network.trunc()));
        }
        if let Ok(address) = text.parse::<IpAddr>() {
            let host = match address {
                IpAddr::V4(v4) => url::Host::Ipv4(v4),
                IpAddr::V6(v6) => url::Host::Ipv6(v6),
            };
            return Ok(Self::Host { host, port: None });
        }

        let (host, port) = match text.rsplit_once(':') {
            Some((host, port)) if !port.ends_with(']') => (host, Some(parse_port(port)?)),
            _ => (text, None),
        };
        if host.ends_with('.') {
            return Err(AllowedTargetError::Malformed);
        }
        let host = url::Host::parse(host).map_err(|_| AllowedTargetError::Malformed)?;
        Ok(Self::Host { host, port })
    }
}

impl fmt::Display for AllowedTarget {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Host { host, port: None } => write!(f, "{host}"),
            Self::Host {
                host,
                port: Some(port),
            } => write!(f, "{host}:{port}"),
            Self::Network(network) => write!(f, "{network}"),
        }
    }
}

fn parse_port(text: &str) -> Result<u16, AllowedTargetError> {
    match text.parse() {
        Ok(0) | Err(_) => Err(AllowedTargetError::Malformed),
        Ok(port) => Ok(port),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn targets_print_as_they_are_read() {
        for text in [
            "idp.internal",
            "idp.internal:8443",
            "10.0.0.0/8",
            "fd00::/8",
            "127.0.0.1",
            "127.0.0.1:8080",
            "[::1]:8080",
            "[::1]",
        ] {
            let target: AllowedTarget = text.parse().expect(text);
            assert_eq!(target.to_string(), text);
        }
    }

    #[test]
    fn a_bare_ipv6_address_is_a_host_and_names_are_lower_cased() {
        assert_eq!(
            "::1".parse::<AllowedTarget>().expect("valid").to_string(),
            "[::1]"
        );
        assert_eq!(
            "IdP.Internal"
                .parse::<AllowedTarget>()
                .expect("valid")
                .to_string(),
            "idp.internal"
        );
    }

    #[test]
    fn malformed_targets_and_patterns_are_refused() {
        for text in [
            "",
            "a b",
            "host:0",
            "host:99999",
            "host:",
            "host.",
            "https://host",
            "host/path",
            "[::1",
        ] {
            assert_eq!(
                text.parse::<AllowedTarget>(),
                Err(AllowedTargetError::Malformed),
                "{text}"
            );
        }
        assert_eq!(
            "*.internal".parse::<AllowedTarget>(),
            Err(AllowedTargetError::Pattern)
        );
    }
}
