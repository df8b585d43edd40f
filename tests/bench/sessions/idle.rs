//! Memory of idle subscribers with narrow filters, and how many are woken by an event.

use std::sync::Arc;
use std::time::{Duration, Instant};

use tokio::task::JoinSet;

use crate::world::{World, WorldConfig, pause, subscribe, wait};

/// Subscribers.
const IDLE: usize = 10_000;
/// Events that each match one of them.
const EVENTS: usize = 1_000;
/// Streams that share a connection in the second row.
const STREAMS_PER_CONNECTION: usize = 100;

pub async fn run() {
    println!("| {IDLE} idle subscribers | memory each | time to subscribe all | wakes per matching event |");
    println!("|---|---|---|---|");
    idle("one connection each", 1).await;
    idle("100 streams per connection", STREAMS_PER_CONNECTION).await;
    println!();
}

async fn idle(name: &str, streams_per_connection: usize) {
    let world = Arc::new(World::start(WorldConfig::default()).await);
    let before = world.rss();
    let began = Instant::now();
    let mut opening = JoinSet::new();
    let mut frames = Vec::with_capacity(IDLE);
    for first in (0..IDLE).step_by(streams_per_connection) {
        while opening.len() >= 64 {
            frames.extend(opening.join_next().await.expect("some").expect("no panic"));
        }
        let world = world.clone();
        opening.spawn(async move {
            let channel = world.channel().await;
            let mut all = Vec::new();
            for at in first..first + streams_per_connection {
                all.push(subscribe(channel.clone(), format!("tag-{at}")).await);
            }
            all
        });
    }
    while let Some(opened) = opening.join_next().await {
        frames.extend(opened.expect("no panic"));
    }
    let took = began.elapsed();
    assert_eq!(frames.len(), IDLE);
    pause(Duration::from_secs(2)).await;
    let each = (world.rss() - before) / IDLE as u64;
    let wakes = world.counter("session_wakeups_total");
    for event in 0..EVENTS {
        world.publish(&format!("tag-{}", event * (IDLE / EVENTS)));
    }
    let appended = || world.counter("posts_appended_total");
    wait("all is appended", || appended() >= EVENTS as f64).await;
    let per_event = (world.counter("session_wakeups_total") - wakes) / EVENTS as f64;
    println!("| {name} | {:.1} KB | {:.2} s | {per_event:.2} |", each as f64 / 1024.0, took.as_secs_f64());
}
