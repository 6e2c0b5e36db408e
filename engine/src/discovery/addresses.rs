//! Where a torrent's peers may be: addresses, when each was tried, and when to try again.
//!
//! Addresses come from the owner, from trackers and from magnets, and are hints, never facts. They
//! are tried in an order drawn here: were it their own, every node of a swarm would dial the same
//! few, and who can choose its address would be dialled first.

use std::cmp::Reverse;
use std::collections::{BTreeMap, BTreeSet};
use std::net::SocketAddr;

use seedbank_ledger::{Duration, Instant};

use crate::rng::Rng;

/// Most addresses kept for one torrent; further ones are ignored.
pub(crate) const ADDRESSES_MAX: usize = 2_000;
/// Wait before the second try of an address; doubles with each failure.
const RETRY_FIRST: Duration = Duration::from_secs(2);
/// Longest wait between two tries.
const RETRY_MAX: Duration = Duration::from_secs(600);
/// Failures after which an address that a tracker named is forgotten.
const FAILURES_MAX: u32 = 8;

/// Who named an address, the least trusted first. A further source is a further line.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum PeerSource {
    /// A tracker: forgotten after some failures.
    Tracker,
    /// The owner, or a magnet that they gave us: tried first and never forgotten.
    Owner,
}

/// The addresses of one torrent.
#[derive(Clone, Debug)]
pub(crate) struct Addresses {
    known: BTreeMap<SocketAddr, Address>,
    /// Draws the order.
    rng: Rng,
}

/// What is known of one address.
#[derive(Clone, Copy, Debug)]
struct Address {
    state: AddressState,
    failures: u32,
    /// The most trusted of those who named it.
    source: PeerSource,
    /// Its place among those that are as good.
    turn: u64,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum AddressState {
    /// May be dialled from this time on.
    Idle(Instant),
    /// A dial is under way.
    Dialling,
    /// A connection we dialled is up.
    Connected,
    /// This is ourselves.
    Own,
}

impl Addresses {
    /// None yet; `rng` draws the order in which they are tried.
    pub(crate) fn new(rng: Rng) -> Self {
        Self {
            known: BTreeMap::new(),
            rng,
        }
    }

    /// Remembers `addr`, which `source` named.
    pub(crate) fn add(&mut self, addr: SocketAddr, source: PeerSource) {
        let addr = canonical(addr);
        if addr.port() == 0 || addr.ip().is_unspecified() || addr.ip().is_multicast() {
            return;
        }
        if let Some(known) = self.known.get_mut(&addr) {
            known.source = known.source.max(source);
            return;
        }
        if source == PeerSource::Owner && self.known.len() >= ADDRESSES_MAX {
            self.make_room();
        }
        if self.known.len() < ADDRESSES_MAX {
            let state = AddressState::Idle(Instant::ZERO);
            self.known.insert(
                addr,
                Address {
                    state,
                    failures: 0,
                    source,
                    turn: self.rng.next_u64(),
                },
            );
        }
        assert!(self.known.len() <= ADDRESSES_MAX, "addresses are bounded");
    }

    /// Forgets the worst address that nobody is at and that the owner did not name.
    fn make_room(&mut self) {
        let is_idle = |address: &Address| matches!(address.state, AddressState::Idle(_));
        let worst = self
            .known
            .iter()
            .filter(|(_, address)| address.source != PeerSource::Owner && is_idle(address))
            .max_by_key(|(_, address)| (address.failures, address.turn))
            .map(|(addr, _)| *addr);
        if let Some(worst) = worst {
            self.known.remove(&worst);
        }
    }

    /// The next address to dial, if any is due; it counts as being dialled from now on.
    ///
    /// The owner's come first, then those that failed less often, then as drawn. Whoever listens
    /// at one of `here` is connected to us: it would hang up on a second connection, and some
    /// clients ban for one. Where `may_dial` says no, nobody is to be met now.
    pub(crate) fn take_due(
        &mut self,
        here: &BTreeSet<SocketAddr>,
        may_dial: impl Fn(SocketAddr) -> bool,
        now: Instant,
    ) -> Option<SocketAddr> {
        let due = |address: &Address| matches!(address.state, AddressState::Idle(at) if at <= now);
        let next = self
            .known
            .iter()
            .filter(|(addr, address)| due(address) && !here.contains(addr) && may_dial(**addr))
            .min_by_key(|(_, address)| (Reverse(address.source), address.failures, address.turn))
            .map(|(addr, _)| *addr)?;
        self.set(next, AddressState::Dialling);
        assert_ne!(next.port(), 0, "an address that is dialled has a port");
        assert!(!here.contains(&next), "nobody who is here is dialled");
        Some(next)
    }

    /// Whether any address may be dialled by now.
    pub(crate) fn is_due(&self, now: Instant) -> bool {
        let due = |address: &Address| matches!(address.state, AddressState::Idle(at) if at <= now);
        self.known.values().any(due)
    }

    /// When the next address may be dialled that may not be yet.
    pub(crate) fn next_due(&self, now: Instant) -> Option<Instant> {
        let ats = self
            .known
            .values()
            .filter_map(|address| match address.state {
                AddressState::Idle(at) => Some(at),
                AddressState::Dialling | AddressState::Connected | AddressState::Own => None,
            });
        ats.filter(|at| *at > now).min()
    }

    /// A dial succeeded.
    pub(crate) fn connected(&mut self, addr: SocketAddr) {
        self.set(addr, AddressState::Connected);
    }

    /// The connection did useful work: its past failures are forgotten.
    pub(crate) fn useful(&mut self, addr: SocketAddr) {
        if let Some(known) = self.known.get_mut(&canonical(addr)) {
            known.failures = 0;
        }
    }

    /// A dial failed, or a connection that we dialled ended.
    pub(crate) fn failed(&mut self, addr: SocketAddr, now: Instant) {
        let addr = canonical(addr);
        let Some(known) = self.known.get_mut(&addr) else {
            return;
        };
        if known.state == AddressState::Own {
            return;
        }
        known.failures = known.failures.saturating_add(1);
        if known.failures > FAILURES_MAX && known.source != PeerSource::Owner {
            self.known.remove(&addr);
            return;
        }
        let doublings = known.failures.saturating_sub(1).min(10);
        let wait = RETRY_FIRST.times(1 << doublings).min(RETRY_MAX);
        known.state = AddressState::Idle(now.after(wait));
    }

    /// Behind this address is ourselves: never again.
    pub(crate) fn is_own(&mut self, addr: SocketAddr) {
        self.set(addr, AddressState::Own);
    }

    /// Every address may be tried again at once: the torrent was started. Where somebody is being
    /// dialled or still connected, that has to end first.
    pub(crate) fn reset(&mut self) {
        for address in self.known.values_mut() {
            address.failures = 0;
            if let AddressState::Idle(at) = &mut address.state {
                *at = Instant::ZERO;
            }
        }
    }

    /// Dials under way.
    pub(crate) fn dialling_count(&self) -> usize {
        self.known
            .values()
            .filter(|address| address.state == AddressState::Dialling)
            .count()
    }

    /// Addresses kept.
    #[cfg(test)]
    pub(crate) fn len(&self) -> usize {
        self.known.len()
    }

    fn set(&mut self, addr: SocketAddr, state: AddressState) {
        if let Some(known) = self.known.get_mut(&canonical(addr)) {
            known.state = state;
        }
    }
}

/// An IPv4-mapped IPv6 address as plain IPv4, so that one peer is one address.
fn canonical(addr: SocketAddr) -> SocketAddr {
    SocketAddr::new(addr.ip().to_canonical(), addr.port())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn nobody() -> BTreeSet<SocketAddr> {
        BTreeSet::new()
    }

    fn anywhere(_: SocketAddr) -> bool {
        true
    }

    fn addr(text: &str) -> SocketAddr {
        text.parse().unwrap()
    }

    #[test]
    fn an_address_that_fails_waits_twice_as_long_each_time() {
        let mut addresses = Addresses::new(Rng::new(1));
        addresses.add(addr("127.0.0.1:6881"), PeerSource::Tracker);
        let mut now = Instant::ZERO;
        let mut waits = Vec::new();
        for _ in 0..4 {
            let next = addresses.take_due(&nobody(), anywhere, now).unwrap();
            assert_eq!(
                addresses.take_due(&nobody(), anywhere, now),
                None,
                "it is being dialled"
            );
            addresses.failed(next, now);
            let second = Duration::from_secs(1);
            let start = now;
            while addresses
                .clone()
                .take_due(&nobody(), anywhere, now)
                .is_none()
            {
                now = now.after(second);
            }
            waits.push(now.since(start).as_secs());
        }
        assert_eq!(waits, [2, 4, 8, 16]);
    }

    #[test]
    fn addresses_that_are_as_good_are_tried_in_an_order_of_each_nodes_own() {
        let order = |rng_seed| {
            let mut addresses = Addresses::new(Rng::new(rng_seed));
            for port in 1..=200 {
                let addr = SocketAddr::from(([127, 0, 0, 1], port));
                addresses.add(addr, PeerSource::Tracker);
            }
            let due = || addresses.take_due(&nobody(), anywhere, Instant::ZERO);
            std::iter::from_fn(due).map(|addr| addr.port()).collect()
        };
        let [first, second]: [Vec<u16>; 2] = [order(1), order(2)];
        assert_eq!(first.len(), 200);
        assert_eq!(first, order(1), "the same again when replayed");
        let both = |of: &[u16], other: &[u16]| of.iter().filter(|one| other.contains(one)).count();
        // Of 50 out of 200, 12.5 are expected by chance, with a deviation of 2.7.
        let sorted: Vec<u16> = (1..=50).collect();
        for shared in [
            both(&first[..50], &second[..50]),
            both(&first[..50], &sorted),
        ] {
            assert!((2..=25).contains(&shared), "{shared}");
        }
    }

    #[test]
    fn only_the_owners_addresses_outlive_many_failures() {
        let mut addresses = Addresses::new(Rng::new(1));
        addresses.add(addr("127.0.0.1:1"), PeerSource::Owner);
        addresses.add(addr("127.0.0.1:2"), PeerSource::Tracker);
        for _ in 0..20 {
            addresses.failed(addr("127.0.0.1:1"), Instant::ZERO);
            addresses.failed(addr("127.0.0.1:2"), Instant::ZERO);
        }
        assert_eq!(
            addresses.take_due(&nobody(), anywhere, Instant::MAX),
            Some(addr("127.0.0.1:1"))
        );
        assert_eq!(addresses.take_due(&nobody(), anywhere, Instant::MAX), None);
    }

    #[test]
    fn mapped_and_plain_addresses_are_one() {
        let mut addresses = Addresses::new(Rng::new(1));
        addresses.add(addr("[::ffff:127.0.0.1]:7"), PeerSource::Tracker);
        addresses.add(addr("127.0.0.1:7"), PeerSource::Tracker);
        addresses.add(addr("127.0.0.1:0"), PeerSource::Tracker);
        assert_eq!(
            addresses.take_due(&nobody(), anywhere, Instant::ZERO),
            Some(addr("127.0.0.1:7"))
        );
        assert_eq!(addresses.take_due(&nobody(), anywhere, Instant::ZERO), None);
        addresses.is_own(addr("127.0.0.1:7"));
        addresses.failed(addr("127.0.0.1:7"), Instant::ZERO);
        assert_eq!(addresses.take_due(&nobody(), anywhere, Instant::MAX), None);
    }
}
