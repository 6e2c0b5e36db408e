//! Capacities by quantile, as an author has measured them.

use std::fmt;

use seedbank_engine::rng::Rng;
use serde::{Deserialize, Serialize};

use super::written::ByteRate;
use crate::streams::unit;

/// Most rows of a table.
const ROWS_MAX: usize = 100_000;
/// Of a whole, in what [`Quantile`] counts.
const WHOLE: u32 = 1_000_000;

/// A share of all peers, in millionths: `99.9%`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Quantile(u32);

/// How fast so many of all peers are at most: quantiles upwards to 100%, each with a rate.
///
/// Between two rows rates go evenly from one to the other; below the first they are the first's,
/// and two rows of one quantile are a step.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(
    try_from = "Vec<(Quantile, ByteRate)>",
    into = "Vec<(Quantile, ByteRate)>"
)]
pub struct CapacityTable(Vec<(Quantile, ByteRate)>);

impl TryFrom<String> for Quantile {
    type Error = String;

    fn try_from(text: String) -> Result<Self, String> {
        let read = || {
            let number = text.strip_suffix('%')?.trim_end();
            let (whole, part) = number.split_once('.').unwrap_or((number, "0"));
            let digits = |text: &str| text.bytes().all(|digit| digit.is_ascii_digit());
            if part.is_empty() || part.len() > 4 || !digits(whole) || !digits(part) {
                return None;
            }
            let part: u32 = format!("{part:0<4}").parse().ok()?;
            let parts = whole.parse::<u32>().ok()?.checked_mul(WHOLE / 100)?;
            let parts = parts.checked_add(part)?;
            (parts <= WHOLE).then_some(Self(parts))
        };
        read().ok_or_else(|| format!("{text:?} is no quantile: write 50% or 99.9%, at most 100%"))
    }
}

impl From<Quantile> for String {
    fn from(quantile: Quantile) -> Self {
        quantile.to_string()
    }
}

impl fmt::Display for Quantile {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let text = format!("{}.{:04}", self.0 / 10_000, self.0 % 10_000);
        let text = text.trim_end_matches('0').trim_end_matches('.');
        write!(f, "{text}%")
    }
}

impl TryFrom<Vec<(Quantile, ByteRate)>> for CapacityTable {
    type Error = String;

    fn try_from(rows: Vec<(Quantile, ByteRate)>) -> Result<Self, String> {
        let Some(((last, _), len)) = rows.last().copied().zip(Some(rows.len())) else {
            return Err("a table without rows".to_owned());
        };
        if len > ROWS_MAX {
            return Err(format!("a table of {len} rows: {ROWS_MAX} is the most"));
        }
        if last.0 != WHOLE {
            return Err(format!("the table ends at {last}: its last row is of 100%"));
        }
        let falls = rows.windows(2).find(|pair| pair[1].0 < pair[0].0);
        if let Some(pair) = falls {
            return Err(format!(
                "{} after {}: rows go upwards",
                pair[1].0, pair[0].0
            ));
        }
        if rows.iter().any(|(_, rate)| rate.0 == 0) {
            return Err("a rate of 0 carries nothing".to_owned());
        }
        Ok(Self(rows))
    }
}

impl From<CapacityTable> for Vec<(Quantile, ByteRate)> {
    fn from(table: CapacityTable) -> Self {
        table.0
    }
}

impl CapacityTable {
    /// Reads a table as CSV: a line for each row, `50%,77kB/s`, and a header if it likes.
    ///
    /// # Errors
    /// What is wrong, and in which line.
    pub fn of_csv(text: &str) -> Result<Self, String> {
        let mut rows = Vec::new();
        for (number, line) in (1..).zip(text.lines()) {
            let wrong = |problem: String| format!("line {number}: {problem}");
            if line.trim().is_empty() || (number == 1 && !line.contains('%')) {
                continue;
            }
            let cells = line.split_once(',');
            let (quantile, rate) =
                cells.ok_or_else(|| wrong(format!("{line:?}: write 50%,77kB/s")))?;
            let [quantile, rate] = [quantile, rate].map(|cell| cell.trim().to_owned());
            let quantile = Quantile::try_from(quantile).map_err(wrong)?;
            rows.push((quantile, ByteRate::try_from(rate).map_err(wrong)?));
        }
        Self::try_from(rows)
    }

    /// Bytes per second of one more line.
    pub fn draw(&self, rng: &mut Rng) -> u64 {
        self.at(unit(rng))
    }

    fn at(&self, share: f64) -> u64 {
        let place = |quantile: Quantile| f64::from(quantile.0) / f64::from(WHOLE);
        let next = self
            .0
            .partition_point(|(quantile, _)| place(*quantile) <= share);
        let next = next.min(self.0.len() - 1);
        let (above, rate) = self.0[next];
        let Some((below, from)) = next.checked_sub(1).map(|before| self.0[before]) else {
            return rate.0;
        };
        let width = place(above) - place(below);
        let part = match width > 0.0 {
            true => (share - place(below)) / width,
            false => 1.0,
        };
        #[expect(
            clippy::cast_possible_truncation,
            clippy::cast_sign_loss,
            clippy::cast_precision_loss,
            reason = "rates are positive and far below 2^53"
        )]
        let between = (from.0 as f64 + part * (rate.0 as f64 - from.0 as f64)) as u64;
        between.max(1)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rates_are_drawn_between_the_rows_of_a_table() {
        let table = "quantile,rate\n0%,10kB/s\n50%,20kB/s\n50%,100kB/s\n100%,200kB/s\n";
        let table = CapacityTable::of_csv(table).unwrap();
        let at = |share: f64| table.at(share) / 1_000;
        assert_eq!(
            [0.0, 0.25, 0.499_999, 0.5, 0.75].map(at),
            [10, 15, 19, 100, 150]
        );
        let flat = CapacityTable::of_csv("100%,5kB/s\n").unwrap();
        assert_eq!([flat.at(0.0), flat.at(0.999)], [5_000, 5_000]);
    }

    #[test]
    fn what_is_no_table_is_told_with_its_line() {
        let problem = |text| CapacityTable::of_csv(text).unwrap_err();
        assert_eq!(problem(""), "a table without rows");
        assert_eq!(
            problem("50%,1MB/s\n"),
            "the table ends at 50%: its last row is of 100%"
        );
        assert_eq!(
            problem("50%,1MB/s\n20.5%,1MB/s\n100%,2MB/s\n"),
            "20.5% after 50%: rows go upwards"
        );
        assert!(problem("50%,1MB/s\n100%,fast\n").starts_with("line 2: \"fast\" is no rate"));
        assert!(problem("50%,1MB/s\n100.0001%,1MB/s\n").starts_with("line 2: \"100.0001%\""));
        for text in ["99.9%", "0.0001%", "100%", "7%"] {
            assert_eq!(
                Quantile::try_from(text.to_owned()).unwrap().to_string(),
                text
            );
        }
    }
}
