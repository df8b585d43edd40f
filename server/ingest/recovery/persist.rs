//! The persisted job table: a small file, rewritten about once a second while it changes.

use std::path::Path;

use serde::{Deserialize, Serialize};

use super::JobsState;
use crate::model::AccountName;
use crate::state_file;

/// Version of the file format.
const VERSION: u32 = 1;

#[derive(Serialize, Deserialize)]
struct JobsFile {
    version: u32,
    jobs: JobsState,
}

/// Reads the file. If it is missing or unreadable, only progress is lost: missing ranges are planned again.
pub(super) fn read(path: &Path, account: &AccountName) -> JobsState {
    let bytes = match state_file::read(path) {
        Ok(bytes) => bytes,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return JobsState::default(),
        Err(error) => {
            tracing::error!(%account, path = %path.display(), %error, "failed to read recovery jobs, planning them again");
            return JobsState::default();
        }
    };
    match serde_json::from_slice::<JobsFile>(&bytes) {
        Ok(form) if form.version == VERSION => form.jobs,
        Ok(form) => {
            let version = form.version;
            tracing::error!(%account, path = %path.display(), version, "unsupported version of recovery jobs, planning them again");
            JobsState::default()
        }
        Err(error) => {
            tracing::error!(%account, path = %path.display(), %error, "file of recovery jobs is corrupt, planning them again");
            JobsState::default()
        }
    }
}

/// Reads the content of a file; `None` if it has another form.
pub(super) fn parse(bytes: &[u8]) -> Option<JobsState> {
    let form = serde_json::from_slice::<JobsFile>(bytes).ok()?;
    (form.version == VERSION).then_some(form.jobs)
}

/// Writes the file atomically: a reader finds the old one or the new one.
pub(super) fn write(path: &Path, jobs: &JobsState) -> std::io::Result<()> {
    state_file::write_atomic(path, &encode(jobs)?)
}

/// Returns the content of the file.
pub(super) fn encode(jobs: &JobsState) -> std::io::Result<Vec<u8>> {
    Ok(serde_json::to_vec(&JobsFile { version: VERSION, jobs: jobs.clone() })?)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ingest::recovery::JobTable;
    use crate::model::{TimeRange, UnixMillis};

    #[test]
    fn corrupt_file_is_replaced() {
        let dir = tempfile::tempdir().expect("a directory");
        let (path, account) = (dir.path().join("jobs.json"), AccountName::new("main").expect("a name"));
        assert_eq!(read(&path, &account), JobsState::default());
        let mut book = JobTable::default();
        book.create(TimeRange::new(UnixMillis(60_000), UnixMillis(120_000)), UnixMillis(180_000));
        let jobs = book.snapshot();
        write(&path, &jobs).expect("written");
        assert_eq!(read(&path, &account), jobs);
        for damage in ["", "{", r#"{"version":2,"jobs":{"last":7,"jobs":[],"declined":[]}}"#] {
            std::fs::write(&path, damage).expect("written");
            assert_eq!(read(&path, &account), JobsState::default(), "{damage}");
        }
    }
}
