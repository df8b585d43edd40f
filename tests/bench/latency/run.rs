//! The order of a run: everything in turn, again and again, so that what changes on the machine changes for all.

use std::collections::BTreeMap;

use crate::measure::{self, Sample};
use crate::peers::{Direct, Gateway, NatsCore, Peer, Plain};
use crate::setups::{Plan, Setup};
use crate::stages::StageTimes;
use crate::wire::Fault;
use crate::world::World;

/// Names of the rows.
pub const GATEWAY: &str = "gateway";
pub const NAIVE: &str = "naive server";
pub const OTHER: &str = "other gateway";
pub const ROWS: [&str; 6] = [GATEWAY, OTHER, NAIVE, "NATS core", "plain TCP", FLOOR];
const FLOOR: &str = "floor";

/// Shares of the percentiles; the last is the maximum.
pub const SHARES: [(&str, f64); 5] = [("p50", 0.5), ("p90", 0.9), ("p99", 0.99), ("p99.9", 0.999), ("max", 1.0)];

/// A round of a row.
#[derive(Clone, Debug, serde::Serialize)]
pub struct Round {
    /// Percentiles in microseconds, as in [`SHARES`].
    pub micros: [f64; SHARES.len()],
    pub cpu_micros: Option<f64>,
    pub rate: f64,
}

/// What was found, by setup and row.
#[derive(Default)]
pub struct Found {
    pub rounds: BTreeMap<(String, &'static str), Vec<Round>>,
    /// Of the gateway, by setup.
    pub stages: BTreeMap<String, StageTimes>,
    /// Rows that could not be measured, and why.
    pub left_out: BTreeMap<&'static str, Fault>,
    /// Load averages at the begin of each round.
    pub loads: Vec<String>,
}

/// Everything that was asked for.
pub fn run(world: &World, plan: &Plan) -> Result<Found, Fault> {
    let mut found = Found::default();
    if let Some(why) = NatsCore.missing() {
        found.left_out.insert("NATS core", why);
    }
    for round in 0..plan.rounds {
        let load = std::fs::read_to_string("/proc/loadavg").unwrap_or_default();
        found.loads.push(load.split(' ').next().unwrap_or_default().to_owned());
        for setup in &plan.setups {
            for nth in 0..ROWS.len() {
                // None comes behind the same one each time, for a server that wrote much leaves work behind.
                let step = if round % 2 == 0 { nth } else { ROWS.len() - 1 - nth };
                let row = ROWS[(step + round) % ROWS.len()];
                let is_part = plan.measures(row) && (setup.is_of_peers() || row == GATEWAY || row == OTHER);
                if is_part && !found.left_out.contains_key(row) {
                    measure_row(world, plan, setup, row, &mut found)?;
                }
            }
        }
    }
    Ok(found)
}

fn measure_row(world: &World, plan: &Plan, setup: &Setup, row: &'static str, found: &mut Found) -> Result<(), Fault> {
    let gateway = Gateway { filters: setup.filters, durability: setup.durability, ..Gateway::default() };
    let sample = match row {
        GATEWAY => measure::peer(world, &gateway, setup, plan),
        OTHER => measure::peer(world, &plan.other.of(gateway), setup, plan),
        NAIVE => measure::peer(world, &Direct, setup, plan),
        FLOOR => measure::floor(world, setup, plan),
        "NATS core" => measure::peer(world, &NatsCore, setup, plan),
        _ => measure::peer(world, &Plain, setup, plan),
    };
    let sample: Sample = sample.map_err(|fault| format!("{row}, {}: {fault}", setup.name))?;
    let micros = SHARES.map(|(_, share)| sample.at(share));
    eprintln!("  {} {row}: p50 {:.0} µs, p99 {:.0} µs", setup.name, micros[0], micros[2]);
    if let Some(stages) = sample.stages.as_ref().filter(|_| row == GATEWAY) {
        found.stages.entry(setup.name.clone()).or_default().add(stages);
    }
    let round = Round { micros, cpu_micros: sample.cpu, rate: sample.rate };
    found.rounds.entry((setup.name.clone(), row)).or_default().push(round);
    Ok(())
}
