//! What comes out: Markdown for people, JSON for programs.

use std::fmt::Write as _;
use std::path::Path;

use powerstream_gateway::clock::Clock;
use serde_json::{Map, Value, json};

use crate::examples::Taken;
use crate::load::WINDOW;
use crate::measure::{Cell, LATENCY_RATE, LATENCY_SUBSCRIBERS};
use crate::peers;
use crate::plan::{COLUMNS, COMPRESSED_COLUMNS, Plan};
use crate::run::{Found, Latency};
use crate::targets::{self, Target};
use crate::wire::Fault;
use crate::world::World;

/// Median, least and most of the rounds.
#[derive(Clone, Copy, Debug, serde::Serialize)]
pub struct Spread {
    pub median: f64,
    pub least: f64,
    pub most: f64,
}

impl Spread {
    /// Of values of each round; `None` without any.
    pub fn of(values: impl IntoIterator<Item = f64>) -> Option<Self> {
        let mut values: Vec<f64> = values.into_iter().collect();
        values.sort_unstable_by(f64::total_cmp);
        let (least, most) = (*values.first()?, *values.last()?);
        let middle = (values.len() - 1) / 2;
        let median = f64::midpoint(values[middle], values[values.len() / 2]);
        Some(Self { median, least, most })
    }

    fn show(self, digits: usize) -> String {
        format!("{:.digits$} ({:.digits$}–{:.digits$})", self.median, self.least, self.most)
    }
}

impl Found {
    /// A figure of a row's cells, over the rounds.
    pub fn spread(&self, row: &str, subscribers: usize, value: impl Fn(&Cell) -> f64) -> Option<Spread> {
        Spread::of(self.fan_out.get(&(row.to_owned(), subscribers))?.iter().map(value))
    }

    /// Processor time per delivery without the events' own, each round with its own.
    pub fn fan_out(&self, row: &str, subscribers: usize) -> Option<Spread> {
        let cells = self.fan_out.get(&(row.to_owned(), subscribers))?;
        let alone = self.fan_out.get(&(row.to_owned(), 0))?;
        Spread::of(cells.iter().zip(alone).map(|(cell, alone)| cell.fan_out(alone.per_event())))
    }
}

/// Prints the table and writes the file.
pub fn print(world: &World, plan: &Plan, found: &Found) -> Result<(), Fault> {
    let targets = targets::evaluate(found);
    let mut out = String::new();
    let conditions = conditions(world, plan);
    for (name, value) in &conditions {
        let _ = writeln!(out, "- {name}: {}", value.as_str().map_or_else(|| value.to_string(), str::to_owned));
    }
    for (row, why) in &found.left_out {
        let _ = writeln!(out, "- LEFT OUT: {row}: {why}");
    }
    fan_out(&mut out, found);
    others(&mut out, found);
    compression(&mut out, found);
    reached(&mut out, &targets);
    println!("{out}");
    let root =
        std::env::var_os("CARGO_TARGET_DIR").unwrap_or_else(|| concat!(env!("CARGO_MANIFEST_DIR"), "/target").into());
    let file = Path::new(&root).join("bench/fanout.json");
    let text = serde_json::to_string_pretty(&data(conditions, found, &targets)).map_err(|error| error.to_string())?;
    let folder = file.parent().ok_or("a file has a folder")?;
    std::fs::create_dir_all(folder).and_then(|()| std::fs::write(&file, text)).map_err(|error| error.to_string())?;
    println!("JSON: {}", file.display());
    Ok(())
}

fn conditions(world: &World, plan: &Plan) -> Map<String, Value> {
    let read = |path: &str| std::fs::read_to_string(path).unwrap_or_default().trim().to_owned();
    let cpu = read("/proc/cpuinfo");
    let model = cpu.lines().find_map(|line| line.strip_prefix("model name")?.split_once(": ").map(|it| it.1));
    // The folder of the program names the profile it was built with; cargo does not report its settings.
    let profile =
        std::env::var("CARGO_PROFILE_BENCH_LTO").map_or("bench".to_owned(), |lto| format!("bench, lto {lto}"));
    let rows: Map<_, _> = peers::all().iter().map(|peer| (peer.name(), json!(peer.terms()))).collect();
    let mut all = Map::new();
    all.insert("date".into(), json!(Clock::system().now().to_string()));
    all.insert("machine".into(), json!(format!("{}, {} cores", model.unwrap_or("unknown"), world.cores)));
    all.insert("kernel".into(), json!(read("/proc/sys/kernel/osrelease")));
    all.insert("isolation".into(), json!(world.isolation));
    all.insert("congestion control".into(), json!(world.congestion));
    all.insert("cores".into(), json!(world.pins()));
    all.insert("profile".into(), json!(if cfg!(debug_assertions) { "dev: NO FIGURES" } else { &profile }));
    all.insert("rounds".into(), json!(plan.rounds));
    all.insert("window in events".into(), json!(WINDOW));
    all.insert(
        "processor time".into(),
        json!("schedstat of all threads of the server's process; the kernel's writeback is not counted"),
    );
    all.extend(rows);
    all
}

fn head(out: &mut String, title: &str, columns: &[String]) {
    let _ = writeln!(out, "\n| {title} | {} |\n|---|{}", columns.join(" | "), "---|".repeat(columns.len()));
}

fn row(out: &mut String, name: &str, cells: impl Iterator<Item = Option<String>>) {
    let cells: Vec<String> = cells.map(|cell| cell.unwrap_or_else(|| "–".into())).collect();
    let _ = writeln!(out, "| {name} | {} |", cells.join(" | "));
}

fn fan_out(out: &mut String, found: &Found) {
    if found.fan_out.is_empty() {
        return;
    }
    let column = |subscribers: &usize| format!("N = {subscribers}");
    let rows: Vec<String> = peers::all().iter().map(|peer| peer.name()).collect();
    let has = |name: &&String| found.fan_out.contains_key(&((*name).clone(), 0));
    let mut table = |title: &str, columns: &[usize], value: &dyn Fn(&str, usize) -> Option<String>| {
        head(out, title, &columns.iter().map(column).collect::<Vec<_>>());
        for name in rows.iter().filter(has) {
            row(out, name, columns.iter().map(|subscribers| value(name, *subscribers)));
        }
    };
    // Not of one subscriber: that is a difference of two figures that are each five times as large.
    table("CPU-µs per delivery, fan-out alone", &COLUMNS[1..], &|name, n| Some(found.fan_out(name, n)?.show(2)));
    table("CPU-µs per delivery, the whole", &COLUMNS, &|name, n| Some(found.spread(name, n, Cell::whole)?.show(2)));
    table("deliveries per second, thousands", &COLUMNS, &|name, n| {
        Some(found.spread(name, n, |cell| cell.rate() / 1e3)?.show(0))
    });
    table("RSS at the end, most in MB", &COLUMNS, &|name, n| {
        let (end, most) = (|cell: &Cell| cell.rss_bytes as f64 / 1e6, |cell: &Cell| cell.rss_bytes_max as f64 / 1e6);
        Some(format!("{:.0}, {:.0}", found.spread(name, n, end)?.median, found.spread(name, n, most)?.median))
    });
    head(out, "an event by itself", &["CPU-µs per event, no subscriber".into()]);
    for name in rows.iter().filter(has) {
        row(out, name, [found.spread(name, 0, Cell::per_event).map(|it| it.show(2))].into_iter());
    }
}

fn others(out: &mut String, found: &Found) {
    if !found.latency.is_empty() {
        let title = format!("latency, {LATENCY_RATE} posts/s × {LATENCY_SUBSCRIBERS} subscribers");
        head(out, &title, &["p50 µs".into(), "p99 µs".into()]);
    }
    for (name, rounds) in &found.latency {
        let of = |pick: fn(&Latency) -> f64| Spread::of(rounds.iter().map(pick)).map(|it| it.show(0));
        row(out, name, [of(|it| it.0), of(|it| it.1)].into_iter());
    }
    if !found.clients.is_empty() {
        let columns = ["deliveries per second, thousands".into(), "server's CPU-µs per delivery, the whole".into()];
        head(out, &format!("real clients, {LATENCY_SUBSCRIBERS} subscribers of this gateway"), &columns);
    }
    for (name, rounds) in &found.clients {
        let of = |pick: fn(&Cell) -> f64, digits| Spread::of(rounds.iter().map(pick)).map(|it| it.show(digits));
        row(out, name, [of(|it| it.rate() / 1e3, 1), of(Cell::whole, 2)].into_iter());
    }
    let spread = |values: Vec<f64>| Spread::of(values).map(|it| it.show(0));
    examples(out, found);
    if !found.memory.is_empty() || !found.replay.is_empty() {
        head(out, "this gateway", &["figure".into()]);
    }
    if !found.memory.is_empty() {
        let most = found.memory.iter().map(|it| it.rss_bytes_max as f64 / 1e6).collect();
        row(out, "RSS at most in MB, ring of 64 MiB full, 1,000 saturated subscribers", [spread(most)].into_iter());
    }
    if !found.replay.is_empty() {
        let of = |pick: fn(&(f64, f64)) -> f64| spread(found.replay.iter().map(|it| pick(it) / 1e3).collect());
        row(out, "replay older than the ring, thousand events/s", [of(|it| it.0)].into_iter());
        row(out, "replay up to the tip, thousand events/s", [of(|it| it.1)].into_iter());
    }
}

/// Picks a figure of a consumer with its token in memory and in a file.
type Figure = fn(&(Taken, Taken)) -> f64;

fn examples(out: &mut String, found: &Found) {
    let columns = [
        "events/s, token in memory",
        "events/s, token in a file",
        "CPU-µs, token in memory",
        "CPU-µs, token in a file",
    ];
    let columns = columns.map(str::to_owned);
    let figures: [Figure; 4] = [
        |it| it.0.events_per_second / 1e3,
        |it| it.1.events_per_second / 1e3,
        |it| it.0.cpu_us_per_event,
        |it| it.1.cpu_us_per_event,
    ];
    if !found.examples.is_empty() {
        head(out, "client-examples, one consumer: thousand events per second, its CPU-µs per event", &columns);
    }
    for (names, suffix) in [(&found.examples, ""), (&found.examples_before, ", before")] {
        for (name, rounds) in names {
            let cell = |pick: &Figure| Spread::of(rounds.iter().map(pick)).map(|it| it.show(1));
            row(out, &format!("{name}{suffix}"), figures.iter().map(cell));
        }
    }
    if !found.examples_before.is_empty() {
        head(out, "client-examples, now / before, ratios of the rounds", &columns);
    }
    for (name, before) in &found.examples_before {
        let now = found.examples.get(name).map_or(&[][..], Vec::as_slice);
        let rounds = || now.iter().zip(before);
        let ratios = |pick: &Figure| Spread::of(rounds().map(|(now, before)| pick(now) / pick(before)));
        row(out, name, figures.iter().map(|pick| ratios(pick).map(|it| it.show(2))));
    }
}

fn compression(out: &mut String, found: &Found) {
    let mut names: Vec<&String> = found.compressed.keys().map(|(name, _)| name).collect();
    names.dedup();
    if names.is_empty() {
        return;
    }
    let columns = COMPRESSED_COLUMNS.map(|subscribers| format!("N = {subscribers}"));
    head(out, "CPU-µs per delivery, compressed, the whole", &columns);
    for name in names {
        let cell = |subscribers: &usize| {
            let rounds = found.compressed.get(&(name.clone(), *subscribers))?;
            Some(Spread::of(rounds.iter().map(Cell::whole))?.show(2))
        };
        row(out, name, COMPRESSED_COLUMNS.iter().map(cell));
    }
}

fn reached(out: &mut String, targets: &[Target]) {
    if targets.is_empty() {
        return;
    }
    head(out, "ratio of medians", &["target".into(), "found".into(), "reached".into()]);
    for target in targets {
        let bound = format!("{} {}", if target.at_most { "≤" } else { "≥" }, target.bound);
        let cells = [bound, format!("{:.2}", target.found), if target.reached() { "yes" } else { "no" }.into()];
        row(out, &target.name, cells.into_iter().map(Some));
    }
}

fn data(conditions: Map<String, Value>, found: &Found, targets: &[Target]) -> Value {
    let cells = |cells: &std::collections::BTreeMap<(String, usize), Vec<Cell>>| -> Vec<Value> {
        let cell = |((row, subscribers), rounds): (&(String, usize), &Vec<Cell>)| {
            let fan_out = found.fan_out(row, *subscribers).filter(|_| *subscribers > 0);
            json!({ "row": row, "subscribers": subscribers, "rounds": rounds,
                    "cpu_us_per_delivery_fan_out": fan_out,
                    "cpu_us_per_delivery_whole": Spread::of(rounds.iter().map(Cell::whole)) })
        };
        cells.iter().map(cell).collect()
    };
    json!({
        "conditions": conditions, "left_out": found.left_out, "fan_out": cells(&found.fan_out),
        "latency_us_p50_p99": found.latency, "compressed": cells(&found.compressed), "clients": found.clients,
        "examples": found.examples, "examples_before": found.examples_before,
        "memory": found.memory, "replay_events_per_second": found.replay, "targets": targets,
    })
}
