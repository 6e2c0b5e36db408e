//! Runs a design: every variant under every seed, some at a time, each kept as it is done.
//!
//! What came of a run is one file, written whole or not at all, so that a sweep that was killed
//! goes on where it was; at the end they are joined in the order of the design. The joined files
//! are the same however often it was killed and however many ran at a time.

use std::panic::{AssertUnwindSafe, catch_unwind};

use comfy_table::{Table, presets};
use seedbank_sim::demo::seconds;
use seedbank_sim::design::{Design, FieldSetting, PlannedRun, label};
use seedbank_sim::frame::Frame;
use seedbank_sim::play::{Play, PlayOutcome};
use seedbank_sim::scenario::Scenario;
use seedbank_sim::stats::Estimate;
use serde::{Deserialize, Serialize};
use serde_json::json;

use super::args::SweepArgs;
use super::files::OutFolder;
use super::parquet::FrameWriter;
use super::progress::SweepProgress;
use super::summary::median;
use super::{SimFailure, files, play, say, workers};

/// What came of a run.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(super) struct KeptRun {
    run_id: String,
    variant: u64,
    label: String,
    seed: u64,
    /// Why it failed; nothing else is there then.
    pub(super) error: Option<String>,
    state_hash: String,
    lasted_s: f64,
    events: u64,
    peers: Frame,
    /// Seconds until done: the median of each population, in the scenario's order.
    pub(super) medians: Vec<(String, Option<f64>)>,
}

pub(super) fn run(args: &SweepArgs) -> Result<(), SimFailure> {
    let begin = files::WallClock::start();
    let design = design_of(args)?;
    let runs = shard(
        design.runs().map_err(SimFailure::usage)?,
        args.shard.as_deref(),
    )?;
    let out = OutFolder::resume(&args.out, &describe(&design, &runs), args.resume)?;
    let todo: Vec<&PlannedRun> = runs.iter().filter(|run| !is_done(&out, run)).collect();
    let jobs = workers::jobs(args.jobs);
    let progress = SweepProgress::new(todo.len(), false, args.quiet);
    play_all(&design, &todo, jobs, &progress, &out)?;
    let (failed, medians) = join(&runs, &out)?;
    let base = play::design(&args.scenario, &args.set)?;
    let mut manifest = manifest(&base, &design, &runs, failed);
    manifest["kind"] = "sweep".into();
    manifest["repeat"] = repeat(args).into();
    manifest["wall_seconds"] = begin.elapsed().as_secs_f64().into();
    out.put_manifest(&manifest)?;
    say(table(&design, &medians));
    say(format_args!(
        "{} runs, {failed} failed; runs.parquet and peers.parquet are in {dir}; plots: \
         seedbank-sim report {dir}",
        runs.len(),
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

/// What a folder has results of.
pub(super) fn describe(design: &Design, runs: &[PlannedRun]) -> String {
    let labels = design.variants.iter().map(|variant| label(variant));
    let ids: Vec<String> = runs.iter().map(PlannedRun::id).collect();
    let described = json!({
        "version": env!("CARGO_PKG_VERSION"),
        "variants": labels.collect::<Vec<_>>(),
        "seeds": design.seeds,
        "runs": ids,
        "scenario": runs.first().map(|run| run.scenario.canonical()),
    });
    format!("{described:#}\n")
}

/// What joined files are a result of.
pub(super) fn manifest(
    base: &Design,
    design: &Design,
    runs: &[PlannedRun],
    failed: usize,
) -> serde_json::Value {
    let variant = |settings: &Vec<FieldSetting>| {
        let pairs = settings.iter();
        let pairs = pairs.map(|setting| (setting.path.as_str(), setting.value_text()));
        json!({ "label": label(settings), "settings": pairs.collect::<Vec<_>>() })
    };
    // A scenario that only its variants make sound is told with the first of them.
    let base = base.runs().ok();
    let base = base.as_deref().unwrap_or(runs).first();
    json!({
        "version": env!("CARGO_PKG_VERSION"),
        "command": files::typed(),
        "scenario_hash": base.map(|run| run.scenario.hash()),
        "scenario": base.map(|run| run.scenario.canonical()),
        "variants": design.variants.iter().map(variant).collect::<Vec<_>>(),
        "seeds": design.seeds,
        "seed_count": design.seeds.len(),
        "runs": runs.len(),
        "failed": failed,
    })
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
    if let Some(part) = &args.shard {
        add("--shard", part);
    }
    add("--out", "again");
    words.push("   # scenario.toml: as below".to_owned());
    words.join(" ")
}

pub(super) fn read(out: &OutFolder, run: &PlannedRun) -> Option<KeptRun> {
    serde_json::from_str(&out.part(&run.id())?).ok()
}

/// Whether a run was done, and did not fail.
fn is_done(out: &OutFolder, run: &PlannedRun) -> bool {
    read(out, run).is_some_and(|part| part.error.is_none())
}

/// Plays every run, `jobs` at a time. What cannot be written ends the sweep.
fn play_all(
    design: &Design,
    todo: &[&PlannedRun],
    jobs: usize,
    progress: &SweepProgress,
    out: &OutFolder,
) -> Result<(), SimFailure> {
    workers::each(todo, jobs, progress, |_, run| {
        let part = play_one(design, run, |scenario| Some(Play::new(scenario).run()));
        let part = part.expect("nobody stops it");
        put(out, &part)?;
        Ok(part.error.is_none())
    })
}

/// Keeps what came of a run.
pub(super) fn put(out: &OutFolder, part: &KeptRun) -> Result<(), SimFailure> {
    let text = serde_json::to_string(part).expect("texts and numbers only");
    out.put_part(&part.run_id, &text)
}

/// What comes of a run; `None` if nothing does, because it was stopped.
pub(super) fn play_one(
    design: &Design,
    run: &PlannedRun,
    play: impl FnOnce(&Scenario) -> Option<PlayOutcome>,
) -> Option<KeptRun> {
    let scenario = &run.scenario;
    let mut part = KeptRun {
        run_id: run.id(),
        variant: u64::try_from(run.variant).expect("few"),
        label: label(&design.variants[run.variant]),
        seed: scenario.run.seed,
        error: None,
        state_hash: String::new(),
        lasted_s: 0.0,
        events: 0,
        peers: PlayOutcome::default().peers_frame(),
        medians: Vec::new(),
    };
    // A run that breaks an assertion of ours is a row, and the others go on.
    match catch_unwind(AssertUnwindSafe(|| play(scenario))) {
        Ok(None) => return None,
        Ok(Some(played)) => {
            part.state_hash = played.state_hash();
            part.lasted_s = seconds(played.lasted);
            part.events = played.handled;
            part.peers = played.peers_frame();
            let names = scenario.populations.iter().map(|plan| plan.name.clone());
            let names = names.map(|name| {
                let median = median(&played, &name);
                (name, median)
            });
            part.medians = names.collect();
        }
        Err(panic) => {
            let said = panic.downcast_ref::<String>().cloned();
            let said = said.or_else(|| Some((*panic.downcast_ref::<&str>()?).to_owned()));
            part.error = Some(said.unwrap_or_else(|| "it panicked".to_owned()));
        }
    }
    Some(part)
}

impl KeptRun {
    pub(super) fn run_frame(&self) -> Frame {
        let rows = [self];
        Frame::default()
            .text("run_id", &rows, |part| part.run_id.clone())
            .whole("variant", &rows, |part| part.variant)
            .text("label", &rows, |part| part.label.clone())
            .whole("seed", &rows, |part| part.seed)
            .text("error", &rows, |part| {
                part.error.clone().unwrap_or_default()
            })
            .text("state_hash", &rows, |part| part.state_hash.clone())
            .number("lasted_s", &rows, |part| Some(part.lasted_s))
            .whole("events", &rows, |part| part.events)
    }

    /// The peers of this run, each with what run it was in.
    pub(super) fn peer_frame(self) -> Frame {
        let rows = vec![(); self.peers.len()];
        let run = Frame::default()
            .text("run_id", &rows, |()| self.run_id.clone())
            .whole("variant", &rows, |()| self.variant)
            .whole("seed", &rows, |()| self.seed);
        run.beside(self.peers)
    }
}

/// A variant's number, and the medians of one of its runs.
type Medians = Vec<(usize, Vec<(String, Option<f64>)>)>;

/// Joins what was kept of every run, in their order, one run in memory at a time. How many failed,
/// and the medians of the others.
pub(super) fn join(runs: &[PlannedRun], out: &OutFolder) -> Result<(usize, Medians), SimFailure> {
    let part_of = |run: &PlannedRun| {
        let missing = || SimFailure::new(format_args!("what came of run {} is gone", run.id()));
        read(out, run).ok_or_else(missing)
    };
    let (mut failed, mut medians) = (0, Vec::new());
    let mut like = None;
    let mut rows: Vec<Frame> = Vec::new();
    for run in runs {
        let part = part_of(run)?;
        rows.push(part.run_frame());
        match part.error {
            Some(_) => failed += 1,
            None => {
                medians.push((run.variant, part.medians.clone()));
                like = like.or_else(|| Some(part.peer_frame()));
            }
        }
    }
    let Some(first) = rows.first() else {
        return Ok((0, medians));
    };
    out.put_by("runs.parquet", |file| {
        let mut writer = FrameWriter::new(file, first)?;
        rows.iter().try_for_each(|row| writer.append(row))?;
        writer.close()
    })?;
    if let Some(like) = like {
        out.put_by("peers.parquet", |file| {
            let mut writer = FrameWriter::new(file, &like)?;
            for part in runs.iter().filter_map(|run| read(out, run)) {
                if part.error.is_none() {
                    writer.append(&part.peer_frame())?;
                }
            }
            writer.close()
        })?;
    }
    Ok((failed, medians))
}

/// Each variant: the mean of its runs' medians, and half of the 95 % interval.
fn table(design: &Design, medians: &Medians) -> String {
    let mut table = Table::new();
    table.load_style(presets::ASCII_MARKDOWN);
    let _ = table.set_header(["variant", "population", "runs", "median s", "± (95 %)"]);
    for (variant, settings) in design.variants.iter().enumerate() {
        let of_variant = || medians.iter().filter(|(of, _)| *of == variant);
        let names = of_variant().next().map(|(_, each)| each);
        for (name, _) in names.into_iter().flatten() {
            let each = of_variant().flat_map(|(_, each)| each);
            let values = each.filter(|(of, _)| of == name);
            let values: Vec<f64> = values.filter_map(|(_, median)| *median).collect();
            let Some(estimate) = Estimate::of(&values) else {
                continue;
            };
            let _ = table.add_row([
                label(settings),
                name.clone(),
                estimate.count.to_string(),
                format!("{:.1}", estimate.mean),
                format!("{:.1}", estimate.half_width),
            ]);
        }
    }
    table.to_string()
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::path::Path;

    use clap::Parser as _;

    use super::*;
    use crate::cli::args::{SimArgs, SimCommand};

    fn sweep(out: &Path, more: &[&str]) -> Result<(), SimFailure> {
        let out = out.to_str().unwrap();
        let all = [
            "seedbank-sim",
            "sweep",
            "paying",
            "--set=torrent.file.length=2MiB",
            "--set=torrent.file.piece=64KiB",
            "--grid=population.others.count=2,4",
            "--seeds=3",
            "--out",
            out,
        ];
        match SimArgs::parse_from(all.iter().chain(more)).command {
            SimCommand::Sweep(args) => run(&args),
            other => panic!("{other:?}"),
        }
    }

    fn joined(out: &Path) -> [Vec<u8>; 2] {
        ["runs.parquet", "peers.parquet"].map(|name| fs::read(out.join(name)).unwrap())
    }

    #[test]
    fn a_sweep_that_was_cut_off_comes_to_the_same_bytes() {
        let folder = tempfile::tempdir().unwrap();
        let [whole, cut] = ["whole", "cut"].map(|name| folder.path().join(name));
        sweep(&whole, &["--jobs=2"]).unwrap();
        sweep(&cut, &["--jobs=1"]).unwrap();
        // Killed at a bad moment: parts are missing, one is torn, nothing is joined.
        let parts = fs::read_dir(cut.join("parts")).unwrap();
        let mut parts: Vec<_> = parts.map(|part| part.unwrap().path()).collect();
        parts.sort();
        assert_eq!(parts.len(), 6);
        fs::remove_file(&parts[0]).unwrap();
        fs::write(&parts[1], "{\"run_id\":").unwrap();
        fs::remove_file(cut.join("runs.parquet")).unwrap();
        fs::remove_file(cut.join("peers.parquet")).unwrap();
        assert!(sweep(&cut, &[]).unwrap_err().problem.contains("--resume"));
        sweep(&cut, &["--resume", "--jobs=2"]).unwrap();
        assert_eq!(joined(&cut), joined(&whole));
        let other = sweep(&cut, &["--resume", "--set=network.grant=1cr"]);
        assert!(other.unwrap_err().problem.contains("another design"));
    }

    #[test]
    fn a_run_that_fails_is_a_row_and_says_why() {
        let design = play::design("paying", &[]).unwrap();
        let run = design.runs().unwrap().remove(0);
        let part = play_one(&design, &run, |_| panic!("it went wrong at {}", 7)).unwrap();
        assert_eq!(part.error.as_deref(), Some("it went wrong at 7"));
        let whole = play_one(&design, &run, |_| Some(PlayOutcome::default())).unwrap();
        assert_eq!(
            part.peer_frame(),
            whole.peer_frame(),
            "its columns, and no rows"
        );
    }

    #[test]
    fn designs_are_read_from_csv_and_shards_are_apart() {
        let text = "population.others.count,network.grant\n2,1cr\n4,2cr\n";
        let variants = variants_of(text).unwrap();
        assert_eq!(
            label(&variants[1]),
            "population.others.count=4 network.grant=2cr"
        );
        let mut design = play::design("paying", &[]).unwrap();
        design.variants = variants;
        design.seeds = seeds("5..8").unwrap();
        let runs = design.runs().unwrap();
        let mut ids: Vec<String> = Vec::new();
        for part in ["1/3", "2/3", "3/3"] {
            let runs = shard(runs.clone(), Some(part)).unwrap();
            ids.extend(runs.iter().map(PlannedRun::id));
        }
        ids.sort();
        let mut all: Vec<String> = runs.iter().map(PlannedRun::id).collect();
        all.sort();
        assert_eq!(ids, all);
        assert!(shard(runs, Some("4/3")).is_err());
        assert!(seeds("9..3").is_err());
    }
}
