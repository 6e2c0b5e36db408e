//! What owners say and see of boosts: orders, states, views and quotes.

use seedbank_ledger::signed::lock::LockId;
use seedbank_ledger::{Bytes, MicroCredits, NodeId, Rate, UnixTime};

use crate::units::TorrentId;

/// An order to boost one torrent.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BoostOrder {
    /// Idempotency key; the same again gives the same boost, with another body it is refused.
    pub request_id: String,
    /// Which torrent.
    pub torrent_id: TorrentId,
    /// Most it may spend in total.
    pub max: MicroCredits,
    /// Highest bid.
    pub bid: Rate,
    /// When it ends by itself.
    pub until: Option<UnixTime>,
}

/// What a boost is doing.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum BoostState {
    /// Bidding or waiting for somebody to bid at.
    Active,
    /// The torrent completed; locked credit returns as locks close.
    Completed,
    /// Its budget is spent.
    Exhausted,
    /// The owner cancelled it.
    Cancelled,
    /// Its time ran out.
    Expired,
}

/// A boost as users see it: `spent + locked + free = max` while active.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BoostView {
    /// Which.
    pub id: u64,
    /// Torrent.
    pub torrent_id: TorrentId,
    /// What it is doing.
    pub state: BoostState,
    /// Most it may spend.
    pub max: MicroCredits,
    /// Highest bid.
    pub bid: Rate,
    /// Signed away on its behalf.
    pub spent: MicroCredits,
    /// Reserved in locks on its behalf and not signed away.
    pub locked: MicroCredits,
    /// Neither spent nor locked.
    pub free: MicroCredits,
    /// When it was placed.
    pub created_at: UnixTime,
    /// When it ends by itself.
    pub until: Option<UnixTime>,
    /// Whom it pays.
    pub payees: Vec<PayeeView>,
}

/// One payee of a boost.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PayeeView {
    /// Who.
    pub node_id: NodeId,
    /// Through which lock.
    pub lock_id: LockId,
    /// Reserved in total.
    pub amount: MicroCredits,
    /// Signed away.
    pub signed: MicroCredits,
    /// When what is left returns at the latest.
    pub returns_at: UnixTime,
}

/// What a boost would meet: a quote before spending.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BoostQuote {
    /// Bytes still missing.
    pub left: Bytes,
    /// Cost of them all at the bid, rounded up: never more than this.
    pub cost_max: MicroCredits,
    /// Connected peers that have missing pieces and take payment.
    pub payee_count: u32,
    /// Highest minimum rate among them.
    pub rate_min: Rate,
    /// Credit free to spend.
    pub available: MicroCredits,
}
