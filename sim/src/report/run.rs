//! The page of one run.

mod clusters;
mod credit;
mod fluid;
mod money;
mod series;
mod staying;

use super::page::{PageTable, ReportPage};
use super::peers::{PeerFacts, PeerTable, PopulationFacts, open_populations};
use super::plot::{Colour, LayerKind, Plot, PlotPoint, PlotRule, thinned};
use super::scale::{AxisScale, PlotAxis};
use super::units::{ShownUnit, number};
use super::{ReportError, RunResults, counted, warm_up_note};
use crate::scenario::Scenario;
use crate::stats::{FinishedShare, Lifetime, finished_shares, float};

/// Most points that a line is drawn through.
pub(super) const POINTS_MAX: usize = 1_000;
/// Most marks of a population.
const MARKS_MAX: usize = 1_500;

pub(super) fn page(run: &RunResults) -> Result<String, ReportError> {
    let table = PeerTable::read(&run.peers)?;
    let (title, about) = run.origin.title();
    let end = run.lasted;
    let scenario = Scenario::parse("scenario", &run.origin.scenario).ok();
    let open = scenario.as_ref().map(open_populations).unwrap_or_default();
    let facts = table.populations(end, &open);
    let came_for: usize = facts.iter().map(|facts| facts.wanting).sum();
    let finished: usize = facts.iter().map(|facts| facts.finished).sum();
    let time = ShownUnit::of_time(end);
    let summary = format!(
        "{} in {}; {} came for something and {finished} finished. {} {} of virtual time.",
        counted(table.peers.len(), "peer"),
        counted(table.names.len(), "population"),
        came_for,
        time.text(end),
        time.name,
    );
    let mut page = ReportPage::new(&title, &about, &summary);
    page.heading("Populations");
    page.table(&populations(&table, &facts));
    page.paragraph(
        "Median and p90 count those who had not finished as far as they were seen (Kaplan and \
         Meier); – : so many never finished. This is one run under one seed: for intervals over \
         seeds, run a sweep.",
    );
    let named = table.names.iter().zip(&facts);
    let cut = named.filter(|(_, facts)| facts.warm_up > 0);
    if let Some(note) = warm_up_note(cut.map(|(name, _)| name.as_str())) {
        page.paragraph(&note);
    }
    page.heading("Plots");
    let mut plots = vec![
        completion(&table, &facts, scenario.as_ref()),
        download_rates(&table, end),
    ];
    let fluid = scenario.as_ref();
    let fluid = fluid.and_then(|scenario| fluid::moments(scenario, &table, end));
    plots.extend(series::plots(&run.series, fluid.as_deref())?);
    plots.extend(clusters::plot(&run.unchokes)?);
    plots.push(first_pieces(&table, end));
    let is_open: Vec<bool> = table.names.iter().map(|name| open.contains(name)).collect();
    plots.extend(staying::newcomers(&table, &is_open, end));
    plots.extend(staying::seeding(&table, end));
    plots.extend(credit::plots(&table, &facts));
    page.plots(&plots);
    let same = "The same version comes to the same state hash, on any machine.";
    run.origin.write(&mut page, same);
    Ok(page.finish())
}

fn populations(table: &PeerTable, facts: &[PopulationFacts]) -> PageTable {
    let most = |of: fn(&PopulationFacts) -> f64| facts.iter().map(of).fold(0.0, f64::max);
    let times = facts.iter().filter_map(|facts| facts.finished_by(0.5));
    let time = ShownUnit::of_time(times.fold(0.0, f64::max));
    let bytes = ShownUnit::of_bytes(most(|facts| facts.uploaded.max(facts.downloaded)));
    let credit = ShownUnit::of_credit(most(|facts| facts.granted.max(facts.earned)));
    let head = [
        "population".to_owned(),
        "peers".to_owned(),
        "came".to_owned(),
        "finished".to_owned(),
        "not finished".to_owned(),
        "warm-up".to_owned(),
        format!("median {}", time.name),
        format!("p90 {}", time.name),
        format!("mean of the finished {}", time.name),
        format!("sent {}", bytes.name),
        format!("received {}", bytes.name),
        format!("in vain {}", bytes.name),
        format!("sent as paid {}", bytes.name),
        format!("received as paid {}", bytes.name),
        format!("granted {}", credit.name),
        format!("spent {}", credit.name),
        format!("earned {}", credit.name),
    ];
    let head: Vec<&str> = head.iter().map(String::as_str).collect();
    let mut rows = PageTable::new(1, &head);
    for (name, facts) in table.names.iter().zip(facts) {
        let seconds = |seconds: Option<f64>| seconds.map_or("–".to_owned(), |s| time.text(s));
        let wanting = |count: usize| match facts.wants() {
            true => count.to_string(),
            false => "–".to_owned(),
        };
        rows.row(vec![
            name.clone(),
            facts.count.to_string(),
            facts.came.to_string(),
            wanting(facts.finished),
            wanting(facts.censored()),
            facts.warm_up.to_string(),
            seconds(facts.finished_by(0.5)),
            seconds(facts.finished_by(0.9)),
            seconds(facts.mean()),
            bytes.text(facts.uploaded),
            bytes.text(facts.downloaded),
            bytes.text(facts.wasted),
            bytes.text(facts.paid_sent),
            bytes.text(facts.paid_received),
            credit.text(facts.granted),
            credit.text(facts.spent),
            credit.text(facts.earned),
        ]);
    }
    rows.without_empty_columns()
}

/// Until everything, by population, with the least possible.
fn completion(table: &PeerTable, facts: &[PopulationFacts], scenario: Option<&Scenario>) -> Plot {
    let bound = scenario.and_then(|scenario| distribution_bound(table, scenario));
    let about = "Share of each population that has everything, by the time since it came (Kaplan \
                 and Meier; shaded: 95 % by Greenwood, as if peers were independent).";
    let more = match bound {
        Some(_) => {
            " Dashed: no rule lets the last one be done sooner (the largest of F/u_s, F/d and \
             N·F/(u_s + Σu_i), less the time over which they came)."
        }
        None => "",
    };
    let lifetimes: Vec<&[Lifetime]> = facts.iter().map(|facts| &facts.lifetimes[..]).collect();
    let title = ["Time until done", &format!("{about}{more}")];
    let mut plot = shares(title, table, &lifetimes, bound);
    if let Some(bound) = bound {
        let unit = unit_of(&lifetimes, Some(bound));
        plot.rules.push(PlotRule {
            x: unit.of(bound),
            name: "least for the last".to_owned(),
        });
    }
    plot
}

fn first_pieces(table: &PeerTable, end: f64) -> Plot {
    let about = "Share of each population whose first piece was verified, by the time since it \
                 came: how long newcomers have nothing to give. Everybody counts, the first too.";
    let of = |population| {
        let peers = table.of(population);
        peers
            .filter_map(|peer| peer.until_first_piece(end))
            .collect()
    };
    let lifetimes: Vec<Vec<Lifetime>> = (0..table.names.len()).map(of).collect();
    let lifetimes: Vec<&[Lifetime]> = lifetimes.iter().map(Vec::as_slice).collect();
    shares(
        ["Time until the first piece", about],
        table,
        &lifetimes,
        None,
    )
}

fn unit_of(lifetimes: &[&[Lifetime]], more: Option<f64>) -> ShownUnit {
    let times = lifetimes.iter().copied().flatten();
    let times = times.map(|lifetime| lifetime.time);
    ShownUnit::of_time(times.chain(more).fold(0.0, f64::max))
}

/// Those of each population, by when they finished.
fn shares(
    [title, about]: [&str; 2],
    table: &PeerTable,
    lifetimes: &[&[Lifetime]],
    more: Option<f64>,
) -> Plot {
    let unit = unit_of(lifetimes, more);
    let x = PlotAxis::from_zero("time since coming", unit.name);
    let mut plot = Plot::new(
        title,
        about,
        x,
        PlotAxis::percent("share of the population"),
    );
    for (population, (name, lifetimes)) in table.names.iter().zip(lifetimes).enumerate() {
        let times = lifetimes.iter().map(|lifetime| lifetime.time);
        let last = times.fold(0.0, f64::max);
        let points = steps(&finished_shares(lifetimes), last, unit);
        plot.draw(name, Colour::Of(population), LayerKind::Steps, points);
    }
    plot
}

/// From nobody at the begin to who was seen last.
pub(super) fn steps(shares: &[FinishedShare], last: f64, unit: ShownUnit) -> Vec<PlotPoint> {
    if last <= 0.0 {
        return Vec::new();
    }
    let mut points = vec![PlotPoint::at(0.0, 0.0).between(0.0, 0.0)];
    points.extend(thinned(shares, POINTS_MAX).iter().map(|step| {
        let point = PlotPoint::at(unit.of(step.time), 100.0 * step.share);
        point.between(100.0 * step.low, 100.0 * step.high)
    }));
    let end = *points.last().expect("the begin at least");
    points.push(PlotPoint {
        x: unit.of(last),
        ..end
    });
    points
}

/// Seconds since its coming before which the last of all cannot be done, whatever the rules:
/// Kumar and Ross's bound of the minimum distribution time, less the time over which they came.
/// Lines may carry less than they could, and seeds may leave: then it takes longer still.
fn distribution_bound(table: &PeerTable, scenario: &Scenario) -> Option<f64> {
    let came = |peer: &&PeerFacts| peer.joined.is_some();
    let wanting = || {
        table
            .peers
            .iter()
            .filter(came)
            .filter(|peer| peer.wanted > 0.0)
    };
    let joined = || wanting().filter_map(|peer| peer.joined);
    let (first, last) = (
        joined().fold(f64::INFINITY, f64::min),
        joined().fold(0.0, f64::max),
    );
    let all: f64 = table
        .peers
        .iter()
        .filter(came)
        .map(|peer| peer.uplink)
        .sum();
    let seeds = table.peers.iter().filter(|peer| peer.wanted <= 0.0);
    let seeds: f64 = seeds.map(|peer| peer.uplink).sum();
    let wanted: f64 = wanting().map(|peer| peer.wanted).sum();
    let downlinks = wanting().map(|peer| peer.wanted / peer.downlink.max(1.0));
    let mut bound = downlinks.fold(0.0, f64::max).max(wanted / all.max(1.0));
    // Who came with a part has what no seed needs to send.
    let mut populations = scenario.populations.iter();
    let whole = populations.all(|plan| matches!(plan.has.0, 0 | 100));
    if whole && seeds > 0.0 {
        let least = wanting()
            .map(|peer| peer.wanted)
            .fold(f64::INFINITY, f64::min);
        bound = bound.max(least / seeds);
    }
    Some(bound - (last - first)).filter(|bound| bound.is_finite() && *bound > 0.0)
}

/// What a peer gets for what it could give.
fn download_rates(table: &PeerTable, end: f64) -> Plot {
    let rate_of = |peer: &PeerFacts| peer.download_rate(end).filter(|rate| *rate > 0.0);
    let rates = table.peers.iter().filter_map(rate_of).fold(0.0, f64::max);
    let uplinks = table
        .peers
        .iter()
        .map(|peer| peer.uplink)
        .fold(0.0, f64::max);
    let unit = ShownUnit::of_rate(rates.min(uplinks));
    let axis = |label| PlotAxis::new(label, unit.name, AxisScale::Log);
    let mut plot = Plot::new(
        "Download against upload capacity",
        "Each mark is a peer: what came to it per second from its coming until it was done, \
         against what its line can send. Above the dashed line it got more than it could give; \
         empty marks were not done.",
        axis("uplink"),
        axis("mean download"),
    );
    let wanting = table.peers.iter().filter(|peer| rate_of(peer).is_some());
    let sizes = || {
        let of = |peer: &PeerFacts| [Some(peer.uplink), rate_of(peer)];
        wanting
            .clone()
            .flat_map(of)
            .flatten()
            .map(|rate| unit.of(rate))
    };
    let (low, high) = (
        wanting
            .clone()
            .map(|peer| unit.of(peer.uplink))
            .fold(f64::INFINITY, f64::min),
        sizes().fold(0.0, f64::max),
    );
    let ends = [low, high.max(low)].map(|rate| PlotPoint::at(rate, rate));
    plot.draw("as much as given", Colour::Reference, LayerKind::Line, ends);
    for (population, name) in table.names.iter().enumerate() {
        for (is_done, kind) in [(true, LayerKind::Dots), (false, LayerKind::Circles)] {
            let of = table
                .of(population)
                .filter(|peer| peer.done.is_some() == is_done);
            let points = of.filter_map(|peer| {
                Some(PlotPoint::at(unit.of(peer.uplink), unit.of(rate_of(peer)?)))
            });
            let points: Vec<PlotPoint> = points.collect();
            let name = match is_done {
                true => name.clone(),
                false => format!("{name}, not done"),
            };
            let all = points.len();
            let points = thinned(&points, MARKS_MAX);
            let name = match all > points.len() {
                true => format!("{name} ({} of {})", points.len(), number(float(all))),
                false => name,
            };
            plot.draw(&name, Colour::Of(population), kind, points);
        }
    }
    plot
}
