//! The simulator as a module of Python, the part in Rust: scenarios in, Arrow out.
//!
//! `scenario` reads what Python says of one, `table` gives out what came of it, `strategy` asks
//! Python's functions, `waiting` lets its signals through meanwhile. What users see is
//! `python/seedbank_sim/__init__.py`.
//! Whatever is played, of whichever tier, is played by [`seedbank_sim::cli::front`].

mod scenario;
mod strategy;
mod table;
mod waiting;

use std::num::NonZeroUsize;
use std::path::PathBuf;
use std::sync::Mutex;

use pyo3::exceptions::{PyRuntimeError, PyValueError};
use pyo3::prelude::*;
use pyo3::types::PyDict;
use seedbank_sim::cli::SimFailure;
use seedbank_sim::cli::front::{self, Sweep};
use seedbank_sim::library::LIBRARY;

use strategy::AskedStrategy;
use table::ArrowTable;

pyo3::create_exception!(
    seedbank_sim,
    ScenarioError,
    PyValueError,
    "No sound scenario: says the file, the line, and which word was meant."
);
pyo3::create_exception!(
    seedbank_sim,
    SimulationError,
    PyRuntimeError,
    "A run or a sweep that was begun and could not be done."
);

/// In place of a population: all of them.
const ALL: &str = "";

/// A sweep's results.
type SweepTables = (ArrowTable, ArrowTable);

fn failure(error: SimFailure) -> PyErr {
    match error.is_usage() {
        true => ScenarioError::new_err(error.to_string()),
        false => SimulationError::new_err(error.to_string()),
    }
}

/// Names and texts of the scenarios that come with the simulator.
#[pyfunction]
fn library() -> Vec<(&'static str, &'static str)> {
    let each = LIBRARY.iter();
    each.map(|included| (included.name, included.text))
        .collect()
}

/// What came of a run: peers, fetches, series, and the manifest as JSON.
type RunTables = (ArrowTable, ArrowTable, ArrowTable, String);

/// Plays a scenario by strategies, if there are any: functions by populations.
#[pyfunction]
fn run(
    py: Python<'_>,
    scenario: &Bound<'_, PyAny>,
    file: Option<&str>,
    overrides: &Bound<'_, PyDict>,
    seed: Option<u64>,
    strategies: &Bound<'_, PyDict>,
) -> PyResult<RunTables> {
    let mut design = scenario::design(scenario, file)?;
    design.variants = vec![scenario::settings(overrides)?];
    front::take_in(&mut design, file.unwrap_or_default()).map_err(failure)?;
    if let Some(seed) = seed {
        design.seeds = vec![seed];
    }
    let mut runs = design.runs().map_err(scenario::refused)?;
    let scenario = runs.remove(0).scenario;
    let mut populations: Vec<String> = strategies.keys().extract()?;
    if strategies.contains(ALL)? {
        let all = scenario.populations.iter();
        populations = all.map(|plan| plan.name.clone()).collect();
    }
    front::check_strategies(&scenario, &populations).map_err(failure)?;
    let played = waiting::until_done(
        py,
        |stop, told| {
            let mut strategy = AskedStrategy { populations, told };
            front::play_until(&scenario, &mut strategy, stop)
        },
        |py, asked: strategy::RoundAsked| {
            let own = strategies.get_item(asked.population())?;
            let strategy = own.or(strategies.get_item(ALL)?);
            asked.put_to(py, &strategy.expect("those that are there are asked"))
        },
    )?;
    let (played, manifest) = played.ok_or_else(|| SimulationError::new_err("stopped"))?;
    let table = |frame| ArrowTable::of(&[frame]);
    let peers = table(played.peers_frame());
    let fetches = table(played.fetches_frame());
    Ok((peers, fetches, table(played.series_frame()), manifest))
}

/// Where results go, and how they are made.
#[derive(FromPyObject)]
struct SweepPlan {
    #[pyo3(item)]
    seeds: Vec<u64>,
    #[pyo3(item)]
    jobs: Option<NonZeroUsize>,
    #[pyo3(item)]
    out: Option<PathBuf>,
    #[pyo3(item)]
    resume: bool,
    /// What to type for the same.
    #[pyo3(item)]
    repeat: String,
}

/// Runs every variant under every seed: a row for each run, and the peers of all.
#[pyfunction]
fn sweep(
    py: Python<'_>,
    scenario: &Bound<'_, PyAny>,
    file: Option<&str>,
    variants: Vec<Bound<'_, PyDict>>,
    plan: SweepPlan,
    progress: Option<Bound<'_, PyAny>>,
) -> PyResult<SweepTables> {
    let mut design = scenario::design(scenario, file)?;
    let variants = variants.iter().map(scenario::settings);
    design.variants = variants.collect::<PyResult<_>>()?;
    design.seeds = plan.seeds;
    front::take_in(&mut design, file.unwrap_or_default()).map_err(failure)?;
    let sweep = Sweep::new(design, plan.out.as_deref(), plan.resume).map_err(failure)?;
    let (total, mut done, mut failed) = (sweep.run_count(), 0, 0);
    let ended = waiting::until_done(
        py,
        |stop, told| {
            let told = Mutex::new(told);
            sweep.run(plan.jobs, &plan.repeat, stop, |is_ok| {
                // Who waits is gone only if it stopped the sweep.
                let _ = told.lock().map(|told| told.send(is_ok));
            })
        },
        |_, is_ok| {
            done += 1;
            failed += usize::from(!is_ok);
            match &progress {
                Some(progress) => progress.call1((done, total, failed)).map(drop),
                None => Ok(()),
            }
        },
    )?;
    if !ended.map_err(failure)? {
        return Err(SimulationError::new_err("stopped"));
    }
    let (runs, peers) = py.detach(|| sweep.frames()).map_err(failure)?;
    Ok((ArrowTable::of(&runs), ArrowTable::of(&peers)))
}

#[pymodule]
fn _native(module: &Bound<'_, PyModule>) -> PyResult<()> {
    module.add("__version__", env!("CARGO_PKG_VERSION"))?;
    module.add("ScenarioError", module.py().get_type::<ScenarioError>())?;
    module.add("SimulationError", module.py().get_type::<SimulationError>())?;
    module.add_class::<ArrowTable>()?;
    module.add_function(wrap_pyfunction!(library, module)?)?;
    module.add_function(wrap_pyfunction!(run, module)?)?;
    module.add_function(wrap_pyfunction!(sweep, module)?)
}
