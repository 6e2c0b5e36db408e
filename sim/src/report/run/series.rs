//! Plots over time.

use super::super::ReportError;
use super::super::plot::{Colour, LayerKind, Plot, PlotPoint, thinned};
use super::super::scale::{AxisScale, PlotAxis};
use super::super::units::ShownUnit;
use super::fluid::FluidMoment;
use super::{POINTS_MAX, money};
use crate::frame::Frame;

/// A row of `series`.
#[derive(Clone, Copy, Debug)]
pub(super) struct Moment {
    pub(super) time: f64,
    leechers: f64,
    seeds: f64,
    pub(super) uploaded: f64,
    uplink: f64,
    pub(super) paid: f64,
    pub(super) spent: f64,
    pub(super) held: f64,
    gini: Option<f64>,
    /// Micro-credits for a GiB.
    pub(super) price: Option<[f64; 3]>,
    rarest: Option<f64>,
}

pub(super) fn plots(
    series: &Frame,
    fluid: Option<&[FluidMoment]>,
) -> Result<Vec<Plot>, ReportError> {
    let moments = read(series)?;
    // Of sums every so many are as good as all.
    let moments = thinned(&moments, POINTS_MAX);
    let last = moments.last().map_or(0.0, |moment| moment.time);
    let unit = ShownUnit::of_time(last);
    let time = || time_axis(&moments, unit);
    let mut plots = vec![
        members(&moments, fluid.unwrap_or_default(), unit, time()),
        utilisation(&moments, unit, time()),
        rarest(&moments, unit, time()),
    ];
    if moments.iter().any(|moment| moment.paid > 0.0) {
        plots.extend(money::plots(&moments, unit));
    }
    if moments.iter().any(|moment| moment.gini.is_some()) {
        plots.push(inequality(&moments, unit, time()));
    }
    Ok(plots)
}

/// All of the run, in every plot.
pub(super) fn time_axis(moments: &[Moment], unit: ShownUnit) -> PlotAxis {
    let last = moments.last().map_or(0.0, |moment| unit.of(moment.time));
    // A run that was over at once has an axis too.
    let last = if last > 0.0 { last } else { 1.0 };
    PlotAxis::new("time", unit.name, AxisScale::Between(0.0, last))
}

fn read(series: &Frame) -> Result<Vec<Moment>, ReportError> {
    let cells = |name| series.numbers(name).ok_or(ReportError::Column(name));
    let [time, leechers, seeds] = [cells("time_s")?, cells("leechers")?, cells("seeds")?];
    let [uploaded, uplink] = [cells("uploaded")?, cells("uplink")?];
    let [paid, spent] = [cells("paid")?, cells("spent")?];
    let [held, gini] = [cells("held")?, cells("held_gini")?];
    let prices = [
        cells("price_p10")?,
        cells("price_p50")?,
        cells("price_p90")?,
    ];
    let rarest = cells("rarest_copies")?;
    let amount = |cells: &[Option<f64>], row: usize| cells[row].unwrap_or_default();
    let moment = |row| Moment {
        time: amount(&time, row),
        leechers: amount(&leechers, row),
        seeds: amount(&seeds, row),
        uploaded: amount(&uploaded, row),
        uplink: amount(&uplink, row),
        paid: amount(&paid, row),
        spent: amount(&spent, row),
        held: amount(&held, row),
        gini: gini[row],
        price: prices[1][row].map(|half| {
            let [low, _, high] = &prices;
            [low[row].unwrap_or(half), half, high[row].unwrap_or(half)]
        }),
        rarest: rarest[row],
    };
    Ok((0..series.len()).map(moment).collect())
}

fn members(moments: &[Moment], fluid: &[FluidMoment], unit: ShownUnit, time: PlotAxis) -> Plot {
    let about = "Peers that are there: leechers want something, seeds have all they came for.";
    let more = match fluid.is_empty() {
        true => "",
        false => {
            " Fluid: what Qiu and Srikant's model says by the mean of lines, arrivals, patience \
             and seeding, as if all were alike and no piece were rare."
        }
    };
    let mut plot = Plot::new(
        "Leechers and seeds",
        &format!("{about}{more}"),
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
    let mut draw = |name, place, of: fn(&FluidMoment) -> f64| {
        let points = fluid.iter();
        let points = points.map(|moment| PlotPoint::at(unit.of(moment.time), of(moment)));
        plot.draw(name, Colour::Of(place), LayerKind::Line, points);
    };
    draw("leechers, fluid", 0, |moment| moment.leechers);
    draw("seeds, fluid", 1, |moment| moment.seeds);
    plot
}

/// What happened between one moment and the next.
pub(super) fn stretches<'a>(
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

/// Copies of what is rarest.
fn rarest(moments: &[Moment], unit: ShownUnit, time: PlotAxis) -> Plot {
    let mut plot = Plot::new(
        "Copies of the rarest piece",
        "Among all who are online, of what somebody there is fetching. At zero nobody can finish \
         until somebody brings it back.",
        time,
        PlotAxis::from_zero("copies", "peers"),
    );
    for known in moments.chunk_by(|a, b| a.rarest.is_some() == b.rarest.is_some()) {
        let points = known
            .iter()
            .filter_map(|moment| Some(PlotPoint::at(unit.of(moment.time), moment.rarest?)));
        plot.draw("", Colour::Of(0), LayerKind::Steps, points);
    }
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
