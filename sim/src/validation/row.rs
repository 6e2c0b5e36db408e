//! A row of the table, and whether it holds.

use crate::world::WorldCounts;

/// Who made a row's numbers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RowLabel {
    /// An ideal scheduler or a calculator: to compare with.
    Theory,
    /// The code of real nodes.
    Production,
}

/// How far measured and expected may be apart; each of one with its counterpart.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Tolerance {
    /// Not at all.
    Exact,
    /// By so much.
    Absolute(f64),
    /// By so many percent of what is expected.
    Percent(f64),
    /// Measured is at least what is expected, and at most so many times that.
    AtLeast(f64),
}

/// A row.
#[derive(Clone, Debug, PartialEq)]
pub struct ValidationRow {
    /// Its number, with a letter if there are several.
    pub id: &'static str,
    /// What is compared.
    pub what: String,
    /// Who made its numbers.
    pub label: RowLabel,
    /// What should come out.
    pub expected: Vec<f64>,
    /// What did.
    pub measured: Vec<f64>,
    /// How far they may be apart.
    pub tolerance: Tolerance,
    /// How often production code ran for it: what, and how many times; none may be 0.
    pub ran: Vec<(&'static str, u64)>,
    /// What a reader should know, such as why it differs.
    pub note: &'static str,
    /// What it measured when `note` explained why it differs.
    recorded: &'static [f64],
}

/// What a row comes to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RowVerdict {
    /// Every number is as near to its counterpart as it has to be.
    Holds,
    /// Not so, for a reason that is known, and as much as when that was found.
    Differs,
    /// Not so, or the code that it is about did not run.
    Red,
}

/// Percent by which a row that differs may change.
const RECORDED_PERCENT: f64 = 25.0;

impl ValidationRow {
    /// A row of a calculator.
    pub(super) fn theory(id: &'static str, what: &str) -> Self {
        Self {
            id,
            what: what.to_owned(),
            label: RowLabel::Theory,
            expected: Vec::new(),
            measured: Vec::new(),
            tolerance: Tolerance::Exact,
            ran: Vec::new(),
            note: "",
            recorded: &[],
        }
    }

    /// A row of the code of real nodes, which ran so often.
    pub(super) fn production(
        id: &'static str,
        what: &str,
        ran: impl IntoIterator<Item = (&'static str, u64)>,
    ) -> Self {
        Self {
            label: RowLabel::Production,
            ran: ran.into_iter().collect(),
            ..Self::theory(id, what)
        }
    }

    /// One more number that should come out as expected.
    #[must_use]
    pub(super) fn pair(mut self, expected: f64, measured: f64) -> Self {
        self.expected.push(expected);
        self.measured.push(measured);
        self
    }

    #[must_use]
    pub(super) const fn within(mut self, tolerance: Tolerance) -> Self {
        self.tolerance = tolerance;
        self
    }

    #[must_use]
    pub(super) const fn note(mut self, note: &'static str) -> Self {
        self.note = note;
        self
    }

    /// It differs, for this reason, and measured this.
    #[must_use]
    pub(super) const fn explained(mut self, recorded: &'static [f64], why: &'static str) -> Self {
        self.recorded = recorded;
        self.note = why;
        self
    }

    /// What it comes to.
    pub fn verdict(&self) -> RowVerdict {
        let ran = self.ran.iter().all(|(_, times)| *times > 0);
        let has_run = match self.label {
            RowLabel::Theory => true,
            RowLabel::Production => ran && !self.ran.is_empty(),
        };
        let near = |expected: &[f64], tolerance: Tolerance| {
            let mut pairs = expected.iter().zip(&self.measured);
            expected.len() == self.measured.len()
                && pairs.all(|(expected, measured)| tolerance.allows(*expected, *measured))
        };
        if has_run && near(&self.expected, self.tolerance) {
            RowVerdict::Holds
        } else if has_run && near(self.recorded, Tolerance::Percent(RECORDED_PERCENT)) {
            RowVerdict::Differs
        } else {
            RowVerdict::Red
        }
    }

    /// Whether it does not hold, and nobody knows why.
    pub fn is_red(&self) -> bool {
        self.verdict() == RowVerdict::Red
    }
}

impl Tolerance {
    fn allows(self, expected: f64, measured: f64) -> bool {
        let apart = (measured - expected).abs();
        match self {
            Self::Exact => expected.to_bits() == measured.to_bits(),
            Self::Absolute(most) => apart <= most,
            Self::Percent(most) => apart <= most / 100.0 * expected.abs(),
            Self::AtLeast(factor) => measured >= expected && measured <= expected * factor,
        }
    }
}

/// How often the sessions of a world decided something, for a row.
pub(super) fn ran(counts: &WorldCounts) -> Vec<(&'static str, u64)> {
    vec![
        ("chokes decided", counts.chokes),
        ("blocks served", counts.blocks_served),
    ]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_row_holds_if_its_numbers_are_near_and_its_code_ran() {
        let row = |tolerance| {
            ValidationRow::theory("0", "")
                .pair(100.0, 104.0)
                .within(tolerance)
        };
        assert!(!row(Tolerance::Percent(4.5)).is_red());
        assert!(row(Tolerance::Percent(3.5)).is_red());
        assert!(!row(Tolerance::Absolute(4.5)).is_red());
        assert!(row(Tolerance::Exact).is_red());
        assert!(!row(Tolerance::AtLeast(1.05)).is_red());
        assert!(row(Tolerance::AtLeast(1.03)).is_red());
        let below = ValidationRow::theory("0", "").pair(100.0, 99.0);
        assert!(below.within(Tolerance::AtLeast(2.0)).is_red());
        let nan = ValidationRow::theory("0", "").pair(1.0, f64::NAN);
        assert!(nan.within(Tolerance::Percent(5.0)).is_red());
        for times in [0, 1] {
            let row = ValidationRow::production("0", "", [("rounds", times)]).pair(1.0, 1.0);
            assert_eq!(row.is_red(), times == 0);
        }
        assert!(
            ValidationRow::production("0", "", [])
                .pair(1.0, 1.0)
                .is_red()
        );
    }

    #[test]
    fn a_row_that_differs_does_so_as_it_did() {
        let row = |measured| ValidationRow::theory("0", "").pair(4.0, measured);
        let verdict = |measured| row(measured).explained(&[2.0], "why").verdict();
        assert_eq!(verdict(4.0), RowVerdict::Holds);
        assert_eq!(verdict(2.1), RowVerdict::Differs);
        assert_eq!(verdict(3.0), RowVerdict::Red);
    }
}
