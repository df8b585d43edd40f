//! Retention by machine time, independent of wall clocks.

use super::*;

/// Stamps of a clock that was decades off, and of one that was right: only machine time makes a record old (rule 3.1).
#[test]
fn wrong_stamps_trim_nothing_and_keep_nothing() {
    let config = Config { retention_age_max: Duration::from_secs(240), ..small_segments() };
    each(&config, |journal| {
        let at = |seconds| START.plus(Duration::from_secs(seconds));
        for n in 1..=300_u64 {
            let received = [0, T0, 4_000_000_000_000][(n / 100) as usize % 3] + n as i64;
            let record = Record { received: UnixMillis(received), ..post(n, "a") };
            journal.writer.append(&[record]).expect("there is room");
            journal.maintenance.step(at(n / 2)).expect("a step");
        }
        assert_eq!(journal.reader.extent().earliest, 1, "nothing is older than 150 s");
        assert_eq!(journal.maintenance.appended_before(Duration::from_secs(100)), 102);
        for _ in 0..2 {
            journal.maintenance.step(at(400)).expect("a step");
        }
        assert_eq!(journal.reader.extent().earliest, 301, "and everything is older than 240 s");
    });
}

/// Ages of records continue after a restart; downtime does not count, whatever the wall clock.
#[test]
fn restart_years_later_trims_nothing_at_once() {
    let dir = tempfile::tempdir().expect("a directory");
    let config = Config { retention_age_max: Duration::from_secs(240), ..small_segments() };
    for (term, years) in [(1, 0), (2, 30), (3, -50)] {
        let now = UnixMillis(T0 + years * 31_536_000_000);
        let mut journal = open_embedded(&config, dir.path(), identity(term), now).expect("the directory is ours");
        assert_eq!(journal.reader.extent().earliest, 1, "{years} years");
        let next = journal.reader.extent().next;
        for (seconds, n) in (0..=70).zip(next..) {
            let record = Record { received: now, ..post(n, "a") };
            journal.writer.append(&with_term(term, vec![record])).expect("there is room");
            journal.maintenance.step(START.plus(Duration::from_secs(seconds))).expect("a step");
        }
        assert_eq!(journal.reader.extent().earliest, 1, "{years} years: none is older than 210 s");
    }
    let mut journal = embedded(dir.path(), &config, 4);
    for seconds in [0, 60, 60] {
        journal.maintenance.step(START.plus(Duration::from_secs(seconds))).expect("a step");
    }
    let earliest = journal.reader.extent().earliest;
    assert!((2..40).contains(&earliest), "{earliest}: the first ones are older than 240 s");
}
