//! Foreign text made fit for logs and errors.

use crate::escape;

/// Maximum characters of a foreign text in an error: enough to understand it, too few to fill a log.
pub(super) const DETAIL_CHARS_MAX: usize = 300;

/// Makes foreign text safe to show: one line without control characters, unsafe characters escaped, bounded.
pub(super) fn sanitize(text: &str) -> String {
    let mut line = String::new();
    let mut chars = 0;
    for word in text.split(|c: char| c.is_whitespace() || c.is_control()).filter(|word| !word.is_empty()) {
        if chars > 0 {
            line.push(' ');
            chars += 1;
        }
        for c in word.chars() {
            if chars >= DETAIL_CHARS_MAX {
                line.push('…');
                return line;
            }
            let before = line.len();
            line.push_str(&escape::line(c.encode_utf8(&mut [0; 4])));
            chars += line[before..].chars().count();
        }
    }
    line
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn foreign_text_is_one_bounded_line() {
        assert_eq!(sanitize(" a\u{1b}[31m\r\n b\t\u{0}c "), "a [31m b c");
        assert_eq!(sanitize(&"é".repeat(9_999)).chars().count(), DETAIL_CHARS_MAX + 1);
        assert_eq!(sanitize(""), "");
        assert_eq!(sanitize("a\u{202e}b\u{9b}c\u{2066}"), "a\\u{202e}b c\\u{2066}");
        assert!(sanitize(&"\u{202e}".repeat(9_999)).len() < DETAIL_CHARS_MAX + 16);
    }
}
