//! One rechoke round as a function from values to values.
//!
//! Slots are filled in this order: those within dwell keep theirs; the paid class as `seats.rs`
//! decided; the reciprocal class; the optimistic slots with what is left. A bidder who is outbid is
//! then a peer like any other.

use std::cmp::Reverse;

use seedbank_ledger::{Instant, Rate};

use super::{
    Candidate, Choke, Class, Decision, IDLE_RATE_MAX, IDLE_TURN, OPTIMISTIC_TURN, PaidRule,
    PaidTerms, RECIPROCAL_RATE_MIN, Reason, SeatPlan, SlotPolicy, WAITED_TURN,
};
#[cfg(feature = "mutants")]
use crate::mutants::{self, Mutant};
use crate::units::PeerIndex;

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
#[derive(Clone, Debug, Default, PartialEq, Eq)]
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
    let mut ranking = Ranking::default();
    let round = RankTerms { plan, policy, now };
    rank_into(rows, &round, &mut RankScratch::default(), &mut ranking);
    ranking
}

/// What a round depends on besides the peers.
#[derive(Clone, Copy, Debug)]
pub struct RankTerms<'a> {
    /// Who is paid class.
    pub plan: &'a SeatPlan,
    /// What the owner decided.
    pub policy: &'a SlotPolicy,
    /// When it is decided.
    pub now: Instant,
}

/// What [`rank_into`] works in. It says nothing from one round to the next, and allocates only
/// while more rows come than ever before.
#[derive(Clone, Debug, Default)]
pub struct RankScratch {
    /// Places of the rows, in order of peers; all other places are in this order.
    order: Vec<usize>,
    seats: Vec<Option<Seat>>,
    merits: Vec<(Merit, Instant, PeerIndex, usize)>,
    turns: Vec<(OptimisticTurn, Instant, PeerIndex, usize)>,
    waiting: Vec<(u64, bool, Instant, PeerIndex, usize)>,
    ordinals: Vec<usize>,
    groups: Vec<u64>,
}

#[cfg(test)]
impl RankScratch {
    /// How much there is room for without allocating.
    pub(super) const fn room(&self) -> [usize; 7] {
        [
            self.order.capacity(),
            self.seats.capacity(),
            self.merits.capacity(),
            self.turns.capacity(),
            self.waiting.capacity(),
            self.ordinals.capacity(),
            self.groups.capacity(),
        ]
    }
}

/// [`rank`] for whoever decides many rounds: the same decisions, written over what `ranking` held.
/// It allocates nothing once `scratch` and `ranking` have seen as many rows.
pub fn rank_into(
    rows: &[RankRow],
    terms: &RankTerms<'_>,
    scratch: &mut RankScratch,
    ranking: &mut Ranking,
) {
    let mut round = RankedRound::new(rows, terms, scratch);
    round.keep_those_within_dwell();
    round.seat_paid();
    round.seat_reciprocal();
    round.seat_optimistic();
    round.write_to(ranking);
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

#[derive(Clone, Copy, Debug)]
struct Seat {
    class: Class,
    reason: Reason,
}

struct RankedRound<'a> {
    rows: &'a [RankRow],
    terms: RankTerms<'a>,
    scratch: &'a mut RankScratch,
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

/// Place in the order of the optimistic slots, best first.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum OptimisticTurn {
    /// Its turn is not over.
    Stays,
    /// Choked, behind so many of its address group.
    Waits(usize),
    /// Holds a slot of another kind, or had its turn.
    Had,
}

impl<'a> RankedRound<'a> {
    fn new(rows: &'a [RankRow], terms: &RankTerms<'a>, scratch: &'a mut RankScratch) -> Self {
        let peer_at = |place: usize| rows[place].candidate.peer;
        scratch.order.clear();
        scratch.order.extend(0..rows.len());
        scratch.order.sort_unstable_by_key(|place| peer_at(*place));
        let is_twice = |pair: &[usize]| peer_at(pair[0]) == peer_at(pair[1]);
        assert!(!scratch.order.windows(2).any(is_twice), "one row per peer");
        scratch.seats.clear();
        scratch.seats.resize(rows.len(), None);
        Self {
            rows,
            terms: *terms,
            scratch,
            free_count: terms.policy.slots,
            held_count: 0,
            beyond_count: 0,
        }
    }

    /// A row by its place in the order of peers.
    fn row(&self, index: usize) -> &'a RankRow {
        &self.rows[self.scratch.order[index]]
    }

    fn keep_those_within_dwell(&mut self) {
        for index in 0..self.rows.len() {
            let row = self.row(index);
            let Choke::Unchoked { class, .. } = row.choke else {
                continue;
            };
            // A stopped torrent's connections are closed anyway; everybody else may be a client
            // that takes a quick flip for an attack.
            if !row.choke.holds(self.terms.now) || !row.candidate.torrent_active {
                continue;
            }
            let peer = row.candidate.peer;
            // A paid seat that is lost is no reason to stay.
            if self.terms.plan.lost.contains_key(&peer) || self.terms.plan.holds(peer) {
                continue;
            }
            let class = match class {
                Class::Paid => Class::Reciprocal,
                Class::Reciprocal | Class::Optimistic => class,
            };
            self.scratch.seats[index] = Some(Seat {
                class,
                reason: Reason::Dwell,
            });
            self.free_count = self.free_count.saturating_sub(1);
            self.held_count += 1;
        }
    }

    fn seat_paid(&mut self) {
        let mut paid_count = 0;
        for index in 0..self.rows.len() {
            let candidate = &self.row(index).candidate;
            if self.terms.plan.holds(candidate.peer) {
                paid_count += 1;
                self.scratch.seats[index] = Some(Seat {
                    class: Class::Paid,
                    reason: candidate.paid_reason(),
                });
            }
        }
        self.beyond_count = self.terms.plan.beyond.min(paid_count);
        let taken = paid_count - self.beyond_count;
        self.free_count = self.free_count.saturating_sub(taken);
        self.held_count += taken;
    }

    fn seat_reciprocal(&mut self) {
        let waiting_count = (0..self.rows.len())
            .filter(|index| self.may_sit(*index))
            .count();
        let optimistic_missing = self
            .terms
            .policy
            .optimistic_count()
            .saturating_sub(self.count_of(Class::Optimistic));
        let mut regular = match waiting_count > self.free_count {
            true => self.free_count.saturating_sub(optimistic_missing),
            false => self.free_count,
        };
        let mut wins_left = regular + self.count_of(Class::Reciprocal);
        self.order_by_merit();
        for place in 0..self.scratch.merits.len() {
            if wins_left == 0 {
                break;
            }
            let (merit, _, _, index) = self.scratch.merits[place];
            let reason = merit.reason(&self.row(index).candidate);
            let seat = Some(Seat {
                class: Class::Reciprocal,
                reason,
            });
            if self.scratch.seats[index].is_none() {
                if regular == 0 {
                    continue;
                }
                regular -= 1;
                self.free_count -= 1;
            }
            wins_left -= 1;
            self.scratch.seats[index] = seat;
        }
    }

    /// Who competes for the reciprocal class, those held in it by dwell included, best first.
    fn order_by_merit(&mut self) {
        self.count_groups();
        let mut merits = std::mem::take(&mut self.scratch.merits);
        merits.clear();
        for index in 0..self.rows.len() {
            let row = self.row(index);
            let competes = match self.scratch.seats[index] {
                Some(seat) => seat.class == Class::Reciprocal && row.candidate.refusal().is_none(),
                None => self.may_sit(index),
            };
            if competes {
                let merit = self.merit(row, self.scratch.ordinals[index]);
                merits.push((merit, row.waiting_since(), row.candidate.peer, index));
            }
        }
        merits.sort_unstable();
        self.scratch.merits = merits;
    }

    fn merit(&self, row: &RankRow, ordinal: usize) -> Merit {
        let candidate = &row.candidate;
        if candidate.snubbed && !candidate.seeding {
            return Merit::Snubs(row.waiting_since());
        }
        let gives = !candidate.seeding && candidate.received_rate >= RECIPROCAL_RATE_MIN;
        #[cfg(feature = "mutants")]
        let gives = gives && !mutants::has(Mutant::GivingIgnored);
        if gives {
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
        let turn_over = self.terms.now.since(since) >= turn;
        let may_finish_turn = match class {
            Class::Reciprocal => true,
            // Its seat rotates, but when seeding it keeps a slot for as long as the others had one.
            Class::Optimistic => {
                candidate.seeding && self.terms.now.since(class_since) >= OPTIMISTIC_TURN
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
        if self.free_count == 0 {
            return;
        }
        self.count_groups();
        let mut turns = std::mem::take(&mut self.scratch.turns);
        turns.clear();
        for index in (0..self.rows.len()).filter(|index| self.may_sit(*index)) {
            let row = self.row(index);
            let turn = match row.choke {
                Choke::Unchoked {
                    class: Class::Optimistic,
                    class_since,
                    ..
                } if self.terms.now.since(class_since) < OPTIMISTIC_TURN => OptimisticTurn::Stays,
                Choke::Choked { .. } => OptimisticTurn::Waits(self.scratch.ordinals[index]),
                Choke::Unchoked { .. } => OptimisticTurn::Had,
            };
            let since = row.waiting_since();
            #[cfg(feature = "mutants")]
            let since = match mutants::has(Mutant::TurnsByAge) {
                true => Instant::ZERO,
                false => since,
            };
            turns.push((turn, since, row.candidate.peer, index));
        }
        turns.sort_unstable();
        for (_, _, _, index) in turns.iter().take(self.free_count) {
            self.scratch.seats[*index] = Some(Seat {
                class: Class::Optimistic,
                reason: Reason::Optimistic,
            });
        }
        self.free_count = self.free_count.saturating_sub(turns.len());
        self.scratch.turns = turns;
    }

    /// Counts for each row how many of its address group come before it: those seated in the open
    /// classes, then those that have waited longer. Always 0 without a group.
    fn count_groups(&mut self) {
        let count = self.rows.len();
        self.scratch.ordinals.clear();
        self.scratch.ordinals.resize(count, 0);
        if self.rows.iter().all(|row| row.candidate.group.is_none()) {
            return;
        }
        let mut groups = std::mem::take(&mut self.scratch.groups);
        let mut waiting = std::mem::take(&mut self.scratch.waiting);
        groups.clear();
        waiting.clear();
        for index in 0..count {
            let row = self.row(index);
            let seat = self.scratch.seats[index];
            let is_open = seat.is_some_and(|seat| seat.class != Class::Paid);
            groups.extend(row.candidate.group.filter(|_| is_open));
            if let (Some(group), true) = (row.candidate.group, self.may_sit(index)) {
                let choked = !row.choke.is_unchoked();
                let peer = row.candidate.peer;
                waiting.push((group, choked, row.waiting_since(), peer, index));
            }
        }
        groups.sort_unstable();
        waiting.sort_unstable();
        for members in waiting.chunk_by(|one, next| one.0 == next.0) {
            let group = members[0].0;
            let seated = groups.partition_point(|other| *other <= group)
                - groups.partition_point(|other| *other < group);
            for (before, (_, _, _, _, index)) in members.iter().enumerate() {
                self.scratch.ordinals[*index] = seated + before;
            }
        }
        self.scratch.groups = groups;
        self.scratch.waiting = waiting;
    }

    /// Whether a row has no seat and may be given one.
    fn may_sit(&self, index: usize) -> bool {
        let row = self.row(index);
        let is_free = self.scratch.seats[index].is_none();
        is_free && row.candidate.refusal().is_none() && !row.choke.rests(self.terms.now)
    }

    fn count_of(&self, class: Class) -> usize {
        let seats = self.scratch.seats.iter().flatten();
        seats.filter(|seat| seat.class == class).count()
    }

    /// Asserts what a round decides at most.
    fn check_seats(&self) {
        let seated = self.scratch.seats.iter().flatten().count();
        assert!(
            seated <= self.terms.policy.slots.max(self.held_count) + self.beyond_count,
            "nobody is unchoked beyond the slots but by dwell, or to be tried"
        );
        assert!(
            seated + self.free_count >= self.terms.policy.slots,
            "a slot is free or somebody's"
        );
        for (index, seat) in self.scratch.seats.iter().enumerate() {
            let is_free = seat.is_some_and(|seat| seat.reason != Reason::Dwell);
            assert!(
                !is_free || self.row(index).candidate.refusal().is_none(),
                "whoever may hold no slot is given none"
            );
        }
    }

    fn write_to(self, ranking: &mut Ranking) {
        self.check_seats();
        let is_paid = |seat: &Option<Seat>| seat.is_some_and(|seat| seat.class == Class::Paid);
        let seats = || self.scratch.seats.iter().enumerate();
        let bidders = seats().filter(|(_, seat)| is_paid(seat));
        let bidders = bidders.map(|(index, _)| &self.row(index).candidate);
        let bids = bidders.filter(|one| !one.friend).map(|one| one.bid);
        let policy = self.terms.policy;
        let clearing_price = match policy.rule {
            PaidRule::TopK | PaidRule::Proportional => None,
            PaidRule::UniformPrice => Some(self.terms.plan.losing.unwrap_or(policy.rate_min)),
        };
        let terms = PaidTerms {
            rule: policy.rule,
            highest: bids.max().unwrap_or_default(),
            clearing_price,
        };
        ranking.clearing_price = clearing_price;
        ranking.decisions.clear();
        ranking.decisions.extend(seats().map(|(index, seat)| {
            let row = self.row(index);
            let peer = row.candidate.peer;
            match seat {
                Some(seat) if seat.class == Class::Paid => terms.decision(&row.candidate),
                Some(seat) => Decision::open(peer, Some(seat.class), seat.reason),
                None => Decision::open(peer, None, self.why_choked(row)),
            }
        }));
    }

    fn why_choked(&self, row: &RankRow) -> Reason {
        let candidate = &row.candidate;
        match candidate.refusal() {
            Some(reason) => reason,
            None if self.terms.plan.forfeits(candidate.peer) => Reason::SeatLost,
            // Outbid so soon is who cut its own bid.
            None if row.choke.holds(self.terms.now) => Reason::SeatLost,
            None if row.choke.rests(self.terms.now) => Reason::JustChoked,
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
