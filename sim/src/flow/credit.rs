//! Who pays whom: boosts as the engine plans and bids them, over accounts past all verification.
//!
//! Prices, windows, reserves, bids and seats are the engine's functions. Locks, receipts and claims
//! are two numbers here: what is locked, and what was signed away. Orders take no time, and what a
//! payee earned is its own at once.

mod plan;
mod terms;

use std::collections::BTreeMap;

use seedbank_engine::credit::boost::{Bidder, Pauses, PayeePlaces};
use seedbank_engine::credit::receipts::Service;
use seedbank_engine::credit::receipts::limits::{Window, history};
use seedbank_engine::transfer::choker::{RankRow, SeatRecord, Seats};
use seedbank_ledger::{Bytes, Instant, MicroCredits, NodeId, Rate};

use super::content::UnitScale;
use crate::play::price_of;

pub(super) use plan::CreditRound;
pub(super) use terms::BoostTerms;

/// From a paid byte to its receipt at the payee: the piece is verified, and there and back.
const RECEIPT_TURN_MS: u64 = 250;

/// An order for a boost.
#[derive(Clone, Copy, Debug)]
pub(super) struct FlowOrder {
    pub(super) budget: MicroCredits,
    pub(super) bid: Rate,
    /// Least that is bid, whatever less a payee takes.
    pub(super) floor: Rate,
}

/// Whoever has ordered a boost.
#[derive(Debug)]
struct FlowPayer {
    peer: u32,
    order: FlowOrder,
    /// Of its torrent.
    piece_len: Bytes,
    spent: u64,
    /// Bytes paid for and micro-credits by the last row of the series.
    told: [u64; 2],
    is_over: bool,
    is_ordered: bool,
    refused: Option<String>,
    pairs: Vec<FlowPair>,
    raise_pauses: Pauses,
    places: PayeePlaces,
}

/// A payer and somebody it has a place for.
#[derive(Clone, Copy, Debug)]
pub(super) struct FlowPair {
    payee: u32,
    payer_slot: u16,
    payee_slot: u16,
    bidder: Option<Bidder>,
    /// What is locked and not signed away.
    locked: u64,
    /// What was signed away since it has its place.
    signed: u64,
    /// What less than a micro-credit was due, times 2³⁰ and the units of a byte.
    raw: u64,
    seat: Option<KeptSeat>,
    /// Units that came as paid in this round and in the one before.
    paid: [u64; 2],
    /// What came from the payee in this round by the last plan, in 16384ths of a piece, and in all
    /// while it has its place.
    came: u32,
    received: u64,
}

/// A seat between two decisions.
#[derive(Clone, Copy, Debug)]
struct KeptSeat {
    since: Instant,
    first_price: Rate,
    price: Rate,
    on_time_at: Instant,
}

/// What became of a pair's seat.
#[derive(Clone, Copy, Debug)]
pub(super) struct SeatNews {
    at: (u32, u32),
    seat: Option<KeptSeat>,
}

/// Accounts, in micro-credits, and who pays.
#[derive(Debug)]
pub(super) struct FlowCredit {
    scale: UnitScale,
    step_ms: u64,
    pub(super) granted: Vec<u64>,
    pub(super) spent: Vec<u64>,
    pub(super) earned: Vec<u64>,
    /// Units that boosts paid for, by payee and by payer.
    pub(super) paid_sent: Vec<u64>,
    pub(super) paid_received: Vec<u64>,
    available: Vec<u64>,
    payers: Vec<FlowPayer>,
    /// Pairs by payee, and there by its slot.
    at_payee: BTreeMap<u32, Vec<(u16, u32, u32)>>,
}

impl FlowCredit {
    /// Accounts of so many; of nobody, if there is no network.
    pub(super) fn new(count: usize, scale: UnitScale, step_ms: u64) -> Self {
        Self {
            scale,
            step_ms,
            granted: vec![0; count],
            spent: vec![0; count],
            earned: vec![0; count],
            paid_sent: vec![0; count],
            paid_received: vec![0; count],
            available: vec![0; count],
            payers: Vec::new(),
            at_payee: BTreeMap::new(),
        }
    }

    pub(super) fn grant(&mut self, peer: u32, amount: MicroCredits) {
        self.granted[peer as usize] += amount.get();
        self.available[peer as usize] += amount.get();
    }

    pub(super) fn order(&mut self, peer: u32, order: FlowOrder, piece_len: u64) {
        self.payers.push(FlowPayer {
            peer,
            order,
            piece_len: Bytes::new(piece_len),
            spent: 0,
            told: [0; 2],
            is_over: false,
            is_ordered: false,
            refused: None,
            pairs: Vec::new(),
            raise_pauses: Pauses::default(),
            places: PayeePlaces::default(),
        });
    }

    /// What each has, locked or free, in micro-credits; nothing without a network.
    pub(super) fn held(&self) -> Vec<u64> {
        let mut held = self.available.clone();
        for payer in &self.payers {
            held[payer.peer as usize] += payer.pairs.iter().map(|pair| pair.locked).sum::<u64>();
        }
        held
    }

    /// What each payer paid for a GiB since it was asked last, in micro-credits, and for how many
    /// bytes.
    pub(super) fn prices(&mut self) -> Vec<(f64, f64)> {
        let (scale, received) = (self.scale, &self.paid_received);
        let payers = self.payers.iter_mut();
        let prices = payers.filter_map(|payer| {
            let paid = scale.bytes(received[payer.peer as usize]);
            let now = [paid, payer.spent];
            price_of(std::mem::replace(&mut payer.told, now), now)
        });
        prices.collect()
    }

    /// Why boosts were refused, by peer.
    pub(super) fn refused(&self) -> BTreeMap<u32, String> {
        let refused = self.payers.iter();
        refused
            .filter_map(|payer| Some((payer.peer, payer.refused.clone()?)))
            .collect()
    }

    /// Pairs that have a place, and bytes that one takes.
    pub(super) fn pairs(&self) -> (usize, usize) {
        let count = self.payers.iter().map(|payer| payer.pairs.len()).sum();
        (count, size_of::<FlowPair>() + size_of::<(u16, u32, u32)>())
    }

    /// Asserts that credit is moved and never made: all that was granted is free or locked, and all
    /// that was spent was earned.
    pub(super) fn check_invariants(&self) {
        let sum = |amounts: &[u64]| amounts.iter().map(|one| u128::from(*one)).sum::<u128>();
        let pairs = self.payers.iter().flat_map(|payer| &payer.pairs);
        let locked: u128 = pairs.map(|pair| u128::from(pair.locked)).sum();
        let held = sum(&self.available) + locked;
        assert_eq!(sum(&self.granted), held, "supply is what was granted");
        assert_eq!(sum(&self.spent), sum(&self.earned), "spent is earned");
    }

    /// Whether somebody bids for seats of this peer.
    pub(super) fn has_payers(&self, payee: usize) -> bool {
        u32::try_from(payee).is_ok_and(|payee| self.at_payee.contains_key(&payee))
    }

    /// The seats of a payee, and what is known of its payers, in its rows.
    pub(super) fn seats_of(&self, payee: usize, rows: &mut [RankRow]) -> Seats {
        let mut records = Vec::new();
        for (slot, payer, pair) in self.at(payee) {
            let peer = u64::from(*slot);
            let row = rows.iter_mut().find(|row| row.candidate.peer.0 == peer);
            let (Some(row), payer) = (row, &self.payers[*payer as usize]) else {
                continue;
            };
            let pair = &payer.pairs[*pair as usize];
            let bid = pair.bid();
            let paid = MicroCredits::new(pair.signed);
            row.candidate.key = Some(key_of(payer.peer));
            row.candidate.pays = pair.locked > 0;
            row.candidate.bid = if pair.locked > 0 { bid } else { Rate::ZERO };
            row.candidate.has_paid = pair.signed > 0;
            row.candidate.paid_recently = self.scale.bytes(pair.paid[0].max(pair.paid[1]));
            row.candidate.paid_bytes = history(paid, bid).get();
            row.candidate.window = Window::V1.of(payer.piece_len, history(paid, bid)).get();
            if let Some(seat) = pair.seat {
                records.push(SeatRecord {
                    last: row.candidate,
                    since: seat.since,
                    first_price: seat.first_price,
                    price: seat.price,
                    on_time_at: seat.on_time_at,
                });
            }
        }
        Seats::resume(records)
    }

    /// Takes note of what became of a payee's seats.
    pub(super) fn tell(&self, payee: usize, seats: &Seats, news: &mut Vec<SeatNews>) {
        for (slot, payer, pair) in self.at(payee) {
            let mut records = seats.records();
            let record = records.find(|record| record.last.peer.0 == u64::from(*slot));
            news.push(SeatNews {
                at: (*payer, *pair),
                seat: record.map(|record| KeptSeat {
                    since: record.since,
                    first_price: record.first_price,
                    price: record.price,
                    on_time_at: record.on_time_at,
                }),
            });
        }
    }

    pub(super) fn hear(&mut self, news: &[SeatNews]) {
        for SeatNews { at, seat } in news {
            self.payers[at.0 as usize].pairs[at.1 as usize].seat = *seat;
        }
    }

    /// Most units of `share` that a payer can take in a step: what its lock pays for, and what its
    /// window lets through, of which a receipt gives back what was paid.
    pub(super) fn most(&self, payee: usize, slot: usize, share: u64) -> u64 {
        let Some(pair) = self.pair_at(payee, slot) else {
            return 0;
        };
        let (payer, pair) = (&self.payers[pair.0], &self.payers[pair.0].pairs[pair.1]);
        let price = u128::from(pair.price().get());
        let locked = u128::from(pair.locked) << (30 + self.scale.shift());
        let covered = locked.checked_div(price).unwrap_or(0);
        let signed = MicroCredits::new(pair.signed);
        let window = Window::V1.of(payer.piece_len, history(signed, pair.price()));
        let window = u128::from(self.scale.units(window.get()));
        let in_turn = u128::from(share) * u128::from(RECEIPT_TURN_MS) / u128::from(self.step_ms);
        let let_through = u128::from(share) * window / (window + in_turn).max(1);
        u64::try_from(covered.min(let_through)).unwrap_or(u64::MAX)
    }

    /// So many units flowed from a paid seat: their price changes hands.
    pub(super) fn pay(&mut self, payee: usize, slot: usize, units: u64) {
        let Some(at) = self.pair_at(payee, slot) else {
            return;
        };
        let shift = 30 + self.scale.shift();
        let payer = &mut self.payers[at.0];
        let pair = &mut payer.pairs[at.1];
        let due = u128::from(pair.raw) + u128::from(pair.price().get()) * u128::from(units);
        let whole = u64::try_from(due >> shift).unwrap_or(u64::MAX);
        let paid = whole.min(pair.locked);
        pair.raw = u64::try_from(due & ((1 << shift) - 1)).expect("fewer bits");
        pair.locked -= paid;
        pair.signed += paid;
        pair.paid[0] = pair.paid[0].saturating_add(units);
        payer.spent += paid;
        let payer = payer.peer as usize;
        self.spent[payer] += paid;
        self.earned[payee] += paid;
        self.paid_received[payer] += units;
        self.paid_sent[payee] += units;
        self.available[payee] += paid;
    }

    fn at(&self, payee: usize) -> &[(u16, u32, u32)] {
        let payee = u32::try_from(payee).expect("peers are numbered by 32 bits");
        self.at_payee.get(&payee).map_or(&[], Vec::as_slice)
    }

    fn pair_at(&self, payee: usize, slot: usize) -> Option<(usize, usize)> {
        let here = self.at(payee);
        let found = here.iter().find(|(it, _, _)| usize::from(*it) == slot);
        found.map(|(_, payer, pair)| (*payer as usize, *pair as usize))
    }
}

impl FlowPair {
    fn bid(&self) -> Rate {
        self.bidder.map_or(Rate::ZERO, |bidder| bidder.rate())
    }

    /// What a byte costs in its seat: blocks are requested under the bid in force.
    fn price(&self) -> Rate {
        Service::PAY_AS_BID.price(self.bid())
    }
}

/// A key that stands for a peer; they are in order of peers.
fn key_of(peer: u32) -> NodeId {
    let mut bytes = [0; 32];
    bytes[..4].copy_from_slice(&peer.to_be_bytes());
    NodeId::from_bytes(bytes)
}
