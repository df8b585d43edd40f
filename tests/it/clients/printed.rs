//! What an example prints, and whether it is what upstream sent.

use std::collections::{HashMap, HashSet};
use std::fs::File;
use std::io::{Read, Seek, SeekFrom};
use std::path::PathBuf;

use powerstream_gateway::proto::TagFilter;
use powerstream_gateway::simulator::SentPost;
use serde::Deserialize;

use crate::harness::ground_truth::expected;

/// The keys of a line, in their order.
const KEYS: [&str; 9] =
    ["sequence", "post_id", "tags", "event_time_ms", "origin", "gap_id", "delta", "possible_duplicate", "json"];

/// One event, as printed on a line.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Line {
    /// Text, as all 64-bit numbers.
    sequence: String,
    post_id: String,
    /// Tags of the rules that matched.
    pub tags: Vec<String>,
    event_time_ms: String,
    /// How the post came.
    pub origin: String,
    /// The gap that it closes a part of.
    pub gap_id: String,
    /// True for a post that was logged before.
    pub delta: bool,
    /// True for what may be a repeat.
    pub possible_duplicate: bool,
    /// The payload.
    pub json: String,
}

impl Line {
    fn read(text: &str) -> Self {
        let line: Self = serde_json::from_str(text).unwrap_or_else(|error| panic!("{error}: {text}"));
        let mut rest = text;
        for (number, key) in KEYS.iter().enumerate() {
            let start = format!("{}\"{key}\":", if number == 0 { "{" } else { "," });
            let at = rest.find(&start).unwrap_or_else(|| panic!("{key} is not at its place: {text}"));
            rest = &rest[at + start.len()..];
        }
        line
    }

    /// Its number in the log.
    pub fn sequence(&self) -> u64 {
        self.sequence.parse().expect("a number")
    }

    /// The post.
    pub fn post_id(&self) -> u64 {
        self.post_id.parse().expect("a number")
    }

    /// When the post was created.
    pub fn event_time_ms(&self) -> i64 {
        self.event_time_ms.parse().expect("a number")
    }
}

/// What one life of an example prints.
pub struct Printed {
    stdout: PathBuf,
    stderr: PathBuf,
    /// Bytes of stdout that are read.
    read: u64,
    /// The beginning of a line that is not whole.
    rest: Vec<u8>,
    lines: Vec<Line>,
    /// It may end within a line.
    pub killed: bool,
}

impl Printed {
    /// Into these files.
    pub fn new(stdout: PathBuf, stderr: PathBuf) -> Self {
        Self { stdout, stderr, read: 0, rest: Vec::new(), lines: Vec::new(), killed: false }
    }

    /// All of stderr.
    pub fn stderr(&self) -> String {
        std::fs::read_to_string(&self.stderr).expect("it is UTF-8")
    }

    /// All whole lines that are printed by now.
    pub fn lines(&mut self) -> &[Line] {
        if let Ok(mut file) = File::open(&self.stdout) {
            file.seek(SeekFrom::Start(self.read)).expect("it is a file");
            self.read += file.read_to_end(&mut self.rest).expect("it is readable") as u64;
        }
        if let Some(end) = self.rest.iter().rposition(|byte| *byte == b'\n') {
            let whole = self.rest.drain(..=end).collect();
            let whole = String::from_utf8(whole).expect("it is UTF-8");
            self.lines.extend(whole.lines().map(Line::read));
        }
        &self.lines
    }

    /// The lines, once it has ended: only a kill may leave a part of one.
    pub fn all_lines(&mut self) -> &[Line] {
        self.lines();
        assert!(self.killed || self.rest.is_empty(), "it ended within a line");
        &self.lines
    }
}

/// Waits are for this: true if all posts of the truth that match were printed.
pub fn is_whole(lives: &mut [Printed], truth: &[SentPost], filter: &TagFilter) -> bool {
    let printed: HashSet<_> = lives.iter_mut().flat_map(|life| life.lines()).map(Line::post_id).collect();
    expected(truth, filter).iter().all(|post| printed.contains(&post.post_id.0))
}

/// What was printed, put together, is the truth: nothing missing, nothing foreign, and nothing twice but what a life
/// printed after the token that was stored last (`stored`: where each life found the token when it began).
pub fn assert_printed(label: &str, lives: &mut [Printed], stored: &[u64], truth: &[SentPost], filter: &TagFilter) {
    assert_eq!(lives.len(), stored.len(), "{label}: each life began somewhere");
    let wanted: HashMap<_, _> = expected(truth, filter).into_iter().map(|post| (post.post_id.0, post)).collect();
    let mut printed = HashSet::new();
    for (life, stored) in lives.iter_mut().zip(stored) {
        let mut last = *stored;
        for line in life.lines() {
            assert!(line.sequence() > last, "{label}: {} after {last}, begun after {stored}", line.sequence());
            last = line.sequence();
            let post = wanted.get(&line.post_id());
            assert_is(label, line, post.unwrap_or_else(|| panic!("{label}: no post was sent for {line:?}")));
            printed.insert(line.post_id());
        }
    }
    let missing: Vec<_> = wanted.keys().filter(|id| !printed.contains(id)).collect();
    assert!(missing.is_empty(), "{label}: {} of {} are missing, such as {:?}", missing.len(), wanted.len(), missing[0]);
}

/// Asserts that the line is this post.
pub fn assert_is(label: &str, line: &Line, post: &SentPost) {
    assert_eq!(line.json.as_bytes(), post.json, "{label}: the payload is another");
    let tags: HashSet<_> = post.rules.iter().filter_map(|rule| rule.tag.as_deref()).collect();
    assert_eq!(tags, line.tags.iter().map(String::as_str).collect(), "{label}: it has other tags");
    assert!(!line.delta && !line.possible_duplicate, "{label}: {line:?}");
    assert!((line.event_time_ms() - post.created.0).abs() < 1_000, "{label}: {line:?} was created at {}", post.created);
}
