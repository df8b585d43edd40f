//! A subscriber of a history: it opens sessions on the hub, reads frames as they come, and writes down what it got.

use std::sync::Arc;

use ::oracle::{self as seen, Content, Event, Frame, Outcome, Session, Subscription};
use parking_lot::Mutex;
use prost::Message;
use tokio::task::{JoinHandle, spawn_local};

use super::record::Seen;
use super::truth::Want;
use super::x::X;
use crate::hub::filter::{Filter, FilterSpec};
use crate::hub::session::{self as hub, DeliveryOptions, Phase, SessionParams};
use crate::hub::start::{self, Start, StartPolicy};
use crate::hub::{Hub, SessionInfo};
use crate::model::{Gap, GapState, SkipReason, UnixMillis};
use crate::proto::{self, EventBatch};

/// A subscriber.
pub(super) struct Reader {
    seen: Arc<Mutex<Seen>>,
    x: Arc<X>,
    /// The session that is open.
    reading: Option<JoinHandle<()>>,
    /// It went away by itself, and does not reconnect yet.
    pub is_gone: bool,
    events_max: usize,
}

impl Reader {
    pub(super) fn new(number: usize, want: Want, x: Arc<X>) -> Self {
        let got = Subscription { number, filter: filter(&want), sessions: Vec::new() };
        let seen = Seen { want, got };
        Self { seen: Arc::new(Mutex::new(seen)), x, reading: None, is_gone: false, events_max: 1 + number * 3 }
    }

    pub(super) fn is_away(&self) -> bool {
        self.reading.as_ref().is_none_or(JoinHandle::is_finished)
    }

    /// True if its session ended, and it would continue.
    pub(super) fn is_cut_off(&self) -> bool {
        self.is_away() && !self.is_gone && !self.seen.lock().sessions.is_empty() && !self.is_refused()
    }

    /// True if its last session was refused: nothing is announced to it any more.
    pub(super) fn is_refused(&self) -> bool {
        self.seen.lock().sessions.last().is_some_and(|last| last.outcome == Outcome::Refused)
    }

    /// Everything that it got. It has gone away.
    pub(super) fn into_seen(self) -> Seen {
        Arc::try_unwrap(self.seen).map_or_else(|shared| shared.lock().clone(), Mutex::into_inner)
    }

    /// Looks at what it got so far.
    pub(super) fn look<T>(&self, look: impl FnOnce(&Seen) -> T) -> T {
        look(&self.seen.lock())
    }

    /// Goes away. Returns what it panicked with.
    pub(super) async fn leave(&mut self) -> Result<(), String> {
        let Some(reading) = self.reading.take() else { return Ok(()) };
        reading.abort();
        match reading.await {
            Err(error) if error.is_panic() => Err(super::stage::text(error.into_panic().as_ref())),
            _ => Ok(()),
        }
    }

    /// Opens its first session.
    pub(super) fn begin(&mut self, hub: &Arc<Hub>, from: seen::From) {
        self.open(hub, from.clone(), &begins(&from));
    }

    /// Reconnects with the token of so many frames ago: what came later is not known to it.
    pub(super) fn resume(&mut self, hub: &Arc<Hub>, back: usize) {
        let mut seen = self.seen.lock();
        // A session that ended before its first frame left nothing to its client, which has the token of the one before.
        while seen.sessions.len() > 1 && seen.sessions.last().is_some_and(is_unheard) {
            seen.sessions.pop();
        }
        let Some(last) = seen.sessions.last_mut() else { return };
        if is_unheard(last) {
            let from = last.from.clone();
            seen.sessions.clear();
            drop(seen);
            return self.open(hub, from.clone(), &begins(&from));
        }
        let tokens: Vec<usize> =
            last.frames.iter().enumerate().filter(|(_, frame)| frame.token.is_some()).map(|(at, _)| at).collect();
        let kept = tokens.len().checked_sub(1 + back).map(|at| tokens[at]);
        last.frames.truncate(kept.map_or(0, |at| at + 1));
        let token = kept.and_then(|at| last.frames[at].token.clone()).unwrap_or_else(|| last.token.clone());
        drop(seen);
        self.open(hub, seen::From::Token, &Start::Token(token));
    }

    fn open(&mut self, hub: &Arc<Hub>, from: seen::From, start: &Start) {
        let want = self.seen.lock().want.clone();
        let filter = Filter::new(&request(&want)).expect("it is a filter");
        let at = self.x.now();
        let session = |outcome, log| Session {
            at,
            from: from.clone(),
            outcome,
            log,
            position: None,
            missing: None,
            open_gaps: Vec::new(),
            token: String::new(),
            frames: Vec::new(),
            end: None,
        };
        // It reconnects.
        if start::awaits_answer(hub, start) {
            return;
        }
        let resolved = match start::resolve(hub, start, StartPolicy::Fail, false) {
            Ok(resolved) => resolved,
            Err(_) => {
                self.seen.lock().sessions.push(session(Outcome::Refused, String::new()));
                return;
            }
        };
        let epoch = hub.reader().epoch().0;
        self.seen.lock().sessions.push(session(outcome(resolved.outcome), log_name(epoch)));
        let info = SessionInfo {
            id: String::new(),
            consumer: String::new(),
            peer: String::new(),
            since: UnixMillis(0),
            ..SessionInfo::default()
        };
        let pace = DeliveryOptions {
            batch_events_max: self.events_max,
            batch_bytes_max: 64 << 10,
            batch_delay_max: std::time::Duration::ZERO,
            heartbeat: std::time::Duration::from_secs(20),
            deadline: None,
        };
        let opening = SessionParams {
            guard: hub.register(info).expect("there is room"),
            member: hub.enter(filter).expect("there is room"),
            pace,
            resolved,
            session_id: String::new(),
            consumer: String::new(),
            warnings: Vec::new(),
            access: None,
        };
        let subscription = hub::Session::open(hub.clone(), opening);
        self.reading = Some(spawn_local(read(subscription, self.seen.clone(), self.x.clone(), epoch)));
    }
}

async fn read(mut subscription: hub::Session, seen: Arc<Mutex<Seen>>, x: Arc<X>, log: u128) {
    loop {
        let next = subscription.next().await;
        let mut seen = seen.lock();
        let session = seen.sessions.last_mut().expect("it has begun");
        match next {
            Ok(hub::Frame { token, content: hub::FrameContent::Start(start) }) => {
                session.token = token.expect("the first frame has a token");
                session.position = Some(start.place.position.sequence);
                session.missing = start.missing.map(|window| (window.from.0, window.to.map(|to| to.0)));
                session.open_gaps = start.open_gaps.iter().map(|own| gap(own, start.epoch.0)).collect();
            }
            Ok(frame) => {
                session.frames.push(Frame { at: x.now(), token: frame.token, content: content(frame.content, log) })
            }
            Err(end) => {
                let content = Content::End;
                session.frames.push(Frame { at: x.now(), token: Some(end.token), content });
                return;
            }
        }
    }
}

/// How a subscription begins.
fn begins(from: &seen::From) -> Start {
    match from {
        seen::From::Latest => Start::Latest,
        seen::From::Earliest => Start::Earliest,
        seen::From::Time(time) => Start::Time(UnixMillis(*time)),
        seen::From::Token => Start::Token(String::new()),
    }
}

/// True if a session ended before its first frame was read.
fn is_unheard(session: &Session) -> bool {
    session.token.is_empty() && session.outcome != Outcome::Refused
}

/// A filter in the words of the oracle.
fn filter(want: &Want) -> seen::Filter {
    let FilterSpec { any_of, all_of, none_of, rule_ids } = request(want);
    seen::Filter { any: any_of, all: all_of, none: none_of, rules: rule_ids }
}

fn log_name(log: u128) -> String {
    format!("{log:032x}")
}

fn request(want: &Want) -> FilterSpec {
    let texts = |tags: &[&str]| tags.iter().map(|tag| (*tag).to_owned()).collect();
    FilterSpec {
        any_of: texts(&want.any),
        all_of: texts(&want.all),
        none_of: texts(&want.none),
        rule_ids: want.ids.clone(),
    }
}

fn content(content: hub::FrameContent, log: u128) -> Content {
    match content {
        hub::FrameContent::Batch(batch) => {
            let bytes: Vec<u8> = batch.chunk.slices().iter().flatten().copied().collect();
            let decoded = EventBatch::decode(&*bytes).expect("it is a batch");
            Content::Posts {
                events: decoded.events.into_iter().map(|post| event(post, batch.chunk.term.0, log)).collect(),
                may_repeat: batch.chunk.possible_duplicate,
                is_private: batch.chunk.phase == Phase::Recovery,
            }
        }
        hub::FrameContent::Gap { gap: own, .. } => Content::Gap(gap(&own, log)),
        hub::FrameContent::Skipped { skip, sequence } => Content::Skip(seen::Skip {
            sequence,
            from: skip.window.from.0,
            to: skip.window.to.map(|to| to.0),
            count: skip.count,
            reason: match skip.reason {
                SkipReason::Malformed => seen::Reason::Malformed,
                SkipReason::Oversized => seen::Reason::Oversized,
                SkipReason::ForeignFormat => seen::Reason::Foreign,
                SkipReason::JournalCorrupt => seen::Reason::Damaged,
            },
        }),
        hub::FrameContent::Draining { .. } => Content::Draining,
        hub::FrameContent::Heartbeat(heartbeat) => Content::Heartbeat { low_watermark: heartbeat.low_watermark.0 },
        hub::FrameContent::CaughtUp(_) => Content::CaughtUp,
        _ => Content::Other,
    }
}

fn event(post: proto::Event, term: u64, log: u128) -> Event {
    let origin = match post.origin() {
        proto::Origin::Backfill => seen::Origin::Backfill,
        proto::Origin::Recovery => seen::Origin::Recovery,
        _ => seen::Origin::Live,
    };
    Event {
        sequence: post.sequence,
        term,
        id: post.post_id,
        json: post.json,
        rules: post.rules.into_iter().map(|rule| (rule.id, rule.tag)).collect(),
        tags: post.tags,
        origin,
        gap: (!post.gap_id.is_empty()).then(|| gap_name(&post.gap_id, log)),
        is_delta: Some(post.delta),
    }
}

fn gap_name(id: &str, log: u128) -> String {
    format!("{id} of {:04x}", log >> 112)
}

/// A gap of a log has a number; one of a subscription only has a name that is the same in all logs.
fn gap(gap: &Gap, log: u128) -> seen::Gap {
    let id = if gap.id.is_private() { gap.id.to_string() } else { gap_name(&gap.id.to_string(), log) };
    seen::Gap {
        id,
        log: log_name(log),
        from: gap.window.from.0,
        to: gap.window.to.map(|to| to.0),
        state: match gap.state {
            GapState::Detected => seen::State::Detected,
            GapState::Recovering => seen::State::Recovering,
            GapState::Backfilled => seen::State::Backfilled,
            GapState::Recovered => seen::State::Recovered,
            GapState::Unrecoverable => seen::State::Unrecoverable,
        },
        evidence: format!("{:?}", gap.evidence),
        cause: format!("{:?}", gap.cause),
        is_private: gap.id.is_private(),
    }
}

fn outcome(outcome: start::StartOutcome) -> Outcome {
    match outcome {
        start::StartOutcome::Live => Outcome::Live,
        start::StartOutcome::Exact => Outcome::Exact,
        start::StartOutcome::TimeBounded => Outcome::TimeBounded,
        start::StartOutcome::Clamped => Outcome::Clamped,
    }
}
