//! Why a boost buys nothing now, in words that say what to do about it (docs/RULES.md, boosts).
//!
//! Once a second every active boost is looked at: it is served as paid, or it waits for something.
//! The reason that is said is the first that holds in the order of [`WaitReason`]: what the owner
//! decided, what the torrent is, who is there, what a lock needs, and last what payees do. A quote
//! asks the same of a boost that is not placed yet. Nothing of it is stored.

use std::collections::BTreeMap;
use std::fmt;

use seedbank_ledger::{Bytes, Duration, MicroCredits, NodeId, Rate};

use super::book::Ending;
use super::payee::{PayeeSight, is_eligible, least, payees_of};
use super::plan::{Means, Turn, window_cost};
use super::row::Boost;
use super::{Boosts, Round, TorrentRow};
use crate::credit::receipts::limits::Window;

/// A payee that let us ask, was asked and sent nothing for this long is called silent. Its place it
/// keeps for [`SILENT_MAX`](super::config::SILENT_MAX).
const QUIET_MAX: Duration = Duration::from_secs(20);

/// Why a boost buys nothing now, with the figures that go with it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum WaitReason {
    /// The owner switched spending off.
    SpendingOff,
    /// Everything is here.
    TorrentComplete,
    /// The torrent is private: its peers are not shown the key that pays.
    TorrentPrivate,
    /// The torrent is stopped, has failed, or its metainfo or files are not known yet.
    TorrentNotReady,
    /// Its pieces are longer than any window, so that none can be paid for (S2).
    PieceTooLong {
        /// How long they are.
        piece: Bytes,
        /// The longest that can be paid for.
        max: Bytes,
    },
    /// Nobody is connected.
    NoPeers,
    /// Nobody who is connected takes payment.
    NobodyTakesPayment {
        /// Connections.
        peers: u32,
    },
    /// No payee has a piece that is missing here.
    NobodyHasMissing {
        /// Payees.
        payees: u32,
    },
    /// Every payee with missing pieces asks more than the boost bids.
    BelowAsk {
        /// The lowest ask among them.
        ask: Rate,
        /// The boost's highest bid.
        bid: Rate,
    },
    /// Another boost of the torrent pays first.
    AnotherFirst {
        /// Which.
        boost: u64,
    },
    /// The wall clock is too far off settlement time for locks.
    ClockOff {
        /// Settlement time minus ours, in seconds.
        secs: i64,
    },
    /// What is left of the budget is less than any payee serves on.
    BelowSmallestLock {
        /// The smallest lock.
        smallest: MicroCredits,
        /// What is left.
        free: MicroCredits,
    },
    /// The network's largest lock is less than any payee serves on.
    LocksTooSmall {
        /// The smallest lock that a payee serves on.
        smallest: MicroCredits,
        /// The network's largest.
        max: MicroCredits,
    },
    /// The owner's bound for 24 h is reached.
    DayLimit {
        /// The bound.
        max: MicroCredits,
        /// What it leaves now.
        left: MicroCredits,
    },
    /// A lock must be had and the settlement node does not answer.
    SettlementUnreachable,
    /// The account takes no locks: it was handed over, its orders were lost, or the network's locks
    /// are too short to be served on.
    AccountClosed,
    /// There is not enough credit for the smallest lock.
    NoCredit {
        /// The smallest lock.
        smallest: MicroCredits,
        /// What is free to spend.
        available: MicroCredits,
    },
    /// A lock was refused, or could not be had; it is asked for again within a minute.
    LockRefused,
    /// The lock before this one is still open at the payee: it must be closed first.
    LockClosing,
    /// Every payee chokes us at the bid, or is silent.
    AllChoke {
        /// Payees with a lock.
        payees: u32,
        /// The highest bid in force.
        bid: Rate,
        /// The boost's highest.
        max: Rate,
    },
    /// Every payee lets us ask and sends nothing.
    AllSilent {
        /// Payees.
        payees: u32,
    },
    /// Payees serve us for nothing: none gives us a paid place.
    NotSeated {
        /// Payees that serve us.
        payees: u32,
    },
}

/// What a look at a boost found.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum BoostFinding {
    /// It is served as paid.
    Works,
    /// It buys nothing.
    Waits(WaitReason),
    /// What was just begun can still go either way.
    Unclear,
}

/// What a lock needs.
#[derive(Clone, Copy, Debug)]
pub(super) struct LockNeeds {
    /// The smallest lock that a payee serves on.
    pub(super) smallest: MicroCredits,
    /// What the boost has left for it.
    pub(super) free: MicroCredits,
}

impl WaitReason {
    /// Whether it lasts until somebody does something. What does not may be gone in a second, and
    /// is said only after a while.
    pub(super) fn lasts(&self) -> bool {
        match self {
            Self::SpendingOff
            | Self::TorrentComplete
            | Self::TorrentPrivate
            | Self::TorrentNotReady
            | Self::PieceTooLong { .. }
            | Self::BelowAsk { .. }
            | Self::AnotherFirst { .. }
            | Self::ClockOff { .. }
            | Self::BelowSmallestLock { .. }
            | Self::LocksTooSmall { .. }
            | Self::DayLimit { .. }
            | Self::AccountClosed
            | Self::NoCredit { .. } => true,
            Self::NoPeers
            | Self::NobodyTakesPayment { .. }
            | Self::NobodyHasMissing { .. }
            | Self::SettlementUnreachable
            | Self::LockRefused
            | Self::LockClosing
            | Self::AllChoke { .. }
            | Self::AllSilent { .. }
            | Self::NotSeated { .. } => false,
        }
    }

    /// Whether it is about what payees do that have a lock.
    pub(super) fn is_of_service(&self) -> bool {
        matches!(
            self,
            Self::AllChoke { .. } | Self::AllSilent { .. } | Self::NotSeated { .. }
        )
    }
}

/// What happened, and what to do about it.
impl fmt::Display for WaitReason {
    #[expect(clippy::too_many_lines, reason = "one sentence a reason")]
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::SpendingOff => write!(f, "spending is off: switch it on in the policy"),
            Self::TorrentComplete => write!(f, "the torrent is complete: nothing is left to buy"),
            Self::TorrentPrivate => write!(
                f,
                "the torrent is private: its peers are not shown the key that pays"
            ),
            Self::TorrentNotReady => write!(
                f,
                "the torrent is stopped, has failed, is being checked, or has no metainfo yet"
            ),
            Self::PieceTooLong { piece, max } => write!(
                f,
                "its pieces of {} MiB are longer than the {} MiB that can be paid for",
                piece.get().div_ceil(1 << 20),
                max.get() >> 20
            ),
            Self::NoPeers => write!(f, "no peer is connected"),
            Self::NobodyTakesPayment { peers: 1 } => {
                write!(f, "the only connected peer takes no payment")
            }
            Self::NobodyTakesPayment { peers } => {
                write!(f, "none of {peers} connected peers takes payment")
            }
            Self::NobodyHasMissing { payees: 1 } => {
                write!(f, "the only payee has no piece that is missing here")
            }
            Self::NobodyHasMissing { payees } => write!(
                f,
                "none of {payees} payees has a piece that is missing here"
            ),
            Self::BelowAsk { ask, bid } => write!(
                f,
                "payees ask {ask} or more and the boost bids {bid} at most: \
                 start one with a higher bid"
            ),
            Self::AnotherFirst { boost } => write!(f, "boost {boost} of this torrent pays first"),
            Self::ClockOff { secs } => write!(
                f,
                "the clock is {} s {} settlement time, so no lock is opened: set the clock",
                secs.unsigned_abs(),
                if *secs < 0 { "ahead of" } else { "behind" }
            ),
            Self::BelowSmallestLock { smallest, free } => write!(
                f,
                "it has {free} left and the smallest lock is {smallest}: \
                 start one with a larger budget or a lower bid"
            ),
            Self::LocksTooSmall { smallest, max } => write!(
                f,
                "the smallest lock is {smallest} and this network's largest is {max}: \
                 start one with a lower bid"
            ),
            Self::DayLimit { max, left } => write!(
                f,
                "the day's limit of {max} leaves {left}: wait, or raise it in the policy"
            ),
            Self::SettlementUnreachable => write!(
                f,
                "a lock is needed and the settlement node does not answer"
            ),
            Self::AccountClosed => write!(f, "this account opens no locks in this network"),
            Self::NoCredit {
                smallest,
                available,
            } => write!(
                f,
                "the smallest lock is {smallest} and {available} is free to spend"
            ),
            Self::LockRefused => write!(
                f,
                "a lock was refused or could not be had: it is asked for again within a minute"
            ),
            Self::LockClosing => write!(f, "the former lock is still closing at its payee"),
            Self::AllChoke { payees, bid, max } => {
                match payees {
                    1 => write!(f, "1 payee does not serve us at {bid}")?,
                    _ => write!(f, "none of {payees} payees serves us at {bid}")?,
                }
                if bid < max {
                    write!(f, ": the bid rises up to {max}")
                } else {
                    write!(f, ", the highest bid: others bid more, or no place is free")
                }
            }
            Self::AllSilent { payees: 1 } => write!(
                f,
                "1 payee lets us ask and sends nothing: others are tried, \
                 and this one again after some minutes"
            ),
            Self::AllSilent { payees } => write!(
                f,
                "{payees} payees let us ask and send nothing: others are tried, \
                 and these again after some minutes"
            ),
            Self::NotSeated { payees: 1 } => {
                write!(
                    f,
                    "1 payee serves us for nothing and gives us no paid place yet"
                )
            }
            Self::NotSeated { payees } => write!(
                f,
                "{payees} payees serve us for nothing and none gives us a paid place yet"
            ),
        }
    }
}

/// What keeps any boost of a torrent at this bid from paying anybody: policy, torrent, peers, asks.
pub(super) fn obstacle(
    round: &Round<'_>,
    torrent: Option<&TorrentRow>,
    bid: Rate,
    payees: &BTreeMap<NodeId, PayeeSight>,
) -> Option<WaitReason> {
    if !round.policy.spend {
        return Some(WaitReason::SpendingOff);
    }
    let Some(torrent) = torrent else {
        return Some(WaitReason::TorrentNotReady);
    };
    if let Some(waiting) = torrent.refusal() {
        return Some(waiting);
    }
    if !torrent.active || torrent.left.is_none() {
        return Some(WaitReason::TorrentNotReady);
    }
    if torrent.is_too_coarse() {
        return Some(WaitReason::PieceTooLong {
            piece: torrent.piece_len.unwrap_or(Bytes::ZERO),
            max: Window::V1.max,
        });
    }
    let mut useful = payees.values().filter(|payee| payee.has_missing).peekable();
    if torrent.peer_count == 0 {
        Some(WaitReason::NoPeers)
    } else if payees.is_empty() {
        let peers = torrent.peer_count;
        Some(WaitReason::NobodyTakesPayment { peers })
    } else if useful.peek().is_none() {
        let payees = count(payees.len());
        Some(WaitReason::NobodyHasMissing { payees })
    } else {
        let ask = useful.map(|payee| payee.rate_min).min();
        let ask = ask.filter(|ask| *ask > bid);
        ask.map(|ask| WaitReason::BelowAsk { ask, bid })
    }
}

/// What keeps the smallest lock from being opened.
pub(super) fn lock_obstacle(
    round: &Round<'_>,
    means: &Means,
    needs: &LockNeeds,
) -> Option<WaitReason> {
    let LockNeeds { smallest, free } = *needs;
    let purse = round.purse;
    let day_max = round.policy.spend_per_day_max;
    if let Some(secs) = purse.clock_off_secs {
        return Some(WaitReason::ClockOff { secs });
    }
    if free < smallest {
        return Some(WaitReason::BelowSmallestLock { smallest, free });
    }
    if purse.synced && means.lock_max < smallest {
        let max = means.lock_max;
        return Some(WaitReason::LocksTooSmall { smallest, max });
    }
    if let Some(max) = day_max.filter(|_| means.day_left < smallest) {
        let left = means.day_left;
        return Some(WaitReason::DayLimit { max, left });
    }
    if !purse.synced || !purse.reachable {
        return Some(WaitReason::SettlementUnreachable);
    }
    if !purse.ready {
        return Some(WaitReason::AccountClosed);
    }
    let available = means.spendable;
    (available < smallest).then_some(WaitReason::NoCredit {
        smallest,
        available,
    })
}

impl Boosts {
    /// Whether an active boost is served as paid, and why not.
    pub(super) fn finding(
        &self,
        id: u64,
        boost: &Boost,
        round: &Round<'_>,
        turns: &[Turn],
    ) -> BoostFinding {
        let torrent_id = boost.order.torrent_id;
        let torrent = round
            .torrents
            .iter()
            .find(|row| row.torrent_id == torrent_id);
        let payees = payees_of(torrent_id, round.candidates);
        if let Some(waiting) = obstacle(round, torrent, boost.order.bid, &payees) {
            return BoostFinding::Waits(waiting);
        }
        let same = |turn: &&Turn| turn.torrent.torrent_id == torrent_id;
        let turn = turns.iter().find(same);
        match turn {
            Some(turn) if turn.boost != id && self.can_pay(boost, &payees) => {
                let boost = turn.boost;
                return BoostFinding::Waits(WaitReason::AnotherFirst { boost });
            }
            Some(_) | None => {}
        }
        let Some(turn) = turn.filter(|turn| turn.boost == id) else {
            return self.unfunded(id, boost, round, &payees);
        };
        let covered = |node_id: &NodeId| {
            let mut rows = round.candidates.iter();
            rows.any(|row| {
                let of_it = row.node_id == *node_id && row.torrent_id == torrent_id;
                of_it && self.is_covered(turn, row, round)
            })
        };
        let paid: Vec<&PayeeSight> = payees
            .values()
            .filter(|payee| self.places.has(id, payee.node_id))
            .filter(|payee| covered(&payee.node_id))
            .collect();
        if paid.is_empty() {
            self.unfunded(id, boost, round, &payees)
        } else {
            self.service(turn, boost, round, &paid)
        }
    }

    /// Nobody can be paid from a lock now: why.
    fn unfunded(
        &self,
        id: u64,
        boost: &Boost,
        round: &Round<'_>,
        payees: &BTreeMap<NodeId, PayeeSight>,
    ) -> BoostFinding {
        let bid = boost.order.bid;
        let eligible: Vec<&PayeeSight> = payees
            .values()
            .filter(|payee| is_eligible(payee, boost))
            .collect();
        let smallest = eligible.iter().map(|payee| least(bid, payee)).min();
        let Some(smallest) = smallest else {
            return BoostFinding::Unclear;
        };
        if !boost.pending.is_empty() {
            // It is there within a second, or the settlement node is slow to answer.
            return BoostFinding::Waits(WaitReason::SettlementUnreachable);
        }
        let means = self.means(round);
        let waits = |payee: &&&PayeeSight| !self.places.is_paused(&payee.node_id, round.now);
        if !eligible.iter().any(|payee| waits(&payee)) {
            let payees = count(eligible.len());
            return BoostFinding::Waits(WaitReason::AllSilent { payees });
        }
        let day_over = round
            .policy
            .spend_per_day_max
            .filter(|max| self.book.day.spent(round.time) >= *max);
        if let Some(max) = day_over {
            let left = MicroCredits::ZERO;
            return BoostFinding::Waits(WaitReason::DayLimit { max, left });
        }
        let held = eligible.iter().find_map(|payee| {
            self.places.get(id, payee.node_id)?;
            let lock = self.live_lock(payee.node_id)?;
            let left = boost.left_on(lock.id());
            (!left.is_zero()).then_some((lock, payee.node_id, left))
        });
        if let Some((lock, payee, left)) = held {
            if lock.ending != Ending::No {
                return BoostFinding::Waits(WaitReason::LockClosing);
            }
            let smallest = window_cost(payees, payee, bid);
            let free = left.saturating_add(boost.free());
            if self.book.is_shared(lock.id(), boost.order.torrent_id) && free < smallest {
                return BoostFinding::Waits(WaitReason::BelowSmallestLock { smallest, free });
            }
            // It is about to expire, and could not be renewed.
            let off = round.purse.clock_off_secs;
            return BoostFinding::Waits(off.map_or(WaitReason::SettlementUnreachable, |secs| {
                WaitReason::ClockOff { secs }
            }));
        }
        let free = boost.free();
        if let Some(waiting) = lock_obstacle(round, &means, &LockNeeds { smallest, free }) {
            return BoostFinding::Waits(waiting);
        }
        let refused = |payee: &&PayeeSight| self.lock_pauses.holds(&payee.node_id, round.now);
        if eligible.iter().all(refused) {
            return BoostFinding::Waits(WaitReason::LockRefused);
        }
        let closing = |payee: &&PayeeSight| self.blocks_new_lock(payee.node_id, round.time);
        if eligible.iter().all(closing) {
            return BoostFinding::Waits(WaitReason::LockClosing);
        }
        BoostFinding::Unclear
    }

    /// What the payees do that can be paid.
    fn service(
        &self,
        turn: &Turn,
        boost: &Boost,
        round: &Round<'_>,
        paid: &[&PayeeSight],
    ) -> BoostFinding {
        let now = round.now;
        let (mut choking, mut silent, mut serving) = (0_u32, 0_u32, 0_u32);
        for payee in paid {
            let Some(place) = self.places.get(turn.boost, payee.node_id) else {
                continue;
            };
            if payee.choking_us {
                // Whatever it quotes: a seat in which nothing can be asked for is none.
                choking += 1;
            } else if payee.seated && place.was_paid_since(QUIET_MAX, now) {
                return BoostFinding::Works;
            } else if place.is_quiet(QUIET_MAX, now) {
                silent += 1;
            } else if !payee.seated && place.was_heard_since(QUIET_MAX, now) {
                serving += 1;
            } else {
                return BoostFinding::Unclear;
            }
        }
        let all = choking + silent + serving;
        BoostFinding::Waits(if serving > 0 {
            WaitReason::NotSeated { payees: serving }
        } else if choking > 0 {
            let bids = round.candidates.iter().filter(|row| {
                let mut known = paid.iter();
                row.torrent_id == turn.torrent.torrent_id
                    && known.any(|one| one.node_id == row.node_id)
            });
            let bids = bids.filter_map(|row| self.bidders.get(&row.peer));
            let bid = bids.map(super::bid::Bidder::rate).max().unwrap_or_default();
            WaitReason::AllChoke {
                payees: all,
                bid,
                max: boost.order.bid,
            }
        } else {
            WaitReason::AllSilent { payees: all }
        })
    }
}

pub(super) fn count(len: usize) -> u32 {
    u32::try_from(len).unwrap_or(u32::MAX)
}
