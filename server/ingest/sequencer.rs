//! The one writer: numbers, appends, and only then publishes. On a thread of its own, for it waits for the disk.

use std::sync::Arc;
use std::time::Duration;

use tokio::runtime::Handle;
use tokio::sync::{OwnedSemaphorePermit, mpsc};

use super::dedup::{self, Seen, Verdict};
use super::{Config, Intake, Metrics};
use crate::clock::{Clock, Moment};
use crate::hub::Hub;
use crate::hub::upstream::LastByte;
use crate::journal::{AppendError, Writer};
use crate::model::{Body, Origin, Post, PostId, Record, Rule, Sequence, Skip, SkipReason, Term, UnixMillis, Window};
use crate::task::Shutdown;
use crate::upstream::Message;
use crate::upstream::message::Arrived;

/// The one writer of an account's log.
pub struct Sequencer {
    writing: Writing,
    intakes: mpsc::Receiver<Intake>,
    runtime: Handle,
    clock: Clock,
    config: Config,
    /// The journal could not be written when it was last tried.
    stalled: bool,
}

/// What it writes to.
pub struct Writing {
    /// The log.
    pub writer: Box<dyn Writer>,
    /// Where sessions read it.
    pub hub: Arc<Hub>,
    /// Which posts were seen before.
    pub seen: Seen,
    /// This writer.
    pub term: Term,
    /// Counters.
    pub metrics: Metrics,
}

/// What is about to be appended.
#[derive(Default)]
struct Batch {
    records: Vec<Record>,
    tally: Tally,
    heard: Option<LastByte>,
    /// Room in the queue that it holds.
    room: Vec<OwnedSemaphorePermit>,
}

/// What became of the messages of a batch; counted when it is appended.
#[derive(Default)]
struct Tally {
    posts: u64,
    deltas: u64,
    duplicates: u64,
    control: u64,
    unknown: u64,
    malformed: u64,
    oversized: u64,
    rules_missing: u64,
}

/// Messages that could not be taken, gathered for at most a second.
struct Pending {
    reason: SkipReason,
    count: u64,
    from: UnixMillis,
    to: UnixMillis,
    since: Moment,
}

/// Skips of one reason are told once a second.
const SKIP_INTERVAL: Duration = Duration::from_secs(1);

impl Sequencer {
    /// A writer that takes what is put into the queue.
    pub fn new(
        writing: Writing,
        intakes: mpsc::Receiver<Intake>,
        runtime: Handle,
        clock: Clock,
        config: Config,
    ) -> Self {
        Self { writing, intakes, runtime, clock, config, stalled: false }
    }

    /// Writes until the queue is closed and empty, or `giving_up` while the journal cannot be written. An error is damage
    /// to our own files: the process must not go on.
    pub fn run(mut self, giving_up: &Shutdown) -> Result<(), dedup::Error> {
        let mut pending: Vec<Pending> = Vec::new();
        let mut open = true;
        self.write(Vec::new(), &mut pending, giving_up)?;
        while open {
            let next = self.intakes.recv();
            let first = match self.runtime.block_on(self.clock.timeout(SKIP_INTERVAL, next)) {
                Ok(Some(intake)) => Some(intake),
                Ok(None) => {
                    open = false;
                    None
                }
                Err(crate::clock::Elapsed) => None,
            };
            let ready = first.map(|first| self.take_ready(first)).unwrap_or_default();
            self.write(ready, &mut pending, giving_up)?;
        }
        Ok(())
    }

    /// All that is ready, up to the bound of a batch.
    fn take_ready(&mut self, first: Intake) -> Vec<Intake> {
        let mut bytes = first.arrivals.bytes;
        let mut ready = vec![first];
        while bytes < self.config.append_bytes_max as u64
            && let Ok(intake) = self.intakes.try_recv()
        {
            bytes += intake.arrivals.bytes;
            ready.push(intake);
        }
        ready
    }

    fn write(
        &mut self,
        intakes: Vec<Intake>,
        pending: &mut Vec<Pending>,
        giving_up: &Shutdown,
    ) -> Result<(), dedup::Error> {
        let mut batch = self.batch(intakes, pending, giving_up)?;
        self.add_skips(&mut batch, pending);
        self.append(&mut batch, giving_up);
        Ok(())
    }

    fn batch(
        &mut self,
        intakes: Vec<Intake>,
        pending: &mut Vec<Pending>,
        giving_up: &Shutdown,
    ) -> Result<Batch, dedup::Error> {
        let mut batch = Batch::default();
        if self.is_first_of_term() {
            batch.records.push(self.record(&batch, self.clock.now(), Body::Term));
        }
        for intake in intakes {
            let (origin, moment) = (intake.origin, intake.moment);
            let (arrivals, room) = intake.split();
            let received = arrivals.received;
            batch.heard = Some(LastByte { moment, time: received });
            batch.room.push(room);
            for message in arrivals.messages {
                let skipped = match message {
                    Message::Post(post) => {
                        self.take_post(&mut batch, post, origin, received, giving_up)?;
                        continue;
                    }
                    Message::Control(_) | Message::Side(_) => {
                        batch.tally.control += 1;
                        continue;
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
        }
        Ok(batch)
    }

    fn take_post(
        &mut self,
        batch: &mut Batch,
        arrived: Arrived,
        origin: Origin,
        received: UnixMillis,
        giving_up: &Shutdown,
    ) -> Result<(), dedup::Error> {
        batch.tally.rules_missing += u64::from(arrived.rules_missing);
        let Arrived { id, rules, json, .. } = arrived;
        let (rules, prior) = match self.judge(id, &rules, giving_up)? {
            Verdict::Duplicate => {
                batch.tally.duplicates += 1;
                return Ok(());
            }
            Verdict::New => {
                batch.tally.posts += 1;
                (rules.into(), None)
            }
            Verdict::Delta { prior, now } => {
                batch.tally.deltas += 1;
                (now, Some(prior))
            }
        };
        let post = Post { id, rules, origin, gap: None, json };
        let body = match prior {
            None => Body::Post(post),
            Some(prior) => Body::Delta { prior, post },
        };
        let record = self.record(batch, received, body);
        if let Some(post) = record.body.post() {
            self.writing.seen.note(id, &post.rules, record.sequence, record.received);
        }
        batch.records.push(record);
        Ok(())
    }

    /// The verdict on a post. Where the files of ids cannot keep up, it waits for them as for the journal.
    fn judge(&mut self, id: PostId, rules: &[Rule], giving_up: &Shutdown) -> Result<Verdict, dedup::Error> {
        loop {
            match self.writing.seen.judge(id, rules) {
                Err(error @ dedup::Error::Behind { .. }) if !giving_up.is_cancelled() => {
                    self.unavailable(&error);
                    self.pause(giving_up);
                }
                verdict => {
                    self.available();
                    return verdict;
                }
            }
        }
    }

    fn is_first_of_term(&self) -> bool {
        let terms = self.writing.hub.reader().terms();
        terms.last().is_none_or(|start| start.term != self.writing.term)
    }

    fn record(&self, batch: &Batch, received: UnixMillis, body: Body) -> Record {
        let (next, tip): (Sequence, UnixMillis) = match batch.records.last() {
            Some(last) => (last.sequence + 1, last.received),
            None => (self.writing.hub.next(), self.writing.hub.tip_received()),
        };
        // A step of the wall clock must not turn the order of the log.
        Record { sequence: next, term: self.writing.term, received: received.max(tip), body }
    }

    /// Adds what is due of the messages that could not be taken.
    fn add_skips(&self, batch: &mut Batch, pending: &mut Vec<Pending>) {
        let (now, closed) = (self.clock.moment(), self.intakes.is_closed());
        pending.retain(|skip| {
            let due = closed || now.since(skip.since) >= SKIP_INTERVAL;
            if due {
                let window = Window { from: skip.from, to: Some(skip.to.plus(Duration::from_millis(1))) };
                let body = Body::Skip(Skip { reason: skip.reason, count: skip.count, window });
                let record = self.record(batch, skip.to, body);
                batch.records.push(record);
            }
            !due
        });
    }

    /// Appends and then publishes; as long as the journal cannot be written, keeps the batch and tries again.
    fn append(&mut self, batch: &mut Batch, giving_up: &Shutdown) {
        while !batch.records.is_empty() {
            match self.writing.writer.append(&batch.records) {
                Ok(()) => {
                    self.available();
                    self.writing.metrics.appends.inc();
                    self.writing.seen.commit();
                    self.writing.hub.publish(std::mem::take(&mut batch.records));
                }
                Err(error) => {
                    self.writing.metrics.append_failures.inc();
                    self.unavailable(&error);
                    if giving_up.is_cancelled() {
                        return self.give_up(batch, &error);
                    }
                    self.pause(giving_up);
                }
            }
        }
        batch.tally.count(&self.writing.metrics);
        if let Some(heard) = batch.heard {
            self.writing.hub.upstream().heard(heard);
        }
    }

    fn give_up(&mut self, batch: &mut Batch, error: &AppendError) {
        let lost = batch.records.iter().filter(|record| record.body.post().is_some()).count() as u64;
        tracing::error!(account = %self.writing.hub.account(), lost, %error, "stopping with posts that the journal did not take");
        self.writing.seen.discard();
        let (posts, deltas) = (std::mem::take(&mut batch.tally.posts), std::mem::take(&mut batch.tally.deltas));
        self.writing.metrics.refused_by_disk.inc_by(posts + deltas);
        batch.tally.count(&self.writing.metrics);
    }

    /// A stop does not wait for the next attempt to be due.
    fn pause(&self, giving_up: &Shutdown) {
        // Which of the two it was is looked at by those that try again.
        let _ = self.runtime.block_on(self.clock.timeout(self.config.append_retry, giving_up.cancelled()));
    }

    fn unavailable(&mut self, error: &dyn std::fmt::Display) {
        if !std::mem::replace(&mut self.stalled, true) {
            let hub = &self.writing.hub;
            tracing::error!(account = %hub.account(), %error, "the journal cannot be written; upstream is closed meanwhile");
            hub.upstream().update(|status| status.journal_unavailable = true);
        }
    }

    fn available(&mut self) {
        if std::mem::take(&mut self.stalled) {
            let hub = &self.writing.hub;
            tracing::info!(account = %hub.account(), "the journal can be written again");
            hub.upstream().update(|status| status.journal_unavailable = false);
        }
    }
}

impl Tally {
    fn count(&self, metrics: &Metrics) {
        metrics.posts_appended.inc_by(self.posts);
        metrics.deltas.inc_by(self.deltas);
        metrics.duplicates.inc_by(self.duplicates);
        metrics.control.inc_by(self.control);
        metrics.unknown.inc_by(self.unknown);
        metrics.malformed.inc_by(self.malformed);
        metrics.oversized.inc_by(self.oversized);
        metrics.rules_missing.inc_by(self.rules_missing);
    }
}

fn note_skip(pending: &mut Vec<Pending>, reason: SkipReason, received: UnixMillis, now: Moment) {
    match pending.iter_mut().find(|skip| skip.reason == reason) {
        Some(skip) => {
            skip.count += 1;
            skip.to = skip.to.max(received);
        }
        None => pending.push(Pending { reason, count: 1, from: received, to: received, since: now }),
    }
}

#[cfg(test)]
mod tests;
