//! Latencies of subscribers that read, from the simulator's publish to the client.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use parking_lot::Mutex;
use powerstream_gateway::proto::subscribe_response::Frame;
use tokio::task::JoinSet;

use crate::world::{World, pause, subscribe, wait};

/// Subscribers that read.
pub const FAST: usize = 100;
/// Posts of a half of a round, and how many a second.
const POSTS: usize = 1_500;
pub const POSTS_PER_SECOND: u64 = 500;

/// When each post was published.
pub type Published = Arc<Mutex<HashMap<u64, Instant>>>;

/// Latencies of all deliveries of a half of a round, from the simulator's publish to the client, ascending.
pub async fn half_round(world: &World, published: &Published, readers: &Readers) -> Vec<Duration> {
    readers.latencies.lock().clear();
    let began = Instant::now();
    for at in 0..POSTS {
        let due = began + Duration::from_micros(1_000_000 * at as u64 / POSTS_PER_SECOND);
        pause(due.saturating_duration_since(Instant::now())).await;
        let now = Instant::now();
        let id = world.publish("fast");
        published.lock().insert(id, now);
    }
    wait("all is delivered", || readers.latencies.lock().len() >= POSTS * FAST).await;
    let mut latencies = std::mem::take(&mut *readers.latencies.lock());
    latencies.sort_unstable();
    latencies
}

pub struct Readers {
    latencies: Arc<Mutex<Vec<Duration>>>,
    _tasks: JoinSet<()>,
}

pub async fn readers(world: &World, published: &Published) -> Readers {
    let latencies = Arc::new(Mutex::new(Vec::new()));
    let mut tasks = JoinSet::new();
    for _ in 0..FAST {
        let mut frames = subscribe(world.channel().await, "fast".into()).await;
        let (latencies, published) = (latencies.clone(), published.clone());
        tasks.spawn(async move {
            while let Ok(Some(frame)) = frames.message().await {
                let Some(Frame::EventBatch(batch)) = frame.frame else { continue };
                let now = Instant::now();
                for event in batch.events {
                    // Known a moment after it is sent, so the first deliveries may have to look twice.
                    let at = loop {
                        if let Some(at) = published.lock().get(&event.post_id) {
                            break *at;
                        }
                        tokio::task::yield_now().await;
                    };
                    latencies.lock().push(now.saturating_duration_since(at));
                }
            }
        });
    }
    Readers { latencies, _tasks: tasks }
}

/// Returns the 99th percentile of ascending latencies.
pub fn p99(latencies: &[Duration]) -> Duration {
    latencies[latencies.len() * 99 / 100]
}
