//! The chart's copy of the schema: `config` in its values is the configuration file.

use serde_json::{Map, Value};

use crate::config::schema;

const KEPT: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/helm/powerstream-gateway/values.schema.json");
/// Start of the names of our definitions in the chart's schema.
const PREFIX: &str = "config.";

/// Rewrites a node of our schema (2020-12) for the chart, whose schema is draft-07. Formats such as `uint8` are ours.
fn rewrite(node: &Value) -> Value {
    match node {
        Value::Object(object) => {
            let pairs = object.iter().filter(|(key, value)| *key != "format" || !value.is_string());
            let pairs = pairs.map(|(key, value)| match (key.as_str(), value) {
                ("$ref", Value::String(target)) => {
                    (key.clone(), target.replace("#/$defs/", &format!("#/definitions/{PREFIX}")).into())
                }
                _ => (key.clone(), rewrite(value)),
            });
            Value::Object(pairs.collect())
        }
        Value::Array(list) => list.iter().map(rewrite).collect(),
        _ => node.clone(),
    }
}

/// Helm validates `config` of the values by the schema of this version, so that a wrong key fails at `helm install`.
#[test]
fn chart_has_schema_of_configuration() {
    let text = std::fs::read_to_string(KEPT).expect("the chart is there");
    let mut chart: Value = serde_json::from_str(&text).expect("JSON");
    let mut own = schema();
    let root = own.as_object_mut().expect("a schema is an object");
    root.remove("$schema");
    let own_definitions = root.remove("$defs");
    let mut definitions: Map<String, Value> = chart["definitions"].as_object().cloned().unwrap_or_default();
    definitions.retain(|name, _| !name.starts_with(PREFIX));
    for (name, definition) in own_definitions.as_ref().and_then(Value::as_object).into_iter().flatten() {
        definitions.insert(format!("{PREFIX}{name}"), rewrite(definition));
    }
    chart["definitions"] = definitions.into();
    chart["properties"]["config"] = rewrite(&own);
    let fresh = format!("{chart:#}\n");
    if fresh != text {
        let path = concat!(env!("CARGO_MANIFEST_DIR"), "/target/values.schema.json");
        std::fs::write(path, fresh).expect("written");
        panic!("{KEPT} is out of date: replace it by {path}");
    }
}
