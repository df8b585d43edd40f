//! Agreement of the evaluator with X, by operator and by reading of the language.

use std::collections::BTreeMap;

use serde_json::{Value, json};

use crate::cli::table::Table;
use crate::query::{self, CjkTokens, Dialect, Facts, PhraseReading, QuerySettings, RuleMatcher};
use crate::rules::calibration::operators;

/// Samples of an operator and a kind of difference.
const SAMPLES_MAX: usize = 20;

/// Readings of the language between which X's own documents leave a choice. The first one is the default.
const READINGS: [(&str, PhraseReading, CjkTokens); 4] = [
    ("phrases literal, Han and kana single", PhraseReading::Literal, CjkTokens::Single),
    ("phrases literal, Han and kana in runs", PhraseReading::Literal, CjkTokens::Run),
    ("phrases by tokens, Han and kana single", PhraseReading::Tokens, CjkTokens::Single),
    ("phrases by tokens, Han and kana in runs", PhraseReading::Tokens, CjkTokens::Run),
];

/// A rule that X has, prepared in each reading.
pub(super) struct PreparedRule {
    id: u64,
    title: String,
    matchers: Vec<RuleMatcher>,
    operators: Vec<&'static str>,
    since_ms: i64,
}

impl PreparedRule {
    /// Prepares a rule. Posts received before `since_ms` are not compared with it. Returns `None` if it has errors.
    pub(super) fn new(id: u64, title: String, value: &str, since_ms: i64) -> Option<Self> {
        let base = QuerySettings { unlisted_operators: true, ..QuerySettings::of(Dialect::Powerstream) };
        let prepare = |(_, phrases, cjk_tokens): &(&str, _, _)| {
            let settings = QuerySettings { phrases: *phrases, cjk_tokens: *cjk_tokens, ..base };
            query::check(value, &settings).query.map(|query| query.matcher())
        };
        let matchers = READINGS.iter().map(prepare).collect::<Option<Vec<_>>>()?;
        let operators = operators(query::check(value, &base).query?.tree());
        Some(Self { id, title, matchers, operators, since_ms })
    }
}

/// A rule and a post about which X and the evaluator differ.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Difference {
    rule: String,
    post_id: u64,
}

/// Numbers of an operator.
#[derive(Debug, Default)]
struct Numbers {
    agree: u64,
    x_only: u64,
    ours_only: u64,
    x_only_samples: Vec<Difference>,
    ours_only_samples: Vec<Difference>,
}

/// Agreement over the posts so far.
pub(super) struct Tally {
    rules: Vec<PreparedRule>,
    posts: u64,
    unreadable: u64,
    operators: BTreeMap<&'static str, Numbers>,
    /// Differences in each reading.
    readings: [u64; READINGS.len()],
}

impl Tally {
    /// Creates a tally over rules.
    pub(super) fn new(rules: Vec<PreparedRule>) -> Self {
        Self { rules, posts: 0, unreadable: 0, operators: BTreeMap::new(), readings: [0; READINGS.len()] }
    }

    /// Number of posts.
    pub(super) fn posts(&self) -> u64 {
        self.posts
    }

    /// Compares a post with the ids of the rules that X names.
    pub(super) fn add(&mut self, post_id: u64, received_ms: i64, matched_at_x: &[u64], payload: &[u8]) {
        self.posts += 1;
        let single = Facts::read(payload, CjkTokens::Single);
        let run = Facts::read(payload, CjkTokens::Run);
        let (Ok(single), Ok(run)) = (single, run) else {
            self.unreadable += 1;
            return;
        };
        for rule in self.rules.iter().filter(|rule| rule.since_ms <= received_ms) {
            let at_x = matched_at_x.contains(&rule.id);
            for (at, (_, _, cjk_tokens)) in READINGS.iter().enumerate() {
                let facts = if *cjk_tokens == CjkTokens::Single { &single } else { &run };
                let ours = rule.matchers[at].matches(facts);
                self.readings[at] += u64::from(ours != at_x);
                if at == 0 && (ours || at_x) {
                    count(&mut self.operators, rule, post_id, at_x, ours);
                }
            }
        }
    }

    /// Returns the numbers for people.
    pub(super) fn text(&self) -> String {
        let mut table = Table::new(&["OPERATOR", "AGREE", "X ONLY", "OURS ONLY"]);
        for (operator, own) in &self.operators {
            let numbers = [own.agree, own.x_only, own.ours_only].map(|number| number.to_string());
            table.add([(*operator).to_owned()].into_iter().chain(numbers));
        }
        let mut readings = Table::new(&["READING", "DIFFERENCES"]);
        for ((name, ..), differences) in READINGS.iter().zip(self.readings) {
            readings.add([(*name).to_owned(), differences.to_string()]);
        }
        let mut samples = Table::default();
        for (operator, own) in &self.operators {
            for (kind, list) in [("x only", &own.x_only_samples), ("ours only", &own.ours_only_samples)] {
                for sample in list {
                    samples.add([
                        (*operator).to_owned(),
                        kind.to_owned(),
                        sample.rule.clone(),
                        sample.post_id.to_string(),
                    ]);
                }
            }
        }
        let (posts, rules, unreadable) = (self.posts, self.rules.len(), self.unreadable);
        let about = format!("{posts} posts, {rules} rules, {unreadable} posts cannot be read");
        let parts = [table.text(), readings.text(), samples.text(), format!("{about}\n")];
        parts.into_iter().filter(|part| !part.is_empty()).collect::<Vec<_>>().join("\n")
    }

    /// Returns the numbers as JSON.
    pub(super) fn json(&self) -> Value {
        let sample = |own: &Difference| json!({ "rule": own.rule, "post_id": own.post_id.to_string() });
        let samples = |list: &[Difference]| list.iter().map(sample).collect::<Vec<_>>();
        let operator = |(operator, own): (&&str, &Numbers)| {
            json!({
                "operator": operator, "agree": own.agree, "x_only": own.x_only, "ours_only": own.ours_only,
                "x_only_samples": samples(&own.x_only_samples), "ours_only_samples": samples(&own.ours_only_samples),
            })
        };
        let reading =
            |((name, ..), differences): (&(&str, _, _), u64)| json!({ "reading": name, "differences": differences });
        json!({
            "posts": self.posts, "rules": self.rules.len(), "unreadable_posts": self.unreadable,
            "operators": self.operators.iter().map(operator).collect::<Vec<_>>(),
            "readings": READINGS.iter().zip(self.readings).map(reading).collect::<Vec<_>>(),
        })
    }
}

/// Counts a rule that matched a post at X or here, for each of its operators.
fn count(all: &mut BTreeMap<&'static str, Numbers>, rule: &PreparedRule, post_id: u64, at_x: bool, ours: bool) {
    for operator in &rule.operators {
        let own = all.entry(operator).or_default();
        let (number, samples) = match (at_x, ours) {
            (true, false) => (&mut own.x_only, Some(&mut own.x_only_samples)),
            (false, true) => (&mut own.ours_only, Some(&mut own.ours_only_samples)),
            _ => (&mut own.agree, None),
        };
        *number += 1;
        if let Some(samples) = samples
            && samples.len() < SAMPLES_MAX
        {
            samples.push(Difference { rule: rule.title.clone(), post_id });
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn post(text: &str) -> Vec<u8> {
        json!({ "id_str": "7", "text": text, "lang": "en", "user": { "screen_name": "ada" } }).to_string().into_bytes()
    }

    fn rule(id: u64, value: &str) -> PreparedRule {
        PreparedRule::new(id, format!("set/{id}"), value, 1_000).expect("a valid rule")
    }

    #[test]
    fn differences_are_counted_by_operator() {
        let mut tally = Tally::new(vec![rule(1, "cat lang:en"), rule(2, "from:ada -dog")]);
        tally.add(10, 2_000, &[1, 2], &post("a cat"));
        tally.add(11, 2_000, &[2], &post("a cat"));
        tally.add(12, 2_000, &[2], &post("a dog"));
        // Before the rules were in effect.
        tally.add(13, 500, &[], &post("a cat"));
        let json = tally.json();
        let numbers: Vec<_> = json["operators"]
            .as_array()
            .expect("a list")
            .iter()
            .map(|own| {
                let number = |key: &str| own[key].as_u64().unwrap_or_default();
                (own["operator"].as_str().unwrap_or_default(), number("agree"), number("x_only"), number("ours_only"))
            })
            .collect();
        assert_eq!(numbers, [("from", 2, 1, 0), ("keyword", 3, 1, 1), ("lang", 1, 0, 1), ("not", 2, 1, 0)]);
        let samples = &json["operators"][2]["ours_only_samples"];
        assert_eq!((&samples[0]["rule"], &samples[0]["post_id"]), (&"set/1".into(), &"11".into()));
        assert!(tally.text().contains("4 posts, 2 rules"), "{}", tally.text());
    }

    /// The reading that X uses is the one without differences.
    #[test]
    fn reading_of_x_has_no_differences() {
        let mut tally = Tally::new(vec![rule(1, "\"far too\"")]);
        // By tokens, punctuation counts as white space.
        tally.add(10, 2_000, &[1], &post("far, too many"));
        let found: Vec<_> = tally.json()["readings"]
            .as_array()
            .expect("a list")
            .iter()
            .map(|own| own["differences"].as_u64())
            .collect();
        assert_eq!(found, [Some(1), Some(1), Some(0), Some(0)]);
    }

    #[test]
    fn samples_are_bounded() {
        let mut tally = Tally::new(vec![rule(1, "cat")]);
        for id in 0..50 {
            tally.add(id, 2_000, &[], &post("a cat"));
        }
        let own = &tally.json()["operators"][0];
        assert_eq!(own["ours_only"].as_u64(), Some(50));
        assert_eq!(own["ours_only_samples"].as_array().map(Vec::len), Some(SAMPLES_MAX));
    }
}
