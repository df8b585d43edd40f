//! What an event costs the hub alone, in process, when one of very many sessions with narrow filters wants it.
//!
//! `cargo bench --bench hub` prints a table; nothing is asserted. One thread; events have no JSON to speak of, so that
//! what is measured is finding and waking the session, its pull and its token, and not the copying of a payload.
#![allow(clippy::print_stdout)]

use std::cell::Cell;
use std::collections::BTreeMap;
use std::rc::Rc;
use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::Bytes;
use powerstream_gateway::clock::Clock;
use powerstream_gateway::hub::filter::{Filter, FilterSpec};
use powerstream_gateway::hub::session::{DeliveryOptions, FrameContent, Session, SessionParams};
use powerstream_gateway::hub::start::{self, Start, StartPolicy};
use powerstream_gateway::hub::token::Keyring;
use powerstream_gateway::hub::{Config, Hub, HubParts, Metrics, ReadLimits, SessionInfo};
use powerstream_gateway::journal::{self, Backend, Maintenance, Writer, WriterIdentity};
use powerstream_gateway::model::{
    AccountName, Epoch, KeyFilter, Origin, Post, PostId, Record, RecordBody, Rule, Sequence, Term, UnixMillis,
};
use prometheus_client::registry::Registry;

/// The allocator of the gateway's program.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

const SESSIONS: [usize; 3] = [100, 1_000, 10_000];
/// Events published at once: as they come when it is quiet, and when it is busy.
const BATCHES: [usize; 2] = [1, 50];
const ROUNDS: usize = 9;
const EVENTS: usize = 20_000;
const TERM: Term = Term(1);

/// What the log keeps: little, for it is not what is measured.
const LOG_BYTES_MAX: u64 = 8 << 20;

/// A hub, its writer, and sessions that each want one tag.
struct World {
    hub: Arc<Hub>,
    writer: Box<dyn Writer>,
    maintenance: Box<dyn Maintenance>,
    sessions: usize,
    next: Sequence,
    /// Events that sessions got.
    got: Rc<Cell<usize>>,
    /// Sessions that wait at the tip.
    standing: Rc<Cell<usize>>,
}

impl World {
    fn new(sessions: usize) -> Self {
        let settings = journal::Config {
            backend: Backend::Memory,
            retention_bytes_max: LOG_BYTES_MAX,
            ..journal::Config::default()
        };
        let open = |epoch| journal::open_memory(&settings, WriterIdentity { epoch: Epoch(epoch), term: TERM });
        let (log, side) = (open(1), open(2));
        let parts = HubParts {
            account: AccountName::new("main").expect("a name"),
            config: Config::default(),
            tags: Vec::new(),
            clock: Clock::system(),
            reader: log.reader,
            side: side.reader,
            keyring: Arc::new(Keyring::from_bytes(&[1; 32])),
            metrics: Metrics::register(&mut Registry::default()),
        };
        let hub = Arc::new(Hub::new(parts, 1));
        let (got, standing) = (Rc::default(), Rc::default());
        Self { hub, writer: log.writer, maintenance: log.maintenance, sessions, next: 1, got, standing }
    }

    /// Opens the sessions, and lets each read for ever.
    async fn subscribe(&self) {
        for nth in 0..self.sessions {
            let mut subscription = self.open(nth);
            let (got, standing) = (self.got.clone(), self.standing.clone());
            tokio::task::spawn_local(async move {
                while let Ok(frame) = subscription.next().await {
                    match frame.content {
                        FrameContent::Batch(batch) => got.set(got.get() + batch.chunk.entries.len()),
                        FrameContent::CaughtUp(_) => standing.set(standing.get() + 1),
                        _ => {}
                    }
                }
            });
        }
        while self.standing.get() < self.sessions {
            tokio::task::yield_now().await;
        }
    }

    fn open(&self, nth: usize) -> Session {
        let any_of = vec![tag(nth)];
        let filter = Filter::new(&FilterSpec { any_of, ..FilterSpec::default() }).expect("a good filter");
        let hub = self.hub.clone();
        let info = SessionInfo {
            id: nth.to_string(),
            consumer: "bench".into(),
            peer: String::new(),
            since: UnixMillis::default(),
            ..SessionInfo::default()
        };
        let pace = DeliveryOptions {
            batch_events_max: 1_000,
            batch_bytes_max: 64 << 10,
            batch_delay_max: Duration::ZERO,
            heartbeat: Duration::from_secs(60),
            deadline: None,
        };
        let opening = SessionParams {
            guard: hub.register(info).expect("there is room"),
            member: hub.enter(filter).expect("there is room"),
            pace,
            resolved: start::resolve(&hub, &Start::Latest, StartPolicy::Fail, false).expect("the tip is there"),
            session_id: nth.to_string(),
            consumer: "bench".into(),
            warnings: Vec::new(),
            access: None,
        };
        Session::open(hub, opening)
    }

    fn records(&self, events: usize) -> Vec<Record> {
        let record = |sequence: Sequence| {
            // Neighbours in the log are for sessions far from each other.
            let nth = (sequence as usize).wrapping_mul(7_919) % self.sessions;
            let rules = [Rule { id: Some(nth as u64), tag: Some(tag(nth).into()) }].into();
            let (id, json) = (PostId(sequence << 22), Bytes::from_static(b"{}"));
            let post = Post {
                id,
                rules,
                origin: Origin::Live,
                gap: None,
                counterpart: None,
                counterpart_rules: None,
                previous: None,
                json,
            };
            Record { sequence, term: TERM, received: UnixMillis(1_700_000_000_000), body: RecordBody::Post(post) }
        };
        (self.next..self.next + events as u64).map(record).collect()
    }

    /// Fills the ring: from then on each event puts out another, as it does from a gateway's first minutes on.
    async fn warm(&mut self) {
        let one = ReadLimits { entries: 1, bytes: 1 };
        while self.hub.read_hot(1, &KeyFilter::Always, one).is_some() {
            self.play(BATCHES[1]).await;
        }
    }

    /// Nanoseconds per event: to publish it, and until the session that wants it has its frame.
    async fn play(&mut self, batch: usize) -> (f64, f64) {
        let (mut publishing, mut all) = (Duration::ZERO, Duration::ZERO);
        for _ in 0..EVENTS / batch {
            let records = self.records(batch);
            self.next += batch as u64;
            self.writer.append(&records).expect("in memory");
            let before = self.got.get();
            let began = Instant::now();
            self.hub.publish(records);
            publishing += began.elapsed();
            while self.got.get() < before + batch {
                tokio::task::yield_now().await;
            }
            all += began.elapsed();
        }
        self.maintenance.step(self.hub.clock().moment()).expect("in memory");
        let each = |took: Duration| took.as_secs_f64() * 1e9 / EVENTS as f64;
        (each(publishing), each(all))
    }
}

fn tag(nth: usize) -> String {
    format!("topic-{nth}")
}

fn median(values: &[f64]) -> f64 {
    let mut values = values.to_vec();
    values.sort_unstable_by(f64::total_cmp);
    values[values.len() / 2]
}

fn main() {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
    let local = tokio::task::LocalSet::new();
    let found = local.block_on(&runtime, measure());
    println!("{} profile, one thread, {ROUNDS} rounds of {EVENTS} events\n", profile());
    println!("| sessions, one tag each | events at once | publish and wake, ns per event | until the frame is there |");
    println!("|---|---|---|---|");
    for ((batch, sessions), rounds) in &found {
        let of = |pick: fn(&(f64, f64)) -> f64| {
            let values: Vec<f64> = rounds.iter().map(pick).collect();
            let least = values.iter().copied().fold(f64::INFINITY, f64::min);
            let most = values.iter().copied().fold(0.0, f64::max);
            format!("{:.0} ({least:.0}–{most:.0})", median(&values))
        };
        println!("| {sessions} | {batch} | {} | {} |", of(|it| it.0), of(|it| it.1));
    }
}

/// Numbers of sessions take turns, so that what changes on the machine changes for all.
async fn measure() -> BTreeMap<(usize, usize), Vec<(f64, f64)>> {
    let mut worlds = SESSIONS.map(World::new);
    for world in &worlds {
        world.subscribe().await;
    }
    for world in &mut worlds {
        world.warm().await;
    }
    let mut found = BTreeMap::<_, Vec<_>>::new();
    for _ in 0..ROUNDS {
        for batch in BATCHES {
            for world in &mut worlds {
                let took = world.play(batch).await;
                found.entry((batch, world.sessions)).or_default().push(took);
            }
        }
    }
    found
}

fn profile() -> &'static str {
    if cfg!(debug_assertions) { "dev: NO FIGURES" } else { "bench" }
}
