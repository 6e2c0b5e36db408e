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

    /// These rows, and then those of another frame of the same columns.
    ///
    /// # Panics
    /// If it has others.
    #[must_use]
    pub fn below(mut self, other: Self) -> Self {
        assert_eq!(self.columns.len(), other.columns.len(), "as many columns");
        for ((name, cells), (of, more)) in self.columns.iter_mut().zip(other.columns) {
            assert_eq!(*name, of, "columns of the same names");
            match (cells, more) {
                (Column::Text(cells), Column::Text(more)) => cells.extend(more),
                (Column::Whole(cells), Column::Whole(more)) => cells.extend(more),
                (Column::Number(cells), Column::Number(more)) => cells.extend(more),
                _ => panic!("column {name} is of one kind"),
            }
        }
        self
    }

    /// Some of the rows.
    ///
    /// # Panics
    /// If there are not so many.
    #[must_use]
    pub fn rows(&self, rows: std::ops::Range<usize>) -> Self {
        let columns = self.columns.iter().map(|(name, column)| {
            let column = match column {
                Column::Text(cells) => Column::Text(cells[rows.clone()].to_vec()),
                Column::Whole(cells) => Column::Whole(cells[rows.clone()].to_vec()),
                Column::Number(cells) => Column::Number(cells[rows.clone()].to_vec()),
            };
            (name.clone(), column)
        });
        Self {
            columns: columns.collect(),
        }
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

    /// A column's cells as texts; `None` if there is no such column.
    pub fn texts(&self, name: &str) -> Option<Vec<String>> {
        let texts = match self.column(name)? {
            Column::Text(cells) => cells.clone(),
            Column::Whole(cells) => cells.iter().map(u64::to_string).collect(),
            Column::Number(cells) => {
                let text = |cell: &Option<f64>| cell.map_or_else(String::new, |n| n.to_string());
                cells.iter().map(text).collect()
            }
        };
        Some(texts)
    }

    /// A column's cells as numbers, `None` where there is none; `None` if there is no such column.
    pub fn numbers(&self, name: &str) -> Option<Vec<Option<f64>>> {
        let numbers = match self.column(name)? {
            Column::Text(cells) => cells.iter().map(|cell| cell.parse().ok()).collect(),
            #[expect(clippy::cast_precision_loss, reason = "numbers to show")]
            Column::Whole(cells) => cells.iter().map(|cell| Some(*cell as f64)).collect(),
            Column::Number(cells) => cells.clone(),
        };
        Some(numbers)
    }

    fn column(&self, name: &str) -> Option<&Column> {
        let found = self.columns.iter().find(|(known, _)| known == name);
        found.map(|(_, column)| column)
    }

    /// Reads CSV as [`Frame::to_csv`] writes it; every column is of texts.
    ///
    /// # Errors
    /// The number of the first line that has not as many fields as the header, or ends within one.
    pub fn of_csv(text: &str) -> Result<Self, usize> {
        let mut lines = csv_lines(text)?.into_iter();
        let names = lines.next().map_or_else(Vec::new, |(_, names)| names);
        let mut columns = vec![Vec::new(); names.len()];
        for (number, fields) in lines {
            if fields.len() != columns.len() {
                return Err(number);
            }
            for (column, field) in columns.iter_mut().zip(fields) {
                column.push(field);
            }
        }
        let columns = names.into_iter().zip(columns);
        Ok(columns.fold(Self::default(), |frame, (name, cells)| {
            frame.with(&name, Column::Text(cells))
        }))
    }

    /// As CSV (RFC 4180, but lines end in a line feed): a header, then a line for each row; an
    /// empty field is none.
    pub fn to_csv(&self) -> String {
        let mut csv = String::new();
        self.each_csv_line(|line| csv.push_str(line));
        csv
    }

    /// The same line by line, the line feed with each.
    pub fn each_csv_line(&self, mut take: impl FnMut(&str)) {
        let names = self.columns.iter().map(|(name, _)| name.as_str());
        let mut line = names.collect::<Vec<_>>().join(",");
        line.push('\n');
        take(&line);
        for row in 0..self.len() {
            line.clear();
            for (place, (_, column)) in self.columns.iter().enumerate() {
                if place > 0 {
                    line.push(',');
                }
                column.write(row, &mut line);
            }
            line.push('\n');
            take(&line);
        }
    }
}

/// The fields of every line of a CSV file, with the number of the line in which they begin.
fn csv_lines(text: &str) -> Result<Vec<(usize, Vec<String>)>, usize> {
    let mut lines = Vec::new();
    let (mut fields, mut field) = (Vec::new(), String::new());
    let (mut number, mut begun_in, mut is_quoted) = (1, 1, false);
    let mut letters = text.chars().peekable();
    while let Some(letter) = letters.next() {
        number += usize::from(letter == '\n');
        match letter {
            '"' if is_quoted && letters.peek() == Some(&'"') => {
                field.push('"');
                letters.next();
            }
            '"' => is_quoted = !is_quoted,
            ',' if !is_quoted => fields.push(std::mem::take(&mut field)),
            '\n' if !is_quoted => {
                fields.push(std::mem::take(&mut field));
                lines.push((begun_in, std::mem::take(&mut fields)));
                begun_in = number;
            }
            other => field.push(other),
        }
    }
    match fields.is_empty() && field.is_empty() && !is_quoted {
        true => Ok(lines),
        false => Err(begun_in),
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
    fn a_frame_is_read_back_from_csv() {
        let rows = [("a", 1, Some(0.5)), ("b,\"c\"\nd", 2, None)];
        let frame = Frame::default()
            .text("name", &rows, |row| row.0.to_owned())
            .whole("count", &rows, |row| row.1)
            .number("time_s", &rows, |row| row.2);
        let read = Frame::of_csv(&frame.to_csv()).unwrap();
        for name in ["name", "count", "time_s"] {
            assert_eq!(read.texts(name), frame.texts(name));
        }
        for name in ["count", "time_s"] {
            assert_eq!(read.numbers(name), frame.numbers(name));
        }
        assert_eq!(read.texts("other"), None);
        // Cut off in a line, and within quotes.
        assert_eq!(Frame::of_csv("a,b\n1,2\n3\n"), Err(3));
        assert_eq!(Frame::of_csv("a,b\n1,2\n3,4"), Err(3));
        assert_eq!(Frame::of_csv("a,b\n1,\"2\n3,4\n"), Err(2));
    }

    #[test]
    #[should_panic(expected = "as long as the others")]
    fn columns_of_other_lengths_are_our_own_mistake() {
        let _ = Frame::default()
            .whole("one", &[1], |one| *one)
            .whole("two", &[1, 2], |two| *two);
    }
}
