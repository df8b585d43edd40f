//! In-memory backend, for tests, demos, and streams that may not be stored outside X.

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use parking_lot::RwLock;

use super::ages::RecordAges;
use super::block::{APPEND_LEVEL, BlockEncoder};
use super::continuation::{LogEnd, started};
use super::key_match::wanted;
use super::traits::check_new_term;
use super::{
    AppendError, Block, Config, Journal, LogBounds, LogStart, LostTail, Maintenance, MaintenanceReport, ReadBatch,
    ReadError, ReadItem, Reader, Writer, WriterIdentity,
};
use crate::clock::Moment;
use crate::model::{Epoch, KeyFilter, Post, Record, RecordBody, Rule, Sequence, Term, TermStart, UnixMillis};

/// Byte limit when `retention_bytes_max` is 0: memory exhaustion is not reported in time.
const BYTES_MAX_DEFAULT: u64 = 256 << 20;

/// Estimated bytes of a record in addition to its payload: the struct, its rules, the allocator's share.
const RECORD_BYTES: u64 = 256;

struct Log {
    records: VecDeque<Record>,
    bytes: u64,
    next: Sequence,
    terms: Arc<[TermStart]>,
    /// Records trimmed since the last report.
    trimmed: u64,
}

struct MemoryLog {
    epoch: Epoch,
    age_max: Duration,
    bytes_max: u64,
    log: RwLock<Log>,
}

struct MemoryWriter {
    /// Term of this writer's records; `None` after a block of another term.
    own: Option<Term>,
    /// Created with the first block that is encoded.
    encoder: Option<BlockEncoder>,
    shared: Arc<MemoryLog>,
}

struct MemoryReader(Arc<MemoryLog>);

struct MemoryMaintenance {
    shared: Arc<MemoryLog>,
    ages: RecordAges,
}

pub(super) fn open(config: &Config, identity: WriterIdentity) -> Journal {
    open_at(config, &LogStart { epoch: identity.epoch, terms: Vec::new(), next: 1 }, identity.term)
}

/// Creates a log that continues another one.
pub(super) fn open_at(config: &Config, start: &LogStart, term: Term) -> Journal {
    let bytes_max = if config.retention_bytes_max == 0 { BYTES_MAX_DEFAULT } else { config.retention_bytes_max };
    let log = Log {
        records: VecDeque::new(),
        bytes: 0,
        next: start.next,
        terms: started(&start.terms, start.next).into(),
        trimmed: 0,
    };
    let shared =
        Arc::new(MemoryLog { epoch: start.epoch, age_max: config.retention_age_max, bytes_max, log: RwLock::new(log) });
    Journal {
        writer: Box::new(MemoryWriter { own: Some(term), encoder: None, shared: shared.clone() }),
        reader: Arc::new(MemoryReader(shared.clone())),
        maintenance: Box::new(MemoryMaintenance {
            ages: RecordAges::in_memory(start.epoch, config.retention_age_max),
            shared,
        }),
        torn_bytes: 0,
        lost_tail: LostTail::default(),
    }
}

impl Log {
    fn earliest(&self) -> Sequence {
        self.records.front().map_or(self.next, |record| record.sequence)
    }

    fn trim_one(&mut self) {
        if let Some(record) = self.records.pop_front() {
            self.bytes -= bytes_of(&record);
            self.trimmed += 1;
        }
    }
}

impl MemoryWriter {
    fn own(&self) -> Term {
        self.own.expect("a writer appends records only in a term of its own")
    }
}

impl MemoryLog {
    /// Appends copies of the records, which are of the newest term.
    fn add(&self, log: &mut Log, own: Vec<Record>) {
        let count = own.len();
        log.next += count as u64;
        log.bytes += own.iter().map(bytes_of).sum::<u64>();
        log.records.extend(own);
        while log.bytes > self.bytes_max && log.records.len() > count.max(1) {
            log.trim_one();
        }
    }
}

impl Writer for MemoryWriter {
    fn begin(&mut self, term: Term) {
        check_new_term(&self.shared.log.read().terms, term);
        self.own = Some(term);
    }

    fn append(&mut self, records: &[Record]) -> Result<(), AppendError> {
        let own: Vec<Record> = records.iter().map(deep_copy).collect();
        let term = self.own();
        let mut log = self.shared.log.write();
        super::check_batch(records, log.next, term);
        if !records.is_empty() && log.terms.last().is_none_or(|last| last.term != term) {
            let start = TermStart { term, first: log.next };
            log.terms = log.terms.iter().copied().chain([start]).collect();
        }
        self.shared.add(&mut log, own);
        Ok(())
    }

    fn encode(&mut self, records: &[Record]) -> Result<Block, AppendError> {
        super::check_batch(records, self.shared.log.read().next, self.own());
        let epoch = self.shared.epoch;
        let encoder = match &mut self.encoder {
            Some(encoder) => encoder,
            none => none.insert(BlockEncoder::new(epoch, APPEND_LEVEL).map_err(AppendError::Io)?),
        };
        let encoded = encoder.encode(records).map_err(AppendError::Io)?;
        Ok(Block::new(epoch, &encoded, records))
    }

    fn append_block(&mut self, block: &Block) -> Result<(), AppendError> {
        let mut log = self.shared.log.write();
        let terms = LogEnd { epoch: self.shared.epoch, next: log.next, terms: &log.terms }.check(block)?;
        let records = block.records().expect("a block is verified when it is created");
        if let Some(terms) = terms {
            log.terms = terms.into();
        }
        self.shared.add(&mut log, records.iter().map(deep_copy).collect());
        self.own = self.own.filter(|own| *own == block.term());
        Ok(())
    }
}

impl Reader for MemoryReader {
    fn epoch(&self) -> Epoch {
        self.0.epoch
    }

    fn terms(&self) -> Arc<[TermStart]> {
        self.0.log.read().terms.clone()
    }

    fn extent(&self) -> LogBounds {
        let log = self.0.log.read();
        LogBounds {
            earliest: log.earliest(),
            next: log.next,
            earliest_received: log.records.front().map(|record| record.received),
            newest_received: log.records.back().map(|record| record.received),
        }
    }

    fn seek(&self, time: UnixMillis) -> Result<Sequence, ReadError> {
        let log = self.0.log.read();
        let at = log.records.partition_point(|record| record.received < time);
        Ok(log.earliest() + at as u64)
    }

    fn read(&self, from: Sequence, keys: &KeyFilter, bytes_max: usize) -> Result<ReadBatch, ReadError> {
        let from = from.max(1);
        let log = self.0.log.read();
        let earliest = log.earliest();
        if from < earliest {
            return Err(ReadError::Trimmed { earliest });
        }
        let mut chunk = ReadBatch { items: Vec::new(), next: from };
        let mut bytes = 0;
        let skipped = usize::try_from(from - earliest).unwrap_or(usize::MAX);
        for record in log.records.iter().skip(skipped) {
            if bytes >= bytes_max && !chunk.items.is_empty() {
                break;
            }
            chunk.next = record.sequence + 1;
            if wanted(record, keys) {
                bytes += super::read_bytes(record);
                chunk.items.push(ReadItem::Record(record.clone()));
            }
        }
        Ok(chunk)
    }

    fn page_start(&self, at: Sequence, keys: &KeyFilter) -> Result<Option<Sequence>, ReadError> {
        let earliest = self.0.log.read().earliest();
        if at.max(1) < earliest {
            return Err(ReadError::Trimmed { earliest });
        }
        Ok(matches!(keys, KeyFilter::Always).then_some(at.max(1)))
    }

    fn read_page(&self, first: Sequence, bytes_max: usize) -> Result<ReadBatch, ReadError> {
        self.read(first, &KeyFilter::Always, bytes_max)
    }
}

impl Maintenance for MemoryMaintenance {
    fn step(&mut self, now: Moment) -> Result<MaintenanceReport, AppendError> {
        let mut log = self.shared.log.write();
        self.ages.note(now, log.next);
        let trimmed_early_records = log.trimmed;
        let expired = self.ages.appended_before(self.shared.age_max);
        while log.records.front().is_some_and(|record| record.sequence < expired) {
            log.trim_one();
        }
        let trimmed_records = std::mem::take(&mut log.trimmed);
        Ok(MaintenanceReport {
            trimmed_records,
            trimmed_early_records,
            bytes: log.bytes,
            ..MaintenanceReport::default()
        })
    }

    fn appended_before(&self, age: Duration) -> Sequence {
        self.ages.appended_before(age)
    }

    fn keep_ages(&mut self, longest: Duration) {
        self.ages.keep(longest);
    }
}

fn bytes_of(record: &Record) -> u64 {
    let change = if let RecordBody::Rules(change) = &record.body { change.bytes() } else { 0 };
    RECORD_BYTES + record.body.post().map_or(change, |post| post.json.len()) as u64
}

/// Copies the record into its own memory: a payload that is a slice of a larger buffer would keep the whole buffer.
fn deep_copy(record: &Record) -> Record {
    let post = |post: &Post| Post { json: Bytes::copy_from_slice(&post.json), ..post.clone() };
    let body = match &record.body {
        RecordBody::Post(it) => RecordBody::Post(post(it)),
        RecordBody::Delta { prior, post: it } => {
            RecordBody::Delta { prior: Arc::<[Rule]>::clone(prior), post: post(it) }
        }
        other => other.clone(),
    };
    Record { body, ..record.clone() }
}
