//! The binary: passes the command line to the library, and its result to the system.

use std::process::ExitCode;

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() -> ExitCode {
    powerstream_gateway::cli::run(std::env::args_os())
}
