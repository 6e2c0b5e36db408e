//! What the fluid model says of leechers and seeds over time, where peers come one by one: Qiu and
//! Srikant (SIGCOMM 2004), with all of one kind and pieces that never stand in the way.

use super::super::peers::{PeerFacts, PeerTable};
use crate::scenario::written::TimeSpan;
use crate::scenario::{ArrivalPlan, Population, Scenario, SeedingPlan};
use crate::stats::{float, whole};

/// Steps of the integration.
const STEPS: usize = 4_000;
/// Points that are drawn.
const POINTS: usize = 200;

/// A moment of the fluid.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct FluidMoment {
    pub(super) time: f64,
    pub(super) leechers: f64,
    pub(super) seeds: f64,
}

/// Rates of the model, a second.
#[derive(Clone, Debug)]
struct FluidRates {
    /// Arrivals, and from when until when they come.
    arrivals: Vec<(f64, std::ops::Range<f64>)>,
    /// Files that a peer sends.
    upload: f64,
    /// Files that a leecher can receive.
    download: f64,
    /// Files that those send who came with it, and how many they are.
    source: (f64, f64),
    /// Leechers that give up.
    aborts: f64,
    /// Seeds that leave.
    leaving: f64,
}

/// What the model says until `last`, in seconds; `None` where it says nothing: peers that do not
/// come one by one for all of one torrent, that go offline, or to whom something happens.
pub(super) fn moments(
    scenario: &Scenario,
    table: &PeerTable,
    last: f64,
) -> Option<Vec<FluidMoment>> {
    let rates = rates(scenario, table)?;
    let step = last / float(STEPS);
    let (mut leechers, mut seeds) = (0.0, 0.0);
    let mut moments = Vec::new();
    for number in 0..=STEPS {
        let time = float(number) * step;
        if number % (STEPS / POINTS) == 0 {
            moments.push(FluidMoment {
                time,
                leechers,
                seeds: seeds + rates.source.1,
            });
        }
        let coming = rates
            .arrivals
            .iter()
            .filter(|(_, when)| when.contains(&time));
        let coming: f64 = coming.map(|(rate, _)| rate).sum();
        let sent = rates.upload * (leechers + seeds) + rates.source.0;
        let done = sent.min(rates.download * leechers).min(leechers / step);
        leechers += step * (coming - rates.aborts * leechers - done);
        leechers = leechers.max(0.0);
        seeds += step * (done - (rates.leaving * seeds).min(seeds / step));
    }
    (step > 0.0).then_some(moments)
}

fn rates(scenario: &Scenario, table: &PeerTable) -> Option<FluidRates> {
    let [torrent] = &scenario.torrents[..] else {
        return None;
    };
    let length = whole(torrent.length.0);
    let plans = || scenario.populations.iter();
    let is_plain = |plan: &Population| plan.churn.is_none() && plan.demand.is_empty();
    let sources_stay = plans().filter(|plan| !plan.wants()).all(|plan| {
        let comes = matches!(plan.arrivals, ArrivalPlan::AtOnce { .. });
        comes && plan.has.of(torrent.length.0) == torrent.length.0
    });
    if !scenario.events.is_empty() || !plans().all(is_plain) || !sources_stay {
        return None;
    }
    let wanting: Vec<&Population> = plans().filter(|plan| plan.wants()).collect();
    let mut arrivals = Vec::new();
    for plan in &wanting {
        let ArrivalPlan::Poisson { at, every } = &plan.arrivals else {
            return None;
        };
        let [at, every] = [at, every].map(|time| seconds(time.0.as_nanos()));
        let from_nothing = plan.has.of(torrent.length.0) == 0;
        if every <= 0.0 || !from_nothing {
            return None;
        }
        arrivals.push((1.0 / every, at..at + every * whole(plan.count)));
    }
    let all: f64 = arrivals.iter().map(|(rate, _)| rate).sum();
    let mean = |of: &dyn Fn(&Population) -> Option<f64>| {
        let each = wanting.iter().zip(&arrivals);
        each.map(|(plan, (rate, _))| Some(of(plan)? * rate / all))
            .sum::<Option<f64>>()
    };
    let line = |plan: &Population, of: fn(&PeerFacts) -> f64| {
        let number = table.names.iter().position(|name| *name == plan.name)?;
        let lines: Vec<f64> = table.of(number).map(of).collect();
        Some(lines.iter().sum::<f64>() / float(lines.len()))
    };
    let sends = |plan: &Population| {
        let line = line(plan, |peer| peer.uplink)?;
        let share = plan
            .upload_limit
            .map_or(1.0, |share| whole(share.of(1 << 20)) / whole(1 << 20));
        Some(line * share / length)
    };
    let mut source = (0.0, 0.0);
    for plan in plans().filter(|plan| !plan.wants()) {
        source.0 += sends(plan)? * whole(plan.count);
        source.1 += whole(plan.count);
    }
    let seeding = |plan: &Population| match plan.seeding {
        SeedingPlan::Forever => Some(0.0),
        SeedingPlan::For { time } => Some(1.0 / mean_of(time).max(1e-3)),
        SeedingPlan::Ratio { .. } => None,
    };
    Some(FluidRates {
        upload: mean(&sends)?,
        download: mean(&|plan| Some(line(plan, |peer| peer.downlink)? / length))?,
        aborts: mean(&|plan| Some(plan.patience.map_or(0.0, |span| 1.0 / mean_of(span))))?,
        leaving: mean(&seeding)?,
        arrivals,
        source,
    })
}

/// Seconds.
fn mean_of(span: TimeSpan) -> f64 {
    let nanos = match span {
        TimeSpan::Within { least, most } => (least.as_nanos() + most.as_nanos()) / 2,
        TimeSpan::Exponential { mean } => mean.as_nanos(),
    };
    seconds(nanos)
}

fn seconds(nanos: u64) -> f64 {
    whole(nanos) / 1e9
}
