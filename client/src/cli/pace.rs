//! How fast work goes and when it will be done, from figures that jump.

use std::time::Duration;

/// How long a change of rate takes to show, mostly.
const SMOOTHING: Duration = Duration::from_secs(5);

/// A rate smoothed over time, in bytes per second.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Pace {
    rate: Option<i64>,
}

impl Pace {
    /// Takes a rate in, measured `since` after the one before.
    pub(super) fn feed(&mut self, measured: i64, since: Duration) {
        let Some(rate) = self.rate else {
            self.rate = (measured > 0).then_some(measured);
            return;
        };
        let millis = |duration: Duration| i64::try_from(duration.as_millis()).unwrap_or(i64::MAX);
        let (step, whole) = (millis(since), millis(since.saturating_add(SMOOTHING)));
        let change = i128::from(measured.saturating_sub(rate)) * i128::from(step);
        let change = i64::try_from(change / i128::from(whole.max(1))).unwrap_or_default();
        self.rate = Some(rate.saturating_add(change).max(0));
    }

    /// Bytes per second; 0 until something moved.
    pub(super) fn rate(&self) -> i64 {
        self.rate.unwrap_or_default()
    }
}

/// How long `left` bytes take at `rate` bytes per second: "45s", "4m05s", "2h10m", "3d04h"; "∞" if
/// nothing moves or it would take more than 99 days.
pub(super) fn eta(left: i64, rate: i64) -> String {
    const MINUTE: i64 = 60;
    const HOUR: i64 = 60 * MINUTE;
    const DAY: i64 = 24 * HOUR;
    if left <= 0 {
        return "0s".to_owned();
    }
    if rate <= 0 {
        return "∞".to_owned();
    }
    let secs = left / rate + i64::from(left % rate > 0);
    match secs {
        ..MINUTE => format!("{secs}s"),
        MINUTE..HOUR => format!("{}m{:02}s", secs / MINUTE, secs % MINUTE),
        HOUR..DAY => format!("{}h{:02}m", secs / HOUR, secs % HOUR / MINUTE),
        _ if secs / DAY > 99 => "∞".to_owned(),
        _ => format!("{}d{:02}h", secs / DAY, secs % DAY / HOUR),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_time_left_has_two_units_at_most() {
        assert_eq!(eta(0, 0), "0s");
        assert_eq!(eta(100, 0), "∞");
        assert_eq!(eta(100, 3), "34s");
        assert_eq!(eta(245, 1), "4m05s");
        assert_eq!(eta(7_800, 1), "2h10m");
        assert_eq!(eta(3 * 86_400 + 4 * 3_600, 1), "3d04h");
        assert_eq!(eta(i64::MAX, 1), "∞");
    }

    #[test]
    fn a_jump_is_smoothed_and_a_steady_rate_reached() {
        let second = Duration::from_secs(1);
        let mut pace = Pace::default();
        pace.feed(0, second);
        assert_eq!(pace.rate(), 0);
        pace.feed(1_000, second);
        assert_eq!(pace.rate(), 1_000, "the first rate is taken as it is");
        pace.feed(7_000, second);
        assert_eq!(pace.rate(), 2_000, "a sixth of the way in a second");
        for _ in 0..60 {
            pace.feed(7_000, second);
        }
        assert!((6_900..=7_000).contains(&pace.rate()), "{}", pace.rate());
        for _ in 0..60 {
            pace.feed(0, second);
        }
        assert!(pace.rate() < 100, "{}", pace.rate());
    }
}
