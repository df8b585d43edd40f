//! Time that becomes missing again if the log loses its tail, and that no feed knows of.
//!
//! A journal that is shorter than the checkpoint states has lost everything appended after some time. Feeds revert what
//! they delivered since then. Two things have an older upstream time, or no feed: posts recovered for a gap that was
//! opened since then, whose records are lost too, and posts of feeds that were removed from the list.

use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::model::{TimeRange, TimeRangeSet, UnixMillis};

/// Maximum number of gaps in `opened`; the two oldest are merged.
const OPENED_MAX: usize = 64;
/// Maximum delay between the opening of a gap and its record in the log.
const LOGGED_AFTER_MAX: Duration = Duration::from_secs(60);

/// Time that becomes missing again if the log loses its tail.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub(super) struct ReopenedTail {
    opened: Vec<OpenedGap>,
    /// When feeds were removed from the list.
    left: Vec<UnixMillis>,
}

/// A gap that was left to recovery.
#[derive(Clone, Copy, Debug, Serialize, Deserialize)]
struct OpenedGap {
    span: TimeRange,
    at: UnixMillis,
}

impl ReopenedTail {
    /// Records a gap left to recovery.
    pub(super) fn open(&mut self, span: TimeRange, at: UnixMillis) {
        self.opened.push(OpenedGap { span, at });
        if self.opened.len() > OPENED_MAX {
            let first = self.opened.remove(0);
            let second = &mut self.opened[0];
            let span = TimeRange::new(first.span.from.min(second.span.from), first.span.to.max(second.span.to));
            *second = OpenedGap { span, at: first.at.max(second.at) };
        }
    }

    /// Records the removal of a feed from the list.
    pub(super) fn leave(&mut self, at: UnixMillis) {
        self.left.push(at);
        if self.left.len() > OPENED_MAX {
            self.left.remove(0);
        }
    }

    /// Records that the clock was ahead: no time is later than now.
    pub(super) fn on_clock_moved_back(&mut self, latest: UnixMillis) {
        self.opened.iter_mut().for_each(|own| own.at = own.at.min(latest));
        self.left.iter_mut().for_each(|at| *at = (*at).min(latest));
    }

    /// Returns the time that is missing again if the log has lost everything appended after `time`. Posts arrive up to
    /// `lag_max` after their creation; nothing before `oldest` can be recovered.
    pub(super) fn missing_after(&mut self, time: UnixMillis, lag_max: Duration, oldest: UnixMillis) -> TimeRangeSet {
        self.opened.retain(|own| own.span.to > oldest);
        self.left.retain(|at| *at > oldest);
        let after = time.minus(LOGGED_AFTER_MAX);
        let opened = self.opened.iter().filter(|own| own.at >= after).map(|own| own.span);
        let left = self.left.iter().filter(|at| **at >= after).map(|at| TimeRange::new(time.minus(lag_max), *at));
        opened.chain(left).filter(|span| !span.is_empty()).collect()
    }
}
