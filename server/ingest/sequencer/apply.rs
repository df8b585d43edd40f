//! From what connections brought to records: dedup, and the verdict on each message.

use super::append_batch::{Batch, Pending, note_skip};
use super::{Intake, Sequencer, Writing};
use crate::hub::entry::{EVENT_BYTES_MAX, event_bytes};
use crate::hub::status::upstream_status::LastByte;
use crate::ingest::dedup::{self, Verdict};
use crate::ingest::gap_tracker::Healer;
use crate::ingest::queue::{Brought, Source};
use crate::model::{Body, GapId, Origin, Post, PostId, SkipReason, UnixMillis};
use crate::task::Shutdown;
use crate::upstream::Message;
use crate::upstream::message::Arrived;

impl Sequencer {
    pub(super) async fn batch(
        &mut self,
        intakes: Vec<Intake>,
        pending: &mut Vec<Pending>,
        giving_up: &Shutdown,
    ) -> Result<Batch, dedup::Error> {
        let mut batch = Batch::default();
        for intake in intakes {
            match intake {
                Intake::Arrivals(brought) => self.take(&mut batch, brought, pending, giving_up).await?,
                Intake::Ledger => self.take_gaps(&mut batch),
                Intake::Flush(done) => batch.flushes.push(done),
            }
        }
        Ok(batch)
    }

    /// Logs what has changed about gaps.
    pub(super) fn take_gaps(&self, batch: &mut Batch) {
        for gap in self.writing.ledger.take_changes() {
            self.push(batch, self.stamp(self.clock.moment()), Body::Gap(gap));
        }
    }

    async fn take(
        &mut self,
        batch: &mut Batch,
        brought: Brought,
        pending: &mut Vec<Pending>,
        giving_up: &Shutdown,
    ) -> Result<(), dedup::Error> {
        let Brought { arrivals, source, moment, room } = brought;
        // What was read before the clock was corrected has a time of the old scale.
        let corrected = self.clock.changed_since(moment) || self.clock.offset_ms() != self.offset_ms;
        let received = if corrected { self.stamp(moment) } else { arrivals.received };
        batch.room.push(room);
        if let Source::Live { late, .. } = source {
            batch.late = Some((batch.late.map_or(late, |(most, _)| most.max(late)), late));
            if arrivals.is_sign_of_life() {
                batch.heard = Some(LastByte { moment, time: received });
            }
            // So that a term is known to sessions as soon as its writer hears anything.
            self.begin_term(batch, received);
        }
        for message in arrivals.messages {
            let skipped = match message {
                Message::Post(post) => match self.take_post(batch, post, &source, received, giving_up).await? {
                    None => continue,
                    Some(skipped) => skipped,
                },
                Message::Control(_) => {
                    batch.tally.control += 1;
                    continue;
                }
                Message::Foreign { kind, first, .. } => {
                    if first {
                        let (account, what_to_do) = (self.writing.hub.account(), kind.advice());
                        tracing::warn!(%account, kind = kind.name(), what_to_do, "skipping messages in a foreign format");
                    }
                    *batch.tally.foreign.entry(kind).or_default() += 1;
                    SkipReason::ForeignFormat
                }
                Message::Unknown { .. } => {
                    batch.tally.unknown += 1;
                    continue;
                }
                Message::Malformed { .. } => {
                    batch.tally.malformed += 1;
                    SkipReason::Malformed
                }
                Message::Oversized { .. } => {
                    batch.tally.oversized += 1;
                    SkipReason::Oversized
                }
            };
            note_skip(pending, skipped, received, self.clock.moment());
        }
        Ok(())
    }

    /// Takes a post, unless what would be logged is too long to be delivered to anybody.
    async fn take_post(
        &mut self,
        batch: &mut Batch,
        arrived: Arrived,
        source: &Source,
        received: UnixMillis,
        giving_up: &Shutdown,
    ) -> Result<Option<SkipReason>, dedup::Error> {
        batch.tally.rules_missing += u64::from(arrived.rules_missing);
        let Arrived { id, rules, json, .. } = arrived;
        let verdict = self.patiently(giving_up, |writing| writing.seen.judge(id, &rules)).await?;
        let logged_rules = match &verdict {
            Verdict::Delta { now, .. } => now,
            Verdict::New | Verdict::Duplicate => rules.as_slice(),
        };
        if verdict != Verdict::Duplicate && event_bytes(&json, logged_rules) > EVENT_BYTES_MAX {
            batch.tally.oversized += 1;
            return Ok(Some(SkipReason::Oversized));
        }
        let (origin, gap) = self.origin(id, source);
        let post =
            Post { id, rules: rules.into(), origin, gap, beside: None, beside_rules: None, previous: None, json };
        let Source::Recovery(tally) = source else {
            self.take_main(batch, post, verdict, source, received, giving_up).await?;
            return Ok(None);
        };
        let route =
            self.patiently(giving_up, |writing| writing.route(id, &post.rules, &verdict, gap.is_some())).await?;
        let mut new = route.main;
        // The account's log first: it is appended first.
        if route.main || !route.side {
            self.take_main(batch, post.clone(), verdict, source, received, giving_up).await?;
        }
        if route.side {
            let is_new = self.take_private(Post { gap: None, ..post }, received, giving_up).await?;
            if !route.main {
                Self::count_private(batch, is_new);
            }
            new |= is_new;
        }
        tally.note(new);
        Ok(None)
    }

    /// Takes a post for the account's log, unless that has it.
    async fn take_main(
        &mut self,
        batch: &mut Batch,
        post: Post,
        verdict: Verdict,
        source: &Source,
        received: UnixMillis,
        giving_up: &Shutdown,
    ) -> Result<(), dedup::Error> {
        let id = post.id;
        let (rules, prior) = match verdict {
            Verdict::Duplicate => {
                batch.tally.duplicates += 1;
                return Ok(());
            }
            Verdict::New => {
                batch.tally.posts += 1;
                (post.rules, None)
            }
            Verdict::Delta { prior, now } => {
                batch.tally.deltas += 1;
                (now, Some(prior))
            }
        };
        if let Source::Live { connection, .. } = source {
            *batch.tally.first.entry(*connection).or_default() += 1;
        }
        if let Some(gap) = post.gap {
            self.writing.ledger.brought(gap);
        }
        let (beside, beside_rules) = self
            .patiently(giving_up, |writing| writing.beside(id))
            .await?
            .map(|known| (known.sequence, known.rules))
            .unzip();
        let previous = match &prior {
            Some(_) => self.patiently(giving_up, |writing| writing.seen.known(id)).await?.map(|known| known.sequence),
            None => None,
        };
        let post = Post { rules: rules.clone(), beside, beside_rules, previous, ..post };
        let body = match prior {
            None => Body::Post(post),
            Some(prior) => Body::Delta { prior, post },
        };
        self.push(batch, received, body);
        let record = batch.records.last().expect("just pushed");
        self.writing.seen.note(id, &rules, record.sequence, record.received);
        self.writing.side.yield_to(id, record.sequence, &rules);
        Ok(())
    }

    /// How a post came, and the gap that it closes a part of.
    fn origin(&self, id: PostId, source: &Source) -> (Origin, Option<GapId>) {
        let created = id.created_at();
        let gap = |by| created.and_then(|created| self.writing.ledger.gap_at(created, by));
        match source {
            Source::Live { connection, backfill_before: Some(before), .. }
                if created.is_some_and(|created| created < *before) =>
            {
                (Origin::Backfill, gap(Healer::Backfill { connection: *connection }))
            }
            Source::Live { .. } => (Origin::Live, None),
            Source::Recovery(_) => (Origin::Recovery, gap(Healer::Recovery)),
        }
    }

    /// Asks the ids. Where their files cannot keep up or be read, it waits for them as for the journal.
    pub(super) async fn patiently<T>(
        &mut self,
        giving_up: &Shutdown,
        mut ask: impl FnMut(&mut Writing) -> Result<T, dedup::Error>,
    ) -> Result<T, dedup::Error> {
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
