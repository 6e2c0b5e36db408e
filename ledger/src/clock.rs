//! Settlement time: how fast the log of a network may be told that time passes.
//!
//! When a lock expires is decided by log time alone, so one wrong reading of a wall clock must
//! not be able to end locks. Log time follows the wall clock, but never runs ahead of what the
//! machine's boot-time clock, which counts suspension and cannot be set, says has passed, plus
//! [`SPARE_SECS`] in any 24 h. A wall clock that goes back makes log time wait. The driver reads
//! the clocks and keeps [`ClockState`] across starts (`mark.rs`).

use crate::layout::{LayoutError, Reader, Writer};
use crate::time::{Instant, UnixTime};

/// Seconds that log time may advance in any [`DAY_SECS`] beyond the boot-time clock: clocks differ.
pub const SPARE_SECS: u64 = 600;

/// The length of that window.
pub const DAY_SECS: u64 = 86_400;

/// How far ahead of the time that was kept a start may find the wall clock, unless it is told that
/// the clock is right: nobody knows how long the machine was off.
pub const START_AHEAD_SECS_MAX: u64 = DAY_SECS;

/// What is kept of settlement time from one start to the next.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ClockState {
    /// How far log time may have gone.
    pub reached: UnixTime,
    /// What is left of [`SPARE_SECS`], in seconds.
    pub spare_secs: u64,
    /// Seconds since some of it was spent; after [`DAY_SECS`] it is whole again.
    pub rested_secs: u64,
}

/// Why settlement time does not go on: the wall clock is too far ahead of the time that was kept.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "the clock is {} s ahead of settlement time, which was at {kept}: at most \
     {START_AHEAD_SECS_MAX} s are believed",
    wall.secs_since(*kept)
)]
pub struct ClockAhead {
    /// Settlement time as it was kept.
    pub kept: UnixTime,
    /// What the wall clock says.
    pub wall: UnixTime,
}

/// Settlement time of a process. Reads no clock: each reading is an argument.
#[derive(Clone, Debug)]
pub struct LogClock {
    state: ClockState,
    /// The newest reading of the boot-time clock.
    boot_secs: u64,
    /// The newest answer.
    told: UnixTime,
}

impl ClockState {
    pub(crate) const LEN: usize = 24;

    /// Settlement time that begins at, or is set to, what the wall clock says.
    pub fn starting_at(wall: UnixTime) -> Self {
        Self {
            reached: wall,
            spare_secs: SPARE_SECS,
            rested_secs: 0,
        }
    }

    pub(crate) fn write(&self, out: Writer) -> Writer {
        out.u64(self.reached.as_secs())
            .u64(self.spare_secs)
            .u64(self.rested_secs)
    }

    pub(crate) fn read(from: &mut Reader<'_>) -> Result<Self, LayoutError> {
        Ok(Self {
            reached: UnixTime::from_secs(from.u64()?),
            spare_secs: from.u64()?,
            rested_secs: from.u64()?,
        })
    }
}

impl LogClock {
    /// Takes settlement time up again. `boot` is the boot-time clock, from any origin. A wall clock
    /// up to [`START_AHEAD_SECS_MAX`] ahead of what was kept is believed: the machine was off.
    pub fn start(kept: ClockState, wall: UnixTime, boot: Instant) -> Result<Self, ClockAhead> {
        if wall.secs_since(kept.reached) > START_AHEAD_SECS_MAX {
            let kept = kept.reached;
            return Err(ClockAhead { kept, wall });
        }
        let reached = kept.reached.max(wall);
        Ok(Self {
            state: ClockState { reached, ..kept },
            boot_secs: boot_secs(boot),
            told: UnixTime::ZERO,
        })
    }

    /// Settlement time, by what both clocks say now. Never goes back; O(1).
    pub fn read(&mut self, wall: UnixTime, boot: Instant) -> UnixTime {
        let boot_secs = boot_secs(boot).max(self.boot_secs);
        self.pass(boot_secs.saturating_sub(self.boot_secs));
        self.boot_secs = boot_secs;
        let ClockState {
            reached,
            spare_secs,
            ..
        } = self.state;
        let step = wall.secs_since(reached).min(spare_secs);
        if step > 0 {
            self.state = ClockState {
                reached: reached.plus_secs(step),
                spare_secs: spare_secs.saturating_sub(step),
                rested_secs: 0,
            };
        }
        self.told = self.told.max(wall.min(self.state.reached));
        self.told
    }

    /// What to keep; to be durable before a time beyond what was kept is used, if `spare_secs` is
    /// less than in what was kept.
    pub fn state(&self) -> ClockState {
        self.state
    }

    fn pass(&mut self, secs: u64) {
        let state = &mut self.state;
        state.reached = state.reached.plus_secs(secs);
        state.rested_secs = state.rested_secs.saturating_add(secs).min(DAY_SECS);
        if state.rested_secs == DAY_SECS {
            state.spare_secs = SPARE_SECS;
        }
    }
}

fn boot_secs(boot: Instant) -> u64 {
    boot.since(Instant::ZERO).as_secs()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const NOW: u64 = 1_700_000_000;
    const YEAR: u64 = 365 * DAY_SECS;

    fn at(secs: u64) -> UnixTime {
        UnixTime::from_secs(secs)
    }

    fn boot(secs: u64) -> Instant {
        Instant::from_nanos(secs * 1_000_000_000)
    }

    fn started() -> LogClock {
        LogClock::start(ClockState::starting_at(at(NOW)), at(NOW), boot(50)).unwrap()
    }

    #[test]
    fn right_clocks_are_followed_to_the_second() {
        let mut clock = started();
        for second in 0..3 * DAY_SECS {
            assert_eq!(
                clock.read(at(NOW + second), boot(50 + second)),
                at(NOW + second)
            );
        }
        assert_eq!(clock.state().spare_secs, SPARE_SECS);
    }

    #[test]
    fn a_clock_a_year_ahead_gains_ten_minutes_a_day() {
        let mut clock = started();
        for hour in 0..72 {
            let secs = hour * 3_600;
            let told = clock.read(at(NOW + YEAR + secs), boot(50 + secs));
            let days = hour / 24 + 1;
            assert_eq!(told, at(NOW + secs + days * SPARE_SECS));
        }
    }

    #[test]
    fn a_clock_a_year_back_makes_time_wait_and_costs_nothing() {
        let mut clock = started();
        assert_eq!(clock.read(at(NOW + 10), boot(60)), at(NOW + 10));
        assert_eq!(clock.read(at(NOW + 11 - YEAR), boot(61)), at(NOW + 10));
        assert_eq!(clock.read(at(NOW + 12 - YEAR), boot(62)), at(NOW + 10));
        assert_eq!(clock.read(at(NOW + 13), boot(63)), at(NOW + 13));
        assert_eq!(clock.state().spare_secs, SPARE_SECS);
    }

    #[test]
    fn a_start_believes_a_day_and_no_more() {
        let kept = ClockState {
            spare_secs: 1,
            ..ClockState::starting_at(at(NOW))
        };
        let day = at(NOW + START_AHEAD_SECS_MAX);
        let mut clock = LogClock::start(kept, day, boot(0)).unwrap();
        assert_eq!(clock.read(day, boot(0)), day);
        assert_eq!(clock.state().spare_secs, 1, "a start gives nothing");
        let late = day.plus_secs(1);
        let refused = LogClock::start(kept, late, boot(0)).unwrap_err();
        let (kept, wall) = (kept.reached, late);
        assert_eq!(refused, ClockAhead { kept, wall });
        let accepted = ClockState::starting_at(late);
        assert!(LogClock::start(accepted, late, boot(0)).is_ok());
    }

    #[test]
    fn a_start_with_the_clock_back_waits_where_it_was() {
        let kept = ClockState::starting_at(at(NOW));
        let mut clock = LogClock::start(kept, at(NOW - YEAR), boot(9)).unwrap();
        assert_eq!(
            clock.read(at(NOW - YEAR), boot(9)),
            at(NOW - YEAR),
            "the log is ahead of it"
        );
        assert_eq!(clock.state().reached, at(NOW));
        assert_eq!(clock.read(at(NOW + 5), boot(14)), at(NOW + 5));
    }

    proptest! {
        /// Whatever the wall clock does, in any window of a day log time advances at most by what
        /// passed since boot and the spare time, and never goes back.
        #[test]
        fn no_window_gains_more_than_its_spare_time(
            steps in prop::collection::vec((0..20_000_u64, 0..2 * NOW), 1..200),
        ) {
            let mut clock = started();
            let mut secs = 50;
            let mut told = vec![(secs, NOW)];
            for (passed, wall) in steps {
                secs += passed;
                let now = clock.read(at(wall), boot(secs)).as_secs();
                let bound = clock.state().reached.as_secs();
                prop_assert!(now <= bound);
                for (then, bound_then) in &told {
                    if secs - then < DAY_SECS {
                        prop_assert!(bound - bound_then <= secs - then + SPARE_SECS);
                    }
                }
                let next = clock.read(at(wall), boot(secs)).as_secs();
                prop_assert!(next >= now);
                told.push((secs, bound));
            }
        }
    }
}
