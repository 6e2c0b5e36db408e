//! Whom an address counts to, where addresses are counted or banned.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

/// One IPv4 address, or one IPv6 /64: as much as a single subscriber has at least.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Host {
    /// An IPv4 address, plain or mapped.
    V4(Ipv4Addr),
    /// The first half of an IPv6 address.
    V6Prefix(u64),
}

impl Host {
    /// The host of an address. `None` for 127.0.0.1 and `::1`: who speaks from there is this
    /// machine, or what its owner lets forward connections, and stands for any number of peers.
    pub(crate) fn of(ip: IpAddr) -> Option<Self> {
        match ip.to_canonical() {
            IpAddr::V4(Ipv4Addr::LOCALHOST) | IpAddr::V6(Ipv6Addr::LOCALHOST) => None,
            IpAddr::V4(ip) => Some(Self::V4(ip)),
            IpAddr::V6(ip) => {
                let bits = ip.to_bits() >> 64;
                Some(Self::V6Prefix(u64::try_from(bits).expect("64 bits")))
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn host(ip: &str) -> Option<Host> {
        Host::of(ip.parse().unwrap())
    }

    #[test]
    fn an_ipv4_address_and_an_ipv6_prefix_are_one_host_each() {
        assert_eq!(host("192.0.2.1"), host("::ffff:192.0.2.1"));
        assert_ne!(host("192.0.2.1"), host("192.0.2.2"));
        assert_eq!(host("2001:db8:0:1::1"), host("2001:db8:0:1:ff::2"));
        assert_ne!(host("2001:db8:0:1::1"), host("2001:db8:0:2::1"));
    }

    #[test]
    fn only_the_two_addresses_of_this_machine_are_no_host() {
        assert_eq!(host("127.0.0.1"), None);
        assert_eq!(host("::ffff:127.0.0.1"), None);
        assert_eq!(host("::1"), None);
        assert!(host("127.0.0.2").is_some());
        assert!(host("::2").is_some());
    }
}
