//! A run that may break an assertion of ours: the others go on.

use std::panic::{AssertUnwindSafe, catch_unwind};

use seedbank_sim::scenario::Scenario;

/// What came of it, or why it failed, in one line.
pub(super) fn play<T>(scenario: &Scenario, play: impl FnOnce(&Scenario) -> T) -> Result<T, String> {
    catch_unwind(AssertUnwindSafe(|| play(scenario))).map_err(|panic| {
        let said = panic.downcast_ref::<String>().cloned();
        let said = said.or_else(|| Some((*panic.downcast_ref::<&str>()?).to_owned()));
        let said = said.unwrap_or_else(|| "it panicked".to_owned());
        said.split_whitespace().collect::<Vec<_>>().join(" ")
    })
}

/// A line for each run that failed, of two variants under the seeds from 1 on.
pub(super) fn failures<T>(variants: [&str; 2], done: &[Vec<Result<T, String>>; 2]) -> Vec<String> {
    let of_variant = |(name, runs): (&str, &Vec<Result<T, String>>)| {
        let failed = (1..).zip(runs).filter_map(|(seed, run): (u64, _)| {
            let error = run.as_ref().err()?;
            Some(format!("failed: {name}, seed {seed}: {error}"))
        });
        failed.collect::<Vec<String>>()
    };
    variants
        .into_iter()
        .zip(done)
        .flat_map(of_variant)
        .collect()
}
