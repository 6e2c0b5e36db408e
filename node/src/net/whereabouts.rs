//! Where this machine is in the open internet, as far as the kernel says: what strangers name is
//! held against it (`engine/src/discovery/reach.rs`).

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, UdpSocket};

use seedbank_engine::discovery::host::Host;
use seedbank_engine::discovery::reach::{OwnHosts, Zone};

/// Addresses in the open, one of each family, to which a route is asked for and nothing is sent.
const FAR: [IpAddr; 2] = [
    IpAddr::V4(Ipv4Addr::new(8, 8, 8, 8)),
    IpAddr::V6(Ipv6Addr::new(0x2001, 0x4860, 0x4860, 0, 0, 0, 0, 0x8888)),
];
/// Any port: nothing is sent there.
const PORT: u16 = 9;

/// Where this machine would speak from to the open internet, by IPv4 and IPv6, unless it is behind
/// a translator. Two system calls for each; sends nothing.
pub(crate) fn own_hosts() -> OwnHosts {
    FAR.map(|far| in_the_open(source_towards(far)?))
}

/// The address from which this machine would send to `far`.
fn source_towards(far: IpAddr) -> Option<IpAddr> {
    let any: IpAddr = match far {
        IpAddr::V4(_) => Ipv4Addr::UNSPECIFIED.into(),
        IpAddr::V6(_) => Ipv6Addr::UNSPECIFIED.into(),
    };
    let socket = UdpSocket::bind((any, 0)).ok()?;
    socket.connect((far, PORT)).ok()?;
    Some(socket.local_addr().ok()?.ip())
}

fn in_the_open(source: IpAddr) -> Option<Host> {
    (Zone::of(source) == Some(Zone::Public)).then(|| Host::of(source))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_addresses_in_the_open_are_where_we_are() {
        let host = |ip: &str| in_the_open(ip.parse().unwrap());
        assert_eq!(
            host("2600:0:0:1::9"),
            Some(Host::V6Prefix(0x2600_0000_0000_0001))
        );
        assert_eq!(host("8.8.8.8"), Some(Host::V4(Ipv4Addr::new(8, 8, 8, 8))));
        for near in [
            "10.0.0.1",
            "127.0.0.1",
            "fe80::1",
            "fd00::1",
            "::",
            "0.0.0.0",
        ] {
            assert_eq!(host(near), None, "{near}");
        }
    }

    /// The kernel knows a way to this machine itself, whatever else it knows.
    #[test]
    fn the_kernel_says_where_we_would_speak_from() {
        let here = IpAddr::V4(Ipv4Addr::LOCALHOST);
        assert_eq!(source_towards(here), Some(here));
        for (host, is_v4) in own_hosts().into_iter().zip([true, false]) {
            assert!(host.is_none_or(|host| matches!(host, Host::V4(_)) == is_v4));
        }
    }
}
