//! What of a scenario its tier does not play: refused by its key, never left out in silence.

use seedbank_engine::transfer::choker::ROUND;

use super::super::{
    FLOW_PEERS_MAX, LinePlan, PEERS_MAX, PaidRulePlan, PlannedEvent, Population, Scenario,
    StrategyPlan, THREADS_MAX, Tier,
};
use super::Flaw;
use crate::flow;

/// Neighbours of all peers together that the flow tier has room for.
const NEIGHBOURS_MAX: usize = 500_000_000;
const NANOS_PER_MS: u64 = 1_000_000;

impl Scenario {
    /// What is wrong with how many there are, and how closely they are looked at.
    pub(super) fn problem_of_size(&self) -> Option<String> {
        let count = self.peer_count();
        let run = &self.run;
        let most = match run.tier {
            Tier::Block => PEERS_MAX,
            Tier::Flow => FLOW_PEERS_MAX,
        };
        let step = run.step.map(|step| step.0.as_nanos());
        let is_part = |step: u64| {
            step > 0 && step.is_multiple_of(NANOS_PER_MS) && ROUND.as_nanos().is_multiple_of(step)
        };
        if count > most {
            return Some(match run.tier {
                Tier::Block => format!(
                    "{count} peers: the block tier takes {most}, tier = \"flow\" {FLOW_PEERS_MAX}"
                ),
                Tier::Flow => format!("{count} peers: the flow tier takes {most}"),
            });
        }
        if !(1..=THREADS_MAX).contains(&run.threads) {
            return Some(format!("{} threads: from 1 to {THREADS_MAX}", run.threads));
        }
        if step.is_some_and(|step| !is_part(step)) {
            return Some("step: a part of 10s in whole milliseconds, as 1s or 2500ms".to_owned());
        }
        let peers = usize::try_from(count).ok()?;
        let slots = flow::stride(self.overlay, peers).saturating_mul(peers);
        (run.tier == Tier::Flow && slots > NEIGHBOURS_MAX).then(|| {
            format!(
                "overlay: each of {count} peers may know {} others, and the flow tier has room for \
                 {NEIGHBOURS_MAX} in all: write a smaller degree, or fewer peers",
                slots / peers.max(1)
            )
        })
    }

    /// What only the block tier plays.
    pub(super) fn problem_of_tier(&self) -> Option<Flaw> {
        if self.run.tier == Tier::Block {
            return None;
        }
        let flaw = |place, key: String| Flaw {
            place,
            what: format!(
                "{key}: the flow tier does not play it: leave it out, or play it with \
                 tier = \"block\""
            ),
        };
        if self.run.real_signatures {
            return Some(flaw(("run", 0), "real_signatures".to_owned()));
        }
        let network = self.network.as_ref();
        if network.is_some_and(|plan| plan.paid_rule != PaidRulePlan::TopK) {
            return Some(flaw(("network", 0), "paid_rule".to_owned()));
        }
        let populations = self.populations.iter().enumerate();
        let mut of_block =
            populations.filter_map(|(index, it)| Some((index, &it.name, it.of_block_tier()?)));
        if let Some((index, name, key)) = of_block.next() {
            return Some(flaw(("population", index), format!("{name:?}: {key}")));
        }
        let mut events = self.events.iter().enumerate();
        events.find_map(|(index, event)| {
            let key = match event {
                PlannedEvent::Change { boost: Some(_), .. } => "boost",
                PlannedEvent::Change {
                    paid_rule: Some(rule),
                    ..
                } if *rule != PaidRulePlan::TopK => "paid_rule",
                _ => return None,
            };
            Some(flaw(("event", index), key.to_owned()))
        })
    }
}

impl Population {
    /// The key of something that only the block tier plays.
    fn of_block_tier(&self) -> Option<&'static str> {
        let is_played = matches!(
            self.strategy,
            StrategyPlan::Honest {} | StrategyPlan::FreeRider {}
        );
        let keys = [
            (!is_played, "strategy"),
            (!self.demand.is_empty(), "demand"),
            (!self.holds.is_empty(), "holds"),
            (self.spend_per_day_max.is_some(), "spend_per_day_max"),
            (
                self.paid_rule
                    .is_some_and(|rule| rule != PaidRulePlan::TopK),
                "paid_rule",
            ),
        ];
        let own = keys.into_iter().find(|(is_there, _)| *is_there);
        own.map(|(_, key)| key)
            .or_else(|| self.line.of_block_tier())
    }
}

impl LinePlan {
    /// The same of a line.
    fn of_block_tier(&self) -> Option<&'static str> {
        let usual = Self::default();
        let keys = [
            (self.jitter != usual.jitter, "jitter"),
            (self.loss_ppm != usual.loss_ppm, "loss_ppm"),
            (self.buffer != usual.buffer, "buffer"),
        ];
        let own = keys.into_iter().find(|(is_there, _)| *is_there);
        own.map(|(_, key)| key)
    }
}
