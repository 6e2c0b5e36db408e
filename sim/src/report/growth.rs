//! What peers cost as there are more of them, as a page.

use super::page::{PageTable, ReportPage};
use super::plot::{Colour, LayerKind, Plot, PlotPoint};
use super::scale::{AxisScale, PlotAxis};
use crate::scenario::Tier;
use crate::stats::whole;

/// What so many peers cost in a tier.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct GrowthRow {
    /// The tier.
    pub tier: Tier,
    /// How many there were.
    pub peers: u64,
    /// Processor time of a block that moved, or of a round of the flow tier, in seconds.
    pub unit_seconds: f64,
    /// Processor time of all, in seconds.
    pub cpu_seconds: f64,
    /// Payload that peers received.
    pub gib_moved: f64,
    /// The most memory that there was, for each peer.
    pub bytes_per_peer: f64,
}

impl GrowthRow {
    /// The price of a block among so many, in that among the fewest; or that of a peer's round.
    pub fn times_of_first(&self, rows: &[Self]) -> f64 {
        let first = rows.iter().find(|row| row.tier == self.tier);
        first.map_or(f64::NAN, |first| self.price() / first.price())
    }

    /// Seconds of a block, or of a peer's round.
    fn price(&self) -> f64 {
        match self.tier {
            Tier::Block => self.unit_seconds,
            Tier::Flow => self.unit_seconds / whole(self.peers),
        }
    }
}

/// Plots and a table of what peers cost.
pub fn growth_page(rows: &[GrowthRow]) -> String {
    let mut page = ReportPage::new(
        "What peers cost",
        "Processor time and memory as there are more peers. Block tier: scale, 16 MiB for \
         everybody, about 30 connections each. Flow tier: flow-scale, 50 neighbours each, one in \
         a hundred pays, lines shared in one pass, ten rounds of 10 s after the first.",
        "Each count in a process of its own, one thread; a machine that does other things shows.",
    );
    page.plots(&[block(rows), round(rows), memory(rows)]);
    let head = ["tier", "peers", "CPU s", "a block or round", "B a peer"];
    let mut table = PageTable::new(1, &head);
    for row in rows {
        let (tier, unit) = match row.tier {
            Tier::Block => ("block", format!("{:.1} µs", row.unit_seconds * 1e6)),
            Tier::Flow => ("flow", format!("{:.4} s", row.unit_seconds)),
        };
        table.row(vec![
            tier.to_owned(),
            row.peers.to_string(),
            format!("{:.2}", row.cpu_seconds),
            unit,
            format!("{:.0}", row.bytes_per_peer),
        ]);
    }
    page.table(&table);
    page.heading("How to repeat it");
    page.listing("seedbank-sim verify --cost --long --out growth.html");
    page.finish()
}

fn block(rows: &[GrowthRow]) -> Plot {
    let mut plot = Plot::new(
        "A block of the block tier",
        "Processor time for each 16 KiB that moved, and twice that of the fewest peers.",
        peers(),
        PlotAxis::from_zero("CPU of a block", "µs"),
    );
    let of = |row: &GrowthRow| row.unit_seconds * 1e6;
    let points = points(rows, Tier::Block, of);
    if let Some((first, last)) = points.first().zip(points.last()) {
        let twice = [first.x, last.x].map(|x| PlotPoint::at(x, 2.0 * first.y));
        plot.draw("twice", Colour::Reference, LayerKind::Line, twice);
    }
    plot.draw("", Colour::Of(0), LayerKind::Intervals, points);
    plot
}

fn round(rows: &[GrowthRow]) -> Plot {
    let mut plot = Plot::new(
        "A round of the flow tier",
        "Processor time of a round of 10 s, and what it were if each peer cost as among the \
         fewest.",
        peers(),
        PlotAxis::new("CPU of a round", "s", AxisScale::Log),
    );
    let points = points(rows, Tier::Flow, |row| row.unit_seconds);
    if let Some((first, last)) = points.first().zip(points.last()) {
        let alike = [first.x, last.x].map(|x| PlotPoint::at(x, first.y * x / first.x));
        plot.draw("in proportion", Colour::Reference, LayerKind::Line, alike);
    }
    plot.draw("", Colour::Of(0), LayerKind::Intervals, points);
    plot
}

fn memory(rows: &[GrowthRow]) -> Plot {
    let mut plot = Plot::new(
        "Memory of a peer",
        "The most that the process ever had, for each peer: among few most of it is the program.",
        peers(),
        PlotAxis::new("memory", "KiB", AxisScale::Log),
    );
    for (number, (tier, name)) in [(Tier::Block, "block"), (Tier::Flow, "flow")]
        .into_iter()
        .enumerate()
    {
        let points = points(rows, tier, |row| row.bytes_per_peer / 1_024.0);
        plot.draw(name, Colour::Of(number), LayerKind::Intervals, points);
    }
    plot
}

fn peers() -> PlotAxis {
    PlotAxis::new("peers", "", AxisScale::Log)
}

fn points(rows: &[GrowthRow], tier: Tier, of: impl Fn(&GrowthRow) -> f64) -> Vec<PlotPoint> {
    let rows = rows.iter().filter(|row| row.tier == tier);
    rows.map(|row| PlotPoint::at(whole(row.peers), of(row)))
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn row(tier: Tier, peers: u64, unit_seconds: f64) -> GrowthRow {
        GrowthRow {
            tier,
            peers,
            unit_seconds,
            cpu_seconds: 1.0,
            gib_moved: 1.0,
            bytes_per_peer: 2_048.0,
        }
    }

    #[test]
    fn a_price_is_compared_with_that_among_the_fewest_of_its_tier() {
        let rows = [
            row(Tier::Block, 100, 10e-6),
            row(Tier::Block, 1_000, 15e-6),
            row(Tier::Flow, 100, 1e-3),
            row(Tier::Flow, 1_000, 12e-3),
        ];
        let times = rows.map(|row| row.times_of_first(&rows));
        for (found, expected) in times.iter().zip([1.0, 1.5, 1.0, 1.2]) {
            assert!((found - expected).abs() < 1e-9, "{times:?}");
        }
        let page = growth_page(&rows);
        assert_eq!(page.matches("<figure>").count(), 3);
        assert_eq!(growth_page(&rows[..2]).matches("<figure>").count(), 2);
    }
}
