//! What is wrong with populations, with their network, and with what happens to them.

use std::collections::BTreeSet;

use seedbank_ledger::{Duration, MicroCredits};

use super::super::written::{Percent, TimeSpan};
use super::super::{ArrivalPlan, LinePlan, PlannedEvent, Population, Scenario};
use super::nobody;

/// Fastest line, in bytes per second.
pub const RATE_MAX: u64 = 1_000_000_000_000;
/// Longest delay, jitter or buffer of a line.
const DELAY_MAX: Duration = Duration::from_secs(60);
/// Most that one peer is granted at once.
const GRANT_MAX: MicroCredits = MicroCredits::new(1_000_000_000_000);
/// Highest price of a GiB, in micro-credits.
const PRICE_MAX: u64 = 1 << 40;
/// Least time between two grants, and that a peer is online.
const AGAIN_MIN: Duration = Duration::from_secs(1);
const SLOTS_MAX: usize = 1_000;

impl Scenario {
    pub(super) fn problem_of_network(&self) -> Option<String> {
        let plan = self.network.as_ref()?;
        if plan.grant.0 > GRANT_MAX {
            Some(format!("a grant of {}: 1000000cr is the most", plan.grant))
        } else if !(1..=PRICE_MAX).contains(&plan.price.0.get()) {
            Some(format!(
                "a price of {}: from 0.000001cr to 1000000cr",
                plan.price
            ))
        } else {
            None
        }
    }

    pub(super) fn problem_of(&self, population: &Population) -> Option<String> {
        let problem = self
            .problem_of_wishes(population)
            .or_else(|| population.line.problem())
            .or_else(|| population.problem_of_stay())
            .or_else(|| self.problem_of_credit(population))
            .or_else(|| self.problem_of_joining(population))
            .or_else(|| population.strategy.problem(population));
        // What is in a file is looked at when it is there.
        let problem = problem.or_else(|| match &population.arrivals {
            ArrivalPlan::Trace {
                csv: Some(_),
                times,
            } if !times.is_empty() => Some("times and a csv exclude each other".to_owned()),
            ArrivalPlan::Trace { csv: Some(_), .. } => None,
            _ => population.problem_of_trace(),
        });
        problem.map(|what| format!("{:?}: {what}", population.name))
    }

    /// What is wrong with what a population wants and has.
    fn problem_of_wishes(&self, population: &Population) -> Option<String> {
        let torrents = || self.torrents.iter().map(|torrent| torrent.name.as_str());
        let of_demand = population.demand.iter().map(|plan| &plan.torrent);
        let mut named = population
            .torrent
            .iter()
            .chain(of_demand.clone())
            .chain(&population.holds);
        if let Some(name) = named.find(|name| !torrents().any(|known| known == *name)) {
            return Some(nobody("torrent", name, torrents()));
        }
        let mut seen = BTreeSet::new();
        if let Some(name) = of_demand.clone().find(|name| !seen.insert(*name)) {
            return Some(format!("wants {name:?} twice"));
        }
        if let Some(name) = population.holds.iter().find(|name| !seen.insert(*name)) {
            return Some(format!("wants or holds {name:?} twice"));
        }
        let own = &self.torrents[self.torrent_of(population)].name;
        let changes = population
            .demand
            .iter()
            .find(|plan| match (plan.to, plan.by) {
                (Some(_), Some(by)) => by.0 <= plan.from.0,
                (None, None) => false,
                _ => true,
            });
        if let Some(plan) = changes {
            return Some(format!(
                "demand for {:?}: a weight that changes has `to`, and `by` after `from`",
                plan.torrent
            ));
        }
        let most = population.demand.len().max(1);
        match population {
            Population {
                demand, torrent, ..
            } if !demand.is_empty() && torrent.is_some() => {
                Some("a torrent and a demand exclude each other".to_owned())
            }
            Population { demand, has, .. } if !demand.is_empty() && *has != Percent(0) => {
                Some("has a part of one torrent, and wants several: use holds".to_owned())
            }
            Population { fetches, .. } if !(1..=most).contains(fetches) => Some(format!(
                "fetches {fetches}: from 1 to the {most} that it wants"
            )),
            Population { demand, holds, .. } if demand.is_empty() && holds.contains(own) => {
                Some(format!("holds {own:?}: write has = \"100%\""))
            }
            _ => None,
        }
    }

    fn problem_of_credit(&self, population: &Population) -> Option<String> {
        let offered = population.ask.map(|price| price.0.get());
        let bid = population.boost.map(|boost| boost.bid.0.get());
        if population.slots == 0 || population.slots > SLOTS_MAX {
            Some(format!("{} slots: from 1 to {SLOTS_MAX}", population.slots))
        } else if population.boost.is_some() && self.network.is_none() {
            Some("who boosts needs a [network]".to_owned())
        } else if population.boost.is_some() && !population.receipts {
            Some("who boosts needs receipts".to_owned())
        } else if population.grant.is_some_and(|grant| grant.0 > GRANT_MAX) {
            Some("grant: 1000000cr is the most".to_owned())
        } else if offered
            .into_iter()
            .chain(bid)
            .any(|price| price > PRICE_MAX)
        {
            Some("no price is above 1000000cr/GiB".to_owned())
        } else {
            None
        }
    }

    /// Who comes on an event needs one, and nobody else has one.
    fn problem_of_joining(&self, population: &Population) -> Option<String> {
        let joins = |event: &&PlannedEvent| {
            let is_join = matches!(event, PlannedEvent::Join { .. });
            is_join && event.population() == Some(&population.name)
        };
        let count = self.events.iter().filter(joins).count();
        match (&population.arrivals, count) {
            (ArrivalPlan::OnEvent, 0) => {
                Some("comes on an event, and no event has it join".to_owned())
            }
            (ArrivalPlan::OnEvent, 1) | (_, 0) => None,
            (ArrivalPlan::OnEvent, _) => Some("joins at two events".to_owned()),
            _ => Some("joins at an event, but its arrivals are not on-event".to_owned()),
        }
    }

    pub(super) fn problem_of_event(&self, event: &PlannedEvent) -> Option<String> {
        let names = || self.populations.iter().map(|known| known.name.as_str());
        if let Some(name) = event.population()
            && !names().any(|known| known == name)
        {
            return Some(nobody("population", name, names()));
        }
        match event {
            PlannedEvent::SettlementDown { .. } | PlannedEvent::Grant { .. }
                if self.network.is_none() =>
            {
                Some("there is no [network]".to_owned())
            }
            PlannedEvent::Grant { amount, .. } if amount.0 > GRANT_MAX => {
                Some("amount: 1000000cr is the most".to_owned())
            }
            PlannedEvent::Grant {
                every: Some(every), ..
            } if every.0 < AGAIN_MIN => Some("every: at least 1s".to_owned()),
            PlannedEvent::Change { population, .. } => self.problem_of_change(event, population),
            _ => None,
        }
    }

    /// What would be wrong with a population that is changed so.
    fn problem_of_change(&self, event: &PlannedEvent, name: &str) -> Option<String> {
        let known = self.populations.iter().find(|known| known.name == name)?;
        let mut changed = known.clone();
        changed.change(event);
        match event.is_empty() {
            true => Some(format!("changes nothing of {name:?}")),
            false => self.problem_of_credit(&changed),
        }
    }
}

impl Population {
    /// What is wrong with the moments at which it comes.
    pub(in super::super) fn problem_of_trace(&self) -> Option<String> {
        match &self.arrivals {
            ArrivalPlan::Trace { times, .. } if times.len() as u64 != self.count => {
                Some(format!("{} times for {} peers", times.len(), self.count))
            }
            _ => None,
        }
    }

    fn problem_of_stay(&self) -> Option<String> {
        let churn = self.churn.as_ref()?;
        let online = match churn.online {
            TimeSpan::Within { least, .. } => least,
            TimeSpan::Exponential { mean } => mean,
        };
        (online < AGAIN_MIN).then(|| "churn: online for at least 1s at a time".to_owned())
    }

    /// Does as the event says from now on.
    pub fn change(&mut self, event: &PlannedEvent) {
        let PlannedEvent::Change {
            ask,
            upload_limit,
            open_share,
            slots,
            paid_rule,
            boost,
            ..
        } = event
        else {
            return;
        };
        self.ask = ask.or(self.ask);
        self.upload_limit = upload_limit.or(self.upload_limit);
        self.open_share = open_share.unwrap_or(self.open_share);
        self.slots = slots.unwrap_or(self.slots);
        self.paid_rule = paid_rule.or(self.paid_rule);
        self.boost = boost.or(self.boost);
    }

    /// Whether it comes for something; otherwise it is of seeds.
    pub fn wants(&self) -> bool {
        self.has.0 < 100
    }

    /// Whether it comes one by one without end in sight: what is measured of it depends on how it
    /// began.
    pub fn is_open(&self) -> bool {
        match &self.arrivals {
            ArrivalPlan::Poisson { .. } | ArrivalPlan::Trace { .. } => true,
            ArrivalPlan::AtOnce { .. } | ArrivalPlan::Flash { .. } | ArrivalPlan::OnEvent => false,
        }
    }
}

impl LinePlan {
    fn problem(&self) -> Option<String> {
        let drawn = [
            self.uplink.is_some(),
            self.profile.is_some(),
            self.table.is_some(),
            self.csv.is_some(),
        ];
        let named = drawn.iter().filter(|is_there| **is_there).count();
        let delay = match self.delay {
            TimeSpan::Within { most, .. } => most,
            TimeSpan::Exponential { mean } => mean,
        };
        let rates = [self.uplink, self.downlink, self.uplink_max];
        let what = if named > 1 {
            "an uplink, a profile, a table and a csv exclude each other"
        } else if named == 0 {
            "its line needs an uplink, a profile, a table or a csv"
        } else if rates.iter().flatten().any(|rate| rate.0 > RATE_MAX) {
            "no line is faster than 1TB/s"
        } else if self.downlink_factor == 0 {
            "a downlink_factor of 0 carries nothing"
        } else if self.loss_ppm > 250_000 {
            "loses more than a quarter"
        } else if [delay, self.buffer.0, self.jitter.0]
            .iter()
            .any(|time| *time > DELAY_MAX)
        {
            "delay, jitter and buffer are at most 60s"
        } else {
            return None;
        };
        Some(what.to_owned())
    }
}
