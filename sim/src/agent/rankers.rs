//! Clients that unchoke by other rules: `BitTyrant`, `PropShare` and `FairTorrent`.

use std::cmp::Reverse;
use std::collections::BTreeMap;
use std::fmt::Debug;

use seedbank_engine::interface::config::{Policy, SessionConfig};
use seedbank_engine::transfer::choker::{
    Choke, OPTIMISTIC_TURN, RECIPROCAL_RATE_MIN, RankChoice, RankRow, Ranker, SlotPolicy,
};
use seedbank_engine::units::PeerIndex;
use seedbank_ledger::Instant;

use super::Agent;

/// Slots of a client whose rule says itself how many it unchokes.
const SLOTS: usize = 40;
/// Peers that share an uplink before anything is known of them.
const SHARE: u64 = 8;
/// Rounds in which a peer gave back before `BitTyrant` gives it less.
const ROUNDS_GOOD: u8 = 3;
/// Least rate to a peer that `BitTyrant` thinks of, in bytes per second.
const UPLOAD_MIN: u64 = 1_024;

/// An agent that does nothing but rank otherwise.
#[derive(Clone, Debug)]
pub struct Ranked<R>(pub R);

impl<R: Ranker + Clone + 'static> Agent for Ranked<R> {
    fn prepare(&self, _: &mut SessionConfig, policy: &mut Policy) {
        policy.slots = SLOTS;
    }

    fn ranker(&self) -> Option<Box<dyn Ranker>> {
        Some(Box::new(self.0.clone()))
    }
}

/// Gives to those who give most for it, each just what makes it give back (Piatek et al., "Do
/// incentives build robustness in BitTorrent?", NSDI 2007): ranked by d/u until the uplink is used
/// up; u falls by a tenth after three rounds of giving back, and rises by a fifth if it does not.
#[derive(Clone, Debug)]
pub struct BitTyrant {
    uplink: u64,
    peers: BTreeMap<PeerIndex, Deal>,
}

/// What `BitTyrant` thinks of a peer, in bytes per second.
#[derive(Clone, Copy, Debug)]
struct Deal {
    /// What it gives.
    down: u64,
    /// What has to be given for it.
    up: u64,
    /// It was given that in the last round.
    was_chosen: bool,
    /// Rounds in a row in which it gave back.
    good_rounds: u8,
}

impl BitTyrant {
    /// With so many bytes per second to give.
    pub const fn new(uplink: u64) -> Self {
        Self {
            uplink,
            peers: BTreeMap::new(),
        }
    }

    /// What the last round taught.
    fn learn(&mut self, rows: &[RankRow]) {
        let first = (self.uplink / SHARE).max(UPLOAD_MIN);
        let mut peers = BTreeMap::new();
        for row in rows {
            let rate = row.candidate.received_rate;
            let known = self.peers.get(&row.candidate.peer).copied();
            let mut deal = known.unwrap_or(Deal {
                down: first,
                up: first,
                was_chosen: false,
                good_rounds: 0,
            });
            let gives = rate >= RECIPROCAL_RATE_MIN;
            if gives {
                deal.down = rate;
            }
            if deal.was_chosen {
                deal.good_rounds = if gives { deal.good_rounds + 1 } else { 0 };
                if !gives {
                    deal.up = deal.up.saturating_add(deal.up / 5);
                } else if deal.good_rounds >= ROUNDS_GOOD {
                    deal.up = (deal.up - deal.up / 10).max(UPLOAD_MIN);
                    deal.good_rounds = 0;
                }
            }
            deal.was_chosen = false;
            peers.insert(row.candidate.peer, deal);
        }
        self.peers = peers;
    }
}

impl Ranker for BitTyrant {
    fn choose(&mut self, rows: &[RankRow], policy: &SlotPolicy, now: Instant) -> Vec<RankChoice> {
        if rows.iter().any(|row| row.candidate.seeding) {
            return in_turn(rows, now);
        }
        self.learn(rows);
        let mut order: Vec<&RankRow> = rows.iter().collect();
        order.sort_by(|one, other| {
            let [a, b] = [one, other].map(|row| self.peers[&row.candidate.peer]);
            let [ab, ba] = [(a.down, b.up), (b.down, a.up)].map(product);
            let waits = |row: &RankRow| (row.waiting_since(), row.candidate.peer);
            ba.cmp(&ab).then_with(|| waits(one).cmp(&waits(other)))
        });
        let mut left = self.uplink;
        let mut choices = Vec::new();
        for row in order.into_iter().take(policy.slots) {
            let peer = row.candidate.peer;
            let deal = self.peers.get_mut(&peer).expect("learned of above");
            let Some(rest) = left.checked_sub(deal.up) else {
                break;
            };
            left = rest;
            deal.was_chosen = true;
            choices.push(RankChoice {
                peer,
                weight: deal.up,
            });
        }
        choices
    }
}

fn product((a, b): (u64, u64)) -> u128 {
    u128::from(a) * u128::from(b)
}

/// Gives everybody as large a part of its uplink as it got from them in the last round (Levin et
/// al., "BitTorrent is an auction", SIGCOMM 2008); a fifth is for one of whom it got nothing.
#[derive(Clone, Debug, Default)]
pub struct PropShare {
    tried: Option<(PeerIndex, Instant)>,
}

impl Ranker for PropShare {
    fn choose(&mut self, rows: &[RankRow], _: &SlotPolicy, now: Instant) -> Vec<RankChoice> {
        if rows.iter().any(|row| row.candidate.seeding) {
            return in_turn(rows, now);
        }
        let gives = |row: &&RankRow| row.candidate.received_rate >= RECIPROCAL_RATE_MIN;
        let mut givers: Vec<&RankRow> = rows.iter().filter(gives).collect();
        givers.sort_by_key(|row| (Reverse(row.candidate.received_rate), row.candidate.peer));
        let mut choices: Vec<RankChoice> = givers
            .iter()
            .map(|row| RankChoice {
                peer: row.candidate.peer,
                weight: row.candidate.received_rate,
            })
            .collect();
        if choices.is_empty() {
            return in_turn(rows, now);
        }
        let others: Vec<&RankRow> = rows.iter().filter(|row| !gives(row)).collect();
        let is_other = |peer| others.iter().any(|row| row.candidate.peer == peer);
        self.tried = self
            .tried
            .filter(|(peer, since)| is_other(*peer) && now.since(*since) < OPTIMISTIC_TURN);
        let waits = |row: &&&RankRow| (row.waiting_since(), row.candidate.peer);
        let next = || others.iter().min_by_key(waits);
        self.tried = self.tried.or_else(|| Some((next()?.candidate.peer, now)));
        if let Some((peer, _)) = self.tried {
            let total: u64 = choices.iter().map(|choice| choice.weight).sum();
            let weight = total / 4;
            // Before the others: with every slot taken it would never be tried.
            choices.insert(0, RankChoice { peer, weight });
        }
        choices
    }
}

/// Serves those whom it owes most, or who owe it least (Sherman, Nieh and Stein, "`FairTorrent`: a
/// deficit-based distributed algorithm to ensure fairness in peer-to-peer systems", IEEE/ACM
/// Transactions on Networking 20, 2012), by its own meters, and as many as share an uplink.
#[derive(Clone, Debug, Default)]
pub struct FairTorrent {
    /// What each got more than it gave, in bytes.
    deficits: BTreeMap<PeerIndex, i64>,
    looked_at: Option<Instant>,
}

impl FairTorrent {
    /// Adds what has moved since the last round.
    fn count(&mut self, rows: &[RankRow], now: Instant) {
        let since = self.looked_at.map_or(0, |at| now.since(at).as_nanos());
        let moved = |rate: u64| {
            let bytes = u128::from(rate) * u128::from(since) / 1_000_000_000;
            i64::try_from(bytes).unwrap_or(i64::MAX)
        };
        let known = std::mem::take(&mut self.deficits);
        self.deficits = rows
            .iter()
            .map(|row| {
                let it = &row.candidate;
                let more = moved(it.sent_rate).saturating_sub(moved(it.received_rate));
                let before = known.get(&it.peer).copied().unwrap_or(0);
                (it.peer, before.saturating_add(more))
            })
            .collect();
        self.looked_at = Some(now);
    }
}

impl Ranker for FairTorrent {
    fn choose(&mut self, rows: &[RankRow], _: &SlotPolicy, now: Instant) -> Vec<RankChoice> {
        self.count(rows, now);
        if rows.iter().any(|row| row.candidate.seeding) {
            return in_turn(rows, now);
        }
        let mut order: Vec<&RankRow> = rows.iter().collect();
        order.sort_by_key(|row| {
            let peer = row.candidate.peer;
            (self.deficits[&peer], row.waiting_since(), peer)
        });
        let count = usize::try_from(SHARE).expect("few");
        let choice = |row: &RankRow| RankChoice {
            peer: row.candidate.peer,
            weight: 1,
        };
        order.into_iter().take(count).map(choice).collect()
    }
}

/// As many as share an uplink at first, each the same and for as long as an optimistic turn lasts;
/// then those who waited longest.
fn in_turn(rows: &[RankRow], now: Instant) -> Vec<RankChoice> {
    let mut order: Vec<&RankRow> = rows.iter().collect();
    let has_turn = |row: &RankRow| match row.choke {
        Choke::Unchoked { since, .. } => now.since(since) < OPTIMISTIC_TURN,
        Choke::Choked { .. } => false,
    };
    order.sort_by_key(|row| (!has_turn(row), row.waiting_since(), row.candidate.peer));
    let choice = |row: &RankRow| RankChoice {
        peer: row.candidate.peer,
        weight: 1,
    };
    let count = usize::try_from(SHARE).expect("few");
    order.into_iter().take(count).map(choice).collect()
}
