//! Appends batches: encodes and compresses without a lock, writes with one call, then publishes to readers.

use std::io;
use std::os::unix::fs::MetadataExt;
use std::sync::Arc;
use std::sync::atomic::Ordering;

use super::files;
use super::identity::{LogIdentity, VERSION};
use super::shared::{SharedLog, TailState, Tip};
use crate::journal::block::{BlockEncoder, BlockHeader};
use crate::journal::disk::append_error;
use crate::journal::{AppendError, Durability, Writer, check_batch};
use crate::model::{Record, RecordBody, Sequence, Term};

/// zstd level of batches: the fastest regular one. Maintenance recompresses sealed segments.
const APPEND_LEVEL: i32 = 1;

pub(super) struct EmbeddedWriter {
    shared: Arc<SharedLog>,
    term: Term,
    /// True once the term is in the identity file.
    listed: bool,
    /// True once the term is visible to readers.
    shown: bool,
    /// True once the identity file has the version of a log with RULES records.
    has_rules_version: bool,
    encoder: BlockEncoder,
    segment_bytes_max: u64,
}

impl EmbeddedWriter {
    pub(super) fn new(shared: Arc<SharedLog>, term: Term) -> io::Result<Self> {
        let encoder = BlockEncoder::new(shared.epoch, APPEND_LEVEL)?;
        let segment_bytes_max = segment_bytes_max(&shared.config);
        Ok(Self { shared, term, listed: false, shown: false, has_rules_version: false, encoder, segment_bytes_max })
    }

    /// Adds the term to the identity file before its first record, so that every record has a known term.
    fn list_term(&mut self, first: Sequence) -> io::Result<()> {
        let mut identity = self.shared.identity.lock();
        if identity.terms.last().is_none_or(|last| last.term != self.term) {
            let mut listed = identity.clone();
            listed.list(self.term, first);
            listed.write(&*self.shared.disk, &self.shared.dir)?;
            *identity = listed;
        }
        self.listed = true;
        Ok(())
    }

    /// Raises the version of the log before its first RULES record.
    fn raise_version(&mut self) -> io::Result<()> {
        let mut identity = self.shared.identity.lock();
        if identity.version < VERSION {
            let raised = LogIdentity { version: VERSION, ..identity.clone() };
            raised.write(&*self.shared.disk, &self.shared.dir)?;
            *identity = raised;
        }
        self.has_rules_version = true;
        Ok(())
    }

    /// Makes a written block visible to readers.
    fn publish(&mut self, state: &mut TailState, header: BlockHeader) {
        let shared = &self.shared;
        let snapshot = shared.snapshot.load();
        if !std::mem::replace(&mut self.shown, true) {
            *shared.terms.write() = shared.identity.lock().terms.clone().into();
        }
        let offset = state.offset;
        state.offset += header.block_bytes();
        shared.appended_bytes.fetch_add(header.block_bytes(), Ordering::Relaxed);
        snapshot.tail.index.write().push(offset, header, self.encoder.rules(), &mut state.numbering);
        match shared.config.durability {
            Durability::Os => snapshot.tail.dirty.store(true, Ordering::Release),
            Durability::Sync => shared.synced.store(header.end(), Ordering::Release),
            Durability::Memory => {}
        }
        *shared.tip.lock() = Tip { next: header.end(), newest_received: Some(header.last_received) };
    }
}

/// Seals the active segment if it is full.
fn rotate_if_full(shared: &SharedLog, state: &mut TailState, segment_bytes_max: u64) -> io::Result<()> {
    let empty = shared.snapshot.load().tail.index.read().entries.is_empty();
    if state.offset < segment_bytes_max || empty {
        return Ok(());
    }
    shared.seal(state)?;
    if shared.config.durability == Durability::Sync { files::sync_dir(&shared.dir) } else { Ok(()) }
}

impl Writer for EmbeddedWriter {
    fn check(&self) -> Result<(), AppendError> {
        self.shared.check_gone().map_err(AppendError::Io)
    }

    fn append(&mut self, records: &[Record]) -> Result<(), AppendError> {
        let shared = self.shared.clone();
        let next = shared.tip.lock().next;
        check_batch(records, next, self.term);
        if records.is_empty() {
            return Ok(());
        }
        // Maintenance checks the directory's name once a second; an unlinked file is detected at once.
        if shared.snapshot.load().tail.file.metadata().is_ok_and(|tail| tail.nlink() == 0) {
            shared.check_dir().map_err(AppendError::Io)?;
        }
        self.check()?;
        if shared.full.load(Ordering::Relaxed) {
            return Err(AppendError::DiskFull);
        }
        if shared.sync_failed.load(Ordering::Acquire) {
            return Err(AppendError::Io(io::Error::other("sync failed and the segment is not rewritten yet")));
        }
        let refused = |error| shared.note_refusal(append_error(error));
        if !self.listed {
            self.list_term(next).map_err(refused)?;
        }
        if !self.has_rules_version && records.iter().any(|record| matches!(record.body, RecordBody::Rules(_))) {
            self.raise_version().map_err(refused)?;
        }
        self.encoder.clear();
        for record in records {
            self.encoder.push(record);
        }
        let (header, block) = self.encoder.finish().map_err(AppendError::Io)?;
        let mut state = shared.tail.lock();
        rotate_if_full(&shared, &mut state, self.segment_bytes_max).map_err(refused)?;
        write(&shared, &mut state, block).map_err(refused)?;
        self.publish(&mut state, header);
        Ok(())
    }
}

/// Writes a block at the end of the active segment; if that fails, the bytes are removed.
fn write(shared: &SharedLog, state: &mut TailState, block: &[u8]) -> io::Result<()> {
    let tail = shared.snapshot.load().tail.clone();
    if state.unclean {
        shared.disk.truncate(&tail.file, state.offset)?;
        state.unclean = false;
    }
    let mut written = shared.disk.write_at(&tail.file, block, state.offset);
    if written.is_ok() && shared.config.durability == Durability::Sync {
        written = shared.disk.sync(&tail.file);
        if let Err(error) = &written {
            shared.note_failed_sync(&tail, error);
        }
    }
    if written.is_err() {
        // If truncation fails too, appends are refused until it succeeds.
        state.unclean = shared.disk.truncate(&tail.file, state.offset).is_err();
    }
    written
}

/// Returns the segment size. Retention removes whole segments, so a small byte limit needs small segments.
fn segment_bytes_max(config: &crate::journal::Config) -> u64 {
    /// Minimum number of segments within the byte limit.
    const PARTS: u64 = 8;
    /// Smaller segments cost more than their records.
    const SEGMENT_BYTES_MIN: u64 = 64 << 10;
    match config.retention_bytes_max {
        0 => config.segment_bytes_max,
        bytes_max => config.segment_bytes_max.min((bytes_max / PARTS).max(SEGMENT_BYTES_MIN)),
    }
}
