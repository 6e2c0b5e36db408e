//! How far the wall clock is from settlement time, which alone decides expiry.

use seedbank_ledger::{Instant, UnixTime};

use super::config::{JUMP_SECS, SKEW_MAX_SECS};

/// An estimate of settlement time.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct SettlementTime {
    /// Settlement time minus ours, in seconds.
    skew_secs: i64,
    last: Option<(Instant, UnixTime)>,
}

impl SettlementTime {
    /// Notes the time. A wall clock that somebody set makes the estimate worthless.
    pub(super) fn observe(&mut self, now: Instant, unix: UnixTime) {
        if let Some((then, unix_then)) = self.last {
            let expected = unix_then.plus_secs(now.since(then).as_secs());
            if difference(expected, unix).unsigned_abs() > JUMP_SECS {
                self.skew_secs = 0;
            }
        }
        self.last = Some((now, unix));
    }

    /// An answer of this time came, to a question asked so many seconds ago: settlement time is
    /// between the two. An estimate that is so stays, so that who holds answers up moves nothing.
    pub(super) fn answered(&mut self, time: UnixTime, waited_secs: u64, unix: UnixTime) {
        let latest = time.plus_secs(waited_secs);
        // A second more, as all of them are cut to whole ones.
        if self.settlement(unix) > latest.plus_secs(1) {
            self.sample(latest, unix);
        }
        self.not_before(time, unix);
    }

    fn sample(&mut self, certified: UnixTime, unix: UnixTime) {
        self.skew_secs = difference(certified, unix);
    }

    /// A certificate of any age: settlement time is not before it.
    pub(super) fn not_before(&mut self, certified: UnixTime, unix: UnixTime) {
        if self.settlement(unix) < certified {
            self.sample(certified, unix);
        }
    }

    /// Settlement time, as far as known.
    pub(super) fn settlement(&self, unix: UnixTime) -> UnixTime {
        let secs = self.skew_secs.unsigned_abs();
        if self.skew_secs < 0 {
            unix.minus_secs(secs)
        } else {
            unix.plus_secs(secs)
        }
    }

    pub(super) fn skew_secs(&self) -> i64 {
        self.skew_secs
    }

    /// Whether the clock is good enough to take locks by.
    pub(super) fn is_sound(&self) -> bool {
        self.skew_secs.unsigned_abs() <= SKEW_MAX_SECS
    }
}

/// `later − earlier` in seconds.
fn difference(later: UnixTime, earlier: UnixTime) -> i64 {
    let held = |secs| i64::try_from(secs).unwrap_or(i64::MAX);
    if later >= earlier {
        held(later.secs_since(earlier))
    } else {
        -held(earlier.secs_since(later))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOON: UnixTime = UnixTime::from_secs(1_000_000);

    fn at(secs: u64) -> Instant {
        Instant::ZERO.after(seedbank_ledger::Duration::from_secs(secs))
    }

    #[test]
    fn eleven_minutes_off_is_unsound_either_way() {
        let mut clock = SettlementTime::default();
        clock.sample(NOON, NOON.plus_secs(660));
        assert_eq!(clock.skew_secs(), -660);
        assert!(!clock.is_sound());
        assert_eq!(clock.settlement(NOON.plus_secs(660)), NOON);
        clock.sample(NOON.plus_secs(660), NOON);
        assert!(!clock.is_sound());
        clock.sample(NOON.plus_secs(600), NOON);
        assert!(clock.is_sound());
    }

    #[test]
    fn an_answer_that_was_held_up_moves_a_good_estimate_nowhere() {
        let mut clock = SettlementTime::default();
        for waited in [0, 1, 29] {
            clock.answered(NOON, waited, NOON.plus_secs(waited));
            assert_eq!(clock.skew_secs(), 0);
        }
        clock.answered(NOON, 29, NOON.plus_secs(700));
        assert_eq!(clock.skew_secs(), -671);
        clock.answered(NOON.plus_secs(50), 3, NOON);
        assert_eq!(clock.skew_secs(), 50);
    }

    #[test]
    fn an_old_certificate_moves_the_estimate_forwards_only() {
        let mut clock = SettlementTime::default();
        clock.not_before(NOON, NOON.plus_secs(86_400));
        assert_eq!(clock.skew_secs(), 0);
        clock.not_before(NOON, NOON.minus_secs(900));
        assert_eq!(clock.skew_secs(), 900);
    }

    #[test]
    fn a_clock_that_was_set_is_measured_anew() {
        let mut clock = SettlementTime::default();
        clock.observe(at(0), NOON);
        clock.sample(NOON.plus_secs(900), NOON);
        clock.observe(at(10), NOON.plus_secs(10));
        assert!(!clock.is_sound());
        clock.observe(at(20), NOON.plus_secs(920));
        assert!(clock.is_sound());
    }

    #[test]
    fn times_at_the_ends_do_not_overflow() {
        let mut clock = SettlementTime::default();
        clock.sample(UnixTime::ZERO, UnixTime::from_secs(u64::MAX));
        assert!(!clock.is_sound());
        assert_eq!(clock.settlement(UnixTime::ZERO), UnixTime::ZERO);
        clock.not_before(UnixTime::from_secs(u64::MAX), UnixTime::ZERO);
        assert!(!clock.is_sound());
    }
}
