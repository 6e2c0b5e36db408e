//! Plots over time.

use super::super::ReportError;
use super::super::plot::{Colour, LayerKind, Plot, PlotPoint, thinned};
use super::super::scale::{AxisScale, PlotAxis};
use super::super::units::ShownUnit;
use super::POINTS_MAX;
use crate::frame::Frame;

/// A row of `series`.
#[derive(Clone, Copy, Debug)]
struct Moment {
    time: f64,
    leechers: f64,
    seeds: f64,
    uploaded: f64,
    uplink: f64,
    paid: f64,
    spent: f64,
    gini: Option<f64>,
}

/// Micro-credits for a byte, as credits for a GiB.
const CREDITS_PER_GIB: f64 = 1_073_741_824.0 / 1e6;

pub(super) fn plots(series: &Frame) -> Result<Vec<Plot>, ReportError> {
    let moments = read(series)?;
    // Of sums every so many are as good as all.
    let moments = thinned(&moments, POINTS_MAX);
    let last = moments.last().map_or(0.0, |moment| moment.time);
    let unit = ShownUnit::of_time(last);
    let time = || PlotAxis::from_zero("time", unit.name);
    let mut plots = vec![
        members(&moments, unit, time()),
        utilisation(&moments, unit, time()),
    ];
    if moments.iter().any(|moment| moment.paid > 0.0) {
        plots.push(classes(&moments, unit, time()));
        plots.push(price(&moments, unit, time()));
        plots.push(spent(&moments, unit, time()));
    }
    if moments.iter().any(|moment| moment.gini.is_some()) {
        plots.push(inequality(&moments, unit, time()));
    }
    Ok(plots)
}

fn read(series: &Frame) -> Result<Vec<Moment>, ReportError> {
    let cells = |name| series.numbers(name).ok_or(ReportError::Column(name));
    let [time, leechers, seeds] = [cells("time_s")?, cells("leechers")?, cells("seeds")?];
    let [uploaded, uplink] = [cells("uploaded")?, cells("uplink")?];
    let [paid, spent, gini] = [cells("paid")?, cells("spent")?, cells("held_gini")?];
    let amount = |cells: &[Option<f64>], row: usize| cells[row].unwrap_or_default();
    let moment = |row| Moment {
        time: amount(&time, row),
        leechers: amount(&leechers, row),
        seeds: amount(&seeds, row),
        uploaded: amount(&uploaded, row),
        uplink: amount(&uplink, row),
        paid: amount(&paid, row),
        spent: amount(&spent, row),
        gini: gini[row],
    };
    Ok((0..series.len()).map(moment).collect())
}

fn members(moments: &[Moment], unit: ShownUnit, time: PlotAxis) -> Plot {
    let mut plot = Plot::new(
        "Leechers and seeds",
        "Peers that are there: leechers want something, seeds have all they came for.",
        time,
        PlotAxis::from_zero("there", "peers"),
    );
    let mut draw = |name, place, of: fn(&Moment) -> f64| {
        let points = moments.iter();
        let points = points.map(|moment| PlotPoint::at(unit.of(moment.time), of(moment)));
        plot.draw(name, Colour::Of(place), LayerKind::Steps, points);
    };
    draw("leechers", 0, |moment| moment.leechers);
    draw("seeds", 1, |moment| moment.seeds);
    plot
}

/// What happened between one moment and the next.
fn stretches<'a>(
    moments: &'a [Moment],
    unit: ShownUnit,
    value: impl Fn(&Moment, &Moment) -> Option<f64> + 'a,
) -> impl Iterator<Item = PlotPoint> + 'a {
    // Steps: the value from here to the next point.
    let pairs = moments.windows(2);
    let points = pairs.filter_map(move |pair| {
        let value = value(&pair[0], &pair[1])?;
        Some([pair[0].time, pair[1].time].map(|time| PlotPoint::at(unit.of(time), value)))
    });
    points.flatten()
}

fn utilisation(moments: &[Moment], unit: ShownUnit, time: PlotAxis) -> Plot {
    let used = |a: &Moment, b: &Moment| {
        let could = f64::midpoint(a.uplink, b.uplink) * (b.time - a.time);
        (could > 0.0).then(|| 100.0 * (b.uploaded - a.uploaded) / could)
    };
    let could = |pair: &[Moment]| {
        f64::midpoint(pair[0].uplink, pair[1].uplink) * (pair[1].time - pair[0].time)
    };
    let all: f64 = moments.windows(2).map(could).sum();
    let sent = moments.last().map_or(0.0, |moment| moment.uploaded);
    let mean = match all > 0.0 {
        true => format!(" {:.0} % over the whole run.", 100.0 * sent / all),
        false => String::new(),
    };
    let about = format!(
        "Payload handed to lines, as a share of what the lines of all who are there could carry; \
         the rest is idle, or headers.{mean}"
    );
    let mut plot = Plot::new(
        "Use of uplinks",
        &about,
        time,
        PlotAxis::from_zero("of all uplinks", "%"),
    );
    let points = stretches(moments, unit, used);
    let points = points.map(|point| point.between(0.0, point.y));
    plot.draw("used", Colour::Of(0), LayerKind::Line, points);
    plot
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
    let price = |a: &Moment, b: &Moment| {
        let (bytes, credit) = (b.paid - a.paid, b.spent - a.spent);
        (bytes > 0.0).then(|| CREDITS_PER_GIB * credit / bytes)
    };
    let mut plot = Plot::new(
        "Price of what was paid for",
        "Credit signed away for a GiB of paid payload, by bytes; where there is no mark nothing \
         was paid for. Open payload costs nothing.",
        time,
        PlotAxis::from_zero("price", "cr/GiB"),
    );
    let points = moments.windows(2).filter_map(|pair| {
        let middle = f64::midpoint(pair[0].time, pair[1].time);
        Some(PlotPoint::at(unit.of(middle), price(&pair[0], &pair[1])?))
    });
    plot.draw("", Colour::Of(1), LayerKind::Dots, points);
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

fn inequality(moments: &[Moment], unit: ShownUnit, time: PlotAxis) -> Plot {
    let mut plot = Plot::new(
        "Inequality of credit",
        "Gini coefficient of what each who came has: 0, if all have the same; near 1, if one has \
         all.",
        time,
        PlotAxis::new("Gini coefficient", "0 to 1", AxisScale::Between(0.0, 1.0)),
    );
    let points = moments.iter().filter_map(|moment| {
        let gini = moment.gini?;
        Some(PlotPoint::at(unit.of(moment.time), gini))
    });
    plot.draw("", Colour::Of(0), LayerKind::Line, points);
    plot
}
