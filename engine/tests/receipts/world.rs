//! The world of the model: nodes, streams between them, a settlement node, time, and the truth that
//! the nodes' books are held against after every step.

use std::collections::{BTreeMap, VecDeque};

use seedbank_engine::credit::output::{CreditOutput, Errand, Notice};
use seedbank_engine::credit::receipts::limits::Window;
use seedbank_engine::credit::receipts::{Granted, Opened, Service};
use seedbank_engine::rng::Rng;
use seedbank_engine::units::{Block, Geometry, PeerIndex, TorrentId};
use seedbank_engine::wire::extended::ReceiptOffer;
use seedbank_engine::wire::receipt::{MESSAGE_LEN_MAX, ReceiptMessage, SyncEntry};
use seedbank_ledger::charts::node::NodeCommand;
use seedbank_ledger::signed::lock::LockId;
use seedbank_ledger::signed::receipt::SignedReceipt;
use seedbank_ledger::{Bytes, Duration, Instant, NodeId, Rate, RawCost, UnixTime};

use crate::copies::{Copies, Owed};
use crate::node::{Ask, Node, Out, Peer, Play, Wire};
use crate::plays::Whims;
use crate::settlement::Settlement;

/// A window small enough that a few pieces fill it, and a few windows what is lent to all keys.
pub(crate) const WINDOW: Window = Window {
    min: Bytes::new(96 * 1024),
    max: Bytes::new(96 * 1024),
    bonus_max: Bytes::new(64 * 1024),
};
pub(crate) const PIECE_LEN_MAX: u32 = 49_152;
pub(crate) const LOCK_TTL_SECS: u64 = 3_600;
const STARTED_AT: u64 = 1_700_000_000;

pub(crate) struct Torrent {
    pub(crate) torrent_id: TorrentId,
    pub(crate) geometry: Geometry,
}

/// One connection: two streams, each end with its own view of whether it is alive.
pub(crate) struct Link {
    pub(crate) ends: [usize; 2],
    pub(crate) torrent_id: TorrentId,
    pub(crate) alive: [bool; 2],
    /// What is under way to each end.
    pub(crate) to: [VecDeque<Wire>; 2],
}

/// What really happened, by payer and payee.
#[derive(Default)]
pub(crate) struct Truth {
    /// Price of every block that was verified, counted again if it was had again.
    pub(crate) verified: BTreeMap<(NodeId, NodeId), RawCost>,
    /// Copies that are due, and those that are not.
    pub(crate) copies: Copies,
    /// Highest amount ever signed on each lock.
    pub(crate) signed: BTreeMap<LockId, (NodeId, NodeId, u64)>,
    /// Bytes granted in the paid class, less those taken back, since the payee's last start.
    pub(crate) granted: BTreeMap<(NodeId, NodeId), u64>,
    /// Bytes that left a paid seat for less than its price.
    pub(crate) underpriced: u64,
    /// Times that a payer began to back off at a payee.
    pub(crate) back_offs: BTreeMap<(NodeId, NodeId), (bool, u64)>,
}

pub(crate) struct World {
    pub(crate) rng: Rng,
    pub(crate) now: Instant,
    pub(crate) settlement: Settlement,
    pub(crate) nodes: Vec<Node>,
    pub(crate) links: BTreeMap<PeerIndex, Link>,
    pub(crate) torrents: Vec<Torrent>,
    pub(crate) truth: Truth,
    pub(crate) next_link: u64,
    /// Blocks in a thousand that arrive spoilt.
    pub(crate) spoilt_per_mille: u64,
    /// Outputs that the node now draining still gets done before it crashes.
    pub(crate) crash_after: Option<usize>,
    pub(crate) blocks_paid: u64,
    /// Blocks granted in the open class: without a bid, without the paid class, and on a seat that
    /// is not quoted yet.
    pub(crate) blocks_open: [u64; 3],
    /// Times that a block had to wait in a paid seat.
    pub(crate) blocks_waited: u64,
    /// Blocks rejected because they were asked for below the price of the seat.
    pub(crate) blocks_underbid: u64,
}

impl World {
    /// Nodes, and two torrents of about `pieces` pieces.
    pub(crate) fn new(rng_seed: u64, plays: &[Play], pieces: u64) -> Self {
        let mut rng = Rng::new(rng_seed);
        let mut settlement = Settlement::new();
        let network = settlement.network;
        let mut nodes: Vec<Node> = (1..)
            .zip(plays)
            .map(|(secret, play)| Node::new(secret, *play, network, WINDOW))
            .collect();
        for node in &mut nodes {
            node.whims = Whims::draw(&mut rng, plays, node.play);
            settlement.grant(node.id(), node.whims.credit);
        }
        let torrents = (0..2)
            .map(|index| {
                let piece_len = [32_768, PIECE_LEN_MAX][rng.index(2)];
                let half = pieces * u64::from(piece_len) / 2;
                let len = half + 1 + rng.below(half);
                Torrent {
                    torrent_id: TorrentId([index; 20]),
                    geometry: Geometry::new(len, piece_len).expect("a torrent has a length"),
                }
            })
            .collect();
        let mut world = Self {
            rng,
            now: Instant::ZERO,
            settlement,
            nodes,
            links: BTreeMap::new(),
            torrents,
            truth: Truth::default(),
            next_link: 0,
            spoilt_per_mille: 0,
            crash_after: None,
            blocks_paid: 0,
            blocks_open: [0; 3],
            blocks_waited: 0,
            blocks_underbid: 0,
        };
        let unix = world.unix();
        for node in &mut world.nodes {
            node.start(network, WINDOW, Instant::ZERO, unix);
        }
        world
    }

    pub(crate) fn unix(&self) -> UnixTime {
        UnixTime::from_secs(STARTED_AT + self.now.as_nanos() / 1_000_000_000)
    }

    pub(crate) fn geometry(&self, torrent_id: TorrentId) -> Geometry {
        let torrent = self.torrents.iter().find(|t| t.torrent_id == torrent_id);
        torrent.expect("links are of known torrents").geometry
    }

    /// Gives a node every piece of a torrent.
    pub(crate) fn seed(&mut self, node: usize, torrent: usize) {
        let torrent = &self.torrents[torrent];
        for piece in torrent.geometry.pieces() {
            self.nodes[node].has((torrent.torrent_id, piece));
        }
    }

    pub(crate) fn is_complete(&self, node: usize) -> bool {
        let mut torrents = self.torrents.iter();
        torrents.all(|torrent| {
            let mut pieces = torrent.geometry.pieces();
            pieces.all(|piece| self.nodes[node].have.contains(&(torrent.torrent_id, piece)))
        })
    }

    /// Lets time pass, each node waking when it wants to.
    pub(crate) fn pass(&mut self, time: Duration) {
        let end = self.now.after(time);
        for _ in 0..20_000 {
            let wakes = self.nodes.iter().filter_map(|n| n.exchange.next_timeout());
            let held = self.nodes.iter().filter_map(|n| n.late.front());
            let next = wakes.chain(held.map(|(at, _, _)| *at)).min();
            let Some(next) = next.filter(|next| *next <= end) else {
                self.now = end;
                self.settlement.expire(self.unix());
                return;
            };
            self.now = self.now.max(next);
            for index in 0..self.nodes.len() {
                self.nodes[index].exchange.tick(self.now);
                self.send_held(index);
                self.drain(index);
            }
            self.count_back_offs();
        }
        panic!("a node wakes for ever");
    }

    fn send_held(&mut self, index: usize) {
        let now = self.now;
        let node = &mut self.nodes[index];
        while let Some((at, peer, message)) = node.late.pop_front() {
            if at > now {
                node.late.push_front((at, peer, message));
                return;
            }
            if let Some(peer) = node.peers.get_mut(&peer) {
                peer.out.push_back(Out::Wire(Wire::Receipt(message)));
            }
        }
    }

    /// Carries out what a node's exchange asks for. True if it crashed in the middle.
    pub(crate) fn drain(&mut self, index: usize) -> bool {
        while let Some(output) = self.nodes[index].exchange.poll_output() {
            if let Some(left) = &mut self.crash_after {
                if *left == 0 {
                    self.crash_after = None;
                    self.crash(index);
                    return true;
                }
                *left -= 1;
            }
            self.carry_out(index, output);
        }
        self.crash_after = None;
        false
    }

    fn carry_out(&mut self, index: usize, output: CreditOutput) {
        let node = &mut self.nodes[index];
        match output {
            CreditOutput::Send { peer, message } => self.say(index, peer, message),
            CreditOutput::Tally(rows) => node.apply(rows),
            CreditOutput::Append(NodeCommand::WriteOff { peer, bytes }) => {
                *node.written_off.entry(peer).or_default() += bytes.get();
            }
            CreditOutput::Append(NodeCommand::ChannelSummary(summary)) => {
                let shares: u64 = summary.attribution.iter().map(|a| a.amount.get()).sum();
                assert!(shares <= summary.receipt.body.amount.get());
            }
            CreditOutput::Append(NodeCommand::Settled(_)) => {}
            CreditOutput::Errand(errand) => match errand {
                Errand::AskLock(lock_id) => node.asks.push_back(Ask::Status(lock_id)),
                Errand::Claim(claim) => node.asks.push_back(Ask::Claim(Box::new(claim))),
                Errand::CloseLock(lock_id) => node.asks.push_back(Ask::Close(lock_id)),
                Errand::Spent { amount, .. } => node.spent += amount.get(),
                Errand::LockTold(_)
                | Errand::ClaimCertified { .. }
                | Errand::ClaimRegressed(_)
                | Errand::OpenLock { .. }
                | Errand::TopUp { .. }
                | Errand::EndLock { .. }
                | Errand::KeepLock { .. }
                | Errand::Bid { .. } => unreachable!("no errand of an exchange"),
            },
            CreditOutput::Settle { .. } => unreachable!("an exchange asks nobody"),
            CreditOutput::Event(_) => {}
            CreditOutput::Notice(notice) => match notice {
                Notice::Suspended(_) => node.suspended += 1,
                Notice::Misbehaved { .. } => node.misbehaved += 1,
                Notice::Ready(peer) if self.rng.chance(3, 4) => {
                    let rate = self.some_rate();
                    let now = self.now;
                    self.nodes[index].exchange.place_bid(peer, rate, now);
                }
                Notice::Proven { .. }
                | Notice::Ready(_)
                | Notice::Quoted { .. }
                | Notice::Relieved(_)
                | Notice::LockChanged(_)
                | Notice::Bidding { .. } => {}
            },
        }
    }

    /// Puts a message on its stream, as the node's play will have it.
    fn say(&mut self, index: usize, peer: PeerIndex, message: ReceiptMessage) {
        self.note_signed(index, &message);
        let drop_it = self.rng.chance(1, 2);
        let (fate, wait) = match self.nodes[index].play {
            Play::Flips if self.rng.chance(self.nodes[index].whims.keeps_percent, 100) => (0, 0),
            Play::Fickle => (self.rng.below(4), self.rng.below(100)),
            _ => (2, 0),
        };
        let node = &mut self.nodes[index];
        let Some(state) = node.peers.get_mut(&peer) else {
            return;
        };
        match &message {
            ReceiptMessage::Bid(rate) => state.bid_said = *rate,
            ReceiptMessage::Quote(quote) => state.quote_said = Service::of(quote),
            ReceiptMessage::Hello(_)
            | ReceiptMessage::Auth(_)
            | ReceiptMessage::Sync(_)
            | ReceiptMessage::Lock(_)
            | ReceiptMessage::Receipt(_)
            | ReceiptMessage::Close { .. }
            | ReceiptMessage::Tip { .. }
            | ReceiptMessage::Error { .. } => {}
        }
        let encoded = message.encode();
        assert!(encoded.len() <= MESSAGE_LEN_MAX);
        let decoded = ReceiptMessage::decode(&encoded).expect("an encoded message is one");
        assert_eq!(decoded, message);
        let is_mute = matches!(
            node.play,
            Play::NeverPays | Play::Drips | Play::Parks | Play::Rekeys
        );
        let message = match (node.play, message) {
            (_, ReceiptMessage::Receipt(_)) if is_mute => return,
            (_, ReceiptMessage::Close { lock_id, .. }) if is_mute => ReceiptMessage::Close {
                lock_id,
                newest: None,
            },
            (play, ReceiptMessage::Sync(entries)) if is_mute || play == Play::LyingSync => {
                let entries = entries.into_iter().map(without_receipt).collect();
                ReceiptMessage::Sync(entries)
            }
            (Play::LyingSync, ReceiptMessage::Receipt(_)) if drop_it => return,
            (Play::PaysLate, message @ ReceiptMessage::Receipt(_)) => {
                let at = self.now.after(Duration::from_secs(70));
                node.late.push_back((at, peer, message));
                return;
            }
            (Play::Fickle | Play::Flips, message @ ReceiptMessage::Receipt(_)) => match fate {
                0 => return,
                1 => {
                    let at = self.now.after(Duration::from_secs(wait));
                    let at = node.late.back().map_or(at, |(last, _, _)| at.max(*last));
                    node.late.push_back((at, peer, message));
                    return;
                }
                _ => message,
            },
            (_, message) => message,
        };
        let state = node.peers.get_mut(&peer).expect("looked up above");
        state.out.push_back(Out::Wire(Wire::Receipt(message)));
    }

    pub(crate) fn note_signed(&mut self, index: usize, message: &ReceiptMessage) {
        let me = self.nodes[index].id();
        let receipts: Vec<SignedReceipt> = match message {
            ReceiptMessage::Receipt(receipt) => vec![*receipt],
            ReceiptMessage::Close { newest, .. } => newest.iter().copied().collect(),
            ReceiptMessage::Sync(entries) => {
                entries.iter().filter_map(|entry| entry.sent).collect()
            }
            ReceiptMessage::Hello(_)
            | ReceiptMessage::Auth(_)
            | ReceiptMessage::Bid(_)
            | ReceiptMessage::Quote(_)
            | ReceiptMessage::Lock(_)
            | ReceiptMessage::Tip { .. }
            | ReceiptMessage::Error { .. } => Vec::new(),
        };
        for receipt in receipts {
            let lock = self.settlement.locks.values().find(|status| {
                status.lock.body.payer == me
                    && status.lock.body.channel().id() == receipt.body.channel_id
            });
            let Some(lock) = lock.map(|status| status.lock.body) else {
                continue;
            };
            let entry = self.truth.signed.entry(lock.lock_id);
            let entry = entry.or_insert((lock.payer, lock.payee, 0));
            entry.2 = entry.2.max(receipt.body.amount.get());
        }
    }

    /// Connects two nodes for a torrent.
    pub(crate) fn connect(&mut self, ends: [usize; 2], torrent_id: TorrentId) -> PeerIndex {
        let peer = PeerIndex(self.next_link);
        self.next_link += 1;
        let fast = !self.rng.chance(1, 12);
        let link = Link {
            ends,
            torrent_id,
            alive: [true; 2],
            to: [VecDeque::new(), VecDeque::new()],
        };
        self.links.insert(peer, link);
        let piece_len = self.geometry(torrent_id).piece_len();
        for side in 0..2 {
            let (index, remote) = (ends[side], ends[1 - side]);
            let key = self.nodes[remote].id();
            let node = &mut self.nodes[index];
            let state = Peer::new(remote, key, torrent_id, fast);
            node.peers.insert(peer, state);
            let opened = Opened {
                peer,
                torrent_id,
                piece_len,
                offer: ReceiptOffer { version: 1 },
                fast,
            };
            node.exchange.open(opened);
            self.drain(index);
        }
        peer
    }

    /// One end closes, or notices that the other has.
    pub(crate) fn close(&mut self, peer: PeerIndex, side: usize) {
        let Some(link) = self.links.get_mut(&peer) else {
            return;
        };
        if !link.alive[side] {
            return;
        }
        link.alive[side] = false;
        link.to[side].clear();
        let index = link.ends[side];
        if self.rng.chance(1, 2) {
            // What was under way dies with the socket.
            let link = self.links.get_mut(&peer).expect("looked up above");
            link.to[1 - side].clear();
        }
        let Some(state) = self.nodes[index].peers.get_mut(&peer) else {
            return;
        };
        let unsent: Vec<Out> = state.out.drain(..).collect();
        for out in unsent {
            if let Out::Block(block, Granted::Paid(rate), _) = out {
                self.take_back(index, peer, block, rate);
            }
        }
        self.finish_close(index, peer);
    }

    /// A paid grant that did not leave.
    pub(crate) fn take_back(&mut self, index: usize, peer: PeerIndex, block: Block, rate: Rate) {
        let payer = self.nodes[index].peers[&peer].key;
        let pair = (payer, self.nodes[index].id());
        let granted = self.truth.granted.entry(pair).or_default();
        *granted = granted.saturating_sub(u64::from(block.len));
        let node = &mut self.nodes[index];
        node.exchange.ungrant(peer, block.len, rate, self.now);
        self.drain(index);
    }

    fn finish_close(&mut self, index: usize, peer: PeerIndex) {
        let now = self.now;
        let node = &mut self.nodes[index];
        node.disconnected(peer, now);
        node.peers.remove(&peer);
        for lease in node.leases.values_mut() {
            if lease.holder == Some(peer) {
                lease.holder = None;
            }
        }
        self.drain(index);
        let link = &self.links[&peer];
        if link.alive == [false, false] {
            self.links.remove(&peer);
        }
    }

    /// A node dies and starts again: what was not written is lost, and every connection.
    pub(crate) fn crash(&mut self, index: usize) {
        self.restart(index);
    }

    /// A node starts again from an older backup of its books; its files are as they were.
    pub(crate) fn restore(&mut self, index: usize) {
        let node = &mut self.nodes[index];
        if node.backups.is_empty() {
            return;
        }
        let which = self.rng.index(node.backups.len());
        node.store = node.backups[which].clone();
        node.restored = true;
        self.restart(index);
    }

    pub(crate) fn restart(&mut self, index: usize) {
        let peers: Vec<PeerIndex> = self.nodes[index].peers.keys().copied().collect();
        for peer in peers {
            let Some(link) = self.links.get_mut(&peer) else {
                continue;
            };
            let side = usize::from(link.ends[1] == index);
            link.alive[side] = false;
            link.to[side].clear();
            if link.alive == [false, false] {
                self.links.remove(&peer);
            }
        }
        let (network, unix) = (self.settlement.network, self.unix());
        let me = self.nodes[index].id();
        self.truth.granted.retain(|(_, payee), _| *payee != me);
        self.nodes[index].start(network, WINDOW, self.now, unix);
        // The session learns of its own locks before it spends (docs/RULES.md, S4).
        let own: Vec<LockId> = self
            .settlement
            .locks
            .values()
            .filter(|status| status.lock.body.payer == me)
            .map(|status| status.lock.body.lock_id)
            .collect();
        for lock_id in own {
            self.nodes[index].asks.push_front(Ask::Status(lock_id));
        }
        self.drain(index);
    }

    /// What stream order says is verified now is owed by everybody's reckoning.
    pub(crate) fn count_verified(&mut self, index: usize, owed: &[Owed]) {
        let me = self.nodes[index].id();
        for block in owed {
            let raw = self.truth.verified.entry((me, block.payee)).or_default();
            *raw = raw.saturating_add(block.rate.raw_cost(block.len));
            self.truth.copies.verified(me, block);
            if !block.rate.is_zero() {
                self.blocks_paid += 1;
            }
        }
    }
}

fn without_receipt(entry: SyncEntry) -> SyncEntry {
    match entry.lock_id {
        None => entry,
        Some(_) => SyncEntry {
            sent: None,
            held: None,
            ..entry
        },
    }
}

impl Peer {
    fn new(remote: usize, key: NodeId, torrent_id: TorrentId, fast: bool) -> Self {
        Self {
            remote,
            key,
            torrent_id,
            fast,
            out: VecDeque::new(),
            bid_said: Rate::ZERO,
            quote_said: Service::Open,
            unchoked: false,
            seat: None,
            queue: VecDeque::new(),
            unchoked_us: false,
            requested: Vec::new(),
        }
    }
}
