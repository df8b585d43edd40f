use std::collections::VecDeque;

use parking_lot::Mutex;
use serde::Serialize;

use super::rule_set::REQUEST_WINDOW;
use crate::clock::Moment;

/// Requests counted in 24 hours at most: far more than X allows.
const REQUESTS_COUNTED_MAX: usize = 100_000;

/// A request to the rules endpoint, for assertions.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct RuleRequestRecord {
    /// GET, POST or DELETE.
    pub method: String,
    /// When it came, in milliseconds since 1970.
    pub received_ms: i64,
    /// Rules that its body names.
    pub rules: usize,
    /// The status of its answer; `None` if it was not answered.
    pub status: Option<u16>,
    /// Whether the account's rules differ after it.
    pub changed: bool,
    /// The injected fault that it met.
    pub fault: Option<&'static str>,
    /// Requests of the 24 hours up to this one, with it, whatever their answer.
    pub in_day: usize,
}

/// The last requests to the rules endpoint, and the number of the last 24 hours.
#[derive(Debug)]
pub(in crate::simulator) struct RuleRequestLog {
    records: Mutex<VecDeque<RuleRequestRecord>>,
    day: Mutex<VecDeque<Moment>>,
    entries_max: usize,
}

impl RuleRequestLog {
    pub(in crate::simulator) fn new(entries_max: usize) -> Self {
        Self { records: Mutex::default(), day: Mutex::default(), entries_max: entries_max.max(1) }
    }

    /// Counts a request that has come. Returns the number of the last 24 hours, with it.
    pub(in crate::simulator) fn arrived(&self, now: Moment) -> usize {
        let mut day = self.day.lock();
        while day
            .front()
            .is_some_and(|oldest| now.since(*oldest) >= REQUEST_WINDOW || day.len() >= REQUESTS_COUNTED_MAX)
        {
            day.pop_front();
        }
        day.push_back(now);
        day.len()
    }

    pub(in crate::simulator) fn push(&self, record: RuleRequestRecord) {
        let mut records = self.records.lock();
        while records.len() >= self.entries_max {
            records.pop_front();
        }
        records.push_back(record);
    }

    pub(in crate::simulator) fn list(&self) -> Vec<RuleRequestRecord> {
        self.records.lock().iter().cloned().collect()
    }
}
