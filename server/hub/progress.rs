//! Progress of sessions, as a scrape sees it: lag and stalls. A session stores it with relaxed stores, once per frame.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicI64, AtomicU64, Ordering};
use std::time::Duration;

use parking_lot::Mutex;
use slab::Slab;

use crate::clock::Moment;
use crate::model::{Sequence, UnixMillis};

/// Stands for no time.
const NEVER: u64 = u64::MAX;
/// A session whose client takes no frame for this long is stalled.
const STALLED_AFTER: Duration = Duration::from_secs(5);

/// Open sessions.
#[derive(Debug, Default)]
pub(super) struct SessionTable(Mutex<Slab<Arc<SessionProgress>>>);

/// Progress of a session.
#[derive(Debug)]
pub(super) struct SessionProgress {
    /// Label of its consumer.
    consumer: String,
    /// The next record to pass.
    cursor: AtomicU64,
    /// Receive time of the last passed record, in milliseconds since 1970; `i64::MIN` before the first.
    passed_time: AtomicI64,
    /// It waits for records, and none before the tip is for it.
    is_parked: AtomicBool,
    /// When the last frame was handed over, in milliseconds of the clock; [`NEVER`] while the next one is requested.
    handed_at: AtomicU64,
}

/// Lag of the session of a consumer that is furthest behind.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct ConsumerLag {
    pub(super) records: u64,
    pub(super) time: Duration,
}

fn millis(moment: Moment) -> u64 {
    u64::try_from(moment.since(Moment::ZERO).as_millis()).unwrap_or(NEVER - 1)
}

impl SessionTable {
    /// Adds a session. Returns its place in the table.
    pub(super) fn insert(&self, progress: Arc<SessionProgress>) -> usize {
        self.0.lock().insert(progress)
    }

    /// Removes a session that has ended.
    pub(super) fn remove(&self, slot: usize) {
        self.0.lock().remove(slot);
    }

    /// Returns the number of open sessions.
    pub(super) fn len(&self) -> usize {
        self.0.lock().len()
    }

    /// Returns the number of sessions whose client takes no frame.
    pub(super) fn stalled(&self, now: Moment) -> usize {
        let now = millis(now);
        let limit = u64::try_from(STALLED_AFTER.as_millis()).unwrap_or(NEVER);
        let stalled = |progress: &SessionProgress| {
            let handed_at = progress.handed_at.load(Ordering::Relaxed);
            handed_at != NEVER && now.saturating_sub(handed_at) >= limit
        };
        self.0.lock().iter().filter(|(_, progress)| stalled(progress)).count()
    }

    /// Returns the worst lag of each consumer that has a session. The tip is the next sequence and the receive time of
    /// the newest record.
    pub(super) fn lag(&self, (next, newest): (Sequence, Option<i64>)) -> BTreeMap<String, ConsumerLag> {
        let mut worst: BTreeMap<String, ConsumerLag> = BTreeMap::new();
        for (_, progress) in &*self.0.lock() {
            let lag = progress.lag(next, newest);
            match worst.get_mut(&progress.consumer) {
                Some(known) => {
                    *known = ConsumerLag { records: known.records.max(lag.records), time: known.time.max(lag.time) };
                }
                None => drop(worst.insert(progress.consumer.clone(), lag)),
            }
        }
        worst
    }
}

impl SessionProgress {
    /// Creates the progress of a session that begins at `cursor`; what was received up to `reached` is before it.
    pub(super) fn begin(consumer: String, cursor: Sequence, reached: UnixMillis, now: Moment) -> Self {
        Self {
            consumer,
            cursor: AtomicU64::new(cursor),
            passed_time: AtomicI64::new(if reached.0 == 0 { i64::MIN } else { reached.0 }),
            is_parked: AtomicBool::new(false),
            handed_at: AtomicU64::new(millis(now)),
        }
    }

    /// Records that the next frame is requested.
    pub(super) fn request(&self) {
        self.handed_at.store(NEVER, Ordering::Relaxed);
    }

    /// Records that a frame was handed over, and the progress after it.
    pub(super) fn hand_over(&self, cursor: Sequence, passed: Option<UnixMillis>, now: Moment) {
        self.cursor.store(cursor, Ordering::Relaxed);
        if let Some(passed) = passed {
            self.passed_time.store(passed.0, Ordering::Relaxed);
        }
        self.handed_at.store(millis(now), Ordering::Relaxed);
    }

    /// Records whether the session waits for records.
    pub(super) fn set_parked(&self, is_parked: bool) {
        self.is_parked.store(is_parked, Ordering::Relaxed);
    }

    fn lag(&self, next: Sequence, newest: Option<i64>) -> ConsumerLag {
        let records = next.saturating_sub(self.cursor.load(Ordering::Relaxed));
        if records == 0 || self.is_parked.load(Ordering::Relaxed) {
            return ConsumerLag::default();
        }
        let passed = self.passed_time.load(Ordering::Relaxed);
        let behind = newest.filter(|_| passed != i64::MIN).map_or(0, |newest| newest.saturating_sub(passed).max(0));
        ConsumerLag { records, time: Duration::from_millis(behind.unsigned_abs()) }
    }
}
