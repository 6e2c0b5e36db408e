//! In which unit quantities are shown, and with how many digits.

use crate::stats::Estimate;

/// A unit, and how many of the base unit it is.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct ShownUnit {
    pub(super) name: &'static str,
    size: f64,
}

const TIMES: [ShownUnit; 4] = [
    unit("s", 1.0),
    unit("min", 60.0),
    unit("h", 3_600.0),
    unit("d", 86_400.0),
];
const BYTES: [ShownUnit; 4] = [
    unit("KiB", 1_024.0),
    unit("MiB", 1_048_576.0),
    unit("GiB", 1_073_741_824.0),
    unit("TiB", 1_099_511_627_776.0),
];
const RATES: [ShownUnit; 3] = [unit("kB/s", 1e3), unit("MB/s", 1e6), unit("GB/s", 1e9)];
/// Of micro-credits.
const CREDITS: [ShownUnit; 3] = [unit("µcr", 1.0), unit("mcr", 1e3), unit("cr", 1e6)];

const fn unit(name: &'static str, size: f64) -> ShownUnit {
    ShownUnit { name, size }
}

impl ShownUnit {
    /// For times of up to so many seconds.
    pub(super) fn of_time(most: f64) -> Self {
        largest(&TIMES, most, 3.0)
    }

    /// For up to so many bytes.
    pub(super) fn of_bytes(most: f64) -> Self {
        largest(&BYTES, most, 20.0)
    }

    /// For up to so many bytes per second.
    pub(super) fn of_rate(most: f64) -> Self {
        largest(&RATES, most, 2.0)
    }

    /// For up to so many micro-credits.
    pub(super) fn of_credit(most: f64) -> Self {
        largest(&CREDITS, most, 0.1)
    }

    /// A quantity of the base unit in this one.
    pub(super) fn of(self, quantity: f64) -> f64 {
        quantity / self.size
    }

    /// The same as text.
    pub(super) fn text(self, quantity: f64) -> String {
        number(self.of(quantity))
    }

    /// Mean and half of the interval; no interval is told of one observation.
    pub(super) fn estimate(self, estimate: Option<Estimate>) -> String {
        let Some(estimate) = estimate else {
            return "–".to_owned();
        };
        let mean = self.of(estimate.mean);
        match estimate.count {
            1 => number(mean),
            _ => with_interval(mean, self.of(estimate.half_width)),
        }
    }
}

/// The largest unit of which there are still so many.
fn largest(units: &[ShownUnit], most: f64, least_count: f64) -> ShownUnit {
    let fits = |unit: &&ShownUnit| most >= least_count * unit.size;
    *units.iter().rev().find(fits).unwrap_or(&units[0])
}

/// Both as finely as two digits of the interval are.
fn with_interval(mean: f64, half: f64) -> String {
    if half < 1e-9 {
        let mean = number(mean);
        return if mean == "0" {
            mean
        } else {
            format!("{mean} ± 0")
        };
    }
    #[expect(
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        reason = "from 0 to 6"
    )]
    let digits = (1.0 - libm::floor(libm::log10(half))).clamp(0.0, 6.0) as usize;
    format!(
        "{} ± {}",
        with_digits(mean, digits),
        with_digits(half, digits)
    )
}

/// A number with about three digits that count, thousands apart, and a true minus.
pub(super) fn number(value: f64) -> String {
    let size = value.abs();
    let digits = match size {
        _ if !(1e-9..99.95).contains(&size) || libm::trunc(size) >= size => 0,
        _ if size >= 9.995 => 1,
        _ if size >= 0.9995 => 2,
        _ if size >= 0.000_995 => 3,
        _ => return format!("{value:.1e}").replace('-', "−"),
    };
    with_digits(value, digits)
}

/// A number with so many digits after the point, thousands apart.
pub(super) fn with_digits(value: f64, digits: usize) -> String {
    let text = format!("{:.digits$}", value.abs());
    let (whole, rest) = text.split_at(text.find('.').unwrap_or(text.len()));
    let mut grouped = String::new();
    for (place, digit) in whole.chars().enumerate() {
        if place > 0 && whole.len() > 4 && (whole.len() - place).is_multiple_of(3) {
            grouped.push('\u{202f}');
        }
        grouped.push(digit);
    }
    let is_zero = text.chars().all(|c| matches!(c, '0' | '.'));
    let sign = if value < 0.0 && !is_zero { "−" } else { "" };
    format!("{sign}{grouped}{rest}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_have_about_three_digits() {
        for (value, text) in [
            (0.0, "0"),
            (-0.000_000_000_1, "0"),
            (1_234_567.8, "1\u{202f}234\u{202f}568"),
            (1_234.5, "1234"),
            (7.0, "7"),
            (99.96, "100"),
            (12.34, "12.3"),
            (-1.234, "−1.23"),
            (0.0123, "0.012"),
            (0.000_012, "1.2e−5"),
        ] {
            assert_eq!(number(value), text);
        }
    }

    #[test]
    fn means_are_as_fine_as_their_intervals() {
        assert_eq!(with_interval(-44.4, 14.2), "−44 ± 14");
        assert_eq!(with_interval(166.4, 0.806), "166.40 ± 0.81");
        assert_eq!(with_interval(79.2, 1.03), "79.2 ± 1.0");
        assert_eq!(with_interval(0.0, 0.0), "0");
        assert_eq!(with_interval(100.0, 0.0), "100 ± 0");
        let one = Estimate::of(&[3.5]);
        assert_eq!(ShownUnit::of_time(0.0).estimate(one), "3.50");
        assert_eq!(ShownUnit::of_time(0.0).estimate(None), "–");
    }

    #[test]
    fn a_unit_fits_the_largest() {
        assert_eq!(ShownUnit::of_time(100.0).name, "s");
        assert_eq!(ShownUnit::of_time(1_000.0).name, "min");
        assert_eq!(ShownUnit::of_bytes(10.0).name, "KiB");
        assert_eq!(ShownUnit::of_rate(125_000.0).name, "kB/s");
        assert_eq!(ShownUnit::of_credit(250_000.0).name, "cr");
        assert_eq!(ShownUnit::of_credit(250.0).name, "mcr");
        assert_eq!(ShownUnit::of_time(3_600.0).text(90.0), "1.50");
    }
}
