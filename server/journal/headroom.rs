//! Decides which segments are trimmed because the disk has less free space than `disk_headroom_bytes_min`. Pure.
//!
//! Every process uses the free space, so the log often does not cause a shortage. Segments are trimmed only where it
//! helps:
//! - as many as suffice, and none if all sealed segments together do not suffice;
//! - at once for growth of this log, after [`PATIENCE_STEPS`] for growth of anything else: of two logs on one disk, the
//!   growing one frees space first;
//! - not again while the previous trim did not raise the free space (another process takes the freed space, a snapshot
//!   or an open file keeps it);
//! - an append refused although the disk reports enough free space (a quota, no inodes) trims one segment, and no other
//!   until an append succeeds.

use crate::model::Sequence;

/// Steps (about one a second) that a shortage not caused by this log must last.
pub(super) const PATIENCE_STEPS: u32 = 5;

/// State of the disk at one step.
#[derive(Clone, Copy, Debug)]
pub(super) struct DiskState<'a> {
    /// Bytes of the sealed segments that may be trimmed, oldest first.
    pub(super) sealed: &'a [u64],
    /// Bytes free on the disk, including those of segments that are being trimmed for other reasons; `None` = unknown.
    pub(super) free_bytes: Option<u64>,
    /// Bytes that this log has appended since it was opened, plus those of a segment being rewritten.
    pub(super) written_bytes: u64,
    /// Sequence of the next record; an append has succeeded when it advances.
    pub(super) next: Sequence,
    /// True if an append was refused because the disk was full since the last step.
    pub(super) refused: bool,
    /// True if a trimmed segment could not be removed yet: trimming more would not free space.
    pub(super) removal_pending: bool,
}

/// Decision of one step.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct HeadroomDecision {
    /// Number of segments to trim, oldest first.
    pub(super) trim: usize,
    /// True if free space stays below the headroom: appends are refused.
    pub(super) full: bool,
}

/// State carried from step to step.
#[derive(Debug, Default)]
pub(super) struct Headroom {
    /// Number of steps with free space below the headroom.
    short_steps: u32,
    /// Bytes written when there was enough free space, or at the last trim.
    written_before: u64,
    /// Free bytes before the last trim of this shortage.
    free_before_trim: Option<u64>,
    /// The next sequence when a segment was last trimmed for a refused append.
    relieved_at: Option<Sequence>,
}

impl Headroom {
    /// Decides what a step trims.
    pub(super) fn decide(&mut self, bytes_min: u64, now: &DiskState<'_>) -> HeadroomDecision {
        let Some(free) = now.free_bytes else { return HeadroomDecision { trim: 0, full: false } };
        if free >= bytes_min {
            *self = Self { written_before: now.written_bytes, relieved_at: self.relieved_at, ..Self::default() };
            return HeadroomDecision { trim: self.relieve(now), full: false };
        }
        self.short_steps += 1;
        let deficit = bytes_min - free;
        let Some(trim) = sufficient(now.sealed, deficit).filter(|_| !now.removal_pending) else {
            return HeadroomDecision { trim: 0, full: true };
        };
        let grown = now.written_bytes.saturating_sub(self.written_before);
        if self.free_before_trim.is_some_and(|before| free.saturating_add(grown) <= before) {
            return HeadroomDecision { trim: 0, full: true };
        }
        let own = grown.saturating_mul(2) >= deficit;
        if !own && self.short_steps <= PATIENCE_STEPS {
            // The headroom absorbs growth of this duration.
            return HeadroomDecision { trim: 0, full: false };
        }
        self.free_before_trim = Some(free);
        self.written_before = now.written_bytes;
        HeadroomDecision { trim, full: false }
    }

    fn relieve(&mut self, now: &DiskState<'_>) -> usize {
        let already_tried = self.relieved_at == Some(now.next);
        if !now.refused || already_tried || now.removal_pending || now.sealed.is_empty() {
            return 0;
        }
        self.relieved_at = Some(now.next);
        1
    }
}

/// Returns how many of the oldest segments free at least `deficit` bytes; `None` if all of them do not.
fn sufficient(sealed: &[u64], deficit: u64) -> Option<usize> {
    let mut freed = 0_u64;
    let enough = |bytes: &u64| {
        freed = freed.saturating_add(*bytes);
        freed >= deficit
    };
    sealed.iter().position(enough).map(|at| at + 1)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const MIN: u64 = 1_000;

    fn situation(sealed: &[u64], free: u64, written_bytes: u64) -> DiskState<'_> {
        DiskState { sealed, free_bytes: Some(free), written_bytes, next: 1, refused: false, removal_pending: false }
    }

    fn decide(headroom: &mut Headroom, now: &DiskState<'_>) -> (usize, bool) {
        let HeadroomDecision { trim, full } = headroom.decide(MIN, now);
        (trim, full)
    }

    #[test]
    fn shortage_of_own_growth_trims_what_suffices() {
        let sealed = [100, 100, 100];
        for (free, expected) in
            [(1_000, (0, false)), (999, (1, false)), (900, (1, false)), (899, (2, false)), (700, (3, false))]
        {
            assert_eq!(decide(&mut Headroom::default(), &situation(&sealed, free, 5_000)), expected, "{free} free");
        }
        assert_eq!(decide(&mut Headroom::default(), &situation(&sealed, 699, 5_000)), (0, true), "it cannot suffice");
        assert_eq!(decide(&mut Headroom::default(), &situation(&[], 999, 5_000)), (0, true));
        let unknown = DiskState { free_bytes: None, ..situation(&sealed, 0, 5_000) };
        assert_eq!(decide(&mut Headroom::default(), &unknown), (0, false));
    }

    #[test]
    fn foreign_growth_trims_only_after_patience() {
        let mut headroom = Headroom::default();
        assert_eq!(decide(&mut headroom, &situation(&[100; 5], 1_000, 40)), (0, false));
        for _ in 0..PATIENCE_STEPS {
            assert_eq!(decide(&mut headroom, &situation(&[100; 5], 900, 41)), (0, false), "another log makes space");
        }
        assert_eq!(decide(&mut headroom, &situation(&[100; 5], 900, 41)), (1, false));
    }

    #[test]
    fn trim_without_effect_is_not_repeated() {
        let mut headroom = Headroom::default();
        assert_eq!(decide(&mut headroom, &situation(&[100; 5], 900, 5_000)), (1, false));
        for step in 0..100 {
            assert_eq!(decide(&mut headroom, &situation(&[100; 4], 900, 5_000)), (0, true), "step {step}");
        }
        assert_eq!(decide(&mut headroom, &situation(&[100; 4], 950, 5_000)), (1, false), "it had an effect after all");
        assert_eq!(decide(&mut headroom, &situation(&[100; 3], 1_050, 5_000)), (0, false));
        // Bytes that this log wrote meanwhile do not make a trim useless.
        assert_eq!(decide(&mut headroom, &situation(&[100; 3], 990, 5_060)), (1, false));
        assert_eq!(decide(&mut headroom, &situation(&[100; 3], 980, 5_170)), (1, false));
    }

    #[test]
    fn failed_removal_stops_trims_for_headroom() {
        let pending = DiskState { removal_pending: true, ..situation(&[100; 5], 900, 5_000) };
        assert_eq!(decide(&mut Headroom::default(), &pending), (0, true));
    }

    #[test]
    fn refused_append_trims_one_segment_per_success() {
        let mut headroom = Headroom::default();
        let refused = |next| DiskState { refused: true, next, ..situation(&[100; 5], u64::MAX, next) };
        assert_eq!(decide(&mut headroom, &refused(10)), (1, false));
        assert_eq!(decide(&mut headroom, &refused(10)), (0, false), "the first did not help");
        assert_eq!(decide(&mut headroom, &refused(20)), (1, false), "it did");
    }

    proptest! {
        /// A disk that another process fills and empties, with a log that writes nothing: every trim reaches the
        /// headroom at that moment, and an unchanged shortage costs no second segment.
        #[test]
        fn trims_always_reach_headroom(taken in proptest::collection::vec(-400_i64..400, 1..60), kept: bool) {
            let (mut headroom, mut sealed, mut others) = (Headroom::default(), vec![100_u64; 10], 0_i64);
            let mut hidden = 0;
            for step in taken {
                others = (others + step).max(0);
                let used = i64::try_from(sealed.iter().sum::<u64>() + hidden).expect("small");
                let free = u64::try_from((3_000 - used - others).max(0)).expect("positive");
                let HeadroomDecision { trim, full } = headroom.decide(MIN, &situation(&sealed, free, 0));
                let freed: u64 = sealed.drain(..trim).sum();
                prop_assert!(trim == 0 || free + freed >= MIN, "without effect: {free} free, {freed} freed");
                prop_assert!(trim == 0 || free + freed - 100 < MIN, "more than suffices");
                prop_assert!(!full || free < MIN);
                if kept {
                    // A snapshot keeps the freed bytes.
                    hidden += freed;
                }
            }
        }
    }
}
