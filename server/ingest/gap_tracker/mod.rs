//! The gap tracker: which time is missing from the log, why, and how it is recovered.
//!
//! Owns: when a gap begins and ends (contract, section 6), which backfill is requested and whether it is accepted,
//! which ranges recovery has to fetch, the time of the last byte, and the checkpoint that preserves this across
//! restarts. Does not own: connections (`supervisor`), recovery jobs (`recovery`), the order of records (`sequencer`),
//! announcements to sessions (`hub::status::gap_index` reads the GAP records).
//!
//! # Design
//! A feed is a disjoint part of the stream, carried by one connection or by several redundant ones. Each connection has
//! its own progress: the interval in which it alone has delivered every post. A time that no connection has delivered,
//! and no open connection can still deliver, is a gap. The first byte after it divides the gap into at most three
//! adjacent gaps: the part too old for X (UNRECOVERABLE), the part for recovery, and the part for the backfill of this
//! connection.
//!
//! Feeds are identified by name, across restarts and changes of the list of datacenters (`inherit`).
//!
//! Every change of a gap is a record of the log, in the order in which the sequencer drains it from here. The log is
//! the source of truth for states; the checkpoint contains only what the log does not: the last byte, missing ranges
//! within a gap, and pending requests.
//!
//! # Invariants
//! - Time in which a feed was down is always inside a gap, and time in which it was up is never inside one, except for
//!   the allowed lateness and the lag (I2b): `tests::gaps_cover_any_history_tightly`. A post that no connection
//!   delivered lies in a gap after any delay, silence, stall or change of configuration: `tests::simulated`.
//! - A gap is BACKFILLED only on an open connection that requested the backfill, received its first byte, and had no
//!   post of it for the allowed lateness (I2c); never after a slow-reader disconnect: `tests`.
//! - Time that recovery could not fetch is a gap of its own, with exact bounds.

pub(super) mod account_gaps;
mod backfill;
mod checkpoint_hold;
mod config;
mod connecting;
mod connection;
mod correction_log;
mod demand;
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
pub mod shared;
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

pub use checkpoint_hold::CheckpointHold;
use checkpoint_hold::CheckpointHolds;
pub use config::Config;
pub use connection::ReceiveTime;
pub use feed::ALL_FEEDS;
use limits::TrackerLimits;
pub use metrics::Metrics;
use restore::RestoreInput;
use state_machine::{GapStateMachine, PersistedState};
pub use state_machine::{RecoverySource, StreamResponse};

use super::restore::LogTimes;
use crate::hub::Hub;
use crate::hub::side_log::Completeness;
use crate::model::{Gap, GapCause, GapId, GapState, TimeInterval, UnixMillis};
use crate::xapi::BackfillMinutes;

/// Tracks the open gaps of an account.
pub struct GapTracker {
    hub: Arc<Hub>,
    machine: Mutex<GapStateMachine>,
    /// The open gaps at the end of the log, up to the record that the sequencer has drained.
    logged: Mutex<BTreeMap<GapId, TimeInterval>>,
    demands: watch::Sender<u64>,
    metrics: Metrics,
    file: Option<persist::Checkpoint>,
    holds: CheckpointHolds,
    reader_stall_min: Duration,
}

/// Parameters of [`GapTracker::open`].
pub struct TrackerParams {
    /// Hub of the account; its clock is set to the persisted correction of upstream time.
    pub hub: Arc<Hub>,
    /// Settings.
    pub config: Config,
    /// How far back recovery can reach.
    pub recovery_window: Duration,
    /// Names of the feeds: datacenters, or [`ALL_FEEDS`].
    pub feeds: Vec<String>,
    /// Path of the checkpoint; `None` for a log in memory.
    pub file: Option<PathBuf>,
    /// Metrics.
    pub metrics: Metrics,
}

/// Checkpoint of a tracker that has ended.
pub struct TrackerCheckpoint(Vec<u8>);

impl TrackerParams {
    fn limits(&self) -> TrackerLimits {
        let (config, recovery_window) = (self.config.clone(), self.recovery_window);
        TrackerLimits { config, allowed_lateness: self.hub.config().allowed_lateness, recovery_window }
    }
}

impl GapTracker {
    /// Restores the tracker from the checkpoint and the log. `logged` are the gaps in their last logged state.
    pub fn open(setup: TrackerParams, logged: Vec<Gap>, received: LogTimes) -> Self {
        let hub = &setup.hub;
        let kept = setup.file.as_deref().and_then(|path| persist::read(path, hub.account(), &setup.limits()));
        if let Some(kept) = &kept {
            hub.clock().set_offset_ms(kept.clock_offset_ms);
            persist::apply(hub, kept);
        }
        Self::restored(setup, kept, logged, received)
    }

    /// Continues with the checkpoint of the tracker before it, as [`GapTracker::open`] does after a restart of the
    /// process. The clock, the private gaps and the lateness are state of the hub, which outlives a tracker.
    pub fn resume(setup: TrackerParams, before: &TrackerCheckpoint, logged: Vec<Gap>) -> Self {
        let path = setup.file.clone().unwrap_or_default();
        let kept = persist::decode(&before.0, &path, setup.hub.account(), &setup.limits());
        // That the log has posts is in the checkpoint.
        let received = LogTimes { post: None, oldest: setup.hub.reader().extent().earliest_received };
        Self::restored(setup, kept, logged, received)
    }

    fn restored(setup: TrackerParams, kept: Option<PersistedState>, logged: Vec<Gap>, received: LogTimes) -> Self {
        let limits = setup.limits();
        let TrackerParams { hub, config, recovery_window, feeds, file, metrics } = setup;
        let (first, reader_stall_min) = (config.initial_backfill_minutes, config.reader_stall_min);
        let now = hub.clock().now();
        let kept = kept.map(|kept| persist::of_this_log(kept, &hub)).unwrap_or_default();
        persist::note_trimmed_gaps(&hub, &kept, &logged);
        let lost_after = lost_after(&kept, &hub, now.minus(recovery_window));
        let mut machine = GapStateMachine::new(limits, kept);
        let open: Vec<Gap> = logged.iter().filter(|gap| !gap.state.is_final()).cloned().collect();
        machine.restore(RestoreInput { logged, received, lost_after, feeds: &feeds, now });
        // Before the first sign of life the log contains notices only: it has not begun.
        let begins = received.oldest.filter(|_| machine.has_begun()).map(Completeness::From);
        let origin = machine.origin().or(begins);
        // A new log: its first connection requests backfill.
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
            file: file.map(persist::Checkpoint::new),
            holds: CheckpointHolds::default(),
            reader_stall_min,
        }
    }

    /// Returns the minutes of backfill to request at the next connect; `None` if backfill would not help.
    pub fn backfill_to_ask(&self, feed: usize, connection: usize) -> Option<BackfillMinutes> {
        let clock = self.hub.clock();
        self.machine.lock().backfill_minutes(feed, connection, clock.now(), clock.uncertainty())
    }

    /// Records that X refused a request with backfill, and accepted the same request without.
    pub fn backfill_refused(&self, now: UnixMillis) {
        self.machine.lock().backfill_refused(now);
    }

    /// Records that the clock changed by this many milliseconds, with every time stamped before. The checkpoint is
    /// written before any record has the new time: a process that ends now must not leave times of the old clock to
    /// records of the new one, because between the two nothing would seem to be missing.
    pub fn on_clock_corrected(&self, by_ms: i64) {
        let (now, by) = (self.hub.clock().now(), Duration::from_millis(by_ms.unsigned_abs()));
        self.change(|machine| match by_ms < 0 {
            true => machine.on_clock_moved_back(by, now),
            false => machine.on_clock_moved_forward(by, now),
        });
        if let Err(error) = self.save() {
            tracing::error!(account = %self.hub.account(), %error, "failed to write gap checkpoint after clock correction");
        }
    }

    /// Records the first byte of a connection. The resulting changes must be logged before the data.
    pub fn first_byte(&self, feed: usize, connection: usize, answer: StreamResponse, now: UnixMillis) {
        self.change(|machine| machine.first_byte(feed, connection, answer, now));
    }

    /// Records arrived data; `created` are the creation times of its posts.
    pub fn record_data(
        &self,
        feed: usize,
        connection: usize,
        receive_time: impl Into<ReceiveTime>,
        created: &[UnixMillis],
    ) {
        self.machine.lock().record_activity(feed, connection, receive_time, created);
    }

    /// Returns how long before `received` the first time lies that some feed has not delivered and that is in no gap.
    pub fn late(&self, received: UnixMillis) -> Duration {
        self.machine.lock().late(received)
    }

    /// While the backfill of this connection is in progress: posts created before this time belong to it.
    pub fn backfill_before(&self, feed: usize, connection: usize) -> Option<UnixMillis> {
        self.machine.lock().backfill_before(feed, connection)
    }

    /// Records the end of a connection. The resulting changes must be logged after its data, and the hold be released then.
    pub fn on_disconnect(&self, feed: usize, connection: usize, cause: GapCause) -> CheckpointHold {
        let hold = self.holds.hold();
        self.change(|machine| machine.on_disconnect(feed, connection, cause));
        hold
    }

    /// Records a stall of the connection's reader: silence in this time proves nothing.
    pub fn stopped(&self, feed: usize, connection: usize, stopped: Duration) {
        self.machine.lock().stopped(feed, connection, stopped);
    }

    /// Returns the stall after which X may have disconnected the connection as a slow reader.
    pub fn reader_stall_min(&self) -> Duration {
        self.reader_stall_min
    }

    /// Returns when [`GapTracker::tick`] has work to do for this connection.
    pub fn next_deadline(&self, feed: usize, connection: usize) -> Option<UnixMillis> {
        self.machine.lock().next_deadline(feed, connection)
    }

    /// Closes the gaps whose backfill on this connection is quiet. Called only by the reader of the connection, which
    /// knows whether it was stalled. Returns true if there are changes to be logged.
    pub fn tick(&self, feed: usize, connection: usize, now: UnixMillis) -> bool {
        self.change(|machine| machine.tick(feed, connection, now));
        !self.machine.lock().changes.is_empty()
    }

    /// Takes the changes to be logged, in order. The sequencer logs them after the earlier items of its queue.
    pub fn drain_changes(&self) -> Vec<Gap> {
        let mut machine = self.machine.lock();
        let mut changes = std::mem::take(&mut machine.changes);
        for gap in &mut changes {
            gap.recovered = machine.kept.recovered_posts.get(&gap.id).copied().unwrap_or(0);
            if gap.state.is_final() {
                machine.kept.recovered_posts.remove(&gap.id);
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

    /// Returns the gap that a post created at this time helps to close. Only gaps with a logged open state count, so
    /// that sessions receive the announcement before the post. Gaps of several feeds may overlap: a backfilled post
    /// counts for a gap of the connection's feed, a recovered post for a gap left to recovery.
    pub fn gap_at(&self, created: UnixMillis, by: RecoverySource) -> Option<GapId> {
        let logged = self.logged.lock();
        let mut touched = logged.iter().filter(|(_, window)| window.contains(created)).map(|(id, _)| *id).peekable();
        let first = *touched.peek()?;
        Some(self.machine.lock().healed_by(by, touched).unwrap_or(first))
    }

    /// Counts a new post of this gap.
    pub fn count_recovered(&self, gap: GapId) {
        *self.machine.lock().kept.recovered_posts.entry(gap).or_default() += 1;
    }

    /// Returns the start from which the log is complete, except for its gaps.
    pub fn complete_from(&self) -> Option<Completeness> {
        self.hub.side().complete_from()
    }

    /// Returns the open gaps, with progress and counts that may not be logged yet.
    pub fn open_gaps(&self) -> Vec<Gap> {
        let machine = self.machine.lock();
        let counted = |gap: &Gap| Gap {
            recovered: machine.kept.recovered_posts.get(&gap.id).copied().unwrap_or(0),
            ..gap.clone()
        };
        machine.kept.announced_gaps().map(counted).collect()
    }

    /// Writes the checkpoint unless it is held back (asked after the copy), and updates the metrics of open gaps.
    pub fn save(&self) -> std::io::Result<()> {
        let state = || {
            let kept = self.persisted();
            self.metrics.note_open(&kept, self.hub.clock().now());
            (!self.holds.is_held()).then_some(kept)
        };
        let Some(file) = &self.file else {
            state();
            return Ok(());
        };
        file.write(state)
    }

    /// Returns the checkpoint, for the next tracker of this process.
    pub fn checkpoint(&self) -> TrackerCheckpoint {
        TrackerCheckpoint(
            persist::encode(&self.persisted()).expect("the state is numbers, text, lists and maps of them"),
        )
    }

    fn persisted(&self) -> PersistedState {
        let (clock, side) = (self.hub.clock(), self.hub.side().snapshot());
        let mut kept = PersistedState { clock_offset_ms: clock.offset_ms(), side, ..self.machine.lock().kept.clone() };
        // Data that was read and not appended is lost with the process.
        kept.keep_appended(self.hub.upstream().last_byte().map(|last| last.time));
        // After the copy: everything that the copy considers delivered is below this sequence.
        kept.journal_next = self.hub.reader().extent().next;
        kept.epoch = self.hub.reader().epoch().to_string();
        kept.late = self.hub.lateness().most(self.hub.reader().extent().earliest);
        kept
    }

    fn change(&self, change: impl FnOnce(&mut GapStateMachine)) {
        let mut machine = self.machine.lock();
        change(&mut machine);
        let (demands, origin) = (machine.demands, machine.origin());
        drop(machine);
        if let Some(origin) = origin {
            self.hub.side().set_complete_from(origin);
        }
        self.demands.send_if_modified(|last| std::mem::replace(last, demands) != demands);
    }

    fn notify_gap(&self, gap: &Gap) {
        self.metrics.record(gap);
        let (account, gap_id, start) = (self.hub.account(), gap.id, gap.window.from);
        let end = gap.window.to.map_or_else(|| "open".to_owned(), |to| to.to_string());
        let (cause, evidence, recovered) = (gap.cause, gap.evidence, gap.recovered);
        match gap.state {
            GapState::Detected => {
                tracing::warn!(%account, %gap_id, %start, end, ?cause, ?evidence, recovered, "gap opened");
            }
            GapState::Recovering => {
                tracing::warn!(%account, %gap_id, %start, end, ?cause, ?evidence, recovered, "gap left to recovery");
            }
            GapState::Backfilled => {
                tracing::warn!(%account, %gap_id, %start, end, ?cause, ?evidence, recovered, "gap closed by backfill");
            }
            GapState::Recovered => {
                tracing::warn!(%account, %gap_id, %start, end, ?cause, ?evidence, recovered, "gap recovered");
            }
            GapState::Unrecoverable => {
                tracing::error!(%account, %gap_id, %start, end, ?cause, ?evidence, recovered, "gap is unrecoverable");
            }
        }
    }
}

/// If the log has lost records since the checkpoint, returns when its newest record was received, even if that is
/// before the recovery window. Returns `oldest` if the log has no records left.
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
