//! Vectors of the language: rules that match or do not match a post, are invalid, or are valid with warnings.
//!
//! `tests/data/rule_vectors.jsonl` belongs to the repository. `RULE_VECTORS` names a further file in the same format.

use std::collections::BTreeMap;

use serde::Deserialize;
use serde_json::value::RawValue;

use crate::query::{CjkTokens, Dialect, Facts, PhraseReading, QuerySettings, Severity, check};

#[derive(Deserialize)]
struct Vector {
    id: String,
    kind: String,
    rule: String,
    dialect: String,
    certainty: String,
    post: Option<Box<RawValue>>,
    #[serde(rename = "match")]
    is_match: Option<bool>,
    code: Option<String>,
    position: Option<usize>,
    suggestion: Option<String>,
    warnings: Option<Vec<String>>,
    phrases: Option<PhraseReading>,
    cjk_tokens: Option<CjkTokens>,
}

impl Vector {
    fn settings(&self) -> QuerySettings {
        let dialect = if self.dialect == "gateway" { Dialect::Gateway } else { Dialect::Powerstream };
        let phrases = self.phrases.unwrap_or_default();
        QuerySettings { phrases, cjk_tokens: self.cjk_tokens.unwrap_or_default(), ..QuerySettings::of(dialect) }
    }

    /// Returns what is wrong.
    fn failure(&self) -> Option<String> {
        let settings = self.settings();
        let report = check(&self.rule, &settings);
        let findings: Vec<_> =
            report.findings.iter().map(|finding| (finding.code.as_str(), finding.position)).collect();
        let has_errors = report.has_errors();
        match self.kind.as_str() {
            "invalid" => {
                let code = self.code.as_deref();
                let is_expected = |finding: &&crate::query::Finding| {
                    Some(finding.code.as_str()) == code
                        && finding.severity == Severity::Error
                        && self.position.is_none_or(|position| position == finding.position)
                };
                let Some(found) = report.findings.iter().find(is_expected) else {
                    return Some(format!("found {findings:?}, expected {code:?} at {:?}", self.position));
                };
                let is_wrong = self.suggestion.is_some() && self.suggestion != found.suggestion;
                is_wrong.then(|| format!("suggestion {:?}, expected {:?}", found.suggestion, self.suggestion))
            }
            "valid" => {
                let wanted = self.warnings.as_deref().unwrap_or_default();
                let is_there = |code: &String| findings.iter().any(|(found, _)| found == code);
                let is_good = !has_errors && wanted.iter().all(is_there) && (!wanted.is_empty() || findings.is_empty());
                (!is_good).then(|| format!("found {findings:?}, expected {wanted:?}"))
            }
            "match" => {
                let Some(query) = report.query else { return Some(format!("invalid: {findings:?}")) };
                let json = self.post.as_ref().map_or("{}", |post| post.get());
                let facts = match Facts::read(json.as_bytes(), settings.cjk_tokens) {
                    Ok(facts) => facts,
                    Err(error) => return Some(error.to_string()),
                };
                let matches = query.matcher().matches(&facts);
                (Some(matches) != self.is_match).then(|| format!("matches: {matches}"))
            }
            kind => Some(format!("no such kind: {kind}")),
        }
    }
}

/// Plays vectors and returns passed and all by certainty, and the failures.
fn play(text: &str) -> (BTreeMap<String, (usize, usize)>, Vec<String>) {
    let mut counts: BTreeMap<String, (usize, usize)> = BTreeMap::new();
    let mut failures = Vec::new();
    for line in text.lines().filter(|line| !line.is_empty()) {
        let vector: Vector = serde_json::from_str(line).expect("a vector");
        let count = counts.entry(vector.certainty.clone()).or_default();
        count.1 += 1;
        match vector.failure() {
            Some(failure) => {
                let Vector { id, certainty, rule, .. } = &vector;
                failures.push(format!("{id} ({certainty}) {rule:?}: {failure}"));
            }
            None => count.0 += 1,
        }
    }
    (counts, failures)
}

#[test]
fn vectors_pass() {
    let (counts, failures) = play(include_str!(concat!(env!("CARGO_MANIFEST_DIR"), "/tests/data/rule_vectors.jsonl")));
    assert!(failures.is_empty(), "{} failures:\n{}", failures.len(), failures.join("\n"));
    assert!(counts.values().map(|(passed, _)| passed).sum::<usize>() > 300, "{counts:?}");
}

/// Each code is there, so that no finding is without a vector.
#[test]
fn vectors_cover_all_codes() {
    let text = include_str!(concat!(env!("CARGO_MANIFEST_DIR"), "/tests/data/rule_vectors.jsonl"));
    for code in crate::query::Code::ALL {
        assert!(text.contains(&format!("\"{code}\"")), "{code} has no vector");
    }
}

/// Prints the figures of a file of others.
#[test]
#[expect(clippy::print_stdout, reason = "figures for the person that asked for them")]
fn foreign_vectors_pass() {
    let Ok(path) = std::env::var("RULE_VECTORS") else { return };
    let text = std::fs::read_to_string(path).expect("readable");
    let (counts, failures) = play(&text);
    for (certainty, (passed, all)) in &counts {
        println!("certainty {certainty}: {passed} of {all}");
    }
    assert!(failures.is_empty(), "{} failures:\n{}", failures.len(), failures.join("\n"));
}
