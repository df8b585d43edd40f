use std::collections::HashMap;
use std::path::{Path, PathBuf};
use std::{fs, time::Duration};

use proptest::prelude::*;

use super::*;
use crate::journal::LogBounds;
use crate::model::{PostId, Rule, Sequence, union_rules};

const EPOCH: Epoch = Epoch(1);
const UNTRIMMED: LogBounds = LogBounds { earliest: 1, next: 1, earliest_received: None, newest_received: None };

fn rule(id: u64) -> Rule {
    Rule { id: Some(id), tag: id.is_multiple_of(2).then(|| format!("tag {id}").into()) }
}

fn rules(ids: impl IntoIterator<Item = u64>) -> Arc<[Rule]> {
    ids.into_iter().map(rule).collect()
}

fn small() -> Config {
    Config { memtable_ids_max: 5, file_ids_max: 40, ..Config::default() }
}

fn open_at(dir: &Path, config: &Config, now: UnixMillis) -> Result<Dedup, DedupError> {
    open(Some(dir), config, EPOCH, now, Metrics::default())
}

fn id_files(dir: &Path) -> Vec<PathBuf> {
    let files = fs::read_dir(dir).expect("a directory").map(|entry| entry.expect("an entry").path());
    files.filter(|path| path.extension().is_some_and(|extension| extension == "ids")).collect()
}

/// A simplified gateway: a journal that is never lost, the ids under test, and a plain map as reference.
struct TestEnv {
    dir: Option<tempfile::TempDir>,
    config: Config,
    dedup: Dedup,
    journal: Vec<(PostId, Arc<[Rule]>, UnixMillis)>,
    model: HashMap<PostId, KnownPost>,
    now: UnixMillis,
}

impl TestEnv {
    fn new(dir: Option<tempfile::TempDir>, config: Config) -> Self {
        let now = UnixMillis(1_700_000_000_000);
        let path = dir.as_ref().map(|dir| dir.path());
        let dedup = open(path, &config, EPOCH, now, Metrics::default()).expect("opens");
        Self { dir, config, dedup, journal: Vec::new(), model: HashMap::new(), now }
    }

    fn on_disk(config: Config) -> Self {
        Self::new(Some(tempfile::tempdir().expect("a directory")), config)
    }

    fn path(&self) -> &Path {
        self.dir.as_ref().expect("directory of a test on disk").path()
    }

    /// A batch arrives, and its append succeeds or fails.
    fn arrive(&mut self, batch: &[(u64, u8)], appended: bool) {
        let (journal, model) = (self.journal.clone(), self.model.clone());
        for (id, mask) in batch {
            let id = PostId(*id);
            let arrived = rules((0..8).filter(|bit| mask >> bit & 1 == 1));
            let result = self.dedup.seen.classify(id, &arrived).expect("lookup works");
            let prior = self.model.get(&id).map(|known| known.rules.clone());
            let (expected, now) = match prior {
                None => (DedupResult::New, Some(arrived)),
                Some(prior) => match union_rules(&prior, &arrived) {
                    None => (DedupResult::Duplicate, None),
                    Some(now) => (DedupResult::Delta { prior, now: now.clone() }, Some(now)),
                },
            };
            assert_eq!(result, expected);
            if let Some(rules) = now {
                self.journal.push((id, rules.clone(), self.now));
                let sequence = self.journal.len() as Sequence;
                self.model.insert(id, KnownPost { rules: rules.clone(), sequence });
                self.dedup.seen.stage(id, &rules, sequence, self.now);
            }
        }
        if appended {
            self.dedup.seen.commit();
        } else {
            self.dedup.seen.discard();
            (self.journal, self.model) = (journal, model);
        }
    }

    fn step(&mut self) -> DedupReport {
        self.step_with(UNTRIMMED).expect("maintenance works")
    }

    /// Runs one step of maintenance. Machine time equals the time of the records.
    fn step_with(&mut self, journal: LogBounds) -> Result<DedupReport, DedupError> {
        let (records, now) = (&self.journal, self.now);
        let appended_before =
            |age: Duration| records.partition_point(|(.., received)| now.since(*received) > age) as Sequence + 1;
        self.dedup.maintenance.step(journal, &appended_before)
    }

    fn pass(&mut self, minutes: u64) {
        self.now = self.now.plus(Duration::from_secs(minutes * 60));
    }

    /// A new process; the last records of the journal may be lost.
    fn restart(&mut self, lost: usize) {
        self.dedup = open_at(self.path(), &self.config, self.now).expect("opens");
        if lost > 0 {
            self.journal.truncate(self.journal.len().saturating_sub(lost));
            self.model.clear();
            for (at, (id, rules, _)) in self.journal.iter().enumerate() {
                self.model.insert(*id, KnownPost { rules: rules.clone(), sequence: at as Sequence + 1 });
            }
            self.dedup.maintenance.truncate_after(self.journal.len() as Sequence).expect("forgets");
        }
        self.replay();
    }

    fn replay(&mut self) {
        let covered = self.dedup.seen.covered();
        assert!(covered <= self.journal.len() as Sequence, "only records of the journal are covered");
        for (at, (id, rules, received)) in self.journal.iter().enumerate().skip(covered as usize) {
            self.dedup.seen.stage(*id, rules, at as Sequence + 1, *received);
            self.dedup.seen.commit();
        }
    }

    /// The process is killed during maintenance: removed files still exist, next to a partial file.
    fn crash_in_maintenance(&mut self) {
        let before: Vec<(PathBuf, Vec<u8>)> =
            id_files(self.path()).into_iter().map(|path| (path.clone(), fs::read(path).expect("reads"))).collect();
        self.step();
        for (path, bytes) in before {
            fs::write(path, bytes).expect("writes");
        }
        fs::write(self.path().join("half.tmp"), b"psgwids\nhalf").expect("writes");
        self.restart(0);
        assert!(!self.path().join("half.tmp").exists());
    }

    fn verify(&self) {
        for id in (0..48).map(PostId) {
            assert_eq!(self.dedup.index.find(id).expect("lookup works").as_ref(), self.model.get(&id), "{id}");
        }
    }
}

#[derive(Clone, Debug)]
enum Op {
    Arrive(Vec<(u64, u8)>, bool),
    Step(u64),
    Seal,
    Restart(usize),
    CrashInMaintenance,
}

fn op(on_disk: bool) -> impl Strategy<Value = Op> {
    let batch = proptest::collection::vec((0u64..48, any::<u8>()), 1..9);
    let arrive = (batch, proptest::bool::weighted(0.9)).prop_map(|(batch, appended)| Op::Arrive(batch, appended));
    let kill = u32::from(on_disk);
    prop_oneof![
        8 => arrive,
        4 => (0u64..20).prop_map(Op::Step),
        1 => Just(Op::Seal),
        kill => (0usize..12).prop_map(|lost| Op::Restart(lost.saturating_sub(4))),
        kill => Just(Op::CrashInMaintenance),
    ]
}

fn play(mut env: TestEnv, ops: Vec<Op>) {
    for op in ops {
        match op {
            Op::Arrive(batch, appended) => env.arrive(&batch, appended),
            Op::Step(minutes) => {
                env.pass(minutes);
                env.step();
            }
            Op::Seal => {
                env.dedup.maintenance.flush().expect("flush works");
            }
            Op::Restart(lost) => env.restart(lost),
            Op::CrashInMaintenance => env.crash_in_maintenance(),
        }
        env.verify();
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 96, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn lookups_equal_plain_map_over_any_history(ops in proptest::collection::vec(op(true), 1..60)) {
        play(TestEnv::on_disk(small()), ops);
    }

    #[test]
    fn answers_equal_plain_map_without_directory(ops in proptest::collection::vec(op(false), 1..60)) {
        play(TestEnv::new(None, small()), ops);
    }
}

#[test]
fn two_arrivals_in_one_batch_see_each_other() {
    let mut env = TestEnv::on_disk(small());
    env.arrive(&[(1, 1), (1, 1), (1, 2), (2, 1)], false);
    env.verify();
    env.arrive(&[(1, 1), (1, 1), (1, 3), (1, 2)], true);
    assert_eq!(env.journal.len(), 2, "a post and a delta");
}

#[test]
fn damaged_file_is_reported_and_ids_stay_known() {
    let mut env = TestEnv::on_disk(Config::default());
    let batch: Vec<(u64, u8)> = (0..48).map(|id| (id, id as u8 | 1)).collect();
    env.arrive(&batch, true);
    env.dedup.maintenance.flush().expect("flush works");
    let [path] = <[PathBuf; 1]>::try_from(id_files(env.path())).expect("one file");
    let whole = fs::read(&path).expect("reads");
    for at in (8..whole.len()).step_by(7) {
        let mut damaged = whole.clone();
        damaged[at] ^= 0x10;
        fs::write(&path, &damaged).expect("writes");
        match open_at(env.path(), &env.config, env.now) {
            Err(DedupError::Damaged { path: reported, .. }) => assert_eq!(reported, path),
            Err(other) => panic!("byte {at}: {other}"),
            Ok(dedup) => assert!((0..48).all(|id| dedup.seen.classify(PostId(id), &[]).is_err()), "byte {at}"),
        }
    }
    for len in [0, 1, whole.len() / 2, whole.len() - 1] {
        fs::write(&path, &whole[..len]).expect("writes");
        assert!(matches!(open_at(env.path(), &env.config, env.now), Err(DedupError::Damaged { .. })), "{len} bytes");
    }
    // An unreadable file is reported like a damaged one (here EISDIR).
    fs::remove_file(&path).expect("it is there");
    fs::create_dir(&path).expect("a directory");
    assert!(matches!(open_at(env.path(), &env.config, env.now), Err(DedupError::Damaged { .. })));
}

#[test]
fn quarantined_file_is_rebuilt_from_journal() {
    for damaged in 0..3 {
        let mut env = TestEnv::on_disk(Config { memtable_ids_max: 900, ..small() });
        for round in 0..3 {
            env.arrive(&[(round, 1), (round + 10, 2), (round + 20, 3)], true);
            env.dedup.maintenance.flush().expect("flush works");
        }
        let mut files = id_files(env.path());
        files.sort();
        quarantine(&files[damaged]).expect("renames");
        env.restart(0);
        env.verify();
        env.dedup.maintenance.flush().expect("flush works");
        env.restart(0);
        env.verify();
        assert_eq!(env.dedup.seen.covered(), 9, "file {damaged} is rebuilt");
        let left = fs::read_dir(env.path()).expect("lists").count();
        assert_eq!(left, id_files(env.path()).len(), "the quarantined file is removed");
    }
}

#[test]
fn foreign_epoch_files_are_ignored_and_expire() {
    let mut env = TestEnv::on_disk(small());
    env.arrive(&[(1, 1)], true);
    env.dedup.maintenance.flush().expect("flush works");
    let open_new = |now| open(Some(env.path()), &env.config, Epoch(2), now, Metrics::default()).expect("opens");
    let dedup = open_new(env.now);
    assert_eq!((dedup.stale_files, dedup.seen.covered()), (1, 0));
    assert_eq!(dedup.seen.classify(PostId(1), &[]).expect("lookup works"), DedupResult::New);
    assert_eq!(fs::read_dir(env.path()).expect("lists").count(), 1);
    open_new(env.now.plus(env.config.window * 2));
    assert_eq!(fs::read_dir(env.path()).expect("lists").count(), 0);
}

#[test]
fn ids_expire_after_dedup_window() {
    let mut env = TestEnv::on_disk(Config::default());
    let mut files_most = 0;
    for minute in (0..4 * 24 * 60).step_by(5) {
        env.arrive(&[(minute, 1)], true);
        env.pass(5);
        files_most = files_most.max(env.step().files);
        let age = |minutes: u64| minute.checked_sub(minutes).map(PostId);
        let known = |id| env.dedup.index.find(id).expect("lookup works").is_some();
        assert!(age(24 * 60 - 5).is_none_or(known), "minute {minute}");
        assert!(!age(31 * 60).is_some_and(known), "minute {minute}");
    }
    assert!(files_most <= 24, "{files_most} files of a quiet stream, flushed every 15 minutes");
}

#[test]
fn ids_are_flushed_before_journal_trims_them() {
    let mut env = TestEnv::on_disk(Config::default());
    env.arrive(&[(1, 1), (2, 1), (3, 1)], true);
    let extent = |earliest, next| LogBounds { earliest, next, ..UNTRIMMED };
    assert_eq!(env.step_with(extent(1, 4)).expect("steps").sealed, 0);
    assert_eq!(env.step_with(extent(2, 4)).expect("steps").sealed, 1);
    assert_eq!(env.dedup.seen.covered(), 3);
}

#[test]
fn failed_flush_applies_backpressure() {
    let mut env = TestEnv::on_disk(Config { unflushed_ids_max: 20, ..small() });
    for id in 0..20 {
        env.arrive(&[(id, 1)], true);
    }
    assert!(env.dedup.seen.needs_maintenance());
    assert!(matches!(env.dedup.seen.classify(PostId(40), &[]), Err(DedupError::Behind { unsealed: 20 })));
    env.verify();
    let moved = env.path().with_extension("away");
    fs::rename(env.path(), &moved).expect("renames");
    assert!(matches!(env.step_with(UNTRIMMED), Err(DedupError::Io { .. })));
    env.verify();
    fs::rename(&moved, env.path()).expect("renames");
    env.step();
    assert_eq!(env.dedup.seen.classify(PostId(40), &[]).expect("capacity after flush"), DedupResult::New);
}

#[test]
fn in_memory_dedup_evicts_oldest_ids() {
    let mut env = TestEnv::new(None, Config { memory_bytes_max: 2_000, ..small() });
    for id in 0..200 {
        env.arrive(&[(id, 1)], true);
        env.pass(1);
        let report = env.step();
        assert!(env.dedup.index.metrics.files_bytes.get() <= 2_000);
        assert_eq!(report.since.is_some(), report.files > 0);
    }
    assert_eq!(env.dedup.seen.classify(PostId(0), &[]).expect("lookup works"), DedupResult::New);
    assert_eq!(env.dedup.seen.classify(PostId(195), &[]).expect("lookup works"), DedupResult::Duplicate);
}

#[test]
fn old_id_does_not_cause_file_reads() {
    let mut env = TestEnv::on_disk(Config { memtable_ids_max: 200_000, ..Config::default() });
    let set = rules([1, 2]);
    let id = |n: u64| PostId(1 << 60 | n << 22);
    let mut sequence = 0;
    for generation in 0..3u64 {
        for n in 0..200_000 {
            // Each file has one post that is older than all others.
            let id = if n == 77 { PostId(generation + 5) } else { id(generation * 200_000 + n) };
            sequence += 1;
            env.dedup.seen.stage(id, &set, sequence, env.now);
        }
        env.dedup.seen.commit();
    }
    env.dedup.maintenance.flush().expect("flush works");
    for n in (0..600_000).step_by(997) {
        let known = env.dedup.index.find(id(n)).expect("lookup works").expect("was committed");
        assert_eq!((known.rules, known.sequence), (set.clone(), n + 1));
    }
    assert_eq!(env.dedup.seen.classify(PostId(7), &set).expect("lookup works"), DedupResult::Duplicate);
    let metrics = &env.dedup.index.metrics;
    let before = metrics.file_reads.get();
    for n in 0..10_000 {
        assert_eq!(env.dedup.seen.classify(PostId(id(n * 60).0 + 1), &set).expect("lookup works"), DedupResult::New);
        assert_eq!(env.dedup.seen.classify(id(600_000 + n), &set).expect("lookup works"), DedupResult::New);
    }
    // The filter has 1 of 256 false positives among ids within a known range; the newest ids are outside of every
    // range.
    let reads = metrics.file_reads.get() - before;
    assert!(reads < 200, "{reads} reads for 20,000 new ids");
}

#[test]
fn settings_round_trip_and_unknown_are_rejected() {
    let config = Config::default();
    let text = serde_json::to_string(&config).expect("serialises");
    assert_eq!(serde_json::from_str::<Config>(&text).expect("reads"), config);
    assert!(serde_json::from_str::<Config>(r#"{"horizont": "1h"}"#).is_err());
}

#[test]
fn short_window_is_raised_to_retention_and_day() {
    let hours = |hours: u64| Duration::from_secs(hours * 3_600);
    for (configured, retention, expected) in [(1, 6, 24), (1, 48, 48), (72, 48, 72), (24, 24, 24)] {
        let mut raised = Config { window: hours(configured), ..Config::default() };
        raised.raise(hours(retention));
        assert_eq!(raised.window, hours(expected));
    }
}

#[test]
fn wrong_clock_forgets_no_id() {
    let mut env = TestEnv::on_disk(Config { memtable_ids_max: 2, ..Config::default() });
    let (right, minute) = (env.now, Duration::from_secs(60));
    for (id, hours) in [(1, 0), (2, 0), (3, 0), (4, 30), (5, 30), (6, 30), (7, 0), (8, 0), (9, 0)] {
        env.now = right.plus(Duration::from_secs(hours * 3_600));
        env.arrive(&[(id, 1)], true);
        env.dedup.maintenance.step(UNTRIMMED, &|age| if age < minute { 10 } else { 0 }).expect("maintenance works");
        env.verify();
    }
    let [before, after] = [0, 10].map(|old| env.dedup.maintenance.step(UNTRIMMED, &|_| old).expect("works"));
    assert_eq!((before.files > 0, before.dropped, after.files), (true, 0, 0));
    assert_eq!(after.dropped, before.files + after.sealed, "by machine time");
}
