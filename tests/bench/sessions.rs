//! What subscribers cost: 10,000 idle ones with narrow filters, and a stalled one beside a hundred that read.
//!
//! `cargo bench --bench sessions`. The gateway is a process of its own (the binary of the same profile), fed over HTTP by
//! the simulator in this process; clients are tonic's. Figures are of the gateway's process unless said otherwise.
#![allow(clippy::print_stdout)]

use std::collections::HashMap;
use std::net::TcpListener;
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::time::{Duration, Instant};

use parking_lot::Mutex;
use powerstream_gateway::clock::Clock;
use powerstream_gateway::proto::stream_service_client::StreamServiceClient;
use powerstream_gateway::proto::subscribe_response::Frame;
use powerstream_gateway::proto::{SubscribeRequest, SubscribeResponse, TagFilter};
use powerstream_gateway::simulator::{Config, Simulator, SimulatorHandle};
use powerstream_gateway::task::TaskGroup;
use tokio::task::JoinSet;
use tonic::transport::{Channel, Endpoint};

/// Subscribers of the first part.
const IDLE: usize = 10_000;
/// Events that each match one of them.
const EVENTS: usize = 1_000;
/// Streams that share a connection in the second row of the first part.
const STREAMS_PER_CONNECTION: usize = 100;
/// Subscribers that read, of the second part.
const FAST: usize = 100;
/// Rounds of the second part, each without and with a stalled subscriber.
const ROUNDS: usize = 7;
/// Posts of a half of a round, and how many a second.
const POSTS: usize = 1_500;
const POSTS_PER_SECOND: u64 = 500;

#[tokio::main]
async fn main() {
    println!("{} cores, {} profile\n", cores(), if cfg!(debug_assertions) { "dev" } else { "release" });
    println!("| {IDLE} idle subscribers | memory each | time to subscribe all | wakes per matching event |");
    println!("|---|---|---|---|");
    idle("one connection each", 1).await;
    idle("100 streams per connection", STREAMS_PER_CONNECTION).await;
    println!();
    stalled().await;
}

fn cores() -> usize {
    std::thread::available_parallelism().map_or(1, usize::from)
}

/// A gateway process, and the simulator that feeds it.
struct World {
    gateway: Child,
    grpc: String,
    admin: String,
    simulator: SimulatorHandle,
    _dir: tempfile::TempDir,
    _tasks: TaskGroup,
}

impl World {
    async fn start() -> Self {
        let (clock, tasks) = (Clock::system(), TaskGroup::new());
        let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
        let simulator = Simulator::start(Config::default(), listener, clock, &tasks).expect("it starts");
        simulator.pause();
        let dir = tempfile::tempdir().expect("a directory");
        let [grpc, admin] = [free_port(), free_port()].map(|port| format!("127.0.0.1:{port}"));
        std::fs::write(dir.path().join("bearer"), "bench").expect("written");
        let config = format!(
            "data_dir: {dir}/data\ngrpc: {{ address: '{grpc}' }}\nadmin: {{ address: '{admin}' }}\n\
             telemetry: {{ log_filter: warn }}\n\
             accounts: [{{ name: main, bearer: {{ file: {dir}/bearer }}, url: '{}' }}]\n",
            simulator.base_url(),
            dir = dir.path().display(),
        );
        let file = dir.path().join("gateway.yaml");
        std::fs::write(&file, config).expect("written");
        let gateway = Command::new(env!("CARGO_BIN_EXE_powerstream-gateway"))
            .args(["serve", "--config"])
            .arg(&file)
            .stdout(Stdio::null())
            .spawn()
            .expect("the gateway starts");
        let world = Self { gateway, grpc, admin, simulator, _dir: dir, _tasks: tasks };
        wait("the gateway is connected", || world.simulator.connections().live == 1).await;
        world
    }

    async fn channel(&self) -> Channel {
        let endpoint = Endpoint::from_shared(format!("http://{}", self.grpc)).expect("a URL");
        endpoint.connect().await.expect("the gateway listens")
    }

    fn rss(&self) -> u64 {
        let status = std::fs::read_to_string(format!("/proc/{}/status", self.gateway.id())).expect("it runs");
        let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).expect("a line of that name");
        line.trim().trim_end_matches(" kB").parse::<u64>().expect("a number") << 10
    }

    fn counter(&self, name: &str) -> f64 {
        use std::io::{Read, Write};
        let mut stream = std::net::TcpStream::connect(&self.admin).expect("the admin port");
        stream.write_all(b"GET /metrics HTTP/1.1\r\nhost: bench\r\n\r\n").expect("written");
        let mut text = String::new();
        stream.read_to_string(&mut text).expect("read");
        let name = format!("powerstream_gateway_{name}{{");
        let line = text.lines().find(|line| line.starts_with(&name)).expect("a metric of that name");
        line.rsplit(' ').next().expect("a value").parse().expect("a number")
    }

    /// Publishes a post with this tag; gives its id.
    fn publish(&self, tag: &str) -> u64 {
        let text = "a post about nothing much, again and again ".repeat(60);
        let post = format!(r#"{{"text":"{text}","matching_rules":[{{"tag":"{tag}","id":1,"id_str":"1"}}]}}"#);
        self.simulator.publish(&post).expect("a post").post_id.0
    }
}

impl Drop for World {
    fn drop(&mut self) {
        self.gateway.kill().ok();
        self.gateway.wait().ok();
    }
}

fn free_port() -> u16 {
    TcpListener::bind("127.0.0.1:0").and_then(|listener| listener.local_addr()).expect("a port").port()
}

#[expect(clippy::disallowed_methods, reason = "a benchmark waits on the real clock")]
async fn pause(duration: Duration) {
    tokio::time::sleep(duration).await;
}

async fn wait(what: &str, condition: impl Fn() -> bool) {
    let deadline = Instant::now() + Duration::from_secs(60);
    while !condition() {
        assert!(Instant::now() < deadline, "waited a minute until {what}");
        pause(Duration::from_millis(10)).await;
    }
}

type Frames = tonic::Streaming<SubscribeResponse>;

/// Subscribes to one tag and reads up to `CaughtUp`.
async fn subscribe(channel: Channel, tag: String) -> Frames {
    let request = SubscribeRequest {
        filter: Some(TagFilter { any_of: vec![tag], ..TagFilter::default() }),
        heartbeat_interval: Some(prost_types::Duration { seconds: 60, nanos: 0 }),
        ..SubscribeRequest::default()
    };
    let response = StreamServiceClient::new(channel).subscribe(request).await.expect("subscribed");
    let mut frames = response.into_inner();
    loop {
        let frame = frames.message().await.expect("it goes on").expect("it goes on");
        if matches!(frame.frame, Some(Frame::CaughtUp(_))) {
            return frames;
        }
    }
}

async fn idle(name: &str, streams_per_connection: usize) {
    let world = Arc::new(World::start().await);
    let before = world.rss();
    let began = Instant::now();
    let mut opening = JoinSet::new();
    let mut frames = Vec::with_capacity(IDLE);
    for first in (0..IDLE).step_by(streams_per_connection) {
        while opening.len() >= 64 {
            frames.extend(opening.join_next().await.expect("some").expect("no panic"));
        }
        let world = world.clone();
        opening.spawn(async move {
            let channel = world.channel().await;
            let mut all = Vec::new();
            for at in first..first + streams_per_connection {
                all.push(subscribe(channel.clone(), format!("tag-{at}")).await);
            }
            all
        });
    }
    while let Some(opened) = opening.join_next().await {
        frames.extend(opened.expect("no panic"));
    }
    let took = began.elapsed();
    assert_eq!(frames.len(), IDLE);
    pause(Duration::from_secs(2)).await;
    let each = (world.rss() - before) / IDLE as u64;
    let wakes = world.counter("session_wakeups_total");
    for event in 0..EVENTS {
        world.publish(&format!("tag-{}", event * (IDLE / EVENTS)));
    }
    let appended = || world.counter("posts_appended_total");
    wait("all is appended", || appended() >= EVENTS as f64).await;
    let per_event = (world.counter("session_wakeups_total") - wakes) / EVENTS as f64;
    println!("| {name} | {:.1} KB | {:.2} s | {per_event:.2} |", each as f64 / 1024.0, took.as_secs_f64());
}

/// Latencies of all deliveries of a half of a round, from the simulator's publish to the client, ascending.
async fn half_round(world: &World, published: &Arc<Mutex<HashMap<u64, Instant>>>, readers: &Readers) -> Vec<Duration> {
    readers.latencies.lock().clear();
    let began = Instant::now();
    for at in 0..POSTS {
        let due = began + Duration::from_micros(1_000_000 * at as u64 / POSTS_PER_SECOND);
        pause(due.saturating_duration_since(Instant::now())).await;
        let now = Instant::now();
        let id = world.publish("fast");
        published.lock().insert(id, now);
    }
    wait("all is delivered", || readers.latencies.lock().len() >= POSTS * FAST).await;
    let mut latencies = std::mem::take(&mut *readers.latencies.lock());
    latencies.sort_unstable();
    latencies
}

struct Readers {
    latencies: Arc<Mutex<Vec<Duration>>>,
    _tasks: JoinSet<()>,
}

async fn readers(world: &World, published: &Arc<Mutex<HashMap<u64, Instant>>>) -> Readers {
    let latencies = Arc::new(Mutex::new(Vec::new()));
    let mut tasks = JoinSet::new();
    for _ in 0..FAST {
        let mut frames = subscribe(world.channel().await, "fast".into()).await;
        let (latencies, published) = (latencies.clone(), published.clone());
        tasks.spawn(async move {
            while let Ok(Some(frame)) = frames.message().await {
                let Some(Frame::EventBatch(batch)) = frame.frame else { continue };
                let now = Instant::now();
                for event in batch.events {
                    // Known a moment after it is sent, so the first deliveries may have to look twice.
                    let at = loop {
                        if let Some(at) = published.lock().get(&event.post_id) {
                            break *at;
                        }
                        tokio::task::yield_now().await;
                    };
                    latencies.lock().push(now.saturating_duration_since(at));
                }
            }
        });
    }
    Readers { latencies, _tasks: tasks }
}

async fn stalled() {
    let world = World::start().await;
    let published = Arc::new(Mutex::new(HashMap::new()));
    let readers = readers(&world, &published).await;
    half_round(&world, &published, &readers).await;
    let mut rows = [Vec::new(), Vec::new()];
    let mut rss = [0, 0];
    for _ in 0..ROUNDS {
        for with in [0, 1] {
            // It asks for everything and never reads: its HTTP/2 stack answers pings, its window fills.
            let channel = world.channel().await;
            let idle = if with == 1 { Some(subscribe(channel, "fast".into()).await) } else { None };
            let latencies = half_round(&world, &published, &readers).await;
            rows[with].push(latencies[latencies.len() * 99 / 100]);
            rss[with] = rss[with].max(world.rss());
            drop(idle);
        }
    }
    println!(
        "| {FAST} subscribers that read, {POSTS_PER_SECOND} posts/s | p99 latency, median of {ROUNDS} rounds | \
         least to most | memory at most |"
    );
    println!("|---|---|---|---|");
    rows.iter_mut().for_each(|rounds| rounds.sort_unstable());
    for (name, rounds, rss) in [("alone", &rows[0], rss[0]), ("beside a stalled one", &rows[1], rss[1])] {
        let (least, most) = (rounds[0], rounds[rounds.len() - 1]);
        println!("| {name} | {:.2?} | {least:.2?} to {most:.2?} | {} MiB |", rounds[rounds.len() / 2], rss >> 20);
    }
}
