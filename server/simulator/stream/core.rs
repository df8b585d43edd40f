use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use rand::rngs::StdRng;
use rand::{RngExt, SeedableRng};
use tokio::sync::watch;

use super::encode::Encoder;
use super::handle::{StreamEnd, StreamKind};
use super::post_log::LogEntry;
use super::slots::StreamSlotGuard;
use crate::clock::Moment;
use crate::simulator::faults::{CutKind, Flow};
use crate::simulator::state::SimulatorState;

/// What a stream that has nothing to cut is cut in.
const NOTHING: &[u8] = br#"{"created_at":"Wed Oct 10"}"#;
/// Where a message without an end begins.
const ENDLESS: &[u8] = b"{\"text\":\"";

/// Common part of open streams: slot, encoder, heartbeat, and faults.
pub(super) struct StreamCore {
    pub(super) state: Arc<SimulatorState>,
    pub(super) slot: StreamSlotGuard,
    pub(super) encoder: Encoder,
    pub(super) heartbeat: Moment,
    jitter: StdRng,
    flow: watch::Receiver<Flow>,
    /// What it carries instead of posts, since when it does, and when the next of it is due.
    foul: Option<(Flow, Moment)>,
    /// Places in the write log of posts that are not handed over yet.
    unflushed: Vec<u64>,
    /// The stream ends inside a message, and nothing may follow.
    dying: bool,
}

/// What comes next.
pub(super) enum NextAction {
    Chunk(Bytes),
    End,
    /// It is to be cut in the message that is next.
    Cut,
    /// Nothing is in the way of what the stream is for.
    Serve,
}

impl StreamCore {
    pub(super) fn new(state: Arc<SimulatorState>, slot: StreamSlotGuard, gzip: bool) -> Self {
        let config = state.config();
        let seed = config.seed ^ slot.link.number.rotate_left(32);
        let flow = state.faults.flow(slot.link.kind == StreamKind::Recovery);
        let mut line = Self {
            encoder: Encoder::new(gzip, config.chunking, seed),
            heartbeat: state.clock.moment(),
            jitter: StdRng::seed_from_u64(seed),
            flow,
            foul: None,
            unflushed: Vec::new(),
            dying: false,
            state,
            slot,
        };
        line.schedule_heartbeat();
        line
    }

    /// Waits while the stream is kept from what it is for.
    pub(super) async fn next_action(&mut self) -> NextAction {
        loop {
            if let Some(chunk) = self.encoder.pop() {
                return NextAction::Chunk(chunk);
            }
            if !self.unflushed.is_empty() && self.encoder.is_drained() {
                self.state.writes.flushed(self.unflushed.drain(..));
            }
            if self.dying {
                self.slot.link.die_after_flush();
                std::future::pending::<()>().await;
            }
            if self.slot.ended {
                return NextAction::End;
            }
            match self.slot.link.ending() {
                Some(StreamEnd::Clean(message)) => self.finish(message.as_deref()),
                // The socket is being dropped already.
                Some(StreamEnd::Reset) => std::future::pending().await,
                Some(StreamEnd::MidMessage) => return NextAction::Cut,
                None => match self.flow() {
                    Flow::Open => {
                        self.clean();
                        return NextAction::Serve;
                    }
                    flow => self.apply_flow(flow).await,
                },
            }
        }
    }

    fn flow(&mut self) -> Flow {
        match self.slot.link.flow() {
            Flow::Open => *self.flow.borrow_and_update(),
            own => own,
        }
    }

    /// Carries something else than what it is for, until something changes or the next of it is due.
    async fn apply_flow(&mut self, flow: Flow) {
        let now = self.state.clock.moment();
        if self.foul.is_none_or(|(before, _)| before != flow) {
            self.begin(flow, now);
        }
        let due = self.foul.map_or(now, |(_, due)| due);
        let every = match flow {
            Flow::Trickle { every } | Flow::Garbage { every } => every,
            Flow::Open | Flow::Stalled => Duration::MAX,
        };
        if due <= now && every < Duration::MAX {
            self.foul = Some((flow, now.plus(every)));
            self.inject_once(flow);
            return;
        }
        tokio::select! {
            _ = self.flow.changed() => {}
            () = self.slot.link.woken() => {}
            () = self.state.clock.sleep_until(due), if every < Duration::MAX => {}
        }
    }

    fn begin(&mut self, flow: Flow, now: Moment) {
        self.clean();
        self.foul = Some((flow, now));
        match flow {
            Flow::Stalled if self.state.faults.is_stalled() => self.state.count(|counters| counters.stalls += 1),
            Flow::Trickle { .. } => self.encoder.piece(ENDLESS),
            _ => {}
        }
    }

    fn inject_once(&mut self, flow: Flow) {
        match flow {
            Flow::Trickle { .. } => {
                self.encoder.piece(b"x");
                self.state.count(|counters| counters.trickled_bytes += 1);
            }
            Flow::Garbage { .. } => {
                let noise: u64 = self.jitter.random();
                self.encoder.message(&[format!("<{noise:x}> }}{{ \u{fffd}\u{1}").as_bytes(), b"\r\n"]);
                self.encoder.flush();
                self.state.count(|counters| counters.garbage_lines += 1);
            }
            Flow::Open | Flow::Stalled => {}
        }
    }

    /// What was foul is over: a message without an end gets one.
    fn clean(&mut self) {
        if let Some((Flow::Trickle { .. }, _)) = self.foul.take() {
            self.encoder.piece(b"\"}\r\n");
        }
    }

    /// Waits until this moment, until there is more to send, or until something is done to the stream.
    pub(super) async fn idle(&mut self, until: Moment, more: impl Future<Output = ()>) {
        tokio::select! {
            _ = self.flow.changed() => {}
            () = self.slot.link.woken() => {}
            () = self.state.clock.sleep_until(until) => {}
            () = more => {}
        }
    }

    /// Sends the heartbeat, if it is due.
    pub(super) fn send_heartbeat(&mut self) {
        if self.state.clock.moment() < self.heartbeat {
            return;
        }
        if self.slot.link.kind == StreamKind::Live && self.state.faults.skips_heartbeat() {
            self.state.count(|counters| counters.heartbeats_skipped += 1);
        } else {
            self.encoder.message(&[b"\r\n"]);
            self.state.writes.sign(self.slot.link.number, self.state.now().0);
            self.state.count(|counters| counters.heartbeats += 1);
        }
        let late = self.schedule_heartbeat();
        self.state.count(|counters| counters.heartbeats_late += u64::from(!late.is_zero()));
    }

    fn schedule_heartbeat(&mut self) -> Duration {
        let config = self.state.config();
        let late = config.heartbeat_jitter.mul_f64(self.jitter.random_range(0.0..=1.0));
        self.heartbeat = self.state.clock.moment().plus(config.heartbeat + late);
        late
    }

    /// Cuts the stream in this post if a cut waited for one; true if so.
    pub(super) fn is_cut_in(&mut self, json: &Bytes, entry: &LogEntry) -> bool {
        let Some(kind) = self.slot.link.take_armed() else { return false };
        self.cut_in(json, entry, kind);
        true
    }

    /// Cuts the stream in this post.
    pub(super) fn cut_in(&mut self, json: &Bytes, entry: &LogEntry, kind: CutKind) {
        if !matches!(kind, CutKind::CleanEnd | CutKind::Reset) {
            self.note(entry, json, false, false);
        }
        match kind {
            CutKind::CleanEnd => self.finish(None),
            CutKind::Reset => {
                self.slot.link.end(StreamEnd::Reset);
            }
            CutKind::MidPost => self.encoder.post_up_to(json, entry.framing, json.len() / 2),
            CutKind::AfterBrace => self.encoder.post_up_to(json, entry.framing, json.len()),
            CutKind::MidGzip | CutKind::MidMessage => self.encoder.half(json),
        }
        if !matches!(kind, CutKind::CleanEnd | CutKind::Reset) {
            self.dying = true;
            self.slot.link.end(StreamEnd::MidMessage);
        }
        self.state.count(|counters| kind.count(counters, 1));
    }

    /// Sends a post.
    pub(super) fn post(&mut self, entry: &LogEntry, json: &Bytes, is_backfill: bool) {
        self.encoder.post(json, entry.framing);
        self.note(entry, json, is_backfill, true);
    }

    fn note(&mut self, entry: &LogEntry, json: &Bytes, is_backfill: bool, is_whole: bool) {
        let Some(post) = entry.post() else { return };
        let (number, now) = (self.slot.link.number, self.state.now().0);
        let place = self.state.writes.post(number, now, (post, json), (is_backfill, is_whole));
        self.unflushed.extend((place > 0).then_some(place));
    }

    /// Half of what is next, or of a message that never was, is the last that comes.
    pub(super) fn abort_in(&mut self, next: Option<&[u8]>) {
        self.encoder.half(next.unwrap_or(NOTHING));
        self.dying = true;
    }

    /// A clean end, after this message.
    pub(super) fn finish(&mut self, message: Option<&[u8]>) {
        if let Some(message) = message {
            self.encoder.message(&[message, b"\r\n"]);
            self.state.writes.sign(self.slot.link.number, self.state.now().0);
        }
        self.encoder.finish();
        self.slot.ended = true;
        self.slot.link.finished();
    }
}

impl Drop for StreamCore {
    fn drop(&mut self) {
        self.state.writes.closed(self.slot.link.number, self.state.now().0);
    }
}
