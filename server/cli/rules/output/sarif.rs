//! SARIF 2.1.0, which code hosts show as findings of a scan.

use std::collections::BTreeSet;

use serde_json::{Value, json};

use super::located::Located;
use crate::query::Severity;

/// Returns the log of one run.
pub(super) fn log(found: &[Located]) -> Value {
    let codes: BTreeSet<&str> = found.iter().map(|found| found.code.as_str()).collect();
    let rules: Vec<Value> =
        codes.iter().map(|code| json!({ "id": code, "shortDescription": { "text": code } })).collect();
    let results: Vec<Value> = found.iter().map(result).collect();
    json!({
        "$schema": "https://json.schemastore.org/sarif-2.1.0.json",
        "version": "2.1.0",
        "runs": [{
            "tool": { "driver": {
                "name": env!("CARGO_PKG_NAME"), "version": env!("CARGO_PKG_VERSION"), "rules": rules,
            }},
            "columnKind": "utf16CodeUnits",
            "results": results,
        }],
    })
}

fn result(found: &Located) -> Value {
    let level = match found.severity {
        Severity::Error => "error",
        Severity::Warning => "warning",
    };
    let mut text = format!("{}: {}; {}", found.rule, found.message, found.advice);
    if let Some(suggestion) = &found.suggestion {
        text += &format!("\nuse: {suggestion}");
    }
    let mut region = json!({ "startLine": found.line });
    if let (Some(column), Some(end)) = (found.column, found.end_column) {
        region["startColumn"] = json!(column);
        region["endColumn"] = json!(end);
    }
    json!({
        "ruleId": found.code,
        "level": level,
        "message": { "text": text },
        "locations": [{ "physicalLocation": {
            "artifactLocation": { "uri": uri(&found.file) },
            "region": region,
        }}],
    })
}

/// Returns a path as a URI reference.
fn uri(path: &str) -> String {
    let is_plain = |byte: u8| byte.is_ascii_alphanumeric() || b"-._~/".contains(&byte);
    let encoded = path.replace('\\', "/").bytes().fold(String::new(), |mut out, byte| {
        if is_plain(byte) {
            out.push(char::from(byte));
        } else {
            out += &format!("%{byte:02X}");
        }
        out
    });
    if path.starts_with('/') { format!("file://{encoded}") } else { encoded }
}
