//! Navigation in a JSON Schema.

use serde_json::Value;

/// Returns the schema of the key with this path; `[]` means the entries of a list. Sections are in the definitions.
pub(super) fn key_mut<'s>(root: &'s mut Value, path: &str) -> Option<&'s mut Value> {
    // Uses pointers, because a reference into the definitions leaves the node that contains it.
    let mut section = String::new();
    let mut keys = path.split('.').peekable();
    while let Some(key) = keys.next() {
        let (name, is_list) = key.strip_suffix("[]").map_or((key, false), |name| (name, true));
        let mut pointer = format!("{section}/properties/{name}");
        root.pointer(&pointer)?;
        if keys.peek().is_none() {
            return root.pointer_mut(&pointer);
        }
        if is_list {
            pointer = format!("{pointer}/items");
        }
        let reference = root.pointer(&pointer)?.get("$ref").and_then(Value::as_str);
        section = reference.and_then(|reference| reference.strip_prefix('#')).map_or(pointer, str::to_owned);
    }
    None
}

/// Returns whether the schema accepts values of this JSON type.
pub(super) fn has_type(node: &Value, name: &str) -> bool {
    match node.get("type") {
        Some(Value::String(one)) => one == name,
        Some(Value::Array(several)) => several.iter().any(|one| one == name),
        _ => false,
    }
}

/// Follows references into the definitions.
pub(super) fn resolve<'s>(root: &'s Value, node: &'s Value) -> &'s Value {
    let target = node.get("$ref").and_then(Value::as_str).and_then(|reference| reference.strip_prefix('#'));
    target.and_then(|pointer| root.pointer(pointer)).unwrap_or(node)
}
