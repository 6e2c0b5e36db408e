//! What is looked at in every play holds, and faults in the engine show.

use seedbank_engine::mutants::{Mutant, with};

use super::*;

/// Five who give and have a limit, and eight who do not and wait for the one optimistic slot.
fn in_turn(duration: &str) -> String {
    let population = |name: &str, count: u32, more: &str| {
        format!(
            "[[population]]\nname = \"{name}\"\ncount = {count}\nhas = \"50%\"\nslots = 4\n\
             receipts = false\nupload_limit = \"1%\"\nline = {{ uplink = \"4MB/s\" }}\n{more}"
        )
    };
    format!(
        "[run]\nduration = \"{duration}\"\n[overlay]\nkind = \"full\"\n\
         [[torrent]]\nlength = \"2GiB\"\npiece = \"1MiB\"\n{}{}",
        population("gives", 5, ""),
        population("rides", 8, "strategy = \"free-rider\"\n"),
    )
}

/// What does not hold, by its first word.
fn violated(checks: &WatchReport) -> Vec<&str> {
    let first = checks
        .violations
        .iter()
        .filter_map(|said| said.split(':').next());
    let mut first: Vec<&str> = first.collect();
    first.dedup();
    first
}

#[test]
fn who_may_send_does_and_nobody_waits_longer_than_the_rules_let_them() {
    for text in [&in_turn("10min"), PAYING] {
        let checks = played(text).checks;
        println!("{checks:?}");
        assert!(checks.violations.is_empty(), "{checks:#?}");
        assert!(checks.waits > 10, "{checks:?}");
    }
    let checks = played(&in_turn("10min")).checks;
    assert!(checks.stretches > 100, "{checks:?}");
    // Those who wait do so for most of what they may.
    assert!(checks.wait_max > 50, "{checks:?}");
}

#[test]
fn a_limit_whose_refill_is_late_is_seen() {
    let checks = with(Mutant::RefillLate, || played(&in_turn("2min")).checks);
    assert_eq!(violated(&checks), ["work conservation"], "{checks:#?}");
}

#[test]
fn turns_that_always_go_to_the_same_are_seen() {
    let checks = with(Mutant::TurnsByAge, || played(&in_turn("10min")).checks);
    assert_eq!(violated(&checks), ["starvation"], "{checks:#?}");
}
