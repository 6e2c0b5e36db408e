//! The table in short, and faults that turn it red.

mod metamorphic;

use seedbank_engine::mutants::{Mutant, with};

use super::*;
use crate::library::LIBRARY;
use crate::play::Play;
use crate::scenario::Scenario;
use crate::stats::{Estimate, float};
use crate::streams::{Purpose, Streams};

#[test]
fn every_row_holds_in_short() {
    let mut red = Vec::new();
    for case in CASES.iter().filter(|case| !case.is_long) {
        for row in (case.run)(RowForm::Short) {
            if row.is_red() {
                red.push(row);
            }
        }
    }
    assert!(red.is_empty(), "{red:#?}");
}

#[test]
fn numbers_of_cases_and_rows_are_unique_and_in_order() {
    let numbers: Vec<u32> = CASES
        .iter()
        .map(|case| case.number.parse().unwrap())
        .collect();
    assert!(numbers.is_sorted());
    let unique: std::collections::BTreeSet<u32> = numbers.iter().copied().collect();
    assert_eq!(unique.len(), numbers.len());
}

/// Rows that do not hold with a fault in the engine.
fn red(mutant: Mutant, number: &str) -> Vec<&'static str> {
    let case = CASES.iter().find(|case| case.number == number).unwrap();
    let rows = with(mutant, || (case.run)(RowForm::Short));
    rows.iter()
        .filter(|row| row.is_red())
        .map(|row| row.id)
        .collect()
}

#[test]
fn classes_that_are_swapped_turn_the_open_share_red() {
    assert_eq!(red(Mutant::ClassesSwapped, "27"), ["27"]);
}

#[test]
fn an_open_share_that_is_ignored_turns_it_red() {
    assert_eq!(red(Mutant::OpenShareIgnored, "27"), ["27"]);
}

#[test]
fn dues_that_are_rounded_up_turn_the_price_red() {
    assert_eq!(red(Mutant::DueRoundedUp, "28"), ["28"]);
}

#[test]
fn an_ask_that_is_the_most_turns_the_auction_red() {
    assert_eq!(red(Mutant::AskIsMost, "13"), ["13a", "13b"]);
}

#[test]
fn slots_that_are_not_for_those_who_give_turn_the_clusters_red() {
    assert_eq!(red(Mutant::GivingIgnored, "19"), ["19a"]);
}

/// Mean seconds of six leechers in a swarm that is over in a blink.
fn quick(seed: u64) -> f64 {
    let text = format!(
        "[run]\nseed = {seed}\nduration = \"1h\"\n\
         [[torrent]]\nlength = \"1MiB\"\npiece = \"64KiB\"\n\
         [[population]]\nname = \"seeder\"\ncount = 1\nhas = \"100%\"\n\
         line = {{ uplink = \"200kB/s\" }}\n\
         [[population]]\nname = \"all\"\ncount = 6\n\
         line = {{ profile = \"piatek2006\", uplink_max = \"400kB/s\" }}\n\
         arrivals = {{ kind = \"flash\", within = \"10s\" }}\n"
    );
    let played = Play::new(&Scenario::parse("quick", &text).unwrap()).run();
    let took = played.took("all");
    assert_eq!(took.len(), 6);
    took.iter().sum::<f64>() / 6.0
}

/// 200 runs stand for all there could be; of 1,000 samples of 10, nearly 95 % say where their mean
/// is. Without replacement: a twentieth less variance, so a little more than 95 %.
#[test]
fn intervals_of_ten_runs_cover_the_mean_of_two_hundred() {
    let all: Vec<f64> = (1..=200).map(quick).collect();
    let mean = all.iter().sum::<f64>() / 200.0;
    let mut rng = Streams::new(5).draw(Purpose::Event, "", 0);
    let covers = (0..1_000).filter(|_| {
        let mut sample = all.clone();
        rng.shuffle(&mut sample);
        let estimate = Estimate::of(&sample[..10]).unwrap();
        (estimate.mean - mean).abs() <= estimate.half_width
    });
    let share = float(covers.count()) / 1_000.0;
    println!("covered {share}, mean {mean} s");
    assert!((0.90..=0.98).contains(&share), "{share}");
}

#[test]
fn differences_under_equal_luck_vary_less() {
    let paying = LIBRARY
        .iter()
        .find(|included| included.name == "free-riders")
        .unwrap();
    let change = variance::change_of(paying);
    let row = variance::of(paying, &change, 6, variance::payload_max(RowForm::Short)).unwrap();
    println!("{row:?}: {} of {}", row.together(), row.apart);
    assert!(row.together() < 0.7 * row.apart);
}

#[test]
fn every_scenario_of_the_library_has_a_change_that_fits_it() {
    for included in LIBRARY {
        let change = variance::change_of(included);
        assert!(!change.is_empty());
        let settings = change
            .split_whitespace()
            .map(crate::design::FieldSetting::parse);
        let mut design = crate::design::Design::of(included.name, included.text).unwrap();
        design.variants = vec![settings.map(Result::unwrap).collect()];
        assert!(design.runs().is_ok(), "{}", included.name);
    }
}
