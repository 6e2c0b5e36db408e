//! Boosts: budgets that become bids and locks at payees.
//!
//! [`Boosts`] keeps the owner's boosts, exact to the micro-credit, and plans once a second what to
//! bid, reserve and give back. It does nothing itself: [`Boosts::plan`] looks at plain rows of what
//! the session sees and queues outputs. Orders are the wallet's (`wallet.rs`), locks and receipts
//! the exchange's. The rule by which several boosts share one lock is in `boost/book.rs`.

mod bid;
mod book;
pub mod config;
mod day;
mod estimate;
mod order;
mod payee;
mod places;
mod plan;
mod row;
mod waiting;
mod watch;

#[cfg(test)]
mod tests;

use std::collections::{BTreeMap, VecDeque};

use seedbank_ledger::charts::node::Available;
use seedbank_ledger::layout::LayoutError;
use seedbank_ledger::signed::lock::LockId;
use seedbank_ledger::tally::TallyRow;
use seedbank_ledger::{Bytes, Duration, Instant, MicroCredits, NodeId, Rate, UnixTime};

pub use bid::{BidSight, Bidder, Pauses};
pub use book::{Ending, OwnLock};
pub use order::{
    BoostEstimate, BoostOrder, BoostQuote, BoostReport, BoostState, BoostView, PayeeView,
};
pub use payee::Reserve;
pub use places::{PayeePlaces, PlaceSight};
pub use waiting::WaitReason;

use crate::credit::event::CreditEvent;
use crate::credit::output::CreditOutput;
use crate::credit::policy::{CreditError, CreditPolicy, check_request_id};
use crate::credit::receipts::limits::Window;
use crate::credit::wallet::Purse;
use crate::units::{PeerIndex, TorrentId};
use book::Book;
use config::{ACTIVE_MAX, ENDED_MAX, TIME_TO_LIVE_SECS_MAX};
use day::Day;
use payee::{PayeeSight, least, payees_of};
use plan::Means;
use row::{Boost, Share};
use waiting::LockNeeds;
use watch::Watch;

/// A torrent as boosts see it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TorrentRow {
    /// Which.
    pub torrent_id: TorrentId,
    /// Bytes of wanted pieces that are missing; `None` while the metainfo is not here or what is on
    /// disk is being verified.
    pub left: Option<Bytes>,
    /// Running: neither stopped nor failed.
    pub active: bool,
    /// Bytes per second that are fast enough; `None` for "as fast as can be".
    pub target_rate: Option<Bytes>,
    /// Its peers are not shown the key that pays.
    pub hides_key: bool,
    /// Length of its pieces, once known.
    pub piece_len: Option<Bytes>,
    /// Connections.
    pub peer_count: u32,
    /// Those of them that lack some piece.
    pub leecher_count: u32,
    /// Bytes that came for it in this run.
    pub received: Bytes,
    /// Bytes per second that come for it, over the last ten seconds; `None` until it is measured.
    pub rate: Option<Bytes>,
}

impl TorrentRow {
    /// A torrent that runs and of which nothing is known yet.
    pub fn new(torrent_id: TorrentId) -> Self {
        Self {
            torrent_id,
            left: None,
            active: true,
            target_rate: None,
            hides_key: false,
            piece_len: None,
            peer_count: 0,
            leecher_count: 0,
            received: Bytes::ZERO,
            rate: None,
        }
    }

    /// Why nobody will ever be paid for it: it is complete, or private.
    fn refusal(&self) -> Option<WaitReason> {
        if self.left == Some(Bytes::ZERO) {
            return Some(WaitReason::TorrentComplete);
        }
        self.hides_key.then_some(WaitReason::TorrentPrivate)
    }

    /// Whether its pieces are longer than any window, so that none can be paid for (S2).
    fn is_too_coarse(&self) -> bool {
        self.piece_len.is_some_and(|len| len > Window::V1.max)
    }
}

/// A connection to somebody who takes payment, Fast Extension and SYNC included.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PayeeCandidate {
    /// Which connection.
    pub peer: PeerIndex,
    /// Whose.
    pub node_id: NodeId,
    /// For which torrent.
    pub torrent_id: TorrentId,
    /// Lowest bid it serves as paid.
    pub rate_min: Rate,
    /// Longest piece of the torrents shared with it: where the window starts.
    pub piece_len: Bytes,
    /// What it was ever paid: by which the window grows.
    pub paid: MicroCredits,
    /// It has every piece.
    pub is_seed: bool,
    /// It has a piece that is missing here.
    pub has_missing: bool,
    /// Bytes per second it sends us on this connection.
    pub rate_to_us: Bytes,
    /// It chokes us.
    pub choking_us: bool,
    /// Bytes that came on this connection in total.
    pub received: Bytes,
    /// It is asked for something.
    pub asked: bool,
    /// We have a paid seat there.
    pub seated: bool,
}

/// Everything a plan looks at.
#[derive(Clone, Copy, Debug)]
pub struct Round<'a> {
    /// The driver's clock.
    pub now: Instant,
    /// Time between two rounds of a choker: what a bid is given to show its effect.
    pub choke_round: Duration,
    /// Settlement time.
    pub time: UnixTime,
    /// The owner's policy.
    pub policy: &'a CreditPolicy,
    /// Every torrent.
    pub torrents: &'a [TorrentRow],
    /// Every connection that can be paid.
    pub candidates: &'a [PayeeCandidate],
    /// Every lock we pay from that the exchange knows, closed ones included.
    pub locks: &'a [OwnLock],
    /// The wallet's.
    pub purse: &'a Purse,
    /// Most bytes per second that are taken in; `None` for no limit.
    pub download_max: Option<Bytes>,
}

/// A stored row that is none of ours.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("stored boost {id}: {error}")]
pub struct BoostRowError {
    /// Which.
    pub id: u64,
    /// What is wrong with it.
    pub error: LayoutError,
}

/// The owner's boosts.
#[derive(Debug, Default)]
pub struct Boosts {
    book: Book,
    /// Locks as the last plan saw them, and when that was.
    locks: BTreeMap<LockId, OwnLock>,
    time: UnixTime,
    /// Whom each boost funds.
    places: PayeePlaces,
    bidders: BTreeMap<PeerIndex, Bidder>,
    /// What is said of each active boost.
    watches: BTreeMap<u64, Watch>,
    /// Payees that get no raise.
    raise_pauses: Pauses,
    /// Payees for whom a lock could not be had.
    lock_pauses: Pauses,
    /// When a lock may be renewed again.
    renewals: BTreeMap<LockId, Instant>,
    /// Locks that no boost wants, and since when.
    unwanted: BTreeMap<LockId, Instant>,
    outputs: VecDeque<CreditOutput>,
}

/// The row of what the day cost; boosts are numbered from 1.
const DAY_ID: u64 = 0;

impl Boosts {
    /// Boosts as `rows` say; rows of other kinds are left alone.
    pub fn restore(rows: &[TallyRow]) -> Result<Self, BoostRowError> {
        let mut boosts = Self::default();
        for row in rows {
            let TallyRow::Boost {
                id,
                bytes: Some(bytes),
            } = row
            else {
                continue;
            };
            let fail = |error| BoostRowError { id: *id, error };
            if *id == DAY_ID {
                boosts.book.day = Day::from_bytes(bytes).map_err(fail)?;
            } else {
                let boost = Boost::from_bytes(bytes).map_err(fail)?;
                boosts.book.restore(*id, boost);
            }
        }
        Ok(boosts)
    }

    /// Places a boost; its number. The same request id with the same body is the same boost.
    ///
    /// `torrent` is the order's, and `purse` is `None` without a settlement node. A torrent for
    /// which nobody will ever be paid is refused; what else is in the way, a boost waits for.
    pub fn create(
        &mut self,
        order: &BoostOrder,
        torrent: &TorrentRow,
        purse: Option<&Purse>,
        policy: &CreditPolicy,
        time: UnixTime,
    ) -> Result<u64, CreditError> {
        check_order(order)?;
        let same_id = |boost: &Boost| boost.order.request_id == order.request_id;
        let known = self.book.boosts.iter().find(|(_, boost)| same_id(boost));
        if let Some((id, boost)) = known {
            return if boost.order == *order {
                Ok(*id)
            } else {
                Err(CreditError::RequestIdReused(order.request_id.clone()))
            };
        }
        match torrent.refusal() {
            Some(WaitReason::TorrentComplete) => {
                return Err(CreditError::TorrentComplete(order.torrent_id));
            }
            Some(_) => return Err(CreditError::TorrentPrivate(order.torrent_id)),
            None => {}
        }
        let bad = |field, problem| Err(CreditError::BadValue { field, problem });
        let Some(purse) = purse else {
            return Err(CreditError::NoSettlement);
        };
        if !policy.spend {
            return Err(CreditError::SpendingDisabled);
        }
        let active = self.book.boosts.values().filter(|boost| boost.is_active());
        if active.count() >= ACTIVE_MAX {
            return bad("boost", "has to wait: too many are active");
        }
        let available = self.divide(purse);
        if order.max > available.free {
            return Err(CreditError::InsufficientCredit {
                needed: order.max,
                available,
            });
        }
        let last = self.book.boosts.last_key_value();
        let id = last.map_or(1, |(last, _)| last.saturating_add(1));
        let boost = Boost::new(order.clone(), time);
        assert_eq!(boost.free(), order.max, "all of a new budget is free");
        self.book.boosts.insert(id, boost);
        self.book.dirty.insert(id);
        self.forget_old();
        self.write_rows();
        Ok(id)
    }

    /// Ends a boost. What is locked returns as its locks close; ending it twice changes nothing.
    pub fn cancel(&mut self, id: u64) -> Result<(), CreditError> {
        let boost = self.book.boosts.get(&id);
        let boost = boost.ok_or(CreditError::BoostUnknown(id))?;
        if boost.is_active() {
            self.end(id, BoostState::Cancelled, "cancelled");
        }
        Ok(())
    }

    /// The torrent is gone for good: its boosts end.
    pub fn torrent_removed(&mut self, torrent_id: TorrentId) {
        let ids: Vec<u64> = self
            .active()
            .filter(|(_, boost)| boost.order.torrent_id == torrent_id)
            .map(|(id, _)| id)
            .collect();
        for id in ids {
            self.end(id, BoostState::Cancelled, "torrent removed");
        }
    }

    /// The exchange signed this much to a payee for so many bytes of a torrent. Booked by the next
    /// plan.
    pub fn spent(
        &mut self,
        payee: NodeId,
        torrent_id: TorrentId,
        bytes: Bytes,
        amount: MicroCredits,
    ) {
        let of_it = self.locks.values().filter(|lock| lock.payee() == payee);
        let locks: Vec<LockId> = of_it.map(OwnLock::id).collect();
        self.book.paid_for(torrent_id, &locks, bytes);
        if !amount.is_zero() {
            self.book.hint(payee, torrent_id, amount);
        }
    }

    /// The next thing to do; `None` when there is nothing until the next call.
    pub fn poll_output(&mut self) -> Option<CreditOutput> {
        self.outputs.pop_front()
    }

    /// Whether there is anything to plan: a boost is active or credit is still to come back.
    pub fn is_idle(&self) -> bool {
        let busy = |boost: &Boost| boost.is_active() || !boost.locked().is_zero();
        let closed = self.locks.values().all(|lock| lock.status.closed);
        closed && !self.book.boosts.values().any(busy) && self.bidders.is_empty()
    }

    /// Credit that is promised to active boosts, and neither spent nor reserved.
    pub fn set_aside(&self) -> MicroCredits {
        self.book.committed()
    }

    /// What is available, by what it is promised to.
    pub fn divide(&self, purse: &Purse) -> Available {
        let available = purse.spendable.saturating_add(purse.pending);
        Available::divide(available, purse.pending, self.set_aside())
    }

    /// What a boost of this torrent would meet at this bid, with all that is free to spend.
    pub fn quote(&self, torrent: &TorrentRow, bid: Rate, round: &Round<'_>) -> BoostQuote {
        let payees = payees_of(torrent.torrent_id, round.candidates);
        let useful = || payees.values().filter(|payee| payee.has_missing);
        let mut eligible: Vec<&PayeeSight> =
            useful().filter(|payee| payee.rate_min <= bid).collect();
        eligible.sort_by_key(|payee| payee.rank());
        let left = torrent.left.unwrap_or(Bytes::ZERO);
        let available = self.divide(round.purse).free;
        let lock_min = eligible.iter().map(|payee| least(bid, payee)).min();
        let needs = |smallest| LockNeeds {
            smallest,
            free: available.max(smallest),
        };
        let lock_obstacle = || {
            let means = Means {
                spendable: available,
                ..self.means(round)
            };
            waiting::lock_obstacle(round, &means, &needs(lock_min?))
        };
        let obstacle = waiting::obstacle(round, Some(torrent), bid, &payees);
        BoostQuote {
            left,
            cost_max: bid.cost_ceil(left).unwrap_or(MicroCredits::MAX),
            payee_count: waiting::count(useful().count()),
            ask_min: useful()
                .map(|payee| payee.rate_min)
                .min()
                .unwrap_or_default(),
            ask_max: useful()
                .map(|payee| payee.rate_min)
                .max()
                .unwrap_or_default(),
            lock_min: lock_min.unwrap_or_default(),
            available,
            waiting: obstacle.or_else(lock_obstacle),
            estimate: estimate::estimate(torrent, &eligible, round.download_max),
        }
    }

    /// Every boost, oldest first, as of the last plan.
    pub fn views(&self) -> Vec<BoostView> {
        let boosts = self.book.boosts.iter();
        boosts.map(|(id, boost)| self.view(*id, boost)).collect()
    }

    /// Asserts what always holds.
    ///
    /// # Panics
    /// If a rule of ours is broken.
    pub fn check_invariants(&self) {
        self.book.check_invariants(&self.locks);
        let mut funded: BTreeMap<u64, usize> = BTreeMap::new();
        for (id, _) in self.places.all() {
            *funded.entry(id).or_default() += 1;
        }
        for count in funded.values() {
            assert!(*count <= config::PAYEES_MAX, "a boost funds few payees");
        }
    }

    fn view(&self, id: u64, boost: &Boost) -> BoostView {
        let payee = |(lock_id, share): (&LockId, &Share)| {
            let lock = self.locks.get(lock_id)?.status.lock.body;
            Some(PayeeView {
                node_id: lock.payee,
                lock_id: *lock_id,
                amount: share.amount,
                signed: share.spent,
                returns_at: lock.returns_at(),
            })
        };
        BoostView {
            id,
            torrent_id: boost.order.torrent_id,
            state: boost.state,
            waiting: self.watches.get(&id).and_then(Watch::shown),
            max: boost.order.max,
            bid: boost.order.bid,
            spent: boost.spent(),
            locked: boost.locked(),
            free: boost.free(),
            created_at: boost.created_at,
            until: boost.until(),
            payees: boost.shares.iter().filter_map(payee).collect(),
            report: boost.report,
        }
    }

    fn active(&self) -> impl Iterator<Item = (u64, &Boost)> {
        let active = self
            .book
            .boosts
            .iter()
            .filter(|(_, boost)| boost.is_active());
        active.map(|(id, boost)| (*id, boost))
    }

    fn end(&mut self, id: u64, state: BoostState, why: &'static str) {
        let boost = self.book.boost_mut(id);
        assert!(boost.is_active(), "a boost ends once");
        boost.state = state;
        let spent = boost.spent();
        let is_final = boost.is_settled();
        self.watches.remove(&id);
        self.places.end(id);
        self.forget_old();
        self.write_rows();
        let event = CreditEvent::BoostEnded {
            boost: id,
            why,
            spent,
            is_final,
        };
        self.outputs.push_back(event.into());
    }

    /// Forgets the oldest ended boosts past the bound; never the newest of all, whose number must
    /// not be given again, nor one whose credit is still out.
    fn forget_old(&mut self) {
        let last = self.book.boosts.last_key_value().map(|(id, _)| *id);
        let over = |boost: &Boost| !boost.is_active() && boost.locked().is_zero();
        let ended: Vec<u64> = self
            .book
            .boosts
            .iter()
            .filter(|(id, boost)| over(boost) && boost.shares.is_empty() && Some(**id) != last)
            .map(|(id, _)| *id)
            .collect();
        let excess = ended.len().saturating_sub(ENDED_MAX);
        let rows: Vec<TallyRow> = ended
            .into_iter()
            .take(excess)
            .map(|id| {
                self.book.boosts.remove(&id);
                self.book.dirty.remove(&id);
                TallyRow::Boost { id, bytes: None }
            })
            .collect();
        if !rows.is_empty() {
            self.outputs.push_back(CreditOutput::Tally(rows));
        }
    }

    /// Queues the rows of everything that changed.
    fn write_rows(&mut self) {
        let dirty = std::mem::take(&mut self.book.dirty);
        let row = |id: u64| {
            let bytes = self.book.boosts.get(&id)?.to_bytes();
            Some(TallyRow::Boost {
                id,
                bytes: Some(bytes),
            })
        };
        let mut rows: Vec<TallyRow> = dirty.into_iter().filter_map(row).collect();
        if std::mem::take(&mut self.book.day_is_dirty) {
            rows.push(TallyRow::Boost {
                id: DAY_ID,
                bytes: Some(self.book.day.to_bytes()),
            });
        }
        if !rows.is_empty() {
            self.outputs.push_back(CreditOutput::Tally(rows));
        }
    }
}

fn check_order(order: &BoostOrder) -> Result<(), CreditError> {
    let bad = |field, problem| Err(CreditError::BadValue { field, problem });
    check_request_id(&order.request_id)?;
    if order.max.is_zero() {
        return bad("max", "must be more than zero");
    }
    if order.bid.is_zero() {
        return bad("bid", "must be more than zero");
    }
    if order.bid > crate::credit::receipts::limits::RATE_MAX {
        return bad("bid", "is more than anybody takes");
    }
    let secs = order.time_to_live_secs;
    if secs.is_some_and(|secs| !(1..=TIME_TO_LIVE_SECS_MAX).contains(&secs)) {
        return bad("time_to_live", "must be a second to a hundred years");
    }
    Ok(())
}
