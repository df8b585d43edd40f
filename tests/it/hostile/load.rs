//! Attacks by number: what unread sessions and calls cost in memory, next to a healthy subscriber. The figures of
//! `just attacks` are those of the contract's I9; without it the numbers are small.

use std::time::Duration;

use powerstream_gateway::config::Settings;
use powerstream_gateway::proto::{ListTagsRequest, SubscribeRequest, TagFilter};
use prost::Message;

use super::frames::{
    DATA, INITIAL_WINDOW_SIZE, LIST_TAGS, REFLECTION, call, fields, frame, headers, message, subscribe,
};
use super::h2::Raw;
use super::scaled;
use super::stage::Stage;
use crate::harness::{TestEnv, filters, in_time, latest};

const MIB: u64 = 1 << 20;
/// Streams of one connection.
const STREAMS: u32 = 500;
/// The largest filter: terms and their bytes.
const TERMS: usize = 1_000;
const TERM_BYTES: usize = 262;

/// Streams of a client have odd numbers.
fn stream(n: u32) -> u32 {
    1 + 2 * n
}

/// Most memory of a gateway (I9): its sessions, stalled sessions, and the budgets of its settings.
fn allowed(settings: &Settings, sessions: u64, stalled: u64) -> u64 {
    let (hub, listen) = (&settings.hub, &settings.grpc);
    let caches = hub.replay_cache_bytes_max + hub.private_gaps.page_cache_bytes_max;
    let budgets = hub.ring_bytes_max + hub.fanout_cache_bytes_max + hub.filter_bytes_max + listen.response_bytes_max;
    // A stalled session keeps a slab of the ring, too.
    150 * MIB + (sessions << 16) + stalled * ((128 + 64) << 10) + (caches + budgets) as u64
}

/// Checks the memory, and ends.
async fn verify(mut stage: Stage, name: &'static str, sessions: u32, stalled: u32) {
    let bound = allowed(&stage.env.settings, u64::from(sessions), u64::from(stalled));
    let (before, peak) = (stage.resident_before, stage.memory().1);
    eprintln!("{name}: {} MiB before, {} MiB at most; {} MiB allowed", before / MIB, peak / MIB, bound / MIB);
    let result = if peak <= bound { Ok(()) } else { Err(format!("{} MiB, not {} MiB", peak / MIB, bound / MIB)) };
    stage.play(name, async { result }).await;
    stage.end(name, 2).await;
}

/// Connections that read nothing beyond what comes while they send.
async fn connect(stage: &Stage, count: u32, window: u32) -> Vec<Raw> {
    let mut all = Vec::new();
    for _ in 0..count {
        let mut raw = Raw::connect(stage.grpc(), &[(INITIAL_WINDOW_SIZE, window)]).await;
        raw.open_windows = false;
        all.push(raw);
    }
    all
}

fn patient(env: &mut TestEnv) {
    env.settings.grpc.preface_timeout = Duration::from_secs(60);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn subscribers_that_never_read() {
    let mut stage = Stage::open(patient).await;
    let count = scaled(60, 2_000);
    let mut attackers = connect(&stage, count, 65_535).await;
    let opening = async {
        for raw in &mut attackers {
            raw.send(&subscribe(1, &latest(&filters::all()))).await;
        }
        for raw in &mut attackers {
            in_time("it begins", raw.until("it begins", |raw| raw.received(1) > 0)).await;
        }
        Ok(())
    };
    stage.play("opening", opening).await;
    // More than all buffers on their way have.
    stage.flood(scaled(100, 1_500) as usize, 16 << 10).await;
    verify(stage, "subscribers that never read", count, count).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn unread_calls_cost_bounded_memory() {
    unread_calls("unread calls", scaled(2, 20)).await;
}

/// They took 1.2 GiB.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn unread_calls_of_connection_cost_bounded_memory() {
    unread_calls("300 unread calls of one connection", 1).await;
}

/// 300 calls on each of so many connections with a window of 0.
async fn unread_calls(name: &'static str, connections: u32) {
    let tags = (0..1_000).map(|n| format!("{n:0505}")).collect();
    let request = ListTagsRequest { page_size: 1_000, ..ListTagsRequest::default() }.encode_to_vec();
    let mut stage = Stage::open(|env| env.settings.accounts[0].tags = tags).await;
    let mut attackers = connect(&stage, connections, 0).await;
    let calling = async {
        for raw in &mut attackers {
            raw.send(&(0..300).flat_map(|n| call(stream(n), LIST_TAGS, &request)).collect::<Vec<u8>>()).await;
        }
        for raw in &mut attackers {
            let over = |raw: &Raw| raw.streams.values().filter(|own| own.ended || own.reset.is_some()).count() >= 290;
            in_time("most are refused", raw.until("most are refused", over)).await;
        }
        Ok(())
    };
    stage.play("calling", calling).await;
    verify(stage, name, 0, 0).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn reflection_streams_that_stay_open() {
    let mut stage = Stage::open(|_| ()).await;
    let symbol = b"powerstream.gateway.v1.StreamService";
    // file_containing_symbol.
    let request = [&[0x22, u8::try_from(symbol.len()).expect("short")], symbol.as_slice()].concat();
    let asking = |n| {
        let head = headers(stream(n), 0, &fields(REFLECTION, "application/grpc"));
        [head, frame(DATA, 0, stream(n), &message(&request))].concat()
    };
    let mut attackers = connect(&stage, scaled(2, 40), 0).await;
    let asked = async {
        for raw in &mut attackers {
            raw.send(&(0..STREAMS).flat_map(asking).collect::<Vec<u8>>()).await;
            raw.read_for(Duration::from_millis(200)).await;
        }
        Ok(())
    };
    stage.play("asking", asked).await;
    verify(stage, "reflection streams that stay open", 0, 0).await;
}

/// Each took 548 KiB.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn sessions_with_largest_filters() {
    largest_filters("sessions with the largest filters", |n| n).await;
}

/// Equal filters are kept once.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn sessions_with_equal_largest_filters() {
    largest_filters("sessions with equal largest filters", |_| 0).await;
}

/// Sessions whose filters have these numbers.
async fn largest_filters(name: &'static str, number: impl Fn(u32) -> u32) {
    let mut stage = Stage::open(|_| ()).await;
    let (connections, each) = (scaled(2, 100), scaled(20, 100));
    let filter = |n: u32| {
        let terms = (0..TERMS).map(|term| format!("{n}-{term}-{:0width$}", 0, width = TERM_BYTES - 20));
        TagFilter { any_of: terms.collect(), ..TagFilter::default() }
    };
    let request = |n: u32| SubscribeRequest { account: "main".into(), ..latest(&filter(number(n))) };
    let (grpc, mut held, mut begun) = (stage.grpc(), Vec::new(), 0);
    let asking = async {
        for at in 0..connections {
            let mut raw = Raw::connect(grpc, &[]).await;
            raw.until("its settings", |raw| raw.settled).await;
            for n in (0..each).map(|n| (stream(n), at * each + n)) {
                raw.send(&subscribe(n.0, &request(n.1))).await;
                // One by one, for a window has place for no more.
                let answered = |raw: &Raw| raw.received(n.0) > 0 || raw.is_over(n.0);
                if !raw.until("it begins or is refused", answered).await {
                    return Err(format!("{} {:?}", raw.why, raw.goaway));
                }
            }
            let mut outcomes = (0..each).filter(|n| raw.is_over(stream(*n))).map(|n| raw.stream_outcome(stream(n)));
            if let Some(other) = outcomes.find(|found| found != "ResourceExhausted FILTER_LIMIT") {
                return Err(other);
            }
            begun += (0..each).filter(|n| raw.received(stream(*n)) > 0).count();
            held.push(raw);
        }
        if begun == 0 { Err("no session began".into()) } else { Ok(()) }
    };
    stage.play("asking", asking).await;
    let bytes = stage.memory().0.saturating_sub(stage.resident_before) / begun.max(1) as u64;
    eprintln!("{name}: {begun} of {} began, {bytes} bytes each", connections * each);
    verify(stage, name, connections * each, 0).await;
}
