use std::sync::Arc;
use std::sync::atomic::{AtomicI64, AtomicU64, Ordering};

use tokio::sync::Semaphore;

use super::cold::page_cache::Pages;
use super::cold::{Cold, Log};
use super::entry::{self, Entry, Kind};
use super::fanout::{Asked, Audiences, FilterLimitReached, Seat, Stretch};
use super::filter::Filter;
use super::lateness::Lateness;
use super::ring::{Limits, Ring};
use super::session::registry::Registry;
use super::side_log::Side;
use super::status::gap_index::Gaps;
use super::status::tag_stats::Tags;
use super::status::upstream_status::Upstream;
use super::times::Times;
use super::token::{Keyring, Token};
use super::wakeup::{Parked, Ticket};
use super::{Config, Metrics, TagInfo, start};
use crate::clock::Clock;
use crate::journal;
use crate::model::{AccountName, Keys, Position, Record, Sequence, Term, TermStart, UnixMillis};

/// In place of a time, before the first record.
const NO_RECORD: i64 = i64::MIN;

/// The log of one account, as sessions see it.
pub struct Hub {
    account: AccountName,
    config: Config,
    clock: Clock,
    reader: Arc<dyn journal::Reader>,
    keyring: Arc<Keyring>,
    ring: Ring,
    parked: Arc<Parked>,
    audiences: Arc<Audiences>,
    next: AtomicU64,
    tip_received: AtomicI64,
    cold: Cold,
    side_cold: Cold,
    replaying: Arc<Semaphore>,
    tags: Tags,
    gaps: Gaps,
    lateness: Lateness,
    side: Side,
    times: Times,
    upstream: Upstream,
    registry: Arc<Registry>,
    metrics: Metrics,
}

/// What a hub is made of.
pub struct Parts {
    /// Whose log.
    pub account: AccountName,
    /// Settings.
    pub config: Config,
    /// Tags that the configuration names.
    pub tags: Vec<String>,
    /// The time.
    pub clock: Clock,
    /// The log.
    pub reader: Arc<dyn journal::Reader>,
    /// The side log.
    pub side: Arc<dyn journal::Reader>,
    /// Signs and verifies tokens.
    pub keyring: Arc<Keyring>,
    /// Counters.
    pub metrics: Metrics,
}

/// A stretch of the log for one cursor.
#[derive(Debug)]
pub struct Read {
    /// What may match, in order.
    pub entries: Vec<Arc<Entry>>,
    /// Where to read on.
    pub next: Sequence,
}

/// A read that cannot be done.
#[derive(Debug)]
pub enum ReadError {
    /// The record is older than what the log holds.
    Trimmed {
        /// The oldest record held.
        earliest: Sequence,
    },
    /// The journal cannot be read now.
    Unavailable(String),
}

impl From<journal::ReadError> for ReadError {
    fn from(error: journal::ReadError) -> Self {
        match error {
            journal::ReadError::Trimmed { earliest } => Self::Trimmed { earliest },
            error @ journal::ReadError::Io(_) => Self::Unavailable(error.to_string()),
        }
    }
}

impl Hub {
    /// A hub over this log; the ring starts empty and is filled by [`Hub::warm`].
    pub fn new(parts: Parts, ring_start: Sequence) -> Self {
        let extent = parts.reader.extent();
        Self {
            ring: Ring::new(parts.config.ring_bytes_max, ring_start),
            parked: Arc::new(Parked::new(extent.next)),
            audiences: Arc::new(Audiences::new(parts.config.shared_bytes_max, parts.config.filter_bytes_max)),
            next: AtomicU64::new(extent.next),
            tip_received: AtomicI64::new(extent.newest_received.map_or(NO_RECORD, |time| time.0)),
            cold: Cold::new(parts.config.replays_reading_max, parts.config.replay_cache_bytes_max),
            side_cold: Cold::new(parts.config.replays_reading_max, parts.config.private_holes.page_cache_bytes_max),
            replaying: Arc::new(Semaphore::new(parts.config.replays_max)),
            tags: Tags::new(&parts.tags, parts.config.tags_tracked_max),
            gaps: Gaps::new(parts.config.gaps_kept_max),
            lateness: Lateness::default(),
            side: Side::new(
                parts.side,
                parts.clock.clone(),
                parts.config.private_holes.clone(),
                parts.config.recovery_window,
            ),
            times: Times::new(extent.next),
            upstream: Upstream::default(),
            registry: Arc::new(Registry::new(parts.config.sessions_max)),
            account: parts.account,
            config: parts.config,
            clock: parts.clock,
            reader: parts.reader,
            keyring: parts.keyring,
            metrics: parts.metrics,
        }
    }

    /// Puts records that the journal held at start into the ring.
    pub fn warm(&self, records: Vec<Record>) {
        self.ring.push(&entry::encode(records));
    }

    /// Empties the ring; the next entry has sequence `next`. Only at start, where a stretch of the log is damaged.
    pub fn restart_ring(&self, next: Sequence) {
        self.ring.restart(next);
    }

    /// Shows appended records to everybody. Only the sequencer calls this, and only after the append.
    pub fn publish(&self, records: Vec<Record>) {
        let Some(last) = records.last() else { return };
        let (next, received) = (last.sequence + 1, last.received);
        let entries = entry::encode(records);
        let rules = entries.iter().filter_map(|entry| entry.event()).map(|event| &*event.rules);
        self.tags.count(rules, self.clock.moment());
        for entry in &entries {
            if let Kind::Gap(gap) = &entry.kind {
                self.gaps.note(entry.sequence, gap);
            }
        }
        self.ring.push(&entries);
        self.tip_received.store(received.0, Ordering::Relaxed);
        self.next.store(next, Ordering::Release);
        let woken = self.parked.offer(&entries);
        self.metrics.wakes.inc_by(woken as u64);
    }

    /// Reads on from `from` out of the ring; `None` if the cursor is behind it.
    pub fn read_hot(&self, from: Sequence, keys: &Keys, limits: Limits) -> Option<Read> {
        if from >= self.next() {
            return Some(Read { entries: Vec::new(), next: from });
        }
        let taken = self.ring.take(from, keys, limits).ok()?;
        Some(Read { entries: taken.entries, next: taken.next })
    }

    /// What comes next in the ring for all that sit where this session does.
    pub(super) fn take_shared(&self, seat: &Seat, asked: Asked) -> Option<Arc<Stretch>> {
        seat.take(&self.ring, asked)
    }

    /// Registers a session with these keys, to be woken.
    pub(super) fn ticket(&self, keys: Keys) -> Ticket {
        self.parked.register(keys)
    }

    /// A place among those that read the journal or wait to; `None` if there are too many.
    pub(super) fn replay_place(&self) -> Option<tokio::sync::OwnedSemaphorePermit> {
        self.replaying.clone().try_acquire_owned().ok()
    }

    /// A place among the sessions with this filter.
    pub fn enter(&self, filter: Filter) -> Result<Seat, FilterLimitReached> {
        self.audiences.enter(filter)
    }

    /// Sessions that read the journal or wait to.
    pub(super) fn replays(&self) -> usize {
        self.config.replays_max - self.replaying.available_permits().min(self.config.replays_max)
    }

    /// True if nothing from here on has to be read from the journal.
    pub(super) fn is_hot(&self, from: Sequence) -> bool {
        from >= self.next() || self.ring.reaches(from)
    }

    /// What of the journal is kept in memory.
    pub(super) fn pages(&self) -> &Pages {
        self.cold.pages()
    }

    /// Turns at reading one of the two logs.
    pub(super) fn cold(&self, log: Log) -> &Cold {
        match log {
            Log::Main => &self.cold,
            Log::Side => &self.side_cold,
        }
    }

    /// The sequence that the next record will get.
    pub fn next(&self) -> Sequence {
        self.next.load(Ordering::Acquire)
    }

    /// When the newest record was received; `None` before the first one.
    pub fn tip_received(&self) -> Option<UnixMillis> {
        Some(self.tip_received.load(Ordering::Relaxed)).filter(|time| *time != NO_RECORD).map(UnixMillis)
    }

    /// Corrections of upstream time over the log.
    pub fn times(&self) -> &Times {
        &self.times
    }

    /// The clock was corrected: records from the next one on have stamps of another scale. Only the sequencer calls this,
    /// before it makes records.
    pub fn note_correction(&self, by_ms: i64) {
        if self.times.note(&*self.reader, self.next(), Some(by_ms))
            && let Some(tip) = self.tip_received()
        {
            self.tip_received.store(tip.shifted(by_ms).0, Ordering::Relaxed);
        }
    }

    /// The newest record was stamped by a clock that was ahead of this one, and it is not known by how much: stamps may go
    /// back. Only the sequencer calls this, at start.
    pub fn note_setback(&self) {
        let now = self.clock.now();
        let ahead = self.tip_received().is_some_and(|tip| tip > now.plus(self.clock.uncertainty()));
        if ahead && self.times.note(&*self.reader, self.next(), None) {
            self.tip_received.store(now.0, Ordering::Relaxed);
        }
    }

    /// The position just after this record.
    pub fn position(&self, sequence: Sequence) -> Position {
        Position { epoch: self.reader.epoch(), term: self.term_of(sequence), sequence }
    }

    /// A token that stands just before `cursor`; everything created before `time` is before it.
    pub fn token_before(&self, cursor: Sequence, time: UnixMillis) -> String {
        self.seal(&Token {
            account: self.account.clone(),
            position: self.position(cursor - 1),
            low_watermark: self.low_watermark(cursor, time),
            reached: time,
            lineage_start: time,
            lineage_from: None,
            filter: Token::NO_FILTER,
            repeats_until: None,
            private: None,
        })
    }

    /// A token that stands before the oldest record, of a lineage that takes all that the log holds.
    pub fn oldest_token(&self) -> String {
        let extent = self.reader.extent();
        let begins = extent.earliest_received.unwrap_or_else(|| self.clock.now());
        self.seal(&Token {
            account: self.account.clone(),
            position: self.position(extent.earliest - 1),
            low_watermark: self.low_watermark(extent.earliest, begins),
            reached: begins,
            lineage_start: start::BEGINNING,
            lineage_from: None,
            filter: Token::NO_FILTER,
            repeats_until: None,
            private: start::trimmed_before(extent.earliest),
        })
    }

    /// The term that a record belongs to; 0 belongs to the newest.
    pub(super) fn term_of(&self, sequence: Sequence) -> Term {
        let terms: Arc<[TermStart]> = self.reader.terms();
        let at = match sequence {
            0 => terms.len(),
            _ => terms.partition_point(|start| start.first <= sequence),
        };
        terms.get(at.saturating_sub(1)).map_or(Term(0), |start| start.term)
    }

    /// Returns the time before which everything that was created is in the log before `cursor`, or in a gap that is open
    /// there; the record before the cursor was received at `received`. A record from a clock that was ahead says nothing of
    /// the future, and the two clocks are compared only so exactly.
    pub fn low_watermark(&self, cursor: Sequence, received: UnixMillis) -> UnixMillis {
        let late = self.lateness.at(cursor).max(self.config.slack);
        let reached = received.min(self.clock.now()).minus(late).minus(self.clock.uncertainty());
        self.gaps.low_watermark(cursor, reached.min(self.side.pending_from()))
    }

    /// How late the upstream was over the log.
    pub fn lateness(&self) -> &Lateness {
        &self.lateness
    }

    /// Signs a token.
    pub fn seal(&self, token: &Token) -> String {
        self.keyring.seal(token)
    }

    /// Verifies tokens.
    pub fn keyring(&self) -> &Keyring {
        &self.keyring
    }

    /// Whose log.
    pub fn account(&self) -> &AccountName {
        &self.account
    }

    /// The settings.
    pub fn config(&self) -> &Config {
        &self.config
    }

    /// The time.
    pub fn clock(&self) -> &Clock {
        &self.clock
    }

    /// The log itself.
    pub fn reader(&self) -> &Arc<dyn journal::Reader> {
        &self.reader
    }

    /// What the log tells of gaps.
    pub fn gaps(&self) -> &Gaps {
        &self.gaps
    }

    /// What only some lineages lack.
    pub fn side(&self) -> &Side {
        &self.side
    }

    /// What is known of the upstream.
    pub fn upstream(&self) -> &Upstream {
        &self.upstream
    }

    /// Who is there.
    pub fn registry(&self) -> &Arc<Registry> {
        &self.registry
    }

    /// Counters.
    pub fn metrics(&self) -> &Metrics {
        &self.metrics
    }

    /// Tags seen or configured.
    pub fn tags(&self) -> Vec<TagInfo> {
        self.tags.list(self.clock.moment())
    }

    /// The tags that a filter names and nothing feeds, each with the known tag that looks most like it, if one does.
    pub fn unknown_tags(&self, filter: &Filter) -> Vec<(Arc<str>, Option<Arc<str>>)> {
        self.tags.unknown(filter.tags_named())
    }
}
