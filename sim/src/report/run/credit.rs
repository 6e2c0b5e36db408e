//! Plots of credit in the end: who has it, who earned it, and what it bought.

use super::super::peers::{PeerFacts, PeerTable, PopulationFacts};
use super::super::plot::{Colour, LayerKind, Plot, PlotPoint, thinned};
use super::super::scale::{AxisScale, PlotAxis};
use super::POINTS_MAX;
use crate::stats::{float, gini, lorenz};

pub(super) fn plots(table: &PeerTable, facts: &[PopulationFacts]) -> Vec<Plot> {
    let granted = table.peers.iter().any(|peer| peer.granted > 0.0);
    match granted {
        true => vec![shares(table, facts), lorenz_curves(table)],
        false => Vec::new(),
    }
}

/// How much of what a population received it paid for.
fn shares(table: &PeerTable, facts: &[PopulationFacts]) -> Plot {
    let received = facts.iter().enumerate();
    let received: Vec<_> = received
        .filter(|(_, facts)| facts.downloaded > 0.0)
        .collect();
    let names = received
        .iter()
        .map(|(number, _)| table.names[*number].clone());
    let mut plot = Plot::new(
        "Paid share of what was received",
        "Of the payload that each population received, what it signed credit away for; the rest \
         came from the open class.",
        PlotAxis::new("of what was received", "%", AxisScale::Between(0.0, 100.0)),
        PlotAxis::named("population", names.collect()),
    );
    let shares = received.iter().enumerate().map(|(place, (_, facts))| {
        let share = 100.0 * (facts.paid_received / facts.downloaded).min(1.0);
        (float(place), share)
    });
    let shares: Vec<(f64, f64)> = shares.collect();
    let bar = |(y, low, high): (f64, f64, f64)| PlotPoint::at(high, y).between(low, high);
    let paid = shares.iter().map(|(y, share)| bar((*y, 0.0, *share)));
    plot.draw("paid", Colour::Of(1), LayerKind::Bars, paid);
    let open = shares.iter().map(|(y, share)| bar((*y, *share, 100.0)));
    plot.draw("open", Colour::Of(0), LayerKind::Bars, open);
    plot
}

fn lorenz_curves(table: &PeerTable) -> Plot {
    let came = || table.peers.iter().filter(|peer| peer.joined.is_some());
    let amounts: [(&str, Vec<f64>); 2] = [
        ("balance", came().map(PeerFacts::balance).collect()),
        ("income", came().map(|peer| peer.earned).collect()),
    ];
    let told = amounts.iter().filter_map(|(name, amounts)| {
        let gini = gini(amounts)?;
        Some(format!("{name} {gini:.2}"))
    });
    let about = format!(
        "Which share of all credit the poorest share of peers has in the end, and which share of \
         all that was earned it earned (Lorenz). Gini coefficients: {}.",
        told.collect::<Vec<_>>().join(", ")
    );
    let mut plot = Plot::new(
        "Who has credit, who earned it",
        &about,
        PlotAxis::percent("poorest peers"),
        PlotAxis::percent("their share"),
    );
    let ends = [0.0, 100.0].map(|share| PlotPoint::at(share, share));
    plot.draw("equal", Colour::Reference, LayerKind::Line, ends);
    for (place, (name, amounts)) in amounts.iter().enumerate() {
        let points = thinned(&lorenz(amounts), POINTS_MAX);
        let points = points.iter();
        let points = points.map(|(x, y)| PlotPoint::at(100.0 * x, 100.0 * y));
        plot.draw(name, Colour::Of(place), LayerKind::Line, points);
    }
    plot
}
