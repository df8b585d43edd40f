mod clock;
mod late;
mod references;
mod rules;
mod turns;
mod undemanded;
mod write_half;

use prometheus_client::registry::Registry;
use tokio::runtime::Runtime;

use super::*;
use crate::hub::test_util::{EPOCH, TERM, hub_over};
use crate::hub::{self, ReadLimits};
use crate::ingest::{IngestQueue, IngestSource, JobCounters, gap_tracker, queue, side_log_writer};
use crate::journal::{self, AppendError, Backend, Block, ReadItem, Reader, Writer};
use crate::model::{KeyFilter, PostId, SkipReason, TimeRange, TimeRangeSet};
use crate::task::{ExitPolicy, TaskGroup};
use crate::upstream::message::ForeignFormat;
use crate::upstream::{MessageBatch, UpstreamMessage};

/// A sequencer over a log in memory, and its queue.
struct TestEnv {
    runtime: Runtime,
    hub: Arc<Hub>,
    reader: Arc<dyn Reader>,
    metrics: Metrics,
    queue: IngestQueue,
    sequencer: Option<Sequencer>,
    giving_up: Shutdown,
}

const LIVE: IngestSource = IngestSource::Live {
    connection: 0,
    backfill_before: None,
    late: Duration::ZERO,
    age: Duration::ZERO,
    stalled: Duration::ZERO,
};

/// A writer that fails this many appends. The outcome of every second one is unknown.
struct Failing {
    inner: Box<dyn Writer>,
    refusals: u32,
    /// Batch whose outcome is unknown: it must come again, unchanged.
    in_doubt: Option<Vec<Record>>,
}

impl Failing {
    fn boxed(inner: Box<dyn Writer>, refusals: u32) -> Box<dyn Writer> {
        Box::new(Self { inner, refusals, in_doubt: None })
    }
}

impl Writer for Failing {
    fn begin(&mut self, term: Term) {
        self.inner.begin(term);
    }

    fn append(&mut self, records: &[Record]) -> Result<(), AppendError> {
        if let Some(before) = self.in_doubt.take() {
            assert_eq!(records, before, "a batch of unknown outcome is retried unchanged");
        }
        let Some(left) = self.refusals.checked_sub(1) else { return self.inner.append(records) };
        self.refusals = left;
        if left % 2 == 0 {
            return Err(AppendError::DiskFull);
        }
        self.in_doubt = Some(records.to_vec());
        Err(AppendError::Unknown(std::io::ErrorKind::TimedOut.into()))
    }

    fn encode(&mut self, records: &[Record]) -> Result<Block, AppendError> {
        self.inner.encode(records)
    }

    fn append_block(&mut self, block: &Block) -> Result<(), AppendError> {
        self.inner.append_block(block)
    }
}

impl TestEnv {
    fn new(refusals: u32) -> Self {
        let builder = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build();
        let runtime = builder.expect("a runtime");
        let clock = Clock::with_rate(1_000.0, None);
        let settings = journal::Config { backend: Backend::Memory, ..journal::Config::default() };
        let (hub, writer, side_log) = hub_over(&settings, &settings, hub::Config::default(), clock.clone());
        let reader = hub.reader().clone();
        let config = Config::default();
        let counters = dedup::Metrics::register(&mut Registry::default());
        let ids = dedup::open(None, &config.dedup, EPOCH, clock.now(), counters).expect("in memory");
        let (metrics, (queue, intakes)) = (Metrics::default(), queue(config.queue_bytes_max));
        let writing = SequencerDeps {
            logs: WriteHalf {
                writer: Failing::boxed(writer, refusals),
                seen: ids.seen,
                side: side_log_writer::in_memory(side_log, hub.side().reader().clone(), TERM),
            },
            hub: hub.clone(),
            tracker: gap_tracker::test_util::in_memory(&hub),
            term: TERM,
            metrics: metrics.clone(),
        };
        let sequencer = Sequencer::new(writing, intakes, clock, config);
        Self { runtime, hub, reader, metrics, queue, sequencer: Some(sequencer), giving_up: Shutdown::new() }
    }

    fn put(&self, received: i64, messages: Vec<UpstreamMessage>) {
        self.put_by(received, messages, LIVE);
    }

    fn put_by(&self, received: i64, messages: Vec<UpstreamMessage>, source: IngestSource) {
        let (received, read_at) = (UnixMillis(received), self.hub.clock().moment());
        let arrivals = MessageBatch { received, read_at, bytes: 100, heartbeats: 0, messages };
        self.metrics.messages_in.inc_by(arrivals.messages.len() as u64);
        assert!(self.runtime.block_on(self.queue.send(arrivals, source, self.hub.clock().moment())));
    }

    /// Queues so many posts of so many bytes.
    fn put_long(&self, posts: u64, bytes: u64) {
        for id in 1..=posts {
            let (received, read_at, messages) = (UnixMillis(1_000), Moment::ZERO, vec![post(id, &["a"])]);
            let arrivals = MessageBatch { received, read_at, bytes, heartbeats: 0, messages };
            self.metrics.messages_in.inc();
            assert!(self.runtime.block_on(self.queue.send(arrivals, LIVE, self.hub.clock().moment())));
        }
    }

    /// Closes the queue, runs the sequencer until the queue is drained, and returns the records of the log.
    fn records(mut self) -> (Vec<Record>, Metrics) {
        let sequencer = self.sequencer.take().expect("run once");
        drop(self.queue);
        sequencer.run(&self.giving_up).expect("no damage");
        let chunk = self.reader.read(1, &KeyFilter::Always, usize::MAX).expect("readable");
        assert_eq!(self.hub.next(), chunk.next, "exactly the appended records are published");
        let record = |item| match item {
            ReadItem::Record(record) => record,
            damaged @ ReadItem::Damaged { .. } => panic!("{damaged:?}"),
        };
        assert_eq!(self.metrics.messages_in.get(), self.metrics.accounted(), "the accounting law");
        (chunk.items.into_iter().map(record).collect(), self.metrics)
    }
}

fn post(id: u64, tags: &[&str]) -> UpstreamMessage {
    let matching: Vec<_> = tags.iter().map(|tag| format!("{{\"tag\":\"{tag}\"}}")).collect();
    let json = format!("{{\"id_str\":\"{id}\",\"text\":\"t\",\"matching_rules\":[{}]}}", matching.join(","));
    UpstreamMessage::classify(json.into())
}

fn kinds(records: &[Record]) -> Vec<&'static str> {
    let kind = |record: &Record| match record.body {
        RecordBody::Post(_) => "post",
        RecordBody::Delta { .. } => "delta",
        RecordBody::Gap(_) => "gap",
        RecordBody::Skip(_) => "skip",
        RecordBody::Term => "term",
        RecordBody::Rules(_) => "rules",
    };
    records.iter().map(kind).collect()
}

#[test]
fn post_is_logged_again_only_for_new_rules() {
    let env = TestEnv::new(0);
    env.put(1_000, vec![post(1, &["a"]), post(2, &["b"]), post(1, &["a"])]);
    env.put(2_000, vec![post(1, &["a", "c"]), post(2, &[]), post(1, &["c"])]);
    let (records, metrics) = env.records();
    assert_eq!(kinds(&records), ["term", "post", "post", "delta"]);
    assert_eq!(records.iter().map(|record| record.sequence).collect::<Vec<_>>(), [1, 2, 3, 4]);
    assert!(records.iter().all(|record| record.term == TERM));
    let RecordBody::Delta { prior, post } = &records[3].body else { panic!("{:?}", records[3]) };
    assert_eq!((prior.len(), post.rules.len(), post.id), (1, 2, PostId(1)));
    assert_eq!((metrics.posts_appended.get(), metrics.deltas.get(), metrics.duplicates.get()), (2, 1, 3));
}

#[test]
fn queued_posts_are_appended_in_bounded_batches() {
    let (env, bytes) = (TestEnv::new(0), 100 << 10);
    env.put_long(20, bytes);
    let (records, metrics) = env.records();
    assert_eq!(records.len(), 21, "a TERM and all posts");
    let batch = Config::default().append_bytes_max as u64 / bytes + 1;
    assert_eq!(metrics.appends.get(), 20_u64.div_ceil(batch));
}

#[test]
fn single_post_is_appended_immediately() {
    let mut env = TestEnv::new(0);
    let (sequencer, giving_up) = (env.sequencer.take().expect("run once"), env.giving_up.clone());
    let tasks = TaskGroup::new();
    tasks.thread("sequencer", ExitPolicy::Continue, move || drop(sequencer.run(&giving_up).expect("no damage")));
    for id in 1..=5 {
        env.put(1_000, vec![post(id, &["a"])]);
        assert!(env.runtime.block_on(env.queue.flush()));
        assert_eq!((env.metrics.appends.get(), env.hub.next()), (id, id + 2), "after the TERM");
    }
    let TestEnv { runtime, hub, queue, .. } = env;
    drop(queue);
    assert!(runtime.block_on(tasks.join(&Clock::system(), Duration::from_secs(60))));
    assert_eq!(hub.next(), 7);
}

#[test]
fn skipped_messages_are_reported_once_per_reason() {
    let env = TestEnv::new(0);
    let (bad, long) = (|| UpstreamMessage::Malformed { bytes: 3 }, || UpstreamMessage::Oversized { bytes: 1 << 21 });
    env.put(1_000, vec![bad(), post(1, &[]), bad(), long()]);
    env.put(1_500, vec![bad(), UpstreamMessage::Unknown { bytes: 2 }]);
    let (records, metrics) = env.records();
    let skips: Vec<_> = records
        .iter()
        .filter_map(|record| match &record.body {
            RecordBody::Skip(skip) => Some((skip.reason, skip.count, skip.window.from)),
            _ => None,
        })
        .collect();
    let from = UnixMillis(1_000);
    assert_eq!(skips, [(SkipReason::Malformed, 3, from), (SkipReason::Oversized, 1, from)]);
    assert_eq!((metrics.malformed.get(), metrics.oversized.get(), metrics.unknown.get()), (3, 1, 1));
}

/// The entries of live posts have the moment of their receipt, which the log does not contain; recovered posts have none.
#[test]
fn live_posts_have_moment_of_receipt() {
    let env = TestEnv::new(0);
    let hub = env.hub.clone();
    let before = hub.clock().moment();
    env.put(1_000, vec![post(1, &["a"]), post(1, &["a"]), post(2, &["a"])]);
    env.put_by(1_500, vec![post(3, &["a"])], recovery());
    env.put(2_000, vec![post(4, &["a"])]);
    let after = hub.clock().moment();
    assert_eq!(kinds(&env.records().0), ["term", "post", "post", "post", "post"]);
    let limits = ReadLimits { entries: 9, bytes: usize::MAX };
    let read = hub.read_hot(1, &KeyFilter::Always, limits).expect("in the ring");
    let is_timed: Vec<_> = read.entries[1..].iter().map(|entry| entry.read_at.is_some()).collect();
    assert_eq!(is_timed, [true, true, false, true]);
    let moments: Vec<_> = read.entries[1..].iter().filter_map(|entry| entry.read_at).collect();
    assert!(before <= moments[0] && moments[0] == moments[1] && moments[1] < moments[2] && moments[2] <= after);
}

/// A delta with the rules of all arrivals was once too long for every client.
#[test]
fn post_too_long_to_deliver_is_skipped() {
    let env = TestEnv::new(0);
    let tags = |from: usize| (from..from + 500).map(|n| format!("{n:01000}")).collect::<Vec<_>>();
    let of = |id, tags: &[String]| post(id, &tags.iter().map(String::as_str).collect::<Vec<_>>());
    let (first, second) = (tags(0), tags(500));
    env.put(1_000, vec![of(1, &first), of(1, &second), post(2, &["a"]), of(1, &first)]);
    let (records, metrics) = env.records();
    assert_eq!(kinds(&records), ["term", "post", "post", "skip"]);
    let RecordBody::Skip(skip) = &records[3].body else { panic!("{:?}", records[3]) };
    assert_eq!((skip.reason, skip.count), (SkipReason::Oversized, 1));
    assert_eq!((metrics.oversized.get(), metrics.deltas.get(), metrics.duplicates.get()), (1, 0, 1));
}

/// Posts in another format and compliance messages are reported with their own reason, and counted by kind.
#[test]
fn foreign_messages_are_skipped_and_counted() {
    let env = TestEnv::new(0);
    let activity = || UpstreamMessage::classify(r#"{"id":"tag:search.example.com,2005:1","verb":"post"}"#.into());
    let v2 = UpstreamMessage::classify(r#"{"data":{"id":"1","text":"x"}}"#.into());
    let delete = UpstreamMessage::classify(r#"{"delete":{"status":{"id":1}}}"#.into());
    env.put(1_000, vec![activity(), post(1, &[]), v2, activity(), delete]);
    let (records, metrics) = env.records();
    let skips = records.iter().filter_map(|record| match &record.body {
        RecordBody::Skip(skip) => Some((skip.reason, skip.count)),
        _ => None,
    });
    assert_eq!(skips.collect::<Vec<_>>(), [(SkipReason::ForeignFormat, 4)]);
    let of_kind = |kind: ForeignFormat| {
        metrics.foreign_messages.get_or_create(&crate::ingest::ForeignLabel { kind: kind.name() }).get()
    };
    assert_eq!(
        [ForeignFormat::ActivityStreams, ForeignFormat::V2, ForeignFormat::Delete, ForeignFormat::User].map(of_kind),
        [2, 1, 1, 0]
    );
}

#[test]
fn full_disk_blocks_without_loss() {
    // The first failure is of the TERM record, the others of the posts.
    let env = TestEnv::new(4);
    env.put(1_000, vec![post(1, &["a"]), post(2, &["a"]), post(1, &["a"])]);
    let hub = env.hub.clone();
    let (records, metrics) = env.records();
    assert_eq!(kinds(&records), ["term", "post", "post"]);
    assert_eq!((metrics.append_failures.get(), metrics.duplicates.get()), (4, 1));
    assert!(!hub.upstream().status().journal_unavailable, "the status follows when appends succeed again");
}

#[test]
fn shutdown_with_full_disk_counts_dropped() {
    let env = TestEnv::new(u32::MAX);
    env.put(1_000, vec![post(1, &["a"]), UpstreamMessage::Unknown { bytes: 2 }]);
    env.giving_up.cancel();
    let (records, metrics) = env.records();
    assert!(records.is_empty());
    assert_eq!((metrics.refused_by_disk.get(), metrics.posts_appended.get()), (1, 0));
}

/// Id of a post of this second; `number` distinguishes posts of one second.
fn id_at(second: i64, number: u64) -> u64 {
    PostId::lowest_at(UnixMillis(1_704_067_200_000 + second * 1_000)).0 + number
}

/// Returns the ids in the side log, each with its reference to the account's log.
fn side_entries(hub: &Hub) -> Vec<(u64, Option<Sequence>)> {
    let chunk = hub.side().read(1, &KeyFilter::Always, usize::MAX).expect("readable");
    let entry = |item: &ReadItem| match item {
        ReadItem::Record(record) => record.body.post().map(|post| (post.id.0, post.counterpart)),
        ReadItem::Damaged { .. } => None,
    };
    chunk.items.iter().filter_map(entry).collect()
}

#[test]
fn private_gap_posts_go_to_side_log() {
    let mut env = TestEnv::new(0);
    let hub = env.hub.clone();
    let second = |second: i64| UnixMillis(1_704_067_200_000 + second * 1_000);
    // Older than the recovery window, so only demanded here, not requested: the sequencer checks the demand.
    hub.side().restore(
        serde_json::from_value(serde_json::json!({
            "tag": hub.side().log_id(), "next": 1,
            "shares": [{ "span": TimeRange::new(second(10), second(20)), "since": 1, "fate": "open", "posts": 0 }],
        }))
        .expect("a snapshot"),
    );
    let begins = Record { sequence: 1, term: TERM, received: second(8), body: RecordBody::Term };
    let writing = &mut env.sequencer.as_mut().expect("not run yet").writing;
    writing.logs.writer.append(std::slice::from_ref(&begins)).expect("append works");
    hub.publish(vec![begins]);
    let [live, demanded, both, late, outside, old] =
        [id_at(15, 1), id_at(15, 2), id_at(15, 3), id_at(15, 4), id_at(25, 5), id_at(5, 6)];
    let tally = Arc::new(JobCounters::default());
    let recovery = || IngestSource::Recovery { tally: tally.clone(), demanded: everything() };
    env.put_by(second(21).0, vec![post(live, &["a"]), post(both, &["a"])], LIVE);
    env.put_by(second(30).0, vec![post(demanded, &["a"]), post(both, &["a"]), post(late, &["a"])], recovery());
    env.put_by(second(31).0, vec![post(outside, &["a"]), post(old, &["a"]), post(demanded, &["a"])], recovery());
    env.runtime.block_on(async { assert!(env.queue.log_gaps().await) });
    env.put_by(second(32).0, vec![post(late, &["a"])], LIVE);
    let (records, metrics) = env.records();
    let posts: Vec<_> = records.iter().filter_map(|record| record.body.post()).collect();
    assert_eq!(posts.iter().map(|post| post.id.0).collect::<Vec<_>>(), [live, both, outside, old, late]);
    assert_eq!((metrics.side_appended.get(), metrics.duplicates.get()), (3, 1));
    let main = |id: u64| records.iter().find(|record| record.body.post().is_some_and(|post| post.id.0 == id));
    let late_main = main(late).expect("logged");
    // The late post was in the same batch or in a later one: one of the two records refers to the other.
    let side_reference = side_entries(&hub).iter().find(|(id, _)| *id == late).expect("in the side log").1;
    let main_reference = late_main.body.post().and_then(|post| post.counterpart);
    assert!(side_reference.is_some() != main_reference.is_some(), "{side_reference:?} {main_reference:?}");
    let both_at = main(both).map(|record| record.sequence);
    let entries: Vec<_> = side_entries(&hub).into_iter().filter(|(id, _)| *id != late).collect();
    assert_eq!(entries, [(demanded, None), (both, both_at)]);
    assert_eq!((tally.received(), tally.recovered()), (6, 5));
}

/// An environment with a private gap from second 10 to 20.
fn private_gap_env() -> (TestEnv, Arc<Hub>) {
    let env = TestEnv::new(0);
    let hub = env.hub.clone();
    let second = |second: i64| UnixMillis(1_704_067_200_000 + second * 1_000);
    hub.side().restore(
        serde_json::from_value(serde_json::json!({
            "tag": hub.side().log_id(), "next": 1,
            "shares": [{ "span": TimeRange::new(second(10), second(20)), "since": 1, "fate": "open", "posts": 0 }],
        }))
        .expect("a snapshot"),
    );
    (env, hub)
}

fn recovery() -> IngestSource {
    IngestSource::Recovery { tally: Arc::default(), demanded: everything() }
}

/// What a manual job demands.
fn everything() -> Arc<TimeRangeSet> {
    let all = TimeRange::new(UnixMillis(0), UnixMillis(i64::MAX));
    Arc::new([all].into_iter().collect())
}

/// Returns the posts of the side log.
fn side_posts(hub: &Hub) -> Vec<crate::model::Post> {
    let chunk = hub.side().read(1, &KeyFilter::Always, usize::MAX).expect("readable");
    let post = |item: &ReadItem| match item {
        ReadItem::Record(record) => record.body.post().cloned(),
        ReadItem::Damaged { .. } => None,
    };
    chunk.items.iter().filter_map(post).collect()
}

fn tags(rules: Option<&Arc<[crate::model::Rule]>>) -> Vec<String> {
    let tag = |rule: &crate::model::Rule| rule.tag.as_deref().unwrap_or_default().to_owned();
    rules.iter().flat_map(|rules| rules.iter()).map(tag).collect()
}
