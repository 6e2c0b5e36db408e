//! One rechoke round as a function from values to values.
//!
//! Slots are filled in this order: those within dwell keep theirs; the paid class as `seats.rs`
//! decided; the reciprocal class; the optimistic slots with what is left. A bidder who is outbid is
//! then a peer like any other.

use std::cmp::Reverse;
use std::collections::BTreeMap;

use seedbank_ledger::{Instant, Rate};

use super::{
    Candidate, Choke, Class, Decision, IDLE_RATE_MAX, IDLE_TURN, OPTIMISTIC_TURN, PaidRule,
    PaidTerms, RECIPROCAL_RATE_MIN, Reason, SeatPlan, SlotPolicy, WAITED_TURN,
};

/// A candidate and what the choker remembers of it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RankRow {
    /// Who, and what we know of it.
    pub candidate: Candidate,
    /// Its state before this round.
    pub choke: Choke,
    /// When a peer of its address group last held an open slot.
    pub group_turn: Option<Instant>,
}

/// A round's outcome.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Ranking {
    /// One per row, in order of peers.
    pub decisions: Vec<Decision>,
    /// Under `uniform_price`, the highest losing bid of somebody who has paid, or the lowest rate
    /// that is served; else `None`.
    pub clearing_price: Option<Rate>,
}

/// Decides who is unchoked for the coming round, with a class and a reason for each; who is paid
/// class is decided in `plan`.
///
/// At most `policy.slots` are unchoked, unless more than that are within dwell, and but for one on
/// trial where a single slot is for sale. Input order does
/// not matter; ties go to the longest wait, then to the peer we met first. O(n log n). Choking as
/// in BEP 3; payment outranks reciprocation on all but the open share of the slots.
///
/// Optimistic seats go to whoever waited longest, not with triple chance to newcomers as BEP 3
/// suggests: a new identity is free, so that would reward coming back under another one.
pub fn rank(rows: &[RankRow], plan: &SeatPlan, policy: &SlotPolicy, now: Instant) -> Ranking {
    let mut round = RankedRound::new(rows, plan, policy, now);
    round.keep_those_within_dwell();
    round.seat_paid();
    round.seat_reciprocal();
    round.seat_optimistic();
    round.into_ranking()
}

impl RankRow {
    /// Choked, and would take a slot now.
    pub fn waits(&self, now: Instant) -> bool {
        let may = self.candidate.refusal().is_none() && !self.candidate.snubbed;
        may && !self.choke.is_unchoked() && !self.choke.rests(now)
    }

    /// Since when it has been waiting for an open slot: interested, choked, and nobody of its
    /// address group served.
    pub fn waiting_since(&self) -> Instant {
        let interested = self.candidate.interested_since.unwrap_or(Instant::MAX);
        let last_turn = match self.choke {
            Choke::Choked { since } => since.unwrap_or(Instant::ZERO),
            Choke::Unchoked { since, .. } => since,
        };
        interested
            .max(last_turn)
            .max(self.group_turn.unwrap_or(Instant::ZERO))
    }
}

#[derive(Clone, Copy)]
struct Seat {
    class: Class,
    reason: Reason,
}

struct RankedRound<'a> {
    rows: Vec<&'a RankRow>,
    plan: &'a SeatPlan,
    policy: &'a SlotPolicy,
    now: Instant,
    seats: Vec<Option<Seat>>,
    /// Seats that nobody holds yet.
    free_count: usize,
    /// Seats held by dwell or paid for, which may be more than there are slots.
    held_count: usize,
    /// Paid seats for which no slot is taken.
    beyond_count: usize,
}

/// Place in the order of the reciprocal class, best first.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Merit {
    /// Gives, on a torrent that we want more of; faster first.
    Gives(Reverse<u64>),
    /// Has given more than it got; its turn is not over; more first.
    Standing(Reverse<i64>),
    /// The same, after its turn.
    StandingServed(Reverse<i64>),
    /// Holds a slot for having waited and its turn is not over; the freshest first.
    Served(Reverse<Instant>),
    /// Waits; peers of one address group behind the first of every other, longest wait first.
    Waits(usize, Instant),
    /// Has had its turn, or was served in another class; the freshest first.
    HadTurn(Reverse<Instant>),
    /// Does not answer our requests: only if a slot is left over (BEP 3, anti-snubbing).
    Snubs(Instant),
}

impl<'a> RankedRound<'a> {
    fn new(rows: &'a [RankRow], plan: &'a SeatPlan, policy: &'a SlotPolicy, now: Instant) -> Self {
        let mut sorted: Vec<&RankRow> = rows.iter().collect();
        sorted.sort_by_key(|row| row.candidate.peer);
        let is_twice = |pair: &[&RankRow]| pair[0].candidate.peer == pair[1].candidate.peer;
        assert!(!sorted.windows(2).any(is_twice), "one row per peer");
        let seats = vec![None; sorted.len()];
        Self {
            rows: sorted,
            plan,
            policy,
            now,
            seats,
            free_count: policy.slots,
            held_count: 0,
            beyond_count: 0,
        }
    }

    fn keep_those_within_dwell(&mut self) {
        for (row, seat) in self.rows.iter().zip(&mut self.seats) {
            let Choke::Unchoked { class, .. } = row.choke else {
                continue;
            };
            // A stopped torrent's connections are closed anyway; everybody else may be a client
            // that takes a quick flip for an attack.
            if !row.choke.holds(self.now) || !row.candidate.torrent_active {
                continue;
            }
            let peer = row.candidate.peer;
            // A paid seat that is lost is no reason to stay.
            if self.plan.lost.contains_key(&peer) || self.plan.holds(peer) {
                continue;
            }
            let class = match class {
                Class::Paid => Class::Reciprocal,
                Class::Reciprocal | Class::Optimistic => class,
            };
            *seat = Some(Seat {
                class,
                reason: Reason::Dwell,
            });
            self.free_count = self.free_count.saturating_sub(1);
            self.held_count += 1;
        }
    }

    fn seat_paid(&mut self) {
        let mut paid_count = 0;
        for (row, seat) in self.rows.iter().zip(&mut self.seats) {
            if self.plan.holds(row.candidate.peer) {
                paid_count += 1;
                *seat = Some(Seat {
                    class: Class::Paid,
                    reason: row.candidate.paid_reason(),
                });
            }
        }
        self.beyond_count = self.plan.beyond.min(paid_count);
        let taken = paid_count - self.beyond_count;
        self.free_count = self.free_count.saturating_sub(taken);
        self.held_count += taken;
    }

    fn seat_reciprocal(&mut self) {
        let waiting_count = (0..self.rows.len())
            .filter(|index| self.may_sit(*index))
            .count();
        let optimistic_missing = self
            .policy
            .optimistic_count()
            .saturating_sub(self.count_of(Class::Optimistic));
        let mut regular = match waiting_count > self.free_count {
            true => self.free_count.saturating_sub(optimistic_missing),
            false => self.free_count,
        };
        let mut wins_left = regular + self.count_of(Class::Reciprocal);
        for (merit, index) in self.by_merit() {
            if wins_left == 0 {
                break;
            }
            let reason = merit.reason(&self.rows[index].candidate);
            let seat = Some(Seat {
                class: Class::Reciprocal,
                reason,
            });
            if self.seats[index].is_none() {
                if regular == 0 {
                    continue;
                }
                regular -= 1;
                self.free_count -= 1;
            }
            wins_left -= 1;
            self.seats[index] = seat;
        }
    }

    /// Who competes for the reciprocal class, those held in it by dwell included, best first.
    fn by_merit(&self) -> Vec<(Merit, usize)> {
        let ordinals = self.group_ordinals();
        let mut order: Vec<(Merit, usize)> = (0..self.rows.len())
            .filter(|index| match self.seats[*index] {
                Some(seat) => {
                    let eligible = self.rows[*index].candidate.refusal().is_none();
                    seat.class == Class::Reciprocal && eligible
                }
                None => self.may_sit(*index),
            })
            .map(|index| (self.merit(self.rows[index], ordinals[index]), index))
            .collect();
        order.sort_by_key(|(merit, index)| {
            let row = self.rows[*index];
            (*merit, row.waiting_since(), row.candidate.peer)
        });
        order
    }

    fn merit(&self, row: &RankRow, ordinal: usize) -> Merit {
        let candidate = &row.candidate;
        if candidate.snubbed && !candidate.seeding {
            return Merit::Snubs(row.waiting_since());
        }
        if !candidate.seeding && candidate.received_rate >= RECIPROCAL_RATE_MIN {
            return Merit::Gives(Reverse(candidate.received_rate));
        }
        let Choke::Unchoked {
            since,
            class,
            class_since,
        } = row.choke
        else {
            return match candidate.standing > 0 {
                true => Merit::Standing(Reverse(candidate.standing)),
                false => Merit::Waits(ordinal, row.waiting_since()),
            };
        };
        let is_idle = candidate.sent_rate < IDLE_RATE_MAX;
        let turn = if is_idle { IDLE_TURN } else { WAITED_TURN };
        let turn_over = self.now.since(since) >= turn;
        let may_finish_turn = match class {
            Class::Reciprocal => true,
            // Its seat rotates, but when seeding it keeps a slot for as long as the others had one.
            Class::Optimistic => {
                candidate.seeding && self.now.since(class_since) >= OPTIMISTIC_TURN
            }
            Class::Paid => false,
        };
        match (candidate.standing > 0, turn_over) {
            (true, false) => Merit::Standing(Reverse(candidate.standing)),
            (true, true) => Merit::StandingServed(Reverse(candidate.standing)),
            (false, false) if may_finish_turn => Merit::Served(Reverse(since)),
            (false, false | true) => Merit::HadTurn(Reverse(since)),
        }
    }

    fn seat_optimistic(&mut self) {
        let ordinals = self.group_ordinals();
        let mut order: Vec<_> = (0..self.rows.len())
            .filter(|index| self.may_sit(*index))
            .map(|index| {
                let row = self.rows[index];
                let place = match row.choke {
                    Choke::Unchoked {
                        class: Class::Optimistic,
                        class_since,
                        ..
                    } if self.now.since(class_since) < OPTIMISTIC_TURN => (0, 0),
                    Choke::Choked { .. } => (1, ordinals[index]),
                    Choke::Unchoked { .. } => (2, 0),
                };
                (place, row.waiting_since(), row.candidate.peer, index)
            })
            .collect();
        order.sort_unstable();
        for (_, _, _, index) in order.into_iter().take(self.free_count) {
            self.seats[index] = Some(Seat {
                class: Class::Optimistic,
                reason: Reason::Optimistic,
            });
            self.free_count -= 1;
        }
    }

    /// For each row, how many of its address group come before it: those seated in the open
    /// classes, then those that have waited longer. Always 0 without a group.
    fn group_ordinals(&self) -> Vec<usize> {
        let mut taken: BTreeMap<u64, usize> = BTreeMap::new();
        for (row, seat) in self.rows.iter().zip(&self.seats) {
            let is_open = seat.is_some_and(|seat| seat.class != Class::Paid);
            if let (Some(group), true) = (row.candidate.group, is_open) {
                *taken.entry(group).or_default() += 1;
            }
        }
        let mut order: Vec<usize> = (0..self.rows.len())
            .filter(|index| self.may_sit(*index))
            .collect();
        order.sort_by_key(|index| {
            let row = self.rows[*index];
            (
                !row.choke.is_unchoked(),
                row.waiting_since(),
                row.candidate.peer,
            )
        });
        let mut ordinals = vec![0; self.rows.len()];
        for index in order {
            if let Some(group) = self.rows[index].candidate.group {
                let count = taken.entry(group).or_default();
                ordinals[index] = *count;
                *count += 1;
            }
        }
        ordinals
    }

    /// Whether a row has no seat and may be given one.
    fn may_sit(&self, index: usize) -> bool {
        let row = self.rows[index];
        let is_free = self.seats[index].is_none();
        is_free && row.candidate.refusal().is_none() && !row.choke.rests(self.now)
    }

    fn count_of(&self, class: Class) -> usize {
        self.seats
            .iter()
            .flatten()
            .filter(|seat| seat.class == class)
            .count()
    }

    /// Asserts what a round decides at most.
    fn check_seats(&self) {
        let seated = self.seats.iter().flatten().count();
        assert!(
            seated <= self.policy.slots.max(self.held_count) + self.beyond_count,
            "nobody is unchoked beyond the slots but by dwell, or to be tried"
        );
        assert!(
            seated + self.free_count >= self.policy.slots,
            "a slot is free or somebody's"
        );
        for (row, seat) in self.rows.iter().zip(&self.seats) {
            let is_free = seat.is_some_and(|seat| seat.reason != Reason::Dwell);
            assert!(
                !is_free || row.candidate.refusal().is_none(),
                "whoever may hold no slot is given none"
            );
        }
    }

    fn into_ranking(self) -> Ranking {
        self.check_seats();
        let is_paid = |seat: &Option<Seat>| seat.is_some_and(|seat| seat.class == Class::Paid);
        let bidders = self.rows.iter().zip(&self.seats);
        let bidders = bidders.filter(|(row, seat)| is_paid(seat) && !row.candidate.friend);
        let highest = bidders.map(|(row, _)| row.candidate.bid).max();
        let clearing_price = match self.policy.rule {
            PaidRule::TopK | PaidRule::Proportional => None,
            PaidRule::UniformPrice => Some(self.plan.losing.unwrap_or(self.policy.rate_min)),
        };
        let terms = PaidTerms {
            rule: self.policy.rule,
            highest: highest.unwrap_or_default(),
            clearing_price,
        };
        let decide = |(row, seat): (&&RankRow, &Option<Seat>)| match seat {
            Some(seat) if seat.class == Class::Paid => terms.decision(&row.candidate),
            Some(seat) => Decision::open(row.candidate.peer, Some(seat.class), seat.reason),
            None => Decision::open(row.candidate.peer, None, self.why_choked(row)),
        };
        let decisions = self.rows.iter().zip(&self.seats).map(decide).collect();
        Ranking {
            decisions,
            clearing_price,
        }
    }

    fn why_choked(&self, row: &RankRow) -> Reason {
        let candidate = &row.candidate;
        match candidate.refusal() {
            Some(reason) => reason,
            None if self.plan.forfeits(candidate.peer) => Reason::SeatLost,
            // Outbid so soon is who cut its own bid.
            None if row.choke.holds(self.now) => Reason::SeatLost,
            None if row.choke.rests(self.now) => Reason::JustChoked,
            None if candidate.snubbed && !candidate.seeding => Reason::Snubbed,
            None => Reason::Outranked,
        }
    }
}

impl Merit {
    fn reason(self, candidate: &Candidate) -> Reason {
        match self {
            Self::Gives(_) => Reason::Reciprocal,
            Self::Standing(_) | Self::StandingServed(_) => Reason::Standing,
            Self::Served(_) | Self::Waits(..) | Self::HadTurn(_) if candidate.seeding => {
                Reason::Waited
            }
            Self::Served(_) | Self::Waits(..) | Self::HadTurn(_) | Self::Snubs(_) => {
                Reason::FreeSlot
            }
        }
    }
}
