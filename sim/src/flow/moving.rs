//! What flows in a step: demand, shares of the lines, and what everybody has afterwards.
//!
//! Demand is gathered and amounts are applied by any number of threads: each writes its own peers,
//! and what it adds to others are whole numbers, whose sum does not depend on the order.

use std::sync::atomic::{AtomicU32, AtomicU64, Ordering};

use seedbank_engine::transfer::choker::Class;
use seedbank_engine::transfer::limiter::{ByClass, ClassShares};

use super::choking::{FlowRules, RECEIVED_BITS, STANDING_BITS};
use super::content::Face;
use super::credit::FlowCredit;
use super::sharing::{LineFlow, SharingScratch, scaled};
use super::swarm::{FlowPeer, FlowSlot};

/// Lines of a peer: up for the paid class, up for the open class, down.
const LINES: usize = 3;

/// What comes to each peer in a step.
#[derive(Debug)]
pub(super) struct Inflow {
    /// What would come if every uplink were shared equally.
    pub(super) offered: Vec<AtomicU64>,
    /// How much of that from seeds.
    pub(super) fresh: Vec<AtomicU64>,
    /// Most that each takes.
    pub(super) taken: Vec<u64>,
    /// Most that each finds at those who leech.
    pub(super) known: Vec<u64>,
    /// What came.
    pub(super) came: Vec<AtomicU64>,
    /// From how many.
    pub(super) sources: Vec<AtomicU32>,
}

/// What is the same for everybody while amounts are found and applied.
#[derive(Clone, Copy, Debug)]
pub(super) struct Motion<'a> {
    pub(super) rules: &'a [FlowRules],
    pub(super) have: &'a [Face],
    pub(super) received: &'a [AtomicU32],
    pub(super) stride: usize,
    pub(super) credit: &'a FlowCredit,
    pub(super) inflow: &'a Inflow,
}

/// What the flows of some peers came to.
#[derive(Debug, Default)]
pub(super) struct MotionTold {
    /// Payee, slot and units of every flow from a paid seat.
    pub(super) paid: Vec<(u32, u32, u64)>,
    /// Units that seeds sent, by torrent, and to how many.
    pub(super) injected: Vec<(u64, u64)>,
    /// What one peer sends to whom, while that is found.
    pub(super) sent: Vec<(usize, u64)>,
}

impl Inflow {
    pub(super) fn new(count: usize) -> Self {
        let zeros = || (0..count).map(|_| AtomicU64::new(0)).collect();
        Self {
            offered: zeros(),
            fresh: zeros(),
            taken: vec![0; count],
            known: vec![0; count],
            came: zeros(),
            sources: (0..count).map(|_| AtomicU32::new(0)).collect(),
        }
    }
}

/// What each flow of a peer is offered in each class.
fn shares(rules: &FlowRules, peer: &FlowPeer, slots: &[FlowSlot]) -> ByClass {
    let (mut paid, mut open) = (0, 0);
    for slot in slots {
        match slot.flowing() {
            Some(Class::Paid) => paid += 1,
            Some(Class::Reciprocal | Class::Optimistic) => open += 1,
            None => {}
        }
    }
    let wanted = |count: u64| if count > 0 { u64::MAX } else { 0 };
    let split = ClassShares::new(rules.policy.open_share_percent).split(
        peer.uplink,
        ByClass {
            paid: wanted(paid),
            open: wanted(open),
        },
    );
    ByClass {
        paid: split.paid / paid.max(1),
        open: split.open / open.max(1),
    }
}

impl Motion<'_> {
    /// Every flow of a peer: its slot, the neighbour, and what it is offered. What a paid flow
    /// cannot take goes to the open class.
    fn flows(
        &self,
        place: usize,
        peer: &FlowPeer,
        slots: &[FlowSlot],
        mut each: impl FnMut(usize, u64),
    ) {
        let slots = &slots[..usize::from(peer.degree)];
        let mut share = shares(&self.rules[usize::from(peer.population)], peer, slots);
        let count = |side: fn(Class) -> bool| {
            let classes = slots.iter().filter_map(FlowSlot::flowing);
            classes.filter(|class| side(*class)).count() as u64
        };
        if self.credit.has_payers(place) {
            let mut unused = 0;
            for (index, slot) in slots.iter().enumerate() {
                if slot.flowing() == Some(Class::Paid) {
                    let most = self.credit.most(place, index, share.paid).min(share.paid);
                    unused += share.paid - most;
                    each(index, most);
                }
            }
            let open = count(|class| class != Class::Paid);
            share.open += unused / open.max(1);
        }
        for (index, slot) in slots.iter().enumerate() {
            if slot.flowing().is_some_and(|class| class != Class::Paid) {
                each(index, share.open);
            }
        }
    }

    /// Adds what a peer offers to what its neighbours are offered.
    pub(super) fn offer(&self, place: usize, peer: &FlowPeer, slots: &[FlowSlot]) {
        let is_seed = self.have[place].is_seed();
        self.flows(place, peer, slots, |index, offered| {
            let to = slots[index].neighbour as usize;
            self.inflow.offered[to].fetch_add(offered, Ordering::Relaxed);
            self.inflow.sources[to].fetch_add(1, Ordering::Relaxed);
            if is_seed {
                self.inflow.fresh[to].fetch_add(offered, Ordering::Relaxed);
            }
        });
    }

    /// Sends what a peer's neighbours take of what they are offered.
    pub(super) fn send_scaled(
        &self,
        place: usize,
        peer: &mut FlowPeer,
        slots: &mut [FlowSlot],
        told: &mut MotionTold,
    ) {
        let mut sent = std::mem::take(&mut told.sent);
        sent.clear();
        self.flows(place, peer, slots, |index, offered| {
            let to = slots[index].neighbour as usize;
            let fresh = self.inflow.fresh[to].load(Ordering::Relaxed);
            let others = self.inflow.offered[to].load(Ordering::Relaxed) - fresh;
            let known = self.inflow.known[to];
            let all = fresh + others.min(known);
            let found = match self.have[place].is_seed() {
                true => offered,
                false => scaled(offered, known, others),
            };
            sent.push((index, scaled(found, self.inflow.taken[to], all)));
        });
        for (index, units) in &sent {
            self.send(place, peer, (&mut slots[*index], *index), *units, told);
        }
        told.sent = sent;
    }

    /// Most that a neighbour finds at a peer that offers it so much: all at a seed, and at those
    /// who leech what is out and it lacks.
    fn found(&self, place: usize, to: usize, offered: u64) -> u64 {
        let fresh = self.inflow.fresh[to].load(Ordering::Relaxed);
        let others = self.inflow.offered[to].load(Ordering::Relaxed) - fresh;
        let known = self.inflow.known[to];
        match self.have[place].is_seed() {
            true => u64::MAX,
            false => scaled(known, offered, others),
        }
    }

    /// Moves so many units to a neighbour.
    pub(super) fn send(
        &self,
        place: usize,
        peer: &mut FlowPeer,
        (slot, index): (&mut FlowSlot, usize),
        units: u64,
        told: &mut MotionTold,
    ) {
        let to = slot.neighbour as usize;
        peer.uploaded += units;
        let given = i32::try_from(units >> STANDING_BITS).unwrap_or(i32::MAX);
        slot.standing = slot.standing.saturating_sub(given);
        self.inflow.came[to].fetch_add(units, Ordering::Relaxed);
        let cell = &self.received[to * self.stride + usize::from(slot.reverse)];
        let more = u32::try_from(units >> RECEIVED_BITS).unwrap_or(u32::MAX);
        // Nobody else writes it in this part of a step.
        let before = cell.load(Ordering::Relaxed);
        cell.store(before.saturating_add(more), Ordering::Relaxed);
        if slot.flowing() == Some(Class::Paid) {
            let payee = u32::try_from(place).expect("peers are numbered by 32 bits");
            told.paid
                .push((payee, u32::try_from(index).expect("a slot"), units));
        }
        if self.have[place].is_seed() {
            let torrent = self.rules[usize::from(peer.population)].torrent as usize;
            let (all, count) = &mut told.injected[torrent];
            *all += units;
            *count += 1;
        }
    }

    /// Sends max–min fair amounts. What one class of a peer cannot use, its other class gets.
    pub(super) fn send_fairly(
        &self,
        peers: &mut [FlowPeer],
        slots: &mut [FlowSlot],
        work: &mut FairScratch,
        told: &mut MotionTold,
    ) {
        work.flows.clear();
        work.ends.clear();
        work.capacity.clear();
        for (place, peer) in peers.iter().enumerate() {
            work.capacity.extend([0, 0, self.inflow.taken[place]]);
            let first = place * self.stride;
            let own = &slots[first..first + usize::from(peer.degree)];
            let rules = &self.rules[usize::from(peer.population)];
            let share = shares(rules, peer, own);
            let mut wanted = ByClass::default();
            for (index, slot) in own.iter().enumerate() {
                let Some(class) = slot.flowing() else {
                    continue;
                };
                let (line, most) = match class {
                    Class::Paid => (0, self.credit.most(place, index, share.paid)),
                    Class::Reciprocal | Class::Optimistic => (1, u64::MAX),
                };
                let offered = if line == 0 { share.paid } else { share.open };
                let most = most.min(self.found(place, slot.neighbour as usize, offered));
                let side = if line == 0 {
                    &mut wanted.paid
                } else {
                    &mut wanted.open
                };
                *side = side.saturating_add(most);
                let lines = [place * LINES + line, slot.neighbour as usize * LINES + 2];
                work.flows.push(LineFlow {
                    lines: lines.map(|line| u32::try_from(line).expect("few lines")),
                    most,
                });
                work.ends.push((place, index));
            }
            let split =
                ClassShares::new(rules.policy.open_share_percent).split(peer.uplink, wanted);
            work.capacity[place * LINES] = split.paid;
            work.capacity[place * LINES + 1] = split.open;
        }
        let FairScratch {
            sharing,
            capacity,
            flows,
            ends,
            amounts,
        } = work;
        sharing.max_min(capacity, flows, amounts);
        if leave_to_the_other(peers, capacity, flows, amounts) {
            sharing.max_min(capacity, flows, amounts);
        }
        for ((place, index), units) in ends.iter().zip(&*amounts) {
            let slot = &mut slots[place * self.stride + index];
            self.send(*place, &mut peers[*place], (slot, *index), *units, told);
        }
    }
}

/// What exact sharing works in.
#[derive(Debug, Default)]
pub(super) struct FairScratch {
    sharing: SharingScratch,
    capacity: Vec<u64>,
    flows: Vec<LineFlow>,
    ends: Vec<(usize, usize)>,
    amounts: Vec<u64>,
}

/// Gives what a class of a peer did not use to its other class; whether there was any.
fn leave_to_the_other(
    peers: &[FlowPeer],
    capacity: &mut [u64],
    flows: &[LineFlow],
    amounts: &[u64],
) -> bool {
    let is_split = |place: usize| capacity[place * LINES] > 0 && capacity[place * LINES + 1] > 0;
    let split: Vec<usize> = (0..peers.len()).filter(|place| is_split(*place)).collect();
    if split.is_empty() {
        return false;
    }
    let mut used = vec![0; capacity.len()];
    for (flow, amount) in flows.iter().zip(amounts) {
        used[flow.lines[0] as usize] += amount;
    }
    for place in split {
        let [paid, open] = [place * LINES, place * LINES + 1];
        let uplink = peers[place].uplink;
        let unused = [capacity[paid] - used[paid], capacity[open] - used[open]];
        // The class with less to spare may grow into what the other does not use.
        match unused[0] > unused[1] {
            true => capacity[open] = uplink - used[paid],
            false => capacity[paid] = uplink - used[open],
        }
        let other = if unused[0] > unused[1] { paid } else { open };
        capacity[other] = used[other];
    }
    true
}
