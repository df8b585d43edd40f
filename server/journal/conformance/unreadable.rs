//! Unreadable bytes are reported as damage of an exact range and block neither sessions, starts nor inspections.

use std::os::unix::fs::MetadataExt;
use std::path::PathBuf;

use proptest::sample::Index;
use rustix::io::Errno;

use super::damage::{check_given, first_of, make, segments};
use super::*;
use crate::journal::embedded::segment_scan;
use crate::journal::verify::verify_on;

/// Bytes of a page, the unit that a bad sector destroys.
const SECTOR: u64 = 4 << 10;

fn on(dir: &Path, disk: &Arc<FaultyDisk>, term: u64) -> Journal {
    let config = Config { segment_bytes_max: 16 << 10, ..small_segments() };
    open_on(&config, dir, identity(term), UnixMillis(T0), disk.clone()).expect("damage does not stop a start")
}

/// Makes the page at `at` of this file fail with `errno`.
fn bad_page(path: &Path, at: u64, errno: Errno) -> DiskFaults {
    let inode = std::fs::metadata(path).expect("it is there").ino();
    let from = at / SECTOR * SECTOR;
    DiskFaults { unreadable: Some(Unreadable { inode, from, to: from + SECTOR, errno }), ..DiskFaults::default() }
}

/// R9. A segment or an index that cannot be read as a file (EISDIR, ELOOP), at any position, while the log is open and
/// after a restart.
#[test]
fn unreadable_file_is_damage_and_passed() {
    for (which, opens) in (0..5).flat_map(|which| [(which, true), (which, false)]) {
        let dir = tempfile::tempdir().expect("a directory");
        let all = make(dir.path(), 300, 5, 2 << 10, 3);
        let before = embedded(dir.path(), &small_segments(), 1);
        let names = segments(dir.path());
        assert!(names.len() > 4);
        let victim = [names[0].clone(), names[1].clone(), names[names.len() - 1].clone()]
            .into_iter()
            .chain([
                PathBuf::from(format!("{}.idx", names[0].display())),
                PathBuf::from(format!("{}.idx", names[2].display())),
            ])
            .nth(which)
            .expect("five");
        if victim.exists() {
            std::fs::remove_file(&victim).expect("it is there");
        }
        if opens {
            std::fs::create_dir(&victim).expect("a directory");
        } else {
            std::os::unix::fs::symlink(&victim, &victim).expect("a link to itself");
        }
        // The file of the active segment is open for writing, and read by its name.
        let lost_open = check_given(&*before.reader, &all);
        assert_eq!(lost_open.is_empty(), which > 2, "{}: {lost_open:?}", victim.display());
        drop(before);
        let mut journal = embedded(dir.path(), &small_segments(), 2);
        let next = journal.reader.extent().next;
        if which == 2 {
            assert!(journal.lost_tail.corrupt && next == first_of(&victim), "how many were lost is not known");
        } else {
            assert_eq!(check_given(&*journal.reader, &all), lost_open);
            assert_eq!(journal.reader.damage().len(), lost_open.len());
            let found = verify(dir.path()).expect("an inspection continues");
            assert_eq!(found.is_clean(), which > 2);
        }
        journal.writer.append(&with_term(2, vec![post(next, "b")])).expect("the log continues");
        journal.maintenance.step(START).map(drop).unwrap_or_default();
        assert_eq!(read_all(&*journal.reader, next, &KeyFilter::Always, 1).len(), 1);
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 60, failure_persistence: None, ..ProptestConfig::default() })]

    /// An unreadable page damages exactly the blocks that touch it, for readers, after a restart, for `verify` and
    /// through recompression; once it is readable again, no block is damaged.
    #[test]
    fn bad_sector_costs_blocks_that_touch_it(
        segment in any::<Index>(),
        at in any::<Index>(),
        steps in 0_usize..4,
        medium: bool,
        with_index: bool,
    ) {
        let dir = tempfile::tempdir().expect("a directory");
        let mut all = make(dir.path(), 400, 5, 16 << 10, steps);
        let names = segments(dir.path());
        let path = &names[segment.index(names.len())];
        let last = path == &names[names.len() - 1];
        let length = std::fs::metadata(path).expect("it is there").len();
        let at = at.index(length as usize) as u64 / SECTOR * SECTOR;
        let scan = segment_scan::scan(&SystemDisk, path, EPOCH, first_of(path)).expect("it is there");
        let touches = |entry: &&crate::journal::embedded::index::IndexEntry| {
            entry.offset < at + SECTOR && at < entry.offset + entry.header.block_bytes()
        };
        let hit: Vec<_> = scan.index.entries.iter().filter(touches).map(|it| (it.header.first, it.header.end() - 1)).collect();
        let hit = hit.first().zip(hit.last()).map(|(first, last)| (first.0, last.1));
        let errno = if medium { Errno::IO } else { Errno::BADMSG };
        let disk = Arc::new(FaultyDisk::default());

        let journal = on(dir.path(), &disk, 2);
        disk.set(bad_page(path, at, errno));
        prop_assert_eq!(check_given(&*journal.reader, &all), Vec::from_iter(hit), "while it is open");
        disk.set(DiskFaults::default());
        prop_assert_eq!(check_given(&*journal.reader, &all), [], "an error that passes");
        prop_assert_eq!(journal.reader.damage(), []);
        drop(journal);

        disk.set(bad_page(path, at, errno));
        if !with_index {
            let _ = std::fs::remove_file(format!("{}.idx", path.display()));
        }
        let mut journal = on(dir.path(), &disk, 2);
        let next = journal.reader.extent().next;
        let found = verify_on(dir.path(), &*disk).expect("a log");
        prop_assert!(!found.is_clean());
        // At the end of the last segment, bytes after the last known block are a lost tail.
        prop_assert!(next == 401 || last && journal.lost_tail.corrupt && hit.is_some_and(|(first, last)| first <= next && last == 400));
        let lost = hit.map(|(first, last)| (first, last.min(next - 1))).filter(|(first, last)| first <= last);
        let lost = Vec::from_iter(lost);
        all.truncate(next as usize - 1);
        prop_assert_eq!(check_given(&*journal.reader, &all), lost.clone(), "after a restart");
        let batch = with_term(2, vec![post(next, "b")]);
        journal.writer.append(&batch).expect("the log continues");
        all.extend(batch);
        for _ in 0..4 {
            journal.maintenance.step(START).expect("a step");
        }
        prop_assert_eq!(check_given(&*journal.reader, &all), lost, "after recompression");
    }
}

/// A process short of file descriptors or memory reports no damage: the session retries.
#[test]
fn shortage_of_process_is_no_damage() {
    for errno in [Errno::MFILE, Errno::NFILE, Errno::NOMEM, Errno::AGAIN] {
        let dir = tempfile::tempdir().expect("a directory");
        make(dir.path(), 400, 5, 16 << 10, 0);
        let disk = Arc::new(FaultyDisk::default());
        let journal = on(dir.path(), &disk, 2);
        disk.set(bad_page(&segments(dir.path())[0], 0, errno));
        assert!(matches!(journal.reader.read(1, &KeyFilter::Always, 1_000), Err(ReadError::Io(_))), "{errno}");
        assert_eq!(journal.reader.damage(), []);
    }
}

/// A complete block at the end whose body is damaged may have been exposed: its sequences are not assigned again.
#[test]
fn damaged_last_block_keeps_its_numbers() {
    let dir = tempfile::tempdir().expect("a directory");
    let mut all = make(dir.path(), 20, 5, 1 << 20, 0);
    let path = segments(dir.path()).pop().expect("there is one");
    let scan = segment_scan::scan(&SystemDisk, &path, EPOCH, 1).expect("it is there");
    let last = scan.index.entries.last().expect("four blocks").offset as usize;
    let mut bytes = std::fs::read(&path).expect("it is there");
    bytes[last + 64 + 30] ^= 4;
    bytes.extend([0xB5, b'P', b'S']);
    std::fs::write(&path, &bytes).expect("it is ours");
    let found = verify(dir.path()).expect("a log");
    assert_eq!(found.segments[0].damaged, [(16, 20)]);
    let mut journal = embedded(dir.path(), &small_segments(), 2);
    assert_eq!((journal.reader.extent().next, journal.lost_tail), (21, LostTail { bytes: 3, corrupt: false }));
    assert_eq!(check_given(&*journal.reader, &all), [(16, 20)]);
    assert_eq!(journal.reader.damage().iter().map(|it| (it.first, it.last)).collect::<Vec<_>>(), [(16, 20)]);
    let batch = with_term(2, vec![post(21, "b")]);
    journal.writer.append(&batch).expect("the log continues");
    all.extend(batch);
    drop(journal);
    assert_eq!(check_given(&*embedded(dir.path(), &small_segments(), 3).reader, &all), [(16, 20)]);
}

/// An interrupted append leaves the beginning of a block; any other malformed tail was damaged later.
#[test]
fn corrupt_tail_is_distinguished_from_torn() {
    for (tail, corrupt) in [(&b"\xB5PS"[..], false), (&b"\0\0\0\0"[..], true), (&[7; 4_000][..], true)] {
        let dir = tempfile::tempdir().expect("a directory");
        make(dir.path(), 20, 5, 1 << 20, 0);
        let path = segments(dir.path()).pop().expect("there is one");
        let mut bytes = std::fs::read(&path).expect("it is there");
        bytes.extend(tail);
        std::fs::write(&path, &bytes).expect("it is ours");
        let journal = embedded(dir.path(), &small_segments(), 2);
        assert_eq!(journal.lost_tail, LostTail { bytes: tail.len() as u64, corrupt });
        assert_eq!(journal.reader.extent().next, 21);
    }
}
