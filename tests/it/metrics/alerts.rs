//! Alert rules: each has a runbook, unit tests and defaults of its thresholds, and reads only metrics that exist.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

use yaml_rust2::{Yaml, YamlLoader};

use super::scrape::{self, Scrape};

const FILES: &str = "helm/powerstream-gateway/files";
const RUNBOOKS: &str = "docs/runbooks.md";

/// Parts of a runbook, in order.
const PARTS: [&str; 4] = ["**Meaning.**", "**Confirm.**", "**Do.**", "**Do not.**"];

/// An alert rule.
struct Rule {
    name: String,
    expr: String,
    severity: String,
    annotations: BTreeMap<String, String>,
}

fn root() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR"))
}

pub(super) fn read(path: impl AsRef<Path>) -> String {
    let path = root().join(path);
    std::fs::read_to_string(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

fn yaml(path: &str) -> Yaml {
    YamlLoader::load_from_str(&read(path)).expect("YAML").remove(0)
}

fn text(value: &Yaml) -> String {
    value.as_str().expect("a text").to_owned()
}

fn rules() -> Vec<Rule> {
    let file = yaml(&format!("{FILES}/alerts.yaml"));
    let groups = file["groups"].as_vec().expect("groups");
    let rules = groups.iter().flat_map(|group| group["rules"].as_vec().expect("rules"));
    let rule = |rule: &Yaml| Rule {
        name: text(&rule["alert"]),
        expr: text(&rule["expr"]),
        severity: text(&rule["labels"]["severity"]),
        annotations: rule["annotations"]
            .as_hash()
            .expect("annotations")
            .iter()
            .map(|(name, value)| (text(name), text(value)))
            .collect(),
    };
    rules.map(rule).collect()
}

/// Names of metrics in a text: words that begin as those of the gateway do.
pub(super) fn metric_names(text: &str) -> BTreeSet<String> {
    let word = |c: char| c.is_ascii_alphanumeric() || c == '_' || c == '…';
    let words = text.split(|c| !word(c)).map(|word| word.replace('…', "powerstream_gateway_"));
    let known = ["powerstream_gateway_", "grpc_server_", "process_"];
    words.filter(|word| known.iter().any(|prefix| word.starts_with(prefix) && word.len() > prefix.len())).collect()
}

/// Counters outside of `rate`, `increase` and `resets`.
pub(super) fn bare_counters(expr: &str) -> Vec<String> {
    let is_ranged = |at: usize, name: &str| {
        let after = &expr[at + name.len()..];
        let after = after.strip_prefix('{').map_or(after, |rest| rest.split_once('}').map_or("", |(_, rest)| rest));
        let before = expr[..at].trim_end();
        let in_function = ["rate(", "increase("].iter().any(|function| before.ends_with(function));
        in_function && after.starts_with('[')
    };
    let counters = metric_names(expr).into_iter().filter(|name| name.ends_with("_total"));
    let is_bare = |name: &String| expr.match_indices(name.as_str()).any(|(at, _)| !is_ranged(at, name));
    counters.filter(is_bare).collect()
}

/// A fault of each kind is found.
#[test]
fn names_and_bare_counters_are_found() {
    let expr = r#"sum(rate(powerstream_gateway_x_total{a="b"}[5m])) / powerstream_gateway_y + process_z_total"#;
    let names: Vec<_> = metric_names(expr).into_iter().collect();
    assert_eq!(names, ["powerstream_gateway_x_total", "powerstream_gateway_y", "process_z_total"]);
    assert_eq!(bare_counters(expr), ["process_z_total"]);
    assert_eq!(bare_counters("rate(process_x_total)").len(), 1, "without a range");
    assert_eq!(metric_names("`…gaps_open` and …").into_iter().collect::<Vec<_>>(), ["powerstream_gateway_gaps_open"]);
}

#[test]
fn each_alert_has_runbook_and_each_runbook_alert() {
    let alerts: BTreeSet<String> = rules().into_iter().map(|rule| rule.name).collect();
    let page = read(RUNBOOKS);
    let sections: Vec<(&str, &str)> =
        page.split("\n## ").skip(1).map(|section| section.split_once('\n').expect("a title and a text")).collect();
    let titles: BTreeSet<String> = sections.iter().map(|(title, _)| (*title).to_owned()).collect();
    assert_eq!(titles, alerts);
    assert_eq!(sections.len(), titles.len(), "each once");
    for (title, section) in sections {
        let places: Vec<_> = PARTS.iter().map(|part| section.find(part)).collect();
        assert!(places.iter().all(Option::is_some) && places.is_sorted(), "{title}: {places:?}");
    }
}

#[test]
fn each_alert_is_described_and_tested() {
    let tests: String = std::fs::read_dir(root().join("tests/alerts"))
        .expect("the tests of alerts")
        .filter_map(|entry| Some(entry.ok()?.path()).filter(|path| path.extension().is_some_and(|end| end == "yaml")))
        .map(read)
        .collect();
    for rule in rules() {
        let name = &rule.name;
        assert!(["critical", "warning", "info"].contains(&rule.severity.as_str()), "{name}: {}", rule.severity);
        let names: Vec<_> = rule.annotations.keys().map(String::as_str).collect();
        assert_eq!(names, ["description", "runbook_url", "summary"], "{name}");
        assert_eq!(rule.annotations["runbook_url"], format!("__runbooks__#{}", name.to_lowercase()));
        assert!(
            !rule.annotations["summary"].ends_with('.') && rule.annotations["description"].ends_with('.'),
            "{name}"
        );
        let silent = tests.matches(&format!("alertname: {name}, exp_alerts: [] }}")).count();
        let fires = tests.matches(&format!("alertname: {name}\n")).count();
        assert!(silent >= 2 && fires >= 1 && silent + fires >= 3, "{name}: {fires} fire, {silent} do not");
        assert!(tests.contains(&format!("name: {name} does not fire just below")), "{name}");
    }
}

#[test]
fn each_threshold_has_default_and_use() {
    let defaults = yaml(&format!("{FILES}/alert-thresholds.yaml"));
    let defaults: BTreeSet<String> =
        defaults.as_hash().expect("a map").iter().map(|(name, _)| text(name)).chain(["runbooks".to_owned()]).collect();
    let rules = read(format!("{FILES}/alerts.yaml"));
    let code: String = rules.lines().filter(|line| !line.trim_start().starts_with('#')).collect();
    let used: BTreeSet<String> = code
        .split("__")
        .filter(|part| !part.is_empty() && part.bytes().all(|byte| byte.is_ascii_alphanumeric()))
        .map(ToOwned::to_owned)
        .collect();
    assert_eq!(used, defaults);
}

/// An alert on a metric that does not exist never fires, and a counter that begins with its first event has no increase.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn metrics_of_alerts_panels_and_runbooks_exist() {
    let scrape = Scrape::parse(&scrape::full().await.0);
    let mut missing = Vec::new();
    let mut check = |place: &str, text: &str| {
        let absent =
            metric_names(text).into_iter().filter(|name| !scrape.has_sample(name) && !scrape.0.contains_key(name));
        missing.extend(absent.map(|name| format!("{place}: {name}")));
    };
    for rule in rules() {
        check(&rule.name, &rule.expr);
        let bare = bare_counters(&rule.expr);
        // The second part of this rule compares a counter with its own past.
        assert!(bare.is_empty() || rule.name == "PowerstreamPostsLost", "{}: {bare:?}", rule.name);
    }
    for panel in super::dashboards::panels() {
        panel.exprs.iter().for_each(|expr| check(&panel.title, expr));
    }
    check(RUNBOOKS, &read(RUNBOOKS));
    assert!(missing.is_empty(), "{missing:#?}");
}
