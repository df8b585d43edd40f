//! Rules for the dashboards, as Grafana's own linter has them.

use std::collections::BTreeSet;

use serde_json::Value;

use super::alerts::{bare_counters, read};

const DASHBOARDS: [(&str, &str); 2] = [("overview", "powerstream-overview"), ("account", "powerstream-account")];
const SCHEMA_VERSION: u64 = 39;
const VARIABLES: [&str; 3] = ["datasource", "job", "account"];
/// Labels whose values have no bound.
const UNBOUNDED: [&str; 5] = ["session", "tag", "subject", "post", "rule"];

/// A panel with queries.
pub(super) struct Panel {
    pub(super) title: String,
    pub(super) exprs: Vec<String>,
    json: Value,
}

fn dashboard(name: &str) -> Value {
    serde_json::from_str(&read(format!("helm/powerstream-gateway/files/dashboards/{name}.json"))).expect("JSON")
}

fn panels_of(name: &str) -> Vec<Panel> {
    let panels = dashboard(name)["panels"].as_array().expect("panels").clone();
    let panels = panels.into_iter().filter(|panel| panel["type"] != "row");
    let expr = |target: &Value| target["expr"].as_str().expect("an expression").to_owned();
    let panel = |json: Value| Panel {
        title: json["title"].as_str().unwrap_or_default().to_owned(),
        exprs: json["targets"].as_array().into_iter().flatten().map(expr).collect(),
        json,
    };
    panels.map(panel).collect()
}

/// The panels of all dashboards.
pub(super) fn panels() -> Vec<Panel> {
    DASHBOARDS.iter().flat_map(|(name, _)| panels_of(name)).collect()
}

#[test]
fn dashboards_have_fixed_identity_and_variables() {
    for (name, uid) in DASHBOARDS {
        let own = dashboard(name);
        assert_eq!((own["uid"].as_str(), own["schemaVersion"].as_u64()), (Some(uid), Some(SCHEMA_VERSION)), "{name}");
        assert!(own["id"].is_null() && own["editable"] == false && own["title"].is_string(), "{name}");
        let variables = own["templating"]["list"].as_array().expect("variables");
        let names: Vec<_> = variables.iter().filter_map(|own| own["name"].as_str()).collect();
        assert_eq!(names, VARIABLES, "{name}");
        assert_eq!(variables[0]["type"], "datasource");
        for variable in &variables[1..] {
            assert_eq!(variable["datasource"]["uid"], "${datasource}", "{name}: {variable}");
            assert_eq!(variable["refresh"], 2, "{name}: looked up again when the range of time changes");
        }
    }
}

#[test]
fn each_panel_is_described_and_within_grid() {
    for (name, _) in DASHBOARDS {
        let mut ids = BTreeSet::new();
        let mut cells = BTreeSet::new();
        for panel in panels_of(name) {
            let (title, json) = (&panel.title, &panel.json);
            assert!(!title.is_empty(), "{name}: {json}");
            assert!(json["description"].as_str().is_some_and(|text| text.ends_with('.')), "{name}: {title}");
            assert!(json["fieldConfig"]["defaults"]["unit"].is_string(), "{name}: {title} has no unit");
            assert_eq!(json["datasource"]["uid"], "${datasource}", "{name}: {title}");
            assert!(ids.insert(json["id"].as_u64()), "{name}: {title}: the id is taken");
            let number = |key: &str| json["gridPos"][key].as_u64().expect("a number");
            let (x, y, width, height) = (number("x"), number("y"), number("w"), number("h"));
            assert!(x + width <= 24, "{name}: {title}");
            for cell in (x..x + width).flat_map(|x| (y..y + height).map(move |y| (x, y))) {
                assert!(cells.insert(cell), "{name}: {title} covers another panel");
            }
        }
    }
}

#[test]
fn each_query_is_bounded_and_selects_by_variables() {
    for panel in panels() {
        let title = &panel.title;
        assert!(!panel.exprs.is_empty(), "{title}");
        for target in panel.json["targets"].as_array().into_iter().flatten() {
            assert_eq!(target["datasource"]["uid"], "${datasource}", "{title}");
        }
        for expr in &panel.exprs {
            assert!(expr.contains("job=~\"$job\""), "{title}: {expr}");
            assert_eq!(bare_counters(expr), Vec::<String>::new(), "{title}: a counter outside of rate and increase");
            let ranges = expr.split('[').skip(1).map(|rest| rest.split(']').next().unwrap_or_default());
            ranges.for_each(|range| {
                assert!(["$__rate_interval", "$__range"].contains(&range), "{title}: [{range}]");
            });
            let words: BTreeSet<_> = expr.split(|c: char| !c.is_ascii_alphanumeric() && c != '_').collect();
            UNBOUNDED.iter().for_each(|label| assert!(!words.contains(label), "{title}: label {label}"));
        }
    }
}
