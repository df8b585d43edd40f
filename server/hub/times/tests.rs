use std::time::Duration;

use proptest::prelude::*;

use super::*;
use crate::hub::test_util::{EPOCH, TERM, post_record};
use crate::journal::{self, Backend, Journal, WriterIdentity};
use crate::model::Record;

const HOUR: i64 = 3_600_000;
const START: i64 = 1_800_000_000_000;

/// An in-memory log, the corrections of its process, and the true receive times.
struct TestEnv {
    journal: Journal,
    dir: tempfile::TempDir,
    times: ClockCorrections,
    /// The newest stamp, on the current scale.
    tip: i64,
    /// Error of the clock.
    error: i64,
    now: i64,
    truth: Vec<i64>,
}

impl TestEnv {
    fn new() -> Self {
        let settings = journal::Config { backend: Backend::Memory, ..journal::Config::default() };
        let journal = journal::open_memory(&settings, WriterIdentity { epoch: EPOCH, term: TERM });
        let dir = tempfile::tempdir().expect("a directory");
        let mut env = Self {
            journal,
            dir,
            times: ClockCorrections::new(1),
            tip: i64::MIN,
            error: 0,
            now: START,
            truth: Vec::new(),
        };
        env.restart(0);
        env
    }

    fn next(&self) -> Sequence {
        self.truth.len() as Sequence + 1
    }

    /// As the hub and the sequencer do it.
    fn append(&mut self, after_ms: i64) {
        self.now += after_ms;
        self.tip = self.tip.max(self.now + self.error);
        let record = Record { received: UnixMillis(self.tip), ..post_record(self.next(), &[]) };
        self.journal.writer.append(&[record]).expect("memory takes it");
        self.truth.push(self.now);
    }

    fn correct(&mut self, error: i64) {
        let by_ms = error - self.error;
        if by_ms != 0 && self.times.note(&*self.journal.reader, self.next(), Some(by_ms)) {
            self.tip = self.tip.saturating_add(by_ms);
        }
        self.error = error;
    }

    fn restart(&mut self, error: i64) {
        self.error = error;
        self.times = ClockCorrections::new(self.next());
        self.times.open(self.dir.path().join("times.json"), EPOCH);
        if self.tip > self.now + error + 2_000 && self.times.note(&*self.journal.reader, self.next(), None) {
            self.tip = self.now + error;
        }
    }

    /// Returns the result of a search, and the exact result.
    fn seek(&self, time: i64) -> (Sequence, Sequence) {
        let found = self.times.seek(&*self.journal.reader, UnixMillis(time)).expect("held");
        (found, self.truth.partition_point(|received| *received < time) as Sequence + 1)
    }
}

/// A wrong clock, confirmed and undone, leaves starts by time exact (rule 3.2).
#[test]
fn search_is_exact_after_correction_is_taken_back() {
    for wrong in [25 * HOUR, HOUR, -5 * HOUR, 70_000] {
        let mut env = TestEnv::new();
        for error in [0, wrong, 0, -wrong, wrong / 2, 0] {
            env.correct(error);
            (0..7).for_each(|_| env.append(1_000));
        }
        for time in (START - 500..env.now + 2_000).step_by(250) {
            let (found, exact) = env.seek(time);
            assert_eq!(found, exact, "{wrong} ms wrong, {} ms after the start", time - START);
        }
        for (sequence, received) in (1..).zip(&env.truth) {
            let stamp = env.journal.reader.received_at(sequence).expect("held").expect("it is there");
            assert_eq!(env.times.translated(sequence, stamp), UnixMillis(*received));
        }
    }
}

/// The host's clock was years behind until X's first answer.
#[test]
fn search_is_exact_after_first_answer_sets_clock() {
    let mut env = TestEnv::new();
    (0..5).for_each(|_| env.append(1_000));
    env.restart(-START);
    env.append(10_000);
    env.correct(0);
    (0..5).for_each(|_| env.append(1_000));
    for time in (START..env.now).step_by(250) {
        let (found, exact) = env.seek(time);
        assert!(found <= exact, "{time}");
    }
    let (found, exact) = env.seek(env.now - 3_500);
    assert_eq!(found, exact);
}

/// A process whose clock was hours behind until its end, between two with correct clocks: the offset of its stamps is
/// unknown, and no start by time skips its records.
#[test]
fn process_with_late_clock_hides_no_record() {
    let mut env = TestEnv::new();
    for error in [0, -5 * HOUR, 0] {
        env.restart(error);
        (0..7).for_each(|_| env.append(1_000));
    }
    for time in (START..env.now).step_by(250) {
        let (found, exact) = env.seek(time);
        assert!(found <= exact, "late: {found} instead of {exact}");
    }
}

proptest! {
    /// Over any history of corrections and restarts a search is never too late, and exact without restarts.
    #[test]
    fn search_is_never_late(
        steps in prop::collection::vec((0_u8..8, -6 * HOUR..30 * HOUR, 1_i64..90_000), 1..60),
        asked in prop::collection::vec(any::<prop::sample::Index>(), 12),
    ) {
        let mut env = TestEnv::new();
        let mut restarted = false;
        for (kind, error, after) in steps {
            match kind {
                0 => env.correct(error),
                1 => env.correct(0),
                // A process whose clock is behind until its end cannot be distinguished from one that began earlier.
                2 if env.error >= 0 => {
                    restarted = true;
                    env.restart(error.max(0));
                }
                _ => env.append(after),
            }
        }
        env.correct(0);
        env.append(1_000);
        for at in asked {
            let time = START - 1_000 + at.index((env.now - START + 2_000) as usize) as i64;
            let (found, exact) = env.seek(time);
            prop_assert!(found <= exact, "late: {found} instead of {exact}");
            prop_assert!(restarted || found == exact, "{found} instead of {exact}");
        }
    }
}

#[test]
fn corrections_are_bounded_and_go_with_their_records() {
    let mut env = TestEnv::new();
    for number in 0..3 * CHANGES_MAX as i64 {
        env.correct(number % 2 * HOUR);
        env.append(Duration::from_secs(1).as_millis() as i64);
    }
    assert!(env.times.state.lock().changes.len() <= CHANGES_MAX);
}
