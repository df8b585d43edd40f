use std::collections::HashMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use bytes::Bytes;
use proptest::prelude::*;

use super::super::{Config, Dedup, DedupError, DedupResult, KnownPost, Metrics, open};
use crate::journal::{self, Journal, LogBounds, WriterIdentity};
use crate::model::{Epoch, Origin, Post, PostId, Record, RecordBody, Rule, Term, UnixMillis};

const EPOCH: Epoch = Epoch(1);
const T0: UnixMillis = UnixMillis(1_700_000_000_000);
const UNTRIMMED: LogBounds = LogBounds { earliest: 1, next: 1, earliest_received: None, newest_received: None };

fn tagged(tag: u64) -> Arc<[Rule]> {
    [Rule { id: Some(tag), tag: Some(format!("tag {tag}").into()) }].into()
}

/// Posts in a journal in memory, their ids in files, and a plain map of both.
struct TestEnv {
    dir: tempfile::TempDir,
    journal: Journal,
    ids: Dedup,
    known: HashMap<PostId, KnownPost>,
    next: u64,
}

impl TestEnv {
    fn new(retention_bytes_max: u64) -> Self {
        let dir = tempfile::tempdir().expect("a directory");
        let config = journal::Config { retention_bytes_max, segment_bytes_max: 4 << 10, ..Default::default() };
        let journal = journal::open_memory(&config, WriterIdentity { epoch: EPOCH, term: Term(1) });
        let ids = open_at(dir.path(), &Config::default());
        ids.rebuild_from(journal.reader.clone());
        Self { dir, journal, ids, known: HashMap::new(), next: 1 }
    }

    /// Appends posts with these ids and flushes them to a file.
    fn generation(&mut self, ids: impl Iterator<Item = u64>) {
        for id in ids.map(PostId) {
            let rules = tagged(id.0 % 5 + self.next % 2);
            let post = Post {
                id,
                rules: rules.clone(),
                origin: Origin::Live,
                gap: None,
                counterpart: None,
                counterpart_rules: None,
                previous: None,
                json: Bytes::from_static(b"{}"),
            };
            let record = Record { sequence: self.next, term: Term(1), received: T0, body: RecordBody::Post(post) };
            self.journal.writer.append(&[record]).expect("append works");
            self.ids.seen.stage(id, &rules, self.next, T0);
            self.known.insert(id, KnownPost { rules, sequence: self.next });
            self.next += 1;
        }
        self.ids.seen.commit();
        self.ids.maintenance.flush().expect("flush works");
    }

    fn files(&self) -> Vec<PathBuf> {
        let mut files: Vec<_> =
            fs::read_dir(self.dir.path()).expect("lists").map(|entry| entry.expect("an entry").path()).collect();
        files.retain(|path| path.extension().is_some_and(|extension| extension == "ids"));
        files.sort();
        files
    }

    /// Checks that every logged post is known, under its rules.
    fn verify(&self) {
        for (id, known) in &self.known {
            assert_eq!(self.ids.seen.known(*id).expect("lookup works").as_ref(), Some(known), "{id}");
        }
        assert_eq!(self.ids.seen.classify(PostId(u64::MAX), &[]).expect("lookup works"), DedupResult::New);
    }
}

fn open_at(dir: &Path, config: &Config) -> Dedup {
    open(Some(dir), config, EPOCH, T0, Metrics::default()).expect("opens")
}

/// Damages the chosen blocks of a file.
fn damage(path: &Path, choose: impl Fn(usize) -> Vec<usize>) {
    let file = super::IdFile::open(path).expect("its index is whole");
    let mut bytes = fs::read(path).expect("reads");
    for block in choose(file.blocks()) {
        let range = file.block_range(block);
        bytes[(range.start + range.end) as usize / 2] = 0xff;
        bytes[range.start as usize] ^= 0x10;
    }
    // In place: the file is already open.
    fs::write(path, bytes).expect("writes");
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 24, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn damaged_blocks_are_rebuilt_from_journal(
        step in 1u64..5,
        damages in proptest::collection::vec((any::<prop::sample::Index>(), any::<Vec<prop::sample::Index>>()), 1..4),
        met_by in 0..3,
    ) {
        let mut env = TestEnv::new(u64::MAX);
        for generation in 0..4u64 {
            // Ids of several files interleave, and some repeat.
            env.generation((0..2_000).map(|n| n * step + generation));
        }
        let files = env.files();
        for (file, blocks) in &damages {
            damage(&files[file.index(files.len())], |count| blocks.iter().map(|block| block.index(count)).collect());
        }
        match met_by {
            // A lookup, a compaction, a start that has lost the newest records.
            0 => {}
            1 => for _ in 0..4 {
                env.ids.maintenance.step(UNTRIMMED, &|_| 0).expect("maintenance works");
            },
            _ => {
                env.ids = open_at(env.dir.path(), &Config::default());
                env.ids.rebuild_from(env.journal.reader.clone());
                env.ids.maintenance.truncate_after(env.next - 1).expect("forgets");
            }
        }
        env.verify();
        prop_assert_eq!(env.ids.index.metrics().lost_ids.get(), 0);
        env.ids = open_at(env.dir.path(), &Config::default());
        env.verify();
    }
}

#[test]
fn ids_of_trimmed_records_are_counted_as_lost() {
    let mut env = TestEnv::new(16 << 10);
    env.generation(0..2_000);
    let kept =
        env.journal.maintenance.step(crate::clock::Clock::system().moment()).map(|_| env.journal.reader.extent());
    let earliest = kept.expect("trims").earliest;
    assert!(earliest > 1_100, "{earliest}");
    damage(&env.files()[0], |_| vec![0]);
    for (id, known) in &env.known {
        let found = env.ids.seen.known(*id).expect("lookup works despite damage");
        assert!(found.is_none() || found.as_ref() == Some(known), "{id}");
    }
    let metrics = env.ids.index.metrics();
    let unknown = env.known.keys().filter(|id| env.ids.seen.known(**id).expect("lookup works").is_none()).count();
    assert_eq!((metrics.rebuilt_files.get(), metrics.lost_ids.get()), (1, unknown as u64));
    assert!((1..=512).contains(&unknown), "{unknown}: the ids of one block");
}

#[test]
fn heavily_damaged_file_is_rebuilt_at_next_start() {
    let mut env = TestEnv::new(u64::MAX);
    env.generation(0..4_000);
    let config = Config { rebuilt_blocks_max: 2, ..Config::default() };
    env.ids = open_at(env.dir.path(), &config);
    env.ids.rebuild_from(env.journal.reader.clone());
    damage(&env.files()[0], |count| (0..count).collect());
    for _ in 0..2 {
        let errors = env.known.keys().filter(|id| matches!(env.ids.seen.known(**id), Err(DedupError::Damaged { .. })));
        assert!(errors.count() > 0, "repeated lookups never report a lost id as unseen");
    }
    assert_eq!(env.files(), Vec::<PathBuf>::new(), "the file is quarantined");
    env.ids = open_at(env.dir.path(), &config);
    assert_eq!(env.ids.seen.covered(), 0, "every record is staged again");
    let chunk = env.journal.reader.read(1, &crate::model::KeyFilter::Always, usize::MAX).expect("reads");
    assert_eq!(chunk.items.len(), 4_000, "by the caller, from the journal");
}
