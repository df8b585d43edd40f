//! Log messages: constant phrases, listed in `docs/log-messages.md`.

use std::collections::BTreeSet;

use super::source::{Source, words};
use super::{files, sources};

const PAGE: &str = "docs/log-messages.md";
const MARKER: &str = "<!-- generated from the sources; see tests/it/architecture/logs.rs -->\n";
const LEVELS: &[&str] = &["error", "warn", "info", "debug", "trace"];

/// Words that a message may begin with in upper case.
const PROPER_NAMES: &[&str] = &["X", "HTTP", "HTTP/2", "TLS", "gRPC", "SIGTERM", "SIGHUP"];

/// Calls that still break the rule: start of a path.
const ALLOWED: &[&str] = &[];

/// One call of a log macro in product code.
struct LogCall {
    line: usize,
    level: &'static str,
    /// `None` if the last positional argument is not a string literal.
    message: Option<String>,
}

/// Splits the arguments of a macro at commas outside of brackets, strings and comments.
fn arguments(source: &Source, open: usize) -> Vec<String> {
    let code = source.code.as_bytes();
    let (mut depth, mut start) = (0, open + 1);
    let mut found = Vec::new();
    for (at, byte) in code.iter().enumerate().skip(open) {
        match byte {
            b'(' | b'[' | b'{' => depth += 1,
            b')' | b']' | b'}' => depth -= 1,
            _ => {}
        }
        if (*byte == b',' && depth == 1) || depth == 0 {
            found.push(source.raw[start..at].trim().to_owned());
            start = at + 1;
        }
        if depth == 0 {
            break;
        }
    }
    found.retain(|argument| !argument.is_empty());
    found
}

/// The text of a string literal; `None` if the argument is something else.
fn literal(argument: &str) -> Option<String> {
    let inside = argument.strip_prefix('"')?.strip_suffix('"')?;
    // A backslash at the end of a line joins it with the next.
    let joined: Vec<_> =
        inside.split("\\\n").enumerate().map(|(at, part)| if at == 0 { part } else { part.trim_start() }).collect();
    Some(joined.concat())
}

fn log_calls(source: &Source) -> Vec<LogCall> {
    let mut found = Vec::new();
    for level in LEVELS {
        for at in words(&source.live_code, &format!("{level}!(")) {
            let open = at + level.len() + 1;
            let message = arguments(source, open)
                .into_iter()
                .rfind(|argument| literal(argument).is_some() || !is_field(argument));
            let message = message.as_deref().and_then(literal);
            found.push(LogCall { line: source.line(at), level, message });
        }
    }
    found
}

/// True for `name = value`, `%name`, `?name` and `name`.
fn is_field(argument: &str) -> bool {
    let name = argument.trim_start_matches(['%', '?']);
    name.split('=').next().is_some_and(|name| name.trim().chars().all(|c| c.is_alphanumeric() || "_.".contains(c)))
        || argument.starts_with("target:")
}

/// What is wrong with a message.
fn fault(message: Option<&str>) -> Option<&'static str> {
    let Some(message) = message else { return Some("the message is not a string literal") };
    let first = message.split_whitespace().next().unwrap_or_default();
    if message.contains('{') {
        return Some("the message contains a value: make it a field");
    }
    if !first.starts_with(|c: char| c.is_lowercase()) && !PROPER_NAMES.contains(&first) {
        return Some("the message does not begin with a lowercase letter");
    }
    message.ends_with('.').then_some("the message ends with a full stop")
}

fn messages(source: &Source) -> Vec<String> {
    let calls = log_calls(source).into_iter().filter(|_| !ALLOWED.contains(&source.path.as_str()));
    calls
        .filter_map(|call| Some(format!("{}:{}: {}", source.path, call.line, fault(call.message.as_deref())?)))
        .collect()
}

/// The module of a file below `server/`: its first two components.
fn module(path: &str) -> String {
    let inside = path.trim_start_matches("server/").trim_end_matches(".rs").trim_end_matches("/mod");
    inside.split('/').take(2).collect::<Vec<_>>().join("/")
}

/// The table of the page: by level, the most severe first.
fn table() -> String {
    let mut rows = BTreeSet::new();
    for source in sources().iter().filter(|source| source.path.starts_with("server/")) {
        for call in log_calls(source) {
            let severity = LEVELS.iter().position(|level| *level == call.level);
            rows.insert((severity, call.message.unwrap_or_default(), module(&source.path), call.level));
        }
    }
    let mut table = String::from("| level | message | module |\n|---|---|---|\n");
    for (_, message, module, level) in rows {
        table += &format!("| {level} | {} | `{module}` |\n", message.replace('|', "\\|"));
    }
    table
}

#[test]
fn log_messages_are_constant_phrases() {
    let faults: Vec<_> =
        sources().iter().filter(|source| source.path.starts_with("server/")).flat_map(messages).collect();
    assert!(faults.is_empty(), "{}", faults.join("\n"));
}

#[test]
fn log_page_lists_every_message() {
    let (_, text) = files(&[PAGE]).pop().expect("the page");
    let (head, written) = text.split_once(MARKER).expect("the marker before the table");
    let table = table();
    assert!(table.lines().count() > 50, "{table}");
    if written != table {
        let fresh = concat!(env!("CARGO_MANIFEST_DIR"), "/target/log-messages.md");
        std::fs::write(fresh, format!("{head}{MARKER}{table}")).expect("written");
        panic!("{PAGE} is out of date: replace it by {fresh}");
    }
}

#[test]
fn faulty_log_messages_are_found() {
    for (text, expected) in [
        ("fn f() { tracing::warn!(account, %error, \"append failed\") }", 0),
        ("fn f() { warn!(at = ?self.at(1, 2), \"X closed the connection\") }", 0),
        ("fn f() { tracing::info!(\"opened; \\\n    continuing\") }", 0),
        ("fn f() { tracing::info!(\"opened {path}\") }", 1),
        ("fn f() { tracing::info!(\"Opened\") }", 1),
        ("fn f() { tracing::info!(\"opened.\") }", 1),
        ("fn f() { tracing::info!(account, phrase()) }", 1),
        ("fn f() { tracing::info!(account) }", 1),
        ("#[cfg(test)]\nmod tests { fn f() { tracing::info!(\"Opened.\") } }", 0),
        ("// tracing::info!(\"Opened.\")", 0),
    ] {
        let found = messages(&Source::new("server/hub/ring.rs", text));
        assert_eq!(found.len(), expected, "{text}\n{found:?}");
    }
}
