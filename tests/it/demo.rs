//! `seedbankd demo`, as a user runs it.

use std::process::Command;

use seedbank_tests::repository::program;

#[test]
fn the_demo_shows_what_it_claims_and_leaves_nothing_behind() {
    let folder = tempfile::tempdir().unwrap();
    let demo = Command::new(program("seedbankd").unwrap())
        .args(["demo", "--check"])
        .env("TMPDIR", folder.path())
        .output()
        .unwrap();
    let said = String::from_utf8(demo.stdout).unwrap();
    let complained = String::from_utf8(demo.stderr).unwrap();
    println!("{said}");
    assert!(demo.status.success(), "{:?}\n{complained}", demo.status);
    assert_eq!(complained, "");
    for word in [
        "Predicted by the simulator",
        "payer done",
        "Verdict: who pays",
        "Where paying buys little",
    ] {
        assert!(said.contains(word), "{word}");
    }
    for line in said.lines() {
        assert!(line.chars().count() < 80, "it would wrap: {line}");
    }
    let left = std::fs::read_dir(folder.path()).unwrap().count();
    assert_eq!(left, 0, "its folder is gone");
}
