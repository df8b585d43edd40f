//! Locks, restarts, disk failures, recompression.

use std::io::ErrorKind;
use std::os::unix::fs::PermissionsExt;

use super::*;

pub(super) fn faulty(dir: &Path, config: &Config) -> (Journal, Arc<FaultyDisk>) {
    let disk = Arc::new(FaultyDisk::default());
    let journal = open_on(config, dir, identity(1), UnixMillis(T0), disk.clone()).expect("the directory is ours");
    (journal, disk)
}

#[test]
fn second_open_is_locked_until_first_closes() {
    let dir = tempfile::tempdir().expect("a directory");
    let first = embedded(dir.path(), &small_segments(), 1);
    let second = open_embedded(&small_segments(), dir.path(), identity(2), UnixMillis(T0));
    assert!(matches!(second, Err(OpenError::Locked { .. })));
    drop(first);
    embedded(dir.path(), &small_segments(), 3);
}

#[test]
fn files_are_for_us_only() {
    let dir = tempfile::tempdir().expect("a directory");
    let log = dir.path().join("log");
    let mut journal = embedded(&log, &small_segments(), 1);
    for n in 1..=200 {
        journal.writer.append(&[post(n, "a")]).expect("there is room");
    }
    journal.maintenance.step(START).expect("a step");
    let mode = |path: &Path| std::fs::metadata(path).expect("it is there").permissions().mode() & 0o777;
    assert_eq!(mode(&log), 0o700);
    for entry in std::fs::read_dir(&log).expect("it is there") {
        let path = entry.expect("an entry").path();
        assert_eq!(mode(&path), 0o600, "{}", path.display());
    }
}

#[test]
fn restart_keeps_epoch_records_and_terms() {
    let dir = tempfile::tempdir().expect("a directory");
    let mut all = Vec::new();
    for term in 1..=5 {
        let mut journal = embedded(dir.path(), &small_segments(), term);
        assert_eq!(journal.torn_bytes, 0);
        assert_eq!(journal.reader.terms().len(), term as usize - 1, "a term is listed with its first append");
        let next = journal.reader.extent().next;
        let batch = with_term(term, (next..next + 150).map(|n| post(n, "cats")).collect());
        for batch in batch.chunks(3) {
            journal.writer.append(batch).expect("there is room");
        }
        all.extend(batch);
        if term % 2 == 0 {
            journal.maintenance.step(START).expect("a step");
        }
    }
    let other = WriterIdentity { epoch: Epoch(1), term: Term(6) };
    let journal = open_embedded(&small_segments(), dir.path(), other, UnixMillis(T0)).expect("the directory is ours");
    assert_eq!(journal.reader.epoch(), EPOCH);
    assert_eq!(records(read_all(&*journal.reader, 1, &KeyFilter::Always, 5_000)), all);
    let terms: Vec<(u64, u64)> = journal.reader.terms().iter().map(|start| (start.term.0, start.first)).collect();
    assert_eq!(terms, [(1, 1), (2, 151), (3, 301), (4, 451), (5, 601)]);
}

#[test]
fn terms_and_sequence_outlive_all_records() {
    let dir = tempfile::tempdir().expect("a directory");
    let mut journal = embedded(dir.path(), &small_segments(), 1);
    for n in 1..=100 {
        journal.writer.append(&[post(n, "a")]).expect("there is room");
    }
    for seconds in [0, 1_000_000, 1_000_000] {
        journal.maintenance.step(START.plus(Duration::from_secs(seconds))).expect("a step");
    }
    drop(journal);
    let journal = embedded(dir.path(), &small_segments(), 2);
    assert_eq!((journal.reader.extent().earliest, journal.reader.extent().next), (101, 101));
    assert_eq!(journal.reader.terms()[..], [TermStart { term: Term(1), first: 1 }]);
    drop(journal);
    // Even if the last, empty segment is removed.
    std::fs::remove_file(dir.path().join(format!("{:020}.raw", 101))).expect("it is there");
    let mut journal = embedded(dir.path(), &small_segments(), 3);
    let next = journal.reader.extent().next;
    journal.writer.append(&with_term(3, vec![post(next, "a")])).expect("there is room");
    assert_eq!(journal.reader.terms().len(), 2);
}

#[test]
fn refused_append_leaves_no_trace() {
    for (durability, faults) in [
        (Durability::Os, DiskFaults { write: Some((ErrorKind::StorageFull, 0)), ..DiskFaults::default() }),
        (Durability::Os, DiskFaults { write: Some((ErrorKind::StorageFull, 100)), ..DiskFaults::default() }),
        (Durability::Memory, DiskFaults { write: Some((ErrorKind::Other, usize::MAX)), ..DiskFaults::default() }),
        (Durability::Sync, DiskFaults { sync: true, ..DiskFaults::default() }),
        (
            Durability::Os,
            DiskFaults { write: Some((ErrorKind::Other, usize::MAX)), truncate: true, ..DiskFaults::default() },
        ),
    ] {
        let dir = tempfile::tempdir().expect("a directory");
        let config = Config { durability, ..small_segments() };
        let (mut journal, disk) = faulty(dir.path(), &config);
        for n in 1..=40 {
            journal.writer.append(&[post(n, "a")]).expect("there is room");
        }
        let batch: Vec<Record> = (41..=60).map(|n| post(n, "a")).collect();
        disk.set(faults);
        for _ in 0..3 {
            let error = journal.writer.append(&batch).expect_err("the disk refuses");
            let full = matches!(faults.write, Some((ErrorKind::StorageFull, _)));
            assert_eq!(matches!(error, AppendError::DiskFull), full, "{error}");
            assert_eq!(journal.reader.extent().next, 41);
            assert_eq!(read_all(&*journal.reader, 1, &KeyFilter::Always, 1 << 20).len(), 40);
        }
        disk.set(DiskFaults::default());
        if !faults.truncate {
            drop(journal);
            journal = embedded(dir.path(), &config, 1);
            assert_eq!((journal.torn_bytes, journal.reader.extent().next), (0, 41), "{faults:?}");
        }
        journal.writer.append(&batch).expect("it may be tried again");
        drop(journal);
        let journal = embedded(dir.path(), &config, 1);
        assert_eq!(records(read_all(&*journal.reader, 41, &KeyFilter::Always, 1 << 20)), batch);
    }
}

#[test]
fn low_disk_trims_then_blocks_writer() {
    let dir = tempfile::tempdir().expect("a directory");
    let config = Config { disk_headroom_bytes_min: 10_000, ..small_segments() };
    let (mut journal, disk) = faulty(dir.path(), &config);
    for n in 1..=400 {
        journal.writer.append(&[post(n, "a")]).expect("there is room");
    }
    disk.set(DiskFaults { free_bytes: Some(9_000), ..DiskFaults::default() });
    let report = journal.maintenance.step(START).expect("a step");
    assert!(report.trimmed_records > 0 && report.trimmed_records < 60, "{report:?}");
    journal.writer.append(&[post(401, "a")]).expect("there is headroom again");
    disk.set(DiskFaults { free_bytes: Some(0), write: Some((ErrorKind::StorageFull, 0)), ..DiskFaults::default() });
    for _ in 0..100 {
        let _ = journal.maintenance.step(START);
    }
    assert!(matches!(journal.writer.append(&[post(402, "a")]), Err(AppendError::DiskFull)));
    assert!(read_all(&*journal.reader, 401, &KeyFilter::Always, 1).len() == 1, "what is there is served");
    disk.set(DiskFaults::default());
    journal.maintenance.step(START).expect("a step");
    journal.writer.append(&[post(402, "a")]).expect("there is room again");
}

#[test]
fn recompression_keeps_records_and_shrinks_quiet_log() {
    let bytes_per_post = |batch: usize| {
        let dir = tempfile::tempdir().expect("a directory");
        let config = Config { segment_bytes_max: 1 << 20, ..small_segments() };
        let mut journal = embedded(dir.path(), &config, 1);
        let all: Vec<Record> = (1..=12_000).map(|n| post(n, ["cats", "dogs", ""][n as usize % 3])).collect();
        for batch in all.chunks(batch) {
            journal.writer.append(batch).expect("there is room");
        }
        journal.maintenance.step(START).expect("a step");
        let later = START.plus(Duration::from_secs(6 * 3_600));
        let reports: Vec<MaintenanceReport> =
            (0..20).map(|_| journal.maintenance.step(later).expect("a step")).collect();
        assert_eq!(reports.iter().any(|report| report.recompressed > 0), batch == 1);
        assert_eq!(records(read_all(&*journal.reader, 1, &KeyFilter::Always, 10_000)), all);
        let dogs = KeyFilter::AnyOf([IndexKey::Tag("dogs".into())].into());
        assert_eq!(read_all(&*journal.reader, 1, &dogs, 10_000).len(), 4_000);
        drop(journal);
        let journal = embedded(dir.path(), &config, 2);
        assert_eq!(records(read_all(&*journal.reader, 1, &KeyFilter::Always, 10_000)), all);
        reports[19].bytes as f64 / all.len() as f64
    };
    let (quiet, busy) = (bytes_per_post(1), bytes_per_post(2_500));
    assert!(quiet <= 1.5 * busy, "{quiet} against {busy} bytes per post");
}

#[test]
fn untrusted_identity_is_reported() {
    let dir = tempfile::tempdir().expect("a directory");
    embedded(dir.path(), &small_segments(), 1);
    let path = dir.path().join("identity");
    let good = std::fs::read(&path).expect("it is there");
    let open = || open_embedded(&small_segments(), dir.path(), identity(2), UnixMillis(T0)).map(drop);
    std::fs::write(&path, &good[1..]).expect("it is ours");
    assert!(matches!(open(), Err(OpenError::Damaged { .. })));
    std::fs::remove_file(&path).expect("it is there");
    assert!(matches!(open(), Err(OpenError::Damaged { .. })), "a log without identity is not made a new one");
    std::fs::write(&path, &good).expect("it is ours");
    assert!(open().is_ok());
}
