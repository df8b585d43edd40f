//! The ledger of gaps: what is missing from the log, why, and what becomes of it.
//!
//! Owns: when a gap begins and ends (contract, section 6), what backfill is asked for and whether it is believed, what
//! recovery has to bring, the time of the last byte, and the small file that carries all this over a restart.
//! Does not own: connections (`session`), recovery jobs (`recovery`), the order of records (`sequencer`), what sessions
//! are told (`hub::gaps` reads the GAP records).
//!
//! A lane is one flow of posts: one connection, or several that are full copies of one another. A hole opens when the last
//! connection of a lane ends. With the first byte after it, it falls into at most three gaps that touch: what is too old
//! for X (UNRECOVERABLE), what recovery brings, and what the backfill of this connection brings.
//!
//! Every change of a gap is a record of the log, in the order in which the sequencer takes it from here. The log is the
//! truth about states; the file knows what the log does not: the last byte, what is missing within a gap, what is asked.
//!
//! Invariants and the tests that hold them:
//! - No time in which a lane was down is ever outside of a gap, and none in which it was up is inside, but for the slack
//!   and the lag (I2b): `tests::any_history_is_covered_and_no_wider_than_it_must_be`.
//! - A gap is BACKFILLED only on a connection that asked for it, got its first byte, was quiet about it for the slack, and
//!   is still up (I2c); never after a slow-reader cut: `tests`.
//! - What recovery could not bring is a gap of its own, with exact bounds.

mod book;
mod config;
mod file;
#[cfg(test)]
pub(crate) mod fixtures;
mod healing;
mod lane;
mod metrics;
#[cfg(test)]
mod tests;

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use parking_lot::Mutex;
use tokio::sync::watch;

pub use book::Answer;
use book::{Book, Kept, Limits};
pub use config::Config;
pub use metrics::Metrics;

use super::recovery::{Demand, Stamp};
use crate::hub::Hub;
use crate::hub::side::Completeness;
use crate::model::{Gap, GapCause, GapEvidence, GapId, GapState, Span, Spans, UnixMillis, Window};
use crate::xapi::BackfillMinutes;

/// The open gaps of an account.
pub struct Ledger {
    hub: Arc<Hub>,
    book: Mutex<Book>,
    /// The gaps that are open at the end of the log, as far as the sequencer has taken them.
    logged: Mutex<BTreeMap<GapId, Window>>,
    demands: watch::Sender<u64>,
    metrics: Metrics,
    file: Option<PathBuf>,
    held_up_min: Duration,
}

/// What a ledger is opened with.
pub struct Setup {
    /// Whose; its clock is set to what was known of upstream time before.
    pub hub: Arc<Hub>,
    /// Settings.
    pub config: Config,
    /// How far back recovery can reach.
    pub recovery_window: Duration,
    /// Flows that are different from one another.
    pub lanes: usize,
    /// Where it is kept; `None` for a log in memory.
    pub file: Option<PathBuf>,
    /// Counters.
    pub metrics: Metrics,
}

impl Ledger {
    /// Opens what the file and the log tell. `logged` are the gaps of the log as they stand; `newest` is when its newest
    /// post was received, for a log without a file.
    pub fn open(setup: Setup, logged: Vec<Gap>, newest: Option<UnixMillis>) -> Self {
        let Setup { hub, config, recovery_window, lanes, file, metrics } = setup;
        let kept = file.as_deref().and_then(|path| file::read(path, hub.account()));
        if let Some(kept) = &kept {
            hub.clock().set_offset_ms(kept.clock_offset_ms);
            hub.side().restore(kept.side.clone());
        }
        let (first, held_up_min) = (config.first_backfill_minutes, config.held_up_min);
        let now = hub.clock().now();
        let limits = Limits { config, slack: hub.config().slack, recovery_window };
        let mut book = Book::new(limits, kept.unwrap_or_default());
        let open: Vec<Gap> = logged.iter().filter(|gap| !gap.state.is_final()).cloned().collect();
        book.restore(logged, newest, lanes, now);
        let begins = hub.reader().extent().earliest_received.map(Completeness::From);
        let origin = book.kept.origin.or(begins);
        // A new log: its first connection will ask for backfill.
        let expected = now.minus(Duration::from_secs(60 * u64::from(first)));
        hub.side().set_complete_from(origin.unwrap_or(Completeness::Pending(expected)));
        let logged = open.into_iter().map(|gap| (gap.id, gap.window)).collect();
        Self {
            hub,
            book: Mutex::new(book),
            logged: Mutex::new(logged),
            demands: watch::channel(0).0,
            metrics,
            file,
            held_up_min,
        }
    }

    /// The minutes of backfill to ask for on the next connection of this lane; `None` if none would help.
    pub fn backfill_to_ask(&self, lane: usize, now: UnixMillis) -> Option<BackfillMinutes> {
        self.book.lock().backfill_to_ask(lane, now)
    }

    /// X refuses requests with backfill, and takes the same without.
    pub fn backfill_refused(&self, now: UnixMillis) {
        self.book.lock().backfill_refused(now);
    }

    /// The clock was this far ahead, and with it what was noted by it.
    pub fn set_back(&self, by: Duration) {
        self.change(|book| book.set_back(by));
    }

    /// The clock was this far behind.
    pub fn set_ahead(&self, by: Duration) {
        self.change(|book| book.set_ahead(by));
    }

    /// The first byte of a connection came. What it changes is to be logged before what came.
    pub fn first_byte(&self, lane: usize, connection: usize, answer: Answer, now: UnixMillis) {
        self.change(|book| book.first_byte(lane, connection, answer, now));
    }

    /// Something came, with posts created at these times.
    pub fn heard(&self, lane: usize, connection: usize, received: UnixMillis, created: &[UnixMillis]) {
        self.book.lock().heard(lane, connection, received, created);
    }

    /// While this connection brings backfill: posts created before this came by it.
    pub fn backfill_before(&self, lane: usize, connection: usize) -> Option<UnixMillis> {
        self.book.lock().backfill_before(lane, connection)
    }

    /// A connection ended. What it changes is to be logged behind what it brought.
    pub fn cut(&self, lane: usize, connection: usize, cause: GapCause) {
        self.change(|book| book.cut(lane, connection, cause));
    }

    /// A reader that is held up for this long may be cut as a slow one.
    pub fn held_up_min(&self) -> Duration {
        self.held_up_min
    }

    /// When [`Ledger::tick`] has something to look at.
    pub fn next_due(&self) -> Option<UnixMillis> {
        self.book.lock().next_due()
    }

    /// Closes what is quiet now. True if that made changes to be logged.
    pub fn tick(&self, now: UnixMillis) -> bool {
        self.change(|book| book.tick(now));
        !self.book.lock().changes.is_empty()
    }

    /// Changes that wait to be logged, in order. The sequencer takes them, behind what was put into its queue before.
    pub fn take_changes(&self) -> Vec<Gap> {
        let mut book = self.book.lock();
        let mut changes = std::mem::take(&mut book.changes);
        for gap in &mut changes {
            gap.recovered = book.kept.brought.get(&gap.id).copied().unwrap_or(0);
            if gap.state.is_final() {
                book.kept.brought.remove(&gap.id);
            }
        }
        drop(book);
        let mut logged = self.logged.lock();
        for gap in &changes {
            match gap.state.is_final() {
                true => drop(logged.remove(&gap.id)),
                false => drop(logged.insert(gap.id, gap.window)),
            }
        }
        drop(logged);
        changes.iter().for_each(|gap| self.tell(gap));
        changes
    }

    /// The gap that a post created at this time closes a part of: of those that are open as far as they are logged, or
    /// sessions would get a post of a gap that they have not been told of.
    pub fn gap_at(&self, created: UnixMillis) -> Option<GapId> {
        self.logged.lock().iter().find(|(_, window)| window.contains(created)).map(|(id, _)| *id)
    }

    /// A post of this gap was new.
    pub fn brought(&self, gap: GapId) {
        *self.book.lock().kept.brought.entry(gap).or_default() += 1;
    }

    /// From where on the log is complete at its beginning, but for its gaps.
    pub fn origin(&self) -> Option<Completeness> {
        self.hub.side().complete_from()
    }

    /// The open gaps as they stand, with progress and counts that the log need not have yet.
    pub fn open_gaps(&self) -> Vec<Gap> {
        let book = self.book.lock();
        let holes = book.kept.lanes.iter().filter_map(|lane| lane.hole.as_ref()).filter(|hole| hole.told);
        let gaps = book.kept.healing.values().map(|healing| &healing.gap).chain(holes.map(|hole| &hole.gap));
        let counted =
            |gap: &Gap| Gap { recovered: book.kept.brought.get(&gap.id).copied().unwrap_or(0), ..gap.clone() };
        gaps.map(counted).collect()
    }

    /// Keeps what has to outlive the process, and counts what is open.
    pub fn save(&self) -> std::io::Result<()> {
        let (clock, side) = (self.hub.clock(), self.hub.side().snapshot());
        let kept = Kept { clock_offset_ms: clock.offset_ms(), side, ..self.book.lock().kept.clone() };
        self.metrics.note_open(&kept, clock.now());
        match &self.file {
            Some(path) => file::write(path, &kept),
            None => Ok(()),
        }
    }

    fn change(&self, change: impl FnOnce(&mut Book)) {
        let mut book = self.book.lock();
        change(&mut book);
        let (demands, origin) = (book.demands, book.kept.origin);
        drop(book);
        if let Some(origin) = origin {
            self.hub.side().set_complete_from(origin);
        }
        self.demands.send_if_modified(|told| std::mem::replace(told, demands) != demands);
    }

    fn tell(&self, gap: &Gap) {
        self.metrics.note(gap);
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

impl Demand for Ledger {
    fn missing(&self) -> Spans {
        let mut missing = self.book.lock().missing();
        missing.insert_all(&self.hub.side().missing());
        missing
    }

    fn stamp(&self) -> Stamp {
        Stamp { common: self.book.lock().demands, private: self.hub.side().stamp() }
    }

    fn prove(&self, span: Span, evidence: GapEvidence, stamp: Stamp) {
        self.change(|book| book.prove(span, evidence, stamp.common));
        self.hub.side().prove(span, evidence, stamp.private);
    }

    fn lose(&self, span: Span, evidence: GapEvidence) {
        self.change(|book| book.lose(span, evidence));
        self.hub.side().lose(span, evidence);
    }

    fn is_plausibly_empty(&self, span: Span) -> bool {
        self.book.lock().is_plausibly_empty(span)
    }

    fn due_min(&self) -> u32 {
        self.book.lock().limits.config.due_min
    }

    fn changes(&self) -> watch::Receiver<u64> {
        self.demands.subscribe()
    }
}
