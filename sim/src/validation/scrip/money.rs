//! Money that moves by one at a time: its law, agents that move it, and the ledger that books it.

use seedbank_engine::rng::Rng;
use seedbank_ledger::charts::network::NetworkLedger;
use seedbank_ledger::genesis::Genesis;
use seedbank_ledger::ledger::Outcome;
use seedbank_ledger::signed::Body as _;
use seedbank_ledger::signed::order::{Order, OrderKind};
use seedbank_ledger::statement::Operation;
use seedbank_ledger::store::Memory;
use seedbank_ledger::{Identity, MicroCredits, NetworkId, UnixTime};

use super::{AGENTS, LAWS};
use crate::signatures::Signatures;
use crate::stats::{float, whole};
use crate::swarm::identity_by;
use crate::validation::ValidationRow;
use crate::world::START;

/// Orders that are entered together.
const GROUP: usize = 100;
/// Settlement time between two groups: nobody runs out of orders.
const GROUP_SECS: u64 = 10;

/// Chances of holding 0, 1, … up to a threshold, each so many times the one before.
#[derive(Clone, Debug)]
pub(super) struct Geometric {
    chances: Vec<f64>,
}

impl Geometric {
    /// With this ratio.
    pub(super) fn with_ratio(threshold: usize, ratio: f64) -> Self {
        // From the largest, so that nothing overflows.
        let log = libm::log(ratio);
        let from = if ratio > 1.0 { float(threshold) } else { 0.0 };
        let weight = |held: usize| libm::exp(log * (float(held) - from));
        let weights: Vec<f64> = (0..=threshold).map(weight).collect();
        let sum: f64 = weights.iter().sum();
        let chances = weights.into_iter().map(|weight| weight / sum).collect();
        Self { chances }
    }

    /// With the ratio that has this mean.
    pub(super) fn with_mean(threshold: usize, mean: f64) -> Self {
        Self::with_ratio(
            threshold,
            solve(|ratio| Self::with_ratio(threshold, ratio).mean() < mean),
        )
    }

    pub(super) fn mean(&self) -> f64 {
        let held = self.chances.iter().enumerate();
        held.map(|(held, chance)| float(held) * chance).sum()
    }

    /// Chance of having something to pay with.
    pub(super) fn satisfied(&self) -> f64 {
        1.0 - self.chances[0]
    }

    /// Chance of being below the threshold.
    pub(super) fn willing(&self) -> f64 {
        1.0 - self.chances.last().expect("one at least")
    }

    /// Half of what it differs from these frequencies.
    pub(super) fn distance(&self, held: &[f64]) -> f64 {
        let pairs = self.chances.iter().zip(held);
        pairs.map(|(one, other)| (one - other).abs()).sum::<f64>() / 2.0
    }
}

/// The ratio at which `is_low` turns false.
pub(super) fn solve(is_low: impl Fn(f64) -> bool) -> f64 {
    let (mut low, mut high) = (1e-6_f64, 1e6_f64);
    for _ in 0..100 {
        let middle = libm::sqrt(low * high);
        match is_low(middle) {
            true => low = middle,
            false => high = middle,
        }
    }
    libm::sqrt(low * high)
}

/// Agents who ask at random, pay 1 if they can, and work if they have less than a threshold.
#[derive(Clone, Debug)]
pub(super) struct Scrip {
    money: Vec<u64>,
    threshold: u64,
    rng: Rng,
}

/// What came of a play, its first quarter left out of `held`.
#[derive(Clone, Debug)]
pub(super) struct ScripPlayed {
    pub(super) satisfied: f64,
    /// Share of the agents that held 0, 1, …
    pub(super) held: Vec<f64>,
}

impl Scrip {
    pub(super) fn new(agents: usize, threshold: usize, mean: u64) -> Self {
        Self {
            money: vec![mean; agents],
            threshold: threshold as u64,
            rng: Rng::new(4),
        }
    }

    /// One request: who paid whom, if somebody did.
    fn step(&mut self) -> Option<[usize; 2]> {
        let asks = self.rng.index(self.money.len());
        if self.money[asks] == 0 {
            return None;
        }
        let works = loop {
            let works = self.rng.index(self.money.len());
            if works != asks && self.money[works] < self.threshold {
                break works;
            }
        };
        self.money[asks] -= 1;
        self.money[works] += 1;
        Some([asks, works])
    }

    pub(super) fn play(&mut self, requests: usize) -> ScripPlayed {
        let mut held = vec![0_u64; usize::try_from(self.threshold).unwrap_or(0) + 1];
        let (mut satisfied, mut counted) = (0, 0);
        for request in 0..requests {
            let is_satisfied = self.step().is_some();
            if request < requests / 4 {
                continue;
            }
            counted += 1;
            satisfied += usize::from(is_satisfied);
            if request % self.money.len() == 0 {
                for money in &self.money {
                    held[usize::try_from(*money).unwrap_or(0)] += 1;
                }
            }
        }
        let sum = whole(held.iter().sum());
        ScripPlayed {
            satisfied: float(satisfied) / float(counted),
            held: held.into_iter().map(|count| whole(count) / sum).collect(),
        }
    }
}

/// The same agents on the production ledger: every payment is a signed order, and what everybody
/// has in the end is what they have without it, to the micro-credit.
pub(super) fn on_the_ledger(transfers: usize) -> ValidationRow {
    let signatures = Signatures::counted();
    let key = |number| identity_by(signatures.scheme(), number);
    let agents: Vec<Identity> = (0..AGENTS as u64).map(key).collect();
    let [settlement, issuer] = [key(u64::MAX), key(u64::MAX - 1)];
    let text = Genesis::render("scrip", settlement.id(), &[issuer.id()]);
    let genesis = text
        .and_then(|text| Genesis::parse(&text))
        .expect("a sound genesis");
    let network_id = genesis.network_id();
    let ledger = NetworkLedger::found(Memory::new(), genesis, settlement, START);
    let mut ledger = ledger.expect("a memory store opens as it was written");
    let (threshold, mean, _) = LAWS[0];
    let mut scrip = Scrip::new(AGENTS, threshold, mean);
    let mut nonces = vec![0_u64; AGENTS + 1];
    let mut order = |by: usize, kind, now| {
        nonces[by] += 1;
        let by_whom = agents.get(by).unwrap_or(&issuer);
        signed(network_id, by_whom, nonces[by], kind, now)
    };
    let one = MicroCredits::new(MicroCredits::PER_CREDIT);
    let granted = MicroCredits::new(mean * MicroCredits::PER_CREDIT);
    let grants = (0..AGENTS).map(|to| {
        let to = agents[to].id();
        (
            AGENTS,
            OrderKind::Grant {
                to,
                amount: granted,
            },
        )
    });
    let paid = std::iter::from_fn(|| Some(scrip.step()))
        .flatten()
        .take(transfers);
    let paid = paid.map(|[by, to]| {
        let to = agents[to].id();
        (by, OrderKind::Transfer { to, amount: one })
    });
    let all: Vec<(usize, OrderKind)> = grants.chain(paid).collect();
    let (mut now, mut entered) = (START, 0);
    for group in all.chunks(GROUP) {
        now = UnixTime::from_secs(now.as_secs() + GROUP_SECS);
        let group: Vec<Operation> = group
            .iter()
            .map(|(by, kind)| order(*by, *kind, now))
            .collect();
        let outcomes = ledger.append(now, &group).expect("memory does not fail");
        let is_done =
            |outcome: &&Outcome| matches!(outcome, Outcome::Entered { refusal: None, .. });
        entered += outcomes.iter().filter(is_done).count() as u64;
    }
    let same = agents.iter().zip(&scrip.money).filter(|(agent, money)| {
        let status = ledger.account(&agent.id()).expect("memory does not fail");
        status.available.get() == **money * MicroCredits::PER_CREDIT
    });
    let same = same.count();
    let audit = ledger.audit().expect("a sound ledger");
    let in_all = AGENTS as u64 * granted.get();
    ValidationRow::production(
        "4d",
        "ledger: accounts as without it, and credit in all",
        [("orders entered", entered)],
    )
    .pair(float(AGENTS), float(same))
    .pair(float(AGENTS + transfers), whole(entered))
    .pair(whole(in_all), amount_of(audit.available))
}

fn signed(
    network_id: NetworkId,
    by: &Identity,
    nonce: u64,
    kind: OrderKind,
    now: UnixTime,
) -> Operation {
    let order = Order {
        network_id,
        account: by.id(),
        nonce,
        valid_until: UnixTime::from_secs(now.as_secs() + 600),
        kind,
        memo_hash: [0; 32],
    };
    Operation::Order(order.sign(by))
}

fn amount_of(sum: u128) -> f64 {
    u64::try_from(sum).map_or(f64::INFINITY, whole)
}
