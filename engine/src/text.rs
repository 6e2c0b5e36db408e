//! Text from outside, made safe to show: bounded, and without control characters; and text that
//! people write, read.

pub mod amounts;

use std::fmt::Write as _;

/// The bytes as text of at most `max` characters. What is not UTF-8 becomes U+FFFD; control
/// characters and those that reverse the direction of writing are left out.
pub fn printable(bytes: &[u8], max: usize) -> String {
    // Bounds the work; a character is at most four bytes, so a clean text loses nothing here.
    let bytes = &bytes[..bytes.len().min(max.saturating_mul(8))];
    String::from_utf8_lossy(bytes)
        .chars()
        .filter(|c| !c.is_control() && !is_direction(*c))
        .take(max)
        .collect()
}

/// The bytes as text of about `max` characters that hides nothing: what is not UTF-8, control
/// characters, those that nobody sees, slashes and backslashes are written as `\xHH` per byte.
pub fn escaped(bytes: &[u8], max: usize) -> String {
    // Bounds the work; four bytes make at least one character.
    let bytes = &bytes[..bytes.len().min(max.saturating_mul(4))];
    let mut out = String::new();
    for chunk in bytes.utf8_chunks() {
        for c in chunk.valid().chars() {
            if c.is_control() || is_unseen(c) || matches!(c, '/' | '\\') {
                push_escaped(&mut out, c.encode_utf8(&mut [0; 4]).as_bytes());
            } else {
                out.push(c);
            }
        }
        push_escaped(&mut out, chunk.invalid());
    }
    out
}

fn push_escaped(out: &mut String, bytes: &[u8]) {
    for byte in bytes {
        // Writing to a string does not fail.
        let _ = write!(out, "\\x{byte:02x}");
    }
}

/// Whether nobody sees a character, because it has no width or only changes the direction of
/// others: it can make a name look like another.
pub fn is_unseen(c: char) -> bool {
    let is_narrow = matches!(
        c,
        '\u{200b}'..='\u{200d}' | '\u{2060}'..='\u{2064}' | '\u{feff}'
    );
    is_narrow || is_direction(c)
}

/// Whether a character changes the direction of what follows: it can make a name look like another.
pub fn is_direction(c: char) -> bool {
    matches!(
        c,
        '\u{061c}' | '\u{200e}' | '\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}'
    )
}

/// Insertions, deletions and replacements from one text to another (Levenshtein).
pub fn distance(a: &str, b: &str) -> usize {
    let b: Vec<char> = b.chars().collect();
    let mut row: Vec<usize> = (0..=b.len()).collect();
    for (i, a) in a.chars().enumerate() {
        let mut diagonal = std::mem::replace(&mut row[0], i + 1);
        for (j, b) in b.iter().enumerate() {
            let replaced = diagonal + usize::from(a != *b);
            diagonal = row[j + 1];
            row[j + 1] = replaced.min(row[j] + 1).min(diagonal + 1);
        }
    }
    row[b.len()]
}

/// What was meant, if one of the known words is as near as a slip of the hand: three edits at most.
pub fn similar<'a>(word: &str, known: impl IntoIterator<Item = &'a str>) -> Option<&'a str> {
    let nearest = known.into_iter().min_by_key(|known| distance(known, word));
    nearest.filter(|known| distance(known, word) <= 3)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_could_harm_a_terminal_is_left_out() {
        assert_eq!(printable(b"a\x1b[31mb\n\xffc", 100), "a[31mb\u{fffd}c");
        assert_eq!(printable("x\u{202e}gpj.exe".as_bytes(), 100), "xgpj.exe");
        assert_eq!(printable(&[b'a'; 100], 5), "aaaaa");
        assert_eq!(printable("ééééé".as_bytes(), 3), "ééé");
    }

    #[test]
    fn what_could_harm_a_terminal_can_be_told_apart_all_the_same() {
        assert_eq!(escaped(b"a\x1b[31m\n\xffc", 100), r"a\x1b[31m\x0a\xffc");
        let reversed = "x\u{202e}gpj.exe\u{200b}".as_bytes();
        assert_eq!(escaped(reversed, 100), r"x\xe2\x80\xaegpj.exe\xe2\x80\x8b");
        assert_eq!(escaped(br"a/b\x1b", 100), r"a\x2fb\x5cx1b");
        assert_eq!(escaped("日本".as_bytes(), 100), "日本");
        assert_eq!(escaped(&[b'a'; 1_000], 10).len(), 40);
    }

    #[test]
    fn distance_counts_edits() {
        assert_eq!(distance("kitten", "sitting"), 3);
        assert_eq!(distance("", "abc"), 3);
        assert_eq!(distance("abc", "abc"), 0);
        assert_eq!(similar("lenght", ["name", "length"]), Some("length"));
        assert_eq!(similar("colour", ["name", "length"]), None);
    }
}
