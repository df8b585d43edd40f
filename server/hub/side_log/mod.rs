//! Side log: posts of intervals that are missing from some subscriptions only.
//!
//! A *private gap* is missing from one subscription only: its token was trimmed, or its log is lost. The posts of it
//! that X still has are written to a second log (by `ingest/side_log_writer`), never to the account's. Sessions whose
//! token contains the gap read both.
//!
//! Owns: the intervals requested for private gaps and their states ([`SideLog`]); reading the side log. Does not own:
//! writing it and requesting posts from X (`ingest`), the read position of a session (`session/private_gaps`).
//!
//! Invariants and the tests that hold them:
//! - Overlapping gaps are one demand, and posts recovered for one serve the next, even if no demand is open in between
//!   (`requested::tests`). The work for a demand does not grow with the number of others (`requested::tests`).
//! - What comes after the end of a private gap is for the account's log as well ([`SideLog::has_ended`];
//!   `ingest/sequencer/tests/late`, `session/private_gaps/tests/late`).
//! - An interval is proven only by requests that were made after it was asked for (`tests`), and counts as proven only
//!   while all posts recovered for it can be read.
//! - Which of the two logs delivers a post to a session that reads both is decided by one function ([`selection`]) from what
//!   each record carries about the ones before it, so it is the same however often and wherever the session is cut
//!   (`selection::tests`, `session::private_gaps::tests`).

mod budget;
mod coverage;
mod persist;
mod private_gap;
mod requested;
mod selection;
mod state;

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicI64, AtomicU64, Ordering};
use std::time::Duration;

use parking_lot::Mutex;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use tokio::sync::watch;

pub use coverage::SubscriptionCoverage;
pub use private_gap::{PrivateGap, PrivateGaps};
pub use requested::RangeState;
use requested::{DemandEffect, RequestedRanges};
pub use selection::{Candidate, Delivery};
pub use state::Completeness;
use state::{FIRST_STAMP, SideLogState, joined};

use crate::clock::Clock;
use crate::journal::{ReadBatch, ReadError, Reader};
use crate::model::{Budget, GapEvidence, GapState, KeyFilter, Sequence, TimeRange, TimeRangeSet, UnixMillis};

/// Settings of private gaps, for each account.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct PrivateGapConfig {
    /// Whether the gateway recovers ranges that only some subscriptions miss: positions that the log no longer
    /// retains, or of a lost log. If false, such positions are rejected with POSITION_TOO_OLD unless the request has
    /// a resume policy.
    pub enabled: bool,
    /// Margin subtracted from `recovery_window`: an older range would leave the window before it is requested.
    #[serde(with = "humantime_serde")]
    #[schemars(with = "String")]
    pub recovery_margin: Duration,
    /// Maximum intervals that are requested or kept. Beyond it, the nearest are merged.
    pub intervals_max: usize,
    /// Maximum demands of one caller per hour for which X has to be asked. Further starts that need one are rejected with
    /// RECOVERY_LIMIT; ranges that are requested or kept already are free. The caller is the peer address (the /64 network
    /// for IPv6). 0: no limit, for gateways behind a proxy.
    pub demands_per_hour_per_caller_max: usize,
    /// Bytes of the page cache of the side log. 0 disables the cache.
    pub page_cache_bytes_max: usize,
}

impl Default for PrivateGapConfig {
    fn default() -> Self {
        // A minute: X accepts windows in whole minutes (F-RR).
        Self {
            enabled: true,
            recovery_margin: Duration::from_secs(60),
            intervals_max: 1_000,
            // If a fleet behind one address reconnects at once, few clients need more than those before them.
            demands_per_hour_per_caller_max: 60,
            page_cache_bytes_max: 8 << 20,
        }
    }
}

/// Requested intervals and their states.
pub struct SideLog {
    reader: Arc<dyn Reader>,
    clock: Clock,
    config: PrivateGapConfig,
    window: Duration,
    state: Mutex<SideLogState>,
    /// Budgets of the callers that made demands.
    budget: Mutex<Budget>,
    /// True if no interval is known, as for most accounts most of the time.
    idle: AtomicBool,
    /// Start of the first backfill while it is pending, else the maximum time. Read with every frame.
    pending_from: AtomicI64,
    next: AtomicU64,
    changes: watch::Sender<u64>,
    demands: watch::Sender<u64>,
}

/// Checkpoint of the side log.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct SideLogSnapshot {
    tag: u32,
    next: Sequence,
    shares: RequestedRanges,
    completeness: Option<Completeness>,
    budget: Budget,
}

/// Status of a private gap.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PrivateGapStatus {
    /// Parts in a final state, in order; equal neighbours are merged.
    pub settled: Vec<(TimeRange, GapState, GapEvidence)>,
    /// Parts that are requested now.
    pub asked: TimeRangeSet,
    /// Parts that wait for the first backfill of the log, or are not over yet.
    pub waiting: TimeRangeSet,
    /// End of the part that is not over yet.
    pub over_at: Option<UnixMillis>,
    /// Approximate number of recovered posts.
    pub posts: u64,
}

impl SideLog {
    /// Creates a side log without requested intervals. `window` is the recovery window of X.
    pub fn new(reader: Arc<dyn Reader>, clock: Clock, config: PrivateGapConfig, window: Duration) -> Self {
        let next = AtomicU64::new(reader.extent().next);
        let (changes, demands) = (watch::channel(0).0, watch::channel(0).0);
        let (state, idle) = (Mutex::new(SideLogState::new(RequestedRanges::default(), None)), AtomicBool::new(true));
        let pending_from = AtomicI64::new(i64::MAX);
        let budget = Mutex::default();
        let own = Self { reader, clock, config, window, state, budget, idle, pending_from, next, changes, demands };
        own.begin(RequestedRanges::default(), None, None);
        own
    }

    /// Starts with these ranges, which refer to records of the side log before `known`; `None` if some of those are
    /// lost.
    fn begin(&self, mut shares: RequestedRanges, completeness: Option<Completeness>, known: Option<Sequence>) {
        let (earliest, next) = (self.reader.extent().earliest, self.next());
        let lost = known.is_none().then_some(earliest);
        let unknown = (known.unwrap_or(earliest).max(earliest), next);
        shares.restart(FIRST_STAMP, lost, unknown, self.clock.now().plus(self.window));
        let mut state = self.state.lock();
        self.idle.store(shares.len() == 0, Ordering::Release);
        *state = SideLogState::new(shares, completeness);
        self.note_pending(completeness);
    }

    /// Requests an interval. Returns the sequence in the side log from which to read for it. `from_beginning` if its
    /// subscription reads the account's log from its first record on.
    pub fn request(&self, span: TimeRange, from_beginning: bool) -> Sequence {
        let (earliest, next, oldest) = (self.reader.extent().earliest, self.next(), self.oldest());
        let mut state = self.state.lock();
        let to = state.missing_until(span, from_beginning, self.clock.uncertainty());
        state.shares.forget(oldest, earliest, next);
        let (needed, stamp) = (TimeRange::new(span.from.max(oldest), to), state.next_stamp());
        let change = state.shares.request(needed, earliest, next, stamp);
        let change = state.bound(self.config.intervals_max, change);
        self.idle.store(state.shares.len() == 0, Ordering::Release);
        let since = state.shares.since(span);
        drop(state);
        self.announce(change);
        since.unwrap_or(next).max(earliest)
    }

    /// Wakes sessions affected by a demand. A demand for a new interval affects no other session.
    fn announce(&self, change: DemandEffect) {
        if change.asks {
            self.demands.send_modify(|count| *count += 1);
        }
        if change.reopens {
            self.changed();
        }
    }

    /// Returns the intervals to request from X.
    pub fn missing(&self) -> TimeRangeSet {
        if self.idle.load(Ordering::Acquire) {
            return TimeRangeSet::default();
        }
        let state = self.state.lock();
        let mut missing = state.shares.open();
        missing.remove(TimeRange::new(UnixMillis(i64::MIN), self.oldest()));
        if let Some(Completeness::Pending(from)) = state.completeness {
            missing.remove(TimeRange::new(from.plus(self.clock.uncertainty()), UnixMillis(i64::MAX)));
        }
        missing
    }

    /// Returns the stamp of the demands made so far: a later request answers them, but no later demand.
    pub fn stamp(&self) -> u64 {
        let mut state = self.state.lock();
        state.is_stamp_taken = true;
        state.stamp
    }

    /// Marks this interval as complete: all of its posts that X has were appended, by requests made at this stamp or
    /// later. Demands after the stamp stay open, because posts may have arrived before the demand was made.
    pub fn mark_complete(&self, span: TimeRange, evidence: GapEvidence, stamp: u64) {
        self.set_range_state(|shares| shares.prove(span, evidence, stamp));
    }

    /// Marks this interval as unrecoverable.
    pub fn mark_unrecoverable(&self, span: TimeRange, evidence: GapEvidence) {
        self.set_range_state(|shares| shares.lose(span, evidence));
    }

    fn set_range_state(&self, settle: impl FnOnce(&mut RequestedRanges) -> bool) {
        let mut state = self.state.lock();
        let reopens = settle(&mut state.shares);
        let change = state.bound(self.config.intervals_max, DemandEffect { reopens, ..DemandEffect::default() });
        drop(state);
        self.announce(change);
    }

    /// Sets from when on the account's log is complete at its beginning.
    pub fn set_complete_from(&self, completeness: Completeness) {
        let mut state = self.state.lock();
        if state.completeness == Some(completeness) {
            return;
        }
        state.completeness = Some(completeness);
        self.note_pending(state.completeness);
        if let Completeness::From(from) = completeness {
            // Requested while the extent of the backfill was unknown.
            let backfilled = TimeRange::new(from.plus(self.clock.uncertainty()), UnixMillis(i64::MAX));
            state.shares.withdraw(backfilled, self.next());
        }
        drop(state);
        self.demands.send_modify(|count| *count += 1);
        self.changed();
    }

    /// Returns from when on the account's log is complete at its beginning, as far as it is known.
    pub fn complete_from(&self) -> Option<Completeness> {
        self.state.lock().completeness
    }

    fn note_pending(&self, completeness: Option<Completeness>) {
        let from = match completeness {
            Some(Completeness::Pending(from)) => from.0,
            Some(Completeness::From(_)) | None => i64::MAX,
        };
        self.pending_from.store(from, Ordering::Release);
    }

    /// Keeps low watermarks at this time: sessions depend on a log that has not begun from here on.
    pub fn hold_from(&self, promised: UnixMillis) {
        self.pending_from.fetch_min(promised.0, Ordering::AcqRel);
    }

    /// Returns the time before which nothing depends on the first backfill of the log.
    pub fn pending_from(&self) -> UnixMillis {
        UnixMillis(self.pending_from.load(Ordering::Acquire))
    }

    /// Returns true if a post created at this time belongs to the side log: an interval of it is or was requested.
    pub fn accepts(&self, created: UnixMillis) -> bool {
        !self.idle.load(Ordering::Acquire) && self.state.lock().shares.at(created).is_some()
    }

    /// Returns true if the gap of this time may have been reported as ended: sessions that received the end no longer
    /// read the side log for it.
    pub fn has_ended(&self, created: UnixMillis) -> bool {
        let has_ended = |shares: &RequestedRanges| shares.at(created).is_some_and(|share| share.was_settled);
        !self.idle.load(Ordering::Acquire) && has_ended(&self.state.lock().shares)
    }

    /// Publishes records appended before `next`; `created` are the times of their posts. Called only by the sequencer,
    /// after the append.
    pub fn publish(&self, next: Sequence, created: impl Iterator<Item = UnixMillis>) {
        let mut state = self.state.lock();
        created.for_each(|created| state.shares.count(created));
        drop(state);
        self.next.store(next, Ordering::Release);
        self.changed();
    }

    /// Returns the sequence of the next record.
    pub fn next(&self) -> Sequence {
        self.next.load(Ordering::Acquire)
    }

    /// Returns a short identity of the side log for tokens; a recreated side log has another.
    pub fn log_id(&self) -> u32 {
        let epoch = self.reader.epoch().0;
        (epoch ^ epoch >> 32 ^ epoch >> 64 ^ epoch >> 96) as u32
    }

    /// Returns a watch that changes whenever there are new records, requests or states.
    pub fn changes(&self) -> watch::Receiver<u64> {
        self.changes.subscribe()
    }

    /// Returns a watch that changes whenever there may be new requests to X.
    pub fn requests(&self) -> watch::Receiver<u64> {
        self.demands.subscribe()
    }

    /// Returns the status of a gap. `from_beginning` if its subscription reads the account's log from its first record
    /// on; `late` is how late that log is now. Parts that are no longer requested are requested again.
    pub fn status_of(&self, span: TimeRange, from_beginning: bool, late: Duration) -> PrivateGapStatus {
        let state = self.state.lock();
        let own = TimeRange::new(span.from, state.missing_until(span, from_beginning, self.clock.uncertainty()));
        let mut asked: TimeRangeSet = [own].into_iter().filter(|own| !own.is_empty()).collect();
        let logged = TimeRange::new(own.to, span.to);
        // Posts of a time that has not passed are still to come, and those of a late stream come later.
        let logged_at = logged.to.plus(late + self.clock.uncertainty());
        let over_at = Some(logged_at).filter(|at| !logged.is_empty() && self.clock.now() < *at);
        let mut settled = Vec::new();
        if over_at.is_none() {
            settled.push((logged, GapState::Backfilled, GapEvidence::BackfillQuiet));
        }
        let (posts, mut unasked) = (state.shares.posts(own), asked.clone());
        for (part, state) in state.shares.states(own) {
            unasked.remove(part);
            let (state, evidence) = match state {
                RangeState::Open => continue,
                RangeState::Proven(evidence) => (GapState::Recovered, evidence),
                RangeState::Lost(evidence) => (GapState::Unrecoverable, evidence),
            };
            settled.push((part, state, evidence));
            asked.remove(part);
        }
        let mut waiting = match state.completeness {
            Some(Completeness::Pending(from)) if from_beginning => {
                asked.within(TimeRange::new(from.plus(self.clock.uncertainty()), own.to))
            }
            _ => TimeRangeSet::default(),
        };
        drop(state);
        let late = asked.within(TimeRange::new(UnixMillis(i64::MIN), self.oldest()));
        settled.extend(late.iter().map(|late| (late, GapState::Unrecoverable, GapEvidence::WindowPassed)));
        unasked.remove_all(&late);
        for span in unasked.iter() {
            self.request(span, from_beginning);
        }
        asked.remove_all(&late);
        asked.remove_all(&waiting);
        if over_at.is_some() {
            waiting.insert(logged);
        }
        PrivateGapStatus { settled: joined(settled), asked, waiting, over_at, posts }
    }

    /// Reads from `from` on. Blocks on the disk.
    pub fn read(&self, from: Sequence, keys: &KeyFilter, bytes_max: usize) -> Result<ReadBatch, ReadError> {
        self.reader.read(from, keys, bytes_max)
    }

    /// Returns the reader of the side log.
    pub fn reader(&self) -> &Arc<dyn Reader> {
        &self.reader
    }

    /// Returns the oldest time that X can recover.
    pub fn oldest(&self) -> UnixMillis {
        self.clock.now().minus(self.window.saturating_sub(self.config.recovery_margin))
    }

    /// Returns the settings.
    pub fn config(&self) -> &PrivateGapConfig {
        &self.config
    }

    fn changed(&self) {
        self.changes.send_modify(|count| *count += 1);
    }
}

#[cfg(test)]
mod tests;
