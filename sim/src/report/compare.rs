//! The page of a comparison: two variants under the same luck, difference by difference.

use std::collections::BTreeMap;

use super::page::{PageTable, ReportPage};
use super::peers::{PeerFacts, PeerTable};
use super::plot::{Colour, LayerKind, Plot, PlotPoint, thinned};
use super::scale::{AxisScale, PlotAxis};
use super::units::{ShownUnit, number};
use super::{PopulationFacts, SweepResults, sweep};
use crate::stats::{Estimate, float};

/// Most marks of a population.
const MARKS_MAX: usize = 1_500;

/// Medians of a population under both variants, by seeds under which both have one.
type Pairs = Vec<(f64, f64)>;

pub(super) fn page(results: &SweepResults, peers: &[PeerTable]) -> String {
    let (title, about) = results.origin.title();
    let mut page = ReportPage::new(&title, &about, &sweep::summary(results));
    let labels = results
        .variants
        .iter()
        .map(|variant| variant.label.as_str());
    for (letter, label) in ["A", "B"].into_iter().zip(labels) {
        page.paragraph(&format!("{letter}: {label}"));
    }
    page.heading("Differences");
    page.table(&differences(results));
    page.paragraph(
        "Medians of the time from coming until done (Kaplan and Meier), mean over seeds under \
         which both variants have one. Both variants of a seed draw the same luck: ± is half of \
         the 95 % interval of the paired differences (Student), and unpaired what it would be \
         with luck of their own. Below zero B is sooner.",
    );
    page.heading("Plots");
    let mut plots = vec![difference_plot(results)];
    plots.extend(bought(results, peers));
    for (number, name) in results.wanting() {
        plots.push(sweep::completion(results, number, name));
    }
    page.plots(&plots);
    page.heading("Variants");
    page.table(&sweep::cells(results));
    page.paragraph(sweep::INTERVALS);
    sweep::warm_up(results, &mut page);
    page.heading("Runs");
    sweep::runs(results, &mut page);
    let same = "The same version comes to the same differences, on any machine.";
    results.origin.write(&mut page, same);
    page.finish()
}

fn pairs(results: &SweepResults, population: usize) -> Pairs {
    let medians = |variant: usize| {
        let runs = results.of_variant(variant).into_iter();
        let median = |facts: &PopulationFacts| facts.finished_by(0.5);
        let medians = runs.filter_map(|run| Some((run.line.seed, median(run.of(population)?)?)));
        medians.collect::<BTreeMap<u64, f64>>()
    };
    let (a, b) = (medians(0), medians(1));
    let both = a.iter().filter_map(|(seed, a)| Some((*a, *b.get(seed)?)));
    both.collect()
}

fn unit_of(results: &SweepResults) -> ShownUnit {
    let all = results.wanting().into_iter();
    let all = all.flat_map(|(number, _)| pairs(results, number));
    ShownUnit::of_time(all.map(|(a, b)| a.max(b)).fold(0.0, f64::max))
}

fn differences(results: &SweepResults) -> PageTable {
    let unit = unit_of(results);
    let head = [
        "population".to_owned(),
        "seeds".to_owned(),
        format!("A {}", unit.name),
        format!("B {}", unit.name),
        format!("B − A {}", unit.name),
        format!("unpaired ± {}", unit.name),
        "B / A".to_owned(),
        "excludes 0".to_owned(),
    ];
    let head: Vec<&str> = head.iter().map(String::as_str).collect();
    let mut table = PageTable::new(1, &head);
    for (population, name) in results.wanting() {
        let (a, b): (Vec<f64>, Vec<f64>) = pairs(results, population).into_iter().unzip();
        let difference = Estimate::of_differences(&b, &a);
        let (Some(difference), Some(a), Some(b)) = (difference, Estimate::of(&a), Estimate::of(&b))
        else {
            continue;
        };
        let apart = libm::hypot(a.half_width, b.half_width);
        table.row(vec![
            name.to_owned(),
            a.count.to_string(),
            unit.text(a.mean),
            unit.text(b.mean),
            unit.estimate(Some(difference)),
            match apart.is_finite() {
                true => unit.text(apart),
                false => "–".to_owned(),
            },
            match a.mean > 0.0 {
                true => number(b.mean / a.mean),
                false => "–".to_owned(),
            },
            if difference.is_clear() { "yes" } else { "no" }.to_owned(),
        ]);
    }
    table
}

/// Differences of each seed, and their mean with its interval.
fn difference_plot(results: &SweepResults) -> Plot {
    let unit = unit_of(results);
    let wanting = results.wanting();
    let names = wanting.iter().map(|(_, name)| (*name).to_owned());
    let mut plot = Plot::new(
        "How much later B is",
        "Differences of the medians of each seed (empty), and their mean with its 95 % interval. \
         Left of the dashed line B is sooner.",
        PlotAxis::new("B − A", unit.name, AxisScale::Linear { from_zero: true }),
        PlotAxis::named("population", names.collect()),
    );
    plot.rules.push(super::plot::PlotRule {
        x: 0.0,
        name: String::new(),
    });
    let rows = || wanting.iter().enumerate();
    let seeds = rows().flat_map(|(row, (population, _))| {
        let pairs = pairs(results, *population).into_iter();
        pairs.map(move |(a, b)| PlotPoint::at(unit.of(b - a), float(row)))
    });
    plot.draw("one seed", Colour::Reference, LayerKind::Circles, seeds);
    let means = rows().filter_map(|(row, (population, _))| {
        let pairs = pairs(results, *population).into_iter();
        let mean = Estimate::of(&pairs.map(|(a, b)| b - a).collect::<Vec<f64>>())?;
        let (middle, half) = (unit.of(mean.mean), unit.of(mean.half_width));
        let point = PlotPoint::at(middle, float(row));
        Some(point.between(middle - half, middle + half))
    });
    plot.draw("mean of all seeds", Colour::Of(0), LayerKind::Ranges, means);
    plot
}

/// How much sooner each peer was done for what it spent more, if any did.
fn bought(results: &SweepResults, peers: &[PeerTable]) -> Option<Plot> {
    let bargains = bargains(results, peers);
    let all = || bargains.iter().flatten();
    let credit = ShownUnit::of_credit(all().map(|(spent, _)| spent.abs()).fold(0.0, f64::max));
    let time = ShownUnit::of_time(all().map(|(_, sooner)| sooner.abs()).fold(0.0, f64::max));
    let mut plot = Plot::new(
        "Speed-up bought against credit spent",
        "Each mark is a peer under one seed that spent another amount under B than under A and was \
         done under both: how much sooner it was done for how much more.",
        PlotAxis::new(
            "spent more",
            credit.name,
            AxisScale::Linear { from_zero: true },
        ),
        PlotAxis::new("sooner", time.name, AxisScale::Linear { from_zero: true }),
    );
    for (population, bargains) in bargains.iter().enumerate() {
        let points: Vec<PlotPoint> = bargains
            .iter()
            .map(|(spent, sooner)| PlotPoint::at(credit.of(*spent), time.of(*sooner)))
            .collect();
        let points = thinned(&points, MARKS_MAX);
        plot.draw(
            &results.names[population],
            Colour::Of(population),
            LayerKind::Dots,
            points,
        );
    }
    (!plot.is_empty()).then_some(plot)
}

/// For each population: micro-credits that a peer spent more under B, and seconds that it was
/// sooner.
fn bargains(results: &SweepResults, peers: &[PeerTable]) -> Vec<Vec<(f64, f64)>> {
    let mut bargains = vec![Vec::new(); results.names.len()];
    let runs = || results.runs.iter().zip(peers);
    for (a, of_a) in runs().filter(|(run, _)| run.line.variant == 0) {
        let twin = runs().find(|(b, _)| b.line.variant == 1 && b.line.seed == a.line.seed);
        let Some((_, of_b)) = twin else {
            continue;
        };
        let key = |table: &PeerTable, peer: &PeerFacts| {
            // Indices are whole.
            (table.names[peer.population].clone(), peer.index.to_bits())
        };
        let others: BTreeMap<_, &PeerFacts> = of_b
            .peers
            .iter()
            .map(|peer| (key(of_b, peer), peer))
            .collect();
        for peer in &of_a.peers {
            let name = &of_a.names[peer.population];
            let number = results.names.iter().position(|known| known == name);
            let other = others.get(&key(of_a, peer));
            if let (Some(number), Some(other)) = (number, other) {
                bargains[number].extend(bargain(peer, other));
            }
        }
    }
    bargains
}

fn bargain(a: &PeerFacts, b: &PeerFacts) -> Option<(f64, f64)> {
    let took = |peer: &PeerFacts| Some(peer.done? - peer.joined?);
    let spent = b.spent - a.spent;
    (spent.abs() > 0.0).then_some((spent, took(a)? - took(b)?))
}
