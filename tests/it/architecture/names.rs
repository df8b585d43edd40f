//! Names of tests: at most [`WORDS_MAX`] words, no articles.

use super::check;
use super::source::Source;

const WORDS_MAX: usize = 8;
const ARTICLES: &[&str] = &["a", "an", "the"];

/// Names of the functions with a test attribute, with their lines.
fn tests(source: &Source) -> Vec<(usize, String)> {
    let lines: Vec<_> = source.code.lines().collect();
    let is_test = |line: usize| {
        let attributes = lines[..line - 1].iter().rev().map(|line| line.trim());
        attributes
            .take_while(|line| line.is_empty() || line.starts_with("#["))
            .any(|line| line.starts_with("#[test]") || line.starts_with("#[tokio::test"))
    };
    let functions = source.functions().into_iter();
    functions.filter(|function| is_test(function.line)).map(|function| (function.line, function.name)).collect()
}

fn test_names(source: &Source) -> Vec<String> {
    let mut found = Vec::new();
    for (line, name) in tests(source) {
        let words: Vec<_> = name.split('_').collect();
        if words.len() > WORDS_MAX {
            let count = words.len();
            found.push(format!("{}:{line}: {name} has {count} words, at most {WORDS_MAX}", source.path));
        }
        if words.iter().any(|word| ARTICLES.contains(word)) {
            found.push(format!("{}:{line}: {name} has an article: remove it", source.path));
        }
    }
    found
}

#[test]
fn test_names_are_short() {
    check(test_names);
}

#[test]
fn long_test_names_are_found() {
    for (text, expected) in [
        ("#[test]\nfn one_two_three_four_five_six_seven_eight() {}", 0),
        ("#[test]\nfn one_two_three_four_five_six_seven_eight_nine() {}", 1),
        ("#[tokio::test(start_paused = true)]\n// comment\nasync fn opens_the_log() {}", 1),
        ("#[test]\n#[cfg(unix)]\nfn a_an() {}", 1),
        ("fn one_two_three_four_five_six_seven_eight_nine() {}", 0),
    ] {
        let found = test_names(&Source::new("server/hub/ring.rs", text));
        assert_eq!(found.len(), expected, "{text}\n{found:?}");
    }
}
