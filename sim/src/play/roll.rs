//! Who is to come: when, with which line, under which key.

use std::net::{IpAddr, Ipv4Addr};

use seedbank_engine::rng::Rng;
use seedbank_ledger::{Duration, Instant};

use super::rows::CreditSnapshot;
use crate::network::{LinkConfig, NodeIndex};
use crate::scenario::written::TimeSpan;
use crate::scenario::{ArrivalPlan, Population, Scenario, StrategyPlan};
use crate::streams::{Purpose, Streams, exponential};
use crate::swarm::public_ip;

/// Somebody who is to come, is there, or was.
#[derive(Clone, Debug)]
pub(super) struct Participant {
    /// Which of the scenario's populations.
    pub(super) population: usize,
    /// Which of it, from 0.
    pub(super) index: u64,
    /// Which of the identities of its line, from 0.
    pub(super) identity: u64,
    pub(super) ip: IpAddr,
    pub(super) link: LinkConfig,
    pub(super) comes_at: Instant,
    /// Number of its key.
    pub(super) key: u64,
    pub(super) session_seed: u64,
    /// Where it was before it started anew.
    pub(super) former: Vec<NodeIndex>,
    pub(super) node: Option<NodeIndex>,
    pub(super) joined_at: Option<Instant>,
    pub(super) done_at: Option<Instant>,
    pub(super) left_at: Option<Instant>,
    /// Payload sent, received, and received in vain, of former lives…
    pub(super) moved_before: [u64; 3],
    /// …and of all, once it is gone.
    pub(super) moved: [u64; 3],
    /// Its credit, once it is gone.
    pub(super) purse: CreditSnapshot,
    pub(super) boost_refused: Option<String>,
}

impl Participant {
    /// Whether it has come and not left.
    pub(super) fn is_there(&self) -> bool {
        self.joined_at.is_some() && self.left_at.is_none()
    }
}

/// Everybody of a scenario, in its order; further identities of a line stand behind all others, so
/// that nobody else's place depends on them.
pub(super) fn call(scenario: &Scenario, streams: Streams) -> Vec<Participant> {
    let mut guests = Vec::new();
    for (place, population) in scenario.populations.iter().enumerate() {
        let arrivals = arrivals_of(population, streams);
        for (index, comes_at) in (0..population.count).zip(arrivals) {
            let number = u64::try_from(guests.len()).expect("few");
            guests.push(Participant {
                population: place,
                index,
                identity: 0,
                ip: public_ip(number),
                link: link_of(population, index, streams),
                comes_at,
                key: key_of(population, [index, 0, 0], streams),
                session_seed: seed_of(population, [index, 0, 0], streams),
                former: Vec::new(),
                node: None,
                joined_at: None,
                done_at: None,
                left_at: None,
                moved_before: [0; 3],
                moved: [0; 3],
                purse: CreditSnapshot::default(),
                boost_refused: None,
            });
        }
    }
    for first in guests.clone() {
        let population = &scenario.populations[first.population];
        for identity in 1..population.strategy.identities() {
            let number = u64::try_from(guests.len()).expect("few");
            guests.push(Participant {
                identity,
                ip: match population.strategy {
                    StrategyPlan::Sybil {
                        scattered: true, ..
                    } => public_ip(number),
                    _ => neighbour(first.ip, identity),
                },
                key: key_of(population, [first.index, identity, 0], streams),
                session_seed: seed_of(population, [first.index, identity, 0], streams),
                ..first.clone()
            });
        }
    }
    guests
}

/// The key of somebody: which of its population, which identity, which life.
pub(super) fn key_of(population: &Population, who: [u64; 3], streams: Streams) -> u64 {
    let mut rng = streams.draw(Purpose::Identity, &population.name, number_of(who));
    rng.next_u64()
}

/// The same for the seed of its session.
pub(super) fn seed_of(population: &Population, who: [u64; 3], streams: Streams) -> u64 {
    let mut rng = streams.draw(Purpose::Session, &population.name, number_of(who));
    rng.next_u64()
}

/// The first life of the first identity has the number that an honest peer has.
const fn number_of([index, identity, life]: [u64; 3]) -> u64 {
    index | life << 20 | identity << 40
}

/// Another address of the same prefix.
fn neighbour(ip: IpAddr, place: u64) -> IpAddr {
    match ip {
        IpAddr::V4(ip) => {
            let place = u32::try_from(place).expect("fewer than a prefix has");
            Ipv4Addr::from_bits(ip.to_bits() + place).into()
        }
        IpAddr::V6(_) => unreachable!("peers have IPv4 addresses"),
    }
}

fn arrivals_of(population: &Population, streams: Streams) -> Vec<Instant> {
    let count = population.count;
    let draw = |index| streams.draw(Purpose::Arrival, &population.name, index);
    let from = |at: Duration| Instant::ZERO.after(at);
    match &population.arrivals {
        ArrivalPlan::AtOnce { at } => (0..count).map(|_| from(at.0)).collect(),
        ArrivalPlan::Flash { at, within } => {
            let span = TimeSpan {
                least: Duration::ZERO,
                most: within.0,
            };
            let moment = |index| from(at.0).after(self::within(span, &mut draw(index)));
            (0..count).map(moment).collect()
        }
        ArrivalPlan::Poisson { at, every } => {
            let mut next = from(at.0);
            let step = |index| {
                #[expect(clippy::cast_precision_loss, reason = "a time that is drawn anyway")]
                let mean = every.0.as_nanos() as f64;
                let wait = exponential(&mut draw(index), mean);
                #[expect(
                    clippy::cast_possible_truncation,
                    clippy::cast_sign_loss,
                    reason = "saturates, and is never below zero"
                )]
                let wait = Duration::from_nanos(wait as u64);
                next = next.after(wait);
                next
            };
            (0..count).map(step).collect()
        }
        ArrivalPlan::Trace { times } => times.iter().map(|time| from(time.0)).collect(),
    }
}

fn link_of(population: &Population, index: u64, streams: Streams) -> LinkConfig {
    let plan = &population.line;
    let draw = |purpose| streams.draw(purpose, &population.name, index);
    let drawn = plan
        .profile
        .map(|profile| profile.draw(&mut draw(Purpose::Capacity)));
    let most = plan.uplink_max.map_or(u64::MAX, |rate| rate.0);
    let uplink = match (plan.uplink, drawn) {
        (Some(rate), _) => rate.0,
        (None, Some(capacity)) => capacity.uplink.min(most),
        (None, None) => unreachable!("a sound scenario has one of both"),
    };
    let said = plan.downlink.map(|rate| rate.0);
    let downlink = said.or(drawn.and_then(|capacity| capacity.downlink));
    let downlink = downlink.unwrap_or(uplink.saturating_mul(plan.downlink_factor.into()));
    let delay = within(plan.delay, &mut draw(Purpose::Delay));
    // Identities of one line share it: here each has its part, used or not.
    let identities = population.strategy.identities();
    let [uplink, downlink] = [uplink, downlink].map(|rate| rate / identities);
    LinkConfig {
        downlink: Some(downlink.max(1)),
        buffer: plan.buffer.0,
        jitter: plan.jitter.0,
        loss_ppm: plan.loss_ppm,
        turn: plan.turn.0,
        ..LinkConfig::new(uplink.max(1), delay)
    }
}

/// A time of this span, each equally likely.
pub(super) fn within(span: TimeSpan, rng: &mut Rng) -> Duration {
    let width = span.most.as_nanos() - span.least.as_nanos();
    let part = rng.below(width.saturating_add(1));
    Duration::from_nanos(span.least.as_nanos() + part)
}
