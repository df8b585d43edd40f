use std::collections::VecDeque;
use std::sync::Arc;

use hyper::body::Frame;
use tokio::sync::watch;

use super::BodyFrame;
use super::core::{NextAction, StreamCore};
use super::post_log::LogEntry;
use super::slots::StreamSlotGuard;
use crate::clock::Moment;
use crate::model::UnixMillis;
use crate::simulator::config::Backfill;
use crate::simulator::state::SimulatorState;

/// Messages taken from the log at a time.
const BATCH: usize = 64;

/// The body of a live stream: a cursor over the log, and in front of it the backfill.
pub(in crate::simulator) struct LiveStream {
    line: StreamCore,
    tip: watch::Receiver<u64>,
    cursor: u64,
    /// What is still to come of the backfill, in the order it comes.
    backfill: VecDeque<Arc<LogEntry>>,
    /// Read from the log.
    batch: VecDeque<Arc<LogEntry>>,
    /// The last one was of the backfill.
    alternate: bool,
    /// The connection is late, and the next post is not to be sent before this.
    held_until: Option<Moment>,
}

impl LiveStream {
    /// `since`: from when on history is wanted.
    pub(in crate::simulator) fn new(
        state: Arc<SimulatorState>,
        slot: StreamSlotGuard,
        gzip: bool,
        since: Option<UnixMillis>,
    ) -> Self {
        let (cursor, offset, mut backfill) = state.log.join(since);
        slot.link.took(offset);
        if state.config().backfill == Backfill::NewestFirst {
            backfill.make_contiguous().reverse();
        }
        let tip = state.log.tip();
        let line = StreamCore::new(state, slot, gzip);
        let mut live = Self { line, tip, cursor, backfill, batch: VecDeque::new(), alternate: false, held_until: None };
        live.send_metadata();
        live
    }

    /// The chunks of the body.
    pub(in crate::simulator) fn into_stream(self) -> impl futures::Stream<Item = BodyFrame> + Send + 'static {
        futures::stream::unfold(self, |mut live| async move {
            let chunk = live.next().await?;
            Some((chunk, live))
        })
    }

    fn send_metadata(&mut self) {
        let (state, datacenter) = (&self.line.state, self.line.slot.link.datacenter);
        if let Some(name) = datacenter.and_then(|at| state.config().datacenters.get(at).cloned()) {
            let timestamp = state.now().0;
            let message = format!(r#"{{"type":"connection_metadata","datacenter":"{name}","timestamp":{timestamp}}}"#);
            self.line.encoder.message(&[message.as_bytes(), b"\r\n"]);
            state.writes.sign(self.line.slot.link.number, timestamp);
        }
    }

    async fn next(&mut self) -> Option<BodyFrame> {
        loop {
            match self.line.next_action().await {
                NextAction::Chunk(chunk) => return Some(Ok(Frame::data(chunk))),
                NextAction::End => return None,
                NextAction::Cut => {
                    let next = self.backfill.front().or(self.batch.front()).and_then(|entry| entry.post());
                    let json = next.map(|post| post.json.clone());
                    self.line.abort_in(json.as_deref());
                }
                NextAction::Serve => self.serve().await,
            }
        }
    }

    async fn serve(&mut self) {
        self.line.send_heartbeat();
        if self.advance() {
            return;
        }
        self.line.encoder.flush();
        if self.line.encoder.is_empty() {
            self.rest().await;
        }
    }

    /// Waits until there is something to do.
    async fn rest(&mut self) {
        let (tip, beat) = (&mut self.tip, self.line.heartbeat);
        let until = self.held_until.map_or(beat, |held| held.min(beat));
        let more = async {
            // It can only end with the process.
            let _ = tip.changed().await;
        };
        self.line.idle(until, more).await;
    }

    /// Encodes the next message; false if there is none.
    fn advance(&mut self) -> bool {
        if self.batch.is_empty() {
            self.tip.borrow_and_update();
            let (entries, next) = self.line.state.log.read(self.cursor, BATCH);
            self.batch.extend(entries);
            self.cursor = next;
        }
        let interleaved = self.line.state.config().backfill_interleaved;
        let live_is_next = self.backfill.is_empty() || (interleaved && self.alternate && !self.batch.is_empty());
        let next = if live_is_next { self.batch.front() } else { self.backfill.front() };
        self.held_until = next.and_then(|entry| self.held_until(entry));
        if self.held_until.is_some() {
            return false;
        }
        self.alternate = !live_is_next;
        if live_is_next {
            let Some(entry) = self.batch.pop_front() else { return false };
            self.send_live(&entry);
        } else if let Some(entry) = self.backfill.pop_front() {
            self.send_backfill(&entry);
        }
        true
    }

    /// When a connection that is late sends this; `None` if it may be sent now.
    fn held_until(&self, entry: &LogEntry) -> Option<Moment> {
        let (state, lag) = (&self.line.state, self.line.slot.link.lag());
        let wait = entry.time().plus(lag).since(state.now());
        (!lag.is_zero() && !wait.is_zero()).then(|| state.clock.moment().plus(wait))
    }

    fn send_backfill(&mut self, entry: &LogEntry) {
        let line = &mut self.line;
        line.slot.link.took(line.state.log.end().1);
        let Some(post) = entry.post().filter(|post| line.slot.link.wants(post.datacenter)) else { return };
        let json = line.state.replayed(post);
        if line.is_cut_in(&json, entry) {
            return;
        }
        line.post(entry, &json, true);
        let again = is_doubled(post.ordinal, line.state.config().backfill_doubled_percent);
        if again {
            line.post(entry, &json, true);
        }
        line.state.count(|counters| {
            counters.backfill_posts += 1 + u64::from(again);
            counters.backfill_repeats += u64::from(again);
        });
    }

    fn send_live(&mut self, entry: &LogEntry) {
        let line = &mut self.line;
        line.slot.link.took(entry.end_offset);
        if entry.past {
            return;
        }
        let Some(post) = entry.post() else { return line.encoder.entry(entry) };
        if !line.slot.link.wants(post.datacenter) || line.is_cut_in(&post.json, entry) {
            return;
        }
        line.post(entry, &post.json, false);
        let (interleaved, is_late) = (!self.backfill.is_empty(), !line.slot.link.lag().is_zero());
        line.state.count(|counters| {
            counters.live_posts += 1;
            counters.late_posts += u64::from(is_late);
            counters.backfill_interleaved += u64::from(interleaved);
        });
    }
}

/// Exactly so many of a hundred, spread evenly.
fn is_doubled(ordinal: u64, percent: u8) -> bool {
    let upto = |ordinal: u64| ordinal * u64::from(percent.min(100)) / 100;
    upto(ordinal) > upto(ordinal.saturating_sub(1))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn duplicate_share_follows_setting() {
        for percent in [0, 1, 30, 50, 100] {
            let doubled = (1..=1_000).filter(|ordinal| is_doubled(*ordinal, percent)).count();
            assert_eq!(doubled, usize::from(percent) * 10);
        }
    }
}
