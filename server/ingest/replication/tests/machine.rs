//! A simulated machine: its logs survive a crash of the process, which runs as a future that can be frozen and dropped.

use std::future::{Future, poll_fn};
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::task::ready;
use std::time::Duration;

use bytes::Bytes;
use parking_lot::Mutex;
use rand::rngs::StdRng;
use rand::{RngExt, SeedableRng};

use super::simulation::World;
use crate::clock::{Clock, Moment};
use crate::hub;
use crate::hub::test_util::{EPOCH, TERM, hub_at};
use crate::ingest::replication::{
    CandidacyError, FillStart, Follower, LocalLogs, ReplicaPlace, ReplicatedAppendError, ReplicatedWriter, WritePermit,
    WriterConfig, begin_leadership, find_start, join,
};
use crate::ingest::{LogTimes, WriteHalf, dedup, side_log_writer};
use crate::journal::{self, AppendError, Backend, Block, LogStart, Writer};
use crate::lease::{LeaseHandle, Replica, Version, lease};
use crate::model::{
    AccountName, Gap, GapCause, GapEvidence, GapId, GapState, Origin, Post, PostId, Record, RecordBody, Sequence, Term,
    TimeInterval, UnixMillis,
};
use crate::quorum::SharedIdentity;
use crate::task::Shutdown;

pub(super) const IDENTITY: SharedIdentity = SharedIdentity::of_log(EPOCH);

/// Leadership times out fast enough for several changes in a run.
const TTL: Duration = Duration::from_secs(5);

/// A writer whose disk is full at times.
struct FullAtTimes {
    inner: Box<dyn Writer>,
    full_until: Moment,
    rng: StdRng,
    world: Arc<World>,
}

impl Writer for FullAtTimes {
    fn begin(&mut self, term: Term) {
        self.inner.begin(term);
    }

    fn append(&mut self, records: &[Record]) -> Result<(), AppendError> {
        self.inner.append(records)
    }

    fn encode(&mut self, records: &[Record]) -> Result<Block, AppendError> {
        self.inner.encode(records)
    }

    fn append_block(&mut self, block: &Block) -> Result<(), AppendError> {
        let now = self.world.clock.moment();
        if self.world.occurs(&mut self.rng, 0.01) {
            self.full_until = now.plus(Duration::from_millis(self.rng.random_range(10..3_000)));
        }
        if now < self.full_until { Err(AppendError::DiskFull) } else { self.inner.append_block(block) }
    }
}

/// What a machine keeps when its process crashes.
pub(super) struct Machine {
    pub(super) name: String,
    pub(super) local: LocalLogs,
    /// As written lazily.
    pub(super) place: Option<ReplicaPlace>,
    /// It has no directory.
    pub(super) is_empty: bool,
    rng: StdRng,
    run: u64,
}

impl Machine {
    pub(super) fn new(name: &str, seed: u64, world: &Arc<World>) -> Self {
        let mut rng = StdRng::seed_from_u64(seed);
        let log = |epoch| LogStart { epoch, terms: Vec::new(), next: 1 };
        let local = Self::logs_at(&mut rng, world, [&log(EPOCH), &log(IDENTITY.side_epoch)]);
        Self { name: name.into(), local, place: None, is_empty: true, rng, run: 0 }
    }

    fn logs_at(rng: &mut StdRng, world: &Arc<World>, starts: [&LogStart; 2]) -> LocalLogs {
        let settings = journal::Config { backend: Backend::Memory, ..journal::Config::default() };
        let clock = world.clock.clone();
        let (hub, writer, side) = hub_at(&settings, starts, hub::Config::default(), clock.clone());
        let config = dedup::Config::default();
        let ids = dedup::open(None, &config, EPOCH, clock.now(), dedup::Metrics::default()).expect("in memory");
        let mut full = |inner| -> Box<dyn Writer> {
            let (rng, world) = (StdRng::seed_from_u64(rng.random()), world.clone());
            Box::new(FullAtTimes { inner, full_until: Moment::ZERO, rng, world })
        };
        let logs = WriteHalf {
            writer: full(writer),
            seen: ids.seen,
            side: side_log_writer::in_memory(full(side), hub.side().reader().clone(), TERM),
        };
        LocalLogs { logs, hub, dir: None, jobs: None, checkpoint: None, received: LogTimes::default() }
    }

    /// The shared log has lost records of this machine: it begins with empty logs.
    fn set_aside(&mut self, world: &Arc<World>) {
        world.count(|counts| counts.set_aside += 1);
        (self.place, self.is_empty) = (None, true);
    }

    /// Writes the log of a process without replicas.
    pub(super) fn run_alone(&mut self, world: &World) {
        let mut first = 1;
        for term in [TERM, Term(self.rng.random())] {
            let LocalLogs { logs, hub, .. } = &mut self.local;
            logs.begin(term);
            let count = self.rng.random_range(1..50);
            let body = |sequence| match sequence == first {
                true => RecordBody::Term,
                false => RecordBody::Post(world.post()),
            };
            let record = |sequence| Record { sequence, term, received: world.clock.now(), body: body(sequence) };
            let records: Vec<Record> = (first..first + count).map(record).collect();
            logs.writer.append(&records).expect("a disk that is not full");
            for record in &records {
                if let Some(post) = record.body.post() {
                    logs.seen.stage(post.id, &post.rules, record.sequence, record.received);
                }
            }
            logs.seen.commit();
            world.note_shown(&records);
            hub.publish(records);
            let post = Post { origin: Origin::Recovery, ..world.post() };
            logs.side.append_post(post, world.clock.now()).expect("ids are in memory");
            logs.side.append(hub.side()).expect("a disk that is not full");
            first += count;
        }
        self.is_empty = false;
    }

    /// Runs processes, each until it crashes.
    pub(super) async fn run(&mut self, world: &Arc<World>, number: usize) {
        loop {
            self.run += 1;
            let lifetime = world.lifetime(&mut self.rng);
            let freeze = &world.frozen[number];
            let process = freezable(&world.clock, freeze, self.process(world, number));
            world.clock.timeout(lifetime, process).await.ok();
            *world.leases[number].lock() = None;
            world.count(|counts| counts.crashes += 1);
            // What was staged is lost with the process.
            self.local.logs.seen.discard();
            self.local.logs.side.discard();
            world.clock.sleep(Duration::from_millis(self.rng.random_range(1..3_000))).await;
        }
    }

    async fn process(&mut self, world: &Arc<World>, number: usize) {
        let shared = world.cluster.replica(&self.name);
        let own = Replica { name: self.name.clone(), address: String::new(), run: self.run, version: Version(1, 0, 0) };
        let account = AccountName::new("main").expect("a name");
        let rng = StdRng::seed_from_u64(self.rng.random());
        let config = crate::lease::Config { ttl: TTL };
        let (handle, task) = lease(&config, account.clone(), own, shared.clone(), world.clock.clone(), rng);
        *world.leases[number].lock() = Some(handle.clone());
        while world.conditions.moves_in && self.is_empty && !matches!(shared.keys.get("terms").await, Ok(Some(_))) {
            // Otherwise it creates a log of another epoch, and the one that exists is refused.
            world.clock.sleep(Duration::from_millis(100)).await;
        }
        let created = loop {
            match join(&shared, IDENTITY, &self.local.hub.reader().terms()).await {
                Ok((identity, created)) => {
                    assert_eq!(identity, IDENTITY);
                    break created;
                }
                Err(_) => world.clock.sleep(Duration::from_millis(100)).await,
            }
        };
        while self.is_empty {
            match find_start(&shared, IDENTITY, &created).await {
                Ok(FillStart { place, log, side }) => {
                    self.local = Self::logs_at(&mut self.rng, world, [&log, &side]);
                    (self.place, self.is_empty) = (Some(place), false);
                }
                Err(_) => world.clock.sleep(Duration::from_millis(100)).await,
            }
        }
        // The file cannot be read at times.
        let place = self.place.clone().filter(|_| !world.occurs(&mut self.rng, 0.05));
        let place = place.unwrap_or_else(|| ReplicaPlace::start(String::new(), EPOCH));
        let follower = Follower::new(account, shared, world.clock.clone(), IDENTITY, place).expect("a decoder");
        let follower = follower.with_counters(world.found.clone());
        tokio::select! {
            biased;
            () = task.run(Shutdown::new()) => panic!("the lease ended"),
            () = self.roles(world, handle, follower) => {}
        }
    }

    /// Follows, and leads while the lease is held.
    async fn roles(&mut self, world: &Arc<World>, lease: LeaseHandle, mut follower: Follower) {
        loop {
            let slice = Duration::from_millis(self.rng.random_range(50..1_500));
            let acquired = world.clock.timeout(slice, lease.acquired());
            let tenure = match follower.follow(&mut self.local, acquired).await {
                Ok(tenure) => tenure,
                Err(error) if error.needs_refill() && world.may_lose_records() => return self.set_aside(world),
                Err(error) => panic!("{error}"),
            };
            self.place = Some(follower.place().clone());
            let Ok(tenure) = tenure else { continue };
            let permit = match world.conditions.lease {
                true => WritePermit::of_tenure(lease.clone(), tenure.number),
                false => WritePermit::new(|| Some(Moment::ZERO.plus(Duration::MAX))),
            };
            let term = Term(self.rng.random());
            let patience = Duration::from_millis(800);
            // Some leaders have records that are older than what they append to a log without messages.
            let retention = Duration::from_secs(if self.rng.random_bool(0.5) { 20 } else { 3_600 });
            let config = WriterConfig { append_patience: patience, retention };
            let begun = begin_leadership(&mut follower, &mut self.local, permit, (term, &self.name), config).await;
            match begun {
                Ok(mut writer) => {
                    tracing::info!(machine = self.name, next = self.local.hub.next(), "leads");
                    let end = self.lead(world, term, &lease, &mut writer).await;
                    world.note_end(end.as_ref().err());
                    follower.set_place(writer.place().clone());
                    self.local.logs.seen.discard();
                    self.local.logs.side.discard();
                }
                Err(error) if error.needs_refill() && world.may_lose_records() => return self.set_aside(world),
                Err(CandidacyError::Follow(error)) if !error.is_passing() => panic!("{error}"),
                Err(error) => {
                    tracing::info!(machine = self.name, %error, "leadership did not begin");
                    if error.is_for_others() {
                        world.count(|counts| counts.yielded += 1);
                        lease.release(Some(TTL)).await;
                    }
                }
            }
            world.clock.sleep(Duration::from_millis(100)).await;
        }
    }

    async fn lead(
        &mut self,
        world: &World,
        term: Term,
        lease: &LeaseHandle,
        writer: &mut ReplicatedWriter,
    ) -> Result<(), ReplicatedAppendError> {
        let now = world.clock.now();
        let window = TimeInterval { from: now, to: None };
        let gap = Gap {
            id: GapId(self.rng.random_range(1..1 << 30)),
            window,
            cause: GapCause::GatewayDown,
            state: GapState::Detected,
            evidence: GapEvidence::None,
            progress: None,
            recovered: 0,
        };
        self.append(world, term, writer, vec![RecordBody::Term, RecordBody::Gap(gap)]).await?;
        world.count(|counts| counts.leaderships += 1);
        loop {
            world.clock.sleep(Duration::from_millis(self.rng.random_range(5..300))).await;
            if !world.is_producing() {
                continue;
            }
            match self.rng.random_range(0..100) {
                0..70 => {
                    let count = self.rng.random_range(1..5);
                    let posts = (0..count).map(|_| RecordBody::Post(world.post())).collect();
                    self.append(world, term, writer, posts).await?;
                }
                70..85 => self.append_side(world, writer).await?,
                85..98 => self.append_checkpoint(world, writer).await?,
                _ => {
                    // An orderly stop.
                    lease.release(Some(Duration::from_secs(1))).await;
                    return Ok(());
                }
            }
            if self.rng.random_bool(0.1) {
                self.place = Some(writer.place().clone());
            }
        }
    }

    async fn append(
        &mut self,
        world: &World,
        term: Term,
        writer: &mut ReplicatedWriter,
        bodies: Vec<RecordBody>,
    ) -> Result<(), ReplicatedAppendError> {
        let (hub, logs) = (&self.local.hub, &mut self.local.logs);
        let received = hub.tip_received().unwrap_or(UnixMillis(0)).max(world.clock.now());
        let records: Vec<Record> = bodies
            .into_iter()
            .zip(hub.next()..)
            .map(|(body, sequence): (_, Sequence)| Record { sequence, term, received, body })
            .collect();
        for record in &records {
            if let Some(post) = record.body.post() {
                logs.seen.stage(post.id, &post.rules, record.sequence, record.received);
            }
        }
        while let Err(error) = writer.append(&mut *logs.writer, &records).await {
            world.retry(error).await?;
        }
        logs.seen.commit();
        world.note_shown(&records);
        hub.publish(records);
        Ok(())
    }

    async fn append_side(&mut self, world: &World, writer: &mut ReplicatedWriter) -> Result<(), ReplicatedAppendError> {
        let (hub, logs) = (&self.local.hub, &mut self.local.logs);
        for _ in 0..self.rng.random_range(1..4) {
            let post = Post { origin: Origin::Recovery, ..world.post() };
            logs.side.append_post(post, world.clock.now()).expect("ids are in memory");
        }
        while let Err(error) = writer.append_side(&mut logs.side, hub.side()).await {
            world.retry(error).await?;
        }
        Ok(())
    }

    async fn append_checkpoint(
        &self,
        world: &World,
        writer: &mut ReplicatedWriter,
    ) -> Result<(), ReplicatedAppendError> {
        let PostId(number) = world.post().id;
        let gaps = Bytes::from(format!("{{\"number\":{number}}}"));
        let side = &**self.local.hub.side().reader();
        while let Err(error) = writer.append_checkpoint(side, gaps.clone(), Bytes::new()).await {
            world.retry(error).await?;
        }
        Ok(())
    }
}

/// Polls a future only while its process is not frozen.
async fn freezable<F: Future>(clock: &Clock, frozen_until: &Mutex<Moment>, process: F) -> F::Output {
    let mut process = pin!(process);
    let mut sleep: Option<Pin<Box<dyn Future<Output = ()> + Send + '_>>> = None;
    poll_fn(move |context| {
        loop {
            if let Some(sleeping) = &mut sleep {
                ready!(sleeping.as_mut().poll(context));
                sleep = None;
            }
            let until = *frozen_until.lock();
            if until <= clock.moment() {
                return process.as_mut().poll(context);
            }
            sleep = Some(Box::pin(clock.sleep_until(until)));
        }
    })
    .await
}
