//! The time to check 1,000 rules offline, and to match one rule against a post.
//!
//! `cargo bench --bench rules`; target: 1,000 rules in at most 50 ms.

#![expect(clippy::print_stdout, reason = "figures for people")]

use std::hint::black_box;
use std::time::{Duration, Instant};

use powerstream_gateway::query::{CjkTokens, Facts, QuerySettings, check};

const RULES: usize = 1_000;
const ROUNDS: usize = 21;

fn main() {
    row("1,000 rules of three branches", &rules(3));
    row("1,000 rules of the longest kind", &rules(43));
    let brackets: Vec<_> = (0..RULES).map(|_| format!("{}a{}", "-(".repeat(680), ")".repeat(680))).collect();
    row("1,000 rules of 680 nested negated groups", &brackets);
    let wrong: Vec<_> = (0..RULES).map(|at| format!("cat{at} AND dog or form:ada has:image lang:eng \"x")).collect();
    row("1,000 rules with six errors each", &wrong);
    for sign in ["(", ")", "\"", "-", "'a "] {
        let quarter = median(&[sign.repeat(512 / sign.len())]);
        let whole = median(&[sign.repeat(2_048 / sign.len())]);
        println!("{sign:?} up to 512 and 2,048 characters: {quarter:?}, {whole:?}");
    }
    posts();
}

/// Rules of several branches, as of brand monitoring.
fn rules(branches: usize) -> Vec<String> {
    let rule = |at: usize| {
        let words: Vec<_> =
            (0..branches).map(|branch| format!("(\"brand {at}\" word{branch} -spam{at} OR @user{branch})")).collect();
        format!("lang:en -is:retweet ({})", words.join(" OR "))
    };
    (0..RULES).map(rule).collect()
}

fn median(rules: &[String]) -> Duration {
    let settings = QuerySettings::default();
    let mut times: Vec<_> = (0..ROUNDS)
        .map(|_| {
            let started = Instant::now();
            for rule in rules {
                black_box(check(black_box(rule), &settings));
            }
            started.elapsed()
        })
        .collect();
    times.sort();
    times[ROUNDS / 2]
}

fn row(name: &str, rules: &[String]) {
    let longest = rules.iter().map(String::len).max().unwrap_or_default();
    let errors = rules.iter().filter(|rule| check(rule, &QuerySettings::default()).has_errors()).count();
    println!("{name} (longest {longest}, {errors} with errors): median {:?}", median(rules));
}

fn posts() {
    let post =
        br#"{"id_str": "1700000000000000123", "text": "Three hours, one coffee and far too many opinions about cats",
        "lang": "en", "user": {"screen_name": "ada", "id_str": "7", "description": "tea"}, "entities": {"urls": []}}"#;
    let query =
        check("(cats OR \"far too many\") lang:en -is:retweet", &QuerySettings::default()).query.expect("valid");
    let matcher = query.matcher();
    let started = Instant::now();
    for _ in 0..10_000 {
        let facts = Facts::read(black_box(post), CjkTokens::Single).expect("a post");
        black_box(matcher.matches(&facts));
    }
    println!("one post read and matched: {:?}", started.elapsed() / 10_000);
}
