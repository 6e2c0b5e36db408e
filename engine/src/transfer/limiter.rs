//! How fast: token buckets in the driver's time, and who gets the next block of upload.
//!
//! A [`Limiter`] holds a node's bucket and one per limited torrent; a block passes all of them or
//! none. An [`UploadQueue`] puts blocks in order in front of it: the paid and the open class share
//! by weight, and so do the peers inside a class, both work-conserving (start-time fair queueing:
//! Goyal, Vin and Cheng, SIGCOMM 1996). Who is unchoked at all is decided in `choker.rs`.

mod split;
mod upload;

use std::collections::BTreeMap;

use seedbank_ledger::{Duration, Instant};

use crate::units::{BLOCK_LEN, TorrentId};

pub use split::{ByClass, ClassShares};
pub use upload::{HeldBack, UploadPeer, UploadQueue, UploadSide};

/// How much of a second's worth may be saved up while nobody takes anything.
pub const BURST: Duration = Duration::from_millis(250);
/// Least time between two refills that a caller is woken for: grants come in lumps.
pub const LUMP: Duration = Duration::from_millis(25);
/// Bytes that a bucket can always save up, so that a slow one still passes whole blocks.
pub const BURST_BYTES_MIN: u32 = 2 * BLOCK_LEN;

const NANOS_PER_SEC: u128 = 1_000_000_000;

/// Tokens for bytes: fills at a rate, holds at most a burst, never goes below zero.
///
/// Over any time `t` it passes at most `rate × t + burst` bytes. Counted in billionths of a byte,
/// so that no rounding adds up over days.
#[derive(Clone, Debug)]
pub struct Bucket {
    /// Bytes per second.
    rate: u64,
    /// Time whose worth may be saved up.
    burst: Duration,
    /// Billionths of a byte.
    level: u128,
    filled_at: Instant,
}

/// A node's rate limit and those of its torrents, for one direction.
#[derive(Clone, Debug, Default)]
pub struct Limiter {
    node: Option<Bucket>,
    /// Only torrents that have a limit.
    torrents: BTreeMap<TorrentId, Bucket>,
}

impl Bucket {
    /// A full bucket of so many bytes per second; at zero nothing passes once the burst is used.
    pub fn new(rate: u64, now: Instant) -> Self {
        Self::with_burst(rate, BURST, now)
    }

    /// The same that saves up so much time's worth.
    pub fn with_burst(rate: u64, burst: Duration, now: Instant) -> Self {
        let mut bucket = Self {
            rate,
            burst,
            level: 0,
            filled_at: now,
        };
        bucket.level = bucket.level_max();
        bucket.check_invariants();
        bucket
    }

    /// Changes the rate from `now` on; what was saved up beyond the new burst is lost.
    pub fn set_rate(&mut self, rate: u64, now: Instant) {
        self.fill(now);
        self.rate = rate;
        self.level = self.level.min(self.level_max());
        self.check_invariants();
    }

    /// Takes `bytes` if they are there; all or nothing. More than the burst is never there.
    pub fn take(&mut self, bytes: u64, now: Instant) -> bool {
        self.fill(now);
        let cost = u128::from(bytes) * NANOS_PER_SEC;
        let is_there = self.level >= cost;
        if is_there {
            assert!(
                cost <= self.level_max(),
                "no more than a burst passes at once"
            );
            self.level -= cost;
        }
        is_there
    }

    /// Puts back bytes that were taken and did not move.
    pub fn give_back(&mut self, bytes: u64) {
        let level = self.level + u128::from(bytes) * NANOS_PER_SEC;
        self.level = level.min(self.level_max());
        self.check_invariants();
    }

    /// Asserts that no more is saved up than a burst; what is unsigned is never below zero.
    pub fn check_invariants(&self) {
        assert!(self.level <= self.level_max(), "tokens are at most a burst");
    }

    /// Bytes that may be taken at `now`, rounded down.
    pub fn available(&mut self, now: Instant) -> u64 {
        self.fill(now);
        u64::try_from(self.level / NANOS_PER_SEC).unwrap_or(u64::MAX)
    }

    /// When `bytes` can be taken; `None` for never.
    pub fn ready_at(&mut self, bytes: u64, now: Instant) -> Option<Instant> {
        self.fill(now);
        let cost = u128::from(bytes) * NANOS_PER_SEC;
        if cost > self.level_max() {
            return None;
        }
        let missing = cost.saturating_sub(self.level);
        if missing == 0 {
            return Some(now);
        }
        let nanos = missing.div_ceil(u128::from(self.rate).max(1));
        let is_endless = self.rate == 0;
        let wait = u64::try_from(nanos).ok().filter(|_| !is_endless)?;
        Some(self.filled_at.after(Duration::from_nanos(wait)))
    }

    /// Most bytes it can save up.
    pub fn burst_bytes(&self) -> u64 {
        u64::try_from(self.level_max() / NANOS_PER_SEC).unwrap_or(u64::MAX)
    }

    fn level_max(&self) -> u128 {
        let saved = u128::from(self.rate) * u128::from(self.burst.as_nanos());
        saved.max(u128::from(BURST_BYTES_MIN) * NANOS_PER_SEC)
    }

    fn fill(&mut self, now: Instant) {
        let elapsed = now.since(self.filled_at);
        if elapsed == Duration::ZERO {
            return;
        }
        let gained = u128::from(self.rate) * u128::from(elapsed.as_nanos());
        self.level = self.level.saturating_add(gained).min(self.level_max());
        assert!(
            now > self.filled_at,
            "a bucket is filled in the order of time"
        );
        self.filled_at = now;
        self.check_invariants();
    }
}

impl Limiter {
    /// Asserts what holds of every bucket.
    pub fn check_invariants(&self) {
        let buckets = self.node.iter().chain(self.torrents.values());
        buckets.for_each(Bucket::check_invariants);
    }

    /// No limits.
    pub const fn new() -> Self {
        Self {
            node: None,
            torrents: BTreeMap::new(),
        }
    }

    /// Bytes per second over all torrents; `None` for no limit. Zero lets nothing pass.
    pub fn set_node_rate(&mut self, rate: Option<u64>, now: Instant) {
        set_rate(&mut self.node, rate, now);
    }

    /// Bytes per second of one torrent; `None` for no limit of its own.
    pub fn set_torrent_rate(&mut self, torrent: TorrentId, rate: Option<u64>, now: Instant) {
        let mut bucket = self.torrents.remove(&torrent);
        set_rate(&mut bucket, rate, now);
        if let Some(bucket) = bucket {
            self.torrents.insert(torrent, bucket);
        }
    }

    /// Takes `bytes` for a torrent if every bucket above it has them; all or nothing.
    pub fn take(&mut self, torrent: TorrentId, bytes: u64, now: Instant) -> bool {
        if self.ready_at(torrent, bytes, now) != Some(now) {
            return false;
        }
        for bucket in self.buckets(torrent) {
            assert!(
                bucket.take(bytes, now),
                "every bucket was just seen to have the bytes"
            );
        }
        true
    }

    /// Takes as many of `count` blocks of `len` bytes as there are tokens for; returns how many.
    pub fn take_blocks(
        &mut self,
        torrent: TorrentId,
        len: u32,
        count: usize,
        now: Instant,
    ) -> usize {
        (0..count)
            .take_while(|_| self.take(torrent, u64::from(len), now))
            .count()
    }

    /// Puts back bytes that were taken and did not move (choked, closed, cancelled).
    pub fn give_back(&mut self, torrent: TorrentId, bytes: u64) {
        self.buckets(torrent)
            .for_each(|bucket| bucket.give_back(bytes));
    }

    /// When `bytes` of a torrent may pass, `now` if at once; `None` for never.
    pub fn ready_at(&mut self, torrent: TorrentId, bytes: u64, now: Instant) -> Option<Instant> {
        self.buckets(torrent)
            .map(|bucket| bucket.ready_at(bytes, now))
            .try_fold(now, |latest, ready_at| Some(latest.max(ready_at?)))
    }

    /// Whether a torrent's own limit lets `bytes` pass at `now`, whatever the node's says.
    pub fn torrent_is_ready(&mut self, torrent: TorrentId, bytes: u64, now: Instant) -> bool {
        let bucket = self.torrents.get_mut(&torrent);
        bucket.is_none_or(|bucket| bucket.ready_at(bytes, now) == Some(now))
    }

    /// Whether the node as a whole has a limit.
    pub const fn is_limited(&self) -> bool {
        self.node.is_some()
    }

    fn buckets(&mut self, torrent: TorrentId) -> impl Iterator<Item = &mut Bucket> {
        self.node.iter_mut().chain(self.torrents.get_mut(&torrent))
    }
}

fn set_rate(bucket: &mut Option<Bucket>, rate: Option<u64>, now: Instant) {
    match (bucket.as_mut(), rate) {
        (_, None) => *bucket = None,
        (None, Some(rate)) => *bucket = Some(Bucket::new(rate, now)),
        (Some(bucket), Some(rate)) => bucket.set_rate(rate, now),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const TORRENT: TorrentId = TorrentId([1; 20]);
    const OTHER: TorrentId = TorrentId([2; 20]);

    fn at_ms(ms: u64) -> Instant {
        Instant::ZERO.after(Duration::from_millis(ms))
    }

    #[test]
    fn a_day_at_an_odd_rate_passes_exactly_the_rate() {
        let rate = 1_234_567;
        let mut bucket = Bucket::new(rate, Instant::ZERO);
        let burst = bucket.available(Instant::ZERO);
        assert!(bucket.take(burst, Instant::ZERO));
        let mut passed = 0;
        let mut now = Instant::ZERO;
        let end = at_ms(86_400_000);
        while now < end {
            // Uneven steps, none of them a whole number of bytes.
            now = now.after(Duration::from_nanos(77_777_777)).min(end);
            let bytes = bucket.available(now);
            assert!(bucket.take(bytes, now));
            passed += bytes;
        }
        assert_eq!(passed, rate * 86_400);
    }

    #[test]
    fn a_bucket_is_ready_exactly_when_it_says() {
        let mut bucket = Bucket::new(3_000, Instant::ZERO);
        assert!(bucket.take(u64::from(BURST_BYTES_MIN), Instant::ZERO));
        let ready_at = bucket.ready_at(16_384, Instant::ZERO).unwrap();
        let just_before = Instant::from_nanos(ready_at.as_nanos() - 1);
        assert!(!bucket.take(16_384, just_before));
        assert!(bucket.take(16_384, ready_at));
        assert_eq!(
            bucket.ready_at(u64::from(BURST_BYTES_MIN) + 1, ready_at),
            None
        );
    }

    #[test]
    fn rate_zero_passes_nothing_and_no_limit_everything() {
        let mut limiter = Limiter::new();
        assert!(limiter.take(TORRENT, u64::MAX, Instant::ZERO));
        limiter.set_node_rate(Some(0), Instant::ZERO);
        while limiter.take(TORRENT, 16_384, Instant::ZERO) {}
        assert!(!limiter.take(TORRENT, 16_384, Instant::MAX));
        assert_eq!(limiter.ready_at(TORRENT, 16_384, Instant::MAX), None);
        limiter.set_node_rate(None, Instant::MAX);
        assert_eq!(
            limiter.ready_at(TORRENT, 16_384, Instant::MAX),
            Some(Instant::MAX)
        );
        limiter.set_node_rate(Some(u64::MAX), Instant::MAX);
        assert!(limiter.take(TORRENT, 16_384, Instant::MAX));
    }

    #[test]
    fn a_torrent_limit_holds_that_torrent_only() {
        let mut limiter = Limiter::new();
        limiter.set_node_rate(Some(10_000_000), Instant::ZERO);
        limiter.set_torrent_rate(TORRENT, Some(1_000), Instant::ZERO);
        assert_eq!(
            limiter.take_blocks(TORRENT, BLOCK_LEN, 10, Instant::ZERO),
            2
        );
        assert_eq!(limiter.take_blocks(OTHER, BLOCK_LEN, 10, Instant::ZERO), 10);
        limiter.give_back(TORRENT, 16_384);
        assert_eq!(
            limiter.take_blocks(TORRENT, BLOCK_LEN, 10, Instant::ZERO),
            1
        );
        limiter.set_torrent_rate(TORRENT, None, Instant::ZERO);
        assert_eq!(
            limiter.take_blocks(TORRENT, BLOCK_LEN, 10, Instant::ZERO),
            10
        );
    }

    #[test]
    fn a_refused_block_costs_the_node_nothing() {
        let mut limiter = Limiter::new();
        limiter.set_node_rate(Some(1), Instant::ZERO);
        limiter.set_torrent_rate(TORRENT, Some(0), Instant::ZERO);
        assert_eq!(limiter.take_blocks(TORRENT, BLOCK_LEN, 1, Instant::ZERO), 1);
        assert!(!limiter.take(TORRENT, 20_000, Instant::ZERO));
        assert!(limiter.take(OTHER, 16_384, Instant::ZERO));
    }

    proptest! {
        #[test]
        fn no_stretch_of_time_passes_more_than_rate_and_burst(
            rate in 0_u64..5_000_000,
            steps in prop::collection::vec((0_u64..400_000_000, 1_u64..40_000), 1..200),
        ) {
            let mut bucket = Bucket::new(rate, Instant::ZERO);
            let mut now = Instant::ZERO;
            let mut passed: Vec<(Instant, u64)> = Vec::new();
            for (wait, bytes) in steps {
                now = now.after(Duration::from_nanos(wait));
                if bucket.take(bytes, now) {
                    passed.push((now, bytes));
                }
            }
            for from in 0..passed.len() {
                let mut sum = 0_u128;
                for (end, bytes) in &passed[from..] {
                    sum += u128::from(*bytes);
                    let elapsed = u128::from(end.since(passed[from].0).as_nanos());
                    let bound = u128::from(rate) * elapsed / NANOS_PER_SEC
                        + u128::from(bucket.burst_bytes());
                    prop_assert!(sum <= bound);
                }
            }
        }
    }
}
