//! What the simulator says of a demo before it runs: a range, as chance has a part in it, and what
//! paying comes to where it buys little.

use std::fmt;

use seedbank_ledger::Duration;

use super::{Demo, DemoOutcome, Finding, Times, median, seconds};

/// When in the choker's round of 10 s the predicted races begin.
const PHASES: [Duration; 3] = [
    Duration::from_millis(1_000),
    Duration::from_millis(4_300),
    Duration::from_millis(7_600),
];
/// Seeds of every phase.
const SEEDS: u64 = 3;
/// What is measured may lie outside the range by such a part of its ends.
const TOLERANCE: f64 = 0.25;

/// From the least of several values to the most.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Span {
    /// The least.
    pub low: f64,
    /// The most.
    pub high: f64,
}

/// What several runs of a scenario came to under virtual time.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Prediction {
    /// The scenario itself, over phases and seeds.
    pub runs: Vec<DemoOutcome>,
    /// [`Demo::with_plentiful_upload`], a run for each seed.
    pub plentiful: Vec<DemoOutcome>,
    /// [`Demo::with_slow_payer`], a run for each seed.
    pub slow_payer: Vec<DemoOutcome>,
}

impl Prediction {
    /// What is to be run for it, each by [`Demo::predict`], in any order or all at once.
    pub fn scenarios(demo: &Demo) -> Vec<Demo> {
        let mut scenarios = Vec::new();
        for (variant, phases) in [
            (*demo, &PHASES[..]),
            (demo.with_plentiful_upload(), &PHASES[..1]),
            (demo.with_slow_payer(), &PHASES[..1]),
        ] {
            for phase in phases {
                scenarios.extend((0..SEEDS).map(|seed| Demo {
                    up_for: *phase,
                    rng_seed: variant.rng_seed.wrapping_add(seed),
                    ..variant
                }));
            }
        }
        scenarios
    }

    /// What [`Self::scenarios`] came to, in their order.
    ///
    /// # Panics
    /// If there are fewer.
    pub fn of(mut outcomes: Vec<DemoOutcome>) -> Self {
        let seeds = usize::try_from(SEEDS).expect("a few");
        let slow_payer = outcomes.split_off(seeds * (PHASES.len() + 1));
        let plentiful = outcomes.split_off(seeds * PHASES.len());
        assert_eq!(slow_payer.len(), seeds, "an outcome for each scenario");
        Self {
            runs: outcomes,
            plentiful,
            slow_payer,
        }
    }

    /// The range of a figure.
    pub fn span(&self, figure: impl Fn(&Times) -> f64) -> Span {
        Span::over(&self.runs, figure)
    }

    /// Whether what was measured is as predicted.
    pub fn finding(&self, measured: &Times) -> Finding {
        let payer = |times: &Times| seconds(times.paid);
        let others = |times: &Times| seconds(median(&times.unpaid));
        let is_as_predicted = |figure: &dyn Fn(&Times) -> f64| {
            let Span { low, high } = self.span(figure);
            let (low, high) = (low * (1.0 - TOLERANCE), high * (1.0 + TOLERANCE));
            (low..=high).contains(&figure(measured))
        };
        Finding::new(
            is_as_predicted(&payer) && is_as_predicted(&others),
            format!(
                "payer and median are within {:.0} % of what was predicted",
                TOLERANCE * 100.0
            ),
        )
    }
}

impl Span {
    /// The range of a figure over runs; of none it is empty.
    pub fn over(runs: &[DemoOutcome], figure: impl Fn(&Times) -> f64) -> Self {
        let empty = Self {
            low: f64::INFINITY,
            high: f64::NEG_INFINITY,
        };
        runs.iter().fold(empty, |span, run| {
            let value = figure(&run.times);
            Self {
                low: span.low.min(value),
                high: span.high.max(value),
            }
        })
    }
}

/// With one digit after the point, or as many as asked for.
impl fmt::Display for Span {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let digits = f.precision().unwrap_or(1);
        write!(f, "{:.digits$}–{:.digits$}", self.low, self.high)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::demo::Accounts;

    fn outcome(paid: u64, others: u64) -> DemoOutcome {
        DemoOutcome {
            times: Times {
                paid: Duration::from_secs(paid),
                unpaid: vec![Duration::from_secs(others); 2],
                control: vec![Duration::from_secs(others); 3],
            },
            accounts: Accounts::default(),
        }
    }

    #[test]
    fn what_is_measured_may_be_outside_the_prediction() {
        let prediction = Prediction {
            runs: vec![outcome(12, 35), outcome(10, 30)],
            plentiful: Vec::new(),
            slow_payer: Vec::new(),
        };
        let span = prediction.span(|times| seconds(times.paid));
        assert_eq!(span.to_string(), "10.0–12.0");
        for (paid, others, holds) in [
            (9, 30, true),
            (13, 40, true),
            (7, 30, false),
            (16, 35, false),
            (11, 22, false),
            (11, 44, false),
        ] {
            let finding = prediction.finding(&outcome(paid, others).times);
            assert_eq!(finding.holds, holds, "{paid} s and {others} s");
        }
    }
}
