//! Aligned columns without box lines, as wide as their content or as the terminal.

use std::fmt;

use crate::columns::{cut, pad_left, pad_right, width};

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

    /// Makes it fit `columns`: leaves out the columns headed by `droppable`, the first one first,
    /// while the one headed `flexible` would have less than `flexible_min`; then cuts that one.
    pub(super) fn fit(
        &mut self,
        columns: usize,
        droppable: &[&str],
        flexible: &str,
        flexible_min: usize,
    ) {
        for name in droppable {
            let wanted = self.width_of(flexible).min(flexible_min);
            if self.room_for(flexible, columns) >= wanted {
                break;
            }
            self.leave_out(name);
        }
        let room = self.room_for(flexible, columns);
        if let Some(index) = self.index_of(flexible) {
            for row in &mut self.rows {
                row[index] = cut(&row[index], room);
            }
        }
    }

    /// What is left of `columns` for one column when all others have what they want.
    fn room_for(&self, name: &str, columns: usize) -> usize {
        let gaps = GAP.len() * self.aligns.len().saturating_sub(1);
        let total = self.widths().iter().sum::<usize>() + gaps;
        let others = total - self.width_of(name);
        columns.saturating_sub(others)
    }

    fn width_of(&self, name: &str) -> usize {
        self.index_of(name).map_or(0, |index| self.widths()[index])
    }

    fn leave_out(&mut self, name: &str) {
        let Some(index) = self.index_of(name) else {
            return;
        };
        self.aligns.remove(index);
        for row in &mut self.rows {
            row.remove(index);
        }
    }

    fn index_of(&self, name: &str) -> Option<usize> {
        let headings = self.rows.first()?;
        headings.iter().position(|heading| heading == name)
    }

    fn widths(&self) -> Vec<usize> {
        (0..self.aligns.len())
            .map(|column| {
                let width = |row: &Vec<String>| width(&row[column]);
                self.rows.iter().map(width).max().unwrap_or_default()
            })
            .collect()
    }
}

impl fmt::Display for TextTable {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let widths = self.widths();
        for row in &self.rows {
            let cells: Vec<String> = row
                .iter()
                .zip(&widths)
                .zip(&self.aligns)
                .map(|((cell, &width), align)| match align {
                    Align::Left => pad_right(cell, width),
                    Align::Right => pad_left(cell, width),
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

    #[test]
    fn a_narrow_terminal_loses_columns_before_names_become_unreadable() {
        let table = |columns| {
            let mut table = TextTable::new(&[
                ("name", Align::Left),
                ("peers", Align::Right),
                ("size", Align::Right),
            ]);
            table.row(["a-rather-long-name".into(), "7".into(), "1 B".into()]);
            table.row(["映画".into(), "7".into(), "1 B".into()]);
            table.fit(columns, &["peers"], "name", 12);
            table.to_string()
        };
        assert_eq!(
            table(40),
            "name                peers  size\n\
             a-rather-long-name      7   1 B\n\
             映画                    7   1 B\n"
        );
        assert_eq!(
            table(28),
            "name             peers  size\n\
             a-rathe…ng-name      7   1 B\n\
             映画                 7   1 B\n"
        );
        assert_eq!(
            table(20),
            "name            size\n\
             a-rathe…g-name   1 B\n\
             映画             1 B\n"
        );
        for columns in 10..60 {
            let text = table(columns);
            assert!(text.lines().all(|line| width(line) <= columns), "{text}");
        }
    }
}
