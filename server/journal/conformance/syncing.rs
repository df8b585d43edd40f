//! Failed syncs: the operating system may have dropped the written pages.

use std::os::unix::fs::MetadataExt;

use super::damage::{check_given, segments};
use super::files::faulty;
use super::*;

fn config(durability: Durability) -> Config {
    Config { durability, segment_bytes_max: 64 << 10, ..small_segments() }
}

fn fill(journal: &mut Journal, range: std::ops::RangeInclusive<u64>) -> Vec<Record> {
    let all: Vec<Record> = range.map(|n| post(n, "a")).collect();
    all.chunks(5).for_each(|batch| journal.writer.append(batch).expect("there is room"));
    all
}

/// 2.5. After a failed sync nothing is appended until the readable blocks are written to a new file and synced. A later
/// successful sync of the old file proves nothing.
#[test]
fn failed_sync_rewrites_segment_before_next_append() {
    let dir = tempfile::tempdir().expect("a directory");
    let (mut journal, disk) = faulty(dir.path(), &config(Durability::Os));
    let mut all = fill(&mut journal, 1..=100);
    journal.maintenance.step(START).expect("a step");
    assert_eq!(journal.reader.synced(), 101);
    all.extend(fill(&mut journal, 101..=200));
    let path = segments(dir.path()).pop().expect("there is one");
    // Kept open, so that its inode number is not reused.
    let old = std::fs::File::open(&path).expect("ours");
    let inode = old.metadata().expect("ours").ino();
    disk.set(DiskFaults { sync: true, ..DiskFaults::default() });
    for _ in 0..3 {
        assert!(journal.maintenance.step(START).is_err());
        assert!(
            matches!(journal.writer.append(&[post(201, "a")]), Err(AppendError::Io(_))),
            "the journal is unavailable"
        );
        assert_eq!(check_given(&*journal.reader, &all), [], "what is there is served");
        assert_eq!(journal.reader.synced(), 101);
    }
    disk.set(DiskFaults::default());
    journal.maintenance.step(START).expect("a step");
    let inodes: Vec<u64> =
        segments(dir.path()).iter().map(|path| std::fs::metadata(path).expect("ours").ino()).collect();
    assert!(!inodes.contains(&inode), "it is another file");
    drop(old);
    assert_eq!(journal.reader.synced(), 201);
    all.extend(fill(&mut journal, 201..=300));
    assert_eq!(check_given(&*journal.reader, &all), []);
    drop(journal);
    assert_eq!(check_given(&*embedded(dir.path(), &config(Durability::Os), 2).reader, &all), []);
}

/// 2.5. Blocks that cannot be read back after a failed sync are reported as damaged, with their times; the others are
/// kept.
#[test]
fn blocks_lost_with_failed_sync_are_damage() {
    let dir = tempfile::tempdir().expect("a directory");
    let (mut journal, disk) = faulty(dir.path(), &config(Durability::Os));
    let mut all = fill(&mut journal, 1..=200);
    let path = segments(dir.path()).pop().expect("there is one");
    let inode = std::fs::metadata(&path).expect("ours").ino();
    let unreadable = Unreadable { inode, from: 2_000, to: 2_001, errno: rustix::io::Errno::IO };
    disk.set(DiskFaults { sync: true, unreadable: Some(unreadable), ..DiskFaults::default() });
    assert!(journal.maintenance.step(START).is_err());
    disk.set(DiskFaults { unreadable: Some(unreadable), ..DiskFaults::default() });
    let report = journal.maintenance.step(START).expect("a step");
    let damage = journal.reader.damage();
    let [lost] = damage[..] else { panic!("one block: {damage:?}") };
    assert_eq!((lost.last - lost.first, report.damaged_records), (4, 5));
    let received = |sequence: u64| UnixMillis(T0 + sequence as i64 * 1_000);
    assert_eq!((lost.from, lost.to), (received(lost.first), received(lost.last)));
    disk.set(DiskFaults::default());
    all.extend(fill(&mut journal, 201..=220));
    assert_eq!(check_given(&*journal.reader, &all), [(lost.first, lost.last)]);
    drop(journal);
    let journal = embedded(dir.path(), &config(Durability::Os), 2);
    assert_eq!(check_given(&*journal.reader, &all), [(lost.first, lost.last)], "it stays");
}

/// As above in every state of a segment: empty, sealed meanwhile, with a durability that syncs each append.
#[test]
fn failed_sync_is_healed_in_every_state() {
    for durability in [Durability::Os, Durability::Sync] {
        for count in [0, 5, 2_000] {
            let dir = tempfile::tempdir().expect("a directory");
            let (mut journal, disk) = faulty(dir.path(), &config(durability));
            let mut all = fill(&mut journal, 1..=count);
            disk.set(DiskFaults { sync: true, ..DiskFaults::default() });
            let refused = journal.writer.append(&[post(count + 1, "a")]);
            if refused.is_ok() {
                all.push(post(count + 1, "a"));
            }
            assert_eq!(refused.is_ok(), durability == Durability::Os && count > 0, "{count}");
            let _ = journal.maintenance.step(START);
            disk.set(DiskFaults::default());
            for _ in 0..3 {
                journal.maintenance.step(START).expect("a step");
            }
            let next = journal.reader.extent().next;
            assert_eq!(next, all.len() as u64 + 1);
            all.extend(fill(&mut journal, next..=next + 20));
            assert_eq!(check_given(&*journal.reader, &all), []);
            drop(journal);
            assert_eq!(check_given(&*embedded(dir.path(), &config(durability), 1).reader, &all), []);
        }
    }
}
