//! What reading from the journal costs: alone, through a session, and through a socket, compared with the same from the ring.
//!
//! `cargo bench --bench replay [-- POSTS --rounds=7 --only=WORDS]`, where the words are in the name of a row. One gateway in this process over a log made for it; all rows are measured in
//! turn within each round, over ranges that no row before has left in memory. Prints medians; nothing is asserted.
#![allow(clippy::print_stdout)]

mod client;
mod log_ranges;
#[path = "../posts.rs"]
mod posts;
#[path = "../fanout/wire/mod.rs"]
#[expect(dead_code, reason = "of the fan-out benchmark's readers this one needs a part")]
mod wire;
mod world;

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use log_ranges::LogRanges;
use powerstream_gateway::model::{KeyFilter, Sequence};
use world::{Session, World};

/// The allocator of the gateway's program.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

/// How often each row is measured.
const ROUNDS: usize = 7;
/// Posts that one replay of a row reads.
const POSTS: u64 = 8_000;
/// Replays at once.
const CROWDS: [usize; 3] = [1, 4, 16];

fn main() {
    // `cargo test --benches` runs this too, without the flag; there is nothing to test.
    if !std::env::args().any(|argument| argument == "--bench") {
        return;
    }
    let count = std::env::args().skip(1).find_map(|it| it.parse().ok()).unwrap_or(200_000_u64);
    let flag = |name: &str| std::env::args().find_map(|it| it.strip_prefix(name).map(str::to_owned));
    let only = flag("--only=").unwrap_or_default();
    let rounds = flag("--rounds=").and_then(|it| it.parse().ok()).unwrap_or(ROUNDS);
    let world = World::new(count);
    let mut log_ranges = LogRanges::new(&world.parts);
    let mut rates: BTreeMap<(usize, String), Vec<f64>> = BTreeMap::new();
    for _ in 0..rounds {
        for (at, row) in rows().into_iter().filter(|row| row.name.contains(&only)).enumerate() {
            let rate = (row.measure)(&world, &mut log_ranges);
            rates.entry((at, row.name)).or_default().push(rate);
        }
    }
    println!("{count} posts, {rounds} rounds, {POSTS} posts in each replay; ring from {}\n", world.parts.ring.start);
    println!("| posts a second | median | least | most |\n|---|---|---|---|");
    for ((_, name), mut rates) in rates {
        rates.sort_by(f64::total_cmp);
        let [median, least, most] = [rates[rates.len() / 2], rates[0], rates[rates.len() - 1]];
        println!("| {name} | {median:.0} | {least:.0} | {most:.0} |");
    }
}

/// Something that is measured, in posts a second.
struct Row {
    name: String,
    measure: Measure,
}

type Measure = Box<dyn Fn(&World, &mut LogRanges) -> f64>;

fn row(name: impl Into<String>, measure: impl Fn(&World, &mut LogRanges) -> f64 + 'static) -> Row {
    Row { name: name.into(), measure: Box::new(measure) }
}

fn rows() -> Vec<Row> {
    let mut rows = vec![
        row("reader alone, recompressed", |world, at| read(world, at.packed(POSTS))),
        row("reader alone, fresh", |world, at| read(world, at.fresh(POSTS))),
        row("reader alone, recompressed, the newest tenth", |world, at| read(world, at.near(POSTS))),
        row("reader alone, recompressed, the oldest tenth", |world, at| read(world, at.far(POSTS))),
        row("in the process: from the ring", |world, at| session(world, at.ring(POSTS))),
        row("in the process: recompressed", |world, at| session(world, at.packed(POSTS))),
        row("in the process: fresh", |world, at| session(world, at.fresh(POSTS))),
        row("through a socket: from the ring", |world, at| sockets(world, &[at.ring(POSTS)])),
        row("through a socket: recompressed", |world, at| sockets(world, &[at.packed(POSTS)])),
        row("through a socket: fresh", |world, at| sockets(world, &[at.fresh(POSTS)])),
        row("through a socket: recompressed, the newest tenth", |world, at| sockets(world, &[at.near(POSTS)])),
        row("through a socket: recompressed, the oldest tenth", |world, at| sockets(world, &[at.far(POSTS)])),
    ];
    for crowd in CROWDS {
        rows.push(row(format!("{crowd} at once, the same range"), move |world, at| {
            sockets(world, &vec![at.packed(POSTS); crowd])
        }));
        rows.push(row(format!("{crowd} at once, different ranges"), move |world, at| {
            sockets(world, &(0..crowd).map(|_| at.packed(POSTS)).collect::<Vec<_>>())
        }));
    }
    rows
}

fn rate(posts: u64, took: Duration) -> f64 {
    posts as f64 / took.as_secs_f64()
}

/// The journal's reader alone: decoded posts, not encoded.
fn read(world: &World, from: Sequence) -> f64 {
    let started = Instant::now();
    let mut cursor = from;
    while cursor < from + POSTS {
        let chunk = world.hub.reader().read(cursor, &KeyFilter::Always, world.hub.config().replay_read_bytes_max);
        cursor = chunk.expect("nothing is trimmed").next;
    }
    rate(cursor - from, started.elapsed())
}

/// A session whose frames are dropped.
fn session(world: &World, from: Sequence) -> f64 {
    let started = Instant::now();
    let posts = world.runtime.block_on(Session::open(world, from).read(POSTS));
    rate(posts, started.elapsed())
}

/// Clients of as many sessions at once; the rate is that of all together.
fn sockets(world: &World, from: &[Sequence]) -> f64 {
    let started = Instant::now();
    let posts: u64 = std::thread::scope(|scope| {
        let clients: Vec<_> = from
            .iter()
            .map(|&from| scope.spawn(move || client::receive(world.address(), &world.token(from), POSTS)))
            .collect();
        clients.into_iter().map(|client| client.join().expect("it receives")).sum()
    });
    rate(posts, started.elapsed())
}
