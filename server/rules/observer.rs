//! Observes the posts that are logged: counts matches of rules (`evidence`) and compares the gateway's reading of the rules
//! with X's (`calibration`), on a thread of its own.
//!
//! Owns: the bounded queue between the sequencer and the observer, the file of the counts, and the metrics. Does not own: the
//! known rules (they are set from outside), and what follows from a change of others.
//!
//! Design: the sequencer selects what is needed of a batch ([`RuleFeed::select`]: two counters per post, and a copy of the
//! payload of sampled posts), publishes the batch, and only then offers the selection ([`RuleFeed::send`]), which never waits:
//! if the queue is full, the posts are dropped and counted. The observer takes all that is queued at intervals. Evaluation, the
//! file and callbacks are the observer's.
//!
//! Concurrency: one mutex guards the results; it is held for one post at a time.

use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::time::Duration;

use parking_lot::Mutex;
use tokio::sync::{Notify, mpsc};

use super::calibration::{Calibration, is_sampled};
use super::evidence::{self, Drift, Evidence, SeenPost, Sightings, WatchedRule};
use crate::clock::{Clock, Moment};
use crate::model::{AccountName, Record, RecordBody};
use crate::query::QuerySettings;
use crate::state_file;
use crate::task::Shutdown;

mod config;
mod metrics;
#[cfg(test)]
mod tests;

pub use config::ObserverConfig;
pub use metrics::ObserverMetrics;

/// Selections in the queue; each has a post at least.
const BATCHES_MAX: usize = 1_024;
/// Memory of a selected post without its payload; its rules are shared with the log.
const POST_BYTES: usize = 128;
/// Interval at which the counts are written. A crash loses those since then.
const SAVE_INTERVAL: Duration = Duration::from_secs(60);
/// Interval at which what was queued is observed, earlier only if the queue is half full. If each post woke the observer, it
/// would compete with the delivery of that post.
const OBSERVE_INTERVAL: Duration = Duration::from_millis(250);

/// Receives a sign that another client has changed the rules.
pub type OnDrift = Box<dyn Fn(&Drift) + Send + Sync>;

/// Results of the observer, shared with callers.
pub struct RuleObservations {
    account: AccountName,
    clock: Clock,
    results: Mutex<Results>,
}

struct Results {
    evidence: Evidence,
    calibration: Calibration,
}

/// Sending half, of the sequencer.
#[derive(Clone)]
pub struct RuleFeed {
    sender: mpsc::Sender<Vec<SeenPost>>,
    queued_bytes: Arc<AtomicUsize>,
    /// The queue is half full.
    filling: Arc<Notify>,
    /// Bits of the fraction of posts that are compared.
    calibrate: Arc<AtomicU64>,
    queue_bytes_max: usize,
    metrics: ObserverMetrics,
}

/// Observer of an account, until it runs.
pub struct RuleObserver {
    observations: Arc<RuleObservations>,
    receiver: mpsc::Receiver<Vec<SeenPost>>,
    feed: RuleFeed,
    file: Option<PathBuf>,
}

/// Components of an observer.
pub struct ObserverParts {
    /// Account whose posts are observed.
    pub account: AccountName,
    /// Settings.
    pub config: ObserverConfig,
    /// Reading of the rule language.
    pub language: QuerySettings,
    /// Clock.
    pub clock: Clock,
    /// File of the counts; `None`: they end with the process.
    pub file: Option<PathBuf>,
    /// Metrics.
    pub metrics: ObserverMetrics,
}

impl RuleObserver {
    /// Creates an observer, with the counts of its file.
    pub fn open(parts: ObserverParts) -> Self {
        let ObserverParts { account, config, language, clock, file, metrics } = parts;
        let (sender, receiver) = mpsc::channel(BATCHES_MAX);
        let evidence = file.as_deref().map(|path| restored(&account, path)).unwrap_or_default();
        let results = Mutex::new(Results { evidence, calibration: Calibration::new(language) });
        let feed = RuleFeed {
            sender,
            queued_bytes: Arc::default(),
            filling: Arc::default(),
            calibrate: Arc::new(AtomicU64::new(config.calibrate.to_bits())),
            queue_bytes_max: config.observer_queue_bytes_max,
            metrics,
        };
        Self { observations: Arc::new(RuleObservations { account, clock, results }), receiver, feed, file }
    }

    /// Returns the sending half.
    pub fn feed(&self) -> RuleFeed {
        self.feed.clone()
    }

    /// Returns the results.
    pub fn observations(&self) -> Arc<RuleObservations> {
        self.observations.clone()
    }

    /// Runs until shutdown, then writes the counts. `on_drift` receives each sign of a change of others, once. Runs on a thread of its own: comparing a post takes up to milliseconds.
    pub async fn run(self, shutdown: Shutdown, on_drift: OnDrift) {
        let Self { observations, mut receiver, feed, file } = self;
        let clock = observations.clock.clone();
        let mut saved = clock.moment();
        loop {
            let is_over = tokio::select! {
                biased;
                () = shutdown.cancelled() => true,
                () = feed.filling.notified() => false,
                () = clock.sleep(OBSERVE_INTERVAL) => false,
            };
            for _ in 0..receiver.len() {
                let Ok(posts) = receiver.try_recv() else { break };
                feed.observe_all(&observations, posts);
            }
            for drift in observations.take_drift() {
                on_drift(&drift);
            }
            let now: Moment = clock.moment();
            if is_over || now.since(saved) >= SAVE_INTERVAL {
                saved = now;
                observations.save(file.as_deref());
            }
            if is_over {
                return;
            }
        }
    }
}

fn restored(account: &AccountName, path: &std::path::Path) -> Evidence {
    let read = match state_file::read(path) {
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Evidence::default(),
        read => read.map_err(|error| error.to_string()),
    };
    read.and_then(|bytes| evidence::decode(&bytes)).unwrap_or_else(|error| {
        tracing::warn!(%account, path = %path.display(), error, "failed to read matches of rules, starting from zero");
        Evidence::default()
    })
}

impl RuleFeed {
    /// Returns what the observer needs of records. Call it before they are published, because publishing consumes them.
    pub fn select(&self, records: &[Record]) -> Vec<SeenPost> {
        let fraction = f64::from_bits(self.calibrate.load(Ordering::Relaxed));
        let seen = |record: &Record| {
            let (post, prior) = match &record.body {
                RecordBody::Post(post) => (post, None),
                RecordBody::Delta { prior, post } => (post, Some(prior.clone())),
                RecordBody::Gap(_) | RecordBody::Skip(_) | RecordBody::Term | RecordBody::Rules(_) => return None,
            };
            // A copy, because the payload is a slice of a larger buffer.
            let json = (prior.is_none() && is_sampled(post.id, fraction)).then(|| post.json.to_vec().into());
            let (id, received, origin, rules) = (post.id, record.received, post.origin, post.rules.clone());
            Some(SeenPost { id, received, origin, rules, prior, json })
        };
        records.iter().filter_map(seen).collect()
    }

    /// Offers a selection. Never waits: posts beyond the bound of the queue are dropped and counted.
    pub fn send(&self, posts: Vec<SeenPost>) {
        if posts.is_empty() {
            return;
        }
        let (bytes, count) = (bytes_of(&posts), posts.len() as u64);
        let queued = self.queued_bytes.fetch_add(bytes, Ordering::AcqRel);
        if queued + bytes > self.queue_bytes_max || self.sender.try_send(posts).is_err() {
            self.queued_bytes.fetch_sub(bytes, Ordering::AcqRel);
            self.metrics.dropped.inc_by(count);
        }
        if self.sender.capacity() < BATCHES_MAX / 2 || queued + bytes > self.queue_bytes_max / 2 {
            self.filling.notify_one();
        }
    }

    /// Sets the fraction of posts that are compared, from the next batch on.
    pub fn set_calibrate(&self, fraction: f64) {
        self.calibrate.store(fraction.to_bits(), Ordering::Relaxed);
    }

    fn observe_all(&self, observations: &RuleObservations, posts: Vec<SeenPost>) {
        let bytes = bytes_of(&posts);
        for post in &posts {
            let Results { evidence, calibration } = &mut *observations.results.lock();
            evidence.observe(post, |set| self.metrics.count_match(set));
            calibration.observe(post, |operator, agreement| self.metrics.count_comparison(operator, agreement));
        }
        drop(posts);
        self.queued_bytes.fetch_sub(bytes, Ordering::AcqRel);
    }
}

fn bytes_of(posts: &[SeenPost]) -> usize {
    posts.iter().map(|post| POST_BYTES + post.json.as_ref().map_or(0, |json| json.len())).sum()
}

impl RuleObservations {
    /// Replaces the rules that X has. Rules without an id that is a number are left out by the caller.
    pub fn set_rules(&self, rules: Vec<WatchedRule>) {
        let mut results = self.results.lock();
        results.calibration.set_rules(&rules);
        results.evidence.set_rules(rules, self.clock.now());
    }

    /// Returns what posts showed about a known rule.
    pub fn sightings(&self, rule_id: u64) -> Option<Sightings> {
        self.results.lock().evidence.sightings(rule_id, self.clock.now())
    }

    /// Returns the known rules that no post has named for 7 days.
    pub fn dead_rules(&self) -> Vec<WatchedRule> {
        self.results.lock().evidence.dead_rules(self.clock.now()).into_iter().cloned().collect()
    }

    /// Returns the unknown ids that posts name.
    pub fn unknown_ids(&self) -> Vec<u64> {
        self.results.lock().evidence.unknown_ids().map(|(id, _)| id).collect()
    }

    /// Reads the results of the comparison.
    pub fn calibration<T>(&self, read: impl FnOnce(&Calibration) -> T) -> T {
        read(&self.results.lock().calibration)
    }

    fn take_drift(&self) -> Vec<Drift> {
        let now = self.clock.now();
        let mut results = self.results.lock();
        results.evidence.watch(now);
        results.evidence.take_drift(now)
    }

    fn save(&self, file: Option<&std::path::Path>) {
        let Some(path) = file else { return };
        let bytes = evidence::encode(&self.results.lock().evidence);
        let written = bytes.map_err(std::io::Error::from).and_then(|bytes| state_file::write_atomic(path, &bytes));
        if let Err(error) = written {
            tracing::warn!(account = %self.account, path = %path.display(), %error, "failed to write matches of rules, will retry");
        }
    }
}
