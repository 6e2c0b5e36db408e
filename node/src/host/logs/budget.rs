//! How many log lines strangers can cause: a few of each cause and address group at once, few in a
//! minute altogether, and then how many more there were.

use std::collections::BTreeMap;

use seedbank_engine::discovery::host::Host;
use seedbank_ledger::{Duration, Instant};

/// Lines about one cause and one group of addresses in a minute.
pub(crate) const GROUP_LINES_MAX: u64 = 3;
/// Lines in a minute, whatever they are about.
pub(crate) const LINES_MAX: u64 = 60;
/// Groups told apart in a minute; the rest count as one.
const GROUPS_MAX: usize = 256;
/// What lines are counted over.
const PERIOD: Duration = Duration::from_secs(60);

/// Decides which lines are written. Without I/O and without a clock.
#[derive(Debug, Default)]
pub(crate) struct LogBudget {
    /// What came in this minute, by cause and by whose address it is; `None` for nobody's.
    counts: BTreeMap<(&'static str, Option<Host>), u64>,
    /// Lines written in this minute.
    written: u64,
    /// What was left out in this minute, by cause.
    left_out: BTreeMap<&'static str, u64>,
    began: Instant,
}

/// What was left out of the log.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct LeftOut {
    /// Of what.
    pub(crate) cause: &'static str,
    /// How many lines.
    pub(crate) lines: u64,
}

impl LogBudget {
    /// Whether a line about `cause`, of somebody in `group`, is written. Call
    /// [`LogBudget::left_out`] first, and now and then.
    pub(crate) fn admits(&mut self, cause: &'static str, group: Option<Host>) -> bool {
        let is_known = self.counts.contains_key(&(cause, group));
        let group = group.filter(|_| is_known || self.counts.len() < GROUPS_MAX);
        let count = self.counts.entry((cause, group)).or_default();
        *count = count.saturating_add(1);
        let admitted = *count <= GROUP_LINES_MAX && self.written < LINES_MAX;
        if admitted {
            self.written += 1;
        } else {
            *self.left_out.entry(cause).or_default() += 1;
        }
        assert!(self.written <= LINES_MAX, "lines are bounded");
        admitted
    }

    /// What was left out in a minute that is over, once: to be written, one line each.
    pub(crate) fn left_out(&mut self, now: Instant) -> Vec<LeftOut> {
        if now.since(self.began) < PERIOD {
            return Vec::new();
        }
        let before = std::mem::replace(
            self,
            Self {
                began: now,
                ..Self::default()
            },
        );
        let left_out = before.left_out.into_iter();
        left_out
            .map(|(cause, lines)| LeftOut { cause, lines })
            .collect()
    }
}

#[cfg(test)]
mod tests {
    use std::net::Ipv4Addr;

    use super::*;

    fn at(secs: u64) -> Instant {
        Instant::ZERO.after(Duration::from_secs(secs))
    }

    fn group(number: u32) -> Option<Host> {
        Some(Host::V4(Ipv4Addr::from_bits(number)))
    }

    fn admitted(budget: &mut LogBudget, cause: &'static str, of: Option<Host>) -> u64 {
        (0..1_000)
            .map(|_| u64::from(budget.admits(cause, of)))
            .sum()
    }

    #[test]
    fn n2_a_few_lines_are_written_and_the_rest_is_counted() {
        let mut budget = LogBudget::default();
        assert_eq!(admitted(&mut budget, "one", group(1)), GROUP_LINES_MAX);
        assert!(budget.admits("one", group(2)), "somebody else is heard");
        assert!(budget.admits("other", group(1)), "and of something else");
        assert!(budget.left_out(at(59)).is_empty(), "the minute is not over");
        let lines = 1_000 - GROUP_LINES_MAX;
        let left_out = LeftOut {
            cause: "one",
            lines,
        };
        assert_eq!(budget.left_out(at(60)), [left_out]);
        assert!(budget.left_out(at(120)).is_empty(), "told once");
        assert_eq!(admitted(&mut budget, "one", group(1)), GROUP_LINES_MAX);
    }

    #[test]
    fn n2_lines_and_groups_are_bounded_however_many_addresses_there_are() {
        let mut budget = LogBudget::default();
        let all = (0..100_000).map(|number| u64::from(budget.admits("one", group(number))));
        let written: u64 = all.sum();
        assert_eq!(written, LINES_MAX);
        assert!(budget.counts.len() <= GROUPS_MAX + 1);
        let lines = 100_000 - written;
        let left_out = LeftOut {
            cause: "one",
            lines,
        };
        assert_eq!(budget.left_out(at(60)), [left_out]);
    }
}
