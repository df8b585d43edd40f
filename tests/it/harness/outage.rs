//! A gateway whose clock runs fast, with subscribers that are there all the time, and outages that are remembered: a day
//! in some seconds.
//!
//! Clocks of simulator and gateway have one origin. What has to do with real connections is given real time
//! (`env::patient`); everything else keeps its value, and 10 ms of the machine are 0.6 s at rate 60.

use std::iter;
use std::ops::RangeInclusive;
use std::time::Duration;

use powerstream_gateway::clock::Clock;
use powerstream_gateway::config::Settings;
use powerstream_gateway::model::{TimeRange, UnixMillis};
use powerstream_gateway::proto::{GapState, Origin, SubscribeRequest};
use powerstream_gateway::simulator::{
    BogusResponse, Config as Upstream, ConnectionRecord, CutKind, ErrorResponse, Flow, Repeat, RequestLine, Scope,
    SentPost, SimulatorHandle,
};

use super::env::patient;
use super::eventually::eventually;
use super::gaps::{ALLOWED_LATENESS, Gaps, Outage};
use super::requests::{backfill_asked, is_recovery};
use super::resuming_consumer::ResumingConsumer;
use super::{Subscriber, TestEnv, after, filters, latest, record};

/// Posts drawn per second of the fast clock; only posts that match a rule are sent.
const POSTS: f64 = 2.0;
/// After this time a cut connection is reconnected at once (`upstream.healthy_after` is 30 s), and a new log knows its
/// start: the allowed lateness of its first backfill, and once more without a post of it.
const HEALTHY: Duration = Duration::from_secs(75);
/// What is due has come by then, in time of the machine.
const SETTLED: Duration = Duration::from_secs(30);

/// The drill.
pub struct Drill {
    /// The gateway and its upstream.
    pub env: TestEnv,
    /// Sessions that are connected all the time; the first one has no filter.
    pub sessions: Vec<Subscriber>,
    /// Their sessions before the last start of the gateway.
    before: Vec<ResumingConsumer>,
    /// The truth that counts begins after this.
    began: u64,
    /// How often upstream was cut.
    cuts: u64,
    /// When X was asked for the connections that came after the cuts.
    answers: Vec<UnixMillis>,
    /// How far X's clock is ahead of the machine's.
    skew_seconds: i64,
    /// The same when the gateway was started.
    first_skew_seconds: i64,
    /// When the drill began: gaps from before are of a log that began late.
    healthy: UnixMillis,
}

/// A session of the fast clock needs no heartbeat every second.
fn calm(request: SubscribeRequest) -> SubscribeRequest {
    let heartbeat_interval = Some(prost_types::Duration { seconds: 20, nanos: 0 });
    SubscribeRequest { heartbeat_interval, ..request }
}

fn tuned(settings: &mut Settings) {
    patient(settings);
    // An outage ends when X answers again, not when the gateway next asks.
    settings.upstream.http_backoff_step = Duration::from_secs(1);
    settings.upstream.http_backoff_max = Duration::from_secs(2);
}

/// Posts from before the start: an empty backfill of a busy stream is not trusted. None is young enough for a session
/// that begins now.
pub fn give_a_past(x: &SimulatorHandle) {
    let (from, to) = (x.now().minus(Duration::from_secs(300)), x.now().minus(Duration::from_secs(60)));
    x.history(TimeRange::new(from, to), POSTS);
}

impl Drill {
    /// With a clock this fast; subscribers are there, and posts come for longer than a connection has to last to be made
    /// again at once.
    pub async fn new(rate: f64, upstream: impl FnOnce(&mut Upstream), tune: impl FnOnce(&mut Settings)) -> Self {
        let tune = |settings: &mut Settings| {
            tuned(settings);
            tune(settings);
        };
        let env = TestEnv::without_gateway(Clock::with_rate(rate, None), upstream, tune);
        Self::over(env, 0).await
    }

    /// Live connections that are made before the first cut: a gateway whose clock is far off asks twice (contract, 6.1).
    fn first_connects(&self) -> usize {
        if self.first_skew_seconds != 0 { 2 } else { 1 }
    }

    /// Where X's clock is ahead of the machine's from the beginning.
    pub async fn skewed(rate: f64, seconds: i64) -> Self {
        let env = TestEnv::without_gateway(Clock::with_rate(rate, None), |_| (), tuned);
        env.x.set_skew_seconds(seconds);
        Self::over(env, seconds).await
    }

    async fn over(mut env: TestEnv, skew_seconds: i64) -> Self {
        give_a_past(&env.x);
        env.start_gateway().await;
        if skew_seconds != 0 {
            eventually("the gateway has asked twice", async || env.x.counters().connects >= 2).await;
        }
        env.connected().await;
        let (mut sessions, mut before) = (Vec::new(), Vec::new());
        for filter in [filters::all(), filters::any(&["cats"]), filters::any_but(&["*"], &["links"])] {
            sessions.push(env.subscribe(calm(latest(&filter))).await);
            before.push(ResumingConsumer::new(&env.x, filter));
        }
        let began = env.x.truth_len();
        env.x.set_rate(POSTS);
        let drill = Self {
            env,
            sessions,
            before,
            began,
            cuts: 0,
            answers: Vec::new(),
            skew_seconds,
            first_skew_seconds: skew_seconds,
            healthy: UnixMillis(0),
        };
        drill.pass(HEALTHY).await;
        // A gap of the drill begins the allowed lateness before its first cut.
        let healthy = drill.env.x.now().minus(ALLOWED_LATENESS);
        Self { healthy, ..drill }
    }

    /// Waits until so much of X's time has passed.
    pub async fn pass(&self, time: Duration) {
        let until = self.env.x.now().plus(time);
        eventually("time passes", async || self.env.x.now() >= until).await;
    }

    /// Cuts the line; what was under way before may still arrive.
    pub async fn cut(&mut self, kind: CutKind) {
        self.cut_by(|x| x.cut(kind)).await;
    }

    /// Lets X end the line in this way.
    pub async fn cut_by(&mut self, cut: impl FnOnce(&SimulatorHandle) -> usize) {
        let x = &self.env.x;
        assert_eq!(cut(x), 1, "there was a line");
        self.cuts += 1;
        let first = self.first_connects() as u64;
        eventually("the line is down", async || {
            x.connections().live == 0 || x.counters().connects >= self.cuts + first
        })
        .await;
    }

    /// The gateway left the line.
    pub fn left_by_gateway(&mut self) {
        self.cuts += 1;
    }

    /// Cuts the line and lets X be unreachable for so long.
    pub async fn outage(&mut self, kind: CutKind, time: Duration) {
        self.outage_by(|x| x.cut(kind), time).await;
    }

    /// The same with another end of the line.
    pub async fn outage_by(&mut self, cut: impl FnOnce(&SimulatorHandle) -> usize, time: Duration) {
        self.env.x.refuse(
            &Scope::Live,
            Repeat::UntilCleared,
            ErrorResponse::named("unavailable").expect("it is known"),
        );
        self.cut_by(cut).await;
        self.pass(time).await;
        self.env.x.clear_refusals_of(&Scope::Live);
        self.back().await;
    }

    /// Cuts the line, and lets so much of X's time pass at once, with posts made in it, so many a second. The gateway
    /// learns of the time by answers that are empty.
    pub async fn away(&mut self, time: Duration, per_second: f64) {
        let x = self.env.x.clone();
        x.answer_with(&Scope::Live, Repeat::UntilCleared, BogusResponse::Empty);
        self.skew_seconds += time.as_secs() as i64;
        let (skew_seconds, mut from) = (self.skew_seconds, x.now());
        // At once: if the machine stopped here for five minutes of the fast clock, they would be a gap of their own.
        self.cut_by(|x| {
            let cut = x.cut(CutKind::CleanEnd);
            from = x.now();
            x.set_skew_seconds(skew_seconds);
            cut
        })
        .await;
        let empty = x.counters().empty_answers;
        eventually("the gateway knows the time", async || x.counters().empty_answers >= empty + 2).await;
        assert!(x.history(TimeRange::new(from, x.now().minus(Duration::from_secs(1))), per_second) > 0);
        x.clear_refusals_of(&Scope::Live);
        self.back().await;
    }

    /// The same, and no job sends anything before X shows this: two requests of the gateway overlap on any machine.
    pub async fn away_until(
        &mut self,
        time: Duration,
        per_second: f64,
        what: &str,
        shown: impl Fn(&SimulatorHandle) -> bool,
    ) {
        let x = self.env.x.clone();
        x.set_flow(&Scope::Recovery, Flow::Stalled);
        self.away(time, per_second).await;
        eventually(what, async || shown(&x)).await;
        x.set_flow(&Scope::Recovery, Flow::Open);
    }

    /// The same until two jobs are open.
    pub async fn away_until_two_jobs(&mut self, time: Duration, per_second: f64) {
        self.away_until(time, per_second, "two jobs are open", |x| x.connections().recovery == 2).await;
    }

    /// Waits until the line is up again and something has come by it.
    pub async fn back(&mut self) {
        // Empty answers carried no posts.
        let wanted = self.cuts as usize + self.first_connects() + self.env.x.counters().empty_answers as usize;
        eventually("X has answered again", async || self.live_answers().len() >= wanted).await;
        let answered = self.live_answers()[wanted - 1];
        self.answers.push(answered);
        // The id of a post has the time of X.
        let came = |own: &Subscriber| own.got.iter().rev().any(|event| event.event_time_ms >= answered.0);
        self.sessions[0].until("something comes again", came).await;
    }

    /// Reads until no gap is open: an outage from now on has one of its own.
    pub async fn gaps_closed(&mut self) {
        let before = &self.before[0].gaps;
        self.sessions[0].until("no gap is open", |own| before.with(own).are_over()).await;
    }

    /// When X was asked for live connections that it gave.
    fn live_answers(&self) -> Vec<UnixMillis> {
        let given = |request: &&RequestLine| request.status == 200 && !is_recovery(request);
        let requests = self.env.x.requests();
        let time = |request: &RequestLine| UnixMillis(request.received_ms + self.skew_seconds * 1_000);
        requests.iter().filter(given).map(time).collect()
    }

    /// The requests for live connections after the first.
    pub fn reconnects(&self) -> Vec<RequestLine> {
        let requests = self.env.x.requests();
        requests.into_iter().filter(|request| !is_recovery(request)).skip(self.first_connects()).collect()
    }

    /// Verifies that the last request of a live connection asked for the backfill that was due.
    pub fn verify_backfill_asked(&self, label: &str) {
        let (asked, due) = (self.reconnects().last().and_then(backfill_asked), self.backfill_due());
        assert!(asked.is_some_and(|asked| due.contains(&asked)), "{label}: {asked:?} minutes, not {due:?}");
    }

    /// The requests for recovery jobs.
    pub fn jobs(&self) -> Vec<RequestLine> {
        self.env.x.requests().into_iter().filter(is_recovery).collect()
    }

    /// When X was first asked for a recovery job.
    pub fn first_job_requested(&self) -> UnixMillis {
        let request = self.jobs().into_iter().next().expect("a job was requested");
        UnixMillis(request.received_ms + self.skew_seconds * 1_000)
    }

    /// Stops posts, and reads until each session has all its posts and no gap is open, or until the deadline; the
    /// oracle reports missing posts.
    pub async fn settle(&mut self) {
        self.env.x.pause();
        let mut truth = Vec::new();
        // A post may be under way while posts are stopped.
        while truth.len() < self.truth().len() {
            truth = self.truth();
            self.settle_at(&truth).await;
        }
    }

    async fn settle_at(&mut self, truth: &[SentPost]) {
        for (session, before) in self.sessions.iter_mut().zip(&self.before) {
            let last = super::ground_truth::expected(truth, session.filter()).pop();
            let settled = session.read_until(|own| before.gaps.with(own).have_settled(last.as_ref(), &own.got));
            // The oracle reports missing posts.
            let _ = Clock::system().timeout(SETTLED, settled).await;
        }
    }

    /// Returns the ground truth for the sessions.
    pub fn truth(&self) -> Vec<SentPost> {
        self.env.x.truth_since(self.began)
    }

    /// Returns the gap reports of the session without a filter.
    pub fn gaps(&self) -> Gaps {
        self.consumer(0).gaps.since(self.healthy)
    }

    /// One of them over all its sessions.
    fn consumer(&self, at: usize) -> ResumingConsumer {
        self.before[at].with(&self.sessions[at])
    }

    /// Stops the gateway in order and starts it again; all resume from where they were.
    pub async fn restart(&mut self) {
        self.env.stop_gateway().await;
        for (session, before) in self.sessions.iter_mut().zip(&mut self.before) {
            session.ended().await;
            before.follow(session);
        }
        self.env.start_gateway().await;
        for (session, before) in self.sessions.iter_mut().zip(&self.before) {
            let token = before.token.as_deref().expect("a session has one");
            *session = self.env.subscribe(calm(after(token, &before.filter))).await;
        }
    }

    /// The outages as they were.
    pub fn outages(&self) -> Vec<Outage> {
        let mut live = self.env.x.connection_records();
        live.retain(|record| record.window_ms.is_none() && record.first_sign_ms.is_some());
        let outage = |answered: &UnixMillis| {
            // It is answered after it was asked for.
            let at = live.iter().position(|record| record.opened_ms >= answered.0).expect("it was answered");
            let before = live[..at].last().and_then(|record| record.last_sign_ms).expect("something came before");
            Outage { last: UnixMillis(before), answered: *answered }
        };
        self.answers.iter().map(outage).collect()
    }

    /// The minutes of backfill that the last outage needs, with the allowed lateness. Both bounds of it are known to some
    /// seconds: a machine that is busy makes it longer.
    pub fn backfill_due(&self) -> RangeInclusive<u8> {
        const UNCERTAIN: Duration = Duration::from_secs(5);
        let outages = self.outages();
        let outage = outages.last().expect("there was one");
        let needed = outage.answered.since(outage.last) + ALLOWED_LATENESS;
        let minutes =
            |needed: Duration| u8::try_from(needed.as_secs().div_ceil(60)).map_or(5, |minutes| minutes.min(5));
        minutes(needed.saturating_sub(UNCERTAIN))..=minutes(needed + UNCERTAIN)
    }

    /// All that holds after every drill: nothing is against the contract, gaps are tight, and X was never asked for more
    /// connections than it allows.
    pub fn verify(&self) {
        self.verify_with(Some(0));
        assert_eq!(self.env.x.counters().too_many_connections, 0);
    }

    /// The same where outages were not remembered.
    pub fn verify_except_bounds(&self) {
        self.verify_with(None);
    }

    fn verify_with(&self, tight_within: Option<oracle::Ms>) {
        let terms = oracle::Terms { tight_within, ..oracle::Terms::new() };
        let subscriptions = (0..self.sessions.len()).map(|at| self.consumer(at).record(at)).collect();
        let mut history = record::history(&self.env.x, subscriptions, terms, |_| true);
        history.tallies = record::tallies(&self.env.app().metrics());
        record::assert_sound(&format!("{:#?}", self.gaps().stories()), &history);
        for at in 0..self.sessions.len() {
            let own = self.consumer(at);
            assert!(own.gaps.are_over(), "{:?}: gaps are open: {:?}", own.filter, own.gaps.last());
            let histories = own.gaps.since(self.healthy).histories();
            assert_eq!(histories, self.gaps().histories(), "{:?}: all sessions receive the same", own.filter);
        }
    }

    /// The longest time in which X wrote nothing of a backfill that it had to send. After the allowed lateness a gap is not
    /// backfilled but left to recovery; on a busy machine X may get no turn for that long.
    pub fn longest_backfill_pause(&self) -> Duration {
        let (writes, connections) = (self.env.x.writes(), self.env.x.connection_records());
        let pause = |own: &ConnectionRecord| {
            let backfilled = writes.iter().filter(|write| write.connection == own.number && write.is_backfill);
            let times: Vec<_> = iter::once(own.opened_ms).chain(backfilled.map(|write| write.at_ms)).collect();
            times.windows(2).map(|two| UnixMillis(two[1]).since(UnixMillis(two[0]))).max()
        };
        connections.iter().filter_map(pause).max().unwrap_or_default()
    }

    /// Posts that came in this way to the one that takes everything.
    pub fn came_by(&self, origin: Origin) -> usize {
        self.consumer(0).got.iter().filter(|event| event.origin() == origin).count()
    }

    /// The states of all gaps, in the order of the first announcements.
    pub fn histories(&self) -> Vec<Vec<GapState>> {
        self.gaps().histories()
    }
}
