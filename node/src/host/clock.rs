//! The two clocks of a driver: monotonic time since its start, and the wall.

use std::time::{SystemTime, UNIX_EPOCH};

use seedbank_ledger::{Instant, UnixTime};

/// A monotonic clock that starts at zero.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Clock {
    start: tokio::time::Instant,
}

impl Clock {
    /// Zero is now.
    pub(crate) fn start() -> Self {
        Self {
            start: tokio::time::Instant::now(),
        }
    }

    /// Time since the start.
    pub(crate) fn now(&self) -> Instant {
        let nanos = self.start.elapsed().as_nanos();
        Instant::from_nanos(u64::try_from(nanos).unwrap_or(u64::MAX))
    }

    /// A moment of this clock as the runtime's timers know it; far ones are held a year away.
    pub(crate) fn at(&self, instant: Instant) -> tokio::time::Instant {
        const YEAR: std::time::Duration = std::time::Duration::from_secs(365 * 24 * 3600);
        let since = std::time::Duration::from_nanos(instant.as_nanos());
        let soon = self.start + self.start.elapsed() + YEAR;
        self.start
            .checked_add(since)
            .map_or(soon, |at| at.min(soon))
    }
}

/// The wall clock.
pub(crate) fn unix_now() -> UnixTime {
    let since = SystemTime::now().duration_since(UNIX_EPOCH);
    UnixTime::from_secs(since.map_or(0, |since| since.as_secs()))
}
