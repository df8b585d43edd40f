//! In-memory backend, for tests, demos, and streams that may not be stored outside X.

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use parking_lot::RwLock;

use super::ages::RecordAges;
use super::key_match::wanted;
use super::{
    AppendError, Config, Journal, LogBounds, LostTail, Maintenance, MaintenanceReport, ReadBatch, ReadError, ReadItem,
    Reader, Writer, WriterIdentity,
};
use crate::clock::Moment;
use crate::model::{Epoch, KeyFilter, Post, Record, RecordBody, Rule, Sequence, TermStart, UnixMillis};

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
    identity: WriterIdentity,
    shared: Arc<MemoryLog>,
}

struct MemoryReader(Arc<MemoryLog>);

struct MemoryMaintenance {
    shared: Arc<MemoryLog>,
    ages: RecordAges,
}

pub(super) fn open(config: &Config, identity: WriterIdentity) -> Journal {
    let bytes_max = if config.retention_bytes_max == 0 { BYTES_MAX_DEFAULT } else { config.retention_bytes_max };
    let log = Log { records: VecDeque::new(), bytes: 0, next: 1, terms: [].into(), trimmed: 0 };
    let shared = Arc::new(MemoryLog {
        epoch: identity.epoch,
        age_max: config.retention_age_max,
        bytes_max,
        log: RwLock::new(log),
    });
    Journal {
        writer: Box::new(MemoryWriter { identity, shared: shared.clone() }),
        reader: Arc::new(MemoryReader(shared.clone())),
        maintenance: Box::new(MemoryMaintenance {
            ages: RecordAges::in_memory(identity.epoch, config.retention_age_max),
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

impl Writer for MemoryWriter {
    fn append(&mut self, records: &[Record]) -> Result<(), AppendError> {
        let own: Vec<Record> = records.iter().map(deep_copy).collect();
        let mut log = self.shared.log.write();
        super::check_batch(records, log.next, self.identity.term);
        if !records.is_empty() && log.terms.last().is_none_or(|last| last.term != self.identity.term) {
            let start = TermStart { term: self.identity.term, first: log.next };
            log.terms = log.terms.iter().copied().chain([start]).collect();
        }
        log.next += records.len() as u64;
        log.bytes += own.iter().map(bytes_of).sum::<u64>();
        log.records.extend(own);
        while log.bytes > self.shared.bytes_max && log.records.len() > records.len().max(1) {
            log.trim_one();
        }
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
