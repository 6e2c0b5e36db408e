//! Two exchanges and a settlement node, message by message: for traces that want no randomness.
//!
//! The payer is node 1, the payee node 2; what each asks for is carried out at once, except
//! messages of a connection that is held.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::sync::Arc;

use seedbank_engine::asked::BlockFate;
use seedbank_engine::credit::event::CreditEvent;
use seedbank_engine::credit::output::{CreditOutput, Errand, Notice};
use seedbank_engine::credit::receipts::limits::Window;
use seedbank_engine::credit::receipts::pair::PairView;
use seedbank_engine::credit::receipts::{Granted, Opened, Service, Violation};
use seedbank_engine::units::{BLOCK_LEN, Block, PeerIndex, PieceIndex, TorrentId};
use seedbank_engine::wire::extended::ReceiptOffer;
use seedbank_engine::wire::receipt::ReceiptMessage;
use seedbank_ledger::charts::node::NodeCommand;
use seedbank_ledger::signed::lock::LockId;
use seedbank_ledger::statement::LockStatus;
use seedbank_ledger::{Bytes, Duration, Identity, Instant, NodeId, Rate, UnixTime};

use crate::node::{Node, Play};
use crate::settlement::Settlement;

pub(crate) const PAYER: usize = 0;
pub(crate) const PAYEE: usize = 1;
pub(crate) const TORRENT: TorrentId = TorrentId([5; 20]);
pub(crate) const PIECE_LEN: u32 = 4 * BLOCK_LEN;
/// A block costs 16 µcr at this rate.
pub(crate) const RATE: Rate = Rate::new(1 << 20);
pub(crate) const BLOCK_COST: u64 = 16;
const STARTED_AT: u64 = 1_700_000_000;

pub(crate) struct Duo {
    pub(crate) nodes: [Node; 2],
    pub(crate) settlement: Settlement,
    pub(crate) now: Instant,
    pub(crate) window: Window,
    /// Messages under way, by connection and receiver.
    pub(crate) wire: BTreeMap<(PeerIndex, usize), VecDeque<ReceiptMessage>>,
    /// Connections whose messages to this node stay under way.
    pub(crate) held: BTreeSet<(PeerIndex, usize)>,
    /// Whether the settlement node answers the payee.
    pub(crate) reachable: bool,
    /// Closes that are on their way to the settlement node; `None`: each is there at once.
    pub(crate) closes: Option<Vec<LockId>>,
    /// Claims that were made.
    pub(crate) claims: u64,
    pub(crate) violations: Vec<Violation>,
    pub(crate) notices: Vec<(usize, Notice)>,
    pub(crate) events: Vec<(usize, CreditEvent)>,
    pub(crate) entries: Vec<(usize, NodeCommand)>,
    /// Kinds of outputs in the order in which they came.
    pub(crate) order: Vec<&'static str>,
    pub(crate) sent: Vec<(usize, ReceiptMessage)>,
    next_peer: u64,
}

impl Duo {
    pub(crate) fn new() -> Self {
        Self::with_window(Window::V1)
    }

    pub(crate) fn with_window(window: Window) -> Self {
        let settlement = Settlement::new();
        let mut duo = Self {
            nodes: [1, 2].map(|n| Node::new(n, Play::Honest, settlement.network, window)),
            settlement,
            now: Instant::ZERO,
            window,
            wire: BTreeMap::new(),
            held: BTreeSet::new(),
            reachable: true,
            closes: None,
            claims: 0,
            violations: Vec::new(),
            notices: Vec::new(),
            events: Vec::new(),
            entries: Vec::new(),
            order: Vec::new(),
            sent: Vec::new(),
            next_peer: 0,
        };
        duo.settlement.grant(duo.id(PAYER), 1_000_000_000);
        duo.restart(PAYER);
        duo.restart(PAYEE);
        duo
    }

    /// Connected, funded with `amount`, bid placed and in the paid class.
    pub(crate) fn paid(amount: u64) -> (Self, PeerIndex, LockId) {
        let mut duo = Self::new();
        let lock_id = duo.fund(amount);
        let peer = duo.connect();
        duo.bid(peer, RATE);
        duo.quote(peer);
        (duo, peer, lock_id)
    }

    pub(crate) fn id(&self, node: usize) -> NodeId {
        self.nodes[node].id()
    }

    pub(crate) fn unix(&self) -> UnixTime {
        UnixTime::from_secs(STARTED_AT + self.now.as_nanos() / 1_000_000_000)
    }

    /// What the payee knows of the payer.
    pub(crate) fn payee(&self) -> PairView {
        let view = self.nodes[PAYEE].exchange.pair(self.id(PAYER));
        view.expect("they have met")
    }

    /// What the payer knows of the payee.
    pub(crate) fn payer(&self) -> PairView {
        let view = self.nodes[PAYER].exchange.pair(self.id(PAYEE));
        view.expect("they have met")
    }

    pub(crate) fn connect(&mut self) -> PeerIndex {
        self.connect_for(TORRENT, PIECE_LEN)
    }

    pub(crate) fn connect_for(&mut self, torrent_id: TorrentId, piece_len: u32) -> PeerIndex {
        let peer = self.open(torrent_id, piece_len);
        self.pump();
        peer
    }

    /// Opens a connection; its messages stay under way until `pump`.
    pub(crate) fn open(&mut self, torrent_id: TorrentId, piece_len: u32) -> PeerIndex {
        let peer = PeerIndex(self.next_peer);
        self.next_peer += 1;
        for node in [PAYER, PAYEE] {
            let opened = Opened {
                peer,
                torrent_id,
                piece_len,
                offer: ReceiptOffer { version: 1 },
                fast: true,
            };
            self.nodes[node].exchange.open(opened);
        }
        peer
    }

    pub(crate) fn close(&mut self, peer: PeerIndex) {
        for node in [PAYER, PAYEE] {
            self.wire.remove(&(peer, node));
            self.nodes[node].disconnected(peer, self.now);
        }
        self.pump();
    }

    /// Opens a lock and tells the payer, as its session would.
    pub(crate) fn fund(&mut self, amount: u64) -> LockId {
        let status = self.open_lock(amount);
        self.tell(PAYER, &status);
        status.lock.body.lock_id
    }

    pub(crate) fn open_lock(&mut self, amount: u64) -> LockStatus {
        let (payer, payee, unix) = (self.id(PAYER), self.id(PAYEE), self.unix());
        let status = self.settlement.open(payer, payee, amount, 3_600, unix);
        status.expect("there is credit and no live lock")
    }

    pub(crate) fn tell(&mut self, node: usize, status: &LockStatus) {
        self.nodes[node].exchange.lock_status(status, self.now);
        self.pump();
    }

    pub(crate) fn bid(&mut self, peer: PeerIndex, rate: Rate) {
        self.nodes[PAYER].exchange.place_bid(peer, rate, self.now);
        self.pump();
    }

    pub(crate) fn quote(&mut self, peer: PeerIndex) {
        self.nodes[PAYEE]
            .exchange
            .set_quote(peer, Service::PAY_AS_BID);
        self.pump();
    }

    /// A block of the torrent: requested, granted, delivered and stored. One that waits is
    /// cancelled, one below the price rejected.
    pub(crate) fn take(&mut self, peer: PeerIndex, piece: u32, index: u32) -> Granted {
        let block = block(piece, index);
        let granted = self.grant(peer, block);
        if matches!(granted, Granted::Paid(_) | Granted::Open) {
            self.arrive(peer, block);
        }
        granted
    }

    /// A block that is requested and granted and never arrives, unless it is not granted.
    pub(crate) fn grant(&mut self, peer: PeerIndex, block: Block) -> Granted {
        self.nodes[PAYER].request(peer, block, PIECE_LEN);
        let payee = &mut self.nodes[PAYEE].exchange;
        let bid = payee.bid(peer);
        let granted = payee.grant(peer, block.len, bid, self.now);
        if matches!(granted, Granted::Waits | Granted::Underbid) {
            self.nodes[PAYER].refused(peer, block, self.now);
        }
        self.pump();
        granted
    }

    pub(crate) fn arrive(&mut self, peer: PeerIndex, block: Block) {
        self.nodes[PAYER].block_came(peer, block, BlockFate::Stored, false, self.now);
        self.pump();
    }

    pub(crate) fn verify(&mut self, piece: u32) {
        let piece = PieceIndex::unchecked(piece);
        let payer = &mut self.nodes[PAYER].exchange;
        payer.verified(TORRENT, piece, self.now);
        self.pump();
        self.pass_ms(100);
    }

    /// A whole piece, delivered and verified; returns how many of its blocks were paid.
    pub(crate) fn piece(&mut self, peer: PeerIndex, piece: u32) -> usize {
        let blocks = PIECE_LEN / BLOCK_LEN;
        let granted: Vec<Granted> = (0..blocks).map(|n| self.take(peer, piece, n)).collect();
        self.verify(piece);
        granted
            .iter()
            .filter(|granted| matches!(granted, Granted::Paid(_)))
            .count()
    }

    pub(crate) fn say(&mut self, from: usize, peer: PeerIndex, message: ReceiptMessage) {
        self.wire
            .entry((peer, 1 - from))
            .or_default()
            .push_back(message);
        self.pump();
    }

    /// Lets time pass; everybody wakes when it wants to.
    pub(crate) fn pass(&mut self, secs: u64) {
        self.pass_ms(secs * 1_000);
    }

    pub(crate) fn pass_ms(&mut self, ms: u64) {
        let end = self.now.after(Duration::from_millis(ms));
        loop {
            let wakes = self.nodes.iter().filter_map(|n| n.exchange.next_timeout());
            let Some(next) = wakes.min().filter(|next| *next <= end) else {
                break;
            };
            self.now = self.now.max(next);
            for node in &mut self.nodes {
                node.exchange.tick(self.now);
            }
            self.pump();
        }
        self.now = end;
        self.settlement.expire(self.unix());
    }

    /// The payer under a key that nobody knows, with the credit that is free.
    pub(crate) fn rekey(&mut self, number: u8) {
        let before = self.id(PAYER);
        let payer = &mut self.nodes[PAYER];
        payer.identity = Arc::new(Identity::from_secret([number; 32]));
        payer.store.clear();
        let key = payer.id();
        self.settlement.hand_over(before, key);
        self.restart(PAYER);
    }

    pub(crate) fn restart(&mut self, node: usize) {
        self.wire.clear();
        let (network, unix) = (self.settlement.network, self.unix());
        self.nodes[node].start(network, self.window, self.now, unix);
        self.pump();
    }

    /// Delivers and carries out until nothing is left to do.
    pub(crate) fn pump(&mut self) {
        loop {
            let mut idle = true;
            for node in [PAYER, PAYEE] {
                while let Some(output) = self.nodes[node].exchange.poll_output() {
                    idle = false;
                    self.carry_out(node, output);
                }
                self.nodes[node].exchange.check_invariants();
            }
            let free = self
                .wire
                .iter()
                .find(|(to, queue)| !self.held.contains(to) && !queue.is_empty())
                .map(|(to, _)| *to);
            if let Some(to) = free {
                idle = false;
                let message = self.wire.get_mut(&to).and_then(VecDeque::pop_front);
                let message = message.expect("it is not empty");
                let (peer, node) = to;
                let exchange = &mut self.nodes[node].exchange;
                if let Err(violation) = exchange.handle(peer, message, self.now) {
                    self.violations.push(violation);
                }
            }
            if idle {
                return;
            }
        }
    }

    fn carry_out(&mut self, node: usize, output: CreditOutput) {
        match output {
            CreditOutput::Send { peer, message } => {
                self.order.push("send");
                self.sent.push((node, message.clone()));
                let queue = self.wire.entry((peer, 1 - node)).or_default();
                queue.push_back(message);
            }
            CreditOutput::Tally(rows) => {
                self.order.push("tally");
                self.nodes[node].apply(rows);
            }
            CreditOutput::Append(entry) => self.entries.push((node, entry)),
            CreditOutput::Errand(errand) => self.run(node, errand),
            CreditOutput::Notice(notice) => self.notices.push((node, notice)),
            CreditOutput::Event(event) => self.events.push((node, event)),
            CreditOutput::Settle { .. } => unreachable!("an exchange asks nobody"),
        }
    }

    fn run(&mut self, node: usize, errand: Errand) {
        let me = self.id(node);
        match errand {
            Errand::AskLock(lock_id) => {
                let status = self.settlement.status(lock_id);
                if let Some(status) = status.filter(|_| self.reachable) {
                    self.nodes[node].exchange.lock_status(&status, self.now);
                }
            }
            Errand::Claim(claim) => {
                self.claims += 1;
                if self.reachable && self.settlement.is_regressed(&claim) {
                    let lock_id = claim.body.lock_id;
                    let exchange = &mut self.nodes[node].exchange;
                    exchange.claim_regressed(lock_id, self.now);
                } else if self.reachable
                    && let Some(status) = self.settlement.claim(&claim)
                {
                    self.nodes[node].exchange.lock_status(&status, self.now);
                }
            }
            Errand::CloseLock(lock_id) => {
                if let Some(closes) = &mut self.closes {
                    closes.push(lock_id);
                } else if let Some(status) = self.settlement.close(me, lock_id) {
                    for other in &mut self.nodes {
                        other.exchange.lock_status(&status, self.now);
                    }
                }
            }
            Errand::Spent { amount, .. } => self.nodes[node].spent += amount.get(),
            Errand::LockTold(_)
            | Errand::ClaimCertified { .. }
            | Errand::ClaimRegressed(_)
            | Errand::OpenLock { .. }
            | Errand::TopUp { .. }
            | Errand::EndLock { .. }
            | Errand::KeepLock { .. }
            | Errand::Bid { .. } => unreachable!("no errand of an exchange"),
        }
    }
}

pub(crate) fn block(piece: u32, index: u32) -> Block {
    Block {
        piece: PieceIndex::unchecked(piece),
        begin: index * BLOCK_LEN,
        len: BLOCK_LEN,
    }
}

pub(crate) fn bytes(blocks: u64) -> Bytes {
    Bytes::new(blocks * u64::from(BLOCK_LEN))
}
