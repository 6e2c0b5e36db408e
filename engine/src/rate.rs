//! How fast bytes move: a total, and an estimate over a sliding window of whole seconds.

use seedbank_ledger::Instant;

/// Seconds the estimate looks back, the current one included.
const WINDOW_SECS: u64 = 10;
const BUCKET_COUNT: usize = 10;
const NANOS_PER_SEC: u64 = 1_000_000_000;

const _: () = assert!(WINDOW_SECS == 10 && BUCKET_COUNT == 10);

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
        let recent = (oldest_sec..=self.newest_sec)
            .map(|sec| self.buckets[slot_of(sec)])
            .fold(0, u64::saturating_add);
        let window_start = oldest_sec.saturating_mul(NANOS_PER_SEC);
        let since = window_start.max(started_at.as_nanos());
        let elapsed = now.as_nanos().saturating_sub(since).max(NANOS_PER_SEC);
        let rate = u128::from(recent) * u128::from(NANOS_PER_SEC) / u128::from(elapsed);
        u64::try_from(rate).unwrap_or(u64::MAX)
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
