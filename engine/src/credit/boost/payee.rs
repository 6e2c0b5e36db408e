//! A payee as boosts see it, and what one may reserve for it.

use std::cmp::Reverse;
use std::collections::BTreeMap;

use seedbank_ledger::{Bytes, MicroCredits, NodeId, Rate};

use super::PayeeCandidate;
use super::config::{DUST, LOCK_BYTES, LOCK_WINDOWS, WINDOW_MAX};
use super::row::Boost;
use crate::credit::receipts::limits::{Window, history};
use crate::units::{PeerIndex, TorrentId};

/// A payee of one torrent, over all its connections there.
#[derive(Clone, Copy, Debug)]
pub(super) struct PayeeSight {
    pub(super) node_id: NodeId,
    pub(super) rate_min: Rate,
    pub(super) piece_len: Bytes,
    pub(super) paid: MicroCredits,
    pub(super) is_seed: bool,
    pub(super) has_missing: bool,
    pub(super) rate_to_us: Bytes,
    pub(super) choking_us: bool,
    /// Bytes that came from it in total and were missing.
    pub(super) received: Bytes,
    /// It is asked for something.
    pub(super) asked: bool,
    /// We have a paid seat there.
    pub(super) seated: bool,
    /// Its oldest connection: the order in which we met.
    pub(super) met: PeerIndex,
}

impl PayeeSight {
    pub(super) fn rank(&self) -> impl Ord + use<> {
        rank(self.is_seed, self.rate_to_us, self.met)
    }
}

/// Smaller is better: seeds first, then by their rate to us, then the order in which we met.
pub(super) fn rank(is_seed: bool, rate_to_us: Bytes, met: PeerIndex) -> impl Ord + use<> {
    (!is_seed, Reverse(rate_to_us), met)
}

/// Everybody who can be paid for a torrent.
pub(super) fn payees_of(
    torrent_id: TorrentId,
    candidates: &[PayeeCandidate],
) -> BTreeMap<NodeId, PayeeSight> {
    let mut payees: BTreeMap<NodeId, PayeeSight> = BTreeMap::new();
    for row in candidates.iter().filter(|row| row.torrent_id == torrent_id) {
        let fresh = PayeeSight {
            node_id: row.node_id,
            rate_min: row.rate_min,
            piece_len: row.piece_len,
            paid: row.paid,
            is_seed: row.is_seed,
            has_missing: row.has_missing,
            rate_to_us: Bytes::ZERO,
            choking_us: true,
            received: Bytes::ZERO,
            asked: false,
            seated: false,
            met: row.peer,
        };
        let payee = payees.entry(row.node_id).or_insert(fresh);
        payee.rate_min = payee.rate_min.min(row.rate_min);
        payee.piece_len = payee.piece_len.max(row.piece_len);
        payee.paid = payee.paid.max(row.paid);
        payee.is_seed |= row.is_seed;
        payee.has_missing |= row.has_missing;
        payee.rate_to_us = payee.rate_to_us.saturating_add(row.rate_to_us);
        payee.choking_us &= row.choking_us;
        payee.received = payee.received.saturating_add(row.received);
        payee.asked |= row.asked;
        payee.seated |= row.seated;
        payee.met = payee.met.min(row.peer);
    }
    payees
}

/// Whether this boost may fund this payee.
pub(super) fn is_eligible(payee: &PayeeSight, boost: &Boost) -> bool {
    payee.has_missing && payee.rate_min <= boost.order.bid
}

/// What one reserves at a payee at this bid.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Reserve {
    bid: Rate,
    window: Bytes,
}

impl Reserve {
    /// For a payee with whom the longest piece shared has this length, and who was paid so much.
    ///
    /// The exposure it allows us is reckoned by P1: what it says counts for nothing, for this
    /// decides how much credit is locked. What it costs never falls as a bid rises, so that at the
    /// highest bid it covers what the payee requires at any lower one (P5).
    pub fn new(bid: Rate, piece_len: Bytes, paid: MicroCredits) -> Self {
        let window = Window::V1.of(piece_len, history(paid, bid));
        let window = window.min(WINDOW_MAX).max(DUST);
        Self { bid, window }
    }

    /// The least a new lock holds: one window.
    pub fn least(&self) -> MicroCredits {
        cost(self.bid, self.window)
    }

    /// The least it holds if the budget allows.
    pub fn first(&self) -> MicroCredits {
        let bytes = self.window.get().saturating_mul(LOCK_WINDOWS);
        cost(self.bid, Bytes::new(bytes))
    }

    /// What one likes to have reserved while so many bytes are missing.
    pub fn wanted(&self, left: Bytes) -> MicroCredits {
        cost(self.bid, LOCK_BYTES.min(left)).max(self.first())
    }
}

/// The least a new lock for this payee holds.
pub(super) fn least(bid: Rate, payee: &PayeeSight) -> MicroCredits {
    reserve(bid, payee).least()
}

pub(super) fn reserve(bid: Rate, payee: &PayeeSight) -> Reserve {
    Reserve::new(bid, payee.piece_len, payee.paid)
}

/// Rounded up: enough for every byte.
pub(super) fn cost(bid: Rate, bytes: Bytes) -> MicroCredits {
    bid.cost_ceil(bytes).unwrap_or(MicroCredits::MAX)
}
