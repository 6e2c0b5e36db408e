//! Results as columns: what goes into CSV and Parquet files alike.

use std::fmt::Write as _;

use serde::{Deserialize, Serialize};

/// Equally long columns, each with a name.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Frame {
    columns: Vec<(String, Column)>,
}

/// The cells of one column.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub enum Column {
    /// Text.
    Text(Vec<String>),
    /// Counts, bytes, micro-credits.
    Whole(Vec<u64>),
    /// Seconds and shares; `None` where there is none.
    Number(Vec<Option<f64>>),
}

impl Column {
    fn len(&self) -> usize {
        match self {
            Self::Text(cells) => cells.len(),
            Self::Whole(cells) => cells.len(),
            Self::Number(cells) => cells.len(),
        }
    }

    fn write(&self, row: usize, csv: &mut String) {
        match self {
            Self::Text(cells) => csv.push_str(&quoted(&cells[row])),
            Self::Whole(cells) => {
                let _ = write!(csv, "{}", cells[row]);
            }
            Self::Number(cells) => {
                if let Some(number) = cells[row] {
                    let _ = write!(csv, "{number}");
                }
            }
        }
    }
}

impl Frame {
    /// One more column.
    ///
    /// # Panics
    /// If it is not as long as those before.
    #[must_use]
    pub fn with(mut self, name: &str, column: Column) -> Self {
        let len = self.columns.first().map(|(_, first)| first.len());
        assert!(
            len.is_none_or(|len| len == column.len()),
            "column {name} is as long as the others"
        );
        self.columns.push((name.to_owned(), column));
        self
    }

    /// A column of text made from each of these.
    #[must_use]
    pub fn text<T>(self, name: &str, rows: &[T], cell: impl Fn(&T) -> String) -> Self {
        self.with(name, Column::Text(rows.iter().map(cell).collect()))
    }

    /// A column of whole numbers made from each of these.
    #[must_use]
    pub fn whole<T>(self, name: &str, rows: &[T], cell: impl Fn(&T) -> u64) -> Self {
        self.with(name, Column::Whole(rows.iter().map(cell).collect()))
    }

    /// A column of numbers made from each of these.
    #[must_use]
    pub fn number<T>(self, name: &str, rows: &[T], cell: impl Fn(&T) -> Option<f64>) -> Self {
        self.with(name, Column::Number(rows.iter().map(cell).collect()))
    }

    /// These columns, and then those of another frame of equal length.
    #[must_use]
    pub fn beside(self, other: Self) -> Self {
        let columns = other.columns.into_iter();
        columns.fold(self, |frame, (name, column)| frame.with(&name, column))
    }

    /// The columns, in order.
    pub fn columns(&self) -> &[(String, Column)] {
        &self.columns
    }

    /// Rows.
    pub fn len(&self) -> usize {
        self.columns.first().map_or(0, |(_, first)| first.len())
    }

    /// Whether there are no rows.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// As CSV (RFC 4180, but lines end in a line feed): a header, then a line for each row; an
    /// empty field is none.
    pub fn to_csv(&self) -> String {
        let names = self.columns.iter().map(|(name, _)| name.as_str());
        let mut csv = names.collect::<Vec<_>>().join(",");
        csv.push('\n');
        for row in 0..self.len() {
            for (place, (_, column)) in self.columns.iter().enumerate() {
                if place > 0 {
                    csv.push(',');
                }
                column.write(row, &mut csv);
            }
            csv.push('\n');
        }
        csv
    }
}

/// A field of a CSV file (RFC 4180 §2).
fn quoted(text: &str) -> String {
    match text.contains([',', '"', '\n', '\r']) {
        true => format!("\"{}\"", text.replace('"', "\"\"")),
        false => text.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_frame_is_written_as_csv() {
        let rows = [("a", 1, Some(0.5)), ("b,\"c\"", 2, None)];
        let frame = Frame::default()
            .text("name", &rows, |row| row.0.to_owned())
            .whole("count", &rows, |row| row.1)
            .number("time_s", &rows, |row| row.2);
        assert_eq!(
            frame.to_csv(),
            "name,count,time_s\na,1,0.5\n\"b,\"\"c\"\"\",2,\n"
        );
        assert_eq!(frame.len(), 2);
    }

    #[test]
    #[should_panic(expected = "as long as the others")]
    fn columns_of_other_lengths_are_our_own_mistake() {
        let _ = Frame::default()
            .whole("one", &[1], |one| *one)
            .whole("two", &[1, 2], |two| *two);
    }
}
