//! Who is served: the engine's own rounds over rows made of flat arrays.
//!
//! Between rounds free slots go to whoever waited longest, and paid seats are decided about in
//! every step, as a session does at once. Everything here reads what all peers show and writes one
//! peer, so that any number of threads come to the same.

use std::sync::atomic::{AtomicU32, Ordering};

use seedbank_engine::transfer::choker::{
    Candidate, RECIPROCAL_RATE_MIN, RankRow, RankScratch, RankTerms, Ranking, RoundTerms, SeatPlan,
    SlotPolicy, plan_seats, rank_into,
};
use seedbank_engine::transfer::limiter::{ByClass, ClassShares};
use seedbank_engine::units::PeerIndex;
use seedbank_ledger::Instant;

use super::content::{Face, Interest, UnitScale};
use super::credit::{FlowCredit, SeatNews};
use super::swarm::{FlowPeer, FlowSlot, NOBODY, at_ms};

/// A rate of somebody who is served and wants more: anything that is not idle.
const BUSY_RATE: u64 = 1 << 20;
/// Bits of a unit that [`super::swarm::FlowSwarm::received`] leaves out.
pub(super) const RECEIVED_BITS: u32 = 18;
/// The same of a [`FlowSlot::standing`].
pub(super) const STANDING_BITS: u32 = 20;

/// What peers of a population have in common.
#[derive(Clone, Copy, Debug)]
pub(super) struct FlowRules {
    pub(super) policy: SlotPolicy,
    pub(super) gives: bool,
    pub(super) receipts: bool,
    pub(super) torrent: u32,
}

/// What all peers show, and what time it is.
#[derive(Clone, Copy, Debug)]
pub(super) struct ChokeScene<'a> {
    pub(super) now_ms: u32,
    pub(super) round_ms: u32,
    /// Which step of a round this is, and how many there are.
    pub(super) phase: u16,
    pub(super) steps: u16,
    pub(super) have: &'a [Face],
    pub(super) faces: &'a [Face],
    pub(super) received: &'a [AtomicU32],
    pub(super) stride: usize,
    pub(super) rules: &'a [FlowRules],
    /// What is out of each torrent.
    pub(super) out: &'a [Face],
    pub(super) interest: &'a Interest,
    pub(super) scale: UnitScale,
    pub(super) credit: &'a FlowCredit,
}

/// What deciding about a peer works in.
#[derive(Debug, Default)]
pub(super) struct ChokeScratch {
    rows: Vec<RankRow>,
    ranks: RankScratch,
    ranking: Ranking,
    waiting: Vec<(Instant, usize)>,
    no_seats: SeatPlan,
    pub(super) news: Vec<SeatNews>,
    /// Rounds that ranked somebody.
    pub(super) rounds: u64,
}

impl ChokeScene<'_> {
    /// Decides about the neighbours of a peer, and marks to whom something flows.
    pub(super) fn choke(
        &self,
        place: usize,
        peer: &FlowPeer,
        slots: &mut [FlowSlot],
        scratch: &mut ChokeScratch,
    ) {
        let rules = &self.rules[usize::from(peer.population)];
        if !rules.gives || self.faces[place] == Face::NONE {
            return;
        }
        let degree = usize::from(peer.degree);
        let slots = &mut slots[..degree];
        if peer.uplink == 0 {
            // By a strategy that sends nothing for now.
            slots.iter_mut().for_each(|slot| slot.set_flowing(false));
            return;
        }
        let is_round = peer.phase == self.phase;
        let sells = self.credit.has_payers(place);
        if is_round || sells {
            self.see_all(place, rules, slots);
            self.decide(place, peer, is_round, slots, scratch);
        } else {
            self.admit(place, rules, slots, scratch);
        }
        for slot in slots {
            slot.set_flowing(slot.class().is_some() && slot.interested_ms > 0);
        }
    }

    fn see_all(&self, place: usize, rules: &FlowRules, slots: &mut [FlowSlot]) {
        for slot in slots {
            self.see(place, rules, slot);
        }
    }

    /// Whether a neighbour is interested.
    fn see(&self, place: usize, rules: &FlowRules, slot: &mut FlowSlot) {
        if slot.neighbour == NOBODY {
            return;
        }
        let have = self.have[slot.neighbour as usize];
        let out = self.out[rules.torrent as usize];
        let pair = (place as u64) << 32 | u64::from(slot.neighbour);
        let wants = self.interest.holds(have, self.faces[place], out, pair);
        slot.interested_ms = match (wants, slot.interested_ms) {
            (false, _) => 0,
            // Somewhere in this step: whoever was met first would else be first everywhere.
            (true, 0) => self.now_ms + 1 + moment(pair, self.round_ms / u32::from(self.steps)),
            (true, since) => since,
        };
    }

    /// A round, or between two what paid seats change.
    fn decide(
        &self,
        place: usize,
        peer: &FlowPeer,
        is_round: bool,
        slots: &mut [FlowSlot],
        scratch: &mut ChokeScratch,
    ) {
        let rules = &self.rules[usize::from(peer.population)];
        scratch.rows.clear();
        for (index, slot) in slots.iter_mut().enumerate() {
            let known = slot.interested_ms > 0 || slot.class().is_some();
            if slot.neighbour != NOBODY && known {
                let came = self.came(place, index, slot, is_round);
                scratch.rows.push(self.row(place, index, slot, rules, came));
            } else if is_round && slot.neighbour != NOBODY {
                self.came(place, index, slot, true);
            }
        }
        let now = at_ms(self.now_ms);
        let mut plan = None;
        if self.credit.has_payers(place) {
            let shares = ClassShares::new(rules.policy.open_share_percent);
            let all = ByClass {
                paid: u64::MAX,
                open: u64::MAX,
            };
            let line = self.bytes_per_second(peer.uplink);
            let terms = RoundTerms {
                policy: &rules.policy,
                paid_rate: Some(shares.split(line, all).paid),
                unchoked: slots.iter().filter(|slot| slot.class().is_some()).count(),
                is_round,
                now,
            };
            let mut seats = self.credit.seats_of(place, &mut scratch.rows);
            let made = plan_seats(&mut seats, &scratch.rows, &terms);
            self.credit.tell(place, &seats, &mut scratch.news);
            plan = Some(made);
        }
        if !is_round {
            let plan = plan.expect("somebody pays");
            return self.reseat(&plan, rules, slots, scratch);
        }
        let terms = RankTerms {
            plan: plan.as_ref().unwrap_or(&scratch.no_seats),
            policy: &rules.policy,
            now,
        };
        rank_into(
            &scratch.rows,
            &terms,
            &mut scratch.ranks,
            &mut scratch.ranking,
        );
        scratch.rounds += u64::from(!scratch.rows.is_empty());
        for decision in &scratch.ranking.decisions {
            let index = usize::try_from(decision.peer.0).expect("a slot");
            slots[index].decide(decision.class, true, self.now_ms);
        }
    }

    /// Paid seats that somebody got or lost between rounds; then free slots.
    fn reseat(
        &self,
        plan: &SeatPlan,
        rules: &FlowRules,
        slots: &mut [FlowSlot],
        scratch: &mut ChokeScratch,
    ) {
        use seedbank_engine::transfer::choker::Class;
        for (index, slot) in (0..).zip(slots.iter_mut()) {
            let peer = PeerIndex(index);
            if plan.holds(peer) {
                slot.decide(Some(Class::Paid), false, self.now_ms);
            } else if plan.lost.contains_key(&peer) {
                slot.decide(None, false, self.now_ms);
            }
        }
        self.fill(rules, slots, scratch);
    }

    /// Free slots go to those who have waited longest.
    fn admit(
        &self,
        place: usize,
        rules: &FlowRules,
        slots: &mut [FlowSlot],
        scratch: &mut ChokeScratch,
    ) {
        let mut served = 0;
        for slot in slots.iter_mut().filter(|slot| slot.class().is_some()) {
            self.see(place, rules, slot);
            served += usize::from(slot.interested_ms > 0);
        }
        if served < rules.policy.slots {
            self.see_all(place, rules, slots);
            self.fill(rules, slots, scratch);
        }
    }

    fn fill(&self, rules: &FlowRules, slots: &mut [FlowSlot], scratch: &mut ChokeScratch) {
        use seedbank_engine::transfer::choker::Class;
        let now = at_ms(self.now_ms);
        scratch.waiting.clear();
        let mut unchoked = 0;
        for (index, slot) in slots.iter().enumerate() {
            let choke = slot.choke(self.round_ms, self.now_ms);
            unchoked += usize::from(choke.is_unchoked());
            if slot.interested_ms > 0 && !choke.is_unchoked() && !choke.rests(now) {
                let row = RankRow {
                    candidate: interested(index, slot),
                    choke,
                    group_turn: None,
                };
                scratch.waiting.push((row.waiting_since(), index));
            }
        }
        if scratch.waiting.is_empty() {
            return;
        }
        scratch.waiting.sort_unstable();
        let mut free = rules.policy.slots.saturating_sub(unchoked);
        let wanted = scratch.waiting.len();
        // Who has lost interest makes room for somebody who waits.
        for slot in slots.iter_mut() {
            let choke = slot.choke(self.round_ms, self.now_ms);
            let is_idle = choke.is_unchoked() && slot.interested_ms == 0 && !choke.holds(now);
            if free < wanted && is_idle {
                slot.decide(None, false, self.now_ms);
                free += usize::from(unchoked <= rules.policy.slots);
                unchoked -= 1;
            }
        }
        for (_, index) in scratch.waiting.iter().take(free) {
            slots[*index].decide(Some(Class::Reciprocal), false, self.now_ms);
        }
    }

    /// What came from a neighbour since the last round; with one it is counted as given.
    fn came(&self, place: usize, index: usize, slot: &mut FlowSlot, is_round: bool) -> u64 {
        let cell = &self.received[place * self.stride + index];
        let came = cell.load(Ordering::Relaxed);
        if is_round && came > 0 {
            cell.store(0, Ordering::Relaxed);
            let given = i32::try_from(came >> (STANDING_BITS - RECEIVED_BITS)).unwrap_or(i32::MAX);
            slot.standing = slot.standing.saturating_add(given);
        }
        u64::from(came)
    }

    fn row(
        &self,
        place: usize,
        index: usize,
        slot: &FlowSlot,
        rules: &FlowRules,
        came: u64,
    ) -> RankRow {
        let seconds = u64::from(self.round_ms) / 1_000;
        let rate = self.scale.bytes(came << RECEIVED_BITS) / seconds;
        // Compared as they are, so that rounding to bytes decides nothing.
        let received_rate = match rate >= RECIPROCAL_RATE_MIN {
            true => RECIPROCAL_RATE_MIN + came,
            false => rate,
        };
        let neighbour = slot.neighbour as usize;
        RankRow {
            candidate: Candidate {
                seeding: self.have[place].is_seed(),
                is_seed: self.have[neighbour].is_seed(),
                received_rate,
                standing: match rules.receipts {
                    true => i64::from(slot.standing),
                    false => 0,
                },
                ..interested(index, slot)
            },
            choke: slot.choke(self.round_ms, self.now_ms),
            group_turn: None,
        }
    }

    /// Bytes a second of so many units in a step.
    pub(super) fn bytes_per_second(&self, units: u64) -> u64 {
        let in_round = u128::from(units) * u128::from(self.steps) * 1_000;
        let units = in_round / u128::from(self.round_ms);
        self.scale.bytes(u64::try_from(units).unwrap_or(u64::MAX))
    }
}

/// A moment of a step, always the same for a pair.
fn moment(pair: u64, step_ms: u32) -> u32 {
    let mixed = (pair ^ pair >> 29).wrapping_mul(0x9e37_79b9_7f4a_7c15);
    let part = ((mixed >> 32) * u64::from(step_ms)) >> 32;
    u32::try_from(part).expect("less than a step")
}

/// A neighbour by its place, as far as its slot says.
fn interested(index: usize, slot: &FlowSlot) -> Candidate {
    let since = slot.interested_ms.checked_sub(1).map(at_ms);
    Candidate {
        interested_since: since,
        sent_rate: if since.is_some() { BUSY_RATE } else { 0 },
        ..Candidate::new(PeerIndex(index as u64))
    }
}
