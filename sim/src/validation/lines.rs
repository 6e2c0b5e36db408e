//! Lines that scenarios draw, against the measurement they are drawn from (row 10).

use super::{RowForm, Tolerance, ValidationRow};
use crate::capacity::{Profile, piatek};
use crate::stats::{float, whole};
use crate::streams::{Purpose, Streams};

/// Row 10.
pub(super) fn sampler(_: RowForm) -> Vec<ValidationRow> {
    let count: usize = 100_000;
    let streams = Streams::new(3);
    let draw = |index: usize| {
        let rng = &mut streams.draw(Purpose::Capacity, "", index as u64);
        whole(Profile::Piatek2006.draw(rng).uplink) / 1_000.0
    };
    let mut rates: Vec<f64> = (0..count).map(draw).collect();
    rates.sort_unstable_by(f64::total_cmp);
    let sum: f64 = rates.iter().sum();
    let places = rates.iter().enumerate();
    let weighted: f64 = places.map(|(place, rate)| float(place + 1) * rate).sum();
    let gini = 2.0 * weighted / (float(count) * sum) - float(count + 1) / float(count);
    // Kolmogorov and Smirnov: how far the two distributions are apart anywhere.
    let apart = |part: usize| {
        let quantile = float(part) / 1_000.0;
        let at = piatek(quantile);
        let below = rates.partition_point(|rate| *rate <= at);
        (float(below) / float(count) - quantile).abs()
    };
    let distance = (1..1_000).map(apart).fold(0.0, f64::max);
    let row = |id, what| ValidationRow::theory(id, what);
    vec![
        row("10a", "uplinks of 2006: mean (kB/s)")
            .pair(430.0, sum / float(count))
            .within(Tolerance::Percent(3.0)),
        row("10b", "the same: Gini coefficient")
            .pair(0.80, gini)
            .within(Tolerance::Absolute(0.01)),
        row("10c", "the same: Kolmogorov–Smirnov distance")
            .pair(0.0, distance)
            .within(Tolerance::Absolute(0.006)),
    ]
}
