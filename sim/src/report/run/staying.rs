//! Plots of who comes and stays: how long seeds seed, and how newcomers begin as the run goes on.

use super::super::peers::{PeerFacts, PeerTable};
use super::super::plot::{Colour, LayerKind, Plot, PlotPoint};
use super::super::scale::PlotAxis;
use super::super::units::ShownUnit;
use crate::stats::{Lifetime, finished_by, finished_shares, float};

/// Stretches of time in which newcomers are counted together.
const STRETCHES: usize = 12;
/// Fewest newcomers in a stretch of which something is told.
const NEWCOMERS_MIN: usize = 5;

/// How long those seed who have everything, if one of them left.
pub(super) fn seeding(table: &PeerTable, end: f64) -> Option<Plot> {
    let of = |peer: &PeerFacts| {
        let done = peer.done?;
        Some(Lifetime {
            time: (peer.left.unwrap_or(end) - done).max(0.0),
            finished: peer.left.is_some(),
        })
    };
    let each = (0..table.names.len()).map(|population| table.of(population).filter_map(of));
    let each: Vec<Vec<Lifetime>> = each.map(Iterator::collect).collect();
    let all = || each.iter().flatten();
    let left = all().filter(|it| it.finished).map(|it| it.time);
    let unit = ShownUnit::of_time(left.fold(None, |most: Option<f64>, it| {
        Some(most.map_or(it, |most| most.max(it)))
    })?);
    let mut plot = Plot::new(
        "Seeds that stay",
        "Share of those who have everything that still seed, by the time since they had it \
         (Kaplan and Meier: who was there at the end counts as far as it was seen; shaded: 95 %).",
        PlotAxis::from_zero("time since done", unit.name),
        PlotAxis::percent("still there"),
    );
    for (population, (name, lifetimes)) in table.names.iter().zip(&each).enumerate() {
        let last = lifetimes.iter().map(|it| it.time).fold(0.0, f64::max);
        let shares = finished_shares(lifetimes);
        let Some(end) = shares.last() else {
            // All of them stay.
            let ends = [0.0, unit.of(last)].map(|time| PlotPoint::at(time, 100.0));
            plot.draw(name, Colour::Of(population), LayerKind::Steps, ends);
            continue;
        };
        let begin = PlotPoint::at(0.0, 100.0).between(100.0, 100.0);
        let stay = |share: f64| 100.0 * (1.0 - share);
        let points = shares.iter().map(|it| {
            let point = PlotPoint::at(unit.of(it.time), stay(it.share));
            point.between(stay(it.high), stay(it.low))
        });
        let seen = PlotPoint::at(unit.of(last), stay(end.share));
        let seen = seen.between(stay(end.high), stay(end.low));
        let points = [begin].into_iter().chain(points).chain([seen]);
        plot.draw(name, Colour::Of(population), LayerKind::Steps, points);
    }
    Some(plot)
}

/// Time until the first piece by the time of coming, where peers come one by one.
pub(super) fn newcomers(table: &PeerTable, is_open: &[bool], end: f64) -> Option<Plot> {
    let joined = |peer: &PeerFacts| peer.joined.filter(|_| peer.wanted > 0.0);
    let open = (0..table.names.len()).filter(|population| is_open[*population]);
    let open: Vec<usize> = open.collect();
    let comes = open.iter().flat_map(|of| table.of(*of)).filter_map(joined);
    let last = comes.fold(0.0, f64::max);
    let mut drawn = Vec::new();
    for population in open {
        let mut stretches = vec![Vec::new(); STRETCHES];
        for peer in table.of(population) {
            let (Some(at), Some(begins)) = (joined(peer), peer.until_first_piece(end)) else {
                continue;
            };
            let place = (0..STRETCHES).rev();
            let mut place = place.filter(|it| at >= last * float(*it) / float(STRETCHES));
            stretches[place.next().unwrap_or(0)].push(begins);
        }
        let told = stretches.iter().enumerate();
        let told = told.filter(|(_, of)| of.len() >= NEWCOMERS_MIN);
        let points: Vec<(f64, f64, f64, f64)> = told
            .filter_map(|(place, of)| {
                let by = |share| finished_by(of, share);
                let middle = last * (float(place) + 0.5) / float(STRETCHES);
                let high = by(0.9).unwrap_or(f64::INFINITY);
                Some((middle, by(0.5)?, by(0.1)?, high))
            })
            .collect();
        drawn.push((population, points));
    }
    let most = drawn.iter().flat_map(|(_, points)| points);
    let most = most.map(|(_, half, _, high)| if high.is_finite() { *high } else { *half });
    let unit = ShownUnit::of_time(most.fold(0.0, f64::max));
    let time = ShownUnit::of_time(last);
    let mut plot = Plot::new(
        "First piece by time of coming",
        "Time from coming until the first piece was verified, for those who came in each twelfth \
         of the time over which peers came: half of them by the mark, a tenth and nine tenths by \
         the ends of the line.",
        PlotAxis::from_zero("came at", time.name),
        PlotAxis::from_zero("until the first piece", unit.name),
    );
    for (population, points) in drawn {
        let points = points.into_iter().map(|(at, half, low, high)| {
            let point = PlotPoint::at(time.of(at), unit.of(half));
            point.between(unit.of(low), unit.of(high))
        });
        let name = &table.names[population];
        plot.draw(name, Colour::Of(population), LayerKind::Intervals, points);
    }
    (!plot.is_empty()).then_some(plot)
}
