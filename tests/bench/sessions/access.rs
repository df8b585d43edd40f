//! What a principal at its limits does to the others, and whether answer times reveal what a caller may not see.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use parking_lot::Mutex;
use powerstream_gateway::access::NewToken;
use powerstream_gateway::proto::resolve_position_request::Target;
use powerstream_gateway::proto::stream_service_client::StreamServiceClient;
use powerstream_gateway::proto::{
    GetStreamRequest, ListStreamsRequest, ResolvePositionRequest, SubscribeRequest, subscribe_request,
};
use tokio::task::JoinSet;
use tonic::Request;
use tonic::transport::Channel;

use crate::latency::{FAST, POSTS_PER_SECOND, half_round, p99, readers};
use crate::world::{World, WorldConfig, pause, wait};

/// Rounds, each without and with the principal at its limits.
const ROUNDS: usize = 5;
/// Connections of the principal at its limits, each of which calls as fast as it is answered.
const GREEDY: usize = 8;
/// Calls of each kind, interleaved.
const CALLS: usize = 1_000;

/// `greedy` has each limit; `narrow` sees posts with the tag `visible` only. Callers without a credential read everything.
const CONFIG: &str = r#"
auth: { token_files: [DIR/tokens.yaml], anonymous: { roles: [all] } }
roles:
  - { name: all, accounts: ["*"], rights: [read] }
  - name: greedy
    accounts: ["*"]
    limits: { sessions: 4, connections: 4, replays: 1, calls_per_second: 20, bytes_per_second: 100000 }
  - { name: narrow, accounts: [main], tags: { allow: [visible] } }
principals: [{ name: greedy, roles: [greedy] }, { name: narrow, roles: [narrow] }]
reload: { interval: 1s }
"#;

struct Tokens {
    greedy: NewToken,
    narrow: NewToken,
}

impl Tokens {
    fn new() -> Self {
        Self { greedy: NewToken::new([1; 8], [1; 32]), narrow: NewToken::new([2; 8], [2; 32]) }
    }

    fn file(&self) -> String {
        let line = |own: &NewToken, principal: &str| {
            format!("  - {{ id: {}, sha256: \"{}\", principal: {principal} }}\n", own.id, own.sha256)
        };
        format!("tokens:\n{}{}", line(&self.greedy, "greedy"), line(&self.narrow, "narrow"))
    }
}

fn with_token<T>(token: &NewToken, message: T) -> Request<T> {
    let mut request = Request::new(message);
    request.metadata_mut().insert("authorization", format!("Bearer {}", token.token).parse().expect("ASCII"));
    request
}

pub async fn run() {
    let tokens = Tokens::new();
    let files = [("tokens.yaml", tokens.file())];
    let config = WorldConfig { accounts: &["main", "other"], more: CONFIG, files: &files, ..WorldConfig::default() };
    let world = World::start(config).await;
    limits(&world, &tokens.greedy).await;
    answers(&world, &tokens.narrow).await;
}

async fn limits(world: &World, token: &NewToken) {
    let published = Arc::new(Mutex::new(HashMap::new()));
    let readers = readers(world, &published).await;
    half_round(world, &published, &readers).await;
    let mut rows = [Vec::new(), Vec::new()];
    for _ in 0..ROUNDS {
        for with in [0, 1] {
            let mut greedy = JoinSet::new();
            for _ in 0..with * GREEDY {
                greedy.spawn(call_on(world.channel().await, token.token.clone()));
            }
            rows[with].push(p99(&half_round(world, &published, &readers).await));
        }
    }
    println!(
        "| {FAST} subscribers that read, {POSTS_PER_SECOND} posts/s | p99 latency, median of {ROUNDS} rounds | least to most |"
    );
    println!("|---|---|---|");
    rows.iter_mut().for_each(|rounds| rounds.sort_unstable());
    let name = format!("in parallel with a principal at all its limits, {GREEDY} connections");
    for (name, rounds) in [("alone", &rows[0]), (&name, &rows[1])] {
        let (least, most) = (rounds[0], rounds[rounds.len() - 1]);
        println!("| {name} | {:.2?} | {least:.2?} to {most:.2?} |", rounds[rounds.len() / 2]);
    }
    let [alone, loaded] = rows.map(|rounds| rounds[ROUNDS / 2].as_secs_f64());
    println!("\nratio of the medians {:.2}; refused calls {}\n", loaded / alone, world.sum("limit_reached_total"));
}

/// Subscribes from the start, and lists, again and again.
async fn call_on(channel: Channel, token: String) {
    let mut client = StreamServiceClient::new(channel);
    let with = |request: &mut tonic::metadata::MetadataMap| {
        request.insert("authorization", format!("Bearer {token}").parse().expect("ASCII"));
    };
    let mut open = Vec::new();
    loop {
        let start = Some(subscribe_request::Start::Earliest(Default::default()));
        let mut request = Request::new(SubscribeRequest { start, ..SubscribeRequest::default() });
        with(request.metadata_mut());
        open.extend(client.subscribe(request).await.ok());
        let mut request = Request::new(ListStreamsRequest::default());
        with(request.metadata_mut());
        let _ = client.list_streams(request).await;
    }
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
