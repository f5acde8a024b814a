//! When a request came, and from where: what is known of it besides what it says.

use crate::listener::party;
use chancery_core::time::Timestamp;
use std::fmt;
use std::net::IpAddr;

/// When and from where.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Arrival {
    /// The request's one moment.
    pub now: Timestamp,
    /// From where.
    pub source: Source,
}

/// Where a request came from, as far as one party can be told from another.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Source {
    /// This machine, by the local socket.
    Local,
    /// An IPv4 address, or the first 64 bits of an IPv6 address: whoever has one address of those has all.
    Network(IpAddr),
    /// Any of more addresses than are told apart.
    Others,
}

impl Source {
    /// The source that this address belongs to.
    pub fn of(address: IpAddr) -> Self {
        Self::Network(party(address))
    }
}

impl fmt::Display for Source {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Local => f.write_str("this machine"),
            Self::Network(IpAddr::V4(address)) => write!(f, "{address}"),
            Self::Network(IpAddr::V6(network)) => write!(f, "{network}/64"),
            Self::Others => f.write_str("many addresses"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_source_is_what_one_party_can_fill() {
        let source = |text: &str| Source::of(text.parse().unwrap()).to_string();
        assert_eq!(source("192.0.2.1"), "192.0.2.1");
        assert_eq!(source("::ffff:192.0.2.1"), "192.0.2.1");
        assert_eq!(source("2001:db8:1:2:3:4:5:6"), "2001:db8:1:2::/64");
        assert_eq!(source("2001:db8:1:2:ffff::"), "2001:db8:1:2::/64");
        assert_ne!(source("2001:db8:1:2::1"), source("2001:db8:1:3::1"));
    }
}
