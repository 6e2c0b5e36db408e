//! Axes: from quantities to places on a plot, and where ticks are.

use super::units::{number, with_digits};

/// How places follow from quantities.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum AxisScale {
    /// Evenly, from zero on or from the smallest.
    Linear { from_zero: bool },
    /// Evenly between these two.
    Between(f64, f64),
    /// By the logarithm; what is not above zero has no place.
    Log,
    /// A place for each name, by its number; the first is on top.
    Named(Vec<String>),
}

/// An axis: what is told along it, in which unit.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct PlotAxis {
    pub(super) label: String,
    pub(super) unit: String,
    pub(super) scale: AxisScale,
}

/// An axis as it lies on the page.
#[derive(Clone, Debug)]
pub(super) struct LaidAxis {
    low: f64,
    high: f64,
    is_log: bool,
    names: Vec<String>,
    /// Where the lowest and the highest are.
    pub(super) from: f64,
    pub(super) to: f64,
}

/// Ticks that a plot of this size has at least, about.
const TICKS: f64 = 5.0;

impl PlotAxis {
    pub(super) fn new(label: &str, unit: &str, scale: AxisScale) -> Self {
        Self {
            label: label.to_owned(),
            unit: unit.to_owned(),
            scale,
        }
    }

    /// From zero on.
    pub(super) fn from_zero(label: &str, unit: &str) -> Self {
        Self::new(label, unit, AxisScale::Linear { from_zero: true })
    }

    /// From 0 to 100 %.
    pub(super) fn percent(label: &str) -> Self {
        Self::new(label, "%", AxisScale::Between(0.0, 100.0))
    }

    /// Names one below the other.
    pub(super) fn named(label: &str, names: Vec<String>) -> Self {
        Self::new(label, "", AxisScale::Named(names))
    }

    /// Label and unit.
    pub(super) fn title(&self) -> String {
        match self.unit.is_empty() {
            true => self.label.clone(),
            false => format!("{} ({})", self.label, self.unit),
        }
    }

    /// Whether a quantity has a place.
    pub(super) fn has(&self, value: f64) -> bool {
        value.is_finite() && (self.scale != AxisScale::Log || value > 0.0)
    }

    /// Lays it out so that all these have a place between two points of the page.
    pub(super) fn lay(&self, values: impl Iterator<Item = f64>, from: f64, to: f64) -> LaidAxis {
        let values = values.filter(|value| self.has(*value));
        let (low, high) = values.fold((f64::INFINITY, f64::NEG_INFINITY), |(low, high), value| {
            (low.min(value), high.max(value))
        });
        let (low, high) = if low <= high { (low, high) } else { (0.0, 1.0) };
        let mut names = Vec::new();
        let (low, high) = match &self.scale {
            AxisScale::Between(low, high) => (*low, *high),
            AxisScale::Linear { from_zero } => padded(low, high, *from_zero),
            AxisScale::Log => wide(low, high),
            AxisScale::Named(of) => {
                names.clone_from(of);
                #[expect(clippy::cast_precision_loss, reason = "few names")]
                let last = of.len() as f64 - 0.5;
                // The first is on top, where the axis ends.
                (last, -0.5)
            }
        };
        LaidAxis {
            low,
            high,
            is_log: self.scale == AxisScale::Log,
            names,
            from,
            to,
        }
    }
}

fn padded(low: f64, high: f64, from_zero: bool) -> (f64, f64) {
    let low = if from_zero { low.min(0.0) } else { low };
    let high = if from_zero { high.max(0.0) } else { high };
    let span = match high - low {
        none if none <= 0.0 => high.abs().max(1.0),
        some => some,
    };
    let below = if low < 0.0 || !from_zero { 0.05 } else { 0.0 };
    (low - below * span, high + 0.05 * span)
}

/// Room around, and a factor of ten at least.
fn wide(low: f64, high: f64) -> (f64, f64) {
    let low = if low > 0.0 { low } else { 1.0 };
    let high = high.max(low);
    let more = (libm::sqrt(10.0 * low / high)).max(1.3);
    (low / more, high * more)
}

impl LaidAxis {
    /// Where a quantity is.
    pub(super) fn at(&self, value: f64) -> f64 {
        let share = match self.is_log {
            true => libm::log(value / self.low) / libm::log(self.high / self.low),
            false => (value - self.low) / (self.high - self.low),
        };
        self.from + share * (self.to - self.from)
    }

    /// Whether it is on the plot.
    pub(super) fn shows(&self, value: f64) -> bool {
        (self.low.min(self.high)..=self.low.max(self.high)).contains(&value)
    }

    /// Quantities to mark, and what is written there.
    pub(super) fn ticks(&self) -> Vec<(f64, String)> {
        if !self.names.is_empty() {
            #[expect(clippy::cast_precision_loss, reason = "few names")]
            let named = |(place, name): (usize, &String)| (place as f64, name.clone());
            return self.names.iter().enumerate().map(named).collect();
        }
        match self.is_log {
            true => self.log_ticks(),
            false => self.linear_ticks(),
        }
    }

    /// Multiples of 1, 2 or 5 times a power of ten.
    fn linear_ticks(&self) -> Vec<(f64, String)> {
        let step = step_of((self.high - self.low) / TICKS);
        #[expect(
            clippy::cast_possible_truncation,
            clippy::cast_sign_loss,
            reason = "from 0 to 9"
        )]
        let digits = (-libm::floor(libm::log10(step) + 1e-9)).clamp(0.0, 9.0) as usize;
        let first = libm::ceil(self.low / step - 1e-9);
        let places = (0..20).map(|place| (first + f64::from(place)) * step);
        let shown = places.take_while(|tick| *tick <= self.high + 1e-9 * step);
        shown
            .map(|tick| (tick, tick_text(tick, step, digits)))
            .collect()
    }

    /// Powers of ten, and as many between as there is room for.
    fn log_ticks(&self) -> Vec<(f64, String)> {
        let decades = libm::log10(self.high / self.low);
        let between: &[f64] = match decades {
            few if few < 1.6 => &[1.0, 2.0, 5.0],
            some if some < 3.0 => &[1.0, 3.0],
            _ => &[1.0],
        };
        let first = libm::floor(libm::log10(self.low));
        let powers = (0..40).map(|place| libm::pow(10.0, first + f64::from(place)));
        let all = powers.flat_map(|power| between.iter().map(move |times| times * power));
        let shown = all.filter(|tick| self.shows(*tick));
        shown.map(|tick| (tick, log_text(tick))).collect()
    }
}

/// Zero is zero, however finely the others are told.
fn tick_text(tick: f64, step: f64, digits: usize) -> String {
    match tick.abs() < 1e-9 * step {
        true => "0".to_owned(),
        false => with_digits(tick, digits),
    }
}

fn log_text(tick: f64) -> String {
    match tick {
        large if large >= 1.0 => with_digits(large, 0),
        small if small >= 0.000_99 => {
            let text = with_digits(small, 3);
            text.trim_end_matches('0').to_owned()
        }
        tiny => number(tiny),
    }
}

/// 1, 2 or 5 times a power of ten, and not less.
fn step_of(least: f64) -> f64 {
    let power = libm::pow(10.0, libm::floor(libm::log10(least)));
    let fits = |times: &&f64| **times * power >= least * (1.0 - 1e-9);
    let times = [1.0, 2.0, 5.0, 10.0];
    power * times.iter().find(fits).unwrap_or(&10.0)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ticks(axis: &PlotAxis, values: &[f64]) -> Vec<String> {
        let laid = axis.lay(values.iter().copied(), 0.0, 400.0);
        laid.ticks().into_iter().map(|(_, text)| text).collect()
    }

    #[test]
    fn ticks_are_round_and_few() {
        let axis = PlotAxis::from_zero("time", "s");
        assert_eq!(ticks(&axis, &[3.0, 97.0]), ["0", "50", "100"]);
        assert_eq!(ticks(&axis, &[0.0, 0.013]), ["0", "0.005", "0.010"]);
        assert_eq!(ticks(&axis, &[-4.0, 4.0]), ["−4", "−2", "0", "2", "4"]);
        assert_eq!(ticks(&axis, &[]).first().unwrap(), "0");
        assert_eq!(ticks(&axis, &[0.0, 0.0]).first().unwrap(), "0");
        let log = PlotAxis::new("uplink", "kB/s", AxisScale::Log);
        assert_eq!(ticks(&log, &[1.0, 1e5]).len(), 6);
        assert!(ticks(&log, &[125.0, 125.0]).contains(&"100".to_owned()));
        assert!(ticks(&log, &[0.0, -1.0, f64::NAN]).len() > 1);
    }

    #[test]
    fn places_follow_from_quantities() {
        let linear = PlotAxis::percent("done").lay([].into_iter(), 300.0, 0.0);
        assert!((linear.at(0.0) - 300.0).abs() < 1e-9);
        assert!((linear.at(50.0) - 150.0).abs() < 1e-9);
        let log = PlotAxis::new("x", "s", AxisScale::Log).lay([1.0, 100.0].into_iter(), 0.0, 10.0);
        assert!((log.at(10.0) - 5.0).abs() < 1e-9);
        let names = vec!["a".to_owned(), "b".to_owned()];
        let named = PlotAxis::named("population", names).lay([].into_iter(), 100.0, 0.0);
        assert!(named.at(0.0) < named.at(1.0), "the first is on top");
        assert_eq!(named.ticks().len(), 2);
    }
}
