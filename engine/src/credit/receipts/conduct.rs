//! How a payer behaves, as its payee sees it: on time, late, in the open class, backing off (P4).
//!
//! Waste is normal (failed pieces, dead sockets), so a little that is never paid is forgiven, and
//! even a long back-off has a way back.

use seedbank_ledger::{Bytes, Duration, Instant, UnixTime};

use crate::credit::receipts::clock::Now;
use crate::credit::receipts::limits::{
    BACKOFF_LEVEL_MAX, BACKOFF_SECS, BACKOFF_SECS_MAX, LATE_MAX, LATE_MIN, LOST_SHARE,
    WRITE_OFF_DELAY,
};

/// Where a payer stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Conduct {
    /// Pays as it goes. `since` is the last grant or rise.
    OnTime {
        /// Last grant or rise.
        since: Instant,
    },
    /// Has reached a limit and not paid since; still in the paid class for what fits.
    Late {
        /// When it leaves the paid class.
        until: Instant,
    },
    /// In the open class.
    Suspended {
        /// When what it took is written off.
        until: Instant,
    },
    /// Lost more than is forgiven; in the open class.
    BackingOff {
        /// When one piece of it is forgiven and it may try again.
        until: UnixTime,
    },
}

/// What time asks to be done about a payer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Lapse {
    /// Idle with unpaid blocks: it is late from now.
    BecomeLate,
    /// Late for too long: to the open class.
    Suspend,
    /// In the open class for too long: write off what is in F.
    WriteOff,
    /// The back-off is over: forgive one piece.
    Forgive,
}

impl Conduct {
    /// After the start, as stored.
    pub fn stored(backoff_until: UnixTime, now: Instant) -> Self {
        if backoff_until == UnixTime::ZERO {
            Self::OnTime { since: now }
        } else {
            Self::BackingOff {
                until: backoff_until,
            }
        }
    }

    /// The payer took or paid something.
    pub fn moved(&mut self, now: Instant) {
        match self {
            Self::OnTime { since } => *since = now,
            Self::Late { .. } | Self::Suspended { .. } | Self::BackingOff { .. } => {}
        }
    }

    /// The payer paid: late no more.
    pub fn paid(&mut self, now: Instant) {
        match self {
            Self::OnTime { .. } | Self::Late { .. } | Self::Suspended { .. } => {
                *self = Self::OnTime { since: now };
            }
            Self::BackingOff { .. } => {}
        }
    }

    /// The payer is late; the time it gets is twice what delivering E takes at its rate.
    pub fn late(&mut self, exposure: Bytes, bytes_per_sec: u64, now: Instant) {
        match self {
            Self::OnTime { .. } => {
                let until = now.after(patience(exposure, bytes_per_sec));
                *self = Self::Late { until };
            }
            Self::Late { .. } | Self::Suspended { .. } | Self::BackingOff { .. } => {}
        }
    }

    /// To the open class.
    pub fn suspend(&mut self, now: Instant) {
        let until = now.after(WRITE_OFF_DELAY);
        *self = Self::Suspended { until };
    }

    /// Whether blocks may be granted in the paid class.
    pub fn may_take(&self) -> bool {
        match self {
            Self::OnTime { .. } | Self::Late { .. } => true,
            Self::Suspended { .. } | Self::BackingOff { .. } => false,
        }
    }

    /// Whether it is late, and nothing has come of that yet.
    pub const fn is_late(&self) -> bool {
        matches!(self, Self::Late { .. })
    }

    /// What is to be done now, if anything. `idle` is how long somebody that owes may do nothing;
    /// `None` if F is empty.
    pub fn overdue(&self, idle: Option<Duration>, now: Now) -> Option<Lapse> {
        match *self {
            Self::OnTime { since } => {
                let late = idle.is_some_and(|idle| now.at >= since.after(idle));
                late.then_some(Lapse::BecomeLate)
            }
            Self::Late { until } => (now.at >= until).then_some(Lapse::Suspend),
            Self::Suspended { until } => (now.at >= until).then_some(Lapse::WriteOff),
            Self::BackingOff { until } => (now.unix >= until).then_some(Lapse::Forgive),
        }
    }

    /// When [`Self::overdue`] has something to say.
    pub fn wakes_at(&self, idle: Option<Duration>, now: Now) -> Option<Instant> {
        match *self {
            Self::OnTime { since } => idle.map(|idle| since.after(idle)),
            Self::Late { until } | Self::Suspended { until } => Some(until),
            Self::BackingOff { until } => Some(now.instant_of(until)),
        }
    }

    /// To be stored: until when it gets no paid service, zero if it may have it.
    pub fn backoff_until(&self) -> UnixTime {
        match *self {
            Self::BackingOff { until } => until,
            Self::OnTime { .. } | Self::Late { .. } | Self::Suspended { .. } => UnixTime::ZERO,
        }
    }
}

/// Bytes that may be lost with a payer and are forgiven; `piece` is the longest one as far as it
/// counts.
pub fn forgiven(piece: Bytes, history: Bytes) -> Bytes {
    piece.saturating_add(Bytes::new(history.get() / LOST_SHARE))
}

/// How long the back-off of this level lasts, in seconds, and the next level.
pub fn back_off(level: u8) -> (u64, u8) {
    let level = level.min(BACKOFF_LEVEL_MAX);
    let secs = (BACKOFF_SECS << level).min(BACKOFF_SECS_MAX);
    (secs, level.saturating_add(1).min(BACKOFF_LEVEL_MAX))
}

fn patience(exposure: Bytes, bytes_per_sec: u64) -> Duration {
    let twice = exposure.get().saturating_mul(2);
    let secs = twice.checked_div(bytes_per_sec);
    secs.map_or(LATE_MAX, Duration::from_secs)
        .clamp(LATE_MIN, LATE_MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    const MIB: u64 = 1 << 20;

    fn at(secs: u64) -> Instant {
        Instant::ZERO.after(Duration::from_secs(secs))
    }

    #[test]
    fn f12_a_slow_link_gets_the_time_its_socket_needs() {
        let slow = patience(Bytes::new(MIB), 100_000);
        assert_eq!(slow, Duration::from_secs(20));
        assert_eq!(patience(Bytes::new(MIB), 0), LATE_MAX);
        assert_eq!(patience(Bytes::new(1), u64::MAX), LATE_MIN);
        assert_eq!(patience(Bytes::MAX, 1), LATE_MAX);
    }

    #[test]
    fn back_off_doubles_to_an_hour() {
        let mut level = 0;
        let mut waits = Vec::new();
        for _ in 0..9 {
            let (secs, next) = back_off(level);
            waits.push(secs);
            level = next;
        }
        assert_eq!(waits, [60, 120, 240, 480, 960, 1_920, 3_600, 3_600, 3_600]);
        assert_eq!(back_off(u8::MAX), (3_600, BACKOFF_LEVEL_MAX));
    }

    #[test]
    fn a_payment_ends_lateness_but_no_back_off() {
        let mut conduct = Conduct::stored(UnixTime::ZERO, at(0));
        conduct.late(Bytes::new(MIB), MIB, at(1));
        assert_eq!(conduct, Conduct::Late { until: at(6) });
        conduct.suspend(at(6));
        assert!(!conduct.may_take());
        conduct.paid(at(7));
        assert_eq!(conduct, Conduct::OnTime { since: at(7) });
        let mut conduct = Conduct::stored(UnixTime::from_secs(100), at(0));
        conduct.paid(at(7));
        conduct.late(Bytes::ZERO, 0, at(7));
        assert_eq!(conduct.backoff_until(), UnixTime::from_secs(100));
    }
}
