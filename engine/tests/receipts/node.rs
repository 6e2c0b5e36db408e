//! A node of the model: the real exchange, a store that survives crashes, and just enough of a
//! BitTorrent session around it.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::sync::Arc;

use seedbank_engine::asked::{BlockFate, Requests};
use seedbank_engine::credit::network::Network;
use seedbank_engine::credit::receipts::limits::Window;
use seedbank_engine::credit::receipts::pair::without_unsigned_due;
use seedbank_engine::credit::receipts::{Delivered, Exchange, Granted, Service, Setup, Terms};
use seedbank_engine::units::{Block, PeerIndex, PieceIndex, TorrentId};
use seedbank_engine::wire::receipt::ReceiptMessage;
use seedbank_ledger::signed::channel::Channel;
use seedbank_ledger::signed::claim::SignedClaim;
use seedbank_ledger::signed::lock::LockId;
use seedbank_ledger::tally::{TallyKey, TallyRow};
use seedbank_ledger::{Identity, Instant, NodeId, Rate, UnixTime};

use crate::copies::Owed;
use crate::plays::Whims;

pub(crate) type PieceKey = (TorrentId, PieceIndex);
pub(crate) type Store = BTreeMap<RowKey, TallyRow>;

/// Content of a block: zero is what the torrent says.
pub(crate) type Content = u32;
pub(crate) const GOOD: Content = 0;

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum RowKey {
    Pair(NodeId),
    Receipt(Channel),
    Lock(LockId),
}

/// How honestly a node takes part.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Play {
    Honest,
    /// Signs, and sends no receipt.
    NeverPays,
    /// Sends receipts 70 s late.
    PaysLate,
    /// Shows no receipt of its own in SYNC and sends every second one.
    LyingSync,
    /// Sends each receipt, keeps it back or sends it much later, as chance will have it.
    Fickle,
    /// Serves garbage and asks to be paid.
    Garbage,
    /// Sends forged, foreign, replayed, crossed and overdrawn receipts and locks.
    Forger,
    /// Another bid at every turn, from nothing to the highest; pays for some of what comes.
    Flips,
    /// Pays a block at a time, late.
    Drips,
    /// Has a lock and bids, and takes nothing; then takes what it can.
    Parks,
    /// Pays a micro-credit or two, takes a window, and comes back under another key with the same
    /// credit.
    Rekeys,
    /// Takes a bid, lets its payer ask, and sends nothing, or a byte.
    Stalls,
    /// Quotes the paid class at nothing.
    QuotesZero,
    /// Quotes something else at every turn.
    QuotesNonsense,
    /// Chokes for ever who owes it something, or has paid.
    ChokesForGood,
}

impl Play {
    /// Whether it varies what it does as `plays.rs` says.
    pub(crate) const fn has_whims(self) -> bool {
        self.takes_as_it_likes() || self.serves_as_it_likes()
    }

    /// A payer with whims.
    pub(crate) const fn takes_as_it_likes(self) -> bool {
        matches!(self, Self::Flips | Self::Drips | Self::Parks | Self::Rekeys)
    }

    /// A payee with whims.
    pub(crate) const fn serves_as_it_likes(self) -> bool {
        matches!(
            self,
            Self::Stalls | Self::QuotesZero | Self::QuotesNonsense | Self::ChokesForGood
        )
    }

    /// Whether what it signs and says goes past its own exchange.
    pub(crate) const fn is_past_its_books(self) -> bool {
        self.has_whims() || matches!(self, Self::Forger)
    }
}

/// One message on a connection's stream, in one direction.
#[derive(Clone, Debug)]
pub(crate) enum Wire {
    Receipt(ReceiptMessage),
    Choke,
    Unchoke,
    /// With the bid that stream order puts in force.
    Request(Block, Rate),
    Cancel(Block),
    Reject(Block),
    /// With the price that stream order gives it.
    Piece(Block, Content, Rate),
}

/// What waits to leave on a stream.
#[derive(Clone, Debug)]
pub(crate) enum Out {
    Wire(Wire),
    Block(Block, Granted, Rate),
}

pub(crate) enum Ask {
    Status(LockId),
    Claim(Box<SignedClaim>),
    Close(LockId),
    Open { payee: NodeId, amount: u64 },
    TopUp { lock_id: LockId, amount: u64 },
}

pub(crate) struct Lease {
    pub(crate) blocks: Vec<Option<Content>>,
    pub(crate) holder: Option<PeerIndex>,
    pub(crate) from: BTreeSet<usize>,
    pub(crate) moved_at: Instant,
    /// What stream order says each waiting block costs, by whom.
    pub(crate) owed: Vec<Owed>,
}

pub(crate) struct Peer {
    pub(crate) remote: usize,
    /// The key that the remote had when it was connected.
    pub(crate) key: NodeId,
    pub(crate) torrent_id: TorrentId,
    pub(crate) fast: bool,
    pub(crate) out: VecDeque<Out>,
    /// As stream order has it, for what leaves here.
    pub(crate) bid_said: Rate,
    pub(crate) quote_said: Service,
    pub(crate) unchoked: bool,
    /// As the choker of the model decided it: the bid at which it has a paid seat, and the cap.
    pub(crate) seat: Option<(Rate, Rate)>,
    pub(crate) queue: VecDeque<(Block, Rate)>,
    pub(crate) unchoked_us: bool,
    pub(crate) requested: Vec<Block>,
}

pub(crate) struct Node {
    pub(crate) identity: Arc<Identity>,
    pub(crate) play: Play,
    pub(crate) exchange: Exchange,
    pub(crate) store: Store,
    pub(crate) backups: Vec<Store>,
    pub(crate) have: BTreeSet<PieceKey>,
    /// How many pieces of each torrent it has.
    pub(crate) have_count: BTreeMap<TorrentId, u32>,
    pub(crate) leases: BTreeMap<PieceKey, Lease>,
    /// Peers whose word for a piece was garbage; cleared when nobody is left.
    pub(crate) avoid: BTreeMap<PieceKey, BTreeSet<usize>>,
    pub(crate) banned: BTreeSet<usize>,
    pub(crate) peers: BTreeMap<PeerIndex, Peer>,
    /// What was asked of each peer and not answered, with the bid it was asked under.
    asked: BTreeMap<PeerIndex, Requests<Rate>>,
    pub(crate) asks: VecDeque<Ask>,
    pub(crate) late: VecDeque<(Instant, PeerIndex, ReceiptMessage)>,
    /// What was restored from a backup: its books may have lost something for good.
    pub(crate) restored: bool,
    pub(crate) starts: u64,
    pub(crate) written_off: BTreeMap<NodeId, u64>,
    pub(crate) suspended: u64,
    pub(crate) misbehaved: u64,
    pub(crate) spent: u64,
    pub(crate) whims: Whims,
    /// Keys that it had before.
    pub(crate) former: Vec<NodeId>,
}

pub(crate) fn terms() -> Terms {
    Terms {
        earn: true,
        spend: true,
        acknowledge: true,
        rate_min: Rate::new(1_000),
    }
}

impl Node {
    pub(crate) fn new(secret: u8, play: Play, network: Network, window: Window) -> Self {
        let identity = Arc::new(Identity::from_secret([secret; 32]));
        let setup = Setup {
            identity: identity.clone(),
            network: Some(network),
            terms: terms(),
            window,
            nonce_salt: 0,
        };
        let exchange = Exchange::new(setup, &[], Instant::ZERO, UnixTime::ZERO);
        Self {
            identity,
            play,
            exchange,
            store: Store::new(),
            backups: Vec::new(),
            have: BTreeSet::new(),
            have_count: BTreeMap::new(),
            leases: BTreeMap::new(),
            avoid: BTreeMap::new(),
            banned: BTreeSet::new(),
            peers: BTreeMap::new(),
            asked: BTreeMap::new(),
            asks: VecDeque::new(),
            late: VecDeque::new(),
            restored: false,
            starts: 0,
            written_off: BTreeMap::new(),
            suspended: 0,
            misbehaved: 0,
            spent: 0,
            whims: Whims::default(),
            former: Vec::new(),
        }
    }

    pub(crate) fn id(&self) -> NodeId {
        self.identity.id()
    }

    /// Its key and those that it had before.
    pub(crate) fn ids(&self) -> Vec<NodeId> {
        let former = self.former.iter().copied();
        former.chain([self.id()]).collect()
    }

    /// Starts again from the store: everything else is lost.
    pub(crate) fn start(&mut self, network: Network, window: Window, at: Instant, unix: UnixTime) {
        self.starts += 1;
        let free = Rate::ZERO;
        let rate_min = match self.play {
            Play::QuotesZero => free,
            _ => terms().rate_min,
        };
        let setup = Setup {
            identity: self.identity.clone(),
            network: Some(network),
            terms: Terms {
                rate_min,
                ..terms()
            },
            window,
            nonce_salt: self.starts,
        };
        let rows: Vec<TallyRow> = self.store.values().cloned().collect();
        let unix = self.whims.clock(unix);
        self.exchange = Exchange::new(setup, &rows, at, unix);
        self.leases.clear();
        self.avoid.clear();
        self.peers.clear();
        self.asked.clear();
        self.asks.clear();
        self.late.clear();
    }

    pub(crate) fn apply(&mut self, rows: Vec<TallyRow>) {
        for row in rows {
            let key = match &row {
                TallyRow::Pair(row) => RowKey::Pair(row.peer),
                TallyRow::Receipt(row) => RowKey::Receipt(row.channel),
                TallyRow::Lock(row) => RowKey::Lock(row.lock.body.lock_id),
                TallyRow::Gone(TallyKey::Pair(peer)) => RowKey::Pair(*peer),
                TallyRow::Gone(TallyKey::Receipt(channel)) => RowKey::Receipt(*channel),
                TallyRow::Gone(TallyKey::Lock(lock_id)) => RowKey::Lock(*lock_id),
                TallyRow::Order(_) | TallyRow::Boost { .. } => continue,
            };
            if matches!(row, TallyRow::Gone(_)) {
                self.store.remove(&key);
                continue;
            }
            if let (Some(TallyRow::Receipt(before)), TallyRow::Receipt(after)) =
                (self.store.get(&key), &row)
            {
                let (before, after) = (before.receipt.body, after.receipt.body);
                assert!(
                    after.bytes >= before.bytes && after.amount >= before.amount,
                    "L4: a channel went back from {before:?} to {after:?}"
                );
            }
            self.store.insert(key, row);
        }
    }

    /// A request goes out.
    pub(crate) fn request(&mut self, peer: PeerIndex, block: Block, piece_len: u32) {
        let bid = self.exchange.request_bid(peer);
        let asked = self.asked.entry(peer).or_default();
        assert_eq!(asked.ask(block, bid), None, "no schedule asks for so much");
        self.exchange.requested(peer, &block, bid, piece_len);
    }

    /// A block came.
    pub(crate) fn block_came(
        &mut self,
        peer: PeerIndex,
        block: Block,
        fate: BlockFate,
        had: bool,
        at: Instant,
    ) {
        let bid = self.answered(peer, &block).unwrap_or(Rate::ZERO);
        let delivered = Delivered {
            block,
            bid,
            fate,
            had,
        };
        self.exchange.arrived(peer, &delivered, at);
    }

    /// A request was rejected, or will never be answered.
    pub(crate) fn refused(&mut self, peer: PeerIndex, block: Block, at: Instant) {
        if let Some(bid) = self.answered(peer, &block) {
            self.exchange.rejected(peer, &block, bid, at);
        }
    }

    /// A connection is gone.
    pub(crate) fn disconnected(&mut self, peer: PeerIndex, at: Instant) {
        let mut asked = self.asked.remove(&peer).unwrap_or_default();
        let unanswered: Vec<(Block, Rate)> = asked.drain().collect();
        self.exchange.close(peer, unanswered, at);
    }

    fn answered(&mut self, peer: PeerIndex, block: &Block) -> Option<Rate> {
        self.asked.get_mut(&peer)?.answered(block)
    }

    /// A piece is there for good.
    pub(crate) fn has(&mut self, key: PieceKey) {
        if self.have.insert(key) {
            *self.have_count.entry(key.0).or_default() += 1;
        }
    }

    /// A copy of the store, without unsigned due.
    pub(crate) fn backup(&mut self) {
        let mut copy = self.store.clone();
        for row in copy.values_mut() {
            if let TallyRow::Pair(pair) = row {
                *pair = without_unsigned_due(*pair);
            }
        }
        self.backups.push(copy);
        if self.backups.len() > 3 {
            self.backups.remove(0);
        }
    }
}
