//! Runs scenarios, names them, and writes new ones.

use std::path::Path;
use std::time::Duration;

use seedbank_sim::demo::seconds;
use seedbank_sim::design::{Design, FieldSetting, files_named};
use seedbank_sim::library::{LIBRARY, TEMPLATE};
use seedbank_sim::play::{PlayOutcome, outcome_unless};
use seedbank_sim::scenario::Scenario;
use serde_json::json;

use super::args::{NewArgs, RunArgs};
use super::cost::{CpuClock, PlayCost};
use super::progress::RunProgress;
use super::{REFUTED, SimFailure, files, say, summary, twin};

pub(super) fn run(args: &RunArgs) -> Result<(), SimFailure> {
    let scenario = read(args)?;
    let out = args
        .out
        .as_deref()
        .map(files::OutFolder::make)
        .transpose()?;
    let (begin, cpu) = (files::WallClock::start(), CpuClock::start());
    let mut progress = RunProgress::new(args.quiet);
    let played = outcome_unless(&scenario, |so_far| progress.show(so_far), || false);
    let played = played.expect("nobody stops it");
    progress.end();
    let took = begin.elapsed();
    let cost = PlayCost::of(&played, &cpu);
    let summaries = summary::of(&scenario, &played);
    let mut manifest = manifest(&scenario, &played, took, &cost);
    manifest["command"] = files::typed().into();
    manifest["repeat"] = "seedbank-sim run scenario.toml    # in this folder".into();
    let broken = broken(&played);
    if let Some(out) = &out {
        out.write(&played, &manifest)?;
    }
    if args.json {
        say(json!({ "manifest": manifest, "populations": summaries }));
        return broken;
    }
    say(format_args!(
        "{} (seed {})",
        scenario.run.name, scenario.run.seed
    ));
    say(summary::table(&summaries));
    summary::notes(&summaries).iter().for_each(say);
    say(format_args!(
        "{} of virtual time in {:.1} s, {} events; state {}",
        played.lasted,
        took.as_secs_f64(),
        played.handled,
        manifest["state_hash"].as_str().unwrap_or_default()
    ));
    say(cost.line());
    say(summary::checks(&played.checks));
    if args.twins {
        twin::gains(&scenario, &played).iter().for_each(say);
    } else if !twin::strategic(&scenario).is_empty() {
        say("what a strategy gains over its honest twin: --twins, or compare … --twin all");
    }
    broken
}

/// What was looked at all the time has to hold, whatever else came of it.
fn broken(played: &PlayOutcome) -> Result<(), SimFailure> {
    match played.checks.violations.is_empty() {
        true => Ok(()),
        false => Err(SimFailure {
            code: REFUTED,
            problem: played.checks.violations.join("\n"),
        }),
    }
}

pub(super) fn list() -> Result<(), SimFailure> {
    for included in LIBRARY {
        let scenario = Scenario::parse(included.name, included.text).map_err(SimFailure::new)?;
        say(format_args!(
            "{}\n  {}\n",
            included.name,
            scenario.run.about.trim().replace('\n', "\n  ")
        ));
    }
    say("Run one by its name, or begin with a copy: seedbank-sim new FILE --from NAME");
    Ok(())
}

pub(super) fn new(args: &NewArgs) -> Result<(), SimFailure> {
    let known = |name: &String| {
        let found = LIBRARY.iter().find(|included| included.name == *name);
        found
            .map(|included| included.text)
            .ok_or_else(|| unknown(name))
    };
    let text = args.from.as_ref().map_or(Ok(TEMPLATE), known)?;
    files::write_new(&args.file, text)?;
    let file = args.file.display();
    say(format_args!(
        "wrote {file}; run it: seedbank-sim run {file}"
    ));
    Ok(())
}

/// A scenario by its file, or by the name of one that is compiled in, with these fields set.
pub(super) fn design(name: &str, set: &[String]) -> Result<Design, SimFailure> {
    let included = LIBRARY.iter().find(|included| included.name == name);
    let text = match included {
        Some(included) => included.text.to_owned(),
        None if name.contains(['.', '/']) => files::read(Path::new(name))?,
        None => return Err(unknown(name)),
    };
    let mut design = of_text(name, &text)?;
    for text in set {
        let setting = FieldSetting::parse(text).map_err(SimFailure::usage)?;
        design = design.crossed_with(&[setting]);
    }
    take_in(&mut design, name)?;
    Ok(design)
}

/// A scenario of this text, and of the files that it names beside it.
pub(super) fn of_text(name: &str, text: &str) -> Result<Design, SimFailure> {
    let beside = files::beside(Path::new(name), files_named(text))?;
    Design::with_files(name, text, beside).map_err(SimFailure::usage)
}

/// Reads the files that settings name, beside the scenario.
pub(super) fn take_in(design: &mut Design, scenario: &str) -> Result<(), SimFailure> {
    let names = design.files_set();
    design
        .files
        .extend(files::beside(Path::new(scenario), names)?);
    Ok(())
}

fn read(args: &RunArgs) -> Result<Scenario, SimFailure> {
    let mut design = design(&args.scenario, &args.set)?;
    if let Some(seed) = args.seed {
        design.seeds = vec![seed];
    }
    let mut runs = design.runs().map_err(SimFailure::usage)?;
    Ok(runs.remove(0).scenario)
}

fn unknown(name: &str) -> SimFailure {
    let names = LIBRARY.iter().map(|included| included.name);
    let meant = seedbank_engine::text::similar(name, names);
    let meant = meant.map_or_else(String::new, |name| format!("; did you mean {name}?"));
    SimFailure::usage(format_args!(
        "there is no scenario {name:?}{meant} A file's name has a dot; `seedbank-sim list` has \
         those that are included"
    ))
}

/// What a result is a result of.
pub(super) fn manifest(
    scenario: &Scenario,
    played: &PlayOutcome,
    took: Duration,
    cost: &PlayCost,
) -> serde_json::Value {
    json!({
        "kind": "run",
        "version": env!("CARGO_PKG_VERSION"),
        "scenario_hash": scenario.hash(),
        "seed": scenario.run.seed,
        "state_hash": played.state_hash(),
        "virtual_seconds": seconds(played.lasted),
        "events": played.handled,
        "signatures": played.signatures,
        "checks": {
            "busy_stretches": played.checks.stretches,
            "shortfall_max_percent": played.checks.short_max,
            "waits": played.checks.waits,
            "wait_max_percent": played.checks.wait_max,
            "violations": played.checks.violation_count,
        },
        "wall_seconds": took.as_secs_f64(),
        "events_per_second": events_per_second(played.handled, took.as_secs_f64()),
        "cost": cost,
        "scenario": scenario.canonical(),
    })
}

pub(super) fn events_per_second(events: u64, seconds: f64) -> f64 {
    #[expect(clippy::cast_precision_loss, reason = "a speed to read")]
    let events = events as f64;
    events / seconds.max(1e-9)
}
