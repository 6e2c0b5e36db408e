//! Whom an address counts to, where strangers are counted, bounded or banned.

use std::fmt;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

/// This machine, one IPv4 address, or one IPv6 /64: as much as a single subscriber has at least.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Host {
    /// 127.0.0.1 and `::1`: who speaks from there is this machine, or what its owner lets forward
    /// connections, and stands for any number of people.
    Here,
    /// An IPv4 address, plain or mapped.
    V4(Ipv4Addr),
    /// The first half of an IPv6 address.
    V6Prefix(u64),
}

impl Host {
    /// The host of an address.
    pub fn of(ip: IpAddr) -> Self {
        match ip.to_canonical() {
            IpAddr::V4(Ipv4Addr::LOCALHOST) | IpAddr::V6(Ipv6Addr::LOCALHOST) => Self::Here,
            IpAddr::V4(ip) => Self::V4(ip),
            IpAddr::V6(ip) => {
                let bits = ip.to_bits() >> 64;
                Self::V6Prefix(u64::try_from(bits).expect("64 bits"))
            }
        }
    }

    /// Whether it is this machine.
    pub fn is_here(self) -> bool {
        self == Self::Here
    }
}

impl fmt::Display for Host {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Here => f.write_str("this machine"),
            Self::V4(ip) => write!(f, "{ip}"),
            Self::V6Prefix(bits) => {
                write!(f, "{}/64", Ipv6Addr::from_bits(u128::from(*bits) << 64))
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn host(ip: &str) -> Host {
        Host::of(ip.parse().unwrap())
    }

    #[test]
    fn an_ipv4_address_and_an_ipv6_prefix_are_one_host_each() {
        assert_eq!(host("192.0.2.1"), host("::ffff:192.0.2.1"));
        assert_ne!(host("192.0.2.1"), host("192.0.2.2"));
        assert_eq!(host("2001:db8:0:1::1"), host("2001:db8:0:1:ff::2"));
        assert_ne!(host("2001:db8:0:1::1"), host("2001:db8:0:2::1"));
        assert_eq!(host("192.0.2.1").to_string(), "192.0.2.1");
        assert_eq!(host("2001:db8:0:1::1").to_string(), "2001:db8:0:1::/64");
    }

    #[test]
    fn only_the_two_addresses_of_this_machine_are_here() {
        for ip in ["127.0.0.1", "::ffff:127.0.0.1", "::1"] {
            assert!(host(ip).is_here(), "{ip}");
        }
        for ip in ["127.0.0.2", "::2", "::", "2001:db8::1"] {
            assert!(!host(ip).is_here(), "{ip}");
        }
    }
}
