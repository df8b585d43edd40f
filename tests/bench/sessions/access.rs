//! What a principal at its limits does to the others, and whether answer times reveal what a caller may not see.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use parking_lot::Mutex;
use powerstream_gateway::access::NewToken;
use powerstream_gateway::proto::resolve_position_request::Target;
use powerstream_gateway::proto::stream_service_client::StreamServiceClient;
use powerstream_gateway::proto::{
    GetStreamRequest, ListStreamsRequest, ResolvePositionRequest, SubscribeRequest, SubscribeResponse,
    subscribe_request,
};
use tokio::task::JoinSet;
use tonic::transport::Channel;
use tonic::{Request, Streaming};

use crate::latency::{FAST, POSTS_PER_SECOND, half_round, p99, readers};
use crate::world::{World, WorldConfig, pause, wait};

/// Rounds, each without and with the principal at its limits.
const ROUNDS: usize = 5;
/// Connections of the principal at its limits, each of which calls as fast as it is answered.
const GREEDY: usize = 8;
/// Calls of each kind, interleaved.
const CALLS: usize = 1_000;

/// `narrow` sees posts with the tag `visible` only. Callers without a credential read everything. A small ring, so that
/// replays read the journal.
const CONFIG: &str = r#"
auth: { token_files: [DIR/tokens.yaml], anonymous: { roles: [all] } }
hub: { ring_bytes_max: 1048576 }
reload: { interval: 1s }
"#;

/// A principal at its limit of one kind, and how its clients get there.
#[derive(Clone, Copy)]
struct Greedy {
    name: &'static str,
    limits: &'static str,
    /// Calls ListStreams again and again.
    lists: bool,
    /// Subscribes again and again, with this start; keeps what begins.
    subscribes: Option<Start>,
}

#[derive(Clone, Copy, PartialEq)]
enum Start {
    Latest,
    Earliest,
}

/// One for each limit, and one that has all.
const KINDS: [Greedy; 6] = [
    Greedy { name: "sessions", limits: "sessions: 4", lists: false, subscribes: Some(Start::Latest) },
    Greedy { name: "connections", limits: "connections: 4", lists: true, subscribes: None },
    Greedy { name: "replays", limits: "sessions: 4, replays: 0", lists: false, subscribes: Some(Start::Earliest) },
    Greedy { name: "calls", limits: "calls_per_second: 20", lists: true, subscribes: None },
    Greedy {
        name: "bytes",
        limits: "sessions: 4, bytes_per_second: 100000",
        lists: false,
        subscribes: Some(Start::Earliest),
    },
    Greedy {
        name: "all",
        limits: "sessions: 4, connections: 4, replays: 1, calls_per_second: 20, bytes_per_second: 100000",
        lists: true,
        subscribes: Some(Start::Earliest),
    },
];

struct Tokens {
    greedy: [NewToken; KINDS.len()],
    narrow: NewToken,
}

impl Tokens {
    fn new() -> Self {
        Self {
            greedy: std::array::from_fn(|kind| NewToken::new([kind as u8 + 1; 8], [kind as u8 + 1; 32])),
            narrow: NewToken::new([99; 8], [99; 32]),
        }
    }

    fn file(&self) -> String {
        let line = |own: &NewToken, principal: &str| {
            format!("  - {{ id: {}, sha256: \"{}\", principal: {principal} }}\n", own.id, own.sha256)
        };
        let greedy: String = self.greedy.iter().zip(KINDS).map(|(token, kind)| line(token, kind.name)).collect();
        format!("tokens:\n{greedy}{}", line(&self.narrow, "narrow"))
    }
}

/// Roles and principals, each named like its kind.
fn config() -> String {
    let mut text = format!(
        "{CONFIG}roles:\n  - {{ name: all, accounts: [\"*\"], rights: [read] }}\n  \
         - {{ name: narrow, accounts: [main], tags: {{ allow: [visible] }} }}\n"
    );
    let mut principals = "principals:\n  - { name: narrow, roles: [narrow] }\n".to_owned();
    for Greedy { name, limits, .. } in KINDS {
        text += &format!("  - {{ name: {name}-role, accounts: [\"*\"], limits: {{ {limits} }} }}\n");
        principals += &format!("  - {{ name: {name}, roles: [{name}-role] }}\n");
    }
    text + &principals
}

fn with_token<T>(token: &NewToken, message: T) -> Request<T> {
    let mut request = Request::new(message);
    request.metadata_mut().insert("authorization", format!("Bearer {}", token.token).parse().expect("ASCII"));
    request
}

pub async fn run() {
    let tokens = Arc::new(Tokens::new());
    let files = [("tokens.yaml", tokens.file())];
    let more = config();
    let config = WorldConfig { accounts: &["main", "other"], more: &more, files: &files, ..WorldConfig::default() };
    let world = World::start(config).await;
    limits(&world, &tokens).await;
    answers(&world, &tokens.narrow).await;
}

async fn limits(world: &World, tokens: &Arc<Tokens>) {
    let published = Arc::new(Mutex::new(HashMap::new()));
    let readers = readers(world, &published).await;
    half_round(world, &published, &readers).await;
    let mut rows = vec![(Vec::new(), Vec::new(), 0.0); KINDS.len()];
    for _ in 0..ROUNDS {
        for (kind, (alone, loaded, refused)) in rows.iter_mut().enumerate() {
            alone.push(p99(&half_round(world, &published, &readers).await));
            let before = world.sum("limit_reached_total");
            let mut greedy = JoinSet::new();
            for _ in 0..GREEDY {
                greedy.spawn(call_on(world.channel().await, tokens.clone(), kind));
            }
            loaded.push(p99(&half_round(world, &published, &readers).await));
            *refused += world.sum("limit_reached_total") - before;
        }
    }
    println!(
        "| {FAST} subscribers that read, {POSTS_PER_SECOND} posts/s; in parallel, a principal at its limit of | p99 alone, \
         median of {ROUNDS} rounds (least to most) | p99 in parallel | ratio of medians | calls beyond the limit |"
    );
    println!("|---|---|---|---|---|");
    for (Greedy { name, .. }, (mut alone, mut loaded, refused)) in KINDS.iter().zip(rows) {
        let cells = [&mut alone, &mut loaded].map(|rounds| {
            rounds.sort_unstable();
            format!("{:.2?} ({:.2?} to {:.2?})", rounds[ROUNDS / 2], rounds[0], rounds[ROUNDS - 1])
        });
        let ratio = loaded[ROUNDS / 2].as_secs_f64() / alone[ROUNDS / 2].as_secs_f64();
        println!("| {name} | {} | {} | {ratio:.2} | {refused:.0} |", cells[0], cells[1]);
    }
    println!();
}

/// Goes to the limit of its kind, and calls on as fast as it is answered.
async fn call_on(channel: Channel, tokens: Arc<Tokens>, kind: usize) {
    let mut client = StreamServiceClient::new(channel);
    let (token, Greedy { lists, subscribes, .. }) = (&tokens.greedy[kind], KINDS[kind]);
    let mut reading = JoinSet::new();
    // Keeps the connection in use.
    if let Ok(stream) = client.subscribe(with_token(token, subscription(Start::Latest))).await {
        reading.spawn(read(stream.into_inner()));
    }
    loop {
        if let Some(start) = subscribes
            && let Ok(stream) = client.subscribe(with_token(token, subscription(start))).await
        {
            let reads = read(stream.into_inner());
            // A replay beyond the limit ends at once, a session at the limit of bytes does not.
            if start == Start::Earliest && KINDS[kind].limits.contains("replays: 0") {
                reads.await;
            } else {
                reading.spawn(reads);
            }
        }
        if lists {
            let _ = client.list_streams(with_token(token, ListStreamsRequest::default())).await;
        }
    }
}

async fn read(mut frames: Streaming<SubscribeResponse>) {
    while let Ok(Some(_)) = frames.message().await {}
}

fn subscription(start: Start) -> SubscribeRequest {
    let start = match start {
        Start::Latest => subscribe_request::Start::Latest(Default::default()),
        Start::Earliest => subscribe_request::Start::Earliest(Default::default()),
    };
    SubscribeRequest { start: Some(start), ..SubscribeRequest::default() }
}

/// Median times of pairs of calls: about what the caller may not see, and about what does not exist.
async fn answers(world: &World, token: &NewToken) {
    let hidden = world.publish("hidden");
    wait("it is appended", || world.counter("posts_appended_total") >= 1.0).await;
    pause(Duration::from_secs(1)).await;
    let mut client = StreamServiceClient::new(world.channel().await);
    println!("| {CALLS} calls each, interleaved | invisible | absent | ratio |");
    println!("|---|---|---|---|");
    let mut times = [Vec::new(), Vec::new()];
    for _ in 0..CALLS {
        for (row, post) in times.iter_mut().zip([hidden, hidden + 1]) {
            let request = ResolvePositionRequest { account: String::new(), target: Some(Target::PostId(post)) };
            let began = Instant::now();
            client.resolve_position(with_token(token, request)).await.expect_err("not found");
            row.push(began.elapsed());
        }
    }
    row("ResolvePosition of a post", times);
    let mut times = [Vec::new(), Vec::new()];
    for _ in 0..CALLS {
        // `narrow` may not read `other`, which exists; `missing` does not.
        for (row, account) in times.iter_mut().zip(["other", "missing"]) {
            let began = Instant::now();
            let request = GetStreamRequest { account: account.into() };
            client.get_stream(with_token(token, request)).await.expect_err("refused");
            row.push(began.elapsed());
        }
    }
    row("GetStream of an account", times);
    println!();
}

fn row(name: &str, mut times: [Vec<Duration>; 2]) {
    let [invisible, absent] = times.each_mut().map(|own| {
        own.sort_unstable();
        own[own.len() / 2]
    });
    let ratio = invisible.as_secs_f64() / absent.as_secs_f64();
    println!("| {name} | {invisible:.1?} | {absent:.1?} | {ratio:.2} |");
}
