//! How fast bytes move: a total, and an estimate over a sliding window of whole seconds.

use seedbank_ledger::{Duration, Instant};

/// Seconds the estimate looks back, the current one included.
const WINDOW_SECS: u64 = 10;
const BUCKET_COUNT: usize = 10;
/// A rate means something this long after the first byte.
const MEASURED_AFTER: Duration = Duration::from_secs(5);
const NANOS_PER_SEC: u64 = 1_000_000_000;
/// Spans of [`WINDOW_SECS`] that a peak looks back: ten minutes.
const SPANS: u64 = 60;
const SPAN_COUNT: usize = 60;

const _: () = assert!(WINDOW_SECS == 10 && BUCKET_COUNT == 10);
const _: () = assert!(SPANS == 60 && SPAN_COUNT == 60);

/// A transfer's total and its rate. Constant size, constant time.
#[derive(Clone, Debug)]
pub struct RateMeter {
    buckets: [u64; BUCKET_COUNT],
    /// The second that the newest bucket counts; older ones follow backwards around the ring.
    newest_sec: u64,
    /// When counting began, so that a young transfer is not divided by the whole window.
    started_at: Option<Instant>,
    total_bytes: u64,
}

impl RateMeter {
    /// Nothing counted yet.
    pub const fn new() -> Self {
        Self {
            buckets: [0; BUCKET_COUNT],
            newest_sec: 0,
            started_at: None,
            total_bytes: 0,
        }
    }

    /// Counts `bytes` that moved at `now`. A `now` before an earlier one counts at the earlier one.
    pub fn add(&mut self, bytes: u64, now: Instant) {
        self.advance(now);
        self.started_at.get_or_insert(now);
        let bucket = &mut self.buckets[slot_of(self.newest_sec)];
        *bucket = bucket.saturating_add(bytes);
        self.total_bytes = self.total_bytes.saturating_add(bytes);
    }

    /// Bytes that moved in the last ten seconds, the current one included.
    pub fn recent(&self, now: Instant) -> u64 {
        let now_sec = (now.as_nanos() / NANOS_PER_SEC).max(self.newest_sec);
        let oldest_sec = (now_sec + 1).saturating_sub(WINDOW_SECS);
        (oldest_sec..=self.newest_sec)
            .map(|sec| self.buckets[slot_of(sec)])
            .fold(0, u64::saturating_add)
    }

    /// Bytes per second over the last ten seconds, rounded down.
    ///
    /// A transfer younger than that is divided by its age, and by one second at least, so that one
    /// lucky packet does not make a peer look fast.
    pub fn per_second(&self, now: Instant) -> u64 {
        let Some(started_at) = self.started_at else {
            return 0;
        };
        let now_sec = now.as_nanos() / NANOS_PER_SEC;
        let now_sec = now_sec.max(self.newest_sec);
        let oldest_sec = (now_sec + 1).saturating_sub(WINDOW_SECS);
        let recent = self.recent(now);
        let window_start = oldest_sec.saturating_mul(NANOS_PER_SEC);
        let since = window_start.max(started_at.as_nanos());
        let elapsed = now.as_nanos().saturating_sub(since).max(NANOS_PER_SEC);
        let rate = u128::from(recent) * u128::from(NANOS_PER_SEC) / u128::from(elapsed);
        u64::try_from(rate).unwrap_or(u64::MAX)
    }

    /// [`Self::per_second`], once it means something: five seconds after the first byte.
    pub fn measured(&self, now: Instant) -> Option<u64> {
        let started_at = self.started_at?;
        let is_old = now.since(started_at) >= MEASURED_AFTER;
        is_old.then(|| self.per_second(now))
    }

    /// All bytes ever counted; held at the maximum.
    pub const fn total(&self) -> u64 {
        self.total_bytes
    }

    fn advance(&mut self, now: Instant) {
        let now_sec = now.as_nanos() / NANOS_PER_SEC;
        if now_sec <= self.newest_sec {
            return;
        }
        let stale = (now_sec - self.newest_sec).min(WINDOW_SECS);
        for sec in (now_sec - stale + 1)..=now_sec {
            self.buckets[slot_of(sec)] = 0;
        }
        self.newest_sec = now_sec;
    }
}

impl Default for RateMeter {
    fn default() -> Self {
        Self::new()
    }
}

/// The most that moved in ten seconds, of the last ten minutes. Constant size.
#[derive(Clone, Debug)]
pub struct RatePeak {
    /// Totals of whole spans of ten seconds, by their number modulo [`SPAN_COUNT`].
    spans: [u64; SPAN_COUNT],
    newest: u64,
}

impl RatePeak {
    /// Nothing counted yet.
    pub const fn new() -> Self {
        Self {
            spans: [0; SPAN_COUNT],
            newest: 0,
        }
    }

    /// Counts `bytes` that moved at `now`.
    pub fn add(&mut self, bytes: u64, now: Instant) {
        let span = span_of(now);
        if span > self.newest {
            let stale = (span - self.newest).min(SPANS);
            for old in (span - stale + 1)..=span {
                self.spans[place_of(old)] = 0;
            }
            self.newest = span;
        }
        let total = &mut self.spans[place_of(self.newest)];
        *total = total.saturating_add(bytes);
    }

    /// Bytes per second in the best ten seconds, rounded down.
    pub fn per_second(&self, now: Instant) -> u64 {
        let now = span_of(now).max(self.newest);
        let oldest = (now + 1).saturating_sub(SPANS);
        let totals = (oldest..=self.newest).map(|span| self.spans[place_of(span)]);
        totals.max().unwrap_or(0) / WINDOW_SECS
    }
}

impl Default for RatePeak {
    fn default() -> Self {
        Self::new()
    }
}

fn span_of(now: Instant) -> u64 {
    now.as_nanos() / (NANOS_PER_SEC * WINDOW_SECS)
}

fn place_of(span: u64) -> usize {
    usize::try_from(span % SPANS).expect("below the span count")
}

fn slot_of(sec: u64) -> usize {
    usize::try_from(sec % WINDOW_SECS).expect("below the bucket count")
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use seedbank_ledger::Duration;

    fn at_ms(ms: u64) -> Instant {
        Instant::ZERO.after(Duration::from_millis(ms))
    }

    #[test]
    fn a_steady_transfer_reads_as_its_rate() {
        let mut meter = RateMeter::new();
        for ms in (0..60_000).step_by(100) {
            meter.add(1_000, at_ms(ms));
        }
        let rate = meter.per_second(at_ms(59_999));
        assert!((9_900..=10_100).contains(&rate), "{rate}");
        assert_eq!(meter.total(), 600_000);
    }

    #[test]
    fn a_young_transfer_is_divided_by_its_age() {
        let mut meter = RateMeter::new();
        meter.add(5_000, at_ms(100_700));
        assert_eq!(meter.per_second(at_ms(100_700)), 5_000);
        meter.add(5_000, at_ms(101_700));
        assert_eq!(meter.per_second(at_ms(102_700)), 5_000);
    }

    #[test]
    fn silence_fades_to_zero_within_the_window() {
        let mut meter = RateMeter::new();
        meter.add(90_000, at_ms(5_000));
        assert!(meter.per_second(at_ms(14_900)) > 0);
        assert_eq!(meter.per_second(at_ms(15_000)), 0);
        assert_eq!(meter.per_second(Instant::MAX), 0);
        meter.add(7, at_ms(1_000_000));
        assert_eq!(meter.per_second(at_ms(1_000_000)), 0);
        assert_eq!(meter.total(), 90_007);
    }

    #[test]
    fn nothing_overflows() {
        let mut meter = RateMeter::new();
        meter.add(u64::MAX, Instant::MAX);
        meter.add(u64::MAX, Instant::ZERO);
        assert_eq!(meter.total(), u64::MAX);
        assert_eq!(meter.per_second(Instant::MAX), u64::MAX);
        assert_eq!(RateMeter::default().per_second(Instant::MAX), 0);
    }

    #[test]
    fn a_peak_is_remembered_for_ten_minutes() {
        let mut peak = RatePeak::new();
        assert_eq!(peak.per_second(at_ms(0)), 0);
        peak.add(50_000, at_ms(12_000));
        peak.add(50_000, at_ms(19_000));
        peak.add(30_000, at_ms(25_000));
        assert_eq!(peak.per_second(at_ms(25_000)), 10_000);
        assert_eq!(peak.per_second(at_ms(609_999)), 10_000);
        assert_eq!(peak.per_second(at_ms(610_000)), 3_000);
        peak.add(7_000, at_ms(5_000_000));
        assert_eq!(peak.per_second(at_ms(5_000_000)), 700);
        assert_eq!(peak.per_second(Instant::MAX), 0);
    }

    proptest! {
        #[test]
        fn the_estimate_counts_what_a_list_of_the_last_ten_seconds_counts(
            steps in prop::collection::vec((0_u64..3_000, 0_u64..100_000), 1..80)
        ) {
            let mut meter = RateMeter::new();
            let mut moved: Vec<(u64, u64)> = Vec::new();
            let mut ms = 0;
            for (wait, bytes) in steps {
                ms += wait;
                meter.add(bytes, at_ms(ms));
                moved.push((ms, bytes));
            }
            let oldest_sec = (ms / 1_000 + 1).saturating_sub(10);
            let is_recent = |(at, _): &&(u64, u64)| at / 1_000 >= oldest_sec;
            let recent: u64 = moved.iter().filter(is_recent).map(|(_, bytes)| bytes).sum();
            let elapsed = (ms - (oldest_sec * 1_000).max(moved[0].0)).max(1_000);
            prop_assert_eq!(meter.per_second(at_ms(ms)), recent * 1_000 / elapsed);
        }
    }
}
