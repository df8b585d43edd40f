//! Each rule is broken here once, and kept where it is easily taken for broken.

use super::source::{Function, Source};
use super::*;

/// How many findings the rule has in a file of this path and content.
fn finds(rule: fn(&Source) -> Vec<String>, path: &str, text: &str, expected: usize) {
    let found = rule(&Source::new(path, text));
    assert_eq!(found.len(), expected, "{path}: {text}\n{found:?}");
}

#[test]
fn import_from_same_or_higher_layer_is_found() {
    finds(direction, "server/hub/ring.rs", "use crate::journal::Reader;", 0);
    finds(direction, "server/hub/ring.rs", "use crate::hub::Entry;", 0);
    finds(direction, "server/hub/ring.rs", "use crate::ingest::Account;", 1);
    finds(direction, "server/hub/ring.rs", "use crate::{model::{Key, Keys}, ingest::Account,\n grpc};", 2);
    finds(direction, "server/hub/ring.rs", "fn f() { crate::grpc::serve() }", 1);
    finds(direction, "server/journal/mod.rs", "use crate::upstream::Message;", 1);
    finds(direction, "server/simulator/mod.rs", "use crate::xapi::Problem;", 1);
    finds(direction, "server/simulator/mod.rs", "use crate::clock::Clock; use crate::task::Tasks;", 0);
    finds(direction, "server/hub/ring.rs", "// use crate::grpc;\nconst A: &str = \"crate::grpc\";", 0);
    finds(direction, "server/attic.rs", "", 1);
    finds(direction, "server/hub/ring.rs", "use super::super::grpc;", 1);
    finds(direction, "server/hub/mod.rs", "use super::grpc;", 1);
    finds(direction, "server/hub/ring.rs", "use super::Entry;", 0);
}

#[test]
fn restricted_identifier_is_reported() {
    for (text, expected) in [
        ("struct Post { id_str: String }", 1),
        ("let field = \"matching_rules\";", 1),
        ("// matching_rules", 0),
        ("let matching_rules_total = 1;", 0),
        ("use reqwest::Client;", 1),
        ("use hyper_util::client::legacy::Client;", 1),
        ("use hyper::client::conn::http1;", 1),
        ("use hyper_util::rt::TokioIo;", 0),
        ("use crate::proto::Event;", 1),
        ("use crate::{model::Key, proto::Event};", 1),
        ("return Err(Status::internal(text));", 1),
        ("let status: tonic::Status = made_elsewhere();", 0),
        ("fn f() -> anyhow::Result<()> { }", 1),
        ("tokio::spawn(run());", 1),
        ("std::thread::spawn(run);", 1),
        ("self.tasks.spawn(\"x\", run());", 0),
        ("let now = SystemTime::now();", 1),
        ("clock.timeout(limit, read).await", 0),
        ("std::env::var(name)", 1),
        ("eprintln!(\"so\");", 1),
        ("#[cfg(test)]\nmod tests {\n    fn f() { tokio::spawn(run()); }\n}\n", 0),
        ("#[cfg(test)]\nmod tests;\nfn f() { tokio::spawn(run()); }\n", 1),
    ] {
        finds(restricted_identifiers, "server/hub/ring.rs", text, expected);
    }
    finds(restricted_identifiers, "server/xapi/client.rs", "use hyper::client::conn::http1;", 0);
    finds(restricted_identifiers, "server/journal/conformance/mod.rs", "tokio::spawn(run());", 0);
    finds(restricted_identifiers, "server/hub/tests.rs", "tokio::spawn(run());", 0);
    finds(restricted_identifiers, "server/upstream/message.rs", "struct Post { id_str: String }", 0);
    finds(restricted_identifiers, "server/upstream/framing/mod.rs", "struct Post { id_str: String }", 1);
}

#[test]
fn unfinished_work_and_sleep_are_found() {
    for (text, expected) in [
        (concat!("fn f() { to", "do!() }"), 1),
        (concat!("// TO", "DO: later"), 1),
        (concat!("#[ig", "nore = \"slow\"] fn f() {}"), 1),
        (concat!("#[allow(dead", "_code)] fn f() {}"), 1),
        ("let xxx = \"todos\";", 0),
        ("#[cfg(test)] mod tests { fn f() { std::thread::sleep(d) } }", 1),
        ("tokio::time::sleep(d).await", 1),
        ("clock.sleep(d).await", 0),
    ] {
        finds(forbidden, "server/hub/ring.rs", text, expected);
    }
}

#[test]
fn oversized_and_undocumented_files_are_reported() {
    let lines = |count: usize| "    step();\n".repeat(count);
    finds(sizes, "server/hub/ring.rs", &format!("fn f() {{\n{}}}\n", lines(FUNCTION_LINES_MAX - 2)), 0);
    finds(sizes, "server/hub/ring.rs", &format!("fn f() {{\n{}}}\n", lines(FUNCTION_LINES_MAX - 1)), 1);
    finds(sizes, "server/hub/ring.rs", &"//\n".repeat(FILE_LINES_MAX + 1), 1);
    finds(module_docs, "server/hub/mod.rs", "//! hub\n", 1);
    finds(module_docs, "server/hub/cold/mod.rs", &"//! cold\n".repeat(FOLDER_DOC_LINES_MIN), 0);
    finds(module_docs, "server/hub/cold/mod.rs", "//! cold\n", 1);
    finds(module_docs, "server/hub/mod.rs", &"//! hub\n".repeat(MODULE_DOC_LINES_MIN), 0);
}

#[test]
fn scanner_separates_code_strings_and_comments() {
    let text = "/* a /* b */ c */ fn f<'a>(x: [u8; 3]) -> &'a str {\n let c = '{'; let d = '\\''; let s = \"}\\\"{\";\n \
                let r = r#\"fn g() { \"}\"#; let b = br\"{\"; // {\n}\nfn h(f: fn(u8));\n";
    let functions = Source::new("server/hub/ring.rs", text).functions();
    assert_eq!(functions, [Function { name: "f".into(), line: 1, lines: 4 }]);
}

/// Number of dependencies in cycles among these files.
fn cyclic(files: &[(&str, &str)]) -> usize {
    let sources: Vec<_> = files.iter().map(|(path, text)| Source::new(path, text)).collect();
    cycles::cycles(&sources).len()
}

#[test]
fn import_cycle_is_found_through_reexports() {
    let root = ("server/hub/mod.rs", "mod ring; mod entry;\npub use ring::Ring;");
    let ring = ("server/hub/ring.rs", "use super::entry::{self, Entry};\npub struct Ring(Entry);");
    assert_eq!(cyclic(&[root, ring, ("server/hub/entry.rs", "pub struct Entry;")]), 0);
    assert_eq!(cyclic(&[root, ring, ("server/hub/entry.rs", "pub struct Entry(super::Ring);")]), 2);
    assert_eq!(cyclic(&[root, ring, ("server/hub/entry.rs", "use crate::hub::{Ring as R};\npub struct Entry(R);")]), 2);
    assert_eq!(
        cyclic(&[root, ring, ("server/hub/entry.rs", "#[cfg(test)]\nmod tests {\n use super::super::Ring;\n}\n")]),
        0
    );
    let owner = ("server/hub/mod.rs", "mod ring; mod entry;\nstruct Hub(ring::Ring);");
    assert_eq!(cyclic(&[owner, ("server/hub/ring.rs", "use super::Hub;\npub struct Ring(Hub);")]), 2);
    assert_eq!(cyclic(&[owner, ("server/hub/ring.rs", "use super::*;\npub struct Ring;")]), 2);
}
