//! What comes out: Markdown for people, JSON for programs.

use std::fmt::Write as _;
use std::path::Path;

use powerstream_gateway::telemetry::stages::Stage;
use serde_json::{Value, json};

use crate::run::{Found, GATEWAY, NAIVE, OTHER, ROWS, Round, SHARES};
use crate::setups::{Plan, Setup};
use crate::wire::Fault;
use crate::world::World;

/// A rate below this share of the demanded one is marked: the server delayed the player, and latencies are of less load.
const SUSTAINED: f64 = 0.98;

/// Ratios of percentiles to those of the naive server, with their bounds: setup, percentile by place in `SHARES`, bound.
const TARGETS: [(&str, usize, f64); 7] = [
    ("1000x10", 0, 1.10),
    ("1000x10", 2, 1.25),
    ("100x1", 0, 1.15),
    ("100x1", 2, 1.25),
    ("1000x100", 0, 1.15),
    ("1000x100", 2, 1.25),
    ("1000x10-unpinned", 0, 1.0),
];
/// The same of the gateway itself with another setup: setup, the other, percentile, bound.
const OWN_TARGETS: [(&str, &str, usize, f64); 1] = [("1000x10000-narrow", "1000x10", 0, 1.2)];

fn median(values: impl IntoIterator<Item = f64>) -> Option<f64> {
    let mut values: Vec<f64> = values.into_iter().filter(|value| value.is_finite()).collect();
    values.sort_unstable_by(f64::total_cmp);
    let middle = values.len().checked_sub(1)? / 2;
    Some(f64::midpoint(values[middle], values[values.len() / 2]))
}

impl Found {
    fn of(&self, setup: &str, row: &'static str) -> Option<&[Round]> {
        self.rounds.get(&(setup.to_owned(), row)).map(Vec::as_slice)
    }

    /// Median of the ratios of the rounds.
    fn ratio(&self, one: (&str, &'static str), other: (&str, &'static str), percentile: usize) -> Option<f64> {
        let (one, other) = (self.of(one.0, one.1)?, self.of(other.0, other.1)?);
        median(one.iter().zip(other).map(|(one, other)| one.micros[percentile] / other.micros[percentile]))
    }
}

impl Found {
    /// Median of the ratios of the processor time for a delivery.
    fn cpu_ratio(&self, setup: &str) -> Option<f64> {
        let (own, other) = (self.of(setup, GATEWAY)?, self.of(setup, OTHER)?);
        median(own.iter().zip(other).filter_map(|(own, other)| Some(own.cpu_micros? / other.cpu_micros?)))
    }
}

/// Prints the tables and writes the file.
pub fn print(world: &World, plan: &Plan, found: &Found) -> Result<(), Fault> {
    let mut out = String::new();
    conditions(&mut out, world, plan, found);
    for setup in &plan.setups {
        percentiles(&mut out, setup, found);
        stages(&mut out, setup, found);
    }
    targets(&mut out, found);
    println!("{out}");
    let root =
        std::env::var_os("CARGO_TARGET_DIR").unwrap_or_else(|| concat!(env!("CARGO_MANIFEST_DIR"), "/target").into());
    let file = Path::new(&root).join("bench/latency.json");
    let text = serde_json::to_string_pretty(&data(found)).map_err(|error| error.to_string())?;
    let folder = file.parent().ok_or("a file has a folder")?;
    std::fs::create_dir_all(folder).and_then(|()| std::fs::write(&file, text)).map_err(|error| error.to_string())?;
    println!("JSON: {}", file.display());
    Ok(())
}

fn conditions(out: &mut String, world: &World, plan: &Plan, found: &Found) {
    let profile = if cfg!(debug_assertions) { "dev: NO FIGURES" } else { "bench" };
    let probe = if cfg!(feature = "stage-times") { "compiled in" } else { "left out (--features stage-times)" };
    let kernel = std::fs::read_to_string("/proc/sys/kernel/osrelease").unwrap_or_default();
    let _ = writeln!(out, "- profile: {profile}; stage times: {probe}; kernel {}", kernel.trim());
    let _ = writeln!(out, "- isolation: {}; {}", world.isolation, world.congestion);
    let _ = writeln!(out, "- cores: {}; unpinned rows on all", world.pins());
    let _ = writeln!(
        out,
        "- rounds: {} of {} s; load average at their begin: {:?}",
        plan.rounds, plan.seconds, found.loads
    );
    let _ = writeln!(out, "- processor time: of the server's process; the kernel's writeback is not counted");
    let _ = writeln!(out, "- naive server: reqwest, tokio broadcast, stock tonic; nothing is kept");
    for (row, why) in &found.left_out {
        let _ = writeln!(out, "- LEFT OUT: {row}: {why}");
    }
}

fn percentiles(out: &mut String, setup: &Setup, found: &Found) {
    let names = SHARES.map(|(name, _)| name).join(" | ");
    let _ = writeln!(out, "\n| {}, µs | {names} | CPU-µs per delivery |\n|---|{}", setup.name, "---|".repeat(6));
    for row in ROWS {
        let Some(rounds) = found.of(&setup.name, row) else { continue };
        let cell = |nth: usize| median(rounds.iter().map(|round| round.micros[nth])).unwrap_or(f64::NAN);
        let cells: Vec<String> = (0..SHARES.len()).map(|nth| format!("{:.0}", cell(nth))).collect();
        let cpu = median(rounds.iter().filter_map(|round| round.cpu_micros));
        let cpu = cpu.map_or_else(|| "–".to_owned(), |cpu| format!("{cpu:.1}"));
        let rate = median(rounds.iter().map(|round| round.rate)).unwrap_or_default();
        let mark = if rate < setup.per_second as f64 * SUSTAINED {
            format!(" (only {rate:.0} posts/s)")
        } else {
            String::new()
        };
        let _ = writeln!(out, "| {row}{mark} | {} | {cpu} |", cells.join(" | "));
    }
}

fn stages(out: &mut String, setup: &Setup, found: &Found) {
    let Some(times) = found.stages.get(&setup.name) else { return };
    let _ = writeln!(out, "\n| stage, {}, µs | mean | p50 | p99 | times |\n|---|---|---|---|---|", setup.name);
    for stage in Stage::ALL {
        let Some(it) = times.figures(stage) else { continue };
        let name = stage.name();
        let _ = writeln!(out, "| {name} | {:.1} | {:.1} | {:.1} | {:.0} |", it.mean, it.p50, it.p99, it.count);
    }
}

fn targets(out: &mut String, found: &Found) {
    let _ = writeln!(out, "\n| median of the rounds' ratios | at most | found | reached |\n|---|---|---|---|");
    let mut line = |name: String, bound: f64, found: Option<f64>| {
        let Some(found) = found else { return };
        let reached = if found <= bound { "yes" } else { "no" };
        let _ = writeln!(out, "| {name} | {bound:.2} | {found:.2} | {reached} |");
    };
    for (setup, percentile, bound) in TARGETS {
        let name = format!("{} of {setup}: gateway / naive server", SHARES[percentile].0);
        line(name, bound, found.ratio((setup, GATEWAY), (setup, NAIVE), percentile));
    }
    for (setup, _) in found.rounds.keys().filter(|(_, row)| *row == OTHER) {
        for percentile in [0, 2] {
            let name = format!("{} of {setup}: gateway / other gateway", SHARES[percentile].0);
            line(name, f64::INFINITY, found.ratio((setup, GATEWAY), (setup, OTHER), percentile));
        }
        line(format!("CPU of {setup}: gateway / other gateway"), f64::INFINITY, found.cpu_ratio(setup));
    }
    for (setup, other, percentile, bound) in OWN_TARGETS {
        let name = format!("{} of {setup} / {other}", SHARES[percentile].0);
        line(name, bound, found.ratio((setup, GATEWAY), (other, GATEWAY), percentile));
    }
}

fn data(found: &Found) -> Value {
    let rows = found.rounds.iter().map(|((setup, row), rounds)| json!({"setup": setup, "row": row, "rounds": rounds}));
    let stages = found.stages.iter().flat_map(|(setup, times)| {
        let figures = Stage::ALL.into_iter().filter_map(|stage| Some((stage.name(), times.figures(stage)?)));
        figures.map(|(stage, it)| json!({"setup": setup, "stage": stage, "figures": it})).collect::<Vec<_>>()
    });
    json!({
        "percentiles": SHARES.map(|(name, _)| name), "load_average": found.loads, "left_out": found.left_out,
        "rows": rows.collect::<Vec<_>>(), "stages": stages.collect::<Vec<_>>(),
    })
}
