//! A gateway in this process, over a log that was made before it started.

use std::net::SocketAddr;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use powerstream_gateway::app::App;
use powerstream_gateway::clock::Clock;
use powerstream_gateway::clock::Moment;
use powerstream_gateway::config::{AccountSettings, Settings};
use powerstream_gateway::hub::filter::{Filter, FilterSpec};
use powerstream_gateway::hub::session::{DeliveryOptions, FrameContent, Session as Subscription, SessionParams};
use powerstream_gateway::hub::start::{self, Start, StartPolicy};
use powerstream_gateway::hub::{Hub, ReadLimits, SessionInfo};
use powerstream_gateway::journal::{self, Journal, WriterIdentity};
use powerstream_gateway::model::{
    AccountName, Epoch, KeyFilter, Origin, Post, PostId, Record, RecordBody, Rule, Sequence, Term, UnixMillis,
};
use powerstream_gateway::secret;
use tempfile::TempDir;

use crate::log_ranges::Parts;
use crate::posts::{Numbers, json};

/// Posts of an append, as of a busy stream.
const APPENDED: usize = 50;
/// Segments of the part that is recompressed.
const SEGMENTS: u64 = 10;
const ENTRY_BYTES: usize = 3_100;
/// Batches of the sessions in this process, as of clients that ask for nothing else.
const BATCH_EVENTS_MAX: usize = 1_000;
const BATCH_BYTES_MAX: usize = 64 << 10;

/// The gateway.
pub struct World {
    /// What it runs on.
    pub runtime: tokio::runtime::Runtime,
    /// The log of its account.
    pub hub: Arc<Hub>,
    /// Where what lies.
    pub parts: Parts,
    app: App,
    _dir: TempDir,
}

impl World {
    /// Makes a log of so many posts: half of them recompressed, some of the rest in the ring.
    pub fn new(count: u64) -> Self {
        let dir = TempDir::new().expect("a directory");
        write_log(&dir.path().join("data/accounts/main"), count);
        let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build().expect("a runtime");
        let app = runtime.block_on(App::start(settings(dir.path(), count))).expect("the gateway starts");
        let hub = app.gateway().account("main").expect("configured").hub.clone();
        let one = ReadLimits { entries: 1, bytes: usize::MAX };
        let hot = |from: &Sequence| hub.read_hot(*from, &KeyFilter::Always, one).is_some();
        let ring = (1..=count).find(hot).expect("the ring holds the newest");
        assert!(ring > count / 2, "what is to be read from the journal is not in the ring");
        // The oldest of the ring go while rows are measured, if records are appended meanwhile.
        let parts = Parts { packed: 1..count / 2, fresh: count / 2..ring, ring: ring + 1_000..count };
        Self { runtime, hub, parts, app, _dir: dir }
    }

    /// Where it listens.
    pub fn address(&self) -> SocketAddr {
        self.app.grpc_address()
    }

    /// A token just before this record.
    pub fn token(&self, from: Sequence) -> String {
        self.hub.token_before(from, self.hub.tip_received().unwrap_or_default())
    }
}

/// A session whose frames stay in this process.
pub struct Session(Subscription);

impl Session {
    /// Opens one just before this record.
    pub fn open(world: &World, from: Sequence) -> Self {
        let hub = &world.hub;
        let start = Start::Token(world.token(from));
        let info = SessionInfo {
            id: "s".into(),
            consumer: "bench".into(),
            peer: String::new(),
            since: hub.clock().now(),
            ..SessionInfo::default()
        };
        let opening = SessionParams {
            guard: hub.register(info).expect("there is room"),
            member: hub
                .enter(Filter::new(&FilterSpec::default()).expect("everything is a filter"))
                .expect("there is room"),
            pace: DeliveryOptions {
                batch_events_max: BATCH_EVENTS_MAX,
                batch_bytes_max: BATCH_BYTES_MAX,
                batch_delay_max: Duration::ZERO,
                heartbeat: Duration::from_secs(10),
                deadline: None,
            },
            resolved: start::resolve(hub, &start, StartPolicy::Fail, true).expect("the log holds it"),
            session_id: "s".into(),
            consumer: "bench".into(),
            warnings: Vec::new(),
            access: None,
        };
        Self(Subscription::open(hub.clone(), opening))
    }

    /// Reads until at least so many posts have arrived. Returns how many.
    pub async fn read(mut self, posts: u64) -> u64 {
        let mut read = 0;
        while read < posts {
            if let FrameContent::Batch(batch) = self.0.next().await.expect("the session continues").content {
                read += batch.chunk.entries.len() as u64;
            }
        }
        read
    }
}

fn settings(dir: &Path, count: u64) -> Settings {
    let bearer = dir.join("bearer");
    std::fs::write(&bearer, "bench").expect("the directory is ours");
    let mut account =
        AccountSettings::new(AccountName::new("main").expect("a name"), secret::SecretSource::File(bearer));
    // Nothing listens there: it stays without an upstream.
    account.url = "http://127.0.0.1:9/".parse().expect("a URL");
    let mut settings = Settings { data_dir: dir.join("data"), accounts: vec![account], ..Settings::default() };
    settings.grpc.address = "127.0.0.1:0".parse().expect("an address");
    settings.admin.address = settings.grpc.address;
    settings.hub.ring_bytes_max = count as usize / 4 * ENTRY_BYTES;
    settings.journal = journal_settings();
    settings
}

/// Segments so long that what is fresh stays so: maintenance continues while rows are measured.
fn journal_settings() -> journal::Config {
    journal::Config { segment_bytes_max: 1 << 30, ..journal::Config::default() }
}

fn write_log(dir: &Path, count: u64) {
    let now = Clock::system().now();
    let first_received = now.minus(Duration::from_millis(count));
    let identity = WriterIdentity { epoch: Epoch(1), term: Term(1) };
    let mut journal = journal::open_embedded(&journal_settings(), dir, identity, now).expect("a fresh directory");
    let mut posts = Posts::new(first_received);
    let packed = count / 2 / SEGMENTS * SEGMENTS;
    for _ in 0..SEGMENTS {
        append(&mut journal, &mut posts, packed / SEGMENTS);
        settle(&mut journal);
    }
    append(&mut journal, &mut posts, count - packed);
}

fn append(journal: &mut Journal, posts: &mut Posts, count: u64) {
    let mut left = count as usize;
    while left > 0 {
        let batch: Vec<Record> = posts.by_ref().take(left.min(APPENDED)).collect();
        journal.writer.append(&batch).expect("there is room");
        left -= batch.len();
    }
}

/// Seals what was appended, as if it were older, and recompresses it.
fn settle(journal: &mut Journal) {
    journal.maintenance.step(Moment::ZERO).expect("a step");
    let later = Moment::ZERO.plus(Duration::from_secs(7_200));
    while journal.maintenance.step(later).expect("a step").recompressed == 0 {}
}

/// Posts of 200 rules, received one each millisecond.
struct Posts {
    numbers: Numbers,
    sets: Vec<Arc<[Rule]>>,
    first_received: UnixMillis,
    next: Sequence,
}

impl Posts {
    fn new(first_received: UnixMillis) -> Self {
        let rule = |n: u64| Rule { id: Some(1_600_000_000_000_000_000 + n), tag: Some(format!("topic-{n}").into()) };
        let sets = (0..200).map(|n| [rule(n)].into()).collect();
        Self { numbers: Numbers(0x9E37_79B9_7F4A_7C15), sets, first_received, next: 1 }
    }
}

impl Iterator for Posts {
    type Item = Record;

    fn next(&mut self) -> Option<Record> {
        let sequence = self.next;
        self.next += 1;
        let id = (sequence * 37) << 22;
        let json = Bytes::from(json(&mut self.numbers, id));
        let rules = self.sets[self.numbers.below(200) as usize].clone();
        let post = Post {
            id: PostId(id),
            rules,
            origin: Origin::Live,
            gap: None,
            counterpart: None,
            counterpart_rules: None,
            previous: None,
            json,
        };
        let received = self.first_received.plus(Duration::from_millis(sequence));
        Some(Record { sequence, term: Term(1), received, body: RecordBody::Post(post) })
    }
}
