//! The gateway and its peers, each started fresh for every figure.

mod gateway;
mod nats;
mod own;
mod redis;
mod upstream;

use std::io::Write;
use std::net::TcpStream;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

pub use gateway::{Filters, Gateway, scrape};
pub use nats::{Jetstream, NatsCore};
pub use own::{Direct, Plain, Stock};
pub use redis::{RedisPubSub, RedisStreams};

use crate::load::{Feed, Reader};
use crate::process::Process;
use crate::wire::Fault;
use crate::world::{World, cache};

/// A system that posts go into and come out of.
pub trait Peer {
    /// The name of its row.
    fn name(&self) -> String;

    /// Its version, and what it does for a post to outlive it.
    fn terms(&self) -> String;

    /// Why it cannot run here.
    fn missing(&self) -> Option<String> {
        None
    }

    /// Starts it, empty.
    fn start(&self, world: &World) -> Result<Running, Fault>;
}

type Subscribe = Box<dyn Fn(&mut Process, usize) -> Result<Reader, Fault>>;
type Counted = Box<dyn Fn() -> Result<u64, Fault>>;

/// A system that runs.
pub struct Running {
    pub process: Process,
    /// Taken by the player.
    pub feed: Option<Feed>,
    /// Connects the nth subscriber.
    pub subscribe: Subscribe,
    /// Posts that it took, where its protocol has no words to ask.
    pub counted: Option<Counted>,
    /// Port of its metrics, if it has one.
    pub admin: Option<u16>,
}

/// All rows, in the order of the table.
pub fn all() -> Vec<Box<dyn Peer>> {
    vec![
        Box::new(Gateway::default()),
        Box::new(Gateway { long_frames: true, ..Gateway::default() }),
        Box::new(Gateway { tls: true, ..Gateway::default() }),
        Box::new(Gateway { filters: Filters::Distinct, ..Gateway::default() }),
        Box::new(Stock::default()),
        Box::new(Direct),
        Box::new(Plain),
        Box::new(NatsCore),
        Box::new(Jetstream),
        Box::new(RedisPubSub),
        Box::new(RedisStreams),
    ]
}

/// A program that was fetched by `tests/bench/peers.sh`, or else is on the path.
fn program(name: &str) -> Option<PathBuf> {
    let path = std::env::var_os("PATH").unwrap_or_default();
    let mut places = vec![cache().join("bin")];
    places.extend(std::env::split_paths(&path));
    places.into_iter().map(|dir| dir.join(name)).find(|file| file.is_file())
}

fn absent(name: &str) -> Option<String> {
    program(name).is_none().then(|| format!("{name} is not installed: run tests/bench/peers.sh"))
}

/// The first line that a program prints about its version.
fn version(name: &str) -> String {
    let Some(program) = program(name) else { return "not installed".into() };
    let output = Command::new(program).arg("--version").stderr(Stdio::null()).output();
    let text = output.map(|output| String::from_utf8_lossy(&output.stdout).into_owned()).unwrap_or_default();
    text.lines().next().unwrap_or_default().to_owned()
}

/// The version of a library in this build.
fn locked(name: &str) -> &'static str {
    let lock = include_str!("../../../../Cargo.lock");
    let mut lines = lock.lines().skip_while(|line| *line != format!("name = \"{name}\""));
    lines.nth(1).and_then(|line| line.strip_prefix("version = \"")).map_or("?", |line| line.trim_end_matches('"'))
}

fn send_all(mut socket: &TcpStream, words: &[u8]) -> Result<(), Fault> {
    socket.write_all(words).map_err(|error| error.to_string())
}

fn written(path: &Path, text: &str) -> Result<(), Fault> {
    std::fs::write(path, text).map_err(|error| format!("{}: {error}", path.display()))
}
