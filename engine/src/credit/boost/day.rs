//! What was signed away in the last 24 hours, by the hour: never less than it was.

use std::collections::BTreeMap;

use seedbank_ledger::layout::{LayoutError, Reader, Writer};
use seedbank_ledger::{MicroCredits, UnixTime};

const HOUR_SECS: u64 = 3600;
/// The running hour and the 24 before it cover any 24 hours.
const HOURS_KEPT: u64 = 24;
/// Two more than that, for a clock that went back a little.
const HOURS_MAX: usize = 27;

/// Amounts by hour since 1970.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Day(BTreeMap<u64, MicroCredits>);

impl Day {
    /// Counts what was signed away now.
    pub(super) fn add(&mut self, amount: MicroCredits, now: UnixTime) {
        self.prune(now);
        let hour = self.0.entry(now.as_secs() / HOUR_SECS).or_default();
        *hour = hour.saturating_add(amount);
        self.check_invariants();
    }

    /// Asserts that few hours are kept.
    pub(super) fn check_invariants(&self) {
        assert!(self.0.len() <= HOURS_MAX, "hours are bounded");
    }

    /// Signed away in the last 24 hours, and in up to one more.
    pub(super) fn spent(&self, now: UnixTime) -> MicroCredits {
        let kept = kept(now);
        let amounts = self.0.iter().filter(|(hour, _)| kept(**hour));
        amounts.fold(MicroCredits::ZERO, |sum, (_, amount)| {
            sum.saturating_add(*amount)
        })
    }

    /// Forgets hours that are over. Hours ahead stay: the clock may not be told yet.
    fn prune(&mut self, now: UnixTime) {
        let hour = now.as_secs() / HOUR_SECS;
        self.0
            .retain(|other, _| other.saturating_add(HOURS_KEPT) >= hour);
        while self.0.len() >= HOURS_MAX {
            self.0.pop_last();
        }
    }

    pub(super) fn to_bytes(&self) -> Vec<u8> {
        let count = u16::try_from(self.0.len()).expect("at most 27 hours are kept");
        let out = Writer::new().u8(VERSION).u16(count);
        let write =
            |out: Writer, (hour, amount): (&u64, &MicroCredits)| out.u64(*hour).u64(amount.get());
        self.0.iter().fold(out, write).finish()
    }

    pub(super) fn from_bytes(bytes: &[u8]) -> Result<Self, LayoutError> {
        let mut reader = Reader::new(bytes);
        let from = &mut reader;
        super::row::check_version(from, VERSION)?;
        let count = from.u16()?;
        if usize::from(count) > HOURS_MAX {
            return Err(LayoutError::TooLong {
                field: "hours",
                len: count.into(),
                max: HOURS_MAX,
            });
        }
        let mut day = Self::default();
        for _ in 0..count {
            let hour = from.u64()?;
            let after = day.0.last_key_value().is_none_or(|(last, _)| *last < hour);
            if !after {
                return Err(LayoutError::Value {
                    field: "hour",
                    value: hour,
                });
            }
            day.0.insert(hour, MicroCredits::new(from.u64()?));
        }
        reader.end()?;
        Ok(day)
    }
}

/// Whether an hour counts at `now`. One far ahead comes from a clock that was wrong.
fn kept(now: UnixTime) -> impl Fn(u64) -> bool {
    let hour = now.as_secs() / HOUR_SECS;
    move |other| other.saturating_add(HOURS_KEPT) >= hour && other <= hour.saturating_add(1)
}

const VERSION: u8 = 1;

#[cfg(test)]
mod tests {
    use super::*;

    fn at(hours: u64, secs: u64) -> UnixTime {
        UnixTime::from_secs(1_000 * HOUR_SECS + hours * HOUR_SECS + secs)
    }

    #[test]
    fn what_was_spent_counts_for_24_hours_at_least_and_25_at_most() {
        let mut day = Day::default();
        day.add(MicroCredits::new(5), at(0, 3599));
        day.add(MicroCredits::new(7), at(1, 0));
        assert_eq!(day.spent(at(1, 0)).get(), 12);
        assert_eq!(day.spent(at(24, 3599)).get(), 12);
        assert_eq!(day.spent(at(25, 0)).get(), 7);
        assert_eq!(day.spent(at(26, 0)).get(), 0);
    }

    #[test]
    fn a_busy_day_fits_its_row_and_comes_back() {
        let mut day = Day::default();
        for hour in 0..100 {
            day.add(MicroCredits::MAX, at(hour, 0));
        }
        let bytes = day.to_bytes();
        assert!(bytes.len() <= seedbank_ledger::tally::BOOST_LEN_MAX);
        assert_eq!(Day::from_bytes(&bytes), Ok(day));
        assert!(Day::from_bytes(&[2]).is_err());
    }

    #[test]
    fn a_clock_that_is_not_told_yet_forgets_nothing() {
        let mut day = Day::default();
        day.add(MicroCredits::new(5), at(0, 0));
        day.add(MicroCredits::new(1), UnixTime::ZERO);
        assert_eq!(day.spent(at(0, 1)).get(), 5);
    }

    #[test]
    fn a_clock_from_the_future_blocks_nothing_once_it_is_set() {
        let mut day = Day::default();
        day.add(MicroCredits::new(5), at(9_000, 0));
        assert_eq!(day.spent(at(0, 0)), MicroCredits::ZERO);
    }
}
