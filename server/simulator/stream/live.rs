use std::collections::VecDeque;
use std::sync::Arc;

use hyper::body::Frame;
use tokio::sync::watch;

use super::Chunk;
use super::encode::Encoder;
use super::log::Entry;
use super::seats::{Ending, Seat};
use crate::clock::Moment;
use crate::model::UnixMillis;
use crate::simulator::config::Backfill;
use crate::simulator::world::World;

/// Messages taken from the log at a time.
const BATCH: usize = 64;

/// The body of a live stream: a cursor over the log.
pub(in crate::simulator) struct Live {
    world: Arc<World>,
    seat: Seat,
    encoder: Encoder,
    tip: watch::Receiver<u64>,
    stalled: watch::Receiver<bool>,
    cursor: u64,
    /// Where live begins: what stands before is backfill.
    join: u64,
    /// Backfill that is sent out of order, oldest last.
    reversed: Vec<Arc<Entry>>,
    /// Read from the log, with their numbers.
    batch: VecDeque<(u64, Arc<Entry>)>,
    repeat: bool,
    heartbeat: Moment,
    /// Half a message is out, and nothing may follow.
    dying: bool,
}

impl Live {
    /// `since`: from when on history is wanted.
    pub(in crate::simulator) fn new(world: Arc<World>, seat: Seat, gzip: bool, since: Option<UnixMillis>) -> Self {
        let (join, offset) = world.log.end();
        seat.link.took(offset);
        let mode = world.config.backfill;
        let cursor = since.map_or(join, |since| world.log.at(since).min(join));
        let mut live = Self {
            encoder: Encoder::new(gzip, world.config.chunking, world.config.seed ^ join),
            tip: world.log.tip(),
            stalled: world.faults.stalled(),
            heartbeat: world.clock.moment().plus(world.config.heartbeat),
            repeat: mode == Backfill::Doubled,
            reversed: Vec::new(),
            batch: VecDeque::new(),
            dying: false,
            world,
            seat,
            cursor,
            join,
        };
        if mode == Backfill::NewestFirst && cursor < join {
            live.reversed = live.world.log.read(cursor, (join - cursor) as usize).0;
            live.cursor = join;
        }
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
        if let Some(name) = self.seat.link.datacenter.map(|at| &self.world.config.datacenters[at]) {
            let timestamp = self.world.clock.now().0;
            let message = format!(r#"{{"type":"connection_metadata","datacenter":"{name}","timestamp":{timestamp}}}"#);
            self.encoder.message(&[message.as_bytes(), b"\r\n"]);
        }
    }

    async fn next(&mut self) -> Option<Chunk> {
        loop {
            if let Some(chunk) = self.encoder.pop() {
                return Some(Ok(Frame::data(chunk)));
            }
            if self.dying {
                self.seat.link.die_after_flush();
                std::future::pending::<()>().await;
            }
            if self.seat.ended {
                return None;
            }
            if let Some(ending) = self.seat.link.ending() {
                self.end(ending).await;
                continue;
            }
            if *self.stalled.borrow_and_update() {
                self.world.wait(&self.seat.link, &mut self.stalled).await;
                continue;
            }
            self.beat();
            if self.advance() {
                continue;
            }
            self.encoder.flush();
            if self.encoder.is_empty() {
                self.rest().await;
            }
        }
    }

    /// Waits until there is something to do.
    async fn rest(&mut self) {
        tokio::select! {
            _ = self.tip.changed() => {}
            _ = self.stalled.changed() => {}
            () = self.seat.link.woken() => {}
            () = self.world.clock.sleep_until(self.heartbeat) => {}
        }
    }

    fn beat(&mut self) {
        let now = self.world.clock.moment();
        if now >= self.heartbeat {
            self.encoder.message(&[b"\r\n"]);
            self.heartbeat = now.plus(self.world.config.heartbeat);
            self.world.count(|counters| counters.heartbeats += 1);
        }
    }

    /// Encodes the next message of the log; false if there is none.
    fn advance(&mut self) -> bool {
        if let Some(entry) = self.reversed.pop() {
            self.send(&entry, true);
            return true;
        }
        if self.batch.is_empty() {
            self.tip.borrow_and_update();
            let (entries, next) = self.world.log.read(self.cursor, BATCH);
            self.batch.extend((next - entries.len() as u64..).zip(entries));
            self.cursor = next;
        }
        let Some((number, entry)) = self.batch.pop_front() else { return false };
        self.send(&entry, number < self.join);
        true
    }

    fn send(&mut self, entry: &Entry, backfill: bool) {
        let offset = if backfill { self.world.log.end().1 } else { entry.end_offset };
        self.seat.link.took(offset);
        let Some(post) = entry.post() else {
            if !backfill {
                self.encoder.entry(entry);
            }
            return;
        };
        if self.seat.link.datacenter.is_some_and(|datacenter| datacenter != post.datacenter) {
            return;
        }
        if !backfill {
            self.encoder.entry(entry);
            self.world.count(|counters| counters.live_posts += 1);
            return;
        }
        let times = if self.repeat && post.ordinal % 2 == 0 { 2 } else { 1 };
        for _ in 0..times {
            self.encoder.post(&self.world.replayed(post), entry.framing);
        }
        self.world.count(|counters| counters.backfill_posts += times);
    }

    async fn end(&mut self, ending: Ending) {
        match ending {
            Ending::Clean(message) => {
                if let Some(message) = message {
                    self.encoder.message(&[&message, b"\r\n"]);
                }
                self.encoder.finish();
                self.seat.ended = true;
            }
            // The socket is being dropped already.
            Ending::Reset => std::future::pending().await,
            Ending::MidMessage => {
                let json = self.batch.front().and_then(|(_, entry)| entry.post()).map(|post| post.json.clone());
                self.encoder.half(json.as_deref().unwrap_or(br#"{"created_at":"Wed Oct 10"}"#));
                self.dying = true;
            }
        }
    }
}
