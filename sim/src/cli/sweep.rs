//! Runs a design: every variant under every seed, some at a time, each kept as it is done.
//!
//! What came of a run (`kept`) is one file, written whole or not at all, so that a sweep that was
//! killed goes on where it was; at the end they are joined in the order of the design (`joined`).
//! The joined files are the same however often it was killed, however many ran at a time, and in
//! however many shards. `precision` says when there are enough.

mod joined;
mod kept;
mod precision;
#[cfg(test)]
mod tests;

use std::collections::BTreeSet;
use std::path::Path;

use seedbank_sim::design::{Design, FieldSetting, PlannedRun};
use seedbank_sim::play::outcome;

use super::args::SweepArgs;
use super::files::OutFolder;
use super::progress::SweepProgress;
use super::{SimFailure, files, play, say, workers};
pub(super) use joined::{describe, join};
pub(super) use kept::{KeptRun, play_one, read};
use kept::{TookQuantile, is_done};
use precision::Precision;
pub(super) use precision::{SEEDS_MIN, percent};

pub(super) fn run(args: &SweepArgs) -> Result<(), SimFailure> {
    let begin = files::WallClock::start();
    let mut design = design_of(args)?;
    let runs = design.runs().map_err(SimFailure::usage)?;
    let runs = shard(runs, args.shard.as_deref())?;
    let precision = precision_of(args, &runs)?;
    let shards = args.take.iter().map(|folder| of_this_version(folder));
    let shards = shards.collect::<Result<Vec<OutFolder>, _>>()?;
    let out = OutFolder::resume(&args.out, &describe(&design, &runs), args.resume)?;
    for (from, folder) in shards.iter().zip(&args.take) {
        let taken = take(&design, &runs, from, &out)?;
        let folder = folder.display();
        say(format_args!("{taken} runs are taken from {folder}"));
    }
    let runs = play_all(args, &design, runs, precision.as_ref(), &out)?;
    let used: BTreeSet<u64> = runs.iter().map(|run| run.scenario.run.seed).collect();
    design.seeds.retain(|seed| used.contains(seed));
    let joined = join(&runs, &out)?;
    let base = play::design(&args.scenario, &args.set)?;
    let mut manifest = joined.manifest(&base, &design, &runs);
    manifest["kind"] = "sweep".into();
    manifest["command"] = files::typed().into();
    manifest["repeat"] = repeat(args).into();
    manifest["wall_seconds"] = begin.elapsed().as_secs_f64().into();
    out.put_manifest(&manifest)?;
    let shown = precision.as_ref().map(|precision| precision.which);
    say(joined.table(&design, shown.unwrap_or(TookQuantile::Median)));
    joined.notes.iter().for_each(say);
    if let Some(precision) = precision {
        precision.unknown(&design, &joined).iter().for_each(say);
    }
    say(format_args!(
        "{} runs, {} failed; runs.parquet and peers.parquet are in {dir}; plots: seedbank-sim \
         report {dir}",
        joined.runs,
        joined.failed,
        dir = args.out.display()
    ));
    Ok(())
}

fn design_of(args: &SweepArgs) -> Result<Design, SimFailure> {
    let mut design = play::design(&args.scenario, &args.set)?;
    for grid in &args.grid {
        let settings = FieldSetting::parse_several(grid).map_err(SimFailure::usage)?;
        design = design.crossed_with(&settings);
    }
    if let Some(file) = &args.design {
        let common = design.variants.remove(0);
        for line in variants_of(&files::read(file)?).map_err(SimFailure::usage)? {
            design.variants.push([common.clone(), line].concat());
        }
    }
    design.seeds = seeds(&args.seeds)?;
    play::take_in(&mut design, &args.scenario)?;
    Ok(design)
}

/// The variants of a CSV file: a header of paths, then values.
fn variants_of(text: &str) -> Result<Vec<Vec<FieldSetting>>, seedbank_sim::design::DesignError> {
    let mut lines = text.lines().filter(|line| !line.trim().is_empty());
    let paths: Vec<&str> = lines.next().unwrap_or_default().split(',').collect();
    let settings = |line: &str| {
        let cells = paths.iter().zip(line.split(','));
        let each = cells.map(|(path, value)| FieldSetting::parse(&format!("{path}={value}")));
        each.collect::<Result<Vec<FieldSetting>, _>>()
    };
    lines.map(settings).collect()
}

/// `10`: from 1 to 10; `5..8`: from 5 to 8.
fn seeds(text: &str) -> Result<Vec<u64>, SimFailure> {
    let problem = || SimFailure::usage(format_args!("--seeds {text}: write 10, or 5..8"));
    let number = |text: &str| text.trim().parse::<u64>().map_err(|_| problem());
    let (first, last) = match text.split_once("..") {
        Some((first, last)) => (number(first)?, number(last)?),
        None => (1, number(text)?),
    };
    match first <= last && last - first < 1_000_000 {
        true => Ok((first..=last).collect()),
        false => Err(problem()),
    }
}

/// The `i`th of `n` equal parts, from `i/n`.
fn shard(runs: Vec<PlannedRun>, part: Option<&str>) -> Result<Vec<PlannedRun>, SimFailure> {
    let Some(text) = part else {
        return Ok(runs);
    };
    let numbers = text.split_once('/');
    let numbers = numbers.and_then(|(i, n)| Some((i.parse().ok()?, n.parse().ok()?)));
    match numbers {
        Some((i, n)) if (1..=n).contains(&i) => {
            Ok(runs.into_iter().skip(i - 1).step_by(n).collect())
        }
        _ => Err(SimFailure::usage(format_args!("--shard {text}: write 1/4"))),
    }
}

/// How well what is to be known, if that is asked for.
fn precision_of(args: &SweepArgs, runs: &[PlannedRun]) -> Result<Option<Precision>, SimFailure> {
    let Some(text) = &args.until_half_width else {
        return Ok(None);
    };
    let precision = Precision::parse(text).map_err(SimFailure::usage)?;
    precision.check(runs).map_err(SimFailure::usage)?;
    Ok(Some(precision))
}

/// A folder with the results of another sweep.
fn of_this_version(folder: &Path) -> Result<OutFolder, SimFailure> {
    let from = OutFolder::open(folder);
    let described: serde_json::Value = serde_json::from_str(&from.design()?).unwrap_or_default();
    match described["version"] == env!("CARGO_PKG_VERSION") {
        true => Ok(from),
        false => Err(SimFailure::usage(format_args!(
            "{}: has the results of another version",
            folder.display()
        ))),
    }
}

/// Takes what is done of these runs; how many were.
fn take(
    design: &Design,
    runs: &[PlannedRun],
    from: &OutFolder,
    out: &OutFolder,
) -> Result<usize, SimFailure> {
    let mut taken = 0;
    for run in runs.iter().filter(|run| !is_done(out, run)) {
        if let Some(kept) = read(from, run).filter(|kept| kept.error.is_none()) {
            kept.named_in(design, run).put(out)?;
            taken += 1;
        }
    }
    Ok(taken)
}

/// The same sweep of the scenario that is shown.
fn repeat(args: &SweepArgs) -> String {
    let mut words = vec!["seedbank-sim sweep scenario.toml".to_owned()];
    let mut add = |flag: &str, value: &str| words.push(format!("{flag} {}", files::quoted(value)));
    for grid in &args.grid {
        add("--grid", grid);
    }
    if let Some(file) = &args.design {
        add("--design", &file.display().to_string());
    }
    add("--seeds", &args.seeds);
    if let Some(width) = &args.until_half_width {
        add("--until-half-width", width);
    }
    if let Some(part) = &args.shard {
        add("--shard", part);
    }
    add("--out", "again");
    words.push("   # scenario.toml: as below".to_owned());
    words.join(" ")
}

/// Plays what is not done, some at a time; with a precision no more than that takes. Which runs
/// there are then. What cannot be written ends the sweep.
fn play_all(
    args: &SweepArgs,
    design: &Design,
    runs: Vec<PlannedRun>,
    precision: Option<&Precision>,
    out: &OutFolder,
) -> Result<Vec<PlannedRun>, SimFailure> {
    let todo: Vec<&PlannedRun> = runs.iter().filter(|run| !is_done(out, run)).collect();
    let progress = SweepProgress::new(todo.len(), precision.is_some(), args.quiet);
    let play_some = |todo: &[&PlannedRun]| {
        workers::each(todo, workers::jobs(args.jobs), &progress, |_, run| {
            let kept = play_one(design, run, |scenario| Some(outcome(scenario)));
            let kept = kept.expect("nobody stops it");
            kept.put(out)?;
            Ok(kept.error.is_none())
        })
    };
    let Some(precision) = precision else {
        play_some(&todo)?;
        return Ok(runs);
    };
    precision.until(runs, |some| {
        let todo = some.iter().copied().filter(|run| !is_done(out, run));
        play_some(&todo.collect::<Vec<_>>())?;
        Ok(some.iter().map(|run| read(out, run)).collect())
    })
}
