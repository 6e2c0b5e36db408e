//! Plays scenarios, each in its tier: everybody who plays one comes through here.

use super::{Play, PlayOutcome, PlayProgress};
use crate::flow::FlowPlay;
use crate::scenario::{Scenario, Tier};

/// Plays a scenario in its tier.
pub fn outcome(scenario: &Scenario) -> PlayOutcome {
    let played = outcome_unless(scenario, |_| (), || false);
    played.expect("nobody stops it")
}

/// The same, while somebody is told now and then how far it is; `None` if `stop`, which is asked
/// often, says so first.
pub fn outcome_unless(
    scenario: &Scenario,
    watch: impl FnMut(&PlayProgress),
    stop: impl Fn() -> bool,
) -> Option<PlayOutcome> {
    match scenario.run.tier {
        Tier::Block => Play::new(scenario).run_unless(watch, stop),
        Tier::Flow => FlowPlay::new(scenario).run_unless(watch, stop),
    }
}
