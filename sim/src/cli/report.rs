//! Makes a page of what a folder has results of.

use std::collections::BTreeMap;
use std::path::Path;

use seedbank_sim::frame::Frame;
use seedbank_sim::report::{ResultOrigin, RunLine, RunResults, SweepResults, Variant};
use serde_json::Value;

use super::args::ReportArgs;
use super::files::{self, OutFolder};
use super::{SimFailure, say};

/// The page's name.
const PAGE: &str = "report.html";
/// What the page shows elsewhere than among other facts.
const APART: [&str; 6] = ["kind", "scenario", "command", "repeat", "variants", "seeds"];

pub(super) fn run(args: &ReportArgs) -> Result<(), SimFailure> {
    let out = OutFolder::open(&args.out);
    let text = files::read_manifest(&args.out)?;
    let problem = |error| files::failed(&args.out, &error);
    let manifest: Value = serde_json::from_str(&text).map_err(|error| problem(error.into()))?;
    let html = match manifest["kind"].as_str() {
        Some("run") => of_run(&args.out, &manifest)?,
        Some("sweep") => of_sweep(&args.out, &manifest, false)?,
        Some("compare") => of_sweep(&args.out, &manifest, true)?,
        _ => {
            return Err(SimFailure::usage(format_args!(
                "{}: its manifest is of no run, sweep or comparison",
                args.out.display()
            )));
        }
    };
    out.put(PAGE, &html)?;
    say(args.out.join(PAGE).display());
    Ok(())
}

fn of_run(out: &Path, manifest: &Value) -> Result<String, SimFailure> {
    let results = RunResults {
        origin: origin(out, manifest),
        lasted: manifest["virtual_seconds"].as_f64().unwrap_or_default(),
        peers: read_frame(out, "peers")?,
        series: read_frame(out, "series")?,
        unchokes: read_frame(out, "unchokes")?,
    };
    results.page().map_err(|error| unlike(out, error))
}

fn of_sweep(out: &Path, manifest: &Value, compares: bool) -> Result<String, SimFailure> {
    let mut results = SweepResults::new(origin(out, manifest), variants(manifest), compares);
    let mut lines = run_lines(&read_frame(out, "runs")?).map_err(|error| unlike(out, error))?;
    let peers = out.join("peers.parquet");
    if peers.exists() {
        files::read_parquet(&peers, |frame| {
            for (id, rows) in by_run(&frame) {
                // Of a run that has no row nothing is known.
                let Some(line) = lines.remove(&id) else {
                    continue;
                };
                let added = results.add(line, &rows);
                added.map_err(std::io::Error::other)?;
            }
            Ok(())
        })?;
    }
    for line in lines.into_values() {
        let added = results.add(line, &Frame::default());
        added.map_err(|error| unlike(out, error))?;
    }
    results.page().map_err(|error| unlike(out, error))
}

/// The rows of each run of a frame.
fn by_run(frame: &Frame) -> Vec<(String, Frame)> {
    let ids = frame.texts("run_id").unwrap_or_default();
    let mut runs = Vec::new();
    let mut begin = 0;
    for same in ids.chunk_by(|a, b| a == b) {
        let end = begin + same.len();
        runs.push((same[0].clone(), frame.rows(begin..end)));
        begin = end;
    }
    runs
}

/// Each run as its row tells, by its id.
fn run_lines(runs: &Frame) -> Result<BTreeMap<String, RunLine>, seedbank_sim::report::ReportError> {
    let missing = seedbank_sim::report::ReportError::Column;
    let texts = |name| runs.texts(name).ok_or(missing(name));
    let numbers = |name| runs.numbers(name).ok_or(missing(name));
    let [ids, errors] = [texts("run_id")?, texts("error")?];
    let whole = |name| {
        let cells = texts(name)?.into_iter();
        Ok(cells
            .map(|cell| cell.parse().unwrap_or_default())
            .collect::<Vec<u64>>())
    };
    let [variants, seeds] = [whole("variant")?, whole("seed")?];
    let [lasted, events] = [numbers("lasted_s")?, numbers("events")?];
    let line = |row: usize| {
        let line = RunLine {
            run_id: ids[row].clone(),
            variant: usize::try_from(variants[row]).unwrap_or(usize::MAX),
            seed: seeds[row],
            error: errors[row].clone(),
            lasted: lasted[row].unwrap_or_default(),
            events: events[row].unwrap_or_default(),
        };
        (ids[row].clone(), line)
    };
    Ok((0..runs.len()).map(line).collect())
}

fn variants(manifest: &Value) -> Vec<Variant> {
    let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
    let setting = |pair: &Value| (text(&pair[0]), text(&pair[1]));
    let variants = manifest["variants"].as_array().into_iter().flatten();
    let variant = |variant: &Value| Variant {
        label: text(&variant["label"]),
        settings: {
            let settings = variant["settings"].as_array().into_iter().flatten();
            settings.map(setting).collect()
        },
    };
    variants.map(variant).collect()
}

fn origin(out: &Path, manifest: &Value) -> ResultOrigin {
    let text = |key: &str| manifest[key].as_str().map(str::to_owned);
    let mut facts = vec![("folder".to_owned(), out.display().to_string())];
    for (key, value) in manifest.as_object().into_iter().flatten() {
        if !APART.contains(&key.as_str()) {
            tell(&mut facts, &key.replace('_', " "), value);
        }
    }
    ResultOrigin {
        scenario: text("scenario").unwrap_or_default(),
        typed: text("command"),
        repeat: text("repeat").unwrap_or_default(),
        facts,
    }
}

/// A value of the manifest, and those within it.
fn tell(facts: &mut Vec<(String, String)>, name: &str, value: &Value) {
    let shown = match value {
        Value::Null => return,
        Value::Object(inner) => {
            for (key, value) in inner {
                tell(facts, &format!("{name}, {}", key.replace('_', " ")), value);
            }
            return;
        }
        Value::String(text) => text.clone(),
        Value::Number(number) if number.is_f64() => {
            let number = number.as_f64().unwrap_or_default();
            format!("{number:.*}", if number.abs() < 1_000.0 { 3 } else { 0 })
        }
        Value::Array(several) => {
            let each: Vec<String> = several.iter().map(ToString::to_string).collect();
            each.join(", ")
        }
        other => other.to_string(),
    };
    facts.push((name.to_owned(), shown));
}

/// All rows of a file, Parquet or CSV.
fn read_frame(out: &Path, name: &str) -> Result<Frame, SimFailure> {
    let parquet = out.join(format!("{name}.parquet"));
    if !parquet.exists() {
        return files::read_csv(&out.join(format!("{name}.csv")));
    }
    let mut all: Option<Frame> = None;
    files::read_parquet(&parquet, |frame| {
        all = Some(match all.take() {
            Some(before) => before.below(frame),
            None => frame,
        });
        Ok(())
    })?;
    Ok(all.unwrap_or_default())
}

fn unlike(out: &Path, error: seedbank_sim::report::ReportError) -> SimFailure {
    SimFailure::new(format_args!("{}: {error}", out.display()))
}

#[cfg(test)]
mod tests {
    use std::fs;

    use clap::Parser as _;

    use super::*;
    use crate::cli::args::{SimArgs, SimCommand};
    use crate::cli::{compare, play, sweep};

    fn sim(words: &[&str], out: &Path) -> Result<(), SimFailure> {
        let small = [
            "--set=torrent.file.length=2MiB",
            "--set=torrent.file.piece=64KiB",
            "--set=population.others.count=2",
        ];
        let small = if words[0] == "report" {
            &[][..]
        } else {
            &small
        };
        let out = out.to_str().unwrap();
        let out = if words[0] == "report" {
            vec![out]
        } else {
            vec!["--out", out]
        };
        let all = ["seedbank-sim"]
            .iter()
            .chain(words)
            .chain(small)
            .chain(&out);
        match SimArgs::parse_from(all).command {
            SimCommand::Run(args) => play::run(&args),
            SimCommand::Sweep(args) => sweep::run(&args),
            SimCommand::Compare(args) => compare::run(&args),
            SimCommand::Report(args) => run(&args),
            other => panic!("{other:?}"),
        }
    }

    fn report(out: &Path) -> Result<String, SimFailure> {
        sim(&["report"], out)?;
        Ok(fs::read_to_string(out.join(PAGE)).unwrap())
    }

    #[test]
    fn what_run_sweep_and_compare_write_is_reported() {
        let folder = tempfile::tempdir().unwrap();
        let [one, several, two] = ["one", "several", "two"].map(|name| folder.path().join(name));
        sim(&["run", "paying"], &one).unwrap();
        let html = report(&one).unwrap();
        for told in [
            "<h1>paying</h1>",
            "state hash",
            "seedbank-sim run scenario.toml",
            "cr/GiB",
        ] {
            assert!(html.contains(told), "{told}");
        }
        let grid = "--grid=population.payer.boost.budget=0.1cr,1cr";
        sim(&["sweep", "paying", grid, "--seeds=2"], &several).unwrap();
        let html = report(&several).unwrap();
        for told in [
            "4 runs of 2 variants, 0 failed",
            "--seeds 2",
            "class=\"interval\"",
        ] {
            assert!(html.contains(told), "{told}");
        }
        // Either side alone: the other is the scenario as written.
        for side in ["a", "b"] {
            let two = two.with_extension(side);
            let boost = format!("--{side}=population.payer.boost=");
            sim(&["compare", "paying", &boost, "--seeds=2"], &two).unwrap();
            let html = report(&two).unwrap();
            let other = if side == "a" { "B" } else { "A" };
            for told in [
                "Speed-up bought",
                "B − A",
                &format!("--{side} population.payer.boost= --seeds 2"),
                &format!("<p class=\"note\">{other}: as written</p>"),
                &format!("{}: no boost", side.to_uppercase()),
            ] {
                assert!(html.contains(told), "{told}");
            }
        }
        // The scenario beside a run is the one that was run.
        let again = folder.path().join("again");
        let scenario = one.join("scenario.toml");
        sim(&["run", scenario.to_str().unwrap()], &again).unwrap();
        let state = |out: &Path| {
            let manifest = files::read_manifest(out).unwrap();
            let manifest: Value = serde_json::from_str(&manifest).unwrap();
            manifest["state_hash"].clone()
        };
        assert_eq!(state(&one), state(&again));
    }

    #[test]
    fn what_is_not_whole_is_refused_and_named() {
        let folder = tempfile::tempdir().unwrap();
        let out = folder.path().join("one");
        let problem = |out: &Path| report(out).unwrap_err().problem;
        assert!(problem(&out).ends_with("there is no such folder"));
        sim(&["run", "paying"], &out).unwrap();
        let csv = fs::read_to_string(out.join("series.csv")).unwrap();
        fs::write(out.join("series.csv"), &csv[..csv.len() - 3]).unwrap();
        let torn = problem(&out);
        assert!(torn.contains("series.csv: ends in line "), "{torn}");
        fs::remove_file(out.join("manifest.json")).unwrap();
        assert!(problem(&out).contains("was finished there"));
        assert!(!out.join(PAGE).exists());
    }
}
