//! Escaping of external text: no character of it controls a terminal or changes the reading order of a line.

use std::borrow::Cow;
use std::fmt::Write;

/// True for control characters (C0, DEL, C1), and for characters that change the direction of text.
pub fn is_unsafe(c: char) -> bool {
    c.is_control() || is_bidi_control(c)
}

fn is_bidi_control(c: char) -> bool {
    matches!(c, '\u{61c}' | '\u{200e}' | '\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}')
}

/// Returns a text on one line, with each unsafe character escaped as `\u{1b}`.
pub fn line(text: &str) -> Cow<'_, str> {
    escaped(text, is_unsafe, |c, out| write!(out, "\\u{{{:x}}}", c as u32))
}

/// Escapes log lines in JSON: C1 and direction controls, which JSON allows in strings, become `\u0085`. C0 controls are
/// escaped by every JSON serializer, and only strings contain the others.
pub fn json_log(text: &str) -> Cow<'_, str> {
    escaped(text, is_beyond_ascii, |c, out| write!(out, "\\u{:04x}", c as u32))
}

/// Escapes log lines as text: C1 and direction controls become `\u{85}`.
pub fn text_log(text: &str) -> Cow<'_, str> {
    escaped(text, is_beyond_ascii, |c, out| write!(out, "\\u{{{:x}}}", c as u32))
}

fn is_beyond_ascii(c: char) -> bool {
    !c.is_ascii() && is_unsafe(c)
}

fn escaped(text: &str, is_escaped: fn(char) -> bool, put: fn(char, &mut String) -> std::fmt::Result) -> Cow<'_, str> {
    if !text.contains(is_escaped) {
        return text.into();
    }
    let mut out = String::with_capacity(text.len() + 16);
    for c in text.chars() {
        if is_escaped(c) {
            put(c, &mut out).expect("writing to a String cannot fail");
        } else {
            out.push(c);
        }
    }
    out.into()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn unsafe_characters_are_escaped() {
        let hostile = "a\u{1b}[2J\u{9b}31m\u{202e}b\u{2066}\nc\u{85}é猫";
        assert_eq!(line(hostile), r"a\u{1b}[2J\u{9b}31m\u{202e}b\u{2066}\u{a}c\u{85}é猫");
        let object = format!("{{\"m\":{}}}\n", serde_json::to_string(hostile).expect("text"));
        let shown = json_log(&object);
        assert!(!shown.trim_end().contains(is_unsafe), "{shown}");
        let value: serde_json::Value = serde_json::from_str(&shown).expect("still JSON");
        assert_eq!(value["m"], hostile, "the text is unchanged");
        assert_eq!(text_log("x\u{9b}y\n"), "x\\u{9b}y\n");
        assert!(matches!(line("plain é"), Cow::Borrowed(_)));
    }
}
