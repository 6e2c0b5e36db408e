//! Plays a scenario in the block tier: real sessions, real messages, virtual links and time.
//!
//! `roll` is who comes, with which line and when, `casting` who follows which strategy, `rows` what
//! is told of them. A play is a function
//! of its scenario: [`PlayOutcome::state_hash`] is the same whenever it is run.

mod casting;
mod progress;
mod roll;
mod rows;
#[cfg(test)]
mod tests;

use std::collections::BTreeMap;
use std::sync::Arc;

use seedbank_engine::content::metainfo::Metainfo;
use seedbank_engine::interface::command::{BoostOrder, Command};
use seedbank_engine::interface::config::{CreditPolicy, Network, Policy};
use seedbank_engine::units::PieceIndex;
use seedbank_ledger::{Bytes, Duration, Instant, MicroCredits, NodeId};

use crate::books::SimBooks;
use crate::network::NodeIndex;
use crate::scenario::{OverlayPlan, PlannedEvent, Scenario, SeedingPlan};
use crate::settlement::SimSettlement;
use crate::signatures::Signatures;
use crate::streams::{Purpose, Streams};
use crate::swarm::{TRACKER, add_shared, config, identity_by, start_as, torrent};
use crate::world::{RunEnd, START, World};
use casting::Casting;
use roll::Participant;

pub use progress::PlayProgress;
pub use rows::{PeerRow, SeriesRow};

/// What who leaves has to say goodbye: last receipts and announces.
const GOODBYE: Duration = Duration::from_secs(2);
/// What books have to hear of the last receipts.
const CLOSING: Duration = Duration::from_secs(5);
/// Until an order that was refused is given again.
const BOOST_AGAIN: Duration = Duration::from_secs(1);
/// Between two looks at how much somebody has uploaded.
const LOOK_EVERY: Duration = Duration::from_secs(5);
/// Events between two words of how far it is.
const TOLD_EVERY: u64 = 1 << 15;
/// Keys of the settlement node and the issuer, beside those of the peers.
const SETTLEMENT_KEY: u64 = u64::MAX;
const ISSUER_KEY: u64 = u64::MAX - 1;

/// What came of a scenario.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct PlayOutcome {
    /// Everybody who was to come, in the order of the scenario.
    pub peers: Vec<PeerRow>,
    /// The swarm over time.
    pub series: Vec<SeriesRow>,
    /// Virtual time that was played.
    pub lasted: Duration,
    /// Events that the world handled.
    pub handled: u64,
    /// Signatures made and checked, where they are counted.
    pub signatures: Option<[u64; 2]>,
}

/// Something that is to happen.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Item {
    Comes(usize),
    Leaves(usize),
    Gone(usize),
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
    guests: Vec<Participant>,
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
        let settlement = scenario.network.as_ref().map(|_| {
            let key = |number| identity_by(signatures.scheme(), number);
            SimSettlement::new(key(SETTLEMENT_KEY), key(ISSUER_KEY), START)
        });
        let network = settlement.as_ref().map(SimSettlement::network);
        let mut world = World::new(settlement, scenario.run.seed);
        world.paranoid = scenario.run.paranoid;
        let tracker = (scenario.overlay == OverlayPlan::Tracker).then_some(TRACKER);
        let metainfos = scenario.torrents.iter().map(|plan| {
            let piece = u32::try_from(plan.piece.0).expect("a sound scenario");
            Arc::new(torrent(&plan.name, plan.length.0, piece, tracker))
        });
        let mut play = Self {
            scenario,
            streams,
            signatures,
            world,
            network,
            metainfos: metainfos.collect(),
            guests: roll::call(scenario, streams),
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
        self.run_watched(|_| ())
    }

    /// The same, while somebody is told now and then how far it is.
    pub fn run_watched(self, watch: impl FnMut(&PlayProgress)) -> PlayOutcome {
        self.go_on(watch, || false).expect("nobody stops it")
    }

    /// The same; `None` if `stop`, which is asked before every event, says so first.
    pub fn run_unless(self, stop: impl Fn() -> bool) -> Option<PlayOutcome> {
        self.go_on(|_| (), stop)
    }

    fn go_on(
        mut self,
        mut watch: impl FnMut(&PlayProgress),
        stop: impl Fn() -> bool,
    ) -> Option<PlayOutcome> {
        let end = Instant::ZERO.after(self.scenario.run.duration.0);
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
        let population = &self.scenario.populations[self.guests[guest].population];
        let length = self.scenario.torrents[self.scenario.torrent_of(population)].length;
        length.0 - population.has.of(length.0)
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
            self.plan(Instant::ZERO.after(event.at()), Item::Event(index));
        }
        self.plan(Instant::ZERO, Item::Row);
    }

    /// Whether this guest comes for something.
    fn wants(&self, guest: usize) -> bool {
        let population = &self.scenario.populations[self.guests[guest].population];
        population.has.0 < 100
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
            Item::Gone(guest) => self.gone(guest),
            Item::Looks(guest) => self.look(guest),
            Item::Boosts(guest) => self.boost(guest),
            Item::ComesBack(guest) => self.come_back(guest),
            Item::Event(index) => self.event(index),
            Item::SettlementBack => self.world.settlement_away = false,
            Item::Row => {
                self.series.push(self.series_row());
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
        let granted = population.grant.or(usual).map(|credit| credit.0);
        let session = self.world.node(node).session.as_ref();
        let session = session.filter(|session| session.config().network.is_some());
        let key = session.map(|session| session.node_id());
        let unix = self.world.unix();
        if let (Some(settlement), Some(key), Some(amount)) =
            (&mut self.world.settlement, key, granted)
            && amount > MicroCredits::ZERO
        {
            settlement.grant(key, amount, unix);
        }
        self.take_part(guest, node);
    }

    /// A guest's node starts, under the key and at the address that it has now.
    fn enter(&mut self, guest: usize) -> NodeIndex {
        let agent = self.agent(guest);
        let there = &self.guests[guest];
        let population = &self.scenario.populations[there.population];
        let number = u64::try_from(guest).expect("few");
        let mut session = config(number, 0);
        session.rng_seed = there.session_seed;
        session.network = self.network.filter(|_| population.receipts);
        session.receipts = population.receipts;
        let mut policy = Policy {
            slots: population.slots,
            open_share_percent: population.open_share.0,
            upload_limit: population
                .upload_limit
                .map(|share| share.of(there.link.uplink).max(1)),
            credit: CreditPolicy {
                rate_min: population.ask.map(|price| price.0),
                ..CreditPolicy::default()
            },
            ..Policy::default()
        };
        if let Some(agent) = &agent {
            agent.prepare(&mut session, &mut policy);
        }
        let identity = identity_by(self.signatures.scheme(), there.key);
        let books = SimBooks::new(&identity, session.network, self.world.unix());
        let name = format!("{}-{}", population.name, there.index);
        let node = self.world.add_node_at(&name, books, there.link, there.ip);
        let ranker = agent.as_ref().and_then(|agent| agent.ranker());
        if let Some(agent) = agent {
            self.world.node_mut(node).follow(agent);
        }
        start_as(&mut self.world, node, there.key, session, policy);
        if ranker.is_some() {
            let session = self.world.node_mut(node).session.as_mut();
            session.expect("just started").set_ranker(ranker);
        }
        self.places.insert(node, guest);
        self.guests[guest].node = Some(node);
        node
    }

    /// A guest has what it comes with.
    fn take_part(&mut self, guest: usize, node: NodeIndex) {
        let there = &self.guests[guest];
        let population = &self.scenario.populations[there.population];
        let metainfo = &self.metainfos[self.scenario.torrent_of(population)];
        let mut pieces: Vec<PieceIndex> = metainfo.geometry.pieces().collect();
        let (name, index) = (&population.name, there.index);
        self.streams
            .draw(Purpose::Pieces, name, index)
            .shuffle(&mut pieces);
        let (identity, identities) = (there.identity, population.strategy.identities());
        if identities > 1 {
            // What the line's others fetch counts as had.
            pieces.retain(|piece| u64::from(piece.get()) % identities != identity);
        } else {
            let count = u64::from(metainfo.geometry.piece_count());
            let have = usize::try_from(population.has.of(count));
            pieces.truncate(have.expect("pieces fit memory"));
        }
        let disk = pieces.into_iter().collect();
        let target = self.world.node_mut(node);
        target.disk.insert(metainfo.torrent_id(), disk);
        self.join(guest, node);
    }

    /// A guest learns of others and orders its boost.
    fn join(&mut self, guest: usize, node: NodeIndex) {
        let population = &self.scenario.populations[self.guests[guest].population];
        let place = self.scenario.torrent_of(population);
        let known = self.known_to(guest, place);
        let is_complete = population.has.0 >= 100;
        let metainfo = &self.metainfos[place];
        add_shared(&mut self.world, node, metainfo, is_complete, &known);
        self.boost(guest);
    }

    /// Orders what a guest is to order, and tries again later if it is refused: it may not have
    /// heard of its credit yet.
    fn boost(&mut self, guest: usize) {
        let there = &self.guests[guest];
        let population = &self.scenario.populations[there.population];
        let node = there
            .node
            .filter(|_| there.is_there() && there.done_at.is_none());
        let (Some(boost), Some(node)) = (&population.boost, node) else {
            return;
        };
        let order = BoostOrder {
            request_id: "scenario".to_owned(),
            torrent_id: self.metainfos[self.scenario.torrent_of(population)].torrent_id(),
            max: boost.budget.0,
            bid: boost.bid.0,
            time_to_live_secs: None,
        };
        let ordered = self.world.command(node, Command::Boost(order));
        self.guests[guest].boost_refused = ordered.err().map(|error| error.to_string());
        if self.guests[guest].boost_refused.is_some() {
            self.plan(self.world.now().after(BOOST_AGAIN), Item::Boosts(guest));
        }
    }

    /// Whom a guest is told of as it comes.
    fn known_to(&self, guest: usize, torrent: usize) -> Vec<NodeIndex> {
        let of = |other: &Participant| {
            self.scenario
                .torrent_of(&self.scenario.populations[other.population])
                == torrent
        };
        let others = self
            .guests
            .iter()
            .enumerate()
            .filter(|(place, other)| *place != guest && other.is_there() && of(other));
        let mut nodes: Vec<NodeIndex> = others.filter_map(|(_, other)| other.node).collect();
        match self.scenario.overlay {
            OverlayPlan::Tracker => Vec::new(),
            OverlayPlan::Full => nodes,
            OverlayPlan::Degree { degree } => {
                let name = &self.scenario.populations[self.guests[guest].population].name;
                let index = self.guests[guest].index;
                let mut rng = self.streams.draw(Purpose::Overlay, name, index);
                rng.shuffle(&mut nodes);
                nodes.truncate(degree);
                nodes
            }
        }
    }

    /// Who has everything now.
    fn hear(&mut self) {
        while let Some((at, node, _)) = self.world.completed.pop_front() {
            let Some(guest) = self.places.get(&node).copied() else {
                continue;
            };
            if self.guests[guest].done_at.is_some() || !self.wants(guest) {
                continue;
            }
            self.guests[guest].done_at = Some(at);
            self.waiting -= 1;
            let there = &self.guests[guest];
            let population = &self.scenario.populations[there.population];
            match population.seeding {
                SeedingPlan::Forever => {}
                SeedingPlan::For { time } => {
                    let name = &population.name;
                    let mut rng = self.streams.draw(Purpose::Seeding, name, there.index);
                    let stays = roll::within(time, &mut rng);
                    self.plan(at.after(stays), Item::Leaves(guest));
                }
                SeedingPlan::Ratio { at_most, .. } => {
                    self.plan(at.after(at_most.0), Item::Leaves(guest));
                    self.plan(at.after(LOOK_EVERY), Item::Looks(guest));
                }
            }
        }
    }

    /// Whether a seed has uploaded what it wanted to.
    fn look(&mut self, guest: usize) {
        if !self.guests[guest].is_there() {
            return;
        }
        let population = &self.scenario.populations[self.guests[guest].population];
        let SeedingPlan::Ratio { percent, .. } = population.seeding else {
            return;
        };
        let length = self.scenario.torrents[self.scenario.torrent_of(population)]
            .length
            .0;
        let wanted = u128::from(length) * u128::from(percent) / 100;
        let [uploaded, ..] = self.moved(guest);
        if u128::from(uploaded) >= wanted {
            self.leave(guest);
        } else {
            self.plan(self.world.now().after(LOOK_EVERY), Item::Looks(guest));
        }
    }

    fn leave(&mut self, guest: usize) {
        let Some(node) = self.guests[guest]
            .node
            .filter(|_| self.guests[guest].is_there())
        else {
            return;
        };
        if self.guests[guest].done_at.is_none() && self.wants(guest) {
            self.waiting -= 1;
        }
        self.guests[guest].moved = self.moved(guest);
        self.guests[guest].purse = self.purse(guest);
        self.guests[guest].left_at = Some(self.world.now());
        let said = self.world.command(node, Command::Shutdown);
        said.expect("whoever is there can leave");
        self.plan(self.world.now().after(GOODBYE), Item::Gone(guest));
    }

    fn gone(&mut self, guest: usize) {
        if let Some(node) = self.guests[guest].node {
            self.world.crash(node);
        }
    }

    fn event(&mut self, index: usize) {
        match &self.scenario.events[index] {
            PlannedEvent::Leave {
                population, share, ..
            } => {
                let of = |guest: &Participant| {
                    self.scenario.populations[guest.population].name == *population
                };
                let there = self.guests.iter().enumerate();
                let there = there.filter(|(_, guest)| guest.is_there() && of(guest));
                let mut there: Vec<usize> = there.map(|(place, _)| place).collect();
                let number = u64::try_from(index).expect("few");
                let mut rng = self.streams.draw(Purpose::Event, population, number);
                rng.shuffle(&mut there);
                let count = share.of(u64::try_from(there.len()).expect("few"));
                there.truncate(usize::try_from(count).expect("at most as many"));
                for guest in there {
                    self.leave(guest);
                }
            }
            PlannedEvent::SettlementDown { lasts, .. } => {
                self.world.settlement_away = true;
                self.plan(self.world.now().after(lasts.0), Item::SettlementBack);
            }
        }
    }

    /// Payload that a guest has sent, received, and received in vain.
    fn moved(&self, guest: usize) -> [u64; 3] {
        let there = &self.guests[guest];
        let population = &self.scenario.populations[there.population];
        let torrent_id = self.metainfos[self.scenario.torrent_of(population)].torrent_id();
        let session = there
            .node
            .and_then(|node| self.world.node(node).session.as_ref());
        let view = session.filter(|_| there.left_at.is_none());
        let view = view.and_then(|session| session.torrent(&torrent_id));
        view.map_or(there.moved, |view| {
            let moved = [view.uploaded, view.downloaded, view.wasted].map(Bytes::get);
            std::array::from_fn(|place| there.moved_before[place] + moved[place])
        })
    }

    fn finish(mut self) -> PlayOutcome {
        let lasted = self.world.now().since(Instant::ZERO);
        let last = self.series_row();
        if self.series.last().is_none_or(|row| row.time < last.time) {
            self.series.push(last);
        }
        for guest in 0..self.guests.len() {
            self.guests[guest].moved = self.moved(guest);
            if let Some(node) = self.guests[guest]
                .node
                .filter(|_| self.guests[guest].is_there())
            {
                let booked = self.world.command(node, Command::BookReceipts);
                booked.expect("books take receipts");
            }
        }
        self.world.run_for(CLOSING);
        let peers = (0..self.guests.len()).map(|guest| self.peer_row(guest));
        let peers: Vec<PeerRow> = peers.collect();
        let signatures = match &self.signatures {
            Signatures::Real => None,
            Signatures::Counted(count) => Some([count.signed(), count.verified()]),
        };
        PlayOutcome {
            peers,
            series: self.series,
            lasted,
            handled: self.world.handled(),
            signatures,
        }
    }
}
