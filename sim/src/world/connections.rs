//! What happens between nodes: dials, what arrives, what was sent, what was measured, cuts.

use std::net::SocketAddr;

use seedbank_engine::interface::input::{FailureReason, Input, PeerEvent, Transport};
use seedbank_engine::interface::output::MEASURE_EVERY;
use seedbank_engine::units::{Block, TorrentId};
use seedbank_engine::wire::handshake::Handshake;
use seedbank_ledger::{Duration, Instant};

use super::outputs::DISK_DELAY;
use super::{Event, World};
use crate::network::{End, LinkItem, LinkOutput, NodeIndex};
use crate::node::PieceProgress;
use crate::watch::LinkChange;

/// Longest time that a dial is late: whoever dials at one instant, nobody's dials come in the order
/// in which a world counts its nodes.
const DIAL_LATE_MAX: Duration = Duration::from_millis(1);

/// What came over a connection.
#[derive(Debug)]
enum Came {
    /// Something for its session.
    Event(PeerEvent),
    Handshake(Handshake),
    Fin,
}

/// A dial on its way.
#[derive(Debug)]
pub(super) struct Dialling {
    from: End,
    torrent_id: TorrentId,
    addr: SocketAddr,
}

impl World {
    pub(super) fn dial_later(&mut self, from: NodeIndex, torrent_id: TorrentId, addr: SocketAddr) {
        // Who is not there does not answer: it is nobody's way but our own.
        let to = self.by_addr.get(&addr).copied().unwrap_or(from);
        let way = self.network.delay(from, to);
        let dialler = &mut self.nodes[from.0];
        let late = Duration::from_nanos(dialler.dial_rng.below(DIAL_LATE_MAX.as_nanos()));
        let peer = dialler.meet();
        let at = self.now().after(way).after(late);
        let dialling = Dialling {
            from: End { node: from, peer },
            torrent_id,
            addr,
        };
        self.timetable
            .schedule(to, at, Event::Dial(Box::new(dialling)));
    }

    /// Somebody dials a node, or its own, as there is nobody.
    pub(super) fn dial(&mut self, to: NodeIndex, dialling: Dialling) {
        let Dialling {
            from: ours,
            torrent_id,
            addr,
        } = dialling;
        let now = self.now();
        let at = now.after(self.network.delay(to, ours.node));
        let is_there = self.nodes[to.0].addr == addr && self.nodes[to.0].session.is_some();
        if !is_there {
            let dialler = &mut self.nodes[ours.node.0];
            dialler.connections.remove(&ours.peer);
            let failed = Input::DialFailed {
                torrent_id,
                addr,
                reason: FailureReason::Refused,
            };
            return self.tell_at(ours.node, at, failed);
        }
        let theirs = End {
            node: to,
            peer: self.nodes[to.0].meet(),
        };
        self.network.connect(ours, theirs, now);
        let dialled = Input::Dialled {
            peer: ours.peer,
            torrent_id,
            addr,
            transport: Transport::Tcp,
        };
        self.tell_at(ours.node, at, dialled);
        let accepted = Input::Accepted {
            peer: theirs.peer,
            addr: self.nodes[ours.node.0].addr,
            transport: Transport::Tcp,
        };
        self.input(to, accepted);
    }

    pub(super) fn send(&mut self, from: End, item: LinkItem) {
        self.network.send(from, item, self.now());
    }

    /// Schedules what is to happen on lines, and tells nodes what they notice, until nobody
    /// notices anything. What came together is told together, as one read of a socket.
    pub(super) fn tend_links(&mut self) {
        let mut read: Option<(End, Vec<PeerEvent>)> = None;
        loop {
            while let Some((at, node, event)) = self.network.poll_timer() {
                self.timetable.schedule(node, at, Event::Link(event));
            }
            let output = self.network.poll_output();
            if output.is_none() && read.is_none() {
                return;
            }
            let came = match output {
                Some(LinkOutput::Delivered { to, item }) => Some((to, self.data_plane(to, item))),
                Some(LinkOutput::Written {
                    from,
                    bytes,
                    blocks,
                }) => {
                    self.received(read.take());
                    self.written(from, bytes, blocks);
                    continue;
                }
                Some(LinkOutput::Gone(end)) => {
                    self.received(read.take());
                    self.lost(end, "closed by the peer");
                    continue;
                }
                None => None,
            };
            match (came, &mut read) {
                (Some((to, Came::Event(event))), Some((end, events))) if *end == to => {
                    events.push(event);
                }
                (Some((to, Came::Event(event))), _) => {
                    self.received(read.take());
                    read = Some((to, vec![event]));
                }
                (Some((to, Came::Handshake(handshake))), _) => {
                    self.received(read.take());
                    self.handshake(to, handshake);
                }
                (Some((to, Came::Fin)), _) => {
                    self.received(read.take());
                    self.network.close(to, self.now());
                    self.lost(to, "closed by the peer");
                }
                (None, _) => self.received(read.take()),
            }
        }
    }

    /// What a connection's task makes of an item that arrived.
    fn data_plane(&mut self, to: End, item: LinkItem) -> Came {
        match item {
            LinkItem::Message(message) => {
                self.watch_heard(to, &message);
                self.nodes[to.node.0].heard(to.peer, &message);
                Came::Event(PeerEvent::Message(message))
            }
            LinkItem::Block { block, garbage } => {
                self.counts.blocks_arrived += 1;
                Came::Event(self.block(to, block, garbage))
            }
            LinkItem::Handshake(handshake) => Came::Handshake(*handshake),
            LinkItem::Fin => Came::Fin,
        }
    }

    fn written(&mut self, from: End, bytes: u64, blocks: u32) {
        self.watch(from, LinkChange::Sent(bytes));
        let sent = Input::Sent {
            peer: from.peer,
            bytes,
            blocks,
        };
        self.input(from.node, sent);
    }

    fn handshake(&mut self, to: End, handshake: Handshake) {
        self.nodes[to.node.0].met(to.peer, &handshake);
        let met = Input::Handshake {
            peer: to.peer,
            handshake,
        };
        self.input(to.node, met);
    }

    fn received(&mut self, read: Option<(End, Vec<PeerEvent>)>) {
        if let Some((to, events)) = read.filter(|(to, _)| self.network.is_connected(*to)) {
            let peer = to.peer;
            self.input(to.node, Input::Received { peer, events });
        }
    }

    fn block(&mut self, to: End, block: Block, garbage: bool) -> PeerEvent {
        let node = &mut self.nodes[to.node.0];
        let torrent_id = node
            .connections
            .get(&to.peer)
            .and_then(|peer| peer.torrent_id);
        let (event, progress) = node.receive(to.peer, block, garbage);
        let good = match progress {
            PieceProgress::Partial => return event,
            PieceProgress::Good => true,
            PieceProgress::Bad => false,
        };
        if let Some(torrent_id) = torrent_id {
            let hashed = Event::Hashed {
                torrent_id: Box::new(torrent_id),
                piece: block.piece,
                good,
            };
            self.timetable
                .schedule(to.node, self.now().after(DISK_DELAY), hashed);
        }
        event
    }

    /// Both sides lose a connection at once.
    pub(super) fn cut(&mut self, end: End, reason: &str) {
        for end in self.network.cut(end) {
            self.lost(end, reason);
        }
    }

    /// A node loses its end of a connection.
    fn lost(&mut self, end: End, reason: &str) {
        self.watch(end, LinkChange::Closed);
        self.nodes[end.node.0].connections.remove(&end.peer);
        let closed = Input::Closed {
            peer: end.peer,
            reason: reason.to_owned(),
            failure: None,
        };
        self.input(end.node, closed);
    }

    /// Tells a session how its connections fare, if it still wants to know.
    pub(super) fn measure(&mut self, node: NodeIndex, now: Instant) {
        let target = &mut self.nodes[node.0];
        if target.measures_at != Some(now) {
            return;
        }
        let next = now.after(MEASURE_EVERY);
        target.measures_at = Some(next);
        self.timetable.schedule(node, next, Event::Measure);
        let samples = self.network.sample(node, now);
        self.input(node, Input::Measured(samples));
    }
}
