//! The backend in memory conforms to the contract.

use powerstream_gateway::clock::Clock;
use powerstream_gateway::quorum::{MemoryCluster, MemoryConfig};

use super::conformance::{self, Replicas};

#[tokio::test]
async fn memory_backend_conforms() {
    conformance::run(async |_| {
        let cluster = MemoryCluster::new(MemoryConfig::default(), Clock::system());
        Replicas { one: cluster.replica("one"), two: cluster.replica("two") }
    })
    .await;
}
