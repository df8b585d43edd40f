//! Architecture rules: imports between layers, restricted identifiers, sizes, forbidden constructs. Each rule has a test
//! with a planted breach, so that a check that finds nothing is known to work.

mod breaches;
mod commands;
mod cycles;
mod language;
mod logs;
mod names;
mod source;
mod stubs;
mod types;
mod wakeup;

use std::collections::BTreeSet;
use std::path::Path;

use source::{Source, words};

/// Modules by layer, the lowest first. A file imports modules of lower layers, or its own.
const LAYERS: &[&[&str]] = &[
    &["codec", "model", "proto", "state_file"],
    &["clock", "backoff", "buffer_pool", "escape", "query", "secret"],
    &["task", "telemetry"],
    &["xapi", "state", "tls", "quorum"],
    &["upstream", "rules", "journal", "lease", "access", "simulator"],
    &["hub"],
    &["ingest"],
    &["gateway"],
    &["grpc", "http"],
    &["config"],
    &["app"],
    &["cli"],
];

/// The simulator is an independent test double: it shares nothing with the gateway, so it may import only layers below this.
const SIMULATOR_BELOW: usize = 3;

/// Identifiers that only some places may use. A place is the start of a path below `server/`.
struct RestrictedIdentifier {
    words: &'static [&'static str],
    /// True if the word counts in strings too.
    text: bool,
    places: &'static [&'static str],
    instead: &'static str,
}

const RESTRICTED: &[RestrictedIdentifier] = &[
    RestrictedIdentifier {
        words: &["matching_rules", "id_str", "connection_metadata", "disconnect_type", "fullfilled_at"],
        text: true,
        places: &["upstream/message", "xapi", "rules", "query/facts", "simulator"],
        instead: "X's JSON is known to upstream/message alone: take what it made of it",
    },
    RestrictedIdentifier {
        words: &["screen_name", "extended_tweet", "retweeted_status", "full_text"],
        text: true,
        places: &["upstream/message", "xapi", "rules", "query/facts", "simulator", "cli/tail"],
        instead: "a payload is opaque: only the human form of tail and query/facts look into it",
    },
    RestrictedIdentifier {
        words: &["hyper::client", "hyper_util::client", "hyper_rustls", "reqwest"],
        text: false,
        places: &["xapi", "access/jwt/fetch"],
        instead: "go through xapi, the only door to X, or access/jwt/fetch, the only one to key sets",
    },
    RestrictedIdentifier {
        words: &["async_nats"],
        text: false,
        places: &["quorum/nats"],
        instead: "go through quorum, whose backend nats is the only door to NATS",
    },
    RestrictedIdentifier {
        words: &["crate::proto"],
        text: false,
        places: &["grpc", "hub/entry", "cli"],
        instead: "speak in words of model; grpc/convert translates",
    },
    RestrictedIdentifier {
        words: &[
            "Status::new",
            "Status::ok",
            "Status::cancelled",
            "Status::unknown",
            "Status::invalid_argument",
            "Status::deadline_exceeded",
            "Status::not_found",
            "Status::already_exists",
            "Status::permission_denied",
            "Status::resource_exhausted",
            "Status::failed_precondition",
            "Status::aborted",
            "Status::out_of_range",
            "Status::unimplemented",
            "Status::internal",
            "Status::unavailable",
            "Status::data_loss",
            "Status::unauthenticated",
            "Status::from_error",
            "Status::with_details",
            "Status::with_metadata",
            "Status::with_error_details",
            "Status::with_error_details_vec",
            "Status::with_error_details_and_metadata",
        ],
        text: false,
        places: &["grpc/status"],
        instead: "every end of a stream is made in grpc/status, with its reason and token",
    },
    RestrictedIdentifier {
        words: &["powerstream_consumer"],
        text: false,
        places: &["cli"],
        instead: "the consumer library is a client: only commands use it",
    },
    RestrictedIdentifier {
        words: &["anyhow"],
        text: false,
        places: &["app", "cli", "main.rs"],
        instead: "an error that a caller acts on has a type",
    },
    RestrictedIdentifier {
        words: &[
            "tokio::spawn",
            "tokio::task::spawn",
            "task::spawn",
            "thread::spawn",
            "thread::Builder",
            "thread::scope",
        ],
        text: false,
        places: &["task"],
        instead: "take Tasks: a task has a name and an exit policy",
    },
    RestrictedIdentifier {
        words: &[
            "SystemTime",
            "Instant::now",
            "tokio::time",
            "time::sleep",
            "time::timeout",
            "time::interval",
            "Timestamp::now",
            "Zoned::now",
        ],
        text: false,
        places: &["clock"],
        instead: "take a Clock",
    },
    RestrictedIdentifier {
        words: &["std::env", "env::var", "env::vars", "env::var_os"],
        text: false,
        // The demo starts its own program.
        places: &["config", "secret.rs", "main.rs", "cli/demo/replicas/replica_process.rs"],
        instead: "settings come from config, secrets from secret::Source",
    },
    RestrictedIdentifier {
        words: &["println!", "eprintln!", "print!", "eprint!"],
        text: false,
        places: &["cli", "main.rs"],
        instead: "log with tracing; only commands print",
    },
];

/// What may stand nowhere. Words in two pieces, so that this file does not hold them.
const FORBIDDEN: &[(&str, &str)] = &[
    (concat!("to", "do!"), "finish it"),
    (concat!("unimple", "mented!"), "finish it"),
    (concat!("#[ig", "nore"), "a test that is not run is no test"),
    (concat!("allow(dead", "_code)"), "remove unused code"),
    (concat!("TO", "DO"), "finish it"),
    (concat!("FIX", "ME"), "fix it"),
    (concat!("XX", "X"), "fix it"),
];

/// Sleeping in tests makes them slow, and wrong on a slow machine.
const SLEEPS: &[&str] = &[concat!("thread::sl", "eep"), concat!("time::sl", "eep"), concat!("sl", "eep_ms")];
/// The clock, the one loop of the tests that polls a condition up to a deadline, and benchmarks, which prove nothing.
const SLEEP_ALLOWED_IN: &[&str] =
    &["server/clock/mod.rs", "server/app/tests/", "tests/it/harness/eventually.rs", "tests/bench/"];

/// Longest file and function, in lines (house: 91 % of the tidiest trees' files and 99 % of their functions).
const FILE_LINES_MAX: usize = 400;
const FUNCTION_LINES_MAX: usize = 70;
/// `path` or `path: function` that may be longer, each with its reason.
const LONGER: &[(&str, &str)] = &[];

/// Lines that the `//!` of a room's mod.rs has at the least: what it owns, what it does not, invariants, their tests.
const MODULE_DOC_LINES_MIN: usize = 10;
/// The same for a folder within a room.
const FOLDER_DOC_LINES_MIN: usize = 5;

/// Paths of the machine that something was written on. In pieces for the same reason.
const MACHINE_PATHS: &[&str] = &[
    concat!("/ro", "ot/"),
    concat!("/ho", "me/"),
    concat!("/Us", "ers/"),
    concat!("/wo", "rk/"),
    concat!("/tmp/", "wt"),
];

fn module(path: &str) -> Option<&str> {
    let inside = path.strip_prefix("server/")?;
    let name = inside.split('/').next()?.trim_end_matches(".rs");
    (!["lib", "main"].contains(&name)).then_some(name)
}

fn layer(room: &str) -> Option<usize> {
    LAYERS.iter().position(|rooms| rooms.contains(&room))
}

fn direction(source: &Source) -> Vec<String> {
    let Some(own) = module(&source.path) else { return Vec::new() };
    let Some(own_floor) = layer(own) else { return vec![format!("{}: room {own} has no floor", source.path)] };
    let limit = if own == "simulator" { SIMULATOR_BELOW } else { own_floor };
    let mut found = Vec::new();
    for (at, other) in source.crate_paths() {
        if other != own && layer(&other).is_none_or(|floor| floor >= limit) {
            found.push(format!("{}:{}: {own} may not import {other}", source.path, source.line(at)));
        }
    }
    // `super` must not climb out of the room: it would be an import that the scan above does not see.
    let depth = source.path.trim_end_matches("/mod.rs").matches('/').count();
    let climb = "super::".repeat(depth);
    for at in words(&source.live_code, &climb) {
        found.push(format!("{}:{}: write crate:: to leave the module", source.path, source.line(at)));
    }
    found
}

fn restricted_identifiers(source: &Source) -> Vec<String> {
    let Some(inside) = source.path.strip_prefix("server/") else { return Vec::new() };
    if ["lib.rs", "proto.rs"].contains(&inside) {
        return Vec::new();
    }
    let mut found = Vec::new();
    for fence in RESTRICTED.iter().filter(|fence| !fence.places.iter().any(|place| inside.starts_with(place))) {
        let text = if fence.text { &source.live_text } else { &source.live_code };
        let mut found_at: Vec<_> = fence.words.iter().flat_map(|word| words(text, word)).collect();
        if fence.words == ["crate::proto"] {
            // It may also stand in a list.
            let lists = source
                .crate_paths()
                .into_iter()
                .filter(|(at, name)| name == "proto" && source.live_code[*at..].starts_with("crate::{"));
            found_at.extend(lists.map(|(at, _)| at));
        }
        let lines: BTreeSet<_> = found_at.into_iter().map(|at| source.line(at)).collect();
        let line = |line| format!("{}:{line}: {}: {}", source.path, fence.words[0], fence.instead);
        found.extend(lines.into_iter().map(line));
    }
    found
}

fn forbidden(source: &Source) -> Vec<String> {
    let mut found = Vec::new();
    for (word, instead) in FORBIDDEN {
        // Macros and attributes count as code; the marks of unfinished work count anywhere.
        let mark = word.chars().all(|c| c.is_ascii_uppercase());
        let text = if mark { &source.raw } else { &source.code };
        for at in words(text, word) {
            found.push(format!("{}:{}: {word}: {instead}", source.path, source.line(at)));
        }
    }
    if !SLEEP_ALLOWED_IN.iter().any(|place| source.path.starts_with(place)) {
        for at in SLEEPS.iter().flat_map(|word| words(&source.code, word)) {
            found.push(format!("{}:{}: sleeps: wait for a condition, up to a deadline", source.path, source.line(at)));
        }
    }
    found
}

fn sizes(source: &Source) -> Vec<String> {
    let longer = |name: &str| LONGER.iter().any(|(exempt, _)| *exempt == name);
    let mut found = Vec::new();
    let lines = source.raw.lines().count();
    if lines > FILE_LINES_MAX && !longer(&source.path) {
        found.push(format!("{}: {lines} lines, at most {FILE_LINES_MAX}", source.path));
    }
    for function in source.functions() {
        if function.lines > FUNCTION_LINES_MAX && !longer(&format!("{}: {}", source.path, function.name)) {
            let (at, name, lines) = (function.line, function.name, function.lines);
            found.push(format!("{}:{at}: {name} has {lines} lines, at most {FUNCTION_LINES_MAX}", source.path));
        }
    }
    found
}

fn module_docs(source: &Source) -> Vec<String> {
    let lines = source.raw.lines().take_while(|line| line.starts_with("//!")).count();
    let Some(folder) = source.path.strip_prefix("server/").and_then(|path| path.strip_suffix("/mod.rs")) else {
        return Vec::new();
    };
    let least = if folder.contains('/') { FOLDER_DOC_LINES_MIN } else { MODULE_DOC_LINES_MIN };
    if lines >= least {
        return Vec::new();
    }
    vec![format!("{}: opens with {lines} lines of //!, at least {least}", source.path)]
}

/// All files below these paths of the repository, but for what is built or fetched.
fn files(below: &[&str]) -> Vec<(String, String)> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let mut waiting: Vec<_> = below.iter().map(|path| root.join(path)).collect();
    let mut found = Vec::new();
    while let Some(path) = waiting.pop() {
        let name = path.file_name().and_then(|name| name.to_str()).unwrap_or_default();
        if ["target", ".git", "node_modules", ".venv"].contains(&name) {
            continue;
        }
        if path.is_dir() {
            let entries = std::fs::read_dir(&path).expect("the directory is readable");
            waiting.extend(entries.map(|entry| entry.expect("the entry is readable").path()));
        } else if let Ok(text) = std::fs::read_to_string(&path) {
            let path = path.strip_prefix(root).expect("below the root").to_string_lossy().replace('\\', "/");
            found.push((path, text));
        }
    }
    found.sort();
    found
}

fn sources() -> Vec<Source> {
    let rust = files(&["server", "tests", "build.rs"]).into_iter().filter(|(path, _)| path.ends_with(".rs"));
    rust.map(|(path, text)| Source::new(&path, &text)).collect()
}

fn check(rule: fn(&Source) -> Vec<String>) {
    let sources = sources();
    assert!(sources.len() > 20, "the tree was found");
    let found: Vec<_> = sources.iter().flat_map(rule).collect();
    assert!(found.is_empty(), "{} findings:\n{}", found.len(), found.join("\n"));
}

#[test]
fn modules_import_only_lower_layers() {
    check(direction);
}

#[test]
fn no_import_cycle_inside_module() {
    let found = cycles::cycles(&sources());
    assert!(found.is_empty(), "{} findings:\n{}", found.len(), found.join("\n"));
}

#[test]
fn words_stay_behind_their_fences() {
    check(restricted_identifiers);
}

#[test]
fn nothing_is_left_unfinished_and_no_test_sleeps() {
    check(forbidden);
}

#[test]
fn files_and_functions_stay_small() {
    check(sizes);
}

#[test]
fn modules_document_what_they_own() {
    check(module_docs);
}

#[test]
fn no_file_names_path_of_somebodys_machine() {
    for (path, text) in files(&["."]) {
        for machine in MACHINE_PATHS {
            assert!(!text.contains(machine), "{path} names {machine}");
        }
    }
}
