//! Which segments have to go: pure.

use std::time::Duration;

use crate::model::UnixMillis;

/// What is known of a segment that may go.
#[derive(Clone, Copy, Debug)]
pub(super) struct Candidate {
    /// Bytes that are free once it is gone.
    pub(super) bytes: u64,
    /// When its last record was received; `None` if nothing of it can be read.
    pub(super) last_received: Option<UnixMillis>,
}

/// What is to be kept.
#[derive(Clone, Copy, Debug)]
pub(super) struct Bounds {
    /// Older records go.
    pub(super) age_max: Duration,
    /// What the log may take; 0 = no bound.
    pub(super) bytes_max: u64,
}

/// Why how many of the oldest segments go. The counts are cumulative reasons in this order; what the headroom of the disk
/// takes in addition is decided by [`super::headroom`].
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Verdict {
    /// Number of segments that are too old.
    pub(super) by_age: usize,
    /// Number of segments behind them that are too many.
    pub(super) by_bytes: usize,
}

/// Returns how many of the sealed segments, oldest first, have no record younger than `age_max`.
pub(super) fn too_old(sealed: &[Candidate], age_max: Duration, now: UnixMillis) -> usize {
    let oldest = now.minus(age_max);
    let is_old = |at: usize| {
        // A segment that cannot be read is as old as the one after it.
        let last = sealed[at..].iter().find_map(|it| it.last_received);
        last.is_some_and(|last| last < oldest)
    };
    (0..sealed.len()).take_while(|&at| is_old(at)).count()
}

/// Returns how many of the sealed segments, oldest first, have to go so that the log takes at most `bytes_max`.
/// `kept_bytes` is what it takes besides them and never goes: the active segment.
pub(super) fn too_many(sealed: &[Candidate], kept_bytes: u64, bytes_max: u64) -> usize {
    if bytes_max == 0 {
        return 0;
    }
    let mut bytes = kept_bytes + sealed.iter().map(|it| it.bytes).sum::<u64>();
    let is_over = |segment: &&Candidate| {
        let over = bytes > bytes_max;
        bytes -= segment.bytes;
        over
    };
    sealed.iter().take_while(is_over).count()
}

/// Judges the sealed segments, oldest first, by age and by the size of the log. `tail_bytes` is what the active segment
/// takes; it never goes.
pub(super) fn judge(sealed: &[Candidate], tail_bytes: u64, bounds: &Bounds, now: UnixMillis) -> Verdict {
    let by_age = too_old(sealed, bounds.age_max, now);
    let by_bytes = too_many(&sealed[by_age..], tail_bytes, bounds.bytes_max);
    Verdict { by_age, by_bytes }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_oldest_segments_go_and_no_more_than_must() {
        let segment = |bytes, last| Candidate { bytes, last_received: Some(UnixMillis(last)) };
        let sealed = [segment(10, 1_000), segment(10, 2_000), segment(10, 3_000)];
        let check = |age_ms: u64, bytes_max: u64, expected: (usize, usize)| {
            let bounds = Bounds { age_max: Duration::from_millis(age_ms), bytes_max };
            let verdict = judge(&sealed, 5, &bounds, UnixMillis(4_000));
            assert_eq!((verdict.by_age, verdict.by_bytes), expected, "age {age_ms} bytes {bytes_max}");
        };
        check(10_000, 0, (0, 0));
        check(3_000, 0, (0, 0));
        check(2_999, 0, (1, 0));
        check(0, 0, (3, 0));
        check(10_000, 35, (0, 0));
        check(10_000, 34, (0, 1));
        check(10_000, 1, (0, 3));
        check(2_999, 25, (1, 0));
        check(2_999, 24, (1, 1));
    }

    #[test]
    fn a_segment_that_cannot_be_read_goes_with_the_next() {
        let lost = Candidate { bytes: 1, last_received: None };
        let old = Candidate { bytes: 1, last_received: Some(UnixMillis(5)) };
        let age_max = Duration::from_millis(10);
        assert_eq!(too_old(&[lost, old], age_max, UnixMillis(100)), 2);
        assert_eq!(too_old(&[lost, old], age_max, UnixMillis(15)), 0);
    }
}
