//! The writer of the side log, on the sequencer's thread: posts that only some subscriptions lack (`hub::side_log`).
//!
//! The side log is a log like the account's, with an epoch and ids of its own, but what is in it can be had again: a
//! damaged one, or one that does not fit the account's log, is begun anew.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use thiserror::Error;

use super::dedup::{self, Dedup, DedupIndex, DedupResult, DedupWriter, KnownPost};
use crate::clock::Moment;
use crate::hub::SideLog;
use crate::journal::{
    self, AppendError, Backend, Journal, OpenError, ReadError, ReadItem, Reader, Writer, WriterIdentity,
};
use crate::model::{AccountName, Epoch, KeyFilter, Post, PostId, Record, RecordBody, Rule, Sequence, Term, UnixMillis};

/// What a side log is opened with.
pub struct SideLogParams<'a> {
    /// Whose.
    pub account: &'a AccountName,
    /// The account's log.
    pub main: &'a dyn Reader,
    /// Directory of the account's log.
    pub dir: &'a Path,
    /// Settings of the account's log; the side log has the same but for its retention.
    pub journal: &'a journal::Config,
    /// Settings of the account's ids.
    pub ids: &'a dedup::Config,
    /// Bytes of the side log.
    pub bytes_max: u64,
    /// How far back X can be asked: as long the side log keeps what was brought.
    pub window: Duration,
    /// Identity of a new one, and of its writer.
    pub identity: WriterIdentity,
    /// The time.
    pub now: UnixMillis,
}

/// A side log that cannot be opened.
#[derive(Debug, Error)]
pub enum SideError {
    /// Its journal.
    #[error("cannot open the side log")]
    Journal(#[from] OpenError),
    /// Reading it.
    #[error("cannot read the side log")]
    Read(#[from] ReadError),
    /// Its ids.
    #[error("cannot open the ids of the side log")]
    Ids(#[from] dedup::DedupError),
    /// Its directory.
    #[error("cannot clear {path}")]
    Clear {
        /// The directory.
        path: PathBuf,
        /// What the system said.
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
    /// What is taken and not appended yet.
    records: Vec<Record>,
}

/// Housekeeping of a side log.
pub struct SideLogMaintenance {
    log: Box<dyn journal::Maintenance>,
    ids: dedup::DedupMaintenance,
    reader: Arc<dyn Reader>,
}

/// Bytes of it that one read brings.
const CHUNK_BYTES: usize = 1 << 20;
/// Segments of a side log that is bounded in bytes: trimming goes by whole ones.
const SEGMENTS_MAX: u64 = 16;
/// Smallest segment of a journal.
const SEGMENT_BYTES_MIN: u64 = 4 << 10;
/// Bytes of a side log in memory.
const MEMORY_BYTES_MAX: u64 = 64 << 20;

/// Opens the side log of an account's log, or makes it. Side logs of earlier logs of the account are removed: what their
/// records say about the account's log is not true of this one.
pub fn open(setup: &SideLogParams<'_>) -> Result<OpenedSideLog, SideError> {
    let root = setup.dir.join("side");
    let dir = root.join(setup.main.epoch().to_string());
    if setup.journal.backend == Backend::Embedded {
        remove_other_epochs(setup.account, &root, &dir)?;
    }
    match open_in(setup, &dir) {
        Ok(Some(log)) => Ok(log),
        Ok(None) => {
            tracing::error!(account = %setup.account, "the side log knows of records that the log has lost; it is begun anew");
            clear(&dir)?;
            reopened(setup, &dir)
        }
        Err(SideError::Journal(error @ OpenError::Damaged { .. })) => {
            tracing::error!(account = %setup.account, %error, "the side log is damaged; it is begun anew");
            clear(&dir)?;
            reopened(setup, &dir)
        }
        Err(SideError::Ids(error @ dedup::DedupError::Damaged { .. })) => {
            tracing::error!(account = %setup.account, %error, "the side log's ids are damaged; it is begun anew");
            clear(&dir)?;
            reopened(setup, &dir)
        }
        Err(error) => Err(error),
    }
}

fn reopened(setup: &SideLogParams<'_>, dir: &Path) -> Result<OpenedSideLog, SideError> {
    Ok(open_in(setup, dir)?.expect("a new side log knows of no record"))
}

fn clear(path: &Path) -> Result<(), SideError> {
    std::fs::remove_dir_all(path).map_err(|source| SideError::Clear { path: path.to_owned(), source })
}

fn remove_other_epochs(account: &AccountName, root: &Path, own: &Path) -> Result<(), SideError> {
    let Ok(entries) = std::fs::read_dir(root) else { return Ok(()) };
    for entry in entries.flatten().map(|entry| entry.path()).filter(|path| path != own && path.is_dir()) {
        tracing::info!(%account, path = %entry.display(), "removing the side log of an earlier log");
        clear(&entry)?;
    }
    Ok(())
}

/// `None` if it knows of records that the account's log does not have: a power cut took them.
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
        tracing::info!(account = %setup.account, next = extent.next, torn_bytes, "the side log is open");
    }
    let newest_beside = restore_ids(&*reader, &mut ids)?;
    if newest_beside >= setup.main.extent().next {
        return Ok(None);
    }
    let writer = SideLogWriter {
        log: writer,
        reader: reader.clone(),
        seen: ids.seen,
        index: ids.index,
        term: setup.identity.term,
        records: Vec::new(),
    };
    let maintenance = SideLogMaintenance { log: maintenance, ids: ids.maintenance, reader: reader.clone() };
    Ok(Some(OpenedSideLog { reader, writer, maintenance }))
}

/// Notes the posts that no id file has. Gives the newest record of the account's log that they know of.
fn restore_ids(reader: &dyn Reader, ids: &mut Dedup) -> Result<Sequence, SideError> {
    let extent = reader.extent();
    ids.maintenance.truncate_after(extent.next - 1)?;
    let mut cursor = (ids.seen.covered() + 1).max(extent.earliest);
    let mut newest_beside = 0;
    while cursor < extent.next {
        let chunk = reader.read(cursor, &KeyFilter::Always, CHUNK_BYTES)?;
        for item in &chunk.items {
            if let ReadItem::Record(record) = item
                && let Some(post) = record.body.post()
            {
                ids.seen.stage(post.id, &post.rules, record.sequence, record.received);
                newest_beside = newest_beside.max(post.counterpart.unwrap_or(0));
            }
        }
        ids.seen.commit();
        if ids.seen.needs_maintenance() {
            ids.maintenance.step(extent, &|_| 0)?;
        }
        cursor = chunk.next;
    }
    Ok(newest_beside)
}

impl SideLogWriter {
    /// What was appended of a post, whether it can be read yet or is trimmed: a session that has read it has it.
    pub fn known(&self, id: PostId) -> Result<Option<KnownPost>, dedup::DedupError> {
        self.index.find(id)
    }

    /// Takes a post, to be appended with the next [`SideLogWriter::append`]. False if it is there already, under its rules.
    /// The delta rule is the account's log's.
    pub fn append_post(&mut self, post: Post, received: UnixMillis) -> Result<bool, dedup::DedupError> {
        let extent = self.reader.extent();
        let known = self.seen.known(post.id)?;
        // What is trimmed is appended again: a session that has not read it lacks it.
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
        let (sequence, tip) = match self.records.last() {
            Some(last) => (last.sequence + 1, last.received),
            None => (extent.next, extent.newest_received.unwrap_or(received)),
        };
        let received = received.max(tip);
        self.seen.stage(id, &rules, sequence, received);
        self.records.push(Record { sequence, term: self.term, received, body });
        Ok(true)
    }

    /// The account's log takes a record of a post that waits here, and is appended first.
    pub fn set_counterpart(&mut self, id: PostId, main: Sequence, rules: &Arc<[Rule]>) {
        for record in &mut self.records {
            if let RecordBody::Post(post) | RecordBody::Delta { post, .. } = &mut record.body
                && post.id == id
            {
                (post.counterpart, post.beside_rules) = (Some(main), Some(rules.clone()));
            }
        }
    }

    /// Appends what was taken, and shows it to sessions. After an error it may be tried again.
    pub fn append(&mut self, side: &SideLog) -> Result<(), AppendError> {
        let Some(last) = self.records.last() else { return Ok(()) };
        let next = last.sequence + 1;
        self.log.append(&self.records)?;
        self.seen.commit();
        let created = |record: &Record| record.body.post().and_then(|post| post.id.created_at());
        side.publish(next, self.records.iter().filter_map(created));
        self.records.clear();
        Ok(())
    }

    /// What was taken will not be appended. Tells how many posts that are.
    pub fn discard(&mut self) -> u64 {
        self.seen.discard();
        let lost = self.records.len() as u64;
        self.records.clear();
        lost
    }
}

impl SideLogMaintenance {
    /// What is due; called about once a second.
    pub fn step(&mut self, now: Moment) -> Result<(), String> {
        let log = self.log.step(now).map_err(|error| format!("the side log: {error}"));
        let appended_before = |age| self.log.appended_before(age);
        let ids = self
            .ids
            .step(self.reader.extent(), &appended_before)
            .map_err(|error| format!("the ids of the side log: {error}"));
        log.map(drop).and(ids.map(drop))
    }

    /// Writes all ids to files, so that the next start has nothing to note again.
    pub fn seal(&mut self) -> Result<(), dedup::DedupError> {
        self.ids.flush().map(drop)
    }
}

/// A side log in memory for a side, for tests of the sequencer.
#[cfg(test)]
pub fn in_memory(log: Box<dyn Writer>, reader: Arc<dyn Reader>, term: Term) -> SideLogWriter {
    let config = dedup::Config::default();
    let ids = dedup::open(None, &config, reader.epoch(), UnixMillis::default(), dedup::Metrics::default());
    let Dedup { seen, index, .. } = ids.expect("in memory");
    SideLogWriter { log, reader, seen, index, term, records: Vec::new() }
}

impl std::fmt::Debug for OpenedSideLog {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let epoch: Epoch = self.reader.epoch();
        write!(f, "SideLog {epoch}")
    }
}

#[cfg(test)]
mod tests;
