//! Who comes, goes, and comes back, and what the scenario's events do to them.

use seedbank_ledger::{MicroCredits, Rate};

use super::content::Face;
use super::credit::FlowOrder;
use super::step::show;
use super::swarm::{FlowPeer, NEVER, Presence};
use super::{FlowPlay, FlowTorrent, ask_of, in_step, limited, rules_of, sharing};
use crate::play::{GOODBYE, SUPPLY_MAX, roll};
use crate::scenario::written::TimeSpan;
use crate::scenario::{OverlayPlan, PlannedEvent, Population, SeedingPlan};
use crate::streams::Purpose;
use crate::tracker::TRACKER_PEERS_MAX;

/// Times there and back until a new connection carries payload: TCP, handshake, interest and
/// unchoke, request.
const CONNECT_ROUND_TRIPS: u64 = 4;
/// Between two looks at how much somebody has uploaded.
const LOOK_EVERY: u64 = 5_000_000_000;

/// What somebody does at a time.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum FlowTurn {
    GivesUp,
    Leaves,
    GoesOffline,
    ComesOnline,
}

impl FlowPlay<'_> {
    /// Whoever comes or goes by now.
    pub(super) fn arrange(&mut self) {
        let now = self.now();
        self.happen(now);
        self.look(now);
        let mut newcomers = Vec::new();
        while let Some((at, place, turn)) = self.agenda.first().copied() {
            if at > now {
                break;
            }
            self.agenda.pop_first();
            match turn {
                FlowTurn::Leaves => self.leave(place, at),
                FlowTurn::GivesUp if self.swarm.peers[place as usize].done_at == NEVER => {
                    self.leave(place, at);
                }
                FlowTurn::GivesUp => {}
                FlowTurn::GoesOffline => self.go_offline(place, at),
                FlowTurn::ComesOnline => newcomers.extend(self.come_online(place, at)),
            }
        }
        let half = self.step_ms * 500_000;
        while let Some((at, peer)) = self.arrivals.get(self.came).copied() {
            if at + self.connect_time(peer) > now + half {
                break;
            }
            self.came += 1;
            newcomers.push((peer, self.join(peer)));
        }
        for (peer, before) in newcomers {
            self.introduce(peer, before);
        }
    }

    /// Until what a newcomer asks for begins to flow.
    fn connect_time(&self, place: u32) -> u64 {
        let mean = match self.population_of(place).line.delay {
            TimeSpan::Within { least, most } => (least.as_nanos() + most.as_nanos()) / 2,
            TimeSpan::Exponential { mean } => mean.as_nanos(),
        };
        // There and back passes the delays of two ends, twice.
        CONNECT_ROUND_TRIPS * 4 * mean
    }

    /// The population of a peer, as the scenario has it.
    fn population_of(&self, place: u32) -> &Population {
        let peer = &self.swarm.peers[place as usize];
        &self.scenario.populations[usize::from(peer.population)]
    }

    fn happen(&mut self, now: u64) {
        let scenario = self.scenario;
        while let Some((at, index)) = self.events.first().copied().filter(|(at, _)| *at <= now) {
            self.events.pop_first();
            match &scenario.events[index] {
                // Who comes is on the roll, and how long nothing is settled is looked up.
                PlannedEvent::Join { .. } | PlannedEvent::SettlementDown { .. } => {}
                PlannedEvent::Leave {
                    population, share, ..
                } => {
                    let mut there = self.those_of(population);
                    let number = u64::try_from(index).expect("few");
                    let mut rng = self.streams.draw(Purpose::Event, population, number);
                    rng.shuffle(&mut there);
                    let count = share.of(u64::try_from(there.len()).expect("few"));
                    there.truncate(usize::try_from(count).expect("at most as many"));
                    for peer in there {
                        self.leave(peer, at);
                    }
                }
                PlannedEvent::Grant {
                    population,
                    amount,
                    every,
                    ..
                } => {
                    for peer in self.those_of(population) {
                        self.grant(peer, amount.0);
                    }
                    if let Some(every) = every {
                        self.events.insert((at + every.0.as_nanos(), index));
                    }
                }
                event @ PlannedEvent::Change { population, .. } => self.change(population, event),
            }
        }
    }

    /// Of a population those who have come and not left, in order.
    fn those_of(&self, name: &str) -> Vec<u32> {
        let of = |peer: &FlowPeer| {
            let its = &self.scenario.populations[usize::from(peer.population)];
            peer.is_there() && its.name == name
        };
        let there = (0..).zip(&self.swarm.peers).filter(|(_, peer)| of(peer));
        there.map(|(place, _)| place).collect()
    }

    /// A population decides otherwise.
    fn change(&mut self, name: &str, event: &PlannedEvent) {
        let number = self.populations.iter().position(|plan| plan.name == name);
        let number = number.expect("a sound scenario changes who is in it");
        self.populations[number].change(event);
        let population = &self.populations[number];
        self.rules[number] = rules_of(self.scenario, population);
        self.asks[number] = ask_of(self.scenario, population);
        let of = |peer: &&mut FlowPeer| usize::from(peer.population) == number;
        for (index, peer) in (0..).zip(self.swarm.peers.iter_mut().filter(of)) {
            let link = roll::link_of(population, index, self.streams);
            peer.uplink = in_step(self.scale, self.step_ms, limited(population, link.uplink));
        }
    }

    /// Creates credit for a peer, as far as the supply goes.
    fn grant(&mut self, place: u32, amount: MicroCredits) {
        let Some(network) = &self.scenario.network else {
            return;
        };
        let most = network.supply_max;
        let most = most.map_or(SUPPLY_MAX, |most| most.0.get().min(SUPPLY_MAX));
        let supply = self.supply.saturating_add(amount.get());
        if self.population_of(place).receipts && supply <= most {
            self.supply = supply;
            self.credit.grant(place, amount);
        }
    }

    pub(super) fn is_settlement_away(&self) -> bool {
        let now = self.now();
        self.scenario.events.iter().any(|event| match event {
            PlannedEvent::SettlementDown { at, lasts } => {
                let begin = at.0.as_nanos();
                (begin..begin.saturating_add(lasts.0.as_nanos())).contains(&now)
            }
            _ => false,
        })
    }

    /// Who seeds until it has uploaded enough, and has.
    fn look(&mut self, now: u64) {
        let mut looking = std::mem::take(&mut self.looking);
        looking.retain(|place| {
            let peer = &self.swarm.peers[*place as usize];
            let population = self.population_of(*place);
            let SeedingPlan::Ratio { percent, .. } = population.seeding else {
                return false;
            };
            let torrent = &self.torrents[self.scenario.torrent_of(population)];
            let wanted = u128::from(torrent.length) * u128::from(percent) / 100;
            let is_enough = u128::from(peer.uploaded) >= wanted;
            let is_there = peer.is_there();
            if is_enough && now >= peer.done_at.saturating_add(LOOK_EVERY) {
                self.agenda.insert((now, *place, FlowTurn::Leaves));
                return false;
            }
            is_there
        });
        self.looking = looking;
    }

    /// Comes; returns how many came before.
    fn join(&mut self, place: u32) -> usize {
        let scenario = self.scenario;
        let index = self.index_of(place);
        let peer = &mut self.swarm.peers[place as usize];
        let number = usize::from(peer.population);
        let population = &scenario.populations[number];
        let torrent_number = scenario.torrent_of(population);
        let torrent = &mut self.torrents[torrent_number];
        let before = torrent.present.len();
        torrent.present.push(place);
        peer.content = peer.brought;
        if peer.content < torrent.length {
            // What two random parts have in common is what each has of the other.
            let lacked = torrent.length - torrent.injected;
            let more = sharing::scaled(lacked, peer.content, torrent.length);
            torrent.injected += more;
            torrent.stages = torrent.stages.map(|stage| stage + more);
        }
        let comes_at = peer.comes_at;
        self.enter(place, index);
        let usual = scenario.network.as_ref().map(|plan| plan.grant);
        if let Some(amount) = population.grant.or(usual) {
            self.grant(place, amount.0);
        }
        if let Some(boost) = &population.boost {
            let order = FlowOrder {
                budget: boost.budget.0,
                bid: boost.bid.0,
                floor: Rate::ZERO,
            };
            let piece_len = scenario.torrents[torrent_number].piece.0;
            self.credit.order(place, order, piece_len);
        }
        if let Some(patience) = population.patience.filter(|_| population.wants()) {
            let mut rng = self
                .streams
                .draw(Purpose::Patience, &population.name, index);
            let until = comes_at.saturating_add(patience.draw(&mut rng).as_nanos());
            self.agenda.insert((until, place, FlowTurn::GivesUp));
        }
        self.plan_to_go_offline(place, comes_at);
        before
    }

    /// Is online from now on, with what it has, somewhere in its round.
    fn enter(&mut self, place: u32, index: u64) {
        let population = self.population_of(place);
        let phase = roll::phase_of(population, [index, 0, 0], self.streams);
        let into = phase.as_nanos() / (self.step_ms * 1_000_000);
        let link = roll::link_of(population, index, self.streams);
        let torrent = &self.torrents[self.scenario.torrent_of(population)];
        let peer = &mut self.swarm.peers[place as usize];
        peer.presence = Presence::There;
        let phase = (self.number + self.steps - into % self.steps) % self.steps;
        peer.phase = u16::try_from(phase).expect("few steps in a round");
        let [have, gives] = [&mut self.swarm.have, &mut self.swarm.faces];
        let (have, gives) = (&mut have[place as usize], &mut gives[place as usize]);
        // Rounding may have left who is done short of some units.
        if peer.done_at != NEVER || peer.content >= torrent.length {
            (*have, *gives) = (Face::SEED, Face::SEED);
        } else {
            show(peer, torrent, have, gives);
        }
        self.uplink += link.uplink;
    }

    /// Makes a newcomer known, before whom so many came.
    fn introduce(&mut self, place: u32, before: usize) {
        let population = self.population_of(place);
        let torrent = self.scenario.torrent_of(population);
        let index = self.index_of(place);
        let mut rng = self.streams.draw(Purpose::Overlay, &population.name, index);
        let present = &self.torrents[torrent].present;
        match self.scenario.overlay {
            OverlayPlan::Tracker => self.swarm.meet(place, present, TRACKER_PEERS_MAX, &mut rng),
            OverlayPlan::Full => {
                for other in &present[..before] {
                    self.swarm.connect(place, *other);
                }
            }
            OverlayPlan::Degree { degree } => {
                self.swarm.meet(place, &present[..before], degree, &mut rng);
            }
        }
    }

    /// How long a peer is online from `now` on. Each time has a stream of its own.
    fn plan_to_go_offline(&mut self, place: u32, now: u64) {
        let population = self.population_of(place);
        let Some(churn) = population.churn else {
            return;
        };
        let name = format!("{} {}", population.name, self.life_of(place));
        let index = self.index_of(place);
        let mut rng = self.streams.draw(Purpose::Churn, &name, index);
        let until = now.saturating_add(churn.online.draw(&mut rng).as_nanos());
        self.agenda.insert((until, place, FlowTurn::GoesOffline));
    }

    /// How often it has started.
    fn life_of(&self, place: u32) -> u64 {
        1 + self.returns.get(&place).copied().unwrap_or(0)
    }

    /// Goes, and comes back later.
    fn go_offline(&mut self, place: u32, at: u64) {
        if self.swarm.peers[place as usize].presence != Presence::There {
            return;
        }
        let population = self.population_of(place);
        let churn = population.churn.expect("who goes offline has a plan");
        let name = format!("{} off {}", population.name, self.life_of(place));
        let index = self.index_of(place);
        let mut rng = self.streams.draw(Purpose::Churn, &name, index);
        let away = churn.offline.draw(&mut rng).max(GOODBYE.times(2));
        let back = at.saturating_add(away.as_nanos());
        self.depart(place, Presence::Away);
        self.agenda.insert((back, place, FlowTurn::ComesOnline));
    }

    /// Comes back with what it has; returns how many others there may be.
    fn come_online(&mut self, place: u32, at: u64) -> Option<(u32, usize)> {
        if self.swarm.peers[place as usize].presence != Presence::Away {
            return None;
        }
        *self.returns.entry(place).or_default() += 1;
        let index = self.index_of(place);
        self.enter(place, index);
        self.plan_to_go_offline(place, at);
        let torrent = self.scenario.torrent_of(self.population_of(place));
        Some((place, self.torrents[torrent].present.len()))
    }

    /// Leaves for good.
    fn leave(&mut self, place: u32, at: u64) {
        let peer = &mut self.swarm.peers[place as usize];
        if !peer.is_there() {
            return;
        }
        peer.left_at = at;
        let is_done = peer.done_at != NEVER;
        let population = self.population_of(place);
        let torrent = self.scenario.torrent_of(population);
        self.waiting -= usize::from(!is_done && population.wants());
        self.depart(place, Presence::Gone);
        let FlowTorrent { present, gone, .. } = &mut self.torrents[torrent];
        *gone += 1;
        if *gone * 2 > present.len() {
            let peers = &self.swarm.peers;
            present.retain(|other| peers[*other as usize].is_there());
            *gone = 0;
        }
    }

    /// Is not there from now on, but for what others remember.
    fn depart(&mut self, place: u32, presence: Presence) {
        if self.swarm.peers[place as usize].presence == Presence::There {
            let link = roll::link_of(
                self.population_of(place),
                self.index_of(place),
                self.streams,
            );
            self.uplink -= link.uplink;
            self.swarm.part(place);
        }
        self.swarm.peers[place as usize].presence = presence;
    }
}
