//! Which addresses a stranger's word may lead to.
//!
//! Whoever writes a .torrent, a magnet link or a tracker's answer names hosts, and we connect to
//! them from inside the owner's network. Unless the owner named a tracker, it is therefore in the
//! open internet, and nobody there leads us further in: neither by a redirect nor as a peer. A
//! tracker that is nearer may name others that are as near.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

use crate::discovery::host::Host;

/// Ports below this belong to services of machines.
const PORT_MIN: u16 = 1_024;
/// The only ones of them at which there are trackers.
const TRACKER_PORTS: [u16; 2] = [80, 443];
/// How the path of a tracker begins that is near and that the owner did not name: whatever else
/// listens there is asked for nothing that it could heed.
const TRACKER_PATH: &str = "/announce";

/// How near an address is, the farthest first.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Zone {
    /// The open internet.
    Public,
    /// A network of somebody's own (RFC 1918, 3927, 4193, 4291, 6598), or not for the open.
    Private,
    /// This machine.
    Loopback,
}

/// What may be reached upon somebody's word.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Reach {
    zone: Zone,
    /// The owner named it.
    typed: bool,
    /// Of the open, and yet ours: private.
    own: OwnHosts,
}

/// Where a node itself is in the open, by IPv4 and IPv6: its own address, and the /64 that it
/// shares with the machines around it. `None` where it is not, or nobody knows.
pub type OwnHosts = [Option<Host>; 2];

/// Why an address is not connected to.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ReachError {
    /// It is nearer than whoever named it may lead us.
    #[error("refused: {ip} is a {} address; add it with --tracker to allow it", name(*zone))]
    Near {
        /// Which.
        ip: IpAddr,
        /// How near.
        zone: Zone,
    },
    /// Nobody can be there: unspecified, multicast, broadcast, reserved, or for documentation.
    #[error("refused: nobody is at {0}")]
    Nowhere(IpAddr),
    /// Something else listens at such a port.
    #[error("refused: {0} is no port of a tracker; add it with --tracker to allow it")]
    Port(u16),
    /// It is near, and might be something else than a tracker.
    #[error(
        "refused: the path of a tracker at a {} address begins with {TRACKER_PATH}; \
         add it with --tracker to allow it",
        name(*.0)
    )]
    Path(Zone),
}

impl Zone {
    /// Where an address is; `None` if nobody can be there.
    pub fn of(ip: IpAddr) -> Option<Self> {
        match ip.to_canonical() {
            IpAddr::V4(ip) => Self::of_v4(ip),
            IpAddr::V6(ip) => Self::of_v6(ip),
        }
    }

    /// The zone of a node that listens at these: near only if all of them are.
    pub fn of_all(ips: impl IntoIterator<Item = IpAddr>) -> Self {
        let zones = ips
            .into_iter()
            .map(|ip| Self::of(ip).unwrap_or(Self::Public));
        zones.min().unwrap_or(Self::Public)
    }

    fn of_v4(ip: Ipv4Addr) -> Option<Self> {
        match ip.octets() {
            [0 | 224..=255, ..] => None,
            _ if ip.is_documentation() => None,
            _ if ip.is_loopback() => Some(Self::Loopback),
            // Of carriers, of tunnels (RFC 6333, 7335), and of benchmarks (RFC 2544).
            [100, 64..=127, ..] | [192, 0, 0, _] | [198, 18..=19, ..] => Some(Self::Private),
            _ if ip.is_private() || ip.is_link_local() => Some(Self::Private),
            _ => Some(Self::Public),
        }
    }

    fn of_v6(ip: Ipv6Addr) -> Option<Self> {
        let [a, b, c, d, ..] = ip.segments();
        let [.., y, z] = ip.segments();
        let within = |high: u16, low: u16| {
            let [a, b] = high.to_be_bytes();
            let [c, d] = low.to_be_bytes();
            Self::of_v4(Ipv4Addr::new(a, b, c, d))
        };
        match (a, b, c, d) {
            _ if ip.is_loopback() => Some(Self::Loopback),
            _ if ip.is_unspecified() || ip.is_multicast() => None,
            // Documentation (RFC 3849, 9637), and what is dropped (RFC 6666).
            (0x2001, 0x0db8, ..) | (0x3fff, 0..=0x0fff, ..) | (0x0100, 0, 0, 0) => None,
            // IPv4 in other clothes: translated (RFC 6052), 6to4 (RFC 3056), compatible, Teredo
            // (RFC 4380, the client's address inverted).
            (0x0064, 0xff9b, 0, 0) | (0, 0, 0, 0) => within(y, z),
            (0x2002, high, low, _) => within(high, low),
            (0x2001, 0, ..) => within(!y, !z),
            // Translated by whoever runs this network, who says where the IPv4 address is in it
            // (RFC 8215), and benchmarks (RFC 5180).
            (0x0064, 0xff9b, 1, _) | (0x2001, 2, 0, _) => Some(Self::Private),
            // Local by link, by site, or unique.
            (0xfe80..=0xfeff | 0xfc00..=0xfdff, ..) => Some(Self::Private),
            _ => Some(Self::Public),
        }
    }
}

impl Reach {
    /// Of strangers, at a node whose own addresses are in `home`.
    pub const fn new(home: Zone) -> Self {
        Self {
            zone: home,
            typed: false,
            own: [None; 2],
        }
    }

    /// Of a node that is there itself. What is known of either family takes the place of what was
    /// known before.
    #[must_use]
    pub fn at(self, [v4, v6]: OwnHosts) -> Self {
        let own = [v4.or(self.own[0]), v6.or(self.own[1])];
        Self { own, ..self }
    }

    /// Of the owner, if they named it.
    #[must_use]
    pub const fn typed(self, typed: bool) -> Self {
        Self { typed, ..self }
    }

    /// Whether a tracker may be asked that turned out to be here; `path` is that of an HTTP URL.
    pub fn tracker(self, addr: SocketAddr, path: Option<&str>) -> Result<(), ReachError> {
        let ip = addr.ip().to_canonical();
        if self.typed && !ip.is_unspecified() && !ip.is_multicast() {
            return Ok(());
        }
        let zone = self.near(ip)?;
        if addr.port() < PORT_MIN && !TRACKER_PORTS.contains(&addr.port()) {
            return Err(ReachError::Port(addr.port()));
        }
        match path {
            Some(path) if zone != Zone::Public && !path.starts_with(TRACKER_PATH) => {
                Err(ReachError::Path(zone))
            }
            _ => Ok(()),
        }
    }

    /// What a tracker that was reached at this address leads to: by redirects, and as peers.
    #[must_use]
    pub fn behind(self, tracker: SocketAddr) -> Self {
        let zone = self.zone_of(tracker.ip()).unwrap_or(Zone::Public);
        Self {
            zone: self.zone.max(zone),
            typed: false,
            own: self.own,
        }
    }

    /// Whether a peer may be dialled.
    pub fn peer(self, addr: SocketAddr) -> Result<(), ReachError> {
        self.near(addr.ip())?;
        match addr.port() {
            port if port < PORT_MIN => Err(ReachError::Port(port)),
            _ => Ok(()),
        }
    }

    fn near(self, ip: IpAddr) -> Result<Zone, ReachError> {
        let ip = ip.to_canonical();
        match self.zone_of(ip) {
            None => Err(ReachError::Nowhere(ip)),
            Some(zone) if zone > self.zone => Err(ReachError::Near { ip, zone }),
            Some(zone) => Ok(zone),
        }
    }

    fn zone_of(self, ip: IpAddr) -> Option<Zone> {
        match Zone::of(ip) {
            Some(Zone::Public) if self.own.contains(&Some(Host::of(ip))) => Some(Zone::Private),
            zone => zone,
        }
    }
}

const fn name(zone: Zone) -> &'static str {
    match zone {
        Zone::Public => "public",
        Zone::Private => "private",
        Zone::Loopback => "loopback",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const STRANGER: Reach = Reach::new(Zone::Public);

    fn at(ip: &str, port: u16) -> SocketAddr {
        SocketAddr::new(ip.parse().unwrap(), port)
    }

    #[test]
    fn every_address_is_in_one_zone_whatever_it_wears() {
        let zones = [
            (
                Some(Zone::Public),
                "8.8.8.8 100.63.0.1 172.32.0.1 2600::1 64:ff9b::808:808",
            ),
            (
                Some(Zone::Private),
                "10.0.0.1 172.16.0.1 172.31.9.9 192.168.1.1 100.64.0.1 100.127.0.1 169.254.1.1 \
                 fe80::1 fec0::1 fc00::1 fdff::1 ::ffff:10.0.0.1 64:ff9b::a00:1 2002:a00:1::1",
            ),
            (
                Some(Zone::Loopback),
                "127.0.0.1 127.255.0.9 ::1 ::ffff:127.0.0.1 ::127.0.0.1 64:ff9b::7f00:1 \
                 2002:7f00:1::",
            ),
            (
                None,
                "0.0.0.0 0.1.2.3 224.0.0.1 255.255.255.255 240.0.0.1 192.0.2.1 198.51.100.1 \
                 203.0.113.1 :: ff02::1 2001:db8::1 3fff:fff::1 ::ffff:0.0.0.0 \
                 ::ffff:255.255.255.255",
            ),
        ];
        for (zone, ips) in zones {
            for ip in ips.split_whitespace() {
                assert_eq!(Zone::of(ip.parse().unwrap()), zone, "{ip}");
            }
        }
    }

    /// Each of these was taken for the open internet.
    #[test]
    fn n7_translated_tunnelled_and_special_addresses_are_not_in_the_open() {
        let zones = [
            // A translator of the owner's network makes 10.0.0.1 and 127.0.0.1 of the first two.
            (
                Some(Zone::Private),
                "64:ff9b:1::a00:1 64:ff9b:1:fffe::7f00:1 192.0.0.1 192.0.0.170 198.18.0.1 \
                 198.19.255.255 2001:2::1 2001:0:808:808:0:0:f5ff:fffe 64:ff9b::c000:1",
            ),
            (Some(Zone::Loopback), "2001:0:808:808:0:0:80ff:fffe"),
            (None, "100::1 2001:0:808:808:0:0:ffff:ffff"),
            (
                Some(Zone::Public),
                "2001:0:808:808:0:0:f7f7:f7f7 192.0.1.1 198.17.0.1 198.20.0.1 2001:200::1",
            ),
        ];
        for (zone, ips) in zones {
            for ip in ips.split_whitespace() {
                assert_eq!(Zone::of(ip.parse().unwrap()), zone, "{ip}");
            }
        }
    }

    /// Every machine of a home has an IPv6 address of its own in the open.
    #[test]
    fn n7_our_own_prefix_and_address_are_not_in_the_open() {
        let own = [
            Host::V4(Ipv4Addr::new(45, 0, 0, 1)),
            Host::V6Prefix(0x2600_0000_0000_0001),
        ];
        let stranger = STRANGER.at(own.map(Some));
        let near = [
            "2600:0:0:1::1",
            "2600:0:0:1:ffff::2",
            "45.0.0.1",
            "::ffff:45.0.0.1",
        ];
        for ip in near {
            let tracker = stranger.tracker(at(ip, 8_080), Some("/announce"));
            let zone = Zone::Private;
            let ip = at(ip, 1).ip().to_canonical();
            assert_eq!(tracker, Err(ReachError::Near { ip, zone }));
            assert!(stranger.peer(SocketAddr::new(ip, 6_881)).is_err(), "{ip}");
            let redirected = stranger.behind(at("8.8.8.8", 80));
            assert!(redirected.peer(SocketAddr::new(ip, 6_881)).is_err(), "{ip}");
            let typed = stranger.typed(true).behind(at("2600:0:0:1::9", 80));
            assert!(
                typed.peer(SocketAddr::new(ip, 6_881)).is_ok(),
                "as near as it is"
            );
        }
        for ip in ["2600:0:0:2::1", "45.0.0.2"] {
            assert_eq!(stranger.peer(at(ip, 6_881)), Ok(()));
        }
        // Asked again, only what is known now is another.
        let moved = stranger.at([None, Some(Host::V6Prefix(0x2600_0000_0000_0002))]);
        assert!(moved.peer(at("2600:0:0:1::1", 6_881)).is_ok());
        assert!(moved.peer(at("2600:0:0:2::1", 6_881)).is_err());
        assert!(moved.peer(at("45.0.0.1", 6_881)).is_err());
    }

    #[test]
    fn a_stranger_names_trackers_in_the_open_at_ports_of_trackers() {
        for port in [80, 443, 1_024, 6_969, 65_535] {
            assert_eq!(STRANGER.tracker(at("8.8.8.8", port), Some("/x")), Ok(()));
        }
        for port in [0, 22, 25, 53, 79, 1_023] {
            let refused = Err(ReachError::Port(port));
            assert_eq!(STRANGER.tracker(at("8.8.8.8", port), None), refused);
        }
        for ip in ["127.0.0.1", "::ffff:10.1.2.3", "fe80::1", "0.0.0.0"] {
            assert!(
                STRANGER.tracker(at(ip, 6_969), Some("/announce")).is_err(),
                "{ip}"
            );
        }
        let near = STRANGER.tracker(at("192.168.1.2", 80), None).unwrap_err();
        assert_eq!(
            near.to_string(),
            "refused: 192.168.1.2 is a private address; add it with --tracker to allow it"
        );
    }

    #[test]
    fn the_owner_names_any_tracker_but_does_not_speak_for_it() {
        let owner = STRANGER.typed(true);
        let tracker = at("192.168.1.2", 25);
        assert_eq!(owner.tracker(tracker, Some("/x")), Ok(()));
        assert!(owner.tracker(at("0.0.0.0", 80), None).is_err());
        // As near as the tracker is, and no nearer.
        let named = owner.behind(tracker);
        assert_eq!(named.peer(at("192.168.1.3", 6_881)), Ok(()));
        assert_eq!(named.peer(at("8.8.8.8", 6_881)), Ok(()));
        assert_eq!(named.peer(at("8.8.8.8", 25)), Err(ReachError::Port(25)));
        assert!(named.peer(at("127.0.0.1", 6_881)).is_err());
        assert!(
            named
                .tracker(at("127.0.0.1", 8_080), Some("/announce"))
                .is_err()
        );
        assert!(
            named
                .tracker(at("192.168.1.2", 8_080), Some("/admin"))
                .is_err()
        );
        assert_eq!(
            named.tracker(at("192.168.1.2", 8_080), Some("/announce")),
            Ok(())
        );
        assert!(
            STRANGER
                .behind(at("8.8.8.8", 80))
                .peer(at("10.0.0.1", 6_881))
                .is_err()
        );
    }

    #[test]
    fn a_node_that_listens_only_nearby_is_at_home_there() {
        let zone = |ips: &[&str]| Zone::of_all(ips.iter().map(|ip| ip.parse().unwrap()));
        assert_eq!(zone(&["127.0.0.1", "::1"]), Zone::Loopback);
        assert_eq!(zone(&["127.0.0.1", "10.0.0.1"]), Zone::Private);
        assert_eq!(zone(&["127.0.0.1", "0.0.0.0"]), Zone::Public);
        assert_eq!(zone(&[]), Zone::Public);
        let at_home = Reach::new(Zone::Loopback);
        assert_eq!(
            at_home.tracker(at("127.0.0.1", 8_080), Some("/announce?x")),
            Ok(())
        );
        assert!(at_home.tracker(at("127.0.0.1", 8_080), Some("/x")).is_err());
        assert!(at_home.tracker(at("127.0.0.1", 22), None).is_err());
        assert!(at_home.peer(at("127.0.0.1", 22)).is_err());
    }
}
