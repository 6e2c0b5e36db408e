//! Two sessions and a link between them: whatever breaks, the torrent completes.

use std::collections::BTreeMap;

use super::rig::{config, draft, millis};
use super::{Remote, Rig};
use crate::interface::config::SessionConfig;
use crate::interface::input::PeerEvent;
use crate::interface::output::Output;
use crate::interface::view::TorrentState;
use crate::rng::Rng;
use crate::units::{Block, PeerIndex, TorrentId};
use crate::wire::handshake::Handshake;
use crate::wire::message::Message;

/// What travels from one end to the other.
#[derive(Debug)]
enum Item {
    Handshake(Handshake),
    Message(Message),
    Block(Block),
    Fin,
}

/// Two nodes; what the one sends the other gets a step later.
struct Pair {
    rigs: [Rig; 2],
    /// Ends of connections: a peer at one node is which peer at the other.
    other_end: [BTreeMap<PeerIndex, PeerIndex>; 2],
    /// Under way to node 0 and node 1, per receiving peer in order.
    wire: [BTreeMap<PeerIndex, Vec<Item>>; 2],
    torrent: TorrentId,
    draw: Rng,
    /// Strip the Fast Extension from handshakes.
    fast: bool,
}

impl Pair {
    fn new(rng_seed: u64) -> Self {
        let whole = draft("shared", 1_500_007, 70_001);
        let config = |rng_seed| SessionConfig {
            rng_seed,
            lease_bytes_max: 300_000,
            ..config()
        };
        let mut rigs = [rng_seed, !rng_seed].map(|seed| Rig::with(config(seed)));
        let torrent = rigs[0].seed(&whole);
        rigs[1].leech(&whole);
        Self {
            rigs,
            other_end: Default::default(),
            wire: Default::default(),
            torrent,
            draw: Rng::new(rng_seed),
            fast: rng_seed.is_multiple_of(2),
        }
    }

    /// One node connects to the other.
    fn connect(&mut self) {
        let from = self.draw.index(2);
        let addr = ([127, 0, 0, 1], 7_000).into();
        let torrent_id = self.torrent;
        self.rigs[from].plane.dials.retain(|_| false);
        self.rigs[from].plane.dials.push((torrent_id, addr));
        let near = self.rigs[from].dialled();
        let far = self.rigs[1 - from].accept();
        self.other_end[from].insert(near, far);
        self.other_end[1 - from].insert(far, near);
        self.collect();
    }

    /// Puts what the nodes said on its way.
    fn collect(&mut self) {
        for from in 0..2 {
            for output in self.rigs[from].take() {
                self.carry(from, output);
            }
        }
    }

    fn carry(&mut self, from: usize, output: Output) {
        let (peer, items) = match output {
            Output::Handshake {
                peer, handshake, ..
            } => (peer, vec![Item::Handshake(handshake)]),
            Output::Send { peer, message } => (peer, vec![Item::Message(message)]),
            Output::Request { peer, blocks } => {
                let requests = blocks.into_iter().map(Message::Request).map(Item::Message);
                (peer, requests.collect())
            }
            Output::Cancel { peer, block } => (peer, vec![Item::Message(Message::Cancel(block))]),
            Output::Serve { peer, blocks } => (peer, blocks.into_iter().map(Item::Block).collect()),
            Output::Close { peer, .. } => (peer, vec![Item::Fin]),
            _ => return,
        };
        if let Some(far) = self.other_end[from].get(&peer) {
            self.wire[1 - from].entry(*far).or_default().extend(items);
        }
    }

    /// Delivers some of what is under way to one peer.
    fn deliver(&mut self) {
        let to = self.draw.index(2);
        let peers: Vec<PeerIndex> = self.wire[to].keys().copied().collect();
        if peers.is_empty() {
            return;
        }
        let peer = peers[self.draw.index(peers.len())];
        let mut items = self.wire[to].remove(&peer).expect("chosen from it");
        let count = 1 + self.draw.index(items.len().min(40));
        let rest = items.split_off(count.min(items.len()));
        if !rest.is_empty() {
            self.wire[to].insert(peer, rest);
        }
        let mut events = Vec::new();
        for item in items {
            match item {
                Item::Handshake(handshake) => {
                    let client_id = handshake.client_id;
                    let remote = Remote {
                        client_id,
                        fast: self.fast,
                        extended: true,
                    };
                    self.rigs[to].shake(peer, handshake.info_hash.into(), remote);
                }
                Item::Message(message) => events.push(PeerEvent::Message(message)),
                Item::Block(block) => {
                    if let Some(near) = self.other_end[to].get(&peer).copied() {
                        self.sent(1 - to, near);
                    }
                    let good = !self.draw.chance(1, 150);
                    let fate = self.rigs[to].plane.take_in(peer, block, good);
                    events.push(PeerEvent::Block { block, fate });
                }
                Item::Fin => {
                    self.hear(to, peer, std::mem::take(&mut events));
                    return self.cut(to, peer);
                }
            }
        }
        self.hear(to, peer, events);
    }

    fn hear(&mut self, to: usize, peer: PeerIndex, events: Vec<PeerEvent>) {
        if !events.is_empty() {
            self.rigs[to].hears(peer, events);
        }
        self.collect();
    }

    /// A block left a node.
    fn sent(&mut self, from: usize, peer: PeerIndex) {
        let wire = self.rigs[from]
            .plane
            .wires
            .get_mut(&peer)
            .expect("connected");
        let block = wire.serving.pop_front().expect("it was granted");
        self.rigs[from].input(crate::interface::input::Input::Sent {
            peer,
            bytes: block.len.into(),
            blocks: 1,
        });
    }

    /// A connection breaks: both ends hear of it, and nothing more gets through.
    fn cut(&mut self, node: usize, peer: PeerIndex) {
        let Some(far) = self.other_end[node].remove(&peer) else {
            return;
        };
        self.other_end[1 - node].remove(&far);
        self.wire[node].remove(&peer);
        self.wire[1 - node].remove(&far);
        self.rigs[node].close(peer);
        self.rigs[1 - node].close(far);
        self.collect();
    }

    fn cut_some(&mut self) {
        let peers: Vec<PeerIndex> = self.other_end[0].keys().copied().collect();
        if !peers.is_empty() {
            let peer = peers[self.draw.index(peers.len())];
            self.cut(0, peer);
        }
    }

    fn run(&mut self) {
        for step in 0..60_000 {
            if self.rigs[1].state(self.torrent) == TorrentState::Seeding {
                return;
            }
            match self.draw.below(40) {
                0 if self.other_end[0].len() < 3 => self.connect(),
                // Often at first, never in the end.
                1 if step < 6_000 && self.draw.chance(1, 10) => self.cut_some(),
                2..=5 => {
                    let wait = millis(self.draw.below(if step > 6_000 { 2_000 } else { 50 }));
                    for rig in &mut self.rigs {
                        rig.advance(wait);
                    }
                    self.collect();
                }
                6..=9 => {
                    self.rigs[1].hash_one();
                    self.collect();
                }
                _ => self.deliver(),
            }
        }
        let view = self.rigs[1].torrent(self.torrent);
        panic!("not complete: {view:?}");
    }
}

#[test]
fn a_torrent_completes_through_closes_bad_data_and_tight_buffers() {
    for rng_seed in 0..24 {
        Pair::new(rng_seed).run();
    }
}
