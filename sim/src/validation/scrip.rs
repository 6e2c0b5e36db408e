//! Scrip at a fixed price: how money spreads, and how much of it stops all work (rows 4 and 5;
//! Kash, Friedman and Halpern, "Optimizing scrip systems", Distributed Computing 25, 2012).

mod equilibrium;
mod money;

use super::{RowForm, Tolerance, ValidationRow};
use crate::stats::whole;
use equilibrium::{Kind, crash_between, settle};
use money::{Geometric, Scrip};

/// Agents.
const AGENTS: usize = 1_000;
/// Threshold, mean money, share of requests that are satisfied.
const LAWS: [(usize, u64, f64); 3] = [(5, 2, 0.7532), (10, 4, 0.8561), (15, 8, 0.9479)];

/// Row 4: money spreads as a truncated geometric law, and that says how many requests are
/// satisfied.
pub(super) fn stationary_law(form: RowForm) -> Vec<ValidationRow> {
    let (requests, transfers) = match form {
        RowForm::Short => (1_000_000, 2_000),
        RowForm::Full => (8_000_000, 50_000),
    };
    let mut published = ValidationRow::theory("4a", "requests satisfied by the law")
        .within(Tolerance::Absolute(0.000_1));
    let mut satisfied = ValidationRow::theory("4b", "requests satisfied among 1,000 agents")
        .within(Tolerance::Absolute(0.003));
    let mut spread = ValidationRow::theory("4c", "total variation from the law")
        .within(Tolerance::Absolute(0.005));
    for (threshold, mean, expected) in LAWS {
        let law = Geometric::with_mean(threshold, whole(mean));
        published = published.pair(expected, law.satisfied());
        let mut scrip = Scrip::new(AGENTS, threshold, mean);
        let played = scrip.play(requests);
        satisfied = satisfied.pair(expected, played.satisfied);
        spread = spread.pair(0.0, law.distance(&played.held));
    }
    vec![
        published,
        satisfied,
        spread,
        money::on_the_ledger(transfers),
    ]
}

/// Row 5: where best replies seize, with sybils, and with hoarders.
pub(super) fn crashes(form: RowForm) -> Vec<ValidationRow> {
    let alike = |alpha, delta| vec![Kind::new(1.0, alpha, delta)];
    let exists = |kinds: &[Kind], mean| f64::from(u8::from(settle(kinds, mean).is_some()));
    let crash = |kinds: &[Kind]| {
        let [below, above] = crash_between(kinds, 0.02);
        f64::midpoint(below, above)
    };
    let base = alike(0.05, 0.95);
    let either = ValidationRow::theory("5a", "an equilibrium at 8.6 credits each, none at 8.8")
        .pair(1.0, exists(&base, 8.6))
        .pair(0.0, exists(&base, 8.8));
    let grid: &[(f64, f64, f64)] = match form {
        RowForm::Short => &[(0.05, 0.95, 8.68), (0.20, 0.90, 3.62)],
        RowForm::Full => &[
            (0.05, 0.90, 6.15),
            (0.05, 0.95, 8.68),
            (0.05, 0.97, 11.2),
            (0.10, 0.95, 6.88),
            (0.20, 0.90, 3.62),
            (0.20, 0.95, 5.16),
        ],
    };
    let points =
        ValidationRow::theory("5", "credits each at which work ends, by cost and patience");
    let points = grid.iter().fold(points, |row, (alpha, delta, expected)| {
        row.pair(*expected, crash(&alike(*alpha, *delta)))
    });
    let sybils = vec![
        Kind::new(0.8, 0.065, 0.97),
        Kind {
            weight: 2.0,
            ..Kind::new(0.2, 0.065, 0.97)
        },
    ];
    let shift = ValidationRow::theory("5b", "the same; a fifth has a sybil each")
        .pair(10.31, crash(&alike(0.065, 0.97)))
        .pair(9.50, crash(&sybils))
        .within(Tolerance::Percent(2.0));
    let hoarders = [
        Kind::new(0.99, 0.05, 0.95),
        Kind {
            hoards: true,
            ..Kind::new(0.01, 0.05, 0.95)
        },
    ];
    let hoarding = ValidationRow::theory("5c", "1 % hoard: others satisfied at 9, 12, 20 each");
    let hoarding = [9.0, 12.0, 20.0].into_iter().fold(hoarding, |row, mean| {
        let settled = settle(&hoarders, mean);
        row.pair(0.936, settled.map_or(0.0, |settled| settled.satisfied[0]))
    });
    vec![
        either,
        points.within(Tolerance::Absolute(0.15)),
        shift,
        hoarding.within(Tolerance::Absolute(0.01)),
    ]
}
