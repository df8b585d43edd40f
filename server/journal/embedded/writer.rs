//! Appends batches: encodes and compresses without a lock, writes with one call, then publishes to readers. Appends blocks
//! of another log the same way, without encoding them.

use std::io;
use std::os::unix::fs::MetadataExt;
use std::sync::Arc;
use std::sync::atomic::Ordering;

use super::files;
use super::identity::{LogIdentity, VERSION};
use super::shared::{SharedLog, TailState, Tip};
use crate::journal::block::{APPEND_LEVEL, BlockEncoder, EncodedBlock};
use crate::journal::continuation::LogEnd;
use crate::journal::disk::append_error;
use crate::journal::traits::check_new_term;
use crate::journal::{AppendError, Block, Discontinuity, Durability, Writer, check_batch};
use crate::model::{Record, RecordBody, Sequence, Term, TermStart};
use crate::telemetry::stages::{Stage, StageStamp};

pub(super) struct EmbeddedWriter {
    shared: Arc<SharedLog>,
    /// Term of this writer's records; `None` after a block of another term.
    own: Option<Term>,
    /// Term of the newest record, if readers see it and nothing was listed after it.
    current: Option<Term>,
    /// True once the identity file has the version of a log with RULES records.
    has_rules_version: bool,
    encoder: BlockEncoder,
    segment_bytes_max: u64,
}

impl EmbeddedWriter {
    pub(super) fn new(shared: Arc<SharedLog>, term: Term) -> io::Result<Self> {
        let encoder = BlockEncoder::new(shared.epoch, APPEND_LEVEL)?;
        let segment_bytes_max = segment_bytes_max(&shared.config);
        Ok(Self { shared, own: Some(term), current: None, has_rules_version: false, encoder, segment_bytes_max })
    }

    fn own(&self) -> Term {
        self.own.expect("a writer appends records only in a term of its own")
    }

    /// Returns an error if nothing can be appended now.
    fn check_ready(&self) -> Result<(), AppendError> {
        let shared = &self.shared;
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
        Ok(())
    }

    /// Adds the writer's term to the identity file before its first record, so that every record has a known term.
    fn list_term(&self, term: Term, first: Sequence) -> io::Result<()> {
        self.change_identity(|identity| {
            let is_listed = identity.terms.last().is_some_and(|last| last.term == term);
            (!is_listed).then(|| {
                let mut listed = identity.clone();
                listed.list(term, first);
                listed
            })
        })
    }

    /// Raises the version of the log before its first RULES record.
    fn raise_version(&mut self) -> io::Result<()> {
        self.change_identity(|identity| {
            (identity.version < VERSION).then(|| LogIdentity { version: VERSION, ..identity.clone() })
        })?;
        self.has_rules_version = true;
        Ok(())
    }

    /// Replaces the identity file, if `change` returns another identity.
    fn change_identity(&self, change: impl FnOnce(&LogIdentity) -> Option<LogIdentity>) -> io::Result<()> {
        let mut identity = self.shared.identity.lock();
        if let Some(changed) = change(&identity) {
            changed.write(&*self.shared.disk, &self.shared.dir)?;
            *identity = changed;
        }
        Ok(())
    }

    /// Returns the table of terms after a block from elsewhere, if it changes with the block.
    fn terms_with(&self, block: &Block, next: Sequence) -> Result<Option<Vec<TermStart>>, Discontinuity> {
        let epoch = self.shared.epoch;
        if self.current == Some(block.term()) {
            return LogEnd::check_place(epoch, next, block).map(|()| None);
        }
        LogEnd { epoch, next, terms: &self.shared.identity.lock().terms }.check(block)
    }
}

/// Writes a block to the active segment and makes it visible to readers.
fn store(shared: &SharedLog, block: &EncodedBlock<'_>, segment_bytes_max: u64, shows_term: bool) -> io::Result<()> {
    let mut state = shared.tail.lock();
    rotate_if_full(shared, &mut state, segment_bytes_max)?;
    write(shared, &mut state, block.bytes)?;
    publish(shared, &mut state, block, shows_term);
    Ok(())
}

/// Makes a written block visible to readers.
fn publish(shared: &SharedLog, state: &mut TailState, block: &EncodedBlock<'_>, shows_term: bool) {
    let snapshot = shared.snapshot.load();
    if shows_term {
        *shared.terms.write() = shared.identity.lock().terms.clone().into();
    }
    let (header, offset) = (block.header, state.offset);
    state.offset += header.block_bytes();
    shared.appended_bytes.fetch_add(header.block_bytes(), Ordering::Relaxed);
    snapshot.tail.index.write().push(offset, header, block.rules, &mut state.numbering);
    match shared.config.durability {
        Durability::Os => snapshot.tail.dirty.store(true, Ordering::Release),
        Durability::Sync => shared.synced.store(header.end(), Ordering::Release),
        Durability::Memory => {}
    }
    *shared.tip.lock() = Tip { next: header.end(), newest_received: Some(header.last_received) };
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
    fn begin(&mut self, term: Term) {
        check_new_term(&self.shared.terms.read(), term);
        self.own = Some(term);
    }

    fn check(&self) -> Result<(), AppendError> {
        self.shared.check_gone().map_err(AppendError::Io)
    }

    fn append(&mut self, records: &[Record]) -> Result<(), AppendError> {
        let shared = self.shared.clone();
        let (next, term) = (shared.tip.lock().next, self.own());
        check_batch(records, next, term);
        if records.is_empty() {
            return Ok(());
        }
        self.check_ready()?;
        let refused = |error| shared.note_refusal(append_error(error));
        if self.current != Some(term) {
            self.current = None;
            self.list_term(term, next).map_err(refused)?;
        }
        if !self.has_rules_version && records.iter().any(|record| matches!(record.body, RecordBody::Rules(_))) {
            self.raise_version().map_err(refused)?;
        }
        // Written from the encoder's buffer: the block of a gateway that runs alone is not copied.
        let began = StageStamp::now();
        let block = self.encoder.encode_quick(records).map_err(AppendError::Io)?;
        began.end(Stage::Encode);
        store(&shared, &block, self.segment_bytes_max, self.current.is_none()).map_err(refused)?;
        self.current = Some(term);
        Ok(())
    }

    fn encode(&mut self, records: &[Record]) -> Result<Block, AppendError> {
        check_batch(records, self.shared.tip.lock().next, self.own());
        let encoded = self.encoder.encode(records).map_err(AppendError::Io)?;
        Ok(Block::new(self.shared.epoch, &encoded, records))
    }

    fn append_block(&mut self, block: &Block) -> Result<(), AppendError> {
        let shared = self.shared.clone();
        let next = shared.tip.lock().next;
        let terms = self.terms_with(block, next)?;
        self.check_ready()?;
        let refused = |error| shared.note_refusal(append_error(error));
        if self.current != Some(block.term()) {
            self.current = None;
        }
        if let Some(terms) = terms {
            self.change_identity(|identity| Some(LogIdentity { terms, ..identity.clone() })).map_err(refused)?;
        }
        if !self.has_rules_version && block.has_rules() {
            self.raise_version().map_err(refused)?;
        }
        let encoded = EncodedBlock { header: block.header(), bytes: block.bytes(), rules: block.rules() };
        store(&shared, &encoded, self.segment_bytes_max, self.current.is_none()).map_err(refused)?;
        self.current = Some(block.term());
        self.own = self.own.filter(|own| *own == block.term());
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
    let began = StageStamp::now();
    let mut written = shared.disk.write_at(&tail.file, block, state.offset);
    began.end(Stage::Write);
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
