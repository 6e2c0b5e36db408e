//! Who serves whom by capacity: a map of givers and takers.

use super::super::ReportError;
use super::super::plot::{Colour, LayerKind, Plot, PlotPoint, SHADES};
use super::super::scale::{AxisScale, PlotAxis};
use super::super::units::{ShownUnit, number};
use crate::frame::Frame;
use crate::stats::float;

/// Fewest groups of which a map is drawn.
const GROUPS_MIN: usize = 4;
/// Names of the shades, and how many times the mean they begin at.
const NAMES: [(&str, f64); SHADES] = [
    ("below half the mean", 0.0),
    ("to the mean", 0.5),
    ("to twice", 1.0),
    ("to four times", 2.0),
    ("more", 4.0),
];

/// The map, if leechers differ in what they can send.
pub(super) fn plot(unchokes: &Frame) -> Result<Option<Plot>, ReportError> {
    let cells = |name| {
        let cells = unchokes.numbers(name).ok_or(ReportError::Column(name))?;
        Ok::<_, ReportError>(cells.into_iter().map(Option::unwrap_or_default))
    };
    let [giver, taker] = [cells("giver")?, cells("taker")?].map(Iterator::collect::<Vec<f64>>);
    let uplinks: Vec<f64> = cells("giver_uplink")?.collect();
    let [unchoked, together] =
        [cells("unchoked")?, cells("together")?].map(Iterator::collect::<Vec<f64>>);
    let mut groups: Vec<f64> = giver.iter().chain(&taker).copied().collect();
    groups.sort_by(f64::total_cmp);
    groups.dedup();
    let least = uplinks.iter().copied().fold(f64::INFINITY, f64::min);
    let most = uplinks.iter().copied().fold(0.0, f64::max);
    let all: f64 = together.iter().sum();
    let mean = unchoked.iter().sum::<f64>() / all.max(1.0);
    if groups.len() < GROUPS_MIN || most <= least || mean <= 0.0 {
        return Ok(None);
    }
    let unit = ShownUnit::of_rate(least);
    let about = format!(
        "Leechers by what their lines can send, the slowest at the left and below: how often one \
         of a group is unchoked by one of another, of the moments at which both were there, \
         against the mean of all pairs, {} %. Medians of groups: {} to {} {}. What is dark along \
         the diagonal is a cluster of like capacities; blank are groups that never met.",
        number(100.0 * mean),
        unit.text(least),
        unit.text(most),
        unit.name
    );
    let axis = |label| PlotAxis::new(label, "% of leechers", AxisScale::Between(0.0, 100.0));
    let mut plot = Plot::new(
        "Who unchokes whom",
        &about,
        axis("unchoked, by uplink"),
        axis("unchoking, by uplink"),
    );
    let side = 100.0 / float(groups.len());
    let place = |group: f64| {
        let before = groups.partition_point(|other| *other < group);
        side * float(before)
    };
    for (shade, (name, from)) in NAMES.iter().enumerate() {
        let to = NAMES.get(shade + 1).map_or(f64::INFINITY, |(_, to)| *to);
        let rows = (0..giver.len()).filter(|row| {
            let times = unchoked[*row] / together[*row].max(1.0) / mean;
            (*from..to).contains(&times)
        });
        let points = rows.map(|row| PlotPoint::cell(place(taker[row]), place(giver[row]), side));
        plot.draw(name, Colour::Of(0), LayerKind::Cells(shade), points);
    }
    Ok(Some(plot))
}
