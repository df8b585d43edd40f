//! A subscriber that never reads next to a hundred that do.

use std::collections::HashMap;
use std::sync::Arc;

use parking_lot::Mutex;

use crate::latency::{FAST, POSTS_PER_SECOND, half_round, p99, readers};
use crate::world::{World, WorldConfig, subscribe};

/// Rounds, each without and with a stalled subscriber.
const ROUNDS: usize = 7;

pub async fn run() {
    let world = World::start(WorldConfig::default()).await;
    let published = Arc::new(Mutex::new(HashMap::new()));
    let readers = readers(&world, &published).await;
    half_round(&world, &published, &readers).await;
    let mut rows = [Vec::new(), Vec::new()];
    let mut rss = [0, 0];
    for _ in 0..ROUNDS {
        for with in [0, 1] {
            // It asks for everything and never reads: its HTTP/2 stack answers pings, its window fills.
            let channel = world.channel().await;
            let idle = if with == 1 { Some(subscribe(channel, "fast".into()).await) } else { None };
            let latencies = half_round(&world, &published, &readers).await;
            rows[with].push(p99(&latencies));
            rss[with] = rss[with].max(world.rss());
            drop(idle);
        }
    }
    println!(
        "| {FAST} subscribers that read, {POSTS_PER_SECOND} posts/s | p99 latency, median of {ROUNDS} rounds | \
         least to most | memory at most |"
    );
    println!("|---|---|---|---|");
    rows.iter_mut().for_each(|rounds| rounds.sort_unstable());
    for (name, rounds, rss) in [("alone", &rows[0], rss[0]), ("next to a stalled one", &rows[1], rss[1])] {
        let (least, most) = (rounds[0], rounds[rounds.len() - 1]);
        println!("| {name} | {:.2?} | {least:.2?} to {most:.2?} | {} MiB |", rounds[rounds.len() / 2], rss >> 20);
    }
}
