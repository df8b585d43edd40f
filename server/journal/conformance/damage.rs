//! Torn tails and flipped bits.

use std::path::PathBuf;

use super::*;
use crate::journal::embedded::{files, segment_scan};

/// Creates a log of `count` posts in batches of `batch`, in segments of `segment_bytes_max`. Each of `steps`
/// maintenance steps recompresses one segment.
pub(super) fn make(dir: &Path, count: u64, batch: usize, segment_bytes_max: u64, steps: usize) -> Vec<Record> {
    let mut journal = embedded(dir, &Config { segment_bytes_max, ..small_segments() }, 1);
    let all: Vec<Record> = (1..=count).map(|n| post(n, "a")).collect();
    for batch in all.chunks(batch) {
        journal.writer.append(batch).expect("there is room");
    }
    for _ in 0..steps {
        journal.maintenance.step(START).expect("a step");
    }
    all
}

pub(super) fn segments(dir: &Path) -> Vec<PathBuf> {
    let names = std::fs::read_dir(dir).expect("it is there").map(|entry| entry.expect("an entry").path());
    let kind = |path: &PathBuf| path.extension().is_some_and(|it| it == "raw" || it == "pack");
    let mut segments: Vec<PathBuf> = names.filter(kind).collect();
    segments.sort();
    segments
}

pub(super) fn first_of(segment: &Path) -> Sequence {
    let stem = segment.file_stem().and_then(|stem| stem.to_str());
    stem.and_then(|stem| stem.parse().ok()).expect("a segment is named by a number")
}

fn copy(from: &Path, to: &Path) {
    for entry in std::fs::read_dir(from).expect("it is there") {
        let entry = entry.expect("an entry");
        std::fs::copy(entry.path(), to.join(entry.file_name())).expect("there is room");
    }
}

fn flip(path: &Path, bit: u64) {
    let mut bytes = std::fs::read(path).expect("it is there");
    bytes[(bit / 8) as usize] ^= 1 << (bit % 8);
    std::fs::write(path, bytes).expect("there is room");
}

/// Asserts that every record is read as written or reported as damaged. Returns the damaged ranges.
pub(super) fn check_given(reader: &dyn Reader, all: &[Record]) -> Vec<(Sequence, Sequence)> {
    let mut next = 1;
    let mut damaged = Vec::new();
    for item in read_all(reader, 1, &KeyFilter::Always, 2_000) {
        match item {
            ReadItem::Record(record) => {
                assert_eq!(record, all[next as usize - 1]);
                next += 1;
            }
            ReadItem::Damaged { first, last, from, to } => {
                assert!(first == next && last >= first, "{first} to {last} at {next}");
                let received = |at: u64| all.get(at.wrapping_sub(1) as usize).map(|record| record.received);
                // Without a readable record on one side: the times of the damaged records if their header is intact,
                // else those of the log.
                let from_known = [received(first - 1).or(received(first)), Some(UnixMillis(T0)).filter(|_| first == 1)];
                assert!(from_known.contains(&Some(from)), "{first} to {last} from {from}");
                assert_eq!(Some(to), received(last + 1).or(received(last)), "{first} to {last}");
                damaged.push((first, last));
                next = last + 1;
            }
        }
    }
    assert_eq!(next, reader.extent().next);
    damaged
}

#[test]
fn torn_tail_at_any_byte_is_truncated() {
    let origin = tempfile::tempdir().expect("a directory");
    let all = make(origin.path(), 12, 4, 1 << 20, 1);
    let segment = segments(origin.path()).pop().expect("there is one");
    let bytes = std::fs::read(&segment).expect("it is there");
    let magic = [0xB5, b'P', b'S', b'B'];
    let last = bytes.windows(4).rposition(|window| window == magic).expect("there are blocks");
    for length in last..bytes.len() {
        let dir = tempfile::tempdir().expect("a directory");
        copy(origin.path(), dir.path());
        let torn = dir.path().join(segment.file_name().expect("a file"));
        std::fs::write(&torn, &bytes[..length]).expect("there is room");
        let mut journal = embedded(dir.path(), &small_segments(), 2);
        assert_eq!(journal.torn_bytes, (length - last) as u64);
        assert_eq!(records(read_all(&*journal.reader, 1, &KeyFilter::Always, 1 << 20)), all[..8]);
        let batch = with_term(2, vec![post(9, "b")]);
        journal.writer.append(&batch).expect("there is room");
        assert_eq!(records(read_all(&*journal.reader, 9, &KeyFilter::Always, 1 << 20)), batch);
    }
}

#[test]
fn terms_of_lost_tail_end_at_next_term() {
    let dir = tempfile::tempdir().expect("a directory");
    let mut journal = embedded(dir.path(), &small_segments(), 1);
    journal.writer.append(&[post(1, "a"), post(2, "a")]).expect("there is room");
    let segment = segments(dir.path()).pop().expect("there is one");
    let length = std::fs::metadata(&segment).expect("it is there").len();
    journal.writer.append(&[post(3, "a")]).expect("there is room");
    drop(journal);
    let mut journal = embedded(dir.path(), &small_segments(), 2);
    journal.writer.append(&with_term(2, vec![post(4, "a")])).expect("there is room");
    drop(journal);
    let file = std::fs::OpenOptions::new().write(true).open(&segment).expect("it is there");
    file.set_len(length).expect("it is ours");
    let mut journal = embedded(dir.path(), &small_segments(), 3);
    journal.writer.append(&with_term(3, vec![post(3, "a")])).expect("there is room");
    let terms: Vec<(u64, u64)> = journal.reader.terms().iter().map(|start| (start.term.0, start.first)).collect();
    assert_eq!(terms, [(1, 1), (2, 3), (3, 3)], "term 2 holds nothing any more");
}

#[test]
fn missing_segment_damages_exactly_its_records() {
    let dir = tempfile::tempdir().expect("a directory");
    let all = make(dir.path(), 400, 5, 4 << 10, 3);
    let segments = segments(dir.path());
    let (lost, next) = (first_of(&segments[1]), first_of(&segments[2]));
    let journal = embedded(dir.path(), &small_segments(), 2);
    std::fs::remove_file(&segments[1]).expect("it is there");
    assert_eq!(check_given(&*journal.reader, &all), [(lost, next - 1)], "while it is open");
    drop(journal);
    let journal = embedded(dir.path(), &small_segments(), 2);
    assert_eq!(check_given(&*journal.reader, &all), [(lost, next - 1)]);
    let time = |sequence: u64| UnixMillis(T0 + sequence as i64 * 1_000);
    assert_eq!(journal.reader.seek(time(lost + 3)).expect("a seek"), lost, "early, never late");
    assert_eq!(journal.reader.seek(time(next + 3)).expect("a seek"), next + 3);
}

#[test]
fn lost_index_is_rebuilt() {
    let dir = tempfile::tempdir().expect("a directory");
    let all = make(dir.path(), 400, 5, 4 << 10, 3);
    let index = |at: usize| PathBuf::from(format!("{}.idx", segments(dir.path())[at].display()));
    std::fs::remove_file(index(0)).expect("it is there");
    flip(&index(1), 100);
    let length = std::fs::metadata(index(2)).expect("it is there").len();
    let mut journal = embedded(dir.path(), &small_segments(), 2);
    flip(&index(2), length * 8 - 9);
    assert_eq!(check_given(&*journal.reader, &all), []);
    journal.maintenance.step(START).expect("a step");
    assert!(index(0).exists());
    assert_eq!(check_given(&*journal.reader, &all), []);
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 60, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn flipped_bit_damages_only_its_block(
        segment in any::<prop::sample::Index>(),
        bit in any::<prop::sample::Index>(),
        steps in 0_usize..4,
        with_index: bool,
        open_before: bool,
    ) {
        let dir = tempfile::tempdir().expect("a directory");
        let all = make(dir.path(), 120, 5, 2 << 10, steps);
        let segments = segments(dir.path());
        let path = &segments[segment.index(segments.len() - 1)];
        let bits = std::fs::metadata(path).expect("it is there").len() * 8;
        let bit = bit.index(bits as usize) as u64;
        let scan = segment_scan::scan(&SystemDisk, path, EPOCH, first_of(path)).expect("it is there");
        let hit = scan.index.entries.iter().rev().find(|entry| entry.offset <= bit / 8);
        let hit: Vec<_> = hit.map(|entry| (entry.header.first, entry.header.end() - 1)).into_iter().collect();
        let before = open_before.then(|| embedded(dir.path(), &small_segments(), 2));
        if !with_index {
            files::remove(&SystemDisk, &files::index_path(path)).expect("it is ours");
        }
        flip(path, bit);
        let mut journal = before.unwrap_or_else(|| embedded(dir.path(), &small_segments(), 2));
        let damaged = check_given(&*journal.reader, &all);
        prop_assert_eq!(&damaged, &hit, "the block that was hit, or none if it was the segment's header");
        for _ in 0..3 {
            journal.maintenance.step(START).expect("a step");
        }
        prop_assert_eq!(check_given(&*journal.reader, &all), damaged);
    }
}

#[test]
fn damage_in_last_segment_is_no_torn_tail() {
    let dir = tempfile::tempdir().expect("a directory");
    let mut all = make(dir.path(), 20, 5, 1 << 20, 1);
    let segment = segments(dir.path()).pop().expect("there is one");
    flip(&segment, (40 + 64 + 30) * 8);
    let mut journal = embedded(dir.path(), &small_segments(), 2);
    assert_eq!(journal.torn_bytes, 0);
    assert_eq!(check_given(&*journal.reader, &all), [(1, 5)]);
    let batch = with_term(2, vec![post(21, "a")]);
    journal.writer.append(&batch).expect("there is room");
    all.extend(batch);
    assert_eq!(check_given(&*journal.reader, &all), [(1, 5)]);
    drop(journal);
    let journal = embedded(dir.path(), &small_segments(), 3);
    assert_eq!(check_given(&*journal.reader, &all), [(1, 5)]);
}

#[test]
fn verification_counts_records_and_damage() {
    let dir = tempfile::tempdir().expect("a directory");
    let clean = |count: u64| {
        let found = verify(dir.path()).expect("a log");
        assert_eq!(found.segments.iter().map(|it| it.records.posts).sum::<u64>(), count);
        found
    };
    make(dir.path(), 200, 5, 2 << 10, 0);
    let found = clean(200);
    assert!(found.is_clean(), "{found}");
    assert!(found.segments.len() > 1 && found.to_string().ends_with("clean"));
    let segments = segments(dir.path());
    flip(&segments[0], (40 + 64 + 30) * 8);
    let last = segments.last().expect("there are some");
    let mut bytes = std::fs::read(last).expect("it is there");
    bytes.extend([1, 2, 3]);
    std::fs::write(last, &bytes).expect("there is room");
    let found = clean(195);
    assert!(!found.is_clean());
    assert_eq!(found.segments[0].damaged, [(1, 5)]);
    assert_eq!(found.segments.last().map(|it| it.torn_bytes), Some(3));
    assert!(found.to_string().contains("records 1 to 5 are lost"), "{found}");
    assert_eq!(std::fs::read(last).expect("it is there"), bytes, "nothing was changed");
}

#[test]
fn foreign_blocks_are_reported_as_corrupt() {
    let dir = tempfile::tempdir().expect("a directory");
    make(dir.path(), 20_000, 1, 64 << 20, 0);
    let segment = segments(dir.path()).pop().expect("there is one");
    let started = std::time::Instant::now();
    let scan = segment_scan::scan(&SystemDisk, &segment, Epoch(1), 1).expect("it is there");
    assert!(scan.index.entries.is_empty() && !scan.header_sound);
    assert!(started.elapsed() < Duration::from_secs(60), "{:?}", started.elapsed());
    assert_eq!(scan.torn_bytes(), scan.length - 40);
}
