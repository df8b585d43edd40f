use std::collections::VecDeque;
use std::sync::Arc;

use hyper::body::Frame;
use tokio::sync::watch;

use super::Chunk;
use super::core::{Line, Turn};
use super::post_log::Entry;
use super::slots::Seat;
use crate::clock::Moment;
use crate::model::UnixMillis;
use crate::simulator::config::Backfill;
use crate::simulator::state::World;

/// Messages taken from the log at a time.
const BATCH: usize = 64;

/// The body of a live stream: a cursor over the log, and in front of it the backfill.
pub(in crate::simulator) struct Live {
    line: Line,
    tip: watch::Receiver<u64>,
    cursor: u64,
    /// What is still to come of the backfill, in the order it comes.
    backfill: VecDeque<Arc<Entry>>,
    /// Read from the log.
    batch: VecDeque<Arc<Entry>>,
    /// The last one was of the backfill.
    alternate: bool,
    /// The connection is late, and the next post is not to be sent before this.
    held_until: Option<Moment>,
}

impl Live {
    /// `since`: from when on history is wanted.
    pub(in crate::simulator) fn new(world: Arc<World>, seat: Seat, gzip: bool, since: Option<UnixMillis>) -> Self {
        let (cursor, offset, mut backfill) = world.log.join(since);
        seat.link.took(offset);
        if world.config().backfill == Backfill::NewestFirst {
            backfill.make_contiguous().reverse();
        }
        let tip = world.log.tip();
        let line = Line::new(world, seat, gzip);
        let mut live = Self { line, tip, cursor, backfill, batch: VecDeque::new(), alternate: false, held_until: None };
        live.greet();
        live
    }

    /// The chunks of the body.
    pub(in crate::simulator) fn into_stream(self) -> impl futures::Stream<Item = Chunk> + Send + 'static {
        futures::stream::unfold(self, |mut live| async move {
            let chunk = live.next().await?;
            Some((chunk, live))
        })
    }

    fn greet(&mut self) {
        let (world, datacenter) = (&self.line.world, self.line.seat.link.datacenter);
        if let Some(name) = datacenter.and_then(|at| world.config().datacenters.get(at).cloned()) {
            let timestamp = world.now().0;
            let message = format!(r#"{{"type":"connection_metadata","datacenter":"{name}","timestamp":{timestamp}}}"#);
            self.line.encoder.message(&[message.as_bytes(), b"\r\n"]);
            world.writes.sign(self.line.seat.link.number, timestamp);
        }
    }

    async fn next(&mut self) -> Option<Chunk> {
        loop {
            match self.line.turn().await {
                Turn::Chunk(chunk) => return Some(Ok(Frame::data(chunk))),
                Turn::End => return None,
                Turn::Cut => {
                    let next = self.backfill.front().or(self.batch.front()).and_then(|entry| entry.post());
                    let json = next.map(|post| post.json.clone());
                    self.line.die_in(json.as_deref());
                }
                Turn::Serve => self.serve().await,
            }
        }
    }

    async fn serve(&mut self) {
        self.line.beat();
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
        self.line.rest(until, more).await;
    }

    /// Encodes the next message; false if there is none.
    fn advance(&mut self) -> bool {
        if self.batch.is_empty() {
            self.tip.borrow_and_update();
            let (entries, next) = self.line.world.log.read(self.cursor, BATCH);
            self.batch.extend(entries);
            self.cursor = next;
        }
        let interleaved = self.line.world.config().backfill_interleaved;
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
    fn held_until(&self, entry: &Entry) -> Option<Moment> {
        let (world, lag) = (&self.line.world, self.line.seat.link.lag());
        let wait = entry.time().plus(lag).since(world.now());
        (!lag.is_zero() && !wait.is_zero()).then(|| world.clock.moment().plus(wait))
    }

    fn send_backfill(&mut self, entry: &Entry) {
        let line = &mut self.line;
        line.seat.link.took(line.world.log.end().1);
        let Some(post) = entry.post().filter(|post| line.seat.link.wants(post.datacenter)) else { return };
        let json = line.world.replayed(post);
        if line.is_cut_in(&json, entry) {
            return;
        }
        line.post(entry, &json, true);
        let again = is_doubled(post.ordinal, line.world.config().backfill_doubled_percent);
        if again {
            line.post(entry, &json, true);
        }
        line.world.count(|counters| {
            counters.backfill_posts += 1 + u64::from(again);
            counters.backfill_repeats += u64::from(again);
        });
    }

    fn send_live(&mut self, entry: &Entry) {
        let line = &mut self.line;
        line.seat.link.took(entry.end_offset);
        if entry.past {
            return;
        }
        let Some(post) = entry.post() else { return line.encoder.entry(entry) };
        if !line.seat.link.wants(post.datacenter) || line.is_cut_in(&post.json, entry) {
            return;
        }
        line.post(entry, &post.json, false);
        let (interleaved, is_late) = (!self.backfill.is_empty(), !line.seat.link.lag().is_zero());
        line.world.count(|counters| {
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
    fn of_a_hundred_posts_as_many_are_doubled_as_the_setting_says() {
        for percent in [0, 1, 30, 50, 100] {
            let doubled = (1..=1_000).filter(|ordinal| is_doubled(*ordinal, percent)).count();
            assert_eq!(doubled, usize::from(percent) * 10);
        }
    }
}
