//! The way in: from the bytes of a stream to the journal and the hub, on one core.
//!
//! `cargo bench --bench ingest [-- POSTS]` prints a table; nothing is judged here. Each row is the median of its rounds,
//! by processor time. The whole is the gateway's own session, queue, sequencer, ids, journal (`os`) and hub, put together
//! as `app` does it; only X and the network are left out.
#![allow(clippy::print_stdout)]

mod posts;

use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::Bytes;
use futures::future::BoxFuture;
use futures::stream::BoxStream;
use futures::{FutureExt, StreamExt};
use parking_lot::Mutex;
use posts::{Numbers, json};
use powerstream_gateway::clock::Clock;
use powerstream_gateway::hub::token::Keyring;
use powerstream_gateway::hub::upstream::State;
use powerstream_gateway::hub::{self, Hub};
use powerstream_gateway::ingest::ledger::{self, Ledger};
use powerstream_gateway::ingest::{self, Place, Sequencer, Session, Writing, dedup, side};
use powerstream_gateway::journal::{self, Identity};
use powerstream_gateway::model::{AccountName, Epoch, PostId, Term};
use powerstream_gateway::secret::Source;
use powerstream_gateway::task::Shutdown;
use powerstream_gateway::upstream::framing::{DEPTH_MAX, Framed, Framer};
use powerstream_gateway::upstream::{self, Message};
use powerstream_gateway::xapi::{BodyError, Credentials, Error, Headers, Response, StreamRequest, Transport};
use prometheus_client::registry::Registry;
use rustix::thread::{CpuSet, sched_getaffinity, sched_setaffinity};
use rustix::time::{ClockId, clock_gettime};

/// The allocator of the gateway's program.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

/// Posts of 200 rules, as the other benchmarks have them.
const RULES: u64 = 200;
const ROUNDS: usize = 5;

fn main() {
    // `cargo test --benches` runs this too, with another flag: a few posts are enough to see that it works.
    let whole = std::env::args().any(|argument| argument == "--bench");
    let asked = std::env::args().skip(1).find_map(|argument| argument.parse().ok());
    let count = asked.unwrap_or(if whole { 100_000 } else { 300 });
    let rounds = if whole { ROUNDS } else { 1 };
    let core = pin();
    let wire = Wire::new(count);
    println!("{count} posts of {} bytes on core {core}", wire.bytes.len() as u64 / count);
    println!("{:<34} {:>10} {:>12} {:>10}", "", "posts/s", "CPU µs/post", "per batch");
    let kinds = [
        ("a post at a time", wire.by_post(), Handing::Slowly),
        ("a post each", wire.by_post(), Handing::AtOnce),
        ("16 KiB", wire.by_size(16 << 10), Handing::AtOnce),
        ("64 KiB", wire.by_size(64 << 10), Handing::AtOnce),
    ];
    for (name, pieces, handing) in &kinds {
        let row = |stage: &str, measure: &mut dyn FnMut() -> Run| {
            let mut runs: Vec<Run> = (0..rounds).map(|_| measure()).collect();
            runs.sort_by_key(|run| run.cpu);
            runs[runs.len() / 2].print(&format!("{stage}, {name}"), count);
        };
        if matches!(handing, Handing::AtOnce) {
            row("framing", &mut || frame(pieces, count, &|_| true));
            row("framing + classify", &mut || frame(pieces, count, &is_post));
        }
        row("whole", &mut || World::new().run(pieces.clone(), *handing, count));
    }
}

/// Keeps this thread, and those that it starts, on one core.
fn pin() -> usize {
    let allowed = sched_getaffinity(None).unwrap_or_default();
    let core = (0..CpuSet::MAX_CPU).rfind(|core| allowed.is_set(*core)).unwrap_or(0);
    let mut set = CpuSet::new();
    set.set(core);
    sched_setaffinity(None, &set).expect("a core that is allowed");
    core
}

/// What X sends: one post per line.
struct Wire {
    bytes: Bytes,
    /// Where each line ends.
    ends: Vec<usize>,
}

impl Wire {
    fn new(count: u64) -> Self {
        let mut numbers = Numbers(0x9E37_79B9_7F4A_7C15);
        let first = PostId::lowest_at(Clock::system().now()).0;
        let (mut bytes, mut ends) = (Vec::new(), Vec::new());
        for n in 0..count {
            // 128 in a millisecond.
            let post = json(&mut numbers, first + (n << 15));
            let rule = numbers.below(RULES);
            let id = 1_600_000_000_000_000_000 + rule;
            bytes.extend_from_slice(&post.as_bytes()[..post.len() - 1]);
            let rules = format!(r#","matching_rules":[{{"tag":"topic-{rule}","id":{id},"id_str":"{id}"}}]}}"#);
            bytes.extend_from_slice(rules.as_bytes());
            bytes.extend_from_slice(b"\r\n");
            ends.push(bytes.len());
        }
        Self { bytes: bytes.into(), ends }
    }

    /// As HTTP chunks bring it.
    fn by_post(&self) -> Arc<[Bytes]> {
        let starts = std::iter::once(0).chain(self.ends.iter().copied());
        starts.zip(&self.ends).map(|(from, to)| self.bytes.slice(from..*to)).collect()
    }

    fn by_size(&self, size: usize) -> Arc<[Bytes]> {
        let starts = (0..self.bytes.len()).step_by(size);
        starts.map(|from| self.bytes.slice(from..(from + size).min(self.bytes.len()))).collect()
    }
}

/// What a round took.
struct Run {
    wall: Duration,
    cpu: Duration,
    /// Posts of a batch of the journal.
    batch: Option<f64>,
}

impl Run {
    fn of(work: impl FnOnce()) -> Self {
        let (started, before) = (Instant::now(), cpu());
        work();
        Self { wall: started.elapsed(), cpu: cpu().saturating_sub(before), batch: None }
    }

    fn print(&self, name: &str, count: u64) {
        let (rate, each) = (count as f64 / self.wall.as_secs_f64(), self.cpu.as_secs_f64() * 1e6 / count as f64);
        let batch = self.batch.map(|batch| format!("{batch:.0}")).unwrap_or_default();
        println!("{name:<34} {rate:>10.0} {each:>12.2} {batch:>10}");
    }
}

/// Processor time of this process.
fn cpu() -> Duration {
    let time = clock_gettime(ClockId::ProcessCPUTime);
    Duration::new(time.tv_sec as u64, time.tv_nsec as u32)
}

fn frame(pieces: &[Bytes], count: u64, wanted: &dyn Fn(Bytes) -> bool) -> Run {
    let mut found = 0;
    let run = Run::of(|| {
        let mut framer = Framer::new(1 << 20, DEPTH_MAX);
        for piece in pieces {
            framer.push(piece.clone());
            while let Some(framed) = framer.next() {
                let Framed::Value(value) = framed else { panic!("{framed:?}") };
                found += u64::from(wanted(value));
            }
        }
    });
    assert_eq!(found, count);
    run
}

fn is_post(value: Bytes) -> bool {
    matches!(Message::classify(value), Message::Post(_))
}

/// How pieces are handed over.
#[derive(Clone, Copy)]
enum Handing {
    /// All are ready.
    AtOnce,
    /// After each one the next is not ready yet, as hyper does it: the reader gets every post alone.
    Slowly,
}

/// Answers once, with a body that ends.
struct Fed(Mutex<Option<BoxStream<'static, Result<Bytes, BodyError>>>>);

impl Transport for Fed {
    fn connect<'a>(&'a self, _: &'a StreamRequest) -> BoxFuture<'a, Result<Response, Error>> {
        match self.0.lock().take() {
            Some(body) => std::future::ready(Ok(Response { status: 200, headers: Headers::default(), body })).boxed(),
            None => std::future::pending().boxed(),
        }
    }
}

fn body(pieces: Arc<[Bytes]>, handing: Handing) -> BoxStream<'static, Result<Bytes, BodyError>> {
    let body = futures::stream::iter((0..pieces.len()).map(move |at| Ok(pieces[at].clone())));
    match handing {
        Handing::AtOnce => body.boxed(),
        Handing::Slowly => body.then(|piece| tokio::task::yield_now().map(|()| piece)).boxed(),
    }
}

/// An account with a log of its own, as `app` opens it.
struct World {
    runtime: tokio::runtime::Runtime,
    hub: Arc<Hub>,
    ledger: Arc<Ledger>,
    queue: ingest::Queue,
    sequencer: Sequencer,
    metrics: ingest::Metrics,
    dir: tempfile::TempDir,
}

impl World {
    fn new() -> Self {
        let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build();
        let runtime = runtime.expect("a runtime");
        let (clock, dir) = (Clock::system(), tempfile::tempdir().expect("a directory"));
        let account = AccountName::new("main").expect("a name");
        let config = journal::Config::default();
        let identity = Identity { epoch: Epoch(1), term: Term(1) };
        let log = journal::open_embedded(&config, dir.path(), identity, clock.now()).expect("a fresh directory");
        let registry = &mut Registry::default();
        let mut settings = ingest::Config::default();
        // Nothing was missed: what comes is live.
        settings.gaps.first_backfill_minutes = 0;
        let side = side::open(&side::Setup {
            account: &account,
            main: &*log.reader,
            dir: dir.path(),
            journal: &config,
            ids: &settings.dedup,
            bytes_max: settings.side_bytes_max,
            window: Duration::from_secs(24 * 3_600),
            identity: Identity { epoch: Epoch(2), ..identity },
            now: clock.now(),
        });
        let side = side.expect("a fresh directory");
        let hub = Arc::new(new_hub(account, &clock, log.reader, side.reader, registry));
        let ids = ids(dir.path(), &settings.dedup, &clock, registry);
        let ledger = Arc::new(new_ledger(&hub, &settings, registry));
        let (queue, intakes) = ingest::queue(settings.queue_bytes_max);
        let metrics = ingest::Metrics::default();
        let writing = Writing {
            writer: log.writer,
            hub: hub.clone(),
            seen: ids.seen,
            side: side.writer,
            ledger: ledger.clone(),
            term: identity.term,
            metrics: metrics.clone(),
        };
        let sequencer = Sequencer::new(writing, intakes, runtime.handle().clone(), clock, settings);
        Self { runtime, hub, ledger, queue, sequencer, metrics, dir }
    }

    fn session(&self, pieces: Arc<[Bytes]>, handing: Handing) -> Session {
        let bearer = self.dir.path().join("bearer");
        std::fs::write(&bearer, "bearer-of-benchmark").expect("written");
        let upstream = ingest::Upstream {
            transport: Arc::new(Fed(Mutex::new(Some(body(pieces, handing))))),
            base_url: "https://api.x.com".parse().expect("a URL"),
            credentials: Credentials::new(Source::File(bearer)),
            local_dc_only: false,
            config: upstream::Config::default(),
            metrics: upstream::Metrics::default(),
        };
        let place = Place { lane: 0, connection: 0 };
        let (hub, ledger, queue) = (self.hub.clone(), self.ledger.clone(), self.queue.clone());
        Session::new(hub, upstream, place, ledger, queue, self.metrics.clone(), 1)
    }

    fn run(self, pieces: Arc<[Bytes]>, handing: Handing, count: u64) -> Run {
        let session = self.session(pieces, handing);
        let Self { runtime, hub, ledger, queue, sequencer, metrics, dir } = self;
        drop(ledger);
        let writing = std::thread::spawn(move || sequencer.run(&Shutdown::new()));
        let stopping = Shutdown::new();
        let mut run = Run::of(|| {
            let reading = runtime.spawn(session.run(stopping.clone()));
            runtime.block_on(async {
                let mut status = hub.upstream().watch();
                // The stream has ended, and all of it is in the queue.
                status.wait_for(|status| status.state == State::BackingOff).await.expect("the hub is there");
                assert!(queue.flush().await);
            });
            stopping.cancel();
            runtime.block_on(reading).expect("no panic");
        });
        drop(queue);
        writing.join().expect("no panic").expect("no damage");
        assert_eq!(metrics.posts_appended.get(), count);
        assert!(hub.next() > count);
        run.batch = Some(count as f64 / metrics.appends.get() as f64);
        drop(dir);
        run
    }
}

fn new_hub(
    account: AccountName,
    clock: &Clock,
    reader: Arc<dyn journal::Reader>,
    side: Arc<dyn journal::Reader>,
    registry: &mut Registry,
) -> Hub {
    let parts = hub::Parts {
        account,
        config: hub::Config::default(),
        tags: Vec::new(),
        clock: clock.clone(),
        reader,
        side,
        keyring: Arc::new(Keyring::from_bytes(&[1; 32])),
        metrics: hub::Metrics::register(registry),
    };
    Hub::new(parts, 1)
}

fn ids(dir: &Path, config: &dedup::Config, clock: &Clock, registry: &mut Registry) -> dedup::Dedup {
    let metrics = dedup::Metrics::register(registry);
    dedup::open(Some(&dir.join("ids")), config, Epoch(1), clock.now(), metrics).expect("a fresh directory")
}

fn new_ledger(hub: &Arc<Hub>, settings: &ingest::Config, registry: &mut Registry) -> Ledger {
    let setup = ledger::Setup {
        hub: hub.clone(),
        config: settings.gaps.clone(),
        recovery_window: hub.config().recovery_window,
        lanes: 1,
        file: None,
        metrics: ledger::Metrics::register(registry),
    };
    Ledger::open(setup, Vec::new(), None)
}
