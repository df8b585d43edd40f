//! Configuration reference: tables of `docs/configuration.md`, generated from the JSON Schema and the ranges.

use serde_json::Value;

use super::ranges::{self, Range};
use super::render::example_tree;
use super::{json_schema, schema};

/// One setting of the reference.
struct SettingRow {
    path: String,
    default: String,
    range: String,
    description: String,
}

/// Returns the tables, one per section, as Markdown.
pub(super) fn tables() -> String {
    let (schema, defaults) = (schema::schema(), example_tree());
    let mut rows = Vec::new();
    collect(&schema, &schema, &defaults, "", &mut rows);
    let (nested, general): (Vec<SettingRow>, Vec<SettingRow>) =
        rows.into_iter().partition(|row| row.path.contains('.'));
    let mut text = String::new();
    table("General", &general, &mut text);
    for section in nested.chunk_by(|a, b| section_of(&a.path) == section_of(&b.path)) {
        let Some(first) = section.first() else { continue };
        table(&format!("`{}`", section_of(&first.path)), section, &mut text);
    }
    text
}

fn section_of(path: &str) -> &str {
    path.split_once('.').map_or(path, |(section, _)| section)
}

fn table(title: &str, rows: &[SettingRow], text: &mut String) {
    text.push_str(&format!("\n### {title}\n\n| key | default | range | description |\n|---|---|---|---|\n"));
    for SettingRow { path, default, range, description } in rows {
        text.push_str(&format!("| `{path}` | {default} | {range} | {description} |\n"));
    }
}

/// Adds a row for each key below `node` that is no section.
fn collect(root: &Value, node: &Value, defaults: &Value, path: &str, rows: &mut Vec<SettingRow>) {
    for (key, raw) in node.get("properties").and_then(Value::as_object).into_iter().flatten() {
        let path = if path.is_empty() { key.clone() } else { format!("{path}.{key}") };
        let inner = json_schema::resolve(root, raw);
        let default = defaults.get(key).unwrap_or(&Value::Null);
        let items = inner.get("items").map(|items| json_schema::resolve(root, items));
        if let Some(items) = items.filter(|items| items.get("properties").is_some()) {
            let entry = default.get(0).unwrap_or(&Value::Null);
            collect(root, items, entry, &format!("{path}[]"), rows);
        } else if inner.get("properties").is_some() {
            collect(root, inner, default, &path, rows);
        } else {
            let described = raw.get("description").or_else(|| inner.get("description"));
            let description = described.and_then(Value::as_str).unwrap_or_default();
            let range = range_of(&path, inner);
            rows.push(SettingRow { path, default: shown(default), range, description: cell(description) });
        }
    }
}

fn range_of(path: &str, node: &Value) -> String {
    let range = ranges::RANGES.iter().find(|(key, _)| *key == path).map(|(_, range)| *range);
    match range {
        Some(Range::Whole(min, max)) => format!("{min} to {max}"),
        Some(Range::Real(min, max)) => format!("{min} to {max}"),
        Some(Range::Time(min, max)) => format!("{} to {}", ranges::shown(min), ranges::shown(max)),
        None => {
            let choices: Vec<String> = schema::choices(node).iter().map(|choice| format!("`{choice}`")).collect();
            if json_schema::has_type(node, "boolean") { "`true`, `false`".to_owned() } else { choices.join(", ") }
        }
    }
}

fn shown(default: &Value) -> String {
    match default {
        Value::Null => "none".to_owned(),
        Value::String(text) => format!("`{text}`"),
        other => format!("`{other}`"),
    }
}

/// Returns text as one cell of a table.
fn cell(text: &str) -> String {
    text.split_whitespace().collect::<Vec<_>>().join(" ").replace('|', "\\|")
}

#[cfg(test)]
mod tests {
    use super::*;

    const MARKER: &str = "<!-- generated from the schema; see server/config/reference.rs -->\n";

    #[test]
    fn reference_page_lists_every_setting() {
        let page = concat!(env!("CARGO_MANIFEST_DIR"), "/docs/configuration.md");
        let text = std::fs::read_to_string(page).expect("the reference page");
        let (head, written) = text.split_once(MARKER).expect("the marker before the tables");
        let tables = tables();
        assert!(tables.lines().filter(|line| line.starts_with("| `")).count() > 100, "{tables}");
        for (path, _) in ranges::RANGES {
            assert!(tables.contains(&format!("| `{path}` |")), "{path} has a row");
        }
        if written != tables {
            let fresh = concat!(env!("CARGO_MANIFEST_DIR"), "/target/configuration.md");
            std::fs::write(fresh, format!("{head}{MARKER}{tables}")).expect("written");
            panic!("{page} is out of date: replace it by {fresh}");
        }
    }
}
