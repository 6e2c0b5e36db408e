//! What guests fetch: which torrent next, whom they know in it, and what they order for it.

use seedbank_engine::interface::command::{BoostOrder, Command, CommandError, CreditError};
use seedbank_engine::units::PieceIndex;
use seedbank_ledger::{Bytes, Duration, Instant, MicroCredits};

use super::roll::{Fetch, Participant};
use super::{BEGIN, Item, Play};
use crate::network::NodeIndex;
use crate::scenario::OverlayPlan;
use crate::streams::Purpose;
use crate::swarm::add_shared;

/// Until an order that was refused is given again.
const BOOST_AGAIN: Duration = Duration::from_secs(1);

impl Play<'_> {
    /// A guest that has come adds what it has, and sets out for what it wants.
    pub(super) fn take_part(&mut self, guest: usize, node: NodeIndex) {
        if self.wants(guest) {
            self.set_out(guest, node);
        }
        self.join(guest, node);
    }

    /// A guest takes part in all that it has and wants, and orders its boost.
    pub(super) fn join(&mut self, guest: usize, node: NodeIndex) {
        let scenario = self.scenario;
        let population = &scenario.populations[self.guests[guest].population];
        for name in &population.holds {
            let place = scenario.torrents.iter().position(|plan| plan.name == *name);
            let place = place.expect("a sound scenario holds what there is");
            self.add_torrent(guest, node, place, true);
        }
        if population.has.0 >= 100 {
            self.add_torrent(guest, node, scenario.torrent_of(population), true);
        }
        for fetch in self.guests[guest].fetches.clone() {
            self.add_torrent(guest, node, fetch.torrent, false);
        }
        self.boost(guest);
    }

    fn add_torrent(&mut self, guest: usize, node: NodeIndex, torrent: usize, is_complete: bool) {
        let known = self.known_to(guest, torrent);
        let metainfo = &self.metainfos[torrent];
        add_shared(&mut self.world, node, metainfo, is_complete, &known);
    }

    /// A guest sets out for one torrent more.
    pub(super) fn fetch_next(&mut self, guest: usize) {
        let Some(node) = self.guests[guest].node else {
            return;
        };
        let torrent = self.set_out(guest, node);
        self.add_torrent(guest, node, torrent, false);
        self.boost(guest);
    }

    /// Decides what a guest fetches next; what it has of that is on its disk.
    fn set_out(&mut self, guest: usize, node: NodeIndex) -> usize {
        let torrent = self.choose(guest);
        let begun_at = self.world.now();
        self.guests[guest].fetches.push(Fetch {
            torrent,
            begun_at,
            done_at: None,
        });
        let there = &self.guests[guest];
        let population = &self.scenario.populations[there.population];
        let metainfo = &self.metainfos[torrent];
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
        let disk = &mut self.world.node_mut(node).disk;
        disk.insert(metainfo.torrent_id(), pieces.into_iter().collect());
        torrent
    }

    /// Which torrent a guest wants next, of those that it has not had.
    fn choose(&self, guest: usize) -> usize {
        let there = &self.guests[guest];
        let population = &self.scenario.populations[there.population];
        if population.demand.is_empty() {
            return self.scenario.torrent_of(population);
        }
        let torrents = &self.scenario.torrents;
        let place = |name: &str| torrents.iter().position(|plan| plan.name == name);
        let had = |torrent: usize| there.fetches.iter().any(|fetch| fetch.torrent == torrent);
        let time = self.world.now().since(BEGIN);
        let wanted = population.demand.iter();
        let wanted = wanted.filter_map(|plan| Some((place(&plan.torrent)?, plan.weight_at(time))));
        let left: Vec<(usize, u64)> = wanted.filter(|(torrent, _)| !had(*torrent)).collect();
        // A number for each choice, whatever was chosen before.
        let nth = u64::try_from(there.fetches.len()).expect("few");
        let name = format!("{} {nth}", population.name);
        let mut rng = self.streams.draw(Purpose::Demand, &name, there.index);
        let mut at = rng.below(left.iter().map(|(_, weight)| weight).sum());
        for (torrent, weight) in &left {
            if at < *weight {
                return *torrent;
            }
            at -= weight;
        }
        // Of none that weighs anything, the first.
        left.first().expect("nobody fetches more than it wants").0
    }

    /// Orders what a guest is to order, or what it has if that is less, and tries again later if
    /// that is refused: it may not have heard of its credit yet.
    pub(super) fn boost(&mut self, guest: usize) {
        let there = &self.guests[guest];
        let node = there.node.filter(|_| there.is_online());
        let boost = self.populations[there.population].boost;
        let (Some(boost), Some(node), Some(torrent)) = (boost, node, there.fetching()) else {
            return;
        };
        let torrent_id = self.metainfos[torrent].torrent_id();
        let mut order = |max: MicroCredits| {
            let order = BoostOrder {
                request_id: format!("{torrent} {} {}", max.get(), boost.bid.0.get()),
                torrent_id,
                max,
                bid: boost.bid.0,
                time_to_live_secs: None,
            };
            self.world.command(node, Command::Boost(order))
        };
        let mut ordered = order(boost.budget.0);
        if let Err(CommandError::Credit(CreditError::InsufficientCredit { available, .. })) =
            ordered
            && !available.free.is_zero()
        {
            ordered = order(available.free);
        }
        self.guests[guest].boost_refused = ordered.err().map(|error| error.to_string());
        if self.guests[guest].boost_refused.is_some() {
            self.plan(self.world.now().after(BOOST_AGAIN), Item::Boosts(guest));
        }
    }

    /// Whom a guest is told of as it comes.
    pub(super) fn known_to(&self, guest: usize, torrent: usize) -> Vec<NodeIndex> {
        let degree = match self.scenario.overlay {
            OverlayPlan::Tracker => return Vec::new(),
            OverlayPlan::Full => usize::MAX,
            OverlayPlan::Degree { degree } => degree,
        };
        let there = &self.guests[guest];
        let name = &self.scenario.populations[there.population].name;
        let mut rng = self.streams.draw(Purpose::Overlay, name, there.index);
        let own = rng.next_u64().wrapping_add(there.identity);
        let others = self.guests.iter().enumerate();
        let others = others
            .filter(|(place, other)| *place != guest && other.is_online())
            .filter(|(_, other)| self.takes_part(other, torrent));
        // By a number for each pair: who else is there moves nobody's place before another.
        let others = others.filter_map(|(_, other)| Some((mixed(own ^ other.key), other.node?)));
        let mut nodes: Vec<(u64, NodeIndex)> = others.collect();
        if degree < nodes.len() {
            nodes.sort_unstable();
            nodes.truncate(degree);
        }
        nodes.into_iter().map(|(_, node)| node).collect()
    }

    fn takes_part(&self, other: &Participant, torrent: usize) -> bool {
        let population = &self.scenario.populations[other.population];
        let name = &self.scenario.torrents[torrent].name;
        let has = population.has.0 >= 100 && self.scenario.torrent_of(population) == torrent;
        let fetches = other.fetches.iter().any(|fetch| fetch.torrent == torrent);
        has || fetches || population.holds.contains(name)
    }

    /// Who has everything that it set out for.
    pub(super) fn hear(&mut self) {
        while let Some((at, node, torrent_id)) = self.world.completed.pop_front() {
            let Some(guest) = self.places.get(&node).copied() else {
                continue;
            };
            let there = &self.guests[guest];
            let fetching = there.fetching().filter(|_| there.is_there());
            if fetching.is_none_or(|place| self.metainfos[place].torrent_id() != torrent_id) {
                continue;
            }
            self.has_fetched(guest, at);
        }
    }

    fn has_fetched(&mut self, guest: usize, at: Instant) {
        let there = &mut self.guests[guest];
        if let Some(fetch) = there.fetches.last_mut() {
            fetch.done_at = Some(at);
        }
        let population = &self.scenario.populations[there.population];
        if there.fetches.len() < population.fetches {
            if there.is_online() {
                self.fetch_next(guest);
            }
            return;
        }
        self.waiting -= 1;
        there.done_at = Some(at);
        self.plan_to_leave(guest, at);
    }

    /// Payload that a guest has sent, received, and received in vain.
    pub(super) fn moved(&self, guest: usize) -> [u64; 3] {
        let there = &self.guests[guest];
        let mut moved = there.moved;
        let node = there.node.filter(|_| there.is_online());
        let session = node.and_then(|node| self.world.node(node).session.as_ref());
        let Some(session) = session else {
            return moved;
        };
        let views = self.metainfos.iter().map(|metainfo| metainfo.torrent_id());
        for view in views.filter_map(|torrent_id| session.torrent(&torrent_id)) {
            let now = [view.uploaded, view.downloaded, view.wasted].map(Bytes::get);
            moved = std::array::from_fn(|place| moved[place] + now[place]);
        }
        moved
    }
}

/// A number that depends on every bit of this one (the finalizer of `SplitMix64`).
fn mixed(number: u64) -> u64 {
    let number = (number ^ (number >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    let number = (number ^ (number >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    number ^ (number >> 31)
}
