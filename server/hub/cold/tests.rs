use std::ops::Range;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use parking_lot::{Condvar, Mutex};
use proptest::prelude::*;

use super::super::entry::EntryKind;
use super::super::{Config, test_util};
use super::*;
use crate::clock::Clock;
use crate::journal::{LogBounds, ReadBatch, ReadItem, Reader, Writer};
use crate::model::{Epoch, IndexKey, TermStart, UnixMillis};

/// A log in memory that counts reads, delays them, and loses or damages records on request.
struct Watched {
    log: Arc<dyn Reader>,
    reads: AtomicU64,
    held: Mutex<bool>,
    let_go: Condvar,
    earliest: AtomicU64,
    damaged: Mutex<Range<Sequence>>,
}

impl Watched {
    fn hold(&self, held: bool) {
        *self.held.lock() = held;
        self.let_go.notify_all();
    }

    fn reads(&self) -> u64 {
        self.reads.load(Ordering::SeqCst)
    }

    fn check(&self, at: Sequence) -> Result<(), journal::ReadError> {
        let earliest = self.extent().earliest;
        if at < earliest { Err(journal::ReadError::Trimmed { earliest }) } else { Ok(()) }
    }

    /// Replaces the damaged records by one item.
    fn damage(&self, from: Sequence, chunk: ReadBatch) -> ReadBatch {
        let damaged = self.damaged.lock().clone();
        let mut items = Vec::new();
        for item in chunk.items {
            match item {
                ReadItem::Record(record) if damaged.contains(&record.sequence) => {
                    let is_reported = matches!(items.last(), Some(ReadItem::Damaged { .. }));
                    let (first, last) = (damaged.start.max(from), damaged.end - 1);
                    let time = UnixMillis(1);
                    items.extend((!is_reported).then_some(ReadItem::Damaged { first, last, from: time, to: time }));
                }
                item => items.push(item),
            }
        }
        let next = if damaged.contains(&chunk.next) { damaged.end } else { chunk.next };
        ReadBatch { items, next }
    }
}

impl Reader for Watched {
    fn epoch(&self) -> Epoch {
        self.log.epoch()
    }

    fn terms(&self) -> Arc<[TermStart]> {
        self.log.terms()
    }

    fn extent(&self) -> LogBounds {
        let extent = self.log.extent();
        LogBounds { earliest: extent.earliest.max(self.earliest.load(Ordering::SeqCst)), ..extent }
    }

    fn seek(&self, time: UnixMillis) -> Result<Sequence, journal::ReadError> {
        self.log.seek(time)
    }

    fn read(&self, from: Sequence, keys: &KeyFilter, bytes_max: usize) -> Result<ReadBatch, journal::ReadError> {
        self.check(from)?;
        self.reads.fetch_add(1, Ordering::SeqCst);
        let mut held = self.held.lock();
        while *held {
            self.let_go.wait(&mut held);
        }
        Ok(self.damage(from, self.log.read(from, keys, bytes_max)?))
    }

    fn page_start(&self, at: Sequence, keys: &KeyFilter) -> Result<Option<Sequence>, journal::ReadError> {
        self.check(at)?;
        // Pages of ten.
        Ok(matches!(keys, KeyFilter::Always).then_some(at - at % 10).map(|first| first.max(self.extent().earliest)))
    }

    fn read_page(&self, first: Sequence, _: usize) -> Result<ReadBatch, journal::ReadError> {
        let mut chunk = self.read(first, &KeyFilter::Always, usize::MAX)?;
        let next = chunk.next.min(first - first % 10 + 10);
        chunk.items.retain(|item| match item {
            ReadItem::Record(record) => record.sequence < next,
            ReadItem::Damaged { first, .. } => *first < next,
        });
        Ok(ReadBatch { next: chunk.items.iter().map(end).max().unwrap_or(next).max(next), ..chunk })
    }
}

fn end(item: &ReadItem) -> Sequence {
    match item {
        ReadItem::Record(record) => record.sequence + 1,
        ReadItem::Damaged { last, .. } => last + 1,
    }
}

/// Creates a hub over such a log with this many posts; its ring contains the newest.
fn env(config: Config, posts: u64) -> (Arc<Hub>, Arc<Watched>, Box<dyn Writer>) {
    let mut watched = None;
    let config = Config { ring_bytes_max: 1, ..config };
    let (hub, mut writer) = test_util::hub_watched(config, Clock::system(), |log| {
        let counts = (AtomicU64::new(0), AtomicU64::new(0));
        let log = Arc::new(Watched {
            log,
            reads: counts.0,
            earliest: counts.1,
            held: Mutex::new(false),
            let_go: Condvar::new(),
            damaged: Mutex::new(0..0),
        });
        watched = Some(log.clone());
        log
    });
    let records: Vec<_> = (1..=posts).map(|sequence| test_util::post_record(sequence, &["a"])).collect();
    writer.append(&records).expect("in memory");
    hub.publish(records);
    (hub, watched.expect("made"), writer)
}

async fn in_time<T>(hub: &Hub, read: impl Future<Output = T>) -> T {
    hub.clock().timeout(Duration::from_secs(60), read).await.expect("in time")
}

async fn eventually(hub: &Hub, condition: impl Fn() -> bool) {
    in_time(hub, async {
        while !condition() {
            tokio::task::yield_now().await;
        }
    })
    .await;
}

fn sequences(read: &Read) -> Vec<Sequence> {
    read.entries.iter().map(|entry| entry.sequence).collect()
}

#[tokio::test]
async fn unpolled_reader_does_not_block_others() {
    for replay_cache_bytes_max in [0, 1 << 20] {
        let config = Config { journal_readers_max: 1, replay_cache_bytes_max, ..Config::default() };
        let (hub, log, _) = env(config, 10);
        // Polled once to queue the read, and never again.
        log.hold(true);
        let mut stalled: Vec<_> = (0..5).map(|_| Box::pin(hub.clone().read_cold(1, KeyFilter::Always))).collect();
        for read in &mut stalled {
            assert!(futures::poll!(read.as_mut()).is_pending(), "the log is held");
        }
        log.hold(false);
        for from in (1..=9).cycle().take(20) {
            let read = in_time(&hub, hub.clone().read_cold(from, KeyFilter::Always)).await.expect("readable");
            assert_eq!(read.entries[0].sequence, from);
        }
        for read in stalled {
            assert_eq!(read.await.expect("its answer has waited").entries[0].sequence, 1);
        }
    }
}

#[tokio::test]
async fn concurrent_page_reads_hit_journal_once() {
    let (hub, log, _) = env(Config { journal_readers_max: 2, ..Config::default() }, 10);
    log.hold(true);
    let mut reads: Vec<_> = (1..=9).map(|from| Box::pin(hub.clone().read_cold(from, KeyFilter::Always))).collect();
    for read in &mut reads {
        assert!(futures::poll!(read.as_mut()).is_pending());
    }
    eventually(&hub, || hub.cold(LogKind::Main).reads.lock().waiting.is_empty()).await;
    log.hold(false);
    for (from, read) in (1..).zip(reads) {
        let read = in_time(&hub, read).await.expect("readable");
        assert_eq!((sequences(&read), read.next), ((from..10).collect(), 10));
    }
    assert_eq!((log.reads(), hub.metrics().cold_reads.get()), (1, 1));
    let kept = hub.read_cached(4, &KeyFilter::AnyOf([IndexKey::Tag("none".into())].into())).expect("in memory for all");
    assert_eq!(sequences(&kept), (4..10).collect::<Vec<_>>());
}

#[tokio::test]
async fn only_next_page_is_prefetched() {
    let (hub, log, _) = env(Config::default(), 100);
    in_time(&hub, hub.clone().read_cold(1, KeyFilter::Always)).await.expect("readable");
    eventually(&hub, || hub.pages().contains(10)).await;
    assert_eq!((log.reads(), hub.pages().contains(20)), (2, false));
    assert!(hub.read_cached(10, &KeyFilter::Always).is_some());
    eventually(&hub, || hub.pages().contains(20)).await;
}

#[tokio::test]
async fn what_was_trimmed_is_given_from_no_page() {
    let (hub, log, _) = env(Config::default(), 30);
    in_time(&hub, hub.clone().read_cold(1, KeyFilter::Always)).await.expect("readable");
    log.earliest.store(5, Ordering::SeqCst);
    assert!(hub.read_cached(4, &KeyFilter::Always).is_none());
    let read = in_time(&hub, hub.clone().read_cold(4, KeyFilter::Always)).await;
    assert!(matches!(read, Err(HubReadError::Trimmed { earliest: 5 })), "{read:?}");
    assert_eq!(sequences(&hub.read_cached(5, &KeyFilter::Always).expect("not trimmed")), (5..10).collect::<Vec<_>>());
}

#[tokio::test]
async fn page_larger_than_cache_is_still_served() {
    let (hub, ..) = env(Config { replay_cache_bytes_max: 1, ..Config::default() }, 25);
    for _ in 0..3 {
        let read = in_time(&hub, hub.clone().read_cold(12, KeyFilter::Always)).await.expect("readable");
        assert_eq!(sequences(&read), (12..20).collect::<Vec<_>>());
        assert!(!hub.pages().contains(12));
    }
}

/// Returns all that a cursor reads from here on, as (first, records) of skips and posts.
async fn all(hub: &Arc<Hub>, mut cursor: Sequence) -> Vec<(Sequence, u64)> {
    let mut given = Vec::new();
    while !hub.is_hot(cursor) {
        let read = match hub.read_cached(cursor, &KeyFilter::Always) {
            Some(read) => read,
            None => in_time(hub, hub.clone().read_cold(cursor, KeyFilter::Always)).await.expect("readable"),
        };
        assert!(read.next > cursor);
        let count = |entry: &Arc<super::super::entry::Entry>| match &entry.kind {
            EntryKind::Skip(skip) => skip.count,
            _ => 1,
        };
        given.extend(read.entries.iter().map(|entry| (entry.sequence, count(entry))));
        cursor = read.next;
    }
    given.retain(|(sequence, _)| !hub.is_hot(*sequence));
    given
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 40, ..ProptestConfig::default() })]

    #[test]
    fn damage_is_reported_exactly_from_any_start(start in 1_u64..50, count in 1_u64..30, from in 1_u64..60) {
        let runtime = tokio::runtime::Runtime::new().expect("a runtime");
        runtime.block_on(async {
            let (hub, log, _) = env(Config::default(), 100);
            let damaged = start..start + count;
            *log.damaged.lock() = damaged.clone();
            let mut expected: Vec<_> = (from..100).filter(|at| !damaged.contains(at)).map(|at| (at, 1)).collect();
            let start_of_damage = damaged.start.max(from);
            if start_of_damage < damaged.end {
                expected.push((start_of_damage, damaged.end - start_of_damage));
                expected.sort_unstable();
            }
            // Twice, the second time from the cache.
            for _ in 0..2 {
                assert_eq!(all(&hub, from).await, expected);
            }
        });
    }
}
