//! Two clocks at one moment: the driver's monotonic one, and unix time corrected by settlement
//! time.

use seedbank_ledger::{Duration, Instant, UnixTime};

/// A moment on both clocks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Now {
    /// The driver's clock: delays and deadlines within a run.
    pub at: Instant,
    /// The corrected clock: expiry, claims and back-offs, which outlive a run.
    pub unix: UnixTime,
}

/// What maps one clock to the other: what both showed when the driver last gave both.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TwoClocks {
    told: Now,
}

impl TwoClocks {
    /// From what both clocks show at one moment.
    pub const fn new(told: Now) -> Self {
        Self { told }
    }

    /// Both clocks at `at`, which is not before the moment it was made from.
    pub fn now(&self, at: Instant) -> Now {
        let passed = at.since(self.told.at).as_secs();
        Now {
            at,
            unix: self.told.unix.plus_secs(passed),
        }
    }
}

impl Now {
    /// When the corrected clock will reach `unix`; this very moment if it has. Up to a second late,
    /// never early.
    pub fn instant_of(&self, unix: UnixTime) -> Instant {
        match unix.secs_since(self.unix) {
            0 => self.at,
            secs => self.at.after(Duration::from_secs(secs)),
        }
    }
}
