//! Token buckets: how much one key, or one address, may ask of the shared ledger.

use std::collections::BTreeMap;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::time::Instant;

/// Buckets kept; whoever was silent longest is forgotten, which only fills its bucket.
const BUCKETS_MAX: usize = 10_000;

/// One bucket per `K`, all of one size.
#[derive(Debug)]
pub(super) struct CallerLimiter<K> {
    buckets: Mutex<BTreeMap<K, CallerBucket>>,
    /// Tokens that fit.
    burst: u64,
    /// Time in which one token comes back.
    refill: Duration,
}

#[derive(Clone, Copy, Debug)]
struct CallerBucket {
    /// When it will be full again; in the past if it is.
    full_at: Instant,
}

impl<K: Ord + Copy> CallerLimiter<K> {
    /// Buckets of `burst` tokens, of which one comes back in each `refill`.
    pub(super) fn new(burst: u64, refill: Duration) -> Self {
        Self {
            buckets: Mutex::new(BTreeMap::new()),
            burst,
            refill,
        }
    }

    /// Takes `tokens`, or says how long to wait for them. More than a burst is taken as a burst.
    pub(super) fn take(&self, key: K, tokens: u64, now: Instant) -> Result<(), Duration> {
        let mut buckets = self.lock();
        let bucket = bucket(&mut buckets, key, now);
        let full_at = bucket.full_at.max(now) + self.time_of(tokens.min(self.burst));
        let latest = now + self.time_of(self.burst);
        if full_at > latest {
            return Err(full_at - latest);
        }
        bucket.full_at = full_at;
        Ok(())
    }

    /// Says how long to wait until one token is there, and takes none.
    pub(super) fn admit(&self, key: &K, now: Instant) -> Result<(), Duration> {
        let full_at = self.lock().get(key).map_or(now, |bucket| bucket.full_at);
        let latest = now + self.time_of(self.burst.saturating_sub(1));
        match full_at > latest {
            true => Err(full_at - latest),
            false => Ok(()),
        }
    }

    /// Takes `tokens` for work that was done, if need be out of the future.
    pub(super) fn charge(&self, key: K, tokens: u64, now: Instant) {
        let mut buckets = self.lock();
        let bucket = bucket(&mut buckets, key, now);
        bucket.full_at = bucket.full_at.max(now) + self.time_of(tokens.min(self.burst));
    }

    fn lock(&self) -> MutexGuard<'_, BTreeMap<K, CallerBucket>> {
        self.buckets.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn time_of(&self, tokens: u64) -> Duration {
        self.refill
            .saturating_mul(u32::try_from(tokens).unwrap_or(u32::MAX))
    }
}

/// The bucket of `key`, full if it is new.
fn bucket<K: Ord + Copy>(
    buckets: &mut BTreeMap<K, CallerBucket>,
    key: K,
    now: Instant,
) -> &mut CallerBucket {
    if buckets.len() >= BUCKETS_MAX && !buckets.contains_key(&key) {
        make_room(buckets, now);
    }
    buckets.entry(key).or_insert(CallerBucket { full_at: now })
}

/// Forgets full buckets, or if there are none, the one that is full soonest.
fn make_room<K: Ord + Copy>(buckets: &mut BTreeMap<K, CallerBucket>, now: Instant) {
    buckets.retain(|_, bucket| bucket.full_at > now);
    if buckets.len() < BUCKETS_MAX {
        return;
    }
    let soonest = buckets.iter().min_by_key(|(_, bucket)| bucket.full_at);
    if let Some(key) = soonest.map(|(key, _)| *key) {
        buckets.remove(&key);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_burst_passes_and_then_only_the_rate() {
        let limiter = CallerLimiter::new(3, Duration::from_millis(100));
        let now = Instant::now();
        for _ in 0..3 {
            assert_eq!(limiter.take(1, 1, now), Ok(()));
        }
        let wait = limiter.take(1, 1, now).unwrap_err();
        assert_eq!(wait, Duration::from_millis(100));
        assert_eq!(limiter.take(2, 3, now), Ok(()));
        assert_eq!(limiter.take(1, 1, now + wait), Ok(()));
        assert!(limiter.take(1, 1, now + wait).is_err());
        assert_eq!(limiter.take(1, 99, now + Duration::from_secs(9)), Ok(()));
    }

    #[test]
    fn work_that_turned_out_larger_is_paid_for_later() {
        let limiter = CallerLimiter::new(2, Duration::from_secs(1));
        let now = Instant::now();
        assert_eq!(limiter.take(1, 1, now), Ok(()));
        limiter.charge(1, 2, now);
        assert_eq!(limiter.take(1, 1, now), Err(Duration::from_secs(2)));
    }

    #[test]
    fn who_is_let_in_pays_for_what_was_done_alone() {
        let limiter = CallerLimiter::new(1, Duration::from_secs(1));
        let now = Instant::now();
        for _ in 0..9 {
            assert_eq!(limiter.admit(&1, now), Ok(()));
        }
        limiter.charge(1, 1, now);
        assert_eq!(limiter.admit(&1, now), Err(Duration::from_secs(1)));
        assert_eq!(limiter.admit(&1, now + Duration::from_secs(1)), Ok(()));
    }

    #[test]
    fn buckets_are_bounded() {
        let limiter = CallerLimiter::new(1, Duration::from_secs(1));
        let now = Instant::now();
        for key in 0..BUCKETS_MAX + 10 {
            assert_eq!(limiter.take(key, 1, now), Ok(()));
        }
        assert_eq!(limiter.buckets.lock().unwrap().len(), BUCKETS_MAX);
    }
}
