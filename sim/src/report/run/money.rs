//! Plots over time of what credit does: what it buys, at which price, and how fast it goes round.

use super::super::plot::{Colour, LayerKind, Plot, PlotPoint};
use super::super::scale::PlotAxis;
use super::super::units::ShownUnit;
use super::series::{Moment, stretches, time_axis};

/// Micro-credits of a credit.
const MICRO: f64 = 1e6;
const DAY: f64 = 86_400.0;

/// What there is of these plots if somebody paid.
pub(super) fn plots(moments: &[Moment], unit: ShownUnit) -> Vec<Plot> {
    let time = || time_axis(moments, unit);
    vec![
        classes(moments, unit, time()),
        price(moments, unit, time()),
        free(moments, unit, time()),
        spent(moments, unit, time()),
        velocity(moments, unit, time()),
    ]
}

fn classes(moments: &[Moment], unit: ShownUnit, time: PlotAxis) -> Plot {
    let per_second = |bytes: f64, a: &Moment, b: &Moment| {
        let seconds = b.time - a.time;
        (seconds > 0.0).then(|| (bytes / seconds).max(0.0))
    };
    let all = |a: &Moment, b: &Moment| per_second(b.uploaded - a.uploaded, a, b);
    let paid = |a: &Moment, b: &Moment| per_second(b.paid - a.paid, a, b);
    let most = stretches(moments, unit, all)
        .map(|point| point.y)
        .fold(0.0, f64::max);
    let rate = ShownUnit::of_rate(most);
    let mut plot = Plot::new(
        "Paid and open payload",
        "Payload per second that boosts paid for, and below it what was sent for nothing or in \
         return.",
        time,
        PlotAxis::from_zero("payload", rate.name),
    );
    let both: Vec<(PlotPoint, PlotPoint)> = stretches(moments, unit, all)
        .zip(stretches(moments, unit, paid))
        .collect();
    let open = |(all, paid): &(PlotPoint, PlotPoint)| rate.of((all.y - paid.y).max(0.0));
    let points = both.iter().map(|both| {
        let open = open(both);
        PlotPoint::at(both.0.x, open).between(0.0, open)
    });
    plot.draw("open", Colour::Of(0), LayerKind::Area, points);
    let points = both.iter().map(|both| {
        let (open, all) = (open(both), rate.of(both.0.y));
        PlotPoint::at(both.0.x, all).between(open, all.max(open))
    });
    plot.draw("paid", Colour::Of(1), LayerKind::Area, points);
    plot
}

fn price(moments: &[Moment], unit: ShownUnit, time: PlotAxis) -> Plot {
    let mut plot = Plot::new(
        "Price of what was paid for",
        "Credit signed away for a GiB of paid payload: what half of it cost at most, and shaded \
         from a tenth to nine tenths, by bytes, each payer at the mean of what it paid between two \
         rows. Where there is nothing nobody paid.",
        time,
        PlotAxis::from_zero("price", "cr/GiB"),
    );
    // Where nobody paid for a while a line would say that somebody did.
    for paid in moments.chunk_by(|a, b| a.price.is_some() == b.price.is_some()) {
        let points: Vec<PlotPoint> = paid
            .iter()
            .filter_map(|moment| {
                let [low, half, high] = moment.price?.map(|price| price / MICRO);
                Some(PlotPoint::at(unit.of(moment.time), half).between(low, high))
            })
            .collect();
        let kind = match points.len() {
            1 => LayerKind::Intervals,
            _ => LayerKind::Line,
        };
        plot.draw("", Colour::Of(1), kind, points);
    }
    plot
}

/// What was sent for nothing.
fn free(moments: &[Moment], unit: ShownUnit, time: PlotAxis) -> Plot {
    let share = |a: &Moment, b: &Moment| {
        let (all, paid) = (b.uploaded - a.uploaded, b.paid - a.paid);
        (all > 0.0).then(|| 100.0 * (1.0 - paid / all).clamp(0.0, 1.0))
    };
    let mut plot = Plot::new(
        "Payload at price zero",
        "Share of all payload sent that nobody paid for: near 100 %, credit buys nothing that is \
         not there for nothing.",
        time,
        PlotAxis::percent("at price zero"),
    );
    let points = stretches(moments, unit, share);
    let points = points.map(|point| point.between(0.0, point.y));
    plot.draw("", Colour::Of(0), LayerKind::Line, points);
    plot
}

fn spent(moments: &[Moment], unit: ShownUnit, time: PlotAxis) -> Plot {
    let most = moments
        .iter()
        .map(|moment| moment.spent)
        .fold(0.0, f64::max);
    let credit = ShownUnit::of_credit(most);
    let mut plot = Plot::new(
        "Credit spent",
        "Signed away by all boosts together, from the begin.",
        time,
        PlotAxis::from_zero("spent", credit.name),
    );
    let points = moments.iter();
    let points = points.map(|moment| PlotPoint::at(unit.of(moment.time), credit.of(moment.spent)));
    plot.draw("", Colour::Of(1), LayerKind::Line, points);
    plot
}

fn velocity(moments: &[Moment], unit: ShownUnit, time: PlotAxis) -> Plot {
    let a_day = |a: &Moment, b: &Moment| {
        let held = f64::midpoint(a.held, b.held) * (b.time - a.time) / DAY;
        (held > 0.0).then(|| (b.spent - a.spent).max(0.0) / held)
    };
    let mut plot = Plot::new(
        "Velocity of credit",
        "How often all credit that there is would change hands in a day, at the rate at which it \
         is signed away.",
        time,
        PlotAxis::from_zero("turnovers", "a day"),
    );
    let points = stretches(moments, unit, a_day);
    plot.draw("", Colour::Of(1), LayerKind::Line, points);
    plot
}
