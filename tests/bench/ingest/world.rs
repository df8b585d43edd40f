//! The gateway's way in, put together.

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use powerstream_gateway::clock::Clock;
use powerstream_gateway::hub::status::upstream_status::UpstreamState;
use powerstream_gateway::hub::token::Keyring;
use powerstream_gateway::hub::{self, Hub};
use powerstream_gateway::ingest::gap_tracker::{self, GapTracker};
use powerstream_gateway::ingest::{
    self, ConnectionId, ConnectionSupervisor, Sequencer, SequencerDeps, WriteHalf, dedup, side_log_writer,
};
use powerstream_gateway::journal::{self, WriterIdentity};
use powerstream_gateway::model::{AccountName, Epoch, Term};
use powerstream_gateway::secret::SecretSource;
use powerstream_gateway::task::Shutdown;
use powerstream_gateway::upstream;
use powerstream_gateway::xapi::Credentials;
use prometheus_client::registry::Registry;

use crate::Run;
use crate::feed::Feed;

/// An account with a log of its own, as `app` opens it.
pub struct World {
    runtime: tokio::runtime::Runtime,
    hub: Arc<Hub>,
    tracker: Arc<GapTracker>,
    queue: ingest::IngestQueue,
    sequencer: Sequencer,
    metrics: ingest::Metrics,
    dir: tempfile::TempDir,
}

impl World {
    pub fn new() -> Self {
        let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build();
        let runtime = runtime.expect("a runtime");
        let (clock, dir) = (Clock::system(), tempfile::tempdir().expect("a directory"));
        let account = AccountName::new("main").expect("a name");
        let config = journal::Config::default();
        let identity = WriterIdentity { epoch: Epoch(1), term: Term(1) };
        let log = journal::open_embedded(&config, dir.path(), identity, clock.now()).expect("a fresh directory");
        let registry = &mut Registry::default();
        let mut settings = ingest::Config::default();
        // Nothing was missed: what comes is live.
        settings.gaps.initial_backfill_minutes = 0;
        let side = side_log_writer::open(&side_log_writer::SideLogParams {
            account: &account,
            main: &*log.reader,
            dir: dir.path(),
            journal: &config,
            ids: &settings.dedup,
            bytes_max: settings.side_log_bytes_max,
            window: Duration::from_secs(24 * 3_600),
            is_shared: false,
            identity: WriterIdentity { epoch: Epoch(2), ..identity },
            now: clock.now(),
        });
        let side = side.expect("a fresh directory");
        let hub = Arc::new(new_hub(account, &clock, log.reader, side.reader, registry));
        let ids = ids(dir.path(), &settings.dedup, &clock, registry);
        let tracker = Arc::new(new_ledger(&hub, &settings, registry));
        let (queue, intakes) = ingest::queue(settings.queue_bytes_max);
        let metrics = ingest::Metrics::default();
        let writing = SequencerDeps {
            logs: WriteHalf { writer: log.writer, seen: ids.seen, side: side.writer },
            hub: hub.clone(),
            tracker: tracker.clone(),
            term: identity.term,
            metrics: metrics.clone(),
        };
        let sequencer = Sequencer::new(writing, intakes, clock, settings);
        Self { runtime, hub, tracker, queue, sequencer, metrics, dir }
    }

    fn session(&self, feed: &Feed) -> ConnectionSupervisor {
        let bearer = self.dir.path().join("bearer");
        std::fs::write(&bearer, "bearer-of-benchmark").expect("written");
        let upstream = ingest::UpstreamEndpoint {
            transport: feed.transport.clone(),
            base_url: feed.base_url.parse().expect("a URL"),
            credentials: Credentials::new(SecretSource::File(bearer)),
            local_dc_only: false,
            config: upstream::Config::default(),
            metrics: upstream::Metrics::default(),
        };
        let place = ConnectionId { feed: 0, connection: 0 };
        let (hub, tracker, queue) = (self.hub.clone(), self.tracker.clone(), self.queue.clone());
        ConnectionSupervisor::new(hub, upstream, place, tracker, queue, self.metrics.clone(), 1)
    }

    pub fn run(self, feed: Feed, count: u64) -> Run {
        let session = self.session(&feed);
        let Self { runtime, hub, tracker, queue, sequencer, metrics, dir } = self;
        drop(tracker);
        let writing = std::thread::spawn(move || sequencer.run(&Shutdown::new()));
        let stopping = Shutdown::new();
        let mut run = Run::of(|| {
            let reading = runtime.spawn(session.run(stopping.clone()));
            runtime.block_on(async {
                let mut status = hub.upstream().watch();
                // The stream has ended, and all of it is in the queue.
                status.wait_for(|status| status.state == UpstreamState::BackingOff).await.expect("the hub is there");
                assert!(queue.flush().await);
            });
            stopping.cancel();
            runtime.block_on(reading).expect("no panic");
        });
        if let Some(sender) = feed.sender {
            run.cpu = run.cpu.saturating_sub(sender.join().expect("no panic"));
        }
        drop(queue);
        writing.join().expect("no panic").expect("no damage");
        assert_eq!(metrics.posts_appended.get(), count);
        assert!(hub.next() > count);
        run.batch = Some(count as f64 / metrics.appends.get() as f64);
        drop(dir);
        run
    }
}

fn new_hub(
    account: AccountName,
    clock: &Clock,
    reader: Arc<dyn journal::Reader>,
    side: Arc<dyn journal::Reader>,
    registry: &mut Registry,
) -> Hub {
    let parts = hub::HubParts {
        account,
        config: hub::Config::default(),
        tags: Vec::new(),
        clock: clock.clone(),
        reader,
        side,
        keyring: Arc::new(Keyring::from_bytes(&[1; 32])),
        metrics: hub::Metrics::register(registry),
    };
    Hub::new(parts, 1)
}

fn ids(dir: &Path, config: &dedup::Config, clock: &Clock, registry: &mut Registry) -> dedup::Dedup {
    let metrics = dedup::Metrics::register(registry);
    dedup::open(Some(&dir.join("ids")), config, Epoch(1), clock.now(), metrics).expect("a fresh directory")
}

fn new_ledger(hub: &Arc<Hub>, settings: &ingest::Config, registry: &mut Registry) -> GapTracker {
    let setup = gap_tracker::TrackerParams {
        hub: hub.clone(),
        config: settings.gaps.clone(),
        recovery_window: hub.config().recovery_window,
        feeds: vec![gap_tracker::ALL_FEEDS.to_owned()],
        file: None,
        metrics: gap_tracker::Metrics::register(registry),
    };
    GapTracker::open(setup, Vec::new(), ingest::LogTimes::default())
}
