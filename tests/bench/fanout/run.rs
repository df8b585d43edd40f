//! The order of a run: everything in turn, again and again, so that what changes on the machine changes for all.

use std::collections::BTreeMap;
use std::path::Path;
use std::time::Duration;

use crate::clients;
use crate::examples::{EXAMPLES, Example, Taken, own_tree};
use crate::measure::{self, Cell};
use crate::peers::{self, Gateway, Peer, Stock};
use crate::plan::{COMPRESSED_COLUMNS, Plan};
use crate::wire::Fault;
use crate::wire::grpc::Codec;
use crate::world::World;

/// A part of the run that can be asked for alone.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Part {
    Fanout,
    Latency,
    Compression,
    Clients,
    Examples,
    Memory,
    Replay,
}

/// All parts with their names, in the order of the table.
pub const PARTS: [(&str, Part); 7] = [
    ("fanout", Part::Fanout),
    ("latency", Part::Latency),
    ("compression", Part::Compression),
    ("clients", Part::Clients),
    ("examples", Part::Examples),
    ("memory", Part::Memory),
    ("replay", Part::Replay),
];

/// The name of the row without a gateway.
pub const FLOOR: &str = "floor: no gateway";

/// A row's name, and the number of subscribers; 0 = none.
pub type Place = (String, usize);

/// Median and 99th percentile of one round, in microseconds.
pub type Latency = (f64, f64);

/// What was found, by round.
#[derive(Default)]
pub struct Found {
    pub fan_out: BTreeMap<Place, Vec<Cell>>,
    pub latency: BTreeMap<String, Vec<Latency>>,
    /// By server and codec.
    pub compressed: BTreeMap<Place, Vec<Cell>>,
    pub clients: BTreeMap<String, Vec<Cell>>,
    /// Each consumer of `client-examples/`: its token in memory, and in a file.
    pub examples: BTreeMap<String, Vec<(Taken, Taken)>>,
    /// The same of the other tree, by the same names.
    pub examples_before: BTreeMap<String, Vec<(Taken, Taken)>>,
    pub memory: Vec<Cell>,
    /// Events a second of a replay from the journal, and with the ring behind it.
    pub replay: Vec<(f64, f64)>,
    /// Rows that could not be measured, and why.
    pub left_out: BTreeMap<String, Fault>,
}

/// Everything that was asked for.
pub fn run(world: &World, plan: &Plan, parts: &[Part]) -> Result<Found, Fault> {
    let mut found = Found::default();
    let mut rows = peers::all();
    rows.retain(|peer| plan.measures(&peer.name()));
    rows.retain(|peer| match peer.missing() {
        None => true,
        Some(why) => {
            found.left_out.insert(peer.name(), why);
            false
        }
    });
    for round in 0..plan.rounds {
        note(&format!("round {} of {}", round + 1, plan.rounds));
        for part in parts {
            match part {
                Part::Fanout => fan_out(world, plan, &rows, round, &mut found)?,
                Part::Latency => latency(world, plan, &rows, round, &mut found)?,
                Part::Compression => compression(world, plan, round, &mut found)?,
                Part::Clients => clients(world, plan, &mut found)?,
                Part::Examples => examples(world, plan, round, &mut found)?,
                Part::Memory => found.memory.push(with_row("memory", measure::saturated(world, 1_000, plan))?),
                Part::Replay => found.replay.push(with_row("replay", measure::replay(world, plan.replay_posts))?),
            }
        }
    }
    Ok(found)
}

/// The order of a round: none comes behind the same one each time, for a server that wrote much leaves work behind.
fn order(rows: usize, round: usize) -> impl Iterator<Item = usize> {
    let coprime =
        |step: &usize| (2..=*step).all(|factor| !(step.is_multiple_of(factor) && rows.is_multiple_of(factor)));
    let steps: Vec<usize> = (1..=rows).filter(coprime).collect();
    let step = steps.get(round % steps.len().max(1)).copied().unwrap_or(1);
    (0..rows).map(move |nth| (nth * step + round) % rows)
}

fn fan_out(world: &World, plan: &Plan, rows: &[Box<dyn Peer>], round: usize, found: &mut Found) -> Result<(), Fault> {
    for subscribers in [0].into_iter().chain(plan.columns.iter().copied()) {
        for at in order(rows.len(), round) {
            let peer = &*rows[at];
            let cell = match subscribers {
                0 => measure::alone(world, peer, plan),
                _ => measure::fan_out(world, peer, subscribers, plan),
            };
            let cell = with_row(&format!("{} × {subscribers}", peer.name()), cell)?;
            let (whole, rate) = (cell.whole(), cell.rate());
            note(&format!("  {} × {subscribers}: {whole:.2} µs, {rate:.0}/s", peer.name()));
            found.fan_out.entry((peer.name(), subscribers)).or_default().push(cell);
        }
    }
    Ok(())
}

fn latency(world: &World, plan: &Plan, rows: &[Box<dyn Peer>], round: usize, found: &mut Found) -> Result<(), Fault> {
    for at in order(rows.len() + 1, round) {
        let (name, took) = match rows.get(at) {
            Some(peer) => (peer.name(), measure::latencies(world, &**peer, plan.latency_posts)),
            None => (FLOOR.to_owned(), measure::floor(world, plan.latency_posts)),
        };
        let mut took = with_row(&format!("latency of {name}"), took)?;
        took.sort_unstable();
        let at = |share: usize| micros(took.get(took.len() * share / 100).copied().unwrap_or_default());
        note(&format!("  latency of {name}: p50 {:.0} µs, p99 {:.0} µs", at(50), at(99)));
        found.latency.entry(name).or_default().push((at(50), at(99)));
    }
    Ok(())
}

fn compression(world: &World, plan: &Plan, round: usize, found: &mut Found) -> Result<(), Fault> {
    for codec in [Codec::Gzip, Codec::Zstd] {
        let ours: Box<dyn Peer> = Box::new(Gateway { codec: Some(codec), ..Gateway::default() });
        let theirs: Box<dyn Peer> = Box::new(Stock { codec: Some(codec) });
        let mut rows = vec![ours, theirs];
        rows.retain(|peer| plan.measures(&peer.name()));
        for subscribers in COMPRESSED_COLUMNS.into_iter().filter(|subscribers| plan.columns.contains(subscribers)) {
            for at in order(rows.len(), round) {
                let peer = &*rows[at];
                let name = compressed_name(&peer.name(), codec);
                // A server that does not compress has no such row; any other fault ends the run.
                match measure::compressed(world, peer, subscribers, plan) {
                    Err(fault) if fault.ends_with(crate::wire::grpc::NOT_COMPRESSED) => {
                        found.left_out.insert(name, fault);
                    }
                    cell => {
                        let cell = with_row(&name, cell)?;
                        note(&format!("  {name} × {subscribers}: {:.2} µs", cell.whole()));
                        found.compressed.entry((name, subscribers)).or_default().push(cell);
                    }
                }
            }
        }
    }
    Ok(())
}

/// The name of a row with compression.
pub fn compressed_name(peer: &str, codec: Codec) -> String {
    format!("{peer}, {}", codec.name())
}

fn clients(world: &World, plan: &Plan, found: &mut Found) -> Result<(), Fault> {
    for client in clients::all() {
        let mut command = match client.command() {
            Ok(command) => command,
            Err(why) => {
                found.left_out.insert(client.name.into(), why);
                continue;
            }
        };
        let events = if plan.seconds < 1.0 { client.events / 4 } else { client.events };
        let cell = with_row(client.name, measure::client(world, &mut command, events, client.warm))?;
        note(&format!("  {}: {:.2} µs, {:.0}/s", client.name, cell.whole(), cell.rate()));
        found.clients.entry(client.name.into()).or_default().push(cell);
    }
    Ok(())
}

/// The tree that comes first is another one in each round.
fn examples(world: &World, plan: &Plan, round: usize, found: &mut Found) -> Result<(), Fault> {
    for example in EXAMPLES.iter().filter(|example| plan.measures(example.name)) {
        let mut trees = vec![(own_tree(), false)];
        trees.extend(plan.before.as_deref().map(|tree| (tree, true)));
        if round % 2 == 1 {
            trees.reverse();
        }
        for (tree, is_before) in trees {
            let row = if is_before { format!("{}, before", example.name) } else { example.name.into() };
            if let Some(why) = example.missing(tree) {
                found.left_out.insert(format!("client-examples, {row}"), why);
                continue;
            }
            let taken = with_row(&row, both(world, plan, example, tree))?;
            let rates = (taken.0.events_per_second, taken.1.events_per_second);
            note(&format!("  example in {row}: {:.0}/s, {:.0}/s with a cursor file", rates.0, rates.1));
            let rows = if is_before { &mut found.examples_before } else { &mut found.examples };
            rows.entry(example.name.into()).or_default().push(taken);
        }
    }
    Ok(())
}

fn both(world: &World, plan: &Plan, example: &Example, tree: &Path) -> Result<(Taken, Taken), Fault> {
    let measure = |cursor_file| example.measure(world, tree, plan.example_posts, cursor_file);
    Ok((measure(false)?, measure(true)?))
}

fn with_row<T>(row: &str, result: Result<T, Fault>) -> Result<T, Fault> {
    result.map_err(|fault| format!("{row}: {fault}"))
}

fn micros(duration: Duration) -> f64 {
    duration.as_secs_f64() * 1e6
}

/// Progress is printed next to the table.
fn note(line: &str) {
    eprintln!("{line}");
}
