//! Paid seats: who holds one, who is tried, and who yields (docs/RULES.md, paid seats).
//!
//! A seat is kept by being used: by taking at least a quarter of an equal share, and paying for it.
//! Bids decide only among those who do both. One place is for trying somebody else.

mod round;
#[cfg(test)]
mod tests;

use std::cmp::Reverse;
use std::collections::{BTreeMap, BTreeSet};

use seedbank_ledger::{Duration, Instant, NodeId, Rate};

use super::Candidate;
use crate::units::PeerIndex;

pub use round::{RoundTerms, SeatRecord, plan_seats};

/// Time a holder has to show that it uses its seat, and in which nobody outbids it.
const TRIAL: Duration = Duration::from_secs(10);
/// The same for a holder that was sent no block as paid yet.
const TRIAL_SILENT: Duration = Duration::from_secs(3);
/// Who lost a seat by its own doing gets none for this long…
const REST: Duration = Duration::from_secs(10);
/// …and for this long while it owes more than half of its window.
const REST_MAX: Duration = Duration::from_secs(30);
/// A holder works that takes at least one part in so many of an equal share.
const SHARE_PARTS: u64 = 4;
/// Windows in 10 s that are enough, whatever the share: no honest peer is asked for more than its
/// window lets through.
const WINDOWS_ENOUGH: u64 = 2;
/// Seconds over which what left for a holder is counted.
const COUNTED_SECS: u64 = 10;
/// Most keys whose last seat is remembered.
const PAST_MAX: usize = 4_096;

/// A peer as seats are decided.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SeatRow {
    /// Who, and what we know of it.
    pub candidate: Candidate,
    /// May hold a paid seat.
    pub pays: bool,
    /// Holds a slot that it keeps, whatever is decided here.
    pub has_slot: bool,
    /// Since when it has been waiting for a slot.
    pub waiting_since: Instant,
}

/// What a decision about seats depends on besides the peers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SeatTerms {
    /// Slots that the open classes leave.
    pub for_sale: usize,
    /// How many peers without a slot may be let in.
    pub room: usize,
    /// A round is decided, in which holders may be outbid.
    pub is_round: bool,
    /// Bytes per second that the paid class can have; `None` while nobody knows.
    pub paid_rate: Option<u64>,
}

/// Who holds a paid seat, and who held one before.
#[derive(Clone, Debug, Default)]
pub struct Seats {
    holders: BTreeMap<PeerIndex, Holder>,
    past: BTreeMap<NodeId, Past>,
}

/// A decision about the paid seats.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct SeatPlan {
    /// Who holds one from now.
    pub seated: BTreeSet<PeerIndex>,
    /// Who held one until now, and is connected.
    pub lost: BTreeMap<PeerIndex, Loss>,
    /// How many of them take no slot from the open classes.
    pub beyond: usize,
    /// Highest bid of somebody who has paid a piece, may hold a seat and has none.
    pub losing: Option<Rate>,
    /// Somebody was outbid, or found no room: a round decides.
    pub is_round_due: bool,
}

/// How a seat was lost.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Loss {
    /// By its holder's doing: it did not use it, may not pay any more, or cut its bid.
    Itself,
    /// After its holder used it: it wants nothing for now, or its connection ended.
    Left,
    /// To a higher bid, or because there are fewer seats.
    Outbid,
}

#[derive(Clone, Copy, Debug)]
struct Holder {
    since: Instant,
    /// Its price when it was seated.
    first_price: Rate,
    price: Rate,
    /// When it was last seen not late, or else was seated.
    on_time_at: Instant,
    /// What it was like when last seen.
    last: Candidate,
}

/// A holder that yields to somebody who waits.
#[derive(Clone, Copy, Debug)]
struct Yielding {
    peer: PeerIndex,
    /// Only a higher bid than this takes its seat; `None` if any does.
    above: Option<Rate>,
}

/// A seat that a key once had.
#[derive(Clone, Copy, Debug)]
struct Past {
    /// Until when it held one.
    until: Instant,
    /// When it last lost one by its own doing.
    forfeited_at: Option<Instant>,
    /// Bytes that the key must have paid for before it counts again, or is tried first.
    proof: u64,
}

impl SeatTerms {
    /// Seats for those who use theirs and pay; one place more is for trying somebody.
    pub fn seats(&self) -> usize {
        match self.for_sale {
            0 => 0,
            count => (count - 1).max(1),
        }
    }

    /// Places in all. With one slot for sale that is one more than slots: somebody tried may exceed
    /// them, or a seat once sold could never be contested.
    pub fn places(&self) -> usize {
        match self.for_sale {
            0 => 0,
            _ => self.seats() + 1,
        }
    }

    /// How many of the places take no slot.
    pub fn beyond_max(&self) -> usize {
        self.places().saturating_sub(self.for_sale)
    }

    /// Bytes in the last 10 s from which a holder with this window works.
    fn works_from(&self, window: u64) -> u64 {
        let seats = u64::try_from(self.seats().max(1)).unwrap_or(u64::MAX);
        let rate = self.paid_rate.unwrap_or(0);
        let share = rate.saturating_mul(COUNTED_SECS) / seats / SHARE_PARTS;
        share.min(window.saturating_mul(WINDOWS_ENOUGH)).max(1)
    }
}

impl SeatPlan {
    /// Whether a peer holds a seat.
    pub fn holds(&self, peer: PeerIndex) -> bool {
        self.seated.contains(&peer)
    }

    /// Whether a peer held a seat until now, and lost it by its own doing.
    pub fn forfeits(&self, peer: PeerIndex) -> bool {
        self.lost.get(&peer) == Some(&Loss::Itself)
    }
}

impl Seats {
    /// Whether a peer held a seat after the last decision.
    pub fn holds(&self, peer: PeerIndex) -> bool {
        self.holders.contains_key(&peer)
    }

    /// Whether nobody did.
    pub fn is_empty(&self) -> bool {
        self.holders.is_empty()
    }

    /// Takes note of what a holder is like: its last seat is judged by it, if it leaves.
    pub fn note(&mut self, candidate: &Candidate) {
        if let Some(holder) = self.holders.get_mut(&candidate.peer) {
            holder.last = *candidate;
        }
    }

    /// Decides about every seat. The order of rows does not matter. O(n log n).
    pub fn decide(&mut self, rows: &[SeatRow], terms: &SeatTerms, now: Instant) -> SeatPlan {
        let mut decision = SeatDecision {
            rows: rows.iter().map(|row| (row.candidate.peer, row)).collect(),
            terms,
            now,
            room: terms.room,
            seats: self,
            plan: SeatPlan::default(),
        };
        assert_eq!(decision.rows.len(), rows.len(), "one row per peer");
        decision.drop_those_who_left();
        let counting = decision.counting();
        let lowest = decision.drop_outbid(&counting);
        decision.seat_waiting(lowest);
        let mut plan = decision.plan;
        plan.seated = self.holders.keys().copied().collect();
        let over = plan.seated.len().saturating_sub(terms.for_sale);
        plan.beyond = terms.beyond_max().min(over);
        self.forget_oldest();
        self.check_invariants();
        plan
    }

    /// Asserts what always holds.
    pub fn check_invariants(&self) {
        assert!(self.past.len() <= PAST_MAX, "remembered seats are bounded");
    }

    fn forget_oldest(&mut self) {
        while self.past.len() > PAST_MAX {
            let oldest = self.past.iter().min_by_key(|(_, past)| past.until);
            let key = oldest.map(|(key, _)| *key).expect("more than the bound");
            self.past.remove(&key);
        }
    }
}

/// One decision under way.
struct SeatDecision<'a> {
    rows: BTreeMap<PeerIndex, &'a SeatRow>,
    terms: &'a SeatTerms,
    now: Instant,
    room: usize,
    seats: &'a mut Seats,
    plan: SeatPlan,
}

impl SeatDecision<'_> {
    /// Whoever is gone, or may not hold a seat any more, holds none; prices follow the bids.
    fn drop_those_who_left(&mut self) {
        for row in self.rows.values() {
            self.seats.note(&row.candidate);
        }
        let holders: Vec<PeerIndex> = self.seats.holders.keys().copied().collect();
        for peer in holders {
            match self.rows.get(&peer) {
                Some(row) if row.pays => {
                    let holder = self.seats.holders.get_mut(&peer).expect("a key of it");
                    holder.price = row.candidate.bid;
                    if !row.candidate.is_late {
                        holder.on_time_at = self.now;
                    }
                }
                // A payer that has all there is comes back with the next piece.
                Some(row) if row.candidate.refusal().is_some() && self.works(&row.candidate) => {
                    self.lose(peer, Loss::Left);
                }
                Some(_) => self.lose(peer, Loss::Itself),
                None => {
                    // Coming back on another connection is no way out of a rest.
                    if let Some(holder) = self.seats.holders.remove(&peer) {
                        let worked = self.works(&holder.last);
                        let loss = if worked { Loss::Left } else { Loss::Itself };
                        self.remember(&holder.last, loss);
                    }
                }
            }
        }
    }

    /// Holders that work and have paid for a piece, best first.
    fn counting(&self) -> Vec<PeerIndex> {
        let holders = self.seats.holders.iter();
        let mut counting: Vec<_> = holders
            .filter_map(|(peer, holder)| {
                let candidate = &self.rows.get(peer)?.candidate;
                let counts = candidate.friend || self.counts(candidate);
                let friend = Reverse(candidate.friend);
                counts.then_some((friend, Reverse(holder.price), holder.since, *peer))
            })
            .collect();
        counting.sort_unstable();
        counting.into_iter().map(|(_, _, _, peer)| peer).collect()
    }

    /// Of those who count, the highest prices stay. Returns the lowest of these once there are as
    /// many as seats: only above it is anybody tried.
    fn drop_outbid(&mut self, counting: &[PeerIndex]) -> Option<Rate> {
        let seats = self.terms.seats();
        let lowest = seats.checked_sub(1).and_then(|last| counting.get(last));
        let lowest = lowest.map(|peer| self.price_of(*peer));
        for peer in counting.iter().skip(seats) {
            if self.is_protected(*peer) {
                continue;
            }
            match self.terms.is_round {
                true => self.lose(*peer, Loss::Outbid),
                false => self.plan.is_round_due = true,
            }
        }
        if let Some(lowest) = lowest {
            let cut = |(peer, holder): (&PeerIndex, &Holder)| {
                let is_cut = holder.price < holder.first_price && holder.price <= lowest;
                (is_cut && !counting.contains(peer)).then_some(*peer)
            };
            let cut: Vec<PeerIndex> = self.seats.holders.iter().filter_map(cut).collect();
            cut.into_iter()
                .for_each(|peer| self.lose(peer, Loss::Itself));
        }
        while self.terms.is_round && self.seats.holders.len() > self.terms.places() {
            let worst = |(peer, holder): &(&PeerIndex, &Holder)| {
                let counts = counting.contains(peer);
                (counts, holder.price, Reverse(holder.since), Reverse(**peer))
            };
            let holders = self.seats.holders.iter();
            let free = holders.filter(|(peer, _)| !self.is_protected(**peer));
            let Some((peer, _)) = free.min_by_key(worst) else {
                break;
            };
            self.lose(*peer, Loss::Outbid);
        }
        lowest
    }

    /// Fills free places, and those of holders that do not use theirs.
    fn seat_waiting(&mut self, lowest: Option<Rate>) {
        let mut yielding = self.yielding();
        for peer in self.waiting(lowest) {
            let excess = (self.seats.holders.len() + 1).saturating_sub(self.terms.places());
            let row = self.rows[&peer];
            let bid = worth(&row.candidate);
            let is_below = |holder: &&Yielding| holder.above.is_none_or(|above| bid > above);
            let below: Vec<Yielding> = yielding.iter().filter(is_below).copied().collect();
            let Some(first) = below.len().checked_sub(excess) else {
                continue;
            };
            if !row.has_slot && self.room == 0 && excess == 0 {
                self.plan.is_round_due = true;
                continue;
            }
            let leaving = &below[first..];
            let key_of = |holder: &Yielding| self.seats.holders[&holder.peer].last.key;
            if leaving.iter().any(|it| key_of(it) == row.candidate.key) {
                // Nobody yields to itself.
                continue;
            }
            if !self.terms.is_round && leaving.iter().any(|it| it.above.is_some()) {
                self.plan.is_round_due = true;
                continue;
            }
            for holder in leaving {
                yielding.retain(|other| other.peer != holder.peer);
                let loss = match holder.above {
                    None => Loss::Itself,
                    Some(_) => Loss::Outbid,
                };
                self.lose(holder.peer, loss);
            }
            if !row.has_slot {
                self.room = self.room.saturating_sub(1);
            }
            let holder = Holder {
                since: self.now,
                first_price: row.candidate.bid,
                price: row.candidate.bid,
                on_time_at: self.now,
                last: row.candidate,
            };
            self.seats.holders.insert(peer, holder);
        }
        let losing = self.rows.values().filter(|row| {
            let candidate = &row.candidate;
            let stands = row.pays && candidate.has_paid && !candidate.friend;
            let holds = self.seats.holders.contains_key(&candidate.peer);
            // A bid that its holder did not use when it had a seat is no price for others.
            stands && !holds && !self.rests(row) && !self.must_prove(candidate)
        });
        self.plan.losing = losing.map(|row| row.candidate.bid).max();
    }

    /// Who may be given a seat now, best first: friends, those who have paid a piece by bid, then
    /// whoever was tried longest ago. Whoever has to pay before it counts is among these, or a few
    /// that paid for a piece once would be tried in turn for ever, and nobody else.
    fn waiting(&self, lowest: Option<Rate>) -> Vec<PeerIndex> {
        let may = |row: &&&SeatRow| {
            let candidate = &row.candidate;
            let is_high = lowest.is_none_or(|lowest| worth(candidate) > lowest);
            let holds = self.seats.holders.contains_key(&candidate.peer);
            let is_new = !holds && !self.plan.lost.contains_key(&candidate.peer);
            row.pays && is_new && is_high && !self.rests(row)
        };
        let mut waiting: Vec<&&SeatRow> = self.rows.values().filter(may).collect();
        waiting.sort_by_key(|row| {
            let candidate = &row.candidate;
            let past = self.past(candidate);
            let first = candidate.has_paid && !self.must_prove(candidate);
            let bid = first.then_some(candidate.bid);
            let tried = past.map_or(Instant::ZERO, |past| past.until);
            let since = row.waiting_since.max(tried);
            (!candidate.friend, Reverse(bid), since, candidate.peer)
        });
        waiting.iter().map(|row| row.candidate.peer).collect()
    }

    /// Holders that do not use their seats, and those that have been late for a while: they may pay
    /// for all they take, but nobody else could be tried. Who yields first is last.
    fn yielding(&self) -> Vec<Yielding> {
        let yields = |(peer, holder): (&PeerIndex, &Holder)| {
            let candidate = &self.rows.get(peer)?.candidate;
            let age = self.now.since(holder.since);
            let is_silent = age >= TRIAL_SILENT && candidate.paid_recently == 0;
            let is_slow = age >= TRIAL && !self.works(candidate);
            let is_idle = is_silent || is_slow;
            let is_late = candidate.is_late && self.now.since(holder.on_time_at) >= TRIAL;
            let above = (!is_idle).then_some(holder.price);
            let is_any = (is_idle || is_late) && !candidate.friend;
            let order = (is_idle, Reverse(above), Reverse(holder.since), *peer);
            is_any.then_some((order, Yielding { peer: *peer, above }))
        };
        let mut yielding: Vec<_> = self.seats.holders.iter().filter_map(yields).collect();
        yielding.sort_unstable_by_key(|(order, _)| *order);
        yielding.into_iter().map(|(_, holder)| holder).collect()
    }

    /// Works, has paid for a piece, and pays: who took what it may and pays no more holds what it
    /// has, and outbids nobody. So does who has yet to pay for its last seat.
    fn counts(&self, candidate: &Candidate) -> bool {
        let has_paid = candidate.has_paid && !self.must_prove(candidate);
        has_paid && !candidate.is_late && self.works(candidate)
    }

    fn works(&self, candidate: &Candidate) -> bool {
        candidate.paid_recently >= self.terms.works_from(candidate.window)
    }

    /// Within its trial, at no lower price than it was seated at.
    fn is_protected(&self, peer: PeerIndex) -> bool {
        let holder = &self.seats.holders[&peer];
        self.now.since(holder.since) < TRIAL && holder.price >= holder.first_price
    }

    /// A friend outranks every bid.
    fn price_of(&self, peer: PeerIndex) -> Rate {
        match self.rows[&peer].candidate.friend {
            true => Rate::MAX,
            false => self.seats.holders[&peer].price,
        }
    }

    fn past(&self, candidate: &Candidate) -> Option<&Past> {
        self.seats.past.get(&candidate.key?)
    }

    /// Whether a key lost a seat by its own doing, or owing, and has not paid for it since.
    fn must_prove(&self, candidate: &Candidate) -> bool {
        let past = self.past(candidate);
        past.is_some_and(|past| candidate.paid_bytes < past.proof)
    }

    /// Whether a peer lost a seat by its own doing not long ago.
    fn rests(&self, row: &SeatRow) -> bool {
        let past = self.past(&row.candidate);
        past.and_then(|past| past.forfeited_at).is_some_and(|at| {
            let rest = if row.candidate.is_relaxed {
                REST
            } else {
                REST_MAX
            };
            self.now.since(at) < rest
        })
    }

    fn lose(&mut self, peer: PeerIndex, loss: Loss) {
        let holder = self.seats.holders.remove(&peer).expect("it holds a seat");
        self.remember(&holder.last, loss);
        self.plan.lost.insert(peer, loss);
        // Between rounds it is choked, and somebody else may come in.
        self.room = self.room.saturating_add(1);
    }

    fn remember(&mut self, last: &Candidate, loss: Loss) {
        let Some(key) = last.key else {
            return;
        };
        let before = self.seats.past.get(&key);
        let forfeited_at = match loss {
            Loss::Itself => Some(self.now),
            Loss::Left | Loss::Outbid => before.and_then(|past| past.forfeited_at),
        };
        let proof = last.paid_bytes.saturating_add(proof_of(last, loss));
        let past = Past {
            until: self.now,
            forfeited_at,
            // What is met asks for nothing, so that only the highest need be kept.
            proof: before.map_or(0, |past| past.proof).max(proof),
        };
        self.seats.past.insert(key, past);
    }
}

/// A friend outranks every bid.
fn worth(candidate: &Candidate) -> Rate {
    match candidate.friend {
        true => Rate::MAX,
        false => candidate.bid,
    }
}

/// Bytes that whoever lost a seat has to pay for before it counts again: a piece, or half of a
/// window that is two at most, if it is to blame. Who gives up a seat that it used is not; but if
/// it is late or owes much, it pays for that first. An honest payer does, and is asked nothing
/// more.
fn proof_of(last: &Candidate, loss: Loss) -> u64 {
    let owed = last.owes.min(last.window / 2);
    match loss {
        Loss::Itself => last.window / 2,
        Loss::Left if last.is_late || !last.is_relaxed => owed,
        Loss::Outbid if last.is_late => owed,
        Loss::Left | Loss::Outbid => 0,
    }
}
