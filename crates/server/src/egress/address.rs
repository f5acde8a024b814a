//! Which addresses may be dialled: the special-purpose registries of IANA (RFC 6890, RFC 8190) as an
//! explicit list, because `IpAddr::is_global` is not stable.
//!
//! An IPv6 address that carries an IPv4 address (mapped, 6to4, NAT64) is judged by the one it carries.

use ipnet::{IpNet, Ipv4Net, Ipv6Net};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

/// How far an address reaches, and so what it takes to be dialled.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Reach {
    /// Ordinary public unicast: always.
    Global,
    /// This machine or a private network: when the operator allowed the host, or a network that holds it.
    Private,
    /// Link-local (where clouds keep their metadata services), unspecified, multicast, reserved: only when
    /// the operator allowed a network that holds it. An allowed host name is not enough.
    Reserved,
}

/// How far an address reaches.
pub(super) fn reach(address: IpAddr) -> Reach {
    match unwrap(address) {
        IpAddr::V4(v4) => reach_v4(v4),
        IpAddr::V6(v6) => reach_v6(v6),
    }
}

/// Whether an address is one of this machine, also when it is an IPv4 address in IPv6 clothes.
pub(super) fn is_loopback(address: IpAddr) -> bool {
    unwrap(address).is_loopback()
}

/// Whether a network that the operator allowed holds an address.
pub(super) fn is_within(networks: &[IpNet], address: IpAddr) -> bool {
    let inner = unwrap(address);
    networks
        .iter()
        .any(|network| network.contains(&address) || network.contains(&inner))
}

/// The IPv4 address that an IPv6 address carries, or else the address itself.
fn unwrap(address: IpAddr) -> IpAddr {
    match address {
        IpAddr::V4(_) => address,
        IpAddr::V6(v6) => embedded(v6).map_or(address, IpAddr::V4),
    }
}

/// Mapped `::ffff:0:0/96` (RFC 4291 §2.5.5.2), NAT64 `64:ff9b::/96` (RFC 6052 §2.1), 6to4 `2002::/16`
/// (RFC 3056 §2).
fn embedded(address: Ipv6Addr) -> Option<Ipv4Addr> {
    let tail = |high: u16, low: u16| Ipv4Addr::from((u32::from(high) << 16) | u32::from(low));
    match address.segments() {
        [0, 0, 0, 0, 0, 0xffff, high, low]
        | [0x64, 0xff9b, 0, 0, 0, 0, high, low]
        | [0x2002, high, low, ..] => Some(tail(high, low)),
        _ => None,
    }
}

fn reach_v4(address: Ipv4Addr) -> Reach {
    SPECIAL_V4
        .iter()
        .find(|(network, _)| network.contains(&address))
        .map_or(Reach::Global, |(_, reach)| *reach)
}

fn reach_v6(address: Ipv6Addr) -> Reach {
    // INVARIANT: outside 2000::/3 nothing is global unicast (RFC 4291 §2.4), so that a range unknown to the
    // list below is refused, not let through.
    let otherwise = if GLOBAL_UNICAST.contains(&address) {
        Reach::Global
    } else {
        Reach::Reserved
    };
    SPECIAL_V6
        .iter()
        .find(|(network, _)| network.contains(&address))
        .map_or(otherwise, |(_, reach)| *reach)
}

const fn v4(octets: [u8; 4], length: u8) -> Ipv4Net {
    let [a, b, c, d] = octets;
    Ipv4Net::new_assert(Ipv4Addr::new(a, b, c, d), length)
}

const fn v6(head: [u16; 3], length: u8) -> Ipv6Net {
    let [a, b, c] = head;
    Ipv6Net::new_assert(Ipv6Addr::new(a, b, c, 0, 0, 0, 0, 0), length)
}

const GLOBAL_UNICAST: Ipv6Net = v6([0x2000, 0, 0], 3);

const SPECIAL_V4: &[(Ipv4Net, Reach)] = &[
    // "This network", RFC 791 §3.2.
    (v4([0, 0, 0, 0], 8), Reach::Reserved),
    // Private use, RFC 1918.
    (v4([10, 0, 0, 0], 8), Reach::Private),
    (v4([172, 16, 0, 0], 12), Reach::Private),
    (v4([192, 168, 0, 0], 16), Reach::Private),
    // Shared address space, RFC 6598.
    (v4([100, 64, 0, 0], 10), Reach::Private),
    // Loopback, RFC 1122 §3.2.1.3.
    (v4([127, 0, 0, 0], 8), Reach::Private),
    // Link-local, RFC 3927: the metadata services of most clouds.
    (v4([169, 254, 0, 0], 16), Reach::Reserved),
    // The platform address of Azure, public by number only.
    (v4([168, 63, 129, 16], 32), Reach::Reserved),
    // IETF protocol assignments, RFC 6890.
    (v4([192, 0, 0, 0], 24), Reach::Reserved),
    // Documentation, RFC 5737.
    (v4([192, 0, 2, 0], 24), Reach::Reserved),
    (v4([198, 51, 100, 0], 24), Reach::Reserved),
    (v4([203, 0, 113, 0], 24), Reach::Reserved),
    // 6to4 relay anycast, RFC 7526.
    (v4([192, 88, 99, 0], 24), Reach::Reserved),
    // Benchmarking, RFC 2544.
    (v4([198, 18, 0, 0], 15), Reach::Reserved),
    // Multicast, RFC 5771; reserved and limited broadcast, RFC 1112 §4.
    (v4([224, 0, 0, 0], 4), Reach::Reserved),
    (v4([240, 0, 0, 0], 4), Reach::Reserved),
];

const SPECIAL_V6: &[(Ipv6Net, Reach)] = &[
    // Loopback, RFC 4291 §2.5.3. Unspecified `::` is outside 2000::/3.
    (Ipv6Net::new_assert(Ipv6Addr::LOCALHOST, 128), Reach::Private),
    // Unique local, RFC 4193.
    (v6([0xfc00, 0, 0], 7), Reach::Private),
    // Link-local, RFC 4291 §2.5.6; multicast, RFC 4291 §2.7.
    (v6([0xfe80, 0, 0], 10), Reach::Reserved),
    (v6([0xff00, 0, 0], 8), Reach::Reserved),
    // IETF protocol assignments, RFC 2928: among them Teredo and ORCHID.
    (v6([0x2001, 0, 0], 23), Reach::Reserved),
    // Documentation, RFC 3849 and RFC 9637.
    (v6([0x2001, 0xdb8, 0], 32), Reach::Reserved),
    (v6([0x3fff, 0, 0], 20), Reach::Reserved),
];

#[cfg(test)]
mod tests {
    use super::*;

    fn check(expected: Reach, addresses: &[&str]) {
        for address in addresses {
            assert_eq!(reach(address.parse().expect("an address")), expected, "{address}");
        }
    }

    #[test]
    fn public_unicast_is_global_up_to_the_edge_of_each_special_range() {
        check(
            Reach::Global,
            &[
                "1.0.0.0",
                "9.255.255.255",
                "11.0.0.0",
                "100.63.255.255",
                "100.128.0.0",
                "126.255.255.255",
                "128.0.0.0",
                "169.253.255.255",
                "169.255.0.0",
                "168.63.129.15",
                "168.63.129.17",
                "172.15.255.255",
                "172.32.0.0",
                "192.0.1.0",
                "192.0.3.0",
                "192.167.255.255",
                "192.169.0.0",
                "198.17.255.255",
                "198.20.0.0",
                "198.51.99.255",
                "203.0.114.0",
                "223.255.255.255",
                "2001:200::1",
                "2606:4700::1111",
                "2a00:1450::1",
                "2001:db7:ffff::",
                "2001:db9::",
            ],
        );
    }

    #[test]
    fn private_ranges_are_private_from_first_to_last_address() {
        check(
            Reach::Private,
            &[
                "10.0.0.0",
                "10.255.255.255",
                "100.64.0.0",
                "100.127.255.255",
                "127.0.0.0",
                "127.0.0.1",
                "127.255.255.255",
                "172.16.0.0",
                "172.31.255.255",
                "192.168.0.0",
                "192.168.255.255",
                "::1",
                "fc00::",
                "fd00:ec2::254",
                "fdff:ffff:ffff:ffff:ffff:ffff:ffff:ffff",
            ],
        );
    }

    #[test]
    fn reserved_ranges_are_reserved_from_first_to_last_address() {
        check(
            Reach::Reserved,
            &[
                "0.0.0.0",
                "0.255.255.255",
                "169.254.0.0",
                "169.254.169.254",
                "169.254.255.255",
                "168.63.129.16",
                "192.0.0.0",
                "192.0.0.192",
                "192.0.0.255",
                "192.0.2.0",
                "192.0.2.255",
                "192.88.99.1",
                "198.18.0.0",
                "198.19.255.255",
                "198.51.100.0",
                "198.51.100.255",
                "203.0.113.0",
                "203.0.113.255",
                "224.0.0.0",
                "239.255.255.255",
                "240.0.0.0",
                "255.255.255.255",
                "::",
                "fe80::1",
                "febf::1",
                "fec0::1",
                "ff02::1",
                "2001::1",
                "2001:1ff::1",
                "2001:db8::",
                "2001:db8:ffff::",
                "3fff::1",
                "100::1",
                "5f00::1",
                "64:ff9b:1::a00:1",
                "4000::1",
                "::a00:1",
            ],
        );
    }

    #[test]
    fn ipv6_that_carries_ipv4_is_judged_by_what_it_carries() {
        check(
            Reach::Private,
            &[
                "::ffff:127.0.0.1",
                "::ffff:10.1.2.3",
                "64:ff9b::7f00:1",
                "64:ff9b::c0a8:1",
                "2002:7f00:1::",
            ],
        );
        check(
            Reach::Reserved,
            &[
                "::ffff:169.254.169.254",
                "::ffff:0.0.0.0",
                "64:ff9b::a9fe:a9fe",
                "2002:a9fe:a9fe::1",
            ],
        );
        check(
            Reach::Global,
            &["::ffff:8.8.8.8", "64:ff9b::808:808", "2002:808:808::1"],
        );
    }

    #[test]
    fn an_allowed_network_holds_mapped_addresses_too() {
        let networks = ["10.0.0.0/8".parse().expect("a network")];
        for (address, held) in [("10.1.2.3", true), ("::ffff:10.1.2.3", true), ("11.0.0.1", false)] {
            assert_eq!(
                is_within(&networks, address.parse().expect("an address")),
                held,
                "{address}"
            );
        }
    }

    #[test]
    fn loopback_is_seen_through_its_disguise() {
        for address in [
            "127.0.0.1",
            "127.9.9.9",
            "::1",
            "::ffff:127.0.0.1",
            "64:ff9b::7f00:1",
        ] {
            assert!(is_loopback(address.parse().expect("an address")), "{address}");
        }
        assert!(!is_loopback("128.0.0.1".parse().expect("an address")));
    }
}
