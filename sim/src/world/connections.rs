//! What happens between nodes: dials, what arrives, what was sent, what was measured, cuts.

use std::net::SocketAddr;

use seedbank_engine::interface::input::{FailureReason, Input, PeerEvent, Transport};
use seedbank_engine::interface::output::MEASURE_EVERY;
use seedbank_engine::units::{Block, TorrentId};
use seedbank_engine::wire::handshake::Handshake;
use seedbank_ledger::Instant;

use super::outputs::DISK_DELAY;
use super::{Event, World};
use crate::network::{End, LinkItem, LinkOutput, NodeIndex};
use crate::node::PieceProgress;

/// What came over a connection.
#[derive(Debug)]
enum Came {
    /// Something for its session.
    Event(PeerEvent),
    Handshake(Handshake),
    Fin,
}

impl World {
    pub(super) fn dial_later(&mut self, from: NodeIndex, torrent_id: TorrentId, addr: SocketAddr) {
        // Who is not there does not answer: it is nobody's way but our own.
        let to = self.by_addr.get(&addr).copied().unwrap_or(from);
        let at = self.queue.now().after(self.network.delay(from, to));
        let dial = Event::Dial {
            from,
            torrent_id,
            addr,
        };
        self.queue.push(at, dial);
    }

    pub(super) fn dial(&mut self, from: NodeIndex, torrent_id: TorrentId, addr: SocketAddr) {
        let now = self.queue.now();
        let listening = |node: &&NodeIndex| self.nodes[node.0].session.is_some();
        let Some(to) = self.by_addr.get(&addr).filter(listening).copied() else {
            return self.input(
                from,
                Input::DialFailed {
                    torrent_id,
                    addr,
                    reason: FailureReason::Refused,
                },
            );
        };
        let dialler_addr = self.nodes[from.0].addr;
        let ours = End {
            node: from,
            peer: self.nodes[from.0].meet(),
        };
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
        let at = now.after(self.network.delay(to, from));
        self.queue.push(at, Event::Input(from, Box::new(dialled)));
        let accepted = Input::Accepted {
            peer: theirs.peer,
            addr: dialler_addr,
            transport: Transport::Tcp,
        };
        self.input(to, accepted);
    }

    pub(super) fn send(&mut self, from: End, item: LinkItem) {
        self.network.send(from, item, self.queue.now());
    }

    /// Schedules what is to happen on lines, and tells nodes what they notice, until nobody
    /// notices anything. What came together is told together, as one read of a socket.
    pub(super) fn tend_links(&mut self) {
        let mut read: Option<(End, Vec<PeerEvent>)> = None;
        loop {
            while let Some((at, event)) = self.network.poll_timer() {
                self.queue.push(at, Event::Link(event));
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
                    self.cut(to, "closed by the peer");
                }
                (None, _) => self.received(read.take()),
            }
        }
    }

    /// What a connection's task makes of an item that arrived.
    fn data_plane(&mut self, to: End, item: LinkItem) -> Came {
        match item {
            LinkItem::Message(message) => {
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
                node: to.node,
                torrent_id,
                piece: block.piece,
                good,
            };
            self.queue.push(self.queue.now().after(DISK_DELAY), hashed);
        }
        event
    }

    /// Both sides lose a connection.
    pub(super) fn cut(&mut self, end: End, reason: &str) {
        let Some(other) = self.network.cut(end) else {
            return;
        };
        for end in [end, other] {
            self.nodes[end.node.0].connections.remove(&end.peer);
            let closed = Input::Closed {
                peer: end.peer,
                reason: reason.to_owned(),
                failure: None,
            };
            self.input(end.node, closed);
        }
    }

    /// Tells a session how its connections fare, if it still wants to know.
    pub(super) fn measure(&mut self, node: NodeIndex, now: Instant) {
        let target = &mut self.nodes[node.0];
        if target.measures_at != Some(now) {
            return;
        }
        let next = now.after(MEASURE_EVERY);
        target.measures_at = Some(next);
        self.queue.push(next, Event::Measure(node));
        let samples = self.network.sample(node, now);
        self.input(node, Input::Measured(samples));
    }
}
