//! What a strategy is told of accounts, and what it changes of boosts.

use std::ops::Range;

use seedbank_ledger::{MicroCredits, Rate};

use super::{FlowCredit, FlowOrder};

/// What is changed of a boost; `None` stays as it is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(in crate::flow) struct BoostTerms {
    /// Most that is bid; with zero there is no boost.
    pub(in crate::flow) bid: Option<Rate>,
    pub(in crate::flow) floor: Option<Rate>,
    /// What may be spent from the begin.
    pub(in crate::flow) budget: Option<MicroCredits>,
}

/// How accounts stand, in micro-credits; zero without a network.
#[derive(Clone, Debug)]
pub(in crate::flow) struct Standing {
    /// Locked or free.
    pub(in crate::flow) balance: Vec<u64>,
    pub(in crate::flow) spent: Vec<u64>,
    pub(in crate::flow) earned: Vec<u64>,
    /// Units that were paid for.
    pub(in crate::flow) paid: Vec<u64>,
    /// Paid seats.
    pub(in crate::flow) seats: Vec<u64>,
}

impl FlowCredit {
    /// How the accounts of these peers stand.
    pub(in crate::flow) fn standing(&self, peers: Range<usize>) -> Standing {
        let of = |amounts: &[u64]| match amounts.get(peers.clone()) {
            Some(amounts) => amounts.to_vec(),
            None => vec![0; peers.len()],
        };
        let mut standing = Standing {
            balance: of(&self.available),
            spent: of(&self.spent),
            earned: of(&self.earned),
            paid: of(&self.paid_received),
            seats: vec![0; peers.len()],
        };
        for payer in &self.payers {
            let place = (payer.peer as usize).wrapping_sub(peers.start);
            if place < peers.len() {
                let locked: u64 = payer.pairs.iter().map(|pair| pair.locked).sum();
                standing.balance[place] += locked;
                let seated = payer.pairs.iter().filter(|pair| pair.seat.is_some());
                standing.seats[place] = seated.count() as u64;
            }
        }
        standing
    }

    /// Which payer each of these peers is.
    pub(in crate::flow) fn payers_of(&self, peers: Range<usize>) -> Vec<Option<usize>> {
        let mut payers = vec![None; peers.len()];
        for (number, payer) in self.payers.iter().enumerate() {
            let place = (payer.peer as usize).wrapping_sub(peers.start);
            if place < peers.len() {
                payers[place] = Some(number);
            }
        }
        payers
    }

    /// A peer's boost goes on by other terms; who is no payer orders one if these have a bid.
    pub(in crate::flow) fn reorder(
        &mut self,
        peer: u32,
        payer: Option<usize>,
        terms: BoostTerms,
        piece_len: u64,
    ) {
        let Some(payer) = payer else {
            let bid = terms.bid.unwrap_or_default();
            if bid > Rate::ZERO {
                let order = FlowOrder {
                    budget: terms.budget.unwrap_or(MicroCredits::MAX),
                    bid,
                    floor: terms.floor.unwrap_or_default(),
                };
                self.order(peer, order, piece_len);
            }
            return;
        };
        let payer = &mut self.payers[payer];
        let order = &mut payer.order;
        order.bid = terms.bid.unwrap_or(order.bid);
        order.floor = terms.floor.unwrap_or(order.floor);
        let locked: u64 = payer.pairs.iter().map(|pair| pair.locked).sum();
        if let Some(budget) = terms.budget {
            // An order is for credit that there is.
            let there = payer.spent + locked + self.available[peer as usize];
            order.budget = match payer.is_ordered {
                true => budget.min(MicroCredits::new(there)),
                false => budget,
            };
        }
        payer.is_over = order.bid == Rate::ZERO;
        if payer.is_over {
            for pair in std::mem::take(&mut payer.pairs) {
                self.available[peer as usize] += pair.locked;
            }
        }
    }
}
