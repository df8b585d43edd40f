//! Upstream time of the records of a log whose clock was corrected.
//!
//! Owns: the table of corrections by first record, its file, and the search by time. Does not own: the stamps, which
//! never change (I7), or the clock.
//!
//! # Design
//!
//! A record keeps the time that the clock had when it was received. When the clock is corrected, the table records that
//! the stamps of this process are off by the same amount: [`ClockCorrections::translated`] returns the time by the
//! current clock. A correction that is undone cancels itself. Between two corrections stamps ascend, so the search goes
//! through pieces of the log and then bisects.
//!
//! Where stamps go back without a known correction (the wall clock was set between two processes), the piece is
//! *suspect*: the search begins at its start.
//!
//! Invariant: a search may return a record too early, never too late: no record received at or after the requested time
//! is skipped.

use std::path::{Path, PathBuf};

use parking_lot::Mutex;
use serde::{Deserialize, Serialize};

use crate::journal::{LogBounds, ReadError, Reader};
use crate::model::{Epoch, Sequence, UnixMillis};
use crate::state_file;

const VERSION: u32 = 1;
/// Maximum corrections of a log; each larger one required two answers that agreed.
const CHANGES_MAX: usize = 256;

/// Corrections of a log.
#[derive(Debug)]
pub struct ClockCorrections {
    /// First record that this process appends.
    run: Sequence,
    state: Mutex<State>,
}

#[derive(Debug, Default)]
struct State {
    file: Option<PathBuf>,
    changes: Vec<ClockCorrection>,
}

/// The records from `since` to before `first` are stamped this much too early. If `since` equals `first`, stamps may go
/// back at `first` by an unknown amount.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
struct ClockCorrection {
    since: Sequence,
    first: Sequence,
    by_ms: i64,
}

#[derive(Serialize, Deserialize)]
struct CorrectionsFile {
    version: u32,
    epoch: String,
    changes: Vec<ClockCorrection>,
}

impl ClockCorrections {
    /// Creates an empty table; this process appends from `run` on.
    pub fn new(run: Sequence) -> Self {
        Self { run, state: Mutex::default() }
    }

    /// Restores the corrections of this log from the file, and saves them there from now on.
    pub fn open(&self, file: PathBuf, epoch: Epoch) {
        let form =
            state_file::read(&file).ok().and_then(|bytes| serde_json::from_slice::<CorrectionsFile>(&bytes).ok());
        let form = form.filter(|form| form.version == VERSION && form.epoch == epoch.to_string());
        // Records after the end were lost, and their sequences are assigned again.
        let clamp = |change: ClockCorrection| ClockCorrection { first: change.first.min(self.run), ..change };
        let changes = form.map(|form| form.changes).unwrap_or_default().into_iter().map(clamp);
        let changes = changes.filter(|change| change.since <= change.first).collect();
        *self.state.lock() = State { file: Some(file), changes };
    }

    /// Records that from record `first` on the clock differs by this much, `None` if unknown. Returns false if that
    /// cannot be saved: then stamps must not go back.
    pub fn note(&self, reader: &dyn Reader, first: Sequence, by_ms: Option<i64>) -> bool {
        let mut state = self.state.lock();
        let earliest = reader.extent().earliest;
        state.changes.retain(|change| change.first > earliest);
        if state.changes.len() >= CHANGES_MAX {
            return false;
        }
        let since = by_ms.map_or(first, |_| self.run.min(first));
        state.changes.push(ClockCorrection { since, first, by_ms: by_ms.unwrap_or(0) });
        if let Some(file) = &state.file
            && let Err(error) = write(file, reader.epoch(), &state.changes)
        {
            tracing::error!(path = %file.display(), %error, "failed to write corrections of upstream time");
        }
        true
    }

    /// Returns the receive time of the record by the current clock.
    pub fn translated(&self, sequence: Sequence, received: UnixMillis) -> UnixMillis {
        received.shifted(shift(&self.state.lock().changes, sequence))
    }

    /// Returns the first record received at or after `time` by the current clock; `next` if there is none. Too early
    /// where that is uncertain, never too late.
    pub fn seek(&self, reader: &dyn Reader, time: UnixMillis) -> Result<Sequence, ReadError> {
        let changes = self.state.lock().changes.clone();
        let extent = reader.extent();
        let pieces = pieces(&changes, &extent);
        if pieces.len() <= 1 {
            let off = shift(&changes, extent.earliest);
            return reader.seek(time.shifted(off.saturating_neg()));
        }
        let at = |sequence| received(reader, &changes, sequence);
        let end = |number: usize| pieces.get(number + 1).copied().unwrap_or(extent.next);
        // Latest time known to have passed when a piece begins.
        let mut passed = i64::MIN;
        for (number, &start) in pieces.iter().enumerate() {
            let first = at(start)?;
            let suspect = first.0 < passed;
            let last = at(end(number) - 1)?;
            passed = passed.max(first.0).max(last.0);
            // Later records were received later, whatever their stamps.
            let next = match pieces.get(number + 1) {
                Some(next) => passed.max(at(*next)?.0),
                None => i64::MAX,
            };
            if next >= time.0 {
                return if suspect { Ok(start) } else { search(start, end(number), time, &at) };
            }
        }
        Ok(extent.next)
    }
}

/// Returns the first of these records received at or after `time`; `end` if there is none.
fn search(
    start: Sequence,
    end: Sequence,
    time: UnixMillis,
    at: &dyn Fn(Sequence) -> Result<UnixMillis, ReadError>,
) -> Result<Sequence, ReadError> {
    let (mut low, mut high) = (start, end);
    while low < high {
        let middle = low + (high - low) / 2;
        if at(middle)? >= time { high = middle } else { low = middle + 1 }
    }
    Ok(low)
}

/// Returns the receive time of a record by the current clock; for a damaged record, that of the next intact one.
fn received(reader: &dyn Reader, changes: &[ClockCorrection], sequence: Sequence) -> Result<UnixMillis, ReadError> {
    let received = match reader.received_at(sequence)? {
        Some(received) => received,
        None => return Ok(UnixMillis(i64::MAX)),
    };
    Ok(received.shifted(shift(changes, sequence)))
}

fn shift(changes: &[ClockCorrection], sequence: Sequence) -> i64 {
    let holds = |change: &&ClockCorrection| change.since <= sequence && sequence < change.first;
    changes.iter().filter(holds).fold(0, |sum, change| sum.saturating_add(change.by_ms))
}

/// Returns the starts of the pieces within which stamps ascend with equal offset.
fn pieces(changes: &[ClockCorrection], extent: &LogBounds) -> Vec<Sequence> {
    let borders = changes.iter().flat_map(|change| [change.since, change.first]);
    let inside = borders.filter(|border| extent.earliest < *border && *border < extent.next);
    let mut pieces: Vec<Sequence> = std::iter::once(extent.earliest).chain(inside).collect();
    pieces.retain(|start| *start < extent.next);
    pieces.sort_unstable();
    pieces.dedup();
    pieces
}

/// Writes the file atomically.
fn write(path: &Path, epoch: Epoch, changes: &[ClockCorrection]) -> std::io::Result<()> {
    let form = CorrectionsFile { version: VERSION, epoch: epoch.to_string(), changes: changes.to_vec() };
    state_file::write_atomic(path, &serde_json::to_vec(&form)?)
}

#[cfg(test)]
mod tests;
