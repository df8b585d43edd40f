//! The interface of a log: its traits, and the types that they exchange.

use std::ops::Range;
use std::sync::Arc;
use std::time::Duration;

use super::error::{AppendError, ReadError};
use super::stored_block::Block;
use crate::clock::Moment;
use crate::model::{Epoch, KeyFilter, Record, Sequence, Term, TermStart, UnixMillis};

/// Bounds of a log.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct LogBounds {
    /// Sequence of the oldest record; equals `next` if the log is empty.
    pub earliest: Sequence,
    /// Sequence of the next record; 1 in a new log.
    pub next: Sequence,
    /// Receive time of the oldest record; `None` if the log is empty.
    pub earliest_received: Option<UnixMillis>,
    /// Receive time of the newest record; `None` if the log is empty.
    pub newest_received: Option<UnixMillis>,
}

/// A range of a log, in order.
#[derive(Debug)]
pub struct ReadBatch {
    /// Items of the range, without items that the reader can skip by the keys.
    pub items: Vec<ReadItem>,
    /// Where to continue: everything before it is in `items`, or cannot match the keys.
    pub next: Sequence,
}

/// An item of a read.
#[derive(Debug, PartialEq, Eq)]
pub enum ReadItem {
    /// A record.
    Record(Record),
    /// Records that are lost to damage.
    Damaged {
        /// First of them.
        first: Sequence,
        /// Last of them.
        last: Sequence,
        /// Receive time of the last good record before them. If there is none: their own receive time if known, or the
        /// creation time of the log.
        from: UnixMillis,
        /// Receive time of the first good record after them. If there is none: their own receive time if known, or that
        /// of the newest record of the log.
        to: UnixMillis,
    },
}

impl ReadItem {
    /// Returns the sequence of the record, or of the first damaged record.
    pub fn first(&self) -> Sequence {
        match self {
            Self::Record(record) => record.sequence,
            Self::Damaged { first, .. } => *first,
        }
    }
}

/// A range of records that cannot be read; the fields are those of [`ReadItem::Damaged`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Damage {
    /// First of them.
    pub first: Sequence,
    /// Last of them.
    pub last: Sequence,
    /// No record of them was received before this time.
    pub from: UnixMillis,
    /// No record of them was received after this time.
    pub to: UnixMillis,
}

/// Bytes missing at the end of the log since it was closed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct LostTail {
    /// Bytes that no longer belong to the log: truncated, or unreadable. The number of their records is unknown; a
    /// checkpoint that stores [`LogBounds::next`] shows whether any of them was exposed.
    pub bytes: u64,
    /// False if they were an interrupted append, which was never exposed. True if they were damaged later: exposed
    /// records may be lost.
    pub corrupt: bool,
}

/// The only writer of a log. Runs on the sequencer's thread: calls may block on the disk.
///
/// A writer writes records of its own term, or blocks that were written elsewhere. Its term is that with which the log
/// was opened, until [`Writer::begin`] sets another one. A block of another term ends it.
pub trait Writer: Send {
    /// Begins a new term: the following batches are of `term`, which no record of the log has. Writes nothing.
    fn begin(&mut self, term: Term);

    /// Appends a batch, all or nothing, as durably as configured. All records are of the writer's term and are shorter
    /// than 1 GiB in total. After an error, the same or another batch may be appended; after [`AppendError::Unknown`]
    /// only the same.
    fn append(&mut self, records: &[Record]) -> Result<(), AppendError>;

    /// Encodes a batch that [`Writer::append`] would accept, without appending it. Panics if the batch is empty.
    fn encode(&mut self, records: &[Record]) -> Result<Block, AppendError>;

    /// Appends a block as it is, all or nothing, as durably as configured. The log stores the same bytes as the log
    /// in which [`Writer::append`] wrote the records, unless that was a lone record, which is compressed in a block only.
    /// Returns [`AppendError::Discontinuous`] if the block does not continue this log.
    fn append_block(&mut self, block: &Block) -> Result<(), AppendError>;

    /// Returns an error if maintenance found that the log's files are gone, so that no append can succeed. Cheap.
    fn check(&self) -> Result<(), AppendError> {
        Ok(())
    }
}

/// A reader of a log. Calls may block on the disk and belong on a blocking thread, except [`Reader::extent`].
pub trait Reader: Send + Sync {
    /// Returns the identity of the log.
    fn epoch(&self) -> Epoch;

    /// Returns the first sequence of each term, oldest first. A term is listed from its first append on.
    fn terms(&self) -> Arc<[TermStart]>;

    /// Returns the current bounds of the log. Cheap.
    fn extent(&self) -> LogBounds;

    /// Returns the sequence before which every record is synced and survives a power cut. [`LogBounds::next`] if the
    /// backend makes no difference.
    fn synced(&self) -> Sequence {
        self.extent().next
    }

    /// Returns the ranges that are known to be damaged, found at open or by a reader. Cheap.
    fn damage(&self) -> Vec<Damage> {
        Vec::new()
    }

    /// Returns the first record received at or after `time`; `next` if there is none. May be too early where that
    /// record is damaged, never too late.
    fn seek(&self, time: UnixMillis) -> Result<Sequence, ReadError>;

    /// Returns the receive time of this record, or of the first readable one after it; `None` if there is none.
    fn received_at(&self, sequence: Sequence) -> Result<Option<UnixMillis>, ReadError> {
        let chunk = self.read(sequence, &KeyFilter::Always, 1)?;
        Ok(chunk.items.first().map(|item| match item {
            ReadItem::Record(record) => record.received,
            ReadItem::Damaged { to, .. } => *to,
        }))
    }

    /// Reads from `from` (included) about `bytes_max` decoded bytes of payload, at least one item if there is any.
    /// Skips blocks and records that cannot match `keys` (a TERM matches no key; GAP, SKIP, RULES and damage are always
    /// returned); returned records may still not match. The JSON of a post is a slice of its whole block, of up to 256
    /// KiB after recompression: callers that keep a record for long copy it. At the end of the log, the batch is empty.
    fn read(&self, from: Sequence, keys: &KeyFilter, bytes_max: usize) -> Result<ReadBatch, ReadError>;

    /// Reads the GAP, SKIP and RULES records of `range`, and its damage. Blocks without such records are not decompressed;
    /// with `check` they are read to verify their checksum, otherwise they are skipped. Stops after about `bytes_max`
    /// bytes read from the disk, at [`ReadBatch::next`].
    fn read_notices(&self, range: Range<Sequence>, check: bool, bytes_max: u64) -> Result<ReadBatch, ReadError> {
        let _ = check;
        let bytes_max = usize::try_from(bytes_max).unwrap_or(usize::MAX);
        let mut chunk = self.read(range.start, &KeyFilter::AnyOf([].into()), bytes_max)?;
        chunk.items.retain(|item| item.first() < range.end);
        chunk.next = chunk.next.min(range.end);
        Ok(chunk)
    }

    /// Returns the start of the page that contains `at`, for a read that many readers share. `None` if it is damaged,
    /// or if a reader with these keys wants less than half of it.
    fn page_start(&self, at: Sequence, keys: &KeyFilter) -> Result<Option<Sequence>, ReadError>;

    /// Reads everything from `first` on, as [`Reader::read`] does, but ends where what is stored together ends, so that
    /// nothing has to be decompressed again for what follows; amid it only if it is very large.
    fn read_page(&self, first: Sequence, bytes_max: usize) -> Result<ReadBatch, ReadError>;
}

/// Housekeeping of a log, on a thread of its own.
pub trait Maintenance: Send {
    /// Makes what was appended survive a power cut (for `os`), seals, recompresses, trims. Called about once a second.
    /// Records are trimmed by their age in machine time, which no wall clock changes.
    fn step(&mut self, now: Moment) -> Result<MaintenanceReport, AppendError>;

    /// Every record before this sequence was appended at least `age` ago, by machine time while the log was open; 0 if
    /// nothing is known to be so old. As of the last step.
    fn appended_before(&self, age: Duration) -> Sequence;

    /// [`Maintenance::appended_before`] is asked for ages up to this, or the retention if that is longer. Call it once at start.
    fn keep_ages(&mut self, longest: Duration);
}

/// What maintenance did in one step.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct MaintenanceReport {
    /// Records trimmed.
    pub trimmed_records: u64,
    /// Bytes of the log on disk, after it.
    pub bytes: u64,
    /// Segments of the log, after it.
    pub segments: u64,
    /// Segments recompressed.
    pub recompressed: u64,
    /// Records trimmed before they were as old as [`Config::retention_age_max`].
    pub trimmed_early_records: u64,
    /// Some of them were trimmed for the headroom of the disk.
    pub trimmed_for_headroom: bool,
    /// Records of the log that are known to be damaged, after it.
    pub damaged_records: u64,
}

/// An open log.
pub struct Journal {
    /// For the sequencer.
    pub writer: Box<dyn Writer>,
    /// For all readers.
    pub reader: Arc<dyn Reader>,
    /// For the maintenance thread.
    pub maintenance: Box<dyn Maintenance>,
    /// Bytes of a torn or corrupt tail that were cut off at open.
    pub torn_bytes: u64,
    /// What is missing at the end of the log since it was closed.
    pub lost_tail: LostTail,
}

/// Identity given to a log when it is made, and to this writer.
#[derive(Clone, Copy, Debug)]
pub struct WriterIdentity {
    /// Used only if the log is new.
    pub epoch: Epoch,
    /// This writer's term.
    pub term: Term,
}

/// Where a log begins that continues another one: the log of a replica that has no records yet.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LogStart {
    /// Epoch of the continued log.
    pub epoch: Epoch,
    /// Table of terms of the continued log. Terms that begin at or after `next` are ignored: their blocks list them.
    pub terms: Vec<TermStart>,
    /// Sequence of the first record.
    pub next: Sequence,
}

/// What a record counts in a read in addition to its payload, so that small ones are bounded, too.
pub(super) const RECORD_BYTES: usize = 64;

/// What a record counts in a read.
pub(super) fn read_bytes(record: &Record) -> usize {
    RECORD_BYTES + record.body.post().map_or(0, |post| post.json.len())
}

/// Panics if the batch does not continue the log: that would break I7, and only a bug of the writer can do it.
pub(super) fn check_batch(records: &[Record], next: Sequence, term: Term) {
    for (record, expected) in records.iter().zip(next..) {
        assert_eq!(record.sequence, expected, "the sequences of a log are dense");
        assert_eq!(record.term, term, "a writer writes its own term only");
    }
}

/// Panics if the term has records: the positions of two leaderships would be the same, and only a bug of the caller can do
/// it.
pub(super) fn check_new_term(terms: &[TermStart], term: Term) {
    assert!(terms.iter().all(|start| start.term != term), "a term begins once");
}
