//! We are the payee: which class a block is served in, at what price, and what receipts pay for.

use seedbank_ledger::signed::lock::LockId;
use seedbank_ledger::tally::TallyRow;
use seedbank_ledger::{Bytes, Instant, NodeId, Rate};

use crate::credit::output::Notice;
use crate::credit::receipts::connection::Connection;
use crate::credit::receipts::exchange::syncing::ReceiptSource;
use crate::credit::receipts::exchange::{Exchange, receipt_row};
use crate::credit::receipts::exposure::PaidBlock;
use crate::credit::receipts::limits::WINDOW_DELAY;
use crate::credit::receipts::payee::Refused;
use crate::credit::receipts::service::Service;
use crate::credit::receipts::violation::Violation;
use crate::units::PeerIndex;
use crate::wire::receipt::ReceiptMessage;

/// How a block is served.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Granted {
    /// In the paid class, at this rate. Kept by the session until the block has left, for
    /// [`Exchange::ungrant`].
    Paid(Rate),
    /// In the open class, for nothing.
    Open,
    /// Not now: the connection has a paid seat, and window, lock or conduct do not cover the block.
    /// [`Notice::Relieved`] tells when to ask again.
    Waits,
    /// Never: the connection has a paid seat, and the block was asked for under a bid below its
    /// price. The session rejects it.
    Underbid,
}

/// Why a block is not paid.
enum Unpaid {
    /// The connection has no paid seat.
    Free,
    /// It has one, and the bid is below its price, or below what is taken at all.
    Underbid,
    /// P1, P2 or P4 forbids it.
    Refused(Refused),
}

impl Exchange {
    /// The peer's bid in force: the session keeps it with each REQUEST that arrives.
    pub fn bid(&self, peer: PeerIndex) -> Rate {
        self.connections
            .get(&peer)
            .map_or(Rate::ZERO, |connection| connection.peer_bid)
    }

    /// Whether the choker may give this connection a paid seat now, or leave it the one it has, at
    /// the bid in force. Whoever has a seat may wait in it for a lock to be topped up.
    pub fn is_paid_eligible(&self, peer: PeerIndex, at: Instant) -> bool {
        let now = self.clock.now(at);
        let Some(connection) = self.connections.get(&peer) else {
            return false;
        };
        let Some(pair) = self.pairs.get(&connection.key) else {
            return false;
        };
        let bid = connection.peer_bid;
        let payee = &pair.payee;
        let covered = payee.serving_lock(now).is_some_and(|lock| {
            let cost = bid.cost_ceil(payee.exposure());
            !connection.price.is_zero() || cost.is_some_and(|cost| cost < lock.room())
        });
        self.setup.terms.earn
            && connection.is_payable()
            && bid >= self.setup.terms.rate_min
            && !bid.is_zero()
            && payee.conduct().may_take()
            && covered
    }

    /// The price of the paid seat that this connection has: the bid in force when seats were last
    /// decided. Zero without one.
    pub fn seat_price(&self, peer: PeerIndex) -> Rate {
        self.connections
            .get(&peer)
            .map_or(Rate::ZERO, |connection| connection.price)
    }

    /// The choker's decision about this connection, at the bid in force. QUOTE goes out in stream
    /// order: blocks granted before cost what was quoted before.
    pub fn set_quote(&mut self, peer: PeerIndex, service: Service) {
        let Some(connection) = self.connections.get_mut(&peer) else {
            return;
        };
        connection.service = service;
        connection.price = match service {
            Service::Open => Rate::ZERO,
            Service::Paid { .. } => connection.peer_bid,
        };
        self.measure(self.connections[&peer].key);
        let connection = &self.connections[&peer];
        let payable = connection.is_payable();
        let (key, quoted) = (connection.key, connection.quoted);
        let takes = self.pair_mut(key).payee.conduct().may_take();
        let said = match service {
            Service::Open => Service::Open,
            Service::Paid { .. } if payable && takes => service,
            Service::Paid { .. } => quoted,
        };
        if said != quoted {
            self.say_quote(peer, said);
        }
    }

    /// How a block of `len` bytes, requested under `bid`, would be granted now. A receipt that
    /// waits to be verified may be just what makes room, so it is; a payer whose block waits for
    /// window or cover is late from now (P4).
    pub fn price_of(&mut self, peer: PeerIndex, len: u32, bid: Rate, at: Instant) -> Granted {
        let mut decision = self.decide(peer, len, bid, at);
        let Some(connection) = self.connections.get(&peer) else {
            return Granted::Open;
        };
        let key = connection.key;
        if let Err(Unpaid::Refused(_)) = decision {
            self.settle_all(key, at);
            decision = self.decide(peer, len, bid, at);
        }
        match decision {
            Ok(rate) => Granted::Paid(rate),
            Err(Unpaid::Free) => Granted::Open,
            Err(Unpaid::Underbid) => Granted::Underbid,
            Err(Unpaid::Refused(refused)) => {
                let pair = self.pair_mut(key);
                pair.waits = true;
                match refused {
                    Refused::Window | Refused::Cover => pair.payee.late(at),
                    Refused::Conduct | Refused::NoLock | Refused::Unconfirmed => {}
                }
                self.touch(key, at);
                Granted::Waits
            }
        }
    }

    /// Grants a block: the session serves it in the class that this returns, after taking out the
    /// outputs, among which may be the QUOTE that announces the class. Nothing is granted if it
    /// waits or was asked for under too low a bid.
    pub fn grant(&mut self, peer: PeerIndex, len: u32, bid: Rate, at: Instant) -> Granted {
        let now = self.clock.now(at);
        let granted = self.price_of(peer, len, bid, at);
        let Some(connection) = self.connections.get(&peer) else {
            return Granted::Open;
        };
        let (key, torrent_id) = (connection.key, connection.torrent_id);
        match granted {
            Granted::Paid(rate) => {
                assert!(rate <= bid, "no block costs more than its bid");
                assert!(!rate.is_zero(), "a paid block has a price");
                let service = self.connection_mut(peer).service;
                if self.connection_mut(peer).quoted != service {
                    self.say_quote(peer, service);
                }
                let quoted = self.connection_mut(peer).quoted.price(bid);
                assert_eq!(rate, quoted, "a block costs what was quoted");
                let block = PaidBlock {
                    torrent_id,
                    len: Bytes::new(u64::from(len)),
                    rate,
                };
                self.pair_mut(key).payee.grant(block, now);
            }
            Granted::Open => {
                if !self.connection_mut(peer).quoted.price(bid).is_zero() {
                    self.say_quote(peer, Service::Open);
                }
                let acks = &mut self.pair_mut(key).acks;
                let len = Bytes::new(u64::from(len));
                acks.served(torrent_id, len);
            }
            Granted::Waits | Granted::Underbid => {}
        }
        self.touch(key, at);
        granted
    }

    /// A paid grant was taken back before its block left: choke, cancel or a dead connection.
    pub fn ungrant(&mut self, peer: PeerIndex, len: u32, rate: Rate, at: Instant) {
        let now = self.clock.now(at);
        let Some(connection) = self.connections.get(&peer) else {
            return;
        };
        let key = connection.key;
        let len = Bytes::new(u64::from(len));
        self.pair_mut(key).payee.ungrant(len, rate, now);
        self.relieve(key);
        self.turn(key, at);
    }

    /// Payload of ours left for the kernel; a slow link gets more time to pay.
    pub fn sent(&mut self, peer: PeerIndex, bytes: u64, at: Instant) {
        if let Some(connection) = self.connections.get(&peer) {
            let key = connection.key;
            self.pair_mut(key).payee.sent(bytes, at);
        }
    }

    fn decide(&self, peer: PeerIndex, len: u32, bid: Rate, at: Instant) -> Result<Rate, Unpaid> {
        let now = self.clock.now(at);
        let connection = self.connections.get(&peer).ok_or(Unpaid::Free)?;
        if connection.service == Service::Open {
            return Err(Unpaid::Free);
        }
        let price = connection.service.price(bid);
        let terms = self.setup.terms;
        let is_taken = connection.is_payable() && terms.earn && price >= terms.rate_min;
        if !is_taken || price.is_zero() || bid < connection.price {
            return Err(Unpaid::Underbid);
        }
        let pair = self.pairs.get(&connection.key).ok_or(Unpaid::Free)?;
        let len = Bytes::new(u64::from(len));
        match pair.payee.refusal(len, price, now) {
            None => Ok(price),
            Some(refused) => Err(Unpaid::Refused(refused)),
        }
    }

    /// Blocks of this payer that waited may be able to leave now.
    pub(super) fn relieve(&mut self, key: NodeId) {
        if let Some(pair) = self.pairs.get_mut(&key)
            && std::mem::take(&mut pair.waits)
        {
            self.put(Notice::Relieved(key));
        }
    }

    /// Verifies what waits on every channel of this payer, now.
    pub(super) fn settle_all(&mut self, key: NodeId, at: Instant) {
        let Some(pair) = self.pairs.get(&key) else {
            return;
        };
        let waiting: Vec<LockId> = pair
            .payee
            .locks
            .iter()
            .filter(|(_, lock)| lock.incoming.wakes_at().is_some())
            .map(|(id, _)| *id)
            .collect();
        for lock_id in waiting {
            self.settle(key, ReceiptSource::Lock(lock_id), at);
        }
        self.settle(key, ReceiptSource::Acknowledgement, at);
    }

    /// Verifies the receipt that waits on a channel and counts it. A forged one makes the
    /// connection it came on plain.
    pub(super) fn settle(&mut self, key: NodeId, source: ReceiptSource, at: Instant) {
        let now = self.clock.now(at);
        let pair = self.pair_mut(key);
        let pending = match source {
            ReceiptSource::Acknowledgement => pair.acks.theirs.take(),
            ReceiptSource::Lock(lock_id) => pair
                .payee
                .locks
                .get_mut(&lock_id)
                .and_then(|lock| lock.incoming.take()),
        };
        let Some(pending) = pending else {
            return;
        };
        if pending.receipt.verify_by(self.scheme(), &key).is_err() {
            self.punish(pending.from);
            return;
        }
        let pair = self.pair_mut(key);
        match source {
            ReceiptSource::Acknowledgement => {
                pair.acks.accept(pending.receipt, at);
                // What acknowledges nothing that was served is worth no row.
                let row = receipt_row(pair.acks.their_channel(), pair.acks.theirs_kept());
                self.tally(row.into_iter().collect());
            }
            ReceiptSource::Lock(lock_id) => {
                let before = pair.payee.paid_bytes();
                pair.payee.accept(lock_id, pending.receipt, now);
                pair.payee.reconsider(at);
                let more = pair.payee.paid_bytes().saturating_sub(before);
                self.lending.paid(more);
                let pair = self.pair_mut(key);
                let lock = &pair.payee.locks[&lock_id];
                let mut rows = vec![TallyRow::Pair(pair.row())];
                rows.extend(receipt_row(lock.lock.body.channel(), lock.incoming.held()));
                self.tally(rows);
                self.requote(key, at);
                self.relieve(key);
            }
        }
    }

    /// Tells the payer of its window: at once when that has shrunk or grown by an eighth, or when
    /// something was written off, a second later when it differs at all.
    pub(super) fn requote(&mut self, key: NodeId, at: Instant) {
        if !self.setup.terms.earn {
            return;
        }
        let (window, off) = (self.window_of(key), self.written_off_of(key));
        for peer in self.live(key, Connection::is_payable) {
            let connection = self.connection_mut(peer);
            let (quoted, before) = (connection.quoted, connection.quoted_window);
            let is_relieved = off > connection.quoted_off;
            if window == before && !is_relieved {
                connection.window_due = None;
                continue;
            }
            let due = *connection.window_due.get_or_insert(at.after(WINDOW_DELAY));
            let eighth = Bytes::new(before.get() / 8);
            let is_notable = window < before || window >= before.saturating_add(eighth);
            if at >= due || is_notable || is_relieved {
                self.say_quote(peer, quoted);
            }
        }
    }

    pub(super) fn say_quote(&mut self, peer: PeerIndex, service: Service) {
        let connection = self.connection_mut(peer);
        connection.quoted = service;
        connection.window_due = None;
        let key = connection.key;
        self.measure(key);
        let (window, off) = (self.window_of(key), self.written_off_of(key));
        let connection = self.connection_mut(peer);
        connection.quoted_window = window;
        connection.quoted_off = off;
        self.send(peer, ReceiptMessage::Quote(service.quote(window, off)));
    }

    /// The payer is in the open class on every connection from now.
    pub(super) fn quote_open(&mut self, key: NodeId) {
        let paid = self.live(key, |connection| connection.quoted != Service::Open);
        for peer in paid {
            self.say_quote(peer, Service::Open);
        }
    }

    pub(super) fn window_of(&self, key: NodeId) -> Bytes {
        self.pairs
            .get(&key)
            .map_or(Bytes::ZERO, |pair| pair.payee.window())
    }

    fn written_off_of(&self, key: NodeId) -> Bytes {
        let pair = self.pairs.get(&key);
        pair.map_or(Bytes::ZERO, |pair| pair.payee.written_off())
    }

    /// What the window of a payer depends on has changed: pieces, bids, quotes or seats. A block
    /// costs what is bid, within what is quoted; while it is not seated, what it bids.
    pub(super) fn measure(&mut self, key: NodeId) {
        let live = self.live(key, Connection::is_payable);
        let live = || live.iter().filter_map(|peer| self.connections.get(peer));
        let rates = live().map(|connection| match connection.quoted {
            Service::Open => connection.peer_bid,
            Service::Paid { cap } => connection.peer_bid.min(cap),
        });
        let rate = rates.max().unwrap_or_default();
        let seated = live().any(|connection| !connection.price.is_zero());
        if let Some(pair) = self.pairs.get_mut(&key) {
            pair.payee.measure(pair.piece_len, rate, seated);
        }
    }

    fn punish(&mut self, peer: PeerIndex) {
        if self.connections.contains_key(&peer) {
            self.demote(peer);
            self.put(Notice::Misbehaved {
                peer,
                violation: Violation::ForgedReceipt,
            });
        }
    }
}
