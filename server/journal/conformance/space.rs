//! A disk filled by other processes, segments that cannot be removed.

use super::damage::segments;
use super::files::faulty;
use super::*;

fn fill(journal: &mut Journal, range: std::ops::RangeInclusive<u64>) {
    for n in range {
        journal.writer.append(&[post(n, "a")]).expect("there is room");
    }
}

fn config(headroom: u64) -> Config {
    Config { disk_headroom_bytes_min: headroom, ..small_segments() }
}

/// 2.6. Another process takes more space than the log could free: nothing is trimmed, and appends stop until the space
/// is free again.
#[test]
fn disk_filled_by_others_trims_nothing() {
    let dir = tempfile::tempdir().expect("a directory");
    let (mut journal, disk) = faulty(dir.path(), &config(10 << 20));
    fill(&mut journal, 1..=400);
    for free in [0, 1_000, 9 << 20] {
        disk.set(DiskFaults { free_bytes: Some(free), ..DiskFaults::default() });
        for _ in 0..20 {
            let report = journal.maintenance.step(START).expect("a step");
            assert_eq!(report.trimmed_records, 0, "{free} bytes free");
        }
        assert!(matches!(journal.writer.append(&[post(401, "a")]), Err(AppendError::DiskFull)));
        assert_eq!(journal.reader.extent().earliest, 1);
    }
    disk.set(DiskFaults::default());
    journal.maintenance.step(START).expect("a step");
    fill(&mut journal, 401..=401);
}

/// Regression: the gateway continued, and posts were written to deleted files.
#[test]
fn removed_directory_refuses_appends_at_once() {
    let parent = tempfile::tempdir().expect("a directory");
    let (dir, moved) = (parent.path().join("log"), parent.path().join("moved"));
    let (mut journal, _) = faulty(&dir, &small_segments());
    fill(&mut journal, 1..=10);
    std::fs::rename(&dir, &moved).expect("ours");
    journal.maintenance.step(START).expect_err("it is not there");
    journal.writer.check().expect_err("known by maintenance");
    journal.writer.append(&[post(11, "a")]).expect_err("it is not there");
    // Another directory is not the log's.
    std::fs::create_dir(&dir).expect("ours");
    journal.maintenance.step(START).expect_err("another one");
    assert_eq!(std::fs::read_dir(&dir).expect("ours").count(), 0, "nothing is written into it");
    std::fs::remove_dir(&dir).expect("ours");
    std::fs::rename(&moved, &dir).expect("ours");
    journal.maintenance.step(START).expect("it is back");
    fill(&mut journal, 11..=20);
    assert_eq!(journal.reader.extent().next, 21);
    std::fs::remove_dir_all(&dir).expect("ours");
    let refused = journal.writer.append(&[post(21, "a")]);
    assert!(matches!(refused, Err(AppendError::Io(_))), "without a maintenance step");
    assert_eq!(journal.reader.extent().next, 21);
}

/// 2.6. Another process takes freed space immediately: one trim, no more.
#[test]
fn trim_that_frees_nothing_is_not_repeated() {
    let dir = tempfile::tempdir().expect("a directory");
    let (mut journal, disk) = faulty(dir.path(), &config(10_000));
    fill(&mut journal, 1..=400);
    disk.set(DiskFaults { free_bytes: Some(9_000), ..DiskFaults::default() });
    let trimmed: Vec<u64> =
        (0..50).map(|_| journal.maintenance.step(START).expect("a step").trimmed_early_records).collect();
    assert!(trimmed[0] > 0 && trimmed[1..].iter().all(|it| *it == 0), "{trimmed:?}");
}

/// 2.6. Two logs on one disk: the quiet one is not trimmed for the growth of the busy one.
#[test]
fn quiet_log_is_not_trimmed_for_busy_one() {
    let (busy_dir, quiet_dir) = (tempfile::tempdir().expect("a directory"), tempfile::tempdir().expect("a directory"));
    let (mut busy, busy_disk) = faulty(busy_dir.path(), &config(100_000));
    let (mut quiet, quiet_disk) = faulty(quiet_dir.path(), &config(100_000));
    fill(&mut quiet, 1..=400);
    let step = |journal: &mut Journal| journal.maintenance.step(START).expect("a step");
    let bytes = |dir: &Path| {
        let files =
            std::fs::read_dir(dir).expect("ours").map(|it| it.expect("an entry").metadata().expect("ours").len());
        files.sum::<u64>()
    };
    // A recompressed segment takes no less later.
    for _ in 0..100 {
        step(&mut quiet);
    }
    let capacity = bytes(quiet_dir.path()) + 100_000 + 10_000;
    for round in 0..300 {
        fill(&mut busy, round * 20 + 1..=round * 20 + 20);
        for (journal, disk) in [(&mut quiet, &quiet_disk), (&mut busy, &busy_disk)] {
            let free = capacity.saturating_sub(bytes(busy_dir.path()) + bytes(quiet_dir.path()));
            disk.set(DiskFaults { free_bytes: Some(free), ..DiskFaults::default() });
            step(journal);
        }
    }
    assert!(busy.reader.extent().earliest > 1, "{:?}", busy.reader.extent());
    assert_eq!(quiet.reader.extent().earliest, 1);
}

/// 2.6. A segment whose removal fails still counts, no other is trimmed for space meanwhile, and the removal is
/// retried.
#[test]
fn failed_removal_is_retried_and_counted() {
    let dir = tempfile::tempdir().expect("a directory");
    let config = Config { retention_age_max: Duration::from_secs(300), ..config(10_000) };
    let (mut journal, disk) = faulty(dir.path(), &config);
    fill(&mut journal, 1..=200);
    journal.maintenance.step(START).expect("a step");
    fill(&mut journal, 201..=400);
    let before = segments(dir.path()).len();
    let now = START.plus(Duration::from_secs(400));
    disk.set(DiskFaults { remove: true, ..DiskFaults::default() });
    assert!(journal.maintenance.step(now).is_err(), "it is reported");
    let earliest = journal.reader.extent().earliest;
    assert!(earliest > 1 && segments(dir.path()).len() >= before);
    disk.set(DiskFaults { remove: true, free_bytes: Some(9_000), ..DiskFaults::default() });
    for _ in 0..20 {
        let _ = journal.maintenance.step(now);
    }
    assert_eq!(journal.reader.extent().earliest, earliest, "trimming would free nothing");
    disk.set(DiskFaults::default());
    let report = journal.maintenance.step(now).expect("a step");
    assert_eq!(report.trimmed_records, earliest - 1, "what failed steps trimmed is not forgotten");
    assert_eq!(super::damage::first_of(&segments(dir.path())[0]), earliest);
    let bytes: u64 = std::fs::read_dir(dir.path())
        .expect("ours")
        .map(|entry| entry.expect("an entry").path())
        .filter(|path| {
            path.file_name().is_some_and(|name| !["lock", "identity", "ages"].contains(&&*name.to_string_lossy()))
        })
        .map(|path| std::fs::metadata(path).expect("ours").len())
        .sum();
    assert_eq!(report.bytes, bytes);
}

/// A quota refuses appends although the disk has space. One segment is trimmed for the next append; if that does not
/// help, no other is.
#[test]
fn refused_append_with_free_space_trims_one_segment() {
    let dir = tempfile::tempdir().expect("a directory");
    let (mut journal, disk) = faulty(dir.path(), &config(0));
    fill(&mut journal, 1..=400);
    disk.set(DiskFaults { write: Some((std::io::ErrorKind::QuotaExceeded, 0)), ..DiskFaults::default() });
    let mut trimmed = 0;
    for _ in 0..10 {
        assert!(matches!(journal.writer.append(&[post(401, "a")]), Err(AppendError::DiskFull)));
        let before = journal.reader.extent().earliest;
        let _ = journal.maintenance.step(START);
        trimmed += u64::from(journal.reader.extent().earliest > before);
    }
    assert_eq!(trimmed, 1);
}

/// Returns the log output of `work`.
fn logged(work: impl FnOnce()) -> String {
    #[derive(Clone, Default)]
    struct Lines(Arc<parking_lot::Mutex<Vec<u8>>>);
    impl std::io::Write for Lines {
        fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
            self.0.lock().extend_from_slice(bytes);
            Ok(bytes.len())
        }

        fn flush(&mut self) -> std::io::Result<()> {
            Ok(())
        }
    }
    let lines = Lines::default();
    let writer = lines.clone();
    let subscriber = tracing_subscriber::fmt().with_ansi(false).with_writer(move || writer.clone()).finish();
    tracing::subscriber::with_default(subscriber, work);
    let text = lines.0.lock().clone();
    String::from_utf8(text).expect("text")
}

/// 2.6. Records trimmed before their age are logged with their number and times; records trimmed by age are not.
#[test]
fn early_trim_warns_with_count_and_range() {
    const WARNING: &str = "trimmed before retention_age_max";
    let received = |sequence: u64| UnixMillis(T0 + sequence as i64 * 1_000);
    for early in [true, false] {
        let dir = tempfile::tempdir().expect("a directory");
        let config = Config { retention_age_max: Duration::from_secs(300), ..config(10_000) };
        let (mut journal, disk) = faulty(dir.path(), &config);
        journal.maintenance.step(START).expect("a step");
        fill(&mut journal, 1..=400);
        let text = logged(|| {
            if early {
                disk.set(DiskFaults { free_bytes: Some(9_000), ..DiskFaults::default() });
            }
            for step in 0..3 {
                let passed = if early { 0 } else { step * 400 };
                journal.maintenance.step(START.plus(Duration::from_secs(passed))).expect("a step");
            }
        });
        let earliest = journal.reader.extent().earliest;
        assert!(earliest > 1, "something was trimmed");
        assert_eq!(text.matches(WARNING).count(), usize::from(early), "{text}");
        if early {
            let line = text.lines().find(|line| line.contains(WARNING)).expect("just counted");
            assert!(line.contains("WARN") && line.contains(&format!("records={}", earliest - 1)), "{line}");
            for time in [received(1), received(earliest - 1)] {
                assert!(line.contains(&time.to_string()), "{time}: {line}");
            }
        }
    }
}
