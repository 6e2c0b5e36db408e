//! What owners say and see of boosts: orders, states, views and quotes.

use seedbank_ledger::signed::lock::LockId;
use seedbank_ledger::{Bytes, Duration, MicroCredits, NodeId, Rate, UnixTime};

use super::waiting::WaitReason;
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
    /// After how many seconds it ends by itself: not when, or a request that is repeated a second
    /// later would have another body.
    pub time_to_live_secs: Option<u64>,
}

/// What a boost is doing.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum BoostState {
    /// Bidding, or waiting: [`BoostView::waiting`] says for what.
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
    /// Why nobody is paid on its behalf now; `None` while somebody is, or while it has just begun.
    pub waiting: Option<WaitReason>,
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
    /// What it came to so far.
    pub report: BoostReport,
}

/// What a boost came to: what was bought, and how fast it was against before.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct BoostReport {
    /// Bytes that what it spent paid for.
    pub paid: Bytes,
    /// Bytes per second of its torrent in the ten seconds before anybody served it as paid; `None`
    /// if there were no ten seconds of download before.
    pub rate_before: Option<Bytes>,
    /// Bytes of its torrent that came, from whomever, while somebody served it as paid.
    pub boosted: Bytes,
    /// How long that was, in milliseconds.
    pub boosted_ms: u64,
}

impl BoostReport {
    /// Bytes per second of its torrent while somebody served it as paid, rounded down; `None` for
    /// less than a second of that.
    pub fn rate_boosted(&self) -> Option<Bytes> {
        let rate = u128::from(self.boosted.get()) * 1_000 / u128::from(self.boosted_ms.max(1));
        let rate = Bytes::new(u64::try_from(rate).unwrap_or(u64::MAX));
        (self.boosted_ms >= 1_000).then_some(rate)
    }

    /// What a GiB cost, rounded down; `None` if nothing was paid for.
    pub fn cost_per_gib(&self, spent: MicroCredits) -> Option<Rate> {
        let raw = u128::from(spent.get()) << 30;
        let rate = raw.checked_div(u128::from(self.paid.get()))?;
        Some(Rate::new(u64::try_from(rate).unwrap_or(u64::MAX)))
    }
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
    /// Lowest ask among them; zero if there are none.
    pub ask_min: Rate,
    /// Highest ask among them.
    pub ask_max: Rate,
    /// The smallest lock that any of them who ask no more than the bid serves on: a budget below it
    /// buys nothing. Zero if there are none.
    pub lock_min: MicroCredits,
    /// Credit free to spend.
    pub available: MicroCredits,
    /// What a boost that is placed now, with all that is free to spend, would wait for.
    pub waiting: Option<WaitReason>,
    /// How long the rest takes, with and without; `None` while nothing is measured.
    pub estimate: Option<BoostEstimate>,
}

/// How long the rest of a torrent is expected to take, from rates that were measured.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct BoostEstimate {
    /// As it goes now.
    pub unboosted: Duration,
    /// With a boost.
    pub boosted: Duration,
}
