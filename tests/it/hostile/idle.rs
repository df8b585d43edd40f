//! Connections that answer pings and nothing else.

use std::time::Duration;

use super::Neighbour;
use super::frames::subscribe;
use super::h2::Raw;
use crate::harness::{TestEnv, filters, latest};

/// They occupied all slots forever: no other client could connect.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn idle_connections_make_way_when_places_are_taken() {
    let mut env = TestEnv::tuned(|_| (), |settings| settings.grpc.connections_max = 8).await;
    let mut neighbour = Neighbour::open(&env).await;
    let address = env.app().grpc_address();
    let mut attackers = Vec::new();
    for _ in 0..40 {
        attackers.push(Raw::connect(address, &[]).await);
    }
    neighbour.gets_all(&mut env, 5).await;
    let mut late = Neighbour::open(&env).await;
    late.gets_all(&mut env, 5).await;
    neighbour.sent.extend(late.sent.iter().cloned());
    neighbour.gets_all(&mut env, 5).await;
    for raw in attackers.iter_mut().take(30) {
        assert!(!raw.until("the oldest have made way", |_| false).await && raw.closed);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn idle_connection_is_closed_in_order() {
    let mut env = TestEnv::tuned(|_| (), |settings| settings.grpc.idle_timeout = Duration::from_secs(1)).await;
    let mut neighbour = Neighbour::open(&env).await;
    let address = env.app().grpc_address();
    let (mut idle, mut used) = (Raw::connect(address, &[]).await, Raw::connect(address, &[]).await);
    used.send(&subscribe(1, &latest(&filters::all()))).await;
    assert!(!idle.until("the idle one is closed", |_| false).await);
    assert_eq!(idle.goaway.as_ref().map(|(code, _)| *code), Some(0), "in order: {}", idle.why);
    neighbour.gets_all(&mut env, 5).await;
    assert!(used.until("the used connection continues", |raw| raw.received(1) > 0).await);
    assert_eq!((&used.goaway, used.closed), (&None, false));
}
