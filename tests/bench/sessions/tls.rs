//! What TLS costs: CPU per delivery, and memory of an idle connection.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use powerstream_gateway::proto::subscribe_response::Frame;
use tokio::task::JoinSet;

use crate::world::{Frames, World, WorldConfig, pause, subscribe, wait};

/// Subscribers, one connection each.
const SUBSCRIBERS: [usize; 3] = [10, 100, 1_000];
/// Rounds, each without and with TLS.
const ROUNDS: usize = 5;
/// Deliveries of a half of a round, and at most how many a second.
const DELIVERIES: usize = 60_000;
const DELIVERIES_PER_SECOND: usize = 20_000;
/// Most posts a second.
const POSTS_PER_SECOND: usize = 500;
/// Idle connections.
const IDLE: usize = 2_000;

/// Subscribers of a gateway that read.
struct Reading {
    world: World,
    delivered: Arc<AtomicUsize>,
    _tasks: JoinSet<()>,
}

impl Reading {
    async fn start(has_tls: bool, subscribers: usize) -> Self {
        let world = World::start(WorldConfig { has_tls, ..WorldConfig::default() }).await;
        let delivered = Arc::new(AtomicUsize::new(0));
        let mut tasks = JoinSet::new();
        for _ in 0..subscribers {
            let frames = subscribe(world.channel().await, "fast".into()).await;
            tasks.spawn(count(frames, delivered.clone()));
        }
        Self { world, delivered, _tasks: tasks }
    }

    /// Returns the CPU time per delivery of a half of a round.
    async fn half_round(&self, subscribers: usize) -> Duration {
        let posts = DELIVERIES / subscribers;
        let rate = (DELIVERIES_PER_SECOND / subscribers).min(POSTS_PER_SECOND);
        let (before, done) = (self.world.cpu(), self.delivered.load(Ordering::Relaxed));
        let began = Instant::now();
        for at in 0..posts {
            let due = began + Duration::from_secs(1) * at as u32 / rate as u32;
            pause(due.saturating_duration_since(Instant::now())).await;
            self.world.publish("fast");
        }
        let expected = done + posts * subscribers;
        wait("all is delivered", || self.delivered.load(Ordering::Relaxed) >= expected).await;
        (self.world.cpu() - before) / u32::try_from(posts * subscribers).expect("few enough")
    }
}

async fn count(mut frames: Frames, delivered: Arc<AtomicUsize>) {
    while let Ok(Some(frame)) = frames.message().await {
        if let Some(Frame::EventBatch(batch)) = frame.frame {
            delivered.fetch_add(batch.events.len(), Ordering::Relaxed);
        }
    }
}

pub async fn run() {
    println!(
        "| subscribers | CPU per delivery, plain, median of {ROUNDS} rounds | TLS | ratio | ratios of the rounds |"
    );
    println!("|---|---|---|---|---|");
    for subscribers in SUBSCRIBERS {
        let sides = [Reading::start(false, subscribers).await, Reading::start(true, subscribers).await];
        let mut rows = [Vec::new(), Vec::new()];
        for round in 0..=ROUNDS {
            for (side, row) in sides.iter().zip(&mut rows) {
                let each = side.half_round(subscribers).await;
                // The first warms up.
                if round > 0 {
                    row.push(each.as_nanos() as f64 / 1_000.0);
                }
            }
        }
        let mut ratios: Vec<f64> = rows[0].iter().zip(&rows[1]).map(|(plain, tls)| tls / plain).collect();
        let [plain, tls] = rows.map(|mut row| median(&mut row));
        let ratio = median(&mut ratios);
        let (least, most) = (ratios[0], ratios[ratios.len() - 1]);
        println!("| {subscribers} | {plain:.2} µs | {tls:.2} µs | {ratio:.2} | {least:.2} to {most:.2} |");
    }
    println!();
    println!("| {IDLE} idle connections, one subscription each | memory of each |");
    println!("|---|---|");
    for (name, has_tls) in [("plain", false), ("TLS", true)] {
        let world = World::start(WorldConfig { has_tls, ..WorldConfig::default() }).await;
        let before = world.rss();
        let mut open = Vec::new();
        for at in 0..IDLE {
            open.push(subscribe(world.channel().await, format!("tag-{at}")).await);
        }
        pause(Duration::from_secs(2)).await;
        let each = (world.rss() - before) as f64 / IDLE as f64 / 1024.0;
        println!("| {name} | {each:.1} KB |");
    }
    println!();
}

fn median(values: &mut [f64]) -> f64 {
    values.sort_by(f64::total_cmp);
    values[values.len() / 2]
}
