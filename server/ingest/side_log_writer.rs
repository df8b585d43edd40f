//! The writer of the side log, on the sequencer's thread: recovered posts for private gaps (`hub::side_log`).
//!
//! The side log is a log like the account's, with an epoch and ids of its own, but its content can be recovered again.
//! A side log that is damaged, or does not match the account's log, is recreated.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use thiserror::Error;

use super::dedup::{self, Dedup, DedupIndex, DedupResult, DedupWriter, KnownPost};
use crate::clock::Moment;
use crate::hub::SideLog;
use crate::journal::{
    self, AppendError, Backend, Block, Journal, LogBounds, OpenError, ReadError, ReadItem, Reader, Writer,
    WriterIdentity,
};
use crate::model::{AccountName, Epoch, KeyFilter, Post, PostId, Record, RecordBody, Rule, Sequence, Term, UnixMillis};

/// Parameters of [`open`].
pub struct SideLogParams<'a> {
    /// Name of the account.
    pub account: &'a AccountName,
    /// The account's log.
    pub main: &'a dyn Reader,
    /// Directory of the account's log.
    pub dir: &'a Path,
    /// Settings of the account's log; the side log differs only in its retention.
    pub journal: &'a journal::Config,
    /// Deduplication settings of the account.
    pub ids: &'a dedup::Config,
    /// Maximum bytes of the side log.
    pub bytes_max: u64,
    /// Recovery window: how long the side log retains recovered posts.
    pub window: Duration,
    /// Identity of a new side log, and of its writer.
    pub identity: WriterIdentity,
    /// Other replicas have the side log, too: it is never recreated.
    pub is_shared: bool,
    /// Current time.
    pub now: UnixMillis,
}

/// A side log that cannot be opened.
#[derive(Debug, Error)]
pub enum SideError {
    /// Failure of its journal.
    #[error("failed to open side log")]
    Journal(#[from] OpenError),
    /// Failure to read it.
    #[error("failed to read side log")]
    Read(#[from] ReadError),
    /// Failure of its deduplication index.
    #[error("failed to open post ids of side log")]
    Ids(#[from] dedup::DedupError),
    /// It refers to records that the account's log has lost.
    #[error("side log refers to records that the log has lost; move the account's directory away to fill it again")]
    Ahead,
    /// Failure to remove a directory.
    #[error("failed to remove {path}")]
    Clear {
        /// Path of the directory.
        path: PathBuf,
        /// The I/O error.
        source: std::io::Error,
    },
}

/// An open side log.
pub struct OpenedSideLog {
    /// For sessions.
    pub reader: Arc<dyn Reader>,
    /// For the sequencer.
    pub writer: SideLogWriter,
    /// For the maintenance thread.
    pub maintenance: SideLogMaintenance,
}

/// Appends to a side log.
pub struct SideLogWriter {
    log: Box<dyn Writer>,
    reader: Arc<dyn Reader>,
    seen: DedupWriter,
    index: Arc<DedupIndex>,
    term: Term,
    /// The first record of each term is TERM, as other replicas require it.
    marks_terms: bool,
    /// When the newest record of earlier processes was received: its posts were created before.
    held_before: UnixMillis,
    /// Records to be appended.
    records: Vec<Record>,
}

/// Maintenance of a side log.
pub struct SideLogMaintenance {
    log: Box<dyn journal::Maintenance>,
    ids: dedup::DedupMaintenance,
    reader: Arc<dyn Reader>,
}

/// Bytes of one read.
const CHUNK_BYTES: usize = 1 << 20;
/// Segments of a side log bounded in bytes: retention trims whole ones.
const SEGMENTS_MAX: u64 = 16;
/// Minimum bytes of a segment.
const SEGMENT_BYTES_MIN: u64 = 4 << 10;
/// Maximum bytes of a side log in memory.
const MEMORY_BYTES_MAX: u64 = 64 << 20;

/// Opens the side log of an account's log, or creates it. Side logs of earlier logs of the account are removed:
/// references of their records do not match this log.
pub fn open(setup: &SideLogParams<'_>) -> Result<OpenedSideLog, SideError> {
    let root = setup.dir.join("side");
    let dir = root.join(setup.main.epoch().to_string());
    if setup.journal.backend == Backend::Embedded {
        remove_other_epochs(setup.account, &root, &dir)?;
    }
    match open_in(setup, &dir) {
        Ok(Some(log)) => Ok(log),
        // Records of the shared log would be missing in a new one.
        Ok(None) if setup.is_shared => Err(SideError::Ahead),
        Err(error) if setup.is_shared => Err(error),
        Ok(None) => {
            tracing::error!(account = %setup.account, "side log refers to records that the log has lost, recreating it");
            clear(&dir)?;
            reopened(setup, &dir)
        }
        Err(SideError::Journal(error @ OpenError::Damaged { .. })) => {
            tracing::error!(account = %setup.account, %error, "side log is corrupt, recreating it");
            clear(&dir)?;
            reopened(setup, &dir)
        }
        Err(SideError::Ids(error @ dedup::DedupError::Damaged { .. })) => {
            tracing::error!(account = %setup.account, %error, "post ids of side log are corrupt, recreating it");
            clear(&dir)?;
            reopened(setup, &dir)
        }
        Err(error) => Err(error),
    }
}

fn reopened(setup: &SideLogParams<'_>, dir: &Path) -> Result<OpenedSideLog, SideError> {
    Ok(open_in(setup, dir)?.expect("a new side log has no references"))
}

fn clear(path: &Path) -> Result<(), SideError> {
    std::fs::remove_dir_all(path).map_err(|source| SideError::Clear { path: path.to_owned(), source })
}

fn remove_other_epochs(account: &AccountName, root: &Path, own: &Path) -> Result<(), SideError> {
    let Ok(entries) = std::fs::read_dir(root) else { return Ok(()) };
    for entry in entries.flatten().map(|entry| entry.path()).filter(|path| path != own && path.is_dir()) {
        tracing::info!(%account, path = %entry.display(), "removing side log of an earlier log");
        clear(&entry)?;
    }
    Ok(())
}

/// Returns `None` if it refers to records that the account's log has lost in a power cut.
fn open_in(setup: &SideLogParams<'_>, dir: &Path) -> Result<Option<OpenedSideLog>, SideError> {
    let in_files = setup.journal.backend == Backend::Embedded;
    let bytes_max = if in_files { setup.bytes_max } else { setup.bytes_max.min(MEMORY_BYTES_MAX) };
    let segment_bytes_max = setup.journal.segment_bytes_max.min(bytes_max / SEGMENTS_MAX).max(SEGMENT_BYTES_MIN);
    let config = journal::Config {
        retention_age_max: setup.window,
        retention_bytes_max: bytes_max,
        segment_bytes_max,
        ..setup.journal.clone()
    };
    let Journal { writer, reader, maintenance, torn_bytes, .. } =
        journal::open(&config, dir, setup.identity, setup.now)?;
    let ids_dir = dir.join("ids");
    let ids_config = dedup::Config { window: setup.window, ..setup.ids.clone() };
    let ids_dir = in_files.then_some(ids_dir.as_path());
    let mut ids = dedup::open(ids_dir, &ids_config, reader.epoch(), setup.now, dedup::Metrics::default())?;
    ids.rebuild_from(reader.clone());
    let extent = reader.extent();
    if torn_bytes > 0 || extent.next > 1 {
        tracing::info!(account = %setup.account, next = extent.next, torn_bytes, "side log opened");
    }
    let newest_counterpart = restore_ids(&*reader, &mut ids)?;
    if newest_counterpart >= setup.main.extent().next {
        return Ok(None);
    }
    let writer = SideLogWriter {
        log: writer,
        reader: reader.clone(),
        seen: ids.seen,
        index: ids.index,
        term: setup.identity.term,
        marks_terms: false,
        held_before: extent.newest_received.unwrap_or(UnixMillis(i64::MIN)),
        records: Vec::new(),
    };
    let maintenance = SideLogMaintenance { log: maintenance, ids: ids.maintenance, reader: reader.clone() };
    Ok(Some(OpenedSideLog { reader, writer, maintenance }))
}

/// Stages the posts that no id file has. Returns the newest referenced record of the account's log.
fn restore_ids(reader: &dyn Reader, ids: &mut Dedup) -> Result<Sequence, SideError> {
    let extent = reader.extent();
    ids.maintenance.truncate_after(extent.next - 1)?;
    let mut cursor = (ids.seen.covered() + 1).max(extent.earliest);
    let mut newest_counterpart = 0;
    while cursor < extent.next {
        let chunk = reader.read(cursor, &KeyFilter::Always, CHUNK_BYTES)?;
        for item in &chunk.items {
            if let ReadItem::Record(record) = item
                && let Some(post) = record.body.post()
            {
                ids.seen.stage(post.id, &post.rules, record.sequence, record.received);
                newest_counterpart = newest_counterpart.max(post.counterpart.unwrap_or(0));
            }
        }
        ids.seen.commit();
        if ids.seen.needs_maintenance() {
            ids.maintenance.step(extent, &|_| 0)?;
        }
        cursor = chunk.next;
    }
    Ok(newest_counterpart)
}

impl SideLogWriter {
    /// Begins a new term. No post may be staged.
    pub(super) fn begin(&mut self, term: Term) {
        self.log.begin(term);
        self.term = term;
    }

    /// Begins a new term of a log that other replicas have, too. No post may be staged.
    pub(super) fn begin_replicated(&mut self, term: Term) {
        self.begin(term);
        self.marks_terms = true;
    }

    /// Returns true if an earlier process may have appended a post created at this time: the demand for it may be lost.
    pub fn may_hold(&self, created: UnixMillis) -> bool {
        created < self.held_before
    }

    /// Returns the entry of an appended post, even if it is trimmed or not readable yet: a session that has read it has
    /// it.
    pub fn known(&self, id: PostId) -> Result<Option<KnownPost>, dedup::DedupError> {
        self.index.find(id)
    }

    /// Stages a post for the next [`SideLogWriter::append`]. Returns false if the side log has it under these rules.
    /// The delta rule is that of the account's log.
    pub fn append_post(&mut self, post: Post, received: UnixMillis) -> Result<bool, dedup::DedupError> {
        let extent = self.reader.extent();
        let known = self.seen.known(post.id)?;
        // A trimmed post is appended again: a session that has not read it needs it.
        let is_trimmed = known.as_ref().is_some_and(|known| known.sequence < extent.earliest);
        let (previous, known_rules) = known.map(|known| (known.sequence, known.rules)).unzip();
        let (body, id, rules) = match self.seen.classify(post.id, &post.rules)? {
            DedupResult::Duplicate if !is_trimmed => return Ok(false),
            DedupResult::New | DedupResult::Duplicate => {
                let post = Post { rules: known_rules.unwrap_or(post.rules), previous, ..post };
                (RecordBody::Post(post.clone()), post.id, post.rules)
            }
            DedupResult::Delta { prior, now } => {
                let post = Post { rules: now.clone(), previous, ..post };
                (RecordBody::Delta { prior, post: post.clone() }, post.id, now)
            }
        };
        self.stage_term(extent, received);
        let (sequence, tip) = match self.records.last() {
            Some(last) => (last.sequence + 1, last.received),
            None => (extent.next, extent.newest_received.unwrap_or(received)),
        };
        let received = received.max(tip);
        self.seen.stage(id, &rules, sequence, received);
        self.records.push(Record { sequence, term: self.term, received, body });
        Ok(true)
    }

    /// Stages the TERM record of a replicated log in front of the first post of a term.
    fn stage_term(&mut self, extent: LogBounds, received: UnixMillis) {
        let is_listed = || self.reader.terms().last().is_some_and(|newest| newest.term == self.term);
        if self.marks_terms && self.records.is_empty() && !is_listed() {
            let received = extent.newest_received.unwrap_or(received);
            self.records.push(Record { sequence: extent.next, term: self.term, received, body: RecordBody::Term });
        }
    }

    /// Sets the reference of a staged post to its record in the account's log, which is appended first.
    pub fn set_counterpart(&mut self, id: PostId, main: Sequence, rules: &Arc<[Rule]>) {
        for record in &mut self.records {
            if let RecordBody::Post(post) | RecordBody::Delta { post, .. } = &mut record.body
                && post.id == id
            {
                (post.counterpart, post.counterpart_rules) = (Some(main), Some(rules.clone()));
            }
        }
    }

    /// Appends the staged posts and publishes them to sessions. May be retried after an error.
    pub fn append(&mut self, side: &SideLog) -> Result<(), AppendError> {
        if self.records.is_empty() {
            return Ok(());
        }
        self.log.append(&self.records)?;
        self.publish_staged(side);
        Ok(())
    }

    /// Encodes the staged posts for other replicas; `None` if there are none.
    pub(super) fn encode(&mut self) -> Result<Option<Block>, AppendError> {
        if self.records.is_empty() { Ok(None) } else { self.log.encode(&self.records).map(Some) }
    }

    /// Appends the staged posts like [`SideLogWriter::append`], as the block that other replicas have.
    pub(super) fn append_encoded(&mut self, block: &Block, side: &SideLog) -> Result<(), AppendError> {
        self.log.append_block(block)?;
        self.publish_staged(side);
        Ok(())
    }

    /// Appends a block of another replica. No post may be staged.
    pub(super) fn append_block(
        &mut self,
        block: &Block,
        records: &[Record],
        side: &SideLog,
    ) -> Result<(), AppendError> {
        self.log.append_block(block)?;
        for record in records {
            if let Some(post) = record.body.post() {
                self.seen.stage(post.id, &post.rules, record.sequence, record.received);
            }
        }
        self.seen.commit();
        publish(records, side);
        Ok(())
    }

    fn publish_staged(&mut self, side: &SideLog) {
        self.seen.commit();
        publish(&self.records, side);
        self.records.clear();
    }

    /// Discards the staged posts. Returns their number.
    pub fn discard(&mut self) -> u64 {
        self.seen.discard();
        let lost = self.records.iter().filter(|record| record.body.post().is_some()).count() as u64;
        self.records.clear();
        lost
    }
}

/// Publishes appended records to sessions.
fn publish(records: &[Record], side: &SideLog) {
    let Some(last) = records.last() else { return };
    let created = |record: &Record| record.body.post().and_then(|post| post.id.created_at());
    side.publish(last.sequence + 1, records.iter().filter_map(created));
}

impl SideLogMaintenance {
    /// Runs one step; called about once a second.
    pub fn step(&mut self, now: Moment) -> Result<(), String> {
        let log = self.log.step(now).map_err(|error| format!("side log: {error}"));
        let appended_before = |age| self.log.appended_before(age);
        let ids = self
            .ids
            .step(self.reader.extent(), &appended_before)
            .map_err(|error| format!("post ids of side log: {error}"));
        log.map(drop).and(ids.map(drop))
    }

    /// Flushes all ids to files, so that the next start has nothing to stage again.
    pub fn seal(&mut self) -> Result<(), dedup::DedupError> {
        self.ids.flush().map(drop)
    }
}

/// Creates a side log in memory, for tests of the sequencer.
#[cfg(test)]
pub fn in_memory(log: Box<dyn Writer>, reader: Arc<dyn Reader>, term: Term) -> SideLogWriter {
    let config = dedup::Config::default();
    let ids = dedup::open(None, &config, reader.epoch(), UnixMillis::default(), dedup::Metrics::default());
    let Dedup { seen, index, .. } = ids.expect("in memory");
    let held_before = UnixMillis(i64::MIN);
    SideLogWriter { log, reader, seen, index, term, marks_terms: false, held_before, records: Vec::new() }
}

impl std::fmt::Debug for OpenedSideLog {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let epoch: Epoch = self.reader.epoch();
        write!(f, "SideLog {epoch}")
    }
}

#[cfg(test)]
mod tests;
