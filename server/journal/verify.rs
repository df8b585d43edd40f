//! Inspects a log without changing it, also while it is open: reads every block of every segment and reports contents
//! and damage.

use std::fmt;
use std::fs::File;
use std::io;
use std::path::{Path, PathBuf};

use zstd::bulk::Decompressor;

use super::block::{DecodedBlock, seed};
use super::disk::{SystemDisk, is_shortage, try_read};
use super::embedded::files::{self, SegmentName};
use super::embedded::identity::LogIdentity;
use super::embedded::index_file;
use super::embedded::segment_scan::{self, SegmentScan};
use super::{Disk, OpenError};
use crate::model::{Epoch, RecordBody, Sequence, TermStart, UnixMillis};

/// Result of inspecting the directory of a log.
#[derive(Clone, Debug)]
pub struct Verification {
    /// The directory.
    pub dir: PathBuf,
    /// Identity of the log.
    pub epoch: Epoch,
    /// Creation time of the log.
    pub created: UnixMillis,
    /// First sequence of each term.
    pub terms: Vec<TermStart>,
    /// The segments, oldest first.
    pub segments: Vec<SegmentReport>,
}

/// Result of inspecting a segment.
#[derive(Clone, Debug, Default)]
pub struct SegmentReport {
    /// Name of its file.
    pub file: String,
    /// First sequence that it should contain.
    pub first: Sequence,
    /// Sequence after the last that it contains, or should contain.
    pub next: Sequence,
    /// Receive times of its first and last intact records.
    pub received: Option<(UnixMillis, UnixMillis)>,
    /// Number of intact blocks.
    pub blocks: u64,
    /// Intact records.
    pub records: RecordCounts,
    /// Bytes on the disk, its index included.
    pub bytes: u64,
    /// Damaged sequences: first and last of each range.
    pub damaged: Vec<(Sequence, Sequence)>,
    /// True if the header of the file is damaged; no record is lost by that.
    pub header_damaged: bool,
    /// True if the index file is missing or does not fit; it is rebuilt when the log is opened.
    pub index_missing: bool,
    /// Bytes of a torn or corrupt tail, which are truncated when the log is opened.
    pub torn_bytes: u64,
    /// Bytes that the disk cannot read.
    pub unreadable_bytes: u64,
    /// Terms of its records that the table of terms does not list.
    pub unlisted_terms: u64,
}

/// Records by kind.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct RecordCounts {
    /// POST.
    pub posts: u64,
    /// DELTA.
    pub deltas: u64,
    /// GAP.
    pub gaps: u64,
    /// SKIP.
    pub skips: u64,
    /// TERM.
    pub terms: u64,
    /// RULES.
    pub rules: u64,
}

impl RecordCounts {
    fn add(&mut self, body: &RecordBody) {
        match body {
            RecordBody::Post(_) => self.posts += 1,
            RecordBody::Delta { .. } => self.deltas += 1,
            RecordBody::Gap(_) => self.gaps += 1,
            RecordBody::Skip(_) => self.skips += 1,
            RecordBody::Term => self.terms += 1,
            RecordBody::Rules(_) => self.rules += 1,
        }
    }
}

impl Verification {
    /// Returns true if no record is lost, nothing is torn, and every term is listed.
    pub fn is_clean(&self) -> bool {
        self.segments.iter().all(|it| {
            it.damaged.is_empty() && !it.header_damaged && it.torn_bytes + it.unreadable_bytes + it.unlisted_terms == 0
        })
    }
}

/// Inspects the log in `dir`. If the log is open, a block being appended may look torn. Unreadable parts of a segment
/// are reported as damage, and the inspection continues; an error means that there is no log to inspect.
pub fn verify(dir: &Path) -> Result<Verification, OpenError> {
    verify_on(dir, &SystemDisk)
}

/// Inspects the log in `dir` on a disk of the caller's choice.
pub(super) fn verify_on(dir: &Path, disk: &dyn Disk) -> Result<Verification, OpenError> {
    let io = |source| OpenError::Io { path: dir.to_owned(), source };
    let missing = || OpenError::Missing { path: dir.to_owned() };
    let identity = LogIdentity::read(dir)?.ok_or_else(missing)?;
    let names = files::segments(dir).map_err(io)?;
    let mut segments = Vec::with_capacity(names.len());
    for (at, &name) in names.iter().enumerate() {
        let end = names.get(at + 1).map(|next| next.first);
        match inspect(disk, dir, name, (end, &identity)) {
            // Trimmed or replaced during the inspection.
            Err(error) if error.kind() == io::ErrorKind::NotFound => {}
            report => segments.push(report.map_err(io)?),
        }
    }
    Ok(Verification {
        dir: dir.to_owned(),
        epoch: identity.epoch,
        created: identity.created,
        terms: identity.terms,
        segments,
    })
}

fn inspect(
    disk: &dyn Disk,
    dir: &Path,
    name: SegmentName,
    (end, log): (Option<Sequence>, &LogIdentity),
) -> io::Result<SegmentReport> {
    let path = name.path(dir);
    let scan = match segment_scan::scan(disk, &path, log.epoch, name.first) {
        Err(error) if is_shortage(&error) || error.kind() == io::ErrorKind::NotFound => return Err(error),
        Err(_) => segment_scan::unreadable(std::fs::metadata(&path).map_or(0, |it| it.len())),
        Ok(scan) => scan,
    };
    let index_bytes = index_file::read_summary(&path, log.epoch).ok().flatten().map_or(0, |(_, bytes)| bytes);
    let index = if end.is_some() { index_file::read(&path, log.epoch)? } else { None };
    let file_name = path.file_name().map(|name| name.to_string_lossy().into_owned());
    let mut report = SegmentReport {
        file: file_name.unwrap_or_default(),
        first: name.first,
        next: name.first,
        received: scan.index.first_received().zip(scan.index.last_received()),
        bytes: scan.length + index_bytes,
        header_damaged: !scan.header_sound,
        index_missing: end.is_some() && index.is_none_or(|index| index.entries != scan.index.entries),
        // Only the last segment can have a torn tail; missing bytes elsewhere are damage.
        torn_bytes: if end.is_none() { scan.torn_bytes() } else { 0 },
        unreadable_bytes: scan.unreadable_bytes,
        ..SegmentReport::default()
    };
    report.inspect_blocks(disk, &path, &scan, log)?;
    report.add_missing(end.unwrap_or_else(|| scan.next(name.first)));
    Ok(report)
}

fn count(block: &DecodedBlock) -> Option<RecordCounts> {
    let mut kinds = RecordCounts::default();
    let mut records = block.records(&|_| true);
    while let Some(record) = records.next_from(0).ok()? {
        kinds.add(&record.body);
    }
    Some(kinds)
}

impl SegmentReport {
    /// Bytes on the disk per POST and DELTA; 0 if there are none.
    pub fn bytes_per_post(&self) -> u64 {
        self.bytes.checked_div(self.records.posts + self.records.deltas).unwrap_or(0)
    }

    fn inspect_blocks(
        &mut self,
        disk: &dyn Disk,
        path: &Path,
        scan: &SegmentScan,
        log: &LogIdentity,
    ) -> io::Result<()> {
        if scan.index.entries.is_empty() {
            return Ok(());
        }
        let file = File::open(path)?;
        let (seed, mut decompressor) = (seed(log.epoch), Decompressor::new()?);
        for entry in &scan.index.entries {
            let header = &entry.header;
            self.add_missing(header.first);
            let mut bytes = vec![0; usize::try_from(header.block_bytes()).map_err(io::Error::other)?];
            let read = try_read(disk, &file, &mut bytes, entry.offset)?;
            let block = if read { DecodedBlock::decode(&bytes, seed, &mut decompressor).ok() } else { None };
            match block.and_then(|block| count(&block)) {
                Some(kinds) => self.gain(header.end(), &kinds),
                None => self.add_missing(header.end()),
            }
            self.unlisted_terms += u64::from(log.terms.iter().all(|start| start.term != header.term));
        }
        Ok(())
    }

    /// Reports everything up to `next` as lost.
    fn add_missing(&mut self, next: Sequence) {
        if self.next < next {
            self.damaged.push((self.next, next - 1));
            self.next = next;
        }
    }

    fn gain(&mut self, next: Sequence, kinds: &RecordCounts) {
        self.next = next;
        self.blocks += 1;
        self.records.posts += kinds.posts;
        self.records.deltas += kinds.deltas;
        self.records.gaps += kinds.gaps;
        self.records.skips += kinds.skips;
        self.records.terms += kinds.terms;
        self.records.rules += kinds.rules;
    }
}

impl fmt::Display for Verification {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "journal {}", self.dir.display())?;
        writeln!(f, "epoch {}, created {}", self.epoch, self.created)?;
        for start in &self.terms {
            writeln!(f, "term {} from {}", start.term, start.first)?;
        }
        for segment in &self.segments {
            write!(f, "{segment}")?;
        }
        let summary = if self.is_clean() { "clean" } else { "NOT CLEAN: see the lines that begin with '!'" };
        write!(f, "{summary}")
    }
}

impl fmt::Display for SegmentReport {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let RecordCounts { posts, deltas, gaps, skips, terms, rules } = self.records;
        write!(f, "{}: ", self.file)?;
        match (self.next.checked_sub(1), self.received) {
            (Some(last), Some((from, to))) => write!(f, "{} to {last}, {from} to {to}, ", self.first)?,
            _ => write!(f, "empty, ")?,
        }
        write!(
            f,
            "{} blocks, {posts} posts, {deltas} deltas, {gaps} gaps, {skips} skips, {terms} terms, {rules} rule changes, ",
            self.blocks
        )?;
        writeln!(f, "{} bytes, {} per post", self.bytes, self.bytes_per_post())?;
        for (first, last) in &self.damaged {
            writeln!(f, "! records {first} to {last} are lost to damage")?;
        }
        if self.header_damaged {
            writeln!(f, "! the header of the file is damaged (no record is lost by that)")?;
        }
        if self.unreadable_bytes > 0 {
            writeln!(f, "! {} bytes cannot be read from the disk", self.unreadable_bytes)?;
        }
        if self.torn_bytes > 0 {
            writeln!(f, "! a torn tail of {} bytes is truncated at the next start", self.torn_bytes)?;
        }
        if self.unlisted_terms > 0 {
            writeln!(f, "! {} blocks are of a term that the table of terms does not list", self.unlisted_terms)?;
        }
        if self.index_missing {
            writeln!(f, "  its index is missing or does not fit, and is rebuilt at the next start")?;
        }
        Ok(())
    }
}
