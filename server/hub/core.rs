mod tags;

use std::sync::Arc;
use std::sync::atomic::{AtomicI64, AtomicU64, Ordering};
use std::time::Duration;

use arc_swap::ArcSwap;

use super::cold::page_cache::PageCache;
use super::cold::queue::{ColdReader, LogKind};
use super::entry::{self, EntryKind, Receipts};
use super::fanout::{FanoutGroups, FilterLimitReached, GroupMember, GroupRead, GroupReadKey};
use super::filter::Filter;
use super::lateness::Lateness;
use super::live_config::{LiveConfig, ReplayCount, ReplaySlot};
use super::read::Read;
use super::ring::{ReadLimits, Ring};
use super::session::registry::{SessionGuard, SessionInfo, SessionLimitReached, SessionRegistry};
use super::side_log::SideLog;
use super::skip_delay::SkipDelay;
use super::start::outcome::{BEGINNING, trimmed_before};
use super::status::gap_index::GapIndex;
use super::status::tag_stats::TagStats;
use super::status::upstream_status::UpstreamMonitor;
use super::times::ClockCorrections;
use super::token::{Keyring, ResumeToken};
use super::wakeup::{WaiterHandle, WakeupIndex};
use super::{Config, Metrics};
use crate::clock::Clock;
use crate::journal;
use crate::model::{AccountName, KeyFilter, Position, Record, Sequence, Term, TermStart, UnixMillis};
use crate::telemetry::stages::{Stage, StageStamp};

/// Stands for the time of the newest record before there is one.
const NO_RECORD: i64 = i64::MIN;

/// The log of one account as sessions read it.
pub struct Hub {
    account: AccountName,
    config: Config,
    live: ArcSwap<LiveConfig>,
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
    replaying: ReplayCount,
    tags: TagStats,
    gaps: GapIndex,
    lateness: Lateness,
    skip_delay: SkipDelay,
    side: SideLog,
    times: ClockCorrections,
    upstream: UpstreamMonitor,
    registry: Arc<SessionRegistry>,
    metrics: Metrics,
}

/// Components of a hub.
pub struct HubParts {
    /// Account whose log this hub serves.
    pub account: AccountName,
    /// Settings.
    pub config: Config,
    /// Tags from the configuration.
    pub tags: Vec<String>,
    /// Clock.
    pub clock: Clock,
    /// Reader of the log.
    pub reader: Arc<dyn journal::Reader>,
    /// Reader of the side log.
    pub side: Arc<dyn journal::Reader>,
    /// Signs and verifies tokens.
    pub keyring: Arc<Keyring>,
    /// Metrics.
    pub metrics: Metrics,
}

impl Hub {
    /// Creates a hub over this log. The ring starts empty and is filled by [`Hub::preload`].
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
            replaying: ReplayCount::default(),
            tags: TagStats::new(&parts.tags, parts.config.tags_tracked_max),
            gaps: GapIndex::new(parts.config.closed_gaps_max),
            lateness: Lateness::default(),
            skip_delay: SkipDelay::default(),
            side: SideLog::new(
                parts.side,
                parts.clock.clone(),
                parts.config.private_gaps.clone(),
                parts.config.recovery_window,
            ),
            times: ClockCorrections::new(extent.next),
            upstream: UpstreamMonitor::new(parts.clock.clone()),
            registry: Arc::default(),
            account: parts.account,
            live: ArcSwap::from_pointee(LiveConfig::from(&parts.config)),
            config: parts.config,
            clock: parts.clock,
            reader: parts.reader,
            keyring: parts.keyring,
            metrics: parts.metrics,
        }
    }

    /// Returns the settings that take effect without a restart.
    pub fn live(&self) -> LiveConfig {
        **self.live.load()
    }

    /// Puts changed settings into force; `tags` are those of the configuration.
    pub fn set_live(&self, live: LiveConfig, tags: &[String]) {
        self.live.store(Arc::new(live));
        self.tags.set_configured(tags);
    }

    /// Registers a session. Returns `SessionLimitReached` if too many are open.
    pub fn register(&self, info: SessionInfo) -> Result<SessionGuard, SessionLimitReached> {
        self.registry.register(info, self.clock.moment(), self.live().sessions_max)
    }

    /// Adds records that the journal contained at start to the ring.
    pub fn preload(&self, records: Vec<Record>) {
        self.ring.push(&entry::encode(records));
    }

    /// Empties the ring; the next entry has sequence `next`. Called at start only, where a range of the log is damaged.
    pub fn reset_ring(&self, next: Sequence) {
        self.ring.reset(next);
    }

    /// Makes appended records visible to all sessions. Called only by the writer of the log, after the append.
    pub fn publish(&self, records: Vec<Record>) {
        self.publish_live(records, &Receipts::default());
    }

    /// As [`Hub::publish`], for records of which some were read from live connections just now.
    pub fn publish_live(&self, records: Vec<Record>, receipts: &Receipts) {
        let Some(last) = records.last() else { return };
        let began = StageStamp::now();
        let (next, received) = (last.sequence + 1, last.received);
        let entries = entry::encode_live(records, receipts);
        let rules = entries.iter().filter_map(|entry| entry.event()).map(|event| &*event.rules);
        self.tags.count(rules, self.clock.moment());
        for entry in &entries {
            match &entry.kind {
                EntryKind::Gap(gap) => self.gaps.record(entry.sequence, gap),
                EntryKind::Skip(skip) => self.skip_delay.note(entry.received, skip),
                _ => {}
            }
        }
        self.ring.push(&entries);
        self.tip_receive_time.store(received.0, Ordering::Relaxed);
        self.next.store(next, Ordering::Release);
        began.end(Stage::Publish);
        // A woken session may run on this core at once, before `notify` returns.
        entries.iter().for_each(|entry| entry.notified.set_now());
        let woken = self.parked.notify(&entries);
        self.metrics.wakes.inc_by(woken as u64);
    }

    /// Reads from `from` on in the ring; `None` if the cursor was evicted.
    pub fn read_hot(&self, from: Sequence, keys: &KeyFilter, limits: ReadLimits) -> Option<Read> {
        if from >= self.next() {
            return Some(Read { entries: Vec::new(), next: from });
        }
        let taken = self.ring.read(from, keys, limits).ok()?;
        Some(Read { entries: taken.entries, next: taken.next })
    }

    /// Returns the next records of the ring, shared by all sessions of the group at the same cursor.
    pub(super) fn read_for_group(&self, member: &GroupMember, asked: GroupReadKey) -> Option<Arc<GroupRead>> {
        member.read(&self.ring, asked)
    }

    /// Registers a waiter with these keys in the wake-up index.
    pub(super) fn register_waiter(&self, keys: KeyFilter) -> WaiterHandle {
        self.parked.register(keys)
    }

    /// Acquires a permit to replay; `None` if the limit is reached.
    pub(super) fn acquire_replay_permit(&self) -> Option<ReplaySlot> {
        self.replaying.enter(self.live().replay_sessions_max)
    }

    /// Joins the fan-out group of this filter.
    pub fn enter(&self, filter: Filter) -> Result<GroupMember, FilterLimitReached> {
        self.groups.join(filter)
    }

    /// Returns the number of sessions that replay.
    pub(super) fn replays(&self) -> usize {
        self.replaying.open()
    }

    /// Returns true if everything from here on is in the ring.
    pub(super) fn is_hot(&self, from: Sequence) -> bool {
        from >= self.next() || self.ring.contains(from)
    }

    /// Returns the page cache of the journal.
    pub(super) fn pages(&self) -> &PageCache {
        self.cold.pages()
    }

    /// Returns the reader pool of one of the two logs.
    pub(super) fn cold(&self, log: LogKind) -> &ColdReader {
        match log {
            LogKind::Main => &self.cold,
            LogKind::Side => &self.side_cold,
        }
    }

    /// Returns the sequence of the next record.
    pub fn next(&self) -> Sequence {
        self.next.load(Ordering::Acquire)
    }

    /// Returns the receive time of the newest record; `None` before the first one.
    pub fn tip_received(&self) -> Option<UnixMillis> {
        Some(self.tip_receive_time.load(Ordering::Relaxed)).filter(|time| *time != NO_RECORD).map(UnixMillis)
    }

    /// Returns the corrections of upstream time over the log.
    pub fn times(&self) -> &ClockCorrections {
        &self.times
    }

    /// Records a correction of the clock: from the next record on, stamps use another scale. Called only by the
    /// sequencer, before it creates records.
    pub fn note_correction(&self, by_ms: i64) {
        if self.times.note(&*self.reader, self.next(), Some(by_ms))
            && let Some(tip) = self.tip_received()
        {
            self.tip_receive_time.store(tip.shifted(by_ms).0, Ordering::Relaxed);
        }
    }

    /// Records that the newest record was stamped by a clock ahead of this one by an unknown amount, so that stamps may
    /// go back. Called only by the sequencer, at start.
    pub fn note_setback(&self) {
        let now = self.clock.now();
        let ahead = self.tip_received().is_some_and(|tip| tip > now.plus(self.clock.uncertainty()));
        if ahead && self.times.note(&*self.reader, self.next(), None) {
            self.tip_receive_time.store(now.0, Ordering::Relaxed);
        }
    }

    /// Returns the position just after this record.
    pub fn position(&self, sequence: Sequence) -> Position {
        Position { epoch: self.reader.epoch(), term: self.term_of(sequence), sequence }
    }

    /// Returns a token for the position just before `cursor`; everything created before `time` is before it.
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

    /// Returns a token before the oldest record, for a subscription that reads all records of the log.
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

    /// Returns the term of a record; sequence 0 has the newest.
    pub(super) fn term_of(&self, sequence: Sequence) -> Term {
        let terms: Arc<[TermStart]> = self.reader.terms();
        let at = match sequence {
            0 => terms.len(),
            _ => terms.partition_point(|start| start.first <= sequence),
        };
        terms.get(at.saturating_sub(1)).map_or(Term(0), |start| start.term)
    }

    /// Returns the time before which everything created is in the log before `cursor`, or in a gap that is open there;
    /// the record before the cursor was received at `received`. Limited by the current time less the uncertainty of the
    /// clock, because a record may be stamped by a clock that was ahead.
    pub fn low_watermark(&self, cursor: Sequence, received: UnixMillis) -> UnixMillis {
        let reached = received.min(self.clock.now()).minus(self.late_at(cursor)).minus(self.clock.uncertainty());
        self.gaps.low_watermark(cursor, reached.min(self.side.pending_from()))
    }

    /// Returns how late upstream may be, for a cursor that reads this record next.
    pub fn late_at(&self, cursor: Sequence) -> Duration {
        self.lateness.at(cursor).max(self.config.allowed_lateness)
    }

    /// Returns the lateness of upstream over the log.
    pub fn lateness(&self) -> &Lateness {
        &self.lateness
    }

    /// Returns how much later skipped messages were read than their records are dated.
    pub fn skip_delay(&self) -> &SkipDelay {
        &self.skip_delay
    }

    /// Signs a token.
    pub fn seal(&self, token: &ResumeToken) -> String {
        self.keyring.sign(token)
    }

    /// Returns the keys that verify tokens.
    pub fn keyring(&self) -> &Keyring {
        &self.keyring
    }

    /// Returns the account whose log this hub serves.
    pub fn account(&self) -> &AccountName {
        &self.account
    }

    /// Returns the settings.
    pub fn config(&self) -> &Config {
        &self.config
    }

    /// Returns the clock.
    pub fn clock(&self) -> &Clock {
        &self.clock
    }

    /// Returns the reader of the log.
    pub fn reader(&self) -> &Arc<dyn journal::Reader> {
        &self.reader
    }

    /// Returns the gaps announced in the log.
    pub fn gaps(&self) -> &GapIndex {
        &self.gaps
    }

    /// Returns the side log.
    pub fn side(&self) -> &SideLog {
        &self.side
    }

    /// Returns the upstream state.
    pub fn upstream(&self) -> &UpstreamMonitor {
        &self.upstream
    }

    /// Returns the session registry.
    pub fn registry(&self) -> &Arc<SessionRegistry> {
        &self.registry
    }

    /// Returns the metrics.
    pub fn metrics(&self) -> &Metrics {
        &self.metrics
    }
}
