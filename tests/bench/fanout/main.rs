//! What a delivered message costs: this gateway and its peers, interleaved in one run.
//!
//! `cargo bench --bench fanout`; `-- --quick` to try it out, `-- --rounds 9`, `-- --only latency,replay`,
//! `-- --rows gateway,plain`, `-- --subscribers 10,100`; `-- --only examples --before DIR` measures the consumers of another
//! checkout in the same rounds. Prints a table in Markdown and writes
//! `target/bench/fanout.json`. It runs itself again in a private network namespace with `reno`; servers are processes of
//! their own on one core, the load is this process on another. Peers that are not installed are left out:
//! `tests/bench/peers.sh` fetches them. A subscriber that got an event twice, or not, ends the run.
#![allow(clippy::print_stdout)]

mod clients;
mod examples;
#[path = "../posts.rs"]
mod invented;
mod load;
mod measure;
#[allow(dead_code, unused_imports, reason = "the latency bench uses more of it")]
mod peers;
mod plan;
mod posts;
mod process;
mod run;
mod servers;
mod table;
mod targets;
mod wire;
#[allow(dead_code, reason = "the latency bench uses more of it")]
mod world;

use std::process::ExitCode;

use plan::{COLUMNS, Plan};
use run::{PARTS, Part};
use wire::Fault;

/// The allocator of the gateway's program, for the servers that are modes of this one.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let ended = match arguments.first().map(String::as_str) {
        Some("server") => servers::run(&arguments[1..]),
        Some("client") => clients::run(&arguments[1..]),
        // `cargo test --benches` runs this too, without the flag; there is nothing to test.
        _ if !arguments.iter().any(|argument| argument == "--bench") => Ok(()),
        _ => match world::enter(&arguments) {
            Ok(world) => bench(&world, &arguments),
            Err(code) => return code,
        },
    };
    world::exit_code(ended)
}

fn bench(world: &world::World, arguments: &[String]) -> Result<(), Fault> {
    let value = |flag: &str| {
        let at = arguments.iter().position(|argument| argument == flag)?;
        arguments.get(at + 1)
    };
    let mut plan = if arguments.iter().any(|argument| argument == "--quick") { Plan::quick() } else { Plan::whole() };
    if let Some(rounds) = value("--rounds") {
        plan.rounds = rounds.parse().map_err(|_| format!("--rounds {rounds}: no number"))?;
    }
    let words = |flag: &str| value(flag).map(|list| list.split(',').map(str::to_owned).collect::<Vec<_>>());
    if let Some(columns) = words("--subscribers") {
        plan.columns = columns.iter().map(|word| column(word)).collect::<Result<_, _>>()?;
    }
    plan.rows = words("--rows").unwrap_or_default();
    plan.before = value("--before").map(Into::into);
    let parts = parts(value("--only"))?;
    let found = run::run(world, &plan, &parts)?;
    table::print(world, &plan, &found)
}

fn column(word: &str) -> Result<usize, Fault> {
    let known = word.parse().ok().filter(|count| COLUMNS.contains(count));
    known.ok_or_else(|| format!("--subscribers {word}: of {COLUMNS:?}"))
}

fn parts(only: Option<&String>) -> Result<Vec<Part>, Fault> {
    let Some(only) = only else { return Ok(PARTS.map(|(_, part)| part).to_vec()) };
    let part = |word: &str| {
        let named = PARTS.iter().find(|(name, _)| *name == word);
        named.map(|(_, part)| *part).ok_or_else(|| format!("--only {word}: one of {:?}", PARTS.map(|(name, _)| name)))
    };
    only.split(',').map(part).collect()
}
