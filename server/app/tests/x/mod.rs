//! A hostile upstream behind the transport seam: it holds the truth, and answers requests by a script.
//!
//! Owns: what each response consists of (`live`, `job`), when each piece of it can be read (`wire`), texts (`words`), and
//! the record of what the gateway asked for and read. It does not parse anything, and shares no type with the oracle.
//! Time is that of the runtime, which may be paused.

mod job;
mod live;
mod wire;
pub(super) mod words;

use std::collections::{BTreeSet, VecDeque};
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use futures::future::BoxFuture;
use futures::stream::BoxStream;
use futures::{FutureExt, StreamExt};
use parking_lot::Mutex;
use tokio::sync::Notify;
use tokio::time::Instant;

use super::plan::{Answer, Date, End, Extra, Job, Live};
use super::truth::{Ms, Post, RuleSet, SECOND};
use crate::model::UnixMillis;
use crate::xapi::{
    ErrorKind, Headers, Response, RuleAnswer, RuleFailure, RuleRequest, RuleTransport, StreamRequest, Transport,
    TransportError,
};

/// The datacenters, which the host names of requests begin with.
pub(super) const DATACENTERS: [&str; 2] = ["one", "two"];

/// The upstream.
pub(super) struct X {
    origin: (Instant, Ms),
    state: Mutex<State>,
}

/// What it knows.
pub(super) struct State {
    pub posts: Vec<Post>,
    lives: VecDeque<Live>,
    jobs: VecDeque<Job>,
    /// What the gateway read, in order.
    pub arrivals: Vec<Arrival>,
    pub connections: Vec<Connection>,
    /// Datacenters whose last connection ended for a slow reader; `None` for a connection to all.
    without_backfill: BTreeSet<Option<u8>>,
    /// Connections before this one were made by a gateway that does not run any more.
    first_of_process: usize,
    /// It misbehaves no more.
    is_behaving: bool,
    /// Minutes that the last recovery left out without a word.
    held_back: BTreeSet<Ms>,
    copies: u32,
}

/// A post that the gateway read.
#[derive(Clone, Debug)]
pub(super) struct Arrival {
    pub post: usize,
    pub at: Ms,
    pub rules: RuleSet,
    /// The payload, if it is not ruined.
    pub payload: Arc<str>,
    pub connection: usize,
    /// It cannot be taken as it came.
    pub is_ruined: bool,
    /// It can be seen to be a post in another format, or too long, and is counted as such.
    pub ruin: Option<Extra>,
}

/// A request and its answer.
#[derive(Clone, Debug)]
pub(super) struct Connection {
    /// Minutes of backfill that were asked for.
    pub asked: Option<u8>,
    /// The window that was asked for; live if there is none.
    pub window: Option<(Ms, Ms)>,
    /// The datacenter whose posts it carries; all without one.
    pub datacenter: Option<u8>,
    pub opened: Ms,
    /// It was answered with a stream.
    pub is_stream: bool,
    /// When the gateway first and last read a whole message or a heartbeat.
    pub signs: Option<(Ms, Ms)>,
    /// How long after its creation the newest post was read.
    pub lag: Ms,
    /// When the newest post was created; 0 before the first.
    pub newest: Ms,
    /// When the gateway closed it, or saw its end.
    pub closed: Option<Ms>,
    ending: Option<(Ms, End)>,
    wake: Arc<Notify>,
}

impl Connection {
    /// True if it carries the post.
    pub(super) fn carries(&self, post: &Post) -> bool {
        live::is_of(post, self.datacenter)
    }
}

/// A part of a response.
pub(super) struct Piece {
    pub due: Ms,
    /// What is sent; empty for a whole post, which is written when it is sent, for most are never due.
    pub bytes: Bytes,
    /// The post that it is, under which rules, which copy, and whether it is ruined.
    pub post: Option<(usize, RuleSet, u32, bool)>,
    /// How it is ruined.
    pub ruin: Option<Extra>,
    /// It is a whole message or a heartbeat.
    pub is_sign: bool,
}

impl Piece {
    fn line(due: Ms, text: &str) -> Self {
        Self { bytes: format!("{text}\r\n").into(), ..Self::heartbeat(due) }
    }

    fn heartbeat(due: Ms) -> Self {
        Self { due, bytes: Bytes::from_static(b"\r\n"), post: None, ruin: None, is_sign: true }
    }

    fn malformed(due: Ms, text: &str) -> Self {
        Self { is_sign: false, ..Self::line(due, text) }
    }

    fn whole(due: Ms, at: usize, rules: RuleSet, copy: u32) -> Self {
        Self { due, bytes: Bytes::new(), post: Some((at, rules, copy, false)), ruin: None, is_sign: true }
    }
}

impl X {
    /// An upstream whose clock is at `now`.
    pub(super) fn new(now: Ms, posts: Vec<Post>, lives: &[Live], jobs: &[Job]) -> Self {
        let state = State {
            posts,
            lives: lives.iter().cloned().collect(),
            jobs: jobs.iter().cloned().collect(),
            arrivals: Vec::new(),
            connections: Vec::new(),
            without_backfill: BTreeSet::new(),
            first_of_process: 0,
            is_behaving: false,
            held_back: BTreeSet::new(),
            copies: 0,
        };
        Self { origin: (Instant::now(), now), state: Mutex::new(state) }
    }

    /// X's clock.
    pub(super) fn now(&self) -> Ms {
        let (instant, time) = self.origin;
        time + Instant::now().duration_since(instant).as_millis() as Ms
    }

    async fn sleep_until(&self, time: Ms) {
        let wait = u64::try_from(time - self.now()).unwrap_or(0);
        tokio::time::sleep(Duration::from_millis(wait)).await;
    }

    /// Reads what it knows.
    pub(super) fn look<T>(&self, look: impl FnOnce(&State) -> T) -> T {
        look(&self.state.lock())
    }

    /// A gateway was started.
    pub(super) fn note_start(&self) {
        let mut state = self.state.lock();
        state.first_of_process = state.connections.len();
        // A gateway that was killed does not know how its last connection ended.
        state.without_backfill.clear();
    }

    /// From now on it behaves.
    pub(super) fn behave(&self) {
        let mut state = self.state.lock();
        state.lives.clear();
        state.jobs.clear();
        state.is_behaving = true;
    }

    /// True once it behaves.
    pub(super) fn is_behaving(&self) -> bool {
        self.state.lock().is_behaving
    }

    /// From now on it does this, and behaves afterwards.
    pub(super) fn misbehave(&self, lives: Vec<Live>, jobs: Vec<Job>) {
        let mut state = self.state.lock();
        state.lives = lives.into();
        state.jobs = jobs.into();
    }

    /// True if a live connection is up that gives signs of life: one of each datacenter that was asked.
    pub(super) fn is_live(&self) -> bool {
        let state = self.state.lock();
        let live = || state.connections.iter().filter(|it| it.window.is_none());
        let is_up =
            |datacenter| live().any(|it| it.datacenter == datacenter && it.closed.is_none() && it.signs.is_some());
        let asked: BTreeSet<_> = live().map(|it| it.datacenter).collect();
        !asked.is_empty() && asked.into_iter().all(is_up)
    }

    /// Ends the oldest live connection at this time.
    pub(super) fn end_live(&self, at: Ms, end: End) {
        let mut state = self.state.lock();
        let open = |connection: &&mut Connection| {
            connection.is_stream && connection.window.is_none() && connection.closed.is_none()
        };
        if let Some(connection) = state.connections.iter_mut().find(open) {
            if connection.ending.is_none_or(|(before, _)| before > at) {
                connection.ending = Some((at, end));
            }
            connection.wake.notify_one();
        }
    }

    fn answer(self: &Arc<Self>, request: &StreamRequest) -> Result<Response, (TransportError, bool)> {
        let now = self.now();
        let window = request.window.map(|window| (window.from.0, window.to.0));
        let asked = request.backfill_minutes.map(|minutes| minutes.get());
        let mut state = self.state.lock();
        let (live, job) = match window {
            None => (Some(state.lives.pop_front().unwrap_or_else(Live::good)), None),
            Some(_) => (None, Some(state.jobs.pop_front().unwrap_or_else(Job::good))),
        };
        let answer = live.as_ref().map(|live| live.answer).or(job.as_ref().map(|job| job.answer)).expect("one of them");
        let date = live.as_ref().map_or(Date::Right, |live| live.date);
        let number = state.connections.len();
        let is_asked = |name: &&str| request.base_url.host_str().is_some_and(|host| host.starts_with(*name));
        let datacenter = DATACENTERS.iter().position(|name| request.local_dc_only && is_asked(name));
        let datacenter = datacenter.and_then(|at| u8::try_from(at).ok());
        let is_stream = answer == Answer::Stream;
        state.connections.push(Connection {
            asked,
            window,
            datacenter,
            opened: now,
            is_stream,
            signs: None,
            lag: 0,
            newest: 0,
            closed: (!is_stream).then_some(now),
            ending: None,
            wake: Arc::default(),
        });
        let (status, body) = match answer {
            Answer::Unreachable => return Err((refused_connection(), false)),
            Answer::Silent => return Err((refused_connection(), true)),
            Answer::Refuse(status, document) => (status, short(words::refusal(status, document))),
            Answer::Page => (200, short(words::PAGE.to_owned())),
            Answer::Stream => {
                let (pieces, ending) = match (&live, &job) {
                    (Some(live), _) => state.live(live, asked, now, datacenter),
                    (_, Some(job)) => state.job(job, window.expect("it is for a window"), now),
                    _ => unreachable!("one of them"),
                };
                state.connections[number].ending = ending;
                (200, wire::body(self.clone(), number, pieces))
            }
        };
        let date = match date {
            Date::Right => Some(now),
            Date::Absent => None,
            Date::Ahead(by) => Some(now + by),
        };
        let date = date.map(|date| UnixMillis(date.div_euclid(SECOND) * SECOND));
        Ok(Response { status, headers: Headers { date, ..Headers::default() }, body })
    }
}

fn refused_connection() -> TransportError {
    TransportError { kind: ErrorKind::Connect, detail: "connection refused".into() }
}

fn short(text: String) -> BoxStream<'static, Result<Bytes, crate::xapi::BodyError>> {
    futures::stream::iter([Ok(Bytes::from(text))]).boxed()
}

/// The upstream as the gateway has it.
pub(super) struct Link(pub Arc<X>);

/// Rules are not part of these histories: nothing is requested.
impl RuleTransport for Link {
    fn request<'a>(&'a self, _: &'a RuleRequest) -> BoxFuture<'a, Result<RuleAnswer, RuleFailure>> {
        async { Err(RuleFailure::NotSent("rules are not served".to_owned())) }.boxed()
    }
}

impl Transport for Link {
    fn connect<'a>(&'a self, request: &'a StreamRequest) -> BoxFuture<'a, Result<Response, TransportError>> {
        async move {
            match self.0.answer(request) {
                Ok(response) => Ok(response),
                Err((_, true)) => std::future::pending().await,
                Err((error, false)) => Err(error),
            }
        }
        .boxed()
    }
}
