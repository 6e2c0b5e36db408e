//! [`Exchange`]: the receipt protocol of one node, over all its peers, connections and torrents.
//!
//! The session drives it: it tells what happened, takes out what is to be done before it emits
//! anything of its own, and asks for views. The parts are in the folder: `opening` (HELLO, AUTH and
//! the dispatch of messages), `syncing` (SYNC and receipts), `locking` (LOCK, CLOSE and the
//! settlement node's word), `claiming` (what became of our claims), `forgetting`, `serving` (we are
//! the payee), `buying` (we are the payer), `turning` (what time asks for).

mod buying;
mod claiming;
mod forgetting;
mod locking;
mod opening;
mod serving;
mod syncing;
mod turning;

pub use buying::Delivered;
pub use opening::Opened;
pub use serving::Granted;

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::sync::Arc;

use seedbank_ledger::identity::SignatureScheme;
use seedbank_ledger::signed::channel::{Channel, ChannelKind};
use seedbank_ledger::signed::receipt::SignedReceipt;
use seedbank_ledger::tally::{ChannelRow, LockRow, PairRow, TallyRow};
use seedbank_ledger::{Bytes, Identity, Instant, NodeId, Rate, UnixTime};

use crate::credit::network::Network;
use crate::credit::output::{CreditOutput, Errand};
use crate::credit::receipts::acknowledgement::Acknowledgements;
use crate::credit::receipts::clock::{Now, TwoClocks};
use crate::credit::receipts::connection::{Connection, Opening};
use crate::credit::receipts::copies::Copies;
use crate::credit::receipts::earning::EarningLock;
use crate::credit::receipts::lending::Lending;
use crate::credit::receipts::limits::Window;
use crate::credit::receipts::lock_names::LockNames;
use crate::credit::receipts::open_pieces::PieceKey;
use crate::credit::receipts::pair::{Pair, PairView};
use crate::credit::receipts::payee::Payee;
use crate::credit::receipts::payer::Payer;
use crate::credit::receipts::paying::PayingLock;
use crate::credit::receipts::service::Service;
use crate::units::PeerIndex;
use crate::wire::receipt::ReceiptMessage;

/// What the owner decided about receipts; may change while the node runs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Terms {
    /// Take payment: quote the paid class.
    pub earn: bool,
    /// Bid for the paid class of others.
    pub spend: bool,
    /// Acknowledge open-class service.
    pub acknowledge: bool,
    /// Lowest price of a block in the paid class.
    pub rate_min: Rate,
}

/// What an exchange needs to know for its life.
#[derive(Clone, Debug)]
pub struct Setup {
    /// This node.
    pub identity: Arc<Identity>,
    /// Its network; without one there are acknowledgements only.
    pub network: Option<Network>,
    /// The owner's decisions.
    pub terms: Terms,
    /// Size of windows.
    pub window: Window,
    /// Another number at every start, so that no nonce is ever used twice.
    pub nonce_salt: u64,
}

/// The receipt protocol of one node.
#[derive(Debug)]
pub struct Exchange {
    setup: Setup,
    nonce_count: u64,
    clock: TwoClocks,
    /// Boxed: a map's nodes are half empty.
    pairs: BTreeMap<NodeId, Box<Pair>>,
    /// Connections on which no key is proven; `None` where none will be: those are plain.
    openings: BTreeMap<PeerIndex, Option<Opening>>,
    connections: BTreeMap<PeerIndex, Box<Connection>>,
    names: LockNames,
    lending: Lending,
    /// Blocks that came and whose piece is not verified, by piece.
    pieces: BTreeMap<PieceKey, Vec<Unverified>>,
    copies: Copies,
    outputs: VecDeque<CreditOutput>,
    wakes: Wakes,
}

/// A block that came and whose piece is not verified.
#[derive(Clone, Copy, Debug)]
struct Unverified {
    from: NodeId,
    len: Bytes,
    rate: Rate,
    /// Somebody had brought it.
    is_copy: bool,
}

/// When each pair wants to be looked at.
#[derive(Debug, Default)]
struct Wakes {
    by_key: BTreeMap<NodeId, Instant>,
    by_time: BTreeSet<(Instant, NodeId)>,
}

impl Exchange {
    /// An exchange whose pairs, locks and receipts are as `rows` say; rows of other kinds, networks
    /// and nodes are left alone. Locks are provisional until `lock_status` tells of them.
    pub fn new(setup: Setup, rows: &[TallyRow], at: Instant, unix: UnixTime) -> Self {
        let lending = Lending::new(setup.window.max, at);
        let clock = TwoClocks::new(Now { at, unix });
        let mut exchange = Self {
            setup,
            nonce_count: 0,
            clock,
            pairs: BTreeMap::new(),
            openings: BTreeMap::new(),
            connections: BTreeMap::new(),
            names: LockNames::default(),
            lending,
            pieces: BTreeMap::new(),
            copies: Copies::default(),
            outputs: VecDeque::new(),
            wakes: Wakes::default(),
        };
        exchange.load(rows, at);
        exchange
    }

    /// The wall clock at `at`, corrected by settlement time; at start and at least once a minute.
    pub fn set_clock(&mut self, at: Instant, unix: UnixTime) {
        self.clock = TwoClocks::new(Now { at, unix });
        let keys: Vec<NodeId> = self.wakes.by_key.keys().copied().collect();
        for key in keys {
            self.touch(key, at);
        }
    }

    /// The owner decided otherwise.
    pub fn set_terms(&mut self, terms: Terms) {
        self.setup.terms = terms;
    }

    /// The owner's terms in force.
    pub fn terms(&self) -> Terms {
        self.setup.terms
    }

    /// The next thing to do; `None` when there is none.
    pub fn poll_output(&mut self) -> Option<CreditOutput> {
        self.outputs.pop_front()
    }

    /// When [`Self::tick`] has something to do.
    pub fn next_timeout(&self) -> Option<Instant> {
        self.wakes.by_time.first().map(|(at, _)| *at)
    }

    /// This node's key.
    pub fn id(&self) -> NodeId {
        self.setup.identity.id()
    }

    /// The key behind a connection, once proven there.
    pub fn key_of(&self, peer: PeerIndex) -> Option<NodeId> {
        let connection = self.connections.get(&peer)?;
        connection.is_synced_by_us().then_some(connection.key)
    }

    /// The pair with a key; `None` if there never was anything between us.
    pub fn pair(&self, key: NodeId) -> Option<PairView> {
        self.pairs.get(&key).map(|pair| pair.view())
    }

    /// All pairs, by key.
    pub fn pairs(&self) -> impl Iterator<Item = (NodeId, PairView)> + '_ {
        self.pairs.iter().map(|(key, pair)| (*key, pair.view()))
    }

    /// Locks of ours, with what was signed on each.
    pub fn paying_locks(&self) -> impl Iterator<Item = &PayingLock> {
        self.pairs
            .values()
            .flat_map(|pair| pair.payer.locks.values())
    }

    /// Locks for us, with what was paid on each.
    pub fn earning_locks(&self) -> impl Iterator<Item = &EarningLock> {
        self.pairs
            .values()
            .flat_map(|pair| pair.payee.locks.values())
    }

    /// The rows as they stand, for tests and exports.
    pub fn rows(&self) -> Vec<TallyRow> {
        let mut rows = Vec::new();
        for pair in self.pairs.values() {
            rows.push(TallyRow::Pair(pair.row()));
            for lock in pair.payer.locks.values() {
                rows.push(TallyRow::Lock(lock.row()));
                rows.extend(receipt_row(lock.lock.body.channel(), lock.receipt.as_ref()));
            }
            for lock in pair.payee.locks.values() {
                let channel = lock.lock.body.channel();
                rows.push(TallyRow::Lock(lock.row()));
                rows.extend(receipt_row(channel, lock.incoming.held()));
            }
            let acks = &pair.acks;
            rows.extend(receipt_row(acks.our_channel(), acks.ours.receipt.as_ref()));
            rows.extend(receipt_row(acks.their_channel(), acks.theirs_kept()));
        }
        rows
    }

    /// Asserts what must hold between any two calls.
    pub fn check_invariants(&self) {
        self.lending.check_invariants();
        for (key, pair) in &self.pairs {
            assert_eq!(*key, pair.key, "a pair lies under its key");
            pair.payee.check_invariants();
            pair.payer.check_invariants();
            for peer in &pair.connections {
                let connection = self
                    .connections
                    .get(peer)
                    .expect("a pair's live connection");
                assert_eq!(connection.key, pair.key, "a connection has one key");
            }
        }
        for (peer, connection) in &self.connections {
            let pair = self.pairs.get(&connection.key);
            assert!(
                pair.is_some_and(|pair| pair.connections.contains(peer)),
                "a connection belongs to its pair"
            );
            assert!(
                !self.openings.contains_key(peer),
                "a key is proven or it is not"
            );
        }
        self.names.check_invariants();
        for (at, key) in &self.wakes.by_time {
            assert_eq!(
                self.wakes.by_key.get(key),
                Some(at),
                "a pair wakes when it wants to"
            );
        }
    }

    fn load(&mut self, rows: &[TallyRow], at: Instant) {
        let me = self.id();
        let now = self.clock.now(at);
        let receipts: BTreeMap<Channel, SignedReceipt> = rows
            .iter()
            .filter_map(|row| match row {
                TallyRow::Receipt(row) => Some((row.channel, row.receipt)),
                TallyRow::Pair(_)
                | TallyRow::Lock(_)
                | TallyRow::Order(_)
                | TallyRow::Boost { .. }
                | TallyRow::Gone(_) => None,
            })
            .collect();
        for row in rows {
            match row {
                TallyRow::Pair(row) => self.load_pair(row, at),
                TallyRow::Receipt(row) => {
                    self.load_acknowledgement(me, &row.channel, &receipts, at);
                }
                TallyRow::Lock(_)
                | TallyRow::Order(_)
                | TallyRow::Boost { .. }
                | TallyRow::Gone(_) => {}
            }
        }
        for row in rows {
            match row {
                TallyRow::Lock(row) => {
                    let receipt = receipts.get(&row.lock.body.channel()).copied();
                    self.load_lock(me, row, receipt, now);
                }
                TallyRow::Pair(_)
                | TallyRow::Receipt(_)
                | TallyRow::Order(_)
                | TallyRow::Boost { .. }
                | TallyRow::Gone(_) => {}
            }
        }
        let keys: Vec<NodeId> = self.pairs.keys().copied().collect();
        for key in keys {
            self.touch(key, at);
        }
    }

    fn load_pair(&mut self, row: &PairRow, at: Instant) {
        let window = self.setup.window;
        let pair = self.pair_entry(row.peer, at);
        pair.payer = Payer::stored(row.due, row.signed);
        pair.payee = Payee::stored(row, window, at);
        pair.is_stored = true;
    }

    fn load_acknowledgement(
        &mut self,
        me: NodeId,
        channel: &Channel,
        receipts: &BTreeMap<Channel, SignedReceipt>,
        at: Instant,
    ) {
        let peer = match (channel.kind, channel.payer == me, channel.payee == me) {
            (ChannelKind::Acknowledgement, true, false) => channel.payee,
            (ChannelKind::Acknowledgement, false, true) => channel.payer,
            (ChannelKind::Acknowledgement | ChannelKind::Lock(..), _, _) => return,
        };
        let fresh = Acknowledgements::new(me, peer);
        // What has an amount is no acknowledgement, whoever wrote it there.
        let stored = |channel: &Channel| {
            let receipt = receipts.get(channel).copied();
            receipt.filter(|receipt| receipt.body.amount.is_zero())
        };
        let ours = stored(&fresh.our_channel());
        let theirs = stored(&fresh.their_channel());
        self.pair_entry(peer, at).acks = fresh.stored(ours, theirs, at);
    }

    fn load_lock(&mut self, me: NodeId, row: &LockRow, receipt: Option<SignedReceipt>, now: Now) {
        let lock = &row.lock.body;
        if self.setup.network.map(|network| network.id) != Some(lock.network_id) {
            return;
        }
        if !self.names.agree(lock) {
            return;
        }
        self.names.learn(lock);
        if lock.payer == me {
            let pair = self.pair_entry(lock.payee, now.at);
            let stored = PayingLock::stored(row, receipt, now.at);
            pair.payer.locks.insert(lock.lock_id, stored);
        } else if lock.payee == me {
            let pair = self.pair_entry(lock.payer, now.at);
            let stored = EarningLock::stored(row, receipt, now);
            pair.payee.locks.insert(lock.lock_id, stored);
            self.outputs.push_back(Errand::AskLock(lock.lock_id).into());
        }
    }

    /// By what others' signatures are checked.
    fn scheme(&self) -> &dyn SignatureScheme {
        self.setup.identity.scheme()
    }

    fn pair_entry(&mut self, key: NodeId, at: Instant) -> &mut Pair {
        let (me, window) = (self.setup.identity.id(), self.setup.window);
        self.pairs
            .entry(key)
            .or_insert_with(|| Box::new(Pair::new(me, key, window, at)))
    }

    /// The pair of a live connection.
    fn pair_mut(&mut self, key: NodeId) -> &mut Pair {
        self.pairs
            .get_mut(&key)
            .expect("a live connection's key has a pair")
    }

    fn send(&mut self, peer: PeerIndex, message: ReceiptMessage) {
        self.outputs.push_back(CreditOutput::Send { peer, message });
    }

    fn put(&mut self, output: impl Into<CreditOutput>) {
        self.outputs.push_back(output.into());
    }

    fn tally(&mut self, rows: Vec<TallyRow>) {
        for row in &rows {
            if let TallyRow::Pair(row) = row
                && let Some(pair) = self.pairs.get_mut(&row.peer)
            {
                pair.is_stored = true;
            }
        }
        if !rows.is_empty() {
            self.outputs.push_back(CreditOutput::Tally(rows));
        }
    }

    /// Live connections of a key on which blocks can have a price, oldest first.
    fn payable(&self, key: NodeId) -> Vec<PeerIndex> {
        self.live(key, Connection::is_payable)
    }

    fn live(&self, key: NodeId, is: impl Fn(&Connection) -> bool) -> Vec<PeerIndex> {
        let Some(pair) = self.pairs.get(&key) else {
            return Vec::new();
        };
        let live = pair.connections.iter().copied();
        live.filter(|peer| self.connections.get(peer).is_some_and(|one| is(one)))
            .collect()
    }

    /// Live connections of a key, oldest first.
    pub fn connections_of(&self, key: NodeId) -> Vec<PeerIndex> {
        self.live(key, |_| true)
    }

    /// Looks again when this pair wants to be looked at.
    fn touch(&mut self, key: NodeId, at: Instant) {
        let now = self.clock.now(at);
        let wake = self.wake_of(key, now);
        self.wakes.set(key, wake);
    }

    /// How this peer serves us, by its QUOTE in force.
    pub fn quoted(&self, peer: PeerIndex) -> Service {
        self.connections
            .get(&peer)
            .map_or(Service::Open, |connection| connection.quote)
    }
}

impl Wakes {
    fn set(&mut self, key: NodeId, wake: Option<Instant>) {
        if self.by_key.get(&key).copied() == wake {
            return;
        }
        if let Some(before) = self.by_key.remove(&key) {
            self.by_time.remove(&(before, key));
        }
        if let Some(wake) = wake {
            self.by_key.insert(key, wake);
            self.by_time.insert((wake, key));
        }
        assert_eq!(
            self.by_key.len(),
            self.by_time.len(),
            "one wake-up per pair"
        );
    }

    fn pop(&mut self, at: Instant) -> Option<NodeId> {
        let (wake, key) = *self.by_time.first()?;
        if wake > at {
            return None;
        }
        self.set(key, None);
        Some(key)
    }
}

fn receipt_row(channel: Channel, receipt: Option<&SignedReceipt>) -> Option<TallyRow> {
    receipt.map(|receipt| {
        TallyRow::Receipt(ChannelRow {
            channel,
            receipt: *receipt,
        })
    })
}
