//! How many connections each source has open, so that nobody takes all places.

use super::forwarded::TrustedProxies;
use super::limits::Limits;
use std::collections::HashMap;
use std::net::{IpAddr, Ipv6Addr};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

/// Open connections by source.
#[derive(Clone, Debug)]
pub(super) struct Sources {
    limit: usize,
    excepts_loopback: bool,
    proxies: TrustedProxies,
    open: Arc<Mutex<HashMap<IpAddr, usize>>>,
}

/// One connection's place among those of its source; free again when dropped.
#[derive(Debug)]
pub(super) struct SourcePlace {
    source: Option<IpAddr>,
    open: Arc<Mutex<HashMap<IpAddr, usize>>>,
}

impl Sources {
    pub(super) fn new(limits: &Limits, proxies: TrustedProxies) -> Self {
        Self {
            limit: limits.max_connections_per_source.max(1),
            excepts_loopback: limits.excepts_loopback,
            proxies,
            open: Arc::default(),
        }
    }

    /// A place for a connection from this address, unless its source has as many as it may.
    pub(super) fn take(&self, address: IpAddr) -> Option<SourcePlace> {
        let address = address.to_canonical();
        let is_excepted = self.excepts_loopback && address.is_loopback() || self.proxies.trusts(address);
        let source = (!is_excepted).then(|| party(address));
        if let Some(source) = source {
            let mut open = lock(&self.open);
            let count = open.entry(source).or_default();
            if *count >= self.limit {
                return None;
            }
            *count += 1;
        }
        Some(SourcePlace {
            source,
            open: Arc::clone(&self.open),
        })
    }

    /// A place that counts for no source.
    pub(super) fn uncounted(&self) -> SourcePlace {
        SourcePlace {
            source: None,
            open: Arc::clone(&self.open),
        }
    }
}

impl Drop for SourcePlace {
    fn drop(&mut self) {
        let Some(source) = self.source else { return };
        let mut open = lock(&self.open);
        if let Some(count) = open.get_mut(&source) {
            *count -= 1;
            if *count == 0 {
                open.remove(&source);
            }
        }
    }
}

fn lock(open: &Mutex<HashMap<IpAddr, usize>>) -> MutexGuard<'_, HashMap<IpAddr, usize>> {
    open.lock().unwrap_or_else(PoisonError::into_inner)
}

/// What one party has: an IPv4 address, or all IPv6 addresses with the same first 64 bits.
pub fn party(address: IpAddr) -> IpAddr {
    match address.to_canonical() {
        IpAddr::V4(address) => IpAddr::V4(address),
        IpAddr::V6(address) => IpAddr::V6(Ipv6Addr::from_bits(address.to_bits() & NETWORK)),
    }
}

const NETWORK: u128 = !(u64::MAX as u128);

#[cfg(test)]
mod tests {
    use super::*;

    fn sources(limit: usize) -> Sources {
        let limits = Limits {
            max_connections_per_source: limit,
            ..Limits::default()
        };
        let proxies = TrustedProxies::new(vec!["10.0.0.0/8".parse().expect("a network")]);
        Sources::new(&limits, proxies)
    }

    fn take(sources: &Sources, address: &str) -> Option<SourcePlace> {
        sources.take(address.parse().expect("an address"))
    }

    #[test]
    fn one_source_has_so_many_places_and_gets_them_back() {
        let sources = sources(2);
        let first = take(&sources, "192.0.2.1").expect("a place");
        let _second = take(&sources, "::ffff:192.0.2.1").expect("a place");
        assert!(take(&sources, "192.0.2.1").is_none());
        assert!(take(&sources, "192.0.2.2").is_some());
        drop(first);
        assert!(take(&sources, "192.0.2.1").is_some());
    }

    #[test]
    fn all_addresses_of_a_network_of_64_bits_are_one_source() {
        let sources = sources(1);
        let _place = take(&sources, "2001:db8:1:2::1").expect("a place");
        assert!(take(&sources, "2001:db8:1:2:ffff::9").is_none());
        assert!(take(&sources, "2001:db8:1:3::1").is_some());
    }

    #[test]
    fn this_machine_and_trusted_proxies_are_excepted() {
        let sources = sources(1);
        for address in ["127.0.0.1", "::1", "10.1.2.3", "::ffff:10.1.2.3"] {
            let places = [take(&sources, address), take(&sources, address)];
            assert!(places.iter().all(Option::is_some), "{address}");
        }
        assert!(lock(&sources.open).is_empty());
    }

    #[test]
    fn what_is_closed_leaves_nothing_behind() {
        let sources = sources(2);
        drop(take(&sources, "192.0.2.1"));
        assert!(lock(&sources.open).is_empty());
    }
}
