//! The writer of the side log, on the sequencer's thread: posts that only some lineages lack (`hub::side_log`).
//!
//! The side log is a log like the account's, with an epoch and ids of its own, but what is in it can be had again: a
//! damaged one, or one that does not fit the account's log, is begun anew.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use thiserror::Error;

use super::dedup::{self, Dedup, Index, Known, Seen, Verdict};
use crate::clock::Moment;
use crate::hub::Side;
use crate::journal::{self, AppendError, Backend, Identity, Item, Journal, OpenError, ReadError, Reader, Writer};
use crate::model::{AccountName, Body, Epoch, Keys, Post, PostId, Record, Rule, Sequence, Term, UnixMillis};

/// What a side log is opened with.
pub struct Setup<'a> {
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
    pub identity: Identity,
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
    Ids(#[from] dedup::Error),
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
pub struct SideLog {
    /// For sessions.
    pub reader: Arc<dyn Reader>,
    /// For the sequencer.
    pub writer: SideWriter,
    /// For the upkeep thread.
    pub upkeep: SideUpkeep,
}

/// Appends to a side log.
pub struct SideWriter {
    log: Box<dyn Writer>,
    reader: Arc<dyn Reader>,
    seen: Seen,
    index: Arc<Index>,
    term: Term,
    /// What is taken and not appended yet.
    records: Vec<Record>,
}

/// Housekeeping of a side log.
pub struct SideUpkeep {
    log: Box<dyn journal::Upkeep>,
    ids: dedup::Upkeep,
    reader: Arc<dyn Reader>,
}

/// Bytes of it that one read brings.
const CHUNK_BYTES: usize = 1 << 20;
/// Segments of a side log that is bounded in bytes: trimming goes by whole ones.
const SEGMENTS: u64 = 16;
/// Smallest segment of a journal.
const SEGMENT_BYTES_MIN: u64 = 4 << 10;
/// Bytes of a side log in memory.
const MEMORY_BYTES_MAX: u64 = 64 << 20;

/// Opens the side log of an account's log, or makes it. Side logs of earlier logs of the account are removed: what their
/// records say about the account's log is not true of this one.
pub fn open(setup: &Setup<'_>) -> Result<SideLog, SideError> {
    let root = setup.dir.join("side");
    let dir = root.join(setup.main.epoch().to_string());
    if setup.journal.backend == Backend::Embedded {
        clear_others(setup.account, &root, &dir)?;
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
        Err(SideError::Ids(error @ dedup::Error::Damaged { .. })) => {
            tracing::error!(account = %setup.account, %error, "the side log's ids are damaged; it is begun anew");
            clear(&dir)?;
            reopened(setup, &dir)
        }
        Err(error) => Err(error),
    }
}

fn reopened(setup: &Setup<'_>, dir: &Path) -> Result<SideLog, SideError> {
    Ok(open_in(setup, dir)?.expect("a new side log knows of no record"))
}

fn clear(path: &Path) -> Result<(), SideError> {
    std::fs::remove_dir_all(path).map_err(|source| SideError::Clear { path: path.to_owned(), source })
}

fn clear_others(account: &AccountName, root: &Path, own: &Path) -> Result<(), SideError> {
    let Ok(entries) = std::fs::read_dir(root) else { return Ok(()) };
    for entry in entries.flatten().map(|entry| entry.path()).filter(|path| path != own && path.is_dir()) {
        tracing::info!(%account, path = %entry.display(), "removing the side log of an earlier log");
        clear(&entry)?;
    }
    Ok(())
}

/// `None` if it knows of records that the account's log does not have: a power cut took them.
fn open_in(setup: &Setup<'_>, dir: &Path) -> Result<Option<SideLog>, SideError> {
    let in_files = setup.journal.backend == Backend::Embedded;
    let bytes_max = if in_files { setup.bytes_max } else { setup.bytes_max.min(MEMORY_BYTES_MAX) };
    let segment_bytes_max = setup.journal.segment_bytes_max.min(bytes_max / SEGMENTS).max(SEGMENT_BYTES_MIN);
    let config = journal::Config {
        retention_age_max: setup.window,
        retention_bytes_max: bytes_max,
        segment_bytes_max,
        ..setup.journal.clone()
    };
    let Journal { writer, reader, upkeep, torn_bytes, .. } = journal::open(&config, dir, setup.identity, setup.now)?;
    let ids_dir = dir.join("ids");
    let ids_config = dedup::Config { horizon: setup.window, ..setup.ids.clone() };
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
    let writer = SideWriter {
        log: writer,
        reader: reader.clone(),
        seen: ids.seen,
        index: ids.index,
        term: setup.identity.term,
        records: Vec::new(),
    };
    let upkeep = SideUpkeep { log: upkeep, ids: ids.upkeep, reader: reader.clone() };
    Ok(Some(SideLog { reader, writer, upkeep }))
}

/// Notes the posts that no id file has. Gives the newest record of the account's log that they know of.
fn restore_ids(reader: &dyn Reader, ids: &mut Dedup) -> Result<Sequence, SideError> {
    let extent = reader.extent();
    ids.upkeep.forget_after(extent.next - 1)?;
    let mut cursor = (ids.seen.covered() + 1).max(extent.earliest);
    let mut newest_beside = 0;
    while cursor < extent.next {
        let chunk = reader.read(cursor, &Keys::Always, CHUNK_BYTES)?;
        for item in &chunk.items {
            if let Item::Record(record) = item
                && let Some(post) = record.body.post()
            {
                ids.seen.note(post.id, &post.rules, record.sequence, record.received);
                newest_beside = newest_beside.max(post.beside.unwrap_or(0));
            }
        }
        ids.seen.commit();
        if ids.seen.wants_upkeep() {
            ids.upkeep.step(extent, &|_| 0)?;
        }
        cursor = chunk.next;
    }
    Ok(newest_beside)
}

impl SideWriter {
    /// What was appended of a post, whether it can be read yet or is trimmed: a session that has read it has it.
    pub fn known(&self, id: PostId) -> Result<Option<Known>, dedup::Error> {
        self.index.find(id)
    }

    /// Takes a post, to be appended with the next [`SideWriter::append`]. False if it is there already, under its rules.
    /// The delta rule is the account's log's.
    pub fn take(&mut self, post: Post, received: UnixMillis) -> Result<bool, dedup::Error> {
        let extent = self.reader.extent();
        let known = self.seen.known(post.id)?;
        // What is trimmed is appended again: a session that has not read it lacks it.
        let is_trimmed = known.as_ref().is_some_and(|known| known.sequence < extent.earliest);
        let (previous, known_rules) = known.map(|known| (known.sequence, known.rules)).unzip();
        let (body, id, rules) = match self.seen.judge(post.id, &post.rules)? {
            Verdict::Duplicate if !is_trimmed => return Ok(false),
            Verdict::New | Verdict::Duplicate => {
                let post = Post { rules: known_rules.unwrap_or(post.rules), previous, ..post };
                (Body::Post(post.clone()), post.id, post.rules)
            }
            Verdict::Delta { prior, now } => {
                let post = Post { rules: now.clone(), previous, ..post };
                (Body::Delta { prior, post: post.clone() }, post.id, now)
            }
        };
        let (sequence, tip) = match self.records.last() {
            Some(last) => (last.sequence + 1, last.received),
            None => (extent.next, extent.newest_received.unwrap_or(received)),
        };
        let received = received.max(tip);
        self.seen.note(id, &rules, sequence, received);
        self.records.push(Record { sequence, term: self.term, received, body });
        Ok(true)
    }

    /// The account's log takes a record of a post that waits here, and is appended first.
    pub fn yield_to(&mut self, id: PostId, main: Sequence, rules: &Arc<[Rule]>) {
        for record in &mut self.records {
            if let Body::Post(post) | Body::Delta { post, .. } = &mut record.body
                && post.id == id
            {
                (post.beside, post.beside_rules) = (Some(main), Some(rules.clone()));
            }
        }
    }

    /// Appends what was taken, and shows it to sessions. After an error it may be tried again.
    pub fn append(&mut self, side: &Side) -> Result<(), AppendError> {
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

impl SideUpkeep {
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
    pub fn seal(&mut self) -> Result<(), dedup::Error> {
        self.ids.seal().map(drop)
    }
}

/// A side log in memory for a side, for tests of the sequencer.
#[cfg(test)]
pub fn in_memory(log: Box<dyn Writer>, reader: Arc<dyn Reader>, term: Term) -> SideWriter {
    let config = dedup::Config::default();
    let ids = dedup::open(None, &config, reader.epoch(), UnixMillis::default(), dedup::Metrics::default());
    let Dedup { seen, index, .. } = ids.expect("in memory");
    SideWriter { log, reader, seen, index, term, records: Vec::new() }
}

impl std::fmt::Debug for SideLog {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let epoch: Epoch = self.reader.epoch();
        write!(f, "SideLog {epoch}")
    }
}

#[cfg(test)]
mod tests;
