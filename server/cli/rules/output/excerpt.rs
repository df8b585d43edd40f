//! A rule on one line of a terminal, with a marker below a place.

use std::ops::Range;

use crate::escape;
use crate::query::text::chars;

/// Columns of the excerpt. A longer rule is cut on both sides.
const COLUMNS_MAX: usize = 120;
/// Columns that are shown before the place.
const COLUMNS_BEFORE: usize = 40;

/// A rule, and the line below it.
pub(super) struct Excerpt {
    pub(super) text: String,
    pub(super) marker: String,
}

/// Returns a rule with a place marked.
pub(super) fn of(value: &str, span: Range<usize>) -> Excerpt {
    let cells: Vec<(usize, String, usize)> = value.char_indices().map(|(at, c)| cell(at, c)).collect();
    let whole: usize = cells.iter().map(|(_, _, width)| width).sum();
    let first = cells.iter().position(|(at, ..)| *at >= span.start).unwrap_or(cells.len());
    let start = if whole <= COLUMNS_MAX { 0 } else { back(&cells, first) };
    let (mut text, mut marker) = (String::new(), String::new());
    let mut columns = 0;
    if start > 0 {
        text.push('…');
        marker.push(' ');
    }
    for (at, shown, width) in &cells[start..] {
        columns += width;
        if columns > COLUMNS_MAX {
            text.push('…');
            break;
        }
        text += shown;
        let is_marked = span.contains(at);
        // The marker ends with the place; before it are spaces.
        if is_marked || *at < span.start {
            marker += &if is_marked { "^" } else { " " }.repeat(*width);
        }
    }
    if !marker.ends_with('^') {
        marker.push('^');
    }
    Excerpt { text, marker }
}

/// Index of the cell that is some columns before another one.
fn back(cells: &[(usize, String, usize)], from: usize) -> usize {
    let mut columns = 0;
    let is_near = |(_, _, width): &&(usize, String, usize)| {
        columns += width;
        columns <= COLUMNS_BEFORE
    };
    from - cells[..from].iter().rev().take_while(is_near).count()
}

/// Offset, text and columns of a character.
fn cell(at: usize, c: char) -> (usize, String, usize) {
    let shown = escape::line(c.encode_utf8(&mut [0; 4])).into_owned();
    let is_joined = chars::is_mark(c) || chars::is_invisible(c) || matches!(c, '\u{200c}' | '\u{200d}');
    let width = match shown.chars().count() {
        1 if is_joined => 0,
        1 if chars::is_wide(c) => 2,
        columns => columns,
    };
    (at, shown, width)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(value: &str, span: Range<usize>, text: &str, marker: &str) {
        let excerpt = of(value, span);
        assert_eq!((excerpt.text.as_str(), excerpt.marker.as_str()), (text, marker), "{value}");
    }

    #[test]
    fn marker_is_below_place() {
        check("fish AND bird", 5..8, "fish AND bird", "     ^^^");
        check("cat OR", 6..6, "cat OR", "      ^");
        check("猫 or 🐈", 4..6, "猫 or 🐈", "   ^^");
        check("a\0b c", 1..2, "a\\u{0}b c", " ^^^^^");
        check("cafe\u{301} or b", 7..9, "cafe\u{301} or b", "     ^^");
        check("", 0..0, "", "^");
    }

    #[test]
    fn long_rules_are_cut_around_place() {
        let value = format!("{} or {}", "x".repeat(300), "y".repeat(300));
        let excerpt = of(&value, 301..303);
        assert!(excerpt.text.starts_with("…xxx") && excerpt.text.ends_with("yyy…"), "{}", excerpt.text);
        let at = excerpt.marker.find('^').expect("a marker");
        let shown: String = excerpt.text.chars().skip(at).take(2).collect();
        assert_eq!(shown, "or");
        assert_eq!(of(&"z".repeat(2_049), 2_048..2_049).marker.matches('^').count(), 1);
    }
}
