//! Findings for people.

use super::excerpt;
use super::located::Located;
use crate::escape;

/// Returns a finding in three or four lines: place and message, the rule, a marker, the corrected rule.
pub(super) fn finding(found: &Located) -> String {
    let Located { line, code, message, advice, .. } = found;
    let (file, rule) = (escape::line(&found.file), escape::line(&found.rule));
    let at = found.place.map(|place| format!(" at {}", place.position)).unwrap_or_default();
    let what = format!("{message}; {advice}");
    let mut out = format!("{file}:{line} {rule}: {} {code}{at}: {}\n", found.severity.as_str(), escape::line(&what));
    if let Some(place) = found.place {
        let excerpt = excerpt::of(&found.value, place.byte_start..place.byte_end);
        out += &format!("    {}\n    {}\n", excerpt.text, excerpt.marker);
    }
    if let Some(suggestion) = &found.suggestion {
        out += &format!("    use: {}\n", escape::line(suggestion));
    }
    out
}
