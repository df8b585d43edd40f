//! A batch to be appended, and its counts.

use std::collections::BTreeMap;
use std::time::Duration;

use tokio::sync::{OwnedSemaphorePermit, oneshot};

use super::Metrics;
use crate::clock::Moment;
use crate::hub::entry::Receipts;
use crate::hub::status::upstream_status::LastActivity;
use crate::ingest::gap_tracker::CheckpointHold;
use crate::ingest::{ConnectionLabels, ForeignLabel};
use crate::model::{Record, SkipReason, TimeRange, UnixMillis};
use crate::telemetry::metrics::DurationCounts;
use crate::upstream::message::ForeignFormat;

/// Records and state to be appended together.
#[derive(Default)]
pub(super) struct AppendBatch {
    pub(super) records: Vec<Record>,
    /// When the records of live connections were read.
    pub(super) receipts: Receipts,
    pub(super) tally: BatchCounts,
    pub(super) last_activity: Option<LastActivity>,
    /// Receive time of the last post of a live connection.
    pub(super) last_post: Option<UnixMillis>,
    /// Lateness of the data: maximum, and last value.
    pub(super) late: Option<(Duration, Duration)>,
    /// Its share of the queue's capacity.
    pub(super) capacity: Vec<OwnedSemaphorePermit>,
    /// Callers of `flush` that wait for the append.
    pub(super) flushes: Vec<oneshot::Sender<()>>,
    /// Released once the batch is appended.
    pub(super) holds: Vec<CheckpointHold>,
}

impl AppendBatch {
    /// Notes how late the stream is after data that may have been sent as much earlier as the reader was `stalled`;
    /// `before` is how late it was in front of them. Between their records, all posts of the stop may be missing.
    pub(super) fn note_late(&mut self, late: Duration, stalled: Duration, before: Duration) {
        let within = if stalled.is_zero() { late } else { late.max(stalled.saturating_add(before)) };
        self.late = Some((self.late.map_or(within, |(most, _)| most.max(within)), late));
    }

    pub(super) fn complete_flushes(&mut self) {
        for flush in self.flushes.drain(..) {
            // The caller may have gone.
            let _ = flush.send(());
        }
    }
}

/// Counts of the messages of a batch, added to the metrics when it is appended.
#[derive(Default)]
pub(super) struct BatchCounts {
    /// Messages of all kinds, as they were received.
    pub(super) messages: usize,
    /// Time from the creation of each live post to its arrival.
    pub(super) lag: DurationCounts,
    pub(super) posts: u64,
    /// Appended to the side log.
    pub(super) side: u64,
    pub(super) deltas: u64,
    pub(super) duplicates: u64,
    pub(super) control: u64,
    pub(super) unknown: u64,
    pub(super) malformed: u64,
    pub(super) oversized: u64,
    /// Messages in another format, by kind.
    pub(super) foreign: BTreeMap<ForeignFormat, u64>,
    pub(super) rules_missing: u64,
    /// Posts and deltas by live connection.
    pub(super) first: BTreeMap<usize, u64>,
}

impl BatchCounts {
    pub(super) fn count(&self, metrics: &Metrics) {
        let counts = [
            (&metrics.posts_appended, self.posts),
            (&metrics.side_appended, self.side),
            (&metrics.deltas, self.deltas),
            (&metrics.duplicates, self.duplicates),
            (&metrics.control, self.control),
            (&metrics.unknown, self.unknown),
            (&metrics.malformed, self.malformed),
            (&metrics.oversized, self.oversized),
            (&metrics.rules_missing, self.rules_missing),
        ];
        // Each is in memory of its own, which a lone post would have to fetch.
        for (metric, count) in counts.into_iter().filter(|(_, count)| *count > 0) {
            metric.inc_by(count);
        }
        metrics.upstream_lag.add(&self.lag);
        for (kind, messages) in &self.foreign {
            metrics.foreign_messages.get_or_create(&ForeignLabel { kind: kind.name() }).inc_by(*messages);
        }
        for (connection, posts) in &self.first {
            let connection = u32::try_from(*connection).unwrap_or(u32::MAX);
            metrics.posts_first.get_or_create(&ConnectionLabels { connection }).inc_by(*posts);
        }
        metrics.in_flight.dec_by(i64::try_from(self.messages).unwrap_or(i64::MAX));
    }
}

/// Skipped messages, coalesced for at most a second.
pub(super) struct PendingSkip {
    pub(super) reason: SkipReason,
    pub(super) count: u64,
    /// When they can have been sent.
    pub(super) window: TimeRange,
    /// Time of the record: that of other records of what was read with them.
    pub(super) received: UnixMillis,
    pub(super) since: Moment,
}

/// Notes a skipped message of data of this date, and when it was sent.
pub(super) fn note_skip(
    pending: &mut Vec<PendingSkip>,
    reason: SkipReason,
    (received, sent): (UnixMillis, TimeRange),
    now: Moment,
) {
    let window = TimeRange::new(sent.from, sent.to.max(received).plus(Duration::from_millis(1)));
    match pending.iter_mut().find(|skip| skip.reason == reason) {
        Some(skip) => {
            skip.count += 1;
            skip.received = skip.received.max(received);
            skip.window = TimeRange::new(skip.window.from.min(window.from), skip.window.to.max(window.to));
        }
        None => pending.push(PendingSkip { reason, count: 1, window, received, since: now }),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A stopped reader dates what it reads then by its last read before the stop, and it may be as young as the read.
    #[test]
    fn window_of_skips_ends_when_they_were_read() {
        let (mut pending, at) = (Vec::new(), |second: i64| UnixMillis(second * 1_000));
        let mut note = |reason, (from, received), read| {
            let sent = TimeRange::new(at(from), at(read));
            note_skip(&mut pending, reason, (at(received), sent), Moment::ZERO);
            let skip = pending.iter().find(|skip| skip.reason == reason).expect("noted");
            (skip.count, skip.received, skip.window)
        };
        let window = |from, to| TimeRange::new(at(from), at(to).plus(Duration::from_millis(1)));
        assert_eq!(note(SkipReason::Malformed, (10, 10), 10), (1, at(10), window(10, 10)));
        assert_eq!(note(SkipReason::Malformed, (9, 11), 191), (2, at(11), window(9, 191)));
        assert_eq!(note(SkipReason::Malformed, (100, 100), 100), (3, at(100), window(9, 191)));
        assert_eq!(
            note(SkipReason::Oversized, (200, 200), 190),
            (1, at(200), window(200, 200)),
            "the clock was set back"
        );
    }
}
