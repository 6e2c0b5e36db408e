//! Plays scenarios, each in its tier: everybody who plays one comes through here.

use super::{Play, PlayOutcome, PlayProgress};
use crate::flow::{AsWritten, FlowPlay, RoundStrategy};
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
    outcome_by(scenario, &mut AsWritten, watch, stop)
}

/// The same by a strategy, which is asked in the flow tier only: there peers decide once a round,
/// while each of the block tier has an agent of its own.
pub fn outcome_by(
    scenario: &Scenario,
    strategy: &mut dyn RoundStrategy,
    watch: impl FnMut(&PlayProgress),
    stop: impl Fn() -> bool,
) -> Option<PlayOutcome> {
    match scenario.run.tier {
        Tier::Block => Play::new(scenario).run_unless(watch, stop),
        Tier::Flow => FlowPlay::new(scenario).run_unless(strategy, watch, stop),
    }
}
