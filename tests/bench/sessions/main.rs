//! What subscribers cost: idle ones, a stalled one next to a hundred that read, TLS, and what a principal at its limits does to
//! the others.
//!
//! `cargo bench --bench sessions -- [idle] [stalled] [tls] [access]`; all without an argument. The gateway is a process of its
//! own (the binary of the same profile), fed over HTTP by the simulator in this process; clients are tonic's. Figures are of
//! the gateway's process unless stated otherwise.
#![allow(clippy::print_stdout)]

mod access;
mod idle;
mod latency;
mod stalled;
mod tls;
mod world;

#[tokio::main]
async fn main() {
    let asked: Vec<String> = std::env::args().skip(1).filter(|argument| !argument.starts_with('-')).collect();
    let is_asked = |part: &str| asked.is_empty() || asked.iter().any(|own| own == part);
    let cores = std::thread::available_parallelism().map_or(1, usize::from);
    println!("{cores} cores, {} profile\n", if cfg!(debug_assertions) { "dev" } else { "release" });
    if is_asked("idle") {
        idle::run().await;
    }
    if is_asked("stalled") {
        stalled::run().await;
    }
    if is_asked("tls") {
        tls::run().await;
    }
    if is_asked("access") {
        access::run().await;
    }
}
