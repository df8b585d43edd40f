//! Standard terms in code and prose: no word of [`TERMS`] in names, comments, strings, protos or pages.
//! `EXCEPTIONS` lists what stays, with its reason.

use std::collections::HashMap;

use super::files;

/// Words to replace, in one row the inflections of one verb or noun, and what to write instead.
/// A word of several parts matches across spaces, underscores, line breaks and comment markers.
const TERMS: &[(&[&str], &str)] = &[
    (&["tell", "tells", "telling", "told", "untold"], "report, send, announce, return, log"),
    (&["say", "says", "saying", "said", "unsaid"], "report, state, contain, return"),
    (&["bring", "brings", "bringing", "brought"], "recover, fetch, deliver, move"),
    (&["who", "whoever", "whom"], "the noun: the session, the caller, the operator"),
    (&["nobody", "somebody", "anybody", "everybody"], "the noun: no session, any caller, all clients"),
    (&["those that", "those who"], "the noun: sessions that, records that"),
    (&["beside", "besides"], "in addition to, next to, in parallel with, counterpart"),
    (&["stands at", "stand at", "stood at"], "is at"),
    (&["by hand"], "manual, manually"),
    (&["anew"], "again, from scratch; recreate, reset"),
    (&["rubbish"], "malformed input, arbitrary bytes"),
    (&["judge", "judges", "judged", "judging", "judgement"], "classify, decide, check"),
    (&["verdict", "verdicts"], "decision, classification, result"),
    (&["apart"], "dedicated, separate, except; or the distance"),
    (&["guest", "guests"], "session"),
    (&["seat", "seats"], "waiter, slot"),
    (&["ticket", "tickets"], "waiter, registration"),
    (&["lineage", "lineages"], "subscription"),
    (&["hole", "holes"], "gap, missing range"),
    (&["horizon", "horizons"], "deduplication window"),
    (&["upkeep", "chore", "chores"], "maintenance"),
    (&["farewell"], "drain, shutdown"),
    (&["examiner", "examined"], "simulator, system under test"),
    (&["lack", "lacks", "lacked", "lacking"], "missing, without, has no; missing range"),
    (&["slack"], "allowed lateness, margin"),
    (&["stretch", "stretches"], "range, period, encoded batch"),
    (&["lane", "lanes"], "feed"),
    (&["hear", "hears", "heard"], "receive, read"),
    (&["fate", "fates"], "outcome, result, state"),
    (&["owe", "owes", "owed"], "pending, due, missing"),
    (&["comes back", "came back", "come back"], "reconnects, returns, is available again"),
    (&["goes on", "go on", "going on", "went on"], "continues, proceeds"),
    (&["in vain"], "without effect, unsuccessfully"),
    (&["holds up", "hold up", "held up", "holding up"], "blocks, stalls, delays"),
    (&["the way in"], "ingest, the ingest path"),
    (&["taken up again", "takes up again", "take up again"], "resumed, restored"),
];

/// Findings that stay: start of a path, a part of the line, reason.
const EXCEPTIONS: &[(&str, &str, &str)] = &[
    ("tests/it/architecture/language.rs", "", "defines the words"),
    ("server/tls/load.rs", "send_tls13_tickets", "name of rustls"),
    ("server/ingest/gap_tracker/persist.rs", "rename = ", "name in state files"),
    ("server/ingest/gap_tracker/state_machine.rs", "rename = ", "name in state files"),
    ("server/ingest/gap_tracker/tests/redundant.rs", "\"told\": ", "name in state files"),
    ("server/ingest/gap_tracker/tests/redundant.rs", "\"hole\": ", "name in state files"),
    ("server/ingest/gap_tracker/tests/redundant.rs", "\"lanes\": ", "name in state files"),
    ("server/ingest/recovery/job.rs", "rename = ", "name in state files"),
    ("server/ingest/recovery/job_table/tests/persisted.rs", "\"brought\"", "name in state files"),
    ("server/ingest/sequencer/tests.rs", "\"fate\"", "name in state files"),
    ("server/hub/side_log/requested/", "fate\"", "name in state files"),
    ("README.md", "& nobody", "text of a post"),
    ("", "WhoAmI", "name of an RPC"),
    ("", "who_am_i", "name of an RPC"),
    ("server/rules/observer/", "verdict", "name of a metric label"),
    ("docs/", "rule_calibration_total", "name of a metric label"),
];

const EXTENSIONS: &[&str] = &["rs", "md", "proto", "go", "java", "ts", "py", "yaml"];
/// Generated sources and pages (their texts are checked in the sources), and copies of foreign protos.
const GENERATED: &[&str] = &[
    "/gen/",
    "/dist/",
    "/src/powerstream/",
    "/proto/google/",
    "docs/log-messages.md",
    "docs/configuration.md",
    "docs/config.example.yaml",
];

struct Finding {
    line: usize,
    word: &'static str,
    instead: &'static str,
}

/// Words of `text` in lower case with their offsets. Names are split at underscores and capital letters.
fn split(text: &str) -> Vec<(usize, String)> {
    let bytes = text.as_bytes();
    let mut found = Vec::new();
    let mut at = 0;
    while at < bytes.len() {
        let start = at;
        while at < bytes.len() && bytes[at].is_ascii_uppercase() {
            at += 1;
        }
        // `HTTPServer` is `http` and `server`.
        if at > start + 1 && bytes.get(at).is_some_and(u8::is_ascii_lowercase) {
            at -= 1;
        } else {
            while at < bytes.len() && bytes[at].is_ascii_lowercase() {
                at += 1;
            }
        }
        if at == start {
            at += 1;
        } else {
            found.push((start, text[start..at].to_ascii_lowercase()));
        }
    }
    found
}

/// True if only white space, underscores and comment markers are between two words of one term.
fn is_joint(between: &str) -> bool {
    between.chars().all(|c| c.is_whitespace() || "_/!*#>".contains(c))
}

/// The words of a term, the term, and its replacement.
type Term = (Vec<&'static str>, &'static str, &'static str);

/// Terms by their first word.
fn index() -> HashMap<&'static str, Vec<Term>> {
    let mut index: HashMap<_, Vec<_>> = HashMap::new();
    for (terms, instead) in TERMS {
        for term in *terms {
            let parts: Vec<_> = term.split(' ').collect();
            index.entry(parts[0]).or_default().push((parts, *term, *instead));
        }
    }
    index
}

fn findings(path: &str, text: &str) -> Vec<Finding> {
    let index = index();
    let words = split(text);
    let lines: Vec<_> = text.lines().collect();
    let mut found = Vec::new();
    let (mut line, mut counted) = (0, 0);
    for (at, (offset, word)) in words.iter().enumerate() {
        let Some(terms) = index.get(word.as_str()) else { continue };
        let is_here = |parts: &[&str]| {
            words.len() >= at + parts.len()
                && words[at..].iter().zip(parts).all(|((_, word), part)| word == part)
                && words[at..at + parts.len()]
                    .windows(2)
                    .all(|pair| is_joint(&text[pair[0].0 + pair[0].1.len()..pair[1].0]))
        };
        line += text[counted..*offset].matches('\n').count();
        counted = *offset;
        let Some((_, term, instead)) = terms.iter().find(|(parts, ..)| is_here(parts)) else { continue };
        let is_exempt = |(place, part, _): &(&str, &str, &str)| path.starts_with(place) && lines[line].contains(part);
        if !EXCEPTIONS.iter().any(is_exempt) {
            found.push(Finding { line: line + 1, word: term, instead });
        }
    }
    found
}

#[test]
fn words_are_standard_terms() {
    let mut found = Vec::new();
    for (path, text) in files(&["."]) {
        let is_source = path.rsplit_once('.').is_some_and(|(_, extension)| EXTENSIONS.contains(&extension));
        if !is_source || GENERATED.iter().any(|part| path.contains(part)) {
            continue;
        }
        let findings = findings(&path, &text);
        found.extend(findings.iter().map(|own| format!("{path}:{}: {}: write {}", own.line, own.word, own.instead)));
    }
    assert!(found.is_empty(), "{} words:\n{}", found.len(), found.join("\n"));
}

#[test]
fn planted_words_are_found() {
    for (text, expected) in [
        ("/// The hub told the session.", "told"),
        ("let toldOnce = 1;", "told"),
        ("struct WasTold;", "told"),
        ("const HTTP_TOLD: u8 = 1;", "told"),
        ("fn told_twice() {}", "told"),
        ("\"nobody\"", "nobody"),
        ("// a job made by\n    // hand", "by hand"),
        ("fn job_by_hand()", "by hand"),
        ("/// Sessions and those\n/// that wait", "those that"),
    ] {
        let found = findings("server/hub/ring.rs", text);
        assert_eq!(found.iter().map(|found| found.word).collect::<Vec<_>>(), [expected], "{text}");
        assert_eq!(found[0].line, 1, "{text}");
        assert!(!found[0].instead.is_empty());
    }
    for text in ["let whole = 1;", "by. hand", "intelligent", "those (that)", "apartment"] {
        assert!(findings("server/hub/ring.rs", text).is_empty(), "{text}");
    }
}
