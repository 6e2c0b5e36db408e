//! What came of one run, as it is kept.

use seedbank_sim::demo::seconds;
use seedbank_sim::design::{Design, PlannedRun, label};
use seedbank_sim::frame::Frame;
use seedbank_sim::measure::Durations;
use seedbank_sim::play::PlayOutcome;
use seedbank_sim::scenario::Scenario;
use serde::{Deserialize, Serialize};

use crate::cli::files::{OutFolder, WallClock};
use crate::cli::{SimFailure, attempt};

/// What came of a run.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(in crate::cli) struct KeptRun {
    pub(super) run_id: String,
    variant: u64,
    pub(super) label: String,
    pub(super) seed: u64,
    /// Why it failed; nothing else is there then.
    pub(in crate::cli) error: Option<String>,
    pub(super) state_hash: String,
    lasted_s: f64,
    pub(super) events: u64,
    /// How long it took here; in no file that two sweeps have in common.
    pub(super) wall_s: f64,
    peers: Frame,
    /// Of each population that comes for something, in the scenario's order.
    pub(super) took: Vec<PopulationTook>,
}

/// Seconds in which a tenth, a half and nine tenths of a population were done, without its warm-up.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(super) struct PopulationTook {
    pub(super) population: String,
    /// How many of those who came first are left out.
    pub(super) warm_up: usize,
    pub(super) p10: Option<f64>,
    pub(super) median: Option<f64>,
    pub(super) p90: Option<f64>,
}

/// One of the quantiles.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum TookQuantile {
    P10,
    Median,
    P90,
}

impl TookQuantile {
    pub(super) const ALL: [Self; 3] = [Self::P10, Self::Median, Self::P90];

    pub(super) fn name(self) -> &'static str {
        match self {
            Self::P10 => "p10",
            Self::Median => "median",
            Self::P90 => "p90",
        }
    }

    /// The heading of how many runs have none, because so many were never done.
    pub(super) fn never(self) -> &'static str {
        match self {
            Self::P10 => "never a tenth",
            Self::Median => "never half",
            Self::P90 => "never nine tenths",
        }
    }

    pub(super) fn of(self, took: &PopulationTook) -> Option<f64> {
        match self {
            Self::P10 => took.p10,
            Self::Median => took.median,
            Self::P90 => took.p90,
        }
    }
}

/// Plays a run, and keeps what comes of it; `None` if nothing does, because it was stopped.
pub(in crate::cli) fn play_one(
    design: &Design,
    run: &PlannedRun,
    play: impl FnOnce(&Scenario) -> Option<PlayOutcome>,
) -> Option<KeptRun> {
    let begin = WallClock::start();
    let mut kept = KeptRun::nothing_of(design, run);
    match attempt::play(&run.scenario, play) {
        Ok(played) => kept.fill(&run.scenario, &played?),
        // A run that breaks an assertion of ours is a row, and the others go on.
        Err(said) => kept.error = Some(said),
    }
    kept.wall_s = begin.elapsed().as_secs_f64();
    Some(kept)
}

/// What was kept of a run; `None` if there is nothing whole.
pub(in crate::cli) fn read(out: &OutFolder, run: &PlannedRun) -> Option<KeptRun> {
    serde_json::from_str(&out.part(&run.id())?).ok()
}

/// Whether a run was done, and did not fail.
pub(super) fn is_done(out: &OutFolder, run: &PlannedRun) -> bool {
    read(out, run).is_some_and(|kept| kept.error.is_none())
}

impl KeptRun {
    fn nothing_of(design: &Design, run: &PlannedRun) -> Self {
        Self {
            run_id: run.id(),
            variant: variant_of(run),
            label: label(&design.variants[run.variant]),
            seed: run.scenario.run.seed,
            error: None,
            state_hash: String::new(),
            lasted_s: 0.0,
            events: 0,
            wall_s: 0.0,
            peers: PlayOutcome::default().peers_frame(),
            took: Vec::new(),
        }
    }

    fn fill(&mut self, scenario: &Scenario, played: &PlayOutcome) {
        self.state_hash = played.state_hash();
        self.lasted_s = seconds(played.lasted);
        self.events = played.handled;
        self.error = played.checks.violations.first().cloned();
        self.peers = played.peers_frame();
        let plans = scenario.populations.iter().filter(|plan| plan.wants());
        let took = plans.map(|plan| {
            let durations = Durations::of(played, plan);
            PopulationTook {
                population: plan.name.clone(),
                warm_up: durations.warm_up,
                p10: durations.quantile(0.1),
                median: durations.median(),
                p90: durations.quantile(0.9),
            }
        });
        self.took = took.collect();
    }

    /// The same run of another design, in which it may be of another variant.
    pub(super) fn named_in(self, design: &Design, run: &PlannedRun) -> Self {
        Self {
            variant: variant_of(run),
            label: label(&design.variants[run.variant]),
            ..self
        }
    }

    /// Keeps it.
    pub(in crate::cli) fn put(&self, out: &OutFolder) -> Result<(), SimFailure> {
        let text = serde_json::to_string(self).expect("texts and numbers only");
        out.put_part(&self.run_id, &text)
    }

    /// The medians of these populations; or why it failed.
    pub(in crate::cli) fn medians(&self, names: &[String]) -> Result<Vec<Option<f64>>, String> {
        let median = |name: &String| self.quantile(name, TookQuantile::Median);
        match &self.error {
            Some(error) => Err(error.clone()),
            None => Ok(names.iter().map(median).collect()),
        }
    }

    /// A quantile of a population; `None` if so many were never done, or the run failed.
    pub(super) fn quantile(&self, population: &str, which: TookQuantile) -> Option<f64> {
        let took = self
            .took
            .iter()
            .find(|took| took.population == population)?;
        which.of(took)
    }

    pub(in crate::cli) fn run_frame(&self) -> Frame {
        let rows = [self];
        Frame::default()
            .text("run_id", &rows, |kept| kept.run_id.clone())
            .whole("variant", &rows, |kept| kept.variant)
            .text("label", &rows, |kept| kept.label.clone())
            .whole("seed", &rows, |kept| kept.seed)
            .text("error", &rows, |kept| {
                kept.error.clone().unwrap_or_default()
            })
            .text("state_hash", &rows, |kept| kept.state_hash.clone())
            .number("lasted_s", &rows, |kept| Some(kept.lasted_s))
            .whole("events", &rows, |kept| kept.events)
    }

    /// The peers of this run, each with what run it was in.
    pub(in crate::cli) fn peer_frame(self) -> Frame {
        let rows = vec![(); self.peers.len()];
        let run = Frame::default()
            .text("run_id", &rows, |()| self.run_id.clone())
            .whole("variant", &rows, |()| self.variant)
            .whole("seed", &rows, |()| self.seed);
        run.beside(self.peers)
    }
}

fn variant_of(run: &PlannedRun) -> u64 {
    u64::try_from(run.variant).expect("few")
}
