//! Plays a scenario in the block tier: real sessions, real messages, virtual links and time.
//!
//! `roll` is who comes, with which line and when, `casting` who follows which strategy, `wants`
//! what each fetches, `presence` when it is there, `happenings` what the scenario's events do,
//! `rows` what is told of all. A play is a function of its scenario: [`PlayOutcome::state_hash`] is
//! the same whenever it is run.

mod casting;
mod happenings;
mod presence;
mod progress;
pub(crate) mod roll;
mod rows;
#[cfg(test)]
mod tests;
mod tier;
mod unchokes;
mod wants;

use std::collections::BTreeMap;
use std::sync::Arc;

use seedbank_engine::content::metainfo::Metainfo;
use seedbank_engine::interface::command::Command;
use seedbank_engine::interface::config::{CreditPolicy, Network, Policy, SessionConfig};
use seedbank_engine::transfer::choker::ROUND;
use seedbank_ledger::{Duration, Instant, NodeId};

use crate::agent::Agent;

use crate::books::SimBooks;
use crate::network::NodeIndex;
use crate::scenario::{OverlayPlan, Population, Scenario};
use crate::settlement::SimSettlement;
use crate::signatures::Signatures;
use crate::streams::Streams;
use crate::swarm::{TRACKER, config, identity_by, start_at, torrent};
use crate::watch::WatchReport;
use crate::world::{RunEnd, START, World};
use casting::Casting;
use roll::Participant;

pub use progress::PlayProgress;
pub use rows::{FetchRow, PeerRow, SeriesRow};
pub(crate) use rows::{PRICE_SHARES, price_of};
pub use tier::{outcome, outcome_by, outcome_unless};
pub(crate) use unchokes::UnchokeMap;
pub use unchokes::UnchokeRow;

/// What who leaves has to say goodbye: last receipts and announces.
pub(crate) const GOODBYE: Duration = Duration::from_secs(2);
/// What books have to hear of the last receipts.
const CLOSING: Duration = Duration::from_secs(5);
/// Events between two words of how far it is.
const TOLD_EVERY: u64 = 1 << 15;
/// The run begins a round after the world: a session that starts then may be anywhere in its round.
pub(crate) const BEGIN: Instant = Instant::ZERO.after(ROUND);
/// Most micro-credits that are ever granted, whatever a scenario says.
pub(crate) const SUPPLY_MAX: u64 = 1_000_000_000_000_000_000;
/// Keys of the settlement node and the issuer, beside those of the peers.
const SETTLEMENT_KEY: u64 = u64::MAX;
const ISSUER_KEY: u64 = u64::MAX - 1;

/// What came of a scenario.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct PlayOutcome {
    /// Everybody who was to come, in the order of the scenario.
    pub peers: Vec<PeerRow>,
    /// What each set out to fetch, in the same order.
    pub fetches: Vec<FetchRow>,
    /// The swarm over time.
    pub series: Vec<SeriesRow>,
    /// Who served whom, by capacity.
    pub unchokes: Vec<UnchokeRow>,
    /// Virtual time that was played.
    pub lasted: Duration,
    /// Events that the world handled.
    pub handled: u64,
    /// Signatures made and checked, where they are counted.
    pub signatures: Option<[u64; 2]>,
    /// What was looked at all the time, and whether it held.
    pub checks: WatchReport,
}

/// Something that is to happen.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Item {
    Comes(usize),
    Leaves(usize),
    GivesUp(usize),
    GoesOffline(usize),
    ComesOnline(usize),
    /// Of a guest, the session of this life.
    Gone(usize, u64),
    Looks(usize),
    Boosts(usize),
    ComesBack(usize),
    Event(usize),
    SettlementBack,
    Row,
}

/// A scenario as it is being played.
#[derive(Debug)]
pub struct Play<'a> {
    scenario: &'a Scenario,
    streams: Streams,
    signatures: Signatures,
    world: World,
    network: Option<Network>,
    metainfos: Vec<Arc<Metainfo>>,
    /// The scenario's, as events have changed them.
    populations: Vec<Population>,
    guests: Vec<Participant>,
    /// Micro-credits granted so far.
    supply: u64,
    casting: Casting<'a>,
    /// The keys of a population, once somebody wanted to know.
    keys: BTreeMap<usize, Arc<[NodeId]>>,
    /// How often somebody started anew.
    new_lives: u64,
    /// Who has been put where.
    places: BTreeMap<NodeIndex, usize>,
    agenda: BTreeMap<(Instant, u64), Item>,
    planned: u64,
    series: Vec<SeriesRow>,
    unchokes: UnchokeMap,
    /// Bytes that boosts of each guest paid for by the last row, and the micro-credits.
    bought: Vec<[u64; 2]>,
    /// Guests who are expected, or want something and are there.
    waiting: usize,
}

impl<'a> Play<'a> {
    /// Nobody is there yet.
    pub fn new(scenario: &'a Scenario) -> Self {
        let streams = Streams::new(scenario.run.seed);
        let signatures = match scenario.run.real_signatures {
            true => Signatures::Real,
            false => Signatures::counted(),
        };
        let settlement = scenario.network.as_ref().map(|plan| {
            let [settlement, issuer] =
                [SETTLEMENT_KEY, ISSUER_KEY].map(|number| identity_by(signatures.scheme(), number));
            SimSettlement::with_price(settlement, issuer, plan.price.0, START)
        });
        let network = settlement.as_ref().map(SimSettlement::network);
        let mut world = World::new(settlement, scenario.run.seed);
        world.paranoid = scenario.run.paranoid;
        world.wait_until(BEGIN);
        let tracker = (scenario.overlay == OverlayPlan::Tracker).then_some(TRACKER);
        let metainfos = scenario.torrents.iter().map(|plan| {
            let piece = u32::try_from(plan.piece.0).expect("a sound scenario");
            Arc::new(torrent(&plan.name, plan.length.0, piece, tracker))
        });
        let guests = roll::call(scenario, streams);
        let uplinks: Vec<u64> = guests.iter().map(|guest| guest.link.uplink).collect();
        let mut play = Self {
            scenario,
            streams,
            signatures,
            world,
            network,
            metainfos: metainfos.collect(),
            populations: scenario.populations.clone(),
            supply: 0,
            bought: vec![[0; 2]; guests.len()],
            unchokes: UnchokeMap::new(&uplinks),
            guests,
            casting: Casting::default(),
            keys: BTreeMap::new(),
            new_lives: 0,
            places: BTreeMap::new(),
            agenda: BTreeMap::new(),
            planned: 0,
            series: Vec::new(),
            waiting: 0,
        };
        play.plan_all();
        play
    }

    /// Plays it to its end: when nobody is expected and nobody wants anything, or the time is up.
    pub fn run(self) -> PlayOutcome {
        self.run_to_world().0
    }

    /// The same, and the world as it is then, for those who look at its books.
    pub fn run_to_world(self) -> (PlayOutcome, World) {
        let played = self.go_on(|_| (), || false);
        played.expect("nobody stops it")
    }

    /// The same, while somebody is told now and then how far it is; `None` if `stop`, which is
    /// asked between windows of time, says so first.
    pub fn run_unless(
        self,
        watch: impl FnMut(&PlayProgress),
        stop: impl Fn() -> bool,
    ) -> Option<PlayOutcome> {
        let (outcome, _) = self.go_on(watch, stop)?;
        Some(outcome)
    }

    fn go_on(
        mut self,
        mut watch: impl FnMut(&PlayProgress),
        stop: impl Fn() -> bool,
    ) -> Option<(PlayOutcome, World)> {
        let end = BEGIN.after(self.scenario.run.duration.0);
        let wanting = self.waiting;
        let mut told_at = 0;
        while self.waiting > 0 {
            if self.world.handled() >= told_at {
                told_at = self.world.handled() + TOLD_EVERY;
                watch(&self.progress(wanting, end));
            }
            let next = self.agenda.first_key_value().map(|((at, _), _)| *at);
            let until = next.map_or(end, |at| at.min(end));
            let told = |world: &World| {
                let is_heard = world.completed.is_empty() && world.starting_anew.is_empty();
                !is_heard || world.handled() >= told_at || stop()
            };
            let ended = self.world.run_until(until, told);
            if stop() {
                return None;
            }
            if ended == RunEnd::Quiet {
                self.world.wait_until(until);
            }
            self.hear();
            self.hear_who_leaves();
            while let Some(item) = self.due() {
                self.happen(item);
            }
            if self.world.now() >= end {
                break;
            }
        }
        Some(self.finish())
    }

    /// Payload that a guest comes for, in bytes.
    fn wanted(&self, guest: usize) -> u64 {
        let there = &self.guests[guest];
        let population = &self.scenario.populations[there.population];
        let length = |torrent: usize| self.scenario.torrents[torrent].length.0;
        match population.demand.is_empty() {
            true => {
                let whole = length(self.scenario.torrent_of(population));
                whole - population.has.of(whole)
            }
            false => there
                .fetches
                .iter()
                .map(|fetch| length(fetch.torrent))
                .sum(),
        }
    }

    fn plan(&mut self, at: Instant, item: Item) {
        self.agenda.insert((at, self.planned), item);
        self.planned += 1;
    }

    fn plan_all(&mut self) {
        for guest in 0..self.guests.len() {
            self.plan(self.guests[guest].comes_at, Item::Comes(guest));
            self.waiting += usize::from(self.wants(guest));
        }
        for (index, event) in self.scenario.events.iter().enumerate() {
            self.plan(BEGIN.after(event.at()), Item::Event(index));
        }
        self.plan(BEGIN, Item::Row);
    }

    /// Whether this guest comes for something.
    fn wants(&self, guest: usize) -> bool {
        self.scenario.populations[self.guests[guest].population].wants()
    }

    /// What is on the agenda by now.
    fn due(&mut self) -> Option<Item> {
        let now = self.world.now();
        let ((at, _), _) = self.agenda.first_key_value()?;
        (*at <= now).then(|| self.agenda.pop_first().expect("just seen").1)
    }

    fn happen(&mut self, item: Item) {
        match item {
            Item::Comes(guest) => self.come(guest),
            Item::Leaves(guest) => self.leave(guest),
            Item::GivesUp(guest) => self.give_up(guest),
            Item::GoesOffline(guest) => self.go_offline(guest),
            Item::ComesOnline(guest) => self.come_online(guest),
            Item::Gone(guest, life) => self.gone(guest, life),
            Item::Looks(guest) => self.look(guest),
            Item::Boosts(guest) => self.boost(guest),
            Item::ComesBack(guest) => self.come_back(guest),
            Item::Event(index) => self.event(index),
            Item::SettlementBack => self.world.settlement_away = false,
            Item::Row => {
                let row = self.series_row();
                self.series.push(row);
                let next = self.world.now().after(self.scenario.run.series_every.0);
                self.plan(next, Item::Row);
            }
        }
    }

    /// A guest joins: it is granted its credit, learns of others, and orders its boost.
    fn come(&mut self, guest: usize) {
        let node = self.enter(guest);
        self.guests[guest].joined_at = Some(self.world.now());
        let population = &self.scenario.populations[self.guests[guest].population];
        let usual = self.scenario.network.as_ref().map(|plan| plan.grant);
        if let Some(amount) = population.grant.or(usual) {
            self.grant(guest, amount.0);
        }
        self.take_part(guest, node);
        self.plan_to_stay(guest);
    }

    /// A guest's node starts, under the key and at the address that it has now.
    fn enter(&mut self, guest: usize) -> NodeIndex {
        let prepared = self.prepare(guest);
        let there = &self.guests[guest];
        let population = &self.scenario.populations[there.population];
        let identity = identity_by(self.signatures.scheme(), there.key);
        let books = SimBooks::new(&identity, prepared.0.network, self.world.unix());
        let name = format!("{}-{}", population.name, there.index);
        let node = self.world.add_node_at(&name, books, there.link, there.ip);
        self.places.insert(node, guest);
        self.guests[guest].node = Some(node);
        self.start(guest, node, prepared);
        node
    }

    /// What a guest's session is told as it starts, and what it is to follow.
    fn prepare(&mut self, guest: usize) -> (SessionConfig, Policy, Option<Box<dyn Agent>>) {
        let agent = self.agent(guest);
        let there = &self.guests[guest];
        let population = &self.scenario.populations[there.population];
        let mut session = config(u64::try_from(guest).expect("few"), 0);
        session.rng_seed = there.session_seed.wrapping_add(there.lives);
        session.network = self.network.filter(|_| population.receipts);
        session.receipts = population.receipts;
        let mut policy = self.policy(guest);
        if let Some(agent) = &agent {
            agent.prepare(&mut session, &mut policy);
        }
        (session, policy, agent)
    }

    /// A session for a guest, somewhere in its choke round.
    fn start(
        &mut self,
        guest: usize,
        node: NodeIndex,
        (session, policy, agent): (SessionConfig, Policy, Option<Box<dyn Agent>>),
    ) {
        let ranker = agent.as_ref().and_then(|agent| agent.ranker());
        if let Some(agent) = agent {
            self.world.node_mut(node).follow(agent);
        }
        let there = &self.guests[guest];
        let begun = Instant::ZERO.after(self.world.now().since(Instant::ZERO.after(there.phase)));
        start_at(&mut self.world, node, (there.key, begun), session, policy);
        if ranker.is_some() {
            let session = self.world.node_mut(node).session.as_mut();
            session.expect("just started").set_ranker(ranker);
        }
        self.guests[guest].lives += 1;
    }

    /// What a guest's owner has decided by now.
    fn policy(&self, guest: usize) -> Policy {
        let there = &self.guests[guest];
        let population = &self.populations[there.population];
        let usual = self.scenario.network.as_ref().map(|plan| plan.paid_rule);
        let limit = population.upload_limit;
        Policy {
            slots: population.slots,
            open_share_percent: population.open_share.0,
            paid_rule: population.paid_rule.or(usual).unwrap_or_default().into(),
            upload_limit: limit.map(|share| share.of(there.link.uplink).max(1)),
            credit: CreditPolicy {
                rate_min: population.ask.map(|price| price.0),
                spend_per_day_max: population.spend_per_day_max.map(|amount| amount.0),
                ..CreditPolicy::default()
            },
            ..Policy::default()
        }
    }

    /// Everybody who is there books all receipts.
    fn close_books(&mut self) {
        let there = self.guests.iter().filter(|guest| guest.is_online());
        let nodes: Vec<NodeIndex> = there.filter_map(|guest| guest.node).collect();
        for node in nodes {
            let booked = self.world.command(node, Command::BookReceipts);
            booked.expect("books take receipts");
        }
        self.world.run_for(CLOSING);
    }

    fn finish(mut self) -> (PlayOutcome, World) {
        let lasted = self.world.now().since(BEGIN);
        let last = self.series_row();
        if self.series.last().is_none_or(|row| row.time < last.time) {
            self.series.push(last);
        }
        let checks = self.world.end_checks();
        // What moves while books close belongs to nobody's result.
        let moved = (0..self.guests.len()).map(|guest| self.moved(guest));
        let moved: Vec<[u64; 3]> = moved.collect();
        // What is signed as books close the first time is in them the second time.
        for _ in 0..2 {
            self.close_books();
        }
        let peers = (0..self.guests.len()).map(|guest| self.peer_row(guest, moved[guest]));
        let peers: Vec<PeerRow> = peers.collect();
        let signatures = match &self.signatures {
            Signatures::Real => None,
            Signatures::Counted(count) => Some([count.signed(), count.verified()]),
        };
        let outcome = PlayOutcome {
            peers,
            fetches: self.fetch_rows(),
            series: self.series,
            unchokes: self.unchokes.rows(),
            lasted,
            handled: self.world.handled(),
            signatures,
            checks,
        };
        (outcome, self.world)
    }
}
