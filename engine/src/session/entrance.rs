//! Who may come in, and who goes for it: connections counted by what they have shown and by where
//! they come from.
//!
//! A connection that others opened is *pending* until its handshake is here. Pending ones have a
//! bound of their own, so that sockets which say nothing take no peer's place. What is done about a
//! verdict is in `connect.rs` (docs/RULES.md, connections).

use std::cmp::Reverse;
use std::collections::{BTreeMap, BTreeSet};

use seedbank_ledger::Duration;

use crate::discovery::host::Host;
use crate::units::PeerIndex;

/// Connections of one IPv4 address, pending ones included.
pub(crate) const V4_CONNECTIONS_MAX: usize = 8;
/// The same of one IPv6 /64.
pub(crate) const V6_CONNECTIONS_MAX: usize = 16;
/// Pending connections that are allowed however few peers are.
pub(crate) const PENDING_MIN: usize = 32;
/// One of so many places is for connections that we dial.
const RESERVE_SHARE: usize = 4;
/// Who moved payload within so long keeps its place.
pub(crate) const IDLE_MIN: Duration = Duration::from_secs(120);

/// Counts every connection that nobody is closing.
#[derive(Debug)]
pub(crate) struct Entrance {
    connections_max: usize,
    guests: BTreeMap<PeerIndex, Guest>,
    /// Connections of each host.
    crowds: BTreeMap<Host, usize>,
    /// Pending ones of each host, the oldest first; those of this machine are one.
    pending: BTreeMap<Host, BTreeSet<PeerIndex>>,
    pending_count: usize,
    /// Not pending, and opened by others.
    incoming_count: usize,
}

#[derive(Clone, Copy, Debug)]
struct Guest {
    host: Host,
    stage: GuestState,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum GuestState {
    Pending,
    Incoming,
    Dialled,
}

/// Whether there is a place for one more whose handshake is here.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Room {
    /// There is.
    Free,
    /// Only if one that others opened goes: the rest is for those that we dial.
    ForIncoming,
    /// Only if anybody goes.
    ForAny,
}

/// What is known of a peer that might have to go.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Usefulness {
    pub(crate) peer: PeerIndex,
    /// Connections of its host.
    pub(crate) crowd: usize,
    /// Since payload moved, or since it came.
    pub(crate) idle: Duration,
    /// Neither wants anything of the other.
    pub(crate) is_useless: bool,
    /// It has something that we want.
    pub(crate) is_wanted: bool,
}

impl Entrance {
    pub(crate) fn new(connections_max: usize) -> Self {
        Self {
            connections_max,
            guests: BTreeMap::new(),
            crowds: BTreeMap::new(),
            pending: BTreeMap::new(),
            pending_count: 0,
            incoming_count: 0,
        }
    }

    /// Somebody connected, and is pending from now. Who has to go for it, maybe itself: of a host
    /// with too many, its oldest that is pending; if too many are pending, the oldest of the host
    /// that has most of them.
    pub(crate) fn knocked(&mut self, peer: PeerIndex, host: Host) -> Option<PeerIndex> {
        let is_crowded = !self.may_join(host);
        self.enter(peer, host, GuestState::Pending);
        if is_crowded {
            return self.pending.get(&host).and_then(|of| of.first()).copied();
        }
        if self.pending_count <= pending_max(self.connections_max) {
            return None;
        }
        let most = |of: &&BTreeSet<PeerIndex>| (of.len(), Reverse(of.first().copied()));
        self.pending.values().max_by_key(most)?.first().copied()
    }

    /// A dial succeeded. `false` if there is no place for it.
    pub(crate) fn dialled(&mut self, peer: PeerIndex, host: Host) -> bool {
        let has_place = self.may_join(host) && self.met_count() < self.connections_max;
        self.enter(peer, host, GuestState::Dialled);
        has_place
    }

    /// The handshake of one that was pending is here.
    pub(crate) fn met(&mut self, peer: PeerIndex) {
        let Some(guest) = self.guests.get_mut(&peer) else {
            return;
        };
        if guest.stage == GuestState::Pending {
            guest.stage = GuestState::Incoming;
            let host = guest.host;
            self.no_longer_pending(peer, host);
            self.incoming_count += 1;
        }
    }

    /// A connection is being closed, or gone. No effect the second time.
    pub(crate) fn left(&mut self, peer: PeerIndex) {
        let Some(guest) = self.guests.remove(&peer) else {
            return;
        };
        match guest.stage {
            GuestState::Pending => self.no_longer_pending(peer, guest.host),
            GuestState::Incoming => self.incoming_count -= 1,
            GuestState::Dialled => {}
        }
        if let Some(count) = self.crowds.get_mut(&guest.host) {
            *count -= 1;
            if *count == 0 {
                self.crowds.remove(&guest.host);
            }
        }
    }

    /// Whether a host may have one more connection.
    pub(crate) fn may_join(&self, host: Host) -> bool {
        let max = match host {
            Host::Here => return true,
            Host::V4(_) => V4_CONNECTIONS_MAX,
            Host::V6Prefix(_) => V6_CONNECTIONS_MAX,
        };
        self.crowd(host) < max
    }

    /// Connections of a host; each one of this machine's own counts by itself.
    pub(crate) fn crowd(&self, host: Host) -> usize {
        match host {
            Host::Here => 1,
            _ => self.crowds.get(&host).copied().unwrap_or(0),
        }
    }

    /// Whether one more that is pending may stay.
    pub(crate) fn room(&self) -> Room {
        let reserve = self.connections_max / RESERVE_SHARE;
        if self.incoming_count >= self.connections_max - reserve {
            Room::ForIncoming
        } else if self.met_count() >= self.connections_max {
            Room::ForAny
        } else {
            Room::Free
        }
    }

    /// Places that are left, for dials.
    pub(crate) fn free_count(&self) -> usize {
        self.connections_max.saturating_sub(self.met_count())
    }

    /// Asserts that everybody is counted once.
    pub(crate) fn check_invariants(&self) {
        let at = |stage| self.guests.values().filter(move |one| one.stage == stage);
        assert_eq!(
            at(GuestState::Incoming).count(),
            self.incoming_count,
            "those that came are counted"
        );
        let pending: usize = self.pending.values().map(BTreeSet::len).sum();
        assert_eq!(
            at(GuestState::Pending).count(),
            pending,
            "those that are pending are listed"
        );
        assert_eq!(pending, self.pending_count, "and counted");
        assert_eq!(
            self.guests.len(),
            self.crowds.values().sum::<usize>(),
            "everybody belongs to a host"
        );
    }

    /// Bounds that hold once everybody who had to go is gone.
    pub(crate) fn check_bounds(&self) {
        assert!(
            self.pending_count <= pending_max(self.connections_max),
            "pending connections are bounded"
        );
        assert!(
            self.met_count() <= self.connections_max,
            "connections are bounded"
        );
    }

    /// Connections that are not pending.
    fn met_count(&self) -> usize {
        self.guests.len() - self.pending_count
    }

    fn enter(&mut self, peer: PeerIndex, host: Host, stage: GuestState) {
        let before = self.guests.insert(peer, Guest { host, stage });
        assert!(before.is_none(), "nobody comes twice");
        *self.crowds.entry(host).or_default() += 1;
        if stage == GuestState::Pending {
            self.pending.entry(host).or_default().insert(peer);
            self.pending_count += 1;
        }
    }

    fn no_longer_pending(&mut self, peer: PeerIndex, host: Host) {
        self.pending_count -= 1;
        if let Some(of) = self.pending.get_mut(&host) {
            of.remove(&peer);
            if of.is_empty() {
                self.pending.remove(&host);
            }
        }
    }
}

/// Who of these goes for a newcomer whose host has `crowd` connections with it; `None` if all stay.
///
/// Nobody goes who moved payload within [`IDLE_MIN`]. Who came since then goes only for a newcomer
/// of a smaller crowd, so that many from few addresses cannot push out few from many.
pub(crate) fn least_useful(
    peers: impl Iterator<Item = Usefulness>,
    crowd: usize,
) -> Option<PeerIndex> {
    let may_go = |one: &Usefulness| one.idle >= IDLE_MIN || one.crowd > crowd;
    let rank = |one: &Usefulness| (one.is_useless, one.crowd, !one.is_wanted, one.idle);
    let worst = peers.filter(may_go).max_by_key(rank);
    worst.map(|one| one.peer)
}

/// Pending connections beside so many peers.
fn pending_max(connections_max: usize) -> usize {
    (connections_max / 2).max(PENDING_MIN)
}

#[cfg(test)]
mod tests;
