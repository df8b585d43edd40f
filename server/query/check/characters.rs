//! Characters of a rule that are invisible or look like others.

use crate::query::finding::{Code, Draft};
use crate::query::text::{chars, normal};

/// Reports control characters, white space and texts that are not composed.
pub(super) fn check(text: &str, found: &mut Vec<Draft>) {
    outer_space(text, found);
    if text.bytes().all(|byte| (b' '..=b'~').contains(&byte)) {
        return;
    }
    let mut at = 0;
    while let Some(c) = text[at..].chars().next() {
        let class = class(c);
        let Some(code) = class else {
            at += c.len_utf8();
            continue;
        };
        let rest = &text[at..];
        let end = at + rest.find(|next| self::class(next) != class).unwrap_or(rest.len());
        let (message, advice, instead) = match code {
            Code::ControlCharacter => (format!("U+{:04X} is a control character", c as u32), "remove it", None),
            _ if chars::is_invisible(c) => {
                (format!("U+{:04X} is invisible and part of a word", c as u32), "remove it", Some(""))
            }
            _ => (format!("U+{:04X} is no plain space", c as u32), "write a plain space", Some(" ")),
        };
        let draft = Draft::new(code, at..end, message, advice);
        found.push(match instead {
            Some(instead) => draft.replace(at..end, instead),
            None => draft,
        });
        at = end;
    }
    not_composed(text, found);
}

fn class(c: char) -> Option<Code> {
    if chars::is_control(c) {
        Some(Code::ControlCharacter)
    } else if chars::is_odd_space(c) || chars::is_invisible(c) {
        Some(Code::OddSpace)
    } else {
        None
    }
}

fn outer_space(text: &str, found: &mut Vec<Draft>) {
    let inner = text.trim_matches(chars::is_space);
    if inner.len() == text.len() {
        return;
    }
    let start = text.len() - text.trim_start_matches(chars::is_space).len();
    let span = if start > 0 { 0..start } else { inner.len()..text.len() };
    let message = "the rule begins or ends with white space, which X counts and compares";
    let draft = Draft::new(Code::OuterSpace, span, message, "remove it");
    found.push(draft.replace(start + inner.len()..text.len(), "").replace(0..start, ""));
}

fn not_composed(text: &str, found: &mut Vec<Draft>) {
    let composed = normal::composed(text);
    if composed == text {
        return;
    }
    let equal = text.char_indices().zip(composed.chars()).find(|((_, left), right)| left != right);
    let start = equal.map_or(composed.len().min(text.len()), |((at, _), _)| at);
    let length = text[start..].chars().take(1).map(char::len_utf8).sum::<usize>();
    let marks = text[start + length..].chars().take_while(|c| chars::is_mark(*c)).map(char::len_utf8).sum::<usize>();
    let message = "this character is written as several code points, and counts as several";
    let draft = Draft::new(Code::NotNfc, start..start + length + marks, message, "write it composed (Unicode NFC)");
    found.push(draft.replace(0..text.len(), composed.into_owned()));
}
