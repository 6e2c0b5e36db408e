//! A sweep that is killed and resumed, through the program itself: it comes to the same bytes as
//! one that nobody disturbed.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

use std::fs;
use std::path::Path;
use std::process::{Child, Command, Stdio};

const FILES: [&str; 2] = ["runs.parquet", "peers.parquet"];

fn sweep(out: &Path, seeds: u64, more: &[&str]) -> Child {
    let mut command = Command::new(env!("CARGO_BIN_EXE_seedbank-sim"));
    command
        .args(["sweep", "paying", "--jobs=1"])
        .args([
            "--set=torrent.file.length=512KiB",
            "--set=torrent.file.piece=64KiB",
        ])
        .args(["--grid=population.others.count=2,3"])
        .arg(format!("--seeds={seeds}"))
        .arg("--out")
        .arg(out)
        .args(more)
        .stdout(Stdio::null())
        .stderr(Stdio::inherit());
    command.spawn().unwrap()
}

/// Runs that are done.
fn done(out: &Path) -> usize {
    let is_part = |entry: &fs::DirEntry| entry.path().extension().is_some_and(|end| end == "json");
    let entries = fs::read_dir(out.join("parts"));
    entries.map_or(0, |entries| entries.flatten().filter(is_part).count())
}

/// Kills a sweep once so many runs are done, whatever it is doing then.
fn kill_at(mut child: Child, out: &Path, count: usize) {
    while done(out) < count {
        assert!(
            child.try_wait().unwrap().is_none(),
            "it ended before it was killed"
        );
        std::thread::yield_now();
    }
    child.kill().unwrap();
    assert!(!child.wait().unwrap().success());
    for name in FILES {
        assert!(
            !out.join(name).exists(),
            "{name} is made when all runs are done"
        );
    }
}

fn joined(out: &Path) -> [Vec<u8>; 2] {
    FILES.map(|name| fs::read(out.join(name)).unwrap())
}

/// So many runs, killed when these are done, and resumed after each time.
fn killed_and_resumed(seeds: u64, kills: &[usize]) {
    let folder = tempfile::tempdir().unwrap();
    let [whole, killed] = ["whole", "killed"].map(|name| folder.path().join(name));
    assert!(sweep(&whole, seeds, &[]).wait().unwrap().success());
    let mut more: &[&str] = &[];
    for count in kills {
        kill_at(sweep(&killed, seeds, more), &killed, *count);
        more = &["--resume"];
    }
    assert!(
        done(&killed) < done(&whole),
        "there is something left to resume"
    );
    assert!(sweep(&killed, seeds, more).wait().unwrap().success());
    assert_eq!(done(&killed), done(&whole));
    assert_eq!(done(&whole) as u64, 2 * seeds);
    assert!(joined(&killed) == joined(&whole), "the same bytes");
}

#[test]
fn a_sweep_that_is_killed_twice_comes_to_the_same_bytes() {
    killed_and_resumed(6, &[3, 8]);
}

#[test]
#[ignore = "200 runs: cargo test --release -p seedbank-sim --test killed -- --ignored"]
fn two_hundred_runs_killed_twice_come_to_the_same_bytes() {
    killed_and_resumed(100, &[61, 137]);
}
