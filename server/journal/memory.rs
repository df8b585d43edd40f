//! The backend that keeps records in memory: for tests, demos and streams that X alone may hold.

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use parking_lot::RwLock;

use super::ages::Ages;
use super::key_match::wanted;
use super::{
    AppendError, Chunk, Config, Extent, Identity, Item, Journal, LostTail, ReadError, Reader, Report, Upkeep, Writer,
};
use crate::clock::Moment;
use crate::model::{Body, Epoch, Keys, Post, Record, Rule, Sequence, TermStart, UnixMillis};

/// Bytes kept when `retention_bytes_max` is 0: memory has no end of its own that would be told in time.
const BYTES_MAX_DEFAULT: u64 = 256 << 20;

/// What a record takes besides its payload: the struct, its rules, the allocator's share.
const RECORD_BYTES: u64 = 256;

struct Log {
    records: VecDeque<Record>,
    bytes: u64,
    next: Sequence,
    terms: Arc<[TermStart]>,
    /// Records trimmed since the last report.
    trimmed: u64,
}

struct Shared {
    epoch: Epoch,
    age_max: Duration,
    bytes_max: u64,
    log: RwLock<Log>,
}

struct MemoryWriter {
    identity: Identity,
    shared: Arc<Shared>,
}

struct MemoryReader(Arc<Shared>);

struct MemoryUpkeep {
    shared: Arc<Shared>,
    ages: Ages,
}

pub(super) fn open(config: &Config, identity: Identity) -> Journal {
    let bytes_max = if config.retention_bytes_max == 0 { BYTES_MAX_DEFAULT } else { config.retention_bytes_max };
    let log = Log { records: VecDeque::new(), bytes: 0, next: 1, terms: [].into(), trimmed: 0 };
    let shared =
        Arc::new(Shared { epoch: identity.epoch, age_max: config.retention_age_max, bytes_max, log: RwLock::new(log) });
    Journal {
        writer: Box::new(MemoryWriter { identity, shared: shared.clone() }),
        reader: Arc::new(MemoryReader(shared.clone())),
        upkeep: Box::new(MemoryUpkeep { ages: Ages::in_memory(identity.epoch, config.retention_age_max), shared }),
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
        let own: Vec<Record> = records.iter().map(own).collect();
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

    fn extent(&self) -> Extent {
        let log = self.0.log.read();
        Extent {
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

    fn read(&self, from: Sequence, keys: &Keys, bytes_max: usize) -> Result<Chunk, ReadError> {
        let from = from.max(1);
        let log = self.0.log.read();
        let earliest = log.earliest();
        if from < earliest {
            return Err(ReadError::Trimmed { earliest });
        }
        let mut chunk = Chunk { items: Vec::new(), next: from };
        let mut bytes = 0;
        let skipped = usize::try_from(from - earliest).unwrap_or(usize::MAX);
        for record in log.records.iter().skip(skipped) {
            if bytes >= bytes_max && !chunk.items.is_empty() {
                break;
            }
            chunk.next = record.sequence + 1;
            if wanted(record, keys) {
                bytes += super::read_bytes(record);
                chunk.items.push(Item::Record(record.clone()));
            }
        }
        Ok(chunk)
    }

    fn shared_start(&self, at: Sequence, keys: &Keys) -> Result<Option<Sequence>, ReadError> {
        let earliest = self.0.log.read().earliest();
        if at.max(1) < earliest {
            return Err(ReadError::Trimmed { earliest });
        }
        Ok(matches!(keys, Keys::Always).then_some(at.max(1)))
    }

    fn read_shared(&self, first: Sequence, bytes_max: usize) -> Result<Chunk, ReadError> {
        self.read(first, &Keys::Always, bytes_max)
    }
}

impl Upkeep for MemoryUpkeep {
    fn step(&mut self, now: Moment) -> Result<Report, AppendError> {
        let mut log = self.shared.log.write();
        self.ages.note(now, log.next);
        let trimmed_early_records = log.trimmed;
        let expired = self.ages.appended_before(self.shared.age_max);
        while log.records.front().is_some_and(|record| record.sequence < expired) {
            log.trim_one();
        }
        let trimmed_records = std::mem::take(&mut log.trimmed);
        Ok(Report { trimmed_records, trimmed_early_records, bytes: log.bytes, ..Report::default() })
    }

    fn appended_before(&self, age: Duration) -> Sequence {
        self.ages.appended_before(age)
    }

    fn keep_ages(&mut self, longest: Duration) {
        self.ages.keep(longest);
    }
}

fn bytes_of(record: &Record) -> u64 {
    RECORD_BYTES + record.body.post().map_or(0, |post| post.json.len() as u64)
}

/// The record with memory of its own: a payload that is a slice of a larger buffer would keep all of that.
fn own(record: &Record) -> Record {
    let post = |post: &Post| Post { json: Bytes::copy_from_slice(&post.json), ..post.clone() };
    let body = match &record.body {
        Body::Post(it) => Body::Post(post(it)),
        Body::Delta { prior, post: it } => Body::Delta { prior: Arc::<[Rule]>::clone(prior), post: post(it) },
        other => other.clone(),
    };
    Record { body, ..record.clone() }
}
