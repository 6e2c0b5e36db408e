//! Whom an address counts to, where strangers are counted.

use std::fmt;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

/// One IPv4 address, or the IPv6 /64 that one subscriber gets.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum AddressGroup {
    /// An IPv4 address, plain or mapped.
    V4(Ipv4Addr),
    /// The first half of an IPv6 address, the rest zero.
    V6(Ipv6Addr),
}

impl AddressGroup {
    /// The group of an address.
    pub(crate) fn of(ip: IpAddr) -> Self {
        match ip.to_canonical() {
            IpAddr::V4(ip) => Self::V4(ip),
            IpAddr::V6(ip) => Self::V6(Ipv6Addr::from_bits(ip.to_bits() >> 64 << 64)),
        }
    }

    /// Whether these are connections of this machine itself, or of whatever its owner lets forward
    /// connections: they stand for any number of people.
    pub(crate) fn is_here(self) -> bool {
        match self {
            Self::V4(ip) => ip == Ipv4Addr::LOCALHOST,
            // The rest is zero in a group, so that ::1 is in the group of ::.
            Self::V6(ip) => ip.is_unspecified(),
        }
    }
}

impl fmt::Display for AddressGroup {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::V4(ip) => write!(f, "{ip}"),
            Self::V6(ip) => write!(f, "{ip}/64"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn group(ip: &str) -> AddressGroup {
        AddressGroup::of(ip.parse().unwrap())
    }

    #[test]
    fn an_ipv4_address_and_an_ipv6_prefix_are_one_group_each() {
        assert_eq!(group("192.0.2.1"), group("::ffff:192.0.2.1"));
        assert_ne!(group("192.0.2.1"), group("192.0.2.2"));
        assert_eq!(group("2001:db8:0:1::1"), group("2001:db8:0:1:ff::2"));
        assert_ne!(group("2001:db8:0:1::1"), group("2001:db8:0:2::1"));
        assert_eq!(group("2001:db8::1").to_string(), "2001:db8::/64");
    }

    #[test]
    fn only_the_two_addresses_of_this_machine_are_here() {
        assert!(group("127.0.0.1").is_here());
        assert!(group("::1").is_here());
        assert!(!group("127.0.0.2").is_here());
        assert!(!group("2001:db8::1").is_here());
    }
}
