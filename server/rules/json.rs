//! Rule files in JSON: `{"rules": [{"value", "tag"}]}` as X takes them, or the list alone.

use serde::Deserialize;
use serde_json::value::RawValue;

use super::allow::check_allowed;
use super::rule_file::{FileRule, RuleFileError};

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Rules<'a> {
    #[serde(borrow)]
    rules: Vec<&'a RawValue>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct JsonRule<'a> {
    name: Option<String>,
    #[serde(borrow)]
    value: &'a RawValue,
    tag: Option<String>,
    note: Option<String>,
    #[serde(default)]
    allow: Vec<String>,
    /// X's own id of an exported rule.
    #[serde(rename = "id")]
    _id: Option<serde::de::IgnoredAny>,
}

pub(super) fn parse(text: &str) -> Result<Vec<FileRule>, RuleFileError> {
    let list = match text.trim_start().chars().next() {
        Some('[') => serde_json::from_str(text),
        _ => serde_json::from_str(text).map(|document: Rules<'_>| document.rules),
    };
    let list: Vec<&RawValue> = list.map_err(|error| failed(error.line(), &error))?;
    let lines: Vec<_> = text.lines().collect();
    let starts = line_starts(text);
    list.into_iter().map(|raw| rule(text, raw, &lines, &starts)).collect()
}

fn rule(text: &str, raw: &RawValue, lines: &[&str], starts: &[usize]) -> Result<FileRule, RuleFileError> {
    let line = |at: usize| starts.partition_point(|start| *start <= at);
    let offset = offset(text, raw);
    let rule: JsonRule<'_> =
        serde_json::from_str(raw.get()).map_err(|error| failed(line(offset) + error.line().max(1) - 1, &error))?;
    let at = self::offset(text, rule.value);
    let number = line(at);
    let value = serde_json::from_str(rule.value.get()).map_err(|error| failed(number, &error))?;
    for code in &rule.allow {
        check_allowed(code).map_err(|message| RuleFileError::Format { line: line(offset), message })?;
    }
    let (name, tag, note, allow) = (rule.name, rule.tag, rule.note, rule.allow);
    let mut rule = FileRule { name, value, tag, note, allow, ..FileRule::default() };
    let own = lines.get(number - 1).copied().unwrap_or_default();
    let before = text[starts[number - 1]..at].chars().count();
    rule.locate(number, own, before);
    Ok(rule)
}

/// Offset of a part of the text, which is borrowed from it.
fn offset(text: &str, part: &RawValue) -> usize {
    (part.get().as_ptr() as usize).saturating_sub(text.as_ptr() as usize).min(text.len())
}

fn line_starts(text: &str) -> Vec<usize> {
    std::iter::once(0).chain(text.match_indices('\n').map(|(at, _)| at + 1)).collect()
}

fn failed(line: usize, error: &serde_json::Error) -> RuleFileError {
    let error = error.to_string();
    // The line in serde's text is that of the part.
    let error = error.split_once(" at line ").map_or(error.as_str(), |(message, _)| message);
    let message = format!("{error}; the form is {{\"rules\": [{{\"value\": \"cat OR dog\", \"tag\": \"pets\"}}]}}");
    RuleFileError::Format { line: line.max(1), message }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rules_of_x_are_read_with_places() {
        let text = "{\"rules\": [\n  {\"value\": \"cat 🍕\", \"tag\": \"a\"},\n  {\"tag\": \"b\",\n   \"value\": \"\\\"x y\\\" \\ud83c\\udf55\", \"id\": \"7\"}\n]}";
        let rules = parse(text).expect("rules");
        let found: Vec<_> = rules.iter().map(|rule| (rule.value.as_str(), rule.line, rule.column)).collect();
        assert_eq!(found, [("cat 🍕", 2, Some(14)), ("\"x y\" 🍕", 4, None)]);
        assert_eq!(rules[1].tag.as_deref(), Some("b"));
        assert_eq!(parse("[{\"value\": \"x\"}]").expect("a list").len(), 1);
    }

    #[test]
    fn malformed_json_names_line_and_form() {
        for (text, words) in [
            ("{\"rules\": [\n{\"valeu\": \"x\"}]}", "line 2: unknown field `valeu`"),
            ("{\"rules\": [\n{\"tag\": \"x\"}]}", "line 2: missing field `value`"),
            ("{\"rules\": [\n\n{\"value\": 7}]}", "line 3: invalid type"),
            ("[\n{\"value\": \"x\", \"allow\": [\"X\"]}]", "line 2: unknown code X in allow"),
            ("{\"rules\": 7}", "line 1: invalid type"),
            ("{\"rules\": [", "line 1: EOF"),
            ("", "line 1: EOF"),
            ("7", "line 1: invalid type"),
        ] {
            let error = parse(text).expect_err(text).to_string();
            let has_remedy = error.contains("the form is") || error.contains("rules check prints");
            assert!(error.contains(words) && has_remedy, "{text}: {error}");
        }
    }
}
