//! Applies received data: deduplication, and the record of each message.

use std::sync::Arc;
use std::time::Duration;

use super::append_batch::{AppendBatch, PendingSkip, note_skip};
use super::{IngestItem, Sequencer, SequencerDeps};
use crate::clock::Moment;
use crate::hub::entry::{EVENT_BYTES_MAX, event_bytes};
use crate::hub::status::upstream_status::LastActivity;
use crate::ingest::dedup::{self, DedupResult};
use crate::ingest::gap_tracker::RecoverySource;
use crate::ingest::queue::{IngestSource, ReceivedBatch};
use crate::model::{GapId, Origin, Post, PostId, RecordBody, RulesChange, SkipReason, TimeRange, UnixMillis};
use crate::task::Shutdown;
use crate::telemetry::stages::{Stage, StageStamp};
use crate::upstream::UpstreamMessage;
use crate::upstream::message::UpstreamPost;

impl Sequencer {
    pub(super) async fn batch(
        &mut self,
        intakes: Vec<IngestItem>,
        pending: &mut Vec<PendingSkip>,
        giving_up: &Shutdown,
    ) -> Result<AppendBatch, dedup::DedupError> {
        let mut batch = AppendBatch::default();
        for intake in intakes {
            match intake {
                IngestItem::Arrivals(item) => self.apply_item(&mut batch, item, pending, giving_up).await?,
                IngestItem::GapChanges => self.append_gap_records(&mut batch),
                IngestItem::Disconnected(hold) => {
                    self.append_gap_records(&mut batch);
                    batch.holds.push(hold);
                }
                IngestItem::Rules(change) => self.append_rules_records(&mut batch, change),
                IngestItem::Flush(done) => batch.flushes.push(done),
            }
        }
        Ok(batch)
    }

    /// Adds the changes of gaps.
    pub(super) fn append_gap_records(&self, batch: &mut AppendBatch) {
        for gap in self.writing.tracker.drain_changes() {
            self.push(batch, self.stamp(self.clock.moment()), RecordBody::Gap(gap));
        }
    }

    /// Adds a change of the rules, in records of bounded size.
    fn append_rules_records(&self, batch: &mut AppendBatch, change: RulesChange) {
        for part in change.split() {
            self.push(batch, self.stamp(self.clock.moment()), RecordBody::Rules(Arc::new(part)));
        }
    }

    async fn apply_item(
        &mut self,
        batch: &mut AppendBatch,
        item: ReceivedBatch,
        pending: &mut Vec<PendingSkip>,
        giving_up: &Shutdown,
    ) -> Result<(), dedup::DedupError> {
        let ReceivedBatch { arrivals, source, moment, capacity, queued } = item;
        queued.end(Stage::Queue);
        let began = StageStamp::now();
        let received = self.date(arrivals.received, moment, &source);
        batch.capacity.push(capacity);
        let mut stalled_by = Duration::ZERO;
        if let IngestSource::Live { late, stalled, .. } = source {
            stalled_by = stalled;
            let late = late.saturating_add(self.behind_newest(received));
            let hub = &self.writing.hub;
            let before = if stalled.is_zero() { Duration::ZERO } else { hub.late_at(hub.next()) };
            batch.note_late(late, stalled, before);
            if arrivals.is_sign_of_life() {
                batch.last_activity = Some(LastActivity { moment, time: received });
            }
            // Sessions must know a term as soon as its writer receives anything.
            self.begin_term(batch, received);
        }
        batch.tally.messages += arrivals.messages.len();
        let (first, read_at) = (self.next_sequence(batch), arrivals.read_at);
        for message in arrivals.messages {
            let skipped = match message {
                UpstreamMessage::Post(post) => {
                    match self.apply_post(batch, post, &source, received, giving_up).await? {
                        None => continue,
                        Some(skipped) => skipped,
                    }
                }
                UpstreamMessage::Control(_) => {
                    batch.tally.control += 1;
                    continue;
                }
                UpstreamMessage::Foreign { kind, first, .. } => {
                    if first {
                        let (account, what_to_do) = (self.writing.hub.account(), kind.advice());
                        tracing::warn!(%account, kind = kind.name(), what_to_do, "skipping messages in a foreign format");
                    }
                    *batch.tally.foreign.entry(kind).or_default() += 1;
                    SkipReason::ForeignFormat
                }
                UpstreamMessage::Unknown { .. } => {
                    batch.tally.unknown += 1;
                    continue;
                }
                UpstreamMessage::Malformed { .. } => {
                    batch.tally.malformed += 1;
                    SkipReason::Malformed
                }
                UpstreamMessage::Oversized { .. } => {
                    batch.tally.oversized += 1;
                    SkipReason::Oversized
                }
            };
            let sent = TimeRange::new(received.minus(stalled_by), self.stamp(moment));
            note_skip(pending, skipped, (received, sent), self.clock.moment());
        }
        if let IngestSource::Live { .. } = source {
            batch.receipts.add(first..self.next_sequence(batch), read_at);
        }
        began.end(Stage::Dedup);
        Ok(())
    }

    /// Returns the date of data that was read at this moment. If the clock was corrected since, `received` has the time of
    /// the old scale.
    fn date(&self, received: UnixMillis, moment: Moment, source: &IngestSource) -> UnixMillis {
        if !self.clock.changed_since(moment) && self.clock.offset_ms() == self.offset_ms {
            return received;
        }
        let age = if let IngestSource::Live { age, .. } = source { *age } else { Duration::ZERO };
        self.stamp(moment).minus(age)
    }

    /// Adds a post, unless its record would be too long to be delivered. Returns the reason if it is skipped.
    async fn apply_post(
        &mut self,
        batch: &mut AppendBatch,
        arrived: UpstreamPost,
        source: &IngestSource,
        received: UnixMillis,
        giving_up: &Shutdown,
    ) -> Result<Option<SkipReason>, dedup::DedupError> {
        batch.tally.rules_missing += u64::from(arrived.rules_missing);
        if let IngestSource::Live { backfill_before, .. } = source {
            batch.last_post = Some(received);
            // A backfilled post is old for another reason than a slow upstream.
            if let Some(created) = arrived.id.created_at()
                && backfill_before.is_none_or(|before| created >= before)
            {
                batch.tally.lag.observe(received.since(created));
            }
        }
        let UpstreamPost { id, rules, json, .. } = arrived;
        let result = self.retry_until_available(giving_up, |writing| writing.logs.seen.classify(id, &rules)).await?;
        let logged_rules = match &result {
            DedupResult::Delta { now, .. } => now,
            DedupResult::New | DedupResult::Duplicate => rules.as_slice(),
        };
        if result != DedupResult::Duplicate && event_bytes(&json, logged_rules) > EVENT_BYTES_MAX {
            batch.tally.oversized += 1;
            return Ok(Some(SkipReason::Oversized));
        }
        let (origin, gap) = self.origin(id, source);
        let post = Post {
            id,
            rules: rules.into(),
            origin,
            gap,
            counterpart: None,
            counterpart_rules: None,
            previous: None,
            json,
        };
        let IngestSource::Recovery { tally, demanded } = source else {
            self.take_main(batch, post, result, source, received, giving_up).await?;
            return Ok(None);
        };
        let route = self.retry_until_available(giving_up, |writing| writing.route(&post, &result, demanded)).await?;
        let mut new = route.main;
        if result == DedupResult::New && !route.main && !route.side {
            batch.tally.duplicates += 1;
            tally.count_post(false);
            return Ok(None);
        }
        // The account's log first, because it is appended first.
        if route.main || !route.side {
            self.take_main(batch, post.clone(), result, source, received, giving_up).await?;
        }
        if route.side {
            let is_new = self.append_to_side_log(Post { gap: None, ..post }, received, giving_up).await?;
            if !route.main {
                Self::count_private(batch, is_new);
            }
            new |= is_new;
        }
        tally.count_post(new);
        Ok(None)
    }

    /// Adds a post to the account's log, unless the log has it.
    async fn take_main(
        &mut self,
        batch: &mut AppendBatch,
        post: Post,
        result: DedupResult,
        source: &IngestSource,
        received: UnixMillis,
        giving_up: &Shutdown,
    ) -> Result<(), dedup::DedupError> {
        let id = post.id;
        let (rules, prior) = match result {
            DedupResult::Duplicate => {
                batch.tally.duplicates += 1;
                return Ok(());
            }
            DedupResult::New => {
                batch.tally.posts += 1;
                (post.rules, None)
            }
            DedupResult::Delta { prior, now } => {
                batch.tally.deltas += 1;
                (now, Some(prior))
            }
        };
        if let IngestSource::Live { connection, .. } = source {
            *batch.tally.first.entry(*connection).or_default() += 1;
        }
        if let Some(gap) = post.gap {
            self.writing.tracker.count_recovered(gap);
        }
        let (counterpart, counterpart_rules) = self
            .retry_until_available(giving_up, |writing| writing.counterpart(id))
            .await?
            .map(|known| (known.sequence, known.rules))
            .unzip();
        let previous = match &prior {
            Some(_) => self
                .retry_until_available(giving_up, |writing| writing.logs.seen.known(id))
                .await?
                .map(|known| known.sequence),
            None => None,
        };
        let post = Post { rules: rules.clone(), counterpart, counterpart_rules, previous, ..post };
        let body = match prior {
            None => RecordBody::Post(post),
            Some(prior) => RecordBody::Delta { prior, post },
        };
        self.push(batch, received, body);
        let record = batch.records.last().expect("pushed above");
        self.writing.logs.seen.stage(id, &rules, record.sequence, record.received);
        self.writing.logs.side.set_counterpart(id, record.sequence, &rules);
        Ok(())
    }

    /// Returns the origin of a post, and the gap that it helps to close.
    fn origin(&self, id: PostId, source: &IngestSource) -> (Origin, Option<GapId>) {
        let created = id.created_at();
        let gap = |by| created.and_then(|created| self.writing.tracker.gap_at(created, by));
        match source {
            IngestSource::Live { connection, backfill_before: Some(before), .. }
                if created.is_some_and(|created| created < *before) =>
            {
                (Origin::Backfill, gap(RecoverySource::Backfill { connection: *connection }))
            }
            IngestSource::Live { .. } => (Origin::Live, None),
            IngestSource::Recovery { .. } => (Origin::Recovery, gap(RecoverySource::Recovery)),
        }
    }

    /// Queries the deduplication index. If its files cannot be written or read, it waits and retries as for the
    /// journal.
    pub(super) async fn retry_until_available<T>(
        &mut self,
        giving_up: &Shutdown,
        mut ask: impl FnMut(&mut SequencerDeps) -> Result<T, dedup::DedupError>,
    ) -> Result<T, dedup::DedupError> {
        loop {
            match ask(&mut self.writing) {
                Err(error) if error.is_passing() && !giving_up.is_cancelled() => {
                    self.unavailable(&error);
                    drop(error);
                    self.pause(giving_up).await;
                }
                answer => {
                    self.available();
                    return answer;
                }
            }
        }
    }
}
