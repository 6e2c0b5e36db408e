//! Who follows which strategy: those of the scenario, and those that a caller brings. What becomes
//! of who starts anew is here too.

use std::collections::BTreeMap;
use std::fmt;
use std::net::{IpAddr, Ipv4Addr};
use std::sync::Arc;

use seedbank_engine::interface::command::Command;
use seedbank_ledger::{MicroCredits, NodeId};

use super::{GOODBYE, Item, Play, roll};
use crate::agent::{Agent, AgentSetup, agent_of};
use crate::swarm::identity_by;

/// Most new lives of a run: each has an address prefix of its own.
const NEW_LIVES_MAX: u64 = 60_000;

/// Makes the agent of a peer.
type MakeAgent<'a> = Box<dyn Fn(&AgentSetup) -> Box<dyn Agent> + 'a>;

/// Strategies that no scenario has, by population.
#[derive(Default)]
pub(super) struct Casting<'a>(BTreeMap<String, MakeAgent<'a>>);

impl fmt::Debug for Casting<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_set().entries(self.0.keys()).finish()
    }
}

impl<'a> Play<'a> {
    /// Has everybody of a population follow this strategy, whatever the scenario says.
    #[must_use]
    pub fn cast(
        mut self,
        population: &str,
        make: impl Fn(&AgentSetup) -> Box<dyn Agent> + 'a,
    ) -> Self {
        self.casting.0.insert(population.to_owned(), Box::new(make));
        self
    }

    /// The agent of a guest; an honest one has none.
    pub(super) fn agent(&mut self, guest: usize) -> Option<Box<dyn Agent>> {
        let population = &self.scenario.populations[self.guests[guest].population];
        let is_cast = self.casting.0.contains_key(&population.name);
        if !is_cast && population.strategy == crate::scenario::StrategyPlan::default() {
            return None;
        }
        let setup = AgentSetup {
            identity: Arc::new(identity_by(
                self.signatures.scheme(),
                self.guests[guest].key,
            )),
            uplink: self.guests[guest].link.uplink,
            bid: population.boost.map(|boost| boost.bid.0),
            fellows: self.keys_of(self.guests[guest].population),
        };
        match self.casting.0.get(&population.name) {
            Some(make) => Some(make(&setup)),
            None => agent_of(&population.strategy, &setup),
        }
    }

    fn keys_of(&mut self, population: usize) -> Arc<[NodeId]> {
        let guests = self.guests.iter();
        let of = guests.filter(|guest| guest.population == population);
        let id = |key| identity_by(self.signatures.scheme(), key).id();
        let keys = || of.map(|guest| id(guest.key)).collect();
        Arc::clone(self.keys.entry(population).or_insert_with(keys))
    }

    /// Those who want to start anew send what they have to their new key.
    pub(super) fn hear_who_leaves(&mut self) {
        while let Some(node) = self.world.starting_anew.pop_front() {
            let guest = self.places.get(&node).copied();
            let guest = guest.filter(|guest| {
                let there = &self.guests[*guest];
                there.is_there() && there.node == Some(node) && there.done_at.is_none()
            });
            let Some(guest) = guest.filter(|_| self.new_lives < NEW_LIVES_MAX) else {
                continue;
            };
            self.new_lives += 1;
            let session = self.world.node(node).session.as_ref();
            let available = session.map(|session| session.wallet().available);
            let there = &mut self.guests[guest];
            let life = 1 + u64::try_from(there.former.len()).expect("few");
            let population = &self.scenario.populations[there.population];
            let who = [there.index, there.identity, life];
            there.key = roll::key_of(population, who, self.streams);
            there.session_seed = roll::seed_of(population, who, self.streams);
            there.ip = new_ip(self.new_lives);
            if let Some(amount) = available.filter(|amount| *amount > MicroCredits::ZERO) {
                let order = Command::Transfer {
                    request_id: format!("life {life}"),
                    to: identity_by(self.signatures.scheme(), there.key).id(),
                    amount,
                };
                // What cannot be sent stays with the old key.
                let _ = self.world.command(node, order);
            }
            self.plan(self.world.now().after(GOODBYE), Item::ComesBack(guest));
        }
    }

    /// The old node is gone, and its pieces are those of the new one.
    pub(super) fn come_back(&mut self, guest: usize) {
        let Some(old) = self.guests[guest].node else {
            return;
        };
        if !self.guests[guest].is_there() || self.guests[guest].done_at.is_some() {
            return;
        }
        self.guests[guest].moved = self.moved(guest);
        // A new life begins online.
        let was_offline = std::mem::take(&mut self.guests[guest].is_offline);
        self.world.crash(old);
        let disk = std::mem::take(&mut self.world.node_mut(old).disk);
        self.guests[guest].former.push(old);
        let new = self.enter(guest);
        self.world.node_mut(new).disk = disk;
        self.join(guest, new);
        if was_offline {
            self.plan_to_go_offline(guest);
        }
    }
}

/// An address in a prefix that no guest has had.
fn new_ip(number: u64) -> IpAddr {
    let prefix = u32::try_from(number).expect("bounded");
    Ipv4Addr::from_bits(0x3d00_0001 + (prefix << 8)).into()
}
