//! Blocks: a log that is fed with the blocks of another one is equal to it.

use std::collections::BTreeMap;

use proptest::collection::vec;

use super::files::faulty;
use super::*;

/// Segments of a few blocks each.
fn config() -> Config {
    Config { segment_bytes_max: 600, ..small_segments() }
}

fn term_record(sequence: Sequence, term: u64) -> Record {
    Record { body: RecordBody::Term, term: Term(term), ..post(sequence, "") }
}

/// A block of this place, as another writer would send it.
fn block_at(epoch: Epoch, term: u64, first: Sequence, has_term_record: bool) -> Block {
    let start = LogStart { epoch, terms: Vec::new(), next: first };
    let first = if has_term_record { term_record(first, term) } else { post(first, "a") };
    let records = with_term(term, vec![post(first.sequence + 1, "b")]);
    let mut factory = memory::open_at(&config(), &start, Term(term));
    factory.writer.encode(&[&[Record { term: Term(term), ..first }][..], &records].concat()).expect("encoded")
}

/// Every file of a log, except its lock.
fn contents(dir: &Path) -> BTreeMap<String, Vec<u8>> {
    let entries = std::fs::read_dir(dir).expect("it is there").map(|entry| entry.expect("an entry").path());
    let name = |path: &Path| path.file_name().expect("a file").to_string_lossy().into_owned();
    let mut files: BTreeMap<_, _> =
        entries.map(|path| (name(&path), std::fs::read(&path).expect("readable"))).collect();
    files.remove("lock").expect("a log has a lock");
    files
}

fn assert_equal_reads(found: &dyn Reader, expected: &dyn Reader) {
    assert_eq!((found.epoch(), found.terms(), found.extent()), (expected.epoch(), expected.terms(), expected.extent()));
    let extent = expected.extent();
    let narrow = [IndexKey::Tag("a".into()), IndexKey::Rule(1), IndexKey::Prefix("b.".into())];
    for keys in [KeyFilter::Always, KeyFilter::AnyOf(narrow.into()), KeyFilter::AnyOf([].into())] {
        for bytes_max in [1, 300, 1 << 20] {
            let read = |reader| read_all(reader, extent.earliest, &keys, bytes_max);
            assert_eq!(read(found), read(expected), "{keys:?}, {bytes_max} bytes");
        }
    }
    let all = records(read_all(expected, extent.earliest, &KeyFilter::Always, 1 << 20));
    for record in &all {
        for time in [record.received, UnixMillis(record.received.0 + 1)] {
            assert_eq!(found.seek(time).expect("a seek"), expected.seek(time).expect("a seek"));
        }
        let received = |reader: &dyn Reader| reader.received_at(record.sequence).expect("readable");
        assert_eq!(received(found), received(expected));
    }
    let notices = |reader: &dyn Reader| {
        let read = reader.read_notices(extent.earliest..extent.next, true, u64::MAX).expect("readable");
        (read.items, read.next)
    };
    assert_eq!(notices(found), notices(expected));
}

/// Appends the blocks that are missing in the log; before each of them blocks that do not continue it.
fn feed(journal: &mut Journal, blocks: &[Block]) {
    let missing = blocks.partition_point(|block| block.first() < journal.reader.extent().next);
    for (at, block) in blocks.iter().enumerate().skip(missing) {
        let next = block.first();
        let mut refuse = |wrong: &Block, expected| match journal.writer.append_block(wrong) {
            Err(AppendError::Discontinuous(found)) => assert_eq!(found, expected),
            other => panic!("{other:?}, expected {expected}"),
        };
        if let Some(repeated) = at.checked_sub(1).map(|before| &blocks[before]) {
            refuse(repeated, Discontinuity::Sequence { first: repeated.first(), next });
            let term = Term(999);
            refuse(&block_at(EPOCH, term.0, next, false), Discontinuity::NoTermRecord { term });
            let ended = blocks[..at].iter().map(Block::term).find(|term| *term != repeated.term());
            if let Some(term) = ended {
                refuse(&block_at(EPOCH, term.0, next, true), Discontinuity::EndedTerm { term });
            }
        }
        if let Some(later) = blocks.get(at + 1) {
            refuse(later, Discontinuity::Sequence { first: later.first(), next });
        }
        let (own, found) = (EPOCH, Epoch(1));
        refuse(&block_at(found, block.term().0, next, true), Discontinuity::Epoch { found, own });
        let (received, records) =
            StoredBlockDecoder::new(EPOCH).expect("a decoder").decode(block.bytes().clone()).expect("sound");
        assert_eq!((received.first(), received.last()), (records[0].sequence, records[records.len() - 1].sequence));
        journal.writer.append_block(&received).expect("it continues the log");
        assert_eq!(journal.reader.extent().next, block.last() + 1);
    }
}

/// What happens to the logs after a batch.
#[derive(Clone, Copy, Debug)]
enum Step {
    Feed,
    /// The leadership ends, and another begins in the same process, or after a restart.
    NewTerm {
        restart: bool,
    },
    /// The fed log is opened again, without bytes at its end.
    LoseTail(usize),
}

fn any_step() -> impl Strategy<Value = Step> {
    prop_oneof![
        4 => Just(Step::Feed),
        1 => any::<bool>().prop_map(|restart| Step::NewTerm { restart }),
        1 => (0_usize..1_500).prop_map(Step::LoseTail),
    ]
}

/// Truncates the last segment, but not its header.
fn lose_tail(dir: &Path, bytes: usize) {
    let names: Vec<String> = contents(dir).into_keys().filter(|name| name.ends_with(".raw")).collect();
    let path = dir.join(names.last().expect("a segment"));
    let file = std::fs::OpenOptions::new().write(true).open(path).expect("it is ours");
    let length = file.metadata().expect("a file").len();
    let header = embedded::segment_scan::SEGMENT_HEADER_BYTES as u64;
    file.set_len(length.saturating_sub(bytes as u64).max(header)).expect("truncated");
}

/// A log in files with several terms, and the logs that are fed with its blocks.
struct Pair {
    dirs: [tempfile::TempDir; 2],
    source: Journal,
    fed: Journal,
    in_memory: Journal,
    blocks: Vec<Block>,
    term: u64,
}

impl Pair {
    fn new() -> Self {
        let dirs = [(); 2].map(|()| tempfile::tempdir().expect("a directory"));
        let [source, fed] = [&dirs[0], &dirs[1]].map(|dir| embedded(dir.path(), &config(), 1));
        Self { dirs, source, fed, in_memory: open_memory(&config(), identity(1)), blocks: Vec::new(), term: 1 }
    }

    fn append(&mut self, bodies: &[(RecordBody, i64)], begins_term: bool, as_block: bool) {
        let extent = self.source.reader.extent();
        let mut received = extent.newest_received.map_or(T0, |newest| newest.0);
        let first = begins_term.then_some((RecordBody::Term, 0));
        let bodies = first.iter().chain(bodies);
        let batch: Vec<Record> = (extent.next..)
            .zip(bodies)
            .map(|(sequence, (body, later))| {
                received += later;
                Record { sequence, term: Term(self.term), received: UnixMillis(received), body: body.clone() }
            })
            .collect();
        let writer = &mut self.source.writer;
        let block = writer.encode(&batch).expect("encoded");
        assert_eq!(
            (block.epoch(), block.term(), block.begins_term()),
            (EPOCH, Term(self.term), batch[0].body == RecordBody::Term)
        );
        if as_block { writer.append_block(&block) } else { writer.append(&batch) }.expect("there is room");
        self.blocks.push(block);
    }

    fn step(&mut self, step: Step) {
        match step {
            Step::Feed => feed(&mut self.fed, &self.blocks),
            Step::NewTerm { restart } => {
                self.term += 1;
                if restart {
                    self.source = reopened(&mut self.source, &self.dirs[0], self.term);
                } else {
                    self.source.writer.begin(Term(self.term));
                }
            }
            Step::LoseTail(bytes) => {
                let (dir, next) = (&self.dirs[1], self.fed.reader.extent().next);
                self.fed = open_memory(&config(), identity(1));
                lose_tail(dir.path(), bytes);
                self.fed = embedded(dir.path(), &config(), 77);
                assert!(self.fed.reader.extent().next <= next);
            }
        }
    }
}

/// Closes a log and opens it again.
fn reopened(journal: &mut Journal, dir: &tempfile::TempDir, term: u64) -> Journal {
    *journal = open_memory(&config(), identity(1));
    embedded(dir.path(), &config(), term)
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 40, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn log_of_blocks_equals_its_source(
        batches in vec((vec((any_record(), 0_i64..5_000), 1..6), any::<bool>(), any_step()), 1..30),
        // The block of a lone record is compressed, unlike the append of one.
        are_lone_compressed in any::<bool>(),
    ) {
        let mut pair = Pair::new();
        let mut listed = 0;
        for (bodies, as_block, step) in batches {
            let begins_term = std::mem::replace(&mut listed, pair.term) != pair.term;
            let is_lone = bodies.len() == 1 && !begins_term;
            pair.append(&bodies, begins_term, as_block || is_lone && are_lone_compressed);
            pair.step(step);
        }
        feed(&mut pair.fed, &pair.blocks);
        feed(&mut pair.in_memory, &pair.blocks);
        assert_equal_reads(&*pair.fed.reader, &*pair.source.reader);
        let read = |journal: &Journal| read_all(&*journal.reader, 1, &KeyFilter::Always, 1 << 20);
        assert_eq!(read(&pair.in_memory), read(&pair.source));
        assert_eq!(pair.in_memory.reader.terms(), pair.source.reader.terms());
        for round in 0..2 {
            if are_lone_compressed {
                assert_eq!(contents(pair.dirs[1].path()), contents(pair.dirs[0].path()), "round {round}");
            }
            for (journal, dir) in [&mut pair.source, &mut pair.fed].into_iter().zip(&pair.dirs) {
                *journal = reopened(journal, dir, 78);
            }
            assert_equal_reads(&*pair.fed.reader, &*pair.source.reader);
        }
        for _ in 0..6 {
            pair.source.maintenance.step(START).expect("a step");
            pair.fed.maintenance.step(START).expect("a step");
        }
        assert_equal_reads(&*pair.fed.reader, &*pair.source.reader);
    }
}

#[test]
fn begun_term_is_of_all_later_records() {
    each(&config(), |journal| {
        let writer = &mut journal.writer;
        writer.append(&[term_record(1, 1), post(2, "a")]).expect("there is room");
        writer.begin(Term(2));
        writer.append(&[term_record(3, 2)]).expect("there is room");
        writer.begin(Term(3));
        writer.begin(Term(4));
        writer.append(&with_term(4, vec![post(4, "a"), post(5, "a")])).expect("there is room");
        let terms: Vec<_> = journal.reader.terms().iter().map(|start| (start.term.0, start.first)).collect();
        assert_eq!(terms, [(1, 1), (2, 3), (4, 4)], "a term without records is not listed");
        assert_panics(|| writer.append(&with_term(2, vec![post(6, "a")])).map(drop));
        assert_panics(|| {
            writer.begin(Term(2));
            Ok(())
        });
    });
}

fn assert_panics(run: impl FnOnce() -> Result<(), AppendError>) {
    let result = std::panic::catch_unwind(std::panic::AssertUnwindSafe(run));
    assert!(result.is_err(), "{result:?}");
}

/// A writer whose log took a block of another term has no term of its own, until it begins one.
#[test]
fn block_of_other_term_ends_own() {
    each(&config(), |journal| {
        let writer = &mut journal.writer;
        writer.append(&[term_record(1, 1), post(2, "a")]).expect("there is room");
        writer.append_block(&block_at(EPOCH, 9, 3, true)).expect("it continues the log");
        assert_panics(|| writer.append(&[post(5, "a")]));
        assert_panics(|| writer.encode(&[post(5, "a")]).map(drop));
        writer.begin(Term(10));
        writer.append(&[term_record(5, 10)]).expect("there is room");
        let found = writer.append_block(&block_at(EPOCH, 9, 6, false)).expect_err("its place is taken");
        assert!(matches!(found, AppendError::Discontinuous(Discontinuity::EndedTerm { term: Term(9) })), "{found}");
        writer.append(&with_term(10, vec![post(6, "a")])).expect("a refused block changes nothing");
        assert_eq!(journal.reader.extent().next, 7);
    });
}

#[test]
fn damaged_block_is_no_block() {
    let block = block_at(EPOCH, 1, 5, true);
    let mut decoder = StoredBlockDecoder::new(EPOCH).expect("a decoder");
    let malformed = BlockError::Malformed { epoch: EPOCH };
    let (sound, records) = decoder.decode(block.bytes().clone()).expect("sound");
    assert_eq!((sound.first(), sound.last(), sound.term(), sound.begins_term()), (5, 6, Term(1), true));
    assert_eq!(records, block.records().expect("sound"));
    for bit in 0..block.bytes().len() * 8 {
        let mut flipped = block.bytes().to_vec();
        flipped[bit / 8] ^= 1 << (bit % 8);
        assert_eq!(decoder.decode(flipped.into()).expect_err("damaged"), malformed, "bit {bit}");
    }
    for length in 0..block.bytes().len() {
        assert_eq!(decoder.decode(block.bytes().slice(..length)).expect_err("torn"), malformed, "{length} bytes");
    }
    let mut other = StoredBlockDecoder::new(Epoch(3)).expect("a decoder");
    let elsewhere = other.decode(block.bytes().clone()).expect_err("of another log");
    assert_eq!(elsewhere, BlockError::Malformed { epoch: Epoch(3) });
    let mut later = block.bytes().to_vec();
    later[4] = 9;
    let crc = block::checksum(block::seed(EPOCH), &later[..60]).to_le_bytes();
    later[60..64].copy_from_slice(&crc);
    assert_eq!(decoder.decode(later.into()).expect_err("later"), BlockError::Version { found: 9, known: 1 });
}

fn start_at_100() -> LogStart {
    let terms = [(1, 1), (2, 40), (3, 100), (4, 160)].map(|(term, first)| TermStart { term: Term(term), first });
    LogStart { epoch: EPOCH, terms: terms.into(), next: 100 }
}

fn open_begun(config: &Config, dir: &Path) -> Result<Journal, OpenError> {
    let disk: Arc<dyn Disk> = Arc::new(SystemDisk);
    open_at(config, dir, &start_at_100(), Term(50), UnixMillis(T0), &disk)
}

#[test]
fn begun_log_continues_where_it_starts() {
    for backend in [Backend::Memory, Backend::Embedded] {
        let dir = tempfile::tempdir().expect("a directory");
        let config = Config { backend, ..config() };
        let mut journal = open_begun(&config, dir.path()).expect("nothing is there");
        if backend == Backend::Embedded {
            drop(journal);
            journal = embedded(dir.path(), &config, 51);
        }
        let reader = journal.reader.clone();
        let empty = LogBounds { earliest: 100, next: 100, earliest_received: None, newest_received: None };
        assert_eq!((reader.epoch(), reader.extent()), (EPOCH, empty));
        assert_eq!(reader.terms()[..], start_at_100().terms[..2], "terms without records are listed by their blocks");
        assert!(matches!(reader.read(99, &KeyFilter::Always, 1), Err(ReadError::Trimmed { earliest: 100 })));
        let ended = journal.writer.append_block(&block_at(EPOCH, 1, 100, true)).expect_err("term 2 followed");
        assert!(matches!(ended, AppendError::Discontinuous(Discontinuity::EndedTerm { .. })), "{ended}");
        journal.writer.append_block(&block_at(EPOCH, 2, 100, false)).expect("the newest term continues");
        journal.writer.append_block(&block_at(EPOCH, 3, 102, true)).expect("a new term");
        let terms =
            |journal: &Journal| journal.reader.terms().iter().map(|it| (it.term.0, it.first)).collect::<Vec<_>>();
        assert_eq!(terms(&journal), [(1, 1), (2, 40), (3, 102)]);
        assert_eq!(records(read_all(&*reader, 100, &KeyFilter::Always, 1)).len(), 4);
        // A reader holds the lock of its log.
        drop(reader);
        if backend == Backend::Embedded {
            drop(journal);
            let journal = embedded(dir.path(), &config, 52);
            assert_eq!(terms(&journal), [(1, 1), (2, 40), (3, 102)]);
            assert_eq!((journal.reader.extent().earliest, journal.reader.extent().next), (100, 104));
        }
    }
}

#[test]
fn log_begins_only_where_none_is() {
    let dir = tempfile::tempdir().expect("a directory");
    drop(open_begun(&config(), dir.path()).expect("nothing is there"));
    assert!(matches!(open_begun(&config(), dir.path()), Err(OpenError::Exists { .. })));
    // The attempt ended before the identity was written.
    std::fs::remove_file(dir.path().join("identity")).expect("it is there");
    let opened = open_embedded(&config(), dir.path(), identity(1), UnixMillis(T0));
    assert!(matches!(opened, Err(OpenError::Damaged { .. })));
    let mut journal = open_begun(&config(), dir.path()).expect("nothing was in it");
    journal.writer.append_block(&block_at(EPOCH, 60, 100, true)).expect("it continues the log");
    drop(journal);
    std::fs::remove_file(dir.path().join("identity")).expect("it is there");
    assert!(matches!(open_begun(&config(), dir.path()), Err(OpenError::Damaged { .. })), "records are not removed");
}

/// A block that the disk refused leaves no trace: neither its records nor its term, also when another block follows.
#[test]
fn refused_block_leaves_no_trace() {
    for other_follows in [false, true] {
        let dir = tempfile::tempdir().expect("a directory");
        let (mut journal, disk) = faulty(dir.path(), &config());
        journal.writer.append(&[term_record(1, 1), post(2, "a")]).expect("there is room");
        let write = Some((std::io::ErrorKind::StorageFull, 100));
        disk.set(DiskFaults { write, only_blocks: true, ..DiskFaults::default() });
        let refused = block_at(EPOCH, 2, 3, true);
        for _ in 0..2 {
            assert!(matches!(journal.writer.append_block(&refused), Err(AppendError::DiskFull)));
            assert_eq!((journal.reader.extent().next, journal.reader.terms().len()), (3, 1));
        }
        disk.set(DiskFaults::default());
        let block = if other_follows { block_at(EPOCH, 1, 3, false) } else { refused };
        journal.writer.append_block(&block).expect("there is room again");
        let found = records(read_all(&*journal.reader, 3, &KeyFilter::Always, 1 << 20));
        assert_eq!(found, block.records().expect("sound"));
        drop(journal);
        let terms: Vec<_> = embedded(dir.path(), &config(), 5).reader.terms().iter().map(|it| it.term.0).collect();
        assert_eq!(terms, if other_follows { vec![1] } else { vec![1, 2] });
    }
}
