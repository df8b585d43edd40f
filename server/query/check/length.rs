//! Length of a rule.

use crate::query::finding::{Code, Draft, utf16_len};
use crate::query::tree::{Node, NodeKind};

/// Longest rule, in UTF-16 code units. X documents 2,048 characters and counts positions in UTF-16 units.
pub const RULE_UNITS_MAX: usize = 2_048;
/// Longest text that is parsed, in UTF-16 code units. Of longer ones only the length is reported.
pub const TEXT_UNITS_MAX: usize = 4 * RULE_UNITS_MAX;

/// Reports a rule that is too long.
pub(super) fn check(text: &str, tree: Option<&Node>, found: &mut Vec<Draft>) {
    let units = utf16_len(text);
    if units <= RULE_UNITS_MAX {
        return;
    }
    let characters = text.chars().count();
    let message = if characters == units {
        format!("the rule has {units} characters, {} too many", units - RULE_UNITS_MAX)
    } else {
        format!("the rule has {units} UTF-16 units ({characters} characters), {} too many", units - RULE_UNITS_MAX)
    };
    let advice = match tree.map(|tree| &tree.kind) {
        Some(NodeKind::Or(sides)) => {
            let middle = text.len() / 2;
            let nearest = sides[1..].iter().map(|side| side.span.start).min_by_key(|start| start.abs_diff(middle));
            let position = utf16_len(&text[..nearest.unwrap_or(middle)]) + 1;
            format!("make two rules: split at the OR before position {position}")
        }
        _ => format!("the limit is {RULE_UNITS_MAX}; make two rules, or shorten it"),
    };
    found.push(Draft::new(Code::TooLong, excess(text), message, advice));
}

/// Place of what is beyond the limit.
fn excess(text: &str) -> std::ops::Range<usize> {
    let mut units = 0;
    let start = text.char_indices().find(|(_, c)| {
        units += c.len_utf16();
        units > RULE_UNITS_MAX
    });
    start.map_or(text.len(), |(at, _)| at)..text.len()
}
