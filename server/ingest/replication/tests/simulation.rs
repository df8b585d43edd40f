//! Three machines over one memory cluster, and random faults.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use bytes::Bytes;
use parking_lot::Mutex;
use rand::rngs::StdRng;
use rand::{RngExt, SeedableRng};

use super::comparison::check;
use super::machine::Machine;
use crate::clock::{Clock, Moment};
use crate::ingest::replication::{FollowCounters, LeadershipEnd, ReplicatedAppendError};
use crate::journal::AppendError;
use crate::lease::LeaseHandle;
use crate::model::{Origin, Post, PostId, Record, Rule, Sequence, UnixMillis};
use crate::quorum::{MemoryCluster, MemoryConfig, QuorumFaults};

pub(super) const MACHINES: usize = 3;
/// Faults occur until then.
const FAULTY: Duration = Duration::from_secs(60);
/// The machines have the same logs after this time without faults.
const CALM: Duration = Duration::from_secs(40);

/// What a run injects.
#[derive(Clone, Copy, Debug)]
pub(super) struct Conditions {
    /// Probability of each fault of the backend.
    pub(super) faults: f64,
    /// Freezes, crashes, partitions and full disks occur.
    pub(super) outages: bool,
    /// The lease limits leaderships. Without it only the shared log does.
    pub(super) lease: bool,
    /// The volumes of the shared log are restored from older copies.
    pub(super) restores: bool,
    /// The shared log is deleted, or its messages are.
    pub(super) deletions: bool,
    /// One machine has the log of a process without replicas.
    pub(super) moves_in: bool,
}

impl Conditions {
    /// True if the shared log loses messages that it has acknowledged.
    pub(super) fn loses_log(self) -> bool {
        self.restores || self.deletions
    }
}

/// What happened in a run.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Counts {
    pub(super) leaderships: u64,
    pub(super) fenced: u64,
    pub(super) lease_ended: u64,
    pub(super) in_doubt: u64,
    pub(super) journal_refused: u64,
    pub(super) retried: u64,
    pub(super) crashes: u64,
    pub(super) freezes: u64,
    pub(super) partitions: u64,
    pub(super) passed_over: u64,
    pub(super) restores: u64,
    pub(super) deletions: u64,
    pub(super) purges: u64,
    pub(super) heads: u64,
    pub(super) yielded: u64,
    pub(super) rolled_back: u64,
    pub(super) rewound: u64,
    pub(super) restored: u64,
    pub(super) set_aside: u64,
    pub(super) lost: u64,
    pub(super) shown: u64,
    pub(super) two_holders: u64,
    pub(super) lost_answers: u64,
    pub(super) late_requests: u64,
    pub(super) repeated_requests: u64,
    pub(super) messages: u64,
    pub(super) side_records: u64,
    pub(super) checkpoints: u64,
}

/// What all machines of a run share.
pub(super) struct World {
    pub(super) clock: Clock,
    pub(super) cluster: MemoryCluster,
    pub(super) conditions: Conditions,
    pub(super) frozen: [Mutex<Moment>; MACHINES],
    pub(super) leases: [Mutex<Option<LeaseHandle>>; MACHINES],
    pub(super) counts: Mutex<Counts>,
    /// What all machines found in the shared log.
    pub(super) found: FollowCounters,
    /// Records that a leader exposed, by sequence.
    pub(super) shown: Mutex<BTreeMap<Sequence, Record>>,
    posts: AtomicU64,
    is_faulty: AtomicBool,
    is_producing: AtomicBool,
}

impl World {
    pub(super) fn count(&self, change: impl FnOnce(&mut Counts)) {
        change(&mut self.counts.lock());
    }

    pub(super) fn is_producing(&self) -> bool {
        self.is_producing.load(Ordering::Relaxed)
    }

    /// True if an outage of this probability occurs now.
    pub(super) fn occurs(&self, rng: &mut StdRng, probability: f64) -> bool {
        self.conditions.outages && self.is_faulty.load(Ordering::Relaxed) && rng.random_bool(probability)
    }

    /// How long a process lives.
    pub(super) fn lifetime(&self, rng: &mut StdRng) -> Duration {
        let crashes = self.conditions.outages && self.is_faulty.load(Ordering::Relaxed);
        if !crashes {
            return FAULTY + CALM;
        }
        let left = FAULTY.saturating_sub(self.clock.moment().since(Moment::ZERO));
        let lifetime = Duration::from_millis(rng.random_range(500..40_000));
        if lifetime < left { lifetime } else { FAULTY + CALM }
    }

    /// Returns a post that no call returned before.
    pub(super) fn post(&self) -> Post {
        let number = self.posts.fetch_add(1, Ordering::Relaxed);
        let rule = Rule { id: Some(number % 3), tag: Some("a".into()) };
        Post {
            id: PostId((1 << 60) + number),
            rules: [rule].into(),
            origin: Origin::Live,
            gap: None,
            counterpart: None,
            counterpart_rules: None,
            previous: None,
            json: Bytes::from(format!("{{\"n\":{number}}}")),
        }
    }

    /// True if records that were exposed can be lost. The log of a process without replicas is lost if its machine is down for
    /// longer than the others leave the lease to it.
    pub(super) fn may_lose_records(&self) -> bool {
        self.conditions.loses_log() || (self.conditions.moves_in && self.counts.lock().yielded > 0)
    }

    /// A leader exposes these records.
    pub(super) fn note_shown(&self, records: &[Record]) {
        let mut shown = self.shown.lock();
        for record in records {
            let before = shown.insert(record.sequence, record.clone());
            // A record that the shared log has lost is replaced by one of another term.
            let is_lost = before.as_ref().is_some_and(|before| before.term != record.term);
            assert!(before.is_none() || is_lost, "two records were exposed at one sequence");
            let is_kept = before.is_none() || self.may_lose_records();
            assert!(is_kept, "an exposed record was replaced: {before:?} by {record:?}");
            self.count(|counts| counts.lost += u64::from(is_lost));
        }
        let held = self.leases.iter().filter(|lease| lease.lock().as_ref().is_some_and(|it| it.held().is_some()));
        let two = u64::from(held.count() > 1);
        self.count(|counts| counts.two_holders += two);
    }

    /// Waits before the same batch is appended again.
    pub(super) async fn retry(&self, error: ReplicatedAppendError) -> Result<(), ReplicatedAppendError> {
        match error {
            ReplicatedAppendError::Journal(AppendError::DiskFull | AppendError::Unknown(_)) => {
                self.count(|counts| counts.retried += 1);
                self.clock.sleep(Duration::from_millis(50)).await;
                Ok(())
            }
            ReplicatedAppendError::Journal(other) => panic!("{other}"),
            ended @ ReplicatedAppendError::Ended(_) => Err(ended),
        }
    }

    pub(super) fn note_end(&self, error: Option<&ReplicatedAppendError>) {
        let Some(ReplicatedAppendError::Ended(end)) = error else { return };
        self.count(|counts| match end {
            LeadershipEnd::Fenced { .. } => counts.fenced += 1,
            LeadershipEnd::LeaseEnded { in_doubt } => {
                counts.lease_ended += 1;
                counts.in_doubt += u64::from(*in_doubt);
            }
            LeadershipEnd::JournalUnavailable(_) => counts.journal_refused += 1,
            LeadershipEnd::RolledBack { .. }
            | LeadershipEnd::Rewritten { .. }
            | LeadershipEnd::Trimmed { .. }
            | LeadershipEnd::NoLog => {
                assert!(self.may_lose_records(), "{end}");
                counts.rolled_back += 1;
            }
            LeadershipEnd::Misplaced { .. } | LeadershipEnd::Rejected(_) => panic!("{end}"),
        });
    }

    /// Injects outages until the calm begins.
    async fn disturb(&self, mut rng: StdRng) {
        loop {
            self.clock.sleep(Duration::from_millis(rng.random_range(100..5_000))).await;
            let machine = rng.random_range(0..MACHINES);
            let length = Duration::from_millis(rng.random_range(50..9_000));
            match rng.random_range(0..3) {
                0 => {
                    self.count(|counts| counts.freezes += 1);
                    *self.frozen[machine].lock() = self.clock.moment().plus(length);
                }
                1 => {
                    self.count(|counts| counts.partitions += 1);
                    self.cluster.disconnect(&name(machine));
                    self.clock.sleep(length).await;
                    self.cluster.connect(&name(machine));
                }
                _ => {
                    self.cluster.stop();
                    self.clock.sleep(length / 2).await;
                    self.cluster.start();
                }
            }
        }
    }

    /// Restores the volumes from older copies until the calm begins.
    async fn restore(&self, mut rng: StdRng) {
        loop {
            self.clock.sleep(Duration::from_millis(rng.random_range(1..10_000))).await;
            let copy = self.cluster.snapshot();
            self.clock.sleep(Duration::from_millis(rng.random_range(1..10_000))).await;
            self.count(|counts| counts.restores += 1);
            self.cluster.restore(&copy);
        }
    }

    /// Deletes the log or its messages, early enough for a log that no start of a process creates again.
    async fn delete(&self, mut rng: StdRng) {
        loop {
            self.clock.sleep(Duration::from_millis(rng.random_range(1..15_000))).await;
            let last = self.cluster.last_place();
            if self.shown.lock().is_empty() {
                // A first leader listed its term, and no replica knows whether it wrote records.
                continue;
            }
            if rng.random_bool(0.5) {
                self.count(|counts| counts.purges += 1);
                self.cluster.purge(rng.random_range(0..=last) + rng.random_range(0..=1) * (last + 1));
            } else if self.clock.moment().since(Moment::ZERO) < FAULTY / 4 {
                self.count(|counts| counts.deletions += 1);
                self.cluster.delete_log();
            }
        }
    }

    fn calm_down(&self) {
        self.is_faulty.store(false, Ordering::Relaxed);
        self.cluster.set_faults(QuorumFaults { delay_max: Duration::from_millis(5), ..QuorumFaults::default() });
        self.cluster.start();
        (0..MACHINES).for_each(|machine| self.cluster.connect(&name(machine)));
        self.frozen.iter().for_each(|frozen| *frozen.lock() = Moment::ZERO);
    }
}

fn name(machine: usize) -> String {
    format!("r{machine}")
}

fn faults(probability: f64) -> QuorumFaults {
    QuorumFaults {
        lost_requests: probability,
        lost_answers: probability,
        late_requests: probability,
        repeated_requests: probability,
        stale_reads: probability,
        failed_reads: probability / 2.0,
        lost_messages: probability,
        delay_max: Duration::from_millis(5),
        late_max: Duration::from_secs(8),
    }
}

/// Plays a run, and checks it.
pub(super) fn play(seed: u64, conditions: Conditions) -> Counts {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_time().start_paused(true).build();
    runtime.expect("a runtime").block_on(async {
        let clock = Clock::of_runtime(UnixMillis(1_700_000_000_000));
        let config = MemoryConfig { seed, faults: faults(conditions.faults), ..MemoryConfig::default() };
        let world = Arc::new(World {
            cluster: MemoryCluster::new(config, clock.clone()),
            clock,
            conditions,
            frozen: Default::default(),
            leases: Default::default(),
            counts: Mutex::default(),
            found: FollowCounters::default(),
            shown: Mutex::default(),
            posts: AtomicU64::new(0),
            is_faulty: AtomicBool::new(true),
            is_producing: AtomicBool::new(true),
        });
        let mut machines: Vec<_> =
            (0..MACHINES).map(|n| Machine::new(&name(n), seed << 8 | n as u64, &world)).collect();
        if conditions.moves_in {
            machines[0].run_alone(&world);
        }
        {
            let [one, two, three] = &mut machines[..] else { panic!("three machines") };
            let all = futures::future::join3(one.run(&world, 0), two.run(&world, 1), three.run(&world, 2));
            tokio::select! {
                biased;
                () = script(&world, seed) => {}
                _ = all => {}
            }
        }
        check(&world, &machines).await
    })
}

async fn script(world: &World, seed: u64) {
    let disturbing = world.disturb(StdRng::seed_from_u64(seed ^ 0x5eed));
    let restoring = world.restore(StdRng::seed_from_u64(seed ^ 0xc0b1));
    let deleting = world.delete(StdRng::seed_from_u64(seed ^ 0xde1e));
    tokio::select! {
        biased;
        () = world.clock.sleep(FAULTY) => {}
        () = disturbing, if world.conditions.outages => {}
        () = restoring, if world.conditions.restores => {}
        () = deleting, if world.conditions.deletions => {}
    }
    world.calm_down();
    // Late writes arrive, and a leader is found.
    world.clock.sleep(CALM * 3 / 4).await;
    world.is_producing.store(false, Ordering::Relaxed);
    world.clock.sleep(CALM / 4).await;
}
