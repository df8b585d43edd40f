//! Names of types: each is the name of one type, so that a reader knows which one is meant wherever it occurs.

use std::collections::BTreeMap;

use super::source::Source;
use super::sources;

/// What every module has one of, under the name that the path completes: `journal::Config`, `hub::Metrics`.
const REPEATED: &[&str] = &["Args", "Command", "Config", "Error", "Inner", "Metrics", "State"];

const KINDS: &[&str] = &["struct", "enum", "trait", "type", "union"];

/// Types declared at the top level of a file outside its tests, with their lines.
fn declared(source: &Source) -> Vec<(usize, String)> {
    let lines = source.live_code.lines().enumerate();
    let declarations = lines.filter_map(|(index, line)| {
        let line = match line.strip_prefix("pub(") {
            Some(rest) => rest.split_once(") ")?.1,
            None => line.strip_prefix("pub ").unwrap_or(line),
        };
        let (kind, rest) = line.split_once(' ')?;
        let name: String = rest.chars().take_while(|char| char.is_alphanumeric() || *char == '_').collect();
        KINDS.contains(&kind).then_some((index + 1, name))
    });
    declarations.filter(|(_, name)| !name.is_empty()).collect()
}

fn repeated(sources: &[Source]) -> Vec<String> {
    let mut places = BTreeMap::<String, Vec<String>>::new();
    for source in sources.iter().filter(|source| source.path.starts_with("server/")) {
        for (line, name) in declared(source) {
            places.entry(name).or_default().push(format!("{}:{line}", source.path));
        }
    }
    let repeated = places.into_iter().filter(|(name, at)| at.len() > 1 && !REPEATED.contains(&name.as_str()));
    repeated.map(|(name, at)| format!("{name}: name all but one by what they are: {}", at.join(", "))).collect()
}

#[test]
fn type_names_are_unique() {
    let found = repeated(&sources());
    assert!(found.is_empty(), "{} findings:\n{}", found.len(), found.join("\n"));
}

#[test]
fn repeated_type_names_are_found() {
    let source = |path: &str, text: &str| Source::new(path, text);
    for (second, expected) in [
        ("pub(crate) enum Slot<'a> { A }", 1),
        ("trait Slot: Send {}", 1),
        ("type Slot = u8;", 1),
        ("struct Config;", 0),
        ("// struct Slot;", 0),
        ("impl Other { type Slot = u8; }", 0),
        ("#[cfg(test)]\nmod tests {\n    struct Slot;\n}", 0),
    ] {
        let first = source("server/a.rs", "pub struct Slot;\nstruct Config;");
        let found = repeated(&[first, source("server/b.rs", second)]);
        assert_eq!(found.len(), expected, "{second}: {found:?}");
    }
}
