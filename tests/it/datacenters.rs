//! The list of datacenters changes between two runs over the same data, and datacenters that are down from the start.

use std::time::Duration;

use powerstream_gateway::clock::Clock;
use powerstream_gateway::config::Datacenter;
use powerstream_gateway::model::UnixMillis;
use powerstream_gateway::proto::{Origin, SubscribeRequest};
use powerstream_gateway::simulator::{CutKind, ErrorResponse, Repeat, Scope, SentPost, SimulatorHandle};

use crate::harness::env::patient;
use crate::harness::eventually::DEADLINE;
use crate::harness::gaps::{Gaps, span};
use crate::harness::outage::give_a_past;
use crate::harness::watermarks::Watched;
use crate::harness::{ResumingConsumer, Subscriber, TestEnv, after, eventually, filters, latest};

/// A minute in a second.
const RATE: f64 = 60.0;
const POSTS: f64 = 4.0;
const NAMES: [&str; 2] = ["atla", "pdxa"];

async fn pass(x: &SimulatorHandle, seconds: u64) {
    let until = x.now().plus(Duration::from_secs(seconds));
    eventually("time passes", async || x.now() >= until).await;
}

fn calm(request: SubscribeRequest) -> SubscribeRequest {
    let heartbeat_interval = Some(prost_types::Duration { seconds: 5, nanos: 0 });
    SubscribeRequest { heartbeat_interval, ..request }
}

/// A gateway whose account can be given any list of datacenters.
struct Lists {
    env: TestEnv,
    /// When each list began to hold.
    lists: Vec<(UnixMillis, Vec<&'static str>)>,
    watched: Watched,
    session: Option<Subscriber>,
    past: u64,
}

impl Lists {
    fn new() -> Self {
        let upstream = |x: &mut powerstream_gateway::simulator::Config| x.live_connections_max = 2;
        let env = TestEnv::without_gateway(Clock::with_rate(RATE, None), upstream, |settings| {
            patient(settings);
            settings.upstream.http_backoff_step = Duration::from_secs(1);
            settings.upstream.http_backoff_max = Duration::from_secs(2);
        });
        give_a_past(&env.x);
        let past = env.x.truth_len();
        let watched = Watched::new(ResumingConsumer::new(&env.x, filters::all()));
        Self { env, lists: Vec::new(), watched, session: None, past }
    }

    /// Starts the gateway with this list; none is the connection for all posts. So many connections come up.
    async fn start(&mut self, list: &[&'static str], up: usize) {
        let x = self.env.x.clone();
        let datacenter =
            |name: &&str| Datacenter { name: (*name).into(), url: x.base_url_of(name).parse().expect("a URL") };
        self.env.settings.accounts[0].datacenters = list.iter().map(datacenter).collect();
        self.lists.push((x.now(), list.to_vec()));
        self.env.start_gateway().await;
        eventually("upstream is up", async || x.connections().live == up).await;
        let request = match &self.watched.consumer.token {
            Some(token) => after(token, &filters::all()),
            None => latest(&filters::all()),
        };
        self.session = Some(self.env.subscribe(calm(request)).await);
        x.set_rate(POSTS);
    }

    /// Lets time pass while the session is read.
    async fn read(&mut self, seconds: u64) {
        let (x, session) = (&self.env.x, self.session.as_mut().expect("it was started"));
        let until = x.now().plus(Duration::from_secs(seconds));
        session.until("time passes", |_| x.now() >= until).await;
    }

    /// Reads the session until this holds of it and all gaps that it received.
    async fn read_until(&mut self, what: &str, holds: impl Fn(&TestEnv, &Gaps) -> bool) {
        let (env, gaps) = (&self.env, &self.watched.consumer.gaps);
        let session = self.session.as_mut().expect("it was started");
        session.until(what, |session| holds(env, &gaps.with(session))).await;
    }

    async fn stop(&mut self) {
        self.env.stop_gateway().await;
        let mut session = self.session.take().expect("it was started");
        session.ended().await;
        self.watched.follow(&session);
    }

    /// This datacenter ends its connection, if there is one, and answers no more.
    fn down(&self, name: &str) {
        let (x, scope) = (&self.env.x, Scope::Datacenter(name.into()));
        x.refuse(&scope, Repeat::UntilCleared, ErrorResponse::named("unavailable").expect("it is known"));
        x.cut_of(&scope, CutKind::Reset);
    }

    fn up(&self, name: &str) {
        self.env.x.clear_refusals_of(&Scope::Datacenter(name.into()));
    }

    /// Posts that some feed of the list of their time carries.
    fn due(&self) -> Vec<SentPost> {
        self.env.x.truth_since(self.past).into_iter().filter(|post| self.is_carried(post)).collect()
    }

    /// True if some feed of the list of its time carries it.
    fn is_carried(&self, post: &SentPost) -> bool {
        let list = self.lists.iter().rev().find(|(since, _)| *since <= post.created);
        list.is_some_and(|(_, list)| list.is_empty() || list.contains(&NAMES[post.datacenter]))
    }

    /// Posts of a datacenter that came, and were made between these times; and those of them that did not come live.
    fn came(&self, datacenter: &str, from: UnixMillis, to: UnixMillis) -> (usize, usize) {
        let of = |post: &SentPost| NAMES[post.datacenter] == datacenter && from <= post.created && post.created < to;
        let wanted: Vec<u64> = self.due().into_iter().filter(of).map(|post| post.post_id.0).collect();
        let got = self.watched.consumer.got.iter().filter(|event| wanted.contains(&event.post_id));
        let again: Vec<bool> = got.map(|event| event.origin() != Origin::Live).collect();
        (again.len(), again.into_iter().filter(|again| *again).count())
    }

    /// Reads until all is over; then verifies.
    async fn verify(&mut self, label: &str) {
        self.read(240).await;
        self.env.x.pause();
        let due = self.due();
        let mut session = self.session.take().expect("it was started");
        let had: Vec<u64> = self.watched.consumer.got.iter().map(|event| event.post_id).collect();
        let before = self.watched.consumer.gaps.clone();
        let settled = |own: &Subscriber| {
            let came = |post: &SentPost| {
                had.contains(&post.post_id.0) || own.got.iter().any(|event| event.post_id == post.post_id.0)
            };
            before.with(own).are_over() && due.iter().all(came)
        };
        // The verification names what did not arrive.
        let _ = Clock::system().timeout(DEADLINE, session.read_until(settled)).await;
        self.watched.follow(&session);
        self.watched.verify(label, &self.env.x, |post| self.is_carried(post));
        eprintln!("{label}: {} posts, {:#?}", due.len(), self.watched.consumer.gaps.stories());
        assert!(self.watched.consumer.gaps.are_over(), "{label}: {:#?}", self.watched.consumer.gaps.stories());
    }
}

/// The first datacenter of a list is down; the gateway is stopped, and started with another list while X continues to post.
async fn changed(from: &[&'static str], to: &[&'static str]) {
    let label = format!("{from:?} to {to:?}");
    let mut lists = Lists::new();
    lists.start(from, from.len().max(1)).await;
    lists.read(80).await;
    if let Some(first) = from.first() {
        lists.down(first);
    }
    let began = lists.env.x.now();
    if !from.is_empty() {
        lists.read(150).await;
    }
    lists.stop().await;
    let stopped = lists.env.x.now();
    pass(&lists.env.x, 100).await;
    if let Some(first) = from.first() {
        lists.up(first);
    }
    let started = lists.env.x.now();
    lists.start(to, to.len().max(1)).await;
    lists.verify(&label).await;
    for name in NAMES {
        let is_due = |list: &[&str]| list.is_empty() || list.contains(&name);
        if is_due(from) && from.first() == Some(&name) {
            let (came, again) = lists.came(name, began, stopped);
            assert!(came > 100 && again * 10 > came * 8, "{label}: {name} was down: {came} posts, {again} not live");
        }
        if is_due(from) {
            let (came, again) = lists.came(name, stopped, started);
            assert!(
                came > 50 && again * 10 > came * 8,
                "{label}: the gateway was down: {came} posts of {name}, {again}"
            );
        }
    }
}

/// Fault 11, first case.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn swapped_datacenters_keep_their_gaps() {
    changed(&["atla", "pdxa"], &["pdxa", "atla"]).await;
}

/// Fault 11, second case.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn datacenters_inherit_gap_of_single_connection() {
    changed(&[], &["atla", "pdxa"]).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn single_connection_inherits_gaps_of_datacenters() {
    changed(&["atla", "pdxa"], &[]).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn removed_datacenter_leaves_its_gap_to_recovery() {
    changed(&["atla", "pdxa"], &["pdxa"]).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn added_datacenter_leaves_others_alone() {
    changed(&["atla"], &["atla", "pdxa"]).await;
}

/// Fault 11, second case, with a datacenter that is down when the list changes: it inherits the gap of the feed before.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn new_datacenter_that_is_down_inherits_gap() {
    let mut lists = Lists::new();
    lists.start(&[], 1).await;
    lists.read(80).await;
    lists.stop().await;
    let stopped = lists.env.x.now();
    pass(&lists.env.x, 100).await;
    lists.down("pdxa");
    let started = lists.env.x.now();
    lists.start(&["atla", "pdxa"], 1).await;
    lists.read(180).await;
    let refused = |x: &SimulatorHandle| x.requests().iter().filter(|request| request.status == 503).count();
    lists.read_until("what is missing is announced", |env, gaps| refused(&env.x) > 3 && !gaps.are_over()).await;
    lists.up("pdxa");
    lists.verify("all to a list of which one is down").await;
    let (came, again) = lists.came("pdxa", stopped, started.plus(Duration::from_secs(150)));
    assert!(came > 200 && again * 10 > came * 8, "{came} posts, {again} not live");
}

/// Fault 10: a datacenter that is down from the start, over a restart of the gateway.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn datacenter_down_from_start_is_gap() {
    for restarted in [false, true] {
        let mut lists = Lists::new();
        lists.down("pdxa");
        let began = lists.env.x.now();
        lists.start(&["atla", "pdxa"], 1).await;
        let asked = lists.env.x.requests().iter().map(|request| UnixMillis(request.received_ms)).min();
        let asked = asked.expect("X was asked");
        let from = |gaps: &Gaps| gaps.last().iter().map(|gap| span(gap).from).min();
        // Only a whole second of X's clock is known.
        let is_announced =
            |_: &TestEnv, gaps: &Gaps| from(gaps).is_some_and(|from| from <= asked.plus(Duration::from_secs(1)));
        lists.read_until("what is missing from the start on is announced", is_announced).await;
        lists.read(300).await;
        if restarted {
            lists.stop().await;
            lists.start(&["atla", "pdxa"], 1).await;
            lists.read(60).await;
        }
        let came_up = lists.env.x.now();
        lists.up("pdxa");
        lists.verify(&format!("down from the start, restarted: {restarted}")).await;
        let (came, again) = lists.came("pdxa", began, came_up);
        assert!(came > 300 && again * 10 > came * 8, "{came} posts, {again} not live");
    }
}
