//! Where the time of a delivery goes: this gateway and its peers at fixed rates, interleaved in one run.
//!
//! `cargo bench --bench latency --features stage-times` prints percentiles, processor time per delivery, ratios to the naive
//! server, and the time of each stage within the gateway; without the feature all but the stages. It writes
//! `target/bench/latency.json`. `LATENCY_ROUNDS`, `LATENCY_SECONDS`, `LATENCY_SETUPS=1000x10,1000x10-sync` and
//! `LATENCY_ROWS=gateway,naive` select a part. `LATENCY_OTHER_PROGRAM` (a gateway of another build) and
//! `LATENCY_OTHER_SETTING` (`POWERSTREAM_GATEWAY__…=value`) add a row that this gateway is compared with. It runs itself again in a private network namespace with `reno`; servers,
//! load and wire are those of the fan-out bench. A subscriber that got an event twice, or not, ends the run.
#![allow(clippy::print_stdout)]

#[path = "../posts.rs"]
mod invented;
#[allow(dead_code, reason = "the fan-out bench uses more of it")]
#[path = "../fanout/load.rs"]
mod load;
mod measure;
#[allow(dead_code, unused_imports, reason = "the fan-out bench uses more of it")]
#[path = "../fanout/peers/mod.rs"]
mod peers;
#[path = "../fanout/posts.rs"]
mod posts;
#[allow(dead_code, reason = "the fan-out bench uses more of it")]
#[path = "../fanout/process.rs"]
mod process;
mod run;
#[path = "../fanout/servers/mod.rs"]
mod servers;
mod setups;
mod stages;
mod table;
#[allow(dead_code, reason = "the fan-out bench uses more of it")]
#[path = "../fanout/wire/mod.rs"]
mod wire;
#[allow(dead_code, reason = "the fan-out bench uses more of it")]
#[path = "../fanout/world.rs"]
mod world;

use std::process::ExitCode;

/// The allocator of the gateway's program, for the servers that are modes of this one.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let ended = match arguments.first().map(String::as_str) {
        Some("server") => servers::run(&arguments[1..]),
        // `cargo test --benches` runs this too, without the flag; there is nothing to test.
        _ if !arguments.iter().any(|argument| argument == "--bench") => Ok(()),
        _ => match world::enter(&arguments) {
            Ok(world) => setups::Plan::from_env()
                .and_then(|plan| run::run(&world, &plan).and_then(|found| table::print(&world, &plan, &found))),
            Err(code) => return code,
        },
    };
    world::exit_code(ended)
}
