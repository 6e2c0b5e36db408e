//! The clocks of a driver: monotonic time since its start, the wall, and time since boot.

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

/// Time since the machine was started, suspension included: a clock that nobody can set.
pub(crate) fn boot_now() -> Instant {
    let since = rustix::time::clock_gettime(rustix::time::ClockId::Boottime);
    let secs = u64::try_from(since.tv_sec).unwrap_or(0);
    Instant::ZERO.after(seedbank_ledger::Duration::from_secs(secs))
}

/// The wall clock.
pub(crate) fn unix_now() -> UnixTime {
    let since = SystemTime::now().duration_since(UNIX_EPOCH);
    UnixTime::from_secs(since.map_or(0, |since| since.as_secs()))
}
