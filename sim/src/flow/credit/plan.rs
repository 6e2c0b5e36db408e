//! A boost's plan at every step: whom it has a place for, what is locked there, what is bid.

use std::collections::BTreeSet;

use seedbank_engine::credit::boost::config::{DUST, TOP_UP_PARTS};
use seedbank_engine::credit::boost::{BidSight, Bidder, PlaceSight, Reserve};
use seedbank_engine::credit::policy::CreditError;
use seedbank_engine::transfer::choker::{Class, ROUND};
use seedbank_engine::units::PeerIndex;
use seedbank_ledger::charts::node::Available;
use seedbank_ledger::{Bytes, Instant, MicroCredits, Rate};

use super::{FlowCredit, FlowPair, FlowPayer, key_of};
use crate::flow::swarm::{FlowSlot, FlowSwarm, NOBODY, Presence};

/// The number of a payer's only boost.
const BOOST: u64 = 1;

/// What a plan is made by.
#[derive(Clone, Copy)]
pub(in crate::flow) struct CreditRound<'a> {
    pub(in crate::flow) now: Instant,
    pub(in crate::flow) is_settlement_away: bool,
    /// A round of a choker is over.
    pub(in crate::flow) is_round: bool,
    pub(in crate::flow) swarm: &'a FlowSwarm,
    /// The lowest bid that a population serves as paid; `None` if it takes no payment.
    pub(in crate::flow) asks: &'a [Option<Rate>],
    /// Units that a peer lacks.
    pub(in crate::flow) left: &'a dyn Fn(u32) -> u64,
    /// Whether what came to a peer in its round is counted anew since the last plan.
    pub(in crate::flow) begins: &'a dyn Fn(u32) -> bool,
    /// Whether the first of two lacks something of the second.
    pub(in crate::flow) wants: &'a dyn Fn(u32, u32) -> bool,
}

impl FlowCredit {
    /// Plans every boost.
    pub(in crate::flow) fn plan(&mut self, round: &CreditRound<'_>) {
        let mut payers = std::mem::take(&mut self.payers);
        self.at_payee.clear();
        for (number, payer) in (0..).zip(&mut payers) {
            if !payer.is_over {
                self.plan_one(payer, round);
            }
            for (place, pair) in (0..).zip(&payer.pairs) {
                let here = self.at_payee.entry(pair.payee).or_default();
                here.push((pair.payee_slot, number, place));
            }
        }
        self.payers = payers;
    }

    fn plan_one(&mut self, payer: &mut FlowPayer, round: &CreditRound<'_>) {
        let peer = &round.swarm.peers[payer.peer as usize];
        let left = Bytes::new(self.scale.bytes((round.left)(payer.peer)));
        let locked: u64 = payer.pairs.iter().map(|pair| pair.locked).sum();
        let rest = |payer: &FlowPayer| payer.order.budget.get().saturating_sub(payer.spent);
        let dust = payer.order.bid.cost_ceil(DUST).unwrap_or_default();
        let is_gone = peer.presence == Presence::Gone;
        if is_gone || left.is_zero() || (payer.is_ordered && rest(payer) < dust.get()) {
            payer.is_over = true;
            for pair in std::mem::take(&mut payer.pairs) {
                self.available[payer.peer as usize] += pair.locked;
            }
            return;
        }
        if !payer.is_ordered {
            self.place_order(payer);
        }
        if !payer.is_ordered {
            return;
        }
        if round.is_round {
            for pair in &mut payer.pairs {
                pair.paid = [0, pair.paid[0]];
            }
        }
        payer.raise_pauses.tend(round.now);
        self.place(payer, round);
        let mut free = rest(payer).saturating_sub(locked);
        if !round.is_settlement_away {
            self.lock(payer, left, &mut free);
        }
        bid(payer, round);
    }

    /// Orders what was planned, or what there is if that is less.
    fn place_order(&self, payer: &mut FlowPayer) {
        let available = MicroCredits::new(self.available[payer.peer as usize]);
        payer.is_ordered = !available.is_zero();
        let free = Available::divide(available, MicroCredits::ZERO, MicroCredits::ZERO);
        let error = CreditError::InsufficientCredit {
            needed: payer.order.budget,
            available: free,
        };
        payer.refused = (!payer.is_ordered).then(|| error.to_string());
        if payer.is_ordered {
            payer.order.budget = payer.order.budget.min(available);
        }
    }

    /// Keeps, gives up and fills places: by the rule that a node's boosts go by.
    fn place(&mut self, payer: &mut FlowPayer, round: &CreditRound<'_>) {
        let slots = round.swarm.slots_of(payer.peer);
        let begins = (round.begins)(payer.peer);
        let mut neighbours: Vec<(u32, u16)> = (0..)
            .zip(slots)
            .filter(|(_, slot)| slot.neighbour != NOBODY)
            .map(|(place, slot)| (slot.neighbour, place))
            .collect();
        neighbours.sort_unstable();
        for pair in &mut payer.pairs {
            let came = round.swarm.came(payer.peer, usize::from(pair.payer_slot));
            let before = if begins { 0 } else { pair.came };
            pair.received += u64::from(came.saturating_sub(before));
            pair.came = came;
        }
        let sight = |(neighbour, place): &(u32, u16)| {
            let pair = payer.pairs.iter().find(|pair| pair.payee == *neighbour);
            sight(payer, (&slots[usize::from(*place)], *place), pair, round)
        };
        let payees: Vec<PlaceSight> = neighbours.iter().map(sight).collect();
        let own = BTreeSet::from([BOOST]);
        payer.places.tend(&own, round.now);
        payer.places.choose(BOOST, &payees, round.now);
        let mut pairs = std::mem::take(&mut payer.pairs);
        pairs.retain(|pair| {
            let slot = slots.get(usize::from(pair.payer_slot));
            let is_there = slot.is_some_and(|slot| slot.neighbour == pair.payee);
            let stays = is_there && payer.places.has(BOOST, key_of(pair.payee));
            if !stays {
                self.available[payer.peer as usize] += pair.locked;
            }
            stays
        });
        for ((neighbour, place), seen) in neighbours.iter().zip(&payees) {
            let is_new = pairs.iter().all(|pair| pair.payee != *neighbour);
            if is_new && payer.places.has(BOOST, seen.node_id) {
                pairs.push(FlowPair {
                    payee: *neighbour,
                    payer_slot: *place,
                    payee_slot: slots[usize::from(*place)].reverse,
                    bidder: None,
                    locked: 0,
                    signed: 0,
                    raw: 0,
                    seat: None,
                    paid: [0; 2],
                    came: round.swarm.came(payer.peer, usize::from(*place)),
                    received: seen.received.get(),
                });
            }
        }
        payer.pairs = pairs;
    }

    /// Opens and fills up locks.
    fn lock(&mut self, payer: &mut FlowPayer, left: Bytes, free: &mut u64) {
        for pair in &mut payer.pairs {
            let signed = MicroCredits::new(pair.signed);
            let reserve = Reserve::new(payer.order.bid, payer.piece_len, signed);
            let wanted = reserve.wanted(left).get();
            let is_low = pair.locked <= wanted / TOP_UP_PARTS;
            let needed = payer.order.bid.cost_ceil(left).unwrap_or(MicroCredits::MAX);
            if !is_low || pair.locked >= needed.get() {
                continue;
            }
            let amount = (wanted - pair.locked).min(*free);
            let is_all = pair.locked > 0 && amount == *free;
            if amount >= reserve.least().get() || is_all {
                self.available[payer.peer as usize] -= amount;
                pair.locked += amount;
                *free -= amount;
            }
        }
    }
}

/// A neighbour as places are given by. What came from it is counted since it has its place: of who
/// has none it is only told whether there was anything.
fn sight(
    payer: &FlowPayer,
    (slot, place): (&FlowSlot, u16),
    pair: Option<&FlowPair>,
    round: &CreditRound<'_>,
) -> PlaceSight {
    let payee = &round.swarm.peers[slot.neighbour as usize];
    let ask = round.asks[usize::from(payee.population)];
    let has_missing = (round.wants)(payer.peer, slot.neighbour);
    let came = round.swarm.came(payer.peer, usize::from(place));
    let class = class_at(round.swarm, slot.neighbour, slot.reverse);
    let had = u64::from(came > 0 || slot.standing > 0);
    PlaceSight {
        node_id: key_of(slot.neighbour),
        is_eligible: has_missing && ask.is_some_and(|ask| ask <= payer.order.bid),
        holds_credit: pair.is_some_and(|pair| pair.locked > 0),
        is_seed: round.swarm.have[slot.neighbour as usize].is_seed(),
        rate_to_us: Bytes::new(came.into()),
        choking_us: class.is_none(),
        received: Bytes::new(pair.map_or(had, |pair| pair.received)),
        asked: has_missing,
        seated: class == Some(Class::Paid),
        met: PeerIndex(place.into()),
    }
}

/// In which class a payee serves the one at this slot.
fn class_at(swarm: &FlowSwarm, payee: u32, slot: u16) -> Option<Class> {
    swarm.slots_of(payee)[usize::from(slot)].class()
}

/// Bids at every payee in whose lock there is credit.
fn bid(payer: &mut FlowPayer, round: &CreditRound<'_>) {
    let class = |pair: &FlowPair| class_at(round.swarm, pair.payee, pair.payee_slot);
    let seated = |pair: &FlowPair| class(pair) == Some(Class::Paid);
    let rivals: Vec<(u32, Rate)> = payer
        .pairs
        .iter()
        .filter(|pair| seated(pair) && pair.paid != [0; 2])
        .map(|pair| (pair.payee, pair.bid()))
        .collect();
    for pair in &mut payer.pairs {
        if pair.locked == 0 {
            pair.bidder = None;
            continue;
        }
        let payee = &round.swarm.peers[pair.payee as usize];
        let ask = round.asks[usize::from(payee.population)];
        let others = rivals.iter().filter(|(payee, _)| *payee != pair.payee);
        let sight = BidSight {
            now: round.now,
            choke_round: ROUND,
            payee: key_of(pair.payee),
            min: ask.unwrap_or(Rate::ZERO).max(payer.order.floor),
            cap: payer.order.bid,
            rival: others.map(|(_, bid)| *bid).min(),
            choking: class(pair).is_none(),
            seated: seated(pair),
            // Without a deadline a choked payer always wants more.
            too_slow: true,
        };
        match &mut pair.bidder {
            Some(bidder) => {
                bidder.step(&sight, &mut payer.raise_pauses);
            }
            None => pair.bidder = Some(Bidder::new(&sight)),
        }
    }
}
