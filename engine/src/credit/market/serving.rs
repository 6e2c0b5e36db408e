//! Connections that receipts flow on, and serving them: who may be paid for, and at what price.

use seedbank_ledger::{Bytes, Instant, NodeId, Rate};

use crate::credit::market::Market;
use crate::credit::receipts::{Granted, Opened, Service};
use crate::units::{Block, PeerIndex};
use crate::wire::receipt::{ReceiptMessage, ReceiptMessageError};

/// What a key gave us, or paid for, that is worth a place among our connections.
const VALUED_MIN: Bytes = Bytes::new(1 << 20);

/// A peer as the market sees it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct PeerCredit {
    /// Its key, once proven on this connection.
    pub node_id: Option<NodeId>,
    /// Bytes we acknowledged to its key minus bytes it acknowledged to us.
    pub standing: i64,
    /// On the owner's list.
    pub friend: bool,
    /// Its bid in force; zero for none.
    pub bid: Rate,
    /// Our bid in force at it; zero for none.
    pub own_bid: Rate,
    /// Paid-class bytes granted to its key and not paid for.
    pub exposure: Bytes,
    /// The exposure allowed to its key.
    pub window: Bytes,
    /// The same without what a long history adds.
    pub window_plain: Bytes,
    /// Its key has paid for a whole piece.
    pub has_paid: bool,
    /// What its key has paid for.
    pub paid_bytes: Bytes,
    /// Its key has taken what it may and has not paid since.
    pub is_late: bool,
    /// Paid service to its key is suspended after unpaid debt.
    pub backing_off: bool,
}

/// What was under way on a connection when it ended.
#[derive(Clone, Debug, Default)]
pub struct UnderWay {
    /// Length and rate of each grant that did not leave.
    pub unsent: Vec<(u32, Rate)>,
    /// Our requests that were not answered, each with its bid.
    pub unanswered: Vec<(Block, Rate)>,
}

impl Market {
    /// Both ends of a connection offer receipts: the exchange begins.
    pub fn opened(&mut self, opened: Opened, now: Instant) {
        if self.receipts {
            self.exchange.open(opened);
            self.route(now);
        }
    }

    /// A message of the protocol came. An error says how it breaks the rules. One of a type that we
    /// do not know is a later version's, and one on a connection that is plain means nothing: both
    /// are ignored.
    pub fn received(
        &mut self,
        peer: PeerIndex,
        payload: &[u8],
        now: Instant,
    ) -> Result<(), String> {
        if !self.exchange.is_listening(peer) {
            return Ok(());
        }
        let message = match ReceiptMessage::decode(payload) {
            Ok(message) => message,
            Err(ReceiptMessageError::Type(_)) => return Ok(()),
            Err(error) => return Err(error.to_string()),
        };
        let outcome = self.exchange.handle(peer, message, now);
        self.route(now);
        outcome.map_err(|violation| violation.to_string())
    }

    /// Before we close a connection ourselves: what is due is signed and sent.
    pub fn closing(&mut self, peer: PeerIndex, now: Instant) {
        self.exchange.flush(peer, now);
        self.route(now);
    }

    /// A connection is gone: what was granted and did not leave is taken back.
    pub fn closed(&mut self, peer: PeerIndex, under_way: UnderWay, now: Instant) {
        for (len, rate) in under_way.unsent {
            if !rate.is_zero() {
                self.exchange.ungrant(peer, len, rate, now);
            }
        }
        self.exchange.close(peer, under_way.unanswered, now);
        self.route(now);
    }

    /// A peer, as far as anything is known of it.
    pub fn peer(&self, peer: PeerIndex) -> PeerCredit {
        let Some(node_id) = self.exchange.key_of(peer) else {
            return PeerCredit::default();
        };
        let Some(pair) = self.exchange.pair(node_id) else {
            return PeerCredit::default();
        };
        PeerCredit {
            node_id: Some(node_id),
            standing: pair.standing,
            friend: self.policy.friends.contains(&node_id),
            bid: self.exchange.bid(peer),
            own_bid: self.exchange.own_bid(peer),
            exposure: pair.exposure,
            window: pair.window,
            window_plain: pair.window_plain,
            has_paid: pair.has_paid,
            paid_bytes: pair.paid_bytes,
            is_late: pair.is_late,
            backing_off: pair.backing_off,
        }
    }

    /// The key of a connection that is worth more than its place: a friend's, one that pays or is
    /// paid, or that paid for 1 MiB or gave us as much more than it got. A bid alone costs nothing
    /// and counts for nothing, nor does a block.
    pub fn valued_key(&self, peer: PeerIndex, now: Instant) -> Option<NodeId> {
        let credit = self.peer(peer);
        let trades = !credit.own_bid.is_zero() || self.may_pay(peer, now);
        let standing = Bytes::new(u64::try_from(credit.standing).unwrap_or(0));
        let gave = credit.paid_bytes.max(standing) >= VALUED_MIN;
        credit.node_id.filter(|_| credit.friend || trades || gave)
    }

    /// A peer's bid in force: kept with each request that it sends.
    pub fn bid(&self, peer: PeerIndex) -> Rate {
        self.exchange.bid(peer)
    }

    /// Whether a peer may have a paid seat at its bid in force.
    pub fn may_pay(&self, peer: PeerIndex, now: Instant) -> bool {
        self.exchange.is_paid_eligible(peer, now)
    }

    /// The price of a peer's paid seat; zero without one.
    pub fn seat_price(&self, peer: PeerIndex) -> Rate {
        self.exchange.seat_price(peer)
    }

    /// Live connections of a key, oldest first.
    pub fn connections_of(&self, key: NodeId) -> Vec<PeerIndex> {
        self.exchange.connections_of(key)
    }

    /// How a peer is served from now; `is_choked` if it is served no more at all.
    pub fn set_service(
        &mut self,
        peer: PeerIndex,
        service: Service,
        is_choked: bool,
        now: Instant,
    ) {
        if is_choked {
            self.exchange.flush(peer, now);
        }
        self.exchange.set_quote(peer, service);
        self.route(now);
    }

    /// How a block requested under `bid` would be served now.
    pub fn price(&mut self, peer: PeerIndex, len: u32, bid: Rate, now: Instant) -> Granted {
        let granted = self.exchange.price_of(peer, len, bid, now);
        self.route(now);
        granted
    }

    /// Grants a block. The QUOTE that announces how it is served is among the outputs: they go out
    /// before the block does.
    pub fn grant(&mut self, peer: PeerIndex, len: u32, bid: Rate, now: Instant) -> Granted {
        let granted = self.exchange.grant(peer, len, bid, now);
        self.route(now);
        granted
    }

    /// Payload left for the kernel.
    pub fn sent(&mut self, peer: PeerIndex, bytes: u64, now: Instant) {
        self.exchange.sent(peer, bytes, now);
        self.route(now);
    }
}
