use std::sync::Arc;
use std::sync::atomic::{AtomicI64, AtomicU64, Ordering};

use tokio::sync::Semaphore;

use super::cold::page_cache::PageCache;
use super::cold::queue::{ColdReader, LogKind};
use super::entry::{self, EntryKind};
use super::fanout::{FanoutGroups, FilterLimitReached, GroupMember, GroupRead, GroupReadKey};
use super::filter::Filter;
use super::lateness::Lateness;
use super::read::Read;
use super::ring::{ReadLimits, Ring};
use super::session::registry::SessionRegistry;
use super::side_log::SideLog;
use super::start::outcome::{BEGINNING, trimmed_before};
use super::status::gap_index::GapIndex;
use super::status::tag_stats::TagStats;
use super::status::upstream_status::UpstreamMonitor;
use super::times::ClockCorrections;
use super::token::{Keyring, ResumeToken};
use super::wakeup::{WaiterHandle, WakeupIndex};
use super::{Config, Metrics, TagInfo};
use crate::clock::Clock;
use crate::journal;
use crate::model::{AccountName, KeyFilter, Position, Record, Sequence, Term, TermStart, UnixMillis};

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
    parked: Arc<WakeupIndex>,
    groups: Arc<FanoutGroups>,
    next: AtomicU64,
    tip_receive_time: AtomicI64,
    cold: ColdReader,
    side_cold: ColdReader,
    replaying: Arc<Semaphore>,
    tags: TagStats,
    gaps: GapIndex,
    lateness: Lateness,
    side: SideLog,
    times: ClockCorrections,
    upstream: UpstreamMonitor,
    registry: Arc<SessionRegistry>,
    metrics: Metrics,
}

/// What a hub is made of.
pub struct HubParts {
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

impl Hub {
    /// A hub over this log; the ring starts empty and is filled by [`Hub::preload`].
    pub fn new(parts: HubParts, ring_start: Sequence) -> Self {
        let extent = parts.reader.extent();
        Self {
            ring: Ring::new(parts.config.ring_bytes_max, ring_start),
            parked: Arc::new(WakeupIndex::new(extent.next)),
            groups: Arc::new(FanoutGroups::new(parts.config.fanout_cache_bytes_max, parts.config.filter_bytes_max)),
            next: AtomicU64::new(extent.next),
            tip_receive_time: AtomicI64::new(extent.newest_received.map_or(NO_RECORD, |time| time.0)),
            cold: ColdReader::new(parts.config.journal_readers_max, parts.config.replay_cache_bytes_max),
            side_cold: ColdReader::new(
                parts.config.journal_readers_max,
                parts.config.private_gaps.page_cache_bytes_max,
            ),
            replaying: Arc::new(Semaphore::new(parts.config.replay_sessions_max)),
            tags: TagStats::new(&parts.tags, parts.config.tags_tracked_max),
            gaps: GapIndex::new(parts.config.closed_gaps_max),
            lateness: Lateness::default(),
            side: SideLog::new(
                parts.side,
                parts.clock.clone(),
                parts.config.private_gaps.clone(),
                parts.config.recovery_window,
            ),
            times: ClockCorrections::new(extent.next),
            upstream: UpstreamMonitor::default(),
            registry: Arc::new(SessionRegistry::new(parts.config.sessions_max)),
            account: parts.account,
            config: parts.config,
            clock: parts.clock,
            reader: parts.reader,
            keyring: parts.keyring,
            metrics: parts.metrics,
        }
    }

    /// Puts records that the journal held at start into the ring.
    pub fn preload(&self, records: Vec<Record>) {
        self.ring.push(&entry::encode(records));
    }

    /// Empties the ring; the next entry has sequence `next`. Only at start, where a stretch of the log is damaged.
    pub fn reset_ring(&self, next: Sequence) {
        self.ring.reset(next);
    }

    /// Shows appended records to everybody. Only the sequencer calls this, and only after the append.
    pub fn publish(&self, records: Vec<Record>) {
        let Some(last) = records.last() else { return };
        let (next, received) = (last.sequence + 1, last.received);
        let entries = entry::encode(records);
        let rules = entries.iter().filter_map(|entry| entry.event()).map(|event| &*event.rules);
        self.tags.count(rules, self.clock.moment());
        for entry in &entries {
            if let EntryKind::Gap(gap) = &entry.kind {
                self.gaps.record(entry.sequence, gap);
            }
        }
        self.ring.push(&entries);
        self.tip_receive_time.store(received.0, Ordering::Relaxed);
        self.next.store(next, Ordering::Release);
        let woken = self.parked.notify(&entries);
        self.metrics.wakes.inc_by(woken as u64);
    }

    /// Reads on from `from` out of the ring; `None` if the cursor is behind it.
    pub fn read_hot(&self, from: Sequence, keys: &KeyFilter, limits: ReadLimits) -> Option<Read> {
        if from >= self.next() {
            return Some(Read { entries: Vec::new(), next: from });
        }
        let taken = self.ring.read(from, keys, limits).ok()?;
        Some(Read { entries: taken.entries, next: taken.next })
    }

    /// What comes next in the ring for all that sit where this session does.
    pub(super) fn read_for_group(&self, seat: &GroupMember, asked: GroupReadKey) -> Option<Arc<GroupRead>> {
        seat.read(&self.ring, asked)
    }

    /// Registers a session with these keys, to be woken.
    pub(super) fn register_waiter(&self, keys: KeyFilter) -> WaiterHandle {
        self.parked.register(keys)
    }

    /// A place among those that read the journal or wait to; `None` if there are too many.
    pub(super) fn acquire_replay_permit(&self) -> Option<tokio::sync::OwnedSemaphorePermit> {
        self.replaying.clone().try_acquire_owned().ok()
    }

    /// A place among the sessions with this filter.
    pub fn enter(&self, filter: Filter) -> Result<GroupMember, FilterLimitReached> {
        self.groups.join(filter)
    }

    /// Sessions that read the journal or wait to.
    pub(super) fn replays(&self) -> usize {
        self.config.replay_sessions_max - self.replaying.available_permits().min(self.config.replay_sessions_max)
    }

    /// True if nothing from here on has to be read from the journal.
    pub(super) fn is_hot(&self, from: Sequence) -> bool {
        from >= self.next() || self.ring.contains(from)
    }

    /// What of the journal is kept in memory.
    pub(super) fn pages(&self) -> &PageCache {
        self.cold.pages()
    }

    /// Turns at reading one of the two logs.
    pub(super) fn cold(&self, log: LogKind) -> &ColdReader {
        match log {
            LogKind::Main => &self.cold,
            LogKind::Side => &self.side_cold,
        }
    }

    /// The sequence that the next record will get.
    pub fn next(&self) -> Sequence {
        self.next.load(Ordering::Acquire)
    }

    /// When the newest record was received; `None` before the first one.
    pub fn tip_received(&self) -> Option<UnixMillis> {
        Some(self.tip_receive_time.load(Ordering::Relaxed)).filter(|time| *time != NO_RECORD).map(UnixMillis)
    }

    /// Corrections of upstream time over the log.
    pub fn times(&self) -> &ClockCorrections {
        &self.times
    }

    /// The clock was corrected: records from the next one on have stamps of another scale. Only the sequencer calls this,
    /// before it makes records.
    pub fn note_correction(&self, by_ms: i64) {
        if self.times.note(&*self.reader, self.next(), Some(by_ms))
            && let Some(tip) = self.tip_received()
        {
            self.tip_receive_time.store(tip.shifted(by_ms).0, Ordering::Relaxed);
        }
    }

    /// The newest record was stamped by a clock that was ahead of this one, and it is not known by how much: stamps may go
    /// back. Only the sequencer calls this, at start.
    pub fn note_setback(&self) {
        let now = self.clock.now();
        let ahead = self.tip_received().is_some_and(|tip| tip > now.plus(self.clock.uncertainty()));
        if ahead && self.times.note(&*self.reader, self.next(), None) {
            self.tip_receive_time.store(now.0, Ordering::Relaxed);
        }
    }

    /// The position just after this record.
    pub fn position(&self, sequence: Sequence) -> Position {
        Position { epoch: self.reader.epoch(), term: self.term_of(sequence), sequence }
    }

    /// A token that stands just before `cursor`; everything created before `time` is before it.
    pub fn token_before(&self, cursor: Sequence, time: UnixMillis) -> String {
        self.seal(&ResumeToken {
            account: self.account.clone(),
            position: self.position(cursor - 1),
            low_watermark: self.low_watermark(cursor, time),
            received_up_to: time,
            subscription_start: time,
            subscription_from: None,
            filter: ResumeToken::NO_FILTER,
            duplicates_until: None,
            private: None,
        })
    }

    /// A token that stands before the oldest record, of a subscription that takes all that the log holds.
    pub fn oldest_token(&self) -> String {
        let extent = self.reader.extent();
        let begins = extent.earliest_received.unwrap_or_else(|| self.clock.now());
        self.seal(&ResumeToken {
            account: self.account.clone(),
            position: self.position(extent.earliest - 1),
            low_watermark: self.low_watermark(extent.earliest, begins),
            received_up_to: begins,
            subscription_start: BEGINNING,
            subscription_from: None,
            filter: ResumeToken::NO_FILTER,
            duplicates_until: None,
            private: trimmed_before(extent.earliest),
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
        let late = self.lateness.at(cursor).max(self.config.allowed_lateness);
        let reached = received.min(self.clock.now()).minus(late).minus(self.clock.uncertainty());
        self.gaps.low_watermark(cursor, reached.min(self.side.pending_from()))
    }

    /// How late the upstream was over the log.
    pub fn lateness(&self) -> &Lateness {
        &self.lateness
    }

    /// Signs a token.
    pub fn seal(&self, token: &ResumeToken) -> String {
        self.keyring.sign(token)
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
    pub fn gaps(&self) -> &GapIndex {
        &self.gaps
    }

    /// What only some subscriptions lack.
    pub fn side(&self) -> &SideLog {
        &self.side
    }

    /// What is known of the upstream.
    pub fn upstream(&self) -> &UpstreamMonitor {
        &self.upstream
    }

    /// Who is there.
    pub fn registry(&self) -> &Arc<SessionRegistry> {
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
