//! Tells what is looked at in every run of what nodes hear, say and hand over.

use std::net::{IpAddr, Ipv4Addr, SocketAddr};

use seedbank_engine::interface::output::Output;
use seedbank_engine::wire::message::Message;

use super::World;
use crate::network::{End, NodeIndex};
use crate::watch::{LinkChange, WatchReport};

impl World {
    pub(super) fn watch_heard(&mut self, to: End, message: &Message) {
        match message {
            Message::Request(_) => self.watch(to, LinkChange::Asked),
            Message::Interested => self.watch(to, LinkChange::Interested(true)),
            Message::NotInterested => self.watch(to, LinkChange::Interested(false)),
            _ => {}
        }
    }

    /// Counts what a node says, and looks at it.
    pub(super) fn note_output(&mut self, node: NodeIndex, output: &Output) {
        self.counts.note(output);
        let (peer, change) = match output {
            Output::Serve { peer, blocks } => {
                let bytes = blocks.iter().map(|block| u64::from(block.len)).sum();
                let count = u32::try_from(blocks.len()).expect("a burst");
                (*peer, LinkChange::Granted(count, bytes))
            }
            Output::Send { peer, message } => match message {
                Message::Reject(_) => (*peer, LinkChange::Refused),
                Message::Unchoke => (*peer, LinkChange::Unchoked(true)),
                Message::Choke => (*peer, LinkChange::Unchoked(false)),
                _ => return,
            },
            _ => return,
        };
        self.watch(End { node, peer }, change);
    }

    pub(super) fn watch(&mut self, end: End, change: LinkChange) {
        let now = self.now();
        let node = &mut self.nodes[end.node.0];
        let session = node.session.as_ref().filter(|_| node.player.is_none());
        let connection = node.connections.get_mut(&end.peer);
        let Some((session, connection)) = session.zip(connection) else {
            return;
        };
        let before = connection.wish;
        connection.wish.apply(change);
        let after = connection.wish;
        let policy = session.policy();
        let waited = node.watch.turn(end.peer, [before, after], policy, now);
        let granted = match change {
            LinkChange::Granted(_, bytes) => bytes,
            _ => 0,
        };
        let limit = policy.upload_limit.filter(|_| !session.has_paid_seats());
        let stretch = node.watch.tend(limit, granted, now);
        if let Some(judged) = stretch {
            let say = || format!("{} at {now}", node.name);
            self.checks.stretch(judged, say);
        }
        if let Some(judged) = waited
            && (judged.holds() || self.is_alone(end))
        {
            let name = &self.nodes[end.node.0].name;
            let say = || format!("{name} kept somebody waiting until {now}");
            self.checks.wait(judged, say);
        }
    }

    /// Neighbours take turns as one: how long each waits is no matter of the choker's.
    fn is_alone(&self, end: End) -> bool {
        let session = self.nodes[end.node.0].session.as_ref();
        let peers = session.map_or_else(Vec::new, |session| session.peers(None));
        let other = peers.iter().find(|other| other.peer == end.peer);
        let Some(IpAddr::V4(ip)) = other.map(|other| other.addr.ip()) else {
            return false;
        };
        let first = Ipv4Addr::from_bits(ip.to_bits() & !0xff);
        let last = Ipv4Addr::from_bits(ip.to_bits() | 0xff);
        let [first, last] = [(first, 0), (last, u16::MAX)].map(SocketAddr::from);
        ip.is_private() || self.by_addr.range(first..=last).count() == 1
    }

    /// What was looked at came to this. Who still waits has waited until now.
    pub(crate) fn end_checks(&mut self) -> WatchReport {
        let now = self.now();
        for place in 0..self.nodes.len() {
            let node = &self.nodes[place];
            let Some(session) = node.session.as_ref().filter(|_| node.player.is_none()) else {
                continue;
            };
            let open = node.watch.open_waits(session.policy(), now);
            for (peer, judged) in open {
                let node = NodeIndex(place);
                if judged.holds() || self.is_alone(End { node, peer }) {
                    let name = &self.nodes[place].name;
                    let say = || format!("{name} kept somebody waiting to the end");
                    self.checks.wait(judged, say);
                }
            }
        }
        self.checks.clone()
    }
}
