//! Text by the columns it takes on a terminal: how many, cut to fit, padded, folded.

use unicode_width::{UnicodeWidthChar as _, UnicodeWidthStr as _};

/// Stands for what was cut out; one column.
const CUT: char = '…';

/// Columns that a text takes.
pub(crate) fn width(text: &str) -> usize {
    text.width()
}

/// A text of at most `max` columns: its middle is cut out, for names differ at both ends.
pub(crate) fn cut(text: &str, max: usize) -> String {
    if width(text) <= max {
        return text.to_owned();
    }
    let Some(room) = max.checked_sub(1) else {
        return String::new();
    };
    let head = take(text.chars(), room - room / 2);
    let tail: String = take(text.chars().rev(), room / 2).chars().rev().collect();
    // A mark belongs to the letter before it, which is gone.
    let tail = tail.trim_start_matches(|mark: char| mark.width() == Some(0));
    format!("{head}{CUT}{tail}")
}

/// A text with spaces behind it, `columns` in all if it is not longer.
pub(crate) fn pad_right(text: &str, columns: usize) -> String {
    let spaces = columns.saturating_sub(width(text));
    format!("{text}{:spaces$}", "")
}

/// A text with spaces before it, `columns` in all if it is not longer.
pub(crate) fn pad_left(text: &str, columns: usize) -> String {
    let spaces = columns.saturating_sub(width(text));
    format!("{:spaces$}{text}", "")
}

/// Lines of at most `max` columns, broken between words; a longer word is cut.
pub(crate) fn fold(text: &str, max: usize) -> Vec<String> {
    let mut lines: Vec<String> = Vec::new();
    for word in text.split_whitespace() {
        let word = cut(word, max);
        match lines.last_mut() {
            Some(line) if width(line) + 1 + width(&word) <= max => {
                line.push(' ');
                line.push_str(&word);
            }
            _ => lines.push(word),
        }
    }
    lines
}

/// The first characters that fit into `max` columns.
fn take(chars: impl Iterator<Item = char>, max: usize) -> String {
    let mut left = max;
    let fits = |letter: &char| match left.checked_sub(letter.width().unwrap_or(1)) {
        Some(rest) => {
            left = rest;
            true
        }
        None => false,
    };
    chars.take_while(fits).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_cut_in_the_middle() {
        assert_eq!(cut("debian.iso", 10), "debian.iso");
        assert_eq!(cut("debian-12.0.iso", 10), "debia….iso");
        assert_eq!(cut("abc", 2), "a…");
        assert_eq!(cut("abc", 1), "…");
        assert_eq!(cut("abc", 0), "");
    }

    #[test]
    fn wide_letters_take_two_columns_and_marks_none() {
        assert_eq!(width("日本語"), 6);
        assert_eq!(cut("日本語の映画", 7), "日…画");
        assert_eq!(cut("日本語の映画", 8), "日本…画");
        for max in 0..14 {
            assert!(width(&cut("日本a語のb映画", max)) <= max, "{max}");
            assert!(width(&cut("e\u{301}e\u{301}e\u{301}e\u{301}", max)) <= max);
        }
        // The accent of a letter that is gone goes too.
        assert_eq!(cut("abcde\u{301}", 3), "a…e\u{301}");
        assert_eq!(pad_right("日", 4), "日  ");
        assert_eq!(pad_left("日", 4), "  日");
    }

    #[test]
    fn lines_break_between_words() {
        assert_eq!(fold("one two three", 8), ["one two", "three"]);
        assert_eq!(fold("one-two-three x", 5), ["on…ee", "x"]);
        assert!(fold("", 5).is_empty());
    }
}
