//! Lag and stalls of the sessions of an account, as a scrape sees them.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use parking_lot::Mutex;
use slab::Slab;

use super::activity::SessionActivity;
use crate::clock::Moment;
use crate::model::{Sequence, UnixMillis};

/// A session whose client takes no frame for this long is stalled.
const STALLED_AFTER: Duration = Duration::from_secs(5);

/// Open sessions.
#[derive(Debug, Default)]
pub(super) struct SessionTable(Mutex<Slab<MeteredSession>>);

/// An open session, and the label of its consumer.
#[derive(Debug)]
pub(super) struct MeteredSession {
    pub(super) consumer: String,
    pub(super) activity: Arc<SessionActivity>,
}

/// Lag of the session of a consumer that is furthest behind.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct ConsumerLag {
    pub(super) records: u64,
    pub(super) time: Duration,
}

impl SessionTable {
    /// Adds a session. Returns its place in the table.
    pub(super) fn insert(&self, session: MeteredSession) -> usize {
        self.0.lock().insert(session)
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
        self.0.lock().iter().filter(|(_, session)| session.activity.stalled_for(now) >= STALLED_AFTER).count()
    }

    /// Returns the worst lag of each consumer that has a session. The tip is the next sequence and the receive time of
    /// the newest record.
    pub(super) fn lag(&self, tip: (Sequence, Option<UnixMillis>)) -> BTreeMap<String, ConsumerLag> {
        let mut worst: BTreeMap<String, ConsumerLag> = BTreeMap::new();
        for (_, session) in &*self.0.lock() {
            let (records, time) = session.activity.lag(tip);
            match worst.get_mut(&session.consumer) {
                Some(known) => *known = ConsumerLag { records: known.records.max(records), time: known.time.max(time) },
                None => drop(worst.insert(session.consumer.clone(), ConsumerLag { records, time })),
            }
        }
        worst
    }
}
