use std::collections::HashMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use bytes::Bytes;
use proptest::prelude::*;

use super::super::{Config, Dedup, Error, Known, Metrics, Verdict, open};
use crate::journal::{self, Extent, Identity, Journal};
use crate::model::{Body, Epoch, Origin, Post, PostId, Record, Rule, Term, UnixMillis};

const EPOCH: Epoch = Epoch(1);
const T0: UnixMillis = UnixMillis(1_700_000_000_000);
const UNTRIMMED: Extent = Extent { earliest: 1, next: 1, earliest_received: None, newest_received: None };

fn tagged(tag: u64) -> Arc<[Rule]> {
    [Rule { id: Some(tag), tag: Some(format!("tag {tag}").into()) }].into()
}

/// Posts in a journal in memory and their ids in files, with a plain map of both.
struct World {
    dir: tempfile::TempDir,
    journal: Journal,
    ids: Dedup,
    known: HashMap<PostId, Known>,
    next: u64,
}

impl World {
    fn new(retention_bytes_max: u64) -> Self {
        let dir = tempfile::tempdir().expect("a directory");
        let config = journal::Config { retention_bytes_max, segment_bytes_max: 4 << 10, ..Default::default() };
        let journal = journal::open_memory(&config, Identity { epoch: EPOCH, term: Term(1) });
        let ids = open_at(dir.path(), &Config::default());
        ids.rebuild_from(journal.reader.clone());
        Self { dir, journal, ids, known: HashMap::new(), next: 1 }
    }

    /// A generation of posts with these ids, sealed into a file.
    fn generation(&mut self, ids: impl Iterator<Item = u64>) {
        for id in ids.map(PostId) {
            let rules = tagged(id.0 % 5 + self.next % 2);
            let post = Post {
                id,
                rules: rules.clone(),
                origin: Origin::Live,
                gap: None,
                beside: None,
                beside_rules: None,
                previous: None,
                json: Bytes::from_static(b"{}"),
            };
            let record = Record { sequence: self.next, term: Term(1), received: T0, body: Body::Post(post) };
            self.journal.writer.append(&[record]).expect("there is room");
            self.ids.seen.note(id, &rules, self.next, T0);
            self.known.insert(id, Known { rules, sequence: self.next });
            self.next += 1;
        }
        self.ids.seen.commit();
        self.ids.upkeep.seal().expect("seals");
    }

    fn files(&self) -> Vec<PathBuf> {
        let mut files: Vec<_> =
            fs::read_dir(self.dir.path()).expect("lists").map(|entry| entry.expect("an entry").path()).collect();
        files.retain(|path| path.extension().is_some_and(|extension| extension == "ids"));
        files.sort();
        files
    }

    /// All that was logged is known, under its rules.
    fn verify(&self) {
        for (id, known) in &self.known {
            assert_eq!(self.ids.seen.known(*id).expect("can be told").as_ref(), Some(known), "{id}");
        }
        assert_eq!(self.ids.seen.judge(PostId(u64::MAX), &[]).expect("can be told"), Verdict::New);
    }
}

fn open_at(dir: &Path, config: &Config) -> Dedup {
    open(Some(dir), config, EPOCH, T0, Metrics::default()).expect("opens")
}

/// Damages the chosen ones of the blocks that the file has.
fn damage(path: &Path, choose: impl Fn(usize) -> Vec<usize>) {
    let file = super::Sealed::open(path).expect("its index is whole");
    let mut bytes = fs::read(path).expect("reads");
    for block in choose(file.blocks()) {
        let range = file.block_range(block);
        bytes[(range.start + range.end) as usize / 2] = 0xff;
        bytes[range.start as usize] ^= 0x10;
    }
    // In place: the file is open already.
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
        let mut world = World::new(u64::MAX);
        for generation in 0..4u64 {
            // Ids of several generations interleave, and some come twice.
            world.generation((0..2_000).map(|n| n * step + generation));
        }
        let files = world.files();
        for (file, blocks) in &damages {
            damage(&files[file.index(files.len())], |count| blocks.iter().map(|block| block.index(count)).collect());
        }
        match met_by {
            // A look-up, a merge, a start that has lost the newest records.
            0 => {}
            1 => for _ in 0..4 {
                world.ids.upkeep.step(UNTRIMMED, &|_| 0).expect("upkeep");
            },
            _ => {
                world.ids = open_at(world.dir.path(), &Config::default());
                world.ids.rebuild_from(world.journal.reader.clone());
                world.ids.upkeep.forget_after(world.next - 1).expect("forgets");
            }
        }
        world.verify();
        prop_assert_eq!(world.ids.index.metrics().lost_ids.get(), 0);
        world.ids = open_at(world.dir.path(), &Config::default());
        world.verify();
    }
}

#[test]
fn ids_of_trimmed_records_are_counted_as_lost() {
    let mut world = World::new(16 << 10);
    world.generation(0..2_000);
    let kept = world.journal.upkeep.step(crate::clock::Clock::system().moment()).map(|_| world.journal.reader.extent());
    let earliest = kept.expect("trims").earliest;
    assert!(earliest > 1_100, "{earliest}");
    damage(&world.files()[0], |_| vec![0]);
    for (id, known) in &world.known {
        let found = world.ids.seen.known(*id).expect("the gateway goes on");
        assert!(found.is_none() || found.as_ref() == Some(known), "{id}");
    }
    let metrics = world.ids.index.metrics();
    let unknown = world.known.keys().filter(|id| world.ids.seen.known(**id).expect("can be told").is_none()).count();
    assert_eq!((metrics.rebuilt_files.get(), metrics.lost_ids.get()), (1, unknown as u64));
    assert!((1..=512).contains(&unknown), "{unknown}: those of one block");
}

#[test]
fn file_with_too_many_damaged_blocks_is_left_to_next_start() {
    let mut world = World::new(u64::MAX);
    world.generation(0..4_000);
    let config = Config { rebuilt_blocks_max: 2, ..Config::default() };
    world.ids = open_at(world.dir.path(), &config);
    world.ids.rebuild_from(world.journal.reader.clone());
    damage(&world.files()[0], |count| (0..count).collect());
    for _ in 0..2 {
        let errors = world.known.keys().filter(|id| matches!(world.ids.seen.known(**id), Err(Error::Damaged { .. })));
        assert!(errors.count() > 0, "never taken for unseen, however often it is asked");
    }
    assert_eq!(world.files(), Vec::<PathBuf>::new(), "it is set aside");
    world.ids = open_at(world.dir.path(), &config);
    assert_eq!(world.ids.seen.covered(), 0, "all of it is noted again");
    let chunk = world.journal.reader.read(1, &crate::model::Keys::Always, usize::MAX).expect("reads");
    assert_eq!(chunk.items.len(), 4_000, "by the caller, out of the journal");
}
