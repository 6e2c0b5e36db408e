//! We are the payer: bids, what is asked of whom, what a verified piece makes due, and how it is
//! signed (S1 to S5).

use std::collections::BTreeMap;

use seedbank_ledger::signed::lock::LockId;
use seedbank_ledger::tally::TallyRow;
use seedbank_ledger::{Bytes, Instant, MicroCredits, NodeId, Rate};

use crate::asked::BlockFate;
use crate::credit::output::{CreditOutput, Errand};
use crate::credit::receipts::connection::Connection;
use crate::credit::receipts::exchange::{Exchange, Unverified, receipt_row};
use crate::credit::receipts::limits::{RATE_MAX, history};
use crate::credit::receipts::pair::Pair;
use crate::credit::receipts::paying::{Paying, PayingLock};
use crate::credit::receipts::service::Service;
use crate::units::{Block, PeerIndex, PieceIndex, TorrentId};
use crate::wire::receipt::ReceiptMessage;

/// A block that came.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Delivered {
    /// Which.
    pub block: Block,
    /// The bid under which it was asked for; zero if nobody asked or it has no price.
    pub bid: Rate,
    /// What became of it.
    pub fate: BlockFate,
    /// Its piece was verified before, so that `fate` compares it with verified bytes.
    pub had: bool,
}

impl Exchange {
    /// Our bid in force at this peer.
    pub fn own_bid(&self, peer: PeerIndex) -> Rate {
        self.connections
            .get(&peer)
            .map_or(Rate::ZERO, |connection| connection.own_bid)
    }

    /// Lowest bid that this peer serves as paid, by its HELLO; `None` if it takes no payment or has
    /// not said yet what window it allows.
    pub fn rate_min_of(&self, peer: PeerIndex) -> Option<Rate> {
        let connection = self.connections.get(&peer)?;
        let may_pay = connection.is_payable() && connection.has_quoted;
        connection.peer_rate_min.filter(|_| may_pay)
    }

    /// What the window that this peer allows our key is reckoned by (P1): the longest piece shared
    /// with it, and what it was ever paid.
    pub fn window_grounds(&self, peer: PeerIndex) -> (Bytes, MicroCredits) {
        let key = self.connections.get(&peer).map(|connection| connection.key);
        let pair = key.and_then(|key| self.pairs.get(&key));
        pair.map_or((Bytes::ZERO, MicroCredits::ZERO), |pair| {
            (pair.piece_len, pair.payer.signed())
        })
    }

    /// Wants this bid for the requests that follow. It is in force once its BID is among the
    /// outputs: at once, or up to a second later if there were too many. Without a lock of ours
    /// that is open and wanted, the bid is zero: what it buys could not be signed.
    pub fn place_bid(&mut self, peer: PeerIndex, rate: Rate, at: Instant) {
        let Some(key) = self.connections.get(&peer).map(|connection| connection.key) else {
            return;
        };
        let mut locks = self.pair_mut(key).payer.locks.values();
        let funded = locks.any(|lock| lock.state == Paying::Open);
        let spend = self.setup.terms.spend && funded;
        let Some(connection) = self.connections.get_mut(&peer) else {
            return;
        };
        if !connection.is_payable() {
            return;
        }
        // A piece that no window holds is asked for in the open class only (S2).
        let piece_len = Bytes::new(connection.piece_len.into());
        let fits = piece_len <= self.setup.window.max;
        connection.wanted_bid = if spend && fits {
            rate.min(RATE_MAX)
        } else {
            Rate::ZERO
        };
        self.send_bid(peer, at);
        self.turn(key, at);
    }

    /// Bytes of further pieces that may be opened at this peer under the bid in force;
    /// [`Bytes::MAX`] without a bid. Pieces that are open there already are counted whole.
    pub fn window_left(&self, peer: PeerIndex) -> Bytes {
        let Some(connection) = self.connections.get(&peer) else {
            return Bytes::MAX;
        };
        match self.pairs.get(&connection.key) {
            Some(pair) if !connection.own_bid.is_zero() => {
                let pieces = &pair.payer.pieces;
                let left = self.own_window(pair).saturating_sub(pieces.used());
                // One piece alone may always be opened.
                let alone = if pieces.is_idle() {
                    pair.piece_len
                } else {
                    Bytes::ZERO
                };
                left.max(alone)
            }
            Some(_) | None => Bytes::MAX,
        }
    }

    /// The window that a payee allows our key: by our own reckoning, and no more than it quoted.
    fn own_window(&self, pair: &Pair) -> Bytes {
        self.reckon(pair).min(pair.payer.window)
    }

    fn reckon(&self, pair: &Pair) -> Bytes {
        let live = pair.connections.iter();
        let live = live.filter_map(|peer| self.connections.get(peer));
        let rates = live.map(|connection| match connection.quote {
            Service::Open => connection.own_bid,
            Service::Paid { cap } => connection.own_bid.min(cap),
        });
        let rate = rates.max().unwrap_or_default();
        let history = history(pair.payer.signed(), rate);
        self.setup.window.of(pair.piece_len, history)
    }

    /// Pieces of this connection's torrent that its payee's window counts already, with the bytes
    /// counted: going on with one needs so much less of [`Self::window_left`]. What came of a piece
    /// on an earlier connection counts until it is verified, so that without this a newcomer who
    /// reconnects could never complete the one piece its window holds.
    pub fn counted(&self, peer: PeerIndex) -> BTreeMap<PieceIndex, u64> {
        // Without a bid the window does not matter.
        let connection = self.connections.get(&peer);
        let Some(connection) = connection.filter(|one| !one.own_bid.is_zero()) else {
            return BTreeMap::new();
        };
        let Some(pair) = self.pairs.get(&connection.key) else {
            return BTreeMap::new();
        };
        let pieces = &pair.payer.pieces;
        // While more is open than the window holds, one piece goes on alone: two halves could not
        // be completed, nor paid.
        let is_over = pieces.used() > self.own_window(pair);
        let only = pieces.foremost().filter(|_| is_over);
        let torrent_id = connection.torrent_id;
        let goes_on = |piece| only.is_none_or(|only| only == (torrent_id, piece));
        let of = pieces.of(torrent_id);
        of.filter(|(piece, _)| goes_on(*piece)).collect()
    }

    /// The bid that goes with a request sent now, and stays with it until it is answered; zero
    /// where blocks have no price.
    pub fn request_bid(&self, peer: PeerIndex) -> Rate {
        let connection = self.connections.get(&peer);
        connection
            .filter(|connection| connection.fast)
            .map_or(Rate::ZERO, |connection| connection.own_bid)
    }

    /// A request goes out under `bid`.
    pub fn requested(&mut self, peer: PeerIndex, block: &Block, bid: Rate, piece_len: u32) {
        let Some(connection) = self.connections.get(&peer) else {
            return;
        };
        if !bid.is_zero() {
            let piece = (connection.torrent_id, block.piece);
            let key = connection.key;
            let pieces = &mut self.pair_mut(key).payer.pieces;
            pieces.asked(piece, piece_len, block);
        }
    }

    /// A request made under `bid` was rejected (BEP 6), or will never be answered.
    pub fn rejected(&mut self, peer: PeerIndex, block: &Block, bid: Rate, at: Instant) {
        let Some(connection) = self.connections.get(&peer) else {
            return;
        };
        if !bid.is_zero() {
            let piece = (connection.torrent_id, block.piece);
            let key = connection.key;
            let pieces = &mut self.pair_mut(key).payer.pieces;
            pieces.answered(piece, block, false);
            self.turn(key, at);
        }
    }

    /// A block came.
    pub fn arrived(&mut self, peer: PeerIndex, delivered: &Delivered, at: Instant) {
        let Delivered {
            block,
            bid,
            fate,
            had,
        } = *delivered;
        let acknowledge = self.setup.terms.acknowledge;
        let Some(connection) = self.connections.get(&peer) else {
            return;
        };
        let rate = if connection.is_payable() {
            connection.quote.price(bid)
        } else {
            Rate::ZERO
        };
        let acknowledge = acknowledge && connection.is_ready();
        let (key, torrent_id) = (connection.key, connection.torrent_id);
        let piece = (torrent_id, block.piece);
        let len = Bytes::new(u64::from(block.len));
        let is_copy = fate == BlockFate::Equal;
        let has_price = !rate.is_zero();
        let due = has_price && (!is_copy || self.pays_copy(key, torrent_id, len, rate));
        let waits = match fate {
            BlockFate::Stored => due || acknowledge,
            BlockFate::Equal => due && !had,
            BlockFate::Different | BlockFate::Void | BlockFate::Unrequested => false,
        };
        let mut was_last = false;
        if !bid.is_zero() {
            let pieces = &mut self.pair_mut(key).payer.pieces;
            if is_copy && has_price && !due {
                pieces.came_to_nothing(len);
            }
            pieces.answered(piece, &block, due && waits);
            was_last = pieces.is_idle();
        }
        if waits {
            self.pieces.entry(piece).or_default().push(Unverified {
                from: key,
                len,
                rate,
                is_copy,
            });
        } else if due && had && is_copy {
            // A duplicate that we asked for, of a piece that is verified: due at once (S1).
            self.pair_mut(key).payer.owe(torrent_id, len, rate);
            self.write_due(&[key], at);
        }
        // A lock of ours may have waited for it to be closed, and nothing else need happen here.
        if was_last {
            self.turn(key, at);
        }
    }

    /// Whether a block that somebody had brought is paid for all the same (S1).
    fn pays_copy(&mut self, key: NodeId, torrent_id: TorrentId, len: Bytes, rate: Rate) -> bool {
        let earned = &mut self.pair_mut(key).payer.earned;
        earned.takes_copy(rate.raw_cost(len)) || self.copies.take(torrent_id, len)
    }

    /// The piece is fetched from somebody else now: choke, snub, or nothing came for 30 s.
    pub fn hand_on(&mut self, peer: PeerIndex, piece: PieceIndex, at: Instant) {
        let Some(connection) = self.connections.get(&peer) else {
            return;
        };
        let (key, torrent_id) = (connection.key, connection.torrent_id);
        let pieces = &mut self.pair_mut(key).payer.pieces;
        pieces.hand_on((torrent_id, piece));
        self.turn(key, at);
    }

    /// The piece matched its hash: its blocks are due. The rows are among the outputs, before the
    /// receipts; the session takes them out before the piece counts as had (S3).
    pub fn verified(&mut self, torrent_id: TorrentId, piece: PieceIndex, at: Instant) {
        let arrived = self.pieces.remove(&(torrent_id, piece));
        let mut owing = Vec::new();
        let mut touched = self.settle_piece(torrent_id, piece, true);
        for block in arrived.unwrap_or_default() {
            let Some(pair) = self.pairs.get_mut(&block.from) else {
                continue;
            };
            if block.rate.is_zero() {
                pair.acks.ours.verified(torrent_id, block.len, at);
                touched.push(block.from);
            } else {
                pair.payer.owe(torrent_id, block.len, block.rate);
                if !block.is_copy {
                    pair.payer.earned.needed(block.rate.raw_cost(block.len));
                }
                owing.push(block.from);
            }
        }
        for keys in [&mut owing, &mut touched] {
            keys.sort_unstable();
            keys.dedup();
        }
        self.write_due(&owing, at);
        for key in touched {
            self.turn(key, at);
        }
    }

    /// The piece did not match its hash, or its buffer was given up: nothing of it is ever due.
    pub fn discarded(&mut self, torrent_id: TorrentId, piece: PieceIndex, at: Instant) {
        self.pieces.remove(&(torrent_id, piece));
        for key in self.settle_piece(torrent_id, piece, false) {
            self.turn(key, at);
        }
    }

    /// A torrent is gone with everything of it that was not verified.
    pub fn forget_torrent(&mut self, torrent_id: TorrentId, at: Instant) {
        self.copies.forget(torrent_id);
        let first = (torrent_id, PieceIndex::unchecked(0));
        let last = (torrent_id, PieceIndex::unchecked(u32::MAX));
        let waiting: Vec<PieceIndex> = self
            .pieces
            .range(first..=last)
            .map(|((_, piece), _)| *piece)
            .collect();
        for piece in waiting {
            self.discarded(torrent_id, piece, at);
        }
    }

    /// No boost wants this payee's lock any more: bids there end, and CLOSE goes out once no paid
    /// block is under way or waits to be verified.
    pub fn end_lock(&mut self, payee: NodeId, lock_id: LockId, at: Instant) {
        let Some(lock) = self.own_lock(payee, lock_id) else {
            return;
        };
        lock.end();
        for peer in self.payable(payee) {
            self.connection_mut(peer).wanted_bid = Rate::ZERO;
        }
        self.turn(payee, at);
    }

    /// A boost wants this payee's lock again. False if its close was asked for already.
    pub fn keep_lock(&mut self, payee: NodeId, lock_id: LockId) -> bool {
        let Some(lock) = self.own_lock(payee, lock_id) else {
            return false;
        };
        lock.keep();
        lock.state == Paying::Open
    }

    pub(super) fn send_bid(&mut self, peer: PeerIndex, at: Instant) {
        let connection = self.connection_mut(peer);
        let rate = connection.wanted_bid;
        if rate != connection.own_bid && connection.is_payable() && connection.bids.take(at) {
            assert!(rate <= RATE_MAX, "no bid is above the bound");
            connection.own_bid = rate;
            self.send(peer, ReceiptMessage::Bid(rate));
        }
    }

    /// Signs what is owed, if there is a connection to send it on, and sends it.
    pub(super) fn sign(&mut self, key: NodeId, at: Instant) {
        self.write(&[key], false, at);
    }

    /// What is open on this connection is fetched from somebody else.
    pub(super) fn hand_on_all(&mut self, peer: PeerIndex) {
        let connection = self.connection_mut(peer);
        let (key, torrent_id) = (connection.key, connection.torrent_id);
        self.pair_mut(key).payer.pieces.hand_on_all(torrent_id);
    }

    fn write_due(&mut self, owing: &[NodeId], at: Instant) {
        self.write(owing, true, at);
    }

    /// Signs for each key, writes all rows at once, then sends. `due` tells that what is owed has
    /// grown and is written in any case.
    fn write(&mut self, keys: &[NodeId], due: bool, at: Instant) {
        let now = self.clock.now(at);
        let identity = self.setup.identity.clone();
        let mut rows = Vec::new();
        let mut after = Vec::new();
        for key in keys {
            let live = self.live(*key, Connection::takes_receipts);
            let pair = self.pair_mut(*key);
            let signing = live
                .last()
                .and_then(|peer| Some((*peer, pair.payer.sign(&identity, now)?)));
            if due || signing.is_some() {
                rows.push(TallyRow::Pair(pair.row()));
            }
            let Some((peer, signing)) = signing else {
                continue;
            };
            for lock_id in signing.locks {
                let lock = &pair.payer.locks[&lock_id];
                rows.extend(receipt_row(lock.lock.body.channel(), lock.receipt.as_ref()));
                after.extend(lock.receipt.map(|receipt| CreditOutput::Send {
                    peer,
                    message: ReceiptMessage::Receipt(receipt),
                }));
            }
            let spent = signing.spent.into_iter();
            after.extend(spent.map(|(torrent_id, bytes, amount)| {
                CreditOutput::Errand(Errand::Spent {
                    payee: *key,
                    torrent_id,
                    bytes,
                    amount,
                })
            }));
        }
        self.tally(rows);
        self.outputs.extend(after);
        for key in keys {
            self.touch(*key, at);
        }
    }

    /// Nothing of this piece waits any more, at nobody; returns at whom something did.
    fn settle_piece(
        &mut self,
        torrent_id: TorrentId,
        piece: PieceIndex,
        is_verified: bool,
    ) -> Vec<NodeId> {
        let mut touched = Vec::new();
        for pair in self.pairs.values_mut() {
            if pair.payer.pieces.settle((torrent_id, piece), is_verified) {
                touched.push(pair.key);
            }
        }
        touched
    }

    fn own_lock(&mut self, payee: NodeId, lock_id: LockId) -> Option<&mut PayingLock> {
        let pair = self.pairs.get_mut(&payee)?;
        pair.payer.locks.get_mut(&lock_id)
    }

    /// What may still be signed to a payee, over all locks for it.
    pub fn room(&self, payee: NodeId, at: Instant) -> MicroCredits {
        let now = self.clock.now(at);
        let Some(pair) = self.pairs.get(&payee) else {
            return MicroCredits::ZERO;
        };
        let locks = pair.payer.locks.values();
        let signable = locks.filter(|lock| lock.is_signable(now));
        signable.fold(MicroCredits::ZERO, |sum, lock| {
            sum.saturating_add(lock.room())
        })
    }
}
