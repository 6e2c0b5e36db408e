//! One connection's share of the protocol: its opening, and the prices in force on its streams.

use seedbank_ledger::{Bytes, Duration, Instant, NetworkId, NodeId, Rate};

use crate::credit::receipts::limits::{
    BID_BURST, BID_BURST_TAKEN, BID_INTERVAL, CONTROL_BURST_TAKEN, CONTROL_INTERVAL, SYNC_BURST,
    SYNC_BURST_TAKEN, SYNC_INTERVAL,
};
use crate::credit::receipts::service::Service;
use crate::credit::receipts::violation::Violation;
use crate::units::TorrentId;
use crate::wire::receipt::{Hello, ReceiptMessage};

/// A connection on which HELLO was sent and no key is proven. It leaves nothing behind.
#[derive(Clone, Debug)]
pub struct Opening {
    /// Torrent of the connection.
    pub torrent_id: TorrentId,
    /// Its piece length.
    pub piece_len: u32,
    /// Both ends have the Fast Extension.
    pub fast: bool,
    /// Our nonce.
    pub nonce: [u8; 16],
    /// What the peer's HELLO says; AUTH was sent when it came.
    pub hello: Option<Hello>,
}

/// How far a connection has come whose key is proven. Messages are legal in one phase only.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum OpeningPhase {
    /// SYNC was sent; receipts may be resent here from now.
    Syncing,
    /// Its SYNC came: paid bytes and receipts may flow.
    Ready,
    /// Plain BitTorrent: it broke a rule, or the pair cannot be one.
    Plain,
}

/// A connection whose peer has proven its key.
#[derive(Clone, Debug)]
pub struct Connection {
    /// Its key.
    pub key: NodeId,
    /// Torrent of the connection.
    pub torrent_id: TorrentId,
    /// Its piece length.
    pub piece_len: u32,
    /// Both ends have the Fast Extension: the paid class is possible.
    pub fast: bool,
    /// Both ends belong to one network: locks are possible.
    pub same_network: bool,
    /// How far it has come.
    pub phase: OpeningPhase,
    /// As payer: the lowest bid that it serves as paid.
    pub peer_rate_min: Option<Rate>,
    /// As payer: the window that it allows at first.
    pub peer_window: Bytes,
    /// As payee: its bid in force.
    pub peer_bid: Rate,
    /// As payee: how many bids it may send.
    pub peer_bids: Allowance,
    /// How many SYNCs it may send.
    pub peer_syncs: Allowance,
    /// How many messages of the other kinds, receipts apart: those are coalesced.
    pub peer_controls: Allowance,
    /// As payee: how it is to be served.
    pub service: Service,
    /// As payee: the price of its paid seat; zero without one.
    pub price: Rate,
    /// As payee: what QUOTE said last.
    pub quoted: Service,
    /// As payee: the window that QUOTE said last.
    pub quoted_window: Bytes,
    /// What it was told last of what was written off.
    pub quoted_off: Bytes,
    /// As payee: when a QUOTE is due because the window is another one; `None` if it is not.
    pub window_due: Option<Instant>,
    /// As payer: our bid in force.
    pub own_bid: Rate,
    /// As payer: the bid we want, until the limit lets it through.
    pub wanted_bid: Rate,
    /// As payer: how many bids may be sent.
    pub bids: Allowance,
    /// As payer: its QUOTE in force.
    pub quote: Service,
    /// As payer: it has sent a QUOTE, which says what window it allows our key.
    pub has_quoted: bool,
    /// SYNCs and ERRs that it can make us send.
    pub answers: Allowance,
}

/// A number of times per interval, with a burst (GCRA, ITU-T I.371).
#[derive(Clone, Copy, Debug)]
pub struct Allowance {
    interval: Duration,
    burst: u64,
    /// When the burst will be whole again.
    whole_at: Instant,
}

impl Connection {
    /// A connection on which AUTH just came; its HELLO said `hello`.
    pub fn new(opening: &Opening, hello: &Hello, own_network: Option<NetworkId>) -> Self {
        Self {
            key: hello.node_id,
            torrent_id: opening.torrent_id,
            piece_len: opening.piece_len,
            fast: opening.fast,
            same_network: own_network == Some(hello.network_id),
            phase: OpeningPhase::Syncing,
            peer_rate_min: hello.rate_min,
            peer_window: hello.window,
            peer_bid: Rate::ZERO,
            peer_bids: Allowance::new(BID_INTERVAL, BID_BURST_TAKEN),
            peer_syncs: Allowance::new(SYNC_INTERVAL, SYNC_BURST_TAKEN),
            peer_controls: Allowance::new(CONTROL_INTERVAL, CONTROL_BURST_TAKEN),
            service: Service::Open,
            price: Rate::ZERO,
            quoted: Service::Open,
            quoted_window: Bytes::ZERO,
            quoted_off: Bytes::ZERO,
            window_due: None,
            own_bid: Rate::ZERO,
            wanted_bid: Rate::ZERO,
            bids: Allowance::new(BID_INTERVAL, BID_BURST),
            quote: Service::Open,
            has_quoted: false,
            answers: Allowance::new(SYNC_INTERVAL, SYNC_BURST),
        }
    }

    /// Charges a message of the peer's to the budget of its kind. An honest peer stays far below.
    ///
    /// # Errors
    /// The budget is used up.
    pub fn charge(&mut self, message: &ReceiptMessage, now: Instant) -> Result<(), Violation> {
        let (budget, exceeded) = match message {
            // Told apart by phase, and coalesced.
            ReceiptMessage::Hello(_) | ReceiptMessage::Auth(_) | ReceiptMessage::Receipt(_) => {
                return Ok(());
            }
            ReceiptMessage::Bid(_) => (&mut self.peer_bids, Violation::TooManyBids),
            ReceiptMessage::Sync(_) => (&mut self.peer_syncs, Violation::TooManySyncs),
            ReceiptMessage::Quote(_)
            | ReceiptMessage::Lock(_)
            | ReceiptMessage::Close { .. }
            | ReceiptMessage::Tip { .. }
            | ReceiptMessage::Error { .. } => (&mut self.peer_controls, Violation::TooManyControls),
        };
        if budget.take(now) {
            Ok(())
        } else {
            Err(exceeded)
        }
    }

    /// Whether paid bytes and receipts may flow.
    pub fn is_ready(&self) -> bool {
        self.phase == OpeningPhase::Ready
    }

    /// Whether receipts may be resent: the peer has our AUTH and SYNC before them in any case.
    pub fn is_synced_by_us(&self) -> bool {
        match self.phase {
            OpeningPhase::Syncing | OpeningPhase::Ready => true,
            OpeningPhase::Plain => false,
        }
    }

    /// Whether receipts on locks, and CLOSE, may be sent; blocks need not have a price here.
    pub fn takes_receipts(&self) -> bool {
        self.is_ready() && self.same_network
    }

    /// Whether blocks can have a price.
    pub fn is_payable(&self) -> bool {
        self.takes_receipts() && self.fast
    }
}

impl Allowance {
    /// A whole burst.
    pub const fn new(interval: Duration, burst: u64) -> Self {
        Self {
            interval,
            burst,
            whole_at: Instant::ZERO,
        }
    }

    /// Uses one, if there is one.
    pub fn take(&mut self, now: Instant) -> bool {
        if now < self.next_at() {
            return false;
        }
        self.whole_at = self.whole_at.max(now).after(self.interval);
        true
    }

    /// When there is one again.
    pub fn next_at(&self) -> Instant {
        let slack = self.interval.times(self.burst.saturating_sub(1));
        Instant::from_nanos(self.whole_at.as_nanos().saturating_sub(slack.as_nanos()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bids_are_limited_to_one_a_second_and_a_burst_of_four() {
        let mut bids = Allowance::new(BID_INTERVAL, BID_BURST);
        let at = |ms| Instant::ZERO.after(Duration::from_millis(ms));
        let sent = (0..10).filter(|_| bids.take(at(0))).count();
        assert_eq!(sent, 4);
        assert_eq!(bids.next_at(), at(1_000));
        assert!(!bids.take(at(999)));
        assert!(bids.take(at(1_000)));
        let sent = (0..10).filter(|_| bids.take(at(100_000))).count();
        assert_eq!(sent, 4);
    }
}
