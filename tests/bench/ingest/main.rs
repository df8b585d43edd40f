//! The ingest path: from the bytes of a stream to the journal and the hub, on one core.
//!
//! `cargo bench --bench ingest [-- POSTS] [ROWS]` prints a table, of the rows that have these words; nothing is asserted
//! here. `RULES_PER_POST` sets how many rules each post matches. Each row is the median of its rounds by processor time. The whole is the gateway's own session, queue, sequencer,
//! ids, journal (`os`) and hub, put together as `app` does it, without maintenance and subscribers; only X is left out, and but
//! for one row HTTP. The thread that sends over HTTP runs on another core and is not counted.
#![allow(clippy::print_stdout)]

mod feed;
#[path = "../posts.rs"]
mod posts;
mod wire;
mod world;

use std::time::{Duration, Instant};

use bytes::Bytes;
use feed::{Feed, Handing};
use powerstream_gateway::upstream::UpstreamMessage;
use powerstream_gateway::upstream::framing::{DEPTH_MAX, Framed, Framer};
use rustix::thread::{CpuSet, sched_getaffinity, sched_setaffinity};
use rustix::time::{ClockId, clock_gettime};
use wire::Wire;
use world::World;

/// The allocator of the gateway's program.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

const ROUNDS: usize = 5;

fn main() {
    // `cargo test --benches` runs this too, with another flag: a few posts are enough to see that it works.
    let whole = std::env::args().any(|argument| argument == "--bench");
    let asked = std::env::args().skip(1).find_map(|argument| argument.parse().ok());
    let count = asked.unwrap_or(if whole { 100_000 } else { 300 });
    let words = std::env::args().skip(1).find(|argument| argument.starts_with(char::is_alphabetic)).unwrap_or_default();
    let rounds = if whole { ROUNDS } else { 1 };
    let (core, other) = cores();
    pin(core);
    let wire = Wire::new(count);
    println!("{count} posts of {} bytes on core {core}", wire.bytes.len() as u64 / count);
    println!("{:<34} {:>10} {:>12} {:>10}", "", "posts/s", "CPU µs/post", "per batch");
    let kinds = [
        ("HTTP chunks", wire.by_post(), Handing::Http),
        ("a post at a time", wire.by_post(), Handing::Slowly),
        ("a post each", wire.by_post(), Handing::AtOnce),
        ("16 KiB", wire.by_size(16 << 10), Handing::AtOnce),
        ("64 KiB", wire.by_size(64 << 10), Handing::AtOnce),
    ];
    for (name, pieces, handing) in &kinds {
        let row = |stage: &str, measure: &mut dyn FnMut() -> Run| {
            let title = format!("{stage}, {name}");
            if title.contains(&words) {
                let mut runs: Vec<Run> = (0..rounds).map(|_| measure()).collect();
                runs.sort_by_key(|run| run.cpu);
                runs[runs.len() / 2].print(&title, count);
            }
        };
        if *handing == Handing::AtOnce {
            row("framing", &mut || frame(pieces, count, &|_| true));
            row("framing + classify", &mut || frame(pieces, count, &is_post));
        }
        row("whole", &mut || World::new().run(Feed::new(pieces, *handing, other), count));
    }
}

/// The core that is measured, and another one if there is one.
fn cores() -> (usize, usize) {
    let allowed = sched_getaffinity(None).unwrap_or_default();
    let mut cores = (0..CpuSet::MAX_CPU).filter(|core| allowed.is_set(*core));
    let first = cores.next().unwrap_or(0);
    (cores.next_back().unwrap_or(first), first)
}

/// Keeps this thread, and threads that it starts, on one core.
pub fn pin(core: usize) {
    let mut set = CpuSet::new();
    set.set(core);
    sched_setaffinity(None, &set).expect("a core that is allowed");
}

/// What a round took.
pub struct Run {
    wall: Duration,
    /// Processor time.
    pub cpu: Duration,
    /// Posts of a batch of the journal.
    pub batch: Option<f64>,
}

impl Run {
    /// Measures this.
    pub fn of(work: impl FnOnce()) -> Self {
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
    matches!(UpstreamMessage::classify(value), UpstreamMessage::Post(_))
}
