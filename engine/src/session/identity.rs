//! Who is whom: two connections that name one client id.
//!
//! A client id is a name that anybody can copy from a handshake, and AUTH can be passed on. So
//! whoever comes from another host takes nobody's place and needs none of this: both stay. At one
//! host a name throws nobody out either: only a key that both connections have proven
//! (docs/PROTOCOL.md, AUTH) shows that they end at one node, or that both ends dialled each other
//! just now.

use seedbank_ledger::{Duration, Instant, NodeId};

use crate::discovery::host::Host;
use crate::session::Session;
use crate::session::peer::{Link, Peer};
use crate::units::{ClientId, PeerIndex, TorrentId};

/// Who has said nothing for so long is gone: clients say something every two minutes (BEP 3).
const SILENT_MAX: Duration = Duration::from_secs(130);
/// Two ends dial each other before either knows of the other's dial, so within so long.
const CROSSING_MAX: Duration = Duration::from_secs(10);
/// Time to prove a key, for a connection that names a client id which is here already.
const PROOF_MAX: Duration = Duration::from_secs(10);

/// A connection whose handshake just came, and names a client id that is here.
#[derive(Clone, Copy, Debug)]
struct Newcomer {
    incoming: bool,
    host: Host,
    /// Its client id is larger than ours.
    is_larger: bool,
    /// It can prove a key.
    may_prove: bool,
}

/// The connection that named it first.
#[derive(Clone, Copy, Debug)]
struct Incumbent {
    incoming: bool,
    host: Host,
    is_proven: bool,
    /// Since its handshake.
    age: Duration,
    /// Since it said anything.
    silence: Duration,
}

/// What is done about it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Precedence {
    /// The newcomer takes the incumbent's place.
    Replaces,
    /// Both stay: nothing says that they are one.
    Beside,
    /// Both stay for now: the newcomer has to prove a key.
    ToProve,
    /// The newcomer goes.
    Refused,
}

/// What comes of a newcomer that names client ids which are here.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Meeting {
    /// It may come in. These go for it.
    Comes(Vec<PeerIndex>),
    /// It may come in, and has to prove a key until then.
    MustProve(Instant),
    /// It goes.
    Goes,
}

impl Session {
    /// What comes of a peer that names this client id.
    pub(super) fn meets(
        &self,
        peer: PeerIndex,
        torrent_id: TorrentId,
        named: (ClientId, bool),
        now: Instant,
    ) -> Meeting {
        let (client_id, extended) = named;
        let torrent = &self.torrents[&torrent_id];
        let entry = &self.peers[&peer];
        let newcomer = Newcomer {
            incoming: entry.incoming,
            host: Host::of(entry.addr.ip()),
            is_larger: client_id.0 > torrent.own_name.client_id.0,
            may_prove: extended && self.receipt_offer(torrent).is_some(),
        };
        let mut replaced = Vec::new();
        for (other, link) in self.named(torrent_id, client_id, peer) {
            let incumbent = Incumbent {
                incoming: other.incoming,
                host: Host::of(other.addr.ip()),
                is_proven: self.market.peer(other.index).node_id.is_some(),
                age: now.since(link.met_at),
                silence: now.since(link.heard_at),
            };
            match claim(newcomer, incumbent) {
                Precedence::Replaces => replaced.push(other.index),
                Precedence::Beside => {}
                Precedence::ToProve => return Meeting::MustProve(now.after(PROOF_MAX)),
                Precedence::Refused => return Meeting::Goes,
            }
        }
        Meeting::Comes(replaced)
    }

    /// A key is proven: of two connections of one node to one torrent, one goes, if both are of one
    /// host. One of another host may be a relay's, who passes AUTH on (docs/PROTOCOL.md §8).
    pub(super) fn proved(&mut self, peer: PeerIndex, key: NodeId) {
        let Some(entry) = self.peers.get_mut(&peer) else {
            return;
        };
        let (Some(torrent_id), Some(link)) = (entry.torrent_id, entry.live_mut()) else {
            return;
        };
        link.prove_until = None;
        let client_id = link.client_id;
        let same = self
            .named_alike(torrent_id, client_id, peer)
            .map(|(other, _)| other.index)
            .find(|other| self.market.peer(*other).node_id == Some(key));
        let Some(same) = same else { return };
        let (older, newer) = (peer.min(same), peer.max(same));
        let incoming = [older, newer].map(|one| self.peers[&one].incoming);
        let own = self
            .torrents
            .get(&torrent_id)
            .map(|own| own.own_name.client_id);
        let is_larger = own.is_some_and(|own| client_id.0 > own.0);
        // Of two that one side dialled, the newer: it knows of the older, and dialled all the same.
        let newer_stays = incoming[0] == incoming[1] || incoming[1] == is_larger;
        let goes = if newer_stays { older } else { newer };
        self.close(goes, "connected twice");
    }

    /// Closes whoever named a client id that is still here, and proved no key in time.
    pub(super) fn end_claims(&mut self, now: Instant) {
        let due = |link: &Link| link.prove_until.is_some_and(|until| until <= now);
        let due = self
            .peers
            .values()
            .filter(|peer| peer.live().is_some_and(due));
        for peer in due.map(|peer| peer.index).collect::<Vec<_>>() {
            let entry = self.peers.get_mut(&peer).expect("just seen");
            let (Some(torrent_id), Some(link)) = (entry.torrent_id, entry.live_mut()) else {
                continue;
            };
            link.prove_until = None;
            let client_id = link.client_id;
            let is_double = self
                .named_alike(torrent_id, client_id, peer)
                .next()
                .is_some();
            if is_double {
                self.close(peer, "connected twice, or names another's client id");
            }
        }
    }

    /// Live connections of a torrent, but for `peer`, that name this client id.
    fn named(
        &self,
        torrent_id: TorrentId,
        client_id: ClientId,
        peer: PeerIndex,
    ) -> impl Iterator<Item = (&Peer, &Link)> {
        let torrent = self.torrents.get(&torrent_id);
        let peers = torrent.into_iter().flat_map(|torrent| &torrent.peers);
        let peers = peers.filter_map(|index| self.peers.get(index));
        let live = peers.filter_map(|other| Some((other, other.live()?)));
        live.filter(move |(other, link)| other.index != peer && link.client_id == client_id)
    }

    /// The same of the host of `peer`.
    fn named_alike(
        &self,
        torrent_id: TorrentId,
        client_id: ClientId,
        peer: PeerIndex,
    ) -> impl Iterator<Item = (&Peer, &Link)> {
        let host = |of: &Peer| Host::of(of.addr.ip());
        let own = self.peers.get(&peer).map(host);
        self.named(torrent_id, client_id, peer)
            .filter(move |(other, _)| Some(host(other)) == own)
    }
}

fn claim(newcomer: Newcomer, incumbent: Incumbent) -> Precedence {
    let crosses = newcomer.incoming != incumbent.incoming;
    if incumbent.silence >= SILENT_MAX {
        Precedence::Replaces
    } else if newcomer.host != incumbent.host {
        // As Transmission does. libtorrent lets the larger id's dial win wherever it comes from,
        // and with it whoever chose that id.
        Precedence::Beside
    } else if crosses && incumbent.age < CROSSING_MAX && !incumbent.is_proven {
        // Both sides must choose the same, so this is libtorrent's rule: the one stays that the
        // larger client id dialled.
        match newcomer.incoming == newcomer.is_larger {
            true => Precedence::Replaces,
            false => Precedence::Refused,
        }
    } else if newcomer.may_prove {
        Precedence::ToProve
    } else {
        Precedence::Refused
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const NEWCOMER: Newcomer = Newcomer {
        incoming: true,
        host: Host::V4(std::net::Ipv4Addr::new(192, 0, 2, 1)),
        is_larger: true,
        may_prove: false,
    };
    const INCUMBENT: Incumbent = Incumbent {
        incoming: false,
        host: Host::V4(std::net::Ipv4Addr::new(192, 0, 2, 1)),
        is_proven: false,
        age: Duration::from_secs(1),
        silence: Duration::from_secs(1),
    };

    #[test]
    fn dials_that_cross_leave_what_the_larger_id_dialled() {
        assert_eq!(claim(NEWCOMER, INCUMBENT), Precedence::Replaces);
        let smaller = Newcomer {
            is_larger: false,
            ..NEWCOMER
        };
        assert_eq!(claim(smaller, INCUMBENT), Precedence::Refused);
    }

    #[test]
    fn nobody_else_is_thrown_out_by_a_name() {
        let came_too = Incumbent {
            incoming: true,
            ..INCUMBENT
        };
        let known = Incumbent {
            age: Duration::from_secs(10),
            ..INCUMBENT
        };
        let proven = Incumbent {
            is_proven: true,
            ..INCUMBENT
        };
        for incumbent in [came_too, known, proven] {
            assert_eq!(
                claim(NEWCOMER, incumbent),
                Precedence::Refused,
                "{incumbent:?}"
            );
            let prover = Newcomer {
                may_prove: true,
                ..NEWCOMER
            };
            assert_eq!(
                claim(prover, incumbent),
                Precedence::ToProve,
                "{incumbent:?}"
            );
            let dead = Incumbent {
                silence: SILENT_MAX,
                ..incumbent
            };
            assert_eq!(claim(NEWCOMER, dead), Precedence::Replaces, "{incumbent:?}");
        }
    }
    #[test]
    fn a_name_says_nothing_of_who_comes_from_elsewhere() {
        for is_proven in [false, true] {
            let elsewhere = Incumbent {
                host: Host::V4(std::net::Ipv4Addr::new(192, 0, 2, 2)),
                is_proven,
                ..INCUMBENT
            };
            assert_eq!(claim(NEWCOMER, elsewhere), Precedence::Beside);
            let dead = Incumbent {
                silence: SILENT_MAX,
                ..elsewhere
            };
            assert_eq!(claim(NEWCOMER, dead), Precedence::Replaces);
        }
    }
}
