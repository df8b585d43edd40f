//! The task of the lease over the memory backend, on virtual time.

use std::time::Duration;

use rand::SeedableRng;
use rand::rngs::StdRng;

use super::super::task::{LeaseHandle, lease};
use super::super::timing::Config;
use super::super::value::{Replica, Version};
use crate::clock::{Clock, Moment};
use crate::model::{AccountName, UnixMillis};
use crate::quorum::{MemoryCluster, MemoryConfig, QuorumFaults};
use crate::task::{ExitPolicy, TaskGroup};

const TTL: Duration = Duration::from_secs(15);

struct TestEnv {
    clock: Clock,
    cluster: MemoryCluster,
    tasks: TaskGroup,
}

impl TestEnv {
    fn new(seed: u64) -> Self {
        let clock = Clock::of_runtime(UnixMillis(1_700_000_000_000));
        let config = MemoryConfig { seed, ..MemoryConfig::default() };
        Self { cluster: MemoryCluster::new(config, clock.clone()), clock, tasks: TaskGroup::new() }
    }

    fn start(&self, name: &str, version: Version) -> LeaseHandle {
        let own = Replica { name: name.into(), address: format!("{name}:50051"), run: 1, version };
        let (account, rng) = (AccountName::new("main").expect("it is valid"), StdRng::seed_from_u64(7));
        let shared = self.cluster.replica(name);
        let (handle, task) = lease(&Config { ttl: TTL }, account, own, shared, self.clock.clone(), rng);
        self.tasks.spawn("lease", ExitPolicy::Continue, task.run(self.tasks.shutdown().child_token()));
        handle
    }

    /// Virtual seconds since this moment.
    fn seconds_since(&self, moment: Moment) -> f64 {
        self.clock.moment().since(moment).as_secs_f64()
    }
}

const ONE: Version = Version(1, 0, 0);

#[tokio::test(start_paused = true)]
async fn lease_moves_after_holder_is_gone() {
    let env = TestEnv::new(1);
    let one = env.start("one", ONE);
    let first = one.acquired().await;
    let two = env.start("two", ONE);
    let started = env.clock.moment();
    env.clock.sleep(10 * TTL).await;
    assert_eq!(one.held().map(|tenure| tenure.number), Some(first.number), "it is renewed");
    assert_eq!(two.held(), None);

    env.cluster.disconnect("one");
    let gone = env.clock.moment();
    one.ended(first.number).await;
    assert!(env.seconds_since(gone) <= TTL.as_secs_f64() * 0.8, "it ends without an answer");
    assert_eq!(two.held(), None);
    two.acquired().await;
    // The time to live and the jitter, and one look interval.
    assert!(env.seconds_since(gone) <= TTL.as_secs_f64() * 1.15 + 0.1, "{}", env.seconds_since(gone));
    assert_eq!(one.held(), None);

    env.cluster.connect("one");
    env.clock.sleep(2 * TTL).await;
    assert_eq!(one.held(), None, "what it sent meanwhile has no effect");
    assert!(two.held().is_some());
    assert!(env.seconds_since(started) > 0.0);
}

#[tokio::test(start_paused = true)]
async fn released_lease_moves_at_once() {
    let env = TestEnv::new(1);
    let one = env.start("one", ONE);
    one.acquired().await;
    let two = env.start("two", ONE);
    env.clock.sleep(TTL).await;
    let released = env.clock.moment();
    one.release(None).await;
    assert_eq!(one.held(), None);
    two.acquired().await;
    // R6: 2 s.
    assert!(env.seconds_since(released) <= 1.0, "{}", env.seconds_since(released));
    // The other one is a candidate again later.
    two.release(Some(TTL)).await;
    assert_eq!(two.held(), None);
    two.acquired().await;
    assert!(env.seconds_since(released) >= TTL.as_secs_f64());
}

#[tokio::test(start_paused = true)]
async fn newest_version_acquires_released_lease() {
    for seed in 0..20 {
        let env = TestEnv::new(seed);
        let holder = env.start("holder", ONE);
        holder.acquired().await;
        let old = env.start("old", ONE);
        let new = env.start("new", Version(1, 1, 0));
        env.clock.sleep(TTL).await;
        holder.release(None).await;
        new.acquired().await;
        assert_eq!(old.held(), None, "seed {seed}");
        new.release(None).await;
        old.acquired().await;
    }
}

#[tokio::test(start_paused = true)]
async fn holder_survives_lost_answers_and_stale_reads() {
    let env = TestEnv::new(3);
    let one = env.start("one", ONE);
    let tenure = one.acquired().await;
    let faults = QuorumFaults { lost_answers: 0.3, stale_reads: 0.3, ..QuorumFaults::default() };
    env.cluster.set_faults(faults);
    env.clock.sleep(20 * TTL).await;
    assert_eq!(one.held().map(|held| held.number), Some(tenure.number));
    let counts = env.cluster.fault_counts();
    assert!(counts.lost_answers > 5 && counts.stale_reads > 5, "{counts:?}");
}

#[tokio::test(start_paused = true)]
async fn stop_of_all_nodes_ends_and_restores_lease() {
    let env = TestEnv::new(1);
    let one = env.start("one", ONE);
    let tenure = one.acquired().await;
    env.cluster.stop();
    one.ended(tenure.number).await;
    env.cluster.start();
    let again = env.clock.moment();
    let next = one.acquired().await;
    assert_ne!(next.number, tenure.number);
    assert!(env.seconds_since(again) <= 5.0, "its own value needs no wait: {}", env.seconds_since(again));
}

#[tokio::test(start_paused = true)]
async fn restored_keys_are_renewed() {
    let env = TestEnv::new(1);
    let one = env.start("one", ONE);
    let tenure = one.acquired().await;
    let two = env.start("two", ONE);
    let copy = env.cluster.snapshot();
    env.clock.sleep(5 * TTL).await;
    env.cluster.restore(&copy);
    env.clock.sleep(5 * TTL).await;
    assert_eq!(one.held().map(|held| held.number), Some(tenure.number));
    assert_eq!(two.held(), None);
    // The candidate notices the lease also after its revision was turned back.
    env.cluster.disconnect("one");
    two.acquired().await;
}
