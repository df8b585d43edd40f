use std::collections::BTreeMap;

use serde_json::Value;

use super::super::PostAttributes;
use super::super::parser::parse;

/// Vectors of our own: texts written for this test.
const VECTORS: &str = "tests/data/simulator_rules.jsonl";

/// Results by certainty, and what differs.
#[derive(Debug, Default)]
struct Report {
    /// Passed and failed.
    counts: BTreeMap<String, [usize; 2]>,
    differences: Vec<String>,
}

/// Describes what the rule language here does otherwise than the vector.
fn difference(vector: &Value) -> Option<String> {
    let parsed = parse(vector["rule"].as_str().expect("a vector has a rule"));
    let kind = vector["kind"].as_str().expect("a vector has a kind");
    match (kind, parsed) {
        ("match", Ok(expr)) => {
            let matches = expr.matches(&PostAttributes::of(&vector["post"]));
            (Some(matches) != vector["match"].as_bool()).then(|| format!("matches: {matches}"))
        }
        ("valid", Ok(_)) => None,
        ("invalid", Err(error)) => {
            let code = vector["code"].as_str().unwrap_or_default().replace('_', "").to_lowercase();
            let is_code = format!("{:?}", error.fault).to_lowercase() == code;
            let is_there = vector["position"].as_u64().is_none_or(|position| position == error.position as u64);
            (!is_code || !is_there).then(|| format!("{error:?}"))
        }
        (_, Err(error)) => Some(format!("refused: {error}")),
        (_, Ok(_)) => Some("accepted".into()),
    }
}

/// Checks the vectors of Powerstream's dialect in a file of JSON lines.
fn report(path: &str) -> Report {
    let text = std::fs::read_to_string(path).expect("the vectors can be read");
    let mut report = Report::default();
    for line in text.lines() {
        let vector: Value = serde_json::from_str(line).expect("a vector is JSON");
        if vector["dialect"] != "powerstream" {
            continue;
        }
        let certainty = vector["certainty"].as_str().unwrap_or("?");
        let difference = difference(&vector);
        report.counts.entry(certainty.to_owned()).or_default()[usize::from(difference.is_some())] += 1;
        report.differences.extend(difference.map(|text| format!("{certainty} {}: {text}", vector)));
    }
    report
}

#[test]
fn own_vectors_pass() {
    let Report { counts, differences } = report(VECTORS);
    assert!(differences.is_empty(), "{counts:?}\n{}", differences.join("\n"));
    assert!(counts.values().map(|[passed, _]| passed).sum::<usize>() > 100, "{counts:?}");
}

/// Checks the vectors of the file in `RULE_VECTORS`, if it is set.
#[test]
fn vectors_of_named_file_pass() {
    let Ok(path) = std::env::var("RULE_VECTORS") else { return };
    let Report { counts, differences } = report(&path);
    eprintln!("{path}: passed and failed by certainty: {counts:?}");
    assert!(differences.is_empty(), "{}", differences.join("\n"));
}
