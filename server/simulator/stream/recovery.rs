use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Duration;

use hyper::body::Frame;
use serde_json::json;

use super::Chunk;
use super::encode::Encoder;
use super::log::Entry;
use super::seats::{Ending, Seat};
use crate::clock::Moment;
use crate::model::{UnixMillis, Window};
use crate::simulator::config::Completion;
use crate::simulator::world::World;

/// Messages taken from the log at a time.
const BATCH: usize = 256;
/// Jobs work minute by minute (PowerTrack guide).
const MINUTE_MS: i64 = 60_000;

/// The body of a recovery job: the window once more, minute by minute, then the end.
pub(in crate::simulator) struct Recovery {
    world: Arc<World>,
    seat: Seat,
    encoder: Encoder,
    from: UnixMillis,
    to: UnixMillis,
    /// First number after the window.
    end: u64,
    cursor: u64,
    batch: VecDeque<Arc<Entry>>,
    /// The minute that is left out, where the job has errors.
    failed: Option<i64>,
    sent: u64,
    started: Moment,
    heartbeat: Moment,
    /// Half a message is out, and nothing may follow.
    dying: bool,
}

impl Recovery {
    pub(in crate::simulator) fn new(world: Arc<World>, seat: Seat, gzip: bool, window: Window) -> Self {
        let to = window.to.unwrap_or(window.from);
        let started = world.clock.moment();
        Self {
            encoder: Encoder::new(gzip, world.config.chunking, world.config.seed ^ window.from.0 as u64),
            from: window.from,
            to,
            // Where posts come out of order, those of the window are published a little later.
            end: world.log.at(to.plus(world.config.disorder).plus(Duration::from_millis(1))),
            cursor: world.log.at(window.from),
            batch: VecDeque::new(),
            failed: None,
            sent: 0,
            started,
            heartbeat: started.plus(world.config.heartbeat),
            dying: false,
            world,
            seat,
        }
    }

    /// The chunks of the body.
    pub(in crate::simulator) fn into_stream(self) -> impl futures::Stream<Item = Chunk> + Send + 'static {
        futures::stream::unfold(self, |mut job| async move {
            let chunk = job.next().await?;
            Some((chunk, job))
        })
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
            match self.seat.link.ending() {
                Some(Ending::Clean(_)) => self.finish(None),
                Some(Ending::Reset) => std::future::pending().await,
                Some(Ending::MidMessage) => {
                    self.encoder.half(br#"{"created_at":"Wed Oct 10"}"#);
                    self.dying = true;
                }
                None if self.is_early() => self.pace().await,
                None => self.advance(),
            }
        }
    }

    /// True if as much is sent as the rate allows by now.
    fn is_early(&self) -> bool {
        self.due() > self.world.clock.moment()
    }

    fn due(&self) -> Moment {
        let seconds = self.sent as f64 / self.world.config.recovery_rate.max(0.001);
        self.started.plus(Duration::try_from_secs_f64(seconds).unwrap_or(Duration::MAX))
    }

    async fn pace(&mut self) {
        self.encoder.flush();
        let until = self.due().min(self.heartbeat);
        tokio::select! {
            () = self.seat.link.woken() => {}
            () = self.world.clock.sleep_until(until) => {}
        }
        let now = self.world.clock.moment();
        if now >= self.heartbeat {
            self.encoder.message(&[b"\r\n"]);
            self.heartbeat = now.plus(self.world.config.heartbeat);
            self.world.count(|counters| counters.heartbeats += 1);
        }
    }

    fn advance(&mut self) {
        if self.batch.is_empty() && self.cursor < self.end {
            let (entries, next) = self.world.log.read(self.cursor, BATCH);
            let past = next.saturating_sub(self.end) as usize;
            self.batch.extend(entries.iter().take(entries.len().saturating_sub(past)).cloned());
            self.cursor = if entries.is_empty() { self.end } else { next };
        }
        let Some(entry) = self.batch.pop_front() else {
            if self.cursor >= self.end {
                self.complete(None);
            }
            return;
        };
        if self.world.config.recovery_end == Completion::Failed && self.minute(&entry) == Some(self.last_minute()) {
            self.complete(self.minute(&entry));
            return;
        }
        self.send(&entry);
    }

    fn send(&mut self, entry: &Entry) {
        let Some(post) = entry.post() else { return };
        let elsewhere = self.seat.link.datacenter.is_some_and(|datacenter| datacenter != post.datacenter);
        if elsewhere || !(self.from..self.to).contains(&self.world.time_of(post)) {
            return;
        }
        if self.world.config.recovery_end == Completion::CompletedWithErrors {
            let minute = self.world.time_of(post).0 / MINUTE_MS;
            if *self.failed.get_or_insert(minute) == minute {
                return;
            }
        }
        self.encoder.post(&self.world.replayed(post), entry.framing);
        self.sent += 1;
        self.world.count(|counters| counters.recovery_posts += 1);
    }

    fn minute(&self, entry: &Entry) -> Option<i64> {
        entry.post().map(|post| self.world.time_of(post).0 / MINUTE_MS)
    }

    fn last_minute(&self) -> i64 {
        (self.to.0 - 1) / MINUTE_MS
    }

    /// All is sent; `unprocessed`: but for this minute and what follows.
    fn complete(&mut self, unprocessed: Option<i64>) {
        let time = |minute: i64| offset_time(UnixMillis(minute * MINUTE_MS));
        let sent = offset_time(self.world.clock.now());
        let info = match (self.world.config.recovery_end, unprocessed, self.failed) {
            (Completion::Silent, ..) => None,
            (Completion::Failed, minute, _) => Some(json!({
                "message": "Recovery Request Failed to Complete",
                "sent": sent,
                "unprocessed_range": {
                    "fromDate": time(minute.unwrap_or(self.last_minute())),
                    "toDate": offset_time(self.to),
                },
                "activity_count": self.sent,
            })),
            (Completion::CompletedWithErrors, _, Some(minute)) => Some(json!({
                "message": "Recovery Request Completed with Errors",
                "sent": sent,
                "activity_count": self.sent,
                "minutes_failed": [time(minute)],
            })),
            _ => Some(json!({"message": "Recovery Request Completed", "sent": sent, "activity_count": self.sent})),
        };
        self.finish(info.map(|info| json!({"info": info}).to_string()));
        self.world.count(|counters| counters.recovery_jobs_ended += 1);
    }

    fn finish(&mut self, message: Option<String>) {
        if let Some(message) = message {
            self.encoder.message(&[message.as_bytes(), b"\r\n"]);
        }
        self.encoder.finish();
        self.seat.ended = true;
        self.seat.link.finished();
    }
}

/// As X writes times in its messages: `2016-05-27T22:15:50+00:00`.
fn offset_time(time: UnixMillis) -> String {
    let time = jiff::Timestamp::from_millisecond(time.0).unwrap_or(jiff::Timestamp::UNIX_EPOCH);
    time.strftime("%Y-%m-%dT%H:%M:%S+00:00").to_string()
}
