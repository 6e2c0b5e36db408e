//! What fronts other than the command line call: `sim/python` plays and sweeps through this.
//!
//! A folder's joined files are what `seedbank-sim sweep` writes, to the byte, and its manifest is
//! of the same kind: either goes on with what the other began, and `report` makes a page of it.
//! Whoever waits can stop it: `stop` is looked at before every event of a play.

use std::num::NonZeroUsize;
use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Mutex, PoisonError};

use super::cost::{CpuClock, PlayCost};
use super::files::{OutFolder, WallClock};
use super::sweep::{self, KeptRun};
use super::{SimFailure, play, workers};
use crate::design::{Design, PlannedRun};
use crate::flow::RoundStrategy;
use crate::frame::Frame;
use crate::play::{PlayOutcome, outcome_by, outcome_unless};
use crate::scenario::{Scenario, Tier};

/// A scenario that comes with the simulator, or a file's, as written.
///
/// # Errors
/// If there is none of that name, or it is not sound.
pub fn find(name: &str) -> Result<Design, SimFailure> {
    play::design(name, &[])
}

/// A scenario of this text, and of the files that it names beside `file`.
///
/// # Errors
/// If it is not sound, or a file cannot be read.
pub fn design(file: &str, text: &str) -> Result<Design, SimFailure> {
    play::of_text(file, text)
}

/// Reads the files that a design's variants name, beside `file`.
///
/// # Errors
/// If one is there and cannot be read.
pub fn take_in(design: &mut Design, file: &str) -> Result<(), SimFailure> {
    play::take_in(design, file)
}

/// Whether peers of these populations can follow strategies that a front brings.
///
/// # Errors
/// If there is no such population, or the scenario is not played by rounds.
pub fn check_strategies(scenario: &Scenario, populations: &[String]) -> Result<(), SimFailure> {
    if !populations.is_empty() && scenario.run.tier != Tier::Flow {
        return Err(SimFailure::usage(
            "strategies decide once a round, which is how the flow tier is played: set run.tier \
             to \"flow\"",
        ));
    }
    let names = || scenario.populations.iter().map(|plan| plan.name.as_str());
    let Some(unknown) = populations
        .iter()
        .find(|name| !names().any(|it| it == **name))
    else {
        return Ok(());
    };
    let meant = seedbank_engine::text::similar(unknown, names());
    let meant = meant.map_or_else(String::new, |name| format!("; did you mean {name:?}?"));
    Err(SimFailure::usage(format_args!(
        "a strategy for {unknown:?}: there is no population of that name{meant}"
    )))
}

/// Plays a scenario by a strategy: what came of it, and its manifest as JSON. `None` if it was
/// stopped.
///
/// Every front comes through here, whichever the tier.
pub fn play_until(
    scenario: &Scenario,
    strategy: &mut dyn RoundStrategy,
    stop: &AtomicBool,
) -> Option<(PlayOutcome, String)> {
    let (begin, cpu) = (WallClock::start(), CpuClock::start());
    let played = outcome_by(scenario, strategy, |_| (), || stop.load(Ordering::Relaxed))?;
    let cost = PlayCost::of(&played, &cpu);
    let manifest = play::manifest(scenario, &played, begin.elapsed(), &cost);
    Some((played, manifest.to_string()))
}

fn play_unless(scenario: &Scenario, stop: &AtomicBool) -> Option<PlayOutcome> {
    outcome_unless(scenario, |_| (), || stop.load(Ordering::Relaxed))
}

/// A design that is being run, and what came of its runs so far.
#[derive(Debug)]
pub struct Sweep {
    /// The scenario as written.
    base: Design,
    design: Design,
    begun: WallClock,
    runs: Vec<PlannedRun>,
    kept: KeptRuns,
}

/// Where what came of each run is.
#[derive(Debug)]
enum KeptRuns {
    /// In the order of the runs.
    Memory(Mutex<Vec<Option<KeptRun>>>),
    Folder(OutFolder),
}

impl Sweep {
    /// Nothing is run yet. Results are kept in the folder, which must be new unless `resume`; or in
    /// memory, without one.
    ///
    /// # Errors
    /// A variant that fits no scenario; a folder of another design, or that cannot be made.
    pub fn new(design: Design, out: Option<&Path>, resume: bool) -> Result<Self, SimFailure> {
        let begun = WallClock::start();
        let mut base = design.clone();
        base.variants = vec![Vec::new()];
        let runs = design.runs().map_err(SimFailure::usage)?;
        let kept = match out {
            Some(path) => {
                let described = sweep::describe(&design, &runs);
                KeptRuns::Folder(OutFolder::resume(path, &described, resume)?)
            }
            None => KeptRuns::Memory(Mutex::new(runs.iter().map(|_| None).collect())),
        };
        Ok(Self {
            base,
            design,
            begun,
            runs,
            kept,
        })
    }

    /// How many runs there are.
    pub fn run_count(&self) -> usize {
        self.runs.len()
    }

    /// Runs what is not done, `jobs` at a time or as many as there are processors, and joins the
    /// folder's files; its manifest tells `repeat` to whoever wants the same. `told` hears of every
    /// run whether it went well, from the thread that did it.
    /// `false` if it was stopped: what was done by then is kept.
    ///
    /// # Errors
    /// What cannot be written.
    pub fn run(
        &self,
        jobs: Option<NonZeroUsize>,
        repeat: &str,
        stop: &AtomicBool,
        told: impl Fn(bool) + Sync,
    ) -> Result<bool, SimFailure> {
        let places = 0..self.runs.len();
        let todo: Vec<usize> = places.filter(|place| !self.is_done(*place)).collect();
        (todo.len()..self.runs.len()).for_each(|_| told(true));
        let ended = workers::each_told(&todo, workers::jobs(jobs), &told, |_, place| {
            let run = &self.runs[*place];
            let part = sweep::play_one(&self.design, run, |scenario| play_unless(scenario, stop));
            let part = part.ok_or_else(|| SimFailure::new("stopped"))?;
            let is_ok = part.error.is_none();
            self.keep(*place, part)?;
            Ok(is_ok)
        });
        if stop.load(Ordering::Relaxed) {
            return Ok(false);
        }
        ended?;
        match &self.kept {
            KeptRuns::Memory(_) => Ok(true),
            KeptRuns::Folder(out) => self.join(out, repeat).map(|()| true),
        }
    }

    /// What came of the runs, in the order of the design: a row for each, and then the peers of
    /// each, of which one that failed has none.
    ///
    /// # Errors
    /// If a run has not been done, or what came of it is gone.
    pub fn frames(&self) -> Result<(Vec<Frame>, Vec<Frame>), SimFailure> {
        let (mut runs, mut peers) = (Vec::new(), Vec::new());
        for (place, run) in self.runs.iter().enumerate() {
            let part = self.part(place);
            let missing = || SimFailure::new(format_args!("run {} has not been done", run.id()));
            let part = part.ok_or_else(missing)?;
            runs.push(part.run_frame());
            peers.push(part.peer_frame());
        }
        Ok((runs, peers))
    }

    fn join(&self, out: &OutFolder, repeat: &str) -> Result<(), SimFailure> {
        let joined = sweep::join(&self.runs, out)?;
        let mut manifest = joined.manifest(&self.base, &self.design, &self.runs);
        manifest["kind"] = "sweep".into();
        manifest["repeat"] = repeat.into();
        manifest["wall_seconds"] = self.begun.elapsed().as_secs_f64().into();
        out.put_manifest(&manifest)
    }

    fn is_done(&self, place: usize) -> bool {
        self.part(place).is_some_and(|part| part.error.is_none())
    }

    fn part(&self, place: usize) -> Option<KeptRun> {
        match &self.kept {
            KeptRuns::Memory(parts) => {
                parts.lock().unwrap_or_else(PoisonError::into_inner)[place].clone()
            }
            KeptRuns::Folder(out) => sweep::read(out, &self.runs[place]),
        }
    }

    fn keep(&self, place: usize, part: KeptRun) -> Result<(), SimFailure> {
        match &self.kept {
            KeptRuns::Memory(parts) => {
                parts.lock().unwrap_or_else(PoisonError::into_inner)[place] = Some(part);
                Ok(())
            }
            KeptRuns::Folder(out) => part.put(out),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cli::files;
    use crate::flow::AsWritten;
    use crate::play::Play;

    const SMALL: &str = "[[torrent]]\nlength = \"1MiB\"\npiece = \"64KiB\"\n\
        [[population]]\nname = \"seeder\"\ncount = 1\nhas = \"100%\"\n\
        line = { uplink = \"1MB/s\" }\n\
        [[population]]\nname = \"others\"\ncount = 2\nline = { uplink = \"1MB/s\" }\n";

    fn small() -> Design {
        let mut design = Design::of("small", SMALL).unwrap();
        design.seeds = (1..=3).collect();
        design
    }

    #[test]
    fn memory_and_folder_come_to_the_same_and_a_stopped_sweep_goes_on() {
        let go = AtomicBool::new(false);
        let memory = Sweep::new(small(), None, false).unwrap();
        assert!(memory.run(None, "", &go, |_| ()).unwrap());
        let temporary = tempfile::tempdir().unwrap();
        let out = temporary.path().join("out");
        let jobs = NonZeroUsize::new(1);
        let sweep = Sweep::new(small(), Some(&out), false).unwrap();
        let stop = AtomicBool::new(false);
        let stop_now = |_| stop.store(true, Ordering::Relaxed);
        assert!(
            !sweep.run(jobs, "", &stop, stop_now).unwrap(),
            "it was stopped"
        );
        assert!(sweep.frames().is_err());
        assert!(!out.join("runs.parquet").exists());
        assert!(Sweep::new(small(), Some(&out), false).is_err());
        let sweep = Sweep::new(small(), Some(&out), true).unwrap();
        let told = Mutex::new(0);
        assert!(
            sweep
                .run(jobs, "again", &go, |_| *told.lock().unwrap() += 1)
                .unwrap()
        );
        assert_eq!(
            told.into_inner().unwrap(),
            3,
            "what was done is counted too"
        );
        assert_eq!(sweep.frames().unwrap(), memory.frames().unwrap());
        assert!(out.join("runs.parquet").exists());
        let manifest = files::read_manifest(&out).unwrap();
        let manifest: serde_json::Value = serde_json::from_str(&manifest).unwrap();
        assert_eq!([&manifest["kind"], &manifest["repeat"]], ["sweep", "again"]);
        assert_eq!([&manifest["runs"], &manifest["failed"]], [3, 0]);
        assert_eq!(
            manifest["command"],
            serde_json::Value::Null,
            "nobody typed one"
        );
    }

    #[test]
    fn a_play_that_is_stopped_comes_to_nothing() {
        let design = small();
        let scenario = &design.runs().unwrap()[0].scenario;
        let mut nobody = AsWritten;
        let stopped = play_until(scenario, &mut nobody, &AtomicBool::new(true));
        assert_eq!(stopped, None);
        let played = play_until(scenario, &mut nobody, &AtomicBool::new(false));
        let (played, manifest) = played.unwrap();
        assert_eq!(played, Play::new(scenario).run());
        assert!(manifest.contains(&played.state_hash()));
    }
}
