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
    /// What is to stay free on the disk.
    pub(super) headroom_bytes_min: u64,
}

/// What has to be done.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Verdict {
    /// So many go, the oldest.
    pub(super) trim: usize,
    /// True if less than the headroom is free even then.
    pub(super) full: bool,
}

/// Judges the sealed segments, oldest first. `tail_bytes` is what the segment being written takes; it never goes.
/// `free_bytes` is `None` if the disk would not say.
pub(super) fn judge(
    sealed: &[Candidate],
    tail_bytes: u64,
    free_bytes: Option<u64>,
    bounds: &Bounds,
    now: UnixMillis,
) -> Verdict {
    let oldest = now.minus(bounds.age_max);
    let mut bytes = tail_bytes + sealed.iter().map(|it| it.bytes).sum::<u64>();
    let mut free = free_bytes.unwrap_or(u64::MAX);
    let mut trim = 0;
    for (at, segment) in sealed.iter().enumerate() {
        // A segment that cannot be read is as old as the one after it.
        let last = sealed[at..].iter().find_map(|it| it.last_received);
        let too_old = last.is_some_and(|last| last < oldest);
        let too_many = bounds.bytes_max > 0 && bytes > bounds.bytes_max;
        if !too_old && !too_many && free >= bounds.headroom_bytes_min {
            break;
        }
        bytes -= segment.bytes;
        free = free.saturating_add(segment.bytes);
        trim = at + 1;
    }
    Verdict { trim, full: free < bounds.headroom_bytes_min }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_oldest_segments_go_and_no_more_than_must() {
        let segment = |bytes, last| Candidate { bytes, last_received: Some(UnixMillis(last)) };
        let sealed = [segment(10, 1_000), segment(10, 2_000), segment(10, 3_000)];
        let check = |age_ms: u64, bytes_max: u64, free: u64, expected: (usize, bool)| {
            let bounds = Bounds { age_max: Duration::from_millis(age_ms), bytes_max, headroom_bytes_min: 100 };
            let verdict = judge(&sealed, 5, Some(free), &bounds, UnixMillis(4_000));
            assert_eq!((verdict.trim, verdict.full), expected, "age {age_ms} bytes {bytes_max} free {free}");
        };
        check(10_000, 0, 1_000, (0, false));
        check(3_000, 0, 1_000, (0, false));
        check(2_999, 0, 1_000, (1, false));
        check(0, 0, 1_000, (3, false));
        check(10_000, 35, 1_000, (0, false));
        check(10_000, 34, 1_000, (1, false));
        check(10_000, 1, 1_000, (3, false));
        check(10_000, 0, 99, (1, false));
        check(10_000, 0, 81, (2, false));
        check(10_000, 0, 60, (3, true));
    }

    #[test]
    fn a_segment_that_cannot_be_read_goes_with_the_next() {
        let lost = Candidate { bytes: 1, last_received: None };
        let old = Candidate { bytes: 1, last_received: Some(UnixMillis(5)) };
        let bounds = Bounds { age_max: Duration::from_millis(10), bytes_max: 0, headroom_bytes_min: 0 };
        assert_eq!(judge(&[lost, old], 0, None, &bounds, UnixMillis(100)).trim, 2);
        assert_eq!(judge(&[lost, old], 0, None, &bounds, UnixMillis(15)).trim, 0);
    }
}
