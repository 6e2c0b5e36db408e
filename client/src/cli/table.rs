//! Aligned columns without box lines.

use std::fmt;

/// Two spaces between columns.
const GAP: &str = "  ";

/// Which edge a column is flush with.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Align {
    Left,
    Right,
}

/// Columns with headings, and rows.
#[derive(Debug)]
pub(super) struct TextTable {
    aligns: Vec<Align>,
    rows: Vec<Vec<String>>,
}

impl TextTable {
    /// Columns by heading and alignment; an empty set of headings prints none.
    pub(super) fn new(columns: &[(&str, Align)]) -> Self {
        let headings: Vec<String> = columns.iter().map(|(name, _)| (*name).to_owned()).collect();
        let has_headings = headings.iter().any(|heading| !heading.is_empty());
        Self {
            aligns: columns.iter().map(|(_, align)| *align).collect(),
            rows: if has_headings {
                vec![headings]
            } else {
                Vec::new()
            },
        }
    }

    pub(super) fn row<const N: usize>(&mut self, cells: [String; N]) {
        assert_eq!(cells.len(), self.aligns.len(), "a row has every column");
        self.rows.push(cells.into());
    }
}

impl fmt::Display for TextTable {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let widths: Vec<usize> = (0..self.aligns.len())
            .map(|column| {
                let width = |row: &Vec<String>| row[column].chars().count();
                self.rows.iter().map(width).max().unwrap_or_default()
            })
            .collect();
        for row in &self.rows {
            let cells: Vec<String> = row
                .iter()
                .zip(&widths)
                .zip(&self.aligns)
                .map(|((cell, &width), align)| match align {
                    Align::Left => format!("{cell:<width$}"),
                    Align::Right => format!("{cell:>width$}"),
                })
                .collect();
            writeln!(f, "{}", cells.join(GAP).trim_end())?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn columns_line_up() {
        let mut table = TextTable::new(&[("name", Align::Left), ("size", Align::Right)]);
        table.row(["a".into(), "1 B".into()]);
        table.row(["longer".into(), "100 B".into()]);
        assert_eq!(
            table.to_string(),
            "name     size\na         1 B\nlonger  100 B\n"
        );
    }
}
