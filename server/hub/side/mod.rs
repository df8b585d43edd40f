//! The side log: posts of intervals that only some lineages lack, for those who lack them.
//!
//! A *private hole* is missing only for one lineage: its token was trimmed, or its log is lost. The posts of it that X
//! still has go to a log of their own (`ingest/side` writes it), never into the account's; sessions whose token carries
//! the hole read both.
//!
//! Owns: what is wanted of X for private holes, and what has become of it ([`Side`]); reading the side log. Does not own:
//! who writes it, who asks X (`ingest`), what a session has read of it (`subscription/private`).
//!
//! Invariants and the tests that hold them:
//! - Overlapping holes are one demand, and what was brought for one serves the next (`shares::tests`).
//! - An interval is proven only by requests that were made after it was asked for (`tests`), and counts as proven only
//!   while all that was brought for it can be read.
//! - Which of the two logs delivers a post to a session that reads both is decided by one function ([`selection`]) from what
//!   each record carries about the ones before it, so it is the same however often and wherever the session is cut
//!   (`selection::tests`, `subscription::private::tests`).

mod hole;
mod selection;
mod shares;

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use parking_lot::Mutex;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use tokio::sync::watch;

pub use hole::{Hole, Holes};
pub use selection::{Candidate, Coverage, Delivery};
pub use shares::Fate;
use shares::{Share, Shares};

use crate::clock::Clock;
use crate::journal::{Chunk, ReadError, Reader};
use crate::model::{GapEvidence, GapState, Keys, Sequence, Span, Spans, UnixMillis};

/// Settings of private holes, for each account.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct Config {
    /// Whether X is asked for what only some consumers lack: a position that the log no longer holds, or of a lost log.
    /// If not, such a position is refused with POSITION_TOO_OLD unless the request names a policy.
    pub enabled: bool,
    /// How much less than `recovery_window` X is asked for: an older part would leave the window before the request is there.
    #[serde(with = "humantime_serde")]
    #[schemars(with = "String")]
    pub recovery_margin: Duration,
    /// Intervals asked for or kept; beyond it the nearest become one.
    pub intervals_max: usize,
    /// Bytes of the side log that are kept in memory for the sessions that read the same; 0 = none: each session reads for
    /// itself.
    pub page_cache_bytes_max: usize,
}

impl Default for Config {
    fn default() -> Self {
        // A minute: X takes windows in whole minutes (F-RR).
        Self {
            enabled: true,
            recovery_margin: Duration::from_secs(60),
            intervals_max: 1_000,
            page_cache_bytes_max: 8 << 20,
        }
    }
}

/// From where on the account's log has everything that its beginning is to have.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Completeness {
    /// The first connection's backfill is expected to bring it from here on, or is under way.
    Pending(UnixMillis),
    /// From here on.
    From(UnixMillis),
}

/// What is known of the intervals that some lineages lack.
pub struct Side {
    reader: Arc<dyn Reader>,
    clock: Clock,
    config: Config,
    window: Duration,
    state: Mutex<State>,
    /// No interval is known: most accounts, most of the time.
    idle: AtomicBool,
    next: AtomicU64,
    changes: watch::Sender<u64>,
    demands: watch::Sender<u64>,
}

#[derive(Default)]
struct State {
    shares: Shares,
    completeness: Option<Completeness>,
    /// Of the newest demand; 0 before the first.
    stamp: u64,
}

impl State {
    /// Up to where the account's log may not have what lies in `span`. Where it begins is as uncertain as the clock.
    fn lacking_until(&self, span: Span, from_beginning: bool, uncertainty: Duration) -> UnixMillis {
        match self.completeness {
            Some(Completeness::From(from)) if from_beginning => span.to.min(from.plus(uncertainty)).max(span.from),
            _ => span.to,
        }
    }
}

/// What is kept of it over a restart.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Snapshot {
    tag: u32,
    next: Sequence,
    shares: Shares,
    completeness: Option<Completeness>,
}

/// What has become of a hole.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Outlook {
    /// Its parts that are settled, in order, those alike in one piece.
    pub settled: Vec<(Span, GapState, GapEvidence)>,
    /// Its parts that are asked for now.
    pub asked: Spans,
    /// Its parts that wait for the first backfill of the log, or are not over yet.
    pub waiting: Spans,
    /// When what is not over yet will be.
    pub over_at: Option<UnixMillis>,
    /// Posts of it that were brought, about.
    pub posts: u64,
}

impl Side {
    /// Over a side log, with nothing wanted. `window` is how far back X can be asked.
    pub fn new(reader: Arc<dyn Reader>, clock: Clock, config: Config, window: Duration) -> Self {
        let next = AtomicU64::new(reader.extent().next);
        let (state, changes, demands) = (Mutex::default(), watch::channel(0).0, watch::channel(0).0);
        Self { reader, clock, config, window, state, idle: AtomicBool::new(true), next, changes, demands }
    }

    /// Asks for an interval, and tells from where in the side log to read for it. `from_beginning` if its lineage reads the
    /// account's log from its first record on.
    pub fn want(&self, span: Span, from_beginning: bool) -> Sequence {
        let (earliest, next) = (self.reader.extent().earliest, self.next());
        let mut state = self.state.lock();
        let before = state.shares.clone();
        let to = state.lacking_until(span, from_beginning, self.clock.uncertainty());
        state.shares.forget(self.oldest(), earliest);
        let stamp = state.stamp + 1;
        state.shares.want(Span::new(span.from.max(self.oldest()), to), earliest, next, stamp);
        state.shares.bound(self.config.intervals_max, stamp);
        self.idle.store(state.shares.len() == 0, Ordering::Release);
        let changed = before != state.shares;
        if changed {
            state.stamp = stamp;
        }
        let since = state.shares.within(span).map(|share| share.since).min();
        drop(state);
        if changed {
            self.demands.send_modify(|count| *count += 1);
            self.changed();
        }
        since.unwrap_or(next).max(earliest)
    }

    /// What X is to be asked for.
    pub fn missing(&self) -> Spans {
        if self.idle.load(Ordering::Acquire) {
            return Spans::default();
        }
        let state = self.state.lock();
        let mut missing = state.shares.open();
        missing.remove(Span::new(UnixMillis(i64::MIN), self.oldest()));
        if let Some(Completeness::Pending(from)) = state.completeness {
            missing.remove(Span::new(from.plus(self.clock.uncertainty()), UnixMillis(i64::MAX)));
        }
        missing
    }

    /// Stamp of the demands made so far: a request that is made afterwards answers them, and none that follow.
    pub fn stamp(&self) -> u64 {
        self.state.lock().stamp
    }

    /// All that X has of this interval has been appended, by requests made at this stamp or later: what was asked for of it
    /// by then is proven. Of what was asked for later, posts may have arrived before anybody wanted them.
    pub fn prove(&self, span: Span, evidence: GapEvidence, stamp: u64) {
        self.settle(span, |share| {
            if share.wanted <= stamp {
                share.fate = Fate::Proven(evidence);
            }
        });
    }

    /// This interval cannot be brought any more.
    pub fn lose(&self, span: Span, evidence: GapEvidence) {
        self.settle(span, |share| {
            if share.fate == Fate::Open {
                share.fate = Fate::Lost(evidence);
            }
        });
    }

    fn settle(&self, span: Span, change: impl Fn(&mut Share)) {
        let mut state = self.state.lock();
        let before = state.shares.clone();
        state.shares.change(span, change);
        let stamp = state.stamp + 1;
        if state.shares.bound(self.config.intervals_max, stamp) {
            state.stamp = stamp;
        }
        let changed = before != state.shares;
        drop(state);
        if changed {
            self.changed();
        }
    }

    /// Tells from where on the account's log is complete at its beginning.
    pub fn set_complete_from(&self, completeness: Completeness) {
        let mut state = self.state.lock();
        if state.completeness == Some(completeness) {
            return;
        }
        state.completeness = Some(completeness);
        if let Completeness::From(from) = completeness {
            // It was asked for while nobody knew how far the backfill would reach.
            state.shares.withdraw(Span::new(from.plus(self.clock.uncertainty()), UnixMillis(i64::MAX)));
        }
        drop(state);
        self.demands.send_modify(|count| *count += 1);
        self.changed();
    }

    /// From where on the account's log is complete at its beginning, as far as it is told.
    pub fn complete_from(&self) -> Option<Completeness> {
        self.state.lock().completeness
    }

    /// True if a post created at this time is for the side log: somebody lacks it, or lacked it.
    pub fn wants(&self, created: UnixMillis) -> bool {
        !self.idle.load(Ordering::Acquire) && self.state.lock().shares.contain(created)
    }

    /// Lets records be read that were appended before `next`; these are the times of their posts. Only the sequencer calls
    /// this, and only after the append.
    pub fn publish(&self, next: Sequence, created: impl Iterator<Item = UnixMillis>) {
        let mut state = self.state.lock();
        created.for_each(|created| state.shares.count(created));
        drop(state);
        self.next.store(next, Ordering::Release);
        self.changed();
    }

    /// The sequence that the next record will get.
    pub fn next(&self) -> Sequence {
        self.next.load(Ordering::Acquire)
    }

    /// Tells the side log from one that was made anew; short, for tokens.
    pub fn tag(&self) -> u32 {
        let epoch = self.reader.epoch().0;
        (epoch ^ epoch >> 32 ^ epoch >> 64 ^ epoch >> 96) as u32
    }

    /// Changes whenever there is more to read, to ask for, or to tell.
    pub fn changes(&self) -> watch::Receiver<u64> {
        self.changes.subscribe()
    }

    /// Changes whenever there may be more to ask X for.
    pub fn demands(&self) -> watch::Receiver<u64> {
        self.demands.subscribe()
    }

    /// What has become of a hole. `from_beginning` if its lineage reads the account's log from its first record on. What of
    /// it nobody asks for any more is asked for again.
    pub fn outlook(&self, span: Span, from_beginning: bool) -> Outlook {
        let state = self.state.lock();
        let own = Span::new(span.from, state.lacking_until(span, from_beginning, self.clock.uncertainty()));
        let mut asked: Spans = [own].into_iter().filter(|own| !own.is_empty()).collect();
        let logged = Span::new(own.to, span.to);
        // Posts of a time that has not passed are still to come.
        let over_at = Some(logged.to).filter(|to| !logged.is_empty() && self.clock.now() < *to);
        let mut settled = Vec::new();
        if over_at.is_none() {
            settled.push((logged, GapState::Backfilled, GapEvidence::BackfillQuiet));
        }
        let (mut posts, mut unasked) = (0, asked.clone());
        for share in state.shares.within(own) {
            let part = share.span.intersection(own);
            unasked.remove(part);
            posts += share.posts;
            let (state, evidence) = match share.fate {
                Fate::Open => continue,
                Fate::Proven(evidence) => (GapState::Recovered, evidence),
                Fate::Lost(evidence) => (GapState::Unrecoverable, evidence),
            };
            settled.push((part, state, evidence));
            asked.remove(part);
        }
        let mut waiting = match state.completeness {
            Some(Completeness::Pending(from)) if from_beginning => {
                asked.within(Span::new(from.plus(self.clock.uncertainty()), own.to))
            }
            _ => Spans::default(),
        };
        drop(state);
        let late = asked.within(Span::new(UnixMillis(i64::MIN), self.oldest()));
        settled.extend(late.iter().map(|late| (late, GapState::Unrecoverable, GapEvidence::WindowPassed)));
        unasked.remove_all(&late);
        for span in unasked.iter() {
            self.want(span, from_beginning);
        }
        asked.remove_all(&late);
        asked.remove_all(&waiting);
        if over_at.is_some() {
            waiting.insert(logged);
        }
        Outlook { settled: joined(settled), asked, waiting, over_at, posts }
    }

    /// Reads on from `from`: on a blocking thread.
    pub fn read(&self, from: Sequence, keys: &Keys, bytes_max: usize) -> Result<Chunk, ReadError> {
        self.reader.read(from, keys, bytes_max)
    }

    /// The side log itself.
    pub fn reader(&self) -> &Arc<dyn Reader> {
        &self.reader
    }

    /// The oldest time that X can be asked for.
    pub fn oldest(&self) -> UnixMillis {
        self.clock.now().minus(self.window.saturating_sub(self.config.recovery_margin))
    }

    /// The settings.
    pub fn config(&self) -> &Config {
        &self.config
    }

    /// What is to be kept over a restart.
    pub fn snapshot(&self) -> Snapshot {
        let state = self.state.lock();
        let (shares, completeness) = (state.shares.clone(), state.completeness);
        Snapshot { tag: self.tag(), next: self.next(), shares, completeness }
    }

    /// Takes up what was kept. What was proven by records that the side log has lost since is asked for again.
    pub fn restore(&self, kept: Snapshot) {
        let Snapshot { tag, next, mut shares, completeness } = kept;
        let always = Span::new(UnixMillis(i64::MIN), UnixMillis(i64::MAX));
        // No request of an earlier process proves anything of them any more.
        shares.change(always, |share| share.wanted = FIRST_STAMP);
        if tag != self.tag() || next > self.next() {
            let earliest = self.reader.extent().earliest;
            shares.change(always, |share| (share.since, share.fate) = (earliest, Fate::Open));
        }
        let mut state = self.state.lock();
        self.idle.store(shares.len() == 0, Ordering::Release);
        *state = State { shares, completeness, stamp: FIRST_STAMP };
        drop(state);
        self.changed();
    }

    fn changed(&self) {
        self.changes.send_modify(|count| *count += 1);
    }
}

/// Stamp of demands that were made before the process began.
const FIRST_STAMP: u64 = 1;

/// In order, with what is alike and touches in one piece.
fn joined(mut parts: Vec<(Span, GapState, GapEvidence)>) -> Vec<(Span, GapState, GapEvidence)> {
    parts.retain(|(span, ..)| !span.is_empty());
    parts.sort_by_key(|(span, ..)| span.from);
    parts.dedup_by(|next, own| {
        let alike = own.0.to == next.0.from && (own.1, own.2) == (next.1, next.2);
        if alike {
            own.0.to = next.0.to;
        }
        alike
    });
    parts
}

#[cfg(test)]
mod tests;
