//! What the gateway is meant to reach, as ratios within one run. Reported, not enforced: a busy machine is no fault.

use crate::measure::Cell;
use crate::run::{FLOOR, Found, compressed_name};
use crate::table::Spread;
use crate::wire::grpc::Codec;

const OURS: &str = "this gateway";
const STOCK: &str = "tokio broadcast + stock tonic";
/// Memory of a full ring and a thousand saturated subscribers, in MB.
const MEMORY_MB_MAX: f64 = 250.0;
/// A p50 against the floor's, and a replay against the live rate of one subscriber.
const LATENCY_RATIO_MAX: f64 = 3.5;
const REPLAY_RATIO_MIN: f64 = 0.6;
/// Of fan-out against plain TCP: at most so many times as dear.
const PLAIN: &str = "plain TCP writev";
const PLAIN_RATIOS_MAX: [(usize, f64); 3] = [(10, 2.6), (100, 2.8), (1_000, 3.1)];
/// Of fan-out against others: at least so many times as cheap.
const FAN_OUT_RATIOS_MIN: [(&str, usize, f64); 6] = [
    (STOCK, 10, 1.5),
    (STOCK, 100, 2.2),
    (STOCK, 1_000, 5.5),
    ("NATS core", 10, 1.4),
    ("NATS core", 100, 1.9),
    ("NATS core", 1_000, 3.2),
];
/// Of the whole cost, against peers that have a log too.
const WHOLE_RATIOS_MIN: [(&str, usize, f64); 4] = [
    ("NATS JetStream, file storage", 10, 2.5),
    ("NATS JetStream, file storage", 100, 3.2),
    ("Redis Streams", 10, 1.0),
    ("Redis Streams", 100, 1.6),
];
/// Of the whole cost with compression, against tonic's own.
const COMPRESSED_RATIOS_MIN: [(usize, f64); 2] = [(10, 8.0), (100, 40.0)];

/// A ratio, or an amount, with its bound.
#[derive(Clone, Debug, serde::Serialize)]
pub struct Target {
    pub name: String,
    /// Whether the bound is the most it may be, or the least.
    pub at_most: bool,
    pub bound: f64,
    pub found: f64,
}

impl Target {
    /// Whether it is within its bound.
    pub fn reached(&self) -> bool {
        if self.at_most { self.found <= self.bound } else { self.found >= self.bound }
    }
}

/// All targets that this run has figures for.
pub fn evaluate(found: &Found) -> Vec<Target> {
    let mut targets = Vec::new();
    let mut add = |name: String, at_most: bool, bound: f64, ratio: Option<f64>| {
        targets.extend(ratio.map(|found| Target { name, at_most, bound, found }));
    };
    let ratio = |a: Option<Spread>, b: Option<Spread>| Some(a?.median / b?.median);
    let fan_out = |row: &str, subscribers| found.fan_out(row, subscribers);
    let whole = |row: &str, subscribers| found.spread(row, subscribers, Cell::whole);
    for (n, bound) in PLAIN_RATIOS_MAX {
        add(format!("fan-out: gateway / {PLAIN}, N = {n}"), true, bound, ratio(fan_out(OURS, n), fan_out(PLAIN, n)));
    }
    for (row, n, bound) in FAN_OUT_RATIOS_MIN {
        add(format!("fan-out: {row} / gateway, N = {n}"), false, bound, ratio(fan_out(row, n), fan_out(OURS, n)));
    }
    for (row, n, bound) in WHOLE_RATIOS_MIN {
        add(format!("whole: {row} / gateway, N = {n}"), false, bound, ratio(whole(row, n), whole(OURS, n)));
    }
    for codec in [Codec::Gzip, Codec::Zstd] {
        let cost = |row: &str, n: usize| {
            Spread::of(found.compressed.get(&(compressed_name(row, codec), n))?.iter().map(Cell::whole))
        };
        for (n, bound) in COMPRESSED_RATIOS_MIN {
            let name = format!("{}: {STOCK} / gateway, N = {n}", codec.name());
            add(name, false, bound, ratio(cost(STOCK, n), cost(OURS, n)));
        }
    }
    let p50 = |row: &str| Spread::of(found.latency.get(row)?.iter().map(|it| it.0));
    add("p50 latency: gateway / floor".into(), true, LATENCY_RATIO_MAX, ratio(p50(OURS), p50(FLOOR)));
    let most = Spread::of(found.memory.iter().map(|it| it.rss_bytes_max as f64 / 1e6));
    add("MB of memory, 1,000 saturated subscribers".into(), true, MEMORY_MB_MAX, most.map(|it| it.median));
    let replay = Spread::of(found.replay.iter().map(|it| it.0));
    let live = found.spread(OURS, 1, Cell::rate);
    add("replay / live, one subscriber".into(), false, REPLAY_RATIO_MIN, ratio(replay, live));
    targets
}
