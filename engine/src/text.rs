//! Text from outside, made safe to show: bounded, and without control characters.

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

/// Whether a character changes the direction of what follows: it can make a name look like another.
pub fn is_direction(c: char) -> bool {
    matches!(
        c,
        '\u{061c}' | '\u{200e}' | '\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}'
    )
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
}
