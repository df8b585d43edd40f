//! The gateway is killed or stopped again and again while it delivers.

use std::collections::{HashMap, HashSet};

use powerstream_gateway::clock::Clock;
use powerstream_gateway::grpc::REASON_TRAILER;
use powerstream_gateway::proto::{Event, StartOutcome, TagFilter};
use rand::rngs::StdRng;
use rand::{RngExt, SeedableRng};
use tonic::Status;

use crate::harness::oracle::{assert_exact, expected};
use crate::harness::process::Gateway;
use crate::harness::world::Client;
use crate::harness::{Subscriber, World, after, earliest, eventually, filters};

/// How often it is killed.
const KILLS: usize = 50;
/// How often it is stopped.
const STOPS: usize = 10;
/// Posts drawn per second; those that match a rule are sent.
const RATE: f64 = 500.0;
/// Seed of the moments of the kills.
const SEED: u64 = 50;

/// One consumer over all its sessions.
struct Lineage {
    filter: TagFilter,
    token: Option<String>,
    got: Vec<Event>,
    /// Epoch and term of each post.
    terms: Vec<(String, u64)>,
    /// How its last session ended, if it did and there was one.
    end: Option<Status>,
}

/// Where a post was shown: epoch, term, sequence.
type Place = (String, u64, u64);

impl Lineage {
    fn new(filter: TagFilter) -> Self {
        Self { filter, token: None, got: Vec::new(), terms: Vec::new(), end: None }
    }

    fn places(&self) -> impl Iterator<Item = (Place, &Event)> {
        let place = |((epoch, term), event): (&(String, u64), &Event)| (epoch.clone(), *term, event.sequence);
        self.terms.iter().zip(&self.got).map(move |both| (place(both), both.1))
    }

    /// Reads until `done`, or the gateway dies, or even before the session begins.
    async fn read(mut self, mut client: Client, done: impl Fn(&Subscriber) -> bool) -> Self {
        self.end = None;
        let request = match &self.token {
            Some(token) => after(token, &self.filter),
            None => earliest(&self.filter),
        };
        let Ok(mut session) = Subscriber::open(&mut client, request).await else { return self };
        assert_eq!(session.start.outcome(), StartOutcome::Exact, "nothing that was exposed is lost");
        while !done(&session) && session.read().await {}
        self.token = Some(session.token().to_owned());
        self.terms.extend(session.terms.iter().map(|term| (session.start.epoch.clone(), *term)));
        self.got.append(&mut session.got);
        self.end = session.end;
        self
    }
}

/// Waits until upstream has sent so many more posts.
async fn more_posts(world: &World, count: u64) {
    let until = world.x.truth_len() + count;
    eventually("posts go on", async || world.x.truth_len() >= until).await;
}

/// How the process is ended.
#[derive(Clone, Copy, PartialEq, Eq)]
enum By {
    Kill,
    Stop,
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn killed_50_times_no_exposed_record_is_lost_or_changes() {
    over_ends(KILLS, By::Kill).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn stopped_10_times_no_exposed_record_is_lost_or_changes_and_all_are_told() {
    over_ends(STOPS, By::Stop).await;
}

async fn over_ends(times: usize, by: By) {
    let tune = |settings: &mut powerstream_gateway::config::Settings| {
        // X may hold the slot of the dead one for a moment.
        settings.upstream.rate_limit_backoff_step = std::time::Duration::from_millis(100);
    };
    let world = World::without_gateway(Clock::system(), |config| config.rate = RATE, tune);
    let mut rng = StdRng::seed_from_u64(SEED);
    let mut lineages: Vec<_> =
        [filters::all(), filters::any(&["cats"]), filters::any_but(&["*"], &["links"])].map(Lineage::new).into();
    let mut told = 0;
    for _ in 0..times {
        let gateway = Gateway::start(&world.settings, world.dir()).await;
        let mut reading = Vec::new();
        for lineage in lineages.drain(..) {
            reading.push(tokio::spawn(lineage.read(gateway.client().await, |_| false)));
        }
        more_posts(&world, rng.random_range(1..100)).await;
        end(gateway, by).await;
        for lineage in reading {
            let lineage = lineage.await.expect("no rule of sessions was broken");
            told += lineage.end.iter().filter(|end| end.metadata().contains_key(REASON_TRAILER)).count();
            lineages.push(lineage);
        }
    }
    match by {
        By::Kill => assert_eq!(told, 0, "the dead say nothing"),
        By::Stop => assert!(told > 2 * times, "those that had a session are told: {told}"),
    }
    let gateway = Gateway::start(&world.settings, world.dir()).await;
    world.connected().await;
    more_posts(&world, 10).await;
    world.x.pause();
    let mut caught_up = Vec::new();
    for lineage in lineages {
        caught_up.push(lineage.read(gateway.client().await, at_rest).await);
    }
    let whole = Lineage::new(filters::all()).read(gateway.client().await, at_rest).await;
    judge(&world, &whole, &caught_up, times);
}

async fn end(mut gateway: Gateway, by: By) {
    if by == By::Kill {
        return gateway.kill().await;
    }
    gateway.terminate();
    assert_eq!(gateway.exited().await.code(), Some(0), "{}", gateway.log());
}

/// At the tip, and a heartbeat says that nothing came since.
fn at_rest(session: &Subscriber) -> bool {
    let beats = session.heartbeats.len();
    beats >= 2 && session.heartbeats[beats - 1].delivered_total == session.heartbeats[beats - 2].delivered_total
}

fn judge(world: &World, whole: &Lineage, lineages: &[Lineage], ends: usize) {
    let truth = world.x.truth();
    let held: HashSet<u64> = whole.got.iter().map(|event| event.post_id).collect();
    assert_eq!(held.len(), whole.got.len(), "no post stands at two places");
    assert_exact("the whole log", &truth, &whole.got);

    let places: HashMap<Place, &Event> = whole.places().collect();
    for lineage in lineages {
        for (place, event) in lineage.places() {
            assert_eq!(places.get(&place), Some(&event), "{place:?} shows another record");
        }
        assert_exact("a consumer over all kills", &expected(&truth, &lineage.filter), &lineage.got);
    }
    let terms: HashSet<_> = whole.terms.iter().collect();
    assert!(terms.len() > ends / 2, "most of the {} terms delivered something", terms.len());
    assert_eq!(world.x.connections().live_max_ever, 1);
    assert!(truth.len() > 20 * ends, "{} posts", truth.len());
}
