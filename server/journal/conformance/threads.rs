//! Reader, writer and maintenance in parallel.

use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Instant;

use super::*;

const RECORDS: u64 = 20_000;
const DEADLINE: Duration = Duration::from_secs(60);

#[test]
fn readers_survive_append_recompression_and_trim() {
    let dir = tempfile::tempdir().expect("a directory");
    let config =
        Config { segment_bytes_max: 32 << 10, retention_age_max: Duration::from_secs(RECORDS / 2), ..small_segments() };
    let Journal { mut writer, reader, mut maintenance, .. } = embedded(dir.path(), &config, 1);
    let done = AtomicBool::new(false);
    let started = Instant::now();
    let (recompressed, trimmed, seen) = std::thread::scope(|scope| {
        let writing = scope.spawn(|| {
            for n in (1..=RECORDS).step_by(2) {
                writer.append(&[post(n, "a"), post(n + 1, "b")]).expect("there is room");
            }
        });
        let keeping = scope.spawn(|| {
            let (mut recompressed, mut trimmed, mut after) = (0, 0, Duration::ZERO);
            // On a busy machine, writer and reader finish before maintenance has run often. Records are as old as the
            // first step that saw them: time must pass after that.
            while !done.load(Ordering::Acquire) || ((recompressed == 0 || trimmed == 0) && started.elapsed() < DEADLINE)
            {
                let newest = reader.extent().newest_received.unwrap_or(UnixMillis(T0));
                after += if done.load(Ordering::Acquire) { Duration::from_secs(RECORDS) } else { Duration::ZERO };
                let now = START.plus(newest.since(UnixMillis(T0)) + after);
                let report = maintenance.step(now).expect("a step");
                recompressed += report.recompressed;
                trimmed += report.trimmed_records;
            }
            (recompressed, trimmed)
        });
        let reading = [64, 5_000].map(|bytes_max| {
            let reader = &reader;
            scope.spawn(move || follow(&**reader, bytes_max, started))
        });
        let seen = reading.map(|thread| thread.join());
        let written = writing.join();
        done.store(true, Ordering::Release);
        written.expect("the writer");
        let seen = seen.map(|seen| seen.expect("the reader"));
        let (recompressed, trimmed) = keeping.join().expect("maintenance");
        (recompressed, trimmed, seen)
    });
    assert!(recompressed > 0 && trimmed > 0, "{recompressed} {trimmed}: maintenance ran");
    assert!(seen.iter().all(|seen| *seen > 0), "{seen:?}");
}

/// Reads to the end. Every record must be as written, and only trimmed records may be missing.
fn follow(reader: &dyn Reader, bytes_max: usize, started: Instant) -> u64 {
    let (mut at, mut seen) = (1, 0);
    while at <= RECORDS {
        assert!(started.elapsed() < DEADLINE, "at {at}");
        match reader.read(at, &KeyFilter::Always, bytes_max) {
            Ok(chunk) => {
                for record in records(chunk.items) {
                    assert_eq!(record, post(at, if at % 2 == 1 { "a" } else { "b" }));
                    at += 1;
                    seen += 1;
                }
                assert_eq!(chunk.next, at);
            }
            Err(ReadError::Trimmed { earliest }) => {
                assert!(earliest > at);
                at = earliest;
            }
            Err(ReadError::Io(error)) => panic!("{error}"),
        }
    }
    seen
}
