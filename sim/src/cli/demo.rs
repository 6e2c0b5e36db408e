//! What `seedbankd demo` will come to.

use seedbank_ledger::Duration;
use seedbank_sim::demo::{Demo, DemoOutcome, Prediction, Span, Times};

use super::{REFUTED, SimFailure, say};

pub(super) fn run(rng_seed: u64) -> Result<(), SimFailure> {
    let scenario = Demo {
        rng_seed,
        ..Demo::default()
    };
    let scenarios = Prediction::scenarios(&scenario);
    let outcomes: Result<Vec<DemoOutcome>, String> = scenarios.iter().map(Demo::predict).collect();
    let prediction = Prediction::of(outcomes.map_err(SimFailure::new)?);
    let mut holds = true;
    for (scenario, outcome) in scenarios.iter().zip(&prediction.runs) {
        let times = &outcome.times;
        say(format_args!(
            "up for {}, seed {}: payer {}; others {}; without payment {}",
            scenario.up_for,
            scenario.rng_seed,
            times.paid,
            list(&times.unpaid),
            list(&times.control)
        ));
        for finding in outcome.findings() {
            let word = if finding.holds { "yes" } else { "NO " };
            say(format_args!("  {word}  {}", finding.claim));
            holds &= finding.holds;
        }
    }
    for (condition, runs) in [
        ("as it is", &prediction.runs),
        (
            "leechers upload as much as the seeder",
            &prediction.plentiful,
        ),
        (
            "the payer's line is a quarter of the seeder's",
            &prediction.slow_payer,
        ),
    ] {
        let (gain, own) = (Span::over(runs, Times::gain), Span::over(runs, Times::own));
        say(format_args!(
            "{condition}: {gain:.2}× sooner, {own:.2} of the time without payment"
        ));
    }
    match holds {
        true => Ok(()),
        false => Err(SimFailure {
            code: REFUTED,
            problem: String::new(),
        }),
    }
}

fn list(times: &[Duration]) -> String {
    let times: Vec<String> = times.iter().map(ToString::to_string).collect();
    times.join(" ")
}
