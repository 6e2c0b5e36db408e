//! Who is to come: when, with which line, under which key.

use std::net::{IpAddr, Ipv4Addr};

use seedbank_engine::transfer::choker::ROUND;
use seedbank_ledger::{Duration, Instant};

use super::BEGIN;
use super::rows::CreditSnapshot;
use crate::network::{LinkConfig, NodeIndex};
use crate::scenario::written::TimeSpan;
use crate::scenario::{ArrivalPlan, PlannedEvent, Population, RATE_MAX, Scenario, StrategyPlan};
use crate::streams::{Purpose, Streams};
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
    /// How far its session is into a round of its own as it starts: rounds of different peers are
    /// not in step.
    pub(super) phase: Duration,
    /// Where it was before it started anew.
    pub(super) former: Vec<NodeIndex>,
    pub(super) node: Option<NodeIndex>,
    pub(super) joined_at: Option<Instant>,
    pub(super) done_at: Option<Instant>,
    pub(super) left_at: Option<Instant>,
    /// It has gone and will come back.
    pub(super) is_offline: bool,
    /// How often it has started.
    pub(super) lives: u64,
    /// What it has fetched, and then what it is fetching.
    pub(super) fetches: Vec<Fetch>,
    /// Payload sent, received, and received in vain in sessions that are over.
    pub(super) moved: [u64; 3],
    /// Micro-credits granted to it.
    pub(super) granted: u64,
    /// Its credit, once it is gone.
    pub(super) purse: CreditSnapshot,
    pub(super) boost_refused: Option<String>,
}

/// A torrent that somebody set out to fetch.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Fetch {
    pub(super) torrent: usize,
    pub(super) begun_at: Instant,
    pub(super) done_at: Option<Instant>,
}

impl Participant {
    /// Whether it has come and not left; it may be offline.
    pub(super) fn is_there(&self) -> bool {
        self.joined_at.is_some() && self.left_at.is_none()
    }

    /// Whether its session runs.
    pub(super) fn is_online(&self) -> bool {
        self.is_there() && !self.is_offline
    }

    /// What it is fetching.
    pub(super) fn fetching(&self) -> Option<usize> {
        let last = self.fetches.last()?;
        last.done_at.is_none().then_some(last.torrent)
    }
}

/// Everybody of a scenario, in its order; further identities of a line stand behind all others, so
/// that nobody else's place depends on them.
pub(super) fn call(scenario: &Scenario, streams: Streams) -> Vec<Participant> {
    let mut guests = Vec::new();
    for (place, population) in scenario.populations.iter().enumerate() {
        let arrivals = arrivals_of(scenario, population, streams);
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
                phase: phase_of(population, [index, 0, 0], streams),
                former: Vec::new(),
                node: None,
                joined_at: None,
                done_at: None,
                left_at: None,
                is_offline: false,
                lives: 0,
                fetches: Vec::new(),
                moved: [0; 3],
                granted: 0,
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
                phase: phase_of(population, [first.index, identity, 0], streams),
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

/// The same for how far it is into its round as it starts.
pub(crate) fn phase_of(population: &Population, who: [u64; 3], streams: Streams) -> Duration {
    let mut rng = streams.draw(Purpose::Phase, &population.name, number_of(who));
    Duration::from_nanos(rng.below(ROUND.as_nanos()))
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

pub(crate) fn arrivals_of(
    scenario: &Scenario,
    population: &Population,
    streams: Streams,
) -> Vec<Instant> {
    let count = population.count;
    let draw = |index| streams.draw(Purpose::Arrival, &population.name, index);
    let from = |at: Duration| BEGIN.after(at);
    let spread = |at: Duration, most: Duration| {
        let least = Duration::ZERO;
        let moment =
            |index| from(at).after(TimeSpan::Within { least, most }.draw(&mut draw(index)));
        (0..count).map(moment).collect()
    };
    match &population.arrivals {
        ArrivalPlan::AtOnce { at } => (0..count).map(|_| from(at.0)).collect(),
        ArrivalPlan::Flash { at, within } => spread(at.0, within.0),
        ArrivalPlan::Poisson { at, every } => {
            let mut next = from(at.0);
            let step = |index| {
                let wait = TimeSpan::Exponential { mean: every.0 };
                next = next.after(wait.draw(&mut draw(index)));
                next
            };
            (0..count).map(step).collect()
        }
        ArrivalPlan::Trace { times, .. } => times.iter().map(|time| from(time.0)).collect(),
        ArrivalPlan::OnEvent => {
            let join = scenario.events.iter().find_map(|event| match event {
                PlannedEvent::Join {
                    at,
                    population: of,
                    within,
                } if *of == population.name => Some((at.0, within.0)),
                _ => None,
            });
            let (at, within) = join.expect("a sound scenario has them join");
            spread(at, within)
        }
    }
}

pub(crate) fn link_of(population: &Population, index: u64, streams: Streams) -> LinkConfig {
    let plan = &population.line;
    let draw = |purpose| streams.draw(purpose, &population.name, index);
    let drawn = plan
        .profile
        .map(|profile| profile.draw(&mut draw(Purpose::Capacity)));
    let most = plan.uplink_max.map_or(u64::MAX, |rate| rate.0);
    let of_table = plan.table.as_ref();
    let of_table = of_table.map(|table| table.draw(&mut draw(Purpose::Capacity)));
    let of_either = of_table.or(drawn.map(|capacity| capacity.uplink));
    let uplink = match (plan.uplink, of_either) {
        (Some(rate), _) => rate.0,
        (None, Some(rate)) => rate.min(most),
        (None, None) => unreachable!("a sound scenario has one of them"),
    };
    let said = plan.downlink.map(|rate| rate.0);
    let downlink = said.or(drawn.and_then(|capacity| capacity.downlink));
    let downlink = downlink.unwrap_or(uplink.saturating_mul(plan.downlink_factor.into()));
    let delay = plan.delay.draw(&mut draw(Purpose::Delay));
    // Identities of one line share it: here each has its part, used or not.
    let identities = population.strategy.identities();
    let [uplink, downlink] = [uplink, downlink].map(|rate| rate / identities);
    LinkConfig {
        downlink: Some(downlink.clamp(1, RATE_MAX)),
        buffer: plan.buffer.0,
        jitter: plan.jitter.0,
        loss_ppm: plan.loss_ppm,
        turn: plan.turn.0,
        ..LinkConfig::new(uplink.clamp(1, RATE_MAX), delay)
    }
}
