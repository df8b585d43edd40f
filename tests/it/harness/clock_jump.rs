//! Time that passes at once while the gateway is down, and consumers that are away meanwhile: what only they miss is reported
//! to them alone.
//!
//! The clock of gateway and upstream runs fast, and is set forward for both by the same span between two starts of the
//! gateway. So a token of two hours ago is made in no time, and 10 ms of the machine are 0.6 s.

use std::collections::HashSet;
use std::path::Path;
use std::time::Duration;

use powerstream_gateway::clock::Clock;
use powerstream_gateway::config::Settings;
use powerstream_gateway::model::{TimeRange, TimeRangeSet, UnixMillis};
use powerstream_gateway::proto::subscribe_response::Frame;
use powerstream_gateway::proto::{Event, Gap, GapState, StartOutcome, SubscribeRequest, TagFilter, TimeInterval};
use powerstream_gateway::simulator::{Config as Upstream, RequestLine, SentPost, SimulatorHandle};

use super::eventually::DEADLINE;
use super::ground_truth::expected;
use super::{Subscriber, TestEnv, after, eventually, in_time, record};

/// A minute in a second, and one more: by what a start sets the clock forward is then a whole number of milliseconds of
/// its origin.
const RATE: f64 = 61.0;
/// Events of a batch, so that there are many frames.
const BATCH: u32 = 10;

/// The gateway and its upstream, with a clock that can be set forward.
pub struct Absence {
    /// The gateway and its upstream.
    pub env: TestEnv,
    /// When its log was lost, and what was left of it.
    pub losses: Vec<oracle::Loss>,
    clock: Clock,
    skew_seconds: i64,
}

/// One consumer over all its sessions.
pub struct Consumer {
    /// What it asks for.
    pub filter: TagFilter,
    /// Its last token.
    pub token: String,
    /// All posts, in the order they came.
    pub got: Vec<Event>,
    /// Which of them came in batches that are marked as possible repeats.
    pub doubtful: HashSet<usize>,
    /// Epoch and term of each.
    pub terms: Vec<(String, String)>,
    /// Its private gaps as received, in order.
    pub own_gaps: Vec<Gap>,
    /// Gaps of the log as received.
    pub hub_gaps: Vec<Gap>,
    /// How each session began.
    pub outcomes: Vec<StartOutcome>,
    /// The intervals that were reported as missing.
    pub reported_missing: TimeRangeSet,
    /// How many posts had arrived before each private gap was announced.
    announced_after: Vec<usize>,
    /// Its sessions, for the oracle.
    sessions: Vec<oracle::Session>,
    session: Option<Subscriber>,
}

fn patient(settings: &mut Settings) {
    let long = Duration::from_secs(24 * 3_600);
    settings.upstream.stale_after = long;
    settings.upstream.connect_timeout = long;
    settings.upstream.response_timeout = long;
    settings.grpc.preface_timeout = long;
    settings.grpc.ping_interval = long;
    settings.grpc.ping_timeout = long;
    settings.ingest.gaps.reader_stall_min = long;
    settings.shutdown_timeout = long;
}

/// A time of the API.
fn millis(time: &prost_types::Timestamp) -> UnixMillis {
    UnixMillis(time.seconds * 1_000 + i64::from(time.nanos) / 1_000_000)
}

/// The interval of a gap that has an end.
pub fn span(gap: &Gap) -> TimeRange {
    interval(gap.interval.as_ref().expect("a gap has an interval"))
}

/// An interval of the first frame.
pub fn interval(interval: &TimeInterval) -> TimeRange {
    let [from, to] =
        [&interval.start_time, &interval.end_time].map(|time| millis(time.as_ref().expect("it has bounds")));
    TimeRange::new(from, to)
}

/// The window that a request for a recovery job asks for; `None` for other requests.
fn window(request: &RequestLine) -> Option<TimeRange> {
    let time = |name: &str| {
        let (_, rest) = request.target.split_once(name)?;
        let text = rest.split('&').next()?.replace("%3A", ":");
        let time: jiff::Timestamp = text.parse().expect("it is RFC 3339");
        assert_eq!(time.as_second() % 60, 0, "whole minutes: {text}");
        Some(UnixMillis(time.as_millisecond()))
    };
    Some(TimeRange::new(time("startTime=")?, time("endTime=")?))
}

/// Copies a directory with all that is in it.
pub fn copy(from: &Path, to: &Path) {
    std::fs::create_dir_all(to).expect("the directory is ours");
    for entry in std::fs::read_dir(from).expect("it is there") {
        let entry = entry.expect("it is readable");
        let to = to.join(entry.file_name());
        if entry.path().is_dir() {
            copy(&entry.path(), &to);
        } else {
            std::fs::copy(entry.path(), to).expect("it is readable");
        }
    }
}

impl Absence {
    /// A gateway that is connected to its upstream.
    pub async fn new(upstream: impl FnOnce(&mut Upstream), tune: impl FnOnce(&mut Settings)) -> Self {
        let mut own = Self::before_the_gateway(upstream, tune);
        own.start().await;
        own
    }

    /// The upstream alone: the gateway is not started yet.
    pub fn before_the_gateway(upstream: impl FnOnce(&mut Upstream), tune: impl FnOnce(&mut Settings)) -> Self {
        let clock = Clock::with_rate(RATE, None);
        let tune = |settings: &mut Settings| {
            patient(settings);
            tune(settings);
        };
        let env = TestEnv::without_gateway(clock.clone(), upstream, tune);
        Self { env, losses: Vec::new(), clock, skew_seconds: 0 }
    }

    /// Starts the gateway, and waits for its upstream.
    pub async fn start(&mut self) {
        self.env.start_gateway().await;
        self.env.connected().await;
    }

    /// So much time passes at once, for both. The gateway must be down.
    pub fn pass_at_once(&mut self, seconds: i64) -> TimeRange {
        let from = self.env.x.now();
        self.skew_seconds += seconds;
        self.env.x.set_skew_seconds(self.skew_seconds);
        let per_origin = RATE as i64 - 1;
        let origin = self.clock.origin().0 - self.skew_seconds * 1_000 / per_origin;
        self.env.settings.clock.origin_ms = Some(origin);
        TimeRange::new(from, self.env.x.now())
    }

    /// Waits until so much time has passed while everything runs.
    pub async fn pass(&self, seconds: u64) {
        let until = self.env.x.now().plus(Duration::from_secs(seconds));
        eventually("time passes", async || self.env.x.now() >= until).await;
    }

    /// Posts of the time that passed while no consumer was connected, but for its first and last seconds: that many a second.
    pub fn history(&self, passed: TimeRange, (after, before): (u64, u64), per_second: f64) -> u64 {
        let [after, before] = [after, before].map(Duration::from_secs);
        let made = self.env.x.history(TimeRange::new(passed.from.plus(after), passed.to.minus(before)), per_second);
        assert!(made > 0, "there are posts of that time");
        made
    }

    /// The log of the account is lost: all that was kept of it.
    pub fn lose_log(&mut self) {
        self.losses.push(oracle::Loss { at: self.env.x.now().0, kept_to: oracle::Ms::MIN });
        std::fs::remove_dir_all(self.env.log_dir("main")).expect("it was there");
    }

    /// The windows that X was asked for, and gave, after so many requests.
    pub fn windows(&self, after: usize) -> Vec<TimeRange> {
        let given = |request: &&RequestLine| request.status == 200;
        self.env.x.requests().iter().skip(after).filter(given).filter_map(window).collect()
    }

    /// A session of a new consumer.
    pub async fn consumer(&self, filter: &TagFilter, request: SubscribeRequest) -> Consumer {
        let mut consumer = Consumer::new(filter);
        consumer.begin(&self.env, request).await;
        consumer
    }

    /// What holds after every run: what came in is accounted for, and X was never asked for more at once than it allows.
    pub async fn verify(&self) {
        self.balanced().await;
        let mut history = record::history(&self.env.x, Vec::new(), oracle::Terms::new(), |_| true);
        history.tallies = record::tallies(&self.env.app().metrics());
        record::assert_sound("the run", &history);
        let counters = self.env.x.counters();
        assert_eq!(counters.too_many_connections, 0);
        assert_eq!(counters.bad_requests, counters.backfills_refused, "every other request was as X wants it");
    }

    /// What is on its way is counted when it is there.
    async fn balanced(&self) {
        eventually("all that came in is accounted for", async || {
            record::are_balanced(&record::tallies(&self.env.app().metrics()))
        })
        .await;
    }
}

impl Consumer {
    fn new(filter: &TagFilter) -> Self {
        Self {
            filter: filter.clone(),
            token: String::new(),
            got: Vec::new(),
            doubtful: HashSet::new(),
            terms: Vec::new(),
            own_gaps: Vec::new(),
            hub_gaps: Vec::new(),
            outcomes: Vec::new(),
            reported_missing: TimeRangeSet::default(),
            announced_after: Vec::new(),
            sessions: Vec::new(),
            session: None,
        }
    }

    /// A consumer that begins with this session.
    pub fn of(session: Subscriber) -> Self {
        let mut own = Self::new(session.filter());
        own.enter(session);
        own
    }

    async fn begin(&mut self, env: &TestEnv, request: SubscribeRequest) {
        let heartbeat_interval = Some(prost_types::Duration { seconds: 20, nanos: 0 });
        let request = SubscribeRequest { heartbeat_interval, max_batch_events: BATCH, ..request };
        self.enter(env.subscribe(request).await);
    }

    fn enter(&mut self, session: Subscriber) {
        self.leave();
        self.token = session.token().to_owned();
        self.outcomes.push(session.start.outcome());
        for missing in &session.start.missing {
            self.reported_missing.insert(interval(missing));
        }
        self.session = Some(session);
    }

    /// It goes away, with the token that it has.
    pub fn leave(&mut self) {
        self.sessions.extend(self.session.take().map(|session| session.record));
    }

    /// Reconnects with its last token.
    pub async fn resume(&mut self, env: &TestEnv) {
        self.begin(env, after(&self.token, &self.filter)).await;
    }

    /// How its last session began.
    pub fn outcome(&self) -> StartOutcome {
        *self.outcomes.last().expect("it has begun")
    }

    /// Takes the next frame; false if the session ended.
    pub async fn read(&mut self) -> bool {
        let session = self.session.as_mut().expect("it has a session");
        let (had, marked, reported) = (session.got.len(), session.doubtful.len(), session.notices.len());
        let is_open = session.read().await;
        let came = self.got.len()..self.got.len() + session.got.len() - had;
        if session.doubtful.len() > marked {
            // A frame is one batch.
            self.doubtful.extend(came);
        }
        self.got.extend_from_slice(&session.got[had..]);
        self.terms.extend(session.terms[had..].iter().map(|term| (session.start.epoch.clone(), term.clone())));
        for (_, frame) in &session.notices[reported..] {
            if let Frame::GapNotice(notice) = frame {
                let gap = notice.gap.clone().expect("a notice of a gap has one");
                assert_eq!(gap.private, notice.sequence == 0, "what is private is not in the log: {gap:?}");
                if gap.private {
                    self.own_gaps.push(gap);
                    // A frame is a batch or a notice, not both.
                    self.announced_after.push(self.got.len());
                } else {
                    self.hub_gaps.push(gap);
                }
            }
        }
        self.token = session.token().to_owned();
        is_open
    }

    /// Reads until this holds.
    pub async fn until(&mut self, what: &str, mut holds: impl FnMut(&Self) -> bool) {
        let reading = async {
            while !holds(self) {
                assert!(self.read().await, "{what}: it ended before");
            }
        };
        in_time(what, reading).await;
    }

    /// Reads until all of this has come, and nothing that it missed is open.
    pub async fn whole(&mut self, truth: &[SentPost]) {
        let wanted: HashSet<u64> = expected(truth, &self.filter).iter().map(|post| post.post_id.0).collect();
        let reading = async {
            loop {
                let got: HashSet<u64> = self.got.iter().map(|event| event.post_id).collect();
                if wanted.is_subset(&got) && self.is_healed() {
                    break;
                }
                assert!(self.read().await, "it ended before all had come");
            }
        };
        // The verification names what did not arrive.
        let _ = Clock::system().timeout(DEADLINE, reading).await;
    }

    /// True if all that it missed has an end.
    pub fn is_healed(&self) -> bool {
        let ended: TimeRangeSet = self.ended().iter().map(span).collect();
        self.reported_missing.iter().all(|reported_missing| ended.covers(reported_missing))
    }

    /// The gaps of its own that have ended.
    pub fn ended(&self) -> Vec<Gap> {
        self.own_gaps.iter().filter(|gap| gap.closed).cloned().collect()
    }

    /// Posts that came out of the side log.
    pub fn recovered(&self) -> usize {
        self.got.iter().filter(|event| event.sequence == 0).count()
    }

    /// Nothing that it got, or did not get, is against the contract. Where all of the truth has to have come, none of it is
    /// only excused: what it missed has ended, and had arrived by then.
    pub fn assert_whole(&self, label: &str, x: &SimulatorHandle, losses: &[oracle::Loss], truth: &[SentPost]) {
        let sessions = self.sessions.iter().chain(self.session.as_ref().map(|session| &session.record));
        let sessions = sessions.cloned().collect();
        let subscription = oracle::Subscription { number: 0, filter: record::filter(&self.filter), sessions };
        // Gaps of the log may be open still.
        let terms = oracle::Terms { is_settled: false, ..oracle::Terms::new() };
        let mut history = record::history(x, vec![subscription], terms, |_| true);
        history.losses = losses.to_vec();
        record::assert_sound(label, &history);
        let wanted = expected(truth, &self.filter);
        let came: HashSet<u64> = self.got.iter().map(|event| event.post_id).collect();
        let missing: Vec<_> = wanted.iter().map(|post| post.post_id.0).filter(|id| !came.contains(id)).collect();
        assert!(missing.is_empty(), "{label}: {missing:?} did not come");
        for (gap, had) in self.own_gaps.iter().zip(&self.announced_after).filter(|(gap, _)| gap.closed) {
            assert_ne!(gap.state(), GapState::Unrecoverable, "{label}: X had it all: {gap:?}");
            let before: HashSet<u64> = self.got[..*had].iter().map(|event| event.post_id).collect();
            // What the log misses as well is announced by its own gaps.
            let reported = |post: &&SentPost| {
                self.hub_gaps.iter().any(|gap| {
                    gap.interval.is_some_and(|own| own.end_time.is_some()) && span(gap).contains(post.created)
                })
            };
            let within = wanted.iter().filter(|post| span(gap).contains(post.created) && !reported(post));
            let late: Vec<_> = within.map(|post| post.post_id.0).filter(|id| !before.contains(id)).collect();
            assert!(late.is_empty(), "{label}: {late:?} came after {gap:?}");
        }
        assert!(self.is_healed(), "{label}: it missed {:?}, and received {:?}", self.reported_missing, self.own_gaps);
    }
}
