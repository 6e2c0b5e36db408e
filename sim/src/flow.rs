//! The flow tier: a scenario played as rates between rounds of the choker, to millions of peers.
//!
//! What decides is the engine's: rounds and seats, the split between the classes, prices, windows,
//! reserves and bids. What is modelled is everything between: there are no messages and no pieces,
//! but how much each has (`content`), who knows whom (`swarm`), who is served (`choking`), what the
//! lines carry (`sharing`, `moving`) and who pays (`credit`). A step is a part of a round; every
//! peer has its round in a step of its own. Completion is at its exact time. `deciding` asks
//! whoever brings a strategy of its own, once a round over all peers of a population. `coming` is
//! who comes and goes, and what happens to them; what of a scenario is of the block tier alone is
//! refused as it is read (`scenario/problems/tier.rs`).

mod choking;
mod coming;
mod content;
mod credit;
mod deciding;
mod moving;
mod rows;
mod sharing;
mod step;
mod swarm;
#[cfg(test)]
mod tests;

use std::collections::{BTreeMap, BTreeSet};

use seedbank_engine::transfer::choker::{ROUND, SlotPolicy};
use seedbank_ledger::{Duration, Rate};

use crate::play::{BEGIN, PlayOutcome, PlayProgress, SeriesRow, UnchokeMap, roll};
use crate::scenario::{
    OverlayPlan, PaidRulePlan, Population, Scenario, SharingRule, StrategyPlan, TorrentPlan,
};
use crate::streams::{Purpose, Streams};
use crate::tracker::TRACKER_PEERS_MAX;
use choking::FlowRules;
use coming::FlowTurn;
use content::{Interest, UnitScale};
use credit::FlowCredit;
use deciding::Deciders;
use moving::{FairScratch, Inflow};
use swarm::{FlowPeer, FlowSwarm, NEVER, Presence};

pub use deciding::{AsWritten, RoundChoices, RoundSight, RoundStrategy};

/// Most neighbours of a peer in small runs, as a node has by default.
const NEIGHBOURS_MAX: usize = 200;
/// Up to so many peers lines are shared exactly, unless the scenario says how.
const EXACT_MAX: usize = 100_000;
/// Up to so many peers, so many milliseconds are a step, unless the scenario says how many.
const STEPS_MS: [(usize, u64); 2] = [(5_000, 1_000), (50_000, 2_000)];
/// The same for more.
const STEP_MS_MAX: u64 = 10_000;
/// Between two words of how far it is: peers, each counted in every step.
const TOLD_EVERY: usize = 1 << 18;

/// What a play took, to be measured by.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct FlowSize {
    /// Steps that were played.
    pub steps: u64,
    /// Steps of a round.
    pub steps_per_round: u64,
    /// Rounds of chokers, which ranked somebody.
    pub rounds: u64,
    /// Pairs of a payer and a payee at the same time, at most.
    pub pairs_max: usize,
    /// Bytes of such a pair.
    pub pair_bytes: usize,
}

/// A torrent and how much of it is out.
#[derive(Clone, Debug)]
struct FlowTorrent {
    length: u64,
    piece: u64,
    /// Units that somebody had at first or a seed has sent.
    injected: u64,
    /// How much of that is whole somewhere, was passed on once, and is out everywhere.
    stages: [u64; 3],
    /// Units that seeds sent in the last step, and to how many.
    seeded: (u64, u64),
    /// Who came and is there, or has left not long ago.
    present: Vec<u32>,
    gone: usize,
    leechers: LeecherSums,
}

/// What leechers of a torrent that give do in all.
#[derive(Clone, Copy, Debug, Default)]
struct LeecherSums {
    count: u64,
    /// Units in a step.
    uplink: u64,
    /// Steps in which each passes a piece on to all whom it serves, in 1024ths.
    turns: u64,
    /// Upload slots.
    slots: u64,
}

impl FlowTorrent {
    fn new(plan: &TorrentPlan, scale: UnitScale) -> Self {
        Self {
            length: scale.units(plan.length.0),
            piece: scale.units(plan.piece.0),
            injected: 0,
            stages: [0; 3],
            seeded: (0, 0),
            present: Vec::new(),
            gone: 0,
            leechers: LeecherSums::default(),
        }
    }

    /// How much is out.
    fn out(&self) -> u64 {
        self.stages[2]
    }
}

/// A scenario as it is played as flows.
#[derive(Debug)]
pub struct FlowPlay<'a> {
    scenario: &'a Scenario,
    streams: Streams,
    scale: UnitScale,
    step_ms: u64,
    /// Steps of a round.
    steps: u64,
    number: u64,
    is_exact: bool,
    swarm: FlowSwarm,
    inflow: Inflow,
    fair: FairScratch,
    rules: Vec<FlowRules>,
    asks: Vec<Option<Rate>>,
    torrents: Vec<FlowTorrent>,
    interest: Interest,
    credit: FlowCredit,
    /// Who comes when, in order, and how many came.
    arrivals: Vec<(u64, u32)>,
    came: usize,
    agenda: BTreeSet<(u64, u32, FlowTurn)>,
    /// Who may leave once it has uploaded enough.
    looking: Vec<u32>,
    /// How often somebody came back, of those who did.
    returns: BTreeMap<u32, u64>,
    /// Which of the scenario's events happens when next.
    events: BTreeSet<(u64, usize)>,
    /// The scenario's, as events have changed them.
    populations: Vec<Population>,
    /// Micro-credits granted so far.
    supply: u64,
    /// Bytes per second that those who are there can send.
    uplink: u64,
    /// Payload that all come for, in bytes.
    wanted: u64,
    series: Vec<SeriesRow>,
    unchokes: UnchokeMap,
    waiting: usize,
    size: FlowSize,
}

impl<'a> FlowPlay<'a> {
    /// Nobody is there yet.
    pub fn new(scenario: &'a Scenario) -> Self {
        let streams = Streams::new(scenario.run.seed);
        let pieces = scenario.torrents.iter().map(|plan| plan.piece.0);
        let scale = UnitScale::new(pieces.max().expect("a sound scenario"));
        let count = usize::try_from(scenario.peer_count()).expect("a sound scenario");
        let step_ms = step_of(scenario, count);
        let is_exact = match scenario.run.sharing {
            Some(rule) => rule == SharingRule::MaxMin,
            None => count <= EXACT_MAX,
        };
        let peers = call(scenario, streams, scale, step_ms);
        let mut arrivals: Vec<(u64, u32)> = (0..)
            .zip(&peers)
            .map(|(place, peer)| (peer.comes_at, place))
            .collect();
        arrivals.sort_unstable();
        let events = scenario.events.iter().enumerate();
        let events = events.map(|(index, event)| (event.at().as_nanos(), index));
        let torrents = scenario.torrents.iter();
        let torrents = torrents.map(|plan| FlowTorrent::new(plan, scale));
        let populations = || scenario.populations.iter();
        let wants = populations().filter(|it| it.wants()).map(|it| it.count);
        let wanted = populations().map(|it| {
            let wanted = wanted_by(scenario, it);
            it.count.saturating_mul(wanted)
        });
        let stride = stride(scenario.overlay, count);
        let links = populations().flat_map(|it| {
            let link = move |index| roll::link_of(it, index, streams).uplink;
            (0..it.count).map(link)
        });
        let uplinks: Vec<u64> = links.collect();
        Self {
            streams,
            scale,
            step_ms,
            steps: ROUND.as_nanos() / 1_000_000 / step_ms,
            number: 0,
            is_exact,
            inflow: Inflow::new(count),
            fair: FairScratch::default(),
            rules: populations().map(|it| rules_of(scenario, it)).collect(),
            asks: populations().map(|it| ask_of(scenario, it)).collect(),
            torrents: torrents.collect(),
            interest: Interest::new(&mut streams.draw(Purpose::Pieces, "interest", 0)),
            credit: FlowCredit::new(
                if scenario.network.is_some() { count } else { 0 },
                scale,
                step_ms,
            ),
            swarm: FlowSwarm::new(peers, stride),
            arrivals,
            came: 0,
            agenda: BTreeSet::new(),
            looking: Vec::new(),
            returns: BTreeMap::new(),
            events: events.collect(),
            populations: scenario.populations.clone(),
            supply: 0,
            uplink: 0,
            wanted: wanted.fold(0, u64::saturating_add),
            series: Vec::new(),
            unchokes: UnchokeMap::new(&uplinks),
            waiting: usize::try_from(wants.sum::<u64>()).expect("peers are counted"),
            size: FlowSize::default(),
            scenario,
        }
    }

    /// Plays it to its end: when nobody is expected and nobody wants anything, or the time is up.
    pub fn run(self) -> PlayOutcome {
        self.run_measured().0
    }

    /// The same, and what it took.
    pub fn run_measured(self) -> (PlayOutcome, FlowSize) {
        let played = self.go_on(&mut AsWritten, |_| (), || false);
        played.expect("nobody stops it")
    }

    /// The same by a strategy, while somebody is told now and then how far it is; `None` if `stop`,
    /// which is asked before every step, says so first.
    pub fn run_unless(
        self,
        strategy: &mut dyn RoundStrategy,
        watch: impl FnMut(&PlayProgress),
        stop: impl Fn() -> bool,
    ) -> Option<PlayOutcome> {
        let (outcome, _) = self.go_on(strategy, watch, stop)?;
        Some(outcome)
    }

    fn go_on(
        mut self,
        strategy: &mut dyn RoundStrategy,
        mut watch: impl FnMut(&PlayProgress),
        stop: impl Fn() -> bool,
    ) -> Option<(PlayOutcome, FlowSize)> {
        let end = self.scenario.run.duration.0.as_nanos();
        let every = self.scenario.run.series_every.0.as_nanos();
        let wanting = self.waiting;
        let (mut row_at, mut played) = (0, TOLD_EVERY);
        let mut deciders: Vec<Deciders> = self.deciders(strategy);
        while self.waiting > 0 && self.now() < end {
            if stop() {
                return None;
            }
            played += self.swarm.peers.len();
            if played >= TOLD_EVERY {
                played = 0;
                watch(&self.progress(wanting, end));
            }
            self.arrange();
            while row_at <= self.now() {
                let row = self.series_row(row_at);
                self.series.push(row);
                row_at += every;
            }
            self.skip_quiet(end.min(row_at));
            if self.number.is_multiple_of(self.steps) {
                self.ask(strategy, &mut deciders);
            }
            self.step();
        }
        self.size.steps = self.number;
        self.size.steps_per_round = self.steps;
        let size = self.size;
        Some((self.finish(end), size))
    }

    fn progress(&self, wanting: usize, end: u64) -> PlayProgress {
        PlayProgress {
            now: Duration::from_nanos(self.now()),
            end: Duration::from_nanos(end),
            wanting,
            done: wanting.saturating_sub(self.waiting),
            uploaded: self.series.last().map_or(0, |row| row.uploaded),
            wanted: self.wanted,
            handled: self.number,
        }
    }

    /// Nanoseconds since the run began.
    fn now(&self) -> u64 {
        self.number * self.step_ms * 1_000_000
    }

    /// Steps over a stretch in which nobody is there.
    fn skip_quiet(&mut self, most: u64) {
        let is_empty = |torrent: &FlowTorrent| torrent.present.len() == torrent.gone;
        let is_quiet = self.torrents.iter().all(is_empty);
        let next = self.arrivals.get(self.came).map_or(most, |(at, _)| *at);
        let next = self.events.first().map_or(next, |(at, _)| next.min(*at));
        if is_quiet {
            let step = self.step_ms * 1_000_000;
            let number = next.min(most) / step;
            self.number = self.number.max(number.saturating_sub(1));
        }
    }
}

/// Everybody of a scenario, in its order.
fn call(scenario: &Scenario, streams: Streams, scale: UnitScale, step_ms: u64) -> Vec<FlowPeer> {
    let count = usize::try_from(scenario.peer_count()).expect("a sound scenario");
    let mut peers = Vec::with_capacity(count);
    for (place, population) in (0..).zip(&scenario.populations) {
        let length = scenario.torrents[scenario.torrent_of(population)].length.0;
        let arrivals = roll::arrivals_of(scenario, population, streams);
        for (index, comes_at) in (0..population.count).zip(arrivals) {
            let link = roll::link_of(population, index, streams);
            peers.push(FlowPeer {
                uplink: in_step(scale, step_ms, limited(population, link.uplink)),
                downlink: in_step(scale, step_ms, link.downlink.unwrap_or(u64::MAX >> 40)),
                content: 0,
                brought: scale.units(population.has.of(length)),
                uploaded: 0,
                comes_at: comes_at.since(BEGIN).as_nanos(),
                first_at: NEVER,
                done_at: NEVER,
                left_at: NEVER,
                population: place,
                degree: 0,
                phase: 0,
                sources: 0,
                presence: Presence::Expected,
            });
        }
    }
    peers
}

/// Milliseconds of a step.
fn step_of(scenario: &Scenario, count: usize) -> u64 {
    let said = scenario.run.step.map(|step| step.0.as_nanos() / 1_000_000);
    let by_count = STEPS_MS.iter().find(|(most, _)| count <= *most);
    said.unwrap_or(by_count.map_or(STEP_MS_MAX, |(_, step)| *step))
}

/// Units in a step at so many bytes per second.
fn in_step(scale: UnitScale, step_ms: u64, rate: u64) -> u64 {
    let units = u128::from(rate) << scale.shift();
    u64::try_from(units * u128::from(step_ms) / 1_000).unwrap_or(u64::MAX / 2)
}

/// What of an uplink is used.
fn limited(population: &Population, uplink: u64) -> u64 {
    let limit = population.upload_limit;
    limit.map_or(uplink, |share| share.of(uplink).max(1))
}

/// Payload that each of a population comes for, in bytes.
fn wanted_by(scenario: &Scenario, population: &Population) -> u64 {
    let whole = scenario.torrents[scenario.torrent_of(population)].length.0;
    whole - population.has.of(whole)
}

/// Slots of a peer: as many as it may come to know.
pub(crate) fn stride(overlay: OverlayPlan, count: usize) -> usize {
    let most = match overlay {
        OverlayPlan::Full => count,
        OverlayPlan::Tracker if count <= EXACT_MAX => NEIGHBOURS_MAX,
        OverlayPlan::Tracker => 2 * TRACKER_PEERS_MAX,
        OverlayPlan::Degree { degree } => degree.saturating_mul(2),
    };
    most.min(count.saturating_sub(1)).max(1)
}

fn ask_of(scenario: &Scenario, population: &Population) -> Option<Rate> {
    let network = scenario.network.as_ref().filter(|_| population.receipts)?;
    Some(population.ask.unwrap_or(network.price).0)
}

fn rules_of(scenario: &Scenario, population: &Population) -> FlowRules {
    FlowRules {
        policy: SlotPolicy {
            slots: population.slots,
            open_share_percent: population.open_share.0,
            rule: PaidRulePlan::TopK.into(),
            rate_min: ask_of(scenario, population).unwrap_or(Rate::PAR),
        },
        gives: population.strategy != StrategyPlan::FreeRider {},
        receipts: population.receipts,
        torrent: u32::try_from(scenario.torrent_of(population)).expect("few"),
    }
}
