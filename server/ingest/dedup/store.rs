use std::fs::{self, DirBuilder, File};
use std::io::{self, BufWriter, Write};
use std::os::unix::fs::DirBuilderExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use super::DedupError;
use super::block::IdEntry;
use super::id_file::{IdFile, IdFileSource};
use super::id_file_writer::IdFileWriter;
use super::trailer::IdCoverage;
use crate::model::{Epoch, Sequence, UnixMillis};
use crate::state_file::{self, Replacement};

/// Storage of id files.
///
/// A file is named `first-last-serial.ids`. No name is reused: removal of a replaced file must not remove its
/// replacement of the same coverage. The suffix becomes `.stale` when the log has another epoch, and `.damaged` when
/// the file is quarantined; `.tmp` is left by a crash.
pub(super) enum Store {
    Folder {
        dir: PathBuf,
        /// Serial number of the last written file.
        serial: AtomicU64,
    },
    Memory,
}

/// Files found at open.
#[derive(Default)]
pub(super) struct LoadedFiles {
    pub(super) files: Vec<Arc<IdFile>>,
    /// First sequences of quarantined files that are not rebuilt yet.
    pub(super) lost: Vec<Sequence>,
    /// Number of files of another epoch.
    pub(super) stale: u64,
}

impl Store {
    pub(super) fn open(dir: Option<&Path>) -> Result<Self, DedupError> {
        let Some(dir) = dir else { return Ok(Self::Memory) };
        DirBuilder::new().recursive(true).mode(0o700).create(dir).map_err(|source| io_error(dir, source))?;
        Ok(Self::Folder { dir: dir.to_owned(), serial: AtomicU64::new(0) })
    }

    /// Loads the files of this epoch, and removes leftovers of a crash and files older than `expired`.
    pub(super) fn load(&self, epoch: Epoch, expired: UnixMillis) -> Result<LoadedFiles, DedupError> {
        let Self::Folder { dir, serial } = self else { return Ok(LoadedFiles::default()) };
        let mut found = LoadedFiles::default();
        let mut damaged = Vec::new();
        for path in listing(dir)? {
            serial.fetch_max(numbers(&path)[2], Ordering::Relaxed);
            match path.extension().and_then(|extension| extension.to_str()) {
                Some("ids") => {
                    let file = IdFile::open(&path)?;
                    if file.trailer().coverage.epoch == epoch {
                        found.files.push(Arc::new(file));
                    } else {
                        found.stale += 1;
                        rename(&path, &path.with_extension("stale"))?;
                    }
                }
                Some("tmp") => remove(&path)?,
                Some("stale") => remove_if_expired(&path, expired)?,
                Some("damaged") => damaged.push(path),
                _ => {}
            }
        }
        self.drop_contained(&mut found.files)?;
        found.lost = still_lost(&found.files, damaged)?;
        sync_folder(dir)?;
        Ok(found)
    }

    /// Writes a file atomically.
    pub(super) fn write(
        &self,
        coverage: IdCoverage,
        entries: impl Iterator<Item = Result<IdEntry, DedupError>>,
    ) -> Result<IdFile, DedupError> {
        let Self::Folder { dir, serial } = self else {
            let bytes = fill(Vec::new(), Path::new("(memory)"), coverage, entries)?;
            return IdFile::load(IdFileSource::Memory(bytes));
        };
        let IdCoverage { first, last, .. } = coverage;
        let number = serial.fetch_add(1, Ordering::Relaxed) + 1;
        let path = dir.join(format!("{first:020}-{last:020}-{number:010}.ids"));
        let failed = |source| io_error(&path, source);
        let replacement = Replacement::new(&path).map_err(failed)?;
        let out = fill(BufWriter::with_capacity(256 << 10, &replacement.file), &path, coverage, entries)?;
        out.into_inner().map_err(|error| failed(error.into_error()))?;
        replacement.finish(File::sync_all).map_err(failed)?;
        IdFile::open(&path)
    }

    /// Removes a file; readers with an open handle continue.
    pub(super) fn remove(&self, file: &IdFile) -> Result<(), DedupError> {
        match file.source() {
            IdFileSource::Disk(path, _) => remove(path),
            IdFileSource::Memory(_) => Ok(()),
        }
    }

    /// Quarantines a file, so that the next start stages its records again.
    pub(super) fn quarantine(&self, file: &IdFile) -> Result<(), DedupError> {
        match file.source() {
            // It may be renamed already: it stays in the index, and the next lookup meets it again.
            IdFileSource::Disk(path, _) if path.exists() => quarantine(path),
            IdFileSource::Disk(..) => Ok(()),
            IdFileSource::Memory(_) => Ok(()),
        }
    }

    /// Removes the inputs of a compaction whose removal was interrupted by a crash.
    fn drop_contained(&self, files: &mut Vec<Arc<IdFile>>) -> Result<(), DedupError> {
        let all: Vec<IdCoverage> = files.iter().map(|file| file.trailer().coverage).collect();
        for at in (0..files.len()).rev() {
            let inner = all[at];
            let contains = |(place, outer): (usize, &IdCoverage)| {
                let wider = (outer.first, outer.last) != (inner.first, inner.last) || place > at;
                wider && outer.first <= inner.first && outer.last >= inner.last && outer.complete >= inner.last
            };
            // An incomplete file may contain ids whose records are trimmed: it stays until it expires.
            if inner.complete >= inner.last && all.iter().enumerate().any(contains) {
                self.remove(&files.remove(at))?;
            }
        }
        Ok(())
    }
}

/// Quarantines a damaged file, so that the others can be opened. Its ids are lost until the journal has been staged
/// again from its first sequence on: `DedupWriter::covered` accounts for it.
pub fn quarantine(path: &Path) -> Result<(), DedupError> {
    rename(path, &path.with_extension("damaged"))
}

/// Returns the sequence up to which all records are in files, if those from `lost` are missing: later ones must be
/// staged again.
pub(super) fn covered(files: impl Iterator<Item = IdCoverage>, lost: &[Sequence]) -> Sequence {
    let mut files: Vec<IdCoverage> = files.collect();
    files.sort_unstable_by_key(|file| file.first);
    let first = files.first().map(|file| file.first).into_iter().chain(lost.iter().copied()).min();
    let mut reached = first.unwrap_or(1).saturating_sub(1);
    for file in files {
        if file.first <= reached.saturating_add(1) {
            reached = reached.max(file.complete);
        }
    }
    reached
}

/// Returns the quarantined files whose range is not covered by others yet.
fn still_lost(files: &[Arc<IdFile>], damaged: Vec<PathBuf>) -> Result<Vec<Sequence>, DedupError> {
    let mut lost = Vec::new();
    for path in damaged {
        let [first, last, _] = numbers(&path);
        let others = files.iter().map(|file| file.trailer().coverage).filter(|file| file.last >= first);
        if covered(others, &[first]) >= last {
            remove(&path)?;
        } else {
            lost.push(first);
        }
    }
    Ok(lost)
}

/// Parses first sequence, last sequence and serial from a file name; zeros if it has none.
fn numbers(path: &Path) -> [u64; 3] {
    let name = path.file_stem().and_then(|name| name.to_str()).unwrap_or_default();
    let mut numbers = name.split('-').map(|number| number.parse().unwrap_or(0));
    std::array::from_fn(|_| numbers.next().unwrap_or(0))
}

fn fill<W: Write>(
    out: W,
    path: &Path,
    coverage: IdCoverage,
    entries: impl Iterator<Item = Result<IdEntry, DedupError>>,
) -> Result<W, DedupError> {
    let failed = |source| io_error(path, source);
    let mut writer = IdFileWriter::new(out).map_err(failed)?;
    for entry in entries {
        writer.push(&entry?).map_err(failed)?;
    }
    writer.finish(coverage).map_err(failed)
}

fn remove_if_expired(path: &Path, expired: UnixMillis) -> Result<(), DedupError> {
    match IdFile::open(path) {
        Ok(file) if file.trailer().coverage.received_max < expired => remove(path),
        Ok(_) => Ok(()),
        Err(error) => {
            tracing::warn!(path = %path.display(), %error, "failed to read age of stale id file, keeping it");
            Ok(())
        }
    }
}

fn listing(dir: &Path) -> Result<Vec<PathBuf>, DedupError> {
    let entries =
        fs::read_dir(dir).and_then(|entries| entries.map(|entry| Ok(entry?.path())).collect::<io::Result<Vec<_>>>());
    let mut paths = entries.map_err(|source| io_error(dir, source))?;
    paths.sort();
    Ok(paths)
}

fn rename(from: &Path, to: &Path) -> Result<(), DedupError> {
    fs::rename(from, to).map_err(|source| io_error(from, source))
}

fn remove(path: &Path) -> Result<(), DedupError> {
    fs::remove_file(path).map_err(|source| io_error(path, source))
}

fn sync_folder(dir: &Path) -> Result<(), DedupError> {
    state_file::sync_dir(dir).map_err(|source| io_error(dir, source))
}

fn io_error(path: &Path, source: io::Error) -> DedupError {
    DedupError::Io { path: path.to_owned(), source }
}
