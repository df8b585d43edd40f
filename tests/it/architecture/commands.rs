//! Filters of `cargo test` in recipes and documents: one that matches no test passes and checks nothing.

use std::collections::BTreeSet;

use super::files;

/// Targets with a module tree: how a command names them, and where their sources are.
const TARGETS: [(&str, &str); 2] = [("--test it ", "tests/it"), ("--lib ", "server")];

/// The filter behind each place that names this target, without placeholders of recipes and options.
fn filters(text: &str, target: &str) -> Vec<String> {
    let commands = text.lines().filter(|line| line.contains("cargo test"));
    let rests = commands.flat_map(|line| line.match_indices(target).map(|(at, _)| &line[at + target.len()..]));
    let words = rests.flat_map(|rest| {
        let rest = rest.trim_start_matches("-- ");
        rest.split(' ').take_while(|word| is_filter(word.trim_end_matches('`'))).map(|word| word.trim_end_matches('`'))
    });
    words.map(str::to_owned).collect()
}

fn is_filter(word: &str) -> bool {
    !word.is_empty() && word.chars().all(|c| c.is_ascii_alphanumeric() || c == '_' || c == ':')
}

/// The path of each test below this directory, as `cargo test -- --list` prints it.
fn tests(below: &str) -> BTreeSet<String> {
    let rust = files(&[below]).into_iter().filter(|(path, _)| path.ends_with(".rs"));
    rust.flat_map(|(path, text)| {
        let module = path.trim_start_matches(below).trim_start_matches('/').trim_end_matches(".rs").replace('/', "::");
        let module = module.trim_end_matches("::mod").to_owned();
        let names: Vec<_> = text.split("fn ").skip(1).filter_map(|rest| rest.split(['(', '<']).next()).collect();
        names.into_iter().map(|name| format!("{module}::{name}")).collect::<Vec<_>>()
    })
    .collect()
}

fn unmatched(text: &str, target: &str, tests: &BTreeSet<String>) -> Vec<String> {
    let is_unmatched = |filter: &String| !tests.iter().any(|test| test.contains(filter.as_str()));
    filters(text, target).into_iter().filter(is_unmatched).collect()
}

#[test]
fn filters_in_commands_match_tests() {
    let texts = files(&["justfile", ".ci/run", "README.md", "CONTRIBUTING.md", "docs"]);
    for (target, below) in TARGETS {
        let (tests, mut count) = (tests(below), 0);
        for (path, text) in &texts {
            count += filters(text, target).len();
            let unmatched = unmatched(text, target, &tests);
            assert!(unmatched.is_empty(), "{path}: no test matches {unmatched:?}");
        }
        assert!(count >= 4, "{target}: {count} filters were found");
    }
}

#[test]
fn filters_without_test_are_found() {
    let tests = BTreeSet::from(["resume::token_is_exact".to_owned()]);
    let check = |text: &str, expected: &[&str]| assert_eq!(unmatched(text, "--test it ", &tests), expected, "{text}");
    check("cargo test --test it resume:: -- --nocapture", &[]);
    check("`cargo test --test it`, and `cargo test --test it seeds::`", &["seeds::"]);
    check("cargo test --locked --test it -- resume:: quorum::", &["quorum::"]);
    check("HOSTILE=full cargo test --test it {{ filter }} -- --nocapture", &[]);
}
