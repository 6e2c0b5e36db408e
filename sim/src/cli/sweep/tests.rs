//! Sweeps that are cut off, taken apart, put together, and stopped when enough is known.

use std::fs;
use std::path::Path;

use clap::Parser as _;

use seedbank_sim::design::label;
use seedbank_sim::play::PlayOutcome;

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
        "--out",
        out,
    ];
    let seeds = match more.iter().any(|arg| arg.starts_with("--seeds")) {
        true => &[][..],
        false => &["--seeds=3"],
    };
    match SimArgs::parse_from(all.iter().chain(seeds).chain(more)).command {
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
fn shards_that_are_put_together_come_to_the_same_bytes() {
    let folder = tempfile::tempdir().unwrap();
    let path = |name: &str| folder.path().join(name);
    sweep(&path("whole"), &[]).unwrap();
    sweep(&path("one"), &["--shard=1/2"]).unwrap();
    sweep(&path("two"), &["--shard=2/2"]).unwrap();
    assert_ne!(joined(&path("one")), joined(&path("whole")));
    let takes = ["one", "two"].map(|name| format!("--take={}", path(name).display()));
    let takes: Vec<&str> = takes.iter().map(String::as_str).collect();
    sweep(&path("all"), &takes).unwrap();
    assert_eq!(joined(&path("all")), joined(&path("whole")));
    let hash = |name: &str| {
        let text = fs::read_to_string(path(name).join("manifest.json")).unwrap();
        let manifest: serde_json::Value = serde_json::from_str(&text).unwrap();
        (manifest["state_hash"].clone(), manifest["runs"].clone())
    };
    assert_eq!(hash("all"), hash("whole"));
    // One that is not there leaves no folder behind.
    let nowhere = format!("--take={}", path("nowhere").display());
    sweep(&path("never"), &[&nowhere]).unwrap_err();
    assert!(!path("never").exists());
    // One shard alone: the rest is run.
    sweep(&path("half"), &takes[..1]).unwrap();
    assert_eq!(joined(&path("half")), joined(&path("whole")));
}

#[test]
fn a_sweep_ends_where_what_is_asked_is_known_well_enough() {
    let folder = tempfile::tempdir().unwrap();
    let sweep = |name: &str, width: &str| {
        let width = format!("--until-half-width={width}");
        sweep(&folder.path().join(name), &["--seeds=12", &width])
    };
    let runs = |name: &str| {
        let text = fs::read_to_string(folder.path().join(name).join("manifest.json")).unwrap();
        let manifest: serde_json::Value = serde_json::from_str(&text).unwrap();
        manifest["runs"].as_u64().unwrap()
    };
    sweep("wide", "others=500%").unwrap();
    assert_eq!(runs("wide"), 10, "five seeds of either variant");
    sweep("narrow", "others.p90=0.0001%").unwrap();
    assert_eq!(runs("narrow"), 24, "as many as there are");
    let problem = sweep("none", "othres=5%").unwrap_err().problem;
    assert!(problem.ends_with("did you mean \"others\"?"), "{problem}");
    let problem = sweep("none", "seeder=5%").unwrap_err().problem;
    assert!(problem.ends_with("there are payer, others"), "{problem}");
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

#[test]
fn a_sweep_says_of_which_variants_too_little_is_known() {
    let mut design = play::design("paying", &["run.duration=1h".to_owned()]).unwrap();
    let counts = FieldSetting::parse_several("population.others.count=2,4").unwrap();
    design = design.crossed_with(&counts);
    design.seeds = (1..=5).collect();
    let precision = Precision::parse("others.p90=10%").unwrap();
    let folder = tempfile::tempdir().unwrap();
    let out = OutFolder::make_for_runs(&folder.path().join("out")).unwrap();
    let runs = design.runs().unwrap();
    for run in &runs {
        let kept = play_one(&design, run, |scenario| {
            let fails = (run.variant, scenario.run.seed) == (0, 3);
            assert!(!fails, "it went\n  wrong");
            Some(PlayOutcome::default())
        });
        kept.unwrap().put(&out).unwrap();
    }
    let joined = join(&runs, &out).unwrap();
    assert_eq!((joined.runs, joined.failed), (10, 1));
    assert!(
        joined.notes[0].ends_with("seed 3: it went wrong"),
        "one line"
    );
    let unknown = precision.unknown(&design, &joined);
    assert_eq!(
        unknown[1],
        "not known to within 10 % by all seeds: p90 of others, population.others.count=4"
    );
    let table = joined.table(&design, precision.which);
    let row = |label: &str| {
        let row = table.lines().find(|line| line.contains(label)).unwrap();
        let cells = row.split('|').map(str::trim);
        cells.skip(3).take(4).collect::<Vec<_>>().join(" ")
    };
    assert_eq!(
        row("count=2 "),
        "4 – – 4",
        "nobody was done, and one failed"
    );
    assert_eq!(row("count=4 "), "5 – – 5");
}
