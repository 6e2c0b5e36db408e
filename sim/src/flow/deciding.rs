//! What strategies decide: once a round, over all peers of a population at a time.
//!
//! The command line plays [`AsWritten`], by which everybody goes on as the scenario says. Whoever
//! brings a strategy of its own is asked at the begin of every round, in the order of populations,
//! by one thread: a play is a function of its scenario and of what the strategy answers.

use std::ops::Range;

use seedbank_ledger::{MicroCredits, Rate};

use super::credit::BoostTerms;
use super::swarm::{FlowPeer, NEVER, Presence};
use super::{FlowPlay, in_step};
use crate::play::roll;
use crate::stats::{GIB, whole};

/// Decides for peers, once a round.
pub trait RoundStrategy {
    /// Whether it is asked about a population.
    fn decides_for(&self, population: &str) -> bool;

    /// What peers do from now on, one of whom at least is there.
    fn decide(&mut self, sight: RoundSight) -> RoundChoices;
}

/// Nobody is asked: all do as the scenario says.
#[derive(Clone, Copy, Debug, Default)]
pub struct AsWritten;

/// What the peers of a population see at the begin of a round: in every column a place for each of
/// them, in the order of the scenario, whether it has come or not. Rates are bytes per second,
/// credit is in micro-credits.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct RoundSight {
    /// Which population.
    pub population: String,
    /// Rounds since the run began.
    pub round: u64,
    /// Seconds since the run began.
    pub time: f64,
    /// Whether it is online.
    pub is_there: Vec<bool>,
    /// Which part it has of what it came for, from 0 to 1; 1 of who came with everything.
    pub progress: Vec<f64>,
    /// What its line can send.
    pub uplink: Vec<f64>,
    /// What it sent since it was asked last.
    pub sending: Vec<f64>,
    /// What it received since then.
    pub receiving: Vec<f64>,
    /// What is its own, locked or free.
    pub balance: Vec<u64>,
    /// What it has signed away, from the begin.
    pub spent: Vec<u64>,
    /// What was signed to it, from the begin.
    pub earned: Vec<u64>,
    /// Paid seats that it has.
    pub seats: Vec<u64>,
    /// What it paid for a GiB since it was asked last; `None`, if for nothing.
    pub price: Vec<Option<f64>>,
}

/// What peers do from now on, in the units of the sight. A column that is empty leaves everybody
/// as before, and so does `None` in a column; otherwise it has a place for each peer, as the sight.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct RoundChoices {
    /// Most that its boost bids for a GiB; with zero it has none. Who has none yet orders one by
    /// this.
    pub bid: Vec<Option<u64>>,
    /// Least that it bids, whatever less a payee takes; at first zero.
    pub floor: Vec<Option<u64>>,
    /// What its boost may spend from the begin; of a new one at first all that it has.
    pub budget: Vec<Option<u64>>,
    /// Bytes per second that it sends, at most what its line can.
    pub limit: Vec<Option<u64>>,
}

/// A population that is asked about.
#[derive(Clone, Debug)]
pub(super) struct Deciders {
    population: usize,
    peers: Range<usize>,
    /// Bytes per second of each line.
    uplinks: Vec<u64>,
    before: Vec<LastSeen>,
    asked_at: u64,
}

/// What was of a peer when it was asked last.
#[derive(Clone, Copy, Debug, Default)]
struct LastSeen {
    sent: u64,
    received: u64,
    paid: u64,
    spent: u64,
}

impl RoundStrategy for AsWritten {
    fn decides_for(&self, _population: &str) -> bool {
        false
    }

    fn decide(&mut self, _sight: RoundSight) -> RoundChoices {
        RoundChoices::default()
    }
}

impl FlowPlay<'_> {
    /// Those populations about which it is to be asked.
    pub(super) fn deciders(&self, strategy: &dyn RoundStrategy) -> Vec<Deciders> {
        let populations = self.scenario.populations.iter().enumerate();
        let asked = populations.filter(|(_, plan)| strategy.decides_for(&plan.name));
        let deciders = asked.map(|(population, plan)| {
            let peers = &self.swarm.peers;
            let of = |peer: &FlowPeer| usize::from(peer.population);
            let first = peers.partition_point(|peer| of(peer) < population);
            let last = peers.partition_point(|peer| of(peer) <= population);
            let lines = (0..plan.count).map(|index| roll::link_of(plan, index, self.streams));
            Deciders {
                population,
                peers: first..last,
                uplinks: lines.map(|link| link.uplink).collect(),
                before: vec![LastSeen::default(); last - first],
                asked_at: 0,
            }
        });
        deciders.collect()
    }

    /// Asks about every population of which somebody is there, and does as it says.
    pub(super) fn ask(&mut self, strategy: &mut dyn RoundStrategy, deciders: &mut [Deciders]) {
        for deciders in deciders {
            let there = |peer: &FlowPeer| peer.presence == Presence::There;
            if !self.swarm.peers[deciders.peers.clone()].iter().any(there) {
                continue;
            }
            let sight = self.sight(deciders);
            let choices = strategy.decide(sight);
            self.heed(deciders, &choices);
        }
    }

    fn sight(&self, deciders: &mut Deciders) -> RoundSight {
        let plan = &self.scenario.populations[deciders.population];
        let length = whole(self.torrents[self.scenario.torrent_of(plan)].length);
        let seconds = whole(self.now() - deciders.asked_at) / 1e9;
        deciders.asked_at = self.now();
        let rate = |units: u64| match seconds > 0.0 {
            true => whole(self.scale.bytes(units)) / seconds,
            false => 0.0,
        };
        let count = deciders.peers.len();
        let standing = self.credit.standing(deciders.peers.clone());
        let mut sight = RoundSight {
            population: plan.name.clone(),
            round: self.number / self.steps,
            time: whole(self.now()) / 1e9,
            uplink: deciders.uplinks.iter().copied().map(whole).collect(),
            is_there: Vec::with_capacity(count),
            progress: Vec::with_capacity(count),
            sending: Vec::with_capacity(count),
            receiving: Vec::with_capacity(count),
            balance: standing.balance,
            spent: standing.spent,
            earned: standing.earned,
            seats: standing.seats,
            price: Vec::with_capacity(count),
        };
        let peers = self.swarm.peers[deciders.peers.clone()].iter();
        for (place, (peer, before)) in peers.zip(&mut deciders.before).enumerate() {
            let received = match peer.presence {
                Presence::Expected => 0,
                Presence::There | Presence::Away | Presence::Gone => peer.content - peer.brought,
            };
            let now = LastSeen {
                sent: peer.uploaded,
                received,
                paid: standing.paid[place],
                spent: sight.spent[place],
            };
            let is_done = peer.done_at != NEVER || !plan.wants();
            sight.is_there.push(peer.presence == Presence::There);
            sight.progress.push(match is_done {
                true => 1.0,
                false => whole(peer.brought + received) / length,
            });
            sight.sending.push(rate(now.sent - before.sent));
            sight.receiving.push(rate(now.received - before.received));
            let paid = whole(self.scale.bytes(now.paid - before.paid));
            let spent = whole(now.spent - before.spent);
            sight.price.push((paid > 0.0).then(|| GIB * spent / paid));
            *before = now;
        }
        sight
    }

    fn heed(&mut self, deciders: &Deciders, choices: &RoundChoices) {
        let plan = &self.scenario.populations[deciders.population];
        let pays = self.scenario.network.is_some() && plan.receipts && plan.wants();
        let payers = self.credit.payers_of(deciders.peers.clone());
        let torrent = self.scenario.torrent_of(plan);
        let piece_len = self.scenario.torrents[torrent].piece.0;
        for (place, peer) in deciders.peers.clone().enumerate() {
            let of = &mut self.swarm.peers[peer];
            if !of.is_there() {
                continue;
            }
            if let Some(limit) = at(&choices.limit, place) {
                let most = limit.min(deciders.uplinks[place]);
                of.uplink = in_step(self.scale, self.step_ms, most);
            }
            let terms = BoostTerms {
                bid: at(&choices.bid, place).map(Rate::new),
                floor: at(&choices.floor, place).map(Rate::new),
                budget: at(&choices.budget, place).map(MicroCredits::new),
            };
            if pays && of.done_at == NEVER && terms != BoostTerms::default() {
                let peer = u32::try_from(peer).expect("peers are numbered by 32 bits");
                self.credit.reorder(peer, payers[place], terms, piece_len);
            }
        }
    }
}

fn at<T: Copy>(column: &[Option<T>], place: usize) -> Option<T> {
    column.get(place).copied().flatten()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::play::{PeerRow, PlayOutcome, outcome, outcome_by};
    use crate::scenario::Scenario;

    const PAYING: &str = r#"
[run]
tier = "flow"
duration = "2h"
paranoid = true
[network]
grant = "10cr"
[[torrent]]
length = "64MiB"
piece = "1MiB"
[[population]]
name = "seeder"
count = 1
has = "100%"
line = { uplink = "2MB/s" }
[[population]]
name = "payer"
count = 2
line = { uplink = "125kB/s", downlink = "10MB/s" }
boost = { budget = "1cr", bid = "2cr/GiB" }
[[population]]
name = "others"
count = 20
line = { uplink = "125kB/s", downlink = "10MB/s" }
"#;
    const CREDIT: u64 = 1_000_000;

    /// Answers by a function, and keeps what it saw.
    struct Answers<F> {
        population: &'static str,
        answer: F,
        seen: Vec<RoundSight>,
    }

    impl<F: FnMut(&RoundSight) -> RoundChoices> RoundStrategy for Answers<F> {
        fn decides_for(&self, population: &str) -> bool {
            population == self.population
        }

        fn decide(&mut self, sight: RoundSight) -> RoundChoices {
            self.seen.push(sight);
            (self.answer)(self.seen.last().unwrap())
        }
    }

    fn by(
        population: &'static str,
        answer: impl FnMut(&RoundSight) -> RoundChoices,
    ) -> (PlayOutcome, Vec<RoundSight>) {
        let scenario = Scenario::parse("test", PAYING).unwrap();
        let mut strategy = Answers {
            population,
            answer,
            seen: Vec::new(),
        };
        let played = outcome_by(&scenario, &mut strategy, |_| (), || false);
        (played.unwrap(), strategy.seen)
    }

    fn rows<'a>(played: &'a PlayOutcome, name: &str) -> Vec<&'a PeerRow> {
        let rows = played.peers.iter();
        rows.filter(|row| row.population == name).collect()
    }

    fn as_written() -> PlayOutcome {
        outcome(&Scenario::parse("test", PAYING).unwrap())
    }

    fn all<T: Copy>(sight: &RoundSight, what: T) -> Vec<Option<T>> {
        vec![Some(what); sight.is_there.len()]
    }

    #[test]
    fn who_is_asked_and_changes_nothing_plays_as_written() {
        let written = as_written();
        for population in ["payer", "others", "seeder"] {
            let (played, seen) = by(population, |_| RoundChoices::default());
            assert_eq!(played.state_hash(), written.state_hash());
            assert!(seen.len() > 5, "{population}: {}", seen.len());
        }
        let (played, _) = by("payer", |sight| RoundChoices {
            bid: all(sight, 2 * CREDIT),
            floor: all(sight, 0),
            budget: all(sight, CREDIT),
            limit: all(sight, u64::MAX),
        });
        assert_eq!(played.state_hash(), written.state_hash());
    }

    #[test]
    fn a_round_is_asked_about_once_and_tells_what_came_of_the_last() {
        let (played, seen) = by("payer", |_| RoundChoices::default());
        let rounds: Vec<u64> = seen.iter().map(|sight| sight.round).collect();
        assert_eq!(rounds, (0..rounds.len() as u64).collect::<Vec<_>>());
        let payer = rows(&played, "payer")[0];
        let last = seen.last().unwrap();
        let sum = |of: fn(&RoundSight) -> f64| seen.iter().map(of).sum::<f64>() * 10.0;
        let sent = sum(|sight| sight.sending[0]);
        assert!(sent <= payer.uploaded as f64 && sent > 0.9 * payer.uploaded as f64);
        let received = sum(|sight| sight.receiving[0]);
        let whole = f64::from(64 << 20);
        assert!((received / whole - 1.0).abs() < 1e-6, "{received}");
        assert_eq!(last.progress, [1.0, 1.0]);
        assert_eq!(last.spent[0], payer.spent);
        assert_eq!(last.balance[0], 10 * CREDIT - payer.spent);
        let prices = seen.iter().filter_map(|sight| sight.price[0]);
        let prices: Vec<f64> = prices.collect();
        assert!(!prices.is_empty());
        assert!(prices.iter().all(|price| *price <= 2e6 + 1.0), "{prices:?}");
        assert!(seen.iter().any(|sight| sight.seats[0] > 0));
        assert_eq!(last.uplink, [125_000.0; 2]);
    }

    #[test]
    fn a_strategy_orders_raises_and_withdraws_boosts() {
        // Of the others the first pays, exactly as much as it says.
        let (played, _) = by("others", |sight| RoundChoices {
            bid: {
                let mut bid = vec![None; sight.is_there.len()];
                bid[0] = Some(3 * CREDIT);
                bid
            },
            floor: all(sight, 3 * CREDIT),
            ..RoundChoices::default()
        });
        let others = rows(&played, "others");
        let price = others[0].spent as f64 / others[0].paid_received as f64 * GIB;
        assert!((price / 3e6 - 1.0).abs() < 1e-3, "{price}");
        assert!(others[1..].iter().all(|row| row.spent == 0));
        assert!(others[0].took() < others[1].took());
        // Who withdraws pays nothing from then on, and is later.
        let (played, seen) = by("payer", |sight| RoundChoices {
            bid: all(sight, if sight.round < 2 { 2 * CREDIT } else { 0 }),
            ..RoundChoices::default()
        });
        let payer = rows(&played, "payer")[0];
        assert_eq!(payer.spent, seen[2].spent[0]);
        assert!(payer.spent > 0);
        assert!(payer.took() > rows(&as_written(), "payer")[0].took());
        // A budget holds however much is bid.
        let (played, _) = by("payer", |sight| RoundChoices {
            budget: all(sight, CREDIT / 100),
            ..RoundChoices::default()
        });
        let spent = rows(&played, "payer")[0].spent;
        assert!((1..=CREDIT / 100).contains(&spent), "{spent}");
    }

    #[test]
    fn who_sends_nothing_sends_nothing() {
        let (played, _) = by("others", |sight| RoundChoices {
            limit: all(sight, 0),
            ..RoundChoices::default()
        });
        assert!(rows(&played, "others").iter().all(|row| row.uploaded == 0));
        assert!(rows(&played, "others").iter().all(|row| row.done.is_some()));
        let (half, _) = by("others", |sight| RoundChoices {
            limit: all(sight, 62_500),
            ..RoundChoices::default()
        });
        let sent = |played: &PlayOutcome| {
            let rows = rows(played, "others");
            rows.iter().map(|row| row.uploaded).sum::<u64>()
        };
        assert!(sent(&half) < sent(&as_written()) && sent(&half) > 0);
    }
}
