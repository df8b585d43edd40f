//! Audit file of rules: one JSON line for each change and each request, rotated.

use std::io::{self, Seek, SeekFrom, Write};
use std::path::{Path, PathBuf};

use parking_lot::Mutex;
use serde::Serialize;

use super::planner::Plan;
use crate::state_file;

/// A line of the audit file.
#[derive(Debug, Serialize)]
#[serde(tag = "event", rename_all = "snake_case")]
pub enum AuditLine<'a> {
    /// A change of a set was accepted or refused.
    Change {
        /// Caller: principal, or `file`.
        principal: &'a str,
        /// Set.
        set: &'a str,
        /// Rules of the set after the change.
        rules: usize,
        /// What it does; absent if it was refused before it was planned.
        #[serde(skip_serializing_if = "Option::is_none")]
        plan: Option<PlanSummary>,
        /// Options that widen what the change may do.
        force: bool,
        /// Uses the reserve.
        use_reserve: bool,
        /// Operation that makes the requests, if there is one.
        #[serde(skip_serializing_if = "Option::is_none")]
        operation: Option<u64>,
        /// Why it was refused; empty if it was not.
        #[serde(skip_serializing_if = "str::is_empty")]
        refused: &'a str,
    },
    /// A caller did something else: cancelled an operation, had the rules read, replaced the state.
    Call {
        /// Caller.
        principal: &'a str,
        /// Method.
        method: &'a str,
        /// What it was about.
        subject: &'a str,
    },
    /// A request to X has ended.
    Request {
        /// Operation, if it is part of one.
        #[serde(skip_serializing_if = "Option::is_none")]
        operation: Option<u64>,
        /// HTTP method.
        method: &'a str,
        /// Rules in it.
        rules: usize,
        /// HTTP status; 0 without an answer.
        status: u16,
        /// X's transaction id; empty if it sent none.
        transaction: &'a str,
        /// Duration.
        duration_ms: u64,
        /// Outcome, as in the metric.
        outcome: &'a str,
        /// X's words, if it refused something.
        #[serde(skip_serializing_if = "str::is_empty")]
        detail: &'a str,
    },
}

/// Numbers of a plan.
#[derive(Clone, Copy, Debug, Serialize)]
pub struct PlanSummary {
    adds: usize,
    deletes: usize,
    retags: usize,
    kept: usize,
    requests: usize,
}

impl PlanSummary {
    /// Returns the numbers of a plan.
    pub fn of(plan: &Plan) -> Self {
        let Plan { adds, deletes, retags, kept, requests, .. } = *plan;
        Self { adds, deletes, retags, kept, requests }
    }
}

/// The audit file of an account. Without a path nothing is written.
pub struct AuditFile {
    path: Option<PathBuf>,
    bytes_max: u64,
    files_max: usize,
    /// Serializes writers.
    writing: Mutex<()>,
}

#[derive(Serialize)]
struct Stamped<'a> {
    time_ms: i64,
    #[serde(flatten)]
    line: &'a AuditLine<'a>,
}

impl AuditFile {
    /// Writes to this path; a file that would grow beyond `bytes_max` is renamed to `.1`, and so on up to `.files_max`.
    pub fn new(path: Option<PathBuf>, bytes_max: u64, files_max: usize) -> Self {
        Self { path, bytes_max, files_max, writing: Mutex::new(()) }
    }

    /// Appends a line. Blocks on the disk.
    pub fn append(&self, time_ms: i64, line: &AuditLine<'_>) -> io::Result<()> {
        let Some(path) = &self.path else { return Ok(()) };
        let mut bytes = serde_json::to_vec(&Stamped { time_ms, line })?;
        bytes.push(b'\n');
        let _writing = self.writing.lock();
        let mut file = state_file::open_or_create(path)?;
        let mut size = file.seek(SeekFrom::End(0))?;
        if size > 0 && size + bytes.len() as u64 > self.bytes_max {
            self.rotate(path)?;
            file = state_file::open_or_create(path)?;
            size = file.seek(SeekFrom::End(0))?;
        }
        if let Err(error) = file.write_all(&bytes) {
            // Half a line would damage the next one.
            let _ = file.set_len(size);
            return Err(error);
        }
        Ok(())
    }

    fn rotate(&self, path: &Path) -> io::Result<()> {
        let numbered = |n: usize| {
            let mut name = path.as_os_str().to_owned();
            name.push(format!(".{n}"));
            PathBuf::from(name)
        };
        for n in (1..self.files_max).rev() {
            match std::fs::rename(numbered(n), numbered(n + 1)) {
                Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
                _ => {}
            }
        }
        if self.files_max == 0 { std::fs::remove_file(path) } else { std::fs::rename(path, numbered(1)) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn call(subject: &str) -> AuditLine<'_> {
        AuditLine::Call { principal: "ops", method: "RefreshRules", subject }
    }

    #[test]
    fn file_is_rotated_by_size() {
        let dir = tempfile::tempdir().expect("a directory");
        let path = dir.path().join("main.audit.jsonl");
        let audit = AuditFile::new(Some(path.clone()), 200, 2);
        for n in 0..20 {
            audit.append(n, &call("x")).expect("written");
        }
        let mut names: Vec<_> =
            std::fs::read_dir(dir.path()).expect("there").flatten().map(|one| one.file_name()).collect();
        names.sort();
        assert_eq!(names, ["main.audit.jsonl", "main.audit.jsonl.1", "main.audit.jsonl.2"]);
        let mut times = Vec::new();
        for name in ["main.audit.jsonl.2", "main.audit.jsonl.1", "main.audit.jsonl"] {
            let text = std::fs::read_to_string(dir.path().join(name)).expect("there");
            assert!(text.len() <= 200, "{text}");
            for line in text.lines() {
                let line: serde_json::Value = serde_json::from_str(line).expect("a line is a document");
                assert_eq!((&line["event"], &line["principal"]), (&"call".into(), &"ops".into()));
                times.push(line["time_ms"].as_i64().expect("a time"));
            }
        }
        assert!(times.is_sorted() && times.last() == Some(&19), "{times:?}");
    }

    #[test]
    fn symlink_is_not_followed() {
        let dir = tempfile::tempdir().expect("a directory");
        let (path, target) = (dir.path().join("a.jsonl"), dir.path().join("target"));
        std::fs::write(&target, "").expect("ours");
        std::os::unix::fs::symlink(&target, &path).expect("ours");
        assert!(AuditFile::new(Some(path), 200, 2).append(0, &call("x")).is_err());
        assert_eq!(std::fs::read_to_string(&target).expect("there"), "");
    }
}
