//! 24 h of post ids at 1,000 posts/s: memory and time to be ready after a restart, and the cost of a classification.
//!
//! `cargo bench --bench dedup`; `-- 3600` behind it for an hour's worth.

use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};

use powerstream_gateway::ingest::dedup::{self, Config, Dedup, DedupResult, Metrics};
use powerstream_gateway::journal::LogBounds;
use powerstream_gateway::model::{Epoch, PostId, Rule, UnixMillis};

const PER_SECOND: u64 = 1_000;
const BATCH: u64 = 1_000;
const EPOCH: Epoch = Epoch(7);
/// 2026-01-01T00:00:00Z.
const START: UnixMillis = UnixMillis(1_767_225_600_000);
const JOURNAL: LogBounds = LogBounds { earliest: 1, next: 1, earliest_received: None, newest_received: None };
/// The targets: memory with everything open, and the time until the first classification after a restart.
const MEMORY_BYTES_MAX: u64 = 256 << 20;
const READY_MAX: Duration = Duration::from_secs(30);

fn main() {
    // `cargo test --benches` runs this too, with another flag: a minute of ids is enough to see that it works.
    let whole = std::env::args().any(|argument| argument == "--bench");
    let asked = std::env::args().find_map(|argument| argument.parse().ok());
    let seconds: u64 = asked.unwrap_or(if whole { 86_400 } else { 60 });
    let dir = tempfile::tempdir().expect("a directory");
    let sets = rule_sets();
    let config = Config::default();
    let ids = seconds * PER_SECOND;

    let started = Instant::now();
    let (built_peak, sealed) = build(dir.path(), &config, &sets, ids);
    row("ids", format!("{ids}"));
    row(
        "build",
        format!("{:.1} s, {:.2} µs/id, peak {} MiB", secs(started), secs(started) * 1e6 / ids as f64, built_peak >> 20),
    );
    row("disk", disk(dir.path(), ids));
    give_back();
    row("memory before open", format!("{} MiB", rss() >> 20));

    let started = Instant::now();
    let mut dedup = open(dir.path(), &config, ids);
    let opened = started.elapsed();
    replay(&mut dedup, &sets, ids);
    let ready = started.elapsed();
    row("open", format!("{:.2} s, {} of {sealed} ids covered by files", opened.as_secs_f64(), dedup.seen.covered()));
    row("ready (open + replay)", format!("{:.2} s", ready.as_secs_f64()));
    let memory = rss();
    row("memory when ready", format!("{} MiB", memory >> 20));
    classifications(&dedup, &sets, ids);
    row("memory after classifications", format!("{} MiB", rss() >> 20));
    assert!(ready <= READY_MAX, "ready after {ready:?}");
    assert!(memory <= MEMORY_BYTES_MAX, "{memory} bytes of memory");
}

/// Ids of 1,000 posts/s as X makes them: milliseconds, worker, counter.
fn id(n: u64) -> PostId {
    let time = UnixMillis(START.0 + (n * 1_000 / PER_SECOND) as i64);
    PostId(PostId::lowest_at(time).0 | (n.wrapping_mul(0x9e37_79b9_7f4a_7c15) >> 42))
}

fn received(n: u64) -> UnixMillis {
    UnixMillis(START.0 + (n * 1_000 / PER_SECOND) as i64 + 300)
}

/// 200 combinations of 40 rules.
fn rule_sets() -> Vec<Arc<[Rule]>> {
    let rule = |n: u64| Rule { id: Some(1_900_000_000_000_000_000 + n), tag: Some(format!("customer-{n:02}").into()) };
    (0..200).map(|n| (0..=n % 3).map(|k| rule((n * 7 + k * 11) % 40)).collect()).collect()
}

fn open(dir: &Path, config: &Config, n: u64) -> Dedup {
    dedup::open(Some(dir), config, EPOCH, received(n), Metrics::default()).expect("opens")
}

/// As the sequencer does it; the last 15 minutes stay in memory and are lost with the process.
fn build(dir: &Path, config: &Config, sets: &[Arc<[Rule]>], ids: u64) -> (u64, u64) {
    let mut dedup = open(dir, config, 0);
    let mut peak = 0;
    for batch in 0..ids / BATCH {
        note(&mut dedup, sets, batch * BATCH, (batch + 1) * BATCH);
        if dedup.seen.needs_maintenance() {
            dedup.maintenance.step(JOURNAL, &|_| 0).expect("maintenance");
            peak = peak.max(rss());
        }
    }
    (peak.max(rss()), dedup.seen.covered())
}

fn note(dedup: &mut Dedup, sets: &[Arc<[Rule]>], from: u64, to: u64) {
    for n in from..to {
        dedup.seen.stage(id(n), &sets[(n * n % 199) as usize], n + 1, received(n));
    }
    dedup.seen.commit();
}

/// The newest 15 minutes, or as much as is in no file.
fn replay(dedup: &mut Dedup, sets: &[Arc<[Rule]>], ids: u64) {
    let from = dedup.seen.covered().min(ids.saturating_sub(900 * PER_SECOND));
    for at in (from..ids).step_by(BATCH as usize) {
        note(dedup, sets, at, (at + BATCH).min(ids));
    }
}

fn classifications(dedup: &Dedup, sets: &[Arc<[Rule]>], ids: u64) {
    let measure = |name: &str, count: u64, at: &dyn Fn(u64) -> (PostId, u64), expected: DedupResult| {
        let metrics = dedup.index.metrics();
        let (reads, wrong) = (metrics.file_reads.get(), metrics.false_positives.get());
        let mut times: Vec<Duration> = (0..count)
            .map(|k| {
                let (id, n) = at(k);
                let started = Instant::now();
                let result = dedup.seen.classify(id, &sets[(n * n % 199) as usize]).expect("can be classified");
                let took = started.elapsed();
                assert_eq!(result, expected, "{name}");
                took
            })
            .collect();
        times.sort();
        let mean = times.iter().sum::<Duration>() / count as u32;
        let (median, p99) = (times[times.len() / 2], times[times.len() * 99 / 100]);
        let (reads, wrong) = (metrics.file_reads.get() - reads, metrics.false_positives.get() - wrong);
        row(
            name,
            format!("mean {mean:?}, median {median:?}, p99 {p99:?}; {reads} reads, {wrong} without a hit, of {count}"),
        );
    };
    let spread = |k: u64, within: u64| k.wrapping_mul(0x9e37_79b9_7f4a_7c15) % within;
    measure("new, live", 1_000_000, &|k| (id(ids + k), 0), DedupResult::New);
    // Half a millisecond's worth of counter next to a known one: inside the range of a file.
    measure("new, recovered (24 h back)", 200_000, &|k| (PostId(id(spread(k, ids)).0 ^ 1), 0), DedupResult::New);
    let recent = ids.min(300_000);
    measure("duplicate, last 5 min", 1_000_000, &|k| at(ids - 1 - spread(k, recent)), DedupResult::Duplicate);
    measure("duplicate, any of 24 h", 200_000, &|k| at(spread(k, ids)), DedupResult::Duplicate);
}

fn at(n: u64) -> (PostId, u64) {
    (id(n), n)
}

fn disk(dir: &Path, ids: u64) -> String {
    let files: Vec<u64> = std::fs::read_dir(dir)
        .expect("lists")
        .map(|entry| entry.and_then(|entry| entry.metadata()).expect("reads").len())
        .collect();
    let bytes: u64 = files.iter().sum();
    format!("{} MiB in {} files, {:.1} bytes/id", bytes >> 20, files.len(), bytes as f64 / ids as f64)
}

fn rss() -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"));
    line.and_then(|line| line.trim().strip_suffix(" kB")?.trim().parse::<u64>().ok()).unwrap_or(0) << 10
}

/// A pause, so that what the allocator returns late is not counted for the part that follows.
fn give_back() {
    #[expect(clippy::disallowed_methods, reason = "a benchmark lets the machine settle")]
    std::thread::sleep(Duration::from_millis(200));
}

fn secs(started: Instant) -> f64 {
    started.elapsed().as_secs_f64()
}

#[expect(clippy::print_stdout, reason = "the table is what a benchmark is for")]
fn row(name: &str, value: String) {
    println!("{name:<28}{value}");
}
