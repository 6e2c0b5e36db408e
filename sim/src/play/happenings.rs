//! What the scenario's events do to who is there.

use seedbank_engine::interface::command::Command;
use seedbank_engine::interface::config::PaidRule;
use seedbank_ledger::MicroCredits;

use super::roll::Participant;
use super::{Item, Play, SUPPLY_MAX};
use crate::scenario::{PaidRulePlan, PlannedEvent, StrategyPlan};
use crate::streams::Purpose;
use crate::swarm::identity_by;

impl Play<'_> {
    pub(super) fn event(&mut self, index: usize) {
        let scenario = self.scenario;
        match &scenario.events[index] {
            // Who comes is on the roll.
            PlannedEvent::Join { .. } => {}
            PlannedEvent::Leave {
                population, share, ..
            } => {
                let mut there = self.those_of(population, Participant::is_there);
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
            PlannedEvent::Grant {
                population,
                amount,
                every,
                ..
            } => {
                for guest in self.those_of(population, Participant::is_there) {
                    self.grant(guest, amount.0);
                }
                if let Some(every) = every {
                    self.plan(self.world.now().after(every.0), Item::Event(index));
                }
            }
            event @ PlannedEvent::Change { population, .. } => self.change(population, event),
        }
    }

    /// Of a population those for whom this is so, in order.
    fn those_of(&self, population: &str, is_so: fn(&Participant) -> bool) -> Vec<usize> {
        let of = |guest: &Participant| self.populations[guest.population].name == population;
        let guests = self.guests.iter().enumerate();
        let those = guests.filter(|(_, guest)| of(guest) && is_so(guest));
        those.map(|(place, _)| place).collect()
    }

    fn change(&mut self, name: &str, event: &PlannedEvent) {
        let mut populations = self.populations.iter_mut();
        let population = populations.find(|population| population.name == name);
        let population = population.expect("a sound scenario changes who is in it");
        let ordered = population.boost;
        population.change(event);
        let orders = population.boost != ordered;
        for guest in self.those_of(name, Participant::is_online) {
            let policy = self.policy(guest);
            let node = self.guests[guest].node.expect("who is online has a node");
            let set = self.world.command(node, Command::SetPolicy(policy));
            set.expect("sound policies");
            if orders {
                self.boost(guest);
            }
        }
    }

    /// Creates credit for a guest, as far as the supply goes.
    pub(super) fn grant(&mut self, guest: usize, amount: MicroCredits) {
        let there = &self.guests[guest];
        let population = &self.scenario.populations[there.population];
        let most = self
            .scenario
            .network
            .as_ref()
            .and_then(|plan| plan.supply_max);
        let most = most.map_or(SUPPLY_MAX, |most| most.0.get().min(SUPPLY_MAX));
        let supply = self.supply.saturating_add(amount.get());
        let is_plain = matches!(population.strategy, StrategyPlan::PlainClient { .. });
        if is_plain || !population.receipts || amount == MicroCredits::ZERO || supply > most {
            return;
        }
        let unix = self.world.unix();
        let id = identity_by(self.signatures.scheme(), there.key).id();
        if let Some(settlement) = &mut self.world.settlement {
            settlement.grant(id, amount, unix);
            self.supply = supply;
            self.guests[guest].granted += amount.get();
        }
    }
}

impl From<PaidRulePlan> for PaidRule {
    fn from(plan: PaidRulePlan) -> Self {
        match plan {
            PaidRulePlan::TopK => Self::TopK,
            PaidRulePlan::UniformPrice => Self::UniformPrice,
            PaidRulePlan::Proportional => Self::Proportional,
        }
    }
}
