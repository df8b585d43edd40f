//! Age of records by monotonic machine time.
//!
//! Owns: a table of marks (all records before a sequence were appended when the log had been open for so long), and the
//! file that preserves the marks across restarts. Does not own: what happens to old records.
//!
//! # Design
//!
//! Age is the machine time during which the log was open since the append. Neither a wall clock nor a `Date` of a peer
//! is used, so no wrong clock ages a record. Time in which the process does not run does not count: a restored copy of
//! a log is as old as at the time of the copy. The computed age is never too high, and at most 1/256 (at least a
//! second) too low.
//!
//! The distance between marks grows with their age; there are about 2,000 marks.
//!
//! Invariant: ages are never overstated, even if the file is lost, belongs to another log, or covers a tail that was
//! lost.

use std::collections::VecDeque;
use std::io;
use std::path::{Path, PathBuf};
use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::disk::Disk;
use super::embedded::files;
use crate::clock::Moment;
use crate::model::{Epoch, Sequence};
use crate::state_file;

const FILE: &str = "ages";
const VERSION: u32 = 1;
/// Smallest distance of two marks.
const DISTANCE_MIN: Duration = Duration::from_secs(1);
/// Maximum distance of two marks: their age divided by this.
const PARTS: u32 = 256;
/// Maximum open time that a crash removes from the ages.
const SAVE_INTERVAL: Duration = Duration::from_secs(60);
/// A process younger than `SAVE_INTERVAL` saves each time its uptime grew by this fraction.
const SAVE_PARTS: u32 = 16;

/// Age marks of a log.
#[derive(Debug)]
pub(super) struct RecordAges {
    file: Option<PathBuf>,
    epoch: Epoch,
    /// Open time of the log before this process.
    before: Duration,
    /// Time of the first mark of this process.
    opened: Option<Moment>,
    /// Open time of the log at the newest mark.
    open_for: Duration,
    saved: Duration,
    /// Ascending.
    marks: VecDeque<AgeMark>,
    /// Longest age that is queried.
    longest: Duration,
}

/// All records before `next` were appended when the log had been open for this long.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
struct AgeMark {
    open_for: Duration,
    next: Sequence,
}

#[derive(Serialize, Deserialize)]
struct AgesFile {
    version: u32,
    epoch: String,
    open_for_ms: u64,
    /// Milliseconds and sequence of each mark.
    marks: Vec<(u64, Sequence)>,
}

impl RecordAges {
    /// Creates the ages of a log without a file; `longest` is the longest age that is queried.
    pub(super) fn in_memory(epoch: Epoch, longest: Duration) -> Self {
        Self {
            file: None,
            epoch,
            before: Duration::ZERO,
            opened: None,
            open_for: Duration::ZERO,
            saved: Duration::ZERO,
            marks: VecDeque::new(),
            longest,
        }
    }

    /// Opens the ages of the log in `dir` whose next record gets sequence `next`. If the file cannot be used, the age
    /// of all records starts now.
    pub(super) fn open(dir: &Path, epoch: Epoch, next: Sequence, longest: Duration) -> Self {
        let path = dir.join(FILE);
        let mut ages = Self { file: Some(path.clone()), ..Self::in_memory(epoch, longest) };
        let form = match state_file::read(&path) {
            Ok(bytes) => serde_json::from_slice::<AgesFile>(&bytes).ok(),
            Err(error) if error.kind() == io::ErrorKind::NotFound => return ages,
            Err(_) => None,
        };
        let Some(form) = form.filter(|form| form.version == VERSION && form.epoch == epoch.to_string()) else {
            tracing::warn!(path = %path.display(), "age file is unusable, retention periods restart");
            return ages;
        };
        ages.before = Duration::from_millis(form.open_for_ms);
        (ages.open_for, ages.saved) = (ages.before, ages.before);
        // Sequences beyond the end belong to a lost tail: they are assigned again, to younger records.
        let marks =
            form.marks.into_iter().map(|(ms, at)| AgeMark { open_for: Duration::from_millis(ms), next: at.min(next) });
        ages.marks = marks.filter(|mark| mark.open_for <= ages.before).collect();
        ages.marks.make_contiguous().sort_by_key(|mark| (mark.open_for, mark.next));
        ages
    }

    /// Keeps marks for ages up to this.
    pub(super) fn keep(&mut self, longest: Duration) {
        self.longest = self.longest.max(longest);
    }

    /// Records that the log ends before `next` at time `now`.
    pub(super) fn note(&mut self, now: Moment, next: Sequence) {
        let opened = *self.opened.get_or_insert(now);
        self.open_for = self.open_for.max(self.before.saturating_add(now.since(opened)));
        let mark = AgeMark { open_for: self.open_for, next };
        match self.marks.back() {
            Some(last) if last.next >= next => {}
            Some(last) if last.open_for == mark.open_for => *self.marks.back_mut().expect("just seen") = mark,
            _ => {
                self.marks.push_back(mark);
                self.thin();
            }
        }
    }

    /// Removes marks that are closer than their age requires, and all but one of those older than the longest age.
    fn thin(&mut self) {
        let expired = self.open_for.saturating_sub(self.longest);
        while self.marks.get(1).is_some_and(|mark| mark.open_for <= expired) {
            self.marks.pop_front();
        }
        let mut kept: VecDeque<AgeMark> = VecDeque::with_capacity(self.marks.len());
        for (at, mark) in self.marks.iter().enumerate() {
            let distance = self.open_for.saturating_sub(mark.open_for) / PARTS;
            let close = kept.back().zip(self.marks.get(at + 1)).is_some_and(|(before, after)| {
                after.open_for.saturating_sub(before.open_for) <= distance.max(DISTANCE_MIN)
            });
            if !close {
                kept.push_back(*mark);
            }
        }
        self.marks = kept;
    }

    /// Returns a sequence such that every record before it was appended at least `age` ago.
    pub(super) fn appended_before(&self, age: Duration) -> Sequence {
        let Some(until) = self.open_for.checked_sub(age) else { return 0 };
        let count = self.marks.partition_point(|mark| mark.open_for <= until);
        count.checked_sub(1).map_or(0, |at| self.marks[at].next)
    }

    /// Writes the file if it is due.
    pub(super) fn save(&mut self, disk: &dyn Disk) -> io::Result<()> {
        let Some(path) = &self.file else { return Ok(()) };
        let life = self.open_for.saturating_sub(self.before);
        let interval = (life / SAVE_PARTS).clamp(DISTANCE_MIN, SAVE_INTERVAL);
        if path.exists() && self.open_for.saturating_sub(self.saved) < interval {
            return Ok(());
        }
        let ms = |duration: Duration| u64::try_from(duration.as_millis()).unwrap_or(u64::MAX);
        let form = AgesFile {
            version: VERSION,
            epoch: self.epoch.to_string(),
            open_for_ms: ms(self.open_for),
            marks: self.marks.iter().map(|mark| (ms(mark.open_for), mark.next)).collect(),
        };
        files::replace(disk, path, &serde_json::to_vec(&form)?)?;
        self.saved = self.open_for;
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::journal::SystemDisk;

    const EPOCH: Epoch = Epoch(7);
    const DAY: Duration = Duration::from_secs(24 * 3_600);

    fn at(seconds: u64) -> Moment {
        Moment::default().plus(Duration::from_secs(seconds))
    }

    proptest! {
        #![proptest_config(ProptestConfig { cases: 48, failure_persistence: None, ..ProptestConfig::default() })]

        /// Over any history of marks and restarts, an age is never overstated, and understated by at most 1/128 and two
        /// seconds.
        #[test]
        fn ages_are_never_overstated(
            steps in prop::collection::vec((1_u64..5_000, 0_u64..50, any::<bool>()), 1..60),
            asked in 1_u64..100_000,
        ) {
            let dir = tempfile::tempdir().expect("a directory");
            let mut ages = RecordAges::open(dir.path(), EPOCH, 1, DAY);
            // Open time of the log at the append of each record.
            let (mut appended, mut open, mut started) = (Vec::new(), 0_u64, 0_u64);
            for (seconds, records, restart) in steps {
                open += seconds;
                appended.extend(std::iter::repeat_n(open, records as usize));
                ages.note(at(open - started), appended.len() as u64 + 1);
                if restart {
                    ages.saved = Duration::ZERO;
                    ages.save(&SystemDisk).expect("written");
                    started = open;
                    ages = RecordAges::open(dir.path(), EPOCH, appended.len() as u64 + 1, DAY);
                    ages.note(at(0), appended.len() as u64 + 1);
                }
                let before = ages.appended_before(Duration::from_secs(asked));
                let age = |sequence: u64| open - appended[sequence as usize - 1];
                prop_assert!((1..before).all(|sequence| age(sequence) >= asked), "overstated");
                // Records appended between two marks have the age of the later one.
                let late = asked + asked / 100 + 2;
                let missed = (before.max(1)..=appended.len() as u64).filter(|sequence| age(*sequence) > late + 5_000).count();
                prop_assert!(missed == 0 || asked > DAY.as_secs(), "{missed} understated");
            }
        }
    }

    #[test]
    fn marks_stay_few_over_year() {
        let mut ages = RecordAges::in_memory(EPOCH, DAY * 3);
        for minute in 0..366 * 24 * 60 {
            ages.note(at(minute * 60), minute + 1);
        }
        assert!(ages.marks.len() < 2_500, "{}", ages.marks.len());
        let before = ages.appended_before(DAY);
        let exact = 365 * 24 * 60;
        assert!(before <= exact && before + 24 * 60 / 128 >= exact, "{before} for {exact}");
    }

    #[test]
    fn unusable_file_counts_from_now() {
        let dir = tempfile::tempdir().expect("a directory");
        let mut ages = RecordAges::open(dir.path(), EPOCH, 1, DAY);
        ages.note(at(0), 101);
        ages.note(at(100_000), 201);
        assert_eq!(ages.appended_before(DAY), 101);
        ages.save(&SystemDisk).expect("written");
        let opened = |epoch, next| {
            let mut ages = RecordAges::open(dir.path(), epoch, next, DAY);
            ages.note(at(0), next);
            ages.appended_before(DAY)
        };
        assert_eq!(opened(EPOCH, 201), 101, "carried over");
        assert_eq!(opened(EPOCH, 51), 51, "a shorter log: what comes next is young");
        assert_eq!(opened(Epoch(8), 201), 0, "of another log");
        std::fs::write(dir.path().join(FILE), b"{").expect("written");
        assert_eq!(opened(EPOCH, 201), 0, "damaged");
    }
}
