//! The gap tracker of gaps: what is missing from the log, why, and what becomes of it.
//!
//! Owns: when a gap begins and ends (contract, section 6), what backfill is asked for and whether it is believed, what
//! recovery has to bring, the time of the last byte, and the small file that carries all this over a restart.
//! Does not own: connections (`supervisor`), recovery jobs (`recovery`), the order of records (`sequencer`), what sessions
//! are told (`hub::status::gap_index` reads the GAP records).
//!
//! A feed is a disjoint part of the stream, carried by one connection or by several redundant ones. Each connection has its
//! own progress: from where on, and up to where, it has delivered all posts by itself. What no connection has delivered and
//! none that is up can still deliver is a gap. With the first byte after it, it falls into at most three gaps that touch:
//! what is too old for X (UNRECOVERABLE), what recovery brings, and what the backfill of this connection brings.
//!
//! Feeds are known by name, over restarts and changes of the list of datacenters (`inherit`).
//!
//! Every change of a gap is a record of the log, in the order in which the sequencer takes it from here. The log is the
//! truth about states; the file knows what the log does not: the last byte, what is missing within a gap, what is asked.
//!
//! Invariants and the tests that hold them:
//! - No time in which a feed was down is ever outside of a gap, and none in which it was up is inside, but for the slack
//!   and the lag (I2b): `tests::gaps_cover_any_history_tightly`. No post that no connection delivered
//!   is outside of a gap, whatever is late, stale, stopped or configured anew: `tests::simulated`.
//! - A gap is BACKFILLED only on a connection that asked for it, got its first byte, was quiet about it for the slack, and
//!   is still up (I2c); never after a slow-reader cut: `tests`.
//! - What recovery could not bring is a gap of its own, with exact bounds.

pub(super) mod account_gaps;
mod backfill;
mod config;
mod connecting;
mod connection;
mod correction_log;
mod ending;
mod feed;
mod inherit;
mod limits;
mod metrics;
mod persist;
mod rate;
mod recovering;
mod recovering_gap;
mod restore;
mod scale;
mod state_machine;
mod tail;
#[cfg(test)]
pub(crate) mod test_util;
#[cfg(test)]
mod tests;

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use parking_lot::Mutex;
use tokio::sync::watch;

pub use config::Config;
pub use connection::Heard;
pub use feed::ALL_FEEDS;
use limits::TrackerLimits;
pub use metrics::Metrics;
use restore::RestoreInput;
use state_machine::{GapStateMachine, PersistedState};
pub use state_machine::{RecoverySource, StreamResponse};

use super::recovery::{MissingRanges, RequestStamp};
use super::restore::LogTimes;
use crate::hub::Hub;
use crate::hub::side_log::Completeness;
use crate::model::{Gap, GapCause, GapEvidence, GapId, GapState, TimeInterval, TimeRange, TimeRangeSet, UnixMillis};
use crate::xapi::BackfillMinutes;

/// The open gaps of an account.
pub struct GapTracker {
    hub: Arc<Hub>,
    machine: Mutex<GapStateMachine>,
    /// The gaps that are open at the end of the log, as far as the sequencer has taken them.
    logged: Mutex<BTreeMap<GapId, TimeInterval>>,
    demands: watch::Sender<u64>,
    metrics: Metrics,
    file: Option<PathBuf>,
    reader_stall_min: Duration,
}

/// What a gap tracker is opened with.
pub struct TrackerParams {
    /// Whose; its clock is set to what was known of upstream time before.
    pub hub: Arc<Hub>,
    /// Settings.
    pub config: Config,
    /// How far back recovery can reach.
    pub recovery_window: Duration,
    /// Names of the feeds: of the datacenters, or [`ALL_FEEDS`].
    pub feeds: Vec<String>,
    /// Where it is kept; `None` for a log in memory.
    pub file: Option<PathBuf>,
    /// Counters.
    pub metrics: Metrics,
}

impl GapTracker {
    /// Opens what the file and the log tell. `logged` are the gaps of the log as they stand.
    pub fn open(setup: TrackerParams, logged: Vec<Gap>, received: LogTimes) -> Self {
        let TrackerParams { hub, config, recovery_window, feeds, file, metrics } = setup;
        let (first, reader_stall_min) = (config.initial_backfill_minutes, config.reader_stall_min);
        let limits = TrackerLimits { config, allowed_lateness: hub.config().allowed_lateness, recovery_window };
        let kept = file.as_deref().and_then(|path| persist::read(path, hub.account(), &limits));
        if let Some(kept) = &kept {
            hub.clock().set_offset_ms(kept.clock_offset_ms);
            hub.side().restore(kept.side.clone());
            hub.lateness().restore(kept.late);
        }
        let now = hub.clock().now();
        let kept = kept.map(|kept| of_this_log(kept, &hub)).unwrap_or_default();
        let lost_after = lost_after(&kept, &hub, now.minus(recovery_window));
        let mut machine = GapStateMachine::new(limits, kept);
        let open: Vec<Gap> = logged.iter().filter(|gap| !gap.state.is_final()).cloned().collect();
        machine.restore(RestoreInput { logged, received, lost_after, feeds: &feeds, now });
        // Before the first sign of life, records are notices only: the log has begun nowhere yet.
        let begins = received.oldest.filter(|_| machine.has_begun()).map(Completeness::From);
        let origin = machine.origin().or(begins);
        // A new log: its first connection will ask for backfill.
        let expected = now.minus(Duration::from_secs(60 * u64::from(first)));
        hub.side().set_complete_from(origin.unwrap_or(Completeness::Pending(expected)));
        if let Some(promised) = machine.promised_from() {
            hub.side().hold_from(promised);
        }
        let logged = open.into_iter().map(|gap| (gap.id, gap.window)).collect();
        Self {
            hub,
            machine: Mutex::new(machine),
            logged: Mutex::new(logged),
            demands: watch::channel(0).0,
            metrics,
            file,
            reader_stall_min,
        }
    }

    /// The minutes of backfill to ask for when this connection is made anew; `None` if none would help.
    pub fn backfill_to_ask(&self, feed: usize, connection: usize) -> Option<BackfillMinutes> {
        let clock = self.hub.clock();
        self.machine.lock().backfill_minutes(feed, connection, clock.now(), clock.uncertainty())
    }

    /// X refuses requests with backfill, and takes the same without.
    pub fn backfill_refused(&self, now: UnixMillis) {
        self.machine.lock().backfill_refused(now);
    }

    /// The clock was this far ahead, and with it what was noted by it.
    pub fn on_clock_moved_back(&self, by: Duration) {
        let now = self.hub.clock().now();
        self.change(|machine| machine.on_clock_moved_back(by, now));
    }

    /// The clock was this far behind.
    pub fn on_clock_moved_forward(&self, by: Duration) {
        let now = self.hub.clock().now();
        self.change(|machine| machine.on_clock_moved_forward(by, now));
    }

    /// The first byte of a connection came. What it changes is to be logged before what came.
    pub fn first_byte(&self, feed: usize, connection: usize, answer: StreamResponse, now: UnixMillis) {
        self.change(|machine| machine.first_byte(feed, connection, answer, now));
    }

    /// Something came, with posts created at these times.
    pub fn heard(&self, feed: usize, connection: usize, heard: impl Into<Heard>, created: &[UnixMillis]) {
        self.machine.lock().record_activity(feed, connection, heard, created);
    }

    /// How long before `received` the first time lies that some feed has not delivered and that is in no gap.
    pub fn late(&self, received: UnixMillis) -> Duration {
        self.machine.lock().late(received)
    }

    /// While this connection brings backfill: posts created before this came by it.
    pub fn backfill_before(&self, feed: usize, connection: usize) -> Option<UnixMillis> {
        self.machine.lock().backfill_before(feed, connection)
    }

    /// A connection ended. What it changes is to be logged behind what it brought.
    pub fn on_disconnect(&self, feed: usize, connection: usize, cause: GapCause) {
        self.change(|machine| machine.on_disconnect(feed, connection, cause));
    }

    /// The reader of a connection was stopped for this long: that nothing came meanwhile proves nothing.
    pub fn stopped(&self, feed: usize, connection: usize, stopped: Duration) {
        self.machine.lock().stopped(feed, connection, stopped);
    }

    /// A reader that is held up for this long may be cut as a slow one.
    pub fn reader_stall_min(&self) -> Duration {
        self.reader_stall_min
    }

    /// When [`GapTracker::tick`] has something to look at for this connection.
    pub fn next_deadline(&self, feed: usize, connection: usize) -> Option<UnixMillis> {
        self.machine.lock().next_deadline(feed, connection)
    }

    /// Closes what is quiet now on this connection; only its own reader, which knows whether it was stopped, calls this.
    /// Returns true if there are changes to be logged.
    pub fn tick(&self, feed: usize, connection: usize, now: UnixMillis) -> bool {
        self.change(|machine| machine.tick(feed, connection, now));
        !self.machine.lock().changes.is_empty()
    }

    /// Changes that wait to be logged, in order. The sequencer takes them, behind what was put into its queue before.
    pub fn drain_changes(&self) -> Vec<Gap> {
        let mut machine = self.machine.lock();
        let mut changes = std::mem::take(&mut machine.changes);
        for gap in &mut changes {
            gap.recovered = machine.kept.brought.get(&gap.id).copied().unwrap_or(0);
            if gap.state.is_final() {
                machine.kept.brought.remove(&gap.id);
            }
        }
        drop(machine);
        let mut logged = self.logged.lock();
        for gap in &changes {
            match gap.state.is_final() {
                true => drop(logged.remove(&gap.id)),
                false => drop(logged.insert(gap.id, gap.window)),
            }
        }
        drop(logged);
        changes.iter().for_each(|gap| self.notify_gap(gap));
        changes
    }

    /// The gap that a post created at this time closes a part of: of those that are open as far as they are logged, or
    /// sessions would get a post of a gap that they have not been told of. Gaps of several feeds may overlap: what the
    /// backfill of a connection brings counts for a gap of its feed, and what recovery brings for one left to recovery.
    pub fn gap_at(&self, created: UnixMillis, by: RecoverySource) -> Option<GapId> {
        let logged = self.logged.lock();
        let mut touched = logged.iter().filter(|(_, window)| window.contains(created)).map(|(id, _)| *id).peekable();
        let first = *touched.peek()?;
        Some(self.machine.lock().healed_by(by, touched).unwrap_or(first))
    }

    /// A post of this gap was new.
    pub fn count_recovered(&self, gap: GapId) {
        *self.machine.lock().kept.brought.entry(gap).or_default() += 1;
    }

    /// From where on the log is complete at its beginning, but for its gaps.
    pub fn complete_from(&self) -> Option<Completeness> {
        self.hub.side().complete_from()
    }

    /// The open gaps as they stand, with progress and counts that the log need not have yet.
    pub fn open_gaps(&self) -> Vec<Gap> {
        let machine = self.machine.lock();
        let waiting = machine.kept.feeds.iter().flat_map(|feed| &feed.gaps).filter(|own| own.announced);
        let gaps = machine.kept.healing.values().map(|healing| &healing.gap).chain(waiting.map(|own| &own.gap));
        let counted =
            |gap: &Gap| Gap { recovered: machine.kept.brought.get(&gap.id).copied().unwrap_or(0), ..gap.clone() };
        gaps.map(counted).collect()
    }

    /// Keeps what has to outlive the process, and counts what is open.
    pub fn save(&self) -> std::io::Result<()> {
        let (clock, side) = (self.hub.clock(), self.hub.side().snapshot());
        let mut kept = PersistedState { clock_offset_ms: clock.offset_ms(), side, ..self.machine.lock().kept.clone() };
        // What was read and not appended is gone with the process.
        kept.keep_appended(self.hub.upstream().last_byte().map(|last| last.time));
        // After the copy: all that the copy takes for delivered is below.
        kept.journal_next = self.hub.reader().extent().next;
        kept.epoch = self.hub.reader().epoch().to_string();
        kept.late = self.hub.lateness().most(self.hub.reader().extent().earliest);
        self.metrics.note_open(&kept, clock.now());
        match &self.file {
            Some(path) => persist::write(path, &kept),
            None => Ok(()),
        }
    }

    fn change(&self, change: impl FnOnce(&mut GapStateMachine)) {
        let mut machine = self.machine.lock();
        change(&mut machine);
        let (demands, origin) = (machine.demands, machine.origin());
        drop(machine);
        if let Some(origin) = origin {
            self.hub.side().set_complete_from(origin);
        }
        self.demands.send_if_modified(|told| std::mem::replace(told, demands) != demands);
    }

    fn notify_gap(&self, gap: &Gap) {
        self.metrics.record(gap);
        let (account, id, from, to) = (self.hub.account(), gap.id, gap.window.from, gap.window.to);
        let to = to.map_or_else(|| "open".to_owned(), |to| to.to_string());
        let (cause, state, evidence, recovered) = (gap.cause, gap.state, gap.evidence, gap.recovered);
        match gap.state {
            GapState::Unrecoverable => {
                tracing::error!(%account, %id, %from, to, ?cause, ?state, ?evidence, recovered, "posts are lost");
            }
            _ => tracing::warn!(%account, %id, %from, to, ?cause, ?state, ?evidence, recovered, "gap"),
        }
    }
}

/// A checkpoint that is of another log tells nothing of this one, but for what only some subscriptions lack.
fn of_this_log(kept: PersistedState, hub: &Hub) -> PersistedState {
    let epoch = hub.reader().epoch().to_string();
    if kept.epoch.is_empty() || kept.epoch == epoch {
        return kept;
    }
    tracing::warn!(account = %hub.account(), checkpoint = kept.epoch, %epoch, "ignoring gaps of another log");
    let PersistedState { side, clock_offset_ms, .. } = kept;
    PersistedState { side, clock_offset_ms, ..PersistedState::default() }
}

/// Returns when the newest record was received that the log still has, if it has lost records since the checkpoint: also if
/// that was longer ago than X can be asked for. `oldest` if the log has none left.
fn lost_after(kept: &PersistedState, hub: &Hub, oldest: UnixMillis) -> Option<UnixMillis> {
    let extent = hub.reader().extent();
    if kept.journal_next <= extent.next {
        return None;
    }
    let newest = extent.newest_received.unwrap_or(oldest);
    let (account, lost) = (hub.account(), kept.journal_next - extent.next);
    tracing::error!(%account, lost, next = extent.next, %newest, "journal has lost records that sessions may have received");
    Some(newest)
}

impl MissingRanges for GapTracker {
    fn missing(&self) -> TimeRangeSet {
        let mut missing = self.machine.lock().missing();
        missing.insert_all(&self.hub.side().missing());
        missing
    }

    fn stamp(&self) -> RequestStamp {
        RequestStamp { common: self.machine.lock().demands, private: self.hub.side().stamp() }
    }

    fn mark_recovered(&self, span: TimeRange, evidence: GapEvidence, stamp: RequestStamp) {
        self.change(|machine| machine.mark_recovered(span, evidence, stamp.common));
        self.hub.side().mark_complete(span, evidence, stamp.private);
    }

    fn mark_unrecoverable(&self, span: TimeRange, evidence: GapEvidence) {
        self.change(|machine| machine.mark_unrecoverable(span, evidence));
        self.hub.side().mark_unrecoverable(span, evidence);
    }

    fn is_plausibly_empty(&self, span: TimeRange) -> bool {
        self.machine.lock().is_plausibly_empty(span)
    }

    fn due_min(&self) -> u32 {
        self.machine.lock().limits.config.due_min
    }

    fn changes(&self) -> watch::Receiver<u64> {
        self.demands.subscribe()
    }
}
